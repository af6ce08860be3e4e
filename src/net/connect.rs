//! Connecting: each address in turn, or several at once; and the outcome by `SO_ERROR`.

use std::{
    future::poll_fn,
    io, mem,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use crate::{
    limits::{ATTEMPT_DELAY, ATTEMPT_DELAY_LEAST},
    net::{
        addresses::{AddressAction, AddressError, Addresses, no_address},
        race::{Attempt, Race, interleave},
        ready::Io,
        tcp::TcpStream,
    },
    reactor::Direction,
    sys::{
        options,
        socket::{self, Connect, Kind},
        tcp,
    },
};

/// Makes connections from a chosen local address, or with options that have to be set before connecting.
///
/// It can be used again and again.
///
/// # Examples
///
/// ```
/// use wakering::net::{TcpConnector, TcpListener};
///
/// wakering::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let local = "127.0.0.1:0".parse().expect("an address");
///     let stream = TcpConnector::new()
///         .local_addr(local)
///         .nodelay(true)
///         .connect(listener.local_addr()?)
///         .await?;
///     assert!(stream.nodelay()?);
///     Ok::<(), std::io::Error>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct TcpConnector {
    local_addr: Option<SocketAddr>,
    nodelay: bool,
    keepalive: Option<Duration>,
    tos: Option<u8>,
    mark: Option<u32>,
    user_timeout: Option<Duration>,
    fast_open: bool,
    happy_eyeballs: Option<Duration>,
    recv_buffer_size: Option<usize>,
    send_buffer_size: Option<usize>,
}

impl TcpConnector {
    /// A connector that leaves everything to the system.
    pub fn new() -> TcpConnector {
        TcpConnector::default()
    }

    /// Connects from this address; with port 0 the system chooses one.
    #[must_use]
    pub fn local_addr(mut self, address: SocketAddr) -> TcpConnector {
        self.local_addr = Some(address);
        self
    }

    /// Sends small writes at once (`TCP_NODELAY`); off by default.
    #[must_use]
    pub fn nodelay(mut self, on: bool) -> TcpConnector {
        self.nodelay = on;
        self
    }

    /// Probes connections that are idle for so long; see [`TcpStream::set_keepalive`].
    #[must_use]
    pub fn keepalive(mut self, idle: Duration) -> TcpConnector {
        self.keepalive = Some(idle);
        self
    }

    /// Sets the type of service from the first packet on; see [`TcpStream::set_tos`].
    #[must_use]
    pub fn tos(mut self, octet: u8) -> TcpConnector {
        self.tos = Some(octet);
        self
    }

    /// Marks packets from the first one on; see [`TcpStream::set_mark`].
    #[must_use]
    pub fn mark(mut self, mark: u32) -> TcpConnector {
        self.mark = Some(mark);
        self
    }

    /// Gives up when the peer has acknowledged nothing for so long, the attempt to connect included; see
    /// [`TcpStream::set_user_timeout`]. Linux looks when it sends a packet again, which it does first after a second.
    #[must_use]
    pub fn user_timeout(mut self, time: Duration) -> TcpConnector {
        self.user_timeout = Some(time);
        self
    }

    /// Sends the first write together with the SYN to peers that have handed out a cookie before (`TCP_FASTOPEN_CONNECT`,
    /// Linux; RFC 7413); off by default.
    ///
    /// Connecting to such a peer then succeeds at once without a packet, and a refusal is told by the first write: this end
    /// has to write first, and what it writes first must do no harm when it arrives twice. Connecting is `Unsupported` on
    /// other systems.
    #[must_use]
    pub fn fast_open(mut self, on: bool) -> TcpConnector {
        self.fast_open = on;
        self
    }

