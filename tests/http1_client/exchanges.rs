//! What goes over one connection: requests as they are written, content both ways, tunnels, and how it ends.

use std::{
    future::{Future, poll_fn},
    io::Write,
    pin::pin,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use wakering::{
    http::{
        Body, BodyError, Config, Frame, HeaderMap, HeaderValue, Meters, Method, Request, Response,
        StatusCode, Tunnel,
        client::{self, Builder, Kind, SendRequest},
    },
    spawn, spawn_blocking,
    time::timeout,
};

use crate::http1_server::{Asked, ByHand, Peer};

pub(crate) fn older() -> Builder {
    client::builder().http1_in_cleartext()
}

/// Runs `test` with a connection to a server that follows `script`.
fn against<F: Future<Output = ()>>(
    script: impl FnOnce(&mut Peer) + Send + 'static,
    test: impl FnOnce(SendRequest) -> F,
) {
    with(older(), script, test);
}

pub(crate) fn with<F: Future<Output = ()>>(
    builder: Builder,
    script: impl FnOnce(&mut Peer) + Send + 'static,
    test: impl FnOnce(SendRequest) -> F,
) {
    let server = ByHand::serving(script);
    let address = server.address;
    wakering::run(async move {
        test(builder.connect(address).await.unwrap()).await;
        spawn_blocking(|| server.end()).unwrap().await.unwrap();
    })
    .unwrap();
}

pub(crate) fn get() -> Request<Body> {
    Request::get("http://a.example/").body(Body::empty()).unwrap()
}

pub(crate) fn post(body: impl Into<Body>) -> Request<Body> {
    Request::post("http://a.example/").body(body.into()).unwrap()
}

pub(crate) async fn text(response: Response<Body>) -> Bytes {
    response.into_body().collect(64 << 20).await.unwrap()
}

/// Sends one that the server answers with its request line.
async fn next(connection: &mut SendRequest) {
    connection.ready().await.unwrap();
    let request = Request::get("http://a.example/next").body(Body::empty()).unwrap();
    assert_eq!(text(connection.send(request).await.unwrap()).await, "next");
}

fn serve_next(peer: &mut Peer) {
    assert_eq!(peer.request().line, "GET /next HTTP/1.1");
    peer.answer("next");
}

async fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

/// What the server got of a request, which it answers.
fn seen(request: Request<Body>) -> Asked {
    let (tell, told) = std::sync::mpsc::channel();
    let script = move |peer: &mut Peer| {
        tell.send(peer.request()).unwrap();
        peer.answer("");
        assert!(peer.ends());
    };
    against(script, |mut connection| async move {
        assert_eq!(connection.send(request).await.unwrap().status(), 200);
    });
    told.recv().unwrap()
}

fn fields(asked: &Asked) -> Vec<(&str, &str)> {
    asked.fields.iter().map(|(name, value)| (&name[..], &value[..])).collect()
}

// RFC 9112 §3: the request line, and who is asked.

#[test]
fn a_request_has_its_target_in_origin_form_and_its_host_first() {
    let request = Request::get("http://a.example:81/x/y?z=1").header("x", "y").body(Body::empty()).unwrap();
    let asked = seen(request);
    assert_eq!(asked.line, "GET /x/y?z=1 HTTP/1.1");
    assert_eq!(fields(&asked), [("host", "a.example:81"), ("x", "y")]);
    let asked =
        seen(Request::get("http://a.example").header("host", "b.example").body(Body::empty()).unwrap());
    assert_eq!((asked.line.as_str(), fields(&asked)), ("GET / HTTP/1.1", vec![("host", "b.example")]));
    let star = Request::options("http://a.example/*").body(Body::empty()).unwrap();
    assert_eq!(seen(star).line, "OPTIONS /* HTTP/1.1");
    let star = Request::options("*").header("host", "a.example").body(Body::empty()).unwrap();
    assert_eq!(seen(star).line, "OPTIONS * HTTP/1.1");
}

#[test]
fn what_would_break_the_framing_is_misuse_and_nothing_is_sent() {
    let refused = [
        Request::get("http://a.example/\u{fc}").body(Body::empty()).ok(),
        Request::get("http://a@a.example/").body(Body::empty()).ok(),
        Request::post("http://a.example/").header("transfer-encoding", "chunked").body("x".into()).ok(),
        Request::post("http://a.example/").header("content-length", "2").body("x".into()).ok(),
        Request::post("http://a.example/").header("content-length", "1, 1").body("x".into()).ok(),
        Request::get("http://a.example/").header("te", "gzip").body(Body::empty()).ok(),
        Request::get("http://a.example/").header("connection", "x").body(Body::empty()).ok(),
        Request::get("http://a.example/").header("keep-alive", "timeout=5").body(Body::empty()).ok(),
        Request::builder().method("CONNECT").uri("a.example").body(Body::empty()).ok(),
    ];
    against(serve_next, |mut connection| async move {
        for request in refused.into_iter().flatten() {
            let said = format!("{request:?}");
            let error = connection.send(request).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Misuse, "{said}: {error}");
        }
        next(&mut connection).await;
    });
}

