//! The far end, whatever it is reached by: what it is told and asked, and in files of their own what becomes of that.
//!
//! ```text
//! asking      a request: how it begins, who waits, when its time is over
//! taking      what comes: an answer, a session's offer, something for a handler, or what is refused
//! answering   handlers, and what they answer
//! ```

mod answering;
mod asking;
mod taking;

use std::{
    fmt,
    hash::{Hash, Hasher},
    net::SocketAddr,
    rc::{Rc, Weak},
    time::Duration,
};

use bytes::Bytes;

pub(super) use self::{
    answering::{Handling, contained},
    taking::Taken,
};
use crate::{
    message::{
        asks::Asks,
        error::{LinkEnd, RequestError, SendError},
        guard::Guard,
        late::{Late, Waited, in_time},
        layer::Layer,
        link::Link,
        metrics::count,
        node::Node,
        peers::PeerRecord,
        queue::Purpose,
        topics::Subscriptions,
        udp::Far,
    },
    proto::message::{Kind, Message, Value},
    time::timeout,
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
    /// One that has come from somebody may be sent on, any number of times: it has a nonce and a time of its own each time, and no
    /// number.
    ///
    /// # Errors
    ///
    /// [`SendError`]: the connection or the node is over, the peer reads too slowly, or the message is too long.
    pub fn send(&self, mut message: Message) -> Result<(), SendError> {
        message.fields.renew();
        self.wrap_in(&self.layer, &mut message)?;
        self.send_outer(&mut message, Purpose::Notice)
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
        let agreed = match &self.end {
            End::Far(far) if far.guard.wants_session() => in_time(self.patience, far.agree()).await,
            End::Link(_) | End::Far(_) => Ok(((), self.patience)),
        };
        let answered = match agreed {
            Ok(((), left)) => {
                let answered = self.ask(message, &self.layer, left).await;
                answered.map_err(|error| (Waited::behind_connection(&error), error))
            }
            Err(error) => {
                self.node().counts.note_unsent(&error);
                Err((Waited::Connection, error))
            }
        };
        answered.map_err(|(waited, error)| {
            let lateness = &self.node().lateness;
            if error.is_timeout() && lateness.is_heard() {
                let (address, patience, error) = (self.addr(), self.patience, error.clone());
                let (remote, link) = (None, Weak::new());
                lateness.tell(Late { remote, address, waited, error, kind, uri, patience, link });
            }
            error
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

    /// Messages that it was not sent, because it read too slowly; none that it had asked for.
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
    fn send_outer(&self, message: &mut Message, purpose: Purpose) -> Result<(), SendError> {
        self.guard().wrap(message, self.said().as_deref())?;
        self.send_plain(message, purpose)
    }

    /// Sends a message as it is.
    #[inline]
    fn send_plain(&self, message: &Message, purpose: Purpose) -> Result<(), SendError> {
        match &self.end {
            End::Link(link) => link.send(message, purpose),
            End::Far(_) => self.end.push(&message.to_octets()?.into()),
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
