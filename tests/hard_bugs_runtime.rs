//! Bugs of runtimes around panics, aborts and their own end: rows 69 to 82 of `docs/hard-bugs.md`.

#![cfg(not(loom))]

#[path = "support/net.rs"]
mod support;

use std::{
    cell::{Cell, RefCell},
    fs,
    future::{Future, pending, poll_fn},
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll},
    thread::{self, ThreadId},
    time::Duration,
};

use support::{pair, pair_with_std, poll_once, run};
use wakering::{
    JoinHandle, Runtime, RuntimeError, SpawnError,
    net::{TcpListener, TcpStream, UdpSocket},
    spawn,
    time::sleep,
    yield_now,
};

const HOUR: Duration = Duration::from_secs(3600);

/// Runs its function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Row 69: the error may be unwrapped, and the panic may be caught anywhere.
#[test]
fn a_nested_block_on_that_panics_leaves_neither_runtime_broken() {
    let (outer, inner) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    for _ in 0..3 {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            outer.block_on(async {
                spawn(async {}).await.unwrap();
                inner.block_on(async {}).expect("this is nested");
            })
        }));
        assert!(caught.is_err());
        let also_caught = outer.block_on(async {
            let inside = catch_unwind(AssertUnwindSafe(|| inner.block_on(async {}).expect("this too")));
            sleep(Duration::from_micros(100)).await;
            inside.is_err()
        });
        assert!(also_caught.unwrap());
        assert_eq!(inner.block_on(async { spawn(async { 2 }).await.unwrap() }).unwrap(), 2);
    }
    let said = outer.block_on(async { inner.block_on(async {}).unwrap_err().to_string() }).unwrap();
    assert!(said.contains("already running on this thread") && said.contains("await instead"), "{said}");
}

/// Row 70.
#[test]
fn block_on_in_a_destructor_during_the_shutdown_is_an_error_and_the_shutdown_goes_on() {
    let (outer, other) = (Runtime::new().unwrap(), Rc::new(Runtime::new().unwrap()));
    let refused = Rc::new(Cell::new(0));
    for _ in 0..3 {
        let (refused, other) = (refused.clone(), other.clone());
        let task = async move {
            let _guard = OnDrop(|| {
                let outcome = [other.block_on(async {}), wakering::run(async {})];
                assert!(outcome.iter().all(|it| matches!(it, Err(RuntimeError::Nested))), "{outcome:?}");
                refused.set(refused.get() + 1);
            });
            pending::<()>().await;
        };
        outer
            .block_on(async {
                drop(spawn(task));
                yield_now().await;
            })
            .unwrap();
    }
    drop(outer);
    assert_eq!(refused.get(), 3);
    other.block_on(async {}).unwrap();
}

/// What is seen of one task: where it was polled, and where and how often it was dropped.
struct Seen {
    home: Option<ThreadId>,
    dropped: mpsc::Sender<bool>,
}

impl Future for Seen {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<()> {
        let here = thread::current().id();
        assert_eq!(*self.home.get_or_insert(here), here, "it was polled elsewhere");
        Poll::Pending
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        // The reactor of its worker still works: what would wait is registered, and no error.
        let works = UdpSocket::bind(support::LOOPBACK).is_ok_and(|socket| {
            let mut byte = [0; 1];
            let mut receive = std::pin::pin!(socket.recv_from(&mut byte));
            receive.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending()
        });
        let at_home = self.home.is_none_or(|home| home == thread::current().id());
        let _ = self.dropped.send(works && at_home);
    }
}

/// Rows 71 and 82: also of tasks that were never polled, and of those whose abort was asked for from elsewhere.
#[test]
fn the_end_drops_every_future_once_on_its_own_worker_whose_reactor_still_works() {
    const EACH: usize = 20;
    let (dropped, drops) = mpsc::channel();
    let made = Arc::new(AtomicUsize::new(0));
    let runtime = Runtime::builder().workers(3).build().unwrap();
    let handle = runtime.handle();
    let mut tasks = Vec::new();
    for worker in 0..3 {
        for _ in 0..EACH {
            let (dropped, made) = (dropped.clone(), made.clone());
            let make = move || {
                made.fetch_add(1, Ordering::Relaxed);
                Seen { home: Some(thread::current().id()), dropped }
            };
            tasks.push(handle.spawn_on(worker, make).unwrap());
        }
    }
    drop(dropped);
    // Those that no worker has taken yet would have no future to drop.
    while made.load(Ordering::Relaxed) < 3 * EACH {
        runtime.block_on(sleep(Duration::from_millis(1))).unwrap();
    }
    tasks.iter().step_by(3).for_each(wakering::RemoteJoinHandle::abort);
    drop(runtime);
    let seen: Vec<bool> = drops.iter().collect();
    assert_eq!((seen.len(), seen.iter().all(|well| *well)), (3 * EACH, true), "{seen:?}");
    let other = Runtime::new().unwrap();
    for task in tasks {
        assert!(other.block_on(task).unwrap().unwrap_err().is_cancelled());
    }
}

