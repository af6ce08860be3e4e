//! Content of requests and responses.

use std::{
    cell::RefCell,
    error::Error,
    fmt,
    future::poll_fn,
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker, ready},
};

use ::http::HeaderMap;
use bytes::{Bytes, BytesMut};

use crate::{
    http::incoming::Incoming,
    limits::CHANNEL_BYTES,
    proto::h2::{ConnectionError, Reason},
};

/// A part of a message's content.
#[derive(Clone, Debug)]
pub enum Frame {
    /// Bytes; how they are cut has no meaning.
    Data(Bytes),
    /// Fields after the content; nothing follows them.
    Trailers(HeaderMap),
}

/// Content that is made piece by piece, as the peer takes it.
///
/// It is asked for the next piece only when there is room to send, so that it never has to hold more than
/// one.
///
/// # Examples
///
/// A hundred lines, one at a time:
///
/// ```
/// use std::{pin::Pin, task::{Context, Poll}};
/// use bytes::Bytes;
/// use wakering::http::{Body, BodyError, Content, Frame};
///
/// struct Lines(u32);
///
/// impl Content for Lines {
///     fn poll_frame(
///         mut self: Pin<&mut Self>,
///         _: &mut Context<'_>,
///     ) -> Poll<Option<Result<Frame, BodyError>>> {
///         if self.0 == 0 {
///             return Poll::Ready(None);
///         }
///         self.0 -= 1;
///         Poll::Ready(Some(Ok(Frame::Data(Bytes::from_static(b"line\n")))))
///     }
/// }
///
/// let body = Body::streaming(Lines(100));
/// # drop(body);
/// ```
pub trait Content {
    /// The next piece; `None` at the end. After an error or the end it is not asked again.
    ///
    /// # Errors
    ///
    /// An error resets the stream with INTERNAL_ERROR.
    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>>;

    /// How many bytes there are in all, if that is known: it becomes the response's `content-length`.
    fn exact_length(&self) -> Option<u64> {
        None
    }
}

/// Why content ended before its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The peer reset the stream.
    #[error("the stream was reset: {0}")]
    Reset(Reason),
    /// We reset the stream, because the peer broke a rule on it or passed a bound.
    #[error("the stream was reset: {reason}: {text}")]
    Violation {
        /// What the peer was told.
        reason: Reason,
        /// Which rule, or which bound.
        text: &'static str,
    },
    /// The connection ended first.
    #[error("the connection ended before the content did")]
    ConnectionClosed,
    /// The connection was ended first, because the peer broke a rule on it or kept it waiting.
    #[error("the connection ended before the content did: {0}")]
    Connection(ConnectionError),
    /// The content is longer than the caller was ready to take.
    #[error("the content is longer than {limit} bytes")]
    TooLong {
        /// What the caller allowed.
        limit: usize,
    },
    /// The time limit of the request passed (client).
    #[error("the request took longer than {limit:?}")]
    TimedOut {
        /// What it was allowed.
        limit: std::time::Duration,
    },
    /// The other end of a [`Sender`] was dropped without [`Sender::finish`].
    #[error("the sender of the content was dropped before its end")]
    Abandoned,
    /// The maker of the content failed.
    #[error(transparent)]
    Source(Box<dyn Error + Send + Sync>),
}

impl BodyError {
    /// Wraps whatever the maker of the content failed with.
    pub fn source(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        BodyError::Source(error.into())
    }

    /// The code with which the stream was reset, if it was.
    pub(super) fn reset_reason(&self) -> Option<Reason> {
        match self {
            BodyError::Reset(reason) | BodyError::Violation { reason, text: _ } => Some(*reason),
            BodyError::ConnectionClosed
            | BodyError::Connection(_)
            | BodyError::TooLong { .. }
            | BodyError::TimedOut { .. }
            | BodyError::Abandoned
            | BodyError::Source(_) => None,
        }
    }
}

/// A message's content: nothing, bytes, what the peer sends, or what some [`Content`] makes.
///
/// # Cancellation
///
/// Dropping a request's body discards what is still to come; the flow-control window is given back.
#[derive(Default)]
pub struct Body {
    pub(super) kind: Kind,
}

#[derive(Default)]
pub(super) enum Kind {
    #[default]
    Empty,
    Full(Bytes),
    Incoming(Incoming),
    Streaming(Pin<Box<dyn Content>>),
}

impl Body {
    /// No content.
    #[must_use]
    pub fn empty() -> Self {
        Body::default()
    }

