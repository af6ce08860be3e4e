//! The order in which the connections of a server that stops go.
//!
//! ```text
//! the word ──► each connection: handlers at work are answered ──► it drops its voice
//!              the last voice of all workers is dropped       ──► those who have subscribed are told the rest, and go
//! ```
//!
//! A handler at work may still publish, and who asked it to takes its answer for a promise. So who has subscribed stays
//! until no handler is at work, on whatever worker.

use std::{cell::RefCell, fmt, sync::Arc};

use crate::worker::{CancellationToken, DropGuard};

/// One server's, or one worker's of a server that has several.
pub(super) struct Parting {
    /// `None` when the server takes no more connections: what its connections have is all that is left.
    voice: RefCell<Option<Voice>>,
    /// Cancelled with the last voice.
    silence: CancellationToken,
}

/// Says by its being there that somebody may publish still.
#[derive(Clone)]
pub(super) struct Voice {
    _last_cancels: Arc<DropGuard>,
}

impl Parting {
    /// Of a server; what [`beside`](Parting::beside) makes of it belongs to it.
    pub(super) fn new() -> Parting {
        let silence = CancellationToken::new();
        let voice = Voice { _last_cancels: Arc::new(silence.clone().drop_guard()) };
        Parting { voice: RefCell::new(Some(voice)), silence }
    }

    /// The same for one more worker.
    pub(super) fn beside(&self) -> Parting {
        Parting { voice: RefCell::new(self.voice()), silence: self.silence.clone() }
    }

    /// What a connection keeps until its handlers have been answered; `None` for one that comes behind the stop, which
    /// nobody waits for.
    pub(super) fn voice(&self) -> Option<Voice> {
        self.voice.borrow().clone()
    }

    /// Nobody comes any more.
    pub(super) fn close(&self) {
        let voice = self.voice.take();
        drop(voice);
    }

    /// Waits until nobody publishes any more.
    pub(super) async fn silence(&self) {
        self.silence.cancelled().await;
    }
}

impl fmt::Debug for Parting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_open = self.voice.borrow().is_some();
        out.debug_struct("Parting").field("is_open", &is_open).field("silence", &self.silence).finish()
    }
}
