//! [`Table`]: worker ids of the process, and the mailbox behind each of them.
//!
//! An id's [`Entry`] is made when the id is first needed and never freed; later runtimes use it again, the
//! lowest free id first. So a waker that outlived its runtime finds a mailbox, whose generations know that
//! its task is gone. What an entry keeps between runtimes are its lanes, its overflow and four bytes a slot;
//! everything else dies with the runtime.

use std::fmt;
use std::sync::OnceLock;

use crate::limits::{LANES_BEYOND_WORKERS, WORKERS_MAX};
use crate::sync::{AtomicBool, AtomicU32, Ordering};
use crate::sys::Bell;
use crate::wake::door::Doorbell;
use crate::wake::lanes::Lane;
use crate::wake::mailbox::{Bounds, Mailbox, WakeStats};
use crate::wake::threads;

/// The table of this process.
static TABLE: Table = Table::new();

/// Claims the lowest free worker id of the process.
///
/// # Errors
///
/// [`TableFull`] when all of them are in use.
pub fn claim() -> Result<&'static Entry, TableFull> {
    TABLE.claim()
}

/// The entry of a worker id, if that id was ever claimed.
#[inline]
pub fn entry(worker: u16) -> Option<&'static Entry> {
    TABLE.entry(worker)
}

/// Says that no worker id is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("all {0} worker ids of this process are in use")]
pub struct TableFull(usize);

/// Entries by worker id.
#[derive(Debug)]
pub struct Table<B = Bell, const IDS: usize = WORKERS_MAX> {
    entries: [OnceLock<Box<Entry<B>>>; IDS],
}

impl<B: Doorbell, const IDS: usize> Table<B, IDS> {
    /// Makes a table without entries.
    pub const fn new() -> Table<B, IDS> {
        const { assert!(IDS <= WORKERS_MAX) };
        Table { entries: [const { OnceLock::new() }; IDS] }
    }

