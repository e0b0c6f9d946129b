//! The files of a race: the one that is read, and those that are written.
//!
//! A file that the lab makes has no name: it is gone with its last descriptor, however the
//! process ends. It is opened again with other flags through `/proc/self/fd`. A file that was
//! named is only read.

use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Advice, OFlags, fadvise, fdatasync, fstatfs, fstatvfs, ftruncate};
use rustix::io::Errno;

use super::fault::Fault;
use super::inspect::Reference;
use super::options::Options;
use crate::base::Random;
use crate::limits;
use crate::sys::residency::{Residency, residency};
use crate::techniques::direct::{Alignment, DirectFile};
use crate::techniques::{AlignedBuffer, positional};

/// What the laps run on.
#[derive(Debug)]
pub(super) struct Track {
    /// The file that is read.
    pub(super) source: File,
    /// Its name, or the directory of the one that was made.
    pub(super) path: PathBuf,
    /// Whether it was made for this race.
    pub(super) made: bool,
    /// Bytes that are raced: whole blocks.
    pub(super) size: u64,
    /// Bytes of a block.
    pub(super) block: usize,
    /// The file that laps write into, of the size from the start.
    written: Result<File, String>,
    /// The file that copies go to, empty before each lap.
    copied: Result<File, String>,
    /// Why nobody tells how much of the file is in memory, if so.
    pub(super) untold: Option<String>,
    /// What O_DIRECT needs here, or why it cannot be had.
    pub(super) direct: Result<Alignment, String>,
    pub(super) reference: Arc<Reference>,
}

impl Track {
    /// Opens or makes the files. `writes` and `copies` say whether laps need files to write to.
    pub(super) fn open(
        options: &Options,
        seed: u64,
        writes: bool,
        copies: bool,
    ) -> Result<Self, Fault> {
        let named = options.file.clone().filter(|path| !path.is_dir());
        let directory = match (&named, &options.file) {
            (Some(file), _) => file.parent().map_or_else(PathBuf::new, Path::to_owned),
            (None, Some(directory)) => directory.clone(),
            (None, None) => temporary(),
        };
        let directory =
            if directory.as_os_str().is_empty() { PathBuf::from(".") } else { directory };
        let block = options.block_size;
        let (source, size) = match &named {
            Some(path) => open_named(path, options)?,
            None => {
                let size = options.size.unwrap_or(limits::LAB_SIZE);
                let size = (size / block as u64).max(1) * block as u64;
                let files = 1 + u64::from(writes) + u64::from(copies);
                check_room(&directory, size.saturating_mul(files))?;
                let file = make(&directory, size, seed)
                    .map_err(|error| Fault::Scratch { path: directory.clone(), error })?;
                (file, size)
            }
        };
        // What a lap writes beside a file that was named needs room, too. Without it the other
        // laps run all the same.
        let needed = size.saturating_mul(u64::from(writes) + u64::from(copies));
        let room = match &named {
            Some(_) if needed > 0 => check_room(&directory, needed).map_err(|no| no.to_string()),
            _ => Ok(()),
        };
        let beside = |wanted: bool, length: u64| match wanted {
            true => room.clone().and_then(|()| {
                make(&directory, length, seed ^ 1).map_err(|error| {
                    format!("no file can be made in '{}': {error}", directory.display())
                })
            }),
            false => Err("no lap writes".to_owned()),
        };
        let (written, copied) = (beside(writes, size), beside(copies, 0));
        let direct = DirectFile::open(reopened(&source)).map(|file| file.alignment());
        let untold = residency(&source, 0, block as u64).err().map(untold);
        let mut track = Self {
            source,
            path: named.clone().unwrap_or(directory),
            made: named.is_none(),
            size,
            block,
            written,
            copied,
            untold,
            direct: direct.map_err(|error| error.to_string()),
            reference: Arc::default(),
        };
        track.reference = Arc::new(track.read_reference()?);
        Ok(track)
    }

