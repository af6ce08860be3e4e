//! Unix connections: the single operations. Loops over them are in `transfer`, halves in `split`.

use std::{
    future::poll_fn,
    io::{self, IoSlice, IoSliceMut},
    net::Shutdown,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use bytes::{Buf, BytesMut};

use crate::{
    limits::{PASSED_DESCRIPTORS_MAX, UNIX_RETRY_FIRST_MS, UNIX_RETRY_LONGEST_MS},
    net::{
        connect::established,
        ready::Io,
        split::{self, OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf},
        stream::{Reader, Stream, Writer, sealed::HasIo},
        transfer,
    },
    reactor::Direction,
    sys::{
        options,
        socket::{self, Connect, Kind},
        unix::{self, UnixAddr},
    },
    worker::timer::Timer,
};

/// A connection to a Unix socket, or one of a pair.
///
/// It reads and writes as a [`TcpStream`](super::TcpStream) does, and what that says of threads, of dropping and of
/// cancelling holds here too. Beyond that it tells who the [peer](UnixStream::peer_cred) is, and carries
/// [descriptors](UnixStream::send_fds).
///
/// # Examples
///
/// ```
/// use wakering::net::UnixStream;
///
/// wakering::run(async {
///     let (mut one, mut other) = UnixStream::pair()?;
///     one.write_all(b"ping").await?;
///     let mut buffer = [0; 4];
///     other.read_exact(&mut buffer).await?;
///     assert_eq!(&buffer, b"ping");
///     assert_eq!(other.peer_cred()?.pid(), Some(std::process::id() as i32));
///     Ok::<(), std::io::Error>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Source: unix(7).
#[derive(Debug)]
pub struct UnixStream {
    io: Io,
}

/// Who the process at the other end of a Unix connection is.
///
/// The system wrote it down when the peer connected, listened or made the pair; the process may have changed its
/// user, handed the socket on, or ended since.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UCred(unix::Credentials);

impl UCred {
    /// The user, the effective one.
    pub fn uid(&self) -> u32 {
        self.0.uid
    }

    /// The group, the effective one.
    pub fn gid(&self) -> u32 {
        self.0.gid
    }

    /// The process; `None` where the system does not tell (all but Linux), and for one outside of this PID namespace.
    pub fn pid(&self) -> Option<i32> {
        self.0.pid
    }
}

/// What came with bytes of a Unix socket, whose place is the caller's buffer.
#[derive(Debug)]
#[non_exhaustive]
pub struct ReceivedFds {
    /// How many bytes were put into the buffer. Zero is the end of the stream, or an empty datagram.
    pub len: usize,
    /// The descriptors, close-on-exec, in the order in which they were sent.
    pub fds: Vec<OwnedFd>,
    /// More descriptors came than there was room for, in the call or in this process's table. All of the message's were
    /// closed then, since which of them are missing cannot be told, and `fds` is empty.
    pub fds_lost: bool,
    /// The datagram was longer than the buffer, and the rest of it is gone. Never so on a connection.
    pub truncated: bool,
}

impl From<unix::Message> for ReceivedFds {
    fn from(message: unix::Message) -> ReceivedFds {
        let unix::Message { len, source: _, descriptors, truncated, descriptors_lost } = message;
        ReceivedFds { len, fds: descriptors, fds_lost: descriptors_lost, truncated }
    }
}

impl UnixStream {
    /// Connects to the socket that listens at `address`: the name of its file, or an abstract name.
    ///
    /// Where the listener's queue is full it is tried again, after pauses of 1 to 64 ms: the system (Linux) does not
    /// tell when there is room. Systems that refuse then (the BSDs) are not asked again.
    ///
    /// # Errors
    ///
    /// `NotFound` without such a file, `ConnectionRefused` when nobody listens there, `PermissionDenied`, `InvalidInput`
    /// for a name that cannot be one, `Unsupported` for an abstract name where there are none. The text names the address.
    ///
    /// # Cancellation
    ///
    /// The attempt ends and its socket is closed.
    pub async fn connect(address: impl Into<UnixAddr>) -> io::Result<UnixStream> {
        let address = address.into();
        connect(&address).await.map_err(naming("connect to", &address))
    }

    /// Two connected ends without names.
    ///
    /// # Errors
    ///
    /// The system's, of socketpair(2).
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (one, other) = unix::pair(Kind::Stream)?;
        Ok((UnixStream::from_fd(one), UnixStream::from_fd(other)))
    }

    /// Takes over a connection of the standard library and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// The system's, of setting the flag.
    pub fn from_std(stream: std::os::unix::net::UnixStream) -> io::Result<UnixStream> {
        stream.set_nonblocking(true)?;
        let stream = UnixStream::from_fd(OwnedFd::from(stream));
        // A `try_clone` made before may be alive.
        stream.io.note_lent();
        Ok(stream)
    }

    /// Gives the connection out as one of the standard library, which can go to another thread.
    ///
    /// It is still non-blocking: call its `set_nonblocking(false)` to use it with blocking calls.
    pub fn into_std(self) -> std::os::unix::net::UnixStream {
        std::os::unix::net::UnixStream::from(self.io.into_owned_fd())
    }

    pub(super) fn from_fd(fd: OwnedFd) -> UnixStream {
        UnixStream { io: Io::new(fd) }
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// The system's, of getsockname(2).
    pub fn local_addr(&self) -> io::Result<UnixAddr> {
        unix::local_addr(self.io.fd())
    }

    /// The address of the other end; of a client, nearly always [`UnixAddr::Unnamed`].
    ///
    /// # Errors
    ///
    /// The system's, of getpeername(2).
    pub fn peer_addr(&self) -> io::Result<UnixAddr> {
        unix::peer_addr(self.io.fd())
    }

    /// Who the peer is (`SO_PEERCRED`, getpeereid(3)).
    ///
    /// # Errors
    ///
    /// `Unsupported` where the system does not tell; others of getsockopt(2).
    pub fn peer_cred(&self) -> io::Result<UCred> {
        unix::credentials(self.io.fd()).map(UCred)
    }

    /// Takes an error that the connection has met and nobody has been told of yet (`SO_ERROR`).
    ///
    /// # Errors
    ///
    /// The system's, of getsockopt(2).
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        options::take_error(self.io.fd())
    }

    /// Sends bytes and, with the first of them, descriptors: the peer gets duplicates. Says how many bytes were sent.
    ///
    /// The descriptors stay the caller's own. They arrive with a read of at least one of these bytes by a call that has
    /// room for them, as [`recv_fds`](UnixStream::recv_fds) has; any other read throws them away.
    ///
    /// # Errors
    ///
    /// `InvalidInput` without a byte to go with them, and for more than 253 descriptors; else as
    /// [`write`](UnixStream::write).
    ///
    /// # Cancellation
    ///
    /// Nothing was sent.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::{io::Read, os::fd::AsFd};
    /// use wakering::net::UnixStream;
    ///
    /// wakering::run(async {
    ///     let (mut here, mut there) = UnixStream::pair()?;
    ///     let (mut reader, writer) = std::os::unix::net::UnixStream::pair()?;
    ///     here.send_fds(b"a pipe", &[writer.as_fd()]).await?;
    ///     drop(writer);
    ///     let mut buffer = [0; 64];
    ///     let received = there.recv_fds(&mut buffer, 1).await?;
    ///     assert_eq!((received.len, received.fds.len()), (6, 1));
    ///     drop(received);
    ///     assert_eq!(reader.read(&mut buffer)?, 0, "the last end to write to is closed");
    ///     Ok::<(), std::io::Error>(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn send_fds(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        if bytes.is_empty() && !fds.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "descriptors need a byte to go with"));
        }
        self.io.io(Direction::Write, |fd| unix::send_message(fd, bytes, fds, None)).await
    }

    /// Reads what there is, at most as much as `buffer` holds, and takes over at most `most` descriptors that come with it.
    ///
    /// A read stops before bytes that bring descriptors of their own, so that no two messages' are mixed.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for `most` beyond 253; else as [`read`](UnixStream::read). That there was no room for a descriptor is
    /// no error: [`ReceivedFds::fds_lost`] tells.
    ///
    /// # Cancellation
    ///
    /// No byte and no descriptor is taken from the stream.
    pub async fn recv_fds(&mut self, buffer: &mut [u8], most: usize) -> io::Result<ReceivedFds> {
        check_room(most)?;
        let received = self.io.io(Direction::Read, |fd| unix::recv_message(fd, buffer, most, 0)).await?;
        Ok(received.into())
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

    /// As [`read`](UnixStream::read), into several buffers, each filled before the next. At most 1,024 of them are
    /// used.
    ///
    /// # Errors
    ///
    /// As [`read`](UnixStream::read).
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
    /// As [`read`](UnixStream::read).
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
    /// `UnexpectedEof` when the stream ends before; else as [`read`](UnixStream::read).
    ///
    /// # Cancellation
    ///
    /// Bytes that were read lie at the front of `buffer`, but nothing says how many:
    /// [`read_at_least`](UnixStream::read_at_least) does.
    pub async fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        transfer::read_exact(&self.io, buffer).await
    }

    /// Reads until `buffer` holds at least `length` bytes, those counted that it held before; it may hold more then.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when the stream ends before, what came until then being in `buffer`; else as
    /// [`read`](UnixStream::read).
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
    /// As [`read`](UnixStream::read); `user` is not called then.
    ///
    /// # Cancellation
    ///
    /// No byte is taken from the stream, and `user` is not called.
    pub async fn read_with<R>(&mut self, user: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        transfer::read_with(&self.io, user).await
    }

    /// Reads as [`read`](UnixStream::read) does, and leaves the bytes in the stream.
    ///
    /// # Errors
    ///
    /// As [`read`](UnixStream::read).
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

    /// As [`write`](UnixStream::write), from several buffers in turn. At most 1,024 of them are looked at.
    ///
    /// # Errors
    ///
    /// As [`write`](UnixStream::write).
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
    /// As [`write`](UnixStream::write); a part may have been written then.
    ///
    /// # Cancellation
    ///
    /// A part may have been written, and nothing says how much: [`write_all_buf`](UnixStream::write_all_buf) does.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        transfer::write_all(&self.io, bytes).await
    }

    /// Writes all of several buffers in turn. `buffers` is changed: what is written is taken off, as by
    /// [`IoSlice::advance_slices`].
    ///
    /// # Errors
    ///
    /// As [`write`](UnixStream::write); a part may have been written then.
    ///
    /// # Cancellation
    ///
    /// A part may have been written, and nothing says how much: [`write_all_buf`](UnixStream::write_all_buf) does.
    pub async fn write_all_vectored(&mut self, buffers: &mut [IoSlice<'_>]) -> io::Result<()> {
        transfer::write_all_vectored(&self.io, buffers).await
    }

    /// Writes all that `bytes` holds, with vectored writes where it is in pieces, and advances it by what is written.
    ///
    /// # Errors
    ///
    /// As [`write`](UnixStream::write); `bytes` then holds what was not written.
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
        socket::shutdown(self.io.fd(), how)
    }

    /// Waits until a read would say something: bytes, the end of the stream, or an error.
    ///
    /// It is a hint: [`try_read`](UnixStream::try_read) may still say `WouldBlock`.
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

    /// Waits until a write would take bytes or report an error. It is a hint, as [`readable`](UnixStream::readable) is.
    ///
    /// # Errors
    ///
    /// As [`readable`](UnixStream::readable).
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
    /// `WouldBlock` when there is nothing; else as [`read`](UnixStream::read).
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.io.try_recv(buffer)
    }

    /// Writes what the kernel takes now.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when it takes nothing; else as [`write`](UnixStream::write).
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.io.try_send(bytes)
    }

    /// As [`try_write`](UnixStream::try_write), from several buffers in turn.
    ///
    /// # Errors
    ///
    /// As [`try_write`](UnixStream::try_write).
    pub fn try_write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.io.try_send_vectored(buffers)
    }

    /// Lends the connection as a half that reads and a half that writes.
    pub fn split(&mut self) -> (ReadHalf<&UnixStream>, WriteHalf<&UnixStream>) {
        split::borrow(self)
    }

    /// Takes the connection apart into two halves that can go to two tasks of the same worker.
    ///
    /// Dropping the writing half shuts the writing side down; the connection closes with the second half.
    pub fn into_split(self) -> (OwnedReadHalf<UnixStream>, OwnedWriteHalf<UnixStream>) {
        split::own(self)
    }
}

