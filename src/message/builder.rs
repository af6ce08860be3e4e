//! Settings of servers, clients and nodes of datagrams.

use std::{cell::RefCell, fmt, future::Future, io, rc::Rc, sync::OnceLock, time::Duration};

use crate::{
    limits,
    message::{
        client::{Client, Reconnect},
        guard::Protection,
        late::{Late, Lateness},
        layer::Layer,
        node::{Node, Settings},
        parting::Parting,
        peers::{Introduction, PeerEvent, Peers},
        queue::SlowPeer,
        routes::{Incoming, Key, Route, Routes},
        server::Server,
        udp::{Group, UdpNode},
    },
    net::{TcpListener, UdpSocket},
    proto::message::{Kind, Kinds, Message, Replays, Session},
};

/// Settings of a [`Server`] or a [`Client`]: handlers, plugins, bounds.
///
/// # Examples
///
/// ```
/// use wakering::{message::{Builder, Kind, SlowPeer}, net::TcpListener};
///
/// wakering::run(async {
///     let server = Builder::new()
///         .on((Kind::REQUEST_URI, "echo"), |incoming| async move {
///             Some(incoming.answer(Kind::RESPOND_URI, incoming.message.content.clone()))
///         })
///         .slow_peer(SlowPeer::Disconnect)
///         .serve(TcpListener::bind("127.0.0.1:0")?)?;
///     let client = Builder::new().client();
///     let remote = client.connect(server.local_addr()).await?;
///     let answer = remote.request(Kind::REQUEST_URI, "echo", "hello").await?;
///     assert_eq!((answer.kind, &answer.content[..]), (Kind::RESPOND_URI, &b"hello"[..]));
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a builder does nothing by itself"]
pub struct Builder {
    pub(super) protection: Protection,
    pub(super) kinds: Kinds,
    pub(super) routes: Routes,
    pub(super) lateness: Lateness,
    pub(super) peers: Peers,
    pub(super) parting: Parting,
    pub(super) settings: Settings,
}

impl Builder {
    /// The defaults: no plugins, no handlers, and the bounds that each setting names.
    pub fn new() -> Builder {
        let settings = Settings {
            connections: usize::MAX,
            queue_bytes: limits::MESSAGE_QUEUE_BYTES,
            slow_peer: SlowPeer::default(),
            read_timeout: limits::MESSAGE_READ_TIMEOUT,
            write_timeout: limits::MESSAGE_WRITE_TIMEOUT,
            half_closed: limits::MESSAGE_HALF_CLOSED,
            idle_timeout: Some(limits::MESSAGE_IDLE_TIMEOUT),
            request_timeout: limits::MESSAGE_REQUEST_TIMEOUT,
            reconnect: None,
            group: None,
        };
        Builder {
            protection: Protection::default(),
            kinds: Kinds::new(),
            routes: Routes::default(),
            lateness: Lateness::default(),
            peers: Peers::default(),
            parting: Parting::new(),
            settings,
        }
    }

    /// The outer layer: what is done to every message.
    pub fn layer(mut self, layer: Layer) -> Builder {
        self.protection.layer = layer;
        self
    }

    /// Protects what is said to peers that have the same [`Session`], in the place of the outer layer, which stays for
    /// peers that do not know of sessions. A connection has one from its beginning. Of a node of datagrams each address has one,
    /// made by the first request to it or by [`Peer::agree`](crate::message::Peer::agree); what goes to a group is in none, and is not sent, nor taken, where
    /// one is required.
    pub fn session(mut self, session: Session) -> Builder {
        self.protection.session = Some(session);
        self
    }

    /// Remembers the nonces of messages together with others that have the same [`Replays`]: a server's workers.
    pub fn replays(mut self, replays: Replays) -> Builder {
        self.protection.replays = replays;
        self
    }

    /// The same with those of whoever comes first; for the workers of a server.
    pub(super) fn sharing_replays(mut self, shared: &OnceLock<Replays>) -> Builder {
        self.protection.replays = shared.get_or_init(|| self.protection.replays.clone()).clone();
        self
    }

