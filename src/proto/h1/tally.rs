//! What both ends of HTTP/1 count on the way.

use super::input::Input;
use crate::proto::h2::{COUNTS, Held, Output, Stats, Trip, Trips};

#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) requests: u32,
    pub(super) resets: u32,
    tripped: u32,
    trips: Option<Box<Trips>>,
}

impl Tally {
    #[cold]
    pub(super) fn trip(&mut self, trip: Trip) {
        self.tripped = self.tripped.wrapping_add(1);
        self.trips.get_or_insert_default().add(trip, 1);
    }

    /// Changes whenever a reset or a trip is counted.
    pub(super) fn rare(&self) -> u32 {
        self.resets.wrapping_add(self.tripped)
    }

    /// Resets received and sent, and trips.
    pub(super) fn rarities(&self) -> (u32, u32, Trips) {
        (0, self.resets, self.trips.as_deref().copied().unwrap_or_default())
    }

    /// What is known of a connection with these requests under way. There are no frames.
    pub(super) fn stats(&self, input: &Input, output: &Output, open: usize) -> Stats {
        Stats {
            bytes_received: input.offset(),
            bytes_sent: output.end() - output.len() as u64,
            streams: u64::from(self.requests),
            streams_open: open as u64,
            resets_sent: u64::from(self.resets),
            trips: self.trips.as_deref().copied().unwrap_or_default(),
            ..Stats::default()
        }
    }

    /// The same numbers in the order of HTTP/2's.
    #[inline]
    pub(super) fn counts(&self, input: &Input, output: &Output, open: usize, held: &Held) -> [u32; COUNTS] {
        [
            0,
            input.offset() as u32,
            0,
            (output.end() - output.len() as u64) as u32,
            self.requests,
            open as u32,
            held.received as u32,
            held.output as u32,
            held.heads as u32,
        ]
    }
}
