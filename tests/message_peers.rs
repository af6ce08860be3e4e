//! Peers that introduce themselves: over connections, by datagrams, to a multicast group of the loopback interface.
#![cfg(all(feature = "message", not(loom)))]
#![expect(clippy::unwrap_used, reason = "a test ends at its first failure")]

mod support;

use std::{
    cell::{Cell, RefCell},
    future::Future,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
    rc::Rc,
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use support::server::example;
use wakering::{
    CancellationToken,
    message::{
        BoxCipher, Builder, Group, HmacAuth, Incoming, Introduction, Kind, Layer, Message, PeerEvent, Remote,
        SendError, UdpNode, Value,
    },
    net::{TcpListener, UdpSocket},
    time::{ManualClock, sleep, timeout},
};

/// Longer than anything takes on a loaded machine; only a failing test waits so long.
const LONG: Duration = Duration::from_secs(60);

fn run<F: Future>(future: F) -> F::Output {
    wakering::run(async { timeout(LONG, future).await.expect("it ends") }).unwrap()
}

async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        sleep(Duration::from_millis(1)).await;
    }
}

/// Who has come and gone, in the order in which it was told.
#[derive(Clone, Default)]
struct Told(Rc<RefCell<Vec<String>>>);

impl Told {
    fn hook(&self) -> impl Fn(PeerEvent) + 'static {
        let told = self.0.clone();
        move |event| {
            let (word, record) = match event {
                PeerEvent::Discovered(record) => ("+", record),
                PeerEvent::Lost(record) => ("-", record),
                _ => return,
            };
            told.borrow_mut().push(format!("{word}{}", String::from_utf8_lossy(&record.id)));
        }
    }

    async fn is(&self, wanted: &[&str]) {
        until(|| self.0.borrow().len() >= wanted.len()).await;
        assert_eq!(*self.0.borrow(), wanted);
    }
}

fn node(builder: Builder) -> UdpNode {
    builder.request_timeout(LONG).node(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap()
}

/// A group on the loopback interface, with a port that is free now.
fn group() -> Option<Group> {
    let port = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).unwrap().port();
    let group = Group::v4(Ipv4Addr::new(239, 255, 77, 77), port, Ipv4Addr::LOCALHOST);
    let probe = Builder::new().group(group);
    let joined = wakering::run(async { probe.node(UdpSocket::bind("127.0.0.1:0").unwrap()).map(drop) });
    if let Err(error) = joined.unwrap() {
        support::skip(&format!("the loopback interface has no multicast: {error}"));
        return None;
    }
    Some(group)
}

#[test]
fn nodes_introduce_themselves_and_say_when_they_go() {
    run(async {
        let (told, tells) = (Told::default(), Told::default());
        let data = Value::Map(vec![(Value::Str("name".into()), Value::Str("the first".into()))]);
        let one =
            node(Builder::new().introduce(Introduction::new("one").data(data.clone())).on_peer(told.hook()));
        let other = node(Builder::new().introduce(Introduction::new("other")).on_peer(tells.hook()));
        other.introduce_to(one.local_addr()).unwrap();
        told.is(&["+other"]).await;
        tells.is(&["+one"]).await;
        let records = other.known_peers();
        assert_eq!((records.len(), &records[0].id[..], &records[0].data), (1, &b"one"[..], &data));
        assert_eq!(records[0].addrs, [one.local_addr()]);
        assert_eq!(other.peer_by_id("one").unwrap().record(), Some(records[0].clone()));
        assert_eq!(other.peer_by_id("nobody").map(|peer| peer.addr()), None);
        assert_eq!(other.shutdown(LONG).await.aborted, 0);
        told.is(&["+other", "-other"]).await;
        assert_eq!(one.broadcast(Message::new(Kind::NOTIFY_URI, "", "")).unwrap(), 0);
        let stranger = node(Builder::new());
        assert_eq!(stranger.introduce_to(one.local_addr()), Err(SendError::NoIntroduction));
    });
}

