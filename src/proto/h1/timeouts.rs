//! Deadlines, as in HTTP/2: plain numbers in nanoseconds, `NEVER` for none.

use std::time::Duration;

use http::StatusCode;

use super::clocks::{self, Clocks, Owed, SOON};
use super::connection::{Connection, Phase};
use super::refusal::Refusal;
use crate::limits;
use crate::proto::h2::{Config, NEVER, Reason, Trip, after};

#[derive(Clone, Copy, Debug)]
pub(super) struct Timers {
    pub(super) clocks: Clocks,
    /// The head that has begun.
    head: u64,
    /// We go: whoever sends nothing now is closed.
    leave: u64,
    /// For how long behind that a next request may be waited for.
    patience: u64,
    /// Content that is thrown away behind a complete answer.
    discard: u64,
    /// Since when a peer that has ended its side has got nothing.
    silent_since: u64,
}

impl Timers {
    pub(super) fn new(now: u64) -> Timers {
        Timers::only(Clocks { idle_since: now, ..Clocks::NONE })
    }

    fn only(clocks: Clocks) -> Timers {
        Timers { clocks, head: NEVER, leave: NEVER, patience: NEVER, discard: NEVER, silent_since: NEVER }
    }

    /// A request came.
    pub(super) fn busy(&mut self) {
        self.head = NEVER;
        self.clocks.busy();
    }

    /// None has begun.
    pub(super) fn no_head(&mut self) {
        self.head = NEVER;
    }

    /// It is over.
    pub(super) fn idle(&mut self) {
        (self.discard, self.silent_since) = (NEVER, NEVER);
        self.clocks.idle();
    }

    /// We go, and have `grace` for it; a shorter one counts also when it is said later.
    pub(super) fn go(&mut self, grace: Duration) {
        if self.leave == NEVER {
            self.leave = SOON;
        }
        self.patience = self.patience.min(after(0, grace - (grace / 2).min(limits::H1_PARTING)));
    }

    pub(super) fn discard(&mut self) {
        self.discard = SOON;
    }

    /// Starts what was to start soon.
    fn start(&mut self, now: u64, config: &Config) {
        self.clocks.start(now);
        clocks::start(&mut self.leave, now);
        if self.discard == SOON {
            self.discard = after(now, config.discard_timeout);
        }
    }

    /// By when the head that has begun is to be whole: soon, once we go.
    #[inline]
    fn head_by(&self) -> u64 {
        if self.leave == NEVER || self.head == NEVER { self.head } else { self.last_head_by() }
    }

    /// As much time has also the head of a request that was waited for.
    #[cold]
    fn last_head_by(&self) -> u64 {
        self.head.min(after(self.leave.max(self.clocks.idle_since), limits::H2_LAST_PREFACE))
    }

    /// Octets of an answer went out.
    pub(super) fn spoke(&mut self, now: u64) {
        if self.silent_since != NEVER {
            self.silent_since = now;
        }
    }

