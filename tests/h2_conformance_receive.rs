//! What either end makes of what it receives: one table for both roles, and the rules that no table holds.
//!
//! `docs/h2-rfc-map.md` says which requirement of RFC 9113 each test proves.

#![expect(
    clippy::unwrap_used,
    reason = "tests may unwrap, and clippy takes only what is marked #[test] for one"
)]

#[path = "support/h2_wire.rs"]
mod h2_wire;

use bytes::Bytes;
use h2_wire::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITY,
    PSEUDO, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, Wire, fields, frame, get, post, request_block,
    rst_stream, settings, window_update,
};
use http::{HeaderMap, Request, StatusCode};
use wakering::internals::h2::{CommandError, Config, Connection, Event, Reason, Role, StreamKey};

const BOTH: [Role; 2] = [Role::Server, Role::Client];

const PROTOCOL: Reason = Reason::PROTOCOL_ERROR;
const SIZE: Reason = Reason::FRAME_SIZE_ERROR;
const FLOW: Reason = Reason::FLOW_CONTROL_ERROR;
const CLOSED: Reason = Reason::STREAM_CLOSED;

/// What a case ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// GOAWAY with this code.
    Goaway(Reason),
    /// RST_STREAM with this code on stream 1; the connection lives.
    Reset(Reason),
    /// Nothing at all.
    Fine,
}

use Outcome::{Fine, Goaway, Reset};

fn wire(role: Role) -> Wire {
    match role {
        Role::Server => Wire::server(Config::default()),
        Role::Client => Wire::client(Config::default()),
    }
}

fn ask(wire: &mut Wire, method: &str, end: bool) -> StreamKey {
    let target = if method == "CONNECT" { "a:1" } else { "http://a/" };
    let request = Request::builder().method(method).uri(target).body(()).unwrap();
    let stream = wire.core.request(&request, end).unwrap();
    wire.turn();
    stream
}

fn head(flags: u8, stream: u32, status: &str, more: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags, stream, &fields(&[&[(":status", status)], more].concat()))
}

/// Either end with stream 1 open in both directions, and the peer's head there.
fn open(role: Role) -> Wire {
    let mut wire = wire(role);
    match role {
        Role::Server => wire.feed(&post(1, &[])),
        Role::Client => {
            ask(&mut wire, "POST", false);
            wire.feed(&head(END_HEADERS, 1, "200", &[]));
        }
    }
    wire.events.clear();
    wire.sent.clear();
    wire
}

fn outcome(wire: &Wire) -> Outcome {
    match (wire.goaway(), &wire.resets()[..]) {
        (Some(code), _) => Goaway(Reason(code)),
        (None, [(1, code)]) => Reset(Reason(*code)),
        (None, []) => Fine,
        (None, more) => panic!("several resets: {more:?}"),
    }
}

