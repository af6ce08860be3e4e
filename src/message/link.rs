//! One connection: a reader, a writer, and the handlers at work.
//!
//! There is one reader, always. What it reads goes to the request that it answers or to a [handler](super::handlers). The
//! writer writes what is queued, all at once where it can. What either waits for, and those who ask, is seen to be over
//! by [one timer](super::deadlines).

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;

use crate::{
    limits::{
        MESSAGE_IDLE_TIMEOUT, MESSAGE_LAST_WORDS, MESSAGE_NOT_SENT_BYTES, MESSAGE_OFFER_TIMEOUT,
        MESSAGE_READ_TURN,
    },
    message::{
        asks::Asks,
        deadlines::Deadlines,
        ending,
        error::{LinkEnd, SendError},
        guard::{Guard, Side},
        handlers::Handlers,
        layer::Layer,
        metrics::count,
        node::Node,
        parting::Voice,
        peer::{End, Peer, Taken},
        queue::{Batch, Purpose, Queue, Rejected, SlowPeer},
        topics::Subscriptions,
    },
    net::{OwnedReadHalf, OwnedWriteHalf, TcpStream},
    proto::message::{Decoder, Kind, Message, Order, Requests, plugins::PluginError},
    task::TaskId,
    time::timeout,
    trace,
    worker::{CancellationToken, Scope, dump::Told, yield_now},
};

