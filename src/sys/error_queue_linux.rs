//! The queue of errors that a datagram socket may keep: which datagram failed, and who said so. ip(7), `IP_RECVERR`.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;

use libc::c_int;

use super::addr::Storage;
use super::control::Control;
use super::message::{Header, recv_one};
use super::options::set;
use super::socket::local_addr;

/// The octets of `sock_extended_err`, behind which the address of the reporter stands.
const EXTENDED: usize = 16;

/// Who reports errors: this host, or another by ICMP. What comes from elsewhere is news of what went well.
const ERRORS: [u8; 3] = [libc::SO_EE_ORIGIN_LOCAL, libc::SO_EE_ORIGIN_ICMP, libc::SO_EE_ORIGIN_ICMP6];

/// One error of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueuedError {
    pub(crate) number: i32,
    /// Where the datagram was sent to.
    pub(crate) target: Option<SocketAddr>,
    pub(crate) reporter: Option<IpAddr>,
    /// Type and code of the ICMP message; none where this host has found out by itself.
    pub(crate) icmp: Option<(u8, u8)>,
    /// What the way takes, where the datagram was too long for it.
    pub(crate) mtu: Option<u32>,
}

/// Whether the socket keeps errors. One of IPv6 may send over IPv4, too.
pub(crate) fn set_kept(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    set(fd, libc::IPPROTO_IP, libc::IP_RECVERR, &c_int::from(on))?;
    if local_addr(fd)?.is_ipv6() {
        set(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, &c_int::from(on))?;
    }
    Ok(())
}

/// Takes the oldest error; none when there is none. What else is in the queue, such as times at which datagrams left, is
/// taken out and passed over.
pub(crate) fn take(fd: BorrowedFd<'_>) -> io::Result<Option<QueuedError>> {
    // Bounded by the queue, which lies in the socket's receive buffer.
    while let Some(entry) = take_entry(fd)? {
        if let Entry::Error(error) = entry {
            return Ok(Some(error));
        }
    }
    Ok(None)
}

enum Entry {
    Error(QueuedError),
    Other,
}

fn take_entry(fd: BorrowedFd<'_>) -> io::Result<Option<Entry>> {
    let (mut target, mut control) = (Storage::new(), Control::new());
    // Of the failed datagram nothing is wanted.
    let mut piece = IoSliceMut::new(&mut []);
    let mut header = Header::new();
    header.point(&raw mut target, (&raw mut piece).cast(), &raw mut control);
    // SAFETY: `header` names `target`, `control` and one IoSliceMut, which has the layout of iovec; all of them outlive the
    // call.
    let taken = unsafe { recv_one(fd, &mut header, libc::MSG_ERRQUEUE) };
    match taken {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
        Err(error) => return Err(error),
    }
    header.filled(&mut target, &mut control);
    let mut found = control.iter().filter(|&(level, kind, _)| {
        (level, kind) == (libc::IPPROTO_IP, libc::IP_RECVERR)
            || (level, kind) == (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
    });
    let error = found.find_map(|(_, _, data)| decode(data, target.get().ok()));
    Ok(Some(error.map_or(Entry::Other, Entry::Error)))
}

/// `sock_extended_err`: number (32 bits), origin, type, code, padding, information (32 bits), more of it; an address.
fn decode(data: &[u8], target: Option<SocketAddr>) -> Option<QueuedError> {
    let &[n0, n1, n2, n3, origin, kind, code, _, i0, i1, i2, i3, ..] = data else { return None };
    let number = i32::from_ne_bytes([n0, n1, n2, n3]);
    if !ERRORS.contains(&origin) {
        return None;
    }
    let from_network = origin == libc::SO_EE_ORIGIN_ICMP || origin == libc::SO_EE_ORIGIN_ICMP6;
    let too_long = number == libc::EMSGSIZE;
    Some(QueuedError {
        number,
        target,
        reporter: data.get(EXTENDED..).and_then(reporter),
        icmp: from_network.then_some((kind, code)),
        mtu: too_long.then_some(u32::from_ne_bytes([i0, i1, i2, i3])),
    })
}

/// The address in a `sockaddr` of either family.
fn reporter(address: &[u8]) -> Option<IpAddr> {
    let family = c_int::from(u16::from_ne_bytes(*address.first_chunk()?));
    match family {
        libc::AF_INET => address.get(4..)?.first_chunk::<4>().map(|&octets| IpAddr::from(octets)),
        libc::AF_INET6 => address.get(8..)?.first_chunk::<16>().map(|&octets| IpAddr::from(octets)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn an_entry_that_is_no_error_is_passed_over_and_hides_none_behind_it() {
        // linux/net_tstamp.h: SOF_TIMESTAMPING_TX_SOFTWARE and SOF_TIMESTAMPING_SOFTWARE.
        const TIMES_OF_SENDING: c_int = 1 << 1 | 1 << 4;
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let open = UdpSocket::bind("127.0.0.1:0").unwrap();
        set_kept(socket.as_fd(), true).unwrap();
        set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPING, &TIMES_OF_SENDING).unwrap();
        socket.send_to(b"noted", open.local_addr().unwrap()).unwrap();
        let closed = {
            let gone = UdpSocket::bind("127.0.0.1:0").unwrap();
            gone.local_addr().unwrap()
        };
        socket.send_to(b"refused", closed).unwrap();
        let start = Instant::now();
        let error = loop {
            match take(socket.as_fd()) {
                Ok(Some(error)) => break error,
                Ok(None) => assert!(start.elapsed() < Duration::from_secs(30), "no error came"),
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!((error.number, error.target), (libc::ECONNREFUSED, Some(closed)));
    }

    #[test]
    fn an_entry_that_is_cut_anywhere_is_read_as_far_as_it_goes() {
        let mut data = vec![0; EXTENDED + 16];
        data[..4].copy_from_slice(&libc::ECONNREFUSED.to_ne_bytes());
        data[4..7].copy_from_slice(&[libc::SO_EE_ORIGIN_ICMP, 3, 3]);
        data[EXTENDED..EXTENDED + 2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
        data[EXTENDED + 4..EXTENDED + 8].copy_from_slice(&[192, 0, 2, 1]);
        let whole = decode(&data, None).unwrap();
        assert_eq!((whole.number, whole.icmp, whole.mtu), (libc::ECONNREFUSED, Some((3, 3)), None));
        assert_eq!(whole.reporter, Some(IpAddr::from([192, 0, 2, 1])));
        for length in 0..data.len() {
            let cut = decode(&data[..length], None);
            assert_eq!(cut.is_some(), length >= 12);
            assert_eq!(cut.and_then(|cut| cut.reporter).is_some(), length >= EXTENDED + 8);
        }
    }
}
