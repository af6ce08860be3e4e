//! One queue of connections, several workers that accept from it.
//!
//! Each worker registers a duplicate of the descriptor with `EPOLLEXCLUSIVE`, level-triggered: a connection wakes one
//! worker that sleeps. A worker that was woken and then does not accept, because it is at its limit, out of memory or at
//! its end, would strand what is queued, for nobody else was woken. It therefore *passes the queue on*: it tells one
//! other worker to try.
//!
//! Invariants: who is `Accepting` looks at the queue when it is told; who leaves that state passes on after its
//! registration has ended; who enters it looks at the queue. So whenever somebody accepts, what is queued is looked at by
//! somebody after it came.

use std::{
    cell::RefCell,
    fmt, io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

use crate::{
    net::{TcpListener, UnixListener, accept::Acceptor},
    sys::socket,
};

/// One worker's share of a listener: made together with those of the other workers, sent to its own, and opened there.
///
/// All shares accept from one queue, so that no connection waits for a worker that is busy or at its limit while another
/// one is free. See [`listen`](mod@crate::net::listen) for when to have one queue and when one for each worker.
///
/// Dropping it, opened or not, leaves the queue to the others; the last one closes it.
///
/// # Examples
///
/// ```
/// use wakering::net::listen::{Share, listen};
///
/// let runtime = wakering::Runtime::builder().workers(2).build()?;
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// runtime.block_on(async {
///     let mut workers = Vec::new();
///     for (worker, share) in Share::of(listener, 2)?.into_iter().enumerate() {
///         let serve = move || async move {
///             let listener = share.into_tcp()?;
///             let stop = wakering::time::sleep(std::time::Duration::from_millis(10));
///             listen(listener).until(stop).serve(|_stream, _peer| async {}).await
///         };
///         workers.push(wakering::spawn_on(worker, serve)?);
///     }
///     for worker in workers {
///         worker.await??;
///     }
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Share {
    fd: OwnedFd,
    /// None: the worker has a queue of its own.
    seat: Option<Seat>,
}

impl Share {
    /// Shares a listener among `workers`: one of the standard library, or any descriptor that listens, such as one that
    /// the process has inherited.
    ///
    /// # Errors
    ///
    /// The system's, of duplicating the descriptor.
    pub fn of(listener: impl Into<OwnedFd>, workers: usize) -> io::Result<Vec<Share>> {
        let fd = listener.into();
        let queue = Arc::new(Queue::new(workers));
        let mut shares = Vec::with_capacity(workers);
        for place in 1..workers {
            shares.push(Share { fd: fd.as_fd().try_clone_to_owned()?, seat: Some(Seat::new(&queue, place)) });
        }
        if workers > 0 {
            shares.push(Share { fd, seat: Some(Seat::new(&queue, 0)) });
        }
        Ok(shares)
    }

    /// A share that is a queue of its own.
    pub(super) fn alone(fd: OwnedFd) -> Share {
        Share { fd, seat: None }
    }

    /// Opens the share of a TCP listener on the current worker.
    ///
    /// # Errors
    ///
    /// The system's, of making the descriptor non-blocking.
    pub fn into_tcp(self) -> io::Result<TcpListener> {
        self.into_acceptor().map(TcpListener::from_acceptor)
    }

    /// Opens the share of a Unix listener on the current worker.
    ///
    /// # Errors
    ///
    /// As [`into_tcp`](Share::into_tcp).
    pub fn into_unix(self) -> io::Result<UnixListener> {
        self.into_acceptor().map(UnixListener::from_acceptor)
    }

    /// The address that the listener is bound to, if it is one of the Internet's.
    ///
    /// # Errors
    ///
    /// The system's, of getsockname(2); `InvalidInput` for other kinds.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        socket::local_addr(self.fd.as_fd())
    }

    pub(super) fn into_acceptor(self) -> io::Result<Acceptor> {
        // The standard library's listener is the portable way to this flag, which all duplicates share.
        let listener = std::net::TcpListener::from(self.fd);
        listener.set_nonblocking(true)?;
        let fd = OwnedFd::from(listener);
        Ok(match self.seat {
            Some(seat) => Acceptor::shared(fd, seat),
            None => Acceptor::new(fd),
        })
    }
}

/// How the listeners of several workers get at the connections; see [the table](mod@crate::net::listen#several-workers-one-queue-or-one-for-each).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Spread {
    /// A queue for each worker, the kernel spreading connections by a hash of their addresses (`SO_REUSEPORT`).
    #[default]
    PerWorker,
    /// A queue for each worker, that of worker *n* taking what comes in on CPU *n*, modulo the workers. Linux only.
    ByCpu,
    /// One queue from which all workers accept.
    Shared,
}

/// Those who accept from one queue.
struct Queue {
    places: Mutex<Box<[Place]>>,
    told: Box<[AtomicBool]>,
}

enum Place {
    /// Looks at the queue when it is told or comes back, and not before.
    Away,
    Accepting(Waker),
}

impl Queue {
    fn new(workers: usize) -> Queue {
        Queue {
            places: Mutex::new((0..workers).map(|_| Place::Away).collect()),
            told: (0..workers).map(|_| AtomicBool::new(false)).collect(),
        }
    }

    /// Changes a place; what it was is for the caller to drop, outside the lock.
    fn put(&self, place: usize, state: Place) -> Place {
        std::mem::replace(&mut self.places()[place], state)
    }

    fn places(&self) -> MutexGuard<'_, Box<[Place]>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A worker's place among those who accept from one queue.
pub(super) struct Seat {
    queue: Arc<Queue>,
    place: usize,
    /// What stands in the list, while it accepts.
    waker: RefCell<Option<Waker>>,
}

impl Seat {
    fn new(queue: &Arc<Queue>, place: usize) -> Seat {
        Seat { queue: queue.clone(), place, waker: RefCell::new(None) }
    }

    /// It accepts, and `waker` is to be woken when it is told to look. To be followed by `was_told`.
    pub(super) fn sit(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
            let before = self.queue.put(self.place, Place::Accepting(waker.clone()));
            drop(before);
        }
    }

    /// Whether the queue was passed on to it since the last time. The first look comes unasked.
    pub(super) fn was_told(&self) -> bool {
        let told = &self.queue.told[self.place];
        told.load(Ordering::Relaxed) && told.swap(false, Ordering::Acquire) // PAIRS: pass_on's Release
    }

    /// There may be more in the queue that it was told of.
    pub(super) fn look_again(&self) {
        self.queue.told[self.place].store(true, Ordering::Relaxed); // its own: nothing is handed over
    }

    /// It accepts no more for now: one of the others is to look at the queue.
    pub(super) fn pass_on(&self) {
        let before = self.queue.put(self.place, Place::Away);
        drop((before, self.waker.take()));
        let places = self.queue.places();
        self.queue.told[self.place].store(false, Ordering::Relaxed);
        let after = (self.place + 1..places.len()).chain(0..self.place);
        let found = after.into_iter().find_map(|place| match &places[place] {
            Place::Accepting(waker) => Some((place, waker.clone())),
            Place::Away => None,
        });
        let Some((place, waker)) = found else { return };
        self.queue.told[place].store(true, Ordering::Release); // PAIRS: was_told's Acquire
        drop(places);
        waker.wake();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.pass_on();
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Seat({} of {})", self.place + 1, self.queue.told.len())
    }
}
