//! The remote words: one atomic a slot, the only thing about a task that another thread may touch.
//!
//! ```text
//! bit 0        notified: somebody woke this slot and the owner has not taken it yet
//! bits 1..=28  generation: how often the slot was retired
//! bits 29..    what the counting of generations carries into; ignored
//! ```
//!
//! Words live in segments of doubling size, which are allocated when a slot in them is first used and never
//! freed or moved: a stale handle may be used at any time, also long after its runtime is gone, and must find
//! the word. The notified bit belongs to the slot, not to the task: it stays when a slot is retired, because
//! an entry for it may still be on its way, and only the owner clears it, when that entry arrives.

use std::sync::OnceLock;

use crate::limits::{FIRST_SLOT_SEGMENT, SLOT_SEGMENTS};
use crate::sync::{AtomicU32, Ordering};
use crate::wake::handle::GENERATION_MASK;

const NOTIFIED: u32 = 1;
/// What one more generation adds to a word.
const GENERATION_STEP: u32 = 2;

/// What setting the notified bit found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// The task is gone; nothing was changed.
    Stale,
    /// The bit was set already: whoever set it brings it to the owner.
    Pending,
    /// The bit was clear: the caller brings it to the owner.
    First,
}

/// The remote words of one worker.
#[derive(Debug)]
pub(super) struct Slots {
    segments: [OnceLock<Box<[AtomicU32]>>; SLOT_SEGMENTS],
    /// One more than the highest slot that was ever made.
    count: AtomicU32,
}

impl Slots {
    pub(super) fn new() -> Slots {
        Slots { segments: [const { OnceLock::new() }; SLOT_SEGMENTS], count: AtomicU32::new(0) }
    }

    /// Makes the slot's word exist and returns its generation.
    ///
    /// # Panics
    ///
    /// If `slot` is not below `limits::SLOTS_MAX`.
    pub(super) fn ensure(&self, slot: u32) -> u32 {
        let (segment, offset) = locate(slot);
        let words = self.segments[segment]
            .get_or_init(|| (0..FIRST_SLOT_SEGMENT << segment).map(|_| AtomicU32::new(0)).collect());
        // Relaxed: only owners write and read the count, one after the other.
        if self.count.load(Ordering::Relaxed) <= slot {
            self.count.fetch_max(slot + 1, Ordering::Relaxed);
        }
        generation_of(words[offset].load(Ordering::Relaxed))
    }

    /// Makes every handle to the slot stale and returns the new generation. For the owner, and a slot that
    /// exists.
    pub(super) fn retire(&self, slot: u32) -> u32 {
        let Some(word) = self.word(slot) else { return 0 };
        // Relaxed: a waker that misses this step causes one spurious poll. An addition cannot reach bit 0.
        generation_of(word.fetch_add(GENERATION_STEP, Ordering::Relaxed).wrapping_add(GENERATION_STEP))
    }

    /// Sets the notified bit, unless the generation has passed. From any thread.
    #[inline]
    pub(super) fn mark(&self, slot: u32, generation: u32) -> Mark {
        let Some(word) = self.word(slot) else { return Mark::Stale };
        // The handle was made in this generation, so the load sees this one or a later one: another number
        // means that the task is gone. A task that goes just after the load is worth one spurious poll.
        if generation_of(word.load(Ordering::Relaxed)) != generation {
            return Mark::Stale;
        }
        // Also when the bit is set: a load that finds it set may be older than the owner's clearing of it,
        // and what this thread wrote before the wake would not be visible to the poll that follows. A
        // read-modify-write has its place in the order of the word's changes: if it finds the bit set, then
        // the clearing comes after it, and sees it.
        // PAIRS: Release with the Acquire in `take`; Acquire with the Release here, so that a waker that
        // joins an earlier wake has seen what that waker saw.
        if word.fetch_or(NOTIFIED, Ordering::AcqRel) & NOTIFIED == 0 { Mark::First } else { Mark::Pending }
    }

    /// Clears the notified bit and says whether it was set. For the owner, before it queues the slot.
    ///
    /// The generation is not looked at: the bit of a slot that has a new task meanwhile has to be cleared as
    /// well, or no wake of that task would ever be the first.
    #[inline]
    pub(super) fn take(&self, slot: u32) -> bool {
        let Some(word) = self.word(slot) else { return false };
        // PAIRS: the AcqRel in `mark`: the poll that follows sees what every waker wrote before its wake.
        word.fetch_and(!NOTIFIED, Ordering::Acquire) & NOTIFIED != 0
    }

