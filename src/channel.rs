//! A bounded channel from one task to another, on this worker or on any other thread.
//!
//! Values go through a ring of the wake path's kind: one producer, one consumer, no lock and no allocation a value. Who
//! has to wait leaves a waker and a flag; who makes a step looks at the flag behind a fence:
//!
//! ```text
//! sender                          receiver
//! push                            waker in, waits := true
//! fence(SeqCst)                   fence(SeqCst)
//! waits? take it off and wake     pop again, else sleep
//! ```
//!
//! For several senders or receivers, broadcast and the like use `async-channel`, `event-listener`, `async-lock` or
//! `futures`, which run here as they are.

use std::{
    fmt,
    sync::PoisonError,
    task::{Context, Poll, Waker},
};

use thiserror::Error;

use crate::{
    contain::{drop_contained, wake_contained},
    limits::CHANNEL_CAPACITY,
    ring::{OwnedConsumer, OwnedProducer, ends},
    sync::{Arc, AtomicBool, Mutex, Ordering, fence},
    worker::{context, notes::waiting_for},
};

/// Makes a channel for `capacity` values that wait, rounded up to a power of two.
///
/// Both ends are `Send` and go to whatever worker or thread is to have them; there is one of each.
///
/// # Panics
///
/// When the capacity is zero or more than 2²⁰.
///
/// # Examples
///
/// ```
/// let runtime = wakering::Runtime::builder().workers(2).build()?;
/// let (mut sender, mut receiver) = wakering::channel(64);
/// let sum = runtime.block_on(async move {
///     let producer = wakering::spawn_on(1, move || async move {
///         for number in 0..1000_u32 {
///             sender.send(number).await.expect("the receiver is there");
///         }
///     });
///     let mut sum = 0;
///     while let Some(number) = receiver.recv().await {
///         sum += number;
///     }
///     producer.expect("the worker runs").await.expect("no panic");
///     sum
/// })?;
/// assert_eq!(sum, 499_500);
/// # Ok::<(), wakering::RuntimeError>(())
/// ```
#[must_use]
#[track_caller]
pub fn channel<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!((1..=CHANNEL_CAPACITY).contains(&capacity), "a channel holds 1 to {CHANNEL_CAPACITY} values");
    let (producer, consumer) = ends(capacity.next_power_of_two());
    let shared = Arc::new(Shared::default());
    (Sender { ring: producer, shared: shared.clone() }, Receiver { ring: consumer, shared })
}

#[derive(Default)]
struct Shared {
    sender: Waiting,
    receiver: Waiting,
    sender_gone: AtomicBool,
    receiver_gone: AtomicBool,
}

/// Somebody who waits for the other side.
#[derive(Default)]
struct Waiting {
    waits: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Waiting {
    /// The side that waits: leaves its waker, then has to look again.
    fn enter(&self, waker: &Waker) {
        let former = {
            let mut place = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
            match &*place {
                Some(kept) if kept.will_wake(waker) => None,
                Some(_) | None => place.replace(waker.clone()),
            }
        };
        drop(former);
        self.waits.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst); // PAIRS: the fence in wake (flag, then ring; ring, then flag)
    }

    /// The other side, behind its step.
    #[inline]
    fn wake(&self) {
        fence(Ordering::SeqCst); // PAIRS: the fence in enter
        if self.waits.load(Ordering::Relaxed) {
            self.wake_now();
        }
    }

    #[cold]
    fn wake_now(&self) {
        if self.waits.swap(false, Ordering::AcqRel) {
            let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
            // The step is done: a stranger's panic is none of the one who made it.
            if let Some(waker) = waker {
                wake_contained(waker);
            }
        }
    }
}

/// The receiver is gone; the value comes back.
#[derive(Clone, Copy, PartialEq, Eq, Error)]
#[error("the receiver of the channel is gone")]
pub struct SendError<T>(pub T);

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SendError(..)")
    }
}

/// Why a value was not taken at once; it comes back.
#[derive(Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TrySendError<T> {
    /// The channel is full.
    #[error("the channel is full")]
    Full(T),
    /// The receiver is gone.
    #[error("the receiver of the channel is gone")]
    Closed(T),
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            TrySendError::Full(_) => "Full(..)",
            TrySendError::Closed(_) => "Closed(..)",
        })
    }
}

/// Why there is no value at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TryRecvError {
    /// None has come yet.
    #[error("the channel is empty")]
    Empty,
    /// The sender is gone, and all that it sent has been taken.
    #[error("the sender of the channel is gone")]
    Closed,
}

