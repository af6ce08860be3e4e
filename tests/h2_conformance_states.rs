//! Corners of RFC 9113 that a table of single violations does not reach: what counts after GOAWAY, which ids
//! are gone, and which deadlines run when.

#[path = "support/h2_wire.rs"]
mod h2_wire;

use std::io::IoSlice;

use bytes::Bytes;
use h2_wire::{
    ACK, DATA, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, PING, PREFACE, SETTINGS, Wire, fields, frame,
    get, post, request_block, settings, window_update,
};
use http::{HeaderMap, StatusCode};
use wakering::internals::h2::{Config, Connection, Event};

const PROTOCOL_ERROR: u32 = 1;
const STREAM_CLOSED: u32 = 5;
const SECOND: u64 = 1_000_000_000;

/// Answers the latest request without content and lets go of it.
fn answer(wire: &mut Wire) {
    let stream = wire.stream();
    wire.core.respond(stream, StatusCode::OK, &HeaderMap::new(), true).expect("an open stream");
    wire.core.finish(stream);
    wire.turn();
}

/// Announces the end and lets the client confirm it: the final GOAWAY is out.
fn go_away(wire: &mut Wire) {
    wire.core.shutdown();
    wire.turn();
    let ping = wire.sent_of(PING).last().expect("a PING behind GOAWAY").payload.clone();
    wire.feed(&frame(PING, ACK, 0, &ping));
}

fn last_streams(wire: &Wire) -> Vec<u32> {
    wire.sent_of(GOAWAY).iter().map(|frame| frame.word(0)).collect()
}

/// RFC 9113 §6.8: streams above the last one are ignored, their DATA too, while those below go on.
#[test]
fn streams_above_the_final_goaway_are_ignored_with_their_content() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&post(1, &[]));
    go_away(&mut wire);
    assert_eq!(last_streams(&wire), [0x7fff_ffff, 1]);
    wire.feed(&[post(3, &[]), frame(DATA, 0, 3, b"late"), frame(DATA, END_STREAM, 3, b"")].concat());
    wire.feed(&[get(5), frame(HEADERS, GET, 3, &request_block("GET", &[]))].concat());
    assert!(!wire.core.is_closed(), "{:?}", wire.events);
    wire.feed(&frame(DATA, END_STREAM, 1, b"in time"));
    answer(&mut wire);
    assert!(matches!(wire.events.last(), Some(Event::Closed { error: None })), "{:?}", wire.events);
}

/// RFC 9113 §6.8: the last stream of a later GOAWAY must not be higher.
#[test]
fn an_error_after_goaway_does_not_raise_the_last_stream() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&post(1, &[]));
    go_away(&mut wire);
    wire.feed(&[get(7), frame(PING, 0, 1, &[0; 8])].concat());
    assert_eq!(last_streams(&wire), [0x7fff_ffff, 1, 1]);
    assert_eq!(wire.goaway(), Some(PROTOCOL_ERROR));
    let mut wire = Wire::server(Config::default());
    wire.feed(&post(1, &[]));
    go_away(&mut wire);
    wire.feed(&get(7));
    wire.core.goaway(wakering::internals::h2::Reason::NO_ERROR, b"");
    wire.turn();
    assert_eq!(last_streams(&wire), [0x7fff_ffff, 1, 1]);
}

/// RFC 9113 §5.1.1: an id below the highest that was never used is an unexpected one.
#[test]
fn an_id_that_was_skipped_cannot_be_opened_later() {
    for (first, skipped) in [(3, 1), (5, 1), (5, 3), (4095, 1), (8001, 7999), (8001, 3907)] {
        let mut wire = Wire::server(Config::default());
        wire.feed(&[get(first), get(skipped)].concat());
        assert_eq!(wire.goaway(), Some(PROTOCOL_ERROR), "{skipped} after {first}");
    }
}

/// RFC 9113 §5.1: a stream that both sides ended, also the first, also behind a gap.
#[test]
fn headers_on_a_completed_stream_behind_a_gap_are_stream_closed() {
    for first in [1, 3, 5, 4099] {
        let mut wire = Wire::server(Config::default());
        wire.feed(&get(first));
        answer(&mut wire);
        wire.feed(&get(first));
        assert_eq!(wire.goaway(), Some(STREAM_CLOSED), "{first}");
    }
}

/// RFC 9113 §8.3.1: `http` has a mandatory authority, so `:authority` or `host` must be there.
#[test]
fn a_request_without_authority_and_host_is_malformed() {
    let head = [(":method", "GET"), (":scheme", "http"), (":path", "/")];
    let mut wire = Wire::server(Config::default());
    wire.feed(&frame(HEADERS, GET, 1, &fields(&head)));
    assert_eq!(wire.resets(), [(1, PROTOCOL_ERROR)]);
    let with_host = [&head[..], &[("host", "a")]].concat();
    wire.feed(&frame(HEADERS, GET, 3, &fields(&with_host)));
    assert!(matches!(&wire.events[..], [Event::Request { .. }]), "{:?}", wire.events);
}

/// The time for a frame begins with that frame: a busy connection whose reads always end inside one is healthy.
#[test]
fn frames_that_come_in_two_parts_each_do_not_add_up_to_a_timeout() {
    let mut wire = Wire::server(Config::default());
    let ping = frame(PING, 0, 0, &[7; 8]);
    wire.feed(&[&post(1, &[]), &ping[..12]].concat());
    for _ in 0..10 {
        wire.now += 6 * SECOND;
        wire.core.handle_timeout(wire.now);
        wire.feed(&[&ping[12..], &ping[..12]].concat());
        assert!(!wire.core.is_closed(), "{:?}", wire.events);
    }
    wire.now += 10 * SECOND;
    wire.core.handle_timeout(wire.now);
    wire.turn();
    assert!(wire.core.is_closed(), "one frame that does not end is a timeout");
}

