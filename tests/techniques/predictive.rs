//! The predictive reader: the right bytes in every order, and what it reads for nothing.

use super::*;
use pitcrew::batch::{PredictiveReader, ReadError};
use pitcrew::predict::Pattern;

const COUNT: usize = 4096;

/// A reader of a file of so many blocks, and the content.
fn reader_of(directory: &tempfile::TempDir, blocks: usize) -> (PredictiveReader, Vec<u8>) {
    let content = pattern(blocks * COUNT + 100);
    let (_, file) = file_with(directory, &content);
    (PredictiveReader::new(file, COUNT as u32).unwrap(), content)
}

/// Reads in this order and compares.
fn read_all(reader: &mut PredictiveReader, content: &[u8], offsets: impl Iterator<Item = usize>) {
    for offset in offsets {
        let end = content.len().min(offset + COUNT);
        let bytes = reader.read(offset as u64).unwrap();
        assert!(bytes == &content[offset..end], "other bytes at {offset}");
        assert!(reader.predictions().len() <= 16);
    }
}

#[test]
fn sequential_reads_are_served_from_what_is_there() {
    let (mut reader, content) = reader_of(&scratch(), 200);
    read_all(&mut reader, &content, (0..50).map(|block| block * COUNT));
    let next: Vec<u64> = (50..66).map(|block| (block * COUNT) as u64).collect();
    assert_eq!(reader.predictions(), next);
    read_all(&mut reader, &content, (50..=200).map(|block| block * COUNT));
    assert_eq!(reader.pattern(), Pattern::Sequential);
    let tally = reader.tally();
    assert_eq!((tally.reads, tally.used + tally.late, tally.wasted), (201, 198, 0));
    assert_eq!(reader.counts().submitted, 201, "no block was read twice");
    assert_eq!(reader.predictions(), [0_u64; 0], "nothing is read ahead beyond the end");
    assert_eq!(reader.read(content.len() as u64).unwrap(), b"");
    assert_eq!(reader.read(1 << 40).unwrap(), b"");
}

#[test]
fn strided_reads_are_foreseen_in_both_directions() {
    let (mut reader, content) = reader_of(&scratch(), 400);
    read_all(&mut reader, &content, (0..100).map(|turn| turn * 3 * COUNT + 5));
    assert_eq!(reader.pattern(), Pattern::Strided(3 * COUNT as i64));
    assert_eq!(reader.tally().used + reader.tally().late, 97);
    read_all(&mut reader, &content, (0..100).rev().map(|turn| turn * 2 * COUNT));
    assert_eq!(reader.pattern(), Pattern::Strided(-2 * COUNT as i64));
    assert!(reader.hit_rate() > 0.9, "{}", reader.hit_rate());
}

#[test]
fn repeated_reads_are_foreseen() {
    let (mut reader, content) = reader_of(&scratch(), 50);
    let round = [7, 31, 2, 19].map(|block| block * COUNT);
    read_all(&mut reader, &content, round.into_iter().cycle().take(100));
    assert_eq!(reader.pattern(), Pattern::Repeated(4));
    assert!(reader.hit_rate() > 0.9, "{}", reader.hit_rate());
    read_all(&mut reader, &content, std::iter::repeat_n(9 * COUNT, 30));
    assert_eq!(reader.pattern(), Pattern::Repeated(1));
}

#[test]
fn reads_at_random_cost_less_than_two_in_a_hundred_more() {
    let (mut reader, content) = reader_of(&scratch(), 256);
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let offsets = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % 256 * COUNT
    });
    read_all(&mut reader, &content, offsets.take(5000));
    assert_eq!(reader.pattern(), Pattern::None);
    let submitted = reader.counts().submitted;
    assert!(submitted < 5100, "{submitted} reads for 5000");
    // And a pattern that shows is taken up again.
    read_all(&mut reader, &content, (0..100).map(|block| block * COUNT));
    assert_eq!(reader.pattern(), Pattern::Sequential);
    assert!(reader.tally().used + reader.tally().late >= 95);
}

#[test]
fn what_was_read_ahead_can_be_forgotten() {
    let directory = scratch();
    let (mut reader, content) = reader_of(&directory, 50);
    read_all(&mut reader, &content, (0..20).map(|block| block * COUNT));
    assert!(!reader.predictions().is_empty());
    let changed: Vec<u8> = content.iter().map(|byte| !byte).collect();
    std::fs::write(directory.path().join("source"), &changed).unwrap();
    reader.forget();
    assert_eq!(reader.predictions(), [0_u64; 0]);
    read_all(&mut reader, &changed, (20..50).map(|block| block * COUNT));
    assert!(reader.tally().wasted > 0);
}

#[test]
fn direct_reads_are_read_ahead_too() {
    let directory = scratch();
    let path = directory.path().join("direct");
    let content = pattern(100 * COUNT + 100);
    std::fs::write(&path, &content).unwrap();
    let file = DirectFile::open(&path).expect("the target directory is on a disk with O_DIRECT");
    let mut reader = PredictiveReader::direct(file, COUNT as u32).unwrap();
    read_all(&mut reader, &content, (0..=100).map(|block| block * COUNT));
    assert_eq!(reader.tally().used + reader.tally().late, 98);
    let refused = reader.read(100).unwrap_err();
    assert!(matches!(refused, ReadError::Direct(DirectError::Unaligned(one)) if one.value == 100));
}

#[test]
fn errors_name_their_cause() {
    let directory = scratch();
    let (path, _) = file_with(&directory, b"content");
    let write_only = File::options().write(true).open(path).unwrap();
    let mut reader = PredictiveReader::new(write_only, 4).unwrap();
    assert_eq!(reader.read(0).unwrap_err(), ReadError::Io(Error::BadDescriptor));
    assert_eq!(reader.read(0).unwrap_err(), ReadError::Io(Error::BadDescriptor));
}
