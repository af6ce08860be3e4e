//! Which request a message answers.
//!
//! The protocol has no numbers for requests: an answer is known by its type and by the uri that it repeats. Two of ours
//! tell each other more. A request carries a number in a field that other implementations ignore, and an answer repeats
//! it; then any number of requests may be under way. A peer that has not shown that it repeats numbers has one request
//! for a uri at a time, and the others wait their turn.
//!
//! They wait for room, too: one that a connection takes nothing of is not asked for more, and no more is under way than a
//! peer can hold while it asks back, so that each end goes on reading the other's answers.
//!
//! Errors often repeat no uri. One that fits no request ends the oldest, when the peer answers in order (a stream), or the
//! only one: its sender would otherwise wait for all of its time.
//!
//! Invariant: a request is under way or waits, never both, and leaves by exactly one of `answered`, `expire`, `cancel` and
//! `fail`.

use bytes::Bytes;

use super::{Fields, Kind, Message, line::Line};
use crate::limits::{
    MESSAGE_DATAGRAM_REQUESTS, MESSAGE_HANDLERS, MESSAGE_LATE_ANSWER_NANOS, MESSAGE_REQUEST_BYTES,
    MESSAGE_REQUESTS, MESSAGE_UNANSWERED, MESSAGE_WAITING, MESSAGE_WAITING_BYTES,
};

/// The field of a request with its number.
pub(crate) const NUMBER: &str = "id";
/// The field of an answer with the number of what it answers.
pub(crate) const REPEATED: &str = "re";

/// The uri of an error about a message that could not be read.
const UNREAD: &str = "ERROR";

/// Names a request; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket {
    number: u64,
    mark: u64,
}

impl Ticket {
    /// Of no request.
    pub(crate) fn of_none(mark: u64) -> Ticket {
        Ticket { number: 0, mark }
    }

    /// What its caller gave it; see [`Requests::begin_marked`].
    pub fn mark(self) -> u64 {
        self.mark
    }
}

/// Whether a request may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Send it now.
    Now(Ticket),
    /// Others come first: [`Requests::next_to_send`] names it.
    Later(Ticket),
}

/// Too many requests wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MESSAGE_WAITING} requests to this peer wait already, or {} MiB of them", MESSAGE_WAITING_BYTES >> 20)]
pub struct TooMany;

/// In which order a peer answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As it was asked: a stream.
    AsAsked,
    /// In any: datagrams.
    Any,
}

#[derive(Clone, Debug)]
pub(super) struct Request {
    ticket: Ticket,
    kind: Kind,
    uri: Bytes,
    deadline: u64,
    /// Of its message, about.
    pub(super) octets: u32,
    /// Its deadline may yet be [postponed](Requests::postpone).
    fresh: bool,
    /// Nobody waits for it any more, but its answer may still come, and is nobody else's.
    abandoned: bool,
    /// Its time is over, and it stays for the sake of those behind it alone.
    late: bool,
}

/// The requests to one peer.
#[derive(Clone, Debug)]
pub struct Requests {
    order: Order,
    /// The peer has shown that it repeats numbers, when this is not 0: among datagrams so many requests may yet go
    /// unanswered until another is taken to be at its address.
    numbers: u8,
    last: u64,
    /// Sent, in that order, in which most answers come, too.
    under_way: Line,
    waiting: Line,
    /// What is sent goes somewhere; see [`note_room`](Requests::note_room).
    has_room: bool,
    /// One that waits has its turn, and not the room: none overtakes it.
    is_short: bool,
    /// So many at the end of `under_way`, and of `waiting`, at most, are fresh.
    fresh: [usize; 2],
    /// Before this nobody's time is over; it may be earlier than anybody's is.
    due: u64,
}

impl Requests {
    /// None, to a peer that answers in this order.
    pub fn new(order: Order) -> Requests {
        Requests {
            order,
            numbers: 0,
            last: 0,
            under_way: Line::new(),
            waiting: Line::new(),
            has_room: true,
            is_short: false,
            fresh: [0; 2],
            due: u64::MAX,
        }
    }

    /// None, to a peer that answers in this order; the first one's number is the one after `number`.
    pub fn numbered_from(order: Order, number: u64) -> Requests {
        Requests { last: number, ..Requests::new(order) }
    }

    /// Notes a request, to be answered until `deadline`.
    ///
    /// # Errors
    ///
    /// [`TooMany`].
    pub fn begin(&mut self, kind: Kind, uri: Bytes, deadline: u64) -> Result<Begun, TooMany> {
        self.begin_marked(0, (kind, uri, 0), deadline)
    }

