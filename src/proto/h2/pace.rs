//! Peers that are slow on purpose, and peers that are gone: the least rate of content both ways, and keep-alive.
//!
//! Two things make a stream last without end. A message announces content and lets it drip; or a response waits for a window
//! that the peer opens byte by byte, which no deadline without a rate would notice. Both are looked at in one sweep over
//! the streams, a few seconds apart and only while there is anything to watch, so that no frame pays for it: a sweep marks
//! how far each stream is, and one later sees how far it came.
//!
//! # What counts as slow, and what does not
//!
//! - *Receiving*: a message with `content-length` of which something is still to come, and a DATA frame that has begun.
//!   Not while the peer waits for us: content lies unread, a window is closed, or `100 (Continue)` has not gone out.
//!   A message without `content-length` owes nothing between its frames: gRPC, tunnels and long polls may be silent for as
//!   long as they like, and so may a server that has not begun to answer.
//! - *Sending*: content waits, and the window is found closed at every sweep for `stall_timeout`, while the peer gave less
//!   credit than `min_body_rate` in that time. What it takes at that rate is slow and legal. A closed window of the stream
//!   costs the stream, one of the connection the connection.
//!
//! Keep-alive asks a silent peer with a PING whether it is there; every byte that comes is an answer.

use super::config::Config;
use super::connection::{Connection, Phase};
use super::error::Fault;
use super::frame::Kind;
use super::stream::{Content, Receiving, Room, Sending, Stream, StreamKey};
use super::timeouts::{NEVER, after};
use super::trip::Trip;

/// The payload of the PINGs that ask whether the peer is there.
const KEEP_ALIVE: [u8; 8] = *b"wakelive";

const SECOND_NS: u64 = 1_000_000_000;

#[derive(Debug)]
pub(super) struct Pace {
    /// When the next sweep is due.
    sweep: u64,
    /// Messages whose content is awaited, and how much of it, in the order of the slots.
    uploads: Vec<Mark>,
    /// Streams that were found blocked, and the credit they have had since, in the order of the slots.
    stalls: Vec<Mark>,
    /// Requests that wait for `100 (Continue)`; at most as many as there may be streams.
    excused: Vec<StreamKey>,
    /// The connection's window was found closed: since when, and the credit since then.
    closed: Option<(u64, u64)>,
    /// A DATA frame was found unfinished: since when, and what had been received then.
    frame: Option<(u64, u64)>,
    silence: Silence,
}

/// How far a stream was.
#[derive(Clone, Copy, Debug)]
struct Mark {
    key: StreamKey,
    since: u64,
    amount: u64,
}

/// How long the peer has been silent.
#[derive(Debug)]
struct Silence {
    /// What had been received when it was last heard of, and when that was.
    offset: u64,
    since: u64,
    /// When it was asked.
    asked: u64,
    /// PINGs that have not come back.
    pings: u32,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            sweep: NEVER,
            uploads: Vec::new(),
            stalls: Vec::new(),
            excused: Vec::new(),
            closed: None,
            frame: None,
            silence: Silence { offset: u64::MAX, since: 0, asked: NEVER, pings: 0 },
        }
    }
}

impl Pace {
    /// Whether nothing is watched, so that the memory can go.
    pub(super) fn is_idle(&self) -> bool {
        self.sweep == NEVER && self.excused.is_empty() && self.silence.offset == u64::MAX
    }
}

impl Silence {
    /// Takes note of how much has been received.
    fn hear(&mut self, offset: u64, now: u64) {
        if self.offset != offset {
            (self.offset, self.since, self.asked) = (offset, now, NEVER);
        }
    }

    fn deadline(&self, config: &Config) -> u64 {
        match config.keep_alive_interval {
            None => NEVER,
            Some(_) if self.asked != NEVER => after(self.asked, config.keep_alive_timeout),
            Some(interval) => after(self.since, interval),
        }
    }
}

/// What must move in this time.
pub(in crate::proto) fn least(config: &Config, elapsed: u64) -> u64 {
    u64::from(config.min_body_rate).saturating_mul(elapsed) / SECOND_NS
}

/// Carries a stream's mark over from the sweep before, or makes one.
fn carry(old: &[Mark], key: StreamKey, now: u64, amount: u64) -> Mark {
    let found = old.binary_search_by_key(&key.index, |mark| mark.key.index).ok().map(|at| old[at]);
    found.filter(|mark| mark.key == key).unwrap_or(Mark { key, since: now, amount })
}

