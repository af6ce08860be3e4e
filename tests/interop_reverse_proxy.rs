//! The reverse proxy between foreign clients and servers, ours and others', while servers die and the proxy is replaced.

// Foreign programs need not serve twice: the way of the requests is tested on the fallback backend without a proxy.
#![cfg(not(any(loom, wakering_fallback)))]

mod support;

#[expect(dead_code, reason = "it only has the files that nghttpd serves")]
#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/exercise.rs"]
mod exercise;
#[path = "support/load.rs"]
mod load;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use daemon::{Daemon, Folder};
use load::Load;
use serde_json::Value;
use support::{
    folder,
    peer::{Role, installed},
    program, run,
    server::{Server, Signal},
};

/// Only a failing test waits so long.
const LIMIT: Duration = Duration::from_secs(60);

fn proxy(to: &[SocketAddr], more: &[&str]) -> Server {
    let to: Vec<String> = to.iter().map(ToString::to_string).collect();
    let mut arguments: Vec<&str> = to.iter().flat_map(|to| ["--to", to]).collect();
    arguments.extend(more);
    Server::start("reverse_proxy", &arguments)
}

fn curl(url: &str, more: &[&str]) -> String {
    let mut line = vec!["-sS", "--max-time", "50", "--http2-prior-knowledge"];
    line.extend(more);
    line.push(url);
    let ran = run("curl", &line, LIMIT);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    ran.stdout
}

/// The file, gone with this value.
struct Temporary(PathBuf);

