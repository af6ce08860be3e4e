//! What waits to be written: one growing byte buffer and the large chunks that belong between its bytes.
//!
//! Frame heads, header blocks and small content are appended to the buffer; a large chunk keeps its reference
//! count and remembers its position in the buffer. Both together go out as the slices of one vectored write.
//!
//! Invariants: `splices` are in the order of their positions; a position never lies before `start`; `len` is
//! the sum of everything unsent.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

use super::frame::{HEAD_LEN, Head};
use crate::limits;

#[derive(Debug)]
struct Splice {
    /// The chunk goes out before the byte at this position of the buffer.
    at: usize,
    data: Bytes,
}

#[derive(Debug, Default)]
pub(in crate::proto) struct Output {
    pub(super) bytes: Vec<u8>,
    /// Bytes of the buffer that have been written.
    start: usize,
    splices: VecDeque<Splice>,
    pub(super) len: usize,
    /// Bytes written since the connection began.
    written: u64,
    /// Of these, what has not reached the socket.
    below: usize,
    /// Frames made since then.
    frames: u64,
}

/// Frames of one kind that wait in the output, by where they end in all that is ever sent.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Ascending; a few at most.
    ends: Vec<u64>,
}

impl Waiting {
    /// Notes a frame that was just appended; returns how many wait.
    pub(super) fn add(&mut self, end: u64) -> usize {
        self.ends.push(end);
        self.ends.len()
    }

    /// Forgets the frames of which all bytes have been written.
    #[inline]
    pub(super) fn written(&mut self, written: u64) {
        if self.ends.first().is_some_and(|&end| end <= written) {
            self.ends.retain(|&end| end > written);
        }
    }

    /// Gives memory back while none waits.
    pub(super) fn shrink(&mut self) {
        if self.ends.is_empty() {
            self.ends = Vec::new();
        }
    }
}

impl Output {
    /// Bytes that wait.
    #[inline]
    pub(in crate::proto) fn len(&self) -> usize {
        self.len
    }

    /// Bytes since the connection began, those included that wait.
    #[inline]
    pub(in crate::proto) fn end(&self) -> u64 {
        self.written + self.len as u64
    }

    /// Bytes that the socket has taken since the connection began.
    #[inline]
    pub(in crate::proto) fn reached(&self) -> u64 {
        self.written.saturating_sub(self.below as u64)
    }

    /// Whether the socket has taken all of it.
    #[cfg_attr(not(feature = "http1"), expect(dead_code, reason = "HTTP/2 asks its clock"))]
    pub(in crate::proto) fn is_out(&self) -> bool {
        self.len == 0 && self.below == 0
    }

    /// What the transport holds is not with the socket yet.
    pub(in crate::proto) fn hold_below(&mut self, n: usize) {
        self.below = n;
    }

    /// Frames made since the connection began.
    pub(super) fn frames(&self) -> u64 {
        self.frames
    }

    /// Whether no chunk stands between the bytes.
    #[inline]
    pub(in crate::proto) fn is_one_piece(&self) -> bool {
        self.splices.is_empty()
    }

    #[inline]
    pub(in crate::proto) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a frame whose payload is at hand.
    #[inline]
    pub(super) fn frame(&mut self, head: Head, payload: &[u8]) {
        debug_assert_eq!(head.length as usize, payload.len());
        self.bytes.reserve(HEAD_LEN + payload.len());
        self.bytes.extend_from_slice(&head.encode());
        self.bytes.extend_from_slice(payload);
        self.len += HEAD_LEN + payload.len();
        self.frames += 1;
    }

    /// Appends a frame's head; its payload follows by `copy` and `splice`.
    #[inline]
    pub(super) fn head(&mut self, head: Head) {
        self.bytes.extend_from_slice(&head.encode());
        self.len += HEAD_LEN;
        self.frames += 1;
    }

    #[inline]
    pub(in crate::proto) fn copy(&mut self, data: &[u8]) {
        self.bytes.extend_from_slice(data);
        self.len += data.len();
    }

    /// Appends a chunk by reference.
    #[inline]
    pub(in crate::proto) fn splice(&mut self, data: Bytes) {
        self.len += data.len();
        self.splices.push_back(Splice { at: self.bytes.len(), data });
    }

