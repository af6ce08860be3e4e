//! One timer for all that a connection waits for: octets, the rest of a message, answers.
//!
//! Most of these waits end long before their time is over, so that arming and disarming would be all that timers do. This one
//! stays armed for the first time at which anything *may* be over, and is moved only to an earlier one. When it fires there
//! is mostly nothing to be done but to say when to look again.
//!
//! Invariant: it is never armed for later than the first deadline there is.

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    task::Context,
};

use crate::{
    clock::{NEVER, nanos},
    message::{error::LinkEnd, link::Link},
    worker::timer::{Timer, turn_time},
};

pub(super) struct Deadlines {
    timer: RefCell<Timer>,
    reading: Cell<Reading>,
}

/// What the reader waits for, and since when.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reading {
    /// Nothing: it is at work, or waits for handlers of a peer that may still be there.
    Nothing,
    /// A message.
    Message(u64),
    /// The rest of one: one that drips in has no more time than any.
    Rest(u64),
    /// Handlers to end, of whom it is known that their peer has ended its side; how often they had been let go on by then, or
    /// that they were not.
    Handlers { since: u64, let_go: Option<u64> },
}

impl Deadlines {
    pub(super) fn new() -> Deadlines {
        Deadlines { timer: RefCell::new(Timer::at(NEVER)), reading: Cell::new(Reading::Nothing) }
    }

    /// Has somebody look at that time, or earlier.
    #[inline]
    fn look_at(&self, deadline: u64) {
        let mut timer = self.timer.borrow_mut();
        if deadline < timer.deadline() {
            timer.set_deadline(deadline);
        }
    }
}

impl Link {
    /// Has the deadlines be looked at when this one has come, or earlier.
    pub(super) fn look_at(&self, deadline: u64) {
        self.deadlines.look_at(deadline);
    }

    /// The reader waits for octets, maybe inside a message.
    pub(super) fn awaits(&self, is_inside: bool) {
        let reading = match (is_inside, self.deadlines.reading.get()) {
            (true, Reading::Rest(since)) => Reading::Rest(since),
            (true, Reading::Nothing | Reading::Message(_) | Reading::Handlers { .. }) => {
                Reading::Rest(turn_time())
            }
            (false, _) => Reading::Message(turn_time()),
        };
        self.deadlines.reading.set(reading);
        self.look_at(self.reading_ends().0);
    }

    /// The peer has ended its side: handlers have their time, and one that ends gives it to the others anew. Who stops a server
    /// says himself how long that may take.
    pub(super) fn awaits_handlers(&self) {
        if self.serves() && !matches!(self.deadlines.reading.get(), Reading::Handlers { .. }) {
            self.deadlines.reading.set(self.handlers_since(turn_time()));
            self.look_at(self.reading_ends().0);
        }
    }

    fn handlers_since(&self, since: u64) -> Reading {
        Reading::Handlers { since, let_go: self.queue.let_go() }
    }

    /// A handler that has waited for something has ended: silence is counted from now on.
    pub(super) fn note_handled(&self) {
        let reading = match self.deadlines.reading.get() {
            Reading::Message(_) => Reading::Message(turn_time()),
            Reading::Handlers { .. } => self.handlers_since(turn_time()),
            reading @ (Reading::Nothing | Reading::Rest(_)) => reading,
        };
        self.deadlines.reading.set(reading);
    }

    /// A message has come, or there will be none: nothing is waited for.
    pub(super) fn awaits_nothing(&self) {
        self.deadlines.reading.set(Reading::Nothing);
    }

    /// Deals with what is over, whenever anything is.
    pub(super) fn poll_deadlines(self: &Rc<Self>, context: &Context<'_>) {
        loop {
            let polled = self.deadlines.timer.borrow_mut().poll_elapsed(context);
            if polled.is_pending() {
                return;
            }
            let next = self.look(turn_time());
            self.deadlines.timer.borrow_mut().set_deadline(next);
        }
    }

    /// Deals with what is over at `now`, and says when to look again.
    fn look(self: &Rc<Self>, now: u64) -> u64 {
        self.peer().expire(now);
        match self.deadlines.reading.get() {
            Reading::Message(_) if self.is_wanted() => self.deadlines.reading.set(Reading::Message(now)),
            // None was called, since the peer is to read answers first: if it reads none, it has another time.
            Reading::Handlers { let_go, .. } if let_go.is_none() || let_go != self.queue.let_go() => {
                self.deadlines.reading.set(self.handlers_since(now));
            }
            Reading::Nothing | Reading::Message(_) | Reading::Rest(_) | Reading::Handlers { .. } => {}
        }
        let (mut reading, late) = self.reading_ends();
        if reading <= now {
            self.leave(late);
            reading = NEVER;
        }
        self.asks.due().min(reading)
    }

    /// When octets have to have come, and what the connection ends by when they have not.
    fn reading_ends(&self) -> (u64, LinkEnd) {
        let settings = &self.node.settings;
        match (self.deadlines.reading.get(), settings.idle_timeout) {
            (Reading::Rest(since), _) => {
                (since.saturating_add(nanos(settings.read_timeout)), LinkEnd::SlowWriter)
            }
            (Reading::Handlers { since, .. }, _) => {
                (since.saturating_add(nanos(settings.half_closed)), LinkEnd::PeerClosed)
            }
            (Reading::Message(since), Some(idle)) => (since.saturating_add(nanos(idle)), LinkEnd::Idle),
            (Reading::Message(_), None) | (Reading::Nothing, _) => (NEVER, LinkEnd::Idle),
        }
    }
}

impl fmt::Debug for Deadlines {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Deadlines").field("reading", &self.reading.get()).finish_non_exhaustive()
    }
}
