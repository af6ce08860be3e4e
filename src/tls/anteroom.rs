//! Where connections shake hands: a bounded room, so that a flood of handshakes costs bounded memory.
//!
//! Who finds it full waits in line, first come, first served. Honest peers are through within a second; a handshake that
//! takes longer is ended when somebody waits for its place, the longest first. So slow peers hold up others for a second
//! at worst, however many they are, and a rush of honest ones loses no handshake that has begun.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use crate::{
    clock::nanos,
    contain::wake_contained,
    limits::{TLS_HANDSHAKE_PATIENCE, TLS_HANDSHAKES},
    worker::{context, timer::Timer},
};

/// The room of one acceptor, for all workers.
pub(super) struct Anteroom {
    guests: Mutex<Guests>,
}

struct Guests {
    limit: usize,
    /// The next number: who has come later has a higher one.
    next: u64,
    inside: BTreeMap<u64, Guest>,
    line: BTreeMap<u64, Waker>,
}

struct Guest {
    /// When it came in, by the clock of the workers.
    since: u64,
    waker: Waker,
}

/// One connection that shakes hands, or waits for its turn.
pub(super) struct Visit<'a> {
    room: &'a Anteroom,
    number: u64,
    timer: Option<Timer>,
}

impl Anteroom {
    pub(super) fn new() -> Anteroom {
        let guests =
            Guests { limit: TLS_HANDSHAKES, next: 0, inside: BTreeMap::new(), line: BTreeMap::new() };
        Anteroom { guests: Mutex::new(guests) }
    }

    pub(super) fn set_limit(&self, limit: usize) {
        self.guests().limit = limit.max(1);
    }

    /// Handshakes under way.
    pub(super) fn inside(&self) -> usize {
        self.guests().inside.len()
    }

    /// Waits for a place.
    pub(super) async fn enter(&self) -> Visit<'_> {
        let number = {
            let mut guests = self.guests();
            guests.next += 1;
            guests.next
        };
        let mut visit = Visit { room: self, number, timer: None };
        poll_fn(|context| visit.poll_enter(context)).await;
        visit.timer = None;
        visit
    }

    /// No code of others runs while it is locked: a panic leaves it whole.
    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guests {
    /// Whether it is this one's turn: nobody waits, or it is the first.
    fn is_next(&self, number: u64) -> bool {
        self.line.first_key_value().is_none_or(|(first, _waker)| *first == number)
    }

    fn let_in(&mut self, number: u64, guest: Guest) {
        self.line.remove(&number);
        self.inside.insert(number, guest);
    }

    /// Who may look whether there is room now.
    fn first(&self) -> Option<Waker> {
        self.line.first_key_value().map(|(_number, waker)| waker.clone())
    }
}

impl Visit<'_> {
    fn poll_enter(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let now = context::with(context::Context::turn_time);
        let mut guests = self.room.guests();
        let mut look = None;
        if guests.is_next(self.number) {
            let mut displaced = None;
            if guests.inside.len() >= guests.limit {
                let eldest = guests.inside.first_entry().expect("a full room has guests");
                let until = eldest.get().since.saturating_add(nanos(TLS_HANDSHAKE_PATIENCE));
                if until <= now {
                    displaced = Some(eldest.remove().waker);
                } else {
                    look = Some(until);
                }
            }
            if look.is_none() {
                guests.let_in(self.number, Guest { since: now, waker: context.waker().clone() });
                let others = [displaced, guests.first()];
                drop(guests);
                others.into_iter().flatten().for_each(wake_contained);
                return Poll::Ready(());
            }
        }
        guests.line.insert(self.number, context.waker().clone());
        drop(guests);
        let Some(until) = look else { return Poll::Pending };
        let mut timer = Timer::at(until);
        if timer.poll_elapsed(context).is_ready() {
            context.waker().wake_by_ref();
        }
        self.timer = Some(timer);
        Poll::Pending
    }

    /// An error once somebody else was given the place.
    pub(super) fn check(&self, context: &Context<'_>) -> io::Result<()> {
        match self.room.guests().inside.get_mut(&self.number) {
            Some(guest) => {
                guest.waker.clone_from(context.waker());
                Ok(())
            }
            None => {
                let text = "the TLS handshake was ended to make room: it was slow, and others wait";
                Err(io::Error::new(io::ErrorKind::TimedOut, text))
            }
        }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        let mut guests = self.room.guests();
        guests.inside.remove(&self.number);
        guests.line.remove(&self.number);
        let first = guests.first();
        drop(guests);
        if let Some(first) = first {
            first.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, pin::pin, rc::Rc, time::Duration};

    use super::*;

    fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn who_finds_the_room_full_waits_and_comes_in_when_another_leaves() {
        crate::worker::run(async {
            let room = Anteroom::new();
            room.set_limit(1);
            let first = room.enter().await;
            let mut second = pin!(room.enter());
            let mut third = pin!(room.enter());
            assert!(poll_once(&mut second).is_pending());
            assert!(poll_once(&mut third).is_pending());
            drop(first);
            assert!(poll_once(&mut third).is_pending(), "first come, first served");
            let Poll::Ready(second) = poll_once(&mut second) else { panic!("there is room") };
            assert!(poll_once(&mut third).is_pending());
            assert_eq!(room.inside(), 1);
            drop(second);
            assert!(poll_once(&mut third).is_ready());
            assert_eq!(room.inside(), 0, "a visit that was not kept is over");
        })
        .unwrap();
    }

    #[test]
    fn who_leaves_the_line_makes_way() {
        crate::worker::run(async {
            let room = Rc::new(Anteroom::new());
            room.set_limit(1);
            let inside = room.enter().await;
            let mut second = Box::pin(room.enter());
            assert!(poll_once(&mut second).is_pending());
            let mut third = Box::pin(room.enter());
            assert!(poll_once(&mut third).is_pending());
            drop(second);
            drop(inside);
            assert!(poll_once(&mut third).is_ready());
        })
        .unwrap();
    }

    #[test]
    fn the_slowest_makes_room_after_a_second() {
        let clock = crate::time::ManualClock::new();
        let runtime = crate::worker::Runtime::builder().manual_clock(&clock).build().unwrap();
        let waited = runtime.block_on(async {
            let room = Rc::new(Anteroom::new());
            room.set_limit(1);
            let slow = room.enter().await;
            let context = Context::from_waker(Waker::noop());
            slow.check(&context).unwrap();
            let other = room.clone();
            let mut waiting = Box::pin(other.enter());
            assert!(poll_once(&mut waiting).is_pending());
            slow.check(&context).expect("it has a second");
            // The clock moves when everybody waits.
            drop(waiting.await);
            assert_eq!(clock.elapsed(), Duration::from_secs(1));
            slow.check(&context).unwrap_err().kind()
        });
        assert_eq!(waited.unwrap(), io::ErrorKind::TimedOut);
    }
}
