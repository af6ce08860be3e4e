//! A connection as its handlers see it.
//!
//! The protocol core, the socket, and for each stream that has somebody waiting a mailbox. Whoever changes
//! the core asks for a flush; the worker calls it back once, after the tasks of the turn, and everything the
//! turn has produced leaves in one vectored write.
//!
//! Invariants: the core is never borrowed while foreign code runs (handlers, wakers, destructors of
//! bodies); a mailbox is reached by its stream's key, so that one of an earlier stream is never mistaken for
//! it.

use std::{
    cell::{Cell, RefCell},
    io::{self, IoSlice},
    net::SocketAddr,
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, Waker, ready},
};

use ::http::{HeaderMap, Version};
use bytes::Bytes;

use crate::{
    http::{
        core::{self, Core, Older},
        incoming::Incoming,
        mailbox::{Death, Ending, Mailbox, Mailboxes, Work},
        metrics::Ledger,
        transport::Transport,
    },
    limits::{RECEIVED_UNIT, WRITE_SLICES},
    proto::h2::{ConnectionError, StreamKey},
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

    /// Writes bytes that are not HTTP/2: the answer to a client that speaks something else.
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

    /// Tells everybody who waits on a stream that the connection is over. What has come whole stays readable.
    pub(super) fn lose_streams(&self, error: Option<ConnectionError>) {
        let (mut wakers, mut handlers) = (Vec::new(), Vec::new());
        for mailbox in self.mailboxes.borrow_mut().iter_mut() {
            if matches!(mailbox.ending, Ending::Open) {
                mailbox.ending = Ending::Lost(error);
            }
            wakers.extend([mailbox.reader.take(), mailbox.writer.take()].into_iter().flatten());
            handlers.extend(mailbox.work.take());
        }
        handlers.iter().for_each(Work::cancel);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// How the socket failed while writing, if it did.
    pub(super) fn broken(&self) -> Option<io::ErrorKind> {
        self.broken.get()
    }

    /// Handlers that wait.
    pub(super) fn busy_streams(&self) -> usize {
        self.mailboxes.borrow().iter().filter(|it| it.work.is_some()).count()
    }

    /// Whether this task is the handler of one of the streams.
    pub(super) fn has_handler(&self, task: u64) -> bool {
        self.mailboxes.borrow().iter().any(|it| it.handler() == Some(task))
    }

    /// Whether handlers are at work, and only such as are these tasks.
    pub(super) fn waits_only_for(&self, tasks: &[u64]) -> bool {
        let mailboxes = self.mailboxes.borrow();
        let mut handlers = mailboxes.iter().filter_map(|it| it.handler()).peekable();
        handlers.peek().is_some() && handlers.all(|task| tasks.contains(&task))
    }

    /// Shows who waits on streams; nobody in the middle of a change.
    pub(super) fn each_mailbox(&self, show: impl FnMut(&Mailbox)) {
        if let Ok(mailboxes) = self.mailboxes.try_borrow() {
            mailboxes.iter().for_each(show);
        }
    }

    // What the driver leaves for the streams.

    /// Opens the mailbox of a stream whose request has content.
    pub(super) fn open_mailbox(self: &Rc<Self>, key: StreamKey) -> Incoming {
        self.with_mailbox(key, |mailbox| mailbox.wanted = true);
        Incoming::new(self.clone(), key)
    }

    /// Notes what works for a stream and ends with it.
    pub(super) fn keep_work(&self, key: StreamKey, work: Work) {
        self.with_mailbox(key, |mailbox| mailbox.work = Some(work));
    }

    /// Content came.
    pub(super) fn deliver(&self, key: StreamKey, data: Bytes, end: bool) {
        let length = data.len();
        let found = self.find(key, |mailbox| {
            if end {
                mailbox.ending = Ending::Ended;
            }
            if mailbox.wanted && length > 0 {
                mailbox.keep(data);
            }
            (mailbox.wanted, mailbox.reader.take(), end && mailbox.heads.is_some())
        });
        let (taken, reader, response_ends) = found.unwrap_or_default();
        if !taken && length > 0 {
            self.core.borrow_mut().release(key, length);
        }
        if response_ends {
            self.detach(key);
        }
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Trailers came.
    pub(super) fn deliver_trailers(&self, key: StreamKey, trailers: HeaderMap) {
        let found = self.find(key, |mailbox| {
            mailbox.ending = Ending::Trailers(trailers);
            (mailbox.reader.take(), mailbox.heads.is_some())
        });
        let (reader, response_ends) = found.unwrap_or_default();
        if response_ends {
            self.detach(key);
        }
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Ends a stream for the core when all of its response has come and all of its request has gone, although
    /// somebody may still read: what came stays readable, and the next request finds room.
    pub(super) fn detach(&self, key: StreamKey) {
        let complete = self.find(key, |mailbox| mailbox.is_complete());
        if complete == Some(true) && self.core.borrow_mut().detach(key) {
            self.find(key, |mailbox| mailbox.detached = true);
        }
    }

    /// The next piece of content that came, if there is one; its window is given back.
    pub(super) fn take_received(self: &Rc<Self>, key: StreamKey) -> Option<Bytes> {
        let mut mailboxes = self.mailboxes.borrow_mut();
        let mailbox = mailboxes.find(key)?;
        let (data, detached) = (mailbox.received.pop_front()?, mailbox.detached);
        drop(mailboxes);
        self.give_back(key, data.len(), detached);
        self.ask_flush();
        Some(data)
    }

    /// Gives the window of content back that nobody will read.
    pub(super) fn release(&self, key: StreamKey, n: usize) {
        let detached = self.find(key, |mailbox| mailbox.detached).unwrap_or(false);
        self.give_back(key, n, detached);
    }

    fn give_back(&self, key: StreamKey, n: usize, detached: bool) {
        let mut core = self.core.borrow_mut();
        if detached {
            core.release_late(n);
        } else {
            core.release(key, n);
        }
        if core::resumes(&core) {
            drop(core);
            self.wake_driver();
        }
    }

    /// The stream is dead: what works for it ends, its body says why. A message that came whole stays readable:
    /// the peer may only be tired of the other direction (RFC 9113 §8.1).
    pub(super) fn stream_died(&self, key: StreamKey, death: Death) {
        let left = self.find(key, |mailbox| {
            if !mailbox.is_complete() {
                mailbox.ending = Ending::Reset(death);
                mailbox.received.clear();
            }
            (mailbox.work.take(), mailbox.reader.take(), mailbox.writer.take())
        });
        if let Some((work, reader, writer)) = left {
            if let Some(work) = work {
                work.cancel();
            }
            for waker in [reader, writer].into_iter().flatten() {
                waker.wake();
            }
        }
    }

    /// There is room to send again.
    pub(super) fn stream_writable(&self, key: StreamKey) {
        if let Some(Some(writer)) = self.find(key, |mailbox| mailbox.writer.take()) {
            writer.wake();
        }
    }

    /// Waits for room to send on a stream; false when there will never be any. The end of content needs none, and a peer
    /// that knows the length gives none for it.
    pub(super) fn poll_room(&self, key: StreamKey, context: &Context<'_>) -> Poll<bool> {
        if self.stream.borrow().is_none() {
            return Poll::Ready(false);
        }
        let mut core = self.core.borrow_mut();
        if core.stream_id(key).is_none() {
            return Poll::Ready(false);
        }
        if core.is_all_sent(key) || core.send_capacity(key) > 0 {
            return Poll::Ready(true);
        }
        self.with_mailbox(key, |mailbox| mailbox.writer = Some(context.waker().clone()));
        Poll::Pending
    }

    /// The handler is gone, and with it the stream's mailbox.
    pub(super) fn forget(&self, key: StreamKey) {
        let mailbox = self.take_mailbox(key);
        let mailbox = mailbox.and_then(|mailbox| self.leave_to_reader(mailbox));
        if let Some(mailbox) = mailbox {
            let unread: usize = mailbox.received.iter().map(Bytes::len).sum();
            if unread > 0 {
                let mut core = self.core.borrow_mut();
                if mailbox.detached { core.release_late(unread) } else { core.release(key, unread) }
            }
        }
        let (idle, ended) = core::finish(&mut self.core.borrow_mut(), key);
        if ended && self.armed.get() != DRIVEN {
            self.wake_driver();
        }
        if idle {
            self.check_deadline();
        }
    }

    /// Detaches every stream that may be: a request may have ended after its response.
    pub(super) fn detach_complete(&self) {
        let complete: Vec<StreamKey> = {
            let mailboxes = self.mailboxes.borrow();
            mailboxes.iter().filter(|it| it.is_complete() && !it.detached).map(|it| it.key).collect()
        };
        complete.into_iter().for_each(|key| self.detach(key));
    }

    /// Puts a mailbox back whose reader has not heard yet what became of the stream; it takes it away when it is
    /// dropped, unless the next stream in the slot was quicker.
    fn leave_to_reader(&self, mut mailbox: Box<Mailbox>) -> Option<Box<Mailbox>> {
        if !mailbox.wanted || matches!(mailbox.ending, Ending::Open) {
            return Some(mailbox);
        }
        mailbox.work = None;
        self.mailboxes.borrow_mut().put_back(mailbox)
    }

    /// Ready when nobody reads what the peer sends any more, or all of it was read.
    pub(super) fn poll_unwanted(&self, key: StreamKey, context: &Context<'_>) -> Poll<()> {
        let wanted = self.find(key, |mailbox| {
            mailbox.writer = Some(context.waker().clone());
            mailbox.wanted
        });
        if wanted == Some(true) { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Whether all of the response has come.
    pub(super) fn is_complete(&self, key: StreamKey) -> bool {
        self.find(key, |mailbox| mailbox.is_complete()).unwrap_or(false)
    }

    /// Has the driver woken after every write, or not.
    pub(super) fn watch(&self, on: bool) {
        self.watched.set(on);
    }

    pub(super) fn find<R>(&self, key: StreamKey, body: impl FnOnce(&mut Mailbox) -> R) -> Option<R> {
        self.mailboxes.borrow_mut().find(key).map(body)
    }

    pub(super) fn take_mailbox(&self, key: StreamKey) -> Option<Box<Mailbox>> {
        self.mailboxes.borrow_mut().take(key)
    }

    pub(super) fn with_mailbox<R>(&self, key: StreamKey, body: impl FnOnce(&mut Mailbox) -> R) -> R {
        body(self.mailboxes.borrow_mut().open(key))
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
        match self.write(&mut context) {
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
