//! A seeded generator of broken frame sequences against the protocol core.
//!
//! Legal traffic with one violation in it must end in that violation's code; bytes that were changed, cut,
//! repeated or made up must end in some code or none, but never in a panic, a hang, or frames that no peer
//! would accept. Every loop is bounded, every run uses the same seed and prints it.

#[path = "support/h2_wire.rs"]
mod h2_wire;
#[path = "support/random.rs"]
mod random;

use bytes::Bytes;
use h2_wire::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GET, GOAWAY, HEADERS, PADDED, PING, PREFACE,
    PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, WITH_PRIORITY, Wire, fields, frame, get,
    post, request_block, rst_stream, settings, window_update,
};
use http::{HeaderMap, Request, StatusCode};
use random::Random;
use wakering::internals::h2::{Config, Connection, Event, Reason, StreamKey};

const SEED: u64 = 0x9113_0000_7540;

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const COMPRESSION_ERROR: u32 = 9;
const ENHANCE_YOUR_CALM: u32 = 11;

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn octets(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.next() as u8).collect()
    }
}

/// What the generator knows of the connection that it has made up so far.
struct Client {
    random: Random,
    next_stream: u32,
    /// A request whose content goes on; always there.
    open: u32,
    /// The latest request that was answered; always there.
    answered: u32,
}

impl Client {
    /// Preface, SETTINGS, one request that stays open and one that is complete.
    fn begin(seed: u64) -> (Client, Vec<u8>) {
        let client = Client { random: Random(seed), next_stream: 5, open: 1, answered: 3 };
        let opening = [PREFACE, &settings(&[]), &frame(SETTINGS, ACK, 0, &[]), &post(1, &[]), &get(3)];
        (client, opening.concat())
    }

    fn stream(&mut self) -> u32 {
        self.next_stream += 2;
        self.next_stream - 2
    }

    /// One legal step, as odd as it may be.
    fn legal(&mut self) -> Vec<u8> {
        match self.random.below(12) {
            0 => {
                self.answered = self.stream();
                get(self.answered)
            }
            1 => self.split_request(),
            2 => self.padded_request(),
            3 => frame(DATA, 0, self.open, &self.random.octets(40)),
            4 => {
                let (padding, mut payload) = (self.random.below(9), vec![0]);
                payload[0] = padding as u8;
                payload.extend(self.random.octets(20));
                payload.resize(payload.len() + padding, 0);
                frame(DATA, PADDED, self.open, &payload)
            }
            5 => frame(PING, 0, 0, &self.random.next().to_be_bytes()),
            6 => {
                let stream = [0, self.open, self.answered][self.random.below(3)];
                window_update(stream, 1 + self.random.below(1000) as u32)
            }
            7 => settings(&[(self.random.below(3) as u16 * 4 + 3, 1 + self.random.below(200) as u32)]),
            8 => frame(PRIORITY, 0, self.open, &[0, 0, 0, 0, 9]),
            9 => {
                // Behind ALTSVC, ORIGIN and PRIORITY_UPDATE, which have rules.
                let kind = 0x20 + self.random.below(0xe0) as u8;
                let (flags, stream) = (self.random.next() as u8, self.random.next() as u32);
                frame(kind, flags, stream, &self.random.octets(30))
            }
            // Stream 3 must stay complete.
            10 if self.answered > 3 && self.random.one_in(8) => {
                rst_stream(self.answered, self.random.below(14) as u32)
            }
            _ => {
                let answered = self.stream();
                self.answered = answered;
                [post(answered, &[]), frame(DATA, END_STREAM, answered, &self.random.octets(60))].concat()
            }
        }
    }

    /// A header block in up to four frames.
    fn split_request(&mut self) -> Vec<u8> {
        self.answered = self.stream();
        let block = request_block("GET", &[("x-one", "1"), ("cookie", "a=b"), ("cookie", "c=d")]);
        let parts: Vec<&[u8]> = block.chunks(block.len() / (1 + self.random.below(3)) + 1).collect();
        let mut bytes = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            let kind = if number == 0 { HEADERS } else { CONTINUATION };
            let end = if number + 1 == parts.len() { END_HEADERS } else { 0 };
            let end_stream = if number == 0 { END_STREAM } else { 0 };
            bytes.extend(frame(kind, end | end_stream, self.answered, part));
        }
        bytes
    }

    fn padded_request(&mut self) -> Vec<u8> {
        self.answered = self.stream();
        let block = request_block("HEAD", &[]);
        let payload = [&[3, 0x80, 0, 0, 1, 7][..], &block, &[0; 3]].concat();
        frame(HEADERS, GET | PADDED | WITH_PRIORITY, self.answered, &payload)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Connection(u32),
    /// The stream of the violation is reset, and the connection goes on.
    Stream(u32),
}

