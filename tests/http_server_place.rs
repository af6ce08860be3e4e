//! What a handler of `http::Server` sees of its connection and says before its answer, and what arrives of its
//! answers, to the field.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "support/serving.rs"]
mod serving;

use std::{
    future::{pending, ready},
    io::Write,
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use serving::{Client, Serving};
use wakering::{
    http::{
        Body, CommandError, Config, ConnectionEnd, ConnectionInfo, ConnectionReport, Frame, HeaderMap,
        HeaderValue, Method, Place, Request, Response, Server, StatusCode, Trip, header, with_place,
    },
    internals::h2::Event,
    time::sleep,
};

fn map(name: &'static str, value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(header::HeaderName::from_static(name), HeaderValue::from_static(value))])
}

fn text(text: impl Into<String>) -> Response<Body> {
    Response::new(Body::from(text.into()))
}

#[test]
fn a_handler_sees_peer_local_address_connection_and_stream() {
    let server = Serving::plain(|| {
        with_place(|_: Request<Body>, place: Place| {
            let local = place.local_addr().unwrap();
            let facts = (place.peer_addr(), local, place.connection_id(), place.stream_id().unwrap());
            ready(text(format!("{} {} {} {}", facts.0, facts.1, facts.2, facts.3)))
        })
    });
    let mut connections = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(&server);
        for stream in ["1", "3"] {
            let answer = client.ask(Method::GET, "/");
            let content = String::from_utf8(answer.content).unwrap();
            let facts: Vec<&str> = content.split(' ').collect();
            assert_eq!(facts[0], client.local_addr().to_string());
            assert_eq!(facts[1], server.address.to_string());
            assert_eq!(facts[3], stream);
            connections.push(facts[2].to_owned());
        }
    }
    assert_eq!(connections[0], connections[1]);
    assert_eq!(connections[2], connections[3]);
    assert_ne!(connections[0], connections[2]);
    server.stop(Duration::ZERO);
}

/// RFC 8297, RFC 9110 §15.2.
#[test]
fn interim_responses_come_before_the_final_one_and_not_after() {
    let server = Serving::plain(|| {
        with_place(|_: Request<Body>, place: Place| async move {
            place.inform(StatusCode::EARLY_HINTS, &map("link", "</a.css>; rel=preload")).unwrap();
            sleep(Duration::from_millis(1)).await;
            place.inform(StatusCode::EARLY_HINTS, &map("link", "</b.css>; rel=preload")).unwrap();
            let refused = [
                place.inform(StatusCode::OK, &HeaderMap::new()),
                place.inform(StatusCode::SWITCHING_PROTOCOLS, &HeaderMap::new()),
                place.inform(StatusCode::EARLY_HINTS, &map("connection", "close")),
            ];
            text(format!("{refused:?}"))
        })
    });
    let answer = Client::connect(&server).ask(Method::GET, "/");
    let hints: Vec<_> =
        answer.interim.iter().map(|(status, fields)| (*status, fields["link"].to_str().unwrap())).collect();
    assert_eq!(hints, [(103, "</a.css>; rel=preload"), (103, "</b.css>; rel=preload")]);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.content, b"[Err(Status), Err(Status), Err(ForbiddenField)]");
    server.stop(Duration::ZERO);
}

#[test]
fn after_the_final_head_and_after_the_stream_nothing_can_be_said() {
    let (report, said) = std::sync::mpsc::channel();
    let server = Serving::plain(move || {
        with_place(move |_: Request<Body>, place: Place| {
            let report = report.clone();
            let (sender, body) = Body::channel();
            drop(wakering::spawn(async move {
                sleep(Duration::from_millis(1)).await; // the head is out
                report.send(place.inform(StatusCode::EARLY_HINTS, &HeaderMap::new())).unwrap();
                sender.finish();
                while place.stream_id().is_some() {
                    sleep(Duration::from_millis(1)).await;
                }
                report.send(place.inform(StatusCode::EARLY_HINTS, &HeaderMap::new())).unwrap();
            }));
            ready(Response::new(body))
        })
    });
    let mut client = Client::connect(&server);
    let answer = client.ask(Method::GET, "/");
    assert_eq!((answer.status, answer.interim.len(), answer.reset), (200, 0, None));
    assert_eq!(said.recv().unwrap(), Err(CommandError::WrongState));
    assert_eq!(said.recv().unwrap(), Err(CommandError::StreamGone));
    server.stop(Duration::ZERO);
}

