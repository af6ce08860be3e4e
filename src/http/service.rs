//! A server's end of its connections: a handler for each request.

use std::{future::Future, panic::Location, rc::Rc};

use ::http::{HeaderMap, Method, Request, header};

use crate::{
    http::{
        body::Body,
        connection::{Cause, Role},
        date::Date,
        exchange::Exchange,
        hooks::Hooks,
        wire::Wire,
    },
    proto::h2::{Event, StreamKey},
    task::{Pool, Tasks},
    worker::context,
};

/// What the connections of a server on one worker have in common.
pub(super) struct Service<M, F: Future<Output = ()> + 'static> {
    /// Makes the future of one exchange; the handler is inside.
    make: M,
    tasks: Rc<Tasks>,
    cells: Rc<Pool<F>>,
    date: Rc<Date>,
    pub(super) hooks: Hooks,
    spawned: &'static Location<'static>,
}

impl<M, F> Service<M, F>
where
    M: Fn(Exchange, Request<Body>) -> F,
    F: Future<Output = ()> + 'static,
{
    pub(super) fn new(make: M, hooks: Hooks, spawned: &'static Location<'static>) -> Rc<Self> {
        let tasks = context::with(|worker| worker.tasks().clone());
        Rc::new(Service { make, tasks, cells: Pool::new(), date: Rc::new(Date::new()), hooks, spawned })
    }
}

impl<M, F> Role for Rc<Service<M, F>>
where
    M: Fn(Exchange, Request<Body>) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    const READS_TO_THE_END: bool = false;

    /// Calls the handler, with no borrow of the connection held.
    #[inline]
    fn request(&self, wire: &Rc<Wire>, stream: StreamKey, request: Request<()>, end: bool) {
        let head_only = request.method() == Method::HEAD;
        let body = if end { Body::empty() } else { content(wire, stream, request.headers()) };
        let exchange = Exchange::new(wire.clone(), self.date.clone(), stream, head_only);
        let make = || (self.make)(exchange, request.map(|()| body));
        let started = self.cells.start(&self.tasks, make, self.spawned);
        if let Some(handler) = started {
            wire.keep_handler(stream, handler);
        }
    }

    /// A server's core has no requests of its own under way, and sends no PING for its user.
    fn news(&self, _wire: &Rc<Wire>, _event: Event) {}

    #[inline]
    fn settled(&self, _wire: &Rc<Wire>) {}

    fn ended(&self, wire: &Rc<Wire>, cause: Cause) {
        self.hooks.disconnected(wire, cause);
    }
}

/// The content that comes on a stream; whoever reads it first tells a peer that waits for a 100.
fn content(wire: &Rc<Wire>, stream: StreamKey, headers: &HeaderMap) -> Body {
    let expected = headers.get(header::EXPECT);
    let invite = expected.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    Body::incoming(wire.open_mailbox(stream).by_invitation(invite))
}
