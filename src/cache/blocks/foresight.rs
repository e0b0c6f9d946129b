//! What will be asked for next: by the patterns of the requests for one file, and by which file
//! comes after which.
//!
//! A stream is what one owner asks of one file. Beside the credit of each predictor there is an
//! account in bytes of all of them: reading what was asked for pays in a 256th, reading ahead pays
//! out, and what came true is paid back. The rest of a block, of which parts were asked for, is
//! paid from it, too. So whatever patterns seem to say, and however often a guess is right by
//! chance, less than two bytes in a hundred are read in vain, or once more since they gave way to
//! such; and the reading ahead stops when the account is empty and begins again by itself.
//!
//! The account begins with nothing. A stream that has proved its pattern need not wait until a
//! block is earned: it pays from another one, to which a sixty-fourth is paid in. That may be
//! overdrawn by two blocks and is paid back twice, so that more and more is under way. Requests at
//! random prove none.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash};
use std::ops::Range;
use std::rc::{Rc, Weak};
use std::time::Duration;

use foldhash::HashMap;
use foldhash::fast::RandomState;

use super::{Inner, Origin, block};
use crate::base::Instant;
use crate::cache::version::Version;
use crate::limits::{
    FORESEEN_BEGIN_BYTES, FORESEEN_BYTES_PER_BYTE, FORESEEN_DEBT_BLOCKS, FORESEEN_FILES_MAX,
    FORESEEN_STREAMS_MAX, GUESSED_BYTES_PER_BYTE,
};
use crate::predict::{Predictor, Successors};
use crate::ring::{Io, Owner};

/// Whose prediction it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum StreamId {
    /// That of an owner and a file.
    Of(Owner, u64),
    /// That of the files' order.
    Order,
}

#[derive(Debug)]
struct Stream {
    predictor: Predictor,
    /// When it last asked.
    last: Instant,
    /// The time between two requests, smoothed, in nanoseconds; 0 before the second.
    interval: u64,
}

#[derive(Debug)]
pub(super) struct Foresight {
    hash: RandomState,
    streams: Table<StreamId, Stream>,
    /// The file that an owner asked for last.
    last: Table<Owner, u64>,
    successors: Successors,
    /// Files that are open as far as is known.
    files: Table<u64, Weak<Version>>,
    account: Account,
    block_bytes: u64,
}

/// What may be read that nobody has asked for, in bytes.
#[derive(Debug)]
struct Account {
    /// A part of what was asked for, less what was read in vain and what is not asked for yet.
    spare: i64,
    /// For proved patterns. Below 0 by what was read on trust in one and has not come true.
    balance: i64,
    balance_max: i64,
    debt_max: i64,
}

/// Something to be read ahead.
type Plan = Vec<(Rc<Version>, Range<u64>, StreamId)>;

impl Foresight {
    /// For a cache that may read ahead so many bytes.
    pub(super) fn new(bytes_max: u64, block_bytes: u64) -> Self {
        Self {
            hash: RandomState::default(),
            streams: Table::new(FORESEEN_STREAMS_MAX),
            last: Table::new(FORESEEN_FILES_MAX),
            successors: Successors::new(FORESEEN_FILES_MAX),
            files: Table::new(FORESEEN_FILES_MAX),
            account: Account {
                spare: 0,
                balance: 0,
                balance_max: bytes_max as i64,
                debt_max: (FORESEEN_DEBT_BLOCKS * block_bytes).min(bytes_max) as i64,
            },
            block_bytes,
        }
    }

    /// Takes note of a span that an owner asks for; what is worth reading now.
    fn begin(
        &mut self,
        owner: Owner,
        version: &Rc<Version>,
        span: Range<u64>,
        latency: Duration,
        now: Instant,
    ) -> Plan {
        let file = self.number(version);
        let mut plan = Plan::new();
        if span.start > 0 || span.end < version.facts.size {
            self.go_on(StreamId::Of(owner, file), version, span, latency, now, &mut plan);
        }
        self.files.put(file, Rc::downgrade(version));
        let before = self.last.put(owner, file);
        if before != Some(file) {
            if let Some(before) = before {
                self.successors.observe(before, file);
            }
            let next = self.successors.predict(file).filter(|next| *next != file);
            let next = next.and_then(|next| self.files.find(&next)?.upgrade());
            if let Some(next) = next.filter(|next| next.direct.is_some()) {
                // Whole blocks: the part of one would be read again for who asks for all of it.
                let begin = FORESEEN_BEGIN_BYTES.next_multiple_of(self.block_bytes);
                let begin = begin.min(next.facts.size);
                plan.push((next, 0..begin, StreamId::Order));
            }
        }
        plan
    }

