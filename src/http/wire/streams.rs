//! The connection's streams: what the driver leaves for those who wait on them, and what these leave behind.

use std::{
    rc::Rc,
    task::{Context, Poll},
};

use ::http::HeaderMap;
use bytes::Bytes;

use super::{DRIVEN, Wire};
use crate::{
    contain::wake_contained,
    http::{
        core,
        incoming::Incoming,
        mailbox::{Death, Ending, Mailbox, Work},
    },
    proto::h2::{ConnectionError, StreamKey},
};

/// What comes for a stream.
impl Wire {
    /// Opens the mailbox of a stream whose request has content.
    pub(in crate::http) fn open_mailbox(self: &Rc<Self>, key: StreamKey) -> Incoming {
        self.with_mailbox(key, |mailbox| mailbox.wanted = true);
        Incoming::new(self.clone(), key)
    }

    /// Notes what works for a stream and ends with it.
    pub(in crate::http) fn keep_work(&self, key: StreamKey, work: Work) {
        self.with_mailbox(key, |mailbox| mailbox.work = Some(work));
    }

    /// Content came.
    pub(in crate::http) fn deliver(&self, key: StreamKey, data: Bytes, end: bool) {
        let length = data.len();
        let found = self.find(key, |mailbox| {
            if end {
                mailbox.ending = Ending::Ended;
            }
            if mailbox.wanted && length > 0 {
                mailbox.keep(data);
            }
            (mailbox.wanted, mailbox.reader.take(), end && mailbox.heads.is_some())
        });
        let (taken, reader, response_ends) = found.unwrap_or_default();
        if !taken && length > 0 {
            self.core.borrow_mut().release(key, length);
        }
        if response_ends {
            self.detach(key);
        }
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Trailers came.
    pub(in crate::http) fn deliver_trailers(&self, key: StreamKey, trailers: HeaderMap) {
        let found = self.find(key, |mailbox| {
            mailbox.ending = Ending::Trailers(trailers);
            (mailbox.reader.take(), mailbox.heads.is_some())
        });
        let (reader, response_ends) = found.unwrap_or_default();
        if response_ends {
            self.detach(key);
        }
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// There is room to send again.
    pub(in crate::http) fn stream_writable(&self, key: StreamKey) {
        if let Some(Some(writer)) = self.find(key, |mailbox| mailbox.writer.take()) {
            writer.wake();
        }
    }

    /// The stream is dead: what works for it ends, its body says why. A message that came whole stays readable:
    /// the peer may only be tired of the other direction (RFC 9113 §8.1).
    pub(in crate::http) fn stream_died(&self, key: StreamKey, death: Death) {
        let left = self.find(key, |mailbox| {
            if !mailbox.is_complete() {
                mailbox.ending = Ending::Reset(death);
                mailbox.received.clear();
            }
            (mailbox.work.take(), mailbox.reader.take(), mailbox.writer.take())
        });
        if let Some((work, reader, writer)) = left {
            if let Some(work) = work {
                work.cancel();
            }
            [reader, writer].into_iter().flatten().for_each(wake_contained);
        }
    }

    /// Tells everybody who waits on a stream that the connection is over. What has come whole stays readable.
    pub(in crate::http) fn lose_streams(&self, error: Option<ConnectionError>) {
        let (mut wakers, mut handlers) = (Vec::new(), Vec::new());
        for mailbox in self.mailboxes.borrow_mut().iter_mut() {
            if matches!(mailbox.ending, Ending::Open) {
                mailbox.ending = Ending::Lost(error);
            }
            wakers.extend([mailbox.reader.take(), mailbox.writer.take()].into_iter().flatten());
            handlers.extend(mailbox.work.take());
        }
        handlers.iter().for_each(Work::cancel);
        wakers.into_iter().for_each(wake_contained);
    }
}

/// What a stream takes, and gives back.
impl Wire {
    /// The next piece of content that came, if there is one; its window is given back.
    pub(in crate::http) fn take_received(self: &Rc<Self>, key: StreamKey) -> Option<Bytes> {
        let mut mailboxes = self.mailboxes.borrow_mut();
        let mailbox = mailboxes.find(key)?;
        let (data, detached) = (mailbox.received.pop_front()?, mailbox.detached);
        drop(mailboxes);
        self.give_back(key, data.len(), detached);
        self.ask_flush();
        Some(data)
    }

    /// Gives the window of content back that nobody will read.
    pub(in crate::http) fn release(&self, key: StreamKey, n: usize) {
        let detached = self.find(key, |mailbox| mailbox.detached).unwrap_or(false);
        self.give_back(key, n, detached);
    }

    fn give_back(&self, key: StreamKey, n: usize, detached: bool) {
        let mut core = self.core.borrow_mut();
        if detached {
            core.release_late(n);
        } else {
            core.release(key, n);
        }
        if core::resumes(&core) {
            drop(core);
            self.wake_driver();
        }
    }

    /// Waits for room to send on a stream; false when there will never be any. The end of content needs none, and a peer
    /// that knows the length gives none for it.
    pub(in crate::http) fn poll_room(&self, key: StreamKey, context: &Context<'_>) -> Poll<bool> {
        if self.stream.borrow().is_none() {
            return Poll::Ready(false);
        }
        let mut core = self.core.borrow_mut();
        if core.stream_id(key).is_none() {
            return Poll::Ready(false);
        }
        if core.is_all_sent(key) || core.send_capacity(key) > 0 {
            return Poll::Ready(true);
        }
        self.with_mailbox(key, |mailbox| mailbox.writer = Some(context.waker().clone()));
        Poll::Pending
    }

    /// Ready when nobody reads what the peer sends any more, or all of it was read.
    pub(in crate::http) fn poll_unwanted(&self, key: StreamKey, context: &Context<'_>) -> Poll<()> {
        let wanted = self.find(key, |mailbox| {
            mailbox.writer = Some(context.waker().clone());
            mailbox.wanted
        });
        if wanted == Some(true) { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Whether all of the response has come.
    pub(in crate::http) fn is_complete(&self, key: StreamKey) -> bool {
        self.find(key, |mailbox| mailbox.is_complete()).unwrap_or(false)
    }
}

/// How it ends here.
impl Wire {
    /// Ends a stream for the core when all of its response has come and all of its request has gone, although
    /// somebody may still read: what came stays readable, and the next request finds room.
    pub(in crate::http) fn detach(&self, key: StreamKey) {
        let complete = self.find(key, |mailbox| mailbox.is_complete());
        if complete == Some(true) && self.core.borrow_mut().detach(key) {
            self.find(key, |mailbox| mailbox.detached = true);
        }
    }

    /// Detaches every stream that may be: a request may have ended after its response.
    pub(in crate::http) fn detach_complete(&self) {
        let complete: Vec<StreamKey> = {
            let mailboxes = self.mailboxes.borrow();
            mailboxes.iter().filter(|it| it.is_complete() && !it.detached).map(|it| it.key).collect()
        };
        complete.into_iter().for_each(|key| self.detach(key));
    }

    /// The handler is gone, and with it the stream's mailbox.
    pub(in crate::http) fn forget(&self, key: StreamKey) {
        let mailbox = self.take_mailbox(key);
        let mailbox = mailbox.and_then(|mailbox| self.leave_to_reader(mailbox));
        if let Some(mailbox) = mailbox {
            let unread: usize = mailbox.received.iter().map(Bytes::len).sum();
            if unread > 0 {
                let mut core = self.core.borrow_mut();
                if mailbox.detached { core.release_late(unread) } else { core.release(key, unread) }
            }
        }
        let (idle, ended) = core::finish(&mut self.core.borrow_mut(), key);
        if ended && self.armed.get() != DRIVEN {
            self.wake_driver();
        }
        if idle {
            self.check_deadline();
        }
    }

    /// Puts a mailbox back whose reader has not heard yet what became of the stream; it takes it away when it is
    /// dropped, unless the next stream in the slot was quicker.
    fn leave_to_reader(&self, mut mailbox: Box<Mailbox>) -> Option<Box<Mailbox>> {
        if !mailbox.wanted || matches!(mailbox.ending, Ending::Open) {
            return Some(mailbox);
        }
        mailbox.work = None;
        self.mailboxes.borrow_mut().put_back(mailbox)
    }
}

/// Who waits on them.
impl Wire {
    /// Handlers that wait.
    pub(in crate::http) fn busy_streams(&self) -> usize {
        self.mailboxes.borrow().iter().filter(|it| it.work.is_some()).count()
    }

    /// Whether this task is the handler of one of the streams.
    pub(in crate::http) fn has_handler(&self, task: u64) -> bool {
        self.mailboxes.borrow().iter().any(|it| it.handler() == Some(task))
    }

    /// Whether handlers are at work, and only such as are these tasks.
    pub(in crate::http) fn waits_only_for(&self, tasks: &[u64]) -> bool {
        let mailboxes = self.mailboxes.borrow();
        let mut handlers = mailboxes.iter().filter_map(|it| it.handler()).peekable();
        handlers.peek().is_some() && handlers.all(|task| tasks.contains(&task))
    }

    /// Shows who waits on streams; nobody in the middle of a change.
    pub(in crate::http) fn each_mailbox(&self, show: impl FnMut(&Mailbox)) {
        if let Ok(mailboxes) = self.mailboxes.try_borrow() {
            mailboxes.iter().for_each(show);
        }
    }

    pub(in crate::http) fn find<R>(&self, key: StreamKey, body: impl FnOnce(&mut Mailbox) -> R) -> Option<R> {
        self.mailboxes.borrow_mut().find(key).map(body)
    }

    pub(in crate::http) fn with_mailbox<R>(&self, key: StreamKey, body: impl FnOnce(&mut Mailbox) -> R) -> R {
        body(self.mailboxes.borrow_mut().open(key))
    }

    pub(in crate::http) fn take_mailbox(&self, key: StreamKey) -> Option<Box<Mailbox>> {
        self.mailboxes.borrow_mut().take(key)
    }
}
