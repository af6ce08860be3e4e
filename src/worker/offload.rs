//! Giving work that blocks to the runtime's pool.

use std::panic::Location;

use crate::{blocking::BlockingHandle, error::SpawnError, worker::context};

/// Runs a function that blocks on a thread of the runtime's blocking pool.
///
/// For files, name lookups and long computations: what takes more than some 100 µs holds up everything else
/// on its worker. A thread is started when no idle one is there, up to 64; further jobs wait, up to 4,096. An
/// idle thread ends after 10 s, and a runtime that never calls this has none.
///
/// When the runtime is dropped, jobs that wait are cancelled, and those that run are waited for, 10 s at most;
/// one that takes longer is named on standard error and its thread abandoned.
///
/// # Errors
///
/// [`SpawnError`]: too many jobs wait, the runtime is being dropped, or no thread can be started. The function
/// is then dropped without a call. Its panic does not surface here but from the handle.
///
/// # Panics
///
/// Outside a runtime.
///
/// # Cancellation
///
/// Dropping the handle detaches the job. [`BlockingHandle::abort`] takes it back if it has not begun.
///
/// # Examples
///
/// ```
/// let length = wakering::run(async {
///     let job = wakering::spawn_blocking(|| std::fs::read("Cargo.toml").map(|bytes| bytes.len()));
///     job.expect("the queue has room").await.expect("the job neither panics nor is aborted")
/// })?;
/// assert!(length? > 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn spawn_blocking<F, T>(work: F) -> Result<BlockingHandle<T>, SpawnError>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let spawned_at = Location::caller();
    context::with(|context| context.shared().blocking().spawn(work, spawned_at))
}
