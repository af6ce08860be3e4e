//! The setting of a server that speaks HTTP/1, too.

use std::sync::Arc;

use crate::{
    http::{core::Older, server::Builder},
    proto::h1::Http1,
};

impl Builder {
    /// Serves HTTP/1.0 and 1.1 on the same port, too: a connection that does not begin with HTTP/2's preface is read as
    /// such. The handler is the same; deadlines and the bounds of heads are those of [`http2`](Builder::http2).
    ///
    /// Requests look as HTTP/2's do: the target has scheme and authority, from the `host` field. What only HTTP/1 has is
    /// there too: `upgrade` is answered with a 101 whose body is a [`Tunnel`](crate::http::Tunnel)'s, and a response's
    /// `connection: close` is obeyed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use wakering::{http::{Body, Http1, Request, Response, Server}, net::TcpListener};
    ///
    /// wakering::run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?;
    ///     let server = Server::builder().http1(Http1::default()).start(listener, |request: Request<Body>| async move {
    ///         Response::new(Body::from(format!("{:?}", request.version())))
    ///     })?;
    ///     server.stop(Duration::ZERO).await;
    ///     Ok::<(), std::io::Error>(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn http1(mut self, settings: impl Into<Arc<Http1>>) -> Self {
        self.older = Older::spoken(settings.into());
        self
    }
}
