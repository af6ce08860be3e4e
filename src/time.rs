//! Waiting for time to pass: [`sleep`], [`timeout`], [`interval`].
//!
//! Deadlines stand on the worker's timer wheel. Nothing fires early. A worker that has nothing else to do sleeps
//! until the next deadline, rounded up to a grain of 64 µs, and deadlines that have passed fire in the order of
//! deadline and arming. Durations and instants may be as large as they like: what lies beyond 584 years does
//! not fire.
//!
//! The futures here belong to the worker that polls them first; they are not `Send`. Awaiting one needs a runtime.
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//! use wakering::time;
//!
//! wakering::run(async {
//!     time::sleep(Duration::from_millis(2)).await;
//!     let limited = time::timeout(Duration::from_millis(2), std::future::pending::<()>()).await;
//!     assert!(limited.is_err());
//! })?;
//! # Ok::<(), wakering::RuntimeError>(())
//! ```

mod interval;

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

pub use self::interval::{Interval, MissedTicks, interval, interval_at};
pub use crate::clock::ManualClock;
use crate::clock::{Clock, nanos};
use crate::error::Elapsed;
#[doc(hidden)]
pub use crate::task::Beside;
use crate::worker::context;
use crate::worker::timer::{self, Timer};

/// What time it is by the clock of this runtime, read anew: for deadlines that several steps share.
///
/// It is what [`sleep_until`], [`timeout_at`] and [`interval_at`] count by. On a real clock, and outside a runtime, that is
/// [`Instant::now`]; on a [`ManualClock`] it is [`ManualClock::instant`], and code that asks here for the time can be tested
/// without waiting.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use wakering::{Runtime, time::{self, ManualClock}};
///
/// /// Five seconds for both steps, whatever the first one takes.
/// async fn in_time() -> Result<(), wakering::Elapsed> {
///     let deadline = time::now() + Duration::from_secs(5);
///     time::timeout_at(deadline, time::sleep(Duration::from_secs(3))).await?;
///     time::timeout_at(deadline, time::sleep(Duration::from_secs(3))).await
/// }
///
/// let clock = ManualClock::new();
/// let runtime = Runtime::builder().manual_clock(&clock).build()?;
/// assert!(runtime.block_on(in_time())?.is_err());
/// assert_eq!(clock.elapsed(), Duration::from_secs(5));
/// # Ok::<(), wakering::RuntimeError>(())
/// ```
#[must_use]
pub fn now() -> Instant {
    context::try_with(|worker| worker.map_or_else(Instant::now, |worker| worker.clock().instant()))
}

/// Waits for a duration, counted from this call.
///
/// A zero duration is over at once, a huge one never.
///
/// # Panics
///
/// When it is awaited outside a runtime; it may be made there.
///
/// # Cancellation
///
/// Dropping the future disarms the timer; nothing else is lost.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// wakering::run(async {
///     let start = Instant::now();
///     wakering::time::sleep(Duration::from_millis(3)).await;
///     assert!(start.elapsed() >= Duration::from_millis(3));
/// })?;
/// # Ok::<(), wakering::RuntimeError>(())
/// ```
pub fn sleep(duration: Duration) -> Sleep {
    Sleep { timer: Timer::after(duration) }
}

/// Waits until an instant; one that has passed is over at once.
///
/// # Panics
///
/// When it is awaited outside a runtime; it may be made there.
///
/// # Cancellation
///
/// As [`sleep`].
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// wakering::run(async {
///     let start = Instant::now();
///     wakering::time::sleep_until(start + Duration::from_millis(3)).await;
///     assert!(start.elapsed() >= Duration::from_millis(3));
/// })?;
/// # Ok::<(), wakering::RuntimeError>(())
/// ```
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { timer: Timer::at(deadline_at(deadline)) }
}

