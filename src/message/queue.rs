//! What waits to be written to one peer.
//!
//! Messages to it alone are encoded one behind the other, in memory that goes out in one write and comes back to the worker.
//! One that goes to others, too, is encoded once for all of them, and each queue refers to it; when it is short it is copied.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fmt,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use crate::{
    limits::{MESSAGE_BATCH_BYTES, MESSAGE_BATCH_FRAMES, MESSAGE_COPIED_BYTES},
    proto::message::{EncodeError, Message, frame_bytes},
    worker::context,
};

/// What becomes of a message to a peer whose queue is full: it reads more slowly than it is sent to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlowPeer {
    /// The message is not sent, and the sender is told.
    #[default]
    DropNewest,
    /// It is sent, and those that have waited longest are not.
    DropOldest,
    /// The connection is closed.
    Disconnect,
}

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejected {
    Full,
    Closed,
    Unfit(EncodeError),
}

/// Frames in the order in which they go out; bounded in bytes, but for a single frame that is larger than the bound.
pub(super) struct Queue {
    state: RefCell<State>,
    bound: usize,
    policy: SlowPeer,
}

#[derive(Default)]
struct State {
    /// None of them is empty.
    pieces: VecDeque<Piece>,
    bytes: usize,
    closed: bool,
    dropped: u64,
    writer: Option<Waker>,
}

enum Piece {
    /// Frames for this peer alone; those before `start` were dropped.
    Own {
        octets: Vec<u8>,
        start: usize,
    },
    Shared(Bytes),
}

/// What goes out in one write.
pub(super) enum Batch {
    /// From this octet on; the memory is to be [returned](Batch::return_memory).
    Own(Vec<u8>, usize),
    Shared(Vec<Bytes>),
}

impl Queue {
    pub(super) fn new(bound: usize, policy: SlowPeer) -> Queue {
        Queue { state: RefCell::default(), bound, policy }
    }

    /// Takes a message for this peer alone.
    #[inline]
    pub(super) fn put(&self, message: &Message) -> Result<(), Rejected> {
        self.add(|state| {
            let octets = state.tail();
            let before = octets.len();
            let encoded = message.encode(octets);
            let added = octets.len() - before;
            encoded.map(|()| added).map_err(Rejected::Unfit)
        })
    }

    /// Takes one that goes to others, too.
    pub(super) fn share(&self, frame: &Bytes) -> Result<(), Rejected> {
        self.add(|state| {
            if frame.len() <= MESSAGE_COPIED_BYTES {
                state.tail().extend_from_slice(frame);
            } else {
                state.pieces.push_back(Piece::Shared(frame.clone()));
            }
            Ok(frame.len())
        })
    }

    /// Adds what `append` puts at the end, if there is room for it, and says how long it is.
    #[inline]
    fn add(&self, append: impl FnOnce(&mut State) -> Result<usize, Rejected>) -> Result<(), Rejected> {
        let mut state = self.state.borrow_mut();
        if state.closed {
            return Err(Rejected::Closed);
        }
        let added = append(&mut state);
        let taken = added.and_then(|length| state.make_room(length, self.bound, self.policy));
        state.trim();
        let writer = if taken.is_ok() { state.writer.take() } else { None };
        drop(state);
        writer.into_iter().for_each(Waker::wake);
        taken
    }

    /// What goes out next, in one write; `None` when the queue is closed and empty.
    pub(super) fn poll_batch(&self, context: &Context<'_>) -> Poll<Option<Batch>> {
        let mut state = self.state.borrow_mut();
        match state.pieces.pop_front() {
            Some(Piece::Own { octets, start }) => {
                state.bytes -= octets.len() - start;
                Poll::Ready(Some(Batch::Own(octets, start)))
            }
            Some(Piece::Shared(first)) => Poll::Ready(Some(Batch::Shared(state.shared_behind(first)))),
            None if state.closed => Poll::Ready(None),
            None => {
                let former = state.writer.replace(context.waker().clone());
                drop((state, former));
                Poll::Pending
            }
        }
    }

    /// Takes no more; what is there goes out.
    pub(super) fn close(&self) {
        let mut state = self.state.borrow_mut();
        state.closed = true;
        let writer = state.writer.take();
        drop(state);
        writer.into_iter().for_each(Waker::wake);
    }

