//! A node's sockets: what comes by them, what goes out, and the handlers at work.
//!
//! ```text
//! socket ──► read ──► take ──► the request that it answers
//! group  ──► read ──┘      └─► a handler, in a task of its own
//! ```
//!
//! Nothing that comes holds the readers up: what there is no room for is dropped, as datagrams are.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, hash_map::Entry},
    convert::Infallible,
    fmt,
    future::{Future, poll_fn},
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    rc::{self, Rc},
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    crowd::Counted,
    far::{Far, Fars},
    group::Group,
    outbox::Outbox,
    storm::Storm,
};
use crate::{
    limits::{
        MESSAGE_HANDLERS, MESSAGE_HOST_HANDLERS, MESSAGE_LAST_WORDS, MESSAGE_NODE_HANDLERS,
        MESSAGE_READ_PAUSE, MESSAGE_SEND_TRIES,
    },
    message::{
        error::{LinkEnd, SendError},
        guard::{Side, wrap_for_all},
        host::host_of,
        layer::Layer,
        metrics::Metrics,
        node::Node,
        peer::{INVALID, Peer, Taken},
    },
    net::UdpSocket,
    proto::message::{DecodeError, Kind, Message, Session, plugins::PluginError},
    task::JoinHandle,
    time::{self, sleep, timeout},
    trace,
    worker::{Scope, notes::waiting_for, yield_now},
};

/// The longest datagram (RFC 768, with the header of IPv4); over IPv6 it is 20 octets more.
const LONGEST_V4: usize = 65_507;
const LONGEST_V6: usize = 65_527;

/// How far a node has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Only answers are taken any more.
    Stopping,
    /// It has said that it goes.
    Leaving,
    Over,
}

/// Datagrams that were not what they should be, or were too many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ignored {
    /// No messages: of unknown types, cut off, of another protocol.
    pub malformed: u64,
    /// Messages that came when as many handlers as may be were at work, or that there was no room for.
    pub surplus: u64,
    /// Errors that a host was not told, because it was told many just before.
    pub untold: u64,
}

pub(in crate::message) struct Air {
    pub(in crate::message) node: Rc<Node>,
    socket: UdpSocket,
    /// Hears the group, when the socket does not.
    ear: Option<UdpSocket>,
    group: Option<Group>,
    /// What this node's own datagrams come from.
    own: Vec<SocketAddr>,
    outbox: RefCell<Outbox>,
    writer: Cell<Option<Waker>>,
    pub(super) fars: Fars,
    pub(super) crowd: Counted,
    storm: RefCell<Storm>,
    handlers: Cell<usize>,
    /// Those of them that are at work for a host, where there are any.
    of_hosts: RefCell<HashMap<IpAddr, usize>>,
    /// Handlers have been started that may not have begun.
    has_started: Cell<bool>,
    /// Their tasks, while it is carried.
    tasks: RefCell<rc::Weak<Scope>>,
    idle: Cell<Option<Waker>>,
    phase: Cell<Phase>,
    pub(super) ignored: Cell<Ignored>,
}

impl Air {
    pub(super) fn new(node: Rc<Node>, socket: UdpSocket) -> io::Result<Rc<Air>> {
        let local = socket.local_addr()?;
        // Where the system keeps no reports, what nobody receives has no answer in its time, and that is all.
        let _ = socket.set_error_reports(true);
        let group = node.settings.group;
        let ear = group.map_or(Ok(None), |group| group.join(&socket))?;
        let mut own = vec![local];
        own.extend(group.and_then(|group| group.source(local.port())));
        Ok(Rc::new(Air {
            node,
            socket,
            ear,
            group,
            own,
            outbox: RefCell::default(),
            writer: Cell::new(None),
            fars: Fars::default(),
            crowd: Counted::default(),
            storm: RefCell::default(),
            handlers: Cell::new(0),
            of_hosts: RefCell::default(),
            has_started: Cell::new(false),
            tasks: RefCell::default(),
            idle: Cell::new(None),
            phase: Cell::new(Phase::Serving),
            ignored: Cell::default(),
        }))
    }

    /// Carries the node to its end, which comes early when one of its tasks panics: without it the node would be deaf or mute.
    pub(super) async fn run(self: Rc<Self>, told: impl Future<Output = ()>) {
        self.node.be_known();
        let (handlers, work) = (Rc::new(Scope::new()), Scope::<Infallible>::new());
        self.tasks.replace(Rc::downgrade(&handlers));
        work.spawn(self.clone().read(Source::Socket, handlers.clone()));
        if self.ear.is_some() {
            work.spawn(self.clone().read(Source::Ear, handlers.clone()));
        }
        work.spawn(self.clone().write());
        if let Some(own) = &self.node.peers.own {
            work.spawn(self.clone().advertise(own.every, own.expiry));
        }
        let (mut stopped, mut works) = (pin!(self.stop(told)), pin!(work.join()));
        let has_failed = poll_fn(|context| {
            if stopped.as_mut().poll(context).is_ready() {
                return Poll::Ready(false);
            }
            works.as_mut().poll(context).map(|_panicked| true)
        });
        if has_failed.await {
            trace::say("a node of messages ends, a task of it panicked");
        }
    }

