//! Frames about the connection or a stream as such: SETTINGS, PING, GOAWAY, WINDOW_UPDATE, RST_STREAM,
//! PRIORITY, PUSH_PROMISE.

use bytes::Bytes;

use super::connection::{Connection, Found, Going, Notice, Phase, Remote, Role};
use super::error::{Fault, Reason};
use super::event::Event;
use super::flow::Overflow;
use super::frame::{ACK, Head, Kind, MAX_STREAM_ID, u32_at};
use super::settings::{ENTRY_LEN, INITIAL_WINDOW, Setting};
use super::stream::{Receiving, Stream};
use super::streams::Ending;
use super::trip::Trip;
use crate::limits;

/// The payload of the PING that tells when the peer has read our first GOAWAY.
pub(super) const SHUTDOWN_PING: [u8; 8] = *b"wakergo\0";

impl Connection {
    pub(super) fn on_settings(&mut self, head: Head, payload: &[u8]) -> Found {
        if head.stream != 0 {
            return Err(Fault::protocol("SETTINGS on a stream"));
        }
        if head.has(ACK) {
            return self.on_settings_ack(payload);
        }
        if payload.len() % ENTRY_LEN != 0 {
            return Err(Fault::size("SETTINGS is not a multiple of 6 bytes"));
        }
        if payload.len() / ENTRY_LEN > self.config.settings_entries as usize {
            return Err(Fault::Bound(Trip::SettingsEntries));
        }
        if self.phase == Phase::FirstSettings {
            // Whoever names no limit has none (RFC 9113 §6.5.2).
            self.peer.max_concurrent_streams = u32::MAX;
        }
        self.apply(payload)?;
        if self.phase == Phase::FirstSettings {
            self.phase = Phase::Open;
            self.timers.preface_read();
        }
        self.write_frame(Kind::Settings, ACK, 0, &[]);
        if self.acks.settings.add(self.output.end()) > self.config.waiting_acks as usize {
            return Err(Fault::Bound(Trip::SettingsFlood));
        }
        Ok(())
    }

    /// Applies the entries of a SETTINGS frame.
    pub(super) fn apply(&mut self, payload: &[u8]) -> Found {
        for entry in payload.chunks_exact(ENTRY_LEN) {
            let Ok(entry) = entry.try_into() else { continue };
            match Setting::parse(entry, self.role)? {
                Setting::HeaderTableSize(size) => self.encoder.set_peer_table_size(size),
                Setting::MaxConcurrentStreams(count) => self.peer.max_concurrent_streams = count,
                Setting::MaxFrameSize(size) => self.peer.max_frame_size = size,
                Setting::InitialWindowSize(size) => self.on_initial_window(size)?,
                Setting::EnableConnectProtocol(on) => self.on_connect_protocol(on)?,
                Setting::NoRfc7540Priorities(off) => self.on_no_priorities(off)?,
                Setting::Ignored => {}
            }
        }
        Ok(())
    }

    /// A promise that is not taken back (RFC 8441 §3); from a client it means nothing.
    fn on_connect_protocol(&mut self, on: bool) -> Found {
        if self.role == Role::Client && self.peer.connect_protocol && !on {
            return Err(Fault::protocol("ENABLE_CONNECT_PROTOCOL is taken back"));
        }
        self.peer.connect_protocol = on;
        Ok(())
    }

    fn on_settings_ack(&mut self, payload: &[u8]) -> Found {
        if !payload.is_empty() {
            return Err(Fault::size("SETTINGS ACK with a payload"));
        }
        if !self.timers.settings_acked() {
            return Err(Fault::protocol("SETTINGS ACK that nobody waits for"));
        }
        self.decoder.set_max_table_size(self.config.header_table_size as usize);
        if self.config.stream_window < INITIAL_WINDOW {
            self.stream_window = self.config.stream_window;
            let delta = i64::from(self.config.stream_window) - i64::from(INITIAL_WINDOW);
            let mut receiving = Vec::new();
            for (key, stream) in self.streams.iter_mut() {
                stream.receive_window.shift(delta);
                if stream.receiving == Receiving::Body && !stream.dead {
                    receiving.push(key);
                }
            }
            // Credit may have been held back because the old window was enough for the rest of the message.
            for key in receiving {
                self.give_back_stream(key, 0);
            }
        }
        Ok(())
    }

