//! sendfile(2) of macOS and its kin; `sendfile_linux.rs` says what it is to do.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::call::{Call, cvt};

pub(crate) fn send_file(
    socket: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
    offset: u64,
    most: usize,
) -> io::Result<usize> {
    let offset = libc::off_t::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // In: how much to send; out: how much was sent. Zero would mean "all of it".
    let mut length;
    let done = loop {
        length = most as libc::off_t;
        let done = cvt(Call::Send, || {
            let (from, to) = (file.as_raw_fd(), socket.as_raw_fd());
            // SAFETY: the length is read and written on this stack, and a null header is none.
            unsafe { libc::sendfile(from, to, offset, &raw mut length, ptr::null_mut(), 0) }
        });
        // A signal before the first byte.
        if length > 0 || !done.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
            break done;
        }
    };
    match done {
        // What was sent before it blocked or was interrupted counts, and the next call tells of the rest.
        Err(error) if length == 0 || !is_pause(&error) => Err(error),
        Ok(_) | Err(_) => Ok(length.unsigned_abs() as usize),
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
