//! The far end, whatever it is reached by: what is said to it, and what becomes of what it says.

use std::{
    cell::Cell,
    fmt,
    future::{Future, poll_fn},
    hash::{Hash, Hasher},
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    rc::{Rc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;

use crate::{
    clock::nanos,
    limits::MESSAGE_REPEATED_URI,
    message::{
        asks::{Answer, Asks},
        ending::Subject,
        error::{LinkEnd, RequestError, SendError},
        guard::{Accepted, Guard},
        late::{Late, Waited},
        layer::{Layer, Refused},
        link::Link,
        metrics::count,
        node::Node,
        peers::PeerRecord,
        routes::{Answering, Called, Route},
        topics::Subscriptions,
        udp::Far,
    },
    proto::message::{
        Asked, Begun, Channel, Kind, Message, Offer, Ticket, Value, is_answer, plugins::PluginError,
        repeat_number,
    },
    time::timeout,
    worker::timer::{Timer, now, turn_time},
};

/// What a message is answered with that cannot be, in the words of the protocol's first implementation.
pub(super) const INVALID: &str = "invalid message";

/// The far end of a connection, or an address that datagrams go to; clones are the same one's.
///
/// # Examples
///
/// A handler that asks back before it answers:
///
/// ```
/// use wakering::message::{Builder, Incoming, Kind};
///
/// let builder = Builder::new().on((Kind::REQUEST_URI, "who am i"), |incoming: Incoming| async move {
///     let name = incoming.peer.request(Kind::REQUEST_URI, "name", "").await.ok()?;
///     Some(incoming.answer(Kind::RESPOND_URI, name.content))
/// });
/// # drop(builder);
/// ```
#[derive(Clone)]
pub struct Peer {
    pub(super) end: End,
    layer: Layer,
    patience: Duration,
}

/// What it is reached by.
#[derive(Clone)]
pub(super) enum End {
    Link(Rc<Link>),
    Far(Rc<Far>),
}

impl End {
    pub(super) fn address(&self) -> SocketAddr {
        match self {
            End::Link(link) => link.address,
            End::Far(far) => far.address,
        }
    }

    pub(super) fn is(&self, other: &End) -> bool {
        match (self, other) {
            (End::Link(one), End::Link(other)) => Rc::ptr_eq(one, other),
            (End::Far(one), End::Far(other)) => one.address == other.address,
            (End::Link(_), End::Far(_)) | (End::Far(_), End::Link(_)) => false,
        }
    }

    pub(super) fn subscriptions(&self) -> &Subscriptions {
        match self {
            End::Link(link) => &link.subscriptions,
            End::Far(far) => &far.subscriptions,
        }
    }

    #[inline]
    pub(super) fn guard(&self) -> &Guard {
        match self {
            End::Link(link) => &link.guard,
            End::Far(far) => &far.guard,
        }
    }

    pub(super) fn push(&self, frame: &Bytes) -> Result<(), SendError> {
        match self {
            End::Link(link) => link.push(frame),
            End::Far(far) => {
                far.air.push(far.address, frame.clone())?;
                count(&far.air.node.counts.sent, 1);
                Ok(())
            }
        }
    }
}

impl Peer {
    #[inline]
    pub(super) fn new(end: End) -> Peer {
        let node = match &end {
            End::Link(link) => &link.node,
            End::Far(far) => &far.air.node,
        };
        let patience = node.settings.request_timeout;
        Peer { end, layer: Layer::new(), patience }
    }

    pub(super) fn far(far: Rc<Far>) -> Peer {
        Peer::new(End::Far(far))
    }

    /// The same peer: what is sent to it, and asked of it, is within an inner layer.
    #[must_use]
    pub fn within(mut self, layer: Layer) -> Peer {
        self.layer = layer;
        self
    }

    /// The same peer, with another patience for answers than [`Builder::request_timeout`](super::Builder::request_timeout).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Peer {
        self.patience = timeout;
        self
    }

    /// Its address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.end.address()
    }

    /// What it has said of itself, if it has: see [`Builder::introduce`](super::Builder::introduce).
    #[must_use]
    pub fn record(&self) -> Option<PeerRecord> {
        self.node().peers.at(self.addr())
    }

    /// Whether what is said to it is sealed in a [`Session`](super::Session).
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.guard().is_sealed()
    }

    /// Waits until it is known how to speak to it, and says whether that is in a [`Session`](super::Session). At an address one
    /// is made, if the node has them and there is none; a request does that by itself, and [`send`](Peer::send) does not.
    ///
    /// # Errors
    ///
    /// [`RequestError`]: it has another secret, or none and a session is required; nobody is there.
    ///
    /// # Cancellation
    ///
    /// The session that is being made is given up.
    pub async fn agree(&self) -> Result<bool, RequestError> {
        match &self.end {
            End::Link(link) => {
                link.guard.agreed().await;
                link.end().map_or(Ok(()), |end| Err(RequestError::after(end)))?;
            }
            End::Far(far) => {
                let agreed = timeout(self.patience, far.agree()).await;
                agreed.unwrap_or(Err(RequestError::TimedOut))?;
            }
        }
        Ok(self.is_sealed())
    }

    /// Sends it a message that it did not ask for. On a connection the message is queued, and goes out by itself; a datagram
    /// goes out at once, or when the system takes it, and nobody learns whether it comes.
    ///
    /// # Errors
    ///
    /// [`SendError`]: the connection or the node is over, the peer reads too slowly, or the message is too long.
    pub fn send(&self, mut message: Message) -> Result<(), SendError> {
        self.wrap_in(&self.layer, &mut message)?;
        self.send_outer(&mut message)
    }

    /// Asks, and waits for the answer, whatever its type is: NOT_FOUND is an answer, too.
    ///
    /// # Errors
    ///
    /// [`RequestError`]: no answer in time, the connection is over, or an answer that is not the peer's.
    ///
    /// # Cancellation
    ///
    /// The request is given up; it may have been sent. Its answer goes to nobody.
    pub async fn request(
        &self,
        kind: Kind,
        uri: impl Into<Bytes>,
        content: impl Into<Bytes>,
    ) -> Result<Message, RequestError> {
        let message = Message::new(kind, uri, content);
        let uri = message.uri.clone();
        let (waited, asked) = (Cell::new(Waited::Answer), self.ask(message, &self.layer, self.patience));
        let answered = match &self.end {
            End::Far(far) if far.guard.wants_session() => {
                waited.set(Waited::Connection);
                let agreed = async {
                    far.agree().await?;
                    waited.set(Waited::Answer);
                    asked.await
                };
                timeout(self.patience, agreed).await.unwrap_or(Err(RequestError::TimedOut))
            }
            End::Link(_) | End::Far(_) => asked.await,
        };
        answered.inspect_err(|error| {
            let lateness = &self.node().lateness;
            if error.is_timeout() && lateness.is_heard() {
                let (address, waited, patience, error) =
                    (self.addr(), waited.get(), self.patience, error.clone());
                lateness.tell(Late {
                    remote: None,
                    address,
                    waited,
                    error,
                    kind,
                    uri,
                    patience,
                    link: Weak::new(),
                });
            }
        })
    }

    /// Has it get what is published under `topic`, until it goes or [`unsubscribe`](Peer::unsubscribe)s; false when there is
    /// no room for that: it has 1,024 topics already, or 64 KiB of them.
    ///
    /// Without a connection nobody learns that it has gone. Its subscriptions end when nothing was heard from its address for
    /// a day, or when others want the room and it was heard from longest ago: so a subscriber subscribes anew from time to
    /// time, which is as good as anything else that it says.
    pub fn subscribe(&self, topic: impl Into<Bytes>) -> bool {
        match &self.end {
            // Nothing would end the subscription of one that is over.
            End::Link(link) => !link.is_over() && self.node().topics.enter(&topic.into(), &self.end),
            End::Far(far) => far.air.subscribe(far, &topic.into()),
        }
    }

    /// Ends a subscription; false when there was none.
    pub fn unsubscribe(&self, topic: impl AsRef<[u8]>) -> bool {
        match &self.end {
            End::Link(_) => self.node().topics.leave(topic.as_ref(), &self.end),
            End::Far(far) => far.air.unsubscribe(far.address, topic.as_ref()),
        }
    }

    /// Messages that it was not sent, because it read too slowly.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        match &self.end {
            End::Link(link) => link.dropped(),
            End::Far(_) => 0,
        }
    }

    /// Closes the connection now; what is queued may not go out. Without a connection its subscriptions end, and what was
    /// asked of it.
    pub fn disconnect(&self) {
        match &self.end {
            End::Link(link) => link.finish(LinkEnd::Closed),
            End::Far(far) => {
                far.air.unsubscribe_all(far.address);
                far.asks.fail_all(&LinkEnd::Closed);
            }
        }
    }

    #[inline]
    pub(super) fn node(&self) -> &Rc<Node> {
        match &self.end {
            End::Link(link) => &link.node,
            End::Far(far) => &far.air.node,
        }
    }

    /// What it has said of itself, if it has.
    #[inline]
    pub(super) fn said(&self) -> Option<Rc<Value>> {
        let peers = &self.node().peers;
        if peers.is_empty() { None } else { peers.said(self.addr()) }
    }

    pub(super) fn guard(&self) -> &Guard {
        self.end.guard()
    }

    #[inline]
    fn asks(&self) -> &Rc<Asks> {
        match &self.end {
            End::Link(link) => &link.asks,
            End::Far(far) => &far.asks,
        }
    }

    /// Its connection, if it has one.
    pub(super) fn link(&self) -> Weak<Link> {
        match &self.end {
            End::Link(link) => Rc::downgrade(link),
            End::Far(_) => Weak::new(),
        }
    }

    /// How it ended, if it has.
    #[inline]
    fn over(&self) -> Option<LinkEnd> {
        match &self.end {
            End::Link(link) if !link.is_over() => None,
            End::Link(link) => link.end(),
            End::Far(far) => far.air.is_over().then_some(LinkEnd::Closed),
        }
    }

    /// Sends a message, in the node's layer alone.
    #[inline]
    fn send_outer(&self, message: &mut Message) -> Result<(), SendError> {
        self.guard().wrap(message, self.said().as_deref())?;
        self.send_plain(message)
    }

    /// Sends a message as it is.
    #[inline]
    fn send_plain(&self, message: &Message) -> Result<(), SendError> {
        match &self.end {
            End::Link(link) => link.send(message),
            End::Far(_) => self.end.push(&message.to_octets()?.into()),
        }
    }

    /// Asks, and waits for the answer, in an inner layer.
    pub(super) async fn ask(
        &self,
        mut message: Message,
        inner: &Layer,
        patience: Duration,
    ) -> Result<Message, RequestError> {
        let answer = self.begin(&mut message, inner, patience);
        let mut answered = match &self.end {
            End::Link(_) => answer.await,
            End::Far(_) => self.outwait(answer).await,
        };
        self.finish(inner, &mut answered);
        answered
    }

    /// Begins to ask: what there is to be done before an answer is waited for. Who waits for it is to [`finish`](Peer::finish)
    /// it. What keeps the request from being sent is the answer.
    pub(super) fn begin(&self, message: &mut Message, inner: &Layer, patience: Duration) -> Answer {
        match self.try_begin(message, inner, patience) {
            Ok(ticket) => self.asks().answer(ticket),
            Err(error) => self.asks().failed(error),
        }
    }

    #[inline]
    fn try_begin(
        &self,
        message: &mut Message,
        inner: &Layer,
        patience: Duration,
    ) -> Result<Ticket, RequestError> {
        if let Some(end) = self.over() {
            return Err(RequestError::after(end));
        }
        let now = match &self.end {
            End::Link(link) => link.asks.count_from(),
            End::Far(_) => now(),
        };
        self.expire(now);
        count(&self.node().counts.requests, 1);
        let deadline = now.saturating_add(nanos(patience));
        let begun = self.asks().begin(message, deadline)?;
        let (Begun::Now(ticket) | Begun::Later(ticket)) = begun;
        let mut sent = self.wrap_in(inner, message);
        if sent.is_ok() {
            match begun {
                Begun::Now(_) => sent = self.send_outer(message),
                Begun::Later(_) => {
                    let kept = std::mem::replace(message, Message::new(message.kind, "", ""));
                    self.asks().keep(ticket, kept);
                }
            }
        }
        if let Err(error) = sent {
            self.asks().withdraw(ticket);
            self.send_waiting();
            return Err(error.into());
        }
        if let End::Link(link) = &self.end {
            link.look_at(deadline);
        }
        Ok(ticket)
    }

    /// Makes an answer readable that is within an inner layer; counts those that were late.
    #[inline]
    pub(super) fn finish(&self, inner: &Layer, answered: &mut Result<Message, RequestError>) {
        match answered {
            Ok(_) if inner.is_empty() => {}
            Ok(answer) => {
                if let Err(refused) = self.guard().unwrap_in(inner, answer, self.said().as_deref()) {
                    *answered = Err(RequestError::NotGenuine(refused.to_string()));
                }
            }
            Err(error) => count(&self.node().counts.timeouts, u64::from(error.is_timeout())),
        }
    }

    /// Wraps a message that is sent in an inner layer.
    #[inline]
    fn wrap_in(&self, layer: &Layer, message: &mut Message) -> Result<(), SendError> {
        if layer.is_empty() {
            return Ok(());
        }
        Ok(self.guard().wrap_in(layer, message, self.said().as_deref())?)
    }

    /// Waits for an answer where nobody else sees that time is over: its own, or that of the requests before it.
    async fn outwait(&self, answer: Answer) -> Result<Message, RequestError> {
        let (mut answer, mut timer) = (pin!(answer), Timer::at(self.asks().due()));
        poll_fn(|context| {
            loop {
                if let Poll::Ready(outcome) = answer.as_mut().poll(context) {
                    return Poll::Ready(outcome);
                }
                if timer.poll_elapsed(context).is_pending() {
                    return Poll::Pending;
                }
                self.expire(turn_time());
                timer.set_deadline(self.asks().due());
            }
        })
        .await
    }

    /// Lets go of the requests that were not answered in their time, and sends those that waited for them.
    #[inline]
    pub(super) fn expire(&self, now: u64) {
        if self.asks().due() <= now {
            self.asks().expire(now);
            self.send_waiting();
        }
    }

    /// Sends the requests whose turn it is.
    #[inline]
    fn send_waiting(&self) {
        if self.asks().is_any_waiting() {
            self.send_those_that_waited();
        }
    }

    fn send_those_that_waited(&self) {
        while let Some((ticket, mut message)) = self.asks().next_to_send() {
            if let Err(error) = self.send_outer(&mut message) {
                self.asks().fail(ticket, error.into());
            }
        }
    }

    /// Ends a request with an error, if anybody waits for it; its turn is over.
    fn settle(&self, answered: Option<Ticket>, error: RequestError) {
        if let Some(ticket) = answered {
            self.asks().settle(ticket, error);
        }
        self.send_waiting();
    }

    /// Gives a message to the request that it answers; else says which handler it is for, if any is, and leaves it there. When the node `serves`
    /// no more, only answers are taken.
    pub(super) fn take(&self, taken: &mut Option<Message>, serves: bool) -> Option<Rc<Route>> {
        let message = taken.as_mut()?;
        count(&self.node().counts.received, 1);
        let said = self.said();
        if self.is_offer(message) {
            return None;
        }
        if matches!(self.end, End::Far(_)) && Offer::is_accepted_by(message) && !self.asks().awaits(message) {
            // Whether it is right is costly to know.
            count(&self.node().counts.refused, 1);
            return None;
        }
        if let Err(refused) = self.guard().unwrap(message, said.as_deref()) {
            self.refuse(message, &refused);
            return None;
        }
        if let End::Far(far) = &self.end {
            far.hear();
        }
        if let Some(answered) = self.asks().answered(message) {
            if let Some(ticket) = answered {
                self.asks().give(ticket, taken);
            }
            self.send_waiting();
            return None;
        }
        if !serves {
            return None;
        }
        if !self.node().peers.is_empty() {
            self.node().peers.heard(self.addr());
        }
        if self.node().peers.own.is_some() {
            if let Some(answer) = self.node().peers.take(message, self.addr()) {
                let gone = self.node().peers.take_gone();
                if let End::Far(far) = &self.end {
                    gone.iter().for_each(|address| far.air.unsubscribe_all(*address));
                }
                self.introduce(message, answer);
                return None;
            }
        }
        let Some(route) = self.node().routes.find(message, self.addr()) else {
            if self.node().answers_unknown && may_be_answered(message) {
                self.complain(Some(message), Kind::NOT_FOUND, "not found");
            }
            return None;
        };
        if let Err(refused) = self.guard().unwrap_in(&route.layer, message, said.as_deref()) {
            self.refuse(message, &refused);
            return None;
        }
        self.node().routes.spend(&route);
        Some(route)
    }

    /// Whether a message offers a session; it is answered then.
    fn is_offer(&self, message: &Message) -> bool {
        match self.guard().accept(message) {
            Accepted::None => return false,
            Accepted::Ignored => {}
            Accepted::Refused(error) => {
                count(&self.node().counts.refused, 1);
                self.complain_in_plain(message, &error.to_string());
            }
            // A peer whose queue is full before it has asked for anything gets nothing else either; and a session with an
            // address that there is no room for is forgotten at once.
            Accepted::Now(answer) if self.is_kept() => _ = self.send_plain(&answer),
            Accepted::Now(_) => {}
        }
        true
    }

    /// Whether what is known of it is kept.
    fn is_kept(&self) -> bool {
        match &self.end {
            End::Link(_) => true,
            End::Far(far) => far.air.keep(far),
        }
    }

    /// Answers an introduction.
    fn introduce(&self, message: &Message, answer: Option<Message>) {
        let Some(mut answer) = answer else { return };
        // Somebody else's address may have been given.
        if matches!(&self.end, End::Far(far) if !far.air.may_complain(far.address)) {
            return;
        }
        repeat_number(message, &mut answer);
        let _ = self.send_outer(&mut answer);
    }

    /// A message that did not come through a layer. Who asked is told, in plain; answers end what they answer.
    fn refuse(&self, message: &Message, refused: &Refused) {
        count(&self.node().counts.refused, 1);
        if let Refused::Seal(error) = refused {
            return match &self.end {
                End::Link(link) => link.finish(LinkEnd::Session(*error)),
                End::Far(_) => self.refuse_datagram(message, *error),
            };
        }
        if !may_be_answered(message) {
            if let Some(answered) = self.asks().answered(message) {
                let is_error = message.kind.is_error();
                let text = if is_error { lossy(&message.content) } else { refused.to_string() };
                self.settle(answered, RequestError::NotGenuine(text));
            }
            return;
        }
        match refused {
            Refused::Auth(text) => self.complain(Some(message), Kind::AUTH_ERROR, text),
            Refused::Cipher(_) | Refused::Seal(_) => {
                self.complain(Some(message), Kind::ERROR, "decryption failed");
            }
        }
    }

    /// A datagram that is in no session that is known here, though there is one, or is said to be one.
    fn refuse_datagram(&self, message: &Message, error: PluginError) {
        let is_plain = !Channel::is_sealed(message);
        if is_plain && message.kind == Kind::AUTH_ERROR && is_answer(message) {
            // The peer has forgotten the session, it says. Only who was asked knows the number.
            if let Some(answered) = self.asks().answered(message) {
                self.guard().note_stale();
                self.settle(answered, RequestError::NotGenuine(lossy(&message.content)));
            }
            return;
        }
        // Others come a second time, or somebody has changed them on their way, and may have done so to copies.
        let is_news = matches!(error, PluginError::NoSession | PluginError::Late(_));
        if is_news && may_be_answered(message) {
            self.complain_in_plain(message, &error.to_string());
        }
    }

    /// Tells who sent a datagram, and may not be able to read anything else, why it was refused.
    fn complain_in_plain(&self, about: &Message, text: &str) {
        if let Some(complaint) = self.complaint(Some(about), Kind::AUTH_ERROR, text) {
            let _ = self.send_plain(&complaint);
        }
    }

    /// Tells the peer what is wrong. Only what is not found is told in the node's layer: who is told anything else is
    /// not known to be able to read that.
    pub(super) fn complain(&self, about: Option<&Message>, kind: Kind, text: &str) {
        let Some(mut complaint) = self.complaint(about, kind, text) else { return };
        // A peer whose queue is full learns that from nothing else.
        let _ = if kind == Kind::NOT_FOUND || self.guard().is_sealed() {
            self.send_outer(&mut complaint)
        } else {
            self.send_plain(&complaint)
        };
    }

    /// What the peer is told, unless it was told too much of late.
    fn complaint(&self, about: Option<&Message>, kind: Kind, text: &str) -> Option<Message> {
        if matches!(&self.end, End::Far(far) if !far.air.may_complain(far.address)) {
            return None;
        }
        let found_out = kind == Kind::NOT_FOUND;
        // One that leaves no room for anything else is not repeated.
        let about_uri = about.filter(|about| found_out && about.uri.len() <= MESSAGE_REPEATED_URI);
        let uri = about_uri.map_or(Bytes::from_static(b"ERROR"), |about| about.uri.clone());
        let mut complaint = Message::new(kind, uri, text.to_owned());
        if let Some(about) = about {
            repeat_number(about, &mut complaint);
        }
        Some(complaint)
    }

    /// Has a handler deal with a message, and sends what it answers.
    pub(super) async fn answer(&self, route: Rc<Route>, message: &mut Option<Message>) {
        let mut at_work = self.node().work.begin();
        let called = poll_fn(|context| Poll::Ready(self.call(&route, message, context)));
        if let Some(handling) = called.await {
            at_work.waits(handling.subject(self.addr()));
            self.answer_late(handling).await;
        }
    }

    /// Calls a handler with a message, which is taken away, and sends what it answers; unless it waits for something.
    pub(super) fn call(
        &self,
        route: &Rc<Route>,
        message: &mut Option<Message>,
        context: &mut Context<'_>,
    ) -> Option<Handling> {
        let called = message.as_ref()?;
        let (asked, is_noted, mut answer) = (Asked::of(called), route.note(called), None);
        match route.call(message, self, context, &mut answer) {
            Called::Done => {
                if is_noted {
                    route.note_calm();
                }
                if let Some(answer) = &mut answer {
                    self.reply(route, asked, answer);
                }
            }
            Called::Waits(answering) => return Some(Handling { route: route.clone(), asked, answering }),
            Called::Panicked => {
                if is_noted {
                    route.note_calm();
                }
                self.fail(asked, "the handler failed");
            }
        }
        None
    }

    /// Waits for a handler, and sends what it answers.
    pub(super) async fn answer_late(&self, handling: Handling) {
        let Handling { route, asked, answering } = handling;
        match contained(|| answering).await {
            Ok(Some(mut answer)) => self.reply(&route, asked, &mut answer),
            Ok(None) => {}
            Err(()) => self.fail(asked, "the handler failed"),
        }
    }

    /// Sends what a handler answers.
    fn reply(&self, route: &Route, asked: Asked, answer: &mut Message) {
        if route.is_default && !(asked.may_be_answered() && answer.kind.ends_an_exchange()) {
            return;
        }
        asked.repeat_number(answer);
        match self.wrap_in(&route.layer, answer).and_then(|()| self.send_outer(answer)) {
            Ok(()) | Err(SendError::Closed | SendError::Full) => {}
            // It is too long for a message: nobody would learn that.
            Err(error) => self.fail(asked, &error.to_string()),
        }
    }

    /// Tells who asked that there will be no answer.
    fn fail(&self, asked: Asked, text: &str) {
        if asked.may_be_answered() {
            self.complain(Some(&asked.message()), Kind::ERROR, text);
        }
    }
}

