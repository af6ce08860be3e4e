//! How `http::Server` behaves towards clients of HTTP/1: persistence, order, framing, tunnels, ends.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "support/http1.rs"]
mod http1;
#[path = "support/serving.rs"]
mod serving;

use std::{
    future::Future,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http1::{Answer, answers, connect, exchange, read_answer, read_to_end};
use serving::{Client, Serving};
use wakering::{
    http::{
        Body, BodyError, Builder, CommandError, Config, ConnectionEnd, Frame, HeaderMap, HeaderValue, Http1,
        Meters, Method, Metrics, Request, Response, Server, StatusCode, Stopped, Tunnel, header,
    },
    net::TcpListener,
    spawn,
    time::ManualClock,
};

/// Long enough for a loaded machine; only a failing test waits so long.
const FOR_EVER: Duration = Duration::from_secs(30);

fn builder() -> Builder {
    Server::builder().http1(Http1::default())
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Waits until the server's numbers are as wanted.
fn wait_for(meters: &Meters, what: &str, wanted: impl Fn(&Metrics) -> bool) {
    let end = Instant::now() + FOR_EVER;
    while !wanted(&meters.read()) {
        assert!(Instant::now() < end, "{what}: {:?}", meters.read());
        thread::sleep(Duration::from_millis(2));
    }
}

/// Tells when it is dropped.
struct Tells(Sender<&'static str>);

impl Drop for Tells {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

/// Does what the path says.
async fn route(mut request: Request<Body>) -> Response<Body> {
    match request.uri().path() {
        "/echo" => Response::new(request.into_body()),
        "/slow" => {
            wakering::time::sleep(Duration::from_millis(30)).await;
            Response::new(Body::from("slow"))
        }
        "/none" => status(StatusCode::NO_CONTENT),
        "/known" => {
            let mut response = status(StatusCode::NOT_MODIFIED);
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("9"));
            response
        }
        "/count" => {
            let mut count = 0;
            while let Some(Ok(bytes)) = request.body_mut().data().await {
                count += bytes.len();
            }
            Response::new(Body::from(count.to_string()))
        }
        "/trailers" => trailers(request).await,
        "/unread" => Response::new(Body::from("no, thanks")),
        "/broken" => {
            let (mut sender, body) = Body::channel();
            sender.send(Bytes::from_static(b"a part")).await.unwrap();
            drop(sender);
            Response::new(body)
        }
        "/panic" => panic!("on purpose"),
        "/upgrade" => tunnel(request, StatusCode::SWITCHING_PROTOCOLS),
        _ if request.method() == "CONNECT" => tunnel(request, StatusCode::OK),
        _ => Response::new(Body::from("Hello, World!")),
    }
}

/// Sends back what comes as the trailer `x-seen`, behind a content of its own.
async fn trailers(mut request: Request<Body>) -> Response<Body> {
    let mut seen = HeaderMap::new();
    while let Some(Ok(frame)) = request.body_mut().frame().await {
        if let Frame::Trailers(fields) = frame {
            seen = fields;
        }
    }
    let (mut sender, body) = Body::channel();
    sender.send(Bytes::from_static(b"content")).await.unwrap();
    sender.finish_with(seen).unwrap();
    Response::new(body)
}

/// Opens a tunnel that sends back what it gets, and an end for an end.
fn tunnel(request: Request<Body>, status: StatusCode) -> Response<Body> {
    let (mut tunnel, mut response) = Tunnel::accept(request.into_body());
    wakering::spawn(async move {
        while let Some(Ok(bytes)) = tunnel.receive().await {
            if tunnel.send(bytes).await.is_err() {
                return;
            }
        }
        let _ = tunnel.send(Bytes::from_static(b"bye")).await;
        tunnel.close();
    });
    *response.status_mut() = status;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("echo/1"));
    }
    response
}

fn serving() -> Serving {
    Serving::start(builder(), || route)
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").into_bytes()
}

fn last(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").into_bytes()
}

#[test]
fn requests_that_are_sent_ahead_are_answered_in_order() {
    let server = serving();
    let request = [get("/slow"), get("/"), get("/slow"), get("/none"), last("/")].concat();
    for step in [request.len(), 5] {
        let seen: Vec<_> = answers(&exchange(server.address, &request, step))
            .into_iter()
            .map(|answer| (answer.status, String::from_utf8(answer.content).unwrap()))
            .collect();
        let hello = || (200, "Hello, World!".to_owned());
        let slow = || (200, "slow".to_owned());
        assert_eq!(seen, [slow(), hello(), slow(), (204, String::new()), hello()]);
    }
    server.stop(FOR_EVER);
}

#[test]
fn head_204_and_304_have_no_content() {
    let server = serving();
    let mut socket = connect(server.address);
    socket.write_all(b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut socket, true).field("content-length"), Some("13"));
    socket.write_all(&get("/none")).unwrap();
    let none = read_answer(&mut socket, false);
    assert_eq!((none.status, none.field("content-length")), (204, None));
    socket.write_all(&get("/known")).unwrap();
    let known = read_answer(&mut socket, false);
    assert_eq!((known.status, known.field("content-length")), (304, Some("9")));
    socket.write_all(&last("/")).unwrap();
    assert_eq!(answers(&read_to_end(&mut socket))[0].content, b"Hello, World!");
    server.stop(FOR_EVER);
}

