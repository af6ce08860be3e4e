//! The backend over the `polling` crate, for systems with neither epoll nor kqueue.
//!
//! # Why it is as it is
//!
//! - Every registration is one-shot, the one mode that `polling` has everywhere. What is armed is kept in a table:
//!   an event of one direction disarms both, so the other is armed again at once, or its waiter would be deaf.
//!   `rearm` arms a direction that has been reported.
//! - A shared listener is armed again after each event, which makes it level-triggered.
//! - The poller's key is the descriptor's number, and the table gives its token: events are translated inside `wait`,
//!   while the number still means what it meant when it was armed.
//! - The doorbell is a pair of connected sockets. A ring writes a byte; a full buffer means that enough rings are on
//!   their way. `wait` empties it, then arms it again, so a ring in between is seen.
//! - Half-close is not told apart from data, urgent data and a hang-up only on some systems: the short-read rule is off.
//! - A descriptor is to be deregistered before it is closed: not every system forgets it by itself.
//! - Dropping a poller takes its own timer and notifier off the kernel's list, which a forked child shares with its
//!   parent. In a child the poller is therefore not dropped; its three descriptors stay open until it execs or ends.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{self, Read};
use std::mem::ManuallyDrop;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use polling::{PollMode, Poller};

use crate::limits::{SELECTOR_EVENTS_MAX, SELECTOR_WAIT_MAX};
use crate::sys::call::{Call, fewer, permit, retry};
use crate::sys::event::{Event, Interest, Readiness, Token};
use crate::sys::faults;

/// Whether a short read from a TCP socket means that it is drained: not here, where half-closes go unseen.
pub const SHORT_READ_RULE: bool = false;

/// Whether closing a descriptor that has no duplicate ends its registration.
pub const CLOSE_DEREGISTERS: bool = false;

/// Whether the end of input is told behind what was not read, and a reset behind that end: no, whoever waits is told again and
/// again that something can be read.
pub const TELLS_RESETS: bool = false;

/// Waits for many descriptors at once; see the contract in `sys/mod.rs`.
#[derive(Debug)]
pub struct Selector {
    poller: ManuallyDrop<Poller>,
    /// The process that made the poller.
    process: u32,
    /// What the poller filled in the last wait.
    raw_events: polling::Events,
    /// The same, translated.
    events: Vec<Event>,
    table: RefCell<HashMap<RawFd, Registration>>,
    doorbell: UnixStream,
    ringer: UnixStream,
}

/// What the table knows of a descriptor.
#[derive(Clone, Copy, Debug)]
struct Registration {
    token: Token,
    armed: Armed,
    /// Level-triggered: armed again after each event.
    shared: bool,
}

/// The directions that the poller will report next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Armed {
    read: bool,
    write: bool,
}

impl Armed {
    fn of(interest: Interest) -> Armed {
        Armed { read: interest.is_read(), write: interest.is_write() }
    }

    fn with(self, interest: Interest) -> Armed {
        Armed { read: self.read || interest.is_read(), write: self.write || interest.is_write() }
    }

    fn without(self, readiness: Readiness) -> Armed {
        Armed { read: self.read && !readiness.wakes_reader(), write: self.write && !readiness.wakes_writer() }
    }

    fn is_none(self) -> bool {
        !self.read && !self.write
    }

    fn interest_in(self, fd: RawFd) -> polling::Event {
        polling::Event::new(key_of(fd), self.read, self.write)
    }
}

