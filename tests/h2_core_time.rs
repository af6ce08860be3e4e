//! Peers that are slow on purpose or gone: what ends them, when, and what is legal and goes on (RFC 9113 §6.7, §6.8, §10.5).

#![cfg(not(loom))]
#![expect(
    clippy::unwrap_used,
    reason = "tests may unwrap, and clippy takes only what is marked #[test] for one"
)]

#[path = "support/h2_wire.rs"]
mod h2_wire;
#[path = "support/link.rs"]
mod link;

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use h2_wire::{
    ACK, DATA, END_HEADERS, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, Wire, fields, frame, get, post,
    settings, window_update,
};
use http::{HeaderMap, Request, StatusCode};
use link::{GIGABIT, Link, MS};
use wakering::internals::h2::{Config, Connection, Event, Reason, StreamKey, Trip};

const SECOND: u64 = 1_000_000_000;
const OK: StatusCode = StatusCode::OK;

/// Lets seconds pass, each with something that the peer sends; ends early when the connection does.
fn pass(wire: &mut Wire, seconds: u64, mut sends: impl FnMut(u64) -> Vec<u8>) -> u64 {
    for second in 1..=seconds {
        wire.now += SECOND;
        if wire.core.next_deadline(wire.now).is_some_and(|due| due <= wire.now) {
            wire.core.handle_timeout(wire.now);
        }
        let bytes = sends(second);
        if !bytes.is_empty() {
            wire.feed(&bytes);
        }
        wire.turn();
        if wire.core.is_closed() {
            return second;
        }
        wire.core.next_deadline(wire.now);
    }
    seconds
}

fn silent(wire: &mut Wire, seconds: u64) -> u64 {
    pass(wire, seconds, |_| Vec::new())
}

fn trips(wire: &Wire, trip: Trip) -> u64 {
    wire.core.stats().trips.of(trip)
}

fn trip(wire: &Wire) -> Option<Trip> {
    match wire.events.last() {
        Some(Event::Closed { error }) => error.and_then(|error| error.trip),
        _ => None,
    }
}

/// A request without END_STREAM whose handler answers with this much content, as far as the windows allow.
fn download(wire: &mut Wire, id: u32, n: usize) -> StreamKey {
    wire.feed(&get(id));
    let stream = wire.stream();
    wire.core.respond(stream, OK, &HeaderMap::new(), false).unwrap();
    wire.core.send_data(stream, Bytes::from(vec![1; n]), true).unwrap();
    wire.turn();
    stream
}

fn alive(interval: u64) -> Config {
    Config {
        keep_alive_interval: Some(Duration::from_secs(interval)),
        keep_alive_timeout: Duration::from_secs(7),
        ..Config::default()
    }
}

/// RFC 9113 §6.7: PING shows whether the connection is still there.
#[test]
fn a_silent_peer_is_asked_after_the_interval_and_left_when_it_does_not_answer() {
    for mut wire in [Wire::server(alive(20)), Wire::client(alive(20))] {
        if wire.core.role() == wakering::internals::h2::Role::Server {
            wire.feed(&get(1));
        } else {
            wire.core.request(&Request::get("http://a/").body(()).unwrap(), true).unwrap();
        }
        wire.turn();
        assert_eq!(wire.core.next_deadline(wire.now), Some(20 * SECOND));
        silent(&mut wire, 19);
        assert!(wire.sent_of(PING).is_empty());
        silent(&mut wire, 1);
        assert_eq!(wire.sent_of(PING).len(), 1);
        assert_eq!(silent(&mut wire, 60), 7);
        assert_eq!(trip(&wire), Some(Trip::KeepAlive));
    }
}

#[test]
fn a_peer_that_answers_or_sends_anything_is_there() {
    let mut wire = Wire::server(alive(20));
    wire.feed(&post(1, &[]));
    assert_eq!(wire.core.next_deadline(0), Some(20 * SECOND));
    for _ in 0..50 {
        assert_eq!(silent(&mut wire, 20), 20);
        let pings = wire.sent_of(PING);
        assert_eq!(pings.len(), 1, "once for a silence");
        let answer = frame(PING, ACK, 0, &pings[0].payload);
        wire.sent.clear();
        wire.feed(&answer);
        assert_eq!(wire.core.next_deadline(wire.now), Some(wire.now + 20 * SECOND));
    }
    assert_eq!(wire.events.len(), 1, "the application hears nothing of it");
    // Any byte will do for an answer, and while they come nobody asks.
    assert_eq!(pass(&mut wire, 1_000, |_| frame(DATA, 0, 1, b"x")), 1_000);
    assert!(wire.sent_of(PING).is_empty());
    assert!(!wire.core.is_closed());
}

