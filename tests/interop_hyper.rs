//! hyper's client against `examples/h2_server`, and our client against hyper's server: both directions of flow control
//! with a peer that is not ours.

#![cfg(not(loom))]

mod support;

#[path = "support/exercise.rs"]
mod exercise;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use exercise::{TEN_MIB, Target, check, pattern};
use support::peer::{Role, Row, locked_version};
use support::served::Served;
use support::server::Server;

/// Runs a client on tokio's single-threaded runtime, with a time limit.
fn client(run: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a tokio runtime");
    let ended = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(120), run).await });
    ended.expect("the exchange ends");
}

async fn connect<B>(server: &Server) -> SendRequest<B>
where
    B: Body<Data = Bytes, Error = std::convert::Infallible> + Send + Unpin + 'static,
{
    let stream = TcpStream::connect(server.address).await.expect("the server accepts");
    let (sender, connection) =
        handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("a handshake");
    tokio::spawn(async move { connection.await.expect("the connection ends well") });
    sender
}

fn request<B>(server: &Server, method: Method, path: &str, body: B) -> Request<B> {
    Request::builder().method(method).uri(server.url(path)).body(body).expect("a request")
}

async fn send<B>(sender: &mut SendRequest<B>, request: Request<B>) -> Response<Incoming>
where
    B: Body<Data = Bytes, Error = std::convert::Infallible> + Send + Unpin + 'static,
{
    sender.ready().await.expect("an open connection");
    sender.send_request(request).await.expect("an answer")
}

#[test]
fn a_get_is_answered() {
    let server = Served::to_crate("hyper");
    client(async {
        let mut sender = connect(&server).await;
        for _ in 0..3 {
            let answer = send(&mut sender, request(&server, Method::GET, "/", Empty::<Bytes>::new())).await;
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.into_body().collect().await.expect("a body").to_bytes(), "Hello, World!");
        }
    });
}

#[test]
fn ten_mib_up_come_back_byte_for_byte() {
    let server = Served::to_crate("hyper");
    client(async {
        let mut sender = connect(&server).await;
        let sent = pattern(TEN_MIB);
        let upload = request(&server, Method::POST, "/echo", Full::new(sent.clone()));
        let answer = send(&mut sender, upload).await;
        assert_eq!(answer.status(), 200);
        let received = answer.into_body().collect().await.expect("a body").to_bytes();
        assert!(received == sent, "{} of {} bytes came back as sent", received.len(), sent.len());
    });
}

#[test]
fn an_upload_waits_while_its_echo_is_not_read() {
    let server = Served::to_crate("hyper");
    client(async {
        let mut sender = connect(&server).await;
        let base = server.resident_kib();
        let upload = request(&server, Method::POST, "/echo", Full::new(pattern(TEN_MIB)));
        let answer = send(&mut sender, upload).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let grown = server.resident_kib().saturating_sub(base);
        assert!(grown < 4 * 1024, "{grown} KiB for an echo that nobody reads");
        assert_eq!(answer.into_body().collect().await.expect("a body").to_bytes().len(), TEN_MIB);
    });
}

#[test]
fn ten_mib_down_wait_for_the_reader() {
    let server = Served::to_crate("hyper");
    client(async {
        let mut sender = connect(&server).await;
        let path = format!("/bytes?n={TEN_MIB}");
        let base = server.resident_kib();
        let mut body =
            send(&mut sender, request(&server, Method::GET, &path, Empty::<Bytes>::new())).await.into_body();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let grown = server.resident_kib().saturating_sub(base);
        assert!(grown < 4 * 1024, "{grown} KiB for a download that nobody reads");
        // The stream that is not read leaves room for others.
        let other = send(&mut sender, request(&server, Method::GET, "/", Empty::new())).await;
        assert_eq!(other.status(), 200);
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            length += frame.expect("a frame").into_data().expect("data").len();
        }
        assert_eq!(length, TEN_MIB);
    });
}

#[test]
fn a_hundred_requests_at_once_each_get_their_own_answer() {
    let server = Served::to_crate("hyper");
    client(async {
        let sender = connect(&server).await;
        let mut waiting = Vec::new();
        for number in 0..100 {
            let mut sender = sender.clone();
            let text = format!("request {number}");
            let upload = request(&server, Method::POST, "/echo", Full::new(Bytes::from(text.clone())));
            waiting.push(tokio::spawn(async move {
                let answer = send(&mut sender, upload).await;
                assert_eq!(answer.into_body().collect().await.expect("a body").to_bytes(), text);
            }));
        }
        for one in waiting {
            one.await.expect("each is answered");
        }
    });
}

