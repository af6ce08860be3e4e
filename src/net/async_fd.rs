//! Any descriptor that the system can wait for.

use std::{
    cell::OnceCell,
    fmt,
    future::poll_fn,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    task::{Context, Poll},
};

use thiserror::Error;

use crate::{
    net::ready::Watch,
    reactor::Direction,
    sys::{self, Interest, descriptor},
};

/// A descriptor of any kind, made to wait for: a pipe, a terminal, a pidfd, a timerfd, inotify, a device, a library's socket.
///
/// It waits; reading and writing are done by the caller, with whatever calls belong to the descriptor, inside of
/// [`read_io`](AsyncFd::read_io) and [`write_io`](AsyncFd::write_io). Those calls must not block, or the whole worker waits
/// with them: the descriptor has to be non-blocking, which [`nonblocking`](AsyncFd::nonblocking) sees to.
///
/// What it holds stays open and the same for as long as it is held: there is no `&mut T` to be had here, only `&T`, which is
/// why no part of this type is `unsafe`. It may be made outside of a runtime, and belongs to the worker on which it first had to
/// wait. Dropping it ends the registration and drops what it holds.
///
/// Regular files and directories cannot be waited for, since they are always ready; reading them blocks the caller for as
/// long as the disk takes. Use [`spawn_blocking`](crate::spawn_blocking) for them.
///
/// # Examples
///
/// What a child process says, and when it ends, without a thread and without a signal:
///
/// ```
/// use std::{
///     io::Read,
///     process::{Command, Stdio},
/// };
/// use wakering::net::AsyncFd;
///
/// wakering::run(async {
///     let mut child = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn()?;
///     let output = child.stdout.take().expect("it is piped");
///     let output = AsyncFd::read_only(output).nonblocking()?;
///     let mut said = Vec::new();
///     let mut buffer = [0; 64];
///     loop {
///         // `&File` and `&ChildStdout` do not read; a duplicate of the descriptor as a file does.
///         let read = output.read_io(|it| std::fs::File::from(it.try_clone_to_owned()?).read(&mut buffer)).await?;
///         if read == 0 {
///             break;
///         }
///         said.extend_from_slice(&buffer[..read]);
///     }
///     assert_eq!(said, b"hello\n");
///     child.wait()?;
///     Ok::<(), std::io::Error>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// On Linux a process is a descriptor too, which becomes readable when it ends (pidfd_open(2)). With a crate that opens
/// one, such as `rustix`:
///
/// ```text
/// let child = std::process::Command::new("sleep").arg("1").spawn()?;
/// let pid = rustix::process::Pid::from_child(&child);
/// let ended = AsyncFd::read_only(rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?);
/// ended.readable().await?;
/// let status = child.wait()?; // at once
/// ```
///
/// Source: epoll(7), kqueue(2).
pub struct AsyncFd<T: AsFd> {
    /// Taken only by `into_inner`.
    inner: Option<T>,
    watch: Watch,
    interest: Interest,
    /// What is waited for where a descriptor has to be deregistered before it is closed: `inner` may only have borrowed its own,
    /// and name another each time. Whoever forgets this forgets the duplicate, which so stays open.
    twin: OnceCell<OwnedFd>,
}

/// The system's refusal to wait for a descriptor, with the descriptor's number.
///
/// It is inside of an `io::Error` of the same [`kind`](io::Error::kind).
#[derive(Debug, Error)]
#[error("cannot wait for descriptor {number}: {source}{}", hint(source))]
pub struct WaitError {
    number: i32,
    source: io::Error,
}

impl WaitError {
    /// The descriptor's number.
    pub fn number(&self) -> i32 {
        self.number
    }

    /// The system's own error, with its number.
    pub fn os_error(&self) -> &io::Error {
        &self.source
    }
}

/// What the commonest refusals mean, which their texts do not say.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => " (regular files and directories are always ready)",
        io::ErrorKind::AlreadyExists => " (something else of this worker waits for it already)",
        _ => "",
    }
}

