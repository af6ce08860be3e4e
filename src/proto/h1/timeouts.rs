//! Deadlines, as in HTTP/2: plain numbers in nanoseconds, `NEVER` for none.

use std::time::Duration;

use http::StatusCode;

use super::connection::{Connection, Phase};
use super::refusal::Refusal;
use crate::limits;
use crate::proto::h2::{Config, Reason, Trip};

pub(super) const NEVER: u64 = u64::MAX;
/// From when the time is told next: commands come without it, and what was told last may be long ago.
const SOON: u64 = u64::MAX - 1;

fn after(now: u64, timeout: Duration) -> u64 {
    now.saturating_add(u64::try_from(timeout.as_nanos()).unwrap_or(NEVER))
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Timers {
    /// The head that has begun.
    head: u64,
    /// Since when there has been no request.
    idle_since: u64,
    /// We go: whoever sends nothing now is closed.
    leave: u64,
    /// Content that is thrown away behind a complete answer.
    discard: u64,
    /// Since when content has been owed, and how much has come.
    owed_since: u64,
    owed_bytes: u64,
    /// Since when a peer that has ended its side has got nothing.
    silent_since: u64,
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
            head: NEVER,
            idle_since: NEVER,
            leave: NEVER,
            discard: NEVER,
            owed_since: NEVER,
            owed_bytes: 0,
            silent_since: NEVER,
            waiting_since: NEVER,
            waiting_from: 0,
        }
    }

    /// A request came.
    pub(super) fn busy(&mut self) {
        (self.head, self.idle_since, self.owed_since) = (NEVER, NEVER, NEVER);
    }

    /// It is over.
    pub(super) fn idle(&mut self) {
        (self.idle_since, self.discard, self.owed_since, self.silent_since) = (SOON, NEVER, NEVER, NEVER);
    }

    pub(super) fn go(&mut self) {
        self.leave = SOON;
    }

    pub(super) fn discard(&mut self) {
        self.discard = SOON;
    }

    /// Starts what was to start soon.
    fn start(&mut self, now: u64, config: &Config) {
        for clock in [&mut self.idle_since, &mut self.owed_since, &mut self.leave] {
            if *clock == SOON {
                *clock = now;
            }
        }
        if self.discard == SOON {
            self.discard = after(now, config.discard_timeout);
        }
    }

    /// By when the head that has begun is to be whole: soon, once we go.
    fn head_by(&self) -> u64 {
        if self.head == NEVER { NEVER } else { self.head.min(after(self.leave, limits::H2_LAST_PREFACE)) }
    }

    /// All of the output was written: a peer that reads is not idle before.
    pub(super) fn drained(&mut self, now: u64) {
        if self.idle_since != NEVER {
            self.idle_since = now;
        }
    }

    /// Octets of content came.
    pub(super) fn moved(&mut self, n: usize) {
        self.owed_bytes = self.owed_bytes.saturating_add(n as u64);
    }

    /// Octets of an answer went out.
    pub(super) fn spoke(&mut self, now: u64) {
        if self.silent_since != NEVER {
            self.silent_since = now;
        }
    }

    /// Output waits to be written; so much was before.
    pub(super) fn waiting(&mut self, now: u64, written: u64) {
        if self.waiting_since == NEVER {
            (self.waiting_since, self.waiting_from) = (now, written);
        }
    }

    /// All of it was written.
    pub(super) fn progress(&mut self) {
        self.waiting_since = NEVER;
    }

    pub(super) fn stop(&mut self) {
        let Timers { waiting_since, waiting_from, .. } = *self;
        // What was made must still be written.
        *self = Timers { waiting_since, waiting_from, ..Timers::none() };
    }
}

/// What must have moved in `elapsed` nanoseconds.
fn least(config: &Config, elapsed: u64) -> u64 {
    let bytes = u128::from(config.min_body_rate) * u128::from(elapsed) / 1_000_000_000;
    u64::try_from(bytes).unwrap_or(NEVER)
}

impl Connection {
    /// The time is told.
    #[inline]
    pub(super) fn look(&mut self, now: u64) {
        self.now = now;
        self.timers.start(now, &self.config);
    }

