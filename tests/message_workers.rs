//! Servers of messages on several workers: what is published, remembered and counted on all of them, and their end.
#![cfg(all(feature = "message", not(loom)))]
#![expect(clippy::unwrap_used, reason = "a test ends at its first failure")]

mod support;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::Future,
    io::{Read, Write},
    net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream},
    process::Command,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use support::server::{Server as Process, Signal, example};
use wakering::{
    CancellationToken, Runtime,
    internals::message::plugins::Scene,
    message::{
        AuthPlugin, Builder, HmacAuth, Incoming, Introduction, Key, Kind, Layer, LinkEnd, Message, Remote,
        RequestError, Servers,
    },
    net::{TcpListener, listen::Share},
    time::{ManualClock, sleep, timeout},
    yield_now,
};

/// Longer than anything takes on a loaded machine; only a failing test waits so long.
const LONG: Duration = Duration::from_secs(60);

fn run<F: Future>(future: F) -> F::Output {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    runtime.block_on(async { timeout(LONG, future).await.expect("it ends") }).unwrap()
}

fn start(factory: impl Fn(&Servers) -> Builder + Send + Sync + 'static) -> Servers {
    Servers::start_on_all(([127, 0, 0, 1], 0).into(), factory).unwrap()
}

/// Says on which worker it runs; subscribes and publishes.
fn basic(servers: &Servers) -> Builder {
    let servers = servers.clone();
    Builder::new()
        .on((Kind::REQUEST_URI, "worker"), |incoming: Incoming| async move {
            Some(incoming.answer(Kind::RESPOND_URI, worker()))
        })
        .on(Kind::SUBSCRIBE_URI, |incoming: Incoming| async move {
            incoming.peer.subscribe(incoming.message.uri.clone());
            Some(incoming.answer(Kind::CONFIRM_SUBSCRIBE, ""))
        })
        .on(Kind::PUBLISH_URI, move |incoming: Incoming| {
            let servers = servers.clone();
            async move {
                let news = incoming.answer(Kind::NOTIFY_URI, incoming.message.content.clone());
                let told = servers.notify(incoming.message.uri.clone(), news).await.unwrap();
                Some(incoming.answer(Kind::OK, told.to_string()))
            }
        })
}

fn worker() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}

async fn ask(remote: &Remote, uri: &'static str) -> String {
    let answer = remote.request(Kind::REQUEST_URI, uri, "").await.unwrap();
    String::from_utf8(answer.content.to_vec()).unwrap()
}

/// A connection to each worker.
async fn one_each(servers: &Servers, builder: impl Fn() -> Builder) -> Vec<Remote> {
    let mut found = HashMap::new();
    while found.len() < 2 {
        let remote = builder().client().connect(servers.local_addr()).await.unwrap();
        let worker = ask(&remote, "worker").await;
        // A second one of the same worker goes.
        found.entry(worker).or_insert(remote);
    }
    found.into_values().collect()
}

async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        sleep(Duration::from_millis(1)).await;
    }
}

// News.

