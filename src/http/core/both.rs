//! HTTP/1 and HTTP/2.

use std::{io::IoSlice, sync::Arc};

use ::http::{HeaderMap, HeaderValue, Request, StatusCode, Version};
use bytes::Bytes;

use crate::{
    http::{date::Date, server::Builder},
    proto::{
        h1::{self, Http1},
        h2::{
            COUNTS, CommandError, Config, Connection, Event, FrameLog, Held, Priority, Reason, ResponseHead,
            Stats, StreamKey, Trips,
        },
    },
};

/// The machine of a connection.
// HTTP/2 is the common case and not boxed; HTTP/1 takes what is left.
pub(in crate::http) enum Core {
    /// Also while it is not known which it is.
    Http2(Connection),
    Http1(Box<h1::Connection>),
    /// A client's end of HTTP/1.
    Http1Client(Box<h1::Client>),
}

/// What a server's builder was told of other versions.
#[derive(Clone, Debug, Default)]
pub(in crate::http) struct Older(Option<Arc<Http1>>);

impl Older {
    /// What is spoken, by the names of ALPN.
    pub(in crate::http) fn protocols(&self) -> &'static [&'static [u8]] {
        // Who knows 1.0 alone, such as `curl --http1.0`, offers nothing else, and would not be let in (RFC 7301 §3.2).
        if self.0.is_some() { &[b"h2", b"http/1.1", b"http/1.0"] } else { &[b"h2"] }
    }

    /// Makes a server's end, of what ALPN has agreed on; where it has not, the client's first octets say what it speaks.
    pub(in crate::http) fn server(&self, config: Arc<Config>, agreed: Option<Version>, now: u64) -> Core {
        let mut core = match (agreed, &self.0) {
            (None | Some(Version::HTTP_2), _) | (Some(_), None) => Connection::server(config, now),
            (Some(_older), Some(settings)) => {
                return Core::Http1(Box::new(h1::Connection::server(config, settings.clone(), true, now)));
            }
        };
        if agreed == Some(Version::HTTP_2) {
            core.insist();
        } else if self.0.is_some() {
            core.leave_http1();
        }
        Core::Http2(core)
    }
}

impl Builder {
    /// Serves HTTP/1.0 and 1.1 on the same port, too: a connection that does not begin with HTTP/2's preface is read as
    /// such. The handler is the same; deadlines and the bounds of heads are those of [`http2`](Builder::http2).
    ///
    /// Requests look as HTTP/2's do: the target has scheme and authority, from the `host` field. What only HTTP/1 has is
    /// there too: `upgrade` is answered with a 101 whose body is a [`Tunnel`](crate::http::Tunnel)'s, and a response's
    /// `connection: close` is obeyed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use wakering::{http::{Body, Http1, Request, Response, Server}, net::TcpListener};
    ///
    /// wakering::run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?;
    ///     let server = Server::builder().http1(Http1::default()).start(listener, |request: Request<Body>| async move {
    ///         Response::new(Body::from(format!("{:?}", request.version())))
    ///     })?;
    ///     server.stop(Duration::ZERO).await;
    ///     Ok::<(), std::io::Error>(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn http1(mut self, settings: impl Into<Arc<Http1>>) -> Self {
        self.older = Older(Some(settings.into()));
        self
    }
}

/// Changes the version, as `Event::Http1` asks for; `false` when there is no other.
pub(in crate::http) fn switch(core: &mut Core, older: &Older, secure: bool, now: u64) -> bool {
    let Some(settings) = &older.0 else { return false };
    match core {
        Core::Http2(old) => {
            let mut new = Box::new(h1::Connection::server(old.config(), settings.clone(), secure, now));
            if let Some(log) = old.take_log() {
                new.log_frames(log);
            }
            new.receive(old.take_input());
            if old.is_leaving() {
                new.shutdown();
            }
            *core = Core::Http1(new);
        }
        Core::Http1(old) => {
            let Some(upgrade) = old.upgrade().take() else { return true };
            let Some(mut new) = Connection::upgraded(old.config(), now, upgrade.settings()) else {
                // It goes on with the request as if it had not been asked.
                *old.upgrade() = Some(upgrade);
                return true;
            };
            if let Some(log) = old.take_log() {
                new.log_upgraded(log);
            }
            new.begin_upgraded(upgrade.request);
            new.receive(old.take_input());
            *core = Core::Http2(new);
        }
        // It never asks for it.
        Core::Http1Client(_) => return false,
    }
    true
}

