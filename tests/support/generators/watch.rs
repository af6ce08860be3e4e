//! An observer on the wire: it reads what a core received and what it sent, and knows what may be sent.
//!
//! What was received is only an upper bound of what the core has read, so all that is checked here holds whenever
//! the core reads it.

use std::collections::{BTreeMap, VecDeque};
use std::env;
use std::sync::OnceLock;

use wakering::internals::h2::Role;
use wakering::internals::hpack::{Decoder, Field, FieldLimits};

pub(crate) use super::octets::*;

const MAX_WINDOW: i64 = (1 << 31) - 1;
const ROOMY: FieldLimits =
    FieldLimits { fields: 1 << 20, cookie_crumbs: 1 << 20, list_bytes: 1 << 30, block_bytes: 1 << 24 };

/// Tells what goes on, when `WAKERING_FUZZ_TRACE` is set.
pub(crate) fn trace(text: impl FnOnce() -> String) {
    static ON: OnceLock<bool> = OnceLock::new();
    if *ON.get_or_init(|| env::var_os("WAKERING_FUZZ_TRACE").is_some()) {
        eprintln!("{}", text());
    }
}

impl Frame {
    fn word(&self, at: usize) -> Option<u32> {
        Some(u32::from_be_bytes(self.payload.get(at..at + 4)?.try_into().ok()?))
    }
}

/// Cuts a byte stream into frames.
#[derive(Debug, Default)]
pub(crate) struct Cutter {
    preface: bool,
    buffer: Vec<u8>,
}

impl Cutter {
    pub(crate) fn new(preface: bool) -> Cutter {
        Cutter { preface, buffer: Vec::new() }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Frame> {
        self.buffer.extend_from_slice(bytes);
        let mut at = 0;
        if self.preface {
            if self.buffer.len() < PREFACE.len() {
                return Vec::new();
            }
            self.preface = false;
            at = PREFACE.len();
        }
        let mut frames = Vec::new();
        while let Some(head) = self.buffer.get(at..at + 9) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let Some(payload) = self.buffer.get(at + 9..at + 9 + length) else { break };
            frames.push(Frame {
                kind: head[3],
                flags: head[4],
                stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff,
                payload: payload.to_vec(),
            });
            at += 9 + length;
        }
        self.buffer.drain(..at);
        frames
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

/// How far a direction of a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Nothing,
    Head,
    End,
    Reset,
}

#[derive(Debug)]
struct Half {
    sent: Sent,
    data: i64,
    credit: i64,
    /// Of HEAD and CONNECT nothing is checked that depends on the method.
    heads: u32,
}

/// Watches one end of a connection.
pub(crate) struct Watch {
    role: Role,
    input: Cutter,
    output: Cutter,
    streams: BTreeMap<u32, Half>,
    /// The peer's settings that are not acknowledged, by what they say of the table's size.
    tables: VecDeque<Vec<u32>>,
    decoder: Decoder,
    block: Option<(u32, u8, Vec<u8>)>,
    connection_data: i64,
    connection_credit: i64,
    /// Window that the watched end has given to its peer, less what came.
    given: i64,
    largest_initial: i64,
    largest_frame: usize,
    highest: u32,
    first: bool,
    over: bool,
    goaway: Option<u32>,
    /// All frames that were sent, in order, when they are to be kept.
    pub(crate) frames: Option<Vec<Frame>>,
}

impl Watch {
    pub(crate) fn new(role: Role) -> Watch {
        Watch {
            role,
            input: Cutter::new(role == Role::Server),
            output: Cutter::new(role == Role::Client),
            streams: BTreeMap::new(),
            tables: VecDeque::new(),
            decoder: Decoder::new(4096),
            block: None,
            connection_data: 0,
            connection_credit: 65_535,
            given: 65_535,
            largest_initial: 65_535,
            largest_frame: 16_384,
            highest: 0,
            first: true,
            over: false,
            goaway: None,
            frames: None,
        }
    }

    /// Bytes that the core is about to receive.
    pub(crate) fn received(&mut self, bytes: &[u8]) {
        for frame in self.input.push(bytes) {
            trace(|| format!("<- {frame:?}"));
            self.on_input(&frame);
        }
    }

