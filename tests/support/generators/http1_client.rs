//! The HTTP/1.1 client's machine: answers whole and broken, in one piece and in many, against an application that does
//! anything in between.
//!
//! The tape says in turns what the server says and what the application does. However the server's octets are cut, the same
//! comes of them. What is sent are requests that were made, with the content that was accepted and nothing else; events
//! keep their order, nothing comes behind the last; deadlines lie ahead; a machine that says that it has nothing to do has
//! nothing to do; and when all is over, it holds nothing.

use std::io::IoSlice;

use bytes::Bytes;
use wakering::http::{HeaderMap, HeaderName, HeaderValue, Request};
use wakering::internals::h1::Client;
use wakering::internals::h2::{CommandError, Config, Event, Reason, StreamKey};

use crate::tape::Tape;

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
    "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 417 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: a\r\n\r\nearly",
    "HTTP/1.1 200 OK\r\n\r\nto the end",
    "\n",
    "\r",
    "\0",
];

/// As much as is longer than any bound; more is only slower.
const LONG: usize = 36_000;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Get,
    Head,
    /// Content in chunks.
    Post,
    /// Content of five octets.
    Put,
    Connect,
    Upgrade,
    /// HEAD that would go elsewhere, too.
    HeadUpgrade,
    /// The last on its connection.
    Last,
}

const KINDS: [Kind; 8] = [
    Kind::Get,
    Kind::Post,
    Kind::Put,
    Kind::Head,
    Kind::Connect,
    Kind::Upgrade,
    Kind::HeadUpgrade,
    Kind::Last,
];

/// What the application, or time, does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Ask(Kind),
    Send {
        octets: usize,
        end: bool,
    },
    Trailers,
    /// Gives back what it has read.
    Release,
    Detach,
    Finish,
    Reset,
    Shutdown,
    /// Until the next deadline.
    Wait,
    /// The server ends its side.
    End,
}

#[derive(Clone, Debug)]
enum Step {
    Octets(Vec<u8>),
    Do(Deed),
}

pub(crate) fn run(data: &[u8]) {
    let mut tape = Tape::new(data);
    let steps = steps(&mut tape);
    let whole = outcome(&steps, |rest| rest);
    let one = 1 + tape.below(7);
    let steady = outcome(&steps, |rest| rest.min(one));
    assert_same(&whole, &steady, &format!("in pieces of {one}: {steps:?}"));
    let any = outcome(&steps, |rest| rest.min(1 + tape.below(64)));
    assert_same(&whole, &any, &format!("in pieces of any size: {steps:?}"));
}

/// The same came of both. Trailers that drip in are looked at when their end may be there: a fault in them is seen later than
/// in one piece, and not at all when the application lets go before. Up to the first fault all is the same.
fn assert_same(one: &Outcome, other: &Outcome, how: &str) {
    let failed = |(events, _sent): &Outcome| events.iter().position(|event| event == FAILED);
    let Some(fault) = failed(one).into_iter().chain(failed(other)).min() else {
        return assert_eq!(one, other, "{how}");
    };
    assert_eq!(one.0[..fault.min(one.0.len())], other.0[..fault.min(other.0.len())], "{how}");
    assert!(one.1.starts_with(&other.1) || other.1.starts_with(&one.1), "{how}: {one:?}, {other:?}");
}

fn steps(tape: &mut Tape<'_>) -> Vec<Step> {
    let mut steps = vec![Step::Do(Deed::Ask(tape.pick(&KINDS)))];
    let count = 1 + tape.below(32);
    for _ in 0..count {
        let step = match tape.below(PIECES.len() + 40) {
            at if at < PIECES.len() => Step::Octets(PIECES[at].into()),
            at => match at - PIECES.len() {
                // Whatever the tape holds.
                0..=3 => {
                    let n = tape.below(64);
                    Step::Octets(tape.take(n).to_vec())
                }
                // A long line or many short ones, up to the bounds and beyond.
                4 => Step::Octets(vec![b'a'; tape.below(LONG)]),
                5 => Step::Octets(b"x: y\r\n".repeat(tape.below(120))),
                6 => Step::Octets(b"HTTP/1.1 102 Processing\r\n\r\n".repeat(tape.below(120))),
                _ => Step::Do(deed(tape)),
            },
        };
        match (steps.last_mut(), step) {
            (Some(Step::Octets(before)), Step::Octets(octets)) => before.extend(octets),
            (_, step) => steps.push(step),
        }
    }
    steps
}

