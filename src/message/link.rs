//! One connection: a reader, a writer, the requests under way, and the handlers at work.
//!
//! There is one reader, always. What it reads goes to the request that it answers or to a handler. A peer that numbers
//! its requests has its handlers run side by side, bounded; the messages of others are handled one after the other, since
//! nothing but their order tells their answers apart.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    fmt,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    limits::{MESSAGE_HANDLERS, MESSAGE_LAST_WORDS, MESSAGE_SUBSCRIPTIONS},
    message::{
        error::{LinkEnd, RequestError, SendError},
        layer::{Layer, Refused},
        node::Node,
        queue::{Queue, Rejected, SlowPeer},
        routes::{Incoming, Route},
    },
    net::{OwnedReadHalf, OwnedWriteHalf, TcpStream},
    proto::message::{Begun, Decoder, Kind, Message, Order, Requests, Ticket, is_numbered, repeat_number},
    time::timeout,
    worker::{CancellationToken, Scope, dump::waiting},
};

/// What a message is answered with that cannot be, in the words of the protocol's first implementation.
const INVALID: &str = "invalid message";

pub(super) struct Link {
    pub(super) node: Rc<Node>,
    address: SocketAddr,
    queue: Queue,
    began: Instant,
    requests: RefCell<Requests>,
    slots: RefCell<HashMap<Ticket, Slot>>,
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

/// A request that has not given its answer away.
enum Slot {
    Waiting { waker: Option<Waker>, unsent: Option<Message> },
    Done(Result<Message, RequestError>),
}

impl Link {
    pub(super) fn new(node: Rc<Node>, address: SocketAddr) -> Rc<Link> {
        let queue = Queue::new(node.settings.queue_bytes, node.settings.slow_peer);
        Rc::new(Link {
            node,
            address,
            queue,
            began: Instant::now(),
            requests: RefCell::new(Requests::new(Order::AsAsked)),
            slots: RefCell::default(),
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
        self.note_end(LinkEnd::Closed);
        self.queue.close();
        if !self.over.is_cancelled() {
            let _ = timeout(MESSAGE_LAST_WORDS, write.join()).await;
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

    /// Sends a message; it is queued, and goes out after those that were queued before.
    pub(super) fn send(&self, mut message: Message) -> Result<(), SendError> {
        self.node.layer.wrap(&mut message)?;
        self.send_plain(&message)
    }

    /// Sends a message as it is.
    pub(super) fn send_plain(&self, message: &Message) -> Result<(), SendError> {
        self.push(message.to_octets()?.into())
    }

    pub(super) fn push(&self, frame: Bytes) -> Result<(), SendError> {
        match self.queue.push(frame) {
            Ok(()) => Ok(()),
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

    /// Asks, and waits for the answer, in an inner layer.
    pub(super) async fn request(
        self: &Rc<Self>,
        mut message: Message,
        inner: &Layer,
        patience: Duration,
    ) -> Result<Message, RequestError> {
        if let Some(end) = self.end.borrow().clone() {
            return Err(RequestError::Lost(end));
        }
        let (kind, uri) = (message.kind, message.uri.clone());
        let deadline = self.now().saturating_add(u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX));
        self.expire();
        let begun = self.requests.borrow_mut().begin(kind, uri.clone(), deadline)?;
        let (ticket, now) = match begun {
            Begun::Now(ticket) => (ticket, true),
            Begun::Later(ticket) => (ticket, false),
        };
        let answer = Answer { link: self.clone(), ticket };
        self.requests.borrow().number(ticket, &mut message);
        inner.wrap(&mut message).map_err(SendError::Plugin)?;
        let unsent = if now { None } else { Some(message.clone()) };
        self.slots.borrow_mut().insert(ticket, Slot::Waiting { waker: None, unsent });
        if now {
            self.send(message)?;
        }
        let address = self.address;
        let describe = move |out: &mut fmt::Formatter<'_>| {
            write!(out, "the answer to {kind} {} from {address}", String::from_utf8_lossy(&uri))
        };
        let answered = timeout(patience, waiting(describe, answer)).await;
        let mut answer = answered.map_err(|_over| RequestError::TimedOut)??;
        inner.unwrap(&mut answer).map_err(|refused| RequestError::NotGenuine(refused.to_string()))?;
        Ok(answer)
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
                    Err(error) if error.is_recoverable() => self.complain(None, Kind::ERROR, INVALID),
                    Err(error) => return LinkEnd::Protocol(error),
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
        let is_wanted = self.subscriptions.get() > 0 || !self.slots.borrow().is_empty();
        let idle = settings.idle_timeout.filter(|_| !is_wanted);
        (idle.unwrap_or(Duration::MAX), LinkEnd::Idle)
    }

    /// Gives a message to the request that it answers, or to its handler.
    async fn take(self: &Rc<Self>, mut message: Message, handlers: &Scope) {
        if let Err(refused) = self.node.layer.unwrap(&mut message) {
            return self.refuse(&message, &refused);
        }
        if self.settled(&message, || Ok(message.clone())) {
            return;
        }
        let Some(route) = self.node.routes.find(&message, self.address) else {
            if self.node.answers_unknown && !message.kind.ends_an_exchange() {
                self.complain(Some(&message), Kind::NOT_FOUND, "not found");
            }
            return;
        };
        if let Err(refused) = route.layer.unwrap(&mut message) {
            return self.refuse(&message, &refused);
        }
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

    /// Ends the request that a message answers, if it answers any.
    fn settled(&self, message: &Message, outcome: impl FnOnce() -> Result<Message, RequestError>) -> bool {
        let Some(answered) = self.requests.borrow_mut().answered(message) else { return false };
        if let Some(ticket) = answered {
            self.settle(ticket, outcome());
        }
        self.send_waiting();
        true
    }

    fn settle(&self, ticket: Ticket, outcome: Result<Message, RequestError>) {
        let former = self.slots.borrow_mut().insert(ticket, Slot::Done(outcome));
        if let Some(Slot::Waiting { waker: Some(waker), .. }) = former {
            waker.wake();
        }
    }

    /// Sends the requests whose turn it is.
    fn send_waiting(&self) {
        loop {
            let Some(ticket) = self.requests.borrow_mut().next_to_send() else { return };
            let unsent = match self.slots.borrow_mut().get_mut(&ticket) {
                Some(Slot::Waiting { unsent, .. }) => unsent.take(),
                Some(Slot::Done(_)) | None => None,
            };
            if let Some(Err(error)) = unsent.map(|message| self.send(message)) {
                self.requests.borrow_mut().cancel(ticket);
                self.settle(ticket, Err(error.into()));
            }
        }
    }

    /// A message that did not come through a layer. Who asked is told, in plain; answers end what they answer.
    fn refuse(&self, message: &Message, refused: &Refused) {
        if message.kind.ends_an_exchange() {
            let text = if message.kind.is_error() { lossy(&message.content) } else { refused.to_string() };
            self.settled(message, || Err(RequestError::NotGenuine(text)));
            return;
        }
        match refused {
            Refused::Auth(text) => self.complain(Some(message), Kind::AUTH_ERROR, text),
            Refused::Cipher(_) => self.complain(Some(message), Kind::ERROR, "decryption failed"),
        }
    }

    /// Tells the peer what is wrong. Only what is not found is told in the node's layer: who is told anything else is
    /// not known to be able to read that.
    fn complain(&self, about: Option<&Message>, kind: Kind, text: &str) {
        let found_out = kind == Kind::NOT_FOUND;
        let uri = about.filter(|_| found_out).map_or(Bytes::from_static(b"ERROR"), |about| about.uri.clone());
        let mut complaint = Message::new(kind, uri, text.to_owned());
        if let Some(about) = about {
            repeat_number(about, &mut complaint);
        }
        // A peer whose queue is full learns that from nothing else.
        let _ = if found_out { self.send(complaint) } else { self.send_plain(&complaint) };
    }

    async fn handle(self: Rc<Self>, route: Route, message: Message) {
        let _at_work = AtWork(&self);
        self.answer(&route, message).await;
    }

    async fn handle_in_order(self: Rc<Self>) {
        loop {
            // It stands in the queue until it is answered, so that nobody else begins to work it off.
            let Some((route, message)) = self.in_order.borrow().front().cloned() else { return };
            let at_work = AtWork(&self);
            self.answer(&route, message).await;
            drop(at_work);
            self.in_order.borrow_mut().pop_front();
        }
    }

    async fn answer(self: &Rc<Self>, route: &Route, message: Message) {
        let incoming = Incoming { message: message.clone(), peer: Peer { link: self.clone() } };
        let Ok(answer) = contained(|| route.call(incoming)).await else {
            if !message.kind.ends_an_exchange() {
                self.complain(Some(&message), Kind::ERROR, "the handler failed");
            }
            return;
        };
        let Some(mut answer) = answer else { return };
        repeat_number(&message, &mut answer);
        let sent = route.layer.wrap(&mut answer).map_err(SendError::from).and_then(|()| self.send(answer));
        match sent {
            Ok(()) | Err(SendError::Closed | SendError::Full) => {}
            // It is too long for a message: nobody would learn that.
            Err(error) => self.complain(Some(&message), Kind::ERROR, &error.to_string()),
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

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Lets go of the requests that nobody waits for any more and that the peer did not answer in their time.
    fn expire(&self) {
        let now = self.now();
        loop {
            let Some(ticket) = self.requests.borrow_mut().expire(now) else { break };
            self.settle_if_waiting(ticket, RequestError::TimedOut);
        }
        self.send_waiting();
    }

    fn settle_if_waiting(&self, ticket: Ticket, error: RequestError) {
        if self.slots.borrow().contains_key(&ticket) {
            self.settle(ticket, Err(error));
        }
    }

    fn note_end(&self, end: LinkEnd) {
        let mut noted = self.end.borrow_mut();
        if noted.is_some() {
            return;
        }
        *noted = Some(end.clone());
        drop(noted);
        loop {
            let Some(ticket) = self.requests.borrow_mut().fail() else { return };
            self.settle_if_waiting(ticket, RequestError::Lost(end.clone()));
        }
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

/// The answer to a request; dropped before it has come, it is not waited for any more.
struct Answer {
    link: Rc<Link>,
    ticket: Ticket,
}

impl Future for Answer {
    type Output = Result<Message, RequestError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slots = self.link.slots.borrow_mut();
        match slots.remove(&self.ticket) {
            Some(Slot::Done(outcome)) => Poll::Ready(outcome),
            Some(Slot::Waiting { waker: former, unsent }) => {
                let waker = Some(context.waker().clone());
                slots.insert(self.ticket, Slot::Waiting { waker, unsent });
                drop((slots, former));
                Poll::Pending
            }
            None => panic!("the answer to a request was asked for after it was given"),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.link.requests.borrow_mut().cancel(self.ticket);
        let slot = self.link.slots.borrow_mut().remove(&self.ticket);
        drop(slot);
    }
}

/// The far end of a connection; clones are the same one's.
#[derive(Clone, Debug)]
pub struct Peer {
    pub(super) link: Rc<Link>,
}

impl Peer {
    /// Its address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.link.address
    }

    /// Sends it a message that it did not ask for. The message is queued; it goes out by itself.
    ///
    /// # Errors
    ///
    /// [`SendError`]: the connection is over, the peer reads too slowly, or the message is too long.
    pub fn send(&self, message: Message) -> Result<(), SendError> {
        self.link.send(message)
    }

    /// Has it get what is published under `topic`, until it goes or [`unsubscribe`](Peer::unsubscribe)s; false when it has
    /// 1,024 topics already.
    pub fn subscribe(&self, topic: impl Into<Bytes>) -> bool {
        self.link.node.topics.enter(topic.into(), &self.link)
    }

    /// Ends a subscription; false when there was none.
    pub fn unsubscribe(&self, topic: impl AsRef<[u8]>) -> bool {
        self.link.node.topics.leave(topic.as_ref(), &self.link)
    }

    /// Messages that it was not sent, because it read too slowly.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.link.queue.dropped()
    }

    /// Closes the connection now; what is queued may not go out.
    pub fn disconnect(&self) {
        self.link.finish(LinkEnd::Closed);
    }
}

fn lossy(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// Runs a handler; its panic ends nothing but itself, and has been told by the panic hook.
async fn contained<F: Future>(make: impl FnOnce() -> F) -> Result<F::Output, ()> {
    let mut future = pin!(catch_unwind(AssertUnwindSafe(make)).map_err(|_payload| ())?);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(_payload) => Poll::Ready(Err(())),
    })
    .await
}
