//! A future, and another that its output may begin.
//!
//! What an `async` block would be, but for the moves. There, a future that is awaited is moved from where the block
//! captured it to where it is polled, and its output to where it is used; a handler's future is a kilobyte. Here the
//! first future is written where it will be polled, and its output is lent.
//!
//! Invariant: `step` says which future `body` holds. Neither is moved once it is there.

use std::{
    future::Future,
    mem::{self, ManuallyDrop, MaybeUninit},
    pin::Pin,
    task::{Context, Poll, ready},
};

/// What waits for a future's output.
pub(crate) trait Next<T> {
    /// What the output may begin.
    type Future: Future<Output = ()>;

    /// Takes what it needs of the output; `None` when that is all.
    fn next(self, output: &mut T) -> Option<Self::Future>;
}

/// Runs `F`, lends its output to `N`, and runs what that returns, if anything.
pub(crate) struct Chain<F: Future, N: Next<F::Output>> {
    step: Step,
    body: Body<F, N::Future>,
    next: Option<N>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    First,
    Second,
    Over,
}

// In C's layout every field of a union begins where the union does, which `begin` relies on.
#[repr(C)]
union Body<F, S> {
    first: ManuallyDrop<F>,
    second: ManuallyDrop<S>,
}

/// Where the first future of a chain belongs; good for one.
pub(crate) struct Slot<'s, F>(&'s mut MaybeUninit<F>);

/// A slot with a future in it.
pub(crate) struct Filled<'s, F>(&'s mut MaybeUninit<F>);

impl<'s, F> Slot<'s, F> {
    /// Puts the future in.
    #[inline]
    pub(crate) fn fill(self, future: F) -> Filled<'s, F> {
        self.0.write(future);
        Filled(self.0)
    }
}

impl<F> Drop for Filled<'_, F> {
    fn drop(&mut self) {
        // SAFETY: `Slot::fill` has put a future there, and the chain that takes it over forgets `self`.
        unsafe { self.0.assume_init_drop() };
    }
}

impl<F: Future, N: Next<F::Output>> Chain<F, N> {
    /// Makes a chain in `place`, which holds one when this returns. `begin` puts the first future where it belongs
    /// and says what waits for its output; the slot that it is given cannot be told from any other, so that what it
    /// returns can only be that one, filled.
    #[inline]
    pub(super) fn begin(
        place: &mut MaybeUninit<Self>,
        begin: impl for<'s> FnOnce(Slot<'s, F>) -> (Filled<'s, F>, N),
    ) {
        let chain = place.as_mut_ptr();
        // SAFETY: a place is computed inside of `place`; nothing is read.
        let first = unsafe { &raw mut (*chain).body };
        // SAFETY: the body's first field begins where the body does. It is inside of `place`, which is borrowed
        // exclusively, aligned as the field is, and uninitialised memory may hold anything.
        let (filled, next) = begin(Slot(unsafe { &mut *first.cast::<MaybeUninit<F>>() }));
        mem::forget(filled);
        // SAFETY: a place is computed inside of `place`; nothing is read.
        let waits = unsafe { &raw mut (*chain).next };
        // SAFETY: inside of `place`; nothing is there that would have to be dropped.
        unsafe { waits.write(Some(next)) };
        // SAFETY: a place is computed inside of `place`; nothing is read.
        let step = unsafe { &raw mut (*chain).step };
        // SAFETY: inside of `place`; the first future is there, as this says.
        unsafe { step.write(Step::First) };
    }
}

impl<F: Future, N: Next<F::Output>> Future for Chain<F, N> {
    type Output = ();

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // SAFETY: `body` is pinned with the chain: a future in it is polled and dropped where it lies and never moved.
        // `next` is not pinned: no reference to it is ever handed out as such.
        let chain = unsafe { self.get_unchecked_mut() };
        if chain.step == Step::First {
            // SAFETY: the step says that the body holds it.
            let first = unsafe { &mut *chain.body.first };
            // SAFETY: it is pinned with the chain.
            let mut polled = unsafe { Pin::new_unchecked(first) }.poll(context);
            let Poll::Ready(output) = &mut polled else { return Poll::Pending };
            chain.clear();
            let next = chain.next.take().expect("a chain has its next step until the first is over");
            let Some(second) = next.next(output) else { return Poll::Ready(()) };
            chain.body.second = ManuallyDrop::new(second);
            chain.step = Step::Second;
        }
        assert_eq!(chain.step, Step::Second, "a future was polled after it was over");
        // SAFETY: the step says that the body holds it.
        let second = unsafe { &mut *chain.body.second };
        // SAFETY: it is pinned with the chain.
        ready!(unsafe { Pin::new_unchecked(second) }.poll(context));
        chain.clear();
        Poll::Ready(())
    }
}

