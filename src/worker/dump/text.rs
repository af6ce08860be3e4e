//! A dump as text for people.

use std::{fmt, time::Duration};

use crate::{
    limits::CHILDREN_SHOWN,
    task::TaskId,
    worker::dump::{
        Answer, Circle, Descriptor, DescriptorKind, Dump, InsidePoll, JobDump, Stall, TaskDump, TaskState,
        Wait, WorkerDump,
    },
};

impl fmt::Display for Dump {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "runtime of {}", Count(self.workers.len(), "worker"))?;
        for worker in &self.workers {
            write!(out, "{worker}")?;
        }
        if !self.jobs.is_empty() {
            writeln!(out, "blocking jobs:")?;
        }
        for job in &self.jobs {
            writeln!(out, "  {job}")?;
        }
        for circle in &self.circles {
            writeln!(out, "circle: {}", Named { circle, dump: self })?;
        }
        Ok(())
    }
}

impl fmt::Display for WorkerDump {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "worker {}: ", self.index)?;
        match &self.answer {
            Answer::Answered => {
                let tasks = Count(self.tasks.len() + self.left_out, "task");
                write!(out, "{tasks}, {} runnable; ", self.runnable)?;
                writeln!(out, "{}, {}", Count(self.sources, "source"), Count(self.timers, "timer"))?;
            }
            Answer::Inside(inside) => writeln!(out, "did not answer, is {inside}")?,
            Answer::Late => writeln!(out, "did not answer, is busy between two polls")?,
            Answer::Outside => writeln!(out, "does not run: its thread is outside `block_on` and `turn`")?,
            Answer::Ended => writeln!(out, "has ended")?,
        }
        for task in &self.tasks {
            write!(out, "{task}")?;
        }
        match (&self.answer, self.left_out) {
            (_, 0) | (Answer::Ended, _) => Ok(()),
            (Answer::Answered, more) => writeln!(out, "  and {}", Count(more, "task more")),
            (Answer::Inside(_) | Answer::Late | Answer::Outside, more) => {
                writeln!(out, "  has {}", Count(more, "task"))
            }
        }
    }
}

impl fmt::Display for InsidePoll {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "inside a poll of task {}{}", self.task, Name(self.name.as_deref()))?;
        if let Some(place) = self.spawned_at {
            write!(out, ", spawned at {place},")?;
        }
        write!(out, " for {}", Brief(self.so_far))
    }
}

impl fmt::Display for Stall {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let so_far = Brief(self.so_far);
        match self.is_over {
            true => write!(out, "a poll took {so_far}: ")?,
            false => write!(out, "a poll has taken {so_far} so far: ")?,
        }
        write!(out, "task {}{}", self.task, Name(self.name.as_deref()))?;
        if let Some(place) = self.spawned_at {
            write!(out, ", spawned at {place}")?;
        }
        write!(out, ", on worker {}", self.worker)
    }
}

impl fmt::Display for TaskDump {
    /// The task's line, and one for each thing that it waits for.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "  {}", Title(self))?;
        match self.state {
            TaskState::Running => write!(out, ": running")?,
            TaskState::Runnable => write!(out, ": runnable, last polled {} ago", Brief(self.since))?,
            TaskState::Waiting => write!(out, ": waiting for {}", Brief(self.since))?,
        }
        write!(out, ", {}", Count(self.polls as usize, "poll"))?;
        if let Some(took) = self.timed_poll {
            write!(out, ", the last timed one took {}", Brief(took))?;
        }
        writeln!(out)?;
        if let Some(duty) = &self.works_on {
            writeln!(out, "      works on {duty}")?;
        }
        for wait in &self.waits {
            writeln!(out, "      waits {wait}")?;
        }
        Ok(())
    }
}

struct Title<'a>(&'a TaskDump);

impl fmt::Display for Title<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TaskDump { id, name, spawned_at, is_root, .. } = self.0;
        let origin = if *is_root { " root, block_on" } else { ", spawned" };
        write!(out, "{id}{}{origin} at {spawned_at}", Name(name.as_deref()))
    }
}

