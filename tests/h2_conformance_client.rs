//! The client's end against what a server may and may not send (RFC 9113 §5, §6.8, §8).

#[path = "support/h2_wire.rs"]
mod h2_wire;

use bytes::Bytes;
use h2_wire::{
    DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PUSH_PROMISE, Wire, fields, frame, rst_stream, settings,
    window_update,
};
use http::Request;
use wakering::internals::h2::{CommandError, Config, Event, Reason, StreamKey};

const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 1;
const STREAM_CLOSED: u32 = 5;
const LAST: u8 = END_HEADERS | END_STREAM;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Nothing is wrong.
    Fine,
    Stream(u32),
    Connection(u32),
}

use Outcome::{Connection, Fine, Stream};

fn ask(wire: &mut Wire, method: &str, end: bool) -> StreamKey {
    let target = if method == "CONNECT" { "a:1" } else { "http://a/" };
    let request = Request::builder().method(method).uri(target).body(()).expect("a request");
    let stream = wire.core.request(&request, end).expect("room for a stream");
    wire.turn();
    stream
}

fn head(flags: u8, stream: u32, status: &str, more: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags, stream, &fields(&[&[(":status", status)], more].concat()))
}

/// One request of a method on stream 1, what the server sends, what becomes of it.
type Case = (&'static str, &'static str, Vec<Vec<u8>>, Outcome);

fn responses() -> Vec<Case> {
    let ok = |flags| head(flags, 1, "200", &[]);
    let with = |flags, status, field| head(flags, 1, status, &[field]);
    let data = |flags, text: &str| frame(DATA, flags, 1, text.as_bytes());
    let raw = |list: &[(&str, &str)]| frame(HEADERS, LAST, 1, &fields(list));
    let length = ("content-length", "3");
    vec![
        ("a response in one frame", "GET", vec![ok(LAST)], Fine),
        ("with content", "GET", vec![ok(END_HEADERS), data(END_STREAM, "abc")], Fine),
        ("with trailers", "GET", vec![ok(END_HEADERS), raw(&[("x", "1")])], Fine),
        ("after 103", "GET", vec![head(END_HEADERS, 1, "103", &[]), ok(LAST)], Fine),
        ("DATA before HEADERS", "GET", vec![data(0, "abc")], Stream(PROTOCOL_ERROR)),
        ("an interim response at the end", "GET", vec![head(LAST, 1, "100", &[])], Stream(PROTOCOL_ERROR)),
        ("101 does not exist", "GET", vec![head(END_HEADERS, 1, "101", &[])], Stream(PROTOCOL_ERROR)),
        ("no :status", "GET", vec![raw(&[("x", "1")])], Stream(PROTOCOL_ERROR)),
        (
            ":status twice",
            "GET",
            vec![raw(&[(":status", "200"), (":status", "200")])],
            Stream(PROTOCOL_ERROR),
        ),
        (":status of two digits", "GET", vec![head(LAST, 1, "20", &[])], Stream(PROTOCOL_ERROR)),
        (":status last", "GET", vec![raw(&[("x", "1"), (":status", "200")])], Stream(PROTOCOL_ERROR)),
        ("a request's field", "GET", vec![with(LAST, "200", (":path", "/"))], Stream(PROTOCOL_ERROR)),
        ("a forbidden field", "GET", vec![with(LAST, "200", ("connection", "x"))], Stream(PROTOCOL_ERROR)),
        ("upper case", "GET", vec![with(LAST, "200", ("Server", "x"))], Stream(PROTOCOL_ERROR)),
        ("two final heads", "GET", vec![ok(END_HEADERS), ok(END_HEADERS)], Stream(PROTOCOL_ERROR)),
        ("pseudo fields in trailers", "GET", vec![ok(END_HEADERS), ok(LAST)], Stream(PROTOCOL_ERROR)),
        ("length kept", "GET", vec![with(END_HEADERS, "200", length), data(END_STREAM, "abc")], Fine),
        (
            "length not reached",
            "GET",
            vec![with(END_HEADERS, "200", length), data(END_STREAM, "ab")],
            Stream(PROTOCOL_ERROR),
        ),
        (
            "length not reached before trailers",
            "GET",
            vec![with(END_HEADERS, "200", length), data(0, "ab"), raw(&[("x", "1")])],
            Stream(PROTOCOL_ERROR),
        ),
        (
            "length passed",
            "GET",
            vec![with(END_HEADERS, "200", length), data(0, "abcd")],
            Stream(PROTOCOL_ERROR),
        ),
        ("length without content", "GET", vec![with(LAST, "200", length)], Stream(PROTOCOL_ERROR)),
        ("length of a HEAD", "HEAD", vec![with(LAST, "200", length)], Fine),
        ("length of a 304", "GET", vec![with(LAST, "304", length)], Fine),
        (
            "content for a HEAD",
            "HEAD",
            vec![ok(END_HEADERS), data(END_STREAM, "abc")],
            Stream(PROTOCOL_ERROR),
        ),
        ("an empty end for a HEAD", "HEAD", vec![ok(END_HEADERS), data(END_STREAM, "")], Fine),
        (
            "content for a 204",
            "GET",
            vec![head(END_HEADERS, 1, "204", &[]), data(0, "abc")],
            Stream(PROTOCOL_ERROR),
        ),
        ("a tunnel", "CONNECT", vec![ok(END_HEADERS), data(0, "abc")], Fine),
        ("DATA after the end", "GET", vec![ok(LAST), data(0, "abc")], Connection(STREAM_CLOSED)),
        ("HEADERS after the end", "GET", vec![ok(LAST), ok(LAST)], Connection(STREAM_CLOSED)),
        ("WINDOW_UPDATE after the end", "GET", vec![ok(LAST), window_update(1, 5)], Fine),
        ("RST_STREAM after the end", "GET", vec![ok(LAST), rst_stream(1, 8)], Fine),
    ]
}

