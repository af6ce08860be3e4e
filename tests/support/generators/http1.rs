//! The HTTP/1 machine: the same octets in one piece and in many have the same outcome.
//!
//! The octets are pieces of requests, whole and broken, in the order that the tape says, and sometimes the tape itself. The
//! tape also says when the application answers: before it reads, behind the content, or long after everything has come,
//! the end included. When the machine says that it has nothing to do, asking it brings nothing: what was left lying
//! would wait for bytes that nobody sends. And when all is answered and all has ended, it holds nothing.

use std::io::IoSlice;

use bytes::Bytes;
use wakering::http::{HeaderMap, HeaderValue, StatusCode, header};
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
    "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x/1\r\n\r\nearly",
    "CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\nearly",
    "GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
];

/// As much as is longer than any bound; more is only slower.
const LONG: usize = 36_000;

/// When the application answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    /// When the head has come: content is thrown away.
    AtOnce,
    /// When the content has come.
    WhenRead,
    /// When nothing more comes, before the end is told.
    Late,
    /// When the end was told.
    TooLate,
}

const HABITS: [Habit; 4] = [Habit::WhenRead, Habit::AtOnce, Habit::Late, Habit::TooLate];

pub(crate) fn run(data: &[u8]) {
    let mut tape = Tape::new(data);
    let habit = HABITS[tape.below(HABITS.len())];
    let octets = octets(&mut tape);
    let whole = outcome(habit, &octets, |rest| rest);
    let one = 1 + tape.below(7);
    let steady = outcome(habit, &octets, |rest| rest.min(one));
    assert_eq!(whole, steady, "{habit:?}, in pieces of {one}");
    let any = outcome(habit, &octets, |rest| rest.min(1 + tape.below(64)));
    assert_eq!(whole, any, "{habit:?}, in pieces of any size");
}

fn octets(tape: &mut Tape<'_>) -> Vec<u8> {
    let mut octets = Vec::new();
    let pieces = 1 + tape.below(24);
    for _ in 0..pieces {
        match tape.below(PIECES.len() + 8) {
            at if at < PIECES.len() => octets.extend_from_slice(PIECES[at].as_bytes()),
            // A long line or many short ones, up to the bounds and beyond.
            at if at == PIECES.len() && octets.len() < LONG => {
                octets.extend(std::iter::repeat_n(b'a', tape.below(10_000)));
            }
            at if at == PIECES.len() + 1 => octets.extend(b"x: y\r\n".repeat(tape.below(120))),
            _ => {
                let n = tape.below(16);
                octets.extend_from_slice(tape.take(n));
            }
        }
    }
    octets
}

/// What came of the octets: events in words, with content in one piece, and what was sent.
fn outcome(habit: Habit, octets: &[u8], mut cut: impl FnMut(usize) -> usize) -> (Vec<String>, String) {
    let http1 = Http1 { content_bytes: 1 << 20, h2c_upgrade: true, ..Http1::default() };
    let mut run = Run {
        core: Connection::server(Config::default(), http1, false, 0),
        habit,
        events: Vec::new(),
        content: Vec::new(),
        unanswered: Vec::new(),
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
    if habit == Habit::Late {
        run.answer_all();
    }
    run.core.receive_end();
    run.turn();
    run.answer_all();
    run.flush_content();
    let held = run.core.held();
    assert!(run.core.is_closed(), "everybody has ended");
    assert_eq!((held.received, held.output, held.heads, run.core.open_streams()), (0, 0, 0, 0));
    let sent = String::from_utf8_lossy(&run.sent);
    let statuses = sent.split("HTTP/1.1 ").skip(1).map(|rest| rest.get(..3).unwrap_or_default()).collect();
    (run.events, statuses)
}

struct Run {
    core: Connection,
    habit: Habit,
    events: Vec<String>,
    content: Vec<u8>,
    unanswered: Vec<StreamKey>,
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
                break;
            }
        }
        let more = self.core.poll_event(0);
        assert!(more.is_none(), "it had said that there was nothing: {more:?}");
    }

    /// Answers what waits for an answer, and what comes to be asked by that.
    fn answer_all(&mut self) {
        while let Some(stream) = self.unanswered.pop() {
            self.answer(stream);
            self.turn();
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
                    self.is_due(stream, Habit::WhenRead);
                }
            }
            Event::Request { stream, request, end } => {
                self.flush_content();
                self.events.push(format!("{request:?} {end}"));
                let tunnel = request.method() == "CONNECT" || request.headers().contains_key("upgrade");
                self.core.recycle_head(request);
                self.unanswered = vec![stream];
                self.is_due(stream, Habit::AtOnce);
                if end || tunnel {
                    self.is_due(stream, Habit::WhenRead);
                }
            }
            Event::Trailers { stream, trailers } => {
                self.flush_content();
                self.events.push(format!("{trailers:?}"));
                self.is_due(stream, Habit::WhenRead);
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

    /// This is when an application of that habit answers.
    fn is_due(&mut self, stream: StreamKey, habit: Habit) {
        if self.habit == habit && self.unanswered.contains(&stream) {
            self.unanswered.clear();
            self.answer(stream);
        }
    }

    fn answer(&mut self, stream: StreamKey) {
        let mut fields = HeaderMap::new();
        let switches = self.core.respond(stream, StatusCode::SWITCHING_PROTOCOLS, &fields, false);
        assert!(switches.is_err(), "a 101 that names nothing");
        let _ = self.core.inform(stream, StatusCode::CONTINUE, &fields);
        fields.insert(header::UPGRADE, HeaderValue::from_static("x/1"));
        let head = self
            .core
            .respond(stream, StatusCode::SWITCHING_PROTOCOLS, &fields, false)
            .or_else(|_| self.core.respond(stream, StatusCode::OK, &HeaderMap::new(), false));
        if head.is_ok() {
            // Where there is no content it is not sent.
            let _ = self.core.send_data(stream, Bytes::from_static(b"answer"), true);
        }
        self.core.finish(stream);
    }
}
