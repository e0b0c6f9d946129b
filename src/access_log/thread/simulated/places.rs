//! The places that simulated threads of the log write to, and what goes wrong there.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::File;
use crate::access_log::options::{Archive, Place};
use crate::access_log::thread::plumbing::Facts;
use crate::base::Random;

/// Chances of trouble, each in so many cases of a thousand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Troubles {
    /// A read, a splice or a write moves fewer bytes than it might.
    pub short: u32,
    /// It is interrupted.
    pub interrupted: u32,
    /// The disk fails, or is full; a standard output fails.
    pub fails: u32,
    /// A place cannot be opened, a program not be started, a file not be archived.
    pub refused: u32,
    /// A standard output that does not block is full.
    pub full: u32,
    /// Somebody else has the lock of a file, or the file system knows none.
    pub locked: u32,
    /// A program ends, asked at each step.
    pub dies: u32,
    /// Between two steps a file is moved away and the threads are told to open it again, or it is
    /// removed, cut, or written to by somebody else.
    pub disturbed: u32,
}

impl Troubles {
    /// Nothing goes wrong.
    pub const NONE: Self = Self {
        short: 0,
        interrupted: 0,
        fails: 0,
        refused: 0,
        full: 0,
        locked: 0,
        dies: 0,
        disturbed: 0,
    };

    /// Some of them, each seldom or often.
    pub fn some(random: &mut Random) -> Self {
        let mut troubles = Self::NONE;
        let all = [
            &mut troubles.short,
            &mut troubles.interrupted,
            &mut troubles.fails,
            &mut troubles.refused,
            &mut troubles.full,
            &mut troubles.locked,
            &mut troubles.dies,
            &mut troubles.disturbed,
        ];
        for chance in all {
            *chance = *random.pick(&[0, 0, 0, 10, 50, 200]);
        }
        troubles
    }
}

/// What a sink has written.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Every byte, in the order of the writes, wherever they are now.
    pub bytes: Vec<u8>,
    /// Where in them somebody else has ended what was there: cut it, removed it or written behind
    /// it, or where the program ended that read it.
    pub breaks: Vec<usize>,
}

/// What a descriptor refers to.
#[derive(Debug, Default)]
struct Inode {
    bytes: u64,
    modified: i64,
    has_name: bool,
    locked: bool,
    /// It is a terminal, or was opened to append.
    refuses_splice: bool,
    /// It is a program that has ended.
    dead: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) random: Random,
    pub(super) troubles: Troubles,
    /// Troubles that were met.
    pub(super) met: u64,
    /// Pipes between the threads.
    pub(super) between: Vec<usize>,
    sinks: Vec<(Place, History)>,
    inodes: Vec<Inode>,
    /// By path, the sink and what lies there.
    names: BTreeMap<PathBuf, File>,
}

impl Places {
    pub(super) fn new(random: Random, sinks: &[Place]) -> Self {
        let sinks = sinks.iter().map(|place| (place.clone(), History::default())).collect();
        let (between, names) = (Vec::new(), BTreeMap::new());
        let mut places = Self {
            random,
            troubles: Troubles::NONE,
            met: 0,
            between,
            sinks,
            inodes: Vec::new(),
            names,
        };
        // The standard output is the first.
        let refuses_splice = places.random.chance(300);
        places.inodes.push(Inode { has_name: true, refuses_splice, ..Inode::default() });
        places
    }

    pub(super) fn histories(&self) -> Vec<History> {
        self.sinks.iter().map(|(_, history)| history.clone()).collect()
    }

    fn meets(&mut self, chance: impl Fn(&Troubles) -> u32) -> bool {
        let met = self.random.chance(chance(&self.troubles));
        self.met += u64::from(met);
        met
    }

    fn sink(&self, of: impl Fn(&Place) -> bool) -> usize {
        self.sinks.iter().position(|(place, _)| of(place)).expect("a sink has this place")
    }

    fn make(&mut self, sink: usize, modified: i64) -> File {
        let refuses_splice = self.random.chance(100);
        self.inodes.push(Inode { has_name: true, refuses_splice, modified, ..Inode::default() });
        File { sink, inode: self.inodes.len() - 1 }
    }

    pub(super) fn stdout(&self) -> File {
        File { sink: self.sink(|place| *place == Place::Stdout), inode: 0 }
    }

    pub(super) fn open(&mut self, path: &Path, now: i64) -> Result<File, Errno> {
        if self.meets(|troubles| troubles.refused) {
            return Err(*self.random.pick(&[Errno::NOENT, Errno::ACCESS, Errno::MFILE]));
        }
        if let Some(file) = self.names.get(path) {
            return Ok(*file);
        }
        let sink = self.sink(|place| *place == Place::Path(path.to_owned()));
        let file = self.make(sink, now);
        self.names.insert(path.to_owned(), file);
        Ok(file)
    }

    pub(super) fn start(&mut self, command: &str) -> Result<File, Errno> {
        if self.meets(|troubles| troubles.refused) {
            return Err(Errno::AGAIN);
        }
        let sink = self.sink(|place| *place == Place::Program(command.to_owned()));
        Ok(self.make(sink, 0))
    }

