//! What answers requests.

use std::{fmt, future::Future, mem};

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

/// Makes a response to `request` whose fields take over the memory of the request's, which are gone then.
///
/// For servers that count: a response of its own, with a field in it, costs two allocations, and what the request's
/// fields lay in is freed in the same moment. The status is 200.
///
/// # Examples
///
/// ```
/// use wakering::http::{self, Body, HeaderValue, Request, Response, header};
///
/// async fn hello(mut request: Request<Body>) -> Response<Body> {
///     let mut response = http::response_to(&mut request, "Hello, World!");
///     response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
///     response
/// }
/// # let request = Request::get("http://a/").header("accept", "*/*").body(Body::empty()).expect("a request");
/// # let response = wakering::run(hello(request)).expect("a runtime");
/// # assert_eq!(response.headers().len(), 1);
/// ```
#[inline]
pub fn response_to<B>(request: &mut Request<B>, body: impl Into<Body>) -> Response<Body> {
    let mut headers = mem::take(request.headers_mut());
    headers.clear();
    let mut response = Response::new(body.into());
    *response.headers_mut() = headers;
    response
}
