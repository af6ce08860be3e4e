//! A peer that sends anything: well-formed frames in any order, broken ones and plain octets, in any pieces, while
//! time passes and the application does what it likes. Both roles.

use std::io::IoSlice;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use wakering::internals::h2::{Config, Connection, Event, Priority, Reason, Role, StreamKey};
use wakering::internals::hpack::{Encoder, FieldLimits};

use super::tape::Tape;
use super::watch::{self, Watch, frame, trace};

const SECOND: u64 = 1_000_000_000;

pub(crate) fn run(data: &[u8]) {
    let mut tape = Tape::new(data);
    let mut rig = Rig::new(&mut tape);
    while !tape.is_empty() {
        rig.step(&mut tape);
    }
    rig.wind_up();
}

/// A configuration with small bounds, so that a run reaches them.
pub(crate) fn config(tape: &mut Tape<'_>) -> Config {
    let shape = tape.byte();
    let mut config = Config {
        max_concurrent_streams: 1 + u32::from(shape & 7),
        output_bytes: 4 * 1024,
        stream_queue_bytes: 2 * 1024,
        turn_bytes: 2 * 1024,
        reset_burst: 20,
        glitch_burst: 40,
        ..Config::default()
    };
    if shape & 0x08 != 0 {
        config.stream_window = 1_000;
        config.header_table_size = 100;
    }
    if shape & 0x10 != 0 {
        config.fields = FieldLimits { fields: 8, cookie_crumbs: 2, list_bytes: 300, block_bytes: 400 };
        config.connection_window = 70_000;
    }
    if shape & 0x20 != 0 {
        config.max_frame_size = 20_000;
        config.stream_window = 1 << 20;
        config.header_table_size = 8_192;
        config.connect_protocol = true;
        config.discard_bytes = 1_000;
        config.origins = vec!["https://a".to_owned()];
        config.alt_svc = vec![("https://a".to_owned(), HeaderValue::from_static("h2=\":1\""))];
    }
    if shape & 0x40 != 0 {
        // Nothing ends the connection for making work.
        config.reset_burst = u32::MAX;
        config.glitch_burst = u32::MAX;
        config.waiting_acks = u32::MAX;
        config.idle_timeout = Duration::from_secs(1 << 20);
    }
    if shape & 0x80 != 0 {
        config.output_bytes = 1 << 20;
        config.keep_alive_interval = Some(Duration::from_secs(2));
        config.connection_bytes = 20_000;
    }
    config
}

/// One end under test, and the peer that torments it.
struct Rig {
    core: Connection,
    config: Config,
    watch: Watch,
    encoder: Encoder,
    now: u64,
    /// Made and not yet delivered.
    pending: Vec<u8>,
    keys: Vec<StreamKey>,
    next: u32,
    closed: bool,
    http1: bool,
    ended: bool,
    /// A deadline ended the connection, and what was written may end inside a frame.
    torn: bool,
}

impl Rig {
    fn new(tape: &mut Tape<'_>) -> Rig {
        let config = config(tape);
        let shape = tape.byte();
        let role = if shape & 1 == 0 { Role::Server } else { Role::Client };
        let core = match role {
            Role::Server => Connection::server(config.clone(), 0),
            Role::Client => Connection::client(config.clone(), 0),
        };
        let mut rig = Rig {
            core,
            config,
            watch: Watch::new(role),
            encoder: Encoder::new(),
            now: 0,
            pending: Vec::new(),
            keys: Vec::new(),
            next: 1,
            closed: false,
            http1: false,
            ended: false,
            torn: false,
        };
        if shape & 4 != 0 {
            // It reads the octets by itself, and must bear any.
            rig.core.log_frames(Box::new(|frame| drop(frame.to_string())));
        }
        if shape & 2 == 0 {
            if role == Role::Server {
                rig.pending.extend_from_slice(watch::PREFACE);
            }
            rig.put(watch::SETTINGS, 0, 0, &[]);
            rig.put(watch::SETTINGS, watch::ACK, 0, &[]);
        }
        rig
    }

    fn put(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.pending.extend_from_slice(&frame(kind, flags, stream, payload));
    }