type Case = (&'static str, Vec<u8>, Outcome);

#[expect(clippy::too_many_lines, reason = "a table, one row a case")]
fn cases() -> Vec<Case> {
    let block = |parts: &[Vec<u8>]| parts.concat();
    let half = || frame(HEADERS, END_STREAM, 1, &[0]);
    vec![
        ("a frame above MAX_FRAME_SIZE", frame(77, 0, 0, &[0; 16_385]), Goaway(SIZE)),
        ("a frame of MAX_FRAME_SIZE", frame(77, 0, 0, &[0; 16_384]), Fine),
        ("an unknown type", frame(0xfa, 0xff, 1, b"x"), Fine),
        ("DATA on stream 0", frame(DATA, 0, 0, b"x"), Goaway(PROTOCOL)),
        ("DATA on an idle stream of the client's", frame(DATA, 0, 9, b"x"), Goaway(PROTOCOL)),
        ("DATA on an idle stream of the server's", frame(DATA, 0, 2, b"x"), Goaway(PROTOCOL)),
        ("DATA of padding only", frame(DATA, PADDED, 1, &[3, 0, 0, 0]), Fine),
        ("DATA padded by its length", frame(DATA, PADDED, 1, &[4, 0, 0, 0]), Goaway(PROTOCOL)),
        ("DATA without room for the padding length", frame(DATA, PADDED, 1, &[]), Goaway(SIZE)),
        ("HEADERS on stream 0", frame(HEADERS, GET, 0, &[]), Goaway(PROTOCOL)),
        ("HEADERS on a stream of the server's", frame(HEADERS, GET, 2, &[0x88]), Goaway(PROTOCOL)),
        ("HEADERS padded by their length", frame(HEADERS, GET | PADDED, 1, &[2, 0]), Goaway(PROTOCOL)),
        ("HEADERS without room for the padding length", frame(HEADERS, GET | PADDED, 1, &[]), Goaway(SIZE)),
        ("HEADERS too short for priority", frame(HEADERS, GET | 0x20, 1, &[0; 4]), Goaway(SIZE)),
        ("PRIORITY on stream 0", frame(PRIORITY, 0, 0, &[0; 5]), Goaway(PROTOCOL)),
        ("PRIORITY of 4 bytes", frame(PRIORITY, 0, 1, &[0; 4]), Reset(SIZE)),
        ("PRIORITY of 6 bytes", frame(PRIORITY, 0, 1, &[0; 6]), Reset(SIZE)),
        ("PRIORITY on an idle stream", frame(PRIORITY, 0, 99, &[0; 5]), Fine),
        ("RST_STREAM on stream 0", rst_stream(0, 8), Goaway(PROTOCOL)),
        ("RST_STREAM on an idle stream of the client's", rst_stream(9, 8), Goaway(PROTOCOL)),
        ("RST_STREAM on an idle stream of the server's", rst_stream(2, 8), Goaway(PROTOCOL)),
        ("RST_STREAM of 3 bytes", frame(RST_STREAM, 0, 1, &[0; 3]), Goaway(SIZE)),
        ("RST_STREAM of 5 bytes", frame(RST_STREAM, 0, 1, &[0; 5]), Goaway(SIZE)),
        ("SETTINGS on a stream", frame(SETTINGS, 0, 1, &[]), Goaway(PROTOCOL)),
        ("SETTINGS of 5 bytes", frame(SETTINGS, 0, 0, &[0; 5]), Goaway(SIZE)),
        ("SETTINGS ACK with a payload", frame(SETTINGS, ACK, 0, &[0; 6]), Goaway(SIZE)),
        ("ENABLE_PUSH of 2", settings(&[(2, 2)]), Goaway(PROTOCOL)),
        ("INITIAL_WINDOW_SIZE of 2^31", settings(&[(4, 1 << 31)]), Goaway(FLOW)),
        ("INITIAL_WINDOW_SIZE of 2^31-1", settings(&[(4, (1 << 31) - 1)]), Fine),
        ("MAX_FRAME_SIZE of 16,383", settings(&[(5, 16_383)]), Goaway(PROTOCOL)),
        ("MAX_FRAME_SIZE of 2^24", settings(&[(5, 1 << 24)]), Goaway(PROTOCOL)),
        ("MAX_FRAME_SIZE of 2^24-1", settings(&[(5, (1 << 24) - 1)]), Fine),
        ("MAX_CONCURRENT_STREAMS of 0", settings(&[(3, 0)]), Fine),
        ("an unknown setting", settings(&[(0xfafa, u32::MAX)]), Fine),
        (
            "an initial window that overflows an open stream's",
            [window_update(1, 0x7fff_0000), settings(&[(4, 0x7fff_ffff)])].concat(),
            Goaway(FLOW),
        ),
        ("PUSH_PROMISE", frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82]), Goaway(PROTOCOL)),
        ("PUSH_PROMISE on stream 0", frame(PUSH_PROMISE, END_HEADERS, 0, &[0, 0, 0, 2]), Goaway(PROTOCOL)),
        ("PING of 7 bytes", frame(PING, 0, 0, &[0; 7]), Goaway(SIZE)),
        ("PING of 9 bytes", frame(PING, 0, 0, &[0; 9]), Goaway(SIZE)),
        ("PING on a stream", frame(PING, 0, 1, &[0; 8]), Goaway(PROTOCOL)),
        ("PING ACK that nobody waits for", frame(PING, ACK, 0, &[0; 8]), Fine),
        ("GOAWAY on a stream", frame(GOAWAY, 0, 1, &[0; 8]), Goaway(PROTOCOL)),
        ("GOAWAY of 7 bytes", frame(GOAWAY, 0, 0, &[0; 7]), Goaway(SIZE)),
        ("WINDOW_UPDATE of 3 bytes", frame(WINDOW_UPDATE, 0, 1, &[0; 3]), Goaway(SIZE)),
        ("WINDOW_UPDATE of 5 bytes", frame(WINDOW_UPDATE, 0, 1, &[0; 5]), Goaway(SIZE)),
        ("WINDOW_UPDATE of 0 on the connection", window_update(0, 0), Goaway(PROTOCOL)),
        ("WINDOW_UPDATE of 0 on a stream", window_update(1, 0), Reset(PROTOCOL)),
        ("WINDOW_UPDATE of 0 but for the reserved bit", window_update(1, 1 << 31), Reset(PROTOCOL)),
        ("WINDOW_UPDATE past 2^31-1 on the connection", window_update(0, 0x7fff_ffff), Goaway(FLOW)),
        ("WINDOW_UPDATE past 2^31-1 on a stream", window_update(1, 0x7fff_ffff), Reset(FLOW)),
        ("WINDOW_UPDATE on an idle stream of the client's", window_update(9, 1), Goaway(PROTOCOL)),
        ("WINDOW_UPDATE on an idle stream of the server's", window_update(2, 1), Goaway(PROTOCOL)),
        ("CONTINUATION without a block", frame(CONTINUATION, END_HEADERS, 1, &[]), Goaway(PROTOCOL)),
        ("CONTINUATION on stream 0", frame(CONTINUATION, END_HEADERS, 0, &[]), Goaway(PROTOCOL)),
        (
            "CONTINUATION of another stream's block",
            block(&[half(), frame(CONTINUATION, END_HEADERS, 3, &[])]),
            Goaway(PROTOCOL),
        ),
        (
            "CONTINUATION on stream 0 inside a block",
            block(&[half(), frame(CONTINUATION, END_HEADERS, 0, &[])]),
            Goaway(PROTOCOL),
        ),
        ("DATA inside a block", block(&[half(), frame(DATA, 0, 1, &[])]), Goaway(PROTOCOL)),
        ("HEADERS inside a block", block(&[half(), frame(HEADERS, GET, 1, &[])]), Goaway(PROTOCOL)),
        ("PING inside a block", block(&[half(), frame(PING, 0, 0, &[0; 8])]), Goaway(PROTOCOL)),
        ("an unknown frame inside a block", block(&[half(), frame(0xfa, 0, 1, &[])]), Goaway(PROTOCOL)),
        ("a block that does not decode", frame(HEADERS, GET, 1, &[0x80]), Goaway(Reason::COMPRESSION_ERROR)),
        (
            "trailers without END_STREAM",
            frame(HEADERS, END_HEADERS, 1, &fields(&[("x", "y")])),
            Reset(PROTOCOL),
        ),
        (
            "a pseudo field in trailers",
            frame(HEADERS, GET, 1, &fields(&[(":status", "200")])),
            Reset(PROTOCOL),
        ),
        (
            "DATA behind END_STREAM",
            block(&[frame(DATA, END_STREAM, 1, b"x"), frame(DATA, 0, 1, b"x")]),
            Reset(CLOSED),
        ),
        (
            "HEADERS behind END_STREAM",
            block(&[frame(DATA, END_STREAM, 1, b"x"), frame(HEADERS, GET, 1, &fields(&[("x", "y")]))]),
            Reset(CLOSED),
        ),
        (
            "stream management behind END_STREAM",
            block(&[frame(DATA, END_STREAM, 1, b"x"), window_update(1, 9), frame(PRIORITY, 0, 1, &[0; 5])]),
            Fine,
        ),
    ]
}

