//! Deadlines: how long the peer may take for what the protocol asks of it.
//!
//! All of them are plain numbers in nanoseconds; [`NEVER`] is none. The driver asks for the earliest with
//! `next_deadline`, arms one timer, and calls `handle_timeout` when it fires. A deadline that has moved on
//! meanwhile simply is not due yet: the timer need not be re-armed for every frame.

use std::time::Duration;

use super::config::Config;
use super::connection::{Connection, Going, Phase};
use super::error::Reason;
use super::stall::Stall;
use super::trip::Trip;
use crate::limits;

pub(in crate::proto) const NEVER: u64 = u64::MAX;

#[derive(Clone, Copy, Debug)]
pub(super) struct Timers {
    /// The peer's first SETTINGS, and the preface before it.
    preface: u64,
    /// The frame or header block that has begun, and where it began in what was received.
    block: u64,
    block_offset: u64,
    settings_ack: u64,
    /// The PING behind our first GOAWAY.
    announced: u64,
    /// The content that is thrown away behind complete answers.
    discard: u64,
    /// Since when there has been no stream.
    idle_since: u64,
    /// When memory is given back, if there is no stream until then.
    rest: u64,
    /// Output that waits to be written.
    pub(super) stall: Stall,
}

pub(in crate::proto) fn after(now: u64, timeout: Duration) -> u64 {
    now.saturating_add(u64::try_from(timeout.as_nanos()).unwrap_or(NEVER))
}

impl Timers {
    pub(super) fn new(config: &Config, now: u64) -> Timers {
        Timers {
            preface: after(now, config.preface_timeout),
            block: NEVER,
            block_offset: 0,
            settings_ack: NEVER,
            announced: NEVER,
            discard: NEVER,
            idle_since: now,
            rest: NEVER,
            stall: Stall::NONE,
        }
    }

    /// The client may be silent for as long as one that is served: it may have connected ahead (HTTP/1).
    #[cfg(feature = "http1")]
    pub(super) fn may_be_silent(&mut self, now: u64, config: &Config) {
        self.preface = after(now, config.idle_timeout.max(config.preface_timeout));
    }

    /// What may be the preface has begun.
    pub(super) fn preface_begun(&mut self, now: u64, config: &Config) {
        self.preface = self.preface.min(after(now, config.preface_timeout));
    }

    pub(super) fn preface_read(&mut self) {
        self.preface = NEVER;
    }

    /// We go, and the preface has not come yet.
    pub(super) fn hurry(&mut self, now: u64) {
        self.preface = self.preface.min(after(now, limits::H2_LAST_PREFACE));
    }

    pub(super) fn settings_sent(&mut self, now: u64, config: &Config) {
        self.settings_ack = after(now, config.settings_timeout);
    }

    pub(super) fn awaits_settings_ack(&self) -> bool {
        self.settings_ack != NEVER
    }

    /// `false` when no acknowledgement was awaited.
    pub(super) fn settings_acked(&mut self) -> bool {
        std::mem::replace(&mut self.settings_ack, NEVER) != NEVER
    }

    pub(super) fn announced(&mut self, now: u64, config: &Config) {
        self.announced = after(now, config.settings_timeout);
    }

    pub(super) fn gone(&mut self) {
        self.announced = NEVER;
    }

    /// Content is thrown away behind a complete answer. One deadline serves all streams.
    pub(super) fn discard(&mut self, now: u64, config: &Config) {
        self.discard = self.discard.min(after(now, config.discard_timeout));
    }

    /// A stream was opened.
    #[inline]
    pub(super) fn busy(&mut self) {
        self.idle_since = NEVER;
        self.rest = NEVER;
    }

    pub(super) fn stop(&mut self) {
        *self = Timers {
            preface: NEVER,
            block: NEVER,
            block_offset: 0,
            settings_ack: NEVER,
            announced: NEVER,
            discard: NEVER,
            idle_since: NEVER,
            rest: NEVER,
            // What is framed must still be written.
            stall: self.stall,
        };
    }
}

impl Connection {
    /// Takes the time.
    #[inline]
    pub(super) fn tell(&mut self, now: u64) {
        self.now = now;
        if self.streams.len() == 0 && self.timers.idle_since == NEVER && self.phase != Phase::Dead {
            self.timers.idle_since = now;
            self.timers.rest = after(now, limits::H2_REST);
        }
    }

    /// Starts or stops the clock of a frame or header block that is not complete.
    #[inline]
    pub(super) fn watch_partial(&mut self) {
        if self.run.is_some() {
            self.watch();
        }
        if !self.input.is_partial() && self.assembly.is_none() {
            self.timers.block = NEVER;
            return;
        }
        // Each has a time of its own: reads may end inside one frame after the other.
        let offset = self.assembly.as_ref().map_or(self.input.offset(), |assembly| assembly.offset);
        if self.timers.block == NEVER || self.timers.block_offset != offset {
            self.timers.block = after(self.now, self.config.header_timeout);
            self.timers.block_offset = offset;
        }
    }

    /// When `handle_timeout` is due at the latest, if at all.
    #[inline]
    pub fn next_deadline(&mut self, now: u64) -> Option<u64> {
        self.tell(now);
        let timers = &self.timers;
        let mut earliest = timers
            .preface
            .min(timers.block)
            .min(timers.settings_ack)
            .min(timers.announced)
            .min(timers.discard);
        if timers.idle_since != NEVER {
            earliest = earliest.min(timers.rest).min(after(timers.idle_since, self.config.idle_timeout));
        }
        earliest = earliest.min(timers.stall.due(&self.config)).min(self.pace_deadline(now));
        (earliest != NEVER).then_some(earliest)
    }

    /// Acts on every deadline that has passed. Calling it early does nothing.
    pub fn handle_timeout(&mut self, now: u64) {
        self.tell(now);
        if self.timers.rest <= now {
            self.timers.rest = NEVER;
            self.trim();
        }
        if self.timers.discard <= now {
            self.timers.discard = NEVER;
            self.end_discards();
        }
        let timers = self.timers;
        if self.timers.stall.is_over(&self.config, now, self.output.reached()) {
            // The peer does not read: a GOAWAY would only wait behind the rest.
            self.output.clear();
            self.timers.stall.end();
            if self.phase != Phase::Dead {
                self.time_out(Trip::SendStall);
                self.output.clear();
            }
            return;
        }
        if self.pace.is_some() && self.check_pace(now) {
            return;
        }
        if timers.preface <= now && self.phase == Phase::Preface && self.going == Going::Announced {
            self.close(None);
        } else if timers.preface <= now {
            self.time_out(Trip::PrefaceTimeout);
        } else if timers.block <= now {
            self.time_out(Trip::HeaderTimeout);
        } else if timers.settings_ack <= now {
            self.time_out(Trip::SettingsTimeout);
        } else if timers.announced <= now {
            self.go_finally(Reason::NO_ERROR, &[]);
        } else if timers.idle_since != NEVER && after(timers.idle_since, self.config.idle_timeout) <= now {
            if !timers.stall.is_on() {
                self.time_out(Trip::IdleTimeout);
            } else {
                // The last answer is still being read; `send_timeout` is for who does not read.
                self.timers.idle_since = now;
            }
        }
    }

    #[cold]
    pub(super) fn time_out(&mut self, trip: Trip) {
        self.current = None;
        self.fail_bound(trip);
    }
}
