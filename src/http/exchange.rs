//! One request, from the handler's answer to the last frame.

use std::{
    future::{Future, poll_fn},
    mem,
    pin::Pin,
    rc::Rc,
};

use ::http::{HeaderMap, Method, Response, StatusCode};

use crate::{
    http::{
        body::{Body, Kind},
        core::{self, Older},
        date::Date,
        hooks::Hooks,
        members::Watch,
        place::Place,
        sending::{Unsent, send_content},
        wire::Wire,
    },
    proto::h2::{CommandError, Reason, ResponseHead, StreamKey},
    task::Next,
    worker::context,
};

/// What the exchanges of one worker have in common.
pub(super) struct Shared {
    pub(super) date: Date,
    pub(super) hooks: Hooks,
    pub(super) watch: Rc<Watch>,
    /// Versions besides HTTP/2 that are spoken.
    pub(super) older: Older,
}

/// The right, and the duty, to answer one request.
///
/// Dropping it unanswered resets the stream: the handler panicked or was cancelled.
pub(super) struct Exchange {
    place: Place,
    shared: Rc<Shared>,
    asked: Asked,
    answered: bool,
    /// Why the stream is reset when it is not answered.
    reason: Reason,
}

/// What the request's method says about the response.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Content,
    /// The response's content is left out.
    HeadOnly,
    /// The response's content is one direction of a tunnel, the request's the other.
    Tunnel,
}

impl Exchange {
    pub(super) fn new(wire: Rc<Wire>, shared: Rc<Shared>, key: StreamKey, method: &Method) -> Self {
        wire.ledger.meter().began();
        let asked = match *method {
            Method::HEAD => Asked::HeadOnly,
            Method::CONNECT => Asked::Tunnel,
            _ => Asked::Content,
        };
        let place = Place { wire, key };
        Exchange { place, shared, asked, answered: false, reason: Reason::INTERNAL_ERROR }
    }

    /// Where the request came from.
    #[inline]
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Sends the response; what comes back is content that is still to be made, for [`stream`](Self::stream).
    fn answer(&mut self, response: &mut Response<Body>) -> Option<Body> {
        let status = response.status();
        let body = response.body_mut();
        if let Kind::Incoming(incoming) = &mut body.kind {
            incoming.invite();
        }
        let switches = status == StatusCode::SWITCHING_PROTOCOLS;
        let has_content = switches || may_have_content(status);
        let end = self.asked == Asked::HeadOnly || !has_content || body.is_empty();
        let content_length = if has_content { body.exact_length() } else { None };
        let whole = matches!(body.kind, Kind::Empty | Kind::Full(_));
        let now = context::with(context::Context::turn_time);
        let date = self.shared.date.at(now);
        let head = ResponseHead { status, headers: response.headers(), date: Some(&date), content_length };
        let mut core = self.place.wire.core.borrow_mut();
        if let Err(error) = core::respond(&mut core, self.place.key, head, end, whole) {
            drop((core, date));
            self.refuse(error, response.headers());
            return None;
        }
        core.recycle(mem::take(response.headers_mut()));
        if switches {
            self.asked = Asked::Tunnel;
        }
        if end {
            // What the handler made is dropped with its answer: not while the core is borrowed.
            self.answered = true;
            return None;
        }
        match mem::take(&mut response.body_mut().kind) {
            Kind::Empty => self.answered = true,
            Kind::Full(bytes) => self.answered = core.send_data(self.place.key, bytes, true).is_ok(),
            kind @ (Kind::Incoming(_) | Kind::Streaming(_)) => return Some(Body { kind }),
        }
        None
    }

    /// The response cannot be sent: the client learns that it is our fault, the user which field or length it was.
    #[cold]
    fn refuse(&mut self, error: CommandError, headers: &HeaderMap) {
        if !is_misuse(error) {
            return; // the stream is gone
        }
        let now = context::with(context::Context::turn_time);
        let date = self.shared.date.at(now);
        let head = ResponseHead {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            headers: &HeaderMap::new(),
            date: Some(&date),
            content_length: Some(0),
        };
        let mut core = self.place.wire.core.borrow_mut();
        self.answered = core::respond(&mut core, self.place.key, head, true, false).is_ok();
        drop(core);
        drop(date);
        self.shared.hooks.bad_response(&self.place, error, Some(headers));
    }

    /// Sends content piece by piece; ready when the last has been handed to the connection, and a tunnel's other
    /// direction has come to its end too.
    async fn stream(mut self, body: Body) {
        let Place { wire, key } = &self.place;
        wire.ask_flush();
        match send_content(wire, *key, body).await {
            Ok(()) => self.answered = true,
            Err(Unsent::Body(error)) => self.reason = error.reset_reason().unwrap_or(self.reason),
            Err(Unsent::Refused(error)) if is_misuse(error) => {
                self.shared.hooks.bad_response(&self.place, error, None);
            }
            Err(Unsent::Refused(_) | Unsent::Gone) => {}
        }
        if self.answered && self.asked == Asked::Tunnel {
            let Place { wire, key } = &self.place;
            poll_fn(|context| wire.poll_unwanted(*key, context)).await;
        }
    }
}

impl Next<Response<Body>> for Exchange {
    /// Boxed: only content that is made piece by piece needs it.
    type Future = Pin<Box<dyn Future<Output = ()>>>;

    #[inline]
    fn next(mut self, response: &mut Response<Body>) -> Option<Self::Future> {
        let content = self.answer(response)?;
        Some(Box::pin(self.stream(content)))
    }
}

/// Whether a command was refused for what the handler made, rather than for what became of the stream.
fn is_misuse(error: CommandError) -> bool {
    match error {
        CommandError::ForbiddenField | CommandError::ContentLength | CommandError::Status => true,
        CommandError::WrongState | CommandError::Target | CommandError::NoConnectProtocol => true,
        CommandError::StreamGone | CommandError::ConnectionClosed => false,
        CommandError::TooManyStreams | CommandError::GoingAway => false,
        CommandError::WrongRole | CommandError::Busy | CommandError::UnknownLength => false,
    }
}

/// RFC 9110 §6.4.1: these have no content, whatever the fields say.
fn may_have_content(status: StatusCode) -> bool {
    !status.is_informational() && status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.answered {
            self.place.wire.core.borrow_mut().reset(self.place.key, self.reason);
        }
        self.place.wire.forget(self.place.key);
        self.place.wire.ledger.meter().finished();
        self.place.wire.ask_flush();
        self.shared.watch.notify();
        self.place.wire.publish(); // a handler that was cancelled may leave nothing to flush
    }
}