/// Row 72.
#[test]
fn what_is_spawned_in_a_destructor_during_the_shutdown_is_cancelled_and_refused_elsewhere() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let handle = runtime.handle();
    let outcomes: Rc<RefCell<Vec<bool>>> = Rc::default();
    let seen = outcomes.clone();
    runtime
        .block_on(async move {
            drop(spawn(async move {
                let _guard = OnDrop(move || {
                    let local = spawn(async { OnDrop(|| ()) });
                    let here = handle.spawn_on(0, || async {});
                    let nested = spawn(async {
                        let _guard = OnDrop(|| drop(spawn(async {})));
                        pending::<()>().await;
                    });
                    let refused = matches!(here, Err(SpawnError::Closed));
                    seen.borrow_mut().push(local.is_finished() && refused && nested.is_finished());
                });
                pending::<()>().await;
            }));
            yield_now().await;
        })
        .unwrap();
    drop(runtime);
    assert_eq!(*outcomes.borrow(), [true]);
}

/// Row 73: where an output is dropped that panics, by whom it may be.
#[test]
fn a_panic_in_an_outputs_destructor_ends_where_its_handle_is_dropped() {
    run(async {
        let bomb = || spawn(async { OnDrop(|| panic!("in drop of the output")) });
        // The task ends first, and its handle is dropped with the output in it.
        let ended = bomb();
        yield_now().await;
        assert!(ended.is_finished());
        drop(ended);
        // By a task that holds it, which goes on.
        let ended = bomb();
        let holder = spawn(async move {
            yield_now().await;
            drop(ended);
            1
        });
        assert_eq!(holder.await.unwrap(), 1);
        // A future that panics twice: when it is polled, and when it is dropped.
        let twice = spawn(async {
            let _bomb = OnDrop(|| panic!("in drop of the future"));
            pending::<()>().await;
        });
        yield_now().await;
        twice.abort();
        assert!(twice.await.unwrap_err().is_panic());
        // A payload that panics when it is dropped.
        let payload = spawn(async { std::panic::panic_any(OnDrop(|| panic!("in drop of the payload"))) });
        yield_now().await;
        let error = payload.await.unwrap_err();
        assert!(
            catch_unwind(AssertUnwindSafe(|| drop(error))).is_err(),
            "whoever takes the payload drops it"
        );
        // One that nobody takes.
        drop(spawn(async { std::panic::panic_any(OnDrop(|| panic!("in drop of the payload"))) }));
        assert_eq!(spawn(async { 2 }).await.unwrap(), 2);
    });
}

/// Row 74: they panic with a timer armed, a read waiting and a wake under way.
#[test]
fn tasks_that_panic_leave_queue_wheel_and_sources_to_the_others() {
    run(async {
        let (mut near, mut far) = pair_with_std();
        let others: Vec<_> = (0..50)
            .map(|round| {
                spawn(async move {
                    for _ in 0..10 {
                        sleep(Duration::from_micros(50 + round)).await;
                        yield_now().await;
                    }
                })
            })
            .collect();
        for round in 0..200_u64 {
            let (mut stream, _peer) = pair_with_std();
            let bomb = spawn(async move {
                let mut byte = [0; 1];
                let mut waiting = std::pin::pin!(stream.read(&mut byte));
                assert!(poll_once(waiting.as_mut()).await.is_pending());
                let mut far = std::pin::pin!(sleep(HOUR));
                assert!(poll_once(far.as_mut()).await.is_pending());
                sleep(Duration::from_micros(round)).await;
                poll_fn(|context| {
                    context.waker().wake_by_ref();
                    Poll::Ready(())
                })
                .await;
                panic!("on purpose");
            });
            assert!(bomb.await.unwrap_err().is_panic());
        }
        for other in others {
            other.await.unwrap();
        }
        far.write_all(b"x").unwrap();
        assert_eq!(near.read(&mut [0; 8]).await.unwrap(), 1);
    });
}

