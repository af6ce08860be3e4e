//! Datagrams with what travels beside them: where they went, their traffic class, the size of their segments.
//!
//! One at a time here, many at a time in `batch.rs`. recvmsg(2), sendmsg(2), udp(7).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use libc::{c_int, c_uint, iovec, msghdr};

use super::addr::{RawAddr, Storage};
use super::call::{Call, attempt};
use super::control::Control;
use super::{os, packet_os};

/// A datagram to be sent, or a train of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) bytes: &'a [u8],
    /// None is the peer of a connected socket.
    pub(crate) target: Option<SocketAddr>,
    /// Whether it goes over IPv4, be it on a socket of IPv6.
    pub(crate) over_v4: bool,
    pub(crate) source: Option<IpAddr>,
    /// The interface to send on; 0 is the system's choice.
    pub(crate) interface: u32,
    pub(crate) traffic_class: Option<u8>,
    /// The size that the kernel cuts `bytes` into; they are one datagram without it.
    pub(crate) segment: Option<u16>,
}

/// What is known of a received message besides its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Beside {
    /// Where its head says that it goes.
    pub(crate) destination: Option<IpAddr>,
    /// The address of this host that it came to.
    pub(crate) local: Option<IpAddr>,
    pub(crate) interface: Option<u32>,
    pub(crate) traffic_class: Option<u8>,
    /// The size of the datagrams that the kernel has put together.
    pub(crate) segment: Option<usize>,
}

/// One received message; its bytes are in a buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming {
    pub(crate) len: usize,
    pub(crate) source: SocketAddr,
    pub(crate) truncated: bool,
    pub(crate) beside: Beside,
}

/// A header with the length of its message: the layout of mmsghdr.
#[repr(C)]
pub(super) struct Header {
    message: msghdr,
    pub(super) len: c_uint,
}

impl Header {
    pub(super) fn new() -> Header {
        // SAFETY: msghdr is integers and nullable raw pointers, for which all zeros is a value.
        Header { message: unsafe { mem::zeroed() }, len: 0 }
    }
}

/// Receives one message.
pub(crate) fn recv_message(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Incoming> {
    let (mut source, mut control) = (Storage::new(), Control::new());
    let mut piece = IoSliceMut::new(buffer);
    let mut header = Header::new();
    header.point(&raw mut source, (&raw mut piece).cast(), &raw mut control);
    // SAFETY: `header` names `source`, `control` and one IoSliceMut, which has the layout of iovec and borrows its memory
    // exclusively; all of them outlive the call.
    unsafe { recv_one(fd, &mut header, 0) }?;
    header.filled(&mut source, &mut control);
    Ok(Incoming {
        len: header.len as usize,
        source: source.get()?,
        truncated: header.is_truncated(),
        beside: beside(&control),
    })
}

/// Sends one message, whole or not at all.
pub(crate) fn send_message(fd: BorrowedFd<'_>, outgoing: &Outgoing<'_>) -> io::Result<()> {
    let name = outgoing.target.as_ref().map(RawAddr::new);
    let mut control = Control::new();
    encode(&mut control, outgoing);
    let piece = IoSlice::new(outgoing.bytes);
    let mut header = Header::new();
    header.prepare_send(name.as_ref(), ptr::from_ref(&piece).cast_mut().cast(), &control);
    // SAFETY: `header` names `name`, `control` and one IoSlice, which has the layout of iovec and borrows its memory; all
    // of them outlive the call.
    unsafe { send_one(fd, &mut header) }
}

/// Receives into one header; `flags` as of recvmsg(2).
///
/// # Safety
///
/// What the header names is valid for the kernel to write, for the whole call.
pub(super) unsafe fn recv_one(fd: BorrowedFd<'_>, header: &mut Header, flags: c_int) -> io::Result<()> {
    let (name, control) = (header.message.msg_namelen, header.message.msg_controllen);
    let len = attempt(Call::RecvMessage, fd, || {
        // Set anew for each try, for the kernel writes them.
        header.message.msg_namelen = name;
        header.message.msg_controllen = control;
        // SAFETY: the caller answers for what the header names.
        unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut header.message, flags) }
    })?;
    // No datagram is longer than 32 bits can say.
    header.len = len.unsigned_abs() as c_uint;
    Ok(())
}

/// Sends one header.
///
/// # Safety
///
/// What the header names is valid for the kernel to read, for the whole call.
pub(super) unsafe fn send_one(fd: BorrowedFd<'_>, header: &mut Header) -> io::Result<()> {
    // SAFETY: the caller answers for what the header names; the kernel only reads it.
    let send = || unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const header.message, os::SEND_FLAGS) };
    attempt(Call::SendMessage, fd, send)?;
    Ok(())
}

impl Header {
    /// Names where to put a message.
    pub(super) fn point(&mut self, source: *mut Storage, piece: *mut iovec, control: *mut Control) {
        // Both begin with what the kernel fills.
        self.message.msg_name = source.cast();
        self.message.msg_iov = piece;
        self.message.msg_iovlen = 1;
        self.message.msg_control = control.cast();
        self.reset();
    }

    /// Names the rooms anew, in whose place the kernel has written lengths.
    pub(super) fn reset(&mut self) {
        self.message.msg_namelen = Storage::ROOM;
        self.message.msg_controllen = Control::ROOM as _;
        self.message.msg_flags = 0;
    }

    /// Hands the lengths that the kernel has written to where they belong.
    pub(super) fn filled(&self, source: &mut Storage, control: &mut Control) {
        source.set_length(self.message.msg_namelen);
        control.set_used(self.message.msg_controllen as _);
    }

