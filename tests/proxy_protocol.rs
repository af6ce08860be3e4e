//! The PROXY protocol on an HTTP server's port: real proxies tell whose connections they pass on, and others do not.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

#[expect(dead_code, reason = "nobody is signalled here")]
#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/exercise.rs"]
mod exercise;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use daemon::{Daemon, Folder};
use support::{
    peer::{Role, installed, skip_row},
    program, run,
};
use wakering::{
    http::{Body, Http1, Place, Request, Response, Server, with_place},
    net::{TcpListener, TcpStream, proxy_header::ProxyHeaders},
    time::timeout,
};

/// Only a failing test waits so long.
const LIMIT: Duration = Duration::from_secs(60);

const HEADER: &[u8] = b"PROXY TCP4 192.0.2.77 198.51.100.1 4660 443\r\n";
/// Preface, empty settings, and a GET of `/` at `a`, by the static table.
const REQUEST: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\
    \0\0\x06\x01\x05\0\0\0\x01\x82\x84\x86\x41\x01a";

fn local() -> IpAddr {
    Ipv4Addr::LOCALHOST.into()
}

/// A server that tells each client its address.
fn start(proxies: ProxyHeaders) -> Server {
    let handler = with_place(|_: Request<Body>, place: Place| async move {
        Response::new(place.peer_addr().to_string().into())
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let builder = Server::builder().http1(Http1::default()).proxy_headers(proxies).max_connections(100);
    builder.start(listener, handler).unwrap()
}

/// Runs `test` beside a server that believes this machine.
fn with_server(proxies: ProxyHeaders, test: impl AsyncFnOnce(&Server)) {
    wakering::run(async {
        let server = start(proxies);
        timeout(LIMIT, test(&server)).await.unwrap();
        let stopped = timeout(LIMIT, server.stop(Duration::from_secs(5))).await.unwrap();
        assert_eq!(stopped.aborted_handlers, 0);
    })
    .unwrap();
}

/// Runs `test` beside a server on a thread of its own: a proxy dies with the thread that started it.
fn beside_server(test: impl FnOnce(SocketAddr)) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        wakering::run(async move {
            let server = start(ProxyHeaders::trusting([local()]));
            sender.send((server.local_addr(), server.handle())).unwrap();
            server.handle().closed().await.unwrap();
        })
        .unwrap();
    });
    let (address, server) = receiver.recv_timeout(LIMIT).unwrap();
    test(address);
    drop(server.shutdown(Duration::from_secs(5)));
    thread.join().unwrap();
}

/// Asks by curl, and gives what it was told beside the address that it had.
fn curl(more: &[&str], address: &str) -> (String, String) {
    let url = format!("http://{address}/");
    let mut line = vec!["-sS", "--max-time", "30"];
    line.extend(if more.is_empty() { &["--http2-prior-knowledge"] } else { more });
    line.extend(["-w", " %{local_ip}:%{local_port}", url.as_str()]);
    let ran = run("curl", &line, LIMIT);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let (told, own) = ran.stdout.trim().split_once(' ').unwrap();
    (told.to_owned(), own.to_owned())
}

#[test]
fn the_header_of_curl_says_where_it_is() {
    let Some(_curl) = program("curl") else { return };
    beside_server(|address| {
        for version in ["--http2-prior-knowledge", "--http1.1", "--http1.0"] {
            let (told, own) = curl(&["--haproxy-protocol", version], &address.to_string());
            assert_eq!(told, own, "{version}");
        }
    });
}

#[test]
fn haproxy_tells_the_address_of_curl_in_both_versions() {
    let Some(_curl) = program("curl") else { return };
    let Some(haproxy) = installed("haproxy", "haproxy", Role::Proxy) else { return };
    for word in ["send-proxy", "send-proxy-v2"] {
        beside_server(|behind| {
            let configure = |folder: &Folder, port: u16| {
                let text = format!(
                    "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
                     frontend before\n bind 127.0.0.1:{port}\n default_backend behind\n\
                     backend behind\n server ours {behind} {word}\n"
                );
                vec!["-db".into(), "-f".into(), folder.configure(&text)]
            };
            let mut daemon = Daemon::start("haproxy", Role::Proxy, &haproxy, "-v", configure);
            for version in ["--http2-prior-knowledge", "--http1.1"] {
                let (told, own) = curl(&[version], &daemon.address);
                assert_eq!(told, own, "{word}, {version}");
            }
            daemon.peer.row.ok(&format!("{word} tells the client's address"));
            daemon.peer.judge();
        });
    }
}

/// As the page on proxies has it: haproxy reads the requests, and checks the server's health with a header, too.
#[test]
fn haproxy_tells_the_address_while_it_speaks_http() {
    let Some(_curl) = program("curl") else { return };
    for (peer, word) in [("haproxy", "proto h2"), ("haproxy, HTTP/1.1", "")] {
        let Some(haproxy) = installed("haproxy", peer, Role::Proxy) else { continue };
        for header in ["send-proxy", "send-proxy-v2"] {
            beside_server(|behind| {
                let line = format!(
                    "option httpchk\n http-check send meth GET uri / hdr host ours\n \
                     server ours {behind} {word} {header} check inter 100ms"
                );
                let configure = |folder: &Folder, port: u16| daemon::haproxy(folder, port, "", &line);
                let mut daemon = Daemon::start(peer, Role::Proxy, &haproxy, "-v", configure);
                for _ in 0..3 {
                    let (told, own) = curl(&[], &daemon.address);
                    assert_eq!(told, own, "{peer}, {header}");
                }
                daemon.peer.row.ok(&format!("{header} tells the client's address"));
                daemon.peer.judge();
            });
        }
    }
}

