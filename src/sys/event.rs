//! What a selector is asked for and what it answers: plain values, the same for every backend.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// The caller's name for a registration; the selector hands it back with each event and never looks into it.
///
/// The reactor packs a slot and its generation, so that an event of an earlier owner of the slot is recognised.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

impl Token {
    /// The doorbell's own token: never reported, and not to be used for a registration.
    pub const DOORBELL: Token = Token(u64::MAX);
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({:#x})", self.0)
    }
}

/// What to wait for on a descriptor.
///
/// Reading always includes the peer's half-close and urgent data where the backend can tell them, because the
/// short-read rule needs to see both. Errors and hang-ups are reported unasked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Interest(u8);

impl Interest {
    /// The reading direction, edge-triggered.
    pub const READ: Interest = Interest(1);
    /// The writing direction, edge-triggered.
    pub const WRITE: Interest = Interest(2);
    /// Both directions, edge-triggered: what a source is registered with.
    pub const BOTH: Interest = Interest(1 | 2);
    /// A listener that other selectors wait on too: level-triggered, and where the backend can, one connection
    /// wakes one of them. It stands alone: it is not combined with another interest.
    pub const READ_SHARED: Interest = Interest(1 | 4);

    /// Whether the reading direction is asked for.
    pub const fn is_read(self) -> bool {
        self.0 & 1 != 0
    }

    /// Whether the writing direction is asked for.
    pub const fn is_write(self) -> bool {
        self.0 & 2 != 0
    }

    /// Whether this is [`Interest::READ_SHARED`].
    pub const fn is_shared(self) -> bool {
        self.0 & 4 != 0
    }
}

impl BitOr for Interest {
    type Output = Interest;

    fn bitor(self, other: Interest) -> Interest {
        Interest(self.0 | other.0)
    }
}

/// A set of facts about a descriptor, as the selector reported them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Readiness(u8);

impl Readiness {
    /// No fact at all.
    pub const EMPTY: Readiness = Readiness(0);
    /// Bytes, a datagram, a connection or the end of the stream can be read.
    pub const READABLE: Readiness = Readiness(1);
    /// There is room to write.
    pub const WRITABLE: Readiness = Readiness(2);
    /// The peer will send no more (`EPOLLRDHUP`, `EPOLLHUP`, `EV_EOF` of the read filter).
    pub const READ_CLOSED: Readiness = Readiness(4);
    /// Nothing can be written any more (`EPOLLHUP`, `EV_EOF` of the write filter).
    pub const WRITE_CLOSED: Readiness = Readiness(8);
    /// The connection is gone: nothing comes and nothing goes.
    pub const HANG_UP: Readiness = Readiness(4 | 8);
    /// An error, or something in the error queue, is pending.
    pub const ERROR: Readiness = Readiness(16);
    /// Urgent data.
    pub const PRIORITY: Readiness = Readiness(32);

    /// Whether no fact is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether every fact of `other` is in the set.
    pub const fn contains(self, other: Readiness) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any fact of `other` is in the set.
    pub const fn intersects(self, other: Readiness) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether a reader should try: an error or a hang-up wakes it too, since its next call is what tells of it.
    pub const fn wakes_reader(self) -> bool {
        self.0 & (Self::READABLE.0 | Self::READ_CLOSED.0 | Self::ERROR.0 | Self::PRIORITY.0) != 0
    }

    /// Whether a writer should try. The peer's half-close (`READ_CLOSED`) is no reason: it may go on reading.
    pub const fn wakes_writer(self) -> bool {
        self.0 & (Self::WRITABLE.0 | Self::WRITE_CLOSED.0 | Self::ERROR.0) != 0
    }

    /// Whether a short read no longer means that the source is drained: more may follow without a further edge.
    pub const fn forbids_short_read_rule(self) -> bool {
        self.0 & (Self::READ_CLOSED.0 | Self::WRITE_CLOSED.0 | Self::ERROR.0 | Self::PRIORITY.0) != 0
    }
}

impl BitOr for Readiness {
    type Output = Readiness;

    fn bitor(self, other: Readiness) -> Readiness {
        Readiness(self.0 | other.0)
    }
}

impl BitOrAssign for Readiness {
    fn bitor_assign(&mut self, other: Readiness) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(Readiness, &str); 6] = [
            (Readiness::READABLE, "READABLE"),
            (Readiness::WRITABLE, "WRITABLE"),
            (Readiness::READ_CLOSED, "READ_CLOSED"),
            (Readiness::WRITE_CLOSED, "WRITE_CLOSED"),
            (Readiness::ERROR, "ERROR"),
            (Readiness::PRIORITY, "PRIORITY"),
        ];
        let mut set = f.debug_set();
        for (fact, name) in NAMES {
            if self.contains(fact) {
                set.entry(&format_args!("{name}"));
            }
        }
        set.finish()
    }
}

/// One descriptor's news.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// The token that the descriptor was registered with.
    pub token: Token,
    /// What happened.
    pub readiness: Readiness,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_close_wakes_the_reader_alone() {
        let facts = Readiness::READ_CLOSED;
        assert!(facts.wakes_reader());
        assert!(!facts.wakes_writer());
    }

    #[test]
    fn an_error_wakes_both_directions() {
        assert!(Readiness::ERROR.wakes_reader());
        assert!(Readiness::ERROR.wakes_writer());
    }

    #[test]
    fn readiness_prints_its_facts_by_name() {
        let facts = Readiness::READABLE | Readiness::ERROR;
        assert_eq!(format!("{facts:?}"), "{READABLE, ERROR}");
    }

    #[test]
    fn both_is_read_and_write() {
        assert_eq!(Interest::READ | Interest::WRITE, Interest::BOTH);
        assert!(!Interest::BOTH.is_shared());
        assert!(Interest::READ_SHARED.is_read() && !Interest::READ_SHARED.is_write());
    }
}
