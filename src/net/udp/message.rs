//! Datagrams with what travels beside them, one call each.

use std::{
    fmt,
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    task::{Context, Poll},
};

use crate::{
    net::udp::{UdpSocket, send::Progress},
    reactor::Direction,
    sys::message::{self, Incoming, Outgoing},
};

/// Explicit congestion notification: the two bits in the IP header that routers mark instead of dropping (RFC 3168 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ecn {
    /// Not-ECT: the sender does not take part.
    NotEct,
    /// ECT(1): takes part; used by L4S (RFC 9331).
    Ect1,
    /// ECT(0): takes part.
    Ect0,
    /// CE: a router on the way was congested.
    Ce,
}

impl Ecn {
    /// What the two low bits of a traffic class say.
    pub fn from_bits(bits: u8) -> Ecn {
        match bits & 3 {
            0 => Ecn::NotEct,
            1 => Ecn::Ect1,
            2 => Ecn::Ect0,
            3.. => Ecn::Ce,
        }
    }

    /// The two bits, 0 to 3.
    pub fn bits(self) -> u8 {
        match self {
            Ecn::NotEct => 0,
            Ecn::Ect1 => 1,
            Ecn::Ect0 => 2,
            Ecn::Ce => 3,
        }
    }
}

/// What one receive brought: a datagram, or several of one sender and size that the kernel has put together.
///
/// They come together only after [`UdpSocket::set_gro`]; [`datagrams`](Message::datagrams) takes them apart, and is right
/// for a single one too. What is beside the bytes is `None` unless it was asked for and the system tells it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message<'a> {
    /// The bytes. None is an empty datagram, not an end.
    pub bytes: &'a [u8],
    /// Who sent it.
    pub source: SocketAddr,
    /// It was longer than the buffer, and the rest of it is gone.
    pub truncated: bool,
    /// The length of each datagram in `bytes`, of which the last may be shorter; that of `bytes` when there is one.
    pub segment_size: usize,
    /// Where it was sent to: an address of this host, a group or a broadcast address.
    /// [`set_recv_packet_info`](UdpSocket::set_recv_packet_info) asks for it.
    pub destination: Option<IpAddr>,
    /// The address of this host that it came to, and that an answer comes from best; asked for as `destination`. IPv6 does
    /// not tell it of what was sent to a group.
    pub local: Option<IpAddr>,
    /// The index of the interface that it came in on; asked for as `destination`.
    pub interface: Option<u32>,
    /// What routers said of congestion; [`set_recv_ecn`](UdpSocket::set_recv_ecn) asks for it.
    pub ecn: Option<Ecn>,
}

impl<'a> Message<'a> {
    pub(super) fn new(incoming: &Incoming, bytes: &'a [u8]) -> Message<'a> {
        let beside = incoming.beside;
        Message {
            bytes,
            source: incoming.source,
            truncated: incoming.truncated,
            segment_size: beside.segment.unwrap_or(bytes.len()),
            destination: beside.destination,
            local: beside.local,
            interface: beside.interface,
            ecn: beside.traffic_class.map(Ecn::from_bits),
        }
    }

    /// The datagrams, one by one, in the order in which they came. An empty one is one.
    pub fn datagrams(&self) -> Datagrams<'a> {
        Datagrams { rest: Some(self.bytes), size: self.segment_size }
    }

    /// An answer with these contents: to where this came from and, if the destination was asked for, from there.
    #[must_use]
    pub fn reply<'b>(&self, contents: &'b [u8]) -> Transmit<'b> {
        Transmit { source: self.local, ..Transmit::to(self.source, contents) }
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("len", &self.bytes.len())
            .field("source", &self.source)
            .field("truncated", &self.truncated)
            .field("segment_size", &self.segment_size)
            .field("destination", &self.destination)
            .field("local", &self.local)
            .field("interface", &self.interface)
            .field("ecn", &self.ecn)
            .finish()
    }
}

/// The datagrams of a [`Message`].
#[derive(Clone, Debug)]
pub struct Datagrams<'a> {
    rest: Option<&'a [u8]>,
    size: usize,
}

impl<'a> Iterator for Datagrams<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.take()?;
        if rest.len() <= self.size {
            return Some(rest);
        }
        let (first, rest) = rest.split_at(self.size);
        self.rest = Some(rest);
        Some(first)
    }
}

