//! Errors by blame: what the peer did wrong (a code that goes on the wire) and what the caller did wrong.

use std::fmt;

use thiserror::Error;

use super::frame::Kind;
use super::trip::Trip;

/// An HTTP/2 error code (RFC 9113 §7).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reason(pub u32);

impl Reason {
    /// Graceful shutdown, or a stream that is not needed any more.
    pub const NO_ERROR: Reason = Reason(0x0);
    /// Unspecific violation of the protocol.
    pub const PROTOCOL_ERROR: Reason = Reason(0x1);
    /// The endpoint failed internally.
    pub const INTERNAL_ERROR: Reason = Reason(0x2);
    /// Flow-control limits were exceeded.
    pub const FLOW_CONTROL_ERROR: Reason = Reason(0x3);
    /// SETTINGS were not acknowledged in time.
    pub const SETTINGS_TIMEOUT: Reason = Reason(0x4);
    /// A frame came for a stream that is closed.
    pub const STREAM_CLOSED: Reason = Reason(0x5);
    /// The frame's size is wrong.
    pub const FRAME_SIZE_ERROR: Reason = Reason(0x6);
    /// The stream was not processed at all: safe to retry.
    pub const REFUSED_STREAM: Reason = Reason(0x7);
    /// The stream is no longer wanted.
    pub const CANCEL: Reason = Reason(0x8);
    /// The header compression state cannot be kept.
    pub const COMPRESSION_ERROR: Reason = Reason(0x9);
    /// The tunnel of a CONNECT request failed.
    pub const CONNECT_ERROR: Reason = Reason(0xa);
    /// The peer makes too much work.
    pub const ENHANCE_YOUR_CALM: Reason = Reason(0xb);
    /// The transport is not safe enough.
    pub const INADEQUATE_SECURITY: Reason = Reason(0xc);
    /// The request needs HTTP/1.1.
    pub const HTTP_1_1_REQUIRED: Reason = Reason(0xd);

    /// The RFC's name, or `UNKNOWN` for a code that it does not list.
    pub const fn name(self) -> &'static str {
        match self.0 {
            0x0 => "NO_ERROR",
            0x1 => "PROTOCOL_ERROR",
            0x2 => "INTERNAL_ERROR",
            0x3 => "FLOW_CONTROL_ERROR",
            0x4 => "SETTINGS_TIMEOUT",
            0x5 => "STREAM_CLOSED",
            0x6 => "FRAME_SIZE_ERROR",
            0x7 => "REFUSED_STREAM",
            0x8 => "CANCEL",
            0x9 => "COMPRESSION_ERROR",
            0xa => "CONNECT_ERROR",
            0xb => "ENHANCE_YOUR_CALM",
            0xc => "INADEQUATE_SECURITY",
            0xd => "HTTP_1_1_REQUIRED",
            _ => "UNKNOWN",
        }
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            "UNKNOWN" => write!(f, "code {:#x}", self.0),
            name => f.write_str(name),
        }
    }
}

/// Why a connection ended, as it is logged and as it stands in the debug data of our GOAWAY.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub struct ConnectionError {
    /// The code that went on the wire, or that came with the peer's GOAWAY.
    pub reason: Reason,
    /// The frame that was being read, if any.
    pub frame: Option<Kind>,
    /// Its stream; 0 is the connection.
    pub stream: u32,
    /// Bytes that had been read when it was noticed: up to that frame, or with it.
    pub offset: u64,
    /// What was wrong, in a few words.
    pub text: &'static str,
    /// The bound that the peer ran into, when it was not a violation of the protocol.
    pub trip: Option<Trip>,
}

impl ConnectionError {
    /// Whether a deadline ended the connection.
    pub fn is_timeout(&self) -> bool {
        self.trip.is_some_and(Trip::is_timeout)
    }

    /// Whether the peer broke the protocol (as opposed to going away or being slow).
    pub fn is_peer(&self) -> bool {
        self.reason != Reason::NO_ERROR && !self.is_timeout()
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        if let Some(kind) = self.frame {
            write!(f, ": {} on stream {}", kind.name(), self.stream)?;
            if let Kind::Unknown(code) = kind {
                write!(f, " (type {code})")?;
            }
        }
        write!(f, " at byte {}: {}", self.offset, self.text)
    }
}

/// A command that cannot be carried out: the caller's mistake, or news that it has not read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The key's stream is gone or was reset.
    #[error("the stream is gone")]
    StreamGone,
    /// The connection has ended.
    #[error("the connection has ended")]
    ConnectionClosed,
    /// The command does not fit what was sent before: a second head, content before the head, or anything
    /// after the end.
    #[error("the command does not fit the state of the stream")]
    WrongState,
    /// A header field that HTTP/2 forbids (RFC 9113 §8.2), or a `host` that is not the target's.
    #[error("a header field that must not be sent")]
    ForbiddenField,
    /// Content that contradicts the `content-length` that was sent.
    #[error("the content contradicts content-length")]
    ContentLength,
    /// The status is not possible here: 1xx as a final head, anything else as an informational one, or 101.
    #[error("a status that is not possible here")]
    Status,
    /// The request's target is not what HTTP/2 needs (RFC 9113 §8.3.1 and §8.5): scheme, authority or path is
    /// missing, a CONNECT names no port, or there is user information in it.
    #[error("the request target cannot be sent")]
    Target,
    /// Content of unknown length for a server that has answered in HTTP/1.0, which knows no chunks.
    #[error("the server takes content of a known length only")]
    UnknownLength,
    /// The server has not said that it takes extended CONNECT (RFC 8441 §3).
    #[error("the server does not take extended CONNECT")]
    NoConnectProtocol,
    /// The peer allows no more streams for the moment.
    #[error("the peer allows no more streams for the moment")]
    TooManyStreams,
    /// The connection is going away: open another one.
    #[error("the connection is going away")]
    GoingAway,
    /// The command belongs to the other role.
    #[error("the command belongs to the other role")]
    WrongRole,
    /// Too many of these are on the way.
    #[error("too many are on the way")]
    Busy,
}

/// What a frame did wrong: ends one stream, or the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Connection(Reason, &'static str),
    Stream(u32, Reason, &'static str),
    /// A bound that ends the connection.
    Bound(Trip),
    /// A bound that ends this stream.
    StreamBound(u32, Trip),
}

impl Fault {
    #[cold]
    pub(super) const fn protocol(text: &'static str) -> Fault {
        Fault::Connection(Reason::PROTOCOL_ERROR, text)
    }

    #[cold]
    pub(super) const fn size(text: &'static str) -> Fault {
        Fault::Connection(Reason::FRAME_SIZE_ERROR, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_error_names_code_frame_stream_offset_and_cause() {
        let error = ConnectionError {
            reason: Reason::FRAME_SIZE_ERROR,
            frame: Some(Kind::Ping),
            stream: 0,
            offset: 57,
            text: "PING is 8 bytes",
            trip: None,
        };
        assert_eq!(error.to_string(), "FRAME_SIZE_ERROR: PING on stream 0 at byte 57: PING is 8 bytes");
        assert!(error.is_peer());
        assert!(!error.is_timeout());
    }

    #[test]
    fn codes_outside_the_rfc_are_shown_as_numbers() {
        assert_eq!(Reason(0x1f).to_string(), "code 0x1f");
        assert_eq!(Reason::CANCEL.to_string(), "CANCEL");
    }
}