#[test]
fn what_the_connection_is_asked_for_is_said_in_one_field() {
    let request = Request::get("http://a.example/").header("te", "trailers").header("connection", "Close");
    let asked = seen(request.body(Body::empty()).unwrap());
    assert_eq!(fields(&asked), [("host", "a.example"), ("te", "trailers"), ("connection", "close, te")]);
}

// RFC 9112 §6: content.

#[test]
fn content_of_a_known_length_is_announced_and_other_content_goes_in_chunks() {
    let asked = seen(post("some words"));
    assert_eq!((asked.field("content-length"), &asked.content[..]), (Some("10"), &b"some words"[..]));
    let asked = seen(post(Body::empty()));
    assert_eq!((asked.field("content-length"), asked.field("transfer-encoding")), (Some("0"), None));
    let (mut sender, body) = Body::channel();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("3"));
    let large = Bytes::from(vec![7; 100_000]);
    let task = {
        let large = large.clone();
        async move {
            sender.send(Bytes::from_static(b"one")).await.unwrap();
            sender.send(Bytes::new()).await.unwrap();
            sender.send(large).await.unwrap();
            sender.finish_with(trailers).unwrap();
        }
    };
    let (tell, told) = std::sync::mpsc::channel();
    let script = move |peer: &mut Peer| {
        tell.send(peer.request()).unwrap();
        peer.answer("");
    };
    against(script, |mut connection| async move {
        let sent = spawn(task);
        assert_eq!(connection.send(post(body)).await.unwrap().status(), 200);
        sent.await.unwrap();
    });
    let asked = told.recv().unwrap();
    assert_eq!((asked.field("content-length"), asked.field("transfer-encoding")), (None, Some("chunked")));
    assert!(asked.content == [&b"one"[..], &large].concat());
    assert_eq!(asked.trailers, [("x-sum".to_owned(), "3".to_owned())]);
}

/// RFC 9112 §6.1: a server that has answered in HTTP/1.0 knows no chunks.
#[test]
fn a_server_of_http_1_0_is_sent_content_of_a_known_length_only() {
    let script = |peer: &mut Peer| {
        peer.request();
        peer.send("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 3\r\n\r\nold");
        assert_eq!(peer.request().content, b"words");
        peer.send("HTTP/1.0 200 OK\r\ncontent-length: 6\r\n\r\nthanks");
        assert!(peer.ends());
    };
    against(script, |mut connection| async move {
        assert_eq!(text(connection.send(get()).await.unwrap()).await, "old");
        let (_sender, body) = Body::channel();
        let error = connection.send(post(body)).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Kind::Unsupported, false), "{error}");
        let response = connection.send(post("words")).await.unwrap();
        assert_eq!(format!("{:?}", response.version()), "HTTP/1.0");
        assert_eq!(text(response).await, "thanks");
    });
}

