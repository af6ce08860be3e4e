//! HTTP/2 (RFC 9113) for both ends, without I/O and without a clock.
//!
//! [`Connection`] takes received bytes and the time, and gives events and bytes to be sent. It never blocks,
//! never panics on what a peer sends, and the same calls always have the same results.
//!
//! # How to drive it
//!
//! One owner, one connection, no lock. `now` is in nanoseconds of any clock that does not go back; the same
//! clock for all calls. A turn is:
//!
//! 1. **Bytes came**: [`receive`](Connection::receive) with the block, once; at the end of the stream,
//!    [`receive_end`](Connection::receive_end) instead.
//! 2. **Events**: [`poll_event`](Connection::poll_event) again and again until it is `None`. Nothing is parsed
//!    before it is asked for, so one event is dealt with (a handler polled, an answer given) before the next
//!    frame is looked at. After `None` the block is not referred to any more, except by `Data` that was handed
//!    out. Do not call `receive` before.
//! 3. **Commands** at any time, between events or later when a handler wakes up: `respond`, `inform`,
//!    `send_data`, `send_trailers`, `release`, `reset`, `finish`, `request`, `prioritize`, `advertise`, `ping`,
//!    `shutdown`, `goaway`. They only change state and append to the output. A stale key is an error value or nothing.
//! 4. **Output**, once at the end of the turn: while [`has_output`](Connection::has_output), fill slices with
//!    [`poll_transmit`](Connection::poll_transmit), make one vectored write, and tell
//!    [`transmitted`](Connection::transmitted) what it took. When the socket is full, wait until it is
//!    writable; when it takes everything, go on while the turn's budget lasts.
//! 5. **Again**: steps 3 and 4 can make events without new bytes (`Writable`, `Reset`, `Closed`):
//!    while [`has_events`](Connection::has_events), go to 2.
//! 6. **Time**: ask [`next_deadline`](Connection::next_deadline) and see that
//!    [`handle_timeout`](Connection::handle_timeout) is called at or after it. A timer that is armed for an
//!    earlier time may stay: an early call does nothing. Ask again after each of the steps above, output
//!    included: a write that was not taken whole has a deadline. After `handle_timeout` go to 2.
//!
//! Read from the socket only while [`wants_input`](Connection::wants_input). For every stream that an event
//! brought, [`finish`](Connection::finish) is due exactly once, when its handler is gone: until then it counts
//! against the concurrency limit. Content that was received holds the peer's window closed until
//! [`release`](Connection::release). After `Event::Closed` every key is stale: write the rest of the output, then
//! close the socket. After `Event::Http1` there is no output at all.
//!
//! A connection that has nothing to do owns next to nothing: [`take_buffer`](Connection::take_buffer) after
//! the last write and [`give_buffer`](Connection::give_buffer) before the next turn let a worker lend one
//! buffer to whichever connection is at work, and so do [`take_head`](Connection::take_head) and
//! [`recycle_head`](Connection::recycle_head) with the memory of a request's head. [`recycle`](Connection::recycle)
//! gives the header map of an answer that was sent to the next request.
//!
//! # Rooms
//!
//! ```text
//! connection   state, the loop over frames, how it ends
//!   receive    bytes to frames              output     frames to bytes
//!   headers    HEADERS, CONTINUATION        send       commands
//!     head     rules between fields         schedule   which content goes out next
//!     hpack    header compression, both ways   heads    the answer that was sent last, and in
//!                                           repeats  the request that came last
//!   content    DATA                           ready    urgency: whose turn it is
//!   priority   urgency: what peers say      timeouts   deadlines
//!                                           closing    how streams and the connection end
//!   control    all other frames             settings   what SETTINGS may say
//!   advice     ALTSVC and ORIGIN            protocol   what a tunnel is to speak
//! stream, streams    one stream; all of them      flow    windows      abuse    token buckets
//!                                             bandwidth   how windows grow
//!                                                 pace    peers that are slow, or gone
//! frame, error, event, config, trip, stats        plain values; log      frames in words
//! ```

mod abuse;
mod advice;
mod bandwidth;
mod closing;
mod config;
mod connection;
mod content;
mod control;
mod error;
mod event;
mod flow;
mod frame;
mod head;
mod headers;
mod heads;
pub(crate) mod hpack;
mod log;
mod output;
mod pace;
mod priority;
mod protocol;
mod ready;
mod receive;
mod repeats;
mod schedule;
mod send;
mod settings;
mod stall;
mod stats;
mod stream;
mod streams;
mod timeouts;
mod trip;
#[cfg(feature = "http1")]
mod upgrade;

pub use config::Config;
pub use connection::{Connection, Role};
pub use error::{CommandError, ConnectionError, Reason};
pub use event::Event;
pub use frame::Kind;
#[cfg(feature = "http1")]
pub(crate) use frame::{END_HEADERS, END_STREAM};
pub use hpack::FieldLimits;
pub use log::{Direction, FrameLog, LoggedFrame};
pub use priority::Priority;
pub use protocol::{NoToken, Protocol};
pub(crate) use send::{ResponseHead, forbidden_field};
pub(crate) use stats::{COUNTS, LEVELS};
pub use stats::{Held, Stats, Trips};
pub use stream::StreamKey;
pub use trip::Trip;
#[cfg(feature = "http1")]
pub(in crate::proto) use {
    head::parse_length,
    output::Output,
    pace::least,
    stall::Stall,
    stream::{Content, Mismatch},
    timeouts::{NEVER, after},
};