    /// What a file is known by.
    fn number(&self, version: &Version) -> u64 {
        self.hash.hash_one((version.facts.device, version.facts.inode))
    }

    fn go_on(
        &mut self,
        id: StreamId,
        version: &Rc<Version>,
        span: Range<u64>,
        latency: Duration,
        now: Instant,
        plan: &mut Plan,
    ) {
        let fresh = || Stream { predictor: Predictor::new(), last: now, interval: 0 };
        let stream = self.streams.find_or_put(id, fresh);
        let gap = now.since(stream.last).as_nanos() as u64;
        stream.last = now;
        stream.interval = if stream.interval == 0 { gap } else { (3 * stream.interval + gap) / 4 };
        let bytes = u32::try_from(span.end - span.start).unwrap_or(u32::MAX);
        stream.predictor.observe(span.start, bytes);
        // While one read takes its time, so many requests come: that many are to be under way.
        let due = latency.as_nanos() as u64 / stream.interval.max(1);
        // What cannot be paid for is not predicted, so that it still can be when it is due next.
        let left = self.account.left(stream.predictor.is_proved());
        let most = due.saturating_add(1).min(left.div_ceil(u64::from(bytes.max(1))));
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let size = version.facts.size;
        for offset in stream.predictor.predict(most, size) {
            let end = offset.saturating_add(u64::from(bytes)).min(size);
            plan.push((Rc::clone(version), offset..end, id));
        }
    }

    /// Bytes were read that somebody asked for.
    pub(super) fn earn(&mut self, bytes: u64) {
        self.account.pay_in(bytes / GUESSED_BYTES_PER_BYTE, bytes / FORESEEN_BYTES_PER_BYTE);
    }

    /// Bytes that were read beside those that were asked for are asked for now.
    pub(super) fn pay_back(&mut self, bytes: u64) {
        self.account.pay_in(bytes, bytes);
    }

    /// Pays for bytes that a stream is foreseen to ask for, if there is enough.
    pub(super) fn spend(&mut self, bytes: u64, id: StreamId) -> bool {
        let proved = self.streams.find(&id).is_some_and(|stream| stream.predictor.is_proved());
        self.account.spend(bytes, proved)
    }

    /// The same for bytes of a file that lie beside those that an owner asks for.
    pub(super) fn spend_beside(&mut self, bytes: u64, owner: Owner, version: &Version) -> bool {
        let id = StreamId::Of(owner, self.number(version));
        self.spend(bytes, id)
    }

    /// What was foreseen is asked for.
    pub(super) fn came_true(&mut self, id: StreamId, bytes: u64, late: bool) {
        self.account.pay_in(bytes + bytes / GUESSED_BYTES_PER_BYTE, 2 * bytes);
        if let Some(stream) = self.streams.find(&id) {
            match late {
                true => stream.predictor.note_late(1),
                false => stream.predictor.note_used(1),
            }
        }
    }

    /// What was foreseen goes unasked for.
    pub(super) fn came_to_nothing(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.find(&id) {
            stream.predictor.note_wasted(1);
        }
    }
}

impl Account {
    fn pay_in(&mut self, spare: u64, for_proved: u64) {
        self.spare = (self.spare + spare as i64).min(self.balance_max);
        self.balance = (self.balance + for_proved as i64).min(self.balance_max);
    }

    /// How much may be spent; more on a pattern that has proved itself.
    fn left(&self, proved: bool) -> u64 {
        let left = if proved { self.balance + self.debt_max } else { self.spare };
        left.max(0) as u64
    }

