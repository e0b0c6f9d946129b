//! Where the bytes of an answer are written: a growing vector, or a fixed buffer that remembers
//! that it was too small.

/// Takes bytes in order.
pub trait Sink {
    /// Appends bytes.
    fn put(&mut self, bytes: &[u8]);

    /// Appends a number in decimal digits.
    fn put_decimal(&mut self, mut value: u64) {
        let mut digits = [0; 20];
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 {
                break;
            }
        }
        self.put(&digits[start..]);
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Counts what would be written.
impl Sink for u64 {
    fn put(&mut self, bytes: &[u8]) {
        *self = self.saturating_add(bytes.len() as u64);
    }
}

/// The buffer was too small for the head; what is in it must not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

/// Writes into a fixed buffer. The number of bytes written is only to be had from
/// [`HeadWriter::finish`], so that an overflow cannot go unseen.
#[must_use = "only finish says whether the head fitted"]
#[derive(Debug)]
pub struct HeadWriter<'a> {
    room: &'a mut [u8],
    len: usize,
    overflow: bool,
}

impl<'a> HeadWriter<'a> {
    /// A writer at the start of a buffer.
    pub fn new(room: &'a mut [u8]) -> HeadWriter<'a> {
        HeadWriter { room, len: 0, overflow: false }
    }

    /// How many bytes were written.
    ///
    /// # Errors
    ///
    /// [`Overflow`] when they did not all fit.
    pub fn finish(self) -> Result<usize, Overflow> {
        if self.overflow { Err(Overflow) } else { Ok(self.len) }
    }
}

impl Sink for HeadWriter<'_> {
    fn put(&mut self, bytes: &[u8]) {
        match self.room.get_mut(self.len..).and_then(|room| room.get_mut(..bytes.len())) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.overflow = true,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_overflow_stays() {
        let mut room = [0; 4];
        let mut writer = HeadWriter::new(&mut room);
        writer.put(b"abc");
        writer.put(b"de");
        writer.put(b"f");
        assert_eq!(writer.finish(), Err(Overflow));
        let mut writer = HeadWriter::new(&mut room);
        writer.put(b"ab");
        writer.put_decimal(10);
        assert_eq!(writer.finish(), Ok(4));
        assert_eq!(&room, b"ab10");
    }

    #[test]
    fn decimals() {
        for value in [0, 9, 10, 12_345, u64::MAX] {
            let mut out = Vec::new();
            out.put_decimal(value);
            assert_eq!(out, value.to_string().as_bytes());
        }
    }
}
