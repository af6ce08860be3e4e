//! Addresses and options of a TCP connection.

use std::{io, net::SocketAddr, time::Duration};

use crate::{
    net::tcp::TcpStream,
    sys::{options, socket, tcp},
};

impl TcpStream {
    /// The address of this end.
    ///
    /// # Errors
    ///
    /// The system's, of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        socket::local_addr(self.fd())
    }

    /// The address of the other end.
    ///
    /// # Errors
    ///
    /// `NotConnected` when the connection has been reset; others of getpeername(2).
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        socket::peer_addr(self.fd())
    }

    /// Takes an error that the connection has met and nobody has been told of yet (`SO_ERROR`).
    ///
    /// # Errors
    ///
    /// The system's, of getsockopt(2).
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        options::take_error(self.fd())
    }

    /// Whether small writes are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// The system's, of getsockopt(2).
    pub fn nodelay(&self) -> io::Result<bool> {
        options::nodelay(self.fd())
    }

    /// Sends small writes at once, or gathers them until the last ones are acknowledged (RFC 896).
    ///
    /// # Errors
    ///
    /// The system's, of setsockopt(2).
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        options::set_nodelay(self.fd(), on)
    }

    /// How long the connection is idle before the system probes it; `None` when it never does.
    ///
    /// # Errors
    ///
    /// `Unsupported` where the system has no time per connection (OpenBSD); others of getsockopt(2).
    pub fn keepalive(&self) -> io::Result<Option<Duration>> {
        options::keepalive(self.fd())
    }

    /// Probes the connection when it has been idle for `idle`, rounded up to whole seconds; `None` never does.
    ///
    /// # Errors
    ///
    /// `Unsupported` where the system has no time per connection (OpenBSD); others of setsockopt(2).
    pub fn set_keepalive(&self, idle: Option<Duration>) -> io::Result<()> {
        options::set_keepalive(self.fd(), idle)
    }

    /// What closing does with bytes that are not yet sent; see [`set_linger`](TcpStream::set_linger).
    ///
    /// # Errors
    ///
    /// The system's, of getsockopt(2).
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        options::linger(self.fd())
    }

    /// Says what closing does with bytes that are not yet sent (`SO_LINGER`).
    ///
    /// `None`, the default: they are sent in the background. Zero: they are thrown away and the peer gets a reset.
    /// Another time makes the close *block the worker* for up to that long (whole seconds, rounded up).
    ///
    /// # Errors
    ///
    /// The system's, of setsockopt(2).
    pub fn set_linger(&self, time: Option<Duration>) -> io::Result<()> {
        options::set_linger(self.fd(), time)
    }

    /// The hop limit of outgoing packets (`IP_TTL`, `IPV6_UNICAST_HOPS`).
    ///
    /// # Errors
    ///
    /// The system's, of getsockopt(2).
    pub fn ttl(&self) -> io::Result<u32> {
        options::ttl(self.fd())
    }

    /// Sets the hop limit of outgoing packets, 1 to 255.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for other values; others of setsockopt(2).
    pub fn set_ttl(&self, hops: u32) -> io::Result<()> {
        options::set_ttl(self.fd(), hops)
    }

    /// The size of the kernel's receive buffer in bytes. Linux says twice what was set: socket(7).
    ///
    /// # Errors
    ///
    /// The system's, of getsockopt(2).
    pub fn recv_buffer_size(&self) -> io::Result<usize> {
        options::recv_buffer(self.fd())
    }

    /// Asks for a receive buffer of `bytes`; the system bounds it. It also ends the automatic tuning.
    ///
    /// # Errors
    ///
    /// The system's, of setsockopt(2).
    pub fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        options::set_recv_buffer(self.fd(), bytes)
    }

    /// The size of the kernel's send buffer in bytes. Linux says twice what was set: socket(7).
    ///
    /// # Errors
    ///
    /// The system's, of getsockopt(2).
    pub fn send_buffer_size(&self) -> io::Result<usize> {
        options::send_buffer(self.fd())
    }

    /// Asks for a send buffer of `bytes`; the system bounds it. It also ends the automatic tuning.
    ///
    /// # Errors
    ///
    /// The system's, of setsockopt(2).
    pub fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
        options::set_send_buffer(self.fd(), bytes)
    }

    /// The time between two keep-alive probes; see [`set_keepalive`](TcpStream::set_keepalive).
    ///
    /// # Errors
    ///
    /// `Unsupported` where the system has none per connection; others of getsockopt(2).
    pub fn keepalive_interval(&self) -> io::Result<Duration> {
        tcp::keepalive_interval(self.fd())
    }

    /// Sets the time between two keep-alive probes, rounded up to whole seconds.
    ///
    /// # Errors
    ///
    /// `Unsupported` where the system has none per connection; `InvalidInput` for zero; others of setsockopt(2).
    pub fn set_keepalive_interval(&self, interval: Duration) -> io::Result<()> {
        tcp::set_keepalive_interval(self.fd(), interval)
    }

    /// How many keep-alive probes without an answer end the connection.
    ///
    /// # Errors
    ///
    /// `Unsupported` where the system has none per connection; others of getsockopt(2).
    pub fn keepalive_probes(&self) -> io::Result<u32> {
        tcp::keepalive_probes(self.fd())
    }

    /// Sets how many keep-alive probes without an answer end the connection; 1 to 127 on Linux.
    ///
    /// # Errors
    ///
    /// `Unsupported` where the system has none per connection; `InvalidInput` for other counts.
    pub fn set_keepalive_probes(&self, probes: u32) -> io::Result<()> {
        tcp::set_keepalive_probes(self.fd(), probes)
    }

    /// Whether what comes is acknowledged at once (`TCP_QUICKACK`, Linux).
    ///
    /// # Errors
    ///
    /// `Unsupported` on other systems.
    pub fn quick_ack(&self) -> io::Result<bool> {
        tcp::quick_ack(self.fd())
    }

    /// Acknowledges what comes at once instead of together with an answer (`TCP_QUICKACK`, Linux). It does not last: the
    /// system changes it back as it sees fit, so that it is to be set again with every read where it matters.
    ///
    /// # Errors
    ///
    /// `Unsupported` on other systems.
    pub fn set_quick_ack(&self, on: bool) -> io::Result<()> {
        tcp::set_quick_ack(self.fd(), on)
    }

    /// How long sent bytes may lack their acknowledgement before the connection is given up; `None` leaves it to the
    /// system's count of retransmissions (`TCP_USER_TIMEOUT`, Linux; RFC 5482).
    ///
    /// # Errors
    ///
    /// `Unsupported` on other systems.
    pub fn user_timeout(&self) -> io::Result<Option<Duration>> {
        tcp::user_timeout(self.fd())
    }

    /// Gives the connection up, with `TimedOut`, when sent bytes lack their acknowledgement for `time`, rounded up to whole
    /// milliseconds.
    ///
    /// # Errors
    ///
    /// `Unsupported` on systems other than Linux.
    pub fn set_user_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        tcp::set_user_timeout(self.fd(), time)
    }

    /// How many bytes may wait unsent in the kernel before the connection stops to be writable (`TCP_NOTSENT_LOWAT`,
    /// Linux); `u32::MAX` leaves it to the send buffer.
    ///
    /// # Errors
    ///
    /// `Unsupported` on other systems.
    pub fn not_sent_low(&self) -> io::Result<u32> {
        tcp::not_sent_low(self.fd())
    }

    /// Lets the connection be writable only while fewer than `bytes` wait unsent in the kernel: what is written last is then
    /// sent soon, at no cost of throughput, because what is sent and not acknowledged does not count.
    ///
    /// # Errors
    ///
    /// `Unsupported` on systems other than Linux.
    pub fn set_not_sent_low(&self, bytes: u32) -> io::Result<()> {
        tcp::set_not_sent_low(self.fd(), bytes)
    }

    /// The type of service, or traffic class, of outgoing packets (`IP_TOS`, `IPV6_TCLASS`): the octet with DSCP in its
    /// upper six bits.
    ///
    /// # Errors
    ///
    /// The system's, of getsockopt(2).
    pub fn tos(&self) -> io::Result<u8> {
        tcp::tos(self.fd())
    }

    /// Sets the type of service, or traffic class, of outgoing packets. The lowest two bits are the system's own (ECN).
    ///
    /// # Errors
    ///
    /// The system's, of setsockopt(2).
    pub fn set_tos(&self, octet: u8) -> io::Result<()> {
        tcp::set_tos(self.fd(), octet)
    }

    /// The mark that routing and firewall see on outgoing packets (`SO_MARK`, Linux); 0 is none.
    ///
    /// # Errors
    ///
    /// `Unsupported` on other systems.
    pub fn mark(&self) -> io::Result<u32> {
        tcp::mark(self.fd())
    }

    /// Marks outgoing packets.
    ///
    /// # Errors
    ///
    /// `PermissionDenied` without the right to it (`CAP_NET_ADMIN`); `Unsupported` on systems other than Linux.
    pub fn set_mark(&self, mark: u32) -> io::Result<()> {
        tcp::set_mark(self.fd(), mark)
    }

    /// What the system measures of the connection (`TCP_INFO`, Linux).
    ///
    /// # Errors
    ///
    /// `Unsupported` on other systems.
    ///
    /// # Examples
    ///
    /// ```
    /// # use wakering::net::{TcpListener, TcpStream};
    /// # wakering::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// match stream.tcp_info() {
    ///     Ok(info) => println!("{:?} there and back", info.rtt),
    ///     Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::Unsupported),
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// # })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tcp_info(&self) -> io::Result<TcpInfo> {
        let tcp::Info { segment_size, unacknowledged, rtt, rtt_variation, congestion_window, retransmits } =
            tcp::info(self.fd())?;
        Ok(TcpInfo { segment_size, unacknowledged, rtt, rtt_variation, congestion_window, retransmits })
    }
}

/// What the system measures of a connection, by [`TcpStream::tcp_info`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TcpInfo {
    /// The largest segment that is sent, in bytes.
    pub segment_size: u32,
    /// Segments that were sent and are not acknowledged.
    pub unacknowledged: u32,
    /// The smoothed round trip time (RFC 6298).
    pub rtt: Duration,
    /// How much it varies.
    pub rtt_variation: Duration,
    /// The congestion window, in segments.
    pub congestion_window: u32,
    /// Segments that were sent again since the connection began.
    pub retransmits: u32,
}
