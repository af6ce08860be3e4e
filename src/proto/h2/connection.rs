//! The connection: its state, the event loop over received frames, and how it ends.
//!
//! Invariants: after `Phase::Dead` nothing is parsed and nothing is framed any more; `Closed` is the last event
//! and comes once. A stream is in `ready` exactly when its `scheduled` says so.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request};

use super::abuse::Bucket;
use super::bandwidth::Bandwidth;
use super::config::Config;
use super::content::Run;
use super::error::{ConnectionError, Fault, Reason};
use super::event::Event;
use super::flow::{MAX_WINDOW, ReceiveWindow, SendWindow};
use super::frame::{ACK, Head, Kind, PREFACE};
use super::headers::Assembly;
use super::heads::KnownHead;
use super::hpack::{Decoder, Encoder};
use super::log::Log;
use super::output::{Output, Waiting};
use super::pace::Pace;
use super::ready::Ready;
use super::receive::Input;
use super::repeats::KnownRequest;
use super::settings::{self, INITIAL_WINDOW, MIN_FRAME_SIZE, PeerSettings};
use super::stats::Tally;
use super::stream::StreamKey;
use super::streams::{Endings, Streams};
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

/// What reading a frame comes to; its event is written where the caller wants it.
pub(super) type Found = Result<(), Fault>;

/// Who reset a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remote {
    Yes,
    /// We did, for this reason.
    No(&'static str),
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
    /// Made with the second response, and with the second request if it may come again.
    pub(super) known: Option<Box<KnownHead>>,
    pub(super) asked: Option<Box<KnownRequest>>,
    pub(super) streams: Streams,
    pub(super) endings: Endings,
    pub(super) output: Output,
    pub(super) ready: Ready,
    pub(super) notices: VecDeque<Notice>,
    pub(super) send_window: SendWindow,
    pub(super) receive_window: ReceiveWindow,
    /// Made when content first uses up half a window.
    pub(super) bandwidth: Option<Box<Bandwidth>>,
    /// Made when there is first something to watch.
    pub(super) pace: Option<Box<Pace>>,
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
    /// A head without fields, whose memory the next one may use.
    pub(super) spare: Option<Box<Request<()>>>,
    pub(super) tally: Tally,
    pub(super) log: Option<Box<Log>>,
    /// What becomes of what is no preface.
    pub(super) strangers: Strangers,
    /// It was HTTP/1.1 before; our SETTINGS were sent then.
    pub(super) upgraded: bool,
    /// The request that changed it, until it is told.
    pub(super) first: Option<(StreamKey, Box<Request<()>>)>,
}

const NO_PREFACE: &str = "this is not the HTTP/2 preface";