#[test]
fn both_ends_answer_a_violation_with_its_code() {
    for (claim, bytes, expected) in cases() {
        for role in BOTH {
            for step in [usize::MAX, 1] {
                let mut wire = open(role);
                for piece in bytes.chunks(step) {
                    wire.feed(piece);
                }
                assert_eq!(outcome(&wire), expected, "{claim} ({role:?}, in pieces of {step})");
                let ended = matches!(expected, Goaway(_));
                assert_eq!(wire.core.is_closed(), ended, "{claim} ({role:?})");
                if let Some(goaway) = wire.sent_of(GOAWAY).first() {
                    let debug = String::from_utf8_lossy(&goaway.payload[8..]);
                    assert!(debug.contains(" at byte "), "{claim}: {debug}");
                    assert_eq!(
                        wire.sent_of(GOAWAY).len(),
                        1,
                        "{claim}: one error is reported (RFC 9113 §5.4)"
                    );
                    assert_eq!(wire.sent.last().unwrap().kind, GOAWAY, "{claim}: nothing follows");
                }
            }
        }
    }
}

/// RFC 9113 §4.1 and §6: flags that a type does not define, and the reserved bit of every stream identifier.
#[test]
fn unused_flags_and_reserved_bits_are_ignored() {
    for role in BOTH {
        let mut wire = open(role);
        wire.feed(&frame(PING, 0xfe, 1 << 31, &[7; 8]));
        wire.feed(&frame(SETTINGS, 0xfe, 1 << 31, &[]));
        wire.feed(&frame(WINDOW_UPDATE, 0xff, 1 << 31 | 1, &[0x80, 0, 0, 9]));
        wire.feed(&frame(PRIORITY, 0xff, 1, &[0x80, 0, 0, 5, 0]));
        wire.feed(&frame(DATA, 0xf6, 1 << 31 | 1, b"x"));
        // END_STREAM means nothing on CONTINUATION, nor does PADDED.
        wire.feed(&frame(HEADERS, END_STREAM, 1, &fields(&[("x", "y")])));
        wire.feed(&frame(CONTINUATION, 0xff, 1, &[]));
        assert_eq!(outcome(&wire), Fine, "{role:?}");
        let answers: Vec<(u8, u8)> = wire.sent.iter().map(|frame| (frame.kind, frame.flags)).collect();
        assert_eq!(answers, [(PING, ACK), (SETTINGS, ACK)], "{role:?}");
        assert!(
            matches!(wire.events[..], [Event::Data { end: false, .. }, Event::Trailers { .. }]),
            "{:?}",
            wire.events
        );
        let mut wire = open(role);
        wire.feed(&frame(RST_STREAM, 0xff, 1, &[0, 0, 0, 8]));
        assert!(matches!(wire.events[..], [Event::Reset { remote: true, .. }]));
        wire.feed(&frame(GOAWAY, 0xff, 1 << 31, &[0xff; 8]));
        assert_eq!(outcome(&wire), Fine, "{role:?}");
    }
}

/// RFC 9113 §7.
#[test]
fn unknown_error_codes_trigger_nothing_special() {
    for role in BOTH {
        let mut wire = open(role);
        wire.feed(&rst_stream(1, 0xdead_beef));
        let [Event::Reset { reason, remote: true, .. }] = wire.events[..] else {
            panic!("{:?}", wire.events)
        };
        assert_eq!(reason, Reason(0xdead_beef));
        wire.feed(&frame(GOAWAY, 0, 0, &[0x7f, 0xff, 0xff, 0xff, 0xde, 0xad, 0xbe, 0xef]));
        assert!(matches!(wire.events[1], Event::GoAway { reason: Reason(0xdead_beef), .. }));
        assert!(wire.sent.is_empty() && !wire.core.is_closed());
    }
}