/// Which versions a client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::http) enum Choice {
    /// In cleartext HTTP/2, and over TLS what the server prefers.
    #[default]
    Newest,
    /// In cleartext HTTP/1.1, and over TLS what the server prefers.
    OlderInCleartext,
    /// HTTP/1.1 alone.
    Older,
}

impl Choice {
    /// What is spoken without being asked.
    pub(in crate::http) fn in_cleartext(self) -> Version {
        match self {
            Choice::Newest => Version::HTTP_2,
            Choice::OlderInCleartext | Choice::Older => Version::HTTP_11,
        }
    }
}

#[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "nobody asks without TLS"))]
impl Choice {
    const HTTP1: &'static [u8] = b"http/1.1";
    /// What is offered over TLS, by the names of ALPN.
    pub(in crate::http) const OFFERED: &'static [&'static [u8]] = &[b"h2", Choice::HTTP1];
    /// The same of a client that speaks HTTP/1.1 alone.
    pub(in crate::http) const OFFERED_OLDER: &'static [&'static [u8]] = &[Choice::HTTP1];

    pub(in crate::http) fn is_older(self) -> bool {
        self == Choice::Older
    }

    /// What is spoken after this answer by ALPN. A server that knows none of it speaks HTTP/1.1, if that was offered.
    pub(in crate::http) fn over_tls(
        self,
        chosen: Option<&[u8]>,
        offered: impl Fn(&[u8]) -> bool,
    ) -> Option<Version> {
        match chosen {
            Some(b"h2") if self != Choice::Older => Some(Version::HTTP_2),
            Some(Choice::HTTP1) => Some(Version::HTTP_11),
            None if offered(Choice::HTTP1) => Some(Version::HTTP_11),
            Some(_) | None => None,
        }
    }
}

/// Makes a client's end of a connection that speaks this version.
pub(in crate::http) fn client(config: Arc<Config>, version: Version, now: u64) -> Core {
    if version == Version::HTTP_2 {
        Core::Http2(Connection::client(config, now))
    } else {
        Core::Http1Client(Box::new(h1::Client::new(config, now)))
    }
}

/// The version that it speaks.
pub(in crate::http) fn version(core: &Core) -> Version {
    match core {
        Core::Http2(_) => Version::HTTP_2,
        Core::Http1(_) | Core::Http1Client(_) => Version::HTTP_11,
    }
}

/// Whether the peer ended the connection without a word on this request, although it had answered others.
pub(in crate::http) fn was_unanswered(core: &Core, stream: StreamKey) -> bool {
    match core {
        Core::Http2(_) | Core::Http1(_) => false,
        Core::Http1Client(core) => core.was_unanswered(stream),
    }
}

/// Whether reading may go on that had to wait.
#[inline]
pub(in crate::http) fn resumes(core: &Core) -> bool {
    match core {
        Core::Http2(_) => false,
        Core::Http1(core) => core.has_events(),
        Core::Http1Client(core) => core.has_events(),
    }
}

/// Whether there is nothing to look at, as between requests of HTTP/1: `poll_event` need not be called then.
#[inline]
pub(in crate::http) fn rests(core: &mut Core, now: u64) -> bool {
    match core {
        Core::Http2(_) | Core::Http1Client(_) => false,
        Core::Http1(core) => core.rests(now),
    }
}

/// Whether the socket's sending direction is to be ended; said once.
#[inline]
pub(in crate::http) fn takes_end(core: &mut Core) -> bool {
    match core {
        Core::Http2(_) => false,
        Core::Http1(core) => core.takes_end(),
        Core::Http1Client(core) => core.takes_end(),
    }
}

/// Whether the peer may still have to read our last words when its end of the socket is open: a client of HTTP/1 has none.
#[inline]
pub(in crate::http) fn lingers(core: &Core) -> bool {
    match core {
        Core::Http2(_) | Core::Http1(_) => true,
        Core::Http1Client(_) => false,
    }
}

/// Whether the socket must be reset, so that nobody takes what was sent for whole.
pub(in crate::http) fn breaks_off(core: &Core) -> bool {
    match core {
        Core::Http2(_) => false,
        Core::Http1(core) => core.breaks_off(),
        Core::Http1Client(core) => core.breaks_off(),
    }
}

