//! The dump: every live task, what it waits for, since when; circles of joins; workers that do not answer.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

#[path = "support/exact.rs"]
mod exact;

use std::{
    cell::RefCell,
    future::{pending, poll_fn},
    io::{self, BufRead, BufReader, Write},
    net::Ipv4Addr,
    process::{Command, Stdio},
    rc::Rc,
    sync::mpsc,
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use wakering::{
    Handle, JoinHandle, Runtime,
    dump::{Answer, DescriptorKind, Dump, TaskDump, TaskState, Wait, WorkerDump, waiting},
    http::{Body, Request, Response, Server, client},
    net::{TcpListener, TcpStream},
    spawn, spawn_named, time, yield_now,
};

/// Polls everything that is runnable, often enough that tasks which wait do wait.
async fn settle() {
    for _ in 0..8 {
        yield_now().await;
    }
}

fn named<'a>(dump: &'a Dump, name: &str) -> &'a TaskDump {
    dump.tasks()
        .find(|task| task.name.as_deref() == Some(name))
        .unwrap_or_else(|| panic!("{name} in:\n{dump}"))
}

/// Two tasks, each of which joins the other.
fn lock_in_circle() {
    let first: Rc<RefCell<Option<JoinHandle<()>>>> = Rc::default();
    let theirs = first.clone();
    let second = spawn_named("second", async move {
        let first = theirs.borrow_mut().take().unwrap();
        first.await.unwrap();
    });
    *first.borrow_mut() = Some(spawn_named("first", async move { second.await.unwrap() }));
}

#[test]
fn two_tasks_that_join_each_other_are_printed_as_a_circle() {
    wakering::run(async {
        lock_in_circle();
        settle().await;
        let dump = Handle::current().dump();
        let (second, first) = (named(&dump, "second"), named(&dump, "first"));
        assert_eq!(dump.circles.len(), 1, "{dump}");
        assert_eq!(dump.circles[0].tasks, [second.id, first.id]);
        assert_eq!(first.waits, [Wait::Join(second.id)]);
        assert_eq!(second.waits, [Wait::Join(first.id)]);
        let text = dump.to_string();
        let circle = text.lines().find(|line| line.starts_with("circle: ")).unwrap();
        let [one, two] = [second, first].map(|task| format!("{} {:?}", task.id, task.name.as_ref().unwrap()));
        assert!(circle.contains(&one) && circle.contains(&two), "{text}");
        assert!(circle.contains(file!()), "{text}");
    })
    .unwrap();
}

#[test]
fn a_circle_through_a_scope_is_found_whoever_else_is_in_it() {
    for worker in [None, Some(1)] {
        let runtime = Runtime::builder().workers(2).build().unwrap();
        let dump = runtime.block_on(async move {
            let first = Rc::new(RefCell::new(None));
            let other = first.clone();
            let second = spawn_named("second", async move {
                yield_now().await;
                let first: JoinHandle<()> = other.take().unwrap();
                first.await.unwrap();
            });
            *first.borrow_mut() = Some(spawn_named("first", async move {
                let scope: wakering::Scope = wakering::Scope::new();
                if let Some(worker) = worker {
                    scope.spawn_on(worker, pending::<()>).unwrap();
                }
                scope.spawn(async move { second.await.unwrap() });
                scope.join().await.unwrap();
            }));
            settle().await;
            Handle::current().dump()
        });
        let dump = dump.unwrap();
        let [circle] = &dump.circles[..] else { panic!("{dump}") };
        let has = |name: &str| circle.tasks.contains(&named(&dump, name).id);
        assert!(circle.tasks.len() == 3 && has("first") && has("second"), "{dump}");
    }
}

#[test]
fn a_task_that_waits_to_read_names_the_descriptor_and_the_peer() {
    wakering::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        let local = client.local_addr().unwrap();
        let (_served, _) = listener.accept().await.unwrap();
        spawn_named("reader", async move { client.read(&mut [0; 8]).await });
        spawn_named("accepts", async move { listener.accept().await.map(drop) });
        settle().await;
        let dump = Handle::current().dump();
        let [Wait::Read(descriptor)] = named(&dump, "reader").waits[..] else { panic!("{dump}") };
        assert_eq!(descriptor.kind, DescriptorKind::Tcp);
        assert_eq!((descriptor.local, descriptor.peer), (Some(local), Some(address)));
        let said =
            format!("waits to read from descriptor {} (TCP {local} with {address})", descriptor.number);
        assert!(dump.to_string().contains(&said), "{said} in:\n{dump}");
        let accepts = named(&dump, "accepts");
        // In a build with faults the system may be out of descriptors, and the call waits for time to pass.
        let rests = wakering::internals::faults::ON && matches!(accepts.waits[..], [Wait::Timer { .. }]);
        if !rests {
            let [Wait::Read(listening)] = accepts.waits[..] else { panic!("{dump}") };
            assert_eq!((listening.local, listening.peer), (Some(address), None));
        }
    })
    .unwrap();
}