    /// Number of blocks.
    pub(super) fn blocks(&self) -> u64 {
        self.size / self.block as u64
    }

    /// A buffer of exactly a block, aligned to a page or to the block where that is smaller.
    pub(super) fn buffer(&self) -> AlignedBuffer {
        let own = 1 << self.block.trailing_zeros();
        let alignment = rustix::param::page_size().min(own);
        AlignedBuffer::new(self.block, alignment).expect("a block is a multiple of 512, in memory")
    }

    /// The file that is read, opened anew, by O_DIRECT or not.
    pub(super) fn open_source(&self, direct: bool) -> io::Result<OwnedFd> {
        let flags = if direct { OFlags::DIRECT } else { OFlags::empty() };
        reopen(&self.source, false, flags)
    }

    /// The file that laps write into, with flags.
    pub(super) fn open_written(&self, flags: OFlags) -> io::Result<OwnedFd> {
        reopen(there(&self.written)?, true, flags)
    }

    /// Why laps cannot write, if so.
    pub(super) fn no_writing(&self) -> Option<&str> {
        self.written.as_ref().err().map(String::as_str)
    }

    /// Why laps cannot copy, if so.
    pub(super) fn no_copying(&self) -> Option<&str> {
        self.copied.as_ref().err().map(String::as_str)
    }

    /// The path that opens the written file again.
    pub(super) fn written_path(&self) -> io::Result<PathBuf> {
        there(&self.written).map(reopened)
    }

    /// The file that copies go to, emptied.
    pub(super) fn emptied_copy(&self) -> io::Result<OwnedFd> {
        let file = there(&self.copied)?;
        ftruncate(file, 0)?;
        reopen(file, true, OFlags::empty())
    }

    /// How much of the file is in memory, if the kernel tells.
    pub(super) fn residency(&self) -> Option<Residency> {
        residency(&self.source, 0, self.size).ok()
    }

    /// Whether the file system can be without the file in memory: not one that lives there.
    pub(super) fn lets_go(&self) -> bool {
        const TMPFS: i64 = 0x0102_1994;
        const RAMFS: i64 = 0x8584_58f6;
        !fstatfs(&self.source).is_ok_and(|told| matches!(told.f_type, TMPFS | RAMFS))
    }

    /// Reads the file until all of it is in memory, as far as it fits.
    pub(super) fn warm(&self) -> io::Result<()> {
        if self.residency().is_some_and(|told| told.resident == told.pages) {
            return Ok(());
        }
        let mut buffer = vec![0; limits::LAB_RECEIVE_BYTES];
        let mut at = 0;
        while at < self.size {
            match positional::pread(&self.source, &mut buffer, at)? {
                0 => return Ok(()),
                read => at += read as u64,
            }
        }
        Ok(())
    }

    /// Puts the file out of memory, as far as the kernel lets go of it.
    pub(super) fn chill(&self) -> io::Result<()> {
        fadvise(&self.source, 0, NonZeroU64::new(self.size), Advice::DontNeed)?;
        Ok(())
    }

    /// Has everything written that laps left in memory, so that it does not disturb the next.
    pub(super) fn settle(&self) -> io::Result<()> {
        for file in [&self.written, &self.copied].into_iter().flatten() {
            fdatasync(file)?;
        }
        Ok(())
    }

    fn read_reference(&self) -> Result<Reference, Fault> {
        let mut reference = Reference::default();
        let mut block = vec![0; self.block];
        for index in 0..self.blocks() {
            let read = positional::pread_all(&self.source, &mut block, index * self.block as u64);
            let error = match read {
                Ok(read) if read.bytes == self.block as u64 => {
                    reference.push(&block);
                    continue;
                }
                Ok(_) => io::ErrorKind::UnexpectedEof.into(),
                Err(stopped) => io::Error::from(stopped.error),
            };
            return Err(Fault::Open { path: self.path.clone(), error });
        }
        Ok(reference)
    }
}