    fn step(&mut self, tape: &mut Tape<'_>) {
        match tape.below(20) {
            0..=8 => self.make_frame(tape),
            9 => {
                let length = 1 + usize::from(tape.byte());
                self.pending.extend_from_slice(tape.take(length));
            }
            10..=12 => self.deliver(usize::MAX, tape),
            13 => {
                let n = 1 + tape.below(40);
                self.deliver(n, tape);
            }
            14 => self.wait(tape),
            15..=18 => self.command(tape),
            _ => self.rare(tape),
        }
    }

    /// The peer's next frame, or something like one.
    fn make_frame(&mut self, tape: &mut Tape<'_>) {
        let stream = self.peer_stream(tape);
        match tape.below(15) {
            0..=2 => self.make_head(tape),
            3 | 4 => {
                let length = tape.pick(&[0, 1, 10, 500, 5_000, 16_384, 20_000]);
                let flags = tape.pick(&[0, watch::END_STREAM, 8, 9]);
                let mut payload = vec![b'x'; length];
                if let Some(first) = payload.first_mut() {
                    *first = tape.byte();
                }
                self.put(watch::DATA, flags, stream, &payload);
            }
            5 => {
                let increment = tape.pick(&[1u32, 100, 40_000, 0, 0x7fff_ffff, 0x7fff_0000, 0x8000_0001]);
                let stream = if tape.one_in(2) { 0 } else { stream };
                self.put(watch::WINDOW_UPDATE, 0, stream, &increment.to_be_bytes());
            }
            6 => self.put(watch::RST_STREAM, 0, stream, &u32::from(tape.byte()).to_be_bytes()),
            7 => self.make_settings(tape),
            8 => {
                let flags = tape.pick(&[0, watch::ACK]);
                let payload = tape.pick(&[*b"12345678", *b"wakergo\0", [0; 8]]);
                self.put(watch::PING, flags, 0, &payload);
            }
            9 => {
                let mut payload = tape.pick(&[0u32, 1, 5, 0x7fff_ffff]).to_be_bytes().to_vec();
                payload.extend_from_slice(&u32::from(tape.byte() & 0xf).to_be_bytes());
                payload.extend_from_slice(tape.take(3));
                self.put(watch::GOAWAY, 0, 0, &payload);
            }
            10 => {
                let mut payload = tape.pick(&[0u32, 1, stream]).to_be_bytes().to_vec();
                payload.push(tape.byte());
                self.put(watch::PRIORITY, 0, stream, &payload);
            }
            11 => {
                let length = usize::from(tape.byte());
                let flags = tape.pick(&[watch::END_HEADERS, 0]);
                self.put(watch::CONTINUATION, flags, stream, tape.take(length));
            }
            12 => self.make_priority_update(tape, stream),
            13 => self.make_advice(tape, stream),
            _ => {
                let (kind, flags, length) = (tape.byte(), tape.byte(), usize::from(tape.byte()));
                let stream = tape.pick(&[stream, 0, 2, 0x7fff_ffff]);
                self.put(kind, flags, stream, tape.take(length));
            }
        }
    }

    fn make_priority_update(&mut self, tape: &mut Tape<'_>, stream: u32) {
        let id = if tape.one_in(3) { self.next } else { stream };
        let mut payload = id.to_be_bytes().to_vec();
        payload.extend_from_slice(tape.pick(&[&b"u=1,i"[..], b"u=9", b"i", b"u=5;a=\"b\", x=(1 2)", b""]));
        let length = tape.pick(&[0, 0, 8, 40]);
        payload.extend_from_slice(tape.take(length));
        self.put(0x10, 0, tape.pick(&[0, 0, stream]), &payload);
    }

    /// ALTSVC or ORIGIN.
    fn make_advice(&mut self, tape: &mut Tape<'_>, stream: u32) {
        let texts = [&b"\0\x09https://ah2=1"[..], b"\0\0h2=1", b"\0\x09https://a", b"\xff\xff", b""];
        let payload = tape.pick(&texts);
        let (kind, length) = (tape.pick(&[10, 12]), tape.pick(&[0, 0, 20]));
        let payload = [payload, tape.take(length)].concat();
        self.put(kind, 0, tape.pick(&[0, stream]), &payload);
    }

    /// A stream that is most likely there.
    fn peer_stream(&mut self, tape: &mut Tape<'_>) -> u32 {
        let back = 2 * u32::from(tape.byte() & 7);
        self.next.saturating_sub(2).saturating_sub(back).max(1)
    }

