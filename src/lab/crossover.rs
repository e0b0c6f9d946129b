//! The sizes at which one technique overtakes another, which the engine `auto` goes by.
//!
//! - A copying send against sendfile(2), for bodies in memory: the processor time of the sender,
//!   which is what a busy server has least of.
//! - Buffered reads against O_DIRECT reads with several in flight, for bodies that are not in
//!   memory: the time until all is there.
//!
//! What arrives is compared by checksum with the file, outside of what is timed.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::fault::LapError;
use super::laps::{connection, thread_time};
use super::statistics::{Spread, spread};
use super::track::Track;
use crate::batch::{Batch, Buffer, Setup, SharedFile};
use crate::limits;
use crate::techniques::positional;
use crate::techniques::sendfile::sendfile_all;

/// What was measured, and the sizes that follow from it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Crossover {
    /// Up to so many bytes a copying send costs no more than sendfile(2); none where it was not
    /// measured, and 0 where sendfile is always cheaper.
    pub small_bytes_max: Option<u64>,
    /// From so many bytes on O_DIRECT brings a cold body sooner than buffered reads do; none where
    /// it was not measured, and [`NEVER`] where it never does.
    pub large_bytes_min: Option<u64>,
    /// Bodies in memory, by size.
    pub sends: Vec<Crossing>,
    /// Bodies that are not in memory, by size.
    pub cold_reads: Vec<Crossing>,
    /// What is missing of these, and why.
    pub missing: Vec<String>,
    /// Whether that is for wrong bytes.
    pub wrong: bool,
}

/// More bytes than any file has.
pub const NEVER: u64 = 1 << 62;

/// Two techniques with bodies of one size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Crossing {
    /// Bytes of a body.
    pub bytes: u64,
    /// Nanoseconds of a body by the plain technique: a copying send, or buffered reads.
    pub plain_ns: Spread,
    /// By the other one: sendfile, or O_DIRECT.
    pub other_ns: Spread,
}

/// Up to which size the plain technique is at least as good, of all sizes below as well.
pub(super) fn plain_up_to(crossings: &[Crossing]) -> Option<u64> {
    let good = |one: &&Crossing| one.plain_ns.median <= one.other_ns.median;
    let last = crossings.iter().take_while(good).last();
    (!crossings.is_empty()).then(|| last.map_or(0, |one| one.bytes))
}

/// From which size the other technique is at least as good, of all sizes above as well.
pub(super) fn other_from(crossings: &[Crossing]) -> Option<u64> {
    let good = |one: &&Crossing| one.other_ns.median <= one.plain_ns.median;
    let first = crossings.iter().rev().take_while(good).last();
    (!crossings.is_empty()).then(|| first.map_or(NEVER, |one| one.bytes))
}

/// Measures both.
pub(super) fn measure(track: &Track, rounds: u32) -> Crossover {
    let mut all = Crossover::default();
    let mut keep = |what: &str, answer: Result<Vec<Crossing>, LapError>| match answer {
        Ok(crossings) => crossings,
        Err(error) => {
            all.wrong |= error.error.kind() == ErrorKind::InvalidData;
            all.missing.push(format!("{what}: {error}"));
            Vec::new()
        }
    };
    let sends = keep("sends", sends(track, rounds));
    let cold_reads = keep("cold reads", cold_reads(track, rounds));
    all.small_bytes_max = plain_up_to(&sends);
    all.large_bytes_min = all.large_from(&cold_reads);
    Crossover { sends, cold_reads, ..all }
}

impl Crossover {
    /// That O_DIRECT is never ahead follows from all sizes only: it is the large ones that it is
    /// ahead with.
    fn large_from(&mut self, cold_reads: &[Crossing]) -> Option<u64> {
        let from = other_from(cold_reads)?;
        let largest = cold_reads.last().map_or(0, |one| one.bytes);
        if from < NEVER || largest == limits::LAB_COLD_BYTES_MAX {
            return Some(from);
        }
        let needed = (limits::LAB_COLD_BYTES_MAX * 2 * COLD_BODIES) >> 20;
        self.missing.push(format!(
            "cold reads: O_DIRECT is not ahead up to {} KiB, and the file is too small for more; \
             a file of {needed} MiB tells",
            largest >> 10
        ));
        None
    }
}

