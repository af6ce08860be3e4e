//! Flow control in both directions (RFC 9113 §5.2, §6.9): nothing passes a window, nothing stalls that need not,
//! and credit comes back in lumps.

#![expect(
    clippy::unwrap_used,
    reason = "tests may unwrap, and clippy takes only what is marked #[test] for one"
)]

#[path = "support/h2_wire.rs"]
mod h2_wire;

use bytes::Bytes;
use h2_wire::{
    DATA, END_STREAM, GET, HEADERS, PADDED, RST_STREAM, WINDOW_UPDATE, Wire, frame, get, post, request_block,
    rst_stream, settings, window_update,
};
use http::{HeaderMap, StatusCode};
use wakering::internals::h2::{Config, Event, StreamKey};

const OK: StatusCode = StatusCode::OK;

fn data_lengths(wire: &Wire, stream: u32) -> Vec<usize> {
    wire.sent_of(DATA)
        .iter()
        .filter(|frame| frame.stream == stream)
        .map(|frame| frame.payload.len())
        .collect()
}

fn data_total(wire: &Wire) -> usize {
    wire.sent_of(DATA).iter().map(|frame| frame.payload.len()).sum()
}

fn updates(wire: &Wire, stream: u32) -> Vec<u32> {
    wire.sent_of(WINDOW_UPDATE)
        .iter()
        .filter(|frame| frame.stream == stream)
        .map(|frame| frame.word(0))
        .collect()
}

/// Releases all content that was delivered.
fn release(wire: &mut Wire) -> usize {
    let mut total = 0;
    for event in std::mem::take(&mut wire.events) {
        if let Event::Data { stream, data, .. } = event {
            wire.core.release(stream, data.len());
            total += data.len();
        }
    }
    wire.turn();
    total
}

fn start(wire: &mut Wire, id: u32) -> StreamKey {
    wire.feed(&get(id));
    let stream = wire.stream();
    wire.core.respond(stream, OK, &HeaderMap::new(), false).unwrap();
    wire.turn();
    wire.sent.clear();
    stream
}

#[test]
fn a_response_stops_at_the_stream_window_and_goes_on_after_window_update() {
    let mut wire = Wire::server(Config::default());
    let stream = start(&mut wire, 1);
    wire.core.send_data(stream, Bytes::from(vec![1; 100_000]), true).unwrap();
    wire.turn();
    assert_eq!(data_total(&wire), 65_535);
    wire.feed(&window_update(1, 10));
    assert_eq!(data_total(&wire), 65_535, "the connection's window is closed");
    wire.feed(&window_update(0, 100_000));
    assert_eq!(data_total(&wire), 65_545);
    wire.feed(&window_update(1, 100_000));
    assert_eq!(data_total(&wire), 100_000);
    let last = wire.sent_of(DATA)[wire.sent_of(DATA).len() - 1].clone();
    assert_eq!(last.flags, END_STREAM);
}

#[test]
fn no_data_frame_passes_the_peers_max_frame_size() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&window_update(0, 1_000_000));
    wire.feed(&settings(&[(4, 1_000_000), (5, 20_000)]));
    let stream = start(&mut wire, 1);
    wire.core.send_data(stream, Bytes::from(vec![1; 70_000]), true).unwrap();
    wire.turn();
    assert_eq!(data_lengths(&wire, 1), [20_000, 20_000, 20_000, 10_000]);
}

#[test]
fn a_smaller_initial_window_drives_an_open_stream_negative_and_it_recovers() {
    let mut wire = Wire::server(Config::default());
    let stream = start(&mut wire, 1);
    wire.core.send_data(stream, Bytes::from(vec![1; 60_000]), false).unwrap();
    wire.turn();
    wire.feed(&settings(&[(4, 0)]));
    wire.core.send_data(stream, Bytes::from_static(b"more"), false).unwrap();
    wire.feed(&window_update(1, 60_000));
    assert_eq!(data_total(&wire), 60_000, "the window is exactly 0");
    wire.feed(&window_update(1, 1));
    assert_eq!(data_total(&wire), 60_001);
    wire.feed(&settings(&[(4, 3)]));
    assert_eq!(data_total(&wire), 60_004, "a larger initial window opens it too");
}

