//! Sends without a copy: the caller's memory is the kernel's until the peer has acknowledged it.
//!
//! What the kernel holds is kept here, in the connection, and not in the future that sends: a future that is dropped must not
//! free it. A connection that is dropped then is disconnected first, which makes the kernel let go at once. Closing would not
//! do: a duplicate of the descriptor, such as a child process has between fork and exec, keeps the socket alive, which would go
//! on to send whatever is written where the bytes lay.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};

use crate::{
    net::{bytes::charge, ready::Io, tcp::TcpStream},
    reactor::Direction,
    sys::zero_copy::{self, Completed},
};

/// What became of a [`TcpStream::send_zero_copy`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ZeroCopied {
    /// The bytes went out from where they lay.
    InPlace,
    /// At least some were copied after all: the system has no zero-copy sends, has no room to remember more, or the way
    /// leads to this host, or through a device that cannot do it. `write_all` is cheaper then.
    Copied,
}

/// What the kernel holds of a connection's memory.
#[derive(Debug, Default)]
pub(super) struct ZeroCopy(Option<Box<Held>>);

#[derive(Debug)]
struct Held {
    /// The kernel's number of the next send.
    next: u32,
    /// Sends that are not completed, in their order, and their bytes.
    sends: VecDeque<(u32, Bytes)>,
    copied: bool,
}

impl ZeroCopy {
    pub(super) fn new() -> ZeroCopy {
        ZeroCopy(None)
    }

    /// Never frees what the kernel still holds, for a connection that goes out of our hands.
    pub(super) fn leak(&mut self) {
        if let Some(held) = self.0.take().filter(|held| !held.sends.is_empty()) {
            std::mem::forget(held);
        }
    }

    /// Has the kernel let go of what it still holds, for a connection that is dropped. The peer is told by a reset.
    pub(super) fn let_go(&mut self, io: &Io) {
        let Some(held) = self.0.as_deref_mut().filter(|held| !held.sends.is_empty()) else { return };
        // What fails here leaves the bytes held.
        drop(held.take_notices(io));
        if !held.sends.is_empty() {
            drop(zero_copy::disconnect(io.fd()));
            drop(held.take_notices(io));
        }
        // At most what a device is sending at this moment.
        self.leak();
    }

    /// The record, made with the first send; `None` where the system has no such thing, and where sends were counted before:
    /// the count is the socket's, and what was counted is known to nobody.
    fn held(&mut self, io: &Io) -> Option<&mut Held> {
        if self.0.is_none() {
            zero_copy::allow(io.fd()).ok()?;
            self.0 = Some(Box::new(Held { next: 0, sends: VecDeque::new(), copied: false }));
        }
        self.0.as_deref_mut()
    }
}

impl Held {
    fn sent(&mut self, bytes: Bytes) {
        self.sends.push_back((self.next, bytes));
        self.next = self.next.wrapping_add(1);
    }

    fn complete(&mut self, completed: Completed) {
        let span = completed.last.wrapping_sub(completed.first);
        self.sends.retain(|(number, _)| number.wrapping_sub(completed.first) > span);
        self.copied |= completed.copied;
    }

