//! The backend over `epoll(7)`, with an `eventfd(2)` as its doorbell and a timer as its alarm (`alarm`).
//!
//! # Why it is as it is
//!
//! - One edge-triggered registration covers both directions for the life of a source, so waiting costs no call.
//!   `EPOLL_CTL_ADD` reports the state that is already there, which is why it can be made late.
//! - `EPOLLRDHUP` and `EPOLLPRI` are always asked for: the short-read rule must not trust a short read that stopped
//!   at the end of the stream or before urgent data.
//! - A shared listener is `IN | EXCLUSIVE` and nothing else, level-triggered: the kernel refuses `EXCLUSIVE` with
//!   `RDHUP`, and an edge that a busy worker swallows would strand the connection.
//! - The doorbell is edge-triggered and its counter is never read: each write is an edge of its own. Only when
//!   the counter is full (`u64::MAX - 1`) does the ringer read it back to zero and ring again.
//! - A forked child shares the epoll instance with its parent, so a socket that it drops must not end the parent's
//!   registration: `deregister` asks for the process id first, one getpid(2) beside a call that is made anyway.
//! - `epoll_wait` counts milliseconds. A timeout with a finer part goes through `epoll_pwait2` (Linux 5.11), by its
//!   number since C libraries lack it; where the kernel or a seccomp filter refuses it, it is not asked again and
//!   timeouts are rounded up. Android's filter kills the process for calls that it does not know: there it is
//!   never tried.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use crate::limits::{SELECTOR_EVENTS_MAX, SELECTOR_WAIT_MAX};
use crate::sys::alarm::Alarm;
use crate::sys::call::{Call, cvt, fewer, retry};
use crate::sys::event::{Event, Interest, Readiness, Token};
use crate::sys::faults;

/// Whether a short read from a TCP socket means that it is drained. Edges of epoll come per arrival, so it does.
pub const SHORT_READ_RULE: bool = true;

/// Whether closing a descriptor that has no duplicate ends its registration (epoll(7), question 6).
pub const CLOSE_DEREGISTERS: bool = true;

/// Whether the end of input is told behind what was not read, and a reset behind that end: either is an edge of its own.
pub const TELLS_RESETS: bool = true;

/// Waits for many descriptors at once; see the contract in `sys/mod.rs`.
#[derive(Debug)]
pub struct Selector {
    epoll: OwnedFd,
    /// The process that made it.
    process: u32,
    doorbell: OwnedFd,
    /// What ends a wait that is to be long.
    alarm: Alarm,
    events: Box<[libc::epoll_event]>,
    /// How many of `events` the last wait filled.
    filled: usize,
    /// Whether `epoll_pwait2` may still be tried.
    fine_timeouts: Cell<bool>,
}

impl Selector {
    /// Makes a selector that takes up to `event_capacity` events in one wait (at least one).
    ///
    /// # Errors
    ///
    /// When the process or the system has no descriptors or no memory left.
    pub fn new(event_capacity: usize) -> io::Result<Selector> {
        // SAFETY: the call takes a flag and no pointer.
        let epoll = cvt(Call::Selector, || unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the descriptor was made a moment ago and nobody else knows it.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        let flags = libc::EFD_CLOEXEC | libc::EFD_NONBLOCK;
        // SAFETY: the call takes two numbers and no pointer.
        let doorbell = cvt(Call::Doorbell, || unsafe { libc::eventfd(0, flags) })?;
        // SAFETY: the descriptor was made a moment ago and nobody else knows it.
        let doorbell = unsafe { OwnedFd::from_raw_fd(doorbell) };
        let capacity = event_capacity.clamp(1, SELECTOR_EVENTS_MAX);
        let selector = Selector {
            epoll,
            process: std::process::id(),
            doorbell,
            alarm: Alarm::new()?,
            events: vec![libc::epoll_event { events: 0, u64: 0 }; capacity].into_boxed_slice(),
            filled: 0,
            fine_timeouts: Cell::new(std::env::consts::OS != "android"),
        };
        let flags = (libc::EPOLLIN | libc::EPOLLET) as u32;
        selector.control(libc::EPOLL_CTL_ADD, selector.doorbell.as_fd(), Token::DOORBELL, flags)?;
        // Nobody is told of either.
        selector.control(libc::EPOLL_CTL_ADD, selector.alarm.as_fd(), Token::DOORBELL, flags)?;
        Ok(selector)
    }

    /// The doorbell, to be rung from any thread until this selector is dropped.
    pub(crate) fn bell(&self) -> Bell {
        Bell(self.doorbell.as_raw_fd())
    }

    /// Starts to report the descriptor's edges under `token`, its present state first.
    ///
    /// # Errors
    ///
    /// `EEXIST` when it is registered already, `EPERM` when it cannot be waited for, `ENOSPC` and `ENOMEM`.
    pub fn register(&self, fd: BorrowedFd<'_>, token: Token, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, flags_of(interest))?;
        faults::registered(fd, interest);
        Ok(())
    }

    /// Nothing to do: the registration's edges come by themselves, unless an injected fault owes one.
    ///
    /// # Errors
    ///
    /// None on this backend.
    pub fn rearm(&self, fd: BorrowedFd<'_>, token: Token, _interest: Interest) -> io::Result<()> {
        match faults::settle(fd) {
            // A change of a registration reports the present state, as its beginning does.
            Some(registered) => self.control(libc::EPOLL_CTL_MOD, fd, token, flags_of(registered)),
            None => Ok(()),
        }
    }

    /// Ends the descriptor's registration.
    ///
    /// To be called before the descriptor is closed when a duplicate of it may be alive: the kernel ends a
    /// registration by itself only with the last duplicate. In a forked child it does nothing.
    ///
    /// # Errors
    ///
    /// `ENOENT` when it is not registered.
    pub fn deregister(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        if self.process != std::process::id() {
            return Ok(());
        }
        // SAFETY: both descriptors are open for the call, being borrowed; DEL ignores the event pointer, which may
        // be null since Linux 2.6.9.
        cvt(Call::Deregister, || unsafe {
            libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_DEL, fd.as_raw_fd(), ptr::null_mut())
        })?;
        Ok(())
    }

