//! What waits to be written to a peer: answers and requests wait for room, and nothing that is owed is dropped.
#![cfg(all(feature = "message", not(loom)))]
#![expect(clippy::unwrap_used, reason = "a test ends at its first failure")]

use std::{
    cell::Cell,
    future::Future,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use wakering::{
    Runtime, Scope,
    internals::message::{Decoder, Kinds},
    message::{
        Builder, Incoming, Kind, Message, Remote, RequestError, SendError, Server, Session, SlowPeer, Value,
    },
    net::{OwnedReadHalf, TcpConnector, TcpListener, TcpStream},
    time::{ManualClock, sleep, timeout},
    yield_now,
};

/// Longer than anything takes on a loaded machine; only a failing test waits so long.
const LONG: Duration = Duration::from_secs(60);
const POLICIES: [SlowPeer; 3] = [SlowPeer::DropNewest, SlowPeer::DropOldest, SlowPeer::Disconnect];
/// Of a long content: 18 of them are more than a queue has room for.
const LENGTH: usize = 60_000;

fn run<F: Future>(future: F) -> F::Output {
    wakering::run(async { timeout(LONG, future).await.expect("it ends") }).unwrap()
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        sleep(Duration::from_millis(1)).await;
    }
}

/// Answers "long" with a long content, and "echo" with the one that it got; counts what it was called for.
fn serve(builder: Builder, called: &Rc<Cell<usize>>) -> Server {
    let counts = called.clone();
    let builder = builder.on((Kind::REQUEST_URI, "long"), move |incoming: Incoming| {
        counts.set(counts.get() + 1);
        async move { Some(incoming.answer(Kind::RESPOND_URI, vec![7; LENGTH])) }
    });
    let builder = builder.on((Kind::REQUEST_URI, "echo"), |incoming: Incoming| async move {
        Some(incoming.answer(Kind::RESPOND_URI, incoming.message.content.clone()))
    });
    builder.request_timeout(LONG).serve(listener()).unwrap()
}

/// Requests for `uri`, one behind the other.
fn requests(uri: &'static str, count: usize, is_numbered: bool) -> Vec<u8> {
    let mut octets = Vec::new();
    for number in 1..=count {
        let mut message = Message::new(Kind::REQUEST_URI, uri, "");
        if is_numbered {
            message.fields.set("id", Value::Int(number as i128));
        }
        message.encode(&mut octets).unwrap();
    }
    octets
}

/// What comes, message by message.
struct Incomings {
    reader: OwnedReadHalf,
    decoder: Decoder,
}

impl Incomings {
    fn new(reader: OwnedReadHalf) -> Incomings {
        Incomings { reader, decoder: Decoder::new(Kinds::new()) }
    }

    /// The next one; `None` when there is no more to read.
    async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.decoder.poll_message().unwrap() {
                return Some(message);
            }
            let decoder = &mut self.decoder;
            let read = self.reader.read_with(|octets| {
                decoder.receive(octets);
                octets.len()
            });
            if !matches!(read.await, Ok(1..)) {
                return None;
            }
        }
    }
}

async fn connected(builder: Builder, address: SocketAddr) -> Remote {
    builder.request_timeout(LONG).client().connect(address).await.unwrap()
}

// Answers.

#[test]
fn who_asks_for_more_than_may_wait_and_reads_later_has_every_answer() {
    for policy in POLICIES {
        for is_numbered in [true, false] {
            run(async {
                let server = serve(Builder::new().slow_peer(policy), &Rc::default());
                let stream = TcpStream::connect(server.local_addr()).await.unwrap();
                let (reader, mut writer) = stream.into_split();
                writer.write_all(&requests("long", 64, is_numbered)).await.unwrap();
                // Longer than what there is to do takes when nobody reads.
                sleep(Duration::from_millis(50)).await;
                let mut incomings = Incomings::new(reader);
                for _ in 0..64 {
                    let answer = incomings.next().await;
                    assert!(answer.is_some_and(|it| it.content.len() == LENGTH), "{policy:?}, {is_numbered}");
                }
                assert_eq!(server.metrics().dropped, 0);
            });
        }
    }
}

