//! One connection: a reader, a writer, and the handlers at work.
//!
//! There is one reader, always. What it reads goes to the request that it answers or to a handler. A peer that numbers
//! its requests has its handlers run side by side, bounded; the messages of others are handled one after the other, since
//! nothing but their order tells their answers apart.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fmt,
    future::poll_fn,
    io,
    net::SocketAddr,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    limits::{MESSAGE_HANDLERS, MESSAGE_LAST_WORDS, MESSAGE_OFFER_TIMEOUT, MESSAGE_SUBSCRIPTIONS},
    message::{
        asks::Asks,
        error::{LinkEnd, SendError},
        guard::{Guard, Side},
        layer::Layer,
        metrics::count,
        node::Node,
        peer::{End, INVALID, Peer},
        queue::{Queue, Rejected, SlowPeer},
        routes::Route,
    },
    net::{OwnedReadHalf, OwnedWriteHalf, TcpStream},
    proto::message::{Decoder, Kind, Message, Order, Requests, is_numbered, plugins::PluginError},
    time::timeout,
    worker::{CancellationToken, Scope},
};

pub(super) struct Link {
    pub(super) node: Rc<Node>,
    pub(super) address: SocketAddr,
    queue: Queue,
    pub(super) guard: Guard,
    pub(super) asks: Rc<Asks>,
    /// Messages that wait for the handler of the one before.
    in_order: RefCell<VecDeque<(Route, Message)>>,
    handlers: Cell<usize>,
    reader: Cell<Option<Waker>>,
    subscriptions: Cell<usize>,
    end: RefCell<Option<LinkEnd>>,
    /// Cancelled when the connection is to end as soon as what is queued has gone out.
    leaving: CancellationToken,
    /// Cancelled when the connection has to end, or has.
    over: CancellationToken,
}

impl Link {
    pub(super) fn new(node: Rc<Node>, side: Side, address: SocketAddr) -> Rc<Link> {
        let queue = Queue::new(node.settings.queue_bytes, node.settings.slow_peer);
        Rc::new(Link {
            guard: Guard::new(node.protection.clone(), side, Order::AsAsked),
            node,
            address,
            queue,
            asks: Asks::new(Requests::new(Order::AsAsked)),
            in_order: RefCell::default(),
            handlers: Cell::new(0),
            reader: Cell::new(None),
            subscriptions: Cell::new(0),
            end: RefCell::default(),
            leaving: CancellationToken::new(),
            over: CancellationToken::new(),
        })
    }

    /// Carries the connection to its end. When `stopping` is cancelled, what is being handled is answered first.
    pub(super) async fn run(self: Rc<Self>, stream: TcpStream, stopping: CancellationToken) {
        let _ended = Ended(&self);
        let (mut reader, writer) = stream.into_split();
        let handlers = Scope::new();
        let write = Scope::<std::convert::Infallible>::new();
        write.spawn(self.clone().write(writer));
        if self.guard.is_to_offer() {
            handlers.spawn(self.clone().agree());
        }
        let reading = async {
            let end = self.read(&mut reader, &handlers).await;
            self.note_end(end.clone());
            // A peer that sends no more may still read.
            matches!(end, LinkEnd::PeerClosed)
        };
        let stopped = async { stopping.run_until_cancelled(reading).await.unwrap_or(true) };
        let stays = async { self.leaving.run_until_cancelled(stopped).await.unwrap_or(false) };
        let finish = self.over.run_until_cancelled(stays).await.unwrap_or(false);
        if finish {
            let patience = if stopping.is_cancelled() { Duration::MAX } else { MESSAGE_LAST_WORDS };
            let _ = timeout(patience, self.over.run_until_cancelled(self.idle())).await;
        }
        drop(handlers);
        self.introduce(Kind::DISCONNECT);
        self.note_end(LinkEnd::Closed);
        self.queue.close();
        if !self.over.is_cancelled() {
            let _ = timeout(MESSAGE_LAST_WORDS, write.join()).await;
        }
    }

