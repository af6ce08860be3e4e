//! The cell a future lives in, from spawn to join.
//!
//! One allocation holds the header, the future and later its output. The cell is shared by the worker's
//! table and by the task's `JoinHandle` through `Rc`: it never leaves its thread. `Phase` says what the stage
//! holds and who may touch it, and every access goes through it:
//!
//! * `Empty` → it holds nothing; only `fill` may, before anybody else knows of the future;
//! * `Pending` → the future; only `poll`/`cancel` may, and they set `Polling` first, so that nothing re-enters;
//! * `Polling` → the future; only the frame that set it;
//! * `Dropping` → the future, which `finish` is dropping, or nothing any more; only that frame;
//! * `Finished` → the output; only `take` and `discard`, which set `Empty` first.
//!
//! The future is never moved after `fill`: it is dropped in place before the stage changes. The stage is a union, and
//! no enum, so that a future can be written straight into it.

use std::{
    cell::{Cell, UnsafeCell},
    future::Future,
    mem::{self, ManuallyDrop, MaybeUninit},
    panic::{AssertUnwindSafe, Location, catch_unwind},
    pin::Pin,
    ptr,
    task::{Context, Poll, Waker},
};

use crate::{
    contain::{contain, drop_contained, wake_contained},
    error::JoinError,
    task::{
        table,
        waker::{handle_of, waker},
    },
    wake::Handle,
};

/// What is known of a task without knowing its type.
pub(crate) struct Header {
    id: Cell<u64>,
    handle: Cell<Handle>,
    spawned: Cell<&'static Location<'static>>,
    phase: Cell<Phase>,
    cancelled: Cell<bool>,
    named: Cell<bool>,
    polls: Cell<u32>,
    /// The last poll that was timed, in nanoseconds; 0 if none was.
    timed: Cell<u32>,
    /// The turn's time at the last poll, or at the spawn.
    since: Cell<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Empty,
    Pending,
    Polling,
    Dropping,
    Finished,
}

impl Header {
    pub(crate) fn new(handle: Handle) -> Self {
        Header {
            id: Cell::new(0),
            handle: Cell::new(handle),
            spawned: Cell::new(Location::caller()),
            phase: Cell::new(Phase::Empty),
            cancelled: Cell::new(false),
            named: Cell::new(false),
            polls: Cell::new(0),
            timed: Cell::new(0),
            since: Cell::new(0),
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id.get()
    }

    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.phase.get(), Phase::Finished | Phase::Empty)
    }

    /// Asks the task to end: it is dropped, unpolled, when its worker comes to it.
    pub(crate) fn cancel(&self) {
        if !self.is_finished() && !self.cancelled.replace(true) {
            waker(self.handle.get()).wake();
        }
    }

    /// It is about to be polled, in the turn that began at `now`.
    #[inline]
    pub(super) fn polled(&self, now: u64) {
        self.polls.set(self.polls.get().wrapping_add(1));
        self.since.set(now);
    }

    pub(super) fn set_timed(&self, nanos: u64) {
        self.timed.set(u32::try_from(nanos).unwrap_or(u32::MAX).max(1));
    }

    pub(super) fn set_named(&self) {
        self.named.set(true);
    }

    pub(super) fn is_named(&self) -> bool {
        self.named.get()
    }

    pub(super) fn is_polling(&self) -> bool {
        matches!(self.phase.get(), Phase::Polling | Phase::Dropping)
    }

    pub(super) fn handle(&self) -> Handle {
        self.handle.get()
    }

    /// Polls so far; the last one that was timed in nanoseconds, 0 if none was; the turn's time at the last one.
    pub(super) fn history(&self) -> (u32, u32, u64) {
        (self.polls.get(), self.timed.get(), self.since.get())
    }

    pub(super) fn set_since(&self, now: u64) {
        self.since.set(now);
    }

    /// Where the task was spawned.
    pub(crate) fn spawned(&self) -> &'static Location<'static> {
        self.spawned.get()
    }
}

