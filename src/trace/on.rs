//! The events, for whoever subscribes. Subscribers are foreign code: their panics end here.

use std::{fmt::Display, panic::Location, time::Duration};

use tracing::{error, info, level_filters::LevelFilter, trace, trace_span, warn};

use crate::contain::contain;

/// Runs a poll of a task inside the task's span.
#[inline]
pub(crate) fn in_task<R>(id: u64, spawned: &'static Location<'static>, poll: impl FnOnce() -> R) -> R {
    // Even a span that nobody wants is made and dropped: 34 instructions a poll.
    if LevelFilter::current() < LevelFilter::TRACE { poll() } else { in_span(id, spawned, poll) }
}

#[cold]
fn in_span<R>(id: u64, spawned: &'static Location<'static>, poll: impl FnOnce() -> R) -> R {
    trace_span!(target: "wakering::task", "task", id, %spawned).in_scope(poll)
}

#[inline]
pub(crate) fn task_spawned(id: u64, spawned: &'static Location<'static>) {
    if LevelFilter::current() >= LevelFilter::TRACE {
        contain(|| trace!(target: "wakering::task", id, %spawned, "spawned"));
    }
}

#[inline]
pub(crate) fn task_ended(id: u64) {
    if LevelFilter::current() >= LevelFilter::TRACE {
        contain(|| trace!(target: "wakering::task", id, "ended"));
    }
}

pub(crate) fn task_panicked(id: u64, spawned: &'static Location<'static>, message: Option<&str>) {
    contain(
        || error!(target: "wakering::task", id, %spawned, message = message.unwrap_or_default(), "panicked"),
    );
}

pub(crate) fn stall(stall: &dyn Display, so_far: Duration) {
    contain(|| warn!(target: "wakering::task", ?so_far, "{stall}"));
}

pub(crate) fn connection_refused(why: &str) {
    contain(|| warn!(target: "wakering::net", why, "a connection was refused"));
}

pub(crate) fn connection_failed(peer: &dyn Display, error: &dyn Display) {
    contain(|| warn!(target: "wakering::http", %peer, %error, "an HTTP/2 connection failed"));
}

#[cfg(feature = "tls")]
pub(crate) fn handshake_failed(peer: &dyn Display, error: &dyn Display) {
    contain(|| warn!(target: "wakering::http", %peer, %error, "a TLS handshake failed"));
}

pub(crate) fn server_phase(phase: &str) {
    contain(|| info!(target: "wakering::http", phase, "a server ends"));
}

pub(crate) fn runtime_phase(phase: &str) {
    contain(|| info!(target: "wakering::runtime", phase, "a runtime ends"));
}

pub(crate) fn handover_failed(error: &dyn Display) {
    contain(|| warn!(target: "wakering::service", %error, "a handover failed; this process serves on"));
}
