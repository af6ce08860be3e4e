//! Many datagrams a call, with the sizes of segments beside them, and nothing between the calls and the caller.

use std::io;
use std::mem;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

/// The longest train: its length has 16 bits.
pub const LONGEST: usize = 65_535;

const CONTROL: usize = 8;

/// Headers and buffers of many messages, to receive into and to send from.
pub struct Messages {
    headers: Vec<libc::mmsghdr>,
    pieces: Vec<libc::iovec>,
    names: Vec<libc::sockaddr_in>,
    controls: Vec<[u64; CONTROL]>,
    bytes: Vec<u8>,
    size: usize,
}

impl Messages {
    /// Room for `count` messages of `size` bytes.
    pub fn new(count: usize, size: usize) -> Messages {
        // SAFETY: integers and nullable pointers, for which all zeros is a value.
        let (header, name) = unsafe { (mem::zeroed::<libc::mmsghdr>(), mem::zeroed::<libc::sockaddr_in>()) };
        let mut messages = Messages {
            headers: vec![header; count],
            pieces: vec![libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; count],
            names: vec![name; count],
            controls: vec![[0; CONTROL]; count],
            bytes: vec![0; count * size],
            size,
        };
        for at in 0..count {
            messages.pieces[at].iov_base = messages.bytes[at * size..].as_mut_ptr().cast();
            let header = &mut messages.headers[at].msg_hdr;
            header.msg_iov = &raw mut messages.pieces[at];
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut messages.names[at]).cast();
            messages.refresh(at);
        }
        messages
    }

    /// The bytes of message `at`, `len` of them.
    pub fn bytes(&mut self, at: usize, len: usize) -> &mut [u8] {
        &mut self.bytes[at * self.size..][..len]
    }

    /// The length of message `at`.
    pub fn len(&self, at: usize) -> usize {
        self.headers[at].msg_len as usize
    }

    fn refresh(&mut self, at: usize) {
        self.pieces[at].iov_len = self.size;
        let header = &mut self.headers[at].msg_hdr;
        header.msg_namelen = mem::size_of::<libc::sockaddr_in>() as u32;
        header.msg_control = self.controls[at].as_mut_ptr().cast();
        header.msg_controllen = mem::size_of_val(&self.controls[at]);
    }

    /// Receives; `flags` as of recvmmsg(2). The messages before `used` were used since.
    pub fn receive(&mut self, fd: RawFd, used: usize, flags: i32) -> io::Result<usize> {
        for at in 0..used {
            self.refresh(at);
        }
        let (start, count) = (self.headers.as_mut_ptr(), self.headers.len() as u32);
        // SAFETY: every header names memory of this struct, which is not touched meanwhile.
        let received = unsafe { libc::recvmmsg(fd, start, count, flags, ptr::null_mut()) };
        if received < 0 { Err(io::Error::last_os_error()) } else { Ok(received as usize) }
    }

    /// Makes message `at` of what was received an answer, a train where a train came.
    pub fn answer(&mut self, at: usize) {
        self.pieces[at].iov_len = self.len(at);
        let segment = self.segment(at);
        match segment {
            Some(size) if size < self.len(at) => self.set_segment(at, size),
            _ => self.set_plain(at),
        }
    }

    /// Makes message `at` `len` bytes to the peer, cut into datagrams of `segment`.
    pub fn to_peer(&mut self, at: usize, len: usize, segment: Option<usize>) {
        self.pieces[at].iov_len = len;
        self.headers[at].msg_hdr.msg_namelen = 0;
        self.headers[at].msg_hdr.msg_name = ptr::null_mut();
        match segment {
            Some(size) => self.set_segment(at, size),
            None => self.set_plain(at),
        }
    }

    fn set_plain(&mut self, at: usize) {
        self.headers[at].msg_hdr.msg_control = ptr::null_mut();
        self.headers[at].msg_hdr.msg_controllen = 0;
    }

    fn set_segment(&mut self, at: usize, size: usize) {
        let header = &mut self.headers[at].msg_hdr;
        header.msg_control = self.controls[at].as_mut_ptr().cast();
        // SAFETY: pure arithmetic; then the first header of a buffer that has room for it and two bytes.
        unsafe {
            header.msg_controllen = libc::CMSG_SPACE(2) as usize;
            let first = libc::CMSG_FIRSTHDR(header);
            (*first).cmsg_level = libc::SOL_UDP;
            (*first).cmsg_type = libc::UDP_SEGMENT;
            (*first).cmsg_len = libc::CMSG_LEN(2) as usize;
            libc::CMSG_DATA(first).cast::<u16>().write_unaligned(size as u16);
        }
    }

    fn segment(&self, at: usize) -> Option<usize> {
        let header = &self.headers[at].msg_hdr;
        // SAFETY: the kernel has written the header and its control data.
        unsafe {
            let first = libc::CMSG_FIRSTHDR(header);
            let found = !first.is_null()
                && (*first).cmsg_level == libc::SOL_UDP
                && (*first).cmsg_type == libc::UDP_GRO;
            found.then(|| libc::CMSG_DATA(first).cast::<i32>().read_unaligned() as usize)
        }
    }

    /// Sends the messages from `from` up to `to`.
    pub fn send(&mut self, fd: RawFd, from: usize, to: usize) -> io::Result<usize> {
        let start = self.headers[from..to].as_mut_ptr();
        // SAFETY: every header names memory of this struct, which is not touched meanwhile.
        let sent = if to - from == 1 {
            // SAFETY: as above, of the one header.
            let sent = unsafe { libc::sendmsg(fd, &raw const (*start).msg_hdr, 0) };
            if sent < 0 { -1 } else { 1 }
        } else {
            // SAFETY: as above, of all headers.
            unsafe { libc::sendmmsg(fd, start, (to - from) as u32, 0) }
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
    }
}

/// A socket at `addr` with a large receive buffer.
pub fn socket(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(addr)?;
    set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, 4 << 20)?;
    Ok(socket)
}

/// Lets the kernel put datagrams together.
pub fn coalesce(socket: &UdpSocket) -> io::Result<()> {
    set(socket, libc::SOL_UDP, libc::UDP_GRO, 1)
}

fn set(socket: &UdpSocket, level: i32, name: i32, value: i32) -> io::Result<()> {
    let length = mem::size_of::<i32>() as u32;
    // SAFETY: the pointer is to a readable integer, whose length is given.
    let done =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), length) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
