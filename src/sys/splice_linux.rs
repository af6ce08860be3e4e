//! splice(2): bytes from one socket to another without passing through this process's memory.
//!
//! They go through a pipe, which holds references to the kernel's own pages. Linux 2.6.17 and later.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use super::call::{Call, attempt, retry};
use super::{open, sigpipe};

/// A pipe, and how much is in it.
#[derive(Debug)]
pub(crate) struct Pipe {
    read_end: OwnedFd,
    write_end: OwnedFd,
    room: usize,
    held: usize,
}

impl Pipe {
    /// A pipe that takes about `room` bytes.
    ///
    /// # Errors
    ///
    /// `Unsupported` while `SIGPIPE` would end the process; those of pipe2(2).
    pub(crate) fn new(room: usize) -> io::Result<Pipe> {
        if sigpipe::kills()? {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let (read_end, write_end) = open::pipe()?;
        let size = libc::c_int::try_from(room).unwrap_or(libc::c_int::MAX);
        // SAFETY: F_SETPIPE_SZ takes an integer and touches no memory of ours.
        let grow = || unsafe { libc::fcntl(write_end.as_raw_fd(), libc::F_SETPIPE_SZ, size) };
        // A user that has many pipes gets small ones, which only cost more calls.
        drop(retry(Call::Pipe, grow));
        Ok(Pipe { read_end, write_end, room, held: 0 })
    }

    /// Bytes that were taken from one side and not given to the other.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Takes what `from` has, as far as it fits. Zero is the end of the stream. The pipe must be empty, or a full one would
    /// look like a source that blocks.
    pub(crate) fn fill(&mut self, from: BorrowedFd<'_>) -> io::Result<usize> {
        debug_assert_eq!(self.held, 0, "a pipe is filled when it is empty");
        let moved = splice(Call::Recv, from, from, self.write_end.as_fd(), self.room)?;
        self.held += moved;
        Ok(moved)
    }

    /// Gives what it holds to `to`, as far as that takes it.
    pub(crate) fn drain(&mut self, to: BorrowedFd<'_>) -> io::Result<usize> {
        let moved = splice(Call::Send, to, self.read_end.as_fd(), to, self.held)?;
        self.held -= moved;
        Ok(moved)
    }
}

fn splice(
    call: Call,
    socket: BorrowedFd<'_>,
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    most: usize,
) -> io::Result<usize> {
    let (from, to) = (from.as_raw_fd(), to.as_raw_fd());
    let flags = libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MOVE;
    // SAFETY: both offsets are null, as they must be for sockets and pipes, so that no memory of ours is touched.
    let splice = || unsafe { libc::splice(from, ptr::null_mut(), to, ptr::null_mut(), most, flags) };
    let moved = attempt(call, socket, splice)?;
    Ok(moved.unsigned_abs())
}