    fn make_settings(&mut self, tape: &mut Tape<'_>) {
        if tape.one_in(3) {
            return self.put(watch::SETTINGS, watch::ACK, 0, &[]);
        }
        let mut payload = Vec::new();
        for _ in 0..tape.below(4) {
            let id = tape.pick(&[1u16, 2, 3, 4, 4, 5, 6, 8, 9, 99]);
            let value = tape.pick(&[0u32, 1, 2, 100, 4_096, 65_535, 16_384, 0x7fff_ffff, 0xffff_ffff]);
            payload.extend_from_slice(&id.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        let torn = tape.one_in(20);
        payload.extend_from_slice(tape.take(usize::from(torn)));
        self.put(watch::SETTINGS, 0, 0, &payload);
    }

    /// HEADERS that are mostly right: a new request, a response, trailers, or any octets as a block.
    fn make_head(&mut self, tape: &mut Tape<'_>) {
        let shape = tape.byte();
        let mut block = Vec::new();
        self.encoder.begin_block(&mut block);
        let mut stream = self.peer_stream(tape);
        if self.core.role() == Role::Client {
            let status = tape.pick(&[200, 204, 304, 100, 103, 500]);
            self.encoder.encode_status(StatusCode::from_u16(status).expect("a status"), &mut block);
        } else if shape & 3 != 3 {
            stream = self.next + tape.pick(&[0, 0, 0, 2, 10_000, 1]);
            self.next = stream.saturating_add(2);
            block.extend_from_slice(tape.pick(&[
                &[0x82, 0x86, 0x84][..],
                &[0x83, 0x86, 0x84],
                &[0x82, 0x86],
            ]));
            if shape & 0x70 == 0x70 {
                self.encoder.encode_method(&Method::CONNECT, &mut block);
                self.encoder.encode_protocol("websocket", &mut block);
            }
            self.encoder.encode_authority("a", &mut block);
        }
        for _ in 0..tape.below(8) / 3 {
            let (name, value) = tape.pick(&[
                ("content-length", "10"),
                ("content-length", "0"),
                ("cookie", "a=b"),
                ("priority", "u=1,i"),
                ("te", "trailers"),
                ("connection", "close"),
                ("x-long", "0123456789012345678901234567890123456789"),
                ("host", "a"),
            ]);
            let (name, value) = (HeaderName::from_static(name), HeaderValue::from_static(value));
            self.encoder.encode_field(&name, &value, &mut block);
        }
        if tape.one_in(20) {
            let length = usize::from(tape.byte());
            block.extend_from_slice(tape.take(length));
        }
        let end = if shape & 4 == 0 { watch::END_STREAM } else { 0 };
        if shape & 8 == 0 {
            return self.put(watch::HEADERS, end | watch::END_HEADERS, stream, &block);
        }
        let (first, second) = block.split_at(tape.below(block.len() + 1));
        self.put(watch::HEADERS, end, stream, first);
        self.put(watch::CONTINUATION, watch::END_HEADERS, stream, second);
    }

    /// Hands up to `n` bytes over, if the core reads at all, and lets it have its turn.
    fn deliver(&mut self, n: usize, tape: &mut Tape<'_>) {
        if !self.core.wants_input() || self.ended {
            return self.turn(tape);
        }
        let n = n.min(self.pending.len());
        let bytes = Bytes::from(self.pending.drain(..n).collect::<Vec<u8>>());
        self.watch.received(&bytes);
        self.core.receive(bytes.clone());
        let before = self.core.output_len();
        self.poll(n, tape);
        // An answer to a frame of nine bytes is a response head and a reset, at the most.
        let answers = 16 * n + 8 * 1024;
        assert!(self.core.output_len() <= before + answers, "{n} bytes made too much output");
        self.turn(tape);
    }

    /// Events until there are none; `n` bytes were received.
    fn poll(&mut self, n: usize, tape: &mut Tape<'_>) {
        // One frame can end all streams, of which a client may have more than it allows the server.
        let streams = self.core.open_streams().max(self.config.max_concurrent_streams as usize);
        let mut left = 64 + n + 4 * streams + 256;
        while let Some(event) = self.core.poll_event(self.now) {
            trace(|| format!("   {event:?}"));
            assert!(!self.closed, "{event:?} after Closed");
            left = left.checked_sub(1).expect("events without end");
            self.on_event(event, tape);
        }
        assert!(!self.core.has_events(), "poll_event() left something");
        self.check();
    }

    /// The end of a turn: some output goes out, and what that brings about is looked at.
    fn turn(&mut self, tape: &mut Tape<'_>) {
        for _ in 0..64 {
            let most = tape.pick(&[usize::MAX, usize::MAX, 1_000, 100, 1, 0]);
            self.flush(most);
            if !self.core.has_events() {
                return;
            }
            self.poll(0, tape);
        }
    }

    /// Writes up to `most` bytes.
    fn flush(&mut self, mut most: usize) {
        while self.core.has_output() && most > 0 {
            let mut slices = [IoSlice::new(&[]); 5];
            let used = self.core.poll_transmit(self.now, &mut slices);
            let mut bytes: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
            assert!(!bytes.is_empty(), "has_output() promised some");
            bytes.truncate(most);
            most -= bytes.len();
            self.watch.sent(&bytes);
            self.core.transmitted(bytes.len());
        }
    }

    /// What holds at all times.
    fn check(&mut self) {
        let open = self.core.open_streams();
        let most = match self.core.role() {
            Role::Server => self.config.max_concurrent_streams as usize,
            // A server that names no limit has none: as many as the application asked for.
            Role::Client => self.next as usize / 2,
        };
        assert!(open <= most, "{open} streams");
        let held = self.core.held();
        if open == 0 {
            assert!(held.received == 0 && held.heads == 0, "{held:?} without streams");
            assert_eq!(held.output, self.core.output_len(), "content of no stream");
        }
        if self.closed {
            assert!(self.core.is_closed() && open == 0 && !self.core.wants_input());
        }
        assert_eq!(self.core.is_closed(), self.closed || self.http1);
        if let Some(deadline) = self.core.next_deadline(self.now) {
            assert!(deadline < u64::MAX);
        } else {
            assert!(self.core.is_closed() || open > 0, "an idle connection has a deadline");
        }
    }

    fn on_event(&mut self, event: Event, tape: &mut Tape<'_>) {
        match event {
            Event::Request { stream, end, request } => {
                self.keys.push(stream);
                self.core.recycle_head(request);
                if tape.one_in(2) && end {
                    let headers = HeaderMap::new();
                    self.core.respond(stream, StatusCode::OK, &headers, false).expect("a fresh stream");
                    self.core.send_data(stream, Bytes::from_static(b"hello"), true).expect("a head was sent");
                    self.finish(stream);
                }
            }
            Event::Data { stream, data, end } => {
                assert!(end || !data.is_empty());
                assert!(self.keys.contains(&stream), "content of a stream that was let go");
                if !tape.one_in(3) {
                    self.core.release(stream, data.len());
                }
            }
            Event::Response { stream, .. }
            | Event::Informational { stream, .. }
            | Event::Trailers { stream, .. } => assert!(self.keys.contains(&stream)),
            Event::Reset { stream, .. } => {
                assert!(self.keys.contains(&stream));
                if tape.one_in(2) {
                    self.finish(stream);
                }
            }
            Event::Writable { stream } => {
                assert!(self.keys.contains(&stream));
                self.core.send_capacity(stream);
            }
            Event::Http1 => {
                self.http1 = true;
                assert!(!self.core.has_output());
            }
            Event::Closed { .. } => {
                self.closed = true;
                self.keys.clear();
            }
            _ => {}
        }
    }

    fn finish(&mut self, stream: StreamKey) {
        self.core.finish(stream);
        self.keys.retain(|key| *key != stream);
    }

    /// The application does something, on any stream that it has.
    fn command(&mut self, tape: &mut Tape<'_>) {
        let number = tape.byte();
        if self.core.role() == Role::Client && number & 3 == 0 {
            return self.request(tape);
        }
        let Some(&stream) = self.keys.get(usize::from(number) % self.keys.len().max(1)) else { return };
        let mut headers = HeaderMap::new();
        if tape.one_in(3) {
            headers.insert("content-length", HeaderValue::from(tape.pick(&[0, 5, 100_000])));
        }
        let end = tape.one_in(3);
        let result = match tape.below(11) {
            0 => self.core.respond(stream, StatusCode::OK, &headers, end),
            1 => self.core.inform(stream, StatusCode::EARLY_HINTS, &HeaderMap::new()),
            2 | 3 => {
                let length = tape.pick(&[0, 1, 100, 3_000, 40_000, 100_000]);
                // Asking first is the caller's duty: what is queued without is its own memory.
                let length = length.min(self.core.send_capacity(stream).max(1));
                self.core.send_data(stream, Bytes::from(vec![b'y'; length]), end)
            }
            4 => self.core.send_trailers(stream, headers),
            5 => {
                self.core.reset(stream, Reason::CANCEL);
                Ok(())
            }
            6 => {
                self.finish(stream);
                Ok(())
            }
            7 => {
                self.core.release(stream, tape.pick(&[1, 1_000, usize::MAX]));
                Ok(())
            }
            8 => self.core.prioritize(stream, Priority::new(tape.byte(), end)),
            9 => self.core.advertise_on(stream, &HeaderValue::from_static("clear")),
            _ => {
                self.core.send_capacity(stream);
                Ok(())
            }
        };
        if self.closed {
            assert!(result.is_err());
        }
        self.turn(tape);
    }

    fn request(&mut self, tape: &mut Tape<'_>) {
        let method = tape.pick(&["GET", "HEAD", "POST"]);
        let request = Request::builder().method(method).uri("http://a/").body(()).expect("a request");
        if let Ok(key) = self.core.request(&request, tape.one_in(2)) {
            assert!(!self.closed);
            self.keys.push(key);
            self.next += 2;
        }
    }

    fn rare(&mut self, tape: &mut Tape<'_>) {
        match tape.below(8) {
            0 => self.core.shutdown(),
            1 if tape.one_in(4) => self.core.goaway(Reason::INTERNAL_ERROR, b"because"),
            2 => drop(self.core.ping([7; 8])),
            3 => self.core.trim(),
            4 => {
                if let Some(buffer) = self.core.take_buffer() {
                    drop(self.core.give_buffer(buffer));
                }
            }
            5 if tape.one_in(4) && !self.ended => {
                self.ended = true;
                self.core.receive_end();
            }
            6 => {
                // The other half of what the wire says: a table of another size.
                let size = tape.pick(&[0u32, 100, 4_096]);
                if size <= self.config.header_table_size {
                    self.encoder.set_peer_table_size(size);
                }
            }
            _ => self.core.recycle(HeaderMap::new()),
        }
        self.poll(0, tape);
        self.turn(tape);
    }

    /// Time passes: a little, a lot, or up to the next deadline.
    fn wait(&mut self, tape: &mut Tape<'_>) {
        let deadline = self.core.next_deadline(self.now);
        self.now = match tape.below(4) {
            0 => self.now + SECOND / 1_000,
            1 => self.now + SECOND,
            2 => deadline.unwrap_or(self.now).max(self.now),
            _ => self.now + 100 * SECOND,
        };
        self.core.handle_timeout(self.now);
        self.poll(0, tape);
        self.torn |= self.closed;
        self.turn(tape);
        let again = self.core.next_deadline(self.now);
        assert!(again.is_none_or(|again| again > self.now), "a deadline in the past: {again:?}");
    }

    /// Everything is written, time is up: the connection is over, and nothing comes after.
    fn wind_up(&mut self) {
        let mut tape = Tape::new(&[]);
        self.deliver(usize::MAX, &mut tape);
        self.flush(usize::MAX);
        self.poll(0, &mut tape);
        for key in std::mem::take(&mut self.keys) {
            self.core.finish(key);
        }
        self.poll(0, &mut tape);
        self.flush(usize::MAX);
        self.core.goaway(Reason::NO_ERROR, b"");
        self.poll(0, &mut tape);
        self.flush(usize::MAX);
        assert!(self.core.is_closed() && !self.core.has_output() && self.core.open_streams() == 0);
        assert!(self.watch.is_whole() || self.torn, "half a frame was sent");
        self.core.receive(Bytes::from_static(b"\0\0\0\x04\0\0\0\0\0"));
        assert!(self.core.poll_event(self.now).is_none(), "an event after the end");
        self.core.handle_timeout(self.now + 1_000 * SECOND);
        assert!(self.core.poll_event(self.now).is_none() && !self.core.has_output());
        assert_eq!(self.core.next_deadline(self.now), None);
    }
}
