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
    /// Nothing: it is at work, or waits for handlers.
    Nothing,
    /// A message.
    Message(u64),
    /// The rest of one: one that drips in has no more time than any.
    Rest(u64),
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
            (true, Reading::Nothing | Reading::Message(_)) => Reading::Rest(turn_time()),
            (false, _) => Reading::Message(turn_time()),
        };
        self.deadlines.reading.set(reading);
        self.look_at(self.reading_ends().0);
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
        if let (Reading::Message(_), true) = (self.deadlines.reading.get(), self.is_wanted()) {
            self.deadlines.reading.set(Reading::Message(now));
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