/// Runs both techniques over each size in each round, the first one first in every other round.
fn interleaved(
    sizes: &[u64],
    rounds: u32,
    mut run: impl FnMut(u64, bool) -> Result<Duration, LapError>,
) -> Result<Vec<Crossing>, LapError> {
    let mut values = vec![(Vec::new(), Vec::new()); sizes.len()];
    for round in 0..rounds {
        for (&bytes, (plain, other)) in sizes.iter().zip(&mut values) {
            for second in [round % 2 == 1, round % 2 == 0] {
                let time = run(bytes, second)?.as_nanos() as f64;
                if second { other.push(time) } else { plain.push(time) }
            }
        }
    }
    let crossing = |(&bytes, (plain, other)): (&u64, &(Vec<f64>, Vec<f64>))| Crossing {
        bytes,
        plain_ns: spread(plain),
        other_ns: spread(other),
    };
    Ok(sizes.iter().zip(&values).map(crossing).collect())
}

/// Powers of two from one size up to another, as far as a file of so many bytes reaches for so
/// many bodies.
fn sizes(file_bytes: u64, from: u64, to: u64, bodies: u64) -> Result<Vec<u64>, LapError> {
    if from * bodies > file_bytes {
        let text = format!("the file is too small: {} KiB are needed", (from * bodies) >> 10);
        return Err(LapError::new("measure", std::io::Error::other(text)));
    }
    let all = std::iter::successors(Some(from), |size| Some(size * 2));
    Ok(all.take_while(|&size| size <= to && size * bodies <= file_bytes).collect())
}

fn wrong(doing: &'static str) -> LapError {
    let text = "the bytes are not those of the file";
    LapError::new(doing, std::io::Error::new(ErrorKind::InvalidData, text))
}

// --- sends -------------------------------------------------------------------------------------

fn sends(track: &Track, rounds: u32) -> Result<Vec<Crossing>, LapError> {
    track.warm().map_err(|error| LapError::new("read", error))?;
    let sizes = sizes(track.size, 1 << 10, limits::LAB_SEND_BYTES_MAX, 1)?;
    interleaved(&sizes, rounds, |bytes, sendfile| send(track, bytes, sendfile))
}

/// Processor time of the sender for a body.
fn send(track: &Track, bytes: u64, by_sendfile: bool) -> Result<Duration, LapError> {
    let bodies = (limits::LAB_SEND_BYTES_MAX / bytes).clamp(4, 256);
    let offset = |body: u64| body * bytes % (track.size - bytes + 1);
    let mut memory = vec![0; (bytes as usize).min(limits::BODY_BLOCK_BYTES)];
    let (to, from) = connection().map_err(|error| LapError::new("connect", error))?;
    let receiving = thread::spawn(move || receive(from));
    let sent = (|| {
        // The first body opens the window of the connection.
        let mut before = thread_time();
        for body in 0..=bodies {
            if body == 1 {
                before = thread_time();
            }
            let mut at = offset(body);
            if by_sendfile {
                sendfile_all(&track.source, &mut at, &to, bytes)
                    .map_err(|stopped| LapError::stopped("sendfile", stopped))?;
            } else {
                copy(track, at, bytes, &mut memory, &to)?;
            }
        }
        Ok(thread_time().saturating_sub(before))
    })();
    drop(to);
    let received = receiving.join().expect("the receiver does not panic");
    let (sent, received) = (sent?, received.map_err(|error| LapError::new("receive", error))?);
    let mut wanted = Xxh3::new();
    for body in 0..=bodies {
        each_part(track, offset(body), bytes, &mut memory, |part| {
            wanted.update(part);
            Ok(())
        })?;
    }
    if wanted.digest() != received {
        return Err(wrong(if by_sendfile { "sendfile" } else { "send" }));
    }
    Ok(sent / bodies as u32)
}

fn copy(
    track: &Track,
    from: u64,
    bytes: u64,
    memory: &mut [u8],
    to: &TcpStream,
) -> Result<(), LapError> {
    each_part(track, from, bytes, memory, |mut part| {
        while !part.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::write(to, part));
            let written = written.map_err(|errno| LapError::new("send", errno))?;
            part = &part[written..];
        }
        Ok(())
    })
}

/// Reads a body part by part.
fn each_part(
    track: &Track,
    from: u64,
    bytes: u64,
    memory: &mut [u8],
    mut take: impl FnMut(&[u8]) -> Result<(), LapError>,
) -> Result<(), LapError> {
    let mut done = 0;
    while done < bytes {
        let part = &mut memory[..((bytes - done) as usize).min(limits::BODY_BLOCK_BYTES)];
        let read = positional::pread(&track.source, part, from + done);
        match read.map_err(LapError::plain("pread"))? {
            0 => return Err(LapError::ended("pread")),
            read => {
                take(&part[..read])?;
                done += read as u64;
            }
        }
    }
    Ok(())
}