    /// The same, with the octets of its message; the ticket carries `mark`, by which the caller finds what it knows of the request.
    ///
    /// # Errors
    ///
    /// [`TooMany`].
    #[inline]
    pub fn begin_marked(
        &mut self,
        mark: u64,
        (kind, uri, octets): (Kind, Bytes, usize),
        deadline: u64,
    ) -> Result<Begun, TooMany> {
        let ticket = Ticket { number: self.last + 1, mark };
        let octets = u32::try_from(octets).unwrap_or(u32::MAX);
        let goes = self.waiting.is_empty() && self.is_its_turn(&uri) && self.has_room_for(octets);
        if !goes && self.is_too_much(octets) {
            return Err(TooMany);
        }
        self.last += 1;
        self.due = self.due.min(deadline);
        let (fresh, abandoned, late) = (true, false, false);
        let request = Request { ticket, kind, uri, deadline, octets, fresh, abandoned, late };
        if goes {
            self.send(request);
            return Ok(Begun::Now(ticket));
        }
        self.is_short &= !self.waiting.is_empty();
        self.waiting.push_back(request);
        self.fresh[1] = self.fresh[1].saturating_add(1);
        // It may be another uri than the one that the others wait for.
        Ok(if self.send_waiting(ticket) { Begun::Now(ticket) } else { Begun::Later(ticket) })
    }

    /// Writes a request's number into its message.
    #[inline]
    pub fn number(&self, ticket: Ticket, message: &mut Message) {
        message.fields.set_number(ticket.number);
    }

    /// Whether any waits for others to be answered.
    #[inline]
    pub fn is_any_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether there is room for another request where they are sent. While there is not those that begin wait, and who has
    /// said so is to say when there is.
    #[inline]
    pub fn note_room(&mut self, has_room: bool) {
        self.has_room = has_room;
    }

    /// A request that waited and may be sent now.
    pub fn next_to_send(&mut self) -> Option<Ticket> {
        if !self.has_room {
            return None;
        }
        self.is_short = false;
        let at = self.waiting.iter().position(|request| self.is_its_turn(&request.uri))?;
        let octets = self.waiting.get(at)?.octets;
        if !self.has_room_for(octets) {
            self.is_short = true;
            return None;
        }
        let request = self.waiting.remove(at)?;
        let ticket = request.ticket;
        self.send(request);
        Some(ticket)
    }

    #[inline]
    fn send(&mut self, request: Request) {
        self.under_way.push_back(request);
        // Where nobody postpones they are counted for ever.
        self.fresh[0] = self.fresh[0].saturating_add(1);
    }

    /// Moves the deadlines of the requests that have begun since the last call by as much. Who begins many at a time need not
    /// read the clock for each, but for all of them afterwards.
    pub fn postpone(&mut self, by: u64) {
        let [sent, waiting] = std::mem::take(&mut self.fresh);
        let sent = self.under_way.iter_mut().rev().take(sent);
        for request in sent.chain(self.waiting.iter_mut().rev().take(waiting)) {
            if std::mem::take(&mut request.fresh) {
                request.deadline = request.deadline.saturating_add(by);
            }
        }
    }

    /// The request that a message answers, which is over then: `Some(None)` when nobody waits for it any more, `None`
    /// when it answers nothing.
    #[inline]
    pub fn answered(&mut self, message: &Message) -> Option<Option<Ticket>> {
        let at = self.find(message)?;
        if message.fields.repeated().is_some() {
            self.numbers = MESSAGE_UNANSWERED;
        }
        Some(self.take(at))
    }

    /// The same of a message that is not known to be the peer's, and shows nothing of it.
    pub fn refused(&mut self, message: &Message) -> Option<Option<Ticket>> {
        let at = self.find(message)?;
        Some(self.take(at))
    }

    /// Whether a message answers a request for `uri`.
    pub fn is_answer_about(&self, uri: &[u8], message: &Message) -> bool {
        self.find(message).and_then(|at| self.under_way.get(at)).is_some_and(|it| it.uri == uri)
    }

