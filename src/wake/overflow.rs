//! Where wakes go that have no lane, or a full one: a bounded queue, and behind it one flag.
//!
//! The queue takes entries from any thread. When it is full as well, an entry is not needed: the slot's
//! notified bit is set, so it is enough to tell the owner that there are bits which nobody will bring, and it
//! looks at all of them. Nothing grows, nobody waits and nothing is lost; a sweep costs the owner a load per
//! slot.

use crate::sync::{ArrayQueue, AtomicBool, CachePadded, Ordering};

#[derive(Debug)]
pub(super) struct Overflow {
    queue: ArrayQueue<u32>,
    sweep: CachePadded<AtomicBool>,
}

impl Overflow {
    pub(super) fn new(capacity: usize) -> Overflow {
        Overflow { queue: ArrayQueue::new(capacity), sweep: CachePadded(AtomicBool::new(false)) }
    }

    /// Brings a slot whose notified bit the caller has set. From any thread; the caller fences afterwards.
    pub(super) fn push(&self, slot: u32) {
        if self.queue.push(slot).is_err() {
            // A swap, not a store: of two threads that raise the flag, the second must carry on the first
            // one's release, or the owner might see the bit of the second only.
            // PAIRS: the Acquire swap in `take_sweep`.
            self.sweep.swap(true, Ordering::Release);
        }
    }

    /// Whether there is neither an entry nor a call for a sweep.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && !self.sweep.load(Ordering::Relaxed)
    }

    /// Takes as many entries as there are when it begins. For the owner.
    pub(super) fn drain(&self, mut each: impl FnMut(u32)) -> usize {
        let mut taken = 0;
        for _ in 0..self.queue.len() {
            let Some(slot) = self.queue.pop() else { break };
            each(slot);
            taken += 1;
        }
        taken
    }

    /// Whether a sweep is called for; the call is taken back. For the owner.
    pub(super) fn take_sweep(&self) -> bool {
        // The load spares the turns without a sweep the write; the flag is looked at again before the owner
        // parks.
        // PAIRS: the Release swaps in `push`: the bits of all who raised the flag are visible to the sweep.
        self.sweep.load(Ordering::Relaxed) && self.sweep.swap(false, Ordering::Acquire)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_calls_for_one_sweep() {
        let overflow = Overflow::new(2);
        assert!(overflow.is_empty());
        for slot in 0..4 {
            overflow.push(slot);
        }
        let mut seen = Vec::new();
        assert_eq!(overflow.drain(|slot| seen.push(slot)), 2);
        assert_eq!(seen, [0, 1]);
        assert!(!overflow.is_empty());
        assert!(overflow.take_sweep());
        assert!(!overflow.take_sweep());
        assert!(overflow.is_empty());
    }
}
