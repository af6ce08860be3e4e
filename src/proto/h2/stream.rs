//! One stream: both directions of it, its windows and what it has queued.
//!
//! The life of a stream (RFC 9113 §5.1), each direction by itself. A server's stream begins with
//! `Receiving::Body` or `Ended` and `Sending::Head`, a client's with `Receiving::Head` and `Sending::Body` or
//! further:
//!
//! ```text
//!  Receiving   Head ──response──► Body ──END_STREAM──► Ended
//!  Sending     Head ──head──► Body ──end queued──► Closing ──END_STREAM framed──► Ended
//!
//!  RFC state   open               = neither ended
//!              half-closed remote = Receiving::Ended
//!              half-closed local  = Sending::Ended
//!              closed             = both ended, or `dead` (RST_STREAM either way)
//! ```
//!
//! A slot is given back when the stream is closed *and* the application let go of it (`finish`): until then it
//! counts against the concurrency limit, so that resetting streams does not buy more handlers.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode};

use super::flow::{ReceiveWindow, SendWindow};
use super::priority::Priority;

/// Names a stream of one connection; a stale key is noticed, never mistaken for a later stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamKey {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl StreamKey {
    /// The slot's number: dense from 0, for a table beside the connection.
    pub fn index(self) -> usize {
        self.index as usize
    }

    /// Packs the key.
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// Unpacks what `to_bits` packed.
    pub fn from_bits(bits: u64) -> StreamKey {
        let [index, generation] = [bits, bits >> 32].map(|half| (half & u64::from(u32::MAX)) as u32);
        StreamKey { index, generation }
    }
}

/// The direction towards us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiving {
    Head,
    Body,
    Ended,
}

/// The direction towards the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    Head,
    Body,
    Closing,
    Ended,
}

/// Whether a message's content has a length that it must keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) enum Content {
    /// No `content-length`.
    Free,
    /// This much is still to come.
    Remaining(u64),
    /// None may come, whatever `content-length` says: HEAD, 204, 304 (RFC 9110 §6.4.1).
    Forbidden,
}

/// The content contradicts what was announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) struct Mismatch;

impl Content {
    /// Takes `n` bytes off; `end` demands that nothing is left.
    #[inline]
    pub(in crate::proto) fn take(&mut self, n: u64, end: bool) -> Result<(), Mismatch> {
        match self {
            Content::Free => Ok(()),
            Content::Remaining(left) => {
                *left = left.checked_sub(n).ok_or(Mismatch)?;
                if end && *left > 0 { Err(Mismatch) } else { Ok(()) }
            }
            Content::Forbidden if n == 0 => Ok(()),
            Content::Forbidden => Err(Mismatch),
        }
    }
}

/// What the request's method says about the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Content,
    /// HEAD: the response has no content.
    HeadOnly,
    /// CONNECT: a successful response turns the stream into a tunnel.
    Tunnel,
}

impl Asked {
    #[inline]
    pub(super) fn by(method: &Method) -> Asked {
        match *method {
            Method::HEAD => Asked::HeadOnly,
            Method::CONNECT => Asked::Tunnel,
            _ => Asked::Content,
        }
    }

    /// What is left of it with a final status: a CONNECT that was refused is a request like any other.
    #[inline]
    pub(super) fn answered(self, status: StatusCode) -> Asked {
        match self {
            Asked::Tunnel if !status.is_success() => Asked::Content,
            asked => asked,
        }
    }
}

/// Whether the application asked for room and found none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Unasked,
    /// `Writable` is due when there is some.
    Wanted,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    pub(super) receiving: Receiving,
    pub(super) sending: Sending,
    /// RST_STREAM was sent or received.
    pub(super) dead: bool,
    /// The application has not called `finish`.
    pub(super) held: bool,
    /// Stands in the ready list.
    pub(super) scheduled: bool,
    pub(super) asked: Asked,
    pub(super) priority: Priority,
    pub(super) room: Room,
    pub(super) send_window: SendWindow,
    pub(super) receive_window: ReceiveWindow,
    /// Content delivered and not yet released.
    pub(super) unreleased: u32,
    /// The decoded size of the request's header list.
    pub(super) head_bytes: u32,
    /// Content that will still be thrown away before the peer is told to stop; meant once the application let go.
    pub(super) discard: u32,
    /// The time for that began to run before the latest look at the clock.
    pub(super) discard_due: bool,
    pub(super) to_receive: Content,
    pub(super) to_send: Content,
    /// Made when content first has to wait; its memory stays with the slot.
    pub(super) queue: Option<Box<Queue>>,
}

