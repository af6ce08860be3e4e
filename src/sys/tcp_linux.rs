//! Linux and Android: TCP options that not every system has. tcp(7), socket(7).

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use libc::c_int;

use super::options::{self, Plain};
use super::tcp::Info;

/// Seconds between two keep-alive probes.
pub(super) const KEEPALIVE_INTERVAL: Option<c_int> = Some(libc::TCP_KEEPINTVL);
/// Probes without an answer after which the connection is given up.
pub(super) const KEEPALIVE_PROBES: Option<c_int> = Some(libc::TCP_KEEPCNT);
/// Acknowledging at once; it does not last.
pub(super) const QUICK_ACK: Option<c_int> = Some(libc::TCP_QUICKACK);
/// Milliseconds that sent bytes may wait for their acknowledgement.
pub(super) const USER_TIMEOUT: Option<c_int> = Some(libc::TCP_USER_TIMEOUT);
/// Unsent bytes below which the socket counts as writable.
pub(super) const NOT_SENT_LOW: Option<c_int> = Some(libc::TCP_NOTSENT_LOWAT);
/// A mark for the routing and the firewall.
pub(super) const MARK: Option<c_int> = Some(libc::SO_MARK);
/// A listener's: how many connections that sent data in their SYN may wait.
pub(super) const FAST_OPEN: Option<c_int> = Some(libc::TCP_FASTOPEN);
/// A client's: the first write goes with the SYN.
pub(super) const FAST_OPEN_CONNECT: Option<c_int> = Some(libc::TCP_FASTOPEN_CONNECT);

/// The front of `struct tcp_info`: eight octets of states and flags, then 32-bit numbers. It only ever grew at its end,
/// and the kernel writes as much as there is room for.
#[repr(C)]
#[derive(Clone, Copy)]
struct Raw {
    states: [u8; 8],
    words: [u32; 24],
}

impl Plain for Raw {}

/// What the kernel measures (`TCP_INFO`).
pub(crate) fn info(fd: BorrowedFd<'_>) -> io::Result<Info> {
    let empty = Raw { states: [0; 8], words: [0; 24] };
    let raw = options::get(fd, libc::IPPROTO_TCP, libc::TCP_INFO, empty)?;
    let word = |at: usize| raw.words[at];
    Ok(Info {
        segment_size: word(2),
        unacknowledged: word(4),
        rtt: Duration::from_micros(u64::from(word(15))),
        rtt_variation: Duration::from_micros(u64::from(word(16))),
        congestion_window: word(18),
        retransmits: word(23),
    })
}