    /// Content made piece by piece.
    pub fn streaming(content: impl Content + 'static) -> Self {
        Body { kind: Kind::Streaming(Box::pin(content)) }
    }

    /// Content that another task sends through the [`Sender`], at most about 64 KiB ahead of the peer.
    ///
    /// # Examples
    ///
    /// ```
    /// # wakering::run(async {
    /// let (mut sender, mut body) = wakering::http::Body::channel();
    /// wakering::spawn(async move {
    ///     sender.send("a part".into()).await.expect("the body is alive");
    ///     sender.finish();
    /// });
    /// assert_eq!(body.data().await.expect("a piece").expect("no error"), "a part");
    /// assert!(body.data().await.is_none());
    /// # })?;
    /// # Ok::<(), wakering::RuntimeError>(())
    /// ```
    #[must_use]
    pub fn channel() -> (Sender, Body) {
        let pipe = Rc::new(RefCell::new(Pipe::default()));
        let sender = Sender { pipe: Rc::downgrade(&pipe), finished: false };
        (sender, Body::streaming(Receiver { pipe }))
    }

    pub(super) fn incoming(incoming: Incoming) -> Self {
        Body { kind: Kind::Incoming(incoming) }
    }

    /// What comes is read as a tunnel's.
    pub(super) fn open_tunnel(&mut self) {
        if let Kind::Incoming(incoming) = &mut self.kind {
            incoming.open_tunnel();
        }
    }

    /// How many bytes there are, if that is known.
    #[must_use]
    pub fn exact_length(&self) -> Option<u64> {
        match &self.kind {
            Kind::Empty => Some(0),
            Kind::Full(bytes) => Some(bytes.len() as u64),
            Kind::Incoming(_) => None,
            Kind::Streaming(content) => content.exact_length(),
        }
    }

