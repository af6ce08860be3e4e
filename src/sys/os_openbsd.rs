//! OpenBSD, which has no idle time per socket: constants of the socket layer, and `errno`; `os_linux.rs` says what each means.

pub(super) use libc::__errno as errno_location;
use libc::c_int;

pub(super) const SEND_FLAGS: c_int = libc::MSG_NOSIGNAL;
pub(super) const REUSE_PORT: Option<c_int> = Some(libc::SO_REUSEPORT);
pub(super) const KEEPALIVE_IDLE: Option<c_int> = None;
pub(super) const LINGER: c_int = libc::SO_LINGER;
pub(super) const ACCEPT_AGAIN: &[c_int] = &[libc::ECONNABORTED];