    /// Lets `write` append to the buffer; `head` is asked for the frame's head when the payload's length is
    /// known. A payload longer than `max` is cut into frames: `head` is then called with `first` and `last`
    /// unset where they do not hold, which is how CONTINUATION frames are made.
    #[inline]
    pub(super) fn block(
        &mut self,
        max: usize,
        write: impl FnOnce(&mut Vec<u8>),
        head: impl Fn(u32, Part) -> Head,
    ) {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(&[0; HEAD_LEN]);
        write(&mut self.bytes);
        let length = self.bytes.len() - from - HEAD_LEN;
        if length <= max {
            let encoded = head(length as u32, Part::WHOLE).encode();
            self.bytes[from..from + HEAD_LEN].copy_from_slice(&encoded);
            self.frames += 1;
        } else {
            self.cut(from, max, head);
        }
        self.len += self.bytes.len() - from;
    }

    #[cold]
    fn cut(&mut self, from: usize, max: usize, head: impl Fn(u32, Part) -> Head) {
        let payload = self.bytes.split_off(from).split_off(HEAD_LEN);
        let count = payload.len().div_ceil(max);
        self.frames += count as u64;
        for (number, part) in payload.chunks(max).enumerate() {
            let place = Part { first: number == 0, last: number + 1 == count };
            self.bytes.extend_from_slice(&head(part.len() as u32, place).encode());
            self.bytes.extend_from_slice(part);
        }
    }

    /// Fills `slices` with what is to be written next, in order; returns how many were filled.
    pub(in crate::proto) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        let mut put = |data: &'a [u8]| {
            if data.is_empty() {
                return true;
            }
            let Some(slot) = slices.get_mut(used) else { return false };
            *slot = IoSlice::new(data);
            used += 1;
            true
        };
        let mut at = self.start;
        for splice in &self.splices {
            if !put(&self.bytes[at..splice.at]) || !put(&splice.data) {
                return used;
            }
            at = splice.at;
        }
        put(&self.bytes[at..]);
        used
    }

    /// Shows the first `n` bytes piece by piece.
    pub(super) fn first(&self, mut n: usize, mut show: impl FnMut(&[u8])) {
        let mut piece = |data: &[u8]| {
            let taken = n.min(data.len());
            n -= taken;
            if taken > 0 {
                show(&data[..taken]);
            }
        };
        let mut at = self.start;
        for splice in &self.splices {
            piece(&self.bytes[at..splice.at]);
            piece(&splice.data);
            at = splice.at;
        }
        piece(&self.bytes[at..]);
    }

    /// Forgets the first `n` bytes: they have been written.
    pub(in crate::proto) fn written(&mut self, n: usize) {
        let n = n.min(self.len);
        self.len -= n;
        self.written += n as u64;
        if self.len == 0 {
            self.start = 0;
            self.bytes.clear();
            self.splices.clear();
            if self.bytes.capacity() > limits::H2_OUTPUT_KEPT_BYTES {
                self.bytes.shrink_to(limits::H2_OUTPUT_KEPT_BYTES);
            }
            return;
        }
        let mut left = n;
        while let Some(splice) = self.splices.front_mut() {
            let before = (splice.at - self.start).min(left);
            self.start += before;
            left -= before;
            if self.start < splice.at {
                break;
            }
            if left < splice.data.len() {
                splice.data.advance(left);
                left = 0;
                break;
            }
            left -= splice.data.len();
            self.splices.pop_front();
        }
        self.start += left;
        self.compact();
    }

    /// A peer that reads slowly never lets the buffer run empty: the written part is cut off now and then.
    fn compact(&mut self) {
        if self.start < limits::H2_OUTPUT_KEPT_BYTES || self.start < self.bytes.len() / 2 {
            return;
        }
        self.bytes.drain(..self.start);
        for splice in &mut self.splices {
            splice.at -= self.start;
        }
        self.start = 0;
    }

    /// Forgets everything that was not written.
    pub(in crate::proto) fn clear(&mut self) {
        let written = self.written;
        self.written(self.len);
        self.written = written;
    }

    /// Takes the buffer's memory, when nothing waits in it.
    pub(in crate::proto) fn take_memory(&mut self) -> Option<Vec<u8>> {
        if !self.is_empty() || self.bytes.capacity() == 0 {
            return None;
        }
        Some(std::mem::take(&mut self.bytes))
    }

    /// Takes memory over, unless there is some already.
    pub(in crate::proto) fn give_memory(&mut self, mut memory: Vec<u8>) -> Option<Vec<u8>> {
        if self.bytes.capacity() > 0 {
            return Some(memory);
        }
        memory.clear();
        self.bytes = memory;
        None
    }
}