/// RFC 9113 §3.4: the server's preface is its SETTINGS, and nothing may come before.
#[test]
fn the_servers_first_frame_must_be_settings() {
    let first = [head(GET, 1, "200", &[]), frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, ACK, 0, &[])];
    for first in first.iter().chain([&frame(77, 0, 0, &[]), &b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()]) {
        let mut wire = Wire::new(Connection::client(Config::default(), 0));
        wire.turn();
        wire.sent.clear();
        wire.feed(first);
        assert_eq!(outcome(&wire), Goaway(PROTOCOL), "{first:?}");
        let Some(Event::Closed { error: Some(error) }) = wire.events.last() else { panic!("{first:?}") };
        assert_eq!(error.text == "the peer speaks HTTP/1.x", first[0] == b'H');
    }
    let mut wire = Wire::new(Connection::client(Config::default(), 0));
    wire.feed(&settings(&[]));
    assert_eq!(outcome(&wire), Fine);
    assert_eq!(wire.sent.last().map(|frame| (frame.kind, frame.flags)), Some((SETTINGS, ACK)));
}

/// RFC 9113 §6.5.3: in the order in which they stand, at once, and acknowledged before anything else is answered.
#[test]
fn settings_are_applied_in_order_and_acknowledged_at_once() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&[settings(&[(4, 1), (0xfafa, 7), (4, 70)]), frame(PING, 0, 0, &[1; 8]), get(1)].concat());
    let kinds: Vec<(u8, u8)> = wire.sent.iter().map(|frame| (frame.kind, frame.flags)).collect();
    assert_eq!(kinds, [(SETTINGS, ACK), (PING, ACK)]);
    assert!(wire.sent[0].payload.is_empty());
    let stream = wire.stream();
    wire.core.respond(stream, StatusCode::OK, &HeaderMap::new(), false).unwrap();
    wire.core.send_data(stream, Bytes::from(vec![0; 100]), true).unwrap();
    wire.turn();
    assert_eq!(wire.sent_of(DATA)[0].payload.len(), 70, "the second of two values");
}

/// RFC 9113 §4.3.1: a peer that acknowledged a smaller table must follow.
#[test]
fn a_block_that_does_not_follow_a_smaller_table_is_a_compression_error() {
    let config = || Config { header_table_size: 100, ..Config::default() };
    let start = [PREFACE, &settings(&[])].concat();
    let follow = |size: &[u8]| frame(HEADERS, GET, 1, &[size, &request_block("GET", &[])].concat());
    for (block, expected) in [
        (follow(&[]), Goaway(Reason::COMPRESSION_ERROR)),
        (follow(&[0x3f, 0x46]), Goaway(Reason::COMPRESSION_ERROR)),
        (follow(&[0x3f, 0x45]), Fine),
        (follow(&[0x20]), Fine),
    ] {
        let mut wire = Wire::new(Connection::server(config(), 0));
        wire.feed(&start);
        wire.feed(&[frame(SETTINGS, ACK, 0, &[]), block].concat());
        assert_eq!(outcome(&wire), expected);
    }
    // Before the acknowledgement the old limit holds.
    let mut wire = Wire::new(Connection::server(config(), 0));
    wire.feed(&[start, follow(&[])].concat());
    assert_eq!(outcome(&wire), Fine);
}

/// RFC 9113 §6.9.2 speaks of streams that may still send; a closed one only waits for its handler.
#[test]
fn a_closed_stream_has_no_window_that_could_overflow() {
    for role in BOTH {
        let mut wire = open(role);
        wire.feed(&[window_update(1, 0x7fff_0000), rst_stream(1, 8)].concat());
        assert_eq!(wire.core.open_streams(), 1, "its handler has not let go");
        wire.feed(&settings(&[(4, 0x7fff_ffff)]));
        wire.feed(&[window_update(1, 0), window_update(1, 0x7fff_ffff)].concat());
        assert_eq!(outcome(&wire), Fine, "{role:?}");
    }
    // Both sides have ended it, and the peer did not know yet.
    let mut wire = Wire::server(Config::default());
    wire.feed(&get(1));
    let stream = wire.stream();
    wire.core.respond(stream, StatusCode::OK, &HeaderMap::new(), true).unwrap();
    wire.feed(&[window_update(1, 0), window_update(1, 0x7fff_ffff)].concat());
    assert_eq!(outcome(&wire), Fine);
}

