//! What a descriptor is, for people who read a dump.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, RawFd};

use libc::c_int;

use super::options::get;
use super::socket::{local_addr, peer_addr};

/// A descriptor, as far as the system tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Described {
    pub(crate) family: Family,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) peer: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Tcp,
    Udp,
    Unix,
    /// No socket.
    Other,
}

/// Asks the system about an open descriptor; about one that is not open it says little.
pub(crate) fn describe(fd: RawFd) -> Described {
    let nothing = Described { family: Family::Other, local: None, peer: None };
    if fd < 0 {
        return nothing;
    }
    // SAFETY: only getsockname(2), getpeername(2) and getsockopt(2) are called with it, which change nothing. The
    // caller's table takes a descriptor off before it is closed; were the number another file's by now, that file
    // would be described.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    match local_addr(fd) {
        Ok(local) => {
            let family = if is_datagram(fd) { Family::Udp } else { Family::Tcp };
            Described { family, local: Some(local), peer: peer_addr(fd).ok() }
        }
        // It has an address that is not one of IPv4 or IPv6.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            Described { family: Family::Unix, ..nothing }
        }
        Err(_not_a_socket) => nothing,
    }
}

fn is_datagram(fd: BorrowedFd<'_>) -> bool {
    get::<c_int>(fd, libc::SOL_SOCKET, libc::SO_TYPE, 0).is_ok_and(|kind| kind == libc::SOCK_DGRAM)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn sockets_tell_their_ends_and_other_descriptors_nothing() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let stream = TcpStream::connect(listener.local_addr()?)?;
        let seen = describe(stream.as_raw_fd());
        assert_eq!(
            (seen.family, seen.local, seen.peer),
            (Family::Tcp, Some(stream.local_addr()?), Some(stream.peer_addr()?))
        );
        assert_eq!(describe(listener.as_raw_fd()).peer, None);
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        assert_eq!(describe(socket.as_raw_fd()).family, Family::Udp);
        assert_eq!(describe(UnixStream::pair()?.0.as_raw_fd()).family, Family::Unix);
        let file = std::fs::File::open("/dev/null")?;
        assert_eq!(describe(file.as_raw_fd()).family, Family::Other);
        assert_eq!(describe(-1).family, Family::Other);
        Ok(())
    }
}
