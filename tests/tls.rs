//! `wakering::tls`: what goes over a stream with TLS on it, how it begins and how it ends.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "support/tls.rs"]
mod identity;

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    io::{self, IoSlice, Write},
    net::{Shutdown, SocketAddr, TcpStream as Socket},
    pin::pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake},
    thread,
    time::Duration,
};

use bytes::BytesMut;
use identity::{Authority, Foreign, PATIENCE, localhost};
use wakering::{
    JoinHandle,
    net::{TcpListener, TcpStream, UnixStream},
    spawn,
    time::timeout,
    tls::{
        TlsAcceptor, TlsConnector, TlsError, TlsListener, TlsStream,
        rustls::{self, ProtocolVersion, server::ResolvesServerCertUsingSni, version},
    },
    yield_now,
};

/// Two streams of ours that have shaken hands: the server's, the client's.
async fn pair() -> (TlsStream, TlsStream) {
    let (server, client) = localhost();
    pair_of(&TlsAcceptor::new(server), &TlsConnector::new(client), "localhost").await.unwrap()
}

async fn pair_of(
    acceptor: &TlsAcceptor,
    connector: &TlsConnector,
    host: &str,
) -> io::Result<(TlsStream, TlsStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (acceptor, address) = (acceptor.clone(), listener.local_addr()?);
    let server = spawn(async move { acceptor.accept(listener.accept().await?.0).await });
    let client = connector.connect(host, TcpStream::connect(address).await?).await;
    let server = server.await.unwrap();
    Ok((server?, client?))
}

/// Runs `test` with a listener, beside a foreign client on a thread of its own.
fn against<R: Send + 'static, F: Future<Output = ()>>(
    client: impl FnOnce(SocketAddr) -> R + Send + 'static,
    test: impl FnOnce(TcpListener) -> F,
) -> R {
    let outcome = wakering::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = thread::spawn(move || client(address));
        timeout(PATIENCE, test(listener)).await.expect("the test ends");
        client
    });
    outcome.unwrap().join().unwrap()
}

fn tls_error(error: &io::Error) -> &TlsError {
    error.get_ref().and_then(|inner| inner.downcast_ref()).expect("an error of TLS")
}

#[test]
fn a_megabyte_goes_both_ways_at_once() {
    wakering::run(async {
        let (server, client) = pair().await;
        let sent: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
        let mut tasks = Vec::new();
        for stream in [server, client] {
            let (mut reader, mut writer) = stream.into_split();
            let (ours, theirs) = (sent.clone(), sent.clone());
            tasks.push(spawn(async move {
                writer.write_all(&ours).await?;
                writer.shutdown().await
            }));
            tasks.push(spawn(async move {
                let mut received = BytesMut::new();
                while reader.read_buf(&mut received).await? > 0 {}
                assert!(received == theirs);
                Ok(())
            }));
        }
        for task in tasks {
            timeout(PATIENCE, task).await.expect("it ends").unwrap().unwrap();
        }
    })
    .unwrap();
}

#[test]
fn both_versions_are_spoken_and_agreed_on() {
    wakering::run(async {
        let authority = Authority::new();
        let acceptor = TlsAcceptor::new(authority.identity(&["localhost"]).server());
        for (version, known) in
            [(&version::TLS12, ProtocolVersion::TLSv1_2), (&version::TLS13, ProtocolVersion::TLSv1_3)]
        {
            let connector = TlsConnector::new(authority.client_of(version));
            let (mut server, mut client) = pair_of(&acceptor, &connector, "localhost").await.unwrap();
            client.write_all(b"ping").await.unwrap();
            let mut text = [0; 4];
            server.read_exact(&mut text).await.unwrap();
            assert_eq!(&text, b"ping");
            assert_eq!(server.info().version(), Some(known));
            assert_eq!(client.info().version(), Some(known));
            assert_eq!(server.info().cipher_suite(), client.info().cipher_suite());
            assert_eq!(server.info().server_name(), Some("localhost"));
            assert_eq!(client.info().peer_certificates().len(), 1);
        }
        assert_eq!(acceptor.metrics().finished, 2);
        assert_eq!(acceptor.metrics().under_way, 0);
    })
    .unwrap();
}

