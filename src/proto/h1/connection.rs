//! The connection: its state, and the loop over what came.
//!
//! Invariants: after `Phase::Dead` nothing is parsed and nothing is sent any more; `Closed` is the last event and comes
//! once. There is at most one exchange; the octets behind its request wait in the input.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request};

use super::config::Http1;
use super::exchange::{Asked, Exchange, Receiving};
use super::framing::Framing;
use super::head::{Bounds, Facts};
use super::input::Input;
use super::log::Log;
use super::refusal::Refusal;
use super::repeats::Repeats;
use super::tally::Tally;
use super::timeouts::Timers;
use crate::limits;
use crate::proto::h2::{
    COUNTS, Config, ConnectionError, Direction, Event, Held, Output, Reason, Stats, StreamKey, Trip, Trips,
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
    /// The request's content ends: there was none, or no tunnel.
    Ended(StreamKey),
    Trailers(StreamKey, HeaderMap),
    Closed(Option<ConnectionError>),
}

/// A request that asks for HTTP/2.
#[derive(Debug)]
pub(crate) struct Upgrade {
    facts: Facts,
    pub(crate) request: Box<Request<()>>,
}

impl Upgrade {
    /// The settings that it brought along.
    pub(crate) fn settings(&self) -> &[u8] {
        self.facts.settings.as_deref().unwrap_or_default()
    }
}

/// One HTTP/1 connection of a server, as a machine without I/O. The module's page says how to drive it.
pub struct Connection {
    pub(super) phase: Phase,
    pub(super) config: Arc<Config>,
    pub(super) http1: Arc<Http1>,
    secure: bool,
    /// No request is taken after the one under way.
    pub(super) going: bool,
    /// The latest time that we were told.
    pub(super) now: u64,
    pub(super) input: Input,
    /// Octets in which the end of a head, or of trailers, was looked for in vain.
    pub(super) searched: usize,
    pub(super) output: Output,
    pub(super) exchange: Option<Exchange>,
    pub(super) upgrade: Option<Box<Upgrade>>,
    pub(super) repeats: Repeats,
    pub(super) notices: VecDeque<Notice>,
    pub(super) timers: Timers,
    /// Something lies in the input that could not be looked at yet.
    waiting: bool,
    /// `wants_input` was false when events had run out.
    paused: bool,
    /// The peer sends nothing more.
    pub(super) over: bool,
    /// The peer may still be sending what it was told to, and not have read our answer.
    pub(super) hears_out: bool,
    /// The end of the connection would pass for that of an answer which was broken off.
    pub(super) breaks_off: bool,
    pub(super) spare: Option<Box<Request<()>>>,
    pub(super) end_told: bool,
    /// The current date, for answers of our own.
    pub(super) date: Option<HeaderValue>,
    date_stale_at: u64,
    pub(super) tally: Tally,
    pub(super) log: Option<Box<Log>>,
}

impl Connection {
    /// Makes the server's end. `secure`: the bytes come over TLS.
    pub fn server(
        config: impl Into<Arc<Config>>,
        http1: impl Into<Arc<Http1>>,
        secure: bool,
        now: u64,
    ) -> Connection {
        Connection {
            phase: Phase::Open,
            config: config.into(),
            http1: http1.into(),
            secure,
            going: false,
            now,
            input: Input::new(0),
            searched: 0,
            output: Output::default(),
            exchange: None,
            upgrade: None,
            repeats: Repeats::default(),
            notices: VecDeque::new(),
            timers: Timers::new(now),
            waiting: false,
            paused: false,
            over: false,
            hears_out: true,
            breaks_off: false,
            spare: None,
            end_told: false,
            date: None,
            date_stale_at: 0,
            tally: Tally::default(),
            log: None,
        }
    }

    /// Hands received bytes over. Nothing is parsed yet; `poll_event` must be called until it returns `None`.
    pub fn receive(&mut self, input: Bytes) {
        if self.phase == Phase::Open && !input.is_empty() {
            self.input.push(input);
        }
    }

    /// Says that the peer will send nothing more. Call it when `poll_event` has returned `None`, and that again afterwards.
    pub fn receive_end(&mut self) {
        self.over = true;
        // What came in pieces was not looked at since: it may be wrong already.
        self.searched = 0;
    }

