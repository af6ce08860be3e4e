//! [`Ring`], its two ends, and the reasons why its `unsafe` lines are sound.
//!
//! Invariants, with counters compared modulo 2³²:
//!
//! - **I1** `head ≤ tail ≤ head + capacity`.
//! - **I2** At most one [`Producer`] and one [`Consumer`] of a ring are alive. Each is made by the exchange of a
//!   flag from clear to set, and only its drop clears the flag. (A forgotten end leaves its flag set for
//!   ever, which costs the ring its use and nothing else.)
//! - **I3** A slot whose index lies in `head .. tail` holds a value and is touched by the consumer alone.
//!   Every other slot is touched by the producer alone.

use std::fmt;
use std::mem::{self, MaybeUninit};

use crate::sync::{AtomicBool, AtomicU32, CachePadded, Ordering, UnsafeCell};

/// Bounded storage for values on their way from one thread to another.
pub struct Ring<T> {
    /// How many values were ever taken; written by the consumer.
    head: CachePadded<AtomicU32>,
    /// How many values were ever pushed; written by the producer.
    tail: CachePadded<AtomicU32>,
    producer_lent: AtomicBool,
    consumer_lent: AtomicBool,
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

// SAFETY: what a shared reference to a ring gives access to is its counters and flags, which are atomics, and
// its slots, which hold no more than one accessor at a time: by I2 there is one producer and one consumer,
// and by I3 no slot belongs to both. A value moves from one thread to another, hence `T: Send`; no reference
// to a value is ever handed out, hence no `T: Sync`.
unsafe impl<T: Send> Sync for Ring<T> {}

impl<T: Send> Ring<T> {
    /// Makes an empty ring for `capacity` values.
    ///
    /// # Panics
    ///
    /// If `capacity` is not a power of two, or exceeds 2³¹, where a full ring and an empty one would look
    /// alike.
    pub fn new(capacity: usize) -> Ring<T> {
        assert!(capacity.is_power_of_two() && capacity <= 1 << 31, "a ring's capacity is a power of two");
        Ring {
            head: CachePadded(AtomicU32::new(0)),
            tail: CachePadded(AtomicU32::new(0)),
            producer_lent: AtomicBool::new(false),
            consumer_lent: AtomicBool::new(false),
            slots: (0..capacity).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect(),
        }
    }

    /// Lends the producing end, unless somebody has it.
    pub fn producer(&self) -> Option<Producer<'_, T>> {
        // PAIRS: the Release store in `Producer::drop`. What the last producer wrote, `tail` and the slots it
        // no longer owned, is then visible to this one.
        self.producer_lent.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).ok()?;
        // Relaxed: only producers write `tail`, and the last one's store was seen by the exchange above.
        let tail = self.tail.load(Ordering::Relaxed);
        // PAIRS: the Release stores of `head` in `Consumer`, as in `push`.
        let head_seen = self.head.load(Ordering::Acquire);
        Some(Producer { ring: self, tail, head_seen })
    }

    /// Lends the consuming end, unless somebody has it.
    pub fn consumer(&self) -> Option<Consumer<'_, T>> {
        // PAIRS: the Release store in `Consumer::drop`, for the last consumer's `head`.
        self.consumer_lent.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).ok()?;
        // Relaxed: only consumers write `head`, and the last one's store was seen by the exchange above.
        let head = self.head.load(Ordering::Relaxed);
        Some(Consumer { ring: self, head, tail_seen: head })
    }
}

impl<T> Ring<T> {
    /// How many values fit.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// The slot of the value with this number.
    fn slot(&self, number: u32) -> &UnsafeCell<MaybeUninit<T>> {
        // The length is a power of two of at most 2³¹, therefore the mask is exact and fits.
        &self.slots[number as usize & (self.slots.len() - 1)]
    }

    /// Whether this many values in the ring leave no room.
    fn is_full(&self, tail: u32, head: u32) -> bool {
        tail.wrapping_sub(head) as usize >= self.slots.len()
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        if !mem::needs_drop::<T>() {
            return;
        }
        // Relaxed: whoever drops the ring has it to himself, which took an Acquire of its own.
        let (mut head, tail) = (self.head.load(Ordering::Relaxed), self.tail.load(Ordering::Relaxed));
        while head != tail {
            let number = head;
            // Counted as taken first: a destructor that panics does not see its value again.
            head = head.wrapping_add(1);
            self.slot(number).with_mut(|slot| {
                // SAFETY: `slot` comes from a live cell: aligned, in bounds, and ours alone, since `&mut self`.
                let value = unsafe { &mut *slot };
                // SAFETY: the number lies in `head .. tail`, so by I3 there is a value, and it is passed once.
                unsafe { value.assume_init_drop() };
            });
        }
    }
}

