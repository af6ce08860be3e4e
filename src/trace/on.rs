//! The events, for whoever subscribes. Subscribers are foreign code: their panics end here.

use std::{
    fmt::{Debug, Display},
    panic::Location,
    sync::Arc,
    time::Duration,
};

use tracing::{Level, Span, enabled, error, info, level_filters::LevelFilter, trace, trace_span, warn};

use crate::contain::{contain, drop_contained};

/// Runs a poll of a task inside the task's span.
#[inline]
pub(crate) fn in_task<R>(
    id: u64,
    spawned: &'static Location<'static>,
    name: impl FnOnce() -> Option<Arc<str>>,
    poll: impl FnOnce() -> R,
) -> R {
    // Even a span that nobody wants is made and dropped: 34 instructions a poll.
    if LevelFilter::current() < LevelFilter::TRACE { poll() } else { in_span(id, spawned, name(), poll) }
}

#[cold]
fn in_span<R>(
    id: u64,
    spawned: &'static Location<'static>,
    name: Option<Arc<str>>,
    poll: impl FnOnce() -> R,
) -> R {
    let _entered =
        Entered::new(|| trace_span!(target: "wakering::task", "task", id, %spawned, name = name.as_deref()));
    poll()
}

/// A span that is entered. Each word with the subscriber is contained for itself.
struct Entered(Option<Span>);

impl Entered {
    fn new(make: impl FnOnce() -> Span) -> Entered {
        let mut span = None;
        contain(|| span = Some(make()));
        let mut is_entered = false;
        contain(|| {
            is_entered = span
                .as_ref()
                .is_some_and(|span| span.with_subscriber(|(id, subscriber)| subscriber.enter(id)).is_some());
        });
        if is_entered {
            return Entered(span);
        }
        drop_contained(span);
        Entered(None)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(span) = self.0.take() {
            contain(|| {
                span.with_subscriber(|(id, subscriber)| subscriber.exit(id));
            });
            drop_contained(span);
        }
    }
}

#[inline]
pub(crate) fn task_spawned(
    id: u64,
    spawned: &'static Location<'static>,
    name: impl FnOnce() -> Option<Arc<str>>,
) {
    if LevelFilter::current() >= LevelFilter::TRACE {
        let name = name();
        contain(|| trace!(target: "wakering::task", id, %spawned, name = name.as_deref(), "spawned"));
    }
}

#[inline]
pub(crate) fn task_ended(id: u64, name: impl FnOnce() -> Option<Arc<str>>) {
    if LevelFilter::current() >= LevelFilter::TRACE {
        let name = name();
        contain(|| trace!(target: "wakering::task", id, name = name.as_deref(), "ended"));
    }
}

pub(crate) fn task_panicked(
    id: u64,
    spawned: &'static Location<'static>,
    name: Option<Arc<str>>,
    panic: Option<&str>,
) {
    let (name, panic) = (name.as_deref(), panic.unwrap_or_default());
    contain(|| error!(target: "wakering::task", id, %spawned, name, panic, "panicked"));
}

/// Whether anybody was told.
pub(crate) fn stall(stall: &dyn Display, took: Duration, is_over: bool) -> bool {
    let mut is_told = false;
    contain(|| {
        is_told = enabled!(target: "wakering::task", Level::WARN);
        match is_over {
            true => warn!(target: "wakering::task", ?took, "{stall}"),
            false => warn!(target: "wakering::task", so_far = ?took, "{stall}"),
        }
    });
    is_told
}

pub(crate) fn connection_refused(why: &str) {
    contain(|| warn!(target: "wakering::net", why, "a connection was refused"));
}

pub(crate) fn connection_failed(peer: &dyn Display, version: &dyn Debug, error: &dyn Display) {
    contain(|| warn!(target: "wakering::http", %peer, ?version, %error, "a connection failed"));
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

#[cfg(feature = "message")]
pub(crate) fn message_connection_failed(peer: &dyn Display, error: &dyn Display) {
    contain(|| warn!(target: "wakering::message", %peer, %error, "a connection failed"));
}

#[cfg(feature = "message")]
pub(crate) fn message_server_phase(phase: &str) {
    contain(|| info!(target: "wakering::message", phase, "a server ends"));
}