#[test]
fn a_task_that_waits_to_write_says_so() {
    wakering::run(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        let (_deaf, _) = listener.accept().await.unwrap();
        spawn_named("writer", async move { client.write_all(&vec![0; 64 << 20]).await });
        let dump = loop {
            yield_now().await;
            let dump = Handle::current().dump();
            if named(&dump, "writer").state == TaskState::Waiting {
                break dump;
            }
        };
        let [Wait::Write(descriptor)] = named(&dump, "writer").waits[..] else { panic!("{dump}") };
        assert_eq!(descriptor.peer, Some(address));
    })
    .unwrap();
}

#[test]
fn a_timer_says_when_it_is_due() {
    wakering::run(async {
        spawn_named("sleeper", time::sleep(Duration::from_secs(60)));
        settle().await;
        let dump = Handle::current().dump();
        let [Wait::Timer { due_in: Some(due_in) }] = named(&dump, "sleeper").waits[..] else {
            panic!("{dump}")
        };
        assert!((Duration::from_secs(50)..=Duration::from_secs(60)).contains(&due_in), "{due_in:?}");
        assert!(dump.to_string().contains("waits for a timer, due in "), "{dump}");
        assert_eq!(dump.workers[0].timers, 1);
    })
    .unwrap();
}

#[test]
fn a_note_says_what_nothing_else_tells_and_is_gone_with_its_future() {
    wakering::run(async {
        let row = String::from("row 7");
        let noted = waiting(move |out| write!(out, "the lock of {row}"), pending::<()>());
        let task = spawn_named("locked", noted);
        let plain = spawn_named("elsewhere", pending::<()>());
        settle().await;
        let dump = Handle::current().dump();
        assert_eq!(named(&dump, "locked").waits, [Wait::Note("the lock of row 7".to_owned())]);
        assert_eq!(named(&dump, "elsewhere").waits, [Wait::External]);
        assert!(dump.to_string().contains("waits for the lock of row 7"), "{dump}");
        task.abort();
        plain.abort();
        settle().await;
        assert_eq!(Handle::current().dump().tasks().count(), 1);

        let once = waiting(|out| write!(out, "nothing"), yield_now());
        let task = spawn_named("done soon", async move {
            once.await;
            pending::<()>().await;
        });
        settle().await;
        assert_eq!(named(&Handle::current().dump(), "done soon").waits, [Wait::External]);
        drop(task);
    })
    .unwrap();
}

#[test]
fn a_note_that_panics_spoils_neither_the_dump_nor_the_worker() {
    wakering::run(async {
        let shared = Rc::new(RefCell::new(1));
        let borrowed = shared.clone();
        spawn_named("sullen", waiting(move |out| write!(out, "{}", borrowed.borrow()), pending::<()>()));
        settle().await;
        let held = shared.borrow_mut();
        let dump = Handle::current().dump();
        let [Wait::Note(text)] = &named(&dump, "sullen").waits[..] else { panic!("{dump}") };
        assert!(text.contains("panicked"), "{text}");
        drop(held);
        assert_eq!(named(&Handle::current().dump(), "sullen").waits, [Wait::Note("1".to_owned())]);
    })
    .unwrap();
}

