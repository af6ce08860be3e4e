//! A runtime inside another loop, and what it is built from.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/exact.rs"]
mod exact;

use std::{
    future::poll_fn,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use wakering::{Handle, Runtime, RuntimeError, Turn, run, spawn, spawn_blocking, time::sleep, yield_now};

/// Sleeps until the runtime has something to do, as a host would; false when the time came first.
fn host_waits(selector: &OwnedFd, until: Option<Instant>) -> bool {
    let longest = Duration::from_secs(20);
    let left = until.map_or(longest, |until| until.saturating_duration_since(Instant::now()));
    let timeout = Timespec::try_from(left).unwrap();
    let ready = poll(&mut [PollFd::new(selector, PollFlags::IN)], Some(&timeout)).unwrap();
    assert!(until.is_some() || ready > 0, "nothing came in 20 s");
    ready > 0
}

/// A host's loop, until `done`.
fn host(runtime: &Runtime, done: impl Fn() -> bool) {
    let selector = runtime.selector().unwrap();
    while !done() {
        if let Turn::Parked { until } = runtime.turn(Duration::ZERO).unwrap() {
            if !done() {
                host_waits(&selector, until);
            }
        }
    }
}

#[test]
fn a_host_that_waits_for_the_descriptor_runs_everything() {
    let runtime = Runtime::new().unwrap();
    let task = runtime.handle().spawn_on(0, || async {
        let listener = wakering::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = spawn(async move {
            let mut stream = wakering::net::TcpStream::connect(address).await.unwrap();
            stream.write_all(b"over there").await.unwrap();
        });
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut text = [0; 10];
        stream.read_exact(&mut text).await.unwrap();
        client.await.unwrap();
        sleep(Duration::from_millis(3)).await;
        let blocked = spawn_blocking(|| 7).unwrap().await.unwrap();
        (text, blocked)
    });
    let task = task.unwrap();
    host(&runtime, || task.is_finished());
    assert_eq!(run(task).unwrap().unwrap(), (*b"over there", 7));
}

#[test]
fn a_turn_says_whether_the_host_may_sleep_and_until_when() {
    let runtime = Runtime::builder().task_budget(1).build().unwrap();
    assert_eq!(runtime.turn(Duration::ZERO).unwrap(), Turn::Parked { until: None });
    drop(runtime.handle().spawn_on(0, || async {
        yield_now().await;
        sleep(Duration::from_secs(3600)).await;
    }));
    assert_eq!(runtime.turn(Duration::ZERO).unwrap(), Turn::Runnable, "it has yielded");
    let Turn::Parked { until: Some(until) } = runtime.turn(Duration::ZERO).unwrap() else {
        panic!("a timer is armed");
    };
    let left = until.saturating_duration_since(Instant::now());
    assert!(left > Duration::from_secs(3590) && left <= Duration::from_secs(3601), "{left:?}");
}

#[test]
fn between_turns_a_wake_from_any_thread_rings_the_owners_too() {
    let runtime = Runtime::new().unwrap();
    let (sender, wakers) = mpsc::channel();
    let woken = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = woken.clone();
    drop(runtime.handle().spawn_on(0, move || {
        poll_fn(move |context| {
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let _ = sender.send(context.waker().clone());
            Poll::<()>::Pending
        })
    }));
    let polled = |times| {
        while woken.load(std::sync::atomic::Ordering::SeqCst) < times {
            runtime.turn(Duration::ZERO).unwrap();
        }
        while runtime.turn(Duration::ZERO).unwrap() == Turn::Runnable {}
    };
    let selector = runtime.selector().unwrap();
    polled(1);
    assert!(!host_waits(&selector, Some(Instant::now())), "nothing to do: not readable");
    wakers.recv().unwrap().wake(); // the owner's thread, between two turns
    assert!(host_waits(&selector, None));
    polled(2);
    let waker = wakers.recv().unwrap();
    thread::spawn(move || waker.wake()).join().unwrap();
    assert!(host_waits(&selector, None));
    polled(3);
    // The runtime itself is as good as a duplicate.
    wakers.recv().unwrap().wake();
    let lent = poll(&mut [PollFd::new(&runtime, PollFlags::IN)], Some(&Timespec { tv_sec: 20, tv_nsec: 0 }));
    assert_eq!((lent.unwrap(), runtime.as_raw_fd()), (1, runtime.as_fd().as_raw_fd()));
}

#[test]
fn a_dump_shows_what_waits_while_the_host_sleeps_and_to_the_host_itself() {
    let runtime = Runtime::new().unwrap();
    let handle = runtime.handle();
    assert!(handle.dump().to_string().contains("does not run"), "nobody has ever turned it");
    drop(handle.spawn_on(0, || sleep(Duration::from_secs(3600))));
    let is_over = AtomicBool::new(false);
    let (dumps, dumped) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            // The first may come before the first turn, and a host may not get a processor for 100 ms.
            let begun = Instant::now();
            let shown = loop {
                let dump = handle.dump();
                if dump.tasks().count() == 1 || begun.elapsed() > Duration::from_secs(30) {
                    break dump;
                }
                thread::yield_now();
            };
            dumps.send(shown.to_string()).unwrap();
            is_over.store(true, Ordering::Relaxed);
            drop(handle.spawn_on(0, || async {}));
        });
        host(&runtime, || is_over.load(Ordering::Relaxed));
    });
    let own = runtime.dump().to_string();
    for dump in [dumped.try_recv().unwrap(), own] {
        assert!(dump.contains("waits for a timer"), "{dump}");
    }
}

