//! What the page shows, gathered and written as JSON.

use std::{
    process,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    json::{Json, object},
    prometheus,
};
use crate::{
    http::{Meters, Metrics as HttpMetrics},
    limits::CONSOLE_TASKS,
    worker::{
        Handle,
        dump::{Answer, Descriptor, DescriptorKind, Dump, TaskDump, TaskState, Wait, WorkerDump},
        metrics::{Metrics, TimeHistogram, WorkerMetrics},
    },
};

/// Where it is gathered from; any thread may.
#[derive(Clone, Debug)]
pub(super) struct Source {
    handle: Handle,
    servers: Vec<(String, Meters)>,
    began: Instant,
}

impl Source {
    pub(super) fn new(handle: Handle, servers: Vec<(String, Meters)>) -> Source {
        Source { handle, servers, began: Instant::now() }
    }

    fn servers(&self) -> Vec<(String, HttpMetrics)> {
        self.servers.iter().map(|(name, meters)| (name.clone(), meters.read())).collect()
    }

    pub(super) fn prometheus(&self) -> String {
        let mut text = self.handle.metrics().to_string();
        prometheus::add(&mut text, &self.servers());
        text
    }

    /// All of it. It asks every worker, and blocks its thread for as long, at most a tenth of a second.
    pub(super) fn json(&self) -> Bytes {
        let (metrics, dump) = (self.handle.metrics(), self.handle.dump());
        let value = object([
            ("version", Json::from(env!("CARGO_PKG_VERSION"))),
            ("process", Json::from(process::id())),
            ("seconds", Json::from(self.began.elapsed().as_secs_f64())),
            ("workers", Json::from(workers(&metrics, &dump))),
            ("poll_time", histogram(&metrics.total.poll_time)),
            ("schedule_delay", histogram(&metrics.total.schedule_delay)),
            ("blocking", blocking(&metrics)),
            ("tasks", Json::from(tasks(&dump))),
            (
                "tasks_total",
                Json::from(dump.workers.iter().map(|it| it.tasks.len() + it.left_out).sum::<usize>()),
            ),
            ("connections", Json::from(connections(&dump))),
            ("circles", Json::from(dump.circles.iter().map(ToString::to_string).collect::<Vec<_>>())),
            (
                "jobs",
                Json::from(dump.jobs.iter().take(CONSOLE_TASKS).map(ToString::to_string).collect::<Vec<_>>()),
            ),
            (
                "servers",
                Json::from(
                    self.servers().iter().map(|(name, metrics)| server(name, metrics)).collect::<Vec<_>>(),
                ),
            ),
        ]);
        value.to_string().into()
    }
}

fn workers(metrics: &Metrics, dump: &Dump) -> Vec<Json> {
    metrics.workers.iter().zip(&dump.workers).map(|(numbers, dump)| worker(numbers, dump)).collect()
}

fn worker(numbers: &WorkerMetrics, dump: &WorkerDump) -> Json {
    let state = match &dump.answer {
        Answer::Answered => "answers".to_owned(),
        Answer::Inside(inside) => inside.to_string(),
        Answer::Late => "does not answer: busy with its own work".to_owned(),
        Answer::Outside => "its loop does not run".to_owned(),
        Answer::Ended => "ended".to_owned(),
    };
    object([
        ("index", Json::from(dump.index)),
        ("state", Json::from(state)),
        ("answers", Json::from(dump.answer == Answer::Answered)),
        ("runnable", Json::from(dump.runnable)),
        ("busy_seconds", Json::from(numbers.busy.as_secs_f64())),
        ("idle_seconds", Json::from(numbers.idle.as_secs_f64())),
        ("polls", Json::from(numbers.polls)),
        ("tasks_live", Json::from(numbers.tasks_live)),
        ("tasks_spawned", Json::from(numbers.tasks_spawned)),
        ("tasks_panicked", Json::from(numbers.tasks_panicked)),
        ("budget_exhaustions", Json::from(numbers.budget_exhaustions)),
        ("parks", Json::from(numbers.parks)),
        ("selector_waits", Json::from(numbers.selector_waits)),
        ("doorbell_rings", Json::from(numbers.doorbell_rings)),
        ("lane_wakes", Json::from(numbers.lane_wakes)),
        ("lane_overflows", Json::from(numbers.lane_overflows)),
        ("sources", Json::from(numbers.sources)),
        ("timers", Json::from(numbers.timers)),
    ])
}

fn histogram(histogram: &TimeHistogram) -> Json {
    let (bounds, counts): (Vec<Option<f64>>, Vec<u64>) =
        histogram.buckets().map(|(bound, count)| (bound.map(|it| it.as_secs_f64()), count)).unzip();
    object([
        ("bounds", Json::from(bounds)),
        ("counts", Json::from(counts)),
        ("p50", Json::from(seconds(histogram.quantile(0.5)))),
        ("p99", Json::from(seconds(histogram.quantile(0.99)))),
        ("sum", Json::from(histogram.sum().as_secs_f64())),
    ])
}

