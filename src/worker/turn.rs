//! One turn of the loop. The numbers are those of the module page.

use std::{cell::Cell, io, panic::Location, rc::Rc, time::Duration};

use crate::{
    clock::nanos,
    worker::context::{Context, Flush},
};

impl Context {
    /// Turns the loop until `done`; `root` is polled when its slot is woken.
    pub(super) fn turn_until(&self, done: &Cell<bool>, root: &mut dyn FnMut()) -> io::Result<()> {
        let mut told = self.now();
        while !done.get() && !self.is_told_to_end() {
            self.drain(); // 1
            let ran = self.tasks.run(self.shared().tuning.task_budget, root); // 2
            self.flush(); // 2b
            if done.get() {
                break;
            }
            self.unlooked.set(self.unlooked.get() + ran);
            self.fire_timers(); // 3
            if self.has_come_to_its_end() {
                break;
            }
            if self.tasks.is_runnable() {
                self.spinning.set(None);
                if self.unlooked.get() >= self.shared().tuning.look_every || self.tasks.is_look_due() {
                    self.look(Some(Duration::ZERO))?; // 5–7
                }
            } else if self.spins(ran > 0) {
                self.look(Some(Duration::ZERO))?; // 5–7
            } else if !self.flush_list.borrow().is_empty() {
                self.look(Some(Duration::ZERO))?; // 5–7: a connection has more to write than fits one turn
            } else if self.entry.park(|| self.injector.has_work()) {
                // 4: parked, and nothing came meanwhile
                let from = self.read_unless_timers_did();
                let waited = self.wait_parked(); // 5–7
                let to = self.now(); // The tasks of the next turn see the time after the sleep.
                self.meter.slept(from, to);
                self.meter.looped(to.saturating_sub(told));
                told = to;
                waited?;
            }
        }
        self.meter.looped(self.now().saturating_sub(told));
        Ok(())
    }

    /// The time before a sleep, or a look. Where timers are armed, step 3 has just read it.
    fn read_unless_timers_did(&self) -> u64 {
        if self.reactor().has_timers() { self.turn_time() } else { self.now() }
    }

    /// 5 to 7 behind step 4.
    fn wait_parked(&self) -> io::Result<()> {
        match self.clock().manual_clock() {
            Some(clock) => self.wait_by_hand(clock, None),
            None => self.look(self.until_next_deadline()),
        }
    }

    /// Whether to look again instead of sleeping, though nothing is runnable. When it has `worked`, it is idle from now on.
    fn spins(&self, worked: bool) -> bool {
        let longest = self.shared().tuning.spin;
        // A clock that is moved by hand does not say when to stop.
        if longest.is_zero() || self.clock().manual_clock().is_some() {
            return false;
        }
        let idle_since = self.spinning.get().filter(|_| !worked);
        self.spinning.set(spins_since(idle_since, self.read_unless_timers_did(), nanos(longest)));
        self.spinning.get().is_some()
    }

    /// 1: what other threads left for this worker, as of now.
    pub(super) fn drain(&self) {
        self.entry.drain(|slot| self.tasks.enqueue(slot));
        let jobs = self.injector.waiting();
        if jobs > 0 {
            self.stir();
            self.injector.run(jobs);
        }
    }

    /// 2b: each connection with output writes once.
    pub(super) fn flush(&self) {
        if self.flush_list.borrow().is_empty() {
            return;
        }
        let mut list: Vec<Rc<dyn Flush>> = std::mem::take(&mut *self.flush_list.borrow_mut());
        for connection in list.drain(..) {
            self.tasks.charged(0, Location::caller(), || connection.flush());
        }
        let mut slot = self.flush_list.borrow_mut();
        if slot.is_empty() {
            *slot = list; // keep the allocation
        }
    }

    /// 3: what is due fires, in the order of deadlines; a bounded number a turn.
    pub(super) fn fire_timers(&self) {
        if self.reactor().has_timers() {
            self.reactor().expire(self.now());
            self.reactor().wake_collected();
        }
    }

    /// 5 to 7: the selector, with or without sleep, then unpark, record and wake.
    pub(super) fn look(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.unlooked.set(0);
        self.tasks.looked();
        let waited = self.reactor().wait(timeout); // 5
        self.entry.unpark(); // 6
        self.reactor().wake_collected(); // 7
        self.meter.publish(self.reactor().figures());
        waited
    }
}

/// Since when a worker spins that was idle already, or is from `now` on; `None` when it has for long enough.
fn spins_since(idle_since: Option<u64>, now: u64, longest: u64) -> Option<u64> {
    idle_since.or(Some(now)).filter(|since| now.saturating_sub(*since) < longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_spins_for_so_long_from_when_it_had_nothing_to_do() {
        let mut since = None;
        for now in 7..17 {
            since = spins_since(since, now, 10);
            assert_eq!(since, Some(7), "{now}");
        }
        assert_eq!(spins_since(since, 17, 10), None);
        assert_eq!(spins_since(None, 17, 10), Some(17), "it has worked, or slept");
        assert_eq!(spins_since(Some(18), 17, 10), Some(18), "a clock may be behind");
    }
}
