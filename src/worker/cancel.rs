//! Asking work to end: a flag that any thread may raise, and those who wait for it.
//!
//! Tokens form a tree. A token that is cancelled cancels all below it and none above. The children of a token are
//! known by numbers in its list, and a child takes itself off the list with its last clone, so that a token that lives
//! for ever does not remember everybody who ever asked.
//!
//! Invariants: no foreign code runs and no other token's lock is taken while a lock is held; who is woken has been taken
//! off the list.

use std::{
    collections::BTreeMap,
    fmt,
    future::{Future, poll_fn},
    mem,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use crate::contain::wake_contained;

/// Asks work to end, from any thread; clones are the same token.
///
/// Cancelling is a request: whoever holds the token looks at [`is_cancelled`](CancellationToken::is_cancelled), awaits
/// [`cancelled`](CancellationToken::cancelled), or runs a future
/// [until it is cancelled](CancellationToken::run_until_cancelled). To have tasks end whatever they do, put them into a
/// [`Scope`](crate::Scope).
///
/// # Examples
///
/// ```
/// use wakering::CancellationToken;
///
/// wakering::run(async {
///     let stop = CancellationToken::new();
///     let request = stop.child_token(); // ends with `stop`, and may end before
///     let worker = wakering::spawn(async move { request.run_until_cancelled(std::future::pending::<()>()).await });
///     stop.cancel();
///     assert_eq!(worker.await.expect("it neither panics nor is aborted"), None);
/// })?;
/// # Ok::<(), wakering::RuntimeError>(())
/// ```
#[derive(Clone)]
pub struct CancellationToken {
    node: Arc<Node>,
}

struct Node {
    cancelled: AtomicBool,
    state: Mutex<State>,
    /// The token above, and this one's number in its list.
    parent: Option<(Arc<Node>, u64)>,
}

#[derive(Default)]
struct State {
    numbers: u64,
    children: BTreeMap<u64, Weak<Node>>,
    waiting: BTreeMap<u64, Waker>,
}

impl Node {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing foreign runs while it is held, but for a waker's clone, before which the state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire) // PAIRS: cancel's Release
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A loop, since a long chain that goes as a whole would take as many frames.
        let mut link = self.parent.take();
        while let Some((parent, number)) = link {
            parent.state().children.remove(&number);
            link = Arc::into_inner(parent).and_then(|mut node| node.parent.take());
        }
    }
}

impl CancellationToken {
    /// A token that nobody has cancelled and that hangs on no other.
    #[must_use]
    pub fn new() -> Self {
        Self::below(None, false)
    }

    /// A token that is cancelled with this one, and may be cancelled before it alone.
    #[must_use]
    pub fn child_token(&self) -> Self {
        let mut state = self.node.state();
        // Under the lock: `cancel` sets the flag before it takes the children.
        if self.is_cancelled() {
            return Self::below(None, true);
        }
        state.numbers += 1;
        let number = state.numbers;
        let child = Self::below(Some((self.node.clone(), number)), false);
        state.children.insert(number, Arc::downgrade(&child.node));
        child
    }

    fn below(parent: Option<(Arc<Node>, u64)>, cancelled: bool) -> Self {
        let cancelled = AtomicBool::new(cancelled);
        CancellationToken { node: Arc::new(Node { cancelled, state: Mutex::default(), parent }) }
    }

    /// Cancels this token and all below it, once and for ever, and wakes those who wait. From any thread.
    pub fn cancel(&self) {
        let mut wakers = Vec::new();
        let mut left = vec![self.node.clone()];
        while let Some(node) = left.pop() {
            let mut state = node.state();
            node.cancelled.store(true, Ordering::Release); // PAIRS: is_cancelled's Acquire
            wakers.extend(mem::take(&mut state.waiting).into_values());
            left.extend(state.children.values().filter_map(Weak::upgrade));
        }
        wakers.into_iter().for_each(wake_contained);
    }

    /// Whether it has been cancelled, by itself or from above.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.node.is_cancelled()
    }

    /// Waits until it is cancelled; over at once when it has been.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing.
    pub fn cancelled(&self) -> Cancelled {
        Cancelled { node: self.node.clone(), number: 0, waker: None }
    }

    /// Runs a future until it is done or this token is cancelled: `None` then.
    ///
    /// The future is polled first: one that is ready just then wins.
    ///
    /// # Cancellation
    ///
    /// When the token is cancelled the future is dropped: what is lost is what that future loses.
    pub async fn run_until_cancelled<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut cancelled = self.cancelled();
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            Pin::new(&mut cancelled).poll(context).map(|()| None)
        })
        .await
    }

    /// A guard that cancels this token when it is dropped.
    #[must_use = "it cancels when it is dropped"]
    pub fn drop_guard(self) -> DropGuard {
        DropGuard { token: Some(self) }
    }
}

impl Default for CancellationToken {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CancellationToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("CancellationToken").field("cancelled", &self.is_cancelled()).finish()
    }
}

/// Resolves when a token is cancelled; made by [`CancellationToken::cancelled`]. It may go to any thread.
#[must_use = "futures do nothing unless awaited"]
pub struct Cancelled {
    node: Arc<Node>,
    /// Under which number it stands in the list of those who wait; 0 before.
    number: u64,
    /// The waker that stands there.
    waker: Option<Waker>,
}

impl Future for Cancelled {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.node.is_cancelled() {
            return Poll::Ready(());
        }
        // It stands there until the token is cancelled, which wakes it.
        if self.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            return Poll::Pending;
        }
        let (waker, kept) = (context.waker().clone(), context.waker().clone());
        let node = self.node.clone();
        let mut state = node.state();
        // Again, under the lock: `cancel` sets the flag before it takes the wakers.
        if node.is_cancelled() {
            return Poll::Ready(());
        }
        if self.number == 0 {
            state.numbers += 1;
            self.number = state.numbers;
        }
        let former = state.waiting.insert(self.number, waker);
        drop(state);
        drop((former, self.waker.replace(kept)));
        Poll::Pending
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        if self.number != 0 {
            let former = self.node.state().waiting.remove(&self.number);
            drop(former);
        }
    }
}

impl fmt::Debug for Cancelled {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Cancelled").field("over", &self.node.is_cancelled()).finish()
    }
}

/// Cancels a token when it is dropped; made by [`CancellationToken::drop_guard`].
#[derive(Debug)]
pub struct DropGuard {
    token: Option<CancellationToken>,
}

impl DropGuard {
    /// Takes the token back; nothing is cancelled.
    #[must_use]
    pub fn disarm(mut self) -> CancellationToken {
        self.token.take().expect("it is taken only here, which ends the guard")
    }
}

impl Drop for DropGuard {
    fn drop(&mut self) {
        if let Some(token) = &self.token {
            token.cancel();
        }
    }
}
