//! The engine `direct`: O_DIRECT reads past the page cache into registered buffers, sent by the
//! ring. Reads begin and end on the alignment that statx told; what was not asked for is trimmed.
//! A file whose file system refuses O_DIRECT is declined. The machine is that of `buffered.rs`.

use super::buffered::{Buffered, Source};
use super::contract::{Body, Engine};

pub(super) fn start(body: Body) -> Box<dyn Engine> {
    let source = body.version.direct.as_ref().map(|direct| Source {
        file: direct.file.clone(),
        alignment: u64::from(direct.offset),
        direct: true,
    });
    Box::new(Buffered::new(body, source))
}
