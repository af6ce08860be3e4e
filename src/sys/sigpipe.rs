//! `SIGPIPE`, from the calls that cannot be told not to raise it.

use std::{io, mem, ptr};

use super::call::{Call, cvt};

/// Whether a write to a closed connection would end the process, unless the call itself refuses the signal. splice(2) and
/// sendfile(2) cannot; Rust programs ignore the signal unless they were told otherwise.
pub(crate) fn kills() -> io::Result<bool> {
    // SAFETY: sigaction is integers, nullable function pointers and a signal set, for which all zeros is a value.
    let mut present: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: a null action changes nothing; the present one is written to this stack.
    cvt(Call::SignalAction, || unsafe { libc::sigaction(libc::SIGPIPE, ptr::null(), &raw mut present) })?;
    Ok(present.sa_sigaction == libc::SIG_DFL)
}
