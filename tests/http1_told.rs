//! What is told of servers that speak HTTP/1: dumps, frame logs, metrics, the console.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "support/http1.rs"]
mod http1;
#[path = "support/serving.rs"]
mod serving;

use std::{
    io::Write,
    net::SocketAddr,
    rc::Rc,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http1::{connect, read_answer};
use serving::Serving;
use wakering::{
    Handle,
    dump::{Dump, TaskDump, Wait},
    http::{Body, FrameLog, Http1, Request, Response, Server},
    net::TcpListener,
};

/// Long enough for a loaded machine; only a failing test waits so long.
const FOR_EVER: Duration = Duration::from_secs(30);

/// A client's part: it talks to the server from a thread of its own, until it is told to go on.
fn client(address: SocketAddr, request: &'static [u8]) -> (mpsc::Sender<()>, thread::JoinHandle<()>) {
    let (go, wait) = mpsc::channel::<()>();
    let talk = move || {
        let mut socket = connect(address);
        socket.write_all(request).unwrap();
        // An error means that the test has failed.
        let _ = wait.recv();
    };
    (go, thread::spawn(talk))
}

/// Asks for dumps until one has a task that is wanted.
async fn dump_with(wanted: impl Fn(&TaskDump) -> bool) -> Dump {
    let end = Instant::now() + FOR_EVER;
    loop {
        let dump = Handle::current().dump();
        if dump.tasks().any(&wanted) {
            return dump;
        }
        assert!(Instant::now() < end, "{dump}");
        wakering::time::sleep(Duration::from_millis(1)).await;
    }
}

fn works_on(task: &TaskDump) -> &str {
    task.works_on.as_deref().unwrap_or_default()
}

#[test]
fn a_dump_says_which_request_a_handler_answers_and_what_it_waits_for() {
    wakering::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let handler = |mut request: Request<Body>| async move {
            while let Some(Ok(_)) = request.body_mut().data().await {}
            Response::new(Body::empty())
        };
        let server = Server::builder().http1(Http1::default()).start(listener, handler).unwrap();
        let request = b"POST /upload?to=x HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhal";
        let (go, talking) = client(server.local_addr(), request);
        let dump = dump_with(|task| works_on(task).starts_with("POST ")).await;
        let handler = dump.tasks().find(|task| works_on(task).starts_with("POST ")).unwrap();
        let about = works_on(handler);
        assert!(about.starts_with("POST /upload?to=x, HTTP/1 request 1 of connection "), "{dump}");
        assert_eq!(handler.waits, [Wait::Note(format!("more content of {about}"))], "{dump}");
        assert!(handler.spawned_at.file().ends_with("http1_told.rs"), "{dump}");
        let text = dump.to_string();
        assert!(text.contains(&format!("      works on {about}\n")), "{text}");
        let driver = dump.tasks().find(|task| works_on(task).contains("HTTP/1 with 1 request open"));
        assert!(
            driver.is_some_and(|task| task.waits.iter().any(|wait| matches!(wait, Wait::Read(_)))),
            "{dump}"
        );
        go.send(()).unwrap();
        talking.join().unwrap();
        server.stop(Duration::ZERO).await;
    })
    .unwrap();
}

#[test]
fn a_dump_says_whose_answer_a_peer_does_not_take() {
    wakering::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let handler = |_: Request<Body>| async move {
            let (mut sender, body) = Body::channel();
            wakering::spawn(async move { while sender.send(Bytes::from(vec![7; 65_536])).await.is_ok() {} });
            Response::new(body)
        };
        let server = Server::builder().http1(Http1::default()).start(listener, handler).unwrap();
        let (go, talking) = client(server.local_addr(), b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n");
        let waits = |task: &TaskDump| {
            let note =
                |wait: &Wait| matches!(wait, Wait::Note(note) if note.starts_with("the peer, to take more"));
            works_on(task).starts_with("GET /endless, ") && task.waits.iter().any(note)
        };
        dump_with(waits).await;
        go.send(()).unwrap();
        talking.join().unwrap();
        server.stop(Duration::ZERO).await;
    })
    .unwrap();
}