/// Lends the descriptor. From then on it may have been duplicated, so that closing the connection costs one more
/// system call (epoll(7), question 6).
impl AsFd for UnixStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.note_lent();
        self.io.fd()
    }
}

/// Takes over a connected socket and makes it non-blocking.
impl TryFrom<OwnedFd> for UnixStream {
    type Error = io::Error;

    fn try_from(fd: OwnedFd) -> io::Result<UnixStream> {
        UnixStream::from_std(fd.into())
    }
}

/// Gives the descriptor out, unregistered; it is still non-blocking.
impl From<UnixStream> for OwnedFd {
    fn from(stream: UnixStream) -> OwnedFd {
        stream.io.into_owned_fd()
    }
}

impl HasIo for UnixStream {
    fn io(&self) -> &Io {
        &self.io
    }
}

impl Reader for UnixStream {}
impl Writer for UnixStream {}
impl Stream for UnixStream {}

async fn connect(address: &UnixAddr) -> io::Result<UnixStream> {
    let mut pause = Pause::new();
    loop {
        // A socket whose connect was refused is not used again: portable programs make another (connect(2)).
        let io = Io::new(unix::socket(Kind::Stream)?);
        match unix::connect(io.fd(), address) {
            Ok(Connect::Done) => return Ok(UnixStream { io }),
            Ok(Connect::InProgress) => {
                established(&io, |fd| unix::peer_addr(fd).map(drop)).await?;
                return Ok(UnixStream { io });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => pause.take().await,
            Err(error) => return Err(error),
        }
    }
}

pub(super) fn check_room(descriptors: usize) -> io::Result<()> {
    if descriptors > PASSED_DESCRIPTORS_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "room for more descriptors than one message brings",
        ));
    }
    Ok(())
}

/// Says in the error's text what was attempted.
pub(super) fn naming<'a>(what: &'static str, address: &'a UnixAddr) -> impl Fn(io::Error) -> io::Error + 'a {
    move |error| io::Error::new(error.kind(), format!("cannot {what} {address}: {error}"))
}

/// Pauses that grow, for what the system does not tell of.
pub(super) struct Pause(u64);

impl Pause {
    pub(super) fn new() -> Pause {
        Pause(UNIX_RETRY_FIRST_MS)
    }

    pub(super) async fn take(&mut self) {
        Timer::after(Duration::from_millis(self.0)).await;
        self.0 = UNIX_RETRY_LONGEST_MS.min(self.0 * 2);
    }
}
