//! Datagrams between processes of one host.

use std::{
    future::poll_fn,
    io,
    net::Shutdown,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use crate::{
    net::{
        ready::Io,
        unix_stream::{Pause, ReceivedFds, check_room, naming},
    },
    reactor::Direction,
    sys::{
        options,
        socket::{self, Kind},
        unix::{self, UnixAddr},
    },
};

/// A Unix socket for datagrams: whole or not at all, in order, and never lost on the way.
///
/// All methods take `&self`, as those of a [`UdpSocket`](super::UdpSocket) do. What
/// [`UnixListener`](super::UnixListener) says of the file of its name holds here too.
///
/// # Cancellation
///
/// Dropping a future of a call loses nothing: the datagram was neither received nor sent.
///
/// # Examples
///
/// ```
/// use wakering::net::UnixDatagram;
///
/// wakering::run(async {
///     let (one, other) = UnixDatagram::pair()?;
///     one.send(b"ping").await?;
///     let mut buffer = [0; 64];
///     assert_eq!(other.recv(&mut buffer).await?, 4);
///     Ok::<(), std::io::Error>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Source: unix(7).
#[derive(Debug)]
pub struct UnixDatagram {
    io: Io,
}

/// What is known of a datagram that came through a Unix socket; its bytes are in the caller's buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnixReceived {
    /// How many bytes were put into the buffer. Zero is an empty datagram, not an end.
    pub len: usize,
    /// Who sent it: [`UnixAddr::Unnamed`] when the sender is not bound.
    pub source: UnixAddr,
    /// The datagram was longer than the buffer, and the rest of it is gone.
    pub truncated: bool,
}

impl From<unix::Message> for UnixReceived {
    fn from(message: unix::Message) -> UnixReceived {
        let unix::Message { len, source, truncated, descriptors: _, descriptors_lost: _ } = message;
        UnixReceived { len, source, truncated }
    }
}

impl UnixDatagram {
    /// A socket with a name, to which others can send.
    ///
    /// # Errors
    ///
    /// As [`UnixListener::bind`](super::UnixListener::bind).
    pub fn bind(address: impl Into<UnixAddr>) -> io::Result<UnixDatagram> {
        let address = address.into();
        let socket = UnixDatagram::unbound()?;
        unix::bind(socket.io.fd(), &address).map_err(naming("bind to", &address))?;
        Ok(socket)
    }

    /// A socket without a name: it sends, and nobody can answer.
    ///
    /// # Errors
    ///
    /// The system's, of socket(2).
    pub fn unbound() -> io::Result<UnixDatagram> {
        Ok(UnixDatagram { io: Io::new(unix::socket(Kind::Datagram)?) })
    }

