//! What all workers may use, within the memory that this process may have, and what one may use:
//! its share of that.

use std::sync::Once;

use rustix::io::Errno;

use super::options::{Kind, Options, PageCache};
use crate::cache::BlockOptions;
use crate::limits::{
    ANSWER_BUFFER_BYTES, BODY_BUFFER_BYTES, BODY_BUFFERS_PART, BODY_SHARE_MIN, DIRECT_BLOCKS_MIN,
    DIRECT_CACHE_PART, DIRECT_READS_MAX, HEAD_BUFFER_BYTES, HEAD_BUFFERS_PART, HEAD_SHARE_MIN,
    HOT_CACHE_OF_AUTO, HOT_CACHE_PART, LARGE_HEAD_BUFFER_BYTES, LISTING_MEMORY_MIN,
    LISTING_MEMORY_PART, OPERATIONS_PER_CONNECTION, OWN_OPERATIONS, PIPE_BYTES, SHARED_TURN_BYTES,
    TURN_BYTES, TURNED_AWAY_MAX,
};
use crate::ring::{self, SetupFault, Uring};

/// Budgets that were not set end at a multiple of this, so that they are told in round numbers.
const ROUND: u64 = 64 << 10;

impl Options {
    /// Has the budgets of memory that nobody has set, by the names of their keys, take no more than
    /// a part of what this process may have, and never less than the workers need.
    pub fn fit(&mut self, is_set: impl Fn(&str) -> bool) {
        let workers = self.workers as u64;
        let blocks = if self.engine.keeps_blocks() { DIRECT_BLOCKS_MIN } else { 0 };
        let fitting = |name: &str, usual: u64, parts: u64, least: u64| {
            if is_set(name) { usual } else { self.at_most_a_part(usual, parts).max(least) }
        };
        let heads = (self.head_buffers as u64, HEAD_BUFFERS_PART, workers * HEAD_SHARE_MIN);
        let bodies = (self.body_buffers as u64, BODY_BUFFERS_PART, workers * BODY_SHARE_MIN);
        let least = workers * (blocks * self.direct_block) as u64;
        let cache = (self.direct_cache as u64, DIRECT_CACHE_PART, least);
        let listings = (self.listing_memory, LISTING_MEMORY_PART, LISTING_MEMORY_MIN);
        let heads = fitting("head-buffers", heads.0, heads.1, heads.2);
        let bodies = fitting("body-buffers", bodies.0, bodies.1, bodies.2);
        let cache = fitting("direct-cache", cache.0, cache.1, cache.2);
        let listings = fitting("listing-memory", listings.0, listings.1, listings.2);
        (self.head_buffers, self.body_buffers) = (heads as usize, bodies as usize);
        (self.direct_cache, self.listing_memory) = (cache as usize, listings);
    }

    fn at_most_a_part(&self, usual: u64, parts: u64) -> u64 {
        let part = self.memory.as_ref().map_or(u64::MAX, |memory| memory.bytes / parts);
        usual.min(part - part % ROUND)
    }

    /// What the budgets of memory come to, each with the name of its key, in bytes.
    pub fn memory_budgets(&self) -> [(&'static str, u64); 5] {
        let cache = if self.engine.keeps_blocks() { self.direct_cache } else { 0 };
        [
            ("head-buffers", self.head_buffers as u64),
            ("body-buffers", self.body_buffers as u64),
            ("direct-cache", cache as u64),
            ("hot-cache", all_hot_bytes(self)),
            ("listing-memory", self.listing_memory),
        ]
    }

    /// What of these a start takes at once: buffers that are registered are pinned, all of them.
    pub fn memory_at_start(&self) -> u64 {
        let pinned = if self.engine.reads_into_buffers() { 3 } else { 0 };
        self.memory_budgets()[..pinned].iter().map(|(_, bytes)| bytes).sum()
    }
}

/// Whether there is memory for the buffers of one more configuration.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// There is.
    Enough,
    /// There is when those that finish have ended.
    Later,
    /// Not beside the one that serves, for this reason.
    Never(String),
}

