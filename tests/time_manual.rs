//! A clock that is moved by hand, and one that moves when everything waits.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    cell::RefCell,
    future::IntoFuture,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use wakering::{
    Handle, Runtime, Turn, spawn, spawn_blocking,
    time::{ManualClock, interval, now, sleep, sleep_until, timeout, timeout_at},
    yield_now,
};

const HOUR: Duration = Duration::from_secs(3600);

fn on(clock: &ManualClock, workers: usize) -> Runtime {
    Runtime::builder().workers(workers).manual_clock(clock).build().unwrap()
}

#[test]
fn an_hour_of_sleep_takes_no_time_and_the_clock_shows_it() {
    let (start, clock) = (Instant::now(), ManualClock::new());
    on(&clock, 1).block_on(async { sleep(HOUR).await }).unwrap();
    assert_eq!(clock.elapsed(), HOUR, "to the nanosecond");
    assert!(start.elapsed() < HOUR / 60);
}

#[test]
fn the_clock_stops_at_every_deadline_in_order() {
    let clock = ManualClock::new();
    let seen = Rc::new(RefCell::new(Vec::new()));
    on(&clock, 1)
        .block_on(async {
            let tasks = [30, 10, 20].map(|seconds| {
                let (seen, clock) = (seen.clone(), clock.clone());
                spawn(async move {
                    sleep(Duration::from_secs(seconds)).await;
                    seen.borrow_mut().push((seconds, clock.elapsed().as_secs()));
                })
            });
            for task in tasks {
                task.await.unwrap();
            }
        })
        .unwrap();
    assert_eq!(*seen.borrow(), [(10, 10), (20, 20), (30, 30)]);
}

#[test]
fn a_clock_that_stands_moves_only_when_it_is_told() {
    let clock = ManualClock::new();
    clock.auto_advance(false);
    on(&clock, 1)
        .block_on(async {
            let task = spawn(async { sleep(Duration::from_secs(10)).await });
            for _ in 0..100 {
                yield_now().await;
            }
            clock.advance(Duration::from_secs(9));
            for _ in 0..100 {
                yield_now().await;
            }
            assert!(!task.is_finished());
            clock.advance(Duration::from_secs(1));
            task.await.unwrap();
        })
        .unwrap();
    assert_eq!(clock.elapsed(), Duration::from_secs(10));
}

#[test]
fn another_thread_moves_the_clock_of_a_sleeping_runtime() {
    let clock = ManualClock::new();
    clock.auto_advance(false);
    let (moved, over) = (clock.clone(), Arc::new(AtomicBool::new(false)));
    let is_over = over.clone();
    let thread = thread::spawn(move || {
        // As often as it takes: some of it may pass before the sleep begins.
        while !is_over.load(Ordering::Relaxed) {
            thread::yield_now();
            moved.advance(Duration::from_secs(60));
        }
    });
    on(&clock, 1).block_on(async { sleep(HOUR).await }).unwrap();
    over.store(true, Ordering::Relaxed);
    thread.join().unwrap();
}

#[test]
fn a_worker_that_spins_lets_the_clock_move_all_the_same() {
    let clock = ManualClock::new();
    let spinning = Runtime::builder().spin(Duration::from_micros(50)).manual_clock(&clock).build().unwrap();
    spinning.block_on(sleep(HOUR)).unwrap();
    assert!(clock.elapsed() >= HOUR);
}

#[test]
fn turns_move_the_clock_whatever_they_are_told_to_wait() {
    for timeout in [Duration::ZERO, HOUR] {
        let clock = ManualClock::new();
        let runtime = on(&clock, 1);
        let task = runtime.handle().spawn_on(0, || async {
            for _ in 0..3 {
                sleep(HOUR).await;
            }
        });
        let task = task.unwrap();
        let mut turns = 0;
        while !task.is_finished() {
            turns += 1;
            assert!(turns < 1000, "the clock shows {:?}", clock.elapsed());
            if let Turn::Parked { until } = runtime.turn(timeout).unwrap() {
                assert!(
                    task.is_finished() || until.is_some_and(|until| until <= Instant::now()),
                    "{until:?}"
                );
            }
        }
        assert_eq!(clock.elapsed(), 3 * HOUR);
    }
}

#[test]
fn between_turns_a_clock_that_stands_is_moved_by_hand_and_rings() {
    let clock = ManualClock::new();
    clock.auto_advance(false);
    let runtime = on(&clock, 1);
    let task = runtime.handle().spawn_on(0, || sleep(HOUR)).unwrap();
    while runtime.turn(Duration::ZERO).unwrap() != (Turn::Parked { until: None }) {}
    assert!(!task.is_finished());
    let mover = thread::spawn(move || clock.advance(HOUR));
    while !task.is_finished() {
        // It ends when it is rung for.
        runtime.turn(Duration::from_secs(3600)).unwrap();
    }
    mover.join().unwrap();
}

