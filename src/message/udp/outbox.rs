//! Datagrams that wait for the system to take more.
//!
//! The first stays where it is while it is being sent, so that none overtakes it; it may be dropped meanwhile. Many may have
//! one frame: what is sent is known by its number.

use std::{collections::VecDeque, net::SocketAddr};

use bytes::Bytes;

use crate::message::queue::SlowPeer;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<Waiting>,
    octets: usize,
    last: u64,
    /// Datagrams that were not sent because too many waited.
    dropped: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Waiting {
    number: u64,
    pub(super) to: SocketAddr,
    pub(super) frame: Bytes,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Octets of all that waits.
    pub(super) fn octets(&self) -> usize {
        self.octets
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Adds one behind the others, of which all have so many octets at most; false when it was dropped for that.
    pub(super) fn put(&mut self, to: SocketAddr, frame: Bytes, (policy, most): (SlowPeer, usize)) -> bool {
        while self.octets + frame.len() > most && !self.queue.is_empty() {
            self.dropped += 1;
            match policy {
                // There is no connection to end.
                SlowPeer::DropNewest | SlowPeer::Disconnect => return false,
                SlowPeer::DropOldest => self.take_first(),
            }
        }
        self.last += 1;
        self.octets += frame.len();
        self.queue.push_back(Waiting { number: self.last, to, frame });
        true
    }

    pub(super) fn first(&self) -> Option<Waiting> {
        self.queue.front().cloned()
    }

    /// One that was the first has been sent: it goes, unless it was dropped meanwhile.
    pub(super) fn sent(&mut self, waiting: &Waiting) {
        if self.queue.front().is_some_and(|first| first.number == waiting.number) {
            self.take_first();
        }
    }

    fn take_first(&mut self) {
        let octets = self.queue.pop_front().map_or(0, |first| first.frame.len());
        self.octets -= octets;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[test]
    fn what_is_dropped_while_it_is_sent_takes_no_other_with_it() {
        let (mut outbox, frame) = (Outbox::default(), Bytes::from_static(b"news"));
        let bound = (SlowPeer::DropOldest, 8);
        assert!(outbox.put(to(1), frame.clone(), bound) && outbox.put(to(2), frame.clone(), bound));
        let first = outbox.first().unwrap();
        assert!(outbox.put(to(3), frame, bound));
        outbox.sent(&first);
        assert_eq!(
            (outbox.first().map(|next| next.to), outbox.octets(), outbox.dropped()),
            (Some(to(2)), 8, 1)
        );
        for port in [2, 3] {
            let next = outbox.first().unwrap();
            assert_eq!(next.to, to(port));
            outbox.sent(&next);
        }
        assert_eq!((outbox.is_empty(), outbox.octets()), (true, 0));
    }

    #[test]
    fn what_there_is_no_room_for_is_dropped_or_what_waits_longest_and_one_always_fits() {
        for policy in [SlowPeer::DropNewest, SlowPeer::DropOldest, SlowPeer::Disconnect] {
            let mut outbox = Outbox::default();
            let put = |outbox: &mut Outbox, octets| outbox.put(to(1), vec![0; octets].into(), (policy, 8));
            assert!(put(&mut outbox, 9) && outbox.octets() == 9);
            let is_put = put(&mut outbox, 1);
            assert_eq!(is_put, policy == SlowPeer::DropOldest);
            assert_eq!((outbox.octets(), outbox.dropped()), (if is_put { 1 } else { 9 }, 1));
        }
    }
}
