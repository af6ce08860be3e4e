//! The three calls of epoll, and nothing between them and the caller.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

pub const IN: u32 = libc::EPOLLIN as u32;
pub const OUT: u32 = libc::EPOLLOUT as u32;
pub const PEER_CLOSED: u32 = (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;
pub const EDGE: u32 = libc::EPOLLET as u32;
const RDHUP: u32 = libc::EPOLLRDHUP as u32;

/// Events taken from the kernel in one call.
const CAPACITY: usize = 1024;

/// An epoll instance with its event buffer.
pub struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Epoll {
    /// Creates an instance.
    pub fn new() -> io::Result<Epoll> {
        // SAFETY: takes no pointer.
        let raw = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `raw` was made above and has no other owner.
        let fd = unsafe { OwnedFd::from_raw_fd(raw) };
        Ok(Epoll { fd, events: Vec::with_capacity(CAPACITY) })
    }

    /// Registers `fd` for `interest`; its events carry `key`.
    pub fn add(&self, fd: RawFd, interest: u32, key: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest | RDHUP, u64: key };
        // SAFETY: `event` lives through the call; a bad descriptor is an error value.
        let result = unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits; `None` waits for ever. An interrupted wait has no events.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let milliseconds = timeout.map_or(-1, |limit| limit.as_millis().try_into().unwrap_or(i32::MAX));
        self.events.clear();
        // SAFETY: the buffer has room for CAPACITY events, and only that many are asked for.
        let count = unsafe {
            libc::epoll_wait(self.fd.as_raw_fd(), self.events.as_mut_ptr(), CAPACITY as i32, milliseconds)
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
        }
        // SAFETY: the kernel wrote `count` events, at most CAPACITY.
        unsafe { self.events.set_len(count as usize) };
        Ok(())
    }

    /// Number of events of the last wait.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Tells whether the last wait brought nothing.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Key and readiness of event `index` of the last wait.
    pub fn event(&self, index: usize) -> (u64, u32) {
        let event = self.events[index];
        (event.u64, event.events)
    }
}
