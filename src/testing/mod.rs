//! For tests of what is built on wakering: connections in memory, with latency, bandwidth and faults, by seed.
//!
//! A [`Link`] says how a connection behaves, and [`Link::pair`] makes both ends of one. What is random about it comes
//! out of a seed: a test that fails once fails again with the same one. All times are those of the worker's clock, so that a
//! runtime on a [`ManualClock`](crate::time::ManualClock) waits for none of them. [`relay`] puts a link in front of a real server.
//!
//! When to use it: for protocols that read and write streams. Nothing here is meant for production.
//!
//! # Examples
//!
//! A protocol that must not care where its bytes are cut, over a line that takes a second each way:
//!
//! ```
//! use std::time::Duration;
//! use wakering::{Runtime, testing::{self, Link}, time::ManualClock};
//!
//! let clock = ManualClock::new();
//! let runtime = Runtime::builder().manual_clock(&clock).build()?;
//! runtime.block_on(async {
//!     let link = Link::new(testing::seed()).latency(Duration::from_secs(1)).short_reads().short_writes();
//!     let (mut client, mut server) = link.pair();
//!     let serving = wakering::spawn(async move {
//!         let mut request = [0; 5];
//!         server.read_exact(&mut request).await?;
//!         server.write_all(&request).await
//!     });
//!     client.write_all(b"hello").await?;
//!     let mut answer = [0; 5];
//!     client.read_exact(&mut answer).await?;
//!     assert_eq!(&answer, b"hello");
//!     serving.await.expect("no panic")
//! })??;
//! assert_eq!(clock.elapsed(), Duration::from_secs(2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod link;
mod pipe;
mod relay;
mod stream;
#[cfg(feature = "futures-io")]
mod traits;
#[cfg(feature = "hyper")]
mod traits_hyper;
#[cfg(feature = "tokio-io")]
mod traits_tokio;

pub use self::{
    link::{Cut, Link},
    relay::{Relay, relay},
    stream::{Reader, Stream, Writer},
};

use std::{
    env,
    hash::{BuildHasher, RandomState},
};

/// The variable that repeats a run.
const SEED: &str = "WAKERING_TEST_SEED";

/// A seed for this run: what `WAKERING_TEST_SEED` says, else a random one. It is printed on standard error, which a test
/// that fails shows.
///
/// # Panics
///
/// When the variable is set and is no number.
///
/// # Examples
///
/// ```
/// use wakering::testing::{self, Link};
///
/// let link = Link::new(testing::seed()); // prints "wakering: WAKERING_TEST_SEED=… repeats this"
/// # drop(link);
/// ```
#[must_use]
pub fn seed() -> u64 {
    let seed = match env::var(SEED) {
        Ok(text) => match text.parse() {
            Ok(seed) => seed,
            Err(_) => panic!("{SEED} is {text:?}, and should be a number from 0 to 2^64 - 1"),
        },
        // Hash keys are the one source of random numbers in std.
        Err(_) => RandomState::new().hash_one(0),
    };
    eprintln!("wakering: {SEED}={seed} repeats this");
    seed
}

/// Random numbers that a seed determines: splitmix64.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    /// One of a family: the same seed and number give the same stream.
    fn new(seed: u64, number: u64) -> Random {
        Random(seed ^ number.wrapping_mul(0xd1b5_4a32_d192_ed03))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `bound - 1`; 0 when there is no such number.
    fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }
}
