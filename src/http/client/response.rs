//! One request under way: its head and content going out, its response coming in.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::{Future, poll_fn},
    mem,
    pin::{Pin, pin},
    rc::{self, Rc},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use ::http::{Method, Request, Response, StatusCode, header, request::Parts};

use super::{
    error::{Error, Kind as ErrorKind},
    link::Link,
    target::{self, announced_length},
};
use crate::{
    http::{
        body::{Body, BodyError, Content, Frame, Kind},
        incoming::Incoming,
        mailbox::{Death, Headless, ResponseHead, Work},
        sending::{Unsent, send_content},
    },
    limits::CLIENT_EXPECT_TIMEOUT,
    proto::h2::{Priority, Reason, StreamKey},
    time::{self, Sleep},
    worker::{
        self,
        notes::{Describe, Place, Source},
    },
};

/// A stream of ours; it is let go of when the last who holds it is gone.
struct Ticket {
    link: Rc<Link>,
    key: StreamKey,
    /// The request's content, until somebody asks it for a piece.
    untouched: RefCell<Option<Body>>,
    /// How it failed, if that ended the stream.
    failure: RefCell<Option<Error>>,
    /// The request without its content; without its fields once the answer's head has come.
    asked: RefCell<Option<Parts>>,
    head_came: Cell<bool>,
}

impl Describe for Ticket {
    fn describe(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.head_came.get() { "the rest of the answer to " } else { "the answer to " })?;
        match &*self.asked.borrow() {
            Some(Parts { method, uri, .. }) => write!(out, "{method} {uri}")?,
            None => out.write_str("a request")?,
        }
        write!(out, " from {}", self.link.wire.peer_addr())
    }
}

impl Ticket {
    /// Ends the stream early.
    fn cancel(&self, reason: Reason) {
        let wire = &self.link.wire;
        wire.core.borrow_mut().reset(self.key, reason);
        wire.stream_died(self.key, Death { reason, remote: false, text: "" });
        wire.ask_flush();
    }

    /// Sends the request's content to its end.
    async fn upload(&self, expect: bool) {
        let wire = &self.link.wire;
        if expect {
            let go_on = poll_fn(|context| wire.poll_go_on(self.key, context));
            // No word at all means yes (RFC 9110 §10.1.1).
            if !time::timeout(CLIENT_EXPECT_TIMEOUT, go_on).await.unwrap_or(true) {
                return;
            }
        }
        if !poll_fn(|context| wire.poll_room(self.key, context)).await {
            return;
        }
        let Some(body) = self.untouched.borrow_mut().take() else { return };
        let (reason, error) = match send_content(wire, self.key, body).await {
            Ok(()) => {
                wire.detach(self.key);
                return self.link.freed();
            }
            Err(Unsent::Gone) => return,
            Err(Unsent::Body(error)) => {
                let reason = error.reset_reason().unwrap_or(Reason::INTERNAL_ERROR);
                (reason, Error::new(ErrorKind::Body, "the request's content failed").caused_by(error))
            }
            Err(Unsent::Refused(error)) => {
                let text = "the request's content cannot be sent";
                (Reason::INTERNAL_ERROR, Error::new(ErrorKind::Body, text).caused_by(error))
            }
        };
        *self.failure.borrow_mut() = Some(error);
        self.cancel(reason);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let wire = &self.link.wire;
        wire.forget(self.key);
        wire.ask_flush();
        self.link.freed();
    }
}

/// The response to a request; made by [`SendRequest::send`](super::SendRequest::send).
///
/// It yields the head as soon as that is there; the content follows through the [`Body`].
///
/// # Errors
///
/// [`Error`]; [`take_request`](ResponseFuture::take_request) gives the request back where it may be sent again.
///
/// # Panics
///
/// When it is polled again after it has yielded.
///
/// # Cancellation
///
/// Dropping it, or the response's body before its end, resets the stream with CANCEL, and the request's
/// content is dropped with it. In HTTP/1.1 the connection ends with it, unless all of the response has come.
#[must_use = "dropping a response future cancels its request"]
pub struct ResponseFuture {
    state: State,
}

