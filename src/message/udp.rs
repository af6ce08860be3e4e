//! Messages as datagrams: everybody is client and server at once, and many are reached by one address.

mod agree;
mod air;
mod crowd;
mod far;
mod group;
mod outbox;
mod storm;

pub(super) use self::far::Far;
pub use self::{air::Ignored, group::Group};

use std::{fmt, future::Future, io, net::SocketAddr, rc::Rc, time::Duration};

use self::air::{Air, Ended};
use crate::{
    message::{
        ending::Ending,
        error::SendError,
        late::Late,
        layer::Layer,
        life::{ServerHandle, Shutdown, Stopped, WaitsForItself},
        metrics::Metrics,
        node::Node,
        peer::{End, Peer},
        peers::PeerRecord,
        routes::{Incoming, Key, Route},
    },
    net::UdpSocket,
    proto::message::{Kind, Message},
    worker::dump::Dump,
};

/// A node of datagrams, made by [`Builder::node`](crate::message::Builder::node); clones are the same one's.
///
/// A datagram is a message; it may be lost, and come twice, and nobody is told. What is too long for one is an error at
/// once. A request waits for its answer as long as on a connection, and is not sent again: only the application knows
/// whether that would do harm. Where the system tells that nobody receives at an address (Linux and Android, by an ICMP
/// message), requests to it [end](super::RequestError::Lost) at once.
///
/// It lives in a task of its own. Dropping this detaches it: it goes on, with its socket, until somebody shuts it down by a
/// clone or a [handle](Self::handle), or the runtime ends.
///
/// # Examples
///
/// ```
/// use wakering::{message::{Builder, Incoming, Kind}, net::UdpSocket};
///
/// wakering::run(async {
///     let one = Builder::new()
///         .on((Kind::REQUEST_URI, "echo"), |incoming: Incoming| async move {
///             Some(incoming.answer(Kind::RESPOND_URI, incoming.message.content.clone()))
///         })
///         .node(UdpSocket::bind("127.0.0.1:0")?)?;
///     let other = Builder::new().node(UdpSocket::bind("127.0.0.1:0")?)?;
///     let answer = other.peer(one.local_addr()).request(Kind::REQUEST_URI, "echo", "hello").await?;
///     assert_eq!((answer.kind, &answer.content[..]), (Kind::RESPOND_URI, &b"hello"[..]));
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct UdpNode {
    inner: Rc<Inner>,
    layer: Layer,
}

struct Inner {
    air: Rc<Air>,
    local_addr: SocketAddr,
    ending: Rc<Ending>,
}

impl UdpNode {
    #[track_caller]
    pub(super) fn start(node: Rc<Node>, socket: UdpSocket) -> io::Result<UdpNode> {
        let local_addr = socket.local_addr()?;
        let air = Air::new(node, socket)?;
        let leaving = air.clone();
        let ending = Ending::new(air.node.work.clone(), local_addr, move |spared| leaving.cut(spared));
        let (runs, ended, told) = (air.clone(), Ended(air.clone()), ending.clone().until_told());
        ending.start(async move {
            let _ended = ended;
            runs.run(told).await;
        });
        Ok(UdpNode { inner: Rc::new(Inner { air, local_addr, ending }), layer: Layer::new() })
    }

    /// The same node: what is sent by this value to many is within an inner layer.
    #[must_use]
    pub fn within(mut self, layer: Layer) -> UdpNode {
        self.layer = layer;
        self
    }