#[test]
fn a_unix_stream_takes_tls_as_well() {
    wakering::run(async {
        let (server, client) = localhost();
        let (left, right) = UnixStream::pair().unwrap();
        let acceptor = TlsAcceptor::new(server);
        let server = spawn(async move { acceptor.accept(left).await });
        let mut client = TlsConnector::new(client).connect("127.0.0.1", right).await.unwrap();
        let mut server = server.await.unwrap().unwrap();
        client.write_all(b"local").await.unwrap();
        let mut text = [0; 5];
        server.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"local");
        assert_eq!(server.info().server_name(), None, "an address is no name (RFC 6066 §3)");
    })
    .unwrap();
}

#[test]
fn a_request_in_the_flight_of_finished_is_not_left_in_the_buffer() {
    let (server, client) = localhost();
    let request = b"the first request";
    let answer = against(
        move |address| {
            let mut client = Foreign::connect(address, client);
            let flight = client.last_flight(request);
            // One segment, and no word after it.
            client.socket.write_all(&flight).unwrap();
            client.read_to_end().unwrap()
        },
        |listener| async move {
            let (stream, _peer) = listener.accept().await.unwrap();
            let mut stream = TlsAcceptor::new(server).accept(stream).await.unwrap();
            let mut text = [0; 17];
            stream.read_exact(&mut text).await.unwrap();
            assert_eq!(&text, request);
            stream.write_all(b"an answer").await.unwrap();
            stream.shutdown().await.unwrap();
        },
    );
    assert_eq!(answer, b"an answer");
}

#[test]
fn records_may_come_an_octet_at_a_time() {
    let (server, client) = localhost();
    {
        against(
            move |address| {
                let mut client = Foreign::connect(address, client);
                let hello = client.outgoing();
                for octet in &hello {
                    client.socket.write_all(&[*octet]).unwrap();
                }
                while client.tls.is_handshaking() {
                    client.take_in();
                }
                client.tls.writer().write_all(b"slow words").unwrap();
                for octet in client.outgoing() {
                    client.socket.write_all(&[octet]).unwrap();
                }
                client.read_to_end().unwrap()
            },
            |listener| async move {
                let (stream, _peer) = listener.accept().await.unwrap();
                let mut stream = TlsAcceptor::new(server).accept(stream).await.unwrap();
                let mut text = [0; 10];
                stream.read_exact(&mut text).await.unwrap();
                assert_eq!(&text, b"slow words");
                stream.shutdown().await.unwrap();
            },
        );
    }
}

#[test]
fn an_end_is_announced_and_seen_as_such() {
    let (server, client) = localhost();
    let read = against(
        move |address| {
            let mut client = Foreign::connect(address, client);
            client.shake();
            let read = client.read_to_end();
            client.tls.send_close_notify();
            let word = client.outgoing();
            client.socket.write_all(&word).unwrap();
            // The server reads the end although we hold the socket open.
            (read, client)
        },
        |listener| async move {
            let (stream, _peer) = listener.accept().await.unwrap();
            let mut stream = TlsAcceptor::new(server).accept(stream).await.unwrap();
            stream.write_all(b"all").await.unwrap();
            stream.shutdown().await.unwrap();
            let broken = stream.write(b"more").await.unwrap_err();
            assert_eq!(broken.kind(), io::ErrorKind::BrokenPipe);
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0, "it stays the end");
        },
    );
    assert_eq!(read.0.unwrap(), b"all");
}

