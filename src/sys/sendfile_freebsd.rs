//! sendfile(2) of FreeBSD and DragonFly; `sendfile_linux.rs` says what it is to do.

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
    let (from, to) = (file.as_raw_fd(), socket.as_raw_fd());
    let mut sent: libc::off_t = 0;
    let done = loop {
        let done = cvt(Call::Send, || {
            // SAFETY: what was sent is written on this stack, and a null header is none.
            unsafe { libc::sendfile(from, to, offset, most, ptr::null_mut(), &raw mut sent, 0) }
        });
        // A signal before the first byte.
        if sent > 0 || !done.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
            break done;
        }
    };
    match done {
        // What was sent before it blocked or was interrupted counts, and the next call tells of the rest.
        Err(error) if sent == 0 || !is_pause(&error) => Err(error),
        Ok(_) | Err(_) => Ok(sent.unsigned_abs() as usize),
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
