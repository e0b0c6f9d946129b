//! The predictor against obvious models: a reader with a perfect memory of what was predicted.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// Reads ahead whatever it is told to, in no time, and keeps all of it.
#[derive(Default)]
struct Reader {
    predictor: Predictor,
    /// How often each offset is there: a round may have one twice.
    there: HashMap<u64, u32>,
}

impl Reader {
    /// Whether the read had been predicted.
    fn read(&mut self, offset: u64, count: u32, end: u64) -> bool {
        let hit = self.there.get_mut(&offset).filter(|count| **count > 0);
        let hit = hit.map(|count| *count -= 1).is_some();
        self.predictor.observe(offset, count);
        self.predictor.note_used(u64::from(hit));
        let more: Vec<u64> = self.predictor.predict(PREDICTED_MAX, end).collect();
        assert!(more.iter().all(|&offset| offset < end), "beyond the end: {more:?}");
        more.into_iter().for_each(|offset| *self.there.entry(offset).or_default() += 1);
        let outlook = self.predictor.outlook();
        assert!(outlook.len() <= PREDICTED_MAX);
        assert!(outlook.iter().all(|offset| self.there[offset] > 0), "never given out");
        hit
    }

    /// How many are there for nothing so far.
    fn unused(&self) -> usize {
        self.there.values().sum::<u32>() as usize
    }

    /// Reads in this order; the hits among the last half.
    fn late_hits(&mut self, offsets: &[u64], count: u32) -> usize {
        let hits: Vec<bool> =
            offsets.iter().map(|&offset| self.read(offset, count, u64::MAX)).collect();
        hits[hits.len() / 2..].iter().filter(|hit| **hit).count()
    }
}

fn predicted(predictor: &mut Predictor) -> Vec<u64> {
    predictor.predict(PREDICTED_MAX, u64::MAX).collect()
}

#[test]
fn one_read_or_two_are_no_pattern() {
    let mut predictor = Predictor::new();
    for offset in [0, 100] {
        predictor.observe(offset, 100);
        assert_eq!(predictor.pattern(), Pattern::None);
        assert_eq!(predicted(&mut predictor), [0_u64; 0]);
    }
    predictor.observe(200, 100);
    assert_eq!(predictor.pattern(), Pattern::Sequential);
}

#[test]
fn a_pattern_is_proved_by_the_reads_that_follow_it() {
    for stride in [100, 300, 700] {
        let mut predictor = Predictor::new();
        for read in 0..20 {
            predictor.observe(read * stride, 100);
            assert_eq!(predictor.is_proved(), read >= 5, "three are the pattern, three follow it");
        }
        predictor.observe(77_777, 100);
        assert!(!predictor.is_proved(), "after one that does not fit");
    }
}

#[test]
fn each_pattern_has_its_name() {
    for (offsets, count, pattern) in [
        (vec![70, 80, 90], 10, Pattern::Sequential),
        (vec![70, 80, 90], 5, Pattern::Strided(10)),
        (vec![900, 500, 100], 5, Pattern::Strided(-400)),
        (vec![7, 7, 7], 5, Pattern::Repeated(1)),
        (vec![7, 90, 7, 90], 5, Pattern::Repeated(2)),
        (vec![0, 10, 20, 0, 10, 20, 0], 10, Pattern::Repeated(3)),
        (vec![7, 90, 6, 1000, 4], 5, Pattern::None),
    ] {
        let mut predictor = Predictor::new();
        offsets.iter().for_each(|&offset| predictor.observe(offset, count));
        assert_eq!(predictor.pattern(), pattern, "{offsets:?}");
    }
}

#[test]
fn sequential_reads_of_any_length_are_sequential() {
    let mut predictor = Predictor::new();
    let mut offset = 0;
    for count in [10, 30, 20, 20] {
        predictor.observe(offset, count);
        offset += u64::from(count);
    }
    assert_eq!(predictor.pattern(), Pattern::Sequential);
    assert_eq!(predicted(&mut predictor)[..2], [80, 100]);
    // Now they are longer: what was computed with the old length is no longer the outlook.
    predictor.observe(80, 50);
    assert_eq!(predictor.outlook(), [0_u64; 0]);
    assert_eq!(predicted(&mut predictor)[0], 130);
}

#[test]
fn the_outlook_grows_to_its_bound_and_each_offset_is_given_once() {
    let mut predictor = Predictor::new();
    let mut given = Vec::new();
    for read in 0..60 {
        predictor.observe(read * 8, 8);
        given.extend(predicted(&mut predictor));
    }
    assert_eq!(given, (3..76).map(|read| read * 8).collect::<Vec<u64>>());
    let outlook: Vec<u64> = (60..76).map(|read| read * 8).collect();
    assert_eq!(predictor.outlook(), outlook);
    assert_eq!(predicted(&mut predictor), [0_u64; 0]);
}

#[test]
fn the_caller_bounds_the_number_and_the_end() {
    let mut predictor = Predictor::new();
    for read in 0..20 {
        predictor.observe(read * 8, 8);
        let most = predictor.predict(1, 168).len();
        assert!(most <= 1, "{most} offsets where one was asked for");
    }
    assert_eq!(predictor.outlook(), [160]);
    assert_eq!(predictor.predict(16, 168).len(), 0, "nothing is beyond the end");
    let mut backwards = Predictor::new();
    for offset in [30, 20, 10] {
        backwards.observe(offset, 10);
    }
    assert_eq!(predicted(&mut backwards), [0], "nothing is before the begin");
    let mut last = Predictor::new();
    for back in [3, 2, 1] {
        last.observe(u64::MAX - back * 10, 10);
    }
    assert_eq!(predicted(&mut last), [0_u64; 0], "nothing is at {}", u64::MAX);
}

