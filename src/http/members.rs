//! The connections of a server on one worker, and how they end.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::{
    http::{
        admission::{Admission, ConnectionLimits},
        core,
        life::{Life, Part, Progress, Stopped},
        wire::Wire,
    },
    limits::{LAST_NEWCOMERS, SHUTDOWN_LONGEST, SHUTDOWN_SLACK, UNKNOWN_PEERS_MAX},
    proto::h2::Reason,
    slab::{Key, Slab},
    task::{JoinHandle, TaskId},
    time, trace,
    worker::{self, context::Flush, yield_now},
};

/// The connections of one worker.
pub(super) struct Members {
    open: RefCell<Slab<Member>>,
    /// They are told to end, and so is who comes late.
    leaving: Cell<bool>,
    admission: Admission,
    /// Connections that are not counted by the admission yet: a proxy is to say first whose they are.
    unknown: Cell<usize>,
    watch: Rc<Watch>,
    life: Arc<Life>,
}

struct Member {
    /// None while a proxy has not said whose it is, and while TLS shakes hands.
    wire: Option<Rc<Wire>>,
    task: Option<JoinHandle<()>>,
}

/// Has the worker's serving task look again whenever a handler or a connection has ended; only while it winds down.
#[derive(Default)]
pub(super) struct Watch {
    on: Cell<bool>,
    server: RefCell<Option<Waker>>,
}

impl Watch {
    /// Something has ended.
    #[inline]
    pub(super) fn notify(&self) {
        if self.on.get() {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        let server = self.server.borrow_mut().take();
        if let Some(server) = server {
            server.wake();
        }
    }

    fn set(&self, waker: &Waker) {
        self.on.set(true);
        *self.server.borrow_mut() = Some(waker.clone());
    }
}

/// What the serving task finds while it winds down.
enum Found {
    /// No connection is left.
    Nothing,
    /// The grace was shortened.
    Sooner(Duration),
}

impl Members {
    pub(super) fn new(limits: ConnectionLimits, life: Arc<Life>) -> Members {
        Members {
            open: RefCell::default(),
            leaving: Cell::new(false),
            admission: Admission::new(limits),
            unknown: Cell::new(0),
            watch: Rc::default(),
            life,
        }
    }

    /// How many there may be.
    pub(super) fn admission(&self) -> &Admission {
        &self.admission
    }

    pub(super) fn watch(&self) -> Rc<Watch> {
        self.watch.clone()
    }

    pub(super) fn admit(self: &Rc<Self>, wire: Rc<Wire>, drive: impl Future<Output = ()> + 'static) {
        let seat = self.seat(Some(wire.peer_addr().ip()), Some(wire));
        let key = seat.key;
        let task = worker::spawn(async move {
            let _seat = seat;
            drive.await;
        });
        self.keep_task(key, task);
    }

    /// As `admit`, for a connection that is not one yet: `drive` says when it is, to the seat that it is given. Without a
    /// `peer` it has not been admitted either: `drive` asks the seat to.
    pub(super) fn admit_early<F>(self: &Rc<Self>, peer: Option<IpAddr>, drive: impl FnOnce(Rc<Seat>) -> F)
    where
        F: Future<Output = ()> + 'static,
    {
        let seat = Rc::new(self.seat(peer, None));
        let key = seat.key;
        let drive = drive(seat.clone());
        let task = worker::spawn(async move {
            let _seat = seat;
            drive.await;
        });
        self.keep_task(key, task);
    }

    /// Whether one more may come of which it is not known whose it is.
    pub(super) fn takes_unknown(&self) -> bool {
        self.unknown.get() < UNKNOWN_PEERS_MAX
    }

    fn seat(self: &Rc<Self>, peer: Option<IpAddr>, wire: Option<Rc<Wire>>) -> Seat {
        let unknown = usize::from(peer.is_none());
        self.unknown.set(self.unknown.get() + unknown);
        let peer = Cell::new(peer);
        let key = self.open.borrow_mut().insert(Member { wire, task: None });
        Seat { members: self.clone(), key, peer }
    }

    fn keep_task(&self, key: Key, task: JoinHandle<()>) {
        if let Some(member) = self.open.borrow_mut().get_mut(key) {
            member.task = Some(task);
        }
    }

    /// The tasks that wait for the server's end.
    pub(super) fn awaited_by(&self) -> Vec<TaskId> {
        self.life.waiting()
    }

    /// Shows every connection, and the task that drives it; those that have not begun have none yet.
    pub(super) fn each(&self, mut show: impl FnMut(Option<&Wire>, Option<TaskId>)) {
        // Whoever asks in the middle of a change is shown none.
        let Ok(open) = self.open.try_borrow() else { return };
        for (_key, member) in open.iter() {
            show(member.wire.as_deref(), member.task.as_ref().map(JoinHandle::id));
        }
    }

    /// Whether this task is a handler of one of the connections.
    pub(super) fn has_handler(&self, task: u64) -> bool {
        self.open
            .borrow()
            .iter()
            .any(|(_key, member)| member.wire.as_ref().is_some_and(|wire| wire.has_handler(task)))
    }

    /// Lets the connections end until the grace is over, then closes those that are left.
    pub(super) async fn wind_down(&self, part: &Part, mut grace: Duration) -> Stopped {
        self.go_away(grace);
        let began = time::now();
        let mut deadline = began + grace.min(SHUTDOWN_LONGEST);
        let mut patience = Some(began + LAST_NEWCOMERS);
        loop {
            let found = poll_fn(|context| self.poll_end(part, grace, context));
            let until = patience.map_or(deadline, |patience| patience.min(deadline));
            match time::timeout_at(until, found).await {
                Ok(Found::Nothing) => return Stopped::default(),
                Ok(Found::Sooner(sooner)) => {
                    grace = sooner;
                    deadline = deadline.min(time::now() + grace.min(SHUTDOWN_LONGEST));
                    self.go_away(grace);
                }
                Err(_elapsed) if until < deadline => {
                    patience = None;
                    // What came with the turn that says so is heard first.
                    yield_now().await;
                    self.end_newcomers();
                }
                Err(_elapsed) => return self.abort(part).await,
            }
        }
    }

