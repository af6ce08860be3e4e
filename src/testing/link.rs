//! What a connection in memory is like.

use std::{fmt, time::Duration};

use crate::{
    limits::TEST_LINK_CAPACITY,
    testing::{Random, Stream},
};

/// How a connection in memory behaves, in each of its two directions.
///
/// A new one is perfect: no latency, no limit but the room for 64 KiB, no fault.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use wakering::testing::{Cut, Link};
///
/// // A slow line over the ocean that breaks down after a megabyte.
/// let link = Link::new(7)
///     .latency(Duration::from_millis(80))
///     .jitter(Duration::from_millis(5))
///     .bandwidth(125_000)
///     .capacity(256 * 1024)
///     .cut(1_000_000, Cut::Reset);
/// # drop(link);
/// ```
#[derive(Clone)]
pub struct Link {
    pub(super) seed: u64,
    pub(super) latency: Duration,
    pub(super) jitter: Duration,
    /// Bytes a second.
    pub(super) bandwidth: Option<u64>,
    pub(super) capacity: usize,
    pub(super) short_reads: bool,
    pub(super) short_writes: bool,
    pub(super) stutter: bool,
    pub(super) cut: Option<(u64, Cut)>,
}

/// How a direction breaks down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cut {
    /// The reader sees the end, too early; the writer is told nothing.
    End,
    /// Both ends get `ConnectionReset`, in both directions, as soon as the news is there.
    Reset,
    /// Nothing arrives any more, and nobody is told: a cable that was pulled. What is written fills the link.
    Silence,
}

impl Link {
    /// A perfect link whose faults, once they are asked for, come out of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Link {
        Link {
            seed,
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            bandwidth: None,
            capacity: TEST_LINK_CAPACITY,
            short_reads: false,
            short_writes: false,
            stutter: false,
            cut: None,
        }
    }

    /// How long each byte is on its way; there and back is twice that.
    #[must_use]
    pub fn latency(mut self, one_way: Duration) -> Link {
        self.latency = one_way;
        self
    }

    /// Up to how much longer some bytes take. They never overtake each other.
    #[must_use]
    pub fn jitter(mut self, most: Duration) -> Link {
        self.jitter = most;
        self
    }

    /// How many bytes a second go in each direction; 0 counts as 1.
    #[must_use]
    pub fn bandwidth(mut self, bytes_per_second: u64) -> Link {
        self.bandwidth = Some(bytes_per_second.max(1));
        self
    }

    /// How many bytes may be on their way or unread in each direction, as a TCP window; 0 counts as 1. A writer waits when
    /// there are so many.
    #[must_use]
    pub fn capacity(mut self, bytes: usize) -> Link {
        self.capacity = bytes.max(1);
        self
    }

    /// Has each read give a random part of what it could, at least one byte.
    #[must_use]
    pub fn short_reads(mut self) -> Link {
        self.short_reads = true;
        self
    }

    /// Has each write take a random part of what it could, at least one byte.
    #[must_use]
    pub fn short_writes(mut self) -> Link {
        self.short_writes = true;
        self
    }

    /// Has one call in four wait for a turn although it could go on: readiness that was a false alarm.
    #[must_use]
    pub fn stutter(mut self) -> Link {
        self.stutter = true;
        self
    }

    /// Breaks each direction down after so many bytes of its own.
    #[must_use]
    pub fn cut(mut self, after_bytes: u64, how: Cut) -> Link {
        self.cut = Some((after_bytes, how));
        self
    }

    /// Makes both ends of a connection that is the same in both directions.
    #[must_use]
    pub fn pair(self) -> (Stream, Stream) {
        let back = self.clone();
        self.pair_with(back)
    }

    /// Makes both ends of a connection whose second end writes over `back`.
    ///
    /// # Examples
    ///
    /// Requests get through, answers do not:
    ///
    /// ```
    /// use std::time::Duration;
    /// use wakering::{testing::{Cut, Link}, time::timeout};
    ///
    /// wakering::run(async {
    ///     let (mut client, mut server) = Link::new(1).pair_with(Link::new(1).cut(0, Cut::Silence));
    ///     client.write_all(b"ping").await?;
    ///     server.read_exact(&mut [0; 4]).await?;
    ///     server.write_all(b"pong").await?;
    ///     let answer = timeout(Duration::from_millis(5), client.read(&mut [0; 4])).await;
    ///     assert!(answer.is_err());
    ///     std::io::Result::Ok(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn pair_with(self, back: Link) -> (Stream, Stream) {
        Stream::pair(self, back)
    }

    /// The random numbers of a direction.
    pub(super) fn random(&self, direction: u64) -> Random {
        Random::new(self.seed, direction)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = out.debug_struct("Link");
        shown.field("seed", &self.seed).field("latency", &self.latency).field("jitter", &self.jitter);
        shown.field("bandwidth", &self.bandwidth).field("capacity", &self.capacity);
        shown.field("short_reads", &self.short_reads).field("short_writes", &self.short_writes);
        shown.field("stutter", &self.stutter).field("cut", &self.cut).finish()
    }
}
