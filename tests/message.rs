//! Servers and clients of messages against each other, against peers that break off, and as programs.
#![cfg(all(feature = "message", not(loom)))]
#![expect(clippy::unwrap_used, reason = "a test ends at its first failure")]

mod support;

use std::{
    cell::{Cell, OnceCell},
    future::Future,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    rc::Rc,
    time::{Duration, Instant},
};

use support::server::{Server as Process, Signal};
use wakering::{
    CancellationToken, Scope,
    dump::{TaskDump, Wait},
    message::{
        Builder, HmacAuth, Incoming, Key, Kind, Layer, LinkEnd, Message, Reconnect, Remote, RequestError,
        SendError, Server, SlowPeer, StreamCipher,
    },
    net::TcpListener,
    time::{sleep, timeout},
};

const LONG: Duration = Duration::from_secs(60);

thread_local! {
    /// Whether `slow` has begun with a request, in the runtime of this thread.
    static BEGUN: Cell<bool> = const { Cell::new(false) };
}

async fn begun() {
    while !BEGUN.replace(false) {
        sleep(Duration::from_millis(1)).await;
    }
}

fn run<F: Future>(future: F) -> F::Output {
    wakering::run(async { timeout(LONG, future).await.expect("it ends") }).unwrap()
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn echo(builder: Builder) -> Builder {
    builder.on((Kind::REQUEST_URI, "echo"), |incoming: Incoming| async move {
        Some(incoming.answer(Kind::RESPOND_URI, incoming.message.content.clone()))
    })
}

/// Waits as many milliseconds as the content says.
fn slow(builder: Builder) -> Builder {
    builder.on((Kind::REQUEST_URI, "slow"), |incoming: Incoming| async move {
        let ms = String::from_utf8_lossy(&incoming.message.content).parse().unwrap();
        BEGUN.set(true);
        sleep(Duration::from_millis(ms)).await;
        Some(incoming.answer(Kind::RESPOND_URI, incoming.message.content.clone()))
    })
}

async fn connected(server: &Server) -> Remote {
    Builder::new().client().connect(server.local_addr()).await.unwrap()
}

/// Deadlines of a turn's requests are counted from its beginning at first.
#[test]
fn a_request_that_begins_late_in_a_turn_has_all_of_its_time() {
    run(async {
        let server = slow(Builder::new()).serve(listener()).unwrap();
        let patience = Duration::from_millis(50);
        let remote = connected(&server).await.timeout(patience);
        for _ in 0..2 {
            // A task that computes for longer than the request may take.
            std::thread::sleep(2 * patience);
            let began = Instant::now();
            let error = remote.request(Kind::REQUEST_URI, "slow", "60000").await.unwrap_err();
            assert!(error.is_timeout() && began.elapsed() >= patience, "{error} after {:?}", began.elapsed());
        }
    });
}

/// Futures of handlers that never wait take turns in one place.
#[test]
fn a_handler_that_panics_while_its_future_is_dropped_costs_its_own_answer_alone() {
    struct Fragile(bool);
    impl Drop for Fragile {
        fn drop(&mut self) {
            assert!(!self.0, "as it was asked to");
        }
    }
    run(async {
        let builder = Builder::new().on(Kind::REQUEST_URI, |incoming: Incoming| {
            let fragile = Fragile(&incoming.message.content[..] == b"panic");
            let mut answer = Some(incoming.answer(Kind::RESPOND_URI, incoming.message.content.clone()));
            std::future::poll_fn(move |_| {
                let _held = &fragile;
                std::task::Poll::Ready(answer.take())
            })
        });
        let server = builder.serve(listener()).unwrap();
        let remote = connected(&server).await;
        for (content, kind) in [
            ("fine", Kind::RESPOND_URI),
            ("panic", Kind::ERROR),
            ("fine", Kind::RESPOND_URI),
            ("panic", Kind::ERROR),
            ("fine", Kind::RESPOND_URI),
        ] {
            assert_eq!(
                remote.request(Kind::REQUEST_URI, "a", content).await.unwrap().kind,
                kind,
                "{content}"
            );
        }
    });
}

#[test]
fn concurrent_requests_for_one_uri_each_get_their_own_answer() {
    run(async {
        let server = slow(Builder::new()).serve(listener()).unwrap();
        let remote = connected(&server).await;
        let scope: Scope = Scope::new();
        let (began, last) = (Instant::now(), Rc::new(Cell::new(0)));
        for ms in (100..200).rev() {
            let (remote, last) = (remote.clone(), last.clone());
            scope.spawn(async move {
                let answer = remote.request(Kind::REQUEST_URI, "slow", ms.to_string()).await.unwrap();
                assert_eq!(answer.content, ms.to_string());
                last.set(ms);
            });
        }
        scope.join().await.unwrap();
        // A hundred turns of 100 to 199 ms would take 15 s; the first goes alone, since nothing is known of the peer yet.
        assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
        server.shutdown(Duration::from_secs(1)).await;
    });
}

#[test]
fn a_cancelled_request_loses_nothing_and_its_answer_is_nobody_elses() {
    run(async {
        let server = echo(slow(Builder::new())).serve(listener()).unwrap();
        let remote = connected(&server).await;
        for _ in 0..20 {
            let asked = remote.request(Kind::REQUEST_URI, "slow", "30");
            assert!(timeout(Duration::from_millis(5), asked).await.is_err());
            let answer = remote.request(Kind::REQUEST_URI, "slow", "1").await.unwrap();
            assert_eq!(answer.content, "1");
            assert_eq!(remote.request(Kind::REQUEST_URI, "echo", "x").await.unwrap().content, "x");
        }
    });
}

#[test]
fn the_end_of_a_connection_fails_its_requests_at_once_with_the_cause() {
    run(async {
        let listener = listener();
        let addr = listener.local_addr().unwrap();
        wakering::spawn(async move {
            // Takes a request and goes. What it left unread, a call being short on demand, would be told as a reset.
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"bye") {
                let mut octets = [0; 100];
                let count = stream.read(&mut octets).await.unwrap();
                request.extend_from_slice(&octets[..count]);
            }
        });
        let remote = Builder::new().client().connect(addr).await.unwrap();
        let began = Instant::now();
        let error = remote.request(Kind::REQUEST_URI, "a", "good bye").await.unwrap_err();
        assert!(matches!(error, RequestError::Lost(LinkEnd::PeerClosed)), "{error}");
        assert!(began.elapsed() < LONG / 2 && error.is_closed());
        let again = remote.request(Kind::REQUEST_URI, "a", "").await.unwrap_err();
        assert!(matches!(again, RequestError::Unsent(LinkEnd::PeerClosed)), "{again}");
    });
}

