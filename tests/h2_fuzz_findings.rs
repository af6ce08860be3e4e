//! What the fuzz targets found, each as a test of its own.

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use wakering::internals::h2::{CommandError, Config, Connection, Event};

#[path = "support/h2_wire.rs"]
mod wire;

use wire::*;

/// RFC 9113 §3.4: the server's first frame is SETTINGS.
#[test]
fn a_server_cannot_ping_before_the_clients_preface() {
    let mut server = Wire::new(Connection::server(Config::default(), 0));
    assert_eq!(server.core.ping([7; 8]), Err(CommandError::Busy));
    server.feed(PREFACE);
    assert_eq!(server.core.ping([7; 8]), Ok(()));
    server.flush();
    assert_eq!(server.sent[0].kind, SETTINGS);
}

/// `finish` promises that no event mentions the stream any more; here its last content still waits for a window.
#[test]
fn an_interim_response_is_not_reported_for_a_stream_that_was_let_go() {
    let mut client = Wire::client(Config::default());
    let request = Request::post("http://a/").body(()).expect("a request");
    let stream = client.core.request(&request, false).expect("a stream");
    client.core.send_data(stream, Bytes::from(vec![0; 100_000]), true).expect("an open stream");
    client.turn();
    client.core.finish(stream);
    client.feed(&frame(HEADERS, END_HEADERS, 1, &fields(&[(":status", "103")])));
    assert!(client.events.is_empty(), "{:?}", client.events);
}

/// RFC 9113 §6.9.2. A driver that asks `has_output` must not be sent to write nothing.
#[test]
fn content_that_a_smaller_initial_window_holds_back_is_no_output() {
    let mut server = Wire::server(Config::default());
    server.feed(&get(1));
    let stream = server.stream();
    server.core.respond(stream, StatusCode::OK, &HeaderMap::new(), false).expect("a fresh stream");
    server.core.send_data(stream, Bytes::from(vec![0; 5_000]), true).expect("an open stream");
    server.feed(&settings(&[(4, 0)]));
    assert!(!server.core.has_output() && server.sent_of(DATA).is_empty());
    server.feed(&settings(&[(4, 5_000)]));
    assert_eq!(server.sent_of(DATA).len(), 1);
}

/// The first bytes of a connection, in one piece or two: a method of 23 letters reads the same.
#[test]
fn what_is_no_preface_is_judged_alike_however_it_is_cut() {
    let bytes = [&[b'A'; 23][..], b" / HTTP/1.1\r\n"].concat();
    for cut in [0, 1, 23, 24, 25] {
        let mut server = Wire::new(Connection::server(Config::default(), 0));
        server.feed(&bytes[..cut]);
        server.feed(&bytes[cut..]);
        assert!(matches!(server.events[..], [Event::Closed { error: Some(_) }]), "{:?}", server.events);
    }
}

/// As many PINGs as our end may have on their way never look like a flood to a peer with our bounds, the one behind
/// a first GOAWAY included.
#[test]
fn all_pings_that_an_end_may_send_at_once_are_no_flood_to_the_other() {
    let mut server = Wire::server(Config::default());
    while server.core.ping([7; 8]).is_ok() {}
    server.core.shutdown();
    server.turn();
    let pings: Vec<u8> =
        server.sent.iter().flat_map(|it| frame(it.kind, it.flags, it.stream, &it.payload)).collect();
    let mut client = Wire::client(Config::default());
    let request = Request::get("http://a/").body(()).expect("a request");
    client.core.request(&request, true).expect("a stream");
    client.feed(&pings);
    assert_eq!(client.goaway(), None, "{:?}", client.events);
}

/// Credit that is held back because the peer has enough for the rest of its message must not stay back when our smaller
/// initial window takes effect: the peer could not send a byte, and nothing would ever be released (RFC 9113 §6.9.3).
#[test]
fn credit_that_was_held_back_is_given_when_a_smaller_window_takes_effect() {
    let mut server = Wire::new(Connection::server(Config { stream_window: 1_000, ..Config::default() }, 0));
    server.feed(&[PREFACE, &settings(&[]), &post(1, &[("content-length", "3000")])].concat());
    server.feed(&frame(DATA, 0, 1, &[0; 2_000]));
    server.core.release(server.stream(), 2_000);
    server.turn();
    let given = |server: &Wire| {
        server.sent_of(WINDOW_UPDATE).iter().filter(|it| it.stream == 1).map(|it| it.word(0)).sum::<u32>()
    };
    assert_eq!(given(&server), 0, "65,535 bytes are enough for the last 1,000");
    server.feed(&frame(SETTINGS, ACK, 0, &[]));
    assert_eq!(given(&server), 2_000);
}

/// A call acts on every deadline that has passed, also behind one that turns out to be none.
#[test]
fn a_reader_that_is_not_too_slow_does_not_put_off_the_other_deadlines() {
    let time = std::time::Duration::from_secs(10);
    let config = Config { send_timeout: time, settings_timeout: time, ..Config::default() };
    let mut server = Wire::new(Connection::server(config, 0));
    server.feed(&[PREFACE, &settings(&[]), &get(1)].concat());
    let stream = server.stream();
    server.core.respond(stream, StatusCode::OK, &HeaderMap::new(), false).expect("a fresh stream");
    server.core.send_data(stream, Bytes::from(vec![0; 20_000]), true).expect("an open stream");
    server.core.poll_transmit(0, &mut [std::io::IoSlice::new(&[]); 4]);
    server.core.transmitted(10_000);
    let now = 10_000_000_000;
    server.core.handle_timeout(now);
    assert!(server.core.is_closed(), "SETTINGS were not acknowledged");
    assert!(server.core.next_deadline(now).is_none_or(|deadline| deadline > now));
}
