//! The handlers of what one connection has brought.
//!
//! A peer that numbers its requests has its handlers run side by side, bounded; the messages of others are handled one after
//! the other, since nothing but their order tells their answers apart. So what is refused of the latter without any handler has
//! its turn among them.
//!
//! When there are as many as there may be, further messages wait in the socket. But handlers may have asked the peer, and
//! its answers come behind those messages: then they are read, and held here, bounded, until handlers have ended.
//!
//! What they answer waits until the peer reads it. While much of it does, none is called: those that come then wait here, and
//! behind them in the socket, so that a peer which asks for more than it reads is made to wait, and misses nothing.
//!
//! Most handlers never wait, so a task for each would cost more than they do. One task, the runner, calls them one after
//! the other. A handler that waits keeps the task that it was begun in, and the next message gets another runner.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fmt,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use crate::{
    limits::{MESSAGE_BEYOND_BYTES, MESSAGE_HANDLERS, MESSAGE_HELD, MESSAGE_HELD_BYTES, MESSAGE_TURN},
    message::{
        ending,
        link::Link,
        peer::{Handling, Peer},
        routes::Route,
    },
    net::OwnedReadHalf,
    proto::message::{Message, is_numbered},
    task::JoinHandle,
    worker::{Scope, dump::Told},
};

/// A message, and whose it is; it is given away where it stands. Nobody's is what the peer is told in its turn: that
/// one of its messages was refused.
type Task = (Option<Rc<Route>>, Option<Message>);

pub(super) struct Handlers {
    /// `None` before the connection is carried, and behind.
    tasks: RefCell<Option<Scope>>,
    /// Begun or waiting for that, those held among them.
    at_work: Cell<usize>,
    /// Messages for which there is no handler yet, in their order, and their octets.
    held: RefCell<VecDeque<Task>>,
    held_bytes: Cell<usize>,
    /// Waits for there to be fewer.
    reader: Cell<Option<Waker>>,
    numbered: RefCell<VecDeque<Task>>,
    runner: Cell<Runner>,
    in_order: RefCell<VecDeque<Task>>,
    /// Somebody works off what is in order.
    is_ordered: Cell<bool>,
}

/// The task that calls the handlers of numbered messages.
#[derive(Default)]
enum Runner {
    #[default]
    None,
    Awake,
    Asleep(Waker),
}

impl Handlers {
    pub(super) fn new() -> Handlers {
        Handlers {
            tasks: RefCell::default(),
            at_work: Cell::new(0),
            held: RefCell::default(),
            held_bytes: Cell::new(0),
            reader: Cell::new(None),
            numbered: RefCell::default(),
            runner: Cell::default(),
            in_order: RefCell::default(),
            is_ordered: Cell::new(false),
        }
    }

    pub(super) fn begin(&self) {
        self.tasks.replace(Some(Scope::new()));
    }

    /// Drops all that are at work.
    pub(super) fn end(&self) {
        let (tasks, held) = (self.tasks.take(), self.held.take());
        self.at_work.set(self.at_work.get() - held.len());
        drop((tasks, held));
    }

    /// Shows their tasks, and others that end with them.
    pub(super) fn each(&self, show: impl FnMut(&JoinHandle<()>)) {
        if let Some(tasks) = &*self.tasks.borrow() {
            tasks.each(show);
        }
    }

    /// Says in dumps what their tasks wait for when there is nothing to do.
    pub(super) fn tell(&self, from: SocketAddr, told: &mut Told) {
        let runner = self.runner.take();
        if let Runner::Asleep(waker) = &runner {
            told.waits(waker, || format!("another message from {from} that is for a handler"));
        }
        self.runner.set(runner);
        let reader = self.reader.take();
        if let Some(waker) = &reader {
            told.waits(waker, || format!("handlers of messages from {from}, {} of them", self.at_work()));
        }
        self.reader.set(reader);
    }

    pub(super) fn at_work(&self) -> usize {
        self.at_work.get() - self.held.borrow().len()
    }

