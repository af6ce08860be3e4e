//! What other RFCs add to HTTP/2: tunnels (RFC 9113 §8.5), extended CONNECT (RFC 8441), ALTSVC (RFC 7838 §4), ORIGIN
//! (RFC 8336).

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "support/h2_wire.rs"]
mod h2_wire;

use bytes::Bytes;
use h2_wire::{
    DATA, END_HEADERS, END_STREAM, GET, HEADERS, SETTINGS, Wire, fields, frame, get, rst_stream, settings,
};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use wakering::internals::h2::{CommandError, Config, Event, Protocol, Reason, StreamKey};

const OK: StatusCode = StatusCode::OK;
const ENABLE_CONNECT_PROTOCOL: u16 = 8;

/// The fields of an extended CONNECT.
const EXTENDED: [(&str, &str); 5] = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":authority", "a"),
    (":path", "/chat"),
];

fn tunnels() -> Config {
    Config { connect_protocol: true, ..Config::default() }
}

fn open(id: u32, list: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, id, &fields(list))
}

/// The code that a request with these fields is reset with, if it is.
fn verdict(config: Config, list: &[(&str, &str)]) -> Option<u32> {
    let mut wire = Wire::server(config);
    wire.feed(&open(1, list));
    assert_eq!(wire.goaway(), None);
    wire.resets().first().map(|&(_, code)| code)
}

/// The fields of an extended CONNECT, with one of them replaced, or left out.
fn with(name: &str, value: Option<&'static str>) -> Vec<(&'static str, &'static str)> {
    let fields = EXTENDED.into_iter();
    fields.filter_map(|(n, v)| if n == name { Some((n, value?)) } else { Some((n, v)) }).collect()
}

#[test]
fn a_server_that_takes_extended_connect_says_so_and_others_do_not() {
    for (config, said) in [(tunnels(), true), (Config::default(), false)] {
        let mut wire = Wire::new(wakering::internals::h2::Connection::server(config.clone(), 0));
        wire.feed(h2_wire::PREFACE);
        let entries = wire.sent_of(SETTINGS)[0].payload.clone();
        let entries: Vec<(u16, u8)> =
            entries.chunks(6).map(|entry| (u16::from_be_bytes([entry[0], entry[1]]), entry[5])).collect();
        assert_eq!(entries.contains(&(ENABLE_CONNECT_PROTOCOL, 1)), said);
        let mut wire = Wire::new(wakering::internals::h2::Connection::client(config, 0));
        wire.flush();
        let entries = &wire.sent_of(SETTINGS)[0].payload;
        assert!(
            entries.chunks(6).all(|entry| entry[1] != 8),
            "a client's word would mean nothing (RFC 8441 §3)"
        );
    }
}

#[test]
fn an_extended_connect_has_a_protocol_and_a_whole_target() {
    let mut wire = Wire::server(tunnels());
    wire.feed(&open(1, &EXTENDED));
    let Some(Event::Request { request, end: false, .. }) = wire.events.pop() else {
        panic!("{:?}", wire.events)
    };
    assert_eq!(request.method(), Method::CONNECT);
    assert_eq!(request.uri(), "http://a/chat");
    assert_eq!(request.extensions().get::<Protocol>().unwrap(), &"websocket");
    // The next request has the memory of this one, and none of its protocol.
    wire.core.recycle_head(request);
    wire.feed(&get(3));
    let Some(Event::Request { request, .. }) = wire.events.pop() else { panic!("{:?}", wire.events) };
    assert!(request.extensions().is_empty());
}