#[test]
fn a_shutdown_without_a_bound_moves_no_clock() {
    let clock = ManualClock::new();
    let runtime = on(&clock, 1);
    let (told, heard) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (tells, hears) = (told.clone(), heard.clone());
    let token = wakering::CancellationToken::new();
    let waits = token.clone();
    let (ready, when_ready) = std::sync::mpsc::channel();
    let thread = thread::spawn(move || {
        when_ready.recv().unwrap();
        // The runtime has time to fall asleep; were it to move the clock, it would abort what waits for this.
        thread::sleep(Duration::from_millis(30));
        tells.store(true, Ordering::SeqCst);
        token.cancel();
    });
    runtime
        .block_on(async move {
            spawn(async move {
                waits.cancelled().await;
                hears.store(true, Ordering::SeqCst);
            });
            ready.send(()).unwrap();
            Handle::current().shutdown(Duration::MAX).await;
        })
        .unwrap();
    thread.join().unwrap();
    assert!(told.load(Ordering::SeqCst) && heard.load(Ordering::SeqCst), "the task was aborted");
    assert!(clock.elapsed() < HOUR, "{:?}", clock.elapsed());
}

#[test]
fn the_clock_moves_when_other_workers_have_ended() {
    let clock = ManualClock::new();
    let runtime = on(&clock, 2);
    let done = runtime.block_on(async {
        Handle::current().shutdown(Duration::from_secs(10)).await;
        sleep(Duration::from_millis(5)).await;
    });
    // Ended by its own hand or by the deadline: either way it comes back.
    drop(done);
}

#[test]
fn the_clock_waits_for_every_worker() {
    for _ in 0..20 {
        let clock = ManualClock::new();
        let runtime = on(&clock, 3);
        let order = runtime
            .block_on(async {
                let handle = Handle::current();
                let tasks = [3_u64, 1, 2].map(|at| {
                    let clock = clock.clone();
                    let task = handle.spawn_on(at as usize - 1, move || async move {
                        sleep(Duration::from_secs(at)).await;
                        let woken = clock.elapsed();
                        for _ in 0..50 {
                            yield_now().await;
                        }
                        // As long as anybody runs, time stands.
                        (woken, clock.elapsed())
                    });
                    (at, task.unwrap())
                });
                let mut order = Vec::new();
                for (at, task) in tasks {
                    order.push((at, task.await.unwrap()));
                }
                order
            })
            .unwrap();
        for (at, (woken, after)) in order {
            assert_eq!((woken, after), (Duration::from_secs(at), Duration::from_secs(at)));
        }
    }
}

#[test]
fn the_clock_waits_for_blocking_jobs() {
    let clock = ManualClock::new();
    on(&clock, 1)
        .block_on(async {
            let job = spawn_blocking(|| thread::sleep(Duration::from_millis(20))).unwrap();
            let joined = timeout(Duration::from_secs(5), job).await;
            assert!(joined.is_ok(), "20 real milliseconds are not 5 virtual seconds");
        })
        .unwrap();
    assert_eq!(clock.elapsed(), Duration::ZERO);
}

#[test]
fn descriptors_that_are_ready_come_before_time() {
    let clock = ManualClock::new();
    on(&clock, 1)
        .block_on(async {
            let listener = wakering::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let server = spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut byte = [0];
                stream.read_exact(&mut byte).await.unwrap();
                stream.write_all(&byte).await.unwrap();
            });
            let mut stream = wakering::net::TcpStream::connect(address).await.unwrap();
            for _ in 0..1 {
                stream.write_all(b"x").await.unwrap();
                let mut byte = [0];
                timeout(HOUR, stream.read_exact(&mut byte)).await.unwrap().unwrap();
            }
            server.await.unwrap();
        })
        .unwrap();
    // In a build with faults the system may be out of descriptors, and accepting waits for 50 ms to pass.
    let most = if wakering::internals::faults::ON { HOUR } else { Duration::ZERO };
    assert!(clock.elapsed() <= most, "{:?}", clock.elapsed());
}

#[test]
fn a_day_of_ticks_is_counted_exactly() {
    let clock = ManualClock::new();
    on(&clock, 1)
        .block_on(async {
            let mut ticks = interval(Duration::from_secs(60));
            for _ in 0..=1440 {
                ticks.tick().await;
            }
        })
        .unwrap();
    assert_eq!(clock.elapsed(), 24 * HOUR);
}

