//! Listening: one accept loop for every server.
//!
//! [`listen`] takes a listener and calls you with each connection, until a future of yours says that it is enough. Around
//! that it does what every server needs and few get right:
//!
//! - **A limit** on connections at a time. Beyond it connections wait in the kernel's queue, or are refused
//!   ([`WhenFull`]).
//! - **Want of descriptors or memory** is no error. When the process has no descriptor left, one that is held in reserve
//!   is given up to tell the waiting client at once that it is not served; when not even that helps, or the kernel has no
//!   memory, the loop rests for 50 ms. It never spins, and goes on as soon as it can.
//! - **Fairness**: at most 16 connections a turn; what is queued beyond that waits for the other tasks of the worker.
//! - **An end in which nobody is lost.** When the stop future resolves, everything that is in the kernel's queue is taken
//!   and served, the port is closed, and connections may finish within a [grace](Listen::grace). When the runtime is [told to
//!   end](crate::Handle::shutdown) that is a stop, too.
//!
//! ```
//! use std::{net::SocketAddr, time::Duration};
//! use wakering::{CancellationToken, net::{TcpListener, TcpStream, listen}};
//!
//! async fn greet(mut stream: TcpStream, peer: SocketAddr) {
//!     // An error of a connection is its peer's business, who has been told.
//!     let _ = stream.write_all(format!("Hello, {peer}\n").as_bytes()).await;
//! }
//!
//! wakering::run(async {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let stop = CancellationToken::new();
//!     let told = stop.clone();
//!     wakering::spawn(async move {
//!         wakering::time::sleep(Duration::from_millis(5)).await; // a signal, in your program
//!         told.cancel();
//!     });
//!     let served = listen(listener)
//!         .limit(10_000)
//!         .until(stop.cancelled())
//!         .grace(Duration::from_secs(10))
//!         .serve(greet)
//!         .await?;
//!     println!("{} connections, {} of them aborted", served.accepted, served.aborted);
//!     Ok::<(), std::io::Error>(())
//! })??;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Several workers: one queue or one for each
//!
//! A worker accepts and serves on its own thread, so a server of several workers runs one loop on each.
//! [`TcpListenerBuilder::bind_each`](crate::net::TcpListenerBuilder::bind_each) makes the listeners, and [`Spread`] says how
//! they get at the connections:
//!
//! | | [`Spread::PerWorker`] | [`Spread::ByCpu`] | [`Spread::Shared`] |
//! |---|---|---|---|
//! | the kernel's means | `SO_REUSEPORT`: a queue for each worker | the same, and a program that picks by CPU | one queue, `EPOLLEXCLUSIVE` |
//! | who gets a connection | a hash of its addresses decides, evenly over many | the worker on whose CPU the packet came in | a worker that sleeps; of several the one that registered first |
//! | a worker that is busy or at its limit | its connections wait for it, though others are free | the same | another one takes them |
//! | a worker that ends while others go on | may lose a handshake that completes in that moment | the same | loses nothing |
//! | where | Linux, FreeBSD (`_LB`); others do not spread | Linux | everywhere |
//!
//! Use `PerWorker` for many short connections: it scales with the workers, as nothing is shared. Use `Shared` for few, long
//! or costly connections, where an uneven or stuck worker would be felt. Use `ByCpu` when workers are pinned to the CPUs
//! that also take the network's interrupts.
//!
//! Each loop has its own limit, and counts its own connections:
//!
//! ```
//! use std::{io, net::SocketAddr};
//! use wakering::{CancellationToken, net::{TcpListener, TcpStream, listen::{Spread, listen}}};
//!
//! async fn greet(mut stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
//!     stream.write_all(format!("Hello, {peer}\n").as_bytes()).await
//! }
//!
//! let runtime = wakering::Runtime::builder().workers(2).build()?;
//! runtime.block_on(async {
//!     let shares = TcpListener::builder().bind_each("127.0.0.1:0", 2, Spread::Shared)?;
//!     let stop = CancellationToken::new();
//!     let mut workers = Vec::new();
//!     for (worker, share) in shares.into_iter().enumerate() {
//!         let stop = stop.clone();
//!         let serve = move || async move {
//!             listen(share.into_tcp()?).limit(5_000).until(stop.cancelled()).serve(greet).await
//!         };
//!         workers.push(wakering::spawn_on(worker, serve)?);
//!     }
//!     stop.cancel(); // when a signal comes, in your program
//!     for worker in workers {
//!         worker.await??;
//!     }
//!     Ok::<(), io::Error>(())
//! })??;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The example `tcp_proxy` is a whole program of this kind.
//!
//! # Connections at a stop
//!
//! Nobody tells a connection of the stop: it ends by itself within the grace, or is aborted. One that waits for its peer
//! without end should wait for the stop too: give it a clone of the [token](crate::CancellationToken), or let it ask
//! [`Handle::stopping`](crate::Handle::stopping). When the runtime is told to end, the shorter grace of the two counts.
//!
//! # What may still be lost at a stop
//!
//! A connection is queued when its handshake is complete. One that completes after the queue was found empty and before the
//! port is closed, which is some microseconds, is reset by Linux; so is one whose handshake is still under way. With
//! `SO_REUSEPORT` the kernel can hand both to another listener of the port instead, if one remains (a new process that was
//! started before the old one is stopped): set the sysctl `net.ipv4.tcp_migrate_req=1` (Linux 5.14).
//!
//! # Descriptors from elsewhere
//!
//! A process manager may hand a listening descriptor over: as number 3 and up (systemd), for which there is
//! `wakering::service::inherited`, or as standard input (`inetd`, "wait"). Make a `std::net::TcpListener` of it, then
//! [`TcpListener::from_std`](crate::net::TcpListener::from_std), or [`Share::of`] for several workers.
//!
//! ```no_run
//! use std::os::fd::AsFd;
//! use wakering::net::TcpListener;
//!
//! let inherited = std::io::stdin().as_fd().try_clone_to_owned()?;
//! let listener = TcpListener::from_std(std::net::TcpListener::from(inherited))?;
//! # drop(listener);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Sources: accept(2), epoll(7), socket(7), ip-sysctl.rst of the Linux kernel.

