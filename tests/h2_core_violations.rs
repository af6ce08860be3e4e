//! Every violation has the code that the RFC gives it, and costs no more than it must.
//!
//! One table: the claim, its section in RFC 9113, what a client sends to a fresh server, and the outcome.
//! Each case runs three times: in one piece, byte by byte, and with the server's own check that a dead
//! connection stays dead.

#[path = "support/h2_wire.rs"]
mod h2_wire;

use h2_wire::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITY,
    PSEUDO, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, WITH_PRIORITY, Wire, fields, frame, get, post,
    request_block, rst_stream, settings, window_update,
};
use wakering::internals::h2::{Config, Connection, Event, Reason};

/// What a case ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// GOAWAY with this code.
    Connection(Reason),
    /// RST_STREAM with this code on this stream; the connection lives.
    Stream(u32, Reason),
    /// Nothing at all.
    Ignored,
}

use Outcome::{Connection as Goaway, Ignored, Stream};

struct Case {
    claim: &'static str,
    section: &'static str,
    sends: Vec<Vec<u8>>,
    ends_in: Outcome,
}

fn case(claim: &'static str, section: &'static str, sends: &[Vec<u8>], ends_in: Outcome) -> Case {
    Case { claim, section, sends: sends.to_vec(), ends_in }
}

const PROTOCOL: Reason = Reason::PROTOCOL_ERROR;
const SIZE: Reason = Reason::FRAME_SIZE_ERROR;
const FLOW: Reason = Reason::FLOW_CONTROL_ERROR;
const CLOSED: Reason = Reason::STREAM_CLOSED;
const CALM: Reason = Reason::ENHANCE_YOUR_CALM;
const COMPRESSION: Reason = Reason::COMPRESSION_ERROR;

