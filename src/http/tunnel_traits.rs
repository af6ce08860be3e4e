//! `futures_io` for tunnels.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use futures_io::{AsyncRead, AsyncWrite};

use crate::{
    http::{
        body::{BodyError, Frame},
        tunnel::Tunnel,
    },
    limits::CHANNEL_BYTES,
};

/// A reset is `ConnectionReset`, the end of the connection `ConnectionAborted`.
fn failed(error: BodyError) -> io::Error {
    let kind = match error {
        BodyError::Reset(_) => io::ErrorKind::ConnectionReset,
        BodyError::ConnectionClosed => io::ErrorKind::ConnectionAborted,
        BodyError::TimedOut { .. } => io::ErrorKind::TimedOut,
        BodyError::TooLong { .. } | BodyError::Abandoned | BodyError::Source(_) => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut bytes = match ready!(self.poll_receive(context)) {
            Some(received) => received.map_err(failed)?,
            None => return Poll::Ready(Ok(0)),
        };
        let count = bytes.len().min(buffer.len());
        bytes.copy_to_slice(&mut buffer[..count]);
        self.rest = bytes;
        Poll::Ready(Ok(count))
    }
}

/// What was written goes out with the turn: there is nothing to flush. Closing ends our direction only.
impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let broken = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        let Some(outgoing) = &mut self.outgoing else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        ready!(outgoing.poll_room(context)).map_err(broken)?;
        let piece = Bytes::copy_from_slice(&bytes[..bytes.len().min(CHANNEL_BYTES)]);
        let count = piece.len();
        outgoing.put(Frame::Data(piece)).map_err(broken)?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close();
        Poll::Ready(Ok(()))
    }
}
