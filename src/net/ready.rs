//! The one loop that tries a system call, and waits when it would block.
//!
//! A descriptor is registered with the reactor only when some future first has to *wait* on it: until then
//! both directions count as ready, and a short connection may never touch the selector. Registration reports
//! the present state, so no edge is lost between the attempt and the wait.

use std::{
    cell::{Cell, OnceCell},
    future::poll_fn,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    rc::Rc,
    task::{Context, Poll, ready},
};

use crate::{
    reactor::{Direction, Reactor, SourceKey},
    sys::{Interest, SHORT_READ_RULE, TELLS_RESETS, options},
    worker::context,
};

/// A non-blocking descriptor that we own, and its watch.
#[derive(Debug)]
pub struct Io {
    // Order matters: the registration is dropped by `Drop` below, before the descriptor closes.
    fd: Option<OwnedFd>,
    watch: Watch,
}

/// The lazily made registration of a descriptor with the worker that first waited on it.
///
/// The descriptor is somebody else's, lent to each call: always the same one, until `unregister`.
#[derive(Debug)]
pub(crate) struct Watch {
    registration: OnceCell<Registration>,
    interest: Interest,
    /// A duplicate may exist, so that closing would not end the registration.
    lent: Cell<bool>,
    short_reads: ShortReads,
}

/// What a read that took less than it asked for says about the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShortReads {
    /// That there is nothing more, where `SHORT_READ_RULE` holds: TCP, of which arrivals are edges.
    Drain,
    /// Nothing: the next read may find more without a further edge. A Unix connection stops a read at a passed
    /// descriptor, and a datagram is as long as it is.
    SayNothing,
}

struct Registration {
    reactor: Rc<Reactor>,
    /// Stale while the registration is withdrawn.
    key: Cell<SourceKey>,
}

impl Registration {
    /// Whether the runtime that runs here is another than the one that would hear of events: nobody would end the wait.
    fn is_elsewhere(&self) -> bool {
        context::try_with(|here| here.is_some_and(|it| !Rc::ptr_eq(it.reactor(), &self.reactor)))
    }
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.key.fmt(out)
    }
}

