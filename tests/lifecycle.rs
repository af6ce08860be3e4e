//! What hung, leaked or died in programs that were built on other loops: the second table of `docs/hard-bugs.md`, as far
//! as no other file has it.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "support/net.rs"]
mod net;
#[cfg(target_os = "linux")]
#[path = "support/seccomp.rs"]
mod seccomp;

use std::{
    cell::{Cell, RefCell},
    fs,
    future::{Future, pending, poll_fn},
    io::Read,
    net::{SocketAddr, TcpStream as StdStream},
    pin::{Pin, pin},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use net::{LOOPBACK, pair, pattern, poll_once, run};
use wakering::{
    Runtime,
    http::{Body, Request, Response, Server, ServerHandle, client},
    net::{TcpListener, UdpSocket},
    spawn,
    time::{sleep, timeout},
    yield_now,
};

/// The grace that nobody should need.
const LONG: Duration = Duration::from_secs(40);
/// What everything here ends well within, also on a machine with other things to do.
const PROMPT: Duration = Duration::from_secs(15);
const HOUR: Duration = Duration::from_secs(3600);

/// A server whose `/slow` takes 20 ms, and whose `/never` never ends.
fn start() -> Server {
    let handler = |request: Request<Body>| async move {
        match request.uri().path() {
            "/slow" => sleep(Duration::from_millis(20)).await,
            "/never" => pending().await,
            _ => {}
        }
        Response::new(Body::from("ok"))
    };
    Server::start(TcpListener::bind(LOOPBACK).unwrap(), handler).unwrap()
}

fn get(address: SocketAddr, path: &str) -> Request<Body> {
    Request::get(format!("http://{address}{path}")).body(Body::empty()).unwrap()
}

/// What one side may do to end it, or to wait for the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    ClientShutdown,
    ClientDrop,
    ServerShutdown,
    ServerClosed,
    OtherClientCloses,
}

impl Step {
    const ALL: [Step; 5] = [
        Step::ClientShutdown,
        Step::ClientDrop,
        Step::ServerShutdown,
        Step::ServerClosed,
        Step::OtherClientCloses,
    ];

    /// Begins the step, as far as what it ends is still there; the future ends with it.
    fn begin(self, server: &ServerHandle, clients: &mut Clients) -> Pin<Box<dyn Future<Output = ()>>> {
        match self {
            Step::ClientShutdown => match clients.asking.take() {
                Some(client) => Box::pin(client.shutdown()),
                None => Box::pin(async {}),
            },
            Step::ClientDrop => {
                clients.asking = None;
                Box::pin(async {})
            }
            Step::OtherClientCloses => {
                clients.silent = None;
                Box::pin(async {})
            }
            Step::ServerShutdown => {
                let shutdown = server.shutdown(LONG);
                Box::pin(async move {
                    shutdown.await;
                })
            }
            Step::ServerClosed => {
                let server = server.clone();
                Box::pin(async move {
                    server.closed().await.unwrap();
                })
            }
        }
    }
}

/// One that asks, and one that has never said a word.
struct Clients {
    asking: Option<client::SendRequest>,
    silent: Option<StdStream>,
}

/// Every order of all the elements.
fn orders<T: Copy>(of: &[T]) -> Vec<Vec<T>> {
    if of.is_empty() {
        return vec![Vec::new()];
    }
    let mut found = Vec::new();
    for first in 0..of.len() {
        let mut rest = of.to_vec();
        let head = rest.remove(first);
        found.extend(orders(&rest).into_iter().map(|tail| [vec![head], tail].concat()));
    }
    found
}

/// Row 1: two clients, one of them with a request under way; each end closes and waits in some order, and each step
/// begins while the ones before it still wait.
#[test]
fn clients_and_server_may_close_and_wait_in_every_order() {
    let begun = Instant::now();
    for order in orders(&Step::ALL) {
        for path in ["/", "/slow"] {
            run(async {
                let server = start();
                let (address, handle) = (server.local_addr(), server.handle());
                let mut asking = client::connect(address).await.unwrap();
                assert_eq!(asking.send(get(address, "/")).await.unwrap().status(), 200);
                let answer = spawn(asking.send(get(address, path)));
                let silent = StdStream::connect(address).ok();
                let mut clients = Clients { asking: Some(asking), silent };
                let steps: Vec<_> =
                    order.iter().map(|step| spawn(step.begin(&handle, &mut clients))).collect();
                for (step, task) in order.iter().zip(steps) {
                    let ended = timeout(PROMPT, task).await;
                    assert!(ended.is_ok(), "{step:?} of {order:?} hangs, with {path}");
                }
                drop(answer.await);
                assert_eq!(handle.closed().await.unwrap().aborted_connections, 0, "{order:?}");
            });
        }
    }
    println!("{} orders in {:?}", orders(&Step::ALL).len(), begun.elapsed());
}

