//! macOS and the BSDs: what is theirs of Unix sockets; `unix_linux.rs` says what each means.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::c_int;

use super::call::{Call, cvt};
use super::unix::Credentials;

pub(super) const ABSTRACT_NAMES: bool = false;
/// Apple has no flag for it: `unix.rs` sets each descriptor close-on-exec by itself.
pub(super) const RECV_FLAGS: c_int = 0;
pub(super) const SCM_PIDFD: Option<c_int> = None;

/// getpeereid(3), which does not tell the process.
pub(crate) fn credentials(fd: BorrowedFd<'_>) -> io::Result<Credentials> {
    let (mut uid, mut gid) = (0, 0);
    // SAFETY: both pointers are to integers on this stack, of the types that the call writes.
    cvt(Call::GetOption, || unsafe { libc::getpeereid(fd.as_raw_fd(), &raw mut uid, &raw mut gid) })?;
    Ok(Credentials { uid, gid, pid: None })
}
