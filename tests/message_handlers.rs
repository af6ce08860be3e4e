//! Handlers for one message, and handlers of requests that had no answer in time.
#![cfg(all(feature = "message", not(loom)))]
#![expect(clippy::unwrap_used, reason = "a test ends at its first failure")]

#[path = "support/exact.rs"]
mod exact;

use std::{
    cell::{Cell, RefCell},
    future::{Future, pending},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    os::fd::OwnedFd,
    rc::Rc,
    time::Duration,
};

use rustix::net::{AddressFamily, SocketType};
use wakering::{
    CancellationToken, Scope,
    dump::TaskDump,
    internals::message::{Decoder, Kinds},
    message::{
        AutoReconnect, Builder, HmacAuth, Incoming, Kind, Late, Layer, LinkEnd, Message, Reconnect, Remote,
        RequestError, Server, Session, UdpNode, Waited,
    },
    net::{TcpListener, TcpStream, UdpSocket},
    time::{sleep, timeout},
    yield_now,
};

const LONG: Duration = Duration::from_secs(30);
/// Long enough for nothing, when nothing comes.
const SHORT: Duration = Duration::from_millis(50);

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

/// An address that listens to nobody: who connects is refused, and nobody else gets the port.
fn deaf() -> (OwnedFd, SocketAddr) {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = SocketAddr::try_from(rustix::net::getsockname(&socket).unwrap()).unwrap();
    (socket, address)
}

/// Answers unless it is mute.
fn serve(mute: &Rc<Cell<bool>>) -> Server {
    let mute = mute.clone();
    let handler = move |incoming: Incoming| {
        let is_mute = mute.get();
        async move {
            if is_mute {
                pending::<()>().await;
            }
            Some(incoming.answer(Kind::RESPOND_URI, incoming.message.content.clone()))
        }
    };
    Builder::new().on(Kind::REQUEST_URI, handler).serve(listener()).unwrap()
}

async fn ask(remote: &Remote) -> Result<(), RequestError> {
    remote.request(Kind::REQUEST_URI, "the uri", "x").await.map(|answer| assert_eq!(answer.content, "x"))
}

#[test]
fn a_peer_that_is_reset_is_noticed_also_while_its_messages_wait_for_handlers() {
    if !wakering::internals::sys::TELLS_RESETS {
        println!("SKIPPED: this backend tells of a reset only who reads or writes");
        return;
    }
    run(async {
        let server = Builder::new().on(Kind::REQUEST_URI, |_| pending()).serve(listener()).unwrap();
        let mut peer = TcpStream::connect(server.local_addr()).await.unwrap();
        let mut frames = Vec::new();
        for _ in 0..200 {
            Message::new(Kind::REQUEST_URI, "the uri", "x").encode(&mut frames).unwrap();
        }
        peer.write_all(&frames).await.unwrap();
        until(|| server.metrics().handlers > 0).await;
        // The reader waits when it had its turn.
        until(|| server.dump().to_string().contains("handlers of messages from")).await;
        peer.set_linger(Some(Duration::ZERO)).unwrap();
        drop(peer);
        until(|| server.metrics().connections_open == 0).await;
        assert_eq!(server.metrics().handlers, 0);
    });
}