/// On a clock that stands: until the server has done nothing for a while of real time.
async fn comes_to_rest(server: &Server) {
    let (mut last, mut since) = (server.metrics(), Instant::now());
    while since.elapsed() < Duration::from_millis(50) {
        yield_now().await;
        let now = server.metrics();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
}

/// Some are queued when it ends its side; of many most handlers are not called before it reads. The clock is told that more time
/// is over than a handler has then, or the last words of an end, but less than a write.
#[test]
fn who_has_ended_its_side_may_read_its_answers_slowly() {
    if wakering::internals::faults::ON {
        return;
    }
    for count in [12, 64] {
        let clock = ManualClock::new();
        clock.auto_advance(false);
        let test = async {
            let server = serve(Builder::new(), &Rc::default());
            let connector = TcpConnector::new().recv_buffer_size(64 * 1024);
            let stream = connector.connect(server.local_addr()).await.unwrap();
            let (reader, mut writer) = stream.into_split();
            writer.write_all(&requests("long", count, true)).await.unwrap();
            writer.shutdown().unwrap();
            let mut incomings = Incomings::new(reader);
            for read in 0..count {
                if read % 8 == 0 {
                    comes_to_rest(&server).await;
                    clock.advance(Duration::from_secs(5));
                    sleep(Duration::ZERO).await;
                    yield_now().await;
                }
                let answer = incomings.next().await;
                assert!(answer.is_some_and(|it| it.content.len() == LENGTH), "{read} of {count}");
            }
            assert!(incomings.next().await.is_none());
        };
        Runtime::builder().manual_clock(&clock).build().unwrap().block_on(test).unwrap();
    }
}

// Requests.

#[test]
fn many_long_requests_at_once_wait_for_room() {
    run(async {
        let server = serve(Builder::new(), &Rc::default());
        let remote = connected(Builder::new(), server.local_addr()).await;
        let scope = Scope::<RequestError>::new();
        for number in 0..200_u8 {
            let remote = remote.clone();
            scope.spawn(async move {
                let answer = remote.request(Kind::REQUEST_URI, "echo", vec![number; LENGTH]).await?;
                assert!(answer.content.len() == LENGTH && answer.content[0] == number);
                Ok(())
            });
        }
        scope.join().await.unwrap();
    });
}

/// Of each other, and while they answer.
#[test]
fn two_ends_that_ask_each_other_for_more_than_may_wait_are_both_answered() {
    const MANY: usize = 300;
    run(async {
        let asking = |builder: Builder| {
            let builder = builder.on((Kind::REQUEST_URI, "ask"), |incoming: Incoming| async move {
                let content = incoming.message.content.clone();
                let answer = incoming.peer.request(Kind::REQUEST_URI, "echo", content).await.ok()?;
                Some(incoming.answer(Kind::RESPOND_URI, answer.content))
            });
            builder.on((Kind::REQUEST_URI, "echo"), |incoming: Incoming| async move {
                Some(incoming.answer(Kind::RESPOND_URI, incoming.message.content.clone()))
            })
        };
        let server = asking(Builder::new()).request_timeout(LONG).serve(listener()).unwrap();
        let remote = connected(asking(Builder::new()), server.local_addr()).await;
        // From then on each is known to repeat numbers.
        remote.request(Kind::REQUEST_URI, "ask", "").await.unwrap();
        let (there, back) = (remote.peer().unwrap(), server.peers().remove(0));
        let scope = Scope::<RequestError>::new();
        for number in 0..2 * MANY {
            let peer = if number < MANY { there.clone() } else { back.clone() };
            // If all handlers of both asked back, none would be left to answer them.
            let uri = if number < MANY / 2 { "ask" } else { "echo" };
            scope.spawn(async move {
                let answer = peer.request(Kind::REQUEST_URI, uri, vec![number as u8; LENGTH]).await?;
                assert!(answer.content.len() == LENGTH && answer.content[0] == number as u8);
                Ok(())
            });
        }
        scope.join().await.unwrap();
        assert_eq!(server.metrics().dropped, 0);
    });
}

#[test]
fn who_reads_nothing_is_answered_no_more_than_may_wait_and_is_let_go_in_time() {
    for is_numbered in [true, false] {
        run(async {
            let called = Rc::default();
            let server = serve(Builder::new().write_timeout(Duration::from_millis(300)), &called);
            let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
            stream.write_all(&requests("long", 2000, is_numbered)).await.unwrap();
            let mut most = 0;
            until(|| {
                most = most.max(server.metrics().queued_bytes);
                server.metrics().connections == 1 && server.connections() == 0
            })
            .await;
            // Half of what may wait, and the one that was too many.
            assert!((500_000..600_000).contains(&most), "{most}");
            assert!(called.get() < 1000, "what the system takes is not so much: {}", called.get());
        });
    }
}

#[test]
fn who_reads_nothing_is_told_no_more_errors_than_may_wait() {
    run(async {
        let server = serve(Builder::new().write_timeout(Duration::from_millis(300)), &Rc::default());
        let stream = TcpStream::connect(server.local_addr()).await.unwrap();
        let (_reader, mut writer) = stream.into_split();
        let mut octets = Vec::new();
        Message::new(Kind::REQUEST_URI, vec![b'x'; LENGTH], "").encode(&mut octets).unwrap();
        // As many as it takes; the rest is not read.
        let writes = wakering::spawn(async move { while writer.write_all(&octets).await.is_ok() {} });
        let mut most = 0;
        until(|| {
            most = most.max(server.metrics().queued_bytes);
            server.metrics().connections == 1 && server.connections() == 0
        })
        .await;
        assert!((1_000_000..1_200_000).contains(&most), "{most}");
        writes.await.unwrap();
    });
}

/// Of 400 requests some are written, some wait to be, and most wait for room; then the peer reads on.
#[test]
fn requests_that_wait_for_room_end_in_time_and_with_who_asks_and_leave_nothing() {
    run(async {
        let listener = listener();
        let client = Builder::new().client();
        let remote = client.connect(listener.local_addr().unwrap()).await.unwrap();
        let (reader, _writer) = listener.accept().await.unwrap().0.into_split();
        let ask = |number: u8, patience| {
            let remote = remote.clone().timeout(patience);
            async move { remote.request(Kind::REQUEST_URI, number.to_string(), vec![number; LENGTH]).await }
        };
        let scope = Scope::<RequestError>::new();
        let given_up: Vec<_> = (0..200).map(|number| wakering::spawn(ask(number, LONG))).collect();
        for number in 0..200 {
            let asked = ask(number, Duration::from_millis(100));
            scope.spawn(async move {
                let error = asked.await.unwrap_err();
                assert!(error.is_timeout(), "{error}");
                Ok(())
            });
        }
        yield_now().await;
        assert!(client.metrics().queued_bytes < 1_200_000, "{}", client.metrics().queued_bytes);
        scope.join().await.unwrap();
        for asked in given_up {
            asked.abort();
            assert!(asked.await.is_err());
        }
        // What has been queued comes, and nothing that waited for room.
        let last = wakering::spawn(ask(255, LONG));
        let (mut incomings, mut come) = (Incomings::new(reader), 0);
        while incomings.next().await.unwrap().uri != "255" {
            come += 1;
        }
        assert!(come < 150, "{come}");
        last.abort();
    });
}

// What is held.

/// All handlers wait for the peer's answers, which could lie behind what it sends; its messages have next to nothing but a field.
#[test]
fn messages_that_are_held_are_counted_with_their_fields() {
    run(async {
        let asked = Rc::new(Cell::new(0));
        let counts = asked.clone();
        let builder = Builder::new().on(Kind::REQUEST_URI, move |incoming: Incoming| {
            counts.set(counts.get() + 1);
            async move {
                incoming.peer.request(Kind::REQUEST_URI, "name", "").await.ok()?;
                None
            }
        });
        let server = builder.request_timeout(LONG).serve(listener()).unwrap();
        let (_reader, mut writer) = TcpStream::connect(server.local_addr()).await.unwrap().into_split();
        writer.write_all(&requests("ask", 64, true)).await.unwrap();
        until(|| asked.get() == 64).await;
        let mut message = Message::new(Kind::REQUEST_URI, "ask", "");
        message.fields.set("id", Value::Int(65));
        message.fields.set("x", Value::Bytes(vec![7; LENGTH].into()));
        let frame = message.to_octets().unwrap();
        // As much as it takes; the rest is not read.
        let all = async {
            for _ in 0..200 {
                writer.write_all(&frame).await.unwrap();
            }
        };
        assert!(timeout(Duration::from_millis(500), all).await.is_err(), "all is taken");
        until(|| server.metrics().received >= 64 + 10).await;
        let held = server.metrics().received - 64;
        assert!((10..20).contains(&held), "{held}");
    });
}

// Many at a time.

/// What is sealed for each of them is longer than what would be sent to others, of whom there are none.
#[test]
fn what_is_too_long_for_all_who_are_to_be_told_is_an_error() {
    run(async {
        let session = || Builder::new().session(Session::new("s"));
        let server = serve(session(), &Rc::default());
        let sealed = connected(session(), server.local_addr()).await;
        sealed.request(Kind::REQUEST_URI, "echo", "").await.unwrap();
        assert!(server.peers()[0].is_sealed());
        let longest = || Message::new(Kind::NOTIFY_URI, "", vec![1; 65_422]);
        let error = server.broadcast(longest()).unwrap_err();
        assert!(matches!(error, SendError::Plugin(_)), "{error}");
        // One to whom it can be sent is told.
        let plain = connected(Builder::new(), server.local_addr()).await;
        plain.request(Kind::REQUEST_URI, "echo", "").await.unwrap();
        assert_eq!(server.broadcast(longest()), Ok(1));
        assert_eq!(server.broadcast(Message::new(Kind::NOTIFY_URI, "", "")), Ok(2));
    });
}
