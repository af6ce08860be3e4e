//! What a connection has done so far, in plain numbers.
//!
//! Counting is an addition to a word that is in the cache anyway; what is rare (resets, trips) is counted apart, and
//! trips take memory only once there are any.

use super::connection::Connection;
use super::trip::Trip;

/// How often each bound was run into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trips {
    counts: [u64; Trip::COUNT],
}

impl Trips {
    /// How often this one was.
    pub const fn of(&self, trip: Trip) -> u64 {
        self.counts[trip as usize]
    }

    /// How often any was.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Each with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Trip, u64)> + '_ {
        Trip::ALL.into_iter().map(|trip| (trip, self.of(trip)))
    }

    /// Counts it `n` times more.
    pub(crate) fn add(&mut self, trip: Trip, n: u64) {
        self.counts[trip as usize] += n;
    }
}

/// What a connection has done since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Frames that were read.
    pub frames_received: u64,
    /// Frames that were made, those included that wait to be written.
    pub frames_sent: u64,
    /// Bytes that were parsed.
    pub bytes_received: u64,
    /// Bytes that were written.
    pub bytes_sent: u64,
    /// Streams that were opened; those that were refused do not count.
    pub streams: u64,
    /// Streams whose slots are taken: open ones, and those whose handler has not finished.
    pub streams_open: u64,
    /// Streams that the peer reset.
    pub resets_received: u64,
    /// Streams that we reset or refused.
    pub resets_sent: u64,
    /// Bounds that the peer ran into.
    pub trips: Trips,
}

/// Memory that a connection holds for its peer, in bytes. What several streams share is counted for each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// Received content that the application has not taken.
    pub received: usize,
    /// Output that the peer has not taken: frames, and content that waits for a window.
    pub output: usize,
    /// Header lists of requests that are being answered, as RFC 9113 §6.5.2 measures them.
    pub heads: usize,
}

impl Held {
    /// All of it.
    pub const fn total(&self) -> usize {
        self.received + self.output + self.heads
    }
}

/// What is counted on the way.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) frames_received: u64,
    pub(super) streams: u64,
    /// Delivered and not released, queued in streams, in heads: what `Held` adds up.
    pub(super) unreleased: usize,
    pub(super) queued: usize,
    pub(super) heads: usize,
    pub(super) resets_received: u32,
    pub(super) resets_sent: u32,
    tripped: u32,
    trips: Option<Box<Trips>>,
}

impl Tally {
    /// The streams are gone.
    pub(super) fn hold_nothing(&mut self) {
        (self.unreleased, self.queued, self.heads) = (0, 0, 0);
    }
}

/// Numbers that are published again and again, each in its low 32 bits.
pub(crate) const COUNTS: usize = 9;
/// The first that is a level and not a sum.
pub(crate) const LEVELS: usize = 5;

impl Connection {
    /// What the connection has done so far; also after its end.
    pub fn stats(&self) -> Stats {
        Stats {
            frames_received: self.tally.frames_received,
            frames_sent: self.output.frames(),
            bytes_received: self.input.offset(),
            bytes_sent: self.output.end() - self.output.len() as u64,
            streams: self.tally.streams,
            streams_open: u64::from(self.streams.len()),
            resets_received: u64::from(self.tally.resets_received),
            resets_sent: u64::from(self.tally.resets_sent),
            trips: self.tally.trips.as_deref().copied().unwrap_or_default(),
        }
    }

    /// What the connection holds for its peer now.
    pub fn held(&self) -> Held {
        let Tally { unreleased, queued, heads, .. } = self.tally;
        Held { received: unreleased, output: self.output.len() + queued, heads }
    }

    /// Frames and bytes received, frames and bytes sent, streams; then levels: open streams, bytes held as received,
    /// as output and as heads.
    #[inline]
    pub(crate) fn counts(&self) -> [u32; COUNTS] {
        let sent = self.output.end() - self.output.len() as u64;
        let tally = &self.tally;
        [
            tally.frames_received as u32,
            self.input.offset() as u32,
            self.output.frames() as u32,
            sent as u32,
            tally.streams as u32,
            self.streams.len(),
            tally.unreleased as u32,
            (self.output.len() + tally.queued) as u32,
            tally.heads as u32,
        ]
    }

    /// Changes whenever a reset or a trip is counted.
    #[inline]
    pub(crate) fn rare(&self) -> u32 {
        self.tally.resets_received.wrapping_add(self.tally.resets_sent).wrapping_add(self.tally.tripped)
    }

    /// Resets received and sent, and trips.
    pub(crate) fn rarities(&self) -> (u32, u32, Trips) {
        let trips = self.tally.trips.as_deref().copied().unwrap_or_default();
        (self.tally.resets_received, self.tally.resets_sent, trips)
    }

    /// Counts a bound that the peer ran into.
    #[cold]
    pub(super) fn note_trip(&mut self, trip: Trip) {
        self.tally.tripped = self.tally.tripped.wrapping_add(1);
        self.tally.trips.get_or_insert_default().add(trip, 1);
    }
}