fn untold(errno: Errno) -> String {
    match errno {
        Errno::PERM | Errno::ACCESS => "the kernel tells only the owner of the file, and who may \
                                        write to it, what of it is in memory; race as its owner, \
                                        or a copy"
            .to_owned(),
        errno => format!("the kernel does not tell what of the file is in memory: {errno}"),
    }
}

fn there(file: &Result<File, String>) -> io::Result<&File> {
    file.as_ref().map_err(|reason| io::Error::other(reason.clone()))
}

/// A directory whose files are on a disk where there is one: TMPDIR, else /var/tmp, else /tmp,
/// which is in memory on many systems.
fn temporary() -> PathBuf {
    let named = std::env::var_os("TMPDIR").filter(|name| !name.is_empty()).map(PathBuf::from);
    let lasting = Path::new("/var/tmp");
    named.unwrap_or_else(|| if lasting.is_dir() { lasting.into() } else { "/tmp".into() })
}

fn open_named(path: &Path, options: &Options) -> Result<(File, u64), Fault> {
    let fault = |error| Fault::Open { path: path.to_owned(), error };
    // Opening a pipe would wait for its other end.
    let flags = OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(fault)?;
    let facts = file.metadata().map_err(fault)?;
    if !facts.is_file() {
        return Err(Fault::NotAFile(path.to_owned()));
    }
    let (size, block) = (facts.len(), options.block_size as u64);
    if let Some(wanted) = options.size.filter(|&wanted| wanted > size) {
        return Err(Fault::Shorter { path: path.to_owned(), size, wanted });
    }
    if size < block {
        return Err(Fault::TooSmall { path: path.to_owned(), size, block: options.block_size });
    }
    let raced = options.size.unwrap_or(size.min(limits::LAB_SIZE_MAX));
    Ok((file, (raced / block).max(1) * block))
}

fn check_room(directory: &Path, needed: u64) -> Result<(), Fault> {
    let fault = |error| Fault::Open { path: directory.to_owned(), error };
    let told = fstatvfs(File::open(directory).map_err(fault)?).map_err(|errno| fault(errno.into()));
    let told = told?;
    let free = told.f_bavail.saturating_mul(told.f_frsize);
    match needed > free {
        true => Err(Fault::Full { path: directory.to_owned(), needed, free }),
        false => Ok(()),
    }
}

/// Makes a file without a name and fills it with bytes that no device can compress.
fn make(directory: &Path, size: u64, seed: u64) -> io::Result<File> {
    let file = nameless(directory)?;
    let mut random = Random::new(seed);
    let mut chunk = vec![0; limits::LAB_RECEIVE_BYTES];
    let mut at = 0;
    while at < size {
        for word in chunk.chunks_exact_mut(8) {
            word.copy_from_slice(&random.next().to_ne_bytes());
        }
        let count = (size - at).min(chunk.len() as u64) as usize;
        positional::pwrite_all(&file, &chunk[..count], at)
            .map_err(|stopped| io::Error::from(stopped.error))?;
        at += count as u64;
    }
    fdatasync(&file)?;
    Ok(file)
}

fn nameless(directory: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    match options.clone().custom_flags(OFlags::TMPFILE.bits() as i32).open(directory) {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::IsADirectory) => {
        }
        answer => return answer,
    }
    // Where there are no files without names, one loses its name at once.
    let path = directory.join(format!(".pitcrew-lab-{}", std::process::id()));
    let file = options.create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// The path by which a descriptor is opened again.
fn reopened(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

fn reopen(file: &File, write: bool, flags: OFlags) -> io::Result<OwnedFd> {
    let mut options = OpenOptions::new();
    options.read(true).write(write).custom_flags(flags.bits() as i32);
    options.open(reopened(file)).map(OwnedFd::from)
}
