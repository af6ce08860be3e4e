//! Timers: armed and cancelled, armed and fired, with others pending.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use super::tasks::{Timers, rounds};
use super::{Part, Size, best_of_process, tell};

const FAR: Duration = Duration::from_secs(3600);
/// Timers that are due at about the same time.
const BATCH: u64 = 1_000;

/// The parts of every runtime with timers.
pub fn parts<R: Timers>() -> [Part; 2] {
    [("timer-cancel", cancel::<R>), ("timer-fire", fire::<R>)]
}

/// A sleep that has been polled once.
pub async fn armed<R: Timers>(duration: Duration) -> Pin<Box<dyn Future<Output = ()>>> {
    let mut sleep: Pin<Box<dyn Future<Output = ()>>> = Box::pin(R::sleep(duration));
    poll_fn(|context| Poll::Ready(_ = sleep.as_mut().poll(context))).await;
    sleep
}

/// Made, polled once, dropped.
fn cancel<R: Timers>(size: &Size) {
    let others = size.others;
    let ns = R::block_on(async move {
        let mut pending = Vec::with_capacity(others);
        for number in 0..others as u64 {
            // Spread over the next hour, as time limits of connections are.
            pending.push(armed::<R>(FAR + Duration::from_micros(number * 3600)).await);
        }
        let ns = rounds(200_000, async |count| {
            for number in 0..count {
                let mut sleep = pin!(R::sleep(FAR + Duration::from_micros(number * 18_000)));
                poll_fn(|context| Poll::Ready(_ = sleep.as_mut().poll(context))).await;
            }
        })
        .await;
        // To drop a million timers is another measurement.
        pending.into_iter().for_each(std::mem::forget);
        ns
    });
    tell("ns", ns);
}

/// A thousand timers at a time, due within two milliseconds, each awaited by a task of its own.
fn fire<R: Timers>(_: &Size) {
    let ns = best_of_process(20 * BATCH, |count| {
        R::block_on(async move {
            for _ in 0..count / BATCH {
                let tasks: Vec<_> = (0..BATCH)
                    .map(|number| {
                        let duration = Duration::from_micros(1_000 + number);
                        R::spawn(async move { R::sleep(duration).await })
                    })
                    .collect();
                for task in tasks {
                    task.await;
                }
            }
        });
    });
    tell("ns", ns);
}
