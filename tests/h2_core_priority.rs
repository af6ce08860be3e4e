//! Priorities (RFC 9218): which response goes out first, what a client may say about it and when, and what never waits.

#![cfg(not(loom))]
#![expect(
    clippy::unwrap_used,
    reason = "tests may unwrap, and clippy takes only what is marked #[test] for one"
)]

#[path = "support/h2_wire.rs"]
mod h2_wire;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use h2_wire::{
    ACK, DATA, END_STREAM, GET, HEADERS, PING, PREFACE, SETTINGS, Wire, frame, get, request_block, settings,
    window_update,
};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use wakering::internals::h2::{CommandError, Config, Connection, Event, Priority, Reason, StreamKey};

const OK: StatusCode = StatusCode::OK;
const PRIORITY_UPDATE: u8 = 0x10;
const PROTOCOL_ERROR: Option<u32> = Some(Reason::PROTOCOL_ERROR.0);

fn get_with(stream: u32, priority: &str) -> Vec<u8> {
    frame(HEADERS, GET, stream, &request_block("GET", &[("priority", priority)]))
}

fn update(stream: u32, value: &str) -> Vec<u8> {
    frame(PRIORITY_UPDATE, 0, 0, &[&stream.to_be_bytes()[..], value.as_bytes()].concat())
}

/// A server whose client keeps all windows wide open.
fn open() -> Wire {
    let mut wire = Wire::server(Config::default());
    wire.feed(&[window_update(0, 1 << 30), settings(&[(4, 1 << 30)])].concat());
    wire.sent.clear();
    wire
}

/// Takes a request without writing anything yet.
fn take(wire: &mut Wire, request: &[u8]) -> StreamKey {
    wire.core.receive(Bytes::copy_from_slice(request));
    let Some(Event::Request { stream, .. }) = wire.core.poll_event(0) else { panic!("no request") };
    stream
}

/// Answers with this many frames' worth of content.
fn answer(wire: &mut Wire, stream: StreamKey, frames: usize) {
    wire.core.respond(stream, OK, &HeaderMap::new(), false).unwrap();
    wire.core.send_data(stream, Bytes::from(vec![1; frames * 16_384]), true).unwrap();
}

/// The streams of the DATA frames that were sent.
fn order(wire: &Wire) -> Vec<u32> {
    wire.sent_of(DATA).iter().map(|frame| frame.stream).collect()
}

/// RFC 9218 §10: by urgency; of one urgency one by one in the order of the ids, or in turn if incremental.
#[test]
fn responses_go_out_by_urgency_then_by_id_and_incremental_ones_in_turn() {
    let mut wire = open();
    let asked = [(1, "u=6"), (3, "u=1, i"), (5, "u=1, i"), (7, "u=0"), (9, ""), (11, "u=3;x=1"), (13, "u=6")];
    let streams = asked.map(|(id, priority)| take(&mut wire, &get_with(id, priority)));
    for stream in streams.into_iter().rev() {
        answer(&mut wire, stream, 2);
    }
    wire.turn();
    assert_eq!(order(&wire), [7, 7, 5, 3, 5, 3, 9, 9, 11, 11, 1, 1, 13, 13]);
}

/// RFC 9218 §4.1 has them served one by one; without any word we let them take turns, between the two.
#[test]
fn streams_of_which_nothing_was_said_take_turns_at_the_usual_urgency() {
    let mut wire = open();
    let asked = [get_with(1, "u=4"), get(3), get(5), get_with(7, "u=2"), get_with(9, "u=9, =")];
    for request in asked {
        let stream = take(&mut wire, &request);
        answer(&mut wire, stream, 2);
    }
    wire.turn();
    assert_eq!(order(&wire), [7, 7, 3, 5, 9, 3, 5, 9, 1, 1], "a malformed value says nothing");
}

/// RFC 9218 §7: the client changes its mind while content waits.
#[test]
fn priority_update_moves_a_response_that_waits() {
    let mut wire = open();
    wire.feed(&settings(&[(4, 0)]));
    let streams = [1, 3, 5].map(|id| take(&mut wire, &get_with(id, "u=3")));
    for stream in streams {
        answer(&mut wire, stream, 2);
    }
    wire.turn();
    wire.feed(&[update(5, "u=1"), update(1, "u=5, i"), update(3, "not, valid,"), update(3, "u=3")].concat());
    assert_eq!(order(&wire), [0; 0]);
    wire.feed(&settings(&[(4, 1 << 20)]));
    assert_eq!(order(&wire), [5, 5, 3, 3, 1, 1]);
    wire.feed(&update(1, "u=0"));
    assert_eq!(wire.goaway(), None, "a closed stream's is ignored");
}