impl<F: Future, N: Next<F::Output>> Chain<F, N> {
    /// Drops the future that is there, where it lies.
    #[inline]
    fn clear(&mut self) {
        // First of all: a destructor that panics must not be called again.
        match mem::replace(&mut self.step, Step::Over) {
            Step::First => {
                // SAFETY: the step said that the body holds it.
                let first = unsafe { &mut self.body.first };
                // SAFETY: the step says so no more.
                unsafe { ManuallyDrop::drop(first) };
            }
            Step::Second => {
                // SAFETY: the step said that the body holds it.
                let second = unsafe { &mut self.body.second };
                // SAFETY: the step says so no more.
                unsafe { ManuallyDrop::drop(second) };
            }
            Step::Over => {}
        }
    }
}

impl<F: Future, N: Next<F::Output>> Drop for Chain<F, N> {
    fn drop(&mut self) {
        // Before `next`, which waits for it.
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::RefCell,
        future::{Ready, poll_fn},
        panic::{AssertUnwindSafe, catch_unwind},
        rc::Rc,
        task::Waker,
    };

    use super::*;

    type Seen = Rc<RefCell<Vec<&'static str>>>;

    struct Note(&'static str, Seen);

    impl Drop for Note {
        fn drop(&mut self) {
            self.1.borrow_mut().push(self.0);
        }
    }

    impl<T, S: Future<Output = ()>, C: FnOnce(&mut T) -> Option<S>> Next<T> for C {
        type Future = S;

        fn next(self, output: &mut T) -> Option<S> {
            self(output)
        }
    }

    fn chain<F, S, C>(first: F, next: C) -> Pin<Box<Chain<F, C>>>
    where
        F: Future,
        S: Future<Output = ()>,
        C: FnOnce(&mut F::Output) -> Option<S>,
    {
        let mut place = Box::new(MaybeUninit::uninit());
        Chain::begin(&mut place, |slot| (slot.fill(first), next));
        // SAFETY: `begin` has put a chain there.
        Box::into_pin(unsafe { place.assume_init() })
    }

    fn poll<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
        future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn the_second_future_runs_with_the_output_of_the_first() {
        let seen = Seen::default();
        let (one, two, mut waits) = (seen.clone(), seen.clone(), 1);
        let first = poll_fn(move |_| {
            one.borrow_mut().push("first");
            waits -= 1;
            if waits < 0 { Poll::Ready("output") } else { Poll::Pending }
        });
        let mut chain = chain(first, |output| {
            assert_eq!(*output, "output");
            Some(async move { two.borrow_mut().push("second") })
        });
        assert!(poll(&mut chain).is_pending());
        assert!(poll(&mut chain).is_ready());
        assert_eq!(*seen.borrow(), ["first", "first", "second"]);
    }

    #[test]
    fn a_chain_may_end_with_its_first_future() {
        let mut chain = chain(async { 7 }, |seven| {
            assert_eq!(*seven, 7);
            None::<Ready<()>>
        });
        assert!(poll(&mut chain).is_ready());
    }

    #[test]
    fn a_chain_that_is_dropped_drops_the_future_before_what_waits_for_it() {
        let dropped = Seen::default();
        let (first, next) = (Note("first", dropped.clone()), Note("next", dropped.clone()));
        let waits = async move {
            let _first = first;
        };
        drop(chain(waits, move |()| {
            let _next = next;
            None::<Ready<()>>
        }));
        assert_eq!(*dropped.borrow(), ["first", "next"]);
    }

    #[test]
    fn a_finished_future_is_dropped_before_its_output_is_used_and_once() {
        let dropped = Seen::default();
        let (first, second) = (Note("first", dropped.clone()), Note("second", dropped.clone()));
        let seen = dropped.clone();
        let ready = poll_fn(move |_| {
            let _held = &first;
            Poll::Ready(())
        });
        let mut chain = chain(ready, move |()| {
            assert_eq!(*seen.borrow(), ["first"]);
            Some(poll_fn(move |_| {
                let _held = &second;
                Poll::<()>::Pending
            }))
        });
        assert!(poll(&mut chain).is_pending());
        drop(chain);
        assert_eq!(*dropped.borrow(), ["first", "second"]);
    }

    #[test]
    fn a_beginning_that_panics_drops_the_future_that_it_had_made() {
        let dropped = Seen::default();
        let first = Note("first", dropped.clone());
        let begun = catch_unwind(AssertUnwindSafe(|| {
            let mut place = MaybeUninit::<Chain<_, fn(&mut ()) -> Option<Ready<()>>>>::uninit();
            Chain::begin(&mut place, |slot| {
                let _filled = slot.fill(async move {
                    let _first = first;
                });
                panic!("on purpose");
            });
        }));
        assert!(begun.is_err());
        assert_eq!(*dropped.borrow(), ["first"]);
    }
}