impl Selector {
    /// Makes a selector that takes up to `event_capacity` events in one wait (at least one).
    ///
    /// # Errors
    ///
    /// When the process or the system has no descriptors or no memory left.
    pub fn new(event_capacity: usize) -> io::Result<Selector> {
        permit(Call::Doorbell)?;
        let (doorbell, ringer) = UnixStream::pair()?;
        doorbell.set_nonblocking(true)?;
        ringer.set_nonblocking(true)?;
        let capacity = event_capacity.clamp(1, SELECTOR_EVENTS_MAX);
        permit(Call::Selector)?;
        let selector = Selector {
            poller: ManuallyDrop::new(Poller::new()?),
            process: std::process::id(),
            raw_events: polling::Events::with_capacity(NonZeroUsize::MIN.saturating_add(capacity - 1)),
            events: Vec::with_capacity(capacity),
            table: RefCell::new(HashMap::new()),
            doorbell,
            ringer,
        };
        let interest = polling::Event::readable(key_of(selector.doorbell.as_raw_fd()));
        selector.add(selector.doorbell.as_fd(), interest)?;
        Ok(selector)
    }

    /// The doorbell, to be rung from any thread until this selector is dropped.
    pub(crate) fn bell(&self) -> Bell {
        Bell(self.ringer.as_raw_fd())
    }

    /// Arms the descriptor under `token`: its present state is reported first.
    ///
    /// # Errors
    ///
    /// `EEXIST` when it is registered already, `EPERM` when it cannot be waited for, `ENOSPC` and `ENOMEM`.
    pub fn register(&self, fd: BorrowedFd<'_>, token: Token, interest: Interest) -> io::Result<()> {
        let number = fd.as_raw_fd();
        let armed = Armed::of(interest);
        self.add(fd, armed.interest_in(number))?;
        faults::registered(fd, interest);
        let registration = Registration { token, armed, shared: interest.is_shared() };
        // A number whose descriptor was closed without being deregistered may still stand in the table.
        self.table.borrow_mut().insert(number, registration);
        Ok(())
    }

    /// Arms directions that have been reported, beside those that are armed still.
    ///
    /// # Errors
    ///
    /// `ENOENT` when the descriptor is not registered.
    pub fn rearm(&self, fd: BorrowedFd<'_>, token: Token, interest: Interest) -> io::Result<()> {
        // Arming reports the present state, which is all that an injected fault may owe.
        faults::settle(fd);
        let mut table = self.table.borrow_mut();
        let Some(registration) = table.get_mut(&fd.as_raw_fd()).filter(|entry| entry.token == token) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let armed = registration.armed.with(interest);
        if armed != registration.armed {
            permit(Call::Change)?;
            self.arm(fd, armed)?;
            registration.armed = armed;
        }
        Ok(())
    }

    /// Ends the descriptor's registration. On this backend it must be called before the descriptor is closed. In a forked
    /// child, whose poller is its parent's, it does nothing.
    ///
    /// # Errors
    ///
    /// `ENOENT` when it is not registered.
    pub fn deregister(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.table.borrow_mut().remove(&fd.as_raw_fd());
        if self.process == std::process::id() { self.poller.delete(fd) } else { Ok(()) }
    }

