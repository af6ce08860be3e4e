//! A connection as those who send requests on it see it: who waits for room, and why it ended.
//!
//! Room is handed out as *permits*, first come, first served: a request that holds one finds its stream. There
//! are never more permits than the peer's limit leaves room for, unless the peer lowers it meanwhile.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use ::http::{Request, Version};
use bytes::Bytes;

use super::error::{Error, Kind};
use crate::{
    contain::wake_contained,
    http::{
        connection::{Cause, Role},
        core,
        wire::Wire,
    },
    limits::CLIENT_WAITING,
    proto::h2::{CommandError, ConnectionError, Event, Reason, StreamKey},
};

/// What a connection tells the pool that it belongs to.
pub(super) trait Owner {
    /// There may be room for another request, or the connection takes none any more. `idle`: nothing is under way.
    fn changed(&self, idle: bool);
}

/// One connection, shared by its handles, its requests and its driver.
pub(super) struct Link {
    pub(super) wire: Rc<Wire>,
    /// The time limit of a request that has none of its own.
    pub(super) timeout: Option<Duration>,
    /// Requests that we want at a time, whatever the peer allows.
    most: usize,
    handles: Cell<usize>,
    permits: Cell<usize>,
    queue: RefCell<VecDeque<Rc<Waiter>>>,
    farewell: RefCell<Option<Farewell>>,
    ended: RefCell<Option<Cause>>,
    owner: RefCell<Option<Weak<dyn Owner>>>,
    /// No more requests, by our own wish.
    leaving: Cell<bool>,
    /// The driver is gone, and the socket with it.
    gone: Cell<bool>,
    /// Who waits for the peer's SETTINGS, or for the end.
    curious: RefCell<Vec<Waker>>,
}

/// What the peer said when it went away.
struct Farewell {
    reason: Reason,
    debug: Bytes,
}

/// Somebody who waits for room.
struct Waiter {
    state: Cell<Waiting>,
    waker: RefCell<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    InLine,
    /// A permit is his.
    Granted,
    /// There will never be room.
    InVain,
}

impl Link {
    pub(super) fn new(wire: Rc<Wire>, timeout: Option<Duration>, most: usize) -> Rc<Link> {
        Rc::new(Link {
            wire,
            timeout,
            most,
            handles: Cell::new(0),
            permits: Cell::new(0),
            queue: RefCell::default(),
            farewell: RefCell::default(),
            ended: RefCell::default(),
            owner: RefCell::default(),
            leaving: Cell::new(false),
            gone: Cell::new(false),
            curious: RefCell::default(),
        })
    }

    pub(super) fn set_owner(&self, owner: Weak<dyn Owner>) {
        *self.owner.borrow_mut() = Some(owner);
    }

    pub(super) fn add_handle(&self) {
        self.handles.set(self.handles.get() + 1);
    }

    /// A handle was dropped; with the last of them the connection ends as soon as no request is under way.
    pub(super) fn drop_handle(&self) {
        self.handles.set(self.handles.get() - 1);
        if self.handles.get() == 0 {
            self.wire.wake_driver();
        }
    }

    /// Whether nothing is under way, and nothing about to be.
    pub(super) fn is_idle(&self) -> bool {
        self.streams() == 0 && self.permits.get() == 0
    }

    /// Whether it has nothing to do, and its peer has ended it without a word; looked for where HTTP/2 would tell.
    pub(super) fn is_stale(&self) -> bool {
        self.is_idle() && self.wire.is_stale()
    }

    /// Whether it carries one request at a time.
    pub(super) fn is_narrow(&self) -> bool {
        core::version(&self.wire.core.borrow()) != Version::HTTP_2
    }

    /// Requests under way.
    pub(super) fn streams(&self) -> usize {
        self.wire.core.borrow().open_streams()
    }

    /// Whether no request can be sent here any more.
    pub(super) fn is_over(&self) -> bool {
        self.leaving.get() || self.ended.borrow().is_some() || self.wire.core.borrow().request_room().is_err()
    }

    /// Takes no more requests, and ends the connection when those under way are done.
    pub(super) fn leave(&self) {
        self.leaving.set(true);
        self.grant();
        self.wire.wake_driver();
    }

    /// Waits until the socket is closed.
    pub(super) fn poll_gone(&self, context: &Context<'_>) -> Poll<()> {
        if self.gone.get() {
            return Poll::Ready(());
        }
        self.keep_posted(context);
        Poll::Pending
    }

    /// Waits for the peer's SETTINGS, and tells whether it takes extended CONNECT.
    pub(super) fn poll_connect_protocol(&self, context: &Context<'_>) -> Poll<Result<bool, Error>> {
        if self.is_over() {
            return Poll::Ready(Err(self.refusal()));
        }
        if let Some(takes) = self.wire.core.borrow().takes_connect_protocol() {
            return Poll::Ready(Ok(takes));
        }
        self.keep_posted(context);
        Poll::Pending
    }

