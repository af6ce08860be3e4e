//! How many connections a loop has, and who waits for one to end.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

use crate::worker::dump;

/// The places of one accept loop.
pub(super) struct Room {
    limit: usize,
    taken: Cell<usize>,
    refused: Cell<u64>,
    shed: Cell<u64>,
    waiting: RefCell<Option<Waker>>,
}

impl Room {
    pub(super) fn new(limit: usize) -> Rc<Room> {
        Rc::new(Room {
            limit,
            taken: Cell::new(0),
            refused: Cell::new(0),
            shed: Cell::new(0),
            waiting: RefCell::default(),
        })
    }

    /// A place, if one is free.
    pub(super) fn try_enter(self: &Rc<Self>) -> Option<Permit> {
        if self.taken.get() >= self.limit {
            return None;
        }
        self.taken.set(self.taken.get() + 1);
        Some(Permit(self.clone()))
    }

    /// Waits for a place. One task waits at a time, the loop's.
    pub(super) async fn enter(self: &Rc<Self>) -> Permit {
        let limit = self.limit;
        let free = poll_fn(|cx| match self.try_enter() {
            Some(permit) => Poll::Ready(permit),
            None => {
                drop(self.waiting.replace(Some(cx.waker().clone())));
                Poll::Pending
            }
        });
        dump::waiting(move |out| write!(out, "one of {limit} connections to end"), free).await
    }

    pub(super) fn note_refused(&self) {
        self.refused.set(self.refused.get() + 1);
    }

    /// Connections that were refused so far.
    pub(super) fn refused(&self) -> u64 {
        self.refused.get()
    }

    pub(super) fn note_shed(&self, shed: u64) {
        self.shed.set(shed);
    }

    /// Connections that there was no descriptor for.
    pub(super) fn shed(&self) -> u64 {
        self.shed.get()
    }

    fn leave(&self) {
        self.taken.set(self.taken.get() - 1);
        let waiting = self.waiting.take();
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}

/// A connection's place under the [limit](crate::net::listen::Listen::limit) of its loop, free again when this is dropped.
#[must_use = "a place that is dropped is free for the next connection"]
pub struct Permit(Rc<Room>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Permit(one of {})", self.0.taken.get())
    }
}