    /// Sleeps until there are events, the doorbell rings or the timeout is over (`None`: no timeout).
    ///
    /// # Errors
    ///
    /// None that a running process can meet; a signal does not end the wait.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.raw_events.clear();
        self.events.clear();
        let timeout = timeout.map(|timeout| timeout.min(SELECTOR_WAIT_MAX));
        match permit(Call::wait_of(timeout)) {
            // As a signal would: the crate itself waits on.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            permitted => permitted?,
        }
        self.poller.wait(&mut self.raw_events, timeout)?;
        let doorbell = key_of(self.doorbell.as_raw_fd());
        let mut rung = false;
        for raw in self.raw_events.iter() {
            if raw.key == doorbell {
                rung = true;
            } else if let Some(event) = self.take(&raw)? {
                self.events.push(event);
            }
        }
        if rung { self.answer_doorbell() } else { Ok(()) }
    }

    /// The events of the last wait, the doorbell's left out.
    pub fn events(&self) -> impl Iterator<Item = Event> + '_ {
        self.events.iter().copied()
    }

    /// Translates one event and arms what it disarmed without reporting it.
    fn take(&self, raw: &polling::Event) -> io::Result<Option<Event>> {
        let number = raw.key as RawFd;
        let mut table = self.table.borrow_mut();
        let Entry::Occupied(mut entry) = table.entry(number) else {
            return Ok(None);
        };
        let readiness = readiness_of(raw);
        let registration = entry.get_mut();
        if !registration.shared {
            registration.armed = registration.armed.without(readiness);
        }
        let Registration { token, armed, .. } = *registration;
        if !armed.is_none() {
            // SAFETY: the number is in the table, therefore registered and, by the contract of this backend, open
            // until it is deregistered; nobody else runs on this thread while it is borrowed.
            let fd = unsafe { BorrowedFd::borrow_raw(number) };
            match self.arm(fd, armed) {
                // A duplicate of a descriptor that was closed without being deregistered: nothing to arm.
                Err(error) if is_gone(&error) => drop(entry.remove()),
                other => other?,
            }
        }
        Ok(Some(Event { token, readiness }))
    }

    fn answer_doorbell(&self) -> io::Result<()> {
        let mut rings = [0_u8; 256];
        loop {
            let room = fewer(self.doorbell.as_fd(), rings.len());
            match permit(Call::Read).and_then(|()| (&self.doorbell).read(&mut rings[..room])) {
                Ok(count) if count == room => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => break,
            }
        }
        self.arm(self.doorbell.as_fd(), Armed { read: true, write: false })
    }

    fn add(&self, fd: BorrowedFd<'_>, interest: polling::Event) -> io::Result<()> {
        permit(Call::Register)?;
        // SAFETY: by the contract the source is deregistered before it is closed (`CLOSE_DEREGISTERS` is false), and
        // the doorbell, which this struct owns, is closed after its `drop` has dropped the poller.
        unsafe { self.poller.add_with_mode(fd.as_raw_fd(), interest, PollMode::Oneshot) }
    }

    fn arm(&self, fd: BorrowedFd<'_>, armed: Armed) -> io::Result<()> {
        self.poller.modify_with_mode(fd, armed.interest_in(fd.as_raw_fd()), PollMode::Oneshot)
    }
}

impl Drop for Selector {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            // SAFETY: nobody uses the poller after this, since the selector is being dropped.
            unsafe { ManuallyDrop::drop(&mut self.poller) };
        }
    }
}

impl AsFd for Selector {
    /// The poller's own descriptor: readable while a wait would find something.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
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
        let ring = 1_u8;
        // SAFETY: the pointer is to the one byte on this stack that the length says.
        let rung = retry(Call::Ring, || unsafe { libc::write(self.0, (&raw const ring).cast(), 1) });
        // A full buffer holds rings enough, and a selector that is gone has nobody to wake.
        drop(rung);
    }
}

/// The poller's key of a descriptor. It is never the one that the poller keeps for itself (`usize::MAX`), since an
/// open descriptor's number is not negative.
fn key_of(fd: RawFd) -> usize {
    fd as usize
}

fn readiness_of(raw: &polling::Event) -> Readiness {
    let facts = [
        (raw.readable, Readiness::READABLE),
        (raw.writable, Readiness::WRITABLE),
        (raw.is_interrupt(), Readiness::HANG_UP),
        (raw.is_priority(), Readiness::PRIORITY),
        (raw.is_err() == Some(true), Readiness::ERROR),
    ];
    let mut readiness = Readiness::EMPTY;
    for (is_so, fact) in facts {
        if is_so {
            readiness |= fact;
        }
    }
    readiness
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EBADF))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_one_direction_leaves_the_other_armed() {
        let both = Armed::of(Interest::BOTH);
        let left = both.without(Readiness::WRITABLE);
        assert_eq!(left, Armed { read: true, write: false });
        assert_eq!(left.with(Interest::WRITE), both);
        assert!(both.without(Readiness::HANG_UP).is_none());
    }
}
