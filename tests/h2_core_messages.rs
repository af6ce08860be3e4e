//! What may be sent when (RFC 9113 §8), and what a client makes of a server's mistakes.

#[path = "support/h2_wire.rs"]
mod h2_wire;

use bytes::Bytes;
use h2_wire::{
    DATA, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, PUSH_PROMISE, Wire, fields, frame, get, post,
    request_block, rst_stream, settings,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use wakering::internals::h2::{CommandError, Config, Event, Reason, StreamKey};

const OK: StatusCode = StatusCode::OK;

fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
    list.iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

fn requested(wire: &mut Wire, bytes: &[u8]) -> StreamKey {
    wire.feed(bytes);
    wire.stream()
}

fn head(method: &str, id: u32) -> Vec<u8> {
    frame(HEADERS, GET, id, &request_block(method, &[]))
}

#[test]
fn the_answer_to_head_and_204_and_304_end_with_their_head() {
    for (method, status) in [("HEAD", 200), ("GET", 204), ("GET", 304)] {
        let mut wire = Wire::server(Config::default());
        let stream = requested(&mut wire, &head(method, 1));
        let status = StatusCode::from_u16(status).unwrap();
        wire.core.respond(stream, status, &headers(&[("content-length", "5")]), false).unwrap();
        wire.core.send_data(stream, Bytes::from_static(b"hello"), true).unwrap();
        wire.core.finish(stream);
        wire.turn();
        assert_eq!(wire.sent.len(), 1, "{method} {status}");
        assert_eq!(wire.sent[0].flags, END_STREAM | END_HEADERS);
        assert_eq!(wire.core.open_streams(), 0);
    }
}

#[test]
fn content_must_keep_the_length_that_was_announced() {
    let mut wire = Wire::server(Config::default());
    let stream = requested(&mut wire, &get(1));
    let five = headers(&[("content-length", "5")]);
    assert_eq!(wire.core.respond(stream, OK, &five, true), Err(CommandError::ContentLength));
    wire.core.respond(stream, OK, &five, false).unwrap();
    let send = |wire: &mut Wire, text: &'static [u8], end| {
        wire.core.send_data(stream, Bytes::from_static(text), end)
    };
    assert_eq!(send(&mut wire, b"123456", false), Err(CommandError::ContentLength));
    assert_eq!(send(&mut wire, b"123", true), Err(CommandError::ContentLength));
    assert_eq!(wire.core.send_trailers(stream, HeaderMap::new()), Err(CommandError::ContentLength));
    send(&mut wire, b"123", false).unwrap();
    send(&mut wire, b"45", true).unwrap();
    wire.core.finish(stream);
    wire.turn();
    assert!(wire.resets().is_empty());
}

