//! What the user sees of TLS here: where it is switched on, and what a handler learns of it.

use crate::{
    http::{client, place::Place, secure, server::Builder, transport::Transport},
    net::Addresses,
    tls::{TlsAcceptor, TlsConnector, TlsInfo},
};

impl Builder {
    /// Speaks TLS with every client, by a configuration of rustls or an acceptor that was made of one.
    ///
    /// The protocol is agreed on by ALPN: `h2` is offered unless the configuration names protocols, and with HTTP/1 switched
    /// on `http/1.1` and `http/1.0`, too. A client that does not use ALPN is served if it speaks one of them. A client that speaks cleartext is told 400 in HTTP/1.1.
    ///
    /// Keep a clone of the acceptor to give it other certificates later ([`TlsAcceptor::replace`]), and to read how
    /// handshakes go ([`TlsAcceptor::metrics`]): connections count among those of the server from the handshake on, but
    /// hooks and metrics of the server know only those that have shaken hands.
    ///
    /// RFC 9113 §9.2 asks for TLS 1.2 or newer, without compression, renegotiation and the cipher suites of its appendix A.
    /// rustls has none of these: its suites of TLS 1.2 are all ephemeral and authenticated, which none of the prohibited ones
    /// is both of.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "tls-ring")] {
    /// use wakering::{
    ///     http::{Body, Request, Response, Server, client::Client},
    ///     net::TcpListener,
    ///     tls::{TlsAcceptor, rustls},
    /// };
    ///
    /// # let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    /// # let certificate = made.cert.der().clone();
    /// # let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.key_pair.serialize_der().into());
    /// let config = rustls::ServerConfig::builder()
    ///     .with_no_client_auth()
    ///     .with_single_cert(vec![certificate.clone()], key)?;
    /// let mut roots = rustls::RootCertStore::empty();
    /// roots.add(certificate)?;
    /// let trust = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    ///
    /// wakering::run(async move {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?;
    ///     let port = listener.local_addr()?.port();
    ///     let handler = |_: Request<Body>| async { Response::new(Body::from("Hello, World!")) };
    ///     let _server = Server::builder().tls(TlsAcceptor::new(config)).start(listener, handler)?;
    ///
    ///     let client = Client::builder().tls(trust).resolve("localhost", vec![([127, 0, 0, 1], port).into()]).build();
    ///     let response = client.get(format!("https://localhost:{port}/")).await?;
    ///     assert_eq!(response.into_body().collect(100).await?, "Hello, World!");
    ///     Ok::<(), Box<dyn std::error::Error>>(())
    /// })??;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn tls(mut self, acceptor: impl Into<TlsAcceptor>) -> Self {
        self.tls = Some(secure::Security::new(acceptor.into()));
        self
    }
}

impl client::Builder {
    /// Shakes hands as `connector` does where TLS is asked for: in [`connect_tls`](client::Builder::connect_tls), and in a
    /// pool for targets with the scheme `https`.
    ///
    /// `h2` is offered by ALPN unless the configuration names protocols, and `http/1.1` with the feature `http1`: the server
    /// chooses. One that chooses nothing is spoken to in HTTP/1.1 if that was offered, and otherwise not at all.
    #[must_use]
    pub fn tls(mut self, connector: impl Into<TlsConnector>) -> Self {
        self.tls = Some(secure::ClientSecurity::new(connector.into()));
        self
    }

    /// Connects to the first of `addresses` that answers, shakes hands with it as `host`, and speaks what it
    /// chooses.
    ///
    /// # Errors
    ///
    /// As [`connect`](client::Builder::connect), the handshake's included; [`Kind::Misuse`](client::Kind::Misuse) without
    /// [`tls`](client::Builder::tls).
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    ///
    /// # Cancellation
    ///
    /// The attempt ends and its socket is closed.
    pub async fn connect_tls(
        &self,
        host: &str,
        addresses: impl Addresses,
    ) -> Result<client::SendRequest, client::Error> {
        self.connect_to(addresses, Some(host)).await
    }
}

impl client::ClientBuilder {
    /// Speaks TLS for targets with the scheme `https`: what is trusted, and what the client shows itself, the configuration
    /// says. Without it such targets are refused. See [`Builder::tls`](client::Builder::tls).
    #[must_use]
    pub fn tls(mut self, connector: impl Into<TlsConnector>) -> Self {
        self.settings.builder = self.settings.builder.tls(connector);
        self
    }
}

impl Place {
    /// What the TLS handshake of the connection has agreed on, and the client's certificates; `None` in cleartext, and when
    /// the connection is closed.
    #[must_use]
    pub fn tls(&self) -> Option<TlsInfo> {
        match self.wire.stream.borrow().as_ref()? {
            Transport::Tcp(_cleartext) => None,
            Transport::Tls(layer) => Some(layer.info()),
        }
    }
}
