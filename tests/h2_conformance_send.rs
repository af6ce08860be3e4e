//! What either end sends, and in which order: the senders' half of RFC 9113.
//!
//! `docs/h2-rfc-map.md` says which requirement each test proves.

#![expect(
    clippy::unwrap_used,
    reason = "tests may unwrap, and clippy takes only what is marked #[test] for one"
)]

#[path = "support/h2_wire.rs"]
mod h2_wire;

use std::collections::BTreeMap;

use bytes::Bytes;
use h2_wire::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GET, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, Wire, fields, frame, get, post, settings, window_update,
};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use wakering::internals::h2::{CommandError, Config, Connection, Event, Reason, Role, StreamKey};
use wakering::internals::hpack::{Decoder, Field, FieldLimits};

/// Both ends, and how much of what each has sent the other has seen.
struct Pair {
    client: Wire,
    server: Wire,
    carried: [usize; 2],
}

impl Pair {
    fn new() -> Pair {
        let config = || Config { header_table_size: 300, ..Config::default() };
        let client = Wire::new(Connection::client(config(), 0));
        let server = Wire::new(Connection::server(config(), 0));
        let mut pair = Pair { client, server, carried: [0, 0] };
        pair.client.turn();
        pair.server.feed(PREFACE);
        pair
    }

    /// Carries frames until both are silent, serving as they come.
    fn settle(&mut self) {
        loop {
            let to_server = bytes_of(&self.client.sent[self.carried[0]..]);
            let to_client = bytes_of(&self.server.sent[self.carried[1]..]);
            if to_server.is_empty() && to_client.is_empty() {
                return;
            }
            self.carried = [self.client.sent.len(), self.server.sent.len()];
            self.server.feed(&to_server);
            self.client.feed(&to_client);
            for wire in [&mut self.server, &mut self.client] {
                for event in std::mem::take(&mut wire.events) {
                    react(wire, event);
                }
                wire.turn();
            }
        }
    }
}

fn bytes_of(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(|it| frame(it.kind, it.flags, it.stream, &it.payload)).collect()
}

fn react(wire: &mut Wire, event: Event) {
    match event {
        Event::Request { stream, request, .. } => respond(wire, stream, request.uri().path()),
        Event::Data { stream, data, end } => {
            wire.core.release(stream, data.len());
            if end && wire.core.role() == Role::Client {
                wire.core.finish(stream);
            }
        }
        Event::Trailers { stream, .. } | Event::Response { stream, end: true, .. }
            if wire.core.role() == Role::Client =>
        {
            wire.core.finish(stream);
        }
        Event::Reset { stream, .. } => wire.core.finish(stream),
        _ => {}
    }
}

fn respond(wire: &mut Wire, stream: StreamKey, path: &str) {
    let core = &mut wire.core;
    let mut head = HeaderMap::new();
    head.insert("x-answer", HeaderValue::from_static("yes"));
    match path {
        "/hints" => core.inform(stream, StatusCode::EARLY_HINTS, &head).unwrap(),
        "/large" => {
            for n in 0..30u8 {
                head.append("x-large", HeaderValue::from_bytes(&[b'~' - n; 400]).unwrap());
            }
        }
        "/reset" => core.reset(stream, Reason::CANCEL),
        _ => {}
    }
    if core.respond(stream, StatusCode::OK, &head, path == "/empty").is_ok() && path != "/empty" {
        core.send_data(stream, Bytes::from(vec![7; 200_000]), path != "/trailers").unwrap();
        if path == "/trailers" {
            core.send_trailers(stream, head).unwrap();
        }
    }
    core.finish(stream);
}

fn uri(path: &str) -> Uri {
    format!("http://a{path}").parse().unwrap()
}

