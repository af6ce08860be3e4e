//! A clock that is moved by hand, or moves by itself when everything waits.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{NEVER, nanos};

/// Time for tests: a runtime that was [built on it](crate::Builder::manual_clock) waits for no real second.
///
/// When all workers of the runtime wait, no event is pending and no blocking job is under way, it moves by itself to the
/// next deadline. With [`auto_advance(false)`](ManualClock::auto_advance) it stands still until it is told to
/// [`advance`](ManualClock::advance). What other threads and processes are about to send cannot be known: a
/// test that talks with them, or waits for a [`BlockingThread`](crate::BlockingThread), lets the clock stand.
///
/// Clones are the same clock. [`Instant`]s of the runtime (of an interval's ticks, say) are counted from when the clock was
/// made. `Instant::now()` knows nothing of it: code that is to be tested so asks [`time::now`](crate::time::now).
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
/// use wakering::{Runtime, time::{ManualClock, sleep}};
///
/// let start = Instant::now();
/// let clock = ManualClock::new();
/// let runtime = Runtime::builder().manual_clock(&clock).build()?;
/// runtime.block_on(async { sleep(Duration::from_secs(3600)).await })?;
/// assert_eq!(clock.elapsed(), Duration::from_secs(3600));
/// assert!(start.elapsed() < Duration::from_secs(60));
/// # Ok::<(), wakering::RuntimeError>(())
/// ```
#[derive(Clone)]
pub struct ManualClock {
    inner: Arc<Inner>,
}

/// Told when the clock is moved from outside; false when nobody is there any more.
type Listener = Box<dyn Fn() -> bool + Send + Sync>;

struct Inner {
    origin: Instant,
    nanos: AtomicU64,
    stands: AtomicBool,
    listeners: Mutex<Vec<Listener>>,
}

impl ManualClock {
    /// A clock at zero that moves by itself when everything waits.
    #[must_use]
    pub fn new() -> Self {
        let inner = Inner {
            origin: Instant::now(),
            nanos: AtomicU64::new(0),
            stands: AtomicBool::new(false),
            listeners: Mutex::default(),
        };
        ManualClock { inner: Arc::new(inner) }
    }

    /// How far it has come.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.now())
    }

    /// The instant that it shows: when it was made, and how far it has come since.
    ///
    /// Inside the runtime that is [`time::now`](crate::time::now); this is for who stands outside.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use wakering::{Runtime, time::{self, ManualClock}};
    ///
    /// let clock = ManualClock::new();
    /// let runtime = Runtime::builder().manual_clock(&clock).build()?;
    /// let wake_up = clock.instant() + Duration::from_secs(3600);
    /// // Made inside: outside it would be counted by the system's clock.
    /// runtime.block_on(async { time::sleep_until(wake_up).await })?;
    /// assert_eq!(clock.instant(), wake_up);
    /// # Ok::<(), wakering::RuntimeError>(())
    /// ```
    #[must_use]
    pub fn instant(&self) -> Instant {
        // In whole seconds of 64 bits there is room for 584 years more.
        self.inner.origin + self.elapsed()
    }

    /// Moves it on, from any thread; what is due then fires in the order of deadlines.
    pub fn advance(&self, by: Duration) {
        self.advance_to(self.now().saturating_add(nanos(by)));
        self.tell();
    }

    /// Whether it moves by itself when everything waits; it does unless it is told otherwise.
    pub fn auto_advance(&self, does: bool) {
        self.inner.stands.store(!does, Ordering::Relaxed);
        self.tell();
    }

    fn tell(&self) {
        let mut listeners = self.inner.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| listener());
    }

    pub(crate) fn moves_by_itself(&self) -> bool {
        !self.inner.stands.load(Ordering::Relaxed)
    }

    pub(crate) fn listen(&self, listener: Listener) {
        self.inner.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(listener);
    }

    pub(crate) fn advance_to(&self, target: u64) {
        // NEVER is kept out of reach, or the deadlines that mean "never" would be due.
        self.inner.nanos.fetch_max(target.min(NEVER - 1), Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> u64 {
        // Relaxed: the number is all that travels; who waits for it is told by a fence of his own.
        self.inner.nanos.load(Ordering::Relaxed)
    }

    pub(super) fn origin(&self) -> Instant {
        self.inner.origin
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        ManualClock::new()
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock").field("elapsed", &self.elapsed()).finish_non_exhaustive()
    }
}
