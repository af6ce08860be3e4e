//! The timer wheel: which timer is due next, and which are due now. Pure; `now` is an argument.
//!
//! A deadline is a number of nanoseconds, read as eleven digits of six bits. A *ring* has 64 slots, one
//! for each value of one digit, and a bitmap of those in use; a slot holds a list of timers or, where that
//! would be too coarse, a ring for a lower digit. That is a hierarchical timing wheel, but one whose rings
//! are made where deadlines are crowded and nowhere else, and whose slots are absolute. So nothing turns:
//! there is no cascade when time passes a boundary, no point where the top level wraps round, and no
//! horizon.
//!
//! A list is kept sorted as long as that is cheap, and timers of one duration arrive sorted by themselves.
//! A list that is out of order is put right when it comes to the front, and not before, since most timers
//! are cancelled long before: a short one is sorted in place, a long one spread over a new ring. The front
//! is therefore always sorted, its head is the earliest timer of all, and [`Wheel::next_deadline`] is the
//! true minimum and not the edge of some slot.
//!
//! Timers with equal deadlines fire in the order of arming: they are always in one list, every list is
//! appended to at its end, and sorting and spreading are stable.
//!
//! Costs: arm and cancel walk down as many rings as there are above the list (two or three with a million
//! timers) and change a doubly linked list there. A timer is moved at most once for each ring that is
//! made above it. No single call moves more than [`TIMER_LIST_MAX`] timers, however many there are: a list
//! beyond that length holds one single deadline, and changes its place as a whole.
//!
//! Invariants: a ring in use has at least two slots in use; the timers below a ring agree with its `base`
//! in all digits above its own; `earliest` is either the minimum or unknown. A timer at [`NEVER`] is in
//! no list.

mod ring;
#[cfg(test)]
mod tests;

use std::fmt;

use self::ring::{List, NONE, Place, Rings, Slot};
use super::NEVER;
use crate::limits::{TIMER_LIST_MAX, TIMER_SHIFT_MAX, TIMER_SORT_MAX};
use crate::slab::Key;

/// Names one arming of one timer. It goes stale when the timer fires, is cancelled or is armed again.
pub type TimerKey = Key;

/// Timers in the order of their deadlines, each with something to be handed over when it is due.
pub struct Wheel<T> {
    timers: Vec<Timer<T>>,
    /// Head of the list of unused entries. The last one freed is reused first: it is still in the cache.
    free: u32,
    len: usize,
    rings: Rings,
    /// The minimum of all deadlines, [`NEVER`] if there is none; `None` if it has to be looked up.
    earliest: Option<u64>,
}

struct Timer<T> {
    deadline: u64,
    generation: u32,
    prev: u32,
    next: u32,
    /// `None` while the entry is unused.
    payload: Option<T>,
}

impl<T> Wheel<T> {
    /// Makes a wheel without timers; it allocates with the first.
    pub fn new() -> Wheel<T> {
        Wheel { timers: Vec::new(), free: NONE, len: 0, rings: Rings::new(), earliest: Some(NEVER) }
    }

