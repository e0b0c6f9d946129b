//! Who gives way when a cache is full: S3-FIFO, and LRU as its measure.
//!
//! S3-FIFO is that of Yang, Zhang, Qiu, Yue and Rashmi, "FIFO queues are all you need for cache
//! eviction" (SOSP 2023). What is new waits in a small queue; what is asked for again there moves
//! to the main one, and the rest goes soon, so that a scan passes without washing away what is
//! asked for often. The names of those that went are remembered for a while: who comes back is
//! taken into the main queue at once. A hit only counts, it moves nothing.

pub mod traces;

use std::collections::{BTreeMap, VecDeque};
use std::hash::Hash;

use foldhash::{HashMap, HashSet};

/// What a cache asks of a policy. The policy holds names, the cache what is behind them.
pub trait Policy<K> {
    /// Takes in a name that is not there.
    fn insert(&mut self, key: K);

    /// Takes note that a name was asked for.
    fn touch(&mut self, key: &K);

    /// Takes a name out that went otherwise.
    fn remove(&mut self, key: &K);

    /// Chooses who goes among those that may, and takes it out; none if nobody may.
    fn evict(&mut self, may_go: &mut dyn FnMut(&K) -> bool) -> Option<K>;
}

/// The most that a hit counts: two bits in the paper.
const COUNT_MAX: u8 = 3;
/// The share of the small queue: a tenth in the paper.
const SMALL_SHARE: usize = 10;

/// See the module.
#[derive(Debug)]
pub struct S3Fifo<K> {
    nodes: HashMap<K, Node>,
    small: VecDeque<(K, u64)>,
    main: VecDeque<(K, u64)>,
    gone: VecDeque<K>,
    is_gone: HashSet<K>,
    /// Names of the small queue that are still there.
    small_count: usize,
    small_max: usize,
    gone_max: usize,
    stamp: u64,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    count: u8,
    in_main: bool,
    /// Tells the entry of a queue apart from one that was left behind.
    stamp: u64,
}

impl<K: Copy + Eq + Hash> S3Fifo<K> {
    /// For a cache of so many entries.
    pub fn new(entries: usize) -> Self {
        let small_max = (entries / SMALL_SHARE).max(1);
        Self {
            nodes: HashMap::default(),
            small: VecDeque::new(),
            main: VecDeque::new(),
            gone: VecDeque::new(),
            is_gone: HashSet::default(),
            small_count: 0,
            small_max,
            gone_max: entries.saturating_sub(small_max).max(1),
            stamp: 0,
        }
    }

    /// The next name of a queue that is still there.
    fn pop(&mut self, from_main: bool) -> Option<(K, Node)> {
        let queue = if from_main { &mut self.main } else { &mut self.small };
        while let Some((key, stamp)) = queue.pop_front() {
            if let Some(node) = self.nodes.get(&key)
                && node.stamp == stamp
            {
                return Some((key, *node));
            }
        }
        None
    }

    fn push(&mut self, key: K, count: u8, in_main: bool) {
        self.stamp += 1;
        let node = Node { count, in_main, stamp: self.stamp };
        let before = self.nodes.insert(key, node);
        self.small_count -= usize::from(before.is_some_and(|node| !node.in_main));
        self.small_count += usize::from(!in_main);
        let queue = if in_main { &mut self.main } else { &mut self.small };
        queue.push_back((key, self.stamp));
        // What was removed leaves its entries behind; they are swept before they are the most.
        if queue.len() > 2 * self.nodes.len() + 16 {
            let nodes = &self.nodes;
            queue.retain(|(key, stamp)| nodes.get(key).is_some_and(|node| node.stamp == *stamp));
        }
    }

    fn remember(&mut self, key: K) {
        if self.is_gone.insert(key) {
            self.gone.push_back(key);
        }
        while self.gone.len() > self.gone_max
            && let Some(oldest) = self.gone.pop_front()
        {
            self.is_gone.remove(&oldest);
        }
    }

    fn take_out(&mut self, key: &K) -> bool {
        let node = self.nodes.remove(key);
        self.small_count -= usize::from(node.is_some_and(|node| !node.in_main));
        node.is_some()
    }
}

impl<K: Copy + Eq + Hash> Policy<K> for S3Fifo<K> {
    fn insert(&mut self, key: K) {
        let comes_back = self.is_gone.contains(&key);
        self.push(key, 0, comes_back);
    }

    fn touch(&mut self, key: &K) {
        if let Some(node) = self.nodes.get_mut(key) {
            node.count = (node.count + 1).min(COUNT_MAX);
        }
    }

    fn remove(&mut self, key: &K) {
        self.take_out(key);
    }

    fn evict(&mut self, may_go: &mut dyn FnMut(&K) -> bool) -> Option<K> {
        // A name is passed over once for each of its hits, and once because it may not go.
        let (mut kept_in_small, mut kept_in_main) = (0, 0);
        for _ in 0..=(usize::from(COUNT_MAX) + 2) * self.nodes.len() {
            let small_left = self.small_count > kept_in_small;
            let main_left = self.nodes.len() - self.small_count > kept_in_main;
            if !small_left && !main_left {
                return None;
            }
            let from_main = !small_left || self.small_count < self.small_max && main_left;
            let (key, node) = self.pop(from_main)?;
            if !may_go(&key) {
                kept_in_small += usize::from(!node.in_main);
                kept_in_main += usize::from(node.in_main);
                self.push(key, node.count, node.in_main);
            } else if node.in_main && node.count > 0 {
                self.push(key, node.count - 1, true);
            } else if !node.in_main && node.count > 1 {
                self.push(key, 0, true);
            } else {
                self.take_out(&key);
                if !node.in_main {
                    self.remember(key);
                }
                return Some(key);
            }
        }
        None
    }
}

