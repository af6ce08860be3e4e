//! The machine alone: what time does to it, and what it remembers of its end.

use std::{io::IoSlice, time::Duration};

use bytes::Bytes;
use wakering::{
    http::Request,
    internals::{
        h1::Client,
        h2::{CommandError, Config, Event, Reason, StreamKey, Trip},
    },
};

const SECOND: u64 = 1_000_000_000;

fn machine() -> Client {
    Client::new(Config::default(), 0)
}

fn get(core: &mut Client) -> StreamKey {
    core.request(&Request::get("http://a/").body(()).unwrap(), true).unwrap()
}

/// Writes out what there is.
fn write(core: &mut Client, now: u64) -> usize {
    let mut sum = 0;
    loop {
        let mut slices = [IoSlice::new(&[]); 8];
        let used = core.poll_transmit(now, &mut slices);
        let n = slices[..used].iter().map(|slice| slice.len()).sum();
        if n == 0 {
            return sum;
        }
        core.transmitted(n);
        sum += n;
    }
}

fn receive(core: &mut Client, octets: &str, now: u64) -> Vec<Event> {
    core.receive(Bytes::copy_from_slice(octets.as_bytes()));
    std::iter::from_fn(|| core.poll_event(now)).collect()
}

/// One request that is answered at once.
fn exchange(core: &mut Client, answer: &str, now: u64) -> StreamKey {
    let stream = get(core);
    write(core, now);
    let events = receive(core, answer, now);
    assert!(matches!(events[0], Event::Response { .. }), "{events:?}");
    stream
}

const EMPTY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

#[test]
fn a_connection_is_idle_from_when_its_request_is_let_go() {
    let mut core = machine();
    let stream = exchange(&mut core, EMPTY, 0);
    assert_eq!(core.next_deadline(0), None, "somebody holds the answer");
    // Commands do not say what time it is.
    core.finish(stream);
    let idle = Config::default().idle_timeout;
    assert_eq!(core.next_deadline(1000 * SECOND), Some(1000 * SECOND + idle.as_nanos() as u64));
    core.handle_timeout(1000 * SECOND + 1);
    assert!(!core.is_closed());
    core.handle_timeout(1000 * SECOND + idle.as_nanos() as u64);
    assert!(core.is_closed());
    assert!(matches!(core.poll_event(0), Some(Event::Closed { error: None })));
}

#[test]
fn a_connection_whose_output_waits_is_not_idle_and_takes_no_request() {
    let mut core = machine();
    let request = Request::post("http://a/").header("content-length", "100000").body(()).unwrap();
    let stream = core.request(&request, false).unwrap();
    core.send_data(stream, vec![0; 100_000].into(), true).unwrap();
    let mut slices = [IoSlice::new(&[]); 1];
    assert!(core.poll_transmit(0, &mut slices) > 0);
    core.transmitted(10);
    receive(&mut core, EMPTY, 0);
    assert!(!core.detach(stream), "the request has not gone out");
    core.finish(stream);
    assert_eq!(core.request_room(), Ok(0));
    let send = Config { ..Config::default() }.send_timeout;
    assert_eq!(core.next_deadline(SECOND), Some(send.as_nanos() as u64), "only the writing has a time");
    write(&mut core, 2 * SECOND);
    assert!(core.has_events(), "whoever waits for room is to be told");
    assert!(core.poll_event(2 * SECOND).is_none());
    assert_eq!(core.request_room(), Ok(1));
    let idle = Config::default().idle_timeout.as_nanos() as u64;
    assert_eq!(core.next_deadline(2 * SECOND), Some(2 * SECOND + idle));
}

/// What TLS has accepted is not with the socket yet.
#[test]
fn what_the_transport_holds_is_judged_by_what_the_socket_takes_of_it() {
    let config = Config::default();
    let send = config.send_timeout.as_nanos() as u64;
    for (takes, tripped) in [(10_000, 0), (10, 1), (0, 1)] {
        let mut core = machine();
        let request = Request::post("http://a/").header("content-length", "100000").body(()).unwrap();
        let stream = core.request(&request, false).unwrap();
        core.send_data(stream, vec![0; 100_000].into(), true).unwrap();
        write(&mut core, 0);
        core.held_below(65_000);
        assert_eq!(core.next_deadline(0), Some(send));
        core.held_below(65_000 - takes);
        core.handle_timeout(send);
        assert_eq!(core.stats().trips.of(Trip::SendStall), tripped, "{takes}");
        if tripped == 0 {
            assert_eq!(core.next_deadline(send), Some(2 * send), "it has its time again");
            core.held_below(0);
            assert_eq!(core.next_deadline(send), None, "all of it was taken");
        }
    }
}

