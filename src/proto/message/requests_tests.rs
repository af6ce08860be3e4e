//! Tests of which request a message answers, and of when one is sent.

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
    let Ok(Begun::Later(last)) = requests.begin(Kind::REQUEST_URI, "a".into(), u64::MAX) else { panic!() };
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
