//! Our client against servers of other languages and makes, in cleartext with prior knowledge. `tests/run` prepares them.

// Foreign programs need not serve twice: the fallback backend has our own server and hyper's client.
#![cfg(not(any(loom, wakering_fallback)))]

mod support;

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/exercise.rs"]
mod exercise;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use daemon::{Daemon, Folder, haproxy, nginx};
use exercise::{HELLO, Lacks, NOTHING, Outcome, TEN_MIB, Target, check, exchanges, files, pattern, same};
use support::peer::{Peer, Role, Row, installed, prepared, python, script, stop};
use support::server::Server;

/// Starts a server that has the routes of ours and goes through all checks with it.
fn talk_to(row: Row, program: &Path, arguments: &[&Path], lacks: Lacks) {
    let mut peer = Peer::start(row, program, arguments);
    let address = peer.listening();
    wakering::run(async {
        let target = Target::connect(&address).await.expect("the server listens");
        exchanges(&mut peer.row, &target, lacks).await;
        let download = format!("/bytes?n={TEN_MIB}");
        match lacks.graceful_close {
            None => {
                let mut stdin = peer.take_stdin();
                let work = target.graceful_close(&download, || stdin.tell("stop"));
                check(&mut peer.row, "graceful close", work).await;
            }
            Some(why) => peer.row.lacks("graceful close", why),
        }
    })
    .expect("a runtime");
    peer.judge();
}

#[test]
fn the_server_of_go_is_asked() {
    let Some(program) = prepared("bin/go_server", "Go net/http", Role::Server) else { return };
    talk_to(Row::new("Go net/http", Role::Server), &program, &[], NOTHING);
}

#[test]
fn the_server_of_node_is_asked() {
    let Some(program) = installed("node", "node http2", Role::Server) else { return };
    talk_to(Row::new("node http2", Role::Server), &program, &[&script("server.mjs")], NOTHING);
}

#[test]
fn hypercorn_is_asked() {
    let Some(program) = python("hypercorn", "hypercorn", Role::Server) else { return };
    let lacks = Lacks {
        trailers: Some("ASGI gives an application no trailers of a request"),
        expect_continue: Some("it sends none over HTTP/2"),
        graceful_close: Some("it closes before the last frame, with curl too"),
        ..NOTHING
    };
    talk_to(Row::new("hypercorn", Role::Server), &program, &[&script("server_hypercorn.py")], lacks);
}

#[test]
fn a_server_on_h2_of_python_is_asked() {
    let Some(program) = python("h2", "h2 (Python)", Role::Server) else { return };
    let lacks = Lacks { graceful_close: Some("it sends nothing after GOAWAY"), ..NOTHING };
    talk_to(Row::new("h2 (Python)", Role::Server), &program, &[&script("server_h2.py")], lacks);
}

#[test]
fn a_grpc_server_is_called_in_all_four_kinds() {
    let Some(program) = python("grpc", "grpcio", Role::Server) else { return };
    let row = Row::new("grpcio", Role::Server);
    let mut peer = Peer::start(row, &program, &[script("server_grpc.py")]);
    let address = peer.listening();
    wakering::run(async {
        let target = Target::connect(&address).await.expect("the server listens");
        let row = &mut peer.row;
        check(row, "unary", calls(&target, "Unary", &[HELLO.into()], &[HELLO.into()])).await;
        let large = [pattern(8 << 20)];
        check(row, "8 MiB message", calls(&target, "Unary", &large, &large)).await;
        let numbers: Vec<Bytes> = (0..1000).map(|n| Bytes::from(n.to_string())).collect();
        check(row, "client streaming", calls(&target, "Join", &numbers, &[numbers.concat().into()])).await;
        check(row, "server streaming", calls(&target, "Count", &["1000".into()], &numbers)).await;
        check(row, "bidirectional streaming", calls(&target, "Chat", &numbers, &numbers)).await;
        check(row, "error status", async {
            let (messages, status) = target.call("Fail", vec![Bytes::new()]).await?;
            same((messages.len(), status.as_str()), (0, "9"))
        })
        .await;
        check(row, "unknown method", async {
            same(target.call("Nothing", vec![Bytes::new()]).await?.1.as_str(), "12")
        })
        .await;
        let mut stdin = peer.take_stdin();
        check(&mut peer.row, "graceful close", async {
            stdin.tell("stop");
            target.closed().await;
            Ok(())
        })
        .await;
    })
    .expect("a runtime");
    peer.judge();
}

