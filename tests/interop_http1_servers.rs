//! Our client in HTTP/1.1 against servers of other languages and makes, in cleartext and over TLS, where the server's ALPN has
//! it or the server knows nothing of that; and what ALPN chooses with servers of ours.

// Foreign programs need not serve twice: the fallback backend has the servers that write by hand.
#![cfg(not(any(loom, wakering_fallback)))]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

#[path = "support/daemon.rs"]
#[expect(dead_code, reason = "proxies are started elsewhere")]
mod daemon;
#[path = "support/exercise.rs"]
mod exercise;
#[path = "support/tls.rs"]
mod identity;

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use daemon::{Daemon, Folder, nginx};
use exercise::{Lacks, NOTHING, TEN_MIB, Target, check, exchanges, files};
use identity::Authority;
use support::{
    folder,
    peer::{Peer, Role, Row, installed, prepared, python, script},
    server::Server as Child,
};
use wakering::{
    http::{
        Body, Http1, Request, Response, Server, Version,
        client::{Client, ClientBuilder, Kind},
    },
    net::TcpListener,
    spawn,
    tls::{TlsAcceptor, rustls::ServerConfig},
};

/// A certificate that the client trusts, and files that others read it from.
struct Papers {
    authority: Authority,
    folder: folder::Folder,
}

impl Papers {
    fn new(name: &str) -> Papers {
        let folder = folder::Folder::new(name);
        let authority = Authority::new();
        let identity = authority.identity(&["localhost", "127.0.0.1"]);
        fs::write(folder.join("certificate.pem"), identity.pem()).unwrap();
        fs::write(folder.join("key.pem"), identity.key_pem()).unwrap();
        Papers { authority, folder }
    }