    /// Waits until the node is `told` to end, and until what is being handled has been answered.
    async fn stop(self: &Rc<Self>, told: impl Future<Output = ()>) {
        told.await;
        self.phase.set(Phase::Stopping);
        poll_fn(|context| {
            if self.handlers.get() == 0 {
                return Poll::Ready(());
            }
            self.idle.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
        self.say_farewell();
        let _ = timeout(MESSAGE_LAST_WORDS, self.drained()).await;
    }

    /// Tells the group that this node is there, until it is told that it goes, and forgets peers that were not heard of.
    pub(super) async fn advertise(self: Rc<Self>, every: Duration, expiry: Duration) {
        let mut told = None;
        while matches!(self.phase.get(), Phase::Serving | Phase::Stopping) {
            let now = time::now();
            for lost in self.node.peers.expire(now) {
                lost.addrs.iter().for_each(|address| self.unsubscribe_all(*address));
            }
            if told.is_none_or(|told: Instant| now.saturating_duration_since(told) >= every) {
                told = Some(now);
                self.introduce(Kind::ADVERTISE_PEER);
            }
            sleep(every.min(expiry / 4).max(MESSAGE_READ_PAUSE)).await;
        }
    }

    /// Says who this node is, or that it goes, to all that may hear it. A way that is not there now may be there next time.
    fn introduce(self: &Rc<Self>, kind: Kind) {
        let Some(message) = self.node.peers.introduction(kind) else { return };
        if self.group.is_some() {
            let _ = self.multicast(message, &Layer::new());
        } else if kind == Kind::DISCONNECT {
            let addresses = self.node.peers.all().into_iter().flat_map(|record| record.addrs);
            for address in addresses {
                let _ = Peer::far(self.known(address)).send(message.clone());
            }
        }
    }

    /// Says that this node goes, once.
    pub(super) fn say_farewell(self: &Rc<Self>) {
        if self.phase.replace(Phase::Leaving) != Phase::Leaving {
            self.introduce(Kind::DISCONNECT);
        }
    }

    /// Forgets a peer: all its addresses, and what they have subscribed to.
    pub(super) fn remove_peer(&self, id: &[u8]) -> bool {
        let Some(record) = self.node.peers.remove(id) else { return false };
        record.addrs.iter().for_each(|address| self.unsubscribe_all(*address));
        true
    }

    pub(in crate::message) fn is_over(&self) -> bool {
        self.phase.get() == Phase::Over
    }

    /// The time that there was is over: aborts all handlers but these, and counts them; without any the node goes next.
    pub(super) fn cut(self: &Rc<Self>, spared: &[u64]) -> usize {
        if spared.is_empty() {
            self.say_farewell();
            return self.handlers.get();
        }
        let (tasks, mut late) = (self.tasks.borrow().upgrade(), 0);
        let abort = |task: &JoinHandle<()>| {
            if !spared.contains(&task.id().number()) {
                task.abort();
                late += 1;
            }
        };
        tasks.inspect(|tasks| tasks.each(abort));
        late
    }

    pub(super) fn metrics(&self) -> Metrics {
        let Ignored { malformed, surplus, untold } = self.ignored.get();
        Metrics {
            dropped: self.outbox.borrow().dropped(),
            queued_bytes: self.outbox.borrow().octets() as u64,
            handlers: self.handlers.get() as u64,
            sessions_open: self.fars.sealed() as u64,
            malformed,
            surplus,
            untold,
            ..Metrics::of(&self.node)
        }
    }

    /// Whether this node's own datagrams come from an address.
    pub(super) fn is_own(&self, address: SocketAddr) -> bool {
        self.own.contains(&address)
    }

    /// The far end at an address that the program wants to reach, known from now on.
    pub(super) fn known(self: &Rc<Self>, address: SocketAddr) -> Rc<Far> {
        let far = self.far(address, Side::Asks);
        if !self.is_over() {
            self.fars.insert(&far);
        }
        far
    }

    /// The far end at an address, known or not.
    fn far(self: &Rc<Self>, address: SocketAddr, side: Side) -> Rc<Far> {
        self.fars.find(address).unwrap_or_else(|| Far::new(self, address, side))
    }

    /// Keeps what is known of an address; false when there is no room.
    pub(in crate::message) fn keep(&self, far: &Rc<Far>) -> bool {
        self.fars.admit(far)
    }

    /// Whether a host may be told an error now.
    pub(in crate::message) fn may_complain(&self, to: SocketAddr) -> bool {
        let may = self.storm.borrow_mut().may_tell(to, time::now());
        if !may {
            self.count(|ignored| ignored.untold += 1);
        }
        may
    }

    /// Sends a message within an inner layer to the group. Nobody knows who hears it, so that its codes are bound: who
    /// does not know of that takes no notice.
    pub(super) fn multicast(&self, mut message: Message, inner: &Layer) -> Result<(), SendError> {
        let group = self.group.ok_or(SendError::NoGroup)?;
        if self.node.protection.session.as_ref().is_some_and(Session::is_required) {
            return Err(PluginError::NoSession.into());
        }
        message.fields.renew();
        wrap_for_all(inner, Side::Asks, &mut message)?;
        wrap_for_all(&self.node.protection.layer, Side::Asks, &mut message)?;
        self.push(group.addr(), message.to_octets()?.into())
    }

    /// Sends a datagram: now, or when the system takes more.
    pub(in crate::message) fn push(&self, to: SocketAddr, frame: Bytes) -> Result<(), SendError> {
        if self.is_over() {
            return Err(SendError::Closed);
        }
        let longest = if to.is_ipv4() { LONGEST_V4 } else { LONGEST_V6 };
        if frame.len() > longest {
            return Err(SendError::Datagram { octets: frame.len(), longest });
        }
        let (mut is_free, mut tries) = (self.outbox.borrow().is_empty(), 0);
        while is_free {
            tries += 1;
            match self.socket.try_send_to(&frame, to) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => is_free = false,
                // An earlier datagram's, it may be; this one was not tried then.
                Err(error) => {
                    self.take_reports();
                    if tries == MESSAGE_SEND_TRIES {
                        return Err(SendError::system(&error));
                    }
                }
            }
        }
        self.enqueue(to, frame)
    }

    /// Deals with what is known of earlier datagrams that did not get there; false when that is nothing.
    fn take_reports(&self) -> bool {
        let mut found = false;
        while let Ok(Some(report)) = self.socket.take_report() {
            found = true;
            let far = report.target.and_then(|target| self.fars.find(target));
            // Anybody can send such a report who guesses the ports: it ends nothing that is sealed.
            if let Some(far) = far.filter(|far| !far.guard.is_sealed()) {
                far.asks.fail_all(&LinkEnd::io("reaching the peer", &report.error()));
            }
        }
        found
    }

    fn enqueue(&self, to: SocketAddr, frame: Bytes) -> Result<(), SendError> {
        let bound = (self.node.settings.slow_peer, self.node.settings.queue_bytes);
        if !self.outbox.borrow_mut().put(to, frame, bound) {
            return Err(SendError::Full);
        }
        self.writer.take().into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Sends what the system would not take at once.
    async fn write(self: Rc<Self>) {
        loop {
            let next = waiting_for("datagrams that the system does not take at once", |context| {
                let first = self.outbox.borrow().first();
                if let Some(first) = first {
                    return Poll::Ready(first);
                }
                self.writer.set(Some(context.waker().clone()));
                self.idle.take().into_iter().for_each(Waker::wake);
                Poll::Pending
            });
            let next = next.await;
            let mut tries = 1;
            // An error is an earlier datagram's, or this one's alone: it is lost then, as any may be.
            while self.socket.send_to(&next.frame, next.to).await.is_err() {
                self.take_reports();
                if tries == MESSAGE_SEND_TRIES {
                    break;
                }
                tries += 1;
            }
            self.outbox.borrow_mut().sent(&next);
        }
    }

    /// Waits until nothing is queued.
    async fn drained(&self) {
        poll_fn(|context| {
            if self.outbox.borrow().is_empty() {
                return Poll::Ready(());
            }
            self.idle.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    async fn read(self: Rc<Self>, source: Source, handlers: Rc<Scope>) {
        let socket = match source {
            Source::Socket => &self.socket,
            Source::Ear => self.ear.as_ref().expect("it is read only when it is there"),
        };
        // The longest datagram, and one octet: one that is longer cannot be.
        let mut buffer = vec![0; 1 << 16];
        loop {
            match socket.recv_from(&mut buffer).await {
                Ok(datagram) => {
                    let Some((mut far, message)) = self.admit(&buffer[..datagram.len], datagram.source)
                    else {
                        continue;
                    };
                    if self.is_full(&far) && self.has_started.take() {
                        // Those that came just before have not begun yet, and may be done at once.
                        yield_now().await;
                        far = self.far(datagram.source, Side::Answers);
                    }
                    self.take(far, message, &handlers);
                }
                // Of a datagram that was sent before, or memory is short: neither is the end.
                Err(_error) if self.take_reports() => {}
                Err(_error) => {
                    sleep(MESSAGE_READ_PAUSE).await;
                    // Where the system was not ready to say whose the error was.
                    self.take_reports();
                }
            }
        }
    }

    /// What a datagram says, and who.
    fn admit(self: &Rc<Self>, datagram: &[u8], source: SocketAddr) -> Option<(Rc<Far>, Message)> {
        if self.is_own(source) {
            return None;
        }
        match Message::from_octets(Bytes::copy_from_slice(datagram), &self.node.kinds) {
            Ok(message) => Some((self.far(source, Side::Answers), message)),
            Err(error) => {
                self.malformed(error, source);
                None
            }
        }
    }

    /// Deals with a message; a handler may have to.
    fn take(self: &Rc<Self>, far: Rc<Far>, message: Message, handlers: &Scope) {
        let (peer, mut message) = (Peer::far(far.clone()), Some(message));
        let taken = peer.take(&mut message, self.phase.get() == Phase::Serving);
        let Taken::For(route) = taken else { return };
        // Without room it is answered as well; only what it has at work is counted anew with each datagram.
        let _known = self.fars.admit(&far);
        self.has_started.set(true);
        let at_work = AtWork::begin(far);
        handlers.spawn(async move {
            let _at_work = at_work;
            peer.answer(route, &mut message).await;
        });
    }

    /// Whether there is no room for another handler of what comes from there.
    fn is_full(&self, far: &Far) -> bool {
        let all = self.handlers.get();
        let of_host = || self.of_hosts.borrow().get(&host_of(far.address)).copied().unwrap_or(0);
        far.handlers.get() >= MESSAGE_HANDLERS
            || all >= MESSAGE_NODE_HANDLERS
            || (all >= MESSAGE_HOST_HANDLERS && of_host() >= MESSAGE_HOST_HANDLERS)
    }

    /// Whether there is room for another handler; what came for it is surplus otherwise.
    pub(in crate::message) fn has_room(&self, far: &Far) -> bool {
        let is_full = self.is_full(far);
        if is_full {
            self.count(|ignored| ignored.surplus += 1);
        }
        !is_full
    }

    /// A datagram that is no message. Only a request that was damaged on its way is worth an answer.
    fn malformed(self: &Rc<Self>, error: DecodeError, source: SocketAddr) {
        self.count(|ignored| ignored.malformed += 1);
        if let DecodeError::Checksum { kind, .. } = error {
            if !kind.ends_an_exchange() && self.phase.get() == Phase::Serving {
                Peer::far(self.far(source, Side::Answers)).complain(None, Kind::ERROR, INVALID);
            }
        }
    }

    fn count(&self, add: impl FnOnce(&mut Ignored)) {
        let mut ignored = self.ignored.get();
        add(&mut ignored);
        self.ignored.set(ignored);
    }
}

#[derive(Clone, Copy)]
enum Source {
    Socket,
    Ear,
}

/// A handler at work.
struct AtWork(Rc<Far>);

impl AtWork {
    fn begin(far: Rc<Far>) -> AtWork {
        let air = &far.air;
        far.handlers.set(far.handlers.get() + 1);
        air.handlers.set(air.handlers.get() + 1);
        *air.of_hosts.borrow_mut().entry(host_of(far.address)).or_insert(0) += 1;
        AtWork(far)
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let air = &self.0.air;
        self.0.handlers.set(self.0.handlers.get() - 1);
        air.handlers.set(air.handlers.get() - 1);
        if let Entry::Occupied(mut of_host) = air.of_hosts.borrow_mut().entry(host_of(self.0.address)) {
            *of_host.get_mut() -= 1;
            if *of_host.get() == 0 {
                of_host.remove();
            }
        }
        air.idle.take().into_iter().for_each(Waker::wake);
    }
}

/// The node is over when this is dropped, in whatever way.
pub(super) struct Ended(pub(super) Rc<Air>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.phase.set(Phase::Over);
        for far in self.0.fars.take_all() {
            far.asks.fail_all(&LinkEnd::Closed);
        }
        self.0.node.topics.clear();
        self.0.node.release();
    }
}

impl fmt::Debug for Air {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Air")
            .field("socket", &self.socket)
            .field("phase", &self.phase.get())
            .finish_non_exhaustive()
    }
}
