//! Receive windows that grow to what the path holds: the product of bandwidth and delay.
//!
//! A sender may have one window's worth on its way, so a window below that product leaves the link idle. It is measured: a
//! PING goes out with a WINDOW_UPDATE, and from there to the first WINDOW_UPDATE after its answer is about a round trip, in
//! which a sender that was waiting for the window has sent all of it. (The answer itself comes before what the window
//! brought.) When half the window or more came in that time, the window was in the way, and it doubles, provided that
//! growing helps: the rate rose since the last time, or the round trip is still as short as it ever was, so that no queue
//! has built up on the way.
//!
//! A PING is sent only when a stream has used up half a window, one at a time, ever more rarely while nothing changes, and
//! none any more once the window has reached its bound. A connection that receives little or nothing sends none.
//!
//! # Who gets the window
//!
//! Every stream starts with the configured window and keeps it. What it has grown by comes out of a pool of twice the grown
//! part, and it gets at most half of what the others left there: one transfer has the whole window, many share the pool,
//! and a reader that stops holds its own part and no more. The connection's window is its configured size and the pool, so
//! whoever has not grown always finds that much open. What is granted to streams never passes the pool, and so a connection
//! never holds more than `max_connection_window` of unread content.

use super::connection::{Connection, Phase};
use super::flow::{MAX_WINDOW, ReceiveWindow};
use super::frame::Kind;
use super::settings::INITIAL_WINDOW;
use crate::limits;

/// The payload of the PINGs that measure.
const PROBE: [u8; 8] = *b"wakebdp\0";

const SECOND_NS: u64 = 1_000_000_000;

#[derive(Debug, Default)]
pub(super) struct Bandwidth {
    /// What one stream alone may have beyond the configured window.
    extra: u32,
    /// What may be granted to all streams together, beyond their configured windows.
    pool: u32,
    /// What is: by stream, and the sum.
    grown: Vec<(u32, u32)>,
    granted: u32,
    probe: Option<Probe>,
    /// The highest rate measured, in bytes a second.
    best: u64,
    /// The shortest round trip, in nanoseconds; 0 before the first.
    shortest: u64,
    /// No measurement before this time.
    not_before: u64,
    /// Measurements since the window last grew.
    still: u32,
}

/// A PING on its way.
#[derive(Clone, Copy, Debug)]
struct Probe {
    sent: u64,
    /// Bytes that had been received when it was sent.
    offset: u64,
    /// How long it took to come back.
    trip: Option<u64>,
}

impl Bandwidth {
    /// Ends a measurement whose PING is back; returns the new window if it should grow.
    fn measure(&mut self, now: u64, offset: u64, window: u32) -> Option<u32> {
        let probe = self.probe.filter(|probe| probe.trip.is_some())?;
        self.probe = None;
        let trip = probe.trip?.max(limits::H2_ROUND_TRIP_NS);
        let elapsed = now.saturating_sub(probe.sent).max(trip);
        if elapsed > trip.saturating_mul(4) {
            // Whoever paused has not been measured.
            return None;
        }
        let rate = offset.saturating_sub(probe.offset).saturating_mul(SECOND_NS) / elapsed;
        // What a round trip brings at this rate.
        let bytes = rate.saturating_mul(trip) / SECOND_NS;
        self.shortest = if self.shortest == 0 { trip } else { self.shortest.min(trip) };
        let faster = rate > self.best.saturating_add(self.best / 16);
        let no_queue = trip < self.shortest.saturating_add(self.shortest / 4);
        self.best = self.best.max(rate);
        let in_the_way = bytes.saturating_mul(2) >= u64::from(window);
        if in_the_way && (faster || no_queue) {
            self.still = 0;
            self.not_before = now;
            return Some(window.saturating_mul(2));
        }
        self.still += 1;
        let pause = trip.saturating_mul(1 << self.still.min(16));
        self.not_before = now.saturating_add(pause.min(limits::H2_PROBE_PAUSE_NS));
        None
    }

    /// Decides anew what a stream may have beyond its configured window; returns by how much that changed.
    fn share(&mut self, id: u32) -> i64 {
        let place = self.grown.iter().position(|grown| grown.0 == id);
        let own = place.map_or(0, |at| self.grown[at].1);
        let others = self.granted - own;
        let share = self.extra.min(self.pool.saturating_sub(others) / 2);
        match place {
            Some(at) => self.grown[at].1 = share,
            None if share > 0 => self.grown.push((id, share)),
            None => {}
        }
        self.granted = others + share;
        i64::from(share) - i64::from(own)
    }

    /// The stream is gone: its part is free.
    fn forget(&mut self, id: u32) {
        if let Some(at) = self.grown.iter().position(|grown| grown.0 == id) {
            self.granted -= self.grown.swap_remove(at).1;
        }
    }
}

impl Connection {
    /// A stream has used up half a window and gets `increment` back: more or less of it, if its share has changed.
    pub(super) fn tune(&mut self, id: u32, window: &mut ReceiveWindow, increment: u32) -> u32 {
        if !self.config.adaptive_window {
            return increment;
        }
        self.measure();
        let bandwidth = self.bandwidth.get_or_insert_default();
        let change = bandwidth.share(id);
        let most_back = -i64::from(increment);
        // A share that shrinks by more is paid back with the next increments.
        let taken = change.max(most_back);
        if taken != change {
            if let Some(grown) = bandwidth.grown.iter_mut().find(|grown| grown.0 == id) {
                let owed = u32::try_from(taken - change).unwrap_or(0);
                grown.1 += owed;
                bandwidth.granted += owed;
            }
        }
        window.shift(taken);
        self.probe();
        u32::try_from(i64::from(increment) + taken).unwrap_or(0)
    }