/// Row 1: with idle clients of every kind the stop does not need its grace; with one that never ends it needs no more.
#[test]
fn a_stop_with_idle_clients_is_prompt_and_one_with_a_stuck_handler_ends_at_the_deadline() {
    run(async {
        let server = start();
        let address = server.local_addr();
        let mut used = client::connect(address).await.unwrap();
        assert_eq!(used.send(get(address, "/")).await.unwrap().status(), 200);
        let unused = client::connect(address).await.unwrap();
        let start_of_stop = Instant::now();
        let stopped = server.stop(LONG).await;
        assert_eq!((stopped.aborted_connections, stopped.aborted_handlers), (0, 0));
        assert!(start_of_stop.elapsed() < PROMPT);
        drop((used, unused));

        let server = start();
        let address = server.local_addr();
        let mut stuck = client::connect(address).await.unwrap();
        let answer = spawn(stuck.send(get(address, "/never")));
        let silent = StdStream::connect(address).unwrap();
        let accepted = timeout(PROMPT, async {
            while server.metrics().connections_open < 2 || server.metrics().handlers < 1 {
                sleep(Duration::from_millis(1)).await;
            }
        });
        assert!(accepted.await.is_ok(), "{:?}", server.metrics());
        let start_of_stop = Instant::now();
        let stopped = server.stop(Duration::from_millis(100)).await;
        assert_eq!((stopped.aborted_connections, stopped.aborted_handlers), (2, 1));
        let took = start_of_stop.elapsed();
        assert!(took >= Duration::from_millis(100) && took < PROMPT, "{took:?}");
        assert!(answer.await.unwrap().is_err());
        drop(silent);
    });
}

/// Row 78 of the first table: the longest deadline is no deadline, and no panic.
#[test]
fn a_shutdown_with_the_longest_deadline_waits_for_the_last_handler() {
    run(async {
        let server = start();
        let (address, handle) = (server.local_addr(), server.handle());
        let mut asking = client::connect(address).await.unwrap();
        let answer = spawn(asking.send(get(address, "/slow")));
        let begun = timeout(PROMPT, async {
            while server.metrics().handlers < 1 {
                sleep(Duration::from_millis(1)).await;
            }
        });
        assert!(begun.await.is_ok(), "{:?}", server.metrics());
        let from_thread = thread::spawn(move || handle.shutdown_blocking(Duration::MAX));
        assert_eq!(server.stop(Duration::MAX).await.aborted_connections, 0);
        assert_eq!(answer.await.unwrap().unwrap().status(), 200);
        from_thread.join().unwrap().unwrap();
    });
}

/// The same of a runtime, asked by another thread and by itself.
#[test]
fn a_runtimes_shutdown_with_the_longest_deadline_waits_for_its_last_task() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let handle = runtime.handle();
    let (begun, begin) = mpsc::channel::<()>();
    let from_thread = thread::spawn(move || {
        begin.recv().unwrap();
        handle.shutdown_blocking(Duration::MAX).unwrap()
    });
    let finished = Rc::new(Cell::new(false));
    let seen = finished.clone();
    let report = runtime.block_on(async move {
        drop(spawn(async move {
            begun.send(()).unwrap();
            sleep(Duration::from_millis(20)).await;
            seen.set(true);
        }));
        wakering::Handle::current().shutdown(Duration::MAX).await
    });
    assert!(report.unwrap().is_clean() && finished.get());
    drop(runtime);
    assert!(from_thread.join().unwrap().is_clean());
}

