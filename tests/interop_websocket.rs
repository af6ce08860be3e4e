//! WebSockets over HTTP/2 (RFC 8441) against `examples/websocket_echo`: a client of other hands, and frames by hand.

#![cfg(not(any(loom, wakering_fallback)))]

mod support;

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use support::h2::{DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, Raw, SETTINGS, frame, is_200};
use support::peer::{Peer, Role, Row, installed, python, script, stop};
use support::server::Server;

const LIMIT: Duration = Duration::from_secs(60);

fn start() -> Server {
    Server::start("websocket_echo", &["--grace", "5"])
}

/// Has a foreign client go through its checks, and stops the server.
fn serve(peer: &'static str, program: &Path, name: &str, target: impl Fn(&Server) -> String) {
    let server = start();
    let line: [OsString; 2] = [script(name).into(), target(&server).into()];
    Peer::start(Row::new(peer, Role::Client), program, &line).follow(LIMIT, || {});
    stop(&server);
    // The clients leave some of their sockets without a word, which the server says.
    let (status, _, _errors) = server.wait(Duration::from_secs(60));
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_client_on_h2_and_wsproto_of_python_has_its_messages_back() {
    const PEER: &str = "h2 and wsproto (Python)";
    let Some(program) = python("h2, wsproto", PEER, Role::Client) else { return };
    serve(PEER, &program, "client_websocket.py", |server| server.address.to_string());
}

#[test]
fn a_client_on_http2_of_node_has_its_messages_back() {
    const PEER: &str = "node http2 (WebSocket)";
    let Some(program) = installed("node", PEER, Role::Client) else { return };
    serve(PEER, &program, "client_websocket.mjs", |server| server.url(""));
}

/// Literals without indexing.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("a short text"));
            block.extend(text.bytes());
        }
    }
    block
}

/// A client's message of a few bytes; the mask is zero, so that it can be read (RFC 6455 §5.3 demands one).
fn message(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).expect("a short message");
    [&[0x80 | kind, 0x80 | length, 0, 0, 0, 0], content].concat()
}

const TEXT: u8 = 1;
const CLOSE: u8 = 8;

fn open(raw: &mut Raw, stream: u32) {
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "test"),
        (":path", "/"),
        ("sec-websocket-version", "13"),
    ];
    raw.send(&frame(HEADERS, END_HEADERS, stream, &block(&fields)));
    let head = raw.read_until(|frame| frame.stream == stream);
    assert!(head.kind == HEADERS && head.flags & END_STREAM == 0 && is_200(&head.payload), "{head:?}");
}

#[test]
fn a_message_in_frames_by_hand_comes_back_and_the_close_ends_the_stream() {
    let server = start();
    let mut raw = Raw::open(server.address);
    open(&mut raw, 1);
    // Cut inside the WebSocket frame, which has nothing to do with HTTP/2's.
    let hello = message(TEXT, b"hello");
    raw.send(&frame(DATA, 0, 1, &hello[..3]));
    raw.send(&frame(DATA, 0, 1, &hello[3..]));
    let echo = raw.read_until(|frame| frame.kind == DATA);
    assert_eq!(echo.payload, b"\x81\x05hello");
    raw.send(&frame(DATA, END_STREAM, 1, &message(CLOSE, &[0x03, 0xe8])));
    let mut received = Vec::new();
    loop {
        let frame = raw.read_until(|frame| frame.stream == 1);
        assert_eq!(frame.kind, DATA, "{frame:?}");
        received.extend(frame.payload);
        if frame.flags & END_STREAM != 0 {
            break;
        }
    }
    assert_eq!(received, b"\x88\x02\x03\xe8", "the close comes back, and then END_STREAM");
    open(&mut raw, 3);
}

/// RFC 6455 §5.1: the server fails the WebSocket; here that is the stream, with CANCEL (RFC 8441 §5).
#[test]
fn a_message_without_a_mask_ends_its_stream_and_no_other() {
    let server = start();
    let mut raw = Raw::open(server.address);
    open(&mut raw, 1);
    open(&mut raw, 3);
    raw.send(&frame(DATA, 0, 1, b"\x81\x05hello"));
    let reset = raw.read_until(|frame| frame.stream == 1 && frame.kind == RST_STREAM);
    assert_eq!(reset.payload, [0, 0, 0, 8]);
    raw.send(&frame(DATA, 0, 3, &message(TEXT, b"alive")));
    assert_eq!(raw.read_until(|frame| frame.stream == 3).payload, b"\x81\x05alive");
}

#[test]
fn the_server_offers_extended_connect_in_its_first_settings() {
    let server = start();
    let mut raw = Raw::connect(server.address);
    raw.send(support::h2::PREFACE);
    raw.send(&frame(SETTINGS, 0, 0, &[]));
    let settings = raw.read_until(|frame| frame.kind == SETTINGS);
    assert!(settings.payload.chunks(6).any(|entry| entry == [0, 8, 0, 0, 0, 1]), "{settings:?}");
}