/// A handler that waits for something, and what it was called for.
pub(super) struct Handling {
    route: Rc<Route>,
    asked: Asked,
    answering: Answering,
}

impl Handling {
    /// What it is called for, by whom; to be asked as soon as it waits.
    pub(super) fn subject(&self, from: SocketAddr) -> Subject {
        Subject { kind: self.asked.kind(), uri: self.route.note_wait(), from }
    }
}

/// Whether a message may be answered without its handler wanting it: who answers answers never stops.
fn may_be_answered(message: &Message) -> bool {
    !message.kind.ends_an_exchange() && !is_answer(message)
}

fn lossy(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// Runs a handler; its panic ends nothing but itself, and has been told by the panic hook.
pub(super) async fn contained<F: Future>(make: impl FnOnce() -> F) -> Result<F::Output, ()> {
    let mut future = pin!(catch_unwind(AssertUnwindSafe(make)).map_err(|_payload| ())?);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(_payload) => Poll::Ready(Err(())),
    })
    .await
}

/// Those are one that are reached by the same connection, or at the same address by datagrams.
impl PartialEq for Peer {
    fn eq(&self, other: &Peer) -> bool {
        self.end.is(&other.end)
    }
}

impl Eq for Peer {}

impl Hash for Peer {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.addr().hash(state);
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.end {
            End::Link(link) => fmt::Debug::fmt(link, out),
            End::Far(far) => fmt::Debug::fmt(far, out),
        }
    }
}
