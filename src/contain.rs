//! Foreign code that may panic where nothing of ours may be left half done: destructors, and wakers of other executors.
//!
//! A panic has been printed by its hook when it arrives here, and ends here. A panic's payload may panic when it is
//! dropped, too: once is enough.

use std::{
    any::Any,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    task::Waker,
};

/// Does `act`; a panic of it ends here.
pub(crate) fn contain(act: impl FnOnce()) {
    let _panicked = attempt(act);
}

/// Does `act`, and says what came of it; `None` when it panicked, which ends here.
#[inline]
pub(crate) fn attempt<R>(act: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(act)).map_err(forget_payload).ok()
}

/// Drops `value`; a panic of its destructor ends here.
pub(crate) fn drop_contained<T>(value: T) {
    contain(|| drop(value));
}

/// Wakes somebody; if that panics, others are woken all the same.
pub(crate) fn wake_contained(waker: Waker) {
    contain(|| waker.wake());
}

#[cold]
fn forget_payload(payload: Box<dyn Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(second);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    struct Bomb(Arc<AtomicUsize>);

    impl Drop for Bomb {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
            std::panic::panic_any(Bomb(self.0.clone()));
        }
    }

    #[test]
    fn a_panic_whose_payload_panics_when_dropped_ends_all_the_same() {
        let drops = Arc::new(AtomicUsize::new(0));
        drop_contained(Bomb(drops.clone()));
        // The value and its panic's payload; what the latter's panic carried is forgotten.
        assert_eq!(drops.load(Ordering::Relaxed), 2);
    }
}
