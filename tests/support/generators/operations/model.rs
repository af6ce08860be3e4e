//! What each side of an exchange has said, and what the other has heard of it.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use wakering::internals::h2::{Role, StreamKey};

use super::super::tape::Tape;

/// The octet at a place of a message's content.
pub(super) fn octet(id: u32, role: Role, at: usize) -> u8 {
    (at ^ at >> 8).wrapping_mul(31).wrapping_add(id as usize * 7 + usize::from(role == Role::Server) * 85)
        as u8
}

pub(super) fn content(id: u32, role: Role, from: usize, length: usize) -> Bytes {
    (from..from + length).map(|at| octet(id, role, at)).collect::<Vec<u8>>().into()
}

/// How a message ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Open,
    Plain,
    Trailers(HeaderMap),
}

/// One direction of an exchange: what its sender did, and how much of it its receiver has seen.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) head: Option<HeaderMap>,
    /// Content that is still to be sent.
    pub(super) left: usize,
    /// `left` must be sent: it was announced.
    pub(super) announced: bool,
    pub(super) sent: usize,
    pub(super) end: End,
    pub(super) head_seen: bool,
    pub(super) seen: usize,
    pub(super) end_seen: bool,
    /// Content that the receiver has not released.
    pub(super) unreleased: usize,
    /// Room was asked for and there was none.
    pub(super) waiting: bool,
}

impl Message {
    pub(super) fn new(left: usize) -> Message {
        Message {
            head: None,
            left,
            announced: false,
            sent: 0,
            end: End::Open,
            head_seen: false,
            seen: 0,
            end_seen: false,
            unreleased: 0,
            waiting: false,
        }
    }
}

#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) request: Message,
    pub(super) response: Message,
    pub(super) status: StatusCode,
    pub(super) method: Method,
    /// CONNECT with a protocol (RFC 8441).
    pub(super) extended: bool,
    pub(super) interim_sent: usize,
    pub(super) interim_seen: usize,
    /// Each side's key, until it has let go.
    pub(super) client: Option<StreamKey>,
    pub(super) server: Option<StreamKey>,
    /// Somebody ended it early, so that anything may be missing.
    pub(super) disturbed: bool,
}

impl Exchange {
    pub(super) fn of(&mut self, role: Role) -> &mut Message {
        match role {
            Role::Client => &mut self.request,
            Role::Server => &mut self.response,
        }
    }

    pub(super) fn key(&mut self, role: Role) -> &mut Option<StreamKey> {
        match role {
            Role::Client => &mut self.client,
            Role::Server => &mut self.server,
        }
    }

    /// Nobody has anything more to say or to hear.
    pub(super) fn is_complete(&self) -> bool {
        self.request.end_seen && self.response.end_seen
    }
}

/// Whether this side has said all and heard all.
pub(super) fn is_through(exchange: &mut Exchange, role: Role) -> bool {
    let heard = match role {
        Role::Client => exchange.response.end_seen,
        Role::Server => exchange.request.end_seen,
    };
    heard && exchange.of(role).end != End::Open
}

pub(super) fn saw_end(message: &mut Message, end: bool) {
    if end {
        assert_eq!(message.end, End::Plain, "the message did not end");
        assert!(message.seen == message.sent, "{} of {} bytes", message.seen, message.sent);
        message.end_seen = true;
    }
}

/// Some fields; now and then so many that the block needs CONTINUATION.
pub(super) fn fields(tape: &mut Tape<'_>, length: Option<usize>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for _ in 0..tape.below(4) {
        let (name, value) = tape.pick(&[
            ("x-a", "1"),
            ("x-b", "2"),
            ("server", "wakering"),
            ("content-type", "text/plain"),
            ("authorization", "secret"),
            ("set-cookie", "c=d"),
            ("x-empty", ""),
            ("etag", "0123456789"),
            ("priority", "u=1, i"),
            ("priority", "u=5"),
        ]);
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if tape.one_in(24) {
        let long = "long-".repeat(tape.pick(&[100, 3_000, 5_000, 16_000]));
        headers.insert("x-long", HeaderValue::from_str(&long).expect("letters"));
    }
    if let Some(length) = length {
        headers.insert("content-length", HeaderValue::from(length));
    }
    headers
}