/// Who takes what we send, slowly, cannot have read the PING behind it: the deadline for output is the one that counts.
#[test]
fn a_peer_that_is_still_reading_is_not_asked_behind_what_it_reads() {
    let config = Config { stream_queue_bytes: 1 << 20, ..alive(20) };
    let mut wire = Wire::server(config);
    wire.feed(&[settings(&[(4, 1 << 20)]), window_update(0, 1 << 20), get(1)].concat());
    let stream = wire.stream();
    wire.sent.clear();
    wire.core.respond(stream, OK, &HeaderMap::new(), false).unwrap();
    wire.core.send_data(stream, Bytes::from(vec![1; 100_000]), true).unwrap();
    for second in 1..=300 {
        write(&mut wire.core, second * SECOND, 300);
        if wire.core.next_deadline(second * SECOND).is_some_and(|due| due <= second * SECOND) {
            wire.core.handle_timeout(second * SECOND);
        }
        assert!(!wire.core.is_closed(), "second {second}");
    }
    wire.now = 300 * SECOND;
    wire.turn();
    assert!(wire.sent_of(PING).is_empty());
}

/// The stream has ended for us, but not for who is still reading its last frames.
#[test]
fn a_connection_is_not_idle_while_its_last_answer_is_being_read() {
    let mut wire = Wire::server(Config { send_timeout: Duration::from_secs(10), ..Config::default() });
    wire.feed(&get(1));
    let stream = wire.stream();
    wire.core.respond(stream, OK, &HeaderMap::new(), false).unwrap();
    wire.core.send_data(stream, Bytes::from(vec![1; 30_000]), true).unwrap();
    wire.core.finish(stream);
    for second in 1..=90 {
        write(&mut wire.core, second * SECOND, 300);
        wire.core.handle_timeout(second * SECOND);
        while wire.core.poll_event(second * SECOND).is_some() {}
        assert_eq!(wire.core.stats().trips.of(Trip::IdleTimeout), 0, "second {second}");
    }
    wire.now = 90 * SECOND;
    wire.flush();
    assert_eq!(wire.core.stats().streams_open, 0);
    silent(&mut wire, 60);
    assert_eq!(trips(&wire, Trip::IdleTimeout), 1);
}

/// What TLS has accepted is not with the socket yet.
#[test]
fn what_the_transport_holds_is_judged_by_what_the_socket_takes_of_it() {
    let send = Config::default().send_timeout.as_secs();
    for (takes, tripped) in [(10_000, 0), (10, 1), (0, 1)] {
        let mut wire = Wire::server(Config::default());
        wire.feed(&get(1));
        let stream = wire.stream();
        wire.core.respond(stream, OK, &HeaderMap::new(), false).unwrap();
        wire.core.send_data(stream, Bytes::from(vec![1; 60_000]), true).unwrap();
        wire.core.finish(stream);
        wire.flush();
        wire.core.held_below(60_000);
        wire.core.held_below(60_000 - takes);
        wire.core.handle_timeout(send * SECOND);
        assert_eq!(trips(&wire, Trip::SendStall), tripped, "{takes}");
        if tripped == 0 {
            wire.core.held_below(0);
            wire.core.handle_timeout(2 * send * SECOND);
            assert_eq!(trips(&wire, Trip::SendStall), 0, "all of it was taken");
        }
    }
}

#[test]
fn nobody_is_asked_unless_it_is_configured() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&get(1));
    assert_eq!(wire.core.next_deadline(wire.now), None);
    assert_eq!(silent(&mut wire, 10_000), 10_000);
    assert!(wire.sent_of(PING).is_empty() && !wire.core.is_closed());
}

