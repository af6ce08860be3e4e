//! Who wants to be told of what.
//!
//! Each end keeps a list of its own topics, with its place under each: who goes looks at those alone, however many topics
//! and subscribers there are.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    fmt,
};

use bytes::Bytes;

use crate::{
    limits::{MESSAGE_SUBSCRIPTION_COST, MESSAGE_SUBSCRIPTIONS, MESSAGE_TOPIC_BYTES},
    message::peer::End,
    slab::{Key, Slab},
};

/// Topics and their subscribers; a topic without any takes no room.
#[derive(Default)]
pub(super) struct Topics {
    subscribers: RefCell<HashMap<Bytes, Slab<End>>>,
}

/// The topics of one end, and its place among the subscribers of each.
#[derive(Default)]
pub(super) struct Subscriptions {
    places: RefCell<BTreeMap<Bytes, Key>>,
    octets: Cell<usize>,
}

impl Subscriptions {
    pub(super) fn is_empty(&self) -> bool {
        self.places.borrow().is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.places.borrow().len()
    }

    pub(super) fn contains(&self, topic: &[u8]) -> bool {
        self.places.borrow().contains_key(topic)
    }

    /// Whether there may be one more.
    pub(super) fn has_room(&self, topic: &[u8]) -> bool {
        self.len() < MESSAGE_SUBSCRIPTIONS && self.octets.get() + topic.len() <= MESSAGE_TOPIC_BYTES
    }

    /// About how many octets of memory they take.
    pub(super) fn cost(&self) -> usize {
        self.octets.get() + self.len() * MESSAGE_SUBSCRIPTION_COST
    }

    /// The same with one more.
    pub(super) fn cost_with(&self, topic: &[u8]) -> usize {
        let more = if self.contains(topic) { 0 } else { topic.len() + MESSAGE_SUBSCRIPTION_COST };
        self.cost() + more
    }

    fn note(&self, topic: Bytes, place: Key) {
        self.octets.set(self.octets.get() + topic.len());
        self.places.borrow_mut().insert(topic, place);
    }

    fn take(&self, topic: &[u8]) -> Option<Key> {
        let place = self.places.borrow_mut().remove(topic)?;
        self.octets.set(self.octets.get() - topic.len());
        Some(place)
    }

    fn take_all(&self) -> BTreeMap<Bytes, Key> {
        self.octets.set(0);
        self.places.take()
    }
}

impl Topics {
    /// Subscribes; once is as good as often. False when the peer has too many.
    pub(super) fn enter(&self, topic: &[u8], end: &End) -> bool {
        let own = end.subscriptions();
        if own.contains(topic) {
            return true;
        }
        if !own.has_room(topic) {
            return false;
        }
        let mut topics = self.subscribers.borrow_mut();
        // Copied, since it is kept for long: a slice would keep all that was read with it.
        let known = topics.get_key_value(topic).map(|(known, _)| known.clone());
        let topic = known.unwrap_or_else(|| Bytes::copy_from_slice(topic));
        let place = topics.entry(topic.clone()).or_default().insert(end.clone());
        own.note(topic, place);
        true
    }

    pub(super) fn leave(&self, topic: &[u8], end: &End) -> bool {
        let place = end.subscriptions().take(topic);
        place.inspect(|place| self.remove(topic, *place)).is_some()
    }

    /// A peer is gone.
    pub(super) fn leave_all(&self, end: &End) {
        for (topic, place) in end.subscriptions().take_all() {
            self.remove(&topic, place);
        }
    }

    fn remove(&self, topic: &[u8], place: Key) {
        let mut topics = self.subscribers.borrow_mut();
        let Some(subscribers) = topics.get_mut(topic) else { return };
        let left = subscribers.remove(place);
        if subscribers.is_empty() {
            topics.remove(topic);
        }
        drop((topics, left));
    }

    /// The node is gone.
    pub(super) fn clear(&self) {
        let topics = self.subscribers.take();
        drop(topics);
    }

    pub(super) fn of(&self, topic: &[u8]) -> Vec<End> {
        let topics = self.subscribers.borrow();
        let subscribers = topics.get(topic).map(|subscribers| subscribers.iter().map(|(_, end)| end.clone()));
        subscribers.map_or_else(Vec::new, Iterator::collect)
    }
}

impl fmt::Debug for Topics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topics = self.subscribers.borrow();
        out.debug_map().entries(topics.iter().map(|(topic, ends)| (topic, ends.len()))).finish()
    }
}
