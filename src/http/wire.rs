//! A connection as its handlers see it.
//!
//! The protocol core, the socket, and for each stream that has somebody waiting a mailbox (`streams`). Whoever
//! changes the core asks for a flush; the worker calls it back once, after the tasks of the turn, and everything
//! the turn has produced leaves in one vectored write.
//!
//! Invariants: the core is never borrowed while foreign code runs (handlers, wakers, destructors of
//! bodies); a mailbox is reached by its stream's key, so that one of an earlier stream is never mistaken for
//! it.

mod streams;

use std::{
    cell::{Cell, RefCell},
    io::{self, IoSlice},
    net::SocketAddr,
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, Waker, ready},
};

use ::http::Version;

use crate::{
    contain::contain,
    http::{
        core::{self, Core, Older},
        mailbox::Mailboxes,
        metrics::Ledger,
        transport::Transport,
    },
    limits::{RECEIVED_UNIT, WRITE_SLICES},
    worker::context::{self, Flush},
};

/// Connections that the process has had, of all servers and clients.
static CONNECTIONS: AtomicU64 = AtomicU64::new(1);

/// One connection.
pub(super) struct Wire {
    pub(super) core: RefCell<Core>,
    pub(super) stream: RefCell<Option<Transport>>,
    mailboxes: RefCell<Mailboxes>,
    driver: RefCell<Option<Waker>>,
    flush_asked: Cell<bool>,
    broken: Cell<Option<io::ErrorKind>>,
    pub(super) ledger: Ledger,
    id: u64,
    peer: SocketAddr,
    /// The driver looks at the connection after every write: somebody waits for a stream to end.
    watched: Cell<bool>,
    /// When the driver looks at the connection in any case.
    armed: Cell<u64>,
}

/// The driver is at work, or about to be: it arms its timer itself.
const DRIVEN: u64 = 0;

impl Wire {
    pub(super) fn new(core: Core, stream: Transport, ledger: Ledger, peer: SocketAddr) -> Rc<Self> {
        Rc::new(Wire {
            core: RefCell::new(core),
            stream: RefCell::new(Some(stream)),
            mailboxes: RefCell::default(),
            driver: RefCell::new(None),
            flush_asked: Cell::new(false),
            broken: Cell::new(None),
            ledger,
            id: CONNECTIONS.fetch_add(1, Ordering::Relaxed),
            peer,
            watched: Cell::new(false),
            armed: Cell::new(DRIVEN),
        })
    }

    /// The number of this connection in the process.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// What the system says our end is.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self.stream.borrow().as_ref() {
            Some(stream) => stream.local_addr(),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Notes who drives the connection; called when the driver is polled.
    pub(super) fn set_driver(&self, waker: &Waker) {
        let mut driver = self.driver.borrow_mut();
        if !driver.as_ref().is_some_and(|it| it.will_wake(waker)) {
            *driver = Some(waker.clone());
        }
    }

