//! curl, h2load and each other against the examples on hyper and on tower: `hyper_server`, `hyper_client`, `axum_server`. What
//! h2load does with every server is in `interop_h2load`.

// Foreign programs need not be served twice: the fallback backend has curl and h2load against `h2_server`.
#![cfg(not(any(loom, wakering_fallback)))]

mod support;

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use support::{
    Ran, program, run,
    served::Served,
    server::{Server, Signal, example},
};

const LIMIT: Duration = Duration::from_secs(120);

fn start(example: &str) -> Server {
    Server::start(example, &["--workers", "2"])
}

/// Ends a server by a signal; nothing is under way.
fn stop(server: Server) {
    server.signal(Signal::Terminate);
    let (status, lines, errors) = server.wait(Duration::from_secs(60));
    assert_eq!(status.code(), Some(0), "{errors}");
    assert_eq!((lines.len(), errors.as_str()), (0, ""));
}

fn curl(arguments: &[&str]) -> Ran {
    let ran = run("curl", &[&["-sS", "--max-time", "60"], arguments].concat(), LIMIT);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    ran
}

/// h2load with these arguments; every request must succeed.
fn load(example: &str, peer: &'static str, path: &str, arguments: &[&str]) {
    let Some(server) = Served::by(example, "h2load", peer, &["--workers", "2"]) else { return };
    let url = server.url(path);
    let ran = run("h2load", &[&["-n", "2000", "-t1", &url], arguments].concat(), LIMIT);
    let wanted = "2000 succeeded, 0 failed, 0 errored, 0 timeout";
    assert!(ran.stdout.contains(wanted), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("status codes: 2000 2xx"), "{}", ran.stdout);
    server.signal(Signal::Terminate);
    let (status, _, errors) = server.server.wait(Duration::from_secs(60));
    assert_eq!((status.code(), errors.as_str()), (Some(0), ""));
}

#[test]
fn curl_is_served_by_an_axum_router() {
    if program("curl").is_none() {
        return;
    }
    let server = start("axum_server");
    let ask = |path: &str, more: &[&str]| {
        let url = server.url(path);
        let [new, old] = ["--http2-prior-knowledge", "--http1.1"]
            .map(|version| curl(&[&[version, &url], more].concat()).stdout);
        assert_eq!(new, old, "{path} in both versions");
        new
    };
    assert_eq!(ask("/", &[]), "Hello, World!");
    assert_eq!(ask("/hello/you", &[]), "Hello, you!\n");
    assert_eq!(ask("/sum", &["--json", "[1, 2.5]"]), "3.5");
    assert_eq!(ask("/echo", &["-d", "words"]), "words");
    assert_eq!(ask("/count", &["-d", "words"]), "5\n");
    assert_eq!(ask("/slow/1", &[]), "slow\n");
    assert_eq!(ask("/block/1", &[]), "blocked\n");
    for version in ["--http2-prior-knowledge", "--http1.1"] {
        let told = curl(&[version, &server.url("/peer"), "-w", "%{local_ip}:%{local_port}"]).stdout;
        let (first, second) = told.split_once('\n').expect("two lines");
        assert_eq!(first, second, "{version}");
    }
    assert_eq!(ask("/none", &["-w", "%{http_code}"]), "404");
    stop(server);
}

#[test]
fn h2load_is_served_by_an_axum_router_in_both_versions_and_while_it_waits() {
    load("axum_server", "h2load, at axum", "/slow/1", &["-c8", "-m32"]);
    load("axum_server", "h2load, at axum, HTTP/1.1", "/", &["-c8", "--h1"]);
}

#[test]
fn curl_is_served_by_hyper_in_both_versions() {
    if program("curl").is_none() {
        return;
    }
    let server = start("hyper_server");
    for (version, told) in [("--http1.0", "1"), ("--http1.1", "1.1"), ("--http2-prior-knowledge", "2")] {
        let ask = |path: &str, more: &[&str]| {
            let url = server.url(path);
            curl(&[&[version, &url, "-w", "|%{http_version}|%{http_code}"], more].concat()).stdout
        };
        // hyper answers a request of 1.0 in 1.0, or 1.1.
        assert!(ask("/", &[]).starts_with(&format!("Hello, World!|{told}")), "{version}");
        assert!(ask("/echo", &["-d", "words"]).starts_with("words|"), "{version}");
        assert!(ask("/count", &["-d", "words"]).starts_with("5|"), "{version}");
        assert!(ask("/slow?ms=1", &[]).starts_with("slow\n|"), "{version}");
        assert!(ask("/none", &[]).ends_with("|404"), "{version}");
    }
    stop(server);
}

#[test]
fn h2load_is_served_by_hyper_in_both_versions_and_while_it_waits() {
    load("hyper_server", "h2load, at hyper", "/slow?ms=1", &["-c8", "-m32"]);
    load("hyper_server", "h2load, at hyper, HTTP/1.1", "/", &["-c8", "--h1"]);
}

#[test]
fn hypers_server_ends_its_connections_when_it_is_told_to_stop() {
    let server = start("hyper_server");
    let mut idle = TcpStream::connect(server.address).expect("the server accepts");
    idle.set_read_timeout(Some(LIMIT)).expect("a time limit");
    idle.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n").expect("a request");
    let mut answer = Vec::new();
    while !answer.ends_with(b"Hello, World!") {
        let mut buffer = [0; 1000];
        let read = idle.read(&mut buffer).expect("an answer");
        assert!(read > 0, "the server keeps the connection");
        answer.extend_from_slice(&buffer[..read]);
    }
    stop(server);
    assert_eq!(idle.read(&mut [0; 10]).expect("the end"), 0);
}

#[test]
fn hypers_client_asks_our_server_and_hypers() {
    let (ours, theirs) = (Server::start("h2_server", &[]), start("hyper_server"));
    let client = example("hyper_client");
    let client = client.to_str().expect("a path in UTF-8");
    let over_http2 = run(client, &["--http2", &ours.url("/"), &theirs.url("/")], LIMIT);
    assert_eq!((over_http2.code, over_http2.stdout.as_str()), (Some(0), "Hello, World!Hello, World!"));
    assert_eq!(over_http2.stderr, "HTTP/2.0 200 OK\nHTTP/2.0 200 OK\n");
    let over_http1 = run(client, &[theirs.url("/"), theirs.url("/none")], LIMIT);
    assert_eq!((over_http1.code, over_http1.stdout.as_str()), (Some(1), "Hello, World!"));
    assert_eq!(over_http1.stderr, "HTTP/1.1 200 OK\nHTTP/1.1 404 Not Found\n");
    let long = run(client, &["--http2", &ours.url("/bytes?n=3000000")], LIMIT);
    assert_eq!((long.code, long.stdout.len()), (Some(0), 3_000_000));
    stop(ours);
    stop(theirs);
}
