//! Deadlines, as in HTTP/2: plain numbers in nanoseconds, `NEVER` for none.
//!
//! A server may take its time to answer: how long a request may last is the application's to say. What has begun must
//! go on: a head, and content of a known length at the least rate, if there is one.

use std::time::Duration;

use super::super::clocks::Clocks;
use super::connection::{Client, Phase};
use crate::proto::h2::{NEVER, Trip, after};

#[derive(Clone, Copy, Debug)]
pub(super) struct Timers {
    pub(super) clocks: Clocks,
    /// Since when a head has been incomplete.
    head_since: u64,
    /// How long the peer keeps a connection without requests, as it says.
    kept: Duration,
}

impl Timers {
    pub(super) fn new(now: u64) -> Timers {
        Timers::only(Clocks { idle_since: now, ..Clocks::NONE })
    }

    fn only(clocks: Clocks) -> Timers {
        Timers { clocks, head_since: NEVER, kept: Duration::MAX }
    }

    /// A head is complete.
    pub(super) fn head_came(&mut self) {
        self.head_since = NEVER;
    }

    /// The peer says how long it keeps a connection without requests.
    pub(super) fn keeps(&mut self, kept: Option<Duration>) {
        self.kept = kept.unwrap_or(Duration::MAX);
    }

    pub(super) fn stop(&mut self) {
        self.clocks.stop();
        *self = Timers::only(self.clocks);
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
        self.timers.clocks.owed.watch(wanted && exchange.is_owed(), &self.config, now);
    }

    /// When the head that has begun must be whole.
    fn head_by(&self) -> u64 {
        let since = self.timers.head_since;
        if since == NEVER { NEVER } else { after(since, self.config.header_timeout) }
    }

    /// When the connection has had nothing to do for too long.
    fn idle_until(&self) -> u64 {
        let limit = self.config.idle_timeout.min(self.timers.kept);
        let since = self.timers.clocks.idle_since;
        if since == NEVER || !self.output.is_out() { NEVER } else { after(since, limit) }
    }

    /// The time is told.
    fn look(&mut self, now: u64) {
        self.now = now;
        self.timers.clocks.start(now);
    }

    /// When `handle_timeout` is due at the latest, if at all.
    pub fn next_deadline(&mut self, now: u64) -> Option<u64> {
        self.look(now);
        let (Clocks { owed, stall, .. }, config) = (self.timers.clocks, &self.config);
        let earliest = self.head_by().min(self.idle_until()).min(owed.due(config)).min(stall.due(config));
        (earliest != NEVER).then_some(earliest)
    }

    /// Acts on every deadline that has passed. Calling it early does nothing.
    pub fn handle_timeout(&mut self, now: u64) {
        self.look(now);
        if self.timers.clocks.stall.is_over(&self.config, now, self.output.reached()) {
            self.output.clear();
            self.timers.clocks.drained(now);
            return self.time_out(Trip::SendStall, "the peer takes no output");
        }
        if self.head_by() <= now {
            return self.time_out(Trip::HeaderTimeout, "the response's head takes too long");
        }
        if self.timers.clocks.owed.is_short(&self.config, now) {
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