mod room;
mod serve;

pub use self::{room::Permit, serve::Served};
pub use crate::net::share::{Share, Spread};

use std::{
    collections::VecDeque,
    fmt,
    future::{Future, Pending, pending, poll_fn},
    io,
    net::SocketAddr,
    os::fd::BorrowedFd,
    pin::pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use self::room::Room;
use crate::{
    limits::{ACCEPTS_PER_TURN, LISTEN_GRACE, QUEUED_AT_STOP},
    net::{TcpListener, TcpStream, UnixAddr, UnixListener, UnixStream, accept::Acceptor},
    sys::{socket, unix},
    trace, worker,
};

/// Begins an accept loop on a listener; see the [module](self).
pub fn listen<L: Listener>(listener: L) -> Listen<L> {
    Listen { listener, limit: usize::MAX, when_full: WhenFull::Wait, grace: LISTEN_GRACE, until: pending() }
}

/// A socket that connections can be accepted from. It is sealed: the listeners of [`net`](crate::net) are all there are.
pub trait Listener: sealed::Sealed {
    /// A connection.
    type Stream: 'static;
    /// What is known of its other end.
    type Peer: 'static;

    #[doc(hidden)]
    fn acceptor(&self) -> &Acceptor;

    /// The one call that accepts.
    #[doc(hidden)]
    fn take(listener: BorrowedFd<'_>) -> io::Result<(Self::Stream, Self::Peer)>;
}

mod sealed {
    pub trait Sealed {}
}

impl sealed::Sealed for TcpListener {}

impl Listener for TcpListener {
    type Stream = TcpStream;
    type Peer = SocketAddr;

    fn acceptor(&self) -> &Acceptor {
        &self.acceptor
    }

    fn take(listener: BorrowedFd<'_>) -> io::Result<(TcpStream, SocketAddr)> {
        socket::accept(listener).map(TcpListener::open)
    }
}

impl sealed::Sealed for UnixListener {}

impl Listener for UnixListener {
    type Stream = UnixStream;
    type Peer = UnixAddr;

    fn acceptor(&self) -> &Acceptor {
        &self.acceptor
    }

    fn take(listener: BorrowedFd<'_>) -> io::Result<(UnixStream, UnixAddr)> {
        unix::accept(listener).map(UnixListener::open)
    }
}

/// What becomes of a connection that comes while there are as many as the [limit](Listen::limit) says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WhenFull {
    /// It waits in the kernel's queue, whose length is the listener's backlog. Clients see a server that is slow to answer.
    #[default]
    Wait,
    /// It is accepted and closed, so that its client learns at once to try elsewhere.
    Refuse,
}

/// An accept loop that is being set up; made by [`listen`].
#[must_use = "nothing is accepted before `serve` or `each` is awaited"]
pub struct Listen<L, U = Pending<()>> {
    listener: L,
    limit: usize,
    when_full: WhenFull,
    grace: Duration,
    until: U,
}

impl<L: Listener, U: Future> Listen<L, U> {
    /// Connections that this loop has at a time, at least one; no limit by default.
    pub fn limit(mut self, connections: usize) -> Self {
        self.limit = connections.max(1);
        self
    }

    /// What becomes of those beyond the limit; they wait by default.
    pub fn when_full(mut self, policy: WhenFull) -> Self {
        self.when_full = policy;
        self
    }

    /// How long connections may go on after the stop, before [`serve`](Listen::serve) aborts them; 5 seconds by default.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Stops the loop when `stop` resolves: a [token](crate::CancellationToken::cancelled), a [signal](crate::signal). Without
    /// it [`serve`](Listen::serve) goes on until the runtime is to end, and [`each`](Listen::each) until it is dropped.
    pub fn until<V: Future>(self, stop: V) -> Listen<L, V> {
        let Listen { listener, limit, when_full, grace, until: _ } = self;
        Listen { listener, limit, when_full, grace, until: stop }
    }

    /// Calls `take` with each connection; for servers that look after their connections themselves.
    ///
    /// The [`Permit`] stands for the connection's place under the limit: it is to be kept for as long as the connection
    /// lives. After the stop the queue is emptied through `take`, the port is closed, and what the stop future had to say is
    /// returned; connections are then the caller's.
    ///
    /// # Errors
    ///
    /// Only what makes the listener useless; see [`TcpListener::accept`].
    ///
    /// # Cancellation
    ///
    /// The port is closed; connections that were queued are reset.
    pub async fn each(self, mut take: impl FnMut(L::Stream, L::Peer, Permit)) -> io::Result<U::Output> {
        let (when_full, room) = (self.when_full, Room::new(self.limit));
        let (said, mut queued) = self.accept_all(&room, &mut take).await?;
        hand_over(&mut queued, when_full, &room, &mut take).await;
        Ok(said)
    }

    /// Accepts until the stop, and closes the port; returns what was queued then.
    async fn accept_all(
        self,
        room: &Rc<Room>,
        take: &mut impl FnMut(L::Stream, L::Peer, Permit),
    ) -> io::Result<(U::Output, Queued<L>)> {
        let Listen { listener, limit: _, when_full, grace: _, until } = self;
        let (mut until, mut in_a_row) = (pin!(until), 0);
        let shed_before = listener.acceptor().shed_so_far();
        loop {
            let mut next = pin!(next(&listener, room, when_full));
            let event = poll_fn(|cx| match until.as_mut().poll(cx) {
                Poll::Ready(said) => Poll::Ready(Next::Stop(said)),
                Poll::Pending => next.as_mut().poll(cx).map(Next::Taken),
            });
            match event.await {
                Next::Stop(said) => {
                    let queued = queued(&listener);
                    room.note_shed(listener.acceptor().shed_so_far() - shed_before);
                    return Ok((said, queued));
                }
                Next::Taken(Ok(((stream, peer), permit))) => take(stream, peer, permit),
                Next::Taken(Err(error)) => return Err(error),
            }
            in_a_row += 1;
            if in_a_row == ACCEPTS_PER_TURN {
                in_a_row = 0;
                worker::yield_now().await;
            }
        }
    }
}

impl<L: fmt::Debug, U> fmt::Debug for Listen<L, U> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Listen")
            .field("listener", &self.listener)
            .field("limit", &self.limit)
            .field("when_full", &self.when_full)
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}