/// Slow POST: content is announced and dribbles. It costs its own stream.
#[test]
fn a_request_whose_content_dribbles_is_reset_and_the_others_go_on() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&[post(1, &[("content-length", "100000")]), post(3, &[("content-length", "100000")])].concat());
    let sends = |second| {
        let slow = if second % 2 == 0 { frame(DATA, 0, 1, b"x") } else { Vec::new() };
        [slow, frame(DATA, 0, 3, &[1; 250])].concat()
    };
    for _ in 0..40 {
        pass(&mut wire, 1, sends);
        release_all(&mut wire);
        assert!(!wire.core.is_closed());
    }
    assert_eq!(wire.resets(), [(1, Reason::ENHANCE_YOUR_CALM.0)]);
    assert_eq!(trips(&wire, Trip::BodyRate), 1);
    assert!(
        wire.events
            .iter()
            .any(|event| matches!(event, Event::Reset { text, .. } if text == &Trip::BodyRate.text()))
    );
}

fn release_all(wire: &mut Wire) {
    for event in &wire.events {
        if let Event::Data { stream, data, .. } = event {
            wire.core.release(*stream, data.len());
        }
    }
    wire.events.retain(|event| !matches!(event, Event::Data { .. }));
}

/// The same towards a client: what the head of a response announced does not come.
#[test]
fn a_response_whose_content_dribbles_is_given_up_and_one_that_has_not_begun_is_not() {
    let mut wire = Wire::client(Config::default());
    for _ in 0..2 {
        wire.core.request(&Request::get("http://a/").body(()).unwrap(), true).unwrap();
    }
    wire.feed(&frame(HEADERS, END_HEADERS, 1, &fields(&[(":status", "200"), ("content-length", "5000")])));
    for _ in 0..30 {
        pass(&mut wire, 1, |_| frame(DATA, 0, 1, b"x"));
        release_all(&mut wire);
    }
    assert_eq!(wire.resets(), [(1, Reason::ENHANCE_YOUR_CALM.0)]);
}

/// RUDY: the head announces content, and nothing follows.
#[test]
fn a_request_whose_content_never_begins_is_reset_within_twice_the_grace() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&post(1, &[("content-length", "5")]));
    silent(&mut wire, 10);
    assert!(wire.resets().is_empty());
    silent(&mut wire, 10);
    assert_eq!(wire.resets().len(), 1);
}

/// A message of unknown length owes nothing between its frames: gRPC streams, tunnels, long polls.
#[test]
fn a_stream_without_content_length_may_be_silent_for_an_hour() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&post(1, &[]));
    let connect = [(":method", "CONNECT"), (":authority", "a:1")];
    wire.feed(&frame(HEADERS, END_HEADERS, 3, &fields(&connect)));
    wire.feed(&frame(DATA, 0, 1, b"hello"));
    for event in &wire.events {
        if let Event::Request { stream, .. } = event {
            wire.core.respond(*stream, OK, &HeaderMap::new(), false).unwrap();
        }
    }
    assert_eq!(silent(&mut wire, 3_600), 3_600);
    assert!(wire.resets().is_empty() && !wire.core.is_closed());
}

/// Whoever waits for us is not slow: content lies unread, or `100 (Continue)` has not gone out (RFC 9110 §10.1.1).
#[test]
fn a_request_that_waits_for_us_is_not_slow() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&post(1, &[("content-length", "1000")]));
    wire.feed(&frame(DATA, 0, 1, &[1; 100]));
    wire.feed(&post(3, &[("content-length", "1000"), ("expect", "100-continue")]));
    let expecting = wire.stream();
    silent(&mut wire, 600);
    assert!(wire.resets().is_empty());
    wire.core.inform(expecting, StatusCode::CONTINUE, &HeaderMap::new()).unwrap();
    silent(&mut wire, 30);
    assert_eq!(wire.resets(), [(3, Reason::ENHANCE_YOUR_CALM.0)], "now it is invited");
    release_all(&mut wire);
    silent(&mut wire, 30);
    assert_eq!(wire.resets().len(), 2, "now it has been read");
}

/// What is remembered of requests that expect `100 (Continue)` does not outlive them.
#[test]
fn a_flood_of_expectations_is_forgotten_with_its_streams() {
    let mut wire = Wire::server(Config::default());
    for n in 0..20_000 {
        wire.feed(&post(2 * n + 1, &[("content-length", "5"), ("expect", "100-continue")]));
        let stream = wire.stream();
        wire.feed(&frame(DATA, 1, 2 * n + 1, b"12345"));
        wire.core.respond(stream, OK, &HeaderMap::new(), true).unwrap();
        wire.core.finish(stream);
        wire.events.clear();
        wire.sent.clear();
    }
    wire.feed(&post(40_001, &[("content-length", "5"), ("expect", "100-continue")]));
    silent(&mut wire, 100);
    assert!(wire.resets().is_empty() && !wire.core.is_closed());
    let stream = wire.stream();
    wire.core.inform(stream, StatusCode::CONTINUE, &HeaderMap::new()).unwrap();
    silent(&mut wire, 30);
    assert_eq!(wire.resets().len(), 1);
}