#[test]
fn content_of_a_length_that_was_announced_by_hand_is_held_to_it() {
    for (length, works) in [("6", true), ("5", false), ("7", false)] {
        let (mut sender, body) = Body::channel();
        let request = Request::post("http://a.example/").header("content-length", length).body(body).unwrap();
        let script = move |peer: &mut Peer| {
            if works {
                assert_eq!(peer.request().content, b"foobar");
                peer.answer("");
            }
            peer.drain();
        };
        against(script, |mut connection| async move {
            spawn(async move {
                for piece in ["foo", "bar"] {
                    if sender.send(piece.into()).await.is_err() {
                        return;
                    }
                }
                sender.finish();
            });
            match connection.send(request).await {
                Ok(response) => assert!(works, "{length}: {response:?}"),
                Err(error) => assert!(!works && error.kind() == Kind::Body, "{length}: {error}"),
            }
        });
    }
}

#[test]
fn ten_mebibytes_go_both_ways_and_come_back_as_they_went() {
    const SIZE: usize = 10 << 20;
    let pattern: Bytes = (0..SIZE).map(|at| (at % 251) as u8).collect();
    let script = |peer: &mut Peer| {
        for _ in 0..2 {
            let asked = peer.request();
            peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", asked.content.len()));
            peer.send(&asked.content);
        }
        assert!(peer.ends());
    };
    against(script, |mut connection| async move {
        let response = connection.send(post(pattern.clone())).await.unwrap();
        assert!(text(response).await == pattern);
        connection.ready().await.unwrap();
        let (mut sender, body) = Body::channel();
        let (sent, task) = (pattern.clone(), async move {
            for piece in pattern.chunks(70_000) {
                sender.send(Bytes::copy_from_slice(piece)).await.unwrap();
            }
            sender.finish();
        });
        let task = spawn(task);
        assert!(text(connection.send(post(body)).await.unwrap()).await == sent);
        task.await.unwrap();
    });
}

#[test]
fn trailers_come_behind_the_content() {
    let script = |peer: &mut Peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 2\r\nHost: no\r\n\r\n");
        serve_next(peer);
    };
    against(script, |mut connection| async move {
        let mut body = connection.send(get()).await.unwrap().into_body();
        let mut frames = Vec::new();
        while let Some(frame) = body.frame().await {
            frames.push(frame.unwrap());
        }
        let [Frame::Data(data), Frame::Trailers(trailers)] = &frames[..] else { panic!("{frames:?}") };
        assert_eq!((&data[..], trailers.len()), (&b"ok"[..], 1));
        assert_eq!(trailers["x-sum"], "2");
        next(&mut connection).await;
    });
}

#[test]
fn a_response_may_come_while_the_request_is_still_sent() {
    let script = |peer: &mut Peer| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        loop {
            let piece = peer.chunk();
            if piece.is_empty() {
                assert_eq!(peer.line(), "");
                break;
            }
            peer.send(format!("{:x}\r\n", piece.len()));
            peer.send([&piece[..], b"\r\n"].concat());
        }
        peer.send("0\r\n\r\n");
        serve_next(peer);
    };
    against(script, |mut connection| async move {
        let (mut sender, body) = Body::channel();
        let mut answer = connection.send(post(body)).await.unwrap().into_body();
        for round in 0..20 {
            let line = Bytes::from(format!("line {round}"));
            sender.send(line.clone()).await.unwrap();
            assert_eq!(answer.data().await.unwrap().unwrap(), line);
        }
        sender.finish();
        assert!(answer.data().await.is_none());
        next(&mut connection).await;
    });
}

