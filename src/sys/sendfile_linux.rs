//! sendfile(2) of Linux and Android.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::call::{Call, attempt};

/// Sends at most `most` bytes of `file`, from `offset` on, to `socket`, and says how many. Zero is the end of the file.
///
/// # Errors
///
/// `WouldBlock`; `InvalidInput` and the like for files that it cannot send (which can be read all the same).
pub(crate) fn send_file(
    socket: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
    offset: u64,
    most: usize,
) -> io::Result<usize> {
    let offset = libc::off64_t::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut at = offset;
    let sent = attempt(Call::Send, socket, || {
        at = offset;
        // SAFETY: the offset is read and written on this stack; the file's own is left alone.
        unsafe { libc::sendfile64(socket.as_raw_fd(), file.as_raw_fd(), &raw mut at, most) }
    })?;
    Ok(sent.unsigned_abs())
}