    fn on_input(&mut self, frame: &Frame) {
        match frame.kind {
            HEADERS if self.role == Role::Server => self.highest = self.highest.max(frame.stream),
            DATA => self.given -= frame.payload.len() as i64,
            WINDOW_UPDATE => {
                let increment = i64::from(frame.word(0).unwrap_or(0) & 0x7fff_ffff);
                if frame.stream == 0 {
                    self.connection_credit += increment;
                } else {
                    self.half(frame.stream).credit += increment;
                }
            }
            SETTINGS if frame.flags & ACK == 0 => {
                let mut sizes = Vec::new();
                for entry in frame.payload.chunks_exact(6) {
                    let value = u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]);
                    match u16::from_be_bytes([entry[0], entry[1]]) {
                        1 => sizes.push(value),
                        4 => self.largest_initial = self.largest_initial.max(value.into()),
                        5 => self.largest_frame = self.largest_frame.max(value as usize),
                        _ => {}
                    }
                }
                self.tables.push_back(sizes);
            }
            _ => {}
        }
    }

    fn half(&mut self, stream: u32) -> &mut Half {
        self.streams.entry(stream).or_insert(Half { sent: Sent::Nothing, data: 0, credit: 0, heads: 0 })
    }

    /// Bytes that the core has sent.
    ///
    /// # Panics
    ///
    /// When an end that keeps the protocol could not have sent them.
    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        for frame in self.output.push(bytes) {
            trace(|| format!("-> {frame:?}"));
            self.on_output(&frame);
            if let Some(frames) = &mut self.frames {
                frames.push(frame);
            }
        }
    }

    /// Whether everything that was sent so far was whole frames.
    pub(crate) fn is_whole(&self) -> bool {
        self.output.is_empty()
    }

    fn on_output(&mut self, frame: &Frame) {
        assert!(!self.over, "a frame after GOAWAY with an error: {frame:?}");
        assert!(frame.payload.len() <= self.largest_frame, "a frame of {} bytes", frame.payload.len());
        if std::mem::take(&mut self.first) {
            assert!(frame.kind == SETTINGS && frame.flags & ACK == 0, "the first frame is {frame:?}");
        }
        if let Some((stream, ..)) = &self.block {
            assert!(
                frame.kind == CONTINUATION && frame.stream == *stream,
                "inside a header block: {frame:?}"
            );
        }
        match frame.kind {
            DATA => self.on_data(frame),
            HEADERS => {
                self.on_message(frame.stream);
                self.block = Some((frame.stream, frame.flags, Vec::new()));
                self.on_fragment(frame);
            }
            CONTINUATION => self.on_fragment(frame),
            RST_STREAM => {
                assert!(frame.payload.len() == 4 && frame.stream != 0, "{frame:?}");
                assert!(frame.stream <= self.highest || self.role == Role::Client, "idle: {frame:?}");
                // How streams ended that are long gone is forgotten.
                let known = self.highest - frame.stream.min(self.highest) < 4_096;
                let half = self.half(frame.stream);
                assert!(!known || half.sent != Sent::Reset, "a second RST_STREAM on stream {}", frame.stream);
                half.sent = Sent::Reset;
            }
            SETTINGS => self.on_own_settings(frame),
            PUSH_PROMISE | PRIORITY => panic!("never sent: {frame:?}"),
            PING => assert!(frame.payload.len() == 8 && frame.stream == 0, "{frame:?}"),
            GOAWAY => self.on_goaway(frame),
            WINDOW_UPDATE => self.on_own_update(frame),
            _ => {}
        }
    }

    /// HEADERS or DATA may be sent on this stream.
    fn on_message(&mut self, stream: u32) {
        assert!(stream % 2 == 1, "stream {stream} is no client's");
        match self.role {
            Role::Server => assert!(stream <= self.highest, "a server opens stream {stream}"),
            Role::Client => {
                let opens = !self.streams.get(&stream).is_some_and(|half| half.sent != Sent::Nothing);
                assert!(!opens || stream > self.highest, "stream {stream} is opened late");
                self.highest = self.highest.max(stream);
            }
        }
        let sent = self.half(stream).sent;
        assert!(matches!(sent, Sent::Nothing | Sent::Head), "stream {stream} goes on after {sent:?}");
    }

    fn on_data(&mut self, frame: &Frame) {
        self.on_message(frame.stream);
        let length = frame.payload.len() as i64;
        let initial = self.largest_initial;
        self.connection_data += length;
        assert!(self.connection_data <= self.connection_credit, "the connection's window is exceeded");
        let half = self.half(frame.stream);
        assert_eq!(half.sent, Sent::Head, "DATA before HEADERS on stream {}", frame.stream);
        half.data += length;
        assert!(half.data <= initial + half.credit, "the window of stream {} is exceeded", frame.stream);
        if frame.flags & END_STREAM != 0 {
            half.sent = Sent::End;
        }
    }

    fn on_fragment(&mut self, frame: &Frame) {
        let Some((stream, flags, mut block)) = self.block.take() else {
            panic!("CONTINUATION without HEADERS: {frame:?}");
        };
        block.extend_from_slice(&frame.payload);
        if frame.flags & END_HEADERS == 0 {
            self.block = Some((stream, flags, block));
            return;
        }
        let (mut status, mut method, mut path) = (None, false, false);
        let decoded = self.decoder.decode(&block, &ROOMY, |field: Field| match field {
            Field::Status(code) => status = Some(code),
            Field::Method(_) => method = true,
            Field::Authority(_) => path = true,
            Field::Malformed(defect) => panic!("sent {defect:?} on stream {stream}"),
            _ => {}
        });
        decoded.unwrap_or_else(|error| panic!("a block of ours is not legal: {error}"));
        let role = self.role;
        let half = self.half(stream);
        half.heads += 1;
        let end = flags & END_STREAM != 0;
        match (role, half.sent, status) {
            (Role::Client, Sent::Nothing, None) => assert!(method && path, "stream {stream}: no request"),
            (Role::Server, Sent::Nothing, Some(status)) if status.is_informational() => {
                assert!(!end, "an interim response that ends stream {stream}");
                return;
            }
            (Role::Server, Sent::Nothing, Some(_)) => {}
            (_, Sent::Head, None) => assert!(end && !method, "trailers without an end on stream {stream}"),
            (_, sent, status) => panic!("stream {stream}: a head ({status:?}) after {sent:?}"),
        }
        half.sent = if end { Sent::End } else { Sent::Head };
    }

    fn on_own_settings(&mut self, frame: &Frame) {
        assert!(frame.stream == 0 && frame.payload.len() % 6 == 0, "{frame:?}");
        if frame.flags & ACK != 0 {
            assert!(frame.payload.is_empty(), "{frame:?}");
            let sizes = self.tables.pop_front().expect("an acknowledgement has its SETTINGS");
            for size in sizes {
                self.decoder.set_max_table_size(size.min(4096) as usize);
            }
        }
    }

    fn on_own_update(&mut self, frame: &Frame) {
        let increment = i64::from(frame.word(0).unwrap_or(0));
        assert!(frame.payload.len() == 4 && (1..=MAX_WINDOW).contains(&increment), "{frame:?}");
        if frame.stream == 0 {
            self.given += increment;
            assert!(self.given <= MAX_WINDOW, "the connection's window passes 2^31-1");
        } else {
            assert!(frame.stream <= self.highest, "idle: {frame:?}");
            let sent = self.half(frame.stream).sent;
            assert_ne!(sent, Sent::Reset, "WINDOW_UPDATE after RST_STREAM on stream {}", frame.stream);
        }
    }

    fn on_goaway(&mut self, frame: &Frame) {
        let (Some(last), Some(code)) = (frame.word(0), frame.word(4)) else { panic!("{frame:?}") };
        assert_eq!(frame.stream, 0);
        assert!(self.goaway.is_none_or(|before| last <= before), "GOAWAY raises the last stream");
        self.goaway = Some(last);
        self.over = code != 0;
    }
}
