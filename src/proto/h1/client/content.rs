//! A response as it comes: heads, then content by its length, in chunks, to the end of the connection or through a tunnel.

use http::{Response, StatusCode};

use super::super::chunks::Found;
use super::super::head;
use super::super::refusal::Refusal;
use super::answer::{self, Head};
use super::connection::{Client, Notice};
use super::exchange::{Asked, Exchange, Receiving, Sending};
use super::framing::Framing;
use crate::limits;
use crate::proto::h2::{Direction, Event, StreamKey, Trip};

impl Client {
    /// Reads a head of the response to the request under way, interim or final.
    pub(super) fn read_head(&mut self) -> Result<Option<Event>, Refusal> {
        let written = self.output_written();
        let Some(exchange) = &mut self.exchange else { return Ok(None) };
        if written <= exchange.begin {
            // Not a word of the request has gone out: this was said of something else, or by somebody else.
            return Err(Refusal::bad("an answer that was there before the request"));
        }
        exchange.answered = true;
        let bounds = self.bounds();
        let spare = std::mem::take(&mut self.spare);
        let Some(head) = answer::read(self.input.bytes(), self.searched, &bounds, spare)? else {
            self.searched = self.input.len();
            return Ok(None);
        };
        self.searched = 0;
        let lines = self.log.as_ref().map(|_| self.input.bytes()[..head.octets].to_vec());
        self.input.skip(head.octets);
        self.timers.head_came();
        let event = match head.response.status() {
            StatusCode::SWITCHING_PROTOCOLS => self.switch(head),
            status if status.is_informational() => self.inform(head.response),
            _ => self.answer(head),
        };
        if let (Some(log), Some(lines)) = (&mut self.log, lines) {
            let ends = matches!(event, Ok(Event::Response { end: true, .. }));
            log.lines(Direction::Received, self.tally.requests, &lines, ends);
        }
        event.map(Some)
    }

    fn inform(&mut self, response: Response<()>) -> Result<Event, Refusal> {
        let Some(exchange) = &mut self.exchange else { return Err(NO_REQUEST) };
        exchange.interims += 1;
        if exchange.interims > limits::H1_INTERIM_HEADS {
            return Err(Refusal::bound(StatusCode::BAD_GATEWAY, "too many interim heads", Trip::GlitchFlood));
        }
        Ok(Event::Informational { stream: exchange.key(), response })
    }

    /// 101: from here on both directions are another protocol's.
    fn switch(&mut self, head: Head) -> Result<Event, Refusal> {
        let Some(exchange) = &mut self.exchange else { return Err(NO_REQUEST) };
        if !exchange.asked.takes(head.response.headers()) {
            return Err(Refusal::bad("a change to a protocol that was not asked for"));
        }
        if exchange.sending == Sending::Body {
            return Err(Refusal::bad("a change of protocol before the request was complete"));
        }
        Ok(self.open_tunnel(head))
    }

    /// The final head.
    fn answer(&mut self, mut head: Head) -> Result<Event, Refusal> {
        let Some(exchange) = &mut self.exchange else { return Err(NO_REQUEST) };
        let status = head.response.status();
        if exchange.asked == Asked::Connect && status.is_success() {
            return Ok(self.open_tunnel(head));
        }
        // RFC 9112 §6.3: these end with their heads, whatever the fields say.
        let none = exchange.head_only || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let framing = if none { Framing::None } else { Framing::of(head.response.headers_mut(), head.old)? };
        exchange.receiving = match framing {
            Framing::None => Receiving::Ended,
            Framing::Length(length) => Receiving::Length(length),
            Framing::Chunked => Receiving::Chunked(super::super::chunks::Chunks::new()),
            Framing::Close => Receiving::Close,
        };
        exchange.list_bytes = head.list_bytes;
        self.old = head.old;
        self.persists &= head.persists && framing != Framing::Close;
        let refused = exchange.asked.is_tunnel() && exchange.sending == Sending::Undecided;
        // RFC 9112 §9.5: who says this wants no more of the request's content, and will not read it.
        let unwanted = !self.persists && !status.is_success() && exchange.sending == Sending::Body;
        if refused || unwanted {
            exchange.sending = Sending::Stopped;
        }
        self.timers.keeps(head.keeps);
        let (stream, end) = (exchange.key(), exchange.receiving == Receiving::Ended);
        self.settle();
        Ok(Event::Response { stream, response: head.response, end })
    }