impl fmt::Display for Wait {
    /// Goes on after "waits".
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wait::Read(descriptor) => write!(out, "to read from {descriptor}"),
            Wait::Write(descriptor) => write!(out, "to write to {descriptor}"),
            Wait::Timer { due_in: None } => write!(out, "for a timer that is never due"),
            Wait::Timer { due_in: Some(Duration::ZERO) } => write!(out, "for a timer that is due"),
            Wait::Timer { due_in: Some(due_in) } => write!(out, "for a timer, due in {}", Brief(*due_in)),
            Wait::Join(task) => write!(out, "for the end of {task}"),
            Wait::Scope(tasks) => {
                write!(out, "for the end of {} of a scope", Count(tasks.len(), "task"))?;
                for (at, id) in tasks.iter().take(CHILDREN_SHOWN).enumerate() {
                    write!(out, "{}{id}", if at == 0 { ": " } else { ", " })?;
                }
                if tasks.len() > CHILDREN_SHOWN { out.write_str(", …") } else { Ok(()) }
            }
            Wait::Job { spawned_at, runs } => {
                let state = if *runs { "runs" } else { "waits for a thread" };
                write!(out, "for the blocking job spawned at {spawned_at}, which {state}")
            }
            Wait::Note(text) => write!(out, "for {text}"),
            Wait::External => write!(out, "for something external"),
        }
    }
}

impl fmt::Display for Descriptor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "descriptor {}", self.number)?;
        let kind = match self.kind {
            DescriptorKind::Tcp => "TCP",
            DescriptorKind::Udp => "UDP",
            DescriptorKind::Unix => return write!(out, " (Unix socket)"),
            DescriptorKind::Other => return Ok(()),
        };
        match (self.local, self.peer) {
            (Some(local), Some(peer)) => write!(out, " ({kind} {local} with {peer})"),
            (Some(address), None) | (None, Some(address)) => write!(out, " ({kind} {address})"),
            (None, None) => write!(out, " ({kind})"),
        }
    }
}

impl fmt::Display for JobDump {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.runs { "running" } else { "waiting for a thread" };
        write!(out, "spawned at {}: {state} for {}", self.spawned_at, Brief(self.so_far))?;
        match self.awaited_by {
            Some(task) => write!(out, ", {task} waits for it"),
            None => Ok(()),
        }
    }
}

struct Named<'a> {
    circle: &'a Circle,
    dump: &'a Dump,
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for id in &self.circle.tasks {
            match self.dump.task(*id) {
                Some(task) => write!(out, "{} waits for the end of ", Title(task))?,
                None => write!(out, "{id} waits for the end of ")?,
            }
        }
        if let Some(first) = self.circle.tasks.first() {
            write!(out, "{first}")?;
        }
        let tasks = self.circle.tasks.iter().filter_map(|id| self.dump.task(*id));
        match tasks.filter(|task| task.waits.iter().any(goes_on)).map(|task| task.id).next() {
            Some(id) => {
                write!(out, "; it is none if {id} has given that up: it waits for something else, too")
            }
            None => Ok(()),
        }
    }
}

/// Whether something outside of every circle ends it. A future that was waited for and is kept, though nobody polls it any
/// more, looks as if it were waited for.
fn goes_on(wait: &Wait) -> bool {
    match wait {
        Wait::Read(_) | Wait::Write(_) | Wait::Job { .. } | Wait::Timer { due_in: Some(_) } => true,
        Wait::Timer { due_in: None } | Wait::Join(_) | Wait::Scope(_) | Wait::Note(_) | Wait::External => {
            false
        }
    }
}

impl fmt::Display for Circle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for id in self.tasks.iter().chain(self.tasks.first()).enumerate() {
            let (at, id): (usize, &TaskId) = id;
            write!(out, "{}{id}", if at == 0 { "" } else { " waits for the end of " })?;
        }
        Ok(())
    }
}

struct Name<'a>(Option<&'a str>);

impl fmt::Display for Name<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => write!(out, " {name:?}"),
            None => Ok(()),
        }
    }
}

struct Count(usize, &'static str);

impl fmt::Display for Count {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Count(n, what) = self;
        let plural = if *n == 1 { "" } else { "s" };
        match what.split_once(' ') {
            Some((what, more)) => write!(out, "{n} {what}{plural} {more}"),
            None => write!(out, "{n} {what}{plural}"),
        }
    }
}

/// A duration to three digits.
struct Brief(Duration);

impl fmt::Display for Brief {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos() as f64;
        let (value, unit) = match nanos {
            n if n < 1e3 => (n, "ns"),
            n if n < 1e6 => (n / 1e3, "µs"),
            n if n < 1e9 => (n / 1e6, "ms"),
            n => (n / 1e9, "s"),
        };
        let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
        write!(out, "{value:.digits$} {unit}")
    }
}
