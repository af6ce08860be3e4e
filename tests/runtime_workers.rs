//! Several workers: work that crosses threads, and the end of a runtime.

use std::{
    cell::Cell,
    future::pending,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use wakering::{
    Handle, JoinHandle, RemoteJoinHandle, Runtime, RuntimeError, SpawnError, TaskId, time::sleep,
};

#[test]
fn handles_may_go_where_the_table_says() {
    fn anywhere<T: Send + Sync>() {}
    fn elsewhere<T: Send>() {}
    anywhere::<Handle>();
    anywhere::<std::task::Waker>();
    anywhere::<TaskId>();
    anywhere::<RemoteJoinHandle<u8>>();
    anywhere::<wakering::CancellationToken>();
    anywhere::<wakering::Cancelled>();
    anywhere::<wakering::BlockingThread<Rc<u8>>>();
    anywhere::<wakering::LocalKey<Rc<u8>>>();
    anywhere::<wakering::time::ManualClock>();
    anywhere::<RuntimeError>();
    elsewhere::<wakering::Sender<u8>>();
    elsewhere::<wakering::Receiver<u8>>();
    elsewhere::<wakering::Shutdown>();
    elsewhere::<wakering::BlockingHandle<u8>>();
    trait AmbiguousIfSend<A> {
        fn check() {}
    }
    impl<T> AmbiguousIfSend<()> for T {}
    impl<T: Send> AmbiguousIfSend<u8> for T {}
    // Each of these would not compile if the type were `Send`.
    let _ = <Runtime as AmbiguousIfSend<_>>::check;
    let _ = <JoinHandle<u8> as AmbiguousIfSend<_>>::check;
    let _ = <wakering::AbortHandle as AmbiguousIfSend<_>>::check;
    let _ = <wakering::Scope as AmbiguousIfSend<_>>::check;
    let _ = <wakering::net::TcpStream as AmbiguousIfSend<_>>::check;
    let _ = <wakering::net::UdpSocket as AmbiguousIfSend<_>>::check;
    let _ = <wakering::time::Sleep as AmbiguousIfSend<_>>::check;
    let _ = <wakering::time::Interval as AmbiguousIfSend<_>>::check;
    let _ = <wakering::http::client::Client as AmbiguousIfSend<_>>::check;
}

#[test]
fn spawn_on_runs_on_the_worker_that_it_names() {
    let runtime = Runtime::builder().workers(3).thread_name("crew").build().unwrap();
    let handle = runtime.handle();
    let names = runtime.block_on(async move {
        let mut names = Vec::new();
        for worker in 0..3 {
            let task = handle.spawn_on(worker, || async {
                // Not Send, and it need not be.
                let local = Rc::new(Cell::new(1));
                wakering::yield_now().await;
                local.set(2);
                thread::current().name().map(str::to_owned)
            });
            names.push(task.unwrap().await.unwrap());
        }
        names
    });
    let names = names.unwrap();
    assert_eq!(names[1].as_deref(), Some("crew-1"));
    assert_eq!(names[2].as_deref(), Some("crew-2"));
}

#[test]
fn a_remote_panic_comes_back_with_its_text() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let handle = runtime.handle();
    runtime
        .block_on(async move {
            let inside = handle.spawn_on(1, || async { panic!("inside") }).unwrap();
            assert_eq!(inside.await.unwrap_err().message(), Some("inside"));
            let making = handle.spawn_on(1, || -> std::future::Ready<()> { panic!("making") }).unwrap();
            assert_eq!(making.await.unwrap_err().message(), Some("making"));
        })
        .unwrap();
}

#[test]
fn a_remote_abort_drops_the_task_on_its_own_worker() {
    struct Report(mpsc::Sender<Option<String>>);
    impl Drop for Report {
        fn drop(&mut self) {
            let _ = self.0.send(thread::current().name().map(str::to_owned));
        }
    }
    let (sender, dropped) = mpsc::channel();
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let handle = runtime.handle();
    let make = move || async move {
        let _report = Report(sender);
        pending::<()>().await;
    };
    let task = handle.spawn_on(1, make).unwrap();
    thread::sleep(Duration::from_millis(5)); // either side of its first poll must do
    task.abort();
    let error = runtime.block_on(task).unwrap().unwrap_err();
    assert!(error.is_cancelled());
    assert_eq!(dropped.recv().unwrap().as_deref(), Some("wakering-1"));
}

