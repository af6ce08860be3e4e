//! Claims about the socket calls themselves; what futures make of them is in `tests/net_*.rs`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use super::super::options;
use super::*;

const LOOPBACK: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// Repeats a non-blocking call until it has an answer; ten seconds are for ever.
fn until_ready<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let start = Instant::now();
    loop {
        match call() {
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock && start.elapsed() < Duration::from_secs(10) =>
            {
                thread::yield_now();
            }
            result => return result,
        }
    }
}

fn listener(address: SocketAddr) -> (OwnedFd, SocketAddr) {
    let fd = socket_for(&address, Kind::Stream).unwrap();
    bind(fd.as_fd(), &address).unwrap();
    listen(fd.as_fd(), 16).unwrap();
    let bound = local_addr(fd.as_fd()).unwrap();
    (fd, bound)
}

fn connected(address: SocketAddr) -> (OwnedFd, OwnedFd) {
    let (listener, bound) = listener(address);
    let client = socket_for(&bound, Kind::Stream).unwrap();
    connect(client.as_fd(), &bound).unwrap();
    let (server, peer) = until_ready(|| accept(listener.as_fd())).unwrap();
    assert_eq!(peer, local_addr(client.as_fd()).unwrap());
    assert_eq!(bound, peer_addr(client.as_fd()).unwrap());
    (client, server)
}

fn datagram(address: SocketAddr) -> (OwnedFd, SocketAddr) {
    let fd = socket_for(&address, Kind::Datagram).unwrap();
    bind(fd.as_fd(), &address).unwrap();
    let bound = local_addr(fd.as_fd()).unwrap();
    (fd, bound)
}

fn descriptor_flags(fd: &OwnedFd) -> (bool, bool) {
    // SAFETY: F_GETFD takes no argument and touches no memory of ours.
    let descriptor = cvt(Call::Flags, || unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) }).unwrap();
    // SAFETY: F_GETFL takes no argument and touches no memory of ours.
    let file = cvt(Call::Flags, || unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) }).unwrap();
    (descriptor & libc::FD_CLOEXEC != 0, file & libc::O_NONBLOCK != 0)
}

#[test]
fn every_socket_is_close_on_exec_and_nonblocking() {
    let (client, server) = connected(LOOPBACK.into());
    let (udp, _) = datagram(LOOPBACK.into());
    for fd in [&client, &server, &udp, &reserve().unwrap()] {
        assert_eq!(descriptor_flags(fd), (true, true));
    }
}

#[test]
fn a_stream_carries_bytes_both_ways_and_ends() {
    for address in [LOOPBACK.into(), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))] {
        let (client, server) = connected(address);
        let mut buffer = [0; 16];
        let error = recv(server.as_fd(), &mut buffer).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(send(client.as_fd(), b"hello").unwrap(), 5);
        assert_eq!(until_ready(|| peek(server.as_fd(), &mut buffer)).unwrap(), 5);
        assert_eq!(recv(server.as_fd(), &mut buffer).unwrap(), 5);
        assert_eq!(&buffer[..5], b"hello");
        shutdown(client.as_fd(), Shutdown::Write).unwrap();
        assert_eq!(until_ready(|| recv(server.as_fd(), &mut buffer)).unwrap(), 0);
        assert_eq!(send(server.as_fd(), b"still").unwrap(), 5);
        assert_eq!(until_ready(|| recv(client.as_fd(), &mut buffer)).unwrap(), 5);
    }
}

#[test]
fn vectored_calls_gather_and_scatter_in_order() {
    let (client, server) = connected(LOOPBACK.into());
    let parts = [IoSlice::new(b"one"), IoSlice::new(b""), IoSlice::new(b"two")];
    assert_eq!(send_vectored(client.as_fd(), &parts).unwrap(), 6);
    let (mut first, mut second) = ([0; 4], [0; 4]);
    let mut rooms = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
    assert_eq!(until_ready(|| recv_vectored(server.as_fd(), &mut rooms)).unwrap(), 6);
    assert_eq!((&first, &second[..2]), (b"onet", &b"wo"[..]));
}

