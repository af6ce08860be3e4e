//! A server's end of its connections: a handler for each request.

use std::{cell::Cell, mem, panic::Location, rc::Rc};

use ::http::{HeaderMap, Request, header};

use crate::{
    http::{
        body::Body,
        connection::{Cause, Role},
        core,
        exchange::{Exchange, Shared},
        handler::Handler,
        mailbox::Work,
        pressure::Valve,
        wire::Wire,
    },
    proto::h2::{Event, StreamKey},
    task::{Chain, Pool, Tasks},
    worker::context,
};

/// What the connections of a server on one worker have in common.
pub(super) struct Service<H: Handler> {
    handler: H,
    tasks: Rc<Tasks>,
    cells: Rc<Pool<Chain<H::Future, Exchange>>>,
    /// Memory for a request's head, lent to whichever connection is at work.
    head: Cell<Option<Box<Request<()>>>>,
    pub(super) shared: Rc<Shared>,
    valve: Option<Box<Valve>>,
    spawned: &'static Location<'static>,
}

impl<H: Handler> Service<H> {
    pub(super) fn new(
        handler: H,
        shared: Shared,
        valve: Option<Box<Valve>>,
        spawned: &'static Location<'static>,
    ) -> Rc<Self> {
        let tasks = context::with(|worker| worker.tasks().clone());
        let shared = Rc::new(shared);
        Rc::new(Service { handler, tasks, cells: Pool::new(), head: Cell::new(None), shared, valve, spawned })
    }
}

impl<H: Handler> Role for Rc<Service<H>> {
    const READS_TO_THE_END: bool = false;

    #[inline]
    fn begins(&self, wire: &Rc<Wire>, now: u64) {
        let mut core = wire.core.borrow_mut();
        if let Some(head) = self.head.take() {
            core.recycle_head(head);
        }
        core::set_date(&mut core, &self.shared.date, now);
    }

    fn switch(&self, wire: &Wire, now: u64) -> bool {
        let switched = wire.switch(&self.shared.older, now);
        core::set_date(&mut wire.core.borrow_mut(), &self.shared.date, now);
        switched
    }

    /// Calls the handler, with no borrow of the connection held.
    #[inline]
    fn request(&self, wire: &Rc<Wire>, stream: StreamKey, mut head: Box<Request<()>>, end: bool) {
        if self.valve.as_ref().is_some_and(|valve| valve.sheds(wire, stream)) {
            return;
        }
        // Made inside, since what a closure captures is moved with it, several times.
        let started = self.cells.start(
            &self.tasks,
            |slot| {
                let exchange = Exchange::new(wire.clone(), self.shared.clone(), stream, head.method());
                let body = if end { Body::empty() } else { content(wire, stream, head.headers()) };
                let request = with_body(&mut head, body);
                // Before the handler is called: its answer's header map goes into the head.
                wire.core.borrow_mut().recycle_head(head);
                (slot.fill(self.handler.call(request, exchange.place())), exchange)
            },
            self.spawned,
        );
        if let Some(handler) = started {
            wire.keep_work(stream, Work::Handler(handler));
        }
    }

    /// A server's core has no requests of its own under way, and sends no PING for its user.
    fn news(&self, _wire: &Rc<Wire>, _event: Event) {}

    #[inline]
    fn settled(&self, wire: &Rc<Wire>) {
        self.head.set(wire.core.borrow_mut().take_head());
    }

    fn ended(&self, wire: &Rc<Wire>, cause: Cause) {
        self.shared.hooks.disconnected(wire, cause);
    }
}

/// The content that comes on a stream; whoever reads it first tells a peer that waits for a 100.
fn content(wire: &Rc<Wire>, stream: StreamKey, headers: &HeaderMap) -> Body {
    let expected = headers.get(header::EXPECT);
    let invite = expected.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let upgrades = core::may_upgrade(&wire.core.borrow(), stream);
    Body::incoming(wire.open_mailbox(stream).by_invitation(invite).for_tunnel(upgrades))
}

/// The request with its body, made where it is wanted: the parts are swapped, since whole heads are large to move.
#[inline]
fn with_body(head: &mut Request<()>, body: Body) -> Request<Body> {
    let mut request = Request::new(body);
    mem::swap(request.method_mut(), head.method_mut());
    mem::swap(request.uri_mut(), head.uri_mut());
    mem::swap(request.headers_mut(), head.headers_mut());
    mem::swap(request.extensions_mut(), head.extensions_mut());
    *request.version_mut() = head.version();
    request
}
