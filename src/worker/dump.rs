//! What every task waits for, and since when.
//!
//! [`Handle::dump`](crate::Handle::dump) and [`Runtime::dump`](crate::Runtime::dump) list every live task of every
//! worker, as data and, by its [`Display`](std::fmt::Display), as text for people:
//!
//! ```text
//! runtime of 1 worker
//! worker 0: 3 tasks, 1 runnable; 1 source, 1 timer
//!   #1 root, block_on at src/main.rs:9:13: running, 2 polls
//!   #2 "reader", spawned at src/main.rs:14:9: waiting for 1.2 s, 1 poll
//!       waits to read from descriptor 7 (TCP 127.0.0.1:40212 with 127.0.0.1:8080)
//!       waits for a timer, due in 28.8 s
//!   #3, spawned at src/main.rs:20:9: waiting for 1.2 s, 4 polls
//!       waits for the end of #4
//! ```
//!
//! What a task waits for is not written down when it begins to wait: a dump looks where the task's waker lies, at
//! sources, timers and other tasks. So the price is paid by who asks. That has three limits:
//!
//! - what a task waits for by way of another library or of another thread is "something external", unless the future was
//!   wrapped by [`waiting`];
//! - a combinator that gives its children wakers of its own (`futures`' `FuturesUnordered`) hides for whom they wait;
//! - a wait for a descriptor that was given up, say at a time limit, is listed until the descriptor is ready once, and one
//!   for another task as long as its [`JoinHandle`](crate::JoinHandle) is kept: a circle of which a task waits for something
//!   else as well says so.
//!
//! Any thread may ask. Workers are asked to answer for themselves; one that does not within 75 ms is marked with the
//! task that it is inside of, by id, name and spawn place, and how long it has been so. A task may ask too: its own
//! worker then answers at once and, until the others have, is blocked.
//!
//! # Examples
//!
//! Two tasks that wait for each other:
//!
//! ```
//! use std::{cell::RefCell, rc::Rc};
//! use wakering::{JoinHandle, spawn_named, yield_now};
//!
//! wakering::run(async {
//!     let first: Rc<RefCell<Option<JoinHandle<()>>>> = Rc::default();
//!     let other = first.clone();
//!     let second = spawn_named("second", async move {
//!         let first = other.borrow_mut().take().expect("set before this runs");
//!         first.await.expect("never");
//!     });
//!     *first.borrow_mut() = Some(spawn_named("first", async move { second.await.expect("never") }));
//!     yield_now().await;
//!     yield_now().await;
//!
//!     let dump = wakering::Handle::current().dump();
//!     assert_eq!(dump.circles.len(), 1);
//!     println!("{dump}");
//! })?;
//! # Ok::<(), wakering::RuntimeError>(())
//! ```

mod ask;
mod askers;
mod circles;
mod collect;
mod duties;
mod text;

use std::{net::SocketAddr, panic::Location, sync::Arc, time::Duration};

pub(crate) use self::duties::{Informants, Knows, Told};
pub(super) use self::{
    ask::{answer_of, of_worker},
    askers::Askers,
};
pub use super::notes::{Note, Waiting, waiting};

use crate::task::TaskId;

/// What a runtime's tasks are doing, at one moment each worker.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Dump {
    /// The workers, by their number.
    pub workers: Vec<WorkerDump>,
    /// Jobs of the blocking pool, those that run before those that wait.
    pub jobs: Vec<JobDump>,
    /// Tasks that wait for each other's end in a circle, joins of a [`Scope`](crate::Scope) among them: for ever, unless one
    /// of them waits for something else too, say a time limit.
    pub circles: Vec<Circle>,
}

impl Dump {
    /// All tasks of all workers.
    pub fn tasks(&self) -> impl Iterator<Item = &TaskDump> {
        self.workers.iter().flat_map(|worker| &worker.tasks)
    }

    /// A task by its id, if it lives and its worker answered.
    #[must_use]
    pub fn task(&self, id: TaskId) -> Option<&TaskDump> {
        self.tasks().find(|task| task.id == id)
    }
}

/// One worker in a [`Dump`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerDump {
    /// Its number in the runtime, from 0.
    pub index: usize,
    /// Whether it answered, or why not. The rest is empty if it did not.
    pub answer: Answer,
    /// Its live tasks, the root future of `block_on` first.
    pub tasks: Vec<TaskDump>,
    /// How many more live tasks it has than are listed: a dump lists 32,768 a worker.
    pub left_out: usize,
    /// Tasks in its run queue.
    pub runnable: usize,
    /// Descriptors that somebody has waited for and that are still open.
    pub sources: usize,
    /// Armed timers.
    pub timers: usize,
}