#[test]
fn an_answer_that_closes_ends_the_upload() {
    let script = |peer: &mut Peer| {
        peer.head();
        peer.send("HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nno\n");
        peer.drain();
    };
    against(script, |mut connection| async move {
        let (mut sender, body) = Body::channel();
        let response = connection.send(post(body)).await.unwrap();
        assert_eq!((response.status(), text(response).await), (StatusCode::PAYLOAD_TOO_LARGE, "no\n".into()));
        while sender.send(Bytes::from_static(&[0; 10_000])).await.is_ok() {}
        assert!(connection.is_closed());
        connection.closed().await;
    });
}

#[test]
fn an_early_answer_that_does_not_close_lets_the_upload_go_on() {
    let script = |peer: &mut Peer| {
        let asked = peer.head();
        assert_eq!(asked.field("transfer-encoding"), Some("chunked"));
        peer.answer("early");
        let mut count = 0;
        loop {
            let piece = peer.chunk();
            count += piece.len();
            if piece.is_empty() {
                break;
            }
        }
        assert_eq!((peer.line().as_str(), count), ("", 100 * 10_000));
        serve_next(peer);
    };
    against(script, |mut connection| async move {
        let (mut sender, body) = Body::channel();
        assert_eq!(text(connection.send(post(body)).await.unwrap()).await, "early");
        assert!(matches!(poll_once(connection.ready()).await, Poll::Pending), "it is still at work");
        for _ in 0..100 {
            sender.send(Bytes::from_static(&[0; 10_000])).await.unwrap();
        }
        sender.finish();
        next(&mut connection).await;
    });
}

#[test]
fn what_is_not_read_holds_the_server_up() {
    const SIZE: usize = 64 << 20;
    let meters = Meters::new();
    let script = |peer: &mut Peer| {
        peer.request();
        peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n"));
        // The client closes in the middle.
        let sent = peer.socket.write_all(&vec![0; SIZE]);
        assert!(sent.is_err(), "nobody can have taken {SIZE} octets");
    };
    with(older().meters(meters.clone()), script, |mut connection| async move {
        let mut body = connection.send(get()).await.unwrap().into_body();
        body.data().await.unwrap().unwrap();
        // The window and what one read brings besides.
        for _ in 0..1000 {
            wakering::yield_now().await;
            assert!(meters.read().held_received < 1 << 20, "{}", meters.read());
        }
        drop(body);
        connection.closed().await;
    });
}

// RFC 9110 §10.1.1.

fn expecting(body: impl Into<Body>) -> Request<Body> {
    Request::post("http://a.example/").header("expect", "100-continue").body(body.into()).unwrap()
}