    /// Messages that were not sent because the peer was slow.
    pub(super) fn dropped(&self) -> u64 {
        self.state.borrow().dropped
    }

    /// What waits.
    pub(super) fn bytes(&self) -> usize {
        self.state.borrow().bytes
    }

    /// Who waits for something to write.
    pub(super) fn waits(&self, tell: impl FnOnce(&Waker)) {
        if let Some(writer) = self.state.try_borrow().ok().and_then(|state| state.writer.clone()) {
            tell(&writer);
        }
    }

    pub(super) fn policy(&self) -> SlowPeer {
        self.policy
    }
}

impl State {
    /// Where the next frame for this peer alone is put.
    #[inline]
    fn tail(&mut self) -> &mut Vec<u8> {
        let has_room = matches!(self.pieces.back(), Some(Piece::Own { octets, .. }) if octets.len() < MESSAGE_BATCH_BYTES);
        if !has_room {
            let octets = context::try_with(|worker| worker.and_then(|worker| worker.lend_output()));
            self.pieces.push_back(Piece::Own { octets: octets.unwrap_or_default(), start: 0 });
        }
        match self.pieces.back_mut() {
            Some(Piece::Own { octets, .. }) => octets,
            Some(Piece::Shared(_)) | None => unreachable!("it has just been put there"),
        }
    }

    /// Makes room for the frame of `length` octets that is at the end already, or takes it away again.
    #[inline]
    fn make_room(&mut self, length: usize, bound: usize, policy: SlowPeer) -> Result<(), Rejected> {
        while self.bytes + length > bound && self.bytes > 0 {
            self.dropped += 1;
            match policy {
                SlowPeer::DropOldest => self.drop_oldest(),
                SlowPeer::DropNewest | SlowPeer::Disconnect => {
                    match self.pieces.back_mut() {
                        Some(Piece::Own { octets, .. }) => octets.truncate(octets.len() - length),
                        Some(Piece::Shared(_)) | None => drop(self.pieces.pop_back()),
                    }
                    return Err(Rejected::Full);
                }
            }
        }
        self.bytes += length;
        Ok(())
    }

    fn drop_oldest(&mut self) {
        let oldest = match self.pieces.front_mut() {
            Some(Piece::Own { octets, start }) => {
                let length = frame_bytes(&octets[*start..]);
                *start += length;
                if *start < octets.len() {
                    self.bytes -= length;
                    return;
                }
                length
            }
            Some(Piece::Shared(frame)) => frame.len(),
            None => return,
        };
        self.bytes -= oldest;
        self.pop(VecDeque::pop_front);
    }

    /// Takes a piece away that nothing was put into.
    #[inline]
    fn trim(&mut self) {
        if matches!(self.pieces.back(), Some(Piece::Own { octets, start }) if octets.len() == *start) {
            self.pop(VecDeque::pop_back);
        }
    }

    fn pop(&mut self, end: fn(&mut VecDeque<Piece>) -> Option<Piece>) {
        if let Some(Piece::Own { octets, start }) = end(&mut self.pieces) {
            Batch::Own(octets, start).return_memory();
        }
    }

    /// A shared frame, and those that follow it and are shared, too.
    fn shared_behind(&mut self, first: Bytes) -> Vec<Bytes> {
        let mut bytes = first.len();
        let mut frames = vec![first];
        while frames.len() < MESSAGE_BATCH_FRAMES && bytes < MESSAGE_BATCH_BYTES {
            match self.pieces.pop_front() {
                Some(Piece::Shared(frame)) => {
                    bytes += frame.len();
                    frames.push(frame);
                }
                Some(own) => {
                    self.pieces.push_front(own);
                    break;
                }
                None => break,
            }
        }
        self.bytes -= bytes;
        frames
    }
}