/// Found by the fuzz target `h1_client`.
#[test]
fn what_is_said_before_there_is_a_tunnel_ends_once() {
    let mut core = machine();
    let stream = core.request(&Request::connect("a:80").body(()).unwrap(), false).unwrap();
    core.send_data(stream, Bytes::new(), true).unwrap();
    let again = core.send_data(stream, Bytes::from_static(b"more"), true);
    assert_eq!(again, Err(CommandError::WrongState));
    write(&mut core, 0);
    let events = receive(&mut core, "HTTP/1.1 200 OK\r\n\r\n", 0);
    assert!(matches!(events[..], [Event::Response { end: false, .. }]), "{events:?}");
    assert_eq!(write(&mut core, 0), 0, "it has nothing to say");
}

#[test]
fn a_connection_goes_a_second_before_the_server_says_it_will() {
    for (said, kept) in
        [("timeout=5, max=9", 4000), ("max=9,Timeout=1", 500), ("timeout=x", 60_000), ("max=9", 60_000)]
    {
        let mut core = machine();
        let answer = format!("HTTP/1.1 200 OK\r\nkeep-alive: {said}\r\ncontent-length: 0\r\n\r\n");
        let stream = exchange(&mut core, &answer, 0);
        core.finish(stream);
        let kept = Duration::from_millis(kept);
        assert_eq!(core.next_deadline(SECOND), Some(SECOND + kept.as_nanos() as u64), "{said}");
    }
}

#[test]
fn what_the_peer_left_unanswered_is_known_of_connections_that_had_answered() {
    let mut core = machine();
    let first = get(&mut core);
    write(&mut core, 0);
    core.receive_end();
    assert!(!core.was_unanswered(first), "the connection was new");

    let mut core = machine();
    let first = exchange(&mut core, EMPTY, 0);
    core.finish(first);
    let second = get(&mut core);
    write(&mut core, 0);
    core.receive_end();
    assert!(core.was_unanswered(second) && !core.was_unanswered(first));
    let Some(Event::Closed { error: Some(error) }) = core.poll_event(0) else { panic!("it is closed") };
    assert_eq!((error.reason, error.text), (Reason::NO_ERROR, "the peer closed before it answered"));

    // The socket is gone in another way.
    let mut core = machine();
    let first = exchange(&mut core, EMPTY, 0);
    core.finish(first);
    let second = get(&mut core);
    write(&mut core, 0);
    core.abandon();
    assert!(core.was_unanswered(second));

    let mut core = machine();
    let first = exchange(&mut core, EMPTY, 0);
    core.finish(first);
    let second = get(&mut core);
    write(&mut core, 0);
    receive(&mut core, "HTT", 0);
    core.receive_end();
    assert!(!core.was_unanswered(second), "it had begun to answer");
}

#[test]
fn one_request_at_a_time_and_none_when_the_connection_goes() {
    let mut core = machine();
    assert_eq!(core.request_room(), Ok(1));
    let stream = get(&mut core);
    let request = Request::get("http://a/").body(()).unwrap();
    assert_eq!(
        (core.request_room(), core.request(&request, true)),
        (Ok(0), Err(CommandError::TooManyStreams))
    );
    write(&mut core, 0);
    receive(&mut core, EMPTY, 0);
    assert!(core.detach(stream), "both directions are through");
    assert_eq!(core.request_room(), Ok(1));
    core.shutdown();
    assert_eq!(core.request_room(), Err(CommandError::ConnectionClosed));
}

#[test]
fn answers_that_lie_unread_leave_no_room_for_more_of_them() {
    let config = Config { stream_window: 10, ..Config::default() };
    let mut core = Client::new(config, 0);
    let first = exchange(&mut core, "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsix of", 0);
    assert!(core.detach(first));
    let second = exchange(&mut core, "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsix of", 0);
    assert!(!core.detach(second), "twelve are more than ten");
    assert_eq!(core.request_room(), Ok(0));
    core.release(second, 6);
    core.finish(second);
    assert_eq!(core.request_room(), Ok(1));
    core.release_late(6);
}