#[test]
fn content_waits_for_the_word_to_go_on() {
    let script = |peer: &mut Peer| {
        let asked = peer.head();
        assert_eq!((asked.field("expect"), asked.field("content-length")), (Some("100-continue"), Some("5")));
        peer.send("HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(peer.octets(5), b"words");
        peer.answer("thanks");
        serve_next(peer);
    };
    against(script, |mut connection| async move {
        assert_eq!(text(connection.send(expecting("words")).await.unwrap()).await, "thanks");
        next(&mut connection).await;
    });
}

#[test]
fn content_that_is_refused_is_not_sent_and_the_connection_ends() {
    let script = |peer: &mut Peer| {
        peer.head();
        peer.send("HTTP/1.1 417 No\r\ncontent-length: 2\r\n\r\nno");
        assert_eq!(peer.drain(), 0, "nobody asked for it");
    };
    against(script, |mut connection| async move {
        let response = connection.send(expecting("words")).await.unwrap();
        assert_eq!((response.status().as_u16(), text(response).await), (417, "no".into()));
        connection.closed().await;
    });
}

#[test]
fn interim_responses_come_before_the_final_one() {
    let script = |peer: &mut Peer| {
        peer.request();
        peer.send(
            "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </b>\r\n\r\n",
        );
        peer.answer("done");
        serve_next(peer);
    };
    against(script, |mut connection| async move {
        let mut future = connection.send(get());
        for link in ["</a>", "</b>"] {
            let interim = future.interim().await.unwrap();
            assert_eq!(
                (interim.status().as_u16(), &interim.headers()["link"]),
                (103, &HeaderValue::from_static(link))
            );
        }
        assert!(future.interim().await.is_none());
        assert_eq!(text(future.await.unwrap()).await, "done");
        next(&mut connection).await;
    });
}

// RFC 9110 §9.3.6 and §7.8: tunnels.

fn connect(body: Body) -> Request<Body> {
    Request::builder().method(Method::CONNECT).uri("b.example:443").body(body).unwrap()
}

fn upgrade(body: Body) -> Request<Body> {
    Request::get("http://a.example/chat").header("upgrade", "chat/2, chat/1").body(body).unwrap()
}

/// Talks through a tunnel that sends back what comes, and ends it from our side.
async fn chat(mut tunnel: Tunnel) {
    for word in ["one", "two"] {
        tunnel.send(word.into()).await.unwrap();
        assert_eq!(tunnel.receive().await.unwrap().unwrap(), word);
    }
    tunnel.close();
    assert_eq!(tunnel.receive().await.unwrap().unwrap(), "bye");
    assert!(tunnel.receive().await.is_none());
}

fn echo(peer: &mut Peer) {
    for word in ["one", "two"] {
        assert_eq!(peer.octets(3), word.as_bytes());
        peer.send(word);
    }
    assert!(peer.ends());
    peer.send("bye");
}

#[test]
fn connect_opens_a_tunnel_whose_directions_end_by_themselves() {
    let script = |peer: &mut Peer| {
        let asked = peer.head();
        assert_eq!(
            (asked.line.as_str(), fields(&asked)),
            ("CONNECT b.example:443 HTTP/1.1", vec![("host", "b.example:443")])
        );
        // A length means nothing here.
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
        echo(peer);
    };
    against(script, |mut connection| async move {
        let (outgoing, body) = Body::channel();
        let response = connection.send(connect(body)).await.unwrap();
        assert!(response.headers().is_empty(), "{response:?}");
        chat(Tunnel::new(response.into_body(), outgoing)).await;
        connection.closed().await;
    });
}

#[test]
fn what_is_sent_before_there_is_a_tunnel_waits() {
    let script = |peer: &mut Peer| {
        peer.head();
        peer.socket.set_nonblocking(true).unwrap();
        let early = peer.socket.peek(&mut [0; 1]);
        assert!(early.is_err(), "{early:?}");
        peer.socket.set_nonblocking(false).unwrap();
        peer.send("HTTP/1.1 200 OK\r\n\r\n");
        echo(peer);
    };
    against(script, |mut connection| async move {
        let (mut outgoing, body) = Body::channel();
        let future = connection.send(connect(body));
        outgoing.send("one".into()).await.unwrap();
        let mut answer = future.await.unwrap().into_body();
        assert_eq!(answer.data().await.unwrap().unwrap(), "one");
        outgoing.send("two".into()).await.unwrap();
        assert_eq!(answer.data().await.unwrap().unwrap(), "two");
        outgoing.finish();
        assert_eq!(answer.data().await.unwrap().unwrap(), "bye");
        assert!(answer.data().await.is_none());
    });
}

#[test]
fn a_tunnel_that_is_refused_leaves_the_connection_for_others() {
    let script = |peer: &mut Peer| {
        assert_eq!(peer.head().line, "CONNECT b.example:443 HTTP/1.1");
        peer.send("HTTP/1.1 407 No\r\ncontent-length: 4\r\n\r\nwho?");
        serve_next(peer);
        let asked = peer.head();
        assert_eq!(
            (asked.field("upgrade"), asked.field("connection")),
            (Some("chat/2, chat/1"), Some("upgrade"))
        );
        peer.answer("a page");
        serve_next(peer);
    };
    against(script, |mut connection| async move {
        for (request, status, said) in [(connect as fn(Body) -> _, 407, "who?"), (upgrade, 200, "a page")] {
            let (mut outgoing, body) = Body::channel();
            connection.ready().await.unwrap();
            let response = connection.send(request(body)).await.unwrap();
            assert_eq!((response.status().as_u16(), text(response).await), (status, said.into()));
            while outgoing.send("lost".into()).await.is_ok() {}
            next(&mut connection).await;
        }
    });
}

#[test]
fn an_upgrade_that_is_taken_opens_a_tunnel() {
    let script = |peer: &mut Peer| {
        peer.head();
        peer.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: CHAT/1\r\nConnection: upgrade\r\n\r\n");
        echo(peer);
    };
    against(script, |mut connection| async move {
        let (outgoing, body) = Body::channel();
        let response = connection.send(upgrade(body)).await.unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        chat(Tunnel::new(response.into_body(), outgoing)).await;
        connection.closed().await;
    });
}

#[test]
fn a_tunnel_that_is_dropped_ends_the_connection() {
    let script = |peer: &mut Peer| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\n\r\n");
        peer.drain();
    };
    against(script, |mut connection| async move {
        let (outgoing, body) = Body::channel();
        let response = connection.send(connect(body)).await.unwrap();
        drop(Tunnel::new(response.into_body(), outgoing));
        connection.closed().await;
    });
}

