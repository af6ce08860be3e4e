//! Sources, readiness and deadlines: who waits for what outside the process.
//!
//! A *source* is a descriptor that some future had to wait on. Its readiness is a flag per direction, set
//! by the selector's events and cleared only by `WouldBlock` or a short read; the wakers of those who wait
//! lie beside the flags. The reactor stores wakers and hands them back; it never sees a task.
//!
//! Invariants: no waker is woken and none is dropped while a table is borrowed; an event finds its source by slot *and*
//! generation, so a recycled descriptor number never gets a stale event.

mod source;
mod turn;

pub(crate) use self::source::{Direction, SourceKey};

use std::{
    cell::{Cell, RefCell},
    io,
    os::fd::{AsFd, BorrowedFd, RawFd},
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::{
    clock::{TimerKey, Wheel},
    contain::wake_contained,
    reactor::source::{Seen, Source, Waiting},
    slab::Slab,
    sys::{self, Interest, Selector, Token},
};

/// What a waker in the reactor waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Waited {
    Source { fd: RawFd, direction: Direction },
    Timer { deadline: u64 },
}

/// What a reactor has done and holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// How often the selector was asked.
    pub(crate) waits: u64,
    pub(crate) sources: u64,
    pub(crate) timers: u64,
    /// Timers that were armed, and that fired, since it was made.
    pub(crate) armed: u64,
    pub(crate) fired: u64,
}

/// The reactor of one worker.
pub(crate) struct Reactor {
    selector: RefCell<Option<Selector>>,
    sources: RefCell<Slab<Source>>,
    timers: RefCell<Wheel<Waker>>,
    woken: RefCell<Vec<Waker>>,
    waits: Cell<u64>,
    armed: Cell<u64>,
    fired: Cell<u64>,
}

impl Reactor {
    pub(crate) fn new(event_batch: usize) -> io::Result<Self> {
        Ok(Reactor {
            selector: RefCell::new(Some(Selector::new(event_batch)?)),
            sources: RefCell::new(Slab::new()),
            timers: RefCell::new(Wheel::new()),
            woken: RefCell::default(),
            waits: Cell::new(0),
            armed: Cell::new(0),
            fired: Cell::new(0),
        })
    }

