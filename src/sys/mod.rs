//! The operating system: the only home of `libc`, and the contract that every selector backend keeps.
//!
//! A worker owns one [`Selector`] and nobody else touches it. What other threads get is its doorbell, a [`Bell`]:
//! a number that can be copied, and rung from anywhere to end the selector's sleep.
//!
//! # The contract
//!
//! 1. `Selector::new(event_capacity)` makes the selector and its doorbell. Every descriptor in it is close-on-exec.
//! 2. `register(fd, token, interest)` reports the state that is present already as well as every later edge, so a
//!    source may be registered after a try on it said `WouldBlock`: no edge is lost between the two. A second
//!    registration of one descriptor is a mistake, and an error where the kernel can tell (not kqueue). What cannot
//!    be waited for (a regular file, on epoll) is `EPERM`.
//! 3. An edge is reported once. A reader that has not drained the source to `WouldBlock` (or to a short read, where
//!    [`SHORT_READ_RULE`] says so) must remember that the source is still ready: it is not told again.
//!    [`Interest::READ_SHARED`] alone is level-triggered: it is for listeners that several workers share.
//! 4. `rearm(fd, token, interest)` is called when a readiness flag is cleared while somebody waits for it. It does
//!    nothing where edges come by themselves and is what makes the fallback report again. It adds to what is armed.
//! 5. `deregister(fd)` ends the registration. Events of it that the last `wait` has already fetched are still
//!    iterated over; a token's generation tells the reactor that they are stale.
//! 6. `wait(timeout)` never returns before its timeout without a cause, where a signal, the doorbell and the
//!    longest timeout that the kernel can express (24 days) are causes, and the alarm of an earlier wait that another cause
//!    has ended: callers look at their clock. A positive
//!    timeout never becomes a busy zero. More events than the capacity come with the next wait.
//! 7. The doorbell's events end a wait and are never among `events()`. Rings coalesce; a ring before the wait counts.
//! 8. The error of a wait is the caller's mistake or exhaustion; `EINTR` is a wait without events.
//!
//! Closing a descriptor that nobody duplicated ends its registration where [`CLOSE_DEREGISTERS`] says so; elsewhere, and
//! for descriptors that were lent out, `deregister` comes first.
//!
//! Where [`TELLS_RESETS`] says so, the end of input is reported also while something before it was not read, and a connection
//! that is reset after its end was read is reported once more, as an error.
//!
//! Dropping a selector closes its descriptors and deregisters nothing, and in a forked child `deregister` does nothing,
//! so that the child may drop selector and sources and leave its parent's registrations alone.
//!
//! # The backends
//!
//! `epoll` on Linux and Android, `kqueue` on macOS and the BSDs, and `fallback`, over the `polling` crate, elsewhere.
//! `--cfg wakering_fallback` forces the last one, `--cfg wakering_kqueue` builds kqueue on a system that has it as a
//! library. This file is the one place that chooses. `docs/platforms.md` lists what is run and what is only compiled.

pub(crate) mod addr;
mod affinity;
pub(crate) mod batch;
mod busy_poll;
mod call;
mod control;
pub(crate) mod describe;
pub(crate) mod descriptor;
mod event;
pub(crate) mod inherit;
pub(crate) mod lock;
pub(crate) mod message;
pub(crate) mod options;
pub(crate) mod packet;
pub(crate) mod signal;
pub(crate) mod sigpipe;
pub(crate) mod socket;
#[cfg(any(feature = "hyper", feature = "tokio-io"))]
pub(crate) mod spare;
#[cfg(feature = "hyper")]
mod spare_hyper;
#[cfg(feature = "tokio-io")]
mod spare_tokio;
pub(crate) mod tcp;
pub(crate) mod unix;
mod unix_addr;

// Constants that differ from system to system.
#[cfg(any(target_os = "netbsd", target_os = "dragonfly"))]
#[path = "os_bsd.rs"]
mod os;
#[cfg(target_os = "freebsd")]
#[path = "os_freebsd.rs"]
mod os;
#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "os_linux.rs"]
mod os;
#[cfg(target_os = "openbsd")]
#[path = "os_openbsd.rs"]
mod os;
#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "dragonfly",
    target_os = "openbsd",
    target_vendor = "apple"
)))]
#[path = "os_other.rs"]
mod os;

// Files and sockets to sockets, without a way through our memory.
#[cfg(target_vendor = "apple")]
#[path = "sendfile_apple.rs"]
pub(crate) mod sendfile;
#[cfg(any(target_os = "freebsd", target_os = "dragonfly"))]
#[path = "sendfile_freebsd.rs"]
pub(crate) mod sendfile;
#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "sendfile_linux.rs"]
pub(crate) mod sendfile;
#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_os = "freebsd",
    target_os = "dragonfly",
    target_vendor = "apple"
)))]
#[path = "sendfile_none.rs"]
pub(crate) mod sendfile;
#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "splice_linux.rs"]
pub(crate) mod splice;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[path = "splice_none.rs"]
pub(crate) mod splice;

