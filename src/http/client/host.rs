//! The connections to one host, and who waits for room on them.
//!
//! Whoever comes first is served first. A connection is opened when all that there are have no room; one is being
//! opened at a time, and everybody who waits shares the outcome: the room of a success, or the error when there is
//! no other connection to hope for. Connections of HTTP/1.1 carry one request each: once it is known that these are all
//! that there will be, one is opened for everybody who waits, up to the bound.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::Future,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::{
    error::{Error, Kind},
    handle::SendRequest,
    link::Owner,
    pool::{Key, Pool, Settings},
};
use crate::{
    clock::nanos,
    contain::wake_contained,
    error::SpawnError,
    limits::{CLIENT_REDIAL_PAUSE, CLIENT_WAITING},
    task::JoinHandle,
    time,
    worker::{self, context},
};

/// One host of a pool.
pub(super) struct Host {
    key: Key,
    settings: Rc<Settings>,
    pool: Weak<Pool>,
    me: Weak<Host>,
    connections: RefCell<Vec<Pooled>>,
    /// Connections that are being opened, by number.
    dials: RefCell<Vec<(u32, JoinHandle<()>)>>,
    dialled: Cell<u32>,
    /// The last one that was opened carries one request at a time.
    narrow: Cell<bool>,
    /// When connecting may be tried again although it failed, by the worker's clock.
    redial_at: Cell<u64>,
    /// Waits for that, when somebody is in line whom nothing else may ever serve.
    redial: RefCell<Option<JoinHandle<()>>>,
    line: RefCell<VecDeque<Rc<Waiter>>>,
}

struct Pooled {
    handle: SendRequest,
    /// When it was last asked for, by the worker's clock.
    used: Cell<u64>,
    /// It has carried no request.
    unused: Cell<bool>,
}

struct Waiter {
    state: RefCell<State>,
    /// Only a connection that has carried no request will do.
    fresh: bool,
}

enum State {
    InLine(Waker),
    /// The handle has room kept for a request.
    Served(SendRequest),
    Failed(Error),
    Left,
}

impl Host {
    pub(super) fn new(key: Key, pool: &Rc<Pool>) -> Rc<Host> {
        Rc::new_cyclic(|me| Host {
            settings: pool.settings.clone(),
            pool: Rc::downgrade(pool),
            me: me.clone(),
            connections: RefCell::default(),
            dials: RefCell::default(),
            dialled: Cell::new(0),
            narrow: Cell::new(key.secure_host().is_none() && pool.settings.builder.is_narrow_in_cleartext()),
            redial_at: Cell::new(0),
            redial: RefCell::default(),
            key,
            line: RefCell::default(),
        })
    }

    /// A handle with room for a request. `fresh`: on a connection that has carried none before, so that its peer cannot have
    /// ended it meanwhile.
    pub(super) fn checkout(self: &Rc<Host>, fresh: bool) -> Checkout {
        Checkout { host: self.clone(), waiter: None, fresh }
    }

    /// Connections that are open or being opened.
    pub(super) fn connections(&self) -> usize {
        self.connections.borrow().len() + self.dials.borrow().len()
    }

    /// Ends every connection in good order, and fails everybody who waits.
    pub(super) fn leave(&self) -> Vec<SendRequest> {
        let (dials, redial) = (self.dials.take(), self.redial.take());
        dials.iter().map(|(_number, dial)| dial).chain(&redial).for_each(JoinHandle::abort);
        self.fail_those(&Error::new(Kind::Closed, "the client was shut down").unprocessed(), |_waiter| true);
        let connections = std::mem::take(&mut *self.connections.borrow_mut());
        self.count(-(connections.len() as isize));
        connections.into_iter().map(|pooled| pooled.handle).collect()
    }

    /// When the connection that has had nothing to do for longest was used last.
    pub(super) fn longest_idle(&self) -> Option<u64> {
        let connections = self.connections.borrow();
        connections.iter().filter(|it| it.handle.is_idle()).map(|it| it.used.get()).min()
    }

    /// Connections that have nothing to do.
    pub(super) fn idle(&self) -> usize {
        self.connections.borrow().iter().filter(|it| it.handle.is_idle()).count()
    }

    /// Gives up the connection that was idle since then.
    pub(super) fn close_idle(&self, since: u64) {
        self.drop_idle(since);
        self.forget_if_empty();
    }

    fn drop_idle(&self, since: u64) {
        let found = {
            let mut connections = self.connections.borrow_mut();
            let at = connections.iter().position(|it| it.handle.is_idle() && it.used.get() == since);
            at.map(|at| connections.swap_remove(at))
        };
        self.count(-isize::from(found.is_some()));
        drop(found);
    }

    /// Gives up the connections that have nothing to do and are like one that turned out to be of no use: the peer has most
    /// likely ended them, too.
    pub(super) fn distrust(&self) {
        self.part_with(|it| it.handle.is_narrow() && it.handle.is_idle());
        self.forget_if_empty();
    }

