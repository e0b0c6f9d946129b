//! What a sink writes to while it is open.

use rustix::io::Errno;

use super::file::{Found, LogFile};
use super::plumbing::{Plumbing, Process};

/// See the module.
pub(super) enum Target<P: Plumbing> {
    File(LogFile<P>),
    /// The standard output, a FIFO, a terminal or another device.
    Stream(P::File),
    Program(P::Program),
}

impl<P: Plumbing> Target<P> {
    /// Moves bytes of a pipe there.
    pub(super) fn splice(
        &mut self,
        pipe: &P::End,
        count: usize,
        plumbing: &P,
    ) -> Result<usize, Errno> {
        match self {
            Self::File(file) => file.splice(pipe, count),
            Self::Stream(stream) => plumbing.splice(pipe, stream, None, count),
            Self::Program(program) => program.splice(pipe, count),
        }
    }

    /// Writes bytes there.
    pub(super) fn write(&mut self, bytes: &[u8], plumbing: &P) -> Result<usize, Errno> {
        match self {
            Self::File(file) => file.write(bytes),
            Self::Stream(stream) => plumbing.write(stream, bytes, None),
            Self::Program(program) => program.write(bytes),
        }
    }

    pub(super) fn is_pipe(&self, plumbing: &P) -> bool {
        match self {
            Self::File(_) => false,
            Self::Stream(stream) => plumbing.is_pipe(stream),
            Self::Program(program) => program.is_pipe(),
        }
    }

    pub(super) fn is_same_pipe(&self, other: &Self, plumbing: &P) -> bool {
        let (Self::Stream(one), Self::Stream(two)) = (self, other) else { return false };
        let place = |of| plumbing.look(of).map(|known| known.identity);
        plumbing.is_pipe(one) && matches!((place(one), place(two)), (Ok(a), Ok(b)) if a == b)
    }

    /// How many bytes lie in a pipe.
    pub(super) fn unread(&self, plumbing: &P) -> Option<u64> {
        match self {
            Self::File(_) => None,
            Self::Stream(stream) => plumbing.unread(stream),
            Self::Program(program) => program.unread(),
        }
    }

    /// The same; none while somebody may read them.
    pub(super) fn left_unread(&self, plumbing: &P) -> Option<u64> {
        match self {
            Self::File(_) => None,
            Self::Stream(stream) => plumbing.left_unread(stream),
            Self::Program(program) => program.left_unread(),
        }
    }
}

impl<P: Plumbing> From<Found<P>> for Target<P> {
    fn from(found: Found<P>) -> Self {
        match found {
            Found::File(file) => Self::File(file),
            Found::Stream(fd) => Self::Stream(fd),
        }
    }
}

/// A write that takes nothing will take nothing the next time either.
pub(super) fn some(count: usize) -> Result<usize, Errno> {
    if count == 0 { Err(Errno::IO) } else { Ok(count) }
}

/// What an error means here, and what helps.
pub(super) fn said(errno: Errno) -> String {
    match errno {
        Errno::NOSPC => "no space is left on its device; make room or archive less".to_owned(),
        Errno::DQUOT => "the quota of its file system is used up".to_owned(),
        Errno::PIPE => "its reader is gone".to_owned(),
        Errno::NXIO => "it is a FIFO that nobody reads".to_owned(),
        Errno::NOENT => "its directory is not there; make it again".to_owned(),
        Errno::ACCESS | Errno::PERM => {
            "this process may not write there; change the owner or the mode".to_owned()
        }
        Errno::ISDIR => "it is a directory; name a file in it".to_owned(),
        other => other.to_string(),
    }
}
