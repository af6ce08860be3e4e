//! Sleeps, time limits and intervals as their documentation promises them.

#![cfg(not(loom))]

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use wakering::time::{MissedTicks, interval, interval_at, sleep, sleep_until, timeout, timeout_at};
use wakering::{Elapsed, run, spawn, yield_now};

const HOUR: Duration = Duration::from_secs(3600);

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn zero_and_past_are_over_at_the_first_poll() {
    run(async {
        let start = Instant::now();
        for sleep in [sleep(Duration::ZERO), sleep_until(start), sleep_until(start - milliseconds(1))] {
            let mut sleep = pin!(sleep);
            poll_fn(|context| {
                assert!(sleep.as_mut().poll(context).is_ready());
                Poll::Ready(())
            })
            .await;
        }
        sleep_until(start.checked_sub(HOUR).unwrap_or(start)).await;
        assert!(timeout(Duration::ZERO, pending::<()>()).await.is_err());
        assert!(start.elapsed() < HOUR);
    })
    .unwrap();
}

#[test]
fn sleeping_without_end_does_not_keep_the_loop_from_anything() {
    run(async {
        let mut forever = [
            sleep(Duration::MAX),
            sleep(milliseconds(u64::MAX)),
            sleep(milliseconds(1 << 31)),
            sleep(Duration::from_secs(1 << 40)),
        ];
        let limited = timeout(milliseconds(30), async {
            poll_fn(|context| {
                for sleep in &mut forever {
                    assert!(pin!(sleep).poll(context).is_pending());
                }
                Poll::<()>::Pending
            })
            .await;
        });
        assert!(limited.await.is_err());
    })
    .unwrap();
}

#[test]
fn what_is_due_together_fires_in_the_order_of_deadline_and_arming() {
    run(async {
        let log = Rc::new(RefCell::new(Vec::new()));
        let base = Instant::now() + milliseconds(5);
        let offsets = [300, 100, 200, 100, 0, 300, 0, 1];
        let tasks: Vec<_> = offsets
            .into_iter()
            .enumerate()
            .map(|(arming, offset)| {
                let log = log.clone();
                spawn(async move {
                    sleep_until(base + Duration::from_micros(offset)).await;
                    log.borrow_mut().push((offset, arming));
                })
            })
            .collect();
        yield_now().await;
        // All of them pass while nobody looks.
        thread::sleep(milliseconds(10));
        for task in tasks {
            task.await.unwrap();
        }
        let mut expected: Vec<(u64, usize)> = offsets.into_iter().zip(0..).collect();
        expected.sort_unstable();
        assert_eq!(*log.borrow(), expected);
    })
    .unwrap();
}

#[test]
fn a_timer_that_is_cancelled_from_inside_another_of_the_same_turn_does_not_count_as_fired() {
    run(async {
        let deadline = Instant::now() + milliseconds(5);
        let fired = Rc::new(Cell::new(false));
        let flag = fired.clone();
        let victim_of = Rc::new(RefCell::new(None));
        let slot = victim_of.clone();
        let first = spawn(async move {
            sleep_until(deadline).await;
            let victim: wakering::JoinHandle<()> = slot.take().expect("the victim is known by now");
            victim.abort();
            victim.await.unwrap_err().is_cancelled()
        });
        let second = spawn(async move {
            sleep_until(deadline).await;
            flag.set(true);
        });
        victim_of.replace(Some(second));
        yield_now().await;
        thread::sleep(milliseconds(10));
        assert!(first.await.unwrap());
        assert!(!fired.get());
    })
    .unwrap();
}

#[test]
fn a_sleep_may_be_made_outside_a_runtime() {
    let start = Instant::now();
    run(sleep(milliseconds(5))).unwrap();
    assert!(start.elapsed() >= milliseconds(5));
    assert!(run(timeout(milliseconds(5), pending::<()>())).unwrap().is_err());
}

#[test]
fn a_sleep_that_is_over_stays_over_until_it_is_reset() {
    run(async {
        let mut sleep = pin!(sleep(milliseconds(2)));
        sleep.as_mut().await;
        sleep.as_mut().await;
        let start = Instant::now();
        sleep.reset_after(milliseconds(5));
        sleep.as_mut().await;
        assert!(start.elapsed() >= milliseconds(5));
        sleep.reset(start);
        sleep.await;
    })
    .unwrap();
}

