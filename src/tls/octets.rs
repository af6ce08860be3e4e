//! A buffer that is zeroed once and written many times, and how bytes of several buffers become records.

use std::io::IoSlice;

use crate::limits::TLS_RECORD;

/// Bytes at the front of memory that is initialized throughout: growing within it costs no zeroing.
#[derive(Default)]
pub(super) struct Octets {
    memory: Vec<u8>,
    used: usize,
}

impl Octets {
    pub(super) fn filled(&self) -> &[u8] {
        &self.memory[..self.used]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    pub(super) fn len(&self) -> usize {
        self.used
    }

    pub(super) fn clear(&mut self) {
        self.used = 0;
    }

    /// What lies behind the bytes, to be written to.
    pub(super) fn spare(&mut self) -> &mut [u8] {
        &mut self.memory[self.used..]
    }

    /// Makes the spare part at least this long.
    pub(super) fn reserve(&mut self, room: usize) {
        let wanted = self.used + room;
        if wanted > self.memory.len() {
            self.memory.resize(wanted, 0);
        }
    }

    /// So many bytes were written to the spare part.
    pub(super) fn advance(&mut self, count: usize) {
        self.used += count;
        debug_assert!(self.used <= self.memory.len(), "what was written lies in the spare part");
    }
}

/// The bytes of several buffers, in pieces of a record each.
pub(super) struct Pieces<'a, 'b> {
    slices: &'a [IoSlice<'b>],
    /// How much of the first of them was given out.
    at: usize,
}

impl<'a, 'b> Pieces<'a, 'b> {
    pub(super) fn new(slices: &'a [IoSlice<'b>]) -> Self {
        Pieces { slices, at: 0 }
    }

    /// The next piece, at most as long as a record and `most`; empty when there is none. Buffers that do not fill a record
    /// are put together in `joined`.
    pub(super) fn next<'c>(&mut self, most: usize, joined: &'c mut Vec<u8>) -> &'c [u8]
    where
        'a: 'c,
    {
        let most = most.min(TLS_RECORD);
        self.skip_empty();
        let Some((first, others)) = self.slices.split_first() else { return &[] };
        let first: &'a [u8] = &first[self.at..];
        if first.len() >= most || others.iter().all(|slice| slice.is_empty()) {
            let piece = &first[..first.len().min(most)];
            self.at += piece.len();
            return piece;
        }
        joined.clear();
        while joined.len() < most {
            self.skip_empty();
            let Some(first) = self.slices.first() else { break };
            let rest = &first[self.at..];
            let taken = rest.len().min(most - joined.len());
            joined.extend_from_slice(&rest[..taken]);
            self.at += taken;
        }
        joined
    }

    fn skip_empty(&mut self) {
        while let Some((first, others)) = self.slices.split_first() {
            if self.at < first.len() {
                return;
            }
            (self.slices, self.at) = (others, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(buffers: &[&[u8]], most: usize) -> Vec<usize> {
        let slices: Vec<IoSlice<'_>> = buffers.iter().map(|it| IoSlice::new(it)).collect();
        let (mut pieces, mut joined, mut found, mut whole) =
            (Pieces::new(&slices), Vec::new(), Vec::new(), Vec::new());
        loop {
            let piece = pieces.next(most, &mut joined);
            if piece.is_empty() {
                assert_eq!(whole, buffers.concat());
                return found;
            }
            found.push(piece.len());
            whole.extend_from_slice(piece);
        }
    }

    #[test]
    fn small_buffers_share_a_record_and_large_ones_fill_several() {
        assert_eq!(cut(&[b"head", b"", b"content"], usize::MAX), [11]);
        assert_eq!(cut(&[&[1; 9], &[2; TLS_RECORD], &[3; 9]], usize::MAX), [TLS_RECORD, 18]);
        assert_eq!(cut(&[&[1; 2 * TLS_RECORD + 1]], usize::MAX), [TLS_RECORD, TLS_RECORD, 1]);
        assert_eq!(cut(&[&[1; 10], &[2; 10]], 8), [8, 8, 4]);
        assert_eq!(cut(&[], 8), [0; 0]);
        assert_eq!(cut(&[b"", b""], 8), [0; 0]);
    }
}