/// A datagram to send, or a train of datagrams of one size, and what goes beside it.
///
/// ```
/// use std::net::SocketAddr;
/// use wakering::net::{Ecn, Transmit};
///
/// let target = SocketAddr::from(([127, 0, 0, 1], 4433));
/// let train = Transmit::to(target, &[0; 3000]).segment_size(1200).ecn(Ecn::Ect0);
/// assert_eq!(train.datagrams(), 3);
/// ```
#[derive(Clone, Copy)]
pub struct Transmit<'a> {
    contents: &'a [u8],
    target: Option<SocketAddr>,
    segment_size: usize,
    ecn: Option<Ecn>,
    source: Option<IpAddr>,
    interface: u32,
}

impl<'a> Transmit<'a> {
    /// One datagram to `target`.
    #[must_use]
    pub fn to(target: SocketAddr, contents: &'a [u8]) -> Transmit<'a> {
        Transmit { contents, target: Some(target), segment_size: 0, ecn: None, source: None, interface: 0 }
    }

    /// One datagram to the peer that [`UdpSocket::connect`] has set.
    #[must_use]
    pub fn to_peer(contents: &'a [u8]) -> Transmit<'a> {
        Transmit { contents, target: None, segment_size: 0, ecn: None, source: None, interface: 0 }
    }

    /// Cuts the contents into datagrams of `bytes` each, of which the last may be shorter. The kernel or the device does it
    /// where it can (`UDP_SEGMENT`), and else they are sent one by one. 0 and more than there is are one datagram.
    #[must_use]
    pub fn segment_size(mut self, bytes: usize) -> Transmit<'a> {
        self.segment_size = bytes;
        self
    }

    /// Marks the datagrams for routers; a value of [`UdpSocket::set_tos`] does not go with them then. Without effect
    /// where the system has no such control message (IPv4 on NetBSD and OpenBSD).
    #[must_use]
    pub fn ecn(mut self, ecn: Ecn) -> Transmit<'a> {
        self.ecn = Some(ecn);
        self
    }

    /// The address of this host that they come from, of the same family as the target; another one is `InvalidInput`.
    /// Without effect where the system has no packet information (IPv4 on the BSDs).
    #[must_use]
    pub fn source(mut self, address: IpAddr) -> Transmit<'a> {
        self.source = Some(address);
        self
    }

    /// The index of the interface that they go out on.
    #[must_use]
    pub fn interface(mut self, index: u32) -> Transmit<'a> {
        self.interface = index;
        self
    }

    /// The bytes.
    pub fn contents(&self) -> &'a [u8] {
        self.contents
    }

    /// Where it goes; `None` is the socket's peer.
    pub fn target(&self) -> Option<SocketAddr> {
        self.target
    }

    /// How many datagrams the contents are.
    pub fn datagrams(&self) -> usize {
        if self.is_train() { self.contents.len().div_ceil(self.segment_size) } else { 1 }
    }

    /// Whether it is more than one datagram.
    pub(super) fn is_train(&self) -> bool {
        self.segment_size != 0 && self.contents.len() > self.segment_size
    }

    /// The size of a datagram, where there is more than one.
    pub(super) fn segment(&self) -> usize {
        if self.segment_size == 0 { usize::MAX } else { self.segment_size }
    }

    /// Whether something goes beside it that depends on the family of the peer.
    pub(super) fn asks_family(&self) -> bool {
        self.target.is_none() && (self.ecn.is_some() || self.interface != 0 || self.source.is_some())
    }

    /// Whether source and target are of different families.
    pub(super) fn is_mixed(&self, peer_is_v4: bool) -> bool {
        let over_v4 = self.is_over_v4(peer_is_v4);
        self.source.is_some_and(|source| source.to_canonical().is_ipv4() != over_v4)
    }

    fn is_over_v4(&self, peer_is_v4: bool) -> bool {
        self.target.map_or(peer_is_v4, |target| target.ip().to_canonical().is_ipv4())
    }

    /// The bytes from `start`, `len` of them, as the kernel is given them.
    pub(super) fn part(&self, start: usize, len: usize, peer_is_v4: bool) -> Outgoing<'a> {
        let segment = self.segment();
        Outgoing {
            bytes: &self.contents[start..start + len],
            target: self.target,
            over_v4: self.is_over_v4(peer_is_v4),
            source: self.source,
            interface: self.interface,
            traffic_class: self.ecn.map(Ecn::bits),
            segment: if len > segment { u16::try_from(segment).ok() } else { None },
        }
    }
}