/// Whether a client that still sends should be heard out for some time, so that it reads its last answer.
pub(in crate::http) fn hears_out(core: &Core) -> bool {
    match core {
        Core::Http2(_) | Core::Http1Client(_) => false,
        Core::Http1(core) => core.hears_out(),
    }
}

/// Begins an answer. One that is `whole` does not depend on what is still to come of its request.
#[inline(always)]
pub(in crate::http) fn respond(
    core: &mut Core,
    stream: StreamKey,
    head: ResponseHead<'_>,
    end: bool,
    whole: bool,
) -> Result<(), CommandError> {
    match core {
        Core::Http2(core) => core.respond_with(stream, head, end),
        Core::Http1(core) => {
            if whole {
                core.answer_is_whole(stream);
            }
            core.respond_with(stream, head, end)
        }
        Core::Http1Client(_) => Err(CommandError::WrongRole),
    }
}

/// The handler of a stream is gone. Tells whether it was the last, and whether there are events.
#[inline(always)]
pub(in crate::http) fn finish(core: &mut Core, stream: StreamKey) -> (bool, bool) {
    match core {
        Core::Http2(core) => {
            core.finish(stream);
            (core.open_streams() == 0, core.has_events())
        }
        Core::Http1(core) => {
            core.finish(stream);
            (core.open_streams() == 0, core.has_events())
        }
        Core::Http1Client(core) => {
            core.finish(stream);
            (core.open_streams() == 0, core.has_events())
        }
    }
}

/// Whether it is HTTP/1.
#[inline]
pub(in crate::http) fn is_http1(core: &Core) -> bool {
    matches!(core, Core::Http1(_) | Core::Http1Client(_))
}

/// What is spoken, for people.
pub(in crate::http) fn name(core: &Core) -> &'static str {
    match core {
        Core::Http2(_) => "HTTP/2",
        Core::Http1(_) | Core::Http1Client(_) => "HTTP/1",
    }
}

/// What has a number in it.
pub(in crate::http) fn numbered(core: &Core) -> &'static str {
    match core {
        Core::Http2(_) => "HTTP/2 stream",
        Core::Http1(_) | Core::Http1Client(_) => "HTTP/1 request",
    }
}

/// Method and target of a request, where they are still known.
pub(in crate::http) fn line(core: &Core, stream: StreamKey) -> Option<String> {
    match core {
        Core::Http2(_) | Core::Http1Client(_) => None,
        Core::Http1(core) => core.line(stream),
    }
}

/// Whether a 101 would open a tunnel.
#[inline]
pub(in crate::http) fn may_upgrade(core: &Core, stream: StreamKey) -> bool {
    match core {
        Core::Http2(_) | Core::Http1Client(_) => false,
        Core::Http1(core) => core.may_upgrade(stream),
    }
}

/// Tells the date to a machine that makes answers of its own which have one.
#[inline]
pub(in crate::http) fn set_date(core: &mut Core, date: &Date, now: u64) {
    match core {
        Core::Http1(core) if core.needs_date(now) => core.set_date(date.at(now).clone(), date.stale_at()),
        Core::Http2(_) | Core::Http1(_) | Core::Http1Client(_) => {}
    }
}

impl Core {
    #[inline]
    pub(in crate::http) fn receive(&mut self, input: Bytes) {
        match self {
            Core::Http2(core) => core.receive(input),
            Core::Http1(core) => core.receive(input),
            Core::Http1Client(core) => core.receive(input),
        }
    }

    #[inline]
    pub(in crate::http) fn receive_end(&mut self) {
        match self {
            Core::Http2(core) => core.receive_end(),
            Core::Http1(core) => core.receive_end(),
            Core::Http1Client(core) => core.receive_end(),
        }
    }

    #[inline]
    pub(in crate::http) fn poll_event(&mut self, now: u64) -> Option<Event> {
        match self {
            Core::Http2(core) => core.poll_event(now),
            Core::Http1(core) => core.poll_event(now),
            Core::Http1Client(core) => core.poll_event(now),
        }
    }

    #[inline]
    pub(in crate::http) fn has_output(&self) -> bool {
        match self {
            Core::Http2(core) => core.has_output(),
            Core::Http1(core) => core.has_output(),
            Core::Http1Client(core) => core.has_output(),
        }
    }

