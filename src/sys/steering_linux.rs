//! Which of several listeners on one port gets a connection: socket(7), `SO_ATTACH_REUSEPORT_CBPF`.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{sock_filter, sock_fprog, socklen_t};

use crate::sys::call::{Call, cvt};

/// Where classic BPF finds the number of the CPU that handles the packet (linux/filter.h, `SKF_AD_OFF + SKF_AD_CPU`).
const CPU: u32 = (-0x1000 + 36_i32) as u32;

/// The n-th listener that joined gets what comes in on CPU n, modulo `listeners`. To be asked of one of them, which speaks
/// for those who join later too.
pub(crate) fn by_cpu(listener: BorrowedFd<'_>, listeners: usize) -> io::Result<()> {
    let listeners = u32::try_from(listeners).unwrap_or(u32::MAX);
    // A = this CPU; A %= listeners; return A.
    let mut program = [
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, CPU),
        instruction(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, listeners),
        instruction(libc::BPF_RET | libc::BPF_A, 0),
    ];
    let program = sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    let length = mem::size_of::<sock_fprog>() as socklen_t;
    let value = (&raw const program).cast();
    // SAFETY: `value` points to a whole `sock_fprog` of that length, which names the instructions on this stack by their
    // number; the kernel copies them before it returns.
    cvt(Call::SetOption, || unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            value,
            length,
        )
    })?;
    Ok(())
}

fn instruction(code: u32, value: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k: value }
}
