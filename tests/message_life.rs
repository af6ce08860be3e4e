//! How long a connection of messages lasts: with handlers at work, behind its peer's end, in silence; and what becomes of a node
//! whose plugin fails.
#![cfg(all(feature = "message", not(loom)))]
#![expect(clippy::unwrap_used, reason = "a test ends at its first failure")]

use std::{
    future::{Future, pending, poll_fn},
    net::Shutdown,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use wakering::{
    CancellationToken, Runtime,
    internals::message::{Decoder, Kinds},
    message::{
        AuthPlugin, Builder, CipherPlugin, Incoming, Kind, Layer, LinkEnd, Message, PluginError, Reconnect,
        Remote, RequestError, Scene, Server, UdpNode,
    },
    net::{TcpListener, TcpStream, UdpSocket},
    time::{ManualClock, now, sleep, timeout},
    yield_now,
};

const LONG: Duration = Duration::from_secs(60);
/// How long a connection may be silent here.
const SILENCE: Duration = Duration::from_millis(250);

/// Runs a test on a clock that moves when everything waits: what comes over loopback is there before that.
fn run<F: Future>(test: F) -> F::Output {
    let builder = Runtime::builder();
    // A call that fails on demand may hide what has come, and such a clock would jump over it.
    let is_steady = !wakering::internals::faults::ON;
    let builder = if is_steady { builder.manual_clock(&ManualClock::new()) } else { builder };
    let runtime = builder.build().unwrap();
    runtime.block_on(async { timeout(10 * LONG, test).await.expect("it ends") }).unwrap()
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        sleep(Duration::from_millis(1)).await;
    }
}

fn request(uri: &'static str) -> Vec<u8> {
    Message::new(Kind::REQUEST_URI, uri, "").to_octets().unwrap()
}

async fn echo(incoming: Incoming) -> Option<Message> {
    Some(incoming.answer(Kind::RESPOND_URI, incoming.message.content.clone()))
}

async fn ask(remote: &Remote) -> Result<Message, RequestError> {
    remote.request(Kind::REQUEST_URI, "echo", "it").await
}

/// Echoes "echo"; "never" never ends, "asks" asks back and answers with what it is told.
fn builder() -> Builder {
    let asks = |incoming: Incoming| async move {
        let told = incoming.peer.timeout(20 * LONG).request(Kind::REQUEST_URI, "name", "").await;
        let told = told.map_or_else(|_error| "nothing".into(), |name| name.content);
        Some(Message::new(Kind::RESPOND_URI, "asks", told))
    };
    Builder::new()
        .on((Kind::REQUEST_URI, "echo"), echo)
        .on((Kind::REQUEST_URI, "never"), |_| pending())
        .on((Kind::REQUEST_URI, "asks"), asks)
}

/// What comes until the connection ends, in whatever way.
async fn all_that_comes(stream: &mut TcpStream) -> Vec<Message> {
    let (mut decoder, mut octets, mut messages) = (Decoder::new(Kinds::new()), vec![0; 70_000], Vec::new());
    while let Ok(read @ 1..) = stream.read(&mut octets).await {
        decoder.receive(&octets[..read]);
    }
    while let Ok(Some(message)) = decoder.poll_message() {
        messages.push(message);
    }
    messages
}

// The peer breaks off.

#[derive(Clone, Copy, Debug)]
enum Break {
    NoMessage,
    HalfAMessage,
    Reset,
}

