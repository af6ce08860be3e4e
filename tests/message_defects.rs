//! What goes wrong with the Python package and must not here, where no other test has it; see `docs/message-map.md`.
#![cfg(all(feature = "message", not(loom)))]
#![expect(clippy::unwrap_used, reason = "a test ends at its first failure")]

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    future::Future,
    io::{Read, Write},
    net::{SocketAddr, TcpStream as StdStream, UdpSocket as StdSocket},
    rc::Rc,
    time::{Duration, SystemTime},
};

use wakering::{
    CancellationToken, Runtime, Scope,
    internals::message::{Decoder, Kinds, plugins::Scene},
    message::{
        AuthPlugin, BoxCipher, Builder, HmacAuth, Incoming, Introduction, Kind, Layer, Message, Peer, Remote,
        RequestError, SendError, Server, StreamCipher, UdpNode, Value,
    },
    net::{OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream, UdpSocket},
    time::{ManualClock, sleep, timeout},
    yield_now,
};

/// Longer than anything takes on a loaded machine; only a failing test waits so long.
const LONG: Duration = Duration::from_secs(60);

fn run<F: Future>(future: F) -> F::Output {
    wakering::run(async { timeout(LONG, future).await.expect("it ends") }).unwrap()
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn node(builder: Builder) -> UdpNode {
    builder.request_timeout(LONG).node(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap()
}

async fn connected(builder: Builder, address: SocketAddr) -> Remote {
    builder.request_timeout(LONG).client().connect(address).await.unwrap()
}

fn echo(builder: Builder) -> Builder {
    builder.on((Kind::REQUEST_URI, "echo"), |incoming: Incoming| async move {
        Some(incoming.answer(Kind::RESPOND_URI, incoming.message.content.clone()))
    })
}

async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        sleep(Duration::from_millis(1)).await;
    }
}

/// A peer as the Python package is one: it repeats no numbers.
struct Original {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    decoder: Decoder,
}

impl Original {
    /// Has `live` deal with the one connection that is made to the address.
    fn start<F: Future<Output = ()> + 'static>(live: impl FnOnce(Original) -> F + 'static) -> SocketAddr {
        let listener = listener();
        let address = listener.local_addr().unwrap();
        wakering::spawn(async move {
            let (reader, writer) = listener.accept().await.unwrap().0.into_split();
            live(Original { reader, writer, decoder: Decoder::new(Kinds::new()) }).await;
        });
        address
    }

    /// What has come, one message at least; none at the end.
    async fn receive(&mut self) -> Vec<Message> {
        let (mut messages, mut octets) = (Vec::new(), vec![0; 70_000]);
        while messages.is_empty() {
            match self.reader.read(&mut octets).await {
                Ok(0) | Err(_) => return messages,
                Ok(read) => self.decoder.receive(&octets[..read]),
            }
            while let Some(message) = self.decoder.poll_message().unwrap() {
                messages.push(message);
            }
        }
        messages
    }

    async fn send(&mut self, octets: &[u8]) {
        self.writer.write_all(octets).await.unwrap();
    }
}

fn answer(request: &Message, content: &str) -> Vec<u8> {
    Message::new(Kind::RESPOND_URI, request.uri.clone(), content.to_owned()).to_octets().unwrap()
}

fn text(message: &Message) -> String {
    String::from_utf8_lossy(&message.content).into_owned()
}

// Requests.

#[test]
fn requests_at_once_to_a_peer_that_repeats_no_numbers_each_get_their_own_answer() {
    run(async {
        let most = Rc::new(Cell::new(0));
        let counts = most.clone();
        let address = Original::start(move |mut peer| async move {
            loop {
                let requests = peer.receive().await;
                if requests.is_empty() {
                    return;
                }
                let uris: HashSet<_> = requests.iter().map(|request| request.uri.clone()).collect();
                assert_eq!(uris.len(), requests.len(), "two for one uri at a time cannot be told apart");
                counts.set(counts.get().max(requests.len()));
                for request in requests.iter().rev() {
                    peer.send(&answer(request, &text(request))).await;
                }
            }
        });
        let remote = connected(Builder::new(), address).await;
        let scope: Scope = Scope::new();
        for number in 0..100u32 {
            let remote = remote.clone();
            scope.spawn(async move {
                let content = number.to_string();
                let uri = format!("uri {}", number % 10);
                let answer = remote.request(Kind::REQUEST_URI, uri, content.clone()).await.unwrap();
                assert_eq!(answer.content, content);
            });
        }
        scope.join().await.unwrap();
        assert!((2..=10).contains(&most.get()), "those for other uris need not wait: {}", most.get());
    });
}

