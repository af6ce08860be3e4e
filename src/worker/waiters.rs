//! Those who wait for the end of a runtime or of a server, on whatever thread they are.
//!
//! They stand in a list, in the order in which they came, under the lock of what ends, from their first look to the end of their wait. Nothing foreign runs
//! while that lock is held, but for the clone of a waker that is to be woken behind it: who comes brings a clone along, and
//! what leaves the list is dropped behind the lock.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Condvar, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

/// Who waits, each with what is known of it.
pub(crate) struct Waiters<T> {
    list: BTreeMap<u64, Waiter<T>>,
    /// The last that was given.
    number: u64,
}

pub(crate) struct Waiter<T> {
    pub(crate) what: T,
    pub(crate) waker: Waker,
}

impl<T> Waiters<T> {
    pub(crate) fn new() -> Waiters<T> {
        Waiters { list: BTreeMap::new(), number: 0 }
    }

    /// Somebody waits from now on, under the number that is returned; it is never 0.
    pub(crate) fn enter(&mut self, what: T, waker: Waker) -> u64 {
        self.number += 1;
        let former = self.list.insert(self.number, Waiter { what, waker });
        debug_assert!(former.is_none(), "a number is given once");
        self.number
    }

    /// Nobody waits under this number any more; what is returned is to be dropped behind the lock.
    #[must_use]
    pub(crate) fn leave(&mut self, number: u64) -> Option<Waiter<T>> {
        self.list.remove(&number)
    }

    pub(crate) fn find(&mut self, number: u64) -> Option<&mut Waiter<T>> {
        self.list.get_mut(&number)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.list.values().map(|waiter| &waiter.what)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Waiter<T>> {
        self.list.values_mut()
    }

    /// The wakers of those that are meant, to be woken behind the lock.
    pub(crate) fn wakers(&self, is_meant: impl Fn(&T) -> bool) -> Vec<Waker> {
        let meant = self.list.values().filter(|waiter| is_meant(&waiter.what));
        meant.map(|waiter| waiter.waker.clone()).collect()
    }
}

/// Something that comes to an end, and has such a list.
pub(crate) trait Ends {
    /// What is waited for.
    type Want: Copy + Unpin;
    type Outcome;

    /// Whether it has come to that; else who asks stands in the list. The `number` is 0 at first.
    fn poll_end(&self, number: &mut u64, want: Self::Want, context: &Context<'_>) -> Poll<Self::Outcome>;

    /// Whoever stood in the list under this number waits no more.
    fn leave(&self, number: u64);
}

/// One wait for that.
pub(crate) struct Wait<E: Ends> {
    of: Arc<E>,
    /// As which waiter it stands in the list; 0 before.
    number: u64,
    want: E::Want,
}

impl<E: Ends> Wait<E> {
    /// The `number` is 0, or that of somebody who stands in the list already.
    pub(crate) fn new(of: Arc<E>, want: E::Want, number: u64) -> Wait<E> {
        Wait { of, number, want }
    }
}

impl<E: Ends> Future for Wait<E> {
    type Output = E::Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<E::Outcome> {
        let Wait { of, number, want } = &mut *self;
        of.poll_end(number, *want, context)
    }
}

impl<E: Ends> Drop for Wait<E> {
    fn drop(&mut self) {
        if self.number != 0 {
            self.of.leave(self.number);
        }
    }
}

/// Blocks the thread until `is_over`, at most until then; `changed` tells when to look.
pub(crate) fn block_until<'s, T>(
    changed: &Condvar,
    mut state: MutexGuard<'s, T>,
    until: Option<Instant>,
    is_over: impl Fn(&T) -> bool,
) -> MutexGuard<'s, T> {
    while !is_over(&state) {
        let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            break;
        }
        state = changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
    }
    state
}
