//! A connection as two halves, lent or owned.
//!
//! Both kinds are one type each, over whatever refers to the stream, so that their methods exist once.

use std::{
    fmt,
    future::poll_fn,
    io::{self, IoSlice, IoSliceMut},
    net::Shutdown,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::{Buf, BytesMut};
use thiserror::Error;

use crate::{
    net::{
        ready::Io,
        stream::{
            Reader, Stream, Writer,
            sealed::{self, HasIo},
        },
        tcp::TcpStream,
        transfer,
    },
    reactor::Direction,
    sys::socket,
};

/// The half of a connection that reads, from [`TcpStream::split`] or [`TcpStream::into_split`].
///
/// Its methods are those of the stream, with the same errors and the same table of what cancelling loses.
#[derive(Debug)]
pub struct ReadHalf<S> {
    stream: S,
}

/// The half of a connection that writes, from [`TcpStream::split`] or [`TcpStream::into_split`].
///
/// Its methods are those of the stream, with the same errors and the same table of what cancelling loses.
#[derive(Debug)]
pub struct WriteHalf<S> {
    stream: S,
}

/// The half that reads and owns its share of the connection.
pub type OwnedReadHalf<T = TcpStream> = ReadHalf<Shared<T>>;

/// The half that writes and owns its share of the connection. Dropping it shuts the writing side down.
pub type OwnedWriteHalf<T = TcpStream> = WriteHalf<SharedWriter<T>>;

/// A share in a connection, lent or owned, as a half holds it.
///
/// This trait is sealed: it is implemented for references, [`Shared`] and [`SharedWriter`].
pub trait Share: sealed::HasIo {
    /// The connection.
    type Stream: Stream;

    /// Looks at the whole connection.
    fn stream(&self) -> &Self::Stream;
}

/// The reading half's share in a connection.
#[derive(Debug)]
pub struct Shared<T>(Rc<T>);

/// The writing half's share in a connection.
#[derive(Debug)]
pub struct SharedWriter<T: Stream> {
    stream: Rc<T>,
    on_drop: OnDrop,
}

/// What dropping the writing half does to the writing side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnDrop {
    ShutDown,
    LeaveOpen,
}

impl<T: Stream> sealed::HasIo for &T {
    fn io(&self) -> &Io {
        (**self).io()
    }
}

impl<T: Stream> Share for &T {
    type Stream = T;

    fn stream(&self) -> &T {
        self
    }
}

impl<T: Stream> sealed::HasIo for Shared<T> {
    fn io(&self) -> &Io {
        self.0.io()
    }
}

impl<T: Stream> Share for Shared<T> {
    type Stream = T;

    fn stream(&self) -> &T {
        &self.0
    }
}

impl<T: Stream> sealed::HasIo for SharedWriter<T> {
    fn io(&self) -> &Io {
        self.stream.io()
    }
}

impl<T: Stream> Share for SharedWriter<T> {
    type Stream = T;

    fn stream(&self) -> &T {
        &self.stream
    }
}

impl<S: Share> sealed::HasIo for ReadHalf<S> {
    fn io(&self) -> &Io {
        self.stream.io()
    }
}

impl<S: Share> sealed::HasIo for WriteHalf<S> {
    fn io(&self) -> &Io {
        self.stream.io()
    }
}

impl<S: Share> Reader for ReadHalf<S> {}
impl<S: Share> Writer for WriteHalf<S> {}

impl<T: Stream> Drop for SharedWriter<T> {
    fn drop(&mut self) {
        // With the other half gone, the close that follows says as much.
        if self.on_drop == OnDrop::ShutDown && Rc::strong_count(&self.stream) > 1 {
            // A connection that has already ended has nobody to tell.
            drop(transfer::end(self.stream.io()));
        }
    }
}

pub(super) fn borrow<T: Stream>(stream: &T) -> (ReadHalf<&T>, WriteHalf<&T>) {
    (ReadHalf { stream }, WriteHalf { stream })
}

pub(super) fn own<T: Stream>(stream: T) -> (OwnedReadHalf<T>, OwnedWriteHalf<T>) {
    let stream = Rc::new(stream);
    let reader = ReadHalf { stream: Shared(stream.clone()) };
    (reader, WriteHalf { stream: SharedWriter { stream, on_drop: OnDrop::ShutDown } })
}

