//! Listening for TCP connections, and an `accept` that outlives the want of descriptors.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use crate::{
    limits::LISTEN_BACKLOG,
    net::{
        accept::Acceptor,
        addresses::{AddressAction, AddressError, Addresses, first_that_works},
        listen::{Share, Spread},
        tcp::TcpStream,
    },
    reactor::Direction,
    sys::{
        options,
        socket::{self, Kind},
        steering, tcp,
    },
};

/// A socket that listens for TCP connections.
///
/// It holds one more descriptor in reserve. When the process has run out of them, `accept` gives that one up, takes the
/// waiting connection, closes it so that the peer learns at once that it is not served, and goes on; a listener that kept
/// failing with a connection in its queue would spin instead.
///
/// A server passes it to [`listen`](fn@crate::net::listen), which has the loop, a limit on connections and an end in good
/// order. To spread connections over several workers, see [`bind_each`](TcpListenerBuilder::bind_each).
///
/// Dropping it closes the port at once; connections that are still queued are reset. `listen` serves those first; without
/// it, call [`try_accept`](TcpListener::try_accept) until it says `WouldBlock`.
///
/// # Examples
///
/// ```
/// use wakering::net::{TcpListener, TcpStream};
///
/// wakering::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     let (_server, peer) = listener.accept().await?;
///     assert_eq!(peer, client.local_addr()?);
///     Ok::<(), std::io::Error>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Source: listen(2), accept(2), socket(7).
#[derive(Debug)]
pub struct TcpListener {
    pub(super) acceptor: Acceptor,
}

impl TcpListener {
    /// Listens on the first of `addresses` that can be had. Port 0 lets the system choose one, see
    /// [`local_addr`](TcpListener::local_addr).
    ///
    /// The address may be one whose last connections are still in their time of waiting (`SO_REUSEADDR`), as after a
    /// restart. [`builder`](TcpListener::builder) sets the rest.
    ///
    /// # Errors
    ///
    /// The last refusal, as an [`AddressError`] that names the address: `AddrInUse`,
    /// `AddrNotAvailable`, `PermissionDenied` … `InvalidInput` when there is no address at all.
    pub fn bind(addresses: impl Addresses) -> io::Result<TcpListener> {
        TcpListenerBuilder::new().bind(addresses)
    }

    /// A builder, for the options that are set before listening.
    pub fn builder() -> TcpListenerBuilder {
        TcpListenerBuilder::new()
    }

    /// Takes over a listener of the standard library, or one that the process has inherited, and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// The system's, of setting the flag.
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<TcpListener> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_fd(OwnedFd::from(listener));
        listener.acceptor.io().note_lent();
        Ok(listener)
    }

    /// Gives the listener out as one of the standard library. It is still non-blocking.
    pub fn into_std(self) -> std::net::TcpListener {
        std::net::TcpListener::from(self.acceptor.into_owned_fd())
    }

    fn from_fd(fd: OwnedFd) -> TcpListener {
        TcpListener::from_acceptor(Acceptor::new(fd))
    }

    pub(super) fn from_acceptor(acceptor: Acceptor) -> TcpListener {
        TcpListener { acceptor }
    }

    /// Waits for a connection and takes it, with the address of its other end.
    ///
    /// Connections that died in the queue are passed over, and a want of descriptors or memory is waited out or shed as
    /// told [above](TcpListener); neither is an error here.
    ///
    /// # Errors
    ///
    /// Only what makes the listener itself useless, such as `InvalidInput` after it was shut down.
    ///
    /// # Cancellation
    ///
    /// No connection is lost: what was not returned is still in the queue.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.acceptor.accept(socket::accept).await.map(Self::open)
    }

    pub(super) fn open((fd, peer): (OwnedFd, SocketAddr)) -> (TcpStream, SocketAddr) {
        (TcpStream::from_fd(fd), peer)
    }

    /// Takes a connection that is in the queue now.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is none; else what accept(2) says, of which nothing is shed or passed over here.
    pub fn try_accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.acceptor.io().try_io(Direction::Read, socket::accept).map(Self::open)
    }

    /// Waits until there may be a connection to accept. It is a hint.
    ///
    /// # Errors
    ///
    /// Of the registration with the selector.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn acceptable(&self) -> io::Result<()> {
        poll_fn(|cx| self.acceptor.io().poll_ready(cx, Direction::Read)).await
    }

    /// The address that it listens on, with the port that the system chose.
    ///
    /// # Errors
    ///
    /// The system's, of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        socket::local_addr(self.acceptor.io().fd())
    }

    /// The hop limit of packets of accepted connections.
    ///
    /// # Errors
    ///
    /// The system's, of getsockopt(2).
    pub fn ttl(&self) -> io::Result<u32> {
        options::ttl(self.acceptor.io().fd())
    }

    /// Sets the hop limit of packets of connections accepted from now on, 1 to 255.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for other values; others of setsockopt(2).
    pub fn set_ttl(&self, hops: u32) -> io::Result<()> {
        options::set_ttl(self.acceptor.io().fd(), hops)
    }
}

/// Lends the descriptor. From then on it may have been duplicated, so that closing costs one more system call.
impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.acceptor.io().note_lent();
        self.acceptor.io().fd()
    }
}

