//! The connection: its state, the loop over what came, and how it ends.
//!
//! Invariants: after `Phase::Dead` nothing is parsed any more; `Closed` is the last event and comes once. There is at most
//! one exchange, and no octet of an answer is taken for another request than the one under way.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;

use super::super::head::Bounds;
use super::super::input::Input;
use super::super::log::Log;
use super::super::refusal::Refusal;
use super::super::tally::Tally;
use super::exchange::{Exchange, Receiving, Sending};
use super::timeouts::Timers;
use crate::limits;
use crate::proto::h2::{
    COUNTS, CommandError, Config, ConnectionError, Event, FrameLog, Held, Output, Reason, Stats, StreamKey,
    Trip, Trips,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    Dead,
}

/// An event that waits for `poll_event`.
#[derive(Debug)]
pub(super) enum Notice {
    Writable(StreamKey),
    /// The response's content ends here.
    Ended(StreamKey),
    Trailers(StreamKey, HeaderMap),
    /// What was still to be sent is not wanted; the response has come whole.
    Stopped(StreamKey),
    /// There is room for another request.
    Room,
    Closed(Option<ConnectionError>),
}

/// One HTTP/1.1 connection of a client, as a machine without I/O. The module's page says how to drive it.
pub struct Client {
    pub(super) phase: Phase,
    pub(super) config: Arc<Config>,
    /// The latest time that we were told.
    pub(super) now: u64,
    /// The peer takes another request after the one under way.
    pub(super) persists: bool,
    /// It has answered in HTTP/1.0.
    pub(super) old: bool,
    /// None is sent any more, by our own wish.
    pub(super) going: bool,
    pub(super) input: Input,
    /// Octets in which the end of a head, or of trailers, was looked for in vain.
    pub(super) searched: usize,
    pub(super) output: Output,
    pub(super) exchange: Option<Exchange>,
    pub(super) notices: VecDeque<Notice>,
    pub(super) timers: Timers,
    /// Content of answers that are over, and not yet released.
    pub(super) late: usize,
    /// Somebody may wait for the output to be written before the next request.
    owes_room: bool,
    /// `wants_input` was false when events had run out.
    paused: bool,
    /// The request under way when the peer ended the connection without a word on it, though it had answered others.
    unanswered: Option<StreamKey>,
    end_told: bool,
    /// A tunnel was broken off.
    pub(super) breaks_off: bool,
    pub(super) spare: HeaderMap,
    pub(super) tally: Tally,
    pub(super) log: Option<Box<Log>>,
}

impl Client {
    /// Makes the client's end.
    pub fn new(config: impl Into<Arc<Config>>, now: u64) -> Client {
        Client {
            phase: Phase::Open,
            config: config.into(),
            now,
            persists: true,
            old: false,
            going: false,
            input: Input::new(0),
            searched: 0,
            output: Output::default(),
            exchange: None,
            notices: VecDeque::new(),
            timers: Timers::new(now),
            late: 0,
            owes_room: false,
            paused: false,
            unanswered: None,
            end_told: false,
            breaks_off: false,
            spare: HeaderMap::new(),
            tally: Tally::default(),
            log: None,
        }
    }

    /// Shows every head and every piece of content from now on to `log`.
    pub fn log_frames(&mut self, log: FrameLog) {
        self.log = Some(Log::new(log));
    }

    /// How many requests may be sent now: none or one.
    ///
    /// # Errors
    ///
    /// When there will never be room again.
    pub fn request_room(&self) -> Result<usize, CommandError> {
        if self.phase == Phase::Dead {
            return Err(CommandError::ConnectionClosed);
        }
        if self.going || !self.persists {
            return Err(CommandError::GoingAway);
        }
        // What a peer has answered and not taken it may never take.
        let free = self.exchange.is_none() && self.output.is_empty() && self.input.is_empty();
        Ok(usize::from(free && self.late < self.window()))
    }

    /// Hands received bytes over. Nothing is parsed yet; `poll_event` must be called until it returns `None`.
    pub fn receive(&mut self, input: Bytes) {
        if self.phase == Phase::Open && !input.is_empty() {
            self.input.push(input);
        }
    }

