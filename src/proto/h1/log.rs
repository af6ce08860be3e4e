//! The frame log of HTTP/1: heads, pieces of content and trailers as they come and as they are made, in the shape of HTTP/2's
//! frames, so that one log shows both versions.
//!
//! A head is HEADERS, its lines the details; content is DATA; the request's number stands for the stream. What was refused
//! is shown as it came. While there is no log it costs a branch for each of them.

use std::fmt::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::connection::Connection;
use crate::limits;
use crate::proto::h2::{Direction, END_HEADERS, END_STREAM, FrameLog, Kind, LoggedFrame};

/// Fields whose values nobody should find in a log.
const SECRET: [&str; 4] = ["authorization", "cookie", "proxy-authorization", "set-cookie"];

pub(super) struct Log {
    /// One that panics is not asked again.
    sink: Option<FrameLog>,
}

impl fmt::Debug for Log {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Log")
    }
}

impl Log {
    pub(super) fn new(sink: FrameLog) -> Box<Log> {
        Box::new(Log { sink: Some(sink) })
    }

    /// Lines came, or were made: a head or trailers. `ends`: there is nothing behind them.
    #[cold]
    pub(super) fn lines(&mut self, direction: Direction, stream: u32, octets: &[u8], ends: bool) {
        let flags = if ends { END_HEADERS | END_STREAM } else { END_HEADERS };
        let length = u32::try_from(octets.len()).unwrap_or(u32::MAX);
        let (kind, details) = (Kind::Headers, &lines(octets)[..]);
        self.show(&LoggedFrame { direction, kind, length, flags, stream, details });
    }

    /// What came was refused: it is shown as it came, as far as it came.
    #[cold]
    pub(super) fn refused(&mut self, stream: u32, octets: &[u8]) {
        let shown = &octets[..octets.len().min(limits::H2_LOG_BYTES)];
        self.lines(Direction::Received, stream, shown, false);
    }

    /// Content came, or is sent.
    #[cold]
    pub(super) fn content(&mut self, direction: Direction, stream: u32, length: usize, ends: bool) {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let (kind, flags) = (Kind::Data, if ends { END_STREAM } else { 0 });
        self.show(&LoggedFrame { direction, kind, length, flags, stream, details: "" });
    }

    fn show(&mut self, frame: &LoggedFrame<'_>) {
        let Some(sink) = &mut self.sink else { return };
        if catch_unwind(AssertUnwindSafe(|| sink(frame))).is_err() {
            self.sink = None;
        }
    }
}

impl Connection {
    /// Shows every head and every piece of content from now on to `log`.
    pub fn log_frames(&mut self, log: FrameLog) {
        self.log = Some(Log::new(log));
    }

    /// Takes the log, for the machine that goes on.
    pub(crate) fn take_log(&mut self) -> Option<FrameLog> {
        self.log.take()?.sink
    }

    /// Lines came, or were made.
    #[cold]
    pub(super) fn log_lines(&mut self, direction: Direction, octets: &[u8], ends: bool) {
        let stream = self.logged_stream();
        if let Some(log) = &mut self.log {
            log.lines(direction, stream, octets, ends);
        }
    }

    /// The request that lies in the input, as far as it came, was refused.
    #[cold]
    pub(super) fn log_refused(&mut self) {
        let stream = self.logged_stream();
        if let Some(log) = &mut self.log {
            log.refused(stream, self.input.bytes());
        }
    }

    /// Content came, or is sent.
    #[cold]
    pub(super) fn log_content(&mut self, direction: Direction, length: usize, ends: bool) {
        let stream = self.logged_stream();
        if let Some(log) = &mut self.log {
            log.content(direction, stream, length, ends);
        }
    }

    /// The request that is under way, or the next.
    fn logged_stream(&self) -> u32 {
        self.exchange.as_ref().map_or(self.tally.requests.wrapping_add(1), |it| it.number)
    }
}

/// The lines of a head, escaped, so that a peer can forge none.
fn lines(octets: &[u8]) -> String {
    let mut text = String::new();
    let all = octets.split(|octet| *octet == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    for line in all.filter(|line| !line.is_empty()) {
        let name = line.split(|octet| *octet == b':').next().unwrap_or_default();
        let secret = SECRET.iter().any(|it| name.eq_ignore_ascii_case(it.as_bytes()));
        // Writing to a string does not fail.
        let _ = match secret {
            true => writeln!(text, "{}: (sensitive)", name.escape_ascii()),
            false => writeln!(text, "{}", line.escape_ascii()),
        };
    }
    text
}
