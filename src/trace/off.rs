//! Nothing, in the place of every event.

use std::{
    fmt::{Debug, Display},
    panic::Location,
    sync::Arc,
    time::Duration,
};

#[inline(always)]
pub(crate) fn in_task<R>(
    _id: u64,
    _spawned: &'static Location<'static>,
    _name: impl FnOnce() -> Option<Arc<str>>,
    poll: impl FnOnce() -> R,
) -> R {
    poll()
}

#[inline(always)]
pub(crate) fn task_spawned(
    _id: u64,
    _spawned: &'static Location<'static>,
    _name: impl FnOnce() -> Option<Arc<str>>,
) {
}

#[inline(always)]
pub(crate) fn task_ended(_id: u64, _name: impl FnOnce() -> Option<Arc<str>>) {}

#[inline(always)]
pub(crate) fn task_panicked(
    _id: u64,
    _spawned: &'static Location<'static>,
    _name: Option<Arc<str>>,
    _panic: Option<&str>,
) {
}

/// Nobody was told.
#[inline(always)]
pub(crate) fn stall(_stall: &dyn Display, _took: Duration, _is_over: bool) -> bool {
    false
}

#[inline(always)]
pub(crate) fn connection_refused(_why: &str) {}

#[inline(always)]
pub(crate) fn connection_failed(_peer: &dyn Display, _version: &dyn Debug, _error: &dyn Display) {}

#[cfg(feature = "tls")]
#[inline(always)]
pub(crate) fn handshake_failed(_peer: &dyn Display, _error: &dyn Display) {}

#[inline(always)]
pub(crate) fn server_phase(_phase: &str) {}

#[inline(always)]
pub(crate) fn runtime_phase(_phase: &str) {}

#[inline(always)]
pub(crate) fn handover_failed(_error: &dyn Display) {}

#[cfg(feature = "message")]
#[inline(always)]
pub(crate) fn message_connection_failed(_peer: &dyn Display, _error: &dyn Display) {}

#[cfg(feature = "message")]
#[inline(always)]
pub(crate) fn message_server_phase(_phase: &str) {}
