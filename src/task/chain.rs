//! A future, and another that its output may begin.
//!
//! What an `async` block would be, but for one move: there, a future that is awaited is moved from where the block
//! captured it to where it is polled. Here it is polled where it was built.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// Runs `F`, hands its output to `N`, and runs what that returns, if anything.
pub(crate) struct Chain<F, S, N> {
    // Order matters: a chain that is dropped drops its future before what waited for the output.
    stage: Stage<F, S>,
    next: Option<N>,
}

enum Stage<F, S> {
    First(F),
    Second(S),
    Over,
}

impl<F, S, N> Chain<F, S, N>
where
    F: Future,
    S: Future<Output = ()>,
    N: FnOnce(F::Output) -> Option<S>,
{
    #[inline]
    pub(crate) fn new(first: F, next: N) -> Self {
        Chain { stage: Stage::First(first), next: Some(next) }
    }
}

impl<F, S, N> Future for Chain<F, S, N>
where
    F: Future,
    S: Future<Output = ()>,
    N: FnOnce(F::Output) -> Option<S>,
{
    type Output = ();

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // SAFETY: `stage` is pinned with the chain: a future in it is polled and dropped where it lies and never
        // moved, and there is neither a `Drop` nor an `Unpin` of `Chain` that could disagree (the automatic `Unpin`
        // asks for that of `F` and `S`). `next` is not pinned: no reference to it is ever handed out as such.
        let chain = unsafe { self.get_unchecked_mut() };
        if let Stage::First(first) = &mut chain.stage {
            // SAFETY: it lies in the pinned stage.
            let output = ready!(unsafe { Pin::new_unchecked(first) }.poll(context));
            chain.stage = Stage::Over;
            let next = chain.next.take().expect("a chain is polled no more once it is over");
            match next(output) {
                Some(second) => chain.stage = Stage::Second(second),
                None => return Poll::Ready(()),
            }
        }
        let Stage::Second(second) = &mut chain.stage else {
            panic!("a future was polled after it was over");
        };
        // SAFETY: it lies in the pinned stage.
        ready!(unsafe { Pin::new_unchecked(second) }.poll(context));
        chain.stage = Stage::Over;
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, future::poll_fn, pin::pin, rc::Rc, task::Waker};

    use super::*;

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn the_second_future_runs_with_the_output_of_the_first() {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let (one, two) = (seen.clone(), seen.clone());
        let mut waits = 1;
        let first = poll_fn(move |_| {
            one.borrow_mut().push(1);
            waits -= 1;
            if waits < 0 { Poll::Ready("output") } else { Poll::Pending }
        });
        let mut chain = pin!(Chain::new(first, |output| {
            assert_eq!(output, "output");
            Some(async move { two.borrow_mut().push(2) })
        }));
        assert!(poll(chain.as_mut()).is_pending());
        assert!(poll(chain.as_mut()).is_ready());
        assert_eq!(*seen.borrow(), [1, 1, 2]);
    }

    #[test]
    fn a_chain_may_end_with_its_first_future() {
        let mut chain = pin!(Chain::new(async { 7 }, |seven| {
            assert_eq!(seven, 7);
            None::<std::future::Ready<()>>
        }));
        assert!(poll(chain.as_mut()).is_ready());
    }

    #[test]
    fn a_chain_that_is_dropped_drops_the_future_before_what_waits_for_it() {
        struct Note(&'static str, Rc<RefCell<Vec<&'static str>>>);
        impl Drop for Note {
            fn drop(&mut self) {
                self.1.borrow_mut().push(self.0);
            }
        }
        let dropped = Rc::new(RefCell::new(Vec::new()));
        let (first, next) = (Note("first", dropped.clone()), Note("next", dropped.clone()));
        let chain = Chain::new(
            async move {
                let _first = first;
            },
            move |()| {
                let _next = next;
                None::<std::future::Ready<()>>
            },
        );
        drop(chain);
        assert_eq!(*dropped.borrow(), ["first", "next"]);
    }
}
