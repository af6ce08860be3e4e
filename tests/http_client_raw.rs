//! `http::client` against servers that write their frames by hand: they go away, refuse, reset, dawdle, vanish and
//! talk nonsense.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::{
    future::{Future, poll_fn},
    io::{Read, Write},
    pin::pin,
    sync::mpsc::channel,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use support::{
    h2::Raw,
    octets::{
        ACK, DATA, END_STREAM, GOAWAY, HEADERS, PING, PUSH_PROMISE, RST_STREAM, frame, settings,
        window_update,
    },
    scripted::{Scripted, accept_mute, answer, head},
};
use wakering::{
    http::{
        Body, BodyError, Config, Priority, Reason, Request, Response, Trip,
        client::{self, Kind, SendRequest},
    },
    spawn, yield_now,
};

const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;

const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;

/// Runs `test` with a connection to a server that follows `script` after the exchange of SETTINGS.
fn against<F: Future<Output = ()>>(
    entries: &'static [(u16, u32)],
    script: impl FnOnce(&mut Raw) + Send + 'static,
    test: impl FnOnce(SendRequest) -> F,
) {
    let server = Scripted::serving(entries, script);
    let address = server.address;
    let tested = async {
        test(client::connect(address).await.unwrap()).await;
        // The connection comes to its own end, and the script with it.
        wakering::spawn_blocking(|| server.end()).unwrap().await.unwrap();
    };
    wakering::run(tested).unwrap();
}

fn get() -> Request<Body> {
    Request::get("http://a.example/").body(Body::empty()).unwrap()
}

fn post(body: impl Into<Body>) -> Request<Body> {
    Request::post("http://a.example/").body(body.into()).unwrap()
}

async fn text(response: Response<Body>) -> Bytes {
    response.into_body().collect(1 << 20).await.unwrap()
}

fn rst(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

fn goaway(last: u32, code: u32, debug: &str) -> Vec<u8> {
    let payload = [&last.to_be_bytes()[..], &code.to_be_bytes(), debug.as_bytes()].concat();
    frame(GOAWAY, 0, 0, &payload)
}

/// The code in a RST_STREAM frame.
fn reset_of(raw: &mut Raw) -> (u32, u32) {
    let frame = raw.next(RST_STREAM);
    (frame.stream, u32::from_be_bytes(frame.payload[..4].try_into().unwrap()))
}

/// The client ends the connection in good order.
fn farewell(raw: &mut Raw) {
    let goaway = raw.next(GOAWAY);
    assert_eq!(goaway.payload[4..8], NO_ERROR.to_be_bytes());
    assert!(raw.read().is_none(), "nothing follows a client's GOAWAY");
}

async fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

// RFC 9113 §6.8: what GOAWAY gives back may be sent elsewhere.

#[test]
fn goaway_gives_back_what_was_not_processed_and_the_rest_goes_on() {
    let script = |raw: &mut Raw| {
        let (first, second) = (raw.request(), raw.request());
        assert_eq!((first, second), (1, 3));
        raw.send(&goaway(1, NO_ERROR, "moving house"));
        raw.send(&answer(1, b"still here"));
        farewell(raw);
    };
    against(&[], script, |mut connection| async move {
        let (first, mut second) = (connection.send(get()), connection.send(post("again")));
        let error = (&mut second).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Kind::Refused, true));
        let request = second.take_request().expect("content in one piece can be sent again");
        assert_eq!(request.into_body().collect(100).await.unwrap(), "again");
        assert_eq!(text(first.await.unwrap()).await, "still here");
        let error = connection.ready().await.unwrap_err();
        assert!(error.is_closed() && error.is_retryable(), "{error:?}");
        assert!(error.to_string().contains("moving house"), "{error}");
        assert!(connection.is_closed());
        let error = connection.send(get()).await.unwrap_err();
        assert!(error.is_closed() && error.is_retryable(), "{error:?}");
    });
}

#[test]
fn a_refused_stream_is_given_back_and_the_connection_goes_on() {
    let script = |raw: &mut Raw| {
        let first = raw.request();
        raw.send(&rst(first, REFUSED_STREAM));
        let second = raw.request();
        raw.send(&answer(second, b"ok"));
        farewell(raw);
    };
    against(&[], script, |mut connection| async move {
        let mut future = connection.send(get());
        let error = (&mut future).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Kind::Refused, true));
        let again = future.take_request().unwrap();
        assert_eq!(text(connection.send(again).await.unwrap()).await, "ok");
    });
}

