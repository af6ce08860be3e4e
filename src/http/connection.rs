//! One connection's task: it reads, hands bytes to the core and events to whom they concern.
//!
//! ```text
//! Serving ──► Ending ──► Lingering ──► done
//!  read, act    what is     our side is shut: read and forget
//!               left goes   until the peer ends too, or is silent for a second
//!               out
//! ```
//!
//! Lingering matters: closing a socket with unread input makes the kernel send RST, and that can overtake
//! the GOAWAY that says why.

use std::{
    future::poll_fn,
    io,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use ::http::Request;

use crate::{
    http::{alarm::Alarm, core, mailbox::Death, wire::Wire},
    limits::{COOPERATIVE_BUDGET, LAST_WORDS, LINGER, LINGER_BYTES, LINGER_MOST, REQUESTS_PER_POLL},
    proto::h2::{ConnectionError, Event, StreamKey},
    trace,
    worker::context,
};

/// What one end of connections does by itself; the rest is the same at both.
pub(super) trait Role: 'static {
    /// What still lies in a socket that takes nothing any more is worth reading: it may say which requests were
    /// not processed.
    const READS_TO_THE_END: bool;

    /// The driver is about to look at what came.
    fn begins(&self, wire: &Rc<Wire>, now: u64);

    /// The peer speaks another version of HTTP; `false` when we do not.
    fn switch(&self, wire: &Wire, now: u64) -> bool;

    /// A request's head came (server).
    fn request(&self, wire: &Rc<Wire>, stream: StreamKey, request: Box<Request<()>>, end: bool);

    /// Any event that is the other role's alone, and the peer's GOAWAY and PING acknowledgements.
    fn news(&self, wire: &Rc<Wire>, event: Event);

    /// What came has been dealt with, and the driver is about to wait.
    fn settled(&self, wire: &Rc<Wire>);

    /// The connection is over, however that came about; comes once, before the streams are told.
    fn ended(&self, wire: &Rc<Wire>, cause: Cause);
}

/// How a connection ended.
pub(super) enum Cause {
    /// In good order, or for what the peer did.
    Closed(Option<ConnectionError>),
    /// The socket failed.
    Failed(io::ErrorKind),
    /// The peer speaks HTTP/1.
    Http1,
    /// Its task was ended, because the runtime was.
    Dropped,
}

impl Cause {
    /// What the peer did wrong.
    fn fault(&self) -> Option<ConnectionError> {
        match self {
            Cause::Closed(error) => error.filter(|error| error.is_peer() || error.is_timeout()),
            Cause::Failed(_) | Cause::Http1 | Cause::Dropped => None,
        }
    }
}

const NOT_HTTP2: &[u8] = b"HTTP/1.1 505 HTTP Version Not Supported\r\n\
    content-type: text/plain\r\n\
    content-length: 66\r\n\
    connection: close\r\n\
    \r\n\
    This port speaks HTTP/2 only, with prior knowledge (RFC 9113 3.3)\n";

fn turn_time() -> u64 {
    context::with(context::Context::turn_time)
}

enum Phase {
    Serving,
    Ending,
    Lingering,
    Done,
}

/// Drives one connection to its end.
pub(super) async fn drive<R: Role>(role: R, wire: Rc<Wire>) {
    let mut driver = Driver {
        role,
        wire,
        phase: Phase::Serving,
        timer: Alarm::default(),
        input_ended: false,
        told: false,
        parting: Parting { patience: LAST_WORDS, left: 0, heard: 0, lingered: LINGER },
    };
    poll_fn(|context| driver.poll(context)).await;
}

struct Driver<R: Role> {
    role: R,
    wire: Rc<Wire>,
    phase: Phase,
    timer: Alarm,
    input_ended: bool,
    /// The end was told.
    told: bool,
    parting: Parting,
}

/// How a connection parts.
struct Parting {
    /// How long none of the last output may move, and what was left when that time began.
    patience: Duration,
    left: usize,
    /// Bytes that came in this period of lingering, and how long it has been going on.
    heard: usize,
    lingered: Duration,
}