    fn poll_end(&self, part: &Part, grace: Duration, context: &Context<'_>) -> Poll<Found> {
        self.watch.set(context.waker());
        if let Poll::Ready(sooner) = part.stop().poll(context) {
            if sooner < grace {
                return Poll::Ready(Found::Sooner(sooner));
            }
        }
        if self.open.borrow().is_empty() {
            return Poll::Ready(Found::Nothing);
        }
        let exempt = part.life.examine(|task| self.has_handler(task));
        let waits = |member: &Member| member.wire.as_ref().is_some_and(|wire| wire.waits_only_for(&exempt));
        let quiet = self.open.borrow().iter().all(|(_key, member)| waits(member));
        let quiet = if quiet { Progress::Quiet(Stopped::default()) } else { Progress::Serving };
        part.life.advance_if(part.worker, quiet);
        Poll::Pending
    }

    /// Tells every connection to take no more requests and to end when those under way are done.
    fn go_away(&self, grace: Duration) {
        self.leaving.set(true);
        let wires: Vec<Rc<Wire>> =
            self.open.borrow().iter().filter_map(|(_key, member)| member.wire.clone()).collect();
        wires.iter().for_each(|wire| say_goodbye(wire, grace));
    }

    /// Ends those that are no connections yet: a proxy has not said whose they are, or TLS shakes hands. Nobody of them has asked
    /// for anything that could be lost.
    fn end_newcomers(&self) {
        for (_key, member) in self.open.borrow().iter().filter(|(_key, member)| member.wire.is_none()) {
            if let Some(task) = &member.task {
                task.abort();
            }
        }
    }

    /// Closes the connections that are left; those whose handlers await the shutdown have their last words first.
    async fn abort(&self, part: &Part) -> Stopped {
        trace::server_phase("closes what is left");
        let exempt = part.life.examine(|task| self.has_handler(task));
        let spared: Vec<Rc<Wire>> = {
            let open = self.open.borrow();
            let wires = open.iter().filter_map(|(_key, member)| member.wire.clone());
            wires.filter(|wire| exempt.iter().any(|task| wire.has_handler(*task))).collect()
        };
        let is_spared = |wire: &Rc<Wire>| spared.iter().any(|spared| Rc::ptr_eq(spared, wire));
        let mut stopped = self.close(|member| !member.wire.as_ref().is_some_and(is_spared));
        if !spared.is_empty() {
            part.life.advance(part.worker, Progress::Quiet(stopped));
            if time::timeout(SHUTDOWN_SLACK / 2, self.emptied()).await.is_err() {
                let late = self.close(|member| member.wire.as_ref().is_some_and(is_spared));
                stopped.aborted_connections += late.aborted_connections;
                stopped.aborted_handlers += late.aborted_handlers;
            }
        }
        self.emptied().await;
        stopped
    }

    /// Closes those of whom `whom` says so, and counts them.
    fn close(&self, whom: impl Fn(&Member) -> bool) -> Stopped {
        let mut stopped = Stopped::default();
        for (_key, member) in self.open.borrow().iter().filter(|(_key, member)| whom(member)) {
            // One that waits for nothing but its peer's end of the socket has ended in good order.
            let is_through = member.wire.as_ref().is_some_and(|wire| wire.is_through());
            stopped.aborted_connections += usize::from(!is_through);
            if let Some(wire) = &member.wire {
                stopped.aborted_handlers += wire.busy_streams();
                // What was not answered may have been acted on: the client should know up to where (RFC 9113 §5.4.1).
                wire.core.borrow_mut().goaway(Reason::NO_ERROR, b"the time to finish is over");
                wire.clone().flush();
            }
            if let Some(task) = &member.task {
                task.abort();
            }
        }
        stopped
    }

    /// Waits until no connection is left.
    async fn emptied(&self) {
        poll_fn(|context| {
            self.watch.set(context.waker());
            if self.open.borrow().is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

fn say_goodbye(wire: &Rc<Wire>, grace: Duration) {
    core::shutdown_within(&mut wire.core.borrow_mut(), grace);
    wire.ask_flush();
    wire.wake_driver();
}

/// A place on the list, which is given up however the connection's task ends.
pub(super) struct Seat {
    members: Rc<Members>,
    key: Key,
    /// Whose it is, once it was admitted.
    peer: Cell<Option<IpAddr>>,
}

impl Seat {
    /// It is known now whose it is: is there room for it?
    pub(super) fn admit(&self, peer: IpAddr) -> bool {
        let admitted = self.members.admission.enter(peer);
        if admitted && self.peer.replace(Some(peer)).is_none() {
            self.members.unknown.set(self.members.unknown.get() - 1);
        }
        admitted
    }

    /// It is a connection now.
    pub(super) fn take(&self, wire: &Rc<Wire>) {
        if let Some(member) = self.members.open.borrow_mut().get_mut(self.key) {
            member.wire = Some(wire.clone());
        }
        if self.members.leaving.get() {
            // It has had no answer, behind which the grace would count.
            say_goodbye(wire, Duration::ZERO);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let member = self.members.open.borrow_mut().remove(self.key);
        match self.peer.get() {
            Some(peer) => self.members.admission.leave(peer),
            None => self.members.unknown.set(self.members.unknown.get() - 1),
        }
        drop(member);
        self.members.watch.notify();
    }
}