/// What becomes of a client that begins with something else than the preface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strangers {
    /// One that speaks HTTP/1 is reported as such.
    Named,
    /// All are reported, and `take_input` has what they say.
    #[cfg_attr(not(feature = "http1"), expect(dead_code, reason = "there is nobody to leave them to"))]
    Left,
    /// It was agreed on HTTP/2.
    Refused,
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

    /// Refuses anything but the preface: HTTP/2 was agreed on before a word of it was said (RFC 9113 §3.2).
    pub(crate) fn insist(&mut self) {
        self.strangers = Strangers::Refused;
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
            known: None,
            asked: None,
            streams: Streams::new(),
            endings: Endings::default(),
            output: Output::default(),
            ready: Ready::default(),
            notices: VecDeque::new(),
            send_window: SendWindow::new(INITIAL_WINDOW),
            receive_window: ReceiveWindow::new(INITIAL_WINDOW),
            bandwidth: None,
            pace: None,
            peer: PeerSettings::initial(),
            stream_window: config.stream_window.max(INITIAL_WINDOW),
            last_peer: 0,
            last_own: 0,
            acks: Acks::default(),
            resets: Bucket::new(config.reset_burst, now),
            glitches: Bucket::new(config.glitch_burst, now),
            timers: Timers::new(&config, now),
            spare: None,
            tally: Tally::default(),
            log: None,
            strangers: Strangers::Named,
            upgraded: false,
            first: None,
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
        if self.log.is_some() {
            self.log_received(&input);
        }
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
            trip: None,
        });
        self.close(error);
    }

    /// The next event; `None` when more bytes (or time, or room) are needed.
    #[inline]
    pub fn poll_event(&mut self, now: u64) -> Option<Event> {
        self.tell(now);
        // An event is large: it is written once, where the caller finds it.
        let mut out = None;
        loop {
            if !self.notices.is_empty() {
                self.poll_notice(&mut out);
                if out.is_some() {
                    return out;
                }
            }
            let found = match self.phase {
                Phase::Preface => self.read_preface(&mut out),
                Phase::FirstSettings | Phase::Open => self.read_frames(&mut out),
                Phase::Dead => return out,
            };
            if out.is_some() {
                return out;
            }
            match found {
                Ok(()) if self.notices.is_empty() => {
                    self.watch_partial();
                    return out;
                }
                Ok(()) => {}
                Err(fault) => self.on_fault(fault),
            }
        }
    }

    #[cold]
    fn poll_notice(&mut self, out: &mut Option<Event>) {
        while let Some(notice) = self.notices.pop_front() {
            let event = match notice {
                Notice::Writable(stream) if self.streams.get(stream).is_some_and(|s| s.held && !s.dead) => {
                    Event::Writable { stream }
                }
                Notice::Reset(stream, reason, remote) if self.streams.get(stream).is_some_and(|s| s.held) => {
                    let (remote, text) = match remote {
                        Remote::Yes => (true, ""),
                        Remote::No(text) => (false, text),
                    };
                    Event::Reset { stream, reason, remote, text }
                }
                Notice::Writable(_) | Notice::Reset(..) => continue,
                Notice::GoAway(last_stream, reason, debug) => Event::GoAway { last_stream, reason, debug },
                Notice::Closed(error) => Event::Closed { error },
            };
            *out = Some(event);
            return;
        }
    }

    /// Compares the preface, as far as it has come.
    #[cold]
    fn read_preface(&mut self, out: &mut Option<Event>) -> Found {
        if let Some((stream, request)) = self.first.take() {
            *out = Some(Event::Request { stream, request, end: true });
            return Ok(());
        }
        if !self.input.beginning().is_empty() {
            self.timers.preface_begun(self.now, &self.config);
        }
        let Some(bytes) = self.input.peek(PREFACE.len()) else {
            return self.sniff(out);
        };
        if bytes != PREFACE {
            return self.sniff(out);
        }
        self.input.skip(PREFACE.len());
        self.introduce();
        if self.going == Going::Announced {
            self.announce_end();
        }
        self.read_frames(out)
    }

    /// Says the first word, unless it has been said.
    fn introduce(&mut self) {
        self.phase = Phase::FirstSettings;
        if !self.upgraded {
            self.announce();
        }
    }

    /// The bytes so far may be the beginning of the preface, of an HTTP/1.x request, or of something else.
    fn sniff(&mut self, out: &mut Option<Event>) -> Found {
        // No more than may have been gathered from pieces: the pieces must not decide.
        let bytes = self.input.beginning();
        let bytes = &bytes[..bytes.len().min(PREFACE.len())];
        if PREFACE.starts_with(bytes) {
            return Ok(());
        }
        match self.strangers {
            Strangers::Refused => {
                // It has said that it reads frames: it is told in one.
                self.introduce();
                return Err(Fault::protocol(NO_PREFACE));
            }
            Strangers::Left => {
                let input = std::mem::take(&mut self.input);
                self.kill();
                self.input = input;
                *out = Some(Event::Http1);
                return Ok(());
            }
            Strangers::Named => {}
        }
        let token = bytes.iter().take_while(|byte| byte.is_ascii_uppercase() || **byte == b'-').count();
        match (token, bytes.get(token), bytes.get(token + 1)) {
            (_, None, _) if bytes.len() < PREFACE.len() => Ok(()),
            (1.., Some(b' '), None) if bytes.len() < PREFACE.len() => Ok(()),
            // A garbled preface is no HTTP/1.x request, although it looks like one of method PRI.
            (1.., Some(b' '), Some(b'!'..=b'~')) if !bytes.starts_with(b"PRI ") => {
                self.kill();
                *out = Some(Event::Http1);
                Ok(())
            }
            _ => Err(Fault::protocol(NO_PREFACE)),
        }
    }

    /// Sends our SETTINGS, and the connection window that goes with them.
    pub(super) fn announce(&mut self) {
        let payload = settings::announce(&self.config, self.role);
        self.write_frame(Kind::Settings, 0, 0, &payload);
        self.timers.settings_sent(self.now, &self.config);
        let extra = self.config.connection_window.min(MAX_WINDOW).saturating_sub(INITIAL_WINDOW);
        if let Some(increment) = self.receive_window.give_back(extra, 0).filter(|&n| n > 0) {
            self.write_frame(Kind::WindowUpdate, 0, 0, &increment.to_be_bytes());
        }
        if self.role == Role::Server && !(self.config.origins.is_empty() && self.config.alt_svc.is_empty()) {
            self.advise();
        }
    }

    /// Reads frames until one yields an event or the bytes are used up.
    #[inline]
    fn read_frames(&mut self, out: &mut Option<Event>) -> Found {
        loop {
            if self.run.is_some() {
                self.read_content(out);
                if out.is_some() || self.run.is_some() {
                    return Ok(());
                }
            }
            let Some(head) = self.input.head() else { return Ok(()) };
            self.current = Some(head);
            self.check_head(head)?;
            if head.kind == Kind::Data {
                if !self.begin_content(head)? {
                    return Ok(());
                }
                self.tally.frames_received += 1;
                continue;
            }
            let length = head.length as usize;
            let Some(taken) = self.input.take(length) else { return Ok(()) };
            self.tally.frames_received += 1;
            let found = self.on_frame(head, taken.payload(length), out);
            self.input.restore(taken, length);
            // What the frame brought about comes before the next frame.
            if found.is_err() || out.is_some() || !self.notices.is_empty() {
                return found;
            }
        }
    }

    /// What every frame must keep, before its payload is there.
    #[inline]
    fn check_head(&self, head: Head) -> Result<(), Fault> {
        if self.phase == Phase::FirstSettings && (head.kind != Kind::Settings || head.has(ACK)) {
            return Err(Fault::protocol(wrong_start(head)));
        }
        if head.length > self.config.max_frame_size.max(MIN_FRAME_SIZE) {
            return Err(Fault::size("frame above MAX_FRAME_SIZE"));
        }
        if let Some(assembly) = &self.assembly {
            if head.kind != Kind::Continuation || head.stream != assembly.opening.stream {
                return Err(Fault::protocol("a frame inside a header block"));
            }
        }
        Ok(())
    }

    #[inline]
    fn on_frame(&mut self, head: Head, payload: &[u8], out: &mut Option<Event>) -> Found {
        match head.kind {
            Kind::Headers => self.on_headers(head, payload, out),
            Kind::Continuation => self.on_continuation(head, payload, out),
            Kind::WindowUpdate => self.on_window_update(head, payload),
            Kind::RstStream => self.on_rst_stream(head, payload),
            Kind::Settings => self.on_settings(head, payload),
            Kind::Ping => self.on_ping(head, payload, out),
            Kind::GoAway => self.on_goaway(head, payload),
            Kind::Priority => self.on_priority(head, payload),
            Kind::PushPromise => Err(self.on_push_promise()),
            Kind::PriorityUpdate => self.on_priority_update(head, payload),
            Kind::Data => Err(Fault::protocol("DATA is read elsewhere")),
            Kind::AltSvc => self.on_alt_svc(head, payload, out),
            Kind::Origin => self.on_origin(head, payload, out),
            Kind::Unknown(_) => Ok(()),
        }
    }

    #[inline]
    pub(super) fn write_frame(&mut self, kind: Kind, flags: u8, stream: u32, payload: &[u8]) {
        self.output.frame(Head { length: payload.len() as u32, kind, flags, stream }, payload);
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

    /// Gives the memory of a header map back for the next head, if that waits for one: an answered request costs no
    /// allocation then.
    #[inline]
    pub fn recycle(&mut self, mut headers: HeaderMap) {
        let Some(spare) = self.spare.as_mut().map(|spare| spare.headers_mut()) else { return };
        if spare.capacity() == 0 {
            headers.clear();
            *spare = headers;
        }
    }

    /// Gives the memory of a request's head back for the next one, whatever is still in it.
    #[inline]
    pub fn recycle_head(&mut self, mut head: Box<Request<()>>) {
        if self.spare.is_none() && self.phase != Phase::Dead {
            if !head.headers().is_empty() {
                head.headers_mut().clear();
            }
            head.extensions_mut().clear();
            self.spare = Some(head);
        }
    }

    /// Takes the memory that waits for the next head: a worker lends it to whichever connection is at work, by
    /// `recycle_head`.
    #[inline]
    pub fn take_head(&mut self) -> Option<Box<Request<()>>> {
        self.spare.take()
    }

    /// Takes the output buffer's memory while nothing is to be written: a worker lends one buffer to whichever
    /// connection is at work.
    pub fn take_buffer(&mut self) -> Option<Vec<u8>> {
        self.output.take_memory()
    }

    /// Gives back what an idle connection does not need; it is made again with the next request. Happens by
    /// itself when a connection has had no stream for a while.
    pub fn trim(&mut self) {
        self.input.shrink();
        self.known = None;
        self.asked = None;
        self.spare = None;
        self.encoder.rest();
        if self.notices.is_empty() {
            self.notices = VecDeque::new();
        }
        self.ready.shrink();
        if self.pace.as_ref().is_some_and(|pace| pace.is_idle()) {
            self.pace = None;
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

/// What is wrong with a first frame that is not SETTINGS. A server that does not know the preface answers in its own
/// language; read as a frame's head, `HTTP/1.1 400` is this.
#[cold]
fn wrong_start(head: Head) -> &'static str {
    let http1 = head.encode().starts_with(b"HTTP/");
    if http1 { "the peer speaks HTTP/1.x" } else { "the first frame is not SETTINGS" }
}