pub(super) struct Link {
    pub(super) node: Rc<Node>,
    pub(super) address: SocketAddr,
    pub(super) queue: Queue,
    pub(super) guard: Guard,
    pub(super) asks: Rc<Asks>,
    pub(super) handlers: Handlers,
    pub(super) deadlines: Deadlines,
    pub(super) subscriptions: Subscriptions,
    /// Other messages than answers are taken.
    serves: Cell<bool>,
    /// A message has come, or what was to be one.
    has_heard: Cell<bool>,
    /// Its handlers may publish.
    voice: Cell<Option<Voice>>,
    /// This end has subscribed to something.
    has_subscribed: Cell<bool>,
    /// It ended in order, and nobody had asked for anything.
    was_idle: Cell<bool>,
    /// It has nothing to do but to be told what others publish.
    stays: Cell<bool>,
    /// The time that a server has to end was too short for it.
    is_late: Cell<bool>,
    end: RefCell<Option<LinkEnd>>,
    /// The task that carries it; 0 before there is one.
    task: Cell<u64>,
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
            voice: Cell::new(node.parting.voice()),
            has_heard: Cell::new(false),
            has_subscribed: Cell::new(false),
            was_idle: Cell::new(false),
            stays: Cell::new(false),
            is_late: Cell::new(false),
            node,
            address,
            queue,
            asks: Asks::new(address, Requests::new(Order::AsAsked)),
            handlers: Handlers::new(),
            deadlines: Deadlines::new(),
            subscriptions: Subscriptions::default(),
            serves: Cell::new(true),
            end: RefCell::default(),
            task: Cell::new(0),
            leaving: CancellationToken::new(),
            over: CancellationToken::new(),
        })
    }

    /// Carries the connection to its end. When `stopping` is cancelled, what is being handled is answered first.
    pub(super) async fn run(self: Rc<Self>, stream: TcpStream, stopping: CancellationToken) {
        let mut carried = pin!(self.clone().carry(stream, stopping));
        poll_fn(|context| {
            let polled = carried.as_mut().poll(context);
            if polled.is_pending() {
                self.poll_deadlines(context);
            }
            polled
        })
        .await;
    }

    async fn carry(self: Rc<Self>, stream: TcpStream, stopping: CancellationToken) {
        let _ended = Ended(&self);
        self.task.set(ending::running());
        self.node.be_known();
        // Systems without it count a socket as writable as soon as there is room for a little.
        let _ = stream.set_not_sent_low(MESSAGE_NOT_SENT_BYTES);
        // Who has vanished says nothing, and may be waited for: by a handler, by who has subscribed.
        let _ = stream.set_keepalive(Some(MESSAGE_IDLE_TIMEOUT));
        let (mut reader, writer) = stream.into_split();
        self.handlers.begin();
        let write = Scope::<std::convert::Infallible>::new();
        write.spawn(self.clone().write(writer));
        if self.guard.is_to_offer() {
            self.handlers.spawn(self.clone().agree());
        }
        self.attend(&mut reader, &stopping).await;
        self.handlers.end();
        self.hush();
        self.introduce(Kind::DISCONNECT);
        self.note_end(LinkEnd::Closed);
        self.queue.close();
        if !self.over.is_cancelled() {
            // Whoever stops a server says how long this may take, a peer of which no more is read may read for as long as it
            // likes, and one that takes nothing has its time.
            let is_patient = stopping.is_cancelled() || self.end().is_some_and(|end| end.lets_peer_read());
            let patience = if is_patient { Duration::MAX } else { MESSAGE_LAST_WORDS };
            let _ = timeout(patience, part(&mut reader, write)).await;
        }
    }

    /// Reads, and has what is read handled, until there is nothing to do any more but to send what is queued.
    async fn attend(self: &Rc<Self>, reader: &mut OwnedReadHalf, stopping: &CancellationToken) {
        let has_read = Cell::new(false);
        let mut reading = pin!(async {
            let end = self.read(reader).await;
            // A peer that sends no more, or makes no sense any more, may still read; one that was not agreed with is told nothing.
            let is_refused = matches!(end, LinkEnd::Session(_)) && self.guard.is_to_offer();
            let reads = end.lets_peer_read() && !is_refused;
            if is_refused {
                self.finish(end);
            } else if reads {
                self.note_end(end);
                self.awaits_handlers();
                self.handle_held().await;
            } else {
                // Nobody begins with what is held, nor waits for it.
                self.leave(end);
            }
            has_read.set(true);
            reads
        });
        let stopped = async { stopping.run_until_cancelled(reading.as_mut()).await.unwrap_or(true) };
        let stays = async { self.leaving.run_until_cancelled(stopped).await.unwrap_or(false) };
        let finish = self.over.run_until_cancelled(stays).await.unwrap_or(false);
        self.serves.set(false);
        if !finish || stopping.is_cancelled() {
            self.awaits_nothing();
        }
        if !finish {
            return;
        }
        // Handlers at work may have asked the peer: its answers are read still, and nothing else is taken.
        let quiet = beside(reading.as_mut(), &has_read, self.handlers.at_most(0));
        let quiet = self.leaving.run_until_cancelled(quiet);
        let _ = self.over.run_until_cancelled(quiet).await;
        self.hush();
        if stopping.is_cancelled() && !self.subscriptions.is_empty() {
            self.stays.set(true);
            let mut silence = pin!(self.node.parting.silence());
            // Who has gone is told nothing.
            let told = poll_fn(
                |context| {
                    if has_read.get() { Poll::Ready(()) } else { silence.as_mut().poll(context) }
                },
            );
            let told = self.leaving.run_until_cancelled(beside(reading, &has_read, told));
            let _ = self.over.run_until_cancelled(told).await;
            self.stays.set(false);
        }
    }

    /// Its handlers publish no more.
    fn hush(&self) {
        let voice = self.voice.take();
        drop(voice);
    }

    /// Whether its handlers have been answered, and it waits for those of others.
    pub(super) fn stays(&self) -> bool {
        self.stays.get()
    }

    /// The time that there was is over. What it has to do is aborted, and it ends, but for what these handlers work on; whether
    /// that was anything, once.
    pub(super) fn cut(&self, spared: &[u64]) -> bool {
        if self.stays() {
            return false;
        }
        let (mut is_late, mut is_spared) = (false, false);
        self.handlers.each(|task| {
            let id = task.id().number();
            if spared.contains(&id) {
                is_spared = true;
            } else if self.node.work.is_own(id) {
                task.abort();
                is_late = true;
            }
        });
        if !is_spared {
            self.finish(LinkEnd::Closed);
            is_late = true;
        }
        is_late && !self.is_late.replace(true)
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

    /// Whether it takes other messages than answers.
    pub(super) fn serves(&self) -> bool {
        self.serves.get()
    }

    pub(super) fn is_over(&self) -> bool {
        self.end.borrow().is_some()
    }

    /// How it ended, if it has.
    pub(super) fn end(&self) -> Option<LinkEnd> {
        self.end.borrow().clone()
    }

    /// Whether anything but silence has come.
    pub(super) fn has_heard(&self) -> bool {
        self.has_heard.get()
    }

    /// Ends the connection when what is queued has gone out.
    pub(super) fn retire(&self) {
        self.leave(LinkEnd::Closed);
    }

    /// The same, for this reason unless there was one before.
    pub(super) fn leave(&self, end: LinkEnd) {
        self.note_end(end);
        self.leaving.cancel();
    }

    /// Waits until the connection has ended.
    pub(super) async fn ended(&self) -> LinkEnd {
        self.over.cancelled().await;
        self.end.borrow().clone().unwrap_or(LinkEnd::Closed)
    }

    #[inline]
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
        self.handlers.at_work() as u64
    }

    /// Says in dumps what its tasks are about.
    pub(super) fn tell(&self, told: &mut Told) {
        let address = self.address;
        if self.task.get() != 0 {
            told.works(TaskId::new(self.task.get()), format!("the connection with {address} (message)"));
        }
        self.queue.waits(|waker, what| told.waits(waker, || format!("{what} {address}")));
        self.handlers.tell(address, told);
    }

    /// Queues a message, as it is.
    #[inline]
    pub(super) fn send(&self, message: &Message, purpose: Purpose) -> Result<(), SendError> {
        self.queued(self.queue.put(message, purpose))
    }

    /// Whether another request may be queued; those that wait for that are sent when some have gone out.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.queue.has_room()
    }

    /// Queues a frame that goes to others, too.
    pub(super) fn push(&self, frame: &Bytes) -> Result<(), SendError> {
        self.queued(self.queue.share(frame))
    }

    #[inline]
    fn queued(&self, taken: Result<(), Rejected>) -> Result<(), SendError> {
        match taken {
            Ok(()) => {
                count(&self.node.counts.sent, 1);
                Ok(())
            }
            Err(Rejected::Unfit(error)) => Err(error.into()),
            Err(Rejected::Closed) => Err(SendError::Closed),
            Err(Rejected::Full) => {
                if self.queue.policy() == SlowPeer::Disconnect {
                    self.finish(LinkEnd::SlowReader);
                }
                Err(SendError::Full)
            }
        }
    }

    /// Whether the connection is kept though nothing comes.
    pub(super) fn is_wanted(&self) -> bool {
        let is_awaited = self.asks.is_any() || self.handlers.at_work() > 0;
        is_awaited || !self.subscriptions.is_empty() || self.has_subscribed.get()
    }

    /// Whether nobody has lost anything by its end.
    pub(super) fn was_idle(&self) -> bool {
        self.was_idle.get()
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
            if self.queue.is_room_made() {
                self.peer().send_waiting();
            }
            let written = match &batch {
                Batch::Own(octets, start) => self.write_octets(&mut writer, &octets[*start..]).await,
                Batch::Shared(frames) => self.write_frames(&mut writer, frames).await,
            };
            match written {
                Ok(()) => batch.return_memory(),
                Err(end) => return self.finish(end),
            }
        }
    }

    async fn write_octets(&self, writer: &mut OwnedWriteHalf, mut octets: &[u8]) -> Result<(), LinkEnd> {
        while !octets.is_empty() {
            let written = self.in_time(writer.write(octets)).await?;
            octets = &octets[written..];
        }
        Ok(())
    }

    async fn write_frames(&self, writer: &mut OwnedWriteHalf, frames: &[Bytes]) -> Result<(), LinkEnd> {
        let mut slices: Vec<io::IoSlice<'_>> = frames.iter().map(|frame| io::IoSlice::new(frame)).collect();
        let mut left = &mut slices[..];
        while !left.is_empty() {
            let written = self.in_time(writer.write_vectored(left)).await?;
            io::IoSlice::advance_slices(&mut left, written);
        }
        Ok(())
    }

    /// Waits until something of a write is taken. One that need not wait has no timer, and does not ask for the time.
    async fn in_time(&self, write: impl Future<Output = io::Result<usize>>) -> Result<usize, LinkEnd> {
        let mut write = pin!(write);
        let written = match poll_fn(|context| Poll::Ready(write.as_mut().poll(context))).await {
            Poll::Ready(written) => written,
            Poll::Pending => {
                let waited = timeout(self.node.settings.write_timeout, write).await;
                waited.map_err(|_elapsed| LinkEnd::SlowReader)?
            }
        };
        match written {
            Ok(0) => Err(LinkEnd::io("writing", &io::ErrorKind::WriteZero.into())),
            Ok(written) => Ok(written),
            Err(error) => Err(LinkEnd::io("writing", &error)),
        }
    }

    /// Reads until there is no more to read.
    async fn read(self: &Rc<Self>, reader: &mut OwnedReadHalf) -> LinkEnd {
        let (mut decoder, peer, mut message) = (Decoder::new(self.node.kinds), self.peer(), None);
        loop {
            let mut dealt_with = 0;
            loop {
                if dealt_with == MESSAGE_READ_TURN {
                    dealt_with = 0;
                    yield_now().await;
                }
                dealt_with += 1;
                let polled = decoder.poll_into(&mut message);
                if !matches!(polled, Ok(false)) {
                    self.awaits_nothing();
                    self.has_heard.set(true);
                    if self.is_crowded() {
                        if let Err(error) = self.less_crowded(reader).await {
                            return LinkEnd::io("reading", &error);
                        }
                    }
                }
                let taken = match polled {
                    Ok(true) => {
                        self.note_subscription(message.as_ref());
                        peer.take(&mut message, self.serves.get())
                    }
                    Ok(false) => break,
                    Err(error) => {
                        count(&self.node.counts.malformed, 1);
                        if !error.is_recoverable() {
                            return LinkEnd::Protocol(error);
                        }
                        peer.take_invalid(&mut message)
                    }
                };
                let route = match taken {
                    Taken::None => continue,
                    Taken::Broken(error) => return LinkEnd::Session(*error),
                    Taken::For(route) => Some(route),
                    Taken::Refused => None,
                };
                if self.handlers.is_full() {
                    if let Err(error) = self.handle_later(route, &mut message, reader).await {
                        return LinkEnd::io("reading", &error);
                    }
                } else {
                    self.handle(route, &mut message);
                }
            }
            self.awaits(decoder.is_inside());
            let read = reader.read_with(|octets| {
                decoder.receive(octets);
                octets.len()
            });
            match self.while_held(read).await {
                Ok(0) if decoder.is_inside() => return LinkEnd::CutOff,
                Ok(0) => return LinkEnd::PeerClosed,
                Ok(_) => {}
                Err(error) => return LinkEnd::io("reading", &error),
            }
        }
    }

    fn note_end(&self, end: LinkEnd) {
        let mut noted = self.end.borrow_mut();
        if noted.is_some() {
            return;
        }
        *noted = Some(end.clone());
        drop(noted);
        if end.is_failure() {
            trace::message_connection_failed(&self.address, &end);
        }
        self.guard.settle();
        let was_asked = self.asks.fail_all(&end);
        let is_orderly = matches!(end, LinkEnd::Idle | LinkEnd::PeerClosed);
        self.was_idle.set(is_orderly && !was_asked && !self.has_subscribed.get());
    }

    /// Notes that the peer has confirmed a subscription of this end's.
    #[inline]
    fn note_subscription(&self, message: Option<&Message>) {
        if message.is_some_and(|message| message.kind == Kind::CONFIRM_SUBSCRIBE) && self.guard.asks() {
            self.has_subscribed.set(true);
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = out.debug_struct("Link");
        debug.field("address", &self.address).field("queue", &self.queue);
        debug.field("handlers", &self.handlers).field("end", &self.end.borrow()).finish_non_exhaustive()
    }
}

