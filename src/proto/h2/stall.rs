//! Output that the peer does not take.

use super::config::Config;
use super::pace::least;
use super::timeouts::{NEVER, after};

/// Since when output has waited, and how much had reached the socket then.
#[derive(Clone, Copy, Debug)]
pub(in crate::proto) struct Stall {
    since: u64,
    from: u64,
}

impl Stall {
    /// Nothing waits.
    pub(in crate::proto) const NONE: Stall = Stall { since: NEVER, from: 0 };

    #[inline]
    pub(in crate::proto) fn is_on(self) -> bool {
        self.since != NEVER
    }

    /// Output waits to be written; so much has reached the socket.
    #[inline]
    pub(in crate::proto) fn begin(&mut self, now: u64, reached: u64) {
        if self.since == NEVER {
            *self = Stall { since: now, from: reached };
        }
    }

    /// All of it was written.
    #[inline]
    pub(in crate::proto) fn end(&mut self) {
        self.since = NEVER;
    }

    /// When some of it must have gone.
    #[inline]
    pub(in crate::proto) fn due(self, config: &Config) -> u64 {
        if self.since == NEVER { NEVER } else { after(self.since, config.send_timeout) }
    }

    /// Whether that time has come, and the socket did not take output at the least rate; if it did, it has its time again.
    pub(in crate::proto) fn is_over(&mut self, config: &Config, now: u64, reached: u64) -> bool {
        if self.due(config) > now {
            return false;
        }
        let moved = reached.saturating_sub(self.from);
        if moved == 0 || moved < least(config, now - self.since) {
            return true;
        }
        *self = Stall { since: now, from: reached };
        false
    }
}