    pub(super) fn prepare_send(&mut self, name: Option<&RawAddr>, piece: *mut iovec, control: &Control) {
        // The kernel only reads through these pointers, which the types of the fields do not say.
        let (name, length) = name.map_or((ptr::null(), 0), RawAddr::as_in);
        self.message.msg_name = name.cast_mut().cast();
        self.message.msg_namelen = length;
        self.message.msg_iov = piece;
        self.message.msg_iovlen = 1;
        let (start, used) = control.as_in();
        self.message.msg_control = start;
        self.message.msg_controllen = used as _;
    }

    pub(super) fn is_truncated(&self) -> bool {
        self.message.msg_flags & libc::MSG_TRUNC != 0
    }
}

/// Whether a train was refused, so that its datagrams may pass one by one: by the kernel or the device as such, or because
/// a datagram of it is longer than the device takes whole, where IP would have cut a single one up.
pub(crate) fn is_refused_train(error: &io::Error) -> bool {
    is_refused_always(error) || error.raw_os_error() == Some(libc::EMSGSIZE)
}

/// Whether no train will pass, provided that the same datagrams pass one by one: `EIO` of a device that does not make
/// checksums, `EINVAL` of a socket that sends without them, `EOPNOTSUPP` of what lies in between.
pub(crate) fn is_refused_always(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL | libc::EOPNOTSUPP))
}

/// The control messages of a message to be sent.
pub(super) fn encode(control: &mut Control, outgoing: &Outgoing<'_>) {
    if let (Some(kind), Some(size)) = (packet_os::SEGMENT, outgoing.segment) {
        control.push(libc::IPPROTO_UDP, kind, &size.to_ne_bytes());
    }
    if let Some(class) = outgoing.traffic_class {
        let class_word = c_int::from(class).to_ne_bytes();
        if !outgoing.over_v4 {
            if let Some(kind) = packet_os::TRAFFIC_CLASS {
                control.push(libc::IPPROTO_IPV6, kind, &class_word);
            }
        } else if let Some((kind, width)) = packet_os::TOS_SENT {
            let data = if width == 1 { &[class][..] } else { &class_word };
            control.push(libc::IPPROTO_IP, kind, data);
        }
    }
    if outgoing.source.is_some() || outgoing.interface != 0 {
        encode_source(control, outgoing);
    }
}

/// `in_pktinfo`: interface, source, nothing; `in6_pktinfo`: source, interface.
fn encode_source(control: &mut Control, outgoing: &Outgoing<'_>) {
    let interface = outgoing.interface.to_ne_bytes();
    if outgoing.over_v4 {
        let source = match outgoing.source.map(|source| source.to_canonical()) {
            Some(IpAddr::V4(source)) => source,
            Some(IpAddr::V6(_)) | None => Ipv4Addr::UNSPECIFIED,
        };
        if let Some(kind) = packet_os::PACKET_INFO {
            let mut data = [0; 12];
            data[..4].copy_from_slice(&interface);
            data[4..8].copy_from_slice(&source.octets());
            control.push(libc::IPPROTO_IP, kind, &data);
        }
    } else if let Some(kind) = packet_os::PACKET_INFO_V6 {
        let source = match outgoing.source {
            Some(IpAddr::V6(source)) => source,
            Some(IpAddr::V4(_)) | None => Ipv6Addr::UNSPECIFIED,
        };
        let mut data = [0; 20];
        data[..16].copy_from_slice(&source.octets());
        data[16..].copy_from_slice(&interface);
        control.push(libc::IPPROTO_IPV6, kind, &data);
    }
}

/// What the control messages of a received message say.
pub(super) fn beside(control: &Control) -> Beside {
    let mut beside = Beside::default();
    for (level, kind, data) in control.iter() {
        let is = |at: c_int, name: Option<c_int>| level == at && name == Some(kind);
        if is(libc::IPPROTO_UDP, packet_os::COALESCE) {
            beside.segment = segment(data);
        } else if is(libc::IPPROTO_IP, packet_os::PACKET_INFO) {
            packet_info(&mut beside, data);
        } else if is(libc::IPPROTO_IPV6, packet_os::PACKET_INFO_V6) {
            packet_info_v6(&mut beside, data);
        } else if is(libc::IPPROTO_IP, packet_os::TOS_RECEIVED)
            || is(libc::IPPROTO_IPV6, packet_os::TRAFFIC_CLASS)
        {
            beside.traffic_class = class(data);
        }
    }
    beside
}

/// One octet, or an integer.
fn class(data: &[u8]) -> Option<u8> {
    match *data {
        [class] => Some(class),
        [a, b, c, d, ..] => u8::try_from(c_int::from_ne_bytes([a, b, c, d])).ok(),
        _ => None,
    }
}

fn segment(data: &[u8]) -> Option<usize> {
    let size = data.first_chunk().map(|&size| c_int::from_ne_bytes(size))?;
    usize::try_from(size).ok().filter(|&size| size > 0)
}

fn packet_info(beside: &mut Beside, data: &[u8]) {
    if let &[a, b, c, d, l0, l1, l2, l3, d0, d1, d2, d3] = data {
        // A socket of IPv6 is told of both, the other one with more to say.
        beside.interface = beside.interface.or(Some(u32::from_ne_bytes([a, b, c, d])));
        beside.local = beside.local.or(Some(IpAddr::from([l0, l1, l2, l3])));
        beside.destination = beside.destination.or(Some(IpAddr::from([d0, d1, d2, d3])));
    }
}

fn packet_info_v6(beside: &mut Beside, data: &[u8]) {
    if let (Some(&address), Some(&interface)) = (data.first_chunk::<16>(), data.last_chunk()) {
        let address = Ipv6Addr::from(address);
        beside.interface = Some(u32::from_ne_bytes(interface));
        beside.destination = Some(IpAddr::V6(address));
        beside.local = (!address.is_multicast()).then_some(IpAddr::V6(address));
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
