//! Times of many rounds in little room: exact least, mean, greatest and deviation, percentiles to 0.4 %.

use std::time::Duration;

/// Every power of two is divided in so many parts.
const PARTS: usize = 256;
const PARTS_LOG: usize = PARTS.ilog2() as usize;
const BUCKETS: usize = PARTS * (u64::BITS as usize - PARTS_LOG + 1);

/// How long rounds took.
pub(crate) struct Latencies {
    buckets: Vec<u64>,
    pub(crate) count: u64,
    least: u64,
    greatest: u64,
    sum: f64,
    squares: f64,
}

/// What is told of them, in microseconds.
pub(crate) struct Summary {
    pub(crate) min: f64,
    pub(crate) mean: f64,
    pub(crate) max: f64,
    pub(crate) std: f64,
    pub(crate) percentiles: [(&'static str, f64); 5],
}

impl Latencies {
    pub(crate) fn new() -> Latencies {
        Latencies {
            buckets: vec![0; BUCKETS],
            count: 0,
            least: u64::MAX,
            greatest: 0,
            sum: 0.0,
            squares: 0.0,
        }
    }

    pub(crate) fn add(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanos)] += 1;
        self.count += 1;
        self.least = self.least.min(nanos);
        self.greatest = self.greatest.max(nanos);
        self.sum += nanos as f64;
        self.squares += nanos as f64 * nanos as f64;
    }

    /// `None` when there was no round.
    pub(crate) fn summary(&self) -> Option<Summary> {
        if self.count == 0 {
            return None;
        }
        let mean = self.sum / self.count as f64;
        let variance = (self.squares / self.count as f64 - mean * mean).max(0.0);
        let at = |name, share| (name, self.percentile(share) as f64 / 1e3);
        Some(Summary {
            min: self.least as f64 / 1e3,
            mean: mean / 1e3,
            max: self.greatest as f64 / 1e3,
            std: variance.sqrt() / 1e3,
            percentiles: [at("50", 0.5), at("75", 0.75), at("90", 0.9), at("95", 0.95), at("99", 0.99)],
        })
    }

    /// The time that so great a share of the rounds did not exceed.
    fn percentile(&self, share: f64) -> u64 {
        let rank = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let found = self.buckets.iter().position(|&count| {
            seen += count;
            seen >= rank
        });
        found.map_or(self.greatest, |bucket| top(bucket).clamp(self.least, self.greatest))
    }
}

fn bucket(nanos: u64) -> usize {
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(PARTS_LOG as u32 + 1) as usize;
    (nanos >> shift) as usize + shift * PARTS
}

/// The greatest value of a bucket.
fn top(bucket: usize) -> u64 {
    let shift = (bucket / PARTS).saturating_sub(1);
    let low = ((bucket - shift * PARTS) as u64) << shift;
    low + ((1 << shift) - 1)
}
