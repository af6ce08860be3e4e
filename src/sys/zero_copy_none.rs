//! Systems and backends without zero-copy sends; `zero_copy_linux.rs` says what each is. Notices are edges, which one-shot
//! backends cannot tell from room in the send buffer.

use std::io;
use std::os::fd::BorrowedFd;

use super::socket;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Completed {
    pub(crate) first: u32,
    pub(crate) last: u32,
    pub(crate) copied: bool,
}

pub(crate) fn allow(_fd: BorrowedFd<'_>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    socket::send(fd, bytes)
}

pub(crate) fn disconnect(_fd: BorrowedFd<'_>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn is_out_of_notices(_error: &io::Error) -> bool {
    false
}

pub(crate) fn take_notice(_fd: BorrowedFd<'_>) -> io::Result<Option<Completed>> {
    Err(io::ErrorKind::WouldBlock.into())
}
