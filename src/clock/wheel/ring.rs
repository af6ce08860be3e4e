//! The rings of the wheel: a tree that leads from a deadline to the slot for it.
//!
//! Invariants: a set bit in `occupied` is a slot that is not empty; a nested ring is for a lower digit than
//! the ring around it and knows that ring as `parent`; a ring that is left with one slot gives way to what
//! is in it, so the depth follows what is pending now and not what has been.

/// No ring, no timer.
pub(super) const NONE: u32 = u32::MAX;

const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;

/// What a slot holds.
#[derive(Clone, Copy)]
pub(super) enum Slot {
    Empty,
    List(List),
    /// A ring for a lower digit, by index.
    Ring(u32),
}

/// The timers of one slot, as the ends of a doubly linked list.
#[derive(Clone, Copy)]
pub(super) struct List {
    pub(super) head: u32,
    pub(super) tail: u32,
    pub(super) len: u32,
    /// Known to be in the order of deadlines.
    pub(super) sorted: bool,
}

/// Names a slot: of a ring, or the root, which is in none.
#[derive(Clone, Copy)]
pub(super) struct Place {
    ring: u32,
    slot: u32,
}

const ROOT: Place = Place { ring: NONE, slot: 0 };

/// 64 slots, one for each value of one digit.
struct Ring {
    /// Any deadline of the range that the ring covers.
    base: u64,
    /// The ring's digit, counted from the lowest.
    digit: u32,
    /// The ring around it; the next free one while it is unused.
    parent: u32,
    occupied: u64,
    slots: [Slot; SLOTS],
}

impl Ring {
    fn slot_of(&self, deadline: u64) -> u32 {
        ((deadline >> (DIGIT_BITS * self.digit)) % SLOTS as u64) as u32
    }
}

/// All rings, with the slot that everything hangs from.
pub(super) struct Rings {
    root: Slot,
    rings: Vec<Ring>,
    free: u32,
}

impl Rings {
    pub(super) const fn new() -> Rings {
        Rings { root: Slot::Empty, rings: Vec::new(), free: NONE }
    }

    pub(super) fn slot(&self, place: Place) -> Slot {
        match self.rings.get(place.ring as usize) {
            Some(ring) => ring.slots[place.slot as usize],
            None => self.root,
        }
    }

    /// Fills a slot.
    pub(super) fn set(&mut self, place: Place, content: Slot) {
        if let Slot::Ring(nested) = content {
            self.rings[nested as usize].parent = place.ring;
        }
        match self.rings.get_mut(place.ring as usize) {
            Some(ring) => {
                ring.occupied |= 1 << place.slot;
                ring.slots[place.slot as usize] = content;
            }
            None => self.root = content,
        }
    }

    /// Empties a slot. The ring around it goes with it when at most one other slot is left.
    pub(super) fn clear(&mut self, place: Place) {
        let Some(ring) = self.rings.get_mut(place.ring as usize) else {
            self.root = Slot::Empty;
            return;
        };
        ring.occupied &= !(1 << place.slot);
        ring.slots[place.slot as usize] = Slot::Empty;
        if !ring.occupied.is_power_of_two() {
            return;
        }
        let left = ring.slots[ring.occupied.trailing_zeros() as usize];
        let (parent, base) = (ring.parent, ring.base);
        ring.parent = self.free;
        self.free = place.ring;
        let around = match self.rings.get(parent as usize) {
            Some(outer) => Place { ring: parent, slot: outer.slot_of(base) },
            None => ROOT,
        };
        self.set(around, left);
    }

    /// The place of the earliest list; the root if there is none.
    pub(super) fn front(&self) -> Place {
        let mut place = ROOT;
        while let Slot::Ring(index) = self.slot(place) {
            place = Place { ring: index, slot: self.rings[index as usize].occupied.trailing_zeros() };
        }
        place
    }

    /// The place for a deadline, which is empty or holds a list. A ring is made where the deadline is
    /// outside the range of the one that stands there.
    pub(super) fn place_for(&mut self, deadline: u64) -> Place {
        let mut place = ROOT;
        while let Slot::Ring(index) = self.slot(place) {
            let ring = &self.rings[index as usize];
            if highest_digit(ring.base ^ deadline) > ring.digit {
                let base = ring.base;
                self.nest(place, base, deadline);
            } else {
                place = Place { ring: index, slot: ring.slot_of(deadline) };
            }
        }
        place
    }

    /// Puts what is in a slot, all of it near `inside`, into a ring where `outside` has another slot.
    pub(super) fn nest(&mut self, place: Place, inside: u64, outside: u64) {
        let content = self.slot(place);
        let ring = self.open(place, inside, inside ^ outside);
        let inner = self.inner_place(ring, inside);
        self.set(inner, content);
    }

    /// Replaces what is in a slot by an empty ring, for the highest digit that differs.
    pub(super) fn open(&mut self, place: Place, base: u64, differing: u64) -> u32 {
        let ring = Ring {
            base,
            digit: highest_digit(differing),
            parent: place.ring,
            occupied: 0,
            slots: [Slot::Empty; SLOTS],
        };
        let index = self.free;
        let index = match self.rings.get_mut(index as usize) {
            Some(unused) => {
                self.free = unused.parent;
                *unused = ring;
                index
            }
            None => {
                self.rings.push(ring);
                u32::try_from(self.rings.len() - 1).expect("rings are fewer than timers")
            }
        };
        self.set(place, Slot::Ring(index));
        index
    }

    /// The place for a deadline in the ring itself.
    pub(super) fn inner_place(&self, ring: u32, deadline: u64) -> Place {
        Place { ring, slot: self.rings[ring as usize].slot_of(deadline) }
    }

    /// How many rings were ever made.
    #[cfg(test)]
    pub(super) fn made(&self) -> usize {
        self.rings.len()
    }

    /// How many rings are in use.
    #[cfg(test)]
    pub(super) fn in_use(&self) -> usize {
        let mut unused = 0;
        let mut index = self.free;
        while let Some(ring) = self.rings.get(index as usize) {
            unused += 1;
            index = ring.parent;
        }
        self.rings.len() - unused
    }
}

/// The highest digit that is not zero; the lowest if all are.
fn highest_digit(bits: u64) -> u32 {
    (63 - (bits | 1).leading_zeros()) / DIGIT_BITS
}