type Violation = (&'static str, Outcome, fn(&mut Client) -> (u32, Vec<u8>));

/// Bytes that break one rule, and the stream that they concern.
const VIOLATIONS: &[Violation] = &[
    ("DATA on stream 0", Outcome::Connection(PROTOCOL_ERROR), |c| {
        (0, frame(DATA, 0, 0, &c.random.octets(9)))
    }),
    ("HEADERS on stream 0", Outcome::Connection(PROTOCOL_ERROR), |_| (0, get(0))),
    ("PRIORITY on stream 0", Outcome::Connection(PROTOCOL_ERROR), |_| (0, frame(PRIORITY, 0, 0, &[0; 5]))),
    ("RST_STREAM on stream 0", Outcome::Connection(PROTOCOL_ERROR), |_| (0, rst_stream(0, 8))),
    ("SETTINGS on a stream", Outcome::Connection(PROTOCOL_ERROR), |c| (0, frame(SETTINGS, 0, c.open, &[]))),
    ("PING on a stream", Outcome::Connection(PROTOCOL_ERROR), |c| (0, frame(PING, 0, c.open, &[0; 8]))),
    ("GOAWAY on a stream", Outcome::Connection(PROTOCOL_ERROR), |c| (0, frame(GOAWAY, 0, c.open, &[0; 8]))),
    ("PUSH_PROMISE", Outcome::Connection(PROTOCOL_ERROR), |c| {
        (0, frame(PUSH_PROMISE, END_HEADERS, c.open, &[0, 0, 0, 2, 0x82]))
    }),
    ("CONTINUATION alone", Outcome::Connection(PROTOCOL_ERROR), |c| {
        (0, frame(CONTINUATION, END_HEADERS, c.open, &[0x82]))
    }),
    ("an even stream", Outcome::Connection(PROTOCOL_ERROR), |c| (0, get(c.next_stream + 1))),
    ("DATA on an idle stream", Outcome::Connection(PROTOCOL_ERROR), |c| {
        (0, frame(DATA, 0, c.next_stream + 2 * c.random.below(50) as u32, b"x"))
    }),
    ("RST_STREAM on an idle stream", Outcome::Connection(PROTOCOL_ERROR), |c| {
        (0, rst_stream(c.next_stream + 2 * c.random.below(50) as u32, 8))
    }),
    ("WINDOW_UPDATE on an idle stream", Outcome::Connection(PROTOCOL_ERROR), |c| {
        (0, window_update(c.next_stream + 2 * c.random.below(50) as u32, 8))
    }),
    ("WINDOW_UPDATE of 0 on the connection", Outcome::Connection(PROTOCOL_ERROR), |_| {
        (0, window_update(0, 0))
    }),
    ("WINDOW_UPDATE of 0 on a stream", Outcome::Stream(PROTOCOL_ERROR), |c| {
        (c.open, window_update(c.open, 0))
    }),
    ("a connection window above 2^31-1", Outcome::Connection(FLOW_CONTROL_ERROR), |_| {
        (0, window_update(0, 0x7fff_ffff))
    }),
    ("a stream window above 2^31-1", Outcome::Stream(FLOW_CONTROL_ERROR), |c| {
        (c.open, window_update(c.open, 0x7fff_ffff))
    }),
    ("SETTINGS of a wrong size", Outcome::Connection(FRAME_SIZE_ERROR), |c| {
        (0, frame(SETTINGS, 0, 0, &vec![0; 1 + c.random.below(5)]))
    }),
    ("SETTINGS ACK with a payload", Outcome::Connection(FRAME_SIZE_ERROR), |_| {
        (0, frame(SETTINGS, ACK, 0, &[0; 6]))
    }),
    ("PING of a wrong size", Outcome::Connection(FRAME_SIZE_ERROR), |c| {
        (0, frame(PING, 0, 0, &vec![0; [0, 7, 9, 16][c.random.below(4)]]))
    }),
    ("WINDOW_UPDATE of a wrong size", Outcome::Connection(FRAME_SIZE_ERROR), |c| {
        (0, frame(WINDOW_UPDATE, 0, c.open, &vec![1; [0, 3, 5, 8][c.random.below(4)]]))
    }),
    ("RST_STREAM of a wrong size", Outcome::Connection(FRAME_SIZE_ERROR), |c| {
        (0, frame(RST_STREAM, 0, c.open, &vec![0; [0, 3, 5][c.random.below(3)]]))
    }),
    ("GOAWAY of a wrong size", Outcome::Connection(FRAME_SIZE_ERROR), |c| {
        (0, frame(GOAWAY, 0, 0, &vec![0; c.random.below(8)]))
    }),
    ("PRIORITY of a wrong size", Outcome::Stream(FRAME_SIZE_ERROR), |c| {
        (c.open, frame(PRIORITY, 0, c.open, &vec![0; [0, 4, 6][c.random.below(3)]]))
    }),
    ("a frame above MAX_FRAME_SIZE", Outcome::Connection(FRAME_SIZE_ERROR), |c| {
        let kind = [DATA, HEADERS, PING, SETTINGS, 99][c.random.below(5)];
        (0, frame(kind, 0, c.open, &vec![0; 16_385 + c.random.below(100)]))
    }),
    ("ENABLE_PUSH of 2", Outcome::Connection(PROTOCOL_ERROR), |_| (0, settings(&[(2, 2)]))),
    ("INITIAL_WINDOW_SIZE above 2^31-1", Outcome::Connection(FLOW_CONTROL_ERROR), |_| {
        (0, settings(&[(4, 0x8000_0000)]))
    }),
    ("MAX_FRAME_SIZE out of range", Outcome::Connection(PROTOCOL_ERROR), |c| {
        (0, settings(&[(5, [0, 16_383, 1 << 24][c.random.below(3)])]))
    }),
    ("a frame inside a header block", Outcome::Connection(PROTOCOL_ERROR), |c| {
        let inside = [frame(PING, 0, 0, &[0; 8]), frame(77, 0, 0, &[]), get(c.next_stream + 2)];
        let begun = frame(HEADERS, END_STREAM, c.next_stream, &[0x82]);
        (0, [begun, inside[c.random.below(3)].clone()].concat())
    }),
    ("a header block in too many frames", Outcome::Connection(ENHANCE_YOUR_CALM), |c| {
        let begun = frame(HEADERS, END_STREAM, c.next_stream, &[0x82]);
        (0, [begun, frame(CONTINUATION, 0, c.next_stream, &[]).repeat(9)].concat())
    }),
    ("padding longer than the DATA", Outcome::Connection(PROTOCOL_ERROR), |c| {
        (0, frame(DATA, PADDED, c.open, &[3, 0, 0]))
    }),
    ("padding longer than the HEADERS", Outcome::Connection(PROTOCOL_ERROR), |c| {
        (0, frame(HEADERS, GET | PADDED, c.next_stream, &[4, 0x82, 0x84, 0x86]))
    }),
    ("a broken header block", Outcome::Connection(COMPRESSION_ERROR), |c| {
        let blocks: [&[u8]; 6] = [
            &[0x80],
            &[0xff, 0x7f],
            &[0x40],
            &[0x82, 0x20],
            &[0x3f, 0xff, 0xff, 0x7f],
            &[0, 1, b'a', 0x81, 0],
        ];
        (0, frame(HEADERS, GET, c.next_stream, blocks[c.random.below(6)]))
    }),
    ("a header block that nobody wants is broken", Outcome::Connection(COMPRESSION_ERROR), |c| {
        (0, frame(HEADERS, END_HEADERS, c.open, &[0x80]))
    }),
    ("HEADERS on a completed stream", Outcome::Connection(STREAM_CLOSED), |_| (0, get(3))),
    ("DATA on a completed stream", Outcome::Connection(STREAM_CLOSED), |_| (0, frame(DATA, 0, 3, b"x"))),
    ("a stream id that was skipped", Outcome::Connection(PROTOCOL_ERROR), |c| {
        let skipped = c.stream() + 2 * c.random.below(20) as u32;
        let opened = skipped + 2 + 2 * c.random.below(900) as u32;
        (0, [get(opened), get(skipped)].concat())
    }),
    ("trailers that do not end the stream", Outcome::Stream(PROTOCOL_ERROR), |c| {
        (c.open, frame(HEADERS, END_HEADERS, c.open, &fields(&[("x", "1")])))
    }),
    ("pseudo fields in trailers", Outcome::Stream(PROTOCOL_ERROR), |c| {
        (c.open, frame(HEADERS, GET, c.open, &request_block("GET", &[])))
    }),
    ("a malformed request", Outcome::Stream(PROTOCOL_ERROR), |c| {
        let list = [
            ("Upper", "1"),
            ("connection", "close"),
            ("te", "gzip"),
            ("x", " 1"),
            ("x", "a\rb"),
            ("", "1"),
            (":path", "/"),
            (":late", "1"),
            ("content-length", "5"),
            ("content-length", "-"),
            ("host", "other"),
        ];
        let field = list[c.random.below(list.len())];
        let stream = c.stream();
        (stream, frame(HEADERS, GET, stream, &request_block("GET", &[field])))
    }),
    ("more content than announced", Outcome::Stream(PROTOCOL_ERROR), |c| {
        let stream = c.stream();
        let head = post(stream, &[("content-length", "3")]);
        (stream, [head, frame(DATA, END_STREAM, stream, b"four")].concat())
    }),
    ("less content than announced", Outcome::Stream(PROTOCOL_ERROR), |c| {
        let stream = c.stream();
        let head = post(stream, &[("content-length", "3")]);
        (stream, [head, frame(DATA, END_STREAM, stream, b"12")].concat())
    }),
    ("more than the stream's window", Outcome::Stream(FLOW_CONTROL_ERROR), |c| {
        let stream = c.stream();
        let data = frame(DATA, 0, stream, &[0; 16_384]).repeat(5);
        (stream, [post(stream, &[]), data].concat())
    }),
    ("a stream that depends on itself", Outcome::Stream(PROTOCOL_ERROR), |c| {
        (c.open, frame(PRIORITY, 0, c.open, &[&c.open.to_be_bytes()[..], &[0]].concat()))
    }),
];

/// Feeds bytes in random pieces; every request is answered when it has ended. Bounded by what came in.
fn feed(wire: &mut Wire, bytes: &[u8], random: &mut Random) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let most = [1, 3, 9, 10, 40, 1000, 1 << 20][random.below(7)];
        let (piece, more) = rest.split_at(most.min(rest.len()));
        rest = more;
        wire.core.receive(Bytes::copy_from_slice(piece));
        let seen = wire.events.len();
        wire.turn();
        let steps = wire.events.len() - seen;
        assert!(steps <= 4 * piece.len() + 16, "{steps} events from {} bytes", piece.len());
        for at in seen..wire.events.len() {
            let ended = match wire.events[at] {
                Event::Request { stream, end, .. } | Event::Data { stream, end, .. } => (stream, end),
                Event::Trailers { stream, .. } => (stream, true),
                Event::Reset { stream, .. } => {
                    wire.core.finish(stream);
                    continue;
                }
                _ => continue,
            };
            if ended.1 {
                answer(&mut wire.core, ended.0);
            }
        }
        wire.turn();
    }
}