/// An exchange of everything that can be sent.
fn everything() -> Pair {
    let mut pair = Pair::new();
    pair.settle();
    for path in ["/", "/hints", "/large", "/empty", "/trailers", "/reset"] {
        let request = Request::post(uri(path)).header("X-Asked", "1").body(()).unwrap();
        let stream = pair.client.core.request(&request, false).unwrap();
        pair.client.core.send_data(stream, Bytes::from(vec![1; 30_000]), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("X-Sum", HeaderValue::from_static("1"));
        pair.client.core.send_trailers(stream, trailers).unwrap();
        pair.client.turn();
        pair.settle();
    }
    let stream = pair.client.core.request(&Request::get(uri("/")).body(()).unwrap(), true).unwrap();
    pair.client.core.reset(stream, Reason::CANCEL);
    pair.client.core.finish(stream);
    pair.client.core.ping([3; 8]).unwrap();
    pair.server.core.ping([4; 8]).unwrap();
    pair.settle();
    pair.server.core.shutdown();
    pair.server.turn();
    pair.settle();
    pair
}

/// Flags that a type defines and that we use: never PADDED, never PRIORITY.
fn flags_of(kind: u8) -> u8 {
    match kind {
        DATA => END_STREAM,
        HEADERS => END_STREAM | END_HEADERS,
        CONTINUATION => END_HEADERS,
        SETTINGS | PING => ACK,
        _ => 0,
    }
}

#[test]
fn every_frame_that_is_sent_keeps_its_rules() {
    let pair = everything();
    for sent in [&pair.client.sent, &pair.server.sent] {
        assert!(sent.len() > 20);
        assert_eq!((sent[0].kind, sent[0].flags), (SETTINGS, 0), "RFC 9113 §3.4");
        let mut block = None;
        let mut closed: BTreeMap<u32, u8> = BTreeMap::new();
        for frame in sent {
            let Frame { kind, flags, stream, payload } = frame;
            assert!(matches!(
                *kind,
                DATA | HEADERS | RST_STREAM | SETTINGS | PING | GOAWAY | WINDOW_UPDATE | CONTINUATION
            ));
            assert_eq!(flags & !flags_of(*kind), 0, "unused flags stay unset: {frame:?}");
            assert!(*stream < 1 << 31, "the reserved bit stays unset");
            assert!(payload.len() <= 16_384);
            assert_eq!(*stream == 0, matches!(*kind, SETTINGS | PING | GOAWAY) || *stream == 0 && *kind == 8);
            assert_eq!(block.is_some(), *kind == CONTINUATION, "blocks are contiguous: {frame:?}");
            assert!(block.is_none_or(|id| id == *stream));
            if matches!(*kind, HEADERS | CONTINUATION) {
                block = (flags & END_HEADERS == 0).then_some(*stream);
            }
            if let Some(how) = closed.get(stream) {
                // What is left when we have ended our side, and what is left when we have reset.
                let allowed =
                    *how == END_STREAM && matches!(*kind, RST_STREAM | WINDOW_UPDATE | CONTINUATION);
                assert!(allowed, "{frame:?} behind the end");
            }
            match *kind {
                PING => assert_eq!(payload.len(), 8),
                WINDOW_UPDATE => assert!((1..1 << 31).contains(&frame.word(0))),
                GOAWAY => assert!(frame.word(0) < 1 << 31),
                SETTINGS if flags & ACK != 0 => assert!(payload.is_empty()),
                RST_STREAM => drop(closed.insert(*stream, RST_STREAM)),
                DATA | HEADERS if flags & END_STREAM != 0 => drop(closed.insert(*stream, END_STREAM)),
                _ => {}
            }
        }
    }
    let mut opened: Vec<u32> = pair.client.sent_of(HEADERS).iter().map(|frame| frame.stream).collect();
    opened.dedup();
    assert_eq!(opened, [1, 3, 5, 7, 9, 11, 13], "odd, and each greater than all before (RFC 9113 §5.1.1)");
}

fn entries(frame: &Frame) -> Vec<(u16, u32)> {
    frame
        .payload
        .chunks(6)
        .map(|entry| {
            (u16::from_be_bytes([entry[0], entry[1]]), u32::from_be_bytes(entry[2..].try_into().unwrap()))
        })
        .collect()
}

/// RFC 9113 §6.5.2: push is forbidden by a client and not mentioned by a server; extensions are off unless said.
#[test]
fn a_server_never_speaks_of_push_and_a_client_always_forbids_it() {
    let pair = Pair::new();
    let of = |wire: &Wire, id| entries(&wire.sent[0]).into_iter().find(|entry| entry.0 == id);
    assert_eq!(of(&pair.client, 2), Some((2, 0)));
    assert_eq!(of(&pair.server, 2), None);
    assert_eq!(of(&pair.server, 8), None, "RFC 8441");
    assert!(of(&pair.server, 3).is_some_and(|(_, streams)| streams >= 100));
}

/// RFC 9113 §6.5.2 and §6.9.1, whatever the configuration wants.
#[test]
fn what_settings_announce_is_in_range() {
    let config = |size| Config {
        max_frame_size: size,
        stream_window: u32::MAX,
        connection_window: u32::MAX,
        ..Config::default()
    };
    for (size, announced) in [(0, None), (u32::MAX, Some((5, (1 << 24) - 1)))] {
        for core in [Connection::client(config(size), 0), Connection::server(config(size), 0)] {
            let mut wire = Wire::new(core);
            if wire.core.role() == Role::Server {
                wire.feed(PREFACE);
            }
            wire.turn();
            let said = entries(&wire.sent[0]);
            let value = said.iter().copied().find(|entry| entry.0 == 5).filter(|entry| entry.1 != 16_384);
            assert_eq!(value, announced);
            assert!(said.contains(&(4, (1 << 31) - 1)));
            let updates: Vec<u32> = wire.sent_of(WINDOW_UPDATE).iter().map(|frame| frame.word(0)).collect();
            assert_eq!(updates, [(1 << 31) - 1 - 65_535]);
        }
    }
}

/// Every block of a sender, decoded.
fn blocks(sent: &[Frame]) -> Vec<Vec<Field>> {
    let mut decoder = Decoder::new(4096);
    let mut found = Vec::new();
    let mut block = Vec::new();
    for frame in sent.iter().filter(|frame| matches!(frame.kind, HEADERS | CONTINUATION)) {
        block.extend_from_slice(&frame.payload);
        if frame.flags & END_HEADERS != 0 {
            let mut fields = Vec::new();
            let limits = FieldLimits { list_bytes: 1 << 20, ..FieldLimits::default() };
            decoder.decode(&block, &limits, |field: Field| fields.push(field)).unwrap();
            found.push(fields);
            block.clear();
        }
    }
    found
}

/// RFC 9113 §8.1 and §8.3: the defined ones, each once, before all others, and none in trailers.
#[test]
fn pseudo_fields_are_sent_first_once_and_where_they_belong() {
    let pair = everything();
    for (role, sent) in [(Role::Client, &pair.client.sent), (Role::Server, &pair.server.sent)] {
        let blocks = blocks(sent);
        assert!(blocks.len() > 6);
        let mut trailers = 0;
        for block in &blocks {
            let ordinary = |field: &Field| matches!(field, Field::Header { .. });
            let first = block.iter().take_while(|field| !ordinary(field)).count();
            let (pseudo, rest) = block.split_at(first);
            assert!(rest.iter().all(ordinary), "{block:?}");
            match (role, pseudo) {
                (_, []) => trailers += 1,
                (Role::Client, [Field::Method(_), Field::Scheme(_), Field::Path(_), Field::Authority(_)]) => {
                }
                (Role::Server, [Field::Status(_)]) => {}
                other => panic!("{other:?}"),
            }
            for field in rest {
                let Field::Header { name, .. } = field else { continue };
                assert!(!name.as_str().bytes().any(|byte| byte.is_ascii_uppercase()), "RFC 9113 §8.2");
            }
        }
        assert_eq!(trailers, if role == Role::Client { 6 } else { 1 });
    }
}

/// RFC 9113 §4.3.1 and RFC 7541 §4.2: the acknowledgement first, then the update at the head of the next block.
#[test]
fn a_smaller_table_is_followed_from_the_next_block_on() {
    let mut wire = Wire::server(Config::default());
    let answer = |wire: &mut Wire, id: u32| {
        wire.feed(&get(id));
        let stream = wire.stream();
        wire.core.respond(stream, StatusCode::OK, &HeaderMap::new(), true).unwrap();
        wire.core.finish(stream);
        wire.turn();
        wire.sent_of(HEADERS).last().unwrap().payload.clone()
    };
    assert_eq!(answer(&mut wire, 1), [0x88]);
    wire.feed(&settings(&[(1, 0), (1, 100)]));
    assert_eq!((wire.sent.last().unwrap().kind, wire.sent.last().unwrap().flags), (SETTINGS, ACK));
    assert_eq!(answer(&mut wire, 3), [0x20, 0x3f, 0x45, 0x88], "the smallest and the last");
    assert_eq!(answer(&mut wire, 5), [0x88]);
}

/// RFC 9113 §4.1: more than 2^14 only once the receiver has said so, and never more than it said.
#[test]
fn larger_frames_wait_for_the_peers_permission() {
    let largest = |size: u32| {
        let mut wire = Wire::server(Config { stream_queue_bytes: 1 << 20, ..Config::default() });
        wire.feed(&[settings(&[(5, size), (4, 1 << 20)]), window_update(0, 1 << 20), get(1)].concat());
        let stream = wire.stream();
        wire.core.respond(stream, StatusCode::OK, &HeaderMap::new(), false).unwrap();
        wire.core.send_data(stream, Bytes::from(vec![0; 200_000]), true).unwrap();
        wire.turn();
        wire.sent_of(DATA).iter().map(|frame| frame.payload.len()).max()
    };
    assert_eq!(largest(16_384), Some(16_384));
    assert_eq!(largest(20_000), Some(20_000));
    assert!(largest((1 << 24) - 1).is_some_and(|most| most > 20_000));
}

/// RFC 9113 §6.7: at once, with the same octets; an acknowledgement is not answered.
#[test]
fn a_ping_is_answered_before_content_that_waits() {
    for role in [Role::Server, Role::Client] {
        let mut wire = match role {
            Role::Server => Wire::server(Config { stream_queue_bytes: 1 << 20, ..Config::default() }),
            Role::Client => Wire::client(Config::default()),
        };
        wire.feed(&[settings(&[(4, 1 << 20)]), window_update(0, 1 << 20)].concat());
        let stream = if role == Role::Server {
            wire.feed(&get(1));
            let stream = wire.stream();
            wire.core.respond(stream, StatusCode::OK, &HeaderMap::new(), false).unwrap();
            stream
        } else {
            wire.core.request(&Request::post(uri("/")).body(()).unwrap(), false).unwrap()
        };
        wire.sent.clear();
        wire.core.send_data(stream, Bytes::from(vec![0; 500_000]), true).unwrap();
        wire.feed(&frame(PING, 0, 0, b"12345678"));
        let pong = wire.sent.iter().position(|frame| frame.kind == PING).unwrap();
        let content = wire.sent.iter().position(|frame| frame.kind == DATA).unwrap();
        assert!(pong < content, "{role:?}: {pong} is not before {content}");
        assert_eq!((wire.sent[pong].flags, &wire.sent[pong].payload[..]), (ACK, &b"12345678"[..]));
        wire.sent.clear();
        wire.feed(&frame(PING, ACK, 0, b"12345678"));
        assert!(wire.sent_of(PING).is_empty());
    }
}

/// RFC 9113 §6.8: who was told to go says so too; and §5.4.1: nobody ends a connection without a word.
#[test]
fn a_client_that_was_told_to_go_says_so_before_it_closes() {
    let goaway = frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]);
    let mut wire = Wire::client(Config::default());
    let stream = wire.core.request(&Request::get(uri("/")).body(()).unwrap(), true).unwrap();
    wire.turn();
    wire.feed(&goaway);
    assert_eq!(wire.goaway(), None, "its request goes on");
    wire.feed(&frame(HEADERS, GET, 1, &[0x88]));
    wire.core.finish(stream);
    wire.turn();
    assert_eq!(wire.goaway(), Some(0));
    assert!(wire.core.is_closed());
    let mut idle = Wire::client(Config::default());
    idle.feed(&goaway);
    assert_eq!((idle.goaway(), idle.core.is_closed()), (Some(0), true));
    let mut leaving = Wire::client(Config::default());
    leaving.core.shutdown();
    leaving.turn();
    assert_eq!((leaving.goaway(), leaving.sent.len()), (Some(0), 1), "once is enough");
}

