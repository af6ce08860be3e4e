//! What both ends of HTTP/1 measure time by: plain numbers in nanoseconds, `NEVER` for none.

use crate::proto::h2::{Config, NEVER, Output, Stall, after, least};

/// From when the time is told next: commands come without it, and what was told last may be long ago.
pub(super) const SOON: u64 = u64::MAX - 1;

/// The clocks that both ends have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    /// Since when there has been no request.
    pub(super) idle_since: u64,
    /// Content that is to come.
    pub(super) owed: Owed,
    /// Output that waits to be written.
    pub(super) stall: Stall,
}

impl Clocks {
    /// None runs.
    pub(super) const NONE: Clocks = Clocks { idle_since: NEVER, owed: Owed::NOTHING, stall: Stall::NONE };

    /// A request has begun.
    pub(super) fn busy(&mut self) {
        (self.idle_since, self.owed) = (NEVER, Owed::NOTHING);
    }

    /// It is over.
    pub(super) fn idle(&mut self) {
        (self.idle_since, self.owed) = (SOON, Owed::NOTHING);
    }

    /// The connection is over: what was made must still be written.
    pub(super) fn stop(&mut self) {
        *self = Clocks { stall: self.stall, ..Clocks::NONE };
    }

    /// Starts what was to start soon.
    #[inline]
    pub(super) fn start(&mut self, now: u64) {
        start(&mut self.idle_since, now);
        self.owed.start(now);
    }

    /// There is output to be written.
    #[inline]
    pub(super) fn offer(&mut self, output: &Output, now: u64) {
        if !output.is_empty() {
            self.stall.begin(now, output.reached());
        }
    }

    /// So much of the output was written; says whether that was all.
    #[inline]
    pub(super) fn transmitted(&mut self, output: &mut Output, n: usize, now: u64) -> bool {
        let before = output.reached();
        output.written(n);
        let all = n > 0 && output.is_empty();
        if all {
            self.drained(now);
        } else if n > 0 {
            self.stall.begin(now, before);
        }
        all
    }

    /// So much of what was written has not reached the socket.
    pub(super) fn held_below(&mut self, output: &mut Output, n: usize, now: u64) {
        output.hold_below(n);
        if n > 0 {
            self.stall.begin(now, output.reached());
        } else if output.is_empty() && self.stall.is_on() {
            self.drained(now);
        }
    }

    /// The socket has taken all of the output: a peer that reads is not idle before.
    #[inline]
    pub(super) fn drained(&mut self, now: u64) {
        self.stall.end();
        if self.idle_since != NEVER {
            self.idle_since = now;
        }
    }
}

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

    /// Whether it `is_owed`, from now on or from when that was noticed.
    pub(super) fn watch(&mut self, is_owed: bool, config: &Config, now: u64) {
        if !is_owed || config.min_body_rate == 0 {
            *self = Owed::NOTHING;
        } else if self.since == NEVER {
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
