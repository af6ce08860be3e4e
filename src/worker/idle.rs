//! Moving a manual clock when everything waits.
//!
//! A worker that is about to sleep writes down until when. Whoever does so last, when all the others are asleep and no
//! blocking job is under way, moves the clock to the earliest of these deadlines and wakes them.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    clock::{ManualClock, NEVER},
    limits::HELD_CLOCK,
    worker::{context::Context, handle::Shared},
};

/// Until when each worker sleeps; `None` while it does not.
pub(super) struct Idle {
    until: Mutex<Box<[Option<u64>]>>,
}

impl Idle {
    pub(super) fn new(workers: usize) -> Idle {
        Idle { until: Mutex::new(vec![None; workers].into()) }
    }

    fn until(&self) -> MutexGuard<'_, Box<[Option<u64>]>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Has a manual clock wake the workers when somebody moves it.
    pub(super) fn follow(self: &Arc<Self>, clock: &ManualClock) {
        let shared = Arc::downgrade(self);
        clock.listen(Box::new(move || {
            let Some(shared) = shared.upgrade() else { return false };
            shared.notify_all();
            true
        }));
    }

    /// Moves the clock, if worker `index` was the last that had something to do.
    fn advance(&self, index: usize, until: u64, clock: &ManualClock) -> bool {
        let mut idle = self.idle.until();
        idle[index] = Some(until);
        let asleep = idle.iter().zip(&self.workers).all(|(until, reach)| {
            let sleeps = until.is_some() && reach.entry.is_parked() && !reach.injector.has_work();
            // A worker that has ended moves nothing any more.
            sleeps || reach.injector.is_closed()
        });
        let target = idle.iter().flatten().copied().min().unwrap_or(NEVER);
        if !asleep || target == NEVER || !clock.moves_by_itself() || self.blocking.is_busy() {
            return false;
        }
        clock.advance_to(target);
        drop(idle);
        self.notify_all();
        true
    }

    /// Has the workers look again who sleeps. Also when one has ended: the others may have gone to sleep while it was at
    /// work, and it will not be the last to do so.
    pub(super) fn notify_all(&self) {
        self.workers.iter().for_each(|reach| reach.entry.notify());
    }
}

impl Context {
    /// 5 on a manual clock, when nothing is runnable: moves it, or sleeps, at most for `longest`.
    pub(super) fn wait_by_hand(&self, clock: &ManualClock, longest: Option<Duration>) -> io::Result<()> {
        self.look(Some(Duration::ZERO))?;
        let has_work = || self.injector.has_work() || self.is_timer_due();
        if self.tasks.is_runnable() || !self.entry.park(has_work) {
            return Ok(());
        }
        let until = self.reactor().next_deadline().unwrap_or(NEVER);
        if self.shared().advance(self.index, until, clock) {
            self.entry.unpark();
        } else {
            let look_again = self.shared().blocking.is_busy().then_some(HELD_CLOCK);
            self.look(look_again.into_iter().chain(longest).min())?;
        }
        self.shared().idle.until()[self.index] = None;
        Ok(())
    }

    /// Whether somebody has moved the clock past the next deadline.
    pub(super) fn is_timer_due(&self) -> bool {
        self.reactor().next_deadline().is_some_and(|deadline| deadline <= self.clock().now())
    }
}