/// RFC 9113 §8.5: DATA and what manages the stream, nothing else.
#[test]
fn headers_in_a_tunnel_are_a_stream_error() {
    let trailers = frame(HEADERS, GET, 1, &fields(&[("x", "y")]));
    let mut server = Wire::server(Config::default());
    server.feed(&frame(HEADERS, END_HEADERS, 1, &fields(&[(":method", "CONNECT"), (":authority", "a:1")])));
    let stream = server.stream();
    server.core.respond(stream, StatusCode::OK, &HeaderMap::new(), false).unwrap();
    server.feed(&[frame(DATA, 0, 1, b"x"), window_update(1, 1), frame(PRIORITY, 0, 1, &[0; 5])].concat());
    assert_eq!(outcome(&server), Fine);
    server.feed(&trailers);
    assert_eq!(outcome(&server), Reset(PROTOCOL));

    let mut client = Wire::client(Config::default());
    ask(&mut client, "CONNECT", false);
    client.feed(&[head(END_HEADERS, 1, "200", &[]), frame(DATA, 0, 1, b"x")].concat());
    assert_eq!(outcome(&client), Fine);
    client.feed(&trailers);
    assert_eq!(outcome(&client), Reset(PROTOCOL));

    // A CONNECT that was refused is a request like any other.
    let mut client = Wire::client(Config::default());
    ask(&mut client, "CONNECT", false);
    client.feed(&[head(END_HEADERS, 1, "407", &[("content-length", "1")]), frame(DATA, 0, 1, b"x")].concat());
    client.feed(&trailers);
    assert_eq!(outcome(&client), Fine);
    assert!(matches!(client.events.last(), Some(Event::Trailers { .. })));
}

/// RFC 9113 §8.5: `:authority` names host and port, and nothing that hides them.
#[test]
fn a_connect_without_a_port_or_with_a_user_is_malformed() {
    let connect = |list: &[(&str, &str)]| {
        let mut wire = Wire::server(Config::default());
        wire.feed(&frame(HEADERS, GET, 1, &fields(&[&[(":method", "CONNECT")], list].concat())));
        outcome(&wire)
    };
    for authority in ["a:443", "[::1]:1"] {
        assert_eq!(connect(&[(":authority", authority)]), Fine, "{authority}");
    }
    for authority in ["a", "a:", "a:0", "u@a:1"] {
        assert_eq!(connect(&[(":authority", authority)]), Reset(PROTOCOL), "{authority}");
    }
    assert_eq!(connect(&[("host", "a:443")]), Reset(PROTOCOL), "host does not stand in for :authority");
    assert_eq!(connect(&[(":authority", "a:443"), ("host", "a:443")]), Fine);
}

/// RFC 9113 §8.2.1 wants 400, §8.1.1 a stream error: the client gets both, in this order.
#[test]
fn a_malformed_request_is_answered_400_and_reset() {
    for bad in [("x", " y"), ("X", "y"), ("connection", "close"), (":nonsense", "x")] {
        let mut wire = Wire::server(Config::default());
        wire.feed(&frame(HEADERS, GET, 1, &request_block("GET", &[bad])));
        let [answer, reset] = &wire.sent[..] else { panic!("{:?}", wire.sent) };
        // `:status 400` is entry 12 of the static table.
        assert_eq!((answer.kind, answer.flags, &answer.payload[..]), (HEADERS, END_HEADERS, &[0x8c][..]));
        assert_eq!((reset.kind, reset.word(0)), (RST_STREAM, PROTOCOL.0));
        assert!(wire.events.is_empty());
    }
    // Too late in trailers: the answer may have begun.
    let mut wire = open(Role::Server);
    wire.feed(&frame(HEADERS, GET, 1, &fields(&[("x", "\0")])));
    assert_eq!(wire.sent.len(), 1);
    assert_eq!(outcome(&wire), Reset(PROTOCOL));
}

/// RFC 9113 §8.3.1: the host in any case, the scheme's port or none; and `:authority` is what counts.
#[test]
fn host_and_authority_are_compared_after_normalization() {
    let cases = [
        ("http", "a", "A:80", true),
        ("http", "a:80", "a", true),
        ("http", "a:", "a", true),
        ("https", "a", "a:443", true),
        ("http", "a", "a:443", false),
        ("https", "a:80", "a", false),
        ("http", "a", "b", false),
        ("http", "a:8080", "a:80", false),
    ];
    for (scheme, authority, host, same) in cases {
        let list = [(":method", "GET"), (":scheme", scheme), (":authority", authority), (":path", "/")];
        let mut wire = Wire::server(Config::default());
        wire.feed(&frame(HEADERS, GET, 1, &fields(&[&list[..], &[("host", host)]].concat())));
        assert_eq!(outcome(&wire), if same { Fine } else { Reset(PROTOCOL) }, "{scheme} {authority} {host}");
        if let Some(Event::Request { request, .. }) = wire.events.first() {
            assert_eq!(request.uri().authority().unwrap().as_str(), authority);
        }
    }
}

/// RFC 9113 §8.3: an invalid pseudo-header field. RFC 3986 §3.2: a host, and the digits of a port.
#[test]
fn an_authority_that_is_no_host_and_port_is_malformed() {
    let good = "a a: a:0080 a:65535 a_b.c-d:1 1.2.3.4 [::1] [fe80::1.2.3.4]:9 [v1:x]";
    let bad = "a:xyz a:-1 a:+1 a:65536 a:99999999999 : :80 [] []:80 [x] [1] [::1]x [::1 a:1:2 a/b a?b a#b @a u@a a%41";
    let cases = good.split(' ').map(|it| (it, Fine)).chain(bad.split(' ').map(|it| (it, Reset(PROTOCOL))));
    for (authority, expected) in cases.chain([("", Reset(PROTOCOL)), ("a b", Reset(PROTOCOL))]) {
        let [method, scheme, _, path] = PSEUDO;
        for list in
            [[(":authority", authority), method, scheme, path], [method, scheme, path, ("host", authority)]]
        {
            let mut wire = Wire::server(Config::default());
            wire.feed(&frame(HEADERS, GET, 1, &fields(&list)));
            assert_eq!(outcome(&wire), expected, "{list:?}");
        }
    }
}