/// Where a frame stands in a block that had to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) first: bool,
    pub(super) last: bool,
}

impl Part {
    /// Of a block that fits one frame.
    pub(super) const WHOLE: Part = Part { first: true, last: true };
}

#[cfg(test)]
mod tests {
    use super::super::frame::{END_HEADERS, Kind};
    use super::*;

    fn sample() -> (Output, Vec<u8>) {
        let mut output = Output::default();
        output.copy(b"0123");
        output.splice(Bytes::from_static(b"abcdef"));
        output.splice(Bytes::from_static(b"ghi"));
        output.copy(b"45");
        output.splice(Bytes::from_static(b"j"));
        (output, b"0123abcdefghi45j".to_vec())
    }

    fn gather(output: &Output, count: usize) -> Vec<u8> {
        let mut slices = vec![IoSlice::new(&[]); count];
        let used = output.slices(&mut slices);
        slices[..used].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn bytes_come_out_in_order_whatever_the_write_sizes() {
        let (_, all) = sample();
        for step in 1..=all.len() {
            let (mut output, _) = sample();
            let mut seen = Vec::new();
            while !output.is_empty() {
                let now = gather(&output, 8);
                assert_eq!(now.len(), output.len());
                let n = step.min(now.len());
                seen.extend_from_slice(&now[..n]);
                output.written(n);
            }
            assert_eq!(seen, all, "step {step}");
        }
    }

    #[test]
    fn no_more_slices_than_there_is_room_for() {
        let (output, all) = sample();
        assert_eq!(gather(&output, 2), all[..10]);
        assert_eq!(gather(&output, 1), all[..4]);
    }

    #[test]
    fn a_long_block_is_cut_into_continuations() {
        let mut output = Output::default();
        output.block(
            4,
            |out| out.extend_from_slice(b"0123456789"),
            |length, part| Head {
                length,
                kind: if part.first { Kind::Headers } else { Kind::Continuation },
                flags: if part.last { END_HEADERS } else { 0 },
                stream: 1,
            },
        );
        let bytes = gather(&output, 8);
        assert_eq!(bytes.len(), output.len());
        assert_eq!(bytes.len(), 10 + 3 * HEAD_LEN);
        assert_eq!((bytes[3], bytes[4]), (1, 0));
        assert_eq!((bytes[13 + 3], bytes[13 + 4]), (9, 0));
        assert_eq!((bytes[26 + 2], bytes[26 + 3], bytes[26 + 4]), (2, 9, END_HEADERS));
        assert_eq!(&bytes[35..], b"89");
    }

    #[test]
    fn a_buffer_that_never_runs_empty_does_not_grow_for_ever() {
        let mut output = Output::default();
        output.copy(&[0; 100]);
        for _ in 0..100_000 {
            output.copy(&[1; 50]);
            output.splice(Bytes::from_static(&[2; 50]));
            output.written(100);
        }
        assert_eq!(output.len(), 100);
        assert!(output.bytes.capacity() < 4 * limits::H2_OUTPUT_KEPT_BYTES);
    }

    #[test]
    fn drained_memory_can_be_lent_elsewhere() {
        let mut output = Output::default();
        output.copy(b"x");
        assert_eq!(output.take_memory(), None);
        output.written(1);
        let memory = output.take_memory().unwrap();
        assert!(memory.capacity() > 0);
        assert_eq!(output.give_memory(memory), None);
        assert!(output.give_memory(Vec::new()).is_some());
    }
}