fn answer(core: &mut Connection, stream: StreamKey) {
    let mut headers = HeaderMap::new();
    headers.insert("server", "wakering".parse().expect("a legal value"));
    // The stream or the connection may have died meanwhile: then these are errors, which is what they are for.
    let answered = core.respond(stream, StatusCode::OK, &headers, false).is_ok();
    let sent = core.send_data(stream, Bytes::from_static(b"Hello, World!"), true).is_ok();
    assert!(!answered || sent || core.is_closed());
    core.finish(stream);
}

/// What every peer may expect of the frames that we send.
fn check_sent(sent: &[Frame], highest: u32) {
    assert!(sent.first().is_none_or(|first| first.kind == SETTINGS && first.flags == 0));
    let mut dead: Option<&Frame> = None;
    for frame in sent {
        assert_eq!(dead, None, "{frame:?} after the end");
        assert!(frame.payload.len() <= 16_384);
        assert!(frame.stream <= highest, "{frame:?} on an idle stream");
        match frame.kind {
            DATA | HEADERS | RST_STREAM | CONTINUATION => assert_ne!(frame.stream, 0, "{frame:?}"),
            SETTINGS | PING | GOAWAY => assert_eq!(frame.stream, 0, "{frame:?}"),
            WINDOW_UPDATE => assert!((1..=0x7fff_ffff).contains(&frame.word(0)), "{frame:?}"),
            _ => panic!("{frame:?}"),
        }
        if frame.kind == GOAWAY && frame.word(4) != 0 {
            dead = Some(frame);
        }
    }
}

