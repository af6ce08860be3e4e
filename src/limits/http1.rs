//! The bounds of HTTP/1.

use std::time::Duration;

/// A request line: RFC 9112 §3 recommends 8,000 octets at least.
pub(crate) const H1_LINE_BYTES: usize = 8 * 1024;
/// A head that a connection remembers: those of browsers and of programs, most cookies included; an idle connection must
/// stay small.
pub(crate) const H1_KNOWN_BYTES: usize = 1024;
/// Of a request's line in a dump: more than a line of a terminal.
pub(crate) const H1_SHOWN_LINE: usize = 200;
/// Octets of further requests that are read while one is answered: a batch of a client that sends ahead, and enough to see
/// that a client which does so has gone.
pub(crate) const H1_AHEAD_BYTES: usize = 16 * 1024;
/// How long nothing of an answer moves towards a client that has ended its side: most have gone, and their handlers work
/// for nobody; a script that waits has its answer sooner.
pub(crate) const H1_HALF_CLOSED: Duration = Duration::from_secs(30);
/// Octets of chunk extensions in one message, which mean nothing to us: far more than signatures of chunks take.
pub(crate) const H1_CHUNK_EXTENSION_BYTES: u32 = 16 * 1024;
/// Interim heads (1xx) of one response: far more than early hints and signs of life take, and few enough that a server cannot
/// keep a request for ever with them.
pub(crate) const H1_INTERIM_HEADS: u32 = 100;
/// How long behind an answer that did not say it was the last a server that goes still takes the connection's next request:
/// a round trip of most networks, and clients that ask one thing after the other; idle ones hold up no restart for longer.
pub(crate) const H1_LAST_REQUEST: Duration = Duration::from_secs(1);
/// What is left of a server's grace, or half of it where it is shorter, when no next request is waited for any more: as long
/// as a connection whose end we have said lingers.
pub(crate) const H1_PARTING: Duration = super::LINGER;
