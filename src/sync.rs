//! The one switch between the real synchronisation primitives and their models.
//!
//! Everything that takes part in the wake path imports its atomics, cells and queues from here, so that
//! `--cfg loom` exchanges them for loom's and `tests/wake_loom.rs` can walk through every interleaving. The
//! names and signatures are the same on both sides; a module that uses them carries no `cfg` of its own.

use std::ops::{Deref, DerefMut};

#[cfg(not(loom))]
pub(crate) use real::{Arc, ArrayQueue, Mutex, OnceLock, UnsafeCell, yield_now};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering, fence};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub(crate) use model::{Arc, ArrayQueue, Mutex, OnceLock, UnsafeCell, yield_now};

/// A value alone on its cache lines.
///
/// 128 bytes, since x86-64 fetches lines in pairs and some aarch64 cores have lines of that size.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct CachePadded<T>(pub(crate) T);

impl<T> Deref for CachePadded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for CachePadded<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

#[cfg(not(loom))]
mod real {
    pub(crate) use crossbeam_queue::ArrayQueue;
    pub(crate) use std::sync::{Arc, Mutex, OnceLock};
    pub(crate) use std::thread::yield_now;

    /// `std`'s cell behind the interface of loom's, which has to see where an access begins and ends.
    #[derive(Debug)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) const fn new(value: T) -> UnsafeCell<T> {
            UnsafeCell(std::cell::UnsafeCell::new(value))
        }

        #[inline]
        pub(crate) fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
            read(self.0.get())
        }

        #[inline]
        pub(crate) fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
            write(self.0.get())
        }
    }
}

#[cfg(loom)]
mod model {
    use std::collections::VecDeque;

    use loom::sync::MutexGuard;
    use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::{Arc, Mutex};
    pub(crate) use loom::thread::yield_now;

    /// `std`'s cell, with an atomic in front of it for what loom cannot see: that who finds the value also
    /// sees all that was written before it was put there.
    #[derive(Debug)]
    pub(crate) struct OnceLock<T> {
        value: std::sync::OnceLock<T>,
        is_set: AtomicBool,
    }

    impl<T> OnceLock<T> {
        pub(crate) fn new() -> OnceLock<T> {
            OnceLock { value: std::sync::OnceLock::new(), is_set: AtomicBool::new(false) }
        }

        pub(crate) fn get(&self) -> Option<&T> {
            if self.is_set.load(Ordering::Acquire) { self.value.get() } else { None }
        }

        /// For one thread at a time: a second one would have to wait where loom cannot see it.
        pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
            let value = self.value.get_or_init(make);
            self.is_set.store(true, Ordering::Release);
            value
        }
    }

    /// Stands in for `crossbeam_queue::ArrayQueue`, whose own atomics loom cannot see.
    ///
    /// The length is an atomic beside the lock: asking for it orders nothing but what an Acquire load does,
    /// as with the real queue. Were it behind the lock, the models would not miss the fences that a wake
    /// needs.
    #[derive(Debug)]
    pub(crate) struct ArrayQueue<T> {
        items: Mutex<VecDeque<T>>,
        length: AtomicUsize,
        capacity: usize,
    }

    impl<T> ArrayQueue<T> {
        pub(crate) fn new(capacity: usize) -> ArrayQueue<T> {
            let items = Mutex::new(VecDeque::with_capacity(capacity));
            ArrayQueue { items, length: AtomicUsize::new(0), capacity }
        }

        pub(crate) fn push(&self, value: T) -> Result<(), T> {
            // As the real one, which finds itself full by loads alone and then orders nothing.
            if self.length.load(Ordering::Relaxed) >= self.capacity {
                return Err(value);
            }
            let mut items = self.lock();
            if items.len() == self.capacity {
                return Err(value);
            }
            items.push_back(value);
            self.length.fetch_add(1, Ordering::Release);
            Ok(())
        }

        pub(crate) fn pop(&self) -> Option<T> {
            let value = self.lock().pop_front()?;
            self.length.fetch_sub(1, Ordering::Release);
            Some(value)
        }

        pub(crate) fn len(&self) -> usize {
            self.length.load(Ordering::Acquire)
        }

        pub(crate) fn is_empty(&self) -> bool {
            self.len() == 0
        }

        fn lock(&self) -> MutexGuard<'_, VecDeque<T>> {
            self.items.lock().expect("a model that panicked has failed already")
        }
    }
}