#[test]
fn an_end_without_announcement_is_an_error_after_what_came_before_it() {
    let (server, client) = localhost();
    against(
        move |address| {
            let mut client = Foreign::connect(address, client);
            client.shake();
            client.send(b"half a mess");
            client.socket.shutdown(Shutdown::Write).unwrap();
            client.read_to_end().unwrap();
        },
        |listener| async move {
            let (stream, _peer) = listener.accept().await.unwrap();
            let mut stream = TlsAcceptor::new(server).accept(stream).await.unwrap();
            let mut text = BytesMut::new();
            while text.len() < 11 {
                stream.read_buf(&mut text).await.unwrap();
            }
            for _again in 0..2 {
                let error = stream.read(&mut [0; 8]).await.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
            }
            stream.shutdown().await.unwrap();
        },
    );
}

#[test]
fn a_read_that_is_dropped_takes_nothing() {
    wakering::run(async {
        let (mut server, mut client) = pair().await;
        let mut text = [0; 4];
        {
            let mut reading = pin!(server.read(&mut text));
            let polled = poll_fn(|context| Poll::Ready(reading.as_mut().poll(context))).await;
            assert!(polled.is_pending());
        }
        client.write_all(b"ping").await.unwrap();
        server.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"ping");
    })
    .unwrap();
}

#[test]
fn a_write_that_is_dropped_has_written_nothing() {
    wakering::run(async {
        let (mut server, mut client) = pair().await;
        let piece = [7; 40_000];
        let mut accepted = 0;
        // Until the socket is full and a write waits.
        loop {
            let mut writing = pin!(client.write(&piece));
            match poll_fn(|context| Poll::Ready(writing.as_mut().poll(context))).await {
                Poll::Ready(count) => accepted += count.unwrap(),
                Poll::Pending => break,
            }
        }
        let closing = spawn(async move { client.shutdown().await.map(|()| client) });
        let mut received = BytesMut::new();
        while timeout(PATIENCE, server.read_buf(&mut received)).await.unwrap().unwrap() > 0 {}
        assert_eq!(received.len(), accepted);
        closing.await.unwrap().unwrap();
    })
    .unwrap();
}

#[test]
fn who_reads_sends_what_an_earlier_write_has_left() {
    wakering::run(async {
        let (mut server, mut client) = pair().await;
        let piece = [7; 60_000];
        let mut accepted = 0;
        // Until what was accepted does not go out by itself: the next write would wait.
        loop {
            let mut writing = pin!(client.write(&piece));
            match poll_fn(|context| Poll::Ready(writing.as_mut().poll(context))).await {
                Poll::Ready(count) => accepted += count.unwrap(),
                Poll::Pending => break,
            }
        }
        let served = spawn(async move {
            let mut received = BytesMut::new();
            while received.len() < accepted {
                server.read_buf(&mut received).await?;
            }
            server.write_all(b"got it").await?;
            Ok::<TlsStream, io::Error>(server)
        });
        let mut text = [0; 6];
        timeout(PATIENCE, client.read_exact(&mut text)).await.expect("the server has all").unwrap();
        assert_eq!(&text, b"got it");
        drop(served.await.unwrap().unwrap());
    })
    .unwrap();
}

#[test]
fn small_buffers_are_written_together_and_come_in_order() {
    wakering::run(async {
        let (mut server, mut client) = pair().await;
        let long = vec![3; 20_000];
        let slices = [&b"one"[..], b"", b"two", &long, b"end"].map(IoSlice::new);
        assert_eq!(client.write_vectored(&slices).await.unwrap(), 20_009);
        let mut received = vec![0; 20_009];
        server.read_exact(&mut received).await.unwrap();
        assert_eq!(received, [&b"onetwo"[..], &long, b"end"].concat());
    })
    .unwrap();
}

#[test]
fn a_name_that_the_certificate_has_not_is_refused() {
    wakering::run(async {
        let (server, client) = localhost();
        let (acceptor, connector) = (TlsAcceptor::new(server), TlsConnector::new(client));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let known = acceptor.clone();
        let server = spawn(async move { acceptor.accept(listener.accept().await?.0).await });
        let stream = TcpStream::connect(address).await.unwrap();
        let error = connector.connect("elsewhere.example", stream).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
        assert!(matches!(tls_error(&error).cause(), rustls::Error::InvalidCertificate(_)), "{error}");
        // The client has said why.
        let told = server.await.unwrap().unwrap_err();
        assert!(matches!(tls_error(&told).cause(), rustls::Error::AlertReceived(_)), "{told}");
        assert_eq!(known.metrics().failed, 1);
        let (stream, _other) = UnixStream::pair().unwrap();
        let error = connector.connect("no host", stream).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    })
    .unwrap();
}

