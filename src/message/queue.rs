//! What waits to be written to one peer.
//!
//! It is bounded in three ways, by what a message is for. One that nobody asked for is subject to a policy when the peer reads too
//! slowly. A request is begun when there is [room](Queue::has_room), and waits elsewhere till then. An answer is never refused:
//! while [many](Queue::holds_many_answers) wait, no handler is called that would make another.
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

/// What becomes of a message that a peer did not ask for when its queue is full: it reads more slowly than it is sent to.
///
/// Answers and requests are not subject to it: handlers are called, and requests sent, when there is room.
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

/// What a message is for, which says what becomes of it when many wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The peer has not asked for it: the policy is for these.
    Notice,
    /// The peer is asked something, and there was [room](Queue::has_room) for that.
    Request,
    /// The peer has asked for it.
    Answer,
}

/// Frames in the order in which they go out; of each purpose they are bounded in bytes, but for the last frame.
pub(super) struct Queue {
    state: RefCell<State>,
    bound: usize,
    policy: SlowPeer,
}

#[derive(Default)]
struct State {
    /// None of them is empty.
    pieces: VecDeque<Piece>,
    bytes: Tally,
    closed: bool,
    dropped: u64,
    writer: Option<Waker>,
    /// Those who wait for there to be fewer answers.
    held_up: Vec<Waker>,
    /// How often they were let go on.
    let_go: u64,
    /// Requests wait elsewhere for room.
    is_room_wanted: bool,
}

/// Octets of each purpose.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    notices: usize,
    requests: usize,
    answers: usize,
}

enum Piece {
    /// Frames for this peer alone; those before `start` were dropped.
    Own { octets: Vec<u8>, start: usize, tally: Tally },
    /// A notice.
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
    pub(super) fn put(&self, message: &Message, purpose: Purpose) -> Result<(), Rejected> {
        self.add(purpose, |state| {
            let octets = state.tail(purpose, self.policy);
            let before = octets.len();
            let encoded = message.encode(octets);
            let added = octets.len() - before;
            encoded.map(|()| added).map_err(Rejected::Unfit)
        })
    }

    /// Takes one that goes to others, too, and that none of them has asked for.
    pub(super) fn share(&self, frame: &Bytes) -> Result<(), Rejected> {
        self.add(Purpose::Notice, |state| {
            if frame.len() <= MESSAGE_COPIED_BYTES {
                state.tail(Purpose::Notice, self.policy).extend_from_slice(frame);
            } else {
                state.pieces.push_back(Piece::Shared(frame.clone()));
            }
            Ok(frame.len())
        })
    }