#[test]
fn a_lost_connection_is_made_again_when_that_is_asked_for() {
    run(async {
        let first = echo(Builder::new()).serve(listener()).unwrap();
        let addr = first.local_addr();
        let mut policy = Reconnect::default();
        (policy.least_pause, policy.most_pause) = (Duration::from_millis(1), Duration::from_millis(50));
        let client = Builder::new().reconnect(policy).client();
        let remote = client.connect(addr).await.unwrap();
        assert_eq!(remote.request(Kind::REQUEST_URI, "echo", "1").await.unwrap().content, "1");
        let descriptors = std::fs::read_dir("/proc/self/fd").map(Iterator::count).unwrap_or(0);
        for round in 0..10 {
            first.peers().iter().for_each(wakering::message::Peer::disconnect);
            remote.ended().await;
            let content = round.to_string();
            let answer = remote.request(Kind::REQUEST_URI, "echo", content.clone()).await.unwrap();
            assert_eq!(answer.content, content);
        }
        first.shutdown(Duration::from_secs(1)).await;
        remote.ended().await;
        // Nobody listens: the request waits for its time, and no longer.
        let patient = remote.clone().timeout(Duration::from_millis(300));
        assert!(patient.request(Kind::REQUEST_URI, "echo", "2").await.unwrap_err().is_timeout());
        let second = echo(Builder::new()).serve(TcpListener::bind(addr).unwrap()).unwrap();
        assert_eq!(remote.request(Kind::REQUEST_URI, "echo", "3").await.unwrap().content, "3");
        // Other tests of this process come and go.
        let (now, began) = (|| std::fs::read_dir("/proc/self/fd").map(Iterator::count), Instant::now());
        while now().is_ok_and(|now| now > descriptors + 2) {
            assert!(began.elapsed() < LONG / 2, "{descriptors} descriptors before, {:?} after", now());
            sleep(Duration::from_millis(1)).await;
        }
        drop(second);
    });
}

