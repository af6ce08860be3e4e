//! [`Handle`]: which task of which worker a waker means, in 64 bits.

use std::fmt;

const GENERATION_BITS: u32 = 28;
const SLOT_BITS: u32 = 24;
const WORKER_BITS: u32 = 12;
const _: () = assert!(GENERATION_BITS + SLOT_BITS + WORKER_BITS == u64::BITS);

/// The generations that exist: they are counted modulo 2²⁸.
pub(super) const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;
const SLOT_MASK: u32 = (1 << SLOT_BITS) - 1;
const WORKER_MASK: u16 = (1 << WORKER_BITS) - 1;

/// A task's address for wake-ups: 12 bits worker, 24 bits slot, 28 bits generation.
///
/// It is a number and owns nothing, so a waker made of it is copied and dropped for free. What it names may
/// be gone: the generation tells, and when that has come round after 2²⁸ reuses of the slot, the wake is one
/// spurious poll of a stranger. Therefore nothing but wakes may be addressed by handles.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle(u64);

impl Handle {
    /// Packs the three parts; bits that do not fit are cut off.
    #[inline]
    pub const fn new(worker: u16, slot: u32, generation: u32) -> Handle {
        debug_assert!(worker <= WORKER_MASK && slot <= SLOT_MASK && generation <= GENERATION_MASK);
        let worker = (worker & WORKER_MASK) as u64;
        let slot = (slot & SLOT_MASK) as u64;
        let generation = (generation & GENERATION_MASK) as u64;
        Handle(worker << (SLOT_BITS + GENERATION_BITS) | slot << GENERATION_BITS | generation)
    }

    /// The id of the worker that owns the task.
    #[inline]
    pub const fn worker(self) -> u16 {
        (self.0 >> (SLOT_BITS + GENERATION_BITS)) as u16
    }

    /// The task's place in that worker.
    #[inline]
    pub const fn slot(self) -> u32 {
        (self.0 >> GENERATION_BITS) as u32 & SLOT_MASK
    }

    /// How often the slot had been given to a new task, modulo 2²⁸.
    #[inline]
    pub const fn generation(self) -> u32 {
        self.0 as u32 & GENERATION_MASK
    }

    /// The packed form, which fits into the data pointer of a `RawWaker`.
    #[inline]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The inverse of [`Handle::to_bits`]; every number is a handle, if not of a task that exists.
    #[inline]
    pub const fn from_bits(bits: u64) -> Handle {
        Handle(bits)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Handle({}:{}#{})", self.worker(), self.slot(), self.generation())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_come_back_at_their_bounds() {
        for worker in [0, 1, WORKER_MASK] {
            for slot in [0, 1, SLOT_MASK] {
                for generation in [0, 1, GENERATION_MASK] {
                    let handle = Handle::from_bits(Handle::new(worker, slot, generation).to_bits());
                    assert_eq!(
                        (handle.worker(), handle.slot(), handle.generation()),
                        (worker, slot, generation)
                    );
                }
            }
        }
    }
}
