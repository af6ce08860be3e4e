//! Where a session is required, nothing that comes without one reaches anything, answers and news included.
#![cfg(all(feature = "message", not(loom)))]
#![expect(clippy::unwrap_used, reason = "a test ends at its first failure")]

use std::{
    cell::{Cell, RefCell},
    future::Future,
    rc::Rc,
    time::Duration,
};

use wakering::{
    internals::message::{Decoder, Kinds},
    message::{Builder, Incoming, Introduction, Kind, LinkEnd, Message, PeerEvent, Session, UdpNode, Value},
    net::{TcpListener, TcpStream, UdpSocket},
    time::timeout,
};

/// Longer than anything takes on a loaded machine; only a failing test waits so long.
const LONG: Duration = Duration::from_secs(60);

/// All that end an exchange, so that they are answers or news: a request is answered with an error.
const KINDS: [Kind; 11] = [
    Kind::RESPOND_URI,
    Kind::NOTIFY_URI,
    Kind::OK,
    Kind::CONFIRM_SUBSCRIBE,
    Kind::CONFIRM_UNSUBSCRIBE,
    Kind::PEER_DISCOVERED,
    Kind::ERROR,
    Kind::AUTH_ERROR,
    Kind::NOT_FOUND,
    Kind::NOT_PERMITTED,
    Kind::DISCONNECT,
];

fn run<F: Future>(future: F) -> F::Output {
    wakering::run(async { timeout(LONG, future).await.expect("it ends") }).unwrap()
}

/// What has reached a node that requires sessions.
#[derive(Clone, Default)]
struct Reached {
    handlers: Rc<Cell<u32>>,
    peers: Rc<RefCell<Vec<String>>>,
}

impl Reached {
    fn is_nothing(&self) -> bool {
        self.handlers.get() == 0 && self.peers.borrow().is_empty()
    }

    /// A node with a handler for each of these types and one for all others, that notes whoever introduces himself.
    fn builder(&self) -> Builder {
        let handler = || {
            let handlers = self.handlers.clone();
            move |_: Incoming| {
                handlers.set(handlers.get() + 1);
                async { None }
            }
        };
        let peers = self.peers.clone();
        let builder = Builder::new()
            .session(Session::new("a long random secret").require(true))
            .introduce(Introduction::new("one"))
            .on_peer(move |event: PeerEvent| peers.borrow_mut().push(format!("{event:?}")))
            .otherwise(handler());
        // One of each pair is for the handler that is for all others.
        KINDS.into_iter().step_by(2).fold(builder, |builder, kind| builder.on(kind, handler()))
    }
}

/// A message as somebody writes it who has no secret: an introduction, if it is of a type for that.
fn plain(kind: Kind) -> Message {
    let said = Value::Tuple(vec![Value::Bytes("stranger".into()), Value::Bytes("".into())]).packed();
    Message::new(kind, "netaio", said)
}

fn request() -> Message {
    Message::new(Kind::REQUEST_URI, "echo", "the last")
}

/// The first message that comes.
async fn next(stream: &mut TcpStream, decoder: &mut Decoder) -> Option<Message> {
    let mut octets = [0; 4096];
    loop {
        if let Some(message) = decoder.poll_message().unwrap() {
            return Some(message);
        }
        match stream.read(&mut octets).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => decoder.receive(&octets[..n]),
        }
    }
}

#[test]
fn what_a_stranger_tells_a_server_that_requires_sessions_reaches_nothing() {
    run(async {
        for kind in KINDS {
            let reached = Reached::default();
            let server = reached.builder().serve(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
            let mut stranger = TcpStream::connect(server.local_addr()).await.unwrap();
            let frames = [plain(kind), request()].map(|message| message.to_octets().unwrap()).concat();
            stranger.write_all(&frames).await.unwrap();
            let answer = next(&mut stranger, &mut Decoder::new(Kinds::new())).await.unwrap();
            assert_eq!(answer.kind, Kind::AUTH_ERROR, "{kind}");
            assert!(reached.is_nothing() && server.known_peers().is_empty(), "{kind}: {:?}", reached.peers);
            assert_eq!(server.metrics().refused, 2, "{kind}");
        }
    });
}

#[test]
fn what_a_server_without_the_secret_tells_a_client_that_requires_sessions_reaches_nothing() {
    run(async {
        for kind in KINDS {
            let reached = Reached::default();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let client = reached.builder().client();
            let address = listener.local_addr().unwrap();
            let connecting = wakering::spawn({
                let client = client.clone();
                async move { client.connect(address).await.unwrap() }
            });
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut decoder = Decoder::new(Kinds::new());
            let offer = next(&mut stream, &mut decoder).await.unwrap();
            let mut refusal = Message::new(Kind::NOT_FOUND, offer.uri.clone(), "not found");
            refusal.fields.set("re", offer.fields.get("id").unwrap());
            let frames = [plain(kind), plain(kind), refusal].map(|message| message.to_octets().unwrap());
            // An error may end it before all of this is written.
            let _ = stream.write_all(&frames.concat()).await;
            let remote = connecting.await.unwrap();
            assert!(matches!(remote.ended().await, LinkEnd::Session(_)), "{kind}");
            assert!(reached.is_nothing() && client.known_peers().is_empty(), "{kind}: {:?}", reached.peers);
            // An error may be about the offer: then it is over.
            assert!(kind.is_error() || client.metrics().refused == 2, "{kind}");
        }
    });
}

fn node(builder: Builder) -> UdpNode {
    builder.node(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap()
}

#[test]
fn what_a_stranger_tells_a_node_that_requires_sessions_reaches_nothing() {
    run(async {
        for kind in KINDS {
            let reached = Reached::default();
            let one = node(reached.builder());
            let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
            for message in [plain(kind), request()] {
                stranger.send_to(&message.to_octets().unwrap(), one.local_addr()).await.unwrap();
            }
            let mut octets = [0; 4096];
            let answered = stranger.recv_from(&mut octets).await.unwrap();
            assert_eq!((octets[0], answered.source), (Kind::AUTH_ERROR.number(), one.local_addr()), "{kind}");
            assert!(reached.is_nothing() && one.known_peers().is_empty(), "{kind}: {:?}", reached.peers);
            assert_eq!(one.metrics().refused, 2, "{kind}");
        }
    });
}
