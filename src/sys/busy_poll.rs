//! Having the kernel poll network devices from within a wait.

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
use unsupported as system;

pub(crate) use system::busy_poll;

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::mem;
    use std::os::fd::{AsRawFd, BorrowedFd};

    use crate::sys::call::{Call, cvt};

    /// Has waits of an epoll descriptor poll the devices of its sockets for so many microseconds, and take so many
    /// packets at a time (`EPIOCSPARAMS` of ioctl_eventpoll(2), Linux 6.9).
    ///
    /// # Errors
    ///
    /// `ENOTTY` where the kernel is older, `EPERM` for more than 64 packets without `CAP_NET_ADMIN`.
    pub(crate) fn busy_poll(selector: BorrowedFd<'_>, micros: u32, packets: u16) -> io::Result<()> {
        // SAFETY: the struct is integers and padding, for which all zeroes is a value; the padding has to be zero.
        let mut params: libc::epoll_params = unsafe { mem::zeroed() };
        params.busy_poll_usecs = micros;
        params.busy_poll_budget = packets;
        params.prefer_busy_poll = 1;
        // SAFETY: the descriptor is open, being borrowed, and the pointer is to the struct that this request reads.
        cvt(Call::BusyPoll, || unsafe {
            libc::ioctl(selector.as_raw_fd(), libc::EPIOCSPARAMS, &raw const params)
        })?;
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
mod unsupported {
    use std::io;
    use std::os::fd::BorrowedFd;

    /// Busy polling is not offered on this system.
    ///
    /// # Errors
    ///
    /// Always `Unsupported`.
    pub(crate) fn busy_poll(_selector: BorrowedFd<'_>, _micros: u32, _packets: u16) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "busy polling within a wait"))
    }
}