#[test]
fn a_request_that_is_cancelled_between_head_and_body_of_its_answer_leaves_the_stream_whole() {
    for cut in [1, 9, 11, 14] {
        run(async move {
            let (half, rest) = (CancellationToken::new(), CancellationToken::new());
            let (tells, told) = (half.clone(), rest.clone());
            let address = Original::start(move |mut peer| async move {
                let first = answer(&peer.receive().await[0], "of the first");
                peer.send(&first[..cut]).await;
                tells.cancel();
                told.cancelled().await;
                peer.send(&first[cut..]).await;
                let second = peer.receive().await;
                peer.send(&answer(&second[0], "of the second")).await;
                peer.receive().await;
            });
            let remote = connected(Builder::new(), address).await;
            let asked = remote.request(Kind::REQUEST_URI, "a", "");
            assert!(half.run_until_cancelled(asked).await.is_none(), "it is given up half way");
            rest.cancel();
            let second = remote.request(Kind::REQUEST_URI, "a", "").await.unwrap();
            assert_eq!(second.content, "of the second");
        });
    }
}

#[test]
fn what_could_not_be_sent_leaves_nothing_behind() {
    run(async {
        let address = Original::start(|mut peer| async move {
            while let Some(request) = peer.receive().await.first() {
                peer.send(&answer(request, "it")).await;
            }
        });
        let remote = connected(Builder::new(), address).await;
        let too_long = remote.request(Kind::REQUEST_URI, "a", vec![0; 65_422]).await;
        assert!(matches!(too_long, Err(RequestError::Send(SendError::Encode(_)))), "{too_long:?}");
        let keyless = remote.clone().within(Layer::new().cipher(BoxCipher::new(&[1; 32])));
        let keyless = keyless.request(Kind::REQUEST_URI, "a", "").await;
        assert!(matches!(keyless, Err(RequestError::Send(SendError::Plugin(_)))), "{keyless:?}");
        // One that was not sent would keep the next for its uri waiting.
        assert_eq!(remote.request(Kind::REQUEST_URI, "a", "").await.unwrap().content, "it");
    });
}

// Layers.

#[test]
fn a_request_with_a_cipher_of_its_own_has_its_answer_decrypted_once() {
    let inner = || Layer::new().cipher(StreamCipher::new("k").field("iv2"));
    let outers = [Layer::new(), Layer::new().auth(HmacAuth::new("s")).cipher(StreamCipher::new("o"))];
    for outer in outers {
        run(async {
            let serving = || {
                let handler = |incoming: Incoming| async move {
                    Some(incoming.answer(Kind::RESPOND_URI, incoming.message.content.clone()))
                };
                Builder::new().layer(outer.clone()).on_within(inner(), Kind::REQUEST_URI, handler)
            };
            let server = serving().serve(listener()).unwrap();
            let remote = connected(Builder::new().layer(outer.clone()), server.local_addr()).await;
            let (one, other) = (node(serving()), node(Builder::new().layer(outer.clone())));
            let far = other.peer(one.local_addr());
            for content in ["the content", ""] {
                let asked = remote.clone().within(inner()).request(Kind::REQUEST_URI, "a", content).await;
                let answer = asked.unwrap();
                assert_eq!((&answer.uri[..], &answer.content[..]), (&b"a"[..], content.as_bytes()));
                let answer =
                    far.clone().within(inner()).request(Kind::REQUEST_URI, "a", content).await.unwrap();
                assert_eq!((&answer.uri[..], &answer.content[..]), (&b"a"[..], content.as_bytes()));
            }
        });
    }
}

const ERRORS: [Kind; 4] = [Kind::ERROR, Kind::AUTH_ERROR, Kind::NOT_FOUND, Kind::NOT_PERMITTED];