    /// Says who this end is before it asks for anything; once it is known how to speak to the peer.
    pub(super) fn greet(self: &Rc<Self>) {
        if !self.guard.is_to_offer() {
            self.introduce(Kind::ADVERTISE_PEER);
        }
    }

    /// Says who this end is, or that it goes.
    fn introduce(self: &Rc<Self>, kind: Kind) {
        if let Some(message) = self.node.peers.introduction(kind) {
            // Whether it is known matters only while there is a connection.
            let _ = self.peer().send(message);
        }
    }

    /// Has the connection end, for this reason unless there was one before.
    pub(super) fn finish(&self, end: LinkEnd) {
        self.note_end(end);
        self.over.cancel();
    }

    pub(super) fn is_over(&self) -> bool {
        self.end.borrow().is_some()
    }

    /// How it ended, if it has.
    pub(super) fn end(&self) -> Option<LinkEnd> {
        self.end.borrow().clone()
    }

    /// Ends the connection when what is queued has gone out.
    pub(super) fn retire(&self) {
        self.note_end(LinkEnd::Closed);
        self.leaving.cancel();
    }

    /// Waits until the connection has ended.
    pub(super) async fn ended(&self) -> LinkEnd {
        self.over.cancelled().await;
        self.end.borrow().clone().unwrap_or(LinkEnd::Closed)
    }

    pub(super) fn peer(self: &Rc<Self>) -> Peer {
        Peer::new(End::Link(self.clone()))
    }

    /// Messages that were not sent because the peer was slow.
    pub(super) fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    pub(super) fn queued_bytes(&self) -> u64 {
        self.queue.bytes() as u64
    }

    pub(super) fn handlers(&self) -> u64 {
        self.handlers.get() as u64
    }

    pub(super) fn push(&self, frame: Bytes) -> Result<(), SendError> {
        match self.queue.push(frame) {
            Ok(()) => {
                count(&self.node.counts.sent, 1);
                Ok(())
            }
            Err(Rejected::Closed) => Err(SendError::Closed),
            Err(Rejected::Full) => {
                if self.queue.policy() == SlowPeer::Disconnect {
                    self.finish(LinkEnd::SlowReader);
                }
                Err(SendError::Full)
            }
        }
    }

    /// Counts a subscription in; false when there are too many.
    pub(super) fn may_subscribe(&self) -> bool {
        let subscriptions = self.subscriptions.get();
        self.subscriptions.set((subscriptions + 1).min(MESSAGE_SUBSCRIPTIONS));
        subscriptions < MESSAGE_SUBSCRIPTIONS
    }

    pub(super) fn unsubscribed(&self) {
        self.subscriptions.set(self.subscriptions.get().saturating_sub(1));
    }

    /// Offers a session; requests wait for what comes of that.
    async fn agree(self: Rc<Self>) {
        let is_needed = self.guard.is_barred();
        let patience = if is_needed { self.node.settings.request_timeout } else { MESSAGE_OFFER_TIMEOUT };
        if let Some(offer) = self.guard.offer() {
            // What there is now tells more than the answer.
            let _ = self.peer().ask(offer, &Layer::new(), patience).await;
        }
        if self.guard.is_barred() {
            self.finish(LinkEnd::Session(PluginError::NoSession));
        }
        self.introduce(Kind::ADVERTISE_PEER);
        self.guard.settle();
    }

    async fn write(self: Rc<Self>, mut writer: OwnedWriteHalf) {
        while let Some(batch) = poll_fn(|context| self.queue.poll_batch(context)).await {
            let mut slices: Vec<io::IoSlice<'_>> =
                batch.iter().map(|frame| io::IoSlice::new(frame)).collect();
            match timeout(self.node.settings.write_timeout, writer.write_all_vectored(&mut slices)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return self.finish(LinkEnd::io("writing", &error)),
                Err(_over) => return self.finish(LinkEnd::SlowReader),
            }
        }
    }