impl Temporary {
    fn of(name: &str, bytes: usize) -> Temporary {
        let path = std::env::temp_dir().join(format!("wk-rp-{name}-{}", std::process::id()));
        std::fs::write(&path, exercise::pattern(bytes)).expect("a file");
        Temporary(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

#[test]
fn the_server_behind_learns_of_the_client_and_not_what_the_client_says_of_itself() {
    let Some(_curl) = program("curl") else { return };
    let server = Server::start("h2_server", &[]);
    let proxy = proxy(&[server.address], &[]);
    let lies = [
        "-H",
        "X-Forwarded-For: 192.0.2.1",
        "-H",
        "X-Forwarded-Port: 1",
        "-H",
        "X-Forwarded-Prefix: /admin",
        "-H",
        "X-Real-IP: 192.0.2.1",
        "-H",
        "Forwarded: for=192.0.2.1",
        "-H",
        "TE: trailers",
        "-H",
        "X-Own: kept",
    ];
    let told: Value = serde_json::from_str(&curl(&proxy.url("/headers?a=1"), &lies)).expect("JSON");
    assert_eq!(told["path"], "/headers?a=1");
    let all = |name: &str| -> Vec<String> {
        let fields = told["headers"].as_array().expect("a list");
        fields.iter().filter(|it| it[0] == name).map(|it| it[1].as_str().expect("text").to_owned()).collect()
    };
    assert_eq!(all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(all("x-forwarded-proto"), ["http"]);
    assert_eq!(all("x-forwarded-host"), [proxy.address.to_string()]);
    for lie in ["x-forwarded-port", "x-forwarded-prefix", "x-real-ip"] {
        assert_eq!(all(lie), [""; 0], "{lie}");
    }
    assert_eq!((all("te"), all("x-own")), (vec!["trailers".to_owned()], vec!["kept".to_owned()]));
    let forwarded = all("forwarded").concat();
    assert!(forwarded.starts_with("for=\"127.0.0.1:") && !forwarded.contains("192.0.2.1"), "{forwarded}");
    let tunnel = curl(&proxy.url("/"), &["-o", "/dev/null", "-w", "%{http_code}", "-X", "PROPFIND"]);
    assert_eq!(tunnel, "200", "any method goes through");
}

#[test]
fn a_request_that_comes_back_is_refused_and_one_that_was_at_another_of_its_kind_is_not() {
    let Some(_curl) = program("curl") else { return };
    let server = Server::start("h2_server", &[]);
    let inner = proxy(&[server.address], &[]);
    let outer = proxy(&[inner.address], &[]);
    let told: Value = serde_json::from_str(&curl(&outer.url("/headers"), &[])).expect("JSON");
    let fields = told["headers"].as_array().expect("a list");
    let hops = fields.iter().filter(|field| field[0] == "via");
    let hops: Vec<&str> =
        hops.flat_map(|field| field[1].as_str().expect("text").split(',')).map(str::trim).collect();
    let [of_outer, of_inner] = hops[..] else { panic!("{told}") };
    assert!(of_outer.starts_with("2.0 wakering-") && of_inner.starts_with("2.0 wakering-"), "{told}");
    assert_ne!(of_outer, of_inner);
    let status = |to: &Server, via: &str| {
        let via = format!("Via: {via}");
        curl(&to.url("/"), &["-H", &via, "-o", "/dev/null", "-w", "%{http_code}"])
    };
    let blanks = of_outer.replace(' ', " \t ").to_uppercase();
    for via in [of_outer, &format!("1.1 other, {of_outer} (it again), 1.1 third"), &blanks] {
        assert_eq!(status(&outer, via), "508", "{via}");
    }
    assert_eq!(status(&inner, of_outer), "200");
}

#[test]
fn a_request_that_may_pass_so_many_proxies_passes_no_more() {
    let Some(_curl) = program("curl") else { return };
    let server = Server::start("h2_server", &[]);
    let proxy = proxy(&[server.address], &[]);
    let ask = |method: &str, count: &str| {
        let count = format!("Max-Forwards: {count}");
        curl(&proxy.url("/headers"), &["-X", method, "-H", &count, "-w", "\n%{http_code}"])
    };
    assert!(ask("OPTIONS", "0").ends_with("\n204"));
    assert!(ask("TRACE", "0").ends_with("\n501"));
    // The server's own answer: it looks at nothing but GET and HEAD.
    assert!(ask("OPTIONS", "1").ends_with("\n405"));
    let get = ask("GET", "0");
    assert!(get.contains(r#"["max-forwards","0"]"#), "it is for OPTIONS and TRACE alone: {get}");
}

#[test]
fn content_streams_both_ways_and_early_hints_pass() {
    let Some(_curl) = program("curl") else { return };
    let server = Server::start("h2_server", &[]);
    let proxy = proxy(&[server.address], &["--workers", "2"]);
    let file = Temporary::of("up", 5_000_000);
    let upload = format!("@{}", file.0.display());
    let echoed = Temporary::of("down", 0);
    let down = echoed.0.to_str().expect("a name").to_owned();
    curl(&proxy.url("/echo"), &["--data-binary", &upload, "-o", &down]);
    assert!(
        std::fs::read(&echoed.0).expect("it was written") == exercise::pattern(5_000_000),
        "the same bytes"
    );
    let length = curl(&proxy.url("/bytes?n=20000000"), &["-o", "/dev/null", "-w", "%{size_download}"]);
    assert_eq!(length, "20000000");
    let head = curl(&proxy.url("/early"), &["-D", "-", "-o", "/dev/null"]);
    assert!(head.starts_with("HTTP/2 103") && head.contains("HTTP/2 200"), "{head}");
    let missing = curl(&proxy.url("/nothing"), &["-o", "/dev/null", "-w", "%{http_code}"]);
    assert_eq!(missing, "404");
}

/// h2load asks for `path`; all of its requests have to succeed.
fn load_with_h2load(address: &str, path: &str) {
    let url = format!("http://{address}{path}");
    let ran = run("h2load", &["-n", "3000", "-c", "8", "-m", "16", url.as_str()], LIMIT);
    assert!(ran.stdout.contains("3000 succeeded, 0 failed"), "{ran:?}");
    assert!(ran.stdout.contains("3000 2xx"), "{ran:?}");
}

#[test]
fn h2load_is_served_through_it_by_our_server() {
    let Some(_h2load) = program("h2load") else { return };
    let servers = [(); 2].map(|()| Server::start("h2_server", &[]));
    let proxy = proxy(&[servers[0].address, servers[1].address], &["--workers", "2"]);
    load_with_h2load(&proxy.address.to_string(), "/");
}

#[test]
fn h2load_is_served_through_it_by_nghttpd() {
    let Some(_h2load) = program("h2load") else { return };
    let Some(nghttpd) = installed("nghttpd", "nghttpd", Role::Server) else { return };
    let configure = |folder: &Folder, port: u16| {
        let port = port.to_string();
        ["--no-tls", "-a", "127.0.0.1", "-d"]
            .map(Into::into)
            .into_iter()
            .chain([folder.path().into(), port.into()])
            .collect()
    };
    let mut daemon = Daemon::start("nghttpd", Role::Server, &nghttpd, "--version", configure);
    let proxy = proxy(&[daemon.address.parse().expect("an address")], &[]);
    load_with_h2load(&proxy.address.to_string(), "/hello");
    daemon.peer.row.ok("behind our reverse proxy");
    daemon.peer.judge();
}

#[test]
fn a_server_that_is_killed_is_left_out_and_found_again_and_no_get_fails() {
    let [one, two] = [(); 2].map(|()| Server::start("service", &[]));
    let proxy = proxy(&[one.address, two.address], &["--workers", "2"]);
    let load = Load::on(proxy.address);
    for server in [&one, &two] {
        load.is_answered(&server.pid().to_string());
    }
    let address = one.address.to_string();
    drop(one); // killed
    load.a_hundred_more();
    let again = Server::start("service", &["--addr", &address]);
    load.is_answered(&again.pid().to_string());
    assert_eq!(load.end().len(), 3);
}

#[test]
fn without_any_server_the_answer_is_502_and_a_slow_one_is_504() {
    let Some(_curl) = program("curl") else { return };
    let server = Server::start("h2_server", &[]);
    let code =
        |proxy: &Server, path: &str| curl(&proxy.url(path), &["-o", "/dev/null", "-w", "%{http_code}"]);
    let slow = proxy(&[server.address], &["--timeout", "0.2"]);
    assert_eq!(code(&slow, "/slow?ms=60000"), "504");
    let gone = proxy(&[server.address], &[]);
    assert_eq!(code(&gone, "/"), "200");
    drop(server);
    assert_eq!(code(&gone, "/"), "502");
    assert_eq!(curl(&gone.url("/"), &["-d", "content", "-o", "/dev/null", "-w", "%{http_code}"]), "502");
}

#[test]
fn a_proxy_that_is_replaced_by_handover_refuses_nobody() {
    let folder = folder::Folder::new("rph");
    let path = folder.join("handover").to_str().expect("a name").to_owned();
    let server = Server::start("service", &[]);
    let next = || proxy(&[server.address], &["--handover", &path, "--workers", "2", "--grace", "60"]);
    let mut current = next();
    let load = Load::on(current.address);
    for _ in 0..2 {
        load.a_hundred_more();
        let successor = next();
        let (status, _, errors) = current.wait(LIMIT);
        assert_eq!((status.code(), errors.as_str()), (Some(0), ""));
        current = successor;
    }
    load.a_hundred_more();
    load.end();
    current.signal(Signal::Terminate);
    assert_eq!(current.wait(LIMIT).0.code(), Some(0));
}

#[cfg(feature = "http1")]
#[test]
fn a_client_of_http_1_1_is_passed_on_in_http_2_without_the_fields_of_its_connection() {
    let Some(_curl) = program("curl") else { return };
    let server = Server::start("h2_server", &[]);
    let proxy = proxy(&[server.address], &[]);
    let more =
        ["-sS", "--http1.1", "--max-time", "50", "-H", "Connection: keep-alive, x-hop", "-H", "X-Hop: 1"];
    let url = proxy.url("/headers");
    let ran = run("curl", &[&more[..], &[url.as_str()]].concat(), LIMIT);
    let told: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let fields = told["headers"].as_array().expect("a list");
    let has = |name: &str| fields.iter().any(|field| field[0] == name);
    assert!(!has("x-hop") && !has("connection") && !has("keep-alive"), "{told}");
    let via = fields.iter().find(|field| field[0] == "via").expect("it went through the proxy");
    assert!(via[1].as_str().expect("text").starts_with("1.1 wakering-"), "{via}");
    let file = Temporary::of("chunked", 1_000_000);
    let upload = format!("@{}", file.0.display());
    let url = proxy.url("/count");
    let chunked =
        ["-sS", "--http1.1", "--max-time", "50", "-H", "Transfer-Encoding: chunked", "--data-binary"];
    let ran = run("curl", &[&chunked[..], &[upload.as_str(), url.as_str()]].concat(), LIMIT);
    assert_eq!(ran.stdout, "1000000", "{ran:?}");
}

#[cfg(all(feature = "http1", feature = "tls-ring"))]
#[test]
fn clients_speak_tls_with_it_in_either_version() {
    let Some(_curl) = program("curl") else { return };
    let server = Server::start("h2_server", &[]);
    let proxy = proxy(&[server.address], &["--tls"]);
    for (version, via) in
        [("--http2", "2.0 wakering-"), ("--http1.1", "1.1 wakering-"), ("--http1.0", "1.0 wakering-")]
    {
        let url = format!("https://{}/headers", proxy.address);
        let ran = run("curl", &["-sS", "--insecure", "--max-time", "50", version, &url], LIMIT);
        let told: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        let fields = told["headers"].as_array().expect("a list");
        let value = |name: &str| fields.iter().find(|field| field[0] == name).map(|field| field[1].clone());
        assert_eq!(value("x-forwarded-proto"), Some("https".into()), "{told}");
        assert!(value("via").is_some_and(|it| it.as_str().expect("text").starts_with(via)), "{told}");
        assert!(value("forwarded").is_some_and(|it| it.to_string().contains("proto=https")), "{told}");
    }
}

/// ab opens a connection for each request, and keeps none: whoever is refused counts.
#[cfg(feature = "http1")]
#[test]
fn a_proxy_is_replaced_while_clients_of_http_1_come() {
    let Some(served) = support::served::Served::by("service", "ab", "ab, HTTP/1.1", &[]) else { return };
    let folder = folder::Folder::new("rpo");
    let path = folder.join("handover").to_str().expect("a name").to_owned();
    let next = || proxy(&[served.address], &["--handover", &path, "--workers", "2", "--grace", "60"]);
    let mut current = next();
    let url = current.url("/");
    // As many as come while the proxy is replaced twice.
    let client =
        std::thread::spawn(move || run("ab", &["-q", "-t", "3", "-n", "100000", "-c", "8", &url], LIMIT));
    let load = Load::on(current.address);
    for _ in 0..2 {
        load.a_hundred_more();
        let successor = next();
        let (status, _, errors) = current.wait(LIMIT);
        assert_eq!((status.code(), errors.as_str()), (Some(0), ""));
        current = successor;
    }
    load.a_hundred_more();
    load.end();
    let ran = client.join().expect("ab ends");
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("Failed requests:        0"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("Non-2xx"), "{}", ran.stdout);
}
