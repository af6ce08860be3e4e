//! A stream with TLS on it, whole and in halves.

use std::{
    fmt,
    future::poll_fn,
    io::{self, IoSlice},
    rc::Rc,
};

use bytes::{Buf, BytesMut};

use super::{info::TlsInfo, secured::Secured};
use crate::net::{Stream, TcpStream};

/// A stream with TLS on it, of either side: what is written is sealed, what is read was opened.
///
/// A connection with nothing to do holds no buffer. What a write has accepted is sealed and given to the socket as far as
/// that takes it; the rest, at most 64 KiB, goes out with the next call that waits, be it a write, a read,
/// [`flush`](TlsStream::flush) or [`shutdown`](TlsStream::shutdown). So end with `shutdown`: it also tells the peer that
/// nothing was cut off (`close_notify`, RFC 8446 §6.1). Likewise a peer that ends the stream without that word is an error
/// here, `UnexpectedEof`, as somebody else may have ended it for him.
///
/// It is made by [`TlsAcceptor::accept`](super::TlsAcceptor::accept), [`TlsListener::accept`](super::TlsListener::accept)
/// and [`TlsConnector::connect`](super::TlsConnector::connect). With the feature `futures-io` it has the traits of that
/// crate.
///
/// # Cancellation
///
/// Dropping any future leaves the stream as it was: a read takes no byte before it is ready, a write none that it does not
/// report. As with [`TcpStream`], `read_exact` and `write_all` lose how far they got.
///
/// # Examples
///
/// See [`TlsAcceptor`](super::TlsAcceptor).
pub struct TlsStream<S = TcpStream> {
    pub(super) secured: Rc<Secured<S>>,
}

impl<S: Stream> TlsStream<S> {
    pub(super) fn new(secured: Rc<Secured<S>>) -> TlsStream<S> {
        TlsStream { secured }
    }

    pub(crate) fn into_secured(self) -> Rc<Secured<S>> {
        self.secured
    }

    /// What the handshake has agreed on, and who the peer is.
    #[must_use]
    pub fn info(&self) -> TlsInfo {
        self.secured.info()
    }

    /// The stream below, for its addresses and options.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        self.secured.stream()
    }

    /// Reads what there is, at most as much as `buffer` holds, and says how much it was; zero is the end that the peer has
    /// announced (or `buffer` is empty).
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when the stream ended without announcement, `InvalidData` with a [`TlsError`](super::TlsError) inside
    /// when the peer broke the protocol; else those of the stream below.
    ///
    /// # Cancellation
    ///
    /// No byte is taken.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|context| self.secured.poll_read(context, buffer)).await
    }

    /// As [`read`](TlsStream::read), appending to `buffer` whatever one read of the socket brought; this copies least.
    ///
    /// # Errors
    ///
    /// As [`read`](TlsStream::read).
    ///
    /// # Cancellation
    ///
    /// No byte is taken.
    pub async fn read_buf(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        poll_fn(|context| self.secured.poll_read_buf(context, buffer)).await
    }

    /// Reads until `buffer` is full.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when the stream ends before; else as [`read`](TlsStream::read).
    ///
    /// # Cancellation
    ///
    /// Bytes that were read lie at the front of `buffer`, but nothing says how many.
    pub async fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read(&mut buffer[filled..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
        Ok(())
    }

    /// Accepts bytes, and says how many; it waits only while earlier ones are still here.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` after [`shutdown`](TlsStream::shutdown) or when the peer is gone, and others of the stream below.
    ///
    /// # Cancellation
    ///
    /// No byte was accepted.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)]).await
    }

    /// As [`write`](TlsStream::write), from several buffers in turn: small ones share a record.
    ///
    /// # Errors
    ///
    /// As [`write`](TlsStream::write).
    ///
    /// # Cancellation
    ///
    /// No byte was accepted.
    pub async fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        poll_fn(|context| self.secured.poll_write_vectored(context, buffers)).await
    }

    /// Writes all of `bytes`, and waits until the socket has taken them.
    ///
    /// # Errors
    ///
    /// As [`write`](TlsStream::write); a part may have been written then.
    ///
    /// # Cancellation
    ///
    /// A part may have been written, and nothing says how much.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = self.write(bytes).await?;
            bytes.advance(count);
        }
        self.flush().await
    }

    /// Waits until the socket has taken everything.
    ///
    /// # Errors
    ///
    /// Those of the stream below.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|context| self.secured.poll_flush(context)).await
    }

    /// Ends our side: tells the peer so in TLS, and shuts the socket's writing side down behind that. Reading goes on.
    ///
    /// # Errors
    ///
    /// Those of the stream below.
    ///
    /// # Cancellation
    ///
    /// Nothing more can be written; call it again to go on.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        poll_fn(|context| self.secured.poll_close(context)).await
    }

    /// Takes the stream apart into two halves that can go to two tasks of the same worker.
    ///
    /// Dropping a half does nothing to the connection, which closes with the second.
    #[must_use]
    pub fn into_split(self) -> (TlsReadHalf<S>, TlsWriteHalf<S>) {
        let TlsStream { secured } = self;
        (TlsReadHalf(TlsStream { secured: secured.clone() }), TlsWriteHalf(TlsStream { secured }))
    }
}

impl<S: Stream> fmt::Debug for TlsStream<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("TlsStream").field("info", &self.info()).finish_non_exhaustive()
    }
}

/// The half of a [`TlsStream`] that reads.
pub struct TlsReadHalf<S = TcpStream>(pub(super) TlsStream<S>);

impl<S: Stream> TlsReadHalf<S> {
    /// As [`TlsStream::read`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).await
    }

    /// As [`TlsStream::read_buf`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn read_buf(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        self.0.read_buf(buffer).await
    }

    /// As [`TlsStream::read_exact`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact(buffer).await
    }
}

/// The half of a [`TlsStream`] that writes.
pub struct TlsWriteHalf<S = TcpStream>(pub(super) TlsStream<S>);

impl<S: Stream> TlsWriteHalf<S> {
    /// As [`TlsStream::write`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).await
    }

    /// As [`TlsStream::write_vectored`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(buffers).await
    }

    /// As [`TlsStream::write_all`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await
    }

    /// As [`TlsStream::flush`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.0.flush().await
    }

    /// As [`TlsStream::shutdown`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }
}

impl<S: Stream> fmt::Debug for TlsReadHalf<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("TlsReadHalf").field(&self.0).finish()
    }
}

impl<S: Stream> fmt::Debug for TlsWriteHalf<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("TlsWriteHalf").field(&self.0).finish()
    }
}