#[test]
fn fields_that_http2_forbids_are_not_sent() {
    let forbidden = [
        ("connection", "close"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("x-blank", " leading"),
        ("x-blank", "trailing\t"),
    ];
    let mut wire = Wire::server(Config::default());
    let stream = requested(&mut wire, &get(1));
    for (name, value) in forbidden {
        let bad = headers(&[("x", "y"), (name, value)]);
        assert_eq!(wire.core.respond(stream, OK, &bad, true), Err(CommandError::ForbiddenField), "{name}");
        assert_eq!(
            wire.core.inform(stream, StatusCode::EARLY_HINTS, &bad),
            Err(CommandError::ForbiddenField)
        );
    }
    wire.core.respond(stream, OK, &HeaderMap::new(), false).unwrap();
    for (name, value) in forbidden {
        let bad = headers(&[(name, value)]);
        assert_eq!(wire.core.send_trailers(stream, bad), Err(CommandError::ForbiddenField), "{name}");
    }
    wire.core.send_trailers(stream, headers(&[("te", "trailers")])).unwrap();
}

#[test]
fn commands_in_the_wrong_order_are_errors_and_change_nothing() {
    let mut wire = Wire::server(Config::default());
    let stream = requested(&mut wire, &get(1));
    let none = HeaderMap::new();
    let data = Bytes::from_static(b"x");
    assert_eq!(wire.core.send_data(stream, data.clone(), true), Err(CommandError::WrongState));
    assert_eq!(wire.core.send_trailers(stream, none.clone()), Err(CommandError::WrongState));
    assert_eq!(wire.core.respond(stream, StatusCode::CONTINUE, &none, true), Err(CommandError::Status));
    assert_eq!(wire.core.inform(stream, OK, &none), Err(CommandError::Status));
    assert_eq!(wire.core.inform(stream, StatusCode::SWITCHING_PROTOCOLS, &none), Err(CommandError::Status));
    wire.turn();
    assert!(wire.sent.is_empty());
    wire.core.respond(stream, OK, &none, false).unwrap();
    assert_eq!(wire.core.respond(stream, OK, &none, false), Err(CommandError::WrongState));
    assert_eq!(wire.core.inform(stream, StatusCode::EARLY_HINTS, &none), Err(CommandError::WrongState));
    wire.core.send_data(stream, data.clone(), true).unwrap();
    assert_eq!(wire.core.send_data(stream, data.clone(), true), Err(CommandError::WrongState));
    wire.core.finish(stream);
    assert_eq!(wire.core.send_data(stream, data, true), Err(CommandError::StreamGone));
    let request = Request::get("http://a/").body(()).unwrap();
    assert_eq!(wire.core.request(&request, true), Err(CommandError::WrongRole));
}

#[test]
fn a_stale_key_does_nothing_even_when_its_slot_is_used_again() {
    let mut wire = Wire::server(Config::default());
    let first = requested(&mut wire, &get(1));
    wire.core.respond(first, OK, &HeaderMap::new(), true).unwrap();
    wire.core.finish(first);
    let second = requested(&mut wire, &post(3, &[]));
    assert_eq!(first.index(), second.index());
    wire.sent.clear();
    wire.core.finish(first);
    wire.core.reset(first, Reason::CANCEL);
    wire.core.release(first, 1_000);
    assert_eq!(wire.core.send_capacity(first), 0);
    assert_eq!(wire.core.stream_id(first), None);
    assert_eq!(wire.core.respond(first, OK, &HeaderMap::new(), true), Err(CommandError::StreamGone));
    wire.turn();
    assert!(wire.sent.is_empty());
    assert_eq!(wire.core.stream_id(second), Some(3));
}

#[test]
fn a_handler_that_gives_up_resets_the_stream() {
    let mut wire = Wire::server(Config::default());
    let silent = requested(&mut wire, &post(1, &[]));
    wire.core.finish(silent);
    let halfway = requested(&mut wire, &get(3));
    wire.core.respond(halfway, OK, &HeaderMap::new(), false).unwrap();
    wire.core.finish(halfway);
    wire.turn();
    let internal = Reason::INTERNAL_ERROR.0;
    assert_eq!(wire.resets(), [(1, internal), (3, internal)]);
    assert_eq!(wire.core.open_streams(), 0);
}

/// A stream that is answered while its content still comes.
fn answered(wire: &mut Wire, id: u32, more: &[(&str, &str)]) {
    let stream = requested(wire, &post(id, more));
    wire.core.respond(stream, OK, &HeaderMap::new(), true).expect("an answer");
    wire.core.finish(stream);
    wire.turn();
}

/// RFC 9113 §8.1: a server MAY ask a client to stop; many clients take that for a failure.
#[test]
fn content_behind_a_complete_answer_is_thrown_away_up_to_a_bound() {
    let mut wire = Wire::server(Config::default());
    answered(&mut wire, 1, &[]);
    wire.feed(&frame(DATA, 0, 1, &[7; 16_384]).repeat(3));
    assert_eq!(wire.resets(), []);
    wire.feed(&frame(DATA, END_STREAM, 1, b"the end"));
    assert_eq!(wire.resets(), []);
    assert_eq!(wire.core.open_streams(), 0);

    answered(&mut wire, 3, &[]);
    wire.feed(&frame(DATA, 0, 3, &[7; 16_384]).repeat(4));
    assert_eq!(wire.resets(), [(3, 0)]);
    assert!(!wire.sent_of(h2_wire::WINDOW_UPDATE).is_empty(), "the bound can be reached");
    answered(&mut wire, 5, &[("content-length", "1000000")]);
    assert_eq!(wire.resets()[1..], [(5, 0)], "announced to be too long");
    assert_eq!(wire.core.open_streams(), 0);
}

#[test]
fn content_behind_a_complete_answer_still_keeps_the_rules() {
    let mut wire = Wire::server(Config::default());
    answered(&mut wire, 1, &[("content-length", "5")]);
    wire.feed(&frame(DATA, END_STREAM, 1, b"six..."));
    assert_eq!(wire.resets(), [(1, Reason::PROTOCOL_ERROR.0)]);
    answered(&mut wire, 3, &[]);
    wire.feed(&frame(HEADERS, END_STREAM | END_HEADERS, 3, &fields(&[("x-sum", "7")])));
    assert_eq!(wire.core.open_streams(), 0);
    assert_eq!(wire.resets().len(), 1);
}

#[test]
fn content_behind_a_complete_answer_has_a_time() {
    let config = Config::default();
    let timeout = config.discard_timeout.as_nanos() as u64;
    let mut wire = Wire::server(config);
    answered(&mut wire, 1, &[]);
    assert_eq!(wire.core.next_deadline(0), Some(timeout));
    wire.now = timeout - 1;
    answered(&mut wire, 3, &[]);
    wire.core.handle_timeout(timeout);
    wire.now = timeout;
    wire.turn();
    assert_eq!(wire.resets(), [], "whoever came late has the whole time");
    assert_eq!(wire.core.next_deadline(timeout), Some(2 * timeout));
    wire.core.handle_timeout(2 * timeout);
    wire.turn();
    assert_eq!(wire.resets(), [(1, 0), (3, 0)]);
    assert_eq!(wire.core.open_streams(), 0);
}

/// Content that is queued when the handler ends is still sent, and only then is the rest refused.
#[test]
fn what_is_queued_goes_out_after_finish() {
    let mut wire = Wire::server(Config::default());
    let stream = requested(&mut wire, &post(1, &[]));
    wire.core.respond(stream, OK, &HeaderMap::new(), false).unwrap();
    wire.core.send_data(stream, Bytes::from(vec![7; 100_000]), true).unwrap();
    wire.core.finish(stream);
    wire.turn();
    assert_eq!(wire.core.open_streams(), 1);
    wire.feed(&[h2_wire::window_update(0, 100_000), h2_wire::window_update(1, 100_000)].concat());
    let total: usize = wire.sent_of(DATA).iter().map(|frame| frame.payload.len()).sum();
    assert_eq!(total, 100_000);
    assert_eq!(wire.resets(), []);
    wire.feed(&frame(DATA, END_STREAM, 1, b"the rest"));
    assert_eq!(wire.core.open_streams(), 0);
}

#[test]
fn an_answer_longer_than_a_frame_goes_out_in_continuations() {
    let mut wire = Wire::server(Config::default());
    let stream = requested(&mut wire, &get(1));
    let mut large = HeaderMap::new();
    for n in 0..40 {
        let name = HeaderName::from_bytes(format!("x-{n}").as_bytes()).unwrap();
        // Nothing that Huffman coding would shorten.
        large.insert(name, HeaderValue::from_bytes(&[b'~'; 1_000]).unwrap());
    }
    wire.core.respond(stream, OK, &large, true).unwrap();
    wire.turn();
    let kinds: Vec<(u8, u8)> = wire.sent.iter().map(|frame| (frame.kind, frame.flags)).collect();
    assert_eq!(
        kinds,
        [(HEADERS, END_STREAM), (h2_wire::CONTINUATION, 0), (h2_wire::CONTINUATION, END_HEADERS)]
    );
    assert!(wire.sent.iter().all(|frame| frame.payload.len() <= 16_384));
}

// The client's side.

fn ask(wire: &mut Wire, method: &str) -> StreamKey {
    let request = Request::builder().method(method).uri("http://a/").body(()).expect("a request");
    let stream = wire.core.request(&request, true).expect("a stream");
    wire.turn();
    wire.sent.clear();
    wire.events.clear();
    stream
}

fn answer(status: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut list = vec![(":status", status)];
    list.extend_from_slice(more);
    fields(&list)
}

#[test]
fn a_malformed_response_costs_its_stream() {
    let bad: [(&str, Vec<Vec<u8>>); 9] = [
        ("no :status", vec![frame(HEADERS, GET, 1, &fields(&[("x", "y")]))]),
        ("a request's pseudo field", vec![frame(HEADERS, GET, 1, &answer("200", &[(":path", "/")]))]),
        ("101", vec![frame(HEADERS, END_HEADERS, 1, &answer("101", &[]))]),
        ("a 1xx that ends the stream", vec![frame(HEADERS, GET, 1, &answer("103", &[]))]),
        ("connection", vec![frame(HEADERS, GET, 1, &answer("200", &[("connection", "close")]))]),
        (
            "content-length without content",
            vec![frame(HEADERS, GET, 1, &answer("200", &[("content-length", "1")]))],
        ),
        ("DATA before HEADERS", vec![frame(DATA, 0, 1, b"x")]),
        (
            "content on a 204",
            vec![frame(HEADERS, END_HEADERS, 1, &answer("204", &[])), frame(DATA, END_STREAM, 1, b"x")],
        ),
        (
            "a second head",
            vec![
                frame(HEADERS, END_HEADERS, 1, &answer("200", &[])),
                frame(HEADERS, END_HEADERS, 1, &answer("200", &[])),
            ],
        ),
    ];
    for (claim, sends) in bad {
        let mut wire = Wire::client(Config::default());
        let stream = ask(&mut wire, "GET");
        wire.feed(&sends.concat());
        assert_eq!(wire.resets(), [(1, Reason::PROTOCOL_ERROR.0)], "{claim}");
        let Some(Event::Reset { stream: told, remote: false, .. }) = wire.events.last() else {
            panic!("{claim}: {:?}", wire.events)
        };
        assert_eq!(*told, stream);
        wire.core.finish(stream);
        assert_eq!(wire.core.open_streams(), 0);
        assert_eq!(wire.goaway(), None, "{claim}");
    }
}

#[test]
fn the_answer_to_head_may_announce_a_length() {
    let mut wire = Wire::client(Config::default());
    ask(&mut wire, "HEAD");
    wire.feed(&frame(HEADERS, GET, 1, &answer("200", &[("content-length", "1000")])));
    assert!(matches!(wire.events[..], [Event::Response { end: true, .. }]));
    assert!(wire.resets().is_empty());
}

#[test]
fn a_server_must_not_push_or_open_streams() {
    for bad in [
        frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82]),
        frame(HEADERS, GET, 2, &answer("200", &[])),
        frame(HEADERS, GET, 3, &answer("200", &[])),
        frame(DATA, 0, 2, b"x"),
        rst_stream(3, 8),
        settings(&[(2, 1)]),
    ] {
        let mut wire = Wire::client(Config::default());
        ask(&mut wire, "GET");
        wire.feed(&bad);
        assert_eq!(wire.goaway(), Some(Reason::PROTOCOL_ERROR.0), "{bad:?}");
    }
}

