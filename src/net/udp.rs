//! UDP: datagrams, each whole or not at all.
//!
//! # Which call when
//!
//! | you have | receive by | send by |
//! |---|---|---|
//! | now and then a datagram | [`recv_from`](UdpSocket::recv_from) | [`send_to`](UdpSocket::send_to) |
//! | one peer | [`connect`](UdpSocket::connect), then [`recv`](UdpSocket::recv) | [`send`](UdpSocket::send) |
//! | a server on every address, or ECN | [`recv_message`](UdpSocket::recv_message) | [`send_message`](UdpSocket::send_message) |
//! | thousands a second, of many peers | [`recv_batch`](UdpSocket::recv_batch) | [`send_batch`](UdpSocket::send_batch) |
//! | many of one size to one peer (QUIC, media) | [`set_gro`](UdpSocket::set_gro), then `recv_batch` | `send_batch` of [trains](Transmit::segment_size) |
//!
//! A batch saves system calls and little else: the kernel's way of each datagram stays. A train saves that way, too: on
//! loopback, 32 datagrams of 64 bytes in a train cost a fourteenth of what they cost one by one (`benches/peers/run
//! --table udp-echo`). Ask for [packet information](UdpSocket::set_recv_packet_info) and [ECN](UdpSocket::set_recv_ecn) only
//! where they are used; each costs a control message a datagram.
//!
//! One socket belongs to one worker. For several, bind as many sockets with
//! [`reuse_port`](UdpSocketBuilder::reuse_port), and the system spreads the senders over them, each always to the same one.
//!
//! # What the kernel does
//!
//! - **Batches** are `recvmmsg` and `sendmmsg` on Linux and Android; elsewhere the same calls loop over `recvmsg` and `sendmsg`.
//! - **A train going out** (`UDP_SEGMENT`, Linux 4.18) passes the stack as one packet, and is cut up as late as by the device.
//!   Where the kernel does not know it, or kernel or device refuses (`EIO`, `EINVAL`), the same bytes go one by one, at
//!   once and from then on ([`gso`](UdpSocket::gso) tells). At most 64 datagrams and 65,507 bytes go in one; longer trains are
//!   cut before.
//! - **A train coming in** (`UDP_GRO`, Linux 5.0) is what arrived together: of one sender, of one size, the last may be
//!   shorter. [`Message::datagrams`] takes it apart. Do not mix it with `recv` and `recv_from`, which cannot tell.
//! - **Waiting** is edge-triggered: a receive that brings fewer messages than there is room for has met the end of the queue,
//!   and the next one waits without asking.
//!
//! # What is lost when
//!
//! | | |
//! |---|---|
//! | the receiver's buffer is full | the datagram, silently: enlarge [`set_recv_buffer_size`](UdpSocket::set_recv_buffer_size) |
//! | a buffer is shorter than the datagram | its end; `truncated` tells, but for `recv` |
//! | nobody listens | the datagram; on a connected socket a later call is `ConnectionRefused`, once, and the socket lives |
//! | the datagram is too long for the way | the datagram; that call is `EMSGSIZE` |
//! | the sender's buffer is full | nothing: the call waits |
//! | a future of one datagram is dropped | nothing |
//! | the future of `send_batch` is dropped | nothing: the batch holds what was not sent |
//! | an error in the middle of a batch | the one message that it was about ([`SendBatch::failed`]); the next call sends the rest |
//!
//! Two errors the kernel keeps to itself: that of an ICMP message which `sendmmsg` meets behind its first message, and on an
//! unconnected socket all of them. [`set_error_reports`](UdpSocket::set_error_reports) brings both to light, with the datagram's
//! target and the router that refused it.
//!
//! # An echo
//!
//! Batches and trains both ways, and no byte is copied; with many peers, and whatever the kernel offers:
//!
//! ```no_run
//! use wakering::net::{RecvBatch, SendBatch, UdpSocket};
//!
//! wakering::run(async {
//!     let socket = UdpSocket::bind("127.0.0.1:7001")?;
//!     // Where it is not to be had, datagrams come one by one.
//!     drop(socket.set_gro(true));
//!     let (mut received, mut spare) = (RecvBatch::for_trains(32), SendBatch::new());
//!     loop {
//!         socket.recv_batch(&mut received).await?;
//!         let mut answers = spare.recycle();
//!         for message in received.messages() {
//!             answers.push(message.reply(message.bytes).segment_size(message.segment_size));
//!         }
//!         while !answers.is_empty() {
//!             if let Err(error) = socket.send_batch(&mut answers).await {
//!                 eprintln!("{:?} was not sent: {error}", answers.failed());
//!             }
//!         }
//!         spare = answers.recycle();
//!     }
//!     # #[expect(unreachable_code, reason = "the type of the error is told here")]
//!     # Ok::<(), std::io::Error>(())
//! })??;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Sources: udp(7), ip(7), ipv6(7), recvmmsg(2), sendmmsg(2); RFC 3168 (ECN), RFC 3542 (packet information).

