//! What others do at the edges of a runtime: hooks that block, destructors and wakers that panic, processors that are
//! somebody's, signals that several wait for.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    cell::RefCell,
    fs,
    future::{Future, poll_fn},
    io::{BufRead, BufReader, Write},
    pin::{Pin, pin},
    process::{Command, Stdio},
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use wakering::{
    BlockingThread, CancellationToken, Handle, JoinHandle, Runtime, RuntimeError, SpawnError, run, signal,
    signal::Kind,
    spawn, spawn_blocking, spawn_on,
    time::{sleep, timeout},
    yield_now,
};

/// As long as nobody's machine needs.
const FOR_EVER: Duration = Duration::from_secs(30);

const CHILD: &str = "WAKERING_EDGES_TEST_CHILD";

/// How often a signal is sent to the child; each time all its listeners race for the one pipe.
const SIGNALS: usize = 40;

#[test]
fn a_circle_of_joins_that_were_given_up_says_that_it_may_be_none() {
    run(async {
        let first: Rc<RefCell<Option<JoinHandle<()>>>> = Rc::default();
        let theirs = first.clone();
        let join_in_vain = |mut handle: JoinHandle<()>| async move {
            // As after a time limit: it is kept, and nobody polls it.
            let polled = poll_fn(|context| Poll::Ready(Pin::new(&mut handle).poll(context))).await;
            assert!(polled.is_pending());
            sleep(Duration::from_secs(3600)).await;
        };
        let second = spawn(async move {
            yield_now().await;
            let first = theirs.take().unwrap();
            join_in_vain(first).await;
        });
        *first.borrow_mut() = Some(spawn(join_in_vain(second)));
        for _ in 0..8 {
            yield_now().await;
        }
        let dump = Handle::current().dump().to_string();
        let circle = dump.lines().find(|line| line.starts_with("circle: ")).unwrap();
        assert!(circle.contains("it is none if #") && circle.contains("waits for something else"), "{dump}");
    })
    .unwrap();
}

#[test]
fn a_dump_is_written_also_when_another_listener_has_emptied_the_pipe_of_signals() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child_that_listens_to_the_signal_of_dumps", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, lines) = mpsc::channel();
    let said = BufReader::new(child.stderr.take().unwrap());
    let reader =
        thread::spawn(move || said.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let told = |texts: &[&str]| {
        let mut left = texts.to_vec();
        while !left.is_empty() {
            let line = lines.recv_timeout(FOR_EVER).expect("the child says it in time");
            left.retain(|text| !line.contains(text));
        }
    };
    told(&["listening"]);
    let mut shell = child.stdin.take().unwrap();
    for _ in 0..SIGNALS {
        shell.write_all(b"send\n").unwrap();
        told(&["worker 0:", "all have heard"]);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    drop(lines);
    let _ = reader.join().unwrap();
}

/// Three workers listen to the signal beside the thread that dumps on it.
#[test]
fn child_that_listens_to_the_signal_of_dumps() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let runtime = Runtime::builder().workers(4).dump_on_signal().build().unwrap();
    let heard = Arc::new(AtomicUsize::new(0));
    let listening = Arc::new(AtomicUsize::new(0));
    for worker in 1..4 {
        let (heard, listening) = (heard.clone(), listening.clone());
        let listener = runtime.handle().spawn_on(worker, move || async move {
            let mut signals = signal::stream(Kind::USER_1).unwrap();
            listening.fetch_add(1, Ordering::SeqCst);
            while signals.recv().await.is_ok() {
                heard.fetch_add(1, Ordering::SeqCst);
            }
        });
        drop(listener.unwrap());
    }
    let main = async {
        while listening.load(Ordering::SeqCst) < 3 {
            yield_now().await;
        }
        eprintln!("\nlistening");
        let lines = Arc::new(Mutex::new(BufReader::new(std::io::stdin())));
        for round in 1.. {
            let input = lines.clone();
            let read = move || input.lock().unwrap().read_line(&mut String::new()).unwrap();
            assert_ne!(spawn_blocking(read).unwrap().await.unwrap(), 0, "the parent is gone");
            let pid = std::process::id();
            assert!(
                Command::new("sh").args(["-c", &format!("kill -USR1 {pid}")]).status().unwrap().success()
            );
            while heard.load(Ordering::SeqCst) < 3 * round {
                sleep(Duration::from_micros(100)).await;
            }
            eprintln!("\nall have heard");
        }
    };
    runtime.block_on(main).unwrap();
}