/// A DATA frame that has begun holds up the whole connection.
#[test]
fn a_data_frame_that_does_not_end_ends_the_connection() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&post(1, &[]));
    wire.feed(&frame(DATA, 0, 1, &[1; 16_384])[..100]);
    assert!(pass(&mut wire, 60, |_| vec![1]) <= 20);
    assert_eq!(trip(&wire), Some(Trip::BodyRate));

    let mut slow = Wire::server(Config::default());
    slow.feed(&post(1, &[]));
    slow.feed(&frame(DATA, 0, 1, &[1; 16_384])[..9]);
    assert_eq!(pass(&mut slow, 60, |_| vec![1; 250]), 60, "slow, and legal");
}

/// CVE-2026-49975: content is pinned by a closed window that drips open.
#[test]
fn a_window_that_drips_open_does_not_keep_a_stream_alive() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&[settings(&[(4, 10)]), window_update(0, 1 << 20)].concat());
    download(&mut wire, 1, 60_000);
    let other = download(&mut wire, 3, 5);
    wire.core.finish(other);
    pass(&mut wire, 29, |_| window_update(1, 1));
    assert!(wire.resets().is_empty());
    pass(&mut wire, 12, |_| window_update(1, 1));
    assert_eq!(wire.resets(), [(1, Reason::ENHANCE_YOUR_CALM.0)]);
    assert_eq!(trips(&wire, Trip::StreamStall), 1);
    assert!(!wire.core.is_closed());
}

/// The same when nothing is queued here: the handler waits for room.
#[test]
fn a_handler_that_waits_for_a_window_which_drips_open_is_freed() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&[settings(&[(4, 0)]), window_update(0, 1 << 20), get(1)].concat());
    let stream = wire.stream();
    wire.core.respond(stream, OK, &HeaderMap::new(), false).unwrap();
    assert_eq!(wire.core.send_capacity(stream), 0);
    for _ in 0..45 {
        pass(&mut wire, 1, |_| window_update(1, 1));
        while wire.core.send_capacity(stream) > 0 {
            wire.core.send_data(stream, Bytes::from_static(b"x"), false).unwrap();
        }
    }
    assert_eq!(wire.resets().len(), 1);
    assert!(wire.events.iter().any(|event| matches!(event, Event::Reset { .. })));
}

#[test]
fn a_reader_that_takes_the_least_rate_goes_on_for_ever() {
    let mut wire = Wire::server(Config { stream_queue_bytes: 1 << 20, ..Config::default() });
    wire.feed(&[settings(&[(4, 0)]), window_update(0, 1 << 20)].concat());
    download(&mut wire, 1, 600_000);
    assert_eq!(pass(&mut wire, 2_000, |_| window_update(1, 250)), 2_000);
    assert!(wire.resets().is_empty());
}

/// The window is opened by the setting too (RFC 9113 §6.9.2).
#[test]
fn credit_by_a_larger_initial_window_counts() {
    let mut wire = Wire::server(Config { stream_queue_bytes: 1 << 20, ..Config::default() });
    wire.feed(&[settings(&[(4, 0)]), window_update(0, 1 << 20)].concat());
    download(&mut wire, 1, 600_000);
    let grows = |second: u64| settings(&[(4, second as u32 * 250)]);
    assert_eq!(pass(&mut wire, 600, grows), 600);
    assert!(wire.resets().is_empty());
}

/// The connection's window holds up every stream alike.
#[test]
fn a_connection_window_that_drips_open_ends_the_connection() {
    let mut wire = Wire::server(Config::default());
    download(&mut wire, 1, 60_000);
    download(&mut wire, 3, 60_000);
    let ended = pass(&mut wire, 100, |_| window_update(0, 1));
    assert!((30..=42).contains(&ended), "{ended}");
    assert_eq!(trip(&wire), Some(Trip::StreamStall));

    let mut slow = Wire::server(Config::default());
    download(&mut slow, 1, 60_000);
    download(&mut slow, 3, 60_000);
    assert_eq!(pass(&mut slow, 200, |_| window_update(0, 250)), 200, "slow, and legal");
    assert!(slow.resets().is_empty());
}