#[test]
fn a_reset_fails_its_request_alone_and_says_why() {
    let script = |raw: &mut Raw| {
        let (first, second) = (raw.request(), raw.request());
        raw.send(&rst(first, INTERNAL_ERROR));
        raw.send(&head(second, 0, &[(":status", "200")]));
        raw.send(&rst(second, CANCEL));
        farewell(raw);
    };
    against(&[], script, |mut connection| async move {
        let (mut first, second) = (connection.send(get()), connection.send(get()));
        let error = (&mut first).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Reset(Reason::INTERNAL_ERROR));
        assert_eq!((error.reason(), error.is_retryable()), (Some(Reason::INTERNAL_ERROR), false));
        assert!(first.take_request().is_none(), "it may have been processed");
        let mut body = second.await.unwrap().into_body();
        let error = body.data().await.unwrap().unwrap_err();
        assert!(matches!(error, BodyError::Reset(Reason::CANCEL)), "{error:?}");
    });
}

// RFC 9113 §8.1: a whole response may be followed by RST_STREAM(NO_ERROR), and is not discarded for it.

#[test]
fn a_whole_response_is_kept_when_the_rest_of_the_request_is_not_wanted() {
    let script = |raw: &mut Raw| {
        let stream = raw.request();
        raw.send(&answer(stream, b"enough"));
        raw.send(&rst(stream, NO_ERROR));
        farewell(raw);
    };
    against(&[], script, |mut connection| async move {
        let (mut sender, body) = Body::channel();
        let response = connection.send(post(body)).await.unwrap();
        while sender.send("more".into()).await.is_ok() {
            yield_now().await;
        }
        assert_eq!(text(response).await, "enough");
    });
}

#[test]
fn content_keeps_within_windows_of_a_few_bytes() {
    const CONTENT: &[u8] = b"content that comes in drips";
    let script = |raw: &mut Raw| {
        let first = raw.request();
        raw.send(&answer(first, b"settled"));
        let stream = raw.request();
        let mut received: Vec<u8> = Vec::new();
        while received.len() < CONTENT.len() {
            let data = raw.next(DATA);
            assert!(data.payload.len() <= 3, "{} bytes in a window of 3", data.payload.len());
            received.extend(&data.payload);
            raw.send(&window_update(stream, u32::try_from(data.payload.len()).unwrap()));
        }
        assert_eq!(received, CONTENT);
        raw.send(&answer(stream, b"thanks"));
        farewell(raw);
    };
    against(&[(INITIAL_WINDOW_SIZE, 3)], script, |mut connection| async move {
        // The peer's SETTINGS have been read when its first answer has.
        text(connection.send(get()).await.unwrap()).await;
        let (mut sender, body) = Body::channel();
        let response = connection.send(post(body));
        for piece in CONTENT.chunks(5) {
            sender.send(Bytes::from_static(piece)).await.unwrap();
        }
        sender.finish();
        assert_eq!(text(response.await.unwrap()).await, "thanks");
    });
}

#[test]
fn the_end_of_the_connection_fails_every_request_at_once() {
    let script = |raw: &mut Raw| {
        let streams = [(); 3].map(|()| raw.request());
        raw.send(&head(streams[2], 0, &[(":status", "200")]));
        raw.send(&frame(DATA, 0, streams[2], b"half"));
        raw.send(&goaway(0x7fff_ffff, NO_ERROR, ""));
    };
    against(&[], script, |mut connection| async move {
        let futures = [(); 3].map(|()| connection.send(get()));
        let started = Instant::now();
        let [first, second, third] = futures;
        let mut body = third.await.unwrap().into_body();
        for future in [first, second] {
            let error = future.await.unwrap_err();
            assert_eq!((error.kind(), error.is_retryable()), (Kind::Closed, false), "{error:?}");
        }
        assert_eq!(body.data().await.unwrap().unwrap(), "half");
        let error = body.data().await.unwrap().unwrap_err();
        assert!(matches!(error, BodyError::ConnectionClosed), "{error:?}");
        assert!(started.elapsed() < Duration::from_secs(60), "nobody waits for a time limit");
    });
}

