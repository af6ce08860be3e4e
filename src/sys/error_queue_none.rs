//! Systems that keep no queue of errors for a datagram socket.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;

use super::options::unsupported;

/// One entry of the queue; `error_queue_linux.rs` says what each field means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueuedError {
    pub(crate) number: i32,
    pub(crate) target: Option<SocketAddr>,
    pub(crate) reporter: Option<IpAddr>,
    pub(crate) icmp: Option<(u8, u8)>,
    pub(crate) mtu: Option<u32>,
}

/// Whether the socket keeps errors: it cannot.
pub(crate) fn set_kept(_: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    if on { Err(unsupported("queue of errors")) } else { Ok(()) }
}

/// Takes the oldest entry: there is none.
pub(crate) fn take(_: BorrowedFd<'_>) -> io::Result<Option<QueuedError>> {
    Ok(None)
}
