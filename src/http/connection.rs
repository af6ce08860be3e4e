//! One connection's task: it reads, hands bytes to the core and events to handlers.
//!
//! ```text
//! Serving ──► Ending ──► Lingering ──► done
//!  read, serve  last words  our side is shut: read and forget
//!               go out      until the peer ends too, one second at most
//! ```
//!
//! Lingering matters: closing a socket with unread input makes the kernel send RST, and that can overtake
//! the GOAWAY that says why.

use std::{
    future::{Future, poll_fn},
    panic::Location,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use ::http::{Method, Request};

use crate::{
    clock::{TimerKey, nanos},
    http::{body::Body, date::Date, exchange::Exchange, wire::Wire},
    limits::{LAST_WORDS, LINGER},
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
    spawned: &'static Location<'static>,
}

impl<M, F> Service<M, F>
where
    M: Fn(Exchange, Request<Body>) -> F,
    F: Future<Output = ()> + 'static,
{
    pub(super) fn new(make: M, spawned: &'static Location<'static>) -> Rc<Self> {
        let tasks = context::with(|worker| worker.tasks().clone());
        Rc::new(Service { make, tasks, cells: Pool::new(), date: Rc::new(Date::new()), spawned })
    }
}

const NOT_HTTP2: &[u8] = b"HTTP/1.1 505 HTTP Version Not Supported\r\n\
    content-type: text/plain\r\n\
    content-length: 66\r\n\
    connection: close\r\n\
    \r\n\
    This port speaks HTTP/2 only, with prior knowledge (RFC 9113 3.3)\n";

enum Phase {
    Serving,
    Ending,
    Lingering,
    Done,
}

/// Serves one connection to its end.
pub(super) async fn drive<M, F>(service: Rc<Service<M, F>>, wire: Rc<Wire>)
where
    M: Fn(Exchange, Request<Body>) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    let mut driver =
        Driver { service, wire, phase: Phase::Serving, timer: Timer::default(), input_ended: false };
    poll_fn(|context| driver.poll(context)).await;
}

struct Driver<M, F: Future<Output = ()> + 'static> {
    service: Rc<Service<M, F>>,
    wire: Rc<Wire>,
    phase: Phase,
    timer: Timer,
    input_ended: bool,
}

