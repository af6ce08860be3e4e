//! Commands: heads, content and trailers of answers, and letting go.
//!
//! Names and values are of types that cannot hold a line's end, so that nothing can be injected into a head.

use bytes::Bytes;
use http::header;
use http::{HeaderMap, StatusCode};

use super::connection::{Connection, Notice, Phase};
use super::exchange::{Asked, Exchange, Frame, Receiving, Sending};
use super::fields::{NOT_IN_TRAILERS, list};
use super::write::{write_content, write_field};
use crate::proto::h2::{
    CommandError, Content, Direction, Mismatch, Reason, ResponseHead, StreamKey, parse_length,
};

/// What the fields of a response mean to us.
#[derive(Default)]
struct Checked {
    length: Option<u64>,
    /// The application wants the connection closed.
    closes: bool,
    date: bool,
    /// It names protocols that the peer may change to, or has.
    upgrade: bool,
}

impl Connection {
    /// Sends a response's final head.
    ///
    /// # Errors
    ///
    /// As `respond_with`.
    pub fn respond(
        &mut self,
        stream: StreamKey,
        status: StatusCode,
        headers: &HeaderMap,
        end: bool,
    ) -> Result<(), CommandError> {
        self.respond_with(stream, ResponseHead { status, headers, date: None, content_length: None }, end)
    }

    /// Sends a response's final head, or a 101 where one was asked for. `end`: there is no content.
    ///
    /// # Errors
    ///
    /// [`CommandError`]; nothing was sent then, and the request may still be answered differently.
    pub fn respond_with(
        &mut self,
        stream: StreamKey,
        head: ResponseHead<'_>,
        end: bool,
    ) -> Result<(), CommandError> {
        if self.phase == Phase::Dead {
            return Err(CommandError::ConnectionClosed);
        }
        let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
        let checked = check_fields(head.headers, true)?;
        let last = self.going || (self.over && self.input.is_empty());
        let discard_bytes = u64::from(self.config.discard_bytes);
        let exchange = open(self.find(stream))?;
        if exchange.sending != Sending::Head {
            return Err(CommandError::WrongState);
        }
        // RFC 9110 §15.2.2: a change of protocol says to which.
        let may_switch = exchange.asked == Asked::Upgrade && head.headers.contains_key(header::UPGRADE);
        if head.status.is_informational() && !(switches && may_switch) {
            return Err(CommandError::Status);
        }
        let tunnel = switches || (exchange.asked == Asked::Connect && head.status.is_success());
        let plan = exchange.plan(&head, &checked, end, tunnel)?;
        // Without the 100 that the peer waits for, nobody knows whether content follows (RFC 9110 §10.1.1); and behind a
        // tunnel that was refused, whether what follows is a request.
        let refused = exchange.asked == Asked::Connect && !tunnel;
        exchange.persists &= !(tunnel || checked.closes || exchange.expects || refused || last);
        exchange.persists &= plan.frame != Frame::Close;
        // More than is thrown away behind an answer: the peer should know that it need not send it.
        let unread = matches!(exchange.receiving, Receiving::Length(left) if left > discard_bytes);
        exchange.persists &= !(unread && (plan.end || exchange.whole));
        (exchange.frame, exchange.to_send) = (plan.frame, plan.to_send);
        exchange.sending = if plan.end { Sending::Ended } else { Sending::Body };
        if tunnel {
            exchange.receiving = Receiving::Tunnel;
        } else if exchange.receiving == Receiving::Undecided {
            exchange.receiving = Receiving::Ended;
            let key = exchange.key();
            self.notices.push_back(Notice::Ended(key));
        }
        self.write_head(&head, &checked, &plan, tunnel);
        if plan.end {
            self.settle();
        }
        Ok(())
    }

    /// Appends a head or trailers to the output. `ends`: there is nothing behind them.
    fn write_lines(&mut self, ends: bool, write: impl FnOnce(&mut Vec<u8>)) {
        if self.log.is_none() {
            return self.output.append(write);
        }
        let mut lines = Vec::new();
        write(&mut lines);
        self.log_lines(Direction::Sent, &lines, ends);
        self.output.copy(&lines);
    }