enum Next<T, S> {
    Taken(io::Result<T>),
    Stop(S),
}

type Taken<L> = (<L as Listener>::Stream, <L as Listener>::Peer);

/// Connections that came before the stop and were not handed over yet.
type Queued<L> = VecDeque<Taken<L>>;

/// Waits for a connection for which there is room.
async fn next<L: Listener>(
    listener: &L,
    room: &Rc<Room>,
    when_full: WhenFull,
) -> io::Result<(Taken<L>, Permit)> {
    loop {
        let permit = match (when_full, room.try_enter()) {
            (WhenFull::Wait, None) => {
                // Whoever shares the queue may have room.
                listener.acceptor().withdraw();
                Some(room.enter().await)
            }
            (WhenFull::Wait | WhenFull::Refuse, permit) => permit,
        };
        let taken = listener.acceptor().accept(L::take).await?;
        // It may have become free while this one came.
        match permit.or_else(|| room.try_enter()) {
            Some(permit) => return Ok((taken, permit)),
            None => {
                drop(taken);
                trace::connection_refused("the listener has as many connections as it may have");
                room.note_refused();
            }
        }
    }
}

/// Everything that is in the kernel's queue.
fn queued<L: Listener>(listener: &L) -> Queued<L> {
    // First the registration: the kernel wakes one of those who share the queue, which may be another process, and what
    // comes after the last look would wake nobody else.
    listener.acceptor().withdraw();
    let take = |_| listener.acceptor().take_queued(L::take);
    (0..QUEUED_AT_STOP).map_while(take).collect()
}

/// Hands over what was queued at the stop; the limit still holds.
async fn hand_over<S, P>(
    queued: &mut VecDeque<(S, P)>,
    when_full: WhenFull,
    room: &Rc<Room>,
    take: &mut impl FnMut(S, P, Permit),
) {
    while !queued.is_empty() {
        let permit = match when_full {
            WhenFull::Wait => Some(room.enter().await),
            WhenFull::Refuse => room.try_enter(),
        };
        let Some((stream, peer)) = queued.pop_front() else { return };
        match permit {
            Some(permit) => take(stream, peer, permit),
            None => room.note_refused(),
        }
    }
}