/// The same for a header block: each has its own time, and CONTINUATION frames do not prolong it.
#[test]
fn a_header_block_that_drips_is_a_timeout() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&frame(HEADERS, END_STREAM, 1, &fields(&[(":method", "GET")])));
    for _ in 0..3 {
        wire.now += 3 * SECOND;
        wire.core.handle_timeout(wire.now);
        wire.feed(&frame(9, 0, 1, &[]));
        assert!(!wire.core.is_closed());
    }
    wire.now += SECOND;
    wire.core.handle_timeout(wire.now);
    assert!(wire.core.is_closed());
}

/// What `poll_transmit` shows, of which the socket takes only `n` bytes.
fn write(core: &mut Connection, now: u64, n: usize) {
    let mut slices = [IoSlice::new(&[]); 64];
    let used = core.poll_transmit(now, &mut slices);
    let waiting: usize = slices[..used].iter().map(|slice| slice.len()).sum();
    core.transmitted(n.min(waiting));
}

/// A server with a download of 4 MiB under way and windows wide open.
fn downloading() -> Wire {
    let mut wire = Wire::server(Config { stream_queue_bytes: 8 << 20, ..Config::default() });
    wire.feed(&[settings(&[(4, 1 << 30)]), window_update(0, 1 << 30), get(1)].concat());
    let stream = wire.stream();
    wire.core.respond(stream, StatusCode::OK, &HeaderMap::new(), false).expect("an open stream");
    wire.core.send_data(stream, Bytes::from(vec![0; 4 << 20]), true).expect("an open stream");
    wire
}

/// An acknowledgement counts until it is written, not until everything is: a client that measures round trips
/// while it downloads slowly is no flood.
#[test]
fn pings_beside_a_slow_download_are_no_flood() {
    let mut wire = downloading();
    for round in 0..60 {
        wire.core.receive(Bytes::from(frame(PING, 0, 0, &[round; 8])));
        assert!(wire.core.poll_event(wire.now).is_none(), "round {round}");
        assert!(!wire.core.is_closed(), "round {round}");
        for _ in 0..3 {
            write(&mut wire.core, wire.now, 20_000);
        }
    }
}

#[test]
fn pings_that_nobody_reads_are_a_flood() {
    let mut wire = downloading();
    write(&mut wire.core, 0, 100);
    wire.core.receive(Bytes::from(frame(PING, 0, 0, &[0; 8]).repeat(17)));
    let error = wire.core.poll_event(0);
    assert!(matches!(error, Some(Event::Closed { error: Some(_) })), "{error:?}");
}

/// The send deadline runs whenever something waits, also behind a write that took a part.
#[test]
fn a_reader_that_stops_after_a_part_runs_into_the_send_deadline() {
    let mut wire = downloading();
    write(&mut wire.core, 0, 1000);
    let deadline = wire.core.next_deadline(SECOND).expect("a deadline for the rest");
    assert_eq!(deadline, 30 * SECOND);
    wire.core.handle_timeout(deadline);
    assert!(wire.core.is_closed());
}

/// RFC 9113 §6.9: an empty DATA frame needs no window, not even a positive one.
#[test]
fn an_empty_data_frame_ends_a_stream_whose_window_is_negative() {
    let config = Config { stream_window: 10, ..Config::default() };
    let mut wire = Wire::new(Connection::server(config, 0));
    wire.feed(&[PREFACE, &settings(&[]), &post(1, &[])].concat());
    wire.feed(&frame(DATA, 0, 1, &[0; 16_000]));
    // The acknowledgement makes the window 10 - 16,000.
    wire.feed(&[frame(SETTINGS, ACK, 0, &[]), frame(DATA, END_STREAM, 1, &[])].concat());
    assert_eq!(wire.resets(), []);
    assert!(matches!(wire.events.last(), Some(Event::Data { end: true, .. })), "{:?}", wire.events);
}

/// RFC 9113 §6.5.2: 16,384 is the least that SETTINGS_MAX_FRAME_SIZE may say, whatever the configuration wants.
#[test]
fn a_frame_of_16_kib_is_always_accepted() {
    let mut wire = Wire::server(Config { max_frame_size: 100, ..Config::default() });
    wire.feed(&[post(1, &[]), frame(DATA, END_STREAM, 1, &[0; 16_384])].concat());
    assert_eq!(wire.goaway(), None);
    assert_eq!(wire.resets(), []);
}

/// RFC 7541 §7.1.3: what must not be indexed stays so when crumbs are joined.
#[test]
fn a_joined_cookie_is_sensitive_when_a_crumb_was() {
    let mut block = request_block("GET", &[("cookie", "a=1")]);
    let mut secret = fields(&[("cookie", "b=2")]);
    secret[0] = 0x10;
    block.extend(secret);
    let mut wire = Wire::server(Config::default());
    wire.feed(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block));
    let [Event::Request { request, .. }] = &wire.events[..] else { panic!("{:?}", wire.events) };
    let cookie = &request.headers()["cookie"];
    assert_eq!(cookie, "a=1; b=2");
    assert!(cookie.is_sensitive());
}
