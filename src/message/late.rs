//! What is done about requests that had no answer in their time.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    fmt,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    rc::{Rc, Weak},
    time::Duration,
};

use bytes::Bytes;

use crate::{
    contain::{attempt, drop_contained},
    limits::MESSAGE_LATE_HANDLERS,
    message::{
        client::{Reconnect, Remote},
        error::RequestError,
        link::Link,
        peer::contained,
    },
    proto::message::Kind,
    time::{now, timeout},
    worker::Scope,
};

/// A request that had no answer in its time, as [`Builder::on_timeout`](crate::message::Builder::on_timeout) is told of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Late {
    /// Who asked: the server as its client sees it; `None` when a node of datagrams asked, or a handler.
    pub remote: Option<Remote>,
    /// Who was asked.
    pub address: SocketAddr,
    /// What the time was too short for.
    pub waited: Waited,
    /// What the caller is told.
    pub error: RequestError,
    /// What was asked, …
    pub kind: Kind,
    /// … about which uri.
    pub uri: Bytes,
    /// How long it was waited.
    pub patience: Duration,
    /// The connection that was asked by.
    pub(super) link: Weak<Link>,
}

/// What a request waited for when its time was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waited {
    /// A connection, or word of how to speak on it.
    Connection,
    /// Its turn, or room, behind other requests.
    Turn,
    /// The answer.
    Answer,
}

impl Waited {
    /// What a request waited for that had its connection.
    pub(super) fn behind_connection(error: &RequestError) -> Waited {
        if error.was_sent() { Waited::Answer } else { Waited::Turn }
    }
}

/// Waits for what has to be there before something is sent, a connection or a session, and says how much of the patience is left.
pub(super) async fn in_time<T>(
    patience: Duration,
    ready: impl Future<Output = Result<T, RequestError>>,
) -> Result<(T, Duration), RequestError> {
    let begun = now();
    let ready = timeout(patience, ready).await.unwrap_or(Err(RequestError::TimedOut));
    let left = || patience.saturating_sub(now().saturating_duration_since(begun));
    ready.map(|ready| (ready, left())).map_err(RequestError::before_sent)
}

type Handling = Pin<Box<dyn Future<Output = ()>>>;
type Handler = Rc<dyn Fn(Late) -> Handling>;

/// Who is told of late requests, and those who deal with one now.
#[derive(Default)]
pub(super) struct Lateness {
    handler: RefCell<Option<Handler>>,
    /// Ends with the node.
    at_work: RefCell<Option<Scope<Infallible>>>,
    has_ended: Cell<bool>,
}

impl Lateness {
    pub(super) fn set<H, F>(&self, handler: H)
    where
        H: Fn(Late) -> F + 'static,
        F: Future<Output = ()> + 'static,
    {
        let handler: Handler = Rc::new(move |late| Box::pin(handler(late)));
        let former = if self.has_ended.get() { Some(handler) } else { self.handler.replace(Some(handler)) };
        drop(former);
    }

    pub(super) fn is_heard(&self) -> bool {
        self.handler.borrow().is_some()
    }

    /// Has the handler deal with a late request, in a task of its own.
    pub(super) fn tell(&self, late: Late) {
        let handler = self.handler.borrow().clone();
        let Some(handler) = handler else { return };
        if self.at_work.borrow().as_ref().is_some_and(|scope| scope.len() >= MESSAGE_LATE_HANDLERS) {
            return;
        }
        // What it does before its first pause, it does before the caller goes on. Its panic has been told by the hook.
        let Some(handling) = attempt(|| handler(late)) else { return };
        let handling = async { contained(|| handling).await.unwrap_or_default() };
        self.at_work.borrow_mut().get_or_insert_with(Scope::new).spawn(handling);
    }

    /// Ends those at work, and tells nobody any more.
    pub(super) fn abort(&self) {
        self.has_ended.set(true);
        drop_contained(self.at_work.take());
        drop_contained(self.handler.take());
    }

    /// Ends those at work, and waits until they are gone.
    pub(super) async fn end(&self) {
        let scope = self.at_work.take();
        if let Some(scope) = scope {
            // A panic has been told by its hook.
            let _ = scope.close().await;
        }
    }
}

/// Makes the connection anew on which a request was not answered, so that those after it have one that works.
///
/// # Examples
///
/// ```
/// use wakering::message::{AutoReconnect, Builder, Kind, Reconnect};
///
/// let mut policy = Reconnect::default();
/// policy.attempts = Some(3);
/// let again = AutoReconnect::new(policy).on_reconnect(|remote, _attempt| async move {
///     // A new connection has no subscriptions.
///     let _ = remote.request(Kind::SUBSCRIBE_URI, "news", "").await;
/// });
/// let client = Builder::new().on_timeout(again.handler()).client();
/// # drop(client);
/// ```
#[derive(Clone)]
pub struct AutoReconnect {
    policy: Reconnect,
    told: Rc<dyn Fn(Remote, u32) -> Handling>,
}

impl AutoReconnect {
    /// With this many attempts, and these pauses.
    #[must_use]
    pub fn new(policy: Reconnect) -> AutoReconnect {
        AutoReconnect { policy, told: Rc::new(|_remote, _attempt| Box::pin(async {})) }
    }

    /// Has `told` know of every connection that was made anew, and at which attempt.
    #[must_use]
    pub fn on_reconnect<H, F>(mut self, told: H) -> AutoReconnect
    where
        H: Fn(Remote, u32) -> F + 'static,
        F: Future<Output = ()> + 'static,
    {
        self.told = Rc::new(move |remote, attempt| Box::pin(told(remote, attempt)));
        self
    }

    /// What [`Builder::on_timeout`](crate::message::Builder::on_timeout) takes.
    pub fn handler(self) -> impl Fn(Late) -> Handling + 'static {
        move |late| {
            let again = self.clone();
            Box::pin(async move { again.handle(late).await })
        }
    }

    async fn handle(self, late: Late) {
        // A connection that could not be made is the next request's to make, and one that has much to do is none the worse.
        let (Some(remote), Waited::Answer) = (late.remote, late.waited) else { return };
        if let Ok(Some(attempt)) = remote.replace(&late.link, &self.policy).await {
            (self.told)(remote, attempt).await;
        }
    }
}

impl fmt::Debug for AutoReconnect {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("AutoReconnect").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl fmt::Debug for Lateness {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at_work = self.at_work.borrow().as_ref().map_or(0, Scope::len);
        out.debug_struct("Lateness").field("at_work", &at_work).finish_non_exhaustive()
    }
}
