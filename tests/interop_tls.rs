//! Other people's clients and servers over TLS: clients against `examples/h2_server --tls`, and a browser against a page: what
//! they do in cleartext they do over TLS, with a certificate that they check; in HTTP/2, and in HTTP/1.1.

// Foreign programs need not be served twice, as in `interop_clients`.
#![cfg(not(any(loom, wakering_fallback)))]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "support/browser.rs"]
mod browser;
#[path = "support/daemon.rs"]
#[expect(dead_code, reason = "nobody is signalled here")]
mod daemon;
#[path = "support/exercise.rs"]
mod exercise;
#[path = "support/tls.rs"]
mod identity;
#[path = "support/tls_proxies.rs"]
mod proxies;
#[path = "support/serving.rs"]
mod serving;
mod support;

use std::{
    ffi::OsString,
    fs,
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use daemon::{Daemon, Folder};
use exercise::{TEN_MIB, pattern};
use identity::Authority;
use support::{
    folder, kill_with_parent,
    peer::{Role, Row, installed, prepared, python, script, version_of},
    run,
    served::{self, followed},
    server::Server,
};
use wakering::http::{self, Body, Http1, Request, client::Client};

const LIMIT: Duration = Duration::from_secs(150);

/// `h2_server --tls` with a certificate for this host, and the authority's certificate in a file.
struct Secured {
    server: Server,
    folder: folder::Folder,
}

impl Secured {
    fn start(arguments: &[&str]) -> Secured {
        Secured::by("h2_server", arguments)
    }

    fn by(example: &str, arguments: &[&str]) -> Secured {
        let folder = folder::Folder::new("tls");
        let authority = Authority::new();
        let identity = authority.identity(&["localhost", "127.0.0.1"]);
        let path = |name: &str| folder.join(name).display().to_string();
        fs::write(path("authority.pem"), authority.pem()).unwrap();
        fs::write(path("certificate.pem"), identity.pem()).unwrap();
        fs::write(path("key.pem"), identity.key_pem()).unwrap();
        let (certificate, key) = (path("certificate.pem"), path("key.pem"));
        let mut all = vec!["--tls", "--cert", &certificate, "--key", &key];
        all.extend(arguments);
        Secured { server: Server::start(example, &all), folder }
    }

    fn authority(&self) -> String {
        self.folder.join("authority.pem").display().to_string()
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.server.address.port())
    }
}

/// The row of a program's only check, and where the program is.
fn client(program: &'static str, peer: &'static str) -> Option<(PathBuf, Row)> {
    let path = installed(program, peer, Role::Client)?;
    let flag = match program {
        "openssl" => "version",
        "ab" => "-V",
        _ => "--version",
    };
    let version = version_of(&path, &[flag]);
    let version = version.split(['(']).next().unwrap_or_default();
    let version = version.split(" built on").next().unwrap_or_default().trim().to_owned();
    Some((path, Row::of_test(peer, Role::Client, version)))
}

/// Has a program with a report of its own served over TLS; the environment names whom it is to trust.
fn serve(peer: &'static str, program: &Path, arguments: &[OsString], trust: &str) {
    serve_by(Secured::start(&["--grace", "30"]), peer, program, arguments, trust);
}

fn serve_by(secured: Secured, peer: &'static str, program: &Path, arguments: &[OsString], trust: &str) {
    let mut line = vec![format!("{trust}={}", secured.authority()).into(), program.into()];
    line.extend_from_slice(arguments);
    line.push(secured.url("").into());
    followed(peer, secured.server, Path::new("/usr/bin/env"), &line);
}

#[test]
fn curl_checks_the_certificate_and_is_served() {
    let Some((_program, _row)) = client("curl", "curl, TLS") else { return };
    let secured = Secured::start(&[]);
    let authority = secured.authority();
    let asked = |options: &[&str], url: &str| {
        let mut line = vec!["-sS", "--max-time", "60", "--cacert", &authority];
        line.extend(options);
        line.push(url);
        run("curl", &line, LIMIT)
    };
    for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
        let report = "%{http_version} %{ssl_verify_result}";
        let ran = asked(&[version, &["-w", report]].concat(), &secured.url("/"));
        assert_eq!(ran.stdout, "Hello, World!2 0", "{}", ran.stderr);
    }
    let ran = asked(&["-o", "/dev/null", "-w", "%{size_download}"], &secured.url("/bytes?n=10485760"));
    assert_eq!(ran.stdout, "10485760", "{}", ran.stderr);
    let upload = secured.folder.join("upload");
    let text: String = (0..200_000).map(|line| format!("{line:07}\n")).collect();
    fs::write(&upload, &text).unwrap();
    let ran = asked(&["--data-binary", &format!("@{}", upload.display())], &secured.url("/echo"));
    assert!(ran.stdout == text, "{} bytes, {}", ran.stdout.len(), ran.stderr);
    // Without the authority it is not trusted: code 60.
    let ran = run("curl", &["-sS", "--max-time", "60", &secured.url("/")], LIMIT);
    assert_eq!(ran.code, Some(60), "{}", ran.stderr);
}