#[test]
fn a_connection_that_breaks_off_while_messages_are_held_does_not_hold_up_the_stop() {
    for break_off in [Break::NoMessage, Break::HalfAMessage, Break::Reset] {
        run(async {
            // It asks back, and answers nothing, so that nobody learns anything by writing.
            let asks = |incoming: Incoming| async move {
                let peer = incoming.peer.timeout(20 * LONG);
                peer.request(Kind::REQUEST_URI, "name", "").await.ok()
            };
            let server = Builder::new().on(Kind::REQUEST_URI, asks).serve(listener()).unwrap();
            let mut peer = TcpStream::connect(server.local_addr()).await.unwrap();
            // As many as may be at work, and those that are held so that an answer behind them can be read.
            peer.write_all(&request("a").repeat(74)).await.unwrap();
            until(|| server.metrics().received == 74).await;
            let (began, ends) = (now(), server.clone());
            let stopped = wakering::spawn(async move { ends.shutdown(LONG).await });
            server.handle().stopping().await;
            for _ in 0..16 {
                yield_now().await;
            }
            match break_off {
                Break::NoMessage => peer.write_all(&[0xff; 16]).await.unwrap(),
                Break::HalfAMessage => {
                    peer.write_all(&request("a")[..12]).await.unwrap();
                    peer.shutdown(Shutdown::Write).unwrap();
                }
                Break::Reset => peer.set_linger(Some(Duration::ZERO)).unwrap(),
            }
            let kept = (!matches!(break_off, Break::Reset)).then_some(peer);
            assert_eq!(stopped.await.unwrap().aborted, 0, "{break_off:?}");
            assert!(now() - began < LONG / 2, "{break_off:?}: {:?}", now() - began);
            drop(kept);
        });
    }
}

// The peer has ended its side.

#[test]
fn who_has_ended_its_side_behind_messages_that_wait_for_handlers_is_let_go() {
    if !wakering::internals::sys::TELLS_RESETS || wakering::internals::faults::ON {
        println!("SKIPPED: this backend tells of an end only who reads up to it, or the clock does not move");
        return;
    }
    run(async {
        let server = builder().idle_timeout(None).serve(listener()).unwrap();
        let mut peer = TcpStream::connect(server.local_addr()).await.unwrap();
        peer.write_all(&request("never").repeat(200)).await.unwrap();
        until(|| server.metrics().handlers == 64).await;
        let began = now();
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(all_that_comes(&mut peer).await, []);
        assert!(now() - began < LONG, "{:?}", now() - began);
        until(|| server.metrics().connections_open == 0).await;
        assert_eq!(server.metrics().handlers, 0);
    });
}

#[test]
fn so_is_who_has_ended_its_side_behind_messages_that_are_held() {
    if wakering::internals::faults::ON {
        return; // The clock does not move by itself then.
    }
    run(async {
        let server = builder().idle_timeout(None).serve(listener()).unwrap();
        let mut peer = TcpStream::connect(server.local_addr()).await.unwrap();
        peer.write_all(&[request("asks"), request("never").repeat(80)].concat()).await.unwrap();
        until(|| server.metrics().received == 81).await;
        let began = now();
        peer.shutdown(Shutdown::Write).unwrap();
        let uris: Vec<_> = all_that_comes(&mut peer).await.into_iter().map(|message| message.uri).collect();
        assert_eq!(uris, ["name", "asks"]);
        assert!(now() - began < LONG, "{:?}", now() - began);
        until(|| server.metrics().connections_open == 0).await;
    });
}

#[test]
fn who_has_ended_its_side_is_answered_all_that_it_asked_as_long_as_one_handler_after_the_other_ends() {
    if wakering::internals::faults::ON {
        return; // The clock does not move by itself then.
    }
    run(async {
        let slow = |incoming: Incoming| async move {
            sleep(Duration::from_millis(500)).await;
            Some(incoming.answer(Kind::RESPOND_URI, "late"))
        };
        let server = Builder::new().on(Kind::REQUEST_URI, slow).serve(listener()).unwrap();
        let mut peer = TcpStream::connect(server.local_addr()).await.unwrap();
        peer.write_all(&request("slow").repeat(200)).await.unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(all_that_comes(&mut peer).await.len(), 200);
    });
}

