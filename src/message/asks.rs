//! The requests to one peer, and who waits for their answers.
//!
//! A request has a slot from its beginning until its answer is given away. What is sent, and how, is its caller's: here
//! are the turns and the waiting.

use std::{
    cell::RefCell,
    collections::HashMap,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use crate::{
    message::error::{LinkEnd, RequestError},
    proto::message::{Begun, Message, Requests, Ticket, TooMany},
};

/// The requests to one peer.
pub(super) struct Asks {
    began: Instant,
    requests: RefCell<Requests>,
    slots: RefCell<HashMap<Ticket, Slot>>,
}

/// A request that has not given its answer away.
enum Slot {
    Waiting { waker: Option<Waker>, unsent: Option<Message> },
    Done(Result<Message, RequestError>),
}

/// A request that has begun.
pub(super) struct Asked {
    pub(super) ticket: Ticket,
    /// It is its turn: it is to be sent now.
    pub(super) now: bool,
}

impl Asks {
    pub(super) fn new(requests: Requests) -> Rc<Asks> {
        Rc::new(Asks { began: Instant::now(), requests: RefCell::new(requests), slots: RefCell::default() })
    }

    /// Whether somebody waits for an answer.
    pub(super) fn is_any(&self) -> bool {
        !self.slots.borrow().is_empty()
    }

    /// Begins a request and writes its number into its message.
    pub(super) fn begin(&self, message: &mut Message, patience: Duration) -> Result<Asked, TooMany> {
        let patience = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
        let deadline = self.now().saturating_add(patience);
        let mut requests = self.requests.borrow_mut();
        let asked = match requests.begin(message.kind, message.uri.clone(), deadline)? {
            Begun::Now(ticket) => Asked { ticket, now: true },
            Begun::Later(ticket) => Asked { ticket, now: false },
        };
        requests.number(asked.ticket, message);
        Ok(asked)
    }

    /// The answer to a request that has begun; a message that is not to be sent now is kept until its turn.
    pub(super) fn answer(self: &Rc<Self>, asked: &Asked, unsent: Option<Message>) -> Answer {
        self.slots.borrow_mut().insert(asked.ticket, Slot::Waiting { waker: None, unsent });
        Answer { asks: self.clone(), ticket: asked.ticket }
    }

    /// Ends the request that a message answers; false when it answers none.
    pub(super) fn answered(
        &self,
        message: &Message,
        outcome: impl FnOnce() -> Result<Message, RequestError>,
    ) -> bool {
        let Some(answered) = self.requests.borrow_mut().answered(message) else { return false };
        if let Some(ticket) = answered {
            self.settle(ticket, outcome());
        }
        true
    }

    /// A request whose turn it is now.
    pub(super) fn next_to_send(&self) -> Option<(Ticket, Message)> {
        loop {
            let ticket = self.requests.borrow_mut().next_to_send()?;
            if let Some(Slot::Waiting { unsent, .. }) = self.slots.borrow_mut().get_mut(&ticket) {
                if let Some(message) = unsent.take() {
                    return Some((ticket, message));
                }
            }
        }
    }

    /// Ends a request that could not be sent.
    pub(super) fn fail(&self, ticket: Ticket, error: RequestError) {
        self.withdraw(ticket);
        self.settle_if_waiting(ticket, error);
    }

    /// Takes back a request that was not sent.
    pub(super) fn withdraw(&self, ticket: Ticket) {
        self.requests.borrow_mut().withdraw(ticket);
    }

    /// Lets go of the requests that were not answered in their time.
    pub(super) fn expire(&self) {
        let now = self.now();
        loop {
            let Some(ticket) = self.requests.borrow_mut().expire(now) else { return };
            self.settle_if_waiting(ticket, RequestError::TimedOut);
        }
    }

    /// When the next request's time is over.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let deadline = self.requests.borrow().next_deadline()?;
        self.began.checked_add(Duration::from_nanos(deadline))
    }

    /// Ends all requests: the peer is gone.
    pub(super) fn fail_all(&self, end: &LinkEnd) {
        loop {
            let Some(ticket) = self.requests.borrow_mut().fail() else { return };
            self.settle_if_waiting(ticket, RequestError::after(end.clone()));
        }
    }

    fn settle(&self, ticket: Ticket, outcome: Result<Message, RequestError>) {
        let former = self.slots.borrow_mut().insert(ticket, Slot::Done(outcome));
        if let Some(Slot::Waiting { waker: Some(waker), .. }) = former {
            waker.wake();
        }
    }

    fn settle_if_waiting(&self, ticket: Ticket, error: RequestError) {
        let waits = self.slots.borrow().contains_key(&ticket);
        if waits {
            self.settle(ticket, Err(error));
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The answer to a request; dropped before it has come, it is not waited for any more.
pub(super) struct Answer {
    asks: Rc<Asks>,
    ticket: Ticket,
}

impl Future for Answer {
    type Output = Result<Message, RequestError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slots = self.asks.slots.borrow_mut();
        match slots.remove(&self.ticket) {
            Some(Slot::Done(outcome)) => Poll::Ready(outcome),
            Some(Slot::Waiting { waker: former, unsent }) => {
                let waker = Some(context.waker().clone());
                slots.insert(self.ticket, Slot::Waiting { waker, unsent });
                drop((slots, former));
                Poll::Pending
            }
            None => panic!("the answer to a request was asked for after it was given"),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.asks.requests.borrow_mut().cancel(self.ticket);
        let slot = self.asks.slots.borrow_mut().remove(&self.ticket);
        drop(slot);
    }
}