#[test]
fn who_waits_for_a_scope_a_channel_or_the_end_of_a_runtime_says_so() {
    wakering::run(async {
        let other = Runtime::new().unwrap();
        let (ended, over) = (other.handle(), other.handle());
        let (mut sender, receiver) = wakering::channel(1);
        let (_kept, mut values) = wakering::channel::<u8>(1);
        drop([
            spawn_named("joins", async move {
                let scope = wakering::Scope::<io::Error>::new();
                scope.spawn(pending::<()>());
                let _ = scope.join().await;
            }),
            spawn_named("receives", async move { assert_eq!(values.recv().await, None) }),
            spawn_named("sends", async move { while sender.send(1).await.is_ok() {} }),
            spawn_named("closed", async move { drop(ended.closed().await) }),
            spawn_named("stopping", async move { over.stopping().await }),
        ]);
        settle().await;
        let dump = Handle::current().dump();
        let says = |who: &str, what: &str| {
            let [wait @ (Wait::Note(_) | Wait::Scope(_))] = &named(&dump, who).waits[..] else {
                panic!("{who} in:\n{dump}")
            };
            assert!(wait.to_string().contains(what), "{wait:?} of {who}");
        };
        says("joins", "the end of 1 task of a scope: #");
        says("receives", "a value from a channel");
        says("sends", "room in a channel");
        says("closed", "the end of a runtime");
        says("stopping", "somebody to end a runtime");
        drop(receiver);
    })
    .unwrap();
}

#[test]
fn states_polls_and_places_are_told() {
    wakering::run(async {
        let ready = spawn_named("ready", async {});
        let dump = Handle::current().dump();
        let task = named(&dump, "ready");
        assert_eq!((task.state, task.polls, task.id), (TaskState::Runnable, 0, ready.id()));
        assert!(task.spawned_at.file().ends_with("runtime_dump.rs") && task.spawned_at.line() > 150);
        assert_eq!((dump.workers[0].runnable, &task.waits[..]), (1, &[][..]));
        let root = dump.tasks().next().unwrap();
        assert!(root.is_root && root.state == TaskState::Running && root.polls == 1, "{dump}");
        assert!(root.spawned_at.file().ends_with("runtime_dump.rs"), "{dump}");
        ready.await.unwrap();

        let ticking = spawn_named("ticking", async {
            for _ in 0..1000 {
                yield_now().await;
            }
            pending::<()>().await;
        });
        while named(&Handle::current().dump(), "ticking").polls < 1001 {
            yield_now().await;
        }
        let dump = Handle::current().dump();
        assert_eq!(named(&dump, "ticking").polls, 1001);
        assert!(named(&dump, "ticking").timed_poll.is_some(), "some 15 of a thousand polls are timed");
        ticking.abort();
    })
    .unwrap();
}

#[test]
fn the_time_of_a_wait_counts_from_the_last_poll() {
    wakering::run(async {
        spawn_named("old", pending::<()>());
        time::sleep(Duration::from_millis(60)).await;
        spawn_named("new", pending::<()>());
        settle().await;
        let dump = Handle::current().dump();
        assert!(named(&dump, "old").since >= Duration::from_millis(59), "{dump}");
        assert!(named(&dump, "new").since < named(&dump, "old").since, "{dump}");
    })
    .unwrap();
}

/// A runtime whose second worker is inside a poll until the sender is dropped.
fn stuck(runtime: &Runtime) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel::<()>();
    let (inside, is_inside) = mpsc::channel();
    let spin = move || async {
        drop(spawn_named("spinner", async move {
            inside.send(()).unwrap();
            let _ = released.recv();
        }));
    };
    drop(runtime.handle().spawn_on(1, spin).unwrap());
    is_inside.recv().unwrap();
    release
}

#[test]
fn a_stuck_worker_is_named_within_100_ms_also_from_another_thread() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let release = stuck(&runtime);
    let handle = runtime.handle();
    let asked = thread::spawn(move || {
        // Other programs may have the processor meanwhile: the best within twenty seconds.
        let start = Instant::now();
        loop {
            let began = Instant::now();
            let dump = handle.dump();
            let took = began.elapsed();
            if took < Duration::from_millis(100) || start.elapsed() > Duration::from_secs(20) {
                return (took, dump);
            }
        }
    });
    let (took, dump) = asked.join().unwrap();
    assert!(took < Duration::from_millis(100), "{took:?}");
    assert_eq!(dump.workers[0].answer, Answer::Outside);
    let Answer::Inside(inside) = &dump.workers[1].answer else { panic!("{dump}") };
    assert_eq!(inside.name.as_deref(), Some("spinner"));
    assert!(inside.spawned_at.unwrap().file().ends_with("runtime_dump.rs"), "{dump}");
    assert!(inside.so_far >= Duration::from_millis(50), "{dump}");
    let text = dump.to_string();
    assert!(text.contains("worker 1: did not answer, is inside a poll of task #"), "{text}");
    assert!(text.contains("\"spinner\", spawned at tests/runtime_dump.rs:"), "{text}");
    drop(release);
    let began = Instant::now();
    while runtime.dump().workers[1].answer != Answer::Answered {
        assert!(began.elapsed() < Duration::from_secs(60), "{}", runtime.dump());
    }
}

