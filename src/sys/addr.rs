//! Socket addresses as the kernel lays them out, to and from `std::net::SocketAddr`.
//!
//! Ports and IPv4 addresses are in network byte order there; an IPv6 flow label and scope id go through
//! unchanged, as in std. ip(7), ipv6(7).

use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ptr;

use libc::{c_int, sa_family_t, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage, socklen_t};

/// The socket domain that belongs to an address.
pub(crate) fn domain(address: &SocketAddr) -> c_int {
    match address {
        SocketAddr::V4(_) => libc::AF_INET,
        SocketAddr::V6(_) => libc::AF_INET6,
    }
}

/// An address for the kernel to read.
pub(crate) enum RawAddr {
    V4(sockaddr_in),
    V6(sockaddr_in6),
}

impl RawAddr {
    pub(crate) fn new(address: &SocketAddr) -> RawAddr {
        match address {
            SocketAddr::V4(address) => RawAddr::V4(encode_v4(address)),
            SocketAddr::V6(address) => RawAddr::V6(encode_v6(address)),
        }
    }

    /// Pointer and length, valid for as long as `self` is borrowed.
    pub(crate) fn as_in(&self) -> (*const sockaddr, socklen_t) {
        match self {
            RawAddr::V4(raw) => (ptr::from_ref(raw).cast(), length_of::<sockaddr_in>()),
            RawAddr::V6(raw) => (ptr::from_ref(raw).cast(), length_of::<sockaddr_in6>()),
        }
    }
}

/// Room for an address that the kernel writes, which it begins with.
#[repr(C)]
pub(crate) struct Storage {
    // Large enough and aligned for every address family; zero means unspecified.
    raw: sockaddr_storage,
    length: socklen_t,
}

impl Storage {
    /// How much the kernel may fill.
    pub(super) const ROOM: socklen_t = length_of::<sockaddr_storage>();

    pub(crate) fn new() -> Storage {
        // SAFETY: sockaddr_storage is integers and byte arrays only, for which all zeros is a value.
        let raw = unsafe { mem::zeroed() };
        Storage { raw, length: length_of::<sockaddr_storage>() }
    }

    /// Address and length pointers for a call such as accept(2); the length starts as the room.
    pub(crate) fn as_out(&mut self) -> (*mut sockaddr, *mut socklen_t) {
        self.length = length_of::<sockaddr_storage>();
        (ptr::from_mut(&mut self.raw).cast(), &raw mut self.length)
    }

    /// The same room for recvmsg(2), which keeps the length in its header.
    pub(crate) fn as_name(&mut self) -> (*mut libc::c_void, socklen_t) {
        (ptr::from_mut(&mut self.raw).cast(), length_of::<sockaddr_storage>())
    }

    /// Takes over the length that recvmsg(2) left in its header.
    pub(crate) fn set_length(&mut self, length: socklen_t) {
        self.length = length;
    }

    /// The address family; `AF_UNSPEC` when the kernel has written nothing.
    pub(super) fn family(&self) -> c_int {
        c_int::from(self.raw.ss_family)
    }

    /// What the kernel has written, as it is, for families of another shape.
    pub(super) fn as_bytes(&self) -> &[u8] {
        let length = self.length.min(length_of::<sockaddr_storage>()) as usize;
        // SAFETY: the pointer is to the whole struct, of which `length` bytes are not more, and all of its bytes were
        // initialised, being zeroed.
        unsafe { std::slice::from_raw_parts(ptr::from_ref(&self.raw).cast::<u8>(), length) }
    }

