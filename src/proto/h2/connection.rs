//! The connection: its state, the event loop over received frames, and how it ends.
//!
//! Invariants: after `Phase::Dead` nothing is parsed and nothing is framed any more; `Closed` is the last event
//! and comes once. A stream is in `ready` exactly when its `scheduled` says so.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;

use super::abuse::Bucket;
use super::config::Config;
use super::content::Run;
use super::error::{ConnectionError, Fault, Reason};
use super::event::Event;
use super::flow::{ReceiveWindow, SendWindow};
use super::frame::{ACK, Head, Kind, PREFACE};
use super::headers::Assembly;
use super::hpack::{Decoder, Encoder};
use super::output::{Output, Waiting};
use super::receive::Input;
use super::settings::{self, INITIAL_WINDOW, MIN_FRAME_SIZE, PeerSettings};
use super::stream::{Room, StreamKey};
use super::streams::{Ending, Endings, Streams};
use super::timeouts::Timers;

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Opens streams.
    Client,
    /// Answers them.
    Server,
}

/// How far the connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The client's preface is awaited (server).
    Preface,
    /// The peer's first frame must be SETTINGS.
    FirstSettings,
    Open,
    Dead,
}

/// How far our own going away has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Going {
    No,
    /// GOAWAY with the largest id is out, and a PING to learn when the peer has read it.
    Announced,
    /// The final GOAWAY is out: streams above the id are ignored.
    Final(u32),
}

/// An event that waits for `poll_event`.
#[derive(Debug)]
pub(super) enum Notice {
    Writable(StreamKey),
    Reset(StreamKey, Reason, Remote),
    GoAway(u32, Reason, Bytes),
    Closed(Option<ConnectionError>),
}

/// Who reset a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remote {
    Yes,
    No,
}

/// One HTTP/2 connection, as a machine without I/O. The module's page says how to drive it.
pub struct Connection {
    pub(super) role: Role,
    pub(super) phase: Phase,
    pub(super) going: Going,
    /// The last of our streams that the peer will process, once it said GOAWAY.
    pub(super) peer_last: Option<u32>,
    pub(super) config: Arc<Config>,
    /// The latest time that we were told.
    pub(super) now: u64,
    pub(super) input: Input,
    /// The frame being read, for error texts.
    pub(super) current: Option<Head>,
    pub(super) assembly: Option<Box<Assembly>>,
    pub(super) run: Option<Run>,
    pub(super) decoder: Decoder,
    pub(super) encoder: Encoder,
    pub(super) streams: Streams,
    pub(super) endings: Endings,
    pub(super) output: Output,
    pub(super) ready: VecDeque<StreamKey>,
    pub(super) notices: VecDeque<Notice>,
    pub(super) send_window: SendWindow,
    pub(super) receive_window: ReceiveWindow,
    pub(super) peer: PeerSettings,
    /// Receive window of a new stream: never below what the peer may still believe.
    pub(super) stream_window: u32,
    /// Latest stream that the peer opened, and that we opened.
    pub(super) last_peer: u32,
    pub(super) last_own: u32,
    pub(super) acks: Acks,
    pub(super) resets: Bucket,
    pub(super) glitches: Bucket,
    pub(super) timers: Timers,
    /// A map whose memory the next head may use.
    pub(super) spare: Option<HeaderMap>,
}

/// Acknowledgements on their way, in both directions.
#[derive(Debug, Default)]
pub(super) struct Acks {
    /// Of the peer's PING and SETTINGS, in the output.
    pub(super) pings: Waiting,
    pub(super) settings: Waiting,
    /// Our own PINGs that have not come back.
    pub(super) pings_out: u32,
}

impl Connection {
    /// Makes the server's end; nothing is sent before the client's preface is there.
    pub fn server(config: impl Into<Arc<Config>>, now: u64) -> Connection {
        Connection::new(Role::Server, config.into(), now)
    }

    /// Makes the client's end, with preface and SETTINGS ready to be sent.
    pub fn client(config: impl Into<Arc<Config>>, now: u64) -> Connection {
        let mut connection = Connection::new(Role::Client, config.into(), now);
        connection.output.copy(PREFACE);
        connection.announce();
        connection
    }

