//! Every system call of this crate goes through here, by its name.
//!
//! The habits that all calls share: −1 means "look at `errno`", and `EINTR` means "again". Because each says which
//! [`Call`] it is, `--cfg wakering_faults` can make it fail as the kernel might (`faults.rs`); in a build without
//! that flag the names compile to nothing.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::faults;

pub(super) use super::faults::{fewer, shorten};

/// Which system call is made, or which use of one where the uses may fail differently.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Call {
    /// accept4(2), accept(2).
    Accept,
    /// timerfd_create(2).
    Alarm,
    /// bind(2).
    Bind,
    /// ioctl(2) of an epoll descriptor.
    BusyPoll,
    /// Changes of a kqueue: kevent(2), which has applied them when it is interrupted. Also the fallback's arming anew.
    Change,
    /// connect(2).
    Connect,
    /// Ends a registration: epoll_ctl(2).
    Deregister,
    /// eventfd(2), or what else a doorbell is made of.
    Doorbell,
    /// fcntl(2), of a new descriptor.
    Flags,
    /// A copy of a descriptor, close-on-exec: fcntl(2), dup(2).
    Duplicate,
    /// getsockopt(2).
    GetOption,
    /// listen(2).
    Listen,
    /// flock(2).
    Lock,
    /// getsockname(2).
    LocalAddr,
    /// getpeername(2).
    PeerAddr,
    /// pipe2(2), pipe(2).
    Pipe,
    /// sched_setaffinity(2).
    Pin,
    /// if_nametoindex(3).
    InterfaceIndex,
    /// read(2) of a pipe or a doorbell.
    Read,
    /// recv(2), readv(2) of a socket.
    Recv,
    /// recvmsg(2).
    RecvMessage,
    /// recvmmsg(2).
    RecvMany,
    /// Begins a registration: epoll_ctl(2), and what the fallback makes of it.
    Register,
    /// Has a registration report its state again: epoll_ctl(2), which cannot fail for want of anything then.
    Renew,
    /// write(2) to an eventfd: a ring of the doorbell, of which the kernel refuses one when the counter is full.
    RingCounter,
    /// A ring of a doorbell of another kind.
    Ring,
    /// epoll_create1(2), kqueue(2).
    Selector,
    /// send(2).
    Send,
    /// sendmsg(2), sendto(2).
    SendMessage,
    /// sendmmsg(2).
    SendMany,
    /// timerfd_settime(2).
    SetAlarm,
    /// setsockopt(2).
    SetOption,
    /// shutdown(2).
    Shutdown,
    /// sigaction(2).
    SignalAction,
    /// socket(2).
    Socket,
    /// A wait that may not sleep, which therefore no signal interrupts: epoll_wait(2), kevent(2).
    Look,
    /// epoll_wait(2), kevent(2) without changes.
    Wait,
    /// epoll_pwait2(2), which old kernels lack and some filters refuse.
    WaitFine,
}

impl Call {
    /// A wait of at most so long.
    pub(crate) fn wait_of(timeout: Option<Duration>) -> Call {
        if timeout == Some(Duration::ZERO) { Call::Look } else { Call::Wait }
    }
}

/// The integer types that system calls answer with.
pub(crate) trait Answer: Copy {
    /// Whether the call failed and `errno` says why.
    fn is_failure(self) -> bool;
}

impl Answer for libc::c_int {
    fn is_failure(self) -> bool {
        self == -1
    }
}

impl Answer for libc::ssize_t {
    fn is_failure(self) -> bool {
        self == -1
    }
}

/// Makes a call once; an answer that is a failure becomes `errno` as an error.
pub(crate) fn cvt<T: Answer>(call: Call, make: impl FnOnce() -> T) -> io::Result<T> {
    faults::before(call)?;
    let answer = make();
    let answer = if answer.is_failure() { Err(io::Error::last_os_error()) } else { Ok(answer) };
    faults::after(call, answer)
}

/// Makes a call again for as long as a signal interrupts it.
///
/// Not for `close`, `connect` and waits: the first has already let the descriptor go, the second goes on by itself,
/// and the time left of a wait has to be reckoned anew.
pub(crate) fn retry<T: Answer>(call: Call, mut make: impl FnMut() -> T) -> io::Result<T> {
    loop {
        match cvt(call, &mut make) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// As [`retry`], for a call that moves something through the non-blocking descriptor `fd` and says `WouldBlock`
/// when it cannot.
pub(crate) fn attempt<T: Answer>(call: Call, fd: BorrowedFd<'_>, make: impl FnMut() -> T) -> io::Result<T> {
    faults::would_block(call, fd)?;
    retry(call, make)
}

/// Asks before a call that the standard library or a crate makes for us: an error is what that call would have said.
pub(crate) fn permit(call: Call) -> io::Result<()> {
    faults::before(call)
}
