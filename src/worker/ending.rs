//! A worker's part in the end of its runtime, and the futures of those who wait for it.

use std::{
    cell::Cell,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context as Polling, Poll, Waker},
    time::{Duration, Instant},
};

use crate::{
    clock::{NEVER, TimerKey, nanos},
    error::RuntimeError,
    limits::SHUTDOWN_SLACK,
    task::handle_of,
    worker::{
        context::{self, Context},
        dump,
        handle::{Handle, Shared},
        notes::{Place, Source},
        stop::{AT_ONCE, Member, Progress, ShutdownReport, Wait, Want},
    },
};

/// What a grace that is longer than any clock counts to is clamped to.
const NO_END: u64 = NEVER - 1;

/// How far this worker is on its way to the end.
#[derive(Default)]
pub(super) struct Ending {
    /// The word has been heard: from now on every turn looks.
    heard: Cell<bool>,
    over: Cell<bool>,
    /// Everything that lived on this worker is gone.
    pub(super) has_ended: Cell<bool>,
    pub(super) is_closed: Cell<bool>,
    /// The root future has been reported.
    root_named: Cell<bool>,
    /// Ends the sleep at the deadline, and when it was set for.
    alarm: Cell<Option<(TimerKey, u64)>>,
}

impl Context {
    /// Whether the loop is to end, as far as somebody has just said: one load a turn.
    pub(super) fn is_told_to_end(&self) -> bool {
        self.injector.is_nudged() && self.wind_down()
    }

    /// Whether the loop is to end now that tasks have run; behind it tasks may have become runnable.
    pub(super) fn has_come_to_its_end(&self) -> bool {
        self.ending.heard.get() && self.wind_down()
    }

    /// Whether the word has been heard.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.heard.get()
    }

    /// Whether its selector and its place in the process have been given back.
    pub(super) fn is_closed(&self) -> bool {
        self.ending.is_closed.get()
    }

    /// Owner, before it takes jobs in: from now on there may be more left than was said.
    pub(super) fn stir(&self) {
        if self.ending.heard.get() && !self.ending.over.get() {
            self.shared().settle(self.index, Progress::Serving);
        }
    }

    /// After the word: looks what is left, aborts what is late, and says how far this worker is.
    #[cold]
    pub(super) fn wind_down(&self) -> bool {
        self.injector.was_nudged();
        let shared = self.shared();
        let Some(deadline) = shared.life.deadline() else { return false };
        self.ending.heard.set(true);
        if self.ending.over.get() || deadline == AT_ONCE {
            self.ending.over.set(true);
            return true;
        }
        let (now, last_words) = (self.now(), deadline.saturating_add(nanos(SHUTDOWN_SLACK)));
        let expired = now >= deadline;
        let exempt = shared.life.exempt(self.entry.worker());
        if expired {
            self.abort_but(&exempt);
            shared.give_jobs_up();
        }
        let next = [deadline, stuck_at(deadline), last_words].into_iter().find(|at| *at > now);
        self.set_alarm(next.unwrap_or(NEVER));
        let tasks = self.tasks();
        let all = tasks.live() + usize::from(tasks.has_root());
        let spared = self.count_spared(&exempt, expired);
        let is_quiet = (expired || all == spared) && !self.injector.has_jobs();
        let progress = if is_quiet { Progress::Quiet } else { Progress::Serving };
        let settled = shared.settle(self.index, progress);
        if now >= stuck_at(deadline) {
            shared.wake_late();
        }
        let root_is_spared = tasks.has_root() && exempt.contains(&tasks.root_id());
        let over =
            if expired { spared == 0 || (now >= last_words && !root_is_spared) } else { settled && all == 0 };
        self.ending.over.set(over);
        over
    }

    /// How many tasks the end does not wait for: who waits for it and, within the grace, who waits for the end of those.
    fn count_spared(&self, exempt: &[u64], expired: bool) -> usize {
        let tasks = self.tasks();
        if expired || exempt.is_empty() {
            return tasks.count(exempt);
        }
        let waits_more = |task| {
            let mut does = false;
            self.reactor().waits(|waker, _waited| does |= handle_of(waker) == Some(task));
            does
        };
        tasks.count(&tasks.with_joiners(exempt, waits_more))
    }

    /// Aborts what nobody spares, and puts it into the report; the root future is only named.
    fn abort_but(&self, exempt: &[u64]) {
        let tasks = self.tasks();
        let late = |id: u64| exempt.binary_search(&id).is_err();
        let names_root = tasks.has_root() && late(tasks.root_id()) && !self.ending.root_named.replace(true);
        if !names_root && !tasks.any(late) {
            return;
        }
        let mut dumped = dump::of_worker(self, self.index);
        dumped.retain(|task| late(task.id.number()) && (names_root || !task.is_root));
        self.shared().life.aborted(dumped);
        tasks.abort_where(late);
    }

    fn set_alarm(&self, at: u64) {
        // A grace without end is no time to wake at, nor one for a manual clock to move to.
        let at = if at >= NO_END { NEVER } else { at };
        match self.ending.alarm.get() {
            Some((_, set)) if set == at => {}
            Some((key, _)) if self.reactor().reset_timer(key, at) => self.ending.alarm.set(Some((key, at))),
            Some(_) | None => {
                let key = self.reactor().arm(at, Waker::noop().clone());
                self.ending.alarm.set(Some((key, at)));
            }
        }
    }
}

