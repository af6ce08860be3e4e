//! The calls that all machines have alike.

use std::{io::IoSlice, sync::Arc};

use ::http::HeaderMap;
use bytes::Bytes;

use super::Core;
use crate::proto::h2::{
    COUNTS, CommandError, Config, Event, FrameLog, Held, Reason, Stats, StreamKey, Trips,
};

/// What comes in.
impl Core {
    #[inline]
    pub(in crate::http) fn receive(&mut self, input: Bytes) {
        match self {
            Core::Http2(core) => core.receive(input),
            Core::Http1(core) => core.receive(input),
            Core::Http1Client(core) => core.receive(input),
        }
    }

    #[inline]
    pub(in crate::http) fn receive_end(&mut self) {
        match self {
            Core::Http2(core) => core.receive_end(),
            Core::Http1(core) => core.receive_end(),
            Core::Http1Client(core) => core.receive_end(),
        }
    }

    #[inline]
    pub(in crate::http) fn wants_input(&self) -> bool {
        match self {
            Core::Http2(core) => core.wants_input(),
            Core::Http1(core) => core.wants_input(),
            Core::Http1Client(core) => core.wants_input(),
        }
    }

    #[inline]
    pub(in crate::http) fn poll_event(&mut self, now: u64) -> Option<Event> {
        match self {
            Core::Http2(core) => core.poll_event(now),
            Core::Http1(core) => core.poll_event(now),
            Core::Http1Client(core) => core.poll_event(now),
        }
    }

    #[inline]
    pub(in crate::http) fn has_events(&self) -> bool {
        match self {
            Core::Http2(core) => core.has_events(),
            Core::Http1(core) => core.has_events(),
            Core::Http1Client(core) => core.has_events(),
        }
    }

    #[inline(always)]
    pub(in crate::http) fn release(&mut self, stream: StreamKey, n: usize) {
        match self {
            Core::Http2(core) => core.release(stream, n),
            Core::Http1(core) => core.release(stream, n),
            Core::Http1Client(core) => core.release(stream, n),
        }
    }
}

/// What goes out.
impl Core {
    #[inline(always)]
    pub(in crate::http) fn send_data(
        &mut self,
        stream: StreamKey,
        data: Bytes,
        end: bool,
    ) -> Result<(), CommandError> {
        match self {
            Core::Http2(core) => core.send_data(stream, data, end),
            Core::Http1(core) => core.send_data(stream, data, end),
            Core::Http1Client(core) => core.send_data(stream, data, end),
        }
    }

    #[inline]
    pub(in crate::http) fn send_trailers(
        &mut self,
        stream: StreamKey,
        trailers: HeaderMap,
    ) -> Result<(), CommandError> {
        match self {
            Core::Http2(core) => core.send_trailers(stream, trailers),
            Core::Http1(core) => core.send_trailers(stream, trailers),
            Core::Http1Client(core) => core.send_trailers(stream, trailers),
        }
    }

    #[inline]
    pub(in crate::http) fn send_capacity(&mut self, stream: StreamKey) -> usize {
        match self {
            Core::Http2(core) => core.send_capacity(stream),
            Core::Http1(core) => core.send_capacity(stream),
            Core::Http1Client(core) => core.send_capacity(stream),
        }
    }

    #[inline]
    pub(in crate::http) fn is_all_sent(&self, stream: StreamKey) -> bool {
        match self {
            Core::Http2(core) => core.is_all_sent(stream),
            Core::Http1(core) => core.is_all_sent(stream),
            Core::Http1Client(core) => core.is_all_sent(stream),
        }
    }

    #[inline]
    pub(in crate::http) fn reset(&mut self, stream: StreamKey, reason: Reason) {
        match self {
            Core::Http2(core) => core.reset(stream, reason),
            Core::Http1(core) => core.reset(stream, reason),
            Core::Http1Client(core) => core.reset(stream, reason),
        }
    }

    #[inline]
    pub(in crate::http) fn has_output(&self) -> bool {
        match self {
            Core::Http2(core) => core.has_output(),
            Core::Http1(core) => core.has_output(),
            Core::Http1Client(core) => core.has_output(),
        }
    }

    pub(in crate::http) fn output_left(&self) -> usize {
        match self {
            Core::Http2(core) => core.output_left(),
            Core::Http1(core) => core.output_left(),
            Core::Http1Client(core) => core.output_left(),
        }
    }

    #[inline]
    pub(in crate::http) fn output_is_one_piece(&self) -> bool {
        match self {
            Core::Http2(core) => core.output_is_one_piece(),
            Core::Http1(core) => core.output_is_one_piece(),
            Core::Http1Client(core) => core.output_is_one_piece(),
        }
    }

    #[inline]
    pub(in crate::http) fn poll_transmit<'a>(&'a mut self, now: u64, slices: &mut [IoSlice<'a>]) -> usize {
        match self {
            Core::Http2(core) => core.poll_transmit(now, slices),
            Core::Http1(core) => core.poll_transmit(now, slices),
            Core::Http1Client(core) => core.poll_transmit(now, slices),
        }
    }

    #[inline]
    pub(in crate::http) fn transmitted(&mut self, n: usize) {
        match self {
            Core::Http2(core) => core.transmitted(n),
            Core::Http1(core) => core.transmitted(n),
            Core::Http1Client(core) => core.transmitted(n),
        }
    }

    pub(in crate::http) fn held_below(&mut self, n: usize) {
        match self {
            Core::Http2(core) => core.held_below(n),
            Core::Http1(core) => core.held_below(n),
            Core::Http1Client(core) => core.held_below(n),
        }
    }
}

