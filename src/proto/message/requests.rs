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
mod tests {
    use super::*;
    use crate::proto::message::Value;

    fn now(requests: &mut Requests, uri: &'static str) -> Ticket {
        match requests.begin(Kind::REQUEST_URI, uri.into(), 100) {
            Ok(Begun::Now(ticket)) => ticket,
            other => panic!("{uri}: {other:?}"),
        }
    }

    fn later(requests: &mut Requests, uri: &'static str) -> Ticket {
        match requests.begin(Kind::REQUEST_URI, uri.into(), 100) {
            Ok(Begun::Later(ticket)) => ticket,
            other => panic!("{uri}: {other:?}"),
        }
    }

    fn message(kind: Kind, uri: &'static str) -> Message {
        Message::new(kind, uri, "")
    }

    fn numbered(requests: &Requests, ticket: Ticket) -> Message {
        let (mut asked, mut answer) = (message(Kind::REQUEST_URI, "a"), message(Kind::RESPOND_URI, "a"));
        requests.number(ticket, &mut asked);
        repeat_number(&asked, &mut answer);
        answer
    }

    #[test]
    fn requests_for_one_uri_take_turns_with_a_peer_that_repeats_no_numbers() {
        let mut requests = Requests::new(Order::AsAsked);
        let (a, b) = (now(&mut requests, "a"), now(&mut requests, "b"));
        let (second, third) = (later(&mut requests, "a"), later(&mut requests, "a"));
        let c = now(&mut requests, "c");
        assert_eq!(requests.next_to_send(), None);
        assert_eq!(requests.answered(&message(Kind::RESPOND_URI, "b")), Some(Some(b)));
        assert_eq!(requests.next_to_send(), None);
        assert_eq!(requests.answered(&message(Kind::RESPOND_URI, "a")), Some(Some(a)));
        assert_eq!((requests.next_to_send(), requests.next_to_send()), (Some(second), None));
        assert_eq!(requests.answered(&message(Kind::NOT_FOUND, "a")), Some(Some(second)));
        assert_eq!(requests.next_to_send(), Some(third));
        assert_eq!(requests.answered(&message(Kind::RESPOND_URI, "c")), Some(Some(c)));
        assert_eq!(requests.answered(&message(Kind::RESPOND_URI, "nobody's")), None);
        assert_eq!((requests.len(), requests.fail(), requests.fail()), (1, Some(third), None));
    }

    fn with_octets(requests: &mut Requests, uri: &'static str, octets: usize) -> Begun {
        requests.begin_marked(0, (Kind::REQUEST_URI, uri.into(), octets), 100).expect("there is room")
    }

    /// One that repeats numbers.
    fn known() -> Requests {
        let mut requests = Requests::new(Order::AsAsked);
        let shows = now(&mut requests, "shows");
        let answer = numbered(&requests, shows);
        requests.answered(&answer);
        requests
    }

    #[test]
    fn more_than_a_peer_has_handlers_for_are_under_way_if_it_can_hold_them() {
        let mut requests = known();
        let sixty_four: Vec<_> = (0..64).map(|_| with_octets(&mut requests, "a", 65_000)).collect();
        let is_now = |begun: &Begun| matches!(begun, Begun::Now(_));
        assert!(sixty_four.iter().all(is_now), "they are all at work");
        let Begun::Later(long) = with_octets(&mut requests, "a", 65_000) else { panic!("it goes") };
        // Nor does a short one overtake it, about whatever it is.
        let Begun::Later(short) = with_octets(&mut requests, "b", 1) else { panic!("it goes") };
        assert_eq!(requests.next_to_send(), None);
        let Begun::Now(first) = sixty_four[0] else { panic!("it waits") };
        let answer = numbered(&requests, first);
        assert_eq!(requests.answered(&answer), Some(Some(first)));
        assert_eq!((requests.next_to_send(), requests.next_to_send()), (Some(long), None));
        requests.cancel(short);
        assert!(!requests.is_any_waiting());

        let mut requests = known();
        let count = (0..2000).take_while(|_| is_now(&with_octets(&mut requests, "a", 1000))).count();
        assert_eq!(count, MESSAGE_REQUEST_BYTES / 1000);
        let mut requests = known();
        let count = (0..2000).take_while(|_| is_now(&with_octets(&mut requests, "a", 100))).count();
        assert_eq!(count, MESSAGE_REQUESTS);
    }

