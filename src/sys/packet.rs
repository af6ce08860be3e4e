//! Options of datagram sockets: multicast, packet information, traffic class, segmentation. ip(7), ipv6(7), udp(7).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;

use libc::{c_int, c_uint, in_addr, in6_addr, ip_mreq, ipv6_mreq};

use super::call::{Call, cvt};
use super::options::{Plain, get, set, unsupported};
use super::packet_os;
use super::socket::local_addr;

impl Plain for in_addr {}
impl Plain for ip_mreq {}
impl Plain for ipv6_mreq {}
impl Plain for c_uint {}
impl Plain for u8 {}

fn is_v4(fd: BorrowedFd<'_>) -> io::Result<bool> {
    local_addr(fd).map(|address| address.is_ipv4())
}

fn raw(address: Ipv4Addr) -> in_addr {
    in_addr { s_addr: u32::from_ne_bytes(address.octets()) }
}

/// Joins a group on the interface that has `interface` as an address; unspecified is the system's choice.
pub(crate) fn join_v4(fd: BorrowedFd<'_>, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
    let request = ip_mreq { imr_multiaddr: raw(group), imr_interface: raw(interface) };
    set(fd, libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, &request)
}

pub(crate) fn leave_v4(fd: BorrowedFd<'_>, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
    let request = ip_mreq { imr_multiaddr: raw(group), imr_interface: raw(interface) };
    set(fd, libc::IPPROTO_IP, libc::IP_DROP_MEMBERSHIP, &request)
}

fn request_v6(group: Ipv6Addr, interface: u32) -> ipv6_mreq {
    ipv6_mreq { ipv6mr_multiaddr: in6_addr { s6_addr: group.octets() }, ipv6mr_interface: interface as _ }
}

/// Joins a group on the interface of this index; 0 is the system's choice.
pub(crate) fn join_v6(fd: BorrowedFd<'_>, group: Ipv6Addr, interface: u32) -> io::Result<()> {
    set(fd, libc::IPPROTO_IPV6, packet_os::JOIN_V6, &request_v6(group, interface))
}

pub(crate) fn leave_v6(fd: BorrowedFd<'_>, group: Ipv6Addr, interface: u32) -> io::Result<()> {
    set(fd, libc::IPPROTO_IPV6, packet_os::LEAVE_V6, &request_v6(group, interface))
}

pub(crate) fn multicast_ttl(fd: BorrowedFd<'_>) -> io::Result<u32> {
    if is_v4(fd)? {
        let hops: packet_os::MulticastValue = get(fd, libc::IPPROTO_IP, libc::IP_MULTICAST_TTL, 0)?;
        return Ok(u32::try_from(hops).unwrap_or(0));
    }
    let hops: c_int = get(fd, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS, 0)?;
    Ok(u32::try_from(hops).unwrap_or(0))
}

pub(crate) fn set_multicast_ttl(fd: BorrowedFd<'_>, hops: u8) -> io::Result<()> {
    if is_v4(fd)? {
        return set(fd, libc::IPPROTO_IP, libc::IP_MULTICAST_TTL, &packet_os::MulticastValue::from(hops));
    }
    set(fd, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS, &c_int::from(hops))
}

pub(crate) fn multicast_loop(fd: BorrowedFd<'_>) -> io::Result<bool> {
    if is_v4(fd)? {
        let on: packet_os::MulticastValue = get(fd, libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP, 0)?;
        return Ok(on != 0);
    }
    Ok(get::<c_uint>(fd, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_LOOP, 0)? != 0)
}

pub(crate) fn set_multicast_loop(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    if is_v4(fd)? {
        return set(fd, libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP, &packet_os::MulticastValue::from(on));
    }
    set(fd, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_LOOP, &c_uint::from(on))
}

pub(crate) fn set_multicast_interface_v4(fd: BorrowedFd<'_>, interface: Ipv4Addr) -> io::Result<()> {
    set(fd, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &raw(interface))
}

pub(crate) fn set_multicast_interface_v6(fd: BorrowedFd<'_>, interface: u32) -> io::Result<()> {
    set(fd, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF, &interface)
}

/// Asks for destination and interface of each datagram. A socket of IPv6 that takes IPv4 is told in IPv6's form.
pub(crate) fn set_packet_info(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    let (level, name) = if is_v4(fd)? {
        (libc::IPPROTO_IP, packet_os::RECV_PACKET_INFO)
    } else {
        (libc::IPPROTO_IPV6, packet_os::RECV_PACKET_INFO_V6)
    };
    let name = name.ok_or_else(|| unsupported("packet information for this family"))?;
    set(fd, level, name, &c_int::from(on))
}

/// Asks for the traffic class of each datagram. A socket of IPv6 may take IPv4 too: it is asked for both, and need not
/// know the other one.
pub(crate) fn set_recv_traffic_class(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    let on = c_int::from(on);
    let asked = packet_os::RECV_TOS.map(|name| set(fd, libc::IPPROTO_IP, name, &on));
    let asked = match is_v4(fd)? {
        true => asked,
        false => packet_os::RECV_TRAFFIC_CLASS.map(|name| set(fd, libc::IPPROTO_IPV6, name, &on)),
    };
    asked.unwrap_or_else(|| Err(unsupported("traffic class of datagrams for this family")))
}

fn traffic_class_option(fd: BorrowedFd<'_>) -> io::Result<(c_int, c_int)> {
    if is_v4(fd)? {
        return Ok((libc::IPPROTO_IP, libc::IP_TOS));
    }
    let name = packet_os::TRAFFIC_CLASS.ok_or_else(|| unsupported("traffic class of IPv6"))?;
    Ok((libc::IPPROTO_IPV6, name))
}

pub(crate) fn traffic_class(fd: BorrowedFd<'_>) -> io::Result<u8> {
    let (level, name) = traffic_class_option(fd)?;
    let class: c_int = get(fd, level, name, 0)?;
    Ok(u8::try_from(class).unwrap_or(0))
}

pub(crate) fn set_traffic_class(fd: BorrowedFd<'_>, class: u8) -> io::Result<()> {
    let (level, name) = traffic_class_option(fd)?;
    set(fd, level, name, &c_int::from(class))
}

/// Whether the kernel knows segmentation. An older one would take a train for one long datagram.
pub(crate) fn can_segment(fd: BorrowedFd<'_>) -> bool {
    packet_os::SEGMENT.is_some_and(|name| get::<c_int>(fd, libc::IPPROTO_UDP, name, 0).is_ok())
}

/// Whether datagrams of one sender and size are received together.
pub(crate) fn coalesce(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let Some(name) = packet_os::COALESCE else { return Ok(false) };
    get::<c_int>(fd, libc::IPPROTO_UDP, name, 0).map(|on| on != 0)
}

pub(crate) fn set_coalesce(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    let name = packet_os::COALESCE.ok_or_else(|| unsupported("UDP_GRO"))?;
    set(fd, libc::IPPROTO_UDP, name, &c_int::from(on)).map_err(|error| match error.raw_os_error() {
        Some(libc::ENOPROTOOPT) => unsupported("UDP_GRO"),
        _ => error,
    })
}

/// The index of the interface with this name.
pub(crate) fn interface_index(name: &std::ffi::CStr) -> io::Result<u32> {
    let ask = || {
        // SAFETY: `name` is a string that ends with a nought, borrowed for the whole call.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        // A failure is nought here.
        if index == 0 { -1 } else { index as c_int }
    };
    cvt(Call::InterfaceIndex, ask).map(c_int::unsigned_abs)
}