/// RFC 3986 §3.1: in any case; what holds for `http` holds for `HTTP`.
#[test]
fn a_scheme_is_read_in_any_case() {
    let [method, _, authority, path] = PSEUDO;
    for (scheme, list, expected) in [
        ("HTTP", &[method, authority, path][..], Fine),
        ("HTTP", &[method, path], Reset(PROTOCOL)),
        ("Https", &[method, path], Reset(PROTOCOL)),
        ("Https", &[method, authority, path, ("host", "a:443")], Fine),
    ] {
        let mut wire = Wire::server(Config::default());
        wire.feed(&frame(HEADERS, GET, 1, &fields(&[&[(":scheme", scheme)], list].concat())));
        assert_eq!(outcome(&wire), expected, "{scheme} {list:?}");
        if let Some(Event::Request { request, .. }) = wire.events.first() {
            assert_eq!(request.uri().scheme_str(), Some(&*scheme.to_ascii_lowercase()));
        }
    }
}

/// The literals of a block, entered into the dynamic table.
fn indexed(list: &[(&str, &str)]) -> Vec<u8> {
    list.iter().flat_map(|field| [&[0x40][..], &fields(&[*field])[1..]].concat()).collect()
}

/// RFC 9113 §4.3, §5.1, §6.8, §10.5.1: whatever becomes of the message, the compression state goes on.
#[test]
fn blocks_that_nobody_wants_still_feed_the_table() {
    let note = indexed(&[("x-note", "kept")]);
    // Index 62 is the newest entry of the dynamic table.
    let uses = frame(HEADERS, GET, 101, &[&request_block("GET", &[])[..], &[0xbe]].concat());
    let kept = |wire: &Wire| match wire.events.last() {
        Some(Event::Request { request, .. }) => request.headers()["x-note"] == "kept",
        _ => false,
    };
    let unwanted =
        |more: &[u8]| frame(HEADERS, GET, 3, &[&request_block("GET", &[])[..], more, &note].concat());
    // Refused; malformed; too large; on a stream that we have reset.
    let mut refused = Wire::server(Config { max_concurrent_streams: 1, ..Config::default() });
    refused.feed(&[get(1), unwanted(&[])].concat());
    assert_eq!(refused.resets(), [(3, Reason::REFUSED_STREAM.0)]);
    let first = refused.stream();
    refused.core.reset(first, Reason::CANCEL);
    refused.core.finish(first);
    let mut malformed = Wire::server(Config::default());
    malformed.feed(&unwanted(&fields(&[("X", "y")])));
    let mut large = Wire::server(Config::default());
    large.feed(&unwanted(&fields(&vec![("x-many", "1"); 101])));
    let mut reset = Wire::server(Config::default());
    reset.feed(&post(3, &[]));
    let stream = reset.stream();
    reset.core.reset(stream, Reason::CANCEL);
    reset.feed(&frame(HEADERS, GET, 3, &note));
    for (wire, what) in [(&mut refused, "refused"), (&mut malformed, "malformed"), (&mut large, "too large")]
    {
        wire.feed(&uses);
        assert!(kept(wire), "{what}: {:?}", wire.events);
    }
    reset.feed(&uses);
    assert!(kept(&reset), "reset: {:?}", reset.events);
    // The client's end: a response to a request that was given up.
    let mut client = Wire::client(Config::default());
    let gone = ask(&mut client, "GET", true);
    client.core.reset(gone, Reason::CANCEL);
    client.core.finish(gone);
    ask(&mut client, "GET", true);
    client.feed(&frame(HEADERS, GET, 1, &[&[0x88][..], &note].concat()));
    client.feed(&frame(HEADERS, GET, 3, &[0x88, 0xbe]));
    let [Event::Response { response, .. }] = &client.events[..] else { panic!("{:?}", client.events) };
    assert_eq!(response.headers()["x-note"], "kept");
}

/// RFC 9113 §6.8 and §6.9: it is thrown away, and counted, and the peer gets its window back.
#[test]
fn content_of_ignored_streams_counts_toward_the_connection_window() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&post(1, &[]));
    wire.core.shutdown();
    wire.turn();
    let ping = wire.sent_of(PING)[0].payload.clone();
    wire.feed(&frame(PING, ACK, 0, &ping));
    wire.feed(&post(3, &[]));
    wire.sent.clear();
    for _ in 0..128 {
        wire.feed(&frame(DATA, 0, 3, &[0; 16_384]));
    }
    assert_eq!(outcome(&wire), Fine);
    let returned: u32 = wire.sent_of(WINDOW_UPDATE).iter().map(|frame| frame.word(0)).sum();
    assert!(wire.sent.iter().all(|frame| frame.kind == WINDOW_UPDATE && frame.stream == 0));
    assert!(returned > 1 << 20, "{returned}");
    // A frame in error counts as well: a connection that gave nothing back would stall here.
    let mut wire = Wire::server(Config { reset_burst: 1_000, ..Config::default() });
    for n in 0..200 {
        wire.feed(&[get(2 * n + 1), frame(DATA, 0, 2 * n + 1, &[0; 16_384])].concat());
        let stream = wire.stream();
        wire.core.finish(stream);
    }
    assert_eq!(wire.goaway(), None);
    assert_eq!(wire.resets().len(), 200);
    assert!(wire.resets().iter().all(|(_, code)| *code == CLOSED.0));
}