    fn certificate(&self) -> PathBuf {
        self.folder.join("certificate.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.join("key.pem")
    }
}

/// The way to a server at this address: in cleartext HTTP/1.1 because we say so, over TLS because of the server.
fn target(address: &str, papers: Option<&Papers>) -> Target {
    match papers {
        None => Target::pool(Client::builder().http1_in_cleartext(), format!("http://{address}")),
        Some(papers) => {
            Target::pool(Client::builder().tls(papers.authority.client()), format!("https://{address}"))
        }
    }
}

/// Starts a server that has the routes of ours, with a certificate and its key as its last arguments, and goes through all
/// checks with it.
fn talk_to(peers: [&'static str; 2], program: &Path, arguments: &[&Path], lacks: Lacks) {
    for (at, peer) in peers.into_iter().enumerate() {
        let papers = (at > 0).then(|| Papers::new(&peer.replace([' ', '/', ','], "-")));
        let mut line: Vec<PathBuf> = arguments.iter().map(|argument| argument.to_path_buf()).collect();
        line.extend(papers.iter().flat_map(|papers| [papers.certificate(), papers.key()]));
        let mut peer = Peer::start(Row::new(peer, Role::Server), program, &line);
        let address = peer.listening();
        wakering::run(async {
            let target = target(&address, papers.as_ref());
            exchanges(&mut peer.row, &target, lacks).await;
            match lacks.graceful_close {
                None => {
                    let mut stdin = peer.take_stdin();
                    let download = format!("/bytes?n={TEN_MIB}");
                    let work = target.graceful_close(&download, || stdin.tell("stop"));
                    check(&mut peer.row, "graceful close", work).await;
                }
                Some(why) => peer.row.lacks("graceful close", why),
            }
        })
        .expect("a runtime");
        peer.judge();
    }
}

#[test]
fn the_server_of_go_is_asked() {
    let names = ["Go net/http, HTTP/1.1", "Go net/http, HTTP/1.1, TLS"];
    let Some(program) = prepared("bin/go_server", names[0], Role::Server) else { return };
    talk_to(names, &program, &[Path::new("http1")], NOTHING);
}

#[test]
fn the_server_of_node_is_asked() {
    let names = ["node http, HTTP/1.1", "node https, HTTP/1.1, TLS"];
    let Some(program) = installed("node", names[0], Role::Server) else { return };
    talk_to(names, &program, &[&script("server_http1.mjs")], NOTHING);
}

#[test]
fn hypercorn_is_asked() {
    let names = ["hypercorn, HTTP/1.1", "hypercorn, HTTP/1.1, TLS"];
    let Some(program) = python("hypercorn", names[0], Role::Server) else { return };
    let lacks = Lacks {
        trailers: Some("ASGI gives an application no trailers of a request"),
        early_hints: Some("it sends none in HTTP/1.1"),
        ..NOTHING
    };
    talk_to(names, &program, &[&script("server_hypercorn.py"), Path::new("http1")], lacks);
}

#[test]
fn the_http_server_of_python_is_asked() {
    let names = ["http.server (Python), HTTP/1.1", "http.server (Python), HTTP/1.1, TLS"];
    let Some(program) = python("ssl", names[0], Role::Server) else { return };
    let lacks = Lacks {
        trailers: Some("it leaves framing to the program, which has none"),
        duplex: Some("it has all of a request before it answers"),
        graceful_close: Some("its threads end with it"),
        ..NOTHING
    };
    talk_to(names, &program, &[&script("server_http.py")], lacks);
}

#[test]
fn our_own_server_is_asked_as_a_program() {
    for papers in [None, Some(Papers::new("h2_server"))] {
        let mut line = Vec::new();
        if let Some(papers) = &papers {
            let files = [papers.certificate().display().to_string(), papers.key().display().to_string()];
            line.extend([
                "--tls".to_owned(),
                "--cert".to_owned(),
                files[0].clone(),
                "--key".to_owned(),
                files[1].clone(),
            ]);
        }
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        let server = Child::start("h2_server", &line);
        // No row: the table is of others.
        let mut row = Row::new("ours", Role::Server);
        wakering::run(async {
            let builder = Client::builder().http1_only();
            let target = match &papers {
                None => Target::pool(builder, format!("http://{}", server.address)),
                Some(papers) => Target::pool(
                    builder.tls(papers.authority.client()),
                    format!("https://{}", server.address),
                ),
            };
            exchanges(&mut row, &target, NOTHING).await;
        })
        .expect("a runtime");
        row.judge("");
        std::mem::forget(row);
    }
}

#[test]
fn h2_client_speaks_http1_when_told_to_and_tells_what_was_spoken() {
    let limit = std::time::Duration::from_secs(60);
    let fetch = |line: &[&str]| {
        support::run(&support::server::example("h2_client").display().to_string(), line, limit)
    };
    let papers = Papers::new("h2_client");
    let [certificate, key] = [papers.certificate(), papers.key()].map(|path| path.display().to_string());
    let clear = Child::start("h2_server", &[]);
    let ran = fetch(&["-v", "--http1.1", &clear.url("/")]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "Hello, World!"), "{ran:?}");
    assert!(ran.stderr.starts_with("> GET / HTTP/1.1\n"), "{ran:?}");
    assert!(ran.stderr.contains("\n< HTTP/1.1 200\n"), "{ran:?}");
    let ran = fetch(&["-i", "-d", "some words", "--http1.1", "--frames", &clear.url("/echo")]);
    assert!(
        ran.stdout.starts_with("HTTP/1.1 200\r\n") && ran.stdout.ends_with("\r\n\r\nsome words"),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("send DATA frame <length=10"), "{ran:?}");
    let secure = Child::start("h2_server", &["--tls", "--cert", &certificate, "--key", &key]);
    let url = secure.url("/").replace("http://", "https://");
    for (line, version) in [(&["-iv", "-k"][..], "HTTP/2"), (&["-iv", "-k", "--http1.1"], "HTTP/1.1")] {
        let ran = fetch(&[line, &[&url]].concat());
        assert!(ran.stdout.starts_with(&format!("{version} 200\r\n")), "{ran:?}");
        assert!(ran.stderr.contains(&format!("\n< {version} 200\n")), "{ran:?}");
    }
}

/// What a server of files is asked for.
fn fetch_files(mut daemon: Daemon, papers: Option<&Papers>, older: bool) {
    let address = daemon.address.clone();
    wakering::run(async {
        let target = match papers {
            // It speaks HTTP/2 as well, and would choose that.
            Some(papers) if older => {
                let builder = Client::builder().tls(papers.authority.client()).http1_only();
                Target::pool(builder, format!("https://{address}"))
            }
            papers => target(&address, papers),
        };
        files(&mut daemon.peer.row, &target, &["refuse"]).await;
    })
    .expect("a runtime");
    daemon.peer.judge();
}

#[test]
fn nginx_is_asked() {
    let papers = Papers::new("nginx");
    let certificate = format!(
        "ssl_certificate {}; ssl_certificate_key {};",
        papers.certificate().display(),
        papers.key().display()
    );
    for (peer, secure) in [("nginx, HTTP/1.1", false), ("nginx, HTTP/1.1, TLS", true)] {
        let Some(program) = installed("nginx", peer, Role::Server) else { return };
        let configure = |folder: &Folder, port: u16| -> Vec<OsString> {
            let (ssl, more) = if secure { (" ssl", certificate.as_str()) } else { ("", "") };
            nginx(folder, "", &format!("server {{ listen 127.0.0.1:{port}{ssl}; {more} root FOLDER; }}"))
        };
        let daemon = Daemon::start(peer, Role::Server, &program, "-v", configure);
        fetch_files(daemon, secure.then_some(&papers), false);
    }
}

#[test]
fn h2o_is_asked() {
    let papers = Papers::new("h2o");
    let ssl = format!(
        ", ssl: {{ certificate-file: {}, key-file: {} }}",
        papers.certificate().display(),
        papers.key().display()
    );
    for (peer, secure) in [("h2o, HTTP/1.1", false), ("h2o, HTTP/1.1, TLS", true)] {
        let Some(program) = installed("h2o", peer, Role::Server) else { return };
        let configure = |folder: &Folder, port: u16| -> Vec<OsString> {
            let text = format!(
                "listen: {{ host: 127.0.0.1, port: {port}{} }}\n\
                 num-threads: 1\n\
                 hosts:\n  default:\n    paths:\n      /:\n        file.dir: FOLDER\n",
                if secure { ssl.as_str() } else { "" }
            );
            vec!["-c".into(), folder.configure(&text)]
        };
        let daemon = Daemon::start(peer, Role::Server, &program, "--version", configure);
        fetch_files(daemon, secure.then_some(&papers), true);
    }
}

// ALPN, with servers of ours.

async fn echo(request: Request<Body>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let version = format!("{:?}", request.version());
    response.headers_mut().insert("x-version", version.parse().unwrap());
    *response.body_mut() = request.into_body();
    response
}

/// What was spoken with a server of this configuration, at both ends.
fn spoken(config: ServerConfig, client: impl FnOnce() -> ClientBuilder) -> (Version, String) {
    wakering::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let builder = Server::builder().http1(Http1::default()).tls(config);
        let server = builder.start(listener, echo).unwrap();
        let (client, url) = (client().build(), format!("https://{}/", server.local_addr()));
        let mut versions = Vec::new();
        for round in 0..3 {
            let request = Request::post(&url).body("some words".into()).unwrap();
            let response = client.request(request).await.unwrap();
            assert_eq!(client.connections(), 1, "round {round}");
            let seen = response.headers()["x-version"].to_str().unwrap().to_owned();
            versions.push((response.version(), seen));
            assert_eq!(response.into_body().collect(100).await.unwrap(), "some words");
        }
        versions.dedup();
        assert_eq!(versions.len(), 1, "{versions:?}");
        versions.remove(0)
    })
    .unwrap()
}

