//! Asking one peer, or many.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    ptr,
    rc::{Rc, Weak},
    time::Duration,
};

use bytes::Bytes;

use crate::{
    clock::nanos,
    limits::{MESSAGE_RECONNECT_LEAST, MESSAGE_RECONNECT_MOST},
    message::{
        error::{LinkEnd, RequestError},
        guard::Side,
        late::{Late, Waited, in_time},
        layer::Layer,
        link::Link,
        metrics::Metrics,
        node::{Node, Released},
        peer::Peer,
        peers::PeerRecord,
        routes::{Incoming, Key, Route},
    },
    net::{Addresses, TcpStream},
    proto::message::{Kind, Message},
    task::JoinHandle,
    time::{sleep, timeout},
    worker::{self, CancellationToken, dump, timer::turn_time},
};

/// A client of any number of servers; made by [`Builder::client`](crate::message::Builder::client).
///
/// Its handlers get what servers send without being asked, and answer it. Dropping it changes nothing for the connections
/// that it has made. Handlers that hold their own client, or a [`Remote`] of it, keep it in memory until it is
/// [closed](Client::close).
#[derive(Clone, Debug)]
pub struct Client {
    node: Rc<Node>,
    closed: CancellationToken,
}

/// How a lost connection is made again: with pauses that double, up to a bound, and a little of chance in them, so that not
/// everybody comes back at once.
///
/// A connection that ends before its pause is over, counted from when it was made, or before a message has come on it, is a
/// failure, too: the next one waits for what is left of that pause, and the pauses go on doubling until a connection lasts longer
/// and brings something.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reconnect {
    /// Attempts, of which the first is made at once; `None` for as many as it takes.
    pub attempts: Option<u32>,
    /// How long one attempt may take.
    pub connect_timeout: Duration,
    /// The pause after the first that failed.
    pub least_pause: Duration,
    /// The longest pause.
    pub most_pause: Duration,
}

impl Default for Reconnect {
    /// As many attempts as it takes, of 5 s at most, with pauses from 50 ms to 5 s.
    fn default() -> Reconnect {
        Reconnect {
            attempts: None,
            connect_timeout: Duration::from_secs(5),
            least_pause: MESSAGE_RECONNECT_LEAST,
            most_pause: MESSAGE_RECONNECT_MOST,
        }
    }
}

impl Client {
    pub(super) fn new(node: Rc<Node>) -> Client {
        Client { node, closed: CancellationToken::new() }
    }

    /// What it has done, and what it holds.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        Metrics::of(&self.node)
    }

    /// Adds a handler, in the place of one that was there for the same; see
    /// [`Builder::on`](crate::message::Builder::on).
    pub fn on<H, F>(&self, key: impl Into<Key>, handler: H)
    where
        H: Fn(Incoming) -> F + 'static,
        F: Future<Output = Option<Message>> + 'static,
    {
        self.node.routes.add(key.into(), Route::new(Layer::new(), handler));
    }

    /// Adds a handler for one message; see [`Builder::once`](crate::message::Builder::once).
    pub fn once<H, F>(&self, key: impl Into<Key>, handler: H)
    where
        H: Fn(Incoming) -> F + 'static,
        F: Future<Output = Option<Message>> + 'static,
    {
        self.node.routes.add_once(key.into(), Route::new(Layer::new(), handler));
    }

    /// Takes the handlers for `key` away, of one message and of all; false when there was none.
    pub fn remove(&self, key: impl Into<Key>) -> bool {
        self.node.routes.remove(&key.into())
    }

    /// Has `handler` deal with late requests, in the place of another; see
    /// [`Builder::on_timeout`](crate::message::Builder::on_timeout).
    pub fn on_timeout<H, F>(&self, handler: H)
    where
        H: Fn(Late) -> F + 'static,
        F: Future<Output = ()> + 'static,
    {
        self.node.lateness.set(handler);
    }

    /// Closes all its connections, and makes none any more: what is queued goes out first, for a second at most. Requests
    /// that wait get an error. Handlers of late requests that are at work are dropped before this returns, and then all
    /// handlers, with what they hold.
    pub async fn close(&self) {
        self.closed.cancel();
        let _released = Released(&self.node);
        // Before anything is waited for: who gives that up has closed them all the same.
        let links = self.node.links();
        links.iter().for_each(|link| link.retire());
        self.node.lateness.end().await;
        for link in links {
            link.ended().await;
        }
    }

    /// Connects to a server.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::connect`].
    ///
    /// # Cancellation
    ///
    /// The connection that was being made is closed.
    pub async fn connect(&self, addresses: impl Addresses) -> io::Result<Remote> {
        let connected = self.closed.run_until_cancelled(TcpStream::connect(addresses)).await;
        // It may have been closed when the connection had just been made.
        let stream = connected.filter(|_| !self.closed.is_cancelled()).unwrap_or_else(|| Err(closed()))?;
        let remote = self.remote(stream.peer_addr()?);
        remote.inner.adopt(stream);
        Ok(remote)
    }

    /// Which servers have introduced themselves; see [`Builder::introduce`](super::Builder::introduce).
    #[must_use]
    pub fn known_peers(&self) -> Vec<PeerRecord> {
        self.node.peers.all()
    }

    /// A server that is connected to when it is first asked for something.
    #[must_use]
    pub fn remote(&self, address: SocketAddr) -> Remote {
        let inner = Rc::new(Inner {
            node: self.node.clone(),
            address,
            link: RefCell::default(),
            connecting: Cell::new(None),
            rest: Cell::default(),
            connect_error: RefCell::default(),
            closed: self.closed.child_token(),
        });
        Remote { inner, layer: Layer::new(), patience: self.node.settings.request_timeout }
    }
}

