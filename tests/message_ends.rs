//! How servers and nodes of messages end: whoever asks, whoever waits, from whatever thread.
#![cfg(all(feature = "message", not(loom)))]
#![expect(clippy::unwrap_used, reason = "a test ends at its first failure")]

use std::{
    cell::{Cell, OnceCell, RefCell},
    future::{Future, pending},
    net::Shutdown,
    rc::{Rc, Weak},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use wakering::{
    CancellationToken, Handle, Runtime,
    dump::Wait,
    message::{
        Builder, Client, Incoming, Kind, Late, Message, Peer, Reconnect, Remote, RequestError, Server,
        ServerHandle, Servers, Stopped, UdpNode,
    },
    net::{TcpConnector, TcpListener, TcpStream, UdpSocket},
    time::{ManualClock, sleep, timeout},
    yield_now,
};

const LONG: Duration = Duration::from_secs(60);
const GRACE: Duration = Duration::from_millis(200);

/// Runs a test on a clock that moves when everything waits: what comes over loopback is there before that.
fn run<F: Future>(test: F) -> F::Output {
    let builder = Runtime::builder();
    // A call that fails on demand may hide what has come, and such a clock would jump over it.
    let is_steady = !wakering::internals::faults::ON;
    let builder = if is_steady { builder.manual_clock(&ManualClock::new()) } else { builder };
    let runtime = builder.build().unwrap();
    runtime.block_on(async { timeout(10 * LONG, test).await.expect("it ends") }).unwrap()
}

/// Its "never" never ends; its "quit" awaits the end that `handle` brings, and says what was aborted.
fn builder(begun: &CancellationToken, handle: &Rc<OnceCell<ServerHandle>>) -> Builder {
    let (begun, quits, waits) = (begun.clone(), handle.clone(), handle.clone());
    Builder::new()
        .on((Kind::REQUEST_URI, "never"), move |_| {
            begun.cancel();
            pending()
        })
        .on((Kind::REQUEST_URI, "quit"), move |incoming: Incoming| {
            let handle = quits.get().unwrap().clone();
            async move {
                let stopped = handle.shutdown(GRACE).await;
                Some(incoming.answer(Kind::RESPOND_URI, stopped.aborted.to_string()))
            }
        })
        .on((Kind::REQUEST_URI, "closed"), move |incoming: Incoming| {
            let handle = waits.get().unwrap().clone();
            async move {
                let refused = handle.closed().await.is_err();
                Some(incoming.answer(Kind::RESPOND_URI, refused.to_string()))
            }
        })
}

struct House {
    server: Server,
    handle: ServerHandle,
    begun: CancellationToken,
}

impl House {
    fn start() -> House {
        let (begun, own) = (CancellationToken::new(), Rc::default());
        let server = builder(&begun, &own).serve(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
        let handle = server.handle();
        own.set(handle.clone()).unwrap();
        House { server, handle, begun }
    }

    async fn connect(&self) -> Remote {
        Builder::new().client().connect(self.server.local_addr()).await.unwrap().timeout(LONG)
    }
}

type Asked = wakering::JoinHandle<Result<Message, RequestError>>;

fn ask(remote: &Remote, uri: &'static str) -> Asked {
    let remote = remote.clone();
    wakering::spawn(async move { remote.request(Kind::REQUEST_URI, uri, "").await })
}

struct Pair {
    node: UdpNode,
    other: UdpNode,
    begun: CancellationToken,
}

impl Pair {
    fn start() -> Pair {
        let socket = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let (begun, own) = (CancellationToken::new(), Rc::default());
        let node = builder(&begun, &own).node(socket()).unwrap();
        own.set(node.handle()).unwrap();
        Pair { node, other: Builder::new().node(socket()).unwrap(), begun }
    }

    fn ask(&self, uri: &'static str) -> Asked {
        let peer = self.other.peer(self.node.local_addr()).timeout(LONG);
        wakering::spawn(async move { peer.request(Kind::REQUEST_URI, uri, "").await })
    }
}

fn one_late(stopped: Stopped) {
    assert_eq!(stopped.aborted, 1, "{stopped:?}");
}

#[test]
fn who_has_ended_its_side_is_answered_for_as_long_as_the_server_is_patient() {
    if wakering::internals::faults::ON {
        return; // The clock does not move by itself then.
    }
    run(async {
        for (patience, is_answered) in [(None, false), (Some(LONG), true)] {
            let slow = |incoming: Incoming| async move {
                sleep(LONG / 2).await;
                Some(incoming.answer(Kind::RESPOND_URI, "late"))
            };
            let mut builder = Builder::new().on(Kind::REQUEST_URI, slow);
            if let Some(patience) = patience {
                builder = builder.half_closed(patience);
            }
            let server = builder.serve(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
            let mut peer = TcpStream::connect(server.local_addr()).await.unwrap();
            let mut frame = Vec::new();
            Message::new(Kind::REQUEST_URI, "the uri", "x").encode(&mut frame).unwrap();
            peer.write_all(&frame).await.unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
            let mut answer = bytes::BytesMut::new();
            while peer.read_buf(&mut answer).await.unwrap() > 0 {}
            assert_eq!(!answer.is_empty(), is_answered, "{answer:?}");
        }
    });
}

#[test]
fn a_server_ends_within_its_grace_though_nobody_awaits_the_shutdown() {
    run(async {
        let house = House::start();
        let asked = ask(&house.connect().await, "never");
        house.begun.cancelled().await;
        // Given up while the handler is at work.
        assert!(timeout(GRACE / 4, house.server.shutdown(GRACE)).await.is_err());
        one_late(house.server.closed().await.unwrap());
        assert!(asked.await.unwrap().unwrap_err().is_closed());
        one_late(house.server.shutdown(LONG).await);
    });
}

#[test]
fn a_node_ends_within_its_grace_though_nobody_awaits_the_shutdown() {
    run(async {
        let pair = Pair::start();
        let asked = pair.ask("never");
        pair.begun.cancelled().await;
        assert!(timeout(GRACE / 4, pair.node.shutdown(GRACE)).await.is_err());
        one_late(pair.node.closed().await.unwrap());
        asked.abort();
    });
}

#[test]
fn the_shortest_grace_counts_whoever_says_it_and_when() {
    let clock = ManualClock::new();
    let runtime = Runtime::builder().manual_clock(&clock).build().unwrap();
    let test = async {
        let house = House::start();
        let _asked = ask(&house.connect().await, "never");
        house.begun.cancelled().await;
        let began = clock.elapsed();
        drop(house.handle.shutdown(LONG));
        drop(house.handle.shutdown(Duration::MAX));
        sleep(GRACE).await;
        drop(house.handle.shutdown(GRACE));
        drop(house.handle.shutdown(2 * GRACE));
        one_late(house.handle.closed().await.unwrap());
        assert_eq!(clock.elapsed() - began, 2 * GRACE);
    };
    runtime.block_on(test).unwrap();
}

#[test]
fn a_handler_that_awaits_the_shutdown_is_told_what_was_aborted_and_its_answer_goes_out() {
    run(async {
        let house = House::start();
        let remotes = [house.connect().await, house.connect().await];
        let never = ask(&remotes[0], "never");
        house.begun.cancelled().await;
        assert_eq!(ask(&remotes[1], "quit").await.unwrap().unwrap().content, "1");
        assert!(never.await.unwrap().unwrap_err().is_closed());
        one_late(house.handle.closed().await.unwrap());
    });
}

#[test]
fn so_it_is_when_both_came_by_one_connection() {
    run(async {
        let house = House::start();
        let remote = house.connect().await;
        let never = ask(&remote, "never");
        house.begun.cancelled().await;
        assert_eq!(ask(&remote, "quit").await.unwrap().unwrap().content, "1");
        assert!(never.await.unwrap().unwrap_err().is_closed());
        one_late(house.handle.closed().await.unwrap());
    });
}

#[test]
fn a_handler_of_a_node_that_awaits_the_shutdown_is_told_what_was_aborted_and_its_answer_goes_out() {
    run(async {
        let pair = Pair::start();
        let never = pair.ask("never");
        pair.begun.cancelled().await;
        assert_eq!(pair.ask("quit").await.unwrap().unwrap().content, "1");
        one_late(pair.node.closed().await.unwrap());
        never.abort();
    });
}

#[test]
fn two_handlers_may_await_the_shutdown_and_are_told_the_same() {
    run(async {
        let house = House::start();
        let remotes = [house.connect().await, house.connect().await, house.connect().await];
        let never = ask(&remotes[0], "never");
        house.begun.cancelled().await;
        let quits = [ask(&remotes[1], "quit"), ask(&remotes[2], "quit")];
        let mut told = 0;
        for quit in quits {
            // The second may come when the server takes no more.
            told += usize::from(quit.await.unwrap().is_ok_and(|answer| answer.content == "1"));
        }
        assert!(told >= 1);
        one_late(house.handle.closed().await.unwrap());
        never.abort();
    });
}

#[test]
fn a_handler_that_waits_for_what_never_comes_is_told_so_by_the_handle() {
    run(async {
        let house = House::start();
        assert_eq!(ask(&house.connect().await, "closed").await.unwrap().unwrap().content, "true");
        let pair = Pair::start();
        assert_eq!(pair.ask("closed").await.unwrap().unwrap().content, "true");
    });
}

#[test]
fn a_handler_that_ends_a_server_of_several_workers_is_told_what_was_aborted_on_all_of_them() {
    if wakering::internals::faults::ON {
        println!("SKIPPED: who rests after a call that fails on demand waits for a clock that stands");
        return;
    }
    // It stands: what workers send each other over sockets is not known to it.
    let clock = ManualClock::new();
    clock.auto_advance(false);
    let runtime = Runtime::builder().workers(2).manual_clock(&clock).build().unwrap();
    let test = async {
        let begun = CancellationToken::new();
        let tells = begun.clone();
        let servers = Servers::start_on_all("127.0.0.1:0".parse().unwrap(), move |servers| {
            let (servers, begun) = (servers.clone(), tells.clone());
            builder(&begun, &Rc::default()).on((Kind::REQUEST_URI, "quit"), move |incoming: Incoming| {
                let servers = servers.clone();
                async move {
                    let stopped = servers.shutdown(GRACE).await;
                    Some(incoming.answer(Kind::RESPOND_URI, stopped.aborted.to_string()))
                }
            })
        });
        let servers = servers.unwrap();
        let connect =
            || async { Builder::new().client().connect(servers.local_addr()).await.unwrap().timeout(LONG) };
        let (first, second) = (connect().await, connect().await);
        let never = ask(&first, "never");
        begun.cancelled().await;
        let quit = ask(&second, "quit");
        until_all_are_told(&servers).await;
        clock.advance(GRACE);
        assert_eq!(quit.await.unwrap().unwrap().content, "1");
        let lost = never.await.unwrap();
        assert!(lost.as_ref().is_err_and(RequestError::is_closed), "{lost:?}");
        one_late(servers.closed().await.unwrap());
        assert!(servers.dump().tasks().any(|task| task.is_root));
    };
    runtime.block_on(test).unwrap();
}

/// Until the server has ended on a worker, or the grace runs there.
async fn until_all_are_told(servers: &Servers) {
    loop {
        let dump = servers.dump();
        let count = |file: &str, waits: &dyn Fn(&Wait) -> bool| {
            let of_file = dump.tasks().filter(|task| task.spawned_at.file().ends_with(file));
            of_file.filter(|task| task.waits.iter().any(waits)).count()
        };
        let graces = count("message/ending.rs", &|wait| matches!(wait, Wait::Timer { .. }));
        let parts = count("message_ends.rs", &|wait| format!("{wait:?}").contains("server of messages"));
        if graces > 0 && graces == parts {
            return;
        }
        yield_now().await;
    }
}

/// On the system's clock: another thread waits, which no clock of ours knows of.
#[test]
fn another_thread_ends_a_server_and_a_node_and_waits_for_that() {
    wakering::run(async {
        let (house, pair) = (House::start(), Pair::start());
        let handles = [house.handle.clone(), pair.node.handle()];
        let ending = thread::spawn(move || handles.map(|handle| handle.shutdown_blocking(LONG)));
        let told = timeout(LONG, async {
            house.handle.stopping().await;
            pair.node.handle().stopping().await;
            (house.handle.closed().await, pair.node.closed().await)
        });
        let (server, node) = told.await.unwrap();
        let blocked = ending.join().unwrap().map(Result::unwrap);
        assert_eq!(blocked, [server.unwrap(), node.unwrap()]);
    })
    .unwrap();
}

#[test]
fn a_thread_that_waits_is_told_of_a_worker_that_does_not_end() {
    wakering::run(async {
        let house = House::start();
        let handle = house.handle.clone();
        // Inside a poll that does not return, which is what must not be done.
        let stuck = thread::spawn(move || handle.shutdown_blocking(Duration::from_millis(1))).join().unwrap();
        assert_eq!(stuck.unwrap_err().workers, [0]);
        house.handle.closed().await.unwrap();
    })
    .unwrap();
}

#[test]
fn a_task_of_another_worker_ends_a_server_and_waits_for_that() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    runtime
        .block_on(async {
            let house = House::start();
            let handle = house.handle.clone();
            let ends = Handle::current().spawn_on(1, move || async move {
                let stopped = handle.shutdown(LONG).await;
                (stopped, handle.closed().await)
            });
            let (stopped, closed) = timeout(LONG, ends.unwrap()).await.unwrap().unwrap();
            assert_eq!(closed, Ok(stopped));
            assert_eq!(house.server.closed().await, Ok(stopped));
        })
        .unwrap();
}

#[test]
fn who_waits_is_told_when_the_runtime_ends_first() {
    let runtime = Runtime::new().unwrap();
    let handle = runtime.block_on(async { House::start().handle }).unwrap();
    let (sender, receiver) = mpsc::channel();
    let waits = handle.clone();
    let other = thread::spawn(move || {
        wakering::run(async {
            sender.send(()).unwrap();
            waits.closed().await
        })
    });
    receiver.recv().unwrap();
    drop(runtime);
    other.join().unwrap().unwrap().unwrap();
    handle.shutdown_blocking(Duration::ZERO).unwrap();
}

#[test]
fn every_handle_lists_what_the_tasks_wait_for() {
    wakering::run(async {
        let (house, pair) = (House::start(), Pair::start());
        let never = ask(&house.connect().await, "never");
        house.begun.cancelled().await;
        let handle = house.handle.clone();
        let elsewhere = wakering::spawn_blocking(move || handle.dump()).unwrap().await.unwrap();
        for dump in [house.server.dump(), pair.node.dump(), pair.node.handle().dump(), elsewhere] {
            assert!(dump.tasks().any(|task| task.is_root));
            let wanted = format!("the answer to REQUEST_URI never from {}", house.server.local_addr());
            assert!(dump.to_string().contains(&wanted), "{dump}");
        }
        never.abort();
    })
    .unwrap();
}

// What is left.

/// What handlers may hold: whose they are, and whom they have met.
#[derive(Default)]
struct Held {
    server: OnceCell<Server>,
    node: OnceCell<UdpNode>,
    client: OnceCell<(Client, Remote)>,
    met: RefCell<Vec<Peer>>,
    late: RefCell<Vec<Late>>,
}

/// Its handlers hold it all.
fn holding(held: &Rc<Held>) -> Builder {
    let [of_requests, of_once, of_rest, of_late, of_peers] = [(); 5].map(|()| held.clone());
    Builder::new()
        .on(Kind::REQUEST_URI, move |incoming: Incoming| {
            of_requests.met.borrow_mut().push(incoming.peer.clone());
            async move { Some(incoming.answer(Kind::RESPOND_URI, "")) }
        })
        .once(Kind::UPDATE_URI, move |_| {
            let held = of_once.clone();
            async move {
                pending::<()>().await;
                drop(held);
                None
            }
        })
        .otherwise(move |_| {
            let held = of_rest.clone();
            async move {
                pending::<()>().await;
                drop(held);
                None
            }
        })
        .on_timeout(move |late| {
            of_late.late.borrow_mut().push(late);
            pending()
        })
        .on_peer(move |_| of_peers.late.borrow_mut().clear())
}

/// A server, a node and a client, with what their handlers hold: each has met somebody, and been late.
async fn all_holding() -> (Server, UdpNode, Client, [Rc<Held>; 3]) {
    let all: [Rc<Held>; 3] = Default::default();
    let [of_server, of_node, of_client] = &all;
    let server = holding(of_server).serve(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
    let node = holding(of_node).node(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
    let client = holding(of_client).client();
    let remote = client.connect(server.local_addr()).await.unwrap().timeout(GRACE);
    let other =
        Builder::new().otherwise(|_| pending()).node(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
    let asks = Kind::REQUEST_URI;
    assert!(remote.request(asks, "", "").await.is_ok());
    assert!(other.peer(node.local_addr()).request(asks, "", "").await.is_ok());
    assert!(remote.request(Kind::DELETE_URI, "", "").await.unwrap_err().is_timeout());
    assert!(
        node.peer(other.local_addr()).timeout(GRACE).request(asks, "", "").await.unwrap_err().is_timeout()
    );
    assert!(!of_server.met.borrow().is_empty() && !of_node.met.borrow().is_empty());
    assert!(!of_client.late.borrow().is_empty() && !of_node.late.borrow().is_empty());
    assert!(of_server.server.set(server.clone()).is_ok() && of_node.node.set(node.clone()).is_ok());
    assert!(of_client.client.set((client.clone(), remote)).is_ok());
    (server, node, client, all)
}

#[test]
fn what_handlers_hold_goes_when_their_server_node_or_client_has_ended_and_be_it_that_itself() {
    run(async {
        let (server, node, client, all) = all_holding().await;
        let left = all.map(|held| Rc::downgrade(&held));
        client.close().await;
        node.shutdown(GRACE).await;
        server.shutdown(GRACE).await;
        // Whoever comes too late is not kept, either.
        let (late, token) = (client.clone(), Rc::new(()));
        let (of_late, of_requests) = (token.clone(), token.clone());
        client.on_timeout(move |_| {
            let held = (late.clone(), of_late.clone());
            async move { drop(held) }
        });
        server.on(Kind::REQUEST_URI, move |_| {
            let held = of_requests.clone();
            async move {
                drop(held);
                None
            }
        });
        assert_eq!(Rc::strong_count(&token), 1);
        drop((client, node, server));
        assert!(left.iter().all(|held| held.upgrade().is_none()));
    });
}

#[test]
fn what_handlers_hold_goes_with_the_runtime_of_their_server_or_node() {
    let left: [Weak<Held>; 3] = run(async {
        let (_server, _node, client, all) = all_holding().await;
        // It has no task of its own that would end.
        client.close().await;
        all.map(|held| Rc::downgrade(&held))
    });
    assert!(left.iter().all(|held| held.upgrade().is_none()));
}

/// On a clock that stands: whether it comes true in real time, while what the kernel has for us is looked at.
async fn comes_true(mut condition: impl FnMut() -> bool, patience: Duration) -> bool {
    let begun = Instant::now();
    while !condition() && begun.elapsed() < patience {
        yield_now().await;
    }
    condition()
}

/// The clock stands but for the 20 s that it is told whenever the peer has taken something and the server has written on. Left to
/// itself, the system has the server wait until a third of the send buffer is free, a megabyte.
#[test]
fn a_subscriber_that_takes_a_little_all_the_time_is_not_cut_off() {
    if wakering::internals::faults::ON {
        return;
    }
    let clock = ManualClock::new();
    clock.auto_advance(false);
    let test = async {
        let server = Builder::new().serve(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
        let connector = TcpConnector::new().recv_buffer_size(64 * 1024);
        let mut slow = connector.connect(server.local_addr()).await.unwrap();
        assert!(comes_true(|| server.connections() == 1, LONG).await);
        let peer = server.peers().remove(0);
        let is_taken = || peer.send(Message::new(Kind::NOTIFY_URI, "news", vec![1; 50_000])).is_ok();
        // Until neither the queue takes more nor the system.
        while comes_true(is_taken, Duration::from_millis(100)).await {}
        let mut taken = vec![0; 512 * 1024];
        for _ in 0..6 {
            slow.read_exact(&mut taken).await.unwrap();
            assert!(comes_true(is_taken, LONG).await, "the server does not write on");
            while is_taken() {}
            clock.advance(Duration::from_secs(20));
            // The timers of that time have been seen to.
            sleep(Duration::ZERO).await;
            yield_now().await;
        }
        assert_eq!(server.connections(), 1, "it was cut off");
    };
    Runtime::builder().manual_clock(&clock).build().unwrap().block_on(test).unwrap();
}

#[test]
fn a_connection_that_has_lasted_longer_than_its_pause_is_made_again_at_once() {
    if wakering::internals::faults::ON {
        return;
    }
    let clock = ManualClock::new();
    clock.auto_advance(false);
    let test = async {
        let server = Builder::new()
            .on((Kind::REQUEST_URI, "a"), |incoming: Incoming| async move {
                Some(incoming.answer(Kind::RESPOND_URI, ""))
            })
            .serve(TcpListener::bind("127.0.0.1:0").unwrap())
            .unwrap();
        let mut policy = Reconnect::default();
        (policy.least_pause, policy.most_pause) = (LONG, LONG);
        let remote = Builder::new().reconnect(policy).client().remote(server.local_addr());
        for _ in 0..3 {
            let asking = remote.clone();
            let asked = wakering::spawn(async move { asking.request(Kind::REQUEST_URI, "a", "").await });
            assert!(comes_true(|| asked.is_finished(), LONG).await, "it waits for a clock that stands");
            asked.await.unwrap().unwrap();
            clock.advance(LONG);
            server.peers().remove(0).disconnect();
            assert!(comes_true(|| remote.peer().is_none(), LONG).await);
        }
    };
    Runtime::builder().manual_clock(&clock).build().unwrap().block_on(test).unwrap();
}

#[test]
fn who_waits_elsewhere_is_told_of_the_end_with_a_thread_whose_local_the_runtime_is() {
    thread_local! {
        static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() };
    }
    let (sends, handles) = mpsc::channel();
    let (leave, left) = mpsc::channel::<()>();
    let host = thread::spawn(move || {
        // Before anything that the library keeps for the thread.
        RUNTIME.with(|runtime| {
            let runtime = runtime.get_or_init(|| Runtime::new().unwrap());
            let start =
                async { Builder::new().serve(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap().handle() };
            sends.send(runtime.block_on(start).unwrap()).unwrap();
        });
        let _ = left.recv();
    });
    let handle: ServerHandle = handles.recv().unwrap();
    drop(leave);
    let waited = wakering::run(async { timeout(LONG, handle.closed()).await });
    assert!(waited.unwrap().expect("it ends").is_ok());
    host.join().unwrap();
}

/// The peer answers once on each connection, and closes it. The clock stands, so that each of them ends as soon as it was made.
#[test]
fn connections_that_end_right_behind_a_word_are_made_again_with_pauses_that_double() {
    if wakering::internals::faults::ON {
        return;
    }
    let clock = ManualClock::new();
    clock.auto_advance(false);
    let test = async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, accepted) = (listener.local_addr().unwrap(), Rc::new(Cell::new(0)));
        let counts = accepted.clone();
        wakering::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                counts.set(counts.get() + 1);
                stream.read_with(|_| {}).await.unwrap();
                let answer = Message::new(Kind::RESPOND_URI, "a", "").to_octets().unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        });
        let mut policy = Reconnect::default();
        (policy.least_pause, policy.most_pause) = (LONG, 100 * LONG);
        let remote = Builder::new().reconnect(policy).client().remote(address).timeout(1000 * LONG);
        for number in 1..=5 {
            let asking = remote.clone();
            let asked = wakering::spawn(async move { asking.request(Kind::REQUEST_URI, "a", "").await });
            if number > 1 {
                // A pause has between three quarters of its length and all of it.
                let pause = LONG * (1 << (number - 2));
                let is_made = || accepted.get() == number;
                assert!(!comes_true(is_made, Duration::from_millis(10)).await, "at once");
                clock.advance(pause * 3 / 4 - Duration::from_millis(1));
                assert!(!comes_true(is_made, Duration::from_millis(10)).await, "sooner than after {pause:?}");
                clock.advance(pause / 4 + Duration::from_millis(1));
            }
            assert!(comes_true(|| asked.is_finished(), LONG).await, "the pause is over");
            asked.await.unwrap().unwrap();
            remote.ended().await;
        }
    };
    Runtime::builder().manual_clock(&clock).build().unwrap().block_on(test).unwrap();
}

/// Neither of them waits for itself, and yet neither ever ends.
#[test]
fn a_handler_that_joins_who_waits_for_its_servers_end_is_found_as_a_circle() {
    run(async {
        let own: Rc<OnceCell<ServerHandle>> = Rc::default();
        let handle = own.clone();
        let builder = Builder::new().on((Kind::REQUEST_URI, "joins"), move |incoming: Incoming| {
            let server = handle.get().unwrap().clone();
            async move {
                let waits = wakering::spawn_named("waits", async move { server.closed().await.map(drop) });
                waits.await.unwrap().unwrap();
                Some(incoming.answer(Kind::RESPOND_URI, ""))
            }
        });
        let server = builder.serve(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
        assert!(own.set(server.handle()).is_ok());
        let remote = Builder::new().client().connect(server.local_addr()).await.unwrap();
        let asks = ask(&remote, "joins");
        let (tasks, dump) = loop {
            let dump = server.dump();
            if let [circle] = &dump.circles[..] {
                break (circle.tasks.clone(), dump);
            }
            yield_now().await;
        };
        let found: Vec<_> = tasks.iter().filter_map(|id| dump.task(*id)).collect();
        let [one, other] = found[..] else { panic!("{dump}") };
        assert!(one.works_on.as_ref().is_some_and(|on| on.contains("joins")), "{dump}");
        let end = format!("the end of the server of messages on {}", server.local_addr());
        assert!(other.name.as_deref() == Some("waits") && other.waits.contains(&Wait::Note(end)), "{dump}");
        asks.abort();
    });
}
