//! HTTP over TLS: our server and our client, each against the other and against what is not meant for them.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[cfg(feature = "http1")]
#[path = "tls_http/alpn.rs"]
mod alpn;
#[path = "support/tls.rs"]
mod identity;

use std::{
    error::Error as _,
    io::{Read, Write},
    net::{SocketAddr, TcpStream as Socket},
    sync::mpsc,
    thread,
    time::Duration,
};

use bytes::Bytes;
use identity::{Authority, Foreign, Identity, PATIENCE, localhost};
use wakering::{
    http::{
        self, Body, Request, Response, Server, StatusCode,
        client::{self, Client, ClientBuilder, Kind},
        with_place,
    },
    net::TcpListener,
    time::timeout,
    tls::{
        TlsAcceptor, TlsError,
        rustls::{self, ProtocolVersion, ServerConfig, version},
    },
};

async fn echo(request: Request<Body>) -> Response<Body> {
    Response::new(request.into_body())
}

fn start(builder: http::Builder) -> Server {
    builder.start(TcpListener::bind("127.0.0.1:0").unwrap(), echo).unwrap()
}

/// A client that finds `localhost` at the server's address, and the target `/` there.
fn asking(builder: ClientBuilder, server: &Server) -> (Client, String) {
    let target = format!("https://localhost:{}/", server.local_addr().port());
    (builder.resolve("localhost", vec![server.local_addr()]).build(), target)
}

fn post(target: &str, content: impl Into<Body>) -> Request<Body> {
    Request::post(target).body(content.into()).unwrap()
}

#[test]
fn requests_share_a_connection_in_both_versions_of_tls() {
    wakering::run(async {
        let authority = Authority::new();
        let server = start(Server::builder().tls(authority.identity(&["localhost"]).server()));
        for version in [&version::TLS12, &version::TLS13] {
            let (client, target) = asking(Client::builder().tls(authority.client_of(version)), &server);
            let content = Bytes::from(vec![5; 1_000_000]);
            for _again in 0..3 {
                let response = client.request(post(&target, content.clone())).await.unwrap();
                assert_eq!(response.into_body().collect(2_000_000).await.unwrap(), content);
            }
            assert_eq!(client.connections(), 1);
            timeout(PATIENCE, client.shutdown()).await.unwrap();
        }
        let metrics = server.metrics();
        assert_eq!(server.stop(PATIENCE).await.aborted_connections, 0);
        assert_eq!(metrics.requests, 6);
    })
    .unwrap();
}

#[test]
fn a_handler_learns_who_asks() {
    wakering::run(async {
        let authority = Authority::new();
        let me = authority.identity(&["me.example"]);
        let (seen, facts) = mpsc::channel();
        let handler = with_place(move |_: Request<Body>, place: http::Place| {
            seen.send(place.tls().expect("a connection with TLS")).unwrap();
            async { Response::new(Body::empty()) }
        });
        let config = authority.asking_server(&authority.identity(&["localhost"]));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server::builder().tls(config).start(listener, handler).unwrap();
        let (client, target) = asking(Client::builder().tls(authority.client_as(&me)), &server);
        assert_eq!(client.get(target).await.unwrap().status(), StatusCode::OK);
        let info = facts.recv().unwrap();
        assert_eq!(info.peer_certificates(), std::slice::from_ref(&me.certificate));
        assert_eq!(info.server_name(), Some("localhost"));
        assert_eq!(info.alpn(), Some(&b"h2"[..]));
        assert_eq!(info.version(), Some(ProtocolVersion::TLSv1_3));
    })
    .unwrap();
}

#[test]
fn a_connection_in_cleartext_has_no_tls() {
    wakering::run(async {
        let handler = with_place(|_: Request<Body>, place: http::Place| async move {
            Response::new(Body::from(place.tls().is_none().to_string()))
        });
        let server = Server::start(TcpListener::bind("127.0.0.1:0").unwrap(), handler).unwrap();
        let response = Client::new().get(format!("http://{}/", server.local_addr())).await.unwrap();
        assert_eq!(response.into_body().collect(9).await.unwrap(), "true");
    })
    .unwrap();
}