    /// Takes every notice that is there.
    fn take_notices(&mut self, io: &Io) -> io::Result<()> {
        loop {
            match zero_copy::take_notice(io.fd()) {
                Ok(Some(completed)) => self.complete(completed),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

impl TcpStream {
    /// Sends all of `bytes` without copying them into the kernel, and waits until the kernel has let go of them, which is
    /// when the peer has acknowledged the last one (`MSG_ZEROCOPY`, Linux).
    ///
    /// It pays for large pieces (tens of KiB and more) over real devices that can gather: the kernel's bookkeeping costs more
    /// than copying a little. Where there is no such thing the bytes are written as usual, and [`ZeroCopied`] says so.
    ///
    /// # Errors
    ///
    /// As [`write`](TcpStream::write); a part may have been sent then.
    ///
    /// # Cancellation
    ///
    /// A part may have been sent, and nothing says how much. The connection goes on and keeps what the kernel holds of the
    /// bytes. Should it be *dropped* before the kernel has let go, it is reset: only that makes the kernel let go at once. Given
    /// out, as by `into_std`, it keeps them for ever, and a `TcpStream` that is made of it again copies.
    ///
    /// # Examples
    ///
    /// ```
    /// # use wakering::net::{TcpListener, TcpStream};
    /// # wakering::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let mut client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (mut server, _peer) = listener.accept().await?;
    /// let large = bytes::Bytes::from(vec![7; 100_000]);
    /// server.send_zero_copy(large).await?;
    /// client.read_exact(&mut [0; 100_000]).await?;
    /// # Ok::<(), std::io::Error>(())
    /// # })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn send_zero_copy(&mut self, bytes: Bytes) -> io::Result<ZeroCopied> {
        let mut sending = Sending { io: &self.io, zero: &mut self.zero, bytes, is_waiting: false };
        poll_fn(|cx| sending.poll(cx)).await
    }
}

struct Sending<'a> {
    io: &'a Io,
    zero: &'a mut ZeroCopy,
    bytes: Bytes,
    /// Write readiness was put aside, so that the next event is waited for and not what is known.
    is_waiting: bool,
}

impl Sending<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<ZeroCopied>> {
        let Some(held) = self.zero.held(self.io) else {
            ready!(poll_copy(cx, self.io, &mut self.bytes))?;
            return Poll::Ready(Ok(ZeroCopied::Copied));
        };
        while !self.bytes.is_empty() {
            let sent = self.io.poll_io(cx, Direction::Write, |fd| zero_copy::send(fd, &self.bytes));
            match ready!(sent) {
                Ok(sent) => {
                    charge(sent);
                    held.sent(self.bytes.split_to(sent));
                }
                Err(error) if zero_copy::is_out_of_notices(&error) => {
                    held.copied = true;
                    ready!(poll_copy(cx, self.io, &mut self.bytes))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        loop {
            held.take_notices(self.io)?;
            if held.sends.is_empty() {
                let copied = std::mem::take(&mut held.copied);
                return Poll::Ready(Ok(if copied { ZeroCopied::Copied } else { ZeroCopied::InPlace }));
            }
            if self.is_waiting {
                ready!(self.io.poll_ready(cx, Direction::Write))?;
                self.is_waiting = false;
            } else {
                // A notice is an event that counts as writable too. It is waited for from here on, and looked for once
                // more, since it may have come in between.
                self.io.clear_ready(Direction::Write);
                self.is_waiting = true;
            }
        }
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if self.is_waiting {
            // Whether it is writable is not known any more: a new registration tells. If that fails, so does the next wait.
            self.io.withdraw();
            drop(self.io.rejoin());
        }
    }
}

/// Writes all of `bytes` as usual.
fn poll_copy(cx: &mut Context<'_>, io: &Io, bytes: &mut Bytes) -> Poll<io::Result<()>> {
    while !bytes.is_empty() {
        match ready!(io.poll_send(cx, bytes))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => bytes.advance(written),
        }
    }
    Poll::Ready(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completions_come_in_ranges_in_any_order_and_around_the_end_of_the_numbers() {
        let mut held = Held { next: u32::MAX - 1, sends: VecDeque::new(), copied: false };
        for octet in 0..5 {
            held.sent(Bytes::copy_from_slice(&[octet]));
        }
        let completed = |first, last| Completed { first, last, copied: false };
        held.complete(completed(1, 1));
        held.complete(completed(u32::MAX, 0));
        let left: Vec<u32> = held.sends.iter().map(|(number, _)| *number).collect();
        assert_eq!(left, [u32::MAX - 1, 2]);
        held.complete(completed(2, 2));
        held.complete(Completed { copied: true, ..completed(u32::MAX - 1, u32::MAX - 1) });
        assert!(held.sends.is_empty() && held.copied);
    }
}