/// RFC 8441 §4, RFC 9113 §8.3.
#[test]
fn an_extended_connect_that_is_not_whole_is_malformed() {
    let malformed = Some(Reason::PROTOCOL_ERROR.0);
    assert_eq!(verdict(tunnels(), &EXTENDED), None);
    assert_eq!(verdict(Config::default(), &EXTENDED), malformed, "it was not offered");
    for name in [":scheme", ":path", ":authority"] {
        assert_eq!(verdict(tunnels(), &with(name, None)), malformed, "without {name}");
    }
    assert_eq!(verdict(tunnels(), &with(":method", Some("GET"))), malformed);
    assert_eq!(verdict(tunnels(), &with(":path", Some("chat"))), malformed);
    for protocol in ["", "web socket", "web,socket"] {
        let list: Vec<(&str, &str)> =
            EXTENDED.iter().map(|&(n, v)| if n == ":protocol" { (n, protocol) } else { (n, v) }).collect();
        assert_eq!(verdict(tunnels(), &list), malformed, "{protocol:?} is no token");
    }
    let mut list = EXTENDED.to_vec();
    list.push((":protocol", "websocket"));
    assert_eq!(verdict(tunnels(), &list), malformed, "twice");
    list.pop();
    list.insert(0, ("x", "y"));
    assert_eq!(verdict(tunnels(), &list), malformed, "behind an ordinary field");
    let mut list = EXTENDED.to_vec();
    list.push(("upgrade", "websocket"));
    assert_eq!(verdict(tunnels(), &list), malformed, "RFC 8441 §5: no upgrade, no connection");
}

#[test]
fn a_protocol_in_a_response_or_in_trailers_is_malformed() {
    let mut wire = Wire::server(tunnels());
    wire.feed(&h2_wire::post(1, &[]));
    wire.feed(&frame(HEADERS, GET, 1, &fields(&[(":protocol", "websocket")])));
    assert_eq!(wire.resets(), [(1, Reason::PROTOCOL_ERROR.0)]);
    let mut wire = Wire::client(Config::default());
    let request = Request::get("http://a/").body(()).unwrap();
    wire.core.request(&request, true).unwrap();
    wire.turn();
    wire.feed(&open(1, &[(":status", "200"), (":protocol", "websocket")]));
    assert_eq!(wire.resets(), [(1, Reason::PROTOCOL_ERROR.0)]);
}

fn extended() -> Request<()> {
    let request = Request::builder().method(Method::CONNECT).uri("http://a/chat");
    request.extension(Protocol::WEBSOCKET).body(()).unwrap()
}

#[test]
fn a_client_asks_for_a_protocol_only_when_the_server_offers_it() {
    let mut wire = Wire::client(Config::default());
    assert_eq!(wire.core.request(&extended(), false), Err(CommandError::NoConnectProtocol));
    wire.feed(&settings(&[(ENABLE_CONNECT_PROTOCOL, 1)]));
    wire.core.request(&extended(), false).unwrap();
    wire.turn();
    // `:method CONNECT`, then `:protocol`, before any ordinary field.
    let mut decoder = wakering::internals::hpack::Decoder::new(4096);
    let mut seen = Vec::new();
    let sink = |field: wakering::internals::hpack::Field| seen.push(format!("{field:?}"));
    decoder.decode(&wire.sent_of(HEADERS)[0].payload, &Config::default().fields, sink).unwrap();
    assert_eq!(
        seen,
        ["Method(CONNECT)", "Protocol(b\"websocket\")", "Scheme(\"http\")", "Path(/chat)", "Authority(a)"]
    );
}

#[test]
fn a_target_that_does_not_fit_its_kind_of_connect_is_refused() {
    let mut wire = Wire::client(Config::default());
    wire.feed(&settings(&[(ENABLE_CONNECT_PROTOCOL, 1)]));
    let mut get = Request::get("http://a/").extension(Protocol::WEBSOCKET).body(()).unwrap();
    assert_eq!(wire.core.request(&get, true), Err(CommandError::Target));
    *get.method_mut() = Method::CONNECT;
    assert!(wire.core.request(&get, false).is_ok());
    let request = |uri| Request::builder().method(Method::CONNECT).uri(uri);
    let plain = request("a:443").extension(Protocol::WEBSOCKET).body(()).unwrap();
    assert_eq!(wire.core.request(&plain, false), Err(CommandError::Target));
    assert_eq!(wire.core.request(&request("http://a/").body(()).unwrap(), false), Err(CommandError::Target));
}