    #[inline]
    pub(in crate::http) fn has_events(&self) -> bool {
        match self {
            Core::Http2(core) => core.has_events(),
            Core::Http1(core) => core.has_events(),
            Core::Http1Client(core) => core.has_events(),
        }
    }

    #[inline]
    pub(in crate::http) fn is_closed(&self) -> bool {
        match self {
            Core::Http2(core) => core.is_closed(),
            Core::Http1(core) => core.is_closed(),
            Core::Http1Client(core) => core.is_closed(),
        }
    }

    #[inline]
    pub(in crate::http) fn wants_input(&self) -> bool {
        match self {
            Core::Http2(core) => core.wants_input(),
            Core::Http1(core) => core.wants_input(),
            Core::Http1Client(core) => core.wants_input(),
        }
    }

    #[inline]
    pub(in crate::http) fn open_streams(&self) -> usize {
        match self {
            Core::Http2(core) => core.open_streams(),
            Core::Http1(core) => core.open_streams(),
            Core::Http1Client(core) => core.open_streams(),
        }
    }

    pub(in crate::http) fn output_left(&self) -> usize {
        match self {
            Core::Http2(core) => core.output_left(),
            Core::Http1(core) => core.output_left(),
            Core::Http1Client(core) => core.output_left(),
        }
    }

    pub(in crate::http) fn config(&self) -> Arc<Config> {
        match self {
            Core::Http2(core) => core.config(),
            Core::Http1(core) => core.config(),
            Core::Http1Client(core) => core.config(),
        }
    }

    #[inline]
    pub(in crate::http) fn output_is_one_piece(&self) -> bool {
        match self {
            Core::Http2(core) => core.output_is_one_piece(),
            Core::Http1(core) => core.output_is_one_piece(),
            Core::Http1Client(core) => core.output_is_one_piece(),
        }
    }

    #[inline]
    pub(in crate::http) fn transmitted(&mut self, n: usize) {
        match self {
            Core::Http2(core) => core.transmitted(n),
            Core::Http1(core) => core.transmitted(n),
            Core::Http1Client(core) => core.transmitted(n),
        }
    }

    pub(in crate::http) fn held_below(&mut self, n: usize) {
        match self {
            Core::Http2(core) => core.held_below(n),
            Core::Http1(core) => core.held_below(n),
            Core::Http1Client(core) => core.held_below(n),
        }
    }

    #[inline]
    pub(in crate::http) fn next_deadline(&mut self, now: u64) -> Option<u64> {
        match self {
            Core::Http2(core) => core.next_deadline(now),
            Core::Http1(core) => core.next_deadline(now),
            Core::Http1Client(core) => core.next_deadline(now),
        }
    }

    #[inline]
    pub(in crate::http) fn handle_timeout(&mut self, now: u64) {
        match self {
            Core::Http2(core) => core.handle_timeout(now),
            Core::Http1(core) => core.handle_timeout(now),
            Core::Http1Client(core) => core.handle_timeout(now),
        }
    }

    #[inline]
    pub(in crate::http) fn give_buffer(&mut self, memory: Vec<u8>) -> Option<Vec<u8>> {
        match self {
            Core::Http2(core) => core.give_buffer(memory),
            Core::Http1(core) => core.give_buffer(memory),
            Core::Http1Client(core) => core.give_buffer(memory),
        }
    }

    #[inline]
    pub(in crate::http) fn take_buffer(&mut self) -> Option<Vec<u8>> {
        match self {
            Core::Http2(core) => core.take_buffer(),
            Core::Http1(core) => core.take_buffer(),
            Core::Http1Client(core) => core.take_buffer(),
        }
    }

    #[inline(always)]
    pub(in crate::http) fn recycle(&mut self, headers: HeaderMap) {
        match self {
            Core::Http2(core) => core.recycle(headers),
            Core::Http1(core) => core.recycle(headers),
            Core::Http1Client(core) => core.recycle(headers),
        }
    }

    #[inline(always)]
    pub(in crate::http) fn recycle_head(&mut self, head: Box<Request<()>>) {
        match self {
            Core::Http2(core) => core.recycle_head(head),
            Core::Http1(core) => core.recycle_head(head),
            Core::Http1Client(_) => drop(head),
        }
    }

    #[inline(always)]
    pub(in crate::http) fn take_head(&mut self) -> Option<Box<Request<()>>> {
        match self {
            Core::Http2(core) => core.take_head(),
            Core::Http1(core) => core.take_head(),
            Core::Http1Client(_) => None,
        }
    }