/// Row 5: the server goes away under its client a hundred times, each time another way.
#[test]
fn a_client_that_reconnects_a_hundred_times_recovers_and_keeps_no_socket() {
    if !net::in_child("a_client_that_reconnects_a_hundred_times_recovers_and_keeps_no_socket", "") {
        return;
    }
    let descriptors = || fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
    run(async {
        let client = client::Client::new();
        let mut address = LOOPBACK.0.into();
        let mut port = 0;
        let mut before = None;
        for round in 0..100 {
            let listener = TcpListener::bind((address, port)).unwrap();
            (address, port) = (listener.local_addr().unwrap().ip(), listener.local_addr().unwrap().port());
            let handler = |_: Request<Body>| async { Response::new(Body::from("ok")) };
            let server = Server::start(listener, handler).unwrap();
            for _ in 0..3 {
                let response = client.get(format!("http://{address}:{port}/")).await.unwrap();
                assert_eq!(response.into_body().collect(10).await.unwrap(), "ok", "round {round}");
            }
            // Told, or without a word.
            server.stop(if round % 2 == 0 { LONG } else { Duration::ZERO }).await;
            assert!(client.get(format!("http://{address}:{port}/")).await.is_err(), "nobody is there");
            sleep(Duration::from_millis(1)).await;
            if round == 10 {
                before = Some((descriptors(), client.connections()));
            }
        }
        let start = Instant::now();
        while before != Some((descriptors(), client.connections())) && start.elapsed() < PROMPT {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(before, Some((descriptors(), client.connections())));
        client.shutdown().await;
    });
}

/// Row 6: each read is given up again and again, at every byte; nothing of head or body is lost.
#[test]
fn reads_that_are_cancelled_between_head_and_body_lose_no_byte() {
    const SEED: u64 = 7;
    println!("seed {SEED}");
    run(async {
        let (mut sender, mut receiver) = pair().await;
        let messages: Vec<Vec<u8>> = (0..300).map(|n| pattern(SEED + n, (n as usize * 37) % 1_000)).collect();
        let expected = messages.clone();
        let sending = spawn(async move {
            for (number, body) in messages.iter().enumerate() {
                let head = u32::try_from(body.len()).unwrap().to_be_bytes();
                let whole = [&head[..], body].concat();
                for piece in whole.chunks(1 + number % 61) {
                    sender.write_all(piece).await.unwrap();
                    yield_now().await;
                }
            }
        });
        let (mut held, mut cancelled) = (Vec::new(), 0);
        for body in expected {
            for length in [4, body.len()] {
                while held.len() < length {
                    let mut buffer = [0; 128];
                    let room = buffer.len().min(length - held.len());
                    let outcome = poll_once(pin!(receiver.read(&mut buffer[..room]))).await;
                    match outcome {
                        Poll::Ready(read) => held.extend_from_slice(&buffer[..read.unwrap()]),
                        Poll::Pending => {
                            cancelled += 1;
                            yield_now().await;
                        }
                    }
                }
                if length == 4 && held.len() == 4 {
                    let head: [u8; 4] = held.as_slice().try_into().unwrap();
                    assert_eq!(u32::from_be_bytes(head) as usize, body.len());
                    held.clear();
                }
            }
            assert_eq!(held, body);
            held.clear();
        }
        sending.await.unwrap();
        assert!(cancelled > 300, "only {cancelled} reads were given up");
    });
}

/// Row 6, for content in HTTP: a frame that nobody waited for is there for the next who asks.
#[test]
fn waiting_for_content_may_be_given_up_at_any_time() {
    run(async {
        let whole = pattern(3, 200_000);
        let sent = whole.clone();
        let handler = move |_: Request<Body>| {
            let pieces = sent.clone();
            async move {
                let (mut sender, body) = Body::channel();
                drop(spawn(async move {
                    for piece in pieces.chunks(777) {
                        sender.send(piece.to_vec().into()).await.unwrap();
                        yield_now().await;
                    }
                    sender.finish();
                }));
                Response::new(body)
            }
        };
        let server = Server::start(TcpListener::bind(LOOPBACK).unwrap(), handler).unwrap();
        let mut asking = client::connect(server.local_addr()).await.unwrap();
        let mut body = asking.send(get(server.local_addr(), "/")).await.unwrap().into_body();
        let (mut got, mut cancelled) = (Vec::new(), 0);
        loop {
            let outcome = poll_once(pin!(body.data())).await;
            match outcome {
                Poll::Ready(Some(data)) => got.extend_from_slice(&data.unwrap()),
                Poll::Ready(None) => break,
                Poll::Pending => {
                    cancelled += 1;
                    yield_now().await;
                }
            }
        }
        assert!(got == whole && cancelled > 0, "{} octets, {cancelled} waits given up", got.len());
    });
}

/// The calling thread's number and how often it was put on a processor, where the system tells.
fn slices_of(thread: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?;
    text.split_whitespace().nth(2)?.parse().ok()
}

fn own_thread() -> Option<String> {
    let link = fs::read_link("/proc/thread-self").ok()?;
    Some(link.file_name()?.to_str()?.to_owned())
}

/// Row 8: everything waits, and for five seconds no worker is put on a processor even once. Who never runs makes no
/// system call. (`interop_process` asks `strace` the same of a server.)
#[test]
fn workers_with_timers_sockets_and_tasks_that_all_wait_do_not_run_at_all() {
    let (report, workers) = mpsc::channel();
    let (release, wait) = mpsc::channel::<std::task::Waker>();
    let idle = thread::spawn(move || {
        let runtime = Runtime::builder().workers(3).build().unwrap();
        let handle = runtime.handle();
        let still = Arc::new(AtomicUsize::new(0));
        for worker in 1..3 {
            let (report, still) = (report.clone(), still.clone());
            drop(handle.spawn_on(worker, move || async move {
                let listener = TcpListener::bind(LOOPBACK).unwrap();
                drop(spawn(async move { listener.accept().await.map(drop) }));
                let datagrams = UdpSocket::bind(LOOPBACK).unwrap();
                drop(spawn(async move { datagrams.recv(&mut [0; 8]).await.map(drop) }));
                drop(spawn(sleep(HOUR)));
                still.fetch_add(1, Ordering::Relaxed);
                report.send(own_thread()).unwrap();
                pending::<()>().await;
            }));
        }
        runtime
            .block_on(async move {
                let server = start();
                let mut asking = client::connect(server.local_addr()).await.unwrap();
                drop(asking.send(get(server.local_addr(), "/")).await.unwrap());
                let mut first = true;
                report.send(own_thread()).unwrap();
                poll_fn(move |context| {
                    if std::mem::take(&mut first) {
                        release.send(context.waker().clone()).unwrap();
                        return Poll::Pending;
                    }
                    Poll::Ready(())
                })
                .await;
                drop((server, asking));
            })
            .unwrap();
    });
    let threads: Vec<_> = workers.iter().take(3).collect();
    let waker = wait.recv().unwrap();
    let slices = || -> Vec<Option<u64>> { threads.iter().map(|it| slices_of(it.as_deref()?)).collect() };
    // What a connection gives up when it rests takes 250 ms, and PINGs that measure the trip are over soon, but on a
    // machine with other things to do nobody knows when: there is a rest in the end, and who ticks never has one.
    let mut ran = Vec::new();
    let rests = (0..8).any(|_| {
        let before = slices();
        thread::sleep(Duration::from_secs(5));
        ran = before.into_iter().zip(slices()).filter(|(before, after)| before != after).collect();
        ran.is_empty()
    });
    waker.wake();
    drop(idle.join());
    assert!(rests, "a worker ran although everything waited: {ran:?}");
}

/// Row 11, from the other end: what a runtime held is closed when it is dropped, and all of its peers see it at once.
#[test]
fn a_runtime_that_is_dropped_shows_a_hundred_of_a_hundred_peers_the_end() {
    let runtime = Runtime::new().unwrap();
    let mut peers = runtime
        .block_on(async {
            let listener = TcpListener::bind(LOOPBACK).unwrap();
            let address = listener.local_addr().unwrap();
            let mut peers = Vec::new();
            for _ in 0..100 {
                let peer = StdStream::connect(address).unwrap();
                let (mut stream, _) = listener.accept().await.unwrap();
                drop(spawn(async move { stream.read(&mut [0; 1]).await.map(drop) }));
                peers.push(peer);
            }
            yield_now().await;
            peers
        })
        .unwrap();
    drop(runtime);
    for peer in &mut peers {
        peer.set_read_timeout(Some(PROMPT)).unwrap();
        assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
    }
}

/// Row 12: who makes handlers may panic; the process goes on, and so does whoever waits for the server's end.
#[test]
fn a_factory_of_handlers_that_panics_harms_neither_the_process_nor_its_servers_end() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    runtime
        .block_on(async {
            let calls = Arc::new(AtomicUsize::new(0));
            let factory = move || {
                assert_ne!(calls.fetch_add(1, Ordering::Relaxed), 0, "the first call panics, on purpose");
                |_: Request<Body>| async { Response::new(Body::from("ok")) }
            };
            let server = Server::builder().start_on_all("127.0.0.1:0".parse().unwrap(), factory).unwrap();
            let address = server.local_addr();
            let mut answered = 0;
            while answered < 10 {
                // The worker whose factory has panicked closes its listener: who came to it tries again.
                let Ok(mut asking) = client::connect(address).await else { continue };
                answered += usize::from(asking.send(get(address, "/")).await.is_ok());
            }
            assert_eq!(server.stop(LONG).await.aborted_connections, 0);
        })
        .unwrap();
}

