//! The request under way, and how far both directions have come.

use bytes::Bytes;

use super::chunks::Chunks;
use super::framing::Framing;
use super::head::Facts;
use crate::proto::h2::{Content, StreamKey};

/// The direction towards us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiving {
    /// So much content is still to come.
    Length(u64),
    Chunked(Chunks),
    /// What follows the head is for a tunnel, if the answer opens one.
    Undecided,
    /// All that comes goes through a tunnel.
    Tunnel,
    Ended,
}

/// The direction towards the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    Head,
    Body,
    Ended,
}

/// How the end of the response shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// By its length, or because it has no content.
    Length,
    Chunked,
    /// By the end of the connection.
    Close,
}

#[derive(Debug)]
pub(super) struct Exchange {
    /// The request's number on its connection, from 1.
    pub(super) number: u32,
    pub(super) receiving: Receiving,
    pub(super) sending: Sending,
    /// The application has not called `finish`.
    pub(super) held: bool,
    pub(super) asked: Asked,
    /// HTTP/1.0.
    pub(super) old: bool,
    /// The connection may be used for another request.
    pub(super) persists: bool,
    /// The answer has no part that waits for more of the request.
    pub(super) whole: bool,
    /// The peer waits for a 100, and has sent no content.
    pub(super) expects: bool,
    /// How content goes out.
    pub(super) frame: Frame,
    pub(super) to_send: Content,
    /// The application asked for room and found none.
    pub(super) wants_room: bool,
    /// Content delivered and not yet released.
    pub(super) unreleased: usize,
    /// Content received so far.
    pub(super) received: u64,
    pub(super) list_bytes: usize,
    /// Method and target.
    pub(super) line: Bytes,
    /// Content that will still be thrown away, once the application has let go.
    pub(super) discard: Option<u64>,
}

/// What the head says about the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Content,
    HeadOnly,
    /// A successful answer opens a tunnel.
    Connect,
    /// A 101 does.
    Upgrade,
}

impl Exchange {
    pub(super) fn new(number: u32, facts: Facts, asked: Asked) -> Exchange {
        let receiving = match (asked, facts.framing) {
            (Asked::Connect | Asked::Upgrade, _) => Receiving::Undecided,
            (Asked::Content | Asked::HeadOnly, Framing::None) => Receiving::Ended,
            (Asked::Content | Asked::HeadOnly, Framing::Length(length)) => Receiving::Length(length),
            (Asked::Content | Asked::HeadOnly, Framing::Chunked) => Receiving::Chunked(Chunks::new()),
        };
        Exchange {
            number,
            receiving,
            sending: Sending::Head,
            held: true,
            asked,
            old: facts.old,
            persists: facts.persists,
            whole: false,
            expects: facts.expects,
            frame: Frame::Length,
            to_send: Content::Free,
            wants_room: false,
            unreleased: 0,
            received: 0,
            list_bytes: facts.list_bytes,
            line: facts.line,
            discard: None,
        }
    }

    pub(super) fn key(&self) -> StreamKey {
        StreamKey::from_bits(u64::from(self.number) << 32)
    }

    /// Whether the peer owes octets of something that it has begun or announced, and is not waiting for us.
    pub(super) fn is_owed(&self) -> bool {
        match self.receiving {
            Receiving::Length(_) => !self.expects,
            Receiving::Chunked(chunks) => !chunks.is_between(),
            Receiving::Undecided | Receiving::Tunnel | Receiving::Ended => false,
        }
    }
}
