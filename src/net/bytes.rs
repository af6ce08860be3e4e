//! Reading and writing bytes: the single operations, the same for TCP and Unix connections. Loops over them are in
//! `transfer`.

use std::{
    io::{self, IoSlice, IoSliceMut},
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};

use crate::{
    limits::{IO_SLICES_MAX, MOVED_FREE, MOVED_UNIT, READ_BUF_LEAST, WRITE_BUF_SLICES},
    net::ready::Io,
    reactor::Direction,
    sys::socket,
    worker::context,
};

impl Io {
    pub(crate) fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len();
        let read = self.try_io(Direction::Read, |fd| socket::recv(fd, buffer))?;
        self.after_read(read, room);
        Ok(read)
    }

    pub(crate) fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.try_io(Direction::Write, |fd| socket::send(fd, bytes))?;
        charge(written);
        self.after_write(written, bytes.len());
        Ok(written)
    }

    pub(crate) fn try_send_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = self.try_io(Direction::Write, |fd| socket::send_vectored(fd, buffers))?;
        self.after_write(written, length_of(buffers));
        Ok(written)
    }

    pub(crate) fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let room = buffer.len();
        let read = ready!(self.poll_io(cx, Direction::Read, |fd| socket::recv(fd, buffer)))?;
        self.after_read(read, room);
        charge(read);
        Poll::Ready(Ok(read))
    }

    pub(crate) fn poll_recv_vectored(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let room = buffers.iter().take(IO_SLICES_MAX).map(|buffer| buffer.len()).sum();
        let read = ready!(self.poll_io(cx, Direction::Read, |fd| socket::recv_vectored(fd, buffers)))?;
        self.after_read(read, room);
        charge(read);
        Poll::Ready(Ok(read))
    }

    pub(crate) fn poll_recv_buf(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        if buffer.len() == buffer.capacity() {
            buffer.reserve(READ_BUF_LEAST);
        }
        let room = buffer.capacity() - buffer.len();
        let read = ready!(self.poll_io(cx, Direction::Read, |fd| socket::recv_buf(fd, buffer)))?;
        self.after_read(read, room);
        Poll::Ready(Ok(read))
    }

    /// Reads without regard to what the selector has reported.
    pub(crate) fn try_recv_buf(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        if buffer.len() == buffer.capacity() {
            buffer.reserve(READ_BUF_LEAST);
        }
        let room = buffer.capacity() - buffer.len();
        let read = self.try_io(Direction::Read, |fd| socket::recv_buf(fd, buffer))?;
        self.after_read(read, room);
        Ok(read)
    }

    /// Reads into the worker's scratch, and calls `user` with what came.
    pub(crate) fn poll_recv_with<R>(
        &self,
        cx: &mut Context<'_>,
        user: &mut Option<impl FnOnce(&[u8]) -> R>,
    ) -> Poll<io::Result<R>> {
        context::with(|worker| {
            worker.with_scratch(|scratch| {
                charge(ready!(self.poll_recv_buf(cx, scratch))?);
                let user = user.take().expect("a future is not polled after it was ready");
                Poll::Ready(Ok(user(scratch)))
            })
        })
    }

    pub(crate) fn poll_peek(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        // A short peek says nothing of what a read would find, so it never counts as drained.
        self.poll_io(cx, Direction::Read, |fd| socket::peek(fd, buffer))
    }

    /// Looks at what comes next, without regard to what the selector has reported.
    pub(crate) fn try_peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.try_io(Direction::Read, |fd| socket::peek(fd, buffer))
    }

    pub(crate) fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(self.poll_io(cx, Direction::Write, |fd| socket::send(fd, bytes)))?;
        charge(written);
        self.after_write(written, bytes.len());
        Poll::Ready(Ok(written))
    }

    pub(crate) fn poll_send_vectored(
        &self,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(self.poll_io(cx, Direction::Write, |fd| socket::send_vectored(fd, buffers)))?;
        self.after_write(written, length_of(buffers));
        Poll::Ready(Ok(written))
    }

    /// Writes from `bytes` without advancing it.
    pub(crate) fn poll_send_buf(&self, cx: &mut Context<'_>, bytes: &impl Buf) -> Poll<io::Result<usize>> {
        if bytes.chunk().len() == bytes.remaining() {
            return self.poll_send(cx, bytes.chunk());
        }
        let mut slices = [IoSlice::new(&[]); WRITE_BUF_SLICES];
        let count = bytes.chunks_vectored(&mut slices);
        self.poll_send_vectored(cx, &slices[..count])
    }

    pub(super) fn after_read(&self, read: usize, room: usize) {
        // Zero is the end of the stream, which a further read has to see again.
        if 0 < read && read < room {
            self.clear_after_short_read();
        }
    }

    fn after_write(&self, written: usize, offered: usize) {
        // A short write has met a full send buffer, and the kernel reports when there is room again.
        if written < offered {
            self.clear_ready(Direction::Write);
        }
    }
}

/// Takes the running task's budget for bytes that were moved, when they were many. HTTP charges what it reads itself.
#[inline]
pub(super) fn charge(bytes: usize) {
    if bytes >= MOVED_FREE {
        context::try_with(|worker| {
            if let Some(worker) = worker {
                // A call moves less than 4 GiB.
                worker.tasks().charge((bytes / MOVED_UNIT) as u32);
            }
        });
    }
}

/// The bytes that one vectored call looks at.
fn length_of(buffers: &[IoSlice<'_>]) -> usize {
    buffers.iter().take(IO_SLICES_MAX).map(|buffer| buffer.len()).sum()
}
