//! Values that stay on their thread while what stands for them may go anywhere.
//!
//! A value lies in a table of the thread that it was made on, and [`Stay`] is its key. The key is `Send` and `Sync`, since it is
//! of use on that thread only: elsewhere one learns that, and a key that is dropped there is noted for the owner, who looks at
//! such notes whenever it stores another value, and at its end.

use std::{
    any::Any,
    cell::RefCell,
    fmt,
    future::Future,
    marker::PhantomData,
    mem,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use crate::slab::{Key, Slab};

thread_local! {
    static HOME: Home = Home { values: RefCell::new(Slab::new()), left: Arc::default() };
}

/// The values of a thread.
struct Home {
    /// `None` while a value is in use.
    values: RefCell<Slab<Option<Box<dyn Any>>>>,
    left: Arc<Left>,
}

/// What other threads have dropped. It is bounded by the values, each of which is dropped once.
#[derive(Default)]
struct Left {
    some: AtomicBool,
    keys: Mutex<Vec<Key>>,
}

/// The value is on another thread, or in use, or its thread is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this belongs to another thread, and can be used only there")]
pub(super) struct Elsewhere;

/// Stands for a `T` that stays on its thread.
pub(super) struct Stay<T> {
    key: Key,
    home: Arc<Left>,
    value: PhantomData<fn() -> T>,
}

impl<T: 'static> Stay<T> {
    pub(super) fn new(value: T) -> Stay<T> {
        HOME.with(|home| {
            drop(home.take_left());
            let key = home.values.borrow_mut().insert(Some(Box::new(value)));
            Stay { key, home: home.left.clone(), value: PhantomData }
        })
    }

    /// Uses the value, with no borrow of the table held.
    pub(super) fn with<R>(&self, user: impl FnOnce(&mut T) -> R) -> Result<R, Elsewhere> {
        let mut value = self.take().ok_or(Elsewhere)?;
        let result = user(value.downcast_mut().expect("a key is made with a value of its type"));
        self.at_home(|home| {
            if let Some(place) = home.values.borrow_mut().get_mut(self.key) {
                *place = Some(value);
            }
        });
        Ok(result)
    }

    /// Gives the value out, where it is at home.
    pub(super) fn into_inner(self) -> Result<T, Stay<T>> {
        match self.take() {
            Some(value) => Ok(*value.downcast().expect("a key is made with a value of its type")),
            None => Err(self),
        }
    }

    fn take(&self) -> Option<Box<dyn Any>> {
        self.at_home(|home| home.values.borrow_mut().get_mut(self.key)?.take()).flatten()
    }

    /// Calls `user` on the value's own thread only.
    fn at_home<R>(&self, user: impl FnOnce(&Home) -> R) -> Option<R> {
        // Without a table the thread is about to end, and the values are gone.
        HOME.try_with(|home| Arc::ptr_eq(&home.left, &self.home).then(|| user(home))).ok().flatten()
    }
}

impl<T> Drop for Stay<T> {
    fn drop(&mut self) {
        let remove = |home: &Home| {
            Arc::ptr_eq(&home.left, &self.home).then(|| home.values.borrow_mut().remove(self.key))
        };
        match HOME.try_with(remove) {
            Ok(Some(removed)) => drop(removed), // here, with no borrow held
            Ok(None) | Err(_) => self.home.leave(self.key),
        }
    }
}

impl Left {
    fn leave(&self, key: Key) {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).push(key);
        // PAIRS: Home::take_left, which reads it before it locks.
        self.some.store(true, Ordering::Release);
    }
}

impl Home {
    /// The values that others have dropped.
    fn take_left(&self) -> Vec<Box<dyn Any>> {
        // PAIRS: Left::leave. One that is missed is seen with the next value.
        if !self.left.some.load(Ordering::Relaxed) || !self.left.some.swap(false, Ordering::Acquire) {
            return Vec::new();
        }
        let keys = mem::take(&mut *self.left.keys.lock().unwrap_or_else(PoisonError::into_inner));
        let mut values = self.values.borrow_mut();
        keys.into_iter().filter_map(|key| values.remove(key).flatten()).collect()
    }
}

impl<T> fmt::Debug for Stay<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Stay").field(&self.key).finish()
    }
}

/// Makes a future `Send` that is not, as long as it is polled where it was made.
///
/// For code that asks for `Send` without ever going to another thread: the handlers of axum and tonic wait by it for sockets
/// and timers of this crate. The future stays on this thread, and only what stands for it is `Send`. Awaiting it costs an
/// allocation and a look-up a poll.
///
/// # Panics
///
/// When it is polled on another thread. Dropped there, the future is dropped on its own thread when that next calls this
/// function, or at its end.
///
/// # Cancellation
///
/// As the future's.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use wakering::{adapters::stay_here, time::sleep};
///
/// fn must_be_send<F: Future + Send>(future: F) -> F {
///     future
/// }
///
/// wakering::run(must_be_send(async {
///     stay_here(async {
///         sleep(Duration::from_millis(1)).await;
///     })
///     .await;
/// }))?;
/// # Ok::<(), wakering::RuntimeError>(())
/// ```
pub fn stay_here<F: Future + 'static>(future: F) -> Staying<F> {
    Staying { future: Stay::new(Box::pin(future)) }
}

/// The future that [`stay_here`] makes.
#[must_use = "futures do nothing unless they are awaited"]
#[derive(Debug)]
pub struct Staying<F> {
    future: Stay<Pin<Box<F>>>,
}

impl<F: Future + 'static> Future for Staying<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let polled = self.future.with(|future| future.as_mut().poll(context));
        polled.expect("a future that stays on its thread is polled there, and by one at a time")
    }
}

#[cfg(test)]
mod tests {
    use std::{rc::Rc, thread};

    use super::{Elsewhere, Stay};

    #[test]
    fn a_value_is_used_where_it_was_made_and_nowhere_else() {
        let value = Stay::new(Rc::new(7));
        assert_eq!(value.with(|it| **it), Ok(7));
        let value = thread::spawn(move || {
            assert_eq!(value.with(|it| **it), Err(Elsewhere));
            value.into_inner().expect_err("it is not here")
        });
        let value = value.join().expect("no panic");
        assert_eq!(value.into_inner().map(|it| *it).ok(), Some(7));
    }

    #[test]
    fn a_value_that_is_in_use_is_not_lent_again() {
        let value = Stay::new(1);
        assert_eq!(value.with(|_| value.with(|_| ())), Ok(Err(Elsewhere)));
        assert_eq!(value.with(|it| *it), Ok(1));
    }

    #[test]
    fn what_another_thread_drops_is_dropped_at_home_with_the_next_value() {
        let watched = Rc::new(());
        let value = Stay::new(watched.clone());
        thread::spawn(move || drop(value)).join().expect("no panic");
        assert_eq!(Rc::strong_count(&watched), 2);
        drop(Stay::new(0));
        assert_eq!(Rc::strong_count(&watched), 1);
    }

    #[test]
    fn a_value_that_is_dropped_while_it_is_used_is_gone_afterwards() {
        let watched = Rc::new(());
        let mut value = Some(Stay::new(watched.clone()));
        let held = value.take().expect("it is there");
        let key = Stay {
            key: held.key,
            home: held.home.clone(),
            value: std::marker::PhantomData::<fn() -> Rc<()>>,
        };
        assert_eq!(held.with(|_| drop(key)), Ok(()));
        drop(held);
        assert_eq!(Rc::strong_count(&watched), 1);
    }
}