/// Handlers of errors, behind an outer layer or an inner one, that count how often they run.
fn heeding_errors(is_outer: bool) -> (Builder, Rc<Cell<u32>>) {
    let calls: Rc<Cell<u32>> = Rc::default();
    let signed = Layer::new().auth(HmacAuth::new("s"));
    let (outer, inner) = if is_outer { (signed, Layer::new()) } else { (Layer::new(), signed) };
    let mut builder = echo(Builder::new().layer(outer));
    for kind in ERRORS {
        let calls = calls.clone();
        builder = builder.on_within(inner.clone(), kind, move |_| {
            calls.set(calls.get() + 1);
            async { None }
        });
    }
    (builder, calls)
}

#[test]
fn errors_that_are_not_signed_reach_no_handler_and_are_not_answered() {
    for is_outer in [true, false] {
        run(async {
            let (builder, calls) = heeding_errors(is_outer);
            let server = builder.serve(listener()).unwrap();
            let (builder, far_calls) = heeding_errors(is_outer);
            let one = node(builder);
            let (address, far) = (server.local_addr(), one.local_addr());
            let strange = wakering::spawn_blocking(move || {
                let mut frames: Vec<Vec<u8>> =
                    ERRORS.map(|kind| Message::new(kind, "a", "").to_octets().unwrap()).into();
                // What comes back for this comes behind what would for those.
                frames.push(Message::new(Kind::REQUEST_URI, "echo", "").to_octets().unwrap());
                let mut stream = StdStream::connect(address).unwrap();
                stream.write_all(&frames.concat()).unwrap();
                let mut first = [0];
                stream.read_exact(&mut first).unwrap();
                let socket = StdSocket::bind("127.0.0.1:0").unwrap();
                socket.set_read_timeout(Some(LONG)).unwrap();
                frames.iter().for_each(|frame| _ = socket.send_to(frame, far).unwrap());
                let mut datagram = [0; 1000];
                socket.recv_from(&mut datagram).unwrap();
                (first[0], datagram[0])
            });
            let wanted = if is_outer { Kind::AUTH_ERROR } else { Kind::RESPOND_URI }.number();
            assert_eq!(strange.unwrap().await.unwrap(), (wanted, wanted));
            assert_eq!((calls.get(), far_calls.get()), (0, 0));
            // Who has the secret is heard.
            let signed = || Layer::new().auth(HmacAuth::new("s"));
            let (outer, inner) = if is_outer { (signed(), Layer::new()) } else { (Layer::new(), signed()) };
            let remote = connected(Builder::new().layer(outer.clone()), server.local_addr()).await;
            let other = node(Builder::new().layer(outer));
            let peer = remote.peer().unwrap().within(inner.clone());
            peer.send(Message::new(Kind::ERROR, "a", "")).unwrap();
            let peer = other.peer(one.local_addr()).within(inner);
            peer.send(Message::new(Kind::ERROR, "a", "")).unwrap();
            until(|| (calls.get(), far_calls.get()) == (1, 1)).await;
        });
    }
}

/// A signed datagram that is bound to its type and time.
fn bound_datagram(kind: Kind) -> Vec<u8> {
    let auth = HmacAuth::new("s");
    let mut message = Message::new(kind, "echo", "it");
    let mut random = |octets: &mut [u8]| octets.fill(9);
    let unix_time = u32::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    auth.sign(&mut message, &mut Scene { unix_time, random: &mut random, peer: None }).unwrap();
    auth.bind(&mut message);
    message.to_octets().unwrap()
}

#[test]
fn a_bound_datagram_passes_once_from_whatever_address_and_as_what_it_was() {
    run(async {
        let calls: Rc<Cell<u32>> = Rc::default();
        let deleted = calls.clone();
        let builder = echo(Builder::new().layer(Layer::new().auth(HmacAuth::new("s"))));
        let one = node(builder.on(Kind::DELETE_URI, move |incoming: Incoming| {
            deleted.set(deleted.get() + 1);
            async move { Some(incoming.answer(Kind::OK, "")) }
        }));
        let address = one.local_addr();
        let answers = wakering::spawn_blocking(move || {
            let ask = |octets: &[u8]| {
                let socket = StdSocket::bind("127.0.0.1:0").unwrap();
                socket.set_read_timeout(Some(LONG)).unwrap();
                socket.send_to(octets, address).unwrap();
                let mut answer = [0; 1000];
                socket.recv_from(&mut answer).unwrap();
                answer[0]
            };
            let request = bound_datagram(Kind::REQUEST_URI);
            let mut deleting = request.clone();
            deleting[0] = Kind::DELETE_URI.number();
            [ask(&deleting), ask(&request), ask(&request), ask(&deleting)]
        });
        let [refused, passes] = [Kind::AUTH_ERROR, Kind::RESPOND_URI].map(Kind::number);
        assert_eq!(answers.unwrap().await.unwrap(), [refused, passes, refused, refused]);
        assert_eq!((calls.get(), one.metrics().refused), (0, 3));
    });
}

