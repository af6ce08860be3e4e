//! hyper 1 on our sockets, timers and tasks: servers and clients of HTTP/1 and HTTP/2 (feature `hyper`).
#![cfg(feature = "hyper")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says why by panicking")]

#[path = "support/net.rs"]
mod support;

use std::{convert::Infallible, net::SocketAddr, pin::Pin, rc::Rc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    client::conn as client,
    header,
    rt::{Executor as _, Read, ReadBuf, Timer as _, Write},
    server::conn as server,
    service::service_fn,
};
use support::{LOOPBACK, pair, pattern, run};
use wakering::{
    adapters::hyper::{Executor, SendIo, Timer},
    http::{Body, Method, Server, Tunnel},
    net::{TcpListener, TcpStream, UnixStream},
    spawn,
    testing::{self, Link},
};

/// Content comes back; its future is not `Send`.
async fn echo(request: Request<Incoming>) -> Result<Response<Incoming>, Infallible> {
    let local = Rc::new(());
    wakering::yield_now().await;
    drop(local);
    Ok(Response::new(request.into_body()))
}

/// An address at which hyper answers, both versions by `auto`.
fn listening() -> SocketAddr {
    let listener = TcpListener::bind(LOOPBACK).unwrap();
    let address = listener.local_addr().unwrap();
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            spawn(async move {
                let mut builder = hyper_util::server::conn::auto::Builder::new(Executor);
                builder.http1().timer(Timer);
                builder.http2().timer(Timer);
                // The client may be in a hurry.
                drop(builder.serve_connection(stream, service_fn(echo)).await);
            });
        }
    });
    address
}

#[test]
fn http_1_of_both_ends_carries_content_over_tcp() {
    run(async {
        let stream = TcpStream::connect(listening()).await.unwrap();
        let (mut sender, connection) = client::http1::handshake(stream).await.unwrap();
        spawn(connection);
        for length in [0, 5, 1_000_000] {
            let sent = pattern(1, length);
            let request =
                Request::post("/").header(header::HOST, "here").body(Full::<Bytes>::from(sent.clone()));
            let response = sender.send_request(request.unwrap()).await.unwrap();
            assert_eq!(response.version(), hyper::Version::HTTP_11);
            assert!(response.into_body().collect().await.unwrap().to_bytes() == sent);
        }
    });
}

#[test]
fn http_2_of_both_ends_carries_fifty_requests_at_once() {
    run(async {
        let address = listening();
        let stream = TcpStream::connect(address).await.unwrap();
        let mut builder = client::http2::Builder::new(Executor);
        builder.timer(Timer).keep_alive_interval(Duration::from_secs(1));
        let (sender, connection) = builder.handshake(stream).await.unwrap();
        spawn(connection);
        let calls: Vec<_> = (0..50)
            .map(|number| {
                let mut sender = sender.clone();
                let sent = pattern(number, 100_000);
                spawn(async move {
                    let request =
                        Request::post(format!("http://{address}/")).body(Full::<Bytes>::from(sent.clone()));
                    let response = sender.send_request(request.unwrap()).await.unwrap();
                    assert!(response.into_body().collect().await.unwrap().to_bytes() == sent);
                })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
    });
}

#[test]
fn unix_connections_and_slow_ones_in_memory_carry_hyper_too() {
    run(async {
        let (one, two) = UnixStream::pair().unwrap();
        exchange(one, two).await;
        let link = Link::new(testing::seed()).latency(Duration::from_millis(1)).short_reads().short_writes();
        let (one, two) = link.pair();
        exchange(one, two).await;
    });
}

/// A server on one end, a client on the other.
async fn exchange<T: Read + Write + Unpin + 'static>(one: T, two: T) {
    spawn(server::http1::Builder::new().timer(Timer).serve_connection(one, service_fn(echo)));
    let (mut sender, connection) = client::http1::handshake(two).await.unwrap();
    spawn(connection);
    let sent = pattern(3, 20_000);
    let request = Request::post("/").body(Full::<Bytes>::from(sent.clone())).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert!(response.into_body().collect().await.unwrap().to_bytes() == sent);
}

#[test]
fn a_tunnel_through_our_server_carries_hyper() {
    run(async {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let ours = Server::start(listener, |request: Request<Body>| async {
            let (tunnel, response) = Tunnel::accept(request.into_body());
            spawn(server::http1::Builder::new().serve_connection(tunnel, service_fn(echo)));
            response
        });
        let address = ours.unwrap().local_addr();
        let mut connection = wakering::http::client::connect(address).await.unwrap();
        let (outgoing, body) = Body::channel();
        let request = Request::builder().method(Method::CONNECT).uri("far:1").body(body).unwrap();
        let answer = connection.send(request).await.unwrap();
        let tunnel = Tunnel::new(answer.into_body(), outgoing);
        let (mut sender, through) = client::http1::handshake(tunnel).await.unwrap();
        spawn(through);
        let request = Request::post("/").body(Full::<Bytes>::from("through")).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "through");
    });
}