/// Row 14: a queue for each peer, and what to do when one is full is the sender's to say.
#[test]
fn one_peer_that_does_not_read_holds_up_no_other_of_a_broadcast() {
    const PEERS: usize = 10;
    const MESSAGES: usize = 2_000;
    run(async {
        let mut readers = Vec::new();
        let dropped = Rc::new(Cell::new(0_usize));
        let queues: Vec<Rc<RefCell<std::collections::VecDeque<Vec<u8>>>>> =
            (0..PEERS).map(|_| Rc::default()).collect();
        let mut writers = Vec::new();
        for queue in &queues {
            let (mut near, far) = pair().await;
            readers.push(far);
            let queue = queue.clone();
            writers.push(spawn(async move {
                loop {
                    let next = queue.borrow_mut().pop_front();
                    match next {
                        Some(message) if message.is_empty() => return,
                        Some(message) => near.write_all(&message).await.unwrap(),
                        None => yield_now().await,
                    }
                }
            }));
        }
        let slow = readers.remove(0);
        let quick: Vec<_> = readers
            .into_iter()
            .map(|mut reader| {
                spawn(async move {
                    let mut all = vec![0; MESSAGES * 1_000];
                    reader.read_exact(&mut all).await.unwrap();
                })
            })
            .collect();
        for number in 0..MESSAGES {
            for (peer, queue) in queues.iter().enumerate() {
                // The newest is dropped for who does not keep up; the others are waited for.
                while peer != 0 && queue.borrow().len() >= 16 {
                    yield_now().await;
                }
                if queue.borrow().len() < 16 {
                    queue.borrow_mut().push_back(vec![number as u8; 1_000]);
                } else {
                    dropped.set(dropped.get() + 1);
                }
            }
        }
        for reader in quick {
            timeout(PROMPT, reader).await.expect("the others are not held up").unwrap();
        }
        queues.iter().for_each(|queue| queue.borrow_mut().push_back(Vec::new()));
        drop(slow);
        writers.iter().for_each(wakering::JoinHandle::abort);
    });
}