// Peers.

#[test]
fn peers_can_be_kept_in_a_set_and_a_clone_is_the_same_one() {
    run(async {
        let kept: Rc<RefCell<HashSet<Peer>>> = Rc::default();
        let keeps = kept.clone();
        let builder = || {
            let keeps = keeps.clone();
            Builder::new().on(Kind::REQUEST_URI, move |incoming: Incoming| {
                keeps.borrow_mut().insert(incoming.peer.clone().timeout(LONG));
                let count = keeps.borrow().len();
                async move { Some(incoming.answer(Kind::RESPOND_URI, count.to_string())) }
            })
        };
        let (server, one) = (builder().serve(listener()).unwrap(), node(builder()));
        let mut counts = Vec::new();
        for _ in 0..2 {
            let remote = connected(Builder::new(), server.local_addr()).await;
            let other = node(Builder::new());
            for _ in 0..3 {
                counts.push(text(&remote.request(Kind::REQUEST_URI, "", "").await.unwrap()));
                let far = other.peer(one.local_addr());
                counts.push(text(&far.request(Kind::REQUEST_URI, "", "").await.unwrap()));
            }
        }
        assert_eq!(counts, ["1", "2", "2", "2", "2", "2", "3", "4", "4", "4", "4", "4"]);
        assert!(kept.borrow().iter().all(|peer| kept.borrow().contains(&peer.clone())));
    });
}

// Bounds.

#[test]
fn no_more_connections_are_served_than_may_be_and_the_next_waits_for_its_turn() {
    run(async {
        let server = echo(Builder::new()).max_connections(2).serve(listener()).unwrap();
        let address = server.local_addr();
        let first = connected(Builder::new(), address).await;
        let second = connected(Builder::new(), address).await;
        for remote in [&first, &second] {
            assert_eq!(remote.request(Kind::REQUEST_URI, "echo", "x").await.unwrap().content, "x");
        }
        // The system takes it, and the server will.
        let third = connected(Builder::new(), address).await;
        let waiting = third.clone();
        let asked = wakering::spawn(async move { waiting.request(Kind::REQUEST_URI, "echo", "y").await });
        assert_eq!(second.request(Kind::REQUEST_URI, "echo", "x").await.unwrap().content, "x");
        assert_eq!((server.connections(), server.metrics().connections), (2, 2));
        first.close().await;
        assert_eq!(asked.await.unwrap().unwrap().content, "y");
        assert_eq!(server.metrics().connections, 3);
    });
}

#[test]
fn a_peer_that_takes_nothing_of_what_is_written_is_disconnected_when_its_time_is_over() {
    run(async {
        let builder = echo(Builder::new()).write_timeout(Duration::from_millis(50)).queue_bytes(64 << 20);
        let server = builder.serve(listener()).unwrap();
        let stream = StdStream::connect(server.local_addr()).unwrap();
        until(|| server.connections() == 1).await;
        let peer = server.peers().remove(0);
        // More than any socket holds.
        for _ in 0..500 {
            peer.send(Message::new(Kind::NOTIFY_URI, "news", vec![1; 60_000])).unwrap();
        }
        until(|| server.connections() == 0).await;
        assert_eq!(peer.send(Message::new(Kind::OK, "", "")), Err(SendError::Closed));
        drop(stream);
    });
}

