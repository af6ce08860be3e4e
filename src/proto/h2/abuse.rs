//! The token bucket for work that a peer makes and then throws away.
//!
//! Rapid reset (CVE-2023-44487), MadeYouReset (CVE-2025-8671) and plain reset floods have one thing in common:
//! a stream dies before it is complete, whoever reset it. Each such death takes a token; tokens come back at a
//! steady rate. Useless frames (empty DATA that does not end a stream, PRIORITY) draw from a bucket of their
//! own, because honest streaming sends a few. An empty bucket ends the connection with ENHANCE_YOUR_CALM.

/// Nanoseconds in a second, the unit that rates are given in.
const SECOND_NS: u64 = 1_000_000_000;

/// A token bucket: `burst` tokens at once, `per_second` in the long run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    tokens: u32,
    /// When the tokens were last counted, in nanoseconds.
    counted: u64,
}

impl Bucket {
    pub(super) fn new(burst: u32, now: u64) -> Bucket {
        Bucket { tokens: burst, counted: now }
    }

    /// Takes a token; `false` when there is none.
    pub(super) fn take(&mut self, now: u64, burst: u32, per_second: u32) -> bool {
        if self.tokens < burst {
            self.refill(now, burst, per_second);
        } else {
            self.counted = now;
        }
        match self.tokens.checked_sub(1) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }

    fn refill(&mut self, now: u64, burst: u32, per_second: u32) {
        if per_second == 0 {
            return;
        }
        let interval = SECOND_NS / u64::from(per_second);
        let earned = now.saturating_sub(self.counted) / interval;
        if earned == 0 {
            return;
        }
        // Part of an interval stays earned: the clock moves by whole intervals only.
        self.counted = self.counted.saturating_add(earned.saturating_mul(interval));
        self.tokens = u32::try_from(earned).unwrap_or(u32::MAX).saturating_add(self.tokens).min(burst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_one_more_is_not() {
        let mut bucket = Bucket::new(100, 0);
        assert!((0..100).all(|_| bucket.take(0, 100, 33)));
        assert!(!bucket.take(0, 100, 33));
    }

    #[test]
    fn tokens_come_back_at_the_rate_and_never_pass_the_burst() {
        let mut bucket = Bucket::new(10, 0);
        assert!((0..10).all(|_| bucket.take(0, 10, 10)));
        assert!(!bucket.take(SECOND_NS / 10 - 1, 10, 10));
        assert!(bucket.take(SECOND_NS / 10, 10, 10));
        assert!(!bucket.take(SECOND_NS / 10, 10, 10));
        let later = 1_000 * SECOND_NS;
        assert!((0..10).all(|_| bucket.take(later, 10, 10)));
        assert!(!bucket.take(later, 10, 10));
    }

    #[test]
    fn parts_of_an_interval_are_not_lost() {
        let mut bucket = Bucket::new(1, 0);
        assert!(bucket.take(0, 1, 10));
        assert!(bucket.take(SECOND_NS * 15 / 100, 1, 10));
        assert!(bucket.take(SECOND_NS * 2 / 10, 1, 10));
    }
}
