//! The bounds of TLS.

use std::time::Duration;

/// Plaintext of one record (RFC 8446 §5.1).
pub(crate) const TLS_RECORD: usize = 16 * 1024;
/// Plaintext that is sealed for one write: four full records, as much as a socket's buffer takes at once. What the socket does
/// not take of it the connection holds.
pub(crate) const TLS_SEALED: usize = 4 * TLS_RECORD;
/// Sealed bytes of one connection that the socket has not taken, above which it is not read either: a full write, and answers
/// to what the peer has sent (alerts, key updates).
pub(crate) const TLS_HELD_OUTPUT: usize = TLS_SEALED + TLS_RECORD;
/// Received bytes that make nothing whole yet: a handshake message of 64 KiB, the most that rustls takes in its other mode, and
/// the heads of the records that it came in.
pub(crate) const TLS_HELD_INPUT: usize = 68 * 1024;
/// How long a handshake may take, the wait for its turn included. Three round trips over a satellite take three seconds.
pub(crate) const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes under way at a time, of all workers: at about 10 KiB each.
pub(crate) const TLS_HANDSHAKES: usize = 1024;
/// A handshake that has taken longer than this may be ended to make room for another; an honest peer on this planet has done
/// with it.
pub(crate) const TLS_HANDSHAKE_PATIENCE: Duration = Duration::from_secs(1);