    /// Claims the lowest free id.
    ///
    /// # Errors
    ///
    /// [`TableFull`] when all ids are in use.
    pub fn claim(&'static self) -> Result<&'static Entry<B>, TableFull> {
        self.claim_with(Bounds::default())
    }

    /// Claims the lowest free id; an entry that has to be made for it gets these bounds.
    ///
    /// # Errors
    ///
    /// [`TableFull`] when all ids are in use.
    pub fn claim_with(&'static self, bounds: Bounds) -> Result<&'static Entry<B>, TableFull> {
        for (id, entry) in (0_u16..).zip(&self.entries) {
            let entry = entry.get_or_init(|| Box::new(Entry::new(id, bounds)));
            // PAIRS: the Release store in `Entry::release`: this owner goes on where the last one stopped.
            if entry.claimed.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                // Relaxed: written by owners, one after the other; who compares epochs got his from one of
                // them.
                entry.epoch.fetch_add(1, Ordering::Relaxed);
                return Ok(entry);
            }
        }
        Err(TableFull(IDS))
    }

    /// The entry of an id that was claimed at least once.
    #[inline]
    pub fn entry(&'static self, worker: u16) -> Option<&'static Entry<B>> {
        self.entries.get(usize::from(worker))?.get().map(Box::as_ref)
    }

    /// How many ids were ever in use at a time: they are given out lowest first.
    fn made(&self) -> usize {
        self.entries.iter().take_while(|entry| entry.get().is_some()).count()
    }
}

impl<B: Doorbell, const IDS: usize> Default for Table<B, IDS> {
    fn default() -> Table<B, IDS> {
        Table::new()
    }
}

/// What belongs to a worker id: a mailbox that outlives every runtime.
pub struct Entry<B = Bell> {
    worker: u16,
    /// Whether a runtime has the id.
    claimed: AtomicBool,
    epoch: AtomicU32,
    mailbox: Mailbox<B>,
}

impl<B: Doorbell> Entry<B> {
    fn new(worker: u16, bounds: Bounds) -> Entry<B> {
        let claimed = AtomicBool::new(false);
        Entry { worker, claimed, epoch: AtomicU32::new(0), mailbox: Mailbox::new(bounds) }
    }

    /// The id.
    #[inline]
    pub fn worker(&self) -> u16 {
        self.worker
    }

    /// How often the id was claimed, modulo 2³²: tells the runtimes apart that used it one after the other.
    pub fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// The mailbox, for wakers that bring their own lane.
    #[inline]
    pub fn mailbox(&self) -> &Mailbox<B> {
        &self.mailbox
    }

    /// Hangs up the bell that ends the owner's sleep.
    pub fn open(&self, bell: B) {
        self.mailbox.open(bell);
    }

    /// Takes the bell down; on return nobody rings it any more, so that the selector may be closed.
    pub fn close(&self) {
        self.mailbox.close();
    }

    /// As [`Entry::close`], in a forked child, where nobody but the calling thread has come along.
    pub fn forsake(&self) {
        self.mailbox.forsake();
    }

    /// Gives the id back to the table, for the next runtime. After [`Entry::close`].
    pub fn release(&self) {
        // PAIRS: the Acquire exchange in `Table::claim_with`.
        self.claimed.store(false, Ordering::Release);
    }

    /// Makes the remote word of `slot` exist and returns its generation.
    ///
    /// # Panics
    ///
    /// If `slot` is not below `limits::SLOTS_MAX`.
    #[inline]
    pub fn ensure_slot(&self, slot: u32) -> u32 {
        self.mailbox.ensure_slot(slot)
    }

    /// Makes all handles to `slot` stale and returns its new generation. For the owner.
    #[inline]
    pub fn retire_slot(&self, slot: u32) -> u32 {
        self.mailbox.retire_slot(slot)
    }

    /// Ends the owner's sleep, for those who put something elsewhere that the owner looks at before it
    /// sleeps.
    #[inline]
    pub fn notify(&self) {
        self.mailbox.notify();
    }

    /// Takes what is there now and calls `each` once for every woken slot. For the owner. See
    /// [`Mailbox::drain`].
    #[inline]
    pub fn drain(&self, each: impl FnMut(u32)) -> usize {
        self.mailbox.drain(each)
    }

    /// Whether [`Entry::drain`] would find something. For the owner.
    #[inline]
    pub fn has_work(&self) -> bool {
        self.mailbox.has_work()
    }

    /// Declares that the owner goes to sleep; `false` when it must not. See [`Mailbox::park`].
    #[inline]
    pub fn park(&self, also: impl FnOnce() -> bool) -> bool {
        self.mailbox.park(also)
    }

    /// Whether the owner sleeps and nobody has rung for it. A hint for others.
    pub fn is_parked(&self) -> bool {
        self.mailbox.is_parked()
    }

    /// Ends the sleep that [`Entry::park`] declared, whatever ended it. For the owner.
    #[inline]
    pub fn unpark(&self) {
        self.mailbox.unpark();
    }

    /// What happened at this entry since it was made.
    pub fn stats(&self) -> WakeStats {
        self.mailbox.stats()
    }
}

impl Entry {
    /// Wakes a task of this worker from any thread, the owner's included.
    ///
    /// Never blocks, never fails, and allocates only when this thread claims its lane. A stale handle, or one
    /// whose runtime is gone, does nothing.
    #[inline]
    pub fn wake(&'static self, slot: u32, generation: u32) {
        let claim = || self.claim_lane();
        threads::with_lane(self.worker, claim, |lane| self.mailbox.wake(slot, generation, lane));
    }

    #[cold]
    fn claim_lane(&'static self) -> Option<Lane<'static>> {
        self.mailbox.claim_lane(TABLE.made() + LANES_BEYOND_WORKERS)
    }
}

impl<B> fmt::Debug for Entry<B> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Entry")
            .field("worker", &self.worker)
            .field("epoch", &self.epoch.load(Ordering::Relaxed))
            .field("mailbox", &self.mailbox)
            .finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn table<const IDS: usize>() -> &'static Table<Bell, IDS> {
        Box::leak(Box::new(Table::new()))
    }

    #[test]
    fn the_lowest_free_id_is_given_out_and_its_epoch_grows() {
        let table = table::<3>();
        let first = table.claim().unwrap();
        let second = table.claim().unwrap();
        assert_eq!((first.worker(), second.worker()), (0, 1));
        let epoch = first.epoch();
        first.release();
        let again = table.claim().unwrap();
        assert_eq!((again.worker(), again.epoch()), (0, epoch + 1));
        assert_eq!(table.made(), 2);
    }

    #[test]
    fn a_full_table_is_an_error() {
        let table = table::<2>();
        let _held = [table.claim().unwrap(), table.claim().unwrap()];
        let error = table.claim().unwrap_err();
        assert_eq!(error.to_string(), "all 2 worker ids of this process are in use");
    }

    #[test]
    fn an_entry_outlives_its_runtime_and_knows_that_tasks_are_gone() {
        let table = table::<1>();
        let inbox = table.claim().unwrap();
        let entry = table.entry(0).unwrap();
        let generation = inbox.ensure_slot(0);
        inbox.retire_slot(0);
        inbox.release();
        entry.mailbox().wake(0, generation, None);
        let inbox = table.claim().unwrap();
        assert!(!inbox.has_work());
        assert_ne!(inbox.ensure_slot(0), generation);
    }

    #[test]
    fn an_unknown_id_has_no_entry() {
        let table = table::<2>();
        assert!(table.entry(0).is_none());
        let _inbox = table.claim().unwrap();
        assert!(table.entry(0).is_some());
        assert!(table.entry(1).is_none());
        assert!(table.entry(u16::MAX).is_none());
    }
}