fn blocking(metrics: &Metrics) -> Json {
    let pool = &metrics.blocking;
    object([
        ("threads", Json::from(pool.threads)),
        ("idle", Json::from(pool.idle_threads)),
        ("queued", Json::from(pool.queued)),
        ("running", Json::from(pool.running)),
        ("jobs", Json::from(pool.jobs)),
    ])
}

/// The tasks of all workers, those that wait longest first, up to a bound.
fn tasks(dump: &Dump) -> Vec<Json> {
    let mut all: Vec<(usize, &TaskDump)> =
        dump.workers.iter().flat_map(|worker| worker.tasks.iter().map(|task| (worker.index, task))).collect();
    all.sort_by_key(|(_, task)| std::cmp::Reverse(task.since));
    all.truncate(CONSOLE_TASKS);
    all.into_iter().map(|(worker, it)| task(worker, it)).collect()
}

fn task(worker: usize, task: &TaskDump) -> Json {
    let state = match task.state {
        TaskState::Running => "running",
        TaskState::Runnable => "runnable",
        TaskState::Waiting => "waiting",
    };
    object([
        ("id", Json::from(task.id.to_string())),
        ("worker", Json::from(worker)),
        ("name", Json::from(task.name.as_deref())),
        ("place", Json::from(task.spawned_at.to_string())),
        ("root", Json::from(task.is_root)),
        ("state", Json::from(state)),
        ("works_on", Json::from(task.works_on.as_deref())),
        ("waits", Json::from(task.waits.iter().map(ToString::to_string).collect::<Vec<_>>())),
        ("since", Json::from(task.since.as_secs_f64())),
        ("polls", Json::from(task.polls)),
        ("timed", Json::from(seconds(task.timed_poll))),
    ])
}

/// Connections that a task waits for: each descriptor once, with what is waited for.
fn connections(dump: &Dump) -> Vec<Json> {
    let mut found: Vec<Json> = Vec::new();
    for worker in &dump.workers {
        for task in &worker.tasks {
            for wait in &task.waits {
                let (descriptor, what) = match wait {
                    Wait::Read(descriptor) => (descriptor, "read"),
                    Wait::Write(descriptor) => (descriptor, "write"),
                    Wait::Timer { .. }
                    | Wait::Join(_)
                    | Wait::Scope(_)
                    | Wait::Job { .. }
                    | Wait::Note(_)
                    | Wait::External => continue,
                };
                if found.len() == CONSOLE_TASKS {
                    return found;
                }
                found.push(connection(worker.index, task, descriptor, what));
            }
        }
    }
    found
}

fn connection(worker: usize, task: &TaskDump, descriptor: &Descriptor, what: &str) -> Json {
    let kind = match descriptor.kind {
        DescriptorKind::Tcp => "TCP",
        DescriptorKind::Udp => "UDP",
        DescriptorKind::Unix => "Unix",
        DescriptorKind::Other => "other",
    };
    object([
        ("worker", Json::from(worker)),
        ("task", Json::from(task.id.to_string())),
        ("descriptor", Json::from(descriptor.number.unsigned_abs())),
        ("kind", Json::from(kind)),
        ("local", Json::from(descriptor.local.map(|it| it.to_string()))),
        ("peer", Json::from(descriptor.peer.map(|it| it.to_string()))),
        ("waits", Json::from(what)),
        ("since", Json::from(task.since.as_secs_f64())),
    ])
}

fn server(name: &str, metrics: &HttpMetrics) -> Json {
    let trips = metrics
        .trips
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(trip, count)| (trip.name().to_owned(), Json::from(count)))
        .collect();
    object([
        ("name", Json::from(name)),
        ("connections", Json::from(metrics.connections)),
        ("connections_open", Json::from(metrics.connections_open)),
        ("connections_refused", Json::from(metrics.connections_refused)),
        ("requests", Json::from(metrics.requests)),
        ("requests_http1", Json::from(metrics.requests_http1)),
        ("streams_open", Json::from(metrics.streams_open)),
        ("handlers", Json::from(metrics.handlers)),
        ("bytes_received", Json::from(metrics.bytes_received)),
        ("bytes_sent", Json::from(metrics.bytes_sent)),
        ("resets_received", Json::from(metrics.resets_received)),
        ("resets_sent", Json::from(metrics.resets_sent)),
        ("held", Json::from(metrics.held_received + metrics.held_output + metrics.held_heads)),
        ("trips", Json::Object(trips)),
    ])
}

fn seconds(duration: Option<Duration>) -> Option<f64> {
    duration.map(|it| it.as_secs_f64())
}
