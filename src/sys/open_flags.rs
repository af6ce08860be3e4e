//! Sockets and pipes that are born close-on-exec and non-blocking: one call, no window for a fork in between.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::c_int;

use super::addr::Storage;
use super::call::{Call, attempt, cvt};

const FLAGS: c_int = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;

/// socket(2) with both flags.
pub(super) fn socket(domain: c_int, kind: c_int) -> io::Result<OwnedFd> {
    // SAFETY: socket takes three integers and touches no memory of ours.
    let fd = cvt(Call::Socket, || unsafe { libc::socket(domain, kind | FLAGS, 0) })?;
    // SAFETY: the kernel has just returned this descriptor, it is open, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// accept4(2) with both flags; the peer's address goes into `peer`.
pub(super) fn accept(listener: BorrowedFd<'_>, peer: &mut Storage) -> io::Result<OwnedFd> {
    let (address, length) = peer.as_out();
    // SAFETY: `address` and `length` come from one exclusive borrow of `peer`, which outlives the call,
    // and `length` holds the room at `address`.
    let fd = attempt(Call::Accept, listener, || unsafe {
        libc::accept4(listener.as_raw_fd(), address, length, FLAGS)
    })?;
    // SAFETY: the kernel has just returned this descriptor, it is open, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// pipe2(2) with both flags: the end to read from, the end to write to.
pub(super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: the pointer is to an array of two integers, which is what the call fills.
    cvt(Call::Pipe, || unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) })?;
    // SAFETY: the kernel has just returned this descriptor, it is open, and nobody else owns it.
    let read_end = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    // SAFETY: as for the other end.
    let write_end = unsafe { OwnedFd::from_raw_fd(ends[1]) };
    Ok((read_end, write_end))
}

/// socketpair(2) with both flags.
pub(super) fn pair(domain: c_int, kind: c_int) -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: the pointer is to an array of two integers, which is what the call fills.
    cvt(Call::Socket, || unsafe { libc::socketpair(domain, kind | FLAGS, 0, ends.as_mut_ptr()) })?;
    // SAFETY: the kernel has just returned this descriptor, it is open, and nobody else owns it.
    let one = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    // SAFETY: as for the other end.
    let other = unsafe { OwnedFd::from_raw_fd(ends[1]) };
    Ok((one, other))
}