/// The end of a [`channel`] that values go into. Dropping it ends the channel behind what was sent.
pub struct Sender<T: Send> {
    ring: OwnedProducer<T>,
    shared: Arc<Shared>,
}

impl<T: Send> Sender<T> {
    /// Sends a value, and waits for room where there is none.
    ///
    /// # Errors
    ///
    /// [`SendError`] with the value, when the receiver is gone.
    ///
    /// # Cancellation
    ///
    /// Dropped before it is done, the value is dropped with the future, and was not sent. Where it must not be lost:
    /// await [`ready`](Sender::ready), then [`try_send`](Sender::try_send), which succeeds.
    pub async fn send(&mut self, value: T) -> Result<(), SendError<T>> {
        self.ready().await;
        self.try_send(value).map_err(|error| match error {
            TrySendError::Full(value) | TrySendError::Closed(value) => SendError(value),
        })
    }

    /// Waits until there is room for a value, or the receiver is gone.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn ready(&mut self) {
        waiting_for("room in a channel", |context| self.poll_ready(context)).await;
    }

    /// [`ready`](Sender::ready) for futures that are written by hand.
    pub fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !context::spend(context) {
            return Poll::Pending;
        }
        if self.ring.has_room() || self.is_closed() {
            return Poll::Ready(());
        }
        self.shared.sender.enter(context.waker());
        if self.ring.has_room() || self.is_closed() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Sends a value, if there is room.
    ///
    /// # Errors
    ///
    /// [`TrySendError`] with the value.
    pub fn try_send(&mut self, value: T) -> Result<(), TrySendError<T>> {
        if self.is_closed() {
            return Err(TrySendError::Closed(value));
        }
        self.ring.push(value).map_err(TrySendError::Full)?;
        self.shared.receiver.wake();
        Ok(())
    }

    /// Whether the receiver is gone. What it had not taken by then is dropped.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.receiver_gone.load(Ordering::Acquire) // PAIRS: Receiver::drop
    }

    /// How many values may wait.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.ring.capacity()
    }
}

impl<T: Send> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.sender_gone.store(true, Ordering::Release); // PAIRS: Receiver::try_recv
        self.shared.receiver.wake();
    }
}

impl<T: Send> fmt::Debug for Sender<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Sender")
            .field("capacity", &self.capacity())
            .field("closed", &self.is_closed())
            .finish()
    }
}

/// The end of a [`channel`] that values come out of. Dropping it refuses what is sent from then on.
pub struct Receiver<T: Send> {
    ring: OwnedConsumer<T>,
    shared: Arc<Shared>,
}

impl<T: Send> Receiver<T> {
    /// Waits for the oldest value; `None` when the sender is gone and all that it sent has been taken.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: a value is taken only by the poll that gives it.
    pub async fn recv(&mut self) -> Option<T> {
        waiting_for("a value from a channel", |context| self.poll_recv(context)).await
    }

    /// [`recv`](Receiver::recv) for futures that are written by hand.
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        if !context::spend(context) {
            return Poll::Pending;
        }
        if let Poll::Ready(ended) = self.look() {
            return Poll::Ready(ended);
        }
        self.shared.receiver.enter(context.waker());
        self.look()
    }

    fn look(&mut self) -> Poll<Option<T>> {
        match self.try_recv() {
            Ok(value) => Poll::Ready(Some(value)),
            Err(TryRecvError::Closed) => Poll::Ready(None),
            Err(TryRecvError::Empty) => Poll::Pending,
        }
    }

    /// Takes the oldest value, if there is one.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`]: none has come, or none will.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        // Before the ring: what the sender pushed before it went is then seen.
        let sender_gone = self.shared.sender_gone.load(Ordering::Acquire); // PAIRS: Sender::drop
        match self.ring.pop() {
            Some(value) => {
                self.shared.sender.wake();
                Ok(value)
            }
            None if sender_gone => Err(TryRecvError::Closed),
            None => Err(TryRecvError::Empty),
        }
    }

    /// Whether no value waits now.
    pub fn is_empty(&mut self) -> bool {
        self.ring.is_empty()
    }
}

impl<T: Send> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.receiver_gone.store(true, Ordering::Release); // PAIRS: Sender::is_closed
        // Who waits for room is woken, whatever becomes of the values.
        while let Some(value) = self.ring.pop() {
            drop_contained(value);
        }
        self.shared.sender.wake();
    }
}

impl<T: Send> fmt::Debug for Receiver<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Receiver").finish_non_exhaustive()
    }
}
