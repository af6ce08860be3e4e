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
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    task::Wake,
    thread,
    time::Duration,
};

use crate::{
    error::RuntimeError,
    limits::{STALL_LIMIT, WATCH_LEAST},
    slab::Key,
    sys::{
        self, Bell, Interest, Processors, Selector, Token,
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
    /// long it took; it goes to [`on_stall`](Builder::on_stall), by default to standard error (or to the `tracing`
    /// subscriber that takes it, with the feature of that name), when the poll is over, and with [`watchdog`](Builder::watchdog) also while it lasts. Every poll then costs a read of the clock, some
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
    /// It is called on the worker whose poll it was, or on the watchdog's thread. A panic of it ends there. One that blocks
    /// on the watchdog's thread is waited for 100 ms at the end of a [shutdown](crate::Runtime::shutdown), and up to
    /// 10 s where the runtime is dropped; then that thread is abandoned.
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
        let rest = Rest::new()?;
        let on_signal = if self.dump_on_signal { Some(OnSignal::new(&rest)?) } else { None };
        let (bell, stop) = (rest.ringer.clone(), Arc::new(AtomicBool::new(false)));
        let watcher = Watcher {
            limit: if self.watchdog { self.limit() } else { None },
            hook: self.hook.clone(),
            shared: shared.clone(),
            reported: vec![0; shared.workers.len()],
            stop: stop.clone(),
        };
        let (end, ended) = mpsc::channel();
        let processors = Processors::of_starter();
        let watching = move || {
            let _end = end; // dropped behind all else
            processors.apply();
            watcher.watch(rest, on_signal);
        };
        let thread = thread::Builder::new().name(format!("{name}-watch")).spawn(watching)?;
        Ok(Some(Watch { thread: Some(thread), bell, stop, ended }))
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
        let is_told = trace::stall(stall, stall.so_far, stall.is_over);
        match hook {
            Some(hook) => hook(stall),
            None if is_told => {}
            None => trace::say(&stall.to_string()),
        }
    }));
    if let Err(payload) = told {
        // Its own destructor might panic and start over.
        std::mem::forget(payload);
    }
}

/// Ends the watcher's sleep, from any thread, as long as there is something to ring.
struct Ringer {
    /// None once the watcher's selector may be closed: the number may be a stranger's then.
    bell: Mutex<Option<Bell>>,
    process: u32,
}

impl Ringer {
    fn ring(&self) {
        // In a forked child the bell is the parent's.
        if self.process == sys::process_id() {
            // Held meanwhile, so that the bell is not closed under it; ringing does not block.
            if let Some(bell) = *self.bell() {
                bell.ring();
            }
        }
    }

    fn bell(&self) -> MutexGuard<'_, Option<Bell>> {
        self.bell.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Ringer {
    fn wake(self: Arc<Self>) {
        self.ring();
    }
}

/// Where the watcher sleeps.
struct Rest {
    selector: Selector,
    ringer: Arc<Ringer>,
}

impl Rest {
    fn new() -> io::Result<Self> {
        let selector = Selector::new(1)?;
        let ringer = Ringer { bell: Mutex::new(Some(selector.bell())), process: sys::process_id() };
        Ok(Rest { selector, ringer: Arc::new(ringer) })
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        // In front of the selector.
        *self.ringer.bell() = None;
    }
}

/// The signal, and where it arrives.
struct OnSignal {
    listener: Listener,
    pipe: OwnedFd,
    /// The watcher's place among those who are told when somebody else has emptied the pipe.
    place: Option<Key>,
}

const PIPE: Token = Token(0);

impl OnSignal {
    fn new(rest: &Rest) -> Result<Self, RuntimeError> {
        let listener = Listener::new(SIGUSR1)?;
        let pipe = signal::read_end()?;
        let mut on_signal = OnSignal { listener, pipe, place: None };
        rest.selector.register(on_signal.pipe.as_fd(), PIPE, Interest::READ)?;
        signal::wait(&mut on_signal.place, &rest.ringer.clone().into());
        // What was taken out of the pipe before we could be told is counted, and looked for at the first ring.
        rest.ringer.ring();
        Ok(on_signal)
    }

    /// Whether the signal has come since the last time. What else came is passed on to who waits for it.
    fn has_come(&mut self, selector: &Selector) -> bool {
        // There may be nothing in it: others read it, too.
        let _ = signal::drain(self.pipe.as_fd());
        let _ = selector.rearm(self.pipe.as_fd(), PIPE, Interest::READ);
        self.listener.take()
    }
}

impl Drop for OnSignal {
    fn drop(&mut self) {
        signal::leave(self.place);
    }
}

/// The thread that looks after the workers. It is told to end when this is dropped, and waited for by
/// [`end`](Watch::end) alone.
pub(super) struct Watch {
    thread: Option<thread::JoinHandle<()>>,
    bell: Arc<Ringer>,
    stop: Arc<AtomicBool>,
    /// Hung up when the thread has let go of everything.
    ended: mpsc::Receiver<()>,
}

impl Watch {
    /// Ends the thread and waits for it; one that does not come out of a hook in time is abandoned.
    pub(super) fn end(mut self, patience: Duration) {
        self.tell();
        if self.ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            return trace::say("who looks after the workers is still inside a hook; the thread is abandoned");
        }
        drop(self.thread.take().map(thread::JoinHandle::join));
    }

    fn tell(&self) {
        self.stop.store(true, Ordering::Release); // PAIRS: Watcher::watch
        self.bell.ring();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.tell();
        if self.bell.process != sys::process_id() {
            // A forked child has no such thread.
            std::mem::forget(self.thread.take());
        }
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
    fn watch(mut self, mut rest: Rest, mut on_signal: Option<OnSignal>) {
        let pause = self.limit.map(|limit| (limit / 2).max(WATCH_LEAST));
        // PAIRS: Watch::drop
        while !self.stop.load(Ordering::Acquire) {
            if let Err(error) = rest.selector.wait(pause) {
                trace::say(&format!("nobody looks after the workers any more: {error}"));
                break;
            }
            if let Some(on_signal) = &mut on_signal {
                if on_signal.has_come(&rest.selector) {
                    // Whoever reads standard error may be gone.
                    let _ = write!(io::stderr(), "{}", Handle::new(self.shared.clone()).dump());
                }
            }
            if let Some(limit) = self.limit {
                self.look(limit);
            }
        }
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