impl fmt::Debug for Transmit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transmit")
            .field("len", &self.contents.len())
            .field("target", &self.target)
            .field("segment_size", &self.segment_size)
            .field("ecn", &self.ecn)
            .field("source", &self.source)
            .field("interface", &self.interface)
            .finish()
    }
}

impl UdpSocket {
    /// Receives one datagram with what travels beside it, or with [`set_gro`](UdpSocket::set_gro) a train of them; the buffer
    /// should have 65,535 bytes then.
    ///
    /// # Errors
    ///
    /// As [`recv`](UdpSocket::recv).
    ///
    /// # Cancellation
    ///
    /// No datagram is taken.
    ///
    /// # Examples
    ///
    /// ```
    /// use wakering::net::{Ecn, Transmit, UdpSocket};
    ///
    /// wakering::run(async {
    ///     let (one, two) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("0.0.0.0:0")?);
    ///     # if cfg!(any(target_os = "linux", target_vendor = "apple")) {
    ///     two.set_recv_packet_info(true)?;
    ///     two.set_recv_ecn(true)?;
    ///     let target = ([127, 0, 0, 1], two.local_addr()?.port()).into();
    ///     one.send_message(&Transmit::to(target, b"marked").ecn(Ecn::Ect0)).await?;
    ///     let mut buffer = [0; 64];
    ///     let message = two.recv_message(&mut buffer).await?;
    ///     assert_eq!((message.bytes, message.ecn), (&b"marked"[..], Some(Ecn::Ect0)));
    ///     assert_eq!(message.destination, Some([127, 0, 0, 1].into()));
    ///     two.send_message(&message.reply(b"back")).await?;
    ///     # }
    ///     Ok::<(), std::io::Error>(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn recv_message<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Message<'a>> {
        let receive =
            |cx: &mut Context<'_>| self.poll_io(cx, Direction::Read, |fd| message::recv_message(fd, buffer));
        let incoming = poll_fn(receive).await?;
        Ok(Message::new(&incoming, &buffer[..incoming.len.min(buffer.len())]))
    }

    /// Receives a message that is there now, as [`recv_message`](UdpSocket::recv_message) does.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is none; else as [`recv`](UdpSocket::recv).
    pub fn try_recv_message<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Message<'a>> {
        let incoming = self.try_io(Direction::Read, |fd| message::recv_message(fd, buffer))?;
        Ok(Message::new(&incoming, &buffer[..incoming.len.min(buffer.len())]))
    }

    /// Sends one datagram with what goes beside it, or a train: by one system call where the kernel cuts it up (`UDP_SEGMENT`,
    /// at most 64 datagrams and 65,507 bytes each), by one for each datagram where it does not.
    ///
    /// When kernel or device refuses to cut, the same datagrams are sent one by one, and the socket does not ask again.
    ///
    /// # Errors
    ///
    /// As [`send`](UdpSocket::send); `InvalidInput` when source and target are of different families. Of a train, what lies
    /// before the datagram that failed was sent; a [`SendBatch`](crate::net::SendBatch) tells how much.
    ///
    /// # Cancellation
    ///
    /// A single datagram was not sent. A train that takes several calls may have been sent in part.
    pub async fn send_message(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let mut progress = Progress::default();
        poll_fn(|cx| {
            loop {
                let sent = self.poll_io(cx, Direction::Write, |_| self.send_next(transmit, &mut progress));
                match sent {
                    Poll::Ready(Ok(())) if progress.is_done(1) => return Poll::Ready(Ok(())),
                    Poll::Ready(Ok(())) => {}
                    outcome => return outcome,
                }
            }
        })
        .await
    }

    /// Sends one datagram or a train, if the kernel takes it now.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when it does not; else as [`send_message`](UdpSocket::send_message). A train that needs several calls may
    /// have been sent in part.
    pub fn try_send_message(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let mut progress = Progress::default();
        while !progress.is_done(1) {
            self.try_io(Direction::Write, |_| self.send_next(transmit, &mut progress))?;
        }
        Ok(())
    }

    fn send_next(&self, transmit: &Transmit<'_>, progress: &mut Progress) -> io::Result<()> {
        self.attempt(std::slice::from_ref(transmit), progress, |fd, units| match units.next() {
            Some(unit) => message::send_message(fd, &unit).map(|()| 1),
            None => Ok(0),
        })
    }
}
