//! tower's services behind `http::Server`, axum among them, and our client as a service (feature `tower`).
#![cfg(feature = "tower")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says why by panicking")]

#[path = "support/net.rs"]
mod support;

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    future::{Future, pending, poll_fn},
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::Duration,
};

use axum::{
    Extension, Json, Router,
    routing::{get, post},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody};
use support::{pattern, run};
use tower::{Service, ServiceExt, limit::ConcurrencyLimit, service_fn, util::BoxCloneService};
use wakering::{
    adapters::{
        stay_here,
        tower::{BoxError, SendBody, handler, send_handler},
    },
    http::{
        Body, BodyError, Handler, HeaderMap, HeaderValue, Method, Request, Response, Server, StatusCode,
        client::Client, header,
    },
    net::TcpListener,
    spawn,
    time::sleep,
};

/// A server with this handler, for as long as the runtime lasts.
fn serve(handler: impl Handler) -> SocketAddr {
    let listener = TcpListener::bind(support::LOOPBACK).unwrap();
    Server::start(listener, handler).unwrap().local_addr()
}

fn request(method: Method, address: SocketAddr, path: &str, body: impl Into<Body>) -> Request<Body> {
    let uri = format!("http://{address}{path}");
    Request::builder().method(method).uri(uri).body(body.into()).unwrap()
}

async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect(1 << 24).await.unwrap();
    String::from_utf8(bytes.into()).unwrap()
}

#[test]
fn an_axum_router_is_served_with_its_extractors() {
    run(async {
        let router = Router::new()
            .route(
                "/hello/{name}",
                get(|axum::extract::Path(name): axum::extract::Path<String>| async move { name }),
            )
            .route("/sum", post(|Json(all): Json<Vec<u32>>| async move { Json(all.iter().sum::<u32>()) }))
            .route("/peer", get(|Extension(peer): Extension<SocketAddr>| async move { peer.to_string() }))
            .route(
                "/late",
                get(|| async {
                    stay_here(sleep(Duration::from_millis(1))).await;
                    "late"
                }),
            )
            .route("/echo", post(|body: axum::body::Body| async { body }));
        let address = serve(send_handler(router).prepare(|request, place| {
            request.extensions_mut().insert(place.peer_addr());
        }));
        let client = Client::new();
        let hello = client.get(format!("http://{address}/hello/you")).await.unwrap();
        assert_eq!(hello.headers()[header::CONTENT_LENGTH], "3");
        assert_eq!(text(hello).await, "you");
        let mut sum = request(Method::POST, address, "/sum", "[1, 2, 39]");
        sum.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        assert_eq!(text(client.request(sum).await.unwrap()).await, "42");
        let peer = text(client.get(format!("http://{address}/peer")).await.unwrap()).await;
        assert_eq!(peer.parse::<SocketAddr>().unwrap().ip(), address.ip());
        assert_eq!(text(client.get(format!("http://{address}/late")).await.unwrap()).await, "late");
        let none = client.get(format!("http://{address}/none")).await.unwrap();
        assert_eq!(none.status(), StatusCode::NOT_FOUND);

        let long = pattern(1, 1_000_000);
        let echo = client.request(request(Method::POST, address, "/echo", long.clone())).await.unwrap();
        assert!(echo.into_body().collect(2_000_000).await.unwrap() == long);
        let head = client.request(request(Method::HEAD, address, "/hello/you", "")).await.unwrap();
        assert_eq!(head.headers()[header::CONTENT_LENGTH], "3");
        assert_eq!(text(head).await, "");
    });
}