#[test]
fn a_turn_waits_as_long_as_it_is_told() {
    if exact::calls_may_fail() {
        return;
    }
    let runtime = Runtime::new().unwrap();
    let start = Instant::now();
    runtime.turn(Duration::from_millis(30)).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(30));
}

#[test]
fn turns_and_block_on_take_turns() {
    let runtime = Runtime::new().unwrap();
    let task = runtime.handle().spawn_on(0, || async { sleep(Duration::from_millis(2)).await }).unwrap();
    runtime.turn(Duration::ZERO).unwrap();
    runtime.block_on(sleep(Duration::from_millis(1))).unwrap();
    host(&runtime, || task.is_finished());
}

#[test]
fn nested_turns_are_errors_with_a_clear_text_and_poison_nothing() {
    let runtime = Runtime::new().unwrap();
    let other = Runtime::new().unwrap();
    runtime
        .block_on(async {
            let error = other.turn(Duration::ZERO).unwrap_err();
            assert!(matches!(error, RuntimeError::Nested) && error.is_misuse());
            assert!(error.to_string().contains("cannot be nested"), "{error}");
            assert!(matches!(other.block_on(async {}), Err(RuntimeError::Nested)));
        })
        .unwrap();
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = runtime.block_on(async { panic!("on purpose") });
    }));
    assert!(unwound.is_err());
    assert!(runtime.turn(Duration::ZERO).is_ok() && other.turn(Duration::ZERO).is_ok());
    assert!(runtime.block_on(async {}).is_ok());
}

#[test]
fn a_shutdown_ends_the_turns() {
    let runtime = Runtime::new().unwrap();
    let handle = runtime.handle();
    drop(handle.spawn_on(0, || async { Handle::current().stopping().await }));
    runtime.turn(Duration::ZERO).unwrap();
    drop(handle.shutdown(Duration::from_secs(3600)));
    let selector = runtime.selector().unwrap();
    while let Ok(turn) = runtime.turn(Duration::ZERO) {
        if let Turn::Parked { until } = turn {
            host_waits(&selector, until);
        }
    }
    assert!(matches!(runtime.turn(Duration::ZERO), Err(RuntimeError::Closed)));
}

#[test]
fn settings_out_of_range_are_errors_that_name_them() {
    let builder = Runtime::builder;
    let wrong = [
        (builder().event_batch(0), "event_batch is to be 1 to 65536, not 0"),
        (builder().task_budget(0), "task_budget is to be 1 to 1000000, not 0"),
        (builder().look_every(2_000_000), "look_every is to be 1 to 1000000, not 2000000"),
        (builder().spin(Duration::from_secs(1)), "spin, in µs, is to be 0 to 10000, not 1000000"),
        (builder().busy_poll(Duration::ZERO, 8), "busy_poll, in µs, is to be 1 to 1000000, not 0"),
        (builder().blocking_threads(0), "blocking_threads is to be 1 to 1000000, not 0"),
        (
            builder().workers(2).pin_workers([0]),
            "the number of processors in pin_workers is to be 2 to 2, not 1",
        ),
    ];
    for (builder, text) in wrong {
        let error = builder.build().unwrap_err();
        assert_eq!(error.to_string(), text);
        assert!(error.is_misuse());
    }
}

#[test]
fn a_runtime_works_with_every_setting_at_its_least() {
    let runtime = Runtime::builder()
        .event_batch(1)
        .task_budget(1)
        .look_every(1)
        .blocking_threads(1)
        .blocking_keep_alive(Duration::ZERO)
        .busy_poll(Duration::from_micros(50), 8)
        .build()
        .unwrap();
    let sum = runtime.block_on(async {
        let tasks: Vec<_> = (0..20)
            .map(|number| {
                spawn(async move {
                    sleep(Duration::from_micros(number)).await;
                    spawn_blocking(move || number).unwrap().await.unwrap()
                })
            })
            .collect();
        let mut sum = 0;
        for task in tasks {
            sum += task.await.unwrap();
        }
        sum
    });
    assert_eq!(sum.unwrap(), 190);
}

#[test]
fn a_spinning_worker_hears_of_others_and_of_timers() {
    let runtime = Runtime::builder().workers(2).spin(Duration::from_micros(200)).build().unwrap();
    runtime
        .block_on(async {
            for _ in 0..50 {
                let task = wakering::spawn_on(1, || async { sleep(Duration::from_micros(300)).await });
                task.unwrap().await.unwrap();
            }
        })
        .unwrap();
}

#[test]
fn a_pinned_worker_runs_on_its_processor_and_a_bad_one_is_named() {
    if !cfg!(target_os = "linux") {
        return; // threads cannot be bound there
    }
    thread::spawn(|| {
        let runtime = Runtime::builder().workers(2).pin_workers([0, 0]).build().unwrap();
        let allowed = runtime.block_on(async {
            let task =
                wakering::spawn_on(1, || async { std::fs::read_to_string("/proc/thread-self/status") });
            task.unwrap().await.unwrap().unwrap()
        });
        assert!(allowed.unwrap().lines().any(|line| line == "Cpus_allowed_list:\t0"));
        let error = Runtime::builder().pin_workers([1023]).build().unwrap_err();
        assert!(error.to_string().contains("binding worker 0 to processor 1023"), "{error}");
    })
    .join()
    .unwrap();
}
