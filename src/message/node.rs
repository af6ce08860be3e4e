//! What the connections of a server, or of a client, have in common.

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;

use crate::{
    contain::drop_contained,
    message::{
        builder::Builder,
        client::Reconnect,
        ending::Work,
        error::SendError,
        guard::{Protection, Side, wrap_for_all},
        late::Lateness,
        layer::Layer,
        link::Link,
        metrics::{Counts, count},
        parting::Parting,
        peer::{End, Peer},
        peers::Peers,
        queue::SlowPeer,
        routes::Routes,
        topics::Topics,
        udp::Group,
    },
    proto::message::{Kinds, Message, plugins::PluginError},
    slab::{self, Slab},
    worker::{
        context,
        dump::{Knows, Told},
    },
};

/// Bounds and patience.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) connections: usize,
    pub(super) queue_bytes: usize,
    pub(super) slow_peer: SlowPeer,
    pub(super) read_timeout: Duration,
    pub(super) write_timeout: Duration,
    pub(super) half_closed: Duration,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) request_timeout: Duration,
    pub(super) reconnect: Option<Reconnect>,
    pub(super) group: Option<Group>,
}

/// A node as its connections see it.
pub(super) struct Node {
    pub(super) protection: Protection,
    pub(super) kinds: Kinds,
    pub(super) routes: Routes,
    pub(super) topics: Topics,
    pub(super) lateness: Lateness,
    pub(super) counts: Counts,
    pub(super) peers: Peers,
    pub(super) work: Rc<Work>,
    pub(super) parting: Parting,
    pub(super) settings: Settings,
    /// Requests that nobody here answers are answered that way.
    pub(super) answers_unknown: bool,
    links: RefCell<Slab<Rc<Link>>>,
    /// Dumps ask it.
    is_known: Cell<bool>,
}

impl Knows for Node {
    fn tell(&self, told: &mut Told) {
        told.awaited_by(self.work.awaited_by(), |told| {
            self.work.tell(told);
            let Ok(links) = self.links.try_borrow() else { return };
            links.iter().for_each(|(_, link)| link.tell(told));
        });
    }
}

/// A node that has ended when this is dropped.
pub(super) struct Released<'n>(pub(super) &'n Node);

impl Drop for Released<'_> {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// A connection's place among those of its node.
pub(super) struct Membership {
    link: Rc<Link>,
    key: slab::Key,
}

impl Node {
    /// What was built; `answers_unknown`: as a server and a node of datagrams do.
    pub(super) fn new(builder: Builder, answers_unknown: bool) -> Rc<Node> {
        Rc::new(Node {
            protection: builder.protection,
            kinds: builder.kinds,
            routes: builder.routes,
            lateness: builder.lateness,
            counts: Counts::default(),
            topics: Topics::default(),
            peers: builder.peers,
            work: Rc::default(),
            parting: builder.parting,
            settings: builder.settings,
            answers_unknown,
            links: RefCell::new(Slab::new()),
            is_known: Cell::new(false),
        })
    }

    pub(super) fn enter(link: &Rc<Link>) -> Membership {
        count(&link.node.counts.connections, 1);
        link.node.peers.enter(link.address);
        let key = link.node.links.borrow_mut().insert(link.clone());
        Membership { link: link.clone(), key }
    }

    /// Has dumps ask it from now on; on its worker.
    pub(super) fn be_known(self: &Rc<Self>) {
        if !self.is_known.replace(true) {
            let node: Rc<dyn Knows> = self.clone();
            context::with(|worker| worker.informants().add(Rc::downgrade(&node)));
        }
    }

    pub(super) fn links(&self) -> Vec<Rc<Link>> {
        self.links.borrow().iter().map(|(_, link)| link.clone()).collect()
    }

    /// Sends a message within an inner layer to many, and returns to how many. Those who need codes of their own get them;
    /// the others share one frame.
    pub(super) fn tell(
        &self,
        ends: impl IntoIterator<Item = End>,
        inner: &Layer,
        mut message: Message,
    ) -> Result<usize, SendError> {
        let (particular, others): (Vec<_>, Vec<_>) =
            ends.into_iter().partition(|end| inner.is_particular() || end.guard().is_particular());
        let (mut told, mut failed) = (0, None);
        let mut note = |sent: Result<(), SendError>| match sent {
            Ok(()) => told += 1,
            // That is the peer's matter, and not the message's.
            Err(SendError::Closed | SendError::Full | SendError::Plugin(PluginError::NoSession)) => {}
            Err(error) => failed = failed.or(Some(error)),
        };
        for end in &particular {
            note(Peer::new(end.clone()).within(inner.clone()).send(message.clone()));
        }
        if particular.is_empty() || !others.is_empty() {
            message.fields.renew();
            match self.frame_for_all(inner, &mut message) {
                Ok(frame) => others.iter().for_each(|end| note(end.push(&frame))),
                Err(error) => note(Err(error)),
            }
        }
        if told > 0 { Ok(told) } else { failed.map_or(Ok(0), Err) }
    }

    /// The frame for those who need no codes of their own.
    fn frame_for_all(&self, inner: &Layer, message: &mut Message) -> Result<Bytes, SendError> {
        wrap_for_all(inner, Side::Answers, message)?;
        wrap_for_all(&self.protection.layer, Side::Answers, message)?;
        Ok(message.to_octets()?.into())
    }

    pub(super) fn connections(&self) -> usize {
        self.links.borrow().len()
    }

    /// The node has ended, and nobody is told of anything any more. What the handlers hold goes, which may be this node itself,
    /// and those who are connected to it.
    pub(super) fn release(&self) {
        self.routes.end();
        self.lateness.abort();
        drop_contained(self.peers.hook.take());
    }

    /// Ends connections that have something to do still, but for those that these handlers work on, and counts them.
    pub(super) fn cut(&self, spared: &[u64]) -> usize {
        self.links().iter().filter(|link| link.cut(spared)).count()
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        count(&self.link.node.counts.dropped, self.link.dropped());
        let removed = self.link.node.links.borrow_mut().remove(self.key);
        drop(removed);
        self.link.node.peers.leave(self.link.address);
        self.link.node.topics.leave_all(&End::Link(self.link.clone()));
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = out.debug_struct("Node");
        debug.field("routes", &self.routes).field("topics", &self.topics);
        debug.field("connections", &self.connections()).finish_non_exhaustive()
    }
}
