//! Both directions of a stream as one: what CONNECT opens.

use std::{
    fmt,
    future::poll_fn,
    task::{Context, Poll},
};

use ::http::Response;
use bytes::Bytes;

use crate::{
    http::body::{Body, BodyError, Frame, Sender, Unwanted},
    proto::h2::Reason,
};

/// A tunnel through one stream: bytes both ways, each direction with its own end (RFC 9113 §8.5, RFC 8441).
///
/// A server [accepts](Tunnel::accept) one in answer to a CONNECT request; a client makes one [of](Tunnel::new) the
/// content of a successful response and the [`Sender`] of its request's. With the feature `futures-io` it has that
/// crate's `AsyncRead` and `AsyncWrite`.
///
/// Back-pressure reaches through it: what is not received holds the peer's window closed, and at most about
/// 64 KiB are taken ahead of what the peer reads.
///
/// # Ends
///
/// [`close`](Tunnel::close) ends our direction (END_STREAM) and leaves the other one open; the peer's end is a `None`
/// from [`receive`](Tunnel::receive), after which one may still send. Dropping a tunnel whose own direction was not
/// closed resets the stream with CANCEL, so that nobody takes a part for the whole; [`reset`](Tunnel::reset) says
/// another reason. A stream that the peer resets is an error in both directions.
///
/// # Examples
///
/// A handler that opens a tunnel and sends back what comes:
///
/// ```
/// use wakering::http::{Body, Method, Request, Response, StatusCode, Tunnel};
///
/// async fn connect(request: Request<Body>) -> Response<Body> {
///     if request.method() != Method::CONNECT {
///         let mut refusal = Response::new(Body::empty());
///         *refusal.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
///         return refusal;
///     }
///     let (mut tunnel, response) = Tunnel::accept(request.into_body());
///     wakering::spawn(async move {
///         while let Some(Ok(bytes)) = tunnel.receive().await {
///             if tunnel.send(bytes).await.is_err() {
///                 return;
///             }
///         }
///         tunnel.close();
///     });
///     response
/// }
/// # let _handler = connect;
/// ```
pub struct Tunnel {
    incoming: Body,
    /// Until it is closed.
    pub(super) outgoing: Option<Sender>,
    /// What was received and only partly read.
    pub(super) rest: Bytes,
}

impl Tunnel {
    /// Accepts a tunnel (server): `incoming` is the content of the CONNECT request, and the handler answers with the
    /// response, to which it may add fields.
    ///
    /// The tunnel opens when the handler returns; work with it in a task of its own.
    #[must_use]
    pub fn accept(incoming: Body) -> (Tunnel, Response<Body>) {
        let (outgoing, body) = Body::channel();
        (Tunnel::new(incoming, outgoing), Response::new(body))
    }

    /// Joins two directions: what the peer sends, and what is sent to it.
    #[must_use]
    pub fn new(mut incoming: Body, outgoing: Sender) -> Tunnel {
        incoming.open_tunnel();
        Tunnel { incoming, outgoing: Some(outgoing), rest: Bytes::new() }
    }

    /// What the peer sends next; `None` after its last.
    ///
    /// # Errors
    ///
    /// [`BodyError`]: the stream was reset, or the connection ended.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn receive(&mut self) -> Option<Result<Bytes, BodyError>> {
        poll_fn(|context| self.poll_receive(context)).await
    }

    /// Sends; waits while about 64 KiB are not yet taken.
    ///
    /// # Errors
    ///
    /// [`Unwanted`] when the stream is gone, or our direction was closed.
    ///
    /// # Cancellation
    ///
    /// Until it is ready nothing was sent.
    pub async fn send(&mut self, bytes: Bytes) -> Result<(), Unwanted> {
        match &mut self.outgoing {
            Some(outgoing) => outgoing.send(bytes).await,
            None => Err(Unwanted),
        }
    }

    /// Ends our direction behind what was sent; the peer may go on.
    pub fn close(&mut self) {
        if let Some(outgoing) = self.outgoing.take() {
            outgoing.finish();
        }
    }

    /// Ends both directions at once; CONNECT_ERROR says that what is behind the tunnel has failed (RFC 9113 §8.5).
    pub fn reset(mut self, reason: Reason) {
        if let Some(outgoing) = self.outgoing.take() {
            outgoing.reset(reason);
        }
    }

    /// Waits for what the peer sends next.
    pub(super) fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BodyError>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.rest))));
        }
        loop {
            match std::task::ready!(self.incoming.poll_frame(context)) {
                Some(Ok(Frame::Data(bytes))) if bytes.is_empty() => {}
                Some(Ok(Frame::Data(bytes))) => return Poll::Ready(Some(Ok(bytes))),
                // A tunnel has none; a body that somebody else made may.
                Some(Ok(Frame::Trailers(_))) => {}
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        if let Some(outgoing) = self.outgoing.take() {
            outgoing.reset(Reason::CANCEL);
        }
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Tunnel")
            .field("incoming", &self.incoming)
            .field("outgoing", &self.outgoing)
            .finish()
    }
}
