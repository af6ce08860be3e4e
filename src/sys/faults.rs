//! Faults on demand: with `--cfg wakering_faults`, any call of `sys` may fail as the kernel might let it fail.
//!
//! | variable | meaning |
//! |---|---|
//! | `WAKERING_FAULTS_SEED` | the course of the faults, a number; by default one that nobody knows, printed at the start |
//! | `WAKERING_FAULTS_RATE` | of a hundred calls so many fail, at most 50; by default 10 |
//!
//! Each thread throws dice of its own, seeded with its name, so a test that runs in one thread meets the same faults
//! with the same seed as long as it makes the same calls. A panic prints the seed and the thread's last faults.
//!
//! # What is injected
//!
//! By default only what the crate must hide from its callers (`fault_table.rs`): the suite runs as it always does.
//! A test that asks for refusals ([`refuse`]) also gets, on its own thread, what callers are shown: `EMFILE`, `ENFILE`,
//! `ENOBUFS`, `ENOMEM`, `ENOSPC`.
//!
//! Every fault is a history that the kernel could have written:
//!
//! - **`EINTR`** comes before the call does anything: a signal came first. connect(2) goes on after it and kevent(2) has
//!   applied its changes, so for these two the call is made, and the answer replaced. A wait that is interrupted has
//!   not slept: callers are woken too early. One that may not sleep is not interrupted: it says what is there.
//! - **Fewer messages, buffers or events** than there are: as many as were there a moment before.
//! - **Short reads and writes** of streams: the length is cut before the call, so nothing is lost. For a read the history
//!   is that the rest came a moment later, for a write that the buffer had so much room. Datagrams are never cut.
//! - **`EAGAIN`**: nothing was there, it came a moment later. Nothing else makes it legal on a ready descriptor. Not of
//!   accept(2): it is a listener's evidence, when it stops, that all are served who had queued before.
//!
//! In the last two the kernel would send an edge for what "came later", and an edge-triggered selector that has reported
//! already would not: a reader that believes the short-read rule, as it should, would wait for ever. So whoever cuts or
//! refuses *owes* the descriptor an edge. The reactor calls `Selector::rearm` whenever somebody begins to wait, and
//! only then does an edge matter; there the selector asks [`settle`] and, if one is owed, renews the registration, which
//! reports the present state (`EPOLL_CTL_MOD`, `EV_ADD`; arming the one-shot fallback does it by itself). A descriptor
//! that is not registered yet reports its state when it is. A shared listener is level-triggered and is owed nothing.
//!
//! Never injected: anything in the signal handler, where thread-locals are out of bounds; a lost ring of a doorbell;
//! `EAGAIN` on the fallback's doorbell, which would mean that its buffer is full of rings; errors of close(2).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::OnceLock;
use std::{env, mem, panic, ptr, thread};

use super::call::Call;
use super::event::Interest;
use super::fault_table::{Dice, afterwards, hidden, may_block_early, shown};

/// Whether this build injects faults.
pub const ON: bool = true;

/// How many of a thread's last faults are told when it panics.
const TOLD: usize = 24;

/// What the environment says, or the defaults.
#[derive(Clone, Copy)]
struct Settings {
    seed: u64,
    percent: u32,
}

static SETTINGS: OnceLock<Settings> = OnceLock::new();

thread_local! {
    static INJECTOR: Injector = Injector::new(settings());
}

/// One thread's dice, and what it remembers.
struct Injector {
    dice: Cell<Dice>,
    percent: u32,
    /// Of a hundred calls so many are refused with an error that callers are shown.
    refusals: Cell<u32>,
    count: Cell<usize>,
    last: Cell<[Option<Fault>; TOLD]>,
    edges: RefCell<HashMap<RawFd, Edges>>,
}

/// One fault, for the report.
#[derive(Clone, Copy)]
enum Fault {
    Error(Call, libc::c_int),
    Blocked(Call, RawFd),
    Cut(RawFd, usize, usize),
}

/// What is known of a descriptor's registration.
#[derive(Clone, Copy, Default)]
struct Edges {
    interest: Option<Interest>,
    owed: bool,
}

/// From now on this thread's calls may also be refused with errors that callers are shown, so many of a hundred.
pub fn refuse(percent: u32) {
    with(|it| it.refusals.set(percent.min(50)));
}

/// Fails a call in the kernel's place, before it is made.
pub(super) fn before(call: Call) -> io::Result<()> {
    let error = with(|it| {
        let refused = it.throw(it.refusals.get()).then(|| it.pick(shown(call))).flatten();
        refused.or_else(|| it.throw(it.percent).then(|| it.pick(hidden(call))).flatten())
    });
    match error.flatten() {
        Some(error) => Err(fail(call, error)),
        None => Ok(()),
    }
}

/// Replaces the answer of a call that has been made, where an interruption does not undo it.
pub(super) fn after<T>(call: Call, answer: io::Result<T>) -> io::Result<T> {
    let begun = match &answer {
        Ok(_) => true,
        Err(error) => error.raw_os_error() == Some(libc::EINPROGRESS),
    };
    match afterwards(call) {
        Some(error) if begun && with(|it| it.throw(it.percent)) == Some(true) => Err(fail(call, error)),
        Some(_) | None => answer,
    }
}

/// Refuses a try on a descriptor with `EAGAIN`, and owes it an edge.
pub(super) fn would_block(call: Call, fd: BorrowedFd<'_>) -> io::Result<()> {
    let number = fd.as_raw_fd();
    with(|it| {
        let blocks = may_block_early(call) && it.throw(it.percent);
        if blocks {
            it.note(Fault::Blocked(call, number));
            it.owe(number);
        }
        blocks
    })
    .filter(|blocks| *blocks)
    .map_or(Ok(()), |_| Err(io::Error::from_raw_os_error(libc::EAGAIN)))
}