#[test]
fn a_peer_that_does_not_speak_http2_is_named_so() {
    let server = Scripted::start(|listener| {
        let mut raw = accept_mute(listener);
        raw.socket.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").unwrap();
        let mut rest = Vec::new();
        // The client hangs up; whether with FIN or RST is its kernel's business.
        let _ = raw.socket.read_to_end(&mut rest);
    });
    let address = server.address;
    wakering::run(async {
        let mut connection = client::connect(address).await.unwrap();
        let error = connection.send(get()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Closed);
        assert!(error.connection_error().is_some_and(|error| error.is_peer()), "{error:?}");
        assert!(error.to_string().contains("does not speak HTTP/2"), "{error}");
    })
    .unwrap();
    server.end();
}

#[test]
fn a_server_that_pushes_is_told_off() {
    let script = |raw: &mut Raw| {
        raw.request();
        raw.send(&frame(PUSH_PROMISE, 4, 1, &[0, 0, 0, 2, 0x82]));
        let goaway = raw.next(GOAWAY);
        assert_eq!(goaway.payload[4..8], 1u32.to_be_bytes(), "PROTOCOL_ERROR");
    };
    against(&[], script, |mut connection| async move {
        let error = connection.send(get()).await.unwrap_err();
        assert_eq!(error.connection_error().unwrap().reason, Reason::PROTOCOL_ERROR);
    });
}

#[test]
fn a_peer_that_says_nothing_is_given_up() {
    let server = Scripted::start(|listener| {
        let mut raw = accept_mute(listener);
        let mut rest = Vec::new();
        let _ = raw.socket.read_to_end(&mut rest);
    });
    let address = server.address;
    wakering::run(async {
        let config = Config { preface_timeout: Duration::from_millis(30), ..Config::default() };
        let mut connection = client::builder().http2(config).connect(address).await.unwrap();
        let error = connection.send(get()).await.unwrap_err();
        assert!(error.is_timeout(), "{error:?}");
    })
    .unwrap();
    server.end();
}

#[test]
fn a_peer_that_reads_nothing_is_given_up() {
    let (ended, has_ended) = channel();
    let server = Scripted::start(move |listener| {
        let mut raw = support::scripted::accept(listener, &[(INITIAL_WINDOW_SIZE, 0x7fff_ffff)]);
        raw.send(&window_update(0, 0x7000_0000));
        let first = raw.request();
        raw.send(&answer(first, b"settled"));
        // The socket stays open, and unread.
        has_ended.recv().unwrap();
    });
    let address = server.address;
    wakering::run(async {
        let config = Config { send_timeout: Duration::from_millis(50), ..Config::default() };
        let mut connection = client::builder().http2(config).connect(address).await.unwrap();
        text(connection.send(get()).await.unwrap()).await;
        let error = connection.send(post(vec![7; 1 << 26])).await.unwrap_err();
        assert!(error.is_timeout(), "{error:?}");
        ended.send(()).unwrap();
    })
    .unwrap();
    server.end();
}

#[test]
fn a_peer_that_falls_silent_is_asked_and_given_up() {
    let (ended, has_ended) = channel();
    let server = Scripted::start(move |listener| {
        let mut raw = support::scripted::accept(listener, &[]);
        let stream = raw.request();
        raw.read_until(|frame| frame.kind == PING && frame.flags & ACK == 0);
        raw.send(&head(stream, 0, &[(":status", "103")]));
        raw.read_until(|frame| frame.kind == PING && frame.flags & ACK == 0);
        has_ended.recv().unwrap();
    });
    let address = server.address;
    wakering::run(async {
        let builder = client::builder().keep_alive(Duration::from_millis(50), Duration::from_millis(700));
        let mut connection = builder.connect(address).await.unwrap();
        let mut future = connection.send(get());
        assert_eq!(future.interim().await.unwrap().status(), 103);
        let error = future.await.unwrap_err();
        assert!(error.is_timeout(), "{error:?}");
        assert_eq!(error.connection_error().unwrap().trip, Some(Trip::KeepAlive));
        ended.send(()).unwrap();
    })
    .unwrap();
    server.end();
}

// RFC 9218 §7.1.

