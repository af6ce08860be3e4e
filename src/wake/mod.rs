//! Wake-ups from other threads: what a waker does when its task lives on another worker.
//!
//! ```text
//! handle      64 bits: worker, slot, generation                  a waker is this number
//! slots       one atomic word a slot: generation, notified bit   a flood of wakes is one entry
//! lanes       one ring a thread and worker                       wakers do not meet each other
//! overflow    a bounded queue, behind it the sweep flag          for threads without a lane, and full lanes
//! door        the bell, and who is at it                         a bell is never rung after it was closed
//! mailbox     all of these, and the park protocol                a ring only when the worker sleeps
//! table       worker id → mailbox, for ever                      a waker may outlive its runtime
//! threads     the lanes that this thread holds
//! ```
//!
//! A wake on the owner's own thread does not come here: it is a flag and a push onto the run queue. The
//! protocol and the argument for its orderings are in `docs/wake-up.md`; nothing in this module is `unsafe`.

mod door;
mod handle;
mod lanes;
mod mailbox;
mod overflow;
mod slots;
mod table;
mod threads;

pub use door::{AtDoor, Doorbell};
pub use handle::Handle;
pub use lanes::Lane;
pub use mailbox::{Bounds, Mailbox, WakeStats};
pub use table::{Entry, Table, TableFull, claim, entry};
pub use threads::use_overflow_only;

use crate::sys::Bell;

impl Doorbell for Bell {
    fn from_raw(raw: i32, _: AtDoor) -> Bell {
        Bell::from_raw(raw)
    }

    fn to_raw(self) -> i32 {
        Bell::to_raw(self)
    }

    fn ring(self) {
        Bell::ring(self);
    }
}

/// Wakes the task that `handle` names, from any thread. A handle whose task or runtime is gone does nothing.
#[inline]
pub fn wake(handle: Handle) {
    if let Some(entry) = entry(handle.worker()) {
        entry.wake(handle.slot(), handle.generation());
    }
}