    /// Sleeps until there are events, the doorbell rings or the timeout is over (`None`: no timeout).
    ///
    /// # Errors
    ///
    /// None that a running process can meet; a signal is a wait without events.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.filled = 0;
        match self.wait_once(timeout.map(|timeout| timeout.min(SELECTOR_WAIT_MAX))) {
            Ok(filled) => {
                self.filled = filled;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The events of the last wait, the doorbell's and the alarm's left out.
    pub fn events(&self) -> impl Iterator<Item = Event> + '_ {
        self.events[..self.filled].iter().filter_map(|raw| {
            // The struct is packed on some systems: the fields are copied out, never borrowed.
            let (token, flags) = (Token(raw.u64), raw.events);
            (token != Token::DOORBELL).then(|| Event { token, readiness: readiness_of(flags) })
        })
    }

    fn control(&self, act: libc::c_int, fd: BorrowedFd<'_>, token: Token, flags: u32) -> io::Result<()> {
        let mut event = libc::epoll_event { events: flags, u64: token.0 };
        let (epoll, fd) = (self.epoll.as_raw_fd(), fd.as_raw_fd());
        // SAFETY: both descriptors are open for the call, being borrowed; the kernel copies the event, which lives
        // on this stack, before it returns.
        let control = || unsafe { libc::epoll_ctl(epoll, act, fd, &raw mut event) };
        cvt(if act == libc::EPOLL_CTL_MOD { Call::Renew } else { Call::Register }, control)?;
        Ok(())
    }

    fn wait_once(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let timeout = timeout.filter(|timeout| !self.alarm.stands_for(*timeout));
        if let Some(fine) = timeout.filter(|timeout| self.fine_timeouts.get() && needs_fine_timeout(*timeout))
        {
            match self.wait_fine(fine) {
                Err(error) if is_refused(&error) => self.fine_timeouts.set(false),
                done => return done,
            }
        }
        self.wait_coarse(timeout)
    }

    fn wait_coarse(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let (capacity, timeout_ms) = (self.capacity(), timeout.map_or(-1, rounded_up_ms));
        // SAFETY: the kernel writes at most `capacity` events, no more than the slice has that the pointer comes
        // from, and the slice is borrowed mutably until the call is over.
        let filled = cvt(Call::wait_of(timeout), || unsafe {
            libc::epoll_wait(self.epoll.as_raw_fd(), self.events.as_mut_ptr(), capacity, timeout_ms)
        })?;
        Ok(filled as usize)
    }

    fn wait_fine(&mut self, timeout: Duration) -> io::Result<usize> {
        let capacity = self.capacity();
        // Both are 64 bits wide on every target that this crate compiles for, as the kernel's struct has them; the
        // alias of the first is deprecated for musl.
        let timeout = libc::timespec {
            tv_sec: timeout.as_secs() as i64,
            tv_nsec: libc::c_long::from(timeout.subsec_nanos()),
        };
        // SAFETY: the arguments are those of epoll_pwait2(2): the kernel writes at most `capacity` events into the
        // mutably borrowed slice of that length and reads the timespec on this stack; a null signal mask of size 0
        // leaves the mask as it is.
        let filled = cvt(Call::WaitFine, || unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.epoll.as_raw_fd(),
                self.events.as_mut_ptr(),
                capacity,
                &raw const timeout,
                ptr::null::<libc::sigset_t>(),
                0_usize,
            )
        } as libc::ssize_t)?;
        Ok(filled as usize)
    }

    fn capacity(&self) -> libc::c_int {
        // At most `SELECTOR_EVENTS_MAX`.
        fewer(self.epoll.as_fd(), self.events.len()) as libc::c_int
    }
}

impl AsFd for Selector {
    /// The epoll descriptor itself: readable while a wait would find something.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// The doorbell of a selector: a number that any thread may copy and ring.
///
/// The number is only good while the selector lives. Who rings makes sure of that (`wake` counts ringers in and
/// out), since afterwards the number may be that of a stranger's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bell(RawFd);

impl Bell {
    /// The number, to be kept in an atomic.
    pub fn to_raw(self) -> i32 {
        self.0
    }

