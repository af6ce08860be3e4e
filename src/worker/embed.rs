//! A runtime inside somebody else's loop: one turn at a time, and a descriptor to wait for in between.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    time::{Duration, Instant},
};

use crate::{
    clock::{NEVER, tick_end},
    error::RuntimeError,
    limits::HELD_CLOCK,
    sys::{self, descriptor::duplicate},
    worker::{
        context::{self, Context},
        runtime::Runtime,
    },
};

/// What the host of a runtime does after a [turn](Runtime::turn).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Something is runnable: the host must not sleep before the next turn.
    Runnable,
    /// Everything waits. The host may sleep until the runtime's [descriptor](Runtime::selector) is readable.
    Parked {
        /// And no longer than to this instant, if there is one, when a timer is due.
        until: Option<Instant>,
    },
}

impl Runtime {
    /// Turns the first worker's loop once, for a host that has a loop of its own.
    ///
    /// It waits for descriptors and wakes, at most for `timeout` and not at all when something is runnable; runs tasks, at
    /// most a budget of them; fires timers, and returns what comes next. A host that waits by itself passes
    /// [`Duration::ZERO`].
    ///
    /// After [`Turn::Parked`] a wake from any thread, the owner's included, makes the [descriptor](Runtime::selector)
    /// readable. Between two turns nothing of this worker runs, and functions such as [`spawn`](crate::spawn) panic:
    /// tasks are started by [`Handle::spawn_on`](crate::Handle::spawn_on). The first turn comes before the first sleep. What
    /// every task waits for is told to this thread by [`Runtime::dump`], and to others by
    /// [`Handle::dump`](crate::Handle::dump), which rings and is answered in the next turn.
    ///
    /// On a [manual clock](crate::Builder::manual_clock) that moves by itself, a turn that finds everything waiting moves
    /// it to the next deadline instead of sleeping, whatever its `timeout`; [`Turn::Parked`] then names the present
    /// while there is a deadline to move to.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::Nested`] when a runtime runs on this thread already, [`RuntimeError::Forked`] in a
    /// forked child, [`RuntimeError::Closed`] when the runtime has been shut down, [`RuntimeError::Io`] when the selector
    /// fails.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use wakering::{Runtime, Turn, time::sleep};
    ///
    /// let runtime = Runtime::new()?;
    /// let task = runtime.handle().spawn_on(0, || sleep(Duration::from_millis(5)))?;
    /// while !task.is_finished() {
    ///     // A host with descriptors of its own would wait for them and for this one together.
    ///     runtime.turn(Duration::from_secs(1))?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn turn(&self, timeout: Duration) -> Result<Turn, RuntimeError> {
        if context::try_with(|current| current.is_some()) {
            return Err(RuntimeError::Nested);
        }
        if sys::process_id() != self.shared.process {
            return Err(RuntimeError::Forked);
        }
        if self.context.ending.has_ended.get() {
            return Err(RuntimeError::Closed);
        }
        self.shared.workers[0].published.set_hosted(true);
        match self.context.enter(|| self.context.turn_once(timeout))? {
            Some(turn) => Ok(turn),
            None => {
                self.context.end();
                Err(RuntimeError::Closed)
            }
        }
    }

    /// A descriptor that becomes readable when the parked runtime has something to do; a duplicate that belongs to the
    /// caller.
    ///
    /// It is for waiting only: epoll(7), kqueue(2), or what `poll(2)` can take of the fallback.
    ///
    /// # Errors
    ///
    /// When the process has no descriptors left.
    pub fn selector(&self) -> io::Result<OwnedFd> {
        duplicate(self.descriptor.as_fd())
    }
}

impl AsFd for Runtime {
    /// What [`Runtime::selector`] has duplicates of, to be waited for.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl AsRawFd for Runtime {
    /// As [`as_fd`](AsFd::as_fd), by its number: to be waited for and not to be closed.
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

impl Context {
    /// One turn that begins with step 5 and ends with step 4; `None` when the runtime has come to its end.
    fn turn_once(&self, timeout: Duration) -> io::Result<Option<Turn>> {
        self.wait_for_host(timeout)?; // 5–7
        self.now();
        if self.is_told_to_end() {
            return Ok(None);
        }
        self.drain(); // 1
        let ran = self.tasks.run(self.shared().tuning.task_budget, &mut || {}); // 2
        self.unlooked.set(self.unlooked.get() + ran);
        self.flush(); // 2b
        self.fire_timers(); // 3
        if self.has_come_to_its_end() {
            return Ok(None);
        }
        let has_more = self.tasks.is_runnable() || !self.flush_list.borrow().is_empty();
        if has_more || !self.entry.park(|| self.injector.has_work() || self.is_timer_due()) {
            return Ok(Some(Turn::Runnable)); // 4
        }
        Ok(Some(Turn::Parked { until: self.host_sleeps_until() }))
    }

    /// 5 to 7, at most for `timeout`.
    fn wait_for_host(&self, timeout: Duration) -> io::Result<()> {
        if self.tasks.is_runnable() || !self.flush_list.borrow().is_empty() {
            return self.look(Some(Duration::ZERO));
        }
        if let Some(clock) = self.clock().manual_clock() {
            return self.wait_by_hand(clock, Some(timeout));
        }
        self.now();
        let sleep = self.until_next_deadline().map_or(timeout, |due| due.min(timeout));
        // Parked or not: what came meanwhile has rung, or is found without a sleep.
        let sleeps = sleep.is_zero() || self.entry.park(|| self.injector.has_work());
        self.look(Some(if sleeps { sleep } else { Duration::ZERO }))
    }

    /// When the next turn is due, if nothing else happens.
    fn host_sleeps_until(&self) -> Option<Instant> {
        let due = self.reactor().next_deadline().filter(|due| *due != NEVER)?;
        match self.clock().manual_clock() {
            None => self.clock().instant_at(tick_end(due)),
            // The next turn moves the clock, unless a blocking job holds it.
            Some(clock) if clock.moves_by_itself() => {
                let hold = if self.shared().blocking().is_busy() { HELD_CLOCK } else { Duration::ZERO };
                Instant::now().checked_add(hold)
            }
            // Who moves it rings.
            Some(_) => None,
        }
    }
}
