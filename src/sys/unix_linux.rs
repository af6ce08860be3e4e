//! Linux and Android: what is theirs of Unix sockets.

use std::io;
use std::os::fd::BorrowedFd;

use libc::c_int;

use super::options::{self, Plain};
use super::unix::Credentials;

/// Names that are no file's.
pub(super) const ABSTRACT_NAMES: bool = true;
/// Received descriptors are born close-on-exec.
pub(super) const RECV_FLAGS: c_int = libc::MSG_CMSG_CLOEXEC;

/// Control data that is a descriptor, too: a process's (`SO_PASSPIDFD`, Linux 6.5).
pub(super) const SCM_PIDFD: Option<c_int> = Some(4);

impl Plain for libc::ucred {}

/// Who the peer was when it connected, listened or made the pair (`SO_PEERCRED`).
pub(crate) fn credentials(fd: BorrowedFd<'_>) -> io::Result<Credentials> {
    let nobody = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let peer = options::get(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, nobody)?;
    // A process of another PID namespace has no number here.
    Ok(Credentials { uid: peer.uid, gid: peer.gid, pid: (peer.pid > 0).then_some(peer.pid) })
}
