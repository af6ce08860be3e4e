//! What came whole is dealt with in its order, whatever comes behind it and whatever is refused among it.
#![cfg(all(feature = "message", not(loom)))]
#![expect(clippy::unwrap_used, reason = "a test ends at its first failure")]

use std::{
    cell::{Cell, OnceCell, RefCell},
    future::{Future, pending, poll_fn},
    net::Shutdown,
    pin::pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use wakering::{
    CancellationToken, Runtime, Scope,
    internals::message::{Decoder, Kinds},
    message::{
        AuthPlugin, Builder, Incoming, Kind, Layer, LinkEnd, Message, PluginError, RequestError, Scene,
        Server, Session, Value,
    },
    net::{OwnedReadHalf, TcpListener, TcpStream},
    time::{ManualClock, sleep, timeout},
    yield_now,
};

/// Longer than anything takes on a loaded machine; only a failing test waits so long.
const LONG: Duration = Duration::from_secs(60);
const COUNT: usize = 20;

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

fn request(uri: impl Into<String>, number: Option<usize>) -> Message {
    let mut message = Message::new(Kind::REQUEST_URI, uri.into(), "");
    if let Some(number) = number {
        message.fields.set("id", Value::Int(number as i128));
    }
    message
}

fn octets(messages: impl IntoIterator<Item = Message>) -> Vec<u8> {
    let mut octets = Vec::new();
    messages.into_iter().for_each(|message| message.encode(&mut octets).unwrap());
    octets
}

/// A request that was damaged on its way.
fn damaged() -> Vec<u8> {
    let mut octets = octets([request("damaged", None)]);
    octets[5] ^= 1;
    octets
}

/// A frame of a type that is none.
fn unknown() -> Vec<u8> {
    let mut octets = octets([request("unknown", None)]);
    octets[0] = 14;
    octets
}

/// All that comes from a peer until it ends.
async fn read_all(mut reader: OwnedReadHalf) -> Vec<Message> {
    let mut decoder = Decoder::new(Kinds::new());
    loop {
        let read = reader.read_with(|octets| {
            decoder.receive(octets);
            octets.len()
        });
        if read.await.unwrap() == 0 {
            break;
        }
    }
    let mut messages = Vec::new();
    while let Some(message) = decoder.poll_message().unwrap() {
        messages.push(message);
    }
    messages
}

fn uris(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|message| String::from_utf8_lossy(&message.uri).into_owned()).collect()
}

