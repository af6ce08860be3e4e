//! Tunnels through handlers of `http::Server`: CONNECT (RFC 9113 §8.5) and extended CONNECT (RFC 8441), under the protocol
//! core as client and under hyper's.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "support/serving.rs"]
mod serving;

use std::{
    io::{Read, Write},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serving::{Answer, Client, Serving};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wakering::{
    http::{
        Body, BodyError, Config, Meters, Method, Protocol, Reason, Request, Response, Server, StatusCode,
        Tunnel,
    },
    internals::h2::{Event, StreamKey},
    net::TcpStream,
};

/// What the far end of a tunnel saw: what came, and how it ended.
type Seen = (Vec<u8>, Result<(), BodyError>);

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// What a tunnel to `target` does at its far end.
async fn far_end(target: String, mut tunnel: Tunnel, report: Sender<Seen>) {
    match target.as_str() {
        "drop:1" => return,
        "fail:1" => return tunnel.reset(Reason::CONNECT_ERROR),
        "close-first:1" => {
            tunnel.send(Bytes::from_static(b"bye")).await.unwrap();
            tunnel.close();
            assert!(tunnel.send(Bytes::from_static(b"late")).await.is_err(), "it was closed");
        }
        _ => {}
    }
    let mut seen = Vec::new();
    let end = loop {
        match tunnel.receive().await {
            Some(Ok(bytes)) => {
                seen.extend_from_slice(&bytes);
                if target == "echo:1" && tunnel.send(bytes).await.is_err() {
                    break Err(BodyError::Abandoned);
                }
            }
            Some(Err(error)) => break Err(error),
            None => break Ok(()),
        }
    };
    if end.is_ok() && target == "late:1" {
        tunnel.send(Bytes::from_static(b"after your end")).await.unwrap();
    }
    tunnel.close();
    report.send((seen, end)).unwrap();
}

fn serve() -> (Serving, Receiver<Seen>, Meters) {
    let (report, seen) = channel();
    let meters = Meters::new();
    let config = Config { connect_protocol: true, ..Config::default() };
    let server = Serving::start(Server::builder().http2(config).meters(meters.clone()), || {
        move |request: Request<Body>| {
            let report = report.clone();
            async move {
                if request.method() != Method::CONNECT {
                    return status(StatusCode::METHOD_NOT_ALLOWED);
                }
                let target = request.uri().authority().unwrap().to_string();
                if target == "refused:1" {
                    return status(StatusCode::FORBIDDEN);
                }
                let (tunnel, response) = Tunnel::accept(request.into_body());
                drop(wakering::spawn(far_end(target, tunnel, report)));
                response
            }
        }
    });
    (server, seen, meters)
}

fn open(client: &mut Client, target: &str) -> (StreamKey, Answer) {
    let request = Request::builder().method(Method::CONNECT).uri(target).body(()).unwrap();
    let stream = client.send(&request, false);
    let mut answer = Answer::default();
    while answer.status == 0 && !client.take(stream, &mut answer) {}
    (stream, answer)
}

/// Waits until the server has no stream and no handler left.
fn all_gone(meters: &Meters) {
    let patience = Instant::now() + Duration::from_secs(60);
    loop {
        let metrics = meters.read();
        if (metrics.streams_open, metrics.handlers, metrics.held_received) == (0, 0, 0) {
            return;
        }
        assert!(Instant::now() < patience, "{metrics:?}");
        thread::yield_now();
    }
}

#[test]
fn a_tunnel_carries_bytes_both_ways_and_ends_when_both_sides_have() {
    let (server, seen, meters) = serve();
    let mut client = Client::connect(&server);
    let (stream, mut answer) = open(&mut client, "echo:1");
    assert_eq!(answer.status, 200);
    assert!(!answer.headers.contains_key("content-length"));
    client.data(stream, b"one", false).unwrap();
    while answer.content != b"one" {
        assert!(!client.take(stream, &mut answer));
    }
    client.data(stream, b" two", true).unwrap();
    while !client.take(stream, &mut answer) {}
    assert_eq!((answer.content, answer.reset), (b"one two".to_vec(), None));
    assert!(matches!(seen.recv().unwrap(), (bytes, Ok(())) if bytes == b"one two"));
    client.core.finish(stream);
    all_gone(&meters);
    server.stop(Duration::ZERO);
}

#[test]
fn a_side_that_has_ended_still_receives() {
    let (server, seen, meters) = serve();
    let mut client = Client::connect(&server);
    // The client ends first.
    let (stream, mut answer) = open(&mut client, "late:1");
    client.data(stream, b"words", true).unwrap();
    while !client.take(stream, &mut answer) {}
    assert_eq!((answer.content, answer.reset), (b"after your end".to_vec(), None));
    assert!(matches!(seen.recv().unwrap(), (bytes, Ok(())) if bytes == b"words"));
    client.core.finish(stream);
    // The server ends first.
    let (stream, mut answer) = open(&mut client, "close-first:1");
    while !client.take(stream, &mut answer) {}
    assert_eq!((answer.content, answer.reset), (b"bye".to_vec(), None));
    client.data(stream, &[7; 100_000], false).unwrap();
    client.data(stream, b"end", true).unwrap();
    while client.core.send_capacity(stream) == 0 && client.core.output_len() > 0 {
        drop(client.event());
    }
    client.core.finish(stream);
    // What is queued needs the window that the far end gives back.
    while seen.try_recv().map(|(bytes, end)| assert_eq!((bytes.len(), end.is_ok()), (100_003, true))).is_err()
    {
        client.core.ping([0; 8]).unwrap();
        while !matches!(client.event(), Some(Event::Pong { .. })) {}
    }
    all_gone(&meters);
    server.stop(Duration::ZERO);
}

#[test]
fn a_tunnel_that_the_client_resets_is_an_error_at_its_far_end() {
    let (server, seen, meters) = serve();
    let mut client = Client::connect(&server);
    let (stream, _) = open(&mut client, "sink:1");
    client.core.reset(stream, Reason::CANCEL);
    client.core.finish(stream);
    client.flush();
    let (_, end) = seen.recv().unwrap();
    assert!(matches!(end, Err(BodyError::Reset(Reason::CANCEL))), "{end:?}");
    all_gone(&meters);
    // So is the end of the connection.
    let (_stream, _) = open(&mut client, "sink:1");
    drop(client);
    assert!(matches!(seen.recv().unwrap(), (_, Err(BodyError::ConnectionClosed))));
    all_gone(&meters);
    server.stop(Duration::ZERO);
}

#[test]
fn a_far_end_that_is_dropped_or_fails_resets_the_stream() {
    let (server, _seen, meters) = serve();
    let mut client = Client::connect(&server);
    for (target, reason) in [("drop:1", Reason::CANCEL), ("fail:1", Reason::CONNECT_ERROR)] {
        let (stream, mut answer) = open(&mut client, target);
        assert_eq!(answer.status, 200);
        if answer.reset.is_none() {
            while !client.take(stream, &mut answer) {}
        }
        assert_eq!(answer.reset, Some(reason), "{target}");
        client.core.finish(stream);
    }
    let (stream, answer) = open(&mut client, "refused:1");
    assert_eq!((answer.status, answer.reset), (403, None));
    client.core.reset(stream, Reason::CANCEL);
    client.core.finish(stream);
    client.flush();
    all_gone(&meters);
    server.stop(Duration::ZERO);
}

#[test]
fn an_extended_connect_shows_the_handler_its_protocol_and_path() {
    let config = Config { connect_protocol: true, ..Config::default() };
    let server = Serving::start(Server::builder().http2(config), || {
        |request: Request<Body>| async move {
            let protocol = request.extensions().get::<Protocol>().cloned();
            let said = format!("{protocol:?} {}", request.uri());
            let (mut tunnel, response) = Tunnel::accept(request.into_body());
            drop(wakering::spawn(async move {
                tunnel.send(said.into()).await.unwrap();
                tunnel.close();
                while tunnel.receive().await.is_some() {}
            }));
            response
        }
    });
    let mut client = Client::connect(&server);
    let request = Request::builder().method(Method::CONNECT).uri("http://a/chat?x=1");
    let request = request.extension(Protocol::WEBSOCKET).body(()).unwrap();
    assert!(client.core.request(&request, false).is_err(), "the server's SETTINGS have not come");
    client.ask(Method::GET, "/settings-come-first");
    let stream = client.send(&request, false);
    let mut answer = Answer::default();
    while !client.take(stream, &mut answer) {}
    assert_eq!(answer.content, b"Some(Protocol(websocket)) http://a/chat?x=1");
    client.data(stream, b"", true).unwrap();
    client.core.finish(stream);
    server.stop(Duration::ZERO);
}

/// A forward proxy in 30 lines: what CONNECT is for.
async fn proxy(request: Request<Body>) -> Response<Body> {
    let target = request.uri().authority().unwrap().to_string();
    let Ok(origin) = TcpStream::connect(target).await else { return status(StatusCode::BAD_GATEWAY) };
    let (tunnel, response) = Tunnel::accept(request.into_body());
    drop(wakering::spawn(async move { relay(tunnel, origin).await }));
    response
}

async fn relay(mut tunnel: Tunnel, mut origin: TcpStream) {
    while let Some(Ok(bytes)) = tunnel.receive().await {
        origin.write_all(&bytes).await.unwrap();
    }
    origin.shutdown(std::net::Shutdown::Write).unwrap();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match origin.read(&mut buffer).await.unwrap() {
            0 => return tunnel.close(),
            n => tunnel.send(Bytes::copy_from_slice(&buffer[..n])).await.unwrap(),
        }
    }
}

/// RFC 9113 §8.5, with hyper as the client and a socket of the standard library as the origin.
#[test]
fn a_proxy_of_a_handler_carries_a_megabyte_to_an_origin_and_back() {
    let origin = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = origin.local_addr().unwrap();
    let far = thread::spawn(move || {
        let (mut socket, _) = origin.accept().unwrap();
        let mut all = Vec::new();
        socket.read_to_end(&mut all).unwrap();
        socket.write_all(&all).unwrap();
    });
    let server = Serving::plain(|| proxy);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let back = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        let request = Request::builder().method(Method::CONNECT).uri(target.to_string());
        let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        let mut tunnel = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
        tunnel.write_all(&vec![7; 1 << 20]).await.unwrap();
        tunnel.shutdown().await.unwrap();
        let mut back = Vec::new();
        tunnel.read_to_end(&mut back).await.unwrap();
        back
    });
    assert_eq!((back.len(), back.iter().all(|byte| *byte == 7)), (1 << 20, true));
    far.join().unwrap();
    server.stop(Duration::ZERO);
}