#[test]
fn a_connection_has_as_many_topics_and_handlers_at_work_as_may_be() {
    run(async {
        let (now, most, go_on) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)), CancellationToken::new());
        let (counts, highest, waits) = (now.clone(), most.clone(), go_on.clone());
        let builder = echo(Builder::new())
            .on((Kind::REQUEST_URI, "held"), move |incoming: Incoming| {
                let (counts, waits) = (counts.clone(), waits.clone());
                counts.set(counts.get() + 1);
                highest.set(highest.get().max(counts.get()));
                async move {
                    waits.cancelled().await;
                    counts.set(counts.get() - 1);
                    Some(incoming.answer(Kind::RESPOND_URI, ""))
                }
            })
            .on(Kind::SUBSCRIBE_URI, |incoming: Incoming| async move {
                let subscribed = (0..2000).filter(|topic| incoming.peer.subscribe(topic.to_string())).count();
                Some(incoming.answer(Kind::CONFIRM_SUBSCRIBE, subscribed.to_string()))
            });
        let server: Server = builder.serve(listener()).unwrap();
        let remote = connected(Builder::new(), server.local_addr()).await;
        assert_eq!(text(&remote.request(Kind::SUBSCRIBE_URI, "", "").await.unwrap()), "1024");
        let scope: Scope = Scope::new();
        for _ in 0..200 {
            let remote = remote.clone();
            scope.spawn(async move { assert!(remote.request(Kind::REQUEST_URI, "held", "").await.is_ok()) });
        }
        until(|| now.get() == 64).await;
        assert_eq!(server.metrics().handlers, 64);
        go_on.cancel();
        scope.join().await.unwrap();
        assert_eq!((most.get(), now.get()), (64, 0));
    });
}

/// Asks back before it answers.
async fn who_am_i(incoming: Incoming) -> Option<Message> {
    let name = incoming.peer.request(Kind::REQUEST_URI, "name", "").await.ok()?;
    Some(incoming.answer(Kind::RESPOND_URI, name.content))
}

#[test]
fn a_handler_that_asks_a_peer_without_numbers_has_its_answer_however_many_messages_come_before_it() {
    run(async {
        let builder = Builder::new().request_timeout(LONG).on((Kind::REQUEST_URI, "who am i"), who_am_i);
        let server: Server = builder.serve(listener()).unwrap();
        let (reader, writer) = TcpStream::connect(server.local_addr()).await.unwrap().into_split();
        let mut peer = Original { reader, writer, decoder: Decoder::new(Kinds::new()) };
        let request = Message::new(Kind::REQUEST_URI, "who am i", "").to_octets().unwrap();
        peer.send(&request.repeat(200)).await;
        let mut answered = 0;
        while answered < 200 {
            for message in peer.receive().await {
                if message.kind == Kind::REQUEST_URI {
                    peer.send(&answer(&message, "Ann")).await;
                } else {
                    assert_eq!((message.kind, text(&message)), (Kind::RESPOND_URI, "Ann".to_owned()));
                    answered += 1;
                }
            }
        }
    });
}

// Strangers.

#[test]
fn a_datagram_whose_uri_is_longer_than_its_body_is_ignored_and_counted() {
    run(async {
        let one = node(echo(Builder::new()));
        let address = one.local_addr();
        let answer = wakering::spawn_blocking(move || {
            let socket = StdSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(LONG)).unwrap();
            // Nine octets of uri in a body that has three behind their length, and the checksum is right.
            let octets = [0, 0, 3, 0, 5, 113, 79, 32, 71, 77, 64, 0, 0, 9, 97, 98, 99];
            socket.send_to(&octets, address).unwrap();
            let request = Message::new(Kind::REQUEST_URI, "echo", "it").to_octets().unwrap();
            socket.send_to(&request, address).unwrap();
            let mut answer = [0; 1000];
            socket.recv_from(&mut answer).unwrap();
            answer[0]
        });
        assert_eq!(answer.unwrap().await.unwrap(), Kind::RESPOND_URI.number());
        let numbers = one.metrics();
        assert_eq!((numbers.malformed, numbers.received, one.ignored().malformed), (1, 1, 1));
    });
}

/// A socket that says something to a node, and hears what the node says.
fn stranger(address: impl std::net::ToSocketAddrs) -> StdSocket {
    let socket = StdSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket
}

fn ask_by(socket: &StdSocket, node: SocketAddr, kind: Kind, uri: &'static str) -> Message {
    socket.send_to(&Message::new(kind, uri, "it").to_octets().unwrap(), node).unwrap();
    let mut answer = vec![0; 1000];
    let (length, _) = socket.recv_from(&mut answer).expect("an answer comes");
    answer.truncate(length);
    Message::from_octets(answer.into(), &Kinds::new()).unwrap()
}

