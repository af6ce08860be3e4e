//! `http::Server` under a client that nobody here wrote (hyper): handlers that wait, fail, panic or are left
//! alone, bodies both ways, and the end.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "support/exact.rs"]
mod exact;

use std::{
    future::pending,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use wakering::{
    http::{Body, BodyError, HeaderMap, HeaderValue, Request, Response, Server, StatusCode, Stopped},
    net::TcpListener,
    time::sleep,
};

/// What nothing here takes unless it hangs.
const LONG: Duration = Duration::from_secs(60);

/// A server on a thread of its own, until it is told to stop.
struct Running {
    address: SocketAddr,
    stop: mpsc::Sender<Duration>,
    stopped: thread::JoinHandle<Stopped>,
    alive: Arc<AtomicUsize>,
}

/// Counts the handlers that are alive.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Alive(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Running {
    fn start() -> Self {
        let alive = Arc::new(AtomicUsize::new(0));
        let count = alive.clone();
        let (report, address) = mpsc::channel();
        let (stop, end) = mpsc::channel();
        let serving = move || async move {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let handler = move |request: Request<Body>| {
                let alive = Alive::new(&count);
                async move {
                    let response = answer(request).await;
                    drop(alive);
                    response
                }
            };
            let server = Server::start(listener, handler).unwrap();
            report.send(server.local_addr()).unwrap();
            let end = wakering::spawn_blocking(move || end.recv().unwrap_or_default());
            let grace = end.unwrap().await.unwrap();
            server.stop(grace).await
        };
        let stopped = thread::spawn(move || wakering::run(serving()).unwrap());
        Running { address: address.recv().unwrap(), stop, stopped, alive }
    }

    fn stop(self, grace: Duration) -> Stopped {
        self.stop.send(grace).unwrap();
        self.stopped.join().unwrap()
    }

    /// Waits until no handler is alive.
    fn all_gone(&self) {
        let patience = Instant::now() + Duration::from_secs(60);
        while self.alive.load(Ordering::SeqCst) > 0 {
            assert!(Instant::now() < patience, "a handler outlives its stream");
            thread::yield_now();
        }
    }

    fn request(&self, path: &str) -> Request<Full<Bytes>> {
        self.post(path, Bytes::new())
    }

    fn post(&self, path: &str, content: Bytes) -> Request<Full<Bytes>> {
        let uri = format!("http://{}{path}", self.address);
        Request::builder().method("POST").uri(uri).body(Full::new(content)).unwrap()
    }
}

/// What a panic carries may panic when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a payload panics on purpose");
    }
}

async fn answer(request: Request<Body>) -> Response<Body> {
    match request.uri().path() {
        "/panic" => panic!("a handler panics on purpose"),
        "/late-panic" => {
            sleep(Duration::from_millis(1)).await;
            panic!("a handler panics after it has waited")
        }
        "/bomb" => {
            sleep(Duration::from_millis(1)).await;
            std::panic::panic_any(Bomb)
        }
        "/never" => pending().await,
        "/slow" => {
            sleep(Duration::from_millis(100)).await;
            Response::new("slow".into())
        }
        "/unread" => Response::new("not read".into()),
        "/limit" => match request.into_body().collect(1000).await {
            Ok(content) => Response::new(content.into()),
            Err(BodyError::TooLong { .. }) => status(StatusCode::PAYLOAD_TOO_LARGE),
            Err(_other) => status(StatusCode::BAD_REQUEST),
        },
        "/channel" => channel(),
        "/abandoned" => {
            let (mut sender, body) = Body::channel();
            drop(wakering::spawn(async move {
                let _ = sender.send("a part".into()).await;
            }));
            Response::new(body)
        }
        "/no-content" => status(StatusCode::NO_CONTENT),
        "/not-modified" => {
            let mut response = Response::new(Body::from("content that must not be sent"));
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        }
        "/echo" => Response::new(request.into_body()),
        _ => Response::new("ok".into()),
    }
}