#[test]
fn connections_that_end_without_a_word_are_made_again_with_pauses_that_double() {
    run(async {
        let (listener, accepted) = (listener(), Rc::new(Cell::new(0)));
        let (addr, counts) = (listener.local_addr().unwrap(), accepted.clone());
        wakering::spawn(async move {
            loop {
                drop(listener.accept().await.unwrap());
                counts.set(counts.get() + 1);
            }
        });
        let mut policy = Reconnect::default();
        policy.least_pause = Duration::from_millis(2);
        policy.most_pause = Duration::from_millis(64);
        let remote = Builder::new().reconnect(policy.clone()).client().remote(addr).timeout(LONG);
        let began = Instant::now();
        for _ in 0..10 {
            assert!(remote.request(Kind::REQUEST_URI, "a", "").await.unwrap_err().is_closed());
        }
        let doubled =
            (0..accepted.get() - 1).map(|times| (policy.least_pause * (1 << times)).min(policy.most_pause));
        // A pause has between three quarters of its length and all of it.
        let least = doubled.sum::<Duration>() * 3 / 4;
        assert!(began.elapsed() >= least, "{} connections in {:?}", accepted.get(), began.elapsed());
    });
}

#[test]
fn nobody_listening_is_an_error_that_says_so() {
    run(async {
        let free = listener().local_addr().unwrap();
        let remote = Builder::new().client().remote(free);
        let error = remote.request(Kind::REQUEST_URI, "a", "").await.unwrap_err();
        assert!(matches!(error, RequestError::Connect(_)) && error.is_closed(), "{error}");
        assert!(Builder::new().client().connect(free).await.is_err());
        let patient = Builder::new().reconnect(Reconnect::default()).client().remote(free);
        assert!(patient.connect_error().is_none(), "nothing was tried");
        let patient = patient.timeout(Duration::from_millis(10));
        // The first attempt is made at once, and may take longer on a loaded machine.
        while patient.connect_error().is_none() {
            assert!(patient.request(Kind::REQUEST_URI, "a", "").await.unwrap_err().is_timeout());
        }
        assert_eq!(patient.connect_error().unwrap().kind(), std::io::ErrorKind::ConnectionRefused);
        let server = echo(Builder::new()).serve(TcpListener::bind(free).unwrap()).unwrap();
        patient.clone().timeout(LONG).request(Kind::REQUEST_URI, "echo", "").await.unwrap();
        assert!(patient.connect_error().is_none());
        server.shutdown(LONG).await;
    });
}

// Layers.