    /// Says that the peer will send nothing more. Call it when `poll_event` has returned `None`.
    pub fn receive_end(&mut self) {
        if self.phase == Phase::Dead {
            return;
        }
        self.note_unanswered();
        let Some(exchange) = &mut self.exchange else { return self.close(None) };
        let text = match exchange.receiving {
            Receiving::Close => {
                self.end_content();
                return self.close(None);
            }
            Receiving::Tunnel => {
                // Its other direction goes on.
                self.end_content();
                return self.settle();
            }
            // The answer is complete, and nobody reads what was still to be sent.
            Receiving::Ended => return self.close(None),
            Receiving::Head if exchange.answered || !self.input.is_empty() => "the peer closed inside a head",
            Receiving::Head => "the peer closed before it answered",
            Receiving::Length(_) | Receiving::Chunked(_) => "the peer closed inside a response",
        };
        self.close(Some(self.error(Reason::NO_ERROR, text, None)));
    }

    /// The next event; `None` when more bytes (or time, or room) are needed.
    pub fn poll_event(&mut self, now: u64) -> Option<Event> {
        self.now = now;
        loop {
            if let Some(notice) = self.notices.pop_front() {
                match self.tell(notice) {
                    None => continue,
                    event => return event,
                }
            }
            if self.phase == Phase::Dead {
                return None;
            }
            match self.read() {
                Ok(None) if self.notices.is_empty() => break,
                Ok(None) => {}
                Ok(event) => return event,
                Err(refusal) => self.fail(refusal),
            }
        }
        self.input.stash();
        self.paused = !self.wants_input();
        self.watch();
        None
    }

    fn tell(&mut self, notice: Notice) -> Option<Event> {
        match notice {
            Notice::Writable(stream) => self.find(stream).map(|_| Event::Writable { stream }),
            Notice::Ended(stream) => Some(Event::Data { stream, data: Bytes::new(), end: true }),
            Notice::Trailers(stream, trailers) => Some(Event::Trailers { stream, trailers }),
            // As of a stream of HTTP/2 that is reset behind a complete answer (RFC 9113 §8.1).
            Notice::Stopped(stream) => {
                Some(Event::Reset { stream, reason: Reason::NO_ERROR, remote: true, text: "" })
            }
            Notice::Room => None,
            Notice::Closed(error) => Some(Event::Closed { error }),
        }
    }

    fn read(&mut self) -> Result<Option<Event>, Refusal> {
        if self.input.is_empty() {
            return Ok(None);
        }
        match self.exchange.as_ref().map(|exchange| exchange.receiving) {
            // RFC 9112 §6.3: more than was asked for is no answer to anything.
            None | Some(Receiving::Ended) => Err(Refusal::bad("octets behind the end of the answer")),
            Some(Receiving::Head) => self.read_head(),
            Some(_) => self.read_content(),
        }
    }

    pub(super) fn bounds(&self) -> Bounds {
        let line = self.config.fields.block_bytes;
        Bounds { line, fields: self.config.fields, content: u64::MAX, secure: false }
    }

    /// What may lie unread of one answer, and of those before it together.
    pub(super) fn window(&self) -> usize {
        self.config.stream_window as usize
    }

    pub(super) fn find(&mut self, stream: StreamKey) -> Option<&mut Exchange> {
        self.exchange.as_mut().filter(|exchange| exchange.key() == stream)
    }

    pub(super) fn error(&self, reason: Reason, text: &'static str, trip: Option<Trip>) -> ConnectionError {
        ConnectionError { reason, frame: None, stream: 0, offset: self.input.offset(), text, trip }
    }

    /// Content that lasts as long as the peer sends is over.
    pub(super) fn end_content(&mut self) {
        let Some(exchange) = &mut self.exchange else { return };
        exchange.receiving = Receiving::Ended;
        self.notices.push_back(Notice::Ended(exchange.key()));
    }