/// A task as its worker's table sees it.
pub(crate) trait Runnable {
    /// Polls once; `Ready` when the task has ended in whatever way. Panics of the future are contained.
    fn poll(&self, context: &mut Context<'_>) -> Poll<()>;
    /// Drops the future now, as cancelled. Does nothing while the task is being polled.
    fn abandon(&self);
    /// The task's slot is given back; a recycled cell keeps its slot and answers false.
    fn gives_slot_back(&self) -> bool;
    /// The task that waits for this one's output, if it is one of ours.
    fn joiner(&self) -> Option<Handle>;
    /// The table lets go of the task, which has ended.
    fn retire(self: std::rc::Rc<Self>);
    fn header(&self) -> &Header;
}

// In C's layout every field of a union begins where the union does, which `future` and `output` rely on.
#[repr(C)]
union Stage<F: Future> {
    empty: (),
    future: ManuallyDrop<F>,
    output: ManuallyDrop<Result<F::Output, JoinError>>,
}

/// A future and what is left of it.
pub(crate) struct TaskCell<F: Future> {
    header: Header,
    joiner: Cell<Option<Waker>>,
    stage: UnsafeCell<Stage<F>>,
}

impl<F: Future> TaskCell<F> {
    /// A cell with nothing in it, that belongs to the slot of `handle`.
    pub(crate) fn empty(handle: Handle) -> Self {
        TaskCell {
            header: Header::new(handle),
            joiner: Cell::new(None),
            stage: UnsafeCell::new(Stage { empty: () }),
        }
    }

    /// A cell with `future` in it, ready to be polled.
    pub(crate) fn new(future: F, id: u64, handle: Handle, spawned: &'static Location<'static>) -> Self {
        let mut cell = TaskCell::empty(handle);
        cell.stage = UnsafeCell::new(Stage { future: ManuallyDrop::new(future) });
        cell.header.start(id, spawned);
        cell
    }

    /// Has `make` build a new future in an empty cell.
    ///
    /// # Panics
    ///
    /// When the cell is not empty.
    ///
    /// # Safety
    ///
    /// When `make` returns, what it was given holds a future.
    #[inline]
    pub(super) unsafe fn fill(
        &self,
        make: impl FnOnce(&mut MaybeUninit<F>),
        id: u64,
        spawned: &'static Location<'static>,
    ) {
        assert_eq!(self.header.phase.get(), Phase::Empty, "a task cell is filled only when empty");
        // SAFETY: the phase is `Empty`, so no reference into the stage exists: `poll`, `abandon`, `take` and
        // `discard` touch it only in other phases, and each gives its reference up before it leaves its
        // phase. `make` may be foreign code, but this cell is not yet reachable for it. The field of a union is as
        // aligned as the union and within it, and uninitialised memory may hold anything.
        make(unsafe { &mut *self.future().cast::<MaybeUninit<F>>() });
        self.header.start(id, spawned);
    }

    /// Where the future lies when there is one.
    #[inline]
    fn future(&self) -> *mut F {
        self.stage.get().cast()
    }

    /// Where the output lies when there is one.
    #[inline]
    fn output(&self) -> *mut Result<F::Output, JoinError> {
        self.stage.get().cast()
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// Polls the future once; see [`Runnable::poll`].
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        match self.header.phase.get() {
            Phase::Pending => {}
            Phase::Polling | Phase::Dropping => return Poll::Pending,
            // It was abandoned from outside the table, which hears of it here.
            Phase::Finished | Phase::Empty => return Poll::Ready(()),
        }
        if self.header.cancelled.get() {
            self.abandon();
            return Poll::Ready(());
        }
        self.header.phase.set(Phase::Polling);
        let polled = catch_unwind(AssertUnwindSafe(|| self.poll_future(context)));
        let result = match polled {
            Ok(Poll::Pending) => {
                self.header.phase.set(Phase::Pending);
                return Poll::Pending;
            }
            Ok(Poll::Ready(output)) => Ok(output),
            Err(payload) => {
                let error = JoinError::panicked(payload);
                table::note_panic(&self.header, error.message());
                Err(error)
            }
        };
        self.finish(result);
        Poll::Ready(())
    }

    /// Drops the future, unless it is being polled or has ended; see [`Runnable::abandon`].
    pub(crate) fn abandon(&self) {
        if self.header.phase.get() == Phase::Pending {
            self.header.phase.set(Phase::Polling);
            self.finish(Err(JoinError::cancelled()));
        }
    }

    /// Takes the output, or leaves `context`'s waker to be woken when there is one.
    pub(crate) fn poll_join(&self, context: &Context<'_>) -> Poll<Result<F::Output, JoinError>> {
        match self.header.phase.get() {
            Phase::Finished => Poll::Ready(self.take()),
            Phase::Polling | Phase::Dropping if table::is_running(self.header.id()) => {
                Poll::Ready(Err(JoinError::itself()))
            }
            Phase::Pending | Phase::Polling | Phase::Dropping => {
                let joiner = match self.joiner.take() {
                    Some(joiner) if joiner.will_wake(context.waker()) => joiner,
                    Some(_) | None => context.waker().clone(),
                };
                self.joiner.set(Some(joiner));
                Poll::Pending
            }
            Phase::Empty => panic!("a JoinHandle was polled after it had given its output"),
        }
    }