/// Containers refuse what their filters do not know: everything newer than Linux 5.0, with either error.
#[cfg(target_os = "linux")]
#[test]
fn everything_works_where_calls_newer_than_linux_5_0_are_refused() {
    // From here on all architectures number calls alike. glibc starts threads by clone3, and knows only one refusal.
    const FIRST: libc::c_long = 424;
    const CLONE3: libc::c_long = 435;
    for (errno, spared) in [(libc::EPERM, Some(CLONE3)), (libc::ENOSYS, None)] {
        let works = thread::spawn(move || {
            // For this thread and those that it starts, which is all of the runtime.
            seccomp::refuse(FIRST..=10_000, spared, errno);
            let runtime = Runtime::builder().workers(2).build().unwrap();
            let handle = runtime.handle();
            runtime
                .block_on(async move {
                    for micros in [50, 300, 1_700] {
                        let start = Instant::now();
                        sleep(Duration::from_micros(micros)).await;
                        assert!(start.elapsed() >= Duration::from_micros(micros));
                    }
                    let server = start();
                    let mut asking = client::connect(server.local_addr()).await.unwrap();
                    assert_eq!(asking.send(get(server.local_addr(), "/slow")).await.unwrap().status(), 200);
                    let echo = handle.spawn_on(1, || async {
                        let (near, far) =
                            (UdpSocket::bind(LOOPBACK).unwrap(), UdpSocket::bind(LOOPBACK).unwrap());
                        near.send_to(b"x", far.local_addr().unwrap()).await.unwrap();
                        far.recv_from(&mut [0; 8]).await.unwrap().len
                    });
                    assert_eq!(echo.unwrap().await.unwrap(), 1);
                    assert_eq!(wakering::spawn_blocking(|| 7).unwrap().await.unwrap(), 7);
                    server.stop(LONG).await;
                })
                .unwrap();
        });
        works.join().unwrap();
    }
}
