//! Many messages by one call, where the system has it.
//!
//! `Inbox` and `Outbox` own the headers that the kernel is given. Headers point at what lies beside them, and are filled
//! anew for each call, so that no pointer outlives one. recvmmsg(2), sendmmsg(2).

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::ptr;

use libc::iovec;

use super::addr::{RawAddr, Storage};
use super::control::Control;
use super::many;
use super::message::{Header, Incoming, Outgoing, beside, encode, send_one};

/// Room for many messages that come, and what came.
#[derive(Default)]
pub(crate) struct Inbox {
    headers: Vec<Header>,
    pieces: Vec<iovec>,
    sources: Vec<Storage>,
    controls: Vec<Control>,
    bytes: Vec<u8>,
    /// The share of one message in `bytes`.
    size: usize,
    filled: usize,
    /// How many headers hold the lengths that the kernel has written, and not those of their rooms.
    written: usize,
    /// An error that ended the last call after its first message, and that is still to be told.
    owed: Option<io::Error>,
}

impl Inbox {
    /// Room for so many messages of that size.
    ///
    /// # Panics
    ///
    /// When no memory could hold them: a product that wraps around would have the kernel write behind it.
    pub(crate) fn new(messages: usize, size: usize) -> Inbox {
        let all = messages.checked_mul(size).expect("the size of a batch fits an address space");
        let mut inbox = Inbox {
            headers: (0..messages).map(|_| Header::new()).collect(),
            pieces: vec![iovec { iov_base: ptr::null_mut(), iov_len: size }; messages],
            sources: (0..messages).map(|_| Storage::new()).collect(),
            controls: (0..messages).map(|_| Control::new()).collect(),
            bytes: vec![0; all],
            size,
            ..Inbox::default()
        };
        // The vectors never grow, so that their elements stay where they are, and these are the vectors' own pointers,
        // which no reference to an element ends.
        let (sources, controls) = (inbox.sources.as_mut_ptr(), inbox.controls.as_mut_ptr());
        let (pieces, bytes) = (inbox.pieces.as_mut_ptr(), inbox.bytes.as_mut_ptr());
        for at in 0..messages {
            inbox.pieces[at].iov_base = bytes.wrapping_add(at * size).cast();
            let (source, control) = (sources.wrapping_add(at), controls.wrapping_add(at));
            inbox.headers[at].point(source, pieces.wrapping_add(at), control);
        }
        inbox
    }

    /// How many messages there is room for.
    pub(crate) fn room(&self) -> usize {
        self.headers.len()
    }

    /// How many the last call has brought.
    pub(crate) fn len(&self) -> usize {
        self.filled
    }

    /// How many bytes that were.
    pub(crate) fn bytes(&self) -> usize {
        self.headers[..self.filled].iter().map(|header| header.len as usize).sum()
    }

    pub(crate) fn clear(&mut self) {
        self.filled = 0;
    }

    /// Replaces what is in it by what is there now, at least one message.
    pub(crate) fn recv(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        self.filled = 0;
        if let Some(error) = self.owed.take() {
            return Err(error);
        }
        for header in &mut self.headers[..self.written] {
            header.reset();
        }
        self.written = 0;
        // SAFETY: each header names a source, a control buffer and a piece of its own, and each piece its own share of
        // `bytes`, which is as long as all shares (`new` lets no product wrap). They are where they were when `new` named them, and nothing else touches
        // them before the call returns.
        let (filled, owed) = unsafe { many::recv(fd, &mut self.headers) }?;
        self.written = filled;
        for (at, header) in self.headers[..filled].iter().enumerate() {
            header.filled(&mut self.sources[at], &mut self.controls[at]);
        }
        self.filled = filled;
        self.owed = owed;
        Ok(filled)
    }

    /// Message `at` of those that came, and its bytes.
    pub(crate) fn get(&self, at: usize) -> Option<(Incoming, &[u8])> {
        let header = self.headers[..self.filled].get(at)?;
        // Without coalescing the kernel tells the length of a message that was cut as that of its room.
        let len = (header.len as usize).min(self.size);
        // Every datagram of IPv4 and IPv6 has a source.
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let incoming = Incoming {
            len,
            source: self.sources[at].get().unwrap_or(nowhere),
            truncated: header.is_truncated(),
            beside: beside(&self.controls[at]),
        };
        let start = at * self.size;
        Some((incoming, &self.bytes[start..start + len]))
    }
}

/// Headers of messages that go together in one call; it is empty between calls, and keeps its memory.
#[derive(Default)]
pub(crate) struct Outbox {
    headers: Vec<Header>,
    pieces: Vec<iovec>,
    targets: Vec<Option<RawAddr>>,
    controls: Vec<Control>,
}

impl Outbox {
    /// Sends `messages` in order, and says how many of them the kernel took; an error is that of the first.
    pub(crate) fn send<'a>(
        &mut self,
        fd: BorrowedFd<'_>,
        messages: impl Iterator<Item = Outgoing<'a>>,
    ) -> io::Result<usize> {
        self.targets.clear();
        self.pieces.clear();
        let mut count = 0;
        for outgoing in messages {
            if self.controls.len() == count {
                self.controls.push(Control::new());
                self.headers.push(Header::new());
            }
            self.controls[count].clear();
            encode(&mut self.controls[count], &outgoing);
            self.targets.push(outgoing.target.as_ref().map(RawAddr::new));
            let start = outgoing.bytes.as_ptr().cast_mut().cast();
            self.pieces.push(iovec { iov_base: start, iov_len: outgoing.bytes.len() });
            count += 1;
        }
        // Only now: what grows, moves.
        let pieces = self.pieces.as_mut_ptr();
        for (at, header) in self.headers[..count].iter_mut().enumerate() {
            header.prepare_send(self.targets[at].as_ref(), pieces.wrapping_add(at), &self.controls[at]);
        }
        match &mut self.headers[..count] {
            [] => Ok(0),
            // SAFETY: the header names its target, its control data and one piece, which names bytes that live as long
            // as 'a; nothing changes them before the call returns, and the kernel only reads.
            [single] => unsafe { send_one(fd, single) }.map(|()| 1),
            // SAFETY: as above, for each of the headers.
            several => unsafe { many::send(fd, several) },
        }
    }
}
