//! h2load against `examples/h2_server`, and against hyper's server and an axum app on our runtime: nothing fails under load,
//! and nothing stays behind after it.
//!
//! `WAKERING_H2LOAD_REQUESTS=300000` makes the rounds as long as the figures of the README ask for.

mod support;

use std::time::{Duration, Instant};

use support::served::Served;
use support::server::{Server, Signal};
use support::{eventually, run};

const LIMIT: Duration = Duration::from_secs(250);

/// Requests a round in the suite, where the server is built without optimisation.
const REQUESTS: u32 = 10_000;

/// Examples with the names that the table has h2load under. On the fallback backend ours is enough: what is under hyper and
/// axum are the same sockets, tasks and timers.
const SERVERS: &[(&str, &str)] = if cfg!(wakering_fallback) {
    &[("h2_server", "h2load")]
} else {
    &[("h2_server", "h2load"), ("hyper_server", "h2load, at hyper"), ("axum_server", "h2load, at axum")]
};

fn requests() -> u32 {
    std::env::var("WAKERING_H2LOAD_REQUESTS").ok().and_then(|text| text.parse().ok()).unwrap_or(REQUESTS)
}

fn load(server: &Server, path: &str, options: &[&str]) -> String {
    let url = server.url(path);
    let ran = run("h2load", &[options, &[&url]].concat(), LIMIT);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    ran.stdout
}

/// One round on each server; every single request must succeed.
fn all_succeed(arguments: &[&str], clients: &str, streams: &str) {
    for (example, peer) in SERVERS {
        let Some(server) = Served::by(example, "h2load", peer, arguments) else { continue };
        let n = requests();
        let report = load(&server, "/", &["-n", &n.to_string(), "-c", clients, "-m", streams, "-t1"]);
        let wanted =
            format!("{n} total, {n} started, {n} done, {n} succeeded, 0 failed, 0 errored, 0 timeout");
        assert!(report.contains(&wanted), "{example}: {report}");
        assert!(report.contains(&format!("status codes: {n} 2xx")), "{example}: {report}");
    }
}

#[test]
fn eight_clients_with_32_streams_all_succeed() {
    all_succeed(&[], "8", "32");
}

#[test]
fn a_hundred_clients_with_10_streams_all_succeed() {
    all_succeed(&[], "100", "10");
}

#[test]
fn one_client_with_100_streams_all_succeed() {
    all_succeed(&[], "1", "100");
}

#[test]
fn two_workers_share_a_hundred_clients() {
    all_succeed(&["--workers", "2"], "100", "10");
}

#[test]
fn descriptors_return_to_their_base_after_load() {
    for (example, peer) in SERVERS {
        let Some(server) = Served::by(example, "h2load", peer, &[]) else { continue };
        // What the first connection opens for good, such as a timer, belongs to the base.
        load(&server, "/", &["-n", "10", "-c", "1"]);
        let base = server.descriptors();
        load(&server, "/", &["-n", "2000", "-c", "200", "-m", "5"]);
        let back = eventually(Duration::from_secs(60), || server.descriptors() <= base);
        assert!(back, "{example}: {} descriptors, {base} before the load", server.descriptors());
    }
}

#[test]
fn a_large_download_holds_no_more_than_a_chunk() {
    let Some(server) = Served::to("h2load", &[]) else { return };
    load(&server, "/", &["-n", "100", "-c", "4"]);
    let base = server.resident_kib();
    load(&server, "/bytes?n=30000000", &["-n", "4", "-c", "4"]);
    let grown = server.resident_kib().saturating_sub(base);
    assert!(grown < 16 * 1024, "{grown} KiB more for 4 downloads of 30 MB");
}

/// A signal ends a server under load in good order.
fn ends_under_load(example: &str, peer: &'static str) {
    let Some(server) = Served::by(example, "h2load", peer, &[]) else { return };
    let url = server.url("/");
    let client = std::thread::spawn(move || run("h2load", &["-D", "4", "-c", "8", "-m", "32", &url], LIMIT));
    let busy = server.descriptors() + 8;
    assert!(eventually(Duration::from_secs(60), || server.descriptors() >= busy), "h2load does not connect");
    server.signal(Signal::Terminate);
    let (status, lines, errors) = server.server.wait(Duration::from_secs(60));
    assert_eq!(status.code(), Some(0), "{errors}");
    assert_eq!(lines, [""; 0], "only the address goes to standard output");
    client.join().expect("h2load ends when the server is gone");
}

#[test]
fn sigterm_under_load_ends_with_code_0() {
    ends_under_load("h2_server", "h2load");
}

#[test]
fn sigterm_under_load_ends_hypers_server_with_code_0() {
    ends_under_load("hyper_server", "h2load, at hyper");
}

#[test]
fn sigterm_under_load_ends_an_axum_app_with_code_0() {
    ends_under_load("axum_server", "h2load, at axum");
}

#[test]
fn ctrl_c_under_downloads_ends_within_the_grace_with_code_0() {
    let Some(server) = Served::to("h2load", &["--grace", "1", "--workers", "2"]) else { return };
    let url = server.url("/bytes?n=1000000000000");
    let client = std::thread::spawn(move || run("h2load", &["-n", "64", "-c", "8", "-m", "8", &url], LIMIT));
    let busy = server.descriptors() + 8;
    assert!(eventually(Duration::from_secs(60), || server.descriptors() >= busy), "h2load does not connect");
    let started = Instant::now();
    server.signal(Signal::Interrupt);
    let (status, lines, errors) = server.server.wait(Duration::from_secs(60));
    assert_eq!(status.code(), Some(0), "{errors}");
    assert_eq!(lines, [""; 0], "only the address goes to standard output");
    assert!(started.elapsed() < Duration::from_secs(60), "a grace of 1 s took {:?}", started.elapsed());
    client.join().expect("h2load ends when the server is gone");
}
