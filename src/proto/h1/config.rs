//! What a user may set of HTTP/1 alone.

use std::time::Duration;

use crate::limits;

/// How a server speaks HTTP/1.0 and 1.1. Deadlines, and the bounds of heads, content and memory, are those of
/// [`Config`](crate::http::Config), where they mean the same.
#[derive(Clone, Debug)]
pub struct Http1 {
    /// Octets of a request line; a longer one is answered with 414. RFC 9112 §3 recommends at least 8,000.
    pub line_bytes: usize,
    /// Octets of content that a request may announce; more is answered with 413. What comes in chunks is counted as it
    /// comes. No bound by default, as in HTTP/2: content waits with the client until the handler takes it.
    pub content_bytes: u64,
    /// Octets of further requests (pipelining) that are read while one is answered.
    pub ahead_bytes: usize,
    /// How long a client is answered that has ended its side of the connection, counted from when an answer's bytes last
    /// went its way. It may have said only that it asks no more (`nc -N`, RFC 9112 §9.6), or have gone: over TCP both look
    /// the same until something is sent. Then its handler is dropped; a client that resets the connection ends it at
    /// once. Nought ends it with the client's side, as many servers do.
    pub half_closed: Duration,
    /// Whether a client may change to HTTP/2 with its first request (`upgrade: h2c`, RFC 7540 §3.2), as `curl --http2` and
    /// Java's client ask in cleartext. Not so by default, and not to be where a proxy is in front: one that hands the
    /// change on (haproxy does unless told otherwise) sees none of the requests that follow, and its rules are passed by.
    pub h2c_upgrade: bool,
}

impl Default for Http1 {
    fn default() -> Http1 {
        Http1 {
            line_bytes: limits::H1_LINE_BYTES,
            content_bytes: u64::MAX,
            ahead_bytes: limits::H1_AHEAD_BYTES,
            half_closed: limits::H1_HALF_CLOSED,
            h2c_upgrade: false,
        }
    }
}