mod batch;
mod errors;
mod message;
mod options;
mod send;

pub use self::{
    batch::{RecvBatch, SendBatch},
    errors::ErrorReport,
    message::{Datagrams, Ecn, Message, Transmit},
    options::interface_index,
};

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use crate::{
    net::{
        addresses::{AddressAction, AddressError, Addresses, first_that_works},
        ready::Io,
    },
    reactor::Direction,
    sys::{
        options as raw,
        socket::{self, Kind},
    },
};

/// A UDP socket.
///
/// All methods take `&self`: a datagram is received or sent whole, and several tasks of a worker may share the socket.
///
/// Errors that belong to an earlier datagram, such as `ConnectionRefused` after an ICMP message, are returned once by the
/// next call on a *connected* socket, and the socket goes on; the call's own datagram was not sent then. A datagram that is too
/// large for the way (`EMSGSIZE`) is an error of that call only.
///
/// # Cancellation
///
/// Dropping a future of a call loses nothing: the datagram was neither received nor sent.
///
/// # Examples
///
/// ```
/// use wakering::net::UdpSocket;
///
/// wakering::run(async {
///     let server = UdpSocket::bind("127.0.0.1:0")?;
///     let client = UdpSocket::bind("127.0.0.1:0")?;
///     client.connect(server.local_addr()?)?;
///     client.send(b"ping").await?;
///     let mut buffer = [0; 64];
///     let datagram = server.recv_from(&mut buffer).await?;
///     assert_eq!(&buffer[..datagram.len], b"ping");
///     assert_eq!(datagram.source, client.local_addr()?);
///     Ok::<(), std::io::Error>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Source: udp(7), ip(7), socket(7).
#[derive(Debug)]
pub struct UdpSocket {
    io: Io,
    path: send::Path,
    reports: errors::Reports,
}

/// What is known of a received datagram; its bytes are in the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Datagram {
    /// How many bytes were put into the buffer. Zero is an empty datagram, not an end.
    pub len: usize,
    /// Who sent it.
    pub source: SocketAddr,
    /// The datagram was longer than the buffer, and the rest of it is gone.
    pub truncated: bool,
}

impl From<socket::Datagram> for Datagram {
    fn from(datagram: socket::Datagram) -> Datagram {
        let socket::Datagram { len, source, truncated } = datagram;
        Datagram { len, source, truncated }
    }
}

impl UdpSocket {
    /// Binds a socket to the first of `addresses` that can be had. Port 0 lets the system choose one.
    ///
    /// # Errors
    ///
    /// The last refusal, as an [`AddressError`] that names the address: `AddrInUse`,
    /// `AddrNotAvailable` … `InvalidInput` when there is no address at all.
    pub fn bind(addresses: impl Addresses) -> io::Result<UdpSocket> {
        UdpSocketBuilder::default().bind(addresses)
    }

    /// A builder, for the options that are set before binding.
    pub fn builder() -> UdpSocketBuilder {
        UdpSocketBuilder::default()
    }

    fn new(fd: OwnedFd) -> UdpSocket {
        UdpSocket { io: Io::new(fd), path: send::Path::default(), reports: errors::Reports::default() }
    }

    /// Takes over a socket of the standard library and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// The system's, of setting the flag.
    pub fn from_std(socket: std::net::UdpSocket) -> io::Result<UdpSocket> {
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::new(OwnedFd::from(socket));
        socket.io.note_lent();
        Ok(socket)
    }

