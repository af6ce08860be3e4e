//! HTTP/1.1 (RFC 9112), the client's end, without I/O and without a clock.
//!
//! [`Client`] is driven as the other machines are, by the same calls and events: a request is a stream, of which there is
//! one at a time. Nothing is sent ahead of an answer, since who sends ahead cannot say what of it was processed when the
//! connection ends.
//!
//! ```text
//! connection   state, the loop over what came, how it ends
//!   request    a request's head to bytes       send       its content, its trailers, letting go
//!   answer     a response's head from bytes    framing    how much content it has
//!   content    content, by length, in chunks, to the end, or through a tunnel
//!   exchange   the request under way           timeouts   deadlines
//! ```

mod answer;
mod connection;
mod content;
mod exchange;
mod framing;
mod request;
mod send;
mod timeouts;

pub use connection::Client;
