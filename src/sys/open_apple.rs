//! Apple has neither `SOCK_CLOEXEC` nor `accept4`: the flags follow in separate calls, as in std.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::c_int;

use super::addr::Storage;
use super::call::{Call, attempt, cvt};
use super::options;

/// socket(2), then close-on-exec, non-blocking and no `SIGPIPE`.
pub(super) fn socket(domain: c_int, kind: c_int) -> io::Result<OwnedFd> {
    // SAFETY: socket takes three integers and touches no memory of ours.
    let fd = cvt(Call::Socket, || unsafe { libc::socket(domain, kind, 0) })?;
    // SAFETY: the kernel has just returned this descriptor, it is open, and nobody else owns it.
    prepare(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// accept(2), then the same three settings; the peer's address goes into `peer`.
pub(super) fn accept(listener: BorrowedFd<'_>, peer: &mut Storage) -> io::Result<OwnedFd> {
    let (address, length) = peer.as_out();
    // SAFETY: `address` and `length` come from one exclusive borrow of `peer`, which outlives the call,
    // and `length` holds the room at `address`.
    let take = || unsafe { libc::accept(listener.as_raw_fd(), address, length) };
    let fd = attempt(Call::Accept, listener, take)?;
    // SAFETY: the kernel has just returned this descriptor, it is open, and nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // A socket whose peer is gone already takes no options: that says nothing of the listener.
    prepare(fd).map_err(|_| io::Error::from_raw_os_error(libc::ECONNABORTED))
}

/// pipe(2), then close-on-exec and non-blocking: the end to read from, the end to write to.
pub(super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: the pointer is to an array of two integers, which is what the call fills.
    cvt(Call::Pipe, || unsafe { libc::pipe(ends.as_mut_ptr()) })?;
    // SAFETY: the kernel has just returned this descriptor, it is open, and nobody else owns it.
    let read_end = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    // SAFETY: as for the other end.
    let write_end = unsafe { OwnedFd::from_raw_fd(ends[1]) };
    set_flags(read_end.as_fd())?;
    set_flags(write_end.as_fd())?;
    Ok((read_end, write_end))
}

/// socketpair(2), then the settings of a socket.
pub(super) fn pair(domain: c_int, kind: c_int) -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: the pointer is to an array of two integers, which is what the call fills.
    cvt(Call::Socket, || unsafe { libc::socketpair(domain, kind, 0, ends.as_mut_ptr()) })?;
    // SAFETY: the kernel has just returned this descriptor, it is open, and nobody else owns it.
    let one = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    // SAFETY: as for the other end.
    let other = unsafe { OwnedFd::from_raw_fd(ends[1]) };
    Ok((prepare(one)?, prepare(other)?))
}

fn prepare(fd: OwnedFd) -> io::Result<OwnedFd> {
    set_flags(fd.as_fd())?;
    options::set(fd.as_fd(), libc::SOL_SOCKET, libc::SO_NOSIGPIPE, &1)?;
    Ok(fd)
}

fn set_flags(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: F_SETFD takes an integer and touches no memory of ours.
    cvt(Call::Flags, || unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: F_GETFL takes no argument and touches no memory of ours.
    let flags = cvt(Call::Flags, || unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    // SAFETY: F_SETFL takes an integer and touches no memory of ours.
    cvt(Call::Flags, || unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
    Ok(())
}
