//! Deadlines, as in HTTP/2: plain numbers in nanoseconds, `NEVER` for none.
//!
//! A server may take its time to answer: how long a request may last is the application's to say. What has begun must
//! go on: a head, and content of a known length at the least rate, if there is one.

use std::time::Duration;

use super::super::clocks::{self, Owed, SOON};
use super::connection::{Client, Phase};
use crate::proto::h2::{NEVER, Stall, Trip, after};

#[derive(Clone, Copy, Debug)]
pub(super) struct Timers {
    /// Since when a head has been incomplete.
    head_since: u64,
    /// Since when there has been no request.
    idle_since: u64,
    /// How long the peer keeps such a connection, as it says.
    kept: Duration,
    /// Content that is to come.
    owed: Owed,
    /// Output that waits to be written.
    pub(super) stall: Stall,
}

impl Timers {
    pub(super) fn new(now: u64) -> Timers {
        Timers { idle_since: now, ..Timers::none() }
    }

    fn none() -> Timers {
        Timers {
            head_since: NEVER,
            idle_since: NEVER,
            kept: Duration::MAX,
            owed: Owed::NOTHING,
            stall: Stall::NONE,
        }
    }

    /// A request was sent.
    pub(super) fn busy(&mut self) {
        (self.idle_since, self.owed) = (NEVER, Owed::NOTHING);
    }

    /// It is over.
    pub(super) fn idle(&mut self) {
        (self.idle_since, self.owed) = (SOON, Owed::NOTHING);
    }

    /// Starts what was to start soon.
    fn start(&mut self, now: u64) {
        clocks::start(&mut self.idle_since, now);
    }

    /// A head is complete.
    pub(super) fn head_came(&mut self) {
        self.head_since = NEVER;
    }

    /// The peer says how long it keeps a connection without requests.
    pub(super) fn keeps(&mut self, kept: Option<Duration>) {
        self.kept = kept.unwrap_or(Duration::MAX);
    }

    /// Octets of content came.
    pub(super) fn moved(&mut self, n: usize) {
        self.owed.moved(n);
    }

    /// The socket has taken all of the output: a peer that reads is not idle before.
    pub(super) fn drained(&mut self, now: u64) {
        self.stall.end();
        if self.idle_since != NEVER {
            self.idle_since = now;
        }
    }

    pub(super) fn stop(&mut self) {
        // What goes through a tunnel must still be written.
        *self = Timers { stall: self.stall, ..Timers::none() };
    }
}

impl Client {
    /// Starts or stops the clocks of what is incomplete.
    pub(super) fn watch(&mut self) {
        let (now, wanted) = (self.now, self.wants_input());
        let Some(exchange) = &self.exchange else { return };
        let begun = exchange.receiving == super::exchange::Receiving::Head && !self.input.is_empty();
        if !begun {
            self.timers.head_since = NEVER;
        } else if self.timers.head_since == NEVER {
            self.timers.head_since = now;
        }
        if !wanted || !exchange.is_owed() || self.config.min_body_rate == 0 {
            self.timers.owed = Owed::NOTHING;
        } else {
            self.timers.owed.begin(now);
        }
    }

    /// When the head that has begun must be whole.
    fn head_by(&self) -> u64 {
        let since = self.timers.head_since;
        if since == NEVER { NEVER } else { after(since, self.config.header_timeout) }
    }

    /// When the connection has had nothing to do for too long.
    fn idle_until(&self) -> u64 {
        let limit = self.config.idle_timeout.min(self.timers.kept);
        let since = self.timers.idle_since;
        if since == NEVER || !self.output.is_out() { NEVER } else { after(since, limit) }
    }

    /// The time is told.
    fn look(&mut self, now: u64) {
        self.now = now;
        self.timers.start(now);
    }

    /// When `handle_timeout` is due at the latest, if at all.
    pub fn next_deadline(&mut self, now: u64) -> Option<u64> {
        self.look(now);
        let (timers, config) = (&self.timers, &self.config);
        let earliest =
            self.head_by().min(self.idle_until()).min(timers.owed.due(config)).min(timers.stall.due(config));
        (earliest != NEVER).then_some(earliest)
    }

    /// Acts on every deadline that has passed. Calling it early does nothing.
    pub fn handle_timeout(&mut self, now: u64) {
        self.look(now);
        if self.timers.stall.is_over(&self.config, now, self.output.reached()) {
            self.output.clear();
            self.timers.drained(now);
            return self.time_out(Trip::SendStall, "the peer takes no output");
        }
        if self.head_by() <= now {
            return self.time_out(Trip::HeaderTimeout, "the response's head takes too long");
        }
        if self.timers.owed.is_short(&self.config, now) {
            return self.time_out(Trip::BodyRate, "the content comes too slowly");
        }
        if self.idle_until() <= now && self.phase == Phase::Open {
            // Nothing is lost with it.
            self.close(None);
        }
    }

    fn time_out(&mut self, trip: Trip, text: &'static str) {
        if self.phase == Phase::Open {
            self.tally.trip(trip);
            self.close(Some(self.error(trip.reason(), text, Some(trip))));
        }
    }
}