#[test]
fn streams_with_open_windows_and_nothing_to_say_are_left_alone() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&get(1));
    let stream = wire.stream();
    wire.core.respond(stream, OK, &HeaderMap::new(), false).unwrap();
    for _ in 0..100 {
        wire.core.send_data(stream, Bytes::from_static(b"data: tick\n\n"), false).unwrap();
        silent(&mut wire, 60);
    }
    assert!(wire.resets().is_empty() && !wire.core.is_closed());
}

/// A client's upload may wait for the server's window just as long.
#[test]
fn a_client_gives_up_an_upload_that_the_server_does_not_take() {
    let mut wire = Wire::client(Config::default());
    wire.feed(&settings(&[(4, 0)]));
    let request = Request::post("http://a/").body(()).unwrap();
    let stream = wire.core.request(&request, false).unwrap();
    wire.core.send_data(stream, Bytes::from(vec![1; 1_000]), true).unwrap();
    silent(&mut wire, 45);
    assert_eq!(wire.sent_of(RST_STREAM).len(), 1);
}

/// Streams that stall one after the other are a flood of streams that die early.
#[test]
fn a_peer_that_stalls_all_its_streams_loses_the_connection() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&settings(&[(4, 0)]));
    for n in 0..200 {
        download(&mut wire, 2 * n + 1, 100);
    }
    assert!(silent(&mut wire, 100) <= 42);
    assert_eq!(trip(&wire), Some(Trip::ResetFlood));
    assert!(trips(&wire, Trip::StreamStall) >= 100);
}

/// One deadline serves all streams, and none is due sooner than every few seconds.
#[test]
fn a_thousand_uploads_cost_one_sweep_in_five_seconds() {
    let config = Config { max_concurrent_streams: 1_000, ..Config::default() };
    let mut wire = Wire::server(config);
    for n in 0..1_000 {
        wire.feed(&post(2 * n + 1, &[("content-length", "1000000")]));
    }
    let mut sweeps = 0;
    for n in 0..60 {
        wire.now += SECOND;
        if wire.core.next_deadline(wire.now).is_some_and(|due| due <= wire.now) {
            wire.core.handle_timeout(wire.now);
            sweeps += 1;
        }
        for id in (1..2_000).step_by(2).skip(n % 8).step_by(8) {
            wire.feed(&frame(DATA, 0, id, &[1; 2_400]));
        }
        release_all(&mut wire);
    }
    assert!(wire.resets().is_empty());
    assert!((11..=13).contains(&sweeps), "{sweeps}");
}

#[test]
fn without_a_least_rate_nothing_is_watched() {
    let mut wire = Wire::server(Config { min_body_rate: 0, ..Config::default() });
    wire.feed(&settings(&[(4, 0)]));
    wire.feed(&post(1, &[("content-length", "5"), ("expect", "100-continue")]));
    download(&mut wire, 3, 100);
    assert_eq!(wire.core.next_deadline(wire.now), None);
    silent(&mut wire, 600);
    assert!(wire.resets().is_empty());
}

/// Takes at most `n` bytes of output.
fn write(core: &mut Connection, now: u64, n: usize) -> usize {
    let mut slices = [IoSlice::new(&[]); 64];
    let used = core.poll_transmit(now, &mut slices);
    let there: usize = slices[..used].iter().map(|slice| slice.len()).sum();
    core.transmitted(n.min(there));
    n.min(there)
}

/// A socket that takes a byte now and then is no better than one that takes none.
#[test]
fn a_socket_that_drips_runs_into_the_send_deadline_and_a_slow_one_does_not() {
    for (bytes, lives) in [(1, false), (200, false), (250, true)] {
        let mut wire = Wire::server(Config { stream_queue_bytes: 1 << 20, ..Config::default() });
        wire.feed(&[settings(&[(4, 1 << 20)]), window_update(0, 1 << 20), get(1)].concat());
        let stream = wire.stream();
        wire.core.respond(stream, OK, &HeaderMap::new(), false).unwrap();
        wire.core.send_data(stream, Bytes::from(vec![1; 400_000]), true).unwrap();
        let mut second = 0;
        while second < 200 && !wire.core.is_closed() {
            write(&mut wire.core, second * SECOND, bytes);
            second += 1;
            if wire.core.next_deadline(second * SECOND).is_some_and(|due| due <= second * SECOND) {
                wire.core.handle_timeout(second * SECOND);
            }
        }
        assert_eq!(!wire.core.is_closed(), lives, "{bytes} bytes a second, {second} s");
        assert!(lives || second == 30, "{second}");
    }
}

