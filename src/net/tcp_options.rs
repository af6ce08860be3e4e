//! Addresses and options of a TCP connection.

use std::{io, net::SocketAddr, time::Duration};

use crate::{
    net::tcp::TcpStream,
    sys::{options, socket},
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
}