    /// Which request a message answers.
    #[inline]
    fn find(&self, message: &Message) -> Option<usize> {
        if let Some(number) = message.fields.repeated() {
            let number = u64::try_from(number).ok()?;
            let is_it = |request: &Request| request.ticket.number == number;
            // Most answers come in the order of their requests.
            if self.under_way.front().is_some_and(is_it) {
                return Some(0);
            }
            return self.under_way.iter().position(is_it);
        }
        // Whoever has seen no request can write an answer without a number, and say that it is another's datagram.
        if self.under_way.is_empty() || (self.order == Order::Any && self.repeats_numbers()) {
            return None;
        }
        let fits = |request: &Request| answers(request.kind, message.kind) && request.uri == message.uri;
        if let Some(at) = self.under_way.iter().position(fits) {
            return Some(at);
        }
        // Who repeats numbers, and repeats none, means something that had none; but for what could not be read.
        let is_about_another = self.repeats_numbers() && message.uri != UNREAD;
        let is_only = self.under_way.len() == 1;
        let ends_first = message.kind.is_error() && (is_only || self.order == Order::AsAsked);
        (ends_first && !is_about_another).then_some(0)
    }

    /// Gives a request up. Its answer, should it come, is nobody's.
    pub fn cancel(&mut self, ticket: Ticket) {
        self.leave(ticket);
        if let Some(request) = self.under_way.iter_mut().find(|request| request.ticket == ticket) {
            request.abandoned = true;
        }
    }

    /// Takes back a request that was not sent: no answer will come.
    pub fn withdraw(&mut self, ticket: Ticket) {
        self.leave(ticket);
        self.under_way.retain(|request| request.ticket != ticket);
    }

    /// Whether a message repeats the number of a request.
    pub fn awaits(&self, message: &Message) -> bool {
        let number = message.fields.repeated().and_then(|number| u64::try_from(number).ok());
        let mut all = self.under_way.iter().chain(&self.waiting);
        number.is_some_and(|number| all.any(|request| request.ticket.number == number))
    }

    /// What a request is about.
    pub fn subject(&self, ticket: Ticket) -> Option<(Kind, &Bytes)> {
        let mut all = self.under_way.iter().chain(&self.waiting);
        all.find(|request| request.ticket == ticket).map(|request| (request.kind, &request.uri))
    }

    /// A request whose time is over at `now`.
    pub fn expire(&mut self, now: u64) -> Option<Ticket> {
        if now < self.due {
            return None;
        }
        let is_over = |request: &Request| request.deadline <= now;
        if let Some(at) = self.waiting.iter().position(is_over) {
            return self.waiting.remove(at).map(|request| request.ticket);
        }
        while let Some(at) = self.under_way.iter().position(is_over) {
            if let Some(ticket) = self.end_wait(at, now) {
                return Some(ticket);
            }
        }
        self.due = self.next_deadline().unwrap_or(u64::MAX);
        None
    }

    /// When the next request's time is over.
    pub fn next_deadline(&self) -> Option<u64> {
        self.under_way.iter().chain(&self.waiting).map(|request| request.deadline).min()
    }

    /// A time before which none's is over; `u64::MAX` when nothing has a time. It costs nothing to know, and may be earlier
    /// than [`next_deadline`](Requests::next_deadline), until [`expire`](Requests::expire) has looked.
    pub fn due(&self) -> u64 {
        self.due
    }

    /// A request that will not be answered, since the peer is gone.
    pub fn fail(&mut self) -> Option<Ticket> {
        if let Some(request) = self.waiting.pop_front() {
            return Some(request.ticket);
        }
        while !self.under_way.is_empty() {
            if let Some(ticket) = self.take(0) {
                return Some(ticket);
            }
        }
        None
    }

