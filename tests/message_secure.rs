//! What two of ours protect each other with, against somebody who reads and changes what is on the way.
#![cfg(all(feature = "message", not(loom)))]
#![expect(clippy::unwrap_used, reason = "a test ends at its first failure")]

#[path = "support/sealed.rs"]
mod sealed;

use std::{
    cell::{Cell, RefCell},
    future::Future,
    net::{Shutdown, SocketAddr},
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use sealed::{CHANGES, Change, Seen, Way, counting, hex, with_session};
use wakering::{
    Scope,
    internals::message::{
        Channel, Decoder, Kinds, Offer, Order,
        plugins::{Binding, PluginError, Scene},
        repeat_number,
    },
    message::{
        AuthPlugin, Builder, CipherPlugin, HmacAuth, Incoming, Kind, Layer, LinkEnd, Message, Remote,
        RequestError, Server, Session, StreamCipher, Value, WitnessAuth,
    },
    net::{OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream},
    time::timeout,
    yield_now,
};

const LONG: Duration = Duration::from_secs(30);

fn run<F: Future>(future: F) -> F::Output {
    wakering::run(async { timeout(LONG, future).await.expect("it ends") }).unwrap()
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

// Somebody on the way.

/// What somebody on the way makes of a message.
type Meddle = dyn Fn(Way, Message) -> Vec<Message>;

/// Stands between clients and `server`, and hands on what `meddle` makes of each message.
fn between(server: SocketAddr, meddle: impl Fn(Way, Message) -> Vec<Message> + 'static) -> SocketAddr {
    let (listener, meddle): (TcpListener, Rc<Meddle>) = (listener(), Rc::new(meddle));
    let address = listener.local_addr().unwrap();
    wakering::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let (read, write) = client.into_split();
            let (back, there) = TcpStream::connect(server).await.unwrap().into_split();
            wakering::spawn(hand_on(Way::There, read, there, meddle.clone()));
            wakering::spawn(hand_on(Way::Back, back, write, meddle.clone()));
        }
    });
    address
}

