//! Values in stable places, found by a key that carries a generation.
//!
//! A place is reused, a key never is: a late reference to a value that is gone finds nothing
//! instead of its successor. Places are allocated in pages that never move, so the kernel may
//! hold an address inside a value while the slab grows.

/// Places in one page.
const PAGE: usize = 128;

/// Where a value lies, and which of the values that lay there it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The place.
    pub index: u32,
    /// How many values have left the place before this one.
    pub generation: u32,
}

impl Key {
    /// The key as one number, as the kernel carries it.
    pub const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    /// The key of a number that [`Key::to_bits`] made.
    pub const fn from_bits(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    value: Option<T>,
}

/// A bounded table of values.
#[derive(Debug)]
pub struct Slab<T> {
    pages: Vec<Box<[Place<T>]>>,
    free: Vec<u32>,
    count: usize,
    count_max: usize,
}

impl<T> Slab<T> {
    /// A slab for at most `count_max` values.
    pub fn new(count_max: usize) -> Self {
        assert!(count_max < u32::MAX as usize, "an index has 32 bits");
        Self { pages: Vec::new(), free: Vec::new(), count: 0, count_max }
    }

    /// Puts a value in and gives its key, or hands the value back when the slab is full.
    ///
    /// ```
    /// # use pitcrew::base::Slab;
    /// # fn main() -> Result<(), &'static str> {
    /// let mut slab = Slab::new(1);
    /// let key = slab.insert("left")?;
    /// assert_eq!(slab.insert("right"), Err("right"));
    /// assert_eq!(slab.remove(key), Some("left"));
    /// let next = slab.insert("right")?;
    /// assert_eq!((slab.get(key), slab.get(next)), (None, Some(&"right")));
    /// # Ok(())
    /// # }
    /// ```
    pub fn insert(&mut self, value: T) -> Result<Key, T> {
        if self.count == self.count_max {
            return Err(value);
        }
        if self.free.is_empty() {
            self.grow();
        }
        let index = self.free.pop().expect("a page was just added");
        let place = self.place_mut(index).expect("a free index lies in a page");
        assert!(place.value.is_none(), "a free place is empty");
        place.value = Some(value);
        let key = Key { index, generation: place.generation };
        self.count += 1;
        Ok(key)
    }

    /// Takes a value out; none if its key is of an earlier generation.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.place_mut(key.index)?;
        if place.generation != key.generation {
            return None;
        }
        let value = place.value.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(key.index);
        self.count -= 1;
        Some(value)
    }

    /// The value of a key.
    #[inline]
    pub fn get(&self, key: Key) -> Option<&T> {
        let index = key.index as usize;
        let place = self.pages.get(index / PAGE)?.get(index % PAGE)?;
        if place.generation == key.generation { place.value.as_ref() } else { None }
    }

    /// The value of a key, to change it.
    #[inline]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.place_mut(key.index)?;
        if place.generation == key.generation { place.value.as_mut() } else { None }
    }

    /// The key of the value that lies at an index.
    pub fn key_at(&self, index: u32) -> Option<Key> {
        let place = self.pages.get(index as usize / PAGE)?.get(index as usize % PAGE)?;
        place.value.is_some().then_some(Key { index, generation: place.generation })
    }

    /// How many values are in.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether no value is in.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many values fit.
    pub fn count_max(&self) -> usize {
        self.count_max
    }

    /// All keys, in the order of their places.
    pub fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.pages
            .iter()
            .flatten()
            .enumerate()
            .filter(|(_, place)| place.value.is_some())
            .map(|(index, place)| Key { index: index as u32, generation: place.generation })
    }

    fn place_mut(&mut self, index: u32) -> Option<&mut Place<T>> {
        self.pages.get_mut(index as usize / PAGE)?.get_mut(index as usize % PAGE)
    }

    fn grow(&mut self) {
        let first = self.pages.len() * PAGE;
        self.pages.push((0..PAGE).map(|_| Place { generation: 0, value: None }).collect());
        let last = (first + PAGE).min(self.count_max);
        self.free.extend((first as u32..last as u32).rev());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_do_not_move_when_the_slab_grows() {
        let mut slab = Slab::new(10 * PAGE);
        let key = slab.insert(7u64).unwrap();
        let before = std::ptr::from_ref(slab.get(key).unwrap());
        for value in 0..5 * PAGE as u64 {
            slab.insert(value).unwrap();
        }
        assert_eq!(before, std::ptr::from_ref(slab.get(key).unwrap()));
    }

    #[test]
    fn a_key_survives_the_way_through_bits() {
        let key = Key { index: 0x1234_5678, generation: 0x9abc_def0 };
        assert_eq!(Key::from_bits(key.to_bits()), key);
    }

    #[test]
    fn keys_lists_what_is_in() {
        let mut slab = Slab::new(4);
        let [first, second] = [slab.insert('a').unwrap(), slab.insert('b').unwrap()];
        slab.remove(first);
        assert_eq!(slab.keys().collect::<Vec<_>>(), [second]);
        assert_eq!((slab.len(), slab.is_empty(), slab.count_max()), (1, false, 4));
    }
}