impl Stream {
    pub(super) fn new(id: u32, send: SendWindow, receive: ReceiveWindow) -> Stream {
        Stream {
            id,
            receiving: Receiving::Head,
            sending: Sending::Head,
            dead: false,
            held: true,
            scheduled: false,
            asked: Asked::Content,
            priority: Priority::UNSAID,
            room: Room::Unasked,
            send_window: send,
            receive_window: receive,
            unreleased: 0,
            head_bytes: 0,
            discard: 0,
            discard_due: false,
            to_receive: Content::Free,
            to_send: Content::Free,
            queue: None,
        }
    }

    /// Bytes of content that wait.
    #[inline]
    pub(super) fn queued(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.len)
    }

    /// Whether the protocol is through with the stream.
    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.dead || (self.receiving == Receiving::Ended && self.sending == Sending::Ended)
    }
}

/// Content that waits for a window or its turn: whole chunks first, then small pieces merged into one buffer,
/// so that a thousand writes of one byte cost a thousand bytes and not a thousand entries.
#[derive(Debug, Default)]
pub(super) struct Queue {
    chunks: VecDeque<Bytes>,
    /// Comes after all chunks.
    tail: BytesMut,
    len: usize,
    /// Goes out after the content and ends the stream.
    pub(super) trailers: Option<HeaderMap>,
}

/// Part of a queue, on its way into a frame.
pub(super) enum Piece<'a> {
    Small(&'a [u8]),
    Large(Bytes),
}

impl Queue {
    /// Appends; pieces shorter than `merge` are copied together.
    pub(super) fn push(&mut self, data: Bytes, merge: usize) {
        self.len += data.len();
        if data.len() < merge {
            self.tail.extend_from_slice(&data);
            return;
        }
        if !self.tail.is_empty() {
            self.chunks.push_back(self.tail.split().freeze());
        }
        self.chunks.push_back(data);
    }

    /// Takes exactly `n` bytes (of at least as many), handed on piece by piece; what is at least `segment`
    /// long keeps its reference count, the rest is lent to be copied.
    pub(super) fn take(&mut self, mut n: usize, segment: usize, mut put: impl FnMut(Piece<'_>)) {
        debug_assert!(n <= self.len);
        self.len -= n;
        while n > 0 {
            let Some(chunk) = self.chunks.front_mut() else { break };
            let part = n.min(chunk.len());
            if part < segment {
                put(Piece::Small(&chunk[..part]));
                chunk.advance(part);
            } else {
                put(Piece::Large(chunk.split_to(part)));
            }
            if chunk.is_empty() {
                self.chunks.pop_front();
            }
            n -= part;
        }
        if n == 0 {
            return;
        }
        if n < segment {
            put(Piece::Small(&self.tail[..n]));
            self.tail.advance(n);
        } else {
            put(Piece::Large(self.tail.split_to(n).freeze()));
        }
        if self.tail.is_empty() {
            self.tail.clear();
        }
    }

    /// Forgets everything but a little memory; returns how many bytes waited.
    pub(super) fn clear(&mut self) -> usize {
        let waited = self.len;
        self.chunks.clear();
        self.tail = BytesMut::new();
        self.len = 0;
        self.trailers = None;
        waited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut Queue, n: usize, segment: usize) -> (Vec<u8>, usize) {
        let (mut all, mut large) = (Vec::new(), 0);
        queue.take(n, segment, |piece| match piece {
            Piece::Small(bytes) => all.extend_from_slice(bytes),
            Piece::Large(bytes) => {
                large += 1;
                all.extend_from_slice(&bytes);
            }
        });
        (all, large)
    }

    #[test]
    fn small_pieces_are_merged_and_order_is_kept() {
        let mut queue = Queue::default();
        for text in ["a", "b", "CCCCCCCC", "d", "EEEEEEEE", "f", "g"] {
            queue.push(Bytes::from_static(text.as_bytes()), 4);
        }
        assert_eq!(queue.chunks.len(), 4);
        assert_eq!(queue.len, 21);
        assert_eq!(drain(&mut queue, 5, 4), (b"abCCC".to_vec(), 0));
        assert_eq!(drain(&mut queue, 15, 4), (b"CCCCCdEEEEEEEEf".to_vec(), 2));
        assert_eq!(drain(&mut queue, 1, 4), (b"g".to_vec(), 0));
        assert_eq!(queue.len, 0);
    }

    #[test]
    fn content_length_is_kept_to_the_byte() {
        let mut content = Content::Remaining(5);
        assert_eq!(content.take(3, false), Ok(()));
        assert_eq!(content.take(1, true), Err(Mismatch));
        assert_eq!(Content::Remaining(5).take(6, false), Err(Mismatch));
        assert_eq!(Content::Remaining(5).take(5, true), Ok(()));
        assert_eq!(Content::Forbidden.take(0, true), Ok(()));
        assert_eq!(Content::Forbidden.take(1, true), Err(Mismatch));
    }

    #[test]
    fn a_key_survives_packing() {
        let key = StreamKey { index: 7, generation: u32::MAX };
        assert_eq!(StreamKey::from_bits(key.to_bits()), key);
    }
}
