//! HTTP/1.0 and 1.1 (RFC 9112), without I/O and without a clock: the server's end, and in `client` the other.
//!
//! [`Connection`] is driven as that of [`h2`](super::h2) is, by the same calls, and tells of the same events: a request is
//! a stream, of which there is one at a time. Requests that a client sends ahead (pipelining) wait where they lie until
//! the one before is answered, so that answers come in order and nothing is held for them.
//!
//! ```text
//! connection   state, and the loop over what came
//!   closing    how it ends                transmit   what goes out to the socket
//!   input      received bytes             respond    heads, content and trailers to bytes
//!   head       a request's head           exchange   the request under way
//!     target     whom it is for           timeouts   deadlines
//!     framing    how much content         refusal    what is answered to a peer at fault
//!     fields     what concerns the connection
//!     repeats    heads that came before
//!   content    content, by length or in chunks   log   what is told of it
//!     write    what goes out alike in both directions
//!     clocks   what both ends measure time by           tally   what they count
//! ```

mod chunks;
mod client;
mod clocks;
mod closing;
mod config;
mod connection;
mod content;
mod exchange;
mod fields;
mod framing;
mod head;
mod input;
mod log;
mod refusal;
mod repeats;
mod respond;
mod tally;
mod target;
mod timeouts;
mod transmit;
mod write;

pub use client::Client;
pub use config::Http1;
pub use connection::Connection;
