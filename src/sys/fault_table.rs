//! Which errors the kernel may answer to which call: what `faults.rs` chooses from. Sources: the pages of section 2.
//!
//! An error is *hidden* if no caller of this crate may ever see it: the crate tries again, waits, or does without.
//! It is *shown* if the caller is told of it, since nobody can help but he. (`WouldBlock` is in neither list: it may be
//! had nearly wherever `attempt` is; `faults.rs` says why.)

use libc::c_int;

use super::call::Call;

/// The errors that are tried again, waited out or done without.
pub(super) fn hidden(call: Call) -> &'static [c_int] {
    match call {
        // A connection that died in the queue; no memory for a moment, which is waited out.
        Call::Accept => &[libc::EINTR, libc::ECONNABORTED, libc::ENOBUFS, libc::ENOMEM],
        Call::Read
        | Call::Recv
        | Call::RecvMany
        | Call::RecvMessage
        | Call::Send
        | Call::SendMany
        | Call::SendMessage => &[libc::EINTR],
        Call::Ring | Call::Wait => &[libc::EINTR],
        // A counter that is full: the ringer makes room.
        Call::RingCounter => &[libc::EINTR, libc::EAGAIN],
        // A filter refuses the call from now on, as seccomp(2) may at any time.
        Call::BusyPoll => &[libc::ENOTTY],
        Call::WaitFine => &[libc::EINTR, libc::EINTR, libc::EINTR, libc::ENOSYS],
        Call::Alarm
        | Call::Bind
        | Call::Change
        | Call::Connect
        | Call::Deregister
        | Call::Doorbell
        | Call::Duplicate
        | Call::Flags
        | Call::GetOption
        | Call::InterfaceIndex
        | Call::Listen
        | Call::LocalAddr
        | Call::Lock
        | Call::Look
        | Call::PeerAddr
        | Call::Pin
        | Call::Pipe
        | Call::Register
        | Call::Renew
        | Call::Selector
        | Call::SetAlarm
        | Call::SetOption
        | Call::Shutdown
        | Call::SignalAction
        | Call::Socket => &[],
    }
}

/// The error that stands for "it has been begun or done all the same": of connect(2), which an interruption does not
/// stop, and of kevent(2), which has applied its changes by then.
pub(super) fn afterwards(call: Call) -> Option<c_int> {
    matches!(call, Call::Connect | Call::Change).then_some(libc::EINTR)
}

/// The errors that a caller is told of.
pub(super) fn shown(call: Call) -> &'static [c_int] {
    match call {
        // The listener turns a connection away rather than spin: its peer sees the end.
        Call::Accept | Call::Duplicate | Call::Pipe => &[libc::EMFILE, libc::ENFILE],
        Call::Socket => &[libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM],
        Call::Alarm | Call::Doorbell | Call::Selector => &[libc::EMFILE, libc::ENFILE, libc::ENOMEM],
        Call::Bind | Call::Listen => &[libc::EADDRINUSE, libc::ENOBUFS],
        Call::Connect => &[libc::EADDRNOTAVAIL, libc::ENETUNREACH, libc::ENOBUFS],
        Call::GetOption | Call::LocalAddr | Call::PeerAddr | Call::SetOption => &[libc::ENOBUFS],
        Call::Recv | Call::RecvMany | Call::RecvMessage => &[libc::ENOMEM],
        Call::Register => &[libc::ENOMEM, libc::ENOSPC],
        Call::Change => &[libc::ENOMEM],
        Call::Send | Call::SendMany | Call::SendMessage => &[libc::ENOBUFS, libc::ENOMEM],
        Call::Deregister
        | Call::Flags
        | Call::InterfaceIndex
        | Call::Lock
        | Call::Look
        | Call::Pin
        | Call::Read
        | Call::Renew
        | Call::Ring
        | Call::RingCounter
        | Call::SetAlarm
        | Call::Shutdown
        | Call::SignalAction
        | Call::Wait
        | Call::BusyPoll
        | Call::WaitFine => &[],
    }
}

/// Whether a try may say `WouldBlock` although there is something.
pub(super) fn may_block_early(call: Call) -> bool {
    call != Call::Accept
}

/// Numbers that look random and come again with the same seed (SplitMix64).
#[derive(Clone, Copy, Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of the numbers below `bound`, which is not zero.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True in so many of a hundred cases.
    pub(super) fn falls(&mut self, percent: u32) -> bool {
        self.below(100) < percent as usize
    }

    /// One of the list, or none if it is empty.
    pub(super) fn pick(&mut self, errors: &[c_int]) -> Option<c_int> {
        if errors.is_empty() { None } else { Some(errors[self.below(errors.len())]) }
    }

    /// Less than `length`, which is two or more, and not nothing: often one, or all but one.
    pub(super) fn shorter_than(&mut self, length: usize) -> usize {
        match self.below(4) {
            0 => 1,
            1 => length - 1,
            2 => length.div_ceil(2).min(length - 1),
            _ => 1 + self.below(length - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_is_both_hidden_and_shown() {
        for call in [Call::Accept, Call::Recv, Call::Send, Call::RingCounter, Call::WaitFine, Call::Socket] {
            assert!(hidden(call).iter().all(|error| !shown(call).contains(error)), "{call:?}");
        }
    }

    #[test]
    fn what_does_not_move_bytes_is_not_interrupted_before_it_is_begun() {
        assert_eq!(afterwards(Call::Connect), Some(libc::EINTR));
        assert_eq!(afterwards(Call::Recv), None);
        assert!(!hidden(Call::Connect).contains(&libc::EINTR));
    }

    #[test]
    fn an_empty_queue_of_connections_is_never_pretended() {
        assert!(!may_block_early(Call::Accept) && may_block_early(Call::Recv));
    }

    #[test]
    fn one_seed_gives_one_course() {
        let (mut one, mut other) = (Dice(7), Dice(7));
        assert!((0..100).all(|_| one.next() == other.next()));
    }

    #[test]
    fn a_shortened_length_is_never_zero_and_never_whole() {
        let mut dice = Dice(1);
        for length in 2..200 {
            let shorter = dice.shorter_than(length);
            assert!(0 < shorter && shorter < length, "{shorter} of {length}");
        }
        assert!(!dice.falls(0) && dice.falls(100));
        assert_eq!(dice.pick(&[]), None);
    }
}
