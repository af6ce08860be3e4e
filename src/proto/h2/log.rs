//! What goes over the wire, frame by frame and in words, as `nghttp -v` shows it.
//!
//! The log reads the bytes themselves, behind the back of the connection: what came as it is handed over, what goes as it
//! is written. So it sees also what the connection refuses to look at, and while there is none it costs one branch a read
//! and one a write. It has header compression of its own, one state for each direction.

use std::fmt::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use http::HeaderValue;

use super::connection::{Connection, Role};
use super::error::Reason;
use super::frame::{ACK, END_HEADERS, END_STREAM, HEAD_LEN, Head, Kind, PADDED, PREFACE, PRIORITY};
use super::frame::{headers_layout, u32_at};
use super::hpack::{Decoder, Field, FieldLimits};
use super::settings;
use crate::limits;

/// Which way a frame went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the peer.
    Received,
    /// To the peer.
    Sent,
}

/// A frame that went over the wire. Its [`Display`](fmt::Display) is a line like that of `nghttp -v`, and an indented one
/// for each thing that the frame says.
///
/// What the peer chose (names, values, words) is escaped, so that it can forge no lines. The values of fields that were
/// sent as never to be indexed are left out.
#[derive(Debug)]
#[non_exhaustive]
pub struct LoggedFrame<'a> {
    /// Which way it went.
    pub direction: Direction,
    /// Its type.
    pub kind: Kind,
    /// The length of its payload.
    pub length: u32,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 is the connection.
    pub stream: u32,
    /// What it says in words: flags by name, settings, fields, codes, the text of a GOAWAY. One thing a line.
    pub details: &'a str,
}

impl fmt::Display for LoggedFrame<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.direction {
            Direction::Received => "recv",
            Direction::Sent => "send",
        };
        let LoggedFrame { length, flags, stream, .. } = self;
        write!(
            out,
            "{way} {} frame <length={length}, flags={flags:#04x}, stream_id={stream}>",
            self.kind.name()
        )?;
        for line in self.details.lines() {
            write!(out, "\n          {line}")?;
        }
        Ok(())
    }
}

/// Takes the frames of one connection. One that panics is not asked again for frames of that direction.
pub type FrameLog = Box<dyn FnMut(&LoggedFrame<'_>) + Send>;

pub(super) struct Log {
    sink: FrameLog,
    received: Tap,
    sent: Tap,
}

impl fmt::Debug for Log {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Log")
    }
}

impl Connection {
    /// Shows every frame from now on to `log`. To be called before the first bytes are handed over: what follows the
    /// middle of a frame cannot be read.
    pub fn log_frames(&mut self, log: FrameLog) {
        let table = limits::HPACK_TABLE_BYTES.max(self.config.header_table_size as usize);
        self.log = Some(Box::new(Log {
            sink: log,
            received: Tap::new(Direction::Received, self.role == Role::Server, table),
            sent: Tap::new(Direction::Sent, self.role == Role::Client, table),
        }));
    }

    /// Takes the log, for the machine that goes on in another version.
    #[cfg(feature = "http1")]
    pub(crate) fn take_log(&mut self) -> Option<FrameLog> {
        self.log.take().map(|log| log.sink)
    }

    /// As `log_frames`, for a connection whose output begins with these octets, which are no frames.
    #[cfg(feature = "http1")]
    pub(super) fn log_frames_behind(&mut self, log: FrameLog, before: &'static [u8]) {
        self.log_frames(log);
        if let Some(log) = &mut self.log {
            log.sent.preface = before;
        }
    }

    #[cold]
    pub(super) fn log_received(&mut self, bytes: &[u8]) {
        if let Some(log) = &mut self.log {
            log.received.feed(bytes, &mut log.sink);
        }
    }

    /// The first `n` bytes of the output are being written.
    #[cold]
    pub(super) fn log_sent(&mut self, n: usize) {
        if let Some(log) = &mut self.log {
            self.output.first(n, |bytes| log.sent.feed(bytes, &mut log.sink));
        }
    }
}

