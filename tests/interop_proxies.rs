//! Behind haproxy and nginx, where servers end and are replaced while requests come: no request may fail.
//! `docs/behind-a-proxy.md` shows the configurations.

// Foreign programs need not serve twice: how the fallback backend ends is tested without them.
#![cfg(not(any(loom, wakering_fallback)))]

mod support;

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/exercise.rs"]
mod exercise;

#[path = "support/load.rs"]
mod load;

use std::{
    ffi::OsString,
    io::{Read, Write},
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use daemon::{Daemon, Folder};
use exercise::{Lacks, NOTHING, Target, exchanges};
use load::Load;
use support::{
    eventually, folder,
    peer::{Role, installed},
    server::{Server, Signal},
};

/// Only a failing test waits so long.
const LIMIT: Duration = Duration::from_secs(60);

/// How haproxy speaks with the servers behind it, as rows of the table name it and as its configuration does.
const HAPROXY: [(&str, &str); 2] = [("haproxy", "proto h2"), ("haproxy, HTTP/1.1", "")];

/// The proxies that servers end and are replaced behind.
const FRONTS: [&str; 3] = ["haproxy", "haproxy, HTTP/1.1", "nginx, HTTP/1.1"];

/// A proxy in front of `servers`, as the page on proxies has it.
fn front(peer: &'static str, servers: &[SocketAddr]) -> Option<Daemon> {
    let Some((_, word)) = HAPROXY.iter().find(|(known, _)| *known == peer) else {
        let program = installed("nginx", peer, Role::Proxy)?;
        return Some(Daemon::start(peer, Role::Proxy, &program, "-v", |folder, port| {
            nginx(folder, port, servers)
        }));
    };
    let program = installed("haproxy", peer, Role::Proxy)?;
    let servers: String = servers
        .iter()
        .enumerate()
        .map(|(at, address)| format!(" server s{at} {address} {word} check\n"))
        .collect();
    let configure = move |folder: &Folder, port: u16| {
        let again = "retries 5\n option redispatch 1\n retry-on all-retryable-errors";
        let behind = format!("http-request disable-l7-retry if METH_POST\n{servers}");
        daemon::haproxy(folder, port, again, &behind)
    };
    Some(Daemon::start(peer, Role::Proxy, &program, "-v", configure))
}

/// nginx that keeps connections to `servers` and speaks HTTP/1.1 with them.
fn nginx(folder: &Folder, port: u16, servers: &[SocketAddr]) -> Vec<OsString> {
    let servers: String = servers.iter().map(|address| format!("server {address};")).collect();
    let text = format!(
        "upstream behind {{ {servers} keepalive 16; }}
         server {{
             listen 127.0.0.1:{port} http2;
             location / {{
                 proxy_pass http://behind;
                 proxy_http_version 1.1;
                 proxy_set_header Connection \"\";
             }}
         }}"
    );
    daemon::nginx(folder, "", &text)
}

/// Our client asks our server through a proxy.
fn meet_through(daemon: &mut Daemon, lacks: Lacks) {
    let address = daemon.address.clone();
    wakering::run(async {
        // haproxy reads no WINDOW_UPDATE behind content that it cannot pass on yet (seen with 2.6): an echo through
        // 64 KiB of window stands still.
        let target = Target::with_wide_windows(&address).await.expect("the proxy listens");
        exchanges(&mut daemon.peer.row, &target, lacks).await;
    })
    .expect("a runtime");
}

#[test]
fn our_server_and_our_client_meet_through_haproxy() {
    for (peer, word) in HAPROXY {
        let Some(program) = installed("haproxy", peer, Role::Proxy) else { continue };
        let server = Server::start("h2_server", &[]);
        let line = format!("server ours {} {word}", server.address);
        // Without the option it holds a chunk back for 200 ms, in case that more comes.
        let configure =
            |folder: &Folder, port: u16| daemon::haproxy(folder, port, "option http-no-delay", &line);
        let mut daemon = Daemon::start(peer, Role::Proxy, &program, "-v", configure);
        let lacks = Lacks {
            expect_continue: Some("it ends the answer after its head when 100 and 200 come in one read"),
            ..NOTHING
        };
        meet_through(&mut daemon, lacks);
        daemon.peer.judge();
    }
}

#[test]
fn our_server_and_our_client_meet_through_nginx() {
    let peer = "nginx, HTTP/1.1";
    let Some(program) = installed("nginx", peer, Role::Proxy) else { return };
    let server = Server::start("h2_server", &[]);
    let mut daemon = Daemon::start(peer, Role::Proxy, &program, "-v", |folder, port| {
        nginx(folder, port, &[server.address])
    });
    let lacks = Lacks {
        trailers: Some("it ends the connection of who sends some"),
        expect_continue: Some("it passes none on over HTTP/2"),
        early_hints: Some("before 1.29 it takes 103 for the answer"),
        duplex: Some("it may stop sending content when the answer has begun, with other servers too"),
        ..NOTHING
    };
    meet_through(&mut daemon, lacks);
    daemon.peer.judge();
}

/// Has a server end in good order, and waits for it.
fn end(server: Server) {
    server.signal(Signal::Terminate);
    let (status, _, errors) = server.wait(LIMIT);
    assert_eq!((status.code(), errors.as_str()), (Some(0), ""));
}

#[test]
fn one_of_two_servers_behind_a_proxy_ends_and_comes_back_and_no_request_fails() {
    for peer in FRONTS {
        let [one, two] = [(); 2].map(|()| Server::start("service", &["--workers", "2", "--grace", "60"]));
        let Some(mut daemon) = front(peer, &[one.address, two.address]) else { continue };
        let load = Load::on(&daemon.address);
        for server in [&one, &two] {
            load.is_answered(&server.pid().to_string());
        }
        let address = one.address.to_string();
        end(one);
        load.a_hundred_more();
        let again = Server::start("service", &["--addr", &address, "--grace", "60"]);
        load.is_answered(&again.pid().to_string());
        end(two);
        load.a_hundred_more();
        assert_eq!(load.end().len(), 3, "each of the three has answered");
        daemon.peer.row.ok("a server ends under load and another comes, no request fails");
        daemon.peer.judge();
    }
}

/// What haproxy says of its server `ours`: its state, and how the last check ended.
fn health(socket: &Path) -> (String, String) {
    let mut text = String::new();
    let asked = UnixStream::connect(socket).and_then(|mut stream| {
        stream.write_all(b"show stat\n")?;
        stream.read_to_string(&mut text)
    });
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    let field = |name: &str| {
        let column = rows.first()?.iter().position(|it| *it == name)?;
        let ours = rows.iter().find(|row| row.get(1) == Some(&"ours"))?;
        Some((*ours.get(column)?).to_owned())
    };
    let known = asked.is_ok().then(|| Some((field("status")?, field("check_status")?))).flatten();
    known.unwrap_or_default()
}

/// The checks that the page on proxies advises: a server that is gone, one that hangs, and both come back.
#[test]
fn haproxy_finds_out_by_requests_what_it_does_not_by_connecting() {
    for (peer, word) in HAPROXY {
        let Some(program) = installed("haproxy", peer, Role::Proxy) else { continue };
        let server = Server::start("service", &["--grace", "60"]);
        let socket = std::cell::RefCell::new(PathBuf::new());
        let line = format!(
            "option httpchk\n http-check send meth GET uri / hdr host ours\n timeout check 700ms\n \
             server ours {} {word} check inter 200ms fall 2 rise 1",
            server.address
        );
        let configure = |folder: &Folder, port: u16| {
            *socket.borrow_mut() = folder.path().join("admin");
            let words = daemon::haproxy(folder, port, "", &line);
            let file = folder.path().join("configuration");
            let text = std::fs::read_to_string(&file).expect("a configuration");
            let admin = format!("global\n stats socket {}\n", socket.borrow().display());
            std::fs::write(&file, admin + &text).expect("a configuration");
            words
        };
        let mut daemon = Daemon::start(peer, Role::Proxy, &program, "-v", configure);
        let socket = socket.into_inner();
        let becomes = |wanted: &[(&str, &str)], what: &str| {
            let mut seen = Default::default();
            let so = eventually(LIMIT, || {
                seen = health(&socket);
                wanted.contains(&(seen.0.as_str(), seen.1.as_str()))
            });
            assert!(so, "{peer}, {what}: {seen:?}");
        };
        becomes(&[("UP", "L7OK")], "a server that answers");
        daemon::signal(server.pid(), "STOP");
        becomes(&[("DOWN", "L7TOUT"), ("DOWN", "L4TOUT")], "a server that hangs, though its port accepts");
        daemon::signal(server.pid(), "CONT");
        becomes(&[("UP", "L7OK")], "a server that goes on");
        let address = server.address.to_string();
        end(server);
        becomes(&[("DOWN", "L4CON")], "a server that has ended");
        let again = Server::start("service", &["--addr", &address]);
        becomes(&[("UP", "L7OK")], "a server that has come back");
        end(again);
        daemon.peer.row.ok("health checks by request");
        daemon.peer.judge();
    }
}

#[test]
fn a_server_behind_a_proxy_is_replaced_by_handover_and_no_request_fails() {
    for peer in FRONTS {
        let folder = folder::Folder::new("hap");
        let path = folder.join("handover").to_str().expect("a name").to_owned();
        let next = || Server::start("service", &["--handover", &path, "--workers", "2", "--grace", "60"]);
        let mut current = next();
        let Some(mut daemon) = front(peer, &[current.address]) else { continue };
        let load = Load::on(&daemon.address);
        for _ in 0..2 {
            load.a_hundred_more();
            let successor = next();
            let (status, _, errors) = current.wait(LIMIT);
            assert_eq!((status.code(), errors.as_str()), (Some(0), ""));
            current = successor;
        }
        load.a_hundred_more();
        assert_eq!(load.end().len(), 3, "each of the three has answered");
        daemon.peer.row.ok("a server is replaced by handover under load, no request fails");
        daemon.peer.judge();
    }
}
