//! How much of a bounded thing each of several has who may hang, so that one, or some, of them
//! leave something to the others.

/// What each may have at most of `most`, when the others have so much: half of what they leave, so
/// that there is always some for the next one, and one in any case.
pub fn half_of_rest(most: usize, others: usize) -> usize {
    (most.saturating_sub(others) / 2).max(1)
}

/// Counts by the number of who has them, and in all.
///
/// ```
/// use pitcrew::base::Shares;
///
/// let mut shares = Shares::default();
/// while shares.leave_room(7, 16) {
///     shares.begin(7);
/// }
/// while shares.leave_room(8, 16) {
///     shares.begin(8);
/// }
/// assert_eq!((shares.of(7), shares.of(8)), (8, 4));
/// assert!(shares.leave_room(9, 16));
/// ```
#[derive(Debug, Default)]
pub struct Shares {
    count: usize,
    /// Those that have any.
    parts: Vec<(u64, usize)>,
}

impl Shares {
    /// How many there are in all.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How many one has.
    pub fn of(&self, whose: u64) -> usize {
        self.parts.iter().find(|(one, _)| *one == whose).map_or(0, |(_, count)| *count)
    }

    /// Whether one may have another where there are `most` for all together.
    pub fn leave_room(&self, whose: u64, most: usize) -> bool {
        self.leave_room_for(whose, 1, most)
    }

    /// Whether one may have so many more.
    pub fn leave_room_for(&self, whose: u64, more: usize, most: usize) -> bool {
        let own = self.of(whose);
        let others = self.count - own;
        own + more <= half_of_rest(most, others).min(most.saturating_sub(others))
    }

    /// One has another.
    pub fn begin(&mut self, whose: u64) {
        self.take(whose, 1);
    }

    /// One has so many more.
    pub fn take(&mut self, whose: u64, more: usize) {
        self.count += more;
        match self.parts.iter_mut().find(|(one, _)| *one == whose) {
            Some((_, count)) => *count += more,
            None => self.parts.push((whose, more)),
        }
    }

    /// One has one less.
    pub fn end(&mut self, whose: u64) {
        self.give_back(whose, 1);
    }

    /// One has so many less.
    pub fn give_back(&mut self, whose: u64, less: usize) {
        let at = self.parts.iter().position(|(one, _)| *one == whose);
        let at = at.expect("what ends has begun");
        self.count -= less;
        self.parts[at].1 -= less;
        if self.parts[at].1 == 0 {
            self.parts.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_leaves_as_much_as_it_has_and_the_last_one_gets_one() {
        let mut shares = Shares::default();
        let mut had = Vec::new();
        for whose in 0..6 {
            while shares.leave_room(whose, 64) {
                shares.begin(whose);
            }
            had.push(shares.of(whose));
        }
        assert_eq!(had, [32, 16, 8, 4, 2, 1]);
        assert!(shares.leave_room(6, 64));
        shares.begin(6);
        assert!(!shares.leave_room(7, 64), "there is no more");
        (0..32).for_each(|_| shares.end(0));
        assert_eq!((shares.of(0), shares.count()), (0, 32));
        assert!(shares.leave_room(0, 64));
    }

    #[test]
    fn what_is_had_in_larger_pieces_has_the_same_bound() {
        let mut shares = Shares::default();
        assert!(shares.leave_room_for(7, 32, 64) && !shares.leave_room_for(7, 33, 64));
        shares.take(7, 30);
        assert!(shares.leave_room_for(7, 2, 64) && !shares.leave_room_for(7, 3, 64));
        assert!(shares.leave_room_for(8, 17, 64) && !shares.leave_room_for(8, 18, 64));
        shares.give_back(7, 30);
        assert_eq!((shares.count(), shares.parts.len()), (0, 0));
    }

    #[test]
    fn where_there_is_one_only_somebody_gets_it() {
        let mut shares = Shares::default();
        assert!(shares.leave_room(1, 1));
        shares.begin(1);
        assert!(!shares.leave_room(1, 1) && !shares.leave_room(2, 1));
    }
}