    /// How many are under way or wait.
    pub fn len(&self) -> usize {
        self.under_way.len() + self.waiting.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    fn repeats_numbers(&self) -> bool {
        self.numbers > 0
    }

    /// Whether a request for this uri need not wait for another one's answer.
    #[inline]
    fn is_its_turn(&self, uri: &Bytes) -> bool {
        self.repeats_numbers() || self.under_way.iter().all(|other| other.uri != *uri)
    }

    /// Whether so many octets may be under way, too.
    #[inline]
    fn has_room_for(&self, octets: u32) -> bool {
        let count = self.under_way.len();
        match self.order {
            Order::AsAsked => {
                let fits = || self.under_way.octets() + octets as usize <= MESSAGE_REQUEST_BYTES;
                self.has_room && (count < MESSAGE_HANDLERS || (count < MESSAGE_REQUESTS && fits()))
            }
            Order::Any => count < MESSAGE_DATAGRAM_REQUESTS,
        }
    }

    /// Whether there is no room to wait either.
    fn is_too_much(&self, octets: u32) -> bool {
        let is_long = || self.waiting.octets() + octets as usize > MESSAGE_WAITING_BYTES;
        self.waiting.len() >= MESSAGE_WAITING || (!self.waiting.is_empty() && is_long())
    }

    /// Has one wait no longer.
    fn leave(&mut self, ticket: Ticket) {
        let before = self.waiting.len();
        self.waiting.retain(|request| request.ticket != ticket);
        // It may have been the one that the others were not to overtake.
        self.is_short &= self.waiting.len() == before;
    }

    /// Sends the last of those that wait, if nothing stands in its way.
    fn send_waiting(&mut self, ticket: Ticket) -> bool {
        let Some(last) = self.waiting.back().filter(|last| last.ticket == ticket) else { return false };
        let is_first = self.waiting.iter().take(self.waiting.len() - 1).all(|other| other.uri != last.uri);
        if self.is_short || !is_first || !self.is_its_turn(&last.uri) {
            return false;
        }
        if !self.has_room_for(last.octets) {
            self.is_short = true;
            return false;
        }
        if let Some(last) = self.waiting.pop_back() {
            self.send(last);
        }
        true
    }

    /// Nobody waits any more for the answer of one that is under way. On a stream it may still come, and without a number it
    /// would be taken for that to the next request for the uri: those wait for it a while longer.
    fn end_wait(&mut self, at: usize, now: u64) -> Option<Ticket> {
        if self.order == Order::Any {
            self.numbers = self.numbers.saturating_sub(1);
        }
        let is_told_apart = self.order == Order::Any || self.repeats_numbers();
        match self.under_way.get_mut(at) {
            Some(request) if !is_told_apart && !request.late => {
                request.late = true;
                request.deadline = now.saturating_add(MESSAGE_LATE_ANSWER_NANOS);
                let is_nobodys = std::mem::replace(&mut request.abandoned, true);
                (!is_nobodys).then_some(request.ticket)
            }
            Some(_) | None => self.take(at),
        }
    }

    fn take(&mut self, at: usize) -> Option<Ticket> {
        if at == 0 {
            return self.take_first();
        }
        let request = self.under_way.remove(at)?;
        (!request.abandoned).then_some(request.ticket)
    }

    #[inline]
    fn take_first(&mut self) -> Option<Ticket> {
        let first = self.under_way.front()?;
        let ticket = (!first.abandoned).then_some(first.ticket);
        drop(self.under_way.pop_front());
        ticket
    }
}

/// Whether a request has a number, so that its answer will be known among others.
pub(crate) fn is_numbered(request: &Message) -> bool {
    request.fields.is_numbered()
}

/// Whether a message repeats a number, and so is an answer whatever its type is.
pub(crate) fn is_answer(message: &Message) -> bool {
    message.fields.is_answer()
}

/// Has an answer repeat the number of the request that it answers.
pub fn repeat_number(request: &Message, answer: &mut Message) {
    answer.fields.repeat(&request.fields);
}

/// What is left to be known of a message that is given away.
pub(crate) struct Asked {
    kind: Kind,
    numbers: Fields,
}

impl Asked {
    #[inline]
    pub(crate) fn of(message: &Message) -> Asked {
        Asked { kind: message.kind, numbers: message.fields.numbers() }
    }

    /// Whether it may be answered without its handler wanting it: who answers answers never stops.
    pub(crate) fn may_be_answered(&self) -> bool {
        !self.kind.ends_an_exchange() && !self.numbers.is_answer()
    }

    /// Its type.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Has an answer repeat its number.
    #[inline]
    pub(crate) fn repeat_number(&self, answer: &mut Message) {
        answer.fields.repeat(&self.numbers);
    }

    /// A message of the same type and with the same numbers, about nothing.
    pub(crate) fn message(self) -> Message {
        Message { fields: self.numbers, ..Message::new(self.kind, Bytes::new(), Bytes::new()) }
    }
}

/// Whether a message of type `answer` may answer one of type `asked`.
fn answers(asked: Kind, answer: Kind) -> bool {
    let done = answer.is_error() || answer == Kind::OK;
    match asked {
        Kind::SUBSCRIBE_URI => done || answer == Kind::CONFIRM_SUBSCRIBE,
        Kind::UNSUBSCRIBE_URI => done || answer == Kind::CONFIRM_UNSUBSCRIBE,
        Kind::ADVERTISE_PEER => done || answer == Kind::PEER_DISCOVERED,
        Kind::CREATE_URI | Kind::UPDATE_URI | Kind::DELETE_URI | Kind::PUBLISH_URI => done,
        _ => done || answer == Kind::RESPOND_URI,
    }
}

#[cfg(test)]
#[path = "requests_tests.rs"]
mod tests;
