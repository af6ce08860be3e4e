//! macOS, FreeBSD, DragonFly and NetBSD: TCP options that not every system has; `tcp_linux.rs` says what each means.

use std::io;
use std::os::fd::BorrowedFd;

use libc::c_int;

use super::options::unsupported;
use super::tcp::Info;

pub(super) const KEEPALIVE_INTERVAL: Option<c_int> = Some(libc::TCP_KEEPINTVL);
pub(super) const KEEPALIVE_PROBES: Option<c_int> = Some(libc::TCP_KEEPCNT);
pub(super) const QUICK_ACK: Option<c_int> = None;
pub(super) const USER_TIMEOUT: Option<c_int> = None;
pub(super) const NOT_SENT_LOW: Option<c_int> = None;
pub(super) const MARK: Option<c_int> = None;
pub(super) const FAST_OPEN: Option<c_int> = None;
pub(super) const FAST_OPEN_CONNECT: Option<c_int> = None;

pub(crate) fn info(_fd: BorrowedFd<'_>) -> io::Result<Info> {
    Err(unsupported("measurements of a connection"))
}