/// Options of a [`TcpListener`] that are set before it listens.
///
/// # Examples
///
/// ```
/// use wakering::net::TcpListener;
///
/// let one = TcpListener::builder().reuse_port(true).backlog(128).bind("127.0.0.1:0")?;
/// let two = TcpListener::builder().reuse_port(true).bind(one.local_addr()?)?;
/// assert_eq!(one.local_addr()?, two.local_addr()?);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TcpListenerBuilder {
    backlog: u32,
    reuse_addr: bool,
    reuse_port: bool,
    v6only: Option<bool>,
    recv_buffer_size: Option<usize>,
    fast_open: Option<u32>,
}

impl TcpListenerBuilder {
    fn new() -> TcpListenerBuilder {
        TcpListenerBuilder {
            backlog: LISTEN_BACKLOG,
            reuse_addr: true,
            reuse_port: false,
            v6only: None,
            recv_buffer_size: None,
            fast_open: None,
        }
    }

    /// How many connections may wait to be accepted; 4,096 by default. The system bounds it (`somaxconn`).
    #[must_use]
    pub fn backlog(mut self, connections: u32) -> TcpListenerBuilder {
        self.backlog = connections;
        self
    }

    /// Whether an address may be taken over whose last connections are still in their time of waiting; on by default.
    #[must_use]
    pub fn reuse_addr(mut self, on: bool) -> TcpListenerBuilder {
        self.reuse_addr = on;
        self
    }

    /// Whether several listeners may have this address at once, the system spreading connections over them; off by
    /// default. All of them have to say so. `bind` is `Unsupported` on systems without it; macOS has it and does not
    /// spread.
    #[must_use]
    pub fn reuse_port(mut self, on: bool) -> TcpListenerBuilder {
        self.reuse_port = on;
        self
    }

    /// Whether an IPv6 address leaves IPv4 alone; as the system is set up by default. Without effect on an IPv4 address.
    #[must_use]
    pub fn v6only(mut self, on: bool) -> TcpListenerBuilder {
        self.v6only = Some(on);
        self
    }

    /// Asks for receive buffers of `bytes` on accepted connections, which bounds the window announced to the peer.
    #[must_use]
    pub fn recv_buffer_size(mut self, bytes: usize) -> TcpListenerBuilder {
        self.recv_buffer_size = Some(bytes);
        self
    }

    /// Takes data from clients that send it with their SYN (`TCP_FASTOPEN`, RFC 7413), while at most `waiting` of them wait;
    /// off by default. Linux asks for `net.ipv4.tcp_fastopen` beside it; `bind` is `Unsupported` on other systems.
    #[must_use]
    pub fn fast_open(mut self, waiting: u32) -> TcpListenerBuilder {
        self.fast_open = Some(waiting);
        self
    }

    /// Listens on the first of `addresses` that can be had.
    ///
    /// # Errors
    ///
    /// As [`TcpListener::bind`].
    pub fn bind(&self, addresses: impl Addresses) -> io::Result<TcpListener> {
        first_that_works(addresses, |address| {
            self.listen(address).map_err(AddressError::wrap(AddressAction::Listen, address))
        })
    }

    /// Listens for each of `workers`, as [`Spread`] says: to be sent to them and opened there.
    ///
    /// One worker alone gets a listener like any other.
    ///
    /// # Errors
    ///
    /// As [`TcpListener::bind`], and `Unsupported` where the system cannot spread so.
    ///
    /// # Examples
    ///
    /// ```
    /// use wakering::net::{TcpListener, listen::Spread};
    ///
    /// for spread in [Spread::PerWorker, Spread::Shared] {
    ///     let shares = TcpListener::builder().bind_each("127.0.0.1:0", 2, spread)?;
    ///     let [one, two] = [0, 1].map(|worker| shares[worker].local_addr());
    ///     assert_eq!(one?, two?);
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn bind_each(
        &self,
        addresses: impl Addresses,
        workers: usize,
        spread: Spread,
    ) -> io::Result<Vec<Share>> {
        if workers < 2 || spread == Spread::Shared {
            let listener = self.bind(addresses)?.into_std();
            return if workers < 2 {
                Ok(vec![Share::alone(listener.into())])
            } else {
                Share::of(listener, workers)
            };
        }
        let builder = self.clone().reuse_port(true);
        let first = builder.bind(addresses)?;
        let address = first.local_addr()?;
        if spread == Spread::ByCpu {
            steering::by_cpu(first.acceptor.io().fd(), workers)?;
        }
        let mut shares = vec![Share::alone(first.into_std().into())];
        while shares.len() < workers {
            shares.push(Share::alone(builder.bind(address)?.into_std().into()));
        }
        Ok(shares)
    }

    fn listen(&self, address: SocketAddr) -> io::Result<TcpListener> {
        let fd = socket::socket_for(&address, Kind::Stream)?;
        options::set_reuse_addr(fd.as_fd(), self.reuse_addr)?;
        if self.reuse_port {
            options::set_reuse_port(fd.as_fd(), true)?;
        }
        if let (Some(on), SocketAddr::V6(_)) = (self.v6only, address) {
            options::set_v6only(fd.as_fd(), on)?;
        }
        if let Some(size) = self.recv_buffer_size {
            options::set_recv_buffer(fd.as_fd(), size)?;
        }
        if let Some(waiting) = self.fast_open {
            tcp::set_fast_open(fd.as_fd(), waiting)?;
        }
        socket::bind(fd.as_fd(), &address)?;
        socket::listen(fd.as_fd(), self.backlog)?;
        Ok(TcpListener::from_fd(fd))
    }
}
