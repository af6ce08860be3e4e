//! Hosts: whose addresses are shared out, since one has thousands of them at hand.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Bits of an IPv6 address that are a network's: the others are what one host likes.
const NETWORK_V6: u128 = !0 << 64;

/// The host that an address is of, by which what there is for one host is counted.
pub(super) fn host_of(address: SocketAddr) -> IpAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(host) => host.into(),
        IpAddr::V6(host) => Ipv6Addr::from_bits(host.to_bits() & NETWORK_V6).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_of_a_network_of_ipv6_are_one_host() {
        let host = |text: &str| host_of(format!("[{text}]:1").parse().unwrap());
        assert_eq!(host("2001:db8::1"), host("2001:db8::ffff:0:0:1"));
        assert_ne!(host("2001:db8::1"), host("2001:db8:0:1::1"));
        assert_eq!(host("::ffff:10.0.0.1"), host_of("10.0.0.1:9".parse().unwrap()));
    }
}
