//! Socket options: socket(7), tcp(7), ip(7), ipv6(7).

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::time::Duration;

use libc::{c_int, socklen_t};

use super::call::{Call, cvt};
use super::os;
use super::socket::local_addr;

/// A value that the kernel copies as bytes: plain integers, for which every pattern of bits is a value.
pub(super) trait Plain: Copy {}

impl Plain for c_int {}
impl Plain for libc::linger {}

/// setsockopt(2).
pub(super) fn set<T: Plain>(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    let length = mem::size_of::<T>() as socklen_t;
    // SAFETY: `value` is borrowed for the whole call and `length` is its size; the kernel only reads it.
    cvt(Call::SetOption, || unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, name, ptr::from_ref(value).cast(), length)
    })?;
    Ok(())
}

/// getsockopt(2); `value` is what stays where the kernel writes less than a whole value.
pub(super) fn get<T: Plain>(fd: BorrowedFd<'_>, level: c_int, name: c_int, mut value: T) -> io::Result<T> {
    let mut length = mem::size_of::<T>() as socklen_t;
    let room = ptr::from_mut(&mut value).cast();
    // SAFETY: `room` points to `length` writable bytes of `value`, and any bytes make a `Plain` value.
    cvt(Call::GetOption, || unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, room, &raw mut length) })?;
    Ok(value)
}

fn get_flag(fd: BorrowedFd<'_>, level: c_int, name: c_int) -> io::Result<bool> {
    Ok(get::<c_int>(fd, level, name, 0)? != 0)
}

fn set_flag(fd: BorrowedFd<'_>, level: c_int, name: c_int, on: bool) -> io::Result<()> {
    set(fd, level, name, &c_int::from(on))
}

pub(super) fn unsupported(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("this system has no {what}"))
}

/// A size or count of the caller's as the kernel wants it; more than it can express is as much as it can.
pub(super) fn saturate(value: usize) -> c_int {
    c_int::try_from(value).unwrap_or(c_int::MAX)
}

/// Seconds, rounded up, so that a short duration does not become zero, which means something else.
pub(super) fn seconds(duration: Duration) -> c_int {
    let whole = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
    c_int::try_from(whole).unwrap_or(c_int::MAX)
}

/// Takes the pending error off the socket (`SO_ERROR`).
pub(crate) fn take_error(fd: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
    let code: c_int = get(fd, libc::SOL_SOCKET, libc::SO_ERROR, 0)?;
    Ok((code != 0).then(|| io::Error::from_raw_os_error(code)))
}

pub(crate) fn nodelay(fd: BorrowedFd<'_>) -> io::Result<bool> {
    get_flag(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY)
}

pub(crate) fn set_nodelay(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    set_flag(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, on)
}

/// The idle time before the first probe; `None` when keep-alive is off.
pub(crate) fn keepalive(fd: BorrowedFd<'_>) -> io::Result<Option<Duration>> {
    if !get_flag(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE)? {
        return Ok(None);
    }
    let name = os::KEEPALIVE_IDLE.ok_or_else(|| unsupported("keep-alive time per socket"))?;
    let idle: c_int = get(fd, libc::IPPROTO_TCP, name, 0)?;
    Ok(Some(Duration::from_secs(u64::try_from(idle).unwrap_or(0))))
}

pub(crate) fn set_keepalive(fd: BorrowedFd<'_>, idle: Option<Duration>) -> io::Result<()> {
    if let Some(idle) = idle {
        let name = os::KEEPALIVE_IDLE.ok_or_else(|| unsupported("keep-alive time per socket"))?;
        set(fd, libc::IPPROTO_TCP, name, &seconds(idle))?;
    }
    set_flag(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, idle.is_some())
}

pub(crate) fn linger(fd: BorrowedFd<'_>) -> io::Result<Option<Duration>> {
    let off = libc::linger { l_onoff: 0, l_linger: 0 };
    let value = get(fd, libc::SOL_SOCKET, os::LINGER, off)?;
    let time = u64::try_from(value.l_linger).unwrap_or(0);
    Ok((value.l_onoff != 0).then(|| Duration::from_secs(time)))
}

pub(crate) fn set_linger(fd: BorrowedFd<'_>, time: Option<Duration>) -> io::Result<()> {
    let value = libc::linger { l_onoff: c_int::from(time.is_some()), l_linger: time.map_or(0, seconds) };
    set(fd, libc::SOL_SOCKET, os::LINGER, &value)
}

pub(crate) fn set_reuse_addr(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    set_flag(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, on)
}

