//! What every kind of listener shares: an `accept` that outlives the want of descriptors and memory.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    os::fd::{BorrowedFd, OwnedFd},
    task::{Context, Poll},
    time::Duration,
};

use crate::{
    limits::{ACCEPT_PAUSE_MS, ACCEPT_TROUBLES_MAX},
    net::{ready::Io, share::Seat},
    reactor::Direction,
    sys::{
        Interest,
        socket::{self, AcceptError},
    },
    trace,
    worker::timer::Timer,
};

/// A descriptor that connections are accepted from. `take` is always the one call that accepts from it.
#[derive(Debug)]
pub struct Acceptor {
    io: Io,
    reserve: Reserve,
    /// Connections that were closed as soon as they were taken, for want of a descriptor.
    shed: Cell<u64>,
    /// Its place among those that wait on the same queue of connections.
    seat: Option<Seat>,
    /// Not registered for now, so that the others are told of what comes. Only with a seat.
    withdrawn: Cell<bool>,
}

impl Acceptor {
    pub(super) fn new(fd: OwnedFd) -> Acceptor {
        Acceptor::of(Io::new(fd), None)
    }

    /// Accepts from a queue that others accept from too.
    pub(super) fn shared(fd: OwnedFd, seat: Seat) -> Acceptor {
        let io = Io::with_interest(fd, Interest::READ_SHARED);
        // The others hold duplicates: closing this one would not end its registration.
        io.note_lent();
        Acceptor::of(io, Some(seat))
    }

    fn of(io: Io, seat: Option<Seat>) -> Acceptor {
        let (reserve, shed, withdrawn) = (Reserve::new(), Cell::new(0), Cell::new(false));
        Acceptor { io, reserve, shed, seat, withdrawn }
    }

    /// Connections that were shed so far for want of a descriptor.
    pub(super) fn shed_so_far(&self) -> u64 {
        self.shed.get()
    }

    pub(super) fn io(&self) -> &Io {
        &self.io
    }

    /// Gives the descriptor out; who shares the queue goes on.
    pub(super) fn into_owned_fd(self) -> OwnedFd {
        self.io.into_owned_fd()
    }

    /// Waits for a connection and takes it; fails only when the listener itself is useless.
    pub(super) async fn accept<R>(
        &self,
        mut take: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        let mut troubles = 0;
        loop {
            let error = match poll_fn(|cx| self.poll_take(cx, &mut take)).await {
                Ok(taken) => return Ok(taken),
                Err(error) => error,
            };
            match self.cure(&error, &mut take) {
                None => return Err(error),
                Some(Cure::Again) if troubles < ACCEPT_TROUBLES_MAX => troubles += 1,
                Some(Cure::Again | Cure::Pause) => {
                    troubles = 0;
                    self.withdraw();
                    Timer::after(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                }
                // Taking begins with waiting then, and with a look at what it was told of the queue meanwhile.
                Some(Cure::Wait) => match self.io.ensure() {
                    // To be told of the next connection may take memory, too.
                    Err(error) if AcceptError::of(&error) == AcceptError::Memory => {
                        Timer::after(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                    }
                    registered => registered?,
                },
            }
        }
    }

    /// Takes a connection that is in the queue now, passing over those that died there and shedding one for which there is
    /// no descriptor. A want of memory is not waited out, but asked again. `None`: the queue is empty, or nothing can be
    /// taken from it.
    pub(super) fn take_queued<R>(&self, mut take: impl FnMut(BorrowedFd<'_>) -> io::Result<R>) -> Option<R> {
        for _ in 0..ACCEPT_TROUBLES_MAX {
            let error = match self.io.try_io(Direction::Read, &mut take) {
                Ok(taken) => return Some(taken),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) => error,
            };
            match self.cure(&error, &mut take) {
                Some(Cure::Again | Cure::Pause) => {}
                Some(Cure::Wait) | None => return None,
            }
        }
        None
    }

    /// Takes no connections for a while: those that share the queue are told, so that nobody waits in it for this one.
    /// The next `accept` goes on.
    pub(super) fn withdraw(&self) {
        if let Some(seat) = &self.seat {
            if !self.withdrawn.replace(true) {
                // First the registration, then the word: what came before is passed on, what comes after wakes others.
                self.io.withdraw();
                seat.pass_on();
            }
        }
    }

    fn poll_take<R>(
        &self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        if let Some(seat) = &self.seat {
            if self.withdrawn.get() {
                self.io.rejoin()?;
                self.withdrawn.set(false);
            }
            seat.sit(cx.waker());
            if seat.was_told() {
                match self.io.try_io(Direction::Read, &mut take) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    outcome => {
                        // The rest of what was passed on makes no event: it is looked for until the queue is empty.
                        seat.look_again();
                        return Poll::Ready(outcome);
                    }
                }
            }
        }
        self.io.poll_io(cx, Direction::Read, take)
    }

    /// Looks into the queue at the price of the first connection in it.
    fn shed<R>(&self, take: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>) -> io::Result<()> {
        // This look is the one that it was told to have; what it is told from here on is news.
        if let Some(seat) = &self.seat {
            seat.was_told();
        }
        self.reserve.shed(|| take(self.io.fd()))?;
        self.shed.set(self.shed.get() + 1);
        trace::connection_refused("there is no descriptor for it");
        Ok(())
    }

    /// Does what can be done at once about an error of accept(2).
    fn cure<R>(&self, error: &io::Error, take: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>) -> Option<Cure> {
        match AcceptError::of(error) {
            AcceptError::Listener => None,
            AcceptError::Connection => Some(Cure::Again),
            AcceptError::Memory => Some(Cure::Pause),
            AcceptError::Descriptors => match self.shed(take) {
                Ok(()) => Some(Cure::Again),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Linux wants a descriptor before it looks into the queue, which is empty.
                    self.io.clear_ready(Direction::Read);
                    Some(Cure::Wait)
                }
                Err(_) => Some(Cure::Pause),
            },
        }
    }
}