fn deed(tape: &mut Tape<'_>) -> Deed {
    match tape.below(14) {
        0..=2 => Deed::Ask(tape.pick(&KINDS)),
        3..=5 => Deed::Send { octets: tape.pick(&[5, 0, 1, 3, 70_000]), end: tape.one_in(2) },
        6 => Deed::Trailers,
        7 => Deed::Release,
        8 => Deed::Detach,
        9 => Deed::Finish,
        10 => Deed::Reset,
        11 => Deed::Shutdown,
        12 => Deed::Wait,
        _ => Deed::End,
    }
}

/// How a connection ends for what its peer did.
const FAILED: &str = "closed true";

/// Events, and octets that were sent.
type Outcome = (Vec<String>, String);

/// What came of it: events in words, with content in one piece, and what was sent.
fn outcome(steps: &[Step], mut cut: impl FnMut(usize) -> usize) -> Outcome {
    let mut run = Run::new();
    for step in steps {
        match step {
            Step::Octets(octets) => {
                let mut rest = &octets[..];
                while !rest.is_empty() && !run.ended && !run.core.is_closed() {
                    let (piece, more) = rest.split_at(cut(rest.len()));
                    rest = more;
                    run.core.receive(Bytes::copy_from_slice(piece));
                    run.turn();
                }
                // What is wrong may be seen before all has come.
                run.flush_content();
            }
            Step::Do(deed) => run.act(*deed),
        }
        run.turn();
    }
    run.act(Deed::End);
    run.turn();
    run.act(Deed::Finish);
    run.act(Deed::Shutdown);
    run.turn();
    run.flush_content();
    let held = run.core.held();
    assert!(run.core.is_closed(), "everybody has ended: {:?}", run.events);
    // What came of an answer that was detached stays the application's.
    assert_eq!((held.output, held.heads, run.core.open_streams()), (0, 0, 0));
    run.check_sent();
    (run.events, String::from_utf8_lossy(&run.sent).into_owned())
}

/// A request that was made.
struct Asked {
    stream: StreamKey,
    kind: Kind,
    /// The content that was accepted, as it goes out behind the head.
    content: Vec<u8>,
    /// Its answer has begun; it has ended.
    answered: bool,
    over: bool,
    /// The end of its content was accepted.
    said_all: bool,
    /// Its answer has no content.
    has_none: bool,
    unreleased: usize,
}

struct Run {
    core: Client,
    now: u64,
    asked: Vec<Asked>,
    events: Vec<String>,
    content: Vec<u8>,
    sent: Vec<u8>,
    ended: bool,
    closed: bool,
}

impl Run {
    fn new() -> Run {
        Run {
            core: Client::new(Config::default(), 0),
            now: 0,
            asked: Vec::new(),
            events: Vec::new(),
            content: Vec::new(),
            sent: Vec::new(),
            ended: false,
            closed: false,
        }
    }

    fn turn(&mut self) {
        for _ in 0..1000 {
            while let Some(event) = self.core.poll_event(self.now) {
                self.on_event(event);
            }
            let deadline = self.core.next_deadline(self.now);
            // One that has come is acted on by whoever asked.
            assert!(deadline.is_none_or(|deadline| deadline >= self.now), "a deadline in the past");
            self.write();
            if !self.core.has_events() {
                let more = self.core.poll_event(self.now);
                assert!(more.is_none(), "it had said that there was nothing: {more:?}");
                return;
            }
        }
        panic!("it turns for ever");
    }

    fn write(&mut self) {
        loop {
            let mut slices = [IoSlice::new(&[]); 8];
            let used = self.core.poll_transmit(self.now, &mut slices);
            let n = slices[..used].iter().map(|slice| slice.len()).sum();
            slices[..used].iter().for_each(|slice| self.sent.extend_from_slice(slice));
            if n == 0 {
                return;
            }
            self.core.transmitted(n);
        }
    }