// Ends.

#[test]
fn a_request_that_is_dropped_takes_its_connection_along() {
    let (tell, told) = std::sync::mpsc::channel();
    let script = move |peer: &mut Peer| {
        peer.request();
        tell.send(()).unwrap();
        assert!(peer.ends());
    };
    against(script, |mut connection| async move {
        let future = connection.send(get());
        spawn_blocking(move || told.recv().unwrap()).unwrap().await.unwrap();
        assert!(poll_once(connection.ready()).await.is_pending());
        drop(future);
        connection.closed().await;
    });
}

#[test]
fn a_request_that_is_dropped_before_it_is_written_is_never_seen() {
    let script = |peer: &mut Peer| assert_eq!(peer.maybe_request(), None);
    against(script, |mut connection| async move {
        drop(connection.send(get()));
        connection.closed().await;
    });
}

#[test]
fn content_that_is_dropped_takes_its_connection_along_unless_it_has_come() {
    let script = |peer: &mut Peer| {
        peer.request();
        peer.answer("all of it");
        serve_next(peer);
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\na part");
        assert!(peer.ends());
    };
    against(script, |mut connection| async move {
        let response = connection.send(get()).await.unwrap();
        // All of it has come when there is room for the next.
        connection.ready().await.unwrap();
        drop(response);
        next(&mut connection).await;
        connection.ready().await.unwrap();
        let mut body = connection.send(get()).await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "a part");
        drop(body);
        connection.closed().await;
    });
}

#[test]
fn an_answer_that_has_come_stays_readable_while_the_next_is_under_way() {
    let script = |peer: &mut Peer| {
        peer.request();
        peer.answer("first");
        peer.request();
        peer.answer("second");
        assert!(peer.ends());
    };
    against(script, |mut connection| async move {
        let first = connection.send(get()).await.unwrap();
        connection.ready().await.unwrap();
        let second = connection.send(get()).await.unwrap();
        assert_eq!(text(second).await, "second");
        assert_eq!(text(first).await, "first");
    });
}

#[test]
fn an_answer_that_was_there_before_its_request_is_not_taken() {
    let (ready, go) = std::sync::mpsc::channel();
    let script = move |peer: &mut Peer| {
        peer.request();
        peer.answer("first");
        go.recv().unwrap();
        peer.answer("forged");
        assert_eq!(peer.maybe_request(), None);
    };
    against(script, |mut connection| async move {
        assert_eq!(text(connection.send(get()).await.unwrap()).await, "first");
        ready.send(()).unwrap();
        // The connection is closed as soon as the words come that nobody asked for.
        connection.closed().await;
        let error = connection.ready().await.unwrap_err();
        assert!(error.is_closed() && error.is_retryable(), "{error}");
    });
}

