//! The accept loop: its limit, its end, and a queue that several workers share.

#![expect(
    clippy::unwrap_used,
    reason = "tests may unwrap, and clippy takes only what is marked #[test] for one"
)]

#[path = "support/exact.rs"]
mod exact;
#[path = "support/net.rs"]
mod support;

use std::{
    cell::Cell,
    fs,
    future::{pending, ready},
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    rc::Rc,
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use support::{FOR_EVER, LOOPBACK, run, thread_cpu};
use wakering::{
    CancellationToken, Handle, Runtime,
    http::{Body, Request, Response, Server, client},
    net::{
        TcpListener, TcpStream,
        listen::{Share, Spread, WhenFull, listen},
    },
    spawn, time,
};

const MOMENT: Duration = Duration::from_millis(50);

fn connect(address: SocketAddr) -> StdStream {
    let stream = StdStream::connect(address).unwrap();
    stream.set_read_timeout(Some(FOR_EVER)).unwrap();
    stream
}

/// The one octet that a server says; `None` when it ends the connection without a word.
fn hear(mut client: &StdStream) -> Option<u8> {
    let mut octet = [0];
    match client.read(&mut octet) {
        Ok(1) => Some(octet[0]),
        Ok(_) => None,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
        Err(error) => panic!("{error}"),
    }
}

/// Says who it is, and waits for the peer's end.
async fn say(mut stream: TcpStream, who: u8) {
    drop(stream.write_all(&[who]).await);
    drop(stream.read(&mut [0]).await);
}

#[test]
fn everything_that_is_queued_when_the_stop_begins_is_served() {
    run(async {
        let listener = TcpListener::builder().backlog(1000).bind(LOOPBACK).unwrap();
        let address = listener.local_addr().unwrap();
        let clients: Vec<_> = (0..500).map(|_| connect(address)).collect();
        let served = listen(listener)
            .until(ready(()))
            .serve(|mut stream, _| async move { stream.write_all(b"y").await });
        let served = served.await.unwrap();
        assert_eq!((served.accepted, served.refused, served.aborted), (500, 0, 0));
        assert!(clients.iter().all(|client| hear(client) == Some(b'y')));
        let refused = StdStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "the port is closed");
    });
}

