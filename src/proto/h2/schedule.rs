//! Which queued content goes out next, and handing the output to the socket.
//!
//! Streams with content and window stand in [`ready`](super::ready), which chooses by urgency; each choice makes one DATA
//! frame, so that a large download cannot hold up a small one of its level. Frames other than DATA never wait here.

use std::io::IoSlice;
use std::sync::Arc;

use super::config::Config;
use super::connection::{Connection, Notice};
use super::frame::{END_STREAM, Head, Kind};
use super::stream::{Content, Piece, Room, Sending, StreamKey};
use super::streams::queue_of;
use crate::limits;

impl Connection {
    /// Whether `poll_transmit` would fill anything.
    #[inline]
    pub fn has_output(&self) -> bool {
        !self.output.is_empty() || (!self.ready.is_empty() && self.send_window.available() > 0)
    }

    /// Bytes that are framed and wait to be written.
    pub fn output_len(&self) -> usize {
        self.output.len()
    }

    /// Where the output ends so far, in bytes since the connection began.
    pub fn output_end(&self) -> u64 {
        self.output.end()
    }

    /// Bytes that were written since the connection began.
    pub fn output_written(&self) -> u64 {
        self.output.end() - self.output.len() as u64
    }

    pub(crate) fn config(&self) -> Arc<Config> {
        self.config.clone()
    }

    /// Bytes that wait to be written.
    pub(crate) fn output_left(&self) -> usize {
        self.output.len()
    }

    /// Whether `poll_event` has something to say without new bytes.
    #[inline]
    pub fn has_events(&self) -> bool {
        !self.notices.is_empty()
    }

    /// Whether one slice holds all that `poll_transmit` would fill.
    #[inline]
    pub fn output_is_one_piece(&self) -> bool {
        self.ready.is_empty() && self.output.is_one_piece()
    }

    /// Frames queued content as far as windows and the turn's size allow, and fills `slices` for one vectored
    /// write; returns how many were filled. `transmitted` is due afterwards with what the write took.
    #[inline]
    pub fn poll_transmit<'a>(&'a mut self, now: u64, slices: &mut [IoSlice<'a>]) -> usize {
        self.tell(now);
        self.ready.begin_turn();
        while !self.ready.is_empty() && self.output.len() < self.config.turn_bytes {
            if self.send_window.available() == 0 {
                self.watch();
                break;
            }
            if self.ready.yields() && !self.output.is_empty() {
                break;
            }
            self.frame_next();
        }
        if !self.output.is_empty() {
            self.timers.stall.begin(now, self.output.reached());
        }
        self.output.slices(slices)
    }

    /// Says that the first `n` bytes of what `poll_transmit` showed have been written.
    #[inline]
    pub fn transmitted(&mut self, n: usize) {
        if self.log.is_some() {
            self.log_sent(n);
        }
        let before = self.output.reached();
        self.output.written(n);
        let written = self.output_written();
        self.acks.pings.written(written);
        self.acks.settings.written(written);
        if n > 0 {
            if self.output.is_empty() {
                self.timers.stall.end();
            } else {
                // Also when nobody calls `poll_transmit` before the time ends.
                self.timers.stall.begin(self.now, before);
            }
        }
    }

    /// Says how many of the bytes that were written have not reached the socket: deadlines judge by what that has taken.
    pub fn held_below(&mut self, n: usize) {
        self.output.hold_below(n);
        if n > 0 {
            self.timers.stall.begin(self.now, self.output.reached());
        } else if self.output.is_empty() {
            self.timers.stall.end();
        }
    }

