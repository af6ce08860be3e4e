//! One deadline on the worker's wheel.
//!
//! It is armed by the first poll that has to wait, so a wait that is over before its time limit matters
//! never touches the wheel. All real clocks of a process have the same origin: a timer that was made in one
//! runtime and is polled in another goes on there.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use crate::{
    clock::{Clock, TimerKey, nanos},
    reactor::Reactor,
    worker::context,
};

/// Resolves when the worker's clock has reached a deadline. Dropping it disarms it.
pub(crate) struct Timer {
    deadline: u64,
    armed: Option<Armed>,
}

struct Armed {
    reactor: Rc<Reactor>,
    key: TimerKey,
}

impl Timer {
    /// A timer for `deadline` on the worker's clock; nothing is armed yet.
    pub(crate) const fn at(deadline: u64) -> Self {
        Timer { deadline, armed: None }
    }

    /// A timer for `duration` from now.
    pub(crate) fn after(duration: Duration) -> Self {
        Timer::at(now().saturating_add(nanos(duration)))
    }

    pub(crate) fn deadline(&self) -> u64 {
        self.deadline
    }

    /// Moves the deadline. An armed timer stays armed, with the waker that it has.
    pub(crate) fn set_deadline(&mut self, deadline: u64) {
        self.deadline = deadline;
        if let Some(armed) = &self.armed {
            if !armed.reactor.reset_timer(armed.key, deadline) {
                self.armed = None;
            }
        }
    }

    /// Ready from the deadline on, as often as it is asked; never earlier.
    pub(crate) fn poll_elapsed(&mut self, context: &Context<'_>) -> Poll<()> {
        context::with(|worker| {
            if let Some(armed) = &self.armed {
                let is_here = Rc::ptr_eq(&armed.reactor, worker.reactor());
                if is_here && armed.reactor.set_timer_waker(armed.key, context.waker()) {
                    return Poll::Pending;
                }
                self.disarm();
            }
            // What has fired is due by the time at which the turn looked.
            if worker.turn_time() >= self.deadline {
                return Poll::Ready(());
            }
            let reactor = worker.reactor().clone();
            let key = reactor.arm(self.deadline, context.waker().clone());
            self.armed = Some(Armed { reactor, key });
            Poll::Pending
        })
    }

    fn disarm(&mut self) {
        if let Some(armed) = self.armed.take() {
            drop(armed.reactor.disarm(armed.key));
        }
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.poll_elapsed(context)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.disarm();
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Timer")
            .field("deadline", &self.deadline)
            .field("armed", &self.armed.is_some())
            .finish()
    }
}

/// The worker's time; outside a runtime the time of the clock that a runtime has unless it is told otherwise.
pub(crate) fn now() -> u64 {
    context::try_with(|worker| worker.map_or_else(|| Clock::real().now(), |worker| worker.now()))
}

/// The time at which the worker's clock was last read, at most a turn ago: for what may be late by that. Outside a runtime
/// as [`now`].
pub(crate) fn turn_time() -> u64 {
    context::try_with(|worker| worker.map_or_else(|| Clock::real().now(), |worker| worker.turn_time()))
}