#[test]
fn large_responses_take_turns_frame_by_frame() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&window_update(0, 1 << 20));
    let streams = [1, 3, 5].map(|id| start(&mut wire, id));
    for stream in streams {
        wire.core.send_data(stream, Bytes::from(vec![1; 40_000]), true).unwrap();
    }
    wire.turn();
    let order: Vec<u32> = wire.sent_of(DATA).iter().map(|frame| frame.stream).collect();
    assert_eq!(order, [1, 3, 5, 1, 3, 5, 1, 3, 5]);
}

#[test]
fn a_small_response_does_not_wait_behind_a_large_one() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&window_update(0, 1 << 30));
    wire.feed(&settings(&[(4, 1 << 30)]));
    let large = start(&mut wire, 1);
    wire.core.send_data(large, Bytes::from(vec![1; 10 << 20]), true).unwrap();
    let small = start_without_turn(&mut wire, 3);
    wire.core.send_data(small, Bytes::from_static(b"small"), true).unwrap();
    wire.turn();
    let place = wire.sent_of(DATA).iter().position(|frame| frame.stream == 3).unwrap();
    assert!(place < 16, "behind {place} frames");
    assert_eq!(data_total(&wire), (10 << 20) + 5);
}

fn start_without_turn(wire: &mut Wire, id: u32) -> StreamKey {
    wire.core.receive(Bytes::from(get(id)));
    let Some(Event::Request { stream, .. }) = wire.core.poll_event(0) else { panic!("no request") };
    wire.core.respond(stream, OK, &HeaderMap::new(), false).unwrap();
    stream
}

#[test]
fn a_writer_without_room_is_told_when_there_is_some() {
    let mut wire = Wire::server(Config::default());
    let stream = start(&mut wire, 1);
    assert_eq!(wire.core.send_capacity(stream), 65_535);
    wire.core.send_data(stream, Bytes::from(vec![1; 65_535]), false).unwrap();
    assert_eq!(wire.core.send_capacity(stream), 0);
    wire.turn();
    wire.events.clear();
    wire.feed(&window_update(0, 10));
    assert!(wire.events.is_empty(), "the stream's window is still closed");
    wire.feed(&window_update(1, 7));
    assert!(matches!(wire.events[..], [Event::Writable { stream: told }] if told == stream));
    assert_eq!(wire.core.send_capacity(stream), 7);
    wire.events.clear();
    wire.feed(&window_update(1, 7));
    assert!(wire.events.is_empty(), "it was not asked for again");
}

#[test]
fn the_connections_window_wakes_every_writer_that_found_it_closed() {
    let mut wire = Wire::server(Config::default());
    let streams = [1, 3, 5].map(|id| start(&mut wire, id));
    wire.core.send_data(streams[0], Bytes::from(vec![1; 65_535]), false).unwrap();
    wire.turn();
    assert_eq!(streams.map(|stream| wire.core.send_capacity(stream)), [0, 0, 0]);
    wire.events.clear();
    wire.feed(&window_update(0, 100));
    let told: Vec<StreamKey> = wire
        .events
        .iter()
        .map(|event| match event {
            Event::Writable { stream } => *stream,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, streams[1..], "the first one's own window is closed");
}

#[test]
fn stalled_streams_do_not_eat_the_room_of_the_others() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&window_update(0, 1 << 30));
    let stalled: Vec<StreamKey> = (0..200).map(|n| start(&mut wire, 2 * n + 1)).collect();
    for stream in stalled {
        wire.core.send_data(stream, Bytes::from(vec![1; 65_535]), false).unwrap();
        wire.core.send_data(stream, Bytes::from(vec![1; 65_535]), false).unwrap();
    }
    wire.turn();
    let fresh = start(&mut wire, 1001);
    assert_eq!(wire.core.send_capacity(fresh), 65_535);
}

#[test]
fn content_that_is_not_released_closes_the_window_and_released_content_opens_it_in_halves() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&post(1, &[]));
    let chunk = frame(DATA, 0, 1, &[7; 16_384]);
    wire.feed(&chunk.repeat(4));
    assert!(updates(&wire, 1).is_empty());
    assert_eq!(release(&mut wire), 65_536);
    assert_eq!(updates(&wire, 1), [32_768, 32_768], "two halves, not four frames");
    for _ in 0..1_000 {
        wire.feed(&chunk);
        release(&mut wire);
    }
    assert!(wire.goaway().is_none());
    let credit: u32 = updates(&wire, 1).iter().sum();
    assert_eq!(credit as usize, 1_004 * 16_384);
    assert!(updates(&wire, 1).len() <= 502);
    assert!(updates(&wire, 0).len() <= 1_004 / 32 + 1, "one for half a MiB: {}", updates(&wire, 0).len());
}