/// Two halves that are not of the same connection; it gives them back.
#[derive(Debug, Error)]
#[error("the two halves belong to different connections")]
pub struct ReuniteError<T: Stream + fmt::Debug = TcpStream>(pub OwnedReadHalf<T>, pub OwnedWriteHalf<T>);

impl<T: Stream + fmt::Debug> OwnedReadHalf<T> {
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
    pub fn reunite(self, writer: OwnedWriteHalf<T>) -> Result<T, ReuniteError<T>> {
        if !Rc::ptr_eq(&self.stream.0, &writer.stream.stream) {
            return Err(ReuniteError(self, writer));
        }
        writer.forget();
        Ok(Rc::into_inner(self.stream.0).expect("the two halves were the only owners"))
    }
}

impl<T: Stream> OwnedWriteHalf<T> {
    /// Drops the half without shutting the writing side down: the peer sees no end while the other half lives.
    pub fn forget(mut self) {
        self.stream.on_drop = OnDrop::LeaveOpen;
    }
}

impl<S: Share> ReadHalf<S> {
    /// The whole connection, for its addresses and options.
    pub fn stream(&self) -> &S::Stream {
        self.stream.stream()
    }

    /// As [`TcpStream::read`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        transfer::read(self.io(), buffer).await
    }

    /// As [`TcpStream::read_vectored`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        transfer::read_vectored(self.io(), buffers).await
    }

    /// As [`TcpStream::read_buf`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn read_buf(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        transfer::read_buf(self.io(), buffer).await
    }

    /// As [`TcpStream::read_exact`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        transfer::read_exact(self.io(), buffer).await
    }

    /// As [`TcpStream::read_at_least`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn read_at_least(&mut self, buffer: &mut BytesMut, length: usize) -> io::Result<()> {
        transfer::read_at_least(self.io(), buffer, length).await
    }

    /// As [`TcpStream::read_with`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn read_with<R>(&mut self, user: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        transfer::read_with(self.io(), user).await
    }

    /// See [`Io::poll_broken`].
    #[cfg_attr(
        not(feature = "message"),
        expect(dead_code, reason = "only the message protocol reads halves later")
    )]
    pub(crate) fn poll_broken(&self, context: &Context<'_>) -> Poll<io::Error> {
        self.io().poll_broken(context)
    }

    /// See [`Io::has_ended`].
    #[cfg_attr(
        not(feature = "message"),
        expect(dead_code, reason = "only the message protocol reads halves later")
    )]
    pub(crate) fn has_ended(&self) -> bool {
        self.io().has_ended()
    }

    /// As [`TcpStream::peek`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        transfer::peek(self.io(), buffer).await
    }

    /// As [`TcpStream::readable`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn readable(&self) -> io::Result<()> {
        poll_fn(|cx| self.io().poll_ready(cx, Direction::Read)).await
    }

    /// As [`TcpStream::try_read`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.io().try_recv(buffer)
    }
}

impl<S: Share> WriteHalf<S> {
    /// The whole connection, for its addresses and options.
    pub fn stream(&self) -> &S::Stream {
        self.stream.stream()
    }

    /// As [`TcpStream::write`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        transfer::write(self.io(), bytes).await
    }

    /// As [`TcpStream::write_vectored`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        transfer::write_vectored(self.io(), buffers).await
    }

    /// As [`TcpStream::write_all`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        transfer::write_all(self.io(), bytes).await
    }

    /// As [`TcpStream::write_all_vectored`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn write_all_vectored(&mut self, buffers: &mut [IoSlice<'_>]) -> io::Result<()> {
        transfer::write_all_vectored(self.io(), buffers).await
    }

    /// As [`TcpStream::write_all_buf`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn write_all_buf(&mut self, bytes: &mut impl Buf) -> io::Result<()> {
        transfer::write_all_buf(self.io(), bytes).await
    }

    /// As [`TcpStream::writable`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn writable(&self) -> io::Result<()> {
        poll_fn(|cx| self.io().poll_ready(cx, Direction::Write)).await
    }

    /// As [`TcpStream::try_write`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.io().try_send(bytes)
    }

    /// As [`TcpStream::try_write_vectored`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.io().try_send_vectored(buffers)
    }

    /// Sends the end of the stream; the other half goes on reading.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::shutdown`].
    pub fn shutdown(&mut self) -> io::Result<()> {
        socket::shutdown(self.io().fd(), Shutdown::Write)
    }
}
