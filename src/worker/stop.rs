//! The end of a runtime: the word that begins it, how far each worker has come, and who waits.
//!
//! ```text
//!  each worker   Serving ◄──► Quiet ──► Ended         quiet: nothing is left but tasks that wait
//!                                                     for the shutdown itself
//!  the pool      Open ──► Draining ──► Ended          told to drain when all workers are quiet
//! ```
//!
//! When all workers are quiet, no spawn is on its way and the pool has ended, that is latched: those who wait inside
//! go on, and workers end when the last of their tasks has. `ending.rs` is a worker's part.
//!
//! All of it stands under one lock, which nobody takes before the word is said, but those who wait for it. No foreign
//! code runs while it is held.

use std::{
    collections::HashSet,
    fmt, mem,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
    time::{Duration, Instant},
};

use crate::{
    clock::Clock,
    contain::wake_contained,
    limits::DUMPED_TASKS,
    worker::{
        dump::{self, Answer, JobDump, TaskDump},
        handle::{Reach, Shared},
        waiters::{Waiters, block_until},
    },
};

/// The word has not been said.
const RUNNING: u64 = u64::MAX;
/// The runtime is being dropped: nothing is waited for and nobody is spared.
pub(super) const AT_ONCE: u64 = 0;

/// How a runtime came to its end: what did not end by itself within the grace.
///
/// Its [`Display`](fmt::Display) is for people.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Tasks that were aborted, and what they waited for. At most 32,768 a worker are listed.
    pub aborted: Vec<TaskDump>,
    /// Workers that did not come back from a poll or a drop, by number; their threads are abandoned.
    pub stuck: Vec<(usize, Answer)>,
    /// Blocking jobs that did not end; their threads are abandoned.
    pub jobs: Vec<JobDump>,
}

impl ShutdownReport {
    /// Whether everything ended by itself.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.aborted.is_empty() && self.stuck.is_empty() && self.jobs.is_empty()
    }
}

impl fmt::Display for ShutdownReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return out.write_str("everything ended by itself");
        }
        match self.aborted.len() {
            1 => out.write_str("1 task was aborted")?,
            DUMPED_TASKS.. => write!(out, "{} tasks were aborted, and maybe more", self.aborted.len())?,
            aborted => write!(out, "{aborted} tasks were aborted")?,
        }
        for task in &self.aborted {
            write!(out, "\n{task}")?;
        }
        for (worker, answer) in &self.stuck {
            write!(out, "\nworker {worker} did not end: ")?;
            match answer {
                Answer::Inside(inside) => write!(out, "{inside}")?,
                Answer::Outside => out.write_str("its thread is outside of block_on and turn")?,
                Answer::Answered | Answer::Late | Answer::Ended => out.write_str("it is inside a drop")?,
            }
        }
        for job in &self.jobs {
            let JobDump { spawned_at, so_far, .. } = job;
            write!(out, "\nthe blocking job spawned at {spawned_at} has been running for {so_far:.1?}")?;
        }
        Ok(())
    }
}

/// How far a worker has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Serving,
    Quiet,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drained {
    Open,
    Draining,
    Ended,
}

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    Stopping,
    Shutdown,
    Closed,
}

impl Want {
    /// What a dump says of who waits.
    pub(super) fn words(self) -> &'static str {
        match self {
            Want::Stopping => "somebody to end a runtime",
            Want::Shutdown => "the end of a runtime that was asked for",
            Want::Closed => "the end of a runtime",
        }
    }
}

/// A task of the runtime, or its root future: where it lives, and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Member {
    pub(super) worker: u16,
    pub(super) task: u64,
}

/// What all workers and handles of a runtime share about its end.
pub(super) struct Life {
    clock: Clock,
    /// [`RUNNING`], or when the grace is over, on the runtime's clock.
    word: AtomicU64,
    state: Mutex<State>,
    /// A worker has ended.
    changed: Condvar,
}

struct State {
    progress: Box<[Progress]>,
    pool: Drained,
    /// Nothing is left but those who wait for the shutdown.
    quiet: bool,
    report: ShutdownReport,
    waiters: Waiters<Waiting>,
    /// Tasks that have been told of the end, and go on to say their last words.
    told: HashSet<Member>,
}

