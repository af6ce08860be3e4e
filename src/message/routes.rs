//! Which handler a message goes to.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;

use crate::{
    contain::{attempt, drop_contained},
    limits::MESSAGE_CALM_CALLS,
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

/// A handler that waits for something.
pub(super) type Answering = Pin<Box<dyn Future<Output = Option<Message>>>>;

/// What came of calling a handler.
pub(super) enum Called {
    /// It has done its work; its answer is where it was wanted, if it has one.
    Done,
    /// It waits for something.
    Waits(Answering),
    /// It has panicked, which the panic hook has told.
    Panicked,
}

/// A handler, whatever its future is.
///
/// Messages are taken from where they stand, and put where they are wanted: they are too large to be handed on.
trait Handler {
    fn call(
        &self,
        message: &mut Option<Message>,
        peer: &Peer,
        context: &mut Context<'_>,
        answer: &mut Option<Message>,
    ) -> Called;
}

/// Most handlers never wait: their futures take turns in one place.
struct Handles<H, F> {
    handler: H,
    place: Cell<Option<Place<F>>>,
}

type Place<F> = Pin<Box<Option<F>>>;

impl<H, F> Handler for Handles<H, F>
where
    H: Fn(Incoming) -> F,
    F: Future<Output = Option<Message>> + 'static,
{
    fn call(
        &self,
        message: &mut Option<Message>,
        peer: &Peer,
        context: &mut Context<'_>,
        answer: &mut Option<Message>,
    ) -> Called {
        let Some(message) = message.take() else { return Called::Done };
        let mut place = self.place.take().unwrap_or_else(|| Box::pin(None));
        let is_done = attempt(|| {
            place.set(Some((self.handler)(Incoming { message, peer: peer.clone() })));
            let Poll::Ready(answered) = poll(&mut place, context) else { return false };
            *answer = answered;
            place.set(None);
            true
        });
        match is_done {
            Some(true) => {
                self.place.set(Some(place));
                Called::Done
            }
            Some(false) => Called::Waits(Box::pin(Waiting(place))),
            None => {
                drop_contained(place);
                Called::Panicked
            }
        }
    }
}

/// A future that has left its place to others, which take another one.
struct Waiting<F>(Place<F>);

impl<F: Future<Output = Option<Message>>> Future for Waiting<F> {
    type Output = Option<Message>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Message>> {
        poll(&mut self.0, context)
    }
}

fn poll<F: Future<Output = Option<Message>>>(
    place: &mut Place<F>,
    context: &mut Context<'_>,
) -> Poll<Option<Message>> {
    place.as_mut().as_pin_mut().map_or(Poll::Ready(None), |future| future.poll(context))
}

pub(super) struct Route {
    handler: Box<dyn Handler>,
    pub(super) layer: Layer,
    /// It is for what no other handler is for.
    pub(super) is_default: bool,
    /// It stands in the table of those that are for one message.
    once: bool,
    /// The uri of its messages, if that is one.
    uri: Option<Bytes>,
    /// Calls in a row that did not wait, as far as that is counted.
    calm: Cell<u8>,
    /// The uri of the message that it is called with, where that was noted.
    about: Cell<Option<Bytes>>,
}

impl Route {
    pub(super) fn new<H, F>(layer: Layer, handler: H) -> Route
    where
        H: Fn(Incoming) -> F + 'static,
        F: Future<Output = Option<Message>> + 'static,
    {
        let handler = Box::new(Handles { handler, place: Cell::new(None) });
        Route {
            handler,
            layer,
            is_default: false,
            once: false,
            uri: None,
            calm: Cell::new(0),
            about: Cell::new(None),
        }
    }

    /// Takes down what the next call is about, for those who ask when it waits; not when it will hardly do so.
    #[inline]
    pub(super) fn note(&self, message: &Message) -> bool {
        let is_calm = self.calm.get() >= MESSAGE_CALM_CALLS;
        if !is_calm {
            self.note_subject(message);
        }
        !is_calm
    }

    #[cold]
    fn note_subject(&self, message: &Message) {
        if self.uri.is_none() {
            let former = self.about.replace(Some(message.uri.clone()));
            drop(former);
        }
    }

    /// The call that was [noted](Route::note) did not wait.
    #[cold]
    pub(super) fn note_calm(&self) {
        let subject = self.about.take();
        drop(subject);
        self.calm.set(self.calm.get() + 1);
    }

    /// The call waits; what it is about, if that was noted or is always the same.
    pub(super) fn note_wait(&self) -> Option<Bytes> {
        self.calm.set(0);
        self.about.take().or_else(|| self.uri.clone())
    }

    /// Calls the handler with a message that is there, and polls what it returns once.
    pub(super) fn call(
        &self,
        message: &mut Option<Message>,
        peer: &Peer,
        context: &mut Context<'_>,
        answer: &mut Option<Message>,
    ) -> Called {
        self.handler.call(message, peer, context, answer)
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
    /// The node has ended, and no handler is kept.
    has_ended: Cell<bool>,
}

impl Routes {
    /// Adds a handler, in the place of one that was there for the same.
    pub(super) fn add(&self, key: Key, route: Route) {
        if self.has_ended.get() {
            return;
        }
        self.note(&key);
        let route = Route { uri: key.uri.clone(), ..route };
        let replaced = self.table.borrow_mut().insert(key, Rc::new(route));
        drop(replaced);
    }

    /// Sets the handler of what no other is for.
    pub(super) fn set_default(&self, route: Route) {
        if self.has_ended.get() {
            return;
        }
        let replaced = self.default.borrow_mut().replace(Rc::new(Route { is_default: true, ..route }));
        drop(replaced);
    }

    /// Adds one for a single message.
    pub(super) fn add_once(&self, key: Key, mut route: Route) {
        if self.has_ended.get() {
            return;
        }
        route.once = true;
        route.uri = key.uri.clone();
        self.note(&key);
        let replaced = self.once.borrow_mut().insert(key, Rc::new(route));
        drop(replaced);
    }

    fn note(&self, key: &Key) {
        self.of_uris.set(self.of_uris.get() || key.uri.is_some());
        self.of_peers.set(self.of_peers.get() || key.peer.is_some());
    }

    /// Takes all of them away, and keeps none from now on.
    pub(super) fn end(&self) {
        self.has_ended.set(true);
        drop_contained(self.table.take());
        drop_contained(self.default.take());
        drop_contained(self.once.take());
    }

    /// Takes those for `key` away.
    pub(super) fn remove(&self, key: &Key) -> bool {
        let removed = self.table.borrow_mut().remove(key);
        let once = self.once.borrow_mut().remove(key);
        removed.is_some() || once.is_some()
    }

    /// A message goes to a handler now: if that is for one message, it has had it.
    #[inline]
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
        let once = Some(once).filter(|once| !once.is_empty());
        let found =
            |key: &Key| once.as_ref().and_then(|once| once.get(key)).or_else(|| table.get(key)).cloned();
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