fn connections() -> Vec<Case> {
    let promise = frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82]);
    vec![
        ("a push although it is off", "GET", vec![promise], Connection(PROTOCOL_ERROR)),
        ("a stream of the server's", "GET", vec![head(LAST, 2, "200", &[])], Connection(PROTOCOL_ERROR)),
        ("a response nobody asked for", "GET", vec![head(LAST, 3, "200", &[])], Connection(PROTOCOL_ERROR)),
        ("DATA nobody asked for", "GET", vec![frame(DATA, 0, 3, b"x")], Connection(PROTOCOL_ERROR)),
        ("RST_STREAM on an idle stream", "GET", vec![rst_stream(3, 8)], Connection(PROTOCOL_ERROR)),
        ("WINDOW_UPDATE on an idle stream", "GET", vec![window_update(2, 8)], Connection(PROTOCOL_ERROR)),
        ("ENABLE_PUSH of 1", "GET", vec![settings(&[(2, 1)])], Connection(PROTOCOL_ERROR)),
        ("ENABLE_PUSH of 0", "GET", vec![settings(&[(2, 0)])], Fine),
        (
            "a GOAWAY that raises the last stream",
            "GET",
            vec![goaway(1, NO_ERROR), goaway(3, NO_ERROR)],
            Connection(PROTOCOL_ERROR),
        ),
    ]
}