    #[test]
    fn requests_wait_while_there_is_no_room_for_any_and_so_many_octets_of_them() {
        let mut requests = known();
        requests.note_room(false);
        let first = later(&mut requests, "a");
        assert_eq!(requests.next_to_send(), None);
        requests.note_room(true);
        // It came later, and waits for its turn.
        let second = later(&mut requests, "b");
        assert_eq!((requests.next_to_send(), requests.next_to_send()), (Some(first), Some(second)));
        requests.note_room(false);
        let long = || (Kind::REQUEST_URI, "a".into(), 64 << 10);
        let count = (0..).take_while(|_| requests.begin_marked(0, long(), 100).is_ok()).count();
        assert_eq!(count, MESSAGE_WAITING_BYTES / (64 << 10));
        assert!(requests.begin(Kind::REQUEST_URI, "a".into(), 100).is_ok(), "this one has none");
        while requests.expire(100).is_some() {}
        assert!(requests.begin_marked(0, long(), 200).is_ok());
    }

    #[test]
    fn any_number_is_under_way_with_a_peer_that_repeats_numbers() {
        let mut requests = Requests::new(Order::AsAsked);
        let first = now(&mut requests, "a");
        let waits = later(&mut requests, "a");
        let answer = numbered(&requests, first);
        assert_eq!(requests.answered(&answer), Some(Some(first)));
        assert_eq!(requests.answered(&answer), None, "an answer that comes twice is nobody's");
        assert_eq!(requests.next_to_send(), Some(waits));
        let more: Vec<Ticket> = (0..9).map(|_| now(&mut requests, "a")).collect();
        for ticket in more.into_iter().rev().chain([waits]) {
            assert_eq!(requests.answered(&numbered(&requests, ticket)), Some(Some(ticket)));
        }
        assert!(requests.is_empty());
    }

    #[test]
    fn an_error_without_uri_ends_the_oldest_on_a_stream_and_else_the_only_one() {
        let error = message(Kind::NOT_FOUND, "");
        let mut stream = Requests::new(Order::AsAsked);
        let (a, b) = (now(&mut stream, "a"), now(&mut stream, "b"));
        assert_eq!((stream.answered(&error), stream.answered(&error)), (Some(Some(a)), Some(Some(b))));
        assert_eq!(stream.answered(&error), None);
        let mut datagrams = Requests::new(Order::Any);
        let (a, b) = (now(&mut datagrams, "a"), now(&mut datagrams, "b"));
        assert_eq!(datagrams.answered(&error), None);
        assert_eq!(datagrams.answered(&message(Kind::RESPOND_URI, "a")), Some(Some(a)));
        assert_eq!(datagrams.answered(&error), Some(Some(b)));
    }

    #[test]
    fn an_error_without_number_ends_nothing_when_the_peer_repeats_numbers_but_for_what_it_could_not_read() {
        let mut requests = Requests::numbered_from(Order::AsAsked, 7);
        let first = now(&mut requests, "a");
        assert_eq!(requests.answered(&numbered(&requests, first)), Some(Some(first)));
        let second = now(&mut requests, "a");
        assert_eq!(requests.answered(&message(Kind::NOT_FOUND, "news")), None);
        assert_eq!(requests.answered(&message(Kind::ERROR, "ERROR")), Some(Some(second)));
    }

    #[test]
    fn a_number_that_no_request_has_shows_nothing() {
        let mut requests = Requests::numbered_from(Order::Any, 7);
        let (first, second) = (now(&mut requests, "a"), later(&mut requests, "a"));
        for number in [Value::Int(7), Value::Int(99), Value::Int(-1), Value::Str("8".into())] {
            let mut made_up = message(Kind::RESPOND_URI, "b");
            made_up.fields.set(REPEATED, number);
            assert_eq!((requests.answered(&made_up), requests.next_to_send()), (None, None));
        }
        assert_eq!(requests.answered(&message(Kind::RESPOND_URI, "a")), Some(Some(first)));
        assert_eq!(requests.next_to_send(), Some(second));
    }