    /// What becomes of the exchange, now that one of its directions has ended or the application has let go.
    pub(super) fn settle(&mut self) {
        let Some(exchange) = &mut self.exchange else { return };
        if exchange.receiving != Receiving::Ended {
            return;
        }
        if exchange.sending == Sending::Stopped {
            exchange.sending = Sending::Ended;
            self.notices.push_back(Notice::Stopped(exchange.key()));
        }
        let (over, tunnel, held) = (exchange.is_over(), exchange.tunnel, exchange.held);
        if tunnel {
            if over {
                self.close(None);
            }
            return;
        }
        if !self.persists {
            // RFC 9112 §9.6: also when the request is not complete, since the peer reads no more of it.
            return self.close(None);
        }
        if !over || held {
            return;
        }
        self.exchange = None;
        if self.going {
            return self.close(None);
        }
        self.owes_room = !self.output.is_empty();
        self.timers.clocks.idle();
    }

    /// Ends the connection for what the peer did.
    #[cold]
    pub(super) fn fail(&mut self, refusal: Refusal) {
        if let Some(log) = &mut self.log {
            log.refused(self.tally.requests, self.input.bytes());
        }
        if let Some(trip) = refusal.trip {
            self.tally.trip(trip);
        }
        let reason = refusal.trip.map_or(Reason::PROTOCOL_ERROR, Trip::reason);
        self.close(Some(self.error(reason, refusal.text, refusal.trip)));
    }

    /// The end: the exchange is gone. Only what goes through a tunnel is still written: a part of a request is of no use,
    /// and behind an answer nobody waits for the rest.
    pub(super) fn close(&mut self, error: Option<ConnectionError>) {
        if self.exchange.as_ref().is_none_or(|exchange| !exchange.tunnel) {
            self.output.clear();
        }
        self.kill();
        self.notices.push_back(Notice::Closed(error));
    }

    fn kill(&mut self) {
        self.phase = Phase::Dead;
        self.input.clear();
        self.exchange = None;
        self.spare = HeaderMap::new();
        self.timers.stop();
    }

    /// Goes away in good order: when the request under way is answered, or now.
    pub fn shutdown(&mut self) {
        if self.phase == Phase::Dead || self.going {
            return;
        }
        self.going = true;
        if self.exchange.is_none() {
            self.close(None);
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
        if self.phase == Phase::Open {
            self.note_unanswered();
        }
        self.kill();
        self.notices.clear();
        self.output.clear();
    }

    /// The peer has gone: notes what it has said nothing about.
    fn note_unanswered(&mut self) {
        let silent = |it: &&Exchange| it.number > 1 && !it.answered;
        let exchange = self.exchange.as_ref().filter(|_| self.input.is_empty()).filter(silent);
        self.unanswered = exchange.map(Exchange::key);
    }

    /// Whether the peer ended the connection when it had answered others, and had said nothing about this request. A
    /// connection without requests may be closed at any time, also when one is on its way (RFC 9112 §9.3.1).
    pub fn was_unanswered(&self, stream: StreamKey) -> bool {
        self.unanswered == Some(stream)
    }

    /// Whether the connection is over: once the output is written the socket can be closed.
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Dead
    }

    /// Whether the socket must be reset, so that nobody takes what went through a tunnel for whole.
    pub(crate) fn breaks_off(&self) -> bool {
        self.breaks_off
    }

    /// Bytes that wait to be written.
    pub(crate) fn output_left(&self) -> usize {
        self.output.len()
    }

    pub(crate) fn config(&self) -> Arc<Config> {
        self.config.clone()
    }

    /// Our direction of a tunnel is over, and the peer must read an end.
    fn owes_end(&self) -> bool {
        let ended = |it: &Exchange| it.tunnel && it.sending == Sending::Ended;
        !self.end_told && self.exchange.as_ref().is_some_and(ended)
    }

    /// Whether the socket's sending direction is to be ended now; said once.
    pub(crate) fn takes_end(&mut self) -> bool {
        let takes = self.output.is_empty() && self.owes_end();
        self.end_told |= takes;
        takes
    }

    /// Requests under way: none or one.
    pub fn open_streams(&self) -> usize {
        usize::from(self.exchange.is_some())
    }

