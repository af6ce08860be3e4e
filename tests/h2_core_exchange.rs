//! Two cores back to back: every command arrives as the matching event, however the bytes are split.

use std::io::IoSlice;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use wakering::internals::h2::{Config, Connection, Event};

/// Moves everything that waits from one core to the other, in pieces of `step` bytes.
fn carry(from: &mut Connection, to: &mut Connection, step: usize, events: &mut Vec<Event>) -> usize {
    let mut moved = 0;
    while from.has_output() {
        let mut bytes = Vec::new();
        let mut slices = [IoSlice::new(&[]); 16];
        let used = from.poll_transmit(0, &mut slices);
        for slice in &slices[..used] {
            bytes.extend_from_slice(slice);
        }
        from.transmitted(bytes.len());
        moved += bytes.len();
        for piece in bytes.chunks(step) {
            to.receive(Bytes::copy_from_slice(piece));
            while let Some(event) = to.poll_event(0) {
                events.push(event);
            }
        }
    }
    moved
}

#[test]
fn a_get_is_answered() {
    let mut client = Connection::client(Config::default(), 0);
    let mut server = Connection::server(Config::default(), 0);
    let request = Request::get("http://example.com/hello?x=1").body(()).unwrap();
    client.request(&request, true).unwrap();
    let mut events = Vec::new();
    carry(&mut client, &mut server, 1 << 20, &mut events);
    let [Event::Request { stream, request, end: true }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(request.uri(), "http://example.com/hello?x=1");
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "text/plain".parse().unwrap());
    server.respond(*stream, StatusCode::OK, &headers, false).unwrap();
    server.send_data(*stream, Bytes::from_static(b"Hello, World!"), true).unwrap();
    server.finish(*stream);
    let mut events = Vec::new();
    carry(&mut server, &mut client, 1 << 20, &mut events);
    let [Event::Response { response, end: false, .. }, Event::Data { data, end: true, .. }] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/plain");
    assert_eq!(data, "Hello, World!");
    assert_eq!(server.open_streams(), 0);
}