#[test]
fn a_certificate_that_is_not_trusted_is_told_as_such() {
    wakering::run(async {
        let (config, _trusting) = localhost();
        let server = start(Server::builder().tls(config));
        let (client, target) = asking(Client::builder().tls(Authority::new().client()), &server);
        let error = client.get(target).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Connect);
        let io = error.source().unwrap().downcast_ref::<std::io::Error>().unwrap();
        let inner: &TlsError = io.get_ref().unwrap().downcast_ref().unwrap();
        assert!(matches!(inner.cause(), rustls::Error::InvalidCertificate(_)), "{error}");
    })
    .unwrap();
}

#[test]
fn https_without_a_configuration_is_misuse() {
    wakering::run(async {
        let error = Client::new().get("https://127.0.0.1:1/").await.unwrap_err();
        assert_eq!(error.kind(), Kind::Misuse, "{error}");
        let error = client::builder().connect_tls("localhost", "127.0.0.1:1").await.unwrap_err();
        assert_eq!(error.kind(), Kind::Misuse, "{error}");
        let error = Client::new().get("ftp://127.0.0.1:1/").await.unwrap_err();
        assert_eq!(error.kind(), Kind::Misuse, "{error}");
    })
    .unwrap();
}

#[test]
fn a_server_that_does_not_speak_http2_is_not_spoken_to() {
    wakering::run(async {
        let (mut config, trusting) = localhost();
        config.alpn_protocols = vec![b"echo".to_vec()];
        let acceptor = TlsAcceptor::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let served = wakering::spawn(async move {
            let mut streams = Vec::new();
            for _ in 0..2 {
                streams.push(acceptor.accept(listener.accept().await?.0).await);
            }
            Ok::<_, std::io::Error>(streams)
        });
        // It refuses what it does not know.
        let error =
            client::builder().tls(trusting.clone()).connect_tls("localhost", address).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Connect, "{error}");
        // It speaks what it was offered, which is not HTTP/2.
        let mut offering = trusting;
        offering.alpn_protocols = vec![b"echo".to_vec()];
        let error = client::builder().tls(offering).connect_tls("localhost", address).await.unwrap_err();
        assert!(error.to_string().contains("it chose echo"), "{error}");
        drop(served.await.unwrap().unwrap());
    })
    .unwrap();
}

#[test]
fn one_connection_may_be_made_by_hand() {
    wakering::run(async {
        let (config, trusting) = localhost();
        let server = start(Server::builder().tls(config));
        let builder = client::builder().tls(trusting);
        let mut connection = builder.connect_tls("localhost", server.local_addr()).await.unwrap();
        let response = connection.send(post("https://localhost/", "hello")).await.unwrap();
        assert_eq!(response.into_body().collect(9).await.unwrap(), "hello");
    })
    .unwrap();
}

/// Has a client on a thread of its own at work while the server serves.
fn served<R: Send + 'static>(
    config: ServerConfig,
    client: impl FnOnce(SocketAddr) -> R + Send + 'static,
) -> (R, wakering::tls::TlsMetrics) {
    served_by(Server::builder(), config, client)
}

fn served_by<R: Send + 'static>(
    builder: http::Builder,
    config: ServerConfig,
    client: impl FnOnce(SocketAddr) -> R + Send + 'static,
) -> (R, wakering::tls::TlsMetrics) {
    wakering::run(async {
        let acceptor = TlsAcceptor::new(config);
        let server = start(builder.tls(acceptor.clone()));
        let address = server.local_addr();
        let outcome = wakering::spawn_blocking(move || client(address)).unwrap().await.unwrap();
        assert_eq!(timeout(PATIENCE, server.stop(PATIENCE)).await.unwrap().aborted_connections, 0);
        (outcome, acceptor.metrics())
    })
    .unwrap()
}