#[test]
fn the_server_chooses_by_alpn_what_is_spoken() {
    let authority = Authority::new();
    let server = |protocols: &[&[u8]]| {
        let mut config = authority.identity(&["127.0.0.1"]).server();
        config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
        config
    };
    let both = || Client::builder().tls(authority.client());
    let older = || Client::builder().tls(authority.client()).http1_only();
    let (new, old) = ((Version::HTTP_2, "HTTP/2.0".to_owned()), (Version::HTTP_11, "HTTP/1.1".to_owned()));
    assert_eq!(spoken(server(&[]), both), new);
    assert_eq!(spoken(server(&[b"h2", b"http/1.1"]), both), new);
    assert_eq!(spoken(server(&[b"http/1.1", b"h2"]), both), old);
    assert_eq!(spoken(server(&[b"http/1.1"]), both), old);
    assert_eq!(spoken(server(&[]), older), old);
    assert_eq!(spoken(server(&[b"h2", b"http/1.1"]), older), old);
}

#[test]
fn a_server_that_chooses_nothing_is_spoken_to_in_http1_if_that_was_offered() {
    wakering::run(async {
        let authority = Authority::new();
        let acceptor = TlsAcceptor::new(authority.identity(&["127.0.0.1"]).server());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let served = spawn(async move {
            let mut stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut octet = [0];
                stream.read_exact(&mut octet).await.unwrap();
                head.push(octet[0]);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            let refused = acceptor.accept(listener.accept().await.unwrap().0).await;
            drop(refused);
            String::from_utf8(head).unwrap()
        });
        let response = Client::builder().tls(authority.client()).build().get(&url).await.unwrap();
        assert_eq!(response.into_body().collect(10).await.unwrap(), "ok");
        let mut newer = authority.client();
        newer.alpn_protocols = vec![b"h2".to_vec()];
        let error = Client::builder().tls(newer).build().get(&url).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Connect);
        assert!(error.to_string().contains("offered h2 by ALPN, it chose nothing"), "{error}");
        assert!(served.await.unwrap().starts_with("GET / HTTP/1.1\r\n"));
    })
    .unwrap();
}

/// RFC 9112 §9.8: content that lasts as long as the connection is whole only behind a close_notify.
#[test]
fn content_that_is_cut_off_is_not_taken_for_whole() {
    for whole in [true, false] {
        wakering::run(async {
            let authority = Authority::new();
            let acceptor = TlsAcceptor::new(authority.identity(&["127.0.0.1"]).server());
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("https://{}/", listener.local_addr().unwrap());
            let served = spawn(async move {
                let mut stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
                stream.read(&mut [0; 1000]).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nsome words").await.unwrap();
                stream.flush().await.unwrap();
                if whole {
                    stream.shutdown().await.unwrap();
                }
            });
            let response = Client::builder().tls(authority.client()).build().get(&url).await.unwrap();
            let content = response.into_body().collect(100).await;
            assert_eq!(content.is_ok(), whole, "{content:?}");
            served.await.unwrap();
        })
        .unwrap();
    }
}