/// RFC 9218 §7.1: it may come before its stream and is kept until then; it counts more than the field.
#[test]
fn priority_update_before_its_stream_is_kept_and_counts_more_than_the_field() {
    let mut wire = open();
    wire.feed(&[update(5, "u=7"), update(3, "u=1"), update(5, "u=0")].concat());
    for request in [get_with(1, "u=1"), get_with(5, "u=6")] {
        let stream = take(&mut wire, &request);
        answer(&mut wire, stream, 1);
    }
    wire.turn();
    assert_eq!(order(&wire), [5, 1]);
}

/// RFC 9218 §7.1: every rule of the frame, with its code.
#[test]
fn a_priority_update_against_the_rules_ends_the_connection() {
    let on_a_stream = frame(PRIORITY_UPDATE, 0, 1, &update(1, "u=1")[9..]);
    let short = frame(PRIORITY_UPDATE, 0, 0, &[0, 0, 0]);
    let cases = [
        (on_a_stream, PROTOCOL_ERROR),
        (short, Some(Reason::FRAME_SIZE_ERROR.0)),
        (update(0, "u=1"), PROTOCOL_ERROR),
        (update(2, "u=1"), PROTOCOL_ERROR),
        (update(1, ""), None),
        (update(1 | 1 << 31, "u=1"), None),
    ];
    for (bytes, code) in cases {
        let mut wire = Wire::server(Config::default());
        wire.feed(&bytes);
        assert_eq!(wire.goaway(), code, "{bytes:?}");
    }
    let mut client = Wire::client(Config::default());
    client.feed(&update(1, "u=1"));
    assert_eq!(client.goaway(), PROTOCOL_ERROR, "servers do not send it");
}

/// RFC 9218 §7.1: streams that are prioritised and idle, with those that are open, keep to MAX_CONCURRENT_STREAMS; so the
/// memory for them is bounded.
#[test]
fn priority_updates_for_more_streams_than_may_be_open_end_the_connection() {
    let config = Config { max_concurrent_streams: 8, ..Config::default() };
    let mut wire = Wire::server(config.clone());
    wire.feed(&[get(1), get(3)].concat());
    let updates: Vec<u8> = (0..6).flat_map(|n| update(101 + 2 * n, "u=1")).collect();
    wire.feed(&updates.repeat(3));
    assert_eq!(wire.goaway(), None);
    wire.feed(&update(201, "u=1"));
    assert_eq!(wire.goaway(), PROTOCOL_ERROR);

    let mut early = Wire::new(Connection::server(config, 0));
    let many: Vec<u8> = (0..900).flat_map(|n| update(1 + 2 * n, "u=1")).collect();
    early.feed(&[PREFACE, &settings(&[]), &many].concat());
    assert_eq!(early.goaway(), None, "it may not have seen our SETTINGS yet");
    early.feed(&[frame(SETTINGS, ACK, 0, &[]), update(9_001, "u=1")].concat());
    assert_eq!(early.goaway(), PROTOCOL_ERROR);
}

#[test]
fn priority_update_churn_is_a_flood() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&get(1));
    wire.feed(&update(1, "u=1").repeat(1_000));
    assert_eq!(wire.goaway(), None);
    wire.feed(&update(1, "u=1"));
    assert_eq!(wire.goaway(), Some(Reason::ENHANCE_YOUR_CALM.0));
}

/// RFC 9218 §8: the server may know better, and changes only what it mentions.
#[test]
fn a_responses_own_priority_counts_more_than_the_clients() {
    let mut wire = open();
    let late = take(&mut wire, &get_with(1, "u=0"));
    let early = take(&mut wire, &get_with(3, "u=5, i"));
    let also = take(&mut wire, &get_with(5, "u=1, i"));
    // Twice, so that the second comes out of the memory of heads that were sent before.
    for (stream, priority) in [(late, "u=6"), (early, "u=1"), (also, "u=1")] {
        let mut headers = HeaderMap::new();
        headers.insert("priority", HeaderValue::from_static(priority));
        wire.core.respond(stream, OK, &headers, false).unwrap();
        wire.core.send_data(stream, Bytes::from(vec![1; 40_000]), true).unwrap();
    }
    wire.turn();
    assert_eq!(order(&wire), [3, 5, 3, 5, 3, 5, 1, 1, 1]);
}