    /// Has subscribers stay until no handler of other workers is at work, too.
    pub(super) fn parting(mut self, parting: Parting) -> Builder {
        self.parting = parting;
        self
    }

    /// Takes messages of a type of the application's own; others of such types end the connection.
    pub fn custom(mut self, kind: Kind) -> Builder {
        self.kinds = self.kinds.with(kind);
        self
    }

    /// Has `handler` deal with the messages of `key`; what it returns is sent back.
    ///
    /// It runs in a task of its own. It is dropped when its connection ends, and its panic is answered with an ERROR. Of two
    /// handlers for the same key the later stays.
    pub fn on<H, F>(self, key: impl Into<Key>, handler: H) -> Builder
    where
        H: Fn(Incoming) -> F + 'static,
        F: Future<Output = Option<Message>> + 'static,
    {
        self.on_within(Layer::new(), key, handler)
    }

    /// The same within an inner layer: a message that does not come through it is refused, and the handler never sees it.
    ///
    /// The handler is chosen before its layer is undone: with a cipher that hides the uri, as
    /// [`StreamCipher`](super::StreamCipher) does unless told otherwise, it has to be for a type, not for a type and a uri.
    pub fn on_within<H, F>(self, layer: Layer, key: impl Into<Key>, handler: H) -> Builder
    where
        H: Fn(Incoming) -> F + 'static,
        F: Future<Output = Option<Message>> + 'static,
    {
        self.routes.add(key.into(), Route::new(layer, handler));
        self
    }

    /// Has `handler` deal with the messages that no other handler is for; without it a server, and a node of datagrams,
    /// answers NOT_FOUND.
    ///
    /// What it returns is sent only as an answer that ends the exchange (RESPOND_URI, OK, a confirmation, an error), and
    /// never to one: two nodes with such a handler could otherwise answer each other for ever.
    pub fn otherwise<H, F>(self, handler: H) -> Builder
    where
        H: Fn(Incoming) -> F + 'static,
        F: Future<Output = Option<Message>> + 'static,
    {
        self.routes.set_default(Route::new(Layer::new(), handler));
        self
    }

    /// Has `handler` deal with the next message of `key` that comes through the layers, and with no other: before the
    /// handlers for the same, and of two for the same the later.
    pub fn once<H, F>(self, key: impl Into<Key>, handler: H) -> Builder
    where
        H: Fn(Incoming) -> F + 'static,
        F: Future<Output = Option<Message>> + 'static,
    {
        self.routes.add_once(key.into(), Route::new(Layer::new(), handler));
        self
    }

    /// Has `handler` know of every request that had no answer in its time, before its caller is told: up to its first pause; the rest
    /// in a task of its own, which ends with the client or the node. [`AutoReconnect`](super::AutoReconnect) is such a handler.
    pub fn on_timeout<H, F>(self, handler: H) -> Builder
    where
        H: Fn(Late) -> F + 'static,
        F: Future<Output = ()> + 'static,
    {
        self.lateness.set(handler);
        self
    }

    /// Says of the node who it is, and learns who others are: ADVERTISE_PEER, PEER_DISCOVERED and DISCONNECT of the same
    /// application go to no handler then. It is not done by default.
    pub fn introduce(mut self, introduction: Introduction) -> Builder {
        self.peers.own = Some(introduction);
        self
    }

    /// Calls `hook` when a peer has introduced itself, and when it is gone.
    ///
    /// It holds the node up, and may not wait; its panic ends nothing.
    pub fn on_peer(mut self, hook: impl Fn(PeerEvent) + 'static) -> Builder {
        self.peers.hook = RefCell::new(Some(Rc::new(hook)));
        self
    }

    /// Connections that a server has at a time; unlimited by default. Further ones wait in the kernel's queue.
    pub fn max_connections(mut self, connections: usize) -> Builder {
        self.settings.connections = connections;
        self
    }