#[test]
fn more_slices_than_the_kernel_takes_are_cut_and_not_refused() {
    let (client, server) = connected(LOOPBACK.into());
    let parts = vec![IoSlice::new(b"x"); IO_SLICES_MAX + 1];
    assert_eq!(send_vectored(client.as_fd(), &parts).unwrap(), IO_SLICES_MAX);
    let mut bytes = vec![[0_u8; 1]; IO_SLICES_MAX + 1];
    let mut rooms: Vec<_> = bytes.iter_mut().map(|byte| IoSliceMut::new(byte)).collect();
    assert_eq!(until_ready(|| recv_vectored(server.as_fd(), &mut rooms)).unwrap(), IO_SLICES_MAX);
}

#[test]
fn reading_into_spare_capacity_appends() {
    let (client, server) = connected(LOOPBACK.into());
    let mut buffer = BytesMut::with_capacity(64);
    buffer.extend_from_slice(b"kept ");
    send(client.as_fd(), b"and added").unwrap();
    assert_eq!(until_ready(|| recv_buf(server.as_fd(), &mut buffer)).unwrap(), 9);
    assert_eq!(&buffer[..], b"kept and added");
    drop(client);
    assert_eq!(until_ready(|| recv_buf(server.as_fd(), &mut buffer)).unwrap(), 0);
    assert_eq!(buffer.len(), 14);
}

// Rust's start-up ignores SIGPIPE, so the test gives it back its deadly default in a child of its own:
// hard-bugs row 42 is `tests/net_tcp.rs`. Here only the error value is asserted.
#[test]
fn writing_to_a_closed_connection_is_an_error_value() {
    let (client, server) = connected(LOOPBACK.into());
    options::set_linger(server.as_fd(), Some(Duration::ZERO)).unwrap();
    drop(server);
    let error = until_ready(|| recv(client.as_fd(), &mut [0; 1])).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(send(client.as_fd(), b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    let error = send_vectored(client.as_fd(), &[IoSlice::new(b"x")]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn a_refused_connect_is_told_by_the_socket_error() {
    let (unused, address) = listener(LOOPBACK.into());
    drop(unused);
    let client = socket_for(&address, Kind::Stream).unwrap();
    let error = match connect(client.as_fd(), &address) {
        Err(error) => error,
        Ok(Connect::Done) => panic!("nobody listens there"),
        Ok(Connect::InProgress) => until_ready(|| {
            options::take_error(client.as_fd())?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
        })
        .unwrap(),
    };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert!(options::take_error(client.as_fd()).unwrap().is_none(), "taken once");
    let error = peer_addr(client.as_fd()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotConnected);
}

#[test]
fn datagrams_tell_their_source_and_whether_they_were_cut() {
    for address in [LOOPBACK.into(), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))] {
        let ((a, a_address), (b, b_address)) = (datagram(address), datagram(address));
        let mut buffer = [0; 8];
        assert_eq!(send_to(a.as_fd(), b"exactly8", &b_address).unwrap(), 8);
        assert_eq!(send_to(a.as_fd(), b"nine char", &b_address).unwrap(), 9);
        assert_eq!(send_to(a.as_fd(), b"", &b_address).unwrap(), 0);
        let seen = until_ready(|| peek_from(b.as_fd(), &mut buffer)).unwrap();
        assert_eq!(seen, Datagram { len: 8, source: a_address, truncated: false });
        assert_eq!(recv_from(b.as_fd(), &mut buffer).unwrap(), seen);
        let cut = until_ready(|| recv_from(b.as_fd(), &mut buffer)).unwrap();
        assert_eq!(cut, Datagram { len: 8, source: a_address, truncated: true });
        let empty = until_ready(|| recv_from(b.as_fd(), &mut buffer)).unwrap();
        assert_eq!(empty, Datagram { len: 0, source: a_address, truncated: false });
    }
}

#[test]
fn errors_of_accept_are_told_apart() {
    let of = |code| AcceptError::of(&io::Error::from_raw_os_error(code));
    assert_eq!(of(libc::EMFILE), AcceptError::Descriptors);
    assert_eq!(of(libc::ENFILE), AcceptError::Descriptors);
    assert_eq!(of(libc::ENOBUFS), AcceptError::Memory);
    assert_eq!(of(libc::ENOMEM), AcceptError::Memory);
    assert_eq!(of(libc::ECONNABORTED), AcceptError::Connection);
    assert_eq!(of(libc::EBADF), AcceptError::Listener);
    assert_eq!(of(libc::EINVAL), AcceptError::Listener);
    assert_eq!(AcceptError::of(&io::ErrorKind::Other.into()), AcceptError::Listener);
}