#[expect(clippy::too_many_lines, reason = "a table, one row a case")]
fn frames_and_sizes() -> Vec<Case> {
    let long = vec![0; 16_385];
    vec![
        case("a frame above MAX_FRAME_SIZE", "4.2", &[frame(PING, 0, 0, &long)], Goaway(SIZE)),
        case("an unknown frame above MAX_FRAME_SIZE", "4.2", &[frame(77, 0, 0, &long)], Goaway(SIZE)),
        case(
            "unknown frames are ignored",
            "5.5",
            &[frame(77, 0xff, 0, b"x"), frame(200, 0, 9, b"")],
            Ignored,
        ),
        case("DATA on stream 0", "6.1", &[frame(DATA, 0, 0, b"x")], Goaway(PROTOCOL)),
        case(
            "DATA padded past its end",
            "6.1",
            &[post(1, &[]), frame(DATA, PADDED, 1, &[1])],
            Goaway(PROTOCOL),
        ),
        case(
            "DATA padded without a length",
            "6.1",
            &[post(1, &[]), frame(DATA, PADDED, 1, &[])],
            Goaway(SIZE),
        ),
        case(
            "HEADERS on stream 0",
            "6.2",
            &[frame(HEADERS, GET, 0, &request_block("GET", &[]))],
            Goaway(PROTOCOL),
        ),
        case(
            "HEADERS padded past their end",
            "6.2",
            &[frame(HEADERS, GET | PADDED, 1, &[9, 0x82])],
            Goaway(PROTOCOL),
        ),
        case(
            "HEADERS too short for priority",
            "6.2",
            &[frame(HEADERS, GET | WITH_PRIORITY, 1, &[0; 4])],
            Goaway(SIZE),
        ),
        case("PRIORITY on stream 0", "6.3", &[frame(PRIORITY, 0, 0, &[0; 5])], Goaway(PROTOCOL)),
        case("PRIORITY of 4 bytes", "6.3", &[post(1, &[]), frame(PRIORITY, 0, 1, &[0; 4])], Stream(1, SIZE)),
        case("PRIORITY of 4 bytes on an idle stream", "6.3", &[frame(PRIORITY, 0, 1, &[0; 4])], Goaway(SIZE)),
        case("PRIORITY on an idle stream is fine", "5.1", &[frame(PRIORITY, 0, 7, &[0; 5])], Ignored),
        case(
            "PRIORITY on a closed stream is fine",
            "5.1",
            &[post(1, &[]), rst_stream(1, 8), frame(PRIORITY, 0, 1, &[0; 5])],
            Ignored,
        ),
        case(
            "a stream that depends on itself by PRIORITY",
            "5.3.1 of RFC 7540",
            &[post(1, &[]), frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0])],
            Stream(1, PROTOCOL),
        ),
        case(
            "a stream that depends on itself by HEADERS",
            "5.3.1 of RFC 7540",
            &[frame(
                HEADERS,
                GET | WITH_PRIORITY,
                1,
                &[&[0, 0, 0, 1, 0], &request_block("GET", &[])[..]].concat(),
            )],
            Stream(1, PROTOCOL),
        ),
        case("RST_STREAM on stream 0", "6.4", &[rst_stream(0, 8)], Goaway(PROTOCOL)),
        case("RST_STREAM on an idle stream", "6.4", &[rst_stream(1, 8)], Goaway(PROTOCOL)),
        case("RST_STREAM of 5 bytes", "6.4", &[post(1, &[]), frame(RST_STREAM, 0, 1, &[0; 5])], Goaway(SIZE)),
        case(
            "PUSH_PROMISE from a client",
            "8.4",
            &[post(1, &[]), frame(PUSH_PROMISE, END_HEADERS, 1, &[0; 8])],
            Goaway(PROTOCOL),
        ),
        case("PING of 7 bytes", "6.7", &[frame(PING, 0, 0, &[0; 7])], Goaway(SIZE)),
        case("PING on a stream", "6.7", &[frame(PING, 0, 1, &[0; 8])], Goaway(PROTOCOL)),
        case("an unsolicited PING ACK is ignored", "6.7", &[frame(PING, ACK, 0, &[0; 8])], Ignored),
        case("GOAWAY on a stream", "6.8", &[frame(GOAWAY, 0, 1, &[0; 8])], Goaway(PROTOCOL)),
        case("GOAWAY of 7 bytes", "6.8", &[frame(GOAWAY, 0, 0, &[0; 7])], Goaway(SIZE)),
        case("WINDOW_UPDATE of 3 bytes", "6.9", &[frame(WINDOW_UPDATE, 0, 0, &[0; 3])], Goaway(SIZE)),
        case("WINDOW_UPDATE of 0 on the connection", "6.9", &[window_update(0, 0)], Goaway(PROTOCOL)),
        case(
            "WINDOW_UPDATE of 0 on a stream",
            "6.9",
            &[post(1, &[]), window_update(1, 0)],
            Stream(1, PROTOCOL),
        ),
        case("WINDOW_UPDATE on an idle stream", "5.1", &[window_update(1, 1)], Goaway(PROTOCOL)),
        case(
            "WINDOW_UPDATE past 2^31-1 on the connection",
            "6.9.1",
            &[window_update(0, 0x7fff_ffff)],
            Goaway(FLOW),
        ),
        case(
            "WINDOW_UPDATE past 2^31-1 on a stream",
            "6.9.1",
            &[post(1, &[]), window_update(1, 0x7fff_ffff)],
            Stream(1, FLOW),
        ),
        case("WINDOW_UPDATE up to 2^31-1 is fine", "6.9.1", &[window_update(0, 0x7fff_0000)], Ignored),
        case(
            "CONTINUATION without HEADERS",
            "6.10",
            &[frame(CONTINUATION, END_HEADERS, 1, &[])],
            Goaway(PROTOCOL),
        ),
        case(
            "CONTINUATION on another stream",
            "6.10",
            &[frame(HEADERS, END_STREAM, 1, &[]), frame(CONTINUATION, END_HEADERS, 3, &[])],
            Goaway(PROTOCOL),
        ),
        case(
            "DATA inside a header block",
            "6.10",
            &[frame(HEADERS, 0, 1, &[]), frame(DATA, 0, 1, b"x")],
            Goaway(PROTOCOL),
        ),
        case(
            "an unknown frame inside a header block",
            "5.5",
            &[frame(HEADERS, 0, 1, &[]), frame(77, 0, 1, b"x")],
            Goaway(PROTOCOL),
        ),
        case(
            "CONTINUATION after END_HEADERS",
            "6.10",
            &[get(1), frame(CONTINUATION, END_HEADERS, 1, &[])],
            Goaway(PROTOCOL),
        ),
    ]
}