    #[test]
    fn what_is_not_the_peers_ends_a_request_and_shows_nothing() {
        let mut requests = Requests::new(Order::AsAsked);
        let (first, second) = (now(&mut requests, "a"), later(&mut requests, "a"));
        let third = later(&mut requests, "a");
        let forged = numbered(&requests, first);
        assert_eq!(requests.refused(&forged), Some(Some(first)));
        assert_eq!((requests.next_to_send(), requests.next_to_send()), (Some(second), None));
        assert_eq!(requests.answered(&message(Kind::RESPOND_URI, "a")), Some(Some(second)));
        assert_eq!(requests.next_to_send(), Some(third));
    }

    #[test]
    fn by_datagrams_who_repeats_numbers_is_not_believed_without_until_it_has_not_answered_for_long() {
        let mut requests = Requests::numbered_from(Order::Any, 7);
        let first = now(&mut requests, "a");
        assert_eq!(requests.answered(&numbered(&requests, first)), Some(Some(first)));
        let unnumbered = [(Kind::RESPOND_URI, "a"), (Kind::NOT_FOUND, "a"), (Kind::ERROR, "ERROR")];
        for _ in 0..MESSAGE_UNANSWERED {
            let next = now(&mut requests, "a");
            for (kind, uri) in unnumbered {
                assert_eq!((requests.answered(&message(kind, uri)), requests.len()), (None, 1), "{kind}");
            }
            assert_eq!(requests.expire(100), Some(next));
        }
        // Another has its address, it seems.
        let (next, waits) = (now(&mut requests, "a"), later(&mut requests, "a"));
        assert_eq!(requests.answered(&message(Kind::RESPOND_URI, "a")), Some(Some(next)));
        assert_eq!(requests.next_to_send(), Some(waits));
        let last = numbered(&requests, waits);
        assert_eq!(requests.answered(&last), Some(Some(waits)));
        now(&mut requests, "a");
        assert_eq!(requests.answered(&message(Kind::RESPOND_URI, "a")), None);
    }

    #[test]
    fn the_answer_to_a_cancelled_request_is_nobody_elses() {
        let mut requests = Requests::new(Order::AsAsked);
        let first = now(&mut requests, "a");
        let (second, third) = (later(&mut requests, "a"), later(&mut requests, "a"));
        requests.cancel(first);
        requests.cancel(second);
        assert_eq!(requests.next_to_send(), None, "the first one's answer is still to come");
        assert_eq!(requests.answered(&message(Kind::RESPOND_URI, "a")), Some(None));
        assert_eq!(requests.next_to_send(), Some(third));
        assert_eq!(requests.answered(&message(Kind::RESPOND_URI, "a")), Some(Some(third)));
    }

    #[test]
    fn a_late_answer_is_not_taken_for_that_to_the_next_request() {
        let mut requests = Requests::new(Order::AsAsked);
        let (first, waits) = (now(&mut requests, "a"), later(&mut requests, "a"));
        let mut over = [requests.expire(100), requests.expire(100)];
        over.sort_unstable();
        assert_eq!((over, requests.expire(100)), ([Some(first), Some(waits)], None));
        let Ok(Begun::Later(next)) = requests.begin(Kind::REQUEST_URI, "a".into(), 500) else { panic!() };
        assert_eq!(requests.answered(&message(Kind::RESPOND_URI, "a")), Some(None), "the first one's");
        assert_eq!(requests.next_to_send(), Some(next));
        assert_eq!(
            (requests.expire(500), requests.next_deadline()),
            (Some(next), Some(500 + MESSAGE_LATE_ANSWER_NANOS))
        );
        let Ok(Begun::Later(last)) = requests.begin(Kind::REQUEST_URI, "a".into(), u64::MAX) else {
            panic!()
        };
        assert_eq!(
            (requests.expire(500 + MESSAGE_LATE_ANSWER_NANOS), requests.next_to_send()),
            (None, Some(last))
        );
    }

