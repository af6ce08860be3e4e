//! The Python package netaio, whose protocol `wakering::message` speaks: its client against our server, and our client
//! against its server; plain, signed, and encrypted. `tests/run` prepares it.

// A foreign program need not be met twice.
#![cfg(all(feature = "message", not(any(loom, wakering_fallback))))]
#![expect(clippy::unwrap_used, reason = "a test ends at its first failure")]

mod support;

use std::{cell::RefCell, net::SocketAddr, rc::Rc, time::Duration};

use support::peer::{Peer, Role, Row, python, script};
use support::server::{Server, Signal};
use wakering::message::{Builder, HmacAuth, Incoming, Kind, Layer, Remote, StreamCipher};
use wakering::{CancellationToken, Scope, net::UdpSocket, time};

const PEER: &str = "netaio";
const MODES: [&[&str]; 3] = [&[], &["a secret"], &["a secret", "a key"]];

fn layer(mode: &[&str]) -> Layer {
    let mut layer = Layer::new();
    if let Some(secret) = mode.first() {
        layer = layer.auth(HmacAuth::new(secret));
    }
    if let Some(key) = mode.get(1) {
        layer = layer.cipher(StreamCipher::new(key));
    }
    layer
}

#[test]
fn the_client_of_netaio_is_served_plain_signed_and_encrypted() {
    let Some(python) = python("netaio", PEER, Role::Client) else { return };
    for mode in MODES {
        let options = ["--secret", "--key"];
        let arguments: Vec<&str> =
            options.iter().zip(mode).flat_map(|(name, value)| [*name, *value]).collect();
        let server = Server::start("message_server", &arguments);
        let mut line = vec![script("message_client.py").display().to_string(), server.address.to_string()];
        line.extend(mode.iter().map(|word| (*word).to_owned()));
        Peer::start(Row::new(PEER, Role::Client), &python, &line).follow(Duration::from_secs(60), || {});
        server.signal(Signal::Terminate);
        let (status, _, errors) = server.wait(Duration::from_secs(60));
        assert_eq!((status.code(), &errors[..]), (Some(0), ""));
    }
}

#[test]
fn our_client_asks_the_server_of_netaio_plain_signed_and_encrypted() {
    let Some(python) = python("netaio", PEER, Role::Server) else { return };
    for mode in MODES {
        let mut line = vec![script("message_server.py").display().to_string()];
        line.extend(mode.iter().map(|word| (*word).to_owned()));
        let mut peer = Peer::start(Row::new(PEER, Role::Server), &python, &line);
        let address: SocketAddr = peer.listening().parse().unwrap();
        wakering::run(async {
            let heard: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
            let hears = heard.clone();
            let client = Builder::new()
                .layer(layer(mode))
                .on((Kind::NOTIFY_URI, "news"), move |incoming: Incoming| {
                    hears.borrow_mut().push(incoming.message.content.to_vec());
                    async { None }
                })
                .client();
            let remote = client.connect(address).await.unwrap();
            exchange(&remote).await;
            all_at_once(&remote).await;
            within(&remote).await;
            assert_eq!(
                remote.request(Kind::SUBSCRIBE_URI, "news", "").await.unwrap().kind,
                Kind::CONFIRM_SUBSCRIBE
            );
            assert_eq!(remote.request(Kind::PUBLISH_URI, "news", "first").await.unwrap().kind, Kind::OK);
            let there = async {
                while heard.borrow().is_empty() {
                    time::sleep(Duration::from_millis(5)).await;
                }
            };
            time::timeout(Duration::from_secs(60), there).await.expect("the notification comes");
            assert_eq!(*heard.borrow(), [b"first"]);
            remote.close().await;
        })
        .unwrap();
        let kinds = ["plain", "signed", "signed and encrypted"];
        peer.row.ok(kinds[mode.len()]);
        peer.judge();
    }
}

async fn exchange(remote: &Remote) {
    for size in [0, 5, 60_000] {
        let content = vec![b'x'; size];
        let answer = remote.request(Kind::REQUEST_URI, "echo", content.clone()).await.unwrap();
        assert_eq!((answer.kind, &answer.content[..]), (Kind::RESPOND_URI, &content[..]));
    }
    assert_eq!(remote.request(Kind::CREATE_URI, "new", "content").await.unwrap().kind, Kind::OK);
    // The package answers what nobody handles without a uri, by which its own client would wait for ten seconds.
    let missing =
        time::timeout(Duration::from_secs(60), remote.request(Kind::REQUEST_URI, "nothing", "")).await;
    assert_eq!(missing.unwrap().unwrap().kind, Kind::NOT_FOUND);
}

/// The package repeats no numbers, so requests for one uri take turns, and each gets its own answer.
async fn all_at_once(remote: &Remote) {
    let scope: Scope = Scope::new();
    for number in 0..10u8 {
        let remote = remote.clone();
        scope.spawn(async move {
            let answer = remote.request(Kind::REQUEST_URI, "slow", vec![number]).await.unwrap();
            assert_eq!(answer.content[..], [number]);
        });
    }
    scope.join().await.unwrap();
}

