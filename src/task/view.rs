//! What a dump is told of each task.

use std::panic::Location;

use crate::{
    task::{Tasks, cell::Header},
    wake::Handle,
};

/// A live task, as of now.
#[derive(Clone, Debug)]
pub(crate) struct TaskView {
    pub(crate) id: u64,
    pub(crate) handle: Handle,
    pub(crate) spawned: &'static Location<'static>,
    pub(crate) named: bool,
    pub(crate) state: State,
    pub(crate) polls: u32,
    /// The last timed poll in nanoseconds, 0 if none was.
    pub(crate) timed: u32,
    /// The turn's time at the last poll, or at the spawn.
    pub(crate) since: u64,
    /// Who waits for its output.
    pub(crate) joiner: Option<Handle>,
    pub(crate) is_root: bool,
}

/// What a task is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    Runnable,
    Waiting,
}

impl Tasks {
    /// The root future, if there is one, and the first `most` of the live tasks in the order of their slots.
    pub(crate) fn view(&self, most: usize) -> Vec<TaskView> {
        let inner = self.inner.borrow();
        let mut seen = Vec::with_capacity(inner.live.min(most) + 1);
        if !self.root.is_finished() {
            let queued = inner.slots.first().is_some_and(|slot| slot.queued);
            let root = self.view_of(&self.root, queued, None);
            let state = if self.running() == root.id { State::Running } else { root.state };
            seen.push(TaskView { handle: self.root_handle(), is_root: true, state, ..root });
        }
        let live = inner.slots.iter().filter_map(|slot| Some((slot.queued, slot.task.as_ref()?)));
        seen.extend(live.take(most).map(|(queued, task)| self.view_of(task.header(), queued, task.joiner())));
        seen
    }

    /// How many tasks stand in the run queue.
    pub(crate) fn queued(&self) -> usize {
        self.inner.borrow().queue.len()
    }

    fn view_of(&self, header: &Header, queued: bool, joiner: Option<Handle>) -> TaskView {
        let (polls, timed, since) = header.history();
        let state = match (header.is_polling(), queued) {
            (true, true | false) => State::Running,
            (false, true) => State::Runnable,
            (false, false) => State::Waiting,
        };
        TaskView {
            id: header.id(),
            handle: header.handle(),
            spawned: header.spawned(),
            named: header.is_named(),
            state,
            polls,
            timed,
            since,
            joiner,
            is_root: false,
        }
    }
}
