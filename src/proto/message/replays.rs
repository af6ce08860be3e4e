//! What keeps a message from passing twice.
//!
//! Two ways, for two kinds of messages. Those of a session are numbered, and a [`Window`] notes which numbers have come.
//! Those without a session have a time and a nonce: a time that is too far from ours is refused, and a nonce is
//! remembered for as long as its time would pass, in [`Replays`].
//!
//! Invariant: a nonce is forgotten only after its second is closed, so that forgetting never lets anything pass again.
//!
//! What is closed is closed for everybody who shares a secret, so nobody may have that done for the time that others' clocks
//! show. Room is made by closing what has been for a while; when that is not enough, who is ahead of the time is not taken,
//! and who has it is taken all the same.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Order, plugins::PluginError};
use crate::limits::{MESSAGE_CLOCK_SLACK, MESSAGE_NONCES, MESSAGE_REPLAY_WINDOW, MESSAGE_TIME_WINDOW};

/// Which numbers have come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    order: Order,
    /// One more than the highest number that has come.
    next: u64,
    /// Which of the numbers below have: the lowest bit is that of `next - 1`.
    come: u128,
}

impl Window {
    pub(super) fn new(order: Order) -> Window {
        Window { order, next: 0, come: 0 }
    }

    /// Whether a message with this number would be the first one.
    pub(super) fn is_new(&self, number: u64) -> bool {
        if number >= self.next {
            return number < u64::MAX;
        }
        let behind = self.next - 1 - number;
        // What comes in order and is behind has been moved by somebody.
        self.order == Order::Any && behind < MESSAGE_REPLAY_WINDOW && self.come >> behind & 1 == 0
    }

    /// Notes a number that is new.
    pub(super) fn note(&mut self, number: u64) {
        if number < self.next {
            self.come |= 1 << (self.next - 1 - number);
            return;
        }
        let ahead = number - self.next + 1;
        let shifted = u32::try_from(ahead).ok().and_then(|ahead| self.come.checked_shl(ahead));
        self.come = shifted.unwrap_or(0) | 1;
        self.next = number + 1;
    }
}

/// The nonces of the messages that have come, for as long as their times would pass; clones are the same ones.
///
/// Every node has its own. Those that share a secret in one process, such as one server's workers, should share one, or
/// what was recorded from one of them passes with another.
#[derive(Clone)]
pub struct Replays {
    window: u32,
    nonces: Arc<Mutex<Nonces>>,
}

#[derive(Default)]
struct Nonces {
    /// Times before this one do not pass any more, whatever the window says.
    open_from: u32,
    seconds: BTreeMap<u32, HashSet<u64>>,
    count: usize,
}

impl Replays {
    /// None yet; times may be five minutes from ours.
    pub fn new() -> Replays {
        Replays::within(MESSAGE_TIME_WINDOW)
    }

    /// None yet; times may be so many seconds from ours. What is recorded passes nowhere twice that long.
    pub fn within(window_s: u32) -> Replays {
        Replays { window: window_s, nonces: Arc::default() }
    }

    /// Lets the first message with this nonce and time pass at `now`.
    ///
    /// # Errors
    ///
    /// [`PluginError::Late`], [`PluginError::Crowded`], [`PluginError::Replayed`].
    pub fn admit(&self, nonce: &[u8], time: u32, now: u32) -> Result<(), PluginError> {
        in_time(time, now, self.window)?;
        // Whoever panics inside leaves them as they were before or after.
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        nonces.forget_before(now.saturating_sub(self.window));
        if !nonces.make_room(time, now) || time < nonces.open_from {
            return Err(PluginError::Crowded(now.abs_diff(time)));
        }
        nonces.admit(fingerprint(nonce), time)
    }

    /// Whether a message with this nonce and time was let pass, as far as it is remembered.
    pub(crate) fn has_admitted(&self, nonce: &[u8], time: u32) -> bool {
        let nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        nonces.seconds.get(&time).is_some_and(|second| second.contains(&fingerprint(nonce)))
    }
}