    fn act(&mut self, deed: Deed) {
        let last = self.asked.last().map(|asked| asked.stream);
        match (deed, last) {
            (Deed::Ask(kind), _) => self.ask(kind),
            (Deed::Shutdown, _) => self.core.shutdown(),
            (Deed::End, _) if !self.ended => {
                self.ended = true;
                self.core.receive_end();
            }
            (Deed::Wait, _) => {
                if let Some(deadline) = self.core.next_deadline(self.now) {
                    self.now = deadline;
                    self.core.handle_timeout(deadline);
                    let next = self.core.next_deadline(deadline);
                    assert!(next.is_none_or(|next| next > deadline), "a deadline that was not acted on");
                }
            }
            (Deed::Send { octets, end }, Some(stream)) => self.send(stream, octets, end),
            (Deed::Trailers, Some(stream)) => {
                let mut trailers = HeaderMap::new();
                trailers.insert(HeaderName::from_static("sum"), HeaderValue::from_static("1"));
                let sent = self.core.send_trailers(stream, trailers);
                self.note(format!("trailers {:?}", sent.is_ok()));
            }
            (Deed::Release, Some(stream)) => {
                let Some(asked) = self.asked.last_mut() else { return };
                let n = std::mem::take(&mut asked.unreleased);
                self.core.release(stream, n);
            }
            (Deed::Detach, Some(stream)) => {
                let detached = self.core.detach(stream);
                if detached {
                    // As a driver does that has nobody who reads.
                    self.core.release_late(
                        self.asked.last_mut().map_or(0, |it| std::mem::take(&mut it.unreleased)),
                    );
                }
                self.note(format!("detached {detached}"));
            }
            (Deed::Finish, Some(stream)) => self.core.finish(stream),
            (Deed::Reset, Some(stream)) => self.core.reset(stream, Reason::CANCEL),
            (Deed::End, _)
            | (
                Deed::Send { .. }
                | Deed::Trailers
                | Deed::Release
                | Deed::Detach
                | Deed::Finish
                | Deed::Reset,
                None,
            ) => {}
        }
    }

    fn ask(&mut self, kind: Kind) {
        let request = match kind {
            Kind::Get => Request::get("http://a/"),
            Kind::Head => Request::head("http://a/"),
            Kind::Post => Request::post("http://a/"),
            Kind::Put => {
                Request::put("http://a/").header("content-length", "5").header("expect", "100-continue")
            }
            Kind::Connect => Request::connect("a:80"),
            Kind::Upgrade => Request::get("http://a/").header("upgrade", "a"),
            Kind::HeadUpgrade => Request::head("http://a/").header("upgrade", "a"),
            Kind::Last => Request::get("http://a/").header("connection", "close"),
        };
        let end = matches!(kind, Kind::Get | Kind::Head | Kind::HeadUpgrade | Kind::Last);
        let request = request.body(()).expect("a request");
        let (room, asked) = (self.core.request_room(), self.core.request(&request, end));
        match (&room, &asked) {
            (Ok(1), Ok(_)) | (Ok(0), Err(CommandError::TooManyStreams)) | (Err(_), Err(_)) => {}
            // Content without a length, for a server of HTTP/1.0.
            (Ok(1), Err(CommandError::UnknownLength)) => {}
            (room, asked) => panic!("{room:?}, and {asked:?}"),
        }
        self.note(format!("{kind:?}: {}", asked.is_ok()));
        if let Ok(stream) = asked {
            let content = Vec::new();
            let (answered, over, said_all, has_none, unreleased) = (false, false, false, false, 0);
            self.asked.push(Asked { stream, kind, content, answered, over, said_all, has_none, unreleased });
        }
    }

    fn send(&mut self, stream: StreamKey, octets: usize, end: bool) {
        let data = vec![b'd'; octets];
        let accepted = self.core.send_data(stream, data.into(), end).is_ok();
        self.note(format!("sent {octets} {end}: {accepted}"));
        let Some(asked) = self.asked.last_mut().filter(|_| accepted) else { return };
        // Behind an answer that refuses it, content is taken and not sent.
        assert!(asked.answered || !asked.said_all, "content behind its end");
        asked.said_all = end;
        if asked.kind == Kind::Post && octets > 0 {
            asked.content.extend(format!("{octets:x}\r\n").as_bytes());
        }
        asked.content.extend(vec![b'd'; octets]);
        asked.content.extend(if asked.kind == Kind::Post && octets > 0 { &b"\r\n"[..] } else { b"" });
        asked.content.extend(if asked.kind == Kind::Post && end { &b"0\r\n\r\n"[..] } else { b"" });
    }

