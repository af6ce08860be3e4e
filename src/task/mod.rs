//! Tasks: what a worker polls.
//!
//! A task is a future in a cell of its own, a slot in its worker's table and a place in the run queue. It
//! never leaves the thread that spawned it; the only thing of it that other threads ever touch is the
//! *handle*, 64 bits of plain data, through `wake`.
//!
//! ```text
//!             spawn                     poll: Ready, panic, or cancelled
//!   (nothing) ─────► Pending ─► Polling ───────────────────────────────► Finished ─► Taken
//!                       ▲          │                                     (output)   (joined)
//!                       └──────────┘ poll: Pending
//! ```
//!
//! Who may touch what: `cell.rs` holds future and output behind a phase that only the owning thread reads
//! and writes; `table.rs` holds slots and the run queue and never runs foreign code while it borrows them;
//! `chain.rs` joins two futures without moving either; `waker.rs` turns a handle into a `Waker`; `scoped.rs` lends a worker's table to the wakers that are
//! woken while that worker runs.
//!
//! A handle may outlive its task. A stale wake finds another generation, or at worst polls the slot's next
//! tenant once more than needed; nothing is ever freed under it.

mod beside;
mod cell;
mod chain;
mod ends;
pub(crate) mod histogram;
mod join;
mod pool;
mod published;
mod scoped;
mod table;
mod timing;
mod view;
mod waker;

pub use self::{
    beside::Beside,
    join::{AbortHandle, JoinHandle, TaskId},
};
pub(crate) use self::{
    chain::{Chain, Next},
    pool::{Pool, Started},
    published::Published,
    scoped::Scoped,
    table::{ROOT_SLOT, Tasks},
    timing::system_now,
    view::{State, TaskView},
    waker::{handle_of, waker},
};
