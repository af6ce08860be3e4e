//! The end of a runtime: in good order, in time, and with a word about what had to be aborted.

use std::{
    cell::Cell,
    future::{Future, pending, poll_fn},
    pin::pin,
    rc::Rc,
    sync::{Arc, Barrier, mpsc},
    thread,
    time::{Duration, Instant},
};

use wakering::{
    Handle, Runtime, RuntimeError, run, spawn, spawn_blocking, spawn_named, spawn_on,
    time::{ManualClock, sleep},
    yield_now,
};

const LONG: Duration = Duration::from_secs(3600);

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn a_shutdown_lets_tasks_finish_and_reports_nothing() {
    let report = run(async {
        let finished = Rc::new(Cell::new(0));
        for wait in [1, 5, 20] {
            let finished = finished.clone();
            spawn(async move {
                sleep(milliseconds(wait)).await;
                finished.set(finished.get() + 1);
            });
        }
        let report = Handle::current().shutdown(LONG).await;
        assert_eq!(finished.get(), 3);
        report
    });
    let report = report.unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.to_string(), "everything ended by itself");
}

thread_local! {
    static BLOCKS: Cell<Option<Blocks>> = const { Cell::new(None) };
}

/// Blocks in its destructor, which runs when its thread ends.
struct Blocks(mpsc::Sender<()>, mpsc::Receiver<()>);

impl Drop for Blocks {
    fn drop(&mut self) {
        let _ = self.0.send(());
        let _ = self.1.recv();
    }
}

/// Not its tasks hold it up, nor what those dropped: a library's value that lives as long as the thread.
#[test]
fn a_shutdown_does_not_wait_for_thread_locals_whose_destructors_block() {
    let (began, begun) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let keep = async { BLOCKS.set(Some(Blocks(began, released))) };
    runtime.block_on(async { spawn_on(1, || keep).unwrap().await.unwrap() }).unwrap();
    drop(runtime.shutdown(milliseconds(1)).unwrap());
    // It is inside, or gets there, and nobody waits for it.
    begun.recv().unwrap();
    drop(release);
}

#[test]
fn what_is_late_is_aborted_and_named_with_what_it_waited_for() {
    let start = Instant::now();
    let report = run(async {
        spawn_named("sleeper", sleep(LONG));
        Handle::current().shutdown(milliseconds(30)).await
    });
    let report = report.unwrap();
    assert!(start.elapsed() >= milliseconds(30) && start.elapsed() < LONG);
    assert_eq!(report.aborted.len(), 1);
    let text = report.to_string();
    assert!(text.starts_with("1 task was aborted\n"), "{text}");
    assert!(text.contains("sleeper") && text.contains(file!()) && text.contains("timer"), "{text}");
}

#[test]
fn tasks_hear_of_the_shutdown_and_may_leave_by_themselves() {
    run(async {
        let handle = Handle::current();
        assert!(!handle.is_stopping());
        let listener = handle.clone();
        let task = spawn(async move { listener.stopping().await });
        yield_now().await;
        let report = handle.shutdown(LONG).await;
        assert!(task.is_finished() && handle.is_stopping() && report.is_clean());
        handle.stopping().await; // at once from now on
    })
    .unwrap();
}

#[test]
fn a_shutdown_awaited_inside_tasks_waits_for_none_of_them() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let (sender, received) = mpsc::channel();
    let reports = runtime.block_on(async move {
        let handle = Handle::current();
        for worker in [0, 1, 1] {
            let sender = sender.clone();
            let task = handle.spawn_on(worker, move || async move {
                let report = Handle::current().shutdown(LONG).await;
                sender.send(report.is_clean()).unwrap();
            });
            drop(task.unwrap());
        }
        drop(sender);
        handle.shutdown(LONG).await
    });
    assert!(reports.unwrap().is_clean());
    assert!(runtime.shutdown(LONG).unwrap().is_clean());
    assert_eq!(received.iter().collect::<Vec<_>>(), [true; 3]);
}

#[test]
fn the_shortest_grace_counts() {
    let start = Instant::now();
    run(async {
        spawn(pending::<()>());
        let handle = Handle::current();
        let first = handle.shutdown(Duration::MAX);
        let second = handle.shutdown(milliseconds(10));
        assert_eq!(second.await.aborted.len(), 1);
        assert_eq!(first.await.aborted.len(), 1);
    })
    .unwrap();
    assert!(start.elapsed() < LONG);
}