impl<T> fmt::Debug for Ring<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Ring").field("capacity", &self.slots.len()).finish_non_exhaustive()
    }
}

/// The end of a ring that values go into; dropping it lends the end to the next who asks.
#[derive(Debug)]
pub struct Producer<'a, T> {
    pub(super) ring: &'a Ring<T>,
    /// Equal to the ring's `tail`: nobody else writes it.
    pub(super) tail: u32,
    /// The ring's `head` as last seen: never ahead of it, so room that is seen is there.
    pub(super) head_seen: u32,
}

impl<T: Send> Producer<'_, T> {
    /// Whether a look at the ring finds room for another value, which is then there until the next push.
    #[inline]
    pub fn has_room(&mut self) -> bool {
        if self.ring.is_full(self.tail, self.head_seen) {
            // PAIRS: the Release stores of `head` in `Consumer`. The consumer has read the slots that it
            // freed before this producer writes them anew.
            self.head_seen = self.ring.head.load(Ordering::Acquire);
            return !self.ring.is_full(self.tail, self.head_seen);
        }
        true
    }

    /// Appends `value`.
    ///
    /// # Errors
    ///
    /// [`Full`] when the consumer has not taken enough yet; the ring is unchanged, and `value` dropped.
    #[inline]
    pub fn push(&mut self, value: T) -> Result<(), Full> {
        if !self.has_room() {
            return Err(Full);
        }
        self.ring.slot(self.tail).with_mut(|slot| {
            // SAFETY: `slot` comes from a live cell: aligned, in bounds, valid for writes. Nobody accesses it
            // meanwhile: it is not in `head .. tail` (the test above: `tail` is less than a capacity ahead of
            // a `head` that was read with Acquire, so the consumer's reads of its last value are over), hence
            // it is the producer's by I3; `&mut self` and I2 make this the only producer.
            unsafe { slot.write(MaybeUninit::new(value)) }
        });
        self.tail = self.tail.wrapping_add(1);
        // PAIRS: the Acquire loads of `tail` in `Consumer`, which then see the value written above.
        self.ring.tail.store(self.tail, Ordering::Release);
        Ok(())
    }
}

impl<T> Drop for Producer<'_, T> {
    fn drop(&mut self) {
        // PAIRS: the Acquire exchange in `Ring::producer`.
        self.ring.producer_lent.store(false, Ordering::Release);
    }
}

/// The end of a ring that values come out of; dropping it lends the end to the next who asks.
#[derive(Debug)]
pub struct Consumer<'a, T> {
    pub(super) ring: &'a Ring<T>,
    /// Equal to the ring's `head`: nobody else writes it.
    pub(super) head: u32,
    /// The ring's `tail` as last seen: never ahead of it, so a value that is seen is there.
    pub(super) tail_seen: u32,
}

impl<T: Send> Consumer<'_, T> {
    /// Takes the oldest value.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        if self.head == self.tail_seen {
            // PAIRS: the Release store of `tail` in `Producer::push`.
            self.tail_seen = self.ring.tail.load(Ordering::Acquire);
            if self.head == self.tail_seen {
                return None;
            }
        }
        let value = self.read(self.head);
        self.head = self.head.wrapping_add(1);
        // PAIRS: the Acquire loads of `head` in `Producer::push` and `Ring::producer`: the slot was read.
        self.ring.head.store(self.head, Ordering::Release);
        Some(value)
    }

    /// Takes every value that is there when it begins, oldest first, and says how many there were.
    ///
    /// Later pushes are left for the next call, so that a producer that never stops cannot hold the consumer.
    /// The room is given back in one step at the end. If `each` panics, nothing counts as taken.
    #[inline]
    pub fn drain(&mut self, mut each: impl FnMut(T)) -> usize
    where
        T: Copy,
    {
        // PAIRS: the Release store of `tail` in `Producer::push`.
        self.tail_seen = self.ring.tail.load(Ordering::Acquire);
        let count = self.tail_seen.wrapping_sub(self.head);
        for offset in 0..count {
            each(self.read(self.head.wrapping_add(offset)));
        }
        self.head = self.tail_seen;
        // PAIRS: the Acquire loads of `head` in `Producer::push` and `Ring::producer`: the slots were read.
        self.ring.head.store(self.head, Ordering::Release);
        count as usize
    }

    /// Whether a look at the ring finds nothing in it.
    pub fn is_empty(&mut self) -> bool {
        // PAIRS: the Release store of `tail` in `Producer::push`.
        self.tail_seen = self.ring.tail.load(Ordering::Acquire);
        self.head == self.tail_seen
    }

    /// Takes value `number` out of its slot. Callers pass numbers in `head .. tail_seen` only, and pass none twice unless
    /// `T: Copy`: what was read counts as taken before anything else can happen.
    #[inline]
    fn read(&self, number: u32) -> T {
        debug_assert!(number.wrapping_sub(self.head) < self.tail_seen.wrapping_sub(self.head));
        self.ring.slot(number).with(|slot| {
            // SAFETY: `slot` comes from a live cell: aligned, in bounds, valid for reads. The number lies in
            // `head .. tail_seen`, and `tail_seen` was read with Acquire from the store that followed the
            // write of this value, so that write is visible; by I3 the producer does not touch the slot until
            // `head` has passed it.
            let value = unsafe { slot.read() };
            // SAFETY: by the same numbers the producer has written a value there. `pop` moves `head` past it before
            // anything can unwind, so it is read once; `drain` reads again what unwound, but values of `T: Copy` only,
            // of which a second copy is as good as the first.
            unsafe { value.assume_init() }
        })
    }
}

