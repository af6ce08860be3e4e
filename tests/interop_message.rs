//! The Python package netaio, whose protocol `wakering::message` speaks: its client against our server, and our client
//! against its server; plain, signed, and encrypted. `tests/run` prepares it.

// A foreign program need not be met twice.
#![cfg(all(feature = "message", not(any(loom, wakering_fallback))))]
#![expect(clippy::unwrap_used, reason = "a test ends at its first failure")]

mod support;

use std::{
    cell::{OnceCell, RefCell},
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use support::peer::{Peer, Role, Row, python, script, skip_row};
use support::server::{Server, Signal};
use wakering::message::{
    BoxCipher, Builder, Group, HmacAuth, Incoming, Introduction, Kind, Layer, Message, Remote, Session,
    StreamCipher, UdpNode, Value, WitnessAuth,
};
use wakering::{
    BlockingHandle, CancellationToken, Scope,
    net::{TcpListener, UdpSocket},
    time,
};

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
        let server = Server::start("message_server", &[&["--workers", "2"], &arguments[..]].concat());
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

// Peers.

fn named(name: &'static str) -> Introduction {
    let name_field = (Value::Str("name".into()), Value::Str(name.into()));
    Introduction::new(name).data(Value::Map(vec![name_field])).every(Duration::from_millis(200))
}

async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        time::sleep(Duration::from_millis(1)).await;
    }
}

fn words(role: &str, more: &[&str], mode: &[&str]) -> Vec<String> {
    let mut line = vec![script("message_peers.py").display().to_string(), role.to_owned()];
    line.extend(more.iter().chain(mode).map(|word| (*word).to_owned()));
    line
}

/// Follows a peer on a thread of its own; the number counts its turns, and what it returns is awaited by the peer.
fn follow(peer: Peer, done: &Arc<AtomicUsize>) -> (Arc<AtomicUsize>, BlockingHandle<()>) {
    let turns = Arc::new(AtomicUsize::new(0));
    let (counts, done) = (turns.clone(), done.clone());
    let followed = wakering::spawn_blocking(move || {
        peer.follow(Duration::from_secs(120), || {
            let turn = counts.fetch_add(1, Ordering::SeqCst) + 1;
            let patience = Duration::from_secs(60);
            assert!(support::eventually(patience, || done.load(Ordering::SeqCst) >= turn), "turn {turn}");
        });
    });
    (turns, followed.unwrap())
}

/// A node in the group, which says what it heard.
fn member(name: &'static str, group: Group, mode: &[&str]) -> UdpNode {
    let own: Rc<OnceCell<UdpNode>> = Rc::default();
    let speaks = own.clone();
    let node = Builder::new()
        .layer(layer(mode))
        .group(group)
        .introduce(named(name))
        .on((Kind::NOTIFY_URI, "chat"), move |incoming: Incoming| {
            let content = String::from_utf8_lossy(&incoming.message.content).into_owned();
            // The others' words are heard as well.
            if let Some(node) = speaks.get().filter(|_| content == "from python") {
                let heard = Message::new(Kind::NOTIFY_URI, "chat", format!("{name} heard {content}"));
                node.multicast(heard).unwrap();
            }
            async { None }
        })
        .on((Kind::NOTIFY_URI, "direct"), |incoming: Incoming| async move {
            let content = format!("you sent {}", String::from_utf8_lossy(&incoming.message.content));
            Some(incoming.answer(Kind::NOTIFY_URI, content))
        })
        .node(UdpSocket::bind("127.0.0.1:0").unwrap())
        .unwrap();
    let _ = own.set(node.clone());
    node
}

#[test]
fn the_node_of_netaio_and_ours_find_each_other_in_a_group() {
    let Some(python) = python("netaio", PEER, Role::Node) else { return };
    let port = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|it| it.local_addr()).unwrap().port();
    let group = Group::v4(Ipv4Addr::new(239, 255, 77, 78), port, Ipv4Addr::LOCALHOST);
    let probe = wakering::run(async {
        Builder::new().group(group).node(UdpSocket::bind("127.0.0.1:0").unwrap()).map(drop)
    });
    if let Err(error) = probe.unwrap() {
        skip_row(PEER, Role::Node, &format!("the loopback interface has no multicast: {error}"));
        return;
    }
    for mode in MODES {
        let line = words("group", &[&group.addr().to_string()], mode);
        let peer = Peer::start(Row::new(PEER, Role::Node), &python, &line);
        wakering::run(async {
            let [one, two] = ["one", "two"].map(|name| member(name, group, mode));
            let done = Arc::new(AtomicUsize::new(0));
            let (turns, followed) = follow(peer, &done);
            until(|| turns.load(Ordering::SeqCst) >= 1 || followed.is_finished()).await;
            two.shutdown(Duration::from_secs(20)).await;
            done.store(1, Ordering::SeqCst);
            until(|| turns.load(Ordering::SeqCst) >= 2 || followed.is_finished()).await;
            until(|| one.known_peers().is_empty() || followed.is_finished()).await;
            done.store(2, Ordering::SeqCst);
            followed.await.unwrap();
            one.shutdown(Duration::from_secs(20)).await;
        })
        .unwrap();
    }
}