    /// Takes every slot whose notified bit is set. For the owner, when entries did not find room.
    pub(super) fn sweep(&self, mut each: impl FnMut(u32)) -> usize {
        let mut taken = 0;
        for slot in 0..self.count.load(Ordering::Relaxed) {
            let Some(word) = self.word(slot) else { continue };
            // Relaxed: the caller has seen the sweep flag with Acquire, so this load sees every bit that was
            // set before the flag was; `take` orders the rest.
            if word.load(Ordering::Relaxed) & NOTIFIED != 0 && self.take(slot) {
                each(slot);
                taken += 1;
            }
        }
        taken
    }

    #[inline]
    fn word(&self, slot: u32) -> Option<&AtomicU32> {
        let (segment, offset) = locate(slot);
        self.segments.get(segment)?.get()?.get(offset)
    }
}

/// The segment of a slot and its place in there. Counted from [`FIRST_SLOT_SEGMENT`], the slots of segment
/// *n* are those whose highest set bit is *n* places above the one of `FIRST_SLOT_SEGMENT`.
#[inline]
fn locate(slot: u32) -> (usize, usize) {
    let number = slot as usize + FIRST_SLOT_SEGMENT;
    let segment = (number.ilog2() - FIRST_SLOT_SEGMENT.ilog2()) as usize;
    (segment, number - (FIRST_SLOT_SEGMENT << segment))
}

#[inline]
fn generation_of(word: u32) -> u32 {
    (word >> 1) & GENERATION_MASK
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::limits::SLOTS_MAX;

    #[test]
    fn every_slot_has_a_place_of_its_own() {
        let mut expected = (0, 0);
        for slot in 0..10_000 {
            assert_eq!(locate(slot), expected);
            expected.1 += 1;
            if expected.1 == FIRST_SLOT_SEGMENT << expected.0 {
                expected = (expected.0 + 1, 0);
            }
        }
        let last = u32::try_from(SLOTS_MAX - 1).unwrap();
        assert_eq!(locate(last).0, SLOT_SEGMENTS - 1);
        assert_eq!(locate(last + 1).0, SLOT_SEGMENTS);
    }

    #[test]
    fn only_the_first_wake_of_a_slot_has_to_bring_it() {
        let slots = Slots::new();
        let generation = slots.ensure(3);
        assert_eq!(slots.mark(3, generation), Mark::First);
        assert_eq!(slots.mark(3, generation), Mark::Pending);
        assert!(slots.take(3));
        assert!(!slots.take(3));
        assert_eq!(slots.mark(3, generation), Mark::First);
    }

    #[test]
    fn retiring_makes_handles_stale_and_keeps_the_notified_bit() {
        let slots = Slots::new();
        let old = slots.ensure(0);
        assert_eq!(slots.mark(0, old), Mark::First);
        let new = slots.retire(0);
        assert_eq!(new, old + 1);
        assert_eq!(slots.ensure(0), new);
        assert_eq!(slots.mark(0, old), Mark::Stale);
        assert_eq!(slots.mark(0, new), Mark::Pending);
        assert!(slots.take(0));
        assert_eq!(slots.mark(0, new), Mark::First);
    }

    #[test]
    fn generations_wrap_within_their_bits() {
        let slots = Slots::new();
        slots.ensure(0);
        slots.word(0).unwrap().store(GENERATION_MASK << 1 | NOTIFIED, Ordering::Relaxed);
        assert_eq!(slots.retire(0), 0);
        assert_eq!(slots.mark(0, 0), Mark::Pending);
        slots.word(0).unwrap().store(u32::MAX, Ordering::Relaxed);
        assert_eq!(slots.retire(0), 0);
        assert!(slots.take(0));
    }

    #[test]
    fn a_slot_that_was_never_made_is_stale() {
        let slots = Slots::new();
        assert_eq!(slots.mark(5, 0), Mark::Stale);
        assert_eq!(slots.mark(u32::MAX >> 8, 0), Mark::Stale);
        assert!(!slots.take(5));
    }

    #[test]
    fn a_sweep_finds_every_notified_slot_once() {
        let slots = Slots::new();
        for slot in [0, 1, 63, 64, 200, 1000] {
            let generation = slots.ensure(slot);
            slots.mark(slot, generation);
        }
        slots.ensure(5000);
        let mut seen = Vec::new();
        assert_eq!(slots.sweep(|slot| seen.push(slot)), 6);
        assert_eq!(seen, [0, 1, 63, 64, 200, 1000]);
        assert_eq!(slots.sweep(|_| ()), 0);
    }
}
