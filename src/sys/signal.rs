//! Signals, by the self-pipe: the handler counts the delivery and writes a byte that ends a selector's wait.
//!
//! A signal handler may do next to nothing, see signal-safety(7): not lock, not allocate, not wake. This one
//! adds to an atomic counter and calls `write`, and leaves `errno` as it was. Everything else happens later,
//! on a thread that reads the pipe.
//!
//! There is one pipe for the whole process. It is opened with the first listener and never closed: a handler
//! may be between reading the descriptor's number and writing to it at any time, and the number must not
//! belong to another file by then. When the last listener of a signal is gone, the former disposition is
//! put back.
//!
//! A forked child inherits the pipe, which is the parent's: its handler does not write, and its first listener
//! opens another.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::{io, mem, ptr};

use libc::c_int;

use super::call::{Call, attempt, cvt, shorten};
use super::descriptor::duplicate;
use super::{open, os, process_id};
use crate::contain::wake_contained;
use crate::slab::{Key, Slab};

pub(crate) use libc::{
    SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGIO, SIGPIPE, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH,
};

/// Signal numbers are below this on every system that we know; others are refused.
const SIGNALS: usize = 128;

/// Raised by what a thread itself does: the same instruction is at fault again when the handler returns.
const FAULTS: [c_int; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL];

/// How often each signal has come since the process began, wrapping.
static DELIVERIES: [AtomicU32; SIGNALS] = [const { AtomicU32::new(0) }; SIGNALS];

/// The pipe's end for the handler, and the process that opened it.
static WRITE_END: AtomicI32 = AtomicI32::new(-1);
static PROCESS: AtomicU32 = AtomicU32::new(0);

static REGISTRY: Mutex<Registry> =
    Mutex::new(Registry { read_end: None, signals: [const { Listened::NO }; SIGNALS] });

/// Who waits for a signal, in the whole process. There is one pipe, and whoever empties it wakes them all.
static WAITING: Mutex<Slab<Waker>> = Mutex::new(Slab::new());

struct Registry {
    read_end: Option<OwnedFd>,
    signals: [Listened; SIGNALS],
}

struct Listened {
    listeners: usize,
    /// What the signal did before we listened.
    former: Option<libc::sigaction>,
}

impl Listened {
    const NO: Listened = Listened { listeners: 0, former: None };
}

/// Listens to one signal until it is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    signal: c_int,
    /// The count up to which deliveries have been taken.
    taken: u32,
}

impl Listener {
    /// Installs the handler, unless another listener of this signal has done so.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a signal that cannot be caught or must not be, and what pipe(2) says.
    pub(crate) fn new(signal: c_int) -> io::Result<Listener> {
        let slot = usize::try_from(signal).ok().filter(|slot| (1..SIGNALS).contains(slot));
        let Some(slot) = slot.filter(|_| !FAULTS.contains(&signal)) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("signal {signal} cannot be listened to"),
            ));
        };
        let mut registry = registry();
        registry.open_pipe()?;
        let taken = DELIVERIES[slot].load(Ordering::Relaxed);
        let listened = &mut registry.signals[slot];
        if listened.listeners == 0 {
            listened.former = Some(set_action(signal, &our_action())?);
        }
        listened.listeners += 1;
        Ok(Listener { signal, taken })
    }

    /// Which signal it listens to.
    pub(crate) fn signal(&self) -> c_int {
        self.signal
    }

    /// Takes the deliveries that have come since the last call; false if there were none.
    pub(crate) fn take(&mut self) -> bool {
        // PAIRS: `handle`. The pipe orders the two where the reader of the byte looks here for the first
        // time; one who looks earlier or later finds the byte still there, or is told by who read it.
        let count = DELIVERIES[self.signal as usize].load(Ordering::Acquire);
        mem::replace(&mut self.taken, count) != count
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let listened = &mut registry().signals[self.signal as usize];
        listened.listeners -= 1;
        if listened.listeners > 0 {
            return;
        }
        let Some(former) = listened.former.take() else { return };
        // Somebody may have installed a handler of his own in the meantime: that one stays. A failure
        // leaves our handler in place, which then counts for nobody.
        if let Ok(current) = set_action(self.signal, &former) {
            if current.sa_sigaction != our_action().sa_sigaction {
                drop(set_action(self.signal, &current));
            }
        }
    }
}