    /// Whether `poll_event` has something to do without new bytes.
    pub fn has_events(&self) -> bool {
        !self.notices.is_empty() || (self.phase == Phase::Open && self.paused && self.wants_input())
    }

    /// Whether reading makes sense: not while the application leaves content lying.
    pub fn wants_input(&self) -> bool {
        let full = |it: &Exchange| it.unreleased >= self.window();
        self.phase == Phase::Open && !self.exchange.as_ref().is_some_and(full)
    }

    /// The request's number on its connection.
    pub fn stream_id(&self, stream: StreamKey) -> Option<u32> {
        self.exchange.as_ref().filter(|it| it.key() == stream).map(|it| it.number)
    }

    /// Gives the memory of a header map back for the next head.
    pub fn recycle(&mut self, mut headers: HeaderMap) {
        if self.spare.capacity() == 0 && self.phase == Phase::Open {
            headers.clear();
            self.spare = headers;
        }
    }

    /// Takes the output buffer's memory while nothing is to be written.
    pub fn take_buffer(&mut self) -> Option<Vec<u8>> {
        self.output.take_memory()
    }

    /// Lends a buffer for output; comes back at once when there is one.
    pub fn give_buffer(&mut self, buffer: Vec<u8>) -> Option<Vec<u8>> {
        self.output.give_memory(buffer)
    }

    /// Whether there is anything to write, an end included.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty() || self.owes_end()
    }

    /// Whether one slice holds all of it.
    pub fn output_is_one_piece(&self) -> bool {
        self.output.is_one_piece()
    }

    /// Fills `slices` for one vectored write; `transmitted` is due afterwards.
    pub fn poll_transmit<'a>(&'a mut self, now: u64, slices: &mut [IoSlice<'a>]) -> usize {
        self.now = now;
        self.timers.clocks.offer(&self.output, now);
        self.output.slices(slices)
    }

    /// Says how much of the output was written.
    pub fn transmitted(&mut self, n: usize) {
        let all = self.timers.clocks.transmitted(&mut self.output, n, self.now);
        if all && std::mem::take(&mut self.owes_room) {
            self.notices.push_back(Notice::Room);
        }
        let room = self.config.stream_queue_bytes.saturating_sub(self.output.len());
        let Some(exchange) = &mut self.exchange else { return };
        if exchange.wants_room && exchange.takes_content() && room >= self.config.stream_queue_bytes / 2 {
            exchange.wants_room = false;
            self.notices.push_back(Notice::Writable(exchange.key()));
        }
    }

    /// Says how many of the bytes that were written have not reached the socket: deadlines judge by what that has taken.
    pub fn held_below(&mut self, n: usize) {
        self.timers.clocks.held_below(&mut self.output, n, self.now);
    }

    /// All that was written.
    pub fn output_written(&self) -> u64 {
        self.output.end() - self.output.len() as u64
    }

    /// Where all that was made ends.
    pub fn output_end(&self) -> u64 {
        self.output.end()
    }

    /// What the connection has done so far. There are no frames.
    pub fn stats(&self) -> Stats {
        self.tally.stats(&self.input, &self.output, self.open_streams())
    }

    /// What the connection holds for its peer now.
    pub fn held(&self) -> Held {
        let (received, heads) =
            self.exchange.as_ref().map_or((0, 0), |exchange| (exchange.unreleased, exchange.list_bytes));
        let received = received + self.late + self.input.len();
        Held { received, output: self.output.len(), heads }
    }

    /// The same numbers in the order of HTTP/2's.
    pub(crate) fn counts(&self) -> [u32; COUNTS] {
        self.tally.counts(&self.input, &self.output, self.open_streams(), &self.held())
    }

    /// Changes whenever a cancelled request or a trip is counted.
    pub(crate) fn rare(&self) -> u32 {
        self.tally.rare()
    }

    /// Resets received and sent, and trips.
    pub(crate) fn rarities(&self) -> (u32, u32, Trips) {
        self.tally.rarities()
    }
}

const _: () = assert!(limits::H1_INTERIM_HEADS as usize >= limits::INTERIM_HEADS);