    /// Gives the socket out as one of the standard library. It is still non-blocking.
    pub fn into_std(self) -> std::net::UdpSocket {
        std::net::UdpSocket::from(self.io.into_owned_fd())
    }

    /// Sets the peer: from now on [`send`](UdpSocket::send) goes there, and only its datagrams are received. It is done at
    /// once and sends nothing. Connecting again changes the peer.
    ///
    /// # Errors
    ///
    /// The last refusal, as an [`AddressError`] that names the address.
    pub fn connect(&self, addresses: impl Addresses) -> io::Result<()> {
        first_that_works(addresses, |address| {
            let connected = socket::connect(self.io.fd(), &address);
            self.path.peer_changed();
            connected.map(|_| ()).map_err(AddressError::wrap(AddressAction::Connect, address))
        })
    }

    /// Sends one datagram to the peer set by [`connect`](UdpSocket::connect), and returns its length. An empty one is sent
    /// too.
    ///
    /// # Errors
    ///
    /// `ConnectionRefused` and the like for an earlier datagram, once; `EMSGSIZE` when it is too large; `NotConnected` or
    /// `EDESTADDRREQ` without a peer; others of send(2).
    ///
    /// # Cancellation
    ///
    /// Nothing was sent.
    pub async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_io(cx, Direction::Write, |fd| socket::send(fd, bytes))).await
    }

    /// Sends one datagram to `target`, and returns its length. An empty one is sent too.
    ///
    /// # Errors
    ///
    /// As [`send`](UdpSocket::send).
    ///
    /// # Cancellation
    ///
    /// Nothing was sent.
    pub async fn send_to(&self, bytes: &[u8], target: SocketAddr) -> io::Result<usize> {
        poll_fn(|cx| self.poll_io(cx, Direction::Write, |fd| socket::send_to(fd, bytes, &target))).await
    }

    /// Receives one datagram and says how many of its bytes are in `buffer`. Zero is an empty datagram, not an end.
    ///
    /// A datagram that is longer than `buffer` is cut without a word; where that matters use
    /// [`recv_from`](UdpSocket::recv_from), which tells.
    ///
    /// # Errors
    ///
    /// `ConnectionRefused` and the like on a connected socket, for an earlier datagram, once; others of recv(2).
    ///
    /// # Cancellation
    ///
    /// No datagram is taken.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_io(cx, Direction::Read, |fd| socket::recv(fd, buffer))).await
    }

    /// Receives one datagram, and says where it came from and whether it was cut.
    ///
    /// # Errors
    ///
    /// As [`recv`](UdpSocket::recv).
    ///
    /// # Cancellation
    ///
    /// No datagram is taken.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<Datagram> {
        poll_fn(|cx| self.poll_io(cx, Direction::Read, |fd| socket::recv_from(fd, buffer)))
            .await
            .map(Datagram::from)
    }

    /// Looks at the next datagram as [`recv`](UdpSocket::recv) does, and leaves it there.
    ///
    /// # Errors
    ///
    /// As [`recv`](UdpSocket::recv).
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_io(cx, Direction::Read, |fd| socket::peek(fd, buffer))).await
    }

    /// Looks at the next datagram as [`recv_from`](UdpSocket::recv_from) does, and leaves it there.
    ///
    /// # Errors
    ///
    /// As [`recv`](UdpSocket::recv).
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn peek_from(&self, buffer: &mut [u8]) -> io::Result<Datagram> {
        poll_fn(|cx| self.poll_io(cx, Direction::Read, |fd| socket::peek_from(fd, buffer)))
            .await
            .map(Datagram::from)
    }

    /// Waits until there may be a datagram or an error to receive. It is a hint.
    ///
    /// # Errors
    ///
    /// Of the registration with the selector: no more memory or watches, or no runtime.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn readable(&self) -> io::Result<()> {
        poll_fn(|cx| self.io.poll_ready(cx, Direction::Read)).await
    }

    /// Waits until a datagram may be sent. It is a hint.
    ///
    /// # Errors
    ///
    /// As [`readable`](UdpSocket::readable).
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn writable(&self) -> io::Result<()> {
        poll_fn(|cx| self.io.poll_ready(cx, Direction::Write)).await
    }

    /// Receives a datagram that is there now, as [`recv`](UdpSocket::recv) does.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is none; else as [`recv`](UdpSocket::recv).
    pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.try_io(Direction::Read, |fd| socket::recv(fd, buffer))
    }

    /// Receives a datagram that is there now, as [`recv_from`](UdpSocket::recv_from) does.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is none; else as [`recv`](UdpSocket::recv).
    pub fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<Datagram> {
        self.try_io(Direction::Read, |fd| socket::recv_from(fd, buffer)).map(Datagram::from)
    }

    /// Sends a datagram to the peer if the kernel takes it now.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when it does not; else as [`send`](UdpSocket::send).
    pub fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.try_io(Direction::Write, |fd| socket::send(fd, bytes))
    }

    /// Sends a datagram to `target` if the kernel takes it now.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when it does not; else as [`send`](UdpSocket::send).
    pub fn try_send_to(&self, bytes: &[u8], target: SocketAddr) -> io::Result<usize> {
        self.try_io(Direction::Write, |fd| socket::send_to(fd, bytes, &target))
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// The system's, of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        socket::local_addr(self.io.fd())
    }

    /// The peer that was set by [`connect`](UdpSocket::connect).
    ///
    /// # Errors
    ///
    /// `NotConnected` when there is none.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        socket::peer_addr(self.io.fd())
    }
}

