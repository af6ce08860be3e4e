//! Generational slots: a table that hands out keys which go stale.
//!
//! Sources, tasks and streams live in slots that are named by index. An index alone is not enough: an event
//! or a message that was on its way while the slot changed hands would reach the wrong owner. A [`Key`]
//! therefore carries the slot's generation, which changes with every removal, and every lookup compares it.
//!
//! Free slots are reused first-in first-out. That spreads reuse over all of them, so a generation comes
//! round again as late as possible, and a number that somebody still holds by mistake stays stale for long.
//!
//! Invariants: the free list threads exactly the slots that are `Free`; `len` counts the others; a key is
//! live exactly while its slot is `Full` and the generations agree. Index `u32::MAX` is never given out, so
//! `u64::MAX` is never a key and may serve as a mark.

use std::{fmt, iter, slice};

use crate::limits::TABLE_DOUBLES_TO;

/// The end of the free list.
const NONE: u32 = u32::MAX;

/// Names one stay of one value in a [`Slab`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// Makes a key of its parts.
    pub const fn new(index: u32, generation: u32) -> Key {
        Key { index, generation }
    }

    /// The slot's number.
    pub const fn index(self) -> u32 {
        self.index
    }

    /// Which stay in the slot is meant.
    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// Packs the key: index in the low half, generation in the high half.
    pub const fn to_bits(self) -> u64 {
        self.index as u64 | (self.generation as u64) << 32
    }

    /// Unpacks what [`to_bits`](Key::to_bits) packed.
    #[expect(clippy::cast_possible_truncation, reason = "each half is meant to be cut off here")]
    pub const fn from_bits(bits: u64) -> Key {
        Key { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.index, self.generation)
    }
}

/// A table of values named by [`Key`]s.
pub struct Slab<T> {
    slots: Vec<Slot<T>>,
    /// The free list: taken from at `first_free`, given back at `last_free`.
    first_free: u32,
    last_free: u32,
    len: usize,
}

/// As `Vec::push`, but long vectors grow by a quarter instead of doubling: a table of 9,000 connections would carry 7,000
/// empty slots. Each value is moved four times instead of once, all in all; the system remaps what is long.
pub(crate) fn push_sparingly<T>(values: &mut Vec<T>, value: T) {
    if values.len() == values.capacity() && values.len() >= TABLE_DOUBLES_TO {
        values.reserve_exact(values.len() / 4);
    }
    values.push(value);
}

struct Slot<T> {
    generation: u32,
    entry: Entry<T>,
}

enum Entry<T> {
    Full(T),
    Free { next: u32 },
}

impl<T> Slab<T> {
    /// Makes an empty slab; it allocates with the first insertion.
    pub const fn new() -> Slab<T> {
        Slab { slots: Vec::new(), first_free: NONE, last_free: NONE, len: 0 }
    }

    /// How many values it holds.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds nothing.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Stores a value and names it.
    ///
    /// # Panics
    ///
    /// Panics when 2³² − 1 values are stored: long before that the memory is gone.
    #[inline]
    pub fn insert(&mut self, value: T) -> Key {
        self.insert_with(|_| value)
    }

    /// Stores a value that is told its own key.
    ///
    /// # Panics
    ///
    /// As [`insert`](Slab::insert). If `make` panics, the slab is unchanged.
    #[inline]
    pub fn insert_with(&mut self, make: impl FnOnce(Key) -> T) -> Key {
        let key = self.next_key();
        // Made where it goes, and before anything is changed.
        match self.slots.get_mut(key.index as usize) {
            Some(slot) => {
                let Entry::Free { next } = slot.entry else {
                    unreachable!("the free list threads free slots only")
                };
                slot.entry = Entry::Full(make(key));
                self.first_free = next;
                if next == NONE {
                    self.last_free = NONE;
                }
            }
            None => {
                let slot = Slot { generation: key.generation, entry: Entry::Full(make(key)) };
                push_sparingly(&mut self.slots, slot);
            }
        }
        self.len += 1;
        key
    }

    /// The key that the next insertion will use.
    pub fn next_key(&self) -> Key {
        match self.slots.get(self.first_free as usize) {
            Some(slot) => Key { index: self.first_free, generation: slot.generation },
            None => {
                let index = u32::try_from(self.slots.len()).ok().filter(|index| *index != NONE);
                Key { index: index.expect("fewer than 2^32 - 1 values fit in memory"), generation: 0 }
            }
        }
    }

    /// Looks a value up; `None` if the key is stale.
    pub fn get(&self, key: Key) -> Option<&T> {
        match self.slots.get(key.index as usize) {
            Some(Slot { generation, entry: Entry::Full(value) }) if *generation == key.generation => {
                Some(value)
            }
            _ => None,
        }
    }

