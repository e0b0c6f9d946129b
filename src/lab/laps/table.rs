//! Every lap, once.

use super::super::course::Order;
use super::super::fault::LapError;
use super::super::options::{Cache, Options, Rw};
use super::super::track::Track;
use super::{Lap, PARTS, Start, aio, copy, depth, read, socket, write};
use crate::limits;
use crate::sys::probe;

use Group::{Copy as Copied, Read, Socket, Write};

/// What laps do, so that each is compared with plain read and write doing the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// A file to memory.
    Read,
    /// A file to a socket.
    Socket,
    /// A file to a file.
    Copy,
    /// Memory to a file.
    Write,
}

impl Group {
    /// All of them, in the order of reports.
    pub(crate) const ALL: [Self; 4] = [Self::Read, Self::Socket, Self::Copy, Self::Write];

    /// The name in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Socket => "socket",
            Self::Copy => "copy",
            Self::Write => "write",
        }
    }

    /// The heading.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Read => "file to memory",
            Self::Socket => "file to a socket (TCP over loopback)",
            Self::Copy => "file to file",
            Self::Write => "memory to file",
        }
    }
}

/// How many operations a lap keeps in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// One.
    One,
    /// As many as it is told.
    Told,
    /// A sweep: so many, and not in the race when another depth is told.
    Sweep(u32),
}

/// The order of a lap's offsets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Offsets {
    /// As the race goes.
    Race,
    Sequential,
    Strided,
    Random,
}

/// Blocks from one read to the next of the strided lap.
const STRIDE: u32 = 7;

/// A row: one lap.
pub(crate) struct Row {
    /// The name in options and reports.
    pub(crate) name: &'static str,
    /// The technique it belongs to.
    pub(crate) technique: &'static str,
    /// What it does.
    pub(crate) group: Group,
    /// One line that says how.
    pub(crate) help: &'static str,
    /// Operations in flight.
    pub(crate) depth: Depth,
    /// Whether the page cache is in its way, so that its state matters.
    pub(crate) cached: bool,
    needs: Needs,
    offsets: Offsets,
    make: fn(&Start<'_>) -> Result<Box<dyn Lap>, LapError>,
}

/// What a lap needs of the machine.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    Direct,
    Ring,
    /// A processor for the kernel's polling thread beside the lap's and another.
    Polling,
    RingAndDirect,
}

