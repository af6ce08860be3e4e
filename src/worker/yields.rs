//! Letting the others run.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// Puts the calling task at the end of the run queue, once.
///
/// # Cancellation
///
/// Dropping the future before it is ready costs one poll more than needed and nothing else.
///
/// # Examples
///
/// ```
/// wakering::run(async {
///     for _ in 0..3 {
///         wakering::yield_now().await;
///     }
/// })?;
/// # Ok::<(), wakering::RuntimeError>(())
/// ```
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// Future of [`yield_now`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