#[test]
fn a_removed_peer_loses_all_its_addresses_and_subscriptions() {
    run(async {
        let one = node(Builder::new().introduce(Introduction::new("one")));
        // The same one at three addresses.
        let others: Vec<UdpNode> =
            (0..3).map(|_| node(Builder::new().introduce(Introduction::new("other")))).collect();
        for other in &others {
            other.introduce_to(one.local_addr()).unwrap();
            until(|| one.peer(other.local_addr()).record().is_some()).await;
            assert!(one.peer(other.local_addr()).subscribe("news"));
        }
        let news = || Message::new(Kind::NOTIFY_URI, "news", "it");
        assert_eq!(one.known_peers()[0].addrs.len(), 3);
        assert_eq!((one.notify("news", news()).unwrap(), one.broadcast(news()).unwrap()), (3, 1));
        assert!(one.remove_peer("other") && !one.remove_peer("other"));
        assert_eq!((one.notify("news", news()).unwrap(), one.broadcast(news()).unwrap()), (0, 0));
        assert!(others.iter().all(|other| one.peer(other.local_addr()).record().is_none()));
    });
}

#[test]
fn a_peer_of_which_nothing_is_heard_expires_with_its_subscriptions() {
    run(async {
        let told = Told::default();
        let introduction = Introduction::new("one").expiry(Duration::from_millis(100));
        let one = node(Builder::new().introduce(introduction).on_peer(told.hook()));
        let other = node(Builder::new().introduce(Introduction::new("other")));
        other.introduce_to(one.local_addr()).unwrap();
        told.is(&["+other"]).await;
        // Whether it is known still or not, the subscription is of its address; if it is not, nothing takes it away.
        let subscribed = one.peer(other.local_addr()).record().is_some();
        if subscribed {
            one.peer(other.local_addr()).subscribe("news");
        }
        told.is(&["+other", "-other"]).await;
        until(|| one.notify("news", Message::new(Kind::NOTIFY_URI, "news", "")).unwrap() == 0).await;
    });
}

#[test]
fn what_is_for_one_peer_alone_is_sealed_with_the_key_that_it_has_told() {
    run(async {
        let key = |cipher: &BoxCipher| {
            let key = Value::Bytes(cipher.public_key().to_vec().into());
            Value::Map(vec![(Value::Str("pubkey".into()), key)])
        };
        let (mine, yours) = (BoxCipher::new(&[1; 32]), BoxCipher::new(&[2; 32]));
        let introduction = Introduction::new("one").data(key(&mine));
        let handler = |incoming: Incoming| async move {
            Some(incoming.answer(Kind::RESPOND_URI, incoming.message.content.clone()))
        };
        let one = node(Builder::new().introduce(introduction).on_within(
            Layer::new().cipher(mine),
            (Kind::REQUEST_URI, "secret"),
            handler,
        ));
        let other = node(Builder::new().introduce(Introduction::new("other").data(key(&yours))));
        let peer = other.peer(one.local_addr()).within(Layer::new().cipher(yours.clone()));
        let error = peer.request(Kind::REQUEST_URI, "secret", "psst").await.unwrap_err();
        assert!(error.to_string().contains("the peer has not said what its key is"), "{error}");
        other.introduce_to(one.local_addr()).unwrap();
        until(|| peer.record().is_some()).await;
        assert_eq!(peer.request(Kind::REQUEST_URI, "secret", "psst").await.unwrap().content, "psst");
        // What goes to all goes to each in a form of its own.
        let sealed = other.clone().within(Layer::new().cipher(yours));
        assert_eq!(sealed.broadcast(Message::new(Kind::NOTIFY_URI, "secret", "psst")).unwrap(), 1);
    });
}

#[test]
fn a_key_that_is_known_counts_whatever_the_peer_says() {
    run(async {
        let (mine, yours) = (BoxCipher::new(&[1; 32]), BoxCipher::new(&[2; 32]));
        let handler = |incoming: Incoming| async move {
            Some(incoming.answer(Kind::RESPOND_URI, incoming.message.content.clone()))
        };
        // Nobody introduces himself.
        let known = Layer::new().cipher(mine.clone().to(yours.public_key()));
        let one = node(Builder::new().on_within(known, (Kind::REQUEST_URI, "secret"), handler));
        let other = node(Builder::new());
        let with = |cipher| other.peer(one.local_addr()).within(Layer::new().cipher(cipher));
        let sealed = with(yours.clone().to(mine.public_key()));
        assert_eq!(sealed.request(Kind::REQUEST_URI, "secret", "psst").await.unwrap().content, "psst");
        // Who has another key is not heard.
        let stranger = with(BoxCipher::new(&[3; 32]).to(mine.public_key()));
        assert!(stranger.request(Kind::REQUEST_URI, "secret", "psst").await.is_err());
    });
}

