//! In the steady state a small request and its answer allocate nothing inside the core.

#![expect(
    clippy::unwrap_used,
    reason = "tests may unwrap, and clippy takes only what is marked #[test] for one"
)]

use std::io::IoSlice;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use wakering::internals::h2::{Config, Connection, Event};

fn carry(from: &mut Connection, to: &mut Connection, scratch: &mut BytesMut) {
    while from.has_output() {
        let mut slices = [IoSlice::new(&[]); 16];
        let used = from.poll_transmit(0, &mut slices);
        for slice in &slices[..used] {
            scratch.extend_from_slice(slice);
        }
        let bytes = scratch.split().freeze();
        from.transmitted(bytes.len());
        to.receive(bytes);
    }
}

/// One batch of requests, cut once inside a frame, from the client's command to the client's last event.
fn exchange(
    client: &mut Connection,
    server: &mut Connection,
    scratch: &mut BytesMut,
    request: &Request<()>,
    answer: &HeaderMap,
) -> u32 {
    for _ in 0..50 {
        client.request(request, true).unwrap();
    }
    carry(client, server, scratch);
    while let Some(event) = server.poll_event(0) {
        let Event::Request { stream, request, .. } = event else { panic!("{event:?}") };
        assert!(request.headers().len() == 2);
        server.recycle_head(request);
        server.respond(stream, StatusCode::OK, answer, false).unwrap();
        server.send_data(stream, Bytes::from_static(b"Hello, World!"), true).unwrap();
        server.finish(stream);
    }
    carry(server, client, scratch);
    let mut answered = 0;
    while let Some(event) = client.poll_event(0) {
        match event {
            Event::Response { response, .. } => client.recycle(response.into_parts().0.headers),
            Event::Data { stream, data, end } => {
                client.release(stream, data.len());
                assert!(end);
                client.finish(stream);
                answered += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    answered
}

#[test]
fn a_small_request_allocates_nothing_in_the_steady_state() {
    let mut client = Connection::client(Config::default(), 0);
    let mut server = Connection::server(Config::default(), 0);
    let mut scratch = BytesMut::with_capacity(64 * 1024);
    let request = Request::get("http://127.0.0.1:8080/")
        .header("user-agent", "wakering")
        .header("accept", "*/*")
        .body(())
        .unwrap();
    let mut answer = HeaderMap::new();
    answer.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    answer.insert(header::CONTENT_LENGTH, HeaderValue::from_static("13"));
    for _ in 0..20 {
        exchange(&mut client, &mut server, &mut scratch, &request, &answer);
    }
    let mut answered = 0;
    let seen = allocation_counter::measure(|| {
        for _ in 0..20 {
            answered += exchange(&mut client, &mut server, &mut scratch, &request, &answer);
        }
    });
    assert_eq!(answered, 1_000);
    // The wire between the cores allocates: two shared blocks a batch (`BytesMut::freeze`). And the client
    // copies the content it is given, which is its application's: one for each answer.
    let wire = 2 * 20;
    let content = u64::from(answered);
    assert!(
        seen.count_total <= wire + content,
        "{} allocations for {answered} requests, {} allowed",
        seen.count_total,
        wire + content
    );
}

/// The target is 3 KiB for the whole connection, driver and socket included.
#[test]
fn an_idle_connection_owns_little() {
    let mut kept = None;
    let owned = allocation_counter::measure(|| {
        let mut client = Connection::client(Config::default(), 0);
        let mut server = Box::new(Connection::server(Config::default(), 0));
        let mut scratch = BytesMut::with_capacity(64 * 1024);
        let request = Request::get("http://127.0.0.1:8080/")
            .header("user-agent", "wakering")
            .header("accept", "*/*")
            .body(())
            .unwrap();
        let mut answer = HeaderMap::new();
        answer.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        for _ in 0..20 {
            exchange(&mut client, &mut server, &mut scratch, &request, &answer);
        }
        let rest = server.next_deadline(0).unwrap();
        server.handle_timeout(rest);
        drop(server.take_buffer());
        assert!(!server.is_closed());
        kept = Some(server);
    });
    println!("{} bytes, {} of them the machine", owned.bytes_current, size_of::<Connection>());
    assert!(owned.bytes_current < 2_300, "{} bytes", owned.bytes_current);
    drop(kept);
}