#[test]
fn a_server_reorders_its_responses_without_a_word_to_the_client() {
    let mut wire = open();
    let streams = [1, 3].map(|id| take(&mut wire, &get_with(id, "u=3")));
    for stream in streams {
        answer(&mut wire, stream, 1);
    }
    wire.core.prioritize(streams[0], Priority::new(4, false)).unwrap();
    wire.turn();
    assert_eq!(order(&wire), [3, 1]);
    assert!(wire.sent_of(PRIORITY_UPDATE).is_empty());
}

/// Frames other than DATA do not wait for content, however urgent it is.
#[test]
fn control_frames_and_heads_do_not_wait_behind_urgent_content() {
    let mut wire = open();
    let urgent = take(&mut wire, &get_with(1, "u=0"));
    answer(&mut wire, urgent, 32);
    let mut slices = [std::io::IoSlice::new(&[]); 64];
    let used = wire.core.poll_transmit(0, &mut slices);
    let turn: usize = slices[..used].iter().map(|slice| slice.len()).sum();
    wire.core.transmitted(turn);
    let late = take(&mut wire, &get_with(3, "u=7"));
    wire.core.respond(late, OK, &HeaderMap::new(), true).unwrap();
    wire.core.receive(Bytes::from(frame(PING, 0, 0, b"12345678")));
    assert!(wire.core.poll_event(0).is_none());
    wire.turn();
    let kinds: Vec<u8> = wire.sent.iter().take(2).map(|frame| frame.kind).collect();
    assert_eq!(kinds, [HEADERS, PING], "before the rest of the content");
}

/// A small piece would go out at once; behind more urgent content it waits.
#[test]
fn small_content_does_not_pass_content_that_is_more_urgent() {
    for (other, expected) in [("u=5", [3, 3, 3, 1]), ("u=1", [1, 3, 3, 3])] {
        let mut wire = open();
        let small = take(&mut wire, &get_with(1, other));
        let large = take(&mut wire, &get_with(3, "u=2"));
        answer(&mut wire, large, 3);
        wire.core.respond(small, OK, &HeaderMap::new(), false).unwrap();
        wire.core.send_data(small, Bytes::from_static(b"small"), true).unwrap();
        wire.turn();
        assert_eq!(order(&wire), expected);
    }
}

/// A queue holds 64 KiB and a turn of output 128: whoever is more urgent is asked for more before others fill the turn.
#[test]
fn an_urgent_stream_that_is_refilled_leaves_nothing_to_the_others() {
    let mut wire = open();
    let urgent = take(&mut wire, &get_with(1, "u=1"));
    let other = take(&mut wire, &get_with(3, "u=6"));
    let mut left = 1 << 20;
    for stream in [urgent, other] {
        wire.core.respond(stream, OK, &HeaderMap::new(), false).unwrap();
    }
    wire.core.send_data(other, Bytes::from(vec![2; 1 << 16]), true).unwrap();
    while left > 0 {
        while wire.core.send_capacity(urgent) > 0 && left > 0 {
            wire.core.send_data(urgent, Bytes::from(vec![1; 16_384]), left == 16_384).unwrap();
            left -= 16_384;
        }
        let mut slices = [std::io::IoSlice::new(&[]); 64];
        let used = wire.core.poll_transmit(0, &mut slices);
        let bytes = slices[..used].concat_all();
        wire.core.transmitted(bytes.len());
        assert!(!holds_data_of(&bytes, 3) || left == 0, "{left} bytes of the urgent one are not sent");
        while wire.core.poll_event(0).is_some() {}
    }
    assert!(!wire.core.has_output(), "the other one follows");
}

trait ConcatAll {
    fn concat_all(&self) -> Vec<u8>;
}

impl ConcatAll for [std::io::IoSlice<'_>] {
    fn concat_all(&self) -> Vec<u8> {
        self.iter().flat_map(|slice| slice.to_vec()).collect()
    }
}

fn holds_data_of(mut bytes: &[u8], stream: u32) -> bool {
    while bytes.len() >= 9 {
        let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
        if bytes[3] == DATA && bytes[5..9] == stream.to_be_bytes() {
            return true;
        }
        bytes = &bytes[9 + length..];
    }
    false
}