/// A server, as its client sees it; clones share one connection.
///
/// Any number of requests may be under way: each gets its own answer, or its own error. When the last clone is dropped, the
/// connection is closed.
#[derive(Clone)]
pub struct Remote {
    inner: Rc<Inner>,
    layer: Layer,
    patience: Duration,
}

struct Inner {
    node: Rc<Node>,
    address: SocketAddr,
    link: RefCell<Option<Connected>>,
    /// Somebody makes a connection now; the others wait for the token.
    connecting: Cell<Option<CancellationToken>>,
    rest: Cell<Rest>,
    /// Why the last attempt to connect failed.
    connect_error: RefCell<Option<Rc<io::Error>>>,
    /// Cancelled with the client, or alone.
    closed: CancellationToken,
}

/// What lies between the connection that there is and the next.
#[derive(Clone, Copy, Default)]
struct Rest {
    pause: Duration,
    /// When the next one may be made, on the worker's clock.
    until: u64,
}

/// When the first attempt to connect is made.
#[derive(Clone, Copy)]
enum Begin {
    AtOnce,
    /// As the connections before say.
    Paused,
}

struct Connected {
    link: Rc<Link>,
    task: JoinHandle<()>,
    /// When it ended, on the worker's clock; `u64::MAX` before that.
    ended: Rc<Cell<u64>>,
}

impl Remote {
    /// The same server, its requests within an inner layer.
    #[must_use]
    pub fn within(mut self, layer: Layer) -> Remote {
        self.layer = layer;
        self
    }