impl<T: AsFd> AsyncFd<T> {
    /// A descriptor for both directions. It is left as it is: see [`nonblocking`](AsyncFd::nonblocking).
    pub fn new(inner: T) -> AsyncFd<T> {
        AsyncFd::with_interest(inner, Interest::BOTH)
    }

    /// A descriptor that is only read from. Some systems (kqueue) refuse to wait for a direction that it does not have.
    pub fn read_only(inner: T) -> AsyncFd<T> {
        AsyncFd::with_interest(inner, Interest::READ)
    }

    /// A descriptor that is only written to.
    pub fn write_only(inner: T) -> AsyncFd<T> {
        AsyncFd::with_interest(inner, Interest::WRITE)
    }

    fn with_interest(inner: T, interest: Interest) -> AsyncFd<T> {
        AsyncFd { inner: Some(inner), watch: Watch::new(interest), interest, twin: OnceCell::new() }
    }

    /// Makes the descriptor non-blocking (`O_NONBLOCK`).
    ///
    /// The flag belongs to the open file and not to the descriptor: a terminal that other processes share becomes
    /// non-blocking for them too.
    ///
    /// # Errors
    ///
    /// The system's, of fcntl(2).
    pub fn nonblocking(self) -> io::Result<AsyncFd<T>> {
        descriptor::set_nonblocking(self.get_ref().as_fd())?;
        Ok(self)
    }

    /// What it holds.
    pub fn get_ref(&self) -> &T {
        self.inner.as_ref().expect("it is taken only by into_inner, which consumes")
    }

    /// Ends the registration and gives back what it holds.
    pub fn into_inner(mut self) -> T {
        self.unregister();
        self.inner.take().expect("it is taken only here")
    }

    /// Reads with `op` until it does not say `WouldBlock`, waiting in between.
    ///
    /// # Errors
    ///
    /// Those of `op`, and a [`WaitError`] when the descriptor cannot be waited for.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: what `op` did, it did before the future was ready.
    pub async fn read_io<R>(&self, mut op: impl FnMut(BorrowedFd<'_>) -> io::Result<R>) -> io::Result<R> {
        poll_fn(|cx| self.poll_io(cx, Direction::Read, &mut op)).await
    }

    /// Writes with `op` until it does not say `WouldBlock`, waiting in between.
    ///
    /// # Errors
    ///
    /// As [`read_io`](AsyncFd::read_io).
    ///
    /// # Cancellation
    ///
    /// As [`read_io`](AsyncFd::read_io).
    pub async fn write_io<R>(&self, mut op: impl FnMut(BorrowedFd<'_>) -> io::Result<R>) -> io::Result<R> {
        poll_fn(|cx| self.poll_io(cx, Direction::Write, &mut op)).await
    }

    /// Waits until it may be read from; an error or a hang-up counts too. It is a hint.
    ///
    /// # Errors
    ///
    /// A [`WaitError`] when the descriptor cannot be waited for, such as `PermissionDenied` for a regular file on Linux; an
    /// error when there is no runtime.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn readable(&self) -> io::Result<ReadyGuard<'_, T>> {
        poll_fn(|cx| self.poll_ready(cx, Direction::Read)).await
    }

    /// Waits until it may be written to; an error or a hang-up counts too. It is a hint.
    ///
    /// # Errors
    ///
    /// As [`readable`](AsyncFd::readable).
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn writable(&self) -> io::Result<ReadyGuard<'_, T>> {
        poll_fn(|cx| self.poll_ready(cx, Direction::Write)).await
    }