#[test]
fn a_handler_never_sees_a_message_that_its_layer_refuses() {
    run(async {
        let calls = Rc::new(Cell::new(0));
        let counted = calls.clone();
        let admin = || Layer::new().auth(HmacAuth::new("admin").field("camh"));
        let handler = move |incoming: Incoming| {
            counted.set(counted.get() + 1);
            async move { Some(incoming.answer(Kind::OK, "")) }
        };
        let outer = || Layer::new().auth(HmacAuth::new("s")).cipher(StreamCipher::new("k"));
        let server = Builder::new()
            .layer(outer())
            .on_within(admin(), (Kind::DELETE_URI, "x"), handler)
            .serve(listener())
            .unwrap();
        let remote = Builder::new().layer(outer()).client().connect(server.local_addr()).await.unwrap();
        let error = remote.request(Kind::DELETE_URI, "x", "").await.unwrap_err();
        assert!(matches!(&error, RequestError::NotGenuine(text) if text == "HMAC auth failed"), "{error}");
        assert_eq!(calls.get(), 0);
        assert_eq!(remote.within(admin()).request(Kind::DELETE_URI, "x", "").await.unwrap().kind, Kind::OK);
        assert_eq!(calls.get(), 1);
        for wrong in [Layer::new(), Layer::new().auth(HmacAuth::new("t"))] {
            let stranger = Builder::new().layer(wrong).client().connect(server.local_addr()).await.unwrap();
            let answer = stranger.request(Kind::DELETE_URI, "x", "").await;
            let refused = answer.map(|answer| answer.kind == Kind::AUTH_ERROR).unwrap_or(true);
            assert!(refused && calls.get() == 1);
        }
        let garbled = Layer::new().auth(HmacAuth::new("s")).cipher(StreamCipher::new("another"));
        let stranger = Builder::new().layer(garbled).client().connect(server.local_addr()).await.unwrap();
        let error = stranger.request(Kind::DELETE_URI, "x", "").await.unwrap_err();
        assert!(!error.is_timeout(), "{error}");
    });
}

// Handlers.

#[test]
fn the_most_exact_handler_gets_a_message_and_unknown_requests_are_not_found() {
    run(async {
        let says = |text: &'static str| {
            move |incoming: Incoming| async move { Some(incoming.answer(Kind::RESPOND_URI, text)) }
        };
        let server = Builder::new()
            .on(Kind::REQUEST_URI, says("any"))
            .on((Kind::REQUEST_URI, "a"), says("a"))
            .serve(listener())
            .unwrap();
        let remote = connected(&server).await;
        let ask = async |uri: &'static str| remote.request(Kind::REQUEST_URI, uri, "").await.unwrap().content;
        assert_eq!((ask("a").await, ask("b").await), ("a".into(), "any".into()));
        let own = remote.peer().unwrap();
        let seen = server.peers()[0].addr();
        server.on(Key::from((Kind::REQUEST_URI, "a")).from_peer(seen), says("of this peer"));
        assert_eq!((ask("a").await, own.addr()), ("of this peer".into(), server.local_addr()));
        assert!(server.remove(Kind::REQUEST_URI) && !server.remove(Kind::REQUEST_URI));
        let answer = remote.request(Kind::REQUEST_URI, "b", "").await.unwrap();
        assert_eq!((answer.kind, &answer.uri[..]), (Kind::NOT_FOUND, &b"b"[..]));
        assert_eq!(remote.request(Kind::DELETE_URI, "b", "").await.unwrap().kind, Kind::NOT_FOUND);
    });
}

#[test]
fn a_panic_in_a_handler_is_answered_and_the_connection_goes_on() {
    run(async {
        let server = echo(Builder::new())
            .on((Kind::REQUEST_URI, "panic"), |_| async { panic!("as the test wants") })
            .serve(listener())
            .unwrap();
        let remote = connected(&server).await;
        for _ in 0..3 {
            assert_eq!(remote.request(Kind::REQUEST_URI, "panic", "").await.unwrap().kind, Kind::ERROR);
            assert_eq!(remote.request(Kind::REQUEST_URI, "echo", "x").await.unwrap().content, "x");
        }
    });
}

#[test]
fn custom_types_are_taken_when_they_are_told_of() {
    run(async {
        let kind = Kind::custom(77).unwrap();
        let handler = |incoming: Incoming| async move { Some(incoming.answer(Kind::OK, "77")) };
        let server = Builder::new().custom(kind).on(kind, handler).serve(listener()).unwrap();
        assert_eq!(connected(&server).await.request(kind, "a", "").await.unwrap().content, "77");
        let strict = echo(Builder::new()).serve(listener()).unwrap();
        let error = connected(&strict).await.request(kind, "a", "").await.unwrap_err();
        assert!(matches!(error, RequestError::Lost(_)), "{error}");
    });
}

