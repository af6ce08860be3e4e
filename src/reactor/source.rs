//! One watched descriptor: readiness and wakers per direction.

use std::{
    mem,
    os::fd::{AsRawFd, BorrowedFd, RawFd},
    slice,
    task::Waker,
};

use crate::{
    limits::{WAITERS_KEPT, WAITERS_UNASKED},
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
pub(super) struct Source {
    /// For dumps only: nothing is done with it.
    fd: RawFd,
    readable: bool,
    writable: bool,
    seen: Seen,
    breakage: Breakage,
    readers: Waiters,
    writers: Waiters,
}

/// Conditions that once seen keep a short read from counting as "drained".
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen(u8);

impl Seen {
    /// The end of input: nothing comes behind what there is to read.
    pub(super) const ENDED: Seen = Seen(1);
    /// Urgent data, an error, or an end of the other direction.
    const OTHERS: Seen = Seen(2);
    pub(super) const ANY: Seen = Seen(1 | 2);

    const fn and(self, other: Seen) -> Seen {
        Seen(self.0 | other.0)
    }
}

/// What is known of the connection's break: an error or a hang-up, which may come while nobody wants to read or write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Breakage {
    Unseen,
    /// Among the readers are some that wait for this alone.
    Awaited,
    /// It was reported, and nobody has asked since.
    Reported,
}

/// What an event means for the two directions.
#[derive(Clone, Copy)]
pub(super) struct Ready {
    read: bool,
    write: bool,
    broken: bool,
    seen: Seen,
}

impl Ready {
    /// Errors and hang-ups wake both directions: the attempt that follows reports them.
    pub(super) fn of(readiness: Readiness) -> Self {
        let broken = readiness.contains(Readiness::ERROR) || readiness.contains(Readiness::WRITE_CLOSED);
        let ended = readiness.contains(Readiness::READ_CLOSED);
        let urgent = readiness.contains(Readiness::PRIORITY);
        let seen = |is_so: bool, condition| if is_so { condition } else { Seen::default() };
        Ready {
            read: readiness.contains(Readiness::READABLE) || ended || broken || urgent,
            write: readiness.contains(Readiness::WRITABLE) || broken,
            broken,
            seen: seen(ended, Seen::ENDED).and(seen(broken || urgent, Seen::OTHERS)),
        }
    }
}

impl Source {
    pub(super) fn new(fd: BorrowedFd<'_>, ready: Option<Direction>) -> Self {
        Source {
            fd: fd.as_raw_fd(),
            readable: ready == Some(Direction::Read),
            writable: ready == Some(Direction::Write),
            seen: Seen::default(),
            breakage: Breakage::Unseen,
            readers: Waiters::None,
            writers: Waiters::None,
        }
    }

