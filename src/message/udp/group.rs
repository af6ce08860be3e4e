//! Multicast: many nodes by one address.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use crate::net::UdpSocket;

/// A multicast group that a node sends to and hears.
///
/// The node sends from its own socket, so that answers come to it alone. It hears the group on its own socket, when that
/// is bound to the group's port of all addresses, and otherwise on one more, which any number of programs of a host may
/// have at a time.
///
/// # Examples
///
/// ```
/// use std::net::Ipv4Addr;
/// use wakering::message::Group;
///
/// // What the Python package does unless it is told otherwise, here on the loopback interface only.
/// let group = Group::v4(Ipv4Addr::new(224, 0, 0, 1), 8888, Ipv4Addr::LOCALHOST);
/// # let _ = group;
/// ```
///
/// Source: ip(7), RFC 1112, RFC 4291 §2.7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    target: SocketAddr,
    interface: Interface,
    hops: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interface {
    V4(Ipv4Addr),
    V6(u32),
}

impl Group {
    /// An IPv4 group on the interface that has the address `interface`; with [`Ipv4Addr::UNSPECIFIED`] the system chooses.
    #[must_use]
    pub fn v4(group: Ipv4Addr, port: u16, interface: Ipv4Addr) -> Group {
        Group { target: (group, port).into(), interface: Interface::V4(interface), hops: 1 }
    }

    /// An IPv6 group on the interface with this [index](crate::net::interface_index); with 0 the system chooses.
    #[must_use]
    pub fn v6(group: Ipv6Addr, port: u16, interface: u32) -> Group {
        Group { target: (group, port).into(), interface: Interface::V6(interface), hops: 1 }
    }

    /// How many routers what is sent may pass, and one; 1 by default, which is the own network.
    #[must_use]
    pub fn hops(mut self, hops: u8) -> Group {
        self.hops = hops;
        self
    }

    /// Where it is sent to.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.target
    }

    /// Makes a node's socket send to the group, and hear it: by itself, or by the socket that is returned.
    pub(super) fn join(&self, socket: &UdpSocket) -> io::Result<Option<UdpSocket>> {
        if !self.target.ip().is_multicast() || self.target.port() == 0 {
            let told = format!("{} is no multicast group with a port", self.target);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, told));
        }
        self.aim(socket)?;
        let local = socket.local_addr()?;
        if local.port() == self.target.port() && local.ip().is_unspecified() {
            self.enter(socket)?;
            return Ok(None);
        }
        let ear = UdpSocket::builder().reuse_address(true).bind(self.target)?;
        self.enter(&ear)?;
        Ok(Some(ear))
    }

    /// The address that what a socket sends to the group comes from, if the system tells.
    pub(super) fn source(&self, port: u16) -> Option<SocketAddr> {
        let any: IpAddr = match self.target {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let probe = UdpSocket::bind((any, 0)).ok()?;
        self.aim(&probe).ok()?;
        // Nothing is sent by this.
        probe.connect(self.target).ok()?;
        Some((probe.local_addr().ok()?.ip(), port).into())
    }

    fn aim(&self, socket: &UdpSocket) -> io::Result<()> {
        match self.interface {
            Interface::V4(Ipv4Addr::UNSPECIFIED) | Interface::V6(0) => {}
            Interface::V4(interface) => socket.set_multicast_interface_v4(interface)?,
            Interface::V6(interface) => socket.set_multicast_interface_v6(interface)?,
        }
        socket.set_multicast_ttl(self.hops)?;
        socket.set_multicast_loop(true)
    }

    fn enter(&self, socket: &UdpSocket) -> io::Result<()> {
        match (self.target.ip(), self.interface) {
            (IpAddr::V4(group), Interface::V4(interface)) => socket.join_multicast_v4(group, interface),
            (IpAddr::V6(group), Interface::V6(interface)) => socket.join_multicast_v6(group, interface),
            (IpAddr::V4(_), Interface::V6(_)) | (IpAddr::V6(_), Interface::V4(_)) => {
                unreachable!("a group is made with an interface of its own family")
            }
        }
    }
}
