//! What waits on the streams of one connection.
//!
//! Each stream has at most one mailbox, in the place that its key names. A key is of one stream only: a mailbox of
//! an earlier stream in the same place is not found by it.
//!
//! A response that came whole is *detached*: its stream is over for the core, so that the next may have its place,
//! while somebody still reads. When the next takes the place, the mailbox moves aside.

use std::{
    collections::{HashMap, VecDeque},
    mem,
    task::Waker,
};

use ::http::{HeaderMap, Response, StatusCode};
use bytes::{Bytes, BytesMut};

use crate::{
    http::body::BodyError,
    limits::MERGED_CONTENT,
    proto::h2::{ConnectionError, Reason, StreamKey},
    task::{JoinHandle, Started},
};

/// The mailboxes of a connection.
#[derive(Default)]
pub(super) struct Mailboxes {
    places: Vec<Option<Box<Mailbox>>>,
    /// Detached ones whose place was taken; made when it first happens.
    #[expect(clippy::box_collection, reason = "a server's connection never has one, and must stay small")]
    aside: Option<Box<HashMap<StreamKey, Box<Mailbox>>>>,
}

impl Mailboxes {
    pub(super) fn find(&mut self, key: StreamKey) -> Option<&mut Mailbox> {
        match self.places.get_mut(key.index())?.as_deref_mut() {
            Some(mailbox) if mailbox.key == key => Some(mailbox),
            Some(_) | None => self.aside.as_mut()?.get_mut(&key).map(AsMut::as_mut),
        }
    }

    /// The stream's mailbox, made if there is none.
    pub(super) fn open(&mut self, key: StreamKey) -> &mut Mailbox {
        if self.places.len() <= key.index() {
            self.places.resize_with(key.index() + 1, || None);
        }
        let place = &mut self.places[key.index()];
        if let Some(old) = place.take_if(|mailbox| mailbox.key != key).filter(|old| old.detached) {
            self.aside.get_or_insert_default().insert(old.key, old);
        }
        place.get_or_insert_with(|| Box::new(Mailbox::new(key)))
    }

    pub(super) fn take(&mut self, key: StreamKey) -> Option<Box<Mailbox>> {
        let here = self.places.get_mut(key.index())?.take_if(|mailbox| mailbox.key == key);
        here.or_else(|| self.aside.as_mut()?.remove(&key))
    }

    /// Puts one back that was taken; returns what lay there.
    pub(super) fn put_back(&mut self, mailbox: Box<Mailbox>) -> Option<Box<Mailbox>> {
        if mailbox.detached {
            return self.aside.get_or_insert_default().insert(mailbox.key, mailbox);
        }
        self.places.get_mut(mailbox.key.index()).and_then(|place| place.replace(mailbox))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Mailbox> {
        self.places.iter().flatten().map(AsRef::as_ref)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Mailbox> {
        self.places.iter_mut().flatten().map(AsMut::as_mut)
    }
}

/// What waits on one stream.
pub(super) struct Mailbox {
    pub(super) key: StreamKey,
    pub(super) received: VecDeque<Bytes>,
    pub(super) ending: Ending,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    pub(super) work: Option<Work>,
    /// Somebody still wants what the peer sends.
    pub(super) wanted: bool,
    /// The stream is over for the core.
    pub(super) detached: bool,
    /// The heads of the response (client).
    pub(super) heads: Option<Box<Heads>>,
}

pub(super) enum Ending {
    Open,
    Trailers(HeaderMap),
    Ended,
    Reset(Death),
    /// The connection is over, and this is the rule that the peer broke.
    Lost(Option<ConnectionError>),
}

/// What ends with the stream.
pub(super) enum Work {
    /// A handler that did not finish at once.
    Handler(Started),
    /// Whoever sends a request's content.
    Upload(JoinHandle<()>),
}

impl Work {
    pub(super) fn cancel(&self) {
        match self {
            Work::Handler(handler) => handler.cancel(),
            Work::Upload(task) => task.abort(),
        }
    }
}

/// How a stream died.
#[derive(Clone, Copy, Debug)]
pub(super) struct Death {
    pub(super) reason: Reason,
    /// The peer reset it; otherwise we did.
    pub(super) remote: bool,
    /// What rule the peer broke, or what bound it passed.
    pub(super) text: &'static str,
}

impl From<Death> for BodyError {
    fn from(Death { reason, remote, text }: Death) -> BodyError {
        if remote || text.is_empty() {
            BodyError::Reset(reason)
        } else {
            BodyError::Violation { reason, text }
        }
    }
}

/// Heads that came for a request and were not fetched yet.
#[derive(Default)]
pub(super) struct Heads {
    pub(super) interim: VecDeque<Response<()>>,
    /// A 100 came.
    pub(super) go_on: bool,
    pub(super) last: Option<ResponseHead>,
    /// The status of the final head, once it has come.
    pub(super) status: Option<StatusCode>,
}

/// A final head.
pub(super) struct ResponseHead {
    pub(super) response: Response<()>,
    /// No content follows.
    pub(super) end: bool,
}

/// Why there will be no head.
#[derive(Clone, Copy, Debug)]
pub(super) enum Headless {
    Died(Death),
    /// The connection ended.
    Lost,
}

impl Mailbox {
    pub(super) fn new(key: StreamKey) -> Self {
        Mailbox {
            key,
            received: VecDeque::new(),
            ending: Ending::Open,
            reader: None,
            writer: None,
            work: None,
            wanted: false,
            detached: false,
            heads: None,
        }
    }

    /// Keeps content that came. Small pieces are put together, so that what lies here is not mostly their own upkeep.
    pub(super) fn keep(&mut self, data: Bytes) {
        match self.received.back_mut() {
            Some(last) if last.len() + data.len() <= MERGED_CONTENT => {
                let merged = mem::take(last).try_into_mut();
                let mut merged = merged.unwrap_or_else(|shared| BytesMut::from(&shared[..]));
                merged.extend_from_slice(&data);
                *last = merged.freeze();
            }
            Some(_) | None => self.received.push_back(data),
        }
    }

    /// The task of the handler that is at work on the stream.
    pub(super) fn handler(&self) -> Option<u64> {
        match &self.work {
            Some(Work::Handler(handler)) => handler.task(),
            Some(Work::Upload(_)) | None => None,
        }
    }

    /// Whether the peer's message has come whole.
    pub(super) fn is_complete(&self) -> bool {
        match self.ending {
            Ending::Trailers(_) | Ending::Ended => true,
            Ending::Open | Ending::Reset(_) | Ending::Lost(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pieces_are_put_together_and_large_ones_are_kept_as_they_are() {
        let mut mailbox = Mailbox::new(StreamKey::from_bits(0));
        let large = Bytes::from(vec![1; 10_000]);
        let content: Vec<u8> = (0..60_000u32).map(|at| (at % 251) as u8).collect();
        mailbox.keep(large.clone());
        content.iter().for_each(|octet| mailbox.keep(Bytes::copy_from_slice(&[*octet])));
        mailbox.keep(large.clone());
        assert!(
            mailbox.received.len() <= 2 + content.len() / MERGED_CONTENT + 1,
            "{}",
            mailbox.received.len()
        );
        assert_eq!(mailbox.received[0].as_ptr(), large.as_ptr(), "it was not copied");
        let all: Vec<u8> = mailbox.received.iter().flatten().copied().collect();
        assert!(all[..10_000] == large && all[10_000..70_000] == content && all[70_000..] == large);
    }
}