    /// All that comes now is a tunnel's, and all that goes.
    fn open_tunnel(&mut self, mut head: Head) -> Event {
        // RFC 9110 §9.3.6: a length means nothing here, and must be ignored.
        for name in [http::header::CONTENT_LENGTH, http::header::TRANSFER_ENCODING] {
            head.response.headers_mut().remove(name);
        }
        self.persists = false;
        let mut stream = StreamKey::from_bits(0);
        if let Some(exchange) = &mut self.exchange {
            exchange.tunnel = true;
            exchange.receiving = Receiving::Tunnel;
            exchange.list_bytes = head.list_bytes;
            stream = exchange.key();
            if exchange.sending == Sending::Undecided {
                exchange.sending = Sending::Body;
                if std::mem::take(&mut exchange.wants_room) {
                    self.notices.push_back(Notice::Writable(stream));
                }
            }
        }
        self.send_early();
        Event::Response { stream, response: head.response, end: false }
    }

    /// Reads what there is of the content of the response under way.
    pub(super) fn read_content(&mut self) -> Result<Option<Event>, Refusal> {
        match self.exchange.as_ref().map(|exchange| exchange.receiving) {
            Some(Receiving::Close | Receiving::Tunnel) => Ok(self.take_content(u64::MAX)),
            Some(Receiving::Length(left)) => Ok(self.take_content(left)),
            Some(Receiving::Chunked(_)) => self.read_chunked(),
            None | Some(Receiving::Head | Receiving::Ended) => Ok(None),
        }
    }

    fn read_chunked(&mut self) -> Result<Option<Event>, Refusal> {
        let Some(exchange) = &mut self.exchange else { return Ok(None) };
        let Receiving::Chunked(chunks) = &mut exchange.receiving else { return Ok(None) };
        let (used, found) = chunks.read(self.input.bytes())?;
        self.timers.clocks.owed.moved(used);
        self.input.skip(used);
        match found {
            Found::Nothing => Ok(None),
            Found::Content(left) => Ok(self.take_content(left)),
            Found::Trailers => self.read_trailers(),
        }
    }

    fn read_trailers(&mut self) -> Result<Option<Event>, Refusal> {
        let octets = self.input.bytes();
        // Trailers that come octet by octet are not parsed for each of them.
        let new = &octets[self.searched.saturating_sub(3).min(octets.len())..];
        let whole = octets.starts_with(b"\r\n")
            || self.searched == 0
            || octets.len() >= self.config.fields.block_bytes
            || new.windows(2).any(|pair| pair == b"\n\n")
            || new.windows(3).any(|end| end == b"\n\r\n");
        if octets.is_empty() || !whole {
            return Ok(None);
        }
        let bounds = self.bounds();
        let Some((length, trailers)) = head::read_trailers(octets, &bounds)? else {
            self.searched = octets.len();
            return Ok(None);
        };
        self.searched = 0;
        if let Some(log) = &mut self.log {
            log.lines(Direction::Received, self.tally.requests, &octets[..length], true);
        }
        self.input.skip(length);
        let Some(exchange) = &mut self.exchange else { return Ok(None) };
        exchange.receiving = Receiving::Ended;
        let stream = exchange.key();
        self.notices.push_back(if trailers.is_empty() {
            Notice::Ended(stream)
        } else {
            Notice::Trailers(stream, trailers)
        });
        self.settle();
        Ok(None)
    }

    /// Takes up to `left` octets of content.
    fn take_content(&mut self, left: u64) -> Option<Event> {
        let exchange = self.exchange.as_mut()?;
        let n = self.input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if n == 0 {
            return None;
        }
        let shared = exchange.unreleased < limits::H2_SHARED_BYTES;
        let data = self.input.take(n, shared);
        let end = exchange.take(n as u64);
        exchange.unreleased += n;
        let stream = exchange.key();
        self.timers.clocks.owed.moved(n);
        if let Some(log) = &mut self.log {
            log.content(Direction::Received, self.tally.requests, n, end);
        }
        if end {
            self.settle();
        }
        Some(Event::Data { stream, data, end })
    }

    /// Gives room back for content that was read.
    pub fn release(&mut self, stream: StreamKey, n: usize) {
        if let Some(exchange) = self.find(stream) {
            exchange.unreleased = exchange.unreleased.saturating_sub(n);
        }
    }

    /// The same of an answer that was detached.
    pub fn release_late(&mut self, n: usize) {
        let full = self.late >= self.window();
        self.late = self.late.saturating_sub(n);
        if full && self.late < self.window() {
            self.notices.push_back(Notice::Room);
        }
    }
}

const NO_REQUEST: Refusal = Refusal::bad("an answer to no request");

impl Exchange {
    /// Notes that `n` octets of content came; says whether they were the last.
    fn take(&mut self, n: u64) -> bool {
        match &mut self.receiving {
            Receiving::Length(left) => {
                *left = left.saturating_sub(n);
                if *left > 0 {
                    return false;
                }
                self.receiving = Receiving::Ended;
                true
            }
            Receiving::Chunked(chunks) => {
                chunks.took(n);
                false
            }
            Receiving::Head | Receiving::Close | Receiving::Tunnel | Receiving::Ended => false,
        }
    }
}
