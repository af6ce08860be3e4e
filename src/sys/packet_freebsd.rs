//! FreeBSD, where IPv4 has no packet information of this form: names of the options and control messages of datagrams;
//! `packet_linux.rs` says what each means.

use libc::c_int;

pub(super) const RECV_PACKET_INFO: Option<c_int> = None;
pub(super) const PACKET_INFO: Option<c_int> = None;
pub(super) const RECV_PACKET_INFO_V6: Option<c_int> = Some(libc::IPV6_RECVPKTINFO);
pub(super) const PACKET_INFO_V6: Option<c_int> = Some(libc::IPV6_PKTINFO);
pub(super) const RECV_TOS: Option<c_int> = Some(libc::IP_RECVTOS);
pub(super) const TOS_RECEIVED: Option<c_int> = Some(libc::IP_RECVTOS);
pub(super) const TOS_SENT: Option<(c_int, usize)> = Some((libc::IP_TOS, 1));
pub(super) const RECV_TRAFFIC_CLASS: Option<c_int> = Some(libc::IPV6_RECVTCLASS);
pub(super) const TRAFFIC_CLASS: Option<c_int> = Some(libc::IPV6_TCLASS);
pub(super) const JOIN_V6: c_int = libc::IPV6_JOIN_GROUP;
pub(super) const LEAVE_V6: c_int = libc::IPV6_LEAVE_GROUP;
pub(super) type MulticastValue = u8;
pub(super) const SEGMENT: Option<c_int> = None;
pub(super) const COALESCE: Option<c_int> = None;
