//! Commands: a request's content and trailers, and letting go.

use bytes::Bytes;
use http::HeaderMap;

use super::super::write::{write_content, write_field};
use super::connection::Client;
use super::exchange::{Exchange, Sending};
use super::request::check_trailers;
use crate::proto::h2::{CommandError, Content, Direction, Mismatch, Reason, StreamKey};

impl Client {
    /// Sends content; ask `send_capacity` before, so that the output stays short. `end`: there is no more, and there are
    /// no trailers.
    ///
    /// # Errors
    ///
    /// [`CommandError`]; nothing was sent then.
    pub fn send_data(&mut self, stream: StreamKey, data: Bytes, end: bool) -> Result<(), CommandError> {
        let exchange = open(self.find(stream))?;
        match exchange.sending {
            Sending::Body => {}
            Sending::Stopped => return Ok(()), // nobody reads it
            Sending::Undecided if exchange.early.is_empty() && !exchange.early_end => {
                (exchange.early, exchange.early_end) = (data, end);
                return Ok(());
            }
            Sending::Undecided | Sending::Ended => return Err(CommandError::WrongState),
        }
        let mut to_send = exchange.to_send;
        if to_send.take(data.len() as u64, end) == Err(Mismatch) {
            return Err(CommandError::ContentLength);
        }
        exchange.to_send = to_send;
        if end {
            exchange.sending = Sending::Ended;
        }
        let chunked = exchange.chunked;
        self.log_sent(data.len(), end);
        write_content(&mut self.output, data, chunked);
        if end && chunked {
            self.output.copy(b"0\r\n\r\n");
        }
        if end {
            self.settle();
        }
        Ok(())
    }

    /// Sends what was said before there was a tunnel.
    pub(super) fn send_early(&mut self) {
        let Some(exchange) = &mut self.exchange else { return };
        let (data, end) = (std::mem::take(&mut exchange.early), exchange.early_end);
        if end {
            exchange.sending = Sending::Ended;
        }
        self.log_sent(data.len(), end);
        write_content(&mut self.output, data, false);
    }

    fn log_sent(&mut self, length: usize, end: bool) {
        if let Some(log) = self.log.as_mut().filter(|_| length > 0 || end) {
            log.content(Direction::Sent, self.tally.requests, length, end);
        }
    }

    /// Appends a head or trailers to the output. `ends`: there is nothing behind them.
    pub(super) fn write_lines(&mut self, ends: bool, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(log) = &mut self.log else { return self.output.append(write) };
        let mut lines = Vec::new();
        write(&mut lines);
        log.lines(Direction::Sent, self.tally.requests, &lines, ends);
        self.output.copy(&lines);
    }

    /// Sends trailers, which end the request. Where the framing has no place for them they are left out (RFC 9110 §6.5.1).
    ///
    /// # Errors
    ///
    /// [`CommandError`]; nothing was sent then.
    pub fn send_trailers(&mut self, stream: StreamKey, trailers: HeaderMap) -> Result<(), CommandError> {
        check_trailers(&trailers)?;
        let exchange = open(self.find(stream))?;
        match exchange.sending {
            Sending::Body if !exchange.tunnel => {}
            Sending::Stopped => return Ok(()), // nobody reads them
            Sending::Body | Sending::Undecided | Sending::Ended => return Err(CommandError::WrongState),
        }
        if exchange.to_send.take(0, true) == Err(Mismatch) {
            return Err(CommandError::ContentLength);
        }
        exchange.sending = Sending::Ended;
        if exchange.chunked {
            self.output.copy(b"0\r\n");
            self.write_lines(true, |out| {
                trailers.iter().for_each(|(name, value)| write_field(name, value, out));
                out.extend_from_slice(b"\r\n");
            });
        }
        self.settle();
        Ok(())
    }

    /// How much content should be sent now; after a 0, `Event::Writable` says when to ask again.
    pub fn send_capacity(&mut self, stream: StreamKey) -> usize {
        let room = self.config.stream_queue_bytes.saturating_sub(self.output.len());
        let Some(exchange) = self.find(stream) else { return 0 };
        let room = if exchange.takes_content() { room } else { 0 };
        exchange.wants_room = room == 0;
        room
    }

    /// Whether all the content that was announced has been sent, so that only its end is to come.
    pub(crate) fn is_all_sent(&self, stream: StreamKey) -> bool {
        let sent = |it: &Exchange| it.sending == Sending::Body && it.to_send == Content::Remaining(0);
        self.exchange.as_ref().is_some_and(|it| it.key() == stream && sent(it))
    }

    /// Ends the exchange for the connection when all of both directions is through, although somebody may still read what
    /// came: the next request finds room. Not when too much lies unread.
    pub fn detach(&mut self, stream: StreamKey) -> bool {
        let (late, window, written) = (self.late, self.window(), self.output.is_empty());
        let Some(exchange) = self.find(stream) else { return false };
        if !exchange.is_over() || !written || exchange.tunnel || late + exchange.unreleased > window {
            return false;
        }
        let unreleased = std::mem::take(&mut exchange.unreleased);
        exchange.held = false;
        self.late += unreleased;
        self.settle();
        true
    }

    /// Breaks the exchange off, if it is not over, and the connection with it: there is no other way to say so.
    pub fn reset(&mut self, stream: StreamKey, _reason: Reason) {
        let Some(exchange) = self.find(stream) else { return };
        if exchange.is_over() {
            return;
        }
        self.breaks_off = exchange.tunnel;
        self.tally.resets = self.tally.resets.wrapping_add(1);
        self.output.clear();
        self.close(None);
    }

    /// Lets go of the request: no event mentions it any more.
    pub fn finish(&mut self, stream: StreamKey) {
        let Some(exchange) = self.find(stream) else { return };
        exchange.held = false;
        exchange.unreleased = 0;
        if !exchange.is_over() {
            return self.reset(stream, Reason::CANCEL);
        }
        self.settle();
    }
}

/// The request of a command, if it is still in the application's hands.
fn open(exchange: Option<&mut Exchange>) -> Result<&mut Exchange, CommandError> {
    exchange.filter(|exchange| exchange.held).ok_or(CommandError::StreamGone)
}
