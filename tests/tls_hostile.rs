//! What a server with TLS is put through by those who mean it no good: nothing panics, and what it holds is bounded.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "support/tls.rs"]
mod identity;

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream as Socket},
};

use bytes::BytesMut;
use identity::{Foreign, PATIENCE, localhost};
use wakering::{
    net::TcpListener,
    time::timeout,
    tls::{TlsAcceptor, TlsMetrics, TlsStream, rustls},
};

/// Accepts `count` connections one after the other, hands those that have shaken hands to `user`, and tells how the others
/// failed.
fn accept<R: Send + 'static>(
    acceptor: TlsAcceptor,
    count: usize,
    client: impl FnOnce(SocketAddr) -> R + Send + 'static,
    mut user: impl AsyncFnMut(TlsStream),
) -> (R, Vec<io::Error>) {
    wakering::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = wakering::spawn_blocking(move || client(address)).unwrap();
        let mut errors = Vec::new();
        for _ in 0..count {
            let (stream, _peer) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
            match timeout(PATIENCE, acceptor.accept(stream)).await.expect("its own deadline is shorter") {
                Ok(stream) => user(stream).await,
                Err(error) => errors.push(error),
            }
        }
        (client.await.unwrap(), errors)
    })
    .unwrap()
}

async fn nobody(_stream: TlsStream) {
    panic!("this handshake must not succeed");
}