#[test]
fn cleartext_is_answered_so_that_it_can_be_read() {
    // More than one read takes: a socket that is closed with the rest unread would be reset.
    for content in [0, 100_000] {
        let (config, _trusting) = localhost();
        let (answer, metrics) = served(config, move |address| {
            let mut socket = Socket::connect(address).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            let head = format!("POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: {content}\r\n\r\n");
            socket.write_all(&[head.into_bytes(), vec![b'x'; content]].concat()).unwrap();
            let mut answer = String::new();
            socket.read_to_string(&mut answer).unwrap();
            answer
        });
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer:?}");
        assert!(answer.ends_with("This port speaks TLS only: ask it for https://.\n"), "{answer:?}");
        assert_eq!((metrics.cleartext, metrics.failed, metrics.finished), (1, 0, 0));
    }
}

/// A client that has no certificate and says a lot behind its Finished, before it can have heard that it needs one: the
/// alert comes, and then the end.
#[test]
fn the_alert_of_a_failed_handshake_is_not_overtaken_by_a_reset() {
    let authority = Authority::new();
    let config = authority.asking_server(&authority.identity(&["localhost"]));
    let trusting = authority.client_of(&version::TLS13);
    let (error, metrics) = served(config, move |address| {
        let mut client = Foreign::connect(address, trusting);
        let mut flight = client.last_flight(b"");
        for _ in 0..8 {
            client.tls.writer().write_all(&[b'x'; 16 * 1024]).unwrap();
            flight.append(&mut client.outgoing());
        }
        client.socket.write_all(&flight).unwrap();
        let mut alert = Vec::new();
        client.socket.read_to_end(&mut alert).expect("it ends, and is not reset");
        client.tls.read_tls(&mut &alert[..]).unwrap();
        client.tls.process_new_packets().unwrap_err()
    });
    assert_eq!(error, rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired));
    assert_eq!((metrics.failed, metrics.finished), (1, 0));
}

#[test]
fn the_preface_in_the_flight_of_finished_is_answered() {
    let (config, mut trusting) = localhost();
    trusting.alpn_protocols = vec![b"h2".to_vec()];
    let (answer, metrics) = served(config, move |address| {
        let mut client = Foreign::connect(address, trusting);
        // Preface, SETTINGS, and a GET for /: HEADERS with END_STREAM and END_HEADERS.
        let mut words = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
        words.extend_from_slice(b"\0\0\x04\x01\x05\0\0\0\x01\x82\x87\x84\x01");
        words.extend_from_slice(b"");
        let authority = b"\x01\x01a";
        words.truncate(words.len() - 1);
        words.extend_from_slice(authority);
        // The length of the head: three indexed fields, and `:authority: a`.
        let at = 24 + 9;
        words[at + 2] = 6;
        let flight = client.last_flight(&words);
        client.socket.write_all(&flight).unwrap();
        let mut first = [0; 9];
        loop {
            match client.tls.reader().read(&mut first) {
                Ok(count) => return (count, first),
                Err(_nothing_yet) => assert!(client.take_in()),
            }
        }
    });
    // The server's SETTINGS.
    assert_eq!((answer.0, answer.1[3]), (9, 4));
    assert_eq!(metrics.finished, 1);
}