impl Io {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Io::with_interest(fd, Interest::BOTH)
    }

    /// As `new`, for a TCP connection, whose short reads drain it.
    pub(crate) fn tcp(fd: OwnedFd) -> Self {
        Io { fd: Some(fd), watch: Watch { short_reads: ShortReads::Drain, ..Watch::new(Interest::BOTH) } }
    }

    /// As `new`, for descriptors that are watched in another way than both directions edge-triggered.
    pub(crate) fn with_interest(fd: OwnedFd, interest: Interest) -> Self {
        Io { fd: Some(fd), watch: Watch::new(interest) }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("the descriptor is taken only by into_owned_fd, which consumes").as_fd()
    }

    /// Notes that the descriptor was lent out, and may have been duplicated.
    pub(crate) fn note_lent(&self) {
        self.watch.lent.set(true);
    }

    /// Tries `op` until it does not block, is done, or fails; waits for readiness meanwhile.
    ///
    /// Takes one unit of the task's budget, so that no source that is always ready starves the others.
    pub(crate) fn poll_io<R>(
        &self,
        context: &mut Context<'_>,
        direction: Direction,
        op: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.watch.poll_io(self.fd(), context, direction, op)
    }

    /// `poll_io` as a future.
    pub(crate) async fn io<R>(
        &self,
        direction: Direction,
        mut op: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        poll_fn(|context| self.poll_io(context, direction, &mut op)).await
    }

    /// Waits until the direction may be tried. Readiness is a hint: the attempt may still block.
    pub(crate) fn poll_ready(&self, context: &mut Context<'_>, direction: Direction) -> Poll<io::Result<()>> {
        self.watch.poll_ready(self.fd(), context, direction)
    }

    /// Registers, unless that was done: what is not known to be ready has to be waited for then.
    pub(crate) fn ensure(&self) -> io::Result<()> {
        self.watch.ensure(self.fd())
    }

    /// Waits where it is known that the direction would block; who may try is told so at next to no cost.
    #[inline]
    pub(crate) fn poll_tryable(
        &self,
        context: &mut Context<'_>,
        direction: Direction,
    ) -> Poll<io::Result<()>> {
        let blocked = |it: &Registration| !it.reactor.is_ready(it.key.get(), direction);
        if self.watch.registration.get().is_some_and(blocked) {
            return self.poll_ready(context, direction);
        }
        Poll::Ready(Ok(()))
    }

    /// Ready with the error that has broken the connection (`SO_ERROR`, which is taken): for who waits for something else
    /// than to read from it, which would tell. The end of input is no such error. Where the backend does not tell, never.
    pub(crate) fn poll_broken(&self, context: &Context<'_>) -> Poll<io::Error> {
        while TELLS_RESETS {
            if let Err(error) = ready!(self.watch.poll_broken(self.fd(), context)) {
                return Poll::Ready(error);
            }
            match options::take_error(self.fd()) {
                Ok(None) => {} // both sides have ended, or something lies in the error queue
                Ok(Some(error)) | Err(error) => return Poll::Ready(error),
            }
        }
        Poll::Pending
    }

    /// Whether the end of input has been told, though there may be something to read before it: who waits by
    /// [`poll_broken`](Io::poll_broken) is woken by that, too. Where the backend does not tell, never.
    pub(crate) fn has_ended(&self) -> bool {
        self.watch.registration.get().is_some_and(|it| it.reactor.has_ended(it.key.get()))
    }

    /// Tries `op` once, now; readiness is cleared when it would block.
    pub(crate) fn try_io<R>(
        &self,
        direction: Direction,
        op: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        self.watch.try_io(self.fd(), direction, op)
    }

    /// Notes that an attempt in this direction would block. Without a registration nothing is remembered:
    /// the next wait makes one, and that reports the present state.
    pub(crate) fn clear_ready(&self, direction: Direction) {
        self.watch.clear_ready(direction);
    }

    /// Notes that a read took less than it asked for.
    pub(crate) fn clear_after_short_read(&self) {
        self.watch.clear_after_short_read();
    }

    /// Ends the registration for a while: nothing may be waited for before [`rejoin`](Io::rejoin).
    pub(crate) fn withdraw(&self) {
        if let Some(it) = self.watch.registration.get() {
            // As in `unregister`.
            drop(it.reactor.unwatch(self.fd(), it.key.get(), true));
        }
    }

    /// Registers again what was withdrawn. Reading may be tried at once: what came meanwhile was not reported.
    pub(crate) fn rejoin(&self) -> io::Result<()> {
        if let Some(it) = self.watch.registration.get() {
            it.key.set(it.reactor.watch(self.fd(), self.watch.interest, Some(Direction::Read))?);
        }
        Ok(())
    }

    /// Ends the registration and gives the descriptor away.
    pub(crate) fn into_owned_fd(mut self) -> OwnedFd {
        self.take_owned_fd()
    }

    /// As `into_owned_fd`, for an owner that has a destructor; it is good for nothing but that afterwards.
    pub(crate) fn take_owned_fd(&mut self) -> OwnedFd {
        self.unregister(true);
        self.fd.take().expect("the descriptor is taken only here, once")
    }

    fn unregister(&mut self, keeps_open: bool) {
        if let Some(fd) = &self.fd {
            self.watch.unregister(fd.as_fd(), keeps_open);
        }
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        self.unregister(self.watch.lent.get());
    }
}

impl Watch {
    pub(crate) fn new(interest: Interest) -> Self {
        Watch {
            registration: OnceCell::new(),
            interest,
            lent: Cell::new(false),
            short_reads: ShortReads::SayNothing,
        }
    }