impl Nonces {
    fn admit(&mut self, nonce: u64, time: u32) -> Result<(), PluginError> {
        if !self.seconds.entry(time).or_default().insert(nonce) {
            return Err(PluginError::Replayed);
        }
        self.count += 1;
        Ok(())
    }

    /// Makes room for another of this time; false when there is none.
    fn make_room(&mut self, time: u32, now: u32) -> bool {
        if self.count < MESSAGE_NONCES {
            return true;
        }
        self.close_before(now.saturating_sub(MESSAGE_CLOCK_SLACK), MESSAGE_NONCES);
        let is_crowded = self.count >= 2 * MESSAGE_NONCES;
        if is_crowded {
            // The present second stays: what one second brings is bounded by what can be verified in it.
            self.close_before(now, 2 * MESSAGE_NONCES);
        }
        let ahead = time.saturating_sub(now);
        let most = if is_crowded { 0 } else { MESSAGE_CLOCK_SLACK };
        self.count < MESSAGE_NONCES || ahead <= most
    }

    /// Closes the oldest seconds that are before this one, as long as there are so many nonces.
    fn close_before(&mut self, time: u32, most: usize) {
        while self.count >= most && self.seconds.first_key_value().is_some_and(|(second, _)| *second < time) {
            self.close_oldest();
        }
    }

    fn forget_before(&mut self, time: u32) {
        while self.seconds.first_key_value().is_some_and(|(second, _)| *second < time) {
            self.close_oldest();
        }
    }

    fn close_oldest(&mut self) {
        let Some((second, nonces)) = self.seconds.pop_first() else { return };
        self.count -= nonces.len();
        self.open_from = self.open_from.max(second.saturating_add(1));
    }
}

/// Whether a message's time is near enough to ours.
pub(super) fn in_time(time: u32, now: u32, window: u32) -> Result<(), PluginError> {
    let apart = now.abs_diff(time);
    if apart <= window { Ok(()) } else { Err(PluginError::Late(apart)) }
}

/// Eight of a nonce's octets, which are random: two of a million messages have the same once in 10^7 runs of such.
fn fingerprint(nonce: &[u8]) -> u64 {
    let mut octets = [0; 8];
    octets.iter_mut().zip(nonce).for_each(|(octet, of_nonce)| *octet = *of_nonce);
    u64::from_be_bytes(octets)
}

impl Default for Replays {
    fn default() -> Replays {
        Replays::new()
    }
}

