//! `http::client` against our own server: content both ways, who waits for whom, and who makes room.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use wakering::{
    http::{
        Body, Config, Frame, HeaderMap, HeaderValue, Request, Response, Server, StatusCode,
        client::{self, Kind, SendRequest},
    },
    net::TcpListener,
    spawn,
    time::{sleep, timeout},
};

/// Runs a test beside a server of ours.
fn with_server<F: Future<Output = ()>>(test: impl FnOnce(SocketAddr) -> F) {
    wakering::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server::start(listener, answer).unwrap();
        test(server.local_addr()).await;
        let stopped = server.stop(Duration::from_secs(60)).await;
        assert_eq!(stopped.aborted_connections, 0, "a connection outlives its client");
    })
    .unwrap();
}

async fn answer(request: Request<Body>) -> Response<Body> {
    match request.uri().path() {
        "/echo" => Response::new(request.into_body()),
        "/slow" => {
            sleep(Duration::from_millis(50)).await;
            Response::new("slow".into())
        }
        "/never" => std::future::pending().await,
        "/endless" => {
            let (mut sender, body) = Body::channel();
            spawn(async move { while sender.send(Bytes::from_static(&[7; 9000])).await.is_ok() {} });
            Response::new(body)
        }
        "/no-content" => status(StatusCode::NO_CONTENT),
        "/not-modified" => status(StatusCode::NOT_MODIFIED),
        "/length" => {
            let length = request.headers().get("content-length").cloned();
            let length = length.unwrap_or(HeaderValue::from_static("none"));
            Response::new(Body::from(length.to_str().unwrap().to_owned()))
        }
        "/host" => Response::new(Body::from(request.uri().authority().unwrap().to_string())),
        "/trailers" => trailers(request).await,
        _ => Response::new("ok".into()),
    }
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Sends the request's trailers back as trailers.
async fn trailers(request: Request<Body>) -> Response<Body> {
    let (mut sender, body) = Body::channel();
    let mut content = request.into_body();
    spawn(async move {
        let mut trailers = HeaderMap::new();
        while let Some(frame) = content.frame().await {
            match frame.unwrap() {
                Frame::Data(bytes) => sender.send(bytes).await.unwrap(),
                Frame::Trailers(fields) => trailers = fields,
            }
        }
        sender.finish_with(trailers).unwrap();
    });
    Response::new(body)
}

fn get(address: SocketAddr, path: &str) -> Request<Body> {
    Request::get(format!("http://{address}{path}")).body(Body::empty()).unwrap()
}

fn post(address: SocketAddr, path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(format!("http://{address}{path}")).body(body.into()).unwrap()
}

/// What a future says when it is polled once.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(Pin::new(&mut *future).poll(context))).await
}

async fn text(response: Response<Body>) -> Bytes {
    response.into_body().collect(1 << 20).await.unwrap()
}

#[test]
fn a_request_without_content_is_answered() {
    with_server(|address| async move {
        let mut connection = client::connect(address).await.unwrap();
        let response = connection.send(get(address, "/")).await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.headers().contains_key("date"));
        assert_eq!(text(response).await, "ok");
    });
}

#[test]
fn content_goes_both_ways_at_any_size() {
    with_server(|address| async move {
        let mut connection = client::connect(address).await.unwrap();
        for size in [0, 1, 16_384, 65_535, 65_536, 1_000_000] {
            let content = Bytes::from((0..size).map(|n: u32| n as u8).collect::<Vec<u8>>());
            let request =
                Request::post(format!("http://{address}/echo")).body(content.clone().into()).unwrap();
            let response = connection.send(request).await.unwrap();
            assert!(text(response).await == content, "{size} bytes");
        }
    });
}

