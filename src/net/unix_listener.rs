//! Listening on a Unix socket.

use std::{
    future::poll_fn,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use crate::{
    limits::LISTEN_BACKLOG,
    net::{
        accept::Acceptor,
        unix_stream::{UnixStream, naming},
    },
    reactor::Direction,
    sys::{
        socket::{self, Kind},
        unix::{self, UnixAddr},
    },
};

/// A Unix socket that listens for connections.
///
/// # The file of its name
///
/// Binding to a path makes a file of the kind "socket", with the permissions that the process's umask leaves: who may
/// write to it may connect (on Linux; make it in a directory of its own where that matters). The file stays when the
/// listener is dropped, and while it is there nobody can bind to it again, although connecting to it is refused: remove it
/// with `std::fs::remove_file`, before binding where an earlier process may have left one, and at the end. That is not
/// done here, since the name may be another process's by then. An abstract name (Linux) has no file and ends with its socket.
///
/// # Examples
///
/// ```
/// use wakering::net::{UnixListener, UnixStream};
///
/// # let folder = std::env::temp_dir().join(format!("wakering-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// let path = folder.join("a.sock");
/// wakering::run(async {
///     let listener = UnixListener::bind(&path)?;
///     let client = UnixStream::connect(&path).await?;
///     let (server, _unnamed) = listener.accept().await?;
///     assert_eq!(client.peer_addr()?.as_path(), Some(path.as_path()));
///     drop((client, server));
///     std::fs::remove_file(&path)
/// })??;
/// # std::fs::remove_dir(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Source: unix(7).
#[derive(Debug)]
pub struct UnixListener {
    pub(super) acceptor: Acceptor,
}

impl UnixListener {
    /// Listens at `address`: the name of a file that is made, or an abstract name. 4,096 connections may wait.
    ///
    /// # Errors
    ///
    /// `AddrInUse` when the file is there already, whoever made it; `NotFound` without its directory, `PermissionDenied`,
    /// `InvalidInput` for a name that cannot be one, `Unsupported` for an abstract name where there are none. The text
    /// names the address.
    pub fn bind(address: impl Into<UnixAddr>) -> io::Result<UnixListener> {
        let address = address.into();
        listen(&address).map_err(naming("listen on", &address))
    }

    /// Takes over a listener of the standard library, or one that the process has inherited, and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// The system's, of setting the flag.
    pub fn from_std(listener: std::os::unix::net::UnixListener) -> io::Result<UnixListener> {
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_acceptor(Acceptor::new(OwnedFd::from(listener)));
        listener.acceptor.io().note_lent();
        Ok(listener)
    }

    pub(super) fn from_acceptor(acceptor: Acceptor) -> UnixListener {
        UnixListener { acceptor }
    }

    /// Gives the listener out as one of the standard library. It is still non-blocking.
    pub fn into_std(self) -> std::os::unix::net::UnixListener {
        std::os::unix::net::UnixListener::from(self.acceptor.into_owned_fd())
    }

    /// Waits for a connection and takes it, with the address of its other end.
    ///
    /// Connections that died in the queue are passed over. When the process has no descriptor left, one in reserve is given
    /// up to close the connection, so that its client learns at once; a want of memory is waited out.
    ///
    /// # Errors
    ///
    /// Only what makes the listener itself useless.
    ///
    /// # Cancellation
    ///
    /// No connection is lost: what was not returned is still in the queue.
    pub async fn accept(&self) -> io::Result<(UnixStream, UnixAddr)> {
        self.acceptor.accept(unix::accept).await.map(Self::open)
    }

    pub(super) fn open((fd, peer): (OwnedFd, UnixAddr)) -> (UnixStream, UnixAddr) {
        (UnixStream::from_fd(fd), peer)
    }

    /// Takes a connection that is in the queue now.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is none; else what accept(2) says.
    pub fn try_accept(&self) -> io::Result<(UnixStream, UnixAddr)> {
        self.acceptor.io().try_io(Direction::Read, unix::accept).map(Self::open)
    }

    /// Waits until there may be a connection to accept. It is a hint.
    ///
    /// # Errors
    ///
    /// Of the registration with the selector.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn acceptable(&self) -> io::Result<()> {
        poll_fn(|cx| self.acceptor.io().poll_ready(cx, Direction::Read)).await
    }

    /// The address that it listens on.
    ///
    /// # Errors
    ///
    /// The system's, of getsockname(2).
    pub fn local_addr(&self) -> io::Result<UnixAddr> {
        unix::local_addr(self.acceptor.io().fd())
    }
}

fn listen(address: &UnixAddr) -> io::Result<UnixListener> {
    let fd = unix::socket(Kind::Stream)?;
    unix::bind(fd.as_fd(), address)?;
    socket::listen(fd.as_fd(), LISTEN_BACKLOG)?;
    Ok(UnixListener::from_acceptor(Acceptor::new(fd)))
}

/// Lends the descriptor. From then on it may have been duplicated, so that closing costs one more system call.
impl AsFd for UnixListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.acceptor.io().note_lent();
        self.acceptor.io().fd()
    }
}
