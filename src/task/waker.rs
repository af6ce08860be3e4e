//! A `Waker` that is nothing but a handle.
//!
//! The data pointer *is* the 64-bit handle (worker, slot, generation). Clone and drop do nothing, equality
//! is a comparison of integers, and there is no count to keep: a task's slot outlives every handle to it.

use std::{
    ptr,
    task::{RawWaker, RawWakerVTable, Waker},
};

use crate::{
    task::table::{self, Tasks},
    wake::{self, Handle},
};

/// Makes the waker of a task from its handle.
pub(crate) fn waker(handle: Handle) -> Waker {
    // SAFETY: the functions of `VTABLE` uphold the contract of `RawWaker`. They treat the pointer as an
    // integer and never dereference it, own nothing, so that clone and drop are no-ops, and may be called
    // from any thread: `wake_by_ref` reads thread-locals of its own thread and the immortal entry table.
    unsafe { Waker::from_raw(raw(ptr::without_provenance(handle.to_bits() as usize))) }
}

/// The task that a waker of ours means; `None` for the wakers of others.
pub(crate) fn handle_of(waker: &Waker) -> Option<Handle> {
    ptr::eq(waker.vtable(), &VTABLE).then(|| Handle::from_bits(waker.data().addr() as u64))
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(raw, wake_by_ref, wake_by_ref, |_| {});

fn raw(handle: *const ()) -> RawWaker {
    RawWaker::new(handle, &VTABLE)
}

fn wake_by_ref(handle: *const ()) {
    let handle = Handle::from_bits(handle.addr() as u64);
    let local = table::with_current(|tasks| match tasks {
        Some(tasks) if tasks.worker() == handle.worker() => {
            Tasks::wake(tasks, handle.slot(), handle.generation());
            true
        }
        Some(_) | None => false,
    });
    if !local {
        if let Some(entry) = wake::entry(handle.worker()) {
            entry.wake(handle.slot(), handle.generation());
        }
    }
}