enum State {
    /// Nothing was sent.
    Unsent(Box<(Error, Request<Body>)>),
    Waiting(Box<Waiting>),
    Done(Option<Box<Request<Body>>>),
}

struct Waiting {
    call: Call,
    /// Where the request's head ends in all that the connection sent.
    head_end: u64,
    /// The request's content, if it can be sent twice.
    replay: Option<Body>,
}

/// A response on its way: cancelled when it is dropped before all of it has come.
struct Call {
    incoming: Incoming,
    ticket: Rc<Ticket>,
    limit: Option<Limit>,
    /// Tells dumps what is waited for.
    note: Place,
}

impl Call {
    /// Notes that the running task waits for it.
    fn note_wait(&mut self) {
        let ticket = &self.ticket;
        self.note.enter(|| {
            let ticket: rc::Weak<Ticket> = Rc::downgrade(ticket);
            Source::Local(ticket)
        });
    }

    /// Ready when the time limit has passed; the stream is reset then.
    fn poll_limit(&mut self, context: &mut Context<'_>) -> Poll<Duration> {
        let Some(limit) = &mut self.limit else { return Poll::Pending };
        let after = ready!(limit.poll(context));
        self.ticket.cancel(Reason::CANCEL);
        Poll::Ready(after)
    }

    /// The limit that is over though the peer goes on sending: who takes what there is, and never waits, meets it here.
    fn exceeded(&self) -> Option<Duration> {
        let after = self.limit.as_ref().filter(|limit| limit.sleep.is_due())?.after;
        if self.ticket.link.wire.is_complete(self.ticket.key) {
            return None;
        }
        self.ticket.cancel(Reason::CANCEL);
        Some(after)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.ticket.link.wire.is_complete(self.ticket.key) {
            self.ticket.cancel(Reason::CANCEL);
        }
    }
}

/// A time limit of a request, head and content of its response included.
struct Limit {
    after: Duration,
    sleep: Sleep,
}

