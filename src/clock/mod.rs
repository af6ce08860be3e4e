//! Time as the runtime sees it: nanoseconds since the clock's origin, in a `u64`.
//!
//! A worker reads its [`Clock`] once a turn and hands the number down as an argument; nothing below asks
//! for the time by itself. That makes every part that deals with time testable without waiting, and a
//! runtime on a manual clock runs hours in milliseconds.
//!
//! Invariants: `now` never goes back; 2⁶⁴ ns are 584 years, and every conversion saturates, so
//! [`NEVER`] is both the longest deadline and one that no clock reaches.

mod manual;
mod wheel;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

pub use self::manual::ManualClock;
pub use self::wheel::{TimerKey, Wheel};
use crate::limits::TICK_NANOS;

/// Where all real clocks of the process begin, so that their deadlines mean the same.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The deadline that does not come.
pub const NEVER: u64 = u64::MAX;

/// A source of time, real or moved by hand. Clones share it.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The system's monotonic clock.
    Real {
        /// The instant that counts as zero.
        origin: Instant,
    },
    /// A clock that is moved by hand.
    Manual(ManualClock),
}

impl Clock {
    /// Makes a clock that follows the system's monotonic clock, counted from the first such clock of the process.
    pub fn real() -> Clock {
        Clock::Real { origin: *ORIGIN }
    }

    /// Makes a clock that starts at zero and stands still.
    pub fn manual() -> Clock {
        Clock::Manual(ManualClock::new())
    }

    /// Reads the clock: nanoseconds since its origin.
    pub fn now(&self) -> u64 {
        match self {
            Clock::Real { origin } => nanos(origin.elapsed()),
            Clock::Manual(clock) => clock.now(),
        }
    }

    /// Reads the clock: the instant that it shows.
    pub fn instant(&self) -> Instant {
        match self {
            Clock::Real { .. } => Instant::now(),
            Clock::Manual(clock) => clock.instant(),
        }
    }

    /// The clock that is moved by hand, if this is one.
    pub fn manual_clock(&self) -> Option<&ManualClock> {
        match self {
            Clock::Real { .. } => None,
            Clock::Manual(clock) => Some(clock),
        }
    }

    /// Moves a manual clock forward to `target`; an earlier target and a real clock stay as they are.
    pub fn advance_to(&self, target: u64) {
        if let Clock::Manual(clock) = self {
            clock.advance_to(target);
        }
    }

    /// The deadline `after` from now; [`NEVER`] where the sum does not fit.
    pub fn deadline_after(&self, after: Duration) -> u64 {
        self.now().saturating_add(nanos(after))
    }

    /// The deadline that falls on an instant: zero for one before the origin.
    pub fn deadline_at(&self, instant: Instant) -> u64 {
        nanos(instant.saturating_duration_since(self.origin()))
    }

    /// The instant of a deadline; `None` where the system's clock cannot express it.
    pub fn instant_at(&self, deadline: u64) -> Option<Instant> {
        self.origin().checked_add(Duration::from_nanos(deadline))
    }

    fn origin(&self) -> Instant {
        match self {
            Clock::Real { origin } => *origin,
            Clock::Manual(clock) => clock.origin(),
        }
    }
}

/// A duration in nanoseconds, [`NEVER`] where it is longer than 584 years.
pub(crate) fn nanos(duration: Duration) -> u64 {
    // In 64 bits throughout: this stands in the way of every timer.
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos().into())
}

/// The end of the tick in which a deadline falls: how long a worker that parks for it sleeps.
pub(crate) fn tick_end(deadline: u64) -> u64 {
    deadline.checked_next_multiple_of(TICK_NANOS).unwrap_or(NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_clock_does_not_go_back() {
        let clock = Clock::real();
        let readings: Vec<u64> = (0..1000).map(|_| clock.now()).collect();
        assert!(readings.is_sorted());
    }

    #[test]
    fn huge_durations_saturate_to_never() {
        for clock in [Clock::real(), Clock::manual()] {
            assert_eq!(clock.deadline_after(Duration::MAX), NEVER);
            assert_eq!(clock.deadline_after(Duration::from_millis(u64::MAX)), NEVER);
        }
        assert_eq!(nanos(Duration::from_nanos(NEVER)), NEVER);
        assert_eq!(nanos(Duration::from_nanos(NEVER - 1)), NEVER - 1);
        let late = Clock::manual();
        late.advance_to(NEVER - 5);
        assert_eq!(late.deadline_after(Duration::from_nanos(7)), NEVER);
    }

    #[test]
    fn an_instant_before_the_origin_is_deadline_zero() {
        let before = Instant::now();
        let clock = Clock::manual();
        assert_eq!(clock.deadline_at(before), 0);
        let later = clock.instant_at(1_500).expect("1.5 us are expressible");
        assert_eq!(clock.deadline_at(later), 1_500);
    }

    #[test]
    fn a_manual_clock_moves_forward_only_and_clones_share_it() {
        let clock = Clock::manual();
        let other = clock.clone();
        clock.advance_to(50);
        clock.advance_to(40);
        assert_eq!(other.now(), 50);
        clock.advance_to(NEVER);
        assert!(other.now() < NEVER);
    }
}
