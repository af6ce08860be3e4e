//! The console: what it tells, to whom, and how it looks in a browser.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

// A foreign program need not look twice: what it is told is tested on the fallback backend, too.
#[cfg(not(wakering_fallback))]
#[path = "support/console_browser.rs"]
mod browser;

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use wakering::{
    console::{self, Console},
    http::{Body, Request, Response, Server, client::Client},
    net::TcpListener,
    spawn_named,
    time::timeout,
};

/// Only a failing test waits so long.
const LIMIT: Duration = Duration::from_secs(60);

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// What the console answers to a request: status, type and content.
async fn ask(request: Request<Body>) -> (u16, String, String) {
    let call = async {
        let response = Client::new().request(request).await.unwrap();
        let status = response.status().as_u16();
        assert!(
            response.headers()["content-security-policy"].to_str().unwrap().contains("default-src 'none'")
        );
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        let content = response.into_body().collect(10_000_000).await.unwrap();
        (status, kind, String::from_utf8(content.to_vec()).unwrap())
    };
    timeout(LIMIT, call).await.unwrap()
}

async fn get(console: &Console, path: &str) -> (u16, String, String) {
    ask(Request::get(format!("http://{}{path}", console.local_addr())).body(Body::empty()).unwrap()).await
}

/// Runs `test` with a console that shows a server under the name "hello".
fn with_console(test: impl AsyncFnOnce(&Console, &Server)) {
    wakering::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let hello = |_: Request<Body>| async { Response::new(Body::from("Hello, World!")) };
        let server = Server::start(listener, hello).unwrap();
        let console = console::builder().server("hello", server.meters()).host("Inside.Example");
        let console = console.serve(loopback()).unwrap();
        test(&console, &server).await;
        console.stop(Duration::ZERO).await;
        server.stop(Duration::ZERO).await;
    })
    .unwrap();
}

#[test]
fn json_has_workers_tasks_connections_and_servers() {
    with_console(async |console, server| {
        let waiter = spawn_named("waiter", wakering::time::sleep(Duration::from_secs(3600)));
        let client = Client::new();
        let response = client.get(format!("http://{}/", server.local_addr())).await.unwrap();
        assert_eq!(response.into_body().collect(100).await.unwrap(), "Hello, World!");

        let (status, kind, text) = get(console, "/json").await;
        assert_eq!((status, kind.as_str()), (200, "application/json"));
        let told: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(told["process"], std::process::id());
        assert_eq!(told["workers"].as_array().unwrap().len(), 1);
        assert_eq!(told["workers"][0]["answers"], true, "{text}");
        let tasks = told["tasks"].as_array().unwrap();
        let found = tasks.iter().find(|task| task["name"] == "waiter").unwrap();
        assert_eq!(found["state"], "waiting");
        assert!(found["waits"][0].as_str().unwrap().starts_with("for a timer, due in "), "{found}");
        assert!(found["place"].as_str().unwrap().contains("tests/console.rs"), "{found}");
        assert!(tasks.iter().any(|task| task["root"] == true));
        let works = |task: &Value| task["works_on"].as_str().is_some_and(|it| it.starts_with("connection "));
        assert!(tasks.iter().any(works), "{text}");
        let connections = told["connections"].as_array().unwrap();
        let own = server.local_addr().to_string();
        assert!(connections.iter().any(|it| it["local"] == own && it["peer"].is_string()), "{connections:?}");
        assert!(connections.iter().any(|it| it["local"] == own && it["peer"].is_null()), "its listener");
        let shown = &told["servers"][0];
        assert_eq!((&shown["name"], &shown["requests"]), (&"hello".into(), &1.into()));
        assert_eq!(shown["connections_open"], 1);
        for histogram in ["poll_time", "schedule_delay"] {
            let (bounds, counts) = (&told[histogram]["bounds"], &told[histogram]["counts"]);
            assert_eq!(bounds.as_array().unwrap().len(), counts.as_array().unwrap().len());
        }
        waiter.abort();
    });
}

