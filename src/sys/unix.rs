//! Unix sockets: what differs from Internet ones. Names, credentials, and descriptors in control data. unix(7), cmsg(3).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use libc::{c_int, cmsghdr, msghdr};

use super::addr::Storage;
use super::call::{Call, attempt, cvt};
use super::socket::{Connect, Kind};
use super::unix_addr::{RawUnixAddr, decode};
use super::unix_os::{RECV_FLAGS, SCM_PIDFD};
use super::{open, os};
use crate::limits::PASSED_DESCRIPTORS_MAX;

pub use super::unix_addr::UnixAddr;
pub(crate) use super::unix_os::credentials;

/// Who the process at the other end is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Credentials {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) pid: Option<i32>,
}

/// What one recvmsg(2) brought.
pub(crate) struct Message {
    pub(crate) len: usize,
    pub(crate) source: UnixAddr,
    pub(crate) descriptors: Vec<OwnedFd>,
    /// A datagram was longer than the buffer, and the rest of it is gone.
    pub(crate) truncated: bool,
    /// Descriptors came for which there was no room. They are gone, and those for which there was.
    pub(crate) descriptors_lost: bool,
}

pub(crate) fn socket(kind: Kind) -> io::Result<OwnedFd> {
    super::socket::socket(libc::AF_UNIX, kind)
}

/// Two connected sockets without names.
pub(crate) fn pair(kind: Kind) -> io::Result<(OwnedFd, OwnedFd)> {
    open::pair(libc::AF_UNIX, kind.raw())
}

pub(crate) fn bind(fd: BorrowedFd<'_>, address: &UnixAddr) -> io::Result<()> {
    let raw = RawUnixAddr::new(address)?;
    let (address, length) = raw.as_in();
    // SAFETY: `address` points to `length` bytes of `raw`, which outlives the call.
    cvt(Call::Bind, || unsafe { libc::bind(fd.as_raw_fd(), address, length) })?;
    Ok(())
}

/// Connects, nearly always at once. `WouldBlock` says that the listener's queue is full, which Linux tells of in no
/// other way, and of whose end it does not tell.
pub(crate) fn connect(fd: BorrowedFd<'_>, address: &UnixAddr) -> io::Result<Connect> {
    let raw = RawUnixAddr::new(address)?;
    let (address, length) = raw.as_in();
    // SAFETY: `address` points to `length` bytes of `raw`, which outlives the call.
    match cvt(Call::Connect, || unsafe { libc::connect(fd.as_raw_fd(), address, length) }) {
        Ok(_) => Ok(Connect::Done),
        Err(error) => match error.raw_os_error() {
            Some(libc::EINPROGRESS | libc::EINTR | libc::EALREADY) => Ok(Connect::InProgress),
            _ => Err(error),
        },
    }
}

/// Takes one connection off the queue.
pub(crate) fn accept(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, UnixAddr)> {
    let mut peer = Storage::new();
    let accepted = open::accept(fd, &mut peer)?;
    Ok((accepted, decode(&peer)))
}

pub(crate) fn local_addr(fd: BorrowedFd<'_>) -> io::Result<UnixAddr> {
    let mut storage = Storage::new();
    let (address, length) = storage.as_out();
    // SAFETY: both pointers come from one exclusive borrow of `storage`, and `length` holds its room.
    cvt(Call::LocalAddr, || unsafe { libc::getsockname(fd.as_raw_fd(), address, length) })?;
    Ok(decode(&storage))
}

pub(crate) fn peer_addr(fd: BorrowedFd<'_>) -> io::Result<UnixAddr> {
    let mut storage = Storage::new();
    let (address, length) = storage.as_out();
    // SAFETY: both pointers come from one exclusive borrow of `storage`, and `length` holds its room.
    cvt(Call::PeerAddr, || unsafe { libc::getpeername(fd.as_raw_fd(), address, length) })?;
    Ok(decode(&storage))
}

/// Sends bytes, with descriptors beside them and to an address, where there are such.
pub(crate) fn send_message(
    fd: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
    target: Option<&UnixAddr>,
) -> io::Result<usize> {
    let target = target.map(RawUnixAddr::new).transpose()?;
    let mut slice = IoSlice::new(bytes);
    let mut control = Control::new();
    let mut header = empty_header();
    if let Some(target) = &target {
        let (name, length) = target.as_in();
        // The kernel only reads through this pointer, which the type of the field does not say.
        header.msg_name = name.cast_mut().cast();
        header.msg_namelen = length;
    }
    header.msg_iov = (&raw mut slice).cast();
    header.msg_iovlen = 1;
    control.put(&mut header, descriptors)?;
    // SAFETY: `header` names `target`, one IoSlice, which has the layout of iovec, and `control`, each with its own
    // length; all of them outlive the call.
    let sent = attempt(Call::SendMessage, fd, || unsafe {
        libc::sendmsg(fd.as_raw_fd(), &raw const header, os::SEND_FLAGS)
    })?;
    Ok(sent.unsigned_abs())
}