#[test]
fn trailers_go_through_a_service_in_both_directions() {
    run(async {
        let collected = service_fn(|request: Request<SendBody>| async {
            let all = request.into_body().collect().await.unwrap();
            let trailers = all.trailers().cloned().unwrap_or_default();
            let body = Full::new(all.to_bytes()).with_trailers(async move { Some(Ok(trailers)) });
            Ok::<_, Infallible>(Response::new(body))
        });
        let address = serve(send_handler(collected));
        let (mut sender, body) = Body::channel();
        let call = Client::new().request(request(Method::POST, address, "/", body));
        let call = spawn(async { call.await.unwrap() });
        sender.send("words".into()).await.unwrap();
        sender.finish_with(HeaderMap::from_iter([(header::ETAG, HeaderValue::from_static("x"))])).unwrap();
        let all = BodyExt::collect(call.await.unwrap().into_body()).await.unwrap();
        assert_eq!(all.trailers().unwrap()[header::ETAG], "x");
        assert_eq!(all.to_bytes(), "words");
    });
}

#[test]
fn content_of_our_own_comes_through_a_service_as_it_is() {
    run(async {
        let local = serve(handler(service_fn(|request: Request<Body>| async {
            Ok::<_, Infallible>(Response::new(request.into_body()))
        })));
        let send = serve(send_handler(service_fn(|request: Request<SendBody>| async {
            Ok::<_, Infallible>(Response::new(request.into_body()))
        })));
        let long = pattern(2, 500_000);
        for address in [local, send] {
            let echo =
                Client::new().request(request(Method::POST, address, "/", long.clone())).await.unwrap();
            assert!(echo.into_body().collect(1 << 20).await.unwrap() == long);
        }
    });
}

#[test]
fn content_in_several_pieces_or_of_no_known_length_is_streamed_and_a_failure_resets_it() {
    run(async {
        let pieces = |path: String| {
            let last: Result<&[u8], BoxError> =
                if path == "/fails" { Err("no more".into()) } else { Ok(b" and more") };
            let pieces = [Ok(&b"one"[..]), last];
            let frames = pieces.map(|piece| piece.map(|it| hyper::body::Frame::data(Bytes::from_static(it))));
            StreamBody::new(futures_util::stream::iter(frames))
        };
        let address = serve(handler(service_fn(move |request: Request<Body>| {
            let response = Response::new(pieces(request.uri().path().to_owned()));
            async { Ok::<_, Infallible>(response) }
        })));
        let client = Client::new();
        let whole = client.get(format!("http://{address}/")).await.unwrap();
        assert!(!whole.headers().contains_key(header::CONTENT_LENGTH));
        assert_eq!(text(whole).await, "one and more");
        let failed = client.get(format!("http://{address}/fails")).await.unwrap();
        let error = failed.into_body().collect(100).await.unwrap_err();
        assert!(matches!(error, BodyError::Reset(_)), "{error}");
    });
}

