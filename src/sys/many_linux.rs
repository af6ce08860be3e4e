//! Many datagrams in one system call: recvmmsg(2), sendmmsg(2).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use libc::c_uint;

use super::call::{Call, attempt, fewer};
use super::message::Header;
use super::os;

/// Receives into `headers`, in order, what is there now; how many were filled, at least one, and the error that ended it.
///
/// Here that is none: the kernel keeps an error after the first message with the socket, and the next call returns it.
///
/// # Safety
///
/// What each header names is valid for the kernel to write, for the whole call.
pub(super) unsafe fn recv(
    fd: BorrowedFd<'_>,
    headers: &mut [Header],
) -> io::Result<(usize, Option<io::Error>)> {
    let (start, count) = (headers.as_mut_ptr().cast(), fewer(fd, headers.len()) as c_uint);
    // SAFETY: `Header` has the layout of mmsghdr, there are at least `count` of them, and the caller answers for what they name.
    // Without a timeout the pointer to one is null. A retry finds the rooms as they were: an interrupted call has
    // filled none.
    let receive = || unsafe { libc::recvmmsg(fd.as_raw_fd(), start, count, 0, ptr::null_mut()) };
    let filled = attempt(Call::RecvMany, fd, receive)?;
    Ok((filled.unsigned_abs() as usize, None))
}

/// Sends `headers` in order, and says how many of them the kernel took, at least one.
///
/// An error after the first message is not told: whoever sends the rest meets it again.
///
/// # Safety
///
/// What each header names is valid for the kernel to read, for the whole call.
pub(super) unsafe fn send(fd: BorrowedFd<'_>, headers: &mut [Header]) -> io::Result<usize> {
    let (start, count) = (headers.as_mut_ptr().cast(), fewer(fd, headers.len()) as c_uint);
    // SAFETY: `Header` has the layout of mmsghdr, there are at least `count` of them, and the caller answers for what they name;
    // the kernel writes the lengths alone.
    let send = || unsafe { libc::sendmmsg(fd.as_raw_fd(), start, count, os::SEND_FLAGS as _) };
    let sent = attempt(Call::SendMany, fd, send)?;
    Ok(sent.unsigned_abs() as usize)
}