impl Handle {
    /// Has the runtime end, and returns a future of how it did.
    ///
    /// Tasks are told by [`stopping`](Handle::stopping) and go on until they are done or `grace` is over; then they are
    /// aborted. Blocking jobs may end too, those that wait for a thread included; one that runs on when the grace is
    /// over is named and its thread abandoned. The future of [`Runtime::block_on`](crate::Runtime::block_on) counts as a
    /// task: aborted, it makes `block_on` return [`RuntimeError::Closed`].
    ///
    /// It may be called once or often, from any task or thread; the shortest grace counts, and
    /// [`Duration::MAX`] is no bound. Awaited inside a task of this runtime it does not wait for that
    /// task, which has 100 ms to end when the grace is over, nor for tasks of its worker that await its
    /// [`JoinHandle`](crate::JoinHandle) and neither a descriptor nor a timer, nor the tasks that await theirs; who waits for it in another way, by a
    /// [`Scope`](crate::Scope) or from another worker, is waited for until the grace is over. Awaited in the future of `block_on`
    /// it does not wait for that one, however long that takes. It resolves by the end of the grace and 100 ms, also when a worker is stuck in a poll, which the
    /// report then names.
    ///
    /// Awaited in *another* runtime, it is told by the workers of this one, and by nobody else: while all of them are
    /// stuck, or while nobody runs the only one (in `block_on` or [`turn`](crate::Runtime::turn)), it waits longer. So does
    /// one that is awaited in a blocking job of this runtime, by that job itself, for as long as the grace. A
    /// [`timeout`](crate::time::timeout) bounds it there; [`shutdown_blocking`](Handle::shutdown_blocking) keeps time by
    /// itself.
    ///
    /// A handler of a server lives in a task of the server's, which is not spared for it: there, await the shutdown of the
    /// server, which spares its own handlers, and this one where the server has ended.
    ///
    /// # Cancellation
    ///
    /// The runtime ends all the same.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use wakering::{Handle, spawn, time::sleep};
    ///
    /// wakering::run(async {
    ///     let handle = Handle::current();
    ///     let polite = spawn(async move { Handle::current().stopping().await });
    ///     spawn(sleep(Duration::from_secs(3600))); // has not heard
    ///     let report = handle.shutdown(Duration::from_millis(10)).await;
    ///     assert!(polite.is_finished());
    ///     assert_eq!(report.aborted.len(), 1);
    ///     println!("{report}"); // names the sleeper, where it was spawned, and what it waited for
    /// })?;
    /// # Ok::<(), wakering::RuntimeError>(())
    /// ```
    pub fn shutdown(&self, grace: Duration) -> Shutdown {
        self.shared().say(grace);
        Shutdown { end: End::new(self.shared(), Want::Shutdown) }
    }

