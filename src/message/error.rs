//! What goes wrong between two peers.

use std::{io, rc::Rc};

use crate::proto::message::{DecodeError, EncodeError, TooMany, plugins::PluginError};

/// How a connection came to its end.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkEnd {
    /// This end closed it.
    #[error("the connection was closed")]
    Closed,
    /// The peer closed it, between two messages.
    #[error("the peer closed the connection")]
    PeerClosed,
    /// The peer closed it inside a message.
    #[error("the peer closed the connection inside a message")]
    CutOff,
    /// Nothing came for too long.
    #[error("nothing came for too long")]
    Idle,
    /// A message took too long from its first byte to its last.
    #[error("a message took too long to come")]
    SlowWriter,
    /// The peer read too slowly what it was sent.
    #[error("the peer read too slowly")]
    SlowReader,
    /// The peer sent what is no message.
    #[error("the peer broke the protocol: {0}")]
    Protocol(DecodeError),
    /// A request on it had no answer in its time, and it was made anew.
    #[error("the peer did not answer, and the connection was made anew")]
    Replaced,
    /// No session came about, or what came was not sealed in it.
    #[error("the session broke: {0}")]
    Session(PluginError),
    /// The system's word, while this was done.
    #[error("{0} failed: {1}")]
    Io(&'static str, Rc<io::Error>),
}

impl LinkEnd {
    /// Whether something went wrong, more than that one end had enough or the peer was silent.
    pub(super) fn is_failure(&self) -> bool {
        match self {
            LinkEnd::Closed | LinkEnd::PeerClosed | LinkEnd::Idle | LinkEnd::Replaced => false,
            LinkEnd::CutOff
            | LinkEnd::SlowWriter
            | LinkEnd::SlowReader
            | LinkEnd::Protocol(_)
            | LinkEnd::Session(_)
            | LinkEnd::Io(..) => true,
        }
    }

    /// Whether nothing more is read of the peer, which may read still: what came whole before that is handled and answered.
    pub(super) fn lets_peer_read(&self) -> bool {
        match self {
            LinkEnd::PeerClosed | LinkEnd::CutOff | LinkEnd::Protocol(_) | LinkEnd::Session(_) => true,
            LinkEnd::Closed
            | LinkEnd::Idle
            | LinkEnd::SlowWriter
            | LinkEnd::SlowReader
            | LinkEnd::Replaced
            | LinkEnd::Io(..) => false,
        }
    }

    pub(super) fn io(doing: &'static str, error: &io::Error) -> LinkEnd {
        // The error itself cannot be shared out; its kind and its words can.
        LinkEnd::Io(doing, Rc::new(io::Error::new(error.kind(), error.to_string())))
    }
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The connection is over.
    #[error("the connection is over")]
    Closed,
    /// The peer reads too slowly: as much as may wait for it waits already.
    #[error("the peer reads too slowly: its queue is full")]
    Full,
    /// A worker of the server has too many tasks on their way to it to be told, and its connections were not sent the message.
    #[error("a worker of the server has too much to do to be told")]
    Busy,
    /// The message is too long.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The message is too long for a datagram: with the fields of plugins it has more octets than one holds.
    #[error("the message has {octets} octets with its fields, and a datagram holds {longest}")]
    Datagram {
        /// What it has.
        octets: usize,
        /// What there is room for.
        longest: usize,
    },
    /// The system does not send the datagram: no route, no permission, or (EMSGSIZE) too long for the way.
    #[error("the system does not send it: {}", io::Error::from_raw_os_error(*.0))]
    System(i32),
    /// The node has no multicast group.
    #[error("the node has no multicast group")]
    NoGroup,
    /// The node has nothing to say of itself.
    #[error("the node has no introduction")]
    NoIntroduction,
    /// A plugin cannot do its work.
    #[error(transparent)]
    Plugin(#[from] PluginError),
}

/// Why a request has no answer.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// None came in time.
    #[error("no answer came in time")]
    TimedOut,
    /// Its time was over before it was sent: it waited for a connection, for its turn, or for room.
    #[error("it could not be sent in time")]
    Expired,
    /// The connection ended first.
    #[error("no answer came: {0}")]
    Lost(LinkEnd),
    /// The connection ended before it was sent.
    #[error("it was not sent: {0}")]
    Unsent(LinkEnd),
    /// There is no connection.
    #[error("no connection: {0}")]
    Connect(Rc<io::Error>),
    /// An answer came that does not come from the peer, or the peer says that our request does not come from us.
    #[error("refused: {0}")]
    NotGenuine(String),
    /// A node of datagrams was to ask itself: it does not hear what comes from its own address.
    #[error("the request is to the address of the node itself, which does not hear its own datagrams")]
    Itself,
    /// Too many requests wait already.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// It was not sent.
    #[error(transparent)]
    Send(#[from] SendError),
}

impl SendError {
    pub(super) fn system(error: &io::Error) -> SendError {
        SendError::System(error.raw_os_error().unwrap_or_default())
    }
}

impl RequestError {
    /// What a connection's end is to those who wait for answers.
    pub(super) fn after(end: LinkEnd) -> RequestError {
        match end {
            LinkEnd::Session(_) => RequestError::NotGenuine(end.to_string()),
            end => RequestError::Lost(end),
        }
    }

    /// The same of what has not been sent.
    pub(super) fn before_sent(self) -> RequestError {
        match self {
            RequestError::Lost(end) => RequestError::Unsent(end),
            RequestError::TimedOut => RequestError::Expired,
            other => other,
        }
    }

    /// Whether its time was over.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, RequestError::TimedOut | RequestError::Expired)
    }

    /// Whether it was sent, or may have been: the peer may have done what it was asked, or may do it yet. What was not sent may be
    /// asked again without harm, whatever it is.
    #[must_use]
    pub fn was_sent(&self) -> bool {
        match self {
            RequestError::TimedOut | RequestError::Lost(_) | RequestError::NotGenuine(_) => true,
            RequestError::Expired
            | RequestError::Unsent(_)
            | RequestError::Connect(_)
            | RequestError::Itself
            | RequestError::TooMany(_)
            | RequestError::Send(_) => false,
        }
    }

    /// Whether there was no connection, or none any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(
            self,
            RequestError::Lost(_)
                | RequestError::Unsent(_)
                | RequestError::Connect(_)
                | RequestError::Send(SendError::Closed)
        )
    }
}