/// The connection is over when this is dropped, in whatever way.
struct Ended<'l>(&'l Rc<Link>);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.finish(LinkEnd::Closed);
        self.0.queue.close();
        self.0.handlers.end();
        self.0.hush();
    }
}

/// Waits for `what`, and meanwhile reads on until there is no more to read.
async fn beside<T>(
    mut reading: Pin<&mut impl Future>,
    has_read: &Cell<bool>,
    what: impl Future<Output = T>,
) -> T {
    let mut what = pin!(what);
    poll_fn(|context| {
        if !has_read.get() {
            let _ = reading.as_mut().poll(context);
        }
        what.as_mut().poll(context)
    })
    .await
}

/// Has what is queued go out, and the peer read it: a socket that is closed with something unread takes back what is still
/// on its way (RFC 1122 §4.2.2.13). So what comes is read and forgotten, and while something comes the socket stays open for a
/// while.
async fn part(reader: &mut OwnedReadHalf, write: Scope) {
    let (has_read, has_come) = (Cell::new(false), Cell::new(false));
    let mut forgetting = pin!(async {
        while matches!(reader.read_with(<[u8]>::len).await, Ok(octets) if octets > 0) {
            has_come.set(true);
        }
        has_read.set(true);
    });
    // The peer sees the end behind that.
    let _ = beside(forgetting.as_mut(), &has_read, write.join()).await;
    has_come.set(false);
    beside(forgetting.as_mut(), &has_read, async {}).await;
    if has_come.get() && !has_read.get() {
        let _ = timeout(MESSAGE_LAST_WORDS, forgetting).await;
    }
}
