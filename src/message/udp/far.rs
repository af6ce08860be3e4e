//! What is known of one address that datagrams come from and go to.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fmt,
    net::SocketAddr,
    rc::Rc,
};

use crate::{
    limits::MESSAGE_SOURCES,
    message::{
        asks::Asks,
        guard::{Guard, Side},
        topics::Subscriptions,
        udp::{agree::Agreeing, air::Air, crowd::Lack},
    },
    proto::message::{Order, Requests},
    worker::timer::turn_time,
};

/// The far end of datagrams.
pub(in crate::message) struct Far {
    pub(in crate::message) air: Rc<Air>,
    pub(in crate::message) address: SocketAddr,
    /// Whether it is the node's own address, from which nothing is heard.
    pub(in crate::message) is_own: bool,
    pub(in crate::message) asks: Rc<Asks>,
    pub(in crate::message) guard: Guard,
    /// Handlers at work on what it sent.
    pub(super) handlers: Cell<usize>,
    /// Each of them holds it once.
    pub(in crate::message) subscriptions: Subscriptions,
    /// When something was heard that passed the node's layer, in the time of the worker.
    heard: Cell<u64>,
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
            is_own: air.is_own(address),
            asks: Asks::new(address, requests),
            guard: Guard::new(air.node.protection.clone(), side, Order::Any),
            handlers: Cell::new(0),
            subscriptions: Subscriptions::default(),
            heard: Cell::new(turn_time()),
            agreeing: Agreeing::default(),
        })
    }

    pub(in crate::message) fn hear(&self) {
        self.heard.set(turn_time());
    }

    pub(super) fn heard(&self) -> u64 {
        self.heard.get()
    }

    /// Whether nothing is wanted of it.
    fn is_idle(self: &Rc<Self>) -> bool {
        Rc::strong_count(self) == 1 && !self.asks.is_any()
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

    /// Those that have to make room for the subscriptions of another: they were heard from longest ago. Whoever is there
    /// drives nobody out of a session who is not in one.
    pub(super) fn silent_longest(&self, lack: Lack, other: &Far) -> Vec<Rc<Far>> {
        let table = self.table.borrow();
        let may_go = |far: &&Rc<Far>| {
            let is_there = !far.subscriptions.is_empty() && far.address != other.address;
            is_there && lack.is_of(far.address) && (other.guard.is_sealed() || !far.guard.is_sealed())
        };
        let mut silent: Vec<Rc<Far>> = table.values().filter(may_go).cloned().collect();
        let leaving = lack.leaving();
        if silent.len() > leaving {
            silent.select_nth_unstable_by_key(leaving - 1, |far| (far.guard.is_sealed(), far.heard()));
            silent.truncate(leaving);
        }
        silent
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
        // Sessions go only when there is nothing else: strangers do not drive them out.
        for sealed in [false, true] {
            let idle = self.iter().filter(|(_, far)| far.guard.is_sealed() == sealed && far.is_idle());
            let addresses: Vec<SocketAddr> = idle.map(|(address, _)| *address).collect();
            if !addresses.is_empty() {
                return addresses.iter().filter_map(|address| self.remove(address)).collect();
            }
        }
        Vec::new()
    }
}
