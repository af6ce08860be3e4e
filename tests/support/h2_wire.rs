//! Frames by hand, and a core with a wire that remembers what was sent.
#![expect(dead_code, reason = "every test file uses its own part of this")]

#[path = "octets.rs"]
mod octets;

use std::io::IoSlice;

use bytes::Bytes;
use wakering::internals::h2::{Config, Connection, Event, StreamKey};

pub(crate) use self::octets::*;

pub(crate) const PADDED: u8 = 8;
pub(crate) const WITH_PRIORITY: u8 = 0x20;

/// A request for `http://a/` without content.
pub(crate) const GET: u8 = END_STREAM | END_HEADERS;

impl Frame {
    pub(crate) fn word(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("four bytes"))
    }
}

pub(crate) fn rst_stream(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

pub(crate) const PSEUDO: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")];

/// A request's block: the four pseudo fields with this method, then these.
pub(crate) fn request_block(method: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut list = PSEUDO.to_vec();
    list[0].1 = method;
    list.extend_from_slice(more);
    fields(&list)
}

pub(crate) fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, GET, stream, &request_block("GET", &[]))
}

/// A request whose content follows.
pub(crate) fn post(stream: u32, more: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &request_block("POST", more))
}

/// A core, the time it is told, what it reported and what it sent.
pub(crate) struct Wire {
    pub(crate) core: Connection,
    pub(crate) now: u64,
    pub(crate) events: Vec<Event>,
    pub(crate) sent: Vec<Frame>,
    raw: Vec<u8>,
}

impl Wire {
    /// A server whose client has sent preface and empty SETTINGS, and acknowledged ours.
    pub(crate) fn server(config: Config) -> Wire {
        let mut wire = Wire::new(Connection::server(config, 0));
        wire.feed(&[PREFACE, &settings(&[]), &frame(SETTINGS, ACK, 0, &[])].concat());
        assert!(wire.events.is_empty());
        wire.sent.clear();
        wire
    }

    /// A client whose server has sent empty SETTINGS and acknowledged ours.
    pub(crate) fn client(config: Config) -> Wire {
        let mut wire = Wire::new(Connection::client(config, 0));
        wire.flush();
        wire.feed(&[settings(&[]), frame(SETTINGS, ACK, 0, &[])].concat());
        wire.sent.clear();
        wire
    }

    pub(crate) fn new(core: Connection) -> Wire {
        Wire { core, now: 0, events: Vec::new(), sent: Vec::new(), raw: Vec::new() }
    }

    /// One turn: bytes in, events, bytes out.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.core.receive(Bytes::copy_from_slice(bytes));
        self.turn();
    }

    pub(crate) fn turn(&mut self) {
        loop {
            while let Some(event) = self.core.poll_event(self.now) {
                self.events.push(event);
            }
            self.flush();
            if !self.core.has_events() {
                return;
            }
        }
    }

    pub(crate) fn flush(&mut self) {
        while self.core.has_output() {
            let mut slices = [IoSlice::new(&[]); 64];
            let used = self.core.poll_transmit(self.now, &mut slices);
            let bytes: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
            assert!(!bytes.is_empty(), "has_output() promised some");
            self.core.transmitted(bytes.len());
            self.raw.extend_from_slice(&bytes);
        }
        if self.raw.starts_with(PREFACE) {
            self.raw.drain(..PREFACE.len());
        }
        while self.raw.len() >= 9 {
            let length = u32::from_be_bytes([0, self.raw[0], self.raw[1], self.raw[2]]) as usize;
            if self.raw.len() < 9 + length {
                break;
            }
            let rest = self.raw.split_off(9 + length);
            let bytes = std::mem::replace(&mut self.raw, rest);
            self.sent.push(Frame {
                kind: bytes[3],
                flags: bytes[4],
                stream: u32::from_be_bytes(bytes[5..9].try_into().expect("four bytes")),
                payload: bytes[9..].to_vec(),
            });
        }
    }

    /// Frames of one type that were sent.
    pub(crate) fn sent_of(&self, kind: u8) -> Vec<&Frame> {
        self.sent.iter().filter(|frame| frame.kind == kind).collect()
    }

    /// The stream of the latest request.
    pub(crate) fn stream(&self) -> StreamKey {
        self.events
            .iter()
            .rev()
            .find_map(|event| match event {
                Event::Request { stream, .. } => Some(*stream),
                _ => None,
            })
            .expect("a request")
    }

    /// How the connection was ended, if it was: the code in GOAWAY.
    pub(crate) fn goaway(&self) -> Option<u32> {
        self.sent_of(GOAWAY).last().map(|frame| frame.word(4))
    }

    /// Streams that were reset, and why.
    pub(crate) fn resets(&self) -> Vec<(u32, u32)> {
        self.sent_of(RST_STREAM).iter().map(|frame| (frame.stream, frame.word(0))).collect()
    }
}