    /// Sends a PING, if a measurement is due and can still change anything.
    fn probe(&mut self) {
        let most = self.config.max_stream_window.min(MAX_WINDOW);
        let Some(bandwidth) = self.bandwidth.as_mut() else { return };
        let full = self.config.stream_window.saturating_add(bandwidth.extra) >= most;
        if full || bandwidth.probe.is_some() || self.now < bandwidth.not_before || self.phase == Phase::Dead {
            return;
        }
        bandwidth.probe = Some(Probe { sent: self.now, offset: self.input.offset(), trip: None });
        self.write_frame(Kind::Ping, 0, 0, &PROBE);
    }

    /// A PING came back; `true` when it was ours.
    #[cold]
    pub(super) fn on_probe(&mut self, payload: [u8; 8]) -> bool {
        let Some(bandwidth) = self.bandwidth.as_mut().filter(|_| payload == PROBE) else { return false };
        let Some(probe) = bandwidth.probe.as_mut().filter(|probe| probe.trip.is_none()) else { return false };
        probe.trip = Some(self.now.saturating_sub(probe.sent));
        true
    }

    /// Looks at what came with a PING that is back, and lets the windows grow.
    fn measure(&mut self) {
        let Some(bandwidth) = self.bandwidth.as_mut() else { return };
        let base = self.config.stream_window;
        let window = base.saturating_add(bandwidth.extra);
        let most_stream = self.config.max_stream_window.min(MAX_WINDOW);
        let Some(wanted) = bandwidth.measure(self.now, self.input.offset(), window) else { return };
        bandwidth.extra = wanted.min(most_stream).saturating_sub(base);
        let least = self.config.connection_window.max(INITIAL_WINDOW);
        let most = self.config.max_connection_window.min(MAX_WINDOW).saturating_sub(least);
        let pool = bandwidth.extra.saturating_mul(2).min(most);
        let more = pool.saturating_sub(bandwidth.pool);
        bandwidth.pool += more;
        if more > 0 {
            self.receive_window.shift(i64::from(more));
            self.write_frame(Kind::WindowUpdate, 0, 0, &more.to_be_bytes());
        }
    }

    /// A stream is gone.
    #[inline]
    pub(super) fn untune(&mut self, id: u32) {
        if let Some(bandwidth) = &mut self.bandwidth {
            bandwidth.forget(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const MIB: u32 = 1 << 20;

    fn round(bandwidth: &mut Bandwidth, trip: u64, bytes: u64, window: u32) -> Option<u32> {
        bandwidth.probe = Some(Probe { sent: 0, offset: 0, trip: Some(trip) });
        bandwidth.measure(trip, bytes, window)
    }

    #[test]
    fn a_window_that_is_in_the_way_doubles() {
        let mut bandwidth = Bandwidth::default();
        assert_eq!(round(&mut bandwidth, 50 * MS, 65_536, 65_536), Some(131_072));
        assert_eq!(round(&mut bandwidth, 50 * MS, 131_072, 131_072), Some(262_144));
        assert_eq!(round(&mut bandwidth, 50 * MS, 100_000, 262_144), None, "the sender has no more");
    }

    #[test]
    fn a_window_that_only_lengthens_the_queue_does_not_grow() {
        let mut bandwidth = Bandwidth::default();
        assert!(round(&mut bandwidth, 50 * MS, 1 << 20, 1 << 20).is_some());
        assert_eq!(round(&mut bandwidth, 100 * MS, 2 << 20, 2 << 20), None, "the same rate, twice the trip");
        assert!(bandwidth.not_before >= 300 * MS, "the next one may wait");
    }

    #[test]
    fn a_pause_is_no_measurement() {
        let probe = Some(Probe { sent: 0, offset: 0, trip: Some(50 * MS) });
        let mut bandwidth = Bandwidth { probe, ..Bandwidth::default() };
        assert_eq!(bandwidth.measure(10_000 * MS, 65_536, 65_536), None);
        assert!(bandwidth.probe.is_none() && bandwidth.still == 0 && bandwidth.best == 0);
        bandwidth.probe = Some(Probe { sent: 0, offset: 0, trip: None });
        assert_eq!(bandwidth.measure(50 * MS, 65_536, 65_536), None);
        assert!(bandwidth.probe.is_some(), "it is not back");
    }

    #[test]
    fn one_stream_has_it_all_and_the_pool_is_never_overdrawn() {
        let mut bandwidth = Bandwidth { extra: 16 * MIB, pool: 32 * MIB, ..Bandwidth::default() };
        assert_eq!(bandwidth.share(1), i64::from(16 * MIB));
        assert_eq!(bandwidth.share(3), i64::from(8 * MIB));
        for round in 0..20 {
            for id in [1, 3, 5, 7] {
                bandwidth.share(id);
                let sum: u32 = bandwidth.grown.iter().map(|grown| grown.1).sum();
                assert_eq!(sum, bandwidth.granted);
                assert!(sum <= bandwidth.pool, "{sum} in round {round}");
            }
        }
        // Shares of those that go on reading come together.
        let fair = 32 * MIB / 5;
        assert!(bandwidth.grown.iter().all(|&(_, share)| share.abs_diff(fair) < MIB / 4), "{bandwidth:?}");
        for id in [1, 3, 5, 7] {
            bandwidth.forget(id);
        }
        assert_eq!(bandwidth.granted, 0);
    }
}
