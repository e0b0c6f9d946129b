//! A file system in user space whose calls can be made to hang or to fail.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry,
    ReplyOpen, Request,
};

/// Bytes of each file: more than one window of what is warmed.
pub(crate) const FILE_BYTES: usize = 600_000;
/// Files are the numbers below this.
const FILES: u64 = 1000;
/// The file that a disk may have besides, and its number.
pub(crate) const IMAGE: &str = "image";
const IMAGE_NUMBER: INodeNo = INodeNo(FILES + 2);
/// How long the kernel keeps facts: they are asked again and again.
const FACTS_KEPT: Duration = Duration::ZERO;
/// How long it keeps names: then an open asks nobody before it waits for its own answer.
const NAMES_KEPT: Duration = Duration::from_secs(3600);

/// What can be made to hang.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Lookup,
    Getattr,
    Open,
    Read,
    Flush,
}

type Answer = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    hangs: Option<Call>,
    held: Vec<Answer>,
    fails_from: Option<u64>,
}

/// The bytes of a file.
pub(crate) fn content(number: usize) -> Vec<u8> {
    (0..FILE_BYTES).map(|at| (at / 7 + at / 4093 + number * 31) as u8).collect()
}

/// A mounted disk; it is released and taken off with the value.
pub(crate) struct Disk {
    state: Arc<Mutex<State>>,
    session: Option<BackgroundSession>,
    at: PathBuf,
}

impl Disk {
    pub(crate) fn mount(at: &Path) -> io::Result<Self> {
        Self::start(at, None)
    }

    /// With one more file, [`IMAGE`]. Nothing of it is kept in memory: each read of it asks the
    /// disk.
    pub(crate) fn mount_with_image(at: &Path, image: &Path) -> io::Result<Self> {
        Self::start(at, Some(Arc::new(File::open(image)?)))
    }

    fn start(at: &Path, image: Option<Arc<File>>) -> io::Result<Self> {
        let state = Arc::<Mutex<State>>::default();
        let files = Files { state: Arc::clone(&state), image };
        let session = fuser::spawn_mount(files, at, &Config::default())?;
        Ok(Self { state, session: Some(session), at: at.to_owned() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Has the kernel keep the names of the first files.
    pub(crate) fn make_names_known(&self, count: usize) {
        for number in 0..=count {
            std::fs::metadata(self.at.join(number.to_string())).unwrap();
        }
    }

    /// From now on calls of this kind are not answered.
    pub(crate) fn hang(&self, call: Call) {
        self.state().hangs = Some(call);
    }

    /// How many are not.
    pub(crate) fn held(&self) -> usize {
        self.state().held.len()
    }

    /// Answers all of them, and those that follow.
    pub(crate) fn release(&self) {
        let held = {
            let mut state = self.state();
            state.hangs = None;
            std::mem::take(&mut state.held)
        };
        held.into_iter().for_each(|answer| answer());
    }

    /// Answers the one that has waited longest; the others and those that follow wait on.
    pub(crate) fn answer_one(&self) {
        let mut state = self.state();
        let first = (!state.held.is_empty()).then(|| state.held.remove(0));
        drop(state);
        first.into_iter().for_each(|answer| answer());
    }

    /// Reads that reach beyond an offset fail.
    pub(crate) fn fail_from(&self, offset: u64) {
        self.state().fails_from = Some(offset);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.release();
        drop(self.session.take());
        // A process that has just ended may still have had a file of it; then it is taken off
        // lazily. Where that is not so there is nothing to take off.
        let _ = Command::new("umount").arg("-l").arg(&self.at).stderr(Stdio::null()).status();
    }
}

struct Files {
    state: Arc<Mutex<State>>,
    image: Option<Arc<File>>,
}

impl Files {
    fn size(&self, ino: INodeNo) -> u64 {
        match (ino, &self.image) {
            (INodeNo::ROOT, _) => 0,
            (IMAGE_NUMBER, Some(image)) => image.metadata().unwrap().len(),
            _ => FILE_BYTES as u64,
        }
    }

    fn attributes(&self, ino: INodeNo) -> FileAttr {
        let root = ino == INodeNo::ROOT;
        FileAttr {
            ino,
            size: self.size(ino),
            blocks: 1,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if root { FileType::Directory } else { FileType::RegularFile },
            perm: if root { 0o755 } else { 0o644 },
            nlink: 1,
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            rdev: 0,
            flags: 0,
            blksize: 4096,
        }
    }

    /// Answers at once, or when it is released.
    fn answer(&self, call: Call, answer: impl FnOnce() + Send + 'static) {
        let mut state = self.state.lock().unwrap();
        if state.hangs == Some(call) {
            state.held.push(Box::new(answer));
            return;
        }
        drop(state);
        answer();
    }
}

impl Filesystem for Files {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let number = name.to_str().and_then(|name| name.parse::<u64>().ok());
        let ino = match number.filter(|number| *number < FILES) {
            Some(number) => INodeNo(number + 2),
            None if self.image.is_some() && name == IMAGE => IMAGE_NUMBER,
            None => return reply.error(Errno::ENOENT),
        };
        let attributes = self.attributes(ino);
        self.answer(Call::Lookup, move || {
            reply.entry_with_ttls(&FACTS_KEPT, &NAMES_KEPT, &attributes, Generation(0));
        });
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let attributes = self.attributes(ino);
        self.answer(Call::Getattr, move || reply.attr(&FACTS_KEPT, &attributes));
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let flags = match ino {
            IMAGE_NUMBER => FopenFlags::FOPEN_DIRECT_IO,
            // What was read stays in the page cache, as on a disk.
            _ => FopenFlags::FOPEN_KEEP_CACHE,
        };
        self.answer(Call::Open, move || reply.opened(FileHandle(0), flags));
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let end = (offset + u64::from(size)).min(self.size(ino));
        let fails = self.state.lock().unwrap().fails_from.is_some_and(|from| end > from);
        if fails {
            return reply.error(Errno::EIO);
        }
        let start = offset.min(end);
        let image = self.image.clone().filter(|_| ino == IMAGE_NUMBER);
        self.answer(Call::Read, move || match image {
            Some(image) => {
                let mut bytes = vec![0; (end - start) as usize];
                image.read_exact_at(&mut bytes, start).unwrap();
                reply.data(&bytes);
            }
            None => {
                let bytes = content((u64::from(ino) - 2) as usize);
                reply.data(&bytes[start as usize..end as usize]);
            }
        });
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        self.answer(Call::Flush, move || reply.ok());
    }
}