/// Gives a future a time limit, counted from this call.
///
/// The future is polled before the clock is looked at: one that is ready in time or just then wins. A future that
/// ends without ever waiting costs no timer.
///
/// # Errors
///
/// Awaiting it yields [`Elapsed`] when the limit came first. `?` makes an `io::Error` of the kind `TimedOut` of it, so that
/// `timeout(limit, stream.read(&mut buffer)).await??` fits where the call alone did.
///
/// # Panics
///
/// When it is awaited outside a runtime; it may be made there.
///
/// # Cancellation
///
/// When the limit comes first the future is dropped together with the `Timeout`, not earlier; what is lost then is
/// what that future loses when it is dropped.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use wakering::time::timeout;
///
/// wakering::run(async {
///     let answer = timeout(Duration::from_secs(1), async { 42 }).await;
///     assert_eq!(answer, Ok(42));
///     let nothing = timeout(Duration::from_millis(1), std::future::pending::<()>()).await;
///     assert_eq!(nothing.unwrap_err().to_string(), "the deadline has passed");
/// })?;
/// # Ok::<(), wakering::RuntimeError>(())
/// ```
pub fn timeout<F: IntoFuture>(duration: Duration, future: F) -> Timeout<F::IntoFuture> {
    Beside::new(future.into_future(), Limit { timer: Timer::after(duration) })
}

/// Gives a future a time limit that falls on an instant; otherwise as [`timeout`].
///
/// # Errors
///
/// Awaiting it yields [`Elapsed`] when the limit came first.
///
/// # Panics
///
/// When it is awaited outside a runtime; it may be made there.
///
/// # Cancellation
///
/// As [`timeout`].
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
/// use wakering::time::{sleep, timeout_at};
///
/// wakering::run(async {
///     let limit = Instant::now() + Duration::from_millis(2);
///     // Several steps under one limit.
///     let first = timeout_at(limit, sleep(Duration::ZERO)).await;
///     let second = timeout_at(limit, sleep(Duration::from_secs(60))).await;
///     assert!(first.is_ok() && second.is_err());
/// })?;
/// # Ok::<(), wakering::RuntimeError>(())
/// ```
pub fn timeout_at<F: IntoFuture>(deadline: Instant, future: F) -> Timeout<F::IntoFuture> {
    Beside::new(future.into_future(), Limit { timer: Timer::at(deadline_at(deadline)) })
}

/// Resolves at a deadline; made by [`sleep`] and [`sleep_until`].
///
/// Once it has resolved it is ready whenever it is polled, until it is [`reset`](Sleep::reset).
///
/// It stays on its thread, so its timer cannot fire on one thread while another cancels it:
///
/// ```compile_fail,E0277
/// fn may_cross_threads<T: Send>(_: T) {}
/// may_cross_threads(wakering::time::sleep(std::time::Duration::ZERO));
/// ```
#[must_use = "a sleep does nothing unless it is awaited"]
pub struct Sleep {
    timer: Timer,
}

impl Sleep {
    /// Moves the deadline. A sleep that is waited for stays so: the waker need not be given again.
    ///
    /// For time limits that are put off with every sign of life: nothing is allocated, and no task is polled.
    pub fn reset(&mut self, deadline: Instant) {
        self.timer.set_deadline(deadline_at(deadline));
    }

    /// Moves the deadline to a duration from now.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// wakering::run(async {
    ///     let start = Instant::now();
    ///     let mut idle = wakering::time::sleep(Duration::from_secs(3600));
    ///     idle.reset_after(Duration::from_millis(2));
    ///     idle.await;
    ///     assert!(start.elapsed() < Duration::from_secs(3600));
    /// })?;
    /// # Ok::<(), wakering::RuntimeError>(())
    /// ```
    pub fn reset_after(&mut self, duration: Duration) {
        self.timer.set_deadline(timer::now().saturating_add(nanos(duration)));
    }

    /// Whether the deadline had come when this turn began; nothing is armed for that.
    pub(crate) fn is_due(&self) -> bool {
        timer::turn_time() >= self.timer.deadline()
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.timer.poll_elapsed(context).is_pending() || !context::spend(context) {
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.timer.fmt(out)
    }
}

/// A future with a time limit; made by [`timeout`] and [`timeout_at`].
pub type Timeout<F> = Beside<F, Limit>;

/// The time limit of a [`Timeout`].
#[derive(Debug)]
pub struct Limit {
    timer: Timer,
}

impl<F: Future> Future for Beside<F, Limit> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (future, limit) = self.project();
        if let Poll::Ready(output) = future.poll(context) {
            return Poll::Ready(Ok(output));
        }
        // No budget is asked for: a future that has used it up must not get round its limit by that.
        limit.timer.poll_elapsed(context).map(|()| Err(Elapsed))
    }
}

fn deadline_at(instant: Instant) -> u64 {
    context::try_with(|worker| match worker {
        Some(worker) => worker.clock().deadline_at(instant),
        None => Clock::real().deadline_at(instant),
    })
}
