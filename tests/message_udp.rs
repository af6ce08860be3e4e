//! Nodes of datagrams against each other, against sockets that send anything, and as programs.
#![cfg(all(feature = "message", not(loom)))]
#![expect(clippy::unwrap_used, reason = "a test ends at its first failure")]

mod support;

use std::{
    cell::{Cell, OnceCell, RefCell},
    future::Future,
    net::{SocketAddr, UdpSocket as StdSocket},
    process::{Command, Output, Stdio},
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use support::server::{Server as Process, Signal, example};
use wakering::{
    CancellationToken, Scope,
    message::{
        Builder, HmacAuth, Incoming, Kind, Kinds, Layer, LinkEnd, Message, RequestError, SendError,
        StreamCipher, UdpNode,
    },
    net::UdpSocket,
    time::{sleep, timeout},
};

/// Longer than anything takes on a loaded machine; only a failing test waits so long.
const LONG: Duration = Duration::from_secs(60);

fn run<F: Future>(future: F) -> F::Output {
    wakering::run(async { timeout(LONG, future).await.expect("it ends") }).unwrap()
}

fn node(builder: Builder) -> UdpNode {
    builder.request_timeout(LONG).node(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap()
}

/// Two nodes, the first one's as `builder` says.
fn pair(builder: Builder) -> (UdpNode, UdpNode) {
    (node(builder), node(Builder::new()))
}

fn echo(builder: Builder) -> Builder {
    builder.on((Kind::REQUEST_URI, "echo"), |incoming: Incoming| async move {
        Some(incoming.answer(Kind::RESPOND_URI, incoming.message.content.clone()))
    })
}

/// Answers when the token is cancelled, and says by the other that it is at work.
fn held(builder: Builder) -> (Builder, CancellationToken, CancellationToken) {
    let (begun, release) = (CancellationToken::new(), CancellationToken::new());
    let (tells, waits) = (begun.clone(), release.clone());
    let builder = builder.on((Kind::REQUEST_URI, "held"), move |incoming: Incoming| {
        tells.cancel();
        let waits = waits.clone();
        async move {
            waits.cancelled().await;
            Some(incoming.answer(Kind::RESPOND_URI, incoming.message.content.clone()))
        }
    });
    (builder, begun, release)
}

async fn ask(from: &UdpNode, to: &UdpNode, uri: &'static str, content: &'static str) -> Message {
    from.peer(to.local_addr()).request(Kind::REQUEST_URI, uri, content).await.unwrap()
}

/// A socket that is no node, beside a node.
struct Stranger {
    socket: StdSocket,
    node: SocketAddr,
}

impl Stranger {
    fn of(node: SocketAddr) -> Stranger {
        let socket = StdSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        Stranger { socket, node }
    }

    fn send(&self, octets: &[u8]) {
        self.socket.send_to(octets, self.node).unwrap();
    }

    fn receive(&self) -> Message {
        let mut buffer = vec![0; 1 << 16];
        let (length, _) = self.socket.recv_from(&mut buffer).expect("an answer comes");
        buffer.truncate(length);
        Message::from_octets(buffer.into(), &Kinds::new()).unwrap()
    }

    /// All that the node has sent, up to the answer to this: a datagram overtakes none on the loopback interface.
    fn answers(&self) -> Vec<Message> {
        self.send(&Message::new(Kind::REQUEST_URI, "echo", "the last").to_octets().unwrap());
        let mut answers = Vec::new();
        loop {
            let message = self.receive();
            if message.content == "the last" {
                return answers;
            }
            answers.push(message);
        }
    }
}

// Requests.

#[test]
fn concurrent_requests_for_one_uri_each_get_their_own_answer() {
    run(async {
        let (most, at_once) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (all, counted) = (CancellationToken::new(), most.clone());
        let go_on = all.clone();
        // It answers when twenty are at work, so that they are side by side for certain; the first comes alone.
        let handler = move |incoming: Incoming| {
            at_once.set(at_once.get() + 1);
            counted.set(counted.get().max(at_once.get()));
            let (at_once, go_on) = (at_once.clone(), go_on.clone());
            async move {
                if incoming.message.content != "first" {
                    if at_once.get() == 20 {
                        go_on.cancel();
                    }
                    go_on.cancelled().await;
                }
                at_once.set(at_once.get() - 1);
                Some(incoming.answer(Kind::RESPOND_URI, incoming.message.content.clone()))
            }
        };
        let (one, other) = pair(Builder::new().on((Kind::REQUEST_URI, "all"), handler));
        assert_eq!(ask(&other, &one, "all", "first").await.content, "first");
        let (peer, scope) = (other.peer(one.local_addr()), Scope::<std::convert::Infallible>::new());
        for number in 0..20_u8 {
            let peer = peer.clone();
            scope.spawn(async move {
                let answer = peer.request(Kind::REQUEST_URI, "all", vec![number]).await.unwrap();
                assert_eq!(answer.content[..], [number]);
            });
        }
        scope.join().await.unwrap();
        assert_eq!(most.get(), 20);
    });
}

#[test]
fn a_request_that_nobody_answers_ends_with_its_time_and_the_next_has_its_turn() {
    run(async {
        let silent = StdSocket::bind("127.0.0.1:0").unwrap();
        let other = node(Builder::new());
        let peer = other.peer(silent.local_addr().unwrap());
        let scope = Scope::<std::convert::Infallible>::new();
        for patience in [20, 40, 60] {
            let peer = peer.clone().timeout(Duration::from_millis(patience));
            scope.spawn(async move {
                assert!(peer.request(Kind::REQUEST_URI, "a", "").await.unwrap_err().is_timeout());
            });
        }
        scope.join().await.unwrap();
        let mut buffer = [0; 100];
        silent.set_read_timeout(Some(LONG)).unwrap();
        assert!(silent.recv_from(&mut buffer).is_ok(), "the first at least was sent");
    });
}

#[test]
fn a_request_whose_turn_comes_when_the_one_before_was_given_up_is_sent() {
    run(async {
        let silent = StdSocket::bind("127.0.0.1:0").unwrap();
        silent.set_read_timeout(Some(LONG)).unwrap();
        let other = node(Builder::new());
        let peer = other.peer(silent.local_addr().unwrap());
        let first = peer.clone().timeout(Duration::from_millis(50));
        // Given up at once; its answer may come until its time is over, and would be nobody's.
        assert!(timeout(Duration::ZERO, first.request(Kind::REQUEST_URI, "a", "1")).await.is_err());
        let second = wakering::spawn(async move { peer.request(Kind::REQUEST_URI, "a", "2").await });
        let mut contents = Vec::new();
        let mut buffer = [0; 100];
        while contents.last().is_none_or(|content| content != "2") {
            match silent.set_nonblocking(true).and_then(|()| silent.recv_from(&mut buffer)) {
                Ok((length, _)) => {
                    let message =
                        Message::from_octets(Bytes::copy_from_slice(&buffer[..length]), &Kinds::new());
                    contents.push(message.unwrap().content);
                }
                Err(_nothing) => sleep(Duration::from_millis(1)).await,
            }
        }
        second.abort();
    });
}

#[test]
fn an_answer_of_an_earlier_time_answers_nothing() {
    run(async {
        let (one, other) = pair(echo(Builder::new()));
        let stranger = Stranger::of(other.local_addr());
        let peer = other.peer(stranger.socket.local_addr().unwrap());
        let asked = wakering::spawn(async move { peer.request(Kind::REQUEST_URI, "a", "").await });
        assert_eq!(ask(&other, &one, "echo", "x").await.content, "x");
        let request = stranger.receive();
        let mut stale = Message::new(Kind::RESPOND_URI, "a", "stale");
        stale.fields.set("re", wakering::message::Value::Int(1));
        stranger.send(&stale.to_octets().unwrap());
        let mut right = Message::new(Kind::RESPOND_URI, "a", "right");
        right.fields.set("re", request.fields.get("id").unwrap());
        stranger.send(&right.to_octets().unwrap());
        assert_eq!(asked.await.unwrap().unwrap().content, "right");
    });
}

#[test]
fn a_cancelled_request_loses_nothing_and_its_answer_is_nobody_elses() {
    run(async {
        let (builder, _, release) = held(echo(Builder::new()));
        let (one, other) = pair(builder);
        let peer = other.peer(one.local_addr());
        assert_eq!(ask(&other, &one, "echo", "x").await.content, "x");
        for _ in 0..20 {
            let given_up = peer.request(Kind::REQUEST_URI, "held", "given up");
            assert!(timeout(Duration::from_millis(1), given_up).await.is_err());
        }
        release.cancel();
        assert_eq!(ask(&other, &one, "held", "mine").await.content, "mine");
        assert_eq!(ask(&other, &one, "echo", "y").await.content, "y");
    });
}

// Content.

#[test]
fn what_is_too_long_for_a_datagram_is_an_error_that_says_so() {
    run(async {
        let (one, other) = pair(echo(Builder::new()));
        let peer = other.peer(one.local_addr());
        // 65,507 octets of a datagram, less head, fields with a number, length of the uri, and uri.
        let fits = vec![7; 65_400];
        let answer = peer.request(Kind::REQUEST_URI, "echo", fits.clone()).await.unwrap();
        assert_eq!(answer.content, fits);
        let message = |octets| Message::new(Kind::NOTIFY_URI, "", vec![0; octets]);
        assert_eq!(peer.send(message(65_422)), Ok(()));
        assert!(matches!(peer.send(message(65_423)), Err(SendError::Encode(_))));
        let signed = node(Builder::new().layer(Layer::new().auth(HmacAuth::new("s"))));
        let error = signed.peer(one.local_addr()).send(message(65_420)).unwrap_err();
        assert!(matches!(error, SendError::Datagram { octets: 65_513.., longest: 65_507 }), "{error}");
        let error = signed.peer(one.local_addr()).request(Kind::REQUEST_URI, "", vec![0; 65_420]).await;
        assert!(matches!(error, Err(RequestError::Send(SendError::Datagram { .. }))), "{error:?}");
        // The node is none the worse for it.
        assert_eq!(peer.request(Kind::REQUEST_URI, "echo", "x").await.unwrap().content, "x");
    });
}

#[test]
fn an_answer_that_is_too_long_is_an_error_to_who_asked() {
    run(async {
        let builder = Builder::new().on((Kind::REQUEST_URI, "long"), |incoming: Incoming| async move {
            Some(incoming.answer(Kind::RESPOND_URI, vec![0; 65_500]))
        });
        let (one, other) = pair(builder);
        let answer = ask(&other, &one, "long", "").await;
        assert_eq!(answer.kind, Kind::ERROR);
        assert!(String::from_utf8_lossy(&answer.content).contains("65504"), "{answer:?}");
    });
}

// Strangers.

#[test]
fn each_malformed_datagram_has_the_reaction_that_is_told() {
    let server = Process::start("message_server", &["--udp"]);
    let stranger = Stranger::of(server.address);
    let request = Message::new(Kind::REQUEST_URI, "echo", "hello").to_octets().unwrap();
    let changed = |at: usize, to: u8| {
        let mut octets = request.clone();
        octets[at] = to;
        octets
    };
    for (what, octets) in [
        ("an unknown type", changed(0, 14)),
        ("no fields", changed(2, 0)),
        ("fields that are no map", changed(9, 0x44)),
        ("a body of one octet", changed(4, 1)),
        ("a uri that is longer than the body", changed(12, 0xff)),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("nothing", Vec::new()),
        ("half a message", request[..15].to_vec()),
    ] {
        stranger.send(&octets);
        let answers = stranger.answers();
        // A uri of a changed length is found by the checksum first.
        assert!(answers.iter().all(|answer| answer.content == "invalid message"), "{what}: {answers:?}");
        assert_eq!(answers.len(), usize::from(what.starts_with("a uri")), "{what}: {answers:?}");
    }
    stranger.send(&changed(5, request[5] ^ 1));
    let answers = stranger.answers();
    assert_eq!((answers[0].kind, &answers[0].uri[..]), (Kind::ERROR, &b"ERROR"[..]));
    assert_eq!((answers.len(), &answers[0].content[..]), (1, &b"invalid message"[..]));
    // What stands behind a message in its datagram is ignored.
    stranger.send(&[&request[..], b"more"].concat());
    assert_eq!(stranger.answers()[0].content, "hello");
    server.signal(Signal::Terminate);
    assert_eq!(server.wait(LONG).0.code(), Some(0));
}

#[test]
fn answers_are_never_answered_not_even_damaged_ones() {
    let server = Process::start("message_server", &["--udp"]);
    let stranger = Stranger::of(server.address);
    for kind in [
        Kind::RESPOND_URI,
        Kind::OK,
        Kind::CONFIRM_SUBSCRIBE,
        Kind::CONFIRM_UNSUBSCRIBE,
        Kind::PEER_DISCOVERED,
        Kind::ERROR,
        Kind::AUTH_ERROR,
        Kind::NOT_FOUND,
        Kind::NOT_PERMITTED,
        Kind::DISCONNECT,
    ] {
        let mut octets = Message::new(kind, "ERROR", "x").to_octets().unwrap();
        stranger.send(&octets);
        octets[5] ^= 1;
        stranger.send(&octets);
    }
    assert_eq!(stranger.answers(), []);
    stranger.send(&Message::new(Kind::NOTIFY_URI, "news", "x").to_octets().unwrap());
    assert_eq!(stranger.answers(), []);
    stranger.send(&Message::new(Kind::ADVERTISE_PEER, "netaio", "x").to_octets().unwrap());
    assert_eq!(stranger.answers()[0].kind, Kind::NOT_FOUND);
}

#[test]
fn a_host_is_told_no_more_errors_than_do_good() {
    run(async {
        let one = node(echo(Builder::new()));
        let address = one.local_addr();
        let sent = wakering::spawn_blocking(move || {
            let stranger = Stranger::of(address);
            let unknown = Message::new(Kind::REQUEST_URI, "unknown", "").to_octets().unwrap();
            // Few enough that none is lost on its way.
            (0..10)
                .map(|_| {
                    (0..50).for_each(|_| stranger.send(&unknown));
                    stranger.answers().len()
                })
                .sum::<usize>()
        });
        let told = sent.unwrap().await.unwrap();
        let untold = usize::try_from(one.ignored().untold).unwrap();
        assert!(told >= 100, "{told}");
        assert_eq!(told + untold, 500);
    });
}

#[test]
fn two_default_handlers_do_not_answer_each_other() {
    run(async {
        let calls = [Rc::new(Cell::new(0)), Rc::new(Cell::new(0))];
        let made = calls.clone().map(|calls| {
            node(echo(Builder::new()).otherwise(move |incoming: Incoming| {
                calls.set(calls.get() + 1);
                async move { Some(incoming.answer(Kind::NOT_FOUND, "what?")) }
            }))
        });
        let [one, other] = made;
        other.peer(one.local_addr()).send(Message::new(Kind::CREATE_URI, "", "")).unwrap();
        while calls[1].get() == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        // What comes after has been dealt with after: whatever they sent each other is over.
        for _ in 0..3 {
            assert_eq!(ask(&other, &one, "echo", "x").await.content, "x");
            assert_eq!(ask(&one, &other, "echo", "x").await.content, "x");
        }
        assert_eq!((calls[0].get(), calls[1].get()), (1, 1));
        assert_eq!(ask(&one, &other, "unknown", "").await.content, "what?");
    });
}

#[test]
fn a_default_handler_begins_no_exchange() {
    run(async {
        let builder = echo(Builder::new())
            .otherwise(|incoming: Incoming| async move { Some(incoming.answer(Kind::REQUEST_URI, "")) });
        let (one, other) = pair(echo(builder));
        let stranger = Stranger::of(one.local_addr());
        stranger.send(&Message::new(Kind::REQUEST_URI, "unknown", "").to_octets().unwrap());
        assert_eq!(ask(&other, &one, "echo", "x").await.content, "x");
        let answers = wakering::spawn_blocking(move || stranger.answers()).unwrap().await.unwrap();
        assert_eq!(answers, []);
    });
}

// Handlers.

#[test]
fn a_panic_in_a_handler_is_answered_and_the_node_goes_on() {
    run(async {
        let builder =
            echo(Builder::new()).on((Kind::REQUEST_URI, "panic"), |_| async { panic!("as the test wants") });
        let (one, other) = pair(builder);
        for _ in 0..3 {
            assert_eq!(ask(&other, &one, "panic", "").await.kind, Kind::ERROR);
            assert_eq!(ask(&other, &one, "echo", "x").await.content, "x");
        }
    });
}

#[test]
fn a_handler_may_ask_back_before_it_answers() {
    run(async {
        let builder = Builder::new().on((Kind::REQUEST_URI, "who am i"), |incoming: Incoming| async move {
            let name = incoming.peer.request(Kind::REQUEST_URI, "echo", "you").await.unwrap();
            Some(incoming.answer(Kind::RESPOND_URI, name.content))
        });
        let (one, other) = (node(builder), node(echo(Builder::new())));
        assert_eq!(ask(&other, &one, "who am i", "").await.content, "you");
    });
}

#[test]
fn a_handler_never_sees_a_message_that_a_layer_refuses() {
    run(async {
        let calls = Rc::new(Cell::new(0));
        let counted = calls.clone();
        let admin = || Layer::new().auth(HmacAuth::new("admin").field("camh"));
        let outer = || Layer::new().auth(HmacAuth::new("s")).cipher(StreamCipher::new("k"));
        let handler = move |incoming: Incoming| {
            counted.set(counted.get() + 1);
            async move { Some(incoming.answer(Kind::OK, "")) }
        };
        let one = node(Builder::new().layer(outer()).on_within(admin(), (Kind::DELETE_URI, "x"), handler));
        let peer = node(Builder::new().layer(outer())).peer(one.local_addr());
        let error = peer.request(Kind::DELETE_URI, "x", "").await.unwrap_err();
        assert!(matches!(&error, RequestError::NotGenuine(text) if text == "HMAC auth failed"), "{error}");
        let admitted = peer.clone().within(admin()).request(Kind::DELETE_URI, "x", "").await.unwrap();
        assert_eq!((admitted.kind, calls.get()), (Kind::OK, 1));
        let stranger = node(Builder::new()).peer(one.local_addr());
        assert_eq!(stranger.request(Kind::DELETE_URI, "x", "").await.unwrap().kind, Kind::AUTH_ERROR);
        let other_key = Layer::new().auth(HmacAuth::new("s")).cipher(StreamCipher::new("another"));
        let garbled = node(Builder::new().layer(other_key)).peer(one.local_addr());
        assert!(!garbled.request(Kind::DELETE_URI, "x", "").await.unwrap_err().is_timeout());
        assert_eq!(calls.get(), 1);
    });
}

#[test]
fn what_is_published_comes_to_the_addresses_that_subscribed() {
    run(async {
        let one = node(echo(Builder::new()));
        let heard: Rc<RefCell<Vec<usize>>> = Rc::default();
        let others: Vec<UdpNode> = (0..3)
            .map(|number| {
                let heard = heard.clone();
                node(Builder::new().on(Kind::NOTIFY_URI, move |_| {
                    heard.borrow_mut().push(number);
                    async { None }
                }))
            })
            .collect();
        let peers: Vec<_> = others.iter().map(|other| one.peer(other.local_addr())).collect();
        assert!(peers[0].subscribe("news") && peers[1].subscribe("news") && peers[0].subscribe("news"));
        assert!(peers[1].subscribe("other") && peers[1].unsubscribe("news") && !peers[2].unsubscribe("news"));
        assert_eq!(one.notify("news", Message::new(Kind::NOTIFY_URI, "news", "it")).unwrap(), 1);
        assert_eq!(one.notify("nothing", Message::new(Kind::NOTIFY_URI, "nothing", "it")).unwrap(), 0);
        for other in &others {
            // What was sent before is handled before the answer is here.
            assert_eq!(ask(other, &one, "echo", "x").await.content, "x");
        }
        assert_eq!(*heard.borrow(), [0]);
        peers[0].disconnect();
        assert_eq!(one.notify("news", Message::new(Kind::NOTIFY_URI, "news", "it")).unwrap(), 0);
        let subscribed = (0..2000).filter(|topic| peers[2].subscribe(format!("topic {topic}"))).count();
        assert_eq!(subscribed, 1024);
    });
}

// The end.

#[test]
fn a_node_ends_at_once_or_when_what_it_handles_is_answered() {
    run(async {
        let (builder, begun, release) = held(echo(Builder::new()));
        let (one, other) = pair(builder);
        assert_eq!(ask(&other, &one, "echo", "x").await.content, "x");
        assert_eq!(other.shutdown(LONG).await.aborted, 0);
        let other = node(Builder::new());
        let peer = other.peer(one.local_addr());
        let asked = wakering::spawn(async move { peer.request(Kind::REQUEST_URI, "held", "x").await });
        begun.cancelled().await;
        let ending = one.clone();
        let ended = wakering::spawn(async move { ending.shutdown(LONG).await });
        release.cancel();
        assert_eq!(asked.await.unwrap().unwrap().content, "x");
        assert_eq!(ended.await.unwrap().aborted, 0);
        assert_eq!(one.closed().await.unwrap(), one.shutdown(Duration::ZERO).await);
        let error = one.peer(other.local_addr()).send(Message::new(Kind::OK, "", "")).unwrap_err();
        assert_eq!(error, SendError::Closed);
    });
}

#[test]
fn a_handler_may_await_the_end_of_its_node_and_not_what_never_comes() {
    run(async {
        let own: Rc<OnceCell<UdpNode>> = Rc::default();
        let (builder, begun, release) = held(Builder::new());
        let (ends, waits) = (own.clone(), own.clone());
        let one = node(
            builder
                .on((Kind::REQUEST_URI, "quit"), move |incoming: Incoming| {
                    let node = ends.get().unwrap().clone();
                    async move {
                        let stopped = node.shutdown(LONG).await;
                        Some(incoming.answer(Kind::RESPOND_URI, stopped.aborted.to_string()))
                    }
                })
                .on((Kind::REQUEST_URI, "closed"), move |incoming: Incoming| {
                    let node = waits.get().unwrap().clone();
                    async move {
                        let refused = node.closed().await.is_err();
                        Some(incoming.answer(Kind::RESPOND_URI, refused.to_string()))
                    }
                }),
        );
        let _ = own.set(one.clone());
        let other = node(Builder::new());
        assert_eq!(ask(&other, &one, "closed", "").await.content, "true");
        let peer = other.peer(one.local_addr());
        let asked = wakering::spawn(async move { peer.request(Kind::REQUEST_URI, "held", "x").await });
        begun.cancelled().await;
        // The end waits for the other handler, and not for the one that waits for it.
        let peer = other.peer(one.local_addr());
        let first = wakering::spawn(async move { peer.request(Kind::REQUEST_URI, "quit", "").await });
        release.cancel();
        assert_eq!(first.await.unwrap().unwrap().content, "0");
        assert_eq!(asked.await.unwrap().unwrap().content, "x");
        assert_eq!(one.closed().await.unwrap().aborted, 0);
    });
}

#[test]
fn stopping_ends_in_every_order() {
    for order in 0..3 {
        run(async {
            let (builder, begun, release) = held(Builder::new());
            let (one, other) = pair(builder);
            let peer = other.peer(one.local_addr());
            let asked = wakering::spawn(async move { peer.request(Kind::REQUEST_URI, "held", "").await });
            begun.cancelled().await;
            let lost = |outcome: Result<Message, RequestError>| {
                assert!(matches!(outcome, Err(RequestError::Lost(LinkEnd::Closed))), "{outcome:?}");
            };
            match order {
                0 => {
                    // Who waits for an answer when its own node ends is told so, at once.
                    other.shutdown(LONG).await;
                    lost(asked.await.unwrap());
                    release.cancel();
                    assert_eq!(one.shutdown(LONG).await.aborted, 0);
                }
                1 => {
                    assert_eq!(one.shutdown(Duration::ZERO).await.aborted, 1);
                    other.shutdown(LONG).await;
                    lost(asked.await.unwrap());
                }
                _ => {
                    let ending = one.clone();
                    let ended = wakering::spawn(async move { ending.shutdown(LONG).await });
                    other.shutdown(Duration::ZERO).await;
                    lost(asked.await.unwrap());
                    release.cancel();
                    ended.await.unwrap();
                }
            }
        });
    }
}

#[test]
fn the_end_of_the_runtime_ends_a_node_and_answers_first() {
    let runtime = wakering::Runtime::new().unwrap();
    let asked = runtime
        .block_on(async {
            let (builder, begun, release) = held(Builder::new());
            let (one, other) = pair(builder);
            let peer = other.peer(one.local_addr());
            // A handler may still be answered when its node ends, so this is asked by no node's handler.
            let asked = wakering::spawn(async move { peer.request(Kind::REQUEST_URI, "held", "x").await });
            begun.cancelled().await;
            let ended = one.clone();
            let ending = wakering::spawn(async move { ended.shutdown(LONG).await });
            release.cancel();
            let answer = asked.await.unwrap().map(|answer| answer.content);
            ending.await.unwrap();
            answer
        })
        .unwrap();
    assert_eq!(asked.unwrap(), "x");
    drop(runtime);
}

#[test]
fn a_dump_says_which_answer_is_waited_for() {
    run(async {
        let (builder, begun, _) = held(Builder::new());
        let (one, other) = pair(builder);
        let peer = other.peer(one.local_addr());
        let asked = wakering::spawn(async move { peer.request(Kind::REQUEST_URI, "held", "").await });
        begun.cancelled().await;
        let dump = wakering::Handle::current().dump().to_string();
        let wanted = format!("the answer to REQUEST_URI held from {}", one.local_addr());
        assert!(dump.contains(&wanted), "{dump}");
        let wanted = format!("works on REQUEST_URI held from {}", other.local_addr());
        assert!(dump.contains(&wanted), "{dump}");
        asked.abort();
    });
}

// Nobody there, and numbers.

/// An address that nobody receives at, and what keeps it so.
fn nobody() -> (SocketAddr, StdSocket) {
    // Nobody else gets the port of all addresses meanwhile.
    let keeps = StdSocket::bind("127.0.0.1:0").unwrap();
    (SocketAddr::from(([127, 0, 0, 2], keeps.local_addr().unwrap().port())), keeps)
}

#[test]
fn a_request_to_where_nobody_receives_ends_at_once_and_harms_no_other() {
    if !cfg!(target_os = "linux") {
        return support::skip("the system keeps no reports of datagrams that did not get there");
    }
    run(async {
        let (one, other) = pair(echo(Builder::new()));
        let (absent, _keeps) = nobody();
        let absent = other.peer(absent);
        let held = [absent.clone(), absent.clone()];
        let asked = held.map(|peer| {
            wakering::spawn(async move { peer.request(Kind::REQUEST_URI, "a", "").await.unwrap_err() })
        });
        // The second one waits for the first, being for the same uri.
        for (asked, is_sent) in asked.into_iter().zip([true, false]) {
            let error = asked.await.unwrap();
            let (RequestError::Lost(LinkEnd::Io(_, cause)) | RequestError::Unsent(LinkEnd::Io(_, cause))) =
                &error
            else {
                panic!("{error}")
            };
            assert_eq!(cause.kind(), std::io::ErrorKind::ConnectionRefused);
            assert_eq!(error.was_sent(), is_sent);
        }
        for _ in 0..20 {
            // The error of this comes in the way of what is sent next.
            absent.send(Message::new(Kind::NOTIFY_URI, "news", "")).unwrap();
            assert_eq!(ask(&other, &one, "echo", "x").await.content, "x");
        }
    });
}

#[test]
fn numbers_tell_what_a_node_has_done() {
    run(async {
        let (one, other) = pair(echo(Builder::new()));
        let late = Rc::new(Cell::new(0));
        let counts = late.clone();
        other.on_timeout(move |_late| {
            counts.set(counts.get() + 1);
            async {}
        });
        for _ in 0..3 {
            assert_eq!(ask(&other, &one, "echo", "x").await.content, "x");
        }
        assert_eq!(ask(&other, &one, "unknown", "").await.kind, Kind::NOT_FOUND);
        let silent = StdSocket::bind("127.0.0.1:0").unwrap();
        let silent = other.peer(silent.local_addr().unwrap()).timeout(Duration::from_millis(20));
        let error = silent.request(Kind::REQUEST_URI, "a", "").await.unwrap_err();
        assert!(error.is_timeout() || error.is_closed(), "{error}");
        let (mine, theirs) = (other.metrics(), one.metrics());
        assert_eq!((mine.requests, mine.sent, mine.received, mine.handlers), (5, 5, 4, 0));
        assert_eq!((mine.timeouts, late.get()), (u64::from(error.is_timeout()), mine.timeouts));
        assert_eq!((theirs.received, theirs.sent, theirs.requests, theirs.connections), (4, 4, 0, 0));
        assert!(theirs.to_string().contains("wakering_message_received_total 4\n"), "{theirs}");
    });
}

// The programs.

fn client(server: &Process, arguments: &[&str]) -> Output {
    let mut command = Command::new(example("message_client"));
    command.args(["--addr", &server.address.to_string(), "--udp", "--timeout", "30"]).args(arguments);
    command.output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[test]
fn the_programs_speak_by_datagrams_too() {
    let server = Process::start("message_server", &["--udp", "--secret", "s", "--key", "k"]);
    let with = |arguments: &[&str]| client(&server, &[&["--secret", "s", "--key", "k"], arguments].concat());
    assert_eq!(code(&with(&["new", "a", "one"])), 0);
    let read = with(&["get", "a"]);
    assert_eq!((code(&read), &read.stdout[..], &read.stderr[..]), (0, &b"one"[..], &b""[..]));
    assert_eq!(code(&with(&["put", "a", "two"])), 0);
    assert_eq!(with(&["get", "a"]).stdout, b"two");
    assert_eq!(code(&with(&["del", "a"])), 0);
    assert_eq!(code(&with(&["get", "a"])), 4);
    assert_eq!(code(&client(&server, &["get", "a"])), 5, "without the secret");
    server.signal(Signal::Terminate);
    assert_eq!(server.wait(LONG).0.code(), Some(0));
    let silent = StdSocket::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    let line = ["--addr", &addr, "--udp", "--timeout", "0.2", "get", "a"];
    assert_eq!(code(&Command::new(example("message_client")).args(line).output().unwrap()), 3);
    let (absent, _keeps) = nobody();
    let absent = absent.to_string();
    let told = if cfg!(target_os = "linux") { 6 } else { 3 };
    for more in [&["--timeout", "30"][..], &["--timeout", "0.3", "--reconnect"]] {
        let mut command = Command::new(example("message_client"));
        let output = command.args(["--addr", &absent, "--udp", "get", "a"]).args(more).output().unwrap();
        assert_eq!(code(&output), told, "{output:?}");
    }
}

#[test]
fn the_programs_seal_what_they_say_in_a_session() {
    for way in [&["--udp"][..], &[]] {
        let server = Process::start("message_server", &[&["--session", "a long one"], way].concat());
        let run = |more: &[&str]| {
            let mut command = Command::new(example("message_client"));
            command.args(["--addr", &server.address.to_string(), "--timeout", "30"]).args(way).args(more);
            command.output().unwrap()
        };
        assert_eq!(code(&run(&["--session", "a long one", "new", "a", "one"])), 0);
        assert_eq!(run(&["--session", "a long one", "get", "a"]).stdout, b"one");
        for other in [&["get", "a"][..], &["--session", "another", "get", "a"]] {
            let refused = run(other);
            assert_eq!((code(&refused), &refused.stdout[..]), (5, &b""[..]), "{refused:?}");
        }
        server.signal(Signal::Terminate);
        assert_eq!(server.wait(LONG).0.code(), Some(0));
    }
}

#[test]
fn the_client_program_asks_again_until_a_node_is_there() {
    let (absent, _keeps) = nobody();
    let absent = absent.to_string();
    let mut client = Command::new(example("message_client"));
    let line = ["--addr", &absent, "--udp", "--timeout", "60", "--reconnect", "new", "a", "one"];
    let client = client.args(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut command = support::kill_with_parent(example("message_server"));
    command.args(["--addr", &absent, "--udp"]).stdin(Stdio::null());
    let server = Process::run("message_server", command);
    let output = client.wait_with_output().unwrap();
    assert_eq!((code(&output), &output.stderr[..]), (0, &b""[..]));
    assert_eq!(self::client(&server, &["get", "a"]).stdout, b"one");
}

#[test]
fn the_client_program_subscribes_and_publishes_by_datagrams() {
    let server = Process::start("message_server", &["--udp"]);
    let mut subscriber = Command::new(example("message_client"));
    subscriber.args(["--addr", &server.address.to_string(), "--udp", "sub", "news", "--count", "2"]);
    let mut subscriber = subscriber.stdout(Stdio::piped()).spawn().unwrap();
    // It has subscribed when the first is heard; until then nobody hears what is published.
    let ended = support::eventually(LONG, || {
        assert_eq!(code(&client(&server, &["pub", "news", "x"])), 0);
        subscriber.try_wait().unwrap().is_some()
    });
    assert!(ended);
    let output = subscriber.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"xx"[..]));
    server.signal(Signal::Interrupt);
    assert_eq!(server.wait(LONG).0.code(), Some(0));
}