#[test]
fn who_waits_for_the_end_rings_nobody_before_it_was_said() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let handle = runtime.handle();
    let rings = || handle.metrics().workers[1].doorbell_rings;
    runtime
        .block_on(async {
            // The other worker has been at work and sleeps again, most likely: awake it would not be rung for.
            spawn_on(1, || async {}).unwrap().await.unwrap();
            sleep(Duration::from_millis(30)).await;
            let before = rings();
            for _ in 0..100 {
                let mut stopping = pin!(handle.stopping());
                assert!(timeout(Duration::ZERO, stopping.as_mut()).await.is_err());
            }
            assert_eq!(rings(), before);
        })
        .unwrap();
}

/// The processors that the calling thread may use, as the system tells.
fn allowed() -> String {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    status.lines().find(|line| line.starts_with("Cpus_allowed_list:")).unwrap().to_owned()
}

#[test]
fn threads_beside_a_pinned_worker_may_use_every_processor_of_the_process() {
    if !cfg!(target_os = "linux") {
        return; // threads cannot be bound there
    }
    let own = thread::spawn(|| {
        let whole = allowed();
        let first: usize = whole.split(['\t', '-', ',']).nth(1).unwrap().parse().unwrap();
        let (report, reports) = mpsc::channel();
        let runtime = Runtime::builder()
            .pin_workers([first])
            .watchdog(true)
            .stall_limit(Duration::from_millis(5))
            .on_stall(move |stall| {
                if !stall.is_over {
                    let _ = report.send(allowed());
                }
            })
            .build()
            .unwrap();
        let (pinned, pool, dedicated) = runtime
            .block_on(async {
                let pool = spawn_blocking(allowed).unwrap().await.unwrap();
                let thread = BlockingThread::start("edges", 4, || ()).unwrap();
                let dedicated = thread.run(|()| allowed()).unwrap().await.unwrap();
                (allowed(), pool, dedicated)
            })
            .unwrap();
        assert_eq!(pinned, format!("Cpus_allowed_list:\t{first}"));
        assert_eq!((&pool, &dedicated), (&whole, &whole));
        let stalled = async { spawn(async move { reports.recv_timeout(FOR_EVER).unwrap() }).await.unwrap() };
        assert_eq!(runtime.block_on(stalled).unwrap(), whole);
    });
    own.join().unwrap();
}

#[test]
fn a_hook_that_blocks_does_not_hold_up_the_end() {
    let (release, blocked) = mpsc::channel::<()>();
    let (enter, entered) = mpsc::channel();
    let (end, ended) = mpsc::channel();
    let blocked = Mutex::new(blocked);
    let whole = thread::spawn(move || {
        let runtime = Runtime::builder()
            .watchdog(true)
            .stall_limit(Duration::from_millis(5))
            .on_stall(move |stall| {
                if !stall.is_over {
                    let _ = enter.send(());
                    let _ = blocked.lock().unwrap().recv();
                }
            })
            .build()
            .unwrap();
        runtime.block_on(async { spawn(async move { entered.recv().unwrap() }).await.unwrap() }).unwrap();
        drop(runtime.shutdown(Duration::ZERO).unwrap());
        end.send(()).unwrap();
    });
    let in_time = ended.recv_timeout(FOR_EVER);
    drop(release);
    whole.join().unwrap();
    in_time.expect("the end did not wait for the hook");
}

#[test]
fn dumps_of_a_stuck_worker_take_one_place_in_its_queue() {
    let places = |dumps: usize| {
        let runtime = Runtime::builder().workers(2).build().unwrap();
        let handle = runtime.handle();
        let (release, held) = mpsc::channel::<()>();
        let (enter, entered) = mpsc::channel();
        let stuck = handle.spawn_on(1, move || async move {
            enter.send(()).unwrap();
            let _ = held.recv();
        });
        entered.recv().unwrap();
        for _ in 0..dumps {
            drop(handle.dump());
        }
        let taken = (0..).take_while(|_| handle.spawn_on(1, || async {}).is_ok()).count();
        assert!(matches!(handle.spawn_on(1, || async {}), Err(SpawnError::Full)));
        drop((release, stuck));
        // When the worker comes out of it, it answers again.
        while handle.dump().workers[1].answer != wakering::dump::Answer::Answered {}
        taken
    };
    assert_eq!(places(4) + 1, places(0));
}

/// Counts, and panics when it is woken.
struct Bomb(AtomicUsize);

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("in a waker, as expected");
    }
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll_by<F: Future + ?Sized>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