#[test]
fn clients_and_servers_introduce_themselves_on_every_connection() {
    run(async {
        let (told, tells) = (Told::default(), Told::default());
        let seen = Rc::new(Cell::new(0));
        let counted = seen.clone();
        let server = Builder::new()
            .introduce(Introduction::new("server"))
            .on_peer(told.hook())
            .on((Kind::REQUEST_URI, "who"), move |incoming: Incoming| {
                counted.set(counted.get() + 1);
                async move {
                    let id = incoming.peer.record().map(|record| record.id).unwrap_or_default();
                    Some(incoming.answer(Kind::RESPOND_URI, id))
                }
            })
            .serve(TcpListener::bind("127.0.0.1:0").unwrap())
            .unwrap();
        let builder = Builder::new().introduce(Introduction::new("client")).on_peer(tells.hook());
        let client = builder.reconnect(wakering::message::Reconnect::default()).client();
        let remote = client.connect(server.local_addr()).await.unwrap();
        assert_eq!(remote.request(Kind::REQUEST_URI, "who", "").await.unwrap().content, "client");
        tells.is(&["+server"]).await;
        assert_eq!((server.known_peers().len(), client.known_peers().len()), (1, 1));
        server.peers()[0].disconnect();
        remote.ended().await;
        told.is(&["+client", "-client"]).await;
        tells.is(&["+server", "-server"]).await;
        assert_eq!(remote.request(Kind::REQUEST_URI, "who", "").await.unwrap().content, "client");
        remote.close().await;
        told.is(&["+client", "-client", "+client", "-client"]).await;
        assert_eq!(seen.get(), 2);
        server.shutdown(LONG).await;
    });
}

#[test]
fn the_end_of_one_connection_leaves_the_peer_known_on_another() {
    run(async {
        let server = Builder::new()
            .introduce(Introduction::new("server"))
            .on((Kind::REQUEST_URI, "who"), |incoming: Incoming| async move {
                let id = incoming.peer.record().map(|record| record.id).unwrap_or_default();
                Some(incoming.answer(Kind::RESPOND_URI, id))
            })
            .serve(TcpListener::bind("127.0.0.1:0").unwrap())
            .unwrap();
        let open = CancellationToken::new();
        let (began, waits) = (Rc::new(Cell::new(false)), open.clone());
        let begins = began.clone();
        let client = Builder::new()
            .introduce(Introduction::new("client"))
            .half_closed(LONG)
            .on((Kind::NOTIFY_URI, "slow"), move |_incoming: Incoming| {
                begins.set(true);
                let waits = waits.clone();
                async move {
                    waits.cancelled().await;
                    None
                }
            })
            .client();
        let who = async |remote: &Remote| remote.request(Kind::REQUEST_URI, "who", "").await.unwrap().content;
        // The first connection has ended, but for a handler of the client, when the second one is made.
        let first = client.connect(server.local_addr()).await.unwrap();
        assert_eq!(who(&first).await, "client");
        server.peers()[0].send(Message::new(Kind::NOTIFY_URI, "slow", "")).unwrap();
        until(|| began.get()).await;
        server.peers()[0].disconnect();
        until(|| server.metrics().connections_open == 0).await;
        let second = client.connect(server.local_addr()).await.unwrap();
        assert_eq!(who(&second).await, "client");
        open.cancel();
        until(|| client.metrics().connections_open == 1).await;
        assert_eq!(client.known_peers().len(), 1);
        // One of two that are both well is closed.
        let third = client.connect(server.local_addr()).await.unwrap();
        assert_eq!(who(&third).await, "client");
        assert_eq!(server.known_peers()[0].addrs.len(), 2);
        second.close().await;
        until(|| server.metrics().connections_open == 1).await;
        assert_eq!(who(&third).await, "client");
        assert_eq!((server.known_peers().len(), server.known_peers()[0].addrs.len()), (1, 1));
        assert_eq!(client.known_peers().len(), 1);
        third.close().await;
        until(|| client.known_peers().is_empty() && server.known_peers().is_empty()).await;
    });
}

