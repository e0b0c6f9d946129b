//! The course of a lap: which blocks, in which order, and for how long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::Random;

/// One block of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Its number.
    pub index: u64,
    /// Where it begins, in bytes.
    pub offset: u64,
}

/// An order of all blocks, each once.
#[derive(Clone, Debug)]
pub(super) enum Order {
    /// One after the other, from the first of the numbers up to before the last.
    Sequential(u64, u64),
    /// As listed.
    Listed(Arc<[u32]>),
}

impl Order {
    /// Any order, by a seed.
    pub(super) fn random(blocks: u64, seed: u64) -> Self {
        let mut all: Vec<u32> = (0..numbered(blocks)).collect();
        Random::new(seed).shuffle(&mut all);
        Self::Listed(all.into())
    }

    /// Every `stride`-th block, then those behind them, until each was there once.
    pub(super) fn strided(blocks: u64, stride: u32) -> Self {
        let blocks = numbered(blocks);
        let lanes = 0..stride.min(blocks);
        Self::Listed(lanes.flat_map(|lane| (lane..blocks).step_by(stride as usize)).collect())
    }

    fn len(&self) -> u64 {
        match self {
            Self::Sequential(first, end) => end - first,
            Self::Listed(all) => all.len() as u64,
        }
    }

    fn at(&self, place: u64) -> u64 {
        match self {
            Self::Sequential(first, _) => first + place,
            Self::Listed(all) => u64::from(all[place as usize]),
        }
    }
}

fn numbered(blocks: u64) -> u32 {
    u32::try_from(blocks).expect("the number of blocks has a bound")
}

/// Operations between two looks at the clock: one look costs as much as a twentieth of the
/// fastest operation.
const LOOK_EVERY: u64 = 16;

/// When operations are so slow that the time would be missed by much, each of them looks.
const LOOK_SLOW: Duration = Duration::from_millis(2);

/// Gives out the blocks of a lap, until the time is over or all were given out.
#[derive(Clone, Debug)]
pub(super) struct Course {
    order: Order,
    block: usize,
    /// Whether it begins again behind the last block.
    again: bool,
    runtime: Duration,
    started: Option<Instant>,
    looked: Instant,
    until_look: u64,
    given: u64,
    over: bool,
    /// What threads went over in its place.
    parts: Vec<Self>,
}

impl Course {
    pub(super) fn new(order: Order, block: usize, runtime: Duration, again: bool) -> Self {
        let looked = Instant::now();
        Self {
            order,
            block,
            again,
            runtime,
            started: None,
            looked,
            until_look: 0,
            given: 0,
            over: false,
            parts: Vec::new(),
        }
    }

    /// A course over the blocks that this one has given out, each once, without a limit of time.
    pub(super) fn beside(&self) -> Self {
        let order = match &self.order {
            Order::Sequential(first, _) if self.parts.is_empty() => {
                Order::Sequential(*first, first + self.given.min(self.order.len()))
            }
            _ => Order::Listed(self.visited().into_iter().map(numbered).collect()),
        };
        Self::new(order, self.block, Duration::MAX, false)
    }

    /// Bytes of a block.
    pub(super) fn block(&self) -> usize {
        self.block
    }

    /// How many blocks there are.
    pub(super) fn blocks(&self) -> u64 {
        self.order.len()
    }

    /// The next block, or none when the lap is to end. The time begins with the first one.
    #[inline]
    pub(super) fn next(&mut self) -> Option<Span> {
        if self.over || (self.until_look == 0 && self.time_is_over()) {
            return None;
        }
        self.until_look -= 1;
        let index = self.order.at(self.given % self.order.len());
        self.given += 1;
        // A single pass ends behind its last block.
        self.over = !self.again && self.given == self.order.len();
        Some(Span { index, offset: index * self.block as u64 })
    }

    fn time_is_over(&mut self) -> bool {
        let now = Instant::now();
        let started = *self.started.get_or_insert(now);
        let slow = self.given > 0 && now - self.looked > LOOK_SLOW;
        self.until_look = if slow { 1 } else { LOOK_EVERY };
        self.looked = now;
        // The first block is always given, so that no lap is without an operation.
        self.over = self.given > 0 && now - started >= self.runtime;
        self.over
    }