#[test]
fn metrics_are_families_of_prometheus_each_of_which_stands_once() {
    with_console(async |console, _server| {
        let (status, kind, text) = get(console, "/metrics").await;
        assert_eq!((status, kind.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8"));
        assert!(text.contains("wakering_runtime_polls_total{worker=\"0\"} "), "{text}");
        assert!(text.contains("wakering_http_requests_total{server=\"hello\"} 0\n"), "{text}");
        let mut families: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE ")).collect();
        let all = families.len();
        families.sort_unstable();
        families.dedup();
        assert_eq!(families.len(), all);
    });
}

#[test]
fn a_name_that_could_be_pointed_here_is_refused() {
    with_console(async |console, _server| {
        let (port, address) = (console.local_addr().port(), console.local_addr());
        let named = |authority: String, field: Option<&'static str>| {
            let mut request = Request::get(format!("http://{authority}/json"));
            if let Some(field) = field {
                request = request.header("host", field);
            }
            request.body(Body::empty()).unwrap()
        };
        for (authority, expected) in [
            (format!("localhost:{port}"), 200),
            (format!("LOCALHOST:{port}"), 200),
            (format!("127.0.0.1:{port}"), 200),
            (format!("inside.example:{port}"), 200),
            (format!("evil.example:{port}"), 421),
            (format!("localhost.evil.example:{port}"), 421),
            (format!("127.0.0.1.evil.example:{port}"), 421),
        ] {
            let client =
                Client::builder().resolve(authority.rsplit_once(':').unwrap().0, vec![address]).build();
            let response =
                timeout(LIMIT, client.request(named(authority.clone(), None))).await.unwrap().unwrap();
            assert_eq!(response.status().as_u16(), expected, "{authority}");
        }
    });
}

#[test]
fn a_browser_speaks_http_1_1_and_is_asked_for_the_name_too() {
    use std::io::{Read, Write};
    with_console(async |console, _server| {
        let address = console.local_addr();
        let ask = |host: String| {
            let asked = wakering::spawn_blocking(move || {
                let mut stream = std::net::TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(LIMIT)).unwrap();
                let text = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
                stream.write_all(text.as_bytes()).unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                answer
            });
            asked.unwrap()
        };
        let page = ask(address.to_string()).await.unwrap();
        assert!(
            page.starts_with("HTTP/1.1 200") && page.contains("<title>wakering console</title>"),
            "{page}"
        );
        let refused = ask("evil.example".to_owned()).await.unwrap();
        assert!(refused.starts_with("HTTP/1.1 421"), "{refused}");
    });
}

#[test]
fn it_is_only_to_be_looked_at() {
    with_console(async |console, _server| {
        let post =
            Request::post(format!("http://{}/json", console.local_addr())).body(Body::from("x")).unwrap();
        assert_eq!(ask(post).await.0, 405);
        assert_eq!(get(console, "/nothing").await.0, 404);
        assert_eq!(get(console, "/page/../json").await.0, 404);
    });
}

#[test]
fn an_address_that_others_reach_has_to_be_asked_for() {
    wakering::run(async {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
            let refused = console::serve(address.parse().unwrap()).unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied, "{address}");
        }
        let asked = console::builder().reachable_by_others(true).serve("0.0.0.0:0".parse().unwrap()).unwrap();
        asked.stop(Duration::ZERO).await;
    })
    .unwrap();
}