type Make = fn(&Start<'_>) -> Result<Box<dyn Lap>, LapError>;

pub(crate) const fn row(
    group: Group,
    name: &'static str,
    technique: &'static str,
    make: Make,
    help: &'static str,
) -> Row {
    let (depth, needs, offsets) = (Depth::One, Needs::Nothing, Offsets::Race);
    let cached = !matches!(group, Write);
    Row { name, technique, group, help, depth, cached, needs, offsets, make }
}

impl Row {
    const fn deep(self, depth: Depth) -> Self {
        Self { depth, ..self }
    }

    const fn over(self, offsets: Offsets) -> Self {
        Self { offsets, ..self }
    }

    const fn needs(self, needs: Needs) -> Self {
        let passes_by = matches!(needs, Needs::Direct | Needs::RingAndDirect);
        Self { needs, cached: self.cached && !passes_by, ..self }
    }

    /// Whether it is what the others of its group are compared with.
    pub(crate) fn is_baseline(&self) -> bool {
        matches!(self.name, "read" | "send" | "copy" | "write")
    }

    /// Whether a race of this direction has it.
    pub(crate) fn races(&self, rw: Option<Rw>) -> bool {
        match rw {
            None => true,
            Some(Rw::Read) => self.group != Write,
            Some(Rw::Write) => self.group == Write,
            // What goes to a stream has no offsets.
            Some(Rw::RandRead) => self.group == Read && self.offsets == Offsets::Race,
        }
    }

    /// Whether a name of `--techniques` means it.
    pub(crate) fn is_meant_by(&self, name: &str) -> bool {
        self.name == name || self.technique == name
    }

    /// Operations in flight with these options; none where another depth was told than that of
    /// a sweep.
    pub(crate) fn in_flight(&self, options: &Options) -> Option<u32> {
        match (self.depth, options.iodepth) {
            (Depth::One, _) => Some(1),
            (Depth::Told, told) => Some(told.unwrap_or(limits::LAB_DEPTH)),
            (Depth::Sweep(own), told) => told.is_none_or(|told| told == own).then_some(own),
        }
    }

    /// The order of its offsets.
    pub(crate) fn order(&self, blocks: u64, rw: Option<Rw>, seed: u64) -> Order {
        match self.offsets {
            Offsets::Race if rw == Some(Rw::RandRead) => Order::random(blocks, seed),
            Offsets::Race | Offsets::Sequential => Order::Sequential(0, blocks),
            Offsets::Strided => Order::strided(blocks, STRIDE),
            Offsets::Random => Order::random(blocks, seed),
        }
    }

    /// Why this machine cannot run it, if so.
    pub(crate) fn hindrance(&self, track: &Track, options: &Options) -> Option<String> {
        let direct = || track.direct.as_ref().err().cloned().or_else(|| unaligned(track));
        let ring = || probe::io_uring().err().map(|blocked| blocked.to_string());
        let polling = || {
            let processors = read::threads_available();
            (processors <= 2).then(|| {
                format!("a polling thread needs more than two processors; there are {processors}")
            })
        };
        let by_need = match self.needs {
            Needs::Nothing => None,
            Needs::Direct => direct(),
            Needs::Ring => ring(),
            Needs::Polling => ring().or_else(polling),
            Needs::RingAndDirect => ring().or_else(direct),
        };
        by_need
            .or_else(|| (options.direct && self.takes_direct()).then(direct).flatten())
            .or_else(|| self.without_direct(options))
            .or_else(|| self.uncut(track, options))
            .or_else(|| match self.group {
                Write => track.no_writing().map(str::to_owned),
                Copied => track.no_copying().map(str::to_owned),
                Read | Socket => None,
            })
            .or_else(|| {
                let held = options.cache == Cache::Cold && self.cached && !track.lets_go();
                held.then(|| {
                    "the file system keeps its files in memory; they are never cold".into()
                })
            })
            .or_else(|| self.cached.then(|| track.untold.clone()).flatten())
            .or_else(|| self.refused(track, options))
    }

    /// What the kernel says to a ring of its depth, with its buffers and files: the limits of
    /// locked memory show nowhere else.
    fn refused(&self, track: &Track, options: &Options) -> Option<String> {
        if matches!(self.needs, Needs::Nothing | Needs::Direct) {
            return None;
        }
        let depth = self.in_flight(options)?;
        let start = Start { track, direct: options.direct, depth, nonce: 0 };
        self.make(&start).err().map(|error| error.to_string())
    }

    /// Why O_DIRECT does not take the parts that it cuts blocks into, if so.
    fn uncut(&self, track: &Track, options: &Options) -> Option<String> {
        if !options.direct || !matches!(self.name, "readv" | "writev") {
            return None;
        }
        let need = track.direct.as_ref().ok()?;
        let unit = PARTS * need.offset_bytes.max(need.memory_bytes);
        (!track.block.is_multiple_of(unit)).then(|| {
            format!(
                "O_DIRECT takes no quarter of a block here; set --block-size to a multiple of \
                 {unit}B"
            )
        })
    }

    /// Whether it can open its file by O_DIRECT.
    fn takes_direct(&self) -> bool {
        matches!(self.group, Read | Write)
            && !matches!(self.name, "mmap" | "splice" | "o-sync" | "o-dsync")
    }

    fn without_direct(&self, options: &Options) -> Option<String> {
        let odd = options.direct && !self.takes_direct();
        odd.then(|| "it moves pages of the page cache, which --direct passes by".to_owned())
    }

    /// Makes it ready to run once.
    pub(crate) fn make(&self, start: &Start<'_>) -> Result<Box<dyn Lap>, LapError> {
        (self.make)(start)
    }
}

fn unaligned(track: &Track) -> Option<String> {
    let need = track.direct.as_ref().ok()?;
    (!track.block.is_multiple_of(need.offset_bytes)).then(|| {
        format!(
            "O_DIRECT needs blocks that are multiples of {} bytes here; set --block-size to one",
            need.offset_bytes
        )
    })
}

/// Every lap, groups together, the baseline of each first.
#[rustfmt::skip]
pub(crate) const ROWS: &[Row] = &[
    row(Read, "read", "read", read::plain, "read(2): the baseline"),
    row(Read, "readv", "readv", read::scatter, "readv(2), each block over four buffers"),
    row(Read, "pread", "pread", read::positional, "pread(2)"),
    row(Read, "pread-threads", "pread", read::positional_threads,
        "pread(2) by several threads on one descriptor"),
    row(Read, "mmap", "mmap", read::mapped, "mmap(2) and a copy out of the mapping"),
    row(Read, "splice", "splice", read::spliced, "splice(2) into a pipe and read(2) out of it"),
    row(Read, "posix-aio", "posix-aio", aio::read, "aio_read(3), threads of the C library")
        .deep(Depth::Told),
    row(Read, "direct", "direct", read::direct, "O_DIRECT and pread(2)").needs(Needs::Direct),
    row(Read, "direct-aio", "direct", aio::read_direct, "O_DIRECT and aio_read(3)")
        .deep(Depth::Told).needs(Needs::Direct),
    row(Read, "uring", "uring", depth::plain, "io_uring, one entry for each batch")
        .deep(Depth::Told).needs(Needs::Ring),
    row(Read, "uring-1", "uring", depth::plain, "the same, 1 in flight")
        .deep(Depth::Sweep(1)).needs(Needs::Ring),
    row(Read, "uring-8", "uring", depth::plain, "the same, 8 in flight")
        .deep(Depth::Sweep(8)).needs(Needs::Ring),
    row(Read, "uring-64", "uring", depth::plain, "the same, 64 in flight")
        .deep(Depth::Sweep(64)).needs(Needs::Ring),
    row(Read, "uring-256", "uring", depth::plain, "the same, 256 in flight")
        .deep(Depth::Sweep(256)).needs(Needs::Ring),
    row(Read, "uring-fixed", "uring", depth::fixed, "io_uring, registered buffers and file")
        .deep(Depth::Told).needs(Needs::Ring),
    row(Read, "uring-polled", "uring", depth::polled,
        "the same, a thread of the kernel polls the queue")
        .deep(Depth::Told).needs(Needs::Polling),
    row(Read, "direct-uring", "direct", depth::direct, "O_DIRECT and io_uring, registered")
        .deep(Depth::Told).needs(Needs::RingAndDirect),
    row(Read, "predict-sequential", "predict", depth::predicted,
        "the predictive reader, one block after the other")
        .over(Offsets::Sequential).needs(Needs::Ring),
    row(Read, "predict-strided", "predict", depth::predicted,
        "the predictive reader, every seventh block")
        .over(Offsets::Strided).needs(Needs::Ring),
    row(Read, "predict-random", "predict", depth::predicted,
        "the predictive reader, blocks in any order: nothing to predict")
        .over(Offsets::Random).needs(Needs::Ring),

    row(Socket, "send", "send", socket::through_memory, "pread(2) and write(2): the baseline"),
    row(Socket, "sendfile", "sendfile", socket::by_sendfile, "sendfile(2)"),
    row(Socket, "splice-socket", "splice", socket::by_splice, "splice(2) through a pipe"),
    row(Socket, "splice-tee", "tee", socket::by_tee,
        "the same with tee(2) into a second pipe, which is drained"),

    row(Copied, "copy", "copy", copy::through_memory, "pread(2) and pwrite(2): the baseline"),
    row(Copied, "sendfile-file", "sendfile", copy::by_sendfile, "sendfile(2)"),
    row(Copied, "splice-file", "splice", copy::by_splice, "splice(2) through a pipe"),
    row(Copied, "copy-file-range", "copy-file-range", copy::by_range, "copy_file_range(2)"),

    row(Write, "write", "write", write::plain, "write(2): the baseline"),
    row(Write, "writev", "writev", write::gather, "writev(2), each block from four buffers"),
    row(Write, "pwrite", "pwrite", write::positional, "pwrite(2)"),
    row(Write, "posix-aio-write", "posix-aio", aio::write, "aio_write(3)").deep(Depth::Told),
    row(Write, "uring-write", "uring", depth::write, "io_uring, one entry for each batch")
        .deep(Depth::Told).needs(Needs::Ring),
    row(Write, "direct-write", "direct", write::direct, "O_DIRECT and pwrite(2)")
        .needs(Needs::Direct),
    row(Write, "o-dsync", "o-dsync", write::data_synchronous,
        "pwrite(2) with O_DSYNC: the bytes are on the device"),
    row(Write, "o-sync", "o-sync", write::all_synchronous,
        "pwrite(2) with O_SYNC: bytes and metadata are on the device"),
];