/// A descriptor of its own for the pipe's read end: each worker that listens registers one.
///
/// # Errors
///
/// What fcntl(2) says; `NotFound` while nobody listens.
pub(crate) fn read_end() -> io::Result<OwnedFd> {
    match &registry().read_end {
        Some(read_end) => duplicate(read_end.as_fd()),
        None => Err(io::ErrorKind::NotFound.into()),
    }
}

/// Empties the pipe, and wakes everybody who waits for a signal, to look each at his own.
///
/// # Errors
///
/// `WouldBlock` if there is nothing in it.
pub(crate) fn drain(pipe: BorrowedFd<'_>) -> io::Result<()> {
    let mut bytes = [0_u8; 128];
    let (number, mut emptied) = (pipe.as_raw_fd(), false);
    loop {
        let length = shorten(pipe, bytes.len());
        // SAFETY: there are at least `length` bytes behind the pointer, and they outlive the call.
        match attempt(Call::Read, pipe, || unsafe { libc::read(number, bytes.as_mut_ptr().cast(), length) }) {
            Ok(_) => emptied = true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && emptied => {
                wake_all();
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
}

/// Puts the waker where whoever empties the pipe finds it; `place` is the caller's among those who wait.
pub(crate) fn wait(place: &mut Option<Key>, waker: &Waker) {
    let mut waiting = waiting();
    let former = match place.and_then(|place| waiting.get_mut(place)) {
        Some(known) if known.will_wake(waker) => None,
        Some(known) => Some(mem::replace(known, waker.clone())),
        None => {
            *place = Some(waiting.insert(waker.clone()));
            None
        }
    };
    // A waker's destructor is foreign code: not under the lock.
    drop(waiting);
    drop(former);
}

/// Takes the place back.
pub(crate) fn leave(place: Option<Key>) {
    let waker = place.and_then(|place| waiting().remove(place));
    drop(waker);
}

fn waiting() -> MutexGuard<'static, Slab<Waker>> {
    // A waker's `clone` may panic under it; the table is whole all the same.
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake_all() {
    let wakers: Vec<Waker> = waiting().iter().map(|(_, waker)| waker.clone()).collect();
    wakers.into_iter().for_each(wake_contained);
}

impl Registry {
    fn open_pipe(&mut self) -> io::Result<()> {
        let process = process_id();
        if self.read_end.is_some() && PROCESS.load(Ordering::Relaxed) == process {
            return Ok(());
        }
        let (read_end, write_end) = open::pipe()?;
        self.read_end = Some(read_end);
        // Never closed, see above. Release: a handler that sees the number sees the process too.
        PROCESS.store(process, Ordering::Relaxed);
        WRITE_END.store(write_end.into_raw_fd(), Ordering::Release); // PAIRS: handle
        Ok(())
    }
}

fn registry() -> MutexGuard<'static, Registry> {
    // Nothing panics while it is held half changed.
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The handler. Async-signal-safe: two atomics, getpid, write, and `errno` put back.
extern "C" fn handle(signal: c_int) {
    let Some(deliveries) = DELIVERIES.get(signal as usize) else { return };
    deliveries.fetch_add(1, Ordering::Release); // PAIRS: Listener::take
    let pipe = WRITE_END.load(Ordering::Acquire); // PAIRS: Registry::open_pipe
    if PROCESS.load(Ordering::Relaxed) != process_id() {
        return;
    }
    // SAFETY: the call has no preconditions.
    let errno = unsafe { os::errno_location() };
    // SAFETY: the C library gives every thread an `errno` of its own, valid as long as the thread runs. No reference to it
    // is made, since the call below writes it by a pointer of its own.
    let saved = unsafe { errno.read() };
    // A full pipe refuses the byte: then there are enough in it to be noticed.
    // SAFETY: one byte is read from a static; the descriptor is never closed.
    unsafe { libc::write(pipe, ptr::from_ref(&0_u8).cast(), 1) };
    // SAFETY: as above.
    unsafe { errno.write(saved) };
}

/// Interrupted calls go on by themselves; a thread with a signal stack of its own gets the signal there.
fn our_action() -> libc::sigaction {
    // SAFETY: `sigaction` holds integers, a set of integers and at most a nullable pointer.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = handle as extern "C" fn(c_int) as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: the pointer is to a set that we own.
    unsafe { libc::sigemptyset(&raw mut action.sa_mask) };
    action
}

/// sigaction(2): sets a signal's disposition and returns the former one.
fn set_action(signal: c_int, action: &libc::sigaction) -> io::Result<libc::sigaction> {
    // SAFETY: as in `our_action`.
    let mut former: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: both pointers are to whole `sigaction`s that outlive the call. The handler in `action` is either
    // ours, which is async-signal-safe, or was installed by somebody before.
    cvt(Call::SignalAction, || unsafe { libc::sigaction(signal, ptr::from_ref(action), &raw mut former) })?;
    Ok(former)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    /// Signals that nothing else in this test binary uses. One test owns one signal: dispositions are global.
    const FIRST: c_int = SIGWINCH;
    const SECOND: c_int = SIGIO;

    fn raise(signal: c_int) {
        // SAFETY: raise takes an integer and touches no memory of ours.
        let failed = unsafe { libc::raise(signal) };
        assert_eq!(failed, 0);
    }

    #[test]
    fn a_delivery_is_counted_for_every_listener_and_leaves_a_byte_in_the_pipe() {
        let mut one = Listener::new(FIRST).unwrap();
        let mut two = Listener::new(FIRST).unwrap();
        assert!(!one.take());
        raise(FIRST);
        assert!(one.take() && !one.take() && two.take());
        // Another test may drain the same pipe; then it had a byte of its own to find.
        match drain(read_end().unwrap().as_fd()) {
            Ok(()) => {}
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }

    #[test]
    fn the_former_disposition_is_back_when_the_last_listener_is_gone() {
        let before = set_action(SECOND, &our_action()).unwrap();
        set_action(SECOND, &before).unwrap();
        let one = Listener::new(SECOND).unwrap();
        let two = Listener::new(SECOND).unwrap();
        drop(one);
        let meanwhile = set_action(SECOND, &our_action()).unwrap();
        assert_eq!(meanwhile.sa_sigaction, our_action().sa_sigaction);
        drop(two);
        let after = set_action(SECOND, &before).unwrap();
        assert_eq!(after.sa_sigaction, before.sa_sigaction);
    }

    #[test]
    fn what_cannot_be_caught_is_refused() {
        for signal in [libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, 0, -1, 127, 100_000] {
            let refused = Listener::new(signal).expect_err("it cannot be listened to");
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{signal}");
        }
    }

    #[test]
    fn the_pipe_is_closed_on_exec_and_does_not_block() {
        let _listener = Listener::new(libc::SIGURG).unwrap();
        for fd in [read_end().unwrap().as_raw_fd(), WRITE_END.load(Ordering::Relaxed)] {
            // SAFETY: F_GETFD takes no third argument and touches no memory.
            let descriptor = cvt(Call::Flags, || unsafe { libc::fcntl(fd, libc::F_GETFD) }).unwrap();
            // SAFETY: F_GETFL takes no third argument and touches no memory.
            let file = cvt(Call::Flags, || unsafe { libc::fcntl(fd, libc::F_GETFL) }).unwrap();
            assert_ne!(descriptor & libc::FD_CLOEXEC, 0);
            assert_ne!(file & libc::O_NONBLOCK, 0);
        }
    }

    #[test]
    fn the_handler_leaves_errno_alone() {
        let _listener = Listener::new(libc::SIGTSTP).unwrap();
        // SAFETY: as in `handle`.
        let errno = unsafe { os::errno_location() };
        // SAFETY: as in `handle`.
        unsafe { *errno = 77 };
        raise(libc::SIGTSTP);
        assert_eq!(io::Error::last_os_error().raw_os_error(), Some(77));
    }
}