/// Receives bytes, with at most so many descriptors beside them.
pub(crate) fn recv_message(
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
    descriptors: usize,
    flags: c_int,
) -> io::Result<Message> {
    let mut source = Storage::new();
    let mut slice = IoSliceMut::new(buffer);
    let mut control = Control::new();
    let mut header = empty_header();
    let (name, room) = source.as_name();
    header.msg_name = name;
    header.msg_iov = (&raw mut slice).cast();
    header.msg_iovlen = 1;
    let len = attempt(Call::RecvMessage, fd, || {
        // Set anew for each try, for the kernel writes both.
        header.msg_namelen = room;
        control.make_room_to_receive(&mut header, descriptors);
        // SAFETY: `header` names `source` with its room, `control` with its room or less, and one IoSliceMut, which has
        // the layout of iovec and borrows its memory exclusively; all of them outlive the call.
        unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut header, flags | RECV_FLAGS) }
    })?;
    source.set_length(header.msg_namelen);
    let mut received = Message {
        len: len.unsigned_abs(),
        source: decode(&source),
        descriptors: control.take(&header)?,
        truncated: header.msg_flags & libc::MSG_TRUNC != 0,
        descriptors_lost: header.msg_flags & libc::MSG_CTRUNC != 0,
    };
    // There was room for a few more, in case that credentials came beside them.
    received.descriptors_lost |= received.descriptors.len() > descriptors;
    if received.descriptors_lost {
        received.descriptors.clear();
    }
    Ok(received)
}

