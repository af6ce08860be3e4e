//! Descriptors that the process was started with, and what kind of socket one is. execve(2), sd_listen_fds(3).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use libc::c_int;

use super::addr::Storage;
use super::call::{Call, cvt};
use super::options;

/// What a descriptor is, as far as a server asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SocketKind {
    /// A TCP socket that listens.
    TcpListener,
    /// A TCP connection.
    TcpStream,
    /// A UDP socket.
    Udp,
    /// A Unix socket that listens.
    UnixListener,
    /// A Unix connection.
    UnixStream,
    /// A Unix socket for datagrams.
    UnixDatagram,
    /// A socket of another kind, or no socket.
    Other,
}

/// The first descriptor behind standard input, output and error: where a service manager begins (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;

/// The descriptors have an owner.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes over the first `count` descriptors that the process was started with, and makes them close-on-exec. `None` when
/// they were taken before.
///
/// One that is close-on-exec was not there at the start: it was opened since, has an owner, and is an error.
pub(crate) fn take(count: usize) -> io::Result<Option<Vec<OwnedFd>>> {
    // One process owns its descriptors once. Nothing else is handed over by this word.
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(None);
    }
    let numbers = FIRST..FIRST.saturating_add(RawFd::try_from(count).unwrap_or(RawFd::MAX));
    numbers
        .map(|number| take_one(number).map_err(|error| naming(number, &error)))
        .collect::<io::Result<_>>()
        .map(Some)
}

fn take_one(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD takes no argument and touches no memory of ours; of a number that is not open it says so.
    let flags = cvt(Call::Flags, || unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    if flags & libc::FD_CLOEXEC != 0 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it was not there when the process was started",
        ));
    }
    // SAFETY: the descriptor is open. It was there when the process was started, since it is not close-on-exec and all that
    // this crate and std open is; the environment says that it was left for this process, and `TAKEN` that nobody took
    // it before.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    // SAFETY: F_SETFD takes an integer and touches no memory of ours.
    cvt(Call::Flags, || unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, flags | libc::FD_CLOEXEC) })?;
    Ok(fd)
}

fn naming(number: RawFd, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("take the inherited descriptor {number}: {error}"))
}

/// What kind of socket it is.
pub(crate) fn kind(fd: BorrowedFd<'_>) -> SocketKind {
    let Ok(kind) = options::get::<c_int>(fd, libc::SOL_SOCKET, libc::SO_TYPE, 0) else {
        return SocketKind::Other;
    };
    // Systems that refuse the question for datagram sockets mean no.
    let listens = options::get::<c_int>(fd, libc::SOL_SOCKET, libc::SO_ACCEPTCONN, 0).is_ok_and(|it| it != 0);
    match (family(fd).unwrap_or(libc::AF_UNSPEC), kind, listens) {
        (libc::AF_INET | libc::AF_INET6, libc::SOCK_STREAM, true) => SocketKind::TcpListener,
        (libc::AF_INET | libc::AF_INET6, libc::SOCK_STREAM, false) => SocketKind::TcpStream,
        (libc::AF_INET | libc::AF_INET6, libc::SOCK_DGRAM, _) => SocketKind::Udp,
        (libc::AF_UNIX, libc::SOCK_STREAM, true) => SocketKind::UnixListener,
        (libc::AF_UNIX, libc::SOCK_STREAM, false) => SocketKind::UnixStream,
        (libc::AF_UNIX, libc::SOCK_DGRAM, _) => SocketKind::UnixDatagram,
        _ => SocketKind::Other,
    }
}

fn family(fd: BorrowedFd<'_>) -> io::Result<c_int> {
    let mut storage = Storage::new();
    let (address, length) = storage.as_out();
    // SAFETY: both pointers come from one exclusive borrow of `storage`, and `length` holds its room.
    cvt(Call::LocalAddr, || unsafe { libc::getsockname(fd.as_raw_fd(), address, length) })?;
    Ok(storage.family())
}