fn subscribing(builder: Builder) -> Builder {
    builder.on(Kind::SUBSCRIBE_URI, |incoming: Incoming| async move {
        let may = incoming.peer.subscribe(incoming.message.uri.clone());
        Some(incoming.answer(if may { Kind::CONFIRM_SUBSCRIBE } else { Kind::NOT_PERMITTED }, ""))
    })
}

fn news() -> Message {
    Message::new(Kind::NOTIFY_URI, "news", "new")
}

#[test]
fn subscribers_that_never_go_leave_a_node_room_for_those_who_are_heard() {
    if StdSocket::bind("127.0.1.1:0").is_err() {
        return; // This system has one loopback address, and one host is bounded below.
    }
    run(async {
        let one = node(subscribing(echo(Builder::new())));
        let address = one.local_addr();
        let heard = wakering::spawn_blocking(move || {
            let heard = stranger("127.0.0.1:0");
            let subscribed = ask_by(&heard, address, Kind::SUBSCRIBE_URI, "news");
            assert_eq!(subscribed.kind, Kind::CONFIRM_SUBSCRIBE);
            // More addresses than may be known, twenty of each host; they are gone as soon as they have subscribed.
            for number in 0..4200_u32 {
                let (network, host) = (1 + number / 4000, 1 + number / 20 % 200);
                let socket = stranger(format!("127.0.{network}.{host}:0"));
                let subscribed = ask_by(&socket, address, Kind::SUBSCRIBE_URI, "news");
                assert_eq!(subscribed.kind, Kind::CONFIRM_SUBSCRIBE, "{number}");
                if number % 500 == 0 {
                    assert_eq!(ask_by(&heard, address, Kind::REQUEST_URI, "echo").content, "it");
                }
            }
            assert_eq!(ask_by(&stranger("127.0.0.1:0"), address, Kind::REQUEST_URI, "echo").content, "it");
            heard
        });
        let heard = heard.unwrap().await.unwrap();
        let told = one.notify("news", news()).unwrap();
        assert!((1900..=2048).contains(&told), "{told} are told");
        let told = wakering::spawn_blocking(move || heard.recv(&mut [0; 1000]).unwrap());
        assert!(told.unwrap().await.unwrap() > 0, "who was heard is told");
    });
}

#[test]
fn one_host_drives_out_its_own_subscribers_and_nobody_elses() {
    run(async {
        let one = node(subscribing(echo(Builder::new())));
        let address = one.local_addr();
        // Where there is one loopback address, it is the host's own.
        let other = StdSocket::bind("127.0.1.1:0").is_ok();
        let sockets = wakering::spawn_blocking(move || {
            let quiet = stranger(if other { "127.0.1.1:0" } else { "127.0.0.1:0" });
            let mut all = vec![quiet];
            all.extend((0..300).map(|_| stranger("127.0.0.1:0")));
            for socket in &all {
                let subscribed = ask_by(socket, address, Kind::SUBSCRIBE_URI, "news");
                assert_eq!(subscribed.kind, Kind::CONFIRM_SUBSCRIBE);
            }
            all
        });
        let sockets = sockets.unwrap().await.unwrap();
        let told = one.notify("news", news()).unwrap();
        assert!((250..=257).contains(&told), "{told} are told");
        if other {
            let quiet = wakering::spawn_blocking(move || sockets[0].recv(&mut [0; 1000]).unwrap());
            assert!(quiet.unwrap().await.unwrap() > 0, "another host's is told");
        }
    });
}

#[test]
fn a_subscription_by_datagrams_ends_after_a_day_of_silence() {
    let clock = ManualClock::new();
    clock.auto_advance(false);
    let runtime = Runtime::builder().manual_clock(&clock).build().unwrap();
    let hours = |hours: u64| clock.advance(Duration::from_secs(hours * 3600));
    runtime
        .block_on(async {
            let one = node(subscribing(echo(Builder::new())));
            let others = [node(Builder::new()), node(Builder::new())];
            for other in &others {
                let subscribed =
                    other.peer(one.local_addr()).request(Kind::SUBSCRIBE_URI, "news", "").await.unwrap();
                assert_eq!(subscribed.kind, Kind::CONFIRM_SUBSCRIBE);
            }
            hours(23);
            others[0].peer(one.local_addr()).request(Kind::REQUEST_URI, "echo", "").await.unwrap();
            assert_eq!(one.notify("news", news()).unwrap(), 2);
            hours(2);
            yield_now().await;
            assert_eq!(one.notify("news", news()).unwrap(), 1);
            assert!(!one.peer(others[1].local_addr()).unsubscribe("news"));
            assert!(one.peer(others[0].local_addr()).unsubscribe("news"));
        })
        .unwrap();
}

