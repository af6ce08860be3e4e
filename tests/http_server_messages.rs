//! What handlers of `http::Server` may send, and what of a request reaches them: what HTTP/2 forbids goes neither way
//! (RFC 9113 §8).

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "support/serving.rs"]
mod serving;

use std::{
    future::ready,
    pin::Pin,
    sync::mpsc::{Receiver, channel},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use serving::{Answer, Client, Serving};
use wakering::http::{
    BadResponse, Body, BodyError, CommandError, Config, Content, Frame, HeaderMap, HeaderName, HeaderValue,
    Method, Reason, Request, Response, Server, StatusCode, header,
};

/// A handler's mistakes, by path.
fn mistake(path: &str) -> Response<Body> {
    let mut response = Response::new(Body::from("five."));
    let fields: &[(&'static str, &'static str)] = match path {
        "/connection" => &[("connection", "close")],
        "/keep-alive" => &[("keep-alive", "timeout=5")],
        "/proxy-connection" => &[("proxy-connection", "keep-alive")],
        "/transfer-encoding" => &[("transfer-encoding", "chunked")],
        "/upgrade" => &[("upgrade", "h2c")],
        "/te" => &[("te", "gzip")],
        "/blank" => &[("x", " in front")],
        "/tab" => &[("x", "behind\t")],
        "/length" => &[("content-length", "4")],
        "/no-length" => &[("content-length", "five")],
        "/lengths" => &[("content-length", "5"), ("content-length", "6")],
        "/agrees" => &[("content-length", "5"), ("te", "trailers")],
        "/interim" => {
            *response.status_mut() = StatusCode::EARLY_HINTS;
            &[]
        }
        _ => &[],
    };
    for (name, value) in fields {
        response.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// A server of mistakes, and what it reports.
fn mistaken() -> (Serving, Receiver<BadResponse>) {
    let (report, reports) = channel();
    let builder = Server::builder().on_bad_response(move |bad| report.send(bad.clone()).unwrap());
    let server = Serving::start(builder, || |request: Request<Body>| ready(mistake(request.uri().path())));
    (server, reports)
}

/// RFC 9113 §8.2.1, §8.2.2; RFC 9110 §8.6.
#[test]
fn a_head_that_http2_forbids_is_500_and_reported_with_the_name_of_the_field() {
    let (server, reports) = mistaken();
    let mut client = Client::connect(&server);
    for (name, error, field) in [
        ("connection", CommandError::ForbiddenField, Some("connection")),
        ("keep-alive", CommandError::ForbiddenField, Some("keep-alive")),
        ("proxy-connection", CommandError::ForbiddenField, Some("proxy-connection")),
        ("transfer-encoding", CommandError::ForbiddenField, Some("transfer-encoding")),
        ("upgrade", CommandError::ForbiddenField, Some("upgrade")),
        ("te", CommandError::ForbiddenField, Some("te")),
        ("blank", CommandError::ForbiddenField, Some("x")),
        ("tab", CommandError::ForbiddenField, Some("x")),
        ("lengths", CommandError::ForbiddenField, Some("content-length")),
        ("length", CommandError::ContentLength, None),
        ("no-length", CommandError::ContentLength, None),
        ("interim", CommandError::Status, None),
    ] {
        let answer = client.ask(Method::GET, &format!("/{name}"));
        assert_eq!((answer.status, answer.content.len(), answer.reset), (500, 0, None), "{name}");
        assert!(
            answer.headers.keys().all(|it| it == "date" || it == "content-length"),
            "{:?}",
            answer.headers
        );
        let report = reports.recv().unwrap();
        assert_eq!((report.error, report.field.as_ref().map(HeaderName::as_str)), (error, field), "{name}");
        assert_eq!((report.reset, report.connection.peer_addr), (false, client.local_addr()));
    }
    let answer = client.ask(Method::GET, "/agrees");
    assert_eq!((answer.status, answer.content), (200, b"five.".to_vec()));
    assert_eq!(client.ask(Method::HEAD, "/length").status, 200, "HEAD may say another length than it counts");
    server.stop(Duration::ZERO);
    assert_eq!(reports.iter().count(), 0);
}

#[test]
fn content_that_contradicts_its_length_and_bad_trailers_reset_the_stream_and_are_reported() {
    let (report, reports) = channel();
    let builder = Server::builder().on_bad_response(move |bad| report.send(bad.clone()).unwrap());
    let server = Serving::start(builder, || {
        |request: Request<Body>| {
            let (mut sender, body) = Body::channel();
            let mut response = Response::new(body);
            let path = request.uri().path().to_owned();
            if path == "/longer" || path == "/shorter" {
                response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("5"));
            }
            drop(wakering::spawn(async move {
                let content: &[u8] = if path == "/longer" { b"six..." } else { b"four" };
                sender.send(Bytes::copy_from_slice(content)).await.unwrap();
                let mut trailers = HeaderMap::new();
                match path.as_str() {
                    "/connection" => trailers.insert("connection", HeaderValue::from_static("close")),
                    "/length" => trailers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("4")),
                    _ => return sender.finish(),
                };
                sender.finish_with(trailers).unwrap();
            }));
            ready(response)
        }
    });
    let mut client = Client::connect(&server);
    for (path, error) in [
        ("/longer", CommandError::ContentLength),
        ("/shorter", CommandError::ContentLength),
        ("/connection", CommandError::ForbiddenField),
        ("/length", CommandError::ForbiddenField),
    ] {
        let answer = client.ask(Method::GET, path);
        assert_eq!((answer.status, answer.reset), (200, Some(Reason::INTERNAL_ERROR)), "{path}");
        assert!(answer.content.len() <= 5 && answer.trailers.is_none(), "{path}");
        let report = reports.recv().unwrap();
        assert_eq!((report.error, report.reset), (error, true), "{path}");
    }
    assert_eq!(client.ask(Method::GET, "/fine").status, 200);
    server.stop(Duration::ZERO);
}

/// RFC 9113 §8.2.3, RFC 7541 §7.1.3: what passes through a handler keeps its marks.
#[test]
fn cookies_are_joined_and_what_must_not_be_indexed_stays_so_on_the_way_through_a_handler() {
    let server = Serving::plain(|| {
        |request: Request<Body>| {
            let mut response = Response::new(Body::empty());
            for name in ["cookie", "x-token", "x-plain"] {
                let values = request.headers().get_all(name);
                assert!(values.iter().count() <= 1, "one field for all crumbs");
                for value in values {
                    response.headers_mut().append(name, value.clone());
                }
            }
            ready(response)
        }
    });
    let mut client = Client::connect(&server);
    let mut request = client.request(Method::GET, "/");
    let mut secret = HeaderValue::from_static("secret");
    secret.set_sensitive(true);
    let fields = request.headers_mut();
    fields.append(header::COOKIE, HeaderValue::from_static("a=1"));
    fields.append(header::COOKIE, HeaderValue::from_static("b=2"));
    fields.insert("x-token", secret);
    fields.insert("x-plain", HeaderValue::from_static("plain"));
    let stream = client.send(&request, true);
    let answer: Answer = client.answer(stream);
    assert_eq!(answer.headers["cookie"], "a=1; b=2");
    assert!(answer.headers["x-token"].is_sensitive());
    assert!(!answer.headers["x-plain"].is_sensitive());
    server.stop(Duration::ZERO);
}

/// RFC 9113 §8.1.1: what is malformed never reaches a handler.
#[test]
fn a_request_that_is_malformed_calls_no_handler() {
    let (called, calls) = channel();
    let server = Serving::plain(|| {
        move |request: Request<Body>| {
            called.send(request.uri().path().to_owned()).unwrap();
            ready(Response::new(Body::empty()))
        }
    });
    let mut raw = raw(&server);
    for (id, more) in (1..).step_by(2).zip([
        ("host", "other"),
        ("connection", "close"),
        ("te", "gzip"),
        ("content-length", "1"),
        ("X-Upper", "case"),
        ("x", "a\r\nb: c"),
        ("x", "nul\0"),
        ("x", " blank"),
        (":path", "/twice"),
    ]) {
        write(
            &mut raw,
            &[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/bad"), more],
            id,
        );
    }
    let good =
        [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/good"), ("host", "a:80")];
    write(&mut raw, &good, 99);
    assert_eq!(calls.recv().unwrap(), "/good");
    drop(raw);
    server.stop(Duration::ZERO);
    assert_eq!(calls.iter().count(), 0);
}

/// A connection whose frames are written by hand.
fn raw(server: &Serving) -> std::net::TcpStream {
    use std::io::Write;
    let mut socket = std::net::TcpStream::connect(server.address).unwrap();
    socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    socket
}

/// A request of literals, without content.
fn write(socket: &mut std::net::TcpStream, fields: &[(&str, &str)], stream: u32) {
    use std::io::Write;
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let block: Vec<u8> =
        fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect();
    let length = u32::try_from(block.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[1, 5], &stream.to_be_bytes()[..]].concat();
    socket.write_all(&[head, block].concat()).unwrap();
}

/// Content of a known length, in pieces.
struct Pieces(u32);

impl Content for Pieces {
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let Some(left) = self.0.checked_sub(1) else { return Poll::Ready(None) };
        self.0 = left;
        Poll::Ready(Some(Ok(Frame::Data(Bytes::from_static(&[7; 16_384])))))
    }

    fn exact_length(&self) -> Option<u64> {
        Some(u64::from(self.0) * 16_384)
    }
}

/// RFC 9113 §6.9: an empty DATA frame needs no window, and whoever knows the length gives none back for the end.
#[test]
fn content_that_uses_up_the_window_exactly_is_ended() {
    let server = Serving::plain(|| |_: Request<Body>| ready(Response::new(Body::streaming(Pieces(4)))));
    let mut client = Client::with(server.address, Config { stream_window: 65_536, ..Config::default() });
    let answer = client.ask(Method::GET, "/");
    assert_eq!((answer.status, answer.content.len(), answer.reset), (200, 65_536, None));
    drop(client);
    server.stop(Duration::ZERO);
}
