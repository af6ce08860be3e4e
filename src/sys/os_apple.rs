//! macOS and its kin, where the socket itself is told not to raise `SIGPIPE`: constants of the socket layer, and `errno`; `os_linux.rs` says what each means.

pub(super) use libc::__error as errno_location;
use libc::c_int;

pub(super) const SEND_FLAGS: c_int = 0;
pub(super) const REUSE_PORT: Option<c_int> = Some(libc::SO_REUSEPORT);
pub(super) const KEEPALIVE_IDLE: Option<c_int> = Some(libc::TCP_KEEPALIVE);
pub(super) const LINGER: c_int = libc::SO_LINGER_SEC;
pub(super) const ACCEPT_AGAIN: &[c_int] = &[libc::ECONNABORTED];
