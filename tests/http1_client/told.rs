//! What is told of requests under way: dumps, metrics, the frame log.

use std::{cell::RefCell, rc::Rc};

use wakering::{
    Handle,
    http::{Body, FrameLog, Meters, Request},
    spawn,
};

use crate::{
    exchanges::{get, older, post, text, with},
    http1_server::Peer,
};

#[test]
fn dumps_say_what_a_request_waits_for_and_metrics_count_it() {
    let meters = Meters::new();
    let (ready, go) = std::sync::mpsc::channel();
    let script = move |peer: &mut Peer| {
        assert_eq!(peer.request().line, "GET /menu HTTP/1.1");
        go.recv().unwrap();
        peer.answer("soup");
    };
    with(older().meters(meters.clone()), script, |mut connection| async move {
        let request = Request::get("http://a.example/menu").body(Body::empty()).unwrap();
        let future = connection.send(request);
        let said = Rc::new(RefCell::new(None));
        let waiter = {
            let said = said.clone();
            spawn(async move { *said.borrow_mut() = Some(text(future.await.unwrap()).await) })
        };
        while meters.read().requests == 0 {
            wakering::yield_now().await;
        }
        let dump = Handle::current().dump().to_string();
        assert!(dump.contains("waits for the answer to GET http://a.example/menu from 127.0.0.1:"), "{dump}");
        let read = meters.read();
        assert_eq!((read.connections_open, read.requests, read.streams_open), (1, 1, 1), "{read}");
        ready.send(()).unwrap();
        waiter.await.unwrap();
        assert_eq!(said.take().unwrap(), "soup");
        drop(connection);
        while meters.read().connections_open > 0 {
            wakering::yield_now().await;
        }
        let read = meters.read();
        assert_eq!((read.requests, read.streams_open, read.held_received), (1, 0, 0), "{read}");
        assert!(read.bytes_sent > 30 && read.bytes_received > 30, "{read}");
    });
}

#[test]
fn the_frame_log_shows_heads_content_and_trailers_both_ways() {
    let (lines, seen) = std::sync::mpsc::channel();
    let builder = older().log_frames(move |_connection| {
        let lines = lines.clone();
        let log: FrameLog = Box::new(move |frame| lines.send(frame.to_string()).unwrap());
        Some(log)
    });
    let script = |peer: &mut Peer| {
        peer.request();
        peer.send("HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\nset-cookie: hunter2\r\ntransfer-encoding: chunked\r\n\r\n");
        peer.send("3\r\nabc\r\n0\r\nx: y\r\n\r\n");
        peer.request();
        peer.send("HTTP/1.1 204 No\r\n\r\n");
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nx: a\x01b\r\n\r\n");
        assert!(peer.ends());
    };
    with(builder, script, |mut connection| async move {
        assert_eq!(text(connection.send(post("words")).await.unwrap()).await, "abc");
        assert_eq!(connection.send(get()).await.unwrap().status(), 204);
        assert!(connection.send(get()).await.is_err());
    });
    let all: Vec<String> = seen.try_iter().collect();
    let all: Vec<&str> = all.iter().flat_map(|frame| frame.lines()).map(str::trim).collect();
    for line in [
        "POST / HTTP/1.1",
        "host: a.example",
        "send DATA frame <length=5, flags=0x01, stream_id=1>",
        "HTTP/1.1 103 Hints",
        "set-cookie: (sensitive)",
        "recv DATA frame <length=3, flags=0x00, stream_id=1>",
        "recv HEADERS frame <length=8, flags=0x05, stream_id=1>",
        "x: y",
        "GET / HTTP/1.1",
        "recv HEADERS frame <length=19, flags=0x05, stream_id=2>",
        "x: a\\x01b",
    ] {
        assert!(all.contains(&line), "{line} in {all:#?}");
    }
}