#[test]
fn a_request_can_be_made_more_urgent_while_it_waits() {
    const PRIORITY_UPDATE: u8 = 16;
    let script = |raw: &mut Raw| {
        let stream = raw.request();
        raw.send(&head(stream, 0, &[(":status", "103")]));
        let update = raw.next(PRIORITY_UPDATE);
        assert_eq!((update.stream, &update.payload[..4]), (0, &stream.to_be_bytes()[..]));
        assert_eq!(update.payload[4..], *b"u=1");
        raw.send(&answer(stream, b"at once"));
        farewell(raw);
    };
    against(&[(9, 1)], script, |mut connection| async move {
        let mut future = connection.send(get());
        assert_eq!(future.interim().await.unwrap().status(), 103);
        future.prioritize(Priority::new(1, false));
        assert_eq!(text(future.await.unwrap()).await, "at once");
    });
}

// RFC 9113 §5.1.2: the peer's limit on concurrent streams.

#[test]
fn requests_wait_for_their_turn_when_the_peer_takes_one_at_a_time() {
    let script = |raw: &mut Raw| {
        for _ in 0..6 {
            let stream = raw.request();
            // A second head would come now, if one were to come.
            raw.send(&frame(PING, 0, 0, b"anybody?"));
            loop {
                let next = raw.read().unwrap();
                assert_ne!(next.kind, HEADERS, "two requests at a time");
                if next.kind == PING {
                    break;
                }
            }
            raw.send(&answer(stream, b"next"));
        }
        farewell(raw);
    };
    against(&[(MAX_CONCURRENT_STREAMS, 1)], script, |mut connection| async move {
        // The peer's SETTINGS have been read when its first answer has.
        assert_eq!(text(connection.send(get()).await.unwrap()).await, "next");
        let requests = [(); 5].map(|()| {
            let mut connection = connection.clone();
            spawn(async move {
                connection.ready().await.unwrap();
                text(connection.send(get()).await.unwrap()).await
            })
        });
        drop(connection);
        for request in requests {
            assert_eq!(request.await.unwrap(), "next");
        }
    });
}

#[test]
fn a_raised_limit_lets_the_next_in() {
    let script = |raw: &mut Raw| {
        let first = raw.request();
        raw.send(&answer(first, b"settled"));
        let second = raw.request();
        raw.send(&settings(&[(MAX_CONCURRENT_STREAMS, 2)]));
        let third = raw.request();
        raw.send(&[answer(third, b"third"), answer(second, b"second")].concat());
        farewell(raw);
    };
    against(&[(MAX_CONCURRENT_STREAMS, 1)], script, |mut connection| async move {
        text(connection.send(get()).await.unwrap()).await;
        let second = connection.send(get());
        let busy = connection.send(get()).await.unwrap_err();
        assert_eq!((busy.kind(), busy.is_retryable()), (Kind::Busy, true));
        connection.ready().await.unwrap();
        assert_eq!(text(connection.send(get()).await.unwrap()).await, "third");
        assert_eq!(text(second.await.unwrap()).await, "second");
    });
}

#[test]
fn a_lowered_limit_holds_for_the_next_and_ends_nobody() {
    let script = |raw: &mut Raw| {
        let (first, second) = (raw.request(), raw.request());
        raw.send(&settings(&[(MAX_CONCURRENT_STREAMS, 1)]));
        raw.send(&answer(first, b"first"));
        raw.send(&frame(PING, 0, 0, b"anybody?"));
        let next = raw.read_until(|frame| frame.kind == HEADERS || frame.kind == PING);
        assert_eq!(next.kind, PING, "one is under way, and no more are allowed");
        raw.send(&answer(second, b"second"));
        let third = raw.request();
        raw.send(&answer(third, b"third"));
        farewell(raw);
    };
    against(&[(MAX_CONCURRENT_STREAMS, 2)], script, |mut connection| async move {
        let (first, second) = (connection.send(get()), connection.send(get()));
        assert_eq!(text(first.await.unwrap()).await, "first");
        connection.ready().await.unwrap();
        let third = connection.send(get());
        assert_eq!(text(second.await.unwrap()).await, "second");
        assert_eq!(text(third.await.unwrap()).await, "third");
    });
}