#[test]
fn an_answer_that_comes_before_the_end_of_its_side_is_taken_from_behind_messages_that_are_held() {
    run(async {
        let server = builder().serve(listener()).unwrap();
        let mut peer = TcpStream::connect(server.local_addr()).await.unwrap();
        peer.write_all(&request("asks")).await.unwrap();
        until(|| server.metrics().sent == 1).await;
        let answer = Message::new(Kind::RESPOND_URI, "name", "Ann").to_octets().unwrap();
        peer.write_all(&[request("echo").repeat(200), answer].concat()).await.unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let messages = all_that_comes(&mut peer).await;
        let told: Vec<_> = messages.iter().filter(|message| message.uri == "asks").collect();
        assert!(messages.len() == 202 && told.len() == 1 && told[0].content == "Ann", "{told:?}");
    });
}

// Silence.

#[test]
fn a_connection_is_idle_from_when_its_last_handler_has_ended() {
    if wakering::internals::faults::ON {
        return; // The clock does not move by itself then.
    }
    let slow = |incoming: Incoming| async move {
        sleep(SILENCE * 7 / 2).await;
        Some(incoming.answer(Kind::RESPOND_URI, "late"))
    };
    run(async {
        let builder = Builder::new().idle_timeout(Some(SILENCE)).on((Kind::REQUEST_URI, "slow"), slow);
        let server = builder.on((Kind::REQUEST_URI, "echo"), echo).serve(listener()).unwrap();
        // One that numbers its requests, and one that does not.
        let remote = Builder::new().client().connect(server.local_addr()).await.unwrap();
        for _ in 0..2 {
            assert_eq!(remote.request(Kind::REQUEST_URI, "slow", "").await.unwrap().content, "late");
            sleep(SILENCE * 4 / 5).await;
            ask(&remote).await.unwrap();
        }
        let mut peer = TcpStream::connect(server.local_addr()).await.unwrap();
        for uri in ["slow", "echo"] {
            peer.write_all(&request(uri)).await.unwrap();
            let mut octets = [0; 1000];
            assert_ne!(peer.read(&mut octets).await.unwrap(), 0, "{uri}");
            sleep(SILENCE * 4 / 5).await;
        }
        assert_eq!(server.metrics().connections, 2, "the same all the time");
        assert!(matches!(remote.ended().await, LinkEnd::PeerClosed));
    });
}

#[test]
fn an_idle_client_comes_back_by_itself_whichever_end_had_enough() {
    if wakering::internals::faults::ON {
        return; // The clock moves by itself then, and a connection may be idle before it is asked anything.
    }
    run(async {
        for (of_server, of_client) in [(None, Some(SILENCE)), (Some(SILENCE), None)] {
            let server = builder().idle_timeout(of_server).serve(listener()).unwrap();
            let client = Builder::new().idle_timeout(of_client).client();
            let remote = client.connect(server.local_addr()).await.unwrap();
            for _ in 0..3 {
                ask(&remote).await.unwrap();
                remote.ended().await;
            }
            assert_eq!(server.metrics().connections, 3);
            assert!(remote.peer().is_none());
        }
    });
}

#[test]
fn a_connection_that_ended_with_something_asked_on_it_is_lost() {
    run(async {
        let builder = builder().on((Kind::REQUEST_URI, "leave"), |incoming: Incoming| async move {
            incoming.peer.disconnect();
            pending().await
        });
        let server = builder.serve(listener()).unwrap();
        let remote = Builder::new().client().connect(server.local_addr()).await.unwrap();
        ask(&remote).await.unwrap();
        let error = remote.request(Kind::REQUEST_URI, "leave", "").await.unwrap_err();
        assert!(matches!(error, RequestError::Lost(LinkEnd::PeerClosed)), "{error}");
        let error = ask(&remote).await.unwrap_err();
        assert!(matches!(error, RequestError::Unsent(LinkEnd::PeerClosed)), "{error}");
        assert_eq!(server.metrics().connections, 1);
    });
}