#[test]
fn our_body_is_sent_and_read_by_hyper() {
    run(async {
        let address = listening();
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = client::http2::handshake(Executor, stream).await.unwrap();
        spawn(connection);
        let (mut content, body) = Body::channel();
        let request = Request::post(format!("http://{address}/")).body(body).unwrap();
        let response = sender.send_request(request);
        content.send("piece by ".into()).await.unwrap();
        content.send("piece".into()).await.unwrap();
        content.finish();
        let read = response.await.unwrap().into_body().collect().await.unwrap().to_bytes();
        assert_eq!(read, "piece by piece");
    });
}

#[test]
fn a_client_that_sends_no_head_is_given_up_by_hypers_timer() {
    run(async {
        let (mut silent, served) = pair().await;
        let mut builder = server::http1::Builder::new();
        builder.timer(Timer).header_read_timeout(Duration::from_millis(20));
        let serving = spawn(builder.serve_connection(served, service_fn(echo)));
        silent.write_all(b"GET / HT").await.unwrap();
        assert!(serving.await.unwrap().unwrap_err().is_timeout());
        let mut answer = Vec::new();
        let mut buffer = [0; 1000];
        while let Ok(read @ 1..) = silent.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..read]);
        }
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"), "{answer:?}");
    });
}

#[test]
fn a_sleep_is_moved_in_either_direction() {
    run(async {
        let now = std::time::Instant::now();
        let mut sleep = Timer.sleep(Duration::from_secs(3600));
        Timer.reset(&mut sleep, now + Duration::from_millis(2));
        sleep.await;
        assert!(now.elapsed() >= Duration::from_millis(2));
        let mut sleep = Timer.sleep_until(now);
        Timer.reset(&mut sleep, now + Duration::from_secs(3600));
        let late = wakering::time::timeout(Duration::from_millis(1), sleep).await;
        assert!(late.is_err());
    });
}

#[test]
fn what_hyper_spawns_runs_on_this_worker() {
    run(async {
        let here = std::thread::current().id();
        let (mut done, mut told) = wakering::channel(1);
        let local = Rc::new(7);
        Executor.execute(async move { done.send((*local, std::thread::current().id())).await.is_ok() });
        assert_eq!(told.recv().await, Some((7, here)));
    });
}

#[test]
fn a_connection_that_is_send_in_name_is_upgraded() {
    run(async {
        let (one, two) = pair().await;
        let upgrade = service_fn(|request: Request<Incoming>| async {
            spawn(async {
                let upgraded = hyper::upgrade::on(request).await.unwrap();
                let parts = upgraded.downcast::<SendIo<TcpStream>>().unwrap();
                let mut stream = parts.io.into_inner().unwrap();
                stream.write_all(b"upgraded").await.unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
            });
            let mut response = Response::new(Empty::<Bytes>::new());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert(header::UPGRADE, header::HeaderValue::from_static("words"));
            Ok::<_, Infallible>(response)
        });
        spawn(server::http1::Builder::new().serve_connection(SendIo::new(one), upgrade).with_upgrades());
        let (mut sender, connection) = client::http1::handshake(SendIo::new(two)).await.unwrap();
        spawn(connection.with_upgrades());
        let request =
            Request::get("/").header(header::UPGRADE, "words").header(header::CONNECTION, "upgrade");
        let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        let parts = hyper::upgrade::on(response).await.unwrap().downcast::<SendIo<TcpStream>>().unwrap();
        let mut read = parts.read_buf.to_vec();
        let mut stream = parts.io.into_inner().unwrap();
        let mut buffer = [0; 100];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            read.extend_from_slice(&buffer[..count]);
        }
        assert_eq!(read, b"upgraded");
    });
}

#[test]
fn reading_elsewhere_what_stays_here_is_an_error() {
    run(async {
        let (one, _two) = pair().await;
        let mut sent = SendIo::new(one);
        let there = std::thread::spawn(move || {
            let mut bytes = [0; 8];
            let mut buffer = ReadBuf::new(&mut bytes);
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let polled = Pin::new(&mut sent).poll_read(&mut context, buffer.unfilled());
            (matches!(polled, std::task::Poll::Ready(Err(_))), sent)
        });
        let (refused, sent) = there.join().unwrap();
        assert!(refused);
        assert!(sent.into_inner().is_ok());
    });
}