/// The bytes of a client's hello.
fn hello() -> Vec<u8> {
    let (_server, client) = localhost();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut client = rustls::ClientConnection::new(client.into(), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// Says something, ends it, and waits for the end of the other side.
fn say(address: SocketAddr, words: &[u8]) {
    let mut socket = Socket::connect(address).unwrap();
    // The server may have closed by then.
    let _ = socket.write_all(words);
    let _ = socket.shutdown(Shutdown::Write);
    let _ = socket.read_to_end(&mut Vec::new());
}

#[test]
fn a_hello_that_breaks_off_anywhere_is_an_end() {
    let hello = hello();
    let count = hello.len();
    let (server, _client) = localhost();
    let acceptor = TlsAcceptor::new(server);
    let send = move |address| (0..count).for_each(|length| say(address, &hello[..length]));
    let ((), errors) = accept(acceptor.clone(), count, send, nobody);
    assert!(errors.iter().all(|error| error.kind() == io::ErrorKind::UnexpectedEof), "{errors:?}");
    assert_eq!(acceptor.metrics().failed, count as u64);
    assert_eq!(acceptor.metrics().under_way, 0);
}

#[test]
fn a_hello_with_an_octet_changed_is_an_error_or_a_hello() {
    let hello = hello();
    let count = hello.len();
    let (server, _client) = localhost();
    let send = move |address| {
        for at in 0..count {
            let mut changed = hello.clone();
            changed[at] ^= 1 << (at % 8);
            say(address, &changed);
        }
    };
    let ((), errors) = accept(TlsAcceptor::new(server), count, send, nobody);
    assert_eq!(errors.len(), count);
}

#[test]
fn a_record_that_is_too_long_is_refused_before_it_has_come() {
    let (server, _client) = localhost();
    // A handshake record of 65,535 octets, of which five come: more is not waited for (RFC 8446 §5.2).
    let send = |address| {
        let mut socket = Socket::connect(address).unwrap();
        socket.write_all(b"\x16\x03\x01\xff\xff\x01\0\0\0\0").unwrap();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        answer
    };
    let (answer, errors) = accept(TlsAcceptor::new(server), 1, send, nobody);
    assert_eq!(errors[0].kind(), io::ErrorKind::InvalidData, "{}", errors[0]);
    assert!(answer.is_empty() || answer[0] == 21, "an alert: {answer:?}");
}

#[test]
fn a_message_without_end_is_refused_at_64_kib() {
    let (server, _client) = localhost();
    let send = |address| {
        let mut socket = Socket::connect(address).unwrap();
        // A hello that says it has 16 MiB, in records of 16 KiB.
        let mut record = vec![0x16, 3, 1, 0x40, 0];
        record.resize(5 + 0x4000, 0);
        let mut first = record.clone();
        first[5..9].copy_from_slice(&[1, 0xff, 0xff, 0xff]);
        let mut sent = 0;
        for piece in std::iter::once(first).chain(std::iter::repeat_n(record, 1000)) {
            match socket.write_all(&piece) {
                Ok(()) => sent += piece.len(),
                Err(_closed) => break,
            }
        }
        sent
    };
    let (sent, errors) = accept(TlsAcceptor::new(server), 1, send, nobody);
    assert_eq!(errors[0].kind(), io::ErrorKind::InvalidData, "{}", errors[0]);
    assert!(sent < 16 << 20, "{sent} bytes were taken");
}

#[test]
fn noise_after_the_handshake_is_an_error_behind_what_came_before() {
    let (server, client) = localhost();
    let (server, client) = (TlsAcceptor::new(server), std::sync::Arc::new(client));
    let noises: Vec<Vec<u8>> = vec![
        // Sealed by nobody; longer than a record may be; a type that there is not; cleartext.
        [&[0x17, 3, 3, 0, 40][..], &[9; 40]].concat(),
        [&[0x17, 3, 3, 0x50, 0][..], &[9; 40]].concat(),
        b"\x2a\x03\x03\0\x05hello".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        // A handshake message in the clear: renegotiation, or what was that in TLS 1.2 (RFC 8446 §4.1.2).
        b"\x16\x03\x03\0\x04\0\0\0\0".to_vec(),
    ];
    let count = noises.len();
    let send = move |address| {
        for noise in &noises {
            let mut client = Foreign::connect(address, client.clone());
            client.shake();
            client.send(b"sound");
            client.socket.write_all(noise).unwrap();
            let _ = client.socket.shutdown(Shutdown::Write);
            let _ = client.socket.read_to_end(&mut Vec::new());
        }
    };
    let ((), errors) = accept(server, count, send, async |mut stream: TlsStream| {
        let mut text = [0; 5];
        stream.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"sound");
        for _again in 0..2 {
            let error = stream.read(&mut [0; 8]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        }
        stream.write(b"in vain").await.unwrap_err();
        // The alert goes out with the last word.
        let _ = stream.shutdown().await;
    });
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn renegotiation_in_tls_1_2_is_not_taken_up() {
    let (server, _client) = localhost();
    let authority = identity::Authority::new();
    drop(server);
    let server = TlsAcceptor::new(authority.identity(&["localhost"]).server());
    let client = authority.client_of(&rustls::version::TLS12);
    let send = move |address| {
        let mut client = Foreign::connect(address, client);
        client.shake();
        client.send(b"sound");
        // rustls asks for no renegotiation, so it is another's hello, in the clear: the server expects it sealed.
        let again = hello();
        client.socket.write_all(&again).unwrap();
        let _ = client.socket.read_to_end(&mut Vec::new());
    };
    let ((), errors) = accept(server, 1, send, async |mut stream: TlsStream| {
        let mut text = BytesMut::new();
        while text.len() < 5 {
            stream.read_buf(&mut text).await.unwrap();
        }
        stream.read_buf(&mut text).await.unwrap_err();
        let _ = stream.shutdown().await;
    });
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn a_flood_of_handshakes_that_do_not_end_holds_a_bounded_number() {
    const FLOOD: usize = 200;
    const PLACES: usize = 8;
    let (server, client) = localhost();
    let acceptor = TlsAcceptor::new(server).handshakes(PLACES);
    let (metrics, most): (TlsMetrics, usize) = wakering::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let tls = wakering::tls::TlsListener::new(listener, acceptor.clone());
        let flooding = wakering::spawn_blocking(move || {
            let hello = hello();
            let sockets: Vec<Socket> = (0..FLOOD)
                .map(|_| {
                    let mut socket = Socket::connect(address).unwrap();
                    socket.write_all(&hello[..hello.len() / 2]).unwrap();
                    socket
                })
                .collect();
            sockets
        });
        let mut flood = flooding.unwrap();
        let mut accepting = std::pin::pin!(tls.accept());
        let mut most = 0;
        // The listener works while the flood comes.
        let sockets = std::future::poll_fn(|context| {
            assert!(accepting.as_mut().poll(context).is_pending());
            most = most.max(acceptor.metrics().under_way);
            std::pin::Pin::new(&mut flood).poll(context)
        })
        .await
        .unwrap();
        // Those of the flood leave; who means it is served then.
        drop(sockets);
        let honest = wakering::spawn_blocking(move || {
            let mut client = Foreign::connect(address, client);
            client.shake();
            client.read_to_end().unwrap()
        });
        let (mut stream, _peer) = timeout(PATIENCE, accepting).await.expect("a place").unwrap();
        most = most.max(acceptor.metrics().under_way);
        stream.write_all(b"served").await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(honest.unwrap().await.unwrap(), b"served");
        (acceptor.metrics(), most)
    })
    .unwrap();
    assert!(most <= PLACES, "{most} at a time");
    assert_eq!(metrics.finished, 1);
}
