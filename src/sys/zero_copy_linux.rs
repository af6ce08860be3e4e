//! Sending without copying (`MSG_ZEROCOPY`, Linux 4.14), and the error queue, where the kernel tells what it has let go of.
//!
//! Each send that succeeds has a number, counted from zero by the socket; a completion names a range of them.
//! Documentation/networking/msg_zerocopy.rst.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use libc::{c_int, cmsghdr, msghdr, sock_extended_err};

use super::call::{Call, attempt};
use super::options;
use super::os::SEND_FLAGS;

/// `asm-generic/socket.h`; the C library's headers have it and the crate does not.
const SO_ZEROCOPY: c_int = 60;
/// `linux/errqueue.h`.
const SO_EE_ORIGIN_ZEROCOPY: u8 = 5;
const SO_EE_CODE_ZEROCOPY_COPIED: u8 = 1;

/// Room for the control data of one notice, aligned as its header wants it.
#[repr(C, align(8))]
struct Control([u8; 256]);

/// The sends that the kernel has let go of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Completed {
    pub(crate) first: u32,
    pub(crate) last: u32,
    /// They were copied after all: to this host, or through a device that cannot do better.
    pub(crate) copied: bool,
}

/// Allows zero-copy sends on this socket.
///
/// # Errors
///
/// `AlreadyExists` when they are allowed: then there may have been some, and the next one's number is not zero.
pub(crate) fn allow(fd: BorrowedFd<'_>) -> io::Result<()> {
    if options::get::<c_int>(fd, libc::SOL_SOCKET, SO_ZEROCOPY, 0)? != 0 {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    options::set(fd, libc::SOL_SOCKET, SO_ZEROCOPY, &1)
}

/// Writes what fits of `bytes`, which must stay as they are until the send is completed.
pub(crate) fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let (start, length) = (bytes.as_ptr().cast(), bytes.len());
    let flags = SEND_FLAGS | libc::MSG_ZEROCOPY;
    // SAFETY: `start` points to `length` bytes, borrowed for the whole call and only read. Beyond it the kernel holds the
    // pages and not the address: freeing the memory too early would send other bytes, and break no memory.
    let sent = attempt(Call::Send, fd, || unsafe { libc::send(fd.as_raw_fd(), start, length, flags) })?;
    Ok(sent.unsigned_abs())
}

/// Ends the connection by a reset, whoever else has its descriptor: what waits to be sent is thrown away (connect(2) to
/// `AF_UNSPEC`).
pub(crate) fn disconnect(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: sockaddr is integers, for which all zeros is a value; zero is `AF_UNSPEC`.
    let nobody: libc::sockaddr = unsafe { mem::zeroed() };
    let length = mem::size_of::<libc::sockaddr>() as libc::socklen_t;
    // SAFETY: `nobody` is `length` bytes and outlives the call.
    attempt(Call::Shutdown, fd, || unsafe { libc::connect(fd.as_raw_fd(), &raw const nobody, length) })?;
    Ok(())
}

/// Whether there is no more room to remember sends by, so that this one has to be copied.
pub(crate) fn is_out_of_notices(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::EINVAL))
}

/// Takes one notice off the error queue. `None` for one of another kind, which is thrown away.
///
/// # Errors
///
/// `WouldBlock` when the queue is empty.
pub(crate) fn take_notice(fd: BorrowedFd<'_>) -> io::Result<Option<Completed>> {
    let mut control = Control([0; 256]);
    // SAFETY: msghdr is integers and nullable raw pointers, for which all zeros is a value.
    let mut header: msghdr = unsafe { mem::zeroed() };
    attempt(Call::RecvMessage, fd, || {
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = control.0.len() as _;
        // SAFETY: `header` names no address, no buffer, and `control` with its room, which outlives the call.
        unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut header, libc::MSG_ERRQUEUE) }
    })?;
    // SAFETY: recvmsg has left in `header` the length of what it wrote into `control`.
    let mut piece: *const cmsghdr = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    while !piece.is_null() {
        // SAFETY: the macros return only headers that lie whole inside of the written part.
        let head = unsafe { ptr::read(piece) };
        let kind = (head.cmsg_level, head.cmsg_type);
        let least = mem::size_of::<cmsghdr>() + mem::size_of::<sock_extended_err>();
        if [(libc::SOL_IP, libc::IP_RECVERR), (libc::SOL_IPV6, libc::IPV6_RECVERR)].contains(&kind)
            && head.cmsg_len as usize >= least
        {
            // SAFETY: `piece` points to a whole header.
            let data = unsafe { libc::CMSG_DATA(piece) }.cast::<sock_extended_err>();
            // SAFETY: the header's length says that the struct follows, and any bits are one.
            return Ok(completed(unsafe { data.read_unaligned() }));
        }
        // SAFETY: `header` and `piece` are those of this walk.
        piece = unsafe { libc::CMSG_NXTHDR(&raw const header, piece) };
    }
    Ok(None)
}

fn completed(notice: sock_extended_err) -> Option<Completed> {
    let copied = notice.ee_code & SO_EE_CODE_ZEROCOPY_COPIED != 0;
    let completed = Completed { first: notice.ee_info, last: notice.ee_data, copied };
    (notice.ee_origin == SO_EE_ORIGIN_ZEROCOPY).then_some(completed)
}
