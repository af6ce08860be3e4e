//! Values that belong to a task: seen by everything that it calls, and by nobody else.
//!
//! While a future with a value is polled, the value stands on a stack of this thread; the innermost one of a key is what
//! is seen. Between polls it lies beside the future, so that tasks of one worker do not see each other's.

use std::{
    any::Any,
    cell::RefCell,
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll},
};

use thiserror::Error;

use crate::task::Beside;

/// Keys are told apart by numbers, given out when a key is first used.
static NEXT_KEY: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static STACK: RefCell<Vec<(u64, Rc<dyn Any>)>> = const { RefCell::new(Vec::new()) };
}

/// Names a value that each task may have of its own: an id for its log lines, a budget, who is asking.
///
/// A task's value is seen by what the task calls, not by the tasks that it spawns: hand it on by giving them a scope of
/// their own.
///
/// # Examples
///
/// ```
/// use wakering::LocalKey;
///
/// static REQUEST: LocalKey<u64> = LocalKey::new();
///
/// async fn log_line() -> String {
///     wakering::yield_now().await;
///     format!("request {}", REQUEST.get().expect("inside a request"))
/// }
///
/// wakering::run(async {
///     let first = wakering::spawn(REQUEST.scope(1, log_line()));
///     let second = wakering::spawn(REQUEST.scope(2, log_line()));
///     assert_eq!(second.await.expect("no panic"), "request 2");
///     assert_eq!(first.await.expect("no panic"), "request 1");
///     assert!(REQUEST.get().is_err(), "here is no value");
/// })?;
/// # Ok::<(), wakering::RuntimeError>(())
/// ```
pub struct LocalKey<T: 'static> {
    /// 0 before the first use.
    number: AtomicU64,
    value: PhantomData<fn() -> T>,
}

/// The running task has no value of this key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the running task has no value of this key")]
#[non_exhaustive]
pub struct NoValue;

impl<T: 'static> LocalKey<T> {
    /// A key without a value; for a `static`.
    #[must_use]
    pub const fn new() -> Self {
        LocalKey { number: AtomicU64::new(0), value: PhantomData }
    }

    /// A future that sees `value` under this key whenever it is polled.
    ///
    /// The value is dropped with the future, and is not seen by the future's own destructor.
    ///
    /// # Cancellation
    ///
    /// What is lost is what the future inside loses.
    pub fn scope<F: Future>(&self, value: T, future: F) -> WithLocal<T, F> {
        Beside::new(future, Local { number: self.number(), value: Rc::new(value), kind: PhantomData })
    }

    /// Runs a function that sees `value` under this key.
    pub fn sync_scope<R>(&self, value: T, body: impl FnOnce() -> R) -> R {
        let _pushed = Pushed::new(self.number(), Rc::new(value));
        body()
    }

    /// Lends the running task's value.
    ///
    /// # Errors
    ///
    /// [`NoValue`] outside every scope of this key.
    pub fn try_with<R>(&self, body: impl FnOnce(&T) -> R) -> Result<R, NoValue> {
        let number = self.number();
        // A thread that ends may have destroyed the stack before whoever asks in a destructor.
        let found = STACK.try_with(|stack| {
            stack.borrow().iter().rev().find(|(key, _)| *key == number).map(|(_, value)| value.clone())
        });
        let value = found.ok().flatten().ok_or(NoValue)?;
        Ok(body(value.downcast_ref().expect("a key has values of one type")))
    }

    /// Lends the running task's value.
    ///
    /// # Panics
    ///
    /// Outside every scope of this key.
    #[track_caller]
    pub fn with<R>(&self, body: impl FnOnce(&T) -> R) -> R {
        match self.try_with(body) {
            Ok(result) => result,
            Err(error) => panic!("{error}: it is given by `scope`"),
        }
    }

    /// A copy of the running task's value.
    ///
    /// # Errors
    ///
    /// [`NoValue`] outside every scope of this key.
    pub fn get(&self) -> Result<T, NoValue>
    where
        T: Clone,
    {
        self.try_with(T::clone)
    }

    fn number(&self) -> u64 {
        // Relaxed throughout: the number is all that travels.
        let number = self.number.load(Ordering::Relaxed);
        if number != 0 {
            return number;
        }
        let fresh = NEXT_KEY.fetch_add(1, Ordering::Relaxed);
        match self.number.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_zero) => fresh,
            Err(given) => given,
        }
    }
}

impl<T: 'static> Default for LocalKey<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: 'static> fmt::Debug for LocalKey<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("LocalKey").finish_non_exhaustive()
    }
}

/// A future that sees a value of its own; made by [`LocalKey::scope`].
pub type WithLocal<T, F> = Beside<F, Local<T>>;

/// The value of a [`WithLocal`].
pub struct Local<T: 'static> {
    number: u64,
    value: Rc<dyn Any>,
    kind: PhantomData<T>,
}

impl<T: 'static> fmt::Debug for Local<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Local").finish_non_exhaustive()
    }
}

impl<T: 'static, F: Future> Future for Beside<F, Local<T>> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let (future, local) = self.project();
        let _pushed = Pushed::new(local.number, local.value.clone());
        future.poll(context)
    }
}

/// A value on the stack, until this is dropped.
struct Pushed;

impl Pushed {
    fn new(number: u64, value: Rc<dyn Any>) -> Pushed {
        STACK.with_borrow_mut(|stack| stack.push((number, value)));
        Pushed
    }
}

impl Drop for Pushed {
    fn drop(&mut self) {
        let popped = STACK.with_borrow_mut(Vec::pop);
        // Outside the borrow: it may be the value's last owner.
        drop(popped);
    }
}