#[test]
fn each_name_gets_its_certificate() {
    wakering::run(async {
        let authority = Authority::new();
        let mut certificates = ResolvesServerCertUsingSni::new();
        let hosts = ["one.example", "two.example"];
        let identities = hosts.map(|host| authority.identity(&[host]));
        for (host, identity) in hosts.iter().zip(&identities) {
            certificates.add(host, identity.certified()).unwrap();
        }
        let config =
            rustls::ServerConfig::builder().with_no_client_auth().with_cert_resolver(Arc::new(certificates));
        let (acceptor, connector) = (TlsAcceptor::new(config), TlsConnector::new(authority.client()));
        for (host, identity) in hosts.iter().zip(&identities) {
            let (server, client) = pair_of(&acceptor, &connector, host).await.unwrap();
            assert_eq!(server.info().server_name(), Some(*host));
            assert_eq!(client.info().peer_certificates(), std::slice::from_ref(&identity.certificate));
        }
        pair_of(&acceptor, &connector, "three.example").await.unwrap_err();
    })
    .unwrap();
}

#[test]
fn certificates_are_replaced_and_connections_go_on() {
    wakering::run(async {
        let authority = Authority::new();
        let [old, new] = [(); 2].map(|()| authority.identity(&["localhost"]));
        let acceptor = TlsAcceptor::new(old.server());
        // Each connection is to show its certificate.
        let mut config = authority.client();
        config.resumption = rustls::client::Resumption::disabled();
        let connector = TlsConnector::new(config);
        let (mut server, mut client) = pair_of(&acceptor, &connector, "localhost").await.unwrap();
        assert_eq!(client.info().peer_certificates(), std::slice::from_ref(&old.certificate));
        acceptor.clone().replace(new.server());
        let (_server, later) = pair_of(&acceptor, &connector, "localhost").await.unwrap();
        assert_eq!(later.info().peer_certificates(), std::slice::from_ref(&new.certificate));
        client.write_all(b"still here").await.unwrap();
        let mut text = [0; 10];
        server.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"still here");
    })
    .unwrap();
}

#[test]
fn clients_show_who_they_are_or_are_refused() {
    wakering::run(async {
        let authority = Authority::new();
        let acceptor = TlsAcceptor::new(authority.asking_server(&authority.identity(&["localhost"])));
        let me = authority.identity(&["me.example"]);
        let known = TlsConnector::new(authority.client_as(&me));
        let (server, _client) = pair_of(&acceptor, &known, "localhost").await.unwrap();
        assert_eq!(server.info().peer_certificates(), std::slice::from_ref(&me.certificate));
        let nobody = TlsConnector::new(authority.client());
        let error = pair_of(&acceptor, &nobody, "localhost").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
        assert_eq!(tls_error(&error).cause(), &rustls::Error::NoCertificatesPresented);
        let stranger = Authority::new();
        let stranger = TlsConnector::new(authority.client_as(&stranger.identity(&["me.example"])));
        pair_of(&acceptor, &stranger, "localhost").await.unwrap_err();
        assert_eq!((acceptor.metrics().finished, acceptor.metrics().failed), (1, 2));
    })
    .unwrap();
}