    pub(super) fn stop(&mut self) {
        self.clocks.stop();
        *self = Timers::only(self.clocks);
    }
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
                self.timers.no_head();
            } else if self.timers.head == NEVER {
                self.timers.head = after(now, self.config.header_timeout);
            }
            return;
        };
        if self.over && self.timers.silent_since == NEVER {
            self.timers.silent_since = now;
        }
        self.timers.clocks.owed.watch(wanted && exchange.is_owed(), &self.config, now);
    }

    /// The peer was told to send what it owes.
    pub(super) fn invited(&mut self) {
        self.timers.clocks.owed = Owed::soon();
    }

    /// When a connection that waits is closed, once we go.
    #[inline]
    fn leave_by(&self) -> u64 {
        if self.timers.leave == NEVER { NEVER } else { self.last_request_by() }
    }

    /// The first request may be on its way, as we have not said a word, and so may be the one behind an answer that did not
    /// say that it was the last (RFC 9112 §9.6).
    #[cold]
    fn last_request_by(&self) -> u64 {
        let Timers { leave, patience, clocks, .. } = self.timers;
        if self.tally.requests == 0 {
            return after(leave, limits::H2_LAST_PREFACE);
        }
        leave.max(after(clocks.idle_since, limits::H1_LAST_REQUEST).min(leave.saturating_add(patience)))
    }

    /// When `handle_timeout` is due at the latest, if at all.
    pub fn next_deadline(&mut self, now: u64) -> Option<u64> {
        self.look(now);
        let (timers, config) = (&self.timers, &self.config);
        let Clocks { idle_since, owed, stall } = timers.clocks;
        let mut earliest = timers.head_by().min(timers.discard).min(owed.due(config)).min(stall.due(config));
        if idle_since != NEVER && timers.head == NEVER && self.output.is_out() {
            earliest = earliest.min(after(idle_since, config.idle_timeout)).min(self.leave_by());
        }
        if timers.silent_since != NEVER {
            earliest = earliest.min(after(timers.silent_since, self.http1.half_closed));
        }
        (earliest != NEVER).then_some(earliest)
    }

    /// Acts on every deadline that has passed. Calling it early does nothing.
    pub fn handle_timeout(&mut self, now: u64) {
        self.look(now);
        if self.timers.clocks.stall.is_over(&self.config, now, self.output.reached()) {
            self.output.clear();
            self.timers.clocks.stall.end();
            return self.time_out(Trip::SendStall, "the peer takes no output");
        }
        if self.phase == Phase::Dead {
            return;
        }
        let timers = self.timers;
        if timers.head_by() <= now {
            let text = "the request's head takes too long";
            return self.refuse(Refusal::bound(StatusCode::REQUEST_TIMEOUT, text, Trip::HeaderTimeout));
        }
        if timers.discard <= now {
            self.hears_out = false;
            return self.close(None);
        }
        if self.timers.clocks.owed.is_short(&self.config, now) {
            let text = "the content comes too slowly";
            return self.refuse(Refusal::bound(StatusCode::REQUEST_TIMEOUT, text, Trip::BodyRate));
        }
        if timers.silent_since != NEVER && after(timers.silent_since, self.http1.half_closed) <= now {
            let text = "the peer closed, and was not answered in time";
            return self.close(Some(self.error(Reason::NO_ERROR, text, None)));
        }
        let idle_since = timers.clocks.idle_since;
        let waits = idle_since != NEVER && timers.head == NEVER && self.output.is_out();
        if waits && self.leave_by() <= now {
            self.close(None);
        } else if waits && after(idle_since, self.config.idle_timeout) <= now {
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
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use bytes::Bytes;
    use http::HeaderMap;

    use super::super::config::Http1;
    use super::*;
    use crate::proto::h2::Event;

    /// What TLS has accepted is not with the socket yet.
    #[test]
    fn what_the_transport_holds_is_judged_by_what_the_socket_takes_of_it() {
        let config = Config::default();
        let (send, idle) = (after(0, config.send_timeout), after(0, config.idle_timeout));
        for (takes, tripped) in [(10_000, 0), (10, 1), (0, 1)] {
            let mut core = Connection::server(Config::default(), Http1::default(), true, 0);
            core.receive(Bytes::from_static(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"));
            let Some(Event::Request { stream, .. }) = core.poll_event(0) else { panic!("a request") };
            core.respond(stream, StatusCode::OK, &HeaderMap::new(), false).unwrap();
            core.send_data(stream, vec![0; 60_000].into(), true).unwrap();
            core.finish(stream);
            let mut slices = [IoSlice::new(&[]); 8];
            let used = core.poll_transmit(0, &mut slices);
            let all = slices[..used].iter().map(|slice| slice.len()).sum();
            core.transmitted(all);
            core.held_below(60_000);
            assert_eq!(core.next_deadline(0), Some(send), "it is not idle");
            core.held_below(60_000 - takes);
            core.handle_timeout(send);
            assert_eq!(core.stats().trips.of(Trip::SendStall), tripped, "{takes}");
            if tripped == 0 {
                assert_eq!(core.next_deadline(send), Some(2 * send), "it has its time again");
                core.held_below(0);
                assert_eq!(core.next_deadline(send), Some(send + idle), "all of it was taken");
            }
        }
    }
}