    /// The descriptor's number, and who waits in each direction.
    pub(super) fn waits(&self) -> (RawFd, [(Direction, &[Waker]); 2]) {
        // Who is there though reading may be tried waits for a break, beside what else it waits for.
        let readers = if self.readable { &[] } else { self.readers.as_slice() };
        (self.fd, [(Direction::Read, readers), (Direction::Write, self.writers.as_slice())])
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

    /// Whether any of these conditions was seen.
    pub(super) fn has_seen(&self, conditions: Seen) -> bool {
        self.seen.0 & conditions.0 != 0
    }

    /// Keeps a waker.
    pub(super) fn wait(&mut self, direction: Direction, waker: &Waker) -> Waiting {
        let waiters = match direction {
            Direction::Read => &mut self.readers,
            Direction::Write => &mut self.writers,
        };
        match waiters.add(waker) {
            // Who waits for a break has armed nothing.
            Waiting::Beside if direction == Direction::Read && self.breakage == Breakage::Awaited => {
                self.breakage = Breakage::Unseen;
                Waiting::First
            }
            waiting => waiting,
        }
    }

    /// Whether a break was reported since this was last asked. If not, the waker is kept: it stands among the readers also
    /// while there is something to read, and is then woken by a break alone, or by the end of input.
    pub(super) fn wait_broken(&mut self, waker: &Waker) -> Option<Waiting> {
        if self.breakage == Breakage::Reported {
            self.breakage = Breakage::Unseen;
            return None;
        }
        self.breakage = Breakage::Awaited;
        Some(self.readers.add(waker))
    }

    /// Forgets who waits in this direction; their wakers are to be dropped outside of every borrow.
    pub(super) fn forget(&mut self, direction: Direction) -> Vec<Waker> {
        let mut forgotten = Vec::new();
        match direction {
            Direction::Read => self.readers.take(&mut forgotten),
            Direction::Write => self.writers.take(&mut forgotten),
        }
        forgotten
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
        let had_ended = self.has_seen(Seen::ENDED);
        self.seen = self.seen.and(ready.seen);
        if ready.broken {
            self.breakage = Breakage::Reported;
        }
        if ready.read {
            // Among the readers may be some that wait for a break or the end alone.
            if !self.readable || ready.broken || (self.has_seen(Seen::ENDED) && !had_ended) {
                self.readers.take(woken);
            }
            self.readable = true;
        }
        if ready.write {
            self.writable = true;
            self.writers.take(woken);
        }
    }
}

/// What became of a waker that was to be kept.
#[derive(Debug)]
pub(super) enum Waiting {
    /// Nobody waited in this direction before.
    First,
    /// Others wait too, or the same one waits again.
    Beside,
    /// There was no room: these are to be woken, and wait again if they still want to.
    Crowded(Vec<Waker>),
}

/// Who waits for one direction: nearly always nobody or one task, but two may.
#[derive(Default)]
enum Waiters {
    #[default]
    None,
    One(Waker),
    Many(Box<Crowd>),
}

/// Several that wait for one direction.
///
/// A wait that is given up leaves its waker here, since nobody says so. Most are a task's own and the same each time;
/// but a set of futures makes a new one for every future, and a task may end. So when there are many, all are woken
/// and the list begins anew: whoever still waits comes back. The next thousands that come are not asked, so that those
/// who came back find room.
struct Crowd {
    wakers: Vec<Waker>,
    /// How many have come since the last time all were asked.
    come: usize,
}

impl Crowd {
    fn add(&mut self, waker: &Waker) -> Waiting {
        if self.wakers.iter().any(|it| it.will_wake(waker)) {
            return Waiting::Beside;
        }
        self.come += 1;
        if self.wakers.len() < WAITERS_KEPT || self.come < WAITERS_UNASKED {
            self.wakers.push(waker.clone());
            return Waiting::Beside;
        }
        self.come = 0;
        Waiting::Crowded(mem::replace(&mut self.wakers, vec![waker.clone()]))
    }
}

impl Waiters {
    fn as_slice(&self) -> &[Waker] {
        match self {
            Waiters::None => &[],
            Waiters::One(waker) => slice::from_ref(waker),
            Waiters::Many(crowd) => &crowd.wakers,
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Waiters::None)
    }

    fn add(&mut self, waker: &Waker) -> Waiting {
        match self {
            Waiters::None => {
                *self = Waiters::One(waker.clone());
                return Waiting::First;
            }
            Waiters::One(first) if first.will_wake(waker) => return Waiting::Beside,
            Waiters::One(_) => {}
            Waiters::Many(crowd) => return crowd.add(waker),
        }
        let mut wakers = Vec::with_capacity(2);
        self.take(&mut wakers); // moved, not dropped: a foreign waker's destructor may come back here
        wakers.push(waker.clone());
        *self = Waiters::Many(Box::new(Crowd { wakers, come: WAITERS_UNASKED }));
        Waiting::Beside
    }

