//! The protocol machine of a connection, whichever version of HTTP it speaks.
//!
//! A server that is told to speak HTTP/1 too begins with HTTP/2's machine, which knows its preface; when something else
//! comes, HTTP/1's takes over with what was read, and that one gives way to HTTP/2 again when a client asks for it. Both
//! have the same calls and events, so that everything else of this folder is written once.
//!
//! ```text
//! core/both.rs      which machine it is, and how one takes over from another
//!   calls.rs        the calls that all of them have alike
//!   apart.rs        those in which they differ
//!   choice.rs       which versions a client speaks
//! core/one.rs       HTTP/2 alone
//! ```
//!
//! Without the feature `http1` it is HTTP/2's machine itself, and nothing is paid for the other.

#[cfg(feature = "http1")]
#[path = "core/both.rs"]
mod versions;

#[cfg(not(feature = "http1"))]
#[path = "core/one.rs"]
mod versions;

pub(super) use self::versions::*;
