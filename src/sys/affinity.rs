//! Binding a worker's thread to one processor.

#[cfg(any(target_os = "linux", target_os = "android"))]
use linux as system;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use unsupported as system;

pub use system::pin_to_cpu;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use std::io;
    use std::mem;

    use crate::sys::call::{Call, cvt};

    /// Binds the calling thread to the processor with this number (`sched_setaffinity(2)`).
    ///
    /// # Errors
    ///
    /// `EINVAL` for a processor that does not exist or that this process may not use.
    pub fn pin_to_cpu(cpu: usize) -> io::Result<()> {
        if cpu >= libc::CPU_SETSIZE as usize {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        // SAFETY: `cpu_set_t` is an array of integers, for which all zeroes is a value (the empty set).
        let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
        // SAFETY: `CPU_SET` indexes the set's words by `cpu`, which is below `CPU_SETSIZE`.
        unsafe { libc::CPU_SET(cpu, &mut set) };
        // SAFETY: the pointer is to a whole `cpu_set_t` of the size given; 0 names the calling thread.
        cvt(Call::Pin, || unsafe { libc::sched_setaffinity(0, mem::size_of_val(&set), &raw const set) })?;
        Ok(())
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod unsupported {
    use std::io;

    /// Binding a thread is not offered on this system.
    ///
    /// # Errors
    ///
    /// Always `Unsupported`.
    pub fn pin_to_cpu(_cpu: usize) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "binding a thread to a processor"))
    }
}