    fn take(&mut self, woken: &mut Vec<Waker>) {
        match mem::take(self) {
            Waiters::None => {}
            Waiters::One(waker) => woken.push(waker),
            Waiters::Many(crowd) => woken.extend(crowd.wakers),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn many_real_waiters_are_asked_once_and_then_have_room() {
        let wakers: Vec<Waker> = (0..1000).map(|_| Waker::from(std::sync::Arc::new(Nothing))).collect();
        let mut source = Source::new(std::io::stdin().as_fd(), None);
        let mut asked = 0;
        let mut pending: std::collections::VecDeque<usize> = (0..wakers.len()).collect();
        for _ in 0..200 {
            // A turn polls 128 tasks.
            for _ in 0..128.min(pending.len()) {
                let Some(at) = pending.pop_front() else { break };
                if let Waiting::Crowded(woken) = source.wait(Direction::Read, &wakers[at]) {
                    asked += 1;
                    let place = |waker: &Waker| wakers.iter().position(|it| it.will_wake(waker));
                    pending.extend(woken.iter().filter_map(place));
                }
            }
        }
        assert!(pending.is_empty() && asked == 1, "{asked} times, {} still come", pending.len());
    }

    #[test]
    fn who_waits_for_a_break_is_woken_by_it_and_not_by_more_to_read() {
        let mut source = Source::new(std::io::stdin().as_fd(), Some(Direction::Read));
        // Not the one that does nothing: its clones may be told from it.
        let waker = &Waker::from(std::sync::Arc::new(Nothing));
        let mut woken = Vec::new();
        assert!(matches!(source.wait_broken(waker), Some(Waiting::First)));
        source.record(Ready::of(Readiness::READABLE), &mut woken);
        assert!(woken.is_empty() && source.waits().1[0].1.is_empty(), "there was something to read before");
        source.clear(Direction::Read);
        assert!(
            matches!(source.wait(Direction::Read, waker), Waiting::First),
            "who reads arms what has to be"
        );
        source.record(Ready::of(Readiness::READABLE), &mut woken);
        assert!(matches!(source.wait_broken(waker), Some(Waiting::First)));
        source.record(Ready::of(Readiness::HANG_UP | Readiness::ERROR), &mut woken);
        assert_eq!(woken.len(), 2, "once to read, and once for the break");
        assert!(source.wait_broken(waker).is_none(), "it was reported");
        assert!(source.wait_broken(waker).is_some(), "and is reported once");
    }

    #[test]
    fn who_waits_for_a_break_is_woken_once_by_the_end_of_input_before_which_there_is_something_to_read() {
        let mut source = Source::new(std::io::stdin().as_fd(), Some(Direction::Read));
        let waker = &Waker::from(std::sync::Arc::new(Nothing));
        let mut woken = Vec::new();
        assert!(source.wait_broken(waker).is_some() && !source.has_seen(Seen::ENDED));
        source.record(Ready::of(Readiness::READABLE | Readiness::PRIORITY), &mut woken);
        assert!(woken.is_empty() && !source.has_seen(Seen::ENDED));
        source.record(Ready::of(Readiness::READABLE | Readiness::READ_CLOSED), &mut woken);
        assert!(woken.len() == 1 && source.has_seen(Seen::ENDED));
        assert!(source.wait_broken(waker).is_some(), "it is no break");
        // Each further event says so, too.
        source.record(Ready::of(Readiness::WRITABLE | Readiness::READ_CLOSED), &mut woken);
        assert!(woken.len() == 1 && source.has_seen(Seen::ENDED));
    }

    #[test]
    fn two_waiters_of_one_direction_are_both_woken() {
        let mut source = Source::new(std::io::stdin().as_fd(), None);
        let waker = Waker::noop();
        let other = std::task::Waker::from(std::sync::Arc::new(Nothing));
        assert!(matches!(source.wait(Direction::Read, waker), Waiting::First));
        assert!(matches!(source.wait(Direction::Read, &other), Waiting::Beside));
        assert!(
            matches!(source.wait(Direction::Read, &other), Waiting::Beside),
            "the same waker is kept once"
        );
        let mut woken = Vec::new();
        source.record(Ready::of(Readiness::READABLE), &mut woken);
        assert_eq!(woken.len(), 2);
        assert!(source.is_ready(Direction::Read) && !source.is_ready(Direction::Write));
    }

    #[test]
    fn a_crowd_that_does_not_come_back_is_let_go() {
        let mut source = Source::new(std::io::stdin().as_fd(), None);
        let (mut gone, all) = (0, 10 * WAITERS_UNASKED);
        for _ in 0..all {
            let waker = Waker::from(std::sync::Arc::new(Nothing));
            if let Waiting::Crowded(woken) = source.wait(Direction::Read, &waker) {
                gone += woken.len();
            }
        }
        assert!((all - WAITERS_UNASKED..all).contains(&gone), "{gone}");
    }

    #[test]
    fn hang_up_wakes_both_directions() {
        let ready = Ready::of(Readiness::WRITE_CLOSED);
        assert!(ready.read && ready.write && ready.seen == Seen::OTHERS);
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
