//! A TCP connection as two halves, lent or owned.
//!
//! Both kinds are one type each, over whatever refers to the stream, so that their methods exist once.

use std::{
    future::poll_fn,
    io::{self, IoSlice, IoSliceMut},
    net::Shutdown,
    rc::Rc,
};

use bytes::{Buf, BytesMut};
use thiserror::Error;

use crate::net::{tcp::TcpStream, transfer};

/// The half of a [`TcpStream`] that reads, from [`TcpStream::split`] or [`TcpStream::into_split`].
///
/// Its methods are those of the stream, with the same errors and the same table of what cancelling loses.
#[derive(Debug)]
pub struct ReadHalf<S> {
    stream: S,
}

/// The half of a [`TcpStream`] that writes, from [`TcpStream::split`] or [`TcpStream::into_split`].
///
/// Its methods are those of the stream, with the same errors and the same table of what cancelling loses.
#[derive(Debug)]
pub struct WriteHalf<S> {
    stream: S,
}

/// The half that reads and owns its share of the connection.
pub type OwnedReadHalf = ReadHalf<Shared>;

/// The half that writes and owns its share of the connection. Dropping it shuts the writing side down.
pub type OwnedWriteHalf = WriteHalf<SharedWriter>;

/// The reading half's share in a connection.
#[derive(Debug)]
pub struct Shared(Rc<TcpStream>);

/// The writing half's share in a connection.
#[derive(Debug)]
pub struct SharedWriter {
    stream: Rc<TcpStream>,
    on_drop: OnDrop,
}

/// What dropping the writing half does to the writing side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnDrop {
    ShutDown,
    LeaveOpen,
}

impl AsRef<TcpStream> for TcpStream {
    fn as_ref(&self) -> &TcpStream {
        self
    }
}

impl AsRef<TcpStream> for Shared {
    fn as_ref(&self) -> &TcpStream {
        &self.0
    }
}

impl AsRef<TcpStream> for SharedWriter {
    fn as_ref(&self) -> &TcpStream {
        &self.stream
    }
}

impl Drop for SharedWriter {
    fn drop(&mut self) {
        // With the other half gone, the close that follows says as much.
        if self.on_drop == OnDrop::ShutDown && Rc::strong_count(&self.stream) > 1 {
            // A connection that has already ended has nobody to tell.
            drop(self.stream.shutdown(Shutdown::Write));
        }
    }
}

pub(super) fn borrow(stream: &TcpStream) -> (ReadHalf<&TcpStream>, WriteHalf<&TcpStream>) {
    (ReadHalf { stream }, WriteHalf { stream })
}

pub(super) fn own(stream: TcpStream) -> (OwnedReadHalf, OwnedWriteHalf) {
    let stream = Rc::new(stream);
    let reader = ReadHalf { stream: Shared(stream.clone()) };
    (reader, WriteHalf { stream: SharedWriter { stream, on_drop: OnDrop::ShutDown } })
}

/// Two halves that are not of the same connection; it gives them back.
#[derive(Debug, Error)]
#[error("the two halves belong to different connections")]
pub struct ReuniteError(pub OwnedReadHalf, pub OwnedWriteHalf);

impl OwnedReadHalf {
    /// Puts the connection together again.
    ///
    /// # Errors
    ///
    /// When `writer` is the half of another connection.
    ///
    /// # Examples
    ///
    /// ```
    /// # use wakering::net::{TcpListener, TcpStream};
    /// # wakering::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// let address = stream.local_addr()?;
    /// let (reader, writer) = stream.into_split();
    /// let stream = reader.reunite(writer).expect("two halves of one connection");
    /// assert_eq!(stream.local_addr()?, address);
    /// # Ok::<(), std::io::Error>(())
    /// # })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reunite(self, writer: OwnedWriteHalf) -> Result<TcpStream, ReuniteError> {
        if !Rc::ptr_eq(&self.stream.0, &writer.stream.stream) {
            return Err(ReuniteError(self, writer));
        }
        writer.forget();
        Ok(Rc::into_inner(self.stream.0).expect("the two halves were the only owners"))
    }
}

impl OwnedWriteHalf {
    /// Drops the half without shutting the writing side down: the peer sees no end while the other half lives.
    pub fn forget(mut self) {
        self.stream.on_drop = OnDrop::LeaveOpen;
    }
}

impl<S: AsRef<TcpStream>> ReadHalf<S> {
    /// The whole connection, for its addresses and options.
    pub fn stream(&self) -> &TcpStream {
        self.stream.as_ref()
    }

    /// As [`TcpStream::read`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        transfer::read(self.stream(), buffer).await
    }

    /// As [`TcpStream::read_vectored`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        poll_fn(|cx| self.stream().poll_read_vectored(cx, buffers)).await
    }

    /// As [`TcpStream::read_buf`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn read_buf(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        transfer::read_buf(self.stream(), buffer).await
    }

    /// As [`TcpStream::read_exact`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        transfer::read_exact(self.stream(), buffer).await
    }

    /// As [`TcpStream::read_at_least`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn read_at_least(&mut self, buffer: &mut BytesMut, length: usize) -> io::Result<()> {
        transfer::read_at_least(self.stream(), buffer, length).await
    }

    /// As [`TcpStream::read_with`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn read_with<R>(&mut self, user: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        transfer::read_with(self.stream(), user).await
    }

    /// As [`TcpStream::peek`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        transfer::peek(self.stream(), buffer).await
    }

    /// As [`TcpStream::readable`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn readable(&self) -> io::Result<()> {
        self.stream().readable().await
    }

    /// As [`TcpStream::try_read`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream().try_read(buffer)
    }
}

impl<S: AsRef<TcpStream>> WriteHalf<S> {
    /// The whole connection, for its addresses and options.
    pub fn stream(&self) -> &TcpStream {
        self.stream.as_ref()
    }

    /// As [`TcpStream::write`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        transfer::write(self.stream(), bytes).await
    }

    /// As [`TcpStream::write_vectored`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        poll_fn(|cx| self.stream().poll_write_vectored(cx, buffers)).await
    }

    /// As [`TcpStream::write_all`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        transfer::write_all(self.stream(), bytes).await
    }

    /// As [`TcpStream::write_all_buf`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn write_all_buf(&mut self, bytes: &mut impl Buf) -> io::Result<()> {
        transfer::write_all_buf(self.stream(), bytes).await
    }

    /// As [`TcpStream::writable`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn writable(&self) -> io::Result<()> {
        self.stream().writable().await
    }

    /// As [`TcpStream::try_write`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.stream().try_write(bytes)
    }

    /// As [`TcpStream::try_write_vectored`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.stream().try_write_vectored(buffers)
    }

    /// Sends the end of the stream; the other half goes on reading.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::shutdown`].
    pub fn shutdown(&mut self) -> io::Result<()> {
        self.stream().shutdown(Shutdown::Write)
    }
}
