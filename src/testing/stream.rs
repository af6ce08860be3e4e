//! The ends of a connection in memory.

use std::{
    cell::RefCell,
    fmt,
    future::poll_fn,
    io,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use crate::{
    testing::{
        Cut, Link,
        pipe::{Attempt, Pipe},
    },
    worker::{
        context::spend,
        timer::{Timer, now},
    },
};

/// One end of a connection in memory; made by [`Link::pair`].
///
/// It reads and writes as [`TcpStream`](crate::net::TcpStream) does, and with the `futures-io` and `tokio-io` features has the traits
/// `AsyncRead` and `AsyncWrite`. It stays on its worker.
///
/// # Cancellation
///
/// Dropping a future of `read` or `write` loses nothing. `read_exact` and `write_all` may have moved some of their bytes.
#[derive(Debug)]
pub struct Stream {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
}

/// The half of a [`Stream`] that reads. Dropping it makes the other end's writes fail.
pub struct Reader {
    pipes: Pipes,
    /// For bytes that are on their way.
    timer: Timer,
}

/// The half of a [`Stream`] that writes. Dropping it ends the stream for the other end.
pub struct Writer {
    pipes: Pipes,
    /// For a reset that is on its way.
    timer: Timer,
}

/// Both directions of a connection, and which of them this half uses.
#[derive(Clone)]
struct Pipes {
    both: Rc<RefCell<[Pipe; 2]>>,
    own: usize,
}

impl Stream {
    pub(super) fn pair(there: Link, back: Link) -> (Stream, Stream) {
        let both = Rc::new(RefCell::new([Pipe::new(there, 0), Pipe::new(back, 1)]));
        let end = |writes: usize| {
            let pipes = |own| Pipes { both: both.clone(), own };
            Stream {
                reader: Reader { pipes: pipes(1 - writes), timer: Timer::at(0) },
                writer: Writer { pipes: pipes(writes), timer: Timer::at(0) },
            }
        };
        (end(0), end(1))
    }

    /// Reads what is there, at least one byte, and says how much; 0 is the end.
    ///
    /// # Errors
    ///
    /// `ConnectionReset` when the link was cut that way.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).await
    }

    /// Fills `buffer`.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when the end comes first; those of [`Stream::read`].
    pub async fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.reader.read_exact(buffer).await
    }

    /// Writes some of `bytes`, and says how many.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` when the other end is gone or this one was shut down; `ConnectionReset` when the link was cut that way.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes).await
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    ///
    /// Those of [`Stream::write`].
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes).await
    }

    /// Ends the writing direction: the other end reads what was written, then the end.
    pub fn shutdown(&mut self) {
        self.writer.shutdown();
    }

    /// Gives the halves to two tasks.
    #[must_use]
    pub fn into_split(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }
}

impl Reader {
    /// As [`Stream::read`].
    ///
    /// # Errors
    ///
    /// As [`Stream::read`].
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|context| self.poll_read(context, buffer)).await
    }

    /// As [`Stream::read_exact`].
    ///
    /// # Errors
    ///
    /// As [`Stream::read_exact`].
    pub async fn read_exact(&mut self, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read(buffer).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => buffer = &mut buffer[read..],
            }
        }
        Ok(())
    }

    /// As [`Stream::read`], for futures that are written by hand. The last waker counts.
    pub fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if !spend(context) {
            return Poll::Pending;
        }
        loop {
            let (attempt, waker) = self.pipes.with(|own, _| {
                let attempt = own.read(now(), buffer);
                own.reader = matches!(attempt, Ok(Attempt::Later)).then(|| context.waker().clone());
                let moved = matches!(attempt, Ok(Attempt::Done(1..)));
                (attempt, moved.then(|| own.writer.take()).flatten())
            });
            waker.into_iter().for_each(Waker::wake);
            match attempt? {
                Attempt::Done(read) => return Poll::Ready(Ok(read)),
                Attempt::Later => return Poll::Pending,
                Attempt::Again => return again(context),
                Attempt::At(arrival) => {
                    self.timer.set_deadline(arrival);
                    if self.timer.poll_elapsed(context).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl Writer {
    /// As [`Stream::write`].
    ///
    /// # Errors
    ///
    /// As [`Stream::write`].
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        poll_fn(|context| self.poll_write(context, bytes)).await
    }

    /// As [`Stream::write_all`].
    ///
    /// # Errors
    ///
    /// As [`Stream::write_all`].
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = self.write(bytes).await?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// As [`Stream::write`], for futures that are written by hand. The last waker counts.
    pub fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !spend(context) {
            return Poll::Pending;
        }
        loop {
            match self.attempt(context, bytes)? {
                Attempt::Done(written) => return Poll::Ready(Ok(written)),
                Attempt::Later => return Poll::Pending,
                Attempt::Again => return again(context),
                Attempt::At(reset) => {
                    self.timer.set_deadline(reset);
                    if self.timer.poll_elapsed(context).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    fn attempt(&self, context: &Context<'_>, bytes: &[u8]) -> io::Result<Attempt> {
        let (attempt, wakers) = self.pipes.with(|own, other| {
            let now = now();
            let attempt = own.write(now, bytes);
            let waits = matches!(attempt, Ok(Attempt::Later | Attempt::At(_)));
            own.writer = waits.then(|| context.waker().clone());
            let mut wakers = [own.reader.take(), None, None];
            match own.cut(now) {
                Some((Cut::End, at)) => own.end_at(at),
                Some((Cut::Reset, at)) => {
                    own.reset(at);
                    other.reset(at);
                    wakers[1..].swap_with_slice(&mut [other.reader.take(), other.writer.take()]);
                }
                Some((Cut::Silence, _)) | None => {}
            }
            (attempt, wakers)
        });
        wakers.into_iter().flatten().for_each(Waker::wake);
        attempt
    }

    /// As [`Stream::shutdown`].
    pub fn shutdown(&mut self) {
        let reader = self.pipes.with(|own, _| {
            own.finish(now());
            own.reader.take()
        });
        reader.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let writer = self.pipes.with(|own, _| {
            own.abandon();
            own.writer.take()
        });
        writer.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl Pipes {
    /// Lends the own direction and the other one; wakers are woken by the caller, outside.
    fn with<R>(&self, act: impl FnOnce(&mut Pipe, &mut Pipe) -> R) -> R {
        let [first, second] = &mut *self.both.borrow_mut();
        if self.own == 0 { act(first, second) } else { act(second, first) }
    }
}

/// Comes back in the next turn.
fn again<T>(context: &Context<'_>) -> Poll<T> {
    context.waker().wake_by_ref();
    Poll::Pending
}

impl fmt::Debug for Reader {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Reader").field("waits_for", &self.timer).finish_non_exhaustive()
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Writer").finish_non_exhaustive()
    }
}
