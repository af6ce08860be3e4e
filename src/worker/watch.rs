//! Looking for polls that take too long, and dumping on a signal.
//!
//! Two things that a program asks for. A worker that looks for stalls reads the clock once a poll and reports one that
//! took longer than the limit when it is over. The *watchdog*, a thread of its own, reports it while it lasts, and
//! answers a signal with a dump however stuck the workers are. Without them there is neither thread nor clock.

use std::{
    fmt,
    io::{self, Write},
    os::fd::{AsFd, OwnedFd},
    panic::{AssertUnwindSafe, Location, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    error::RuntimeError,
    limits::{STALL_LIMIT, WATCH_LEAST},
    sys::{
        self, Bell, Interest, Selector, Token,
        signal::{self, Listener, SIGUSR1},
    },
    task::{TaskId, Tasks, system_now},
    trace,
    worker::{Builder, Handle, dump::Stall, handle::Shared},
};

type Hook = Arc<dyn Fn(&Stall) + Send + Sync>;

/// What a runtime is asked to look for.
#[derive(Clone, Default)]
pub(super) struct Settings {
    limit: Option<Duration>,
    hook: Option<Hook>,
    watchdog: bool,
    dump_on_signal: bool,
}

impl Builder {
    /// Reports polls that take longer than `limit`, by default none.
    ///
    /// One long poll holds up everything else on its worker. The report names the task, where it was spawned and how
    /// long it took; it goes to [`on_stall`](Builder::on_stall), by default to standard error, when the poll is over,
    /// and with [`watchdog`](Builder::watchdog) also while it lasts. Every poll then costs a read of the clock, some
    /// 25 ns.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::{sync::mpsc, thread, time::Duration};
    ///
    /// let (report, reports) = mpsc::channel();
    /// let runtime = wakering::Runtime::builder()
    ///     .stall_limit(Duration::from_millis(10))
    ///     .on_stall(move |stall| drop(report.send(stall.clone())))
    ///     .build()?;
    /// runtime.block_on(async {
    ///     wakering::spawn_named("lazy", async { thread::sleep(Duration::from_millis(20)) }).await
    /// })?.expect("no panic, no abort");
    /// let stall = reports.recv()?;
    /// assert_eq!(stall.name.as_deref(), Some("lazy"));
    /// assert!(stall.so_far >= Duration::from_millis(20) && stall.is_over);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn stall_limit(mut self, limit: Duration) -> Self {
        self.watch.limit = Some(limit);
        self
    }

    /// Who is told of polls that take too long, instead of standard error; the limit is then 100 ms unless
    /// [`stall_limit`](Builder::stall_limit) says otherwise.
    ///
    /// It is called on the worker whose poll it was, or on the watchdog's thread. A panic of it ends there.
    #[must_use]
    pub fn on_stall(mut self, hook: impl Fn(&Stall) + Send + Sync + 'static) -> Self {
        self.watch.hook = Some(Arc::new(hook));
        self
    }

    /// Starts a thread that looks after the workers: it reports a poll over the [limit](Builder::stall_limit) (100 ms
    /// unless said otherwise) while it lasts, once, and wakes up twice in that time to see. Off by default.
    #[must_use]
    pub fn watchdog(mut self, on: bool) -> Self {
        self.watch.watchdog = on;
        self
    }

    /// Has `SIGUSR1` write a [dump](crate::dump) to standard error, for as long as the runtime lives. Off by default.
    ///
    /// A thread of its own waits for the signal, so that it is answered also while every worker is stuck; it is the
    /// watchdog's where there is one, and otherwise sleeps until the signal comes. `SIGUSR1` no longer ends the process.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// let runtime = wakering::Runtime::builder().dump_on_signal().build()?;
    /// runtime.block_on(async { /* kill -USR1 asks what it waits for */ })?;
    /// # Ok::<(), wakering::RuntimeError>(())
    /// ```
    #[must_use]
    pub fn dump_on_signal(mut self) -> Self {
        self.watch.dump_on_signal = true;
        self
    }
}

impl Settings {
    /// From how long on a poll is reported; `None` if nobody wants to know.
    fn limit(&self) -> Option<Duration> {
        let is_wanted = self.watchdog || self.hook.is_some();
        self.limit.or(is_wanted.then_some(STALL_LIMIT))
    }

    /// Has a worker's tasks time every poll, if that is wanted.
    pub(super) fn apply(&self, tasks: &Tasks, worker: usize) {
        let Some(limit) = self.limit() else { return };
        let hook = self.hook.clone();
        let report = move |id, place: &'static Location<'static>, name: Option<&str>, so_far| {
            let (task, name) = (TaskId::new(id), name.map(Arc::from));
            tell(&hook, &Stall { worker, task, name, spawned_at: Some(place), so_far, is_over: true });
        };
        tasks.look_for_stalls(limit, Box::new(report));
    }