#[test]
fn the_client_of_netaio_and_our_server_introduce_themselves() {
    let Some(python) = python("netaio", PEER, Role::Client) else { return };
    for mode in MODES {
        wakering::run(async {
            let server = Builder::new()
                .layer(layer(mode))
                .introduce(named("wakering"))
                .on((Kind::REQUEST_URI, "who"), |incoming: Incoming| async move {
                    let id = incoming.peer.record().map(|record| record.id).unwrap_or_default();
                    Some(incoming.answer(Kind::RESPOND_URI, id))
                })
                .serve(TcpListener::bind("127.0.0.1:0").unwrap())
                .unwrap();
            let line = words("client", &[&server.local_addr().to_string()], mode);
            let done = Arc::new(AtomicUsize::new(0));
            let (turns, followed) = follow(Peer::start(Row::new(PEER, Role::Client), &python, &line), &done);
            until(|| turns.load(Ordering::SeqCst) >= 1 || followed.is_finished()).await;
            until(|| server.known_peers().is_empty() || followed.is_finished()).await;
            done.store(1, Ordering::SeqCst);
            followed.await.unwrap();
            server.shutdown(Duration::from_secs(20)).await;
        })
        .unwrap();
    }
}

#[test]
fn our_client_and_the_server_of_netaio_introduce_themselves() {
    let Some(python) = python("netaio", PEER, Role::Server) else { return };
    for mode in MODES {
        let mut peer = Peer::start(Row::new(PEER, Role::Server), &python, &words("server", &[], mode));
        let address: SocketAddr = peer.listening().parse().unwrap();
        wakering::run(async {
            let known =
                async |remote: &Remote| remote.request(Kind::REQUEST_URI, "known", "").await.unwrap().content;
            let client = Builder::new().layer(layer(mode)).introduce(named("wakering")).client();
            let first = client.connect(address).await.unwrap();
            until(|| client.known_peers().len() == 1).await;
            let server = &client.known_peers()[0];
            let name = (Value::Str("name".into()), Value::Str("python".into()));
            assert_eq!((&server.id[..], &server.data), (&b"python"[..], &Value::Map(vec![name])));
            assert_eq!(known(&first).await, "wakering");
            let watcher = Builder::new().layer(layer(mode)).client().connect(address).await.unwrap();
            first.close().await;
            while !known(&watcher).await.is_empty() {
                time::sleep(Duration::from_millis(10)).await;
            }
        })
        .unwrap();
        peer.row.ok("client and server introduce themselves, and say when they go");
        peer.judge();
    }
}

// What the package does not know of.