#[test]
fn a_shutdown_counts_its_grace_by_the_clock_of_the_runtime() {
    let (start, clock) = (Instant::now(), ManualClock::new());
    let report = on(&clock, 2)
        .block_on(async {
            spawn(async { sleep(HOUR).await });
            spawn(async { sleep(3 * HOUR).await });
            Handle::current().shutdown(2 * HOUR).await
        })
        .unwrap();
    assert_eq!(report.aborted.len(), 1);
    assert!(clock.elapsed() >= 2 * HOUR && start.elapsed() < HOUR);
}

#[test]
fn the_time_of_the_runtime_is_the_clocks_and_deadlines_are_counted_from_it() {
    let clock = ManualClock::new();
    let made = clock.instant();
    on(&clock, 1)
        .block_on(async {
            assert_eq!(now(), made);
            let deadline = now() + HOUR;
            sleep(HOUR / 2).await;
            assert_eq!(now() - made, HOUR / 2);
            sleep_until(deadline).await;
            assert_eq!((now(), clock.instant()), (deadline, deadline));
            // What is left of a deadline that several steps share.
            let limit = now() + HOUR;
            assert!(timeout_at(limit, sleep(HOUR / 2)).await.is_ok());
            assert!(timeout_at(limit, sleep(HOUR)).await.is_err());
            assert_eq!(now(), limit);
        })
        .unwrap();
    assert_eq!(clock.instant() - made, 2 * HOUR);
}

#[test]
fn outside_a_runtime_and_on_a_real_clock_it_is_the_systems_time() {
    let before = Instant::now();
    let outside = now();
    let inside = wakering::run(async { now() }).unwrap();
    assert!(before <= outside && outside <= inside && inside <= Instant::now());
}

#[test]
fn graces_and_limits_of_http_count_on_it_however_old_the_program_is() {
    use wakering::{
        http::{Body, Request, Response, Server, client::Client},
        net::TcpListener,
    };

    if wakering::internals::faults::ON {
        println!("SKIPPED: a call that fails on demand hides what has come, and the clock jumps over it");
        return;
    }
    let answer = |_: Request<Body>| async {
        sleep(Duration::from_secs(10)).await;
        Response::new(Body::from("late"))
    };
    on(&ManualClock::new(), 1)
        .block_on(async {
            sleep(HOUR).await;
            let server = Server::start(TcpListener::bind("127.0.0.1:0").unwrap(), answer).unwrap();
            let (client, url) = (Client::new(), format!("http://{}/", server.local_addr()));
            let get = |limit| client.get(url.as_str()).timeout(limit).into_future();
            assert!(get(Duration::from_secs(5)).await.is_err(), "too short");
            let response = spawn(get(Duration::from_secs(60)));
            sleep(Duration::from_secs(1)).await;
            let (before, stopped) = (now(), server.handle().shutdown(Duration::from_secs(30)).await);
            assert_eq!((stopped.aborted_handlers, now() - before), (0, Duration::from_secs(9)));
            let body = response.await.unwrap().unwrap().into_body();
            assert_eq!(body.collect(10).await.unwrap(), "late");
            client.shutdown().await;
        })
        .unwrap();
}

#[test]
fn an_answer_without_end_meets_its_limit_though_there_is_always_more_of_it() {
    use wakering::{
        http::{Body, BodyError, Request, Response, Server, client::Client},
        net::TcpListener,
    };

    const LIMIT: Duration = Duration::from_secs(5);

    if wakering::internals::faults::ON {
        println!("SKIPPED: a call that fails on demand hides what has come, and the clock jumps over it");
        return;
    }
    let answer = |_: Request<Body>| async {
        let (mut sender, body) = Body::channel();
        drop(spawn(async move { while sender.send(Bytes::from_static(&[0; 10_000])).await.is_ok() {} }));
        Response::new(body)
    };
    on(&ManualClock::new(), 1)
        .block_on(async {
            let server = Server::start(TcpListener::bind("127.0.0.1:0").unwrap(), answer).unwrap();
            let client = Client::new();
            let asked = client.get(format!("http://{}/", server.local_addr())).timeout(LIMIT);
            let (mut body, began) = (asked.await.unwrap().into_body(), now());
            let error = loop {
                match body.data().await.expect("it has no end") {
                    Ok(_) => sleep(LIMIT / 100).await,
                    Err(error) => break error,
                }
                assert!(now() - began < 2 * LIMIT);
            };
            assert!(matches!(error, BodyError::TimedOut { limit: LIMIT }), "{error}");
            client.shutdown().await;
        })
        .unwrap();
}