/// RFC 9110 §10.1.1: 100 goes out when the content is first read, and not when nobody reads it.
#[test]
fn a_client_that_expects_100_is_invited_when_its_content_is_first_read() {
    let server = Serving::plain(|| {
        |request: Request<Body>| async move {
            match request.uri().path() {
                "/read" => text(format!("{} bytes", request.into_body().collect(100).await.unwrap().len())),
                "/echo" => Response::new(request.into_body()),
                _ => text("not read"),
            }
        }
    });
    for (path, expects, invited, content) in [
        ("/read", true, 1, "7 bytes"),
        ("/read", false, 0, "7 bytes"),
        ("/echo", true, 1, "content"),
        ("/unread", true, 0, "not read"),
    ] {
        let mut client = Client::connect(&server);
        let mut request = client.request(Method::POST, path);
        if expects {
            request.headers_mut().insert(header::EXPECT, HeaderValue::from_static("100-Continue"));
        }
        let stream = client.send(&request, false);
        let mut answer = serving::Answer::default();
        if invited > 0 {
            while answer.interim.is_empty() {
                assert!(!client.take(stream, &mut answer), "{path}: no invitation");
            }
        }
        client.data(stream, b"content", true).unwrap();
        while !client.take(stream, &mut answer) {}
        assert_eq!((answer.status, answer.interim.len()), (200, invited), "{path}");
        assert_eq!(answer.content, content.as_bytes(), "{path}");
        assert!(answer.interim.iter().all(|(status, fields)| *status == 100 && fields.is_empty()));
    }
    server.stop(Duration::ZERO);
}

/// RFC 9110 §6.4.1, §8.6, §9.3.2.
#[test]
fn head_204_and_304_have_no_content_and_head_says_the_length_that_get_would_have() {
    let server = Serving::plain(|| {
        |request: Request<Body>| {
            let mut response = text("five.");
            *response.status_mut() = match request.uri().path() {
                "/204" => StatusCode::NO_CONTENT,
                "/304" => StatusCode::NOT_MODIFIED,
                _ => StatusCode::OK,
            };
            ready(response)
        }
    });
    let mut client = Client::connect(&server);
    for (method, path, length, content) in [
        (Method::GET, "/", Some("5"), "five."),
        (Method::HEAD, "/", Some("5"), ""),
        (Method::GET, "/204", None, ""),
        (Method::GET, "/304", None, ""),
        (Method::HEAD, "/304", None, ""),
    ] {
        let answer = client.ask(method.clone(), path);
        let announced = answer.headers.get(header::CONTENT_LENGTH).map(|value| value.to_str().unwrap());
        assert_eq!(announced, length, "{method} {path}");
        assert_eq!(answer.content, content.as_bytes(), "{method} {path}");
        assert_eq!((answer.trailers, answer.reset), (None, None));
    }
    server.stop(Duration::ZERO);
}

/// RFC 9113 §8.1: trailers both ways, handed on by a handler that reads frames.
#[test]
fn trailers_of_the_request_reach_the_handler_and_those_of_the_answer_the_client() {
    let server = Serving::plain(|| {
        |request: Request<Body>| async move {
            let mut body = request.into_body();
            let (mut sender, answer) = Body::channel();
            while let Some(frame) = body.frame().await {
                match frame.unwrap() {
                    Frame::Data(data) => sender.send(data).await.unwrap(),
                    Frame::Trailers(trailers) => {
                        sender.finish_with(trailers).unwrap();
                        break;
                    }
                }
            }
            Response::new(answer)
        }
    });
    let mut client = Client::connect(&server);
    let request = client.request(Method::POST, "/");
    let stream = client.send(&request, false);
    client.data(stream, b"content", false).unwrap();
    client.core.send_trailers(stream, map("x-sum", "7")).unwrap();
    client.flush();
    let answer = client.answer(stream);
    assert_eq!(answer.content, b"content");
    assert_eq!(answer.trailers.unwrap(), map("x-sum", "7"));
    server.stop(Duration::ZERO);
}

/// A server whose handler waits for ever on `/never`, and what its hooks say.
fn hooked() -> (Serving, Receiver<ConnectionInfo>, Receiver<ConnectionReport>) {
    let ((connected, connections), (disconnected, reports)) = (channel(), channel());
    let builder = Server::builder()
        .on_connect(move |connection| connected.send(*connection).unwrap())
        .on_disconnect(move |report| disconnected.send(*report).unwrap());
    let server = Serving::start(builder, || {
        with_place(|request: Request<Body>, place: Place| async move {
            if request.uri().path() == "/never" {
                place.inform(StatusCode::PROCESSING, &HeaderMap::new()).unwrap();
                pending::<()>().await;
            }
            text("ok")
        })
    });
    (server, connections, reports)
}