impl<M, F> Driver<M, F>
where
    M: Fn(Exchange, Request<Body>) -> F,
    F: Future<Output = ()> + 'static,
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.wire.set_driver(context.waker());
        loop {
            match self.phase {
                Phase::Serving => {
                    if self.serve(context).is_pending() {
                        self.wire.ask_flush();
                        self.arm(context);
                        return Poll::Pending;
                    }
                    self.timer.set_after(LAST_WORDS, context);
                }
                Phase::Ending => {
                    if self.wire.is_broken() {
                        self.phase = Phase::Done;
                        continue;
                    }
                    if self.wire.core.borrow().has_output() {
                        if self.timer.is_due() {
                            self.phase = Phase::Done; // the peer takes nothing
                            continue;
                        }
                        self.wire.ask_flush(); // wakes us when it is through
                        return Poll::Pending;
                    }
                    self.wire.shutdown_write();
                    self.timer.set_after(LINGER, context);
                    self.phase = Phase::Lingering;
                }
                Phase::Lingering => match self.wire.poll_discard(context) {
                    _ if self.input_ended => self.phase = Phase::Done,
                    Poll::Ready(Ok(0) | Err(_)) => self.phase = Phase::Done,
                    Poll::Ready(Ok(_more)) => {}
                    Poll::Pending if self.timer.is_due() => self.phase = Phase::Done,
                    Poll::Pending => return Poll::Pending,
                },
                Phase::Done => return Poll::Ready(()),
            }
        }
    }

    /// Reads and serves until there is nothing to read, or the connection comes to its end.
    fn serve(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let now = context::with(context::Context::turn_time);
        if self.timer.is_due() {
            self.wire.core.borrow_mut().handle_timeout(now);
        }
        loop {
            self.handle_events(now);
            if !matches!(self.phase, Phase::Serving) {
                return Poll::Ready(());
            }
            if self.wire.is_broken() {
                self.phase = Phase::Done;
                return Poll::Ready(());
            }
            if self.input_ended || !self.wire.core.borrow().wants_input() {
                return Poll::Pending;
            }
            match self.wire.poll_receive(context) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => self.input_ended = true,
                Poll::Ready(Err(_reset)) => {
                    self.phase = Phase::Done;
                    return Poll::Ready(());
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn handle_events(&mut self, now: u64) {
        loop {
            let event = self.wire.core.borrow_mut().poll_event(now);
            match event {
                Some(Event::Request { stream, request, end }) => self.start(stream, request, end),
                Some(Event::Data { stream, data, end }) => self.wire.deliver(stream, data, end),
                Some(Event::Trailers { stream, trailers }) => self.wire.deliver_trailers(stream, trailers),
                Some(Event::Reset { stream, reason, .. }) => self.wire.stream_died(stream, reason),
                Some(Event::Writable { stream }) => self.wire.stream_writable(stream),
                Some(Event::Http1) => {
                    self.wire.say(NOT_HTTP2);
                    self.phase = Phase::Ending;
                    return;
                }
                Some(Event::Closed { .. }) => {
                    self.phase = Phase::Ending;
                    return;
                }
                // A server's core has no requests of its own under way, and sends no PING for its user.
                Some(Event::Response { .. } | Event::Informational { .. }) => {}
                Some(Event::GoAway { .. } | Event::Pong { .. }) => {}
                None => return,
            }
        }
    }

    /// Calls the handler, with no borrow of the connection held.
    fn start(&self, stream: StreamKey, request: Request<()>, end: bool) {
        let head_only = request.method() == Method::HEAD;
        let body = if end { Body::empty() } else { Body::incoming(self.wire.open_mailbox(stream)) };
        let exchange = Exchange::new(self.wire.clone(), self.service.date.clone(), stream, head_only);
        let service = &*self.service;
        let make = || (service.make)(exchange, request.map(|()| body));
        let started = service.cells.start(&service.tasks, make, service.spawned);
        if let Some(handler) = started {
            self.wire.keep_handler(stream, handler);
        }
    }

    fn arm(&mut self, context: &Context<'_>) {
        let now = context::with(context::Context::turn_time);
        let deadline = self.wire.core.borrow_mut().next_deadline(now);
        match deadline {
            Some(deadline) => self.timer.at_most(deadline, context),
            None => self.timer.clear(),
        }
    }
}

impl<M, F: Future<Output = ()> + 'static> Drop for Driver<M, F> {
    fn drop(&mut self) {
        self.timer.clear();
        self.wire.close();
    }
}

/// A timer that is moved only when it must fire earlier; one that fires too early is set again.
#[derive(Default)]
struct Timer {
    armed: Option<(u64, TimerKey)>,
}

impl Timer {
    fn at_most(&mut self, deadline: u64, context: &Context<'_>) {
        if self.armed.is_none_or(|(armed, _key)| deadline < armed || self.is_due()) {
            self.set(deadline, context);
        }
    }

    fn set_after(&mut self, after: Duration, context: &Context<'_>) {
        let now = context::with(context::Context::now);
        self.set(now.saturating_add(nanos(after)), context);
    }

    fn set(&mut self, deadline: u64, context: &Context<'_>) {
        self.clear();
        let key = context::with(|worker| worker.reactor().arm(deadline, context.waker().clone()));
        self.armed = Some((deadline, key));
    }

    fn is_due(&self) -> bool {
        let now = context::with(context::Context::turn_time);
        self.armed.is_some_and(|(deadline, _key)| deadline <= now)
    }

    fn clear(&mut self) {
        if let Some((_deadline, key)) = self.armed.take() {
            context::try_with(|worker| worker.map(|it| it.reactor().disarm(key)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::NOT_HTTP2;

    #[test]
    fn the_answer_to_http1_has_the_length_that_it_says() {
        let text = std::str::from_utf8(NOT_HTTP2).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{} bytes", body.len());
    }
}
