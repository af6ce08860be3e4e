//! Signals of the system as something to wait for.
//!
//! While somebody listens to a signal, its default action does not happen: a listener of
//! [`Kind::INTERRUPT`] takes Ctrl-C away from the system. When the last listener is dropped the former
//! disposition is back. Any number of tasks, workers and runtimes of a process may listen to one signal, and each
//! gets every delivery. While nobody listens there is no handler, no thread, and nothing to be polled.
//!
//! The system merges deliveries of one signal that follow each other closely, and so does a [`Signal`]: one
//! answer stands for at least one delivery since the last.
//!
//! # Examples
//!
//! ```no_run
//! use wakering::signal::{self, Kind};
//!
//! wakering::run(async {
//!     let mut stop = signal::any([Kind::INTERRUPT, Kind::TERMINATE])?;
//!     let kind = stop.recv().await?;
//!     println!("stopping: {kind}");
//!     std::io::Result::Ok(())
//! })??;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::future::{Future, poll_fn};
use std::os::fd::AsFd;
use std::task::{Context, Poll};
use std::{fmt, io};

use crate::net::ready::Io;
use crate::reactor::Direction;
use crate::slab::Key;
use crate::sys::signal as system;
use crate::worker::dump;

/// Which signal; see signal(7).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kind(i32);

impl Kind {
    /// `SIGINT`: Ctrl-C.
    pub const INTERRUPT: Kind = Kind(system::SIGINT);
    /// `SIGTERM`: a request to end.
    pub const TERMINATE: Kind = Kind(system::SIGTERM);
    /// `SIGHUP`: the terminal is gone; by custom, a request to read the configuration again.
    pub const HANGUP: Kind = Kind(system::SIGHUP);
    /// `SIGQUIT`: Ctrl-\.
    pub const QUIT: Kind = Kind(system::SIGQUIT);
    /// `SIGUSR1`: the program's own.
    pub const USER_1: Kind = Kind(system::SIGUSR1);
    /// `SIGUSR2`: the program's own.
    pub const USER_2: Kind = Kind(system::SIGUSR2);
    /// `SIGCHLD`: a child process has changed its state.
    pub const CHILD: Kind = Kind(system::SIGCHLD);
    /// `SIGWINCH`: the terminal's window has another size.
    pub const WINDOW_CHANGE: Kind = Kind(system::SIGWINCH);
    /// `SIGALRM`: a timer of alarm(2).
    pub const ALARM: Kind = Kind(system::SIGALRM);
    /// `SIGPIPE`: a write to a pipe that nobody reads. (Sockets of this crate never raise it.)
    pub const PIPE: Kind = Kind(system::SIGPIPE);
    /// `SIGIO`: a descriptor has become ready.
    pub const IO: Kind = Kind(system::SIGIO);

    /// A signal by its number on this system.
    pub const fn from_raw(number: i32) -> Kind {
        Kind(number)
    }

    /// The signal's number on this system.
    pub const fn to_raw(self) -> i32 {
        self.0
    }

    fn name(self) -> Option<&'static str> {
        const NAMES: [(Kind, &str); 11] = [
            (Kind::INTERRUPT, "SIGINT"),
            (Kind::TERMINATE, "SIGTERM"),
            (Kind::HANGUP, "SIGHUP"),
            (Kind::QUIT, "SIGQUIT"),
            (Kind::USER_1, "SIGUSR1"),
            (Kind::USER_2, "SIGUSR2"),
            (Kind::CHILD, "SIGCHLD"),
            (Kind::WINDOW_CHANGE, "SIGWINCH"),
            (Kind::ALARM, "SIGALRM"),
            (Kind::PIPE, "SIGPIPE"),
            (Kind::IO, "SIGIO"),
        ];
        NAMES.into_iter().find(|(kind, _)| *kind == self).map(|(_, name)| name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Listens to one signal, from this call on.
///
/// # Errors
///
/// `InvalidInput` for a signal that cannot be caught (`SIGKILL`, `SIGSTOP`), that must not be (`SIGSEGV`, `SIGBUS`,
/// `SIGFPE`, `SIGILL`), or that does not exist; otherwise what pipe(2) says.
///
/// # Examples
///
/// ```no_run
/// use wakering::signal::{self, Kind};
///
/// wakering::run(async {
///     let mut hangups = signal::stream(Kind::HANGUP)?;
///     loop {
///         hangups.recv().await?;
///         println!("reading the configuration again");
///     }
///     # #[expect(unreachable_code)]
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn stream(kind: Kind) -> io::Result<Signal> {
    any([kind])
}

/// Listens to several signals at once, from this call on.
///
/// # Errors
///
/// As [`stream`].
pub fn any(kinds: impl IntoIterator<Item = Kind>) -> io::Result<Signal> {
    let listeners: io::Result<Vec<_>> = kinds.into_iter().map(|kind| system::Listener::new(kind.0)).collect();
    let listeners = listeners?;
    if listeners.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no signal to listen to"));
    }
    Ok(Signal { listeners, pipe: Io::new(system::read_end()?), place: None })
}

/// Waits for the next Ctrl-C (`SIGINT`), from this call on.
///
/// The default action, which ends the process, is back when the future is dropped: a second Ctrl-C then does end
/// it. To be asked about every one of them, keep a [`stream`].
///
/// # Errors
///
/// What [`stream`] and [`Signal::recv`] say.
///
/// # Cancellation
///
/// Dropping the future ends the listening.
///
/// # Examples
///
/// ```no_run
/// wakering::run(async {
///     wakering::signal::ctrl_c().await?;
///     println!("goodbye");
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn ctrl_c() -> impl Future<Output = io::Result<()>> {
    let listening = stream(Kind::INTERRUPT);
    async move { listening?.recv().await.map(|_interrupt| ()) }
}

/// A stream of deliveries; made by [`stream`] and [`any`].
///
/// It belongs to the worker that first waits for it and is not `Send`.
#[derive(Debug)]
pub struct Signal {
    listeners: Vec<system::Listener>,
    pipe: Io,
    /// Our place among those who wait.
    place: Option<Key>,
}

impl Signal {
    /// Waits until one of the signals has come since the last call, or since the listening began.
    ///
    /// # Errors
    ///
    /// What the selector says when it refuses the pipe; `NotConnected` outside a runtime.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses no delivery.
    pub async fn recv(&mut self) -> io::Result<Kind> {
        let kinds: Vec<Kind> = self.listeners.iter().map(|listener| Kind(listener.signal())).collect();
        let received = poll_fn(|context| self.poll_recv(context));
        dump::waiting(move |out| write!(out, "a signal of {kinds:?}"), received).await
    }

    /// [`recv`](Signal::recv) for futures that are written by hand.
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Kind>> {
        if let Some(kind) = self.take() {
            return Poll::Ready(Ok(kind));
        }
        system::wait(&mut self.place, context.waker());
        loop {
            match self.pipe.poll_io(context, Direction::Read, |pipe| system::drain(pipe.as_fd())) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                // Somebody else may have emptied the pipe just before our waker was there to be woken.
                Poll::Pending => return self.take().map_or(Poll::Pending, |kind| Poll::Ready(Ok(kind))),
            }
            if let Some(kind) = self.take() {
                return Poll::Ready(Ok(kind));
            }
        }
    }

    fn take(&mut self) -> Option<Kind> {
        self.listeners.iter_mut().find_map(|listener| listener.take().then(|| Kind(listener.signal())))
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        system::leave(self.place);
    }
}