    /// The doorbell whose number `to_raw` gave.
    pub(crate) fn from_raw(raw: i32) -> Bell {
        Bell(raw)
    }

    /// Ends the selector's present or next wait. Never blocks, never allocates, never panics.
    pub fn ring(self) {
        // A write fails with `WouldBlock` only when the counter is full. Whoever sees that makes room; the loop
        // ends because room for 2^64 - 2 rings cannot be used up in between.
        while let Err(error) = self.add_one() {
            if error.kind() != io::ErrorKind::WouldBlock {
                return;
            }
            self.take_all();
        }
    }

    fn add_one(self) -> io::Result<isize> {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: the pointer is to the eight bytes on this stack that the length says.
        retry(Call::RingCounter, || unsafe { libc::write(self.0, one.as_ptr().cast(), one.len()) })
    }

    fn take_all(self) {
        let mut count = [0_u8; 8];
        let (into, length) = (count.as_mut_ptr().cast(), count.len());
        // SAFETY: the pointer is to the eight bytes on this stack that the length says.
        let taken = retry(Call::Read, || unsafe { libc::read(self.0, into, length) });
        // `WouldBlock` means that another ringer has made the room first: just as good.
        drop(taken);
    }
}

fn flags_of(interest: Interest) -> u32 {
    if interest.is_shared() {
        return (libc::EPOLLIN | libc::EPOLLEXCLUSIVE) as u32;
    }
    let mut flags = libc::EPOLLET;
    if interest.is_read() {
        flags |= libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLPRI;
    }
    if interest.is_write() {
        flags |= libc::EPOLLOUT;
    }
    flags as u32
}

fn readiness_of(flags: u32) -> Readiness {
    const FACTS: [(libc::c_int, Readiness); 6] = [
        (libc::EPOLLIN, Readiness::READABLE),
        (libc::EPOLLOUT, Readiness::WRITABLE),
        (libc::EPOLLRDHUP, Readiness::READ_CLOSED),
        // A hang-up is the end of both directions, and it is not the same as RDHUP.
        (libc::EPOLLHUP, Readiness::HANG_UP),
        (libc::EPOLLERR, Readiness::ERROR),
        (libc::EPOLLPRI, Readiness::PRIORITY),
    ];
    let mut readiness = Readiness::EMPTY;
    for (flag, fact) in FACTS {
        if flags & flag as u32 != 0 {
            readiness |= fact;
        }
    }
    readiness
}

/// Whether milliseconds cannot express the timeout.
fn needs_fine_timeout(timeout: Duration) -> bool {
    timeout.subsec_nanos() % 1_000_000 != 0
}

/// The timeout in whole milliseconds, never less than it is, and at most what the kernel takes.
fn rounded_up_ms(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
}

/// Whether the kernel does not know the call (`ENOSYS`) or a seccomp filter forbids it (`EPERM`).
fn is_refused(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_round_up_to_milliseconds_and_stop_at_what_the_kernel_takes() {
        assert_eq!(rounded_up_ms(Duration::ZERO), 0);
        assert_eq!(rounded_up_ms(Duration::from_nanos(1)), 1);
        assert_eq!(rounded_up_ms(Duration::from_millis(7)), 7);
        assert_eq!(rounded_up_ms(Duration::from_nanos(7_000_001)), 8);
        assert_eq!(rounded_up_ms(Duration::from_millis(i32::MAX as u64 + 1)), i32::MAX);
        assert_eq!(rounded_up_ms(Duration::MAX), i32::MAX);
    }

    #[test]
    fn only_parts_of_milliseconds_take_the_finer_call() {
        assert!(!needs_fine_timeout(Duration::ZERO));
        assert!(!needs_fine_timeout(Duration::from_millis(3)));
        assert!(needs_fine_timeout(Duration::from_micros(64)));
        assert!(needs_fine_timeout(Duration::from_micros(3_500)));
        assert!(!needs_fine_timeout(SELECTOR_WAIT_MAX));
    }

    #[test]
    fn without_the_finer_call_a_wait_is_rounded_up() {
        let mut selector = Selector::new(4).expect("a selector");
        selector.fine_timeouts.set(false);
        let start = std::time::Instant::now();
        selector.wait(Some(Duration::from_micros(100))).expect("a wait");
        assert!(start.elapsed() >= Duration::from_millis(1));
    }

    #[test]
    fn a_refusal_is_told_from_other_errors() {
        assert!(is_refused(&io::Error::from_raw_os_error(libc::ENOSYS)));
        assert!(is_refused(&io::Error::from_raw_os_error(libc::EPERM)));
        assert!(!is_refused(&io::Error::from_raw_os_error(libc::EINTR)));
    }

    #[test]
    fn a_hang_up_closes_both_directions_and_a_half_close_one() {
        assert_eq!(readiness_of(libc::EPOLLRDHUP as u32), Readiness::READ_CLOSED);
        let both = Readiness::READ_CLOSED | Readiness::WRITE_CLOSED;
        assert_eq!(readiness_of(libc::EPOLLHUP as u32), both);
    }
}
