//! What is known of one address that datagrams come from and go to.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fmt,
    net::SocketAddr,
    rc::Rc,
};

use crate::{
    limits::{MESSAGE_SOURCES, MESSAGE_SUBSCRIPTIONS},
    message::{
        asks::Asks,
        guard::{Guard, Side},
        udp::{agree::Agreeing, air::Air},
    },
    proto::message::{Order, Requests},
};

/// The far end of datagrams.
pub(in crate::message) struct Far {
    pub(in crate::message) air: Rc<Air>,
    pub(in crate::message) address: SocketAddr,
    pub(in crate::message) asks: Rc<Asks>,
    pub(in crate::message) guard: Guard,
    /// Handlers at work on what it sent.
    pub(super) handlers: Cell<usize>,
    subscriptions: Cell<usize>,
    pub(super) agreeing: Agreeing,
}

impl Far {
    pub(super) fn new(air: &Rc<Air>, address: SocketAddr, side: Side) -> Rc<Far> {
        // An answer to what was asked before this address was forgotten is not to answer what is asked now; and who
        // cannot see a request is not to guess its number.
        let mut first = [0; 4];
        // Without a random number it is a number that answers may be guessed for, as with the protocol's first
        // implementation.
        let _ = getrandom::fill(&mut first);
        let requests = Requests::numbered_from(Order::Any, u32::from_be_bytes(first).into());
        Rc::new(Far {
            air: air.clone(),
            address,
            asks: Asks::new(address, requests),
            guard: Guard::new(air.node.protection.clone(), side, Order::Any),
            handlers: Cell::new(0),
            subscriptions: Cell::new(0),
            agreeing: Agreeing::default(),
        })
    }

    /// Counts a subscription in; false when there are too many.
    pub(in crate::message) fn may_subscribe(self: &Rc<Self>) -> bool {
        let subscriptions = self.subscriptions.get();
        self.subscriptions.set((subscriptions + 1).min(MESSAGE_SUBSCRIPTIONS));
        subscriptions < MESSAGE_SUBSCRIPTIONS
    }

    pub(in crate::message) fn unsubscribed(&self) {
        self.subscriptions.set(self.subscriptions.get().saturating_sub(1));
    }
}

impl fmt::Debug for Far {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Far").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Addresses of which something is known. Those that nobody holds, and nothing is asked of, are forgotten when room is
/// wanted.
#[derive(Default)]
pub(super) struct Fars {
    table: RefCell<HashMap<SocketAddr, Rc<Far>>>,
}

impl Fars {
    pub(super) fn find(&self, address: SocketAddr) -> Option<Rc<Far>> {
        self.table.borrow().get(&address).cloned()
    }

    /// Notes one that has something to say; false when there is no room.
    pub(super) fn admit(&self, far: &Rc<Far>) -> bool {
        let mut table = self.table.borrow_mut();
        if table.contains_key(&far.address) {
            return true;
        }
        let mut forgotten = Vec::new();
        if table.len() >= MESSAGE_SOURCES {
            forgotten = table.extract_if_idle();
        }
        let may = table.len() < MESSAGE_SOURCES;
        if may {
            table.insert(far.address, far.clone());
        }
        drop((table, forgotten));
        may
    }

    /// Notes one that is to be asked something, room or not: it is our own program that wants it.
    pub(super) fn insert(&self, far: &Rc<Far>) {
        if !self.admit(far) {
            self.table.borrow_mut().insert(far.address, far.clone());
        }
    }

    /// Sessions with one of them.
    pub(super) fn sealed(&self) -> usize {
        self.table.borrow().values().filter(|far| far.guard.is_sealed()).count()
    }

    pub(super) fn take_all(&self) -> Vec<Rc<Far>> {
        self.table.take().into_values().collect()
    }
}

/// Splits off what nobody else holds.
trait ExtractIdle {
    fn extract_if_idle(&mut self) -> Vec<Rc<Far>>;
}

impl ExtractIdle for HashMap<SocketAddr, Rc<Far>> {
    fn extract_if_idle(&mut self) -> Vec<Rc<Far>> {
        let is_idle = |far: &Rc<Far>| Rc::strong_count(far) == 1 && !far.asks.is_any();
        // Sessions go only when there is nothing else: strangers do not drive them out.
        for sealed in [false, true] {
            let idle = self.iter().filter(|(_, far)| far.guard.is_sealed() == sealed && is_idle(far));
            let addresses: Vec<SocketAddr> = idle.map(|(address, _)| *address).collect();
            if !addresses.is_empty() {
                return addresses.iter().filter_map(|address| self.remove(address)).collect();
            }
        }
        Vec::new()
    }
}