#[test]
fn who_has_subscribed_is_not_idle_and_has_lost_something_with_its_connection() {
    run(async {
        let builder = Builder::new().on(Kind::SUBSCRIBE_URI, |incoming: Incoming| async move {
            let is_known = incoming.peer.subscribe("news");
            is_known.then(|| incoming.answer(Kind::CONFIRM_SUBSCRIBE, ""))
        });
        let server = builder.serve(listener()).unwrap();
        let heard = CancellationToken::new();
        let hears = heard.clone();
        let builder = Builder::new().idle_timeout(Some(SILENCE)).on(Kind::NOTIFY_URI, move |_| {
            hears.cancel();
            async { None }
        });
        let remote = builder.client().connect(server.local_addr()).await.unwrap();
        remote.request(Kind::SUBSCRIBE_URI, "news", "").await.unwrap();
        assert!(timeout(SILENCE * 5, remote.ended()).await.is_err());
        assert_eq!(server.notify("news", Message::new(Kind::NOTIFY_URI, "news", "")).unwrap(), 1);
        heard.cancelled().await;
        server.peers()[0].disconnect();
        remote.ended().await;
        let error = ask(&remote).await.unwrap_err();
        assert!(matches!(error, RequestError::Unsent(LinkEnd::PeerClosed)), "{error}");
    });
}

/// The table of connections that the system shows says which timer each of them has: 2 is that of TCP's keep-alive.
#[test]
fn the_system_asks_silent_peers_whether_they_are_there() {
    let Ok(_table) = std::fs::read_to_string("/proc/net/tcp") else {
        println!("SKIPPED: the system shows no table of connections");
        return;
    };
    run(async {
        let server = builder().serve(listener()).unwrap();
        let remote = Builder::new().client().connect(server.local_addr()).await.unwrap();
        ask(&remote).await.unwrap();
        let port = format!(":{:04X}", server.local_addr().port());
        let timers = || {
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            let of_both =
                rows.filter(|row| row[3] == "01" && (row[1].ends_with(&port) || row[2].ends_with(&port)));
            of_both.map(|row| row[5][..2].to_owned()).collect::<Vec<_>>()
        };
        // What was said has to be acknowledged first.
        let began = std::time::Instant::now();
        while timers() != ["02", "02"] && began.elapsed() < Duration::from_secs(5) {
            std::thread::yield_now();
        }
        assert_eq!(timers(), ["02", "02"]);
    });
}

// A client that ends, or waits.

