//! Messages that have come are sent on, to others and to the same ones again, and are as good as any.
#![cfg(all(feature = "message", not(loom)))]
#![expect(clippy::unwrap_used, reason = "a test ends at its first failure")]

use std::{cell::RefCell, future::Future, rc::Rc, time::Duration};

use bytes::Bytes;
use wakering::{
    message::{
        Builder, HmacAuth, Incoming, Kind, Layer, Message, Remote, Server, StreamCipher, UdpNode, WitnessAuth,
    },
    net::{TcpListener, UdpSocket},
    time::{sleep, timeout},
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

type Kept = Rc<RefCell<Vec<Message>>>;

/// Keeps what it is told, and answers what it is asked.
fn keeping(builder: Builder) -> (Builder, Kept) {
    let kept = Kept::default();
    let keeps = kept.clone();
    let builder = builder.otherwise(move |incoming: Incoming| {
        keeps.borrow_mut().push(incoming.message.clone());
        async move { Some(incoming.answer(Kind::OK, "")) }
    });
    (builder, kept)
}

fn layers() -> [Layer; 4] {
    [
        Layer::new(),
        Layer::new().auth(HmacAuth::new("s")),
        Layer::new().auth(HmacAuth::new("s")).cipher(StreamCipher::new("k")).only_bound(),
        Layer::new().auth(WitnessAuth::new(&[7; 32])),
    ]
}

fn news(of: &Message) -> Message {
    let mut news = of.clone();
    news.kind = Kind::NOTIFY_URI;
    news
}

/// What has been relayed `count` times, each time as a message of its own and without a number.
async fn is_heard(kept: &Kept, count: usize, is_signed: bool) {
    until(|| kept.borrow().len() == count).await;
    let kept = kept.borrow();
    assert!(kept.iter().all(|message| message.content == "it" && !message.fields.contains("id")));
    let nonces: Vec<Bytes> =
        kept.iter().filter_map(|message| message.fields.octets("nonce").cloned()).collect();
    let is_new = |(at, nonce): (usize, &Bytes)| !nonces[..at].contains(nonce);
    assert_eq!(nonces.len(), if is_signed { count } else { 0 });
    assert!(nonces.iter().enumerate().all(is_new), "{nonces:?}");
}

#[test]
fn what_a_server_has_heard_it_tells_others_any_number_of_times() {
    for (at, layer) in layers().into_iter().enumerate() {
        run(async {
            let connect = async |builder: Builder, server: &Server| -> Remote {
                builder.layer(layer.clone()).client().connect(server.local_addr()).await.unwrap()
            };
            let (builder, published) = keeping(Builder::new().layer(layer.clone()));
            let server = builder.serve(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
            let (builder, kept) = keeping(Builder::new());
            let hears = connect(builder, &server).await;
            until(|| server.connections() == 1).await;
            let peer = server.peers()[0].clone();
            assert!(peer.subscribe("news"));
            let publisher = connect(Builder::new(), &server).await;
            let answer = publisher.request(Kind::PUBLISH_URI, "news", "it").await.unwrap();
            assert!(!answer.fields.contains("re"), "it answers nothing else");
            let relayed = news(&published.borrow()[0]);
            let own = server.clone();
            for _ in 0..2 {
                peer.send(relayed.clone()).unwrap();
                assert_eq!(own.notify("news", relayed.clone()).unwrap(), 1);
            }
            is_heard(&kept, 4, at > 0).await;
            // From its end, too: what it was told.
            let heard = kept.borrow()[0].clone();
            for _ in 0..2 {
                hears.send(news(&heard)).await.unwrap();
            }
            until(|| published.borrow().len() == 3).await;
            assert_eq!(server.metrics().refused, 0);
        });
    }
}

#[test]
fn what_a_node_has_heard_it_tells_others_any_number_of_times() {
    for (at, layer) in layers().into_iter().enumerate() {
        run(async {
            let node = |builder: Builder| -> UdpNode {
                builder.layer(layer.clone()).node(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap()
            };
            let (builder, published) = keeping(Builder::new());
            let one = node(builder);
            let (builder, kept) = keeping(Builder::new());
            let other = node(builder);
            let publisher = node(Builder::new());
            publisher.peer(one.local_addr()).request(Kind::PUBLISH_URI, "news", "it").await.unwrap();
            let relayed = news(&published.borrow()[0]);
            let peer = one.peer(other.local_addr());
            assert!(peer.subscribe("news"));
            for _ in 0..2 {
                peer.send(relayed.clone()).unwrap();
                assert_eq!(one.notify("news", relayed.clone()).unwrap(), 1);
            }
            is_heard(&kept, 4, at > 0).await;
            assert_eq!(other.metrics().refused, 0);
        });
    }
}