#[test]
fn another_threads_dump_has_the_tasks_of_every_worker() {
    let runtime = Runtime::builder().workers(3).build().unwrap();
    let handle = runtime.handle();
    for worker in 0..3 {
        let make = move || async move {
            spawn_named(format!("on {worker}"), pending::<()>()).await.unwrap();
        };
        drop(handle.spawn_on(worker, make).unwrap());
    }
    let watcher = thread::spawn(move || {
        let began = Instant::now();
        loop {
            let dump = handle.dump();
            let names = ["on 0", "on 1", "on 2"];
            let found = names.map(|name| dump.tasks().any(|task| task.name.as_deref() == Some(name)));
            if found == [true; 3] {
                return dump;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{dump}");
        }
    });
    let dump = runtime
        .block_on(async move {
            while !watcher.is_finished() {
                yield_now().await;
            }
            watcher.join().unwrap()
        })
        .unwrap();
    for (worker, part) in dump.workers.iter().enumerate() {
        let name = format!("on {worker}");
        assert!(part.tasks.iter().any(|task| task.name.as_deref() == Some(&name)), "{dump}");
    }
    let handle = runtime.handle();
    drop(runtime);
    assert!(handle.dump().workers.iter().all(|worker| worker.answer == Answer::Ended));
}

#[test]
fn ten_thousand_tasks_are_all_listed_within_100_ms() {
    wakering::run(async {
        for _ in 0..10_000 {
            drop(spawn(pending::<()>()));
        }
        settle().await;
        let dump = Handle::current().dump();
        assert_eq!((dump.tasks().count(), dump.workers[0].left_out), (10_001, 0));
        // Other programs may have the processor meanwhile: the best within twenty seconds.
        let start = Instant::now();
        loop {
            let began = Instant::now();
            drop(Handle::current().dump());
            let took = began.elapsed();
            if took < Duration::from_millis(100) {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "{took:?}");
        }
        let text = dump.to_string();
        assert_eq!(text.matches("waits for something external").count(), 10_000);
        assert!(text.len() < 3 << 20, "{} bytes", text.len());
    })
    .unwrap();
}

#[test]
fn more_tasks_than_a_dump_lists_are_counted() {
    wakering::run(async {
        for _ in 0..40_000 {
            drop(spawn(pending::<()>()));
        }
        let dump = Handle::current().dump();
        let worker = &dump.workers[0];
        assert_eq!((worker.tasks.len(), worker.left_out), (32_769, 40_000 - 32_768));
        assert!(dump.to_string().ends_with("  and 7232 tasks more\n"));
    })
    .unwrap();
}

#[test]
fn between_two_calls_of_block_on_the_runtime_is_dumped_by_its_owner() {
    let runtime = Runtime::new().unwrap();
    runtime
        .block_on(async {
            spawn_named("left", time::sleep(Duration::from_secs(60)));
            settle().await;
        })
        .unwrap();
    let dump = runtime.dump();
    assert_eq!(dump.tasks().count(), 1, "the root future is gone: {dump}");
    assert_eq!(named(&dump, "left").waits.len(), 1);
    assert_eq!(runtime.handle().dump().workers[0].answer, Answer::Outside);
}

#[test]
fn a_root_that_panics_leaves_nobody_running() {
    let runtime = Runtime::new().unwrap();
    let attempt = std::panic::AssertUnwindSafe(|| runtime.block_on(async { panic!("expected") }));
    std::panic::catch_unwind(attempt).unwrap_err();
    assert_eq!(runtime.handle().dump().workers[0].answer, Answer::Outside);
    let task = runtime.block_on(async {
        let dump = poll_fn(|_| Poll::Ready(Handle::current().dump())).await;
        dump.tasks().map(|task| task.is_root).collect::<Vec<_>>()
    });
    assert_eq!(task.unwrap(), [true]);
}

/// The number of a sample in the text form; of worker 0 where it has a label.
fn sample(text: &str, name: &str) -> f64 {
    let line = text.lines().find(|line| line.split(' ').next() == Some(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in:\n{text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn metrics_count_what_was_done() {
    let runtime = Runtime::new().unwrap();
    let handle = runtime.handle();
    runtime
        .block_on(async {
            spawn(async { panic!("expected") }).await.unwrap_err();
            let living = spawn(pending::<()>());
            let sleeping = spawn(time::sleep(Duration::from_secs(60)));
            for _ in 0..640 {
                yield_now().await;
            }
            time::sleep(Duration::from_millis(20)).await;
            let (waker, woken) = mpsc::channel();
            let mut is_first = true;
            let foreign = poll_fn(move |context| {
                if !is_first {
                    return Poll::Ready(());
                }
                is_first = false;
                waker.send(context.waker().clone()).unwrap();
                Poll::Pending
            });
            let thread = thread::spawn(move || woken.recv().unwrap().wake());
            foreign.await;
            thread.join().unwrap();
            let total = Handle::current().metrics().total;
            assert_eq!((total.tasks_live, total.tasks_spawned, total.tasks_panicked), (2, 3, 1));
            living.abort();
            sleeping.abort();
            settle().await;
        })
        .unwrap();
    let metrics = handle.metrics();
    let total = &metrics.total;
    assert_eq!((total.tasks_live, total.timers_armed, total.timers_fired), (0, 2, 1));
    assert!(total.polls >= 640 && total.parks >= 1 && total.selector_waits >= total.parks, "{total:?}");
    // A waker that outlives another test's runtime may reach the worker that has its place now.
    assert!(total.lane_wakes + total.lane_overflows >= 1, "{total:?}");
    assert!(total.doorbell_rings + total.elided_rings >= 1, "{total:?}");
    assert!(total.idle >= Duration::from_millis(15) && total.busy > Duration::ZERO, "{total:?}");
    assert!(total.busy_ratio() > 0.0 && total.busy_ratio() < 1.0);
    assert!(total.poll_time.count() >= 10 && total.schedule_delay.count() >= 10, "{total:?}");
    assert!(total.poll_time.quantile(0.5) <= total.poll_time.quantile(1.0));
}

#[test]
fn the_text_of_the_metrics_is_what_prometheus_reads() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    runtime
        .block_on(async {
            wakering::spawn_blocking(|| ()).unwrap().await.unwrap();
            for _ in 0..200 {
                yield_now().await;
            }
        })
        .unwrap();
    let text = runtime.handle().metrics().to_string();
    assert!(sample(&text, "wakering_runtime_polls_total{worker=\"0\"}") >= 200.0);
    assert_eq!(sample(&text, "wakering_runtime_tasks_live{worker=\"1\"}"), 0.0);
    assert_eq!(sample(&text, "wakering_runtime_blocking_jobs_total"), 1.0);
    let bucket = "wakering_runtime_poll_seconds_bucket{worker=\"0\",le=";
    let counts: Vec<f64> = text
        .lines()
        .filter(|line| line.starts_with(bucket))
        .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(counts.len(), 24);
    assert!(counts.is_sorted() && text.contains(&format!("{bucket}\"+Inf\"}} ")), "{text}");
    assert_eq!(*counts.last().unwrap(), sample(&text, "wakering_runtime_poll_seconds_count{worker=\"0\"}"));
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let family = name.split('{').next().unwrap();
        let family =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| family.strip_suffix(end)).unwrap_or(family);
        assert_eq!(text.matches(&format!("# TYPE {family} ")).count(), 1, "{line}");
        assert_eq!(text.matches(&format!("# HELP {family} ")).count(), 1, "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
}

#[test]
fn a_task_that_never_waits_is_counted_as_having_used_its_budget_up() {
    if exact::calls_may_fail() {
        return;
    }
    wakering::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (served, _) = listener.accept().await.unwrap();
        let mut served = served;
        client.write_all(&[0; 400]).await.unwrap();
        let reader = spawn(async move {
            for _ in 0..400 {
                served.read_exact(&mut [0; 1]).await.unwrap();
            }
        });
        reader.await.unwrap();
        assert!(Handle::current().metrics().total.budget_exhaustions >= 1);
    })
    .unwrap();
}

/// Keeps its thread busy until `over` says so.
fn hold(over: &mpsc::Receiver<()>) {
    let _ = over.recv();
}

#[test]
fn a_poll_over_the_limit_is_reported_when_it_is_over() {
    let (report, reports) = mpsc::channel();
    let runtime = Runtime::builder()
        .stall_limit(Duration::from_millis(30))
        .on_stall(move |stall| drop(report.send(stall.clone())))
        .build()
        .unwrap();
    runtime
        .block_on(async {
            spawn_named("quick", async {}).await.unwrap();
            let lazy = spawn_named("lazy", async { thread::sleep(Duration::from_millis(40)) });
            let id = lazy.id();
            lazy.await.unwrap();
            let stall = reports.try_recv().unwrap();
            assert_eq!((stall.task, stall.name.as_deref(), stall.worker), (id, Some("lazy"), 0));
            assert!(stall.is_over && stall.so_far >= Duration::from_millis(40), "{stall}");
            assert!(stall.spawned_at.unwrap().file().ends_with("runtime_dump.rs"));
            assert!(
                stall.to_string().contains(&format!("task {id} \"lazy\", spawned at tests/runtime_dump.rs:"))
            );
        })
        .unwrap();
    assert!(reports.try_recv().is_err(), "one report, and none of the quick task or of the root");
}

#[test]
fn the_watchdog_reports_a_poll_while_it_lasts_and_another_when_it_is_over() {
    let (report, reports) = mpsc::channel();
    let runtime = Runtime::builder()
        .workers(2)
        .watchdog(true)
        .stall_limit(Duration::from_millis(20))
        .on_stall(move |stall| drop(report.send(stall.clone())))
        .build()
        .unwrap();
    let release = stuck(&runtime);
    let live = reports.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!((live.name.as_deref(), live.worker, live.is_over), (Some("spinner"), 1, false));
    assert!(live.so_far > Duration::from_millis(20) && live.spawned_at.is_some(), "{live}");
    let Answer::Inside(inside) = &runtime.dump().workers[1].answer else { panic!("it is stuck") };
    assert!(inside.so_far >= live.so_far);
    drop(release);
    let over = reports.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!((over.task, over.is_over), (live.task, true));
    assert!(over.so_far >= live.so_far);
    let began = Instant::now();
    drop(runtime);
    assert!(began.elapsed() < Duration::from_secs(60), "the watchdog's pause does not hold up the end");
}

#[test]
fn a_report_that_panics_harms_neither_the_task_nor_the_worker() {
    let runtime = Runtime::builder()
        .stall_limit(Duration::from_millis(1))
        .on_stall(|_| panic!("expected"))
        .build()
        .unwrap();
    let lazy = async { spawn(async { thread::sleep(Duration::from_millis(5)) }).await };
    runtime.block_on(lazy).unwrap().unwrap();
}

#[test]
fn a_signal_makes_a_process_dump_also_while_its_worker_is_stuck() {
    let program = std::env::current_exe().unwrap();
    let mut child = Command::new(program)
        .args(["child_that_dumps_on_a_signal", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut dumped = BufReader::new(child.stderr.take().unwrap());
    let signal = format!("kill -USR1 {}", child.id());
    let signalled = || assert!(Command::new("sh").arg("-c").arg(&signal).status().unwrap().success());
    read_until(&mut said, "waiting");
    signalled();
    read_until(&mut dumped, "waits for the lock of row 7");
    child.stdin.take().unwrap().write_all(b"go on\n").unwrap();
    read_until(&mut said, "stuck");
    signalled();
    read_until(&mut dumped, "did not answer, is inside a poll of task #");
    child.kill().unwrap();
    child.wait().unwrap();
}

fn read_until(lines: &mut impl BufRead, text: &str) {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "the child ended before it said {text:?}");
    }
}

const CHILD: &str = "WAKERING_DUMP_TEST_CHILD";

#[test]
fn child_that_dumps_on_a_signal() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let runtime = Runtime::builder().workers(2).dump_on_signal().build().unwrap();
    let (_keep, over) = mpsc::channel::<()>();
    runtime
        .block_on(async {
            drop(spawn(waiting(|out| write!(out, "the lock of row 7"), pending::<()>())));
            settle().await;
            println!("\nwaiting");
            let told = wakering::spawn_blocking(|| io::stdin().read_line(&mut String::new()));
            told.unwrap().await.unwrap().unwrap();
            println!("\nstuck");
            hold(&over);
        })
        .unwrap();
}

#[test]
fn a_blocking_job_is_listed_with_its_place_and_who_waits_for_it() {
    wakering::run(async {
        let (release, released) = mpsc::channel::<()>();
        let waiter = spawn_named("waiter", async move {
            wakering::spawn_blocking(move || hold(&released)).unwrap().await.unwrap();
        });
        while !Handle::current().dump().jobs.iter().any(|job| job.runs) {
            yield_now().await;
        }
        let dump = Handle::current().dump();
        let [job] = &dump.jobs[..] else { panic!("{dump}") };
        assert!(job.spawned_at.file().ends_with("runtime_dump.rs") && job.runs, "{dump}");
        assert_eq!(job.awaited_by, Some(waiter.id()));
        assert_eq!(named(&dump, "waiter").waits, [Wait::Job { spawned_at: job.spawned_at, runs: true }]);
        assert!(dump.to_string().contains("waits for the blocking job spawned at "), "{dump}");
        drop(release);
        waiter.await.unwrap();
        assert!(Handle::current().dump().jobs.iter().all(|job| job.awaited_by.is_none()));
    })
    .unwrap();
}

#[test]
fn a_circle_of_joins_across_workers_is_found() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let handle = runtime.handle();
    runtime
        .block_on(async move {
            let (give, given) = mpsc::channel();
            let there = handle.spawn_on(1, move || async move {
                let here: wakering::RemoteJoinHandle<()> = given.recv().unwrap();
                here.await.unwrap();
            });
            let there = there.unwrap();
            let here = handle.spawn_on(0, move || async move { there.await.unwrap() }).unwrap();
            give.send(here).unwrap();
            let began = Instant::now();
            loop {
                let dump = handle.dump();
                if let [circle] = &dump.circles[..] {
                    let workers = circle.tasks.iter().map(|id| {
                        let holds = |worker: &&WorkerDump| worker.tasks.iter().any(|task| task.id == *id);
                        dump.workers.iter().find(holds).unwrap().index
                    });
                    let mut workers: Vec<usize> = workers.collect();
                    workers.sort_unstable();
                    assert_eq!(workers, [0, 1], "{dump}");
                    return;
                }
                assert!(began.elapsed() < Duration::from_secs(60), "{dump}");
                yield_now().await;
            }
        })
        .unwrap();
}

