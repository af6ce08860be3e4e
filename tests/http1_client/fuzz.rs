//! The machine alone, with octets of any kind: the same ones in one piece and in many have the same outcome, nothing
//! panics, and nothing turns for ever.
//!
//! The octets are pieces of responses, whole and broken, in an order that a seed says. `WAKERING_FUZZ_SEED` repeats one of
//! them, and `WAKERING_FUZZ_CASES` runs more.

use std::{
    env,
    io::IoSlice,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use bytes::Bytes;
use wakering::{
    http::{HeaderMap, Request},
    internals::{
        h1::Client,
        h2::{Config, Event, StreamKey},
    },
};

const SEED: u64 = 0x9112_0063;
const CASES: u64 = 500;
/// Far more turns than one piece takes.
const TURNS: usize = 1000;

/// What responses are made of, and what they should not be made of.
const PIECES: &[&str] = &[
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 200\r\n",
    "HTTP/1.0 200 OK\r\n",
    "HTTP/1.2 404 Not Found\r\n",
    "HTTP/2.0 200 OK\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 103 Hints\r\nlink: x\r\n\r\n",
    "HTTP/1.1 101 Switching\r\n",
    "HTTP/1.1 204 No Content\r\n",
    "HTTP/1.1 304 Not Modified\r\n",
    "HTTP/1.1 500 Oh\r\n",
    "connection: close\r\n",
    "connection: keep-alive, upgrade\r\n",
    "upgrade: a\r\n",
    "keep-alive: timeout=5\r\n",
    "content-length: 5\r\n",
    "content-length: 5, 5\r\n",
    "content-length: 0\r\n",
    "content-length: 99999999999999999999\r\n",
    "transfer-encoding: chunked\r\n",
    "transfer-encoding: gzip, chunked\r\n",
    "x: y\r\n",
    "x : y\r\n",
    " folded\r\n",
    "\r\n",
    "\r\n",
    "hello",
    "5\r\nhello\r\n",
    "3;a=\"b\\\"\"\r\nabc\r\n",
    "0\r\n",
    "0\r\ntrailer: x\r\n",
    "0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "\n",
    "\r",
    "\0",
];

/// Splitmix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 16) as usize % bound
    }

    fn octets(&mut self) -> Vec<u8> {
        // Mostly something that begins well.
        let mut octets =
            if self.below(3) > 0 { PIECES[self.below(3)].as_bytes().to_vec() } else { Vec::new() };
        for _ in 0..self.below(20) {
            match self.below(PIECES.len() + 4) {
                at if at < PIECES.len() => octets.extend_from_slice(PIECES[at].as_bytes()),
                // A long line or many short ones, up to the bounds and beyond.
                at if at == PIECES.len() => octets.extend(std::iter::repeat_n(b'a', self.below(40_000))),
                at if at == PIECES.len() + 1 => octets.extend(b"x: y\r\n".repeat(self.below(120))),
                at if at == PIECES.len() + 2 => {
                    octets.extend(b"HTTP/1.1 102 Processing\r\n\r\n".repeat(self.below(120)));
                }
                _ => octets.extend((0..self.below(16)).map(|_| self.next() as u8).collect::<Vec<_>>()),
            }
        }
        octets
    }
}

struct Run {
    core: Client,
    events: Vec<String>,
    content: Vec<u8>,
    /// There is nothing more to say.
    done: bool,
}

/// What came of the octets, in words, with content in one piece.
fn outcome(kind: usize, octets: &[u8], mut cut: impl FnMut(usize) -> usize) -> Vec<String> {
    let mut run =
        Run { core: Client::new(Config::default(), 0), events: Vec::new(), content: Vec::new(), done: false };
    let stream = run.ask(kind);
    run.turn();
    let mut rest = octets;
    while !rest.is_empty() && !run.core.is_closed() {
        let (piece, more) = rest.split_at(cut(rest.len()));
        rest = more;
        run.core.receive(Bytes::copy_from_slice(piece));
        run.turn();
    }
    run.core.receive_end();
    run.turn();
    run.flush_content();
    // Whatever is left is let go of, at any moment.
    run.core.finish(stream);
    run.core.shutdown();
    run.turn();
    assert!(run.core.is_closed() || run.core.open_streams() > 0, "an idle connection ends");
    run.core.abandon();
    run.events
}

