//! Wakes across threads, in the plainest form: one queue a worker.

use std::sync::{
    Mutex, OnceLock,
    atomic::{AtomicBool, AtomicI32, Ordering, fence},
};

use crate::sys::Bell;

/// Packs worker (12 bits), slot (24) and generation (28).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handle(u64);

impl Handle {
    pub fn new(worker: u16, slot: u32, generation: u32) -> Self {
        Handle(u64::from(worker) << 52 | u64::from(slot) << 28 | u64::from(generation & 0xfff_ffff))
    }
    pub fn worker(self) -> u16 {
        (self.0 >> 52) as u16
    }
    pub fn slot(self) -> u32 {
        (self.0 >> 28 & 0xff_ffff) as u32
    }
    pub fn generation(self) -> u32 {
        (self.0 & 0xfff_ffff) as u32
    }
    pub fn to_bits(self) -> u64 {
        self.0
    }
    pub fn from_bits(bits: u64) -> Self {
        Handle(bits)
    }
}

/// Every worker id is taken.
#[derive(Debug)]
pub struct TableFull;

/// A worker as other threads see it.
#[derive(Debug)]
pub struct Entry {
    worker: u16,
    used: AtomicBool,
    queue: Mutex<Vec<u32>>,
    parked: AtomicBool,
    bell: AtomicI32,
}

static TABLE: [OnceLock<Entry>; 64] = [const { OnceLock::new() }; 64];

pub fn claim() -> Result<&'static Entry, TableFull> {
    for (worker, place) in TABLE.iter().enumerate() {
        let entry = place.get_or_init(|| Entry {
            worker: worker as u16,
            used: AtomicBool::new(false),
            queue: Mutex::default(),
            parked: AtomicBool::new(false),
            bell: AtomicI32::new(-1),
        });
        if !entry.used.swap(true, Ordering::AcqRel) {
            return Ok(entry);
        }
    }
    Err(TableFull)
}

pub fn entry(worker: u16) -> Option<&'static Entry> {
    TABLE.get(usize::from(worker))?.get()
}

impl Entry {
    pub fn worker(&self) -> u16 {
        self.worker
    }
    pub fn open(&self, bell: Bell) {
        self.bell.store(bell.to_raw(), Ordering::SeqCst);
    }
    pub fn close(&self) {
        self.bell.store(-1, Ordering::SeqCst);
    }
    pub fn release(&self) {
        self.queue.lock().expect("never poisoned").clear();
        self.used.store(false, Ordering::Release);
    }
    pub fn ensure_slot(&self, _slot: u32) -> u32 {
        0
    }
    pub fn retire_slot(&self, _slot: u32) -> u32 {
        0
    }
    pub fn wake(&self, slot: u32, _generation: u32) {
        self.queue.lock().expect("never poisoned").push(slot);
        self.notify();
    }
    pub fn notify(&self) {
        fence(Ordering::SeqCst);
        if self.parked.swap(false, Ordering::AcqRel) {
            let bell = self.bell.load(Ordering::SeqCst);
            if bell >= 0 {
                Bell::from_raw(bell).ring();
            }
        }
    }
    pub fn drain(&self, mut each: impl FnMut(u32)) -> usize {
        let slots = std::mem::take(&mut *self.queue.lock().expect("never poisoned"));
        slots.iter().for_each(|slot| each(*slot));
        slots.len()
    }
    pub fn park(&self, also: impl FnOnce() -> bool) -> bool {
        self.parked.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if !self.queue.lock().expect("never poisoned").is_empty() || also() {
            self.parked.store(false, Ordering::SeqCst);
            return false;
        }
        true
    }
    pub fn unpark(&self) {
        self.parked.store(false, Ordering::SeqCst);
    }
}