/// RFC 9218 §7.1 and §9: the client tells the server, and orders its own content alike.
#[test]
fn a_client_sends_the_field_and_priority_update_and_orders_its_own_content() {
    let mut wire = Wire::new(Connection::client(Config::default(), 0));
    wire.feed(&[settings(&[(4, 1 << 20), (9, 1)]), window_update(0, 1 << 20)].concat());
    wire.sent.clear();
    let request =
        |priority: &'static str| Request::post("http://a/").header("priority", priority).body(()).unwrap();
    let streams = ["u=5", "u=4", "u=2"].map(|value| wire.core.request(&request(value), false).unwrap());
    for stream in streams {
        wire.core.send_data(stream, Bytes::from(vec![1; 16_384]), true).unwrap();
    }
    wire.core.prioritize(streams[0], Priority::new(0, true)).unwrap();
    wire.turn();
    assert_eq!(order(&wire), [1, 5, 3]);
    let updates = wire.sent_of(PRIORITY_UPDATE);
    assert_eq!(updates.len(), 1);
    assert_eq!((updates[0].stream, updates[0].word(0)), (0, 1));
    assert_eq!(updates[0].payload[4..], b"u=0, i"[..]);

    wire.core.reset(streams[1], Reason::CANCEL);
    assert_eq!(wire.core.prioritize(streams[1], Priority::default()), Err(CommandError::StreamGone));
}

/// RFC 9218 §2.1.1: a server that did not say that it ignores the old priorities will ignore the new ones.
#[test]
fn a_client_sends_no_priority_update_to_a_server_without_use_for_it() {
    for (said, sent) in [(None, 1), (Some(&[][..]), 0), (Some(&[(9, 0)]), 0), (Some(&[(9, 1)]), 1)] {
        let mut wire = Wire::new(Connection::client(Config::default(), 0));
        if let Some(entries) = said {
            wire.feed(&settings(entries));
        }
        let request = Request::get("http://a/").body(()).unwrap();
        let stream = wire.core.request(&request, true).unwrap();
        wire.core.prioritize(stream, Priority::new(1, false)).unwrap();
        wire.turn();
        assert_eq!(wire.sent_of(PRIORITY_UPDATE).len(), sent, "{said:?}");
    }
}

/// RFC 9218 §7.1: nothing is said of a response that is complete; its request may still be on its way.
#[test]
fn a_client_says_nothing_of_a_response_that_has_come() {
    let mut wire = Wire::new(Connection::client(Config::default(), 0));
    wire.feed(&settings(&[(9, 1)]));
    let request = Request::post("http://a/").body(()).unwrap();
    let stream = wire.core.request(&request, false).unwrap();
    wire.feed(&frame(HEADERS, GET, 1, &[0x88]));
    wire.core.prioritize(stream, Priority::new(1, false)).unwrap();
    wire.turn();
    assert!(wire.sent_of(PRIORITY_UPDATE).is_empty());
}

/// RFC 9218 §2.1: also what would be wrong with them (RFC 7540 §5.3.1).
#[test]
fn the_old_signals_of_a_client_without_use_for_them_are_ignored() {
    let of_itself = [0, 0, 0, 1, 0];
    let head = [&of_itself[..], &request_block("POST", &[])].concat();
    for (entries, resets) in [(&[(9, 1)][..], 0), (&[], 1)] {
        for signal in [
            frame(HEADERS, 0x24, 1, &head),
            [h2_wire::post(1, &[]), frame(h2_wire::PRIORITY, 0, 1, &of_itself)].concat(),
        ] {
            let mut wire = Wire::new(Connection::server(Config::default(), 0));
            wire.feed(&[PREFACE, &settings(entries), &signal].concat());
            assert_eq!((wire.resets().len(), wire.goaway()), (resets, None), "{entries:?}");
        }
    }
}

/// RFC 9218 §2.1.
#[test]
fn both_ends_say_that_they_have_no_use_for_the_old_priorities() {
    for mut wire in [
        Wire::new(Connection::client(Config::default(), 0)),
        Wire::new(Connection::server(Config::default(), 0)),
    ] {
        wire.feed(PREFACE);
        wire.flush();
        let first = wire.sent_of(SETTINGS)[0];
        assert!(first.payload.chunks(6).any(|entry| entry == [0, 9, 0, 0, 0, 1]), "{:?}", first.payload);
    }
}

/// RFC 9218 §2.1: not after the first SETTINGS.
#[test]
fn a_peer_that_changes_its_mind_about_the_old_priorities_breaks_the_protocol() {
    for (first, then, code) in [
        (&[(9, 1)][..], &[(9, 1)][..], None),
        (&[(9, 1)], &[(9, 0)], PROTOCOL_ERROR),
        (&[], &[(9, 1)], PROTOCOL_ERROR),
        (&[], &[(9, 0)], None),
    ] {
        let mut wire = Wire::new(Connection::server(Config::default(), 0));
        wire.feed(&[PREFACE, &settings(first)].concat());
        wire.feed(&settings(then));
        assert_eq!(wire.goaway(), code, "{first:?} {then:?}");
    }
}