    /// Starts the thread that looks after the workers, if one is wanted.
    pub(super) fn start(&self, name: &str, shared: &Arc<Shared>) -> Result<Option<Watch>, RuntimeError> {
        if !self.watchdog && !self.dump_on_signal {
            return Ok(None);
        }
        let selector = Selector::new(1)?;
        let on_signal = if self.dump_on_signal { Some(OnSignal::new(&selector)?) } else { None };
        let (bell, stop) = (selector.bell(), Arc::new(AtomicBool::new(false)));
        let watcher = Watcher {
            limit: if self.watchdog { self.limit() } else { None },
            hook: self.hook.clone(),
            shared: shared.clone(),
            reported: vec![0; shared.workers.len()],
            stop: stop.clone(),
        };
        let thread = thread::Builder::new()
            .name(format!("{name}-watch"))
            .spawn(move || watcher.watch(selector, on_signal))?;
        Ok(Some(Watch { thread: Some(thread), bell, stop, process: sys::process_id() }))
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Settings")
            .field("limit", &self.limit())
            .field("watchdog", &self.watchdog)
            .field("dump_on_signal", &self.dump_on_signal)
            .finish_non_exhaustive()
    }
}

fn tell(hook: &Option<Hook>, stall: &Stall) {
    let told = catch_unwind(AssertUnwindSafe(|| {
        trace::stall(stall, stall.so_far);
        match hook {
            Some(hook) => hook(stall),
            None => trace::say(&stall.to_string()),
        }
    }));
    if let Err(payload) = told {
        // Its own destructor might panic and start over.
        std::mem::forget(payload);
    }
}

/// The signal, and where it arrives.
struct OnSignal {
    listener: Listener,
    pipe: OwnedFd,
}

const PIPE: Token = Token(0);

impl OnSignal {
    fn new(selector: &Selector) -> Result<Self, RuntimeError> {
        let listener = Listener::new(SIGUSR1)?;
        let pipe = signal::read_end()?;
        selector.register(pipe.as_fd(), PIPE, Interest::READ)?;
        Ok(OnSignal { listener, pipe })
    }

    /// Whether the signal has come since the last time. What else came is passed on to who waits for it.
    fn has_come(&mut self, selector: &Selector) -> bool {
        // There may be nothing in it: others read it, too.
        let _ = signal::drain(self.pipe.as_fd());
        let _ = selector.rearm(self.pipe.as_fd(), PIPE, Interest::READ);
        self.listener.take()
    }
}

/// The thread that looks after the workers; dropping it ends the thread.
pub(super) struct Watch {
    /// Gives the selector back, so that its bell may be rung until the thread is joined.
    thread: Option<thread::JoinHandle<Selector>>,
    bell: Bell,
    stop: Arc<AtomicBool>,
    process: u32,
}

impl Drop for Watch {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        if self.process != sys::process_id() {
            // A forked child has no such thread to join; the bell is its parent's.
            return std::mem::forget(thread);
        }
        self.stop.store(true, Ordering::Release); // PAIRS: Watcher::watch
        self.bell.ring();
        drop(thread.join());
    }
}

struct Watcher {
    limit: Option<Duration>,
    hook: Option<Hook>,
    shared: Arc<Shared>,
    /// When the poll began that was last reported, for each worker.
    reported: Vec<u64>,
    stop: Arc<AtomicBool>,
}

impl Watcher {
    fn watch(mut self, mut selector: Selector, mut on_signal: Option<OnSignal>) -> Selector {
        let pause = self.limit.map(|limit| (limit / 2).max(WATCH_LEAST));
        // PAIRS: Watch::drop
        while !self.stop.load(Ordering::Acquire) {
            if let Err(error) = selector.wait(pause) {
                trace::say(&format!("nobody looks after the workers any more: {error}"));
                break;
            }
            if let Some(on_signal) = &mut on_signal {
                // Others' wakers are woken by the way; the selector is given back whatever they do.
                let come = catch_unwind(AssertUnwindSafe(|| on_signal.has_come(&selector)));
                if come.unwrap_or(true) {
                    // Whoever reads standard error may be gone.
                    let _ = write!(io::stderr(), "{}", Handle::new(self.shared.clone()).dump());
                }
            }
            if let Some(limit) = self.limit {
                self.look(limit);
            }
        }
        selector
    }

    /// Reports every worker whose poll lasts too long, once a poll.
    fn look(&mut self, limit: Duration) {
        for (worker, reach) in self.shared.workers.iter().enumerate() {
            let Some(inside) = reach.published.inside() else { continue };
            let Some(began) = inside.began.filter(|began| *began != self.reported[worker]) else { continue };
            let so_far = Duration::from_nanos(system_now().saturating_sub(began));
            if so_far > limit {
                self.reported[worker] = began;
                let stall = Stall {
                    worker,
                    task: TaskId::new(inside.id),
                    name: inside.name,
                    spawned_at: inside.place,
                    so_far,
                    is_over: false,
                };
                tell(&self.hook, &stall);
            }
        }
    }
}
