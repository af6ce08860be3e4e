//! Deadlines, as in HTTP/2: plain numbers in nanoseconds, `NEVER` for none.
//!
//! A server may take its time to answer: how long a request may last is the application's to say. What has begun must
//! go on: a head, and content of a known length at the least rate, if there is one.

use std::time::Duration;

use super::connection::{Client, Phase};
use crate::proto::h2::{Config, Trip};

const NEVER: u64 = u64::MAX;
/// From when the time is told next: commands come without it, and what was told last may be long ago.
const SOON: u64 = u64::MAX - 1;

fn after(now: u64, timeout: Duration) -> u64 {
    now.saturating_add(u64::try_from(timeout.as_nanos()).unwrap_or(NEVER))
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Timers {
    /// Since when a head has been incomplete.
    head_since: u64,
    /// Since when there has been no request.
    idle_since: u64,
    /// How long the peer keeps such a connection, as it says.
    kept: Duration,
    /// Since when content has been owed, and how much has come.
    owed_since: u64,
    owed_bytes: u64,
    /// Since when output has waited, and what had been written then.
    waiting_since: u64,
    waiting_from: u64,
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
            owed_since: NEVER,
            owed_bytes: 0,
            waiting_since: NEVER,
            waiting_from: 0,
        }
    }

    /// A request was sent.
    pub(super) fn busy(&mut self) {
        (self.idle_since, self.owed_since) = (NEVER, NEVER);
    }

    /// It is over.
    pub(super) fn idle(&mut self) {
        (self.idle_since, self.owed_since) = (SOON, NEVER);
    }

    /// Starts what was to start soon.
    fn start(&mut self, now: u64) {
        if self.idle_since == SOON {
            self.idle_since = now;
        }
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
        self.owed_bytes = self.owed_bytes.saturating_add(n as u64);
    }

    /// Output waits to be written; so much was before.
    pub(super) fn waiting(&mut self, now: u64, written: u64) {
        if self.waiting_since == NEVER {
            (self.waiting_since, self.waiting_from) = (now, written);
        }
    }

    /// All of it was written: a peer that reads is not idle before.
    pub(super) fn drained(&mut self, now: u64) {
        self.waiting_since = NEVER;
        if self.idle_since != NEVER {
            self.idle_since = now;
        }
    }

    pub(super) fn stop(&mut self) {
        let Timers { waiting_since, waiting_from, .. } = *self;
        // What goes through a tunnel must still be written.
        *self = Timers { waiting_since, waiting_from, ..Timers::none() };
    }
}

/// What must have moved in `elapsed` nanoseconds.
fn least(config: &Config, elapsed: u64) -> u64 {
    let bytes = u128::from(config.min_body_rate) * u128::from(elapsed) / 1_000_000_000;
    u64::try_from(bytes).unwrap_or(NEVER)
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
            self.timers.owed_since = NEVER;
        } else if self.timers.owed_since == NEVER {
            (self.timers.owed_since, self.timers.owed_bytes) = (now, 0);
        }
    }

    /// When the connection has had nothing to do for too long.
    fn idle_until(&self) -> u64 {
        let limit = self.config.idle_timeout.min(self.timers.kept);
        let since = self.timers.idle_since;
        if since == NEVER || !self.output.is_empty() { NEVER } else { after(since, limit) }
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
        let due = |since: u64, limit: Duration| if since == NEVER { NEVER } else { after(since, limit) };
        let earliest = due(timers.head_since, config.header_timeout)
            .min(self.idle_until())
            .min(due(timers.owed_since, config.body_grace))
            .min(due(timers.waiting_since, config.send_timeout));
        (earliest != NEVER).then_some(earliest)
    }

    /// Acts on every deadline that has passed. Calling it early does nothing.
    pub fn handle_timeout(&mut self, now: u64) {
        self.look(now);
        let (timers, config) = (self.timers, self.config.clone());
        let passed = |since: u64, limit: Duration| since != NEVER && after(since, limit) <= now;
        if passed(timers.waiting_since, config.send_timeout) && !self.keeps_reading(now) {
            self.output.clear();
            self.timers.drained(now);
            return self.time_out(Trip::SendStall, "the peer takes no output");
        }
        if passed(timers.head_since, config.header_timeout) {
            return self.time_out(Trip::HeaderTimeout, "the response's head takes too long");
        }
        if passed(timers.owed_since, config.body_grace) {
            if timers.owed_bytes < least(&config, now - timers.owed_since) {
                return self.time_out(Trip::BodyRate, "the content comes too slowly");
            }
            (self.timers.owed_since, self.timers.owed_bytes) = (now, 0);
        }
        if self.idle_until() <= now && self.phase == Phase::Open {
            // Nothing is lost with it.
            self.close(None);
        }
    }

    fn time_out(&mut self, trip: Trip, text: &'static str) {
        if self.phase == Phase::Open {
            self.note_trip(trip);
            self.close(Some(self.error(trip.reason(), text, Some(trip))));
        }
    }

    /// Whether the socket took output at the least rate; then it has its time again.
    fn keeps_reading(&mut self, now: u64) -> bool {
        let written = self.output_written();
        let moved = written - self.timers.waiting_from;
        if moved == 0 || moved < least(&self.config, now - self.timers.waiting_since) {
            return false;
        }
        (self.timers.waiting_since, self.timers.waiting_from) = (now, written);
        true
    }
}