    /// Waits until somebody has the runtime end: then accept loops and the like should too.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn stopping(&self) {
        End::new(self.shared(), Want::Stopping).await;
    }

    /// Whether somebody has had the runtime end.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.shared().life.deadline().is_some()
    }

    /// Waits until the runtime has ended: the last task is gone. At once, if it has.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::WaitsForItself`] inside a task or a blocking job of this runtime, which would wait for ever;
    /// [`RuntimeError::Forked`] in a forked child.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn closed(&self) -> Result<ShutdownReport, RuntimeError> {
        if self.shared().is_forked() {
            return Err(RuntimeError::Forked);
        }
        if self.is_inside() {
            return Err(RuntimeError::WaitsForItself);
        }
        Ok(End::new(self.shared(), Want::Closed).await)
    }

    /// As [`shutdown`](Handle::shutdown), for a thread that runs no worker of this runtime: blocks until it has ended, at
    /// most 100 ms longer than the grace.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::WaitsForItself`] on a thread of this runtime, one of its blocking pool included, and on the one
    /// that built it: there [`Runtime::shutdown`](crate::Runtime::shutdown) does it. [`RuntimeError::Forked`] in a forked
    /// child. The runtime is not told then.
    pub fn shutdown_blocking(&self, grace: Duration) -> Result<ShutdownReport, RuntimeError> {
        if self.shared().is_forked() {
            return Err(RuntimeError::Forked);
        }
        if self.is_inside() || self.shared().is_owner() {
            return Err(RuntimeError::WaitsForItself);
        }
        let patience = Instant::now().checked_add(grace.saturating_add(SHUTDOWN_SLACK));
        self.shared().say(grace);
        self.shared().life.wait_blocking(patience);
        Ok(self.shared().report(None, true))
    }

    /// Whether a task, the root future or a blocking job of this runtime is running on this thread.
    fn is_inside(&self) -> bool {
        member_of(self.shared()).is_some() || self.shared().blocking().is_served_here()
    }
}

fn member_of(shared: &Arc<Shared>) -> Option<Member> {
    context::try_with(|context| {
        let context = context.filter(|context| Arc::ptr_eq(context.shared(), shared))?;
        Some(Member { worker: context.entry.worker(), task: context.tasks().running() })
    })
}

/// The end of a runtime; made by [`Handle::shutdown`]. It may go to any thread.
#[must_use = "the runtime ends all the same, but nobody waits for it"]
pub struct Shutdown {
    end: End,
}

impl Future for Shutdown {
    type Output = ShutdownReport;

    fn poll(mut self: Pin<&mut Self>, context: &mut Polling<'_>) -> Poll<ShutdownReport> {
        Pin::new(&mut self.end).poll(context)
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Shutdown").finish_non_exhaustive()
    }
}

/// One wait for something about a runtime's end.
struct End {
    shared: Arc<Shared>,
    wait: Wait,
    /// Says what is waited for.
    place: Place,
}

impl End {
    fn new(shared: &Arc<Shared>, want: Want) -> End {
        let wait = Wait { number: 0, want, inside: None };
        End { shared: shared.clone(), wait, place: Place::default() }
    }
}

impl Future for End {
    type Output = ShutdownReport;

    fn poll(mut self: Pin<&mut Self>, context: &mut Polling<'_>) -> Poll<ShutdownReport> {
        let End { shared, wait, place } = &mut *self;
        let own = member_of(shared);
        let is_new = wait.number == 0;
        if is_new {
            wait.inside = own;
        }
        let life = &shared.life;
        let late = life.deadline().is_some_and(|deadline| life.clock().now() >= stuck_at(deadline));
        if life.look(wait, context.waker(), late) {
            place.leave();
            let everybody = own.is_none() && wait.want != Want::Stopping;
            return Poll::Ready(shared.report(own.map(|own| own.worker), everybody));
        }
        place.enter(|| Source::Words(wait.want.words()));
        if is_new {
            // Its worker may have nothing left now but this task.
            shared.nudge_home_of(wait);
        }
        Poll::Pending
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if self.wait.number != 0 {
            self.shared.life.leave(self.wait.number);
            // The task is one like any other now.
            self.shared.nudge_home_of(&self.wait);
        }
    }
}

/// From when on a worker that has not come to its end counts as stuck.
fn stuck_at(deadline: u64) -> u64 {
    deadline.saturating_add(nanos(SHUTDOWN_SLACK / 2))
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::worker::{run, spawn_named};

    #[test]
    fn the_name_of_a_task_that_was_aborted_late_is_forgotten() {
        let names = run(async {
            let late = spawn_named("late", pending::<()>()).id();
            let name = || context::with(|context| context.tasks().published().name(late.number()));
            let before = name();
            let report = Handle::current().shutdown(Duration::from_millis(1)).await;
            assert_eq!(report.aborted[0].name.as_deref(), Some("late"));
            (before, name())
        });
        assert_eq!(names.unwrap(), (Some("late".into()), None));
    }
}
