//! Many datagrams, one system call for each: where there is no recvmmsg, and under `--cfg wakering_fallback`.

use std::io;
use std::os::fd::BorrowedFd;

use super::message::{Header, recv_one, send_one};

/// Receives into `headers`, in order, what is there now; how many were filled, at least one, and the error that ended it.
///
/// # Safety
///
/// What each header names is valid for the kernel to write, for the whole call.
pub(super) unsafe fn recv(
    fd: BorrowedFd<'_>,
    headers: &mut [Header],
) -> io::Result<(usize, Option<io::Error>)> {
    for (filled, header) in headers.iter_mut().enumerate() {
        // SAFETY: the caller answers for what the header names.
        match unsafe { recv_one(fd, header, 0) } {
            Ok(()) => {}
            Err(error) if filled == 0 => return Err(error),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok((filled, None)),
            Err(error) => return Ok((filled, Some(error))),
        }
    }
    Ok((headers.len(), None))
}

/// Sends `headers` in order, and says how many of them the kernel took, at least one.
///
/// An error after the first message is not told: whoever sends the rest meets it again.
///
/// # Safety
///
/// What each header names is valid for the kernel to read, for the whole call.
pub(super) unsafe fn send(fd: BorrowedFd<'_>, headers: &mut [Header]) -> io::Result<usize> {
    for (sent, header) in headers.iter_mut().enumerate() {
        // SAFETY: the caller answers for what the header names.
        match unsafe { send_one(fd, header) } {
            Ok(()) => {}
            Err(error) if sent == 0 => return Err(error),
            Err(_) => return Ok(sent),
        }
    }
    Ok(headers.len())
}