    fn flush_content(&mut self) {
        if !self.content.is_empty() {
            let content = std::mem::take(&mut self.content);
            self.events.push(format!("content {:?}", String::from_utf8_lossy(&content)));
        }
    }

    fn note(&mut self, event: String) {
        self.flush_content();
        self.events.push(event);
    }

    /// The request that an event is about: the last one, which is not over.
    fn about(&mut self, stream: StreamKey) -> &mut Asked {
        assert!(!self.closed, "an event behind the last");
        let asked = self.asked.last_mut().expect("a request");
        assert!(asked.stream == stream && !asked.over, "an event of another request, or behind its end");
        asked
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Data { stream, data, end } => {
                let asked = self.about(stream);
                assert!(asked.answered && !asked.has_none, "content before its head, or where there is none");
                asked.over = end;
                asked.unreleased += data.len();
                self.content.extend_from_slice(&data);
                if end {
                    self.note("end".to_owned());
                }
            }
            Event::Informational { stream, response } => {
                assert!(!self.about(stream).answered, "an interim head behind the final one");
                self.note(format!("{response:?}"));
            }
            Event::Response { stream, mut response, end } => {
                let asked = self.about(stream);
                assert!(!std::mem::replace(&mut asked.answered, true), "two answers");
                let head = matches!(asked.kind, Kind::Head | Kind::HeadUpgrade);
                asked.has_none =
                    (head && response.status() != 101) || [204, 304].contains(&response.status().as_u16());
                // CONNECT alone is answered with a tunnel by these.
                assert!(
                    end || !asked.has_none || asked.kind == Kind::Connect,
                    "an answer without content has no end"
                );
                asked.has_none &= end;
                asked.over = end;
                self.note(format!("{response:?} {end}"));
                self.core.recycle(std::mem::take(response.headers_mut()));
            }
            Event::Trailers { stream, trailers } => {
                self.about(stream).over = true;
                self.note(format!("{trailers:?}"));
            }
            Event::Closed { error } => {
                assert!(!std::mem::replace(&mut self.closed, true), "it ends once");
                // Which of two faults is named depends on what had come.
                self.note(format!("closed {}", error.is_some()));
            }
            // What was still to be sent is not wanted; and room.
            Event::Reset { stream, .. } => assert!(self.asked.last().is_some_and(|it| it.stream == stream)),
            Event::Writable { stream } => assert!(self.asked.last().is_some_and(|it| it.stream == stream)),
            other => panic!("a client does not expect {other:?}"),
        }
    }

    /// What was sent are the requests, in order, each with what was accepted of its content, up to where it broke off.
    fn check_sent(&self) {
        let mut rest = &self.sent[..];
        for asked in &self.asked {
            let Some(head) = rest.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4) else {
                return assert!(rest.is_empty(), "a head that has no end");
            };
            let method = match asked.kind {
                Kind::Get | Kind::Upgrade | Kind::Last => "GET / HTTP/1.1\r\nhost: a\r\n",
                Kind::Head | Kind::HeadUpgrade => "HEAD / HTTP/1.1\r\nhost: a\r\n",
                Kind::Post => "POST / HTTP/1.1\r\nhost: a\r\n",
                Kind::Put => "PUT / HTTP/1.1\r\nhost: a\r\n",
                Kind::Connect => "CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n",
            };
            assert!(rest.starts_with(method.as_bytes()), "{:?}: {}", asked.kind, rest[..head].escape_ascii());
            rest = &rest[head..];
            let same = asked.content.iter().zip(rest).take_while(|(ours, sent)| ours == sent).count();
            rest = &rest[same..];
            if let Some(more) = rest.strip_prefix(b"0\r\nsum: 1\r\n\r\n") {
                rest = more;
            }
        }
        assert!(rest.is_empty(), "what nobody has said: {}", rest[..rest.len().min(100)].escape_ascii());
    }
}