    #[inline]
    pub(in crate::http) fn stream_id(&self, stream: StreamKey) -> Option<u32> {
        match self {
            Core::Http2(core) => core.stream_id(stream),
            Core::Http1(core) => core.stream_id(stream),
            Core::Http1Client(core) => core.stream_id(stream),
        }
    }

    #[inline]
    pub(in crate::http) fn send_capacity(&mut self, stream: StreamKey) -> usize {
        match self {
            Core::Http2(core) => core.send_capacity(stream),
            Core::Http1(core) => core.send_capacity(stream),
            Core::Http1Client(core) => core.send_capacity(stream),
        }
    }

    #[inline]
    pub(in crate::http) fn is_all_sent(&self, stream: StreamKey) -> bool {
        match self {
            Core::Http2(core) => core.is_all_sent(stream),
            Core::Http1(core) => core.is_all_sent(stream),
            Core::Http1Client(core) => core.is_all_sent(stream),
        }
    }

    #[inline(always)]
    pub(in crate::http) fn release(&mut self, stream: StreamKey, n: usize) {
        match self {
            Core::Http2(core) => core.release(stream, n),
            Core::Http1(core) => core.release(stream, n),
            Core::Http1Client(core) => core.release(stream, n),
        }
    }

    #[inline]
    pub(in crate::http) fn reset(&mut self, stream: StreamKey, reason: Reason) {
        match self {
            Core::Http2(core) => core.reset(stream, reason),
            Core::Http1(core) => core.reset(stream, reason),
            Core::Http1Client(core) => core.reset(stream, reason),
        }
    }

    #[inline]
    pub(in crate::http) fn inform(
        &mut self,
        stream: StreamKey,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<(), CommandError> {
        match self {
            Core::Http2(core) => core.inform(stream, status, headers),
            Core::Http1(core) => core.inform(stream, status, headers),
            Core::Http1Client(_) => Err(CommandError::WrongRole),
        }
    }

    #[inline(always)]
    pub(in crate::http) fn send_data(
        &mut self,
        stream: StreamKey,
        data: Bytes,
        end: bool,
    ) -> Result<(), CommandError> {
        match self {
            Core::Http2(core) => core.send_data(stream, data, end),
            Core::Http1(core) => core.send_data(stream, data, end),
            Core::Http1Client(core) => core.send_data(stream, data, end),
        }
    }

    #[inline]
    pub(in crate::http) fn send_trailers(
        &mut self,
        stream: StreamKey,
        trailers: HeaderMap,
    ) -> Result<(), CommandError> {
        match self {
            Core::Http2(core) => core.send_trailers(stream, trailers),
            Core::Http1(core) => core.send_trailers(stream, trailers),
            Core::Http1Client(core) => core.send_trailers(stream, trailers),
        }
    }

    #[inline]
    pub(in crate::http) fn abandon(&mut self) {
        match self {
            Core::Http2(core) => core.abandon(),
            Core::Http1(core) => core.abandon(),
            Core::Http1Client(core) => core.abandon(),
        }
    }

    #[inline]
    pub(in crate::http) fn shutdown(&mut self) {
        match self {
            Core::Http2(core) => core.shutdown(),
            Core::Http1(core) => core.shutdown(),
            Core::Http1Client(core) => core.shutdown(),
        }
    }

    #[inline]
    pub(in crate::http) fn stats(&self) -> Stats {
        match self {
            Core::Http2(core) => core.stats(),
            Core::Http1(core) => core.stats(),
            Core::Http1Client(core) => core.stats(),
        }
    }

    #[inline]
    pub(in crate::http) fn held(&self) -> Held {
        match self {
            Core::Http2(core) => core.held(),
            Core::Http1(core) => core.held(),
            Core::Http1Client(core) => core.held(),
        }
    }

    #[inline]
    pub(in crate::http) fn counts(&self) -> [u32; COUNTS] {
        match self {
            Core::Http2(core) => core.counts(),
            Core::Http1(core) => core.counts(),
            Core::Http1Client(core) => core.counts(),
        }
    }

    #[inline]
    pub(in crate::http) fn rare(&self) -> u32 {
        match self {
            Core::Http2(core) => core.rare(),
            Core::Http1(core) => core.rare(),
            Core::Http1Client(core) => core.rare(),
        }
    }

    #[inline]
    pub(in crate::http) fn rarities(&self) -> (u32, u32, Trips) {
        match self {
            Core::Http2(core) => core.rarities(),
            Core::Http1(core) => core.rarities(),
            Core::Http1Client(core) => core.rarities(),
        }
    }

    #[inline]
    pub(in crate::http) fn shed(&mut self, stream: StreamKey, status: Option<StatusCode>) {
        match self {
            Core::Http2(core) => core.shed(stream, status),
            Core::Http1(core) => core.shed(stream),
            Core::Http1Client(_) => {}
        }
    }

    #[inline]
    pub(in crate::http) fn goaway(&mut self, reason: Reason, debug: &[u8]) {
        match self {
            Core::Http2(core) => core.goaway(reason, debug),
            Core::Http1(core) => core.goaway(),
            Core::Http1Client(core) => core.goaway(),
        }
    }

    #[inline]
    pub(in crate::http) fn poll_transmit<'a>(&'a mut self, now: u64, slices: &mut [IoSlice<'a>]) -> usize {
        match self {
            Core::Http2(core) => core.poll_transmit(now, slices),
            Core::Http1(core) => core.poll_transmit(now, slices),
            Core::Http1Client(core) => core.poll_transmit(now, slices),
        }
    }
}

/// What clients need, and what HTTP/2 alone has.
impl Core {
    pub(in crate::http) fn request<B>(
        &mut self,
        request: &Request<B>,
        end: bool,
    ) -> Result<StreamKey, CommandError> {
        match self {
            Core::Http2(core) => core.request(request, end),
            Core::Http1(_) => Err(CommandError::WrongRole),
            Core::Http1Client(core) => core.request(request, end),
        }
    }