    fn new(role: Role, config: Arc<Config>, now: u64) -> Connection {
        Connection {
            role,
            phase: match role {
                Role::Server => Phase::Preface,
                Role::Client => Phase::FirstSettings,
            },
            going: Going::No,
            peer_last: None,
            now,
            input: Input::default(),
            current: None,
            assembly: None,
            run: None,
            decoder: Decoder::new(settings::HEADER_TABLE as usize),
            encoder: Encoder::new(),
            streams: Streams::new(),
            endings: Endings::default(),
            output: Output::default(),
            ready: VecDeque::new(),
            notices: VecDeque::new(),
            send_window: SendWindow::new(INITIAL_WINDOW),
            receive_window: ReceiveWindow::new(INITIAL_WINDOW),
            peer: PeerSettings::initial(),
            stream_window: config.stream_window.max(INITIAL_WINDOW),
            last_peer: 0,
            last_own: 0,
            acks: Acks::default(),
            resets: Bucket::new(config.reset_burst, now),
            glitches: Bucket::new(config.glitch_burst, now),
            timers: Timers::new(&config, now),
            spare: None,
            config,
        }
    }

    /// Which end this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Hands received bytes over. Nothing is parsed yet; `poll_event` must be called until it returns `None`
    /// before more bytes are handed over (what is left otherwise is copied).
    #[inline]
    pub fn receive(&mut self, input: Bytes) {
        if self.phase != Phase::Dead && !input.is_empty() {
            self.input.push(input);
        }
    }

    /// Says that the peer will send nothing more. Call it when `poll_event` has returned `None`.
    pub fn receive_end(&mut self) {
        if self.phase == Phase::Dead {
            return;
        }
        let torn = self.input.is_partial() || self.assembly.is_some() || self.run.is_some();
        let error = (torn || self.streams.len() > 0).then_some(ConnectionError {
            reason: Reason::NO_ERROR,
            frame: None,
            stream: 0,
            offset: self.input.offset(),
            text: if torn { "the peer closed inside a frame" } else { "the peer closed with open streams" },
        });
        self.close(error);
    }

    /// The next event; `None` when more bytes (or time, or room) are needed.
    #[inline]
    pub fn poll_event(&mut self, now: u64) -> Option<Event> {
        self.tell(now);
        loop {
            if !self.notices.is_empty() {
                if let Some(event) = self.poll_notice() {
                    return Some(event);
                }
            }
            let step = match self.phase {
                Phase::Preface => self.read_preface(),
                Phase::FirstSettings | Phase::Open => self.read_frames(),
                Phase::Dead => return None,
            };
            match step {
                Ok(None) if self.notices.is_empty() => {
                    self.watch_partial();
                    return None;
                }
                Ok(None) => {}
                Ok(Some(event)) => return Some(event),
                Err(fault) => self.on_fault(fault),
            }
        }
    }

    fn poll_notice(&mut self) -> Option<Event> {
        while let Some(notice) = self.notices.pop_front() {
            match notice {
                Notice::Writable(stream) => {
                    if self.streams.get(stream).is_some_and(|s| s.held && !s.dead) {
                        return Some(Event::Writable { stream });
                    }
                }
                Notice::Reset(stream, reason, remote) => {
                    if self.streams.get(stream).is_some_and(|s| s.held) {
                        return Some(Event::Reset { stream, reason, remote: remote == Remote::Yes });
                    }
                }
                Notice::GoAway(last_stream, reason, debug) => {
                    return Some(Event::GoAway { last_stream, reason, debug });
                }
                Notice::Closed(error) => return Some(Event::Closed { error }),
            }
        }
        None
    }

    /// Compares the preface, as far as it has come.
    #[cold]
    fn read_preface(&mut self) -> Result<Option<Event>, Fault> {
        let Some(bytes) = self.input.peek(PREFACE.len()) else {
            return self.sniff();
        };
        if bytes != PREFACE {
            return self.sniff();
        }
        self.input.skip(PREFACE.len());
        self.phase = Phase::FirstSettings;
        self.announce();
        self.read_frames()
    }

    /// The bytes so far may be the beginning of the preface, of an HTTP/1.x request, or of something else.
    fn sniff(&mut self) -> Result<Option<Event>, Fault> {
        let bytes = self.input.beginning();
        if PREFACE.starts_with(bytes) {
            return Ok(None);
        }
        let token = bytes.iter().take_while(|byte| byte.is_ascii_uppercase() || **byte == b'-').count();
        match (token, bytes.get(token), bytes.get(token + 1)) {
            (_, None, _) if bytes.len() < PREFACE.len() => Ok(None),
            (1.., Some(b' '), None) if bytes.len() < PREFACE.len() => Ok(None),
            // A garbled preface is no HTTP/1.x request, although it looks like one of method PRI.
            (1.., Some(b' '), Some(b'!'..=b'~')) if !bytes.starts_with(b"PRI ") => {
                self.kill();
                Ok(Some(Event::Http1))
            }
            _ => Err(Fault::protocol("this is not the HTTP/2 preface")),
        }
    }

