//! What a client is told of HTTP/1.1.

use super::{handle::Builder, pool::ClientBuilder};
use crate::http::core::Choice;

impl Builder {
    /// Speaks HTTP/1.1 in cleartext, where HTTP/2 with prior knowledge is spoken otherwise. Over TLS the server chooses, as
    /// ever: both are offered by ALPN.
    ///
    /// A connection of HTTP/1.1 carries one request at a time, and a [`Client`](super::Client) opens several. Requests and
    /// responses look as those of HTTP/2 do, but for their version, and what HTTP/2 has no words for: an `upgrade` field asks
    /// for another protocol, and a response's 101 makes of its body and the request's a
    /// [`Tunnel`](crate::http::Tunnel); `connection: close` asks for the end of the connection. Of
    /// [`Config`](crate::http::Config) the deadlines hold, and the bounds of heads and memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use wakering::{http::{Body, Http1, Request, Response, Server, client}, net::TcpListener};
    ///
    /// wakering::run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?;
    ///     let address = listener.local_addr()?;
    ///     let echo = |request: Request<Body>| async { Response::new(request.into_body()) };
    ///     let _server = Server::builder().http1(Http1::default()).start(listener, echo)?;
    ///
    ///     let mut connection = client::builder().http1_in_cleartext().connect(address).await?;
    ///     let request = Request::post(format!("http://{address}/")).body("Hello, World!".into())?;
    ///     let response = connection.send(request).await?;
    ///     assert_eq!(format!("{:?}", response.version()), "HTTP/1.1");
    ///     assert_eq!(response.into_body().collect(100).await?, "Hello, World!");
    ///     Ok::<(), Box<dyn std::error::Error>>(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn http1_in_cleartext(mut self) -> Builder {
        self.choice = Choice::OlderInCleartext;
        self
    }

    /// Speaks HTTP/1.1 and nothing else: in cleartext, and over TLS by offering nothing else, unless the configuration names
    /// what is offered. See [`http1_in_cleartext`](Builder::http1_in_cleartext).
    #[must_use]
    pub fn http1_only(mut self) -> Builder {
        self.choice = Choice::Older;
        self
    }
}

impl ClientBuilder {
    /// Speaks HTTP/1.1 for targets with the scheme `http`, where HTTP/2 with prior knowledge is spoken otherwise; for `https`
    /// the server chooses. See [`Builder::http1_in_cleartext`].
    ///
    /// # Examples
    ///
    /// ```
    /// use wakering::{http::{Body, Http1, Request, Response, Server, client::Client}, net::TcpListener};
    ///
    /// wakering::run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?;
    ///     let address = listener.local_addr()?;
    ///     let hello = |_: Request<Body>| async { Response::new("Hello, World!".into()) };
    ///     let _server = Server::builder().http1(Http1::default()).start(listener, hello)?;
    ///
    ///     let client = Client::builder().http1_in_cleartext().build();
    ///     for _ in 0..2 {
    ///         let response = client.get(format!("http://{address}/")).await?;
    ///         assert_eq!(response.into_body().collect(100).await?, "Hello, World!");
    ///     }
    ///     assert_eq!(client.connections(), 1);
    ///     Ok::<(), Box<dyn std::error::Error>>(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn http1_in_cleartext(mut self) -> Self {
        self.settings.builder = self.settings.builder.http1_in_cleartext();
        self
    }

    /// Speaks HTTP/1.1 and nothing else; see [`Builder::http1_only`].
    #[must_use]
    pub fn http1_only(mut self) -> Self {
        self.settings.builder = self.settings.builder.http1_only();
        self
    }
}