#[test]
fn content_that_breaks_a_rule_is_an_error_that_says_which() {
    const FIVE: [(&str, &str); 2] = [(":status", "200"), ("content-length", "5")];
    type Case = (&'static [(&'static str, &'static str)], Vec<u8>, &'static str);
    let cases: [Case; 4] = [
        (&FIVE, frame(DATA, END_STREAM, 1, b"abc"), "too short"),
        (&FIVE, frame(DATA, END_STREAM, 1, b"abcdef"), "too long"),
        (&[(":status", "204")], frame(DATA, END_STREAM, 1, b"abc"), "on a 204"),
        (&[(":status", "200")], head(1, END_STREAM, &[(":status", "200")]), "a head for trailers"),
    ];
    for (fields, then, what) in cases {
        let script = move |raw: &mut Raw| {
            let stream = raw.request();
            raw.send(&head(stream, 0, fields));
            raw.send(&then);
            assert_eq!(reset_of(raw), (stream, 1));
            farewell(raw);
        };
        against(&[], script, move |mut connection| async move {
            let error = connection.send(get()).await.unwrap().into_body().collect(100).await.unwrap_err();
            let BodyError::Violation { reason: Reason::PROTOCOL_ERROR, text } = error else {
                panic!("{what}: {error:?}")
            };
            assert!(!text.is_empty(), "{what}");
            assert_eq!(error.to_string(), format!("the stream was reset: PROTOCOL_ERROR: {text}"));
        });
    }
}

// Cancellation.

#[test]
fn dropping_a_response_resets_its_stream_with_cancel() {
    let script = |raw: &mut Raw| {
        let first = raw.request();
        assert_eq!(reset_of(raw), (first, CANCEL));
        let second = raw.request();
        raw.send(&head(second, 0, &[(":status", "200")]));
        assert_eq!(reset_of(raw), (second, CANCEL));
        let third = raw.request();
        raw.send(&answer(third, b"still alive"));
        farewell(raw);
    };
    against(&[], script, |mut connection| async move {
        let (sender, body) = Body::channel();
        assert!(poll_once(connection.send(post(body))).await.is_pending());
        assert!(format!("{sender:?}").contains("wanted"));
        drop(connection.send(get()).await.unwrap());
        assert_eq!(text(connection.send(get()).await.unwrap()).await, "still alive");
    });
}

#[test]
fn dropping_a_response_drops_the_content_of_its_request() {
    let script = |raw: &mut Raw| {
        let first = raw.request();
        assert_eq!(reset_of(raw), (first, CANCEL));
        farewell(raw);
    };
    against(&[], script, |mut connection| async move {
        let (mut sender, body) = Body::channel();
        let future = connection.send(post(body));
        sender.send("a piece".into()).await.unwrap();
        yield_now().await;
        drop(future);
        yield_now().await;
        assert!(sender.send("another".into()).await.is_err(), "nobody wants it");
    });
}

#[test]
fn leaving_the_line_gives_the_place_to_the_next() {
    let script = |raw: &mut Raw| {
        for text in ["settled", "second", "third"] {
            let stream = raw.request();
            raw.send(&answer(stream, text.as_bytes()));
        }
        farewell(raw);
    };
    against(&[(MAX_CONCURRENT_STREAMS, 1)], script, |mut connection| async move {
        text(connection.send(get()).await.unwrap()).await;
        let second = connection.send(get());
        let (mut quitter, mut next) = (connection.clone(), connection.clone());
        // In line, then gone.
        assert!(poll_once(quitter.ready()).await.is_pending());
        // Granted, then gone: a task that is first in line, and is aborted before it runs again.
        let mut holder = connection.clone();
        let waiting = spawn(async move {
            holder.ready().await.unwrap();
            std::future::pending::<()>().await;
        });
        yield_now().await;
        let third = spawn(async move {
            next.ready().await.unwrap();
            text(next.send(get()).await.unwrap()).await
        });
        yield_now().await;
        assert_eq!(text(second.await.unwrap()).await, "second");
        waiting.abort();
        assert!(waiting.await.is_err());
        assert_eq!(third.await.unwrap(), "third");
    });
}

#[test]
fn the_connection_outlives_its_handles_until_the_last_response_has_come() {
    let script = |raw: &mut Raw| {
        let stream = raw.request();
        raw.send(&head(stream, 0, &[(":status", "200")]));
        raw.send(&frame(PING, 0, 0, b"no hurry"));
        let pong = raw.read_until(|frame| frame.kind == PING || frame.kind == GOAWAY);
        assert_eq!((pong.kind, pong.flags), (PING, ACK), "no GOAWAY while a response is on its way");
        raw.send(&frame(DATA, END_STREAM, stream, b"late"));
        farewell(raw);
    };
    against(&[], script, |mut connection| async move {
        let future = connection.send(get());
        drop(connection);
        assert_eq!(text(future.await.unwrap()).await, "late");
    });
}