    /// Makes one DATA frame for the stream whose turn it is.
    fn frame_next(&mut self) {
        let Some(key) = self.ready.pop() else { return };
        let Some(stream) = self.streams.get_mut(key) else { return };
        let queued = stream.queued();
        let most = (self.peer.max_frame_size as usize).min(limits::H2_DATA_FRAME_BYTES);
        let n = queued.min(most).min(stream.send_window.available()).min(self.send_window.available());
        let last = n == queued && stream.sending == Sending::Closing;
        let trailers = if last { queue_of(stream).trailers.take() } else { None };
        let end = last && trailers.is_none();
        let (id, priority) = (stream.id, stream.priority);
        if n > 0 {
            self.output.head(Head {
                length: n as u32,
                kind: Kind::Data,
                flags: if end { END_STREAM } else { 0 },
                stream: id,
            });
            let output = &mut self.output;
            self.tally.queued -= n;
            queue_of(stream).take(n, limits::H2_COPY_BYTES, |piece| match piece {
                Piece::Small(bytes) => output.copy(bytes),
                Piece::Large(bytes) => output.splice(bytes),
            });
            stream.send_window.take(n);
            self.send_window.take(n);
        }
        let more = queued > n && stream.send_window.available() > 0;
        stream.scheduled = more;
        if last {
            stream.sending = Sending::Ended;
        }
        if more {
            self.ready.push(key, id, priority);
        } else if queued > n {
            self.watch();
        }
        if let Some(trailers) = trailers {
            self.write_trailers(id, &trailers);
        }
        self.after_frame(key);
    }

    /// The stream may be done, or have room again.
    fn after_frame(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get(key) else { return };
        if stream.sending == Sending::Ended {
            if !stream.held {
                self.let_go(key);
            }
        } else if stream.room == Room::Wanted {
            self.notify_room(key);
        }
    }

    /// Puts a stream into the ring, if it has content and window.
    pub(super) fn schedule(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if stream.scheduled || stream.queued() == 0 {
            return;
        }
        if stream.send_window.available() > 0 {
            stream.scheduled = true;
            self.ready.push(key, stream.id, stream.priority);
        } else {
            self.watch();
        }
    }

    /// Takes a stream out of the ring whose window was closed by a smaller initial one: what stands there can be
    /// framed, or `has_output` would promise too much.
    pub(super) fn unschedule_if_closed(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if stream.send_window.available() == 0 && std::mem::take(&mut stream.scheduled) {
            self.ready.remove(key, stream.id, stream.priority);
        }
    }

    /// The stream's window grew.
    pub(super) fn on_room(&mut self, key: StreamKey) {
        self.schedule(key);
        if self.streams.get(key).is_some_and(|stream| stream.room == Room::Wanted) {
            self.notify_room(key);
        }
    }

    /// The connection's window opened again: whoever found it closed is told.
    #[cold]
    pub(super) fn wake_writers(&mut self) {
        let wanting: Vec<StreamKey> = self
            .streams
            .iter_mut()
            .filter(|(_, stream)| stream.room == Room::Wanted)
            .map(|(key, _)| key)
            .collect();
        for key in wanting {
            self.notify_room(key);
        }
    }

    /// What the stream should queue now: what the windows allow, up to a bound for each stream, less what is
    /// queued. A stream whose own window is closed gets nothing, so stalled streams cannot eat up the memory
    /// that others need.
    #[inline]
    pub(super) fn room_of(&self, key: StreamKey) -> usize {
        let Some(stream) = self.streams.get(key) else { return 0 };
        if stream.dead || !matches!(stream.sending, Sending::Head | Sending::Body) {
            return 0;
        }
        stream
            .send_window
            .available()
            .min(self.send_window.available())
            .min(self.config.stream_queue_bytes)
            .saturating_sub(stream.queued())
    }

    /// Whether all content that was announced has been queued, so that only its end is missing, which takes no room.
    pub fn is_all_sent(&self, stream: StreamKey) -> bool {
        self.streams.get(stream).is_some_and(|stream| stream.to_send == Content::Remaining(0))
    }

    /// Tells the application of room once there is enough to be worth a wake-up.
    fn notify_room(&mut self, key: StreamKey) {
        let room = self.room_of(key);
        let Some(stream) = self.streams.get_mut(key) else { return };
        let worth = room >= self.config.stream_queue_bytes / 4 || (room > 0 && stream.queued() == 0);
        if worth {
            stream.room = Room::Unasked;
            self.ready.told(stream.priority);
            self.notices.push_back(Notice::Writable(key));
        }
    }
}