    /// What the kernel has written.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when it is not an address of IPv4 or IPv6, or none at all.
    pub(crate) fn get(&self) -> io::Result<SocketAddr> {
        match c_int::from(self.raw.ss_family) {
            libc::AF_INET if self.length >= length_of::<sockaddr_in>() => {
                let raw = ptr::from_ref(&self.raw).cast::<sockaddr_in>();
                // SAFETY: sockaddr_storage is larger than sockaddr_in and at least as aligned, every
                // byte of it is initialised, and sockaddr_in is integers only.
                Ok(SocketAddr::V4(decode_v4(unsafe { &*raw })))
            }
            libc::AF_INET6 if self.length >= length_of::<sockaddr_in6>() => {
                let raw = ptr::from_ref(&self.raw).cast::<sockaddr_in6>();
                // SAFETY: as above, with sockaddr_in6.
                Ok(SocketAddr::V6(decode_v6(unsafe { &*raw })))
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not an address of IPv4 or IPv6")),
        }
    }
}

const fn length_of<T>() -> socklen_t {
    const { assert!(mem::size_of::<T>() <= mem::size_of::<sockaddr_storage>()) };
    mem::size_of::<T>() as socklen_t
}

fn encode_v4(address: &SocketAddrV4) -> sockaddr_in {
    // SAFETY: sockaddr_in is integers only, for which all zeros is a value.
    let mut raw: sockaddr_in = unsafe { mem::zeroed() };
    raw.sin_family = libc::AF_INET as sa_family_t;
    raw.sin_port = address.port().to_be();
    raw.sin_addr.s_addr = u32::from_ne_bytes(address.ip().octets());
    raw
}

fn encode_v6(address: &SocketAddrV6) -> sockaddr_in6 {
    // SAFETY: sockaddr_in6 is integers only, for which all zeros is a value.
    let mut raw: sockaddr_in6 = unsafe { mem::zeroed() };
    raw.sin6_family = libc::AF_INET6 as sa_family_t;
    raw.sin6_port = address.port().to_be();
    raw.sin6_flowinfo = address.flowinfo();
    raw.sin6_addr.s6_addr = address.ip().octets();
    raw.sin6_scope_id = address.scope_id();
    raw
}

fn decode_v4(raw: &sockaddr_in) -> SocketAddrV4 {
    let ip = Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes());
    SocketAddrV4::new(ip, u16::from_be(raw.sin_port))
}

fn decode_v6(raw: &sockaddr_in6) -> SocketAddrV6 {
    let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
    SocketAddrV6::new(ip, u16::from_be(raw.sin6_port), raw.sin6_flowinfo, raw.sin6_scope_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would do: copy the bytes of the address and set the length.
    fn through_storage(address: SocketAddr) -> SocketAddr {
        let raw = RawAddr::new(&address);
        let mut storage = Storage::new();
        let (from, length) = raw.as_in();
        let (to, room) = storage.as_out();
        // SAFETY: `from` has `length` bytes, `to` has room for any address, and they do not overlap.
        unsafe { ptr::copy_nonoverlapping(from.cast::<u8>(), to.cast::<u8>(), length as usize) };
        // SAFETY: `room` points to the length inside `storage`, which is alive.
        unsafe { *room = length };
        storage.get().unwrap()
    }

    #[test]
    fn addresses_of_both_families_survive_the_round_trip() {
        let cases = [
            SocketAddr::from(([0, 0, 0, 0], 0)),
            SocketAddr::from(([192, 0, 2, 1], 65535)),
            SocketAddr::from((Ipv6Addr::LOCALHOST, 1)),
            SocketAddr::V6(SocketAddrV6::new("fe80::1".parse().unwrap(), 443, 0x000a_bcde, 7)),
        ];
        for address in cases {
            assert_eq!(through_storage(address), address);
        }
    }

    #[test]
    fn ports_and_ipv4_addresses_are_in_network_byte_order() {
        let raw = encode_v4(&SocketAddrV4::new(Ipv4Addr::new(1, 2, 3, 4), 0x1234));
        assert_eq!(raw.sin_port.to_ne_bytes(), [0x12, 0x34]);
        assert_eq!(raw.sin_addr.s_addr.to_ne_bytes(), [1, 2, 3, 4]);
    }

    #[test]
    fn an_address_of_no_family_is_an_error() {
        assert_eq!(Storage::new().get().unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
