//! A TCP connection: the single operations. Loops over them are in `transfer`, halves in `split`, options in
//! `tcp_options`.

use std::{
    future::poll_fn,
    io::{self, IoSlice, IoSliceMut},
    net::Shutdown,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    task::{Context, Poll},
};

use bytes::{Buf, BytesMut};

use crate::{
    net::{
        addresses::Addresses,
        connect::TcpConnector,
        ready::Io,
        split::{self, OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf},
        stream::{Reader, Stream, Writer, sealed::HasIo},
        transfer,
        zero_copy::ZeroCopy,
    },
    reactor::Direction,
    sys::socket,
};

/// A TCP connection.
///
/// It belongs to one thread: the worker on which it first had to wait. To move it to another, take it out with
/// [`into_std`](TcpStream::into_std) and in again with [`from_std`](TcpStream::from_std). It may be made outside of a
/// runtime; only waiting needs one. A connection that never has to wait is never registered with the selector.
///
/// Reading and writing take `&mut self`, so that two tasks cannot steal each other's bytes by accident;
/// [`split`](TcpStream::split) and [`into_split`](TcpStream::into_split) give one half to each. Nothing is buffered
/// here: what a write has accepted is with the kernel, and there is no `flush`.
///
/// Dropping it closes the connection at once. Bytes that the kernel has accepted are still delivered, unless there
/// are unread bytes in the receive buffer, in which case the peer gets a reset (RFC 2525 §2.17): end with
/// [`shutdown`](TcpStream::shutdown) and read to the end where that matters.
///
/// # Cancellation
///
/// Dropping any future of a connection leaves the connection as it was. What is lost with it:
///
/// | call | dropped before it is done |
/// |---|---|
/// | `read`, `read_buf`, `read_vectored`, `peek`, `write`, `write_vectored`, `readable`, `writable`, `read_with` | nothing: no byte was moved |
/// | [`read_at_least`](TcpStream::read_at_least), [`write_all_buf`](TcpStream::write_all_buf) | nothing: the caller's buffer says how far it got; call again to go on |
/// | [`read_exact`](TcpStream::read_exact), [`write_all`](TcpStream::write_all) | no byte, but the count of those already moved: prefer the two above under a `timeout` or in a `select` |
///
/// # Examples
///
/// ```
/// use wakering::net::{TcpListener, TcpStream};
///
/// wakering::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let mut client = TcpStream::connect(listener.local_addr()?).await?;
///     let (mut server, _peer) = listener.accept().await?;
///     client.write_all(b"ping").await?;
///     let mut buffer = [0; 4];
///     server.read_exact(&mut buffer).await?;
///     assert_eq!(&buffer, b"ping");
///     Ok::<(), std::io::Error>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Source: tcp(7), socket(7).
#[derive(Debug)]
pub struct TcpStream {
    pub(super) io: Io,
    pub(super) zero: ZeroCopy,
}

impl TcpStream {
    /// Connects to the first of `addresses` that answers, trying one after the other.
    ///
    /// One that does not answer takes as long as the system gives it (Linux: two minutes) before the next has its turn:
    /// [`TcpConnector::happy_eyeballs`] tries them side by side. [`TcpConnector`] also sets the local address and options of the new socket.
    ///
    /// # Errors
    ///
    /// The last refusal, as an [`AddressError`](super::AddressError) that names the address: `ConnectionRefused`,
    /// `TimedOut`, `HostUnreachable`, `NetworkUnreachable` … `InvalidInput` when there is no address at all.
    ///
    /// # Cancellation
    ///
    /// The attempt ends and its socket is closed.
    pub async fn connect(addresses: impl Addresses) -> io::Result<TcpStream> {
        TcpConnector::new().connect(addresses).await
    }

    /// Takes over a connection of the standard library and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// The system's, of setting the flag.
    pub fn from_std(stream: std::net::TcpStream) -> io::Result<TcpStream> {
        stream.set_nonblocking(true)?;
        let stream = TcpStream::from_fd(OwnedFd::from(stream));
        // A `try_clone` made before may be alive.
        stream.io.note_lent();
        Ok(stream)
    }

    /// Gives the connection out as one of the standard library, which can go to another thread.
    ///
    /// It is still non-blocking: call its `set_nonblocking(false)` to use it with blocking calls.
    pub fn into_std(self) -> std::net::TcpStream {
        std::net::TcpStream::from(OwnedFd::from(self))
    }

    pub(crate) fn from_fd(fd: OwnedFd) -> TcpStream {
        TcpStream::from_io(Io::tcp(fd))
    }

    pub(super) fn from_io(io: Io) -> TcpStream {
        TcpStream { io, zero: ZeroCopy::new() }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.io.fd()
    }