/// RFC 8441 §3.
#[test]
fn an_offer_that_is_taken_back_is_a_connection_error_for_a_client_and_nothing_for_a_server() {
    let mut wire = Wire::client(Config::default());
    wire.feed(&settings(&[(ENABLE_CONNECT_PROTOCOL, 0)]));
    wire.feed(&settings(&[(ENABLE_CONNECT_PROTOCOL, 1)]));
    wire.feed(&settings(&[(ENABLE_CONNECT_PROTOCOL, 1)]));
    assert_eq!(wire.goaway(), None);
    wire.feed(&settings(&[(ENABLE_CONNECT_PROTOCOL, 0)]));
    assert_eq!(wire.goaway(), Some(Reason::PROTOCOL_ERROR.0));
    let mut wire = Wire::client(Config::default());
    wire.feed(&settings(&[(ENABLE_CONNECT_PROTOCOL, 2)]));
    assert_eq!(wire.goaway(), Some(Reason::PROTOCOL_ERROR.0));
    let mut wire = Wire::server(tunnels());
    wire.feed(&settings(&[(ENABLE_CONNECT_PROTOCOL, 1), (ENABLE_CONNECT_PROTOCOL, 0)]));
    assert_eq!(wire.goaway(), None);
}

fn length(value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(header::CONTENT_LENGTH, HeaderValue::from_static(value))])
}

/// A server's tunnel on stream 1, answered.
fn tunnel(wire: &mut Wire, list: &[(&str, &str)]) -> StreamKey {
    wire.feed(&open(1, list));
    let stream = wire.stream();
    wire.core.respond(stream, OK, &HeaderMap::new(), false).unwrap();
    stream
}

/// RFC 9110 §9.3.6, RFC 9113 §8.5.
#[test]
fn what_goes_through_a_tunnel_has_no_length() {
    for list in [&EXTENDED[..], &[(":method", "CONNECT"), (":authority", "a:443")]] {
        let mut list = list.to_vec();
        list.push(("content-length", "1"));
        let mut wire = Wire::server(tunnels());
        let stream = tunnel(&mut wire, &list);
        wire.feed(&frame(DATA, 0, 1, b"more than one byte"));
        wire.core.send_data(stream, Bytes::from_static(b"back"), false).unwrap();
        wire.turn();
        assert_eq!(wire.resets(), []);
        wire.feed(&open(3, &list));
        let stream = wire.stream();
        assert_eq!(wire.core.respond(stream, OK, &length("4"), false), Err(CommandError::ContentLength));
        let refusal = wire.core.respond(stream, StatusCode::FORBIDDEN, &length("4"), false);
        assert_eq!(refusal, Ok(()), "a refusal is a response like any other");
        assert_eq!(
            wire.core.send_data(stream, Bytes::from_static(b"five."), true),
            Err(CommandError::ContentLength)
        );
    }
}

#[test]
fn either_side_of_a_tunnel_may_end_first() {
    let mut wire = Wire::server(tunnels());
    let stream = tunnel(&mut wire, &EXTENDED);
    wire.feed(&frame(DATA, END_STREAM, 1, b"last words"));
    wire.core.send_data(stream, Bytes::from_static(b"still here"), false).unwrap();
    wire.core.send_data(stream, Bytes::new(), true).unwrap();
    wire.core.finish(stream);
    wire.turn();
    assert_eq!((wire.resets(), wire.core.open_streams()), (vec![], 0));

    let mut wire = Wire::server(tunnels());
    let stream = tunnel(&mut wire, &EXTENDED);
    wire.core.send_data(stream, Bytes::from_static(b"bye"), true).unwrap();
    wire.turn();
    wire.events.clear();
    wire.feed(&frame(DATA, END_STREAM, 1, b"wait"));
    assert!(matches!(&wire.events[..], [Event::Data { end: true, .. }]));
    wire.core.finish(stream);
    wire.turn();
    assert_eq!((wire.resets(), wire.core.open_streams()), (vec![], 0));
}