/// The descriptor that is given up when no other is left. Empty when there was none to be had.
#[derive(Debug)]
struct Reserve(RefCell<Option<OwnedFd>>);

impl Reserve {
    fn new() -> Reserve {
        Reserve(RefCell::new(socket::reserve().ok()))
    }

    /// Makes room for one descriptor, has a connection taken off the queue, and closes it.
    fn shed<R>(&self, take: impl FnOnce() -> io::Result<R>) -> io::Result<()> {
        let mut reserve = self.0.borrow_mut();
        drop(reserve.take().map_or_else(socket::reserve, Ok)?);
        let shed = take().map(drop);
        // Another thread may have been faster; then the next time begins by asking for one.
        *reserve = socket::reserve().ok();
        shed
    }
}

/// What helps after a failed accept.
#[derive(Clone, Copy)]
enum Cure {
    /// The next connection may be sound.
    Again,
    /// The queue is empty.
    Wait,
    /// Only time: there is no memory, or no descriptor, not even to turn a connection away with.
    Pause,
}

#[cfg(test)]
mod tests {
    use std::{future::Future, net::Ipv4Addr, os::fd::AsFd};

    use super::*;
    use crate::sys::socket::Kind;

    /// `ENOMEM`, which has this number on every system.
    const NO_MEMORY: i32 = 12;

    #[test]
    fn a_want_of_memory_for_a_moment_loses_no_connection_that_is_queued_at_the_stop() {
        let fd = socket::socket_for(&(Ipv4Addr::LOCALHOST, 0).into(), Kind::Stream).unwrap();
        socket::bind(fd.as_fd(), &(Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let acceptor = Acceptor::new(fd);
        let mut answers = [Err(io::Error::from_raw_os_error(NO_MEMORY)), Ok("a connection")].into_iter();
        let taken = acceptor.take_queued(|_| answers.next().expect("it stops after the first success"));
        assert_eq!(taken, Some("a connection"));
    }

    /// A connection died in the queue: `ECONNABORTED`, as Linux and as the others number it.
    const DIED: i32 = if cfg!(target_os = "linux") { 103 } else { 53 };

    #[test]
    fn who_is_told_of_a_queue_takes_all_that_is_in_it_past_those_that_died() {
        crate::worker::run(async {
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = listener.local_addr().unwrap();
            let mut shares = crate::net::share::Share::of(listener, 2).unwrap();
            let (goes, stays) = (shares.remove(0).into_acceptor(), shares.remove(0).into_acceptor());
            let (goes, stays) = (goes.unwrap(), stays.unwrap());
            let mut died = vec![Err(io::Error::from_raw_os_error(DIED))];
            let mut take = |fd: BorrowedFd<'_>| died.pop().unwrap_or_else(|| socket::accept(fd).map(drop));
            let empty = poll_fn(|cx| Poll::Ready(stays.poll_take(cx, socket::accept))).await;
            assert!(empty.is_pending(), "it is registered, and has not been told");
            let clients = [0; 2].map(|_| std::net::TcpStream::connect(address).unwrap());
            // No turn of the loop is taken: that the other is told is all that is known of the two.
            drop(goes);
            for _ in 0..clients.len() {
                let mut accepting = std::pin::pin!(stays.accept(&mut take));
                let accepted = poll_fn(|cx| Poll::Ready(accepting.as_mut().poll(cx))).await;
                assert!(matches!(accepted, Poll::Ready(Ok(()))), "{accepted:?}");
            }
        })
        .unwrap();
    }

    /// No descriptor is left: `EMFILE`, which has this number on every system.
    const NO_DESCRIPTOR: i32 = 24;

    #[test]
    fn who_had_no_descriptor_for_an_empty_queue_is_told_of_what_others_leave_in_it() {
        crate::worker::run(async {
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = listener.local_addr().unwrap();
            let mut shares = crate::net::share::Share::of(listener, 2).unwrap();
            let (goes, stays) = (shares.remove(0).into_acceptor(), shares.remove(0).into_acceptor());
            let (goes, stays) = (goes.unwrap(), stays.unwrap());
            // The look into the queue, and the one at the price of the reserve.
            let mut refused =
                vec![Err(io::ErrorKind::WouldBlock.into()), Err(io::Error::from_raw_os_error(NO_DESCRIPTOR))];
            let take = |fd: BorrowedFd<'_>| refused.pop().unwrap_or_else(|| socket::accept(fd).map(drop));
            let mut accepting = std::pin::pin!(stays.accept(take));
            let first = poll_fn(|cx| Poll::Ready(accepting.as_mut().poll(cx))).await;
            assert!(first.is_pending());
            let _client = std::net::TcpStream::connect(address).unwrap();
            // No turn of the loop is taken: that the other is told is all that is known of the connection.
            drop(goes);
            let accepted = poll_fn(|cx| Poll::Ready(accepting.as_mut().poll(cx))).await;
            assert!(matches!(accepted, Poll::Ready(Ok(()))), "{accepted:?}");
        })
        .unwrap();
    }

    #[test]
    fn a_want_of_memory_that_lasts_ends_the_search_for_queued_connections() {
        let fd = socket::socket_for(&(Ipv4Addr::LOCALHOST, 0).into(), Kind::Stream).unwrap();
        let acceptor = Acceptor::new(fd);
        let refuse = |_: BorrowedFd<'_>| Err::<(), _>(io::Error::from_raw_os_error(NO_MEMORY));
        assert_eq!(acceptor.take_queued(refuse), None);
    }
}