fn settings_cases() -> Vec<Case> {
    let many: Vec<(u16, u32)> = (0..33).map(|n| (0x100 + n, 0)).collect();
    let flood: Vec<Vec<u8>> = vec![settings(&[]).repeat(17)];
    let pings: Vec<Vec<u8>> = vec![frame(PING, 0, 0, &[7; 8]).repeat(17)];
    vec![
        case("SETTINGS on a stream", "6.5", &[frame(SETTINGS, 0, 1, &[])], Goaway(PROTOCOL)),
        case("SETTINGS of 5 bytes", "6.5", &[frame(SETTINGS, 0, 0, &[0; 5])], Goaway(SIZE)),
        case("SETTINGS ACK with a payload", "6.5", &[frame(SETTINGS, ACK, 0, &[0; 6])], Goaway(SIZE)),
        case(
            "SETTINGS ACK that nobody waits for",
            "6.5.3",
            &[frame(SETTINGS, ACK, 0, &[])],
            Goaway(PROTOCOL),
        ),
        case("ENABLE_PUSH of 2", "6.5.2", &[settings(&[(2, 2)])], Goaway(PROTOCOL)),
        case("INITIAL_WINDOW_SIZE of 2^31", "6.5.2", &[settings(&[(4, 1 << 31)])], Goaway(FLOW)),
        case("MAX_FRAME_SIZE of 0", "6.5.2", &[settings(&[(5, 0)])], Goaway(PROTOCOL)),
        case("MAX_FRAME_SIZE of 16,383", "6.5.2", &[settings(&[(5, 16_383)])], Goaway(PROTOCOL)),
        case("MAX_FRAME_SIZE of 2^24", "6.5.2", &[settings(&[(5, 1 << 24)])], Goaway(PROTOCOL)),
        case("NO_RFC7540_PRIORITIES of 2", "2.1 of RFC 9218", &[settings(&[(9, 2)])], Goaway(PROTOCOL)),
        case("33 entries", "10.5", &[settings(&many)], Goaway(CALM)),
        case(
            "an initial window that overflows an open stream's",
            "6.9.2",
            &[post(1, &[]), window_update(1, 0x7fff_0000), settings(&[(4, 0x7fff_ffff)])],
            Goaway(FLOW),
        ),
        case("17 SETTINGS at once", "10.5", &flood, Goaway(CALM)),
        case("17 PINGs at once", "10.5", &pings, Goaway(CALM)),
    ]
}

fn stream_states() -> Vec<Case> {
    let trailers = |flags| frame(HEADERS, flags, 1, &fields(&[("x", "y")]));
    vec![
        case("a client opens an even stream", "5.1.1", &[get(2)], Goaway(PROTOCOL)),
        case("a stream id that does not ascend", "5.1.1", &[get(5), get(3)], Goaway(PROTOCOL)),
        case("DATA on an idle stream", "5.1", &[frame(DATA, 0, 1, b"x")], Goaway(PROTOCOL)),
        case("DATA after END_STREAM", "5.1", &[get(1), frame(DATA, 0, 1, b"x")], Stream(1, CLOSED)),
        case("HEADERS after END_STREAM", "5.1", &[get(1), get(1)], Stream(1, CLOSED)),
        case("WINDOW_UPDATE after END_STREAM is fine", "5.1", &[get(1), window_update(1, 5)], Ignored),
        case(
            "DATA after the client's RST_STREAM",
            "5.1",
            &[post(1, &[]), rst_stream(1, 8), frame(DATA, 0, 1, b"x")],
            Stream(1, CLOSED),
        ),
        case(
            "HEADERS after the client's RST_STREAM",
            "5.1",
            &[post(1, &[]), rst_stream(1, 8), trailers(GET)],
            Stream(1, CLOSED),
        ),
        case(
            "WINDOW_UPDATE after RST_STREAM is ignored",
            "5.1",
            &[post(1, &[]), rst_stream(1, 8), window_update(1, 5)],
            Ignored,
        ),
        case(
            "a second RST_STREAM is ignored",
            "5.1",
            &[post(1, &[]), rst_stream(1, 8), rst_stream(1, 8)],
            Ignored,
        ),
        case(
            "what follows our own RST_STREAM is ignored",
            "5.1",
            &[post(1, &[]), window_update(1, 0), frame(DATA, 0, 1, b"x"), trailers(GET), rst_stream(1, 8)],
            Stream(1, PROTOCOL),
        ),
        case(
            "trailers without END_STREAM",
            "8.1",
            &[post(1, &[]), trailers(END_HEADERS)],
            Stream(1, PROTOCOL),
        ),
        case(
            "DATA past the stream window",
            "6.9.1",
            &[post(1, &[]), frame(DATA, 0, 1, &[0; 16_384]).repeat(4), frame(DATA, 0, 1, b"x")],
            Stream(1, FLOW),
        ),
    ]
}

