//! Behind haproxy, where servers end and are replaced while requests come: no request may fail. `docs/behind-a-proxy.md`
//! shows the configuration.

// Foreign programs need not serve twice: how the fallback backend ends is tested without them.
#![cfg(not(any(loom, wakering_fallback)))]

mod support;

#[expect(dead_code, reason = "only haproxy is started here")]
#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/exercise.rs"]
mod exercise;

#[path = "support/load.rs"]
mod load;

use std::{net::SocketAddr, time::Duration};

use daemon::{Daemon, Folder};
use load::Load;
use support::{
    peer::{Role, installed},
    server::{Server, Signal},
};

/// Only a failing test waits so long.
const LIMIT: Duration = Duration::from_secs(60);

/// haproxy in front of `servers`, as the page on proxies has it.
fn balancer(servers: &[SocketAddr]) -> Option<Daemon> {
    let program = installed("haproxy", "haproxy", Role::Proxy)?;
    let lines: String = servers
        .iter()
        .enumerate()
        .map(|(at, address)| format!(" server s{at} {address} proto h2\n"))
        .collect();
    let configure = move |folder: &Folder, port: u16| {
        let text = format!(
            "defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n \
             retries 5\n option redispatch 1\n retry-on all-retryable-errors\n\
             frontend before\n bind 127.0.0.1:{port} proto h2\n default_backend behind\n\
             backend behind\n balance roundrobin\n{lines}"
        );
        vec!["-db".into(), "-f".into(), folder.configure(&text)]
    };
    Some(Daemon::start("haproxy", Role::Proxy, &program, "-v", configure))
}

/// Has a server end in good order, and waits for it.
fn end(server: Server) {
    server.signal(Signal::Terminate);
    let (status, _, errors) = server.wait(LIMIT);
    assert_eq!((status.code(), errors.as_str()), (Some(0), ""));
}

#[test]
fn one_of_two_servers_behind_haproxy_ends_and_comes_back_and_no_request_fails() {
    let [one, two] = [(); 2].map(|()| Server::start("service", &["--workers", "2", "--grace", "60"]));
    let Some(mut daemon) = balancer(&[one.address, two.address]) else { return };
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

#[test]
fn a_server_behind_haproxy_is_replaced_by_handover_and_no_request_fails() {
    let folder = std::env::temp_dir().join(format!("wk-hap-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("handover").to_str().unwrap().to_owned();
    let next = || Server::start("service", &["--handover", &path, "--workers", "2", "--grace", "60"]);
    let mut current = next();
    let Some(mut daemon) = balancer(&[current.address]) else { return };
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
    std::fs::remove_dir_all(&folder).unwrap();
    daemon.peer.row.ok("a server is replaced by handover under load, no request fails");
    daemon.peer.judge();
}