    /// Nothing here hangs on it, as we ignore those priorities anyway; but a peer must not change it after its first SETTINGS
    /// (RFC 9218 §2.1).
    fn on_no_priorities(&mut self, off: bool) -> Found {
        if self.phase == Phase::Open && off != self.peer.no_rfc7540_priorities {
            return Err(Fault::protocol("NO_RFC7540_PRIORITIES changed"));
        }
        self.peer.no_rfc7540_priorities = off;
        Ok(())
    }

    /// Every open stream's window moves by the difference (RFC 9113 §6.9.2).
    fn on_initial_window(&mut self, size: u32) -> Found {
        let delta = i64::from(size) - i64::from(self.peer.initial_window);
        self.peer.initial_window = size;
        if delta == 0 {
            return Ok(());
        }
        let mut grown = Vec::new();
        // A closed stream has no window; its slot only waits for the application.
        for (key, stream) in self.streams.iter_mut().filter(|(_, stream)| !stream.is_closed()) {
            if stream.send_window.shift(delta) == Err(Overflow) {
                let text = "INITIAL_WINDOW_SIZE drives a stream's window above 2^31-1";
                return Err(Fault::Connection(Reason::FLOW_CONTROL_ERROR, text));
            }
            grown.push(key);
        }
        for key in grown {
            self.note_credit(key, u32::try_from(delta).unwrap_or(0));
            self.unschedule_if_closed(key);
            self.on_room(key);
        }
        Ok(())
    }

    pub(super) fn on_ping(&mut self, head: Head, payload: &[u8], out: &mut Option<Event>) -> Found {
        if head.stream != 0 {
            return Err(Fault::protocol("PING on a stream"));
        }
        let Ok(payload) = <[u8; 8]>::try_from(payload) else {
            return Err(Fault::size("PING is not 8 bytes"));
        };
        if head.has(ACK) {
            *out = self.on_pong(payload);
            return Ok(());
        }
        self.write_frame(Kind::Ping, ACK, 0, &payload);
        if self.acks.pings.add(self.output.end()) > self.config.waiting_acks as usize {
            return Err(Fault::Bound(Trip::PingFlood));
        }
        Ok(())
    }

    fn on_pong(&mut self, payload: [u8; 8]) -> Option<Event> {
        if payload == SHUTDOWN_PING && self.going == Going::Announced {
            self.go_finally(Reason::NO_ERROR, &[]);
            return None;
        }
        if self.on_probe(payload) || self.on_alive(payload) {
            return None;
        }
        self.acks.pings_out = self.acks.pings_out.checked_sub(1)?;
        Some(Event::Pong { payload })
    }

    pub(super) fn on_goaway(&mut self, head: Head, payload: &[u8]) -> Found {
        if head.stream != 0 {
            return Err(Fault::protocol("GOAWAY on a stream"));
        }
        let (Some(last), Some(code), Some(debug)) =
            (u32_at(payload, 0), u32_at(payload, 4), payload.get(8..))
        else {
            return Err(Fault::size("GOAWAY is shorter than 8 bytes"));
        };
        let last = last & MAX_STREAM_ID;
        if self.peer_last.is_some_and(|before| last > before) {
            return Err(Fault::protocol("GOAWAY raises the last stream"));
        }
        self.peer_last = Some(last);
        let debug = Bytes::copy_from_slice(&debug[..debug.len().min(limits::H2_DEBUG_BYTES)]);
        self.notices.push_back(Notice::GoAway(last, Reason(code), debug));
        if self.role == Role::Client {
            self.abandon_above(last);
            self.check_gone();
        }
        Ok(())
    }

    /// Streams that the peer says it never looked at.
    fn abandon_above(&mut self, last: u32) {
        let above: Vec<_> =
            self.streams.iter_mut().filter(|(_, stream)| stream.id > last).map(|(key, _)| key).collect();
        for key in above {
            self.bury(key, Reason::REFUSED_STREAM, Remote::Yes);
        }
    }