/// Legal traffic, one violation, more legal traffic: the violation's code, however the bytes are cut.
#[test]
fn a_violation_in_legal_traffic_ends_in_its_code() {
    println!("seed {SEED:#x}");
    for (number, (what, outcome, violate)) in VIOLATIONS.iter().enumerate() {
        for round in 0..25 {
            let (mut client, mut bytes) = Client::begin(SEED ^ ((number as u64) << 32) ^ round);
            for _ in 0..client.random.below(30) {
                bytes.extend(client.legal());
            }
            let mut wire = Wire::new(Connection::server(Config::default(), 0));
            feed(&mut wire, &bytes, &mut client.random);
            assert_eq!((wire.goaway(), wire.resets()), (None, Vec::new()), "{what}: before it");
            let (stream, broken) = violate(&mut client);
            feed(&mut wire, &broken, &mut client.random);
            let probe = client.next_stream + 2000;
            feed(&mut wire, &get(probe), &mut client.random);
            check_sent(&wire.sent, probe);
            let served = wire.sent_of(HEADERS).last().is_some_and(|head| head.stream == probe);
            match outcome {
                Outcome::Connection(code) => {
                    assert_eq!(wire.goaway(), Some(*code), "{what}, round {round}");
                    assert!(!served && wire.core.is_closed(), "{what}, round {round}");
                    assert!(matches!(wire.events.last(), Some(Event::Closed { error: Some(_) })), "{what}");
                }
                Outcome::Stream(code) => {
                    assert_eq!(wire.resets(), [(stream, *code)], "{what}, round {round}");
                    assert!(served && wire.goaway().is_none(), "{what}, round {round}");
                }
            }
        }
    }
}