impl Limit {
    fn new(after: Duration) -> Limit {
        Limit { after, sleep: time::sleep(after) }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Duration> {
        pin!(&mut self.sleep).poll(context).map(|()| self.after)
    }
}

/// Sends a request; `permit`: room was kept for it.
pub(super) fn send(link: &Rc<Link>, mut request: Request<Body>, permit: bool) -> ResponseFuture {
    if permit {
        link.end_permit();
    } else if link.is_over() {
        return ResponseFuture::unsent(link.refusal(), request);
    }
    if let Err(error) = target::complete(&mut request) {
        link.freed();
        return ResponseFuture::unsent(error, request);
    }
    if link.room() == 0 && !permit {
        let error = Error::new(ErrorKind::Busy, "no more requests at the moment: wait until it is ready");
        return ResponseFuture::unsent(error.unprocessed(), request);
    }
    let end = request.body().is_empty();
    let sent = link.wire.core.borrow_mut().request(&request, end);
    let key = match sent {
        Ok(key) => key,
        Err(error) => {
            link.freed();
            return ResponseFuture::unsent(Error::command(error), request);
        }
    };
    ResponseFuture { state: State::Waiting(Box::new(Waiting::new(link, key, request))) }
}

impl Waiting {
    fn new(link: &Rc<Link>, key: StreamKey, request: Request<Body>) -> Waiting {
        let wire = &link.wire;
        let head_end = wire.core.borrow().output_end();
        let incoming = wire.await_response(key);
        let (parts, body) = request.into_parts();
        let expect = parts
            .headers
            .get(header::EXPECT)
            .is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        let ticket = Rc::new(Ticket {
            link: link.clone(),
            key,
            untouched: RefCell::default(),
            failure: RefCell::default(),
            asked: RefCell::new(Some(parts)),
            head_came: Cell::new(false),
        });
        let replay = match &body.kind {
            Kind::Empty => Some(Body::empty()),
            Kind::Full(bytes) => Some(Body::from(bytes.clone())),
            Kind::Incoming(_) | Kind::Streaming(_) => None,
        };
        match body.kind {
            Kind::Empty => {}
            Kind::Full(bytes) if !expect => {
                // Its length was announced, so it cannot be refused; a stream that is gone says so itself.
                let _ = wire.core.borrow_mut().send_data(key, bytes, true);
            }
            kind @ (Kind::Full(_) | Kind::Incoming(_) | Kind::Streaming(_)) => {
                *ticket.untouched.borrow_mut() = Some(Body { kind });
                let sender = ticket.clone();
                let task = worker::spawn(async move { sender.upload(expect).await });
                wire.keep_work(key, Work::Upload(task));
            }
        }
        wire.ask_flush();
        let limit = link.timeout.map(Limit::new);
        Waiting { call: Call { incoming, ticket, limit, note: Place::default() }, head_end, replay }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<ResponseHead, Error>> {
        let ticket = &self.call.ticket;
        match ticket.link.wire.poll_head(ticket.key, context) {
            Poll::Ready(Ok(head)) => Poll::Ready(Ok(head)),
            Poll::Ready(Err(headless)) => Poll::Ready(Err(self.failure(headless))),
            Poll::Pending => {
                self.call.note_wait();
                self.call.poll_limit(context).map(|after| Err(Error::late(after)))
            }
        }
    }

    fn failure(&self, headless: Headless) -> Error {
        let ticket = &self.call.ticket;
        if let Some(error) = ticket.failure.borrow_mut().take() {
            return error;
        }
        match headless {
            Headless::Died(death) => Error::died(death),
            Headless::Lost => ticket.link.lost(ticket.key, self.head_end),
        }
    }

    /// The request, as far as it can be sent again.
    fn into_request(self) -> Option<Request<Body>> {
        let body = self.call.ticket.untouched.borrow_mut().take().or(self.replay)?;
        let parts = self.call.ticket.asked.borrow_mut().take()?;
        Some(Request::from_parts(parts, body))
    }

    fn into_response(mut self, head: ResponseHead) -> Response<Body> {
        let ResponseHead { response, end } = head;
        let ticket = &self.call.ticket;
        self.call.note.leave();
        ticket.head_came.set(true);
        let mut is_bare = false;
        if let Some(asked) = &mut *ticket.asked.borrow_mut() {
            is_bare = matches!(asked.method, Method::HEAD | Method::CONNECT);
            // The next response's fields may use the memory of this request's.
            ticket.link.wire.core.borrow_mut().recycle(mem::take(&mut asked.headers));
        }
        if end {
            return response.map(|()| Body::empty());
        }
        // What the length is of does not follow these (RFC 9110 §8.6, §9.3.2, §9.3.6).
        let bare = is_bare || matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let length = if bare { None } else { announced_length(response.headers()).flatten() };
        let body = ResponseBody { call: Some(self.call), length };
        response.map(|()| Body::streaming(body))
    }
}

impl ResponseFuture {
    fn unsent(error: Error, request: Request<Body>) -> ResponseFuture {
        ResponseFuture { state: State::Unsent(Box::new((error, request))) }
    }

    /// Limits the time from now until all of the response has come, in place of the limit that the connection
    /// has for all requests.
    ///
    /// When it passes the stream is reset with CANCEL, and the future yields [`Kind::Timeout`](super::Kind::Timeout),
    /// or the body [`BodyError::TimedOut`] if the head had come.
    pub fn timeout(mut self, after: Duration) -> ResponseFuture {
        if let State::Waiting(waiting) = &mut self.state {
            waiting.call.limit = Some(Limit::new(after));
        }
        self
    }

    /// As [`timeout`](ResponseFuture::timeout), with a limit of which some has passed.
    pub(super) fn timeout_at(mut self, after: Duration, deadline: Instant) -> ResponseFuture {
        if let State::Waiting(waiting) = &mut self.state {
            waiting.call.limit = Some(Limit { after, sleep: time::sleep_until(deadline) });
        }
        self
    }