/// Polls a future once.
async fn begin<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    poll_fn(|context| match Pin::new(&mut *future).poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[test]
fn a_client_that_was_closed_takes_no_connection_that_was_made_meanwhile() {
    // On the system's clock: what is waited for here is the other end's word.
    let test = async {
        let server = builder().serve(listener()).unwrap();
        let client = Builder::new().client();
        let remote = client.remote(server.local_addr());
        let (mut connect, mut asks) = (pin!(client.connect(server.local_addr())), pin!(ask(&remote)));
        if begin(&mut connect).await.is_some() || begin(&mut asks).await.is_some() {
            println!("SKIPPED: a connection is made at once here");
            return;
        }
        until(|| server.metrics().connections == 2).await;
        // This end's worker hears of it when it next waits for anything; those who connect are not asked.
        sleep(Duration::from_millis(1)).await;
        client.close().await;
        let connected = connect.await;
        assert!(connected.is_err(), "{connected:?}");
        let asked = asks.await;
        assert!(matches!(asked, Err(RequestError::Unsent(LinkEnd::Closed))), "{asked:?}");
        until(|| server.connections() == 0).await;
    };
    wakering::run(async { timeout(LONG, test).await.expect("it ends") }).unwrap();
}

#[test]
fn a_close_that_is_given_up_closes_the_connections_all_the_same() {
    run(async {
        let server = builder().serve(listener()).unwrap();
        let client = Builder::new().on_timeout(|_late| pending()).client();
        let remote = client.connect(server.local_addr()).await.unwrap().timeout(SILENCE);
        assert!(remote.request(Kind::REQUEST_URI, "never", "").await.unwrap_err().is_timeout());
        {
            let mut close = pin!(client.close());
            assert_eq!(begin(&mut close).await, None, "the handler of late requests has to end first");
        }
        remote.ended().await;
        until(|| server.connections() == 0).await;
    });
}

#[test]
fn the_longest_pause_that_there_is_can_be_doubled() {
    run(async {
        let server = builder().serve(listener()).unwrap();
        let mut policy = Reconnect::default();
        (policy.least_pause, policy.most_pause) = (Duration::MAX, Duration::MAX);
        let client = Builder::new().reconnect(policy.clone()).client();
        let remote = client.connect(server.local_addr()).await.unwrap();
        for _ in 0..8 {
            assert_eq!(remote.reconnect(&policy).await.unwrap(), Some(1));
        }
        server.shutdown(LONG).await;
        assert!(timeout(SILENCE, remote.reconnect(&policy)).await.is_err(), "it waits for ever");
    });
}

// Handlers and plugins that fail.

/// Waits once, and panics when it is dropped, if it is asked to.
struct Waits {
    answer: Option<Message>,
    has_waited: bool,
    is_fragile: bool,
}

impl Future for Waits {
    type Output = Option<Message>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Message>> {
        if std::mem::replace(&mut self.has_waited, true) {
            return Poll::Ready(self.answer.take());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        assert!(!self.is_fragile, "as the test wants");
    }
}

#[test]
fn a_handler_that_panics_while_its_future_is_dropped_late_costs_its_own_answer_alone() {
    let waits = |incoming: Incoming| Waits {
        is_fragile: incoming.message.content == "panic",
        has_waited: false,
        answer: Some(incoming.answer(Kind::RESPOND_URI, incoming.message.content.clone())),
    };
    run(async {
        let server = Builder::new().on(Kind::REQUEST_URI, waits).serve(listener()).unwrap();
        let remote = Builder::new().client().connect(server.local_addr()).await.unwrap();
        let socket = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let node = Builder::new().on(Kind::REQUEST_URI, waits).node(socket()).unwrap();
        let other = Builder::new().node(socket()).unwrap();
        let peers = [remote.peer().unwrap(), other.peer(node.local_addr())];
        for peer in peers {
            for content in ["fine", "panic", "fine", "panic", "fine"] {
                let answer = peer.request(Kind::REQUEST_URI, "a", content).await.unwrap();
                let kind = if content == "panic" { Kind::ERROR } else { Kind::RESPOND_URI };
                assert_eq!(answer.kind, kind, "{content}");
            }
        }
    });
}

/// What a panic carries, which panics in its turn.
struct Payload;

impl Drop for Payload {
    fn drop(&mut self) {
        panic!("as the test wants, again");
    }
}

#[test]
fn a_panic_that_carries_another_costs_its_own_answer_alone() {
    let panics = |incoming: Incoming| {
        if incoming.message.content == "panic" {
            std::panic::panic_any(Payload);
        }
        echo(incoming)
    };
    run(async {
        let builder = || Builder::new().on(Kind::REQUEST_URI, panics).request_timeout(LONG);
        let builder =
            || builder().on_timeout(|_late| -> std::future::Pending<()> { std::panic::panic_any(Payload) });
        let server = builder().serve(listener()).unwrap();
        let client = builder().client();
        let remote = client.connect(server.local_addr()).await.unwrap();
        let socket = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let node = builder().node(socket()).unwrap();
        let other = builder().node(socket()).unwrap();
        for peer in [remote.peer().unwrap(), other.peer(node.local_addr())] {
            for content in ["fine", "panic", "fine", "panic", "fine"] {
                let answer = peer.request(Kind::REQUEST_URI, "a", content).await.unwrap();
                let kind = if content == "panic" { Kind::ERROR } else { Kind::RESPOND_URI };
                assert_eq!(answer.kind, kind, "{content}");
            }
            // Who is told of it panics, too.
            let late = peer.timeout(Duration::ZERO).request(Kind::REQUEST_URI, "a", "fine").await;
            assert!(late.unwrap_err().is_timeout());
        }
    });
}

/// Panics over content that names what it is about to do.
struct Fragile;

impl Fragile {
    fn mind(message: &Message, act: &str) {
        assert!(message.content != act, "as the test wants: {act}");
    }
}

impl AuthPlugin for Fragile {
    fn sign(&self, message: &mut Message, _: &mut Scene<'_>) -> Result<(), PluginError> {
        Fragile::mind(message, "sign");
        Ok(())
    }

    fn is_genuine(&self, message: &Message, _: &Scene<'_>) -> bool {
        Fragile::mind(message, "judge");
        true
    }

    fn refusal(&self) -> &str {
        "not genuine"
    }
}

impl CipherPlugin for Fragile {
    fn encrypt(&self, message: &mut Message, _: &mut Scene<'_>) -> Result<(), PluginError> {
        Fragile::mind(message, "encrypt");
        Ok(())
    }

    fn decrypt(&self, message: &mut Message, _: &Scene<'_>) -> Result<(), PluginError> {
        Fragile::mind(message, "decrypt");
        Ok(())
    }
}

/// Echoes; in a layer, or in an inner one, that fails.
fn fragile(is_inner: bool) -> Builder {
    let layer = Layer::new().auth(Fragile).cipher(Fragile);
    if is_inner {
        Builder::new().on_within(layer, Kind::REQUEST_URI, echo)
    } else {
        Builder::new().layer(layer).on(Kind::REQUEST_URI, echo)
    }
}

const ACTS: [&str; 4] = ["judge", "decrypt", "encrypt", "sign"];

#[test]
fn a_plugin_that_panics_fails_one_message_on_a_connection() {
    for is_inner in [false, true] {
        run(async {
            let server: Server = fragile(is_inner).serve(listener()).unwrap();
            let remote = Builder::new().client().connect(server.local_addr()).await.unwrap();
            for act in ACTS {
                let answer = remote.request(Kind::REQUEST_URI, "a", act).await.unwrap();
                assert!(answer.kind.is_error(), "{act}: {answer:?}");
                assert_eq!(remote.request(Kind::REQUEST_URI, "a", "x").await.unwrap().content, "x", "{act}");
            }
            let asking = fragile(is_inner).client().connect(server.local_addr()).await.unwrap();
            if !is_inner {
                for act in ["encrypt", "sign"] {
                    let error = asking.request(Kind::REQUEST_URI, "a", act).await.unwrap_err();
                    assert!(matches!(error, RequestError::Send(_)), "{act}: {error}");
                }
            }
            assert_eq!(asking.request(Kind::REQUEST_URI, "a", "x").await.unwrap().content, "x");
            assert_eq!(server.shutdown(LONG).await.aborted, 0);
        });
    }
}

#[test]
fn a_plugin_that_panics_fails_one_datagram_of_a_node() {
    for is_inner in [false, true] {
        run(async {
            let socket = || UdpSocket::bind("127.0.0.1:0").unwrap();
            let node: UdpNode = fragile(is_inner).node(socket()).unwrap();
            let other = Builder::new().node(socket()).unwrap();
            let peer = other.peer(node.local_addr());
            for act in ACTS {
                let answer = peer.request(Kind::REQUEST_URI, "a", act).await.unwrap();
                assert!(answer.kind.is_error(), "{act}: {answer:?}");
                assert_eq!(peer.request(Kind::REQUEST_URI, "a", "x").await.unwrap().content, "x", "{act}");
            }
            assert_eq!(node.shutdown(LONG).await.aborted, 0);
        });
    }
}