/// A handler of the package's with a secret of its own.
async fn within(remote: &Remote) {
    let inner = Layer::new().auth(HmacAuth::new("inner").field("camh"));
    let answer = remote.clone().within(inner).request(Kind::DELETE_URI, "inner", "").await.unwrap();
    assert_eq!((answer.kind, &answer.content[..]), (Kind::OK, &b"deleted"[..]));
    let refused =
        remote.clone().timeout(Duration::from_secs(60)).request(Kind::DELETE_URI, "inner", "").await;
    match refused {
        Ok(answer) => assert_eq!(answer.kind, Kind::AUTH_ERROR),
        Err(error) => assert!(!error.is_timeout(), "{error}"),
    }
}

// Datagrams.

#[test]
fn the_node_of_netaio_is_answered_plain_signed_and_encrypted() {
    let Some(python) = python("netaio", PEER, Role::Node) else { return };
    for mode in MODES {
        let options = ["--secret", "--key"];
        let plugins: Vec<&str> = options.iter().zip(mode).flat_map(|(name, value)| [*name, *value]).collect();
        let server = Server::start("message_server", &[&["--udp"], &plugins[..]].concat());
        let mut line = vec![script("message_node.py").display().to_string(), "ask".to_owned()];
        line.push(server.address.to_string());
        line.extend(mode.iter().map(|word| (*word).to_owned()));
        Peer::start(Row::new(PEER, Role::Node), &python, &line).follow(Duration::from_secs(60), || {});
        server.signal(Signal::Terminate);
        let (status, _, errors) = server.wait(Duration::from_secs(60));
        assert_eq!((status.code(), &errors[..]), (Some(0), ""));
    }
}

#[test]
fn our_node_asks_the_node_of_netaio_plain_signed_and_encrypted() {
    let Some(python) = python("netaio", PEER, Role::Node) else { return };
    for mode in MODES {
        let mut line = vec![script("message_node.py").display().to_string(), "serve".to_owned()];
        line.extend(mode.iter().map(|word| (*word).to_owned()));
        let mut peer = Peer::start(Row::new(PEER, Role::Node), &python, &line);
        let address: SocketAddr = peer.listening().parse().unwrap();
        wakering::run(async {
            let (heard, told) = (Rc::new(RefCell::new(Vec::new())), CancellationToken::new());
            let (hears, tells) = (heard.clone(), told.clone());
            let node = Builder::new()
                .layer(layer(mode))
                .on((Kind::NOTIFY_URI, "news"), move |incoming: Incoming| {
                    hears.borrow_mut().push(incoming.message.content);
                    tells.cancel();
                    async { None }
                })
                .node(UdpSocket::bind("127.0.0.1:0").unwrap())
                .unwrap();
            let far = node.peer(address);
            ask_node(&far).await;
            assert_eq!(
                far.request(Kind::SUBSCRIBE_URI, "news", "").await.unwrap().kind,
                Kind::CONFIRM_SUBSCRIBE
            );
            assert_eq!(far.request(Kind::PUBLISH_URI, "news", "first").await.unwrap().kind, Kind::OK);
            time::timeout(Duration::from_secs(60), told.cancelled()).await.expect("the notification comes");
            assert_eq!(*heard.borrow(), ["first"]);
            node.shutdown(Duration::from_secs(60)).await;
        })
        .unwrap();
        let kinds = ["plain", "signed", "signed and encrypted"];
        peer.row.ok(kinds[mode.len()]);
        peer.judge();
    }
}

async fn ask_node(far: &wakering::message::Peer) {
    for size in [0, 5, 60_000] {
        let content = vec![b'x'; size];
        let answer = far.request(Kind::REQUEST_URI, "echo", content.clone()).await.unwrap();
        assert_eq!((answer.kind, &answer.content[..]), (Kind::RESPOND_URI, &content[..]));
    }
    assert_eq!(far.request(Kind::CREATE_URI, "new", "content").await.unwrap().kind, Kind::OK);
    // The package answers what nobody handles with the uri ERROR, by which its own node would wait for ten seconds.
    assert_eq!(far.request(Kind::REQUEST_URI, "nothing", "").await.unwrap().kind, Kind::NOT_FOUND);
    let scope: Scope = Scope::new();
    for number in 0..10u8 {
        let far = far.clone();
        scope.spawn(async move {
            let answer = far.request(Kind::REQUEST_URI, "echo", vec![number]).await.unwrap();
            assert_eq!(answer.content[..], [number]);
        });
    }
    scope.join().await.unwrap();
    let inner = Layer::new().auth(HmacAuth::new("inner").field("camh"));
    let answer = far.clone().within(inner).request(Kind::DELETE_URI, "inner", "").await.unwrap();
    assert_eq!((answer.kind, &answer.content[..]), (Kind::OK, &b"deleted"[..]));
    match far.request(Kind::DELETE_URI, "inner", "").await {
        Ok(answer) => assert_eq!(answer.kind, Kind::AUTH_ERROR),
        Err(error) => assert!(!error.is_timeout(), "{error}"),
    }
}
