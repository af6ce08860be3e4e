//! A thread-local that lends a reference for the time of one call.
//!
//! A worker is *current* only while its loop runs. `enter` notes the address, `with` lends it to whoever is
//! called from inside, and the note is taken back before the borrow ends, also when the call unwinds. The
//! cell has no destructor, so it may be asked at any time in the life of a thread.

use std::{cell::Cell, ptr};

/// A slot for a reference that is valid while some [`Scoped::enter`] is on the stack.
pub(crate) struct Scoped<T> {
    current: Cell<*const T>,
}

impl<T> Scoped<T> {
    pub(crate) const fn new() -> Self {
        Scoped { current: Cell::new(ptr::null()) }
    }

    /// Makes `value` current while `body` runs.
    pub(crate) fn enter<R>(&self, value: &T, body: impl FnOnce() -> R) -> R {
        let _restore = Restore { cell: &self.current, previous: self.current.replace(value) };
        body()
    }

    /// Lends the current value, if there is one.
    pub(crate) fn with<R>(&self, body: impl FnOnce(Option<&T>) -> R) -> R {
        // SAFETY: the pointer is null or was made from a reference by an `enter` that has not returned: its
        // `Restore` takes the pointer back before the reference's borrow ends, on return and on unwinding.
        // `Scoped` is not `Sync`, so that `enter` is on this thread's stack, below us; `body` cannot keep the
        // reference, whose lifetime it must accept at any length.
        body(unsafe { self.current.get().as_ref() })
    }
}

struct Restore<'a, T> {
    cell: &'a Cell<*const T>,
    previous: *const T,
}

impl<T> Drop for Restore<'_, T> {
    fn drop(&mut self) {
        self.cell.set(self.previous);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_is_current_only_inside_enter() {
        let scoped = Scoped::new();
        assert_eq!(scoped.with(|value: Option<&u8>| value.copied()), None);
        scoped.enter(&1, || {
            assert_eq!(scoped.with(|value| value.copied()), Some(1));
            scoped.enter(&2, || assert_eq!(scoped.with(|value| value.copied()), Some(2)));
            assert_eq!(scoped.with(|value| value.copied()), Some(1));
        });
        assert_eq!(scoped.with(|value| value.copied()), None);
    }

    #[test]
    fn unwinding_takes_the_value_back() {
        let scoped = Scoped::new();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            scoped.enter(&1u8, || panic!("inside"));
        }));
        assert!(outcome.is_err());
        assert_eq!(scoped.with(|value| value.copied()), None);
    }
}