#[test]
fn what_is_published_comes_to_all_who_subscribed_and_to_nobody_else() {
    run(async {
        let server = Builder::new()
            .on(Kind::SUBSCRIBE_URI, |incoming: Incoming| async move {
                incoming.peer.subscribe(incoming.message.uri.clone());
                Some(incoming.answer(Kind::CONFIRM_SUBSCRIBE, ""))
            })
            .on(Kind::UNSUBSCRIBE_URI, |incoming: Incoming| async move {
                incoming.peer.unsubscribe(&incoming.message.uri);
                Some(incoming.answer(Kind::CONFIRM_UNSUBSCRIBE, ""))
            })
            .serve(listener())
            .unwrap();
        let heard = Rc::new(Cell::new(0));
        let mut remotes = Vec::new();
        for _ in 0..5 {
            let counted = heard.clone();
            let client = Builder::new().on((Kind::NOTIFY_URI, "news"), move |_| {
                counted.set(counted.get() + 1);
                async { None }
            });
            remotes.push(client.client().connect(server.local_addr()).await.unwrap());
        }
        for remote in &remotes[..4] {
            remote.request(Kind::SUBSCRIBE_URI, "news", "").await.unwrap();
        }
        remotes[3].request(Kind::UNSUBSCRIBE_URI, "news", "").await.unwrap();
        // It has been accepted when it is answered: all five are counted then.
        remotes[4].request(Kind::REQUEST_URI, "a", "").await.unwrap();
        remotes[2].close().await;
        let left = async {
            while server.connections() > 4 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        left.await;
        assert_eq!(server.notify("news", Message::new(Kind::NOTIFY_URI, "news", "it")).unwrap(), 2);
        assert_eq!(server.broadcast(Message::new(Kind::NOTIFY_URI, "other", "it")).unwrap(), 4);
        for remote in [&remotes[0], &remotes[1], &remotes[3], &remotes[4]] {
            // What was sent before comes before this answer.
            assert_eq!(remote.request(Kind::REQUEST_URI, "a", "").await.unwrap().kind, Kind::NOT_FOUND);
        }
        assert_eq!(heard.get(), 2);
    });
}

// Slow and broken peers.

#[test]
fn one_slow_reader_holds_nobody_up() {
    for policy in [SlowPeer::DropNewest, SlowPeer::DropOldest, SlowPeer::Disconnect] {
        run(async {
            let builder = echo(Builder::new()).slow_peer(policy).queue_bytes(200_000);
            let server = builder.serve(listener()).unwrap();
            let slow = TcpStream::connect(server.local_addr()).unwrap();
            let remote = connected(&server).await;
            remote.request(Kind::REQUEST_URI, "echo", "").await.unwrap();
            let slow_peer =
                server.peers().into_iter().find(|peer| peer.addr() == slow.local_addr().unwrap()).unwrap();
            for _ in 0..500 {
                server.broadcast(Message::new(Kind::NOTIFY_URI, "news", vec![1; 60_000])).unwrap();
                assert_eq!(remote.request(Kind::REQUEST_URI, "echo", "x").await.unwrap().content, "x");
            }
            match policy {
                SlowPeer::DropNewest | SlowPeer::DropOldest => {
                    assert!(slow_peer.dropped() > 100, "{policy:?}: {}", slow_peer.dropped());
                }
                SlowPeer::Disconnect => {
                    assert_eq!(slow_peer.send(Message::new(Kind::OK, "", "")), Err(SendError::Closed));
                    assert_eq!(server.connections(), 1);
                }
            }
        });
    }
}

/// Sends octets to a server and returns what comes back until it closes, or until that has come and nothing follows.
fn reaction(addr: SocketAddr, octets: &[u8], enough: &[u8]) -> (Vec<u8>, bool) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.write_all(octets).unwrap();
    let (mut answer, mut buffer) = (Vec::new(), [0; 1000]);
    loop {
        let is_enough = answer.ends_with(enough);
        stream.set_read_timeout(Some(if is_enough { Duration::from_millis(500) } else { LONG })).unwrap();
        match stream.read(&mut buffer) {
            Ok(0) => return (answer, true),
            Ok(read) => answer.extend_from_slice(&buffer[..read]),
            Err(error) => {
                assert!(is_enough, "{error}, after {answer:?}");
                return (answer, false);
            }
        }
    }
}

