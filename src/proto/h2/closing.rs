//! How streams and the connection come to their ends.
//!
//! A stream ends by END_STREAM both ways or by RST_STREAM either way, and its slot is given back when the
//! application has let go of it too. The connection ends by a violation (GOAWAY with the reason in words), by
//! going away in good order (GOAWAY twice, then the last stream), or because the peer is gone.

use http::{HeaderMap, StatusCode};

use super::connection::{Connection, Going, Notice, Phase, Remote, Role};
use super::control::SHUTDOWN_PING;
use super::error::{ConnectionError, Fault, Reason};
use super::flow::MAX_WINDOW;
use super::frame::{Kind, MAX_STREAM_ID};
use super::ready::Ready;
use super::settings::INITIAL_WINDOW;
use super::stream::{Room, StreamKey};
use super::streams::{Ending, Endings, Streams};
use super::trip::Trip;
use crate::limits;

impl Connection {
    /// Goes away in good order. A server announces it, waits for a PING to come back so that no request that
    /// is on its way gets lost, and then names the last stream; `Closed` comes when the last stream is done.
    pub fn shutdown(&mut self) {
        match (self.phase, self.going, self.role) {
            (Phase::Dead, ..) | (_, Going::Announced | Going::Final(_), _) => {}
            // What the client has sent already will be answered; who has sent nothing has not long to begin.
            (Phase::Preface, ..) => {
                self.going = Going::Announced;
                self.timers.hurry(self.now);
            }
            (Phase::FirstSettings | Phase::Open, Going::No, Role::Client) => {
                self.go_finally(Reason::NO_ERROR, &[]);
            }
            (Phase::FirstSettings | Phase::Open, Going::No, Role::Server) => {
                self.going = Going::Announced;
                self.announce_end();
            }
        }
    }

    /// Tells the client to open no more streams, and asks it to say when it has read that (RFC 9113 §6.8).
    pub(super) fn announce_end(&mut self) {
        self.write_goaway(MAX_STREAM_ID, Reason::NO_ERROR, &[]);
        self.write_frame(Kind::Ping, 0, 0, &SHUTDOWN_PING);
        self.timers.announced(self.now, &self.config);
    }

    /// Names the last stream that will be processed.
    pub(super) fn go_finally(&mut self, reason: Reason, debug: &[u8]) {
        let last = self.last_peer;
        self.going = Going::Final(last);
        self.timers.gone();
        self.write_goaway(last, reason, debug);
        self.check_gone();
    }

    /// Ends the connection at once with this reason; `debug` is for the peer's log.
    pub fn goaway(&mut self, reason: Reason, debug: &[u8]) {
        if self.phase == Phase::Dead {
            return;
        }
        if self.phase != Phase::Preface {
            self.write_goaway(self.last_served(), reason, &debug[..debug.len().min(limits::H2_DEBUG_BYTES)]);
        }
        self.close(None);
    }

    /// Ends a stream or the connection for what a frame did.
    #[cold]
    pub(super) fn on_fault(&mut self, fault: Fault) {
        if self.phase == Phase::Dead {
            return; // one of several, and the one before was the last
        }
        match fault {
            Fault::Connection(reason, text) => self.fail(reason, text),
            Fault::Bound(trip) => self.fail_bound(trip),
            Fault::Stream(id, reason, text) => self.kill_stream(id, reason, text),
            Fault::StreamBound(id, trip) => {
                self.note_trip(trip);
                self.kill_stream(id, trip.reason(), trip.text());
            }
        }
    }

    /// Resets a stream for what the peer did. It counts against the peer, who may have wanted it so.
    pub(super) fn kill_stream(&mut self, id: u32, reason: Reason, text: &'static str) {
        if self.role == Role::Server && !self.charge_reset() {
            return self.fail_bound(Trip::ResetFlood);
        }
        let found = self.streams.find(id);
        // One RST_STREAM is enough, unless the stream died by the peer's (RFC 9113 §5.1).
        if self.endings.of(id) != Ending::OwnReset {
            self.write_reset(id, reason);
        }
        self.endings.note(id, Ending::OwnReset);
        if let Some(key) = found {
            self.bury(key, reason, Remote::No(text));
        }
    }

    pub(super) fn write_reset(&mut self, id: u32, reason: Reason) {
        self.tally.resets_sent = self.tally.resets_sent.saturating_add(1);
        self.write_frame(Kind::RstStream, 0, id, &reason.0.to_be_bytes());
    }

    /// Takes a token for a stream that died early.
    pub(super) fn charge_reset(&mut self) -> bool {
        self.resets.take(self.now, self.config.reset_burst, self.config.resets_per_second)
    }

    /// Takes a token for a useless frame.
    pub(super) fn charge_glitch(&mut self) -> Result<(), Fault> {
        if self.glitches.take(self.now, self.config.glitch_burst, self.config.glitches_per_second) {
            return Ok(());
        }
        Err(Fault::Bound(Trip::GlitchFlood))
    }

