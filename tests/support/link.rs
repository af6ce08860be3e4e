//! Two cores and a link between them that has a rate and a delay, under a clock of its own.
#![expect(dead_code, reason = "every test file uses its own part of this")]

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;
use wakering::internals::h2::{Config, Connection, Event};

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000 * MS;
/// In bits a second.
pub(crate) const GIGABIT: u64 = 1_000_000_000;

/// What a socket's buffer takes that is not on the wire yet.
const SOCKET_BYTES: u64 = 256 * 1024;
const PING: u8 = 6;

/// One end, and the way from there to the other.
pub(crate) struct Side {
    pub(crate) core: Connection,
    /// PINGs that were sent, answers not counted.
    pub(crate) sent_pings: u64,
    /// What is on its way: when it arrives, and the bytes.
    flight: VecDeque<(u64, Bytes)>,
    /// When the last byte will have left.
    free_at: u64,
    /// Bytes of the preface or of a payload that follow in what is sent.
    skip: usize,
    head: Vec<u8>,
}

pub(crate) struct Link {
    pub(crate) client: Side,
    pub(crate) server: Side,
    pub(crate) now: u64,
    delay: u64,
    bits_per_second: u64,
}

impl Side {
    fn new(core: Connection, skip: usize) -> Side {
        Side { core, sent_pings: 0, flight: VecDeque::new(), free_at: 0, skip, head: Vec::new() }
    }

    /// Counts the PINGs among frames that may be cut anywhere.
    fn look(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let n = self.skip.min(bytes.len());
            self.skip -= n;
            bytes = &bytes[n..];
            let n = (9 - self.head.len()).min(bytes.len());
            self.head.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            if self.head.len() == 9 {
                self.skip = u32::from_be_bytes([0, self.head[0], self.head[1], self.head[2]]) as usize;
                self.sent_pings += u64::from(self.head[3] == PING && self.head[4] & 1 == 0);
                self.head.clear();
            }
        }
    }
}

impl Link {
    /// `delay` is one way, in nanoseconds.
    pub(crate) fn new(client: Config, server: Config, delay: u64, bits_per_second: u64) -> Link {
        Link {
            client: Side::new(Connection::client(client, 0), 24),
            server: Side::new(Connection::server(server, 0), 0),
            now: 0,
            delay,
            bits_per_second,
        }
    }

    pub(crate) fn side(&mut self, server: bool) -> &mut Side {
        if server { &mut self.server } else { &mut self.client }
    }

    pub(crate) fn poll_event(&mut self, server: bool) -> Option<Event> {
        let now = self.now;
        self.side(server).core.poll_event(now)
    }

    /// Writes what the sockets take, and goes on by this long.
    pub(crate) fn tick(&mut self, nanos: u64) {
        let until = self.now + nanos;
        self.write();
        self.now = until;
        self.arrive();
    }

    /// Writes what the sockets take; returns when something happens next.
    fn write(&mut self) -> u64 {
        let (now, delay, rate) = (self.now, self.delay, self.bits_per_second);
        let socket = SOCKET_BYTES * 8 * SECOND / rate;
        let mut next = u64::MAX;
        for side in [&mut self.client, &mut self.server] {
            while side.core.has_output() && side.free_at < now + socket {
                let mut slices = [IoSlice::new(&[]); 64];
                let used = side.core.poll_transmit(now, &mut slices);
                let mut bytes = Vec::with_capacity(1 << 18);
                for slice in &slices[..used] {
                    bytes.extend_from_slice(slice);
                }
                side.core.transmitted(bytes.len());
                side.look(&bytes);
                side.free_at = side.free_at.max(now) + bytes.len() as u64 * 8 * SECOND / rate;
                side.flight.push_back((side.free_at + delay, Bytes::from(bytes)));
            }
            if side.core.has_events() {
                next = now;
            }
            if side.core.has_output() {
                next = next.min(side.free_at - socket + 1);
            }
            next = next.min(side.flight.front().map_or(u64::MAX, |flight| flight.0));
        }
        next
    }

    /// Writes what the sockets take, then goes on to the next moment at which anything happens and hands over what arrives
    /// then; `false` when nothing would ever happen.
    pub(crate) fn step(&mut self) -> bool {
        let next = self.write();
        let now = self.now;
        let due = [&mut self.client, &mut self.server].map(|side| side.core.next_deadline(now));
        if next == u64::MAX {
            return false;
        }
        self.now = now.max(due.into_iter().flatten().fold(next, u64::min));
        self.arrive();
        true
    }

    fn arrive(&mut self) {
        hand_over(&mut self.client, &mut self.server, self.now);
        hand_over(&mut self.server, &mut self.client, self.now);
    }
}

fn hand_over(from: &mut Side, to: &mut Side, now: u64) {
    if from.flight.front().is_some_and(|flight| flight.0 <= now) {
        if let Some((_, bytes)) = from.flight.pop_front() {
            to.core.receive(bytes);
        }
    }
    to.core.handle_timeout(now);
}