#[test]
fn each_malformed_input_has_the_reaction_that_is_told() {
    let server = Process::start("message_server", &[]);
    let request = Message::new(Kind::REQUEST_URI, "echo", "hello").to_octets().unwrap();
    let mut checksum = request.clone();
    checksum[5] ^= 1;
    let (answer, closed) = reaction(server.address, &[&checksum[..], &request].concat(), b"hello");
    let text = String::from_utf8_lossy(&answer).into_owned();
    assert!(text.contains("invalid message") && text.ends_with("hello") && !closed, "{text}");
    let mut fields = request.clone();
    fields[9] = 0x44;
    let mut none = request.clone();
    none[2] = 0;
    let mut body = request.clone();
    body[4] = 1;
    let mut kind = request;
    kind[0] = 14;
    for (what, octets) in [
        ("an unknown type", kind),
        ("no fields", none),
        ("fields that are no map", fields),
        ("a body of one octet", body),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
    ] {
        assert_eq!(reaction(server.address, &octets, b"closed"), (Vec::new(), true), "{what}");
    }
    server.signal(Signal::Terminate);
    assert_eq!(server.wait(Duration::from_secs(60)).0.code(), Some(0));
}

#[test]
fn a_message_that_drips_in_has_no_more_time_than_any() {
    run(async {
        let server = echo(Builder::new()).read_timeout(Duration::from_millis(200)).serve(listener()).unwrap();
        let mut dripping = wakering::net::TcpStream::connect(server.local_addr()).await.unwrap();
        let began = Instant::now();
        let request = Message::new(Kind::REQUEST_URI, "echo", vec![0; 5000]).to_octets().unwrap();
        for octet in request {
            if dripping.write_all(&[octet]).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
        // All of it takes fifty seconds.
        assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
        let idle = Builder::new().idle_timeout(Some(Duration::from_millis(50))).serve(listener()).unwrap();
        let mut silent = wakering::net::TcpStream::connect(idle.local_addr()).await.unwrap();
        assert_eq!(silent.read(&mut [0; 9]).await.unwrap(), 0);
    });
}

// The end.

#[test]
fn a_server_with_an_idle_client_ends_at_once() {
    run(async {
        let server = echo(Builder::new()).serve(listener()).unwrap();
        let remote = connected(&server).await;
        remote.request(Kind::REQUEST_URI, "echo", "").await.unwrap();
        let began = Instant::now();
        let stopped = server.shutdown(LONG).await;
        assert_eq!((stopped.accepted, stopped.aborted, server.connections()), (1, 0, 0));
        assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
        assert!(matches!(remote.ended().await, LinkEnd::PeerClosed));
        assert_eq!(server.closed().await, Ok(stopped));
        assert_eq!(server.shutdown(Duration::ZERO).await, stopped);
    });
}

#[test]
fn close_and_shutdown_end_in_every_order() {
    for order in 0..4 {
        run(async {
            let server = slow(Builder::new()).serve(listener()).unwrap();
            let remote = connected(&server).await;
            let (asking, ms) = (remote.clone(), if order == 0 { "100" } else { "2000" });
            let asked =
                wakering::spawn(async move { asking.request(Kind::REQUEST_URI, "slow", ms).await.is_ok() });
            begun().await;
            let grace = LONG / 2;
            match order {
                0 => {
                    server.shutdown(grace).await;
                    assert!(asked.await.unwrap(), "what was being answered is answered");
                    remote.close().await;
                }
                1 => {
                    remote.close().await;
                    server.shutdown(grace).await;
                    assert!(!asked.await.unwrap());
                }
                2 => {
                    let ending = server.clone();
                    let ended = wakering::spawn(async move { ending.shutdown(grace).await });
                    remote.close().await;
                    ended.await.unwrap();
                    assert!(!asked.await.unwrap());
                }
                _ => {
                    let stopped = server.shutdown(Duration::ZERO).await;
                    assert_eq!(stopped.aborted, 1);
                    assert!(!asked.await.unwrap());
                }
            }
            assert_eq!(server.connections(), 0);
        });
    }
}

#[test]
fn the_end_of_the_runtime_ends_a_server_and_answers_first() {
    let runtime = wakering::Runtime::new().unwrap();
    let (asked, report) = runtime
        .block_on(async {
            let server = slow(Builder::new()).serve(listener()).unwrap();
            let remote = connected(&server).await;
            let asked =
                wakering::spawn(async move { remote.request(Kind::REQUEST_URI, "slow", "100").await });
            begun().await;
            let ending = wakering::Handle::current().shutdown(LONG);
            (asked.await.unwrap().map(|answer| answer.content), ending)
        })
        .unwrap();
    assert_eq!(asked.unwrap(), "100");
    drop(report);
    let began = Instant::now();
    drop(runtime);
    assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
}

#[test]
fn handlers_may_await_the_end_of_their_server_whose_other_handlers_are_answered() {
    run(async {
        let own: Rc<OnceCell<Server>> = Rc::default();
        let (ends, waits) = (own.clone(), own.clone());
        let (begun, release) = (CancellationToken::new(), CancellationToken::new());
        let (tells, held) = (begun.clone(), release.clone());
        let server = Builder::new()
            .on((Kind::REQUEST_URI, "quit"), move |incoming: Incoming| {
                let server = ends.get().unwrap().clone();
                async move {
                    let stopped = server.shutdown(LONG).await;
                    Some(incoming.answer(Kind::RESPOND_URI, stopped.aborted.to_string()))
                }
            })
            .on((Kind::REQUEST_URI, "closed"), move |incoming: Incoming| {
                let server = waits.get().unwrap().clone();
                async move {
                    let refused = server.closed().await.is_err();
                    Some(incoming.answer(Kind::RESPOND_URI, refused.to_string()))
                }
            })
            .on((Kind::REQUEST_URI, "held"), move |incoming: Incoming| {
                tells.cancel();
                let held = held.clone();
                async move {
                    held.cancelled().await;
                    Some(incoming.answer(Kind::RESPOND_URI, "held"))
                }
            })
            .serve(listener())
            .unwrap();
        let _ = own.set(server.clone());
        let remotes = [connected(&server).await, connected(&server).await, connected(&server).await];
        let refused = remotes[0].request(Kind::REQUEST_URI, "closed", "").await.unwrap();
        assert_eq!(refused.content, "true");
        let asking = |remote: &Remote, uri: &'static str| {
            let remote = remote.clone();
            wakering::spawn(async move { remote.request(Kind::REQUEST_URI, uri, "").await })
        };
        let other = asking(&remotes[0], "held");
        begun.cancelled().await;
        // Both wait for the end, and neither for the other.
        let quits = [asking(&remotes[1], "quit"), asking(&remotes[2], "quit")];
        let (mut quits, mut over) = (Vec::from(quits), 0);
        release.cancel();
        while let Some(quit) = quits.pop() {
            let answer = quit.await.unwrap();
            // The second may come when the server takes no more.
            over += usize::from(answer.is_ok_and(|answer| answer.content == "0"));
        }
        assert!(over >= 1);
        assert_eq!(other.await.unwrap().unwrap().content, "held");
        assert_eq!(server.closed().await.unwrap().aborted, 0);
        drop(remotes);
    });
}