async fn hand_on(way: Way, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, meddle: Rc<Meddle>) {
    let mut decoder = Decoder::new(Kinds::new());
    let mut octets = vec![0; 70_000];
    while let Ok(n @ 1..) = from.read(&mut octets).await {
        decoder.receive(&octets[..n]);
        while let Some(message) = decoder.poll_message().unwrap() {
            for message in meddle(way, message) {
                if to.write_all(&message.to_octets().unwrap()).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Hands everything on, and keeps a copy.
fn recorded(server: SocketAddr) -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let sees = seen.clone();
    let address = between(server, move |way, message| {
        sees.borrow_mut().push((way, message.clone()));
        vec![message]
    });
    (address, seen)
}

async fn connected(builder: Builder, address: SocketAddr) -> Remote {
    builder.client().connect(address).await.unwrap()
}

fn serve(builder: Builder) -> (Server, Rc<Cell<u32>>) {
    let (builder, calls) = counting(builder);
    (builder.serve(listener()).unwrap(), calls)
}

async fn echo(remote: &Remote, content: &'static str) -> Result<Bytes, RequestError> {
    remote.request(Kind::REQUEST_URI, "the uri", content).await.map(|answer| answer.content)
}

// Sessions.

#[test]
fn two_of_ours_agree_on_a_session_and_everything_is_sealed_in_it() {
    run(async {
        for layer in [Layer::new(), Layer::new().auth(HmacAuth::new("s")).cipher(StreamCipher::new("k"))] {
            let (server, calls) = serve(with_session(false).layer(layer.clone()));
            let (address, seen) = recorded(server.local_addr());
            let remote = connected(with_session(false).layer(layer), address).await;
            for content in ["the content", "", "the content"] {
                assert_eq!(echo(&remote, content).await.unwrap(), content);
            }
            assert!(remote.peer().unwrap().is_sealed() && server.peers()[0].is_sealed());
            assert_eq!(calls.get(), 3);
            let seen = seen.borrow();
            assert_eq!(seen.len(), 8, "an offer, and an answer to each request");
            for (way, message) in &seen[1..] {
                let text = format!("{message:?}");
                assert!(Channel::is_sealed(message) && !text.contains("the "), "{way:?} {text}");
            }
        }
    });
}

#[test]
fn a_session_carries_many_requests_at_once_and_notifications_to_everybody() {
    run(async {
        let (server, _) = serve(with_session(false));
        let heard: Rc<Cell<u32>> = Rc::default();
        let mut remotes = Vec::new();
        for builder in [with_session(true), with_session(false), Builder::new()] {
            let heard = heard.clone();
            let builder = builder.on(Kind::NOTIFY_URI, move |incoming: Incoming| {
                assert_eq!(incoming.message.content, "news");
                heard.set(heard.get() + 1);
                async { None }
            });
            let remote = connected(builder, server.local_addr()).await;
            let scope: Scope = Scope::new();
            for number in 0..200u32 {
                let remote = remote.clone();
                scope.spawn(async move {
                    let content = vec![number as u8; number as usize * 20];
                    let answer = remote.request(Kind::REQUEST_URI, "x", content.clone()).await.unwrap();
                    assert_eq!(answer.content, content);
                });
            }
            scope.join().await.unwrap();
            remotes.push(remote);
        }
        let sealed: Vec<bool> = remotes.iter().map(|remote| remote.peer().unwrap().is_sealed()).collect();
        assert_eq!(sealed, [true, true, false]);
        assert_eq!(server.broadcast(Message::new(Kind::NOTIFY_URI, "x", "news")).unwrap(), 3);
        for remote in &remotes {
            echo(remote, "behind the news").await.unwrap();
        }
        assert_eq!(heard.get(), 3);
    });
}

#[test]
fn a_peer_without_sessions_is_spoken_to_as_ever_unless_one_is_required() {
    run(async {
        let (plain, calls) = serve(Builder::new());
        let remote = connected(with_session(false), plain.local_addr()).await;
        assert_eq!(echo(&remote, "x").await.unwrap(), "x");
        assert!(!remote.peer().unwrap().is_sealed());
        assert_eq!(calls.replace(0), 2, "the offer came to a handler for any uri");
        let strict = connected(with_session(true), plain.local_addr()).await;
        let error = echo(&strict, "secret").await.unwrap_err();
        assert!(matches!(error, RequestError::NotGenuine(_)), "{error}");
        assert!(matches!(strict.ended().await, LinkEnd::Session(PluginError::NoSession)));
        assert_eq!(calls.get(), 1, "nothing but the offer");
        let (strict, calls) = serve(with_session(true));
        let answer = connected(Builder::new(), strict.local_addr()).await;
        let answer = answer.request(Kind::REQUEST_URI, "a", "").await.unwrap();
        assert_eq!((answer.kind, calls.get()), (Kind::AUTH_ERROR, 0));
        assert_eq!(strict.broadcast(Message::new(Kind::NOTIFY_URI, "a", "")).unwrap(), 0, "not to it either");
    });
}

#[test]
fn another_secret_is_found_out_before_anything_is_said() {
    run(async {
        let (server, calls) = serve(with_session(false));
        for required in [false, true] {
            let (address, seen) = recorded(server.local_addr());
            let other = Builder::new().session(Session::new("another secret").require(required));
            let remote = connected(other, address).await;
            let error = echo(&remote, "the content").await.unwrap_err();
            assert!(matches!(error, RequestError::NotGenuine(_)), "{error}");
            assert_eq!((calls.get(), seen.borrow().len()), (0, 2));
        }
    });
}

#[test]
fn somebody_who_takes_offers_away_gets_nothing_where_a_session_is_required() {
    run(async {
        for required in [false, true] {
            let (server, calls) = serve(with_session(required));
            let address = between(server.local_addr(), |_, mut message| {
                message.fields.remove("offer");
                vec![message]
            });
            let remote = connected(with_session(required), address).await;
            let answer = echo(&remote, "x").await;
            match required {
                true => assert!(matches!(answer, Err(RequestError::NotGenuine(_))) && calls.get() == 0),
                false => assert_eq!(answer.unwrap(), "x"),
            }
            assert!(server.peers().iter().all(|peer| !peer.is_sealed()));
        }
    });
}

#[test]
fn whatever_is_changed_in_a_sealed_message_ends_the_connection_before_a_handler_runs() {
    let less: (&str, Change) =
        ("a field less", |message| _ = message.fields.remove("id") | message.fields.remove("re"));
    for way in [Way::There, Way::Back] {
        for (what, change) in CHANGES.into_iter().chain([less]) {
            run(async {
                let (server, calls) = serve(with_session(false));
                let count = Cell::new(0);
                let address = between(server.local_addr(), move |now, mut message| {
                    // The third is behind the offer and one that passes.
                    count.set(count.get() + u32::from(now == way));
                    if now == way && count.get() == 3 {
                        change(&mut message);
                    }
                    vec![message]
                });
                let remote = connected(with_session(false), address).await;
                assert_eq!(echo(&remote, "passes").await.unwrap(), "passes");
                let error = echo(&remote, "x").await.unwrap_err();
                assert!(!error.is_timeout(), "{way:?} {what}: {error}");
                assert_eq!(calls.get(), if way == Way::There { 1 } else { 2 }, "{way:?} {what}");
                if way == Way::Back {
                    assert!(matches!(remote.ended().await, LinkEnd::Session(_)), "{what}");
                }
            });
        }
    }
}

#[test]
fn a_sealed_message_passes_once_and_in_its_turn() {
    run(async {
        // Each message twice.
        let (server, calls) = serve(with_session(false));
        let address = between(server.local_addr(), |way, message| match way {
            Way::There if Channel::is_sealed(&message) => vec![message.clone(), message],
            Way::There | Way::Back => vec![message],
        });
        let remote = connected(with_session(false), address).await;
        let _answered_or_ended = echo(&remote, "x").await;
        remote.ended().await;
        // The second copy ends the connection, which may be before the handler of the first has begun.
        assert!(calls.get() <= 1, "{}", calls.get());

        // The messages of another connection.
        let kept: Rc<RefCell<Vec<Message>>> = Rc::default();
        let keeps = kept.clone();
        let (server, calls) = serve(with_session(false));
        let address = between(server.local_addr(), move |way, message| {
            if way == Way::Back || !Channel::is_sealed(&message) {
                return vec![message];
            }
            let mut kept = keeps.borrow_mut();
            kept.push(message);
            vec![kept[0].clone()]
        });
        let first = connected(with_session(false), address).await;
        assert_eq!(echo(&first, "x").await.unwrap(), "x");
        let second = connected(with_session(false), address).await;
        assert!(echo(&second, "y").await.is_err());
        assert_eq!((kept.borrow().len(), calls.get()), (2, 1));
    });
}

// Bound codes.

fn signed() -> Layer {
    Layer::new().auth(HmacAuth::new("s"))
}

#[test]
fn bound_codes_refuse_another_type_and_a_message_that_comes_again() {
    run(async {
        let (server, calls) = serve(Builder::new().layer(signed()));
        let (address, seen) = recorded(server.local_addr());
        let remote = connected(Builder::new().layer(signed()), address).await;
        assert_eq!(echo(&remote, "x").await.unwrap(), "x");
        assert!(seen.borrow().iter().all(|(_, message)| message.fields.contains("hmac+")));
        let (_, request) = seen.borrow()[0].clone();
        let mut deleting = request.clone();
        deleting.kind = Kind::DELETE_URI;
        let mut renumbered = request.clone();
        renumbered.fields.set("id", Value::Int(77));
        for forged in [request, deleting, renumbered] {
            // On a connection of its own, which has shown nothing yet.
            let answer = answer_to(&forged, server.local_addr()).await;
            assert_eq!((answer, calls.get()), (Kind::AUTH_ERROR, 1));
        }
    });
}

/// The kind of the answer to a message on a connection of its own.
async fn answer_to(message: &Message, server: SocketAddr) -> Kind {
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream.write_all(&message.to_octets().unwrap()).await.unwrap();
    let mut kind = [0];
    assert_eq!(stream.read(&mut kind).await.unwrap(), 1);
    Kinds::new().get(kind[0]).unwrap()
}

/// As somebody makes it who wants it to look like the Python package's.
fn unbound(message: &Message) -> Message {
    let mut message = message.clone();
    message.fields.remove("hmac+");
    message
}

#[test]
fn what_has_come_bound_does_not_come_again_unbound() {
    run(async {
        let (server, calls) = serve(Builder::new().layer(signed()));
        let (address, seen) = recorded(server.local_addr());
        let remote = connected(Builder::new().layer(signed()), address).await;
        assert_eq!(echo(&remote, "x").await.unwrap(), "x");
        let request = unbound(&seen.borrow()[0].1);
        let mut deleting = request.clone();
        deleting.kind = Kind::DELETE_URI;
        let mut timed_otherwise = request.clone();
        let time = request.fields.octets("ts").unwrap().as_ref().try_into().unwrap();
        timed_otherwise.fields.set("ts", Value::Int(i128::from(u32::from_be_bytes(time))));
        for forged in [request, deleting, timed_otherwise] {
            let answer = answer_to(&forged, server.local_addr()).await;
            assert_eq!((answer, calls.get()), (Kind::AUTH_ERROR, 1));
        }
    });
}

#[test]
fn an_answer_that_has_come_bound_answers_nothing_unbound() {
    run(async {
        let (server, _) = serve(Builder::new().layer(signed()));
        let (address, seen) = recorded(server.local_addr());
        let builder = Builder::new().layer(signed());
        let client = builder.client();
        let remote = client.connect(address).await.unwrap();
        assert_eq!(echo(&remote, "x").await.unwrap(), "x");
        let answer = unbound(&seen.borrow()[1].1);
        assert_eq!(answer.kind, Kind::RESPOND_URI);
        // Another connection of the same node, whose first request has the same number.
        let address = between(server.local_addr(), move |way, message| match way {
            Way::There => vec![message],
            Way::Back => vec![answer.clone()],
        });
        let error = echo(&client.connect(address).await.unwrap(), "y").await.unwrap_err();
        assert!(matches!(error, RequestError::NotGenuine(_)), "{error}");
    });
}

/// What docs/message.md says of messages that were kept back: only [`Layer::only_bound`] refuses them.
#[test]
fn what_was_kept_back_passes_unbound_until_it_has_come_bound() {
    run(async {
        for strict in [false, true] {
            let layer = if strict { signed().only_bound() } else { signed() };
            let (server, calls) = serve(Builder::new().layer(layer));
            let kept = Rc::new(RefCell::new(None));
            let keeps = kept.clone();
            let address = between(server.local_addr(), move |_, message| {
                keeps.replace(Some(message));
                Vec::new()
            });
            let remote = connected(Builder::new().layer(signed()), address).await;
            let asking = wakering::spawn(async move { echo(&remote, "x").await });
            while kept.borrow().is_none() {
                wakering::yield_now().await;
            }
            asking.abort();
            let request = kept.take().unwrap();
            let passes = if strict { Kind::AUTH_ERROR } else { Kind::RESPOND_URI };
            for (message, kind) in [
                (unbound(&request), passes),
                (unbound(&request), passes),
                (request.clone(), Kind::RESPOND_URI),
                (unbound(&request), Kind::AUTH_ERROR),
            ] {
                assert_eq!(answer_to(&message, server.local_addr()).await, kind);
            }
            assert_eq!(calls.get(), if strict { 1 } else { 3 });
        }
    });
}

#[test]
fn a_body_does_not_begin_within_the_time_nor_end_within_the_nonce() {
    let auth = HmacAuth::new("s");
    let mut message = Message::new(Kind::REQUEST_URI, "pay", "\0\x03you");
    scene(&[0x10], |scene| auth.sign(&mut message, scene)).unwrap();
    // The time takes length and uri along, and the content's first octets are the new uri's length.
    let time = [&message.fields.octets("ts").unwrap()[..], b"\0\x03pay"].concat();
    let mut shifted = message.clone();
    shifted.fields.set_octets("ts", &time);
    (shifted.uri, shifted.content) = ("you".into(), "".into());
    let is_genuine = |message: &Message| scene(&[], |scene| auth.is_genuine(message, scene));
    assert_eq!((is_genuine(&message), is_genuine(&shifted)), (true, false));

    let witness = WitnessAuth::new(&[7; 32]);
    let mut message = Message::new(Kind::REQUEST_URI, "pay", "100");
    scene(&[0x10], |scene| witness.sign(&mut message, scene)).unwrap();
    let nonce = [b"00", &message.fields.octets("nonce").unwrap()[..]].concat();
    let mut shifted = message.clone();
    shifted.fields.set_octets("nonce", &nonce);
    shifted.content = "1".into();
    let is_genuine = |message: &Message| scene(&[], |scene| witness.is_genuine(message, scene));
    assert_eq!((is_genuine(&message), is_genuine(&shifted)), (true, false));
}

#[test]
fn who_has_bound_its_codes_is_not_believed_without() {
    run(async {
        for (way, strict) in [(Way::There, false), (Way::Back, false), (Way::There, true)] {
            let (server, calls) =
                serve(Builder::new().layer(if strict { signed().only_bound() } else { signed() }));
            let count = Cell::new(0);
            let address = between(server.local_addr(), move |now, mut message| {
                count.set(count.get() + u32::from(now == way));
                if now == way && (count.get() == 2 || strict) {
                    message.fields.remove("hmac+");
                }
                vec![message]
            });
            let remote = connected(Builder::new().layer(signed()), address).await;
            if !strict {
                assert_eq!(echo(&remote, "x").await.unwrap(), "x");
            }
            let error = echo(&remote, "y").await.unwrap_err();
            assert!(matches!(error, RequestError::NotGenuine(_)), "{error}");
            assert_eq!(calls.get(), u32::from(!strict) + u32::from(way == Way::Back));
        }
    });
}

#[test]
fn who_does_not_know_of_bound_codes_is_served_as_ever() {
    /// As the Python package signs.
    struct Original(HmacAuth);
    impl AuthPlugin for Original {
        fn sign(&self, message: &mut Message, scene: &mut Scene<'_>) -> Result<(), PluginError> {
            self.0.sign(message, scene)
        }
        fn is_genuine(&self, message: &Message, scene: &Scene<'_>) -> bool {
            self.0.is_genuine(message, scene)
        }
        fn refusal(&self) -> &str {
            self.0.refusal()
        }
    }
    let original = || Layer::new().auth(Original(HmacAuth::new("s")));
    run(async {
        for (client, server) in [(original(), signed()), (signed(), original())] {
            let (server, calls) = serve(Builder::new().layer(server));
            let (address, seen) = recorded(server.local_addr());
            let remote = connected(Builder::new().layer(client), address).await;
            for content in ["x", "y"] {
                assert_eq!(echo(&remote, content).await.unwrap(), content);
            }
            let bound = |(_, message): &(Way, Message)| message.fields.contains("hmac+");
            assert!(!seen.borrow()[1..].iter().any(bound), "who sees that the other does not stops");
            // What such a peer has sent passes again: it is why the others bind.
            let (_, request) = seen.borrow()[2].clone();
            let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
            stream.write_all(&request.to_octets().unwrap()).await.unwrap();
            assert_eq!((stream.read(&mut [0]).await.unwrap(), calls.get()), (1, 3));
        }
    });
}

#[test]
fn an_inner_layer_binds_too_and_shares_its_nonce_with_the_outer_one() {
    let inner = || {
        Layer::new().auth(HmacAuth::new("admin").field("camh")).cipher(StreamCipher::new("k").field("iv2"))
    };
    for outer in [Layer::new(), signed(), signed().cipher(StreamCipher::new("o"))] {
        run(async {
            let handler = |incoming: Incoming| async move { Some(incoming.answer(Kind::OK, "done")) };
            let builder = Builder::new().layer(outer.clone()).on_within(inner(), Kind::DELETE_URI, handler);
            let server = builder.serve(listener()).unwrap();
            let count = Cell::new(0);
            let address = between(server.local_addr(), move |way, mut message| {
                count.set(count.get() + u32::from(way == Way::There));
                if way == Way::There && count.get() == 3 {
                    message.fields.remove("camh+");
                }
                vec![message]
            });
            let remote = connected(Builder::new().layer(outer), address).await.within(inner());
            for _ in 0..2 {
                assert_eq!(remote.request(Kind::DELETE_URI, "x", "").await.unwrap().content, "done");
            }
            let error = remote.request(Kind::DELETE_URI, "x", "").await.unwrap_err();
            assert!(matches!(error, RequestError::NotGenuine(_)), "{error}");
        });
    }
}

#[test]
fn who_takes_nothing_unbound_within_a_layer_says_nothing_unbound_in_it_either() {
    let inner = || Layer::new().auth(HmacAuth::new("admin").field("camh")).only_bound();
    for outer in [Layer::new(), signed()] {
        run(async {
            let (server, _) = serve(Builder::new().layer(outer.clone()));
            let told: Rc<Cell<u32>> = Rc::default();
            let tells = told.clone();
            let builder =
                Builder::new().layer(outer).on_within(inner(), Kind::NOTIFY_URI, move |_: Incoming| {
                    tells.set(tells.get() + 1);
                    async { None }
                });
            let client = builder.client();
            let _remote = client.connect(server.local_addr()).await.unwrap();
            while server.peers().is_empty() {
                yield_now().await;
            }
            // The end that was asked nothing, and has seen no code of the other one's.
            let peer = server.peers()[0].clone().within(inner());
            for number in 1..=2 {
                peer.send(Message::new(Kind::NOTIFY_URI, "news", "it")).unwrap();
                while told.get() < number {
                    assert_eq!(client.metrics().refused, 0);
                    yield_now().await;
                }
            }
        });
    }
}

// Octet for octet, as docs/message.md has it.

/// Random octets count up from the next of `firsts`.
fn scene<R>(firsts: &[u8], body: impl FnOnce(&mut Scene<'_>) -> R) -> R {
    let mut firsts = firsts.iter();
    let mut random = |octets: &mut [u8]| {
        let first = *firsts.next().expect("the vector has no more random octets");
        octets.iter_mut().zip(first..).for_each(|(octet, value)| *octet = value);
    };
    body(&mut Scene { unix_time: 0x6543_2100, random: &mut random, peer: None })
}

const OFFER: &str = "00003f001200934bf64d40020b2f4c400204024302696444014c4002072343056f66666572412101358072d6365880d1aeea329adf9121383851ed21a28e3b75e965d0d2cd166254001077616b6572696e672f73657373696f6e";
const ACCEPT: &str = "01005e00240c4bb96e4d40030b1d304c400204024302726544014c4002061243047365616c411044ba72056543210000000000000000004c400208234306616363657074412101675dd574ed7789310b3d2e7681f3790b466c773b1521fecf36577958371ea52f00002f95378d43e88b1382e9a5111f8b7f8ebe33a5a84b8adf55cb871e9b4041c8d7d206";
const SEALED: &str = "00002d001d9f3266884d40020b1d4c400204024302696444024c4002061243047365616c411044ba720565432100000000000000000000004620a076dea3104781819fae600311aa0cc2bc1d8b3c1161660f4a";
const SEALED_ANSWER: &str = "01002d001d68a85b4a4d40020b1d4c400204024302726544024c4002061243047365616c411044ba72056543210000000000000000010000f70d89f79f618cadf5fa3ed4d3b6786a720eb33a5e418a8b954acf";
const BOUND: &str = "0000ab00067202e84d4d40050b0f2d1e3e4c400204024302696444024c40020406430274734104654321004c400206224304686d61634120134b1787a5804700780aff3c15636ef880c781a3b123e219d3d6b9065204439c4c4002071243056e6f6e63654110101112131415161718191a1b1c1d1e1f4c400207324305686d61632b41309cb69911a30f44a2a774e7cdf14853e04a1a1177b266d9646bf74ba494b3e3da686d61632c69642c6e6f6e63652c747300046563686f";

#[test]
fn sessions_are_those_of_the_document_both_ways() {
    let session = Session::new("test");
    let framed = |message: &Message| hex(&message.to_octets().unwrap());
    let (offer, mut offering) = scene(&[0x20], |scene| session.offer(scene));
    offering.fields.set("id", Value::Int(1));
    assert_eq!(framed(&offering), OFFER);
    assert!(Session::is_offer(&offering));
    let accepted = scene(&[0x60], |scene| session.accept(&offering, Order::AsAsked, scene));
    let (mut answering, mut accepting) = accepted.unwrap();
    repeat_number(&offering, &mut accepting);
    answering.seal(&mut accepting, 0x6543_2100).unwrap();
    assert_eq!(framed(&accepting), ACCEPT);
    assert!(Offer::is_accepted_by(&accepting));
    let mut asking = offer.accepted(&session, &mut accepting, Order::AsAsked, 0x6543_2100).unwrap();
    let mut request = Message::new(Kind::REQUEST_URI, "echo", "hello");
    request.fields.set("id", Value::Int(2));
    let plain = request.clone();
    asking.seal(&mut request, 0x6543_2100).unwrap();
    assert_eq!(framed(&request), SEALED);
    assert_eq!(answering.open(&mut request.clone(), 0x6543_2100 + 301), Err(PluginError::Late(301)));
    let mut again = request.clone();
    answering.open(&mut request, 0x6543_2100 + 300).unwrap();
    assert_eq!(request, plain);
    assert_eq!(answering.open(&mut again, 0x6543_2100), Err(PluginError::Replayed));
    let mut answer = Message::new(Kind::RESPOND_URI, "echo", "hello");
    repeat_number(&request, &mut answer);
    let plain = answer.clone();
    answering.seal(&mut answer, 0x6543_2100).unwrap();
    assert_eq!(framed(&answer), SEALED_ANSWER);
    asking.open(&mut answer, 0x6543_2100).unwrap();
    assert_eq!(answer, plain);
}

#[test]
fn bound_codes_are_those_of_the_document_both_ways() {
    let auth = HmacAuth::new("test");
    scene(&[0x10], |scene| {
        let mut message = Message::new(Kind::REQUEST_URI, "echo", "");
        message.fields.set("id", Value::Int(2));
        auth.sign(&mut message, scene).unwrap();
        assert_eq!(auth.binding(&message), Binding::Absent);
        auth.bind(&mut message);
        assert_eq!(hex(&message.to_octets().unwrap()), BOUND);
        assert_eq!(auth.binding(&message), Binding::Bound { time: 0x6543_2100 });
        assert_eq!(HmacAuth::new("other").binding(&message), Binding::Forged);
        let mut other = message.clone();
        other.kind = Kind::DELETE_URI;
        assert_eq!(auth.binding(&other), Binding::Forged);
        message.fields.set("re", Value::Int(2));
        assert_eq!(auth.binding(&message), Binding::Forged, "a number that is not covered");
    });
    let _: &dyn CipherPlugin = &StreamCipher::new("k");
}

#[test]
fn a_message_that_has_no_room_for_its_seal_is_refused_and_stays_as_it_was() {
    let session = Session::new("test");
    let mut random = 0;
    let mut fill = |octets: &mut [u8]| {
        random += 1;
        octets.fill(random);
    };
    let mut scene = Scene { unix_time: 5, random: &mut fill, peer: None };
    let (_, offering) = session.offer(&mut scene);
    let (mut channel, _) = session.accept(&offering, Order::Any, &mut scene).unwrap();
    let mut fits = Message::new(Kind::OK, "uri", vec![0; 65_422 - 18 - 3]);
    channel.seal(&mut fits, 5).unwrap();
    fits.to_octets().unwrap();
    let mut over = Message::new(Kind::OK, "uri", vec![0; 65_422 - 18 - 2]);
    let before = over.clone();
    assert_eq!(channel.seal(&mut over, 5), Err(PluginError::TooLong(65_423)));
    assert_eq!(over, before);
}

#[test]
fn an_offer_without_a_contribution_of_its_own_is_declined() {
    let session = Session::new("test");
    for (version, key) in [(1, [0u8; 32]), (2, [9; 32])] {
        let mut offering = Message::new(Kind::REQUEST_URI, "x", "");
        offering.fields.set_octets("offer", &[&[version][..], &key].concat());
        scene(&[1], |scene| assert!(session.accept(&offering, Order::Any, scene).is_none()));
    }
}

// Malformed input, where layers are at work. What frames can be wrong in has tests in `message` and `message_udp`.

/// Sends frames by a connection of its own; what comes back until the server closes it.
async fn reaction(server: &Server, frames: &[&[u8]]) -> Vec<Message> {
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    stream.write_all(&frames.concat()).await.unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let (mut decoder, mut answers) = (Decoder::new(Kinds::new()), Vec::new());
    let mut octets = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut octets).await {
        decoder.receive(&octets[..n]);
        while let Some(message) = decoder.poll_message().unwrap() {
            answers.push(message);
        }
    }
    answers
}

fn frame(kind: Kind) -> Vec<u8> {
    Message::new(kind, "a", "").to_octets().unwrap()
}

#[test]
fn what_is_not_signed_is_refused_and_errors_that_are_not_are_not_answered() {
    run(async {
        let (server, calls) = serve(Builder::new().layer(signed()));
        let errors = [Kind::ERROR, Kind::AUTH_ERROR, Kind::NOT_FOUND, Kind::NOT_PERMITTED].map(frame);
        let mut frames: Vec<&[u8]> = errors.iter().map(|frame| &frame[..]).collect();
        let request = frame(Kind::REQUEST_URI);
        frames.extend([&request[..], &request]);
        let answers = reaction(&server, &frames).await;
        assert_eq!(answers.len(), 2, "{answers:?}");
        for answer in answers {
            // In plain: nobody knows whether the sender could read anything else.
            assert_eq!((answer.kind, &answer.uri[..]), (Kind::AUTH_ERROR, &b"ERROR"[..]));
            assert_eq!((&answer.content[..], answer.fields.len()), (&b"HMAC auth failed"[..], 0));
        }
        assert_eq!(calls.get(), 0);
    });
}

#[test]
fn what_cannot_be_decrypted_is_answered_and_the_connection_goes_on() {
    run(async {
        let cipher = || StreamCipher::new("k").hide_uri(false);
        let (server, calls) = serve(Builder::new().layer(Layer::new().cipher(cipher())));
        let mut message = Message::new(Kind::REQUEST_URI, "a", "hello");
        scene(&[1], |scene| cipher().encrypt(&mut message, scene).unwrap());
        let encrypted = message.to_octets().unwrap();
        let answers = reaction(&server, &[&frame(Kind::REQUEST_URI), &encrypted]).await;
        let kinds: Vec<Kind> = answers.iter().map(|answer| answer.kind).collect();
        assert_eq!((kinds, calls.get()), (vec![Kind::ERROR, Kind::RESPOND_URI], 1));
    });
}

#[test]
fn a_uri_that_is_longer_than_its_body_ends_the_connection_without_a_word() {
    run(async {
        let (server, calls) = serve(Builder::new());
        // Nine octets of uri in a body that has three behind their length, and the checksum is right.
        let octets = [0, 0, 3, 0, 5, 113, 79, 32, 71, 77, 64, 0, 0, 9, 97, 98, 99];
        let answers = reaction(&server, &[&octets[..], &frame(Kind::REQUEST_URI)]).await;
        assert_eq!((answers.len(), calls.get()), (0, 0));
    });
}
