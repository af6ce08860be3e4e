//! Received bytes, and how whole frames are found in them.
//!
//! Frames are parsed where they lie in the block that the driver handed over. Only what is left at its end, a
//! partial frame, is copied, and from the next block only as much is added as that frame needs. DATA is never
//! gathered: its pieces are handed on as they come.

use bytes::{Buf, Bytes};

use super::frame::{HEAD_LEN, Head};
use crate::limits;

#[derive(Debug, Default)]
pub(super) struct Input {
    pub(super) block: Bytes,
    /// The beginning of a frame whose end has not come; everything in `block` follows it.
    pub(super) partial: Vec<u8>,
    /// Bytes parsed so far.
    offset: u64,
}

/// A frame's bytes, taken out of the input while it is looked at.
pub(super) enum Taken {
    Block(Bytes),
    Partial(Vec<u8>),
}

impl Taken {
    /// The payload of a frame of this length.
    #[inline]
    pub(super) fn payload(&self, length: usize) -> &[u8] {
        let bytes: &[u8] = match self {
            Taken::Block(block) => block,
            Taken::Partial(partial) => partial,
        };
        bytes.get(HEAD_LEN..HEAD_LEN + length).unwrap_or_default()
    }
}

impl Input {
    /// Takes a block over. The one before should have been used up: what is left of it is copied.
    #[inline]
    pub(super) fn push(&mut self, block: Bytes) {
        if self.block.is_empty() {
            self.block = block;
        } else {
            let mut all = Vec::with_capacity(self.block.len() + block.len());
            all.extend_from_slice(&self.block);
            all.extend_from_slice(&block);
            self.block = Bytes::from(all);
        }
    }