#[test]
fn a_time_limit_ends_the_request_and_the_connection() {
    for part in ["", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\na part"] {
        let script = move |peer: &mut Peer| {
            peer.request();
            peer.send(part);
            assert!(peer.ends());
        };
        against(script, |mut connection| async move {
            let future = connection.send(get()).timeout(Duration::from_millis(50));
            match future.await {
                Err(error) => assert!(error.is_timeout() && part.is_empty(), "{error}"),
                Ok(response) => {
                    let error = response.into_body().collect(100).await.unwrap_err();
                    assert!(matches!(error, BodyError::TimedOut { .. }), "{error}");
                }
            }
            connection.closed().await;
        });
    }
}

#[test]
fn deadlines_of_the_connection_hold() {
    let config = Config {
        header_timeout: Duration::from_millis(50),
        idle_timeout: Duration::from_millis(50),
        min_body_rate: 1000,
        body_grace: Duration::from_millis(50),
        ..Config::default()
    };
    for (part, why) in [
        ("", None),
        ("HTTP/1.1 200", Some("the response's head takes too long")),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\na part", Some("the content comes too slowly")),
    ] {
        let script = move |peer: &mut Peer| {
            if !part.is_empty() {
                peer.request();
                peer.send(part);
            }
            assert!(peer.ends());
        };
        with(older().http2(config.clone()), script, |mut connection| async move {
            let Some(why) = why else { return connection.closed().await };
            let said = match connection.send(get()).await {
                Err(error) => {
                    assert!(error.is_timeout(), "{error}");
                    error.to_string()
                }
                Ok(response) => {
                    assert!(response.into_body().collect(100).await.is_err());
                    connection.ready().await.unwrap_err().to_string()
                }
            };
            assert!(said.contains(why), "{said}");
            connection.closed().await;
        });
    }
}

#[test]
fn a_connection_goes_a_little_before_its_server_would_close_it() {
    let script = |peer: &mut Peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nkeep-alive: max=9, timeout=0\r\n\r\nok");
        assert!(peer.ends());
    };
    against(script, |mut connection| async move {
        assert_eq!(text(connection.send(get()).await.unwrap()).await, "ok");
        connection.closed().await;
    });
}

#[test]
fn shutting_down_waits_for_the_answer_under_way() {
    let script = |peer: &mut Peer| {
        peer.request();
        peer.answer("served");
        assert!(peer.ends());
    };
    against(script, |mut connection| async move {
        let future = connection.send(get());
        let mut other = connection.clone();
        let shutdown = spawn(connection.shutdown());
        assert_eq!(text(future.await.unwrap()).await, "served");
        shutdown.await.unwrap();
        assert!(other.ready().await.unwrap_err().is_closed());
    });
}

/// Each chunk would be a piece of its own, with seventy octets of upkeep.
#[test]
fn content_in_chunks_of_one_octet_that_nobody_reads_is_put_together() {
    const OCTETS: usize = 20_000;
    let meters = Meters::new();
    let script = |peer: &mut Peer| {
        peer.request();
        let chunks = b"1\r\na\r\n".repeat(OCTETS);
        let answer =
            [&b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"[..], &chunks, b"0\r\n\r\n"].concat();
        peer.socket.write_all(&answer).unwrap();
        serve_next(peer);
    };
    with(older().meters(meters.clone()), script, |mut connection| async move {
        let mut body = connection.send(get()).await.unwrap().into_body();
        let came = async {
            while meters.read().held_received < OCTETS as u64 {
                wakering::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(30), came).await.expect("all of it comes");
        let mut pieces = Vec::new();
        while let Some(data) = body.data().await {
            pieces.push(data.unwrap().len());
        }
        assert_eq!(pieces.iter().sum::<usize>(), OCTETS);
        assert!(pieces.len() <= OCTETS / 1024, "{pieces:?}");
        next(&mut connection).await;
    });
}