#[test]
fn chunks_and_trailers_go_both_ways() {
    let server = serving();
    let request =
        b"POST /trailers HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
        3\r\nabc\r\n0\r\nx-seen: yes\r\n\r\n";
    let came = exchange(server.address, request, request.len());
    let text = String::from_utf8(came).unwrap();
    assert!(text.ends_with("\r\n7\r\ncontent\r\n0\r\nx-seen: yes\r\n\r\n"), "{text}");
    // HTTP/1.0 has neither chunks nor trailers: the content ends with the connection.
    let request = b"POST /echo HTTP/1.0\r\ncontent-length: 3\r\nconnection: keep-alive\r\n\r\nabc";
    let text = String::from_utf8(exchange(server.address, request, request.len())).unwrap();
    assert!(text.contains("connection: close") && text.ends_with("\r\n\r\nabc"), "{text}");
    server.stop(FOR_EVER);
}

#[test]
fn a_client_that_waits_is_invited_when_its_content_is_read() {
    let server = serving();
    let head = |path| {
        format!("POST {path} HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
    };
    let mut socket = connect(server.address);
    socket.write_all(head("/echo").as_bytes()).unwrap();
    let invitation = read_answer(&mut socket, false);
    assert_eq!((invitation.status, invitation.fields.len()), (100, 0));
    socket.write_all(b"hi").unwrap();
    assert_eq!(read_answer(&mut socket, false).content, b"hi");
    // Nobody reads: the answer comes without the word, and nobody knows whether content will follow.
    socket.write_all(head("/unread").as_bytes()).unwrap();
    let all = answers(&read_to_end(&mut socket));
    assert_eq!((all.len(), all[0].status, all[0].field("connection")), (1, 200, Some("close")));
    server.stop(FOR_EVER);
}

#[test]
fn a_tunnel_opens_by_upgrade_and_by_connect_and_either_side_may_end_first() {
    let server = serving();
    let upgrade = "GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo/1\r\n\r\n";
    for (head, opened) in [(upgrade, 101), ("CONNECT b:80 HTTP/1.1\r\nhost: b:80\r\n\r\n", 200)] {
        let mut socket = connect(server.address);
        // What follows the head at once is the tunnel's already.
        socket.write_all(format!("{head}early ").as_bytes()).unwrap();
        let mut came = Vec::new();
        while !came.ends_with(b"early ") {
            let mut octet = [0];
            socket.read_exact(&mut octet).unwrap();
            came.push(octet[0]);
        }
        let text = String::from_utf8(came).unwrap();
        assert!(text.starts_with(&format!("HTTP/1.1 {opened} ")), "{text}");
        assert!(!text.contains("content-length") && !text.contains("transfer-encoding"), "{text}");
        assert_eq!(text.contains("connection: upgrade\r\n"), opened == 101, "{text}");
        socket.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&mut socket), b"GET / HTTP/1.1\r\n\r\nbye");
    }
    // Whoever was not asked cannot change the protocol.
    let refused = answers(&exchange(server.address, &[get("/upgrade"), last("/")].concat(), usize::MAX));
    assert_eq!(refused[0].status, 500);
    server.stop(FOR_EVER);
}