/// Finds the frames in the bytes of one direction.
struct Tap {
    direction: Direction,
    /// What is left of the client's preface.
    preface: &'static [u8],
    /// These are no frames, or nobody wants them.
    deaf: bool,
    head: Vec<u8>,
    frame: Option<Head>,
    /// What is left of the frame's payload, and as much of it as is looked at.
    left: usize,
    payload: Vec<u8>,
    /// The header block so far.
    block: Vec<u8>,
    /// `None` when a block was too long to follow.
    decoder: Option<Decoder>,
    details: String,
}

impl Tap {
    /// `table`: the largest that either end's header table may be.
    fn new(direction: Direction, preface: bool, table: usize) -> Tap {
        let mut decoder = Decoder::new(settings::HEADER_TABLE as usize);
        decoder.set_max_table_size(table);
        Tap {
            direction,
            preface: if preface { PREFACE } else { &[] },
            deaf: false,
            head: Vec::new(),
            frame: None,
            left: 0,
            payload: Vec::new(),
            block: Vec::new(),
            decoder: Some(decoder),
            details: String::new(),
        }
    }

    fn feed(&mut self, mut bytes: &[u8], sink: &mut FrameLog) {
        self.skip_preface(&mut bytes);
        while !self.deaf && !bytes.is_empty() {
            let Some(head) = self.frame else {
                self.take_head(&mut bytes);
                if let Some(head) = self.frame.filter(|_| self.left == 0) {
                    self.show(head, sink);
                }
                continue;
            };
            let (payload, rest) = bytes.split_at(self.left.min(bytes.len()));
            let room = limits::H2_LOG_BYTES.saturating_sub(self.payload.len());
            if head.kind != Kind::Data {
                self.payload.extend_from_slice(&payload[..payload.len().min(room)]);
            }
            self.left -= payload.len();
            bytes = rest;
            if self.left == 0 {
                self.show(head, sink);
            }
        }
    }

    fn skip_preface(&mut self, bytes: &mut &[u8]) {
        let (expected, came) = (self.preface, *bytes);
        let n = expected.len().min(came.len());
        self.deaf |= expected[..n] != came[..n];
        self.preface = &expected[n..];
        *bytes = &came[n..];
    }

    fn take_head(&mut self, bytes: &mut &[u8]) {
        let (part, rest) = bytes.split_at((HEAD_LEN - self.head.len()).min(bytes.len()));
        self.head.extend_from_slice(part);
        *bytes = rest;
        if let Ok(head) = <&[u8; HEAD_LEN]>::try_from(self.head.as_slice()) {
            let head = Head::parse(head);
            self.frame = Some(head);
            self.left = head.length as usize;
            self.head.clear();
        }
    }

    fn show(&mut self, head: Head, sink: &mut FrameLog) {
        self.frame = None;
        let payload = std::mem::take(&mut self.payload);
        self.details.clear();
        // Writing to a string cannot fail.
        let _ = self.describe(head, &payload);
        let frame = LoggedFrame {
            direction: self.direction,
            kind: head.kind,
            length: head.length,
            flags: head.flags,
            stream: head.stream,
            details: &self.details,
        };
        // The connection does not pay for a log that panics.
        self.deaf |= catch_unwind(AssertUnwindSafe(|| sink(&frame))).is_err();
        self.payload = payload;
        self.payload.clear();
        self.payload.shrink_to(limits::H2_PARTIAL_KEPT_BYTES);
    }