    /// Reads until there is no more to read.
    async fn read(self: &Rc<Self>, reader: &mut OwnedReadHalf, handlers: &Scope) -> LinkEnd {
        let mut decoder = Decoder::new(self.node.kinds);
        // When the message under way began: one that drips in has no more time than any.
        let mut begun = None;
        loop {
            loop {
                match decoder.poll_message() {
                    Ok(Some(message)) => self.take(message, handlers).await,
                    Ok(None) => break,
                    Err(error) => {
                        count(&self.node.counts.malformed, 1);
                        if !error.is_recoverable() {
                            return LinkEnd::Protocol(error);
                        }
                        self.peer().complain(None, Kind::ERROR, INVALID);
                    }
                }
                begun = None;
            }
            begun = if decoder.is_inside() { begun.or_else(|| Some(Instant::now())) } else { None };
            let (patience, late) = self.patience(begun);
            let read = reader.read_with(|octets| {
                decoder.receive(octets);
                octets.len()
            });
            match timeout(patience, read).await {
                Ok(Ok(0)) if decoder.is_inside() => return LinkEnd::CutOff,
                Ok(Ok(0)) => return LinkEnd::PeerClosed,
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return LinkEnd::io("reading", &error),
                Err(_over) => return late,
            }
        }
    }

    /// How long the next octets may take, and what the connection ends by when they do not come.
    fn patience(&self, begun: Option<Instant>) -> (Duration, LinkEnd) {
        let settings = &self.node.settings;
        if let Some(begun) = begun {
            return (settings.read_timeout.saturating_sub(begun.elapsed()), LinkEnd::SlowWriter);
        }
        let is_wanted = self.subscriptions.get() > 0 || self.asks.is_any();
        let idle = settings.idle_timeout.filter(|_| !is_wanted);
        (idle.unwrap_or(Duration::MAX), LinkEnd::Idle)
    }

    /// Gives a message to the request that it answers, or to its handler.
    async fn take(self: &Rc<Self>, message: Message, handlers: &Scope) {
        let Some((route, message)) = self.peer().take(message, true) else { return };
        poll_fn(|context| self.poll_room(context)).await;
        self.handlers.set(self.handlers.get() + 1);
        if is_numbered(&message) {
            handlers.spawn(self.clone().handle(route, message));
            return;
        }
        let mut in_order = self.in_order.borrow_mut();
        in_order.push_back((route, message));
        if in_order.len() == 1 {
            handlers.spawn(self.clone().handle_in_order());
        }
    }

    async fn handle(self: Rc<Self>, route: Route, message: Message) {
        let _at_work = AtWork(&self);
        self.peer().answer(&route, message).await;
    }

    async fn handle_in_order(self: Rc<Self>) {
        loop {
            // It stands in the queue until it is answered, so that nobody else begins to work it off.
            let Some((route, message)) = self.in_order.borrow().front().cloned() else { return };
            let at_work = AtWork(&self);
            self.peer().answer(&route, message).await;
            drop(at_work);
            self.in_order.borrow_mut().pop_front();
        }
    }

    fn poll_room(&self, context: &Context<'_>) -> Poll<()> {
        if self.handlers.get() < MESSAGE_HANDLERS {
            return Poll::Ready(());
        }
        self.reader.set(Some(context.waker().clone()));
        Poll::Pending
    }

    /// Waits until no handler is at work.
    async fn idle(&self) {
        poll_fn(|context| {
            if self.handlers.get() == 0 {
                return Poll::Ready(());
            }
            self.reader.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    fn note_end(&self, end: LinkEnd) {
        let mut noted = self.end.borrow_mut();
        if noted.is_some() {
            return;
        }
        *noted = Some(end.clone());
        drop(noted);
        self.guard.settle();
        self.asks.fail_all(&end);
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = out.debug_struct("Link");
        debug.field("address", &self.address).field("queue", &self.queue);
        debug.field("handlers", &self.handlers.get()).field("end", &self.end.borrow()).finish_non_exhaustive()
    }
}

/// The connection is over when this is dropped, in whatever way.
struct Ended<'l>(&'l Rc<Link>);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.finish(LinkEnd::Closed);
        self.0.queue.close();
    }
}

/// A handler at work.
struct AtWork<'l>(&'l Link);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.handlers.set(self.0.handlers.get() - 1);
        self.0.reader.take().into_iter().for_each(Waker::wake);
    }
}