pub(crate) fn set_reuse_port(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    let name = os::REUSE_PORT.ok_or_else(|| unsupported("SO_REUSEPORT"))?;
    set_flag(fd, libc::SOL_SOCKET, name, on)
}

pub(crate) fn recv_buffer(fd: BorrowedFd<'_>) -> io::Result<usize> {
    let size: c_int = get(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, 0)?;
    Ok(usize::try_from(size).unwrap_or(0))
}

pub(crate) fn set_recv_buffer(fd: BorrowedFd<'_>, size: usize) -> io::Result<()> {
    set(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, &saturate(size))
}

pub(crate) fn send_buffer(fd: BorrowedFd<'_>) -> io::Result<usize> {
    let size: c_int = get(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, 0)?;
    Ok(usize::try_from(size).unwrap_or(0))
}

pub(crate) fn set_send_buffer(fd: BorrowedFd<'_>, size: usize) -> io::Result<()> {
    set(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, &saturate(size))
}

/// Level and name of the hop limit: it differs by family, and the socket's own address tells which.
fn ttl_option(fd: BorrowedFd<'_>) -> io::Result<(c_int, c_int)> {
    Ok(if local_addr(fd)?.is_ipv4() {
        (libc::IPPROTO_IP, libc::IP_TTL)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS)
    })
}

pub(crate) fn ttl(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let (level, name) = ttl_option(fd)?;
    let hops: c_int = get(fd, level, name, 0)?;
    Ok(u32::try_from(hops).unwrap_or(0))
}

pub(crate) fn set_ttl(fd: BorrowedFd<'_>, hops: u32) -> io::Result<()> {
    let (level, name) = ttl_option(fd)?;
    set(fd, level, name, &c_int::try_from(hops).unwrap_or(c_int::MAX))
}

pub(crate) fn set_v6only(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    set_flag(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, on)
}

pub(crate) fn broadcast(fd: BorrowedFd<'_>) -> io::Result<bool> {
    get_flag(fd, libc::SOL_SOCKET, libc::SO_BROADCAST)
}

pub(crate) fn set_broadcast(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    set_flag(fd, libc::SOL_SOCKET, libc::SO_BROADCAST, on)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::super::socket::{Kind, socket};
    use super::*;

    fn tcp(domain: c_int) -> std::os::fd::OwnedFd {
        socket(domain, Kind::Stream).unwrap()
    }

    #[test]
    fn what_is_set_is_what_is_got() {
        let owned = tcp(libc::AF_INET);
        let fd = owned.as_fd();
        set_nodelay(fd, true).unwrap();
        assert!(nodelay(fd).unwrap());
        set_linger(fd, Some(Duration::ZERO)).unwrap();
        assert_eq!(linger(fd).unwrap(), Some(Duration::ZERO));
        set_linger(fd, None).unwrap();
        assert_eq!(linger(fd).unwrap(), None);
        set_ttl(fd, 7).unwrap();
        assert_eq!(ttl(fd).unwrap(), 7);
        set_recv_buffer(fd, 16 * 1024).unwrap();
        assert!(recv_buffer(fd).unwrap() >= 16 * 1024);
        set_send_buffer(fd, 16 * 1024).unwrap();
        assert!(send_buffer(fd).unwrap() >= 16 * 1024);
        let v6 = tcp(libc::AF_INET6);
        set_v6only(v6.as_fd(), true).unwrap();
        assert!(get_flag(v6.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY).unwrap());
        set_ttl(v6.as_fd(), 9).unwrap();
        assert_eq!(ttl(v6.as_fd()).unwrap(), 9);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_keepalive_time_rounds_up_to_whole_seconds_and_none_turns_it_off() {
        let owned = tcp(libc::AF_INET);
        let fd = owned.as_fd();
        assert_eq!(keepalive(fd).unwrap(), None);
        set_keepalive(fd, Some(Duration::from_millis(1500))).unwrap();
        assert_eq!(keepalive(fd).unwrap(), Some(Duration::from_secs(2)));
        set_keepalive(fd, None).unwrap();
        assert_eq!(keepalive(fd).unwrap(), None);
    }

    #[test]
    fn broadcast_belongs_to_datagram_sockets() {
        let owned = socket(libc::AF_INET, Kind::Datagram).unwrap();
        assert!(!broadcast(owned.as_fd()).unwrap());
        set_broadcast(owned.as_fd(), true).unwrap();
        assert!(broadcast(owned.as_fd()).unwrap());
    }
}