    fn describe(&mut self, head: Head, payload: &[u8]) -> fmt::Result {
        flags(&mut self.details, head)?;
        let out = &mut self.details;
        let word = |at| u32_at(payload, at).unwrap_or_default();
        match head.kind {
            Kind::Headers => self.describe_headers(head, payload),
            Kind::Continuation => self.describe_block(head, payload),
            Kind::Settings => describe_settings(out, payload),
            Kind::RstStream => writeln!(out, "(error_code={})", Code(word(0))),
            Kind::WindowUpdate => writeln!(out, "(window_size_increment={})", word(0) & 0x7fff_ffff),
            Kind::Ping => writeln!(out, "(opaque_data={:08x}{:08x})", word(0), word(4)),
            Kind::GoAway => {
                let words = payload.get(8..).unwrap_or_default().escape_ascii();
                let last = word(0) & 0x7fff_ffff;
                writeln!(out, "(last_stream_id={last}, error_code={}, opaque_data=[{words}])", Code(word(4)))
            }
            Kind::PriorityUpdate => {
                let value = payload.get(4..).unwrap_or_default().escape_ascii();
                writeln!(out, "(prioritized_stream_id={}, priority=[{value}])", word(0) & 0x7fff_ffff)
            }
            Kind::AltSvc | Kind::Origin => writeln!(out, "[{}]", payload.escape_ascii()),
            Kind::Unknown(code) => writeln!(out, "(type={code:#04x})"),
            Kind::Data | Kind::Priority | Kind::PushPromise => Ok(()),
        }
    }

    fn describe_headers(&mut self, head: Head, payload: &[u8]) -> fmt::Result {
        let complete = payload.len() == head.length as usize;
        match headers_layout(head, payload) {
            Ok(layout) if complete => {
                self.block.clear();
                self.describe_block(head, &payload[layout.start..layout.end])
            }
            Ok(_) | Err(_) => self.lose(),
        }
    }

    /// Adds to the header block, and shows it when it is whole.
    fn describe_block(&mut self, head: Head, fragment: &[u8]) -> fmt::Result {
        if self.block.len() + fragment.len() > limits::H2_LOG_BYTES {
            return self.lose();
        }
        self.block.extend_from_slice(fragment);
        if !head.has(END_HEADERS) {
            return Ok(());
        }
        let (block, out) = (std::mem::take(&mut self.block), &mut self.details);
        let Some(decoder) = &mut self.decoder else {
            return writeln!(out, "(fields cannot be followed any more)");
        };
        let limits = FieldLimits { block_bytes: limits::H2_LOG_BYTES, ..FieldLimits::default() };
        let decoded = decoder.decode(&block, &limits, |field: Field| {
            let _ = describe_field(out, &field);
        });
        match decoded {
            Ok(all) if all.excess.is_none() => Ok(()),
            Ok(_) => writeln!(self.details, "… and more"),
            Err(_) => self.lose(),
        }
    }

    fn lose(&mut self) -> fmt::Result {
        self.decoder = None;
        self.block = Vec::new();
        writeln!(self.details, "(a header block that cannot be followed)")
    }
}

/// A code with its name.
struct Code(u32);

impl fmt::Display for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}({:#04x})", Reason(self.0).name(), self.0)
    }
}

fn flags(out: &mut String, head: Head) -> fmt::Result {
    let known: &[(u8, &str)] = match head.kind {
        Kind::Data => &[(END_STREAM, "END_STREAM"), (PADDED, "PADDED")],
        Kind::Headers => &[
            (END_STREAM, "END_STREAM"),
            (END_HEADERS, "END_HEADERS"),
            (PADDED, "PADDED"),
            (PRIORITY, "PRIORITY"),
        ],
        Kind::Continuation | Kind::PushPromise => &[(END_HEADERS, "END_HEADERS")],
        Kind::Settings | Kind::Ping => &[(ACK, "ACK")],
        Kind::Priority
        | Kind::RstStream
        | Kind::GoAway
        | Kind::WindowUpdate
        | Kind::AltSvc
        | Kind::Origin
        | Kind::PriorityUpdate
        | Kind::Unknown(_) => &[],
    };
    let set: Vec<&str> = known.iter().filter(|(bit, _)| head.has(*bit)).map(|(_, name)| *name).collect();
    if set.is_empty() { Ok(()) } else { writeln!(out, "; {}", set.join(" | ")) }
}