/// As with content behind an answer: the peer hears our end, and has time for its own.
#[test]
fn a_tunnel_that_is_let_go_of_behind_its_end_waits_for_the_other_up_to_a_bound() {
    for (more, reset) in [
        (vec![frame(DATA, END_STREAM, 1, b"bye")], None),
        (vec![frame(DATA, 0, 1, &[7; 16_384]); 4], Some(1)),
    ] {
        let mut wire = Wire::server(tunnels());
        let stream = tunnel(&mut wire, &EXTENDED);
        wire.core.send_data(stream, Bytes::new(), true).unwrap();
        wire.core.finish(stream);
        wire.turn();
        assert_eq!(wire.resets(), []);
        wire.feed(&more.concat());
        assert_eq!(wire.resets().first().map(|&(id, _)| id), reset);
        assert_eq!(wire.core.open_streams(), 0);
    }
    let mut wire = Wire::server(tunnels());
    let stream = tunnel(&mut wire, &EXTENDED);
    wire.core.finish(stream);
    wire.turn();
    assert_eq!(wire.resets(), [(1, Reason::INTERNAL_ERROR.0)], "without its end");
    let mut wire = Wire::server(tunnels());
    tunnel(&mut wire, &EXTENDED);
    wire.feed(&rst_stream(1, Reason::CANCEL.0));
    assert!(matches!(wire.events.last(), Some(Event::Reset { reason: Reason::CANCEL, remote: true, .. })));
}

const ALTSVC: u8 = 0xa;
const ORIGIN: u8 = 0xc;

/// Each text behind its length in two bytes.
fn entries(texts: &[&str]) -> Vec<u8> {
    let entry = |text: &&str| [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat();
    texts.iter().flat_map(entry).collect()
}

fn alt_svc(stream: u32, origin: &str, value: &str) -> Vec<u8> {
    frame(ALTSVC, 0, stream, &[entries(&[origin]), value.as_bytes().to_vec()].concat())
}

/// A client with a request on stream 1.
fn asking() -> (Wire, StreamKey) {
    let mut wire = Wire::client(Config::default());
    let stream = wire.core.request(&Request::get("http://a/").body(()).unwrap(), true).unwrap();
    wire.turn();
    wire.events.clear();
    (wire, stream)
}

#[test]
fn a_client_learns_of_alternatives_for_a_named_origin_and_for_that_of_a_request() {
    let (mut wire, key) = asking();
    wire.feed(&alt_svc(0, "https://a.example", "h3=\":443\""));
    wire.feed(&alt_svc(1, "", "clear"));
    let [Event::AltSvc { stream: None, origin, value }, Event::AltSvc { stream, origin: none, value: clear }] =
        &wire.events[..]
    else {
        panic!("{:?}", wire.events)
    };
    assert_eq!((origin.as_str(), value), ("https://a.example", &HeaderValue::from_static("h3=\":443\"")));
    assert_eq!((*stream, none.as_str(), clear), (Some(key), "", &HeaderValue::from_static("clear")));
}

/// RFC 7838 §4.
#[test]
fn an_alternative_that_is_out_of_place_is_ignored() {
    let (mut wire, _) = asking();
    wire.feed(&alt_svc(0, "", "clear"));
    wire.feed(&alt_svc(1, "https://a.example", "clear"));
    wire.feed(&alt_svc(0, "no origin", "clear"));
    wire.feed(&alt_svc(0, "https://a.example", "not\na value"));
    wire.feed(&alt_svc(7, "", "clear"));
    assert!(wire.events.is_empty(), "{:?}", wire.events);
    assert_eq!(wire.goaway(), None);
    let mut server = Wire::server(Config::default());
    server.feed(
        &[alt_svc(0, "https://a.example", "clear"), frame(ORIGIN, 0, 0, &entries(&["https://a"]))].concat(),
    );
    assert!(server.events.is_empty() && server.goaway().is_none(), "a server is not told such things");
}

/// RFC 8336 §2.
#[test]
fn a_client_learns_the_origins_of_a_connection_and_passes_over_what_is_none() {
    let (mut wire, _) = asking();
    let list = entries(&["https://a.example", "null", "", "https://b.example:8443", "https://c/path"]);
    wire.feed(&frame(ORIGIN, 0, 0, &list));
    let [Event::Origins { origins }] = &wire.events[..] else { panic!("{:?}", wire.events) };
    assert_eq!(origins, &["https://a.example", "https://b.example:8443"]);
    wire.events.clear();
    wire.feed(&frame(ORIGIN, 0, 1, &list));
    for flag in [1, 2, 4, 8] {
        wire.feed(&frame(ORIGIN, flag, 0, &list));
    }
    assert!(wire.events.is_empty() && wire.goaway().is_none(), "{:?}", wire.events);
    wire.feed(&frame(ORIGIN, 0, 0, &[]));
    assert!(
        matches!(&wire.events[..], [Event::Origins { origins }] if origins.is_empty()),
        "the set is empty"
    );
}

/// RFC 9113 §4.2.
#[test]
fn advice_that_is_shorter_than_its_lengths_is_a_frame_size_error() {
    for (kind, payload) in
        [(ALTSVC, &[][..]), (ALTSVC, &[0]), (ALTSVC, &[0, 2, b'a']), (ORIGIN, &[0]), (ORIGIN, &[0, 1])]
    {
        let (mut wire, _) = asking();
        wire.feed(&frame(kind, 0, 0, payload));
        assert_eq!(wire.goaway(), Some(Reason::FRAME_SIZE_ERROR.0), "{kind} {payload:?}");
    }
}

/// RFC 7838 §4, RFC 8336 §2.2: what must be ignored is not judged either.
#[test]
fn advice_out_of_place_is_ignored_unread() {
    let short = [0, 9, b'a'];
    let mut server = Wire::server(Config::default());
    server.feed(&[frame(ALTSVC, 0, 0, &short), frame(ORIGIN, 0, 0, &short)].concat());
    let (mut client, _) = asking();
    client.feed(&[frame(ORIGIN, 0, 1, &short), frame(ORIGIN, 8, 0, &short)].concat());
    for wire in [server, client] {
        assert!(wire.events.is_empty() && wire.goaway().is_none());
    }
}

/// RFC 9113 §5.1: nothing follows END_STREAM.
#[test]
fn no_alternative_is_named_on_a_stream_that_is_answered() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&h2_wire::post(1, &[]));
    let stream = wire.stream();
    wire.core.respond(stream, OK, &HeaderMap::new(), true).unwrap();
    let clear = HeaderValue::from_static("clear");
    assert_eq!(wire.core.advertise_on(stream, &clear), Err(CommandError::WrongState));
}

