//! How many connections a listener has at a time.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::IpAddr,
};

/// What a server's builder was told.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionLimits {
    pub(super) all: usize,
    pub(super) per_address: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        ConnectionLimits { all: usize::MAX, per_address: usize::MAX }
    }
}

/// The connections of one listener, counted.
#[derive(Default)]
pub(super) struct Admission {
    limits: ConnectionLimits,
    open: Cell<usize>,
    /// Kept only when there is a limit for it.
    by_address: RefCell<HashMap<IpAddr, usize>>,
}

impl Admission {
    pub(super) fn new(limits: ConnectionLimits) -> Admission {
        Admission { limits, ..Admission::default() }
    }

    /// Counts one more connection from `address`, if there is room.
    pub(super) fn enter(&self, address: IpAddr) -> bool {
        if self.open.get() >= self.limits.all {
            return false;
        }
        if self.limits.per_address != usize::MAX {
            let mut by_address = self.by_address.borrow_mut();
            let open = by_address.entry(address).or_default();
            if *open >= self.limits.per_address {
                return false;
            }
            *open += 1;
        }
        self.open.set(self.open.get() + 1);
        true
    }

    /// A connection that entered is gone.
    pub(super) fn leave(&self, address: IpAddr) {
        self.open.set(self.open.get().saturating_sub(1));
        if self.limits.per_address == usize::MAX {
            return;
        }
        let mut by_address = self.by_address.borrow_mut();
        if let Some(open) = by_address.get_mut(&address) {
            *open -= 1;
            if *open == 0 {
                by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn both_limits_hold_and_room_comes_back() {
        let [one, two] = [1, 2].map(|last| IpAddr::from(Ipv4Addr::new(10, 0, 0, last)));
        let admission = Admission::new(ConnectionLimits { all: 3, per_address: 2 });
        assert!(admission.enter(one) && admission.enter(one));
        assert!(!admission.enter(one), "two from one address");
        assert!(admission.enter(two));
        assert!(!admission.enter(two), "three in all");
        admission.leave(one);
        assert!(admission.enter(two));
        for address in [one, two, two] {
            admission.leave(address);
        }
        assert!(admission.by_address.borrow().is_empty());
        assert_eq!(admission.open.get(), 0);
    }
}
