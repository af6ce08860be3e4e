//! The lanes that this thread holds, one for each worker that it wakes often.
//!
//! A thread counts its wakes of a worker; at the [`WAKES_BEFORE_LANE`]th it claims a lane, and it keeps that
//! until it ends: the lanes live in a thread-local whose destructor gives them back. While that destructor
//! runs and ever after, wakes go through the overflow (other thread-locals may hold wakers and drop them
//! late). The counts are in a thread-local without a destructor: a thread that wakes now and then registers
//! none, and allocates nothing.
//!
//! Claiming comes before anything else in a wake, since it may allocate: between the setting of the notified
//! bit and the push nothing may.

use std::cell::{Cell, RefCell};

use crate::limits::WAKES_BEFORE_LANE;
use crate::wake::lanes::Lane;

/// Workers share a counter when their ids are equal modulo this; a thread then claims some wakes too early.
const COUNTERS: usize = 64;

thread_local! {
    static WAKES: [Cell<u8>; COUNTERS] = const { [const { Cell::new(0) }; COUNTERS] };
    static OVERFLOW_ONLY: Cell<bool> = const { Cell::new(false) };
    /// By worker id.
    static LANES: RefCell<Vec<Option<Lane<'static>>>> = const { RefCell::new(Vec::new()) };
}

/// Keeps this thread from ever claiming a lane: for the threads of a pool, which are many and wake one task
/// each.
pub fn use_overflow_only() {
    OVERFLOW_ONLY.set(true);
}

/// Calls `wake` once, with this thread's lane into `worker` if it has one, or is due for one and `claim`
/// grants it.
#[inline]
pub(super) fn with_lane(
    worker: u16,
    claim: impl FnOnce() -> Option<Lane<'static>>,
    wake: impl FnOnce(Option<&mut Lane<'static>>),
) {
    if !wakes_often(worker) {
        return wake(None);
    }
    let mut wake = Some(wake);
    // Fails during and after the destruction of this thread's locals.
    let _ = LANES.try_with(|lanes| {
        // Fails only when an allocation in here wakes a task itself.
        let Ok(mut lanes) = lanes.try_borrow_mut() else { return };
        let lane = lane_into(&mut lanes, worker, claim);
        if let Some(wake) = wake.take() {
            wake(lane);
        }
    });
    if let Some(wake) = wake {
        wake(None);
    }
}

/// Counts a wake of `worker` and says whether this thread should have a lane there.
#[inline]
fn wakes_often(worker: u16) -> bool {
    WAKES.with(|wakes| {
        let wakes = &wakes[usize::from(worker) % COUNTERS];
        if wakes.get() < WAKES_BEFORE_LANE {
            wakes.set(wakes.get() + 1);
        }
        wakes.get() == WAKES_BEFORE_LANE && !OVERFLOW_ONLY.get()
    })
}

/// The lane into `worker`, claimed if this thread has none yet.
#[inline]
fn lane_into<'a>(
    lanes: &'a mut Vec<Option<Lane<'static>>>,
    worker: u16,
    claim: impl FnOnce() -> Option<Lane<'static>>,
) -> Option<&'a mut Lane<'static>> {
    let index = usize::from(worker);
    if lanes.get(index).is_none_or(Option::is_none) {
        let Some(lane) = claim() else {
            // All lanes are taken: no second try before as many wakes again.
            WAKES.with(|wakes| wakes[index % COUNTERS].set(0));
            return None;
        };
        if lanes.len() <= index {
            lanes.resize_with(index + 1, || None);
        }
        lanes[index] = Some(lane);
    }
    lanes.get_mut(index)?.as_mut()
}
