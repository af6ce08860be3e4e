//! One turn's harvest: readiness recorded, timers expired, and the wakers of both woken.

use crate::{
    contain::wake_contained,
    limits::TIMERS_PER_TURN,
    reactor::{Reactor, source::Ready},
    slab::Key,
    sys::Selector,
};

impl Reactor {
    /// Takes the events of the last wait into the sources and collects the wakers of those who waited.
    pub(super) fn record(&self, selector: &Selector) {
        let mut sources = self.sources.borrow_mut();
        let mut woken = self.woken.borrow_mut();
        for event in selector.events() {
            // A source that was removed while its event lay in the batch has another generation.
            if let Some(source) = sources.get_mut(Key::from_bits(event.token.0)) {
                source.record(Ready::of(event.readiness), &mut woken);
            }
        }
    }

    /// Expires what is due at `now`, a bounded number a turn; true when more is due.
    pub(crate) fn expire(&self, now: u64) -> bool {
        let mut timers = self.timers.borrow_mut();
        let mut woken = self.woken.borrow_mut();
        let before = woken.len();
        let more = timers.expire(now, &mut |waker| woken.push(waker), TIMERS_PER_TURN);
        self.fired.set(self.fired.get() + (woken.len() - before) as u64);
        more
    }

    /// Wakes what `record` and `expire` collected, outside every borrow.
    pub(crate) fn wake_collected(&self) {
        if self.woken.borrow().is_empty() {
            return;
        }
        let mut woken = std::mem::take(&mut *self.woken.borrow_mut());
        for waker in woken.drain(..) {
            wake_contained(waker);
        }
        // Keep the allocation; a waker that re-entered may have left a new list in its place.
        let mut slot = self.woken.borrow_mut();
        if slot.is_empty() {
            *slot = woken;
        }
    }
}
