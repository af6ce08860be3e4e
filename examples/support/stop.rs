//! Servers that are tasks, one on each worker, and an end that reaches all of them.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Poll, Waker},
    time::Duration,
};

use wakering::{RemoteJoinHandle, time};

use crate::ending::first_signal;

/// Announces `addr`, and waits for the workers: for ever, and after the first signal for as long as the grace is.
/// What goes on longer is for the runtime's drop to abort.
pub(crate) async fn serve(
    addr: SocketAddr,
    grace: Duration,
    stop: Stop,
    workers: Vec<RemoteJoinHandle<io::Result<()>>>,
) -> io::Result<()> {
    let mut signal = pin!(first_signal(addr));
    let mut serving = pin!(async {
        for worker in workers {
            worker.await.map_err(io::Error::other)??;
        }
        Ok(())
    });
    let early = poll_fn(|cx| match signal.as_mut().poll(cx) {
        Poll::Ready(Ok(())) => Poll::Ready(None),
        Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
        Poll::Pending => serving.as_mut().poll(cx).map(Some),
    });
    if let Some(outcome) = early.await {
        return outcome;
    }
    stop.begin();
    time::timeout(grace, serving).await.unwrap_or(Ok(()))
}

/// Tells every worker that the end has begun.
#[derive(Clone, Default)]
pub(crate) struct Stop(Arc<Inner>);

#[derive(Default)]
struct Inner {
    begun: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

impl Stop {
    pub(crate) fn begin(&self) {
        self.0.begun.store(true, Ordering::SeqCst);
        let waiting = std::mem::take(&mut *self.0.waiting.lock().expect("nobody panics while holding it"));
        waiting.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.0.begun.load(Ordering::SeqCst)
    }

    /// The output of `future`, or `None` if the end begins first.
    pub(crate) async fn or<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            if self.has_begun() {
                return Poll::Ready(None);
            }
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            let mut waiting = self.0.waiting.lock().expect("nobody panics while holding it");
            if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                waiting.push(cx.waker().clone());
            }
            drop(waiting);
            // It may have begun while the waker was on its way into the list.
            if self.has_begun() { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    }
}