#[test]
fn a_request_says_for_whose_answer_it_waits_and_so_do_its_handler_and_its_servers_end() {
    wakering::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let handler = |_: Request<Body>| async {
            waiting(|out| write!(out, "a free table"), pending::<()>()).await;
            Response::new(Body::empty())
        };
        let server = Server::start(listener, handler).unwrap();
        let address = server.local_addr();
        let ends = server.handle();
        spawn_named("ends", async move { ends.closed().await.map(drop) });
        let mut connection = client::connect(address).await.unwrap();
        let request = Request::get(format!("http://{address}/menu?day=7")).body(Body::empty()).unwrap();
        spawn_named("asks", async move { connection.send(request).await.map(drop) });
        let said = format!("the answer to GET http://{address}/menu?day=7 from {address}");
        let has = |dump: &Dump, said: &str| {
            dump.tasks().flat_map(|task| &task.waits).any(|wait| *wait == Wait::Note(said.to_owned()))
        };
        let began = Instant::now();
        let dump = loop {
            let dump = Handle::current().dump();
            if has(&dump, &said) && has(&dump, "a free table") {
                break dump;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{said} in:\n{dump}");
            time::sleep(Duration::from_millis(1)).await;
        };
        assert!(named(&dump, "asks").waits.contains(&Wait::Note(said)), "{dump}");
        assert!(has(&dump, &format!("the end of the HTTP server on {address}")), "{dump}");
    })
    .unwrap();
}

#[test]
fn a_task_that_awaits_itself_gets_an_error_at_once() {
    wakering::run(async {
        let own: Rc<RefCell<Option<JoinHandle<bool>>>> = Rc::default();
        let theirs = own.clone();
        let (told, tells) = mpsc::channel();
        let task = spawn(async move {
            let itself = theirs.borrow_mut().take().unwrap();
            let error = itself.await.unwrap_err();
            told.send((error.waits_for_itself(), error.is_cancelled(), error.to_string())).unwrap();
            true
        });
        *own.borrow_mut() = Some(task);
        settle().await;
        let (waits_for_itself, is_cancelled, text) = tells.try_recv().unwrap();
        assert!(waits_for_itself && !is_cancelled && text.contains("waits for its own end"), "{text}");
    })
    .unwrap();
}