#[test]
fn topics_are_bounded_in_octets_on_connections_and_by_datagrams() {
    run(async {
        let one = node(Builder::new());
        let peer = one.peer(stranger("127.0.0.1:0").local_addr().unwrap());
        let long = |number: u8| vec![number; 30_000];
        assert!(peer.subscribe(long(1)) && peer.subscribe(long(2)) && peer.subscribe(long(2)));
        assert!(!peer.subscribe(long(3)) && peer.subscribe("short") && peer.unsubscribe(long(1)));
        assert!(peer.subscribe(long(3)) && !peer.subscribe(long(1)));
        peer.disconnect();
        assert!(peer.subscribe(vec![0; 65_422]), "one of any length");

        let server: Server = subscribing(Builder::new()).serve(listener()).unwrap();
        let remote = connected(Builder::new(), server.local_addr()).await;
        let mut kinds = Vec::new();
        for number in 1..=3 {
            kinds.push(remote.request(Kind::SUBSCRIBE_URI, long(number), "").await.unwrap().kind);
        }
        assert_eq!(kinds, [Kind::CONFIRM_SUBSCRIBE, Kind::CONFIRM_SUBSCRIBE, Kind::NOT_PERMITTED]);
        assert_eq!(server.notify(long(2), news()).unwrap(), 1);
        remote.close().await;
        until(|| server.connections() == 0).await;
        assert_eq!(server.notify(long(2), news()).unwrap(), 0);
    });
}

#[test]
fn a_message_has_sixty_four_fields_and_no_more() {
    run(async {
        let server: Server = echo(Builder::new()).serve(listener()).unwrap();
        let address = server.local_addr();
        let with = |fields: usize| {
            let mut message = Message::new(Kind::REQUEST_URI, "echo", "it");
            (0..fields).for_each(|number| message.fields.set_octets(&format!("field {number}"), b""));
            message.to_octets().unwrap()
        };
        let (most, more) = (with(64), with(65));
        let ended = wakering::spawn_blocking(move || {
            let mut stream = StdStream::connect(address).unwrap();
            stream.set_read_timeout(Some(LONG)).unwrap();
            stream.write_all(&most).unwrap();
            stream.read_exact(&mut [0; 9]).unwrap();
            stream.write_all(&more).unwrap();
            let mut rest = Vec::new();
            // It ends the connection: what it has not read may do so by a reset.
            let _ = stream.read_to_end(&mut rest);
            rest.len()
        });
        assert!(ended.unwrap().await.unwrap() < 100, "one answer");
        until(|| server.connections() == 0).await;
        assert_eq!(server.metrics().malformed, 1);
    });
}

#[test]
fn no_more_is_kept_of_a_peer_than_may_be() {
    run(async {
        let one = node(Builder::new().introduce(Introduction::new("one")));
        let introduce = async |id: &'static str, data: Value| {
            let other = node(Builder::new().introduce(Introduction::new(id).data(data)));
            other.introduce_to(one.local_addr()).unwrap();
            other
        };
        let list = |values| Value::List(vec![Value::None; values]);
        // What nobody takes, ours does not send.
        let octets = |octets: &'static [u8]| Value::Bytes(octets.into());
        let long = Value::Tuple(vec![octets(b"too long"), octets(&[0; 4096])]);
        let long = Message::new(Kind::ADVERTISE_PEER, "netaio", long.packed());
        node(Builder::new()).peer(one.local_addr()).send(long).unwrap();
        let _many = introduce("many", list(1000)).await;
        let _few = introduce("few", list(200)).await;
        until(|| one.metrics().received == 3).await;
        let said = |id: &str| one.known_peers().into_iter().find(|peer| peer.id == id).map(|peer| peer.data);
        assert_eq!(
            (said("many"), said("few")),
            (Some(Value::Bytes(list(1000).packed().into())), Some(list(200)))
        );
        assert_eq!(said("too long"), None);
    });
}

