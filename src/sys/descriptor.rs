//! Descriptors of any kind: the non-blocking flag, and read and write for those that are no sockets.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use bytes::BytesMut;

use super::call::{Call, cvt, permit, retry};

/// Makes calls on the open file return `WouldBlock` instead of waiting (`O_NONBLOCK`). The flag belongs to the open file:
/// whoever else has it open sees it too.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: F_GETFL takes no argument and touches no memory of ours.
    let flags = cvt(Call::Flags, || unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    // SAFETY: F_SETFL takes an integer and touches no memory of ours.
    cvt(Call::Flags, || unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
    Ok(())
}

/// Another descriptor of the same open file, close-on-exec.
pub(crate) fn duplicate(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    permit(Call::Duplicate)?;
    fd.try_clone_to_owned()
}

/// Reads from `offset` of a file on, into the spare capacity of `buffer`, at most `most` bytes, and adds what came to its
/// length. Zero is the end of the file.
pub(crate) fn read_at(
    fd: BorrowedFd<'_>,
    buffer: &mut BytesMut,
    offset: u64,
    most: usize,
) -> io::Result<usize> {
    let offset = libc::off_t::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let spare = buffer.spare_capacity_mut();
    let (start, length) = (spare.as_mut_ptr().cast(), spare.len().min(most));
    // SAFETY: `start` points to at least `length` writable bytes of spare capacity; the kernel only writes them, so they
    // need not be initialised.
    let read = retry(Call::Read, || unsafe { libc::pread(fd.as_raw_fd(), start, length, offset) })?;
    let read = read.unsigned_abs();
    // SAFETY: the kernel has initialised the first `read` bytes of the spare capacity, and `read` is at most `length`.
    unsafe { buffer.set_len(buffer.len() + read) };
    Ok(read)
}