impl<T> Drop for Consumer<'_, T> {
    fn drop(&mut self) {
        // PAIRS: the Acquire exchange in `Ring::consumer`.
        self.ring.consumer_lent.store(false, Ordering::Release);
    }
}

/// Says that a ring had no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ring is full")]
pub struct Full;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn values_come_out_in_the_order_they_went_in() {
        let ring = Ring::new(4);
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        for round in 0..100_u32 {
            for value in 0..3 {
                producer.push(round * 3 + value).unwrap();
            }
            for value in 0..3 {
                assert_eq!(consumer.pop(), Some(round * 3 + value));
            }
            assert_eq!(consumer.pop(), None);
        }
    }

    #[test]
    fn a_full_ring_refuses_and_keeps_what_it_has() {
        let ring = Ring::new(2);
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        assert_eq!(producer.push(1), Ok(()));
        assert_eq!(producer.push(2), Ok(()));
        assert_eq!(producer.push(3), Err(Full));
        assert_eq!(consumer.pop(), Some(1));
        assert_eq!(producer.push(3), Ok(()));
        assert_eq!(consumer.pop(), Some(2));
        assert_eq!(consumer.pop(), Some(3));
        assert!(consumer.is_empty());
    }

    #[test]
    fn each_end_is_lent_to_one_at_a_time_and_goes_on_where_it_was_left() {
        let ring = Ring::new(4);
        let mut producer = ring.producer().unwrap();
        assert!(ring.producer().is_none());
        producer.push(7).unwrap();
        drop(producer);
        ring.producer().unwrap().push(8).unwrap();

        let mut consumer = ring.consumer().unwrap();
        assert!(ring.consumer().is_none());
        assert_eq!(consumer.pop(), Some(7));
        drop(consumer);
        assert_eq!(ring.consumer().unwrap().pop(), Some(8));
    }

    #[test]
    fn a_drain_takes_what_is_there_when_it_begins() {
        let ring = Ring::new(8);
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        producer.push(0_u32).unwrap();
        let mut seen = Vec::new();
        let taken = consumer.drain(|value| {
            seen.push(value);
            producer.push(value + 1).unwrap();
        });
        assert_eq!((taken, seen), (1, vec![0]));
        assert_eq!(consumer.pop(), Some(1));
    }

    #[test]
    fn a_drain_that_panics_loses_nothing() {
        let ring = Ring::new(4);
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        producer.push(5_u32).unwrap();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            consumer.drain(|_| panic!("on purpose"));
        }));
        assert!(outcome.is_err());
        assert_eq!(consumer.pop(), Some(5));
    }

    #[test]
    fn counters_wrap_without_a_seam() {
        let ring = Ring::<u32>::new(4);
        for counter in [&ring.head, &ring.tail] {
            counter.store(u32::MAX - 1, Ordering::Relaxed);
        }
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        for value in 0..4 {
            producer.push(value).unwrap();
        }
        assert_eq!(producer.push(4), Err(Full));
        let mut seen = Vec::new();
        assert_eq!(consumer.drain(|value| seen.push(value)), 4);
        assert_eq!(seen, [0, 1, 2, 3]);
    }

    #[test]
    #[should_panic(expected = "power of two")]
    fn a_capacity_that_is_no_power_of_two_is_refused() {
        let _ = Ring::<u32>::new(3);
    }

    #[test]
    fn two_threads_pass_every_value_once() {
        const COUNT: u32 = 20_000;
        let ring = Ring::new(16);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut producer = ring.producer().unwrap();
                for value in 0..COUNT {
                    while producer.push(value).is_err() {
                        std::thread::yield_now();
                    }
                }
            });
            let mut consumer = ring.consumer().unwrap();
            for expected in 0..COUNT {
                let value = loop {
                    match consumer.pop() {
                        Some(value) => break value,
                        None => std::thread::yield_now(),
                    }
                };
                assert_eq!(value, expected);
            }
        });
    }
}
