//! Nothing, in the place of every event.

use std::{fmt::Display, panic::Location, time::Duration};

#[inline(always)]
pub(crate) fn in_task<R>(_id: u64, _spawned: &'static Location<'static>, poll: impl FnOnce() -> R) -> R {
    poll()
}

#[inline(always)]
pub(crate) fn task_spawned(_id: u64, _spawned: &'static Location<'static>) {}

#[inline(always)]
pub(crate) fn task_ended(_id: u64) {}

#[inline(always)]
pub(crate) fn task_panicked(_id: u64, _spawned: &'static Location<'static>, _message: Option<&str>) {}

#[inline(always)]
pub(crate) fn stall(_stall: &dyn Display, _so_far: Duration) {}

#[inline(always)]
pub(crate) fn connection_refused(_why: &str) {}

#[inline(always)]
pub(crate) fn connection_failed(_peer: &dyn Display, _error: &dyn Display) {}

#[cfg(feature = "tls")]
#[inline(always)]
pub(crate) fn handshake_failed(_peer: &dyn Display, _error: &dyn Display) {}

#[inline(always)]
pub(crate) fn server_phase(_phase: &str) {}

#[inline(always)]
pub(crate) fn runtime_phase(_phase: &str) {}

#[inline(always)]
pub(crate) fn handover_failed(_error: &dyn Display) {}
