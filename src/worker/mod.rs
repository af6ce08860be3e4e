//! The worker: one thread, one selector, one run queue, and the order in which they take turns.
//!
//! Everything a worker touches is its own. This is the only floor that knows both tasks and descriptors;
//! below it, `reactor` hands back wakers without knowing what they wake, and `task` polls futures without
//! knowing what they wait for.
//!
//! The order of a turn (the numbers stand in `turn.rs` too):
//!
//! 1. drain what other threads left: lanes, overflow, sweep, injected spawns, the stop word;
//! 2. run at most [`TASK_BUDGET`](crate::limits::TASK_BUDGET) tasks; then (2b) flush: connections with
//!    output stand on a list, and each writes once;
//! 3. read the clock once, fire timers;
//! 4. if nothing is runnable: park, and look again at all of step 1;
//! 5. wait in the selector until the next deadline, rounded up; with something runnable only look, and that
//!    only every so many tasks;
//! 6. unpark, record readiness;
//! 7. wake those who waited, outside every borrow.
//!
//! ```text
//! builder, tuning      what a runtime is made from             runtime   its workers, from build to drop
//! context              what a worker owns                      handle    what other threads hold of a runtime
//! turn                 the loop                                embed     in somebody else's loop, turn by turn
//! inject, remote       spawns from other threads, and joining  offload   what blocks
//! scope, cancel        tasks that end together, or when told   local     values of a task
//! timer, yields        waiting for a time, and for others      idle      a manual clock that moves by itself
//! stop, ending         the end of a runtime                    waiters   who waits for an end
//! dump, notes, watch   why nothing moves                       meter, metrics   what was done, in numbers
//! ```

mod builder;
mod cancel;
pub(crate) mod context;
pub mod dump;
mod embed;
mod ending;
mod handle;
mod idle;
mod inject;
mod local;
mod meter;
pub mod metrics;
pub(crate) mod notes;
mod offload;
mod remote;
mod runtime;
mod scope;
mod stop;
pub(crate) mod timer;
mod tuning;
mod turn;
pub(crate) mod waiters;
mod watch;
mod yields;

pub use self::cancel::{CancellationToken, Cancelled, DropGuard};
pub use self::embed::Turn;
pub use self::ending::Shutdown;
pub use self::local::{Local, LocalKey, NoValue, WithLocal};
pub use self::scope::{Outcome, Scope, ScopeError};
pub use self::stop::ShutdownReport;
pub use self::{
    builder::Builder,
    context::{spawn, spawn_named, spawn_on},
    handle::Handle,
    offload::spawn_blocking,
    remote::RemoteJoinHandle,
    runtime::{Runtime, run},
    yields::{YieldNow, yield_now},
};