#[test]
fn curl_is_told_in_cleartext_that_the_port_speaks_tls() {
    let Some((_program, _row)) = client("curl", "curl, TLS") else { return };
    let secured = Secured::start(&[]);
    let url = secured.server.url("/");
    let ran = run("curl", &["-sS", "--max-time", "60", "--http1.1", "-w", "%{http_code}", &url], LIMIT);
    assert_eq!(ran.stdout, "This port speaks TLS only: ask it for https://.\n400", "{}", ran.stderr);
}

#[test]
fn nghttp_agrees_on_h2_by_alpn() {
    let Some((_program, _row)) = client("nghttp", "nghttp, TLS") else { return };
    let secured = Secured::start(&[]);
    let ran = run("nghttp", &["-nv", &secured.url("/json")], LIMIT);
    assert!(ran.stdout.contains("The negotiated protocol: h2"), "{ran:?}");
    assert!(ran.stdout.contains(":status: 200"), "{ran:?}");
}

#[test]
fn h2load_gets_every_answer() {
    let Some((_program, _row)) = client("h2load", "h2load, TLS") else { return };
    let secured = Secured::start(&[]);
    let ran = run("h2load", &["-n", "5000", "-c", "50", "-m", "10", &secured.url("/")], LIMIT);
    let all = "5000 total, 5000 started, 5000 done, 5000 succeeded, 0 failed, 0 errored, 0 timeout";
    assert!(ran.stdout.contains(all), "{}", ran.stdout);
}

/// Runs `openssl s_client` with these words on standard input, and gives what it says to its end.
fn s_client(secured: &Secured, options: &[&str], words: &[u8]) -> String {
    let address = secured.server.address.to_string();
    let mut child = kill_with_parent("openssl")
        .args(["s_client", "-connect", &address, "-servername", "localhost", "-CAfile", &secured.authority()])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(words).unwrap();
    String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout).into_owned()
}

#[test]
fn openssl_verifies_and_resumes() {
    let Some((_program, _row)) = client("openssl", "openssl s_client") else { return };
    let secured = Secured::start(&[]);
    let session = secured.folder.join("session").display().to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        // HTTP/2's preface, SETTINGS, and SETTINGS of a stream, upon which the server ends the connection: what it
        // says comes behind the tickets.
        let words = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\0\x04\0\0\0\0\x01";
        let first = s_client(&secured, &[version, "-alpn", "h2", "-ign_eof", "-sess_out", &session], words);
        assert!(first.contains("Verify return code: 0 (ok)"), "{first}");
        assert!(first.contains("ALPN protocol: h2"), "{first}");
        assert!(first.contains("\nNew, TLS"), "{first}");
        let second = s_client(&secured, &[version, "-alpn", "h2", "-sess_in", &session], b"");
        assert!(second.contains("\nReused, TLS"), "{second}");
    }
}

#[test]
fn openssl_is_served_what_it_agreed_on_and_without_alpn() {
    let Some((_program, _row)) = client("openssl", "openssl s_client") else { return };
    let secured = Secured::start(&[]);
    let get = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    for (options, agreed) in [
        (&["-ign_eof"][..], "No ALPN negotiated"),
        (&["-ign_eof", "-alpn", "http/1.1"], "ALPN protocol: http/1.1"),
        (&["-ign_eof", "-alpn", "http/1.1", "-tls1_2"], "ALPN protocol: http/1.1"),
    ] {
        let said = s_client(&secured, options, get);
        assert!(said.contains(agreed) && said.contains("HTTP/1.1 200 OK"), "{options:?}: {said}");
        assert!(said.contains("Hello, World!"), "{options:?}: {said}");
    }
    let said = s_client(&secured, &["-ign_eof", "-alpn", "h2"], get);
    assert!(said.contains("ALPN protocol: h2") && said.contains("this is not the HTTP/2 preface"), "{said}");
    assert!(!said.contains("HTTP/1.1 200"), "{said}");
}

#[test]
fn openssl_renegotiates_in_vain() {
    let Some((_program, _row)) = client("openssl", "openssl s_client") else { return };
    let secured = Secured::start(&[]);
    // A line of R asks for it. Whatever comes of it, the server goes on.
    let said = s_client(&secured, &["-tls1_2", "-alpn", "h2"], b"R\n");
    assert!(said.contains("Secure Renegotiation IS supported"), "RFC 5746: {said}");
    let ran = run("curl", &["-sS", "--cacert", &secured.authority(), &secured.url("/")], LIMIT);
    assert_eq!(ran.stdout, "Hello, World!", "{}", ran.stderr);
}