fn channel() -> Response<Body> {
    let (mut sender, body) = Body::channel();
    drop(wakering::spawn(async move {
        for _ in 0..100 {
            if sender.send(Bytes::from(vec![b'x'; 10_000])).await.is_err() {
                return;
            }
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("1000000"));
        let _ = sender.finish_with(trailers);
    }));
    Response::new(body)
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn client<R>(run: impl Future<Output = R>) -> R {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(60), run).await })
        .expect("the exchange ends")
}

async fn connect(server: &Running) -> SendRequest<Full<Bytes>> {
    let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn text(sender: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> (StatusCode, Bytes) {
    sender.ready().await.unwrap();
    let response = sender.send_request(request).await.unwrap();
    (response.status(), response.into_body().collect().await.unwrap().to_bytes())
}

#[test]
fn a_handler_that_panics_resets_its_stream_and_nothing_else() {
    let server = Running::start();
    client(async {
        let mut sender = connect(&server).await;
        for path in ["/panic", "/late-panic", "/bomb"] {
            let failed = sender.send_request(server.request(path)).await;
            let error = format!("{:?}", failed.map(|_| ()).unwrap_err());
            assert!(error.contains("INTERNAL_ERROR"), "{error}");
            assert_eq!(text(&mut sender, server.request("/")).await.1, "ok");
        }
    });
    server.all_gone();
    server.stop(Duration::ZERO);
}

#[test]
fn a_handler_ends_with_its_stream() {
    let server = Running::start();
    client(async {
        let mut sender = connect(&server).await;
        for _ in 0..3 {
            let waiting = sender.send_request(server.request("/never"));
            let given_up = tokio::time::timeout(Duration::from_millis(20), waiting).await;
            assert!(given_up.is_err(), "dropping the response future resets the stream");
        }
        assert_eq!(text(&mut sender, server.request("/")).await.1, "ok");
        server.all_gone();
    });
    server.stop(Duration::ZERO);
}

#[test]
fn handlers_end_with_a_client_that_vanishes() {
    let server = Running::start();
    client(async {
        let mut sender = connect(&server).await;
        let waiting: Vec<_> = (0..50).map(|_| sender.send_request(server.request("/never"))).collect();
        while server.alive.load(Ordering::SeqCst) < 50 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(waiting);
    });
    server.all_gone();
    let stopped = server.stop(Duration::ZERO);
    assert_eq!(stopped.aborted_handlers, 0);
}

#[test]
fn a_request_that_nobody_reads_does_not_block_the_connection() {
    let server = Running::start();
    client(async {
        let mut sender = connect(&server).await;
        // More than both windows: they must be given back although nobody reads.
        for _ in 0..4 {
            let content = Bytes::from(vec![0; 1 << 20]);
            sender.ready().await.unwrap();
            let response = sender.send_request(server.post("/unread", content)).await.unwrap();
            assert_eq!(response.status(), 200);
            drop(response);
        }
        assert_eq!(text(&mut sender, server.request("/")).await.1, "ok");
    });
    server.stop(Duration::ZERO);
}

#[test]
fn collecting_more_than_the_limit_is_an_error_for_the_handler() {
    let server = Running::start();
    client(async {
        let mut sender = connect(&server).await;
        let small = text(&mut sender, server.post("/limit", Bytes::from_static(&[b'a'; 1000]))).await;
        assert_eq!((small.0.as_u16(), small.1.len()), (200, 1000));
        let large = text(&mut sender, server.post("/limit", Bytes::from_static(&[b'a'; 1001]))).await;
        assert_eq!(large.0, StatusCode::PAYLOAD_TOO_LARGE);
    });
    server.stop(Duration::ZERO);
}

#[test]
fn a_channel_sends_a_megabyte_and_trailers() {
    let server = Running::start();
    client(async {
        let mut sender = connect(&server).await;
        let response = sender.send_request(server.request("/channel")).await.unwrap();
        let content = response.into_body().collect().await.unwrap();
        assert_eq!(content.trailers().unwrap()["x-sum"], "1000000");
        assert_eq!(content.to_bytes().len(), 1_000_000);
    });
    server.stop(Duration::ZERO);
}

#[test]
fn content_whose_sender_is_dropped_is_reset_not_cut_short() {
    let server = Running::start();
    client(async {
        let mut sender = connect(&server).await;
        let response = sender.send_request(server.request("/abandoned")).await.unwrap();
        assert!(response.into_body().collect().await.is_err());
        assert_eq!(text(&mut sender, server.request("/")).await.1, "ok");
    });
    server.stop(Duration::ZERO);
}

#[test]
fn responses_without_content_have_none() {
    let server = Running::start();
    client(async {
        let mut sender = connect(&server).await;
        for (path, expected) in [("/no-content", 204), ("/not-modified", 304)] {
            let (status, content) = text(&mut sender, server.request(path)).await;
            assert_eq!((status.as_u16(), content.len()), (expected, 0), "{path}");
        }
    });
    server.stop(Duration::ZERO);
}

#[test]
fn stopping_waits_for_handlers_within_the_grace() {
    let server = Running::start();
    let (stop, address) = (server.stop.clone(), server.address);
    let body = client(async {
        let mut sender = connect(&server).await;
        let waiting = sender.send_request(server.request("/slow"));
        let alive = server.alive.clone();
        tokio::spawn(async move {
            while alive.load(Ordering::SeqCst) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            stop.send(LONG).unwrap();
        });
        let response = waiting.await;
        response.unwrap().into_body().collect().await.unwrap().to_bytes()
    });
    assert_eq!(body, "slow");
    assert_eq!(server.stopped.join().unwrap(), Stopped::default());
    assert!(std::net::TcpStream::connect(address).is_err(), "the listener is closed");
}

#[test]
fn stopping_aborts_what_outlives_the_grace_and_says_how_much() {
    let server = Running::start();
    client(async {
        let mut sender = connect(&server).await;
        let waiting = sender.send_request(server.request("/never"));
        while server.alive.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let alive = server.alive.clone();
        let start = Instant::now();
        let stopping = tokio::task::spawn_blocking(move || server.stop(Duration::from_millis(50)));
        assert!(waiting.await.is_err());
        let stopped = stopping.await.unwrap();
        assert_eq!((stopped.aborted_connections, stopped.aborted_handlers), (1, 1));
        // 100 ms after the deadline on a quiet machine; a busy one may not run us for long.
        assert!(start.elapsed() < LONG / 2, "{:?}", start.elapsed());
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn an_idle_client_does_not_hold_up_the_stop() {
    let server = Running::start();
    client(async {
        let mut sender = connect(&server).await;
        assert_eq!(text(&mut sender, server.request("/")).await.1, "ok");
        let start = Instant::now();
        let stopping = tokio::task::spawn_blocking(move || server.stop(LONG));
        let stopped = stopping.await.unwrap();
        assert_eq!(stopped.aborted_connections, 0);
        assert!(start.elapsed() < LONG / 2, "{:?}", start.elapsed());
        drop(sender);
    });
}

#[test]
fn a_peer_that_never_speaks_is_aborted_at_the_end_of_the_grace() {
    let server = Running::start();
    let silent = std::net::TcpStream::connect(server.address).unwrap();
    client(async {
        let mut sender = connect(&server).await;
        assert_eq!(text(&mut sender, server.request("/")).await.1, "ok");
    });
    let start = Instant::now();
    server.stop(Duration::from_millis(200));
    assert!(start.elapsed() < LONG / 2, "{:?}", start.elapsed());
    drop(silent);
}

#[test]
fn every_worker_serves_and_stops() {
    let runtime = wakering::Runtime::builder().workers(2).build().unwrap();
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    let served = runtime.block_on(async move {
        let factory = move || {
            count.fetch_add(1, Ordering::SeqCst);
            |_: Request<Body>| async { Response::new(Body::from("ok")) }
        };
        let server = Server::builder().start_on_all("127.0.0.1:0".parse().unwrap(), factory).unwrap();
        let address = server.local_addr();
        let load = wakering::spawn_blocking(move || {
            client(async {
                let mut answered = 0;
                for _ in 0..20 {
                    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
                    let io = TokioIo::new(stream);
                    let (mut sender, connection) = handshake(TokioExecutor::new(), io).await.unwrap();
                    tokio::spawn(connection);
                    let uri = format!("http://{address}/");
                    let request = Request::builder().uri(uri).body(Empty::<Bytes>::new()).unwrap();
                    let response = sender.send_request(request).await.unwrap();
                    answered += usize::from(response.status() == 200);
                }
                answered
            })
        });
        let answered = load.unwrap().await.unwrap();
        let stopped = server.stop(Duration::from_secs(60)).await;
        (answered, stopped)
    });
    assert_eq!(served.unwrap(), (20, Stopped::default()));
    assert_eq!(made.load(Ordering::SeqCst), 2, "the factory makes one handler a worker");
}

/// RFC 9113 §5.4.1: GOAWAY says why, and then the TCP connection is closed.
#[test]
fn a_violation_ends_in_goaway_and_the_end_of_the_socket() {
    let server = Running::start();
    let mut socket = TcpStream::connect(server.address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    // PING of seven octets.
    socket.write_all(b"\0\0\x07\x06\0\0\0\0\x001234567").unwrap();
    let mut received = Vec::new();
    socket.read_to_end(&mut received).expect("the server closes its side");
    let text = received.windows(16).position(|part| part == b"FRAME_SIZE_ERROR").expect("a reason in words");
    // Head of 9 octets, last stream 0, code 6.
    assert_eq!(&received[text - 14..text], [7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6]);
    server.stop(Duration::ZERO);
}

/// The handler is there before the first byte: preface, SETTINGS and a request in one segment.
#[test]
fn a_request_in_the_first_segment_is_answered() {
    let server = Running::start();
    let mut socket = TcpStream::connect(server.address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut first = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    // POST http / of authority `a`, by index and one literal.
    first.extend_from_slice(b"\0\0\x06\x01\x05\0\0\0\x01\x83\x86\x84\x01\x01a");
    socket.write_all(&first).unwrap();
    let mut head = [0; 9];
    while head[3] != 1 {
        socket.read_exact(&mut head).expect("an answer");
        let mut payload = vec![0; usize::from(head[2]) | usize::from(head[1]) << 8];
        socket.read_exact(&mut payload).expect("a whole frame");
        if head[3] == 1 {
            assert_eq!(payload.iter().find(|byte| **byte & 0xe0 != 0x20), Some(&0x88), ":status 200");
        }
    }
    assert_eq!(head[8], 1, "on stream 1");
    drop(socket);
    server.stop(Duration::ZERO);
}

/// RFC 9113 §5.4.1: whoever is cut off learns up to where the server has looked.
#[test]
fn a_connection_that_outlives_the_grace_is_told_the_last_stream() {
    if exact::calls_may_fail() {
        return;
    }
    let server = Running::start();
    let mut socket = TcpStream::connect(server.address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut first = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    // GET http /never of authority `a`.
    first.extend_from_slice(b"\0\0\x0d\x01\x05\0\0\0\x05\x82\x86\x04\x06/never\x01\x01a");
    socket.write_all(&first).unwrap();
    while server.alive.load(Ordering::SeqCst) == 0 {
        thread::yield_now();
    }
    let stopped = server.stop(Duration::from_millis(50));
    assert_eq!((stopped.aborted_connections, stopped.aborted_handlers), (1, 1));
    let mut received = Vec::new();
    socket.read_to_end(&mut received).expect("the server closes its side");
    let mut lasts = Vec::new();
    while let [_, high, low, kind, _, _, _, _, _, rest @ ..] = &received[..] {
        let length = usize::from(*low) | usize::from(*high) << 8;
        if *kind == 7 {
            lasts.push(u32::from_be_bytes(rest[..4].try_into().unwrap()));
        }
        received = rest[length..].to_vec();
    }
    assert_eq!(lasts, [0x7fff_ffff, 5]);
}
