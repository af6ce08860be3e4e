//! What the machine tells its driver.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};

use super::error::{ConnectionError, Reason};
use super::stream::StreamKey;

/// A received fact. A stream's events come in order: head, data, trailers; `Reset` is the last one.
#[derive(Debug)]
pub enum Event {
    /// A request's head (server). `end`: there is no content.
    Request {
        /// The new stream.
        stream: StreamKey,
        /// Method, target and fields; `authority` was filled from `host` where the peer sent only that. Its memory may
        /// be given back by [`recycle_head`](super::Connection::recycle_head).
        request: Box<Request<()>>,
        /// Whether the request ends here.
        end: bool,
    },
    /// A response's final head (client).
    Response {
        /// The request's stream.
        stream: StreamKey,
        /// Status and fields.
        response: Response<()>,
        /// Whether the response ends here.
        end: bool,
    },
    /// An interim response, 1xx (client).
    Informational {
        /// The request's stream.
        stream: StreamKey,
        /// Status and fields.
        response: Response<()>,
    },
    /// Content. A frame may come in pieces. The window stays closed by `data.len()` until
    /// [`release`](super::Connection::release); padding has been given back already.
    Data {
        /// The stream.
        stream: StreamKey,
        /// The bytes; empty only when `end`.
        data: Bytes,
        /// Whether the message ends here.
        end: bool,
    },
    /// Trailers; the message ends here.
    Trailers {
        /// The stream.
        stream: StreamKey,
        /// The fields.
        trailers: HeaderMap,
    },
    /// The stream is dead: nothing can be sent or received on it any more. `finish` is still due.
    Reset {
        /// The stream.
        stream: StreamKey,
        /// Why.
        reason: Reason,
        /// Whether the peer did it; otherwise the peer broke a rule and we did.
        remote: bool,
        /// What rule was broken, or what bound passed; empty when the peer did it, or the application.
        text: &'static str,
    },
    /// There is room to send again, after `send_capacity` had answered 0.
    Writable {
        /// The stream.
        stream: StreamKey,
    },
    /// The peer goes away: open no more streams here. Those that it did not process have been reset with
    /// REFUSED_STREAM and may be retried elsewhere.
    GoAway {
        /// The last of our streams that the peer may have processed.
        last_stream: u32,
        /// Why.
        reason: Reason,
        /// What it says; for a log.
        debug: Bytes,
    },
    /// An origin is also served elsewhere (client): ALTSVC (RFC 7838 §4). Whether the server may say so of that origin
    /// is for the receiver to judge.
    AltSvc {
        /// It is the origin of this request; `None`: it is `origin`.
        stream: Option<StreamKey>,
        /// The origin's ASCII serialization; empty with a stream.
        origin: String,
        /// As in an `alt-svc` field.
        value: HeaderValue,
    },
    /// The connection serves these origins, too (client): ORIGIN (RFC 8336). Over cleartext it must be ignored
    /// (§2.2), and over TLS the certificate must agree.
    Origins {
        /// Their ASCII serializations.
        origins: Vec<String>,
    },
    /// A PING of ours came back.
    Pong {
        /// The payload given to `ping`.
        payload: [u8; 8],
    },
    /// The peer speaks HTTP/1.x; nothing was sent. Answer in that language (505) and close.
    Http1,
    /// The connection is over: write out what `has_output` still holds, then close. Every stream is dead.
    Closed {
        /// Why, unless it ended in good order.
        error: Option<ConnectionError>,
    },
}
