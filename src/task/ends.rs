//! What the end of a runtime asks of a table: who is left, and to abort some.

use std::{collections::BTreeSet, rc::Rc};

use crate::{
    task::{
        cell::Runnable,
        table::{ROOT_SLOT, Slot, Tasks},
    },
    wake::Handle,
};

impl Tasks {
    /// Whether there is a root future.
    pub(crate) fn has_root(&self) -> bool {
        !self.root.is_finished()
    }

    /// The id of the root future, or of the last one.
    pub(crate) fn root_id(&self) -> u64 {
        self.root.id()
    }

    /// Whether `of` says so of a task's id; the root future is not asked about.
    pub(crate) fn any(&self, of: impl Fn(u64) -> bool) -> bool {
        let inner = self.inner.borrow();
        inner.live > 0
            && inner.slots.iter().filter_map(|slot| slot.task.as_ref()).any(|it| of(it.header().id()))
    }

    /// How many of these tasks live, the root future included. The ids are sorted.
    pub(crate) fn count(&self, ids: &[u64]) -> usize {
        if ids.is_empty() {
            return 0;
        }
        let is_one = |id: u64| ids.binary_search(&id).is_ok();
        let inner = self.inner.borrow();
        let tasks = inner.slots.iter().filter_map(|slot| slot.task.as_ref());
        let live = tasks.filter(|task| is_one(task.header().id())).count();
        live + usize::from(self.has_root() && is_one(self.root_id()))
    }

    /// These tasks, and those of this worker that wait for the end of one of them, and so on, unless `waits_more` says that
    /// they wait for something else too; sorted.
    pub(crate) fn with_joiners(&self, ids: &[u64], waits_more: impl Fn(Handle) -> bool) -> Vec<u64> {
        let mut all: BTreeSet<u64> = ids.iter().copied().collect();
        let inner = self.inner.borrow();
        let tasks = inner.slots.iter().filter_map(|slot| slot.task.as_ref());
        let mut joined: Vec<_> = tasks.filter(|task| all.contains(&task.header().id())).collect();
        while let Some(task) = joined.pop() {
            let Some(joiner) = task.joiner() else { continue };
            if joiner.worker() != self.worker() || waits_more(joiner) {
                continue;
            }
            let slot = inner.slots.get(joiner.slot() as usize);
            match slot.filter(|slot| slot.generation == joiner.generation()) {
                Some(Slot { task: Some(waits), .. }) if all.insert(waits.header().id()) => joined.push(waits),
                Some(Slot { task: None, .. }) if joiner.slot() == ROOT_SLOT => {
                    all.insert(self.root_id());
                }
                Some(_) | None => {}
            }
        }
        all.into_iter().collect()
    }

    /// Drops the futures of the tasks of whose ids `of` says so, between two polls.
    pub(crate) fn abort_where(&self, of: impl Fn(u64) -> bool) {
        let found: Vec<(u32, Rc<dyn Runnable>)> = {
            let inner = self.inner.borrow();
            let tasks = (0_u32..).zip(&inner.slots).filter_map(|(slot, it)| Some((slot, it.task.as_ref()?)));
            tasks
                .filter(|(_, task)| of(task.header().id()))
                .map(|(slot, task)| (slot, task.clone()))
                .collect()
        };
        for (slot, task) in found {
            let (id, spawned) = (task.header().id(), task.header().spawned());
            self.charged(id, spawned, || task.abandon());
            self.leave(slot, task);
        }
    }
}