impl Run {
    fn ask(&mut self, kind: usize) -> StreamKey {
        let request = match kind {
            0 => Request::get("http://a/"),
            1 => Request::head("http://a/"),
            2 => Request::post("http://a/"),
            3 => Request::builder().method("CONNECT").uri("a:80"),
            _ => Request::get("http://a/").header("upgrade", "a"),
        };
        let end = kind < 2;
        let stream = self.core.request(&request.body(()).unwrap(), end).unwrap();
        if kind == 2 {
            self.core.send_data(stream, Bytes::from_static(b"content"), false).unwrap();
        }
        stream
    }

    fn turn(&mut self) {
        for _ in 0..TURNS {
            while let Some(event) = self.core.poll_event(0) {
                self.on_event(event);
            }
            let _deadline = self.core.next_deadline(0);
            self.write();
            if !self.core.has_events() {
                return;
            }
        }
        panic!("it turns for ever");
    }

    fn write(&mut self) {
        loop {
            let mut slices = [IoSlice::new(&[]); 8];
            let used = self.core.poll_transmit(0, &mut slices);
            let n = slices[..used].iter().map(|slice| slice.len()).sum();
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

    fn note(&mut self, event: String) {
        assert!(!self.done, "{event} behind {:?}", self.events);
        self.flush_content();
        self.events.push(event);
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Data { stream, data, end } => {
                self.core.release(stream, data.len());
                self.content.extend_from_slice(&data);
                if end {
                    self.note("end".to_owned());
                    self.end_request(stream);
                }
            }
            Event::Informational { response, .. } => self.note(format!("{response:?}")),
            Event::Response { stream, mut response, end } => {
                self.note(format!("{response:?} {end}"));
                self.core.recycle(std::mem::take(response.headers_mut()));
                if end {
                    self.end_request(stream);
                }
            }
            Event::Trailers { stream, trailers } => {
                self.note(format!("{trailers:?}"));
                self.end_request(stream);
            }
            Event::Closed { error } => {
                // Which of two faults is named depends on what had come.
                self.note(format!("closed {}", error.is_some()));
                self.done = true;
            }
            // The refused direction, and room.
            Event::Reset { .. } | Event::Writable { .. } => {}
            other => panic!("a client does not expect {other:?}"),
        }
    }

    fn end_request(&mut self, stream: StreamKey) {
        // Where the answer is the end, it is too late.
        let _ = self.core.send_trailers(stream, HeaderMap::new());
        let _ = self.core.send_data(stream, Bytes::new(), true);
        self.core.detach(stream);
    }
}

fn run(seed: u64) {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut dice = Dice(seed);
        let (kind, octets) = (dice.below(5), dice.octets());
        let whole = outcome(kind, &octets, |rest| rest);
        let one = 1 + dice.below(7);
        let steady = outcome(kind, &octets, |rest| rest.min(one));
        assert_eq!(whole, steady, "in pieces of {one}");
        let any = outcome(kind, &octets, |rest| rest.min(1 + dice.below(64)));
        assert_eq!(whole, any, "in pieces of any size");
    }));
    if let Err(panic) = outcome {
        eprintln!("repeat with WAKERING_FUZZ_SEED={seed:#x}");
        resume_unwind(panic);
    }
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    let digits = text.strip_prefix("0x");
    digits.map_or_else(|| text.parse(), |digits| u64::from_str_radix(digits, 16)).ok()
}

#[test]
fn octets_in_pieces_mean_what_they_mean_in_one() {
    if let Some(seed) = number("WAKERING_FUZZ_SEED") {
        return run(seed);
    }
    let mut dice = Dice(SEED);
    for _ in 0..number("WAKERING_FUZZ_CASES").unwrap_or(CASES) {
        run(dice.next());
    }
}