#[test]
fn a_response_that_the_framing_forbids_becomes_a_500() {
    let (report, reports) = mpsc::channel();
    let builder = builder().on_bad_response(move |bad| report.send((bad.error, bad.reset)).unwrap());
    let server = Serving::start(builder, || {
        |request: Request<Body>| async move {
            let mut response = Response::new(Body::from("four"));
            let (name, value) = match request.uri().path() {
                "/coding" => (header::TRANSFER_ENCODING, "chunked"),
                "/length" => (header::CONTENT_LENGTH, "5"),
                _ => (header::TE, "trailers"),
            };
            response.headers_mut().insert(name, HeaderValue::from_static(value));
            response
        }
    });
    for (path, error) in [
        ("/coding", CommandError::ForbiddenField),
        ("/length", CommandError::ContentLength),
        ("/te", CommandError::ForbiddenField),
    ] {
        let all = answers(&exchange(server.address, &last(path), usize::MAX));
        assert_eq!(all.iter().map(|answer| answer.status).collect::<Vec<_>>(), [500], "{path}");
        assert_eq!(reports.recv_timeout(FOR_EVER).unwrap(), (error, false), "{path}");
    }
    server.stop(FOR_EVER);
}

/// Sends half a megabyte to who has answered already, never silent for as long as a server lingers, and reads then. `None`
/// when this thread was held up for so long that it was silent after all.
fn upload_in_vain(address: SocketAddr) -> Option<Vec<Answer>> {
    let mut socket = connect(address);
    let head = "POST /unread HTTP/1.1\r\nhost: a\r\ncontent-length: 500000\r\n\r\n";
    socket.write_all(head.as_bytes()).unwrap();
    let mut last = Instant::now();
    for _ in 0..25 {
        let sent = socket.write_all(&[7; 20_000]);
        if last.elapsed() > Duration::from_millis(500) {
            return None;
        }
        sent.unwrap();
        last = Instant::now();
        thread::sleep(Duration::from_millis(100));
    }
    Some(answers(&read_to_end(&mut socket)))
}

#[test]
fn a_client_that_reads_when_it_has_sent_everything_finds_its_refusal() {
    let server = serving();
    let all = (0..20).find_map(|_| upload_in_vain(server.address)).expect("a machine that is not held up");
    assert_eq!((all.len(), &all[0].content[..]), (1, &b"no, thanks"[..]));
    server.stop(FOR_EVER);
}

