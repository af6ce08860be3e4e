//! How far a queue of messages has been sent, and the one attempt to get further.
//!
//! The kernel is given *units*: a datagram, or as much of a train as it cuts up in one go. Progress is a place in the
//! queue and moves only by what the kernel took, so nothing is lost or sent twice, whenever a future is dropped.

use std::{cell::Cell, io, os::fd::BorrowedFd};

use crate::{
    limits::{SEGMENTS_MAX, TRAIN_BYTES_MAX},
    net::udp::{Transmit, UdpSocket},
    sys::{
        message::{self, Outgoing},
        packet, socket,
    },
};

/// Whether the kernel cuts trains up for this socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Segmenting {
    /// Nobody has asked yet.
    #[default]
    Unknown,
    Works,
    /// The kernel does not know it, or kernel or device has refused it once.
    Refused,
}

/// What a socket has found out about its way out.
#[derive(Debug, Default)]
pub(super) struct Path {
    segmenting: Cell<Segmenting>,
    /// Whether the peer is reached over IPv4, once it was asked for.
    peer_is_v4: Cell<Option<bool>>,
}

impl Path {
    pub(super) fn segmenting(&self, fd: BorrowedFd<'_>) -> bool {
        if self.segmenting.get() == Segmenting::Unknown {
            let can = packet::can_segment(fd);
            self.segmenting.set(if can { Segmenting::Works } else { Segmenting::Refused });
        }
        self.segmenting.get() == Segmenting::Works
    }

    pub(super) fn refuse_segmenting(&self) {
        self.segmenting.set(Segmenting::Refused);
    }

    pub(super) fn peer_changed(&self) {
        self.peer_is_v4.set(None);
    }

    fn peer_is_v4(&self, fd: BorrowedFd<'_>) -> bool {
        let known = self.peer_is_v4.get();
        let is_v4 = known.unwrap_or_else(|| {
            // Without a peer the send will say so.
            socket::peer_addr(fd).is_ok_and(|peer| peer.ip().to_canonical().is_ipv4())
        });
        self.peer_is_v4.set(Some(is_v4));
        is_v4
    }
}

/// How far a queue has been sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// Messages that are done with.
    index: usize,
    /// Bytes of the next one that were sent already.
    offset: usize,
    front: Front,
    /// Datagrams that were sent.
    pub(super) sent: usize,
}

/// How the message at the front is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Front {
    #[default]
    AsItIs,
    /// One by one: its train was refused, and the next one may pass.
    Singly,
    /// One by one; if that works no train will pass, for it was not the message's fault.
    SinglyAndPerhapsAlways,
}

impl Progress {
    pub(super) fn is_done(&self, messages: usize) -> bool {
        self.index >= messages
    }

    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// Begins at the first message of another queue.
    pub(super) fn rewind(&mut self) {
        *self = Progress { sent: self.sent, ..Progress::default() };
    }

    /// Gives the message at the front up.
    pub(super) fn skip(&mut self) {
        *self = Progress { index: self.index + 1, sent: self.sent, ..Progress::default() };
    }

    /// Moves on by units that the kernel took.
    fn advance(&mut self, queue: &[Transmit<'_>], units: usize, segmenting: bool) {
        for _ in 0..units {
            let Some(front) = queue.get(self.index) else { return };
            let len = unit_len(front, self.offset, segmenting && self.front == Front::AsItIs);
            self.sent += len.div_ceil(front.segment()).max(1);
            self.offset += len;
            if self.offset >= front.contents().len() {
                self.skip();
            }
        }
    }
}

/// The length of the unit that begins at `offset`.
fn unit_len(transmit: &Transmit<'_>, offset: usize, segmenting: bool) -> usize {
    let (rest, segment) = (transmit.contents().len() - offset, transmit.segment());
    let most = if segmenting { (TRAIN_BYTES_MAX / segment).clamp(1, SEGMENTS_MAX) } else { 1 };
    rest.min(segment.saturating_mul(most))
}

/// The units of a queue that are still to be sent.
pub(super) struct Units<'q, 'a> {
    queue: &'q [Transmit<'a>],
    at: Progress,
    segmenting: bool,
    peer_is_v4: bool,
}

impl<'a> Iterator for Units<'_, 'a> {
    type Item = Outgoing<'a>;

    fn next(&mut self) -> Option<Outgoing<'a>> {
        let front = self.queue.get(self.at.index)?;
        if front.is_mixed(self.peer_is_v4) {
            return None;
        }
        let segmenting = self.segmenting && self.at.front == Front::AsItIs;
        let start = self.at.offset;
        let part = front.part(start, unit_len(front, start, segmenting), self.peer_is_v4);
        self.at.advance(self.queue, 1, self.segmenting);
        Some(part)
    }
}

impl UdpSocket {
    /// Hands units to `send`, which says how many the kernel took, and moves on by them. An error is that of the first unit.
    pub(super) fn attempt(
        &self,
        queue: &[Transmit<'_>],
        progress: &mut Progress,
        mut send: impl FnMut(BorrowedFd<'_>, &mut Units<'_, '_>) -> io::Result<usize>,
    ) -> io::Result<()> {
        loop {
            let (mut units, segmented) = self.units(queue, progress)?;
            let segmenting = units.segmenting;
            match send(self.io.fd(), &mut units) {
                Ok(taken) => {
                    if progress.front == Front::SinglyAndPerhapsAlways && taken > 0 {
                        self.path.refuse_segmenting();
                    }
                    progress.advance(queue, taken, segmenting);
                    return Ok(());
                }
                Err(error) if segmented && message::is_refused_train(&error) => {
                    let always = message::is_refused_always(&error);
                    progress.front = if always { Front::SinglyAndPerhapsAlways } else { Front::Singly };
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What is to be sent next, and whether the first of it is a train.
    fn units<'q, 'a>(
        &self,
        queue: &'q [Transmit<'a>],
        progress: &Progress,
    ) -> io::Result<(Units<'q, 'a>, bool)> {
        let rest = queue.get(progress.index..).unwrap_or(&[]);
        let fd = self.io.fd();
        let peer_is_v4 = rest.iter().any(Transmit::asks_family) && self.path.peer_is_v4(fd);
        let segmenting = rest.iter().any(Transmit::is_train) && self.path.segmenting(fd);
        let Some(front) = rest.first() else {
            return Ok((Units { queue, at: *progress, segmenting, peer_is_v4 }, false));
        };
        if front.is_mixed(peer_is_v4) {
            let text = "source and target of a datagram are of different families";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let as_train = segmenting && progress.front == Front::AsItIs;
        let segmented = unit_len(front, progress.offset, as_train) > front.segment();
        Ok((Units { queue, at: *progress, segmenting, peer_is_v4 }, segmented))
    }
}
