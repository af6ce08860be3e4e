//! What a `tracing` subscriber is told.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    fmt::{self, Write},
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::Duration,
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use wakering::{
    Runtime,
    http::{Body, Request, Response, Server},
    net::{TcpListener, TcpStream},
    spawn, spawn_named,
};

/// Every event as a line: target, level, fields.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("wakering")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields(format!("span {} {}", span.metadata().target(), span.metadata().name()));
        span.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(format!("{} {}", event.metadata().target(), event.metadata().level()));
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

impl Lines {
    fn while_running(body: impl FnOnce()) -> Vec<String> {
        let lines = Lines::default();
        tracing::subscriber::with_default(lines.clone(), body);
        let lines = lines.0.lock().unwrap();
        lines.clone()
    }
}

fn position(lines: &[String], words: &[&str]) -> usize {
    let found = lines.iter().position(|line| words.iter().all(|word| line.contains(word)));
    found.unwrap_or_else(|| panic!("no {words:?} in {lines:#?}"))
}

#[test]
fn a_task_is_told_from_its_spawn_to_its_end_with_a_span_for_each_poll() {
    let lines = Lines::while_running(|| {
        wakering::run(async {
            spawn(async { wakering::yield_now().await }).await.unwrap();
            spawn(async { panic!("as expected") }).await.unwrap_err();
        })
        .unwrap();
    });
    let spawned = position(&lines, &["wakering::task TRACE", "spawned", "tests/runtime_trace.rs:"]);
    let ended = position(&lines, &["wakering::task TRACE", "ended"]);
    assert!(spawned < ended, "{lines:#?}");
    let spans = lines[spawned..ended].iter().filter(|line| line.starts_with("span wakering::task task id="));
    assert!(spans.count() >= 2, "{lines:#?}");
    let panicked = position(&lines, &["wakering::task ERROR", "panicked", "tests/runtime_trace.rs:"]);
    assert!(lines[panicked].contains("panic=\"as expected\""), "{}", lines[panicked]);
    assert_eq!(lines[panicked].matches(" message=").count(), 1, "a field has one value: {}", lines[panicked]);
    assert!(lines.iter().all(|line| !line.contains("name=")), "{lines:#?}");
}

#[test]
fn a_tasks_name_stands_in_its_spans_and_events() {
    let lines = Lines::while_running(|| {
        wakering::run(async { spawn_named("reaper", async { panic!("as expected") }).await.unwrap_err() })
            .unwrap();
    });
    for words in ["spawned", "span wakering::task task", "panicked", "ended"] {
        position(&lines, &[words, "name=\"reaper\""]);
    }
}

/// A subscriber that panics at one of the things that it is told.
struct Furious(&'static str);

impl Furious {
    fn at(&self, what: &str) {
        if self.0 == what {
            // Without the hook, whose message the test program would keep.
            std::panic::resume_unwind(Box::new("a subscriber that does not allow it"));
        }
    }
}

impl Subscriber for Furious {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("wakering")
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        self.at("a new span");
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, _event: &Event<'_>) {
        self.at("an event");
    }

    fn enter(&self, _span: &Id) {
        self.at("entering");
    }

    fn exit(&self, _span: &Id) {
        self.at("leaving");
    }

    fn try_close(&self, _span: Id) -> bool {
        self.at("the end of a span");
        true
    }
}

/// Two futures as one, which no destructor of an `async` block ends when the second panics.
struct Both {
    _held: Told,
    poll: fn() -> Poll<()>,
}

struct Told(Arc<AtomicBool>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Future for Both {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        (self.poll)()
    }
}

#[test]
fn a_subscriber_that_panics_ends_no_task_no_worker_and_leaves_no_future_undropped() {
    for at in ["an event", "a new span", "entering", "leaving", "the end of a span"] {
        let dropped = Arc::new(AtomicBool::new(false));
        tracing::subscriber::with_default(Furious(at), || {
            let told = Told(dropped.clone());
            wakering::run(async move {
                let panics =
                    Both { _held: told, poll: || std::panic::resume_unwind(Box::new("a task that panics")) };
                assert!(spawn(panics).await.unwrap_err().is_panic());
                spawn(async { wakering::yield_now().await }).await.unwrap();
                drop(spawn(std::future::pending::<()>()));
                wakering::yield_now().await;
            })
            .unwrap();
        });
        assert!(dropped.load(Ordering::Relaxed), "{at}");
    }
}