/// With each of these peers HTTP/1.1 is agreed on, or assumed where ALPN is not spoken.
#[test]
fn curl_speaks_http_1_over_tls() {
    let Some((_program, _row)) = client("curl", "curl, HTTP/1.1, TLS") else { return };
    let secured = Secured::start(&[]);
    let authority = secured.authority();
    let asked = |options: &[&str], path: &str| {
        let report = ["-sS", "--max-time", "60", "-w", "|%{http_version} %{num_connects}"];
        let url = secured.url(path);
        run("curl", &[&report[..], &["--cacert", &authority], options, &[&url]].concat(), LIMIT)
    };
    for version in [&["--http1.1"][..], &["--http1.0"], &["--no-alpn"], &["--http1.1", "--tls-max", "1.2"]] {
        let ran = asked(version, "/");
        assert_eq!(ran.stdout, "Hello, World!|1.1 1", "{version:?}: {}", ran.stderr);
        let ran = asked(&[version, &["-d", "some words"]].concat(), "/echo");
        assert_eq!(ran.stdout, "some words|1.1 1", "{version:?}: {}", ran.stderr);
        let ran = asked(&[version, &["-o", "/dev/null"]].concat(), "/bytes?n=3000000");
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "|1.1 1"), "{version:?}: {}", ran.stderr);
    }
    let again = secured.url("/json");
    let ran = asked(&["--http1.1", &again], "/");
    let both = "{\"message\":\"Hello, World!\"}|1.1 1Hello, World!|1.1 0";
    assert_eq!(ran.stdout, both, "the same connection: {}", ran.stderr);
}

#[test]
fn h2load_gets_every_answer_in_http_1() {
    let Some((_program, _row)) = client("h2load", "h2load, HTTP/1.1, TLS") else { return };
    let secured = Secured::start(&["--workers", "2"]);
    let ran = run("h2load", &["--h1", "-n", "5000", "-c", "50", "-m", "4", &secured.url("/")], LIMIT);
    let all = "5000 total, 5000 started, 5000 done, 5000 succeeded, 0 failed, 0 errored, 0 timeout";
    assert!(ran.stdout.contains(all), "{}", ran.stdout);
    assert!(ran.stdout.contains("Application protocol: http/1.1"), "{}", ran.stdout);
}

#[test]
fn wrk_has_no_errors() {
    let Some((_program, _row)) = client("wrk", "wrk, HTTP/1.1, TLS") else { return };
    let secured = Secured::start(&["--workers", "2"]);
    for path in ["/", "/bytes?n=100000"] {
        let ran = run("wrk", &["-t1", "-c20", "-d1", "--timeout", "60s", &secured.url(path)], LIMIT);
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
        assert!(!ran.stdout.contains("errors") && !ran.stdout.contains("Non-2xx"), "{}", ran.stdout);
        assert!(ran.stdout.contains("requests in"), "{}", ran.stdout);
    }
}

#[test]
fn ab_completes_every_request_with_and_without_keep_alive() {
    let Some((_program, _row)) = client("ab", "ab, HTTP/1.1, TLS") else { return };
    let secured = Secured::start(&[]);
    for (keep, kept) in [(&[][..], 0), (&["-k"], 1000)] {
        let url = secured.url("/");
        let ran = run("ab", &[&["-q", "-n", "1000", "-c", "20"], keep, &[&url]].concat(), LIMIT);
        served::judge_ab(&ran, 1000, kept);
    }
}

#[test]
fn the_client_of_go_is_served_over_tls() {
    for (peer, options) in
        [("Go net/http, TLS", &[][..]), ("Go net/http, HTTP/1.1, TLS", &["--http1".into()])]
    {
        let Some(program) = prepared("bin/go_client", peer, Role::Client) else { continue };
        serve(peer, &program, options, "SSL_CERT_FILE");
    }
}

#[test]
fn the_clients_of_node_are_served_over_tls() {
    for (peer, program) in
        [("node http2, TLS", "client.mjs"), ("node http, HTTP/1.1, TLS", "client_http1.mjs")]
    {
        let Some(node) = installed("node", peer, Role::Client) else { continue };
        serve(peer, &node, &[script(program).into()], "NODE_EXTRA_CA_CERTS");
    }
}

#[test]
fn httpx_is_served_over_tls() {
    for (peer, options) in [("httpx, TLS", &[][..]), ("httpx, HTTP/1.1, TLS", &["--http1"])] {
        let Some(python) = python("httpx, h2", peer, Role::Client) else { continue };
        let line = served::line("client_httpx.py", options);
        serve(peer, &python, &line, "SSL_CERT_FILE");
    }
}