    /// Whether a program has ended, or does now.
    pub(super) fn dies(&mut self, file: File) -> bool {
        if !self.inodes[file.inode].dead && self.meets(|troubles| troubles.dies) {
            self.inodes[file.inode].dead = true;
            self.breaks(file.sink);
        }
        self.inodes[file.inode].dead
    }

    pub(super) fn is_dead(&self, file: File) -> bool {
        self.inodes[file.inode].dead
    }

    fn breaks(&mut self, sink: usize) {
        let history = &mut self.sinks[sink].1;
        history.breaks.push(history.bytes.len());
    }

    /// How many bytes a call moves, or how it fails.
    pub(super) fn short(&mut self, asked: usize, failures: &[Errno]) -> Result<usize, Errno> {
        if self.meets(|troubles| troubles.interrupted) {
            return Err(Errno::INTR);
        }
        if !failures.is_empty() && self.meets(|troubles| troubles.fails) {
            return Err(*self.random.pick(failures));
        }
        if asked > 1 && self.meets(|troubles| troubles.short) {
            let longest = *self.random.pick(&[1, 10, 300, 5000]);
            return Ok(asked.min(1 + self.random.below(longest) as usize));
        }
        Ok(asked)
    }

    /// The same for what is written to a place.
    pub(super) fn room(&mut self, file: File, asked: usize) -> Result<usize, Errno> {
        let (place, _) = &self.sinks[file.sink];
        let failures: &[Errno] = match place {
            Place::Path(_) => &[Errno::NOSPC, Errno::IO, Errno::DQUOT],
            Place::Stdout => {
                if self.meets(|troubles| troubles.full) {
                    return Err(Errno::AGAIN);
                }
                &[Errno::IO, Errno::PIPE]
            }
            Place::Program(_) => &[],
        };
        self.short(asked, failures)
    }

    pub(super) fn is_full_for_long(&mut self) -> bool {
        self.random.chance(300)
    }

    pub(super) fn refuses_splice(&self, file: File) -> bool {
        self.inodes[file.inode].refuses_splice
    }

    pub(super) fn append(&mut self, file: File, bytes: &[u8], offset: Option<u64>, now: i64) {
        let inode = &mut self.inodes[file.inode];
        if let Some(offset) = offset {
            assert!(inode.locked, "a file is written under its lock");
            assert_eq!(offset, inode.bytes, "a file is written at its end");
            assert!(inode.has_name, "a file is written where somebody finds it");
        }
        inode.bytes += bytes.len() as u64;
        inode.modified = now;
        self.sinks[file.sink].1.bytes.extend_from_slice(bytes);
    }

    pub(super) fn lock(&mut self, file: File) -> io::Result<bool> {
        if self.meets(|troubles| troubles.locked) {
            return Ok(false);
        }
        let inode = &mut self.inodes[file.inode];
        assert!(!inode.locked, "a lock is taken once");
        inode.locked = true;
        Ok(true)
    }

    pub(super) fn unlock(&mut self, file: File) {
        let inode = &mut self.inodes[file.inode];
        assert!(std::mem::take(&mut inode.locked), "a lock is let go once");
    }

    pub(super) fn look(&self, file: File) -> Facts {
        let inode = &self.inodes[file.inode];
        Facts {
            identity: (1, file.inode as u64),
            has_name: inode.has_name,
            bytes: inode.bytes,
            modified: inode.modified,
            mode: 0o644,
        }
    }

    pub(super) fn look_at(&self, path: &Path) -> Result<Facts, Errno> {
        self.names.get(path).map(|file| self.look(*file)).ok_or(Errno::NOENT)
    }

    /// Archives a file; says whether it was emptied.
    pub(super) fn archive(&mut self, path: &Path, file: File, how: Archive) -> Result<bool, Errno> {
        assert!(self.inodes[file.inode].locked, "a file is archived under its lock");
        assert_eq!(self.names.get(path), Some(&file), "what is archived is what is written");
        if self.meets(|troubles| troubles.refused) {
            return Err(Errno::NOSPC);
        }
        match how {
            Archive::Rename => {
                self.names.remove(path);
                Ok(false)
            }
            Archive::Copy => {
                self.inodes[file.inode].bytes = 0;
                Ok(true)
            }
        }
    }

    /// Somebody else does something to a file; says whether the threads are to open it again.
    pub(super) fn disturb(&mut self) -> bool {
        if self.names.is_empty() || !self.meets(|troubles| troubles.disturbed) {
            return false;
        }
        let paths: Vec<_> = self.names.keys().cloned().collect();
        let path = self.random.pick(&paths);
        let file = self.names[path];
        let inode = &mut self.inodes[file.inode];
        if inode.locked {
            return false;
        }
        match self.random.below(4) {
            0 => {
                self.names.remove(path);
                return true;
            }
            1 => {
                inode.has_name = false;
                self.names.remove(path);
            }
            2 => inode.bytes = 0,
            _ => inode.bytes += 1 + self.random.below(200),
        }
        self.breaks(file.sink);
        false
    }
}