    /// The next interim response (1xx, for instance 103 Early Hints); `None` when no more will come: then await
    /// this future.
    ///
    /// At most 16 that nobody fetches are kept.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn interim(&mut self) -> Option<Response<()>> {
        poll_fn(|context| {
            let State::Waiting(waiting) = &mut self.state else { return Poll::Ready(None) };
            let ticket = &waiting.call.ticket;
            let (head, late) = match ticket.link.wire.poll_interim(ticket.key, context) {
                Poll::Ready(head) => (head, waiting.call.exceeded()),
                Poll::Pending => (None, Some(ready!(waiting.call.poll_limit(context)))),
            };
            let Some(after) = late else { return Poll::Ready(head) };
            // It has reset the stream, which is not what the caller is to hear.
            *waiting.call.ticket.failure.borrow_mut() = Some(Error::late(after));
            Poll::Ready(None)
        })
        .await
    }

    /// Says anew how urgent the response is (RFC 9218 §7.1): the server is told by PRIORITY_UPDATE, and the request's
    /// own content is ordered by it. At first a request's `priority` field says so. After the head has come, nothing
    /// happens.
    pub fn prioritize(&self, priority: Priority) {
        if let State::Waiting(waiting) = &self.state {
            let ticket = &waiting.call.ticket;
            // A stream that is gone has no order.
            let _ = ticket.link.wire.core.borrow_mut().prioritize(ticket.key, priority);
            ticket.link.wire.ask_flush();
        }
    }

    /// After an error: the request, where it was not processed and its content can still be sent.
    ///
    /// Content in one piece can; content that is made piece by piece can as long as nobody has asked for its first
    /// piece.
    pub fn take_request(&mut self) -> Option<Request<Body>> {
        match &mut self.state {
            State::Done(request) => request.take().map(|request| *request),
            State::Unsent(_) | State::Waiting(_) => None,
        }
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<Body>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let head = match &mut self.state {
            State::Waiting(waiting) => Some(ready!(waiting.poll(context))),
            State::Unsent(_) => None,
            State::Done(_) => panic!("a response future was polled after it had yielded"),
        };
        match (std::mem::replace(&mut self.state, State::Done(None)), head) {
            (State::Waiting(waiting), Some(Ok(head))) => Poll::Ready(Ok(waiting.into_response(head))),
            (State::Waiting(waiting), Some(Err(error))) => {
                let again = error.is_retryable() || error.is_unanswered();
                let request = if again { waiting.into_request() } else { None };
                self.state = State::Done(request.map(Box::new));
                Poll::Ready(Err(error))
            }
            (State::Unsent(unsent), _) => {
                let (error, request) = *unsent;
                self.state = State::Done(Some(Box::new(request)));
                Poll::Ready(Err(error))
            }
            (State::Waiting(_), None) | (State::Done(_), _) => unreachable!("it was looked at above"),
        }
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Unsent(_) => "unsent",
            State::Waiting(_) => "waiting",
            State::Done(_) => "done",
        };
        out.debug_struct("ResponseFuture").field("state", &state).finish()
    }
}

/// A response's content, which cancels the stream when it is dropped before its end.
struct ResponseBody {
    call: Option<Call>,
    length: Option<u64>,
}

impl Content for ResponseBody {
    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, BodyError>>> {
        let Some(call) = &mut self.call else { return Poll::Ready(None) };
        let frame = match call.incoming.poll_frame(context) {
            Poll::Ready(frame) => {
                call.note.leave();
                match call.exceeded() {
                    Some(limit) => Some(Err(BodyError::TimedOut { limit })),
                    None => frame,
                }
            }
            Poll::Pending => {
                call.note_wait();
                let limit = ready!(call.poll_limit(context));
                Some(Err(BodyError::TimedOut { limit }))
            }
        };
        let frame = match frame {
            Some(Err(error)) => {
                let failure = call.ticket.failure.borrow_mut().take();
                Some(Err(failure.map_or(error, BodyError::source)))
            }
            frame @ (Some(Ok(_)) | None) => frame,
        };
        if !matches!(frame, Some(Ok(Frame::Data(_)))) {
            // The stream makes room for another, however long the body lies about.
            self.call = None;
        }
        Poll::Ready(frame)
    }

    fn exact_length(&self) -> Option<u64> {
        self.length
    }
}