#[test]
fn a_sleep_that_is_put_off_while_it_is_waited_for_fires_at_the_new_deadline_only() {
    run(async {
        let mut polls = 0;
        let mut sleep = pin!(sleep(milliseconds(5)));
        let start = Instant::now();
        poll_fn(|context| {
            polls += 1;
            assert!(sleep.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
        sleep.reset(start + milliseconds(40));
        poll_fn(|context| {
            polls += 1;
            sleep.as_mut().poll(context)
        })
        .await;
        assert!(start.elapsed() >= milliseconds(40));
        assert!(polls <= 3, "it was polled {polls} times: the first deadline fired too");
    })
    .unwrap();
}

#[test]
fn a_future_that_is_ready_wins_against_a_limit_that_has_passed() {
    run(async {
        let limit = Instant::now();
        assert_eq!(timeout_at(limit, async { 5 }).await, Ok(5));
        let mut steps = 0;
        let both = timeout(
            milliseconds(1),
            poll_fn(|context| {
                steps += 1;
                if steps == 2 {
                    return Poll::Ready(7);
                }
                thread::sleep(milliseconds(5));
                context.waker().wake_by_ref();
                Poll::Pending
            }),
        );
        // At the first poll the limit had not come; at the second it had, and the future was ready.
        assert_eq!(both.await, Ok(7));
    })
    .unwrap();
}

#[test]
fn a_future_that_is_always_ready_does_not_get_round_its_time_limit() {
    run(async {
        let busy = async {
            loop {
                // Ready at once, until the task's budget is used up.
                sleep(Duration::ZERO).await;
            }
        };
        let never: Result<(), Elapsed> = timeout(milliseconds(10), busy).await;
        assert!(never.is_err());
    })
    .unwrap();
}

#[test]
fn a_time_limit_holds_its_future_once_and_drops_it_in_the_end() {
    struct Flag(Rc<Cell<bool>>);
    impl Drop for Flag {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    run(async {
        let dropped = Rc::new(Cell::new(false));
        let flag = Flag(dropped.clone());
        let held = async move {
            let _flag = flag;
            let room = [0_u8; 4096];
            pending::<()>().await;
            std::hint::black_box(&room);
        };
        let size = size_of_val(&held);
        {
            let mut limited = pin!(timeout(milliseconds(2), held));
            assert!(size_of_val(&*limited) <= size + 64);
            assert!(limited.as_mut().await.is_err());
            assert!(!dropped.get());
        }
        assert!(dropped.get());
    })
    .unwrap();
}

#[test]
fn an_interval_ticks_at_once_and_then_at_its_distance() {
    run(async {
        let start = Instant::now();
        let mut ticks = interval(milliseconds(4));
        let first = ticks.tick().await;
        assert!(first.duration_since(start) < HOUR);
        for number in 1..5 {
            let planned = ticks.tick().await;
            assert_eq!(planned, first + milliseconds(4) * number);
            assert!(Instant::now() >= planned);
        }
        assert_eq!(ticks.period(), milliseconds(4));
    })
    .unwrap();
}

#[test]
fn missed_ticks_come_in_a_burst_or_with_a_delay_or_not_at_all() {
    run(async {
        let start = Instant::now();
        let period = milliseconds(10);
        let mut burst = interval_at(start, period);
        let mut delay = interval_at(start, period).missed_ticks(MissedTicks::Delay);
        let mut skip = interval_at(start, period).missed_ticks(MissedTicks::Skip);
        thread::sleep((start + milliseconds(45)).saturating_duration_since(Instant::now()));
        for ticks in [&mut burst, &mut delay, &mut skip] {
            assert_eq!(ticks.tick().await, start, "the tick that was missed first comes late");
        }
        for number in 1..5 {
            assert_eq!(burst.tick().await, start + period * number);
        }
        assert!(delay.tick().await >= start + milliseconds(55));
        let skipped = skip.tick().await.duration_since(start);
        assert!(skipped >= milliseconds(50) && skipped.as_nanos() % period.as_nanos() == 0, "{skipped:?}");
    })
    .unwrap();
}

#[test]
fn a_tick_that_is_not_waited_for_to_the_end_is_not_lost() {
    run(async {
        let start = Instant::now() + milliseconds(20);
        let mut ticks = interval_at(start, milliseconds(20));
        assert!(timeout(milliseconds(2), ticks.tick()).await.is_err());
        assert_eq!(ticks.tick().await, start);
        ticks.reset();
        assert!(ticks.tick().await >= start + milliseconds(20));
    })
    .unwrap();
}

#[test]
#[should_panic(expected = "an interval's period cannot be zero")]
fn an_interval_of_zero_is_refused() {
    let _ticks = interval(Duration::ZERO);
}
