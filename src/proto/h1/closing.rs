//! How the connection ends, and an exchange: both ways are through, a fault of the peer's, or the word of ours.

use std::time::Duration;

use http::StatusCode;

use super::connection::{Connection, Notice, Phase};
use super::exchange::{Receiving, Sending};
use super::refusal::Refusal;
use super::repeats::Repeats;
use crate::proto::h2::{ConnectionError, Reason, StreamKey, Trip};

impl Connection {
    /// Nothing more comes, and what came has been looked at: says whether that changes anything.
    pub(super) fn come_to_end(&mut self) -> bool {
        if !self.over {
            return false;
        }
        let patient = !self.http1.half_closed.is_zero();
        let text = match &mut self.exchange {
            None if self.input.is_empty() => {
                self.close(None);
                return true;
            }
            None if self.output.len() >= self.config.output_bytes => return false,
            None => "the peer closed inside a request",
            Some(exchange) => match exchange.receiving {
                Receiving::Tunnel => {
                    // Its other direction goes on.
                    exchange.receiving = Receiving::Ended;
                    self.notices.push_back(Notice::Ended(exchange.key()));
                    self.settle();
                    return true;
                }
                // RFC 9112 §9.6: it may be interested in the answer all the same.
                Receiving::Ended | Receiving::Undecided if patient => return false,
                Receiving::Length(_) | Receiving::Chunked(_) if exchange.sending == Sending::Ended => {
                    // The answer is complete, and nobody reads what was still to come.
                    self.close(None);
                    return true;
                }
                Receiving::Ended | Receiving::Undecided | Receiving::Length(_) | Receiving::Chunked(_) => {
                    "the peer closed before it was answered"
                }
            },
        };
        self.close(Some(self.error(Reason::NO_ERROR, text, None)));
        true
    }

    /// What becomes of the exchange, now that one of its directions has ended or the application has let go.
    pub(super) fn settle(&mut self) {
        let Some(exchange) = &mut self.exchange else { return };
        if exchange.held || exchange.sending != Sending::Ended {
            return;
        }
        // Who was not told that this is the last answer may have sent its next request already: also when we go.
        let goes_on = exchange.persists;
        let left = match exchange.receiving {
            Receiving::Ended => 0,
            Receiving::Length(left) => left,
            Receiving::Chunked(_) => 1,
            // The application has let go of the tunnel.
            Receiving::Undecided | Receiving::Tunnel => u64::MAX,
        };
        if left > 0 && goes_on && !self.going && left <= u64::from(self.config.discard_bytes) {
            if exchange.discard.is_none() {
                exchange.discard = Some(u64::from(self.config.discard_bytes));
                self.timers.discard();
            }
            return;
        }
        self.exchange = None;
        if left > 0 || !goes_on {
            return self.close(None);
        }
        self.timers.idle();
    }

    /// Ends the connection for what the peer did; it is told, if it has not been answered yet.
    #[cold]
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        if let Some(trip) = refusal.trip {
            self.note_trip(trip);
        }
        if self.exchange.as_ref().is_none_or(|exchange| exchange.sending == Sending::Head) {
            self.write_refusal(refusal.status, refusal.text);
        }
        let reason = refusal.trip.map_or(Reason::PROTOCOL_ERROR, Trip::reason);
        self.close(Some(self.error(reason, refusal.text, refusal.trip)));
    }

    #[cold]
    pub(super) fn note_trip(&mut self, trip: Trip) {
        self.hears_out = false;
        self.tally.trip(trip);
    }

    /// The end: the exchange is gone, what was made may still be written.
    pub(super) fn close(&mut self, error: Option<ConnectionError>) {
        self.kill();
        self.notices.push_back(Notice::Closed(error));
    }

    fn kill(&mut self) {
        self.phase = Phase::Dead;
        self.input.clear();
        self.exchange = None;
        self.upgrade = None;
        self.repeats = Repeats::default();
        self.notices.clear();
        self.spare = None;
        self.timers.stop();
    }

    /// Goes away in good order, and takes its time.
    pub fn shutdown(&mut self) {
        self.shutdown_within(Duration::MAX);
    }

    /// Goes away in good order: the next answer says so and is the last. A connection that waits for a request is closed,
    /// unless one has come already, or may be on its way: behind the peer's connecting, or behind an answer that did not say
    /// that it was the last, one is waited for, but not for all of `grace`. May be said again with a shorter one.
    pub fn shutdown_within(&mut self, grace: Duration) {
        if self.phase == Phase::Open {
            self.going = true;
            self.timers.go(grace);
        }
    }

    /// Ends the connection at once.
    pub fn goaway(&mut self) {
        if self.phase == Phase::Open {
            self.close(None);
        }
    }

    /// Ends the connection without a word, because its socket is gone: nothing that waits will be written.
    pub fn abandon(&mut self) {
        self.kill();
        self.output.clear();
    }

    /// Sheds a request that the application has not looked at. There is no refusal but a status.
    pub fn shed(&mut self, stream: StreamKey) {
        self.note_trip(Trip::Shed);
        if let Some(exchange) = self.find(stream) {
            exchange.persists = false;
            exchange.held = false;
            exchange.sending = Sending::Ended;
            self.write_refusal(StatusCode::SERVICE_UNAVAILABLE, "too much is under way");
            self.settle();
        }
    }

    /// Whether the connection is over: once the output is written the socket can be closed.
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Dead
    }

    /// Whether the socket must be reset: an answer that ends with the connection was broken off.
    pub(crate) fn breaks_off(&self) -> bool {
        self.breaks_off
    }

    /// Whether what comes behind the end is to be forgotten as long as it comes, so that the last answer is read: not where
    /// the peer had its time.
    pub(crate) fn hears_out(&self) -> bool {
        self.hears_out
    }
}
