//! Flow-control windows, in both directions (RFC 9113 §5.2 and §6.9).
//!
//! A sender's window falls by what is sent and rises by WINDOW_UPDATE; a change of
//! `SETTINGS_INITIAL_WINDOW_SIZE` may drive it below zero. A receiver's window gives credit back in lumps of
//! half its size: a peer can never stall as long as the application takes what it got, and an upload costs one
//! WINDOW_UPDATE for every half window.

use super::frame::MAX_STREAM_ID;

/// Largest window (RFC 9113 §6.9.1).
pub(super) const MAX_WINDOW: u32 = MAX_STREAM_ID;

/// What we may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SendWindow(i32);

/// The window would pass 2^31 − 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overflow;

impl SendWindow {
    #[inline]
    pub(super) fn new(size: u32) -> SendWindow {
        SendWindow(i32::try_from(size).unwrap_or(i32::MAX))
    }

    /// Bytes that may be sent now.
    #[inline]
    pub(super) fn available(self) -> usize {
        usize::try_from(self.0).unwrap_or(0)
    }

    /// Takes `n` bytes, which `available` allowed.
    #[inline]
    pub(super) fn take(&mut self, n: usize) {
        debug_assert!(n <= self.available());
        self.0 -= i32::try_from(n).unwrap_or(i32::MAX);
    }

    /// Adds a WINDOW_UPDATE's increment.
    #[inline]
    pub(super) fn increase(&mut self, n: u32) -> Result<(), Overflow> {
        let n = i32::try_from(n).map_err(|_| Overflow)?;
        self.0 = self.0.checked_add(n).ok_or(Overflow)?;
        Ok(())
    }

    /// Applies a change of the initial window; the result may be negative (RFC 9113 §6.9.2).
    pub(super) fn shift(&mut self, delta: i64) -> Result<(), Overflow> {
        let moved = i64::from(self.0) + delta;
        // Below -2^31 cannot happen: a window is at least -(2^31 - 1), the largest initial size taken back.
        self.0 = i32::try_from(moved).map_err(|_| Overflow)?;
        Ok(())
    }
}

/// What the peer may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReceiveWindow {
    /// Credit that the peer has.
    window: i32,
    /// Credit that the application gave back and the peer has not heard of.
    returned: u32,
}

impl ReceiveWindow {
    #[inline]
    pub(super) fn new(size: u32) -> ReceiveWindow {
        ReceiveWindow { window: i32::try_from(size).unwrap_or(i32::MAX), returned: 0 }
    }

    /// Takes what a DATA frame used up.
    #[inline]
    pub(super) fn take(&mut self, n: u32) -> Result<(), Overflow> {
        match i32::try_from(n) {
            // Nothing always fits, even when the window is negative (RFC 9113 §6.9).
            Ok(0) => Ok(()),
            Ok(n) if n <= self.window => {
                self.window -= n;
                Ok(())
            }
            _ => Err(Overflow),
        }
    }

    /// Notes that the application took `n` bytes of a message of which `left` are still to come: while the peer has
    /// credit for those, it need not hear of more.
    #[inline]
    pub(super) fn give_back_before(&mut self, left: u64, n: u32, size: u32) -> Option<u32> {
        if u64::try_from(self.window).is_ok_and(|window| left <= window) {
            self.returned = self.returned.saturating_add(n);
            return None;
        }
        self.give_back(n, size)
    }

    /// Notes that the application took `n` bytes; returns the increment when one is worth a frame.
    #[inline]
    pub(super) fn give_back(&mut self, n: u32, size: u32) -> Option<u32> {
        self.returned = self.returned.saturating_add(n);
        if self.returned >= (size / 2).max(1) { self.announce() } else { None }
    }

    /// Takes the credit that waits to be announced.
    pub(super) fn announce(&mut self) -> Option<u32> {
        let increment = self.returned;
        if increment == 0 {
            return None;
        }
        self.returned = 0;
        self.window = self.window.saturating_add(i32::try_from(increment).unwrap_or(i32::MAX));
        Some(increment)
    }

    /// Whether the peer may send nothing at all.
    #[inline]
    pub(super) fn is_closed(self) -> bool {
        self.window <= 0
    }

    /// Applies a change of our own initial window.
    pub(super) fn shift(&mut self, delta: i64) {
        let moved = i64::from(self.window) + delta;
        self.window = i32::try_from(moved).unwrap_or(if delta < 0 { i32::MIN } else { i32::MAX });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_window_never_passes_31_bits() {
        let mut window = SendWindow::new(65_535);
        assert_eq!(window.increase(MAX_WINDOW - 65_535), Ok(()));
        assert_eq!(window.increase(1), Err(Overflow));
        assert_eq!(window.increase(u32::MAX), Err(Overflow));
        assert_eq!(window.available(), MAX_WINDOW as usize);
    }

    #[test]
    fn a_shrunk_initial_window_drives_the_window_negative_and_it_recovers() {
        let mut window = SendWindow::new(65_535);
        window.take(60_000);
        assert_eq!(window.shift(-65_535), Ok(()));
        assert_eq!(window.available(), 0);
        assert_eq!(window.increase(60_010), Ok(()));
        assert_eq!(window.available(), 10);
    }

    #[test]
    fn credit_goes_back_in_halves() {
        let mut window = ReceiveWindow::new(100);
        assert_eq!(window.take(100), Ok(()));
        assert_eq!(window.take(1), Err(Overflow));
        assert_eq!(window.give_back(49, 100), None);
        assert_eq!(window.give_back(1, 100), Some(50));
        assert_eq!(window.take(50), Ok(()));
        assert_eq!(window.take(1), Err(Overflow));
    }

    #[test]
    fn no_credit_is_announced_for_what_will_not_come() {
        let mut window = ReceiveWindow::new(100);
        assert_eq!(window.take(60), Ok(()));
        assert_eq!(window.give_back_before(40, 60, 100), None);
        // Padding took some of it: now there is too little.
        assert_eq!(window.take(1), Ok(()));
        assert_eq!(window.give_back_before(40, 1, 100), Some(61));
    }

    #[test]
    fn a_window_of_one_byte_still_moves() {
        let mut window = ReceiveWindow::new(1);
        assert_eq!(window.take(1), Ok(()));
        assert_eq!(window.give_back(1, 1), Some(1));
    }
}
