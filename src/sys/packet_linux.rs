//! Linux and Android: names of the options and control messages of datagrams. ip(7), ipv6(7), udp(7).

use libc::c_int;

/// Asks for the destination of each IPv4 datagram.
pub(super) const RECV_PACKET_INFO: Option<c_int> = Some(libc::IP_PKTINFO);
/// The control message with an `in_pktinfo`: interface, local address, destination.
pub(super) const PACKET_INFO: Option<c_int> = Some(libc::IP_PKTINFO);
/// Asks for the destination of each IPv6 datagram, and the control message with an `in6_pktinfo` (RFC 3542 §6.2).
pub(super) const RECV_PACKET_INFO_V6: Option<c_int> = Some(libc::IPV6_RECVPKTINFO);
pub(super) const PACKET_INFO_V6: Option<c_int> = Some(libc::IPV6_PKTINFO);
/// Asks for the type of service of each IPv4 datagram, and the control message that it comes in.
pub(super) const RECV_TOS: Option<c_int> = Some(libc::IP_RECVTOS);
pub(super) const TOS_RECEIVED: Option<c_int> = Some(libc::IP_TOS);
/// The control message that sets the type of service of one IPv4 datagram, as an integer of this many octets.
pub(super) const TOS_SENT: Option<(c_int, usize)> = Some((libc::IP_TOS, 4));
/// The same for the traffic class of IPv6 (RFC 3542 §6.5).
pub(super) const RECV_TRAFFIC_CLASS: Option<c_int> = Some(libc::IPV6_RECVTCLASS);
pub(super) const TRAFFIC_CLASS: Option<c_int> = Some(libc::IPV6_TCLASS);
/// Joins and leaves an IPv6 multicast group.
pub(super) const JOIN_V6: c_int = libc::IPV6_ADD_MEMBERSHIP;
pub(super) const LEAVE_V6: c_int = libc::IPV6_DROP_MEMBERSHIP;
/// What the time to live and the loop of IPv4 multicast are set with.
pub(super) type MulticastValue = c_int;
/// Segmentation by the kernel: the option, and the control message with the size of a segment in 16 bits. Linux 4.18.
pub(super) const SEGMENT: Option<c_int> = Some(libc::UDP_SEGMENT);
/// Coalescing by the kernel: the option, and the control message with the size of a segment. Linux 5.0.
pub(super) const COALESCE: Option<c_int> = Some(libc::UDP_GRO);
