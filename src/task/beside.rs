//! A future and something beside it that is not pinned.
//!
//! An `async` block that is given a future holds it twice, once as given and once pinned in its body. A
//! struct holds it once, but to poll it there the field has to be pinned by hand.

use std::{fmt, pin::Pin};

/// A future of any kind, pinned with the struct, and a value that stays movable.
pub struct Beside<F, S> {
    // Structurally pinned: it is moved only as a part of the whole, before the whole is pinned.
    future: F,
    beside: S,
}

impl<F, S> Beside<F, S> {
    pub(crate) fn new(future: F, beside: S) -> Self {
        Beside { future, beside }
    }

    pub(crate) fn project(self: Pin<&mut Self>) -> (Pin<&mut F>, &mut S) {
        // SAFETY: nothing is moved out through the reference: `future` is handed on pinned, and `beside` is
        // not pinned structurally, no pinned reference to it is ever made.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: `this` came out of a `Pin`, so `future` stays in its place until it is dropped there: the
        // struct has no `Drop` that could move it, is not packed, and is `Unpin` only if `F` is, see below.
        let future = unsafe { Pin::new_unchecked(&mut this.future) };
        (future, &mut this.beside)
    }
}

// `beside` is never pinned, so it has no say.
impl<F: Unpin, S> Unpin for Beside<F, S> {}

impl<F, S: fmt::Debug> fmt::Debug for Beside<F, S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Beside").field("beside", &self.beside).finish_non_exhaustive()
    }
}