    /// Races the addresses instead of trying one after the other (RFC 8305): families take turns, the next attempt begins
    /// 250 ms after the last or when one has failed, and the first to succeed wins. Off by default.
    ///
    /// # Examples
    ///
    /// ```
    /// use wakering::net::{TcpConnector, TcpListener};
    ///
    /// wakering::run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?;
    ///     let port = listener.local_addr()?.port();
    ///     let addresses = [format!("[::1]:{port}"), format!("127.0.0.1:{port}")];
    ///     let addresses = addresses.map(|it| it.parse().expect("an address"));
    ///     let stream = TcpConnector::new().happy_eyeballs(true).connect(addresses).await?;
    ///     assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    ///     Ok::<(), std::io::Error>(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn happy_eyeballs(mut self, on: bool) -> TcpConnector {
        self.happy_eyeballs = on.then_some(ATTEMPT_DELAY);
        self
    }

    /// Races the addresses as [`happy_eyeballs`](TcpConnector::happy_eyeballs) does, with another delay between two attempts;
    /// at least 10 ms (RFC 8305 §5).
    #[must_use]
    pub fn attempt_delay(mut self, delay: Duration) -> TcpConnector {
        self.happy_eyeballs = Some(delay.max(ATTEMPT_DELAY_LEAST));
        self
    }

    /// Asks for a receive buffer of `bytes`, which bounds the window that is announced to the peer.
    #[must_use]
    pub fn recv_buffer_size(mut self, bytes: usize) -> TcpConnector {
        self.recv_buffer_size = Some(bytes);
        self
    }

    /// Asks for a send buffer of `bytes`.
    #[must_use]
    pub fn send_buffer_size(mut self, bytes: usize) -> TcpConnector {
        self.send_buffer_size = Some(bytes);
        self
    }

    /// Connects to the first of `addresses` that answers, trying one after the other, or, with
    /// [`happy_eyeballs`](TcpConnector::happy_eyeballs), several at once.
    ///
    /// The system's own time limit for one address is minutes long: wrap the call in a timeout of your own.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::connect`].
    ///
    /// # Cancellation
    ///
    /// The attempt ends and its socket is closed.
    pub async fn connect(&self, addresses: impl Addresses) -> io::Result<TcpStream> {
        let addresses = addresses.addresses()?;
        match self.happy_eyeballs {
            Some(delay) => {
                let sorted = interleave(addresses);
                if sorted.len() <= 1 {
                    return self.connect_in_turn(sorted).await;
                }
                let begin = |address| -> Attempt<'_> { Box::pin(self.connect_one(address)) };
                let mut race = Race::new(sorted, delay, begin);
                poll_fn(|cx| race.poll(cx)).await
            }
            None => self.connect_in_turn(addresses).await,
        }
    }

    async fn connect_in_turn(
        &self,
        addresses: impl IntoIterator<Item = SocketAddr>,
    ) -> io::Result<TcpStream> {
        let mut last = no_address();
        for address in addresses {
            match self.connect_one(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn connect_one(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let named = AddressError::wrap(AddressAction::Connect, address);
        let fd = socket::socket_for(&address, Kind::Stream).map_err(named)?;
        self.prepare(fd.as_fd())?;
        let io = Io::tcp(fd);
        let connected = match socket::connect(io.fd(), &address) {
            Ok(Connect::Done) => Ok(()),
            Ok(Connect::InProgress) => established(&io, |fd| socket::peer_addr(fd).map(drop)).await,
            Err(error) => Err(error),
        };
        connected.and_then(|()| self.refuse_itself(io.fd(), address)).map_err(named)?;
        Ok(TcpStream::from_io(io))
    }

    fn prepare(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        if let Some(size) = self.recv_buffer_size {
            options::set_recv_buffer(fd, size)?;
        }
        if let Some(size) = self.send_buffer_size {
            options::set_send_buffer(fd, size)?;
        }
        if self.nodelay {
            options::set_nodelay(fd, true)?;
        }
        if let Some(idle) = self.keepalive {
            options::set_keepalive(fd, Some(idle))?;
        }
        if let Some(octet) = self.tos {
            tcp::set_tos(fd, octet)?;
        }
        if let Some(mark) = self.mark {
            tcp::set_mark(fd, mark)?;
        }
        if self.user_timeout.is_some() {
            tcp::set_user_timeout(fd, self.user_timeout)?;
        }
        if self.fast_open {
            tcp::set_fast_open_connect(fd, true)?;
        }
        if let Some(local) = self.local_addr {
            socket::bind(fd, &local).map_err(AddressError::wrap(AddressAction::Bind, local))?;
        }
        Ok(())
    }

    /// A connect to a free port of this host, in the range that local ports are chosen from, can meet itself: both ends
    /// are one socket then (simultaneous open, RFC 9293 §3.5). Nobody listens there, so it is a refusal.
    fn refuse_itself(&self, fd: BorrowedFd<'_>, address: SocketAddr) -> io::Result<()> {
        // Who has bound the local end has chosen the port, and may mean it.
        if self.local_addr.is_none() && socket::local_addr(fd)? == address {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(())
    }
}

/// Waits for the outcome of a connect in progress; `peer` asks for the other end.
pub(super) async fn established(io: &Io, peer: impl Fn(BorrowedFd<'_>) -> io::Result<()>) -> io::Result<()> {
    // The first look is spared: the kernel has just said that the outcome is open.
    let mut just_begun = true;
    io.io(Direction::Write, |fd| {
        if mem::take(&mut just_begun) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        outcome(fd, &peer)
    })
    .await
}

/// Writability alone says nothing: the error does, and without one the peer's address.
fn outcome(fd: BorrowedFd<'_>, peer: impl Fn(BorrowedFd<'_>) -> io::Result<()>) -> io::Result<()> {
    if let Some(error) = options::take_error(fd)? {
        return Err(error);
    }
    match peer(fd) {
        Ok(()) => Ok(()),
        // Woken too early: still in progress.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Err(io::ErrorKind::WouldBlock.into()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::{io::ErrorKind, net::Ipv4Addr};

    use super::*;

    #[test]
    fn a_socket_that_has_met_itself_is_refused_unless_it_chose_its_own_address() {
        let fd = socket::socket_for(&(Ipv4Addr::LOCALHOST, 0).into(), Kind::Stream).unwrap();
        socket::bind(fd.as_fd(), &(Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let own = socket::local_addr(fd.as_fd()).unwrap();
        let by_chance = TcpConnector::new();
        let refusal = by_chance.refuse_itself(fd.as_fd(), own).unwrap_err();
        assert_eq!(refusal.kind(), ErrorKind::ConnectionRefused);
        by_chance.local_addr(own).refuse_itself(fd.as_fd(), own).unwrap();
    }
}
