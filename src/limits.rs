//! Every bound of the crate, each with its reason.
//!
//! A queue, table, loop or list anywhere in the crate takes its limit from here, so that a reader finds
//! in one place what the process can grow to. Relations between bounds are asserted at compile time.

// Sections, one per module: keep them in the order of the floors.
