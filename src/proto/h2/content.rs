//! DATA: flow control, the length that was announced, and handing pieces on as they come.

use super::connection::{Connection, Role};
use super::error::{Fault, Reason};
use super::event::Event;
use super::flow::Overflow;
use super::frame::{END_STREAM, HEAD_LEN, Head, Kind, PADDED};
use super::stream::{Content, Mismatch, Receiving, Sending, StreamKey};
use super::streams::Ending;
use crate::limits;

/// The DATA frame whose payload is being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Who gets it; nobody when it is thrown away.
    to: Option<StreamKey>,
    /// Content that has not come yet.
    left: u32,
    /// Padding that has not come yet.
    padding: u32,
    end: bool,
}

impl Connection {
    /// Checks the head of a DATA frame and accounts for all of it; `false` when more bytes are needed.
    #[inline]
    pub(super) fn begin_content(&mut self, head: Head) -> Result<bool, Fault> {
        if head.stream == 0 {
            return Err(Fault::protocol("DATA on stream 0"));
        }
        let mut padding = 0;
        let mut before = HEAD_LEN;
        if head.has(PADDED) {
            if head.length == 0 {
                return Err(Fault::size("no room for the padding length"));
            }
            let Some(bytes) = self.input.peek(HEAD_LEN + 1) else { return Ok(false) };
            padding = u32::from(bytes[HEAD_LEN]);
            before += 1;
            if padding >= head.length {
                return Err(Fault::protocol("padding longer than the payload"));
            }
        }
        if self.receive_window.take(head.length) == Err(Overflow) {
            return Err(Fault::Connection(Reason::FLOW_CONTROL_ERROR, "connection window exceeded"));
        }
        let content = head.length - padding - (before - HEAD_LEN) as u32;
        let overhead = head.length - content;
        self.input.skip(before);
        let mut run = Run { to: None, left: content, padding, end: head.has(END_STREAM) };
        if overhead > 0 {
            self.give_back(overhead);
        }
        match self.accept_content(head, content) {
            Ok(to) => run.to = to,
            Err(fault) => {
                self.run = Some(run);
                return Err(fault);
            }
        }
        self.run = Some(run);
        if content == 0 && !run.end {
            self.charge_glitch()?;
        }
        Ok(true)
    }

    /// Finds the stream that a DATA frame is for; `None` when the content is to be thrown away.
    #[inline]
    fn accept_content(&mut self, head: Head, content: u32) -> Result<Option<StreamKey>, Fault> {
        let id = head.stream;
        let end = head.has(END_STREAM);
        let Some(key) = self.streams.find(id) else { return self.late_content(id) };
        let Some(stream) = self.streams.get_mut(key) else { return Ok(None) };
        if stream.dead {
            return self.late_content(id);
        }
        match stream.receiving {
            Receiving::Head => return Err(Fault::Stream(id, Reason::PROTOCOL_ERROR, "DATA before HEADERS")),
            Receiving::Ended if stream.sending == Sending::Ended => {
                return Err(Fault::Connection(Reason::STREAM_CLOSED, "DATA on a closed stream"));
            }
            Receiving::Ended => {
                return Err(Fault::Stream(id, Reason::STREAM_CLOSED, "DATA after END_STREAM"));
            }
            Receiving::Body => {}
        }
        if stream.receive_window.take(head.length) == Err(Overflow) {
            return Err(Fault::Stream(id, Reason::FLOW_CONTROL_ERROR, "stream window exceeded"));
        }
        if stream.to_receive.take(u64::from(content), end) == Err(Mismatch) {
            return Err(Fault::Stream(id, Reason::PROTOCOL_ERROR, "content contradicts content-length"));
        }
        let overhead = head.length - content;
        if overhead > 0 && !end {
            self.give_back_stream(key, overhead);
        }
        Ok(Some(key))
    }

    /// DATA on a stream that is not there.
    #[cold]
    fn late_content(&mut self, id: u32) -> Result<Option<StreamKey>, Fault> {
        if self.is_idle_id(id) {
            return Err(Fault::protocol("DATA on an idle stream"));
        }
        match self.endings.of(id) {
            Ending::Complete | Ending::Skipped => {
                Err(Fault::Connection(Reason::STREAM_CLOSED, "DATA on a closed stream"))
            }
            Ending::PeerReset => Err(Fault::Stream(id, Reason::STREAM_CLOSED, "DATA after RST_STREAM")),
            Ending::OwnReset | Ending::Forgotten => Ok(None),
        }
    }

    /// Whether neither side has opened this stream yet.
    pub(super) fn is_idle_id(&self, id: u32) -> bool {
        let own = matches!((self.role, id % 2), (Role::Client, 1) | (Role::Server, 0));
        if own { id > self.last_own } else { id > self.last_peer }
    }