#[test]
fn what_is_queued_at_the_stop_waits_for_room_under_the_limit() {
    run(async {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let address = listener.local_addr().unwrap();
        let clients: Vec<_> = (0..20).map(|_| connect(address)).collect();
        let (now, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let counts = (now.clone(), most.clone());
        let served = listen(listener).limit(3).until(ready(())).serve(move |mut stream, _| {
            let (now, most) = counts.clone();
            async move {
                now.set(now.get() + 1);
                most.set(most.get().max(now.get()));
                time::sleep(Duration::from_millis(1)).await;
                stream.write_all(b"y").await.unwrap();
                now.set(now.get() - 1);
            }
        });
        assert_eq!(served.await.unwrap().accepted, 20);
        assert!(clients.iter().all(|client| hear(client) == Some(b'y')));
        assert_eq!((now.get(), most.get()), (0, 3));
    });
}

#[test]
fn connections_beyond_the_limit_wait_in_the_queue_and_take_the_place_of_those_that_end() {
    run(async {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let address = listener.local_addr().unwrap();
        let serving = spawn(listen(listener).limit(2).serve(|stream, _| say(stream, b'y')));
        let mut clients: Vec<_> = (0..6).map(|_| connect(address)).collect();
        let start = Instant::now();
        loop {
            let dump = Handle::current().dump().to_string();
            if dump.contains("one of 2 connections to end") {
                break;
            }
            assert!(start.elapsed() < FOR_EVER / 2, "{dump}");
            time::sleep(Duration::from_millis(1)).await;
        }
        clients.iter().for_each(|client| client.set_nonblocking(true).unwrap());
        while !clients.is_empty() {
            let places = clients.len().min(2);
            for mut served in &clients[..places] {
                let start = Instant::now();
                while served.read(&mut [0]).is_err() {
                    assert!(start.elapsed() < FOR_EVER / 2, "the first in the queue has no place");
                    time::sleep(Duration::from_millis(1)).await;
                }
            }
            time::sleep(MOMENT).await;
            let heard = clients[places..].iter().any(|mut it| it.read(&mut [0]).is_ok());
            assert!(!heard, "two at a time, in the order in which they came");
            clients.drain(..places);
        }
        serving.abort();
    });
}

#[test]
fn connections_beyond_the_limit_are_refused_where_the_policy_says_so() {
    run(async {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serving = listen(listener).limit(2).when_full(WhenFull::Refuse).until(stop.cancelled());
        let serving = spawn(serving.serve(|stream, _| say(stream, b'y')));
        let heard = wakering::spawn_blocking(move || {
            let clients: Vec<_> = (0..5).map(|_| connect(address)).collect();
            let heard = clients.iter().map(hear).filter(Option::is_some).count();
            drop(clients);
            heard
        });
        assert_eq!(heard.unwrap().await.unwrap(), 2);
        stop.cancel();
        let served = serving.await.unwrap().unwrap();
        assert_eq!((served.accepted, served.refused, served.aborted), (2, 3, 0));
    });
}

#[test]
fn what_goes_on_after_the_grace_is_aborted_and_reported() {
    run(async {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let address = listener.local_addr().unwrap();
        let clients: Vec<_> = (0..5).map(|_| connect(address)).collect();
        let start = Instant::now();
        let grace = Duration::from_millis(500);
        let listening = listen(listener).limit(3).until(ready(())).grace(grace);
        let served = listening.serve(|stream, _| say(stream, b'y')).await.unwrap();
        assert!(start.elapsed() >= grace && start.elapsed() < FOR_EVER / 2);
        // Two were never begun, for there was no room.
        assert_eq!((served.accepted, served.aborted), (3, 5));
        let heard = clients.iter().filter(|client| hear(client).is_some()).count();
        assert_eq!(heard, 3);
        assert!(clients.iter().all(|client| hear(client).is_none()), "all are closed");
    });
}

#[test]
fn a_loop_that_is_dropped_takes_its_connections_with_it() {
    run(async {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let address = listener.local_addr().unwrap();
        let serving = spawn(listen(listener).serve(|stream, _| say(stream, b'y')));
        let client = connect(address);
        let heard = wakering::spawn_blocking(move || (hear(&client), client));
        let (heard, client) = heard.unwrap().await.unwrap();
        assert_eq!(heard, Some(b'y'));
        serving.abort();
        assert!(serving.await.is_err());
        time::sleep(Duration::ZERO).await;
        assert_eq!(hear(&client), None);
    });
}

#[test]
fn a_panic_ends_one_connection_and_no_other() {
    run(async {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let address = listener.local_addr().unwrap();
        let clients: Vec<_> = (0..3).map(|_| connect(address)).collect();
        let mut number = 0;
        let served = listen(listener).until(ready(())).serve(move |stream, _| {
            number += 1;
            assert_ne!(number, 1, "on purpose, outside of the future");
            async move {
                assert_ne!(number, 2, "on purpose, inside of it");
                drop(say(stream, b'y'));
            }
        });
        let served = served.await.unwrap();
        assert_eq!((served.accepted, served.aborted), (2, 0));
        assert!(clients.iter().all(|client| hear(client).is_none()));
    });
}

/// Serves one share on each of two runtimes on threads of their own. The threads end with their loops.
fn serve_shares(
    shares: Vec<Share>,
    limits: [usize; 2],
    stop: &CancellationToken,
) -> Vec<thread::JoinHandle<u64>> {
    let mut threads = Vec::new();
    for (worker, share) in shares.into_iter().enumerate() {
        let (limit, stop) = (limits[worker], stop.clone());
        threads.push(thread::spawn(move || {
            let serving = async move {
                let listening =
                    listen(share.into_tcp().unwrap()).limit(limit).until(stop.cancelled()).grace(FOR_EVER);
                listening.serve(move |stream, _| say(stream, b'0' + worker as u8)).await.unwrap().accepted
            };
            wakering::run(serving).unwrap()
        }));
    }
    threads
}

#[test]
fn a_worker_at_its_limit_passes_a_shared_queue_on() {
    let listener = StdListener::bind(LOOPBACK).unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let threads = serve_shares(Share::of(listener, 2).unwrap(), [1, usize::MAX], &stop);
    let clients: Vec<_> = (0..50).map(|_| connect(address)).collect();
    let heard: Vec<_> = clients.iter().map(|client| hear(client).unwrap()).collect();
    assert!(heard.iter().filter(|who| **who == b'0').count() <= 1, "{heard:?}");
    drop(clients);
    stop.cancel();
    let accepted: Vec<_> = threads.into_iter().map(|it| it.join().unwrap()).collect();
    assert_eq!(accepted.iter().sum::<u64>(), 50, "{accepted:?}");
}

#[test]
fn all_workers_at_their_limit_rest_and_go_on_when_one_of_their_connections_ends() {
    let listener = StdListener::bind(LOOPBACK).unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let threads = serve_shares(Share::of(listener, 2).unwrap(), [2, 2], &stop);
    let mut clients: Vec<_> = (0..12).map(|_| connect(address)).collect();
    while !clients.is_empty() {
        // In the order in which they came, a place at a time.
        let first = clients.remove(0);
        assert!(hear(&first).is_some());
    }
    stop.cancel();
    assert_eq!(threads.into_iter().map(|it| it.join().unwrap()).sum::<u64>(), 12);
}

/// The listener is level-triggered: who is at its limit has to leave it.
#[test]
fn a_full_worker_of_a_shared_queue_does_not_spin_while_connections_wait() {
    run(async {
        let listener = StdListener::bind(LOOPBACK).unwrap();
        let address = listener.local_addr().unwrap();
        let mut shares = Share::of(listener, 1).unwrap();
        let listener = shares.remove(0).into_tcp().unwrap();
        let serving = spawn(listen(listener).limit(1).serve(|stream, _| say(stream, b'y')));
        time::sleep(MOMENT).await; // it waits in the selector
        let clients = [(); 3].map(|()| connect(address));
        time::sleep(MOMENT).await;
        let before = thread_cpu();
        time::sleep(Duration::from_millis(200)).await;
        if let (Some(before), Some(after)) = (before, thread_cpu()) {
            assert!(after - before < 20_000_000, "{} ns of CPU in 200 ms of rest", after - before);
        }
        for client in clients {
            let heard = wakering::spawn_blocking(move || hear(&client)).unwrap().await.unwrap();
            assert_eq!(heard, Some(b'y'));
        }
        serving.abort();
    });
}

/// The kernel wakes one worker for a connection, and that one goes away instead of accepting it.
#[test]
fn a_woken_worker_that_does_not_accept_passes_a_shared_queue_on() {
    for _ in 0..10 {
        let listener = StdListener::bind(LOOPBACK).unwrap();
        let address = listener.local_addr().unwrap();
        let mut shares = Share::of(listener, 2).unwrap();
        let (doomed, kept) = (shares.remove(0), shares.remove(0));
        // The first to register is the first to be woken.
        let (registers, registered) = mpsc::channel();
        let stop = CancellationToken::new();
        let over = stop.clone();
        let ends = thread::spawn(move || {
            wakering::run(async move {
                let listener = doomed.into_tcp().unwrap();
                let mut waiting = std::pin::pin!(listener.acceptable());
                assert!(support::poll_once(waiting.as_mut()).await.is_pending());
                registers.send(()).unwrap();
                // The other one may have been faster.
                drop(over.run_until_cancelled(waiting).await);
            })
            .unwrap();
        });
        registered.recv().unwrap();
        let threads = serve_shares(vec![kept], [usize::MAX; 2], &stop);
        thread::sleep(MOMENT / 5);
        let client = connect(address);
        assert_eq!(hear(&client), Some(b'0'));
        drop(client);
        stop.cancel();
        ends.join().unwrap();
        threads.into_iter().for_each(|it| assert!(it.join().unwrap() > 0));
    }
}

/// The same in the middle of a storm, at any place of the loop.
#[test]
fn no_connection_of_a_shared_queue_is_lost_when_the_woken_worker_ends() {
    for round in 0..20_u64 {
        let listener = StdListener::bind(LOOPBACK).unwrap();
        let address = listener.local_addr().unwrap();
        let mut shares = Share::of(listener, 2).unwrap();
        let (kept, doomed) = (shares.remove(0), shares.remove(0));
        let stop = CancellationToken::new();
        let threads = serve_shares(vec![kept], [usize::MAX; 2], &stop);
        let ends = thread::spawn(move || {
            let accepting = async move {
                let listener = doomed.into_tcp().unwrap();
                let serving = listen(listener).serve(|stream, _| say(stream, b'1'));
                // Its loop is dropped in the middle, and with it the connections that it has.
                time::timeout(Duration::from_micros(200 * round), serving).await.unwrap_err();
            };
            wakering::run(accepting).unwrap();
        });
        let clients: Vec<_> = (0..30).map(|_| connect(address)).collect();
        ends.join().unwrap();
        // Each was taken by one of the two, none is left behind in the queue: those are the ones that hear nothing.
        for client in &clients {
            let _ = hear(client);
        }
        assert_eq!(hear(&connect(address)), Some(b'0'));
        drop(clients);
        stop.cancel();
        threads.into_iter().for_each(|it| assert!(it.join().unwrap() > 0));
    }
}

/// Waits until all of these threads of ours sleep, which a worker with nothing to do does in its selector.
fn all_sleep(threads: &[PathBuf]) {
    let sleeps = |thread: &PathBuf| {
        let stat = fs::read_to_string(thread.join("stat")).unwrap();
        stat.rsplit_once(") ").is_some_and(|(_name, rest)| rest.starts_with('S'))
    };
    let start = Instant::now();
    while !threads.iter().all(sleeps) {
        assert!(start.elapsed() < FOR_EVER, "a worker is always busy");
        thread::sleep(Duration::from_millis(1));
    }
}

/// How often a thread has begun to sleep: once more each time it was woken.
fn sleeps(thread: &Path) -> u64 {
    let status = fs::read_to_string(thread.join("status")).unwrap();
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.unwrap().trim().parse().unwrap()
}

#[test]
fn a_connection_of_a_shared_queue_wakes_one_worker() {
    if exact::calls_may_fail() {
        return;
    }
    if !cfg!(target_os = "linux") || cfg!(wakering_fallback) {
        return; // elsewhere all of them look
    }
    let runtime = Runtime::builder().workers(4).build().unwrap();
    let (ready, begun) = mpsc::channel();
    let listener = StdListener::bind(LOOPBACK).unwrap();
    let address = listener.local_addr().unwrap();
    let woken = runtime.block_on(async {
        for (worker, share) in Share::of(listener, 4).unwrap().into_iter().enumerate() {
            let ready = ready.clone();
            let accept = move || async move {
                let listener = listen(share.into_tcp().unwrap());
                ready.send(Path::new("/proc").join(fs::read_link("/proc/thread-self").unwrap())).unwrap();
                listener.serve(|stream, _| say(stream, b'y')).await.unwrap();
            };
            let _detached = Handle::current().spawn_on(worker, accept).unwrap();
        }
        // From a thread of its own, so that all workers sleep when a connection comes.
        let clients = move || {
            let threads: Vec<_> = (0..4).map(|_| begun.recv_timeout(FOR_EVER).unwrap()).collect();
            let count = || threads.iter().map(|thread| sleeps(thread)).collect::<Vec<_>>();
            let one = |_| {
                all_sleep(&threads);
                let before = count();
                assert_eq!(hear(&connect(address)), Some(b'y'));
                all_sleep(&threads);
                before.into_iter().zip(count()).filter(|(before, after)| before < after).count()
            };
            (0..50).map(one).collect::<Vec<_>>()
        };
        wakering::spawn_blocking(clients).unwrap().await.unwrap()
    });
    // A herd is four workers for each of them. The kernel promises to wake one at least: there may be a second now and
    // then, when the first was about to fall asleep.
    let woken = woken.unwrap();
    let alone = woken.iter().filter(|workers| **workers == 1).count();
    assert!(alone > woken.len() / 2, "{woken:?} workers");
}

#[test]
fn a_worker_that_is_stuck_in_a_poll_holds_up_no_connection_of_a_shared_queue() {
    let listener = StdListener::bind(LOOPBACK).unwrap();
    let address = listener.local_addr().unwrap();
    let mut shares = Share::of(listener, 2).unwrap();
    let (free, slow) = (shares.remove(0), shares.remove(0));
    let stop = CancellationToken::new();
    let threads = serve_shares(vec![free], [usize::MAX; 2], &stop);
    let (begin, end) = (Arc::new(Barrier::new(2)), mpsc::channel::<()>());
    let (begun, (release, released)) = (begin.clone(), end);
    let stuck = thread::spawn(move || {
        let task = async move {
            let _accepting = spawn(listen(slow.into_tcp().unwrap()).serve(|stream, _| say(stream, b'1')));
            time::sleep(MOMENT).await; // it waits in the selector now
            begun.wait();
            let _ = released.recv_timeout(FOR_EVER);
        };
        wakering::run(task).unwrap();
    });
    begin.wait();
    let start = Instant::now();
    let clients: Vec<_> = (0..100).map(|_| connect(address)).collect();
    assert!(clients.iter().all(|client| hear(client) == Some(b'0')));
    assert!(start.elapsed() < FOR_EVER / 2);
    drop(release);
    stuck.join().unwrap();
    drop(clients);
    stop.cancel();
    threads.into_iter().for_each(|it| assert!(it.join().unwrap() > 0));
}

#[test]
fn queued_connections_of_a_listener_that_shares_its_port_are_served_before_it_closes() {
    run(async {
        let shares = TcpListener::builder().bind_each(LOOPBACK, 2, Spread::PerWorker).unwrap();
        let address = shares[0].local_addr().unwrap();
        let clients: Vec<_> = (0..64).map(|_| connect(address)).collect();
        let mut accepted = Vec::new();
        for (who, share) in shares.into_iter().enumerate() {
            let listening = listen(share.into_tcp().unwrap()).until(ready(()));
            let served =
                listening.serve(move |mut stream, _| async move { stream.write_all(&[who as u8]).await });
            accepted.push(served.await.unwrap().accepted);
        }
        assert!(clients.iter().all(|client| hear(client).is_some()));
        assert!(accepted[0] > 0 && accepted[1] > 0 && accepted[0] + accepted[1] == 64, "{accepted:?}");
    });
}

#[test]
fn connections_come_to_the_worker_of_their_cpu() {
    if exact::calls_may_fail() {
        return;
    }
    let cpus = thread::available_parallelism().unwrap().get();
    if !cfg!(target_os = "linux") || cpus < 2 {
        let shares = TcpListener::builder().bind_each(LOOPBACK, 2, Spread::ByCpu);
        assert!(cfg!(target_os = "linux") || shares.unwrap_err().kind() == ErrorKind::Unsupported);
        return;
    }
    run(async {
        let shares = TcpListener::builder().bind_each(LOOPBACK, 2, Spread::ByCpu).unwrap();
        let address = shares[0].local_addr().unwrap();
        let listeners: Vec<_> = shares.into_iter().map(|share| share.into_tcp().unwrap()).collect();
        for cpu in 0..2 {
            // Over loopback a packet is handled on the CPU that sends it.
            let client = thread::spawn(move || {
                wakering::internals::sys::pin_to_cpu(cpu)
                    .ok()
                    .map(|()| (0..20).map(|_| connect(address)).collect())
            });
            let Some(clients): Option<Vec<_>> = client.join().unwrap() else { return };
            let came = |listener: &TcpListener| (0..20).filter(|_| listener.try_accept().is_ok()).count();
            assert_eq!((came(&listeners[cpu]), came(&listeners[1 - cpu])), (clients.len(), 0));
        }
    });
}

#[test]
fn an_http_server_of_several_workers_may_share_one_queue() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    runtime
        .block_on(async {
            let builder = Server::builder().spread(Spread::Shared);
            let make = || |_: Request<Body>| async { Response::new(Body::from("hello")) };
            let server = builder.start_on_all(LOOPBACK.into(), make).unwrap();
            let uri = format!("http://{}/", server.local_addr());
            for _ in 0..20 {
                let mut connection = client::connect(server.local_addr()).await.unwrap();
                let response =
                    connection.send(Request::get(&uri).body(Body::empty()).unwrap()).await.unwrap();
                assert_eq!(response.into_body().collect(10).await.unwrap(), "hello");
            }
            assert_eq!(server.stop(FOR_EVER).await.aborted_connections, 0);
        })
        .unwrap();
}

