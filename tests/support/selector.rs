//! What the cases of `selector_contract` are made of: sources, threads that ring, and questions to the system.

#[cfg(target_os = "linux")]
#[path = "seccomp.rs"]
mod seccomp;

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use wakering::internals::sys::{Bell, Event, Interest, Readiness, Selector, Token};

/// How long a case waits for something that must come.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// How long a case waits to see that nothing comes.
pub(super) const QUIET: Duration = Duration::from_millis(5);

// Helpers: the selector.

pub(super) fn selector() -> Selector {
    Selector::new(64).expect("a selector")
}

pub(super) fn bell_of(selector: &Selector) -> Bell {
    // SAFETY: no case rings a bell whose selector it has dropped.
    unsafe { selector.doorbell() }
}

pub(super) fn register(selector: &Selector, source: &impl AsFd, token: Token, interest: Interest) {
    selector.register(source.as_fd(), token, interest).expect("a registration");
}

pub(super) fn rearm(selector: &Selector, source: &impl AsFd, token: Token, interest: Interest) {
    selector.rearm(source.as_fd(), token, interest).expect("registered");
}

pub(super) fn wait(selector: &mut Selector, timeout: Duration) -> Vec<Event> {
    selector.wait(Some(timeout)).expect("a wait");
    selector.events().collect()
}

/// Waits until what was reported of the token is enough, and returns all of it.
pub(super) fn until(selector: &mut Selector, token: Token, enough: impl Fn(Readiness) -> bool) -> Readiness {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Readiness::EMPTY;
    while !enough(seen) {
        assert!(Instant::now() < deadline, "{token:?} reported only {seen:?}");
        for event in wait(selector, PATIENCE) {
            assert_eq!(event.token, token, "{event:?}");
            seen |= event.readiness;
        }
    }
    seen
}

/// Nothing is reported, and the wait sleeps for as long as it was told to.
pub(super) fn assert_quiet(selector: &mut Selector) {
    let start = Instant::now();
    assert_eq!(wait(selector, QUIET), []);
    assert!(start.elapsed() >= QUIET, "the wait did not sleep");
}

/// A thread that rings once the thread that made it sleeps.
pub(super) struct Ringer {
    rung: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

pub(super) fn ring_when_asleep(bell: Bell) -> Ringer {
    let rung = Arc::new(AtomicBool::new(false));
    let (flag, sleeper) = (Arc::clone(&rung), Sleeper::this_thread());
    let thread = thread::spawn(move || {
        sleeper.until_asleep();
        flag.store(true, Ordering::SeqCst);
        bell.ring();
    });
    Ringer { rung, thread }
}

impl Ringer {
    pub(super) fn was_rung(self) -> bool {
        let was_rung = self.rung.load(Ordering::SeqCst);
        self.thread.join().expect("the ringer");
        was_rung
    }
}

/// A thread that somebody wants to see asleep.
pub(super) struct Sleeper {
    stat: Option<String>,
}

impl Sleeper {
    pub(super) fn this_thread() -> Sleeper {
        let own = fs::read_link("/proc/thread-self").ok();
        Sleeper { stat: own.map(|path| format!("/proc/{}/stat", path.display())) }
    }

    /// Returns when the thread sleeps, and at once where the system does not tell.
    pub(super) fn until_asleep(&self) {
        let Some(stat) = &self.stat else { return };
        loop {
            // `pid (name) state …`, and a name may hold anything.
            let text = fs::read_to_string(stat).expect("the thread lives");
            if text.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S')) {
                return;
            }
            thread::yield_now();
        }
    }
}

// Helpers: sources.

pub(super) fn unix_pair() -> (UnixStream, UnixStream) {
    let (near, far) = UnixStream::pair().expect("a pair");
    near.set_nonblocking(true).expect("non-blocking");
    far.set_nonblocking(true).expect("non-blocking");
    (near, far)
}

pub(super) fn tcp_listener() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    listener.set_nonblocking(true).expect("non-blocking");
    listener
}

pub(super) fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let near = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
    let (far, _) = listener.accept().expect("the connection");
    near.set_nonblocking(true).expect("non-blocking");
    far.set_nonblocking(true).expect("non-blocking");
    (near, far)
}