    /// Reads what there is, at most as much as `buffer` holds, and says how much it was.
    ///
    /// Zero is the end of the stream: the peer has shut its side down (or `buffer` is empty).
    ///
    /// # Errors
    ///
    /// `ConnectionReset` when the peer has reset the connection, and other errors of recv(2). Never `WouldBlock` or
    /// `Interrupted`.
    ///
    /// # Cancellation
    ///
    /// No byte is taken from the stream.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        transfer::read(&self.io, buffer).await
    }

    /// As [`read`](TcpStream::read), into several buffers, each filled before the next. At most 1,024 of them are
    /// used.
    ///
    /// # Errors
    ///
    /// As [`read`](TcpStream::read).
    ///
    /// # Cancellation
    ///
    /// No byte is taken from the stream.
    pub async fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        transfer::read_vectored(&self.io, buffers).await
    }

    /// Reads what there is and appends it to `buffer`; zero is the end of the stream.
    ///
    /// It fills the spare capacity of `buffer` without zeroing it first, and reserves 4 KiB when there is none.
    ///
    /// # Errors
    ///
    /// As [`read`](TcpStream::read).
    ///
    /// # Cancellation
    ///
    /// No byte is taken from the stream.
    pub async fn read_buf(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        transfer::read_buf(&self.io, buffer).await
    }

    /// Reads until `buffer` is full.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when the stream ends before; else as [`read`](TcpStream::read).
    ///
    /// # Cancellation
    ///
    /// Bytes that were read lie at the front of `buffer`, but nothing says how many:
    /// [`read_at_least`](TcpStream::read_at_least) does.
    pub async fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        transfer::read_exact(&self.io, buffer).await
    }

    /// Reads until `buffer` holds at least `length` bytes, those counted that it held before; it may hold more then.
    ///
    /// Memory is taken as bytes come, at most 64 KiB ahead of them (and doubled, as `BytesMut` does): a length that the peer
    /// has told may be larger than what ever comes. How much may come is the caller's to bound.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when the stream ends before, what came until then being in `buffer`; else as
    /// [`read`](TcpStream::read).
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: what came is in `buffer`, and the same call goes on from there.
    pub async fn read_at_least(&mut self, buffer: &mut BytesMut, length: usize) -> io::Result<()> {
        transfer::read_at_least(&self.io, buffer, length).await
    }

    /// Waits for bytes without a buffer, then reads into one that the worker lends, and hands them to `user`.
    ///
    /// An idle connection so owns no buffer at all. An empty slice is the end of the stream. `user` runs inside the
    /// read: what it does not keep of the bytes is gone.
    ///
    /// # Errors
    ///
    /// As [`read`](TcpStream::read); `user` is not called then.
    ///
    /// # Cancellation
    ///
    /// No byte is taken from the stream, and `user` is not called.
    ///
    /// # Examples
    ///
    /// ```
    /// # use wakering::net::{TcpListener, TcpStream};
    /// # wakering::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let mut client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (mut server, _peer) = listener.accept().await?;
    /// # client.write_all(b"hello").await?;
    /// let length = server.read_with(|bytes| bytes.len()).await?;
    /// assert_eq!(length, 5);
    /// # Ok::<(), std::io::Error>(())
    /// # })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn read_with<R>(&mut self, user: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        transfer::read_with(&self.io, user).await
    }

    /// Reads as [`read`](TcpStream::read) does, and leaves the bytes in the stream.
    ///
    /// # Errors
    ///
    /// As [`read`](TcpStream::read).
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        transfer::peek(&self.io, buffer).await
    }

    /// Writes what the kernel takes now, waiting only when it takes nothing, and says how much that was.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` or `ConnectionReset` when the peer is gone, and other errors of send(2). `SIGPIPE` is never raised.
    /// Never `WouldBlock` or `Interrupted`.
    ///
    /// # Cancellation
    ///
    /// No byte was written.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        transfer::write(&self.io, bytes).await
    }

    /// As [`write`](TcpStream::write), from several buffers in turn. At most 1,024 of them are looked at.
    ///
    /// # Errors
    ///
    /// As [`write`](TcpStream::write).
    ///
    /// # Cancellation
    ///
    /// No byte was written.
    pub async fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        transfer::write_vectored(&self.io, buffers).await
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    ///
    /// As [`write`](TcpStream::write); a part may have been written then.
    ///
    /// # Cancellation
    ///
    /// A part may have been written, and nothing says how much: [`write_all_buf`](TcpStream::write_all_buf) does.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        transfer::write_all(&self.io, bytes).await
    }

    /// Writes all of several buffers in turn. `buffers` is changed: what is written is taken off, as by
    /// [`IoSlice::advance_slices`].
    ///
    /// # Errors
    ///
    /// As [`write`](TcpStream::write); a part may have been written then.
    ///
    /// # Cancellation
    ///
    /// A part may have been written, and nothing says how much: [`write_all_buf`](TcpStream::write_all_buf) does.
    pub async fn write_all_vectored(&mut self, buffers: &mut [IoSlice<'_>]) -> io::Result<()> {
        transfer::write_all_vectored(&self.io, buffers).await
    }

    /// Writes all that `bytes` holds, with vectored writes where it is in pieces, and advances it by what is written.
    ///
    /// # Errors
    ///
    /// As [`write`](TcpStream::write); `bytes` then holds what was not written.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: `bytes` holds what was not written, and the same call goes on from there.
    pub async fn write_all_buf(&mut self, bytes: &mut impl Buf) -> io::Result<()> {
        transfer::write_all_buf(&self.io, bytes).await
    }

    /// Shuts one direction or both down.
    ///
    /// Shutting the writing side sends what was written and then the end of the stream; reading goes on. Nothing is
    /// buffered on this side, so there is nothing to wait for.
    ///
    /// # Errors
    ///
    /// `NotConnected` when the connection has already ended; others of shutdown(2).
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        socket::shutdown(self.fd(), how)
    }

    /// Waits until a read would say something: bytes, the end of the stream, or an error.
    ///
    /// It is a hint: [`try_read`](TcpStream::try_read) may still say `WouldBlock`.
    ///
    /// # Errors
    ///
    /// Of the registration with the selector: no more memory or watches, or no runtime.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn readable(&self) -> io::Result<()> {
        poll_fn(|cx| self.io.poll_ready(cx, Direction::Read)).await
    }

    /// Waits until a write would take bytes or report an error. It is a hint, as [`readable`](TcpStream::readable) is.
    ///
    /// # Errors
    ///
    /// As [`readable`](TcpStream::readable).
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn writable(&self) -> io::Result<()> {
        poll_fn(|cx| self.io.poll_ready(cx, Direction::Write)).await
    }

    /// Reads what there is now.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is nothing; else as [`read`](TcpStream::read).
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.io.try_recv(buffer)
    }

    /// Writes what the kernel takes now.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when it takes nothing; else as [`write`](TcpStream::write).
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.io.try_send(bytes)
    }

    /// As [`try_write`](TcpStream::try_write), from several buffers in turn.
    ///
    /// # Errors
    ///
    /// As [`try_write`](TcpStream::try_write).
    pub fn try_write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.io.try_send_vectored(buffers)
    }

    /// Lends the connection as a half that reads and a half that writes.
    pub fn split(&mut self) -> (ReadHalf<&TcpStream>, WriteHalf<&TcpStream>) {
        split::borrow(self)
    }

    /// Takes the connection apart into two halves that can go to two tasks of the same worker.
    ///
    /// Dropping the writing half shuts the writing side down; the connection closes with the second half.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        split::own(self)
    }

    pub(crate) fn poll_read_buf(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        self.io.poll_recv_buf(cx, buffer)
    }

    /// Waits if a read would have to, before anything is made ready for it.
    #[inline]
    pub(crate) fn poll_tryable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_tryable(context, Direction::Read)
    }

    /// Reads without regard to what the selector has reported.
    pub(crate) fn try_read_buf(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        self.io.try_recv_buf(buffer)
    }

    /// Ready once the connection is broken: for who has read to the end, and would not be told by reading. Where the
    /// backend does not tell of it, never.
    pub(crate) fn poll_broken(&self, context: &mut Context<'_>) -> Poll<io::Error> {
        self.io.poll_broken(context)
    }

    pub(crate) fn try_peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.io.try_peek(buffer)
    }

    pub(crate) fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io.poll_send_vectored(cx, buffers)
    }
}

/// Lends the descriptor. From then on it may have been duplicated, so that closing the connection costs one more
/// system call (epoll(7), question 6).
impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.note_lent();
        self.io.fd()
    }
}

/// Takes over a connected socket and makes it non-blocking.
impl TryFrom<OwnedFd> for TcpStream {
    type Error = io::Error;

    fn try_from(fd: OwnedFd) -> io::Result<TcpStream> {
        TcpStream::from_std(fd.into())
    }
}

/// Gives the descriptor out, unregistered; it is still non-blocking.
impl From<TcpStream> for OwnedFd {
    fn from(mut stream: TcpStream) -> OwnedFd {
        stream.zero.leak();
        stream.io.take_owned_fd()
    }
}

/// What the kernel holds of memory that was sent without a copy is let go of before the descriptor is closed.
impl Drop for TcpStream {
    fn drop(&mut self) {
        self.zero.let_go(&self.io);
    }
}

impl HasIo for TcpStream {
    fn io(&self) -> &Io {
        &self.io
    }
}

impl Reader for TcpStream {}
impl Writer for TcpStream {}
impl Stream for TcpStream {}