impl<R: Role> Driver<R> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.wire.set_driver(context.waker());
        loop {
            match self.phase {
                Phase::Serving => {
                    if self.serve(context).is_pending() {
                        self.role.settled(&self.wire);
                        self.wire.ask_flush();
                        self.wire.publish();
                        self.arm(context);
                        return Poll::Pending;
                    }
                    self.await_writing(context);
                }
                Phase::Ending => {
                    if self.wire.broken().is_some() {
                        self.phase = Phase::Done;
                        continue;
                    }
                    if self.wire.has_output() {
                        if self.timer.is_due(turn_time()) {
                            if !self.is_taken() {
                                self.phase = Phase::Done;
                                continue;
                            }
                            self.await_writing(context);
                        }
                        self.wire.ask_flush(); // wakes us when it is through
                        return Poll::Pending;
                    }
                    self.wire.shutdown_write();
                    if !self.wire.lingers() {
                        self.phase = Phase::Done;
                        continue;
                    }
                    self.timer.set_after(LINGER, context);
                    self.phase = Phase::Lingering;
                }
                Phase::Lingering => match self.wire.poll_discard(context) {
                    _ if self.input_ended => self.phase = Phase::Done,
                    Poll::Ready(Ok(0) | Err(_)) => self.phase = Phase::Done,
                    Poll::Ready(Ok(count)) => self.parting.heard += count,
                    Poll::Pending if self.timer.is_due(turn_time()) && !self.hears_on(context) => {
                        self.phase = Phase::Done;
                    }
                    Poll::Pending => return Poll::Pending,
                },
                Phase::Done => return Poll::Ready(()),
            }
        }
    }

    /// Reads and acts until there is nothing to read, or the connection comes to its end.
    fn serve(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let now = turn_time();
        self.wire.driven();
        self.role.begins(&self.wire, now);
        if self.timer.is_due(now) {
            self.wire.handle_timeout(now);
        }
        loop {
            if !self.handle_events(now) {
                // After the others: as if it had used up its budget.
                context::with(|worker| worker.tasks().charge(COOPERATIVE_BUDGET));
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !matches!(self.phase, Phase::Serving) {
                return Poll::Ready(());
            }
            let broken = self.wire.broken();
            if let Some(kind) = broken.filter(|_| !R::READS_TO_THE_END) {
                return self.fail(kind);
            }
            if self.input_ended || !self.wire.core.borrow().wants_input() {
                // Who has ended may read on (RFC 9112 §9.6), who is to wait may have sent more than is taken, and both may be
                // gone: nothing else would say so while nothing is read or written.
                if let Poll::Ready(kind) = self.wire.poll_broken(context) {
                    return self.fail(kind);
                }
                return broken.map_or(Poll::Pending, |kind| self.fail(kind));
            }
            match self.wire.poll_receive(context) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => self.input_ended = true,
                Poll::Ready(Err(error)) => return self.fail(error.kind()),
                Poll::Pending => return broken.map_or(Poll::Pending, |kind| self.fail(kind)),
            }
        }
    }

    /// Gives the peer its time to take what is left.
    fn await_writing(&mut self, context: &Context<'_>) {
        self.parting.left = self.wire.output_left();
        self.timer.set_after(self.parting.patience, context);
    }

    /// Whether the peer has taken its last output at the least rate.
    fn is_taken(&self) -> bool {
        let taken = self.parting.left.saturating_sub(self.wire.output_left()) as u64;
        let config = self.wire.core.borrow().config();
        let least = u64::from(config.min_body_rate) * self.parting.patience.as_secs();
        taken > 0 && taken >= least
    }

    /// Whether to go on forgetting what comes: a client that is sending content reads its answer only when it is through,
    /// and loses it to the reset of a socket that is closed before (RFC 9112 §9.6).
    fn hears_on(&mut self, context: &Context<'_>) -> bool {
        let heard = std::mem::take(&mut self.parting.heard);
        let goes_on = heard > 0 && heard <= LINGER_BYTES && self.parting.lingered < LINGER_MOST;
        if !goes_on || !core::hears_out(&self.wire.core.borrow()) {
            return false;
        }
        self.parting.lingered += LINGER;
        self.timer.set_after(LINGER, context);
        true
    }

    /// The socket failed: nothing more can be said.
    fn fail(&mut self, kind: io::ErrorKind) -> Poll<()> {
        self.end(Cause::Failed(kind));
        self.phase = Phase::Done;
        Poll::Ready(())
    }

    /// Tells everybody that the connection is over.
    fn end(&mut self, cause: Cause) {
        if !std::mem::replace(&mut self.told, true) {
            let error = cause.fault();
            self.role.ended(&self.wire, cause);
            self.wire.lose_streams(error);
        }
    }

    /// Acts on what came; false when there is more, and the others' turn comes first.
    fn handle_events(&mut self, now: u64) -> bool {
        for _ in 0..REQUESTS_PER_POLL {
            let rests = core::rests(&mut self.wire.core.borrow_mut(), now);
            if rests || !self.handle_until_request(now) {
                return true;
            }
        }
        false
    }

    /// Acts on what came up to the next request, that included; false when nothing is left.
    #[inline]
    fn handle_until_request(&mut self, now: u64) -> bool {
        loop {
            let event = self.wire.core.borrow_mut().poll_event(now);
            match event {
                Some(Event::Request { stream, request, end }) => {
                    self.role.request(&self.wire, stream, request, end);
                    return true;
                }
                Some(Event::Data { stream, data, end }) => self.wire.deliver(stream, data, end),
                Some(Event::Trailers { stream, trailers }) => self.wire.deliver_trailers(stream, trailers),
                Some(Event::Reset { stream, reason, remote, text }) => {
                    self.wire.stream_died(stream, Death { reason, remote, text });
                }
                Some(Event::Writable { stream }) => self.wire.stream_writable(stream),
                Some(Event::Http1) if self.role.switch(&self.wire, now) => {}
                Some(Event::Http1) => {
                    self.wire.say(NOT_HTTP2);
                    self.end(Cause::Http1);
                    self.phase = Phase::Ending;
                    return false;
                }
                Some(Event::Closed { error }) => {
                    if let Some(error) = &error {
                        let version = core::version(&self.wire.core.borrow());
                        trace::connection_failed(&self.wire.peer_addr(), &version, error);
                    }
                    if error.is_none() {
                        // In good order: its last answer is one like others.
                        self.parting.patience = self.wire.core.borrow().config().send_timeout;
                    }
                    self.end(Cause::Closed(error));
                    self.phase = Phase::Ending;
                    if core::breaks_off(&self.wire.core.borrow()) {
                        self.wire.reset_on_close();
                        self.phase = Phase::Done;
                    }
                    return false;
                }
                Some(
                    event @ (Event::Response { .. }
                    | Event::Informational { .. }
                    | Event::GoAway { .. }
                    | Event::Pong { .. }
                    | Event::AltSvc { .. }
                    | Event::Origins { .. }),
                ) => self.role.news(&self.wire, event),
                None => return false,
            }
        }
    }

    fn arm(&mut self, context: &Context<'_>) {
        let now = turn_time();
        let deadline = self.wire.core.borrow_mut().next_deadline(now);
        match deadline {
            Some(deadline) => self.timer.at_most(deadline, now, context),
            // A timer that is early costs one look; one that is missed would cost a deadline.
            None if self.timer.is_due(now) => self.timer.clear(),
            None => {}
        }
        self.wire.set_armed(self.timer.deadline());
    }
}

impl<R: Role> Drop for Driver<R> {
    fn drop(&mut self) {
        self.timer.clear();
        self.end(Cause::Dropped);
        self.wire.close();
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