#[test]
fn a_handler_that_panics_is_a_500_and_content_that_breaks_off_shows() {
    let server = serving();
    let all = answers(&exchange(server.address, &[get("/panic"), get("/")].concat(), usize::MAX));
    assert_eq!(all.iter().map(|answer| answer.status).collect::<Vec<_>>(), [500]);
    let text = String::from_utf8(exchange(server.address, &get("/broken"), usize::MAX)).unwrap();
    assert!(text.ends_with("6\r\na part\r\n"), "no last chunk: {text}");
    // In HTTP/1.0 the end of the connection would pass for that of the content.
    let mut socket = connect(server.address);
    socket.write_all(b"GET /broken HTTP/1.0\r\n\r\n").unwrap();
    let ended = socket.read_to_end(&mut Vec::new());
    assert_eq!(ended.map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    server.stop(FOR_EVER);
}

#[test]
fn a_refusal_is_read_although_the_client_goes_on_sending() {
    let server = serving();
    let mut socket = connect(server.address);
    let head = "POST /unread HTTP/1.1\r\nhost: a\r\ncontent-length: 900000\r\n\r\n";
    socket.write_all(head.as_bytes()).unwrap();
    let mut sender = socket.try_clone().unwrap();
    // It fails when the server has closed, and may do so at any time.
    let sending = thread::spawn(move || sender.write_all(&vec![7; 900_000]).is_ok());
    let all = answers(&read_to_end(&mut socket));
    assert_eq!((all.len(), &all[0].content[..]), (1, &b"no, thanks"[..]));
    assert_eq!(all[0].field("connection"), Some("close"), "so much will not be read");
    sending.join().unwrap();
    // Little that is left over is passed over, and the connection stays.
    let few = b"POST /unread HTTP/1.1\r\nhost: a\r\ncontent-length: 900\r\n\r\n";
    let chunks = b"POST /unread HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n";
    let request = [&few[..], &[7; 900], chunks, &last("/")].concat();
    for step in [100, 1, request.len()] {
        let seen: Vec<u16> =
            answers(&exchange(server.address, &request, step)).iter().map(|answer| answer.status).collect();
        assert_eq!(seen, [200, 200, 200]);
    }
    server.stop(FOR_EVER);
}

/// A server whose handlers never answer; what becomes of them.
fn stuck(http1: Http1) -> (Serving, Receiver<&'static str>) {
    let (events, seen) = mpsc::channel();
    let server = Serving::start(Server::builder().http1(http1), move || {
        move |_: Request<Body>| {
            let events = events.clone();
            async move {
                let _tells = Tells(events.clone());
                events.send("begun").unwrap();
                std::future::pending::<Response<Body>>().await
            }
        }
    });
    (server, seen)
}

#[test]
fn a_handler_ends_with_its_client() {
    for half_closed in [Duration::ZERO, Duration::from_millis(20)] {
        let (server, seen) = stuck(Http1 { half_closed, ..Http1::default() });
        for request in [get("/"), b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhal".to_vec()] {
            let mut socket = connect(server.address);
            socket.write_all(&request).unwrap();
            assert_eq!(seen.recv_timeout(FOR_EVER).unwrap(), "begun");
            drop(socket);
            assert_eq!(seen.recv_timeout(FOR_EVER).unwrap(), "dropped");
        }
        server.stop(FOR_EVER);
    }
}

#[test]
fn a_client_that_resets_behind_its_end_ends_its_handler() {
    // The fallback backend tells of no reset behind an end: there the time is short.
    let half_closed = if cfg!(wakering_fallback) { Duration::from_millis(20) } else { 10 * FOR_EVER };
    let (server, seen) = stuck(Http1 { half_closed, ..Http1::default() });
    for _ in 0..20 {
        let mut socket = connect(server.address);
        socket.write_all(&get("/")).unwrap();
        assert_eq!(seen.recv_timeout(FOR_EVER).unwrap(), "begun");
        socket.shutdown(Shutdown::Write).unwrap();
        let socket = wakering::net::TcpStream::from_std(socket).unwrap();
        socket.set_linger(Some(Duration::ZERO)).unwrap();
        drop(socket);
        assert_eq!(seen.recv_timeout(FOR_EVER).unwrap(), "dropped");
    }
    server.stop(FOR_EVER);
}

#[test]
fn a_client_that_ends_its_side_is_answered_also_what_it_sent_ahead() {
    let server = serving();
    let post = |framed: &str| format!("POST /count HTTP/1.1\r\nhost: a\r\n{framed}").into_bytes();
    for (requests, wanted) in [
        (vec![get("/slow")], vec!["slow"]),
        (vec![b"GET /slow HTTP/1.0\r\n\r\n".to_vec()], vec!["slow"]),
        (vec![post("content-length: 5\r\n\r\nhello"), get("/slow"), get("/slow")], vec!["5", "slow", "slow"]),
        (
            vec![get("/slow"), post("transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")],
            vec!["slow", "2"],
        ),
        // What was cut off is not served, and what came before it is.
        (vec![get("/slow"), b"GET / HTT".to_vec()], vec!["slow"]),
    ] {
        let mut socket = connect(server.address);
        socket.write_all(&requests.concat()).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        let all = answers(&read_to_end(&mut socket));
        let contents: Vec<_> = all.iter().map(|answer| String::from_utf8_lossy(&answer.content)).collect();
        assert_eq!(contents, wanted);
    }
    server.stop(FOR_EVER);
}

#[test]
fn a_body_whose_client_goes_is_an_error_and_no_end() {
    let (ends, seen) = mpsc::channel();
    let server = Serving::start(builder(), move || {
        move |mut request: Request<Body>| {
            let ends: Sender<Option<bool>> = ends.clone();
            wakering::spawn(async move {
                let end = loop {
                    match request.body_mut().data().await {
                        Some(Ok(_)) => {}
                        Some(Err(BodyError::ConnectionClosed)) => break Some(true),
                        Some(Err(_)) => break Some(false),
                        None => break None,
                    }
                };
                ends.send(end).unwrap();
            });
            std::future::pending::<Response<Body>>()
        }
    });
    for head in ["content-length: 9\r\n\r\nhal", "transfer-encoding: chunked\r\n\r\n3\r\nhal\r\n"] {
        let mut socket = connect(server.address);
        socket.write_all(format!("POST / HTTP/1.1\r\nhost: a\r\n{head}").as_bytes()).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        assert_eq!(seen.recv_timeout(FOR_EVER).unwrap(), Some(true), "{head}");
    }
    server.stop(FOR_EVER);
}

/// A handler that answers when it is told to.
fn gated() -> (Serving, Receiver<()>, Sender<()>, Meters) {
    let (begin, begun) = mpsc::channel();
    let (open, gate) = mpsc::channel::<()>();
    let meters = Meters::new();
    let gate = std::sync::Arc::new(std::sync::Mutex::new(gate));
    let server = Serving::start(builder().meters(meters.clone()), move || {
        move |request: Request<Body>| {
            let (begin, gate) = (begin.clone(), gate.clone());
            async move {
                begin.send(()).unwrap();
                let wait = wakering::spawn_blocking(move || gate.lock().unwrap().recv().is_ok());
                wait.unwrap().await.unwrap();
                drop(request);
                Response::new(Body::from("after all"))
            }
        }
    });
    (server, begun, open, meters)
}

#[test]
fn a_server_that_ends_answers_what_it_has_and_closes_who_waits() {
    let (server, begun, open, meters) = gated();
    let (mut busy, mut idle) = (connect(server.address), connect(server.address));
    open.send(()).unwrap();
    idle.write_all(&get("/")).unwrap();
    begun.recv_timeout(FOR_EVER).unwrap();
    assert_eq!(read_answer(&mut idle, false).field("connection"), None);
    busy.write_all(&[get("/"), get("/")].concat()).unwrap();
    begun.recv_timeout(FOR_EVER).unwrap();
    let ending = thread::spawn(move || server.stop(FOR_EVER));
    assert_eq!(read_to_end(&mut idle), b"", "who waits for nothing is closed");
    drop(idle);
    open.send(()).unwrap();
    let all = answers(&read_to_end(&mut busy));
    assert_eq!(all.len(), 1, "what was sent ahead is not served any more");
    assert_eq!((&all[0].content[..], all[0].field("connection")), (&b"after all"[..], Some("close")));
    let stopped = ending.join().unwrap();
    assert_eq!((stopped.aborted_connections, stopped.aborted_handlers), (0, 0));
    let metrics = meters.read();
    assert_eq!((metrics.connections, metrics.connections_open, metrics.requests), (2, 0, 2));
    assert_eq!((metrics.handlers, metrics.streams_open, metrics.held_output), (0, 0, 0));
}

/// Runs a test on a clock that moves when everything waits, with a server and a client's connection that has had an answer.
fn on_a_still_clock<F: Future<Output = ()>>(
    test: impl FnOnce(Server, wakering::net::TcpStream, ManualClock) -> F,
) {
    if wakering::internals::faults::ON {
        return; // a call that fails on demand may hide what has come, and the clock would jump over it
    }
    let clock = ManualClock::new();
    let runtime = wakering::Runtime::builder().manual_clock(&clock).build().unwrap();
    runtime
        .block_on(async {
            let server = builder().start(TcpListener::bind("127.0.0.1:0").unwrap(), route).unwrap();
            let mut client = wakering::net::TcpStream::connect(server.local_addr()).await.unwrap();
            assert!(!ask(&mut client).await.contains("connection:"));
            test(server, client, clock).await;
        })
        .unwrap();
}

/// Asks, and reads the answer, which comes in one piece; empty at the connection's end.
async fn ask(client: &mut wakering::net::TcpStream) -> String {
    client.write_all(&get("/")).await.unwrap();
    hear(client).await
}

async fn hear(client: &mut wakering::net::TcpStream) -> String {
    let mut answer = [0; 1024];
    let read = client.read(&mut answer).await.unwrap();
    String::from_utf8(answer[..read].to_vec()).unwrap()
}

/// RFC 9112 §9.6: nothing has told it that its last answer was the last.
#[test]
fn who_asks_one_thing_after_the_other_loses_none_when_a_server_ends() {
    on_a_still_clock(|server, mut client, clock| async move {
        let (began, ending) = (clock.elapsed(), spawn(server.stop(FOR_EVER)));
        wakering::time::sleep(Duration::from_millis(900)).await;
        assert!(ask(&mut client).await.contains("connection: close"));
        assert_eq!(hear(&mut client).await, "");
        drop(client);
        assert_eq!(ending.await.unwrap(), Stopped::default());
        assert_eq!(clock.elapsed() - began, Duration::from_millis(900), "nobody is waited for any more");
    });
}

#[test]
fn who_is_silent_holds_up_the_end_of_a_server_for_a_second_behind_his_answer_at_most() {
    const SECOND: Duration = Duration::from_secs(1);
    const MOMENT: Duration = Duration::from_millis(400);
    for (silent, grace, took) in [
        (Duration::ZERO, FOR_EVER, SECOND),
        (MOMENT, FOR_EVER, SECOND - MOMENT),
        (SECOND, FOR_EVER, Duration::ZERO),
        (10 * SECOND, FOR_EVER, Duration::ZERO),
        (Duration::ZERO, MOMENT, MOMENT / 2),
        (Duration::ZERO, Duration::ZERO, Duration::ZERO),
    ] {
        on_a_still_clock(|server, mut client, clock| async move {
            wakering::time::sleep(silent).await;
            let (began, ending) = (clock.elapsed(), spawn(server.stop(grace)));
            assert_eq!(hear(&mut client).await, "");
            assert_eq!(clock.elapsed() - began, took, "{silent:?}, {grace:?}");
            // It is slow to close its end: that is no loss of anybody's.
            wakering::time::sleep(2 * grace).await;
            drop(client);
            let stopped = ending.await.unwrap();
            assert_eq!(stopped.aborted_connections, usize::from(grace.is_zero()), "{silent:?}, {grace:?}");
        });
    }
}

#[test]
fn hooks_and_metrics_tell_of_both_versions() {
    let (report, reports) = mpsc::channel();
    let meters = Meters::new();
    let builder = builder().meters(meters.clone()).on_disconnect(move |it| report.send(*it).unwrap());
    let server = Serving::start(builder, || route);
    let request = [get("/"), last("/")].concat();
    let came = exchange(server.address, &request, usize::MAX);
    let seen = reports.recv_timeout(FOR_EVER).unwrap();
    assert_eq!((seen.end, seen.stats.streams), (ConnectionEnd::Finished, 2));
    assert_eq!((seen.stats.bytes_received, seen.stats.bytes_sent), (request.len() as u64, came.len() as u64));
    exchange(server.address, b"GET / HTTP/1.1\r\n\r\n", usize::MAX);
    assert!(matches!(reports.recv_timeout(FOR_EVER).unwrap().end, ConnectionEnd::Failed(_)));
    wait_for(&meters, "both are closed", |metrics| metrics.connections_open == 0);
    let metrics = meters.read();
    assert_eq!((metrics.requests, metrics.bytes_sent > came.len() as u64), (2, true));
    let mut client = Client::connect(&server);
    assert_eq!(client.ask(Method::GET, "/").content, b"Hello, World!");
    wait_for(&meters, "HTTP/2 is counted too", |metrics| metrics.requests == 3);
    let metrics = meters.read();
    assert_eq!(metrics.requests_http1, 2);
    assert!(metrics.to_string().contains("\nwakering_http_requests_http1_total 2\n"), "{metrics}");
    server.stop(FOR_EVER);
}

#[test]
fn content_that_nobody_reads_stays_with_the_client() {
    let (server, begun, open, meters) = gated();
    let mut socket = connect(server.address);
    socket.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 90000000\r\n\r\n").unwrap();
    begun.recv_timeout(FOR_EVER).unwrap();
    let mut sender = socket.try_clone().unwrap();
    let sending = thread::spawn(move || sender.write_all(&vec![7; 90_000_000]).is_ok());
    wait_for(&meters, "some of it is taken", |metrics| metrics.held_received >= 64 * 1024);
    let most = meters.read().held_received;
    assert!(most <= 192 * 1024, "{most} bytes are held");
    open.send(()).unwrap();
    assert_eq!(answers(&read_to_end(&mut socket))[0].content, b"after all");
    drop(socket);
    sending.join().unwrap();
    server.stop(FOR_EVER);
}

#[test]
fn without_being_told_a_server_speaks_http_2_alone() {
    let server = Serving::plain(|| route);
    let came = exchange(server.address, &get("/"), usize::MAX);
    assert!(came.starts_with(b"HTTP/1.1 505 "), "{:?}", String::from_utf8_lossy(&came));
    server.stop(FOR_EVER);
}

#[test]
fn who_pauses_longer_than_last_words_may_take_gets_all_of_a_last_answer() {
    const LENGTH: usize = 20_000_000;
    let server =
        Serving::start(builder(), || |_: Request<Body>| async { Response::new(Body::from(vec![7; LENGTH])) });
    let mut socket = connect(server.address);
    socket.write_all(&last("/")).unwrap();
    // 10 s are for the last words of a connection that was at fault.
    thread::sleep(Duration::from_secs(12));
    assert_eq!(answers(&read_to_end(&mut socket))[0].content.len(), LENGTH);
    server.stop(FOR_EVER);
}

#[test]
fn large_content_goes_both_ways_at_once() {
    let server = serving();
    let mut socket: TcpStream = connect(server.address);
    let content: Vec<u8> = (0..3_000_000u32).map(|at| (at % 251) as u8).collect();
    let head = format!(
        "POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        content.len()
    );
    let (mut sender, sent) = (socket.try_clone().unwrap(), content.clone());
    let sending = thread::spawn(move || {
        sender.write_all(head.as_bytes()).unwrap();
        sender.write_all(&sent).unwrap();
    });
    let all = answers(&read_to_end(&mut socket));
    sending.join().unwrap();
    assert!(all[0].content == content, "{} of {} bytes", all[0].content.len(), content.len());
    server.stop(FOR_EVER);
}

#[test]
fn slow_heads_slow_content_and_idle_connections_end_by_their_deadlines() {
    let short = Duration::from_millis(60);
    let config =
        Config { header_timeout: short, idle_timeout: short, body_grace: short, ..Config::default() };
    let server = Serving::start(builder().http2(config), || route);
    for (what, sent, wanted) in [
        ("half a head", &b"GET / HTTP/1.1\r\nhost"[..], &[408][..]),
        ("half a head behind a request", b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET /", &[200, 408]),
        ("half of the content", b"POST /count HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhal", &[408]),
        (
            "half a chunk",
            b"POST /count HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhal",
            &[408],
        ),
        ("nothing more", b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", &[200]),
    ] {
        let mut socket = connect(server.address);
        socket.write_all(sent).unwrap();
        let seen: Vec<u16> = answers(&read_to_end(&mut socket)).iter().map(|answer| answer.status).collect();
        assert_eq!(seen, wanted, "{what}");
    }
    server.stop(FOR_EVER);
}