#[test]
fn a_session_is_taken_up_again() {
    wakering::run(async {
        let authority = Authority::new();
        let identity = authority.identity(&["localhost"]);
        for version in [&version::TLS12, &version::TLS13] {
            let mut config = identity.server();
            // Without it sessions are remembered here; with it the client keeps them.
            config.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
            let acceptor = TlsAcceptor::new(config);
            let connector = TlsConnector::new(authority.client_of(version));
            for resumed in [false, true] {
                let (mut server, mut client) = pair_of(&acceptor, &connector, "localhost").await.unwrap();
                // In TLS 1.3 tickets come after the handshake: whoever reads has them.
                server.write_all(b"hello").await.unwrap();
                client.read_exact(&mut [0; 5]).await.unwrap();
                assert_eq!(server.info().is_resumed(), resumed, "{version:?}");
                assert_eq!(client.info().is_resumed(), resumed, "{version:?}");
                assert_eq!(server.info().server_name(), Some("localhost"));
            }
        }
    })
    .unwrap();
}

#[test]
fn the_protocol_is_agreed_on_or_refused() {
    wakering::run(async {
        let (mut server, client) = localhost();
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::new(server);
        let offering = |names: &[&str]| {
            let mut config = client.clone();
            config.alpn_protocols = names.iter().map(|name| name.as_bytes().to_vec()).collect();
            TlsConnector::new(config)
        };
        for (offered, agreed) in
            [(&["http/1.1", "h2"][..], Some(&b"h2"[..])), (&["http/1.1"], Some(b"http/1.1")), (&[], None)]
        {
            let (server, client) = pair_of(&acceptor, &offering(offered), "localhost").await.unwrap();
            assert_eq!(server.info().alpn(), agreed);
            assert_eq!(client.info().alpn(), agreed);
        }
        pair_of(&acceptor, &offering(&["spdy"]), "localhost").await.unwrap_err();
    })
    .unwrap();
}

#[test]
fn no_suite_is_one_that_http2_prohibits() {
    // RFC 9113 appendix A lists the suites without ephemeral keys or without authenticated encryption. All of a provider's are
    // of the type that TLS 1.2 has for the others.
    let suites = rustls::crypto::ring::default_provider().cipher_suites;
    let of_1_2: Vec<_> = suites.iter().filter(|suite| suite.tls13().is_none()).map(|it| it.suite()).collect();
    for suite in &of_1_2 {
        let name = format!("{suite:?}");
        assert!(name.starts_with("TLS_ECDHE_"), "{name}");
        assert!(name.contains("_GCM_") || name.contains("_CHACHA20_POLY1305_"), "{name}");
    }
    // What every deployment of HTTP/2 over TLS 1.2 supports (RFC 9113 §9.2.2).
    let common = rustls::CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;
    assert!(of_1_2.contains(&common));
    let groups = rustls::crypto::ring::default_provider().kx_groups;
    assert!(groups.iter().any(|group| group.name() == rustls::NamedGroup::secp256r1));
}

#[test]
fn an_idle_connection_holds_its_state_and_no_buffer() {
    const CONNECTIONS: usize = 50;
    let (server, client) = localhost();
    let (acceptor, config) = (TlsAcceptor::new(server), Arc::new(client));
    wakering::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // The clients' memory is another thread's.
        let (give, clients) = mpsc::channel::<Foreign>();
        let shaking = wakering::spawn_blocking(move || {
            for _ in 0..=CONNECTIONS {
                let mut client = Foreign::connect(address, config.clone());
                client.shake();
                client.send(&[9; 20_000]);
                give.send(client).unwrap();
            }
        });
        let mut held = 0;
        let mut streams = Vec::new();
        for number in 0..=CONNECTIONS {
            let (stream, _peer) = listener.accept().await.unwrap();
            // What is counted is this thread's, future by future.
            let mut accepting = Box::pin(acceptor.accept(stream));
            let mut stream = poll_fn(|context| {
                let mut polled = Poll::Pending;
                let counted = allocation_counter::measure(|| polled = accepting.as_mut().poll(context));
                held += if number > 0 { counted.bytes_current } else { 0 };
                polled
            })
            .await
            .unwrap();
            {
                let mut content = vec![0; 20_000];
                let mut reading = pin!(stream.read_exact(&mut content));
                poll_fn(|context| {
                    let mut polled = Poll::Pending;
                    let counted = allocation_counter::measure(|| polled = reading.as_mut().poll(context));
                    held += if number > 0 { counted.bytes_current } else { 0 };
                    polled
                })
                .await
                .unwrap();
            }
            streams.push(stream);
        }
        shaking.unwrap().await.unwrap();
        let each = held / CONNECTIONS as i64;
        println!("{each} bytes each");
        // With a buffer of a record there would be 16 KiB more; rustls's own mode keeps 4 KiB.
        assert!(each <= 5 * 1024, "{each} bytes each");
        drop((streams, clients));
    })
    .unwrap();
}