    pub(in crate::http) fn prioritize(
        &mut self,
        stream: StreamKey,
        priority: Priority,
    ) -> Result<(), CommandError> {
        match self {
            Core::Http2(core) => core.prioritize(stream, priority),
            Core::Http1(_) | Core::Http1Client(_) => Err(CommandError::WrongRole),
        }
    }

    #[inline]
    pub(in crate::http) fn log_frames(&mut self, log: FrameLog) {
        match self {
            Core::Http2(core) => core.log_frames(log),
            Core::Http1(core) => core.log_frames(log),
            Core::Http1Client(core) => core.log_frames(log),
        }
    }

    #[inline]
    pub(in crate::http) fn release_late(&mut self, n: usize) {
        match self {
            Core::Http2(core) => core.release_late(n),
            Core::Http1(_) => {
                let _nothing = n;
            }
            Core::Http1Client(core) => core.release_late(n),
        }
    }

    #[inline]
    pub(in crate::http) fn detach(&mut self, stream: StreamKey) -> bool {
        match self {
            Core::Http2(core) => core.detach(stream),
            Core::Http1(_) => {
                let _whole = stream;
                false
            }
            Core::Http1Client(core) => core.detach(stream),
        }
    }

    #[inline]
    pub(in crate::http) fn advertise_on(
        &mut self,
        stream: StreamKey,
        value: &HeaderValue,
    ) -> Result<(), CommandError> {
        match self {
            Core::Http2(core) => core.advertise_on(stream, value),
            Core::Http1(_) | Core::Http1Client(_) => Err(CommandError::WrongRole),
        }
    }

    #[inline]
    pub(in crate::http) fn request_room(&self) -> Result<usize, CommandError> {
        match self {
            Core::Http2(core) => core.request_room(),
            Core::Http1(_) => Err(CommandError::WrongRole),
            Core::Http1Client(core) => core.request_room(),
        }
    }

    #[inline]
    pub(in crate::http) fn takes_connect_protocol(&self) -> Option<bool> {
        match self {
            Core::Http2(core) => core.takes_connect_protocol(),
            Core::Http1(_) | Core::Http1Client(_) => Some(false),
        }
    }

    #[inline]
    pub(in crate::http) fn output_written(&self) -> u64 {
        match self {
            Core::Http2(core) => core.output_written(),
            Core::Http1(_) => 0,
            Core::Http1Client(core) => core.output_written(),
        }
    }

    #[inline]
    pub(in crate::http) fn output_end(&self) -> u64 {
        match self {
            Core::Http2(core) => core.output_end(),
            Core::Http1(_) => 0,
            Core::Http1Client(core) => core.output_end(),
        }
    }
}
