//! What a connection still does once its server has begun to go.

use super::*;

#[test]
fn a_head_that_has_begun_when_the_server_goes_has_little_time_left() {
    let mut machine = Machine::given("GET / HTT");
    machine.core.shutdown();
    assert_eq!(machine.due_in(), Some(1));
    machine.wait(SECOND);
    assert_eq!(machine.trip, Some(Trip::HeaderTimeout));
    // One that comes whole is answered, and is the last.
    let mut machine = Machine::given("GET / HTT");
    machine.core.shutdown();
    machine.receive("P/1.1\r\nhost: a\r\n\r\n");
    machine.wait(100 * SECOND);
    assert!(machine.answer(0, "done").contains("connection: close"));
    assert_eq!(machine.closed, Some(None));
}

#[test]
fn who_has_just_come_when_the_server_goes_may_still_ask() {
    let mut machine = Machine::new();
    machine.core.shutdown();
    assert_eq!(machine.due_in(), Some(1));
    machine.receive("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(machine.answer(0, "done").contains("connection: close"));
    let mut silent = Machine::new();
    silent.core.shutdown();
    assert_eq!(silent.due_in(), Some(1));
    silent.wait(SECOND);
    assert_eq!(silent.closed, Some(None));
}

/// The connection of somebody who has had an answer.
fn answered() -> Machine {
    let mut machine = Machine::given(GET);
    assert!(!machine.answer(0, "done").contains("connection:"));
    machine
}

/// RFC 9112 §9.6: its last answer did not say that there would be no other, and the next request may be on its way.
#[test]
fn who_has_asked_lately_when_the_server_goes_may_ask_once_more_and_is_told() {
    let mut machine = answered();
    machine.wait(SECOND / 2);
    machine.core.shutdown();
    machine.wait(SECOND / 4);
    assert_eq!(machine.closed, None);
    machine.receive(&GET.repeat(2));
    assert!(machine.answer(1, "the last").contains("connection: close"));
    assert_eq!(
        (machine.closed, machine.streams.len()),
        (Some(None), 2),
        "what is behind it is not looked at"
    );
}

#[test]
fn who_is_silent_for_a_second_behind_an_answer_is_closed_when_the_server_goes() {
    let mut machine = answered();
    machine.wait(SECOND / 2);
    machine.core.shutdown();
    let now = machine.now;
    assert_eq!(machine.core.next_deadline(now), Some(SECOND));
    machine.wait(SECOND / 2);
    assert_eq!(machine.closed, Some(None));
    // At once, if the second is over already.
    let mut machine = answered();
    machine.wait(SECOND);
    machine.core.shutdown();
    machine.wait(0);
    assert_eq!(machine.closed, Some(None));
}

#[test]
fn half_of_a_short_grace_is_what_a_next_request_is_waited_for() {
    for (grace, due) in [(5_000, 1_000), (2_000, 1_000), (200, 100), (0, 0)] {
        let mut machine = answered();
        machine.core.shutdown_within(Duration::from_millis(grace));
        assert_eq!(machine.core.next_deadline(0), Some(due * SECOND / 1_000), "{grace} ms");
    }
    // A grace that is shortened counts, one that is lengthened does not.
    let mut machine = answered();
    for grace in [5_000, 200, 5_000] {
        machine.core.shutdown_within(Duration::from_millis(grace));
    }
    assert_eq!(machine.core.next_deadline(0), Some(SECOND / 10));
}

#[test]
fn an_answer_whose_head_was_out_when_the_server_went_is_not_the_last() {
    let mut machine = Machine::given(GET);
    let (stream, mut fields) = (machine.stream(0), HeaderMap::new());
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(4));
    machine.core.respond(stream, StatusCode::OK, &fields, false).unwrap();
    assert!(!machine.sent().contains("connection:"));
    machine.core.shutdown();
    machine.wait(20 * SECOND);
    machine.core.send_data(stream, Bytes::from_static(b"done"), true).unwrap();
    machine.core.finish(stream);
    assert_eq!(machine.sent(), "done");
    assert_eq!((machine.closed, machine.due_in()), (None, Some(1)));
    // The next one has time to come in pieces.
    machine.receive("GET / HTT");
    machine.wait(SECOND / 2);
    machine.receive("P/1.1\r\nhost: a\r\n\r\n");
    assert!(machine.answer(1, "the last").contains("connection: close"));
    assert_eq!(machine.closed, Some(None));
}

#[test]
fn content_that_nobody_reads_is_not_waited_for_when_the_server_goes() {
    let mut machine = Machine::given("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf");
    let stream = machine.stream(0);
    let mut fields = HeaderMap::new();
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(4));
    machine.core.respond(stream, StatusCode::OK, &fields, false).unwrap();
    machine.core.shutdown();
    machine.core.send_data(stream, Bytes::from_static(b"done"), true).unwrap();
    machine.core.finish(stream);
    machine.sent();
    assert_eq!(machine.closed, Some(None));
}