#[test]
fn handlers_that_ask_back_have_their_answers_however_many_messages_come_before_those() {
    run(async {
        // They ask when the reader has waited for them already.
        let (now, go_on) = (Rc::new(Cell::new(0)), CancellationToken::new());
        let (counts, waits) = (now.clone(), go_on.clone());
        let handler = move |incoming: Incoming| {
            let waits = waits.clone();
            counts.set(counts.get() + 1);
            async move {
                waits.cancelled().await;
                let name = incoming.peer.request(Kind::REQUEST_URI, "name", "").await.ok()?;
                Some(incoming.answer(Kind::RESPOND_URI, name.content))
            }
        };
        let builder = Builder::new().request_timeout(LONG).on((Kind::REQUEST_URI, "who am i"), handler);
        let builder = builder.on((Kind::REQUEST_URI, "the uri"), |incoming: Incoming| async move {
            Some(incoming.answer(Kind::RESPOND_URI, incoming.message.content.clone()))
        });
        let server = builder.serve(listener()).unwrap();
        let named = Builder::new().on((Kind::REQUEST_URI, "name"), |incoming: Incoming| async move {
            Some(incoming.answer(Kind::RESPOND_URI, "Ann"))
        });
        let remote = named.request_timeout(LONG).client().connect(server.local_addr()).await.unwrap();
        // From then on it is known to repeat numbers.
        ask(&remote).await.unwrap();
        let scope: Scope = Scope::new();
        for _ in 0..200 {
            let remote = remote.clone();
            scope.spawn(async move {
                let answer = remote.request(Kind::REQUEST_URI, "who am i", "").await;
                assert_eq!(answer.unwrap().content, "Ann");
            });
        }
        until(|| now.get() == 64).await;
        go_on.cancel();
        scope.join().await.unwrap();
        assert_eq!(now.get(), 200);
    });
}

#[test]
fn who_sends_no_more_has_all_that_was_held_answered() {
    run(async {
        let asked = CancellationToken::new();
        let tells = asked.clone();
        let builder = Builder::new().on((Kind::REQUEST_URI, "held"), move |incoming: Incoming| {
            let tells = tells.clone();
            async move {
                tells.cancel();
                let error = incoming.peer.request(Kind::REQUEST_URI, "name", "").await.unwrap_err();
                Some(incoming.answer(Kind::RESPOND_URI, error.to_string()))
            }
        });
        let builder = builder.on((Kind::REQUEST_URI, "echo"), |incoming: Incoming| async move {
            Some(incoming.answer(Kind::RESPOND_URI, ""))
        });
        let server = builder.serve(listener()).unwrap();
        let (mut reader, mut writer) = TcpStream::connect(server.local_addr()).await.unwrap().into_split();
        let request = |uri: &'static str| Message::new(Kind::REQUEST_URI, uri, "").to_octets().unwrap();
        writer.write_all(&request("held")).await.unwrap();
        asked.cancelled().await;
        writer.write_all(&request("echo").repeat(200)).await.unwrap();
        writer.shutdown().unwrap();
        let (mut decoder, mut octets) = (Decoder::new(Kinds::new()), vec![0; 70_000]);
        while let Ok(read @ 1..) = reader.read(&mut octets).await {
            decoder.receive(&octets[..read]);
        }
        let mut answered = 0;
        while let Some(message) = decoder.poll_message().unwrap() {
            // What was asked of the peer comes first, and then the answers.
            answered += usize::from(message.kind == Kind::RESPOND_URI);
        }
        assert_eq!(answered, 201);
    });
}

#[test]
fn messages_that_nobody_wants_are_dealt_with_in_turns() {
    run(async {
        let server = serve(&Rc::default());
        let remote = Builder::new().client().connect(server.local_addr()).await.unwrap();
        for _ in 0..4096 {
            remote.send(Message::new(Kind::NOTIFY_URI, "", "")).await.unwrap();
        }
        // Behind all of those.
        ask(&remote).await.unwrap();
        let dump = wakering::Handle::current().dump();
        let served = |task: &&TaskDump| {
            task.spawned_at.file().ends_with("server.rs")
                && task.works_on.as_ref().is_some_and(|works_on| works_on.starts_with("the connection"))
        };
        let polls = dump.tasks().find(served).unwrap().polls;
        assert!(polls >= 4096 / 256, "{polls} polls");
    });
}

