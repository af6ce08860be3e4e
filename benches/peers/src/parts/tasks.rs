//! Tasks on one worker: spawned and joined, yielding, waking each other.

use std::cell::Cell;
use std::future::{Future, pending};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::{Part, Size, tell};

/// What is asked of a runtime: one worker, whose tasks need not be `Send`.
pub trait Runtime {
    /// Runs a future and the tasks that it spawns.
    fn block_on<F: Future<Output: 'static> + 'static>(future: F) -> F::Output;
    /// Starts a task, which goes on when what is returned is dropped by [`Runtime::forget`].
    fn spawn<F: Future<Output = ()> + 'static>(future: F) -> impl Future<Output = ()> + 'static;
    /// Starts a task that nobody will join.
    fn forget<F: Future<Output = ()> + 'static>(future: F);
    /// Lets other tasks run.
    fn yield_now() -> impl Future<Output = ()>;
}

/// A runtime with timers.
pub trait Timers: Runtime {
    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static;
}

/// A runtime with sockets.
pub trait Sockets: Runtime {
    /// Waits until the stream can be read, without a buffer where the runtime knows how.
    fn hold(stream: std::net::TcpStream) -> impl Future<Output = ()> + 'static;
}

/// The parts of every runtime.
pub fn parts<R: Runtime>() -> [Part; 4] {
    [
        ("wake-local", wake_local::<R>),
        ("spawn-join", spawn_join::<R>),
        ("yield", yield_round::<R>),
        ("yield-all", yield_all::<R>),
    ]
}

/// Tasks of a round of yields.
const TASKS: u64 = 1_000;

/// Spawns tasks that never wake.
pub async fn sleepers<R: Runtime>(count: usize) {
    (0..count).for_each(|_| R::forget(pending()));
    R::yield_now().await;
}

/// An empty task, spawned and awaited; ns for both.
fn spawn_join<R: Runtime>(size: &Size) {
    let others = size.others;
    let ns = R::block_on(async move {
        sleepers::<R>(others).await;
        rounds(300_000, async |count| {
            for _ in 0..count {
                R::spawn(async {}).await;
            }
        })
        .await
    });
    tell("ns", ns);
}

/// A thousand tasks that do nothing but yield; ns for one yield.
fn yield_round<R: Runtime>(size: &Size) {
    let others = size.others;
    let ns = R::block_on(async move {
        sleepers::<R>(others).await;
        rounds(2_000_000, async |count| yields::<R>(TASKS, count / TASKS).await).await
    });
    tell("ns", ns);
}

/// All tasks that there are yield; ns for one yield.
fn yield_all<R: Runtime>(size: &Size) {
    let tasks = size.others.max(1) as u64;
    let ns = R::block_on(async move {
        let rounds_each = (2_000_000 / tasks).max(4);
        rounds(tasks * rounds_each, async |count| yields::<R>(tasks, (count / tasks).max(1)).await).await
    });
    tell("ns", ns);
}

async fn yields<R: Runtime>(tasks: u64, rounds: u64) {
    let spawned: Vec<_> = (0..tasks)
        .map(|_| {
            R::spawn(async move {
                for _ in 0..rounds {
                    R::yield_now().await;
                }
            })
        })
        .collect();
    for task in spawned {
        task.await;
    }
}

/// As [`best`], inside the runtime.
pub async fn rounds(count: u64, mut work: impl AsyncFnMut(u64)) -> f64 {
    work(count / 10).await;
    let mut least = f64::INFINITY;
    for _ in 0..super::SAMPLES {
        let before = super::thread_cpu_ns();
        work(count).await;
        least = least.min((super::thread_cpu_ns() - before) as f64 / count as f64);
    }
    least
}

/// Two tasks that wake each other in turn: every poll is one wake of the other, and nothing else is done, so that the
/// figure is the runtime's.
struct Player {
    table: Rc<[Cell<Option<Waker>>; 2]>,
    me: usize,
    left: u64,
}

impl Future for Player {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.left -= 1;
        if self.left > 0 {
            self.table[self.me].set(Some(context.waker().clone()));
        }
        if let Some(waker) = self.table[1 - self.me].take() {
            waker.wake();
        }
        if self.left == 0 { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Two tasks wake each other in turn; ns for a wake and the poll that it causes.
fn wake_local<R: Runtime>(size: &Size) {
    let others = size.others;
    let ns = R::block_on(async move {
        sleepers::<R>(others).await;
        rounds(2_000_000, async |count| {
            let table = Rc::new([Cell::new(None), Cell::new(None)]);
            // Both are polled first by their spawn: the second then wakes the first.
            let player = |me| R::spawn(Player { table: table.clone(), me, left: count / 2 });
            let (one, other) = (player(0), player(1));
            one.await;
            other.await;
        })
        .await
    });
    tell("ns", ns);
}