    /// Hands on what there is of the frame's content.
    #[inline]
    pub(super) fn read_content(&mut self, out: &mut Option<Event>) {
        let Some(mut run) = self.run.take() else { return };
        if run.left > 0 || run.end {
            if run.left > 0 && !self.input.has_block() {
                self.run = Some(run);
                return;
            }
            let target = run.to.and_then(|stream| Some((stream, self.streams.get_mut(stream)?)));
            if let Some((stream, target)) = target.filter(|(_, target)| target.held && !target.dead) {
                let shared = self.tally.unreleased < limits::H2_SHARED_BYTES;
                let data = self.input.content(run.left as usize, shared);
                let length = data.len() as u32;
                run.left -= length;
                target.unreleased += length;
                self.tally.unreleased += length as usize;
                let end = run.end && run.left == 0;
                if end {
                    target.receiving = Receiving::Ended;
                    run.end = false;
                }
                self.run = (run.left > 0 || run.padding > 0).then_some(run);
                *out = Some(Event::Data { stream, data, end });
                return;
            }
            self.discard(&mut run);
        }
        if run.left == 0 && run.padding > 0 {
            run.padding -= self.input.discard(run.padding as usize) as u32;
        }
        if run.left > 0 || run.padding > 0 {
            self.run = Some(run);
        }
    }

    /// Throws content away that nobody wants any more; the connection's window is given back.
    #[cold]
    fn discard(&mut self, run: &mut Run) {
        let thrown = self.input.discard(run.left as usize) as u32;
        run.left -= thrown;
        self.give_back(thrown);
        let Some(key) = run.to else { return };
        if run.left > 0 || !run.end {
            self.count_discarded(key, thrown);
            return;
        }
        run.end = false;
        // The application has let go: the other direction ends too.
        if let Some(stream) = self.streams.get_mut(key).filter(|stream| !stream.dead) {
            stream.receiving = Receiving::Ended;
            self.retire(key);
        }
    }

    /// The application has let go of a stream whose content is still coming, `unreleased` of it not accounted for.
    #[cold]
    pub(super) fn begin_discard(&mut self, key: StreamKey, unreleased: u32) {
        let Some(stream) = self.streams.get_mut(key).filter(|stream| !stream.dead) else { return };
        stream.discard = match stream.to_receive {
            Content::Remaining(left) if left > u64::from(self.config.discard_bytes) => 0,
            Content::Remaining(_) | Content::Free | Content::Forbidden => self.config.discard_bytes,
        };
        if stream.discard > 0 {
            self.give_back_stream(key, unreleased);
        }
    }

    /// Counts content that was thrown away; past the bound the peer is not let go on.
    fn count_discarded(&mut self, key: StreamKey, thrown: u32) {
        let Some(stream) = self.streams.get_mut(key).filter(|stream| !stream.dead) else { return };
        stream.discard = stream.discard.saturating_sub(thrown);
        if stream.discard > 0 {
            self.give_back_stream(key, thrown);
        } else if stream.sending == Sending::Ended {
            self.reset(key, Reason::NO_ERROR);
        }
    }

    /// Whether the rest of a request is awaited although its answer is complete.
    pub(super) fn discards(&mut self, key: StreamKey) -> bool {
        let discards = self.streams.get(key).is_some_and(|stream| stream.discard > 0);
        if discards {
            self.timers.discard(self.now, &self.config);
        }
        discards
    }

    /// Ends the streams whose peers have had their time, once or twice of it: one deadline serves all.
    pub(super) fn end_discards(&mut self) {
        let (mut over, mut going) = (Vec::new(), false);
        for (key, stream) in self.streams.iter_mut() {
            if stream.held || stream.sending != Sending::Ended {
                continue;
            }
            if std::mem::replace(&mut stream.discard_due, true) {
                over.push(key);
            } else {
                going = true;
            }
        }
        for key in over {
            self.reset(key, Reason::NO_ERROR);
        }
        if going {
            self.timers.discard(self.now, &self.config);
        }
    }

    /// Takes note that the application has used `n` bytes of received content, so that the peer may send as
    /// many more. Also after the stream is gone: then there is nothing to do.
    #[inline]
    pub fn release(&mut self, stream: StreamKey, n: usize) {
        let Some(target) = self.streams.get_mut(stream) else { return };
        let n = u32::try_from(n).unwrap_or(u32::MAX).min(target.unreleased);
        if n == 0 {
            return;
        }
        target.unreleased -= n;
        self.tally.unreleased -= n as usize;
        let open = target.receiving == Receiving::Body && !target.dead;
        self.give_back(n);
        if open {
            self.give_back_stream(stream, n);
        }
    }

    /// As [`release`](Connection::release), for content of a stream that was detached.
    pub fn release_late(&mut self, n: usize) {
        let n = n.min(self.tally.unreleased);
        self.tally.unreleased -= n;
        self.give_back(u32::try_from(n).unwrap_or(u32::MAX));
    }

    pub(super) fn give_back_stream(&mut self, key: StreamKey, n: u32) {
        let size = self.config.stream_window;
        let Some(stream) = self.streams.get_mut(key) else { return };
        let (id, mut window) = (stream.id, stream.receive_window);
        let increment = match stream.to_receive {
            Content::Remaining(left) => window.give_back_before(left, n, size),
            Content::Free | Content::Forbidden => window.give_back(n, size),
        };
        let increment = increment.map_or(0, |increment| self.tune(id, &mut window, increment));
        if let Some(stream) = self.streams.get_mut(key) {
            stream.receive_window = window;
        }
        if increment > 0 {
            self.write_frame(Kind::WindowUpdate, 0, id, &increment.to_be_bytes());
        }
    }
}
