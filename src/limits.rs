//! Every bound of the crate, each with its reason.
//!
//! A queue, table, loop or list anywhere in the crate takes its limit from here, so that a reader finds
//! in one place what the process can grow to. Relations between bounds are asserted at compile time.

// Sections, one per module: keep them in the order of the floors.

// sys

/// The most events that one wait of a selector takes, whatever the caller asks for: the buffer is allocated at once
/// (16 bytes an event), and the kernel's counts are 32 bits wide.
pub(crate) const SELECTOR_EVENTS_MAX: usize = 1 << 16;

/// Buffers handed to one vectored call: `IOV_MAX` is 1,024 on Linux, macOS and the BSDs, and more of
/// them is `EINVAL`. The rest waits for the next call.
pub(crate) const IO_SLICES_MAX: usize = 1024;