    /// Bytes that may wait to be written to one peer and that it has not asked for; 1 MiB by default. As many may wait of requests,
    /// and half as many of answers before its further requests wait.
    pub fn queue_bytes(mut self, bytes: usize) -> Builder {
        self.settings.queue_bytes = bytes;
        self
    }

    /// What becomes of messages that a peer has not asked for, with so many waiting; they are not sent, by default.
    pub fn slow_peer(mut self, policy: SlowPeer) -> Builder {
        self.settings.slow_peer = policy;
        self
    }

    /// How long a message may take from its first byte to its last; 30 s by default.
    pub fn read_timeout(mut self, timeout: Duration) -> Builder {
        self.settings.read_timeout = timeout;
        self
    }

    /// How long a write may wait for a peer that takes nothing of it, on Linux less than 64 KiB; 30 s by default.
    pub fn write_timeout(mut self, timeout: Duration) -> Builder {
        self.settings.write_timeout = timeout;
        self
    }

    /// How long handlers may still be at work when the peer has ended its side, or has sent what ends the connection, until the
    /// next of them has to be done; 1 s by default. Most that do so have gone, and their handlers work for nobody; who only sends
    /// no more (`nc -N`) has answers that take longer with more.
    pub fn half_closed(mut self, patience: Duration) -> Builder {
        self.settings.half_closed = patience;
        self
    }

    /// How long a connection may be silent when no handler of it is at work, nothing is asked on it, and neither end has
    /// subscribed to anything; 10 min by default, `None` for ever. A client's next request makes another one.
    pub fn idle_timeout(mut self, timeout: Option<Duration>) -> Builder {
        self.settings.idle_timeout = timeout;
        self
    }

    /// How long an answer is waited for; 10 s by default.
    pub fn request_timeout(mut self, timeout: Duration) -> Builder {
        self.settings.request_timeout = timeout;
        self
    }

    /// Has a client make connections again that were lost; it does not by default, and requests get an error then.
    ///
    /// One that ended in order, by its idleness or because the server closed it, while nothing was asked on it and this end
    /// had subscribed to nothing, is not lost: the next request makes another in any case.
    ///
    /// Lost ones, too, are made again by the next request, not before: a client that only listens waits for
    /// [`Remote::ended`](super::Remote::ended), and subscribes anew. A new connection has no subscriptions.
    pub fn reconnect(mut self, policy: Reconnect) -> Builder {
        self.settings.reconnect = Some(policy);
        self
    }

    /// Serves the connections of a listener, on this worker.
    ///
    /// # Errors
    ///
    /// The system's, of getsockname(2). `InvalidInput` when the [`Introduction`] is longer than others take.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[track_caller]
    pub fn serve(self, listener: TcpListener) -> io::Result<Server> {
        self.peers.check()?;
        Server::start(Node::new(self, true), listener)
    }

    /// Has a node of datagrams hear a multicast group, and send to it; it does neither by default.
    pub fn group(mut self, group: Group) -> Builder {
        self.settings.group = Some(group);
        self
    }

    /// A node that sends and receives messages as datagrams, on this worker.
    ///
    /// # Errors
    ///
    /// The system's, of getsockname(2), and of joining the group, if there is one to join. `InvalidInput` when that is no
    /// multicast address, or has no port, or when the [`Introduction`] is longer than others take.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[track_caller]
    pub fn node(self, socket: UdpSocket) -> io::Result<UdpNode> {
        self.peers.check()?;
        UdpNode::start(Node::new(self, true), socket)
    }

    /// A client; it has no connection yet.
    pub fn client(self) -> Client {
        Client::new(Node::new(self, false))
    }
}

impl Default for Builder {
    fn default() -> Builder {
        Builder::new()
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = out.debug_struct("Builder");
        debug
            .field("protection", &self.protection)
            .field("routes", &self.routes)
            .field("settings", &self.settings);
        debug.finish_non_exhaustive()
    }
}