#[test]
fn who_listens_for_late_requests_is_told_all_before_the_caller_goes_on() {
    run(async {
        let server = serve(&Rc::new(Cell::new(true)));
        let told: Rc<RefCell<Vec<Late>>> = Rc::default();
        let (tells, went_on) = (told.clone(), CancellationToken::new());
        let goes_on = went_on.clone();
        let builder = Builder::new().on_timeout(move |late: Late| {
            tells.borrow_mut().push(late);
            let goes_on = goes_on.clone();
            async move {
                sleep(Duration::from_millis(1)).await;
                goes_on.cancel();
            }
        });
        let client = builder.client();
        let remote = client.connect(server.local_addr()).await.unwrap().timeout(SHORT);
        assert!(ask(&remote).await.unwrap_err().is_timeout());
        {
            let told = told.borrow();
            assert_eq!(told.len(), 1);
            let late = &told[0];
            assert_eq!(
                (late.waited, late.kind, &late.uri[..]),
                (Waited::Answer, Kind::REQUEST_URI, &b"the uri"[..])
            );
            assert_eq!((late.address, late.patience), (server.local_addr(), SHORT));
            assert!(late.error.is_timeout() && late.remote.as_ref().unwrap().addr() == server.local_addr());
        }
        went_on.cancelled().await;
        // An error of another kind is not late.
        remote.close().await;
        assert!(ask(&remote).await.unwrap_err().is_closed());
        assert_eq!(told.borrow().len(), 1);
        // What was told holds the client, whose handler holds what was told.
        client.close().await;
    });
}

#[test]
fn handlers_of_late_requests_end_with_their_client_and_a_panic_ends_only_itself() {
    struct Gone(Rc<Cell<u32>>);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    run(async {
        let server = serve(&Rc::new(Cell::new(true)));
        let (calls, gone): (Rc<Cell<u32>>, Rc<Cell<u32>>) = (Rc::default(), Rc::default());
        let (counts, goes) = (calls.clone(), gone.clone());
        let client = Builder::new().client();
        client.on_timeout(move |_late| {
            counts.set(counts.get() + 1);
            let (call, gone) = (counts.get(), Gone(goes.clone()));
            assert!(call != 1, "as the test wants, at once");
            async move {
                let _gone = gone;
                assert!(call != 2, "as the test wants, later");
                pending::<()>().await;
            }
        });
        let remote = client.connect(server.local_addr()).await.unwrap().timeout(SHORT);
        for _ in 0..4 {
            assert!(ask(&remote).await.unwrap_err().is_timeout());
        }
        until(|| gone.get() == 2).await;
        assert_eq!(calls.get(), 4);
        client.close().await;
        assert_eq!(gone.get(), 4, "nothing is left when it is closed");
        assert!(matches!(ask(&remote).await, Err(RequestError::Unsent(LinkEnd::Closed))));
        assert!(client.connect(server.local_addr()).await.is_err());
        until(|| server.connections() == 0).await;
    });
}

#[test]
fn a_peer_that_stops_answering_is_connected_to_anew_once_for_all_who_waited() {
    run(async {
        let mute = Rc::new(Cell::new(false));
        let server = serve(&mute);
        let attempts: Rc<RefCell<Vec<u32>>> = Rc::default();
        let (notes, unmutes) = (attempts.clone(), mute.clone());
        let again = AutoReconnect::new(Reconnect::default()).on_reconnect(move |remote, attempt| {
            unmutes.set(false);
            notes.borrow_mut().push(attempt);
            // Asking inside is asking on the new connection.
            async move { ask(&remote.timeout(LONG)).await.unwrap() }
        });
        // It has a handler for what comes unasked: its reader runs all the time.
        let builder = Builder::new().on(Kind::NOTIFY_URI, |_| async { None }).on_timeout(again.handler());
        let remote = builder.client().connect(server.local_addr()).await.unwrap();
        ask(&remote).await.unwrap();
        for round in 1..=2 {
            mute.set(true);
            let scope: Scope = Scope::new();
            for _ in 0..8 {
                let hasty = remote.clone().timeout(SHORT);
                // The first is late; for the others the connection ends, or they are late, too.
                scope.spawn(async move { assert!(ask(&hasty).await.is_err()) });
            }
            scope.join().await.unwrap();
            until(|| attempts.borrow().len() >= round).await;
            ask(&remote).await.unwrap();
            until(|| server.connections() == 1).await;
        }
        // One that was late behind the end of another's connection made no second one.
        assert_eq!(*attempts.borrow(), [1; 2]);
    });
}

