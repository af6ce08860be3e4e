//! TCP options beyond those that every system has: tcp(7), ip(7).

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use libc::c_int;

use super::options::{get, saturate, seconds, set, unsupported};
use super::socket::local_addr;
use super::tcp_os;

pub(crate) use super::tcp_os::info;

/// What the kernel measures of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Info {
    pub(crate) segment_size: u32,
    pub(crate) unacknowledged: u32,
    pub(crate) rtt: Duration,
    pub(crate) rtt_variation: Duration,
    pub(crate) congestion_window: u32,
    pub(crate) retransmits: u32,
}

fn tcp_number(fd: BorrowedFd<'_>, name: Option<c_int>, what: &str) -> io::Result<u32> {
    let value: c_int = get(fd, libc::IPPROTO_TCP, name.ok_or_else(|| unsupported(what))?, 0)?;
    Ok(u32::try_from(value).unwrap_or(0))
}

fn set_tcp_number(fd: BorrowedFd<'_>, name: Option<c_int>, what: &str, value: c_int) -> io::Result<()> {
    set(fd, libc::IPPROTO_TCP, name.ok_or_else(|| unsupported(what))?, &value)
}

pub(crate) fn keepalive_interval(fd: BorrowedFd<'_>) -> io::Result<Duration> {
    let seconds = tcp_number(fd, tcp_os::KEEPALIVE_INTERVAL, "keep-alive interval per socket")?;
    Ok(Duration::from_secs(seconds.into()))
}

pub(crate) fn set_keepalive_interval(fd: BorrowedFd<'_>, interval: Duration) -> io::Result<()> {
    set_tcp_number(fd, tcp_os::KEEPALIVE_INTERVAL, "keep-alive interval per socket", seconds(interval))
}

pub(crate) fn keepalive_probes(fd: BorrowedFd<'_>) -> io::Result<u32> {
    tcp_number(fd, tcp_os::KEEPALIVE_PROBES, "count of keep-alive probes per socket")
}

pub(crate) fn set_keepalive_probes(fd: BorrowedFd<'_>, probes: u32) -> io::Result<()> {
    let probes = saturate(probes as usize);
    set_tcp_number(fd, tcp_os::KEEPALIVE_PROBES, "count of keep-alive probes per socket", probes)
}

pub(crate) fn quick_ack(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(tcp_number(fd, tcp_os::QUICK_ACK, "TCP_QUICKACK")? != 0)
}

pub(crate) fn set_quick_ack(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    set_tcp_number(fd, tcp_os::QUICK_ACK, "TCP_QUICKACK", c_int::from(on))
}

/// `None`: as long as the system retransmits.
pub(crate) fn user_timeout(fd: BorrowedFd<'_>) -> io::Result<Option<Duration>> {
    let millis = tcp_number(fd, tcp_os::USER_TIMEOUT, "TCP_USER_TIMEOUT")?;
    Ok((millis > 0).then(|| Duration::from_millis(millis.into())))
}

pub(crate) fn set_user_timeout(fd: BorrowedFd<'_>, time: Option<Duration>) -> io::Result<()> {
    // Rounded up, so that a short time does not become zero, which is none.
    let millis = time.map_or(0, |time| time.as_nanos().div_ceil(1_000_000).max(1));
    let millis = c_int::try_from(millis).unwrap_or(c_int::MAX);
    set_tcp_number(fd, tcp_os::USER_TIMEOUT, "TCP_USER_TIMEOUT", millis)
}

pub(crate) fn not_sent_low(fd: BorrowedFd<'_>) -> io::Result<u32> {
    // The kernel's "no bound" is all ones, which is −1 here.
    let name = tcp_os::NOT_SENT_LOW.ok_or_else(|| unsupported("TCP_NOTSENT_LOWAT"))?;
    let value: c_int = get(fd, libc::IPPROTO_TCP, name, 0)?;
    Ok(value as u32)
}

pub(crate) fn set_not_sent_low(fd: BorrowedFd<'_>, bytes: u32) -> io::Result<()> {
    set_tcp_number(fd, tcp_os::NOT_SENT_LOW, "TCP_NOTSENT_LOWAT", bytes as c_int)
}

pub(crate) fn mark(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let name = tcp_os::MARK.ok_or_else(|| unsupported("SO_MARK"))?;
    let value: c_int = get(fd, libc::SOL_SOCKET, name, 0)?;
    Ok(value as u32)
}

pub(crate) fn set_mark(fd: BorrowedFd<'_>, mark: u32) -> io::Result<()> {
    let name = tcp_os::MARK.ok_or_else(|| unsupported("SO_MARK"))?;
    set(fd, libc::SOL_SOCKET, name, &(mark as c_int))
}

pub(crate) fn set_fast_open(fd: BorrowedFd<'_>, queue: u32) -> io::Result<()> {
    set_tcp_number(fd, tcp_os::FAST_OPEN, "TCP_FASTOPEN", saturate(queue as usize))
}

pub(crate) fn set_fast_open_connect(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    set_tcp_number(fd, tcp_os::FAST_OPEN_CONNECT, "TCP_FASTOPEN_CONNECT", c_int::from(on))
}

/// Level and name of the type of service: it differs by family, and the socket's own address tells which.
fn tos_option(fd: BorrowedFd<'_>) -> io::Result<(c_int, c_int)> {
    Ok(if local_addr(fd)?.is_ipv4() {
        (libc::IPPROTO_IP, libc::IP_TOS)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_TCLASS)
    })
}

pub(crate) fn tos(fd: BorrowedFd<'_>) -> io::Result<u8> {
    let (level, name) = tos_option(fd)?;
    let value: c_int = get(fd, level, name, 0)?;
    Ok(value as u8)
}

pub(crate) fn set_tos(fd: BorrowedFd<'_>, octet: u8) -> io::Result<()> {
    let (level, name) = tos_option(fd)?;
    set(fd, level, name, &c_int::from(octet))
}