#[test]
fn a_waker_that_panics_keeps_no_cancellation_from_the_others() {
    let (bomb, count) = (Arc::new(Bomb(AtomicUsize::new(0))), Arc::new(Count(AtomicUsize::new(0))));
    let token = CancellationToken::new();
    let below = token.child_token();
    let mut waits = [token.cancelled(), token.cancelled(), below.cancelled()];
    for (wait, waker) in
        waits.iter_mut().zip([bomb.clone().into(), Waker::from(count.clone()), count.clone().into()])
    {
        assert!(poll_by(Pin::new(wait), &waker).is_pending());
    }
    token.cancel();
    assert_eq!((bomb.0.load(Ordering::SeqCst), count.0.load(Ordering::SeqCst)), (1, 2));
}

#[test]
fn a_waker_that_panics_keeps_no_end_of_a_runtime_from_the_others() {
    let (bomb, count) = (Arc::new(Bomb(AtomicUsize::new(0))), Arc::new(Count(AtomicUsize::new(0))));
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let handle = runtime.handle();
    let (mut first, mut second) = (Box::pin(handle.closed()), Box::pin(handle.closed()));
    assert!(poll_by(first.as_mut(), &bomb.clone().into()).is_pending());
    assert!(poll_by(second.as_mut(), &count.clone().into()).is_pending());
    assert!(runtime.shutdown(FOR_EVER).unwrap().is_clean());
    assert!(bomb.0.load(Ordering::SeqCst) >= 1 && count.0.load(Ordering::SeqCst) >= 1);
    assert!(poll_by(first.as_mut(), Waker::noop()).is_ready());
    assert!(poll_by(second.as_mut(), Waker::noop()).is_ready());
}

/// Panics when it is dropped.
struct Dropped;

impl Drop for Dropped {
    fn drop(&mut self) {
        panic!("in a destructor, as expected");
    }
}

#[test]
fn a_closure_that_never_ran_and_panics_when_dropped_harms_neither_the_end_nor_the_next() {
    let runtime = Runtime::new().unwrap();
    let handle = runtime.handle();
    let bomb = Dropped;
    let first = handle.spawn_on(0, move || async move { drop(bomb) }).unwrap();
    let second = handle.spawn_on(0, || async {}).unwrap();
    drop(runtime);
    for task in [first, second] {
        assert!(run(task).unwrap().unwrap_err().is_cancelled());
    }
}

#[test]
fn a_remote_tasks_end_wakes_a_foreign_waker_that_panics_and_nothing_else_is_harmed() {
    let bomb = Arc::new(Bomb(AtomicUsize::new(0)));
    let runtime = Runtime::new().unwrap();
    let mut task = pin!(runtime.handle().spawn_on(0, || async { 7 }).unwrap());
    assert!(poll_by(task.as_mut(), &bomb.clone().into()).is_pending());
    runtime.block_on(async { yield_now().await }).unwrap();
    assert_eq!(bomb.0.load(Ordering::SeqCst), 1);
    assert!(matches!(poll_by(task.as_mut(), Waker::noop()), Poll::Ready(Ok(7))));
    assert_eq!(runtime.handle().metrics().total.tasks_panicked, 0);
}

#[test]
fn blocking_for_the_end_inside_a_blocking_job_is_an_error_at_once() {
    let runtime = Runtime::new().unwrap();
    let told = runtime.block_on(async {
        let (handle, other) = (Handle::current(), Handle::current());
        let blocked = spawn_blocking(move || handle.shutdown_blocking(Duration::MAX).map(drop));
        let awaited = spawn_blocking(move || run(async move { other.closed().await.map(drop) }).unwrap());
        let told = [timeout(FOR_EVER, blocked.unwrap()).await, timeout(FOR_EVER, awaited.unwrap()).await];
        told.map(|told| told.expect("at once").unwrap())
    });
    for told in told.unwrap() {
        assert!(matches!(told, Err(RuntimeError::WaitsForItself)), "{told:?}");
    }
    assert!(!runtime.handle().is_stopping(), "the runtime was not told");
    // Jobs of other runtimes may.
    let handle = runtime.handle();
    let other = thread::spawn(|| {
        run(async move { spawn_blocking(move || handle.shutdown_blocking(FOR_EVER)).unwrap().await.unwrap() })
    });
    // A future that hears of it, so that nothing is late.
    runtime.block_on(Handle::stopping(&runtime.handle())).unwrap();
    drop(runtime);
    assert!(other.join().unwrap().unwrap().unwrap().is_clean());
}
