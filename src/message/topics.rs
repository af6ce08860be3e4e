//! Who wants to be told of what.

use std::{
    cell::RefCell,
    collections::HashMap,
    fmt,
    rc::{Rc, Weak},
};

use bytes::Bytes;

use crate::message::link::Link;

/// Topics and their subscribers; a topic without any takes no room.
#[derive(Default)]
pub(super) struct Topics {
    subscribers: RefCell<HashMap<Bytes, Vec<Weak<Link>>>>,
}

impl Topics {
    /// Subscribes; once is as good as often. False when the peer has too many.
    pub(super) fn enter(&self, topic: Bytes, link: &Rc<Link>) -> bool {
        let mut topics = self.subscribers.borrow_mut();
        let subscribers = topics.entry(topic.clone()).or_default();
        if subscribers.iter().any(|it| is(it, link)) {
            return true;
        }
        let may = link.may_subscribe();
        if may {
            subscribers.push(Rc::downgrade(link));
        } else if subscribers.is_empty() {
            topics.remove(&topic);
        }
        may
    }

    pub(super) fn leave(&self, topic: &[u8], link: &Rc<Link>) -> bool {
        let mut topics = self.subscribers.borrow_mut();
        let Some(subscribers) = topics.get_mut(topic) else { return false };
        let before = subscribers.len();
        subscribers.retain(|it| !is(it, link));
        let left = subscribers.len() < before;
        if subscribers.is_empty() {
            topics.remove(topic);
        }
        if left {
            link.unsubscribed();
        }
        left
    }

    /// A peer is gone.
    pub(super) fn leave_all(&self, link: &Rc<Link>) {
        self.subscribers.borrow_mut().retain(|_, subscribers| {
            subscribers.retain(|it| !is(it, link));
            !subscribers.is_empty()
        });
    }

    pub(super) fn of(&self, topic: &[u8]) -> Vec<Rc<Link>> {
        let topics = self.subscribers.borrow();
        topics.get(topic).into_iter().flatten().filter_map(Weak::upgrade).collect()
    }
}

fn is(subscriber: &Weak<Link>, link: &Rc<Link>) -> bool {
    std::ptr::eq(subscriber.as_ptr(), Rc::as_ptr(link))
}

impl fmt::Debug for Topics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topics = self.subscribers.borrow();
        out.debug_map().entries(topics.iter().map(|(topic, links)| (topic, links.len()))).finish()
    }
}
