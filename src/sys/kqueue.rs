//! The backend over `kqueue(2)`, with an `EVFILT_USER` event as its doorbell.
//!
//! # Why it is as it is
//!
//! - Reading and writing are two knotes of their own, so a source that becomes ready both ways is two events.
//! - Changes carry `EV_RECEIPT`: each is answered for itself by an event with `EV_ERROR`, whose `data` is the error
//!   and 0 for success. A kernel that returns `EINTR` has applied the changes, so that is no error.
//! - The doorbell is added with `EV_CLEAR`, which takes its trigger back when the event is delivered. Ringing sends
//!   `NOTE_TRIGGER` with no flag at all: `EV_ADD` without `EV_CLEAR` would make the event level-triggered on some
//!   systems (a busy loop), and `EV_CLEAR` beside `NOTE_TRIGGER` takes the trigger back at once on FreeBSD, NetBSD
//!   and OpenBSD (a lost ring).
//! - A kqueue cannot tell that a descriptor is registered already: the second registration replaces the first's
//!   token. It has no exclusive wake-up either: every worker that shares a listener is woken, and no way to see
//!   urgent data, which is why a short read must not count as drained here.
//! - `fork` does not hand a kqueue to the child, where its number may soon be another file's: there it is not closed, and
//!   nothing is deregistered.

use std::io;
use std::mem::{self, ManuallyDrop};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use self::abi::{Change, Count, Filter, Flags};
#[cfg(wakering_kqueue)]
use self::library as abi;
#[cfg(not(wakering_kqueue))]
use self::native as abi;
use crate::limits::{SELECTOR_EVENTS_MAX, SELECTOR_WAIT_MAX};
use crate::sys::call::{Call, cvt, fewer, retry};
use crate::sys::event::{Event, Interest, Readiness, Token};
use crate::sys::faults;

/// Whether a short read from a TCP socket means that it is drained: not where urgent data cannot be seen.
pub const SHORT_READ_RULE: bool = false;

/// Whether closing a descriptor that has no duplicate ends its registration.
pub const CLOSE_DEREGISTERS: bool = true;

/// Whether the end of input is told behind what was not read, and a reset behind that end: either is an edge of its own.
pub const TELLS_RESETS: bool = true;

/// Waits for many descriptors at once; see the contract in `sys/mod.rs`.
pub struct Selector {
    queue: ManuallyDrop<OwnedFd>,
    /// The process that made it.
    process: u32,
    events: Box<[Change]>,
    /// How many of `events` the last wait filled.
    filled: usize,
}

// SAFETY: the only field that is not `Send` by itself is the user data pointer in the events, which is a number in
// disguise and never dereferenced.
unsafe impl Send for Selector {}

impl Selector {
    /// Makes a selector that takes up to `event_capacity` events in one wait (at least one).
    ///
    /// # Errors
    ///
    /// When the process or the system has no descriptors or no memory left.
    pub fn new(event_capacity: usize) -> io::Result<Selector> {
        // SAFETY: the call takes no argument.
        let queue = cvt(Call::Selector, || unsafe { abi::kqueue() })?;
        // SAFETY: the descriptor was made a moment ago and nobody else knows it.
        let queue = unsafe { OwnedFd::from_raw_fd(queue) };
        // SAFETY: the call takes numbers and no pointer.
        cvt(Call::Flags, || unsafe { libc::fcntl(queue.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) })?;
        let capacity = event_capacity.clamp(1, SELECTOR_EVENTS_MAX);
        let events = (0..capacity).map(|_| change(0, 0, 0, Token(0))).collect();
        let (queue, process) = (ManuallyDrop::new(queue), std::process::id());
        let selector = Selector { queue, process, events, filled: 0 };
        let flags = abi::EV_ADD | abi::EV_CLEAR;
        selector.apply(&mut [change(0, abi::EVFILT_USER, flags, Token::DOORBELL)])?;
        Ok(selector)
    }

    /// The doorbell, to be rung from any thread until this selector is dropped.
    pub(crate) fn bell(&self) -> Bell {
        Bell(self.queue.as_raw_fd())
    }

