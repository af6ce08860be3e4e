//! Answering many peers.

use std::{
    cell::Cell, convert::Infallible, fmt, future::Future, io, net::SocketAddr, rc::Rc, time::Duration,
};

use crate::{
    message::{
        ending::Ending,
        error::SendError,
        guard::Side,
        layer::Layer,
        life::{ServerHandle, Shutdown, Stopped, WaitsForItself},
        link::Link,
        metrics::Metrics,
        node::Node,
        peer::{End, Peer},
        peers::PeerRecord,
        routes::{Incoming, Key, Route},
    },
    net::{TcpListener, listen},
    proto::message::Message,
    trace,
    worker::{self, Scope, dump::Dump},
};

/// A server of messages, made by [`Builder::serve`](crate::message::Builder::serve); clones are the same one's.
///
/// It lives in a task of its own. Dropping this detaches it: it goes on, with its socket, until somebody shuts it down by a
/// clone or a [handle](Self::handle), or the runtime ends.
///
/// # Examples
///
/// What is published goes to all who have subscribed:
///
/// ```
/// use std::{rc::Rc, cell::OnceCell, time::Duration};
/// use wakering::{message::{Builder, Kind, Message, Server}, net::TcpListener};
///
/// wakering::run(async {
///     let own: Rc<OnceCell<Server>> = Rc::default();
///     let publisher = own.clone();
///     let server = Builder::new()
///         .on(Kind::SUBSCRIBE_URI, |incoming| async move {
///             incoming.peer.subscribe(incoming.message.uri.clone());
///             Some(incoming.answer(Kind::CONFIRM_SUBSCRIBE, ""))
///         })
///         .on(Kind::PUBLISH_URI, move |incoming| {
///             let server = publisher.get().expect("set before the first message").clone();
///             async move {
///                 let news = incoming.answer(Kind::NOTIFY_URI, incoming.message.content.clone());
///                 server.notify(&incoming.message.uri, news).ok()?;
///                 Some(incoming.answer(Kind::OK, ""))
///             }
///         })
///         .serve(TcpListener::bind("127.0.0.1:0")?)?;
///     own.set(server.clone()).expect("set once");
///     let client = Builder::new().client().connect(server.local_addr()).await?;
///     assert_eq!(client.request(Kind::SUBSCRIBE_URI, "news", "").await?.kind, Kind::CONFIRM_SUBSCRIBE);
///     server.shutdown(Duration::from_secs(5)).await;
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Server {
    inner: Rc<Inner>,
}

struct Inner {
    node: Rc<Node>,
    local_addr: SocketAddr,
    ending: Rc<Ending>,
}

impl Server {
    #[track_caller]
    pub(super) fn start(node: Rc<Node>, listener: TcpListener) -> io::Result<Server> {
        let local_addr = listener.local_addr()?;
        let counted = node.clone();
        let ending = Ending::new(node.work.clone(), local_addr, move |spared| counted.cut(spared));
        ending.start(serve(node.clone(), ending.clone(), listener));
        Ok(Server { inner: Rc::new(Inner { node, local_addr, ending }) })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.local_addr
    }