/// Time, and the end.
impl Core {
    #[inline]
    pub(in crate::http) fn next_deadline(&mut self, now: u64) -> Option<u64> {
        match self {
            Core::Http2(core) => core.next_deadline(now),
            Core::Http1(core) => core.next_deadline(now),
            Core::Http1Client(core) => core.next_deadline(now),
        }
    }

    #[inline]
    pub(in crate::http) fn handle_timeout(&mut self, now: u64) {
        match self {
            Core::Http2(core) => core.handle_timeout(now),
            Core::Http1(core) => core.handle_timeout(now),
            Core::Http1Client(core) => core.handle_timeout(now),
        }
    }

    #[inline]
    pub(in crate::http) fn shutdown(&mut self) {
        match self {
            Core::Http2(core) => core.shutdown(),
            Core::Http1(core) => core.shutdown(),
            Core::Http1Client(core) => core.shutdown(),
        }
    }

    #[inline]
    pub(in crate::http) fn abandon(&mut self) {
        match self {
            Core::Http2(core) => core.abandon(),
            Core::Http1(core) => core.abandon(),
            Core::Http1Client(core) => core.abandon(),
        }
    }

    #[inline]
    pub(in crate::http) fn is_closed(&self) -> bool {
        match self {
            Core::Http2(core) => core.is_closed(),
            Core::Http1(core) => core.is_closed(),
            Core::Http1Client(core) => core.is_closed(),
        }
    }
}

/// Memory that is lent and given back.
impl Core {
    #[inline]
    pub(in crate::http) fn give_buffer(&mut self, memory: Vec<u8>) -> Option<Vec<u8>> {
        match self {
            Core::Http2(core) => core.give_buffer(memory),
            Core::Http1(core) => core.give_buffer(memory),
            Core::Http1Client(core) => core.give_buffer(memory),
        }
    }

    #[inline]
    pub(in crate::http) fn take_buffer(&mut self) -> Option<Vec<u8>> {
        match self {
            Core::Http2(core) => core.take_buffer(),
            Core::Http1(core) => core.take_buffer(),
            Core::Http1Client(core) => core.take_buffer(),
        }
    }

    #[inline(always)]
    pub(in crate::http) fn recycle(&mut self, headers: HeaderMap) {
        match self {
            Core::Http2(core) => core.recycle(headers),
            Core::Http1(core) => core.recycle(headers),
            Core::Http1Client(core) => core.recycle(headers),
        }
    }
}

/// What is known of it.
impl Core {
    pub(in crate::http) fn config(&self) -> Arc<Config> {
        match self {
            Core::Http2(core) => core.config(),
            Core::Http1(core) => core.config(),
            Core::Http1Client(core) => core.config(),
        }
    }

    #[inline]
    pub(in crate::http) fn open_streams(&self) -> usize {
        match self {
            Core::Http2(core) => core.open_streams(),
            Core::Http1(core) => core.open_streams(),
            Core::Http1Client(core) => core.open_streams(),
        }
    }

    #[inline]
    pub(in crate::http) fn stream_id(&self, stream: StreamKey) -> Option<u32> {
        match self {
            Core::Http2(core) => core.stream_id(stream),
            Core::Http1(core) => core.stream_id(stream),
            Core::Http1Client(core) => core.stream_id(stream),
        }
    }

    #[inline]
    pub(in crate::http) fn stats(&self) -> Stats {
        match self {
            Core::Http2(core) => core.stats(),
            Core::Http1(core) => core.stats(),
            Core::Http1Client(core) => core.stats(),
        }
    }

    #[inline]
    pub(in crate::http) fn held(&self) -> Held {
        match self {
            Core::Http2(core) => core.held(),
            Core::Http1(core) => core.held(),
            Core::Http1Client(core) => core.held(),
        }
    }

    #[inline]
    pub(in crate::http) fn counts(&self) -> [u32; COUNTS] {
        match self {
            Core::Http2(core) => core.counts(),
            Core::Http1(core) => core.counts(),
            Core::Http1Client(core) => core.counts(),
        }
    }

    #[inline]
    pub(in crate::http) fn rare(&self) -> u32 {
        match self {
            Core::Http2(core) => core.rare(),
            Core::Http1(core) => core.rare(),
            Core::Http1Client(core) => core.rare(),
        }
    }

    #[inline]
    pub(in crate::http) fn rarities(&self) -> (u32, u32, Trips) {
        match self {
            Core::Http2(core) => core.rarities(),
            Core::Http1(core) => core.rarities(),
            Core::Http1Client(core) => core.rarities(),
        }
    }

    #[inline]
    pub(in crate::http) fn log_frames(&mut self, log: FrameLog) {
        match self {
            Core::Http2(core) => core.log_frames(log),
            Core::Http1(core) => core.log_frames(log),
            Core::Http1Client(core) => core.log_frames(log),
        }
    }
}

/// The handler of a stream is gone. Tells whether it was the last, and whether there are events.
#[inline(always)]
pub(in crate::http) fn finish(core: &mut Core, stream: StreamKey) -> (bool, bool) {
    match core {
        Core::Http2(core) => {
            core.finish(stream);
            (core.open_streams() == 0, core.has_events())
        }
        Core::Http1(core) => {
            core.finish(stream);
            (core.open_streams() == 0, core.has_events())
        }
        Core::Http1Client(core) => {
            core.finish(stream);
            (core.open_streams() == 0, core.has_events())
        }
    }
}
