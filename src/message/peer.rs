//! The far end, whatever it is reached by: what is said to it, and what becomes of what it says.

use std::{
    fmt,
    future::{Future, poll_fn},
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;

use crate::{
    message::{
        asks::{Answer, Asks},
        error::{LinkEnd, RequestError, SendError},
        guard::Guard,
        layer::{Layer, Refused},
        link::Link,
        node::Node,
        routes::{Incoming, Route},
    },
    proto::message::{Kind, Message, Value, repeat_number},
    time::{timeout, timeout_at},
    worker::dump::waiting,
};

/// The far end of a connection; clones are the same one's.
#[derive(Clone, Debug)]
pub struct Peer {
    pub(super) link: Rc<Link>,
}

impl Peer {
    /// Its address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.link.address
    }

    /// Whether what is said to it is sealed in a [`Session`](super::Session).
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.guard().is_sealed()
    }

    /// Sends it a message that it did not ask for. The message is queued; it goes out by itself.
    ///
    /// # Errors
    ///
    /// [`SendError`]: the connection is over, the peer reads too slowly, or the message is too long.
    pub fn send(&self, mut message: Message) -> Result<(), SendError> {
        self.guard().wrap(&mut message, self.said().as_deref())?;
        self.send_plain(&message)
    }

    /// Has it get what is published under `topic`, until it goes or [`unsubscribe`](Peer::unsubscribe)s; false when it has
    /// 1,024 topics already.
    pub fn subscribe(&self, topic: impl Into<Bytes>) -> bool {
        self.node().topics.enter(topic.into(), &self.link)
    }

    /// Ends a subscription; false when there was none.
    pub fn unsubscribe(&self, topic: impl AsRef<[u8]>) -> bool {
        self.node().topics.leave(topic.as_ref(), &self.link)
    }

    /// Messages that it was not sent, because it read too slowly.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.link.dropped()
    }

    /// Closes the connection now; what is queued may not go out.
    pub fn disconnect(&self) {
        self.link.finish(LinkEnd::Closed);
    }

    pub(super) fn node(&self) -> &Rc<Node> {
        &self.link.node
    }

    /// What it has said of itself, if it has.
    #[expect(clippy::unused_self, reason = "peers of connections say nothing of themselves yet")]
    pub(super) fn said(&self) -> Option<Rc<Value>> {
        None
    }

    pub(super) fn guard(&self) -> &Guard {
        &self.link.guard
    }

    fn asks(&self) -> &Rc<Asks> {
        &self.link.asks
    }

    /// Sends a message as it is.
    fn send_plain(&self, message: &Message) -> Result<(), SendError> {
        self.link.push(message.to_octets()?.into())
    }

    /// Asks, and waits for the answer, in an inner layer.
    pub(super) async fn ask(
        &self,
        mut message: Message,
        inner: &Layer,
        patience: Duration,
    ) -> Result<Message, RequestError> {
        if let Some(end) = self.link.end() {
            return Err(RequestError::after(end));
        }
        let (kind, uri) = (message.kind, message.uri.clone());
        self.expire();
        let asked = self.asks().begin(&mut message, patience)?;
        let wrapped = self.guard().wrap_in(inner, &mut message, self.said().as_deref());
        let unsent = if asked.now { None } else { Some(message.clone()) };
        let answer = self.asks().answer(&asked, unsent);
        wrapped.map_err(SendError::Plugin)?;
        if asked.now {
            self.send(message)?;
        }
        let address = self.addr();
        let describe = move |out: &mut fmt::Formatter<'_>| {
            write!(out, "the answer to {kind} {} from {address}", String::from_utf8_lossy(&uri))
        };
        let mut answer = if asked.now {
            timeout(patience, waiting(describe, answer)).await.unwrap_or(Err(RequestError::TimedOut))
        } else {
            waiting(describe, pin!(self.outwait(answer))).await
        }
        .inspect_err(|error| {
            if error.is_timeout() {
                self.expire();
            }
        })?;
        let opened = self.guard().unwrap_in(inner, &mut answer, self.said().as_deref());
        opened.map_err(|refused| RequestError::NotGenuine(refused.to_string()))?;
        Ok(answer)
    }

    /// Waits for the answer of a request whose turn has not come. Nobody else may be left to see that the time of those
    /// before it is over.
    async fn outwait(&self, answer: Answer) -> Result<Message, RequestError> {
        let mut answer = pin!(answer);
        while let Some(due) = self.asks().next_deadline() {
            if let Ok(outcome) = timeout_at(due, answer.as_mut()).await {
                return outcome;
            }
            self.expire();
        }
        answer.await
    }

    /// Lets go of the requests that were not answered in their time, and sends those that waited for them.
    fn expire(&self) {
        self.asks().expire();
        self.send_waiting();
    }

    /// Sends the requests whose turn it is.
    fn send_waiting(&self) {
        while let Some((ticket, message)) = self.asks().next_to_send() {
            if let Err(error) = self.send(message) {
                self.asks().fail(ticket, error.into());
            }
        }
    }

    /// Ends the request that a message answers, if it answers any.
    fn settled(&self, message: &Message, outcome: impl FnOnce() -> Result<Message, RequestError>) -> bool {
        let settled = self.asks().answered(message, outcome);
        if settled {
            self.send_waiting();
        }
        settled
    }

    /// Gives a message to the request that it answers; else says which handler it is for, if any is.
    pub(super) fn take(&self, mut message: Message) -> Option<(Route, Message)> {
        let said = self.said();
        if let Some(mut accepted) = self.guard().accept(&message) {
            repeat_number(&message, &mut accepted);
            // A peer whose queue is full before it has asked for anything gets nothing else either.
            let _ = self.send(accepted);
            return None;
        }
        if let Err(refused) = self.guard().unwrap(&mut message, said.as_deref()) {
            self.refuse(&message, &refused);
            return None;
        }
        if self.settled(&message, || Ok(message.clone())) {
            return None;
        }
        let Some(route) = self.node().routes.find(&message, self.addr()) else {
            if self.node().answers_unknown && !message.kind.ends_an_exchange() {
                self.complain(Some(&message), Kind::NOT_FOUND, "not found");
            }
            return None;
        };
        if let Err(refused) = self.guard().unwrap_in(&route.layer, &mut message, said.as_deref()) {
            self.refuse(&message, &refused);
            return None;
        }
        Some((route, message))
    }

    /// A message that did not come through a layer. Who asked is told, in plain; answers end what they answer.
    fn refuse(&self, message: &Message, refused: &Refused) {
        if let Refused::Seal(error) = refused {
            return self.link.finish(LinkEnd::Session(*error));
        }
        if message.kind.ends_an_exchange() {
            let text = if message.kind.is_error() { lossy(&message.content) } else { refused.to_string() };
            self.settled(message, || Err(RequestError::NotGenuine(text)));
            return;
        }
        match refused {
            Refused::Auth(text) => self.complain(Some(message), Kind::AUTH_ERROR, text),
            Refused::Cipher(_) | Refused::Seal(_) => {
                self.complain(Some(message), Kind::ERROR, "decryption failed");
            }
        }
    }

    /// Tells the peer what is wrong. Only what is not found is told in the node's layer: who is told anything else is
    /// not known to be able to read that.
    pub(super) fn complain(&self, about: Option<&Message>, kind: Kind, text: &str) {
        let found_out = kind == Kind::NOT_FOUND;
        let uri = about.filter(|_| found_out).map_or(Bytes::from_static(b"ERROR"), |about| about.uri.clone());
        let mut complaint = Message::new(kind, uri, text.to_owned());
        if let Some(about) = about {
            repeat_number(about, &mut complaint);
        }
        // A peer whose queue is full learns that from nothing else.
        let _ = if found_out || self.guard().is_sealed() {
            self.send(complaint)
        } else {
            self.send_plain(&complaint)
        };
    }

    /// Has a handler deal with a message, and sends what it answers.
    pub(super) async fn answer(&self, route: &Route, message: Message) {
        let incoming = Incoming { message: message.clone(), peer: self.clone() };
        let Ok(answer) = contained(|| route.call(incoming)).await else {
            if !message.kind.ends_an_exchange() {
                self.complain(Some(&message), Kind::ERROR, "the handler failed");
            }
            return;
        };
        let Some(mut answer) = answer else { return };
        repeat_number(&message, &mut answer);
        let wrapped = self.guard().wrap_in(&route.layer, &mut answer, self.said().as_deref());
        match wrapped.map_err(SendError::from).and_then(|()| self.send(answer)) {
            Ok(()) | Err(SendError::Closed | SendError::Full) => {}
            // It is too long for a message: nobody would learn that.
            Err(error) => self.complain(Some(&message), Kind::ERROR, &error.to_string()),
        }
    }
}

fn lossy(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// Runs a handler; its panic ends nothing but itself, and has been told by the panic hook.
async fn contained<F: Future>(make: impl FnOnce() -> F) -> Result<F::Output, ()> {
    let mut future = pin!(catch_unwind(AssertUnwindSafe(make)).map_err(|_payload| ())?);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(_payload) => Poll::Ready(Err(())),
    })
    .await
}
