//! Linux and Android: constants of the socket layer, and `errno`.

use libc::c_int;

/// Where the calling thread's `errno` lies.
#[cfg(target_os = "android")]
pub(super) use libc::__errno as errno_location;
/// Where the calling thread's `errno` lies.
#[cfg(target_os = "linux")]
pub(super) use libc::__errno_location as errno_location;

/// Writing to a connection that the peer has closed is an error, not a signal.
pub(super) const SEND_FLAGS: c_int = libc::MSG_NOSIGNAL;
/// Several sockets on one port, the kernel spreading connections and datagrams over them.
pub(super) const REUSE_PORT: Option<c_int> = Some(libc::SO_REUSEPORT);
/// How long a connection is idle before the first keep-alive probe, in seconds.
pub(super) const KEEPALIVE_IDLE: Option<c_int> = Some(libc::TCP_KEEPIDLE);
/// Linger, counted in seconds.
pub(super) const LINGER: c_int = libc::SO_LINGER;
/// What `accept` reports of one connection that died in the queue: the next may be sound. Linux hands
/// over errors that were already pending on the new socket, see accept(2), "Error handling", and what its firewall and its
/// protocols say of one, "ERRORS".
pub(super) const ACCEPT_AGAIN: &[c_int] = &[
    libc::ECONNABORTED,
    libc::EPERM,
    libc::EPROTO,
    libc::EPROTONOSUPPORT,
    libc::ESOCKTNOSUPPORT,
    libc::ENOSR,
    libc::ETIMEDOUT,
    libc::ENETDOWN,
    libc::ENOPROTOOPT,
    libc::EHOSTDOWN,
    libc::ENONET,
    libc::EHOSTUNREACH,
    libc::ENETUNREACH,
];