/// The defaults, each at its second.
#[test]
fn the_deadlines_are_those_that_the_manual_gives() {
    let config = Config::default();
    let seconds = [
        (config.preface_timeout, 5),
        (config.header_timeout, 10),
        (config.settings_timeout, 10),
        (config.idle_timeout, 60),
        (config.send_timeout, 30),
        (config.stall_timeout, 30),
        (config.body_grace, 10),
        (config.keep_alive_timeout, 20),
    ];
    for (timeout, expected) in seconds {
        assert_eq!(timeout, Duration::from_secs(expected));
    }
    assert_eq!((config.min_body_rate, config.keep_alive_interval), (240, None));
}

/// What became of the requests of a client that sends one every millisecond while the server goes away.
#[derive(Debug, Default)]
struct Load {
    opened: usize,
    answered: usize,
    /// What the server said of the last stream.
    goaways: Vec<u32>,
    closed: bool,
}

/// The server shuts down at `when` milliseconds, 25 ms away from the client.
fn shutdown_under_load(when: u64) -> Load {
    let mut link = Link::new(Config::default(), Config::default(), 25 * MS, GIGABIT);
    let (mut load, mut leaving, mut going, mut ticks) = (Load::default(), false, false, 0);
    let mut working: Vec<(u64, StreamKey)> = Vec::new();
    while !load.closed {
        while let Some(event) = link.poll_event(false) {
            match event {
                Event::Response { stream, response, end } => {
                    assert!(end && response.status() == OK);
                    link.client.core.finish(stream);
                    load.answered += 1;
                }
                Event::GoAway { last_stream, .. } => {
                    load.goaways.push(last_stream);
                    leaving = true;
                }
                Event::Closed { error } => load.closed = error.is_none(),
                other => panic!("{other:?}"),
            }
        }
        while let Some(event) = link.poll_event(true) {
            match event {
                // Each is at work for a while.
                Event::Request { stream, .. } => working.push((link.now + 10 * MS, stream)),
                Event::Closed { error } => assert_eq!(error, None),
                other => panic!("{other:?}"),
            }
        }
        while working.first().is_some_and(|&(due, _)| due <= link.now) {
            let (_, stream) = working.remove(0);
            link.server.core.respond(stream, OK, &HeaderMap::new(), true).unwrap();
            link.server.core.finish(stream);
        }
        if !going && link.now >= when * MS {
            going = true;
            link.server.core.shutdown();
        }
        if link.now >= ticks * MS && !leaving {
            ticks += 1;
            let request = Request::get("http://a/").body(()).unwrap();
            load.opened += usize::from(link.client.core.request(&request, true).is_ok());
        }
        link.tick(MS / 4);
        assert!(link.now < 2_000 * MS, "no end: {load:?}");
    }
    load
}

/// RFC 9113 §6.8: the first GOAWAY names the largest id, the second the last stream; a round trip lies between, so that
/// every request that was sent before the client read the first is answered.
#[test]
fn every_request_that_was_sent_before_the_goaway_was_read_is_answered() {
    // Also before the preface has come (10 ms), and before the first request has (26 ms).
    for when in [10, 26, 40, 100, 333] {
        let load = shutdown_under_load(when);
        let expected = when.max(25) + 25;
        assert!(load.opened as u64 >= expected - 2, "shut down at {when} ms: {load:?}");
        assert_eq!(load.answered, load.opened, "shut down at {when} ms");
        assert_eq!(load.goaways.first(), Some(&0x7fff_ffff));
        assert_eq!(load.goaways.last(), Some(&(2 * load.opened as u32 - 1)));
    }
}