    /// See [`Io::poll_io`].
    pub(crate) fn poll_io<R>(
        &self,
        fd: BorrowedFd<'_>,
        context: &mut Context<'_>,
        direction: Direction,
        mut op: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        if !context::spend(context) {
            return Poll::Pending;
        }
        loop {
            match self.wait_ready(fd, context, direction) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
            match op(fd) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.block(fd, direction)?,
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    /// See [`Io::poll_ready`].
    pub(crate) fn poll_ready(
        &self,
        fd: BorrowedFd<'_>,
        context: &mut Context<'_>,
        direction: Direction,
    ) -> Poll<io::Result<()>> {
        if !context::spend(context) {
            return Poll::Pending;
        }
        // Nothing is known before the registration: make it, and let the selector say.
        self.register(fd, None)?;
        self.wait_ready(fd, context, direction)
    }

    /// Registers, unless that was done: both directions count as not ready until the selector has spoken.
    pub(crate) fn ensure(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.register(fd, None)
    }

    /// Tells one wait of the selector from the next: what is known is from this one or earlier. Zero before there is any.
    pub(crate) fn turn(&self) -> u64 {
        self.registration.get().map_or(0, |it| it.reactor.turns())
    }

    /// Whether the connection may have broken since this was last asked; see [`Io::poll_broken`].
    fn poll_broken(&self, fd: BorrowedFd<'_>, context: &Context<'_>) -> Poll<io::Result<()>> {
        self.register(fd, None)?;
        self.registration.get().map_or(Poll::Pending, |it| it.reactor.poll_broken(it.key.get(), context))
    }

    /// See [`Io::try_io`].
    pub(crate) fn try_io<R>(
        &self,
        fd: BorrowedFd<'_>,
        direction: Direction,
        op: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        let outcome = op(fd);
        if let Err(error) = &outcome {
            if error.kind() == io::ErrorKind::WouldBlock {
                self.clear_ready(direction);
            }
        }
        outcome
    }

    /// See [`Io::clear_ready`].
    pub(crate) fn clear_ready(&self, direction: Direction) {
        if let Some(it) = self.registration.get() {
            it.reactor.clear_ready(it.key.get(), direction);
        }
    }

    fn clear_after_short_read(&self) {
        if !SHORT_READ_RULE || self.short_reads == ShortReads::SayNothing {
            return;
        }
        if let Some(it) = self.registration.get() {
            it.reactor.clear_after_short_read(it.key.get());
        }
    }

    /// An attempt has blocked: from now on readiness is what the selector says.
    fn block(&self, fd: BorrowedFd<'_>, direction: Direction) -> io::Result<()> {
        match self.registration.get() {
            Some(it) => {
                it.reactor.clear_ready(it.key.get(), direction);
                Ok(())
            }
            None => self.register(fd, Some(direction.opposite())),
        }
    }

    fn register(&self, fd: BorrowedFd<'_>, untried: Option<Direction>) -> io::Result<()> {
        if self.registration.get().is_some() {
            return Ok(());
        }
        let reactor =
            context::try_with(|context| context.map(|it| it.reactor().clone())).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::NotConnected,
                    "waiting on a socket needs a running wakering runtime",
                )
            })?;
        let key = reactor.watch(fd, self.interest, untried)?;
        let fresh = self.registration.set(Registration { reactor, key: Cell::new(key) }).is_ok();
        debug_assert!(fresh, "a descriptor is registered once");
        Ok(())
    }

    fn wait_ready(
        &self,
        fd: BorrowedFd<'_>,
        context: &Context<'_>,
        direction: Direction,
    ) -> Poll<io::Result<()>> {
        match self.registration.get() {
            Some(it) => match it.reactor.poll_ready(fd, it.key.get(), direction, context) {
                Poll::Pending if it.is_elsewhere() => Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "another runtime waits for this socket, which no runtime but the first can wait on",
                ))),
                polled => polled,
            },
            None => Poll::Ready(Ok(())),
        }
    }

    /// Ends the registration. `keeps_open` says that the descriptor, or a duplicate of it, lives on.
    pub(crate) fn unregister(&mut self, fd: BorrowedFd<'_>, keeps_open: bool) {
        if let Some(it) = self.registration.take() {
            // The source is gone in any case; a descriptor that the kernel no longer knows needs no more.
            drop(it.reactor.unwatch(fd, it.key.get(), keeps_open));
        }
    }
}
