//! The protocol that an extended CONNECT asks for (RFC 8441).

use std::{fmt, str};

use bytes::Bytes;
use thiserror::Error;

use super::hpack::is_token;

/// What a tunnel is to speak: the value of `:protocol` in an extended CONNECT (RFC 8441 §4), such as `websocket`.
///
/// A request whose method is CONNECT and whose extensions hold one is an extended CONNECT, on both sides: the server
/// finds it there, the client puts it there.
///
/// # Examples
///
/// ```
/// use wakering::http::{Method, Protocol, Request};
///
/// let request = Request::builder()
///     .method(Method::CONNECT)
///     .uri("http://localhost/chat")
///     .extension(Protocol::WEBSOCKET)
///     .body(())?;
/// assert!(request.extensions().get::<Protocol>().is_some_and(|protocol| protocol == "websocket"));
/// # Ok::<(), wakering::http::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Protocol(Bytes);

/// A text that is no token (RFC 9110 §5.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a protocol's name is a token")]
#[non_exhaustive]
pub struct NoToken;

impl Protocol {
    /// `websocket` (RFC 8441 §5).
    pub const WEBSOCKET: Protocol = Protocol(Bytes::from_static(b"websocket"));

    /// Wraps what the decoder has found to be a token.
    pub(super) fn from_token(token: Bytes) -> Protocol {
        Protocol(token)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // A token is ASCII.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl TryFrom<&str> for Protocol {
    type Error = NoToken;

    fn try_from(name: &str) -> Result<Protocol, NoToken> {
        if is_token(name.as_bytes()) {
            Ok(Protocol(Bytes::copy_from_slice(name.as_bytes())))
        } else {
            Err(NoToken)
        }
    }
}

impl PartialEq<str> for Protocol {
    fn eq(&self, name: &str) -> bool {
        self.0 == name.as_bytes()
    }
}

impl PartialEq<&str> for Protocol {
    fn eq(&self, name: &&str) -> bool {
        self == *name
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Protocol({self})")
    }
}