/// What a server says to these octets, which come at once, until it ends the connection.
async fn answers(server: &Server, octets: &[u8], ends: bool) -> Vec<Message> {
    let stream = TcpStream::connect(server.local_addr()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (reader, mut writer) = stream.into_split();
    writer.write_all(octets).await.unwrap();
    if ends {
        writer.shutdown().unwrap();
    }
    let messages = read_all(reader).await;
    drop(writer);
    messages
}

/// Every handler waits a while, so that none is done when the next octets are looked at.
fn slow(builder: Builder) -> Builder {
    builder.on((Kind::REQUEST_URI, "never"), |_| pending()).on(
        Kind::REQUEST_URI,
        |incoming: Incoming| async move {
            for _ in 0..5 {
                yield_now().await;
            }
            Some(incoming.answer(Kind::RESPOND_URI, ""))
        },
    )
}

// In front of a mistake.

#[test]
fn what_came_whole_before_a_mistake_is_handled_and_answered() {
    let half = octets([request("half", None)])[..12].to_vec();
    for (what, mistake, ends) in
        [("a type", unknown(), false), ("garbage", vec![0xff; 40], false), ("half a message", half, true)]
    {
        for is_numbered in [false, true] {
            run(async {
                let server = slow(Builder::new()).serve(listener()).unwrap();
                let number = |at| is_numbered.then_some(at);
                let mut sent = octets((0..COUNT).map(|at| request(at.to_string(), number(at))));
                sent.extend(&mistake);
                sent.extend(octets([request("behind", number(COUNT))]));
                let sent = if ends { &sent[..sent.len() - 30] } else { &sent[..] };
                let heard = uris(&answers(&server, sent, ends).await);
                let expected: Vec<_> = (0..COUNT).map(|at| at.to_string()).collect();
                assert_eq!(heard, expected, "{what}, numbered: {is_numbered}");
            });
        }
    }
}

#[test]
fn what_was_published_before_a_mistake_is_heard() {
    run(async {
        let server: Rc<OnceCell<Server>> = Rc::default();
        let publishes = server.clone();
        let builder = Builder::new()
            .on(Kind::SUBSCRIBE_URI, |incoming: Incoming| async move {
                incoming.peer.subscribe(incoming.message.uri.clone());
                Some(incoming.answer(Kind::CONFIRM_SUBSCRIBE, ""))
            })
            .on(Kind::PUBLISH_URI, move |incoming: Incoming| {
                let news = incoming.answer(Kind::NOTIFY_URI, incoming.message.content.clone());
                publishes.get().unwrap().notify(&incoming.message.uri, news).unwrap();
                async move { Some(incoming.answer(Kind::OK, "")) }
            });
        let server = server.get_or_init(|| builder.serve(listener()).unwrap());
        let heard = Rc::new(Cell::new(0));
        let counts = heard.clone();
        let client = Builder::new()
            .on(Kind::NOTIFY_URI, move |_| {
                counts.set(counts.get() + 1);
                async { None }
            })
            .client();
        let remote = client.connect(server.local_addr()).await.unwrap();
        remote.request(Kind::SUBSCRIBE_URI, "news", "").await.unwrap();
        let mut sent = octets((0..5).map(|_| Message::new(Kind::PUBLISH_URI, "news", "")));
        sent.extend(unknown());
        let confirmed = answers(server, &sent, false).await;
        assert_eq!(confirmed.iter().map(|it| it.kind).collect::<Vec<_>>(), [Kind::OK; 5]);
        until(|| heard.get() == 5).await;
    });
}

#[test]
fn a_client_hears_what_came_before_a_mistake() {
    run(async {
        let listener = listener();
        let heard: Rc<RefCell<Vec<String>>> = Rc::default();
        let notes = heard.clone();
        let client = Builder::new()
            .on(Kind::NOTIFY_URI, move |incoming: Incoming| {
                let notes = notes.clone();
                async move {
                    yield_now().await;
                    notes.borrow_mut().extend(uris(&[incoming.message]));
                    None
                }
            })
            .client();
        let remote = client.connect(listener.local_addr().unwrap()).await.unwrap();
        let mut stream = listener.accept().await.unwrap().0;
        let notify = |uri: &'static str| Message::new(Kind::NOTIFY_URI, uri, "");
        let mut sent = octets([notify("1"), notify("2")]);
        sent.extend([0xff; 40]);
        stream.write_all(&sent).await.unwrap();
        let end = remote.ended().await;
        assert!(matches!(end, LinkEnd::Protocol(_)), "{end}");
        assert_eq!(*heard.borrow(), ["1", "2"]);
    });
}

#[test]
fn what_came_sealed_before_a_mistake_is_handled_and_nothing_behind_it() {
    run(async {
        let with_session = || Builder::new().session(Session::new("a long random secret").require(true));
        let calls = Rc::new(Cell::new(0));
        let counts = calls.clone();
        let builder = with_session().on(Kind::REQUEST_URI, move |incoming: Incoming| {
            counts.set(counts.get() + 1);
            async move {
                yield_now().await;
                Some(incoming.answer(Kind::RESPOND_URI, incoming.message.content.clone()))
            }
        });
        let server = builder.serve(listener()).unwrap();
        let there = server.local_addr();
        let between = listener();
        let address = between.local_addr().unwrap();
        // Hands the offer on, and then five requests, a plain one and the sixth at once.
        wakering::spawn(async move {
            let (mut reader, mut back) = between.accept().await.unwrap().0.into_split();
            let (mut answers, mut writer) = TcpStream::connect(there).await.unwrap().into_split();
            wakering::spawn(async move {
                let mut octets = vec![0; 70_000];
                while let Ok(read @ 1..) = answers.read(&mut octets).await {
                    back.write_all(&octets[..read]).await.unwrap();
                }
            });
            let (mut decoder, mut held) = (Decoder::new(Kinds::new()), Vec::new());
            let mut octets_read = vec![0; 70_000];
            while let Ok(read @ 1..) = reader.read(&mut octets_read).await {
                decoder.receive(&octets_read[..read]);
                while let Some(message) = decoder.poll_message().unwrap() {
                    if message.uri == "wakering/session" {
                        writer.write_all(&octets([message])).await.unwrap();
                        continue;
                    }
                    held.push(message);
                    if held.len() == 6 {
                        held.insert(5, request("plain", None));
                        writer.write_all(&octets(held.drain(..))).await.unwrap();
                    }
                }
            }
        });
        let remote = with_session().request_timeout(LONG).client().connect(address).await.unwrap();
        let scope = Scope::<RequestError>::new();
        let answered = Rc::new(Cell::new(0));
        for number in 0..6 {
            let (remote, answered) = (remote.clone(), answered.clone());
            scope.spawn(async move {
                let answer = remote.request(Kind::REQUEST_URI, number.to_string(), "x").await;
                answered.set(answered.get() + u32::from(answer.is_ok_and(|it| it.content == "x")));
                Ok(())
            });
        }
        scope.join().await.unwrap();
        assert_eq!((calls.get(), answered.get()), (5, 5));
    });
}

#[test]
fn handlers_before_a_mistake_have_the_time_of_those_of_a_half_closed_peer_and_hold_up_no_stop() {
    if wakering::internals::faults::ON {
        return;
    }
    for is_stopped in [false, true] {
        let clock = ManualClock::new();
        let test = async {
            let server = slow(Builder::new()).half_closed(LONG).serve(listener()).unwrap();
            let mut sent = octets([request("first", None), request("never", None)]);
            sent.extend(unknown());
            let began = clock.elapsed();
            let stopped = async {
                until(|| server.metrics().malformed == 1).await;
                if is_stopped {
                    server.shutdown(Duration::from_secs(1)).await;
                }
            };
            let heard = async {
                let heard = answers(&server, &sent, false).await;
                assert_eq!(uris(&heard), ["first"]);
            };
            both(heard, stopped).await;
            let took = clock.elapsed() - began;
            let expected = if is_stopped { Duration::from_secs(1) } else { LONG };
            assert!((expected..2 * expected).contains(&took), "{took:?}");
        };
        Runtime::builder().manual_clock(&clock).build().unwrap().block_on(test).unwrap();
    }
}

async fn both(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut one_done, mut other_done) = (false, false);
    poll_fn(|context| {
        one_done = one_done || one.as_mut().poll(context).is_ready();
        other_done = other_done || other.as_mut().poll(context).is_ready();
        if one_done && other_done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

// Refusals.

/// Ends its side, so that all has been said when the server does.
#[test]
fn what_is_refused_without_a_number_has_its_turn() {
    run(async {
        let builder = Builder::new().on((Kind::REQUEST_URI, "slow"), |incoming: Incoming| async move {
            for _ in 0..5 {
                yield_now().await;
            }
            Some(incoming.answer(Kind::RESPOND_URI, incoming.message.content.clone()))
        });
        let server = builder.serve(listener()).unwrap();
        let slow = |content: usize| Message::new(Kind::REQUEST_URI, "slow", content.to_string());
        let mut sent = octets((0..10).map(slow));
        sent.extend(damaged());
        sent.extend(octets([slow(10), request("nobody's", None), request("numbered", Some(7)), slow(11)]));
        let heard = answers(&server, &sent, true).await;
        // The answer to what has a number comes when it likes.
        let (numbered, others): (Vec<_>, Vec<_>) =
            heard.into_iter().partition(|it| it.fields.get("re").is_some());
        assert_eq!(uris(&numbered), ["numbered"]);
        let said: Vec<_> = others.iter().map(|it| String::from_utf8_lossy(&it.content)).collect();
        let mut expected: Vec<_> = (0..10).map(|content| content.to_string()).collect();
        expected.extend(["invalid message", "10", "not found", "11"].map(str::to_owned));
        assert_eq!(said, expected);
    });
}

/// What has the field is genuine.
struct Signed;

impl AuthPlugin for Signed {
    fn sign(&self, message: &mut Message, _: &mut Scene<'_>) -> Result<(), PluginError> {
        message.fields.set("signed", Value::Bool(true));
        Ok(())
    }

    fn is_genuine(&self, message: &Message, _: &Scene<'_>) -> bool {
        message.fields.get("signed").is_some()
    }

    fn refusal(&self) -> &str {
        "not signed"
    }
}

#[test]
fn who_does_not_sign_is_refused_in_its_turn() {
    run(async {
        let server = slow(Builder::new()).layer(Layer::new().auth(Signed)).serve(listener()).unwrap();
        let signed = |uri: &str| {
            let mut message = request(uri, None);
            message.fields.set("signed", Value::Bool(true));
            message
        };
        let mut sent: Vec<_> = (0..5).map(|at| signed(&at.to_string())).collect();
        sent.extend([request("unsigned", None), signed("last")]);
        let heard = answers(&server, &octets(sent), true).await;
        assert_eq!(uris(&heard), ["0", "1", "2", "3", "4", "ERROR", "last"]);
        assert_eq!(heard[5].kind, Kind::AUTH_ERROR);
    });
}

/// They wait behind a handler, and in the socket behind as many as there may be of these.
#[test]
fn refusals_that_wait_for_their_turn_are_bounded() {
    run(async {
        let go = CancellationToken::new();
        let waits = go.clone();
        let builder = Builder::new().on(Kind::REQUEST_URI, move |incoming: Incoming| {
            let go = waits.clone();
            async move {
                go.cancelled().await;
                Some(incoming.answer(Kind::RESPOND_URI, ""))
            }
        });
        let server = builder.serve(listener()).unwrap();
        let mut sent = octets([request("first", None)]);
        (0..1000).for_each(|_| sent.extend(damaged()));
        let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
        stream.write_all(&sent).await.unwrap();
        // Sixty-three behind the handler, and one for which there is no room.
        until(|| server.metrics().malformed == 64).await;
        sleep(Duration::from_millis(20)).await;
        assert_eq!(server.metrics().malformed, 64);
        go.cancel();
        stream.shutdown(Shutdown::Write).unwrap();
        let (reader, _writer) = stream.into_split();
        let heard = uris(&read_all(reader).await);
        assert_eq!((heard.len(), &heard[0][..], &heard[1][..]), (1001, "first", "ERROR"));
    });
}

#[test]
fn who_reads_nothing_is_not_told_for_ever_that_its_messages_are_damaged() {
    run(async {
        let server = Builder::new().write_timeout(Duration::from_millis(300)).serve(listener()).unwrap();
        let (_reader, mut writer) = TcpStream::connect(server.local_addr()).await.unwrap().into_split();
        let octets = damaged().repeat(1000);
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