pub(super) fn pipe() -> (OwnedFd, OwnedFd) {
    let mut ends = [-1; 2];
    // SAFETY: the pointer is to the two integers that the call fills.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    // SAFETY: the call has just made both descriptors, and nobody else knows them.
    ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) }).into()
}

pub(super) fn fill(stream: &mut impl Write) {
    while let Ok(count) = stream.write(&[0; 4096]) {
        assert!(count > 0);
    }
}

pub(super) fn drain(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return bytes,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return bytes,
            Err(error) => panic!("{error}"),
        }
    }
}

// Helpers: the system.

pub(super) fn open_descriptors() -> Vec<RawFd> {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let mut numbers: Vec<RawFd> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    // The directory that was read is among them and is closed by now.
    // SAFETY: the call takes numbers and no pointer.
    numbers.retain(|number| unsafe { libc::fcntl(*number, libc::F_GETFD) } != -1);
    numbers.sort_unstable();
    numbers
}

pub(super) fn write_all_of(number: RawFd, bytes: &[u8]) {
    // SAFETY: the pointer and the length are those of one slice.
    let count = unsafe { libc::write(number, bytes.as_ptr().cast(), bytes.len()) };
    assert_eq!(count, bytes.len() as isize);
}

pub(super) fn send_urgent(stream: &TcpStream) {
    // SAFETY: the pointer is to one byte, as the length says.
    let count = unsafe { libc::send(stream.as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB) };
    assert_eq!(count, 1);
}

pub(super) fn unacknowledged(stream: &TcpStream) -> libc::c_int {
    let mut count = 0;
    // SAFETY: the request writes one integer, to which the pointer is.
    assert_eq!(unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) }, 0);
    count
}

pub(super) fn is_readable(fd: BorrowedFd<'_>) -> bool {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: the pointer is to one struct, as the count says.
    unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
}

/// Whether a descriptor is open and will not survive `exec`.
pub(super) fn closes_on_exec(number: RawFd) -> bool {
    // SAFETY: the call takes numbers and no pointer.
    unsafe { libc::fcntl(number, libc::F_GETFD) == libc::FD_CLOEXEC }
}

static SIGNALS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count_signal(_signal: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// A signal to one thread whose handler only counts, so that it interrupts what the thread does.
pub(super) struct Signal {
    target: libc::pthread_t,
}

impl Signal {
    /// The handler is installed, and the calling thread is the one to be interrupted: it must outlive this value.
    pub(super) fn for_this_thread() -> Signal {
        // SAFETY: zeroes are an empty action: no flags (so that waits are interrupted), no mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = count_signal as *const () as usize;
        // SAFETY: the handler only adds to an atomic; the pointers are to this stack or null.
        assert_eq!(unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) }, 0);
        // SAFETY: the call has no precondition.
        Signal { target: unsafe { libc::pthread_self() } }
    }

    pub(super) fn send(&self) {
        // SAFETY: the thread is alive: it joins the one that sends.
        assert_eq!(unsafe { libc::pthread_kill(self.target, libc::SIGUSR1) }, 0);
    }

    pub(super) fn arrived() -> bool {
        SIGNALS.load(Ordering::Relaxed) > 0
    }
}

/// Runs the act in a forked child, which ends without returning, and returns the child's exit code.
pub(super) fn in_forked_child(act: impl FnOnce()) -> libc::c_int {
    // SAFETY: the child only runs the act, which drops and closes, and ends without unwinding into the test.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
        // SAFETY: the call ends the process.
        unsafe { libc::_exit(i32::from(outcome.is_err())) };
    }
    let mut status = 0;
    // SAFETY: the pointer is to one integer; the child is this process's own and not waited for elsewhere.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -1 }
}

/// Lets the system refuse one call to the calling thread, with this error, from now on.
#[cfg(target_os = "linux")]
pub(super) fn refuse_call(number: libc::c_long, errno: libc::c_int) {
    seccomp::refuse(number..=number, None, errno);
}

/// Only Linux has the call that is refused.
#[cfg(not(target_os = "linux"))]
pub(super) fn refuse_call(_number: libc::c_long, _errno: libc::c_int) {}