#[test]
fn a_root_future_that_is_late_ends_as_closed() {
    let runtime = Runtime::new().unwrap();
    let ended = runtime.block_on(async {
        drop(Handle::current().shutdown(milliseconds(10)));
        pending::<()>().await;
    });
    assert!(matches!(ended, Err(RuntimeError::Closed)));
    assert!(matches!(runtime.block_on(async {}), Err(RuntimeError::Closed)));
    let report = runtime.shutdown(Duration::ZERO).unwrap();
    assert!(report.aborted.iter().any(|task| task.is_root), "{report}");
}

#[test]
fn a_task_that_awaits_the_shutdown_has_its_report_of_a_root_future_that_is_late() {
    for workers in [1, 2] {
        let (reports, reported) = mpsc::channel();
        // Its clock stands still while the task has its last words.
        let runtime = Runtime::builder().workers(workers).manual_clock(&ManualClock::new()).build().unwrap();
        let outcome = runtime.block_on(async {
            spawn(async move {
                let report = Handle::current().shutdown(LONG).await;
                yield_now().await;
                reports.send(report).unwrap();
            });
            pending::<()>().await;
        });
        assert!(matches!(outcome, Err(RuntimeError::Closed)));
        let report = reported.try_recv().expect("the task went on behind its shutdown");
        assert!(report.aborted.len() == 1 && report.aborted[0].is_root, "{report}");
    }
}

#[test]
fn who_joins_the_task_that_asked_is_not_waited_for() {
    let runtime = Runtime::new().unwrap();
    let report = runtime.block_on(async {
        let asks = spawn(async { Handle::current().shutdown(Duration::MAX).await });
        let between = spawn(asks);
        between.await.unwrap().unwrap()
    });
    assert!(report.unwrap().is_clean());
}

#[test]
fn a_task_of_another_worker_that_asked_hears_of_the_late_root() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let (tell, told) = mpsc::channel();
    let outcome = runtime.block_on(async move {
        let ask =
            move || async move { tell.send(Handle::current().shutdown(milliseconds(10)).await).unwrap() };
        drop(wakering::spawn_on(1, ask).unwrap());
        pending::<()>().await;
    });
    assert!(matches!(outcome, Err(RuntimeError::Closed)), "{outcome:?}");
    let report = told.recv_timeout(LONG).expect("the task that asked was dropped without its report");
    assert!(report.aborted.iter().any(|task| task.is_root), "{report}");
}

#[test]
fn who_joins_the_task_that_asked_and_does_more_is_waited_for() {
    let runtime = Runtime::builder().manual_clock(&ManualClock::new()).build().unwrap();
    let done = Rc::new(Cell::new(false));
    let flushed = done.clone();
    runtime
        .block_on(async {
            let asks = spawn(async move {
                assert!(Handle::current().shutdown(LONG).await.is_clean());
                assert!(done.get(), "what was beside the join was not waited for");
            });
            let flush = async move {
                sleep(milliseconds(500)).await;
                flushed.set(true);
            };
            let (mut asks, mut flush) = (pin!(asks), pin!(flush));
            let mut flushes = true;
            poll_fn(|context| {
                flushes = flushes && flush.as_mut().poll(context).is_pending();
                asks.as_mut().poll(context)
            })
            .await
            .unwrap();
        })
        .unwrap();
}

#[test]
fn closed_is_an_error_inside_and_resolves_outside_for_everybody() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let handle = runtime.handle();
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let handle = handle.clone();
            thread::spawn(move || run(async move { handle.closed().await }).unwrap().unwrap())
        })
        .collect();
    runtime
        .block_on(async {
            let handle = Handle::current();
            assert!(matches!(handle.closed().await, Err(RuntimeError::WaitsForItself)));
            let remote = handle.spawn_on(1, || async { Handle::current().closed().await.is_err() });
            assert!(remote.unwrap().await.unwrap());
        })
        .unwrap();
    assert!(runtime.shutdown(milliseconds(100)).unwrap().is_clean());
    for waiter in waiters {
        assert!(waiter.join().unwrap().is_clean());
    }
    assert!(run(async move { handle.closed().await }).unwrap().is_ok(), "at once afterwards");
}

#[test]
fn blocking_for_the_end_on_a_thread_of_the_runtime_is_an_error_at_once() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let handle = runtime.handle();
    assert!(matches!(handle.shutdown_blocking(LONG), Err(RuntimeError::WaitsForItself)));
    runtime
        .block_on(async {
            let handle = Handle::current();
            assert!(handle.shutdown_blocking(LONG).is_err());
            let remote = handle.spawn_on(1, || async { Handle::current().shutdown_blocking(LONG).is_err() });
            assert!(remote.unwrap().await.unwrap());
            assert!(!handle.is_stopping(), "the runtime was not told");
        })
        .unwrap();
}

