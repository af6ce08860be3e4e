//! Ends of a ring that keep it alive, instead of borrowing it.
//!
//! Each is made with the ring and is the only one of its kind, so nothing is lent at run time: for one step it becomes
//! the borrowed end, with its counters, and takes them back.

use std::mem::ManuallyDrop;

use super::{Consumer, Producer, Ring};
use crate::sync::Arc;

/// Both ends of a new ring for `capacity` values, a power of two.
pub(crate) fn ends<T: Send>(capacity: usize) -> (OwnedProducer<T>, OwnedConsumer<T>) {
    let ring = Arc::new(Ring::new(capacity));
    let producer = OwnedProducer { ring: ring.clone(), tail: 0, head_seen: 0 };
    (producer, OwnedConsumer { ring, head: 0, tail_seen: 0 })
}

/// The end that values go into.
pub(crate) struct OwnedProducer<T> {
    ring: Arc<Ring<T>>,
    tail: u32,
    head_seen: u32,
}

impl<T: Send> OwnedProducer<T> {
    #[inline]
    fn step<R>(&mut self, body: impl FnOnce(&mut Producer<'_, T>) -> R) -> R {
        // Not dropped: that would lend the end to others.
        let (ring, tail, head_seen) = (&*self.ring, self.tail, self.head_seen);
        let mut end = ManuallyDrop::new(Producer { ring, tail, head_seen });
        let result = body(&mut end);
        (self.tail, self.head_seen) = (end.tail, end.head_seen);
        result
    }

    /// Whether there is room for a value, which then stays until the next push.
    #[inline]
    pub(crate) fn has_room(&mut self) -> bool {
        self.step(|end| end.has_room())
    }

    /// Appends a value; gives it back when there is no room.
    #[inline]
    pub(crate) fn push(&mut self, value: T) -> Result<(), T> {
        self.step(|end| {
            if !end.has_room() {
                return Err(value);
            }
            let pushed = end.push(value);
            debug_assert!(pushed.is_ok(), "there was room, and nobody else takes it");
            Ok(())
        })
    }

    pub(crate) fn capacity(&self) -> usize {
        self.ring.capacity()
    }
}

/// The end that values come out of.
pub(crate) struct OwnedConsumer<T> {
    ring: Arc<Ring<T>>,
    head: u32,
    tail_seen: u32,
}

impl<T: Send> OwnedConsumer<T> {
    #[inline]
    fn step<R>(&mut self, body: impl FnOnce(&mut Consumer<'_, T>) -> R) -> R {
        // Not dropped: that would lend the end to others.
        let (ring, head, tail_seen) = (&*self.ring, self.head, self.tail_seen);
        let mut end = ManuallyDrop::new(Consumer { ring, head, tail_seen });
        let result = body(&mut end);
        (self.head, self.tail_seen) = (end.head, end.tail_seen);
        result
    }

    /// Takes the oldest value.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.step(|end| end.pop())
    }

    /// Whether a look at the ring finds nothing in it.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.step(|end| end.is_empty())
    }
}