fn header_blocks() -> Vec<Case> {
    let block = |block: &[u8]| frame(HEADERS, GET, 1, block);
    let pieces: Vec<Vec<u8>> = std::iter::once(frame(HEADERS, END_STREAM, 1, &[]))
        .chain((0..9).map(|n| frame(CONTINUATION, if n == 8 { END_HEADERS } else { 0 }, 1, &[])))
        .collect();
    let huge: Vec<Vec<u8>> = std::iter::once(frame(HEADERS, END_STREAM, 1, &[0; 16_384]))
        .chain((0..2).map(|_| frame(CONTINUATION, 0, 1, &[0; 16_384])))
        .collect();
    vec![
        case("an index past the table", "4.3", &[block(&[0xff, 0x80, 0x01])], Goaway(COMPRESSION)),
        case("index 0", "6.1 of RFC 7541", &[block(&[0x80])], Goaway(COMPRESSION)),
        case("a block that ends inside a field", "4.3", &[block(&[0x00, 0x05, b'a'])], Goaway(COMPRESSION)),
        case(
            "a table size above the limit",
            "4.2 of RFC 7541",
            &[block(&[0x3f, 0xe2, 0x1f])],
            Goaway(COMPRESSION),
        ),
        case(
            "a table size in the middle of a block",
            "4.2 of RFC 7541",
            &[block(&[0x82, 0x20])],
            Goaway(COMPRESSION),
        ),
        case("nine CONTINUATION frames", "10.5", &pieces, Goaway(CALM)),
        case("an encoded block above 32 KiB", "10.5", &huge, Goaway(CALM)),
        case(
            "a broken block on a stream of no interest",
            "4.3",
            &[post(1, &[]), window_update(1, 0), block(&[0x80])],
            Goaway(COMPRESSION),
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table, one row a case")]
fn malformed_requests() -> Vec<Case> {
    let head = |list: &[(&str, &str)]| vec![frame(HEADERS, GET, 1, &fields(list))];
    let with = |list: &[(&str, &str)]| vec![frame(HEADERS, GET, 1, &request_block("GET", list))];
    let [method, scheme, authority, path] = PSEUDO;
    let bad = Stream(1, PROTOCOL);
    vec![
        case("no :method", "8.3.1", &head(&[scheme, authority, path]), bad),
        case("no :scheme", "8.3.1", &head(&[method, authority, path]), bad),
        case("no :path", "8.3.1", &head(&[method, scheme, authority]), bad),
        case("an empty :path", "8.3.1", &head(&[method, scheme, authority, (":path", "")]), bad),
        case("a :path without a slash", "8.3.1", &head(&[method, scheme, authority, (":path", "x")]), bad),
        case("an asterisk for GET", "8.3.1", &head(&[method, scheme, authority, (":path", "*")]), bad),
        case(
            "an asterisk for OPTIONS is fine",
            "8.3.1",
            &head(&[(":method", "OPTIONS"), scheme, authority, (":path", "*")]),
            Ignored,
        ),
        case(":method twice", "8.3.1", &head(&[method, method, scheme, authority, path]), bad),
        case(":scheme twice", "8.3.1", &head(&[method, scheme, scheme, authority, path]), bad),
        case(":authority twice", "8.3.1", &head(&[method, scheme, authority, authority, path]), bad),
        case(":path twice", "8.3.1", &head(&[method, scheme, authority, path, path]), bad),
        case(
            "user information in :authority",
            "8.3.1",
            &head(&[method, scheme, (":authority", "u@a"), path]),
            bad,
        ),
        case("no :authority and no host", "8.3.1", &head(&[method, scheme, path]), bad),
        case("host that contradicts :authority", "8.3.1", &with(&[("host", "b")]), bad),
        case("host that repeats :authority is fine", "8.3.1", &with(&[("host", "A")]), Ignored),
        case("two hosts", "8.3.1", &with(&[("host", "a"), ("host", "a")]), bad),
        case(
            "a pseudo field after an ordinary one",
            "8.3",
            &head(&[method, scheme, authority, ("x", "y"), path]),
            bad,
        ),
        case("an unknown pseudo field", "8.3", &with(&[(":x", "y")]), bad),
        case(
            "a response's pseudo field",
            "8.3",
            &head(&[method, scheme, authority, path, (":status", "200")]),
            bad,
        ),
        case(
            ":protocol, which was not enabled",
            "4 of RFC 8441",
            &head(&[(":method", "CONNECT"), scheme, authority, path, (":protocol", "websocket")]),
            bad,
        ),
        case(
            "a pseudo field in trailers",
            "8.1",
            &[post(1, &[]), frame(HEADERS, GET, 1, &fields(&[(":path", "/")]))],
            bad,
        ),
        case("upper case in a name", "8.2.1", &with(&[("X", "y")]), bad),
        case("an empty name", "8.2.1", &with(&[("", "y")]), bad),
        case("a blank in a name", "8.2.1", &with(&[("a b", "y")]), bad),
        case("CR in a value", "8.2.1", &with(&[("x", "a\rb")]), bad),
        case("LF in a value", "8.2.1", &with(&[("x", "a\nb")]), bad),
        case("NUL in a value", "8.2.1", &with(&[("x", "a\0b")]), bad),
        case("a leading blank in a value", "8.2.1", &with(&[("x", " a")]), bad),
        case("a trailing tab in a value", "8.2.1", &with(&[("x", "a\t")]), bad),
        case("connection", "8.2.2", &with(&[("connection", "close")]), bad),
        case("keep-alive", "8.2.2", &with(&[("keep-alive", "1")]), bad),
        case("proxy-connection", "8.2.2", &with(&[("proxy-connection", "x")]), bad),
        case("transfer-encoding", "8.2.2", &with(&[("transfer-encoding", "chunked")]), bad),
        case("upgrade", "8.2.2", &with(&[("upgrade", "h2c")]), bad),
        case("te: gzip", "8.2.2", &with(&[("te", "gzip")]), bad),
        case("te: trailers is fine", "8.2.2", &with(&[("te", "trailers")]), Ignored),
        case("CONNECT with :path", "8.5", &head(&[(":method", "CONNECT"), authority, path]), bad),
        case("CONNECT with :scheme", "8.5", &head(&[(":method", "CONNECT"), scheme, authority]), bad),
        case("CONNECT without :authority", "8.5", &head(&[(":method", "CONNECT")]), bad),
        case("CONNECT is fine", "8.5", &head(&[(":method", "CONNECT"), (":authority", "a:443")]), Ignored),
        case("content-length without content", "8.1.1", &with(&[("content-length", "1")]), bad),
        case("content-length that is no number", "8.1.1", &with(&[("content-length", "+1")]), bad),
        case("two content-lengths", "8.1.1", &with(&[("content-length", "0"), ("content-length", "1")]), bad),
        case(
            "more content than content-length",
            "8.1.1",
            &[post(1, &[("content-length", "1")]), frame(DATA, 0, 1, b"xy")],
            bad,
        ),
        case(
            "less content than content-length",
            "8.1.1",
            &[post(1, &[("content-length", "3")]), frame(DATA, END_STREAM, 1, b"xy")],
            bad,
        ),
        case(
            "trailers before content-length is reached",
            "8.1.1",
            &[post(1, &[("content-length", "3")]), frame(HEADERS, GET, 1, &fields(&[("x", "y")]))],
            bad,
        ),
        case(
            "the exact content-length is fine",
            "8.1.1",
            &[post(1, &[("content-length", "2")]), frame(DATA, END_STREAM, 1, b"xy")],
            Ignored,
        ),
    ]
}

fn check(case: &Case, step: usize) {
    let Case { claim, section, ends_in, .. } = case;
    let mut wire = Wire::server(Config::default());
    for part in &case.sends {
        for piece in part.chunks(step.max(1)) {
            wire.core.receive(bytes::Bytes::copy_from_slice(piece));
            while let Some(event) = wire.core.poll_event(0) {
                wire.events.push(event);
            }
        }
    }
    wire.flush();
    let seen = match (wire.goaway(), &wire.resets()[..]) {
        (Some(code), _) => Goaway(Reason(code)),
        (None, [(id, code)]) => Stream(*id, Reason(*code)),
        (None, []) => Ignored,
        (None, more) => panic!("{claim}: several resets: {more:?}"),
    };
    assert_eq!(seen, *ends_in, "{claim} (RFC 9113 §{section}), in pieces of {step}");
    let closed = wire.events.iter().filter(|event| matches!(event, Event::Closed { .. })).count();
    match ends_in {
        Goaway(code) => {
            assert_eq!(closed, 1, "{claim}");
            assert!(wire.core.is_closed(), "{claim}");
            let debug = &wire.sent_of(GOAWAY)[0].payload[8..];
            assert!(String::from_utf8_lossy(debug).starts_with(code.name()), "{claim}: {debug:?}");
            stays_dead(&mut wire, claim);
        }
        Stream(..) | Ignored => {
            assert_eq!(closed, 0, "{claim}");
            still_serves(&mut wire, claim);
        }
    }
}

/// Whatever comes after the end changes nothing.
fn stays_dead(wire: &mut Wire, claim: &str) {
    wire.sent.clear();
    wire.events.clear();
    wire.feed(&[get(1), get(7), settings(&[]), frame(PING, 0, 0, &[0; 8])].concat());
    assert!(wire.events.is_empty() && wire.sent.is_empty(), "{claim}: not dead");
    assert_eq!(wire.core.next_deadline(0), None, "{claim}");
}

/// The connection and its compression state are in order.
fn still_serves(wire: &mut Wire, claim: &str) {
    wire.events.clear();
    // :method GET, :scheme http and :path / by index, :authority as a literal.
    wire.feed(&frame(HEADERS, GET, 101, &[0x82, 0x86, 0x84, 0x01, 0x01, b'a']));
    assert!(matches!(wire.events[..], [Event::Request { .. }]), "{claim}: {:?}", wire.events);
}

fn check_all(cases: &[Case]) {
    for case in cases {
        check(case, usize::MAX);
        check(case, 1);
        check(case, 7);
    }
}

#[test]
fn frames_of_the_wrong_size_or_place_have_their_codes() {
    check_all(&frames_and_sizes());
}

#[test]
fn settings_are_validated_and_floods_end() {
    check_all(&settings_cases());
}

#[test]
fn frames_in_the_wrong_state_have_their_codes() {
    check_all(&stream_states());
}

#[test]
fn broken_header_blocks_have_their_codes() {
    check_all(&header_blocks());
}

#[test]
fn malformed_requests_cost_their_stream_only() {
    check_all(&malformed_requests());
}

/// RFC 9113 §5.1: after both sides ended the stream, the peer cannot claim not to have known.
#[test]
fn data_or_headers_on_a_stream_that_both_sides_ended_is_a_connection_error() {
    for late in [frame(DATA, 0, 1, b"x"), get(1)] {
        for finish in [true, false] {
            let mut wire = Wire::server(Config::default());
            wire.feed(&get(1));
            let stream = wire.stream();
            wire.core.respond(stream, http::StatusCode::OK, &http::HeaderMap::new(), true).unwrap();
            if finish {
                wire.core.finish(stream);
            }
            wire.feed(&late);
            assert_eq!(wire.goaway(), Some(CLOSED.0));
        }
    }
}

/// RFC 9113 §3.4: the first frame is SETTINGS.
#[test]
fn anything_but_settings_first_is_a_protocol_error() {
    for first in [get(1), frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, ACK, 0, &[]), frame(77, 0, 0, &[])] {
        let mut wire = Wire::new(Connection::server(Config::default(), 0));
        wire.feed(&[PREFACE, &first[..]].concat());
        assert_eq!(wire.goaway(), Some(PROTOCOL.0));
    }
}

/// RFC 9113 §3.4: a peer that does not speak HTTP/2 is told apart from one that speaks HTTP/1.x.
#[test]
fn the_preface_is_recognised_however_it_is_split() {
    let expect = |bytes: &[u8], http1: bool| {
        for step in 1..=bytes.len() {
            let mut wire = Wire::new(Connection::server(Config::default(), 0));
            for piece in bytes.chunks(step) {
                wire.feed(piece);
            }
            assert_eq!(wire.events.len(), 1, "{:?} in steps of {step}: {:?}", bytes, wire.events);
            assert_eq!(matches!(wire.events[0], Event::Http1), http1, "{bytes:?}");
            assert!(wire.sent.is_empty() && wire.core.is_closed());
        }
    };
    expect(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", true);
    expect(b"POST /x HTTP/1.1\r\n", true);
    expect(b"PRI * HTTP/1.1\r\n", false);
    expect(b"OPTIONS * HTTP/1.1\r\n", true);
    expect(b"M-SEARCH * HTTP/1.1\r\n", true);
    expect(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaaaaaaaaaaaaaa", false);
    expect(b"get / HTTP/1.1\r\n", false);
    expect(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r", false);
    expect(b"AVERYLONGWORDTHATNEVERENDSATALL", false);
    for step in 1..PREFACE.len() {
        let mut wire = Wire::new(Connection::server(Config::default(), 0));
        for piece in [PREFACE, &settings(&[])].concat().chunks(step) {
            wire.feed(piece);
        }
        assert!(wire.events.is_empty());
        assert_eq!(wire.sent_of(SETTINGS).len(), 2);
    }
}