#[test]
fn goaway_gives_back_what_was_not_processed_and_the_rest_goes_on() {
    let mut wire = Wire::client(Config::default());
    let [first, second] = [(); 2].map(|()| ask(&mut wire, "GET"));
    wire.feed(&frame(GOAWAY, 0, 0, &[&[0, 0, 0, 1, 0, 0, 0, 0], &b"bye"[..]].concat()));
    let [Event::GoAway { last_stream: 1, debug, .. }, Event::Reset { stream, reason, remote: true, .. }] =
        &wire.events[..]
    else {
        panic!("{:?}", wire.events)
    };
    assert_eq!((&debug[..], *stream, *reason), (&b"bye"[..], second, Reason::REFUSED_STREAM));
    wire.core.finish(second);
    let request = Request::get("http://a/").body(()).unwrap();
    assert_eq!(wire.core.request(&request, true), Err(CommandError::GoingAway));
    wire.events.clear();
    wire.feed(&frame(HEADERS, GET, 1, &answer("200", &[])));
    assert!(matches!(wire.events[..], [Event::Response { end: true, .. }]));
    wire.core.finish(first);
    wire.turn();
    assert!(wire.core.is_closed());
}

#[test]
fn a_second_goaway_may_not_raise_the_last_stream() {
    let mut wire = Wire::client(Config::default());
    ask(&mut wire, "GET");
    wire.feed(&frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]));
    wire.feed(&frame(GOAWAY, 0, 0, &[0, 0, 0, 3, 0, 0, 0, 0]));
    assert_eq!(wire.goaway(), Some(Reason::PROTOCOL_ERROR.0));
}

