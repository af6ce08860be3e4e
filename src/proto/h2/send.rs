//! Commands: heads, content, trailers, and letting go.
//!
//! A small response is framed straight into the output buffer. Content that does not fit the windows, or that
//! other content is ahead of, waits in its stream's queue for [`poll_transmit`](Connection::poll_transmit).

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode};

use super::connection::{Connection, Going, Phase, Role};
use super::error::{CommandError, Reason};
use super::flow::{ReceiveWindow, SendWindow};
use super::frame::{END_STREAM, Head, Kind, MAX_STREAM_ID};
use super::head::parse_length;
use super::headers::{block_head, has_no_content};
use super::hpack::is_authority;
use super::output::Part;
use super::priority::{Priority, Signal};
use super::protocol::Protocol;
use super::stream::{Asked, Content, Mismatch, Receiving, Room, Sending, Stream, StreamKey};
use super::streams::{Ending, queue_of};
use crate::limits;

/// A response's head, with what its sender knows without having made fields of it.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// The final status.
    pub status: StatusCode,
    /// The fields.
    pub headers: &'a HeaderMap,
    /// Sent as `date` unless `headers` has one.
    pub date: Option<&'a HeaderValue>,
    /// Sent as `content-length` unless `headers` has one.
    pub content_length: Option<u64>,
}

impl Connection {
    /// Sends a response's final head (server). `end`: there is no content.
    ///
    /// After HEAD, and with 204 or 304, the stream ends here in any case, and content sent later is dropped.
    ///
    /// # Errors
    ///
    /// [`CommandError`]; nothing was sent then, and the stream may still be answered differently.
    #[inline]
    pub fn respond(
        &mut self,
        stream: StreamKey,
        status: StatusCode,
        headers: &HeaderMap,
        end: bool,
    ) -> Result<(), CommandError> {
        self.respond_with(stream, ResponseHead { status, headers, date: None, content_length: None }, end)
    }

    /// As [`respond`](Connection::respond), with a date and a length that need not be made into fields first.
    ///
    /// # Errors
    ///
    /// As [`respond`](Connection::respond).
    #[inline]
    pub fn respond_with(
        &mut self,
        stream: StreamKey,
        mut head: ResponseHead<'_>,
        end: bool,
    ) -> Result<(), CommandError> {
        self.check_alive(Role::Server)?;
        let generation = self.encoder.generation();
        let known = self.known.as_ref().filter(|known| known.is(&head, generation));
        let (known, checked) = match known {
            Some(known) => (true, Checked::length(known.length())),
            None => (false, check_head(&mut head)?),
        };
        let own = checked.length;
        let length = own.or(head.content_length);
        let status = head.status;
        let target = open_stream(self.streams.get_mut(stream))?;
        if target.sending != Sending::Head {
            return Err(CommandError::WrongState);
        }
        let bare = has_no_content(target.asked, status);
        let asked = target.asked.answered(status);
        let to_send = match length {
            _ if bare => Content::Forbidden,
            Some(length) if asked != Asked::Tunnel => Content::Remaining(length),
            _ => Content::Free,
        };
        if asked == Asked::Tunnel && length.is_some() {
            // RFC 9110 §9.3.6: what goes through a tunnel has no length.
            if own.is_some() {
                return Err(CommandError::ContentLength);
            }
            head.content_length = None;
        }
        if own.is_some() {
            // The field and the sender's count must agree (RFC 9110 §8.6), unless no content goes out.
            if !bare && head.content_length.is_some_and(|counted| own != Some(counted)) {
                return Err(CommandError::ContentLength);
            }
            head.content_length = None;
        }
        let end = end || bare;
        if end && matches!(to_send, Content::Remaining(1..)) {
            return Err(CommandError::ContentLength);
        }
        target.asked = asked;
        target.to_send = to_send;
        target.sending = if end { Sending::Ended } else { Sending::Body };
        let id = target.id;
        if known {
            self.repeat_response(id, head.content_length, end);
        } else {
            self.write_response(id, &head, checked, end);
            self.obey(stream, checked.priority);
        }
        if end {
            self.retire(stream);
        }
        Ok(())
    }