/// [`recv_message`] that leaves the message in the socket: bytes and source alone, for each look at descriptors makes
/// new ones.
pub(crate) fn peek_message(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Message> {
    recv_message(fd, buffer, 0, libc::MSG_PEEK)
}

fn empty_header() -> msghdr {
    // SAFETY: msghdr is integers and nullable raw pointers, for which all zeros is a value.
    unsafe { mem::zeroed() }
}

/// Room for the control data of one message, aligned as its header wants it.
#[repr(C, align(8))]
struct Control([u8; Control::ROOM]);

impl Control {
    /// The descriptors, the header before them, what the systems pad both with, and what else may come.
    const ROOM: usize = PASSED_DESCRIPTORS_MAX * mem::size_of::<RawFd>() + 64 + Control::BESIDE;
    /// What comes beside descriptors if the caller has asked for it: credentials (`SO_PASSCRED`), which are put first and would
    /// take the descriptors' place, and a process's descriptor.
    const BESIDE: usize = 56;

    fn new() -> Control {
        const { assert!(mem::align_of::<cmsghdr>() <= mem::align_of::<Control>()) };
        Control([0; Control::ROOM])
    }

    /// The length of one piece of control data that holds `count` descriptors.
    fn length_of(count: usize) -> usize {
        let bytes = (count.min(PASSED_DESCRIPTORS_MAX) * mem::size_of::<RawFd>()) as libc::c_uint;
        // SAFETY: the function only reckons with its argument.
        (unsafe { libc::CMSG_LEN(bytes) }) as usize
    }

    /// Makes `header` name room for `count` descriptors and what may come beside them; for none at all where none are wanted:
    /// what is beyond is the kernel's to close.
    fn make_room_to_receive(&mut self, header: &mut msghdr, count: usize) {
        self.make_room(header, count);
        if count > 0 {
            header.msg_controllen = (Control::length_of(count) + Control::BESIDE) as _;
        }
    }

    /// Makes `header` name room for `count` descriptors.
    fn make_room(&mut self, header: &mut msghdr, count: usize) {
        if count == 0 {
            header.msg_control = ptr::null_mut();
            header.msg_controllen = 0;
            return;
        }
        header.msg_control = self.0.as_mut_ptr().cast();
        header.msg_controllen = Control::length_of(count) as _;
    }

    /// Writes the descriptors down, and makes `header` name them.
    fn put(&mut self, header: &mut msghdr, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        if descriptors.len() > PASSED_DESCRIPTORS_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one message"));
        }
        self.make_room(header, descriptors.len());
        // SAFETY: `header` names nothing, or memory of ours with at least the room of a header, zeroed.
        let first = unsafe { libc::CMSG_FIRSTHDR(header) };
        if first.is_null() || descriptors.is_empty() {
            return Ok(());
        }
        let piece = cmsghdr { cmsg_len: header.msg_controllen as _, ..empty_piece() };
        // SAFETY: `first` points into `self`, which has room for the header, and is aligned for it.
        unsafe { first.write(piece) };
        // SAFETY: `first` points to a header that was written a moment ago.
        let mut to = unsafe { libc::CMSG_DATA(first) }.cast::<RawFd>();
        for fd in descriptors {
            // SAFETY: the room was reckoned for as many numbers as there are descriptors.
            unsafe { to.write_unaligned(fd.as_raw_fd()) };
            // SAFETY: as above: at most one behind the last number, within `self`.
            to = unsafe { to.add(1) };
        }
        Ok(())
    }

    /// Takes over the descriptors that the kernel has put here.
    fn take(&self, header: &msghdr) -> io::Result<Vec<OwnedFd>> {
        let mut taken = Vec::new();
        // SAFETY: recvmsg has left in `header` the length of what it wrote into `self`, or nothing.
        let mut piece = unsafe { libc::CMSG_FIRSTHDR(header) };
        while !piece.is_null() {
            // SAFETY: the macros return only headers that lie whole inside of the written part.
            let head = unsafe { piece.read() };
            let is_passed = head.cmsg_type == libc::SCM_RIGHTS;
            if head.cmsg_level == libc::SOL_SOCKET && (is_passed || Some(head.cmsg_type) == SCM_PIDFD) {
                // SAFETY: `piece` points to a whole header.
                let data = unsafe { libc::CMSG_DATA(piece) }.cast::<RawFd>();
                // Some systems cut the data and leave the length as it was.
                let written = self.0.as_ptr().addr() + length(header.msg_controllen);
                let bytes = length(head.cmsg_len).saturating_sub(Control::length_of(0));
                let bytes = bytes.min(written.saturating_sub(data.addr()));
                for at in 0..bytes / mem::size_of::<RawFd>() {
                    // SAFETY: the header's length says that so many numbers follow it, and the kernel has written so much.
                    let number = unsafe { data.add(at) };
                    // SAFETY: as above, and any bits are a number.
                    let number = unsafe { number.read_unaligned() };
                    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
                    let owned = unsafe { OwnedFd::from_raw_fd(number) };
                    if is_passed {
                        taken.push(owned);
                    } // else there is nobody to give it to, and it is closed
                }
            }
            // SAFETY: `header` and `piece` are those of this walk.
            piece = unsafe { libc::CMSG_NXTHDR(header, piece) };
        }
        close_on_exec(&taken)?;
        Ok(taken)
    }
}

/// A length in whichever type the system has it.
fn length(it: impl TryInto<usize>) -> usize {
    it.try_into().unwrap_or(0)
}

fn empty_piece() -> cmsghdr {
    // SAFETY: cmsghdr is integers, for which all zeros is a value.
    let mut piece: cmsghdr = unsafe { mem::zeroed() };
    piece.cmsg_level = libc::SOL_SOCKET;
    piece.cmsg_type = libc::SCM_RIGHTS;
    piece
}

/// Sets what recvmsg(2) could not.
fn close_on_exec(descriptors: &[OwnedFd]) -> io::Result<()> {
    if RECV_FLAGS != 0 {
        return Ok(());
    }
    for fd in descriptors {
        // SAFETY: F_SETFD takes an integer and touches no memory of ours.
        cvt(Call::Flags, || unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// `SO_PASSPIDFD` is asked for by who has the socket's descriptor, and the kernel is asked for control data by us.
    #[test]
    fn a_process_descriptor_that_comes_beside_others_is_closed() {
        let Some(kind) = SCM_PIDFD else { return };
        let (mut reader, writer) = UnixStream::pair().unwrap();
        let (mut control, mut header) = (Control::new(), empty_header());
        control.put(&mut header, &[writer.as_fd()]).unwrap();
        // SAFETY: `header` names `control`, into which a header was written a moment ago.
        let first = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
        // SAFETY: `first` points to that header.
        unsafe { (*first).cmsg_type = kind };
        mem::forget(writer);
        assert!(control.take(&header).unwrap().is_empty(), "nobody passed it");
        assert_eq!(reader.read(&mut [0]).unwrap(), 0, "nobody holds the other end");
    }
}
