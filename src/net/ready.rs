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
    task::{Context, Poll},
};

use crate::{
    reactor::{Direction, Reactor, SourceKey},
    sys::{Interest, SHORT_READ_RULE},
    worker::context,
};

/// A non-blocking descriptor and its lazily made registration with the worker that first waited on it.
#[derive(Debug)]
pub(crate) struct Io {
    // Order matters: the registration is dropped by `Drop` below, before the descriptor closes.
    fd: Option<OwnedFd>,
    registration: OnceCell<Registration>,
    interest: Interest,
    /// A duplicate may exist, so that closing would not end the registration.
    lent: Cell<bool>,
}

struct Registration {
    reactor: Rc<Reactor>,
    key: SourceKey,
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

    /// As `new`, for descriptors that are watched in another way than both directions edge-triggered.
    pub(crate) fn with_interest(fd: OwnedFd, interest: Interest) -> Self {
        Io { fd: Some(fd), registration: OnceCell::new(), interest, lent: Cell::new(false) }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("the descriptor is taken only by into_owned_fd, which consumes").as_fd()
    }

    /// Notes that the descriptor was lent out, and may have been duplicated.
    pub(crate) fn note_lent(&self) {
        self.lent.set(true);
    }

    /// Tries `op` until it does not block, is done, or fails; waits for readiness meanwhile.
    ///
    /// Takes one unit of the task's budget, so that no source that is always ready starves the others.
    pub(crate) fn poll_io<R>(
        &self,
        context: &mut Context<'_>,
        direction: Direction,
        mut op: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        if !context::spend(context) {
            return Poll::Pending;
        }
        loop {
            match self.wait_ready(context, direction) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
            match op(self.fd()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.block(direction)?,
                outcome => return Poll::Ready(outcome),
            }
        }
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
        if !context::spend(context) {
            return Poll::Pending;
        }
        // Nothing is known before the registration: make it, and let the selector say.
        self.register(None)?;
        self.wait_ready(context, direction)
    }

    /// Tries `op` once, now; readiness is cleared when it would block.
    pub(crate) fn try_io<R>(
        &self,
        direction: Direction,
        op: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        let outcome = op(self.fd());
        if let Err(error) = &outcome {
            if error.kind() == io::ErrorKind::WouldBlock {
                self.clear_ready(direction);
            }
        }
        outcome
    }

    /// Notes that an attempt in this direction would block. Without a registration nothing is remembered:
    /// the next wait makes one, and that reports the present state.
    pub(crate) fn clear_ready(&self, direction: Direction) {
        if let Some(it) = self.registration.get() {
            it.reactor.clear_ready(it.key, direction);
        }
    }

    /// Notes that a TCP read took less than it asked for. Where `SHORT_READ_RULE` does not hold that says nothing, and
    /// the next read finds out.
    pub(crate) fn clear_after_short_read(&self) {
        if !SHORT_READ_RULE {
            return;
        }
        if let Some(it) = self.registration.get() {
            it.reactor.clear_after_short_read(it.key);
        }
    }

    /// Ends the registration and gives the descriptor away.
    pub(crate) fn into_owned_fd(mut self) -> OwnedFd {
        self.unregister(true);
        self.fd.take().expect("the descriptor is taken only here")
    }

    /// An attempt has blocked: from now on readiness is what the selector says.
    fn block(&self, direction: Direction) -> io::Result<()> {
        match self.registration.get() {
            Some(it) => {
                it.reactor.clear_ready(it.key, direction);
                Ok(())
            }
            None => self.register(Some(direction.opposite())),
        }
    }

    fn register(&self, untried: Option<Direction>) -> io::Result<()> {
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
        let key = reactor.watch(self.fd(), self.interest, untried)?;
        let fresh = self.registration.set(Registration { reactor, key }).is_ok();
        debug_assert!(fresh, "a descriptor is registered once");
        Ok(())
    }

    fn wait_ready(&self, context: &Context<'_>, direction: Direction) -> Poll<io::Result<()>> {
        match self.registration.get() {
            Some(it) => it.reactor.poll_ready(self.fd(), it.key, direction, context),
            None => Poll::Ready(Ok(())),
        }
    }

    fn unregister(&mut self, keeps_open: bool) {
        if let (Some(it), Some(fd)) = (self.registration.take(), &self.fd) {
            // The source is gone in any case; a descriptor that the kernel no longer knows needs no more.
            drop(it.reactor.unwatch(fd.as_fd(), it.key, keeps_open));
        }
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        self.unregister(self.lent.get());
    }
}