    fn keep_posted(&self, context: &Context<'_>) {
        let mut curious = self.curious.borrow_mut();
        curious.retain(|other| !other.will_wake(context.waker()));
        curious.push(context.waker().clone());
    }

    fn tell_curious(&self) {
        let curious = self.curious.take();
        curious.into_iter().for_each(wake_contained);
    }

    /// Whether the connection is to end as soon as nothing is under way.
    fn is_unwanted(&self) -> bool {
        self.leaving.get() || self.handles.get() == 0
    }

    /// Requests that may be sent now, besides those that have a permit.
    pub(super) fn room(&self) -> usize {
        let core = self.wire.core.borrow();
        let peer = core.request_room().unwrap_or(0);
        let own = self.most.saturating_sub(core.open_streams());
        peer.min(own).saturating_sub(self.permits.get())
    }

    /// Takes a permit, if there is room and nobody waits.
    pub(super) fn try_permit(&self) -> bool {
        let granted = self.queue.borrow().is_empty() && self.room() > 0;
        if granted {
            self.permits.set(self.permits.get() + 1);
        }
        granted
    }

    /// A permit was used, or is given back.
    pub(super) fn end_permit(&self) {
        self.permits.set(self.permits.get() - 1);
    }

    /// Something may have made room.
    pub(super) fn freed(&self) {
        self.grant();
        if self.is_unwanted() {
            self.wire.wake_driver();
        }
    }

    /// Hands permits to those who wait longest.
    fn grant(&self) {
        if self.is_over() {
            let waiters = std::mem::take(&mut *self.queue.borrow_mut());
            for waiter in waiters {
                waiter.tell(Waiting::InVain);
            }
        } else {
            while self.room() > 0 {
                let Some(waiter) = self.queue.borrow_mut().pop_front() else { break };
                self.permits.set(self.permits.get() + 1);
                waiter.tell(Waiting::Granted);
            }
        }
        let owner = self.owner.borrow().as_ref().and_then(Weak::upgrade);
        if let Some(owner) = owner {
            owner.changed(self.is_idle());
        }
    }

    /// Why no request can be sent.
    pub(super) fn refusal(&self) -> Error {
        match self.ended.borrow().as_ref() {
            Some(cause) => self.end_error(cause).unprocessed(),
            None => match self.farewell.borrow().as_ref() {
                Some(farewell) => farewell.error(Kind::GoAway).unprocessed(),
                None => Error::command(CommandError::GoingAway),
            },
        }
    }

    /// Why a request that was sent has no response: the connection ended. `end` is where its head ends in all
    /// that was sent.
    pub(super) fn lost(&self, stream: StreamKey, end: u64) -> Error {
        let error = match self.ended.borrow().as_ref() {
            Some(cause) => self.end_error(cause),
            None => Error::new(Kind::Closed, "the connection has ended"),
        };
        let core = self.wire.core.borrow();
        // A head of which the last byte was not written cannot have been understood.
        if core.output_written() < end {
            return error.unprocessed();
        }
        if core::was_unanswered(&core, stream) { error.unanswered() } else { error }
    }

    fn end_error(&self, cause: &Cause) -> Error {
        match (cause, self.farewell.borrow().as_ref()) {
            (Cause::Closed(Some(error)), _) if error.is_timeout() => {
                Error::new(Kind::Timeout, "the connection timed out").caused_by(*error)
            }
            (_, Some(farewell)) => farewell.error(Kind::Closed),
            (Cause::Closed(Some(error)), None) => closed(*error, core::version(&self.wire.core.borrow())),
            (Cause::Closed(None) | Cause::Http1, None) => {
                Error::new(Kind::Closed, "the connection has ended")
            }
            (Cause::Failed(kind), None) => {
                Error::new(Kind::Closed, "the connection failed").caused_by(io::Error::from(*kind))
            }
            (Cause::Dropped, None) => Error::new(Kind::Closed, "the runtime of the connection has ended"),
        }
    }
}

/// The peer broke the protocol, or closed at the wrong time.
fn closed(error: ConnectionError, version: Version) -> Error {
    let text = if error.is_peer() && error.offset == 0 && version == Version::HTTP_2 {
        "the peer does not speak HTTP/2"
    } else if error.is_peer() {
        "the peer broke the protocol"
    } else {
        "the connection has ended"
    };
    Error::new(Kind::Closed, text).caused_by(error)
}

impl Farewell {
    fn error(&self, kind: Kind) -> Error {
        let mut text = format!("the peer went away: {}", self.reason);
        if !self.debug.is_empty() {
            text.push_str(&format!(" ({})", String::from_utf8_lossy(&self.debug).escape_debug()));
        }
        Error::new(kind, text)
    }
}

