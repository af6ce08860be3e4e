//! Asking one peer, or many.

use std::{
    cell::{Cell, RefCell},
    fmt, io,
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;

use crate::{
    limits::{MESSAGE_RECONNECT_LEAST, MESSAGE_RECONNECT_MOST},
    message::{
        error::{LinkEnd, RequestError, SendError},
        guard::Side,
        layer::Layer,
        link::Link,
        node::Node,
        peer::Peer,
    },
    net::{Addresses, TcpStream},
    proto::message::{Kind, Message},
    task::JoinHandle,
    time::{sleep, timeout},
    worker::{self, CancellationToken},
};

/// A client of any number of servers; made by [`Builder::client`](crate::message::Builder::client).
///
/// Its handlers get what servers send without being asked, and answer it. Dropping it changes nothing for the connections
/// that it has made.
#[derive(Clone, Debug)]
pub struct Client {
    node: Rc<Node>,
}

/// How a lost connection is made again: with pauses that double, up to a bound, and a little of chance in them, so that not
/// everybody comes back at once.
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
        Client { node }
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
        let stream = TcpStream::connect(addresses).await?;
        let remote = self.remote(stream.peer_addr()?);
        remote.inner.adopt(stream);
        Ok(remote)
    }

    /// A server that is connected to when it is first asked for something.
    #[must_use]
    pub fn remote(&self, address: SocketAddr) -> Remote {
        let inner = Rc::new(Inner {
            node: self.node.clone(),
            address,
            link: RefCell::default(),
            connecting: Cell::new(None),
            closed: Cell::new(false),
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
    closed: Cell<bool>,
}

struct Connected {
    link: Rc<Link>,
    task: JoinHandle<()>,
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
        let message = Message::new(kind, uri, content);
        let asked = async {
            let peer = self.inner.link().await?.peer();
            peer.guard().agreed().await;
            peer.ask(message, &self.layer, self.patience).await
        };
        timeout(self.patience, asked).await.unwrap_or(Err(RequestError::TimedOut))
    }

    /// Sends a message that nothing answers.
    ///
    /// # Errors
    ///
    /// [`RequestError`], as far as it concerns sending.
    pub async fn send(&self, mut message: Message) -> Result<(), RequestError> {
        let peer = self.inner.link().await?.peer();
        peer.guard().agreed().await;
        peer.guard().wrap_in(&self.layer, &mut message, peer.said().as_deref()).map_err(SendError::from)?;
        Ok(peer.send(message)?)
    }

    /// Waits until the connection that there is now has ended.
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

    /// Closes the connection: what is queued goes out first, for a second at most. Requests that wait get an error.
    pub async fn close(&self) {
        self.inner.closed.set(true);
        let connected = self.inner.link.borrow_mut().take();
        if let Some(Connected { link, task }) = connected {
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

    fn adopt(&self, stream: TcpStream) -> Rc<Link> {
        let _ = stream.set_nodelay(true);
        let link = Link::new(self.node.clone(), Side::Asks, self.address);
        let member = Node::enter(&link);
        let running = link.clone().run(stream, CancellationToken::new());
        let task = worker::spawn(async move {
            running.await;
            drop(member);
        });
        let former = self.link.borrow_mut().replace(Connected { link: link.clone(), task });
        drop(former);
        link
    }

    /// The connection that is open, or a new one if lost ones are to be made again.
    async fn link(&self) -> Result<Rc<Link>, RequestError> {
        loop {
            if let Some(link) = self.open() {
                return Ok(link);
            }
            let Some(policy) = self.policy() else { return Err(RequestError::Lost(self.last_end())) };
            let others = self.connecting.take();
            if let Some(others) = others.filter(|token| !token.is_cancelled()) {
                self.connecting.set(Some(others.clone()));
                others.cancelled().await;
                continue;
            }
            let token = CancellationToken::new();
            self.connecting.set(Some(token.clone()));
            let _done = token.drop_guard();
            return match self.dial(&policy).await {
                Ok(stream) => Ok(self.adopt(stream)),
                Err(error) => Err(RequestError::Connect(Rc::new(error))),
            };
        }
    }

    /// How a connection is to be made, if it is.
    fn policy(&self) -> Option<Reconnect> {
        if self.closed.get() {
            return None;
        }
        let is_first = self.link.borrow().is_none();
        let once = || Reconnect { attempts: Some(1), ..Reconnect::default() };
        self.node.settings.reconnect.clone().or_else(|| is_first.then(once))
    }

    async fn dial(&self, policy: &Reconnect) -> io::Result<TcpStream> {
        let (mut pause, mut attempts) = (policy.least_pause, 0);
        loop {
            let dialed = timeout(policy.connect_timeout, TcpStream::connect(self.address)).await;
            let late = || {
                io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("connecting to {} took too long", self.address),
                )
            };
            let error = match dialed.unwrap_or_else(|_over| Err(late())) {
                Ok(stream) => return Ok(stream),
                Err(error) => error,
            };
            attempts += 1;
            if policy.attempts.is_some_and(|most| attempts >= most) {
                return Err(error);
            }
            sleep(jittered(pause)).await;
            pause = (pause * 2).min(policy.most_pause);
        }
    }

    fn last_end(&self) -> LinkEnd {
        self.link.borrow().as_ref().and_then(|connected| connected.link.end()).unwrap_or(LinkEnd::Closed)
    }
}

/// Between three quarters of a pause and all of it.
fn jittered(pause: Duration) -> Duration {
    let mut octet = [0];
    // Without a random number the pause is what it is.
    let _ = getrandom::fill(&mut octet);
    pause.mul_f64(1.0 - f64::from(octet[0]) / 1024.0)
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