    /// Starts to report the descriptor's edges under `token`, its present state first.
    ///
    /// # Errors
    ///
    /// `EINVAL` and the like when the descriptor cannot be waited for, `ENOMEM`.
    pub fn register(&self, fd: BorrowedFd<'_>, token: Token, interest: Interest) -> io::Result<()> {
        let ident = fd.as_raw_fd() as usize;
        let edge = if interest.is_shared() { 0 } else { abi::EV_CLEAR };
        let flags = abi::EV_ADD | edge;
        if interest.is_read() {
            self.apply(&mut [change(ident, abi::EVFILT_READ, flags, token)])?;
        }
        if interest.is_write() {
            let added = self.apply(&mut [change(ident, abi::EVFILT_WRITE, flags, token)]);
            if let Err(error) = added {
                self.deregister(fd)?;
                return Err(error);
            }
        }
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
            // Adding a knote again looks at the present state again.
            Some(registered) => self.register(fd, token, registered),
            None => Ok(()),
        }
    }

    /// Ends the descriptor's registration, in whichever directions it has one. In a forked child it does nothing.
    ///
    /// # Errors
    ///
    /// None that an open descriptor can meet; one that is not registered is no error here.
    pub fn deregister(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        if self.process != std::process::id() {
            return Ok(());
        }
        let ident = fd.as_raw_fd() as usize;
        let token = Token(0);
        self.apply(&mut [
            change(ident, abi::EVFILT_READ, abi::EV_DELETE, token),
            change(ident, abi::EVFILT_WRITE, abi::EV_DELETE, token),
        ])
    }

    /// Sleeps until there are events, the doorbell rings or the timeout is over (`None`: no timeout).
    ///
    /// # Errors
    ///
    /// None that a running process can meet; a signal is a wait without events.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.filled = 0;
        let call = Call::wait_of(timeout);
        let timeout = timeout.map(|timeout| timespec_of(timeout.min(SELECTOR_WAIT_MAX)));
        let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
        let capacity = fewer(self.queue.as_fd(), self.events.len()) as Count;
        // SAFETY: no changes are passed; the kernel writes at most `capacity` events, no more than the mutably borrowed
        // slice has; the timeout is null or points to a timespec on this stack.
        let filled = cvt(call, || unsafe {
            abi::kevent(self.queue.as_raw_fd(), ptr::null(), 0, self.events.as_mut_ptr(), capacity, timeout)
        });
        match filled {
            Ok(filled) => {
                self.filled = filled as usize;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The events of the last wait, the doorbell's left out.
    pub fn events(&self) -> impl Iterator<Item = Event> + '_ {
        self.events[..self.filled]
            .iter()
            .filter(|raw| raw.filter != abi::EVFILT_USER)
            .map(|raw| Event { token: Token(raw.udata.addr() as u64), readiness: readiness_of(raw) })
    }

    /// Applies the changes, each for itself, and reports the first that failed.
    fn apply(&self, changes: &mut [Change]) -> io::Result<()> {
        for change in &mut *changes {
            change.flags |= abi::EV_RECEIPT;
        }
        let (queue, count, list) = (self.queue.as_raw_fd(), changes.len() as Count, changes.as_mut_ptr());
        // SAFETY: both lists are the same `count` initialised structs, mutably borrowed; the kernel has read a
        // change before it overwrites it with its receipt, and for receipts it does not wait.
        let apply = || unsafe { abi::kevent(queue, list, count, list, count, ptr::null()) };
        let receipts = cvt(Call::Change, apply);
        match receipts {
            Ok(receipts) => changes.iter().take(receipts as usize).try_for_each(check_receipt),
            // The changes have been applied all the same.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Selector {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            // SAFETY: nobody uses the descriptor after this, since the selector is being dropped.
            unsafe { ManuallyDrop::drop(&mut self.queue) };
        }
    }
}

impl AsFd for Selector {
    /// The kqueue itself: readable while a wait would find something.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}

impl std::fmt::Debug for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Selector").field("queue", &self.queue).finish_non_exhaustive()
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
        let mut trigger = change(0, abi::EVFILT_USER, 0, Token::DOORBELL);
        trigger.fflags = abi::NOTE_TRIGGER;
        let rung = retry(Call::Ring, || {
            // SAFETY: one initialised change on this stack is read, and no events are asked for, so that nothing is
            // waited for.
            unsafe { abi::kevent(self.0, &raw const trigger, 1, ptr::null_mut(), 0, ptr::null()) }
        });
        // It can only fail for a selector that is gone, and then nobody is to be woken.
        drop(rung);
    }
}

fn change(ident: usize, filter: Filter, flags: Flags, token: Token) -> Change {
    // SAFETY: the struct holds integers and one pointer, for all of which zero is a value. Some systems have more
    // fields than are named below, which must be zero.
    let mut change: Change = unsafe { mem::zeroed() };
    change.ident = ident;
    change.filter = filter;
    change.flags = flags;
    change.udata = ptr::without_provenance_mut(token.0 as usize);
    change
}