impl fmt::Debug for Replays {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Replays").field("window", &self.window).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(window: &mut Window, number: u64) -> bool {
        let is_new = window.is_new(number);
        if is_new {
            window.note(number);
        }
        is_new
    }

    #[test]
    fn a_stream_takes_rising_numbers_only() {
        let mut window = Window::new(Order::AsAsked);
        let taken: Vec<bool> = [0, 0, 1, 5, 4, 5, 6].map(|number| take(&mut window, number)).into();
        assert_eq!(taken, [true, false, true, true, false, false, true]);
    }

    #[test]
    fn datagrams_come_in_any_order_within_the_window_and_each_once() {
        let mut window = Window::new(Order::Any);
        assert!(take(&mut window, 200) && !take(&mut window, 200));
        assert!(!take(&mut window, 72), "128 behind");
        for number in (73..200).rev() {
            assert!(take(&mut window, number) && !take(&mut window, number), "{number}");
        }
        assert!(take(&mut window, 327) && !take(&mut window, 200), "still known");
        assert!(take(&mut window, 1 << 40) && !take(&mut window, 327));
        assert!(!take(&mut window, u64::MAX));
    }

    /// Against a set of all numbers that have come.
    #[test]
    fn a_window_takes_what_a_set_would() {
        let (mut window, mut set, mut state) = (Window::new(Order::Any), HashSet::new(), 7u64);
        let mut highest = 0;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let number = highest + (state >> 33) % 200 - (state >> 41).min(highest) % 180;
            let number = number.min(highest + 150);
            let wanted = number + MESSAGE_REPLAY_WINDOW > highest && !set.contains(&number);
            assert_eq!(take(&mut window, number), wanted, "{number} of {highest}");
            if wanted {
                set.insert(number);
                highest = highest.max(number);
            }
        }
    }

    #[test]
    fn a_nonce_passes_once_within_its_time_and_never_behind_it() {
        let replays = Replays::within(10);
        assert_eq!(replays.admit(b"nonce 1", 100, 100), Ok(()));
        assert!(replays.has_admitted(b"nonce 1", 100));
        assert!(!replays.has_admitted(b"nonce 1", 101) && !replays.has_admitted(b"nonce 2", 100));
        let shared = replays.clone();
        assert_eq!(shared.admit(b"nonce 1", 100, 105), Err(PluginError::Replayed));
        assert_eq!(replays.admit(b"nonce 2", 110, 100), Ok(()));
        assert_eq!(replays.admit(b"nonce 3", 111, 100), Err(PluginError::Late(11)));
        assert_eq!(replays.admit(b"nonce 1", 100, 111), Err(PluginError::Late(11)));
        // A clock that is set back opens nothing that was closed.
        assert_eq!(replays.admit(b"nonce 4", 120, 120), Ok(()));
        assert_eq!(replays.admit(b"nonce 1", 100, 100), Err(PluginError::Crowded(0)));
    }

    #[test]
    fn too_many_nonces_close_the_oldest_second_and_let_nothing_pass_twice() {
        let (replays, later) = (Replays::new(), 101 + MESSAGE_CLOCK_SLACK);
        for number in 0..MESSAGE_NONCES as u64 {
            assert_eq!(replays.admit(&number.to_be_bytes(), 100, 100), Ok(()));
        }
        assert_eq!(replays.admit(&u64::MAX.to_be_bytes(), later, later), Ok(()));
        let closed = Err(PluginError::Crowded(later - 100));
        assert_eq!(replays.admit(&1u64.to_be_bytes(), 100, later), closed);
        assert_eq!(replays.admit(&u64::MAX.to_be_bytes(), later, later), Err(PluginError::Replayed));
        assert_eq!(replays.nonces.lock().expect("nobody panicked").count, 1);
    }

    #[test]
    fn who_is_ahead_of_the_time_shuts_nobody_else_out() {
        let (replays, now) = (Replays::new(), 1000);
        let mut numbers = 0u64..;
        let mut next = move || numbers.next().expect("there are enough").to_be_bytes();
        for _ in 0..MESSAGE_NONCES {
            assert_eq!(replays.admit(&next(), now + 250, now), Ok(()));
        }
        assert_eq!(replays.admit(&next(), now + 251, now), Err(PluginError::Crowded(251)));
        // Those whose clocks are right, and a little wrong, for as long as that goes on.
        for now in now..now + 240 {
            for time in [now, now - MESSAGE_CLOCK_SLACK, now + MESSAGE_CLOCK_SLACK] {
                let nonce = next();
                assert_eq!(replays.admit(&nonce, time, now), Ok(()), "{time}");
                assert_eq!(replays.admit(&nonce, time, now), Err(PluginError::Replayed), "{time}");
            }
            assert_eq!(replays.admit(&next(), now + 250, now), Err(PluginError::Crowded(250)));
        }
        // What was kept of them goes when its time has come.
        assert_eq!(replays.admit(&next(), now + 506, now + 256), Ok(()));
    }

    #[test]
    fn nobody_makes_more_be_remembered_than_twice_what_may_be() {
        let (replays, now) = (Replays::new(), 1000);
        for number in 0..3 * MESSAGE_NONCES as u64 {
            let time = now - number as u32 % MESSAGE_CLOCK_SLACK;
            let _admitted_or_crowded = replays.admit(&number.to_be_bytes(), time, now);
            if number % 1024 > 0 {
                continue;
            }
            let nonces = replays.nonces.lock().expect("nobody panicked");
            let kept: usize = nonces.seconds.values().map(HashSet::len).sum();
            assert!(kept == nonces.count && kept <= 2 * MESSAGE_NONCES, "{kept}");
        }
    }
}
