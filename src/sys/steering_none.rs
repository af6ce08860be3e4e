//! Systems on which nobody chooses which of several listeners on one port gets a connection.

use std::io;
use std::os::fd::BorrowedFd;

/// Not offered on this system: always `Unsupported`.
pub(crate) fn by_cpu(_listener: BorrowedFd<'_>, _listeners: usize) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system does not spread connections by CPU"))
}