#[test]
fn advice_without_end_is_a_flood() {
    let (mut wire, _) = asking();
    for _ in 0..2_000 {
        wire.feed(&alt_svc(0, "https://a.example", "clear"));
    }
    assert_eq!(wire.goaway(), Some(Reason::ENHANCE_YOUR_CALM.0));
}

#[test]
fn a_server_advertises_behind_its_settings_and_on_streams() {
    let h3 = HeaderValue::from_static("h3=\":443\"");
    let config = Config {
        origins: vec!["https://a.example".into(), "no origin".into()],
        alt_svc: vec![("https://a.example".into(), h3.clone()), ("no origin".into(), h3.clone())],
        ..Config::default()
    };
    let mut wire = Wire::new(wakering::internals::h2::Connection::server(config, 0));
    assert_eq!(wire.core.advertise("https://a.example", &h3), Err(CommandError::Busy), "SETTINGS come first");
    wire.feed(&[h2_wire::PREFACE, &settings(&[])].concat());
    let kinds: Vec<u8> = wire.sent.iter().map(|frame| frame.kind).collect();
    assert_eq!(kinds[0], SETTINGS);
    assert_eq!(wire.sent_of(ORIGIN)[0].payload, entries(&["https://a.example"]));
    assert_eq!(wire.sent_of(ALTSVC).len(), 1);
    wire.sent.clear();

    wire.feed(&get(1));
    let stream = wire.stream();
    wire.core.advertise_on(stream, &h3).unwrap();
    wire.core.advertise("https://b.example", &h3).unwrap();
    assert_eq!(wire.core.advertise("b.example", &h3), Err(CommandError::Target));
    wire.core.respond(stream, OK, &HeaderMap::new(), true).unwrap();
    assert_eq!(wire.core.advertise_on(stream, &h3), Err(CommandError::StreamGone));
    wire.turn();
    let sent: Vec<(u32, Vec<u8>)> =
        wire.sent_of(ALTSVC).iter().map(|frame| (frame.stream, frame.payload.clone())).collect();
    let of = |origin: &str| [entries(&[origin]), h3.as_bytes().to_vec()].concat();
    assert_eq!(sent, [(1, of("")), (0, of("https://b.example"))]);
    let (mut client, _) = asking();
    assert_eq!(client.core.advertise("https://a", &h3), Err(CommandError::WrongRole));
}
