//! Cells that are used again and again by chains of one type.
//!
//! A server's handler future is built in the cell that it would live in as a task, polled once on the spot,
//! and mostly done: its cell goes back to the pool and nothing was allocated. If it has to wait, that same
//! cell is linked as a task where it lies; nothing moves. A cell keeps its slot and generation between
//! uses: a handle left over from the last request is at worst a spurious poll of the next.

use std::{
    cell::RefCell,
    future::Future,
    panic::{AssertUnwindSafe, Location, catch_unwind},
    rc::{Rc, Weak},
    task::{Context, Poll},
};

use crate::{
    contain::{contain, drop_contained},
    limits::RECYCLED_CELLS,
    task::{
        Chain, Tasks,
        cell::{Header, Runnable, TaskCell},
        chain::{Filled, Next, Slot},
        table,
        waker::waker,
    },
    wake::Handle,
};

/// A store of empty cells for futures of type `F`.
pub(crate) struct Pool<F: Future<Output = ()> + 'static> {
    free: RefCell<Vec<Rc<Pooled<F>>>>,
}

/// A future that did not finish at once and now is a task.
pub(crate) struct Started {
    task: Rc<dyn Runnable>,
    id: u64,
}

impl Started {
    /// The task's id, unless it has ended.
    pub(crate) fn task(&self) -> Option<u64> {
        let header = self.task.header();
        (header.id() == self.id && !header.is_finished()).then_some(self.id)
    }

    /// Ends the task, unless it has ended: its cell may serve another future by now.
    pub(crate) fn cancel(&self) {
        let header = self.task.header();
        if header.id() == self.id {
            header.cancel();
        }
    }
}

impl<F, N> Pool<Chain<F, N>>
where
    F: Future + 'static,
    N: Next<F::Output> + 'static,
{
    /// Runs the chain that `begin` begins on the spot; when it has to wait it becomes a task.
    ///
    /// A panic of `begin` or of the chain ends the chain, as it would end a task.
    #[inline]
    pub(crate) fn start(
        self: &Rc<Self>,
        tasks: &Tasks,
        begin: impl for<'s> FnOnce(Slot<'s, F>) -> (Filled<'s, F>, N),
        spawned: &'static Location<'static>,
    ) -> Option<Started> {
        let recycled = self.free.borrow_mut().pop();
        let pooled = recycled.unwrap_or_else(|| {
            let handle = tasks.reserve();
            Rc::new(Pooled { cell: TaskCell::empty(handle), handle, home: Rc::downgrade(self) })
        });
        let id = tasks.id();
        let filled = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: `Chain::begin` leaves a chain in the place that it is given.
            unsafe { pooled.cell.fill(|place| Chain::begin(place, begin), id, spawned) }
        }));
        if let Err(payload) = filled {
            table::panicked();
            drop_contained(payload);
            self.keep(pooled);
            return None;
        }
        let waker = waker(pooled.handle);
        let mut context = Context::from_waker(&waker);
        if tasks.polled(pooled.cell.header(), || pooled.cell.poll(&mut context)).is_ready() {
            pooled.retire();
            return None;
        }
        tasks.link(pooled.handle.slot(), pooled.clone());
        Some(Started { task: pooled, id })
    }
}

impl<F: Future<Output = ()> + 'static> Pool<F> {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Pool { free: RefCell::default() })
    }

    /// Takes an empty cell back.
    fn keep(&self, cell: Rc<Pooled<F>>) {
        let mut free = self.free.borrow_mut();
        if free.len() < RECYCLED_CELLS {
            free.push(cell);
        }
    }
}

struct Pooled<F: Future<Output = ()> + 'static> {
    cell: TaskCell<F>,
    handle: Handle,
    home: Weak<Pool<F>>,
}

impl<F: Future<Output = ()> + 'static> Runnable for Pooled<F> {
    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        self.cell.poll(context)
    }

    fn abandon(&self) {
        self.cell.abandon();
    }

    fn gives_slot_back(&self) -> bool {
        // The slot is the cell's own; `Drop` gives it back.
        false
    }

    fn joiner(&self) -> Option<Handle> {
        self.cell.joiner()
    }

    fn retire(self: Rc<Self>) {
        // A panic's payload may panic when it is dropped, and must not take the worker with it.
        contain(|| self.cell.discard());
        if let Some(home) = self.home.upgrade() {
            home.keep(self);
        }
    }

    fn header(&self) -> &Header {
        self.cell.header()
    }
}

impl<F: Future<Output = ()> + 'static> Drop for Pooled<F> {
    fn drop(&mut self) {
        let handle = self.handle;
        // Outside its worker's loop the table is about to go as a whole.
        table::with_current(|tasks| match tasks {
            Some(tasks) if tasks.worker() == handle.worker() => tasks.give_back(handle.slot()),
            Some(_) | None => {}
        });
    }
}