    #[inline]
    pub(super) fn on_window_update(&mut self, head: Head, payload: &[u8]) -> Found {
        let (4, Some(word)) = (payload.len(), u32_at(payload, 0)) else {
            return Err(Fault::size("WINDOW_UPDATE is not 4 bytes"));
        };
        let increment = word & MAX_STREAM_ID;
        let id = head.stream;
        if id == 0 {
            return self.on_connection_update(increment);
        }
        let Some(key) = self.streams.find(id) else {
            if self.is_idle_id(id) {
                return Err(Fault::protocol("WINDOW_UPDATE on an idle stream"));
            }
            return Ok(());
        };
        let Some(stream) = self.streams.get_mut(key).filter(|stream| !stream.is_closed()) else {
            return Ok(());
        };
        if increment == 0 {
            return Err(Fault::Stream(id, Reason::PROTOCOL_ERROR, "WINDOW_UPDATE of 0"));
        }
        if stream.send_window.increase(increment) == Err(Overflow) {
            return Err(Fault::Stream(id, Reason::FLOW_CONTROL_ERROR, "stream window above 2^31-1"));
        }
        self.note_credit(key, increment);
        self.on_room(key);
        Ok(())
    }

    fn on_connection_update(&mut self, increment: u32) -> Found {
        if increment == 0 {
            return Err(Fault::protocol("WINDOW_UPDATE of 0 on the connection"));
        }
        let was_closed = self.send_window.available() == 0;
        if self.send_window.increase(increment) == Err(Overflow) {
            return Err(Fault::Connection(Reason::FLOW_CONTROL_ERROR, "connection window above 2^31-1"));
        }
        self.note_connection_credit(increment);
        if was_closed {
            self.wake_writers();
        }
        Ok(())
    }

    pub(super) fn on_rst_stream(&mut self, head: Head, payload: &[u8]) -> Found {
        let id = head.stream;
        if id == 0 {
            return Err(Fault::protocol("RST_STREAM on stream 0"));
        }
        let (4, Some(code)) = (payload.len(), u32_at(payload, 0)) else {
            return Err(Fault::size("RST_STREAM is not 4 bytes"));
        };
        let Some(key) = self.streams.find(id) else {
            if self.is_idle_id(id) {
                return Err(Fault::protocol("RST_STREAM on an idle stream"));
            }
            return Ok(());
        };
        if self.streams.get(key).is_none_or(Stream::is_closed) {
            return Ok(());
        }
        self.endings.note(id, Ending::PeerReset);
        self.tally.resets_received = self.tally.resets_received.saturating_add(1);
        if self.role == Role::Server && !self.charge_reset() {
            return Err(Fault::Bound(Trip::ResetFlood));
        }
        self.bury(key, Reason(code), Remote::Yes);
        Ok(())
    }

    /// Deprecated and ignored, but it must be well formed (RFC 9113 §6.3).
    pub(super) fn on_priority(&mut self, head: Head, payload: &[u8]) -> Found {
        let id = head.stream;
        if id == 0 {
            return Err(Fault::protocol("PRIORITY on stream 0"));
        }
        // An idle stream must not be reset (RFC 9113 §6.4), so there the connection pays.
        let idle = self.is_idle_id(id);
        let fault =
            |code, text| if idle { Fault::Connection(code, text) } else { Fault::Stream(id, code, text) };
        let (5, Some(word)) = (payload.len(), u32_at(payload, 0)) else {
            return Err(fault(Reason::FRAME_SIZE_ERROR, "PRIORITY is not 5 bytes"));
        };
        // Who says that it has no use for these signals has them ignored (RFC 9218 §2.1).
        if word & MAX_STREAM_ID == id && !self.peer.no_rfc7540_priorities {
            return Err(fault(Reason::PROTOCOL_ERROR, "a stream depends on itself"));
        }
        self.charge_glitch()
    }

    /// A client must not send it (RFC 9113 §8.4), and a server must not send it to us: our SETTINGS say so.
    #[cold]
    pub(super) fn on_push_promise(&mut self) -> Fault {
        match self.role {
            Role::Server => Fault::protocol("a client sent PUSH_PROMISE"),
            Role::Client => Fault::protocol("PUSH_PROMISE although push is off"),
        }
    }
}
