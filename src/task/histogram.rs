//! How long something took, counted by powers of two.
//!
//! One writer, any number of readers; see `published.rs`.

use std::{
    array,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::limits::{HISTOGRAM_BUCKETS, HISTOGRAM_FIRST_NS};

/// Counts of durations; each place but the last has an upper bound, twice that of the one before.
#[derive(Debug)]
pub(crate) struct Histogram {
    counts: [AtomicU64; HISTOGRAM_BUCKETS],
    sum: AtomicU64,
}

/// A histogram's numbers at some time.
pub(crate) type Counts = [u64; HISTOGRAM_BUCKETS];

impl Histogram {
    pub(crate) fn new() -> Self {
        Histogram { counts: array::from_fn(|_| AtomicU64::new(0)), sum: AtomicU64::new(0) }
    }

    /// Owner: counts one that took so many nanoseconds.
    pub(crate) fn add(&self, nanos: u64) {
        let count = &self.counts[place(nanos)];
        count.store(count.load(Relaxed) + 1, Relaxed);
        self.sum.store(self.sum.load(Relaxed).wrapping_add(nanos), Relaxed);
    }

    /// How many fell into each place, and the sum of all in nanoseconds.
    pub(crate) fn read(&self) -> (Counts, u64) {
        (array::from_fn(|at| self.counts[at].load(Relaxed)), self.sum.load(Relaxed))
    }
}

/// The longest duration of a place in nanoseconds; `None` for the last, which has no bound.
pub(crate) fn bound(place: usize) -> Option<u64> {
    (place + 1 < HISTOGRAM_BUCKETS).then(|| HISTOGRAM_FIRST_NS << place)
}

fn place(nanos: u64) -> usize {
    let units = nanos.saturating_sub(1) / HISTOGRAM_FIRST_NS;
    ((u64::BITS - units.leading_zeros()) as usize).min(HISTOGRAM_BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_at_a_bound_belongs_below_it_and_one_more_above() {
        for at in 0..HISTOGRAM_BUCKETS - 1 {
            let bound = bound(at).expect("all but the last are bounded");
            assert_eq!((place(bound), place(bound + 1)), (at, at + 1), "{bound} ns");
        }
        assert_eq!((place(0), place(1)), (0, 0));
        assert_eq!((place(u64::MAX), bound(HISTOGRAM_BUCKETS - 1)), (HISTOGRAM_BUCKETS - 1, None));
    }

    #[test]
    fn what_was_added_is_read_with_its_sum() {
        let histogram = Histogram::new();
        for nanos in [100, 100, 1_000_000] {
            histogram.add(nanos);
        }
        let (counts, sum) = histogram.read();
        assert_eq!((counts[0], counts.iter().sum::<u64>(), sum), (2, 3, 1_000_200));
    }
}