    /// Sends an interim response, 1xx but not 101 (server).
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
        self.check_alive(Role::Server)?;
        check_fields(headers)?;
        let target = open_stream(self.streams.get_mut(stream))?;
        if target.sending != Sending::Head {
            return Err(CommandError::WrongState);
        }
        let id = target.id;
        if status == StatusCode::CONTINUE {
            self.invited(stream);
        }
        let head = ResponseHead { status, headers, date: None, content_length: None };
        self.write_response(id, &head, Checked::length(None), false);
        Ok(())
    }

    #[inline]
    fn check_alive(&self, role: Role) -> Result<(), CommandError> {
        if self.phase == Phase::Dead {
            return Err(CommandError::ConnectionClosed);
        }
        if self.role != role {
            return Err(CommandError::WrongRole);
        }
        Ok(())
    }

    fn write_response(&mut self, id: u32, head: &ResponseHead<'_>, checked: Checked, end: bool) {
        let (encoder, known) = (&mut self.encoder, &mut self.known);
        self.output.block(
            self.peer.max_frame_size as usize,
            |out| {
                encoder.begin_block(out);
                let (from, generation) = (out.len(), encoder.generation());
                encoder.encode_status(head.status, out);
                for (name, value) in head.headers {
                    encoder.encode_field(name, value, out);
                }
                if let Some(date) = head.date {
                    encoder.encode_field(&header::DATE, date, out);
                }
                // A head that is sent again is not looked through: one that says something is not kept.
                if encoder.generation() == generation && checked.priority.is_none() {
                    known.get_or_insert_default().note(head, checked.length, generation, &out[from..]);
                }
                if let Some(length) = head.content_length {
                    encoder.encode_content_length(length, out);
                }
            },
            |length, part| block_head(length, part, id, end),
        );
    }

    /// Writes the head that is known, and a length of its own.
    #[inline]
    fn repeat_response(&mut self, id: u32, content_length: Option<u64>, end: bool) {
        let (encoder, Some(known)) = (&mut self.encoder, &mut self.known) else { return };
        if let Some(block) = known.with_length(content_length) {
            // Far below any peer's bound on frames.
            let head = block_head(block.len() as u32, Part::WHOLE, id, end);
            return self.output.frame(head, block);
        }
        self.output.block(
            self.peer.max_frame_size as usize,
            |out| {
                out.extend_from_slice(known.fields());
                let Some(length) = content_length else { return };
                let (from, generation) = (out.len(), encoder.generation());
                encoder.encode_content_length(length, out);
                if encoder.generation() == generation {
                    known.note_length(length, &out[from..]);
                }
            },
            |length, part| block_head(length, part, id, end),
        );
    }

    /// Sends a request (client). `end`: there is no content.
    ///
    /// # Errors
    ///
    /// [`CommandError`]; nothing was sent then.
    pub fn request<B>(&mut self, request: &Request<B>, end: bool) -> Result<StreamKey, CommandError> {
        self.check_alive(Role::Client)?;
        if self.peer_last.is_some() || self.going != Going::No || self.last_own > MAX_STREAM_ID - 2 {
            return Err(CommandError::GoingAway);
        }
        if self.streams.len() >= self.peer.max_concurrent_streams {
            return Err(CommandError::TooManyStreams);
        }
        let Checked { length, priority } = check_fields(request.headers())?;
        let protocol = check_target(request)?;
        if protocol.is_some() && !self.peer.connect_protocol {
            return Err(CommandError::NoConnectProtocol);
        }
        check_host(request)?;
        if end && length.is_some_and(|length| length > 0) {
            return Err(CommandError::ContentLength);
        }
        let id = if self.last_own == 0 { 1 } else { self.last_own + 2 };
        self.last_own = id;
        let key = self.streams.insert(
            id,
            SendWindow::new(self.peer.initial_window),
            ReceiveWindow::new(self.stream_window),
        );
        self.timers.busy();
        self.tally.streams += 1;
        if let Some(stream) = self.streams.get_mut(key) {
            stream.sending = if end { Sending::Ended } else { Sending::Body };
            stream.asked = Asked::by(request.method());
            // What goes through a tunnel is not the content of the request.
            let length = length.filter(|_| stream.asked != Asked::Tunnel);
            stream.to_send = length.map_or(Content::Free, Content::Remaining);
            // Our own content goes out in the same order as the answers should come (RFC 9218 §9).
            stream.priority = priority.map_or(Priority::UNSAID, |said| said.over(Priority::default()));
        }
        self.write_request(id, request, protocol, end);
        Ok(key)
    }

    /// How many requests the peer takes now (client); `Event`s and `finish` can change it.
    ///
    /// # Errors
    ///
    /// [`CommandError`] when it takes none any more.
    pub fn request_room(&self) -> Result<usize, CommandError> {
        self.check_alive(Role::Client)?;
        if self.peer_last.is_some() || self.going != Going::No || self.last_own > MAX_STREAM_ID - 2 {
            return Err(CommandError::GoingAway);
        }
        Ok(self.peer.max_concurrent_streams.saturating_sub(self.streams.len()) as usize)
    }

    /// Whether the peer takes extended CONNECT (RFC 8441, client); `None` until its SETTINGS have come.
    pub fn takes_connect_protocol(&self) -> Option<bool> {
        match self.phase {
            Phase::Preface | Phase::FirstSettings => None,
            Phase::Open | Phase::Dead => Some(self.peer.connect_protocol),
        }
    }

    fn write_request<B>(&mut self, id: u32, request: &Request<B>, protocol: Option<&Protocol>, end: bool) {
        let encoder = &mut self.encoder;
        self.output.block(
            self.peer.max_frame_size as usize,
            |out| {
                let uri = request.uri();
                encoder.begin_block(out);
                encoder.encode_method(request.method(), out);
                if let Some(protocol) = protocol {
                    encoder.encode_protocol(protocol.as_str(), out);
                }
                if let (Some(scheme), Some(path)) = (uri.scheme(), uri.path_and_query()) {
                    encoder.encode_scheme(scheme, out);
                    encoder.encode_path(path.as_str(), out);
                }
                if let Some(authority) = uri.authority() {
                    encoder.encode_authority(authority.as_str(), out);
                }
                for (name, value) in request.headers() {
                    encoder.encode_field(name, value, out);
                }
            },
            |length, part| block_head(length, part, id, end),
        );
    }

    /// Sends content, or queues what the windows do not allow yet; ask `send_capacity` before, so that the
    /// queue stays short. `end`: there is no more, and there are no trailers.
    ///
    /// # Errors
    ///
    /// [`CommandError`]; nothing was queued then.
    #[inline]
    pub fn send_data(&mut self, stream: StreamKey, data: Bytes, end: bool) -> Result<(), CommandError> {
        let target = open_stream(self.streams.get_mut(stream))?;
        if target.to_send == Content::Forbidden && target.sending != Sending::Head {
            return Ok(());
        }
        if target.sending != Sending::Body {
            return Err(CommandError::WrongState);
        }
        // Checked on a copy: a refused piece must not count.
        let mut to_send = target.to_send;
        if to_send.take(data.len() as u64, end) == Err(Mismatch) {
            return Err(CommandError::ContentLength);
        }
        target.to_send = to_send;
        if data.is_empty() && !end {
            return Ok(());
        }
        let at_once = target.queued() == 0
            && (data.is_empty()
                || (data.len() <= limits::H2_COPY_BYTES
                    && data.len() <= target.send_window.available()
                    && data.len() <= self.send_window.available()
                    && self.output.len() < self.config.turn_bytes
                    && self.ready.admits(target.priority)));
        if at_once {
            let id = target.id;
            target.send_window.take(data.len());
            self.send_window.take(data.len());
            target.sending = if end { Sending::Ended } else { Sending::Body };
            self.write_frame(Kind::Data, if end { END_STREAM } else { 0 }, id, &data);
            if end {
                self.retire(stream);
            }
            return Ok(());
        }
        self.tally.queued += data.len();
        queue_of(target).push(data, limits::H2_COPY_BYTES);
        target.sending = if end { Sending::Closing } else { Sending::Body };
        self.schedule(stream);
        Ok(())
    }

    /// Sends trailers behind whatever is queued; they end the stream. A tunnel has none (RFC 9113 §8.5).
    ///
    /// # Errors
    ///
    /// [`CommandError`]; nothing was sent then.
    pub fn send_trailers(&mut self, stream: StreamKey, trailers: HeaderMap) -> Result<(), CommandError> {
        if check_fields(&trailers)?.length.is_some() {
            // RFC 9110 §6.5.1: what frames a message comes before it.
            return Err(CommandError::ForbiddenField);
        }
        let target = open_stream(self.streams.get_mut(stream))?;
        if target.to_send == Content::Forbidden && target.sending != Sending::Head {
            return Ok(());
        }
        if target.sending != Sending::Body || target.asked == Asked::Tunnel {
            return Err(CommandError::WrongState);
        }
        if target.to_send.take(0, true) == Err(Mismatch) {
            return Err(CommandError::ContentLength);
        }
        if target.queued() > 0 {
            queue_of(target).trailers = Some(trailers);
            target.sending = Sending::Closing;
            return Ok(());
        }
        target.sending = Sending::Ended;
        let id = target.id;
        self.write_trailers(id, &trailers);
        self.retire(stream);
        Ok(())
    }

    pub(super) fn write_trailers(&mut self, id: u32, trailers: &HeaderMap) {
        if trailers.is_empty() {
            // An empty header block is legal and useless: END_STREAM needs only DATA.
            self.output.head(Head { length: 0, kind: Kind::Data, flags: END_STREAM, stream: id });
            return;
        }
        let encoder = &mut self.encoder;
        self.output.block(
            self.peer.max_frame_size as usize,
            |out| {
                encoder.begin_block(out);
                for (name, value) in trailers {
                    encoder.encode_field(name, value, out);
                }
            },
            |length, part| block_head(length, part, id, true),
        );
    }

    /// How much content the stream should queue now; after a 0, `Event::Writable` says when to ask again.
    #[inline]
    pub fn send_capacity(&mut self, stream: StreamKey) -> usize {
        let room = self.room_of(stream);
        if room == 0 {
            if let Some(target) = self.streams.get_mut(stream) {
                target.room = Room::Wanted;
                self.watch();
            }
        }
        room
    }

    /// Resets the stream; `finish` is still due. Nothing happens when it is over already.
    pub fn reset(&mut self, stream: StreamKey, reason: Reason) {
        let Some(target) = self.streams.get_mut(stream) else { return };
        if target.is_closed() {
            return;
        }
        target.dead = true;
        target.room = Room::Unasked;
        let (id, priority) = (target.id, target.priority);
        if let Some(queue) = &mut target.queue {
            self.tally.queued -= queue.clear();
        }
        if std::mem::take(&mut target.scheduled) {
            self.ready.remove(stream, id, priority);
        }
        self.write_reset(id, reason);
        self.endings.note(id, Ending::OwnReset);
        self.retire(stream);
    }

    /// Lets go of the stream: no event mentions it any more, and it stops counting once it is closed. What is
    /// queued is still sent if the message was ended; a message that was not is reset. The key is stale after.
    #[inline]
    pub fn finish(&mut self, stream: StreamKey) {
        let Some(target) = self.streams.get_mut(stream) else { return };
        target.held = false;
        target.room = Room::Unasked;
        let unreleased = std::mem::take(&mut target.unreleased);
        let discards = self.role == Role::Server
            && target.receiving == Receiving::Body
            && matches!(target.sending, Sending::Closing | Sending::Ended);
        if unreleased > 0 {
            self.tally.unreleased -= unreleased as usize;
            self.give_back(unreleased);
        }
        if discards {
            self.begin_discard(stream, unreleased);
        }
        self.let_go(stream);
    }

    /// As [`finish`](Connection::finish), for a stream on which nothing more is sent or received: it stops counting
    /// although the application still reads. What it has not released keeps the connection's window closed until
    /// [`release_late`](Connection::release_late). `false` when the stream is not over, and nothing was done.
    pub fn detach(&mut self, stream: StreamKey) -> bool {
        let Some(target) = self.streams.get_mut(stream).filter(|target| target.is_closed()) else {
            return false;
        };
        target.held = false;
        target.room = Room::Unasked;
        target.unreleased = 0;
        self.retire(stream);
        true
    }

    /// What becomes of a stream that the application has let go of.
    #[inline]
    pub(super) fn let_go(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get(key) else { return };
        if !stream.is_closed() {
            match (stream.sending, self.role) {
                (Sending::Closing, _) => return,
                (Sending::Ended, Role::Server) if self.discards(key) => return,
                // RFC 9113 §8.1: the answer is complete, the rest of the request is not needed.
                (Sending::Ended, Role::Server) => self.reset(key, Reason::NO_ERROR),
                (Sending::Head | Sending::Body, Role::Server) => self.reset(key, Reason::INTERNAL_ERROR),
                (Sending::Head | Sending::Body | Sending::Ended, Role::Client) => {
                    self.reset(key, Reason::CANCEL);
                }
            }
            return;
        }
        self.retire(key);
    }

    /// Sends a PING; `Event::Pong` brings it back.
    ///
    /// # Errors
    ///
    /// [`CommandError::Busy`] when too many are on their way, or nothing may be sent yet: a server's first frame is
    /// SETTINGS (RFC 9113 §3.4).
    pub fn ping(&mut self, payload: [u8; 8]) -> Result<(), CommandError> {
        if self.phase == Phase::Dead {
            return Err(CommandError::ConnectionClosed);
        }
        let most = self.config.waiting_acks.saturating_sub(limits::H2_OWN_PINGS);
        if self.acks.pings_out >= most || self.phase == Phase::Preface {
            return Err(CommandError::Busy);
        }
        self.acks.pings_out += 1;
        self.write_frame(Kind::Ping, 0, 0, &payload);
        Ok(())
    }
}

