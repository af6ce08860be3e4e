//! A worker's tasks and their run queue.
//!
//! The table owns the slots; the queue holds the numbers of slots that are to be polled, first in, first
//! out, each at most once (`queued`), so it can never grow beyond the table. A wake from the owner is a flag
//! and a push. No foreign code (futures, wakers, destructors) runs while the table is borrowed.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::Future,
    panic::Location,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Context,
};

use crate::{
    limits::{COOPERATIVE_BUDGET, LOOK_ATTEMPTS, MAX_TASKS},
    slab::push_sparingly,
    task::{
        JoinHandle, Published, Scoped,
        cell::{Header, Runnable, TaskCell},
        timing::{Probe, Timing},
        waker::waker,
    },
    trace,
    wake::{Entry, Handle},
};

/// The slot of the future that `block_on` drives; it lives on the caller's stack, not in the table.
pub(crate) const ROOT_SLOT: u32 = 0;

/// How many task ids a worker takes from the process-wide counter at a time.
const ID_BLOCK: u64 = 1024;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static CURRENT: Scoped<Tasks> = const { Scoped::new() };
}

/// Lends the table of the worker that runs on this thread now, if one does.
pub(crate) fn with_current<R>(body: impl FnOnce(Option<&Tasks>) -> R) -> R {
    CURRENT.with(|current| current.with(body))
}

/// Whether it is this task that is being polled on this thread.
#[cold]
pub(super) fn is_running(id: u64) -> bool {
    with_current(|tasks| tasks.is_some_and(|tasks| tasks.running() == id))
}

/// A task's code has panicked on this thread.
#[cold]
pub(super) fn panicked() {
    with_current(|tasks| {
        if let Some(tasks) = tasks {
            tasks.published.panicked();
        }
    });
}

/// A task has panicked while it was polled.
#[cold]
pub(super) fn note_panic(task: &Header, panic: Option<&str>) {
    panicked();
    let name = with_current(|tasks| tasks.and_then(|tasks| tasks.name_of(task)));
    trace::task_panicked(task.id(), task.spawned(), name, panic);
}

/// The tasks of one worker.
pub(crate) struct Tasks {
    entry: &'static Entry,
    worker: u16,
    pub(super) inner: RefCell<Inner>,
    pub(super) published: Arc<Published>,
    pub(super) timing: Timing,
    /// What is known of the root future.
    pub(super) root: Header,
    budget: Cell<u32>,
    /// System calls that were tried since the worker last looked at its selector.
    attempts: Cell<u32>,
    closing: Cell<bool>,
    next_id: Cell<u64>,
    id_block_end: Cell<u64>,
}

#[derive(Default)]
pub(super) struct Inner {
    pub(super) slots: Vec<Slot>,
    pub(super) queue: VecDeque<u32>,
    free: VecDeque<u32>,
    pub(super) live: usize,
    probe: Probe,
}

pub(super) struct Slot {
    pub(super) generation: u32,
    pub(super) queued: bool,
    pub(super) task: Option<Rc<dyn Runnable>>,
}

/// What the head of the run queue was.
enum Next {
    Nothing,
    Root,
    Task(u32, u32, Rc<dyn Runnable>),
}

impl Tasks {
    pub(crate) fn new(entry: &'static Entry, published: Arc<Published>) -> Self {
        let tasks = Tasks {
            entry,
            worker: entry.worker(),
            inner: RefCell::default(),
            published,
            timing: Timing::default(),
            root: Header::new(Handle::new(entry.worker(), ROOT_SLOT, 0)),
            budget: Cell::new(COOPERATIVE_BUDGET),
            attempts: Cell::new(0),
            closing: Cell::new(false),
            next_id: Cell::new(0),
            id_block_end: Cell::new(0),
        };
        let root = tasks.reserve();
        debug_assert_eq!(root.slot(), ROOT_SLOT);
        tasks
    }

    pub(crate) fn worker(&self) -> u16 {
        self.worker
    }

    /// Makes this table the one that wakers on this thread reach without an atomic, while `body` runs.
    pub(crate) fn enter<R>(&self, body: impl FnOnce() -> R) -> R {
        let _left = Turning { tasks: self, before: self.published.set_turning(true) };
        CURRENT.with(|current| current.enter(self, body))
    }

    pub(crate) fn published(&self) -> &Arc<Published> {
        &self.published
    }

    /// The root future begins, or what `block_on` was given has been polled to its end or dropped.
    pub(crate) fn set_root(&self, spawned: Option<&'static Location<'static>>) {
        match spawned {
            Some(spawned) => {
                self.root.start(self.id(), spawned);
                self.root.set_since(self.published.turn_time());
            }
            None => self.root.end(),
        }
    }

