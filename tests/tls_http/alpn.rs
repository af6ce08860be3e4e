//! What ALPN has agreed on is spoken, and nothing else (RFC 7301 §3.2, RFC 9113 §3.2).

use std::io::Write;

use wakering::{
    http::{
        self, Server,
        client::{self, Client, Kind},
    },
    net::TcpListener,
    time::timeout,
    tls::TlsAcceptor,
};

use super::{
    identity::{Foreign, PATIENCE, localhost},
    served_by,
};

/// What a server of both versions says to these octets, sealed behind the handshake that agreed on `protocol`, before it ends.
fn said_after(protocol: Option<&[u8]>, words: &'static [u8]) -> Vec<u8> {
    let (config, mut trusting) = localhost();
    trusting.alpn_protocols = protocol.map(<[u8]>::to_vec).into_iter().collect();
    served_by(Server::builder().http1(http::Http1::default()), config, move |address| {
        let mut client = Foreign::connect(address, trusting);
        client.shake();
        client.send(words);
        client.tls.send_close_notify();
        let end = client.outgoing();
        client.socket.write_all(&end).unwrap();
        client.read_to_end().expect("it is announced")
    })
    .0
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
/// Preface, SETTINGS, GOAWAY of a client.
const HTTP2: &[u8] =
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// The payload of the first GOAWAY among these frames.
fn goaway(mut frames: &[u8]) -> Option<&[u8]> {
    while let [a, b, c, kind, _flags, _, _, _, _, rest @ ..] = frames {
        let (payload, next) = rest.split_at_checked(u32::from_be_bytes([0, *a, *b, *c]) as usize)?;
        if *kind == 7 {
            return Some(payload);
        }
        frames = next;
    }
    None
}

#[test]
fn who_agreed_on_http2_and_speaks_http1_is_told_protocol_error() {
    for words in [GET, b"nothing of the kind, and no HTTP at all", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"] {
        let answer = said_after(Some(b"h2"), words);
        let error = goaway(&answer).map(|payload| payload[4..8].to_vec());
        assert_eq!(error, Some(vec![0, 0, 0, 1]), "{}: {}", words.escape_ascii(), answer.escape_ascii());
    }
}

#[test]
fn who_agreed_on_http1_and_speaks_http2_is_refused_in_http1() {
    for protocol in [&b"http/1.1"[..], b"http/1.0"] {
        let answer = said_after(Some(protocol), HTTP2);
        assert!(
            answer.starts_with(b"HTTP/1.1 505 ") || answer.starts_with(b"HTTP/1.1 400 "),
            "{}",
            answer.escape_ascii()
        );
    }
}

#[test]
fn what_was_agreed_on_is_spoken_and_without_a_word_either() {
    for protocol in [None, Some(&b"http/1.1"[..])] {
        let answer = said_after(protocol, GET);
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{protocol:?}: {}", answer.escape_ascii());
    }
    for protocol in [None, Some(&b"h2"[..])] {
        let answer = said_after(protocol, HTTP2);
        // SETTINGS.
        assert_eq!(answer.get(3), Some(&4), "{protocol:?}: {}", answer.escape_ascii());
    }
}

/// Our client's first word on a connection whose server agreed on this and says that, before it ends.
fn outcome_of(protocol: &'static [u8], words: &'static [u8]) -> client::Error {
    wakering::run(async {
        let (mut config, trusting) = localhost();
        config.alpn_protocols = vec![protocol.to_vec()];
        let (acceptor, listener) = (TlsAcceptor::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
        let address = listener.local_addr().unwrap();
        let served = wakering::spawn(async move {
            let mut stream = acceptor.accept(listener.accept().await?.0).await?;
            stream.read(&mut [0; 1024]).await?;
            stream.write_all(words).await?;
            stream.shutdown().await?;
            while stream.read(&mut [0; 1024]).await? > 0 {}
            Ok::<_, std::io::Error>(())
        });
        let client = Client::builder().tls(trusting).resolve("localhost", vec![address]).build();
        let asking = client.get(format!("https://localhost:{}/", address.port()));
        let error = timeout(PATIENCE, asking).await.expect("it is answered").unwrap_err();
        drop((client, served));
        error
    })
    .unwrap()
}

#[test]
fn our_client_holds_a_server_to_what_was_agreed_on() {
    let error = outcome_of(b"h2", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(error.kind(), Kind::Closed, "{error}");
    let error = outcome_of(b"http/1.1", b"\0\0\0\x04\0\0\0\0\0");
    assert_eq!(error.kind(), Kind::Closed, "{error}");
}
