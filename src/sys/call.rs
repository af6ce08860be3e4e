//! The two habits of every system call: −1 means "look at `errno`", and `EINTR` means "again".

use std::io;

/// The integer types that system calls answer with.
pub(crate) trait Answer: Copy {
    /// Whether the call failed and `errno` says why.
    fn is_failure(self) -> bool;
}

impl Answer for libc::c_int {
    fn is_failure(self) -> bool {
        self == -1
    }
}

impl Answer for libc::ssize_t {
    fn is_failure(self) -> bool {
        self == -1
    }
}

/// Turns a call's answer into a `Result`, with `errno` as the error. Nothing may come between call and `cvt`.
pub(crate) fn cvt<T: Answer>(answer: T) -> io::Result<T> {
    if answer.is_failure() { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// Makes a call again for as long as a signal interrupts it.
///
/// Not for `close`, `connect` and waits: the first has already let the descriptor go, the second goes on by itself,
/// and the time left of a wait has to be reckoned anew.
pub(crate) fn retry<T: Answer>(mut call: impl FnMut() -> T) -> io::Result<T> {
    loop {
        match cvt(call()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