    /// Bytes parsed so far.
    #[inline]
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether a frame has begun and not ended.
    pub(super) fn is_partial(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Whether there are bytes that have not been looked at.
    #[inline]
    pub(super) fn has_block(&self) -> bool {
        !self.block.is_empty()
    }

    /// Adds to the partial frame until it has `n` bytes; `false` when the block ends first.
    fn top_up(&mut self, n: usize) -> bool {
        let take = n.saturating_sub(self.partial.len()).min(self.block.len());
        self.partial.extend_from_slice(&self.block[..take]);
        self.block.advance(take);
        self.partial.len() >= n
    }

    /// Copies what is left of the block, so that the block can be given up.
    #[cold]
    fn stash(&mut self) {
        self.partial.extend_from_slice(&self.block);
        self.block = Bytes::new();
    }

    /// Shows the first `n` bytes, or keeps what there is of them until more come.
    #[inline]
    pub(super) fn peek(&mut self, n: usize) -> Option<&[u8]> {
        if self.partial.is_empty() {
            if self.block.len() >= n {
                return Some(&self.block[..n]);
            }
        } else if self.top_up(n) {
            return Some(&self.partial[..n]);
        }
        self.stash();
        None
    }

    /// What `peek` kept because it was too little.
    pub(super) fn beginning(&self) -> &[u8] {
        if self.partial.is_empty() { &self.block } else { &self.partial }
    }

    /// The head of the next frame.
    #[inline]
    pub(super) fn head(&mut self) -> Option<Head> {
        let bytes: &[u8; HEAD_LEN] = self.peek(HEAD_LEN)?.try_into().ok()?;
        Some(Head::parse(bytes))
    }

    /// Takes the next frame out, when all of it is there. `restore` is due.
    #[inline]
    pub(super) fn take(&mut self, length: usize) -> Option<Taken> {
        let partial = !self.partial.is_empty();
        self.peek(HEAD_LEN + length)?;
        Some(if partial {
            Taken::Partial(std::mem::take(&mut self.partial))
        } else {
            Taken::Block(std::mem::take(&mut self.block))
        })
    }

    /// Puts back what `take` took, without the frame of this length.
    #[inline]
    pub(super) fn restore(&mut self, taken: Taken, length: usize) {
        self.offset += (HEAD_LEN + length) as u64;
        match taken {
            Taken::Block(mut block) => {
                // A block that is used up is dropped here: the driver may want its memory back.
                if block.len() > HEAD_LEN + length {
                    block.advance(HEAD_LEN + length);
                    self.block = block;
                }
            }
            Taken::Partial(mut partial) => {
                if partial.capacity() <= limits::H2_PARTIAL_KEPT_BYTES {
                    partial.clear();
                    self.partial = partial;
                }
            }
        }
    }

    /// Drops `n` bytes that `peek` showed.
    #[inline]
    pub(super) fn skip(&mut self, n: usize) {
        self.offset += n as u64;
        if self.partial.is_empty() {
            self.advance(n);
        } else {
            debug_assert_eq!(self.partial.len(), n, "peek adds no more than it is asked for");
            self.partial.clear();
        }
    }

    /// Drops up to `n` bytes of content; returns how many there were.
    pub(super) fn discard(&mut self, n: usize) -> usize {
        let n = n.min(self.block.len());
        self.offset += n as u64;
        self.advance(n);
        n
    }

    /// Takes up to `n` bytes of content: a large piece by reference if it may be shared, a small one copied, so that one
    /// byte cannot pin a whole block.
    #[inline]
    pub(super) fn content(&mut self, n: usize, shared: bool) -> Bytes {
        debug_assert!(self.partial.is_empty(), "content follows a head that was skipped");
        let n = n.min(self.block.len());
        self.offset += n as u64;
        if shared && n >= limits::H2_SLICE_MIN_BYTES {
            let piece = self.block.split_to(n);
            self.advance(0);
            return piece;
        }
        let piece = Bytes::copy_from_slice(&self.block[..n]);
        self.advance(n);
        piece
    }

    #[inline]
    fn advance(&mut self, n: usize) {
        if n >= self.block.len() {
            self.block = Bytes::new();
        } else {
            self.block.advance(n);
        }
    }

    /// Drops everything, memory included.
    pub(super) fn clear(&mut self) {
        self.block = Bytes::new();
        self.partial = Vec::new();
    }

    /// Gives memory back that no partial frame needs.
    pub(super) fn shrink(&mut self) {
        if self.partial.is_empty() {
            self.partial = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::Kind;
    use super::*;

    /// Two frames: PING with 8 bytes, an unknown one with 3.
    fn frames() -> Vec<u8> {
        let mut bytes = Vec::new();
        let ping = Head { length: 8, kind: Kind::Ping, flags: 0, stream: 0 };
        bytes.extend_from_slice(&ping.encode());
        bytes.extend_from_slice(b"12345678");
        let unknown = Head { length: 3, kind: Kind::Unknown(77), flags: 9, stream: 5 };
        bytes.extend_from_slice(&unknown.encode());
        bytes.extend_from_slice(b"abc");
        bytes
    }

    fn read_all(input: &mut Input, seen: &mut Vec<(Kind, Vec<u8>)>) {
        while let Some(head) = input.head() {
            let length = head.length as usize;
            let Some(taken) = input.take(length) else { return };
            seen.push((head.kind, taken.payload(length).to_vec()));
            input.restore(taken, length);
        }
    }

    #[test]
    fn frames_are_found_wherever_the_bytes_are_split() {
        let bytes = frames();
        for split in 0..=bytes.len() {
            for second in split..=bytes.len() {
                let mut input = Input::default();
                let mut seen = Vec::new();
                for part in [&bytes[..split], &bytes[split..second], &bytes[second..]] {
                    input.push(Bytes::copy_from_slice(part));
                    read_all(&mut input, &mut seen);
                    assert!(!input.has_block());
                }
                assert_eq!(seen.len(), 2, "split at {split} and {second}");
                assert_eq!(seen[0], (Kind::Ping, b"12345678".to_vec()));
                assert_eq!(seen[1], (Kind::Unknown(77), b"abc".to_vec()));
                assert_eq!(input.offset(), bytes.len() as u64);
                assert!(!input.is_partial());
            }
        }
    }

    #[test]
    fn small_content_is_copied_and_large_content_is_shared() {
        let block = Bytes::from(vec![7; 3 * limits::H2_SLICE_MIN_BYTES]);
        let mut input = Input::default();
        input.push(block.clone());
        let shared = input.content(limits::H2_SLICE_MIN_BYTES, true);
        assert_eq!(shared.as_ptr(), block.as_ptr());
        for (n, may_share) in [(10, true), (limits::H2_SLICE_MIN_BYTES, false)] {
            let (before, copied) = (input.offset() as usize, input.content(n, may_share));
            assert_eq!(copied.len(), n);
            assert_ne!(copied.as_ptr(), block[before..].as_ptr());
        }
    }
}
