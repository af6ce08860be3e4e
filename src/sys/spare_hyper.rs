//! Reads into hyper's buffers.

use std::io;
use std::os::fd::BorrowedFd;

use hyper::rt::ReadBufCursor;

use super::socket::recv_uninit;
use super::spare::Spare;

impl Spare for ReadBufCursor<'_> {
    fn room(&self) -> usize {
        self.remaining()
    }

    fn recv(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        // SAFETY: no byte is uninitialised through the slice: what is called writes received bytes only.
        let spare = unsafe { self.as_mut() };
        let read = recv_uninit(fd, spare)?;
        // SAFETY: the first `read` bytes of the unfilled part have just been received.
        unsafe { self.advance(read) };
        Ok(read)
    }
}