/// RFC 9113 §5.4 and §5.4.2: one report a stream, and none in answer to RST_STREAM.
#[test]
fn a_stream_is_reset_once_and_a_reset_is_never_answered() {
    for role in BOTH {
        let mut wire = open(role);
        wire.feed(&window_update(1, 0).repeat(3));
        wire.feed(&[frame(DATA, 0, 1, b"x"), frame(HEADERS, GET, 1, &fields(&[("X", "y")]))].concat());
        wire.feed(&[rst_stream(1, 1), rst_stream(1, 1)].concat());
        assert_eq!(wire.resets(), [(1, PROTOCOL.0)], "{role:?}");
        let mut wire = open(role);
        wire.feed(&rst_stream(1, 8).repeat(3));
        let stream = match wire.events[..] {
            [Event::Reset { stream, .. }] => stream,
            _ => panic!("{:?}", wire.events),
        };
        // RFC 9113 §6.4: nothing more goes out on it, whatever the application wants.
        wire.core.reset(stream, Reason::CANCEL);
        assert_eq!(
            wire.core.send_data(stream, Bytes::from_static(b"x"), true),
            Err(CommandError::StreamGone)
        );
        wire.core.release(stream, 1);
        wire.core.finish(stream);
        wire.turn();
        assert!(wire.sent.is_empty(), "{role:?}: {:?}", wire.sent);
    }
}

/// RFC 9113 §4.3 and §6.10: cut anywhere, into as many frames as are allowed, it is one block.
#[test]
fn a_head_in_continuation_frames_is_one_head() {
    let request = request_block("GET", &[("x-long", &"v".repeat(100))]);
    let response = [&[0x88][..], &fields(&[("x-long", &"v".repeat(100))])].concat();
    for (role, block) in [(Role::Server, &request), (Role::Client, &response)] {
        for pieces in 2..=9 {
            let mut wire = wire(role);
            if role == Role::Client {
                ask(&mut wire, "GET", true);
            }
            let parts: Vec<&[u8]> = block.chunks(block.len().div_ceil(pieces)).collect();
            for (number, part) in parts.iter().enumerate() {
                let end = if number + 1 == parts.len() { END_HEADERS } else { 0 };
                let (kind, first) = if number == 0 { (HEADERS, END_STREAM) } else { (CONTINUATION, 0) };
                wire.feed(&frame(kind, first | end, 1, part));
            }
            let headers = match &wire.events[..] {
                [Event::Request { request, end: true, .. }] => request.headers(),
                [Event::Response { response, end: true, .. }] => response.headers(),
                other => panic!("{role:?}, {pieces} pieces: {other:?}"),
            };
            assert_eq!(headers["x-long"].len(), 100);
        }
    }
}

/// A number below `bound`, from a state that goes on.
fn below(state: &mut u64, bound: usize) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize % bound
}

/// A request's block: whole or not, with literals of every kind and references to whatever the table holds.
fn some_block(state: &mut u64) -> Vec<u8> {
    let mut block = match below(state, 8) {
        0 => vec![0x82, 0x86],
        1 => vec![0x3f, 0xe1, 0x1f, 0x83, 0x86, 0x84],
        _ => vec![0x83, 0x86, 0x84],
    };
    block.extend([&[[0x41, 0x01][below(state, 2)], 0x01][..], b"a"].concat());
    for _ in 0..below(state, 4) {
        if below(state, 3) == 0 {
            block.push(0xbe + below(state, 6) as u8);
            continue;
        }
        let names = ["x", "cookie", "content-length", "priority", "te", "host", "x-sum"];
        let values = ["0", "7", "u=1", "a", "trailers", "7, 8"];
        let field = [(names[below(state, names.len())], values[below(state, values.len())])];
        block.push([0x00, 0x10, 0x40][below(state, 3)]);
        block.extend_from_slice(&fields(&field)[1..]);
    }
    block
}

/// Heads that come again are not decoded again. They must mean what decoding would have made of them: the other server
/// is made to forget what it has seen before each request.
#[test]
fn a_head_that_comes_again_means_the_same() {
    let config = || Config { reset_burst: u32::MAX, ..Config::default() };
    let mut state = 0x9113;
    let mut servers = [Wire::server(config()), Wire::server(config())];
    let (mut blocks, mut accepted) = (Vec::new(), 0);
    for n in 0..4_000 {
        let block: Vec<u8> = match below(&mut state, 4) {
            0 => some_block(&mut state),
            1 if !blocks.is_empty() => Vec::clone(&blocks[below(&mut state, blocks.len())]),
            _ => blocks.last().cloned().unwrap_or_else(|| some_block(&mut state)),
        };
        let end = if below(&mut state, 2) == 0 { GET } else { END_HEADERS };
        let outcomes = servers.each_mut().map(|wire| {
            wire.feed(&frame(HEADERS, end, 2 * n + 1, &block));
            let heads: Vec<String> = wire
                .events
                .iter()
                .map(|event| match event {
                    Event::Request { request, end, .. } => format!("{request:?} {end}"),
                    other => format!("{other:?}"),
                })
                .collect();
            let result = (heads, wire.resets(), wire.goaway());
            if let Some(Event::Request { stream, .. }) = wire.events.pop() {
                wire.core.respond(stream, StatusCode::OK, &HeaderMap::new(), true).unwrap();
                wire.core.reset(stream, Reason::CANCEL);
                wire.core.finish(stream);
                wire.turn();
            }
            wire.events.clear();
            wire.sent.clear();
            result
        });
        servers[1].core.trim();
        assert_eq!(outcomes[0], outcomes[1], "request {n}: {block:?}");
        accepted += usize::from(!outcomes[0].0.is_empty());
        blocks.push(block);
        if servers[0].core.is_closed() {
            servers = [Wire::server(config()), Wire::server(config())];
            blocks.clear();
        }
    }
    assert!(accepted > 500, "{accepted}");
}