/// Whether a worker answered when a dump was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// It did.
    Answered,
    /// It is inside a poll and did not come out of it in time.
    Inside(InsidePoll),
    /// It did not answer in time, and is inside no poll: it is busy with its own work.
    Late,
    /// Its loop does not run: nobody is in `block_on` or `turn` on its thread.
    Outside,
    /// It has ended.
    Ended,
}

/// The poll that a worker is inside of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InsidePoll {
    /// Which task.
    pub task: TaskId,
    /// The task's name, if it has one.
    pub name: Option<Arc<str>>,
    /// Where it was spawned; nothing if the worker was just about to say.
    pub spawned_at: Option<&'static Location<'static>>,
    /// For how long: since the poll began where polls are timed (see
    /// [`Builder::stall_limit`](crate::Builder::stall_limit)), else since the turn began.
    pub so_far: Duration,
}

/// A poll that took too long, or does so now; see [`Builder::stall_limit`](crate::Builder::stall_limit).
///
/// Its [`Display`](std::fmt::Display) is the line that goes to standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stall {
    /// The worker's number.
    pub worker: usize,
    /// Which task.
    pub task: TaskId,
    /// The task's name, if it has one.
    pub name: Option<Arc<str>>,
    /// Where it was spawned; nothing if the worker was just about to say.
    pub spawned_at: Option<&'static Location<'static>>,
    /// How long the poll has taken.
    pub so_far: Duration,
    /// Whether the poll is over. The watchdog reports one that is not.
    pub is_over: bool,
}

/// One task in a [`Dump`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskDump {
    /// Its id, which no other task of the process ever has.
    pub id: TaskId,
    /// Its name, if it was given one by [`spawn_named`](crate::spawn_named).
    pub name: Option<Arc<str>>,
    /// Where it was spawned, or where `block_on` was called.
    pub spawned_at: &'static Location<'static>,
    /// Whether it is the future that `block_on` was given.
    pub is_root: bool,
    /// What it is about.
    pub state: TaskState,
    /// What it works on, where the library knows: the request of an HTTP server's handler, the connection of the task that
    /// drives it.
    pub works_on: Option<String>,
    /// What it waits for. More than one thing where it will go on with whichever comes first; never none where the
    /// state is `Waiting`.
    pub waits: Vec<Wait>,
    /// How long ago the turn began in which it was last polled, or else spawned.
    pub since: Duration,
    /// How often it was polled, modulo 2³².
    pub polls: u32,
    /// How long the last poll took that was timed; one in 64 of a worker's is.
    pub timed_poll: Option<Duration>,
}

/// What a task is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskState {
    /// It is being polled: it asked for the dump, or polls who did.
    Running,
    /// It is in the run queue.
    Runnable,
    /// It waits to be woken.
    Waiting,
}

/// Something that a task waits for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Wait {
    /// A descriptor to become readable.
    Read(Descriptor),
    /// A descriptor to become writable.
    Write(Descriptor),
    /// A timer.
    Timer {
        /// In how long it is due: zero where it is overdue, `None` where it never is.
        due_in: Option<Duration>,
    },
    /// The end of another task.
    Join(TaskId),
    /// The end of all tasks of a [`Scope`](crate::Scope): these are left.
    Scope(Vec<TaskId>),
    /// The end of a blocking job.
    Job {
        /// Where the job was spawned.
        spawned_at: &'static Location<'static>,
        /// Whether a thread has begun it.
        runs: bool,
    },
    /// What [`waiting`] was told.
    Note(String),
    /// Something that the runtime does not see: a wake by another library or another thread.
    External,
}

/// A descriptor, as far as the system tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Descriptor {
    /// Its number.
    pub number: i32,
    /// What it is.
    pub kind: DescriptorKind,
    /// A socket's own address.
    pub local: Option<SocketAddr>,
    /// The address of the peer that a socket is connected with.
    pub peer: Option<SocketAddr>,
}

/// What a descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DescriptorKind {
    /// A TCP socket.
    Tcp,
    /// A UDP socket.
    Udp,
    /// A socket with an address of another kind: a Unix socket.
    Unix,
    /// Something else: a pipe, a terminal, an event counter.
    Other,
}

/// One job of the blocking pool in a [`Dump`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JobDump {
    /// Where it was spawned.
    pub spawned_at: &'static Location<'static>,
    /// Whether a thread runs it; else it waits for one.
    pub runs: bool,
    /// For how long it has been running, or waiting.
    pub so_far: Duration,
    /// The task that waits for its result.
    pub awaited_by: Option<TaskId>,
}

/// Tasks each of which waits for the end of the next, and the last for that of the first. Who waits for the end of a server waits
/// for that of every handler that is at work there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Circle {
    /// The tasks, beginning with the oldest.
    pub tasks: Vec<TaskId>,
}