/// The stream of a command, alive and still in the application's hands.
#[inline]
fn open_stream(stream: Option<&mut Stream>) -> Result<&mut Stream, CommandError> {
    stream.filter(|stream| !stream.dead && stream.held).ok_or(CommandError::StreamGone)
}

/// What fields that are to be sent mean to us.
#[derive(Clone, Copy)]
struct Checked {
    /// `content-length`.
    length: Option<u64>,
    priority: Option<Signal>,
}

impl Checked {
    fn length(length: Option<u64>) -> Checked {
        Checked { length, priority: None }
    }
}

/// Checks a final head and drops a date that it has twice.
#[inline]
fn check_head(head: &mut ResponseHead<'_>) -> Result<Checked, CommandError> {
    if head.status.is_informational() {
        return Err(CommandError::Status);
    }
    let own = check_fields(head.headers)?;
    if head.date.is_some() && head.headers.contains_key(header::DATE) {
        head.date = None;
    }
    Ok(own)
}

/// Checks fields that are to be sent.
#[inline]
fn check_fields(headers: &HeaderMap) -> Result<Checked, CommandError> {
    let mut checked = Checked::length(None);
    for (name, value) in headers {
        check_value(value)?;
        check_field(name, value, &mut checked)?;
    }
    Ok(checked)
}

