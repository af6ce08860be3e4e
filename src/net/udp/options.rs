//! Options of a socket: buffers, hops, groups, and what travels beside the bytes.

use std::{
    ffi::CString,
    io,
    net::{Ipv4Addr, Ipv6Addr},
};

use crate::{
    net::udp::UdpSocket,
    sys::{options as raw, packet},
};

/// The index of the network interface named `name`, such as `lo`, as multicast over IPv6 and packet information count them.
///
/// # Errors
///
/// `InvalidInput` for a name with a nought in it; those of if_nametoindex(3).
///
/// ```
/// let name = if cfg!(target_os = "linux") { "lo" } else { "lo0" };
/// assert!(wakering::net::interface_index(name)? > 0);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn interface_index(name: &str) -> io::Result<u32> {
    packet::interface_index(&CString::new(name)?)
}

/// Options.
impl UdpSocket {
    /// Takes an error that nobody has been told of yet (`SO_ERROR`).
    ///
    /// # Errors
    ///
    /// The system's, of getsockopt(2).
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        raw::take_error(self.io.fd())
    }

    /// Whether datagrams may be sent to a broadcast address.
    ///
    /// # Errors
    ///
    /// The system's, of getsockopt(2).
    pub fn broadcast(&self) -> io::Result<bool> {
        raw::broadcast(self.io.fd())
    }

    /// Allows datagrams to a broadcast address, which are `PermissionDenied` otherwise.
    ///
    /// # Errors
    ///
    /// The system's, of setsockopt(2).
    pub fn set_broadcast(&self, on: bool) -> io::Result<()> {
        raw::set_broadcast(self.io.fd(), on)
    }

    /// The hop limit of outgoing datagrams.
    ///
    /// # Errors
    ///
    /// The system's, of getsockopt(2).
    pub fn ttl(&self) -> io::Result<u32> {
        raw::ttl(self.io.fd())
    }

    /// Sets the hop limit of outgoing datagrams, 1 to 255.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for other values; others of setsockopt(2).
    pub fn set_ttl(&self, hops: u32) -> io::Result<()> {
        raw::set_ttl(self.io.fd(), hops)
    }

    /// The size of the kernel's receive buffer in bytes. Linux says twice what was set: socket(7).
    ///
    /// # Errors
    ///
    /// The system's, of getsockopt(2).
    pub fn recv_buffer_size(&self) -> io::Result<usize> {
        raw::recv_buffer(self.io.fd())
    }

    /// Asks for a receive buffer of `bytes`; the system bounds it.
    ///
    /// # Errors
    ///
    /// The system's, of setsockopt(2).
    pub fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        raw::set_recv_buffer(self.io.fd(), bytes)
    }

    /// The size of the kernel's send buffer in bytes. Linux says twice what was set: socket(7).
    ///
    /// # Errors
    ///
    /// The system's, of getsockopt(2).
    pub fn send_buffer_size(&self) -> io::Result<usize> {
        raw::send_buffer(self.io.fd())
    }

    /// Asks for a send buffer of `bytes`; the system bounds it.
    ///
    /// # Errors
    ///
    /// The system's, of setsockopt(2).
    pub fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
        raw::set_send_buffer(self.io.fd(), bytes)
    }

    /// The traffic class (IPv4: type of service) of outgoing datagrams: six bits of DSCP, two of ECN.
    ///
    /// # Errors
    ///
    /// The system's, of getsockopt(2).
    pub fn tos(&self) -> io::Result<u8> {
        packet::traffic_class(self.io.fd())
    }

    /// Sets the traffic class of outgoing datagrams. Linux keeps the two ECN bits to itself on streams, not on datagrams.
    ///
    /// # Errors
    ///
    /// The system's, of setsockopt(2).
    pub fn set_tos(&self, class: u8) -> io::Result<()> {
        packet::set_traffic_class(self.io.fd(), class)
    }

    /// Joins an IPv4 group on the interface that has the address `interface`; [`Ipv4Addr::UNSPECIFIED`] lets the system
    /// choose. The socket receives what is sent to the group and its port; bind it to the group's port on the
    /// unspecified address or on the group itself, with [`reuse_address`](crate::net::UdpSocketBuilder::reuse_address) where
    /// several on this host listen. On Linux a socket on the unspecified address hears every group that anyone on this
    /// host has joined: look at [`Message::destination`](crate::net::Message::destination), or bind to the group.
    ///
    /// # Errors
    ///
    /// `AddrInUse` when it has joined already; `InvalidInput` for an address that is no group; `ENODEV` without such an
    /// interface; `ENOBUFS` past the system's limit (Linux: 20 groups, `igmp_max_memberships`).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::net::Ipv4Addr;
    /// use wakering::net::UdpSocket;
    ///
    /// wakering::run(async {
    ///     let group = Ipv4Addr::new(239, 255, 77, 1);
    ///     let member = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    ///     member.join_multicast_v4(group, Ipv4Addr::LOCALHOST)?;
    ///     let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    ///     sender.set_multicast_interface_v4(Ipv4Addr::LOCALHOST)?;
    ///     sender.send_to(b"to all", (group, member.local_addr()?.port()).into()).await?;
    ///     let mut buffer = [0; 16];
    ///     assert_eq!(member.recv(&mut buffer).await?, 6);
    ///     Ok::<(), std::io::Error>(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn join_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        packet::join_v4(self.io.fd(), group, interface)
    }

    /// Leaves an IPv4 group that was joined with the same arguments. Closing the socket leaves all.
    ///
    /// # Errors
    ///
    /// `AddrNotAvailable` when it has not joined.
    pub fn leave_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        packet::leave_v4(self.io.fd(), group, interface)
    }

    /// Joins an IPv6 group on the interface of this index ([`interface_index`]); 0 lets the system choose. Otherwise as
    /// [`join_multicast_v4`](UdpSocket::join_multicast_v4).
    ///
    /// # Errors
    ///
    /// As [`join_multicast_v4`](UdpSocket::join_multicast_v4).
    pub fn join_multicast_v6(&self, group: Ipv6Addr, interface: u32) -> io::Result<()> {
        packet::join_v6(self.io.fd(), group, interface)
    }

    /// Leaves an IPv6 group that was joined with the same arguments.
    ///
    /// # Errors
    ///
    /// `AddrNotAvailable` when it has not joined.
    pub fn leave_multicast_v6(&self, group: Ipv6Addr, interface: u32) -> io::Result<()> {
        packet::leave_v6(self.io.fd(), group, interface)
    }

    /// The hop limit of datagrams to groups, of the socket's family.
    ///
    /// # Errors
    ///
    /// The system's, of getsockopt(2).
    pub fn multicast_ttl(&self) -> io::Result<u32> {
        packet::multicast_ttl(self.io.fd())
    }

    /// Sets the hop limit of datagrams to groups: 1, the default, does not leave the local network, 0 not this host.
    ///
    /// # Errors
    ///
    /// The system's, of setsockopt(2).
    pub fn set_multicast_ttl(&self, hops: u8) -> io::Result<()> {
        packet::set_multicast_ttl(self.io.fd(), hops)
    }

    /// Whether members on this host receive what this socket sends to a group.
    ///
    /// # Errors
    ///
    /// The system's, of getsockopt(2).
    pub fn multicast_loop(&self) -> io::Result<bool> {
        packet::multicast_loop(self.io.fd())
    }

    /// Sets whether members on this host receive what this socket sends to a group; they do by default.
    ///
    /// # Errors
    ///
    /// The system's, of setsockopt(2).
    pub fn set_multicast_loop(&self, on: bool) -> io::Result<()> {
        packet::set_multicast_loop(self.io.fd(), on)
    }

    /// Sends datagrams to IPv4 groups by the interface that has this address; unspecified goes back to the system's choice.
    ///
    /// # Errors
    ///
    /// `AddrNotAvailable` when no interface has it.
    pub fn set_multicast_interface_v4(&self, interface: Ipv4Addr) -> io::Result<()> {
        packet::set_multicast_interface_v4(self.io.fd(), interface)
    }

    /// Sends datagrams to IPv6 groups by the interface of this index; 0 goes back to the system's choice.
    ///
    /// # Errors
    ///
    /// `ENODEV` when there is none.
    pub fn set_multicast_interface_v6(&self, interface: u32) -> io::Result<()> {
        packet::set_multicast_interface_v6(self.io.fd(), interface)
    }

    /// Asks the kernel to tell of each datagram where it was sent to and on which interface it came in:
    /// [`Message::destination`](crate::net::Message::destination). A server on the unspecified address needs it to
    /// answer from the address that it was asked at.
    ///
    /// # Errors
    ///
    /// `Unsupported` for IPv4 on the BSDs and systems of the third tier; others of setsockopt(2).
    pub fn set_recv_packet_info(&self, on: bool) -> io::Result<()> {
        packet::set_packet_info(self.io.fd(), on)
    }

    /// Asks the kernel to tell the [`Ecn`](crate::net::Ecn) bits of each datagram.
    ///
    /// # Errors
    ///
    /// `Unsupported` for IPv4 on NetBSD and OpenBSD and on systems of the third tier; others of setsockopt(2).
    pub fn set_recv_ecn(&self, on: bool) -> io::Result<()> {
        packet::set_recv_traffic_class(self.io.fd(), on)
    }

    /// Lets the kernel put datagrams of one sender and size together and hand them over as one message (`UDP_GRO`): a
    /// train of 32 costs about what one datagram costs.
    ///
    /// Afterwards only [`recv_message`](UdpSocket::recv_message) and [`recv_batch`](UdpSocket::recv_batch) tell where one datagram
    /// ends and the next begins, and the buffers need 65,535 bytes: the other calls return a train as if it were one
    /// datagram.
    ///
    /// # Errors
    ///
    /// `Unsupported` where the kernel does not know it: elsewhere than on Linux, and before 5.0 there.
    ///
    /// # Examples
    ///
    /// ```
    /// use wakering::net::{RecvBatch, Transmit, UdpSocket};
    ///
    /// wakering::run(async {
    ///     let (one, two) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    ///     // Without it the same datagrams come one by one.
    ///     drop(two.set_gro(true));
    ///     one.send_message(&Transmit::to(two.local_addr()?, &[7; 3000]).segment_size(1200)).await?;
    ///     let (mut batch, mut lengths) = (RecvBatch::for_trains(8), Vec::new());
    ///     while lengths.len() < 3 {
    ///         two.recv_batch(&mut batch).await?;
    ///         lengths.extend(batch.messages().flat_map(|message| message.datagrams()).map(<[u8]>::len));
    ///     }
    ///     assert_eq!(lengths, [1200, 1200, 600]);
    ///     Ok::<(), std::io::Error>(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_gro(&self, on: bool) -> io::Result<()> {
        packet::set_coalesce(self.io.fd(), on)
    }

    /// Whether the kernel puts datagrams together for this socket.
    ///
    /// # Errors
    ///
    /// The system's, of getsockopt(2).
    pub fn gro(&self) -> io::Result<bool> {
        packet::coalesce(self.io.fd())
    }

    /// Whether the kernel cuts up trains for this socket ([`Transmit::segment_size`](crate::net::Transmit::segment_size)): false
    /// where it does not know how, and after it or the device has refused to.
    pub fn gso(&self) -> bool {
        self.path.segmenting(self.io.fd())
    }
}
