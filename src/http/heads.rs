//! The heads that a client's streams wait for: interim ones, the word to go on, and the one that counts.
//!
//! The driver delivers them into the stream's mailbox; whoever sent the request waits there.

use std::{
    rc::Rc,
    task::{Context, Poll},
};

use ::http::{Response, StatusCode};

use crate::{
    http::{
        incoming::Incoming,
        mailbox::{Ending, Headless, Heads, ResponseHead},
        wire::Wire,
    },
    limits::INTERIM_HEADS,
    proto::h2::StreamKey,
};

impl Wire {
    /// Opens the mailbox of a request that was sent.
    pub(super) fn await_response(self: &Rc<Self>, key: StreamKey) -> Incoming {
        self.with_mailbox(key, |mailbox| {
            mailbox.wanted = true;
            mailbox.heads = Some(Box::default());
        });
        Incoming::new(self.clone(), key)
    }

    /// A head came; `end`: and nothing follows.
    pub(super) fn deliver_head(&self, key: StreamKey, response: Response<()>, end: bool) {
        self.with_heads(key, |heads, ending| {
            heads.status = Some(response.status());
            heads.last = Some(ResponseHead { response, end });
            if end {
                *ending = Ending::Ended;
            }
        });
        if end {
            self.detach(key);
        }
    }

    /// An interim head came; those that nobody fetches are kept up to a bound.
    pub(super) fn deliver_interim(&self, key: StreamKey, response: Response<()>) {
        self.with_heads(key, |heads, _ending| {
            heads.go_on |= response.status() == StatusCode::CONTINUE;
            if heads.interim.len() < INTERIM_HEADS {
                heads.interim.push_back(response);
            }
        });
    }

    fn with_heads(&self, key: StreamKey, body: impl FnOnce(&mut Heads, &mut Ending)) {
        let wakers = self.find(key, |mailbox| {
            let heads = mailbox.heads.as_mut()?;
            body(heads, &mut mailbox.ending);
            Some([mailbox.reader.take(), mailbox.writer.take()])
        });
        for waker in wakers.flatten().into_iter().flatten().flatten() {
            waker.wake();
        }
    }

    /// Waits for the final head.
    pub(super) fn poll_head(
        &self,
        key: StreamKey,
        context: &Context<'_>,
    ) -> Poll<Result<ResponseHead, Headless>> {
        let head = self.find(key, |mailbox| {
            if let Some(head) = mailbox.heads.as_mut().and_then(|heads| heads.last.take()) {
                return Poll::Ready(Ok(head));
            }
            match mailbox.ending {
                Ending::Reset(death) => Poll::Ready(Err(Headless::Died(death))),
                Ending::Lost(_) => Poll::Ready(Err(Headless::Lost)),
                Ending::Open | Ending::Trailers(_) | Ending::Ended => {
                    mailbox.reader = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        });
        head.unwrap_or(Poll::Ready(Err(Headless::Lost)))
    }

    /// Waits for an interim head; `None` when there will be no more.
    pub(super) fn poll_interim(&self, key: StreamKey, context: &Context<'_>) -> Poll<Option<Response<()>>> {
        let head = self.find(key, |mailbox| {
            let heads = mailbox.heads.as_mut();
            if let Some(response) = heads.and_then(|heads| heads.interim.pop_front()) {
                return Poll::Ready(Some(response));
            }
            let over = mailbox.heads.as_ref().is_none_or(|heads| heads.status.is_some());
            if over || !matches!(mailbox.ending, Ending::Open) {
                return Poll::Ready(None);
            }
            mailbox.reader = Some(context.waker().clone());
            Poll::Pending
        });
        head.unwrap_or(Poll::Ready(None))
    }

    /// Waits until the peer wants the content that was announced with `expect: 100-continue`; `false` when it
    /// does not.
    pub(super) fn poll_go_on(&self, key: StreamKey, context: &Context<'_>) -> Poll<bool> {
        let answer = self.find(key, |mailbox| {
            let heads = mailbox.heads.as_ref();
            if heads.is_some_and(|heads| heads.go_on) {
                return Poll::Ready(true);
            }
            if let Some(status) = heads.and_then(|heads| heads.status) {
                return Poll::Ready(status.is_success());
            }
            if !matches!(mailbox.ending, Ending::Open) {
                return Poll::Ready(false);
            }
            mailbox.writer = Some(context.waker().clone());
            Poll::Pending
        });
        answer.unwrap_or(Poll::Ready(false))
    }
}
