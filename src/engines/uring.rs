//! The engine `uring`: fixed reads through the page cache into registered buffers, sent by the
//! ring, a block read while the one before is sent. It copies each byte twice and waits for
//! nothing but the submission of the turn. The machine is that of `buffered.rs`.

use super::buffered::{Buffered, Source};
use super::contract::{Body, Engine};

pub(super) fn start(body: Body) -> Box<dyn Engine> {
    let source = Source { file: body.version.file.clone(), alignment: 1, direct: false };
    Box::new(Buffered::new(body, Some(source)))
}
