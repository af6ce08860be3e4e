//! A session and its stream: what reads and writes wait for.
//!
//! Every call takes `&self`, so that one task may read and another write. Whoever reads also sends what the session has
//! to say by itself, and what the socket has not taken of an earlier write: so a task that has written and now waits for
//! the answer does not wait for ever. The socket wakes one task for each direction; where a reader and a writer both wait
//! for it to take bytes, it is given a waker that wakes both, since either may be gone when it comes to that.

use std::{
    cell::{Cell, RefCell},
    fmt,
    io::{self, IoSlice},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Wake, Waker, ready},
};

use bytes::{Buf, BytesMut};

use super::{
    error::TlsError,
    info::TlsInfo,
    octets::Octets,
    session::{Input, Session},
};
use crate::{
    limits::{SCRATCH_BLOCK, TLS_HELD_OUTPUT},
    net::{Stream, end},
};

/// A stream with a session on it.
pub(crate) struct Secured<S> {
    stream: S,
    session: RefCell<Session>,
    /// Who waits for the socket to take what is held: a reader, a writer.
    waiting: RefCell<[Option<Waker>; 2]>,
}

/// Who sends what is held.
#[derive(Clone, Copy)]
enum Sender {
    Reader = 0,
    Writer = 1,
}

/// Wakes two tasks.
struct Both([Waker; 2]);

impl Wake for Both {
    fn wake(self: Arc<Self>) {
        self.0.iter().for_each(Waker::wake_by_ref);
    }
}

/// Memory that every session of a thread works in; nothing is in it between two calls.
#[derive(Default)]
struct Workbench {
    received: BytesMut,
    joined: Vec<u8>,
    sealed: Octets,
}

thread_local! {
    static WORKBENCH: Cell<Option<Box<Workbench>>> = const { Cell::new(None) };
}

/// Works in the thread's memory. Within a callback of the user's that comes back here there is some more.
fn with_workbench<R>(work: impl FnOnce(&mut Workbench) -> R) -> R {
    let mut bench = WORKBENCH.take().unwrap_or_default();
    let result = work(&mut bench);
    WORKBENCH.set(Some(bench));
    result
}

impl<S: Stream> Secured<S> {
    pub(super) fn new(stream: S, session: Session) -> Rc<Secured<S>> {
        Rc::new(Secured { stream, session: RefCell::new(session), waiting: RefCell::default() })
    }

    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    /// The stream, if nobody else has it.
    pub(super) fn into_stream(self: Rc<Self>) -> Option<S> {
        Rc::into_inner(self).map(|secured| secured.stream)
    }

    /// Whether the client has turned out not to speak TLS.
    pub(super) fn is_cleartext(&self) -> bool {
        matches!(self.session.borrow().input(), Input::Cleartext)
    }

    /// What the handshake has agreed on.
    pub(crate) fn info(&self) -> TlsInfo {
        TlsInfo::new(self.session.borrow().agreed())
    }

    /// Shakes hands; ready when the peer has all that it needs.
    pub(super) fn poll_handshake(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let session = &mut *self.session.borrow_mut();
        loop {
            let flushed = self.poll_send(session, Sender::Writer, context);
            if !session.is_handshaking() {
                // What has gone wrong since then is for who reads, behind what came before it.
                return flushed;
            }
            match session.input() {
                Input::Open => {}
                // What is held is the alert that says why: it goes out if it can.
                Input::Failed(error) => {
                    return Poll::Ready(Err(TlsError::io("the TLS handshake failed", error.clone())));
                }
                Input::Closed | Input::Cut => return Poll::Ready(Err(cut_short())),
                Input::Cleartext => return Poll::Ready(Err(cleartext())),
            }
            if let Poll::Ready(Err(error)) = flushed {
                return Poll::Ready(Err(error));
            }
            let fill = |buffer: &mut BytesMut| self.stream.io().poll_recv_buf(context, buffer);
            ready!(self.poll_fill(session, fill, |session, sealed| session.receive_early(sealed)))?;
        }
    }

    /// Appends plaintext to `buffer`; zero is the end that the peer has announced.
    pub(crate) fn poll_read_buf(
        &self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        self.poll_read_by(context, buffer, |context, sealed| self.stream.io().poll_recv_buf(context, sealed))
    }