/// The first field that may not be sent.
#[cold]
pub(crate) fn forbidden_field(headers: &HeaderMap) -> Option<HeaderName> {
    let mut checked = Checked::length(None);
    let refused = |(name, value): &(&HeaderName, &HeaderValue)| {
        check_value(value).is_err() || check_field(name, value, &mut checked).is_err()
    };
    headers.iter().find(refused).map(|(name, _)| name.clone())
}

/// A value must not begin or end with a blank (RFC 9113 §8.2.1); everything else its type rules out.
#[inline]
fn check_value(value: &HeaderValue) -> Result<(), CommandError> {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let bytes = value.as_bytes();
    if blank(bytes.first()) || blank(bytes.last()) { Err(CommandError::ForbiddenField) } else { Ok(()) }
}

/// Connection-specific fields do not exist in HTTP/2 (RFC 9113 §8.2.2).
#[inline]
fn check_field(name: &HeaderName, value: &HeaderValue, checked: &mut Checked) -> Result<(), CommandError> {
    let name = name.as_str();
    let forbidden = match name.len() {
        2 => name == "te" && !value.as_bytes().eq_ignore_ascii_case(b"trailers"),
        7 => name == "upgrade",
        8 if name == "priority" => {
            checked.priority = Signal::parse(value.as_bytes());
            false
        }
        10 => name == "connection" || name == "keep-alive",
        14 if name == "content-length" => {
            let length = parse_length(value).ok_or(CommandError::ContentLength)?;
            // Once: it is no list (RFC 9110 §5.3).
            checked.length.replace(length).is_some()
        }
        16 => name == "proxy-connection",
        17 => name == "transfer-encoding",
        _ => false,
    };
    if forbidden { Err(CommandError::ForbiddenField) } else { Ok(()) }
}

