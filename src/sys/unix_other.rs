//! Systems of the third tier: the least that they share of Unix sockets; `unix_linux.rs` says what each means.

use std::io;
use std::os::fd::BorrowedFd;

use libc::c_int;

use super::unix::Credentials;

pub(super) const ABSTRACT_NAMES: bool = false;
pub(super) const RECV_FLAGS: c_int = 0;
pub(super) const SCM_PIDFD: Option<c_int> = None;

pub(crate) fn credentials(_fd: BorrowedFd<'_>) -> io::Result<Credentials> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system does not tell who the peer is"))
}
