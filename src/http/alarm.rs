//! The timer of a connection's driver.
//!
//! [`Timer`](crate::worker::timer::Timer) says when it is polled whether its time has come. A driver asks in the middle of
//! its turn, by the turn's time, and a deadline that has passed already has it called once more: so this one is armed for
//! the past as well, and asked without a waker.

use std::{task::Context, time::Duration};

use crate::{
    clock::{TimerKey, nanos},
    worker::context,
};

/// A timer that is moved only when it must fire earlier; one that fires too early is set again.
#[derive(Default)]
pub(super) struct Alarm {
    armed: Option<(u64, TimerKey)>,
}

impl Alarm {
    #[inline]
    pub(super) fn at_most(&mut self, deadline: u64, now: u64, context: &Context<'_>) {
        if self.armed.is_none_or(|(armed, _key)| deadline < armed || armed <= now) {
            self.set(deadline, context);
        }
    }

    pub(super) fn set_after(&mut self, after: Duration, context: &Context<'_>) {
        let now = context::with(context::Context::now);
        self.set(now.saturating_add(nanos(after)), context);
    }

    fn set(&mut self, deadline: u64, context: &Context<'_>) {
        self.clear();
        let key = context::with(|worker| worker.reactor().arm(deadline, context.waker().clone()));
        self.armed = Some((deadline, key));
    }

    #[inline]
    pub(super) fn deadline(&self) -> Option<u64> {
        self.armed.map(|(deadline, _key)| deadline)
    }

    #[inline]
    pub(super) fn is_due(&self, now: u64) -> bool {
        self.armed.is_some_and(|(deadline, _key)| deadline <= now)
    }

    pub(super) fn clear(&mut self) {
        if let Some((_deadline, key)) = self.armed.take() {
            context::try_with(|worker| worker.map(|it| it.reactor().disarm(key)));
        }
    }
}