#[test]
fn requests_is_served_over_tls() {
    let peer = "requests, HTTP/1.1, TLS";
    let Some(python) = python("requests", peer, Role::Client) else { return };
    serve(peer, &python, &[script("client_requests.py").into()], "REQUESTS_CA_BUNDLE");
}

#[test]
fn the_standard_library_of_python_is_served_over_tls() {
    let peer = "Python http.client, HTTP/1.1, TLS";
    let Some(python) = python("ssl", peer, Role::Client) else { return };
    serve(peer, &python, &[script("client_stdlib.py").into()], "SSL_CERT_FILE");
}

#[test]
fn the_grpc_client_is_served_over_tls() {
    let peer = "grpcio, TLS";
    let Some(python) = python("grpc", peer, Role::Client) else { return };
    let secured = Secured::by("grpc_echo", &["--grace", "30"]);
    serve_by(secured, peer, &python, &served::line("client_grpc.py", &[]), "WAKERING_AUTHORITY");
}

#[test]
fn the_client_of_java_is_served_over_tls() {
    for (peer, options) in
        [("Java HttpClient, TLS", &[][..]), ("Java HttpClient, HTTP/1.1, TLS", &["--http1"])]
    {
        let Some(java) = served::java(peer) else { continue };
        let line = served::line("Client.java", options);
        serve(peer, &java, &line, "WAKERING_AUTHORITY");
    }
}

#[test]
fn chromium_shows_a_page() {
    let config = Authority::new().identity(&["localhost"]).server();
    browser::shows_a_page("Chromium, TLS", http::Server::builder().tls(config), "https", "h2");
}

#[test]
fn chromium_shows_a_page_in_http_1() {
    let mut config = Authority::new().identity(&["localhost"]).server();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let builder = http::Server::builder().http1(Http1::default()).tls(config);
    browser::shows_a_page("Chromium, HTTP/1.1, TLS", builder, "https", "http/1.1");
}

#[test]
fn h2_client_fetches_from_servers_of_others_over_tls() {
    let secured = Secured::start(&[]);
    let program = support::server::example("h2_client");
    let program = program.display().to_string();
    let ran = run(&program, &["--cacert", &secured.authority(), &secured.url("/")], LIMIT);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "Hello, World!"), "{}", ran.stderr);
    let ran = run(&program, &["-k", &secured.url("/")], LIMIT);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "Hello, World!"), "{}", ran.stderr);
    let ran = run(&program, &[&secured.url("/")], LIMIT);
    assert_eq!(ran.code, Some(60), "{}", ran.stderr);
}

#[test]
fn nghttpd_is_asked_over_tls() {
    let peer = "nghttpd, TLS";
    let Some(program) = installed("nghttpd", peer, Role::Server) else { return };
    let authority = Authority::new();
    let identity = authority.identity(&["localhost"]);
    let configure = |folder: &Folder, port: u16| -> Vec<OsString> {
        let (key, certificate) = (folder.path().join("key.pem"), folder.path().join("certificate.pem"));
        fs::write(&key, identity.key_pem()).unwrap();
        fs::write(&certificate, identity.pem()).unwrap();
        let options = ["--echo-upload", "--address", "127.0.0.1", "--htdocs"].map(OsString::from);
        let files = [folder.path().into(), port.to_string().into(), key.into(), certificate.into()];
        options.into_iter().chain(files).collect()
    };
    let mut daemon = Daemon::start(peer, Role::Server, &program, "--version", configure);
    let address: SocketAddr = daemon.address.parse().unwrap();
    let target = |path: &str| format!("https://localhost:{}{path}", address.port());
    wakering::run(async {
        let builder = Client::builder().timeout(LIMIT).resolve("localhost", vec![address]);
        let client = builder.clone().tls(authority.client()).build();
        let response = client.get(target("/hello")).await.unwrap();
        assert_eq!(response.into_body().collect(100).await.unwrap(), "Hello, World!");
        daemon.peer.row.ok("GET");
        let response = client.get(target("/ten")).await.unwrap();
        assert!(response.into_body().collect(TEN_MIB).await.unwrap() == pattern(TEN_MIB));
        daemon.peer.row.ok("10 MiB down");
        let request = Request::post(target("/")).body(Body::from(pattern(TEN_MIB))).unwrap();
        let response = client.request(request).await.unwrap();
        assert!(response.into_body().collect(TEN_MIB).await.unwrap() == pattern(TEN_MIB));
        daemon.peer.row.ok("10 MiB up and back");
        assert_eq!(client.connections(), 1);
        let strange = builder.tls(Authority::new().client()).build();
        assert!(strange.get(target("/hello")).await.unwrap_err().is_connect());
        daemon.peer.row.ok("a certificate that is not trusted");
    })
    .unwrap();
    daemon.peer.judge();
}