/// RFC 9113 §5.4.1, §8.7: GOAWAY never says less than what the application has seen.
#[test]
fn goaway_names_the_last_stream_that_was_taken() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&[get(1), get(7), frame(PING, 0, 0, &[0; 7])].concat());
    assert_eq!(wire.sent_of(GOAWAY)[0].word(0), 7);
    // A stream whose head nobody could read was not received; it may be tried elsewhere.
    let mut wire = Wire::server(Config::default());
    wire.feed(&[get(1), frame(HEADERS, GET, 7, &[0x80])].concat());
    assert_eq!(wire.sent_of(GOAWAY)[0].word(0), 1);
    let mut wire = Wire::client(Config::default());
    wire.core.request(&Request::get(uri("/")).body(()).unwrap(), true).unwrap();
    wire.feed(&frame(PING, 0, 0, &[0; 7]));
    assert_eq!(wire.sent_of(GOAWAY)[0].word(0), 0, "a server opens none");
}

/// RFC 9113 §8.7: a stream that the application has seen is never given back as unprocessed.
#[test]
fn a_stream_that_was_handed_on_is_never_refused() {
    let mut wire = Wire::server(Config { max_concurrent_streams: 3, ..Config::default() });
    wire.feed(&[post(1, &[]), post(3, &[]), post(5, &[]), post(7, &[])].concat());
    let seen: Vec<u32> = wire
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Request { stream, .. } => wire.core.stream_id(*stream),
            _ => None,
        })
        .collect();
    assert_eq!(seen, [1, 3, 5]);
    wire.feed(&[window_update(1, 0), frame(DATA, 0, 3, &[0; 16_384]).repeat(5)].concat());
    let last = wire.stream();
    wire.core.finish(last);
    wire.turn();
    let refused = Reason::REFUSED_STREAM.0;
    let resets = wire.resets();
    assert_eq!(resets.len(), 4, "{resets:?}");
    assert!(resets.iter().all(|(id, code)| (*code == refused) == (*id == 7)), "{resets:?}");
}