/// Nothing of this is legal before SETTINGS, and only SETTINGS is.
#[test]
fn a_wrong_beginning_ends_the_connection() {
    println!("seed {SEED:#x}");
    for round in 0..200 {
        let (mut client, _) = Client::begin(SEED ^ round);
        let mut wire = Wire::new(Connection::server(Config::default(), 0));
        let mut first = client.legal();
        while first[3] == SETTINGS {
            first = client.legal();
        }
        feed(&mut wire, &[PREFACE, &first].concat(), &mut client.random);
        assert_eq!(wire.goaway(), Some(PROTOCOL_ERROR), "{first:?}");
        let mut wire = Wire::new(Connection::server(Config::default(), 0));
        let mut preface = PREFACE.to_vec();
        preface[client.random.below(24)] ^= 1 << client.random.below(8);
        feed(&mut wire, &preface, &mut client.random);
        assert!(wire.core.is_closed() && wire.sent.is_empty(), "{preface:?}");
    }
}

/// Changes bytes, drops, repeats and swaps ranges, inserts noise.
fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.below(bytes.len());
        let end = (at + 1 + random.below(30)).min(bytes.len());
        match random.below(5) {
            0 => bytes[at] = random.next() as u8,
            1 => bytes[at] ^= 1 << random.below(8),
            2 => drop(bytes.drain(at..end)),
            3 => bytes.extend_from_within(at..end),
            _ => {
                let noise = random.octets(20);
                bytes.splice(at..at, noise);
            }
        }
    }
}

/// Ends the input; a core that has its end needs nothing any more.
fn end(wire: &mut Wire) {
    wire.core.receive_end();
    wire.turn();
    assert!(wire.core.is_closed() && !wire.core.has_output());
    let closed =
        wire.events.iter().filter(|event| matches!(event, Event::Closed { .. } | Event::Http1)).count();
    assert_eq!(closed, 1, "{:?}", wire.events);
    assert!(matches!(wire.events.last(), Some(Event::Closed { .. } | Event::Http1)));
}