#[test]
fn a_session_that_is_offered_is_none_with_netaio_which_is_spoken_to_as_ever() {
    let Some(python) = python("netaio", PEER, Role::Server) else { return };
    let builder = |mode: &[&str]| Builder::new().layer(layer(mode)).session(Session::new("of ours"));
    for mode in MODES {
        let line = |name: &str, more: &[&str]| {
            let name = script(name).display().to_string();
            [&name[..]].iter().chain(more).chain(mode).map(|word| (*word).to_owned()).collect::<Vec<_>>()
        };
        let mut server = Peer::start(Row::new(PEER, Role::Server), &python, &line("message_server.py", &[]));
        let mut far = Peer::start(Row::new(PEER, Role::Node), &python, &line("message_node.py", &["serve"]));
        let addresses: [SocketAddr; 2] =
            [&mut server, &mut far].map(|peer| peer.listening().parse().unwrap());
        wakering::run(async {
            let remote = builder(mode).client().connect(addresses[0]).await.unwrap();
            exchange(&remote).await;
            let node = builder(mode).node(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
            let peer = node.peer(addresses[1]);
            ask_node(&peer).await;
            assert!(!remote.peer().unwrap().is_sealed() && !peer.is_sealed());
            let strict = Builder::new().layer(layer(mode)).session(Session::new("of ours").require(true));
            let remote = strict.client().connect(addresses[0]).await.unwrap();
            let refused = remote.request(Kind::REQUEST_URI, "echo", "x").await;
            assert!(refused.is_err(), "{refused:?}");
        })
        .unwrap();
        for peer in [&mut server, &mut far] {
            peer.row.ok("a session that it does not know of is offered and left");
        }
        server.judge();
        far.judge();
    }
}

// Boxes and signatures.

const SEALED_MODES: [&str; 3] = ["plain", "signed", "witness"];

fn seed(first: u8) -> [u8; 32] {
    std::array::from_fn(|at| first + at as u8)
}

/// The package's end has this seed, ours the next 32 octets.
const PYTHON: u8 = 0x40;
const OURS: u8 = 0x60;

fn own_witness() -> WitnessAuth {
    let theirs = WitnessAuth::new(&seed(PYTHON)).public_key();
    WitnessAuth::new(&seed(OURS)).lock(&theirs).unwrap()
}

fn sealed_outer(mode: &str) -> Layer {
    match mode {
        "signed" => Layer::new().auth(HmacAuth::new("a secret")),
        "witness" => Layer::new().auth(own_witness()),
        _ => Layer::new(),
    }
}

fn boxed(hides_uri: bool) -> Layer {
    Layer::new().cipher(BoxCipher::new(&seed(OURS)).hide_uri(hides_uri))
}

/// A lock that nothing opens, but for that of what the peer says of itself.
fn their_lock() -> Layer {
    let nobodys = WitnessAuth::new(&seed(1)).public_key();
    Layer::new().auth(own_witness().field("inner").lock(&nobodys).unwrap().heed_peers())
}

fn witnessed() -> Layer {
    Layer::new().auth(own_witness().field("inner"))
}

fn with_keys() -> Introduction {
    let octets = |octets: &[u8]| Value::Bytes(octets.to_vec().into());
    let key = BoxCipher::new(&seed(OURS)).public_key();
    let data = [("pubkey", octets(&key)), ("lock", octets(&own_witness().own_lock()))];
    let data = data.map(|(name, value)| (Value::Str(name.into()), value));
    Introduction::new("wakering").data(Value::Map(data.into()))
}

/// Handlers with plugins of their own, as the package's end has them.
fn handling(mode: &str) -> Builder {
    let echo = |incoming: Incoming| async move {
        Some(incoming.answer(Kind::RESPOND_URI, incoming.message.content.clone()))
    };
    let update =
        |incoming: Incoming| async move { Some(incoming.answer(Kind::OK, incoming.message.content.clone())) };
    let both = witnessed().cipher(BoxCipher::new(&seed(OURS)));
    Builder::new()
        .layer(sealed_outer(mode))
        .introduce(with_keys())
        .on_within(boxed(false), (Kind::REQUEST_URI, "box"), echo)
        .on_within(witnessed(), (Kind::REQUEST_URI, "witness"), echo)
        .on_within(both, (Kind::REQUEST_URI, "both"), echo)
        .on_within(their_lock(), (Kind::REQUEST_URI, "their lock"), echo)
        .on_within(boxed(true), Kind::UPDATE_URI, update)
}

/// Asks the package's handlers by `peer`.
async fn ask_sealed(peer: &wakering::message::Peer, hidden: &CancellationToken) {
    let both = witnessed().cipher(BoxCipher::new(&seed(OURS)));
    for (uri, layer) in
        [("box", boxed(false)), ("witness", witnessed()), ("both", both), ("their lock", their_lock())]
    {
        for content in ["hello", ""] {
            let asked = peer.clone().within(layer.clone()).request(Kind::REQUEST_URI, uri, content).await;
            let answer = asked.unwrap_or_else(|error| panic!("{uri}: {error}"));
            assert_eq!((answer.kind, &answer.content[..]), (Kind::RESPOND_URI, content.as_bytes()), "{uri}");
        }
    }
    let refused =
        peer.clone().timeout(Duration::from_secs(60)).request(Kind::REQUEST_URI, "witness", "").await;
    match refused {
        Ok(answer) => assert_eq!(answer.kind, Kind::AUTH_ERROR),
        Err(error) => assert!(!error.is_timeout(), "{error}"),
    }
    // The answer's uri is hidden, too, and the package repeats no number: only a handler can know it.
    let update = Message::new(Kind::UPDATE_URI, "hidden", "hello");
    peer.clone().within(boxed(true)).send(update).unwrap();
    time::timeout(Duration::from_secs(60), hidden.cancelled()).await.expect("the hidden answer comes");
}

/// A handler of answers that are boxed with their uri, and what it cancels.
fn heeding_hidden(builder: Builder) -> (Builder, CancellationToken) {
    let heard = CancellationToken::new();
    let tells = heard.clone();
    let builder = builder.on_within(boxed(true), Kind::OK, move |incoming: Incoming| {
        let message = incoming.message;
        assert_eq!((&message.uri[..], &message.content[..]), (&b"hidden"[..], &b"hello"[..]));
        tells.cancel();
        async { None }
    });
    (builder, heard)
}

fn sealed_python(role: Role) -> Option<std::path::PathBuf> {
    let python = python("netaio", PEER, role)?;
    let known = std::process::Command::new(&python).args(["-c", "import netaio.asymmetric"]).output();
    if known.is_ok_and(|known| known.status.success()) {
        return Some(python);
    }
    skip_row(PEER, role, "boxes and witnesses: PyNaCl and tapescript are not installed");
    None
}

fn sealed_line(role: &str, more: &[&str]) -> Vec<String> {
    let line = [&script("message_sealed.py").display().to_string(), role];
    line.iter().chain(more).map(|word| (*word).to_owned()).collect()
}

#[test]
fn boxes_and_witnesses_are_understood_by_the_server_of_netaio() {
    let Some(python) = sealed_python(Role::Server) else { return };
    for mode in SEALED_MODES {
        let mut peer = Peer::start(Row::new(PEER, Role::Server), &python, &sealed_line("server", &[mode]));
        let address: SocketAddr = peer.listening().parse().unwrap();
        wakering::run(async {
            let builder = Builder::new().layer(sealed_outer(mode)).introduce(with_keys());
            let (builder, hidden) = heeding_hidden(builder);
            let client = builder.client();
            let remote = client.connect(address).await.unwrap();
            until(|| client.known_peers().len() == 1).await;
            ask_sealed(&remote.peer().unwrap(), &hidden).await;
            remote.close().await;
        })
        .unwrap();
        peer.row.ok(&format!("boxes and witnesses in requests and handlers ({mode})"));
        peer.judge();
    }
}

#[test]
fn boxes_and_witnesses_are_understood_by_the_node_of_netaio() {
    let Some(python) = sealed_python(Role::Node) else { return };
    for mode in SEALED_MODES {
        let mut peer = Peer::start(Row::new(PEER, Role::Node), &python, &sealed_line("serve", &[mode]));
        let address: SocketAddr = peer.listening().parse().unwrap();
        wakering::run(async {
            let (builder, hidden) = heeding_hidden(handling(mode));
            let node = builder.node(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
            node.introduce_to(address).unwrap();
            until(|| !node.known_peers().is_empty()).await;
            ask_sealed(&node.peer(address), &hidden).await;
            node.shutdown(Duration::from_secs(60)).await;
        })
        .unwrap();
        peer.row.ok(&format!("boxes and witnesses in requests and handlers ({mode})"));
        peer.judge();
    }
}

#[test]
fn boxes_and_witnesses_of_the_client_and_the_node_of_netaio_are_understood() {
    let (Some(python), Some(_)) = (sealed_python(Role::Client), sealed_python(Role::Node)) else { return };
    for mode in SEALED_MODES {
        wakering::run(async {
            let server = handling(mode).serve(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
            let node = handling(mode).node(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
            for (role, name, address) in [
                (Role::Client, "client", server.local_addr().to_string()),
                (Role::Node, "ask", node.local_addr().to_string()),
            ] {
                let line = sealed_line(name, &[&address, mode]);
                let peer = Peer::start(Row::new(PEER, role), &python, &line);
                let (_turns, followed) = follow(peer, &Arc::default());
                followed.await.unwrap();
            }
            server.shutdown(Duration::from_secs(20)).await;
            node.shutdown(Duration::from_secs(20)).await;
        })
        .unwrap();
    }
}

// The page.

#[test]
fn a_peer_that_was_written_from_the_page_alone_is_understood() {
    const NAME: &str = "netaio's protocol, by docs/message.md";
    let Some(python) = sealed_python(Role::Client) else { return };
    wakering::run(async {
        let echo = |builder: Builder, layer: Layer| {
            builder.on_within(layer, (Kind::REQUEST_URI, "echo"), |incoming: Incoming| async move {
                Some(incoming.answer(Kind::RESPOND_URI, incoming.message.content.clone()))
            })
        };
        let hmac = || Layer::new().auth(HmacAuth::new("test"));
        let witness = Layer::new().auth(WitnessAuth::new(&seed(0)));
        let session = || Builder::new().session(Session::new("a long random secret").require(true));
        let in_layer = |layer| Builder::new().layer(layer);
        let builders = [
            echo(Builder::new(), Layer::new()),
            echo(in_layer(hmac()), Layer::new()),
            echo(in_layer(hmac().cipher(StreamCipher::new("a key"))), Layer::new()),
            echo(in_layer(witness), Layer::new()),
            echo(Builder::new().introduce(with_keys()), boxed(false)),
            echo(session(), Layer::new()),
        ];
        let servers = builders.map(|it| it.serve(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap());
        let node = echo(session(), Layer::new()).node(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        let mut line = vec![script("message_from_the_page.py").display().to_string()];
        line.extend(servers.iter().map(|server| server.local_addr().to_string()));
        line.push(node.local_addr().to_string());
        let (_turns, followed) =
            follow(Peer::start(Row::new(NAME, Role::Client), &python, &line), &Arc::default());
        followed.await.unwrap();
    })
    .unwrap();
}
