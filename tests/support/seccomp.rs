//! A kernel that refuses calls, as the filters of containers do: for the calling thread and those that it starts.

use std::{io, ops::RangeInclusive};

/// Lets the system refuse the calls of these numbers, but for `spared`, with this error, from now on.
pub(crate) fn refuse(
    numbers: RangeInclusive<libc::c_long>,
    spared: Option<libc::c_long>,
    errno: libc::c_int,
) {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
    const IF_BEYOND: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
    const ANSWER: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let (first, last) = (*numbers.start() as u32, *numbers.end() as u32);
    let spared = spared.map_or(u32::MAX, |number| number as u32);
    // The call's number is the first word of what a filter sees. Jumps count the instructions that they leave out.
    let mut filter = [
        libc::sock_filter { code: LOAD, jt: 0, jf: 0, k: 0 },
        libc::sock_filter { code: IF_AT_LEAST, jt: 0, jf: 3, k: first },
        libc::sock_filter { code: IF_BEYOND, jt: 2, jf: 0, k: last },
        libc::sock_filter { code: IF_EQUAL, jt: 1, jf: 0, k: spared },
        libc::sock_filter { code: ANSWER, jt: 0, jf: 0, k: libc::SECCOMP_RET_ERRNO | errno as u32 },
        libc::sock_filter { code: ANSWER, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the call takes numbers; it only forbids this thread to gain privileges.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: the pointer is to a program that outlives the call, which copies it.
    let set =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program, 0, 0) };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}