    #[test]
    fn what_was_not_sent_stands_in_nobodys_way() {
        let mut requests = Requests::new(Order::Any);
        let first = now(&mut requests, "a");
        let second = later(&mut requests, "a");
        requests.withdraw(first);
        assert_eq!(requests.next_to_send(), Some(second));
        requests.withdraw(second);
        assert!(requests.is_empty());
    }

    #[test]
    fn time_ends_what_is_under_way_and_what_waits() {
        let mut requests = Requests::new(Order::Any);
        let first = now(&mut requests, "a");
        let waits = later(&mut requests, "a");
        let Ok(Begun::Now(long)) = requests.begin(Kind::CREATE_URI, "b".into(), 200) else { panic!() };
        assert_eq!((requests.next_deadline(), requests.expire(99)), (Some(100), None));
        let mut over = [requests.expire(100).unwrap(), requests.expire(100).unwrap()];
        over.sort_unstable();
        assert_eq!((over, requests.expire(100)), ([first, waits], None));
        requests.cancel(long);
        assert_eq!((requests.expire(200), requests.next_deadline(), requests.due()), (None, None, u64::MAX));
    }

    #[test]
    fn what_is_due_is_never_later_than_the_next_deadline() {
        let mut requests = Requests::numbered_from(Order::Any, 0);
        requests.numbers = MESSAGE_UNANSWERED;
        let Ok(Begun::Now(first)) = requests.begin(Kind::REQUEST_URI, "a".into(), 50) else { panic!() };
        now(&mut requests, "a");
        assert_eq!((requests.due(), requests.next_deadline()), (50, Some(50)));
        assert_eq!(requests.answered(&numbered(&requests, first)), Some(Some(first)));
        assert_eq!((requests.due(), requests.next_deadline()), (50, Some(100)), "it costs nothing to know");
        assert_eq!((requests.expire(50), requests.due()), (None, 100));
    }

    #[test]
    fn only_what_has_begun_since_is_postponed_wherever_it_stands() {
        let mut requests = Requests::new(Order::AsAsked);
        let first = now(&mut requests, "a");
        requests.postpone(1);
        let (second, third) = (later(&mut requests, "a"), later(&mut requests, "a"));
        requests.cancel(third);
        let other = now(&mut requests, "b");
        assert_eq!(requests.answered(&message(Kind::RESPOND_URI, "a")), Some(Some(first)));
        assert_eq!(requests.next_to_send(), Some(second));
        requests.postpone(10);
        requests.postpone(100);
        let last = later(&mut requests, "b");
        assert_eq!((requests.expire(100), requests.expire(109)), (Some(last), None));
        let mut over = [requests.expire(110), requests.expire(110)];
        over.sort_unstable();
        assert_eq!((over, requests.expire(u64::MAX)), ([Some(second), Some(other)], None));
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut requests = Requests::new(Order::Any);
        now(&mut requests, "a");
        (0..MESSAGE_WAITING).for_each(|_| _ = later(&mut requests, "a"));
        assert_eq!(requests.begin(Kind::REQUEST_URI, "a".into(), 100), Err(TooMany));
    }

    #[test]
    fn each_type_has_its_answers() {
        for (asked, answer, fits) in [
            (Kind::REQUEST_URI, Kind::RESPOND_URI, true),
            (Kind::REQUEST_URI, Kind::NOTIFY_URI, false),
            (Kind::CREATE_URI, Kind::OK, true),
            (Kind::CREATE_URI, Kind::RESPOND_URI, false),
            (Kind::SUBSCRIBE_URI, Kind::CONFIRM_SUBSCRIBE, true),
            (Kind::SUBSCRIBE_URI, Kind::CONFIRM_UNSUBSCRIBE, false),
            (Kind::UNSUBSCRIBE_URI, Kind::CONFIRM_UNSUBSCRIBE, true),
            (Kind::DELETE_URI, Kind::NOT_PERMITTED, true),
            (Kind::ADVERTISE_PEER, Kind::PEER_DISCOVERED, true),
            (Kind::custom(99).unwrap(), Kind::RESPOND_URI, true),
        ] {
            assert_eq!(answers(asked, answer), fits, "{asked} {answer}");
        }
    }
}
