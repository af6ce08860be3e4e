//! A connection that began as HTTP/1.1 and was changed by its first request (RFC 7540 §3.2).

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Version, header};

use super::config::Config;
use super::connection::{Connection, Going, Strangers};
use super::flow::{ReceiveWindow, SendWindow};
use super::log::FrameLog;
use super::output::Output;
use super::receive::Input;
use super::settings::ENTRY_LEN;
use super::stream::{Asked, Receiving};

const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n";

/// Fields that were about the connection that is no more (RFC 9113 §8.2.2).
const GONE: [&str; 5] = ["connection", "upgrade", "http2-settings", "keep-alive", "proxy-connection"];

impl Input {
    /// Takes everything, in one piece.
    fn take_all(&mut self) -> Bytes {
        if self.partial.is_empty() {
            return std::mem::take(&mut self.block);
        }
        let mut all = std::mem::take(&mut self.partial);
        all.extend_from_slice(&std::mem::take(&mut self.block));
        Bytes::from(all)
    }
}

impl Output {
    /// Lets `write` append to the buffer.
    pub(in crate::proto) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let from = self.bytes.len();
        write(&mut self.bytes);
        self.len += self.bytes.len() - from;
    }
}

impl Connection {
    /// Leaves anything but the preface to others: `Event::Http1` comes, whatever it is, and `take_input` has the octets.
    pub(crate) fn leave_http1(&mut self) {
        self.strangers = Strangers::Left;
        self.timers.may_be_silent(self.now, &self.config);
    }

    /// Shows every frame from now on, behind the answer to the change.
    pub(crate) fn log_upgraded(&mut self, log: FrameLog) {
        self.log_frames_behind(log, SWITCHING);
    }

    /// Whether it was told to go.
    pub(crate) fn is_leaving(&self) -> bool {
        self.going != Going::No
    }

    /// What was received and is not for us, in one piece.
    pub(crate) fn take_input(&mut self) -> Bytes {
        self.input.take_all()
    }

    /// Makes the server's end of a connection that is changed to HTTP/2: the word for it, and our SETTINGS, are ready to be
    /// sent. `settings` is the payload of the client's, which needs no acknowledgement. `None` when they are no settings.
    pub(crate) fn upgraded(config: Arc<Config>, now: u64, settings: &[u8]) -> Option<Connection> {
        let entries = settings.len() / ENTRY_LEN;
        if settings.len() % ENTRY_LEN != 0 || entries > config.settings_entries as usize {
            return None;
        }
        let mut connection = Connection::server(config, now);
        connection.output.copy(SWITCHING);
        connection.peer.max_concurrent_streams = u32::MAX;
        connection.apply(settings).ok()?;
        connection.announce();
        connection.upgraded = true;
        connection.insist();
        Some(connection)
    }

    /// Has the request that changed the connection be its first stream, which is half closed.
    pub(crate) fn begin_upgraded(&mut self, mut request: Box<Request<()>>) {
        for name in GONE {
            request.headers_mut().remove(name);
        }
        // It is a promise to take trailers, and names a field that is gone.
        if request.headers().get(header::TE).is_some_and(|te| te != "trailers") {
            request.headers_mut().remove(header::TE);
        }
        *request.version_mut() = Version::HTTP_2;
        let send = SendWindow::new(self.peer.initial_window);
        let key = self.streams.insert(1, send, ReceiveWindow::new(self.stream_window));
        self.last_peer = 1;
        self.timers.busy();
        self.tally.streams += 1;
        if let Some(stream) = self.streams.get_mut(key) {
            stream.receiving = Receiving::Ended;
            stream.asked = if *request.method() == Method::HEAD { Asked::HeadOnly } else { Asked::Content };
        }
        self.first = Some((key, request));
    }
}
