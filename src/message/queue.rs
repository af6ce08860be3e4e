//! What waits to be written to one peer.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fmt,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use crate::limits::{MESSAGE_BATCH_BYTES, MESSAGE_BATCH_FRAMES};

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

/// Why a frame is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejected {
    Full,
    Closed,
}

/// Frames in the order in which they go out; bounded in bytes, but for a single frame that is larger than the bound.
pub(super) struct Queue {
    state: RefCell<State>,
    bound: usize,
    policy: SlowPeer,
}

#[derive(Default)]
struct State {
    frames: VecDeque<Bytes>,
    bytes: usize,
    closed: bool,
    dropped: u64,
    writer: Option<Waker>,
}

impl Queue {
    pub(super) fn new(bound: usize, policy: SlowPeer) -> Queue {
        Queue { state: RefCell::default(), bound, policy }
    }

    pub(super) fn push(&self, frame: Bytes) -> Result<(), Rejected> {
        let mut state = self.state.borrow_mut();
        if state.closed {
            return Err(Rejected::Closed);
        }
        while state.bytes + frame.len() > self.bound && !state.frames.is_empty() {
            state.dropped += 1;
            match self.policy {
                SlowPeer::DropNewest | SlowPeer::Disconnect => return Err(Rejected::Full),
                SlowPeer::DropOldest => {
                    let oldest = state.frames.pop_front();
                    state.bytes -= oldest.map_or(0, |oldest| oldest.len());
                }
            }
        }
        state.bytes += frame.len();
        state.frames.push_back(frame);
        let writer = state.writer.take();
        drop(state);
        writer.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// What goes out next, in one write; `None` when the queue is closed and empty.
    pub(super) fn poll_batch(&self, context: &Context<'_>) -> Poll<Option<Vec<Bytes>>> {
        let mut state = self.state.borrow_mut();
        if state.frames.is_empty() {
            if state.closed {
                return Poll::Ready(None);
            }
            let former = state.writer.replace(context.waker().clone());
            drop((state, former));
            return Poll::Pending;
        }
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < MESSAGE_BATCH_FRAMES && bytes < MESSAGE_BATCH_BYTES {
            let Some(frame) = state.frames.pop_front() else { break };
            bytes += frame.len();
            batch.push(frame);
        }
        state.bytes -= bytes;
        Poll::Ready(Some(batch))
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

    pub(super) fn policy(&self) -> SlowPeer {
        self.policy
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.borrow();
        let (frames, bytes) = (state.frames.len(), state.bytes);
        out.debug_struct("Queue").field("frames", &frames).field("bytes", &bytes).finish_non_exhaustive()
    }
}