    /// Drops connections; what is under way on them goes on.
    fn part_with(&self, unwanted: impl Fn(&Pooled) -> bool) {
        let parted: Vec<Pooled> = {
            let mut connections = self.connections.borrow_mut();
            if !connections.iter().any(&unwanted) {
                return;
            }
            let (parted, kept) = connections.drain(..).partition(unwanted);
            *connections = kept;
            parted
        };
        self.count(-(parted.len() as isize));
        drop(parted);
    }

    /// Takes a place on a connection that has room. One that is of no more use, although nobody has been told, is given up: a
    /// request would be lost there, or would get an answer that is not its own.
    fn take_room(&self, fresh: bool) -> Option<SendRequest> {
        let mut stale = false;
        let found = self.connections.borrow().iter().find_map(|pooled| {
            if fresh && !pooled.unused.get() {
                return None;
            }
            if pooled.handle.is_stale() {
                stale = true;
                return None;
            }
            let handle = pooled.handle.with_room()?;
            pooled.used.set(context::with(context::Context::turn_time));
            pooled.unused.set(false);
            Some(handle)
        });
        if stale {
            self.part_with(|it| it.handle.is_stale());
        }
        found
    }

    /// Gives a connection up that has nothing to do, if there are as many as there may be: one is wanted that was never used.
    fn make_way(&self) {
        let since = self.longest_idle().filter(|_| self.connections() >= self.settings.connections_per_host);
        if let Some(since) = since {
            self.drop_idle(since);
        }
    }

    /// Drops the connections that take no more requests; what is under way on them goes on.
    fn drop_closed(&self) {
        self.part_with(|it| it.handle.is_closed());
    }

    /// Serves those in line as far as there is room, and sees to more room.
    fn advance(&self) {
        self.drop_closed();
        loop {
            let next = self.line.borrow().front().map(|waiter| waiter.fresh);
            let Some(handle) = next.and_then(|fresh| self.take_room(fresh)) else { break };
            let next = self.line.borrow_mut().pop_front();
            match next {
                Some(waiter) => waiter.tell(State::Served(handle)),
                None => drop(handle),
            }
        }
        if self.line.borrow().is_empty() {
            self.forget_if_empty();
        } else {
            self.dial();
        }
    }

    /// Opens connections, unless enough are being opened or there are enough.
    fn dial(&self) {
        let fresh = self.line.borrow().front().is_some_and(|waiter| waiter.fresh);
        if fresh {
            self.make_way();
        }
        let open = self.connections.borrow().len();
        let wanted = if self.narrow.get() { self.line.borrow().len() } else { 1 };
        let most = wanted.min(self.settings.connections_per_host.saturating_sub(open));
        if self.dials.borrow().len() >= most {
            return;
        }
        // With something to hope for it is not tried again at once.
        if !fresh && self.connections() > 0 {
            let pause = self.redial_at.get().saturating_sub(context::with(context::Context::turn_time));
            if pause > 0 {
                return self.dial_after(Duration::from_nanos(pause));
            }
        }
        while self.dials.borrow().len() < most {
            self.dial_one();
        }
    }

    /// Looks again after the pause, as nothing else may: the connections that there are may be silent for as long as they last.
    fn dial_after(&self, pause: Duration) {
        let mut redial = self.redial.borrow_mut();
        if redial.is_some() {
            return;
        }
        let host = self.me.clone();
        *redial = Some(worker::spawn(async move {
            time::sleep(pause).await;
            if let Some(host) = host.upgrade() {
                // The pause may have begun anew meanwhile, which needs another task.
                drop(host.redial.take());
                host.advance();
            }
        }));
    }

    fn dial_one(&self) {
        // Only a weak reference: the last client may be dropped meanwhile, which ends the attempt.
        let (host, key, settings) = (self.me.clone(), self.key.clone(), self.settings.clone());
        let number = self.dialled.get();
        self.dialled.set(number.wrapping_add(1));
        let task = worker::spawn(async move {
            let connected = connect(&settings, &key).await;
            if let Some(host) = host.upgrade() {
                host.connected(number, connected);
            }
        });
        self.dials.borrow_mut().push((number, task));
    }

    fn connected(&self, number: u32, connected: Result<SendRequest, Error>) {
        self.dials.borrow_mut().retain(|(other, _dial)| *other != number);
        match connected {
            Ok(handle) => {
                self.narrow.set(handle.is_narrow());
                let owner: Weak<dyn Owner> = self.me.clone();
                handle.set_owner(owner);
                let used = Cell::new(context::with(context::Context::turn_time));
                self.connections.borrow_mut().push(Pooled { handle, used, unused: Cell::new(true) });
                self.count(1);
            }
            Err(error) => {
                self.drop_closed();
                let now = context::with(context::Context::turn_time);
                self.redial_at.set(now.saturating_add(nanos(CLIENT_REDIAL_PAUSE)));
                let hopeless = self.connections() == 0;
                self.fail_those(&error, |waiter| hopeless || waiter.fresh);
            }
        }
        self.advance();
    }