#[test]
fn who_asks_for_a_dump_inside_of_a_handler_is_told_too() {
    wakering::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let seen: Rc<std::cell::Cell<usize>> = Rc::default();
        let tell = seen.clone();
        let handler = move |_: Request<Body>| {
            let connections =
                Handle::current().dump().tasks().filter(|it| works_on(it).starts_with("connection ")).count();
            tell.set(connections);
            async { Response::new(Body::empty()) }
        };
        let server = Server::builder().http1(Http1::default()).start(listener, handler).unwrap();
        let address = server.local_addr();
        let asking = thread::spawn(move || {
            let mut socket = connect(address);
            socket.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
            read_answer(&mut socket, false).status
        });
        dump_with(|_| seen.get() > 0).await;
        assert_eq!(asking.join().unwrap(), 200);
        server.stop(Duration::ZERO).await;
    })
    .unwrap();
}

/// What a server logs of a connection: a line for each head, piece of content and line of a head.
fn logged(talk: impl FnOnce(SocketAddr) + Send + 'static) -> Vec<String> {
    let (lines, seen) = mpsc::channel();
    let (ends, ended) = mpsc::channel();
    let builder = Server::builder()
        .http1(Http1 { h2c_upgrade: true, ..Http1::default() })
        .on_disconnect(move |_| ends.send(()).unwrap())
        .log_frames(move |_| {
            let lines = lines.clone();
            let log: FrameLog = Box::new(move |frame| lines.send(frame.to_string()).unwrap());
            Some(log)
        });
    let server =
        Serving::start(
            builder,
            || |request: Request<Body>| async move { Response::new(request.into_body()) },
        );
    talk(server.address);
    ended.recv_timeout(FOR_EVER).unwrap();
    server.stop(FOR_EVER);
    let all: Vec<String> =
        seen.try_iter().flat_map(|frame| frame.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    all
}

#[test]
fn the_log_shows_heads_content_and_trailers_in_both_directions() {
    let lines = logged(|address| {
        let request = b"POST /echo HTTP/1.1\r\nhost: a\r\nauthorization: hunter2\r\nconnection: close\r\n\
            transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n";
        http1::exchange(address, request, request.len());
    });
    let has = |line: &str| assert!(lines.iter().any(|it| it.trim_start() == line), "{line} in {lines:#?}");
    has("recv HEADERS frame <length=103, flags=0x04, stream_id=1>");
    has("POST /echo HTTP/1.1");
    has("authorization: (sensitive)");
    has("recv DATA frame <length=3, flags=0x00, stream_id=1>");
    has("recv HEADERS frame <length=8, flags=0x05, stream_id=1>");
    has("HTTP/1.1 200 OK");
    has("transfer-encoding: chunked");
    has("send DATA frame <length=3, flags=0x00, stream_id=1>");
    assert!(!lines.iter().any(|line| line.contains("hunter2")), "{lines:#?}");
}

#[test]
fn the_log_shows_what_was_refused_and_forges_no_lines() {
    let lines = logged(|address| {
        http1::exchange(address, b"GET / HTTP/1.1\r\nx: a\x01b\rsend DATA\r\n\r\n", usize::MAX);
    });
    assert!(lines.iter().any(|line| line.trim_start() == "x: a\\x01b\\rsend DATA"), "{lines:#?}");
    assert!(lines.iter().any(|line| line.trim_start() == "HTTP/1.1 400 Bad Request"), "{lines:#?}");
}

#[test]
fn the_log_goes_on_where_a_connection_changes_to_http_2() {
    let lines = logged(|address| {
        let mut socket = connect(address);
        let ask = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n\
            http2-settings: AAMAAABk\r\n\r\n";
        socket.write_all(ask).unwrap();
        socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
        // The answer's end, whatever comes before it, and then GOAWAY for a PING that is too short.
        socket.write_all(b"\0\0\x07\x06\0\0\0\0\0abcdefg").unwrap();
        http1::read_to_end(&mut socket);
    });
    let has = |start: &str| {
        assert!(lines.iter().any(|it| it.trim_start().starts_with(start)), "{start} in {lines:#?}");
    };
    has("GET / HTTP/1.1");
    has("recv SETTINGS frame <length=0");
    has("send HEADERS frame <length=");
    has(":status: 200");
    has("send GOAWAY frame <");
}