    /// Does something with the selector's descriptor.
    pub(crate) fn with_descriptor<R>(&self, body: impl FnOnce(BorrowedFd<'_>) -> R) -> io::Result<R> {
        self.selector.borrow().as_ref().map(|selector| body(selector.as_fd())).ok_or_else(closed)
    }

    /// What another thread rings to end this reactor's wait.
    pub(crate) fn bell(&self) -> sys::Bell {
        self.selector.borrow().as_ref().expect("a reactor is asked for its bell before it is closed").bell()
    }

    /// Starts to watch a descriptor in both directions. What is ready now is reported by the next wait;
    /// until then the direction `untried` counts as ready, since nobody has seen it block.
    pub(crate) fn watch(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        untried: Option<Direction>,
    ) -> io::Result<SourceKey> {
        let selector = self.selector.borrow();
        let selector = selector.as_ref().ok_or_else(closed)?;
        let key = self.sources.borrow_mut().insert(Source::new(fd, untried));
        match selector.register(fd, Token(key.to_bits()), interest) {
            Ok(()) => Ok(SourceKey(key)),
            Err(error) => {
                self.sources.borrow_mut().remove(key);
                Err(error)
            }
        }
    }

    /// Ends the watch. `keeps_open` says that the descriptor, or a duplicate, may live on, so that the
    /// kernel would go on reporting it; otherwise its close ends the registration by itself.
    pub(crate) fn unwatch(&self, fd: BorrowedFd<'_>, key: SourceKey, keeps_open: bool) -> io::Result<()> {
        let source = self.sources.borrow_mut().remove(key.0);
        drop(source);
        if keeps_open || !sys::CLOSE_DEREGISTERS {
            if let Some(selector) = self.selector.borrow().as_ref() {
                return selector.deregister(fd);
            }
        }
        Ok(())
    }

    /// Whether the direction may be tried; if not, the waker is kept until it may.
    pub(crate) fn poll_ready(
        &self,
        fd: BorrowedFd<'_>,
        key: SourceKey,
        direction: Direction,
        context: &Context<'_>,
    ) -> Poll<io::Result<()>> {
        let selector = self.selector.borrow();
        let Some(selector) = selector.as_ref() else { return Poll::Ready(Err(closed())) };
        let mut sources = self.sources.borrow_mut();
        let Some(source) = sources.get_mut(key.0) else { return Poll::Ready(Err(closed())) };
        if source.is_ready(direction) {
            return Poll::Ready(Ok(()));
        }
        let waiting = source.wait(direction, context.waker());
        let interest = source.awaited();
        drop(sources);
        match waiting {
            Waiting::First => {
                if let Err(error) = selector.rearm(fd, Token(key.0.to_bits()), interest) {
                    // Nothing will be reported, so whoever waits next is the first again, and arms it.
                    let waiters = self.sources.borrow_mut().get_mut(key.0).map(|it| it.forget(direction));
                    drop(waiters);
                    return Poll::Ready(Err(error));
                }
            }
            Waiting::Beside => {}
            Waiting::Crowded(waiters) => waiters.into_iter().for_each(wake_contained),
        }
        Poll::Pending
    }

    /// Whether the connection may have broken since this was last asked; if not, the waker is kept until it may. More is
    /// woken than that: it is for who looks again. Nothing is armed: what a backend does not tell unasked is not told.
    pub(crate) fn poll_broken(&self, key: SourceKey, context: &Context<'_>) -> Poll<io::Result<()>> {
        let mut sources = self.sources.borrow_mut();
        let Some(source) = sources.get_mut(key.0) else { return Poll::Ready(Err(closed())) };
        let Some(waiting) = source.wait_broken(context.waker()) else { return Poll::Ready(Ok(())) };
        drop(sources);
        if let Waiting::Crowded(waiters) = waiting {
            waiters.into_iter().for_each(wake_contained);
        }
        Poll::Pending
    }

    /// Whether the end of input was reported, be there something to read before it or not.
    pub(crate) fn has_ended(&self, key: SourceKey) -> bool {
        self.sources.borrow().get(key.0).is_some_and(|source| source.has_seen(Seen::ENDED))
    }

    /// Whether the direction may be tried, or fails to be.
    #[inline]
    pub(crate) fn is_ready(&self, key: SourceKey, direction: Direction) -> bool {
        self.sources.borrow().get(key.0).is_none_or(|source| source.is_ready(direction))
    }

    /// Notes that an attempt would have blocked.
    pub(crate) fn clear_ready(&self, key: SourceKey, direction: Direction) {
        if let Some(source) = self.sources.borrow_mut().get_mut(key.0) {
            source.clear(direction);
        }
    }

    /// Notes that a read took less than it asked for: on an edge-triggered backend the source is drained,
    /// unless a condition was seen that a further read has to report.
    pub(crate) fn clear_after_short_read(&self, key: SourceKey) {
        if let Some(source) = self.sources.borrow_mut().get_mut(key.0) {
            if !source.has_seen(Seen::ANY) {
                source.clear(Direction::Read);
            }
        }
    }

    /// Arms a timer: `waker` is woken by the first turn at or after `deadline`.
    pub(crate) fn arm(&self, deadline: u64, waker: Waker) -> TimerKey {
        self.armed.set(self.armed.get() + 1);
        self.timers.borrow_mut().insert(deadline, waker)
    }

    /// Takes a timer back; its waker, if it had not fired.
    pub(crate) fn disarm(&self, key: TimerKey) -> Option<Waker> {
        self.timers.borrow_mut().cancel(key)
    }

    /// Gives an armed timer another waker; false when it has fired.
    pub(crate) fn set_timer_waker(&self, key: TimerKey, waker: &Waker) -> bool {
        let replaced = {
            let mut timers = self.timers.borrow_mut();
            match timers.get_mut(key) {
                None => return false,
                Some(armed) if armed.will_wake(waker) => None,
                Some(armed) => Some(std::mem::replace(armed, waker.clone())),
            }
        };
        drop(replaced);
        true
    }

    /// Gives an armed timer another deadline; false when it has fired.
    pub(crate) fn reset_timer(&self, key: TimerKey, deadline: u64) -> bool {
        self.timers.borrow_mut().reset(key, deadline)
    }

    /// Whether any timer is armed.
    pub(crate) fn has_timers(&self) -> bool {
        !self.timers.borrow().is_empty()
    }

    /// When the next timer is due.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.timers.borrow_mut().next_deadline()
    }

    /// How often the selector was waited in: readiness is news of the last of these, or older.
    pub(crate) fn turns(&self) -> u64 {
        self.waits.get()
    }

    /// Sources that are watched.
    pub(crate) fn sources(&self) -> usize {
        self.sources.borrow().len()
    }

    /// What it has done so far and holds now.
    pub(crate) fn figures(&self) -> Figures {
        Figures {
            waits: self.waits.get(),
            sources: self.sources() as u64,
            timers: self.timers() as u64,
            armed: self.armed.get(),
            fired: self.fired.get(),
        }
    }

    /// Timers that are armed.
    pub(crate) fn timers(&self) -> usize {
        self.timers.borrow().len()
    }

    /// Shows every waker that lies here, and what it waits for. `each` runs no foreign code.
    pub(crate) fn waits(&self, mut each: impl FnMut(&Waker, Waited)) {
        for (_key, source) in self.sources.borrow().iter() {
            let (fd, directions) = source.waits();
            for (direction, wakers) in directions {
                wakers.iter().for_each(|waker| each(waker, Waited::Source { fd, direction }));
            }
        }
        for (deadline, waker) in self.timers.borrow().iter() {
            each(waker, Waited::Timer { deadline });
        }
    }

    /// Closes the selector; from now on everything that would wait gets an error.
    pub(crate) fn close(&self) {
        let selector = self.selector.borrow_mut().take();
        drop(selector);
        let sources = std::mem::take(&mut *self.sources.borrow_mut());
        drop(sources);
        let timers = std::mem::take(&mut *self.timers.borrow_mut());
        drop(timers);
    }

    /// Sleeps in the selector, at most for `timeout`, and records what became ready.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.waits.set(self.waits.get() + 1);
        let mut selector = self.selector.borrow_mut();
        let selector = selector.as_mut().ok_or_else(closed)?;
        selector.wait(timeout)?;
        self.record(selector);
        Ok(())
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the runtime that this was registered with has ended")
}