#[test]
fn a_slow_handshake_holds_up_nobody() {
    let (server, client) = localhost();
    let (silent, done) = mpsc::channel::<()>();
    let acceptor = TlsAcceptor::new(server);
    let answer = against(
        move |address| {
            let quiet = Socket::connect(address).unwrap();
            let mut client = Foreign::connect(address, client);
            client.shake();
            let answer = client.read_to_end().unwrap();
            drop((quiet, silent));
            answer
        },
        |listener| async move {
            let listener = TlsListener::new(listener, acceptor.clone());
            let (mut stream, _peer) = listener.accept().await.unwrap();
            assert_eq!(acceptor.metrics().under_way, 1, "the silent one");
            stream.write_all(b"served").await.unwrap();
            stream.shutdown().await.unwrap();
        },
    );
    assert_eq!(answer, b"served");
    done.recv().unwrap_err();
}

/// Connects to a listener at which somebody waits, and lets the handshake begin.
async fn begin(listener: &TlsListener, acceptor: &TlsAcceptor) -> TcpStream {
    let (address, before) = (listener.get_ref().local_addr().unwrap(), acceptor.metrics().under_way);
    let stream = TcpStream::connect(address).await.unwrap();
    until(|| acceptor.metrics().under_way > before).await;
    stream
}

/// Lets others run until something is so.
async fn until(so: impl Fn() -> bool) {
    let looks = async {
        while !so() {
            yield_now().await;
        }
    };
    timeout(PATIENCE, looks).await.expect("it comes to that");
}

/// Waits at a listener in a task of its own, which is waiting when this returns.
async fn waiter(listener: &Rc<TlsListener>) -> JoinHandle<io::Result<(TlsStream, SocketAddr)>> {
    let (listener, polled) = (listener.clone(), Rc::new(Cell::new(false)));
    let seen = polled.clone();
    let task = spawn(async move {
        let mut accepting = pin!(listener.accept());
        poll_fn(|context| {
            let outcome = accepting.as_mut().poll(context);
            polled.set(true);
            outcome
        })
        .await
    });
    until(|| seen.get()).await;
    task
}

#[test]
fn each_task_that_waits_for_a_connection_gets_one() {
    wakering::run(async {
        let (server, client) = localhost();
        let (acceptor, connector) = (TlsAcceptor::new(server), TlsConnector::new(client));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = Rc::new(TlsListener::new(listener, acceptor.clone()));
        // All of them wait when the first handshake ends.
        let mut tasks = vec![waiter(&listener).await];
        let streams = [
            begin(&listener, &acceptor).await,
            begin(&listener, &acceptor).await,
            begin(&listener, &acceptor).await,
        ];
        tasks.extend([waiter(&listener).await, waiter(&listener).await]);
        for stream in streams {
            timeout(PATIENCE, connector.connect("localhost", stream)).await.expect("in time").unwrap();
        }
        for task in tasks {
            timeout(PATIENCE, task).await.expect("nobody sleeps on").unwrap().unwrap();
        }
    })
    .unwrap();
}

#[test]
fn who_stops_waiting_for_a_connection_leaves_it_to_the_next() {
    wakering::run(async {
        let (server, client) = localhost();
        let (acceptor, connector) = (TlsAcceptor::new(server), TlsConnector::new(client));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = Rc::new(TlsListener::new(listener, acceptor.clone()));
        let first = waiter(&listener).await;
        let stream = begin(&listener, &acceptor).await;
        let second = waiter(&listener).await;
        second.abort();
        second.await.unwrap_err();
        timeout(PATIENCE, connector.connect("localhost", stream)).await.expect("in time").unwrap();
        timeout(PATIENCE, first).await.expect("it is woken").unwrap().unwrap();
    })
    .unwrap();
}

