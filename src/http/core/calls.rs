//! The calls that all machines have alike.

use std::{io::IoSlice, sync::Arc};

use ::http::HeaderMap;
use bytes::Bytes;

use super::Core;
use crate::proto::h2::{
    COUNTS, CommandError, Config, Event, FrameLog, Held, Reason, Stats, StreamKey, Trips,
};

/// The same call of whichever machine it is. Each has a type of its own, so that no function can say this.
macro_rules! each {
    ($core:expr, $machine:ident => $call:expr) => {
        match $core {
            Core::Http2($machine) => $call,
            Core::Http1($machine) => $call,
            Core::Http1Client($machine) => $call,
        }
    };
}

/// What comes in.
impl Core {
    #[inline]
    pub(in crate::http) fn receive(&mut self, input: Bytes) {
        each!(self, core => core.receive(input));
    }

    #[inline]
    pub(in crate::http) fn receive_end(&mut self) {
        each!(self, core => core.receive_end());
    }

    #[inline]
    pub(in crate::http) fn wants_input(&self) -> bool {
        each!(self, core => core.wants_input())
    }

    #[inline]
    pub(in crate::http) fn poll_event(&mut self, now: u64) -> Option<Event> {
        each!(self, core => core.poll_event(now))
    }

    #[inline]
    pub(in crate::http) fn has_events(&self) -> bool {
        each!(self, core => core.has_events())
    }

    #[inline(always)]
    pub(in crate::http) fn release(&mut self, stream: StreamKey, n: usize) {
        each!(self, core => core.release(stream, n));
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
        each!(self, core => core.send_data(stream, data, end))
    }

    #[inline]
    pub(in crate::http) fn send_trailers(
        &mut self,
        stream: StreamKey,
        trailers: HeaderMap,
    ) -> Result<(), CommandError> {
        each!(self, core => core.send_trailers(stream, trailers))
    }

    #[inline]
    pub(in crate::http) fn send_capacity(&mut self, stream: StreamKey) -> usize {
        each!(self, core => core.send_capacity(stream))
    }

    #[inline]
    pub(in crate::http) fn is_all_sent(&self, stream: StreamKey) -> bool {
        each!(self, core => core.is_all_sent(stream))
    }

    #[inline]
    pub(in crate::http) fn reset(&mut self, stream: StreamKey, reason: Reason) {
        each!(self, core => core.reset(stream, reason));
    }

    #[inline]
    pub(in crate::http) fn has_output(&self) -> bool {
        each!(self, core => core.has_output())
    }

    pub(in crate::http) fn output_left(&self) -> usize {
        each!(self, core => core.output_left())
    }

    #[inline]
    pub(in crate::http) fn output_is_one_piece(&self) -> bool {
        each!(self, core => core.output_is_one_piece())
    }

    #[inline]
    pub(in crate::http) fn poll_transmit<'a>(&'a mut self, now: u64, slices: &mut [IoSlice<'a>]) -> usize {
        each!(self, core => core.poll_transmit(now, slices))
    }

    #[inline]
    pub(in crate::http) fn transmitted(&mut self, n: usize) {
        each!(self, core => core.transmitted(n));
    }

    pub(in crate::http) fn held_below(&mut self, n: usize) {
        each!(self, core => core.held_below(n));
    }
}

/// Time, and the end.
impl Core {
    #[inline]
    pub(in crate::http) fn next_deadline(&mut self, now: u64) -> Option<u64> {
        each!(self, core => core.next_deadline(now))
    }

    #[inline]
    pub(in crate::http) fn handle_timeout(&mut self, now: u64) {
        each!(self, core => core.handle_timeout(now));
    }

    #[inline]
    pub(in crate::http) fn shutdown(&mut self) {
        each!(self, core => core.shutdown());
    }

    #[inline]
    pub(in crate::http) fn abandon(&mut self) {
        each!(self, core => core.abandon());
    }

    #[inline]
    pub(in crate::http) fn is_closed(&self) -> bool {
        each!(self, core => core.is_closed())
    }
}

/// Memory that is lent and given back.
impl Core {
    #[inline]
    pub(in crate::http) fn give_buffer(&mut self, memory: Vec<u8>) -> Option<Vec<u8>> {
        each!(self, core => core.give_buffer(memory))
    }

    #[inline]
    pub(in crate::http) fn take_buffer(&mut self) -> Option<Vec<u8>> {
        each!(self, core => core.take_buffer())
    }

    #[inline(always)]
    pub(in crate::http) fn recycle(&mut self, headers: HeaderMap) {
        each!(self, core => core.recycle(headers));
    }
}

/// What is known of it.
impl Core {
    pub(in crate::http) fn config(&self) -> Arc<Config> {
        each!(self, core => core.config())
    }

    #[inline]
    pub(in crate::http) fn open_streams(&self) -> usize {
        each!(self, core => core.open_streams())
    }

    #[inline]
    pub(in crate::http) fn stream_id(&self, stream: StreamKey) -> Option<u32> {
        each!(self, core => core.stream_id(stream))
    }

    #[inline]
    pub(in crate::http) fn stats(&self) -> Stats {
        each!(self, core => core.stats())
    }

    #[inline]
    pub(in crate::http) fn held(&self) -> Held {
        each!(self, core => core.held())
    }

    #[inline]
    pub(in crate::http) fn counts(&self) -> [u32; COUNTS] {
        each!(self, core => core.counts())
    }

    #[inline]
    pub(in crate::http) fn rare(&self) -> u32 {
        each!(self, core => core.rare())
    }

    #[inline]
    pub(in crate::http) fn rarities(&self) -> (u32, u32, Trips) {
        each!(self, core => core.rarities())
    }

    #[inline]
    pub(in crate::http) fn log_frames(&mut self, log: FrameLog) {
        each!(self, core => core.log_frames(log));
    }
}

/// The handler of a stream is gone. Tells whether it was the last, and whether there are events.
#[inline(always)]
pub(in crate::http) fn finish(core: &mut Core, stream: StreamKey) -> (bool, bool) {
    each!(core, core => {
        core.finish(stream);
        (core.open_streams() == 0, core.has_events())
    })
}
