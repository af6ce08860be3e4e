//! The requests to one peer, and who waits for their answers.
//!
//! A request has a slot from its beginning until its answer is given away. What is sent, and how, is its caller's: here
//! are the turns and the waiting. So is who sees that time is over, and calls [`Asks::expire`]: a connection has one timer
//! for all of its requests, which is armed for [`Asks::due`].

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::Future,
    hash::{BuildHasherDefault, Hasher},
    net::SocketAddr,
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker},
};

use crate::{
    message::error::{LinkEnd, RequestError},
    proto::message::{Begun, Message, Requests, Ticket, TooMany},
    worker::{
        context,
        notes::{DescribeMany, note_many},
    },
};

/// The requests to one peer. Times are those of the worker's clock.
pub(super) struct Asks {
    address: SocketAddr,
    requests: RefCell<Requests>,
    slots: RefCell<HashMap<Ticket, Slot, BuildHasherDefault<Spread>>>,
    /// Dumps look here for those who wait.
    is_noted: Cell<bool>,
}

/// A request that has not given its answer away.
enum Slot {
    Waiting { waiter: Option<Waiter>, unsent: Option<Message> },
    Done(Result<Message, RequestError>),
}

struct Waiter {
    waker: Waker,
    /// In which task.
    task: u64,
}

/// A request that has begun.
pub(super) struct Asked {
    pub(super) ticket: Ticket,
    /// It is its turn: it is to be sent now.
    pub(super) now: bool,
}

impl Asks {
    /// None, to a peer at this address.
    pub(super) fn new(address: SocketAddr, requests: Requests) -> Rc<Asks> {
        let (requests, slots) = (RefCell::new(requests), RefCell::default());
        Rc::new(Asks { address, requests, slots, is_noted: Cell::new(false) })
    }

    /// Whether somebody waits for an answer.
    pub(super) fn is_any(&self) -> bool {
        !self.slots.borrow().is_empty()
    }

    /// Begins a request and writes its number into its message.
    pub(super) fn begin(&self, message: &mut Message, deadline: u64) -> Result<Asked, TooMany> {
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
        self.slots.borrow_mut().insert(asked.ticket, Slot::Waiting { waiter: None, unsent });
        Answer { asks: self.clone(), ticket: asked.ticket, is_given: false }
    }

    /// Which request a message answers, which is under way no longer: `Some(None)` when nobody waits for it any more,
    /// `None` when it answers nothing.
    pub(super) fn answered(&self, message: &Message) -> Option<Option<Ticket>> {
        self.requests.borrow_mut().answered(message)
    }

    /// Whether a message repeats the number of a request.
    pub(super) fn awaits(&self, message: &Message) -> bool {
        self.requests.borrow().awaits(message)
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
        self.settle(ticket, Err(error));
    }

    /// Takes back a request that was not sent.
    pub(super) fn withdraw(&self, ticket: Ticket) {
        self.requests.borrow_mut().withdraw(ticket);
    }

    /// Lets go of the requests that were not answered in their time.
    pub(super) fn expire(&self, now: u64) {
        loop {
            let Some(ticket) = self.requests.borrow_mut().expire(now) else { return };
            self.settle(ticket, Err(RequestError::TimedOut));
        }
    }

    /// Before this nobody's time is over; see [`Requests::due`].
    pub(super) fn due(&self) -> u64 {
        self.requests.borrow().due()
    }

    /// Ends all requests: the peer is gone.
    pub(super) fn fail_all(&self, end: &LinkEnd) {
        loop {
            let Some(ticket) = self.requests.borrow_mut().fail() else { return };
            self.settle(ticket, Err(RequestError::after(end.clone())));
        }
    }

    fn note(self: &Rc<Self>) {
        if !self.is_noted.replace(true) {
            let asks: Weak<Asks> = Rc::downgrade(self);
            note_many(asks);
        }
    }

    /// Gives a request its outcome, if somebody waits for it.
    pub(super) fn settle(&self, ticket: Ticket, outcome: Result<Message, RequestError>) {
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.get_mut(&ticket) else { return };
        let former = std::mem::replace(slot, Slot::Done(outcome));
        drop(slots);
        if let Slot::Waiting { waiter: Some(waiter), .. } = former {
            waiter.waker.wake();
        }
    }
}

impl DescribeMany for Asks {
    fn describe_many(&self, say: &mut dyn FnMut(u64, String)) {
        // Who asks for the dump may be at work here.
        let (Ok(requests), Ok(slots)) = (self.requests.try_borrow(), self.slots.try_borrow()) else { return };
        for (ticket, slot) in slots.iter() {
            let Slot::Waiting { waiter: Some(waiter), .. } = slot else { continue };
            let Some((kind, uri)) = requests.subject(*ticket) else { continue };
            let uri = String::from_utf8_lossy(uri);
            say(waiter.task, format!("the answer to {kind} {uri} from {}", self.address));
        }
    }
}

/// The answer to a request; dropped before it has come, it is not waited for any more.
pub(super) struct Answer {
    asks: Rc<Asks>,
    ticket: Ticket,
    is_given: bool,
}

impl Future for Answer {
    type Output = Result<Message, RequestError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut slots = this.asks.slots.borrow_mut();
        if let Some(Slot::Waiting { waiter, .. }) = slots.get_mut(&this.ticket) {
            let task = context::try_with(|worker| worker.map_or(0, |worker| worker.tasks().running()));
            let former = waiter.replace(Waiter { waker: context.waker().clone(), task });
            drop((slots, former));
            this.asks.note();
            return Poll::Pending;
        }
        match slots.remove(&this.ticket) {
            Some(Slot::Done(outcome)) => {
                this.is_given = true;
                Poll::Ready(outcome)
            }
            Some(Slot::Waiting { .. }) | None => panic!("an answer was asked for after it was given"),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.is_given {
            return;
        }
        self.asks.requests.borrow_mut().cancel(self.ticket);
        let slot = self.asks.slots.borrow_mut().remove(&self.ticket);
        drop(slot);
    }
}

/// Spreads tickets over a table. They are counted up here, so that no peer can choose any.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write_u64(&mut self, number: u64) {
        // 2^64 divided by the golden ratio: the upper bits, of which the table takes some, change with every number.
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write(&mut self, octets: &[u8]) {
        octets.iter().for_each(|octet| self.write_u64(u64::from(*octet)));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
