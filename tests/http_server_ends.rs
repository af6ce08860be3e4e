//! Whatever way a request, a stream, a tunnel or a connection of `http::Server` ends, nothing of it is left: streams,
//! handlers, held bytes and connections count down to zero, and rounds of all of them leave no memory behind.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "support/exact.rs"]
mod exact;

use std::{
    cell::Cell,
    future::pending,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use wakering::{
    http::{Body, Meters, Method, Request, Response, Server, StatusCode, Tunnel, client},
    net::{TcpListener, TcpStream},
    time::sleep,
};

/// Counts the handlers that are alive.
struct Alive(Rc<Cell<usize>>);

impl Alive {
    fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Alive(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

async fn answer(request: Request<Body>, alive: Alive) -> Response<Body> {
    let _alive = alive;
    if request.method() == Method::CONNECT {
        let (mut tunnel, response) = Tunnel::accept(request.into_body());
        drop(wakering::spawn(async move {
            while let Some(Ok(bytes)) = tunnel.receive().await {
                tunnel.send(bytes).await.unwrap();
            }
            tunnel.close();
        }));
        return response;
    }
    match request.uri().path() {
        "/never" => pending().await,
        // A panic without the hook, whose message the test program would keep.
        "/panic" => std::panic::resume_unwind(Box::new("on purpose")),
        "/echo" => Response::new(request.into_body()),
        "/collect" => Response::new(request.into_body().collect(1 << 20).await.unwrap_or_default().into()),
        "/forbidden" => Response::builder().header("connection", "close").body(Body::empty()).unwrap(),
        "/abandoned" => {
            let (mut sender, body) = Body::channel();
            sender.send(Bytes::from_static(b"a part")).await.unwrap();
            Response::new(body)
        }
        "/endless" => {
            let (mut sender, body) = Body::channel();
            drop(wakering::spawn(async move {
                while sender.send(Bytes::from(vec![7; 16 * 1024])).await.is_ok() {}
            }));
            Response::new(body)
        }
        _ => Response::new(Body::from("ok")),
    }
}

struct Round {
    address: SocketAddr,
    meters: Meters,
    alive: Rc<Cell<usize>>,
}

impl Round {
    /// Waits until the server has nothing in hand; `connections` may be open.
    async fn quiet(&self, connections: u64, what: &str) {
        let patience = Instant::now() + Duration::from_secs(20);
        loop {
            let now = self.meters.read();
            let held = (now.streams_open, now.handlers, now.held_received, now.held_output, now.held_heads);
            if held == (0, 0, 0, 0, 0) && now.connections_open == connections && self.alive.get() == 0 {
                return;
            }
            assert!(Instant::now() < patience, "{what}: {} handlers, {now:?}", self.alive.get());
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until so many handlers are alive.
    async fn at_work(&self, handlers: usize) {
        while self.alive.get() < handlers {
            sleep(Duration::from_millis(1)).await;
        }
    }

    fn request(&self, method: Method, path: &str, body: impl Into<Body>) -> Request<Body> {
        let uri = format!("http://{}{path}", self.address);
        Request::builder().method(method).uri(uri).body(body.into()).unwrap()
    }

    /// Every way in which a stream ends while its connection goes on.
    async fn streams(&self) {
        let mut connection = client::connect(self.address).await.unwrap();
        let large = Bytes::from(vec![7; 200_000]);
        for path in ["/", "/echo", "/collect", "/unread", "/forbidden", "/panic", "/abandoned"] {
            connection.ready().await.unwrap();
            let response = connection.send(self.request(Method::POST, path, large.clone())).await;
            if let Ok(response) = response {
                let _ = response.into_body().collect(1 << 20).await;
            }
            self.quiet(1, path).await;
        }
        // The client gives up: before the answer, and inside it.
        let waiting = connection.send(self.request(Method::GET, "/never", Body::empty()));
        self.at_work(1).await;
        drop(waiting);
        self.quiet(1, "given up before the answer").await;
        let mut endless =
            connection.send(self.request(Method::GET, "/endless", Body::empty())).await.unwrap();
        endless.body_mut().data().await.unwrap().unwrap();
        drop(endless);
        self.quiet(1, "given up inside the answer").await;
        self.tunnels(&mut connection).await;
        drop(connection);
        self.quiet(0, "a client that leaves").await;
    }

    /// A tunnel that ends in order, and one that is dropped.
    async fn tunnels(&self, connection: &mut client::SendRequest) {
        for orderly in [true, false] {
            let (sender, body) = Body::channel();
            let request = Request::builder().method(Method::CONNECT).uri("a:1").body(body).unwrap();
            let response = connection.send(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            let mut tunnel = Tunnel::new(response.into_body(), sender);
            tunnel.send(Bytes::from_static(b"echo")).await.unwrap();
            let mut echoed = Vec::new();
            while echoed.len() < 4 {
                echoed.extend_from_slice(&tunnel.receive().await.unwrap().unwrap());
            }
            assert_eq!(echoed, b"echo");
            if orderly {
                tunnel.close();
                assert!(tunnel.receive().await.is_none());
            }
            drop(tunnel);
            self.quiet(1, "a tunnel").await;
        }
    }

    /// Every way in which a connection ends.
    async fn connections(&self) {
        // A client that vanishes with handlers at work.
        let mut connection = client::connect(self.address).await.unwrap();
        let waiting: Vec<_> = (0..20)
            .map(|_| connection.send(self.request(Method::POST, "/never", Bytes::from(vec![7; 10_000]))))
            .collect();
        self.at_work(20).await;
        drop((waiting, connection));
        self.quiet(0, "a client that vanishes").await;
        let preface = &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"[..];
        let get = &b"\0\0\x05\x01\x05\0\0\0\x01\x82\x86\x84\x41\0"[..];
        for (what, bytes) in [
            ("nothing said", vec![]),
            ("half a preface", preface[..10].to_vec()),
            ("HTTP/1", b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec()),
            ("neither", vec![0xff; 100]),
            ("a broken frame", [preface, b"\0\0\x01\x06\0\0\0\0\0x"].concat()),
            ("a broken header block", [preface, get].concat()),
            ("half a frame", [preface, &b"\0\0\x10\x01\x05\0\0\0\x01"[..]].concat()),
            ("GOAWAY", [preface, &b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x02"[..]].concat()),
        ] {
            let mut socket = TcpStream::connect(self.address).await.unwrap();
            socket.write_all(&bytes).await.unwrap();
            socket.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = vec![0; 4096];
            while socket.read(&mut answer).await.is_ok_and(|n| n > 0) {}
            drop(socket);
            self.quiet(0, what).await;
        }
    }
}

/// A server for rounds of all ends.
fn start() -> (Server, Round) {
    let alive = Rc::new(Cell::new(0));
    let meters = Meters::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let counted = alive.clone();
    let handler = move |request| answer(request, Alive::new(&counted));
    let server = Server::builder().meters(meters.clone()).start(listener, handler).unwrap();
    let round = Round { address: server.local_addr(), meters, alive };
    (server, round)
}

/// Rounds on one server; at the end it is stopped with handlers at work.
async fn rounds(count: usize) {
    let (server, round) = start();
    for _ in 0..count {
        round.streams().await;
        round.connections().await;
    }
    let mut connection = client::connect(round.address).await.unwrap();
    let waiting = connection.send(round.request(Method::GET, "/never", Body::empty()));
    round.at_work(1).await;
    let stopped = server.stop(Duration::ZERO).await;
    assert_eq!((stopped.aborted_connections, stopped.aborted_handlers), (1, 1));
    round.quiet(0, "a server that stops").await;
    assert!(waiting.await.is_err());
}

#[test]
fn nothing_is_left_of_any_end_when_the_server_has_ended() {
    if exact::calls_may_fail() {
        return;
    }
    let kept = |count| allocation_counter::measure(|| wakering::run(rounds(count)).unwrap()).bytes_current;
    kept(1); // what the process makes once
    let (few, many) = (kept(3), kept(12));
    assert!(many <= few + 1024, "left behind: {few} and {many} bytes");
}

/// How requests happen to meet decides how much is held at most, but not what is held when nothing is under way.
#[test]
fn a_server_at_rest_holds_no_more_for_the_ends_that_it_has_seen() {
    if exact::calls_may_fail() {
        return;
    }
    let runtime = wakering::Runtime::new().unwrap();
    let (server, round) = runtime.block_on(async { start() }).unwrap();
    let kept = |count: usize| {
        let rounds = async {
            for _ in 0..count {
                round.streams().await;
                round.connections().await;
            }
        };
        allocation_counter::measure(|| runtime.block_on(rounds).unwrap()).bytes_current
    };
    // Tables and what is kept for the next request grow for a while, and again at a new peak; what a round leaves behind is
    // left by each.
    let kept: Vec<i64> = (0..12).map(|_| kept(12)).take_while(|kept| *kept > 1024).collect();
    assert!(kept.len() < 12, "left behind by twelve rounds, each time: {kept:?} bytes");
    assert_eq!(runtime.block_on(server.stop(Duration::ZERO)).unwrap().aborted_connections, 0);
}
