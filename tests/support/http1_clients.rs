//! Clients of other languages against `examples/h2_server` in cleartext: in HTTP/1.1, and where they ask for it by
//! `upgrade: h2c`, in HTTP/2. Each is a program in `tests/interop/` that reports its checks.

use std::{ffi::OsString, path::Path};

use wakering::http::{self, Http1};

use crate::{
    LIMIT, browser,
    support::{
        peer::{Role, installed, prepared, python},
        run,
        served::{Served, followed, java, line},
        server::Server,
    },
};

fn serve(peer: &'static str, program: &Path, mut line: Vec<OsString>) {
    let server = Server::start("h2_server", &["--grace", "30"]);
    line.push(server.url("").into());
    followed(peer, server, program, &line);
}

#[test]
fn the_client_of_go_is_served() {
    let peer = "Go net/http, HTTP/1.1";
    let Some(program) = prepared("bin/go_client", peer, Role::Client) else { return };
    serve(peer, &program, vec!["--http1".into()]);
}

#[test]
fn the_clients_of_node_are_served() {
    let peer = "node http, HTTP/1.1";
    let Some(node) = installed("node", peer, Role::Client) else { return };
    serve(peer, &node, line("client_http1.mjs", &[]));
}

#[test]
fn httpx_is_served() {
    let peer = "httpx, HTTP/1.1";
    let Some(python) = python("httpx", peer, Role::Client) else { return };
    serve(peer, &python, line("client_httpx.py", &["--http1"]));
}

#[test]
fn requests_is_served() {
    let peer = "requests, HTTP/1.1";
    let Some(python) = python("requests", peer, Role::Client) else { return };
    serve(peer, &python, line("client_requests.py", &[]));
}

#[test]
fn the_standard_library_of_python_is_served() {
    let peer = "Python http.client, HTTP/1.1";
    let Some(python) = python("http.client", peer, Role::Client) else { return };
    serve(peer, &python, line("client_stdlib.py", &[]));
}

#[test]
fn the_client_of_java_is_served_and_changes_to_http_2() {
    for (peer, options) in
        [("Java HttpClient, HTTP/1.1", &["--http1"][..]), ("Java HttpClient, h2c upgrade", &[])]
    {
        let Some(java) = java(peer) else { continue };
        serve(peer, &java, line("Client.java", options));
    }
}

#[test]
fn nghttp_changes_to_http_2() {
    let Some(server) = Served::as_peer("nghttp", "nghttp, h2c upgrade", &[]) else { return };
    let ran = run("nghttp", &["-nuv", &server.url("/json"), &server.url("/bytes?n=1000000")], LIMIT);
    assert!(ran.stdout.contains("HTTP Upgrade success"), "{ran:?}");
    assert_eq!(ran.stdout.matches(":status: 200").count(), 2, "{ran:?}");
    assert!(!ran.stdout.contains("RST_STREAM") && !ran.stdout.contains("error_code=PROTOCOL"), "{ran:?}");
}

#[test]
fn h2load_gets_every_answer() {
    let Some(server) = Served::as_peer("h2load", "h2load, HTTP/1.1", &["--workers", "2"]) else { return };
    for [clients, ahead] in [["1", "1"], ["8", "4"], ["100", "1"]] {
        let line = ["--h1", "-n", "5000", "-t1", "-c", clients, "-m", ahead, &server.url("/")];
        let ran = run("h2load", &line, LIMIT);
        let all = "5000 total, 5000 started, 5000 done, 5000 succeeded, 0 failed, 0 errored, 0 timeout";
        assert!(ran.stdout.contains(all), "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains("status codes: 5000 2xx"), "{}", ran.stdout);
    }
}

#[test]
fn chromium_shows_a_page() {
    let builder = http::Server::builder().http1(Http1::default());
    browser::shows_a_page("Chromium, HTTP/1.1", builder, "http", "http/1.1");
}