impl Connection {
    /// There is something to watch.
    #[inline]
    pub(super) fn watch(&mut self) {
        if self.pace.as_ref().is_none_or(|pace| pace.sweep == NEVER) {
            self.plan_sweep();
        }
    }

    /// Two sweeps at least before anything is slow.
    #[cold]
    fn plan_sweep(&mut self) {
        if self.config.min_body_rate == 0 || self.phase == Phase::Dead {
            return;
        }
        let step = self.config.body_grace.min(self.config.stall_timeout) / 2;
        self.pace.get_or_insert_default().sweep = after(self.now, step).max(self.now + 1);
    }

    /// A request with content came; `waits`: for `100 (Continue)`.
    pub(super) fn watch_upload(&mut self, key: StreamKey, waits: bool) {
        self.watch();
        if waits && self.config.min_body_rate > 0 {
            let pace = self.pace.get_or_insert_default();
            if pace.excused.len() >= self.config.max_concurrent_streams as usize {
                pace.excused.retain(|&key| self.streams.get(key).is_some_and(waits_for_us));
            }
            pace.excused.push(key);
        }
    }

    /// `100 (Continue)` went out.
    pub(super) fn invited(&mut self, key: StreamKey) {
        if let Some(pace) = &mut self.pace {
            pace.excused.retain(|&other| other != key);
        }
    }

    /// A stream's window grew by as much.
    #[inline]
    pub(super) fn note_credit(&mut self, key: StreamKey, credit: u32) {
        let Some(pace) = self.pace.as_mut().filter(|pace| !pace.stalls.is_empty()) else { return };
        if let Ok(at) = pace.stalls.binary_search_by_key(&key.index, |mark| mark.key.index) {
            pace.stalls[at].amount += u64::from(credit);
        }
    }

    /// The connection's window grew by as much.
    #[inline]
    pub(super) fn note_connection_credit(&mut self, credit: u32) {
        if let Some(Pace { closed: Some((_, amount)), .. }) = self.pace.as_deref_mut() {
            *amount += u64::from(credit);
        }
    }

    /// When the next look is due.
    #[inline]
    pub(super) fn pace_deadline(&mut self, now: u64) -> u64 {
        let offset = self.input.offset();
        if self.config.keep_alive_interval.is_some() && self.phase == Phase::Open {
            self.pace.get_or_insert_default().silence.hear(offset, now);
        }
        let Some(pace) = &self.pace else { return NEVER };
        let keep_alive =
            if pace.silence.offset == u64::MAX { NEVER } else { pace.silence.deadline(&self.config) };
        pace.sweep.min(keep_alive)
    }

    /// Acts on what is due; `true` when the connection has ended.
    #[cold]
    pub(super) fn check_pace(&mut self, now: u64) -> bool {
        let Some(pace) = &mut self.pace else { return false };
        if pace.sweep <= now {
            pace.sweep = NEVER;
            if let Err(trip) = self.sweep(now) {
                self.time_out(trip);
            }
        }
        self.keep_alive(now);
        if self.pace.as_ref().is_some_and(|pace| pace.is_idle()) {
            self.pace = None;
        }
        self.phase == Phase::Dead
    }

    fn keep_alive(&mut self, now: u64) {
        let offset = self.input.offset();
        let Some(pace) = self.pace.as_mut().filter(|pace| pace.silence.offset != u64::MAX) else { return };
        let silence = &mut pace.silence;
        silence.hear(offset, now);
        if silence.deadline(&self.config) > now {
            return;
        }
        if !self.output.is_empty() {
            // Who has not read it all cannot answer yet, and may not be read by us; the send deadline watches that.
            (silence.since, silence.asked) = (now, if silence.asked == NEVER { NEVER } else { now });
            return;
        }
        if silence.asked != NEVER {
            return self.time_out(Trip::KeepAlive);
        }
        silence.asked = now;
        silence.pings += 1;
        self.write_frame(Kind::Ping, 0, 0, &KEEP_ALIVE);
    }

    /// A PING came back; `true` when it was ours.
    #[cold]
    pub(super) fn on_alive(&mut self, payload: [u8; 8]) -> bool {
        let Some(pace) = self.pace.as_mut().filter(|_| payload == KEEP_ALIVE) else { return false };
        let ours = pace.silence.pings > 0;
        pace.silence.pings = pace.silence.pings.saturating_sub(1);
        ours
    }