/// The least recently used goes: what S3-FIFO is measured against.
#[derive(Debug)]
pub struct Lru<K> {
    last: HashMap<K, u64>,
    order: BTreeMap<u64, K>,
    stamp: u64,
}

impl<K: Copy + Eq + Hash> Lru<K> {
    /// For a cache of any size.
    pub fn new() -> Self {
        Self { last: HashMap::default(), order: BTreeMap::new(), stamp: 0 }
    }

    fn use_now(&mut self, key: K) {
        self.stamp += 1;
        if let Some(before) = self.last.insert(key, self.stamp) {
            self.order.remove(&before);
        }
        self.order.insert(self.stamp, key);
    }
}

impl<K: Copy + Eq + Hash> Default for Lru<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Copy + Eq + Hash> Policy<K> for Lru<K> {
    fn insert(&mut self, key: K) {
        self.use_now(key);
    }

    fn touch(&mut self, key: &K) {
        if self.last.contains_key(key) {
            self.use_now(*key);
        }
    }

    fn remove(&mut self, key: &K) {
        if let Some(stamp) = self.last.remove(key) {
            self.order.remove(&stamp);
        }
    }

    fn evict(&mut self, may_go: &mut dyn FnMut(&K) -> bool) -> Option<K> {
        let key = *self.order.values().find(|key| may_go(key))?;
        self.remove(&key);
        Some(key)
    }
}

/// The share of a trace's requests that a cache of so many entries answers, 0 to 1.
///
/// ```
/// use pitcrew::eviction::{Lru, S3Fifo, hit_ratio};
/// // A loop that is longer than the cache: whoever forgets the oldest first never hits.
/// let trace = || (0..1000).map(|number| number % 12);
/// assert_eq!(hit_ratio(&mut Lru::new(), 10, trace()), 0.0);
/// assert!(hit_ratio(&mut S3Fifo::new(10), 10, trace()) > 0.3);
/// ```
pub fn hit_ratio<K: Copy + Eq + Hash>(
    policy: &mut dyn Policy<K>,
    entries: usize,
    trace: impl IntoIterator<Item = K>,
) -> f64 {
    assert!(entries > 0, "a cache has an entry");
    let (mut cached, mut hits, mut all) = (HashSet::default(), 0u64, 0u64);
    for key in trace {
        all += 1;
        if cached.contains(&key) {
            hits += 1;
            policy.touch(&key);
            continue;
        }
        if cached.len() == entries {
            let gone = policy.evict(&mut |_| true).expect("everything may go");
            assert!(cached.remove(&gone), "what goes was there");
        }
        cached.insert(key);
        policy.insert(key);
    }
    hits as f64 / all.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evict(policy: &mut S3Fifo<u32>) -> Option<u32> {
        policy.evict(&mut |_| true)
    }

    #[test]
    fn what_is_asked_for_twice_survives_a_scan() {
        let mut policy = S3Fifo::new(10);
        policy.insert(1);
        policy.touch(&1);
        policy.touch(&1);
        for number in 100..200 {
            policy.insert(number);
            assert_ne!(evict(&mut policy), Some(1));
        }
    }

    #[test]
    fn who_comes_back_goes_to_the_main_queue() {
        let mut policy = S3Fifo::new(20);
        for key in 0..4 {
            policy.insert(key);
        }
        assert_eq!(evict(&mut policy), Some(0));
        policy.insert(0);
        assert!(policy.nodes[&0].in_main);
        assert!(!policy.nodes[&3].in_main);
    }

    #[test]
    fn who_may_not_go_stays_and_nobody_at_all_is_an_answer() {
        let mut policy = S3Fifo::new(10);
        for key in 0..10 {
            policy.insert(key);
            policy.touch(&key);
        }
        assert_eq!(policy.evict(&mut |_| false), None);
        assert_eq!(policy.evict(&mut |key| *key == 7), Some(7));
        assert_eq!(policy.evict(&mut |key| *key == 7), None);
        assert_eq!(policy.nodes.len(), 9);
    }

    #[test]
    fn names_that_are_removed_leave_no_more_behind_than_there_are() {
        let mut policy = S3Fifo::new(10);
        for key in 0..10_000 {
            policy.insert(key);
            policy.remove(&key);
        }
        assert!(policy.small.len() <= 17 && policy.nodes.is_empty() && policy.small_count == 0);
        assert_eq!(evict(&mut policy), None);
    }

    #[test]
    fn an_lru_lets_the_oldest_go_that_may() {
        let mut policy = Lru::new();
        for key in [1, 2, 3] {
            policy.insert(key);
        }
        policy.touch(&1);
        assert_eq!(policy.evict(&mut |key| *key != 2), Some(3));
        assert_eq!(policy.evict(&mut |_| true), Some(2));
        policy.remove(&1);
        assert_eq!(policy.evict(&mut |_| true), None);
    }
}