/// Receives to the end; the answer is the checksum of all.
fn receive(mut from: TcpStream) -> std::io::Result<u64> {
    let mut buffer = vec![0; limits::LAB_RECEIVE_BYTES];
    let mut sum = Xxh3::new();
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(sum.digest()),
            read => sum.update(&buffer[..read]),
        }
    }
}

// --- cold reads --------------------------------------------------------------------------------

/// Bodies of a run, far from each other, so that no read-ahead of one reaches the next.
const COLD_BODIES: u64 = 4;

/// Reads by O_DIRECT that are in flight together.
const IN_FLIGHT: u32 = 4;

fn cold_reads(track: &Track, rounds: u32) -> Result<Vec<Crossing>, LapError> {
    let refused =
        |reason: &str| LapError::new("O_DIRECT", std::io::Error::other(reason.to_owned()));
    if !track.lets_go() {
        return Err(refused("the file system keeps its files in memory"));
    }
    track.direct.as_ref().map_err(|reason| refused(reason))?;
    let least = limits::BODY_BLOCK_BYTES as u64;
    let sizes = sizes(track.size, least, limits::LAB_COLD_BYTES_MAX, 2 * COLD_BODIES)?;
    let mut direct = Direct::new(track)?;
    interleaved(&sizes, rounds, |bytes, by_direct| {
        let mut times = Duration::ZERO;
        let mut memory = vec![0; bytes as usize];
        let offset = |body: u64| {
            let stride = track.size / COLD_BODIES;
            (body * stride).next_multiple_of(least).min(track.size - bytes) / least * least
        };
        let mut sums = Vec::new();
        for body in 0..COLD_BODIES {
            let read = positional::pread_all(&track.source, &mut memory, offset(body));
            read.map_err(|stopped| LapError::stopped("pread", stopped))?;
            sums.push(xxh3_64(&memory));
        }
        track.chill().map_err(|error| LapError::new("fadvise", error))?;
        let resident = track.residency().map_or(1.0, |told| told.share());
        if resident * 1000.0 > f64::from(limits::LAB_COLD_PER_MILLE) {
            return Err(refused("the file did not leave the memory"));
        }
        for (body, sum) in sums.into_iter().enumerate() {
            memory.fill(0);
            let (at, clock) = (offset(body as u64), Instant::now());
            if by_direct {
                direct.read(at, &mut memory)?;
            } else {
                for (part, piece) in memory.chunks_mut(limits::BODY_BLOCK_BYTES).enumerate() {
                    let at = at + (part * limits::BODY_BLOCK_BYTES) as u64;
                    positional::pread_all(&track.source, piece, at)
                        .map_err(|stopped| LapError::stopped("pread", stopped))?;
                }
            }
            times += clock.elapsed();
            if xxh3_64(&memory) != sum {
                return Err(wrong(if by_direct { "O_DIRECT" } else { "pread" }));
            }
        }
        Ok(times / COLD_BODIES as u32)
    })
}

/// Reads past the page cache, several in flight.
struct Direct {
    batch: Batch,
    file: SharedFile,
    free: Vec<Buffer>,
}

impl Direct {
    fn new(track: &Track) -> Result<Self, LapError> {
        let other = |text: String| LapError::new("io_uring_setup", std::io::Error::other(text));
        let file = track.open_source(true).map_err(|error| LapError::new("open", error))?;
        let file = SharedFile::new(file);
        let mut setup = Setup::new(IN_FLIGHT);
        setup.files.push(file.clone());
        setup.buffers = Some((limits::BODY_BLOCK_BYTES, IN_FLIGHT as usize));
        let batch = Batch::with(&setup).map_err(|error| other(error.to_string()))?;
        let free = (0..IN_FLIGHT).filter_map(|_| batch.lease()).collect();
        Ok(Self { batch, file, free })
    }