/// A peer of the kind that repeats no numbers is busy with the one before it.
#[test]
fn a_request_that_did_not_have_its_turn_in_time_is_no_reason_for_another_connection() {
    run(async {
        let listener = listener();
        let address = listener.local_addr().unwrap();
        let (answers, go_on) = (CancellationToken::new(), CancellationToken::new());
        let waits = answers.clone();
        let peer = wakering::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut requests = Vec::new();
            let mut decoder = Decoder::new(Kinds::new());
            while requests.is_empty() {
                stream.read_with(|octets| decoder.receive(octets)).await.unwrap();
                requests.extend(decoder.poll_message().unwrap());
            }
            waits.cancelled().await;
            let answer = Message::new(Kind::RESPOND_URI, requests[0].uri.clone(), "x").to_octets().unwrap();
            stream.write_all(&answer).await.unwrap();
            go_on.cancelled().await;
        });
        let told: Rc<RefCell<Vec<Late>>> = Rc::default();
        let (notes, again) = (told.clone(), AutoReconnect::new(Reconnect::default()).handler());
        let builder = Builder::new().request_timeout(LONG).on_timeout(move |late| {
            notes.borrow_mut().push(late.clone());
            again(late)
        });
        let client = builder.client();
        let remote = client.connect(address).await.unwrap();
        let asking = remote.clone();
        let first = wakering::spawn(async move { ask(&asking).await });
        yield_now().await;
        let error = ask(&remote.clone().timeout(SHORT)).await.unwrap_err();
        assert!(matches!(error, RequestError::Expired) && error.is_timeout() && !error.was_sent(), "{error}");
        assert_eq!(told.borrow().iter().map(|late| late.waited).collect::<Vec<_>>(), [Waited::Turn]);
        answers.cancel();
        first.await.unwrap().unwrap();
        // One that is under way, and one behind it, when the connection ends.
        let asks: Vec<_> = [(); 2]
            .map(|()| remote.clone())
            .into_iter()
            .map(|remote| wakering::spawn(async move { ask(&remote).await.unwrap_err() }))
            .collect();
        yield_now().await;
        peer.abort();
        let mut errors = Vec::new();
        for asked in asks {
            errors.push(asked.await.unwrap());
        }
        assert!(matches!(errors[..], [RequestError::Lost(_), RequestError::Unsent(_)]), "{errors:?}");
        assert!(errors[0].was_sent() && !errors[1].was_sent() && errors.iter().all(RequestError::is_closed));
        assert!(matches!(ask(&remote).await, Err(RequestError::Unsent(_))));
        let counted = client.metrics();
        assert_eq!((counted.requests, counted.timeouts, counted.failed), (5, 1, 3));
        client.close().await;
    });
}

/// Nobody is there, for as long as it takes.
#[test]
fn sending_waits_for_a_connection_no_longer_than_asking_does() {
    run(async {
        let client = Builder::new().reconnect(Reconnect::default()).client();
        let (_deaf, address) = deaf();
        let remote = client.remote(address).timeout(SHORT);
        let leads = remote.clone();
        let leading =
            wakering::spawn(async move { leads.send(Message::new(Kind::NOTIFY_URI, "", "")).await });
        yield_now().await;
        let follows = remote.clone();
        let following =
            wakering::spawn(async move { follows.send(Message::new(Kind::NOTIFY_URI, "", "")).await });
        yield_now().await;
        let words = format!("a connection to {address}");
        let said = wakering::Handle::current().dump().to_string();
        assert_eq!(said.matches(&words).count(), 2, "{said}");
        let error = following.await.unwrap().unwrap_err();
        assert!(matches!(error, RequestError::Expired), "{error}");
        assert!(leading.await.unwrap().unwrap_err().is_timeout());
    });
}

