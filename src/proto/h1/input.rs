//! Received bytes that have not been looked at, or not to their end.
//!
//! What lies in the block that came is parsed there. Only what a block leaves over (part of a head, of a chunk's line)
//! is copied, so that the block can be given up.
//!
//! Invariant: while `partial` holds anything, `block` is empty.

use bytes::{Buf, Bytes, BytesMut};

use crate::limits;

#[derive(Debug, Default)]
pub(super) struct Input {
    block: Bytes,
    partial: BytesMut,
    /// Bytes that were dropped or taken.
    offset: u64,
}

impl Input {
    pub(super) fn new(offset: u64) -> Input {
        Input { offset, ..Input::default() }
    }

    /// Takes a block over.
    pub(super) fn push(&mut self, block: Bytes) {
        if self.is_empty() {
            self.block = block;
        } else {
            self.stash();
            self.partial.extend_from_slice(&block);
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        if self.partial.is_empty() { &self.block } else { &self.partial }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes().len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// Bytes parsed so far.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Drops the first `n` bytes.
    pub(super) fn skip(&mut self, n: usize) {
        self.offset += n as u64;
        if n >= self.len() {
            // Memory is given back with the last byte: an idle connection owns none.
            self.block = Bytes::new();
            self.partial = BytesMut::new();
        } else if self.partial.is_empty() {
            self.block.advance(n);
        } else {
            self.partial.advance(n);
        }
    }

    /// Takes the first `n` bytes: a large piece by reference if it may be shared, a small one copied, so that one byte
    /// cannot pin a whole block.
    pub(super) fn take(&mut self, n: usize, shared: bool) -> Bytes {
        let n = n.min(self.len());
        if shared && n >= limits::H2_SLICE_MIN_BYTES && self.partial.is_empty() {
            self.offset += n as u64;
            return self.block.split_to(n);
        }
        let piece = Bytes::copy_from_slice(&self.bytes()[..n]);
        self.skip(n);
        piece
    }

    /// Takes everything.
    pub(super) fn take_all(&mut self) -> Bytes {
        self.stash();
        self.offset += self.partial.len() as u64;
        std::mem::take(&mut self.partial).freeze()
    }

    /// Copies what is left of the block, so that the block can be given up.
    pub(super) fn stash(&mut self) {
        if !self.block.is_empty() {
            let block = std::mem::take(&mut self.block);
            self.partial.extend_from_slice(&block);
        }
    }

    pub(super) fn clear(&mut self) {
        self.block = Bytes::new();
        self.partial = BytesMut::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_block_leaves_over_is_found_before_the_next_block() {
        let mut input = Input::default();
        input.push(Bytes::from_static(b"abcdef"));
        input.skip(2);
        input.stash();
        input.push(Bytes::from_static(b"ghi"));
        assert_eq!(input.bytes(), b"cdefghi");
        assert_eq!(input.take(3, true), "cde");
        assert_eq!(input.take_all(), "fghi");
        assert_eq!((input.len(), input.offset()), (0, 9));
    }
}