#[test]
fn a_service_that_fails_is_answered_500_and_told_to_the_hook() {
    run(async {
        let told = Rc::new(RefCell::new(Vec::new()));
        let seen = told.clone();
        let failing = service_fn(|_: Request<Body>| async { Err::<Response<Body>, _>("it broke") });
        let failing = handler(failing.map_err(BoxError::from));
        let address = serve(failing.on_error(move |error| seen.borrow_mut().push(error.to_string())));
        let answer = Client::new().get(format!("http://{address}/")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(text(answer).await, "");
        assert_eq!(*told.borrow(), ["it broke"]);
    });
}

/// Is never ready.
#[derive(Clone)]
struct Broken;

impl Service<Request<Body>> for Broken {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = std::future::Pending<Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Err("it will never be ready".into()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        pending()
    }
}

#[test]
fn a_service_that_cannot_become_ready_is_answered_500() {
    run(async {
        let address = serve(handler(Broken));
        let answer = Client::new().get(format!("http://{address}/")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    });
}

#[test]
fn requests_wait_for_a_service_that_takes_one_at_a_time() {
    run(async {
        let (now, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (inside, seen) = (now.clone(), most.clone());
        let one = service_fn(move |_: Request<Body>| {
            let (inside, seen) = (inside.clone(), seen.clone());
            async move {
                inside.set(inside.get() + 1);
                seen.set(inside.get().max(seen.get()));
                for _ in 0..5 {
                    wakering::yield_now().await;
                }
                inside.set(inside.get() - 1);
                Ok::<_, Infallible>(Response::new(Body::from("done")))
            }
        });
        let address = serve(handler(ConcurrencyLimit::new(one, 1)));
        let client = Client::new();
        let calls: Vec<_> = (0..20)
            .map(|_| client.get(format!("http://{address}/")))
            .map(|call| spawn(async { text(call.await.unwrap()).await }))
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap(), "done");
        }
        assert_eq!((now.get(), most.get()), (0, 1));
    });
}

/// Counts what is dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_request_that_is_given_up_drops_the_future_of_its_service() {
    run(async {
        let (began, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (begins, ends) = (began.clone(), ended.clone());
        let waits = move || {
            begins.fetch_add(1, Ordering::Relaxed);
            let counted = Counted(ends.clone());
            async move {
                let _counted = counted;
                pending::<&'static str>().await
            }
        };
        let address = serve(send_handler(Router::new().route("/", get(waits))));
        let call = spawn({
            let call = Client::new().get(format!("http://{address}/"));
            async { call.await.map(drop) }
        });
        while began.load(Ordering::Relaxed) == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        call.abort();
        while ended.load(Ordering::Relaxed) == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn content_that_is_taken_to_another_thread_is_an_error_there_and_back_here_it_goes_on() {
    run(async {
        let address = serve(send_handler(service_fn(|request: Request<SendBody>| async {
            let body = request.into_body();
            let there = thread::spawn(move || {
                let mut body = body;
                let mut context = Context::from_waker(std::task::Waker::noop());
                let polled = hyper::body::Body::poll_frame(Pin::new(&mut body), &mut context);
                let Poll::Ready(Some(Err(error))) = polled else { panic!("it was readable there") };
                (body, error.to_string())
            });
            let (body, error) = there.join().unwrap();
            let read = body.collect().await.unwrap().to_bytes();
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(format!("{error}: {}", read.len()))))
        })));
        let (mut sender, body) = Body::channel();
        let call = Client::new().request(request(Method::POST, address, "/", body));
        let call = spawn(async { text(call.await.unwrap()).await });
        sender.send("words".into()).await.unwrap();
        sender.finish();
        assert_eq!(call.await.unwrap(), "this belongs to another thread, and can be used only there: 5");
    });
}

#[test]
fn our_client_is_a_service_for_middleware() {
    run(async {
        let address = serve(|request: Request<Body>| async { Response::new(request.into_body()) });
        let mut limited = ConcurrencyLimit::new(Client::new(), 2);
        for number in 0..5 {
            let ready = poll_fn(|context| limited.poll_ready(context));
            ready.await.unwrap();
            let answer = limited.call(request(Method::POST, address, "/", number.to_string())).await.unwrap();
            assert_eq!(text(answer).await, number.to_string());
        }
        let unreachable = Client::new().oneshot(request(Method::GET, support::nobody(), "/", "")).await;
        assert!(unreachable.unwrap_err().is_connect());
    });
}

#[test]
fn boxed_services_are_handlers_too() {
    run(async {
        let hello = service_fn(|_: Request<SendBody>| async {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("boxed")))
        });
        let address = serve(send_handler(BoxCloneService::new(hello)));
        assert_eq!(text(Client::new().get(format!("http://{address}/")).await.unwrap()).await, "boxed");
    });
}

#[test]
fn a_future_that_stays_here_may_be_held_by_one_that_is_send() {
    fn must_be_send<F: Future + Send>(future: F) -> F {
        future
    }
    run(must_be_send(async {
        let local = stay_here(async {
            let rc = Rc::new(5);
            wakering::yield_now().await;
            *rc
        });
        assert_eq!(local.await, 5);
    }));
}