#[cfg(all(target_os = "linux", not(any(wakering_fallback, wakering_kqueue))))]
#[path = "zero_copy_linux.rs"]
pub(crate) mod zero_copy;
#[cfg(not(all(target_os = "linux", not(any(wakering_fallback, wakering_kqueue)))))]
#[path = "zero_copy_none.rs"]
pub(crate) mod zero_copy;

// Which TCP options there are.
#[cfg(any(target_vendor = "apple", target_os = "freebsd", target_os = "netbsd", target_os = "dragonfly"))]
#[path = "tcp_bsd.rs"]
mod tcp_os;
#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "tcp_linux.rs"]
mod tcp_os;
#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "dragonfly"
)))]
#[path = "tcp_other.rs"]
mod tcp_os;

// What of Unix sockets differs from system to system.
#[cfg(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly"
))]
#[path = "unix_bsd.rs"]
mod unix_os;
#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "unix_linux.rs"]
mod unix_os;
#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly"
)))]
#[path = "unix_other.rs"]
mod unix_os;

// What the options and control messages of datagrams are called.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "packet_linux.rs"]
mod packet_os;
#[cfg(target_vendor = "apple")]
#[path = "packet_apple.rs"]
mod packet_os;
#[cfg(target_os = "freebsd")]
#[path = "packet_freebsd.rs"]
mod packet_os;
#[cfg(any(target_os = "netbsd", target_os = "openbsd", target_os = "dragonfly"))]
#[path = "packet_bsd.rs"]
mod packet_os;
#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "dragonfly",
    target_os = "openbsd",
    target_vendor = "apple"
)))]
#[path = "packet_other.rs"]
mod packet_os;

// The errors that a datagram socket keeps.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "error_queue_linux.rs"]
pub(crate) mod error_queue;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[path = "error_queue_none.rs"]
pub(crate) mod error_queue;

// How many datagrams go in one call. The fallback is the way of the other systems, so that its suite tests it here.
#[cfg(all(any(target_os = "linux", target_os = "android"), not(wakering_fallback)))]
#[path = "many_linux.rs"]
mod many;
#[cfg(not(all(any(target_os = "linux", target_os = "android"), not(wakering_fallback))))]
#[path = "many_portable.rs"]
mod many;

// How a socket or a pipe comes into being close-on-exec and non-blocking: with flags, or in steps.
#[cfg(target_vendor = "apple")]
#[path = "open_apple.rs"]
mod open;
#[cfg(not(target_vendor = "apple"))]
#[path = "open_flags.rs"]
mod open;
#[cfg(target_vendor = "apple")]
#[path = "os_apple.rs"]
mod os;

// What makes calls fail on demand.
#[cfg(any(test, wakering_faults))]
mod fault_table;
#[cfg(wakering_faults)]
pub(crate) mod faults;
#[cfg(not(wakering_faults))]
#[path = "no_faults.rs"]
pub(crate) mod faults;

// Who gets a connection, of several listeners on one port.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "steering_linux.rs"]
pub(crate) mod steering;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[path = "steering_none.rs"]
pub(crate) mod steering;

// The backend. `polling` is a dependency (`Cargo.toml`) under the same condition as `fallback` here.
#[cfg(all(any(target_os = "linux", target_os = "android"), not(any(wakering_fallback, wakering_kqueue))))]
mod alarm;
#[cfg(all(any(target_os = "linux", target_os = "android"), not(any(wakering_fallback, wakering_kqueue))))]
#[path = "epoll.rs"]
mod backend;
#[cfg(all(
    any(
        wakering_kqueue,
        target_os = "macos",
        target_os = "ios",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd",
        target_os = "dragonfly"
    ),
    not(wakering_fallback)
))]
#[path = "kqueue.rs"]
mod backend;
#[cfg(any(
    wakering_fallback,
    not(any(
        wakering_kqueue,
        target_os = "linux",
        target_os = "android",
        target_os = "macos",
        target_os = "ios",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd",
        target_os = "dragonfly"
    ))
))]
#[path = "fallback.rs"]
mod backend;

pub(crate) use affinity::Processors;
pub use affinity::pin_to_cpu;
pub use backend::{Bell, CLOSE_DEREGISTERS, SHORT_READ_RULE, Selector, TELLS_RESETS};
pub(crate) use busy_poll::busy_poll;
pub use call::Call;
pub use event::{Event, Interest, Readiness, Token};

impl Selector {
    /// The doorbell, for tests and benches of this crate, which have no way to the crate's own
    /// [`bell`](Selector::bell).
    ///
    /// # Safety
    ///
    /// Neither it, nor a mailbox in which it is hung up, is rung after this selector has been dropped: the number may be that of a
    /// stranger's file then, to which a ring would write.
    pub unsafe fn doorbell(&self) -> Bell {
        self.bell()
    }
}

/// The id of this process, as the system tells it now: a forked child compares it with its parent's.
pub fn process_id() -> u32 {
    std::process::id()
}