impl Waiter {
    fn tell(&self, state: Waiting) {
        self.state.set(state);
        self.waker.borrow().wake_by_ref();
    }
}

/// A place in the line for a permit; dropping it leaves the line, or gives the permit back.
pub(super) struct Place {
    link: Rc<Link>,
    waiter: Option<Rc<Waiter>>,
}

impl Place {
    pub(super) fn new(link: Rc<Link>) -> Place {
        Place { link, waiter: None }
    }

    /// Waits for a permit, which is the caller's then.
    pub(super) fn poll_permit(&mut self, context: &Context<'_>) -> Poll<Result<(), Error>> {
        if let Some(waiter) = &self.waiter {
            match waiter.state.get() {
                Waiting::InLine => {
                    waiter.waker.borrow_mut().clone_from(context.waker());
                    return Poll::Pending;
                }
                Waiting::Granted => {
                    self.waiter = None;
                    return Poll::Ready(Ok(()));
                }
                Waiting::InVain => {
                    self.waiter = None;
                    return Poll::Ready(Err(self.link.refusal()));
                }
            }
        }
        if self.link.is_over() {
            return Poll::Ready(Err(self.link.refusal()));
        }
        if self.link.try_permit() {
            return Poll::Ready(Ok(()));
        }
        let mut queue = self.link.queue.borrow_mut();
        if queue.len() >= CLIENT_WAITING {
            return Poll::Ready(
                Err(Error::new(Kind::Busy, "too many wait for the connection").unprocessed()),
            );
        }
        let waiter =
            Waiter { state: Cell::new(Waiting::InLine), waker: RefCell::new(context.waker().clone()) };
        let waiter = Rc::new(waiter);
        queue.push_back(waiter.clone());
        self.waiter = Some(waiter);
        // What makes room may be a write: then the driver must hear of it.
        self.link.wire.watch(true);
        Poll::Pending
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(waiter) = self.waiter.take() else { return };
        match waiter.state.get() {
            Waiting::InLine => {
                let mut queue = self.link.queue.borrow_mut();
                if let Some(at) = queue.iter().position(|other| Rc::ptr_eq(other, &waiter)) {
                    queue.remove(at);
                }
            }
            Waiting::Granted => {
                self.link.end_permit();
                self.link.freed();
            }
            Waiting::InVain => {}
        }
    }
}

/// The client's end of a connection.
pub(super) struct Requests {
    pub(super) link: Rc<Link>,
}

impl Role for Requests {
    const READS_TO_THE_END: bool = true;

    fn begins(&self, _wire: &Rc<Wire>, _now: u64) {}

    fn switch(&self, _wire: &Wire, _now: u64) -> bool {
        false
    }

    /// A server cannot send requests: its core says so before anything comes here.
    fn request(&self, _wire: &Rc<Wire>, _stream: StreamKey, _request: Box<Request<()>>, _end: bool) {}

    fn news(&self, wire: &Rc<Wire>, event: Event) {
        match event {
            Event::Response { stream, response, end } => wire.deliver_head(stream, response, end),
            Event::Informational { stream, response } => wire.deliver_interim(stream, response),
            Event::GoAway { reason, debug, .. } => {
                *self.link.farewell.borrow_mut() = Some(Farewell { reason, debug });
            }
            // Advice that need not be followed: a connection is used for its own origin only (RFC 8336 §2.4), and for no other
            // service (RFC 7838 §2.4). Over cleartext a set of origins must be ignored anyway (RFC 8336 §2.2).
            Event::AltSvc { .. } | Event::Origins { .. } => {}
            Event::Request { .. }
            | Event::Data { .. }
            | Event::Trailers { .. }
            | Event::Reset { .. }
            | Event::Writable { .. }
            | Event::Pong { .. }
            | Event::Http1
            | Event::Closed { .. } => {}
        }
    }

    fn settled(&self, wire: &Rc<Wire>) {
        let link = &self.link;
        link.grant();
        if !link.curious.borrow().is_empty() {
            link.tell_curious();
        }
        let unwanted = link.is_unwanted();
        wire.watch(unwanted || !link.queue.borrow().is_empty());
        if unwanted {
            wire.detach_complete();
        }
        let mut core = wire.core.borrow_mut();
        if unwanted && core.open_streams() == 0 {
            core.shutdown();
        }
        let ended = core.has_events();
        drop(core);
        if ended {
            wire.wake_driver();
        }
    }

    fn ended(&self, _wire: &Rc<Wire>, cause: Cause) {
        self.link.ended.borrow_mut().get_or_insert(cause);
        self.link.grant();
        self.link.tell_curious();
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.link.gone.set(true);
        self.link.tell_curious();
    }
}
