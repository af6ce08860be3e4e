//! A short wait by the worker's clock, for errors that only time can cure.

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use crate::{clock::TimerKey, reactor::Reactor, worker::context};

/// Resolves after a while; dropping it disarms its timer.
pub(super) struct Pause {
    deadline: u64,
    timer: Option<(Rc<Reactor>, TimerKey)>,
}

impl Pause {
    /// The time counts from now. It needs a runtime.
    pub(super) fn new(duration: Duration) -> Pause {
        let length = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let deadline = context::with(|worker| worker.now().saturating_add(length));
        Pause { deadline, timer: None }
    }

    fn disarm(&mut self) {
        if let Some((reactor, key)) = self.timer.take() {
            drop(reactor.disarm(key));
        }
    }
}

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        context::with(|worker| {
            if worker.now() >= self.deadline {
                self.disarm();
                return Poll::Ready(());
            }
            if let Some((reactor, key)) = &self.timer {
                if reactor.set_timer_waker(*key, cx.waker()) {
                    return Poll::Pending;
                }
            }
            let reactor = worker.reactor().clone();
            let key = reactor.arm(self.deadline, cx.waker().clone());
            self.timer = Some((reactor, key));
            Poll::Pending
        })
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.disarm();
    }
}
