//! Blocking work from inside a runtime. The pool by itself is tested beside its code.

#![cfg(not(loom))]

use std::cell::RefCell;
use std::fs;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use wakering::time::{sleep, timeout};
use wakering::{BlockingThread, Handle, Runtime, run, spawn, spawn_blocking};

#[test]
fn a_job_that_was_given_up_is_waited_for_by_nobody_in_a_dump() {
    run(async {
        let (release, held) = mpsc::channel::<()>();
        let job = spawn_blocking(move || held.recv().is_err()).unwrap();
        assert!(timeout(Duration::from_millis(1), job).await.is_err());
        let dump = Handle::current().dump();
        assert!(dump.jobs.len() == 1 && dump.jobs[0].awaited_by.is_none(), "{dump}");
        assert!(dump.tasks().all(|task| task.waits.is_empty()), "{dump}");
        drop(release);
    })
    .unwrap();
}

#[test]
fn the_worker_goes_on_while_a_job_blocks() {
    run(async {
        let (release, held) = mpsc::channel::<()>();
        let job = spawn_blocking(move || held.recv().is_err()).unwrap();
        let others = spawn(async {
            for _ in 0..5 {
                sleep(Duration::from_millis(1)).await;
            }
            7
        });
        assert_eq!(others.await.unwrap(), 7);
        assert!(!job.is_finished());
        drop(release);
        assert!(job.await.unwrap());
    })
    .unwrap();
}

#[test]
fn results_come_back_to_every_worker() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let handle = runtime.handle();
    let sums = runtime
        .block_on(async move {
            let tasks = [0, 1].map(|worker| {
                let sum = move || async move {
                    let mut sum = 0;
                    let jobs: Vec<_> = (0..100).map(|n| spawn_blocking(move || n).unwrap()).collect();
                    for job in jobs {
                        sum += job.await.unwrap();
                    }
                    sum
                };
                handle.spawn_on(worker, sum).unwrap()
            });
            let mut sums = Vec::new();
            for task in tasks {
                sums.push(task.await.unwrap());
            }
            sums
        })
        .unwrap();
    assert_eq!(sums, [4950, 4950]);
}

#[test]
fn a_panic_of_a_job_reaches_who_awaits_it_and_nobody_else() {
    run(async {
        let failed = spawn_blocking(|| -> () { panic!("on purpose") }).unwrap().await.unwrap_err();
        assert_eq!(failed.to_string(), "the task panicked: on purpose");
        assert_eq!(spawn_blocking(|| 5).unwrap().await.unwrap(), 5);
    })
    .unwrap();
}

/// Opens when a job is dropped that has not run.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

struct Queued(Option<Arc<Gate>>);

impl Drop for Queued {
    fn drop(&mut self) {
        if let Some(gate) = &self.0 {
            *gate.open.lock().expect("no job panics while it holds this") = true;
            gate.opened.notify_all();
        }
    }
}

#[test]
fn dropping_the_runtime_waits_for_the_running_job_and_cancels_the_queued() {
    let done = Arc::new(AtomicUsize::new(0));
    let runtime = Runtime::new().unwrap();
    let (begun, has_begun) = mpsc::channel();
    runtime
        .block_on(async {
            let gate = Arc::new(Gate::default());
            // As many as the pool has threads, and more that wait for them.
            for _ in 0..200 {
                let (done, begun, mut queued) = (done.clone(), begun.clone(), Queued(Some(gate.clone())));
                let job = move || {
                    begun.send(()).unwrap();
                    // Until the queue is cancelled, which is the first thing that the drop does.
                    let gate = queued.0.take().unwrap();
                    let (open, opened) = (gate.open.lock().unwrap(), &gate.opened);
                    let open = opened.wait_timeout_while(open, Duration::from_secs(60), |open| !*open);
                    assert!(*open.unwrap().0, "the queue is not cancelled");
                    done.fetch_add(1, Ordering::Relaxed);
                };
                drop(spawn_blocking(job).unwrap());
            }
        })
        .unwrap();
    has_begun.recv().unwrap();
    drop(runtime);
    drop(begun);
    let begun = 1 + has_begun.iter().count();
    assert_eq!(done.load(Ordering::Relaxed), begun, "what had begun was waited for");
    assert!(begun < 200, "what was queued was cancelled");
}

#[test]
fn a_runtime_that_never_blocks_has_no_thread_for_it() {
    let named = |name: &str| {
        let Ok(tasks) = fs::read_dir("/proc/self/task") else { return None };
        let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
        Some(names.filter(|comm| comm.trim_end().starts_with(name)).count())
    };
    let runtime = Runtime::builder().thread_name("id\0le").build().unwrap();
    runtime.block_on(sleep(Duration::from_millis(1))).unwrap();
    assert!(named("idle-block").is_none_or(|count| count == 0));
    runtime.block_on(async { spawn_blocking(|| ()).unwrap().await.unwrap() }).unwrap();
    assert!(named("idle-block").is_none_or(|count| count == 1));
    drop(runtime);
}