    /// Looks a value up to change it; `None` if the key is stale.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.slots.get_mut(key.index as usize) {
            Some(Slot { generation, entry: Entry::Full(value) }) if *generation == key.generation => {
                Some(value)
            }
            _ => None,
        }
    }

    /// Whether the key is live.
    pub fn contains(&self, key: Key) -> bool {
        self.get(key).is_some()
    }

    /// Takes a value out, after which its key is stale; `None` if it is so already.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation || matches!(slot.entry, Entry::Free { .. }) {
            return None;
        }
        let Entry::Full(value) = std::mem::replace(&mut slot.entry, Entry::Free { next: NONE }) else {
            unreachable!("looked at just above")
        };
        slot.generation = slot.generation.wrapping_add(1);
        match self.slots.get_mut(self.last_free as usize) {
            Some(Slot { entry: Entry::Free { next }, .. }) => *next = key.index,
            _ => self.first_free = key.index,
        }
        self.last_free = key.index;
        self.len -= 1;
        Some(value)
    }

    /// Walks over what it holds, in the order of the slots.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        numbered(self.slots.iter()).filter_map(|(index, slot)| match &slot.entry {
            Entry::Full(value) => Some((Key { index, generation: slot.generation }, value)),
            Entry::Free { .. } => None,
        })
    }

    /// Walks over what it holds, to change it.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        let slots: slice::IterMut<'_, Slot<T>> = self.slots.iter_mut();
        numbered(slots).filter_map(|(index, slot)| match &mut slot.entry {
            Entry::Full(value) => Some((Key { index, generation: slot.generation }, value)),
            Entry::Free { .. } => None,
        })
    }
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab::new()
    }
}

impl<T> fmt::Debug for Slab<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slab").field("len", &self.len).field("slots", &self.slots.len()).finish()
    }
}

fn numbered<I: Iterator>(slots: I) -> iter::Zip<std::ops::RangeFrom<u32>, I> {
    (0..).zip(slots)
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, VecDeque};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_removed_key_stays_stale_when_its_slot_is_reused() {
        let mut slab = Slab::new();
        let old = slab.insert("old");
        assert_eq!(slab.remove(old), Some("old"));
        let new = slab.insert("new");
        assert_eq!(new.index(), old.index());
        assert_ne!(new, old);
        assert_eq!(slab.get(old), None);
        assert_eq!(slab.remove(old), None);
        assert_eq!(slab.get(new), Some(&"new"));
    }

    #[test]
    fn free_slots_are_reused_first_in_first_out() {
        let mut slab = Slab::new();
        let keys: Vec<Key> = (0..4).map(|n| slab.insert(n)).collect();
        for at in [2, 0, 3] {
            slab.remove(keys[at]);
        }
        let reused: Vec<u32> = (0..4).map(|n| slab.insert(n).index()).collect();
        assert_eq!(reused, [2, 0, 3, 4]);
    }

    #[test]
    fn a_key_survives_packing_and_is_never_all_ones() {
        let key = Key::new(0xfeed_beef, 0xdead_cafe);
        assert_eq!(key.to_bits(), 0xdead_cafe_feed_beef);
        assert_eq!(Key::from_bits(key.to_bits()), key);
    }

    #[test]
    fn a_generation_that_wraps_goes_on_at_zero() {
        let mut slab = Slab::new();
        slab.insert(());
        slab.slots[0].generation = u32::MAX;
        slab.remove(Key::new(0, u32::MAX));
        assert_eq!(slab.insert(()), Key::new(0, 0));
    }

    #[test]
    fn a_maker_that_panics_leaves_the_slab_unchanged() {
        let mut slab = Slab::new();
        let first = slab.insert(1);
        slab.remove(first);
        let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            slab.insert_with(|_| panic!("no value"));
        }));
        assert!(made.is_err() && slab.is_empty());
        assert_eq!(slab.insert_with(|key| key.generation()), Key::new(0, 1));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_map_and_a_queue_of_free_slots(acts in prop::collection::vec(any::<(bool, u16)>(), 0..400)) {
            let mut slab = Slab::new();
            let (mut model, mut live, mut free) = (HashMap::new(), Vec::new(), VecDeque::new());
            for (insert, value) in acts {
                if insert || live.is_empty() {
                    let key = slab.insert(value);
                    prop_assert_eq!(key.index(), free.pop_front().unwrap_or(model.len() as u32));
                    prop_assert!(model.insert(key, value).is_none());
                    live.push(key);
                } else {
                    let key: Key = live.swap_remove(value as usize % live.len());
                    prop_assert_eq!(slab.remove(key), model.remove(&key));
                    prop_assert!(!slab.contains(key));
                    free.push_back(key.index());
                }
                prop_assert_eq!(slab.len(), model.len());
                prop_assert_eq!(slab.iter().count(), slab.len());
                for (key, value) in slab.iter() {
                    prop_assert_eq!(model.get(&key), Some(value));
                }
            }
        }
    }
}
