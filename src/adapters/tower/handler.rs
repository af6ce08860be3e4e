//! A service as a handler.

use std::{
    cell::RefCell,
    error::Error,
    fmt,
    future::{Future, poll_fn},
    mem,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use tower_service::Service;

use crate::{
    adapters::tower::{BoxError, SendBody, foreign},
    http::{Body, Handler, Place, Request, Response, StatusCode},
    task::Beside,
};

/// Serves requests by a `tower::Service<Request<Body>>`.
///
/// The service stays on its worker, and neither it nor its futures need be `Send`. It is made ready and called as tower
/// asks for; one that is not ready is waited for in the request's place, while a clone takes the next request. A failure
/// is answered 500 without content, and told to [`on_error`](ServiceHandler::on_error).
///
/// Content whose length is known and which comes in one piece is sent with its head; other content is asked for more when
/// the peer has taken what there was.
///
/// # Examples
///
/// ```
/// use std::{convert::Infallible, time::Duration};
/// use tower::service_fn;
/// use wakering::{
///     adapters::tower::handler,
///     http::{Body, Request, Response, Server},
///     net::TcpListener,
/// };
///
/// wakering::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let service = service_fn(|request: Request<Body>| async move {
///         Ok::<_, Infallible>(Response::new(request.into_body()))
///     });
///     let server = Server::start(listener, handler(service))?;
///     server.stop(Duration::ZERO).await;
///     Ok::<(), std::io::Error>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn handler<S: Service<Request<Body>>>(service: S) -> ServiceHandler<S, Body> {
    ServiceHandler::new(service)
}

/// Serves requests by a service whose bounds ask for `Send`: an axum router, tonic's routes.
///
/// It is polled on its worker all the same. What its futures wait for on the way must be `Send` too, which
/// [`stay_here`](crate::adapters::stay_here) makes of sockets and timers of this crate. What needs tokio's runtime does not work
/// here: `tokio::spawn`, tokio's timers and sockets.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use axum::{Router, routing::get};
/// use wakering::{
///     adapters::{stay_here, tower::send_handler},
///     http::Server,
///     net::TcpListener,
///     time::sleep,
/// };
///
/// async fn slow() -> &'static str {
///     stay_here(sleep(Duration::from_millis(1))).await;
///     "Hello, World!"
/// }
///
/// wakering::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let router = Router::new().route("/", get(slow));
///     let server = Server::start(listener, send_handler(router))?;
///     server.stop(Duration::ZERO).await;
///     Ok::<(), std::io::Error>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn send_handler<S: Service<Request<SendBody>>>(service: S) -> ServiceHandler<S, SendBody> {
    ServiceHandler::new(service)
}

/// The handler that [`handler`] and [`send_handler`] make.
pub struct ServiceHandler<S, B = Body> {
    service: RefCell<S>,
    prepare: Option<Prepare<B>>,
    failed: Option<Failed>,
}

type Prepare<B> = Box<dyn Fn(&mut Request<B>, &Place)>;
type Failed = Rc<dyn Fn(&(dyn Error + 'static))>;

impl<S, B> ServiceHandler<S, B> {
    fn new(service: S) -> Self {
        ServiceHandler { service: RefCell::new(service), prepare: None, failed: None }
    }

    /// Calls `prepare` with every request and its place before the service sees it: to hand on what the service would like
    /// to know of the connection, as an extension.
    ///
    /// # Examples
    ///
    /// The peer's address, for an extractor of axum; what is inserted as `axum::extract::ConnectInfo` is found by that.
    ///
    /// ```
    /// use std::net::SocketAddr;
    /// use axum::{Extension, Router, routing::get};
    /// use wakering::adapters::tower::send_handler;
    ///
    /// async fn who(Extension(peer): Extension<SocketAddr>) -> String {
    ///     peer.to_string()
    /// }
    ///
    /// let handler = send_handler(Router::new().route("/", get(who))).prepare(|request, place| {
    ///     request.extensions_mut().insert(place.peer_addr());
    /// });
    /// # drop(handler);
    /// ```
    #[must_use]
    pub fn prepare(mut self, prepare: impl Fn(&mut Request<B>, &Place) + 'static) -> Self {
        self.prepare = Some(Box::new(prepare));
        self
    }

    /// Calls `hook` with every error that the service fails with.
    #[must_use]
    pub fn on_error(mut self, hook: impl Fn(&(dyn Error + 'static)) + 'static) -> Self {
        self.failed = Some(Rc::new(hook));
        self
    }
}

impl<S, B, R> Handler for ServiceHandler<S, B>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + 'static,
    S::Error: Into<BoxError>,
    S::Future: 'static,
    B: From<Body> + 'static,
    R: http_body::Body + 'static,
    R::Error: Into<BoxError>,
{
    type Future = Answering<S::Future, Late<Response<R>, S::Error>>;

    fn call(&self, request: Request<Body>, place: &Place) -> Self::Future {
        let mut request = request.map(B::from);
        if let Some(prepare) = &self.prepare {
            prepare(&mut request, place);
        }
        let mut service = self.service.borrow_mut();
        let (called, late): (_, Option<LateFuture<_, _>>) =
            match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(())) => (Some(service.call(request)), None),
                Poll::Ready(Err(error)) => (None, Some(Box::pin(async { Err(error) }))),
                Poll::Pending => {
                    // The one that has begun to wait may hold a place in a line.
                    let fresh = service.clone();
                    let waiting = mem::replace(&mut *service, fresh);
                    (None, Some(Box::pin(when_ready(waiting, request))))
                }
            };
        Beside::new(called, Late { future: late, failed: self.failed.clone() })
    }
}

async fn when_ready<S: Service<T>, T>(mut service: S, request: T) -> Result<S::Response, S::Error> {
    poll_fn(|context| service.poll_ready(context)).await?;
    service.call(request).await
}

impl<S, B> fmt::Debug for ServiceHandler<S, B> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ServiceHandler").finish_non_exhaustive()
    }
}

/// A request on its way through a service: the service's future, where it lies as it was made.
pub type Answering<F, L> = Beside<Option<F>, L>;

/// What a request waits for while the service is not ready.
pub struct Late<R, E> {
    future: Option<LateFuture<R, E>>,
    failed: Option<Failed>,
}

type LateFuture<R, E> = Pin<Box<dyn Future<Output = Result<R, E>>>>;

impl<R, E> Late<R, E> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<R, E>> {
        let future = self.future.as_mut().expect("a service that was not called is waited for");
        future.as_mut().poll(context)
    }
}

impl<F, R, E> Future for Answering<F, Late<Response<R>, E>>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<BoxError>,
    R: http_body::Body + 'static,
    R::Error: Into<BoxError>,
{
    type Output = Response<Body>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response<Body>> {
        let (called, late) = self.project();
        let answer = match called.as_pin_mut() {
            Some(called) => ready!(called.poll(context)),
            None => ready!(late.poll(context)),
        };
        Poll::Ready(match answer {
            Ok(response) => response.map(|body| foreign::content(body, context)),
            Err(error) => {
                if let Some(failed) = &late.failed {
                    failed(&*error.into());
                }
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                response
            }
        })
    }
}

impl<R, E> fmt::Debug for Late<R, E> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Late").field("waits", &self.future.is_some()).finish_non_exhaustive()
    }
}