    fn spend(&mut self, bytes: u64, proved: bool) -> bool {
        let pays = bytes <= self.left(proved);
        if pays {
            self.spare -= bytes as i64;
            self.balance -= bytes as i64;
        }
        pays
    }
}

impl Inner {
    /// Takes note of a span that an owner asks for, and has read what is likely to come next. Where
    /// nothing is to be foreseen it still counts whether a stream has proved itself.
    pub(super) fn foresee(
        &mut self,
        owner: Owner,
        version: &Rc<Version>,
        span: Range<u64>,
        io: &dyn Io,
    ) {
        let (latency, now) = (self.latencies.of(version.facts.mount), io.now());
        let plan = self.foresight.begin(owner, version, span, latency, now);
        if !self.options.foresees {
            return;
        }
        for (version, span, stream) in plan {
            // What begins in the page cache does not wait for a disk.
            if stream == StreamId::Order && version.resident_until(0, io).is_some() {
                continue;
            }
            for (index, need) in block::parts(span, self.options.block_bytes) {
                if !self.read_ahead(&version, index, need, Origin::Foreseen(stream), now) {
                    break;
                }
            }
        }
    }
}

/// A map of a bounded size, from which goes what was put in or asked for least lately.
#[derive(Debug)]
struct Table<K, V> {
    /// Each value with the stamp of its last entry in the order.
    map: HashMap<K, (V, u64)>,
    /// The oldest first. An entry with a stamp of before was left behind.
    order: VecDeque<(K, u64)>,
    stamp: u64,
    count_max: usize,
}

impl<K: Copy + Eq + Hash, V> Table<K, V> {
    fn new(count_max: usize) -> Self {
        Self { map: HashMap::default(), order: VecDeque::new(), stamp: 0, count_max }
    }

    /// What is there, which stays as old as it is.
    fn find(&mut self, key: &K) -> Option<&mut V> {
        self.map.get_mut(key).map(|(value, _)| value)
    }

    /// Puts a value in, in place of what was there, which comes back.
    fn put(&mut self, key: K, value: V) -> Option<V> {
        let stamp = self.next_stamp(key);
        let before = self.map.insert(key, (value, stamp));
        if self.map.len() > self.count_max {
            self.drop_oldest();
        }
        before.map(|(value, _)| value)
    }

    /// What is there, or is put in, and is the youngest now.
    fn find_or_put(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        if self.map.contains_key(&key) {
            let stamp = self.next_stamp(key);
            self.map.get_mut(&key).expect("it is there").1 = stamp;
        } else {
            self.put(key, make());
        }
        &mut self.map.get_mut(&key).expect("it is there, or was just put in").0
    }

    /// Appends a key to the order. What it leaves behind there is swept before it is the most.
    fn next_stamp(&mut self, key: K) -> u64 {
        if self.order.len() > 2 * self.count_max {
            let map = &self.map;
            self.order.retain(|(key, stamp)| map.get(key).is_some_and(|(_, last)| last == stamp));
        }
        self.stamp += 1;
        self.order.push_back((key, self.stamp));
        self.stamp
    }

