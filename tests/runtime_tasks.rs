//! Tasks: spawn, join, abort, panic, fairness, and what a task may do while it ends.

use std::{
    cell::{Cell, RefCell},
    future::{Future, pending, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use wakering::{JoinHandle, Runtime, RuntimeError, run, spawn, time::sleep, yield_now};

/// Runs its function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn a_joined_task_gives_its_output() {
    assert_eq!(run(async { spawn(async { 42 }).await.unwrap() }).unwrap(), 42);
}

#[test]
fn tasks_run_first_in_first_out() {
    let order = Rc::new(RefCell::new(Vec::new()));
    let seen = order.clone();
    run(async move {
        let tasks: Vec<_> = (0..10)
            .map(|number| {
                let order = order.clone();
                spawn(async move { order.borrow_mut().push(number) })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    })
    .unwrap();
    assert_eq!(*seen.borrow(), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_panic_ends_its_task_only() {
    run(async {
        let other = spawn(async {
            yield_now().await;
            "alive"
        });
        let error = spawn(async { panic!("on purpose") }).await.unwrap_err();
        assert!(error.is_panic());
        assert_eq!(error.message(), Some("on purpose"));
        assert_eq!(other.await.unwrap(), "alive");
    })
    .unwrap();
}

#[test]
fn a_panic_in_the_drop_of_a_future_is_contained() {
    run(async {
        let task = spawn(async {
            let _bomb = OnDrop(|| panic!("in drop"));
            pending::<()>().await;
        });
        yield_now().await;
        task.abort();
        assert!(task.await.unwrap_err().is_panic());
        assert_eq!(spawn(async { 1 }).await.unwrap(), 1);
    })
    .unwrap();
}

#[test]
fn a_panic_in_the_drop_of_an_output_that_nobody_joined_is_contained() {
    run(async {
        drop(spawn(async { OnDrop(|| panic!("in drop of the output")) }));
        yield_now().await;
        assert_eq!(spawn(async { 1 }).await.unwrap(), 1);
    })
    .unwrap();
}

#[test]
fn an_aborted_task_is_dropped_once_and_says_so() {
    let drops = Rc::new(Cell::new(0));
    let count = drops.clone();
    run(async move {
        let guard = OnDrop(move || count.set(count.get() + 1));
        let task = spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        yield_now().await;
        task.abort();
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    })
    .unwrap();
    assert_eq!(drops.get(), 1);
}

#[test]
fn a_task_that_is_aborted_before_its_first_poll_never_runs() {
    let ran = Rc::new(Cell::new(false));
    let seen = ran.clone();
    run(async move {
        let task = spawn(async move { ran.set(true) });
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    })
    .unwrap();
    assert!(!seen.get());
}

#[test]
fn aborting_a_task_that_has_ended_changes_nothing() {
    run(async {
        let task = spawn(async { 7 });
        yield_now().await;
        assert!(task.is_finished());
        task.abort();
        assert_eq!(task.await.unwrap(), 7);
    })
    .unwrap();
}

#[test]
fn a_task_that_aborts_itself_ends_at_its_next_wait() {
    run(async {
        let own: Rc<RefCell<Option<JoinHandle<()>>>> = Rc::default();
        let reached = Rc::new(Cell::new(0));
        let (mine, steps) = (own.clone(), reached.clone());
        let task = spawn(async move {
            yield_now().await;
            if let Some(own) = mine.borrow().as_ref() {
                own.abort();
            }
            steps.set(1);
            yield_now().await;
            steps.set(2);
        });
        *own.borrow_mut() = Some(task);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(reached.get(), 1);
        assert!(own.borrow().as_ref().unwrap().is_finished());
    })
    .unwrap();
}

#[test]
fn dropping_the_handle_detaches_the_task() {
    let done = Rc::new(Cell::new(false));
    let seen = done.clone();
    run(async move {
        drop(spawn(async move {
            yield_now().await;
            done.set(true);
        }));
        sleep(Duration::from_millis(1)).await;
    })
    .unwrap();
    assert!(seen.get());
}

#[test]
fn two_tasks_that_wake_each_other_do_not_starve_a_third() {
    run(async {
        let stop = Rc::new(Cell::new(false));
        for _ in 0..2 {
            let stop = stop.clone();
            drop(spawn(async move {
                while !stop.get() {
                    yield_now().await;
                }
            }));
        }
        let third = spawn(async {
            for _ in 0..100 {
                yield_now().await;
            }
        });
        third.await.unwrap();
        stop.set(true);
    })
    .unwrap();
}

#[test]
fn timers_fire_while_tasks_are_always_runnable() {
    run(async {
        let stop = Rc::new(Cell::new(false));
        let seen = stop.clone();
        drop(spawn(async move {
            while !seen.get() {
                yield_now().await;
            }
        }));
        sleep(Duration::from_millis(5)).await;
        stop.set(true);
    })
    .unwrap();
}

#[test]
fn a_future_of_more_than_a_megabyte_does_not_overflow_the_stack() {
    let thread = std::thread::Builder::new().stack_size(16 << 20);
    let worker = thread.spawn(|| {
        run(async {
            let task = spawn(async {
                let block = [1u8; (1 << 20) + 1];
                yield_now().await;
                block.iter().map(|byte| usize::from(*byte)).sum::<usize>()
            });
            assert_eq!(task.await.unwrap(), (1 << 20) + 1);
        })
        .unwrap();
    });
    worker.unwrap().join().unwrap();
}

#[test]
fn nested_block_on_is_an_error_and_leaves_the_outer_one_sound() {
    let runtime = Runtime::new().unwrap();
    let inner = Runtime::new().unwrap();
    runtime
        .block_on(async {
            assert!(matches!(inner.block_on(async {}), Err(RuntimeError::Nested)));
            assert!(matches!(run(async {}), Err(RuntimeError::Nested)));
            sleep(Duration::from_millis(1)).await;
        })
        .unwrap();
    inner.block_on(async {}).unwrap();
}

#[test]
fn a_panic_of_the_root_future_leaves_the_runtime_usable() {
    let runtime = Runtime::new().unwrap();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        runtime.block_on(async { panic!("the root") })
    }));
    assert!(outcome.is_err());
    assert_eq!(runtime.block_on(async { spawn(async { 3 }).await.unwrap() }).unwrap(), 3);
}

#[test]
fn tasks_go_on_in_the_next_block_on() {
    let runtime = Runtime::new().unwrap();
    let task = runtime.block_on(poll_fn(|_context| {
        Poll::Ready(spawn(async {
            yield_now().await;
            5
        }))
    }));
    let task = task.unwrap();
    assert_eq!(runtime.block_on(task).unwrap().unwrap(), 5);
}

#[test]
fn dropping_the_runtime_drops_every_task_once_while_its_reactor_works() {
    let runtime = Runtime::new().unwrap();
    let drops = Rc::new(Cell::new(0));
    runtime
        .block_on(async {
            for _ in 0..10 {
                let drops = drops.clone();
                drop(spawn(async move {
                    let _guard = OnDrop(move || {
                        drops.set(drops.get() + 1);
                        // The runtime still is this thread's own: what is spawned now is cancelled at once.
                        let late = spawn(async {});
                        assert!(late.is_finished());
                    });
                    sleep(Duration::from_secs(3600)).await;
                }));
            }
            yield_now().await;
        })
        .unwrap();
    drop(runtime);
    assert_eq!(drops.get(), 10);
}

#[test]
fn a_waker_outlives_its_task_and_its_runtime() {
    let waker: Rc<RefCell<Option<Waker>>> = Rc::default();
    let kept = waker.clone();
    run(async move {
        let task = spawn(poll_fn(move |context: &mut Context<'_>| {
            *kept.borrow_mut() = Some(context.waker().clone());
            Poll::Ready(())
        }));
        task.await.unwrap();
    })
    .unwrap();
    let waker = waker.borrow_mut().take().unwrap();
    for _ in 0..1000 {
        waker.wake_by_ref();
        drop(waker.clone());
    }
    std::thread::spawn(move || waker.wake()).join().unwrap();
    assert_eq!(run(async { 1 }).unwrap(), 1);
}

#[test]
fn clones_of_a_waker_would_wake_each_other() {
    run(poll_fn(|context| {
        let clone = context.waker().clone();
        assert!(clone.will_wake(context.waker()) && context.waker().will_wake(&clone));
        Poll::Ready(())
    }))
    .unwrap();
}

#[test]
fn a_wake_during_the_poll_is_not_lost() {
    struct Twice(u32);
    impl Future for Twice {
        type Output = ();
        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
            self.0 += 1;
            if self.0 == 1000 {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            context.waker().wake_by_ref();
            Poll::Pending
        }
    }
    run(async { spawn(Twice(0)).await.unwrap() }).unwrap();
}

#[test]
fn polling_a_handle_from_two_tasks_wakes_the_last_one() {
    run(async {
        let mut task = spawn(async {
            sleep(Duration::from_millis(2)).await;
            9
        });
        poll_fn(|context| {
            let _ = Pin::new(&mut task).poll(&mut Context::from_waker(Waker::noop()));
            let _ = context;
            Poll::Ready(())
        })
        .await;
        assert_eq!(task.await.unwrap(), 9);
    })
    .unwrap();
}
