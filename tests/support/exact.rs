//! For tests that assert what a single system call does: in a build whose calls fail on demand they cannot hold.

use std::io::{self, Write};
use std::thread;

/// Whether calls may fail on demand here (`tests/faults`). Then the running test says that it did not run, and returns.
pub(crate) fn calls_may_fail() -> bool {
    if wakering::internals::faults::ON {
        let name = thread::current().name().unwrap_or("a test").to_owned();
        let line =
            format!("SKIPPED: {name}: it asserts what single calls do, and here they fail on demand\n");
        io::stderr().write_all(line.as_bytes()).expect("standard error is open");
    }
    wakering::internals::faults::ON
}
