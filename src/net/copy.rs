//! From one connection to another: one way, or both ways until both have ended.
//!
//! What is read goes into the worker's buffer and from there straight into the other socket, so that a pair between two
//! bursts holds no memory. What a full socket did not take is kept until it does, and nothing is read meanwhile. A source
//! that fills the whole buffer is a stream in a hurry: from then on its bytes are spliced through a pipe, where there is
//! splice(2), until it pauses.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};

use crate::{
    limits::{SCRATCH_LEAST, SPLICE_PIPE_BYTES},
    net::{
        bytes::charge,
        ready::Io,
        stream::{Reader, Stream, Writer},
        transfer,
    },
    reactor::Direction,
    sys::splice::Pipe,
    worker::context,
};

/// Copies from `reader` to `writer` until the reader's end, and says how many bytes those were. The writer is then as
/// it was: shutting it down is the caller's.
///
/// While nothing comes, it holds no buffer. On Linux, bytes that come in bulk are spliced (splice(2)), unless `SIGPIPE` has its
/// default action.
///
/// # Errors
///
/// The first error of either side. An end of the writer's connection is noticed with the next write. A reset of the reader's
/// ends the copy also while the writer has no room, and what came before it is lost then; on the fallback backend it is
/// noticed when there is room again.
///
/// # Cancellation
///
/// Bytes that were read and that the writer had no room for are lost: up to 64 KiB, or 1 MiB while splicing.
///
/// # Examples
///
/// ```
/// use std::net::Shutdown;
/// use wakering::net::{self, TcpListener, TcpStream};
///
/// wakering::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let mut client = TcpStream::connect(listener.local_addr()?).await?;
///     let (mut server, _) = listener.accept().await?;
///     client.write_all(b"echo").await?;
///     client.shutdown(Shutdown::Write)?;
///     let (mut reader, mut writer) = server.split();
///     assert_eq!(net::copy(&mut reader, &mut writer).await?, 4);
///     let mut buffer = [0; 4];
///     client.read_exact(&mut buffer).await?;
///     assert_eq!(&buffer, b"echo");
///     Ok::<(), std::io::Error>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn copy(reader: &mut impl Reader, writer: &mut impl Writer) -> io::Result<u64> {
    let (reader, writer) = (reader.io(), writer.io());
    let mut way = OneWay::new();
    poll_fn(|cx| way.poll(cx, reader, writer)).await
}

/// Copies both ways until both have ended, and says how many bytes went from `one` to `other` and back.
///
/// The end of one direction is handed on (the writing side is shut down) and the other direction goes on: half-closed
/// connections work. While nothing comes, it holds no buffer. It waits as long as both sides live:
/// [`set_keepalive`](crate::net::TcpStream::set_keepalive) finds a peer that has vanished.
///
/// # Errors
///
/// The first error of either side, which ends both directions; the connections are left open. A reset is noticed whatever the
/// copy waits for (on the fallback backend: with the next read or write). Dropped as they are they end as
/// if all had come: where the end of a connection is the end of what it carries, hand the error on by
/// [`set_linger`](crate::net::TcpStream::set_linger) with zero, a reset, on both (the example `tcp_proxy` does, before it copies, so that it holds
/// for a copy that is dropped, too).
///
/// # Cancellation
///
/// As [`copy`], in each direction.
///
/// # Examples
///
/// A proxy in three lines:
///
/// ```
/// # use wakering::net::{self, TcpListener, TcpStream};
/// # use std::net::SocketAddr;
/// async fn proxy(mut client: TcpStream, target: SocketAddr) -> std::io::Result<()> {
///     let mut server = TcpStream::connect(target).await?;
///     let (_sent, _received) = net::copy_bidirectional(&mut client, &mut server).await?;
///     Ok(())
/// }
/// ```
pub async fn copy_bidirectional(one: &mut impl Stream, other: &mut impl Stream) -> io::Result<(u64, u64)> {
    let (one, other) = (one.io(), other.io());
    let (mut there, mut back) = (OneWay::new(), OneWay::new());
    poll_fn(|cx| {
        let there = there.poll_to_the_end(cx, one, other)?;
        let back = back.poll_to_the_end(cx, other, one)?;
        match (there, back) {
            (Poll::Ready(there), Poll::Ready(back)) => Poll::Ready(Ok((there, back))),
            (Poll::Pending, Poll::Pending) => Poll::Pending,
            // Nobody reads from the side that has ended, and who is reset has no use for the rest.
            (Poll::Ready(_), Poll::Pending) => one.poll_broken(cx).map(Err),
            (Poll::Pending, Poll::Ready(_)) => other.poll_broken(cx).map(Err),
        }
    })
    .await
}

/// One direction.
struct OneWay {
    copied: u64,
    stage: Stage,
    /// Whether splicing is still to be tried.
    splices: bool,
}

