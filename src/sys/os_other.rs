//! systems of the third tier, the least that they share: constants of the socket layer, and `errno`; `os_linux.rs` says what each means.

#[cfg(any(target_os = "illumos", target_os = "solaris"))]
pub(super) use libc::___errno as errno_location;
#[cfg(not(any(target_os = "illumos", target_os = "solaris", target_os = "haiku")))]
pub(super) use libc::__errno_location as errno_location;
#[cfg(target_os = "haiku")]
pub(super) use libc::_errnop as errno_location;
use libc::c_int;

pub(super) const SEND_FLAGS: c_int = libc::MSG_NOSIGNAL;
pub(super) const REUSE_PORT: Option<c_int> = None;
pub(super) const KEEPALIVE_IDLE: Option<c_int> = None;
pub(super) const LINGER: c_int = libc::SO_LINGER;
pub(super) const ACCEPT_AGAIN: &[c_int] = &[libc::ECONNABORTED];