/// Tells that it was woken.
#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn who_was_called_and_does_not_come_has_the_next_one_called() {
    wakering::run(async {
        let (server, client) = localhost();
        let (acceptor, connector) = (TlsAcceptor::new(server), TlsConnector::new(client));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = Rc::new(TlsListener::new(listener, acceptor.clone()));
        let beginner = waiter(&listener).await;
        let stream = begin(&listener, &acceptor).await;
        beginner.abort();
        beginner.await.unwrap_err();
        let flags = [Arc::<Flag>::default(), Arc::<Flag>::default()];
        let mut waiting = Vec::new();
        for flag in &flags {
            let mut accepting = Box::pin(listener.accept());
            let waker = flag.clone().into();
            assert!(accepting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            waiting.push(accepting);
        }
        let stream =
            timeout(PATIENCE, connector.connect("localhost", stream)).await.expect("in time").unwrap();
        let called = |at: usize| flags[at].0.load(Ordering::Relaxed);
        until(|| called(0) || called(1)).await;
        let gone = usize::from(!called(0));
        drop(waiting.remove(gone));
        assert!(called(1 - gone), "what was left is for the other");
        let (mut ours, _peer) = timeout(PATIENCE, waiting.remove(0)).await.expect("it is there").unwrap();
        ours.write_all(b"x").await.unwrap();
        drop(stream);
    })
    .unwrap();
}

#[test]
fn a_handshake_has_a_deadline() {
    let (server, _client) = localhost();
    let acceptor = TlsAcceptor::new(server).handshake_timeout(Duration::from_millis(20));
    against(
        |address| {
            let mut quiet = Socket::connect(address).unwrap();
            // The server closes.
            io::Read::read_to_end(&mut quiet, &mut Vec::new()).unwrap();
        },
        |listener| async move {
            let (stream, _peer) = listener.accept().await.unwrap();
            let error = acceptor.accept(stream).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert_eq!(error.to_string(), "the TLS handshake took longer than 20ms");
            assert_eq!(acceptor.metrics().late, 1);
        },
    );
}

#[test]
fn who_waits_for_a_place_gets_that_of_a_slow_one() {
    let (server, client) = localhost();
    let acceptor = TlsAcceptor::new(server).handshakes(2);
    against(
        move |address| {
            let quiet = [(); 2].map(|()| Socket::connect(address).unwrap());
            let mut client = Foreign::connect(address, client);
            client.shake();
            client.read_to_end().unwrap();
            drop(quiet);
        },
        |listener| async move {
            let listener = TlsListener::new(listener, acceptor.clone());
            let (mut stream, _peer) = listener.accept().await.unwrap();
            let metrics = acceptor.metrics();
            assert_eq!((metrics.begun, metrics.finished, metrics.late), (3, 1, 1));
            assert_eq!(metrics.under_way, 1);
            stream.shutdown().await.unwrap();
        },
    );
}

#[test]
fn cleartext_is_told_from_a_broken_handshake() {
    let (server, _client) = localhost();
    let acceptor = TlsAcceptor::new(server);
    against(
        |address| {
            for text in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0\0\0\0\0\0"]
            {
                let mut socket = Socket::connect(address).unwrap();
                socket.write_all(text).unwrap();
                // The end, or a reset: the server has not read it all.
                let _ = io::Read::read_to_end(&mut socket, &mut Vec::new());
            }
        },
        |listener| async move {
            for cleartext in [1, 2, 2] {
                let (stream, _peer) = listener.accept().await.unwrap();
                let error = acceptor.accept(stream).await.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                assert_eq!(acceptor.metrics().cleartext, cleartext, "{error}");
            }
            assert_eq!(acceptor.metrics().failed, 1);
        },
    );
}