    /// Looks at every stream; whoever is too slow is reset. `Err`: the connection is.
    fn sweep(&mut self, now: u64) -> Result<(), Trip> {
        let (uploads, stalls, excused) = match &mut self.pace {
            Some(pace) => {
                pace.excused.retain(|&key| self.streams.get(key).is_some_and(waits_for_us));
                (std::mem::take(&mut pace.uploads), std::mem::take(&mut pace.stalls), pace.excused.clone())
            }
            None => return Ok(()),
        };
        let (mut slow, mut marks) = (Vec::new(), (Vec::new(), Vec::new()));
        let (mut blocked, mut coming) = (false, false);
        let closed = self.send_window.available() == 0;
        let open = !self.receive_window.is_closed();
        let config = &self.config;
        for (key, stream) in self.streams.iter_mut().filter(|(_, stream)| !stream.is_closed()) {
            coming |= owed(stream).is_some();
            let left = owed(stream).filter(|_| open && is_peers_turn(stream) && !excused.contains(&key));
            if let Some(left) = left {
                let mut mark = carry(&uploads, key, now, left);
                if now - mark.since >= after(0, config.body_grace) {
                    if mark.amount.saturating_sub(left) < least(config, now - mark.since) {
                        slow.push((stream.id, Trip::BodyRate));
                        continue;
                    }
                    mark = Mark { key, since: now, amount: left };
                }
                marks.0.push(mark);
            }
            if !waits(stream) {
                continue;
            }
            blocked = true;
            if stream.send_window.available() == 0 {
                let mut mark = carry(&stalls, key, now, 0);
                if now - mark.since >= after(0, config.stall_timeout) {
                    if mark.amount < least(config, now - mark.since) {
                        slow.push((stream.id, Trip::StreamStall));
                        continue;
                    }
                    mark = Mark { key, since: now, amount: 0 };
                }
                marks.1.push(mark);
            }
        }
        let watched = blocked || coming || self.run.is_some();
        if let Some(pace) = &mut self.pace {
            (pace.uploads, pace.stalls) = marks;
        }
        for (id, trip) in slow {
            self.on_fault(Fault::StreamBound(id, trip));
        }
        if watched {
            self.plan_sweep();
        }
        self.sweep_connection(now, blocked && closed)
    }

    /// What holds up all streams at once: the connection's window, and a DATA frame that does not end.
    fn sweep_connection(&mut self, now: u64, closed: bool) -> Result<(), Trip> {
        let (config, offset) = (&self.config, self.input.offset());
        let unfinished = self.run.is_some() && self.wants_input();
        let Some(pace) = &mut self.pace else { return Ok(()) };
        pace.closed = pace.closed.filter(|_| closed).or(closed.then_some((now, 0)));
        if let Some((since, credit)) =
            pace.closed.filter(|mark| now - mark.0 >= after(0, config.stall_timeout))
        {
            if credit < least(config, now - since) {
                return Err(Trip::StreamStall);
            }
            pace.closed = Some((now, 0));
        }
        pace.frame = pace.frame.filter(|_| unfinished).or(unfinished.then_some((now, offset)));
        if let Some((since, before)) = pace.frame.filter(|mark| now - mark.0 >= after(0, config.body_grace)) {
            if offset - before < least(config, now - since) {
                return Err(Trip::BodyRate);
            }
            pace.frame = Some((now, offset));
        }
        Ok(())
    }
}

/// Content that the peer announced and has not sent.
fn owed(stream: &Stream) -> Option<u64> {
    match (stream.receiving, stream.to_receive) {
        (Receiving::Body, Content::Remaining(left)) if stream.held => Some(left),
        (Receiving::Head | Receiving::Body | Receiving::Ended, _) => None,
    }
}

/// Whether it is the peer's turn: nothing lies unread, and there is room for more.
fn is_peers_turn(stream: &Stream) -> bool {
    stream.unreleased == 0 && !stream.receive_window.is_closed()
}

/// Whether a request that asked for `100 (Continue)` may still get it.
fn waits_for_us(stream: &Stream) -> bool {
    stream.sending == Sending::Head && !stream.is_closed()
}

/// Whether there is content to send, queued or still with the application.
fn waits(stream: &Stream) -> bool {
    match stream.sending {
        Sending::Body | Sending::Closing => stream.queued() > 0 || stream.room == Room::Wanted,
        Sending::Head | Sending::Ended => false,
    }
}
