//! Systems without a sendfile(2) that we know: the caller reads and writes.

use std::io;
use std::os::fd::BorrowedFd;

pub(crate) fn send_file(
    _socket: BorrowedFd<'_>,
    _file: BorrowedFd<'_>,
    _offset: u64,
    _most: usize,
) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}