#[test]
fn nginx_tells_the_address_of_curl() {
    let Some(_curl) = program("curl") else { return };
    let peer = "nginx, a stream";
    let Some(nginx) = installed("nginx", peer, Role::Proxy) else { return };
    let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
    if !std::path::Path::new(module).is_file() {
        return skip_row(peer, Role::Proxy, "its module for streams is not installed");
    }
    beside_server(|behind| {
        let configure = |folder: &Folder, port: u16| {
            let stream = format!(
                "load_module {module};
                 stream {{
                     server {{ listen 127.0.0.1:{port}; proxy_pass {behind}; proxy_protocol on; }}
                 }}"
            );
            daemon::nginx(folder, &stream, "")
        };
        let mut daemon = Daemon::start(peer, Role::Proxy, &nginx, "-v", configure);
        for version in ["--http2-prior-knowledge", "--http1.1"] {
            let (told, own) = curl(&[version], &daemon.address);
            assert_eq!(told, own, "{version}");
        }
        daemon.peer.row.ok("proxy_protocol tells the client's address");
        daemon.peer.judge();
    });
}

/// The answer to `bytes`, sent by hand; empty when the connection is closed without one.
async fn answer(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut all = bytes::BytesMut::new();
    // Reset or ended is the same here.
    while let Ok(1..) = stream.read_buf(&mut all).await {
        if all.windows(9).any(|window| window == b"192.0.2.7") {
            break;
        }
    }
    all.to_vec()
}

#[test]
fn the_address_of_the_header_is_what_handlers_see() {
    with_server(ProxyHeaders::trusting([local()]), async |server| {
        let told = answer(server, &[HEADER, REQUEST].concat()).await;
        assert!(String::from_utf8_lossy(&told).contains("192.0.2.77:4660"), "{told:?}");
    });
}

#[test]
fn who_is_trusted_has_to_begin_with_a_header_and_who_is_not_must_not() {
    with_server(ProxyHeaders::trusting([local()]), async |server| {
        assert_eq!(answer(server, REQUEST).await, b"", "closed without a word");
        assert_eq!(server.metrics().connections_refused, 1);
        assert_eq!(server.metrics().connections, 0, "it was none of HTTP");
    });
    with_server(ProxyHeaders::trusting([IpAddr::from([192, 0, 2, 1])]), async |server| {
        let told = answer(server, HEADER).await;
        assert!(!told.windows(3).any(|window| window == b"200"), "the header is no HTTP");
        assert_eq!(server.metrics().connections, 1);
    });
}

#[test]
fn a_header_that_does_not_come_in_time_ends_the_connection() {
    with_server(ProxyHeaders::trusting([local()]).timeout(Duration::from_millis(50)), async |server| {
        assert_eq!(answer(server, &HEADER[..20]).await, b"");
        assert_eq!(server.metrics().connections_refused, 1);
    });
}

#[test]
fn a_stop_serves_who_sends_a_header_and_does_not_wait_for_who_does_not() {
    wakering::run(async {
        let server = start(ProxyHeaders::trusting([local()]).timeout(Duration::from_secs(3600)));
        let mut silent = TcpStream::connect(server.local_addr()).await.unwrap();
        silent.write_all(&HEADER[..10]).await.unwrap();
        let mut late = TcpStream::connect(server.local_addr()).await.unwrap();
        late.write_all(&HEADER[..10]).await.unwrap();
        let handle = server.handle();
        let stopping = wakering::spawn(async move { handle.shutdown(Duration::from_secs(3600)).await });
        server.handle().stopping().await;
        // It is accepted, and sends the rest when the server is about to end: its request is answered, or refused with
        // GOAWAY, but the connection is one of HTTP.
        late.write_all(&[&HEADER[10..], REQUEST].concat()).await.unwrap();
        let mut frames = bytes::BytesMut::new();
        timeout(LIMIT, late.read_at_least(&mut frames, 9)).await.unwrap().unwrap();
        assert_eq!(frames[3], 4, "it begins with SETTINGS: {frames:?}");
        drop(late);
        // The silent one has a second; an hour, the server and the header would have.
        let stopped = timeout(LIMIT, stopping).await.expect("it ends before its grace").unwrap();
        assert_eq!(stopped.aborted_connections, 0, "it was none yet");
        assert!(matches!(silent.read(&mut [0]).await, Ok(0) | Err(_)));
    })
    .unwrap();
}

#[test]
fn clients_behind_one_proxy_are_counted_one_by_one() {
    wakering::run(async {
        let handler = |_: Request<Body>| async { Response::new(Body::from("192.0.2.7 was told")) };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let builder = Server::builder().proxy_headers(ProxyHeaders::trusting([local()]));
        let server = builder.max_connections_per_address(1).start(listener, handler).unwrap();
        let open = async |header: &[u8]| {
            let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
            stream.write_all(&[header, REQUEST].concat()).await.unwrap();
            let mut frames = bytes::BytesMut::new();
            timeout(LIMIT, stream.read_buf(&mut frames)).await.unwrap().map(|read| (read > 0, stream))
        };
        let (first, _kept) = open(HEADER).await.unwrap();
        let (other, _kept_too) = open(b"PROXY TCP4 192.0.2.78 198.51.100.1 4660 443\r\n").await.unwrap();
        assert!(first && other, "two clients, each with one connection");
        let second = open(HEADER).await.is_ok_and(|(served, _)| served);
        assert!(!second, "a second one of the first client");
        server.stop(Duration::ZERO).await;
    })
    .unwrap();
}