#[test]
fn making_a_connection_anew_ends_after_its_attempts_and_with_the_client() {
    run(async {
        let mute = Rc::new(Cell::new(false));
        let server = serve(&mute);
        let client = Builder::new().client();
        let remote = client.connect(server.local_addr()).await.unwrap();
        assert_eq!(remote.reconnect(&Reconnect::default()).await.unwrap(), Some(1));
        ask(&remote).await.unwrap();
        server.shutdown(Duration::ZERO).await;
        let mut policy = Reconnect::default();
        policy.attempts = Some(3);
        policy.least_pause = Duration::from_millis(1);
        let error = remote.reconnect(&policy).await.unwrap_err();
        assert!(matches!(error, RequestError::Connect(_)), "{error}");
        policy.attempts = None;
        let (trying, closing) = (remote.clone(), client.clone());
        let tries = wakering::spawn(async move { trying.reconnect(&policy).await });
        // A request waits for the attempts of others.
        let waiting = remote.clone();
        let waits = wakering::spawn(async move { ask(&waiting).await });
        sleep(Duration::from_millis(5)).await;
        closing.close().await;
        for error in [tries.await.unwrap().unwrap_err(), waits.await.unwrap().unwrap_err()] {
            assert!(matches!(error, RequestError::Unsent(_)), "{error}");
        }
    });
}

#[test]
fn a_handler_for_one_message_has_the_next_that_comes_through_its_layers() {
    run(async {
        let says = |text: &'static str| {
            move |incoming: Incoming| async move { Some(incoming.answer(Kind::RESPOND_URI, text)) }
        };
        let layer = || Layer::new().auth(HmacAuth::new("s"));
        let builder = Builder::new().layer(layer()).on((Kind::REQUEST_URI, "a"), says("always"));
        let server = builder.once((Kind::REQUEST_URI, "a"), says("once")).serve(listener()).unwrap();
        let stranger = Builder::new().client().connect(server.local_addr()).await.unwrap();
        assert_eq!(stranger.request(Kind::REQUEST_URI, "a", "").await.unwrap().kind, Kind::AUTH_ERROR);
        let remote = Builder::new().layer(layer()).client().connect(server.local_addr()).await.unwrap();
        let ask = async |uri: &'static str| remote.request(Kind::REQUEST_URI, uri, "").await.unwrap().content;
        assert_eq!([ask("a").await, ask("a").await], ["once", "always"]);
        server.once(Kind::REQUEST_URI, says("any, once"));
        assert_eq!(ask("a").await, "always", "the most exact one comes first");
        assert_eq!([ask("b").await, ask("b").await], ["any, once", "not found"]);
        server.once((Kind::REQUEST_URI, "a"), says("the first of two"));
        server.once((Kind::REQUEST_URI, "a"), says("the second of two"));
        assert_eq!([ask("a").await, ask("a").await], ["the second of two", "always"]);
        server.once((Kind::REQUEST_URI, "c"), says("never"));
        assert!(server.remove((Kind::REQUEST_URI, "c")) && !server.remove((Kind::REQUEST_URI, "c")));
        assert_eq!(ask("c").await, "not found");
    });
}

#[test]
fn a_client_deals_with_one_notification_and_then_with_no_more() {
    run(async {
        let server = serve(&Rc::default());
        let client = Builder::new().client();
        let heard: Rc<Cell<u32>> = Rc::default();
        let hears = |by: u32| {
            let heard = heard.clone();
            move |_: Incoming| {
                heard.set(heard.get() + by);
                async { None }
            }
        };
        client.once(Kind::NOTIFY_URI, hears(1));
        client.on((Kind::NOTIFY_URI, "b"), hears(100));
        let remote = client.connect(server.local_addr()).await.unwrap();
        ask(&remote).await.unwrap();
        for uri in ["a", "a", "b", "b"] {
            server.broadcast(wakering::message::Message::new(Kind::NOTIFY_URI, uri, "")).unwrap();
        }
        ask(&remote).await.unwrap();
        assert_eq!(heard.get(), 201);
        assert!(client.remove((Kind::NOTIFY_URI, "b")) && !client.remove(Kind::NOTIFY_URI));
    });
}

