//! One direction of a connection in memory: bytes with the time at which they arrive. Time is an argument.

use std::{collections::VecDeque, io, task::Waker};

use crate::{
    clock::nanos,
    testing::{Cut, Link, Random},
};

pub(super) struct Pipe {
    link: Link,
    random: Random,
    pieces: VecDeque<Piece>,
    /// Bytes that take up room: on their way, unread, or lost in silence.
    held: usize,
    /// Bytes that were ever written.
    written: u64,
    /// Until when the line is busy with what was written.
    busy_until: u64,
    /// When the last of it arrives.
    last_arrival: u64,
    /// When the end arrives, behind everything else.
    end: Option<u64>,
    /// From when on both ends see a reset.
    reset: Option<u64>,
    writer_gone: bool,
    reader_gone: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
}

struct Piece {
    arrives: u64,
    bytes: Vec<u8>,
    read: usize,
}

/// What came of an attempt.
pub(super) enum Attempt {
    Done(usize),
    /// Nothing before this time.
    At(u64),
    /// Nothing before the other end does something.
    Later,
    /// Once more, in the next turn.
    Again,
}

impl Pipe {
    pub(super) fn new(link: Link, direction: u64) -> Pipe {
        let random = link.random(direction);
        Pipe {
            link,
            random,
            pieces: VecDeque::new(),
            held: 0,
            written: 0,
            busy_until: 0,
            last_arrival: 0,
            end: None,
            reset: None,
            writer_gone: false,
            reader_gone: false,
            reader: None,
            writer: None,
        }
    }

    pub(super) fn write(&mut self, now: u64, bytes: &[u8]) -> io::Result<Attempt> {
        if self.reset.is_some_and(|at| at <= now) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if self.writer_gone || self.reader_gone {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if bytes.is_empty() {
            return Ok(Attempt::Done(0));
        }
        if self.stutters() {
            return Ok(Attempt::Again);
        }
        let whole = self.link.cut.map_or(u64::MAX, |(after, _)| after.saturating_sub(self.written));
        if whole == 0 {
            return Ok(self.lose(bytes.len()));
        }
        let room = self.link.capacity.saturating_sub(self.held);
        if room == 0 {
            return Ok(self.reset.map_or(Attempt::Later, Attempt::At));
        }
        let most = bytes.len().min(room).min(usize::try_from(whole).unwrap_or(usize::MAX));
        let taken = self.part(most, self.link.short_writes);
        self.send(now, &bytes[..taken]);
        Ok(Attempt::Done(taken))
    }

    /// Puts bytes on the line, and the cut behind them when it is there.
    fn send(&mut self, now: u64, bytes: &[u8]) {
        let count = bytes.len() as u64;
        let sending = self.link.bandwidth.map_or(0, |rate| count.saturating_mul(1_000_000_000) / rate);
        self.busy_until = self.busy_until.max(now).saturating_add(sending);
        let arrives = self.arrival(self.busy_until);
        self.held += bytes.len();
        self.written += count;
        match self.pieces.back_mut() {
            Some(last) if last.arrives == arrives => last.bytes.extend_from_slice(bytes),
            Some(_) | None => self.pieces.push_back(Piece { arrives, bytes: bytes.to_vec(), read: 0 }),
        }
    }

    /// What the cut swallows: the writer learns nothing of it.
    fn lose(&mut self, bytes: usize) -> Attempt {
        if !matches!(self.link.cut, Some((_, Cut::Silence))) {
            return Attempt::Done(bytes);
        }
        let room = self.link.capacity.saturating_sub(self.held).min(bytes);
        self.held += room;
        if room == 0 { Attempt::Later } else { Attempt::Done(room) }
    }

    /// When the cut has been reached: how, and when the reader learns of it.
    pub(super) fn cut(&mut self, now: u64) -> Option<(Cut, u64)> {
        let (after, how) = self.link.cut?;
        if self.written < after || self.reset.is_some() || self.end.is_some() {
            return None;
        }
        Some((how, self.arrival(now)))
    }

    pub(super) fn read(&mut self, now: u64, into: &mut [u8]) -> io::Result<Attempt> {
        if into.is_empty() {
            return Ok(Attempt::Done(0));
        }
        if self.stutters() {
            return Ok(Attempt::Again);
        }
        let most = self.arrived(now).min(into.len());
        if most > 0 {
            let taken = self.part(most, self.link.short_reads);
            self.take(&mut into[..taken]);
            return Ok(Attempt::Done(taken));
        }
        let next = self.pieces.front().map(|piece| piece.arrives);
        match (next, self.reset, self.end_seen()) {
            (Some(at), _, _) => Ok(Attempt::At(at)),
            (None, Some(at), _) if at <= now => Err(io::ErrorKind::ConnectionReset.into()),
            (None, _, Some(at)) if at <= now => Ok(Attempt::Done(0)),
            (None, Some(at), _) | (None, None, Some(at)) => Ok(Attempt::At(at)),
            (None, None, None) => Ok(Attempt::Later),
        }
    }

    /// The writer has ended: the reader sees that behind the last byte.
    pub(super) fn finish(&mut self, now: u64) {
        self.writer_gone = true;
        if self.end.is_none() {
            self.end = Some(self.arrival(now));
        }
    }

    /// The reader sees an end of which the writer knows nothing.
    pub(super) fn end_at(&mut self, arrival: u64) {
        self.end.get_or_insert(arrival);
    }

    /// Both ends see a reset from then on.
    pub(super) fn reset(&mut self, at: u64) {
        self.reset.get_or_insert(at);
    }

    /// Nobody reads any more.
    pub(super) fn abandon(&mut self) {
        self.reader_gone = true;
        self.pieces.clear();
    }

    /// The end, unless it is lost in silence.
    fn end_seen(&self) -> Option<u64> {
        let is_silent =
            self.link.cut.is_some_and(|(after, how)| how == Cut::Silence && self.written >= after);
        self.end.filter(|_| !is_silent)
    }

    /// When what leaves the line at `time` is at the other end: never before what went before it.
    fn arrival(&mut self, time: u64) -> u64 {
        let jitter = self.random.below(nanos(self.link.jitter).saturating_add(1));
        let arrives = time.saturating_add(nanos(self.link.latency)).saturating_add(jitter);
        self.last_arrival = self.last_arrival.max(arrives);
        self.last_arrival
    }

    fn arrived(&self, now: u64) -> usize {
        let there = self.pieces.iter().take_while(|piece| piece.arrives <= now);
        there.map(|piece| piece.bytes.len() - piece.read).sum()
    }

    fn take(&mut self, mut into: &mut [u8]) {
        self.held -= into.len();
        while let Some(piece) = self.pieces.front_mut().filter(|_| !into.is_empty()) {
            let unread = &piece.bytes[piece.read..];
            let count = unread.len().min(into.len());
            let (now, rest) = into.split_at_mut(count);
            now.copy_from_slice(&unread[..count]);
            into = rest;
            piece.read += count;
            if piece.read == piece.bytes.len() {
                self.pieces.pop_front();
            }
        }
    }

    fn part(&mut self, most: usize, short: bool) -> usize {
        if short { 1 + self.random.below(most as u64) as usize } else { most }
    }

    fn stutters(&mut self) -> bool {
        self.link.stutter && self.random.below(4) == 0
    }
}
