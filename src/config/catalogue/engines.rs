//! The keys of the engines and of the memory that they keep files in.

use toml::Value;

use crate::config::key::{Key, Section};
use crate::config::shapes::{BY_ENGINE, as_usize, hot_cache, power_of_two};
use crate::config::written::show_size;
use crate::server::options::{Kind, PageCache};

/// Bytes of a block, at least and at most: a page is what every disk's alignment divides, and a
/// larger read gains nothing over several in flight.
const DIRECT_BLOCK: (u64, u64) = (4 << 10, 4 << 20);

pub(super) const ENGINE: Key = Key::one(
    Section::Serving,
    "engine",
    "ENGINE",
    "How bodies travel: auto (chosen for each), or always by sendfile, splice, uring, direct \
     or copy [default: auto]",
    |all, written, _| {
        all.server.engine = written.choice("engine", &Kind::ALL, Kind::name)?;
        Ok(())
    },
    |all| Value::from(all.server.engine.name()),
)
.common();

pub(super) const SERVER_TIMING: Key = Key::one(
    Section::Serving,
    "server-timing",
    "BOOL",
    "Show in a Server-Timing field which engine moves the body, and why [default: false]",
    |all, written, _| written.boolean().map(|on| all.server.server_timing = on),
    |all| Value::from(all.server.server_timing),
)
.switch();

pub(super) const DIRECT_CACHE: Key = Key::one(
    Section::Workers,
    "direct-cache",
    "SIZE",
    "Memory for blocks of files that the engines direct and auto keep, in all workers; taken as \
     it is used; if it is not given, eight blocks for each worker at least, and \
     less where memory is limited [default: 256MiB]",
    |all, written, _| {
        all.server.direct_cache = as_usize(written.size(DIRECT_BLOCK.0..=1 << 40)?);
        Ok(())
    },
    |all| Value::from(show_size(all.server.direct_cache as u64)),
);

pub(super) const DIRECT_BLOCK_BYTES: Key = Key::one(
    Section::Workers,
    "direct-block",
    "SIZE",
    "Bytes of such a block, a power of two from 4KiB to 4MiB [default: 256KiB]",
    |all, written, _| {
        let bytes = written.size(DIRECT_BLOCK.0..=DIRECT_BLOCK.1)?;
        all.server.direct_block = as_usize(power_of_two(bytes)?);
        Ok(())
    },
    |all| Value::from(show_size(all.server.direct_block as u64)),
);

pub(super) const PREDICTOR: Key = Key::one(
    Section::Workers,
    "predictor",
    "BOOL",
    "Read blocks before they are asked for where earlier requests show a pattern: in sequence, at \
     a stride, that file after this file [default: true]",
    |all, written, _| written.boolean().map(|on| all.server.predictor = on),
    |all| Value::from(all.server.predictor),
)
.switch();

pub(super) const HOT_CACHE: Key = Key::one(
    Section::Workers,
    "hot-cache",
    "SIZE",
    "Memory for files up to 16KiB that are asked for again, sent with their heads, in all \
     workers; 0 keeps none; by-engine is 32MiB with auto, or less where memory is limited, \
     and none with others [default: by-engine]",
    |all, written, _| {
        all.server.hot_cache = hot_cache(written)?;
        Ok(())
    },
    |all| Value::from(all.server.hot_cache.map_or(BY_ENGINE.to_owned(), show_size)),
);

pub(super) const PAGE_CACHE: Key = Key::one(
    Section::Workers,
    "page-cache",
    "WHAT",
    "What the page cache of the kernel has of large files that were sent: keep (what the kernel \
     thinks fit) or drop (what was there before) [default: keep]",
    |all, written, _| {
        all.server.page_cache = written.choice("choice", &PageCache::ALL, PageCache::name)?;
        Ok(())
    },
    |all| Value::from(all.server.page_cache.name()),
);

pub(super) const PAGE_CACHE_DROP_FROM: Key = Key::one(
    Section::Workers,
    "page-cache-drop-from",
    "SIZE",
    "Bytes from which a file is large for that [default: 16MiB]",
    |all, written, _| written.size(1..=1 << 62).map(|size| all.server.page_cache_drop_from = size),
    |all| Value::from(show_size(all.server.page_cache_drop_from)),
);
