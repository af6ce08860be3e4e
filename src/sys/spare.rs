//! Reads that append to buffers of others, whose spare memory need not be initialised first.

use std::io;
use std::os::fd::BorrowedFd;

/// A buffer with room behind what it holds.
pub(crate) trait Spare {
    /// How many bytes fit in.
    fn room(&self) -> usize;

    /// Reads into the room, which must not be empty, and keeps what came; zero is the end of a stream.
    fn recv(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize>;
}
