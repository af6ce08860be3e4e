//! What tasks work on, and wait for, as others know it who see them at work.
//!
//! A server knows which request each of its handlers answers, and which of them wait for its peers. It is asked when a
//! dump is, and at no other time: a request pays nothing for it.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::{Rc, Weak},
    task::Waker,
};

use crate::{
    task::{TaskId, handle_of},
    wake::Handle,
};

/// Somebody who knows what tasks of his worker are about.
pub(crate) trait Knows {
    /// Says what he knows. The worker may be in the middle of something: what is borrowed stays unsaid.
    fn tell(&self, told: &mut Told);
}

/// What was told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(super) duties: Vec<(TaskId, String)>,
    pub(super) waits: Vec<(Handle, String)>,
    pub(super) ends: Vec<Ends>,
}

/// Tasks that wait for the end of something, which has not ended before these others have.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) waiting: Vec<TaskId>,
    pub(super) awaited: Vec<TaskId>,
}

impl Told {
    /// The task works on something.
    pub(crate) fn works(&mut self, task: TaskId, on: String) {
        self.duties.push((task, on));
    }

    /// These tasks wait for the end of what `tell` tells of, and so for every task that works on something of it. Who is one
    /// of those himself is known to it.
    pub(crate) fn awaited_by(&mut self, mut waiting: Vec<TaskId>, tell: impl FnOnce(&mut Told)) {
        let first = self.duties.len();
        tell(self);
        let awaited: HashSet<TaskId> = self.duties[first..].iter().map(|(task, _)| *task).collect();
        waiting.retain(|task| !awaited.contains(task));
        if !waiting.is_empty() && !awaited.is_empty() {
            self.ends.push(Ends { waiting, awaited: awaited.into_iter().collect() });
        }
    }

    /// Whom this waker wakes waits for something.
    pub(crate) fn waits(&mut self, waker: &Waker, what: impl FnOnce() -> String) {
        if let Some(handle) = handle_of(waker) {
            self.waits.push((handle, what()));
        }
    }
}

/// Who is asked on a worker.
#[derive(Default)]
pub(crate) struct Informants {
    known: RefCell<Vec<Weak<dyn Knows>>>,
    /// How many there may be before those that are gone are swept out.
    sweep_at: Cell<usize>,
}

impl Informants {
    /// From now on he is asked, as long as he lives.
    pub(crate) fn add(&self, informant: Weak<dyn Knows>) {
        let mut known = self.known.borrow_mut();
        if known.len() >= self.sweep_at.get() {
            known.retain(|it| it.strong_count() > 0);
            self.sweep_at.set(known.len() * 2 + 1);
        }
        known.push(informant);
    }

    pub(super) fn ask(&self) -> Told {
        let live: Vec<Rc<dyn Knows>> = self.known.borrow().iter().filter_map(Weak::upgrade).collect();
        let mut told = Told::default();
        // A dump is asked for in the middle of things: what fails there must not be the end of them.
        let _ = catch_unwind(AssertUnwindSafe(|| live.iter().for_each(|it| it.tell(&mut told))));
        told
    }
}
