//! The HTTP/1 machine: the same octets in one piece and in many have the same outcome.
//!
//! The octets are pieces of requests, whole and broken, in the order that the tape says, and sometimes the tape itself.

use std::io::IoSlice;

use bytes::Bytes;
use wakering::http::{HeaderMap, StatusCode};
use wakering::internals::h1::{Connection, Http1};
use wakering::internals::h2::{Config, Event, StreamKey};

use crate::tape::Tape;

/// What requests are made of, and what they should not be made of.
const PIECES: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "POST /a?b HTTP/1.1\r\n",
    "HEAD http://b/c HTTP/1.0\r\n",
    "CONNECT a:80 HTTP/1.1\r\n",
    "OPTIONS * HTTP/1.2\r\n",
    "host: a\r\n",
    "connection: close\r\n",
    "connection: keep-alive, upgrade, http2-settings\r\n",
    "upgrade: h2c\r\n",
    "http2-settings: AAMAAABk\r\n",
    "expect: 100-continue\r\n",
    "content-length: 5\r\n",
    "content-length: 0\r\n",
    "content-length: 99999999999999999999\r\n",
    "transfer-encoding: chunked\r\n",
    "transfer-encoding: gzip, chunked\r\n",
    "x: y\r\n",
    "x : y\r\n",
    " folded\r\n",
    "\r\n",
    "hello",
    "5\r\nhello\r\n",
    "3;a=\"b\\\"\"\r\nabc\r\n",
    "0\r\n",
    "0\r\ntrailer: x\r\n",
    "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "\n",
    "\r",
    "\0",
];

pub(crate) fn run(data: &[u8]) {
    let mut tape = Tape::new(data);
    let mut octets = Vec::new();
    let pieces = 1 + tape.below(24);
    for _ in 0..pieces {
        match tape.below(40) {
            at if at < PIECES.len() => octets.extend_from_slice(PIECES[at].as_bytes()),
            // A long line or many short ones, up to the bounds and beyond.
            at if at == PIECES.len() => octets.extend(std::iter::repeat_n(b'a', tape.below(10_000))),
            at if at == PIECES.len() + 1 => octets.extend(b"x: y\r\n".repeat(tape.below(120))),
            _ => {
                let n = tape.below(16);
                octets.extend_from_slice(tape.take(n));
            }
        }
    }
    let http1 = Http1 { content_bytes: 1 << 20, h2c_upgrade: true, ..Http1::default() };
    let whole = outcome(&http1, &octets, |rest| rest);
    let one = 1 + tape.below(7);
    let steady = outcome(&http1, &octets, |rest| rest.min(one));
    assert_eq!(whole, steady, "in pieces of {one}");
    let any = outcome(&http1, &octets, |rest| rest.min(1 + tape.below(64)));
    assert_eq!(whole, any, "in pieces of any size");
}

/// What came of the octets: events in words, with content in one piece, and what was sent.
fn outcome(http1: &Http1, octets: &[u8], mut cut: impl FnMut(usize) -> usize) -> (Vec<String>, String) {
    let mut run = Run {
        core: Connection::server(Config::default(), http1.clone(), false, 0),
        events: Vec::new(),
        content: Vec::new(),
        sent: Vec::new(),
    };
    let mut rest = octets;
    while !rest.is_empty() && !run.core.is_closed() {
        let (piece, more) = rest.split_at(cut(rest.len()));
        rest = more;
        // A driver reads no more than is wanted; here the piece is there already.
        run.core.receive(Bytes::copy_from_slice(piece));
        run.turn();
    }
    run.core.receive_end();
    run.turn();
    run.flush_content();
    let sent = String::from_utf8_lossy(&run.sent);
    let statuses = sent.split("HTTP/1.1 ").skip(1).map(|rest| rest.get(..3).unwrap_or_default()).collect();
    (run.events, statuses)
}

struct Run {
    core: Connection,
    events: Vec<String>,
    content: Vec<u8>,
    sent: Vec<u8>,
}

impl Run {
    fn turn(&mut self) {
        loop {
            while let Some(event) = self.core.poll_event(0) {
                self.on_event(event);
            }
            let _deadline = self.core.next_deadline(0);
            self.write();
            if !self.core.has_events() {
                return;
            }
        }
    }

    fn write(&mut self) {
        loop {
            let mut slices = [IoSlice::new(&[]); 8];
            let used = self.core.poll_transmit(0, &mut slices);
            let n = slices[..used].iter().map(|slice| slice.len()).sum();
            slices[..used].iter().for_each(|slice| self.sent.extend_from_slice(slice));
            if n == 0 {
                return;
            }
            self.core.transmitted(n);
        }
    }

    fn flush_content(&mut self) {
        if !self.content.is_empty() {
            let content = std::mem::take(&mut self.content);
            self.events.push(format!("content {:?}", String::from_utf8_lossy(&content)));
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Data { stream, data, end } => {
                self.core.release(stream, data.len());
                self.content.extend_from_slice(&data);
                if end {
                    self.flush_content();
                    self.events.push("end".to_owned());
                    self.answer(stream);
                }
            }
            Event::Request { stream, request, end } => {
                self.flush_content();
                self.events.push(format!("{request:?} {end}"));
                let tunnel = request.method() == "CONNECT" || request.headers().contains_key("upgrade");
                self.core.recycle_head(request);
                if end || tunnel {
                    self.answer(stream);
                }
            }
            Event::Trailers { stream, trailers } => {
                self.flush_content();
                self.events.push(format!("{trailers:?}"));
                self.answer(stream);
            }
            Event::Closed { error } => {
                self.flush_content();
                // Which of two faults is named depends on what had come; the status does not.
                self.events.push(format!("closed {}", error.is_some()));
            }
            // The change to HTTP/2 is declined.
            Event::Http1 => {}
            other => panic!("a server does not expect {other:?}"),
        }
    }

    fn answer(&mut self, stream: StreamKey) {
        let head = self.core.respond(stream, StatusCode::OK, &HeaderMap::new(), false);
        if head.is_ok() {
            // Where there is no content it is not sent.
            let _ = self.core.send_data(stream, Bytes::from_static(b"answer"), true);
        }
        self.core.finish(stream);
    }
}