    fn read(&mut self, from: u64, memory: &mut [u8]) -> Result<(), LapError> {
        let failed = |text: String| LapError::new("io_uring", std::io::Error::other(text));
        let block = limits::BODY_BLOCK_BYTES;
        assert!(memory.len().is_multiple_of(block), "sizes are powers of two from a block on");
        let (mut asked, mut done) = (0, 0);
        while done < memory.len() {
            while asked < memory.len()
                && let Some(buffer) = self.free.pop()
            {
                let queued = self.batch.read(&self.file, buffer, from + asked as u64);
                queued.map_err(|not| failed(not.error.to_string()))?;
                asked += block;
            }
            self.batch.submit_and_wait(1).map_err(|error| failed(error.to_string()))?;
            while let Some(read) = self.batch.take().map_err(|error| failed(error.to_string()))? {
                if read.result.map_err(LapError::plain("io_uring"))? < block {
                    return Err(LapError::ended("io_uring"));
                }
                let at = (read.offset - from) as usize;
                memory[at..at + block].copy_from_slice(&read.buffer[..block]);
                self.free.push(read.buffer);
                done += block;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::options::Options;
    use super::*;

    fn crossings(all: &[(u64, f64, f64)]) -> Vec<Crossing> {
        let at = |median| Spread { median, ..Spread::default() };
        all.iter()
            .map(|&(bytes, plain, other)| Crossing {
                bytes,
                plain_ns: at(plain),
                other_ns: at(other),
            })
            .collect()
    }

    #[test]
    fn the_crossing_is_where_one_stays_ahead() {
        let all = crossings(&[(1, 5., 9.), (2, 7., 9.), (4, 12., 10.), (8, 20., 11.)]);
        assert_eq!((plain_up_to(&all), other_from(&all)), (Some(2), Some(4)));
        // One size that noise has turned round moves neither over what lies behind it.
        let odd = crossings(&[(1, 5., 9.), (2, 9.5, 9.), (4, 9., 10.), (8, 20., 11.)]);
        assert_eq!((plain_up_to(&odd), other_from(&odd)), (Some(1), Some(8)));
    }

    #[test]
    fn who_is_always_ahead_has_no_crossing() {
        let plain = crossings(&[(1, 5., 9.), (2, 7., 9.)]);
        assert_eq!((plain_up_to(&plain), other_from(&plain)), (Some(2), Some(NEVER)));
        let other = crossings(&[(1, 9., 5.), (2, 9., 7.)]);
        assert_eq!((plain_up_to(&other), other_from(&other)), (Some(0), Some(1)));
        assert_eq!((plain_up_to(&[]), other_from(&[])), (None, None));
    }

    #[test]
    fn never_is_said_of_all_sizes_only() {
        let behind = |bytes| crossings(&[(bytes / 2, 5., 9.), (bytes, 7., 9.)]);
        let mut small = Crossover::default();
        assert_eq!(small.large_from(&behind(1 << 20)), None);
        assert!(small.missing[0].contains("up to 1024 KiB"), "{:?}", small.missing);
        let mut all = Crossover::default();
        assert_eq!(all.large_from(&behind(limits::LAB_COLD_BYTES_MAX)), Some(NEVER));
        let ahead = crossings(&[(1 << 16, 9., 5.)]);
        assert_eq!((all.large_from(&ahead), all.missing.len()), (Some(1 << 16), 0));
        assert_eq!(sizes(1 << 20, 1 << 18, 1 << 23, 2).unwrap(), [1 << 18, 1 << 19]);
        let error = sizes(1 << 18, 1 << 18, 1 << 23, 2).unwrap_err();
        assert!(error.to_string().contains("too small: 512 KiB"), "{error}");
    }

    #[test]
    fn rounds_begin_with_either_and_give_each_size_its_values() {
        let mut order = Vec::new();
        let told = interleaved(&[1, 2], 2, |bytes, other| {
            order.push((bytes, other));
            Ok(Duration::from_nanos(bytes * if other { 10 } else { 100 }))
        });
        assert_eq!(order[..4], [(1, false), (1, true), (2, false), (2, true)]);
        assert_eq!(order[4..], [(1, true), (1, false), (2, true), (2, false)]);
        let told = told.unwrap();
        assert_eq!((told[1].plain_ns.median, told[1].other_ns.median), (200.0, 20.0));
    }

    #[test]
    fn sends_of_a_small_file_are_measured_and_right() {
        let options = Options { size: Some(64 << 10), ..Options::default() };
        let track = Track::open(&options, 3, false, false).unwrap();
        let told = sends(&track, 1).unwrap();
        let sizes: Vec<u64> = told.iter().map(|one| one.bytes).collect();
        assert_eq!(sizes, [1, 2, 4, 8, 16, 32, 64].map(|kibibytes| kibibytes << 10));
    }
}