#[test]
fn the_end_of_a_task_is_told_also_when_it_is_aborted_late_or_dropped_with_its_runtime() {
    let ends = |grace: Option<Duration>| {
        let lines = Lines::while_running(|| {
            wakering::run(async move {
                drop(spawn(std::future::pending::<()>()));
                wakering::yield_now().await;
                if let Some(grace) = grace {
                    assert_eq!(wakering::Handle::current().shutdown(grace).await.aborted.len(), 1);
                }
            })
            .unwrap();
        });
        lines.iter().filter(|line| line.starts_with("wakering::task TRACE") && line.contains("ended")).count()
    };
    assert_eq!(ends(Some(Duration::from_millis(1))), 1);
    assert_eq!(ends(None), 1);
}

#[test]
fn a_stall_is_told_with_the_tasks_name() {
    let lines = Lines::while_running(|| {
        let runtime =
            Runtime::builder().stall_limit(Duration::from_millis(1)).on_stall(|_| {}).build().unwrap();
        let lazy = async { spawn_named("lazy", async { thread::sleep(Duration::from_millis(5)) }).await };
        runtime.block_on(lazy).unwrap().unwrap();
    });
    let told = position(&lines, &["wakering::task WARN", "a poll took", "\"lazy\"", "took="]);
    assert!(!lines[told].contains("so_far="), "it is over: {}", lines[told]);
}

#[test]
fn a_broken_connection_is_told_with_code_frame_stream_and_offset_and_a_servers_end_by_its_phases() {
    let lines = Lines::while_running(|| {
        wakering::run(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let server =
                Server::start(listener, |_: Request<Body>| async { Response::new(Body::empty()) }).unwrap();
            let mut peer = TcpStream::connect(server.local_addr()).await.unwrap();
            // The preface, SETTINGS, and DATA on stream 0, which RFC 9113 §6.1 forbids.
            peer.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x01\0\0\0\0\0\0x")
                .await
                .unwrap();
            while peer.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
            server.stop(Duration::from_secs(60)).await;
        })
        .unwrap();
    });
    position(
        &lines,
        &["wakering::http WARN", "version=HTTP/2.0", "PROTOCOL_ERROR: DATA on stream 0 at byte "],
    );
    let stops = position(&lines, &["wakering::http INFO", "stopped accepting"]);
    assert!(stops < position(&lines, &["wakering::http INFO", "ended"]), "{lines:#?}");
}

#[cfg(feature = "http1")]
#[test]
fn a_broken_connection_of_an_older_version_is_told_as_what_it_is() {
    let lines = Lines::while_running(|| {
        wakering::run(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let handler = |_: Request<Body>| async { Response::new(Body::empty()) };
            let server =
                Server::builder().http1(wakering::http::Http1::default()).start(listener, handler).unwrap();
            let mut peer = TcpStream::connect(server.local_addr()).await.unwrap();
            peer.write_all(b"GET / HTTP/1.1\r\nno colon\r\n\r\n").await.unwrap();
            while peer.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
            server.stop(Duration::from_secs(60)).await;
        })
        .unwrap();
    });
    position(&lines, &["wakering::http WARN", "a connection failed", "version=HTTP/1.1"]);
    assert!(!lines.iter().any(|line| line.contains("HTTP/2")), "{lines:#?}");
}

#[cfg(feature = "message")]
#[test]
fn a_connection_that_breaks_the_message_protocol_is_told_and_its_servers_end_by_its_phases() {
    use wakering::message::{Builder, Kind};
    let lines = Lines::while_running(|| {
        wakering::run(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let server = Builder::new().serve(listener).unwrap();
            let mut peer = TcpStream::connect(server.local_addr()).await.unwrap();
            // The end may come before all of it is written.
            drop(peer.write_all(b"GET / HTTP/1.1\r\nHost: somebody else's protocol\r\n\r\n").await);
            while peer.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
            // Who closes in good order is no news.
            let client = Builder::new().client();
            let remote = client.connect(server.local_addr()).await.unwrap();
            remote.request(Kind::REQUEST_URI, "a", "").await.unwrap();
            client.close().await;
            server.shutdown(Duration::from_secs(60)).await;
        })
        .unwrap();
    });
    let told =
        position(&lines, &["wakering::message WARN", "a connection failed", "peer=127.0.0.1:", "error="]);
    let failed = lines.iter().filter(|line| line.starts_with("wakering::message WARN")).count();
    assert_eq!(failed, 1, "{lines:#?}");
    let stops = position(&lines, &["wakering::message INFO", "stops accepting"]);
    assert!(told < stops && stops < position(&lines, &["wakering::message INFO", "ended"]), "{lines:#?}");
}
