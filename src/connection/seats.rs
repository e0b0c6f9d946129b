//! How many connections each address has, in all workers.
//!
//! It is the one thing that workers share under a lock, taken when a connection begins and ends,
//! and only where the number is limited: the kernel spreads the connections of one address over
//! all workers, so no share of one could be told.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Parts of the table, each with a lock of its own, so that workers seldom meet.
const PARTS: usize = 16;

/// The seats that are taken. One that is kept over configurations still knows the connections of
/// the earlier ones.
#[derive(Clone, Debug, Default)]
pub struct Taken(Arc<[Mutex<HashMap<IpAddr, u32>>; PARTS]>);

/// See the module.
#[derive(Debug)]
pub struct Seats {
    /// Connections of one address at most.
    count_max: u32,
    taken: Taken,
}

/// One connection of an address, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    who: IpAddr,
}

impl Seats {
    /// So many for each address, or for each network of IPv6 that one customer is given.
    pub fn new(count_max: u32) -> Self {
        Self::beside(&Taken::default(), count_max)
    }

    /// The same, where those that are taken already count too.
    pub fn beside(taken: &Taken, count_max: u32) -> Self {
        assert!(count_max > 0, "0 stands for no limit, and needs no table");
        Self { count_max, taken: taken.clone() }
    }

    /// A seat for an address; none if all of its seats are taken.
    pub(super) fn take(self: &Arc<Self>, ip: IpAddr) -> Option<Seat> {
        let who = customer(ip);
        let mut part = self.part(who);
        let count = part.entry(who).or_default();
        if *count >= self.count_max {
            return None;
        }
        *count += 1;
        drop(part);
        Some(Seat { seats: Arc::clone(self), who })
    }

    fn part(&self, who: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        let low = match who {
            IpAddr::V4(ip) => ip.octets()[3],
            IpAddr::V6(ip) => ip.octets()[7],
        };
        let part = &self.taken.0[usize::from(low) % PARTS];
        // Nothing in between could have panicked and left a count wrong.
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Whether it is one of this address.
    pub(super) fn is_of(&self, ip: IpAddr) -> bool {
        self.who == customer(ip)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut part = self.seats.part(self.who);
        let left = part.get_mut(&self.who).map_or(0, |count| {
            *count -= 1;
            *count
        });
        // So the table holds no more addresses than there are connections.
        if left == 0 {
            part.remove(&self.who);
        }
    }
}

/// Who is counted as one: an IPv4 address, or the 64 bits of an IPv6 one that a customer is given
/// at least (RFC 6177); within them every client takes as many addresses as it likes.
fn customer(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64))),
        four => four,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::base::ip;

    #[test]
    fn an_address_has_so_many_seats_and_a_network_of_ipv6_too() {
        for (one, same, other) in [
            ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
            ("2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"),
        ] {
            let seats = Arc::new(Seats::new(2));
            let first = seats.take(ip(one)).unwrap();
            let second = seats.take(ip(same)).unwrap();
            assert!(second.is_of(ip(one)) && !second.is_of(ip(other)));
            assert!(seats.take(ip(one)).is_none() && seats.take(ip(same)).is_none());
            assert!(seats.take(ip(other)).is_some());
            drop(first);
            let third = seats.take(ip(one)).unwrap();
            assert!(seats.take(ip(one)).is_none());
            drop((second, third));
            assert!(seats.taken.0.iter().all(|part| part.lock().unwrap().is_empty()));
        }
    }

    #[test]
    fn seats_that_were_taken_under_another_limit_count() {
        let taken = Taken::default();
        let earlier = Arc::new(Seats::beside(&taken, 5));
        let held: Vec<_> = (0..3).map(|_| earlier.take(ip("192.0.2.1")).unwrap()).collect();
        let later = Arc::new(Seats::beside(&taken, 2));
        assert!(later.take(ip("192.0.2.1")).is_none());
        drop(held);
        assert!(later.take(ip("192.0.2.1")).is_some());
    }
}
