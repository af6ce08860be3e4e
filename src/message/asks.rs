//! The requests to one peer, and who waits for their answers.
//!
//! A request has a slot from its beginning until its answer is given away. What is sent, and how, is its caller's: here
//! are the turns and the waiting. So is who sees that time is over, and calls [`Asks::expire`]: a connection has one timer
//! for all of its requests, which is armed for [`Asks::due`].

use std::{
    cell::{Cell, RefCell},
    future::Future,
    net::SocketAddr,
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker},
};

use crate::{
    contain::wake_contained,
    message::error::{LinkEnd, RequestError},
    proto::message::{Begun, Message, Requests, Ticket, TooMany},
    slab::{Key, Slab},
    worker::{
        context::{self, Flush},
        notes::{DescribeMany, note_many},
        timer::now,
    },
};

/// The requests to one peer. Times are those of the worker's clock.
///
/// Reading the clock is a twentieth of what a small request takes. So requests on a connection, of which a turn may begin many,
/// have their times counted from a time that is too early, and are given what they lack when the turn ends, or earlier if
/// somebody wants to know whose time is over.
pub(super) struct Asks {
    address: SocketAddr,
    requests: RefCell<Requests>,
    /// Tickets are marked with their keys.
    slots: RefCell<Slab<Slot>>,
    /// Those of the requests that are over, by the numbers of their slots: they are put there and taken from there, and not
    /// moved with the slots, which are small.
    outcomes: RefCell<Vec<Place>>,
    /// The time from which those have been counted that are to be given more.
    counted_from: Cell<Option<u64>>,
    /// Dumps look here for those who wait.
    is_noted: Cell<bool>,
}

/// What became of a request, until it is given away.
#[derive(Default)]
struct Place {
    answer: Option<Message>,
    error: Option<RequestError>,
}

/// A request that has not given its answer away.
struct Slot {
    ticket: Ticket,
    waiter: Option<Waiter>,
    unsent: Option<Box<Message>>,
    /// It has an outcome.
    is_done: bool,
}

struct Waiter {
    waker: Waker,
    /// In which task.
    task: u64,
}

impl Asks {
    /// None, to a peer at this address.
    pub(super) fn new(address: SocketAddr, requests: Requests) -> Rc<Asks> {
        let (requests, slots) = (RefCell::new(requests), RefCell::default());
        let (outcomes, counted_from) = (RefCell::default(), Cell::new(None));
        Rc::new(Asks { address, requests, slots, outcomes, counted_from, is_noted: Cell::new(false) })
    }

    /// The time for deadlines of requests that begin in this turn; the turn's end gives them what has passed by then.
    pub(super) fn count_from(self: &Rc<Self>) -> u64 {
        if let Some(from) = self.counted_from.get() {
            return from;
        }
        context::try_with(|worker| {
            let Some(worker) = worker else { return now() };
            self.counted_from.set(Some(worker.turn_time()));
            worker.flush_later(self.clone());
            worker.turn_time()
        })
    }

    /// Gives those that have begun in this turn the time that has passed.
    fn settle_deadlines(&self) {
        if let Some(from) = self.counted_from.take() {
            self.requests.borrow_mut().postpone(now().saturating_sub(from));
        }
    }

    /// Whether somebody waits for an answer.
    pub(super) fn is_any(&self) -> bool {
        !self.slots.borrow().is_empty()
    }

    /// Begins a request, writes its number into its message, and says whether it is its turn: it is to be sent now, or to
    /// be [kept](Asks::keep). Its answer is to be [waited for](Asks::answer), or it is to be [withdrawn](Asks::withdraw).
    ///
    /// Without room it is kept in any case.
    #[inline]
    pub(super) fn begin(
        &self,
        message: &mut Message,
        deadline: u64,
        has_room: bool,
    ) -> Result<Begun, TooMany> {
        let mut slots = self.slots.borrow_mut();
        let mut requests = self.requests.borrow_mut();
        requests.note_room(has_room);
        let (mark, octets) = (slots.next_key().to_bits(), message.memory());
        let begun = requests.begin_marked(mark, (message.kind, message.uri.clone(), octets), deadline)?;
        let (Begun::Now(ticket) | Begun::Later(ticket)) = begun;
        requests.number(ticket, message);
        slots.insert(Slot { ticket, waiter: None, unsent: None, is_done: false });
        Ok(begun)
    }

