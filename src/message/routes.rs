//! Which handler a message goes to.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
};

use bytes::Bytes;

use crate::{
    message::{layer::Layer, peer::Peer},
    proto::message::{Kind, Message},
};

/// What a handler is for: messages of a type, of a type and a uri, or of these and one peer.
///
/// The most exact one that there is gets a message.
///
/// # Examples
///
/// ```
/// use wakering::message::{Key, Kind};
///
/// let all = Key::from(Kind::REQUEST_URI);
/// let one = Key::from((Kind::REQUEST_URI, "echo"));
/// let of_one_peer = Key::from((Kind::NOTIFY_URI, "news")).from_peer(([127, 0, 0, 1], 8888).into());
/// # let _ = (all, one, of_one_peer);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    kind: Kind,
    uri: Option<Bytes>,
    peer: Option<SocketAddr>,
}

impl From<Kind> for Key {
    fn from(kind: Kind) -> Key {
        Key { kind, uri: None, peer: None }
    }
}

impl<U: Into<Bytes>> From<(Kind, U)> for Key {
    fn from((kind, uri): (Kind, U)) -> Key {
        Key { kind, uri: Some(uri.into()), peer: None }
    }
}

impl Key {
    /// Only what this peer sends.
    #[must_use]
    pub fn from_peer(mut self, peer: SocketAddr) -> Key {
        self.peer = Some(peer);
        self
    }
}

/// A message that has come, and who sent it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Incoming {
    /// The message.
    pub message: Message,
    /// Its sender.
    pub peer: Peer,
}

impl Incoming {
    /// An answer about the same uri.
    #[must_use]
    pub fn answer(&self, kind: Kind, content: impl Into<Bytes>) -> Message {
        Message::new(kind, self.message.uri.clone(), content)
    }
}

type Answering = Pin<Box<dyn Future<Output = Option<Message>>>>;

pub(super) struct Route {
    handler: Box<dyn Fn(Incoming) -> Answering>,
    pub(super) layer: Layer,
    /// It is for what no other handler is for.
    pub(super) is_default: bool,
    /// It stands in the table of those that are for one message.
    once: bool,
}

impl Route {
    pub(super) fn new<H, F>(layer: Layer, handler: H) -> Route
    where
        H: Fn(Incoming) -> F + 'static,
        F: Future<Output = Option<Message>> + 'static,
    {
        Route {
            handler: Box::new(move |incoming| Box::pin(handler(incoming))),
            layer,
            is_default: false,
            once: false,
        }
    }

    pub(super) fn call(&self, incoming: Incoming) -> Answering {
        (self.handler)(incoming)
    }
}

/// The handlers of a node.
#[derive(Default)]
pub(super) struct Routes {
    table: RefCell<BTreeMap<Key, Rc<Route>>>,
    default: RefCell<Option<Rc<Route>>>,
    once: RefCell<BTreeMap<Key, Rc<Route>>>,
    /// There has been a handler for a uri, or for a peer: else no message is looked at so closely.
    of_uris: Cell<bool>,
    of_peers: Cell<bool>,
}

impl Routes {
    /// Adds a handler, in the place of one that was there for the same.
    pub(super) fn add(&self, key: Key, route: Route) {
        self.note(&key);
        let replaced = self.table.borrow_mut().insert(key, Rc::new(route));
        drop(replaced);
    }

    /// Sets the handler of what no other is for.
    pub(super) fn set_default(&self, route: Route) {
        let replaced = self.default.borrow_mut().replace(Rc::new(Route { is_default: true, ..route }));
        drop(replaced);
    }

    /// Adds one for a single message.
    pub(super) fn add_once(&self, key: Key, mut route: Route) {
        route.once = true;
        self.note(&key);
        let replaced = self.once.borrow_mut().insert(key, Rc::new(route));
        drop(replaced);
    }

    fn note(&self, key: &Key) {
        self.of_uris.set(self.of_uris.get() || key.uri.is_some());
        self.of_peers.set(self.of_peers.get() || key.peer.is_some());
    }

    /// Takes those for `key` away.
    pub(super) fn remove(&self, key: &Key) -> bool {
        let removed = self.table.borrow_mut().remove(key);
        let once = self.once.borrow_mut().remove(key);
        removed.is_some() || once.is_some()
    }

    /// A message goes to a handler now: if that is for one message, it has had it.
    pub(super) fn spend(&self, route: &Rc<Route>) {
        if route.once {
            let mut spent = None;
            self.once.borrow_mut().retain(|_, other| {
                let is_it = Rc::ptr_eq(other, route);
                spent = is_it.then(|| other.clone()).or(spent.take());
                !is_it
            });
        }
    }

    pub(super) fn find(&self, message: &Message, peer: SocketAddr) -> Option<Rc<Route>> {
        let (table, once) = (self.table.borrow(), self.once.borrow());
        let found = |key: &Key| once.get(key).or_else(|| table.get(key)).cloned();
        let (kind, mut exact) = (message.kind, None);
        if self.of_uris.get() {
            let mut key = Key { kind, uri: Some(message.uri.clone()), peer: Some(peer) };
            if self.of_peers.get() {
                exact = found(&key);
            }
            key.peer = None;
            exact = exact.or_else(|| found(&key));
        }
        let route = exact.or_else(|| found(&Key::from(kind)));
        route.or_else(|| self.default.borrow().clone())
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.table.borrow().keys()).finish()
    }
}