#[test]
fn a_stray_read_does_not_end_a_pattern() {
    let mut reader = Reader::default();
    let mut hits = 0;
    for read in 0..100 {
        hits += u32::from(reader.read(read * 8, 8, 1 << 20));
        if read % 5 == 4 {
            reader.read(500_000 + read * read * 64, 8, 1 << 20);
            assert_eq!(reader.predictor.pattern(), Pattern::Sequential);
        }
    }
    assert!(hits >= 97, "{hits} hits of 100");
    assert!(reader.unused() <= PREDICTED_MAX, "strays were followed");
}

#[test]
fn a_reader_that_was_wrong_stops_and_takes_up_again() {
    let mut reader = Reader::default();
    let scattered = |at: u64| (at * at * 7919 + at * 104_729) % 100_003 * 64;
    (0..40).for_each(|read| assert_eq!(reader.read(read * 64, 64, u64::MAX), read >= 3));
    (0..10).for_each(|at| assert!(!reader.read(scattered(at), 64, u64::MAX)));
    assert_eq!(reader.predictor.pattern(), Pattern::None);
    assert_eq!(reader.predictor.outlook(), [0_u64; 0]);
    let wasted = reader.unused() as u64;
    assert_eq!(wasted, 16);
    reader.there.clear();
    reader.predictor.note_wasted(wasted);
    // What was wasted has used up what there was: only reads that are foreseen earn new ones.
    let hits: Vec<bool> =
        (0..12).map(|read| reader.read(9_000_000 + read * 64, 64, u64::MAX)).collect();
    assert_eq!(hits, [[false; 7].as_slice(), &[true; 5]].concat());
    let tally = reader.predictor.tally();
    assert_eq!((tally.reads, tally.used, tally.wasted), (62, 42, 16));
    assert_eq!(tally.predicted, tally.used + tally.wasted + reader.unused() as u64);
    assert_eq!(tally.hit_rate(), 42.0 / 62.0);
}

#[test]
fn runs_that_end_soon_are_read_ahead_by_little() {
    // The worst case for the vote: it is right until the pattern ends, again and again. Less
    // than one in ten is read for nothing.
    let mut reader = Reader::default();
    let mut offset = 0;
    for read in 0..10_000_u64 {
        offset += if read % 4 == 3 { 1_000_003 + read * 4096 } else { 100 };
        reader.read(offset, 7, u64::MAX);
        if read % 4 == 3 {
            reader.predictor.note_wasted(reader.unused() as u64);
            reader.there.clear();
        }
    }
    let tally = reader.predictor.tally();
    assert!(tally.wasted < 1_000, "{tally:?}");
}

#[derive(Clone, Debug)]
enum Course {
    Line { start: u64, stride: i64 },
    Round(Vec<u64>),
}

impl Course {
    fn offsets(&self, reads: usize) -> Vec<u64> {
        match self {
            Course::Line { start, stride } => {
                (0..reads).map(|read| start.wrapping_add_signed(stride * read as i64)).collect()
            }
            Course::Round(round) => round.iter().copied().cycle().take(reads).collect(),
        }
    }
}

fn courses() -> impl Strategy<Value = Course> {
    let line = (1_u64 << 40..1 << 41, prop_oneof![-100_000_i64..0, 1..100_000_i64]);
    let line = line.prop_map(|(start, stride)| Course::Line { start, stride });
    let round = proptest::collection::hash_set(0_u64..1 << 30, 1..=8);
    prop_oneof![line, round.prop_map(|round| Course::Round(round.into_iter().collect()))]
}

proptest! {
    #[test]
    fn any_course_is_foreseen_whatever_came_before(
        before in proptest::collection::vec(1_u64 << 50..1 << 51, 0..40),
        course in courses(),
        count in 1_u32..10_000,
    ) {
        let mut reader = Reader::default();
        before.iter().for_each(|&offset| {
            reader.read(offset, count, u64::MAX);
        });
        let offsets = course.offsets(64);
        prop_assert_eq!(reader.late_hits(&offsets, count), 32);
        let right = match (&course, reader.predictor.pattern()) {
            (Course::Line { stride, .. }, Pattern::Sequential) => *stride == i64::from(count),
            (Course::Line { stride, .. }, Pattern::Strided(found)) => *stride == found,
            // A round of two or three reads may itself be a part of a larger pattern.
            (Course::Round(round), Pattern::Repeated(period)) => period == round.len(),
            _ => false,
        };
        prop_assert!(right, "{:?} for {course:?}", reader.predictor.pattern());
    }

    #[test]
    fn reads_at_random_cost_less_than_two_in_a_hundred_more(
        seed in any::<u64>(),
        blocks in 64_u64..1 << 20,
    ) {
        const READS: u64 = 20_000;
        let mut reader = Reader::default();
        let mut state = seed | 1;
        let mut hits = 0;
        for _ in 0..READS {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            hits += u64::from(reader.read((state >> 11) % blocks * 4096, 4096, blocks * 4096));
        }
        let more = reader.predictor.tally().predicted - hits;
        prop_assert!(more * 100 < READS * 2, "{more} reads of {READS} were for nothing");
    }

    #[test]
    fn any_reads_at_all_keep_the_bounds(
        reads in proptest::collection::vec((any::<u64>(), any::<u32>()), 0..200),
        near in proptest::collection::vec((0_u64..4, 0_u32..3), 0..200),
        end in any::<u64>(),
    ) {
        let mut reader = Reader::default();
        for (offset, count) in reads.into_iter().chain(near) {
            reader.read(offset, count, end);
        }
        let tally = reader.predictor.tally();
        prop_assert!(tally.used <= tally.predicted && tally.used <= tally.reads);
    }
}