/// Whether the next configuration may start beside those that are there. `pinned` is what each of
/// these took at its start, the one that serves last.
pub(super) fn room(pinned: &[u64], next: &Options) -> Room {
    let Some(memory) = &next.memory else { return Room::Enough };
    let at_start = next.memory_at_start();
    let fits = |others: &[u64]| others.iter().sum::<u64>().saturating_add(at_start) <= memory.bytes;
    let serving = &pinned[pinned.len().saturating_sub(1)..];
    if at_start == 0 || fits(pinned) {
        return Room::Enough;
    }
    if fits(serving) {
        return Room::Later;
    }
    let [at_start, serving, all] =
        [at_start, serving.iter().sum(), memory.bytes].map(|bytes| bytes.div_ceil(1 << 20));
    Room::Never(format!(
        "the buffers of the new configuration take {at_start} MiB at once, beside {serving} MiB of \
         the one that serves, and this process may have {all} MiB of memory ({}); lower \
         direct-cache, body-buffers or head-buffers, or start the server anew",
        memory.by.display()
    ))
}

/// Of its ring.
pub(super) fn of_ring(options: &Options) -> ring::Options {
    let connections = options.share(options.connections) + TURNED_AWAY_MAX;
    let heads = options.share(options.head_buffers);
    let count = |bytes: usize, each: usize| (bytes / each).max(4);
    ring::Options {
        rings: options.workers,
        operations_max: connections * OPERATIONS_PER_CONNECTION + OWN_OPERATIONS,
        owners_max: connections + OWN_OPERATIONS,
        // A quarter of the memory for heads is for those that are set aside while a disk is waited
        // for: as much as for answers, see `Worker::new`.
        pools: [
            (HEAD_BUFFER_BYTES, count(heads / 4, HEAD_BUFFER_BYTES)),
            (LARGE_HEAD_BUFFER_BYTES, count(heads / 4, LARGE_HEAD_BUFFER_BYTES)),
            (ANSWER_BUFFER_BYTES, count(heads / 4, ANSWER_BUFFER_BYTES)),
            (BODY_BUFFER_BYTES, count(options.share(options.body_buffers), BODY_BUFFER_BYTES)),
            (options.direct_block, blocks(options)),
        ],
        pipes_max: options.share(options.pipes),
        pipe_bytes: PIPE_BYTES,
        turn_bytes: TURN_BYTES,
        shared_turn_bytes: SHARED_TURN_BYTES,
    }
}

/// Blocks that one worker keeps; none without an engine that keeps any.
fn blocks(options: &Options) -> usize {
    match options.engine.keeps_blocks() {
        true => (options.share(options.direct_cache) / options.direct_block).max(DIRECT_BLOCKS_MIN),
        false => 0,
    }
}

/// Of its blocks of files.
pub(super) fn of_blocks(options: &Options) -> BlockOptions {
    BlockOptions {
        block_bytes: options.direct_block,
        blocks_max: blocks(options),
        reads_max: DIRECT_READS_MAX,
        foresees: options.predictor,
    }
}

/// Memory for small hot files, in bytes.
pub(super) fn hot_bytes(options: &Options) -> u64 {
    all_hot_bytes(options) / options.workers as u64
}

/// The same in all workers. A fixed engine moves every body itself unless it was asked not to, so
/// that comparing engines compares engines.
fn all_hot_bytes(options: &Options) -> u64 {
    let usual = if options.engine == Kind::Auto { HOT_CACHE_OF_AUTO } else { 0 };
    options.hot_cache.unwrap_or_else(|| options.at_most_a_part(usual, HOT_CACHE_PART))
}

/// Bytes from which a file leaves nothing in the page cache, if any does so.
pub(super) fn drop_from(options: &Options) -> Option<u64> {
    (options.page_cache == PageCache::Drop).then_some(options.page_cache_drop_from)
}

/// Bytes from which a file is also opened past the page cache; none where no engine reads so.
pub(super) fn direct_from(options: &Options) -> Option<u64> {
    match options.engine {
        Kind::Direct => Some(1),
        Kind::Auto => Some(options.thresholds.once_bytes_min),
        Kind::Sendfile | Kind::Splice | Kind::Uring | Kind::Copy => None,
    }
}

/// Why there is no ring: its queues count as locked memory, too.
pub(super) fn no_ring(fault: SetupFault) -> String {
    let remedy = match Errno::from_io_error(&fault.0) {
        Some(Errno::NOMEM) => {
            "; raise the limit of locked memory (ulimit -l, LimitMEMLOCK=) to 1 MiB or more for \
             each worker"
        }
        _ => "",
    };
    format!("{}{remedy}", fault.0)
}

