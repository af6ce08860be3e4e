//! Addresses that have subscribed: how many there may be, and which of them make room for another.
//!
//! Nobody learns that an address has gone, and one that is somebody else's, or of which a host has thousands, is as easily
//! subscribed as one's own. So there are bounds for all addresses and lower ones for a host, and past them those go that were
//! heard from longest ago.

use std::{
    cell::RefCell,
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    rc::Rc,
};

use super::{air::Air, far::Far};
use crate::{
    clock::nanos,
    limits::{
        MESSAGE_HOST_SHARE, MESSAGE_NODE_TOPIC_BYTES, MESSAGE_SUBSCRIBERS, MESSAGE_SUBSCRIPTION_EXPIRY,
    },
    message::{host::host_of, peer::End},
    worker::timer::now,
};

/// What there is of subscribers, all in all and by host.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    all: Share,
    hosts: HashMap<IpAddr, Share>,
}

/// Addresses, and what their subscriptions cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Share {
    addresses: usize,
    cost: usize,
}

/// Whom there is too little room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    Host(IpAddr),
    All,
}

impl Share {
    const MOST: Share = Share { addresses: MESSAGE_SUBSCRIBERS, cost: MESSAGE_NODE_TOPIC_BYTES };
    const MOST_OF_HOST: Share = Share {
        addresses: Share::MOST.addresses / MESSAGE_HOST_SHARE,
        cost: Share::MOST.cost / MESSAGE_HOST_SHARE,
    };

    fn with(self, more: Share) -> Share {
        Share { addresses: self.addresses + more.addresses, cost: self.cost + more.cost }
    }

    fn without(self, less: Share) -> Share {
        Share { addresses: self.addresses - less.addresses, cost: self.cost - less.cost }
    }

    fn exceeds(self, most: Share) -> bool {
        self.addresses > most.addresses || self.cost > most.cost
    }

    /// That of one address whose subscriptions cost so much: none cost nothing.
    fn of(cost: usize) -> Share {
        Share { addresses: usize::from(cost > 0), cost }
    }
}

impl Lack {
    pub(super) fn is_of(self, address: SocketAddr) -> bool {
        match self {
            Lack::Host(host) => host == host_of(address),
            Lack::All => true,
        }
    }

    /// How many addresses go at once: choosing costs a look at all of them.
    pub(super) fn leaving(self) -> usize {
        let most = match self {
            Lack::Host(_) => Share::MOST_OF_HOST,
            Lack::All => Share::MOST,
        };
        (most.addresses / 64).max(1)
    }
}

impl Crowd {
    /// Who has to make room before an address may have subscriptions that cost `after` where they cost `before`.
    fn lack(&self, address: SocketAddr, before: usize, after: usize) -> Option<Lack> {
        let host = host_of(address);
        let grown = |share: Share| share.without(Share::of(before)).with(Share::of(after));
        if grown(self.hosts.get(&host).copied().unwrap_or_default()).exceeds(Share::MOST_OF_HOST) {
            return Some(Lack::Host(host));
        }
        grown(self.all).exceeds(Share::MOST).then_some(Lack::All)
    }

    fn note(&mut self, address: SocketAddr, before: usize, after: usize) {
        let host = self.hosts.entry(host_of(address)).or_default();
        for share in [&mut self.all, &mut *host] {
            *share = share.without(Share::of(before)).with(Share::of(after));
        }
        if *host == Share::default() {
            self.hosts.remove(&host_of(address));
        }
    }
}

impl Air {
    /// Subscribes an address; false when there is no room.
    pub(in crate::message) fn subscribe(&self, far: &Rc<Far>, topic: &[u8]) -> bool {
        if self.is_over() {
            return false;
        }
        let known = self.fars.find(far.address);
        if known.is_none() && !self.fars.admit(far) {
            return false;
        }
        // What is known of the address is what its subscriptions are kept with.
        let far = known.as_ref().unwrap_or(far);
        if !far.subscriptions.has_room(topic) {
            return far.subscriptions.contains(topic);
        }
        let (before, after) = (far.subscriptions.cost(), far.subscriptions.cost_with(topic));
        loop {
            let lack = self.crowd.borrow().lack(far.address, before, after);
            let Some(lack) = lack else { break };
            let leaving = self.fars.silent_longest(lack, far);
            if leaving.is_empty() {
                return false;
            }
            leaving.iter().for_each(|far| self.unsubscribe_all(far.address));
        }
        self.counted(far, |end| self.node.topics.enter(topic, end))
    }

    pub(in crate::message) fn unsubscribe(&self, address: SocketAddr, topic: &[u8]) -> bool {
        let far = self.fars.find(address);
        far.is_some_and(|far| self.counted(&far, |end| self.node.topics.leave(topic, end)))
    }

    pub(in crate::message) fn unsubscribe_all(&self, address: SocketAddr) {
        if let Some(far) = self.fars.find(address) {
            self.counted(&far, |end| self.node.topics.leave_all(end));
        }
    }

    /// Who is to be told of a topic. Who was silent for too long is not, any more.
    pub(super) fn subscribers(&self, topic: &[u8]) -> Vec<End> {
        let mut ends = self.node.topics.of(topic);
        let since = now().saturating_sub(nanos(MESSAGE_SUBSCRIPTION_EXPIRY));
        ends.retain(|end| {
            let End::Far(far) = end else { return true };
            let is_there = far.heard() >= since;
            if !is_there {
                self.unsubscribe_all(far.address);
            }
            is_there
        });
        ends
    }

    /// Changes the subscriptions of an address.
    fn counted<R>(&self, far: &Rc<Far>, change: impl FnOnce(&End) -> R) -> R {
        let before = far.subscriptions.cost();
        let outcome = change(&End::Far(far.clone()));
        self.crowd.borrow_mut().note(far.address, before, far.subscriptions.cost());
        outcome
    }
}

/// Kept in [`Air`].
pub(super) type Counted = RefCell<Crowd>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_bounds_for_all_and_lower_ones_for_a_host_and_what_goes_makes_room() {
        let address = |host: u32, port: usize| {
            SocketAddr::from((std::net::Ipv4Addr::from_bits(host), u16::try_from(port).unwrap()))
        };
        let (mut crowd, most) = (Crowd::default(), Share::MOST_OF_HOST.addresses);
        for port in 0..most {
            assert_eq!(crowd.lack(address(1, port), 0, 300), None);
            crowd.note(address(1, port), 0, 300);
        }
        let full = Some(Lack::Host(address(1, 0).ip()));
        assert_eq!((crowd.lack(address(1, most), 0, 300), crowd.lack(address(2, 0), 0, 300)), (full, None));
        assert_eq!(crowd.lack(address(1, 0), 300, 600), None, "it has subscribed already");
        crowd.note(address(1, 0), 300, 0);
        assert_eq!(crowd.lack(address(1, most), 0, 300), None);
        let room = u32::try_from(MESSAGE_SUBSCRIBERS - crowd.all.addresses).unwrap();
        assert_eq!(crowd.lack(address(room + 2, 1), 0, 1), None);
        (2..room + 2).for_each(|host| crowd.note(address(host, 1), 0, 1));
        assert_eq!(crowd.lack(address(room + 2, 1), 0, 1), Some(Lack::All));
        crowd.note(address(2, 1), 1, 0);
        assert_eq!(crowd.lack(address(room + 2, 1), 0, 1), None);
    }
}