impl Batch {
    /// Gives memory back that has been written out.
    pub(super) fn return_memory(self) {
        if let Batch::Own(mut octets, _) = self {
            octets.clear();
            context::try_with(|worker| {
                if let Some(worker) = worker {
                    worker.return_output(octets);
                }
            });
        }
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.borrow();
        let (pieces, bytes) = (state.pieces.len(), state.bytes);
        out.debug_struct("Queue").field("pieces", &pieces).field("bytes", &bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::proto::message::Kind;

    /// Of 100 octets each, numbered; a longer one where `pad` says so.
    fn message(number: u8, pad: usize) -> Message {
        Message::new(Kind::NOTIFY_URI, "", vec![number; 86 + pad])
    }

    fn frame(number: u8, pad: usize) -> Bytes {
        message(number, pad).to_octets().expect("it fits").into()
    }

    /// The numbers of the messages that go out, write by write.
    fn written(queue: &Queue) -> Vec<Vec<u8>> {
        let mut writes = Vec::new();
        while let Poll::Ready(Some(batch)) = queue.poll_batch(&Context::from_waker(Waker::noop())) {
            let octets = match &batch {
                Batch::Own(octets, start) => octets[*start..].to_vec(),
                Batch::Shared(frames) => frames.concat(),
            };
            let mut rest = &octets[..];
            let mut numbers = Vec::new();
            while !rest.is_empty() {
                let (frame, behind) = rest.split_at(frame_bytes(rest));
                numbers.push(*frame.last().expect("it has content"));
                rest = behind;
            }
            writes.push(numbers);
        }
        assert_eq!(queue.bytes(), 0);
        writes
    }

    #[test]
    fn messages_to_one_peer_go_out_in_one_write_and_in_their_order() {
        let queue = Queue::new(1 << 20, SlowPeer::DropNewest);
        (0..9).for_each(|number| queue.put(&message(number, 0)).expect("there is room"));
        queue.share(&frame(9, 0)).expect("there is room");
        assert_eq!(queue.bytes(), 1000);
        assert_eq!(written(&queue), [(0..10).collect::<Vec<u8>>()]);
    }

    #[test]
    fn what_is_long_and_shared_is_not_copied_and_keeps_its_place() {
        let queue = Queue::new(1 << 20, SlowPeer::DropNewest);
        let long = frame(2, MESSAGE_COPIED_BYTES);
        for frame in [&frame(1, 0), &long, &long] {
            queue.share(frame).expect("there is room");
        }
        queue.put(&message(3, 0)).expect("there is room");
        assert_eq!(written(&queue), [vec![1], vec![2, 2], vec![3]]);
    }

    #[test]
    fn a_full_queue_drops_what_its_policy_says() {
        for (policy, left, dropped) in
            [(SlowPeer::DropNewest, [0, 1, 2], 3), (SlowPeer::DropOldest, [3, 4, 5], 3)]
        {
            for shared in [false, true] {
                let queue = Queue::new(399, policy);
                for number in 0..6 {
                    let taken =
                        if shared { queue.share(&frame(number, 0)) } else { queue.put(&message(number, 0)) };
                    assert_eq!(taken.is_ok(), number < 3 || policy == SlowPeer::DropOldest);
                }
                assert_eq!((queue.dropped(), queue.bytes()), (dropped, 300));
                assert_eq!(written(&queue), [left]);
            }
        }
    }

    #[test]
    fn one_message_may_be_longer_than_the_bound_and_replaces_all_that_may_be_dropped() {
        let queue = Queue::new(399, SlowPeer::DropOldest);
        queue.put(&message(0, 0)).expect("there is room");
        queue.share(&frame(1, MESSAGE_COPIED_BYTES)).expect("it is alone then");
        assert_eq!((queue.dropped(), queue.bytes()), (1, 100 + MESSAGE_COPIED_BYTES));
        queue.put(&message(2, 500)).expect("it is alone then");
        assert_eq!((queue.dropped(), written(&queue)), (2, vec![vec![2]]));
        let queue = Queue::new(399, SlowPeer::DropNewest);
        queue.put(&message(3, 500)).expect("it is alone");
        assert_eq!(queue.put(&message(4, 0)), Err(Rejected::Full));
        assert_eq!(written(&queue), [[3]]);
    }

    #[test]
    fn what_is_not_taken_leaves_nothing_behind() {
        let queue = Queue::new(1 << 20, SlowPeer::DropNewest);
        assert!(matches!(queue.put(&message(0, 70_000)), Err(Rejected::Unfit(_))));
        assert_eq!(written(&queue), Vec::<Vec<u8>>::new());
        queue.close();
        assert_eq!(queue.put(&message(0, 0)), Err(Rejected::Closed));
        assert!(queue.poll_batch(&Context::from_waker(Waker::noop())).is_ready());
    }
}