    /// Marks a stream as reset and tells the application.
    pub(super) fn bury(&mut self, key: StreamKey, reason: Reason, remote: Remote) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if stream.dead {
            return;
        }
        stream.dead = true;
        stream.room = Room::Unasked;
        if let Some(queue) = &mut stream.queue {
            self.tally.queued -= queue.clear();
        }
        if std::mem::take(&mut stream.scheduled) {
            self.ready.remove(key, stream.id, stream.priority);
        }
        if stream.held {
            self.notices.push_back(Notice::Reset(key, reason, remote));
        } else {
            self.retire(key);
        }
    }

    /// Gives the slot back when both the protocol and the application are through with the stream.
    #[inline(always)]
    pub(super) fn retire(&mut self, key: StreamKey) {
        // Asked twice for each stream, and mostly in vain the first time.
        if self.streams.get(key).is_some_and(|stream| !stream.held && stream.is_closed()) {
            self.give_slot_back(key);
        }
    }

    fn give_slot_back(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get(key) else { return };
        let (id, unreleased) = (stream.id, stream.unreleased);
        self.tally.heads -= stream.head_bytes as usize;
        if stream.scheduled {
            self.ready.remove(key, stream.id, stream.priority);
        }
        self.streams.remove(key);
        self.untune(id);
        if unreleased > 0 {
            self.tally.unreleased -= unreleased as usize;
            self.give_back(unreleased);
        }
        self.check_gone();
    }

    /// Closes when the last stream ended after the final GOAWAY.
    #[inline]
    pub(super) fn check_gone(&mut self) {
        let leaving =
            matches!(self.going, Going::Final(_)) || (self.peer_last.is_some() && self.role == Role::Client);
        if leaving && self.streams.len() == 0 && self.phase != Phase::Dead {
            self.leave();
        }
    }

    /// Who was told to go says so too before it goes (RFC 9113 §6.8).
    #[cold]
    fn leave(&mut self) {
        if self.going == Going::No {
            self.write_goaway(self.last_served(), Reason::NO_ERROR, &[]);
        }
        self.close(None);
    }

    /// Gives connection window back.
    #[inline]
    pub(super) fn give_back(&mut self, n: u32) {
        if self.phase == Phase::Dead {
            return;
        }
        let size = self.config.connection_window.clamp(INITIAL_WINDOW, MAX_WINDOW);
        if let Some(increment) = self.receive_window.give_back(n, size) {
            self.write_frame(Kind::WindowUpdate, 0, 0, &increment.to_be_bytes());
        }
    }

    /// Ends the connection for a violation: GOAWAY with the reason in words, then nothing more.
    #[cold]
    pub(super) fn fail(&mut self, reason: Reason, text: &'static str) {
        self.end_for(reason, text, None);
    }

    /// Ends the connection for a bound that the peer ran into, in the same way.
    #[cold]
    pub(super) fn fail_bound(&mut self, trip: Trip) {
        self.note_trip(trip);
        self.end_for(trip.reason(), trip.text(), Some(trip));
    }

    fn end_for(&mut self, reason: Reason, text: &'static str, trip: Option<Trip>) {
        let head = self.current;
        let error = ConnectionError {
            reason,
            frame: head.map(|head| head.kind),
            stream: head.map_or(0, |head| head.stream),
            offset: self.input.offset(),
            text,
            trip,
        };
        if self.phase != Phase::Preface {
            self.write_goaway(self.last_served(), reason, error.to_string().as_bytes());
        }
        self.close(Some(error));
    }

    /// The last stream that GOAWAY may name: once named, it does not rise any more (RFC 9113 §6.8).
    pub(super) fn last_served(&self) -> u32 {
        match self.going {
            Going::No | Going::Announced => self.last_peer,
            Going::Final(last) => last,
        }
    }

    pub(super) fn write_goaway(&mut self, last: u32, reason: Reason, debug: &[u8]) {
        let mut payload = Vec::with_capacity(8 + debug.len());
        payload.extend_from_slice(&last.to_be_bytes());
        payload.extend_from_slice(&reason.0.to_be_bytes());
        payload.extend_from_slice(debug);
        self.write_frame(Kind::GoAway, 0, 0, &payload);
    }

    /// The end: streams are gone, what is framed may still be written.
    pub(super) fn close(&mut self, error: Option<ConnectionError>) {
        self.kill();
        self.notices.push_back(Notice::Closed(error));
    }

    /// Sheds a request that the application has not looked at: with this status, or by refusing its stream. The stream is
    /// finished with it.
    pub fn shed(&mut self, stream: StreamKey, status: Option<StatusCode>) {
        self.note_trip(Trip::Shed);
        // One that cannot be answered any more is gone already.
        let answered =
            status.is_some_and(|status| self.respond(stream, status, &HeaderMap::new(), true).is_ok());
        if !answered {
            self.reset(stream, Trip::Shed.reason());
        }
        self.finish(stream);
    }

    /// Ends the connection without a word, because its socket is gone: nothing that waits will be written.
    pub fn abandon(&mut self) {
        self.kill();
        self.notices.clear();
        self.output.clear();
    }

    pub(super) fn kill(&mut self) {
        self.phase = Phase::Dead;
        self.input.clear();
        self.assembly = None;
        self.run = None;
        self.streams = Streams::new();
        self.tally.hold_nothing();
        self.endings = Endings::default();
        self.ready = Ready::default();
        // What the peer said when it left is still news.
        self.notices.retain(|notice| matches!(notice, Notice::GoAway(..)));
        self.spare = None;
        self.known = None;
        self.asked = None;
        self.bandwidth = None;
        self.pace = None;
        self.timers.stop();
    }
}