    /// The same server, with another patience for answers than [`Builder::request_timeout`](super::Builder::request_timeout).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Remote {
        self.patience = timeout;
        self
    }

    /// Where the server is.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.inner.address
    }

    /// Asks, and waits for the answer, whatever its type is: NOT_FOUND is an answer, too.
    ///
    /// # Errors
    ///
    /// [`RequestError`]: no answer in time, no connection, or an answer that is not the server's.
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
        // What is asked on a connection has its time there.
        let Some(link) = self.inner.agreed() else {
            return self.connect_and_ask(Message::new(kind, uri, content)).await;
        };
        let peer = link.peer();
        let about: Bytes;
        let answer = {
            let mut message = Message::new(kind, uri, content);
            about = message.uri.clone();
            peer.begin(&mut message, &self.layer, self.patience)
        };
        let mut answered = answer.await;
        peer.finish(&self.layer, &mut answered);
        if let Err(error) = &answered {
            self.note_late(error, Waited::behind_connection(error), (kind, about), peer.link());
        }
        answered
    }

    /// The same where a connection is to be made first, or a session.
    async fn connect_and_ask(&self, message: Message) -> Result<Message, RequestError> {
        let about = (message.kind, message.uri.clone());
        let (peer, left) = match in_time(self.patience, self.agreed()).await {
            Ok(ready) => ready,
            Err(error) => {
                self.inner.node.counts.note_unsent(&error);
                self.note_late(&error, Waited::Connection, about, Weak::new());
                return Err(error);
            }
        };
        let answered = peer.ask(message, &self.layer, left).await;
        answered.inspect_err(|error| {
            self.note_late(error, Waited::behind_connection(error), about, peer.link());
        })
    }

    /// The server, when it is known how to speak to it.
    async fn agreed(&self) -> Result<Peer, RequestError> {
        let peer = self.inner.link().await?.peer();
        peer.guard().agreed().await;
        Ok(peer)
    }

    /// Has who wants to know of late requests know of this one, if it was late.
    #[cold]
    fn note_late(&self, error: &RequestError, waited: Waited, about: (Kind, Bytes), link: Weak<Link>) {
        let lateness = &self.inner.node.lateness;
        if error.is_timeout() && lateness.is_heard() {
            let (kind, uri) = about;
            let (remote, address, error) = (Some(self.clone()), self.addr(), error.clone());
            let patience = self.patience;
            lateness.tell(Late { remote, address, waited, error, kind, uri, patience, link });
        }
    }

    /// Closes the connection and makes another, for which `policy` says how often it is tried; every request that waits on
    /// the former one gets an error. Returns at which attempt that was done, or `None` if somebody else does it now.
    ///
    /// # Errors
    ///
    /// [`RequestError::Connect`], and [`RequestError::Unsent`] when the client is closed.
    ///
    /// # Cancellation
    ///
    /// The former connection is closed, and the next request makes another if the client reconnects.
    pub async fn reconnect(&self, policy: &Reconnect) -> Result<Option<u32>, RequestError> {
        let link = self.inner.open();
        self.replace(&link.as_ref().map_or_else(Weak::new, Rc::downgrade), policy).await
    }

    /// Makes a connection in the place of `former`, unless that has been done.
    pub(super) async fn replace(
        &self,
        former: &Weak<Link>,
        policy: &Reconnect,
    ) -> Result<Option<u32>, RequestError> {
        match self.inner.open() {
            Some(link) if !ptr::eq(Rc::as_ptr(&link), former.as_ptr()) => return Ok(None),
            Some(link) => link.finish(LinkEnd::Replaced),
            None => {}
        }
        if self.inner.others().is_some() {
            return Ok(None);
        }
        self.inner.connect(policy, Begin::AtOnce).await.map(|(_, attempt)| Some(attempt))
    }

    /// Sends a message that nothing answers; for a connection it waits as long as a request.
    ///
    /// # Errors
    ///
    /// [`RequestError`], as far as it concerns sending.
    pub async fn send(&self, message: Message) -> Result<(), RequestError> {
        let (peer, _left) = in_time(self.patience, self.agreed()).await?;
        Ok(peer.within(self.layer.clone()).send(message)?)
    }

    /// Waits until the connection that there is now has ended; at once when there is none, or one is only being made.
    pub async fn ended(&self) -> LinkEnd {
        let link = self.inner.link.borrow().as_ref().map(|connected| connected.link.clone());
        match link {
            Some(link) => link.ended().await,
            None => LinkEnd::Closed,
        }
    }

    /// The connection that there is now, if there is one.
    #[must_use]
    pub fn peer(&self) -> Option<Peer> {
        self.inner.open().map(|link| link.peer())
    }

    /// Why the last attempt to connect failed; `None` when the last one did not, or none was made.
    ///
    /// Where lost connections are [made again](super::Builder::reconnect) a request ends by its time, and this is what kept it waiting.
    #[must_use]
    pub fn connect_error(&self) -> Option<Rc<io::Error>> {
        self.inner.connect_error.borrow().clone()
    }

    /// Closes the connection: what is queued goes out first, for a second at most. Requests that wait get an error.
    pub async fn close(&self) {
        self.inner.closed.cancel();
        let connected = self.inner.link.borrow_mut().take();
        if let Some(Connected { link, task, .. }) = connected {
            link.retire();
            // A panic of the task has been told by its hook.
            let _ = task.await;
        }
    }
}

impl Inner {
    /// The connection that is open.
    fn open(&self) -> Option<Rc<Link>> {
        let link = self.link.borrow();
        link.as_ref().filter(|connected| !connected.link.is_over()).map(|connected| connected.link.clone())
    }

    /// The connection that is open, when it is known how to speak on it.
    fn agreed(&self) -> Option<Rc<Link>> {
        self.open().filter(|link| !link.guard.is_to_offer())
    }

    fn adopt(&self, stream: TcpStream) -> Rc<Link> {
        let _ = stream.set_nodelay(true);
        let link = Link::new(self.node.clone(), Side::Asks, self.address);
        let member = Node::enter(&link);
        link.greet();
        let running = link.clone().run(stream, CancellationToken::new());
        let ended = Rc::new(Cell::new(u64::MAX));
        let ends = ended.clone();
        let task = worker::spawn(async move {
            running.await;
            ends.set(turn_time());
            drop(member);
        });
        self.note_connection();
        self.connect_error.take();
        let former = self.link.borrow_mut().replace(Connected { link: link.clone(), task, ended });
        drop(former);
        link
    }

    /// Whether the connection that there was brought nothing, or ended too soon.
    fn has_failed(&self, now: u64) -> bool {
        let link = self.link.borrow();
        link.as_ref()
            .is_some_and(|it| !it.link.has_heard() || it.ended.get().min(now) < self.rest.get().until)
    }

    /// A connection has been made: the next one, should this one soon end, is not made at once.
    fn note_connection(&self) {
        let policy = self.node.settings.reconnect.clone().unwrap_or_default();
        let now = turn_time();
        let former = if self.has_failed(now) { self.rest.get().pause } else { Duration::ZERO };
        let pause =
            former.saturating_mul(2).clamp(policy.least_pause, policy.most_pause.max(policy.least_pause));
        self.rest.set(Rest { pause, until: now.saturating_add(nanos(jittered(pause))) });
    }