#[test]
fn a_thousand_requests_of_many_tasks_share_a_connection() {
    with_server(|address| async move {
        let connection = client::connect(address).await.unwrap();
        let tasks: Vec<_> = (0..1000)
            .map(|number: u32| {
                let mut connection = connection.clone();
                spawn(async move {
                    connection.ready().await.unwrap();
                    let request = post(address, "/echo", number.to_string());
                    let response = connection.send(request).await.unwrap();
                    assert_eq!(text(response).await, number.to_string());
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn trailers_go_both_ways() {
    with_server(|address| async move {
        let mut connection = client::connect(address).await.unwrap();
        let (mut sender, body) = Body::channel();
        let response = connection.send(post(address, "/trailers", body));
        sender.send("content".into()).await.unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("checksum", HeaderValue::from_static("1234"));
        sender.finish_with(trailers).unwrap();
        let mut body = response.await.unwrap().into_body();
        let mut content = Vec::new();
        while content.len() < "content".len() {
            let Some(Ok(Frame::Data(data))) = body.frame().await else { panic!("data first") };
            content.extend_from_slice(&data);
        }
        assert_eq!(content, b"content");
        let Some(Ok(Frame::Trailers(fields))) = body.frame().await else { panic!("then trailers") };
        assert_eq!(fields["checksum"], "1234");
        assert!(body.frame().await.is_none());
    });
}

#[test]
fn a_response_can_be_read_while_its_request_is_still_being_written() {
    with_server(|address| async move {
        let mut connection = client::connect(address).await.unwrap();
        let (mut sender, body) = Body::channel();
        let response = connection.send(post(address, "/echo", body)).await.unwrap();
        let mut echo = response.into_body();
        for word in ["one", "two", "three"] {
            sender.send(word.into()).await.unwrap();
            let mut echoed = Vec::new();
            while echoed.len() < word.len() {
                echoed.extend_from_slice(&echo.data().await.unwrap().unwrap());
            }
            assert_eq!(echoed, word.as_bytes());
        }
        sender.finish();
        assert!(echo.data().await.is_none());
    });
}

#[test]
fn responses_that_have_no_content_have_an_empty_body() {
    with_server(|address| async move {
        let mut connection = client::connect(address).await.unwrap();
        for path in ["/no-content", "/not-modified"] {
            let response = connection.send(get(address, path)).await.unwrap();
            assert!(response.body().is_empty(), "{path}");
        }
        let head = Request::head(format!("http://{address}/")).body(Body::empty()).unwrap();
        let response = connection.send(head).await.unwrap();
        assert_eq!(response.headers()["content-length"], "2");
        assert_eq!(text(response).await, "");
    });
}

#[test]
fn length_and_authority_are_announced_as_other_clients_do() {
    with_server(|address| async move {
        let mut connection = client::connect(address).await.unwrap();
        let response = connection.send(post(address, "/length", "12345")).await.unwrap();
        assert_eq!(text(response).await, "5");
        let response = connection.send(post(address, "/length", "")).await.unwrap();
        assert_eq!(text(response).await, "0");
        let response = connection.send(get(address, "/length")).await.unwrap();
        assert_eq!(text(response).await, "none");
        let named = Request::get("/host").header("host", "example.org").body(Body::empty()).unwrap();
        let response = connection.send(named).await.unwrap();
        assert_eq!(text(response).await, "example.org");
    });
}

#[test]
fn a_connection_expires_also_when_its_last_handler_had_to_wait() {
    wakering::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let config = Config { idle_timeout: Duration::from_millis(20), ..Config::default() };
        let server = Server::builder().http2(config).start(listener, answer).unwrap();
        let address = server.local_addr();
        let connection = loop {
            let mut connection = client::connect(address).await.unwrap();
            match connection.send(get(address, "/slow")).await {
                Ok(response) => {
                    assert_eq!(text(response).await, "slow");
                    break connection;
                }
                // It may have taken us longer than that to ask.
                Err(error) => assert!(error.is_retryable(), "{error:?}"),
            }
        };
        connection.closed().await;
        assert!(connection.is_closed());
    })
    .unwrap();
}

#[test]
fn a_response_that_nobody_reads_holds_up_only_itself() {
    with_server(|address| async move {
        let mut connection = client::connect(address).await.unwrap();
        let mut unread = connection.send(get(address, "/endless")).await.unwrap().into_body();
        for _ in 0..200 {
            assert_eq!(text(connection.send(get(address, "/")).await.unwrap()).await, "ok");
        }
        // What has come lies within the windows: reading goes on where it stopped.
        let mut read = 0;
        while read < 10_000_000 {
            read += unread.data().await.unwrap().unwrap().len();
        }
    });
}

// RFC 9113 §5.1.2: only streams that are open count.

#[test]
fn a_response_that_has_come_makes_room_whether_it_is_read_or_not() {
    with_server(|address| async move {
        let mut connection = client::builder().max_streams(2).connect(address).await.unwrap();
        let mut responses = Vec::new();
        for number in 0..100_u32 {
            connection.ready().await.unwrap();
            let content = number.to_string().repeat(number as usize * 20);
            responses.push((connection.send(post(address, "/echo", content.clone())), content));
        }
        let heads = responses.split_off(50);
        for (response, content) in responses {
            assert_eq!(text(response.await.unwrap()).await, content);
        }
        let mut bodies = Vec::new();
        for (response, content) in heads {
            bodies.push((response.await.unwrap().into_body(), content));
        }
        bodies.truncate(40);
        for (body, content) in bodies.into_iter().rev() {
            assert_eq!(body.collect(1 << 20).await.unwrap(), content);
        }
        // Their windows were given back: much more than one of the connection's goes through.
        for _ in 0..10 {
            let content = vec![7; 300_000];
            let response = connection.send(post(address, "/echo", content.clone())).await.unwrap();
            assert!(text(response).await == content);
        }
    });
}

#[test]
fn the_line_for_a_connection_has_an_end() {
    with_server(|address| async move {
        let mut connection = client::builder().max_streams(1).connect(address).await.unwrap();
        let response = connection.send(get(address, "/never"));
        let wait = |mut connection: SendRequest| Box::pin(async move { connection.ready().await });
        let mut line: Vec<_> = (0..4096).map(|_| wait(connection.clone())).collect();
        for waiting in &mut line {
            assert!(poll_once(waiting).await.is_pending());
        }
        let Poll::Ready(refused) = poll_once(&mut wait(connection.clone())).await else { panic!("no end") };
        let error = refused.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Kind::Busy, true));
        drop(line);
        drop(response);
        connection.ready().await.unwrap();
    });
}

#[test]
fn content_that_nobody_takes_holds_up_its_maker() {
    with_server(|address| async move {
        let mut connection = client::connect(address).await.unwrap();
        let (mut sender, body) = Body::channel();
        let response = connection.send(post(address, "/never", body));
        let mut taken = 0;
        let piece = Bytes::from_static(&[7; 10_000]);
        while timeout(Duration::from_millis(50), sender.send(piece.clone())).await.is_ok() {
            taken += piece.len();
            assert!(taken < 1_000_000, "{taken} bytes are on their way to nobody");
        }
        drop(response);
        assert!(sender.send(piece).await.is_err());
    });
}

/// The mistake of a predecessor was found twelve weeks late, by logging what the clients said when they left.
#[test]
fn what_the_server_says_when_it_goes_is_in_the_frame_log() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = lines.clone();
    wakering::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let config = Config { max_concurrent_streams: 7, settings_entries: 0, ..Config::default() };
        let server = Server::builder().http2(config).start(listener, answer).unwrap();
        let builder = client::builder().log_frames(move |_| {
            let sink = sink.clone();
            Some(Box::new(move |frame| sink.lock().unwrap().push(frame.to_string())))
        });
        let mut sender = builder.connect(server.local_addr()).await.unwrap();
        assert!(sender.send(get(server.local_addr(), "/")).await.is_err(), "no entry of SETTINGS is allowed");
        server.stop(Duration::from_secs(60)).await;
    })
    .unwrap();
    let lines = lines.lock().unwrap().clone();
    let has =
        |start: &str, text: &str| lines.iter().any(|line| line.starts_with(start) && line.contains(text));
    assert!(has("send SETTINGS frame", "[SETTINGS_ENABLE_PUSH(0x02):0]"), "{lines:#?}");
    assert!(has("recv SETTINGS frame", "[SETTINGS_MAX_CONCURRENT_STREAMS(0x03):7]"), "{lines:#?}");
    let words =
        "error_code=ENHANCE_YOUR_CALM(0x0b), opaque_data=[ENHANCE_YOUR_CALM: SETTINGS on stream 0 at byte";
    assert!(has("recv GOAWAY frame", words), "{lines:#?}");
}
