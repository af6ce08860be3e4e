//! What the crate tells the `tracing` crate's subscribers, behind the feature of that name.
//!
//! Each event has a function of its own, so that callers need no `cfg` and a reader finds all events in one place.
//! Without the feature every function is empty and compiles to nothing; arguments are borrowed, so that nothing is
//! computed for it.
//!
//! | target | level | what |
//! |---|---|---|
//! | `wakering::task` | TRACE | a span around each poll, with the task's id, spawn place and name; spawned, ended |
//! | `wakering::task` | ERROR | panicked, with the panic's text |
//! | `wakering::task` | WARN | a poll took, or has been taking, longer than the limit |
//! | `wakering::net` | WARN | a connection was refused |
//! | `wakering::http` | WARN | a connection failed: version, code, frame, stream and offset |
//! | `wakering::http` | WARN | a TLS handshake failed |
//! | `wakering::http` | INFO | the phases of a server's end |
//! | `wakering::message` | WARN | a connection failed: its peer broke the protocol, was too slow, has another secret, or the system says why |
//! | `wakering::message` | INFO | the phases of a server's end |
//! | `wakering::service` | WARN | a process that was to take over has failed |
//! | `wakering::runtime` | INFO | the phases of a runtime's end |

use std::io::{self, Write};

#[cfg(feature = "tracing")]
#[path = "trace/on.rs"]
mod shim;

#[cfg(not(feature = "tracing"))]
#[path = "trace/off.rs"]
mod shim;

pub(crate) use self::shim::*;

/// Says a line on standard error. That nobody reads it, or that it is closed, is no reason to fail.
pub(crate) fn say(what: &str) {
    let _ = writeln!(io::stderr(), "wakering: {what}");
}
