//! Where workers count: a place for each, which an ended worker leaves, with what it has counted,
//! to one of a later configuration. So counters only grow, and reloads do not add places. And what
//! else workers of all configurations share: the numbers of connections, and who has how many.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};

use crate::connection::Taken;
use crate::telemetry::Shard;

/// All places, for whoever reads the figures.
#[derive(Debug, Default)]
pub(super) struct Shards {
    places: RwLock<Arc<[Shard]>>,
    /// How many connections have a number.
    pub(super) numbered: Arc<AtomicU64>,
    /// The connections of each address.
    pub(super) seats: Taken,
}

impl Shards {
    /// The places there are now. A lock that only a reload holds, and only to put a list in.
    pub(super) fn all(&self) -> Arc<[Shard]> {
        Arc::clone(&self.places.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A place that nobody has.
    pub(super) fn take(&self) -> Shard {
        let mut all = self.places.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(free) = all.iter().find(|shard| shard.is_left()) {
            free.take_up();
            return free.clone();
        }
        let shard = Shard::default();
        *all = all.iter().chain([&shard]).cloned().collect();
        shard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_was_left_is_taken_again_with_its_counts() {
        let shards = Shards::default();
        let [one, two] = [shards.take(), shards.take()];
        one.cache.hits.add(3);
        assert_eq!(shards.all().len(), 2);
        one.leave();
        let again = shards.take();
        assert_eq!((again.cache.hits.read(), shards.all().len()), (3, 2));
        two.leave();
        assert!(!again.is_left());
        let _ = [shards.take(), shards.take()];
        assert_eq!(shards.all().len(), 3);
    }
}