#[test]
fn a_group_is_told_who_is_there_and_hears_what_is_said() {
    let Some(group) = group() else { return };
    run(async {
        let secret = || Layer::new().auth(HmacAuth::new("s"));
        let heard: Rc<RefCell<Vec<String>>> = Rc::default();
        let member = |name: &'static str, layer: Layer| {
            let heard = heard.clone();
            node(
                Builder::new()
                    .layer(layer)
                    .group(group)
                    .introduce(Introduction::new(name).every(Duration::from_millis(50)))
                    .on((Kind::NOTIFY_URI, "chat"), move |incoming: Incoming| {
                        let said = String::from_utf8_lossy(&incoming.message.content).into_owned();
                        heard.borrow_mut().push(format!("{name} heard {said}"));
                        async { None }
                    }),
            )
        };
        let [one, two, three] = ["one", "two", "three"].map(|name| member(name, secret()));
        let stranger = member("stranger", Layer::new());
        for node in [&one, &two, &three] {
            until(|| node.known_peers().len() == 2).await;
        }
        one.multicast(Message::new(Kind::NOTIFY_URI, "chat", "hello")).unwrap();
        until(|| heard.borrow().len() >= 2).await;
        stranger.multicast(Message::new(Kind::NOTIFY_URI, "chat", "forged")).unwrap();
        // Nobody hears his own words, nor those of who does not know the secret.
        two.multicast(Message::new(Kind::NOTIFY_URI, "chat", "bye")).unwrap();
        until(|| heard.borrow().len() >= 4).await;
        let mut heard = heard.borrow().clone();
        heard.retain(|line| !line.starts_with("stranger"));
        heard.sort();
        assert_eq!(heard, ["one heard bye", "three heard bye", "three heard hello", "two heard hello"]);
        three.shutdown(LONG).await;
        until(|| one.known_peers().len() == 1 && two.known_peers().len() == 1).await;
    });
}

#[test]
fn a_node_without_a_group_says_so() {
    run(async {
        let error = node(Builder::new()).multicast(Message::new(Kind::NOTIFY_URI, "", "")).unwrap_err();
        assert_eq!(error, SendError::NoGroup);
    });
}

#[test]
fn what_others_would_not_take_makes_no_node() {
    run(async {
        let socket = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let long = Value::Bytes(vec![0; 4096].into());
        let group = |ip, port| Builder::new().group(Group::v4(ip, port, Ipv4Addr::LOCALHOST));
        for (builder, told) in [
            (Builder::new().introduce(Introduction::new("a").data(long)), "introduction of"),
            (Builder::new().introduce(Introduction::new(vec![0; 256])), "256 of them the id"),
            (group(Ipv4Addr::LOCALHOST, 8888), "127.0.0.1:8888 is no multicast group"),
            (group(Ipv4Addr::new(239, 255, 88, 88), 0), "239.255.88.88:0 is no multicast group"),
        ] {
            let error = builder.node(socket()).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains(told), "{error}");
        }
        let least = Value::Bytes(vec![0; 4000].into());
        assert!(Builder::new().introduce(Introduction::new("a").data(least)).node(socket()).is_ok());
    });
}

// The chat.

/// A chat as a program, its lines one by one.
struct Chat {
    child: Child,
    lines: Receiver<String>,
}

