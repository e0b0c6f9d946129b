//! The ledger beside a log pipe: the pipe carries bytes, the ledger their boundaries.
//!
//! One thread writes it and one reads it, without a lock. What the kernel took is entered after
//! it took it, so who reads an entry finds its bytes in the pipe. It is bounded: a full ledger is
//! as a full pipe.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::limits::LOG_LEDGER_ENTRIES;

/// What lies in the pipe next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What its bytes are.
    pub kind: Kind,
    /// How many.
    pub length: u32,
    /// Records that end in it.
    pub records: u32,
}

/// What bytes of the pipe are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Whole lines.
    Records,
    /// Lines, the last of which goes on in the next entry that is no body.
    Torn,
    /// A part of a mirrored body.
    Body {
        /// Which.
        stream: u32,
    },
    /// The end of the line of a mirrored answer.
    Mirrored {
        /// The body that it is of.
        stream: u32,
        /// Where in the line the word about the body belongs; none if the format has none.
        hole: Option<u32>,
    },
}

const TORN: u64 = 1;
const BODY: u64 = 2;
const MIRRORED: u64 = 3;
const RECORDS_MAX: u32 = (1 << 30) - 1;
const NO_HOLE: u32 = u32::MAX;

impl Entry {
    /// As two words: length, count and kind in one, stream and hole in the other.
    fn pack(self) -> [u64; 2] {
        let (kind, stream, hole) = match self.kind {
            Kind::Records => (0, 0, None),
            Kind::Torn => (TORN, 0, None),
            Kind::Body { stream } => (BODY, stream, None),
            Kind::Mirrored { stream, hole } => (MIRRORED, stream, hole),
        };
        assert!(self.records <= RECORDS_MAX, "a record has a byte, and a pipe has fewer");
        let first = u64::from(self.length) | u64::from(self.records) << 32 | kind << 62;
        [first, u64::from(stream) | u64::from(hole.unwrap_or(NO_HOLE)) << 32]
    }

    fn unpack([first, second]: [u64; 2]) -> Self {
        let (stream, hole) = (second as u32, (second >> 32) as u32);
        let kind = match first >> 62 {
            TORN => Kind::Torn,
            BODY => Kind::Body { stream },
            MIRRORED => Kind::Mirrored { stream, hole: (hole != NO_HOLE).then_some(hole) },
            _ => Kind::Records,
        };
        Self { kind, length: first as u32, records: (first >> 32) as u32 & RECORDS_MAX }
    }
}

#[derive(Debug)]
struct Shared {
    slots: Box<[[AtomicU64; 2]]>,
    /// Entries written and read since the beginning.
    written: AtomicUsize,
    read: AtomicUsize,
}

/// The side that enters.
#[derive(Debug)]
pub struct Writer(Arc<Shared>);

/// The side that reads.
#[derive(Debug)]
pub struct Reader(Arc<Shared>);

/// An empty ledger, both sides of it.
pub fn ledger() -> (Writer, Reader) {
    let shared = Arc::new(Shared {
        slots: (0..LOG_LEDGER_ENTRIES).map(|_| Default::default()).collect(),
        written: AtomicUsize::new(0),
        read: AtomicUsize::new(0),
    });
    (Writer(Arc::clone(&shared)), Reader(shared))
}

impl Writer {
    /// How many entries find room.
    pub fn room(&self) -> usize {
        let written = self.0.written.load(Ordering::Relaxed);
        LOG_LEDGER_ENTRIES - written.wrapping_sub(self.0.read.load(Ordering::Acquire))
    }

    /// Enters what the kernel took; the room was asked for before.
    pub fn enter(&mut self, entry: Entry) {
        assert!(self.room() > 0, "the room is asked for before bytes go into the pipe");
        let written = self.0.written.load(Ordering::Relaxed);
        let slot = &self.0.slots[written % LOG_LEDGER_ENTRIES];
        for (word, value) in slot.iter().zip(entry.pack()) {
            word.store(value, Ordering::Relaxed);
        }
        // Releases the slot: who sees the number sees the entry.
        self.0.written.store(written.wrapping_add(1), Ordering::Release);
    }
}

impl Reader {
    /// The next entry.
    pub fn take(&mut self) -> Option<Entry> {
        let read = self.0.read.load(Ordering::Relaxed);
        if read == self.0.written.load(Ordering::Acquire) {
            return None;
        }
        let slot = &self.0.slots[read % LOG_LEDGER_ENTRIES];
        let entry = Entry::unpack([0, 1].map(|word| slot[word].load(Ordering::Relaxed)));
        // Releases the slot to the writer, which reads this number before it writes there.
        self.0.read.store(read.wrapping_add(1), Ordering::Release);
        Some(entry)
    }

    /// Whether there is a next entry.
    pub fn is_empty(&self) -> bool {
        self.0.read.load(Ordering::Relaxed) == self.0.written.load(Ordering::Acquire)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn entries_survive_their_words() {
        let kinds = [
            Kind::Records,
            Kind::Torn,
            Kind::Body { stream: u32::MAX },
            Kind::Mirrored { stream: 7, hole: Some(0) },
            Kind::Mirrored { stream: 7, hole: None },
        ];
        for kind in kinds {
            let entry = Entry { kind, length: u32::MAX, records: RECORDS_MAX };
            assert_eq!(Entry::unpack(entry.pack()), entry);
        }
    }

    #[test]
    fn what_is_entered_on_one_thread_is_read_in_order_on_another() {
        let (mut writer, mut reader) = ledger();
        let count = 20_000;
        let entering = std::thread::spawn(move || {
            let mut next = 0;
            while next < count {
                if writer.room() > 0 {
                    writer.enter(Entry { kind: Kind::Records, length: next, records: 1 });
                    next += 1;
                } else {
                    std::thread::yield_now();
                }
            }
        });
        let mut expected = 0;
        while expected < count {
            if let Some(entry) = reader.take() {
                assert_eq!(entry.length, expected);
                expected += 1;
            }
        }
        entering.join().unwrap();
        assert!(reader.is_empty());
    }
}