    /// The answer to a request that has begun.
    #[inline]
    pub(super) fn answer(self: &Rc<Self>, ticket: Ticket) -> Answer {
        Answer { asks: self.clone(), slot: ticket.mark() }
    }

    /// The answer to a request that was not sent.
    #[cold]
    pub(super) fn failed(self: &Rc<Self>, error: RequestError) -> Answer {
        let mut slots = self.slots.borrow_mut();
        let ticket = Ticket::of_none(slots.next_key().to_bits());
        slots.insert(Slot { ticket, waiter: None, unsent: None, is_done: false });
        drop(slots);
        self.settle(ticket, error);
        self.answer(ticket)
    }

    /// Keeps the message of a request until it is its turn.
    pub(super) fn keep(&self, ticket: Ticket, message: Message) {
        if let Some(slot) = self.slots.borrow_mut().get_mut(key(ticket)) {
            slot.unsent = Some(Box::new(message));
        }
    }

    /// Which request a message answers, which is under way no longer: `Some(None)` when nobody waits for it any more,
    /// `None` when it answers nothing.
    #[inline]
    pub(super) fn answered(&self, message: &Message) -> Option<Option<Ticket>> {
        self.requests.borrow_mut().answered(message)
    }

    /// The same of a message that is not known to be the peer's.
    pub(super) fn refused(&self, message: &Message) -> Option<Option<Ticket>> {
        self.requests.borrow_mut().refused(message)
    }

    /// Whether a message repeats the number of a request.
    pub(super) fn awaits(&self, message: &Message) -> bool {
        self.requests.borrow().awaits(message)
    }

    /// Whether a message answers a request for `uri`, and would end it.
    pub(super) fn is_answer_about(&self, uri: &[u8], message: &Message) -> bool {
        self.requests.borrow().is_answer_about(uri, message)
    }

    /// Whether a request waits for its turn.
    #[inline]
    pub(super) fn is_any_waiting(&self) -> bool {
        self.requests.borrow().is_any_waiting()
    }

    /// A request whose turn it is now, if there is room.
    pub(super) fn next_to_send(&self, has_room: bool) -> Option<(Ticket, Box<Message>)> {
        self.requests.borrow_mut().note_room(has_room);
        loop {
            let ticket = self.requests.borrow_mut().next_to_send()?;
            let unsent = self.slots.borrow_mut().get_mut(key(ticket)).and_then(|slot| slot.unsent.take());
            if let Some(message) = unsent {
                return Some((ticket, message));
            }
        }
    }

    /// Ends a request that could not be sent.
    pub(super) fn fail(&self, ticket: Ticket, error: RequestError) {
        self.requests.borrow_mut().withdraw(ticket);
        self.settle(ticket, error);
    }

    /// Takes back a request that was not sent, and whose answer nobody waits for.
    pub(super) fn withdraw(&self, ticket: Ticket) {
        self.requests.borrow_mut().withdraw(ticket);
        let slot = self.slots.borrow_mut().remove(key(ticket));
        drop(slot);
    }

    /// Gives a request up whose answer nobody waits for any more.
    fn cancel(&self, key: Key) {
        let Some(slot) = self.slots.borrow_mut().remove(key) else { return };
        self.requests.borrow_mut().cancel(slot.ticket);
        if slot.is_done {
            let outcome = self.take_outcome(key);
            drop(outcome);
        }
    }

    /// What became of a request that is done.
    #[inline]
    fn take_outcome(&self, key: Key) -> Result<Message, RequestError> {
        let mut outcomes = self.outcomes.borrow_mut();
        let place = &mut outcomes[key.index() as usize];
        match place.answer.take() {
            Some(answer) => Ok(answer),
            None => Err(place.error.take().unwrap_or(RequestError::TimedOut)),
        }
    }

    /// Lets go of the requests that were not answered in their time.
    pub(super) fn expire(&self, now: u64) {
        self.settle_deadlines();
        loop {
            let Some(ticket) = self.requests.borrow_mut().expire(now) else { return };
            self.settle(ticket, self.judged(ticket, RequestError::TimedOut));
        }
    }

