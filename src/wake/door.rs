//! The door: the bell of the runtime that holds the mailbox, and the count of those who are at it.
//!
//! A bell is a descriptor. Once its runtime has closed it, the number may be anybody's, and eight bytes
//! written to it may end up in a stranger's file. So a ringer counts itself in, then looks whether there is a
//! bell, rings, and counts itself out; closing removes the bell, then waits until nobody is counted in:
//!
//! ```text
//! ringer                          closer
//! ringing += 1                    bell := none
//! fence(SeqCst)                   fence(SeqCst)
//! bell? ring it                   wait until ringing = 0
//! ringing -= 1                    (now the descriptor may be closed)
//! ```
//!
//! If the ringer's fence comes first, the closer sees it counted in and waits. If the closer's comes first,
//! the ringer sees no bell.

use std::marker::PhantomData;
use std::sync::atomic::AtomicU64;

use crate::sync::{AtomicI32, AtomicU32, Ordering, fence, yield_now};

/// What rings: a bell that is known by a number, so that it can be kept in an atomic.
pub trait Doorbell: Copy + 'static {
    /// The bell with this number, which [`Doorbell::to_raw`] gave, and which is there as long as the caller is at the door.
    fn from_raw(raw: i32, at: AtDoor) -> Self;

    /// The bell's number, not negative.
    fn to_raw(self) -> i32;

    /// Ends the owner's sleep, or its next one. From any thread; never blocks.
    fn ring(self);
}

/// Says that the number is that of a bell that is not closed meanwhile; only a door can say so. Otherwise it would be safe code that
/// writes to whatever file has the number.
#[derive(Debug)]
pub struct AtDoor(());

/// Stands for a bell that is not there: no descriptor is negative.
const NONE: i32 = -1;

#[derive(Debug)]
pub(super) struct Door<B> {
    bell: AtomicI32,
    /// How many threads are between counting in and counting out.
    ringing: AtomicU32,
    /// How often a bell was rung; no part of the protocol, so not one of loom's.
    rings: AtomicU64,
    kind: PhantomData<fn(B)>,
}

impl<B: Doorbell> Door<B> {
    pub(super) fn new() -> Door<B> {
        Door {
            bell: AtomicI32::new(NONE),
            ringing: AtomicU32::new(0),
            rings: AtomicU64::new(0),
            kind: PhantomData,
        }
    }

    /// Hangs up a bell. For the owner.
    pub(super) fn open(&self, bell: B) {
        // PAIRS: the Acquire load in `ring`: the bell was made before it is rung.
        self.bell.store(bell.to_raw(), Ordering::Release);
    }

    /// Takes the bell down and returns when nobody rings it any more. For the owner; may be called twice.
    pub(super) fn close(&self) {
        self.bell.store(NONE, Ordering::Relaxed);
        // PAIRS: store of `bell` before, load of `ringing` after; `ring` has them the other way round.
        fence(Ordering::SeqCst);
        // PAIRS: the Release subtraction in `ring`: the last ring is over when its count is seen gone.
        while self.ringing.load(Ordering::Acquire) != 0 {
            // Bounded by one system call that does not block.
            yield_now();
        }
    }

    /// Takes down, in a forked child, the bell that is its parent's. Threads that were at the door are not here to be
    /// waited for, and there is no other thread that could ring meanwhile.
    pub(super) fn forsake(&self) {
        // Relaxed: nobody else runs.
        self.bell.store(NONE, Ordering::Relaxed);
    }

    /// Rings the bell if there is one.
    pub(super) fn ring(&self) {
        self.ringing.fetch_add(1, Ordering::Relaxed);
        // PAIRS: store of `ringing` before, load of `bell` after; `close` has them the other way round.
        fence(Ordering::SeqCst);
        // PAIRS: the Release store in `open`.
        let raw = self.bell.load(Ordering::Acquire);
        if raw != NONE {
            self.rings.fetch_add(1, Ordering::Relaxed);
            B::from_raw(raw, AtDoor(())).ring();
        }
        // PAIRS: the Acquire load in `close`.
        self.ringing.fetch_sub(1, Ordering::Release);
    }

    /// How often a bell was rung.
    pub(super) fn rings(&self) -> u64 {
        self.rings.load(Ordering::Relaxed)
    }
}