    /// Whose waker waits for the output, if it is one of ours.
    pub(super) fn joiner(&self) -> Option<Handle> {
        let joiner = self.joiner.take();
        let handle = joiner.as_ref().and_then(handle_of);
        self.joiner.set(joiner);
        handle
    }

    /// Takes the output of a finished task and leaves the cell empty.
    pub(crate) fn take(&self) -> Result<F::Output, JoinError> {
        assert_eq!(self.header.phase.get(), Phase::Finished, "only a finished task has an output");
        self.header.phase.set(Phase::Empty);
        // SAFETY: the phase was `Finished`, in which the stage holds an output and no reference into it exists. It
        // is `Empty` now, so that nobody reads the output again.
        unsafe { self.output().read() }
    }

    /// Drops the output of a finished task where it lies and leaves the cell empty.
    pub(crate) fn discard(&self) {
        assert_eq!(self.header.phase.get(), Phase::Finished, "only a finished task has an output");
        self.header.phase.set(Phase::Empty);
        // SAFETY: the phase was `Finished`, in which the stage holds an output and no reference into it exists. It
        // is `Empty` now, so that nobody drops the output again. Its destructor may run foreign code, which cannot
        // fill the cell: only the cell's pool does, and it gets the cell back afterwards.
        unsafe { self.output().drop_in_place() };
    }

    fn poll_future(&self, context: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: the phase is `Polling`, set by the caller on this thread: the stage holds the future, and this is
        // the only reference into it until `finish` or the return to `Pending`.
        let future = unsafe { &mut *self.future() };
        // SAFETY: the future lives inside an `Rc` allocation from its first poll on, is never moved out of
        // the stage, and is dropped in place (`drop_future`) before the stage is written again.
        unsafe { Pin::new_unchecked(future) }.poll(context)
    }

    /// Replaces the future, dropped in place, by `result`, and wakes who waits for it.
    fn finish(&self, mut result: Result<F::Output, JoinError>) {
        self.header.phase.set(Phase::Dropping);
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| self.drop_future())) {
            // The future's own destructor panicked: that is how the task ended.
            drop_contained(mem::replace(&mut result, Err(JoinError::panicked(payload))));
        }
        // SAFETY: the phase is still `Dropping`, so nobody else holds a reference; the future that was here is gone
        // since `drop_future`, so nothing has to be dropped.
        unsafe { self.output().write(result) };
        self.header.phase.set(Phase::Finished);
        if let Some(joiner) = self.joiner.take() {
            // A foreign waker may panic; it must not take the worker with it.
            wake_contained(joiner);
        }
    }

    fn drop_future(&self) {
        // SAFETY: the phase was `Polling` and `poll_future` has returned: this is the only reference, and the future
        // is there. It is dropped where it lies, which is what pinning asks for, and once: the phase is `Dropping` now,
        // in which nobody drops it, and the caller writes the output over it, also when that drop unwinds.
        unsafe { ptr::drop_in_place(self.future()) };
    }
}

impl<F: Future> Drop for TaskCell<F> {
    /// A panic of what is dropped ends here: the last to let go may be a task that dropped a `JoinHandle`, and is not to
    /// blame for what another task left.
    fn drop(&mut self) {
        match self.header.phase.get() {
            // SAFETY: in these phases the stage holds the future, and nobody but us has the cell any more. It is polled no
            // longer: foreign code that is told of a poll's panic panicked itself.
            Phase::Pending | Phase::Polling => contain(|| unsafe { self.future().drop_in_place() }),
            // SAFETY: in this phase the stage holds the output, and nobody but us has the cell any more.
            Phase::Finished => contain(|| unsafe { self.output().drop_in_place() }),
            Phase::Empty | Phase::Dropping => {}
        }
    }
}

impl Header {
    pub(super) fn start(&self, id: u64, spawned: &'static Location<'static>) {
        self.id.set(id);
        self.spawned.set(spawned);
        self.cancelled.set(false);
        self.named.set(false);
        self.polls.set(0);
        self.timed.set(0);
        self.phase.set(Phase::Pending);
    }

    /// It has ended without an output, as the root future does.
    pub(super) fn end(&self) {
        self.phase.set(Phase::Empty);
    }
}
