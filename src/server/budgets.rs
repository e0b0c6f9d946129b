//! What one worker may use: its share of the budgets for all of them.

use std::sync::Once;

use rustix::io::Errno;

use super::options::{Kind, Options, PageCache};
use crate::cache::BlockOptions;
use crate::limits::{
    ANSWER_BUFFER_BYTES, BODY_BUFFER_BYTES, DIRECT_BLOCKS_MIN, DIRECT_READS_MAX, HEAD_BUFFER_BYTES,
    LARGE_HEAD_BUFFER_BYTES, OPERATIONS_PER_CONNECTION, OWN_OPERATIONS, PIPE_BYTES, TURN_BYTES,
    TURNED_AWAY_MAX,
};
use crate::ring::{self, SetupFault, Uring};

/// Memory for small hot files with the engine `auto`, in bytes: thousands of them, and less than a
/// tenth of what the other budgets come to.
const HOT_CACHE_OF_AUTO: u64 = 32 << 20;

/// Of its ring.
pub(super) fn of_ring(options: &Options) -> ring::Options {
    let connections = options.share(options.connections) + TURNED_AWAY_MAX;
    let heads = options.share(options.head_buffers);
    let count = |bytes: usize, each: usize| (bytes / each).max(4);
    ring::Options {
        operations_max: connections * OPERATIONS_PER_CONNECTION + OWN_OPERATIONS,
        owners_max: connections + OWN_OPERATIONS,
        // Half of the memory for heads is for large ones and for answers.
        pools: [
            (HEAD_BUFFER_BYTES, count(heads / 2, HEAD_BUFFER_BYTES)),
            (LARGE_HEAD_BUFFER_BYTES, count(heads / 4, LARGE_HEAD_BUFFER_BYTES)),
            (ANSWER_BUFFER_BYTES, count(heads / 4, ANSWER_BUFFER_BYTES)),
            (BODY_BUFFER_BYTES, count(options.share(options.body_buffers), BODY_BUFFER_BYTES)),
            (options.direct_block, blocks(options)),
        ],
        pipes_max: options.share(options.pipes),
        pipe_bytes: PIPE_BYTES,
        turn_bytes: TURN_BYTES,
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
        foresees: true,
    }
}

/// Memory for small hot files, in bytes. A fixed engine moves every body itself unless it was asked
/// not to, so that comparing engines compares engines.
pub(super) fn hot_bytes(options: &Options) -> u64 {
    let usual = if options.engine == Kind::Auto { HOT_CACHE_OF_AUTO } else { 0 };
    options.hot_cache.unwrap_or(usual) / options.workers as u64
}

/// Bytes from which a file leaves nothing in the page cache, if any does so.
pub(super) fn drop_from(options: &Options) -> Option<u64> {
    (options.page_cache == PageCache::Drop).then_some(options.page_cache_drop_from)
}

/// Bytes from which a file is also opened past the page cache; none where no engine reads so.
pub(super) fn direct_from(options: &Options) -> Option<u64> {
    match options.engine {
        Kind::Direct => Some(1),
        Kind::Auto => Some(options.thresholds.direct_bytes_min()),
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