#[test]
fn a_handler_may_end_its_server() {
    run(async {
        let own: Rc<OnceCell<Server>> = Rc::default();
        let (ends, done) = (own.clone(), CancellationToken::new());
        let told = done.clone();
        let server = Builder::new()
            .on((Kind::REQUEST_URI, "quit"), move |incoming: Incoming| {
                let (server, told) = (ends.get().unwrap().clone(), told.clone());
                wakering::spawn(async move {
                    server.shutdown(LONG).await;
                    told.cancel();
                });
                async move { Some(incoming.answer(Kind::RESPOND_URI, "the last words")) }
            })
            .serve(listener())
            .unwrap();
        let _ = own.set(server.clone());
        let remote = connected(&server).await;
        let answer = remote.request(Kind::REQUEST_URI, "quit", "").await.unwrap();
        assert_eq!(answer.content, "the last words");
        done.cancelled().await;
    });
}

#[test]
fn a_dump_says_what_each_task_of_a_server_is_about() {
    let waits = |incoming: Incoming| async move {
        std::future::pending::<()>().await;
        Some(incoming.answer(Kind::OK, ""))
    };
    run(async {
        let builder = echo(Builder::new()).on((Kind::DELETE_URI, "one"), waits).on(Kind::CREATE_URI, waits);
        let server = builder.serve(listener()).unwrap();
        let remote = connected(&server).await;
        let ask = |kind: Kind, uri: &'static str| {
            let asking = remote.clone();
            wakering::spawn(async move { asking.request(kind, uri, "").await })
        };
        let asked = [ask(Kind::DELETE_URI, "one"), ask(Kind::CREATE_URI, "any\n")];
        // The first comes before those two. Who calls the handler of the second waits for more.
        for _ in 0..2 {
            assert_eq!(remote.request(Kind::REQUEST_URI, "echo", "a").await.unwrap().content, "a");
        }
        let at = server.local_addr();
        let told = [
            "works on DELETE_URI one from 127.0.0.1:".to_owned(),
            "works on CREATE_URI any\\n from 127.0.0.1:".to_owned(),
            "works on the connection with 127.0.0.1:".to_owned(),
            "waits for something to send to 127.0.0.1:".to_owned(),
            "waits for another message from 127.0.0.1:".to_owned(),
            format!("works on the connection with {at}"),
            format!("waits for something to send to {at}"),
        ];
        let dump = wakering::Handle::current().dump();
        let text = dump.to_string();
        for wanted in told {
            assert!(text.contains(&wanted), "{wanted}\n{text}");
        }
        let untold = |task: &TaskDump| task.waits.contains(&Wait::External) && task.works_on.is_none();
        assert!(!dump.tasks().any(untold), "{text}");
        asked.iter().for_each(|asked| asked.abort());
    });
}

#[test]
fn a_dump_says_which_answer_is_waited_for() {
    run(async {
        let server = slow(Builder::new()).serve(listener()).unwrap();
        let remote = connected(&server).await;
        let asking = remote.clone();
        let asked = wakering::spawn(async move { asking.request(Kind::REQUEST_URI, "slow", "60000").await });
        begun().await;
        let dump = wakering::Handle::current().dump().to_string();
        let wanted = format!("the answer to REQUEST_URI slow from {}", server.local_addr());
        assert!(dump.contains(&wanted), "{dump}");
        asked.abort();
        let nobody = listener().local_addr().unwrap();
        let patient = Builder::new().reconnect(Reconnect::default()).client().remote(nobody);
        let asking = patient.clone();
        let asked = wakering::spawn(async move { asking.request(Kind::REQUEST_URI, "a", "").await });
        while patient.connect_error().is_none() {
            sleep(Duration::from_millis(1)).await;
        }
        let dump = wakering::Handle::current().dump().to_string();
        assert!(dump.contains(&format!("a connection to {nobody}")), "{dump}");
        asked.abort();
    });
}