/// Row 75: it ends, or it was aborted, and never both or neither.
#[test]
fn an_abort_that_races_the_end_gives_the_output_or_says_cancelled() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let handle = runtime.handle();
    let drops = Arc::new(AtomicUsize::new(0));
    let (mut ended, mut aborted) = (0, 0);
    for round in 0..2_000_u32 {
        let count = drops.clone();
        let task = handle.spawn_on(1, move || async move {
            let _guard = OnDrop(move || {
                count.fetch_add(1, Ordering::Relaxed);
            });
            for _ in 0..round % 5 {
                yield_now().await;
            }
            round
        });
        let task = task.unwrap();
        if round % 3 == 0 {
            thread::yield_now();
        }
        task.abort();
        match runtime.block_on(task).unwrap() {
            Ok(output) => {
                assert_eq!(output, round);
                ended += 1;
            }
            Err(error) => {
                assert!(error.is_cancelled());
                aborted += 1;
            }
        }
    }
    drop(runtime);
    println!("{ended} ended, {aborted} were aborted");
    assert_eq!(ended + aborted, 2_000);
    assert!(drops.load(Ordering::Relaxed) <= 2_000);
}

/// Row 76: by another thread, by a task, and by the task itself in its last poll.
#[test]
fn a_handle_that_is_dropped_while_its_task_ends_takes_nothing_with_it() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let handle = runtime.handle();
    let ran = Arc::new(AtomicUsize::new(0));
    for round in 0..1_000 {
        let count = ran.clone();
        let task = handle.spawn_on(1, move || async move { count.fetch_add(1, Ordering::Relaxed) });
        let task = task.unwrap();
        if round % 2 == 0 {
            thread::yield_now();
        }
        drop(task);
    }
    runtime
        .block_on(async {
            while ran.load(Ordering::Relaxed) < 1_000 {
                yield_now().await;
            }
            let own: Own<OnDrop<fn()>> = Rc::default();
            let mine = own.clone();
            let task = spawn(async move {
                yield_now().await;
                drop(mine.borrow_mut().take());
                OnDrop((|| ()) as fn())
            });
            *own.borrow_mut() = Some(task);
            sleep(Duration::from_millis(1)).await;
            assert!(own.borrow().is_none());
        })
        .unwrap();
}

type Own<T> = Rc<RefCell<Option<JoinHandle<T>>>>;

thread_local! {
    static LATE: RefCell<Vec<Box<dyn std::any::Any>>> = const { RefCell::new(Vec::new()) };
}

/// Row 79: a thread's locals hold a runtime, and what belongs to it, when the thread ends.
#[test]
fn runtimes_handles_wakers_and_sockets_may_be_left_to_the_destructors_of_thread_locals() {
    for order in 0..2 {
        let (dropped, drops) = mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = Runtime::builder().workers(2).build().unwrap();
            let remote = runtime.handle().spawn_on(1, pending::<()>).unwrap();
            let (task, stream, timer, waker) = runtime
                .block_on(async {
                    let task = spawn(async move {
                        let _guard = OnDrop(move || dropped.send(()).unwrap());
                        pending::<()>().await;
                    });
                    let (mut stream, _peer) = pair().await;
                    let _ = poll_once(std::pin::pin!(stream.read(&mut [0; 1]))).await;
                    let mut timer = Box::pin(sleep(HOUR));
                    assert!(poll_once(timer.as_mut()).await.is_pending());
                    (task, stream, timer, poll_fn(|context| Poll::Ready(context.waker().clone())).await)
                })
                .unwrap();
            let wake = OnDrop(move || waker.wake_by_ref());
            let rest: Vec<Box<dyn std::any::Any>> =
                vec![Box::new(task), Box::new(stream), Box::new(timer), Box::new(wake), Box::new(remote)];
            LATE.with(|late| {
                let mut late = late.borrow_mut();
                if order == 0 {
                    late.push(Box::new(runtime));
                    late.extend(rest);
                } else {
                    late.extend(rest);
                    late.push(Box::new(runtime));
                }
            });
        });
        thread.join().unwrap();
        assert_eq!(drops.try_iter().count(), 1, "order {order}");
    }
}