/// RFC 9113 §8.3.1: one authority, without a user, and `host` does not contradict it.
#[test]
fn a_request_names_one_authority() {
    let mut wire = Wire::client(Config::default());
    let ask = |wire: &mut Wire, builder: http::request::Builder| {
        wire.core.request(&builder.body(()).unwrap(), true)
    };
    assert_eq!(ask(&mut wire, Request::get("http://u:p@a/")), Err(CommandError::Target));
    let foreign = Request::get(uri("/")).header("host", "b");
    assert_eq!(ask(&mut wire, foreign), Err(CommandError::ForbiddenField));
    let twice = Request::get(uri("/")).header("host", "a").header("host", "a");
    assert_eq!(ask(&mut wire, twice), Err(CommandError::ForbiddenField));
    for target in ["http://a:x/", "http://a:99999/", "http://:80/", "http://[x]/"] {
        let Ok(target) = target.parse::<Uri>() else { continue };
        assert_eq!(ask(&mut wire, Request::get(target.clone())), Err(CommandError::Target), "{target}");
    }
    for target in ["a", "a:0", "u@a:1"] {
        let tunnel = Request::builder().method("CONNECT").uri(target);
        assert_eq!(ask(&mut wire, tunnel), Err(CommandError::Target), "{target}");
    }
    wire.turn();
    assert!(wire.sent.is_empty());
    assert!(ask(&mut wire, Request::get(uri("/")).header("host", "A")).is_ok());
    assert!(ask(&mut wire, Request::builder().method("CONNECT").uri("a:443")).is_ok());
    wire.turn();
    let blocks = blocks(&wire.sent);
    assert!(blocks[0].iter().any(|field| matches!(field, Field::Authority(name) if name == "a")));
    let [Field::Method(method), Field::Authority(place)] = &blocks[1][..] else { panic!("{:?}", blocks[1]) };
    assert_eq!((method.as_str(), place.as_str()), ("CONNECT", "a:443"), "no :scheme, no :path (§8.5)");
}