    /// Whether there is certainly no content.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exact_length() == Some(0)
    }

    /// The next part: data, or trailers as the last.
    ///
    /// # Errors
    ///
    /// [`BodyError`] when the content ends before its end.
    pub fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        match &mut self.kind {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.kind = Kind::Empty;
                Poll::Ready((!bytes.is_empty()).then_some(Ok(Frame::Data(bytes))))
            }
            Kind::Incoming(incoming) => incoming.poll_frame(context),
            Kind::Streaming(content) => {
                let polled = content.as_mut().poll_frame(context);
                if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
                    self.kind = Kind::Empty;
                }
                polled
            }
        }
    }

    /// The next part, data or trailers; `None` at the end.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn frame(&mut self) -> Option<Result<Frame, BodyError>> {
        poll_fn(|context| self.poll_frame(context)).await
    }

    /// The next bytes; `None` at the end. Trailers are passed over: use [`frame`](Body::frame) to see them.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn data(&mut self) -> Option<Result<Bytes, BodyError>> {
        poll_fn(|context| self.poll_data(context)).await
    }

    /// As `poll_frame`, without the trailers. A piece that lies ready is handed on as it is, not as the smaller part of a
    /// frame.
    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            let frame = match &mut self.kind {
                Kind::Incoming(incoming) => match incoming.take_piece() {
                    Some(piece) => return Poll::Ready(Some(Ok(piece))),
                    None => ready!(incoming.poll_end(context)),
                },
                Kind::Empty | Kind::Full(_) | Kind::Streaming(_) => ready!(self.poll_frame(context)),
            };
            match frame {
                Some(Ok(Frame::Data(bytes))) => return Poll::Ready(Some(Ok(bytes))),
                Some(Ok(Frame::Trailers(_))) => {}
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }

    /// All the content, if it is at most `limit` bytes long.
    ///
    /// # Errors
    ///
    /// [`BodyError`]: the content is longer, or ended before its end.
    ///
    /// # Cancellation
    ///
    /// What was read is lost.
    pub async fn collect(mut self, limit: usize) -> Result<Bytes, BodyError> {
        let mut first = Bytes::new();
        let mut all = BytesMut::new();
        while let Some(bytes) = self.data().await {
            let bytes = bytes?;
            if first.len() + all.len() + bytes.len() > limit {
                return Err(BodyError::TooLong { limit });
            }
            if first.is_empty() && all.is_empty() {
                first = bytes; // content in one piece is not copied
                continue;
            }
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&bytes);
        }
        Ok(if all.is_empty() { first } else { all.freeze() })
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Empty => "empty",
            Kind::Full(_) => "full",
            Kind::Incoming(_) => "incoming",
            Kind::Streaming(_) => "streaming",
        };
        out.debug_struct("Body").field("kind", &kind).field("exact_length", &self.exact_length()).finish()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Body { kind: if bytes.is_empty() { Kind::Empty } else { Kind::Full(bytes) } }
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Self {
        Bytes::from_static(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

/// Sends the content of a [`Body::channel`].
///
/// Dropping it without [`finish`](Sender::finish) ends the content with [`BodyError::Abandoned`], which
/// resets the stream, so that the peer does not take a part for the whole.
pub struct Sender {
    pipe: Weak<RefCell<Pipe>>,
    finished: bool,
}

#[derive(Default)]
struct Pipe {
    waiting: std::collections::VecDeque<Frame>,
    weight: usize,
    ended: Option<Result<(), BodyError>>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// What a waiting frame counts for: its bytes, and what it takes to keep it.
fn weight(frame: &Frame) -> usize {
    match frame {
        Frame::Data(bytes) => bytes.len() + size_of::<Frame>(),
        Frame::Trailers(_) => 0,
    }
}

/// The body was dropped: nobody wants the content any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body was dropped; its content is no longer wanted")]
#[non_exhaustive]
pub struct Unwanted;

impl Sender {
    /// Sends a piece; waits while about 64 KiB are not yet taken.
    ///
    /// # Errors
    ///
    /// [`Unwanted`] when the body was dropped, for instance because the peer reset the stream.
    ///
    /// # Cancellation
    ///
    /// Until it is ready nothing was sent.
    pub async fn send(&mut self, bytes: Bytes) -> Result<(), Unwanted> {
        poll_fn(|context| self.poll_room(context)).await?;
        self.put(Frame::Data(bytes))
    }

    /// Ends the content with trailers.
    ///
    /// # Errors
    ///
    /// [`Unwanted`] when the body was dropped.
    pub fn finish_with(mut self, trailers: HeaderMap) -> Result<(), Unwanted> {
        self.put(Frame::Trailers(trailers))?;
        self.finish();
        Ok(())
    }

    /// Ends the content.
    pub fn finish(mut self) {
        self.finished = true;
        self.end(Ok(()));
    }

    /// Ends the content with a failure: the stream is reset with this reason.
    pub fn reset(mut self, reason: Reason) {
        self.finished = true;
        self.end(Err(BodyError::Reset(reason)));
    }

    /// Waits for room.
    pub(super) fn poll_room(&self, context: &mut Context<'_>) -> Poll<Result<(), Unwanted>> {
        let Some(pipe) = self.pipe.upgrade() else { return Poll::Ready(Err(Unwanted)) };
        let mut pipe = pipe.borrow_mut();
        if pipe.weight < CHANNEL_BYTES {
            return Poll::Ready(Ok(()));
        }
        pipe.writer = Some(context.waker().clone());
        Poll::Pending
    }

    pub(super) fn put(&mut self, frame: Frame) -> Result<(), Unwanted> {
        let pipe = self.pipe.upgrade().ok_or(Unwanted)?;
        let reader = {
            let mut pipe = pipe.borrow_mut();
            pipe.weight += weight(&frame);
            pipe.waiting.push_back(frame);
            pipe.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(())
    }

    fn end(&mut self, how: Result<(), BodyError>) {
        let Some(pipe) = self.pipe.upgrade() else { return };
        let reader = {
            let mut pipe = pipe.borrow_mut();
            pipe.ended = Some(how);
            pipe.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if !self.finished {
            self.end(Err(BodyError::Abandoned));
        }
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Sender").field("wanted", &(self.pipe.strong_count() > 0)).finish()
    }
}

struct Receiver {
    pipe: Rc<RefCell<Pipe>>,
}

impl Content for Receiver {
    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let (frame, writer) = {
            let mut pipe = self.pipe.borrow_mut();
            match pipe.waiting.pop_front() {
                Some(frame) => {
                    pipe.weight -= weight(&frame);
                    let writer = if pipe.weight < CHANNEL_BYTES { pipe.writer.take() } else { None };
                    (frame, writer)
                }
                None => {
                    return match pipe.ended.take() {
                        Some(how) => Poll::Ready(how.err().map(Err)),
                        None => {
                            pipe.reader = Some(context.waker().clone());
                            Poll::Pending
                        }
                    };
                }
            }
        };
        if let Some(writer) = writer {
            writer.wake();
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let writer = self.pipe.borrow_mut().writer.take();
        if let Some(writer) = writer {
            writer.wake();
        }
    }
}