#[test]
fn a_handler_for_one_datagram_is_there_still_when_there_was_no_room_for_that() {
    run(async {
        let release = CancellationToken::new();
        let waits = release.clone();
        let builder = Builder::new().on((Kind::REQUEST_URI, "held"), move |_: Incoming| {
            let waits = waits.clone();
            async move {
                waits.cancelled().await;
                None
            }
        });
        let builder = builder.once((Kind::REQUEST_URI, "once"), |incoming: Incoming| async move {
            Some(incoming.answer(Kind::RESPOND_URI, "it"))
        });
        let node = builder.node(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        // The system's own, which sends at once also where calls fail on demand.
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let say = |uri: &'static str| {
            let asked = Message::new(Kind::REQUEST_URI, uri, "").to_octets().unwrap();
            socket.send_to(&asked, node.local_addr()).unwrap();
        };
        (0..64).for_each(|_| say("held"));
        say("once");
        until(|| node.metrics().surplus == 1).await;
        release.cancel();
        until(|| node.metrics().handlers == 0).await;
        say("once");
        let mut octets = [0; 1024];
        let answered =
            UdpSocket::from_std(socket.try_clone().unwrap()).unwrap().recv_from(&mut octets).await.unwrap();
        assert!(octets[..answered.len].ends_with(b"it"));
    });
}

#[test]
fn one_host_leaves_handlers_of_a_node_to_others_whatever_its_ports() {
    run(async {
        let builder = Builder::new().on((Kind::REQUEST_URI, "held"), |_: Incoming| std::future::pending());
        let builder = builder.on((Kind::REQUEST_URI, "echo"), |incoming: Incoming| async move {
            Some(incoming.answer(Kind::RESPOND_URI, "it"))
        });
        let node = builder.node(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        let Ok(other) = std::net::UdpSocket::bind("127.0.0.2:0") else {
            return println!("SKIPPED: this system has one address of its own");
        };
        let say = |socket: &std::net::UdpSocket, uri: &'static str| {
            let asked = Message::new(Kind::REQUEST_URI, uri, "").to_octets().unwrap();
            socket.send_to(&asked, node.local_addr()).unwrap();
        };
        for ports in 1..=16 {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            (0..64).for_each(|_| say(&socket, "held"));
            until(|| node.metrics().handlers + node.metrics().surplus == ports * 64).await;
        }
        assert_eq!((node.metrics().handlers, node.metrics().surplus), (512, 512));
        say(&other, "echo");
        let mut octets = [0; 1024];
        let answered = UdpSocket::from_std(other).unwrap().recv_from(&mut octets).await.unwrap();
        assert!(octets[..answered.len].ends_with(b"it"));
        node.shutdown(Duration::ZERO).await;
    });
}

