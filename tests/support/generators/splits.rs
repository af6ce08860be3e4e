//! The same octets in one piece and in many: what is reported and what is answered must not differ.

use std::io::IoSlice;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use wakering::internals::h2::{Config, Connection, Event, Role, StreamKey};

use super::frames;
use super::tape::Tape;
use super::watch::{Frame, WINDOW_UPDATE, Watch};

pub(crate) fn run(data: &[u8]) {
    let mut tape = Tape::new(data);
    // Bounds that depend on when the output is written would tell pieces apart.
    let config = Config {
        waiting_acks: u32::MAX,
        output_bytes: 1 << 30,
        turn_bytes: 1 << 30,
        stream_queue_bytes: 1 << 30,
        // A stream lasts until its answer is written.
        max_concurrent_streams: 10_000,
        connection_bytes: usize::MAX,
        ..frames::config(&mut tape)
    };
    let seed = tape.byte();
    // The upper half is read by a client that has asked for something.
    let (role, seed) = if seed < 128 { (Role::Server, seed) } else { (Role::Client, seed - 128) };
    let octets = tape.rest();
    let whole = Reader::new(role, &config).read(octets, |_| usize::MAX);
    let mut state = u32::from(seed);
    let pieces = Reader::new(role, &config).read(octets, |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        match seed {
            0 => 1,
            _ => 1 + (state >> 16) as usize % usize::from(seed),
        }
    });
    assert_eq!(whole.log, pieces.log);
    assert_eq!(whole.frames(), pieces.frames());
}

/// A server that answers every request when it is whole, or a client that has sent three.
struct Reader {
    core: Connection,
    watch: Watch,
    log: Vec<String>,
    /// Content of the latest event, if that was content, with its stream.
    content: Option<(u64, Vec<u8>)>,
}

impl Reader {
    fn new(role: Role, config: &Config) -> Reader {
        let mut watch = Watch::new(role);
        watch.frames = Some(Vec::new());
        let mut core = match role {
            Role::Server => Connection::server(config.clone(), 0),
            Role::Client => Connection::client(config.clone(), 0),
        };
        if role == Role::Client {
            for method in ["GET", "HEAD", "POST"] {
                let request = Request::builder().method(method).uri("http://a/").body(()).expect("a request");
                core.request(&request, method != "POST").expect("room for a stream");
            }
        }
        let mut reader = Reader { core, watch, log: Vec::new(), content: None };
        reader.turn();
        reader
    }

    fn read(mut self, octets: &[u8], step: impl FnMut(usize) -> usize) -> Reader {
        let mut step = step;
        let mut at = 0;
        while at < octets.len() && !self.core.is_closed() {
            let n = step(at).min(octets.len() - at);
            self.watch.received(&octets[at..at + n]);
            self.core.receive(Bytes::copy_from_slice(&octets[at..at + n]));
            at += n;
            self.turn();
        }
        self.core.receive_end();
        self.turn();
        self.note_content();
        self
    }

    fn turn(&mut self) {
        loop {
            while let Some(event) = self.core.poll_event(0) {
                self.on_event(event);
                self.transmit();
            }
            self.transmit();
            if !self.core.has_events() {
                return;
            }
        }
    }

    /// A stream ends when its answer is written, and that decides what a late frame means.
    fn transmit(&mut self) {
        while self.core.has_output() {
            let mut slices = [IoSlice::new(&[]); 16];
            let used = self.core.poll_transmit(0, &mut slices);
            let bytes: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
            self.watch.sent(&bytes);
            self.core.transmitted(bytes.len());
        }
    }

    fn note_content(&mut self) {
        if let Some((stream, content)) = self.content.take() {
            self.log.push(format!("{stream}: {content:02x?}"));
        }
    }

    /// The peer has said all. There is no content in the answer: whether it goes out depends on a window, which the
    /// peer may open in the same piece as it ends the stream.
    fn answer(&mut self, stream: StreamKey, status: StatusCode) {
        if self.core.role() == Role::Server {
            self.core.respond(stream, status, &HeaderMap::new(), true).expect("no answer yet");
        }
        self.core.finish(stream);
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Data { stream, data, end } => {
                let before = self.content.as_ref().map(|(before, _)| *before);
                if before != Some(stream.to_bits()) {
                    self.note_content();
                }
                let content = self.content.get_or_insert((stream.to_bits(), Vec::new()));
                content.1.extend_from_slice(&data);
                if end {
                    self.note_content();
                    self.log.push("end".to_owned());
                    self.answer(stream, StatusCode::OK);
                }
                return;
            }
            Event::Request { stream, end: true, .. }
            | Event::Response { stream, end: true, .. }
            | Event::Trailers { stream, .. } => self.answer(stream, StatusCode::NOT_FOUND),
            Event::Reset { stream, .. } => self.core.finish(stream),
            _ => {}
        }
        self.note_content();
        self.log.push(format!("{event:?}"));
    }

    /// What was sent, less the credit: how much of that goes into a frame depends on the pieces.
    fn frames(&self) -> Vec<&Frame> {
        self.watch.frames.iter().flatten().filter(|frame| frame.kind != WINDOW_UPDATE).collect()
    }
}