    /// Tells the pool of connections that were opened or dropped.
    fn count(&self, difference: isize) {
        if let Some(pool) = self.pool.upgrade() {
            pool.open.set(pool.open.get().saturating_add_signed(difference));
        }
    }

    /// Tells those in line that they wait in vain.
    fn fail_those(&self, error: &Error, whom: impl Fn(&Waiter) -> bool) {
        let line = std::mem::take(&mut *self.line.borrow_mut());
        let (failed, left): (VecDeque<_>, _) = line.into_iter().partition(|waiter| whom(waiter));
        *self.line.borrow_mut() = left;
        for waiter in failed {
            waiter.tell(State::Failed(error.clone()));
        }
    }

    fn forget_if_empty(&self) {
        if self.connections() > 0 || !self.line.borrow().is_empty() {
            return;
        }
        if let Some(pool) = self.pool.upgrade() {
            pool.forget(&self.key);
        }
    }
}

impl Owner for Host {
    fn changed(&self, idle: bool) {
        // A response that is dropped after its runtime makes room for nobody.
        if context::try_with(|worker| worker.is_none()) {
            return;
        }
        self.advance();
        if let Some(pool) = self.pool.upgrade().filter(|_| idle) {
            pool.bound_idle();
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let dials = self.dials.get_mut().iter().map(|(_number, dial)| dial);
        dials.chain(self.redial.get_mut().as_ref()).for_each(JoinHandle::abort);
    }
}

impl Waiter {
    fn tell(&self, state: State) {
        if let State::InLine(waker) = self.state.replace(state) {
            wake_contained(waker);
        }
    }
}

/// Waits for room on a connection to a host; dropping it leaves the line, or gives the room back.
pub(super) struct Checkout {
    host: Rc<Host>,
    waiter: Option<Rc<Waiter>>,
    fresh: bool,
}

impl Checkout {
    fn begin(&mut self, context: &Context<'_>) -> Poll<Result<SendRequest, Error>> {
        let host = &self.host;
        if host.line.borrow().is_empty() {
            host.drop_closed();
            if let Some(handle) = host.take_room(self.fresh) {
                return Poll::Ready(Ok(handle));
            }
        }
        if host.line.borrow().len() >= CLIENT_WAITING {
            return Poll::Ready(Err(Error::new(Kind::Busy, "too many wait for the host").unprocessed()));
        }
        let state = RefCell::new(State::InLine(context.waker().clone()));
        let waiter = Rc::new(Waiter { state, fresh: self.fresh });
        host.line.borrow_mut().push_back(waiter.clone());
        self.waiter = Some(waiter);
        host.dial();
        Poll::Pending
    }
}

impl Future for Checkout {
    type Output = Result<SendRequest, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(waiter) = &self.waiter else { return self.begin(context) };
        let mut state = waiter.state.borrow_mut();
        match std::mem::replace(&mut *state, State::Left) {
            State::InLine(mut waker) => {
                waker.clone_from(context.waker());
                *state = State::InLine(waker);
                Poll::Pending
            }
            State::Served(handle) => Poll::Ready(Ok(handle)),
            State::Failed(error) => Poll::Ready(Err(error)),
            State::Left => Poll::Ready(Err(Error::new(Kind::Closed, "polled after it was ready"))),
        }
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let Some(waiter) = self.waiter.take() else { return };
        match waiter.state.replace(State::Left) {
            State::InLine(_) => {
                let mut line = self.host.line.borrow_mut();
                if let Some(at) = line.iter().position(|other| Rc::ptr_eq(other, &waiter)) {
                    line.remove(at);
                }
                drop(line);
                self.host.forget_if_empty();
            }
            // A handle gives its room back when it is dropped, outside the borrow.
            State::Served(_) | State::Failed(_) | State::Left => {}
        }
    }
}

async fn connect(settings: &Settings, key: &Key) -> Result<SendRequest, Error> {
    let found = time::timeout(settings.builder.time_to_connect(), resolve(settings, key)).await;
    let addresses = found.unwrap_or_else(|_elapsed| Err(Error::slow_names(key.host())))?;
    settings.builder.connect_to(addresses, key.secure_host()).await
}

/// The addresses of a host: written in digits, told by the user, or what the system knows.
async fn resolve(settings: &Settings, key: &Key) -> Result<Vec<SocketAddr>, Error> {
    let (host, port) = (key.host(), key.port());
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    if let Some(addresses) = settings.names.get(host) {
        return Ok(addresses.clone());
    }
    let name = host.to_owned();
    let look_up = move || (name.as_str(), port).to_socket_addrs().map(Vec::from_iter);
    let job = worker::spawn_blocking(look_up).map_err(|full: SpawnError| {
        Error::new(Kind::Resolve, "the name cannot be looked up").caused_by(full).unprocessed()
    })?;
    let found = job.await.map_err(|error| {
        Error::new(Kind::Resolve, "the name could not be looked up").caused_by(error).unprocessed()
    })?;
    found.map_err(|error| Error::new(Kind::Resolve, "the host is not known").caused_by(error).unprocessed())
}