#[test]
fn a_stop_waits_for_handshakes_and_says_goodbye() {
    let (config, mut trusting) = localhost();
    trusting.alpn_protocols = vec![b"h2".to_vec()];
    wakering::run(async {
        let server = start(Server::builder().tls(TlsAcceptor::new(config)));
        let address = server.local_addr();
        let ((go, said), (tell, told)) = (mpsc::channel(), mpsc::channel());
        let client = thread::spawn(move || {
            let mut client = Foreign::connect(address, trusting);
            let hello = client.outgoing();
            client.socket.write_all(&hello).unwrap();
            while client.tls.is_handshaking() {
                assert!(client.take_in());
            }
            // Now the server stops, and has not our last flight yet.
            tell.send(()).unwrap();
            said.recv().unwrap();
            client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
            tell.send(()).unwrap();
            // Among the frames that come there is a GOAWAY.
            let (mut words, mut piece) = (Vec::new(), [0; 512]);
            while !words.windows(9).any(|head: &[u8]| head[3] == 7 && head[..3] == [0, 0, 8]) {
                match client.tls.reader().read(&mut piece) {
                    Ok(0) => panic!("it ended after {words:?}"),
                    Ok(count) => words.extend_from_slice(&piece[..count]),
                    Err(_nothing_yet) => assert!(client.take_in(), "it ended after {words:?}"),
                }
            }
            client.tls.send_close_notify();
            let word = client.outgoing();
            client.socket.write_all(&word).unwrap();
        });
        while told.try_recv().is_err() {
            assert!(!client.is_finished());
            wakering::time::sleep(Duration::from_millis(1)).await;
        }
        let handle = server.handle();
        let stopping = wakering::spawn(async move { handle.shutdown(PATIENCE).await });
        // The worker hears of the stop, and then looks at its sockets: the flight is there by then, so that the second which
        // those who shake hands have left is not the client's to lose.
        go.send(()).unwrap();
        told.recv().unwrap();
        assert_eq!(timeout(PATIENCE, stopping).await.unwrap().unwrap().aborted_connections, 0);
        client.join().unwrap();
    })
    .unwrap();
}

#[test]
fn a_stop_ends_a_handshake_that_does_not_end() {
    let (config, _trusting) = localhost();
    wakering::run(async {
        let acceptor = TlsAcceptor::new(config);
        let server = start(Server::builder().tls(acceptor.clone()));
        let quiet = Socket::connect(server.local_addr()).unwrap();
        while acceptor.metrics().under_way == 0 {
            wakering::time::sleep(Duration::from_millis(1)).await;
        }
        let stopped = timeout(PATIENCE, server.stop(Duration::from_millis(10))).await.unwrap();
        assert_eq!(stopped.aborted_connections, 1);
        drop(quiet);
    })
    .unwrap();
}

#[test]
fn a_stop_does_not_wait_for_a_handshake_that_does_not_end() {
    let (config, _trusting) = localhost();
    wakering::run(async {
        let hour = Duration::from_secs(3600);
        let acceptor = TlsAcceptor::new(config).handshake_timeout(hour);
        let server = start(Server::builder().tls(acceptor.clone()));
        let mut quiet = Socket::connect(server.local_addr()).unwrap();
        while acceptor.metrics().under_way == 0 {
            wakering::time::sleep(Duration::from_millis(1)).await;
        }
        let stopped = timeout(PATIENCE, server.stop(hour)).await.expect("it ends before its grace");
        assert_eq!(stopped.aborted_connections, 0, "it was none yet");
        assert_eq!(quiet.read(&mut [0]).unwrap_or(0), 0);
    })
    .unwrap();
}

#[test]
fn certificates_are_replaced_under_a_running_server() {
    wakering::run(async {
        let authority = Authority::new();
        let identities: [Identity; 2] = std::array::from_fn(|_| authority.identity(&["localhost"]));
        let acceptor = TlsAcceptor::new(identities[0].server());
        let server = start(Server::builder().tls(acceptor.clone()));
        let (first, target) = asking(Client::builder().tls(authority.client()), &server);
        assert_eq!(first.request(post(&target, "one")).await.unwrap().status(), StatusCode::OK);
        acceptor.replace(identities[1].server());
        // The old connection goes on, a new one shakes hands with what is new: it still offers HTTP/2.
        assert_eq!(first.request(post(&target, "two")).await.unwrap().status(), StatusCode::OK);
        let (second, target) = asking(Client::builder().tls(authority.client()), &server);
        assert_eq!(second.request(post(&target, "three")).await.unwrap().status(), StatusCode::OK);
        assert_eq!((first.connections(), acceptor.metrics().finished), (1, 2));
    })
    .unwrap();
}
