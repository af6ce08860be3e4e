//! A thread of its own for work that blocks and must stay together.
//!
//! It is a pool of one thread that does not end when it is idle. What its jobs share lies in a thread-local: it is made
//! on the thread, never leaves it, and is dropped there.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

use super::{BlockingHandle, Config, Pool};
use crate::contain::drop_contained;
use crate::error::SpawnError;
use crate::limits::SHUTDOWN_LONGEST;

thread_local! {
    static STATE: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

/// A dedicated thread that runs functions one after the other, in the order in which they were given.
///
/// For what blocks and is bound to one thread, or must not be done twice at a time: a database's connection, a device, a
/// library that is not thread-safe. What the functions share, `S`, is made on the thread and need not be `Send`. For
/// work without ties [`spawn_blocking`](crate::spawn_blocking) has a pool.
///
/// It belongs to no runtime, may be used from any thread, and its results may be awaited anywhere. Clones are the same
/// thread. When the last is dropped, the thread runs what was given to it, drops what the functions shared, and ends;
/// nobody waits for that, and a panic in there ends nothing else. A [`ManualClock`](crate::time::ManualClock) does not know
/// of it, and moves on meanwhile.
///
/// # Examples
///
/// ```
/// use wakering::BlockingThread;
///
/// let log = BlockingThread::start("log", 100, Vec::new)?; // a file, in earnest
/// wakering::run(async {
///     for line in ["one", "two"] {
///         drop(log.run(move |lines| lines.push(line)).expect("the queue has room"));
///     }
///     let written = log.run(|lines| lines.join("\n")).expect("the queue has room");
///     assert_eq!(written.await.expect("it does not panic"), "one\ntwo");
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct BlockingThread<S: 'static = ()> {
    inner: Arc<Inner>,
    state: PhantomData<fn(&mut S)>,
}

struct Inner {
    pool: Arc<Pool>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let pool = Arc::downgrade(&self.pool);
        // Its thread calls this. Left to the thread's end, a destructor that panics would end the process.
        self.pool.finish(Box::new(move || {
            if pool.upgrade().is_some_and(|pool| pool.is_served_here()) {
                drop_contained(STATE.take());
            }
        }));
    }
}

impl<S: 'static> BlockingThread<S> {
    /// Starts a thread, and has it make what its functions will share. At most `queue` functions wait, for that and for each
    /// other.
    ///
    /// When `make` panics, every function's handle reports a panic.
    ///
    /// # Errors
    ///
    /// [`SpawnError::NoThread`] when the system has no thread left, [`SpawnError::Full`] for a queue of nought.
    #[track_caller]
    pub fn start(
        name: impl Into<String>,
        queue: usize,
        make: impl FnOnce() -> S + Send + 'static,
    ) -> Result<Self, SpawnError> {
        let pool = Pool::new(Config {
            thread_name: name.into().replace('\0', ""),
            threads_max: 1,
            queue_max: queue,
            begins_free: true,
            keep_alive: SHUTDOWN_LONGEST,
        });
        let made = pool.spawn(
            move || {
                let state: Box<dyn Any> = Box::new(make());
                STATE.set(Some(state));
            },
            Location::caller(),
        )?;
        drop(made);
        Ok(BlockingThread { inner: Arc::new(Inner { pool }), state: PhantomData })
    }

    /// Has the thread run a function, behind those that it was given before. A panic ends that function only; what the
    /// functions share stays as it left it.
    ///
    /// # Errors
    ///
    /// [`SpawnError::Full`] when too many wait. The function is then dropped without a call.
    ///
    /// # Cancellation
    ///
    /// Dropping the handle detaches the function. [`BlockingHandle::abort`] takes it back if it has not begun.
    #[track_caller]
    pub fn run<F, T>(&self, work: F) -> Result<BlockingHandle<T>, SpawnError>
    where
        F: FnOnce(&mut S) -> T + Send + 'static,
        T: Send + 'static,
    {
        let job = move || {
            STATE.with_borrow_mut(|state| {
                let state = state.as_mut().and_then(|state| state.downcast_mut());
                work(state.expect("making what the thread's functions share has panicked"))
            })
        };
        self.inner.pool.spawn(job, Location::caller())
    }
}

impl<S: 'static> Clone for BlockingThread<S> {
    fn clone(&self) -> Self {
        BlockingThread { inner: self.inner.clone(), state: PhantomData }
    }
}

impl<S: 'static> fmt::Debug for BlockingThread<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingThread").field("busy", &self.inner.pool.is_busy()).finish_non_exhaustive()
    }
}