    /// Connections that there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.inner.node.connections()
    }

    /// Who is connected.
    #[must_use]
    pub fn peers(&self) -> Vec<Peer> {
        self.inner.node.links().into_iter().map(|link| link.peer()).collect()
    }

    /// What it has done, and what it holds.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        Metrics::of(&self.inner.node)
    }

    /// Who has introduced itself; see [`Builder::introduce`](crate::message::Builder::introduce).
    #[must_use]
    pub fn known_peers(&self) -> Vec<PeerRecord> {
        self.inner.node.peers.all()
    }

    /// Adds a handler, in the place of one that was there for the same; see
    /// [`Builder::on`](crate::message::Builder::on).
    pub fn on<H, F>(&self, key: impl Into<Key>, handler: H)
    where
        H: Fn(Incoming) -> F + 'static,
        F: Future<Output = Option<Message>> + 'static,
    {
        self.inner.node.routes.add(key.into(), Route::new(Layer::new(), handler));
    }

    /// Adds a handler for one message; see [`Builder::once`](crate::message::Builder::once).
    pub fn once<H, F>(&self, key: impl Into<Key>, handler: H)
    where
        H: Fn(Incoming) -> F + 'static,
        F: Future<Output = Option<Message>> + 'static,
    {
        self.inner.node.routes.add_once(key.into(), Route::new(Layer::new(), handler));
    }

    /// Takes the handlers for `key` away, of one message and of all; false when there was none.
    pub fn remove(&self, key: impl Into<Key>) -> bool {
        self.inner.node.routes.remove(&key.into())
    }

    /// Sends a message to all who have subscribed to `topic`, and returns how many that were. It is encoded once, and a peer
    /// that reads slowly holds nobody else up.
    ///
    /// # Errors
    ///
    /// [`SendError`], when it cannot be sent to anybody.
    pub fn notify(&self, topic: impl AsRef<[u8]>, message: Message) -> Result<usize, SendError> {
        self.tell(self.inner.node.topics.of(topic.as_ref()), message)
    }

    /// Sends a message to everybody who is connected, and returns how many that were.
    ///
    /// # Errors
    ///
    /// As [`notify`](Server::notify).
    pub fn broadcast(&self, message: Message) -> Result<usize, SendError> {
        self.tell(self.inner.node.links().into_iter().map(End::Link), message)
    }

    pub(super) fn ending(&self) -> &Rc<Ending> {
        &self.inner.ending
    }

    fn tell(&self, ends: impl IntoIterator<Item = End>, message: Message) -> Result<usize, SendError> {
        self.inner.node.tell(ends, &Layer::new(), message)
    }

    /// Ends the server: the queue of the listener is served and the port closed, handlers at work are answered, until `grace`
    /// is over; then what is left is aborted.
    ///
    /// What those handlers publish still goes to the subscribers, whose connections end when no handler is at work any more
    /// and all has been written that waits for them.
    ///
    /// Any task may call it, once or often; the shortest grace counts. Awaited inside a handler of this server it does not wait
    /// for that handler, whose connection is closed last: it is told what had to be aborted, and has 50 ms to answer then. Other
    /// workers and threads end a server by its [`handle`](Server::handle).
    ///
    /// # Cancellation
    ///
    /// The server ends all the same, within the grace.
    pub fn shutdown(&self, grace: Duration) -> Shutdown {
        self.handle().shutdown(grace)
    }

    /// Ends the server, and waits for its end, from other tasks and threads.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        self.inner.ending.handle()
    }

    /// Lists every live task of the runtime, and what it waits for; see [`ServerHandle::dump`].
    #[must_use]
    pub fn dump(&self) -> Dump {
        self.handle().dump()
    }

    /// Waits until the server has ended; at once when it has.
    ///
    /// # Errors
    ///
    /// [`WaitsForItself`] in a handler of this server, which would wait for ever. Only the handler's own task is known for
    /// one.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn closed(&self) -> Result<Stopped, WaitsForItself> {
        self.handle().closed().await
    }
}

async fn serve(node: Rc<Node>, ending: Rc<Ending>, listener: TcpListener) {
    let (stopping, ended) = (ending.life.stopping.clone(), Ended(node.clone()));
    let closing = Scope::<Infallible>::new();
    closing.spawn(close_to_others(node.clone(), ending.handle()));
    let accepted = Cell::new(0);
    let served = listen(listener)
        .limit(node.settings.connections)
        .grace(Duration::MAX)
        .until(ending.clone().until_told())
        .serve(move |stream, peer| {
            accepted.set(accepted.get() + 1);
            ending.accepted(accepted.get());
            // What is sent is whole messages: waiting for more would only be late.
            let _ = stream.set_nodelay(true);
            let link = Link::new(node.clone(), Side::Answers, peer);
            let member = Node::enter(&link);
            let running = link.run(stream, stopping.clone());
            async move {
                running.await;
                drop(member);
            }
        });
    if let Err(error) = served.await {
        trace::say(&format!("a message server ends, its listener failed: {error}"));
    }
    drop((closing, ended));
}

/// Notes that no connections come any more when the server stops.
async fn close_to_others(node: Rc<Node>, server: ServerHandle) {
    server.stopping().await;
    // Those that were in the listener's queue have come behind that.
    worker::yield_now().await;
    node.parting.close();
}

/// The handlers go with the server, in whatever way it ends, and it publishes no more.
struct Ended(Rc<Node>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.release();
        self.0.parting.close();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.inner;
        out.debug_struct("Server").field("local_addr", &inner.local_addr).field("node", &inner.node).finish()
    }
}