#[test]
fn finished_streams_are_given_back() {
    let mut wire = Wire::server(Config::default());
    for n in 0..10_000 {
        wire.feed(&get(2 * n + 1));
        let stream = wire.stream();
        assert_eq!(stream.index(), 0, "the slot of the one before");
        wire.core.respond(stream, StatusCode::OK, &HeaderMap::new(), true).unwrap();
        wire.core.finish(stream);
        assert_eq!(wire.core.open_streams(), 0);
        wire.events.clear();
        wire.sent.clear();
    }
}

/// RFC 9113 §6.5.2: no streams at all, for now.
#[test]
fn a_limit_of_no_streams_is_nothing_special() {
    let mut wire = Wire::client(Config::default());
    wire.feed(&settings(&[(3, 0)]));
    let request = Request::get("http://a/").body(()).unwrap();
    assert_eq!(wire.core.request(&request, true), Err(CommandError::TooManyStreams));
    wire.feed(&settings(&[(3, 1)]));
    assert!(wire.core.request(&request, true).is_ok());
}

/// RFC 9113 §6.5.2: before SETTINGS a client keeps to what every server should allow; then to what this one says.
#[test]
fn a_server_that_names_no_limit_of_streams_has_none() {
    let mut wire = Wire::new(Connection::client(Config::default(), 0));
    let request = Request::get("http://a/").body(()).unwrap();
    let sent = (0..200).take_while(|_| wire.core.request(&request, true).is_ok()).count();
    assert_eq!(sent, 100);
    wire.feed(&settings(&[]));
    assert!((0..1_000).all(|_| wire.core.request(&request, true).is_ok()));
    wire.feed(&settings(&[(3, 1_100)]));
    assert_eq!(wire.core.request(&request, true), Err(CommandError::TooManyStreams));
    wire.feed(&settings(&[]));
    assert_eq!(wire.core.request(&request, true), Err(CommandError::TooManyStreams), "what was said holds");
}

/// A literal whose octets are taken as they are.
fn raw(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut block = vec![0];
    for text in [name, value] {
        block.push(text.len() as u8);
        block.extend_from_slice(text);
    }
    block
}

/// RFC 9113 §8.2.1, octet by octet, in requests, responses and trailers.
#[test]
fn every_forbidden_octet_makes_a_message_malformed() {
    let check = |field: &[u8], fine: bool, what: &str| {
        let expected = if fine { Fine } else { Reset(PROTOCOL) };
        let mut server = Wire::server(Config::default());
        server.feed(&frame(HEADERS, GET, 1, &[&fields(&PSEUDO)[..], field].concat()));
        assert_eq!(outcome(&server), expected, "request, {what}");
        let mut client = Wire::client(Config::default());
        ask(&mut client, "GET", true);
        client.feed(&frame(HEADERS, GET, 1, &[&[0x88][..], field].concat()));
        assert_eq!(outcome(&client), expected, "response, {what}");
        for role in BOTH {
            let mut wire = open(role);
            wire.feed(&frame(HEADERS, GET, 1, field));
            assert_eq!(outcome(&wire), expected, "trailers, {role:?}, {what}");
        }
    };
    for octet in 0..=255u8 {
        let banned = matches!(octet, 0..=0x20 | 0x41..=0x5a | 0x7f..=0xff | b':');
        // RFC 9110 §5.6.2 rules these out too.
        let delimiter = b"\"(),/;<=>?@[\\]{}".contains(&octet);
        for name in [&[b'x', octet, b'x'][..], &[b'x', octet], &[octet, b'x']] {
            check(&raw(name, b"v"), !banned && !delimiter, &format!("name {name:?}"));
        }
        // RFC 9110 §5.5: NUL, CR and LF, and the other controls but HTAB.
        let control = matches!(octet, 0..=8 | 10..=31 | 127);
        check(&raw(b"x", &[b'v', octet, b'v']), !control, &format!("value with {octet}"));
        let edge = control || octet == b' ' || octet == b'\t';
        check(&raw(b"x", &[octet, b'v']), !edge, &format!("value that begins with {octet}"));
        check(&raw(b"x", &[b'v', octet]), !edge, &format!("value that ends with {octet}"));
    }
    check(&raw(b"x", b""), true, "an empty value");
    check(&raw(b"", b"v"), false, "an empty name");
    check(&raw(b"::method", b"GET"), false, "two colons");
}
