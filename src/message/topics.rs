//! Who wants to be told of what.

use std::{cell::RefCell, collections::HashMap, fmt, net::SocketAddr};

use bytes::Bytes;

use crate::message::peer::End;

/// Topics and their subscribers; a topic without any takes no room.
#[derive(Default)]
pub(super) struct Topics {
    subscribers: RefCell<HashMap<Bytes, Vec<End>>>,
}

impl Topics {
    /// Subscribes; once is as good as often. False when the peer has too many.
    pub(super) fn enter(&self, topic: Bytes, end: &End) -> bool {
        let mut topics = self.subscribers.borrow_mut();
        let subscribers = topics.entry(topic.clone()).or_default();
        if subscribers.iter().any(|it| it.is(end)) {
            return true;
        }
        let may = end.may_subscribe();
        if may {
            subscribers.push(end.clone());
        } else if subscribers.is_empty() {
            topics.remove(&topic);
        }
        may
    }

    pub(super) fn leave(&self, topic: &[u8], end: &End) -> bool {
        let mut topics = self.subscribers.borrow_mut();
        let Some(subscribers) = topics.get_mut(topic) else { return false };
        let before = subscribers.len();
        subscribers.retain(|it| !it.is(end));
        let left = subscribers.len() < before;
        if subscribers.is_empty() {
            topics.remove(topic);
        }
        if left {
            end.unsubscribed();
        }
        left
    }

    /// A peer is gone.
    pub(super) fn leave_all(&self, end: &End) {
        self.subscribers.borrow_mut().retain(|_, subscribers| {
            subscribers.retain(|it| !it.is(end));
            !subscribers.is_empty()
        });
    }

    /// Who was at an address is gone.
    pub(super) fn leave_address(&self, address: SocketAddr) {
        let mut left = Vec::new();
        self.subscribers.borrow_mut().retain(|_, subscribers| {
            left.extend(subscribers.iter().filter(|it| it.address() == address).cloned());
            subscribers.retain(|it| it.address() != address);
            !subscribers.is_empty()
        });
        left.iter().for_each(End::unsubscribed);
    }

    /// The node is gone.
    pub(super) fn clear(&self) {
        let topics = self.subscribers.take();
        drop(topics);
    }

    pub(super) fn of(&self, topic: &[u8]) -> Vec<End> {
        let topics = self.subscribers.borrow();
        topics.get(topic).cloned().unwrap_or_default()
    }
}

impl fmt::Debug for Topics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topics = self.subscribers.borrow();
        out.debug_map().entries(topics.iter().map(|(topic, links)| (topic, links.len()))).finish()
    }
}