#[test]
fn the_connection_window_bounds_all_streams_together() {
    let mut wire = Wire::server(Config::default());
    for id in (1..).step_by(2).take(17) {
        wire.feed(&post(id, &[]));
        wire.feed(&frame(DATA, 0, id, &[7; 16_384]).repeat(4));
    }
    assert_eq!(wire.goaway(), Some(3), "the 65th frame passes 1 MiB");
}

#[test]
fn padding_is_given_back_without_the_application() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&post(1, &[]));
    let mut payload = vec![255, 1];
    payload.resize(2 + 255, 0);
    for _ in 0..20_000 {
        wire.feed(&frame(DATA, PADDED, 1, &payload));
        release(&mut wire);
    }
    assert!(wire.goaway().is_none() && wire.resets().is_empty());
}

#[test]
fn content_for_a_stream_that_is_gone_gives_the_connection_its_window_back() {
    let mut wire = Wire::server(Config::default());
    for id in (1..).step_by(2).take(90) {
        wire.feed(&post(id, &[]));
        let stream = wire.stream();
        wire.feed(&frame(DATA, 0, id, &[7; 16_384]).repeat(2));
        wire.core.respond(stream, OK, &HeaderMap::new(), true).unwrap();
        wire.core.finish(stream);
        // The rest was on its way when the answer went out.
        wire.feed(&frame(DATA, 0, id, &[7; 16_384]).repeat(2));
        assert_eq!(wire.core.open_streams(), 1, "64 KiB are thrown away without a word");
        wire.feed(&frame(DATA, 0, id, &[7; 16_384]).repeat(3));
    }
    assert!(wire.goaway().is_none());
    assert_eq!(wire.sent_of(RST_STREAM).len(), 90, "NO_ERROR each (RFC 9113 §8.1)");
    assert!(wire.resets().iter().all(|&(_, code)| code == 0));
    assert_eq!(wire.core.open_streams(), 0);
}

#[test]
fn a_small_window_of_ours_holds_only_once_it_is_acknowledged() {
    let config = Config { stream_window: 1_000, ..Config::default() };
    let mut wire = Wire::new(wakering::internals::h2::Connection::server(config, 0));
    wire.feed(&[h2_wire::PREFACE, &settings(&[])].concat());
    wire.feed(&post(1, &[]));
    wire.feed(&frame(DATA, 0, 1, &[7; 16_384]));
    assert!(wire.resets().is_empty(), "the client did not know yet");
    wire.feed(&frame(h2_wire::SETTINGS, h2_wire::ACK, 0, &[]));
    wire.feed(&post(3, &[]));
    wire.feed(&frame(DATA, 0, 3, &[7; 1_000]));
    assert!(wire.resets().is_empty());
    wire.feed(&frame(DATA, 0, 3, &[7; 1]));
    assert_eq!(wire.resets(), [(3, 3)]);
}

#[test]
fn streams_above_the_limit_are_refused_and_a_stream_counts_until_its_handler_is_gone() {
    let config = Config { max_concurrent_streams: 2, ..Config::default() };
    let mut wire = Wire::server(config);
    wire.feed(&[get(1), get(3), get(5)].concat());
    assert_eq!(wire.resets(), [(5, 7)]);
    wire.feed(&rst_stream(1, 8));
    wire.feed(&get(7));
    assert_eq!(wire.resets(), [(5, 7), (7, 7)], "the reset stream's handler still runs");
    let first = wire
        .events
        .iter()
        .find_map(|event| match event {
            Event::Reset { stream, .. } => Some(*stream),
            _ => None,
        })
        .unwrap();
    wire.core.finish(first);
    wire.feed(&get(9));
    assert_eq!(wire.resets().len(), 2);
    assert!(wire.goaway().is_none());
}

#[test]
fn a_thousand_refused_streams_cost_the_client_only_those() {
    let mut wire = Wire::server(Config::default());
    let opened: Vec<u8> = (0..1_000)
        .flat_map(|n| {
            let id = 2 * n + 1;
            [
                frame(HEADERS, GET & !END_STREAM, id, &request_block("POST", &[])),
                frame(DATA, END_STREAM, id, b"x"),
            ]
            .concat()
        })
        .collect();
    wire.feed(&opened);
    assert!(wire.goaway().is_none());
    assert_eq!(wire.resets().len(), 1_000 - 256);
    assert!(wire.resets().iter().all(|&(_, code)| code == 7));
}
