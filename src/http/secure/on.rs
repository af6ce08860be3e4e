//! TLS around connections: what the rest of this module needs of it, and nothing else.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use ::http::Version;
use bytes::BytesMut;

use crate::{
    http::{core::Choice, transport::Transport},
    net::{TcpStream, part},
    tls::{Secured, TlsAcceptor, TlsConnector, TlsInfo},
    trace,
};

/// What a cleartext client is told that has come to the wrong port.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    content-type: text/plain\r\n\
    content-length: 48\r\n\
    connection: close\r\n\
    \r\n\
    This port speaks TLS only: ask it for https://.\n";

/// A connection with TLS on it.
#[derive(Debug)]
pub(crate) struct Layer(Rc<Secured<TcpStream>>);

impl Layer {
    pub(crate) fn stream(&self) -> &TcpStream {
        self.0.stream()
    }

    pub(crate) fn info(&self) -> TlsInfo {
        self.0.info()
    }

    /// Which version of HTTP ALPN has agreed on.
    pub(crate) fn agreed(&self) -> Option<Version> {
        match self.info().alpn() {
            Some(b"h2") => Some(Version::HTTP_2),
            Some(b"http/1.1") => Some(Version::HTTP_11),
            Some(b"http/1.0") => Some(Version::HTTP_10),
            Some(_) | None => None,
        }
    }

    pub(crate) fn poll_read_buf(
        &self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        self.0.poll_read_buf(context, buffer)
    }

    pub(crate) fn try_read_buf(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        or_would_block(self.0.poll_read_now(&mut nobody(), buffer))
    }

    pub(crate) fn poll_write_vectored(
        &self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write_vectored(context, slices)
    }

    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        or_would_block(self.0.poll_write_vectored(&mut nobody(), &[IoSlice::new(bytes)]))
    }

    pub(crate) fn holds_output(&self) -> bool {
        self.0.holds_output()
    }

    pub(crate) fn held(&self) -> usize {
        self.0.held()
    }

    pub(crate) fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(context)
    }

    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        or_would_block(self.0.poll_close(&mut nobody()))
    }
}

/// For what is tried once: nobody waits.
fn nobody() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn or_would_block<T>(outcome: Poll<io::Result<T>>) -> io::Result<T> {
    match outcome {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// A server's side of TLS.
#[derive(Clone, Debug)]
pub(crate) struct Security(TlsAcceptor);

impl Security {
    pub(super) fn new(acceptor: TlsAcceptor) -> Security {
        Security(acceptor)
    }

    /// As it is, offering these protocols by ALPN where the user's configuration offers none.
    pub(crate) fn offering(&self, protocols: &[&[u8]]) -> Security {
        Security(self.0.clone().offering(protocols))
    }

    /// Shakes hands; `None` if nothing comes of it, which the client has been told.
    pub(crate) async fn shake(&self, stream: TcpStream, peer: SocketAddr) -> Option<Transport> {
        match self.0.shake(stream).await {
            Ok(stream) => Some(Transport::Tls(Layer(stream.into_secured()))),
            Err(refused) => {
                trace::handshake_failed(&peer, &refused.error);
                if let Some(stream) = refused.stream {
                    // A fresh socket takes a few hundred bytes at once.
                    let _ = stream.try_write(NOT_TLS);
                    part(&stream).await;
                }
                None
            }
        }
    }
}

/// A client's side of TLS.
#[derive(Clone, Debug)]
pub(crate) struct ClientSecurity {
    /// Offers all that is spoken, by the names that ALPN has for it (RFC 9113 §3.2).
    newest: TlsConnector,
    /// Offers HTTP/1.1 alone.
    older: TlsConnector,
}

impl ClientSecurity {
    pub(super) fn new(connector: TlsConnector) -> ClientSecurity {
        ClientSecurity {
            older: connector.clone().offering(Choice::OFFERED_OLDER),
            newest: connector.offering(Choice::OFFERED),
        }
    }

    /// Shakes hands with a host, and agrees with it on what is spoken.
    pub(crate) async fn secure(
        &self,
        host: &str,
        stream: TcpStream,
        choice: Choice,
    ) -> io::Result<(Transport, Version)> {
        let connector = if choice.is_older() { &self.older } else { &self.newest };
        let stream = connector.connect(host, stream).await?;
        let layer = Layer(stream.into_secured());
        let info = layer.info();
        let chosen = info.alpn();
        if let Some(version) = choice.over_tls(chosen, |protocol| connector.offers(protocol)) {
            return Ok((Transport::Tls(layer), version));
        }
        // In good order: it has done nothing wrong.
        let _ = layer.shutdown_write();
        let chosen = chosen.map_or("nothing".into(), String::from_utf8_lossy);
        let offered = connector.offered();
        let text = format!("{host} does not speak HTTP/2: offered {offered} by ALPN, it chose {chosen}");
        Err(io::Error::new(io::ErrorKind::Unsupported, text))
    }
}

#[cfg(test)]
mod tests {
    use super::NOT_TLS;

    #[test]
    fn the_answer_to_cleartext_has_the_length_that_it_says() {
        let text = std::str::from_utf8(NOT_TLS).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{} bytes", body.len());
    }
}

#[cfg(all(test, feature = "tls-ring"))]
mod held {
    use std::{future::poll_fn, io, io::IoSlice, task::Poll};

    use rustls::{ClientConfig, RootCertStore, ServerConfig, pki_types::PrivateKeyDer};

    use super::{Layer, Transport};
    use crate::{
        net::{TcpListener, TcpStream},
        tls::{TlsAcceptor, TlsConnector, TlsStream},
        worker,
    };

    /// Two ends that have shaken hands: the server's, the client's.
    async fn pair() -> io::Result<(TlsStream, TlsStream)> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let (certificate, key) = (made.cert.der().clone(), made.key_pair.serialize_der());
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).expect("a root");
        let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let server = ServerConfig::builder().with_no_client_auth();
        let server = server.with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(key.into()));
        let acceptor = TlsAcceptor::new(server.expect("a key of the certificate"));
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let server = worker::spawn(async move { acceptor.accept(listener.accept().await?.0).await });
        let client =
            TlsConnector::new(client).connect("localhost", TcpStream::connect(address).await?).await?;
        Ok((server.await.expect("it ends")?, client))
    }

    #[test]
    fn what_the_socket_has_not_taken_is_told_until_it_has() {
        worker::run(async {
            let (server, mut client) = pair().await.unwrap();
            let transport = Transport::Tls(Layer(server.into_secured()));
            assert_eq!(transport.held(), Some(0));
            poll_fn(|context| {
                while let Poll::Ready(written) =
                    transport.poll_write_vectored(context, &[IoSlice::new(&[7; 65_536])])
                {
                    written.unwrap();
                }
                Poll::Ready(())
            })
            .await;
            let mut held = transport.held().unwrap();
            assert!(held > 0, "the socket is full");
            let mut piece = vec![0; 65_536];
            while held > 0 {
                assert!(client.read(&mut piece).await.unwrap() > 0);
                let _waits = poll_fn(|context| Poll::Ready(transport.poll_flush(context))).await;
                let left = transport.held().unwrap();
                assert!(left <= held, "{left} after {held}");
                held = left;
            }
            assert!(!transport.holds_output());
        })
        .unwrap();
    }
}