#[test]
fn hooks_tell_who_came_how_each_connection_ended_and_what_it_did() {
    let (server, connections, reports) = hooked();

    let mut finished = Client::connect(&server);
    assert_eq!(finished.ask(Method::GET, "/").status, 200);
    let address = finished.local_addr();
    let came = connections.recv().unwrap();
    assert_eq!((came.peer_addr, came.local_addr), (address, Some(server.address)));
    drop(finished);
    let report = reports.recv().unwrap();
    assert_eq!((report.connection, report.end), (came, ConnectionEnd::Finished));
    assert_eq!((report.stats.streams, report.stats.streams_open), (1, 0));
    assert!(report.stats.bytes_received > 24 && report.stats.bytes_sent > 9);

    let mut broken = std::net::TcpStream::connect(server.address).unwrap();
    broken.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x06\0\0\0\0\0").unwrap();
    let report = reports.recv().unwrap();
    assert_eq!(report.connection, connections.recv().unwrap());
    assert!(matches!(report.end, ConnectionEnd::Failed(error) if error.is_peer()), "{report:?}");

    let mut old = std::net::TcpStream::connect(server.address).unwrap();
    old.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    assert_eq!(reports.recv().unwrap().end, ConnectionEnd::Http1);

    let mut gone = Client::connect(&server);
    let request = gone.request(Method::GET, "/never");
    gone.send(&request, true);
    drop(gone);
    let report = reports.recv().unwrap();
    // What it had not read when it went makes its end a reset.
    let broken_off = matches!(report.end, ConnectionEnd::Failed(_) | ConnectionEnd::Socket(_));
    assert!(broken_off, "it left with a stream open: {report:?}");

    let mut aborted = Client::connect(&server);
    let request = aborted.request(Method::GET, "/never");
    aborted.send(&request, true);
    assert!(matches!(aborted.event(), Some(Event::Informational { .. })), "the handler is at work");
    server.stop(Duration::ZERO);
    assert_eq!(reports.recv().unwrap().end, ConnectionEnd::Aborted);
    assert_eq!(connections.iter().count(), 3);
    assert_eq!(reports.iter().count(), 0, "each ends once");
}

#[test]
fn a_bound_that_ends_a_connection_is_named_in_its_report() {
    let (server, _connections, reports) = hooked();
    let mut flood = std::net::TcpStream::connect(server.address).unwrap();
    flood.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    // PRIORITY (RFC 9113 §6.3) does nothing: a thousand are let pass.
    let _ = flood.write_all(&b"\0\0\x05\x02\0\0\0\0\x01\0\0\0\0\x01".repeat(1_100));
    let report = reports.recv().unwrap();
    assert!(matches!(report.end, ConnectionEnd::Failed(error) if error.trip == Some(Trip::GlitchFlood)));
    server.stop(Duration::ZERO);
}

#[test]
fn a_hook_that_panics_harms_nobody() {
    let builder =
        Server::builder().on_connect(|_| panic!("on purpose")).on_disconnect(|_| panic!("on purpose"));
    let server = Serving::start(builder, || |_: Request<Body>| ready(text("ok")));
    for _ in 0..2 {
        assert_eq!(Client::connect(&server).ask(Method::GET, "/").status, 200);
    }
    assert_eq!(server.stop(Duration::from_secs(60)).aborted_connections, 0);
}

/// RFC 7838 §4, RFC 8336.
#[test]
fn a_server_tells_its_clients_of_alternatives_and_origins() {
    let h3 = HeaderValue::from_static("h3=\":443\"");
    let config = Config {
        origins: vec!["https://a.example".into()],
        alt_svc: vec![("https://a.example".into(), h3.clone())],
        ..Config::default()
    };
    let said = h3.clone();
    let server = Serving::start(Server::builder().http2(config), || {
        with_place(move |_: Request<Body>, place: Place| {
            place.advertise(&said).unwrap();
            ready(text("ok"))
        })
    });
    let mut client = Client::connect(&server);
    let request = client.request(Method::GET, "/");
    let key = client.send(&request, true);
    assert!(matches!(client.event(), Some(Event::Origins { origins }) if origins == ["https://a.example"]));
    let Some(Event::AltSvc { stream: None, origin, value }) = client.event() else { panic!("no ALTSVC") };
    assert_eq!((origin.as_str(), &value), ("https://a.example", &h3));
    let Some(Event::AltSvc { stream, value, .. }) = client.event() else { panic!("no ALTSVC on the stream") };
    assert_eq!((stream, value), (Some(key), h3));
    assert_eq!(client.answer(key).status, 200);
    server.stop(Duration::ZERO);
}