#[test]
fn what_is_published_on_one_worker_reaches_the_subscribers_of_all_in_its_order() {
    run(async {
        let servers = start(basic);
        let counts: RefCell<Vec<Rc<Cell<u32>>>> = RefCell::default();
        let remotes = one_each(&servers, || {
            let heard: Rc<Cell<u32>> = Rc::default();
            counts.borrow_mut().push(heard.clone());
            Builder::new().on((Kind::NOTIFY_URI, "news"), move |incoming: Incoming| {
                assert_eq!(incoming.message.content, heard.get().to_string());
                heard.set(heard.get() + 1);
                async { None }
            })
        })
        .await;
        let publish = async |by: &Remote, content: u32| {
            let answer = by.request(Kind::PUBLISH_URI, "news", content.to_string()).await.unwrap();
            String::from_utf8(answer.content.to_vec()).unwrap()
        };
        assert_eq!(publish(&remotes[0], 0).await, "0", "nobody has subscribed");
        for remote in &remotes {
            remote.request(Kind::SUBSCRIBE_URI, "news", "").await.unwrap();
        }
        for number in 0..100 {
            assert_eq!(publish(&remotes[number as usize % 2], number).await, "2");
        }
        let nobody = Message::new(Kind::NOTIFY_URI, "other", "");
        assert_eq!(servers.notify("other", nobody.clone()).await.unwrap(), 0);
        assert_eq!(servers.broadcast(nobody).await.unwrap(), 2);
        let too_long = Message::new(Kind::NOTIFY_URI, "news", vec![0; 70_000]);
        assert!(servers.notify("news", too_long).await.is_err());
        until(|| counts.borrow().iter().filter(|heard| heard.get() == 100).count() == 2).await;
        // Connections that were one too many go when their end is seen, handlers when they are polled again.
        let numbers = loop {
            let numbers = servers.metrics().await;
            if (numbers.connections_open, numbers.handlers) == (2, 0) {
                break numbers;
            }
            sleep(Duration::from_millis(1)).await;
        };
        assert!(numbers.received > 100 && numbers.sent > 300, "{numbers:?}");
        let stopped = servers.shutdown(LONG).await;
        assert_eq!((stopped.accepted, stopped.aborted), (numbers.connections, 0));
        // What has ended tells and counts no more, and forgets nothing.
        assert_eq!(servers.broadcast(Message::new(Kind::OK, "", "")).await.unwrap(), 0);
        let after = servers.metrics().await;
        assert_eq!((after.received, after.connections_open), (numbers.received, 0));
    });
}