    /// The same course cut into parts of neighbouring blocks, for threads.
    pub(super) fn split(&self, parts: usize) -> Vec<Self> {
        let (parts, length) = ((parts as u64).clamp(1, self.order.len()), self.order.len());
        let cut = |part: u64| length * part / parts;
        let order = |part: u64| match &self.order {
            Order::Sequential(first, _) => {
                Order::Sequential(first + cut(part), first + cut(part + 1))
            }
            Order::Listed(all) => {
                Order::Listed(all[cut(part) as usize..cut(part + 1) as usize].into())
            }
        };
        (0..parts).map(|part| Self { order: order(part), ..self.clone() }).collect()
    }

    /// Takes the parts back that it was cut into.
    pub(super) fn rejoin(&mut self, parts: Vec<Self>) {
        self.parts = parts;
    }

    /// The numbers of the blocks that were given out, each once.
    pub(super) fn visited(&self) -> Vec<u64> {
        if !self.parts.is_empty() {
            return self.parts.iter().flat_map(Self::visited).collect();
        }
        (0..self.given.min(self.order.len())).map(|place| self.order.at(place)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn all(course: &mut Course, most: usize) -> Vec<u64> {
        std::iter::from_fn(|| course.next()).take(most).map(|span| span.index).collect()
    }

    #[test]
    fn a_pass_gives_each_block_once_and_a_loop_begins_again() {
        let mut once = Course::new(Order::Sequential(0, 40), 512, LONG, false);
        assert_eq!(all(&mut once, 100), (0..40).collect::<Vec<_>>());
        assert_eq!(once.next(), None);
        let mut again = Course::new(Order::Sequential(0, 3), 512, LONG, true);
        assert_eq!(all(&mut again, 7), [0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(again.visited(), [0, 1, 2]);
        assert_eq!(again.next(), Some(Span { index: 1, offset: 512 }));
    }

    #[test]
    fn orders_are_of_each_block_once_and_repeat_by_their_seed() {
        let (one, same, other) =
            (Order::random(100, 7), Order::random(100, 7), Order::random(100, 8));
        let list = |order| all(&mut Course::new(order, 512, LONG, false), 1000);
        let (one, same, other) = (list(one), list(same), list(other));
        assert_eq!(one, same);
        assert_ne!(one, other);
        for mut order in [one, list(Order::strided(100, 7))] {
            order.sort_unstable();
            assert_eq!(order, (0..100).collect::<Vec<_>>());
        }
        assert_eq!(list(Order::strided(7, 3)), [0, 3, 6, 1, 4, 2, 5]);
    }

    #[test]
    fn time_ends_a_course_but_not_before_its_first_block() {
        let mut course = Course::new(Order::Sequential(0, 1000), 512, Duration::ZERO, true);
        let given = all(&mut course, 10_000).len() as u64;
        assert!((1..=LOOK_EVERY).contains(&given), "{given}");
        assert_eq!(course.next(), None);
    }

    #[test]
    fn the_course_beside_is_over_what_was_given_out() {
        let given = |order: Order, most| {
            let mut course = Course::new(order, 512, LONG, true);
            let given = all(&mut course, most);
            (given, all(&mut course.beside(), 1000))
        };
        assert_eq!(given(Order::Sequential(0, 40), 7).1, (0..7).collect::<Vec<_>>());
        assert_eq!(given(Order::Sequential(0, 3), 7).1, [0, 1, 2]);
        let (first, beside) = given(Order::random(40, 3), 9);
        assert_eq!(first, beside);
        let mut whole = Course::new(Order::Sequential(0, 40), 512, LONG, true);
        let mut parts = whole.split(2);
        all(&mut parts[0], 3);
        all(&mut parts[1], 2);
        whole.rejoin(parts);
        assert_eq!(all(&mut whole.beside(), 1000), [0, 1, 2, 20, 21]);
        // Time does not end it.
        let mut short = Course::new(Order::Sequential(0, 1000), 512, Duration::ZERO, true);
        all(&mut short, 100);
        let visited = short.visited();
        assert_eq!(all(&mut short.beside(), 1000), visited);
    }

    #[test]
    fn parts_are_the_whole() {
        for order in [Order::Sequential(0, 10), Order::random(10, 3)] {
            let course = Course::new(order, 512, LONG, false);
            let parts = course.split(3);
            let mut seen: Vec<u64> = parts.into_iter().flat_map(|mut p| all(&mut p, 99)).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..10).collect::<Vec<_>>());
        }
        assert_eq!(Course::new(Order::Sequential(0, 2), 512, LONG, false).split(8).len(), 2);
    }
}