/// A node that answers `what` with its content, by a handler that waits for `turns` of the loop.
fn answering_node(turns: usize) -> UdpNode {
    let handler = move |incoming: Incoming| async move {
        for _ in 0..turns {
            yield_now().await;
        }
        Some(incoming.answer(Kind::RESPOND_URI, incoming.message.content.clone()))
    };
    Builder::new().on(Kind::REQUEST_URI, handler).node(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap()
}

#[test]
fn datagrams_that_come_in_one_turn_are_all_handled_where_handlers_need_not_wait() {
    const MANY: usize = 100;
    run(async {
        let node = answering_node(0);
        // The system's own, which sends at once also where calls fail on demand.
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let asked = Message::new(Kind::REQUEST_URI, "what", "x").to_octets().unwrap();
        // On one worker: the node reads none of them before all are there.
        for _ in 0..MANY {
            socket.send_to(&asked, node.local_addr()).unwrap();
        }
        let socket = UdpSocket::from_std(socket).unwrap();
        let mut buffer = [0; 1024];
        for _ in 0..MANY {
            socket.recv_from(&mut buffer).await.unwrap();
        }
        assert_eq!(node.metrics().surplus, 0);
    });
}

#[test]
fn any_number_of_requests_to_a_node_whose_handlers_wait_are_answered() {
    run(async {
        let (node, other) = (answering_node(20), answering_node(0));
        let (peer, scope) = (other.peer(node.local_addr()).timeout(LONG), Scope::<RequestError>::new());
        for number in 0..500_u32 {
            let peer = peer.clone();
            scope.spawn(async move {
                let answer = peer.request(Kind::REQUEST_URI, "what", number.to_string()).await?;
                assert_eq!(answer.content, number.to_string());
                Ok(())
            });
        }
        scope.join().await.unwrap();
        assert_eq!(node.metrics().surplus, 0);
    });
}

#[test]
fn numbers_tell_what_both_ends_have_done() {
    run(async {
        let mute: Rc<Cell<bool>> = Rc::default();
        let server = serve(&mute);
        let client = Builder::new().client();
        let remote = client.connect(server.local_addr()).await.unwrap();
        for _ in 0..3 {
            ask(&remote).await.unwrap();
        }
        let (of_server, of_client) = (server.metrics(), client.metrics());
        assert_eq!((of_server.connections, of_server.connections_open, of_server.sessions_open), (1, 1, 0));
        assert_eq!((of_server.received, of_server.sent, of_server.requests), (3, 3, 0));
        assert_eq!((of_client.received, of_client.sent, of_client.requests), (3, 3, 3));
        assert_eq!((of_server.dropped, of_server.refused, of_client.timeouts), (0, 0, 0));
        let text = of_client.to_string();
        assert!(
            text.contains(
                "# TYPE wakering_message_requests_total counter\nwakering_message_requests_total 3\n"
            )
        );
        client.close().await;
        until(|| server.connections() == 0).await;
        assert_eq!((server.metrics().connections, server.metrics().connections_open), (1, 0));
    });
}

/// They ended before anything was sent.
#[test]
fn requests_that_never_had_a_connection_are_counted_as_what_they_are() {
    run(async {
        let (_deaf, address) = deaf();
        let client = Builder::new().reconnect(Reconnect::default()).request_timeout(SHORT).client();
        let remote = client.remote(address);
        for _ in 0..3 {
            assert!(ask(&remote).await.unwrap_err().is_timeout());
        }
        assert_eq!((client.metrics().requests, client.metrics().timeouts), (3, 3));
        let once = Builder::new().client();
        assert!(matches!(ask(&once.remote(address)).await, Err(RequestError::Connect(_))));
        assert_eq!((once.metrics().requests, once.metrics().timeouts, once.metrics().failed), (1, 0, 1));

        // Sent, on a connection that was made for it, and not answered.
        let silent = listener();
        let client = Builder::new().request_timeout(SHORT).client();
        assert!(ask(&client.remote(silent.local_addr().unwrap())).await.unwrap_err().is_timeout());
        assert_eq!((client.metrics().requests, client.metrics().timeouts), (1, 1));

        // Over datagrams it is the session that was not agreed on in time.
        let nobody = UdpSocket::bind("127.0.0.1:0").unwrap();
        let builder = Builder::new().session(Session::new("s").require(true)).request_timeout(SHORT);
        let node = builder.node(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        let before = node.metrics();
        let peer = node.peer(nobody.local_addr().unwrap());
        let error = peer.request(Kind::REQUEST_URI, "echo", "").await.unwrap_err();
        assert!(error.is_timeout(), "{error}");
        let after = node.metrics();
        assert!(after.timeouts > before.timeouts && after.requests > before.requests);
    });
}

#[test]
fn refused_messages_are_counted() {
    run(async {
        let builder = Builder::new().layer(Layer::new().auth(HmacAuth::new("s")));
        let server = builder.serve(listener()).unwrap();
        let remote = Builder::new().client().connect(server.local_addr()).await.unwrap();
        assert_eq!(remote.request(Kind::REQUEST_URI, "a", "").await.unwrap().kind, Kind::AUTH_ERROR);
        assert_eq!((server.metrics().refused, server.metrics().received), (1, 1));
    });
}

/// Five: at either end the octets of a read and what counts their holders, and the handler's future.
#[test]
fn a_small_request_costs_few_allocations_at_both_ends() {
    if exact::calls_may_fail() {
        return;
    }
    let asked = |count| {
        move || {
            run(async {
                let server = serve(&Rc::default());
                let remote = Builder::new().client().connect(server.local_addr()).await.unwrap();
                for _ in 0..count {
                    ask(&remote).await.unwrap();
                }
            });
        }
    };
    let made = |count| allocation_counter::measure(asked(count)).count_total;
    made(10); // what the process makes once
    let (few, many) = (made(100), made(1100));
    assert!(many - few <= 8 * 1000, "{few} for 100 requests, {many} for 1,100");
}