/// RFC 9113 §8.3.1: a path, or the asterisk of OPTIONS.
#[test]
fn a_request_has_a_path() {
    let mut wire = Wire::client(Config::default());
    let asterisk = |method: &str| {
        let target = Uri::builder().scheme("http").authority("a").path_and_query("*").build().unwrap();
        Request::builder().method(method).uri(target).body(()).unwrap()
    };
    assert_eq!(wire.core.request(&asterisk("GET"), true), Err(CommandError::Target));
    for (request, path) in [
        (Request::get("http://a").body(()).unwrap(), "/"),
        (Request::get("http://a/x?y").body(()).unwrap(), "/x?y"),
        (asterisk("OPTIONS"), "*"),
    ] {
        wire.core.request(&request, true).unwrap();
        wire.turn();
        let last = blocks(&wire.sent).pop().unwrap();
        assert!(
            last.iter().any(|field| matches!(field, Field::Path(sent) if sent.as_str() == path)),
            "{path}"
        );
    }
}

/// RFC 9113 §8.5, the sender's half.
#[test]
fn trailers_cannot_be_sent_into_a_tunnel() {
    let mut trailers = HeaderMap::new();
    trailers.insert("x", HeaderValue::from_static("y"));
    let connect = frame(HEADERS, END_HEADERS, 1, &fields(&[(":method", "CONNECT"), (":authority", "a:1")]));
    for (status, expected) in [(200, Err(CommandError::WrongState)), (502, Ok(()))] {
        let mut wire = Wire::server(Config::default());
        wire.feed(&connect);
        let stream = wire.stream();
        let status = StatusCode::from_u16(status).unwrap();
        wire.core.respond(stream, status, &HeaderMap::new(), false).unwrap();
        assert_eq!(wire.core.send_trailers(stream, trailers.clone()), expected);
    }
    let mut wire = Wire::client(Config::default());
    let request = Request::builder().method("CONNECT").uri("a:1").body(()).unwrap();
    let stream = wire.core.request(&request, false).unwrap();
    assert_eq!(wire.core.send_trailers(stream, trailers), Err(CommandError::WrongState));
    // A refusal keeps the length that it announces, as any answer does.
    let mut wire = Wire::server(Config::default());
    wire.feed(&connect);
    let stream = wire.stream();
    let mut head = HeaderMap::new();
    head.insert("content-length", HeaderValue::from_static("5"));
    wire.core.respond(stream, StatusCode::BAD_GATEWAY, &head, false).unwrap();
    let short = wire.core.send_data(stream, Bytes::from_static(b"abc"), true);
    assert_eq!(short, Err(CommandError::ContentLength));
}