// Late answers, and the end.

#[test]
fn an_answer_that_is_late_is_not_taken_for_that_to_the_next_request() {
    run(async {
        let late = CancellationToken::new();
        let waits = late.clone();
        let address = Original::start(move |mut peer| async move {
            let first = peer.receive().await;
            waits.cancelled().await;
            peer.send(&answer(&first[0], &text(&first[0]))).await;
            let second = peer.receive().await;
            peer.send(&answer(&second[0], &text(&second[0]))).await;
            peer.receive().await;
        });
        let remote = connected(Builder::new(), address).await;
        let hasty = remote.clone().timeout(Duration::from_millis(50));
        let first = hasty.request(Kind::REQUEST_URI, "a", "first").await;
        assert!(matches!(first, Err(RequestError::TimedOut)), "{first:?}");
        let asking = remote.clone();
        let second =
            wakering::spawn(async move { asking.request(Kind::REQUEST_URI, "a", "second").await.unwrap() });
        yield_now().await;
        late.cancel();
        assert_eq!(text(&second.await.unwrap()), "second");
    });
}

#[test]
fn a_handler_that_asks_back_has_its_answer_when_the_server_stops() {
    run(async {
        let (asked, release) = (CancellationToken::new(), CancellationToken::new());
        let (tells, waits) = (asked.clone(), release.clone());
        let builder = Builder::new().request_timeout(LONG).on(
            (Kind::REQUEST_URI, "who am i"),
            |incoming: Incoming| async move {
                let name = incoming.peer.request(Kind::REQUEST_URI, "name", "").await.ok()?;
                Some(incoming.answer(Kind::RESPOND_URI, name.content))
            },
        );
        let server: Server = builder.serve(listener()).unwrap();
        let named = Builder::new().on((Kind::REQUEST_URI, "name"), move |incoming: Incoming| {
            tells.cancel();
            let waits = waits.clone();
            async move {
                waits.cancelled().await;
                Some(incoming.answer(Kind::RESPOND_URI, "Ann"))
            }
        });
        let remote = connected(named, server.local_addr()).await;
        let asking = remote.clone();
        let answered =
            wakering::spawn(async move { asking.request(Kind::REQUEST_URI, "who am i", "").await.unwrap() });
        asked.cancelled().await;
        let ends = server.clone();
        let stopped = wakering::spawn(async move { ends.shutdown(LONG).await });
        for _ in 0..20 {
            yield_now().await;
        }
        release.cancel();
        assert_eq!(text(&answered.await.unwrap()), "Ann");
        assert_eq!(stopped.await.unwrap().aborted, 0);
    });
}

#[test]
fn a_connection_that_is_over_subscribes_to_nothing() {
    run(async {
        let (peers, keeps) = (Rc::<RefCell<Vec<Peer>>>::default(), Rc::<RefCell<Vec<Peer>>>::default());
        let kept = keeps.clone();
        let builder = Builder::new().on((Kind::REQUEST_URI, "echo"), move |incoming: Incoming| {
            kept.borrow_mut().push(incoming.peer.clone());
            async move { Some(incoming.answer(Kind::RESPOND_URI, "")) }
        });
        let server: Server = builder.serve(listener()).unwrap();
        let remote = connected(Builder::new(), server.local_addr()).await;
        remote.request(Kind::REQUEST_URI, "echo", "").await.unwrap();
        remote.close().await;
        until(|| server.connections() == 0).await;
        peers.borrow_mut().append(&mut keeps.borrow_mut());
        assert!(!peers.borrow()[0].subscribe("news"));
    });
}

#[test]
fn a_request_that_nobody_handles_is_told_so_whatever_its_uri_is() {
    run(async {
        let server: Server = echo(Builder::new()).serve(listener()).unwrap();
        let remote = connected(Builder::new(), server.local_addr()).await;
        for length in [1, 65_000, 65_418, 65_422] {
            let uri = vec![b'u'; length];
            let answer = remote.request(Kind::REQUEST_URI, uri.clone(), "").await.unwrap();
            let repeated = if length <= 65_000 { uri } else { b"ERROR".to_vec() };
            assert_eq!((answer.kind, &answer.uri[..]), (Kind::NOT_FOUND, &repeated[..]), "{length}");
        }
    });
}