    /// [`read_io`](AsyncFd::read_io) for futures that are written by hand.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn poll_read_io<R>(
        &self,
        cx: &mut Context<'_>,
        op: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_io(cx, Direction::Read, op)
    }

    /// [`write_io`](AsyncFd::write_io) for futures that are written by hand.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn poll_write_io<R>(
        &self,
        cx: &mut Context<'_>,
        op: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_io(cx, Direction::Write, op)
    }

    fn poll_io<R>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        op: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        let fd = self.watched()?;
        // Before the first attempt, so that what cannot be waited for is told even if it happens to be ready.
        self.watch.ensure(fd).map_err(|error| self.refused(error))?;
        self.watch.poll_io(fd, cx, direction, op)
    }

    fn poll_ready(&self, cx: &mut Context<'_>, direction: Direction) -> Poll<io::Result<ReadyGuard<'_, T>>> {
        let fd = match self.watched() {
            Ok(fd) => fd,
            Err(error) => return Poll::Ready(Err(error)),
        };
        match self.watch.poll_ready(fd, cx, direction) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.refused(error))),
            Poll::Ready(Ok(())) => {
                Poll::Ready(Ok(ReadyGuard { fd: self, direction, turn: self.watch.turn() }))
            }
        }
    }

    fn watched(&self) -> io::Result<BorrowedFd<'_>> {
        let own = self.get_ref().as_fd();
        if sys::CLOSE_DEREGISTERS {
            return Ok(own);
        }
        if self.twin.get().is_none() {
            // It has been seen that there is none yet.
            let _ = self.twin.set(descriptor::duplicate(own)?);
        }
        Ok(self.twin.get().map_or(own, AsFd::as_fd))
    }

    fn refused(&self, source: io::Error) -> io::Error {
        if source.raw_os_error().is_none() {
            return source;
        }
        let number = self.get_ref().as_fd().as_raw_fd();
        io::Error::new(source.kind(), WaitError { number, source })
    }

    fn unregister(&mut self) {
        if let Some(inner) = &self.inner {
            let watched = self.twin.get().map_or_else(|| inner.as_fd(), AsFd::as_fd);
            // Duplicates may live on, so closing alone would not do.
            self.watch.unregister(watched, true);
        }
    }
}

impl<T: AsFd> Drop for AsyncFd<T> {
    fn drop(&mut self) {
        self.unregister();
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for AsyncFd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncFd").field("inner", &self.inner).field("interest", &self.interest).finish()
    }
}

impl<T: AsFd> AsFd for AsyncFd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get_ref().as_fd()
    }
}

/// A direction of an [`AsyncFd`] that was ready a moment ago.
///
/// The descriptor counts as ready until an attempt has said `WouldBlock`: who waits for it again before that is not made
/// to wait. Dropping the guard changes nothing.
#[must_use = "readiness alone moves nothing"]
pub struct ReadyGuard<'a, T: AsFd> {
    fd: &'a AsyncFd<T>,
    direction: Direction,
    /// Which wait of the selector the readiness is from.
    turn: u64,
}

/// The attempt would have blocked: wait again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the descriptor was not ready after all")]
pub struct NotReady;

impl<T: AsFd> ReadyGuard<'_, T> {
    /// Tries `op`; when it says `WouldBlock`, the direction counts as not ready until the system reports it again.
    ///
    /// # Errors
    ///
    /// [`NotReady`] then: go back to [`readable`](AsyncFd::readable) or [`writable`](AsyncFd::writable). The errors of `op`
    /// are inside of the `Ok`.
    pub fn try_io<R>(&mut self, op: impl FnOnce(&T) -> io::Result<R>) -> Result<io::Result<R>, NotReady> {
        match op(self.fd.get_ref()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.fd.watch.clear_ready(self.direction);
                Err(NotReady)
            }
            outcome => Ok(outcome),
        }
    }

    /// Notes that an attempt made elsewhere, since the guard was given, said `WouldBlock`.
    ///
    /// News that came after the guard outweigh it: nothing is cleared then, and the next attempt finds out.
    pub fn clear_ready(&mut self) {
        if self.fd.watch.turn() == self.turn {
            self.fd.watch.clear_ready(self.direction);
        }
    }

    /// What the [`AsyncFd`] holds.
    pub fn get_inner(&self) -> &T {
        self.fd.get_ref()
    }
}

impl<T: AsFd> fmt::Debug for ReadyGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadyGuard").field("direction", &self.direction).finish_non_exhaustive()
    }
}