    /// The address that it receives at, and that its datagrams come from.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.local_addr
    }

    /// Who is at an address: to be sent something, asked, or subscribed.
    #[must_use]
    pub fn peer(&self, address: SocketAddr) -> Peer {
        Peer::far(self.inner.air.known(address))
    }

    /// Adds a handler, in the place of one that was there for the same; see
    /// [`Builder::on`](crate::message::Builder::on).
    pub fn on<H, F>(&self, key: impl Into<Key>, handler: H)
    where
        H: Fn(Incoming) -> F + 'static,
        F: Future<Output = Option<Message>> + 'static,
    {
        self.inner.air.node.routes.add(key.into(), Route::new(Layer::new(), handler));
    }

    /// Adds a handler for one message; see [`Builder::once`](crate::message::Builder::once).
    pub fn once<H, F>(&self, key: impl Into<Key>, handler: H)
    where
        H: Fn(Incoming) -> F + 'static,
        F: Future<Output = Option<Message>> + 'static,
    {
        self.inner.air.node.routes.add_once(key.into(), Route::new(Layer::new(), handler));
    }

    /// Has `handler` deal with late requests, in the place of another; see
    /// [`Builder::on_timeout`](crate::message::Builder::on_timeout).
    pub fn on_timeout<H, F>(&self, handler: H)
    where
        H: Fn(Late) -> F + 'static,
        F: Future<Output = ()> + 'static,
    {
        self.inner.air.node.lateness.set(handler);
    }

    /// Takes the handlers for `key` away, of one message and of all; false when there was none.
    pub fn remove(&self, key: impl Into<Key>) -> bool {
        self.inner.air.node.routes.remove(&key.into())
    }

    /// Sends a message to all who hear the node's [`Group`].
    ///
    /// # Errors
    ///
    /// [`SendError`]; `NoGroup` when it has none.
    pub fn multicast(&self, message: Message) -> Result<(), SendError> {
        self.inner.air.multicast(message, &self.layer)
    }

    /// Sends a message to all who have subscribed to `topic`, and returns how many that were. It is encoded once.
    ///
    /// # Errors
    ///
    /// [`SendError`], when it cannot be sent to anybody.
    pub fn notify(&self, topic: impl AsRef<[u8]>, message: Message) -> Result<usize, SendError> {
        let ends = self.inner.air.subscribers(topic.as_ref());
        self.inner.air.node.tell(ends, &self.layer, message)
    }

    /// Sends a message to every peer that has introduced itself, to each at one address, and returns how many that were.
    ///
    /// # Errors
    ///
    /// As [`notify`](UdpNode::notify).
    pub fn broadcast(&self, message: Message) -> Result<usize, SendError> {
        let air = &self.inner.air;
        let addresses = air.node.peers.all().into_iter().filter_map(|record| record.addrs.first().copied());
        let ends: Vec<End> = addresses.map(|address| End::Far(air.known(address))).collect();
        air.node.tell(ends, &self.layer, message)
    }

    /// Says to an address who this node is, as its group is told again and again.
    ///
    /// # Errors
    ///
    /// [`SendError`]; `NoIntroduction` when the node has none.
    pub fn introduce_to(&self, address: SocketAddr) -> Result<(), SendError> {
        let introduction = self.inner.air.node.peers.introduction(Kind::ADVERTISE_PEER);
        self.peer(address).within(self.layer.clone()).send(introduction.ok_or(SendError::NoIntroduction)?)
    }

    /// Who has introduced itself; see [`Builder::introduce`](crate::message::Builder::introduce).
    #[must_use]
    pub fn known_peers(&self) -> Vec<PeerRecord> {
        self.inner.air.node.peers.all()
    }

    /// Who is known by an id, to be sent something or asked, at the address that it was heard from last.
    #[must_use]
    pub fn peer_by_id(&self, id: impl AsRef<[u8]>) -> Option<Peer> {
        let record = self.inner.air.node.peers.get(id.as_ref())?;
        record.addrs.first().map(|address| self.peer(*address))
    }

    /// Forgets a peer: all its addresses, and what they have subscribed to. False when it is not known.
    pub fn remove_peer(&self, id: impl AsRef<[u8]>) -> bool {
        self.inner.air.remove_peer(id.as_ref())
    }

    /// What it has done, and what it holds; it has no connections.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.inner.air.metrics()
    }

    /// Datagrams that it did not deal with.
    #[must_use]
    pub fn ignored(&self) -> Ignored {
        self.inner.air.ignored.get()
    }

    /// Ends the node: nothing new is handled, what is being handled is answered, until `grace` is over; then it is aborted.
    ///
    /// Any task may call it, once or often; the shortest grace counts. Awaited inside a handler of this node it does not wait for
    /// that handler, which is answered last: it is told what had to be aborted, and has 50 ms to answer then. Other workers and
    /// threads end a node by its [`handle`](UdpNode::handle).
    ///
    /// # Cancellation
    ///
    /// The node ends all the same, within the grace.
    pub fn shutdown(&self, grace: Duration) -> Shutdown {
        self.handle().shutdown(grace)
    }

    /// Ends the node, and waits for its end, from other tasks and threads.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        self.inner.ending.handle()
    }

    /// Lists every live task of the runtime, and what it waits for; see [`ServerHandle::dump`].
    #[must_use]
    pub fn dump(&self) -> Dump {
        self.handle().dump()
    }

    /// Waits until the node has ended; at once when it has.
    ///
    /// # Errors
    ///
    /// [`WaitsForItself`] in a handler of this node, which would wait for ever. Only the handler's own task is known for one.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn closed(&self) -> Result<Stopped, WaitsForItself> {
        self.handle().closed().await
    }
}

impl fmt::Debug for UdpNode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.inner;
        out.debug_struct("UdpNode")
            .field("local_addr", &inner.local_addr)
            .field("node", &inner.air.node)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{
        message::{Builder, Introduction},
        net::UdpSocket,
        time::timeout,
        worker,
    };

    #[test]
    fn who_has_said_that_it_goes_does_not_say_that_it_is_there() {
        let test = async {
            let builder = Builder::new().introduce(Introduction::new("one"));
            let node = builder.node(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
            let (air, often) = (&node.inner.air, Duration::from_millis(1));
            air.say_farewell();
            let advertised = timeout(Duration::from_secs(60), air.clone().advertise(often, often)).await;
            assert!(advertised.is_ok(), "it goes on");
        };
        worker::run(test).unwrap();
    }
}