struct Waiting {
    want: Want,
    inside: Option<Member>,
}

impl Life {
    pub(super) fn new(workers: usize, clock: Clock) -> Life {
        let state = State {
            progress: vec![Progress::Serving; workers].into(),
            pool: Drained::Open,
            quiet: false,
            report: ShutdownReport::default(),
            waiters: Waiters::new(),
            told: HashSet::new(),
        };
        Life { clock, word: AtomicU64::new(RUNNING), state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the grace is over, on the runtime's clock; `None` while the word is not said.
    pub(super) fn deadline(&self) -> Option<u64> {
        let word = self.word.load(Ordering::Acquire); // PAIRS: say's fetch_min
        (word != RUNNING).then_some(word)
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Tasks of a worker that its end does not wait for.
    pub(super) fn exempt(&self, worker: u16) -> Vec<u64> {
        let state = self.state();
        let waiting = state.waiters.iter().filter(|waiter| waiter.want == Want::Shutdown);
        let members = waiting.filter_map(|waiter| waiter.inside).chain(state.told.iter().copied());
        let mut exempt: Vec<u64> = members.filter(|it| it.worker == worker).map(|it| it.task).collect();
        exempt.sort_unstable();
        exempt.dedup();
        exempt
    }

    /// Adds to the report what a worker had to abort.
    pub(super) fn aborted(&self, tasks: Vec<TaskDump>) {
        self.state().report.aborted.extend(tasks);
    }

    /// Blocks until every worker has ended, or until `patience`.
    pub(super) fn wait_blocking(&self, patience: Option<Instant>) {
        drop(block_until(&self.changed, self.state(), patience, State::has_ended));
    }

    /// Whether a wait is over; else it stands in the list. When it is `late`, a shutdown is not waited for any longer.
    pub(super) fn look(&self, wait: &mut Wait, waker: &Waker, late: bool) -> bool {
        // Before the lock; what it takes the place of is dropped behind it.
        let mut waker = waker.clone();
        let mut state = self.state();
        let over = state.has_ended()
            || match wait.want {
                // Under the lock: whoever says it wakes those who stand in the list then.
                Want::Stopping => self.deadline().is_some(),
                Want::Shutdown => late || (wait.inside.is_some() && state.quiet),
                Want::Closed => false,
            };
        if over {
            state.told.extend(wait.inside.filter(|_| wait.want == Want::Shutdown));
            return true;
        }
        match state.waiters.find(wait.number) {
            Some(waiter) => mem::swap(&mut waiter.waker, &mut waker),
            None => {
                let waiting = Waiting { want: wait.want, inside: wait.inside };
                wait.number = state.waiters.enter(waiting, waker);
            }
        }
        false
    }

    /// Nobody waits under this number any more.
    pub(super) fn leave(&self, number: u64) {
        let left = self.state().waiters.leave(number);
        drop(left);
    }
}

/// One wait for the end, as [`Life`] knows it.
pub(super) struct Wait {
    /// As which waiter it stands in the list; 0 before.
    pub(super) number: u64,
    pub(super) want: Want,
    /// Who waits, if that is a task of this very runtime.
    pub(super) inside: Option<Member>,
}

impl State {
    fn has_ended(&self) -> bool {
        self.progress.iter().all(|it| *it == Progress::Ended)
    }
}

impl Shared {
    /// Any thread: the runtime is to end within `grace`. The shortest that was said counts.
    pub(super) fn say(&self, grace: Duration) {
        self.say_at(self.life.clock.deadline_after(grace).clamp(AT_ONCE + 1, RUNNING - 1));
    }

    /// Any thread: as `say`, by the time on the runtime's clock.
    pub(super) fn say_at(&self, deadline: u64) {
        if self.is_forked() {
            return; // the doorbells are the parent's
        }
        self.life.word.fetch_min(deadline, Ordering::AcqRel); // PAIRS: deadline's Acquire
        // All of them: who waits for the end has a time of his own to set.
        let wakers = self.life.state().waiters.wakers(|_| true);
        wakers.into_iter().for_each(wake_contained);
        self.nudge();
    }

    /// Has every worker look how far it has come.
    fn nudge(&self) {
        self.workers.iter().for_each(Reach::nudge);
    }

    /// Has the worker look whose end does, or no longer does, wait for the task that this wait is of.
    pub(super) fn nudge_home_of(&self, wait: &Wait) {
        let spared = wait.inside.filter(|_| wait.want == Want::Shutdown && !self.is_forked());
        if let Some(home) = spared {
            let home = self.workers.iter().find(|reach| reach.entry.worker() == home.worker);
            home.into_iter().for_each(Reach::nudge);
        }
    }

    /// A worker has come so far. Returns whether all have, for good.
    pub(super) fn settle(self: &Arc<Self>, worker: usize, progress: Progress) -> bool {
        let mut state = self.life.state();
        if state.progress[worker] != Progress::Ended {
            state.progress[worker] = progress;
        }
        self.conclude(state)
    }

    /// The pool's last job has ended.
    fn pool_ended(self: &Arc<Self>) {
        let mut state = self.life.state();
        state.pool = Drained::Ended;
        self.conclude(state);
    }

    fn conclude(self: &Arc<Self>, mut state: MutexGuard<'_, State>) -> bool {
        let all_quiet = state.progress.iter().all(|it| matches!(it, Progress::Quiet | Progress::Ended))
            && self.workers.iter().all(|reach| !reach.injector.has_jobs());
        let was_quiet = mem::replace(&mut state.quiet, false);
        state.quiet = was_quiet || (all_quiet && state.pool == Drained::Ended);
        let (quiet, ended) = (state.quiet, state.has_ended());
        let drain = all_quiet && state.pool == Drained::Open;
        if drain {
            state.pool = Drained::Draining;
        }
        let wakers = if ended || quiet != was_quiet { state.waiters.wakers(|_| true) } else { Vec::new() };
        drop(state);
        if ended {
            self.life.changed.notify_all();
        }
        wakers.into_iter().for_each(wake_contained);
        if quiet != was_quiet {
            self.nudge();
        }
        if drain {
            let weak = Arc::downgrade(self);
            self.blocking.finish(Box::new(move || {
                if let Some(shared) = weak.upgrade() {
                    shared.pool_ended();
                }
            }));
        }
        quiet
    }

    /// The grace is over: blocking jobs that still run are named, and no longer waited for.
    pub(super) fn give_jobs_up(self: &Arc<Self>) {
        if self.life.state().pool == Drained::Ended {
            return;
        }
        let running = self.blocking.shutdown(Instant::now());
        let jobs = running.iter().map(|job| JobDump {
            spawned_at: job.spawned_at(),
            runs: true,
            so_far: job.so_far(),
            awaited_by: None,
        });
        let mut state = self.life.state();
        if state.pool != Drained::Ended {
            state.report.jobs.extend(jobs);
            state.pool = Drained::Ended;
        }
        self.conclude(state);
    }

    /// Wakes those who wait for a shutdown that somebody holds up.
    pub(super) fn wake_late(&self) {
        let wakers = self.life.state().waiters.wakers(|waiting| waiting.want == Want::Shutdown);
        wakers.into_iter().for_each(wake_contained);
    }

    /// The report so far, with the workers that hold the end up, but for `but`: those that serve on, or, for who waits
    /// until `everybody` is gone, all that have not ended.
    pub(super) fn report(&self, but: Option<u16>, everybody: bool) -> ShutdownReport {
        let state = self.life.state();
        let (mut report, progress) = (state.report.clone(), state.progress.clone());
        drop(state);
        for (index, (reach, progress)) in self.workers.iter().zip(progress).enumerate() {
            let holds_up = match progress {
                Progress::Serving => true,
                Progress::Quiet => everybody,
                Progress::Ended => false,
            };
            if holds_up && Some(reach.entry.worker()) != but {
                report.stuck.push((index, dump::answer_of(reach)));
            }
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_awaits_the_shutdown_again_and_again_is_noted_once() {
        let life = Life::new(1, Clock::real());
        let member = Member { worker: 0, task: 7 };
        for _ in 0..100 {
            let mut wait = Wait { number: 0, want: Want::Shutdown, inside: Some(member) };
            assert!(life.look(&mut wait, Waker::noop(), true));
        }
        assert_eq!((life.exempt(0), life.state().told.len()), (vec![7], 1));
    }
}
