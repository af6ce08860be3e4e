//! What answers requests.

use std::{fmt, future::Future};

use ::http::{Request, Response};

use crate::http::{body::Body, place::Place};

/// Answers requests.
///
/// Any `Fn(Request<Body>) -> impl Future<Output = Response<Body>>` is one, and [`with_place`] makes one of a
/// function that wants to know its connection too. It stays on the worker that it was made on and need not be
/// `Send`, and neither need its futures.
///
/// A future is dropped when its stream ends before it does: the peer reset it, or the connection closed. A
/// panic ends its stream with INTERNAL_ERROR and nothing else.
pub trait Handler: 'static {
    /// What answers one request.
    type Future: Future<Output = Response<Body>> + 'static;

    /// Starts to answer; `place` is where the request came from.
    fn call(&self, request: Request<Body>, place: &Place) -> Self::Future;
}

impl<H, F> Handler for H
where
    H: Fn(Request<Body>) -> F + 'static,
    F: Future<Output = Response<Body>> + 'static,
{
    type Future = F;

    #[inline]
    fn call(&self, request: Request<Body>, _place: &Place) -> F {
        self(request)
    }
}

/// Makes a handler of a function that takes the [`Place`] of each request, too.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use wakering::{http::{Body, Place, Request, Response, Server, with_place}, net::TcpListener};
///
/// wakering::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let server = Server::start(listener, with_place(|_: Request<Body>, place: Place| async move {
///         Response::new(Body::from(format!("request {:?} of {}", place.stream_id(), place.peer_addr())))
///     }))?;
///     server.stop(Duration::ZERO).await;
///     Ok::<(), std::io::Error>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn with_place<H, F>(handler: H) -> WithPlace<H>
where
    H: Fn(Request<Body>, Place) -> F + 'static,
    F: Future<Output = Response<Body>> + 'static,
{
    WithPlace { handler }
}

/// The handler that [`with_place`] makes.
#[derive(Clone)]
pub struct WithPlace<H> {
    handler: H,
}

impl<H, F> Handler for WithPlace<H>
where
    H: Fn(Request<Body>, Place) -> F + 'static,
    F: Future<Output = Response<Body>> + 'static,
{
    type Future = F;

    fn call(&self, request: Request<Body>, place: &Place) -> F {
        (self.handler)(request, place.clone())
    }
}

impl<H> fmt::Debug for WithPlace<H> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("WithPlace").finish_non_exhaustive()
    }
}