/// How many bytes (or buffers) of `length` to ask for or to offer: for a stream, often fewer, and at most all.
pub(super) fn shorten(fd: BorrowedFd<'_>, length: usize) -> usize {
    if is_stream(fd) { fewer(fd, length) } else { length }
}

/// How many of `count` messages or events to ask for or to offer: often fewer, at most all.
pub(super) fn fewer(fd: BorrowedFd<'_>, count: usize) -> usize {
    let number = fd.as_raw_fd();
    let cut = with(|it| {
        if count < 2 || !it.throw(it.percent) {
            return count;
        }
        let fewer = it.roll(|dice| dice.shorter_than(count));
        it.note(Fault::Cut(number, count, fewer));
        it.owe(number);
        fewer
    });
    cut.unwrap_or(count).min(count)
}

/// Remembers how a descriptor is registered, so that its registration can be renewed.
pub(super) fn registered(fd: BorrowedFd<'_>, interest: Interest) {
    with(|it| {
        let edges = Edges { interest: Some(interest), owed: false };
        it.edges.borrow_mut().insert(fd.as_raw_fd(), edges);
    });
}

/// Whether the descriptor is owed an edge: then its registration is to be renewed, with the interest that it has.
pub(super) fn settle(fd: BorrowedFd<'_>) -> Option<Interest> {
    with(|it| {
        let mut edges = it.edges.borrow_mut();
        let edges = edges.get_mut(&fd.as_raw_fd())?;
        let owed = mem::take(&mut edges.owed);
        edges.interest.filter(|interest| owed && !interest.is_shared())
    })
    .flatten()
}

impl Injector {
    fn new(settings: Settings) -> Injector {
        Injector {
            dice: Cell::new(Dice(settings.seed ^ name_of_thread())),
            percent: settings.percent,
            refusals: Cell::new(0),
            count: Cell::new(0),
            last: Cell::new([None; TOLD]),
            edges: RefCell::default(),
        }
    }

    fn roll<R>(&self, throw: impl FnOnce(&mut Dice) -> R) -> R {
        let mut dice = self.dice.get();
        let rolled = throw(&mut dice);
        self.dice.set(dice);
        rolled
    }

    fn throw(&self, percent: u32) -> bool {
        self.roll(|dice| dice.falls(percent))
    }

    fn pick(&self, errors: &[libc::c_int]) -> Option<libc::c_int> {
        self.roll(|dice| dice.pick(errors))
    }

    fn owe(&self, fd: RawFd) {
        self.edges.borrow_mut().entry(fd).or_default().owed = true;
    }

    fn note(&self, fault: Fault) {
        let (count, mut last) = (self.count.get(), self.last.get());
        last[count % TOLD] = Some(fault);
        self.last.set(last);
        self.count.set(count + 1);
    }
}

/// The thread's injector; none while the thread's locals are being dropped, when nothing fails on demand any more.
fn with<R>(act: impl FnOnce(&Injector) -> R) -> Option<R> {
    INJECTOR.try_with(act).ok()
}

fn fail(call: Call, error: libc::c_int) -> io::Error {
    with(|it| it.note(Fault::Error(call, error)));
    io::Error::from_raw_os_error(error)
}

/// Whether bytes of the descriptor have no boundaries: a stream socket, or what is no socket.
fn is_stream(fd: BorrowedFd<'_>) -> bool {
    let mut kind: libc::c_int = 0;
    let mut length = mem::size_of_val(&kind) as libc::socklen_t;
    let room = ptr::from_mut(&mut kind).cast();
    // SAFETY: `room` points to `length` writable bytes of `kind`, for which any bytes are a value.
    let answer =
        unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_TYPE, room, &raw mut length) };
    answer == -1 || kind == libc::SOCK_STREAM
}

/// The same number for the same name, so that a test meets its faults again whatever runs beside it.
fn name_of_thread() -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in thread::current().name().unwrap_or_default().bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

fn settings() -> Settings {
    *SETTINGS.get_or_init(|| {
        let number = |name| env::var(name).ok().and_then(|value: String| value.trim().parse::<u64>().ok());
        let seed =
            number("WAKERING_FAULTS_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish());
        let percent = number("WAKERING_FAULTS_RATE").unwrap_or(10).min(50) as u32;
        let settings = Settings { seed, percent };
        say(&format!("{settings}\n"));
        let former = panic::take_hook();
        panic::set_hook(Box::new(move |about| {
            former(about);
            say(&report(settings));
        }));
        settings
    })
}

/// Past the capture of the test harness, which keeps what a killed program had printed.
fn say(text: &str) {
    // Without a standard error there is nobody to tell.
    drop(io::stderr().write_all(text.as_bytes()));
}

fn report(settings: Settings) -> String {
    let thread = thread::current();
    let mut text = format!("{settings}; thread {}", thread.name().unwrap_or("without a name"));
    with(|it| {
        let (count, last) = (it.count.get(), it.last.get());
        text.push_str(&format!(": {count} faults, the last"));
        for fault in (count.saturating_sub(TOLD)..count).filter_map(|at| last[at % TOLD]) {
            text.push_str(&format!(", {fault}"));
        }
    });
    text.push('\n');
    text
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WAKERING_FAULTS_SEED={} WAKERING_FAULTS_RATE={}", self.seed, self.percent)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Fault::Error(call, error) => write!(f, "{call:?}: {}", io::Error::from_raw_os_error(error)),
            Fault::Blocked(call, fd) => write!(f, "{call:?} of {fd} would block"),
            Fault::Cut(fd, from, to) => write!(f, "{to} instead of {from} of {fd}"),
        }
    }
}