    fn drop_oldest(&mut self) {
        while let Some((key, stamp)) = self.order.pop_front() {
            if self.map.get(&key).is_some_and(|(_, last)| *last == stamp) {
                self.map.remove(&key);
                return;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cache::version::Direct;
    use crate::http::negotiate::Coding;
    use crate::ring::simulated::Random;
    use crate::ring::{Closing, Descriptor, Facts, File};

    const BLOCK: u64 = 256 << 10;

    fn version(inode: u64, size: u64) -> Rc<Version> {
        let closing = Rc::new(Closing::default());
        let file = || {
            let fd = tempfile::tempfile().unwrap().into();
            File::from(Descriptor::adopt(fd, &closing))
        };
        let facts = Facts { inode, size, ..Facts::default() };
        let mut version = Version::new(file(), facts, Coding::Identity, Instant::default());
        version.direct = Some(Direct { file: file(), memory: 512, offset: 512 });
        Rc::new(version)
    }

    /// What is to be read ahead of a file of this size which has come after another.
    fn begin_of(size: u64, block_bytes: u64) -> Range<u64> {
        let mut foresight = Foresight::new(1 << 30, block_bytes);
        let files = [version(1, 1000), version(2, size)];
        let owner = Owner::from_bits(1);
        let (mut plan, now) = (Plan::new(), Instant::default());
        for at in [0, 1, 0, 1, 0] {
            let all = 0..files[at].facts.size;
            plan = foresight.begin(owner, &files[at], all, Duration::ZERO, now);
        }
        let [(next, span, StreamId::Order)] = &plan[..] else { panic!("{plan:?}") };
        assert_eq!(next.facts.inode, 2);
        span.clone()
    }

    #[test]
    fn of_a_file_that_comes_next_the_begin_is_read() {
        assert_eq!(begin_of(300_000, BLOCK), 0..300_000);
        assert_eq!(begin_of(1 << 30, BLOCK), 0..1 << 20);
        assert_eq!(begin_of(1 << 30, 4 << 20), 0..4 << 20, "no part of a block");
    }

    /// What is to be read ahead behind the request for one more span.
    fn ask(foresight: &mut Foresight, version: &Rc<Version>, span: Range<u64>) -> Vec<u64> {
        let (owner, now) = (Owner::from_bits(1), Instant::default());
        let plan = foresight.begin(owner, version, span, Duration::from_millis(1), now);
        plan.into_iter().map(|(_, span, _)| span.start / BLOCK).collect()
    }

    #[test]
    fn a_stream_that_has_proved_itself_is_read_ahead_before_a_block_is_earned() {
        let (mut foresight, version) = (Foresight::new(1 << 30, BLOCK), version(1, 1 << 30));
        for at in 0..5 {
            let plan = ask(&mut foresight, &version, at * BLOCK..(at + 1) * BLOCK);
            assert_eq!(plan, [0; 0], "with {at} before it");
        }
        assert_eq!(ask(&mut foresight, &version, 5 * BLOCK..6 * BLOCK), [6, 7]);
        let id = StreamId::Of(Owner::from_bits(1), foresight.number(&version));
        assert!(!foresight.spend(1, StreamId::Order), "for this one alone");
        assert_eq!([(); 3].map(|()| foresight.spend(BLOCK, id)), [true, true, false]);
        foresight.came_true(id, BLOCK, false);
        assert_eq!([(); 3].map(|()| foresight.spend(BLOCK, id)), [true, true, false]);
        assert!(ask(&mut foresight, &version, 6 * BLOCK..7 * BLOCK).is_empty(), "nothing is left");
        foresight.came_true(id, BLOCK, false);
        assert_eq!(ask(&mut foresight, &version, 7 * BLOCK..8 * BLOCK), [8, 9]);
        ask(&mut foresight, &version, 0..BLOCK);
        assert!(!foresight.spend(1, id), "it has left its pattern");
    }

    #[test]
    fn requests_at_random_prove_nothing() {
        let version = version(1, 1 << 30);
        for seed in 0..1000 {
            let (mut foresight, mut random) = (Foresight::new(1 << 30, BLOCK), Random::new(seed));
            for _ in 0..100 {
                let unit = if seed % 2 == 0 { BLOCK } else { 512 };
                let start = random.below((1 << 30) / unit - BLOCK / unit) * unit;
                assert_eq!(ask(&mut foresight, &version, start..start + BLOCK), [0; 0]);
                assert!(!foresight.spend_beside(1, Owner::from_bits(1), &version), "seed {seed}");
            }
        }
    }

    #[test]
    fn who_asks_again_outlives_those_who_ask_once() {
        let mut table = Table::new(256);
        table.put(0, 0);
        for key in 1..5000 {
            table.put(key, key);
            assert_eq!(*table.find_or_put(0, || panic!("it went")), 0);
            assert!(table.order.len() <= 2 * 256 + 1 && table.map.len() <= 256);
        }
        assert_eq!(table.put(0, 7), Some(0), "what was there comes back");
        let there = |table: &mut Table<i32, i32>, key| table.find(&key).is_some();
        assert!(there(&mut table, 5000 - 255) && !there(&mut table, 5000 - 256));
        // To be looked for is not to ask.
        table.put(5000, 0);
        assert!(!there(&mut table, 5000 - 255) && there(&mut table, 0));
    }
}
