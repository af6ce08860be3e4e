//! Lanes: rings that lead into one worker, each with one thread at its far end.
//!
//! A thread that wakes tasks of a worker often claims a lane and has its own ring from then on: its pushes
//! write no cache line that another waker writes. The claim is the ring's producing end ([`Ring::producer`]),
//! so a lane has one producer by construction; the ring stays when the claim is given back, and the next
//! claimant goes on at its tail. The owner does not care who holds a lane: it visits those whose *dirty* bit
//! is set.
//!
//! # The dirty bit
//!
//! Owner and producer play the same game on it as on the parked flag: each writes its own word, fences, and
//! reads the other's.
//!
//! ```text
//! producer                          owner
//! tail := tail + 1                  dirty := 0 (swap)
//! fence(SeqCst)                     fence(SeqCst)
//! dirty set? else set it, fence     read tail
//! ```
//!
//! One fence comes first in the order of all SeqCst fences. If it is the producer's, the owner's read of the
//! tail sees the push. If it is the owner's, the producer sees the bit clear, and sets it. In a burst the
//! owner is not back yet, and the producer only reads a word that nobody writes.

use crate::limits::LANES_MAX;
use crate::ring::{Producer, Ring};
use crate::sync::{AtomicBool, AtomicU64, CachePadded, OnceLock, Ordering, fence};

const DIRTY_WORDS: usize = LANES_MAX / u64::BITS as usize;
const _: () = assert!(DIRTY_WORDS * u64::BITS as usize == LANES_MAX);

/// All lanes into one worker.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Box<[LaneRing]>,
    /// A bit for every lane that may have entries; together, since the owner looks at all of them every turn.
    dirty: CachePadded<[AtomicU64; DIRTY_WORDS]>,
    capacity: usize,
}

/// A lane's ring, made by the first who claims the lane.
#[derive(Debug)]
struct LaneRing {
    ring: OnceLock<Box<Ring<u32>>>,
    /// Set by whoever makes the ring, so that nobody waits for it: the others try the next lane.
    making: AtomicBool,
}

impl Lanes {
    pub(super) fn new(count: usize, capacity: usize) -> Lanes {
        debug_assert!(count <= LANES_MAX);
        let unmade = || LaneRing { ring: OnceLock::new(), making: AtomicBool::new(false) };
        Lanes {
            lanes: (0..count).map(|_| unmade()).collect(),
            dirty: CachePadded(std::array::from_fn(|_| AtomicU64::new(0))),
            capacity,
        }
    }

    /// Claims one of the first `limit` lanes, if one is free. Allocates the lane's ring if it never had a
    /// holder.
    pub(super) fn claim(&self, limit: usize) -> Option<Lane<'_>> {
        let mut lanes = self.lanes.iter().take(limit).enumerate();
        let (index, producer) = lanes.find_map(|(index, lane)| Some((index, lane.claim(self.capacity)?)))?;
        Some(Lane { lanes: self, producer, index })
    }

    /// Whether any lane may have entries. For the owner.
    pub(super) fn has_work(&self) -> bool {
        // Relaxed: the caller fences where it matters.
        self.dirty.iter().any(|word| word.load(Ordering::Relaxed) != 0)
    }

    /// Takes what is there now from every lane whose dirty bit is set. For the owner.
    pub(super) fn drain(&self, mut each: impl FnMut(u32)) -> usize {
        let mut taken = 0;
        for (position, word) in self.dirty.iter().enumerate() {
            if word.load(Ordering::Relaxed) == 0 {
                continue;
            }
            // PAIRS: the Release `fetch_or` in `Lane::push`.
            let mut bits = word.swap(0, Ordering::Acquire);
            // PAIRS: store of the dirty bits before, loads of the tails after; `Lane::push` has them the
            // other way round.
            fence(Ordering::SeqCst);
            while bits != 0 {
                let index = position * u64::BITS as usize + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                taken += self.lanes[index].drain(&mut each);
            }
        }
        taken
    }

    fn dirty_bit(&self, index: usize) -> (&AtomicU64, u64) {
        let bits = u64::BITS as usize;
        (&self.dirty[index / bits], 1 << (index % bits))
    }
}

