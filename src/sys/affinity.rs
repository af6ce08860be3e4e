//! Binding a worker's thread to one processor, and keeping the threads that it starts from being bound with it.

#[cfg(any(target_os = "linux", target_os = "android"))]
use linux as system;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use unsupported as system;

pub(crate) use system::Processors;
pub use system::pin_to_cpu;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use std::cell::Cell;
    use std::io;
    use std::mem;

    use crate::sys::call::{Call, cvt};

    thread_local! {
        /// What this thread was allowed before it was bound.
        static FORMER: Cell<Option<libc::cpu_set_t>> = const { Cell::new(None) };
    }

    /// Binds the calling thread to the processor with this number (`sched_setaffinity(2)`).
    ///
    /// # Errors
    ///
    /// `EINVAL` for a processor that does not exist or that this process may not use.
    pub fn pin_to_cpu(cpu: usize) -> io::Result<()> {
        if cpu >= libc::CPU_SETSIZE as usize {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        // Where more processors are possible than a set holds, there is none to go back to.
        let former = FORMER.get().or_else(|| allowed().ok());
        let mut set = empty();
        // SAFETY: `CPU_SET` indexes the set's words by `cpu`, which is below `CPU_SETSIZE`.
        unsafe { libc::CPU_SET(cpu, &mut set) };
        allow(&set)?;
        FORMER.set(former);
        Ok(())
    }

    /// The processors for a thread that the calling one starts. The system would give it those of its starter, so that
    /// what is started by a bound thread would be bound, too.
    #[derive(Clone, Copy)]
    pub(crate) struct Processors(Option<libc::cpu_set_t>);

    impl Processors {
        /// To be asked by the thread that starts another.
        pub(crate) fn of_starter() -> Processors {
            Processors(FORMER.get())
        }

        /// To be called by the thread that was started. It remains bound where the system refuses.
        pub(crate) fn apply(self) {
            if let Some(set) = self.0 {
                let _ = allow(&set);
            }
        }
    }

    fn empty() -> libc::cpu_set_t {
        // SAFETY: `cpu_set_t` is an array of integers, for which all zeroes is a value (the empty set).
        unsafe { mem::zeroed() }
    }

    fn allowed() -> io::Result<libc::cpu_set_t> {
        let mut set = empty();
        // SAFETY: the pointer is to a whole `cpu_set_t` of the size given; 0 names the calling thread.
        cvt(Call::Pin, || unsafe { libc::sched_getaffinity(0, mem::size_of_val(&set), &raw mut set) })?;
        Ok(set)
    }

    fn allow(set: &libc::cpu_set_t) -> io::Result<()> {
        // SAFETY: the pointer is to a whole `cpu_set_t` of the size given; 0 names the calling thread.
        cvt(Call::Pin, || unsafe { libc::sched_setaffinity(0, mem::size_of_val(set), set) })?;
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

    /// The processors for a thread that the calling one starts: those of its starter, since none is bound.
    #[derive(Clone, Copy)]
    pub(crate) struct Processors;

    impl Processors {
        pub(crate) fn of_starter() -> Processors {
            Processors
        }

        pub(crate) fn apply(self) {}
    }
}