    /// Two sockets that are connected with each other.
    ///
    /// # Errors
    ///
    /// The system's, of socketpair(2).
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (one, other) = unix::pair(Kind::Datagram)?;
        Ok((UnixDatagram { io: Io::new(one) }, UnixDatagram { io: Io::new(other) }))
    }

    /// Takes over a socket of the standard library and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// The system's, of setting the flag.
    pub fn from_std(socket: std::os::unix::net::UnixDatagram) -> io::Result<UnixDatagram> {
        socket.set_nonblocking(true)?;
        let socket = UnixDatagram { io: Io::new(OwnedFd::from(socket)) };
        socket.io.note_lent();
        Ok(socket)
    }

    /// Gives the socket out as one of the standard library. It is still non-blocking.
    pub fn into_std(self) -> std::os::unix::net::UnixDatagram {
        std::os::unix::net::UnixDatagram::from(self.io.into_owned_fd())
    }

    /// Sets the peer: from now on [`send`](UnixDatagram::send) goes there, and (on Linux) only its datagrams are received.
    ///
    /// # Errors
    ///
    /// `NotFound`, `ConnectionRefused` when no socket has that name any more, `PermissionDenied`. The text names the
    /// address.
    pub fn connect(&self, address: impl Into<UnixAddr>) -> io::Result<()> {
        let address = address.into();
        unix::connect(self.io.fd(), &address).map(drop).map_err(naming("connect to", &address))
    }

    /// Sends one datagram to the peer, and returns its length. An empty one is sent too. Waits while the peer has as many
    /// as its queue holds (10 on Linux, unless set up otherwise).
    ///
    /// # Errors
    ///
    /// `ConnectionRefused` when the peer is gone, `NotConnected` without one, `EMSGSIZE` for one that is too large; others
    /// of send(2).
    ///
    /// # Cancellation
    ///
    /// Nothing was sent.
    pub async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.io.io(Direction::Write, |fd| socket::send(fd, bytes)).await
    }

    /// Sends one datagram to `target`, and returns its length. An empty one is sent too.
    ///
    /// Where the target's queue is full it is tried again, after pauses of 1 to 64 ms: the system (Linux) tells a sender of
    /// room only at the peer that it is connected to. Who sends much to one target connects.
    ///
    /// # Errors
    ///
    /// As [`send`](UnixDatagram::send), and `NotFound` when there is no such name; the text names it.
    ///
    /// # Cancellation
    ///
    /// Nothing was sent.
    pub async fn send_to(&self, bytes: &[u8], target: impl Into<UnixAddr>) -> io::Result<usize> {
        let target = target.into();
        let mut pause = Pause::new();
        loop {
            match unix::send_message(self.io.fd(), bytes, &[], Some(&target)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => pause.take().await,
                outcome => return outcome.map_err(naming("send to", &target)),
            }
        }
    }

    /// Sends one datagram and descriptors with it to the peer; see [`UnixStream::send_fds`](super::UnixStream::send_fds).
    /// The datagram may be empty.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for more than 253 descriptors; else as [`send`](UnixDatagram::send).
    ///
    /// # Cancellation
    ///
    /// Nothing was sent.
    pub async fn send_fds(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.io.io(Direction::Write, |fd| unix::send_message(fd, bytes, fds, None)).await
    }

    /// Receives one datagram, and returns its length, which is 0 for an empty one. Of one that is longer than `buffer` the
    /// rest is gone.
    ///
    /// # Errors
    ///
    /// The system's, of recv(2).
    ///
    /// # Cancellation
    ///
    /// No datagram is lost.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.io.io(Direction::Read, |fd| socket::recv(fd, buffer)).await
    }

    /// Receives one datagram and tells who sent it and whether it was cut.
    ///
    /// # Errors
    ///
    /// As [`recv`](UnixDatagram::recv).
    ///
    /// # Cancellation
    ///
    /// No datagram is lost.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<UnixReceived> {
        self.io.io(Direction::Read, |fd| unix::recv_message(fd, buffer, 0, 0)).await.map(Into::into)
    }

    /// Receives one datagram as [`recv_from`](UnixDatagram::recv_from) does, and leaves it in the socket.
    ///
    /// # Errors
    ///
    /// As [`recv`](UnixDatagram::recv).
    ///
    /// # Cancellation
    ///
    /// No datagram is lost.
    pub async fn peek_from(&self, buffer: &mut [u8]) -> io::Result<UnixReceived> {
        self.io.io(Direction::Read, |fd| unix::peek_message(fd, buffer)).await.map(Into::into)
    }

    /// Receives one datagram and takes over at most `most` descriptors that come with it.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for `most` beyond 253; else as [`recv`](UnixDatagram::recv). That there was no room for a descriptor
    /// is no error: [`ReceivedFds::fds_lost`] tells.
    ///
    /// # Cancellation
    ///
    /// No datagram is lost.
    pub async fn recv_fds(&self, buffer: &mut [u8], most: usize) -> io::Result<ReceivedFds> {
        check_room(most)?;
        self.io.io(Direction::Read, |fd| unix::recv_message(fd, buffer, most, 0)).await.map(Into::into)
    }

    /// Sends one datagram to the peer now.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the peer's queue is full; else as [`send`](UnixDatagram::send).
    pub fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.io.try_io(Direction::Write, |fd| socket::send(fd, bytes))
    }

    /// Sends one datagram to `target` now.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the target's queue is full; else as [`send_to`](UnixDatagram::send_to).
    pub fn try_send_to(&self, bytes: &[u8], target: impl Into<UnixAddr>) -> io::Result<usize> {
        let target = target.into();
        // Readiness is not cleared: the system says nothing of this target's queue.
        unix::send_message(self.io.fd(), bytes, &[], Some(&target)).map_err(naming("send to", &target))
    }

    /// Receives a datagram that is there now.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is none; else as [`recv`](UnixDatagram::recv).
    pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.io.try_io(Direction::Read, |fd| socket::recv(fd, buffer))
    }

    /// Receives a datagram that is there now and tells who sent it.
    ///
    /// # Errors
    ///
    /// As [`try_recv`](UnixDatagram::try_recv).
    pub fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<UnixReceived> {
        self.io.try_io(Direction::Read, |fd| unix::recv_message(fd, buffer, 0, 0)).map(Into::into)
    }

    /// Waits until a datagram may be there. It is a hint.
    ///
    /// # Errors
    ///
    /// Of the registration with the selector.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn readable(&self) -> io::Result<()> {
        poll_fn(|cx| self.io.poll_ready(cx, Direction::Read)).await
    }

    /// Waits until the peer may take a datagram. It is a hint, and says nothing of targets that the socket is not connected
    /// to.
    ///
    /// # Errors
    ///
    /// Of the registration with the selector.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn writable(&self) -> io::Result<()> {
        poll_fn(|cx| self.io.poll_ready(cx, Direction::Write)).await
    }

    /// The address of this socket.
    ///
    /// # Errors
    ///
    /// The system's, of getsockname(2).
    pub fn local_addr(&self) -> io::Result<UnixAddr> {
        unix::local_addr(self.io.fd())
    }

    /// The address of the peer.
    ///
    /// # Errors
    ///
    /// `NotConnected` without one; others of getpeername(2).
    pub fn peer_addr(&self) -> io::Result<UnixAddr> {
        unix::peer_addr(self.io.fd())
    }

    /// Takes an error that the socket has met and nobody has been told of yet (`SO_ERROR`).
    ///
    /// # Errors
    ///
    /// The system's, of getsockopt(2).
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        options::take_error(self.io.fd())
    }

    /// Shuts one direction or both down.
    ///
    /// # Errors
    ///
    /// `NotConnected` without a peer; others of shutdown(2).
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        socket::shutdown(self.io.fd(), how)
    }
}

/// Lends the descriptor. From then on it may have been duplicated, so that closing costs one more system call.
impl AsFd for UnixDatagram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.note_lent();
        self.io.fd()
    }
}