    /// Starts or stops the clocks of what is incomplete.
    pub(super) fn watch(&mut self) {
        let (now, wanted) = (self.now, self.wants_input());
        let Some(exchange) = &self.exchange else {
            if self.input.is_empty() || self.output.len() >= self.config.output_bytes {
                // Nothing has begun, or what has is not looked at.
                self.timers.head = NEVER;
            } else if self.timers.head == NEVER {
                self.timers.head = after(now, self.config.header_timeout);
            }
            return;
        };
        if self.over && self.timers.silent_since == NEVER {
            self.timers.silent_since = now;
        }
        if !wanted || !exchange.is_owed() || self.config.min_body_rate == 0 {
            self.timers.owed_since = NEVER;
        } else if self.timers.owed_since == NEVER {
            (self.timers.owed_since, self.timers.owed_bytes) = (now, 0);
        }
    }

    /// The peer was told to send what it owes.
    pub(super) fn invited(&mut self) {
        (self.timers.owed_since, self.timers.owed_bytes) = (SOON, 0);
    }

    /// When a connection that waits is closed, once we go: the first request may be on its way, as we have not said a word.
    fn leave_by(&self) -> u64 {
        let leave = self.timers.leave;
        if self.tally.requests == 0 { after(leave, limits::H2_LAST_PREFACE) } else { leave }
    }

    /// When `handle_timeout` is due at the latest, if at all.
    pub fn next_deadline(&mut self, now: u64) -> Option<u64> {
        self.look(now);
        let (timers, config) = (&self.timers, &self.config);
        let mut earliest = timers.head_by().min(timers.discard);
        if timers.idle_since != NEVER && timers.head == NEVER && self.output.is_empty() {
            earliest = earliest.min(after(timers.idle_since, config.idle_timeout)).min(self.leave_by());
        }
        if timers.owed_since != NEVER {
            earliest = earliest.min(after(timers.owed_since, config.body_grace));
        }
        if timers.silent_since != NEVER {
            earliest = earliest.min(after(timers.silent_since, self.http1.half_closed));
        }
        if timers.waiting_since != NEVER {
            earliest = earliest.min(after(timers.waiting_since, config.send_timeout));
        }
        (earliest != NEVER).then_some(earliest)
    }

    /// Acts on every deadline that has passed. Calling it early does nothing.
    pub fn handle_timeout(&mut self, now: u64) {
        self.look(now);
        let timers = self.timers;
        if timers.waiting_since != NEVER
            && after(timers.waiting_since, self.config.send_timeout) <= now
            && !self.keeps_reading(now)
        {
            self.output.clear();
            self.timers.progress();
            return self.time_out(Trip::SendStall, "the peer takes no output");
        }
        if self.phase == Phase::Dead {
            return;
        }
        if timers.head_by() <= now {
            let text = "the request's head takes too long";
            return self.refuse(Refusal::bound(StatusCode::REQUEST_TIMEOUT, text, Trip::HeaderTimeout));
        }
        if timers.discard <= now {
            self.hears_out = false;
            return self.close(None);
        }
        if timers.owed_since != NEVER && after(timers.owed_since, self.config.body_grace) <= now {
            let elapsed = now - timers.owed_since;
            if timers.owed_bytes < least(&self.config, elapsed) {
                let text = "the content comes too slowly";
                return self.refuse(Refusal::bound(StatusCode::REQUEST_TIMEOUT, text, Trip::BodyRate));
            }
            (self.timers.owed_since, self.timers.owed_bytes) = (now, 0);
        }
        if timers.silent_since != NEVER && after(timers.silent_since, self.http1.half_closed) <= now {
            let text = "the peer closed, and was not answered in time";
            return self.close(Some(self.error(Reason::NO_ERROR, text, None)));
        }
        let waits = timers.idle_since != NEVER && timers.head == NEVER && self.output.is_empty();
        if waits && self.leave_by() <= now {
            self.close(None);
        } else if waits && after(timers.idle_since, self.config.idle_timeout) <= now {
            self.note_trip(Trip::IdleTimeout);
            self.close(Some(self.error(Reason::NO_ERROR, Trip::IdleTimeout.text(), Some(Trip::IdleTimeout))));
        }
    }

    fn time_out(&mut self, trip: Trip, text: &'static str) {
        self.note_trip(trip);
        if self.phase == Phase::Open {
            self.close(Some(self.error(trip.reason(), text, Some(trip))));
        }
    }

    /// Whether the socket took output at the least rate; then it has its time again.
    fn keeps_reading(&mut self, now: u64) -> bool {
        let written = self.written();
        let moved = written - self.timers.waiting_from;
        if moved == 0 || moved < least(&self.config, now - self.timers.waiting_since) {
            return false;
        }
        self.timers.progress();
        self.timers.waiting(now, written);
        true
    }
}