    /// The name of a task of this worker, if it has one.
    pub(super) fn name_of(&self, task: &Header) -> Option<Arc<str>> {
        if task.is_named() { self.published.name(task.id()) } else { None }
    }

    /// The handle that wakes the root future.
    pub(crate) fn root_handle(&self) -> Handle {
        let generation = self.inner.borrow().slots[ROOT_SLOT as usize].generation;
        Handle::new(self.worker, ROOT_SLOT, generation)
    }

    /// Starts a task; it is polled when the queue comes to it. Its name is what others see in dumps and reports.
    #[inline]
    pub(crate) fn spawn<F>(
        &self,
        future: F,
        name: Option<Arc<str>>,
        spawned: &'static Location<'static>,
    ) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
    {
        if self.closing.get() {
            // The runtime is going down: nothing will be polled any more, and the handle says so.
            let cell = Rc::new(TaskCell::new(future, self.id(), self.root_handle(), spawned));
            cell.abandon();
            return JoinHandle::new(cell);
        }
        let handle = self.reserve();
        let cell = Rc::new(TaskCell::new(future, self.id(), handle, spawned));
        if let Some(name) = name {
            cell.header().set_named();
            self.published.set_name(cell.header().id(), name);
        }
        self.link(handle.slot(), cell.clone());
        self.enqueue(handle.slot());
        JoinHandle::new(cell)
    }

    /// A wake from the worker's own thread.
    pub(crate) fn wake(&self, slot: u32, generation: u32) {
        let mut inner = self.inner.borrow_mut();
        if inner.slots.get(slot as usize).is_some_and(|it| it.generation == generation) {
            inner.enqueue(slot);
        }
    }

    /// Queues a slot for a poll, whoever lives in it now.
    pub(crate) fn enqueue(&self, slot: u32) {
        self.inner.borrow_mut().enqueue(slot);
    }

    pub(crate) fn is_runnable(&self) -> bool {
        !self.inner.borrow().queue.is_empty()
    }

    /// Tasks that have not ended.
    pub(crate) fn live(&self) -> usize {
        self.inner.borrow().live
    }

    /// Polls up to `budget` tasks in the order in which they were woken, fewer when they try the system often; `root`
    /// stands for the root future.
    pub(crate) fn run(&self, budget: usize, root: &mut dyn FnMut()) -> usize {
        self.break_chain();
        for polled in 0..budget {
            if self.is_look_due() {
                return polled;
            }
            match self.next() {
                Next::Nothing => return polled,
                Next::Root => self.polled(&self.root, &mut *root),
                Next::Task(slot, generation, task) => {
                    let waker = waker(Handle::new(self.worker, slot, generation));
                    let mut context = Context::from_waker(&waker);
                    if self.polled(task.header(), || task.poll(&mut context)).is_ready() {
                        self.leave(slot, task);
                    }
                }
            }
        }
        budget
    }

    /// Runs `body` as task `id`, with a budget of its own, then gives the outer task its budget back.
    pub(crate) fn charged<R>(
        &self,
        id: u64,
        place: &'static Location<'static>,
        body: impl FnOnce() -> R,
    ) -> R {
        let outer_budget = self.budget.replace(COOPERATIVE_BUDGET);
        let outer_task = self.published.begin(id, place);
        let result = body();
        let attempts = COOPERATIVE_BUDGET - self.budget.get();
        self.attempts.set(self.attempts.get().saturating_add(attempts));
        self.budget.set(outer_budget);
        self.published.resume(outer_task);
        result
    }

    /// The id of the task that is being polled; 0 outside of any.
    pub(crate) fn running(&self) -> u64 {
        self.published.running()
    }

    /// Takes one unit of the running task's budget; false when there is none left.
    pub(crate) fn spend(&self) -> bool {
        let left = self.budget.get();
        self.budget.set(left.saturating_sub(1));
        if left == 0 {
            self.published.exhausted();
        }
        left > 0
    }

    /// Takes units of the running task's budget for work that was more than a system call. What is more than is left still
    /// brings the next look at the selector nearer.
    pub(crate) fn charge(&self, units: u32) {
        let left = self.budget.get();
        self.budget.set(left.saturating_sub(units));
        self.attempts.set(self.attempts.get().saturating_add(units.saturating_sub(left)));
    }

    /// Whether tasks have tried the system so often since the last look that the selector is due, whatever is queued.
    pub(crate) fn is_look_due(&self) -> bool {
        self.attempts.get() >= LOOK_ATTEMPTS
    }

    /// The worker looks at its selector: attempts count from nought again.
    pub(crate) fn looked(&self) {
        self.attempts.set(0);
    }

