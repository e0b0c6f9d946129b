//! The techniques of input and output, one file each: thin safe calls with typed errors.
//!
//! | module | man pages | what it is for |
//! | --- | --- | --- |
//! | [`vectored`] | readv(2), writev(2) | scatter reads and gather writes over many buffers |
//! | [`positional`] | pread(2), pwrite(2), preadv2(2) | reads and writes that move no offset |
//! | [`sendfile`] | sendfile(2) | a file to a socket or a file, inside the kernel |
//! | [`pipe`] | splice(2), tee(2), pipe(7) | the same through a pipe, where bytes can be doubled |
//! | [`copy_range`] | copy_file_range(2) | a file to a file, inside the kernel or the file system |
//! | [`posix_aio`] | aio(7), lio_listio(3) | asynchronous operations of the C library |
//! | [`direct`] | open(2) (O_DIRECT), statx(2) | transfers that pass by the page cache |
//! | [`memory`] | open(2), NOTES on O_DIRECT | aligned buffers, memory that operations own |
//! | [`residency`] | preadv2(2), cachestat(2), mincore(2) | whether the page cache has a part |
//! | [`synchronous`] | open(2) (O_SYNC, O_DSYNC) | writes that are on the device when they return |
//!
//! # Conventions
//!
//! - Where bytes go from one descriptor to another, the source comes first, also in
//!   [`sendfile`], whose system call has them the other way round.
//! - Offsets are `u64` bytes from the start of the file, counts are `usize` bytes. An offset that
//!   the kernel would take for a negative one is [`Error::OffsetTooLarge`].
//! - One call is one system call, and moves what the kernel moves: a short transfer is a plain
//!   `Ok`. It is repeated only for EINTR. All calls here report EINTR only when no byte has moved
//!   (a call that is interrupted later reports what it moved), so repeating loses and duplicates
//!   nothing. A program that wants signals to end a wait uses non-blocking descriptors.
//! - Functions whose names end in `_all` resume short transfers until the count is reached or the
//!   input ends, and answer with a [`Transfer`], or with [`Stopped`], which also says how far they
//!   came.
//! - No call counts, logs or allocates, unless its page says so.
//!
//! # Needs
//!
//! Linux 5.10 or later; what needs more says so and has a typed answer for older kernels.

pub mod copy_range;
pub mod direct;
mod error;
pub mod memory;
pub mod pipe;
pub mod positional;
pub mod residency;

pub mod posix_aio;
pub mod sendfile;
pub mod synchronous;
pub mod vectored;

pub use error::{Error, Stopped};
pub use memory::{AlignedBuffer, Memory};
pub use pipe::Pipe;
pub use rustix::io::Errno;

/// What a helper that resumes short transfers has moved.
///
/// ```
/// use pitcrew::techniques::{Transfer, positional};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let file = std::fs::File::open("Cargo.toml")?;
/// let mut head = [0; 9];
/// let moved = positional::pread_all(&file, &mut head, 0)?;
/// assert_eq!(moved, Transfer { bytes: 9, short_transfers: 0 });
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transfer {
    /// Bytes moved. Fewer than were asked for means that the input ended.
    pub bytes: u64,
    /// System calls that moved at least one byte, but fewer than they were asked for (at most
    /// 1 GiB a call).
    pub short_transfers: u32,
}

/// Calls `step` with the bytes done so far until `wanted` bytes are moved or a call moves none.
fn resume(
    wanted: u64,
    mut step: impl FnMut(u64) -> Result<usize, Error>,
) -> Result<Transfer, Stopped> {
    let mut done = Transfer::default();
    while done.bytes < wanted {
        let moved = step(done.bytes).map_err(|error| Stopped { done, error })? as u64;
        assert!(moved <= wanted - done.bytes, "a call moved more bytes than it was asked for");
        if moved == 0 {
            break;
        }
        done.short_transfers += u32::from(moved < CALL_BYTES_MAX.min(wanted - done.bytes));
        done.bytes += moved;
    }
    Ok(done)
}

/// Bytes that a resuming helper asks one system call for: the kernel moves at most `MAX_RW_COUNT`
/// (2 GiB less a page) at once, and refuses counts that are negative as signed values.
const CALL_BYTES_MAX: u64 = 1 << 30;

/// The count for one system call out of what remains of a longer transfer.
fn call_count(remaining: u64) -> usize {
    remaining.min(CALL_BYTES_MAX) as usize
}

/// Refuses offsets that are negative as the kernel's signed 64 bits. Besides being an error,
/// `u64::MAX` means "the file's own offset, and move it" to preadv2(2) and pwritev2(2).
fn check_offset(offset: u64) -> Result<(), Error> {
    if i64::try_from(offset).is_err() { Err(Error::OffsetTooLarge { offset }) } else { Ok(()) }
}

/// A write that takes no byte of a buffer that has some will take none the next time either.
fn some_written(written: usize) -> Result<usize, Error> {
    if written == 0 { Err(Error::NoProgress) } else { Ok(written) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn resume_counts_short_calls_and_stops_at_the_end() {
        let mut script = [3_usize, 4, 0].into_iter();
        let moved = resume(10, |_| Ok(script.next().unwrap())).unwrap();
        assert_eq!(moved, Transfer { bytes: 7, short_transfers: 2 });
    }

    #[test]
    fn resume_says_how_far_it_came_before_the_error() {
        let stopped = resume(10, |done| if done == 0 { Ok(6) } else { Err(Error::WouldBlock) });
        let done = Transfer { bytes: 6, short_transfers: 1 };
        assert_eq!(stopped, Err(Stopped { done, error: Error::WouldBlock }));
    }

    #[test]
    fn negative_offsets_are_refused() {
        assert_eq!(check_offset(i64::MAX as u64), Ok(()));
        let offset = u64::MAX;
        assert_eq!(check_offset(offset), Err(Error::OffsetTooLarge { offset }));
    }
}
