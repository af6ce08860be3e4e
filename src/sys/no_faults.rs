//! What stands in for `faults.rs` in a build without `--cfg wakering_faults`: nothing, at no cost.

use std::io;
use std::os::fd::BorrowedFd;

use super::call::Call;
use super::event::Interest;

/// Whether this build injects faults.
pub const ON: bool = false;

/// Does nothing in this build.
pub fn refuse(_percent: u32) {}

/// Never fails a call in the kernel's place.
#[inline(always)]
pub(super) fn before(_: Call) -> io::Result<()> {
    Ok(())
}

/// Leaves the kernel's answer as it is.
#[inline(always)]
pub(super) fn after<T>(_: Call, answer: io::Result<T>) -> io::Result<T> {
    answer
}

/// Never refuses a try.
#[inline(always)]
pub(super) fn would_block(_: Call, _: BorrowedFd<'_>) -> io::Result<()> {
    Ok(())
}

/// How many bytes of `length` to ask for or to offer: all.
#[inline(always)]
pub(super) fn shorten(_: BorrowedFd<'_>, length: usize) -> usize {
    length
}

/// How many of `count` messages, buffers or events to ask for or to offer: all.
#[inline(always)]
pub(super) fn fewer(_: BorrowedFd<'_>, count: usize) -> usize {
    count
}

/// Remembers nothing of a registration.
#[inline(always)]
pub(super) fn registered(_: BorrowedFd<'_>, _: Interest) {}

/// Owes no descriptor an edge.
#[inline(always)]
pub(super) fn settle(_: BorrowedFd<'_>) -> Option<Interest> {
    None
}
