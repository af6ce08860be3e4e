//! A request's content as it comes: by its length, in chunks, or through a tunnel.

use bytes::Bytes;

use super::chunks::Found;
use super::connection::{Connection, Notice};
use super::exchange::{Exchange, Receiving};
use super::framing::too_large;
use super::head;
use super::refusal::Refusal;
use crate::limits;
use crate::proto::h2::{Direction, Event, StreamKey};

impl Connection {
    /// Reads what there is of the content of the request under way.
    pub(super) fn read_content(&mut self) -> Result<Option<Event>, Refusal> {
        let Some(exchange) = &mut self.exchange else { return Ok(None) };
        if self.input.is_empty() {
            return Ok(None);
        }
        match exchange.receiving {
            Receiving::Ended | Receiving::Undecided => Ok(None),
            Receiving::Tunnel => Ok(self.take_content(u64::MAX, false)),
            Receiving::Length(left) => Ok(self.take_content(left, true)),
            Receiving::Chunked(_) => self.read_chunked(),
        }
    }

    fn read_chunked(&mut self) -> Result<Option<Event>, Refusal> {
        let Some(exchange) = &mut self.exchange else { return Ok(None) };
        let Receiving::Chunked(chunks) = &mut exchange.receiving else { return Ok(None) };
        let (used, found) = chunks.read(self.input.bytes())?;
        if used > 0 {
            exchange.expects = false;
            self.timers.clocks.owed.moved(used);
        }
        let received = exchange.received;
        self.input.skip(used);
        match found {
            Found::Nothing => Ok(None),
            Found::Content(left) if left > self.http1.content_bytes.saturating_sub(received) => {
                Err(too_large())
            }
            Found::Content(left) => Ok(self.take_content(left, false)),
            Found::Trailers => self.read_trailers(),
        }
    }

    fn read_trailers(&mut self) -> Result<Option<Event>, Refusal> {
        if self.input.is_empty() || !(self.may_be_whole() || self.input.bytes().starts_with(b"\r\n")) {
            return Ok(None);
        }
        let bounds = self.bounds();
        let Some((length, trailers)) = head::read_trailers(self.input.bytes(), &bounds)? else {
            self.searched = self.input.len();
            return Ok(None);
        };
        self.searched = 0;
        if self.log.is_some() {
            let octets = self.input.bytes()[..length].to_vec();
            self.log_lines(Direction::Received, &octets, true);
        }
        self.input.skip(length);
        let Some(exchange) = &mut self.exchange else { return Ok(None) };
        exchange.receiving = Receiving::Ended;
        let (stream, held) = (exchange.key(), exchange.held);
        let notice =
            if trailers.is_empty() { Notice::Ended(stream) } else { Notice::Trailers(stream, trailers) };
        if held {
            self.notices.push_back(notice);
        }
        self.settle();
        Ok(None)
    }

    /// Takes up to `left` octets of content. `ends`: the message ends with the last of them.
    fn take_content(&mut self, left: u64, ends: bool) -> Option<Event> {
        if left == 0 {
            return None;
        }
        let exchange = self.exchange.as_mut()?;
        let n = self.input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let shared = exchange.unreleased < limits::H2_SHARED_BYTES;
        let thrown_away = !exchange.held;
        let data = if thrown_away { Bytes::new() } else { self.input.take(n, shared) };
        if thrown_away {
            self.input.skip(n);
        }
        let end = exchange.take(n as u64, ends);
        self.timers.clocks.owed.moved(n);
        let (stream, logged) = (exchange.key(), self.log.is_some());
        exchange.unreleased += if thrown_away { 0 } else { n };
        if logged {
            self.log_content(Direction::Received, n, end);
        }
        if thrown_away {
            self.note_discarded(n as u64);
            return None;
        }
        Some(Event::Data { stream, data, end })
    }

    /// Content behind a complete answer is thrown away, up to a bound.
    fn note_discarded(&mut self, n: u64) {
        let Some(exchange) = &mut self.exchange else { return };
        let Some(left) = &mut exchange.discard else { return };
        match left.checked_sub(n) {
            Some(less) => *left = less,
            None => {
                self.hears_out = false;
                return self.close(None);
            }
        }
        self.settle();
    }

    /// Gives room back for content that was read.
    pub fn release(&mut self, stream: StreamKey, n: usize) {
        if let Some(exchange) = self.find(stream) {
            exchange.unreleased = exchange.unreleased.saturating_sub(n);
        }
    }
}

impl Exchange {
    /// Notes that `n` octets of content came; says whether they were the last.
    fn take(&mut self, n: u64, ends: bool) -> bool {
        self.expects = false;
        self.received += n;
        match &mut self.receiving {
            Receiving::Length(left) if ends => {
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
            Receiving::Length(_) | Receiving::Undecided | Receiving::Tunnel | Receiving::Ended => false,
        }
    }
}