fn goaway(last: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

#[test]
fn responses_are_judged_by_their_request() {
    check(&responses());
}

#[test]
fn what_concerns_no_request_concerns_the_connection() {
    check(&connections());
}

/// In one piece and byte by byte.
fn check(cases: &[Case]) {
    for (what, method, sends, expected) in cases {
        for step in [usize::MAX, 1] {
            let mut wire = Wire::client(Config::default());
            ask(&mut wire, method, *method != "CONNECT");
            wire.sent.clear();
            for piece in sends.concat().chunks(step) {
                wire.feed(piece);
            }
            let outcome = match (wire.goaway(), &wire.resets()[..]) {
                (Some(code), _) => Connection(code),
                (None, [(1, code)]) => Stream(*code),
                (None, []) => Fine,
                other => panic!("{what}: {other:?}"),
            };
            assert_eq!(outcome, *expected, "{what}");
            let reset = wire.events.iter().any(|event| matches!(event, Event::Reset { remote: false, .. }));
            assert_eq!(reset, matches!(expected, Stream(_)), "{what}: {:?}", wire.events);
            assert_eq!(wire.core.is_closed(), matches!(expected, Connection(_)), "{what}");
        }
    }
}

/// RFC 9113 §6.8: what was above the last stream may be tried elsewhere, what is below is finished here.
#[test]
fn goaway_gives_back_what_was_not_processed() {
    let mut wire = Wire::client(Config::default());
    let kept = ask(&mut wire, "GET", true);
    let lost = ask(&mut wire, "GET", true);
    wire.feed(&goaway(1, NO_ERROR));
    let [Event::GoAway { last_stream: 1, .. }, Event::Reset { stream, reason, remote: true, .. }] =
        &wire.events[..]
    else {
        panic!("{:?}", wire.events)
    };
    assert_eq!((*stream, *reason), (lost, Reason::REFUSED_STREAM));
    wire.core.finish(lost);
    let again = wire.core.request(&Request::get("http://a/").body(()).unwrap(), true);
    assert_eq!(again, Err(CommandError::GoingAway));
    wire.feed(&head(LAST, 1, "200", &[]));
    assert!(matches!(wire.events[2], Event::Response { end: true, .. }));
    wire.core.finish(kept);
    wire.turn();
    assert!(matches!(wire.events.last(), Some(Event::Closed { error: None })), "{:?}", wire.events);
}

/// RFC 9113 §8.1: a server may answer before it has read everything, and then say that it needs no more.
#[test]
fn an_early_answer_survives_the_reset_behind_it() {
    let mut wire = Wire::client(Config::default());
    let stream = ask(&mut wire, "POST", false);
    let answer = [head(END_HEADERS, 1, "413", &[]), frame(DATA, END_STREAM, 1, b"too much")].concat();
    wire.feed(&[answer, rst_stream(1, NO_ERROR)].concat());
    let [
        Event::Response { end: false, .. },
        Event::Data { end: true, .. },
        Event::Reset { reason: Reason::NO_ERROR, remote: true, .. },
    ] = &wire.events[..]
    else {
        panic!("{:?}", wire.events)
    };
    assert_eq!(wire.core.send_data(stream, Bytes::from_static(b"x"), true), Err(CommandError::StreamGone));
    wire.core.finish(stream);
    assert_eq!(wire.core.open_streams(), 0);
}

#[test]
fn the_servers_concurrency_limit_is_kept() {
    let mut wire = Wire::client(Config::default());
    wire.feed(&settings(&[(3, 1)]));
    let first = ask(&mut wire, "GET", true);
    let request = Request::get("http://a/").body(()).unwrap();
    assert_eq!(wire.core.request(&request, true), Err(CommandError::TooManyStreams));
    wire.feed(&head(LAST, 1, "200", &[]));
    wire.core.finish(first);
    assert!(wire.core.request(&request, true).is_ok());
}

/// RFC 9113 §6.9.2: content waits for a window that SETTINGS opens later.
#[test]
fn content_waits_for_the_initial_window() {
    let mut wire = Wire::client(Config::default());
    wire.feed(&settings(&[(4, 0)]));
    let stream = ask(&mut wire, "POST", false);
    wire.core.send_data(stream, Bytes::from(vec![1; 100]), true).unwrap();
    wire.turn();
    assert!(wire.sent_of(DATA).is_empty());
    wire.feed(&settings(&[(4, 60)]));
    wire.feed(&window_update(1, 40));
    let sizes: Vec<(usize, u8)> =
        wire.sent_of(DATA).iter().map(|frame| (frame.payload.len(), frame.flags)).collect();
    assert_eq!(sizes, [(60, 0), (40, END_STREAM)]);
}