async fn calls(target: &Target, method: &str, sent: &[Bytes], wanted: &[Bytes]) -> Outcome {
    let (messages, status) = target.call(method, sent.to_vec()).await?;
    same(status.as_str(), "0")?;
    if messages == wanted { Ok(()) } else { Err(format!("{} messages, or others", messages.len()).into()) }
}

/// What a server of files is asked for; `stop` is the signal that ends it in good order, or why there is none.
fn fetch_files(mut daemon: Daemon, more: &[&str], stop: Result<&str, &str>) {
    let address = daemon.address.clone();
    wakering::run(async {
        let target = Target::connect(&address).await.expect("the server listens");
        files(&mut daemon.peer.row, &target, more).await;
        let pid = daemon.peer.pid();
        match stop {
            Ok(signal) => {
                let close = target.graceful_close("/ten", || daemon::signal(pid, signal));
                check(&mut daemon.peer.row, "graceful close", close).await;
            }
            Err(why) => daemon.peer.row.lacks("graceful close", why),
        }
    })
    .expect("a runtime");
    daemon.peer.judge();
}

#[test]
fn nghttpd_is_asked() {
    let Some(program) = installed("nghttpd", "nghttpd", Role::Server) else { return };
    let configure = |folder: &Folder, port: u16| -> Vec<OsString> {
        let options = ["--no-tls", "--echo-upload", "--address", "127.0.0.1", "--htdocs"];
        let mut line: Vec<OsString> = options.map(OsString::from).to_vec();
        line.extend([folder.path().into(), port.to_string().into()]);
        line
    };
    fetch_files(
        Daemon::start("nghttpd", Role::Server, &program, "--version", configure),
        &["echo"],
        Err("no signal asks for it"),
    );
}

#[test]
fn nginx_is_asked() {
    let Some(program) = installed("nginx", "nginx", Role::Server) else { return };
    let configure = |folder: &Folder, port: u16| {
        nginx(folder, "", &format!("server {{ listen 127.0.0.1:{port} http2; root FOLDER; }}"))
    };
    let daemon = Daemon::start("nginx", Role::Server, &program, "-v", configure);
    fetch_files(daemon, &["refuse"], Err("a single process ends at once"));
}

#[test]
fn h2o_is_asked() {
    let Some(program) = installed("h2o", "h2o", Role::Server) else { return };
    let configure = |folder: &Folder, port: u16| -> Vec<OsString> {
        let text = format!(
            "listen: {{ host: 127.0.0.1, port: {port} }}\n\
             num-threads: 1\n\
             hosts:\n  default:\n    paths:\n      /:\n        file.dir: FOLDER\n"
        );
        vec!["-c".into(), folder.configure(&text)]
    };
    let daemon = Daemon::start("h2o", Role::Server, &program, "--version", configure);
    fetch_files(daemon, &["refuse"], Ok("TERM"));
}

#[test]
fn grpc_goes_through_haproxy() {
    grpc_through("haproxy", |folder, port, backend| {
        haproxy(folder, port, "", &format!("server ours {backend} proto h2"))
    });
}

#[test]
fn grpc_goes_through_nginx() {
    grpc_through("nginx", |folder, port, backend| {
        let place = "location / { grpc_pass grpc://BACKEND; grpc_read_timeout 60s; }";
        let place = place.replace("BACKEND", &backend.to_string());
        nginx(folder, "", &format!("server {{ listen 127.0.0.1:{port} http2; {place} }}"))
    });
}

/// The client of grpcio asks our server behind a proxy.
fn grpc_through(proxy: &'static str, configure: impl Fn(&Folder, u16, SocketAddr) -> Vec<OsString>) {
    let Some(program) = installed(proxy, proxy, Role::GrpcProxy) else { return };
    let Some(python) = python("grpc", proxy, Role::GrpcProxy) else { return };
    let server = Server::start("grpc_echo", &["--grace", "30"]);
    let version = if proxy == "nginx" { "-v" } else { "-V" };
    let configure = |folder: &Folder, port: u16| configure(folder, port, server.address);
    let daemon = Daemon::start(proxy, Role::GrpcProxy, &program, version, configure);
    let mut row = Row::new(proxy, Role::GrpcProxy);
    row.version(daemon.peer.row.known_version());
    let line = [script("client_grpc.py").into_os_string(), daemon.address.clone().into(), "proxied".into()];
    Peer::start(row, &python, &line).follow(Duration::from_secs(150), || stop(&server));
}
