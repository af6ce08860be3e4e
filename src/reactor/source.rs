//! One watched descriptor: readiness and wakers per direction.

use std::task::Waker;

use crate::{
    slab::Key,
    sys::{Interest, Readiness},
};

/// Finds a source; stale once the source is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SourceKey(pub(super) Key);

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    Read,
    Write,
}

impl Direction {
    pub(crate) fn opposite(self) -> Self {
        match self {
            Direction::Read => Direction::Write,
            Direction::Write => Direction::Read,
        }
    }
}

/// A watched descriptor.
#[derive(Default)]
pub(super) struct Source {
    readable: bool,
    writable: bool,
    seen: Seen,
    readers: Waiters,
    writers: Waiters,
}

/// Conditions that once seen keep a short read from counting as "drained".
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen(bool);

impl Seen {
    pub(super) const URGENT_OR_ENDED: Seen = Seen(true);
}

/// What an event means for the two directions.
#[derive(Clone, Copy)]
pub(super) struct Ready {
    read: bool,
    write: bool,
    urgent_or_ended: bool,
}

impl Ready {
    /// Errors and hang-ups wake both directions: the attempt that follows reports them.
    pub(super) fn of(readiness: Readiness) -> Self {
        let broken = readiness.contains(Readiness::ERROR) || readiness.contains(Readiness::WRITE_CLOSED);
        let ended = broken || readiness.contains(Readiness::READ_CLOSED);
        let urgent = readiness.contains(Readiness::PRIORITY);
        Ready {
            read: readiness.contains(Readiness::READABLE) || ended || urgent,
            write: readiness.contains(Readiness::WRITABLE) || broken,
            urgent_or_ended: ended || urgent,
        }
    }
}

impl Source {
    pub(super) fn new(ready: Option<Direction>) -> Self {
        Source {
            readable: ready == Some(Direction::Read),
            writable: ready == Some(Direction::Write),
            ..Source::default()
        }
    }

    pub(super) fn is_ready(&self, direction: Direction) -> bool {
        match direction {
            Direction::Read => self.readable,
            Direction::Write => self.writable,
        }
    }

    pub(super) fn clear(&mut self, direction: Direction) {
        match direction {
            Direction::Read => self.readable = false,
            Direction::Write => self.writable = false,
        }
    }

    pub(super) fn seen(&self, condition: Seen) -> bool {
        self.seen == condition
    }

    /// Keeps a waker; true when nobody waited in this direction before.
    pub(super) fn wait(&mut self, direction: Direction, waker: &Waker) -> bool {
        let waiters = match direction {
            Direction::Read => &mut self.readers,
            Direction::Write => &mut self.writers,
        };
        waiters.add(waker)
    }

    /// The directions somebody waits for, as the one-shot backends want to hear them.
    pub(super) fn awaited(&self) -> Interest {
        match (self.readers.is_empty(), self.writers.is_empty()) {
            (false, true) => Interest::READ,
            (true, false) => Interest::WRITE,
            (true, true) | (false, false) => Interest::BOTH,
        }
    }

    /// Takes an event in; the wakers of those who waited for it go to `woken`.
    pub(super) fn record(&mut self, ready: Ready, woken: &mut Vec<Waker>) {
        if ready.urgent_or_ended {
            self.seen = Seen::URGENT_OR_ENDED;
        }
        if ready.read {
            self.readable = true;
            self.readers.take(woken);
        }
        if ready.write {
            self.writable = true;
            self.writers.take(woken);
        }
    }
}

/// Who waits for one direction: nearly always nobody or one task, but two may.
#[derive(Default)]
enum Waiters {
    #[default]
    None,
    One(Waker),
    Many(Vec<Waker>),
}

impl Waiters {
    fn is_empty(&self) -> bool {
        matches!(self, Waiters::None)
    }

    fn add(&mut self, waker: &Waker) -> bool {
        match self {
            Waiters::None => {
                *self = Waiters::One(waker.clone());
                return true;
            }
            Waiters::One(first) => {
                if !first.will_wake(waker) {
                    *self = Waiters::Many(vec![first.clone(), waker.clone()]);
                }
            }
            Waiters::Many(wakers) => {
                if !wakers.iter().any(|it| it.will_wake(waker)) {
                    wakers.push(waker.clone());
                }
            }
        }
        false
    }

    fn take(&mut self, woken: &mut Vec<Waker>) {
        match std::mem::take(self) {
            Waiters::None => {}
            Waiters::One(waker) => woken.push(waker),
            Waiters::Many(wakers) => woken.extend(wakers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_waiters_of_one_direction_are_both_woken() {
        let mut source = Source::default();
        let waker = Waker::noop();
        let other = std::task::Waker::from(std::sync::Arc::new(Nothing));
        assert!(source.wait(Direction::Read, waker));
        assert!(!source.wait(Direction::Read, &other));
        assert!(!source.wait(Direction::Read, &other), "the same waker is kept once");
        let mut woken = Vec::new();
        source.record(Ready { read: true, write: false, urgent_or_ended: false }, &mut woken);
        assert_eq!(woken.len(), 2);
        assert!(source.is_ready(Direction::Read) && !source.is_ready(Direction::Write));
    }

    #[test]
    fn hang_up_wakes_both_directions() {
        let ready = Ready::of(Readiness::WRITE_CLOSED);
        assert!(ready.read && ready.write && ready.urgent_or_ended);
    }

    #[test]
    fn half_close_wakes_only_the_reader() {
        let ready = Ready::of(Readiness::READ_CLOSED);
        assert!(ready.read && !ready.write);
    }

    struct Nothing;

    impl std::task::Wake for Nothing {
        fn wake(self: std::sync::Arc<Self>) {}
    }
}
