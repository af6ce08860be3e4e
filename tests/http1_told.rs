//! What is told of servers that speak HTTP/1: dumps, frame logs, metrics, the console.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "support/http1.rs"]
mod http1;

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
use wakering::{
    Handle,
    dump::{Dump, TaskDump, Wait},
    http::{Body, Http1, Request, Response, Server},
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

fn works_on<'a>(task: &'a TaskDump) -> &'a str {
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
