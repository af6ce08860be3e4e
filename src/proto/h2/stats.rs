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

/// What is counted on the way.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) frames_received: u64,
    pub(super) streams: u64,
    pub(super) resets_received: u32,
    pub(super) resets_sent: u32,
    trips: Option<Box<Trips>>,
}

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

    /// Counts a bound that the peer ran into.
    #[cold]
    pub(super) fn note_trip(&mut self, trip: Trip) {
        self.tally.trips.get_or_insert_default().add(trip, 1);
    }
}