    /// How many timers are armed.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no timer is armed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Walks over the armed timers and their deadlines, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.timers.iter().filter_map(|timer| Some((timer.deadline, timer.payload.as_ref()?)))
    }

    /// Arms a timer: `payload` is handed over by the first [`expire`](Wheel::expire) at `deadline` or
    /// later. One at [`NEVER`] is kept and does not fire.
    ///
    /// # Panics
    ///
    /// Panics beyond 2³² − 1 timers.
    pub fn insert(&mut self, deadline: u64, payload: T) -> TimerKey {
        let index = self.take_entry(deadline, payload);
        self.link(index);
        self.len += 1;
        Key::new(index, self.timers[index as usize].generation)
    }

    /// The payload of a timer; `None` if the key is stale.
    pub fn get_mut(&mut self, key: TimerKey) -> Option<&mut T> {
        let timer = self.timers.get_mut(key.index() as usize)?;
        if timer.generation == key.generation() { timer.payload.as_mut() } else { None }
    }

    /// Gives a timer another deadline; false if the key is stale. It counts as armed anew, and keeps its key.
    pub fn reset(&mut self, key: TimerKey, deadline: u64) -> bool {
        if self.get_mut(key).is_none() {
            return false;
        }
        self.unlink(key.index());
        self.timers[key.index() as usize].deadline = deadline;
        self.link(key.index());
        true
    }

    /// Disarms a timer and returns its payload; `None` if the key is stale.
    pub fn cancel(&mut self, key: TimerKey) -> Option<T> {
        self.get_mut(key)?;
        self.unlink(key.index());
        self.free_entry(key.index())
    }

    /// The earliest deadline, exactly; `None` if nothing is going to fire.
    pub fn next_deadline(&mut self) -> Option<u64> {
        let earliest = match self.earliest {
            Some(known) => known,
            None => self.settle().map_or(NEVER, |(_, head)| self.deadline(head)),
        };
        self.earliest = Some(earliest);
        (earliest != NEVER).then_some(earliest)
    }

    /// Fires what is due at `now`, in the order of deadline and arming, but at most `max` timers. Returns
    /// whether more are due.
    pub fn expire(&mut self, now: u64, fire: &mut impl FnMut(T), max: usize) -> bool {
        for _ in 0..max {
            match self.pop(now) {
                Some(payload) => fire(payload),
                None => return false,
            }
        }
        self.next_deadline().is_some_and(|earliest| earliest <= now)
    }

    fn pop(&mut self, now: u64) -> Option<T> {
        if self.earliest.is_some_and(|earliest| earliest > now) {
            return None;
        }
        let (place, head) = self.settle()?;
        let deadline = self.deadline(head);
        if deadline > now {
            self.earliest = Some(deadline);
            return None;
        }
        self.unlink_at(place, head);
        self.earliest = None;
        self.free_entry(head)
    }

    fn deadline(&self, index: u32) -> u64 {
        self.timers[index as usize].deadline
    }

    /// Brings the front into order and returns its place and its first timer.
    fn settle(&mut self) -> Option<(Place, u32)> {
        loop {
            let place = self.rings.front();
            match self.rings.slot(place) {
                Slot::List(list) if list.sorted => return Some((place, list.head)),
                Slot::List(list) if list.len <= TIMER_SORT_MAX => self.sort(place, list),
                Slot::List(list) => self.spread(place, list, self.deadline(list.head)),
                Slot::Empty | Slot::Ring(_) => return None,
            }
        }
    }

    fn link(&mut self, index: u32) {
        let deadline = self.deadline(index);
        self.earliest = self.earliest.map(|earliest| earliest.min(deadline));
        if deadline == NEVER {
            return;
        }
        let mut place = self.rings.place_for(deadline);
        if let Slot::List(list) = self.rings.slot(place) {
            if list.len >= TIMER_LIST_MAX && !(self.is_uniform(list) && self.deadline(list.head) == deadline)
            {
                self.spread(place, list, deadline);
                place = self.rings.place_for(deadline);
            }
        }
        self.append(place, index);
    }

    fn is_uniform(&self, list: List) -> bool {
        list.sorted && self.deadline(list.head) == self.deadline(list.tail)
    }

    /// Adds a timer to the list of a slot: where it belongs if the list is sorted and that is near one of
    /// the ends, else at the tail.
    fn append(&mut self, place: Place, index: u32) {
        let Slot::List(mut list) = self.rings.slot(place) else {
            self.timers[index as usize].prev = NONE;
            self.timers[index as usize].next = NONE;
            return self
                .rings
                .set(place, Slot::List(List { head: index, tail: index, len: 1, sorted: true }));
        };
        let deadline = self.deadline(index);
        let mut after = list.tail;
        if list.sorted && deadline < self.deadline(list.head) {
            after = NONE;
        } else if list.sorted {
            let mut steps = 0;
            // The head is not later, so the walk ends there at the latest.
            while self.deadline(after) > deadline && steps < TIMER_SHIFT_MAX {
                after = self.timers[after as usize].prev;
                steps += 1;
            }
            if self.deadline(after) > deadline {
                after = list.tail;
                list.sorted = false;
            }
        }
        let next = if after == NONE { list.head } else { self.timers[after as usize].next };
        self.join(after, index, &mut list);
        self.join(index, next, &mut list);
        list.len += 1;
        self.rings.set(place, Slot::List(list));
    }

    /// Makes two timers neighbours; [`NONE`] stands for the list itself.
    fn join(&mut self, prev: u32, next: u32, list: &mut List) {
        match self.timers.get_mut(prev as usize) {
            Some(timer) => timer.next = next,
            None => list.head = next,
        }
        match self.timers.get_mut(next as usize) {
            Some(timer) => timer.prev = prev,
            None => list.tail = prev,
        }
    }

    fn unlink(&mut self, index: u32) {
        let deadline = self.deadline(index);
        if deadline == NEVER {
            return;
        }
        if self.earliest == Some(deadline) {
            self.earliest = None;
        }
        let place = self.rings.place_for(deadline);
        self.unlink_at(place, index);
    }

    fn unlink_at(&mut self, place: Place, index: u32) {
        let Slot::List(mut list) = self.rings.slot(place) else {
            unreachable!("a linked timer is in the list of its place")
        };
        if list.len == 1 {
            return self.rings.clear(place);
        }
        let Timer { prev, next, .. } = self.timers[index as usize];
        self.join(prev, next, &mut list);
        list.len -= 1;
        self.rings.set(place, Slot::List(list));
    }

    /// Sorts a short list; equal deadlines keep their order.
    fn sort(&mut self, place: Place, list: List) {
        let mut order = [(0, 0, 0); TIMER_SORT_MAX as usize];
        let order = &mut order[..list.len as usize];
        let mut index = list.head;
        for (position, entry) in order.iter_mut().enumerate() {
            let timer = &self.timers[index as usize];
            *entry = (timer.deadline, position, index);
            index = timer.next;
        }
        order.sort_unstable();
        let mut sorted = List { sorted: true, ..list };
        let mut prev = NONE;
        for &mut (_, _, index) in order {
            self.join(prev, index, &mut sorted);
            prev = index;
        }
        self.join(prev, NONE, &mut sorted);
        self.rings.set(place, Slot::List(sorted));
    }

    /// Spreads the list of a slot over a ring for the highest digit in which its timers differ from each
    /// other or from the deadline `other`.
    fn spread(&mut self, place: Place, list: List, other: u64) {
        if self.is_uniform(list) {
            return self.rings.nest(place, self.deadline(list.head), other);
        }
        let mut differing = 0;
        let mut index = list.head;
        while let Some(timer) = self.timers.get(index as usize) {
            differing |= timer.deadline ^ other;
            index = timer.next;
        }
        if differing == 0 {
            // What was out of order is gone.
            return self.rings.set(place, Slot::List(List { sorted: true, ..list }));
        }
        let ring = self.rings.open(place, other, differing);
        let mut index = list.head;
        while let Some(&Timer { deadline, next, .. }) = self.timers.get(index as usize) {
            self.append(self.rings.inner_place(ring, deadline), index);
            index = next;
        }
    }

    fn take_entry(&mut self, deadline: u64, payload: T) -> u32 {
        let payload = Some(payload);
        let index = self.free;
        if let Some(timer) = self.timers.get_mut(index as usize) {
            self.free = timer.next;
            timer.deadline = deadline;
            timer.payload = payload;
            return index;
        }
        let index = u32::try_from(self.timers.len()).ok().filter(|index| *index != NONE);
        let index = index.expect("fewer than 2^32 - 1 timers fit in memory");
        self.timers.push(Timer { deadline, generation: 0, prev: NONE, next: NONE, payload });
        index
    }

    fn free_entry(&mut self, index: u32) -> Option<T> {
        let timer = &mut self.timers[index as usize];
        timer.generation = timer.generation.wrapping_add(1);
        timer.next = self.free;
        self.free = index;
        self.len -= 1;
        timer.payload.take()
    }
}

impl<T> Default for Wheel<T> {
    fn default() -> Wheel<T> {
        Wheel::new()
    }
}

impl<T> fmt::Debug for Wheel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wheel").field("len", &self.len).field("earliest", &self.earliest).finish()
    }
}