#[test]
fn a_thread_ends_a_runtime_whose_main_future_never_does() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let handle = runtime.handle();
    let ended = thread::spawn(move || handle.shutdown_blocking(milliseconds(20)).unwrap());
    assert!(matches!(runtime.block_on(pending::<()>()), Err(RuntimeError::Closed)));
    let report = ended.join().unwrap();
    assert_eq!((report.aborted.len(), report.stuck.len()), (1, 0), "{report}");
}

#[test]
fn a_worker_that_is_stuck_in_a_poll_is_named_and_does_not_hold_the_others() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let handle = runtime.handle();
    let (free, held) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (inside, outside) = (held.clone(), free.clone());
    let stuck = handle.spawn_on(1, move || async move {
        inside.wait();
        outside.wait();
    });
    drop(stuck.unwrap());
    held.wait();
    let elsewhere = handle.clone();
    let blocking = thread::spawn(move || (Instant::now(), elsewhere.shutdown_blocking(milliseconds(50))));
    let start = Instant::now();
    let report = runtime.block_on(handle.shutdown(milliseconds(50))).unwrap();
    let took = start.elapsed();
    assert_eq!(report.stuck.len(), 1, "{report}");
    assert_eq!(report.stuck[0].0, 1);
    assert!(report.to_string().contains("worker 1 did not end: inside a poll of task"), "{report}");
    assert!(took >= milliseconds(50) && took < LONG, "{took:?}");
    let (_, report) = blocking.join().unwrap();
    assert!(report.unwrap().stuck.iter().any(|(worker, _)| *worker == 1));
    free.wait();
}

#[test]
fn blocking_jobs_end_within_the_grace_or_are_named() {
    let (sender, received) = mpsc::channel::<()>();
    let report = run(async move {
        let quick = spawn_blocking(|| thread::sleep(milliseconds(10))).unwrap();
        drop(quick); // detached, and waited for all the same
        let report = Handle::current().shutdown(LONG).await;
        assert!(report.is_clean(), "{report}");
        report
    });
    assert!(report.is_ok());
    let report = run(async move {
        let (begins, begun) = mpsc::channel();
        let job = move || {
            begins.send(()).unwrap();
            received.recv()
        };
        drop(spawn_blocking(job).unwrap());
        begun.recv().unwrap();
        let report = Handle::current().shutdown(milliseconds(20)).await;
        drop(sender);
        report
    });
    let report = report.unwrap();
    assert_eq!(report.jobs.len(), 1);
    assert!(report.to_string().contains("the blocking job spawned at"), "{report}");
}

#[test]
fn work_that_is_on_its_way_to_another_worker_is_not_lost() {
    for _ in 0..50 {
        let runtime = Runtime::builder().workers(3).build().unwrap();
        let handle = runtime.handle();
        let (sender, received) = mpsc::channel();
        // Each task hands on to the next worker and ends: all workers are quiet now and then.
        fn relay(left: usize, sender: mpsc::Sender<usize>) {
            if left > 0 {
                let next = move || async move { relay(left - 1, sender) };
                drop(Handle::current().spawn_on(left % 3, next).unwrap());
            } else {
                sender.send(left).unwrap();
            }
        }
        drop(handle.spawn_on(1, move || async move { relay(30, sender) }).unwrap());
        assert!(runtime.shutdown(LONG).unwrap().is_clean());
        assert_eq!(received.recv(), Ok(0));
    }
}

#[test]
fn dropping_the_runtime_carries_a_shutdown_to_its_end() {
    let finished = Rc::new(Cell::new(false));
    let told = finished.clone();
    run(async move {
        spawn(async move {
            sleep(milliseconds(10)).await;
            told.set(true);
        });
        drop(Handle::current().shutdown(LONG)); // asked for, not awaited
    })
    .unwrap();
    assert!(finished.get());
}

#[test]
fn what_spawns_while_it_is_dropped_does_not_hold_the_end_up() {
    struct Again;
    impl Drop for Again {
        fn drop(&mut self) {
            spawn(async {
                let _again = Again;
                pending::<()>().await;
            });
        }
    }
    let start = Instant::now();
    run(async {
        spawn(async {
            let _again = Again;
            pending::<()>().await;
        });
        drop(Handle::current().shutdown(milliseconds(10)));
    })
    .unwrap();
    assert!(start.elapsed() < LONG);
}

#[test]
fn a_forgotten_wait_no_longer_spares_its_task() {
    let report = run(async {
        let task = spawn(async {
            let shutdown = Handle::current().shutdown(LONG);
            drop(wakering::time::timeout(milliseconds(5), shutdown).await);
            pending::<()>().await;
        });
        sleep(milliseconds(15)).await;
        let report = Handle::current().shutdown(milliseconds(20)).await;
        assert!(task.is_finished());
        report
    });
    assert_eq!(report.unwrap().aborted.len(), 1);
}