impl Chat {
    fn start(name: &str, group: SocketAddr) -> Chat {
        let mut child = Command::new(example("message_chat"))
            .args(["--name", name, "--group", &group.to_string(), "--interface", "127.0.0.1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let chat = Chat { child, lines };
        chat.hears("listening on ");
        chat
    }

    /// Waits until it has printed a line that begins like this.
    fn hears(&self, wanted: &str) {
        let mut heard = Vec::new();
        loop {
            match self.lines.recv_timeout(LONG) {
                Ok(line) if line.starts_with(wanted) => return,
                Ok(line) => heard.push(line),
                Err(error) => panic!("{wanted:?} was not heard ({error}), but {heard:?}"),
            }
        }
    }

    fn says(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        input.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        // Either may fail because it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn two_chats_on_one_machine_find_and_hear_each_other() {
    let Some(group) = group() else { return };
    let mut ann = Chat::start("Ann", group.addr());
    let mut bob = Chat::start("Bob", group.addr());
    ann.hears("* Bob is here");
    bob.hears("* Ann is here");
    ann.says("hello");
    bob.hears("Ann: hello");
    bob.says("hello yourself");
    ann.hears("Bob: hello yourself");
    let interrupted = Command::new("sh").arg("-c").arg(format!("kill -INT {}", bob.child.id())).status();
    assert!(interrupted.unwrap().success());
    ann.hears("* Bob has left");
    assert_eq!(bob.child.wait().unwrap().code(), Some(0));
    // The end of its input ends it, too.
    drop(ann.child.stdin.take());
    assert_eq!(ann.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_chat_whose_terminal_stands_still_is_ended_by_a_signal() {
    let Some(group) = group() else { return };
    let mut ann = Chat::start("Ann", group.addr());
    let mut bob = Command::new(example("message_chat"))
        .args(["--name", "Bob", "--group", &group.addr().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(bob.stdout.take().unwrap());
    output.read_line(&mut String::new()).unwrap();
    ann.hears("* Bob is here");
    // More than the pipe holds, which nobody reads; what is lost on the way is said again.
    for _ in 0..2_000 {
        ann.says(&"x".repeat(1_000));
    }
    let terminated = Command::new("sh").arg("-c").arg(format!("kill -TERM {}", bob.id())).status();
    assert!(terminated.unwrap().success());
    let began = Instant::now();
    let ended = loop {
        match bob.try_wait().unwrap() {
            None if began.elapsed() < LONG / 2 => thread::sleep(Duration::from_millis(1)),
            ended => break ended,
        }
    };
    drop(bob.kill());
    assert_eq!(ended.and_then(|status| status.code()), Some(0), "it hears no signal");
}

/// An introduction as a stranger writes it.
fn words(kind: Kind, id: &'static str) -> Vec<u8> {
    let said = Value::Tuple(vec![Value::Bytes(id.into()), Value::Bytes("".into())]).packed();
    Message::new(kind, "netaio", said).to_octets().unwrap()
}

#[test]
fn peers_are_forgotten_by_the_clock_of_the_runtime() {
    if wakering::internals::faults::ON {
        println!("SKIPPED: a call that fails on demand hides what has come, and the clock jumps over it");
        return;
    }
    const DAY: Duration = Duration::from_secs(86_400);
    let runtime = wakering::Runtime::builder().manual_clock(&ManualClock::new()).build().unwrap();
    let test = async {
        sleep(DAY).await;
        let one = node(Builder::new().introduce(Introduction::new("one").expiry(DAY)));
        let stranger = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        stranger.send_to(&words(Kind::ADVERTISE_PEER, "a"), one.local_addr()).unwrap();
        sleep(DAY / 2).await;
        assert_eq!(one.known_peers().len(), 1);
        sleep(DAY).await;
        assert!(one.known_peers().is_empty());
    };
    runtime.block_on(test).unwrap();
}

#[test]
fn an_address_that_is_a_peers_no_more_is_told_nothing_any_more() {
    run(async {
        let one = node(Builder::new().introduce(Introduction::new("one")));
        let known = |id: &str| one.known_peers().into_iter().find(|peer| peer.id == id);
        let news = || one.notify("news", Message::new(Kind::NOTIFY_URI, "news", "it")).unwrap();
        let strangers: Vec<_> = (0..9).map(|_| std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let say = |stranger: &std::net::UdpSocket, kind, id| {
            stranger.send_to(&words(kind, id), one.local_addr()).unwrap();
        };
        let first = one.peer(strangers[0].local_addr().unwrap());
        // It says that it goes.
        say(&strangers[0], Kind::ADVERTISE_PEER, "a");
        until(|| known("a").is_some()).await;
        assert!(first.subscribe("news"));
        say(&strangers[0], Kind::DISCONNECT, "a");
        until(|| known("a").is_none()).await;
        assert_eq!(news(), 0);
        // Another is at its address.
        say(&strangers[0], Kind::ADVERTISE_PEER, "b");
        until(|| known("b").is_some()).await;
        assert!(first.subscribe("news"));
        say(&strangers[0], Kind::ADVERTISE_PEER, "b");
        assert_eq!(news(), 1, "the same one, again");
        say(&strangers[0], Kind::ADVERTISE_PEER, "c");
        until(|| known("c").is_some()).await;
        assert_eq!(news(), 0);
        // It has more addresses than may be known.
        assert!(first.subscribe("news"));
        for stranger in &strangers[1..] {
            let address = stranger.local_addr().unwrap();
            say(stranger, Kind::ADVERTISE_PEER, "c");
            until(|| known("c").is_some_and(|peer| peer.addrs.contains(&address))).await;
        }
        assert_eq!((known("c").unwrap().addrs.len(), news()), (8, 0));
    });
}
