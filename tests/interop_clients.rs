//! Clients of other languages against our servers: Go, node, Python and gRPC. `tests/run` prepares them.
//!
//! Each is a program in `tests/interop/` that goes through its checks and reports them; the last one begins a download,
//! has the server told to stop, and must get the rest.

// Foreign programs need not be served twice: the fallback backend has curl, h2load and hyper.
#![cfg(not(any(loom, wakering_fallback)))]

mod support;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use support::peer::{Peer, Role, Row, installed, prepared, python, script, stop};
use support::server::Server;

const LIMIT: Duration = Duration::from_secs(150);

/// Has `program` served by an example of ours, to the end of its report and of the server.
fn serve(peer: &'static str, example: &str, program: &Path, arguments: &[PathBuf]) {
    let row = Row::new(peer, Role::Client);
    let server = Server::start(example, &["--grace", "30"]);
    // gRPC and the Python package h2 name a server by its address alone.
    let target = if example.ends_with("_echo") || peer == "h2 (Python)" {
        server.address.to_string()
    } else {
        server.url("")
    };
    let mut line: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    line.push(target.into());
    let mut stopping = false;
    Peer::start(row, program, &line).follow(LIMIT, || {
        stop(&server);
        stopping = true;
    });
    if !stopping {
        stop(&server);
    }
    let (status, _, errors) = server.wait(Duration::from_secs(60));
    assert_eq!(status.code(), Some(0), "{errors}");
    assert_eq!(errors, "");
}

#[test]
fn the_client_of_go_is_served() {
    let Some(program) = prepared("bin/go_client", "Go net/http", Role::Client) else { return };
    serve("Go net/http", "h2_server", &program, &[]);
}

#[test]
fn the_client_of_node_is_served() {
    let Some(program) = installed("node", "node http2", Role::Client) else { return };
    serve("node http2", "h2_server", &program, &[script("client.mjs")]);
}

#[test]
fn httpx_is_served() {
    let Some(program) = python("httpx, h2", "httpx", Role::Client) else { return };
    serve("httpx", "h2_server", &program, &[script("client_httpx.py")]);
}

#[test]
fn a_client_on_h2_of_python_is_served() {
    let Some(program) = python("h2", "h2 (Python)", Role::Client) else { return };
    serve("h2 (Python)", "h2_server", &program, &[script("client_h2.py")]);
}

#[test]
fn the_grpc_client_is_served_in_all_four_kinds_of_calls() {
    let Some(program) = python("grpc", "grpcio", Role::Client) else { return };
    serve("grpcio", "grpc_echo", &program, &[script("client_grpc.py")]);
}

#[test]
fn the_grpc_client_is_served_by_tonic_on_our_server() {
    let Some(program) = python("grpc", "grpcio", Role::Client) else { return };
    serve("grpcio", "tonic_echo", &program, &[script("client_grpc.py")]);
}