#[test]
fn peers_are_known_whatever_worker_they_have_introduced_themselves_to() {
    run(async {
        let servers = start(|servers| basic(servers).introduce(Introduction::new("server")));
        let names = AtomicUsize::new(0);
        let remotes = one_each(&servers, || {
            let name = names.fetch_add(1, Ordering::Relaxed).to_string();
            Builder::new().introduce(Introduction::new(name))
        })
        .await;
        while servers.known_peers().await.len() != 2 {
            sleep(Duration::from_millis(1)).await;
        }
        remotes[0].close().await;
        while servers.known_peers().await.len() != 1 {
            sleep(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn a_peer_that_is_connected_to_several_workers_is_one_peer() {
    run(async {
        let servers = start(|servers| basic(servers).introduce(Introduction::new("server")));
        let _remotes = one_each(&servers, || Builder::new().introduce(Introduction::new("client"))).await;
        let known = loop {
            match &servers.known_peers().await[..] {
                [known] if known.addrs.len() == 2 => break known.clone(),
                _ => sleep(Duration::from_millis(1)).await,
            }
        };
        assert_eq!(known.id, "client");
    });
}

/// A signed message, bound to its type and time.
fn signed_request() -> Vec<u8> {
    let auth = HmacAuth::new("s");
    let mut message = Message::new(Kind::REQUEST_URI, "worker", "");
    let mut random = |octets: &mut [u8]| octets.fill(7);
    let since_1970 = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let unix_time = u32::try_from(since_1970.as_secs()).unwrap();
    auth.sign(&mut message, &mut Scene { unix_time, random: &mut random, peer: None }).unwrap();
    auth.bind(&mut message);
    message.to_octets().unwrap()
}

#[test]
fn what_was_recorded_from_one_worker_passes_with_no_other() {
    run(async {
        let servers = start(|servers| basic(servers).layer(Layer::new().auth(HmacAuth::new("s"))));
        let (address, octets) = (servers.local_addr(), signed_request());
        let kinds = wakering::spawn_blocking(move || {
            let kinds = (0..30).map(|_| {
                let mut stream = StdStream::connect(address).unwrap();
                stream.set_read_timeout(Some(LONG)).unwrap();
                stream.write_all(&octets).unwrap();
                let mut kind = [0];
                stream.read_exact(&mut kind).unwrap();
                kind[0]
            });
            kinds.collect::<Vec<u8>>()
        });
        let kinds = kinds.unwrap().await.unwrap();
        let passed = kinds.iter().filter(|kind| **kind == Kind::RESPOND_URI.number()).count();
        let refused = kinds.iter().filter(|kind| **kind == Kind::AUTH_ERROR.number()).count();
        assert_eq!((passed, refused), (1, 29));
        assert_eq!(servers.metrics().await.refused, 29);
    });
}

// The end.

#[test]
fn idle_clients_of_all_workers_do_not_hold_the_end_up() {
    run(async {
        let servers = start(basic);
        let remotes = one_each(&servers, Builder::new).await;
        let waits = servers.clone();
        let closed = wakering::spawn(async move { waits.closed().await });
        let stopped = servers.shutdown(LONG).await;
        assert_eq!(stopped.aborted, 0);
        assert_eq!(closed.await.unwrap(), Ok(stopped));
        assert_eq!((servers.closed().await, servers.shutdown(Duration::ZERO).await), (Ok(stopped), stopped));
        for remote in &remotes {
            assert!(matches!(remote.ended().await, LinkEnd::PeerClosed));
        }
        assert!(StdStream::connect(servers.local_addr()).is_err(), "the port is closed");
    });
}

/// Handlers that end the server, wait for its end, and hold it up.
fn ending(servers: &Servers, begun: &CancellationToken, release: &CancellationToken) -> Builder {
    let (ends, waits) = (servers.clone(), servers.clone());
    let (begun, release) = (begun.clone(), release.clone());
    basic(servers)
        .on((Kind::REQUEST_URI, "quit"), move |incoming: Incoming| {
            let servers = ends.clone();
            async move {
                let stopped = servers.shutdown(LONG).await;
                Some(incoming.answer(Kind::RESPOND_URI, stopped.aborted.to_string()))
            }
        })
        .on((Kind::REQUEST_URI, "closed"), move |incoming: Incoming| {
            let servers = waits.clone();
            async move {
                let refused = servers.closed().await.is_err();
                Some(incoming.answer(Kind::RESPOND_URI, refused.to_string()))
            }
        })
        .on((Kind::REQUEST_URI, "held"), move |incoming: Incoming| {
            begun.cancel();
            let release = release.clone();
            async move {
                release.cancelled().await;
                Some(incoming.answer(Kind::RESPOND_URI, "held"))
            }
        })
}

#[test]
fn handlers_of_both_workers_may_await_the_end_and_what_others_do_is_answered_first() {
    run(async {
        let (begun, release) = (CancellationToken::new(), CancellationToken::new());
        let (tells, held) = (begun.clone(), release.clone());
        let servers = start(move |servers| ending(servers, &tells, &held));
        let remotes = one_each(&servers, Builder::new).await;
        assert_eq!(ask(&remotes[0], "closed").await, "true", "it would wait for itself");
        let asking = |remote: &Remote, uri: &'static str| {
            let remote = remote.clone();
            wakering::spawn(async move { remote.request(Kind::REQUEST_URI, uri, "").await })
        };
        let other = asking(&remotes[0], "held");
        begun.cancelled().await;
        let quits = [asking(&remotes[1], "quit"), asking(&remotes[0], "quit")];
        release.cancel();
        let mut over = 0;
        for quit in quits {
            // One of them may come when the server takes no more.
            over += usize::from(quit.await.unwrap().is_ok_and(|answer| answer.content == "0"));
        }
        assert!(over >= 1);
        assert_eq!(other.await.unwrap().unwrap().content, "held");
        assert_eq!(servers.closed().await.unwrap().aborted, 0);
    });
}

#[test]
fn a_grace_that_is_over_aborts_what_is_left_and_the_shortest_counts() {
    run(async {
        let (begun, release) = (CancellationToken::new(), CancellationToken::new());
        let (tells, held) = (begun.clone(), release.clone());
        let servers = start(move |servers| ending(servers, &tells, &held));
        let remotes = one_each(&servers, Builder::new).await;
        let remote = remotes[0].clone();
        let asked = wakering::spawn(async move { remote.request(Kind::REQUEST_URI, "held", "").await });
        begun.cancelled().await;
        let patient = servers.clone();
        let first = wakering::spawn(async move { patient.shutdown(LONG).await });
        // A handler is at work: nothing but the second word ends it.
        let stopped = servers.shutdown(Duration::ZERO).await;
        assert_eq!(first.await.unwrap(), stopped);
        assert!(stopped.aborted >= 1, "others may be aborted with it");
        assert!(matches!(asked.await.unwrap(), Err(RequestError::Lost(_))));
    });
}

/// What is told of `news`, in the order in which it came.
#[derive(Clone, Default)]
struct Heard(Rc<RefCell<Vec<String>>>);

impl Heard {
    /// A client that keeps what it is told.
    fn client(&self) -> Builder {
        let heard = self.clone();
        Builder::new().on((Kind::NOTIFY_URI, "news"), move |incoming: Incoming| {
            heard.0.borrow_mut().push(String::from_utf8(incoming.message.content.to_vec()).unwrap());
            async { None }
        })
    }
}

#[test]
fn what_handlers_at_work_publish_when_it_stops_reaches_the_subscribers_of_all_workers() {
    run(async {
        let (begun, release) = (CancellationToken::new(), CancellationToken::new());
        let (tells, held) = (begun.clone(), release.clone());
        let servers = start(move |servers| {
            let (servers, tells, held) = (servers.clone(), tells.clone(), held.clone());
            basic(&servers).on((Kind::PUBLISH_URI, "news"), move |incoming: Incoming| {
                let (servers, held) = (servers.clone(), held.clone());
                tells.cancel();
                async move {
                    held.cancelled().await;
                    let news = incoming.answer(Kind::NOTIFY_URI, incoming.message.content.clone());
                    let told = servers.notify("news", news).await.unwrap();
                    Some(incoming.answer(Kind::OK, told.to_string()))
                }
            })
        });
        let heard = Heard::default();
        let idle = one_each(&servers, Builder::new).await;
        let subscribers = one_each(&servers, || heard.client()).await;
        for subscriber in &subscribers {
            subscriber.request(Kind::SUBSCRIBE_URI, "news", "").await.unwrap();
        }
        let publisher = Builder::new().client().connect(servers.local_addr()).await.unwrap();
        let publishing =
            wakering::spawn(async move { publisher.request(Kind::PUBLISH_URI, "news", "last").await });
        begun.cancelled().await;
        let ends = servers.clone();
        let stopped = wakering::spawn(async move { ends.shutdown(LONG).await });
        for remote in &idle {
            // Its worker has begun to stop.
            assert!(matches!(remote.ended().await, LinkEnd::PeerClosed));
        }
        release.cancel();
        assert_eq!(publishing.await.unwrap().unwrap().content, "2");
        for subscriber in &subscribers {
            assert!(matches!(subscriber.ended().await, LinkEnd::PeerClosed));
        }
        until(|| heard.0.borrow().len() == 2).await;
        assert_eq!(stopped.await.unwrap().aborted, 0);
    });
}

#[test]
fn subscribers_are_none_of_those_that_a_grace_was_too_short_for() {
    run(async {
        let (begun, release) = (CancellationToken::new(), CancellationToken::new());
        let (tells, held) = (begun.clone(), release.clone());
        let servers = start(move |servers| ending(servers, &tells, &held));
        let subscribers = one_each(&servers, Builder::new).await;
        for subscriber in &subscribers {
            subscriber.request(Kind::SUBSCRIBE_URI, "news", "").await.unwrap();
        }
        let remote = Builder::new().client().connect(servers.local_addr()).await.unwrap();
        let asked = wakering::spawn(async move { remote.request(Kind::REQUEST_URI, "held", "").await });
        begun.cancelled().await;
        assert_eq!(servers.shutdown(Duration::from_millis(100)).await.aborted, 1);
        assert!(matches!(asked.await.unwrap(), Err(RequestError::Lost(_))));
    });
}

/// All that the peer sends until it ends the connection in good order.
fn read_all(mut stream: StdStream) -> Vec<u8> {
    stream.set_read_timeout(Some(LONG)).unwrap();
    let mut octets = Vec::new();
    stream.read_to_end(&mut octets).unwrap();
    octets
}

#[test]
fn a_subscriber_that_is_slow_is_told_all_before_the_end_whatever_it_sends_meanwhile() {
    const NEWS: usize = 400;
    if wakering::internals::faults::ON {
        println!(
            "SKIPPED: who rests after a call that fails on demand waits for a clock that a blocking job holds"
        );
        return;
    }
    let clock = ManualClock::new();
    let runtime = Runtime::builder().manual_clock(&clock).build().unwrap();
    let told = runtime.block_on(async {
        let builder =
            Builder::new().queue_bytes(64 << 20).on(Kind::SUBSCRIBE_URI, |incoming: Incoming| async move {
                incoming.peer.subscribe(incoming.message.uri.clone());
                None
            });
        let server = builder.serve(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
        let address = server.local_addr();
        let connect = move || {
            let mut stream = StdStream::connect(address).unwrap();
            let subscribe = Message::new(Kind::SUBSCRIBE_URI, "news", "").to_octets().unwrap();
            stream.write_all(&subscribe).unwrap();
            stream
        };
        let stream = wakering::spawn_blocking(connect).unwrap().await.unwrap();
        let news = Message::new(Kind::NOTIFY_URI, "news", vec![7; 60_000]);
        let mut sent = 0;
        while sent < NEWS {
            sent += server.notify("news", news.clone()).unwrap();
            yield_now().await;
        }
        let ends = server.clone();
        let stopped = wakering::spawn(async move { ends.shutdown(Duration::from_secs(60)).await });
        // On the clock of the runtime, which takes no time: longer than the last words of a connection have.
        sleep(Duration::from_secs(20)).await;
        let read = move || {
            let mut sends = stream.try_clone().unwrap();
            sends
                .write_all(&Message::new(Kind::REQUEST_URI, "echo", vec![7; 60_000]).to_octets().unwrap())
                .unwrap();
            read_all(stream)
        };
        let octets = wakering::spawn_blocking(read).unwrap().await.unwrap();
        assert_eq!(stopped.await.unwrap().aborted, 0);
        octets.len() / news.to_octets().unwrap().len()
    });
    assert_eq!(told.unwrap(), NEWS);
}

#[test]
fn another_thread_ends_it_and_is_told_which_worker_is_stuck() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let (release, blocks) = mpsc::channel::<()>();
    let blocks = Arc::new(Mutex::new(blocks));
    let (begun, begins) = mpsc::channel();
    let servers = runtime
        .block_on(async {
            let servers = start(move |servers| {
                let (blocks, begun) = (blocks.clone(), begun.clone());
                basic(servers).on((Kind::REQUEST_URI, "block"), move |_| {
                    // Inside a poll that does not return, which is what must not be done.
                    begun.send(worker()).unwrap();
                    let _released = blocks.lock().unwrap().recv();
                    async { None }
                })
            });
            // Not the worker of this test, which has to go on.
            loop {
                let remote = Builder::new().client().connect(servers.local_addr()).await.unwrap();
                if ask(&remote, "worker").await != worker() {
                    let block = Message::new(Kind::REQUEST_URI, "block", "");
                    remote.send(block).await.unwrap();
                    remote.close().await;
                    break servers;
                }
            }
        })
        .unwrap();
    let stuck = begins.recv_timeout(LONG).unwrap();
    let (ends, ended) = mpsc::channel();
    let from = servers.clone();
    let other = thread::spawn(move || {
        let first = from.shutdown_blocking(Duration::from_millis(20));
        ends.send(()).unwrap();
        (first, from.shutdown_blocking(LONG))
    });
    runtime
        .block_on(async {
            // This worker's part ends while the other one's cannot.
            until(|| ended.try_recv().is_ok()).await;
            release.send(()).unwrap();
            servers.closed().await.unwrap();
        })
        .unwrap();
    let (first, second) = other.join().unwrap();
    let first = first.unwrap_err();
    let number = first.workers.last().copied().unwrap();
    assert!(stuck.ends_with(&number.to_string()), "{stuck}, {first}");
    second.unwrap();
}

#[test]
fn the_end_of_the_runtime_ends_a_server_on_all_its_workers() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let (servers, remotes) = runtime
        .block_on(async {
            let servers = start(basic);
            let remotes = one_each(&servers, Builder::new).await;
            (servers, remotes)
        })
        .unwrap();
    drop((runtime, remotes));
    assert_eq!(servers.shutdown_blocking(LONG).map(|stopped| stopped.accepted > LONG.as_secs()), Ok(false));
    assert!(StdStream::connect(servers.local_addr()).is_err());
}

// The beginning.

#[test]
fn shares_say_which_workers_serve() {
    run(async {
        let listener = || StdListener::bind("127.0.0.1:0").unwrap();
        let one = Servers::start_on(Share::of(listener(), 1).unwrap(), basic).unwrap();
        let first = Builder::new().client().connect(one.local_addr()).await.unwrap();
        for _ in 0..10 {
            let remote = Builder::new().client().connect(one.local_addr()).await.unwrap();
            assert_eq!(ask(&remote, "worker").await, ask(&first, "worker").await);
        }
        assert_eq!(one.shutdown(LONG).await.aborted, 0);
        let shares = Share::of(listener(), 3).unwrap();
        let address = shares[0].local_addr().unwrap();
        assert!(Servers::start_on(shares, basic).is_err(), "there are two workers");
        until(|| StdStream::connect(address).is_err()).await;
        assert!(Servers::start_on(Vec::new(), basic).is_err());
    });
}

#[test]
fn a_worker_whose_settings_panic_serves_nothing_and_holds_nothing_up() {
    run(async {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        let servers = Servers::start_on(Share::of(listener, 2).unwrap(), move |servers| {
            assert!(counted.fetch_add(1, Ordering::Relaxed) == 0, "as the test wants");
            basic(servers)
        })
        .unwrap();
        until(|| calls.load(Ordering::Relaxed) == 2).await;
        let remote = Builder::new().client().connect(servers.local_addr()).await.unwrap();
        assert!(!ask(&remote, "worker").await.is_empty());
        assert_eq!(servers.metrics().await.connections_open, 1);
        assert_eq!(servers.shutdown(LONG).await.accepted, 1);
    });
}

// The program.

#[test]
fn the_server_program_has_one_store_and_one_board_of_news_for_all_its_workers() {
    let server = Process::start("message_server", &["--workers", "2"]);
    let address: SocketAddr = server.address;
    wakering::run(async {
        let told: Rc<Cell<u32>> = Rc::default();
        let mut remotes = Vec::new();
        for _ in 0..20 {
            let told = told.clone();
            let builder = Builder::new().on(Key::from((Kind::NOTIFY_URI, "news")), move |_| {
                told.set(told.get() + 1);
                async { None }
            });
            remotes.push(builder.client().connect(address).await.unwrap());
        }
        assert_eq!(remotes[0].request(Kind::CREATE_URI, "a", "one").await.unwrap().kind, Kind::OK);
        for remote in &remotes {
            assert_eq!(ask(remote, "a").await, "one");
            remote.request(Kind::SUBSCRIBE_URI, "news", "").await.unwrap();
        }
        assert_eq!(remotes[0].request(Kind::PUBLISH_URI, "news", "it").await.unwrap().kind, Kind::OK);
        timeout(LONG, until(|| told.get() == 20)).await.expect("everybody is told");
    })
    .unwrap();
    server.signal(Signal::Terminate);
    assert_eq!(server.wait(LONG).0.code(), Some(0));
    let both = Command::new(example("message_server")).args(["--udp", "--workers", "2"]).output().unwrap();
    assert_eq!(both.status.code(), Some(2));
}

// Beginnings that fail.

#[test]
fn a_server_that_no_worker_can_serve_has_ended() {
    let refused = || Builder::new().introduce(Introduction::new(vec![b'x'; 300]));
    let panics = || panic!("as the test wants");
    let factories: [fn() -> Builder; 2] = [refused, panics];
    for factory in factories {
        run(async {
            let servers = start(move |_servers| factory());
            servers.closed().await.unwrap();
        });
    }
}

#[test]
fn a_server_for_more_workers_than_there_are_leaves_nobody_waiting() {
    run(async {
        let (tells, told) = std::sync::mpsc::channel();
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let shares = TcpListener::builder().bind_each(address, 4, wakering::net::listen::Spread::default());
        let error = Servers::start_on(shares.unwrap(), move |servers| {
            tells.send(servers.clone()).unwrap();
            Builder::new()
        })
        .unwrap_err();
        assert!(!error.to_string().is_empty());
        let servers = loop {
            match told.try_recv() {
                Ok(servers) => break servers,
                Err(_) => yield_now().await,
            }
        };
        servers.closed().await.unwrap();
    });
}

#[test]
fn a_shutdown_that_is_never_polled_ends_the_server() {
    run(async {
        let servers = start(basic);
        drop(servers.shutdown(LONG));
        servers.closed().await.unwrap();
    });
}