    /// Drops every task, also those that destructors spawn meanwhile; nothing can be spawned afterwards.
    pub(crate) fn close(&self) {
        self.closing.set(true);
        loop {
            let tasks: Vec<_> = {
                let mut inner = self.inner.borrow_mut();
                inner.queue.clear();
                inner.live = 0;
                inner.slots.iter_mut().filter_map(|slot| slot.task.take()).collect()
            };
            if tasks.is_empty() {
                self.published.unlinked(0);
                self.published.forget_names();
                return;
            }
            for task in tasks {
                task.abandon();
                let header = task.header();
                trace::task_ended(header.id(), || self.name_of(header));
                task.retire();
            }
        }
    }

    /// Gives out a free slot, oldest first, so that a slot's generations are used up as slowly as may be.
    ///
    /// # Panics
    ///
    /// When there are 2^24 tasks on this worker.
    pub(crate) fn reserve(&self) -> Handle {
        let mut inner = self.inner.borrow_mut();
        let slot = match inner.free.pop_front() {
            Some(slot) => slot,
            None => {
                let slot = inner.slots.len();
                assert!(slot < MAX_TASKS, "a worker holds at most {MAX_TASKS} tasks");
                let slot = slot as u32;
                let generation = self.entry.ensure_slot(slot);
                push_sparingly(&mut inner.slots, Slot { generation, queued: false, task: None });
                slot
            }
        };
        Handle::new(self.worker, slot, inner.slots[slot as usize].generation)
    }

    /// Gives a slot back; handles to its last tenant are stale from now on.
    pub(crate) fn give_back(&self, slot: u32) {
        let mut inner = self.inner.borrow_mut();
        inner.slots[slot as usize].generation = self.entry.retire_slot(slot);
        inner.free.push_back(slot);
    }

    /// Puts a task into its reserved slot.
    pub(crate) fn link(&self, slot: u32, task: Rc<dyn Runnable>) {
        let header = task.header();
        header.set_since(self.published.turn_time());
        trace::task_spawned(header.id(), header.spawned(), || self.name_of(header));
        let mut inner = self.inner.borrow_mut();
        inner.live += 1;
        inner.slots[slot as usize].task = Some(task);
        self.published.linked(inner.live);
    }

    /// A fresh task id.
    pub(crate) fn id(&self) -> u64 {
        let id = self.next_id.get();
        if id < self.id_block_end.get() {
            self.next_id.set(id + 1);
            return id;
        }
        let first = NEXT_ID.fetch_add(ID_BLOCK, Ordering::Relaxed);
        self.id_block_end.set(first + ID_BLOCK);
        self.next_id.set(first + 1);
        first
    }

    /// A task has ended: nothing of it stays but what its handle is owed.
    #[inline]
    pub(super) fn leave(&self, slot: u32, task: Rc<dyn Runnable>) {
        let header = task.header();
        trace::task_ended(header.id(), || self.name_of(header));
        if header.is_named() {
            self.published.forget_name(header.id());
        }
        self.unlink(slot, task.gives_slot_back());
        task.retire();
    }

    pub(super) fn unlink(&self, slot: u32, give_back: bool) {
        let mut inner = self.inner.borrow_mut();
        let task = inner.slots[slot as usize].task.take();
        if task.is_some() {
            inner.live -= 1;
            self.published.unlinked(inner.live);
        }
        drop(inner);
        // The caller holds the task, so this is a count, not a destructor.
        drop(task);
        if give_back {
            self.give_back(slot);
        }
    }

    fn next(&self) -> Next {
        let mut inner = self.inner.borrow_mut();
        while let Some(slot) = inner.queue.pop_front() {
            if inner.probe.is_for(slot) {
                inner.probe.end(self.published.schedule_delay());
            }
            let entry = &mut inner.slots[slot as usize];
            entry.queued = false;
            if slot == ROOT_SLOT {
                return Next::Root;
            }
            // A slot without a task was woken by a handle that outlived its task.
            if let Some(task) = &entry.task {
                return Next::Task(slot, entry.generation, task.clone());
            }
        }
        Next::Nothing
    }
}

impl Inner {
    fn enqueue(&mut self, slot: u32) {
        let Some(entry) = self.slots.get_mut(slot as usize) else { return };
        if !entry.queued {
            entry.queued = true;
            self.queue.push_back(slot);
            self.probe.count(slot);
        }
    }
}

/// Says that the worker's loop is left, also when the root future's panic goes through it.
struct Turning<'a> {
    tasks: &'a Tasks,
    before: bool,
}

impl Drop for Turning<'_> {
    fn drop(&mut self) {
        self.tasks.published.set_turning(self.before);
        if !self.before {
            self.tasks.published.set_idle();
        }
    }
}