    /// Starts a task that ends with the handlers.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        if let Some(tasks) = &*self.tasks.borrow() {
            tasks.spawn(task);
        }
    }

    /// Waits until no more than `most` are at work.
    pub(super) async fn at_most(&self, most: usize) {
        poll_fn(|context| {
            if self.at_work.get() <= most {
                return Poll::Ready(());
            }
            self.reader.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// Whether there are as many as there may be.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.at_work.get() >= MESSAGE_HANDLERS
    }

    /// The peer has been asked: answers are to be read whatever comes before them.
    #[cold]
    pub(super) fn note_ask(&self) {
        self.reader.take().into_iter().for_each(Waker::wake);
    }

    fn is_any_held(&self) -> bool {
        !self.held.borrow().is_empty()
    }

    /// Whether messages without numbers are at work, or may wait for that: whatever is said of one that comes now waits its turn.
    pub(super) fn is_any_in_order(&self) -> bool {
        self.is_ordered.get() || self.is_any_held()
    }

    fn may_hold(&self, octets: usize) -> bool {
        self.held.borrow().len() < MESSAGE_HELD && self.held_bytes.get() + octets <= MESSAGE_HELD_BYTES
    }

    fn hold(&self, route: Option<Rc<Route>>, message: &mut Option<Message>) {
        let Some(message) = message.take() else { return };
        self.at_work.set(self.at_work.get() + 1);
        self.held_bytes.set(self.held_bytes.get() + message.memory());
        // What else came with it is not to be kept for it.
        self.held.borrow_mut().push_back((route, Some(message.detached())));
    }

    /// The first message that was held, when there is room for its handler.
    fn next_held(&self) -> Option<Task> {
        let mut held = self.held.borrow_mut();
        if self.at_work.get() - held.len() >= MESSAGE_HANDLERS {
            return None;
        }
        let next = held.pop_front()?;
        self.held_bytes.set(self.held_bytes.get() - next.1.as_ref().map_or(0, Message::memory));
        Some(next)
    }
}

impl Link {
    /// Has a message handled, which is taken away.
    pub(super) fn handle(self: &Rc<Self>, route: Option<Rc<Route>>, message: &mut Option<Message>) {
        let handlers = &self.handlers;
        handlers.at_work.set(handlers.at_work.get() + 1);
        self.begin(route, message);
    }

    /// Has one handled when there are as many handlers as there may be: waits for one to end, or holds the message while
    /// answers are waited for that come behind it. An error is that the connection breaks meanwhile.
    #[cold]
    pub(super) async fn handle_later(
        self: &Rc<Self>,
        route: Option<Rc<Route>>,
        message: &mut Option<Message>,
        reader: &OwnedReadHalf,
    ) -> io::Result<()> {
        let handlers = &self.handlers;
        let octets = message.as_ref().map_or(0, Message::memory);
        let holds = poll_fn(|context| {
            self.begin_held();
            if !handlers.is_full() {
                return Poll::Ready(Ok(false));
            }
            if self.asks.is_any() && handlers.may_hold(octets) {
                return Poll::Ready(Ok(true));
            }
            handlers.reader.set(Some(context.waker().clone()));
            // Nothing is read meanwhile, which would tell.
            if reader.has_ended() {
                self.awaits_handlers();
            }
            reader.poll_broken(context).map(Err)
        });
        if holds.await? {
            handlers.hold(route, message);
        } else {
            self.handle(route, message);
        }
        Ok(())
    }

    /// Whether so many answers wait that it may be that no more is to be read.
    #[inline]
    pub(super) fn is_crowded(&self) -> bool {
        self.queue.is_beyond(0)
    }

    /// Waits until the peer has read of what it was told without any handler: errors that it brought on itself. While
    /// something is asked of it, there may be many more of those, since its answers lie behind what brings them.
    #[cold]
    pub(super) async fn less_crowded(self: &Rc<Self>, reader: &OwnedReadHalf) -> io::Result<()> {
        poll_fn(|context| {
            self.begin_held();
            let beyond = if self.asks.is_any() { MESSAGE_BEYOND_BYTES } else { 0 };
            if !self.queue.is_beyond(beyond) {
                return Poll::Ready(Ok(()));
            }
            self.queue.hold_up(context);
            self.handlers.reader.set(Some(context.waker().clone()));
            // Nothing is read meanwhile, which would tell.
            reader.poll_broken(context).map(Err)
        })
        .await
    }

    /// Waits until the peer has read so many of its answers that another handler may be called.
    #[inline]
    async fn fewer_answers(&self) {
        if self.queue.holds_many_answers() {
            poll_fn(|context| {
                if !self.queue.holds_many_answers() {
                    return Poll::Ready(());
                }
                self.queue.hold_up(context);
                Poll::Pending
            })
            .await;
        }
    }

    /// Waits for `what`, and begins meanwhile with what is held.
    pub(super) async fn while_held<T>(self: &Rc<Self>, what: impl Future<Output = T>) -> T {
        if !self.handlers.is_any_held() {
            return what.await;
        }
        let mut what = pin!(what);
        poll_fn(|context| {
            self.begin_held();
            if self.handlers.is_any_held() {
                self.handlers.reader.set(Some(context.waker().clone()));
            }
            what.as_mut().poll(context)
        })
        .await
    }

    /// Begins with all that is held.
    pub(super) async fn handle_held(self: &Rc<Self>) {
        poll_fn(|context| {
            self.begin_held();
            if !self.handlers.is_any_held() {
                return Poll::Ready(());
            }
            self.handlers.reader.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    fn begin_held(self: &Rc<Self>) {
        while let Some((route, mut message)) = self.handlers.next_held() {
            self.begin(route, &mut message);
        }
    }

    fn begin(self: &Rc<Self>, route: Option<Rc<Route>>, message: &mut Option<Message>) {
        let handlers = &self.handlers;
        if message.as_ref().is_some_and(is_numbered) {
            handlers.numbered.borrow_mut().push_back((route, message.take()));
            return self.rouse();
        }
        handlers.in_order.borrow_mut().push_back((route, message.take()));
        if !handlers.is_ordered.replace(true) {
            handlers.spawn(self.clone().run_in_order());
        }
    }

    /// Has somebody look for numbered messages.
    fn rouse(self: &Rc<Self>) {
        match self.handlers.runner.replace(Runner::Awake) {
            Runner::None => self.handlers.spawn(self.clone().run_numbered()),
            Runner::Awake => {}
            Runner::Asleep(runner) => runner.wake(),
        }
    }

    async fn run_numbered(self: Rc<Self>) {
        let (handlers, peer) = (&self.handlers, self.peer());
        loop {
            let waits = poll_fn(|context| self.call_numbered(&peer, context)).await;
            handlers.runner.set(Runner::None);
            if !handlers.numbered.borrow().is_empty() {
                self.rouse();
            }
            peer.answer_late(waits.handling).await;
            self.note_handled();
            drop(waits.at_work);
            match handlers.runner.replace(Runner::Awake) {
                Runner::None => {}
                other => return handlers.runner.set(other),
            }
        }
    }

    /// Calls one handler behind the other, until one waits.
    fn call_numbered(&self, peer: &Peer, context: &mut Context<'_>) -> Poll<Waits<'_>> {
        let (handlers, mut called, mut of_node) = (&self.handlers, 0, None);
        loop {
            if called == MESSAGE_TURN && !handlers.numbered.borrow().is_empty() {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.queue.holds_many_answers() && !handlers.numbered.borrow().is_empty() {
                self.queue.hold_up(context);
                return Poll::Pending;
            }
            let mut taken = handlers.numbered.borrow_mut().pop_front();
            let Some((Some(route), message)) = &mut taken else {
                handlers.runner.set(Runner::Asleep(context.waker().clone()));
                return Poll::Pending;
            };
            called += 1;
            let at_work = AtWork(handlers);
            // One after the other, they are one that is at work.
            let begun = of_node.take().unwrap_or_else(|| self.node.work.begin());
            match peer.call(route, message, context) {
                None => of_node = Some(begun),
                Some(handling) => {
                    let mut begun = begun;
                    begun.waits(handling.subject(self.address));
                    return Poll::Ready(Waits { handling, at_work: (at_work, begun) });
                }
            }
        }
    }

    async fn run_in_order(self: Rc<Self>) {
        let next = || self.handlers.in_order.borrow_mut().pop_front();
        loop {
            self.fewer_answers().await;
            let Some((route, mut message)) = next() else { break };
            let _at_work = AtWork(&self.handlers);
            match (route, &mut message) {
                (Some(route), message) => self.peer().answer(route, message).await,
                (None, Some(complaint)) => self.peer().tell(complaint),
                (None, None) => {}
            }
            self.note_handled();
        }
        self.handlers.is_ordered.set(false);
    }
}

/// A numbered message whose handler waits for something.
struct Waits<'h> {
    handling: Handling,
    /// On this connection, and of the node.
    at_work: (AtWork<'h>, ending::AtWork),
}

/// A handler at work.
struct AtWork<'h>(&'h Handlers);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.at_work.set(self.0.at_work.get() - 1);
        self.0.reader.take().into_iter().for_each(Waker::wake);
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Handlers").field("at_work", &self.at_work.get()).finish_non_exhaustive()
    }
}
