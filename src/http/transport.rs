//! What a connection's bytes go over: a socket, or TLS on one.
//!
//! An enum, so that the cleartext path costs one branch a call and no allocation. Every call takes `&self`: a connection
//! is read by its driver and written by the flush of the turn.
//!
//! A transport may hold bytes that it has accepted and the socket has not. Who writes then does three things: it takes
//! `poll_write_vectored` for what it is, a promise that nothing is held when it accepts more; it calls `poll_flush` as
//! long as [`holds_output`](Transport::holds_output), although there is nothing more to say; and it ends with
//! `shutdown_write` only when nothing is held.

use std::{
    io::{self, IoSlice},
    net::{Shutdown, SocketAddr},
    task::{Context, Poll},
    time::Duration,
};

use ::http::Version;
use bytes::BytesMut;

use crate::{http::secure::Layer, net::TcpStream};

/// The bytes of one connection, both ways.
#[derive(Debug)]
pub(crate) enum Transport {
    /// Cleartext.
    Tcp(TcpStream),
    /// Sealed.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "a Layer cannot be made then"))]
    Tls(Layer),
}

impl Transport {
    /// What the system says our end is.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Transport::Tcp(stream) => stream.local_addr(),
            Transport::Tls(layer) => layer.stream().local_addr(),
        }
    }

    /// The address of the other end.
    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Transport::Tcp(stream) => stream.peer_addr(),
            Transport::Tls(layer) => layer.stream().peer_addr(),
        }
    }

    /// Appends what there is to `buffer`, which grows where it has no room; zero is the end of the stream.
    #[inline]
    pub(crate) fn poll_read_buf(
        &self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        match self {
            Transport::Tcp(stream) => stream.poll_read_buf(context, buffer),
            Transport::Tls(layer) => layer.poll_read_buf(context, buffer),
        }
    }

    /// Waits if it is known that there is nothing to read.
    #[inline]
    pub(crate) fn poll_tryable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Transport::Tcp(stream) => stream.poll_tryable(context),
            Transport::Tls(_layer) => Poll::Ready(Ok(())),
        }
    }

    /// As `poll_read_buf`, without regard to what the selector has reported, and without waiting: `WouldBlock`.
    pub(crate) fn try_read_buf(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Transport::Tcp(stream) => stream.try_read_buf(buffer),
            Transport::Tls(layer) => layer.try_read_buf(buffer),
        }
    }

    /// Ready once the socket is broken, for who has read to its end.
    pub(crate) fn poll_broken(&self, context: &mut Context<'_>) -> Poll<io::Error> {
        match self {
            Transport::Tcp(stream) => stream.poll_broken(context),
            Transport::Tls(layer) => layer.stream().poll_broken(context),
        }
    }

    /// Accepts bytes from several buffers in turn, and says how many. `Pending`: the socket takes nothing now.
    #[inline]
    pub(crate) fn poll_write_vectored(
        &self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Transport::Tcp(stream) => stream.poll_write_vectored(context, slices),
            Transport::Tls(layer) => layer.poll_write_vectored(context, slices),
        }
    }

    /// Accepts a few bytes now, without waiting: `WouldBlock`.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Transport::Tcp(stream) => stream.try_write(bytes),
            Transport::Tls(layer) => layer.try_write(bytes),
        }
    }

    /// Whether the peer has ended it, or has said something that nobody asked for; looks without waiting. What comes over
    /// TLS may be TLS's own.
    pub(crate) fn is_stale(&self) -> bool {
        let mut octet = [0];
        let (stream, secure) = match self {
            Transport::Tcp(stream) => (stream, false),
            Transport::Tls(layer) => (layer.stream(), true),
        };
        match stream.try_peek(&mut octet) {
            Ok(0) => true,
            Ok(_more) => !secure,
            Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
        }
    }

    /// Whether it is TLS.
    pub(crate) fn is_secure(&self) -> bool {
        match self {
            Transport::Tcp(_stream) => false,
            Transport::Tls(_layer) => true,
        }
    }

    /// Which version of HTTP the handshake has agreed on, if it has.
    pub(crate) fn agreed(&self) -> Option<Version> {
        match self {
            Transport::Tcp(_stream) => None,
            Transport::Tls(layer) => layer.agreed(),
        }
    }

    /// Whether bytes were accepted that the socket has not taken.
    #[inline]
    pub(crate) fn holds_output(&self) -> bool {
        match self {
            Transport::Tcp(_stream) => false,
            Transport::Tls(layer) => layer.holds_output(),
        }
    }

    /// How many bytes are held; `None` where none ever is. Those of TLS are sealed, and a few more than were accepted.
    #[inline]
    pub(crate) fn held(&self) -> Option<usize> {
        match self {
            Transport::Tcp(_stream) => None,
            Transport::Tls(layer) => Some(layer.held()),
        }
    }

    /// Gives the socket what is held. `Pending`: it has not taken all.
    #[inline]
    pub(crate) fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Transport::Tcp(_stream) => Poll::Ready(Ok(())),
            Transport::Tls(layer) => layer.poll_flush(context),
        }
    }

    /// Has the socket reset when it is closed: what was not sent is thrown away, and the peer sees no end.
    pub(crate) fn reset_on_close(&self) {
        let stream = match self {
            Transport::Tcp(stream) => stream,
            Transport::Tls(layer) => layer.stream(),
        };
        // A socket that refuses is gone already.
        let _ = stream.set_linger(Some(Duration::ZERO));
    }

    /// Ends our side: the peer reads what was written before, and then the end of the stream.
    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Transport::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Transport::Tls(layer) => layer.shutdown_write(),
        }
    }
}

impl From<TcpStream> for Transport {
    fn from(stream: TcpStream) -> Transport {
        Transport::Tcp(stream)
    }
}
