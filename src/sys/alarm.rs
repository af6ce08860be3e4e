//! An alarm that ends a selector's waits, over `timerfd_create(2)`.
//!
//! A timeout of `epoll_wait` is a timer that the kernel starts before each sleep and cancels behind it, and where a
//! hypervisor keeps the clock's interrupt both are dear: 0.7 µs a sleep, a thirtieth of what a request with 64 KiB of
//! content costs. A server has nearly always some deadline that is seconds away, and sleeps a thousand times before
//! it comes. So an alarm is set for such a deadline once and stays: whoever sleeps for longer sleeps without timeout.
//!
//! An alarm that is nearer than the deadline (that one was put off, or given up) goes off for nothing, once, and is set
//! anew by the next sleep. That is why it is not for deadlines that are near: each would cost a call to set it.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use crate::clock::{Clock, nanos};
use crate::sys::call::{Call, cvt};

/// The shortest sleep that has an alarm. What comes sooner is met more often than it is put off.
const LEAST: Duration = Duration::from_millis(10);

/// One alarm, which is readable when it has gone off.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: OwnedFd,
    /// When it goes off, by the system's monotonic clock; in the past when it has.
    at: Cell<u64>,
}

impl Alarm {
    /// Makes an alarm that is not set.
    ///
    /// # Errors
    ///
    /// When the process or the system has no descriptors or no memory left.
    pub(super) fn new() -> io::Result<Alarm> {
        let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
        // SAFETY: the call takes two numbers and no pointer.
        let timer = cvt(Call::Alarm, || unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) })?;
        // SAFETY: the descriptor was made a moment ago and nobody else knows it.
        let timer = unsafe { OwnedFd::from_raw_fd(timer) };
        Ok(Alarm { timer, at: Cell::new(0) })
    }

    /// Whether it goes off before `after` has passed, so that a sleep needs no timeout: it is set where that is worth it.
    pub(super) fn stands_for(&self, after: Duration) -> bool {
        if after < LEAST {
            return false;
        }
        let now = Clock::real().now();
        let due = now.saturating_add(nanos(after));
        let at = self.at.get();
        if now < at && at <= due {
            return true;
        }
        let set = self.set(after).is_ok();
        self.at.set(if set { due } else { 0 });
        set
    }

    fn set(&self, after: Duration) -> io::Result<()> {
        let once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // As wide as the kernel's on every target that this crate compiles for; the alias is deprecated for musl.
        let first = libc::timespec {
            tv_sec: after.as_secs() as i64,
            tv_nsec: libc::c_long::from(after.subsec_nanos()),
        };
        let time = libc::itimerspec { it_interval: once, it_value: first };
        let timer = self.timer.as_raw_fd();
        // SAFETY: the descriptor is this alarm's and open; the kernel reads the new time, which lives on this stack, and is
        // told by null that the old one is not asked for.
        cvt(Call::SetAlarm, || unsafe { libc::timerfd_settime(timer, 0, &raw const time, ptr::null_mut()) })?;
        Ok(())
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn an_alarm_that_is_set_for_earlier_is_left_alone() {
        let alarm = Alarm::new().expect("an alarm");
        assert!(alarm.stands_for(HOUR));
        let set = alarm.at.get();
        assert!(alarm.stands_for(2 * HOUR) && alarm.stands_for(HOUR));
        assert_eq!(alarm.at.get(), set);
        assert!(alarm.stands_for(HOUR / 2));
        assert!(alarm.at.get() < set);
    }

    #[test]
    fn an_alarm_that_has_gone_off_is_set_anew() {
        let alarm = Alarm::new().expect("an alarm");
        assert!(alarm.stands_for(LEAST));
        let gone = alarm.at.get();
        while Clock::real().now() < gone {}
        assert!(alarm.stands_for(HOUR));
        assert!(alarm.at.get() > gone);
    }
}