#[test]
fn shutting_down_waits_for_what_is_under_way_and_takes_no_more() {
    let script = |raw: &mut Raw| {
        let stream = raw.request();
        raw.send(&answer(stream, b"last"));
        farewell(raw);
    };
    against(&[], script, |mut connection| async move {
        let mut other = connection.clone();
        let future = connection.send(get());
        let closing = spawn(connection.shutdown());
        yield_now().await;
        let error = other.ready().await.unwrap_err();
        assert!(error.is_closed() && error.is_retryable(), "{error:?}");
        assert!(!closing.is_finished());
        assert_eq!(text(future.await.unwrap()).await, "last");
        closing.await.unwrap();
        other.closed().await;
    });
}

// RFC 9110 §15.2, §10.1.1: interim responses.

#[test]
fn interim_responses_are_seen_before_the_final_one() {
    let script = |raw: &mut Raw| {
        let stream = raw.request();
        raw.send(&head(stream, 0, &[(":status", "103"), ("link", "</style.css>; rel=preload")]));
        raw.send(&head(stream, 0, &[(":status", "102")]));
        raw.send(&answer(stream, b"ok"));
        farewell(raw);
    };
    against(&[], script, |mut connection| async move {
        let mut future = connection.send(get());
        let hints = future.interim().await.unwrap();
        assert_eq!((hints.status().as_u16(), hints.headers().len()), (103, 1));
        assert_eq!(future.interim().await.unwrap().status(), 102);
        assert!(future.interim().await.is_none());
        assert_eq!(text(future.await.unwrap()).await, "ok");
    });
}

// RFC 9110 §9.3.2: the length that a HEAD is answered with is that of the content that a GET would bring.

#[test]
fn the_length_in_an_answer_to_head_is_not_that_of_its_body() {
    let script = |raw: &mut Raw| {
        let stream = raw.request();
        raw.send(&head(stream, 0, &[(":status", "200"), ("content-length", "13")]));
        raw.send(&frame(DATA, END_STREAM, stream, b""));
        farewell(raw);
    };
    against(&[], script, |mut connection| async move {
        let request = Request::head("http://a.example/").body(Body::empty()).unwrap();
        let response = connection.send(request).await.unwrap();
        assert_eq!(response.headers()["content-length"], "13");
        assert_eq!(response.body().exact_length(), None);
        assert_eq!(text(response).await, "");
    });
}

#[test]
fn content_waits_for_the_100_that_its_head_asks_for() {
    let script = |raw: &mut Raw| {
        let stream = raw.request();
        raw.send(&frame(PING, 0, 0, b"no data?"));
        assert_eq!(raw.read_until(|frame| frame.kind == PING || frame.kind == DATA).kind, PING);
        raw.send(&head(stream, 0, &[(":status", "100")]));
        assert_eq!(raw.content(stream), b"content");
        raw.send(&answer(stream, b"ok"));
        let refused = raw.request();
        raw.send(&head(refused, END_STREAM, &[(":status", "417")]));
        let reset = raw.read_until(|frame| frame.kind == RST_STREAM || frame.kind == DATA);
        assert_eq!((reset.kind, reset.stream), (RST_STREAM, refused), "content that nobody wants");
        farewell(raw);
    };
    against(&[], script, |mut connection| async move {
        let expecting = || {
            let mut request = post("content");
            request.headers_mut().insert("expect", "100-continue".parse().unwrap());
            request
        };
        assert_eq!(text(connection.send(expecting()).await.unwrap()).await, "ok");
        assert_eq!(connection.send(expecting()).await.unwrap().status(), 417);
    });
}

// Time limits.

#[test]
fn a_request_that_takes_too_long_is_reset_before_and_after_its_head() {
    let script = |raw: &mut Raw| {
        let first = raw.request();
        assert_eq!(reset_of(raw), (first, CANCEL));
        let second = raw.request();
        raw.send(&head(second, 0, &[(":status", "200")]));
        assert_eq!(reset_of(raw), (second, CANCEL));
        farewell(raw);
    };
    against(&[], script, |mut connection| async move {
        let limit = Duration::from_millis(300);
        let error = connection.send(get()).timeout(limit).await.unwrap_err();
        assert!(error.is_timeout() && !error.is_retryable(), "{error:?}");
        let mut body = connection.send(get()).timeout(limit).await.unwrap().into_body();
        let error = body.data().await.unwrap().unwrap_err();
        assert!(matches!(error, BodyError::TimedOut { .. }), "{error:?}");
    });
}

