//! Ticks at a fixed distance, and what to do about those that were missed.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::deadline_at;
use crate::clock::{NEVER, nanos};
use crate::limits::TICK_LATE_NANOS;
use crate::worker::context;
use crate::worker::timer::{Timer, now};

/// Ticks at once, and from then on every `period`.
///
/// # Panics
///
/// When the period is zero, and when a tick is awaited outside a runtime.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
/// use wakering::time::interval;
///
/// wakering::run(async {
///     let start = Instant::now();
///     let mut ticks = interval(Duration::from_millis(2));
///     for _ in 0..3 {
///         ticks.tick().await;
///     }
///     assert!(start.elapsed() >= Duration::from_millis(4));
/// })?;
/// # Ok::<(), wakering::RuntimeError>(())
/// ```
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    Interval::new(now(), period)
}

/// Ticks at `start`, and from then on every `period`.
///
/// # Panics
///
/// As [`interval`].
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
/// use wakering::time::interval_at;
///
/// wakering::run(async {
///     let start = Instant::now() + Duration::from_millis(2);
///     let mut ticks = interval_at(start, Duration::from_millis(5));
///     assert_eq!(ticks.tick().await, start);
///     assert_eq!(ticks.tick().await, start + Duration::from_millis(5));
/// })?;
/// # Ok::<(), wakering::RuntimeError>(())
/// ```
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    Interval::new(deadline_at(start), period)
}

/// What an [`Interval`] does when a tick is taken more than 5 ms late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissedTicks {
    /// Makes up for them: the ticks that were missed come at once, one after the other. The count of ticks stays
    /// right.
    #[default]
    Burst,
    /// Starts anew: the next tick comes one period after the late one. The distance of ticks is never much less than
    /// the period.
    Delay,
    /// Leaves them out: the next tick comes at the next multiple of the period from the start. Ticks stay in step
    /// with the clock.
    Skip,
}

/// Ticks at a fixed distance; made by [`interval`] and [`interval_at`].
#[derive(Debug)]
pub struct Interval {
    timer: Timer,
    period: u64,
    missed: MissedTicks,
}

impl Interval {
    #[track_caller]
    fn new(start: u64, period: Duration) -> Interval {
        assert!(!period.is_zero(), "an interval's period cannot be zero");
        Interval { timer: Timer::at(start), period: nanos(period), missed: MissedTicks::default() }
    }

    /// Chooses what is done about ticks that were missed; by default they come in a burst.
    #[must_use]
    pub fn missed_ticks(mut self, missed: MissedTicks) -> Interval {
        self.missed = missed;
        self
    }

    /// The distance of two ticks.
    pub fn period(&self) -> Duration {
        Duration::from_nanos(self.period)
    }

    /// Waits for the next tick, and gives the instant for which it was planned.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses no tick: the next call waits for the same one.
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|context| self.poll_tick(context)).await
    }

    /// [`tick`](Interval::tick) for futures that are written by hand.
    pub fn poll_tick(&mut self, context: &mut Context<'_>) -> Poll<Instant> {
        ready!(self.timer.poll_elapsed(context));
        if !context::spend(context) {
            return Poll::Pending;
        }
        let planned = self.timer.deadline();
        let (now, instant) = context::with(|worker| (worker.now(), worker.clock().instant_at(planned)));
        self.timer.set_deadline(next_tick(planned, now, self.period, self.missed));
        Poll::Ready(instant.expect("an instant that has come can be expressed"))
    }

    /// Starts anew: the next tick comes one period from now.
    pub fn reset(&mut self) {
        self.timer.set_deadline(now().saturating_add(self.period));
    }
}

/// When to tick after the tick that was planned for `planned` and is taken at `now`.
fn next_tick(planned: u64, now: u64, period: u64, missed: MissedTicks) -> u64 {
    let is_late = now.saturating_sub(planned) > TICK_LATE_NANOS;
    match missed {
        MissedTicks::Delay if is_late => now.saturating_add(period),
        MissedTicks::Skip if is_late => {
            let periods = (now - planned) / period + 1;
            period.checked_mul(periods).and_then(|by| planned.checked_add(by)).unwrap_or(NEVER)
        }
        MissedTicks::Burst | MissedTicks::Delay | MissedTicks::Skip => planned.saturating_add(period),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: u64 = 1_000_000;

    #[test]
    fn ticks_in_time_keep_their_distance_whatever_the_policy() {
        for missed in [MissedTicks::Burst, MissedTicks::Delay, MissedTicks::Skip] {
            assert_eq!(next_tick(1000, 1000, 500, missed), 1500);
            assert_eq!(
                next_tick(1000, 1000 + TICK_LATE_NANOS, 10 * MILLISECOND, missed),
                1000 + 10 * MILLISECOND
            );
        }
    }

    #[test]
    fn late_ticks_come_in_a_burst_or_with_a_delay_or_are_skipped() {
        let (planned, now, period) = (100 * MILLISECOND, 135 * MILLISECOND, 10 * MILLISECOND);
        assert_eq!(next_tick(planned, now, period, MissedTicks::Burst), 110 * MILLISECOND);
        assert_eq!(next_tick(planned, now, period, MissedTicks::Delay), 145 * MILLISECOND);
        assert_eq!(next_tick(planned, now, period, MissedTicks::Skip), 140 * MILLISECOND);
        let exactly = 140 * MILLISECOND;
        assert_eq!(next_tick(planned, exactly, period, MissedTicks::Skip), 150 * MILLISECOND);
    }

    #[test]
    fn a_huge_period_saturates() {
        for missed in [MissedTicks::Burst, MissedTicks::Delay, MissedTicks::Skip] {
            assert_eq!(next_tick(5, 5, NEVER, missed), NEVER);
            assert_eq!(next_tick(5, 50 * MILLISECOND, NEVER - 1, missed), NEVER);
        }
    }
}
