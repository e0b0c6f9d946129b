//! A bell: one thread rings it, another has its ring wait for the sound (eventfd(2)).

use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{EventfdFlags, eventfd};

/// The side that rings.
#[derive(Debug)]
pub struct Bell(OwnedFd);

impl Bell {
    /// A bell, and the descriptor that becomes readable when it is rung.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn new() -> io::Result<(Self, OwnedFd)> {
        let heard = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok((Self(heard.try_clone()?), heard))
    }

    /// Rings. A bell that nobody has heard yet may be rung again; it sounds once.
    pub fn ring(&self) {
        // The counter is full only after 2^64 - 2 rings; then it sounds anyway.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_heard() {
        let (bell, heard) = Bell::new().unwrap();
        let mut count = [0; 8];
        assert_eq!(rustix::io::read(&heard, &mut count), Err(rustix::io::Errno::AGAIN));
        bell.ring();
        bell.ring();
        assert_eq!(rustix::io::read(&heard, &mut count), Ok(8));
        assert_eq!(u64::from_ne_bytes(count), 2);
    }
}
