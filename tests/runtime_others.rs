//! What the docs send people to works here as it is: channels, locks, events and combinators of other crates.
#![cfg(not(loom))]

use std::{cell::Cell, rc::Rc, sync::Arc, thread, time::Duration};

use async_lock::{Barrier, Mutex, RwLock, Semaphore};
use event_listener::{Event, Listener};
use futures_util::{
    future::{Either, join_all, select},
    stream::{FuturesUnordered, StreamExt},
};
use wakering::{Runtime, run, spawn, spawn_on, time::sleep, yield_now};

#[test]
fn async_channel_has_many_senders_on_every_worker() {
    let runtime = Runtime::builder().workers(3).build().unwrap();
    let sum = runtime.block_on(async {
        let (sender, receiver) = async_channel::bounded(4);
        for worker in [0, 1, 2, 2] {
            let sender = sender.clone();
            let sending = spawn_on(worker, move || async move {
                for number in 1..=100_u32 {
                    sender.send(number).await.unwrap();
                }
            });
            drop(sending.unwrap());
        }
        drop(sender);
        let mut sum = 0;
        while let Ok(number) = receiver.recv().await {
            sum += number;
        }
        sum
    });
    assert_eq!(sum.unwrap(), 4 * 5050);
}

#[test]
fn async_lock_excludes_across_workers() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    runtime
        .block_on(async {
            let (count, gate) = (Arc::new(Mutex::new(0_u32)), Arc::new(Barrier::new(4)));
            let tasks = [0, 1, 0, 1].map(|worker| {
                let (count, gate) = (count.clone(), gate.clone());
                let counting = spawn_on(worker, move || async move {
                    gate.wait().await;
                    for _ in 0..50 {
                        let mut count = count.lock().await;
                        let seen = *count;
                        yield_now().await;
                        *count = seen + 1;
                    }
                });
                counting.unwrap()
            });
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(*count.lock().await, 200);
            let lock = RwLock::new(1);
            assert_eq!(*lock.read().await + *lock.read().await, 2);
        })
        .unwrap();
}

#[test]
fn a_semaphore_bounds_local_tasks() {
    run(async {
        let (permits, inside, most) =
            (Arc::new(Semaphore::new(3)), Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let tasks = (0..20).map(|_| {
            let (permits, inside, most) = (permits.clone(), inside.clone(), most.clone());
            spawn(async move {
                let _permit = permits.acquire().await;
                inside.set(inside.get() + 1);
                most.set(most.get().max(inside.get()));
                yield_now().await;
                inside.set(inside.get() - 1);
            })
        });
        join_all(tasks).await;
        assert_eq!(most.get(), 3);
    })
    .unwrap();
}

#[test]
fn an_event_of_another_thread_wakes_a_task() {
    let event = Arc::new(Event::new());
    let told = event.clone();
    run(async move {
        let listener = event.listen();
        let thread = thread::spawn(move || told.notify(1));
        listener.await;
        thread.join().unwrap();
        // And the other way round: a thread that blocks for a task.
        let (back, listener) = (event.clone(), event.listen());
        let thread = thread::spawn(move || listener.wait());
        back.notify(1);
        thread.join().unwrap();
    })
    .unwrap();
}

#[test]
fn combinators_of_futures_poll_timers_and_tasks() {
    run(async {
        let slow = std::pin::pin!(sleep(Duration::from_secs(3600)));
        let quick = std::pin::pin!(sleep(Duration::from_millis(1)));
        assert!(matches!(select(slow, quick).await, Either::Right(_)));
        let mut unordered: FuturesUnordered<_> = [3_u64, 1, 2]
            .map(|wait| async move {
                sleep(Duration::from_millis(5 * wait)).await;
                wait
            })
            .into_iter()
            .collect();
        let mut order = Vec::new();
        while let Some(wait) = unordered.next().await {
            order.push(wait);
        }
        assert_eq!(order, [1, 2, 3]);
    })
    .unwrap();
}
