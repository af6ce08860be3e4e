//! The server under attack: one worker on a thread of its own, of which memory and processor time are known.

use std::fs;
use std::future::pending;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use wakering::http::{
    Body, BodyError, Builder, Content, Frame, HeaderValue, Meters, Request, Response, Stopped,
};
use wakering::net::TcpListener;

use super::memory::Account;

pub(crate) struct Victim {
    pub(crate) address: SocketAddr,
    pub(crate) meters: Meters,
    pub(crate) account: &'static Account,
    /// The worker's folder in `/proc`, where there is one.
    task: Option<String>,
    stop: mpsc::Sender<Duration>,
    stopped: thread::JoinHandle<Stopped>,
}

impl Victim {
    pub(crate) fn start(builder: Builder) -> Victim {
        let meters = Meters::new();
        let builder = builder.meters(meters.clone());
        let (report, started) = mpsc::channel();
        let (stop, end) = mpsc::channel();
        let stopped = thread::spawn(move || {
            let account = Account::open();
            let task = fs::read_link("/proc/thread-self").ok();
            let task = task.map(|path| format!("/proc/{}", path.display()));
            wakering::run(async move {
                let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
                let server = builder.start(listener, answer).expect("a server");
                report.send((server.local_addr(), account, task)).expect("the test waits");
                let end = wakering::spawn_blocking(move || end.recv().unwrap_or_default());
                let grace = end.expect("a thread").await.expect("the word");
                server.stop(grace).await
            })
            .expect("a runtime")
        });
        let (address, account, task) = started.recv().expect("the server starts");
        Victim { address, meters, account, task, stop, stopped }
    }

    /// The processor time that the worker has taken; `None` where the system does not tell.
    pub(crate) fn processor_time(&self) -> Option<Duration> {
        let text = fs::read_to_string(format!("{}/schedstat", self.task.as_ref()?)).ok()?;
        text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
    }

    pub(crate) fn stop(self) -> Stopped {
        self.stop.send(Duration::from_secs(5)).expect("the server waits for the word");
        self.stopped.join().expect("the worker never panics")
    }
}

async fn answer(request: Request<Body>) -> Response<Body> {
    match request.uri().path() {
        "/never" => pending().await,
        "/endless" => Response::new(Body::streaming(Endless(None))),
        "/pin" => Response::new(Body::streaming(Endless(Some(request)))),
        "/echo" => Response::new(request.into_body()),
        "/read" => match request.into_body().collect(1 << 20).await {
            Ok(content) => Response::new(content.into()),
            Err(_gone) => Response::new("the content did not come".into()),
        },
        "/large-head" => large_head(),
        "/te" => with("transfer-encoding", "chunked"),
        "/upgrade" => with("upgrade", "h2c"),
        "/blank" => with("x-blank", " padded "),
        "/lies" => with("content-length", "7"),
        _ => Response::new("Hello, World!".into()),
    }
}

/// An answer whose head is large, and never the same.
fn large_head() -> Response<Body> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let value = format!("{}{}", "~".repeat(2_000), COUNT.fetch_add(1, Relaxed));
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert("x-large", value.try_into().expect("a field value"));
    response
}

/// An answer with a field that must not go out.
fn with(name: &'static str, value: &'static str) -> Response<Body> {
    let mut response = Response::new("Hello, World!".into());
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}

/// Content without end, which may hold its request.
struct Endless(#[expect(dead_code, reason = "held for its memory")] Option<Request<Body>>);

static BLOCK: [u8; 16 * 1024] = [b'~'; 16 * 1024];

impl Content for Endless {
    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        Poll::Ready(Some(Ok(Frame::Data(Bytes::from_static(&BLOCK)))))
    }
}