    /// Sends our SETTINGS, and the connection window that goes with them.
    fn announce(&mut self) {
        let payload = settings::announce(&self.config, self.role);
        self.write_frame(Kind::Settings, 0, 0, &payload);
        self.timers.settings_sent(self.now, &self.config);
        let extra = self.config.connection_window.saturating_sub(INITIAL_WINDOW);
        if let Some(increment) = self.receive_window.give_back(extra, 0).filter(|&n| n > 0) {
            self.write_frame(Kind::WindowUpdate, 0, 0, &increment.to_be_bytes());
        }
    }

    /// Reads frames until one yields an event or the bytes are used up.
    #[inline]
    fn read_frames(&mut self) -> Result<Option<Event>, Fault> {
        loop {
            if self.run.is_some() {
                match self.read_content() {
                    Some(event) => return Ok(Some(event)),
                    None if self.run.is_some() => return Ok(None),
                    None => {}
                }
            }
            let Some(head) = self.input.head() else { return Ok(None) };
            self.current = Some(head);
            self.check_head(head)?;
            if head.kind == Kind::Data {
                if !self.begin_content(head)? {
                    return Ok(None);
                }
                continue;
            }
            let length = head.length as usize;
            let Some(taken) = self.input.take(length) else { return Ok(None) };
            let result = self.on_frame(head, taken.payload(length));
            self.input.restore(taken, length);
            match result {
                // What the frame brought about comes before the next frame.
                Ok(None) if !self.notices.is_empty() => return Ok(None),
                Ok(None) => {}
                done => return done,
            }
        }
    }

    /// What every frame must keep, before its payload is there.
    #[inline]
    fn check_head(&self, head: Head) -> Result<(), Fault> {
        if head.length > self.config.max_frame_size.max(MIN_FRAME_SIZE) {
            return Err(Fault::size("frame above MAX_FRAME_SIZE"));
        }
        if self.phase == Phase::FirstSettings && (head.kind != Kind::Settings || head.has(ACK)) {
            return Err(Fault::protocol("the first frame is not SETTINGS"));
        }
        if let Some(assembly) = &self.assembly {
            if head.kind != Kind::Continuation || head.stream != assembly.opening.stream {
                return Err(Fault::protocol("a frame inside a header block"));
            }
        }
        Ok(())
    }

    #[inline]
    fn on_frame(&mut self, head: Head, payload: &[u8]) -> Result<Option<Event>, Fault> {
        match head.kind {
            Kind::Headers => self.on_headers(head, payload),
            Kind::Continuation => self.on_continuation(head, payload),
            Kind::WindowUpdate => self.on_window_update(head, payload).map(|()| None),
            Kind::RstStream => self.on_rst_stream(head, payload),
            Kind::Settings => self.on_settings(head, payload).map(|()| None),
            Kind::Ping => self.on_ping(head, payload),
            Kind::GoAway => self.on_goaway(head, payload).map(|()| None),
            Kind::Priority => self.on_priority(head, payload).map(|()| None),
            Kind::PushPromise => Err(self.on_push_promise()),
            Kind::Data => Err(Fault::protocol("DATA is read elsewhere")),
            Kind::Unknown(_) => Ok(None),
        }
    }

    #[inline]
    pub(super) fn write_frame(&mut self, kind: Kind, flags: u8, stream: u32, payload: &[u8]) {
        self.output.frame(Head { length: payload.len() as u32, kind, flags, stream }, payload);
    }

