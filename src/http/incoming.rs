//! What a peer sends on one stream, for whoever reads it.
//!
//! It is found by the stream's key in the connection's mailboxes, and gives the window back as it is read. Dropped, it
//! wants no more: what lies there and what still comes is given back unread.

use std::{
    rc::Rc,
    task::{Context, Poll},
};

use ::http::{HeaderMap, StatusCode};
use bytes::Bytes;

use crate::{
    http::{
        body::{BodyError, Frame},
        mailbox::Ending,
        wire::Wire,
    },
    proto::h2::StreamKey,
};

/// Content that the peer sends.
pub(super) struct Incoming {
    wire: Rc<Wire>,
    key: StreamKey,
    done: bool,
    /// The peer waits for a 100 before it sends any (RFC 9110 §10.1.1).
    invite: bool,
    /// The content is empty, and what comes after the answer is a tunnel's (HTTP/1.1's upgrade).
    tunnel: bool,
}

impl Incoming {
    pub(super) fn new(wire: Rc<Wire>, key: StreamKey) -> Self {
        Incoming { wire, key, done: false, invite: false, tunnel: false }
    }

    /// Notes whether the peer waits to be invited.
    pub(super) fn by_invitation(mut self, invite: bool) -> Self {
        self.invite = invite;
        self
    }

    /// Notes whether what comes is for a tunnel alone.
    pub(super) fn for_tunnel(mut self, tunnel: bool) -> Self {
        self.tunnel = tunnel;
        self
    }

    /// A tunnel reads from now on.
    pub(super) fn open_tunnel(&mut self) {
        self.tunnel = false;
    }

    /// Says that content is wanted, if the peer waits for the word and the answer has not been given.
    pub(super) fn invite(&mut self) {
        if std::mem::take(&mut self.invite) {
            // After the final head it is too late, and the peer knows what it wanted to know.
            let _ = self.wire.core.borrow_mut().inform(self.key, StatusCode::CONTINUE, &HeaderMap::new());
            self.wire.ask_flush();
        }
    }

    pub(super) fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        match self.take_piece() {
            Some(data) => Poll::Ready(Some(Ok(Frame::Data(data)))),
            None => self.poll_end(context),
        }
    }

    /// The next piece, if one lies here.
    #[inline]
    pub(super) fn take_piece(&mut self) -> Option<Bytes> {
        if self.done || self.tunnel {
            return None;
        }
        self.invite();
        self.wire.take_received(self.key)
    }

    /// What comes when no piece lies here, which is not a piece.
    pub(super) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        if self.done || self.tunnel {
            return Poll::Ready(None);
        }
        let found =
            self.wire.find(self.key, |mailbox| match std::mem::replace(&mut mailbox.ending, Ending::Ended) {
                Ending::Open => {
                    mailbox.ending = Ending::Open;
                    mailbox.reader = Some(context.waker().clone());
                    Poll::Pending
                }
                Ending::Trailers(trailers) => Poll::Ready(Some(Ok(Frame::Trailers(trailers)))),
                Ending::Ended => Poll::Ready(None),
                Ending::Reset(death) => Poll::Ready(Some(Err(death.into()))),
                Ending::Lost(error) => {
                    Poll::Ready(Some(Err(error.map_or(BodyError::ConnectionClosed, BodyError::Connection))))
                }
            });
        let frame = found.unwrap_or(Poll::Ready(Some(Err(BodyError::ConnectionClosed))));
        if frame.is_ready() {
            self.end();
        }
        frame
    }

    /// Nobody wants more. What lies here unread is given back; what still comes is given back as it comes.
    fn end(&mut self) {
        if std::mem::replace(&mut self.done, true) {
            return;
        }
        let left = self.wire.find(self.key, |mailbox| {
            mailbox.wanted = false;
            (std::mem::take(&mut mailbox.received), mailbox.writer.take())
        });
        let Some((unread, writer)) = left else { return };
        let unread: usize = unread.into_iter().map(|data| data.len()).sum();
        if unread > 0 {
            self.wire.release(self.key, unread);
            self.wire.ask_flush();
        }
        if let Some(writer) = writer {
            writer.wake(); // a tunnel may wait for its other direction
        }
        if self.wire.core.borrow().stream_id(self.key).is_none() {
            let left = self.wire.take_mailbox(self.key); // it was left for us
            drop(left);
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.end();
    }
}