/// The same through sockets: a client that opens streams as fast as it can while the server is stopped.
#[test]
fn a_server_on_a_socket_answers_everything_that_came_before_its_goaway_was_read() {
    use wakering::http::{Body, Response, Server};
    let (report, address) = mpsc::channel();
    let (stop, stopped) = mpsc::channel::<()>();
    let serving = thread::spawn(move || {
        wakering::run(async move {
            let listener = wakering::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let handler = |_: wakering::http::Request<Body>| async {
                wakering::time::sleep(Duration::from_millis(20)).await;
                Response::new(Body::from("done"))
            };
            let server = Server::start(listener, handler).unwrap();
            report.send(server.local_addr()).unwrap();
            let _ = wakering::spawn_blocking(move || stopped.recv()).unwrap().await;
            server.stop(Duration::from_secs(10)).await
        })
    });
    let mut socket = TcpStream::connect(address.recv().unwrap()).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let mut client = Connection::client(Config::default(), 0);
    let (mut opened, mut answered, mut leaving, mut closed) = (0, 0, false, false);
    while !closed {
        let request = Request::get("http://a/").body(()).unwrap();
        opened += u32::from(!leaving && client.request(&request, true).is_ok());
        if opened == 300 {
            let _ = stop.send(());
        }
        while client.has_output() {
            let mut slices = [IoSlice::new(&[]); 64];
            let used = client.poll_transmit(0, &mut slices);
            let n = socket.write_vectored(&slices[..used]).unwrap();
            client.transmitted(n);
        }
        let mut buffer = [0; 16_384];
        match socket.read(&mut buffer) {
            Ok(0) => client.receive_end(),
            Ok(n) => client.receive(Bytes::copy_from_slice(&buffer[..n])),
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
            }
        }
        while let Some(event) = client.poll_event(0) {
            match event {
                Event::Response { response, .. } => assert_eq!(response.status(), OK),
                Event::Data { stream, end, .. } => {
                    assert!(end);
                    client.finish(stream);
                    answered += 1;
                }
                Event::GoAway { .. } => leaving = true,
                Event::Closed { error } => {
                    assert_eq!(error, None);
                    closed = true;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    drop(socket);
    let stopped = serving.join().unwrap().unwrap();
    assert!(opened >= 300);
    assert_eq!((answered, stopped.aborted_handlers, stopped.aborted_connections), (opened, 0, 0));
}

/// Only the answer to the PING behind the first GOAWAY brings the second (RFC 9113 §6.8).
#[test]
fn no_other_ping_brings_the_final_goaway() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&get(1));
    wire.core.shutdown();
    wire.core.shutdown();
    wire.core.ping(*b"whatever").unwrap();
    wire.turn();
    let pings: Vec<Vec<u8>> = wire.sent_of(PING).iter().map(|ping| ping.payload.clone()).collect();
    assert_eq!((pings.len(), wire.sent_of(GOAWAY).len()), (2, 1));
    wire.feed(&frame(PING, ACK, 0, b"whatever"));
    wire.feed(&frame(PING, ACK, 0, b"nonsense"));
    wire.feed(&frame(PING, 0, 0, &pings[0]));
    assert_eq!(wire.sent_of(GOAWAY).len(), 1);
    wire.feed(&[get(3), frame(PING, ACK, 0, &pings[0]), get(5)].concat());
    let last: Vec<u32> = wire.sent_of(GOAWAY).iter().map(|goaway| goaway.word(0)).collect();
    assert_eq!(last, [0x7fff_ffff, 3], "what came before the answer is served, what comes behind is not");
    assert_eq!(wire.core.open_streams(), 2);
}

/// Who connected and says nothing does not hold up the end.
#[test]
fn a_client_without_a_preface_has_a_second_when_the_server_goes() {
    let mut wire = Wire::new(Connection::server(Config::default(), 0));
    wire.feed(&PREFACE[..10]);
    wire.core.shutdown();
    assert_eq!(wire.core.next_deadline(0), Some(SECOND));
    silent(&mut wire, 1);
    assert!(wire.core.is_closed() && wire.sent.is_empty());
    assert_eq!(trip(&wire), None);

    let mut late = Wire::new(Connection::server(Config::default(), 0));
    late.core.shutdown();
    late.feed(&[PREFACE, &settings(&[]), &get(1)].concat());
    assert_eq!(late.events.len(), 1, "its request is served");
    assert_eq!(late.sent_of(GOAWAY)[0].word(0), 0x7fff_ffff);
}