/// Lends the descriptor. From then on it may have been duplicated, so that closing costs one more system call.
impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.note_lent();
        self.io.fd()
    }
}

/// Options of a [`UdpSocket`] that are set before it is bound.
///
/// # Examples
///
/// ```
/// use wakering::net::UdpSocket;
///
/// let one = UdpSocket::builder().reuse_port(true).bind("127.0.0.1:0")?;
/// let two = UdpSocket::builder().reuse_port(true).bind(one.local_addr()?)?;
/// assert_eq!(one.local_addr()?, two.local_addr()?);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct UdpSocketBuilder {
    reuse_address: bool,
    reuse_port: bool,
    v6only: Option<bool>,
}

impl UdpSocketBuilder {
    /// Whether several sockets may have this address at once, each receiving every datagram to a group that it has joined;
    /// off by default. All of them have to say so. Which one a datagram to one host goes to, the system does not promise.
    #[must_use]
    pub fn reuse_address(mut self, on: bool) -> UdpSocketBuilder {
        self.reuse_address = on;
        self
    }

    /// Whether several sockets may have this address at once, the system spreading datagrams over them by their source;
    /// off by default. All of them have to say so. `bind` is `Unsupported` on systems without it.
    #[must_use]
    pub fn reuse_port(mut self, on: bool) -> UdpSocketBuilder {
        self.reuse_port = on;
        self
    }

    /// Whether an IPv6 address leaves IPv4 alone; as the system is set up by default. Without effect on an IPv4 address.
    #[must_use]
    pub fn v6only(mut self, on: bool) -> UdpSocketBuilder {
        self.v6only = Some(on);
        self
    }

    /// Binds a socket to the first of `addresses` that can be had.
    ///
    /// # Errors
    ///
    /// As [`UdpSocket::bind`].
    pub fn bind(&self, addresses: impl Addresses) -> io::Result<UdpSocket> {
        first_that_works(addresses, |address| {
            self.bind_one(address).map_err(AddressError::wrap(AddressAction::Bind, address))
        })
    }

    fn bind_one(&self, address: SocketAddr) -> io::Result<UdpSocket> {
        let fd = socket::socket_for(&address, Kind::Datagram)?;
        if self.reuse_address {
            raw::set_reuse_addr(fd.as_fd(), true)?;
        }
        if self.reuse_port {
            raw::set_reuse_port(fd.as_fd(), true)?;
        }
        if let (Some(on), SocketAddr::V6(_)) = (self.v6only, address) {
            raw::set_v6only(fd.as_fd(), on)?;
        }
        socket::bind(fd.as_fd(), &address)?;
        Ok(UdpSocket::new(fd))
    }
}