    /// Before this nobody's time is over; see [`Requests::due`].
    #[inline]
    pub(super) fn due(&self) -> u64 {
        self.requests.borrow().due()
    }

    /// Ends all requests: the peer is gone. Whether there were any.
    pub(super) fn fail_all(&self, end: &LinkEnd) -> bool {
        let mut was_any = false;
        loop {
            let Some(ticket) = self.requests.borrow_mut().fail() else { return was_any };
            self.settle(ticket, self.judged(ticket, RequestError::after(end.clone())));
            was_any = true;
        }
    }

    /// What an end is to a request, which may wait to be sent.
    fn judged(&self, ticket: Ticket, error: RequestError) -> RequestError {
        let slots = self.slots.borrow();
        let is_unsent = slots.get(key(ticket)).is_some_and(|slot| slot.unsent.is_some());
        if is_unsent { error.before_sent() } else { error }
    }

    fn note(self: &Rc<Self>) {
        if !self.is_noted.replace(true) {
            let asks: Weak<Asks> = Rc::downgrade(self);
            note_many(asks);
        }
    }

    /// Gives a request its answer, which is taken away, if somebody waits for it.
    #[inline]
    pub(super) fn give(&self, ticket: Ticket, answer: &mut Option<Message>) {
        self.end(ticket, |place| place.answer = answer.take());
    }

    /// Gives a request an error, if somebody waits for its answer.
    pub(super) fn settle(&self, ticket: Ticket, error: RequestError) {
        self.end(ticket, |place| place.error = Some(error));
    }

    #[inline]
    fn end(&self, ticket: Ticket, note: impl FnOnce(&mut Place)) {
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.get_mut(key(ticket)).filter(|slot| !slot.is_done) else { return };
        let (mut outcomes, at) = (self.outcomes.borrow_mut(), key(ticket).index() as usize);
        if outcomes.len() <= at {
            outcomes.resize_with(at + 1, Place::default);
        }
        note(&mut outcomes[at]);
        drop(outcomes);
        slot.is_done = true;
        let (waiter, unsent) = (slot.waiter.take(), slot.unsent.take());
        drop((slots, unsent));
        if let Some(waiter) = waiter {
            wake_contained(waiter.waker);
        }
    }
}

/// Where what is known of a request is.
fn key(ticket: Ticket) -> Key {
    Key::from_bits(ticket.mark())
}

impl Flush for Asks {
    fn flush(self: Rc<Self>) {
        self.settle_deadlines();
    }
}

impl DescribeMany for Asks {
    fn describe_many(&self, say: &mut dyn FnMut(u64, String)) {
        // Who asks for the dump may be at work here.
        let (Ok(requests), Ok(slots)) = (self.requests.try_borrow(), self.slots.try_borrow()) else { return };
        for (_, slot) in slots.iter() {
            let Slot { ticket, waiter: Some(waiter), .. } = slot else { continue };
            let Some((kind, uri)) = requests.subject(*ticket) else { continue };
            let uri = String::from_utf8_lossy(uri);
            let uri = uri.escape_debug();
            say(waiter.task, format!("the answer to {kind} {uri} from {}", self.address));
        }
    }
}

/// The answer to a request; dropped before it has come, it is not waited for any more.
///
/// Two words, so that it is handed on in registers.
pub(super) struct Answer {
    asks: Rc<Asks>,
    /// The key of its slot, until it is given.
    slot: u64,
}

/// No slot has this key.
const GIVEN: u64 = u64::MAX;

impl Future for Answer {
    type Output = Result<Message, RequestError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let (mut slots, key) = (this.asks.slots.borrow_mut(), Key::from_bits(this.slot));
        if let Some(Slot { is_done: false, waiter, .. }) = slots.get_mut(key) {
            let task = context::try_with(|worker| worker.map_or(0, |worker| worker.tasks().running()));
            let former = waiter.replace(Waiter { waker: context.waker().clone(), task });
            drop((slots, former));
            this.asks.note();
            return Poll::Pending;
        }
        slots.remove(key).expect("an answer is asked for until it is given");
        drop(slots);
        this.slot = GIVEN;
        Poll::Ready(this.asks.take_outcome(key))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.slot != GIVEN {
            self.asks.cancel(Key::from_bits(self.slot));
        }
    }
}
