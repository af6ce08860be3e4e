//! Tunnels as the traits of other crates read and write them: by bytes.

use std::{
    io,
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use crate::{
    http::{
        body::{BodyError, Frame},
        tunnel::Tunnel,
    },
    limits::CHANNEL_BYTES,
};

impl Tunnel {
    /// Takes at most `room` bytes of what has come; none at the end.
    pub(super) fn poll_take(&mut self, context: &mut Context<'_>, room: usize) -> Poll<io::Result<Bytes>> {
        if room == 0 {
            return Poll::Ready(Ok(Bytes::new()));
        }
        let mut bytes = match ready!(self.poll_receive(context)) {
            Some(received) => received.map_err(failed)?,
            None => return Poll::Ready(Ok(Bytes::new())),
        };
        if bytes.len() > room {
            self.rest = bytes.split_off(room);
        }
        Poll::Ready(Ok(bytes))
    }

    /// Sends some of `bytes`, and says how many.
    pub(super) fn poll_put(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
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
}

/// A reset is `ConnectionReset`, the end of the connection `ConnectionAborted`.
fn failed(error: BodyError) -> io::Error {
    let kind = match error {
        BodyError::Reset(_) | BodyError::Violation { .. } => io::ErrorKind::ConnectionReset,
        BodyError::ConnectionClosed | BodyError::Connection(_) => io::ErrorKind::ConnectionAborted,
        BodyError::TimedOut { .. } => io::ErrorKind::TimedOut,
        BodyError::TooLong { .. } | BodyError::Abandoned | BodyError::Source(_) => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
