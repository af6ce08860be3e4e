//! The request under way, and how far both directions have come.

use bytes::Bytes;
use http::HeaderMap;
use http::header::{self, HeaderValue};

use super::super::chunks::Chunks;
use super::super::fields::list;
use crate::proto::h2::{Content, StreamKey};

/// The direction towards us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiving {
    /// The final head is still to come.
    Head,
    /// So much content is.
    Length(u64),
    Chunked(Chunks),
    /// Content, until the connection ends.
    Close,
    /// All that comes goes through a tunnel.
    Tunnel,
    Ended,
}

/// The direction towards the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    Body,
    /// What there is to say is for a tunnel, if the answer opens one.
    Undecided,
    /// The peer has refused what was still to come.
    Stopped,
    Ended,
}

/// What the head says about the response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Content,
    /// A successful answer opens a tunnel.
    Connect,
    /// A 101 does, if it names one of these protocols.
    Upgrade(Vec<HeaderValue>),
}

impl Asked {
    /// Whether a 101 with these fields goes where we wanted to go (RFC 9110 §7.8).
    pub(super) fn takes(&self, answer: &HeaderMap) -> bool {
        let Asked::Upgrade(asked) = self else { return false };
        let mut named = answer.get_all(header::UPGRADE).iter().flat_map(list).peekable();
        let known = |protocol: &[u8]| asked.iter().flat_map(list).any(|it| it.eq_ignore_ascii_case(protocol));
        named.peek().is_some() && named.all(known)
    }

    /// Whether it may open a tunnel.
    pub(super) fn is_tunnel(&self) -> bool {
        match self {
            Asked::Connect | Asked::Upgrade(_) => true,
            Asked::Content => false,
        }
    }
}

#[derive(Debug)]
pub(super) struct Exchange {
    /// The request's number on its connection, from 1.
    pub(super) number: u32,
    /// Where its head begins in all that was ever sent.
    pub(super) begin: u64,
    pub(super) receiving: Receiving,
    pub(super) sending: Sending,
    pub(super) asked: Asked,
    /// HEAD: a final response has no content, also when another protocol was asked for.
    pub(super) head_only: bool,
    /// A tunnel was opened.
    pub(super) tunnel: bool,
    /// The application has not called `finish`.
    pub(super) held: bool,
    /// The peer has said something about it.
    pub(super) answered: bool,
    /// Content goes out in chunks.
    pub(super) chunked: bool,
    pub(super) to_send: Content,
    /// What was sent for a tunnel before there is one.
    pub(super) early: Bytes,
    /// And nothing follows it.
    pub(super) early_end: bool,
    /// The application asked for room and found none.
    pub(super) wants_room: bool,
    /// Content delivered and not yet released.
    pub(super) unreleased: usize,
    pub(super) list_bytes: usize,
    /// Interim heads so far.
    pub(super) interims: u32,
}

impl Exchange {
    pub(super) fn key(&self) -> StreamKey {
        StreamKey::from_bits(u64::from(self.number) << 32)
    }

    /// Whether the peer owes octets of something that it has announced or begun.
    pub(super) fn is_owed(&self) -> bool {
        match self.receiving {
            Receiving::Length(_) => true,
            Receiving::Chunked(chunks) => !chunks.is_between(),
            Receiving::Head | Receiving::Close | Receiving::Tunnel | Receiving::Ended => false,
        }
    }

    /// Whether content may be sent now.
    pub(super) fn takes_content(&self) -> bool {
        self.sending == Sending::Body
    }

    /// Whether both directions have come to their ends.
    pub(super) fn is_over(&self) -> bool {
        self.receiving == Receiving::Ended && self.sending == Sending::Ended
    }
}