#[test]
fn a_client_keeps_the_servers_limit_on_streams() {
    let mut wire = Wire::client(Config::default());
    wire.feed(&settings(&[(3, 2)]));
    let [first, _] = [(); 2].map(|()| ask(&mut wire, "GET"));
    let request = Request::get("http://a/").body(()).unwrap();
    assert_eq!(wire.core.request(&request, true), Err(CommandError::TooManyStreams));
    wire.feed(&frame(HEADERS, GET, 1, &answer("200", &[])));
    wire.core.finish(first);
    assert!(wire.core.request(&request, true).is_ok());
}

#[test]
fn a_request_needs_a_whole_target() {
    let mut wire = Wire::client(Config::default());
    for (method, target) in [("GET", "/only/a/path"), ("GET", "a:443"), ("CONNECT", "http://a/")] {
        let request = Request::builder().method(method).uri(target).body(()).unwrap();
        assert_eq!(wire.core.request(&request, true), Err(CommandError::Target), "{method} {target}");
    }
}

#[test]
fn the_end_of_the_socket_ends_every_stream_with_the_cause() {
    let mut wire = Wire::client(Config::default());
    ask(&mut wire, "GET");
    wire.core.receive_end();
    wire.turn();
    let Some(Event::Closed { error: Some(error) }) = wire.events.last() else { panic!("{:?}", wire.events) };
    assert!(error.to_string().contains("open streams"), "{error}");

    let mut wire = Wire::server(Config::default());
    wire.feed(&get(1)[..7]);
    wire.core.receive_end();
    wire.turn();
    let Some(Event::Closed { error: Some(error) }) = wire.events.last() else { panic!("{:?}", wire.events) };
    assert!(error.to_string().contains("inside a frame"), "{error}");

    let mut wire = Wire::server(Config::default());
    wire.core.receive_end();
    wire.turn();
    assert!(matches!(wire.events[..], [Event::Closed { error: None }]));
}