#[test]
fn the_page_brings_everything_itself_and_nothing_inline() {
    with_console(async |console, _server| {
        let (status, kind, page) = get(console, "/").await;
        assert_eq!((status, kind.as_str()), (200, "text/html; charset=utf-8"));
        assert!(!page.contains("://"), "nothing comes from elsewhere");
        for inline in ["<style", " style=", " onclick", " onload", "<script>"] {
            assert!(!page.contains(inline), "{inline} would be refused by the policy");
        }
        for (path, kind) in [
            ("/page.css", "text/css; charset=utf-8"),
            ("/page.js", "text/javascript; charset=utf-8"),
            ("/icon.svg", "image/svg+xml"),
        ] {
            assert!(page.contains(&format!("\"{}\"", &path[1..])), "{path}");
            let (status, found, text) = get(console, path).await;
            assert_eq!((status, found.as_str()), (200, kind));
            assert!(!text.contains("innerHTML") && !text.contains("eval("), "text is only ever set as text");
        }
    });
}

#[test]
fn a_console_at_which_nobody_looks_has_no_timer_and_polls_nothing() {
    wakering::run(async {
        let before = wakering::Handle::current().metrics().total;
        let console = console::serve(loopback()).unwrap();
        wakering::yield_now().await;
        wakering::yield_now().await;
        let dump = wakering::Handle::current().dump();
        assert_eq!(dump.workers[0].timers as u64, before.timers);
        let others: Vec<String> = dump
            .tasks()
            .filter(|task| !task.is_root)
            .flat_map(|task| &task.waits)
            .map(ToString::to_string)
            .collect();
        assert!(others.iter().any(|wait| wait.starts_with("to read from descriptor")), "{others:?}");
        assert_eq!(dump.tasks().filter(|task| !task.is_root).count(), 1);
        console.stop(Duration::ZERO).await;
    })
    .unwrap();
}

#[test]
fn requests_that_come_while_it_is_gathered_share_one_job() {
    const AT_ONCE: usize = 64;
    // A pool of one thread, which is taken: what is to be gathered waits until all have come.
    let runtime = wakering::Runtime::builder().blocking_threads(1).build().unwrap();
    let work = async {
        let console = console::serve(loopback()).unwrap();
        let client = Client::new();
        let ask = |path: &str| {
            let call = client.get(format!("http://{}{path}", console.local_addr()));
            async move { call.await.unwrap().into_body().collect(10_000_000).await.unwrap() }
        };
        // The one connection that the others use, too: so what is asked later is answered later.
        ask("/page.css").await;
        let (release, held) = std::sync::mpsc::channel::<()>();
        let gate = wakering::spawn_blocking(move || held.recv_timeout(LIMIT)).unwrap();
        let others: Vec<_> = (0..AT_ONCE).map(|_| wakering::spawn(ask("/json"))).collect();
        wakering::yield_now().await;
        ask("/page.css").await;
        assert_eq!(wakering::Handle::current().metrics().blocking.jobs, 2, "the gate, and one for all");

        // Who goes takes nothing along: neither the first, which began it, nor another.
        others[0].abort();
        others[1].abort();
        release.send(()).unwrap();
        gate.await.unwrap().unwrap();
        let mut told = Vec::new();
        for other in others.into_iter().skip(2) {
            told.push(timeout(LIMIT, other).await.unwrap().unwrap());
        }
        assert!(told.iter().all(|it| *it == told[0]), "all are told the same");
        assert!(serde_json::from_slice::<Value>(&told[0]).unwrap()["workers"].is_array());
        console.stop(Duration::ZERO).await;
    };
    runtime.block_on(work).unwrap();
}

#[test]
fn its_handle_ends_it_from_another_thread_and_everybody_hears_of_that() {
    wakering::run(async {
        let console = console::serve(loopback()).unwrap();
        let handle = console.handle();
        let ends = wakering::spawn_blocking(move || {
            assert!(handle.dump().tasks().any(|task| task.is_root));
            handle.shutdown_blocking(LIMIT).unwrap()
        });
        let closed = timeout(LIMIT, console.closed()).await.unwrap().unwrap();
        assert_eq!(ends.unwrap().await.unwrap(), closed);
        assert!(std::net::TcpStream::connect(console.local_addr()).is_err());
        assert!(console.dump().tasks().any(|task| task.is_root));
    })
    .unwrap();
}