/// Checks the target; returns the protocol of an extended CONNECT, whose target is complete (RFC 8441 §4).
fn check_target<B>(request: &Request<B>) -> Result<Option<&Protocol>, CommandError> {
    let uri = request.uri();
    let tunnel = request.method() == Method::CONNECT;
    let protocol = request.extensions().get::<Protocol>();
    let Some(authority) = uri.authority() else { return Err(CommandError::Target) };
    // RFC 9113 §8.3.1: no user information.
    let plain = !authority.as_str().contains('@') && is_authority(authority.as_str().as_bytes());
    let complete = match (uri.scheme(), uri.path_and_query()) {
        (None, None) => tunnel && protocol.is_none() && authority.port_u16().is_some_and(|port| port > 0),
        (Some(_), Some(path)) => tunnel == protocol.is_some() && is_path(path.as_str(), request.method()),
        (Some(_), None) | (None, Some(_)) => false,
    };
    if plain && complete { Ok(protocol) } else { Err(CommandError::Target) }
}

/// What `:path` may be: it starts with a slash, or is the asterisk of OPTIONS (RFC 9113 §8.3.1).
#[inline]
pub(super) fn is_path(path: &str, method: &Method) -> bool {
    path.starts_with('/') || (path == "*" && *method == Method::OPTIONS)
}

/// `host` may be sent if it says what `:authority` says (RFC 9113 §8.3.1).
fn check_host<B>(request: &Request<B>) -> Result<(), CommandError> {
    let authority = request.uri().authority().map_or("", |authority| authority.as_str());
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let agrees = |host: &HeaderValue| host.as_bytes().eq_ignore_ascii_case(authority.as_bytes());
    match (hosts.next(), hosts.next()) {
        (None, None) => Ok(()),
        (Some(host), None) if agrees(host) => Ok(()),
        (_, _) => Err(CommandError::ForbiddenField),
    }
}