#[test]
fn unix_listeners_are_served_and_shared_like_those_of_tcp() {
    let path = std::env::temp_dir().join(format!("wakering-listen-{}", std::process::id()));
    let connect = || UnixStream::connect(&path).unwrap();
    let hear = |mut client: UnixStream| {
        let mut octet = [0];
        client.read_exact(&mut octet).map(|()| octet[0])
    };
    let serve = |mut stream: wakering::net::UnixStream, _| async move { stream.write_all(b"y").await };
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let mut shares = Share::of(listener, 2).unwrap();
    let other = shares.remove(1);
    let first = shares.remove(0).into_unix();
    let clients = [(); 40].map(|()| connect());
    run(async {
        let served = listen(first.unwrap()).until(ready(())).serve(serve).await.unwrap();
        assert_eq!(served.accepted, 40);
    });
    assert!(clients.into_iter().all(|client| hear(client).is_ok_and(|heard| heard == b'y')));
    let late = connect();
    run(async {
        let listening =
            listen(other.into_unix().unwrap()).limit(1).when_full(WhenFull::Refuse).until(ready(()));
        assert_eq!(
            listening.serve(serve).await.unwrap().accepted,
            1,
            "the queue outlives one of its workers"
        );
    });
    assert_eq!(hear(late).unwrap(), b'y');
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn the_end_of_the_runtime_is_a_stop_for_every_accept_loop() {
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let addresses = runtime.block_on(async {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let first = listener.local_addr().unwrap();
        spawn(listen(listener).serve(|mut stream, _| async move {
            // It hears of the end and takes its leave.
            Handle::current().stopping().await;
            stream.write_all(b"y").await
        }));
        let handler = |_: Request<Body>| async { Response::new(Body::from("hello")) };
        let server = Server::start(TcpListener::bind(LOOPBACK).unwrap(), handler).unwrap();
        [first, server.local_addr()]
    });
    let addresses = addresses.unwrap();
    let clients = addresses.map(connect);
    let start = Instant::now();
    let report = runtime.shutdown(FOR_EVER).unwrap();
    assert!(start.elapsed() < FOR_EVER / 4, "{:?}", start.elapsed());
    assert!(report.aborted.is_empty(), "{report}");
    assert_eq!(hear(&clients[0]), Some(b'y'));
    for address in addresses {
        assert!(StdStream::connect(address).is_err());
    }
}

const INHERITED: &str = "WAKERING_TEST_INHERITED_LISTENER";

#[test]
fn a_listener_may_be_inherited() {
    if std::env::var_os(INHERITED).is_some() {
        return run(async {
            let inherited = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
            let listener = TcpListener::from_std(StdListener::from(inherited)).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            say(stream, b'y').await;
        });
    }
    let listener = StdListener::bind(LOOPBACK).unwrap();
    let address = listener.local_addr().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_listener_may_be_inherited"])
        .env(INHERITED, "1")
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let client = connect(address);
    assert_eq!(hear(&client), Some(b'y'));
    drop(client);
    assert!(child.wait().unwrap().success());
}

/// Nobody is left in the queue of a server that is stopped while clients go on connecting: each is served, or was refused.
#[test]
fn a_stop_under_load_loses_no_connection_that_was_queued_before_it() {
    run(async {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let connected = Arc::new(AtomicUsize::new(0));
        let counted = connected.clone();
        let clients = thread::spawn(move || {
            let mut clients = Vec::new();
            while let Ok(client) = StdStream::connect(address) {
                clients.push(client);
                counted.fetch_add(1, Ordering::SeqCst);
                if clients.len() >= 4000 {
                    break;
                }
            }
            clients
        });
        let serving = listen(listener)
            .until(stop.cancelled())
            .serve(|mut stream, _| async move { stream.write_all(b"y").await });
        let serving = spawn(serving);
        while connected.load(Ordering::SeqCst) < 1000 {
            time::sleep(Duration::from_micros(200)).await;
        }
        let before = connected.load(Ordering::SeqCst);
        stop.cancel();
        let served = serving.await.unwrap().unwrap();
        assert_eq!(served.aborted, 0);
        let clients = clients.join().unwrap();
        // Linux tells nobody whose handshake ended while the port was closed, before it says something.
        clients.iter().for_each(|mut client| drop(client.write(b"?")));
        clients.iter().for_each(|client| client.set_read_timeout(Some(FOR_EVER)).unwrap());
        let heard: Vec<_> = clients.iter().map(|client| hear(client).is_some()).collect();
        assert!(heard[..before].iter().all(|heard| *heard), "all that had connected before the stop");
        assert_eq!(heard.iter().filter(|heard| **heard).count() as u64, served.accepted);
    });
}

#[test]
fn without_a_stop_it_goes_on_until_it_is_dropped() {
    run(async {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let serving = listen(listener).until(pending::<()>()).serve(|_, _| async {});
        assert!(time::timeout(MOMENT, serving).await.is_err());
    });
}