impl LaneRing {
    fn claim(&self, capacity: usize) -> Option<Producer<'_, u32>> {
        if let Some(ring) = self.ring.get() {
            return ring.producer();
        }
        // Relaxed: only one thread ever sees `false` here; the ring itself is published by the `OnceLock`.
        if self.making.swap(true, Ordering::Relaxed) {
            return None;
        }
        self.ring.get_or_init(|| Box::new(Ring::new(capacity))).producer()
    }

    /// Borrows the consuming end for one drain: one swap a visit, and nothing to keep between turns and
    /// runtimes.
    fn drain(&self, each: impl FnMut(u32)) -> usize {
        let reader = self.ring.get().and_then(|ring| ring.consumer());
        debug_assert!(reader.is_some(), "a dirty lane has a ring, and its only reader is the owner");
        reader.map_or(0, |mut reader| reader.drain(each))
    }
}

/// A claimed lane; dropping it gives it back, with whatever is still in it.
#[derive(Debug)]
pub struct Lane<'a> {
    lanes: &'a Lanes,
    producer: Producer<'a, u32>,
    index: usize,
}

impl Lane<'_> {
    /// Whether this is one of those lanes.
    pub(super) fn leads_into(&self, lanes: &Lanes) -> bool {
        std::ptr::eq(self.lanes, lanes)
    }

    /// Brings a slot to the owner; `false` when the lane is full. A push that succeeds ends with a SeqCst
    /// fence.
    #[inline]
    pub(super) fn push(&mut self, slot: u32) -> bool {
        if self.producer.push(slot).is_err() {
            return false;
        }
        // PAIRS: store of the tail before, load of the dirty bit after; the fence in `Lanes::drain` has them
        // the other way round. It is also the first half of the park protocol, see `Mailbox::notify`.
        fence(Ordering::SeqCst);
        let (word, bit) = self.lanes.dirty_bit(self.index);
        if word.load(Ordering::Relaxed) & bit == 0 {
            // PAIRS: Release with the Acquire swap in `Lanes::drain`, which then finds the ring and its tail.
            // (The fence above would do, but ThreadSanitizer does not see fences, so no data rests on one
            // alone.)
            word.fetch_or(bit, Ordering::Release);
            // PAIRS: store of the dirty bit before, load of the parked flag after; `Mailbox::park` has them
            // the other way round.
            fence(Ordering::SeqCst);
        }
        true
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn drained(lanes: &Lanes) -> Vec<u32> {
        let mut seen = Vec::new();
        lanes.drain(|slot| seen.push(slot));
        seen
    }

    #[test]
    fn a_lane_has_one_holder_and_passes_on_with_its_entries() {
        let lanes = Lanes::new(2, 4);
        let mut first = lanes.claim(2).unwrap();
        let second = lanes.claim(2).unwrap();
        assert!(lanes.claim(2).is_none());
        assert_ne!(first.index, second.index);
        assert!(first.push(10));
        let index = first.index;
        drop(first);
        let mut heir = lanes.claim(2).unwrap();
        assert_eq!(heir.index, index);
        assert!(heir.push(11));
        assert_eq!(drained(&lanes), [10, 11]);
        assert!(!lanes.has_work());
    }

    #[test]
    fn claims_stay_below_the_limit() {
        let lanes = Lanes::new(8, 4);
        let _held = lanes.claim(1).unwrap();
        assert!(lanes.claim(1).is_none());
        assert!(lanes.claim(0).is_none());
        assert!(lanes.claim(2).is_some());
    }

    #[test]
    fn only_lanes_with_entries_are_visited() {
        let lanes = Lanes::new(130, 4);
        let mut claimed: Vec<_> = (0..130).map(|_| lanes.claim(130).unwrap()).collect();
        for index in [0, 63, 64, 129] {
            assert!(claimed[index].push(u32::try_from(index).unwrap()));
        }
        assert!(lanes.has_work());
        assert_eq!(drained(&lanes), [0, 63, 64, 129]);
        assert!(!lanes.has_work());
        assert!(drained(&lanes).is_empty());
    }

    #[test]
    fn a_full_lane_refuses_until_it_was_read() {
        let lanes = Lanes::new(1, 2);
        let mut lane = lanes.claim(1).unwrap();
        assert!(lane.push(1) && lane.push(2) && !lane.push(3));
        assert_eq!(drained(&lanes), [1, 2]);
        assert!(lane.push(3));
        assert_eq!(drained(&lanes), [3]);
    }
}