#[test]
fn a_dropped_answer_frees_its_stream() {
    let server = Served::to_crate("hyper");
    client(async {
        let mut sender = connect(&server).await;
        for _ in 0..50 {
            let endless = request(&server, Method::GET, "/bytes?n=1099511627776", Empty::<Bytes>::new());
            drop(send(&mut sender, endless).await);
        }
        let answer = send(&mut sender, request(&server, Method::GET, "/", Empty::new())).await;
        assert_eq!(answer.status(), 200);
    });
}

#[test]
fn trailers_come_back_after_the_echo() {
    let server = Served::to_crate("hyper");
    client(async {
        let mut sender = connect(&server).await;
        let mut trailers = HeaderMap::new();
        trailers.append("x-sum", HeaderValue::from_static("1"));
        trailers.append("x-sum", HeaderValue::from_static("2"));
        let sent = trailers.clone();
        let body =
            Full::new(Bytes::from("words")).with_trailers(async move { Some(Ok(sent)) }).boxed_unsync();
        let answer = send(&mut sender, request(&server, Method::POST, "/echo", body)).await;
        let received = answer.into_body().collect().await.expect("a body");
        assert_eq!(received.trailers(), Some(&trailers));
        assert_eq!(received.to_bytes(), "words");
    });
}

/// What hyper's server sends.
type Content = http_body_util::combinators::UnsyncBoxBody<Bytes, hyper::Error>;

/// The routes of `h2_server` that the checks need, but for interim responses, which hyper cannot send.
async fn route(request: Request<Incoming>) -> Result<Response<Content>, Infallible> {
    let whole = |bytes: Bytes| Full::new(bytes).map_err(|never| match never {}).boxed_unsync();
    let content = match request.uri().path() {
        // hyper sends content to whoever gives it some.
        _ if request.method() == Method::HEAD => whole(Bytes::new()),
        "/" => whole("Hello, World!".into()),
        "/bytes" => whole(vec![0; TEN_MIB].into()),
        "/echo" => request.into_body().boxed_unsync(),
        _ => {
            let mut response = Response::new(whole(Bytes::new()));
            *response.status_mut() = hyper::StatusCode::NOT_FOUND;
            return Ok(response);
        }
    };
    Ok(Response::new(content))
}

fn until_the_end(mut socket: std::net::TcpStream) {
    socket.set_nonblocking(false).expect("a socket");
    // A client that is in a hurry may reset the connection.
    drop(std::io::copy(&mut socket, &mut std::io::sink()));
}

/// hyper's server for one connection, on a thread of its own, which ends when it is told to stop.
fn hyper_server() -> (SocketAddr, oneshot::Sender<()>, thread::JoinHandle<()>) {
    let (tell, told) = std::sync::mpsc::channel();
    let (stop, stopped) = oneshot::channel();
    let thread = thread::spawn(move || {
        client(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            tell.send(listener.local_addr().expect("an address")).expect("the test waits");
            let (stream, _) = listener.accept().await.expect("a client");
            let stream = stream.into_std().expect("a socket");
            let kept = stream.try_clone().expect("a second descriptor");
            let stream = TcpStream::from_std(stream).expect("a socket");
            let connection = http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service_fn(route));
            let mut connection = std::pin::pin!(connection);
            let ended = match select(connection.as_mut(), stopped).await {
                Either::Left((ended, _)) => ended,
                Either::Right((_told, mut connection)) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            ended.expect("the connection ends well");
            // hyper would close with input unread, and the kernel throw away what the client has not yet got.
            until_the_end(kept);
        });
    });
    (told.recv().expect("the server starts"), stop, thread)
}

#[test]
fn the_server_of_hyper_is_asked() {
    let (address, stop, server) = hyper_server();
    let mut row = Row::new("hyper", Role::Server);
    row.version(locked_version("hyper"));
    row.lacks("100 Continue, 103 Early Hints", "it sends none");
    wakering::run(async {
        let target = Target::connect(&address.to_string()).await.expect("the server listens");
        let row = &mut row;
        check(row, "GET", target.get("/", b"Hello, World!")).await;
        check(row, "HEAD", target.head("/")).await;
        check(row, "404", target.missing()).await;
        check(row, "POST echoed", target.echo("some words".into())).await;
        check(row, "empty POST", target.echo(Bytes::new())).await;
        check(row, "10 MiB down", target.down()).await;
        check(row, "10 MiB up and back", target.echo(pattern(TEN_MIB))).await;
        check(row, "trailers both ways", target.trailers()).await;
        check(row, "200 requests at once", target.at_once("/", "Hello, World!".into())).await;
        check(row, "both ways at once", target.line_by_line()).await;
        check(row, "cancelled downloads", target.cancelled("/bytes")).await;
        let stop = || stop.send(()).expect("the server goes on");
        check(row, "graceful close", target.graceful_close("/bytes", stop)).await;
    })
    .expect("a runtime");
    row.judge("");
    server.join().expect("the server ends well");
}