    /// Ends a stream or the connection for what a frame did.
    #[cold]
    fn on_fault(&mut self, fault: Fault) {
        match fault {
            Fault::Connection(reason, text) => self.fail(reason, text),
            Fault::Stream(id, reason, _) => {
                if self.role == Role::Server && !self.charge_reset() {
                    return self.fail(Reason::ENHANCE_YOUR_CALM, "too many streams died early");
                }
                let found = self.streams.find(id);
                // One RST_STREAM is enough, unless the stream died by the peer's (RFC 9113 §5.1).
                if self.endings.of(id) != Ending::OwnReset {
                    self.write_frame(Kind::RstStream, 0, id, &reason.0.to_be_bytes());
                }
                self.endings.note(id, Ending::OwnReset);
                if let Some(key) = found {
                    self.bury(key, reason, Remote::No);
                }
            }
        }
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
        Err(Fault::Connection(Reason::ENHANCE_YOUR_CALM, "too many useless frames"))
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
            queue.clear();
        }
        if std::mem::take(&mut stream.scheduled) {
            self.ready.retain(|&other| other != key);
        }
        if stream.held {
            self.notices.push_back(Notice::Reset(key, reason, remote));
        } else {
            self.retire(key);
        }
    }

    /// Gives the slot back when both the protocol and the application are through with the stream.
    #[inline]
    pub(super) fn retire(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get(key) else { return };
        if stream.held || !stream.is_closed() {
            return;
        }
        let unreleased = stream.unreleased;
        if stream.scheduled {
            self.ready.retain(|&other| other != key);
        }
        self.streams.remove(key);
        if unreleased > 0 {
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
            self.close(None);
        }
    }

    /// Gives connection window back.
    #[inline]
    pub(super) fn give_back(&mut self, n: u32) {
        if self.phase == Phase::Dead {
            return;
        }
        let size = self.config.connection_window.max(INITIAL_WINDOW);
        if let Some(increment) = self.receive_window.give_back(n, size) {
            self.write_frame(Kind::WindowUpdate, 0, 0, &increment.to_be_bytes());
        }
    }

    /// Ends the connection for a violation: GOAWAY with the reason in words, then nothing more.
    #[cold]
    pub(super) fn fail(&mut self, reason: Reason, text: &'static str) {
        let head = self.current;
        let error = ConnectionError {
            reason,
            frame: head.map(|head| head.kind),
            stream: head.map_or(0, |head| head.stream),
            offset: self.input.offset(),
            text,
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

    fn kill(&mut self) {
        self.phase = Phase::Dead;
        self.input.clear();
        self.assembly = None;
        self.run = None;
        self.streams = Streams::new();
        self.endings = Endings::default();
        self.ready = VecDeque::new();
        // What the peer said when it left is still news.
        self.notices.retain(|notice| matches!(notice, Notice::GoAway(..)));
        self.spare = None;
        self.timers.stop();
    }

    /// Whether the connection is over: once the output is written the socket can be closed.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Dead
    }

    /// Streams that count: open ones, and those whose handler has not finished.
    pub fn open_streams(&self) -> usize {
        self.streams.len() as usize
    }

    /// Whether there is neither a stream nor anything to write, nor half a frame read.
    pub fn is_idle(&self) -> bool {
        self.streams.len() == 0
            && self.output.is_empty()
            && !self.input.has_block()
            && !self.input.is_partial()
    }

    /// Whether reading makes sense: not while the peer leaves too much unread (twice `output_bytes`).
    pub fn wants_input(&self) -> bool {
        self.phase != Phase::Dead && self.output.len() < self.config.output_bytes.saturating_mul(2)
    }

    /// The stream's id on the wire.
    pub fn stream_id(&self, stream: StreamKey) -> Option<u32> {
        self.streams.get(stream).map(|stream| stream.id)
    }

    /// Gives the memory of a header map back for the next head: an answered request costs no allocation then.
    #[inline]
    pub fn recycle(&mut self, mut headers: HeaderMap) {
        if self.spare.is_none() && self.phase != Phase::Dead {
            headers.clear();
            self.spare = Some(headers);
        }
    }

    /// Takes the output buffer's memory while nothing is to be written: a worker lends one buffer to whichever
    /// connection is at work.
    pub fn take_buffer(&mut self) -> Option<Vec<u8>> {
        self.output.take_memory()
    }

    /// Gives back what an idle connection does not need; it is made again with the next request.
    pub fn trim(&mut self) {
        self.input.shrink();
        self.spare = None;
        if self.notices.is_empty() {
            self.notices = VecDeque::new();
        }
        if self.ready.is_empty() {
            self.ready = VecDeque::new();
        }
        self.streams.shrink();
        self.acks.pings.shrink();
        self.acks.settings.shrink();
    }

    /// Lends a buffer for output; comes back at once when there is one.
    #[inline]
    pub fn give_buffer(&mut self, buffer: Vec<u8>) -> Option<Vec<u8>> {
        self.output.give_memory(buffer)
    }
}
