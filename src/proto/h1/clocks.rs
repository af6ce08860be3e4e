//! What both ends of HTTP/1 measure time by: plain numbers in nanoseconds, `NEVER` for none.

use crate::proto::h2::{Config, NEVER, after, least};

/// From when the time is told next: commands come without it, and what was told last may be long ago.
pub(super) const SOON: u64 = u64::MAX - 1;

/// Starts a clock that was to start soon.
pub(super) fn start(clock: &mut u64, now: u64) {
    if *clock == SOON {
        *clock = now;
    }
}

/// Since when the peer has owed content, and how much has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owed {
    since: u64,
    bytes: u64,
}

impl Owed {
    /// There is none.
    pub(super) const NOTHING: Owed = Owed { since: NEVER, bytes: 0 };

    /// The same counted from when the time is told next.
    pub(super) fn soon() -> Owed {
        Owed { since: SOON, bytes: 0 }
    }

    /// The time is told.
    pub(super) fn start(&mut self, now: u64) {
        start(&mut self.since, now);
    }

    /// It is owed from now on, or from when that was noticed.
    pub(super) fn begin(&mut self, now: u64) {
        if self.since == NEVER {
            *self = Owed { since: now, bytes: 0 };
        }
    }

    /// Octets came.
    pub(super) fn moved(&mut self, n: usize) {
        self.bytes = self.bytes.saturating_add(n as u64);
    }

    /// When the least that may come must have come.
    pub(super) fn due(self, config: &Config) -> u64 {
        if self.since == NEVER { NEVER } else { after(self.since, config.body_grace) }
    }

    /// Whether that time has come and too little; what suffices has its time again.
    pub(super) fn is_short(&mut self, config: &Config, now: u64) -> bool {
        if self.due(config) > now {
            return false;
        }
        let short = self.bytes < least(config, now - self.since);
        *self = Owed { since: now, bytes: 0 };
        short
    }
}
