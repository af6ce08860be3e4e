//! Ceilings on the memory that is held for peers, and shedding load before they are reached.
//!
//! | what | bounded by |
//! |---|---|
//! | a stream | `Config::stream_window` for what comes, `Config::stream_queue_bytes` for what goes, the header limits |
//! | a connection | `Config::connection_window`, `Config::output_bytes`; `Config::connection_bytes` for all of it |
//! | a worker, the process | the ceilings here |
//!
//! Held is content that no handler has taken, output that no peer has taken, and the header lists of requests under way.
//! Each turn of a connection adds what has changed to its worker's meter; the worker tells the process only of whole units,
//! so that the one number that all of them share is written seldom.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
};

use ::http::StatusCode;

use crate::{
    http::{metrics::Meter, wire::Wire},
    proto::h2::{Held, StreamKey},
};

/// What all servers and clients of the process hold, by what their workers have told.
static PROCESS: AtomicI64 = AtomicI64::new(0);

/// Notes that a worker holds so much more, or less.
pub(super) fn tell_process(more: i64) {
    PROCESS.fetch_add(more, Relaxed);
}

/// How near a server is to its ceilings, as the hook of [`Builder::on_pressure`](crate::http::Builder::on_pressure) is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pressure {
    /// Bytes that this worker holds, and its ceiling.
    pub worker: usize,
    /// `usize::MAX` when there is none.
    pub worker_ceiling: usize,
    /// Bytes that the process holds, about 64 KiB a worker more or less, and its ceiling.
    pub process: usize,
    /// `usize::MAX` when there is none.
    pub process_ceiling: usize,
    /// What the connection holds that the request came on.
    pub connection: Held,
    /// Handlers under way on this worker.
    pub handlers: usize,
}

impl Pressure {
    /// How full the fuller of the two is, in percent; 100 and more are above the ceiling.
    #[must_use]
    pub fn percent(&self) -> usize {
        let part = |held: usize, ceiling: usize| (held as u128 * 100 / ceiling.max(1) as u128) as usize;
        part(self.worker, self.worker_ceiling).max(part(self.process, self.process_ceiling))
    }
}

/// What becomes of a request that comes under pressure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shed {
    /// It is served all the same.
    Serve,
    /// It is answered with 503 (Service Unavailable).
    Unavailable,
    /// Its stream is refused: the client knows that nothing was done, and may try elsewhere.
    Refuse,
}

pub(super) type PressureHook = dyn Fn(&Pressure) -> Shed + Send + Sync;

/// What a server's builder was told.
#[derive(Clone)]
pub(super) struct Ceilings {
    pub(super) worker: usize,
    pub(super) process: usize,
    pub(super) hook: Option<Arc<PressureHook>>,
}

impl Default for Ceilings {
    fn default() -> Self {
        Ceilings { worker: usize::MAX, process: usize::MAX, hook: None }
    }
}

/// Decides on one worker which requests are shed.
pub(super) struct Valve {
    ceilings: Ceilings,
    meter: Arc<Meter>,
}

/// Pressure begins at three quarters of a ceiling.
fn begins(ceiling: usize) -> usize {
    ceiling - ceiling / 4
}

impl Valve {
    /// `None` when there are no ceilings.
    pub(super) fn new(ceilings: &Ceilings, meter: &Arc<Meter>) -> Option<Box<Valve>> {
        let any = ceilings.worker != usize::MAX || ceilings.process != usize::MAX;
        any.then(|| Box::new(Valve { ceilings: ceilings.clone(), meter: meter.clone() }))
    }

    /// Sheds a request if it must be; `false` when it is to be served.
    pub(super) fn sheds(&self, wire: &Wire, stream: StreamKey) -> bool {
        let (worker, process) = (self.meter.held(), usize::try_from(PROCESS.load(Relaxed)).unwrap_or(0));
        if worker < begins(self.ceilings.worker) && process < begins(self.ceilings.process) {
            return false;
        }
        self.decide(worker, process, wire, stream)
    }

    #[cold]
    fn decide(&self, worker: usize, process: usize, wire: &Wire, stream: StreamKey) -> bool {
        let connection = wire.core.borrow().held();
        let (worker_ceiling, process_ceiling) = (self.ceilings.worker, self.ceilings.process);
        let handlers = self.meter.handlers();
        let pressure = Pressure { worker, worker_ceiling, process, process_ceiling, connection, handlers };
        let status = match self.choose(&pressure) {
            Shed::Serve => return false,
            Shed::Unavailable => Some(StatusCode::SERVICE_UNAVAILABLE),
            Shed::Refuse => None,
        };
        wire.core.borrow_mut().shed(stream, status);
        true
    }

    /// Above the ceiling there is no choice; a hook that panics has refused.
    fn choose(&self, pressure: &Pressure) -> Shed {
        match &self.ceilings.hook {
            _ if pressure.percent() >= 100 => Shed::Refuse,
            Some(hook) => catch_unwind(AssertUnwindSafe(|| hook(pressure))).unwrap_or(Shed::Refuse),
            None => Shed::Serve,
        }
    }
}

impl fmt::Debug for Ceilings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ceilings { worker, process, hook } = self;
        let mut shown = out.debug_struct("Ceilings");
        shown.field("worker", worker).field("process", process).field("hook", &hook.is_some()).finish()
    }
}