    /// Adds what `append` puts at the end, if there is room for it, and says how long it is.
    #[inline]
    fn add(
        &self,
        purpose: Purpose,
        append: impl FnOnce(&mut State) -> Result<usize, Rejected>,
    ) -> Result<(), Rejected> {
        let mut state = self.state.borrow_mut();
        if state.closed {
            return Err(Rejected::Closed);
        }
        let added = append(&mut state);
        let taken = added.and_then(|length| {
            if purpose == Purpose::Notice {
                state.make_room(length, self.bound, self.policy)?;
            }
            state.note(purpose, length);
            Ok(())
        });
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
            Some(Piece::Own { octets, start, tally }) => {
                state.bytes.take(tally);
                let held_up = if tally.answers > 0 { state.let_go() } else { Vec::new() };
                drop(state);
                held_up.into_iter().for_each(Waker::wake);
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

    /// Whether so many answers wait that no handler is to be called.
    #[inline]
    pub(super) fn holds_many_answers(&self) -> bool {
        self.state.borrow().bytes.answers > self.bound / 2
    }

    /// Whether more answers wait than may, by more than so many octets.
    #[inline]
    pub(super) fn is_beyond(&self, more: usize) -> bool {
        self.state.borrow().bytes.answers > self.bound.saturating_add(more)
    }

    /// Has who waits for there to be fewer answers look again when some of them go out.
    #[cold]
    pub(super) fn hold_up(&self, context: &Context<'_>) {
        let mut state = self.state.borrow_mut();
        if !state.held_up.iter().any(|other| other.will_wake(context.waker())) {
            state.held_up.push(context.waker().clone());
        }
    }

    /// How often those were let go on who waited for there to be fewer answers; `None` while somebody waits.
    pub(super) fn let_go(&self) -> Option<u64> {
        let state = self.state.borrow();
        state.held_up.is_empty().then_some(state.let_go)
    }

    /// Whether another request may be sent. If not, [`is_room_made`](Queue::is_room_made) says when.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        let mut state = self.state.borrow_mut();
        let has_room = state.bytes.requests == 0 || state.bytes.requests < self.bound;
        state.is_room_wanted |= !has_room;
        has_room
    }

    /// Whether there is room now, and was not when it was looked for, once.
    pub(super) fn is_room_made(&self) -> bool {
        let mut state = self.state.borrow_mut();
        let is_made = state.is_room_wanted && state.bytes.requests < self.bound.max(1);
        state.is_room_wanted &= !is_made;
        is_made
    }

    /// Messages that were not sent because the peer was slow.
    pub(super) fn dropped(&self) -> u64 {
        self.state.borrow().dropped
    }

    /// What waits.
    pub(super) fn bytes(&self) -> usize {
        self.state.borrow().bytes.sum()
    }

    /// Who waits for something to write, and who for there to be fewer answers.
    pub(super) fn waits(&self, mut tell: impl FnMut(&Waker, &'static str)) {
        let Ok(state) = self.state.try_borrow() else { return };
        let (writer, held_up) = (state.writer.clone(), state.held_up.clone());
        drop(state);
        writer.iter().for_each(|writer| tell(writer, "something to send to"));
        held_up.iter().for_each(|waker| tell(waker, "answers to be read by"));
    }

    pub(super) fn policy(&self) -> SlowPeer {
        self.policy
    }
}

impl State {
    /// Where the next frame for this peer alone is put.
    ///
    /// Those that may be dropped when they are old lie apart from those that may not.
    #[inline]
    fn tail(&mut self, purpose: Purpose, policy: SlowPeer) -> &mut Vec<u8> {
        let has_room = match self.pieces.back() {
            Some(Piece::Own { octets, tally, .. }) => {
                let fits =
                    policy != SlowPeer::DropOldest || (tally.notices > 0) == (purpose == Purpose::Notice);
                fits && octets.len() < MESSAGE_BATCH_BYTES
            }
            Some(Piece::Shared(_)) | None => false,
        };
        if !has_room {
            let octets = context::try_with(|worker| worker.and_then(|worker| worker.lend_output()));
            let (octets, tally) = (octets.unwrap_or_default(), Tally::default());
            self.pieces.push_back(Piece::Own { octets, start: 0, tally });
        }
        match self.pieces.back_mut() {
            Some(Piece::Own { octets, .. }) => octets,
            Some(Piece::Shared(_)) | None => unreachable!("it has just been put there"),
        }
    }

    /// Makes room for the notice of `length` octets that is at the end already, or takes it away again.
    #[inline]
    fn make_room(&mut self, length: usize, bound: usize, policy: SlowPeer) -> Result<(), Rejected> {
        while self.bytes.notices + length > bound && self.bytes.notices > 0 {
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
        Ok(())
    }

    /// Counts the frame that is at the end.
    #[inline]
    fn note(&mut self, purpose: Purpose, length: usize) {
        *self.bytes.of(purpose) += length;
        if let Some(Piece::Own { tally, .. }) = self.pieces.back_mut() {
            *tally.of(purpose) += length;
        }
    }

    /// Those who wait for there to be fewer answers, to be woken.
    fn let_go(&mut self) -> Vec<Waker> {
        self.let_go += u64::from(!self.held_up.is_empty());
        std::mem::take(&mut self.held_up)
    }

    fn drop_oldest(&mut self) {
        let is_droppable = |piece: &Piece| match piece {
            Piece::Own { tally, .. } => tally.notices > 0,
            Piece::Shared(_) => true,
        };
        let Some(at) = self.pieces.iter().position(is_droppable) else { return };
        let oldest = match &mut self.pieces[at] {
            Piece::Own { octets, start, tally } => {
                let length = frame_bytes(&octets[*start..]);
                *start += length;
                tally.notices -= length;
                if *start < octets.len() {
                    self.bytes.notices -= length;
                    return;
                }
                length
            }
            Piece::Shared(frame) => frame.len(),
        };
        self.bytes.notices -= oldest;
        let dropped = self.pieces.remove(at);
        dropped.into_iter().for_each(Piece::return_memory);
    }

    /// Takes a piece away that nothing was put into.
    #[inline]
    fn trim(&mut self) {
        if matches!(self.pieces.back(), Some(Piece::Own { octets, start, .. }) if octets.len() == *start) {
            self.pieces.pop_back().into_iter().for_each(Piece::return_memory);
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
        self.bytes.notices -= bytes;
        frames
    }
}

impl Tally {
    #[inline]
    fn of(&mut self, purpose: Purpose) -> &mut usize {
        match purpose {
            Purpose::Notice => &mut self.notices,
            Purpose::Request => &mut self.requests,
            Purpose::Answer => &mut self.answers,
        }
    }

    fn sum(self) -> usize {
        self.notices + self.requests + self.answers
    }

    fn take(&mut self, part: Tally) {
        self.notices -= part.notices;
        self.requests -= part.requests;
        self.answers -= part.answers;
    }
}

impl Piece {
    fn return_memory(self) {
        if let Piece::Own { octets, start, .. } = self {
            Batch::Own(octets, start).return_memory();
        }
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
        let (pieces, bytes) = (state.pieces.len(), state.bytes.sum());
        out.debug_struct("Queue").field("pieces", &pieces).field("bytes", &bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
        task::{Wake, Waker},
    };

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
        (0..9).for_each(|number| queue.put(&message(number, 0), Purpose::Notice).expect("there is room"));
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
        queue.put(&message(3, 0), Purpose::Notice).expect("there is room");
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
                    let taken = if shared {
                        queue.share(&frame(number, 0))
                    } else {
                        queue.put(&message(number, 0), Purpose::Notice)
                    };
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
        queue.put(&message(0, 0), Purpose::Notice).expect("there is room");
        queue.share(&frame(1, MESSAGE_COPIED_BYTES)).expect("it is alone then");
        assert_eq!((queue.dropped(), queue.bytes()), (1, 100 + MESSAGE_COPIED_BYTES));
        queue.put(&message(2, 500), Purpose::Notice).expect("it is alone then");
        assert_eq!((queue.dropped(), written(&queue)), (2, vec![vec![2]]));
        let queue = Queue::new(399, SlowPeer::DropNewest);
        queue.put(&message(3, 500), Purpose::Notice).expect("it is alone");
        assert_eq!(queue.put(&message(4, 0), Purpose::Notice), Err(Rejected::Full));
        assert_eq!(written(&queue), [[3]]);
    }

    #[test]
    fn what_is_asked_and_answered_is_never_dropped_and_keeps_its_place() {
        for (policy, left) in [
            (SlowPeer::DropNewest, vec![0, 1, 2, 3, 5, 6, 8, 9]),
            (SlowPeer::DropOldest, vec![0, 2, 3, 5, 6, 8, 9, 10]),
        ] {
            // Room for four notices, in any piece or in pieces of their own.
            for shared in [false, true] {
                let queue = Queue::new(400, policy);
                let notice = |number| {
                    if shared {
                        queue.share(&frame(number, 0))
                    } else {
                        queue.put(&message(number, 0), Purpose::Notice)
                    }
                };
                let owed = |number, purpose| queue.put(&message(number, 0), purpose).expect("it is owed");
                owed(0, Purpose::Answer);
                notice(1).expect("there is room");
                (2..4).for_each(|number| owed(number, Purpose::Request));
                notice(5).expect("there is room");
                owed(6, Purpose::Answer);
                (8..10).for_each(|number| notice(number).expect("there is room"));
                assert_eq!(notice(10).is_ok(), policy == SlowPeer::DropOldest);
                assert_eq!((queue.dropped(), queue.bytes()), (1, 800));
                assert_eq!(written(&queue).concat(), left, "{policy:?}");
            }
        }
    }

    #[test]
    fn who_waits_for_there_to_be_fewer_answers_is_woken_when_some_go_out() {
        struct Told(AtomicU32);
        impl Wake for Told {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let (queue, told) = (Queue::new(400, SlowPeer::DropNewest), Arc::new(Told(AtomicU32::new(0))));
        let waker = Waker::from(told.clone());
        let answer = || queue.put(&message(0, 0), Purpose::Answer).expect("it is owed");
        (0..2).for_each(|_| answer());
        assert!(!queue.holds_many_answers());
        answer();
        assert!(queue.holds_many_answers() && !queue.is_beyond(0));
        (0..2).for_each(|_| queue.hold_up(&Context::from_waker(&waker)));
        assert_eq!(queue.let_go(), None);
        (0..2).for_each(|_| answer());
        assert!(queue.is_beyond(0) && !queue.is_beyond(100));
        assert_eq!(written(&queue).concat().len(), 5);
        assert!(!queue.holds_many_answers() && !queue.is_beyond(0));
        assert_eq!((told.0.load(Ordering::Relaxed), queue.let_go()), (1, Some(1)));
    }

    #[test]
    fn requests_have_room_until_as_many_wait_as_may() {
        let queue = Queue::new(200, SlowPeer::DropNewest);
        for _ in 0..2 {
            assert!(queue.has_room() && !queue.is_room_made());
            queue.put(&message(0, 0), Purpose::Request).expect("there is room");
            queue.put(&message(0, 0), Purpose::Answer).expect("it is owed");
        }
        assert!(!queue.has_room() && !queue.is_room_made());
        assert_eq!(written(&queue).concat().len(), 4);
        assert!(queue.is_room_made() && !queue.is_room_made() && queue.has_room());
        let none = Queue::new(0, SlowPeer::DropNewest);
        assert!(none.has_room());
        none.put(&message(0, 0), Purpose::Request).expect("there is room");
        assert!(!none.has_room());
        assert_eq!(written(&none).concat().len(), 1);
        assert!(none.is_room_made());
    }

    #[test]
    fn what_is_not_taken_leaves_nothing_behind() {
        let queue = Queue::new(1 << 20, SlowPeer::DropNewest);
        assert!(matches!(queue.put(&message(0, 70_000), Purpose::Notice), Err(Rejected::Unfit(_))));
        assert_eq!(written(&queue), Vec::<Vec<u8>>::new());
        queue.close();
        assert_eq!(queue.put(&message(0, 0), Purpose::Notice), Err(Rejected::Closed));
        assert!(queue.poll_batch(&Context::from_waker(Waker::noop())).is_ready());
    }
}