    /// As `poll_read_buf`, without regard to what the selector has reported. `Pending`: there is nothing now.
    pub(crate) fn poll_read_now(
        &self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        self.poll_read_by(context, buffer, |_context, sealed| match self.stream.io().try_recv_buf(sealed) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            outcome => Poll::Ready(outcome),
        })
    }

    fn poll_read_by(
        &self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
        mut receive: impl FnMut(&mut Context<'_>, &mut BytesMut) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let session = &mut *self.session.borrow_mut();
        let before = buffer.len();
        loop {
            if session.has_unread() {
                let early = session.take_unread(usize::MAX);
                buffer.extend_from_slice(&early);
            }
            if buffer.len() > before {
                return Poll::Ready(Ok(buffer.len() - before));
            }
            match session.input() {
                Input::Open => {}
                Input::Closed => return Poll::Ready(Ok(0)),
                Input::Cut => return Poll::Ready(Err(truncated())),
                Input::Cleartext => return Poll::Ready(Err(cleartext())),
                Input::Failed(error) => {
                    return Poll::Ready(Err(TlsError::io("reading from a TLS stream failed", error.clone())));
                }
            }
            if session.holds_output() {
                // An error of the socket's comes up when it is read, after what came before it.
                let pending = self.poll_send(session, Sender::Reader, context).is_pending();
                if pending && session.held().len() > TLS_HELD_OUTPUT {
                    return Poll::Pending;
                }
            }
            let fill = |sealed: &mut BytesMut| receive(context, sealed);
            ready!(self.poll_fill(session, fill, |session, sealed| session.receive(sealed, buffer)))?;
            if session.holds_output() {
                // As above.
                let _ = self.poll_send(session, Sender::Reader, context);
            }
        }
    }

    /// Reads plaintext into `buffer`; zero is the end that the peer has announced.
    pub(super) fn poll_read(&self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut plain = self.session.borrow_mut().take_unread(buffer.len());
        if plain.is_empty() && ready!(self.poll_read_buf(context, &mut plain))? == 0 {
            return Poll::Ready(Ok(0));
        }
        let count = plain.len().min(buffer.len());
        plain.split_to(count).copy_to_slice(&mut buffer[..count]);
        if !plain.is_empty() {
            self.session.borrow_mut().keep_unread(plain);
        }
        Poll::Ready(Ok(count))
    }

    /// One read of the socket, behind what was kept, for `take` to open.
    fn poll_fill(
        &self,
        session: &mut Session,
        read: impl FnOnce(&mut BytesMut) -> Poll<io::Result<usize>>,
        take: impl FnOnce(&mut Session, &mut [u8]),
    ) -> Poll<io::Result<()>> {
        with_workbench(|bench| {
            let received = &mut bench.received;
            received.clear();
            received.extend_from_slice(session.kept());
            received.reserve(SCRATCH_BLOCK);
            match ready!(read(received))? {
                0 => session.cut(),
                _some => take(session, received),
            }
            Poll::Ready(Ok(()))
        })
    }

    /// Seals as much as one write takes, and gives it to the socket. `Pending`: earlier bytes are still here.
    pub(crate) fn poll_write_vectored(
        &self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let session = &mut *self.session.borrow_mut();
        ready!(self.poll_send(session, Sender::Writer, context))?;
        if session.is_closed() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        with_workbench(|bench| {
            bench.sealed.clear();
            let failed = |error| TlsError::io("writing to a TLS stream failed", error);
            let accepted = session.seal(slices, &mut bench.joined, &mut bench.sealed).map_err(failed)?;
            let sealed = bench.sealed.filled();
            if !sealed.is_empty() {
                match self.stream.io().poll_send(context, sealed) {
                    Poll::Ready(sent) => {
                        let sent = sent?;
                        if sent < sealed.len() {
                            session.hold(&sealed[sent..]);
                        }
                    }
                    Poll::Pending => session.hold(sealed),
                }
            }
            Poll::Ready(Ok(accepted))
        })
    }

    #[inline]
    pub(crate) fn holds_output(&self) -> bool {
        self.session.borrow().holds_output()
    }

    /// How many sealed bytes the socket has not taken.
    pub(crate) fn held(&self) -> usize {
        self.session.borrow().held().len()
    }

    /// Gives the socket what is held.
    pub(crate) fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(&mut self.session.borrow_mut(), Sender::Writer, context)
    }

    /// Says that we write no more, and shuts the writing side of the socket down after that.
    pub(crate) fn poll_close(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let session = &mut *self.session.borrow_mut();
        session.close();
        ready!(self.poll_send(session, Sender::Writer, context))?;
        Poll::Ready(end(self.stream.io()))
    }

    fn poll_send(
        &self,
        session: &mut Session,
        sender: Sender,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if !session.holds_output() {
            return Poll::Ready(Ok(()));
        }
        let mut waiting = self.waiting.borrow_mut();
        let [ours, other] = match (&mut *waiting, sender) {
            ([reader, writer], Sender::Reader) => [reader, writer],
            ([reader, writer], Sender::Writer) => [writer, reader],
        };
        let us = context.waker();
        let both = other.as_ref().filter(|other| !other.will_wake(us));
        let both = both.map(|other| Waker::from(Arc::new(Both([us.clone(), other.clone()]))));
        let mut context = Context::from_waker(both.as_ref().unwrap_or(us));
        while session.holds_output() {
            match self.stream.io().poll_send(&mut context, session.held()) {
                Poll::Ready(Ok(count)) => session.took(count),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    *ours = Some(us.clone());
                    return Poll::Pending;
                }
            }
        }
        *ours = None;
        if let Some(other) = other.take().filter(|other| !other.will_wake(us)) {
            other.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> fmt::Debug for Secured<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Secured").field("info", &self.info()).finish_non_exhaustive()
    }
}

fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the peer ended the stream in the TLS handshake")
}

fn cleartext() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the client does not speak TLS: what it sends is cleartext")
}

fn truncated() -> io::Error {
    let text = "the peer ended the stream without saying so in TLS (close_notify): it may be cut short";
    io::Error::new(io::ErrorKind::UnexpectedEof, text)
}
