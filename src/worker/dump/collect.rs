//! A worker's own part of a dump, collected on its thread.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::{
    limits::DUMPED_TASKS,
    reactor::{Direction, Waited},
    sys::describe::{Family, describe},
    task::{self, TaskId, TaskView, handle_of},
    wake::Handle,
    worker::{
        context::Context,
        dump::{Answer, Descriptor, DescriptorKind, TaskDump, TaskState, Wait, WorkerDump, duties::Ends},
    },
};

/// What a worker answers: its tasks with the handles that name them, and who waits for what, unsorted.
pub(super) struct Part {
    pub(super) dump: WorkerDump,
    /// In the order of the tasks.
    pub(super) handles: Vec<Handle>,
    pub(super) waits: Vec<(Waiter, Wait)>,
    pub(super) ends: Vec<Ends>,
}

/// Who waits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Waiter {
    Handle(Handle),
    Task(u64),
}

/// Lists what lives on the worker of `context`.
pub(super) fn collect(context: &Context, index: usize) -> Part {
    let now = context.now();
    let tasks = context.tasks();
    let views = tasks.view(DUMPED_TASKS);
    let left_out = tasks.live().saturating_sub(views.iter().filter(|view| !view.is_root).count());
    let reactor = context.reactor();
    let mut waits = Vec::new();
    for view in &views {
        if let Some(joiner) = view.joiner {
            waits.push((Waiter::Handle(joiner), Wait::Join(TaskId::new(view.id))));
        }
    }
    let remote = context.supervisors().waits();
    waits.extend(remote.into_iter().map(|(waiter, task)| (Waiter::Handle(waiter), Wait::Join(task))));
    let mut raw = Vec::new();
    reactor.waits(|waker, waited| raw.extend(handle_of(waker).map(|handle| (handle, waited))));
    waits.extend(raw.into_iter().map(|(handle, waited)| (Waiter::Handle(handle), wait(waited, now))));
    let notes = context.notes().read(DUMPED_TASKS);
    waits.extend(notes.into_iter().map(|(task, wait)| (Waiter::Task(task), wait)));
    let told = context.informants().ask();
    waits.extend(told.waits.into_iter().map(|(waiter, text)| (Waiter::Handle(waiter), Wait::Note(text))));
    let mut duties: HashMap<TaskId, String> = told.duties.into_iter().collect();
    let handles = views.iter().map(|view| view.handle).collect();
    let name = |id| tasks.published().name(id);
    let dump = WorkerDump {
        index,
        answer: Answer::Answered,
        tasks: views
            .into_iter()
            .map(|view| TaskDump {
                works_on: duties.remove(&TaskId::new(view.id)),
                ..task_dump(view, now, name)
            })
            .collect(),
        left_out,
        runnable: tasks.queued(),
        sources: reactor.sources(),
        timers: reactor.timers(),
    };
    Part { dump, handles, waits, ends: told.ends }
}

fn task_dump(view: TaskView, now: u64, name: impl Fn(u64) -> Option<Arc<str>>) -> TaskDump {
    TaskDump {
        id: TaskId::new(view.id),
        name: if view.named { name(view.id) } else { None },
        spawned_at: view.spawned,
        is_root: view.is_root,
        state: match view.state {
            task::State::Running => TaskState::Running,
            task::State::Runnable => TaskState::Runnable,
            task::State::Waiting => TaskState::Waiting,
        },
        works_on: None,
        waits: Vec::new(),
        since: Duration::from_nanos(now.saturating_sub(view.since)),
        polls: view.polls,
        timed_poll: (view.timed != 0).then(|| Duration::from_nanos(view.timed.into())),
    }
}

fn wait(waited: Waited, now: u64) -> Wait {
    match waited {
        Waited::Timer { deadline } => {
            let due_in =
                (deadline != crate::clock::NEVER).then(|| Duration::from_nanos(deadline.saturating_sub(now)));
            Wait::Timer { due_in }
        }
        Waited::Source { fd, direction } => {
            let described = describe(fd);
            let kind = match described.family {
                Family::Tcp => DescriptorKind::Tcp,
                Family::Udp => DescriptorKind::Udp,
                Family::Unix => DescriptorKind::Unix,
                Family::Other => DescriptorKind::Other,
            };
            let descriptor = Descriptor { number: fd, kind, local: described.local, peer: described.peer };
            match direction {
                Direction::Read => Wait::Read(descriptor),
                Direction::Write => Wait::Write(descriptor),
            }
        }
    }
}