/// Whatever is asked, changed, reset and stalled in between: in the end every stream that lives has sent all it had.
#[test]
fn no_order_of_signals_loses_or_doubles_content() {
    for seed in 1..=60_u64 {
        let mut random = Random(seed);
        let mut wire = open();
        let mut expected = std::collections::BTreeMap::new();
        let mut streams: Vec<(u32, StreamKey)> = Vec::new();
        let mut id = 1;
        for _ in 0..200 {
            let priority = format!("u={}{}", random.below(9), ["", ", i"][random.below(2)]);
            match random.below(8) {
                0..=1 if streams.len() < 50 => {
                    let request = if random.below(4) == 0 { get(id) } else { get_with(id, &priority) };
                    let stream = take(&mut wire, &request);
                    wire.core.respond(stream, OK, &HeaderMap::new(), false).unwrap();
                    streams.push((id, stream));
                    expected.insert(id, 0);
                    id += 2;
                }
                2 => wire.feed(&update(id.saturating_sub(2 * random.below(60) as u32).max(1), &priority)),
                3 => wire.feed(&update(id + 2 * random.below(9) as u32, &priority)),
                4 => wire.feed(&settings(&[(4, [0, 1 << 20, 1 << 30][random.below(3)])])),
                5 if !streams.is_empty() => {
                    let (id, stream) = streams.swap_remove(random.below(streams.len()));
                    wire.core.reset(stream, Reason::CANCEL);
                    expected.remove(&id);
                }
                6 => wire.flush(),
                _ if !streams.is_empty() => {
                    let (id, stream) = streams[random.below(streams.len())];
                    let n = random.below(30_000);
                    wire.core.send_data(stream, Bytes::from(vec![1; n]), false).unwrap();
                    *expected.entry(id).or_insert(0) += n;
                }
                _ => {}
            }
        }
        wire.feed(&settings(&[(4, 1 << 30)]));
        assert_eq!(wire.goaway(), None, "seed {seed}");
        for (id, total) in expected {
            let sent = wire.sent_of(DATA);
            let sent: usize = sent.iter().filter(|it| it.stream == id).map(|it| it.payload.len()).sum();
            assert_eq!(sent, total, "seed {seed}, stream {id}");
        }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

/// The same through sockets: the response that was asked for last comes first, whole.
#[test]
fn a_server_on_a_socket_sends_the_urgent_response_first() {
    const LENGTH: usize = 200_000;
    let (report, address) = std::sync::mpsc::channel();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let serving = thread::spawn(move || {
        wakering::run(async move {
            let listener = wakering::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let handler = |_: wakering::http::Request<wakering::http::Body>| async {
                wakering::http::Response::new(wakering::http::Body::from(vec![7; LENGTH]))
            };
            let server = wakering::http::Server::start(listener, handler).unwrap();
            report.send(server.local_addr()).unwrap();
            let _ = wakering::spawn_blocking(move || stopped.recv()).unwrap().await;
            server.stop(Duration::from_secs(1)).await;
        })
    });
    let mut socket = TcpStream::connect(address.recv().unwrap()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let asked = [PREFACE.to_vec(), settings(&[(4, 0)]), get_with(1, "u=5"), get_with(3, "u=1")].concat();
    socket.write_all(&asked).unwrap();
    let mut order = Vec::new();
    let mut heads = 0;
    while order.iter().map(|&(_, length)| length).sum::<usize>() < 2 * LENGTH {
        let mut head = [0; 9];
        socket.read_exact(&mut head).unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        socket.read_exact(&mut payload).unwrap();
        match head[3] {
            HEADERS => heads += 1,
            DATA => order.push((head[8], payload.len())),
            _ => {}
        }
        if head[3] == HEADERS && heads == 2 {
            // Both are answered, and all content waits.
            let windows = [window_update(0, 1 << 20), settings(&[(4, 1 << 20)])].concat();
            socket.write_all(&windows).unwrap();
        }
    }
    let first: usize = order.iter().take_while(|&&(stream, _)| stream == 3).map(|&(_, length)| length).sum();
    assert_eq!(first, LENGTH, "{order:?}");
    assert_eq!(order.last().map(|&(stream, _)| stream), Some(1));
    assert!(heads == 2 && END_STREAM == 1);
    stop.send(()).unwrap();
    drop(socket);
    serving.join().unwrap().unwrap();
}