/// Without the registration reads cost more; the server runs all the same and says so, once for
/// all workers.
pub(super) fn register(uring: &mut Uring, memory: &[(*mut u8, usize)]) -> Option<u16> {
    static SAID: Once = Once::new();
    let error = match uring.register_memory(memory) {
        Ok(()) => return Some(0),
        Err(error) => error,
    };
    SAID.call_once(|| {
        tracing::warn!(
            bytes = memory.iter().map(|(_, bytes)| bytes).sum::<usize>(),
            %error,
            "the buffers of a worker are not registered with its ring, so reads cost more; raise \
             the limit of locked memory (ulimit -l, LimitMEMLOCK=) above body-buffers and \
             direct-cache together"
        );
    });
    None
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::sys::memory::Allowance;

    const MIB: u64 = 1 << 20;

    fn with_memory(engine: Kind, bytes: u64) -> Options {
        let memory = Some(Allowance { bytes, by: PathBuf::from("/group/memory.max") });
        Options { engine, workers: 2, memory, ..Options::default() }
    }

    fn budgets(options: &Options) -> [u64; 5] {
        options.memory_budgets().map(|(_, bytes)| bytes)
    }

    #[test]
    fn where_there_is_memory_budgets_are_as_told() {
        let mut options = with_memory(Kind::Auto, 1024 * MIB);
        options.fit(|_| false);
        let expected = [16, 64, 256, 32, 64].map(|count| count * MIB);
        assert_eq!(budgets(&options), expected);
        options.memory = None;
        options.fit(|_| false);
        assert_eq!(budgets(&options), expected);
    }

    #[test]
    fn what_nobody_has_set_leaves_half_of_the_memory() {
        for engine in Kind::ALL {
            for bytes in [64 * MIB, 100_000_000, 192 * MIB, 500 * MIB, 900 * MIB] {
                let mut options = with_memory(engine, bytes);
                options.fit(|_| false);
                let all: u64 = budgets(&options).iter().sum();
                assert!(all <= bytes / 2, "{engine}: {all} of {bytes}");
                assert!(options.memory_at_start() <= all);
            }
        }
        let mut options = with_memory(Kind::Direct, 192 * MIB);
        options.fit(|_| false);
        assert_eq!(budgets(&options), [6 * MIB, 24 * MIB, 48 * MIB, 0, 12 * MIB]);
    }

    #[test]
    fn what_was_set_stays_and_the_others_fit() {
        let mut options = with_memory(Kind::Auto, 192 * MIB);
        options.hot_cache = Some(100 * MIB);
        options.fit(|name| name == "direct-cache");
        assert_eq!(budgets(&options), [6, 24, 256, 100, 12].map(|count| count * MIB));
        assert_eq!(options.memory_at_start(), 0);
        options.engine = Kind::Direct;
        assert_eq!(options.memory_at_start(), 286 * MIB);
    }

    #[test]
    fn workers_have_what_they_need_whatever_there_is() {
        let mut options = with_memory(Kind::Direct, MIB);
        options.fit(|_| false);
        let least = [2 * HEAD_SHARE_MIN, 2 * BODY_SHARE_MIN, 4 * MIB, 0, LISTING_MEMORY_MIN];
        assert_eq!(budgets(&options), least);
    }

    #[test]
    fn one_more_configuration_waits_for_memory_or_is_refused() {
        let mut options = with_memory(Kind::Direct, 192 * MIB);
        options.fit(|_| false);
        let each = options.memory_at_start();
        assert_eq!(each, 78 * MIB);
        assert_eq!(room(&[], &options), Room::Enough);
        assert_eq!(room(&[each], &options), Room::Enough);
        assert_eq!(room(&[each, each], &options), Room::Later, "three would be more than there is");
        assert_eq!(room(&[each, 0], &options), Room::Enough);
        assert_eq!(room(&[0, 114 * MIB], &options), Room::Enough, "to the last byte");
        let Room::Never(why) = room(&[0, 114 * MIB + 1], &options) else { panic!("it fits") };
        for word in ["78 MiB", "115 MiB", "192 MiB", "/group/memory.max", "direct-cache"] {
            assert!(why.contains(word), "{word} is missing: {why}");
        }
        // What pins nothing adds nothing, whatever is there.
        let auto = with_memory(Kind::Auto, 192 * MIB);
        assert_eq!(room(&[each, each, each], &auto), Room::Enough);
        options.memory = None;
        assert_eq!(room(&[u64::MAX, u64::MAX], &options), Room::Enough);
    }
}
