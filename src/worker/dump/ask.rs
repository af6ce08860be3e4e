//! Asking every worker for its part, and putting the parts together.

use std::{
    collections::HashMap,
    ptr,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use crate::{
    blocking::JobView,
    limits::{DUMP_PATIENCE, DUMPED_TASKS},
    task::{Published, TaskId, system_now},
    worker::{
        Handle, Runtime,
        context::{self, Context},
        dump::{
            Answer, Askers, Dump, InsidePoll, JobDump, TaskDump, TaskState, Wait, WorkerDump,
            circles::circles,
            collect::{Part, Waiter, collect},
        },
        handle::{Reach, Shared},
    },
};

impl Handle {
    /// Lists every live task of the runtime and what it waits for; from any thread. See [`dump`](crate::dump).
    ///
    /// It returns within 100 ms, and blocks its thread for as long. A worker that did not answer in time is marked with
    /// the task that it is inside of. Once the runtime is dropped, its workers are marked as ended.
    ///
    /// # Examples
    ///
    /// From a thread that looks after the program:
    ///
    /// ```
    /// let handle = wakering::run(async {
    ///     let handle = wakering::Handle::current();
    ///     let asked = handle.clone();
    ///     let watcher = std::thread::spawn(move || asked.dump());
    ///     while !watcher.is_finished() {
    ///         wakering::yield_now().await;
    ///     }
    ///     let dump = watcher.join().expect("a dump does not panic");
    ///     assert!(dump.tasks().any(|task| task.is_root));
    ///     handle
    /// })?;
    /// assert_eq!(handle.dump().workers[0].answer, wakering::dump::Answer::Ended);
    /// # Ok::<(), wakering::RuntimeError>(())
    /// ```
    #[must_use]
    pub fn dump(&self) -> Dump {
        dump(self.shared(), None)
    }
}

impl Runtime {
    /// Lists every live task and what it waits for, also between two calls of `block_on` or [`turn`](Runtime::turn); see
    /// [`Handle::dump`](crate::Handle::dump), which the thread of a host between two turns cannot answer.
    ///
    /// # Examples
    ///
    /// ```
    /// let runtime = wakering::Runtime::new()?;
    /// runtime.block_on(async { drop(wakering::spawn(std::future::pending::<()>())) })?;
    /// assert_eq!(runtime.dump().tasks().count(), 1);
    /// # Ok::<(), wakering::RuntimeError>(())
    /// ```
    #[must_use]
    pub fn dump(&self) -> Dump {
        dump(&self.shared, Some(&self.context))
    }
}

/// Asks all workers; `own` is the context of the first, if this is its thread.
pub(super) fn dump(shared: &Arc<Shared>, own: Option<&Context>) -> Dump {
    let give_up = Instant::now() + DUMP_PATIENCE;
    let mut parts: Vec<Option<Part>> = Vec::new();
    parts.resize_with(shared.workers.len(), || None);
    if let Some(part) = here(shared, own) {
        let index = part.dump.index;
        parts[index] = Some(part);
    }
    let (sender, receiver) = mpsc::channel();
    let sender = Arc::new(sender);
    let mut awaited = 0;
    for (index, part) in parts.iter().enumerate() {
        // The first worker's thread may be outside `block_on`: it would answer when it comes back.
        if part.is_some() || (index == 0 && !shared.workers[0].published.comes_round()) {
            continue;
        }
        awaited += usize::from(Askers::ask(shared, index, &sender));
    }
    while awaited > 0 {
        let Ok(part) = receiver.recv_timeout(give_up.saturating_duration_since(Instant::now())) else {
            break;
        };
        let index = part.dump.index;
        parts[index] = Some(part);
        awaited -= 1;
    }
    // From here on nobody answers.
    drop(sender);
    let parts = parts
        .into_iter()
        .enumerate()
        .map(|(index, part)| part.unwrap_or_else(|| absent(index, &shared.workers[index])));
    put_together(parts.collect(), shared.blocking.jobs(DUMPED_TASKS))
}

/// The part of the worker that runs on this thread, or that stands still and belongs to it.
fn here(shared: &Arc<Shared>, own: Option<&Context>) -> Option<Part> {
    let running = context::try_with(|context| {
        let context = context.filter(|context| Arc::ptr_eq(context.shared(), shared))?;
        let index = shared.workers.iter().position(|reach| ptr::eq(reach.entry, context.entry))?;
        Some(collect(context, index))
    });
    running.or_else(|| own.map(|context| collect(context, 0)))
}

/// What is known of a worker that did not answer.
fn absent(index: usize, reach: &Reach) -> Part {
    let answer = answer_of(reach);
    let counts = reach.published.counts();
    let dump = WorkerDump {
        index,
        answer,
        tasks: Vec::new(),
        left_out: usize::try_from(counts.live).unwrap_or(usize::MAX),
        runnable: 0,
        sources: 0,
        timers: 0,
    };
    Part { dump, handles: Vec::new(), waits: Vec::new(), ends: Vec::new() }
}

/// Why a worker does not answer, as far as others can see.
pub(in crate::worker) fn answer_of(reach: &Reach) -> Answer {
    match inside(&reach.published) {
        Some(inside) => Answer::Inside(inside),
        None if reach.injector.is_closed() => Answer::Ended,
        None if reach.published.is_turning() => Answer::Late,
        None => Answer::Outside,
    }
}

/// What lives on this thread's worker, and what it waits for.
pub(in crate::worker) fn of_worker(context: &Context, index: usize) -> Vec<TaskDump> {
    let mut dump = put_together(vec![collect(context, index)], Vec::new());
    dump.workers.pop().map_or_else(Vec::new, |worker| worker.tasks)
}

/// The poll that a worker is inside of, as it says itself.
pub(in crate::worker) fn inside(published: &Published) -> Option<InsidePoll> {
    let inside = published.inside()?;
    let began = inside.began.unwrap_or(inside.turn_time);
    Some(InsidePoll {
        task: TaskId::new(inside.id),
        name: inside.name,
        spawned_at: inside.place,
        so_far: Duration::from_nanos(system_now().saturating_sub(began)),
    })
}

/// Gives every task what it waits for.
fn put_together(parts: Vec<Part>, jobs: Vec<JobView>) -> Dump {
    let mut by_handle = HashMap::new();
    let mut by_id = HashMap::new();
    for (worker, part) in parts.iter().enumerate() {
        for (at, (task, handle)) in part.dump.tasks.iter().zip(&part.handles).enumerate() {
            by_handle.insert(*handle, (worker, at));
            by_id.insert(task.id, (worker, at));
        }
    }
    let mut workers = Vec::with_capacity(parts.len());
    let (mut waits, mut ends) = (Vec::new(), Vec::new());
    for part in parts {
        workers.push(part.dump);
        waits.extend(part.waits);
        ends.extend(part.ends);
    }
    for (waiter, wait) in waits {
        let found = match waiter {
            Waiter::Handle(handle) => by_handle.get(&handle),
            Waiter::Task(id) => by_id.get(&TaskId::new(id)),
        };
        if let Some(&(worker, at)) = found {
            workers[worker].tasks[at].waits.push(wait);
        }
    }
    let mut job_dumps = Vec::with_capacity(jobs.len());
    for JobView { spawned_at, runs, since, awaited_by } in jobs {
        let found = awaited_by.and_then(|handle| by_handle.get(&handle));
        let awaited_by = found.map(|&(worker, at)| {
            let task = &mut workers[worker].tasks[at];
            task.waits.push(Wait::Job { spawned_at, runs });
            task.id
        });
        job_dumps.push(JobDump { spawned_at, runs, so_far: since.elapsed(), awaited_by });
    }
    for task in workers.iter_mut().flat_map(|worker| &mut worker.tasks) {
        if task.state == TaskState::Waiting && task.waits.is_empty() {
            task.waits.push(Wait::External);
        }
    }
    let tasks: Vec<&TaskDump> = workers.iter().flat_map(|worker| &worker.tasks).collect();
    let circles = circles(&tasks, &ends);
    Dump { workers, jobs: job_dumps, circles }
}