#[test]
#[should_panic(expected = "needs a running wakering runtime")]
fn outside_a_runtime_there_is_no_pool() {
    drop(spawn_blocking(|| ()));
}

#[test]
fn a_thread_of_its_own_runs_functions_in_order_on_what_they_share() {
    // Neither Send nor Sync, and it never leaves its thread.
    let thread = BlockingThread::start("ordered", 10_000, || Rc::new(RefCell::new(Vec::new()))).unwrap();
    run(async {
        for number in 0..1000 {
            drop(thread.run(move |shared| shared.borrow_mut().push(number)).unwrap());
        }
        let seen =
            thread.run(|shared| (thread::current().name().map(str::to_owned), shared.borrow().clone()));
        let (name, seen) = seen.unwrap().await.unwrap();
        assert_eq!(name.as_deref(), Some("ordered"));
        assert_eq!(seen, (0..1000).collect::<Vec<_>>());
    })
    .unwrap();
}

#[test]
fn a_panic_on_a_thread_of_its_own_ends_one_function_only() {
    let thread = BlockingThread::start("panics", 10, || 1).unwrap();
    run(async {
        let broken = thread.run(|number| {
            *number += 1;
            assert!(*number < 2, "on purpose");
        });
        assert!(broken.unwrap().await.unwrap_err().is_panic());
        assert_eq!(thread.run(|number| *number).unwrap().await.unwrap(), 2);
        let broken: BlockingThread<u8> =
            BlockingThread::start("unmade", 10, || panic!("on purpose")).unwrap();
        assert!(broken.run(|_| ()).unwrap().await.unwrap_err().is_panic());
    })
    .unwrap();
}

#[test]
fn a_full_queue_of_a_thread_refuses_and_queued_work_can_be_taken_back() {
    let worker = BlockingThread::start("bounded", 1, || ()).unwrap();
    let (release, held) = mpsc::channel::<()>();
    let (began, begins) = mpsc::channel();
    let mut work = Some((held, began));
    while work.is_some() {
        let given = Arc::new(Mutex::new(work.take()));
        let taken = given.clone();
        let refused = worker.run(move |()| {
            let (held, began) = taken.lock().unwrap().take().unwrap();
            began.send(()).unwrap();
            let _ = held.recv();
        });
        if refused.is_err() {
            work = given.lock().unwrap().take();
        }
    }
    begins.recv().unwrap();
    let queued = worker.run(|()| ()).unwrap();
    assert!(worker.run(|()| ()).unwrap_err().is_full());
    queued.abort();
    assert!(run(queued).unwrap().unwrap_err().is_cancelled());
    assert!(worker.run(|()| ()).is_ok());
    drop(release);
}

#[test]
fn dropping_a_thread_lets_it_finish_and_drop_what_is_shared_there() {
    struct Report(mpsc::Sender<Option<String>>);
    impl Drop for Report {
        fn drop(&mut self) {
            let _ = self.0.send(thread::current().name().map(str::to_owned));
        }
    }
    let (sender, dropped) = mpsc::channel();
    let (done, finished) = mpsc::channel();
    let thread = BlockingThread::start("ends", 10, move || Report(sender)).unwrap();
    drop(thread.run(move |_| done.send(()).unwrap()).unwrap());
    drop(thread);
    finished.recv().unwrap();
    assert_eq!(dropped.recv().unwrap().as_deref(), Some("ends"));
}

#[test]
fn what_is_made_takes_no_place_of_those_that_wait_for_it() {
    for queue in [1, 4] {
        for _ in 0..100 {
            let (release, held) = mpsc::channel::<()>();
            let worker =
                BlockingThread::start("makes", queue, move || held.recv().unwrap_or_default()).unwrap();
            let waiting: Vec<_> = (0..queue).map(|_| worker.run(|()| ()).unwrap()).collect();
            assert!(worker.run(|()| ()).unwrap_err().is_full());
            release.send(()).unwrap();
            for function in waiting {
                run(function).unwrap().unwrap();
            }
        }
    }
}

#[test]
fn what_is_shared_may_panic_when_it_is_dropped() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    /// Dropped by the thread's end, behind what was made after it.
    struct Last(mpsc::Sender<()>);
    impl Drop for Last {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    thread_local! {
        static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
    }
    let (sender, ended) = mpsc::channel();
    let thread = BlockingThread::start("bomb", 10, move || {
        LAST.set(Some(Last(sender)));
        Bomb
    });
    drop(thread.unwrap());
    ended.recv_timeout(Duration::from_secs(60)).unwrap();
}