/// Where a direction stands.
enum Stage {
    /// Waiting for the source, with nothing in hand.
    Reading,
    /// The target was full: this is what it did not take.
    Writing(BytesMut),
    /// The source is in a hurry.
    Splicing(Pipe),
    /// The source has ended.
    Ended,
    /// The target has been told.
    Told,
}

/// How much a read brought.
enum Read {
    End,
    Some,
    /// As much as there was room for.
    Full,
}

impl OneWay {
    fn new() -> OneWay {
        OneWay { copied: 0, stage: Stage::Reading, splices: true }
    }

    /// Copies until the source ends.
    fn poll(&mut self, cx: &mut Context<'_>, from: &Io, to: &Io) -> Poll<io::Result<u64>> {
        let polled = self.poll_copy(cx, from, to);
        if polled.is_pending() && !matches!(self.stage, Stage::Reading) {
            // It waits for room, and does not read: a reset of the source has to be told by itself.
            return from.poll_broken(cx).map(Err);
        }
        polled
    }

    fn poll_copy(&mut self, cx: &mut Context<'_>, from: &Io, to: &Io) -> Poll<io::Result<u64>> {
        loop {
            match &mut self.stage {
                Stage::Reading => match ready!(self.poll_read(cx, from, to))? {
                    Read::End => self.stage = Stage::Ended,
                    Read::Some => {}
                    Read::Full => self.begin_splicing(),
                },
                Stage::Writing(rest) => {
                    let written = ready!(to.poll_send(cx, rest))?;
                    if written == 0 {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    self.copied += written as u64;
                    rest.advance(written);
                    if rest.is_empty() {
                        self.stage = Stage::Reading;
                    }
                }
                Stage::Splicing(_) => ready!(self.poll_splice(cx, from, to))?,
                Stage::Ended | Stage::Told => return Poll::Ready(Ok(self.copied)),
            }
        }
    }

    /// Copies until the source ends, and shuts the target's writing side down then.
    fn poll_to_the_end(&mut self, cx: &mut Context<'_>, from: &Io, to: &Io) -> io::Result<Poll<u64>> {
        match self.poll(cx, from, to)? {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(copied) => {
                if !matches!(self.stage, Stage::Told) {
                    transfer::end(to)?;
                    self.stage = Stage::Told;
                }
                Ok(Poll::Ready(copied))
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, from: &Io, to: &Io) -> Poll<io::Result<Read>> {
        context::with(|worker| {
            worker.with_scratch(|scratch| {
                let read = ready!(from.poll_recv_buf(cx, scratch))?;
                if read == 0 {
                    return Poll::Ready(Ok(Read::End));
                }
                let was_full = scratch.len() == scratch.capacity();
                match to.try_send(scratch) {
                    Ok(written) => {
                        self.copied += written as u64;
                        scratch.advance(written);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
                if !scratch.is_empty() {
                    self.stage = Stage::Writing(keep(scratch));
                    return Poll::Ready(Ok(Read::Some));
                }
                Poll::Ready(Ok(if was_full { Read::Full } else { Read::Some }))
            })
        })
    }

    /// Goes over to splicing, or goes on as before where that is not to be had.
    fn begin_splicing(&mut self) {
        if !self.splices {
            return;
        }
        match Pipe::new(SPLICE_PIPE_BYTES) {
            Ok(pipe) => self.stage = Stage::Splicing(pipe),
            // A want of descriptors passes; what the system has not will not come.
            Err(error) => self.splices = error.kind() != io::ErrorKind::Unsupported,
        }
    }

    /// Moves once what there is. When the source pauses, the pipe is given up.
    fn poll_splice(&mut self, cx: &mut Context<'_>, from: &Io, to: &Io) -> Poll<io::Result<()>> {
        let Stage::Splicing(pipe) = &mut self.stage else { return Poll::Ready(Ok(())) };
        if pipe.held() == 0 {
            // It is not noted that this would block: at an urgent mark (tcp(7)) there is more behind it, which a read gets.
            match pipe.fill(from.fd()) {
                Ok(0) => self.stage = Stage::Ended,
                Ok(_) => {}
                // It pauses; or it cannot be spliced from, or is broken. Reading tells which.
                Err(error) => {
                    self.splices = error.kind() == io::ErrorKind::WouldBlock;
                    self.stage = Stage::Reading;
                }
            }
            return Poll::Ready(Ok(()));
        }
        let moved = ready!(to.poll_io(cx, Direction::Write, |fd| pipe.drain(fd)))?;
        charge(moved);
        if moved == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.copied += moved as u64;
        Poll::Ready(Ok(()))
    }
}

/// Takes what is left out of the worker's buffer: a little is copied, so that it does not pin a block.
fn keep(scratch: &mut BytesMut) -> BytesMut {
    if scratch.len() < SCRATCH_LEAST { BytesMut::from(&scratch[..]) } else { scratch.split() }
}