    /// The next event; `None` when more bytes (or time, or room) are needed. [`Event::Http1`] asks for the connection to be
    /// changed to HTTP/2; who does not do it asks again.
    #[inline]
    pub fn poll_event(&mut self, now: u64) -> Option<Event> {
        if self.rests(now) { None } else { self.poll_waiting() }
    }

    /// Whether `poll_event` has nothing to look at, as between requests; then it need not be called.
    #[inline]
    pub(crate) fn rests(&mut self, now: u64) -> bool {
        self.look(now);
        let nothing = self.exchange.is_none() && self.input.is_empty() && self.notices.is_empty();
        let reads = self.phase == Phase::Open && self.output.len() < self.config.output_bytes;
        let rests = nothing && reads && !self.over && self.upgrade.is_none();
        if rests {
            (self.waiting, self.paused) = (false, false);
            self.timers.no_head();
        }
        rests
    }

    fn poll_waiting(&mut self) -> Option<Event> {
        if let Some(upgrade) = self.upgrade.take() {
            let Upgrade { facts, request } = *upgrade;
            return Some(self.begin(facts, request));
        }
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
            let before = self.input.offset();
            let found = match self.exchange {
                Some(_) => self.read_content(),
                None => self.read_head(),
            };
            // What was thrown away is no event, and more may lie behind it.
            let moved = self.input.offset() > before;
            match found {
                Ok(None) if !moved && self.notices.is_empty() && !self.come_to_end() => break,
                Ok(None) => {}
                Ok(event) => return event,
                Err(refusal) => self.refuse(refusal),
            }
        }
        self.input.stash();
        self.waiting = !self.input.is_empty();
        self.paused = !self.wants_input();
        self.watch();
        None
    }

    fn tell(&mut self, notice: Notice) -> Option<Event> {
        match notice {
            Notice::Writable(stream) => self.find(stream).map(|_| Event::Writable { stream }),
            Notice::Ended(stream) => Some(Event::Data { stream, data: Bytes::new(), end: true }),
            Notice::Trailers(stream, trailers) => Some(Event::Trailers { stream, trailers }),
            Notice::Closed(error) => Some(Event::Closed { error }),
        }
    }

    /// Reads the next request's head.
    fn read_head(&mut self) -> Result<Option<Event>, Refusal> {
        // RFC 9112 §2.2: an empty line before a request is passed over, as some clients send one after content.
        while self.input.bytes().starts_with(b"\r\n") {
            self.input.skip(2);
        }
        if self.input.is_empty() || self.output.len() >= self.config.output_bytes || !self.may_be_whole() {
            return Ok(None);
        }
        let mut request = self.spare.take().unwrap_or_default();
        let bounds = self.bounds();
        if let Some(facts) = self.repeats.repeat(self.input.bytes(), &bounds, &mut request) {
            return Ok(Some(self.came(facts, request)));
        }
        match self.repeats.read(self.input.bytes(), &bounds, &mut request) {
            Ok(Some(facts)) => Ok(Some(self.came(facts, request))),
            Ok(None) => {
                self.searched = self.input.len();
                self.spare = Some(request);
                Ok(None)
            }
            Err(refusal) => {
                if self.log.is_some() {
                    self.log_refused();
                }
                Err(refusal)
            }
        }
    }

    /// A head was read from the front of the input.
    #[inline]
    fn came(&mut self, facts: Facts, request: Box<Request<()>>) -> Event {
        self.searched = 0;
        if self.log.is_some() {
            let octets = self.input.bytes()[..facts.octets].to_vec();
            self.log_lines(Direction::Received, &octets, facts.framing == Framing::None);
        }
        self.input.skip(facts.octets);
        if facts.settings.is_some() && self.may_become_http2() {
            self.upgrade = Some(Box::new(Upgrade { facts, request }));
            return Event::Http1;
        }
        self.begin(facts, request)
    }

    /// What the head asks for is possible now: everything before it was written.
    fn may_become_http2(&self) -> bool {
        // RFC 7540 §3.2 speaks of any request; later ones are not what clients ask with.
        self.http1.h2c_upgrade
            && self.tally.requests == 0
            && !self.going
            && !self.over
            && self.output.is_empty()
    }

    fn begin(&mut self, facts: Facts, request: Box<Request<()>>) -> Event {
        let asked = match *request.method() {
            Method::HEAD if facts.upgrades => Asked::HeadOnly,
            _ if facts.upgrades => Asked::Upgrade,
            Method::HEAD => Asked::HeadOnly,
            Method::CONNECT => Asked::Connect,
            _ => Asked::Content,
        };
        self.tally.requests = self.tally.requests.wrapping_add(1);
        self.timers.busy();
        let exchange = Exchange::new(self.tally.requests, facts, asked);
        let (stream, end) = (exchange.key(), exchange.receiving == Receiving::Ended);
        self.exchange = Some(exchange);
        Event::Request { stream, request, end }
    }

    /// What [`Event::Http1`] asks for. Who does not do it goes on with `poll_event`.
    pub(crate) fn upgrade(&mut self) -> &mut Option<Box<Upgrade>> {
        &mut self.upgrade
    }

    pub(crate) fn config(&self) -> Arc<Config> {
        self.config.clone()
    }

    /// Everything received that was not looked at.
    pub(crate) fn take_input(&mut self) -> Bytes {
        self.input.take_all()
    }

    pub(super) fn bounds(&self) -> Bounds {
        Bounds {
            line: self.http1.line_bytes,
            fields: self.config.fields,
            content: self.http1.content_bytes,
            secure: self.secure,
        }
    }

    /// Whether the end of a head may be there: one that comes octet by octet is not parsed for each of them, and no octet of
    /// it is looked at twice.
    pub(super) fn may_be_whole(&mut self) -> bool {
        let (octets, searched) = (self.input.bytes(), self.searched);
        if searched == 0 || octets.len() > self.config.fields.block_bytes {
            return true;
        }
        let long_line = searched <= self.http1.line_bytes && octets.len() > self.http1.line_bytes;
        let new = &octets[searched.saturating_sub(3).min(octets.len())..];
        let ends = |end: &[u8]| end == b"\n\r\n" || end.starts_with(b"\n\n");
        if long_line || new.windows(3).any(ends) || new.ends_with(b"\n\n") {
            return true;
        }
        self.searched = octets.len();
        false
    }

    pub(super) fn find(&mut self, stream: StreamKey) -> Option<&mut Exchange> {
        self.exchange.as_mut().filter(|exchange| exchange.key() == stream)
    }

    pub(super) fn error(&self, reason: Reason, text: &'static str, trip: Option<Trip>) -> ConnectionError {
        ConnectionError { reason, frame: None, stream: 0, offset: self.input.offset(), text, trip }
    }

    /// Requests under way: none or one.
    pub fn open_streams(&self) -> usize {
        usize::from(self.exchange.is_some())
    }

    /// Whether `poll_event` has something to do without new bytes.
    pub fn has_events(&self) -> bool {
        if !self.notices.is_empty() {
            return true;
        }
        let lies = match &self.exchange {
            // Behind a head that came in part more of it is needed, or the end.
            None if self.output.len() < self.config.output_bytes => {
                self.over || (self.waiting && self.searched == 0)
            }
            None => false,
            // It may have been opened long after its first bytes came.
            Some(exchange) => exchange.receiving == Receiving::Tunnel && (self.over || self.waiting),
        };
        self.phase == Phase::Open && (lies || (self.paused && self.wants_input()))
    }

    /// Whether reading makes sense: not while the peer leaves too much unread, the application leaves content lying, or
    /// enough requests wait.
    pub fn wants_input(&self) -> bool {
        if self.phase == Phase::Dead || self.output.len() >= self.config.output_bytes.saturating_mul(2) {
            return false;
        }
        let Some(exchange) = &self.exchange else {
            // Requests wait in the input while the peer does not take its answers.
            return self.output.len() < self.config.output_bytes || self.input.len() < self.http1.ahead_bytes;
        };
        match exchange.receiving {
            Receiving::Length(_) | Receiving::Chunked(_) | Receiving::Tunnel => {
                exchange.unreleased < self.config.stream_window as usize
            }
            Receiving::Undecided | Receiving::Ended => self.input.len() < self.http1.ahead_bytes,
        }
    }

    /// The request's number on its connection.
    pub fn stream_id(&self, stream: StreamKey) -> Option<u32> {
        self.exchange.as_ref().filter(|it| it.key() == stream).map(|it| it.number)
    }

    /// Method and target of the request under way, as they came, up to a length that people read.
    pub(crate) fn line(&self, stream: StreamKey) -> Option<String> {
        let exchange = self.exchange.as_ref().filter(|it| it.key() == stream)?;
        let line = String::from_utf8_lossy(&exchange.line);
        Some(line.chars().take(limits::H1_SHOWN_LINE).collect())
    }

    /// Whether the answer may open a tunnel.
    pub(crate) fn may_upgrade(&self, stream: StreamKey) -> bool {
        self.exchange.as_ref().is_some_and(|it| it.key() == stream && it.asked == Asked::Upgrade)
    }

    /// Gives the memory of a request's head back for the next one, whatever is still in it.
    pub fn recycle_head(&mut self, mut head: Box<Request<()>>) {
        if self.spare.is_none() && self.phase != Phase::Dead {
            // Most have been taken by a handler, and an empty map is not cleared for nothing.
            if !head.headers().is_empty() {
                head.headers_mut().clear();
            }
            if !head.extensions().is_empty() {
                head.extensions_mut().clear();
            }
            self.spare = Some(head);
        }
    }

    /// Gives the memory of a header map back for the next head.
    pub fn recycle(&mut self, mut headers: HeaderMap) {
        let Some(spare) = self.spare.as_mut().map(|spare| spare.headers_mut()) else { return };
        if spare.capacity() == 0 {
            headers.clear();
            *spare = headers;
        }
    }

    /// Takes the memory that waits for the next head.
    pub fn take_head(&mut self) -> Option<Box<Request<()>>> {
        self.spare.take()
    }

    /// The date for answers that no handler makes.
    pub(crate) fn set_date(&mut self, date: HeaderValue, stale_at: u64) {
        (self.date, self.date_stale_at) = (Some(date), stale_at);
    }

    /// Whether there is no date that is current.
    #[inline]
    pub(crate) fn needs_date(&self, now: u64) -> bool {
        self.date_stale_at <= now
    }

    /// What the connection has done so far. There are no frames.
    pub fn stats(&self) -> Stats {
        let mut stats = self.tally.stats(&self.input, &self.output, self.open_streams());
        if self.phase == Phase::Dead {
            // What was made when it ended is about to be written.
            stats.bytes_sent = self.output.end();
        }
        stats
    }

    /// What the connection holds for its peer now.
    pub fn held(&self) -> Held {
        let (received, heads) =
            self.exchange.as_ref().map_or((0, 0), |exchange| (exchange.unreleased, exchange.list_bytes));
        Held { received: received + self.input.len(), output: self.output.len(), heads }
    }

    /// The same numbers in the order of HTTP/2's.
    pub(crate) fn counts(&self) -> [u32; COUNTS] {
        self.tally.counts(&self.input, &self.output, self.open_streams(), &self.held())
    }

    /// Changes whenever an aborted answer or a trip is counted.
    pub(crate) fn rare(&self) -> u32 {
        self.tally.rare()
    }

    /// Resets received and sent, and trips.
    pub(crate) fn rarities(&self) -> (u32, u32, Trips) {
        self.tally.rarities()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_drips_in_is_searched_once() {
        let mut core = Connection::server(Config::default(), Http1::default(), false, 0);
        let head = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "y".repeat(10_000));
        for (at, octet) in head.bytes().enumerate() {
            // What is looked at again is the end that may have begun.
            assert!(core.searched >= at.saturating_sub(1), "{} of {at}", core.searched);
            core.receive(Bytes::copy_from_slice(&[octet]));
            assert!(core.poll_event(0).is_none());
        }
        core.receive(Bytes::from_static(b"\r\n\r\n"));
        assert!(matches!(core.poll_event(0), Some(Event::Request { .. })));
    }
}
