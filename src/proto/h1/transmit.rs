//! What goes out to the socket, and the memory that it lies in.

use std::io::IoSlice;

use super::connection::{Connection, Notice};
use super::exchange::{Exchange, Receiving, Sending};

impl Connection {
    /// Whether there is anything to write, an end included.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty() || self.owes_end()
    }

    /// Bytes that wait to be written.
    pub(crate) fn output_left(&self) -> usize {
        self.output.len()
    }

    /// Whether one slice holds all of it.
    pub fn output_is_one_piece(&self) -> bool {
        self.output.is_one_piece()
    }

    /// Fills `slices` for one vectored write; `transmitted` is due afterwards.
    pub fn poll_transmit<'a>(&'a mut self, now: u64, slices: &mut [IoSlice<'a>]) -> usize {
        self.look(now);
        self.timers.clocks.offer(&self.output, now);
        self.output.slices(slices)
    }

    /// Says how much of the output was written.
    pub fn transmitted(&mut self, n: usize) {
        self.timers.clocks.transmitted(&mut self.output, n, self.now);
        if n > 0 {
            self.timers.spoke(self.now);
        }
        let room = self.config.stream_queue_bytes.saturating_sub(self.output.len());
        let Some(exchange) = &mut self.exchange else { return };
        if exchange.wants_room && room >= self.config.stream_queue_bytes / 2 {
            exchange.wants_room = false;
            self.notices.push_back(Notice::Writable(exchange.key()));
        }
    }

    /// Says how many of the bytes that were written have not reached the socket: deadlines judge by what that has taken.
    pub fn held_below(&mut self, n: usize) {
        self.timers.clocks.held_below(&mut self.output, n, self.now);
    }

    /// Our direction of a tunnel is over, and the peer must read an end.
    fn owes_end(&self) -> bool {
        let ended = |it: &Exchange| it.receiving == Receiving::Tunnel && it.sending == Sending::Ended;
        !self.end_told && self.exchange.as_ref().is_some_and(ended)
    }

    /// Whether the socket's sending direction is to be ended now; said once.
    pub(crate) fn takes_end(&mut self) -> bool {
        let takes = self.output.is_empty() && self.owes_end();
        self.end_told |= takes;
        takes
    }

    /// Takes the output buffer's memory while nothing is to be written.
    pub fn take_buffer(&mut self) -> Option<Vec<u8>> {
        self.output.take_memory()
    }

    /// Lends a buffer for output; comes back at once when there is one.
    pub fn give_buffer(&mut self, buffer: Vec<u8>) -> Option<Vec<u8>> {
        self.output.give_memory(buffer)
    }
}