#[test]
fn connecting_has_a_time_limit_of_its_own() {
    // Its queue of one is full, so the system ignores whoever comes next.
    let listener = wakering::net::TcpListener::builder().backlog(0).bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    let error = wakering::run(async {
        for _ in 0..10 {
            let builder = client::builder().connect_timeout(Duration::from_millis(50));
            match builder.connect(address).await {
                Ok(connection) => queue.push(connection),
                Err(error) => return Some(error),
            }
        }
        None
    });
    let Some(error) = error.unwrap() else {
        support::skip("the system's queue takes whoever comes");
        return;
    };
    assert!(error.is_timeout() && error.is_retryable(), "{error:?}");
}

// What was written decides what may be sent again.

#[test]
fn a_request_whose_head_was_never_written_may_be_sent_again() {
    let (close, may_close) = channel();
    let (closed, is_closed) = channel();
    let server = Scripted::start(move |listener| {
        let mut raw = support::scripted::accept(listener, &[]);
        let first = raw.request();
        raw.send(&head(first, 0, &[(":status", "103")]));
        may_close.recv().unwrap();
        // The content is not read: that makes the kernel send RST.
        drop(raw);
        closed.send(()).unwrap();
    });
    let address = server.address;
    wakering::run(async {
        let mut connection = client::connect(address).await.unwrap();
        let mut first = connection.send(post("unread"));
        assert_eq!(first.interim().await.unwrap().status(), 103);
        // The worker is held up here, so the connection learns of its end only while it writes the next request.
        close.send(()).unwrap();
        is_closed.recv().unwrap();
        let mut second = connection.send(post("again"));
        let error = (&mut second).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Kind::Closed, true), "{error:?}");
        assert_eq!(second.take_request().unwrap().into_body().collect(10).await.unwrap(), "again");
        let error = first.await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Kind::Closed, false), "{error:?}");
    })
    .unwrap();
    server.end();
}

// What cannot be sent.

#[test]
fn a_request_that_http2_forbids_is_misuse_and_given_back() {
    let script = |raw: &mut Raw| farewell(raw);
    against(&[], script, |mut connection| async move {
        let forbidden = Request::get("http://a/").header("connection", "close").body(Body::empty());
        let homeless = Request::get("/path").body(Body::empty());
        let wrong_length = Request::post("http://a/").header("content-length", "7").body("abc".into());
        for request in [forbidden, homeless, wrong_length] {
            let mut future = connection.send(request.unwrap());
            let error = (&mut future).await.unwrap_err();
            assert_eq!((error.kind(), error.is_retryable()), (Kind::Misuse, false), "{error:?}");
            assert!(future.take_request().is_some());
        }
    });
}

#[test]
fn content_that_fails_resets_its_request_and_says_why() {
    let script = |raw: &mut Raw| {
        let stream = raw.request();
        assert_eq!(reset_of(raw), (stream, INTERNAL_ERROR));
        farewell(raw);
    };
    against(&[], script, |mut connection| async move {
        let (sender, body) = Body::channel();
        drop(sender);
        let error = connection.send(post(body)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Body);
        assert!(error.to_string().contains("dropped before its end"), "{error}");
    });
}

#[test]
fn connect_makes_a_tunnel() {
    let script = |raw: &mut Raw| {
        let stream = raw.request();
        raw.send(&head(stream, 0, &[(":status", "200")]));
        let data = raw.next(DATA);
        assert_eq!(data.payload, b"ping");
        raw.send(&frame(DATA, 0, stream, b"pong"));
        assert_eq!(raw.content(stream), b"");
        raw.send(&frame(DATA, END_STREAM, stream, b""));
        farewell(raw);
    };
    against(&[], script, |mut connection| async move {
        let (mut sender, body) = Body::channel();
        let request = Request::builder().method("CONNECT").uri("a.example:443").body(body).unwrap();
        let mut tunnel = connection.send(request).await.unwrap().into_body();
        sender.send("ping".into()).await.unwrap();
        assert_eq!(tunnel.data().await.unwrap().unwrap(), "pong");
        sender.finish();
        assert!(tunnel.data().await.is_none());
    });
}