#[test]
fn spawning_on_a_worker_that_is_not_there_is_an_error() {
    let runtime = Runtime::new().unwrap();
    let outcome = runtime.handle().spawn_on(1, || async {});
    assert!(matches!(outcome, Err(SpawnError::NoSuchWorker)), "{outcome:?}");
}

#[test]
fn a_handle_outlives_its_runtime_and_says_closed() {
    let runtime = Runtime::new().unwrap();
    let handle = runtime.handle();
    drop(runtime);
    assert!(matches!(handle.spawn_on(0, || async {}), Err(SpawnError::Closed)));
}

#[test]
fn work_that_never_ran_is_reported_as_cancelled_when_the_runtime_ends() {
    let runtime = Runtime::new().unwrap();
    let task = runtime.handle().spawn_on(0, || async { 1 }).unwrap();
    drop(runtime);
    let other = Runtime::new().unwrap();
    assert!(other.block_on(task).unwrap().unwrap_err().is_cancelled());
}

#[test]
fn a_full_queue_of_spawns_refuses_and_recovers() {
    let runtime = Runtime::new().unwrap();
    let handle = runtime.handle();
    let ran = Arc::new(AtomicUsize::new(0));
    let mut taken = 0;
    loop {
        let ran = ran.clone();
        match handle.spawn_on(0, move || async move { ran.fetch_add(1, Ordering::Relaxed) }) {
            Ok(_task) => taken += 1,
            Err(SpawnError::Full) => break,
            Err(other) => panic!("{other}"),
        }
    }
    runtime
        .block_on(async {
            while ran.load(Ordering::Relaxed) < taken {
                wakering::yield_now().await;
            }
            handle.spawn_on(0, || async {}).unwrap().await.unwrap();
        })
        .unwrap();
}

#[test]
fn a_worker_count_out_of_range_is_an_error() {
    for workers in [0, 100_000] {
        let outcome = Runtime::builder().workers(workers).build();
        assert!(matches!(outcome, Err(RuntimeError::WorkerCount { .. })), "{outcome:?}");
    }
}

#[test]
fn wakes_from_many_threads_lose_nothing() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let handle = runtime.handle();
    let total = runtime.block_on(async move {
        let mut tasks = Vec::new();
        for round in 0..200u64 {
            let there = handle.clone();
            tasks.push(handle.spawn_on((round % 2) as usize, move || async move {
                let other = there.spawn_on(((round + 1) % 2) as usize, move || async move {
                    wakering::yield_now().await;
                    round
                });
                other.unwrap().await.unwrap()
            }));
        }
        let mut total = 0;
        for task in tasks {
            total += task.unwrap().await.unwrap();
        }
        total
    });
    assert_eq!(total.unwrap(), (0..200).sum::<u64>());
}

#[test]
fn dropping_a_runtime_ends_its_other_workers_promptly() {
    let runtime = Runtime::builder().workers(4).build().unwrap();
    for worker in 1..4 {
        drop(runtime.handle().spawn_on(worker, || sleep(Duration::from_secs(3600))).unwrap());
    }
    let start = Instant::now();
    drop(runtime);
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

#[test]
fn a_hundred_runtimes_in_turn_leave_no_descriptor_behind() {
    let count = || std::fs::read_dir("/proc/self/fd").map(Iterator::count).unwrap_or(0);
    let cycle = || {
        let runtime = Runtime::builder().workers(2).build().unwrap();
        runtime.block_on(async { sleep(Duration::from_micros(10)).await }).unwrap();
    };
    cycle();
    let before = count();
    for _ in 0..100 {
        cycle();
    }
    // Other tests of this process open and close descriptors meanwhile, but not a hundred.
    assert!(count() < before + 50, "{before} descriptors before, {} after", count());
}

#[test]
fn a_task_that_is_aborted_before_it_begins_is_not_even_made() {
    let runtime = Runtime::new().unwrap();
    let made = Arc::new(AtomicUsize::new(0));
    let makes = made.clone();
    runtime
        .block_on(async {
            let task = Handle::current().spawn_on(0, move || {
                makes.fetch_add(1, Ordering::Relaxed);
                pending::<()>()
            });
            let task = task.unwrap();
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
            assert_eq!(Arc::strong_count(&made), 1, "what it would be made of is gone by then");
        })
        .unwrap();
    assert_eq!(made.load(Ordering::Relaxed), 0);
}
