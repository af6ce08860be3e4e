//! Loops over single reads and writes, shared by the whole stream and its halves.

use std::{future::poll_fn, io};

use bytes::{Buf, BytesMut};

use crate::net::tcp::TcpStream;

pub(super) async fn read(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    poll_fn(|cx| stream.poll_read(cx, buffer)).await
}

pub(super) async fn read_buf(stream: &TcpStream, buffer: &mut BytesMut) -> io::Result<usize> {
    poll_fn(|cx| stream.poll_read_buf(cx, buffer)).await
}

pub(super) async fn read_exact(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        match read(stream, &mut buffer[filled..]).await? {
            0 => return Err(early_end()),
            read => filled += read,
        }
    }
    Ok(())
}

pub(super) async fn read_at_least(
    stream: &TcpStream,
    buffer: &mut BytesMut,
    length: usize,
) -> io::Result<()> {
    while buffer.len() < length {
        buffer.reserve(length - buffer.len());
        if read_buf(stream, buffer).await? == 0 {
            return Err(early_end());
        }
    }
    Ok(())
}

pub(super) async fn read_with<R>(stream: &TcpStream, user: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
    let mut user = Some(user);
    poll_fn(|cx| stream.poll_read_with(cx, &mut user)).await
}

pub(super) async fn peek(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    poll_fn(|cx| stream.poll_peek(cx, buffer)).await
}

pub(super) async fn write(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    poll_fn(|cx| stream.poll_write(cx, bytes)).await
}

pub(super) async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    write_all_buf(stream, &mut bytes).await
}

pub(super) async fn write_all_buf(stream: &TcpStream, bytes: &mut impl Buf) -> io::Result<()> {
    while bytes.has_remaining() {
        // The count is taken off before anything can be awaited, so that a cancelled call has not
        // written a byte that is still in `bytes`.
        let written = poll_fn(|cx| stream.poll_write_buf(cx, bytes)).await?;
        bytes.advance(written);
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

fn early_end() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the peer ended the stream too early")
}