/// RFC 9110 §5.3 and §6.5.1: a length is said once, and before the content. Either end takes anything else for malformed.
#[test]
fn a_length_is_announced_once_and_not_behind_the_content() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&get(1));
    let stream = wire.stream();
    let mut fields = HeaderMap::new();
    fields.append("content-length", HeaderValue::from_static("1"));
    let trailers = fields.clone();
    fields.append("content-length", HeaderValue::from_static("1"));
    let twice = wire.core.respond(stream, StatusCode::OK, &fields, false);
    assert_eq!(twice, Err(CommandError::ForbiddenField));
    wire.core.respond(stream, StatusCode::OK, &HeaderMap::new(), false).unwrap();
    assert_eq!(wire.core.send_trailers(stream, trailers), Err(CommandError::ForbiddenField));
}

/// A number below `bound`, from a state that goes on.
fn below(state: &mut u64, bound: usize) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize % bound
}

/// Heads that are sent again are not encoded again. The client reads the same, whatever the table went through meanwhile.
#[test]
fn an_answer_that_is_sent_again_says_the_same() {
    let mut state = 0x7541;
    let mut wire = Wire::server(Config::default());
    let mut decoder = Decoder::new(4096);
    let mut head = HeaderMap::new();
    for n in 0..4_000 {
        if below(&mut state, 40) == 0 {
            let size = [0, 60, 200, 4096][below(&mut state, 4)];
            wire.feed(&settings(&[(1, size)]));
            decoder.set_max_table_size(size as usize);
        }
        if below(&mut state, 3) == 0 {
            head.clear();
            for _ in 0..below(&mut state, 5) {
                let name =
                    ["server", "content-type", "etag", "set-cookie", "x-one", "x-two"][below(&mut state, 6)];
                let mut value = HeaderValue::from(below(&mut state, 3) as u16);
                value.set_sensitive(below(&mut state, 4) == 0);
                head.append(name, value);
            }
        }
        let status = [StatusCode::OK, StatusCode::NOT_FOUND, StatusCode::IM_A_TEAPOT][below(&mut state, 3)];
        wire.feed(&get(2 * n + 1));
        let stream = wire.stream();
        wire.core.respond(stream, status, &head, true).unwrap();
        wire.core.finish(stream);
        wire.turn();
        let block = wire.sent_of(HEADERS).last().unwrap().payload.clone();
        let mut read = Vec::new();
        decoder
            .decode(&block, &FieldLimits::default(), |field: Field| match field {
                Field::Status(status) => read.push((":status".to_owned(), status.as_str().to_owned(), false)),
                Field::Header { name, value, .. } => {
                    read.push((name.to_string(), value.to_str().unwrap().to_owned(), value.is_sensitive()));
                }
                other => panic!("{other:?}"),
            })
            .unwrap();
        let sent = head.iter().map(|(name, value)| {
            (name.to_string(), value.to_str().unwrap().to_owned(), value.is_sensitive())
        });
        let all: Vec<_> =
            [(":status".to_owned(), status.as_str().to_owned(), false)].into_iter().chain(sent).collect();
        assert_eq!(read, all, "answer {n}");
        wire.events.clear();
        wire.sent.clear();
    }
}
