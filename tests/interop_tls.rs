//! Other people's clients and servers over TLS: clients against `examples/h2_server --tls`, and a browser against a page: what they do in cleartext they do
//! over TLS, with a certificate that they check.

// Foreign programs need not be served twice, as in `interop_clients`.
#![cfg(not(any(loom, wakering_fallback)))]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "support/daemon.rs"]
#[expect(dead_code, reason = "only nghttpd is started here")]
mod daemon;
#[path = "support/exercise.rs"]
mod exercise;
#[path = "support/tls.rs"]
mod identity;
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
use serving::Serving;
use support::{
    kill_with_parent,
    peer::{Peer, Role, Row, installed, prepared, python, script, stop, version_of},
    run,
    server::Server,
};
use wakering::http::{self, Body, Request, Response, client::Client, header};

const LIMIT: Duration = Duration::from_secs(150);

/// `h2_server --tls` with a certificate for this host, and the authority's certificate in a file.
struct Secured {
    server: Server,
    folder: PathBuf,
}

impl Secured {
    fn start(arguments: &[&str]) -> Secured {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("wakering-tls-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let authority = Authority::new();
        let identity = authority.identity(&["localhost", "127.0.0.1"]);
        let path = |name: &str| folder.join(name).display().to_string();
        fs::write(path("authority.pem"), authority.pem()).unwrap();
        fs::write(path("certificate.pem"), identity.pem()).unwrap();
        fs::write(path("key.pem"), identity.key_pem()).unwrap();
        let (certificate, key) = (path("certificate.pem"), path("key.pem"));
        let mut all = vec!["--tls", "--cert", &certificate, "--key", &key];
        all.extend(arguments);
        Secured { server: Server::start("h2_server", &all), folder }
    }

    fn authority(&self) -> String {
        self.folder.join("authority.pem").display().to_string()
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.server.address.port())
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// The row of a program's only check, and where the program is.
fn client(program: &'static str, peer: &'static str) -> Option<(PathBuf, Row)> {
    let path = installed(program, peer, Role::Client)?;
    let flag = if program == "openssl" { "version" } else { "--version" };
    let version = version_of(&path, &[flag]);
    let version = version.split(['(']).next().unwrap_or_default();
    let version = version.split(" built on").next().unwrap_or_default().trim().to_owned();
    Some((path, Row::of_test(peer, Role::Client, version)))
}

/// Has a program with a report of its own served over TLS; the environment names whom it is to trust.
fn serve(peer: &'static str, program: &Path, arguments: &[PathBuf], trust: &str) {
    let secured = Secured::start(&["--grace", "30"]);
    let mut line: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    line.push(secured.url("").into());
    let wrapped: Vec<OsString> =
        [format!("{trust}={}", secured.authority()).into(), program.into()].into_iter().chain(line).collect();
    let mut stopping = false;
    Peer::start(Row::new(peer, Role::Client), Path::new("/usr/bin/env"), &wrapped).follow(LIMIT, || {
        stop(&secured.server);
        stopping = true;
    });
    if !stopping {
        stop(&secured.server);
    }
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

/// Runs `openssl s_client` with these words on standard input; the pipe stays open until its output has `until`.
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
        // HTTP/2's preface and SETTINGS: what answers them comes behind the tickets.
        let words = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        let first = s_client(&secured, &[version, "-alpn", "h2", "-ign_eof", "-sess_out", &session], words);
        assert!(first.contains("Verify return code: 0 (ok)"), "{first}");
        assert!(first.contains("ALPN protocol: h2"), "{first}");
        assert!(first.contains("\nNew, TLS"), "{first}");
        let second = s_client(&secured, &[version, "-alpn", "h2", "-sess_in", &session], b"");
        assert!(second.contains("\nReused, TLS"), "{second}");
    }
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

#[test]
fn the_client_of_go_is_served_over_tls() {
    let peer = "Go net/http, TLS";
    let Some(program) = prepared("bin/go_client", peer, Role::Client) else { return };
    serve(peer, &program, &[], "SSL_CERT_FILE");
}

#[test]
fn the_client_of_node_is_served_over_tls() {
    let peer = "node http2, TLS";
    let Some(program) = installed("node", peer, Role::Client) else { return };
    serve(peer, &program, &[script("client.mjs")], "NODE_EXTRA_CA_CERTS");
}

#[test]
fn httpx_is_served_over_tls() {
    let peer = "httpx, TLS";
    let Some(program) = python("httpx, h2", peer, Role::Client) else { return };
    serve(peer, &program, &[script("client_httpx.py")], "SSL_CERT_FILE");
}

#[test]
fn the_client_of_java_is_served_over_tls() {
    let peer = "Java HttpClient, TLS";
    let Some(java) = installed("java", peer, Role::Client) else { return };
    // A source is run as it is where the compiler is there too.
    if installed("javac", peer, Role::Client).is_none() {
        return;
    }
    serve(peer, &java, &[script("ClientTls.java")], "WAKERING_AUTHORITY");
}

const PAGE: &str = "<!doctype html><title>A page</title><link rel=stylesheet href=style.css>
<p id=out>nothing yet</p><script type=module src=script.js></script>";
const STYLE: &str = "p { color: rgb(1, 2, 3) }";
const SCRIPT: &str = "
const found = await Promise.all([...Array(30).keys()].map(async (n) => (await fetch(`/number?${n}`)).text()));
const sent = 'x'.repeat(300000);
const back = await (await fetch('/echo', { method: 'POST', body: sent })).text();
const colour = getComputedStyle(document.getElementById('out')).color;
const protocols = new Set(performance.getEntriesByType('resource').map((entry) => entry.nextHopProtocol));
document.getElementById('out').textContent =
    `${found.length} answers, sum ${found.reduce((sum, text) => sum + Number(text), 0)}, ` +
    `echo ${back === sent}, ${colour}, by ${[...protocols]}`;
";

async fn page(request: Request<Body>) -> Response<Body> {
    let (kind, text) = match request.uri().path() {
        "/" => ("text/html", PAGE.to_owned()),
        "/style.css" => ("text/css", STYLE.to_owned()),
        "/script.js" => ("text/javascript", SCRIPT.to_owned()),
        "/number" => ("text/plain", request.uri().query().unwrap_or_default().to_owned()),
        "/echo" => return Response::new(request.into_body()),
        _ => ("text/plain", String::new()),
    };
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, kind.parse().unwrap());
    response
}

#[test]
fn chromium_shows_a_page() {
    let Some((program, _row)) = client("chromium", "Chromium, TLS") else { return };
    let authority = Authority::new();
    let config = authority.identity(&["localhost"]).server();
    let server = Serving::start(http::Server::builder().tls(config), || page);
    let folder = std::env::temp_dir().join(format!("wakering-chromium-{}", std::process::id()));
    let arguments = [
        "--headless=new".to_owned(),
        "--no-sandbox".to_owned(),
        "--disable-gpu".to_owned(),
        "--disable-dev-shm-usage".to_owned(),
        // The authority is made for this test: chromium knows it no way but in its own store.
        "--ignore-certificate-errors".to_owned(),
        "--virtual-time-budget=60000".to_owned(),
        format!("--user-data-dir={}", folder.display()),
        "--dump-dom".to_owned(),
        format!("https://localhost:{}/", server.address.port()),
    ];
    let ran = run(&program.display().to_string(), &arguments, LIMIT);
    drop(fs::remove_dir_all(&folder));
    let expected = "30 answers, sum 435, echo true, rgb(1, 2, 3), by h2";
    assert!(ran.stdout.contains(expected), "{}\n{}", ran.stdout, ran.stderr);
    let _ = server.stop(Duration::from_secs(10));
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
