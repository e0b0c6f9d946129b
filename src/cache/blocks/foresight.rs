//! What will be asked for next: by the patterns of the requests for one file, and by which file
//! comes after which.
//!
//! A stream is what one owner asks of one file. Beside the credit of each predictor there is an
//! account in bytes of all of them: reading what was asked for pays in a sixty-fourth, reading
//! ahead pays out, and what came true is paid back twice. The rest of a block, of which parts were
//! asked for, is paid from it, too. So whatever patterns seem to say, bytes
//! read in vain stay below two in a hundred, and the reading ahead stops when it is mostly wrong
//! and begins again by itself.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::{Inner, Origin, block};
use crate::base::Instant;
use crate::cache::version::Version;
use crate::limits::{FORESEEN_BYTES_PER_BYTE, FORESEEN_FILES_MAX, FORESEEN_STREAMS_MAX};
use crate::predict::{Predictor, Successors};
use crate::ring::Owner;

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
    /// The account, in bytes.
    account: u64,
    account_max: u64,
}

/// Something to be read ahead.
type Plan = Vec<(Rc<Version>, Range<u64>, StreamId)>;

impl Foresight {
    /// For a cache that may read ahead so many bytes.
    pub(super) fn new(bytes_max: u64, block_bytes: u64) -> Self {
        Self {
            hash: RandomState::new(),
            streams: Table::new(FORESEEN_STREAMS_MAX),
            last: Table::new(FORESEEN_FILES_MAX),
            successors: Successors::new(FORESEEN_FILES_MAX),
            files: Table::new(FORESEEN_FILES_MAX),
            account: (2 * block_bytes).min(bytes_max),
            account_max: bytes_max,
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
        let file = self.hash.hash_one((version.facts.device, version.facts.inode));
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
                let size = next.facts.size;
                plan.push((next, 0..size, StreamId::Order));
            }
        }
        plan
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
        let most = usize::try_from(due).unwrap_or(usize::MAX).saturating_add(1);
        let size = version.facts.size;
        for offset in stream.predictor.predict(most, size) {
            let end = offset.saturating_add(u64::from(bytes)).min(size);
            plan.push((Rc::clone(version), offset..end, id));
        }
    }

    /// Bytes were read that somebody asked for.
    pub(super) fn earn(&mut self, bytes: u64) {
        self.pay_in(bytes / FORESEEN_BYTES_PER_BYTE);
    }

    pub(super) fn pay_in(&mut self, bytes: u64) {
        self.account = (self.account + bytes).min(self.account_max);
    }

    /// Pays for bytes that are read ahead, if there is enough.
    pub(super) fn spend(&mut self, bytes: u64) -> bool {
        match self.account.checked_sub(bytes) {
            Some(left) => {
                self.account = left;
                true
            }
            None => false,
        }
    }

    /// What was foreseen is asked for.
    pub(super) fn came_true(&mut self, id: StreamId, bytes: u64, late: bool) {
        self.pay_in(2 * bytes);
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

impl Inner {
    /// Takes note of a span that an owner asks for, and has read what is likely to come next.
    pub(super) fn foresee(
        &mut self,
        owner: Owner,
        version: &Rc<Version>,
        span: Range<u64>,
        now: Instant,
    ) {
        let latency = Duration::from_nanos(self.latency);
        let plan = self.foresight.begin(owner, version, span, latency, now);
        for (version, span, stream) in plan {
            for (index, need) in block::parts(span, self.options.block_bytes) {
                if !self.read_ahead(&version, index, need, Origin::Foreseen(stream), now) {
                    break;
                }
            }
        }
    }
}

/// A map of a bounded size, from which the oldest goes.
#[derive(Debug)]
struct Table<K, V> {
    map: HashMap<K, V>,
    order: VecDeque<K>,
    count_max: usize,
}

impl<K: Copy + Eq + std::hash::Hash, V> Table<K, V> {
    fn new(count_max: usize) -> Self {
        Self { map: HashMap::new(), order: VecDeque::new(), count_max }
    }

    fn find(&mut self, key: &K) -> Option<&mut V> {
        self.map.get_mut(key)
    }

    /// Puts a value in, in place of what was there, which comes back.
    fn put(&mut self, key: K, value: V) -> Option<V> {
        let before = self.map.insert(key, value);
        if before.is_none() {
            self.order.push_back(key);
            if self.order.len() > self.count_max
                && let Some(oldest) = self.order.pop_front()
            {
                self.map.remove(&oldest);
            }
        }
        before
    }

    fn find_or_put(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        if !self.map.contains_key(&key) {
            self.put(key, make());
        }
        self.map.get_mut(&key).expect("it is there, or was just put in")
    }
}