#[test]
fn damaged_requests_end_in_some_way() {
    println!("seed {SEED:#x}");
    let mut codes = [0; 16];
    for round in 0..4_000 {
        let (mut client, mut bytes) = Client::begin(SEED ^ (round << 8));
        for _ in 0..client.random.below(25) {
            bytes.extend(client.legal());
        }
        // Mostly behind the preface.
        let start = if client.random.one_in(20) { 0 } else { PREFACE.len() };
        let mut tail = bytes.split_off(start);
        damage(&mut tail, &mut client.random);
        bytes.extend(tail);
        let mut wire = Wire::new(Connection::server(Config::default(), 0));
        feed(&mut wire, &bytes, &mut client.random);
        check_sent(&wire.sent, 0x7fff_ffff);
        codes[wire.goaway().map_or(15, |code| code as usize)] += 1;
        end(&mut wire);
    }
    println!("GOAWAY codes, the last for none: {codes:?}");
    assert!(codes[1] > 100 && codes[15] > 100);
}

/// The other role: responses, and what a server must not send.
#[test]
fn damaged_responses_end_in_some_way() {
    println!("seed {SEED:#x}");
    for round in 0..3_000 {
        let mut random = Random(SEED ^ (round << 20));
        let mut wire = Wire::new(Connection::client(Config::default(), 0));
        for number in 0..4 {
            let method = ["GET", "HEAD", "POST", "CONNECT"][number];
            let target = if method == "CONNECT" { "a:1" } else { "http://a/" };
            let request = Request::builder().method(method).uri(target).body(()).unwrap();
            wire.core.request(&request, method != "CONNECT").unwrap();
        }
        wire.turn();
        let mut bytes = [settings(&[]), frame(SETTINGS, ACK, 0, &[])].concat();
        for _ in 0..random.below(20) {
            bytes.extend(server_frame(&mut random));
        }
        if !random.one_in(3) {
            damage(&mut bytes, &mut random);
        }
        feed(&mut wire, &bytes, &mut random);
        check_sent(&wire.sent, 0x7fff_ffff);
        end(&mut wire);
    }
}

fn server_frame(random: &mut Random) -> Vec<u8> {
    let stream = 1 + 2 * random.below(4) as u32;
    let last = if random.one_in(4) { END_STREAM } else { 0 };
    match random.below(9) {
        0 | 1 => frame(HEADERS, END_HEADERS | last, stream, &[0x88]),
        2 => frame(HEADERS, END_HEADERS, stream, &fields(&[(":status", "103"), ("link", "</a>")])),
        3 => frame(DATA, last, stream, &random.octets(50)),
        4 => frame(HEADERS, GET, stream, &fields(&[("x-trailer", "1")])),
        5 => rst_stream(stream, random.below(14) as u32),
        6 => frame(PING, 0, 0, &[0; 8]),
        7 if random.one_in(5) => frame(GOAWAY, 0, 0, &[0, 0, 0, 3, 0, 0, 0, 0]),
        7 => window_update(if random.one_in(2) { 0 } else { stream }, 1 + random.below(99) as u32),
        _ if random.one_in(9) => frame(PUSH_PROMISE, END_HEADERS, stream, &[0, 0, 0, 2, 0x82]),
        _ => settings(&[(4, random.below(100_000) as u32)]),
    }
}

/// Frames with heads that look right and say anything, on a connection that has begun well.
#[test]
fn made_up_frames_end_in_some_way() {
    println!("seed {SEED:#x}");
    for round in 0..4_000 {
        let (mut client, mut bytes) = Client::begin(SEED ^ (round << 40));
        let random = &mut client.random;
        for _ in 0..random.below(20) {
            let kind = random.below(11) as u8;
            let stream = [0, 1, 2, 3, 5, 7, 0x7fff_ffff, random.next() as u32][random.below(8)];
            let most = [0, 4, 5, 6, 8, 30][random.below(6)];
            let payload = random.octets(most);
            bytes.extend(frame(kind, random.next() as u8, stream, &payload));
        }
        let mut wire = Wire::new(Connection::server(Config::default(), 0));
        feed(&mut wire, &bytes, random);
        if random.one_in(2) {
            wire.core.goaway(Reason::NO_ERROR, b"enough");
        }
        wire.turn();
        check_sent(&wire.sent, 0x7fff_ffff);
        end(&mut wire);
    }
}