/// Row 80: before, after, and in the midst of waiting.
#[test]
fn sockets_may_be_dropped_before_and_after_their_reactor() {
    for _ in 0..20 {
        let runtime = Runtime::new().unwrap();
        let sockets = runtime.block_on(async {
            let listener = TcpListener::bind(support::LOOPBACK).unwrap();
            assert!(poll_once(std::pin::pin!(listener.accept())).await.is_pending());
            let (mut near, far) = pair().await;
            assert!(poll_once(std::pin::pin!(near.read(&mut [0; 1]))).await.is_pending());
            let datagrams = UdpSocket::bind(support::LOOPBACK).unwrap();
            assert!(poll_once(std::pin::pin!(datagrams.recv_from(&mut [0; 1]))).await.is_pending());
            drop(far);
            (listener, near, datagrams)
        });
        let (listener, mut near, datagrams) = sockets.unwrap();
        drop(datagrams);
        drop(runtime);
        // Used in the next runtime they say so, and dropped they are gone.
        let other = Runtime::new().unwrap();
        other
            .block_on(async {
                let said = support::poll_once(std::pin::pin!(listener.accept())).await;
                // Where calls fail on demand, the first accept may have been resting: it was never registered.
                let rested = wakering::internals::faults::ON && said.is_pending();
                assert!(rested || matches!(said, Poll::Ready(Err(_))), "{said:?}");
                let mut byte = [0; 1];
                let said = near.read(&mut byte).await;
                assert!(matches!(said, Ok(0) | Err(_)), "{said:?}");
            })
            .unwrap();
        drop(other);
        drop((listener, near));
    }
}

/// Row 81, in small.
#[test]
fn three_thousand_connections_that_came_and_went_left_no_descriptor_and_no_memory() {
    const ROUND: usize = 1_000;
    if !support::in_child(
        "three_thousand_connections_that_came_and_went_left_no_descriptor_and_no_memory",
        "",
    ) {
        return;
    }
    let descriptors = || fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
    let memory = || {
        let status = fs::read_to_string("/proc/self/statm").ok()?;
        status.split_whitespace().nth(1)?.parse::<usize>().ok().map(|pages| pages * 4)
    };
    run(async {
        let listener = TcpListener::bind(support::LOOPBACK).unwrap();
        let address = listener.local_addr().unwrap();
        let round = async || {
            for _ in 0..ROUND {
                let mut client = TcpStream::connect(address).await.unwrap();
                let (mut server, _) = listener.accept().await.unwrap();
                client.write_all(b"ping").await.unwrap();
                let mut bytes = [0; 4];
                server.read_exact(&mut bytes).await.unwrap();
                drop(server);
                assert_eq!(client.read(&mut bytes).await.unwrap(), 0);
            }
        };
        round().await;
        let before = (descriptors(), memory());
        round().await;
        round().await;
        let after = (descriptors(), memory());
        assert_eq!(before.0, after.0);
        if let (Some(before), Some(after)) = (before.1, after.1) {
            assert!(after < before + 512, "{before} KiB before, {after} KiB after 2,000 more");
        }
    });
}

/// Row 82: it is woken, aborted and refused from other threads, and no other thread ever has it in hand.
#[test]
fn a_task_that_is_not_send_is_never_touched_by_the_threads_that_wake_and_abort_it() {
    struct Homely(ThreadId);
    impl Homely {
        fn here(&self) {
            assert_eq!(self.0, thread::current().id(), "touched on another thread");
        }
    }
    impl Drop for Homely {
        fn drop(&mut self) {
            self.here();
        }
    }
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let handle = runtime.handle();
    for _ in 0..300 {
        let (to_thread, wakers) = mpsc::channel();
        let task = handle.spawn_on(1, move || {
            let local = Rc::new(Homely(thread::current().id()));
            let mut polls = 0;
            poll_fn(move |context| {
                local.here();
                polls += 1;
                let _ = to_thread.send(context.waker().clone());
                if polls == 5 { Poll::Ready(Homely(thread::current().id()).0) } else { Poll::Pending }
            })
        });
        let task = task.unwrap();
        for (waker, wakes) in wakers.iter().zip(0..) {
            if wakes == 3 {
                task.abort();
            }
            // From here on the task may be dropped at any time, and only over there.
            waker.wake();
        }
        drop(runtime.block_on(task).unwrap());
    }
    // A spawn that is refused drops its closure here, where it was made, and no future exists yet.
    let (blocker, block) = mpsc::channel::<()>();
    let blocked = handle.spawn_on(1, move || async move { block.recv().is_err() }).unwrap();
    let maker = thread::current().id();
    let dropped = Arc::new(AtomicUsize::new(0));
    loop {
        let dropped = dropped.clone();
        let guard = OnDrop(move || {
            if thread::current().id() == maker {
                dropped.fetch_add(1, Ordering::Relaxed);
            }
        });
        let spawned = handle.spawn_on(1, move || {
            let guard = guard;
            async move { drop(guard) }
        });
        if let Err(SpawnError::Full) = spawned.map(drop) {
            break;
        }
    }
    assert_eq!(dropped.load(Ordering::Relaxed), 1, "the refused one, on the thread that offered it");
    drop(blocker);
    assert!(runtime.block_on(blocked).unwrap().unwrap());
}