    fn write_head(&mut self, head: &ResponseHead<'_>, checked: &Checked, plan: &Plan, tunnel: bool) {
        let Some(exchange) = &self.exchange else { return };
        let option: &[u8] = match (exchange.persists || tunnel, exchange.old && !tunnel, checked.upgrade) {
            (false, _, true) => b"connection: close, upgrade\r\n",
            (false, _, false) => b"connection: close\r\n",
            (true, true, true) => b"connection: keep-alive, upgrade\r\n",
            (true, true, false) => b"connection: keep-alive\r\n",
            (true, false, true) => b"connection: upgrade\r\n",
            (true, false, false) => b"",
        };
        self.write_lines(plan.end, |out| {
            write_status(head.status, out);
            if let Some(date) = head.date.filter(|_| !checked.date) {
                write_field(&header::DATE, date, out);
            }
            for (name, value) in head.headers {
                if !(*name == header::CONNECTION || (*name == header::CONTENT_LENGTH && !plan.own_length)) {
                    write_field(name, value, out);
                }
            }
            if let Some(length) = plan.length {
                out.extend_from_slice(b"content-length: ");
                out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            if plan.frame == Frame::Chunked {
                out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            }
            out.extend_from_slice(option);
            out.extend_from_slice(b"\r\n");
        });
    }

    /// Answers without the application; the connection is closed behind it.
    #[cold]
    pub(super) fn write_refusal(&mut self, status: StatusCode, text: &'static str) {
        let date = self.date.clone();
        let head_only = self.exchange.as_ref().is_some_and(|it| it.asked == Asked::HeadOnly);
        self.write_lines(true, |out| {
            write_status(status, out);
            if let Some(date) = date {
                write_field(&header::DATE, &date, out);
            }
            out.extend_from_slice(b"content-type: text/plain\r\ncontent-length: ");
            out.extend_from_slice(itoa::Buffer::new().format(text.len() + 1).as_bytes());
            out.extend_from_slice(b"\r\nconnection: close\r\n\r\n");
            if !head_only {
                out.extend_from_slice(text.as_bytes());
                out.push(b'\n');
            }
        });
    }

    /// Says that the answer that is about to be sent is whole: nothing of it waits for the request's content.
    pub(crate) fn answer_is_whole(&mut self, stream: StreamKey) {
        if let Some(exchange) = self.find(stream) {
            exchange.whole = true;
        }
    }

    /// Sends an interim response, 1xx but not 101. HTTP/1.0 knows none: there nothing is sent (RFC 9110 §15.2).
    ///
    /// # Errors
    ///
    /// [`CommandError`]; nothing was sent then.
    pub fn inform(
        &mut self,
        stream: StreamKey,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<(), CommandError> {
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(CommandError::Status);
        }
        if self.phase == Phase::Dead {
            return Err(CommandError::ConnectionClosed);
        }
        if check_fields(headers, false)?.length.is_some() {
            return Err(CommandError::ForbiddenField);
        }
        let exchange = open(self.find(stream))?;
        if exchange.sending != Sending::Head {
            return Err(CommandError::WrongState);
        }
        if status == StatusCode::CONTINUE && !std::mem::take(&mut exchange.expects) {
            return Ok(()); // the content is coming, or nobody waits for the word
        }
        if exchange.old {
            return Ok(());
        }
        self.write_lines(false, |out| {
            write_status(status, out);
            headers.iter().for_each(|(name, value)| write_field(name, value, out));
            out.extend_from_slice(b"\r\n");
        });
        if status == StatusCode::CONTINUE && self.config.min_body_rate > 0 {
            self.invited();
        }
        Ok(())
    }

    /// Sends content; ask `send_capacity` before, so that the output stays short. `end`: there is no more, and there are
    /// no trailers.
    ///
    /// # Errors
    ///
    /// [`CommandError`]; nothing was sent then.
    pub fn send_data(&mut self, stream: StreamKey, data: Bytes, end: bool) -> Result<(), CommandError> {
        let exchange = open(self.find(stream))?;
        if exchange.to_send == Content::Forbidden && exchange.sending != Sending::Head {
            return Ok(());
        }
        if exchange.sending != Sending::Body {
            return Err(CommandError::WrongState);
        }
        let mut to_send = exchange.to_send;
        if to_send.take(data.len() as u64, end) == Err(Mismatch) {
            return Err(CommandError::ContentLength);
        }
        exchange.to_send = to_send;
        if end {
            exchange.sending = Sending::Ended;
        }
        let chunked = exchange.frame == Frame::Chunked;
        if self.log.is_some() {
            self.log_content(Direction::Sent, data.len(), end);
        }
        write_content(&mut self.output, data, chunked);
        if end && chunked {
            self.output.copy(b"0\r\n\r\n");
        }
        if end {
            self.settle();
        }
        Ok(())
    }

    /// Sends trailers, which end the message. Where the framing has no place for them they are left out (RFC 9110 §6.5.1).
    ///
    /// # Errors
    ///
    /// [`CommandError`]; nothing was sent then.
    pub fn send_trailers(&mut self, stream: StreamKey, trailers: HeaderMap) -> Result<(), CommandError> {
        // RFC 9110 §6.5.1: what frames, routes or authenticates a message comes before it.
        let misplaced = NOT_IN_TRAILERS.iter().any(|name| trailers.contains_key(name));
        if check_fields(&trailers, false)?.length.is_some() || misplaced {
            return Err(CommandError::ForbiddenField);
        }
        let exchange = open(self.find(stream))?;
        if exchange.to_send == Content::Forbidden && exchange.sending != Sending::Head {
            return Ok(());
        }
        if exchange.sending != Sending::Body || exchange.receiving == Receiving::Tunnel {
            return Err(CommandError::WrongState);
        }
        if exchange.to_send.take(0, true) == Err(Mismatch) {
            return Err(CommandError::ContentLength);
        }
        exchange.sending = Sending::Ended;
        if exchange.frame == Frame::Chunked {
            self.write_lines(true, |out| {
                out.extend_from_slice(b"0\r\n");
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
        exchange.wants_room = room == 0;
        room
    }

    /// Whether all the content that was announced has been sent, so that only its end is to come.
    pub(crate) fn is_all_sent(&self, stream: StreamKey) -> bool {
        let sent = |it: &Exchange| it.sending == Sending::Body && it.to_send == Content::Remaining(0);
        self.exchange.as_ref().is_some_and(|it| it.key() == stream && sent(it))
    }

    /// Breaks the answer off: 500 where nothing was sent yet, and otherwise the end of the connection, so that the peer
    /// does not take a part for the whole. `finish` is still due.
    pub fn reset(&mut self, stream: StreamKey, reason: Reason) {
        let Some(exchange) = self.find(stream) else { return };
        match exchange.sending {
            Sending::Ended => {}
            Sending::Head => {
                exchange.sending = Sending::Ended;
                exchange.persists = false;
                self.tally.resets = self.tally.resets.saturating_add(1);
                self.write_refusal(StatusCode::INTERNAL_SERVER_ERROR, "the request was not answered");
                self.settle();
            }
            Sending::Body => {
                self.breaks_off = exchange.frame == Frame::Close;
                self.tally.resets = self.tally.resets.saturating_add(1);
                self.close(Some(self.error(reason, "the answer was broken off", None)));
            }
        }
    }

    /// Lets go of the request: no event mentions it any more.
    pub fn finish(&mut self, stream: StreamKey) {
        let Some(exchange) = self.find(stream) else { return };
        exchange.held = false;
        exchange.unreleased = 0;
        if exchange.sending != Sending::Ended {
            self.reset(stream, Reason::INTERNAL_ERROR);
        }
        self.settle();
    }
}

/// How a response goes out.
struct Plan {
    frame: Frame,
    to_send: Content,
    /// `content-length` that the fields do not have.
    length: Option<u64>,
    /// The one that they have is sent.
    own_length: bool,
    end: bool,
}

impl Exchange {
    /// RFC 9112 §6: what frames the content of this response.
    fn plan(
        &self,
        head: &ResponseHead<'_>,
        checked: &Checked,
        end: bool,
        tunnel: bool,
    ) -> Result<Plan, CommandError> {
        if tunnel {
            // RFC 9110 §9.3.6: what goes through a tunnel has no length.
            if checked.length.is_some() {
                return Err(CommandError::ContentLength);
            }
            let (frame, to_send) = (Frame::Length, Content::Free);
            return Ok(Plan { frame, to_send, length: None, own_length: false, end });
        }
        let none = head.status == StatusCode::NO_CONTENT;
        let bare = none || head.status == StatusCode::NOT_MODIFIED || self.asked == Asked::HeadOnly;
        if bare {
            // RFC 9110 §8.6: no length with 204.
            let length = head.content_length.filter(|_| !none && checked.length.is_none());
            let own_length = checked.length.is_some() && !none;
            let (frame, to_send) = (Frame::Length, Content::Forbidden);
            return Ok(Plan { frame, to_send, length, own_length, end: true });
        }
        if head.status == StatusCode::RESET_CONTENT {
            // RFC 9110 §15.3.6: whatever the application has made of it.
            if checked.length.is_some_and(|length| length > 0) {
                return Err(CommandError::ContentLength);
            }
            let own_length = checked.length.is_some();
            let (frame, to_send) = (Frame::Length, Content::Forbidden);
            let length = (!own_length).then_some(0);
            return Ok(Plan { frame, to_send, length, own_length, end: true });
        }
        if let (Some(own), Some(counted)) = (checked.length, head.content_length) {
            if own != counted {
                return Err(CommandError::ContentLength);
            }
        }
        let known = checked.length.or(head.content_length);
        if end && known.is_some_and(|length| length > 0) {
            return Err(CommandError::ContentLength);
        }
        let known = if end { Some(0) } else { known };
        let frame = match known {
            Some(_) => Frame::Length,
            None if self.old => Frame::Close,
            None => Frame::Chunked,
        };
        Ok(Plan {
            frame,
            to_send: known.map_or(Content::Free, Content::Remaining),
            length: known.filter(|_| checked.length.is_none()),
            own_length: checked.length.is_some(),
            end,
        })
    }
}

/// The request of a command, if it is still in the application's hands.
fn open(exchange: Option<&mut Exchange>) -> Result<&mut Exchange, CommandError> {
    exchange.filter(|exchange| exchange.held).ok_or(CommandError::StreamGone)
}

/// Checks fields that are to be sent. The framing is ours, and so is what concerns the connection but for the wish to
/// close it and for protocols that it names (RFC 9110 §7.8): the `last` head says that, not interim ones or trailers.
fn check_fields(headers: &HeaderMap, last: bool) -> Result<Checked, CommandError> {
    let mut checked = Checked::default();
    for (name, value) in headers {
        let forbidden = match *name {
            header::CONTENT_LENGTH => {
                let length = parse_length(value).ok_or(CommandError::ContentLength)?;
                checked.length.replace(length).is_some()
            }
            header::DATE => std::mem::replace(&mut checked.date, true),
            header::CONNECTION => {
                checked.closes |= list(value).any(|option| option.eq_ignore_ascii_case(b"close"));
                !last
            }
            header::UPGRADE => {
                checked.upgrade = true;
                !last
            }
            header::TRANSFER_ENCODING | header::TE => true,
            _ => matches!(name.as_str(), "keep-alive" | "proxy-connection"),
        };
        if forbidden {
            return Err(CommandError::ForbiddenField);
        }
    }
    Ok(checked)
}

fn write_status(status: StatusCode, out: &mut Vec<u8>) {
    if status == StatusCode::OK {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}