    /// Waits for the next connection's time.
    async fn pause(&self) {
        let left = self.rest.get().until.saturating_sub(turn_time());
        sleep(Duration::from_nanos(left)).await;
    }

    /// The connection that is open, or a new one if lost ones are to be made again.
    async fn link(&self) -> Result<Rc<Link>, RequestError> {
        loop {
            if let Some(link) = self.open() {
                return Ok(link);
            }
            if let Some(others) = self.others() {
                self.awaiting(others.cancelled()).await;
                continue;
            }
            let Some(policy) = self.policy() else { return Err(RequestError::Unsent(self.last_end())) };
            return self.connect(&policy, Begin::Paused).await.map(|(link, _)| link);
        }
    }

    /// Cancelled when those who make a connection now have come to an end.
    fn others(&self) -> Option<CancellationToken> {
        let others = self.connecting.take().filter(|token| !token.is_cancelled());
        self.connecting.set(others.clone());
        others
    }

    /// Makes a connection while all others wait; says at which attempt.
    async fn connect(&self, policy: &Reconnect, begin: Begin) -> Result<(Rc<Link>, u32), RequestError> {
        let token = CancellationToken::new();
        self.connecting.set(Some(token.clone()));
        let _done = token.drop_guard();
        let dialed = async {
            if let Begin::Paused = begin {
                self.pause().await;
            }
            self.dial(policy).await
        };
        let dialed = self.closed.run_until_cancelled(self.awaiting(dialed)).await;
        match dialed.filter(|_| !self.closed.is_cancelled()) {
            Some(Ok((stream, attempt))) => Ok((self.adopt(stream), attempt)),
            Some(Err(error)) => Err(RequestError::Connect(Rc::new(error))),
            None => Err(RequestError::Unsent(LinkEnd::Closed)),
        }
    }

    /// Waits for a connection, as dumps are told.
    fn awaiting<T>(&self, connected: impl Future<Output = T>) -> impl Future<Output = T> {
        let address = self.address;
        dump::waiting(move |out| write!(out, "a connection to {address}"), connected)
    }

    /// How a connection is to be made, if it is.
    fn policy(&self) -> Option<Reconnect> {
        if self.closed.is_cancelled() {
            return None;
        }
        let is_none_lost = self.link.borrow().as_ref().is_none_or(|former| former.link.was_idle());
        let once = || Reconnect { attempts: Some(1), ..Reconnect::default() };
        self.node.settings.reconnect.clone().or_else(|| is_none_lost.then(once))
    }

    async fn dial(&self, policy: &Reconnect) -> io::Result<(TcpStream, u32)> {
        let (mut pause, mut attempts) = (policy.least_pause, 0u32);
        loop {
            attempts = attempts.saturating_add(1);
            let dialed = timeout(policy.connect_timeout, TcpStream::connect(self.address)).await;
            let late = || {
                io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("connecting to {} took too long", self.address),
                )
            };
            let error = match dialed.unwrap_or_else(|_over| Err(late())) {
                Ok(stream) => return Ok((stream, attempts)),
                Err(error) => error,
            };
            self.connect_error.replace(Some(Rc::new(io::Error::new(error.kind(), error.to_string()))));
            if policy.attempts.is_some_and(|most| attempts >= most) {
                return Err(error);
            }
            sleep(jittered(pause)).await;
            pause = pause.saturating_mul(2).min(policy.most_pause);
        }
    }

    fn last_end(&self) -> LinkEnd {
        self.link.borrow().as_ref().and_then(|connected| connected.link.end()).unwrap_or(LinkEnd::Closed)
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the client is closed")
}

/// Between three quarters of a pause and all of it.
fn jittered(pause: Duration) -> Duration {
    let mut octet = [0];
    // Without a random number the pause is what it is.
    let _ = getrandom::fill(&mut octet);
    shortened(pause, octet[0])
}

/// The pause without so many parts in 1,024.
fn shortened(pause: Duration, parts: u8) -> Duration {
    // Fractions of the longest pause that there is would be more than it.
    pause - pause / 1024 * u32::from(parts)
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(connected) = self.link.get_mut() {
            connected.link.retire();
        }
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = out.debug_struct("Remote");
        debug
            .field("addr", &self.inner.address)
            .field("open", &self.inner.open().is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_takes_at_most_a_quarter_of_a_pause_and_be_it_the_longest() {
        for pause in [Duration::ZERO, MESSAGE_RECONNECT_LEAST, Duration::MAX] {
            for parts in 0..=u8::MAX {
                let left = shortened(pause, parts);
                assert!(left <= pause && left >= pause / 4 * 3, "{left:?} of {pause:?}");
            }
        }
    }
}