    /// Has the driver look at the connection again.
    pub(super) fn wake_driver(&self) {
        let driver = self.driver.borrow().clone();
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// The driver is at work, until it says when its timer fires.
    #[inline]
    pub(super) fn driven(&self) {
        self.armed.set(DRIVEN);
    }

    /// Notes when the driver's timer fires.
    pub(super) fn set_armed(&self, deadline: Option<u64>) {
        self.armed.set(deadline.unwrap_or(u64::MAX));
    }

    /// Has the driver arm its timer for a deadline that came up between its turns: output that the socket does not
    /// take, a last stream that ended.
    fn check_deadline(&self) {
        if self.armed.get() == DRIVEN {
            return;
        }
        // A body that is dropped when the loop is over has no deadlines any more.
        let Some(now) = context::try_with(|worker| worker.map(context::Context::turn_time)) else { return };
        let deadline = self.core.borrow_mut().next_deadline(now);
        if deadline.is_some_and(|deadline| deadline < self.armed.get()) {
            self.armed.set(DRIVEN); // once is enough
            self.wake_driver();
        }
    }

    /// Whether there is anything that the socket has not taken.
    #[inline]
    pub(super) fn has_output(&self) -> bool {
        self.core.borrow().has_output() || self.stream.borrow().as_ref().is_some_and(Transport::holds_output)
    }

    /// Bytes that the socket has not taken.
    pub(super) fn output_left(&self) -> usize {
        let held = self.stream.borrow().as_ref().and_then(Transport::held);
        self.core.borrow().output_left() + held.unwrap_or(0)
    }

    /// A deadline may have passed.
    pub(super) fn handle_timeout(&self, now: u64) {
        let held = self.stream.borrow().as_ref().and_then(Transport::held);
        let mut core = self.core.borrow_mut();
        if let Some(held) = held {
            core.held_below(held);
        }
        core.handle_timeout(now);
    }

    /// Has the connection written out after this turn's tasks, if it has anything to write.
    pub(super) fn ask_flush(self: &Rc<Self>) {
        if !self.flush_asked.get() && self.has_output() {
            let connection: Rc<dyn Flush> = self.clone();
            // Outside the loop (a body dropped late) the next turn's poll asks again.
            let asked = context::try_with(|worker| worker.map(|it| it.flush_later(connection)));
            self.flush_asked.set(asked.is_some());
        }
    }

    /// Reads into the worker's buffer and hands the bytes to the core; false at the end of input.
    pub(super) fn poll_receive(&self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let stream = self.stream.borrow();
        let Some(stream) = stream.as_ref() else { return Poll::Ready(Ok(false)) };
        if self.broken.get().is_none() {
            ready!(stream.poll_tryable(context))?;
        }
        let received = context::with(|worker| {
            worker.with_scratch(|scratch| {
                let read = match self.broken.get() {
                    None => stream.poll_read_buf(context, scratch),
                    // A write has failed before the selector told of the input that came before that.
                    Some(_kind) => or_pending(stream.try_read_buf(scratch)),
                };
                read.map_ok(|count| scratch.split_to(count).freeze())
            })
        });
        match received {
            Poll::Ready(Ok(bytes)) if bytes.is_empty() => {
                self.core.borrow_mut().receive_end();
                Poll::Ready(Ok(false))
            }
            Poll::Ready(Ok(bytes)) => {
                let mut core = self.core.borrow_mut();
                let units = bytes.len() / RECEIVED_UNIT;
                core.receive(bytes);
                context::with(|worker| {
                    worker.tasks().charge(units as u32);
                    let memory = worker.lend_output().and_then(|memory| core.give_buffer(memory));
                    if let Some(unneeded) = memory {
                        worker.return_output(unneeded);
                    }
                });
                Poll::Ready(Ok(true))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Reads and forgets, so that the peer can read our last words before the socket closes.
    pub(super) fn poll_discard(&self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let stream = self.stream.borrow();
        let Some(stream) = stream.as_ref() else { return Poll::Ready(Ok(0)) };
        context::with(|worker| {
            let read = worker.with_scratch(|scratch| stream.poll_read_buf(context, scratch));
            if let Poll::Ready(Ok(count)) = read {
                worker.tasks().charge((count / RECEIVED_UNIT) as u32);
            }
            read
        })
    }

    /// Ready when the peer, whose end was read, is found to be gone altogether.
    pub(super) fn poll_broken(&self, context: &mut Context<'_>) -> Poll<io::ErrorKind> {
        match self.stream.borrow().as_ref() {
            Some(stream) => stream.poll_broken(context).map(|error| error.kind()),
            None => Poll::Pending,
        }
    }

    /// Goes on in another version of HTTP, as the core asked for; `false` when it is not spoken.
    pub(super) fn switch(&self, older: &Older, now: u64) -> bool {
        let mut core = self.core.borrow_mut();
        self.ledger.publish(&core);
        let secure = self.stream.borrow().as_ref().is_some_and(Transport::is_secure);
        let switched = core::switch(&mut core, older, secure, now);
        if switched {
            self.ledger.restart(&core);
        }
        switched
    }

    /// Writes bytes that the machine has not made: the answer to a client that speaks something else.
    pub(super) fn say(&self, text: &[u8]) {
        if let Some(stream) = self.stream.borrow().as_ref() {
            // A fresh socket takes a few hundred bytes at once; if not, the peer is not reading.
            let _ = stream.try_write(text);
        }
    }

    /// Ends our side of the socket; what was written before is delivered.
    pub(super) fn shutdown_write(&self) {
        if let Some(stream) = self.stream.borrow().as_ref() {
            // It fails only when the peer has gone, which is what it is for.
            let _ = stream.shutdown_write();
        }
    }

    /// Has the socket reset when it is closed.
    pub(super) fn reset_on_close(&self) {
        if let Some(stream) = self.stream.borrow().as_ref() {
            stream.reset_on_close();
        }
    }

    /// Whether a connection without requests is of no more use, although nobody has been told.
    pub(super) fn is_stale(&self) -> bool {
        core::version(&self.core.borrow()) != Version::HTTP_2
            && self.stream.borrow().as_ref().is_none_or(Transport::is_stale)
    }

    /// Whether the socket stays open until the peer can have read our last words.
    pub(super) fn lingers(&self) -> bool {
        core::lingers(&self.core.borrow())
    }

    /// Whether the connection has ended, and all that there was to say is with the socket.
    pub(super) fn is_through(&self) -> bool {
        self.core.borrow().is_closed() && !self.has_output()
    }

    /// Closes the socket now.
    pub(super) fn close(&self) {
        let stream = self.stream.borrow_mut().take();
        drop(stream);
        let mut core = self.core.borrow_mut();
        self.ledger.close(&core);
        // A handler that is dropped later asks for a flush as ever: there must be nothing to write then.
        core.abandon();
    }

    /// Has the metrics know what has happened, unless a flush is about to do so.
    #[inline(always)]
    pub(super) fn publish(&self) {
        if !self.flush_asked.get() {
            self.publish_now();
        }
    }

    fn publish_now(&self) {
        self.ledger.publish(&self.core.borrow());
    }

    /// How the socket failed while writing, if it did.
    pub(super) fn broken(&self) -> Option<io::ErrorKind> {
        self.broken.get()
    }

    /// Has the driver woken after every write, or not.
    pub(super) fn watch(&self, on: bool) {
        self.watched.set(on);
    }

    /// One write of what the core has. `Pending`: the socket takes nothing now, and wakes the driver when it
    /// does.
    fn write(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.stream.borrow();
        let Some(stream) = stream.as_ref() else { return Poll::Ready(Ok(())) };
        let mut core = self.core.borrow_mut();
        let outcome = write_to(stream, &mut core, context);
        if let Some(held) = stream.held() {
            core.held_below(held);
        }
        outcome
    }
}

/// One write of what the core has, without regard to what becomes of it below.
#[inline]
fn write_to(stream: &Transport, core: &mut Core, context: &mut Context<'_>) -> Poll<io::Result<()>> {
    // Small answers lie in one piece, and a list of slices is a kilobyte.
    let written = if core.output_is_one_piece() {
        ready!(write_slices::<1>(core, stream, context))?
    } else {
        ready!(write_slices::<WRITE_SLICES>(core, stream, context))?
    };
    if written == 0 {
        return stream.poll_flush(context);
    }
    core.transmitted(written);
    if let Some(memory) = core.take_buffer() {
        context::with(|worker| worker.return_output(memory));
    }
    Poll::Ready(Ok(()))
}

/// Writes up to `N` slices; nought when there is nothing to write.
fn write_slices<const N: usize>(
    core: &mut Core,
    stream: &Transport,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let now = context::with(context::Context::turn_time);
    let mut slices = [IoSlice::new(&[]); N];
    let filled = core.poll_transmit(now, &mut slices);
    if filled == 0 {
        return Poll::Ready(Ok(0));
    }
    stream.poll_write_vectored(context, &slices[..filled])
}

fn or_pending<T>(outcome: io::Result<T>) -> Poll<io::Result<T>> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        outcome => Poll::Ready(outcome),
    }
}

impl Flush for Wire {
    fn flush(self: Rc<Self>) {
        self.flush_asked.set(false);
        let Some(driver) = self.driver.borrow().clone() else { return };
        let mut context = Context::from_waker(&driver);
        // Content that is out is dropped, and its owner may be the user's: a panic there ends this connection.
        let mut written = Poll::Ready(Err(io::ErrorKind::Other.into()));
        contain(|| written = self.write(&mut context));
        match written {
            Poll::Ready(Ok(())) => {
                if core::takes_end(&mut self.core.borrow_mut()) {
                    self.shutdown_write();
                }
                self.ask_flush();
            }
            Poll::Ready(Err(error)) => {
                self.broken.set(Some(error.kind()));
                self.wake_driver();
                return;
            }
            Poll::Pending => {
                self.check_deadline();
                return self.publish();
            }
        }
        self.publish();
        let core = self.core.borrow();
        let wants_driver = core.has_events() || core.is_closed() || self.watched.get();
        drop(core);
        if wants_driver {
            self.wake_driver();
        } else {
            self.check_deadline();
        }
    }
}
