//! The channel between two tasks.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    thread,
    time::Duration,
};

use wakering::{
    Runtime, SendError, TryRecvError, TrySendError, channel, run, spawn, spawn_on, time::timeout, yield_now,
};

#[test]
fn values_arrive_once_and_in_order_on_another_worker() {
    const COUNT: u32 = 50_000;
    let runtime = Runtime::builder().workers(2).build().unwrap();
    for capacity in [1, 3, 64] {
        let (mut sender, mut receiver) = channel(capacity);
        runtime
            .block_on(async move {
                let producer = spawn_on(1, move || async move {
                    for value in 0..COUNT {
                        sender.send(Box::new(value)).await.unwrap();
                    }
                });
                for expected in 0..COUNT {
                    assert_eq!(receiver.recv().await.as_deref(), Some(&expected));
                }
                assert_eq!(receiver.recv().await, None);
                producer.unwrap().await.unwrap();
            })
            .unwrap();
    }
}

#[test]
fn a_channel_joins_two_runtimes_and_any_executor() {
    let (mut sender, mut receiver) = channel(4);
    let thread = thread::spawn(move || {
        run(async move {
            for value in 0..1000 {
                sender.send(value).await.unwrap();
            }
        })
        .unwrap();
    });
    // Not one of ours: an executor that parks its thread.
    let sum = async move {
        let mut sum = 0;
        while let Some(value) = receiver.recv().await {
            sum += value;
        }
        sum
    };
    assert_eq!(parking(sum), 499_500);
    thread.join().unwrap();
}

/// The smallest executor.
fn parking<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn a_full_channel_says_so_and_holds_its_sender_up() {
    run(async {
        let (mut sender, mut receiver) = channel(2);
        assert_eq!((sender.try_send(1), sender.try_send(2)), (Ok(()), Ok(())));
        assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
        let sent = Rc::new(Cell::new(false));
        let told = sent.clone();
        let task = spawn(async move {
            sender.send(3).await.unwrap();
            told.set(true);
        });
        yield_now().await;
        assert!(!sent.get());
        assert_eq!(receiver.recv().await, Some(1));
        task.await.unwrap();
        assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(2), Ok(3)));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
    })
    .unwrap();
}

#[test]
fn a_receiver_that_goes_gives_the_value_back_and_wakes_the_sender() {
    run(async {
        let (mut sender, receiver) = channel(1);
        sender.try_send("one").unwrap();
        let task = spawn(async move { sender.send("two").await });
        yield_now().await;
        drop(receiver);
        assert_eq!(task.await.unwrap(), Err(SendError("two")));
    })
    .unwrap();
}

#[test]
fn a_receiver_that_goes_wakes_the_sender_though_what_it_had_panics_when_it_is_dropped() {
    struct Bomb(bool);
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(!self.0, "as the test wants");
        }
    }
    run(async {
        let (mut sender, receiver) = channel(2);
        for goes_off in [true, true] {
            assert!(sender.try_send(Bomb(goes_off)).is_ok());
        }
        let task = spawn(async move { sender.send(Bomb(false)).await.is_err() });
        yield_now().await;
        drop(receiver);
        assert!(task.await.unwrap());
    })
    .unwrap();
}

#[test]
fn cancelling_a_receive_or_a_send_loses_no_value_that_was_sent() {
    run(async {
        let (mut sender, mut receiver) = channel(1);
        assert!(timeout(Duration::from_millis(1), receiver.recv()).await.is_err());
        sender.try_send(1).unwrap();
        assert!(timeout(Duration::from_millis(1), sender.send(2)).await.is_err(), "2 was not sent");
        assert!(timeout(Duration::from_millis(1), sender.ready()).await.is_err());
        assert_eq!(receiver.recv().await, Some(1));
        sender.ready().await;
        sender.try_send(3).unwrap();
        drop(sender);
        assert_eq!((receiver.recv().await, receiver.recv().await), (Some(3), None));
    })
    .unwrap();
}

#[test]
fn what_nobody_took_is_dropped_once() {
    let counted = Arc::new(());
    let (mut sender, mut receiver) = channel(8);
    for _ in 0..6 {
        sender.try_send(counted.clone()).unwrap();
    }
    drop(receiver.try_recv());
    assert_eq!(Arc::strong_count(&counted), 6);
    drop(receiver);
    assert!(sender.try_send(counted.clone()).is_err());
    drop(sender);
    assert_eq!(Arc::strong_count(&counted), 1);
    let (mut sender, receiver) = channel(8);
    sender.try_send(counted.clone()).unwrap();
    drop((sender, receiver));
    assert_eq!(Arc::strong_count(&counted), 1);
}

#[test]
fn a_channel_that_is_never_empty_leaves_turns_to_others() {
    run(async {
        let (mut sender, mut receiver) = channel(1024);
        let task = spawn(async move { while sender.send(()).await.is_ok() {} });
        let taken = Rc::new(Cell::new(0));
        let count = taken.clone();
        let eater = spawn(async move {
            while receiver.recv().await.is_some() {
                count.set(count.get() + 1);
                if count.get() == 100_000 {
                    break;
                }
            }
        });
        let mut turns = 0;
        poll_fn(|context| {
            turns += 1;
            context.waker().wake_by_ref();
            if taken.get() < 100_000 { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        eater.await.unwrap();
        task.await.unwrap();
        assert!(turns > 100, "{turns}");
    })
    .unwrap();
}
