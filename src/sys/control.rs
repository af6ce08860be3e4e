//! Control messages, what travels beside the bytes of a datagram: cmsg(3), RFC 3542 §20.
//!
//! A message is a header, padding, the data and padding again; `CMSG_LEN` and `CMSG_SPACE` know this system's padding.
//! Everything else is arithmetic inside an array, and checked: a control buffer that the kernel has cut, or that lies,
//! ends the walk and nothing more.

use std::ffi::c_void;
use std::mem;

use libc::{c_int, c_uint, cmsghdr};

/// Room for all that may come with one datagram: packet information of both families (32 and 40 octets), traffic class
/// of both, segment size (24 each).
const ROOM: usize = 192;

const HEADER: usize = mem::size_of::<cmsghdr>();

/// Header and padding before the data, and the data itself.
const fn length(data: usize) -> usize {
    // SAFETY: pure arithmetic on an integer.
    (unsafe { libc::CMSG_LEN(data as c_uint) }) as usize
}

/// As `length`, and the padding up to the next header.
const fn space(data: usize) -> usize {
    // SAFETY: pure arithmetic on an integer.
    (unsafe { libc::CMSG_SPACE(data as c_uint) }) as usize
}

/// A control buffer, aligned for its headers, which begins with what the kernel reads or fills.
#[repr(C, align(8))]
pub(super) struct Control {
    bytes: [u8; ROOM],
    used: usize,
}

const _: () = assert!(mem::align_of::<cmsghdr>() <= 8);

impl Control {
    /// How much the kernel may fill.
    pub(super) const ROOM: usize = ROOM;

    pub(super) const fn new() -> Control {
        Control { bytes: [0; ROOM], used: 0 }
    }

    pub(super) fn clear(&mut self) {
        self.used = 0;
    }

    /// Adds one message. There is room for every combination that is sent; one more would be left out.
    pub(super) fn push(&mut self, level: c_int, kind: c_int, data: &[u8]) {
        let Some(room) = self.bytes.get_mut(self.used..self.used + space(data.len())) else {
            debug_assert!(false, "the control buffer holds every combination");
            return;
        };
        // SAFETY: cmsghdr is integers only, for which all zeros is a value.
        let mut header: cmsghdr = unsafe { mem::zeroed() };
        header.cmsg_len = length(data.len()) as _;
        header.cmsg_level = level;
        header.cmsg_type = kind;
        room[length(0)..length(data.len())].copy_from_slice(data);
        // SAFETY: `room` is at least as long as a header, and writable; alignment is not asked for.
        unsafe { room.as_mut_ptr().cast::<cmsghdr>().write_unaligned(header) };
        self.used += space(data.len());
    }

    /// Pointer and length of what was pushed, for the kernel to read; null when there is nothing.
    pub(super) fn as_in(&self) -> (*mut c_void, usize) {
        // The kernel only reads through this pointer, which the type of the field does not say.
        let start = self.bytes.as_ptr().cast_mut().cast();
        if self.used == 0 { (std::ptr::null_mut(), 0) } else { (start, self.used) }
    }

    /// Takes over the length that recvmsg(2) left in its header.
    pub(super) fn set_used(&mut self, used: usize) {
        self.used = used.min(ROOM);
    }

    /// Level, type and data of each message.
    pub(super) fn iter(&self) -> Messages<'_> {
        Messages { rest: &self.bytes[..self.used] }
    }
}

/// Walks over a control buffer.
pub(super) struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Messages<'a> {
    type Item = (c_int, c_int, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let head = self.rest.get(..HEADER)?;
        // SAFETY: `head` is as long as a header and initialised, and cmsghdr is integers only; alignment is not asked for.
        let header = unsafe { head.as_ptr().cast::<cmsghdr>().read_unaligned() };
        let whole: usize = header.cmsg_len as _;
        let data = self.rest.get(length(0)..whole)?;
        self.rest = self.rest.get(space(data.len())..).unwrap_or(&[]);
        Some((header.cmsg_level, header.cmsg_type, data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_is_what_is_found() {
        let mut control = Control::new();
        assert_eq!(control.as_in(), (std::ptr::null_mut(), 0));
        control.push(1, 2, &[3]);
        control.push(4, 5, &[6; 20]);
        control.push(7, 8, &[]);
        let found: Vec<_> = control.iter().collect();
        assert_eq!(found, [(1, 2, &[3][..]), (4, 5, &[6; 20]), (7, 8, &[])]);
        control.clear();
        assert_eq!(control.iter().count(), 0);
    }

    #[test]
    fn a_length_that_lies_ends_the_walk() {
        let mut control = Control::new();
        control.push(1, 2, &[3; 4]);
        control.push(4, 5, &[6; 4]);
        for used in 0..space(4) + length(4) {
            control.set_used(used);
            assert!(control.iter().count() <= 1);
        }
        for lie in [0, HEADER - 1, ROOM + 1, usize::MAX] {
            let mut control = Control::new();
            control.push(1, 2, &[3; 4]);
            control.bytes[..8].copy_from_slice(&lie.to_ne_bytes());
            assert!(control.iter().count() <= 1);
        }
    }

    #[test]
    fn the_headers_are_where_the_system_looks_for_them() {
        let mut control = Control::new();
        control.push(1, 2, &[3]);
        control.push(4, 5, &[6; 20]);
        // SAFETY: msghdr is integers and nullable raw pointers, for which all zeros is a value.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        let (start, used) = control.as_in();
        header.msg_control = start;
        header.msg_controllen = used as _;
        // SAFETY: `header` names initialised control data that outlives it.
        let first = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
        assert_eq!(first.cast(), start);
        // SAFETY: `first` is a header inside of what `header` names.
        let second = unsafe { libc::CMSG_NXTHDR(&raw const header, first) };
        assert_eq!(second.addr() - first.addr(), space(1));
        // SAFETY: `second` is a header inside of what `header` names.
        let data = unsafe { libc::CMSG_DATA(second) };
        assert_eq!(data.addr() - second.addr(), length(0));
    }
}