/// An answer with error 0 is success. What is not there cannot be deleted, which is as good; and `EPIPE` is what
/// macOS says of a pipe whose other end is closed: the knote is there and reports the end.
fn check_receipt(receipt: &Change) -> io::Result<()> {
    if receipt.flags & abi::EV_ERROR == 0 {
        return Ok(());
    }
    match receipt.data as i32 {
        0 | libc::ENOENT | libc::EPIPE => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

fn readiness_of(raw: &Change) -> Readiness {
    let (mut readiness, closed) = if raw.filter == abi::EVFILT_WRITE {
        (Readiness::WRITABLE, Readiness::WRITE_CLOSED)
    } else {
        (Readiness::READABLE, Readiness::READ_CLOSED)
    };
    if raw.flags & abi::EV_EOF != 0 {
        readiness |= closed;
        // With the end comes the socket's pending error, if it has one.
        if raw.fflags != 0 {
            readiness |= Readiness::ERROR;
        }
    }
    if raw.flags & abi::EV_ERROR != 0 {
        readiness |= Readiness::ERROR;
    }
    readiness
}

fn timespec_of(timeout: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: timeout.as_secs() as libc::time_t,
        tv_nsec: libc::c_long::from(timeout.subsec_nanos()),
    }
}

/// What the system's own kqueue looks like. NetBSD has wider filters, flags and counts than the others.
#[cfg(not(wakering_kqueue))]
mod native {
    pub(super) use libc::{
        EV_ADD, EV_CLEAR, EV_DELETE, EV_EOF, EV_ERROR, EV_RECEIPT, EVFILT_READ, EVFILT_USER, EVFILT_WRITE,
        NOTE_TRIGGER, kevent, kqueue,
    };

    pub(super) use self::width::{Count, Filter, Flags};

    pub(super) type Change = libc::kevent;

    #[cfg(target_os = "netbsd")]
    mod width {
        pub(in super::super) type Filter = u32;
        pub(in super::super) type Flags = u32;
        pub(in super::super) type Count = libc::size_t;
    }

    #[cfg(not(target_os = "netbsd"))]
    mod width {
        pub(in super::super) type Filter = i16;
        pub(in super::super) type Flags = u16;
        pub(in super::super) type Count = libc::c_int;
    }
}

/// A kqueue that a library makes on a system without one of its own, in FreeBSD's numbers.
#[cfg(wakering_kqueue)]
mod library {
    use std::ffi::{c_int, c_void};

    pub(super) type Filter = i16;
    pub(super) type Flags = u16;
    pub(super) type Count = c_int;

    pub(super) const EVFILT_READ: Filter = -1;
    pub(super) const EVFILT_WRITE: Filter = -2;
    pub(super) const EVFILT_USER: Filter = -11;
    pub(super) const EV_ADD: Flags = 0x1;
    pub(super) const EV_DELETE: Flags = 0x2;
    pub(super) const EV_CLEAR: Flags = 0x20;
    pub(super) const EV_RECEIPT: Flags = 0x40;
    pub(super) const EV_ERROR: Flags = 0x4000;
    pub(super) const EV_EOF: Flags = 0x8000;
    pub(super) const NOTE_TRIGGER: u32 = 0x0100_0000;

    #[repr(C)]
    pub(super) struct Change {
        pub(super) ident: usize,
        pub(super) filter: Filter,
        pub(super) flags: Flags,
        pub(super) fflags: u32,
        pub(super) data: isize,
        pub(super) udata: *mut c_void,
    }

    #[link(name = "kqueue")]
    unsafe extern "C" {
        pub(super) fn kqueue() -> c_int;
        pub(super) fn kevent(
            queue: c_int,
            changes: *const Change,
            change_count: Count,
            events: *mut Change,
            event_count: Count,
            timeout: *const libc::timespec,
        ) -> c_int;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_with_error_zero_is_success_and_an_absent_knote_may_be_deleted() {
        let mut receipt = change(3, abi::EVFILT_READ, abi::EV_ERROR, Token(1));
        check_receipt(&receipt).expect("data 0");
        receipt.data = libc::ENOENT as _;
        check_receipt(&receipt).expect("not there");
        receipt.data = libc::ENOMEM as _;
        assert_eq!(check_receipt(&receipt).expect_err("no memory").raw_os_error(), Some(libc::ENOMEM));
    }

    #[test]
    fn the_end_of_a_direction_closes_that_direction_alone() {
        let read = readiness_of(&change(3, abi::EVFILT_READ, abi::EV_EOF, Token(1)));
        assert_eq!(read, Readiness::READABLE | Readiness::READ_CLOSED);
        let write = readiness_of(&change(3, abi::EVFILT_WRITE, abi::EV_EOF, Token(1)));
        assert_eq!(write, Readiness::WRITABLE | Readiness::WRITE_CLOSED);
    }

    #[test]
    fn the_error_that_comes_with_the_end_is_reported() {
        let mut raw = change(3, abi::EVFILT_WRITE, abi::EV_EOF, Token(1));
        raw.fflags = libc::ECONNREFUSED as u32;
        assert!(readiness_of(&raw).contains(Readiness::ERROR));
    }
}