fn describe_settings(out: &mut String, payload: &[u8]) -> fmt::Result {
    writeln!(out, "(niv={})", payload.len() / settings::ENTRY_LEN)?;
    for entry in payload.chunks_exact(settings::ENTRY_LEN) {
        let id = u16::from_be_bytes([entry[0], entry[1]]);
        let value = u32_at(entry, 2).unwrap_or_default();
        writeln!(out, "[{}({id:#04x}):{value}]", settings::name(id))?;
    }
    Ok(())
}

fn describe_field(out: &mut String, field: &Field) -> fmt::Result {
    match field {
        Field::Method(method) => writeln!(out, ":method: {method}"),
        Field::Scheme(scheme) => writeln!(out, ":scheme: {scheme}"),
        Field::Authority(authority) => writeln!(out, ":authority: {authority}"),
        Field::Path(path) => writeln!(out, ":path: {path}"),
        Field::Protocol(protocol) => writeln!(out, ":protocol: {}", protocol.escape_ascii()),
        Field::Status(status) => writeln!(out, ":status: {}", status.as_str()),
        Field::Header { name, value, .. } => writeln!(out, "{name}: {}", shown(value)),
        Field::Malformed(defect) => writeln!(out, "(malformed: {defect:?})"),
    }
}

fn shown(value: &HeaderValue) -> String {
    if value.is_sensitive() { "(sensitive)".to_owned() } else { value.as_bytes().escape_ascii().to_string() }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;
    use http::{HeaderMap, Request, StatusCode};

    use super::super::{Config, Event};
    use super::*;

    type Lines = Arc<Mutex<Vec<String>>>;

    fn logged(mut core: Connection) -> (Connection, Lines) {
        let lines = Lines::default();
        let sink = lines.clone();
        core.log_frames(Box::new(move |frame| sink.lock().unwrap().push(frame.to_string())));
        (core, lines)
    }

    /// Carries everything over, at most `most` bytes at a time.
    fn carry(from: &mut Connection, to: &mut Connection, most: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while from.has_output() {
            let mut slices = [IoSlice::new(&[]); 8];
            let used = from.poll_transmit(0, &mut slices);
            let bytes: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).take(most).collect();
            from.transmitted(bytes.len());
            to.receive(Bytes::from(bytes));
            events.extend(std::iter::from_fn(|| to.poll_event(0)));
        }
        events
    }

    fn exchange(most: usize) -> (Vec<String>, Vec<String>) {
        let (mut client, said) = logged(Connection::client(Config::default(), 0));
        let (mut server, heard) = logged(Connection::server(Config::default(), 0));
        let mut request = Request::get("http://a/path?x=1").header("x-text", "one").body(()).unwrap();
        let mut secret = HeaderValue::from_static("token");
        secret.set_sensitive(true);
        request.headers_mut().insert("authorization", secret);
        for _ in 0..2 {
            client.request(&request, true).unwrap();
        }
        for event in carry(&mut client, &mut server, most) {
            let Event::Request { stream, .. } = event else { continue };
            server.respond(stream, StatusCode::OK, &HeaderMap::new(), false).unwrap();
            server.send_data(stream, Bytes::from(vec![7; 20_000]), true).unwrap();
            server.finish(stream);
        }
        server.goaway(Reason::ENHANCE_YOUR_CALM, b"enough\nrecv FORGED");
        carry(&mut server, &mut client, most);
        (said.lock().unwrap().clone(), heard.lock().unwrap().clone())
    }

    #[test]
    fn both_ends_log_the_same_frames_however_the_bytes_are_cut() {
        let whole = exchange(usize::MAX);
        for most in [1, 7, 100, 5_000] {
            assert_eq!(exchange(most), whole, "{most} bytes at a time");
        }
        let (client, server) = whole;
        let other = |line: &String| match line.split_at(4) {
            ("recv", rest) => format!("send{rest}"),
            (_, rest) => format!("recv{rest}"),
        };
        let received = |line: &&String| line.starts_with("recv");
        let sent: Vec<String> = server.iter().filter(|line| !received(line)).map(other).collect();
        assert_eq!(client.iter().filter(received).cloned().collect::<Vec<_>>(), sent);
        let sent: Vec<String> = client.iter().filter(|line| !received(line)).map(other).collect();
        assert_eq!(server.iter().filter(received).cloned().collect::<Vec<_>>(), sent);
    }

    #[test]
    fn a_frame_is_shown_as_nghttp_shows_it_and_forges_no_lines() {
        let (client, server) = exchange(usize::MAX);
        assert!(client[0].starts_with("send SETTINGS frame <length="), "{client:?}");
        assert!(client[0].contains("\n          [SETTINGS_ENABLE_PUSH(0x02):0]\n"), "{}", client[0]);
        let head = "recv HEADERS frame <length=";
        let requests: Vec<&String> = server.iter().filter(|line| line.starts_with(head)).collect();
        // The second stands in the tables, and is followed all the same.
        for (request, id) in requests.iter().zip([1, 3]) {
            let fields = format!(
                "flags=0x05, stream_id={id}>\n          ; END_STREAM | END_HEADERS\n          :method: GET\n          \
                 :scheme: http\n          :path: /path?x=1\n          :authority: a\n          x-text: one\n          \
                 authorization: (sensitive)"
            );
            assert!(request.ends_with(&fields), "{request}");
        }
        assert_eq!(requests.len(), 2);
        let last = client.last().unwrap();
        assert!(last.starts_with("recv GOAWAY frame <length=26, flags=0x00, stream_id=0>\n"), "{last}");
        let words = "error_code=ENHANCE_YOUR_CALM(0x0b), opaque_data=[enough\\nrecv FORGED])";
        assert!(last.ends_with(words), "{last}");
    }

    #[test]
    fn a_log_that_panics_ends_and_its_connection_goes_on() {
        let mut server = Connection::server(Config::default(), 0);
        server.log_frames(Box::new(|_| panic!("on purpose")));
        let mut client = Connection::client(Config::default(), 0);
        client.request(&Request::get("http://a/").body(()).unwrap(), true).unwrap();
        let events = carry(&mut client, &mut server, usize::MAX);
        assert!(matches!(events[..], [Event::Request { .. }]));
        carry(&mut server, &mut client, usize::MAX);
        assert!(!server.is_closed() && !client.is_closed());
    }

    #[test]
    fn no_bytes_can_make_the_log_panic_or_keep_more_than_a_block() {
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for _ in 0..300 {
            let mut tap = Tap::new(Direction::Received, false, 4_096);
            let mut sink: FrameLog = Box::new(|frame| assert!(!frame.to_string().is_empty()));
            for _ in 0..60 {
                let (length, kind) = (next() % 40, next() % 18);
                let mut bytes = vec![0, 0, length as u8, kind as u8, next() as u8, 0, 0, 0, next() as u8];
                bytes.extend((0..length).map(|_| next() as u8));
                bytes.truncate(if next() % 8 == 0 { next() as usize % bytes.len() } else { bytes.len() });
                tap.feed(&bytes, &mut sink);
            }
            assert!(
                tap.payload.capacity() <= limits::H2_LOG_BYTES && tap.block.len() <= limits::H2_LOG_BYTES
            );
        }
    }

    #[test]
    fn what_is_no_http2_is_not_shown() {
        let (mut server, lines) = logged(Connection::server(Config::default(), 0));
        server.receive(Bytes::from_static(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"));
        assert!(matches!(server.poll_event(0), Some(Event::Http1)));
        assert!(lines.lock().unwrap().is_empty());
    }
}
