//! Descriptors of any kind: the non-blocking flag, and read and write for those that are no sockets.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::call::{Call, cvt};

/// Makes calls on the open file return `WouldBlock` instead of waiting (`O_NONBLOCK`). The flag belongs to the open file:
/// whoever else has it open sees it too.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: F_GETFL takes no argument and touches no memory of ours.
    let flags = cvt(Call::Flags, || unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    // SAFETY: F_SETFL takes an integer and touches no memory of ours.
    cvt(Call::Flags, || unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
    Ok(())
}
