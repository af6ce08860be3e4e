//! Loops over single reads and writes, shared by the whole stream and its halves.

use std::{
    future::poll_fn,
    io::{self, IoSlice, IoSliceMut},
    net::Shutdown,
};

use bytes::{Buf, BytesMut};

use crate::{
    limits::READ_AHEAD,
    net::{bytes::charge, ready::Io},
    sys::socket,
};

pub(super) async fn read(stream: &Io, buffer: &mut [u8]) -> io::Result<usize> {
    poll_fn(|cx| stream.poll_recv(cx, buffer)).await
}

pub(super) async fn read_vectored(stream: &Io, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    poll_fn(|cx| stream.poll_recv_vectored(cx, buffers)).await
}

pub(super) async fn read_buf(stream: &Io, buffer: &mut BytesMut) -> io::Result<usize> {
    let read = poll_fn(|cx| stream.poll_recv_buf(cx, buffer)).await?;
    charge(read);
    Ok(read)
}

pub(super) async fn read_exact(stream: &Io, buffer: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        match read(stream, &mut buffer[filled..]).await? {
            0 => return Err(early_end()),
            read => filled += read,
        }
    }
    Ok(())
}

pub(super) async fn read_at_least(stream: &Io, buffer: &mut BytesMut, length: usize) -> io::Result<()> {
    while buffer.len() < length {
        // Not all at once: the length may be a peer's word, and memory is for what comes.
        buffer.reserve((length - buffer.len()).min(READ_AHEAD));
        if read_buf(stream, buffer).await? == 0 {
            return Err(early_end());
        }
    }
    Ok(())
}

pub(super) async fn read_with<R>(stream: &Io, user: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
    let mut user = Some(user);
    poll_fn(|cx| stream.poll_recv_with(cx, &mut user)).await
}

pub(super) async fn peek(stream: &Io, buffer: &mut [u8]) -> io::Result<usize> {
    poll_fn(|cx| stream.poll_peek(cx, buffer)).await
}

pub(super) async fn write(stream: &Io, bytes: &[u8]) -> io::Result<usize> {
    poll_fn(|cx| stream.poll_send(cx, bytes)).await
}

pub(super) async fn write_vectored(stream: &Io, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    poll_fn(|cx| stream.poll_send_vectored(cx, buffers)).await
}

pub(super) async fn write_all(stream: &Io, mut bytes: &[u8]) -> io::Result<()> {
    write_all_buf(stream, &mut bytes).await
}

pub(super) async fn write_all_buf(stream: &Io, bytes: &mut impl Buf) -> io::Result<()> {
    while bytes.has_remaining() {
        // The count is taken off before anything can be awaited, so that a cancelled call has not
        // written a byte that is still in `bytes`.
        let written = poll_fn(|cx| stream.poll_send_buf(cx, bytes)).await?;
        bytes.advance(written);
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

/// Writes all of several buffers, and takes off `buffers` what is written.
pub(super) async fn write_all_vectored(stream: &Io, mut buffers: &mut [IoSlice<'_>]) -> io::Result<()> {
    // Empty buffers in front would look like a connection that takes nothing.
    IoSlice::advance_slices(&mut buffers, 0);
    while !buffers.is_empty() {
        let written = write_vectored(stream, buffers).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut buffers, written);
    }
    Ok(())
}

/// Closing what has already ended is no error: there is nothing left to say to the peer.
pub(crate) fn end(stream: &Io) -> io::Result<()> {
    match socket::shutdown(stream.fd(), Shutdown::Write) {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        outcome => outcome,
    }
}

fn early_end() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the peer ended the stream too early")
}
