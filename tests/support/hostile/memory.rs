//! An allocator that knows what one thread holds: the server's worker, apart from its attackers in the same process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// Bytes that a thread has allocated and not freed, now and at most.
#[derive(Debug, Default)]
pub(crate) struct Account {
    live: AtomicI64,
    peak: AtomicI64,
}

thread_local! {
    static ACCOUNT: Cell<Option<&'static Account>> = const { Cell::new(None) };
}

impl Account {
    /// Opens an account for the current thread; it is never given back.
    pub(crate) fn open() -> &'static Account {
        let account: &'static Account = Box::leak(Box::default());
        ACCOUNT.set(Some(account));
        account
    }

    pub(crate) fn live(&self) -> i64 {
        self.live.load(Relaxed)
    }

    /// The most since the last call.
    pub(crate) fn take_peak(&self) -> i64 {
        self.peak.swap(self.live(), Relaxed)
    }

    fn add(&self, bytes: i64) {
        let live = self.live.fetch_add(bytes, Relaxed) + bytes;
        self.peak.fetch_max(live, Relaxed);
    }
}

fn note(bytes: i64) {
    if let Ok(Some(account)) = ACCOUNT.try_with(Cell::get) {
        account.add(bytes);
    }
}

fn size(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// The system's allocator with accounts.
pub(crate) struct Counting;

// SAFETY: every call is handed to the system's allocator as it came; counting touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(size(layout.size()));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        note(-size(layout.size()));
        // SAFETY: the caller keeps the contract of `dealloc`, and `memory` came from the system's allocator.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new: usize) -> *mut u8 {
        note(size(new) - size(layout.size()));
        // SAFETY: the caller keeps the contract of `realloc`, and `memory` came from the system's allocator.
        unsafe { System.realloc(memory, layout, new) }
    }
}
