//! Connecting: outcomes, lists of addresses, local addresses, and what cancelling leaves behind.

#[path = "support/exact.rs"]
mod exact;
#[path = "support/net.rs"]
mod support;

use std::{
    io::{ErrorKind, Read},
    net::{Ipv4Addr, SocketAddr, TcpListener as StdListener},
    pin::pin,
    time::{Duration, Instant},
};

use support::{FOR_EVER, LOOPBACK, nobody, poll_once, run, set_backlog};
use wakering::{
    http::{Body, Request, Response, Server, client},
    net::{AddressAction, AddressError, TcpConnector, TcpListener, TcpStream},
};

#[test]
fn a_refusal_is_told_as_such_and_names_the_address() {
    run(async {
        for _ in 0..50 {
            let address = nobody();
            let error = TcpStream::connect(address).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            assert!(error.to_string().contains(&format!("connect to {address}")), "{error}");
            let inner = error.get_ref().unwrap().downcast_ref::<AddressError>().unwrap();
            assert_eq!((inner.action(), inner.address()), (AddressAction::Connect, address));
        }
    });
}

#[test]
fn addresses_are_tried_in_order_until_one_answers() {
    run(async {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect([nobody(), nobody(), address]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
        let (first, last) = (nobody(), nobody());
        let error = TcpStream::connect(vec![first, last]).await.unwrap_err();
        let inner = error.get_ref().unwrap().downcast_ref::<AddressError>().unwrap();
        assert_eq!(inner.address(), last, "the last refusal is told");
        let none: &[SocketAddr] = &[];
        assert_eq!(TcpStream::connect(none).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn an_address_that_no_way_leads_to_is_an_error() {
    run(async {
        // The broadcast address is for datagrams alone.
        let error = TcpStream::connect((Ipv4Addr::BROADCAST, 9)).await.unwrap_err();
        assert_ne!(error.kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn the_local_address_is_the_chosen_one() {
    run(async {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let local = nobody();
        let connector = TcpConnector::new().local_addr(local).nodelay(true).send_buffer_size(65_536);
        let stream = connector.connect(listener.local_addr().unwrap()).await.unwrap();
        assert_eq!(stream.local_addr().unwrap(), local);
        assert!(stream.nodelay().unwrap() && stream.send_buffer_size().unwrap() >= 65_536);
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, local);
        let error = connector.connect(listener.local_addr().unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&format!("{local}")), "{error}");
    });
}

/// a socket whose own address is its peer is connected to itself (RFC 9293 §3.5). That this never
/// happens by chance is a unit test of `net::connect`.
#[test]
fn a_socket_may_be_connected_to_itself_by_choice() {
    run(async {
        let own = nobody();
        let mut chosen = TcpConnector::new().local_addr(own).connect(own).await.unwrap();
        chosen.write_all(b"mirror").await.unwrap();
        let mut buffer = [0; 6];
        chosen.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"mirror");
    });
}

#[test]
fn a_connect_that_is_dropped_closes_its_socket() {
    run(async {
        let listener = StdListener::bind(LOOPBACK).unwrap();
        let address = listener.local_addr().unwrap();
        for _ in 0..50 {
            let state = poll_once(pin!(TcpStream::connect(address))).await;
            drop(state);
            let (mut accepted, _) = listener.accept().unwrap();
            accepted.set_read_timeout(Some(FOR_EVER)).unwrap();
            assert_eq!(accepted.read(&mut [0; 1]).unwrap_or(0), 0, "closed, in one way or the other");
        }
    });
}

/// An address whose packets get lost: a listener whose queue is full, so that Linux answers no further SYN.
struct BlackHole {
    address: SocketAddr,
    _listener: StdListener,
    _queued: Vec<std::net::TcpStream>,
}

impl BlackHole {
    fn new() -> BlackHole {
        let listener = StdListener::bind(LOOPBACK).expect("a free port");
        set_backlog(&listener, 0);
        let address = listener.local_addr().expect("it is bound");
        let short = Duration::from_millis(50);
        let mut queued = Vec::new();
        while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, short) {
            queued.push(stream);
            assert!(queued.len() < 10, "this system's queue has no end");
        }
        BlackHole { address, _listener: listener, _queued: queued }
    }
}

#[test]
fn an_address_that_never_answers_is_timed_out_by_the_system() {
    if std::env::consts::OS != "linux" {
        return;
    }
    run(async {
        let hole = BlackHole::new();
        let connector = TcpConnector::new().user_timeout(Duration::from_millis(200));
        let error = connector.connect(hole.address).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.to_string().contains(&hole.address.to_string()), "{error}");
    });
}

#[test]
fn of_raced_addresses_the_first_to_answer_wins_after_a_quarter_of_a_second() {
    if exact::calls_may_fail() {
        return;
    }
    if std::env::consts::OS != "linux" {
        return;
    }
    run(async {
        let hole = BlackHole::new();
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let address = listener.local_addr().unwrap();
        let start = Instant::now();
        let connector = TcpConnector::new().happy_eyeballs(true);
        let stream = connector.connect([hole.address, address]).await.unwrap();
        let took = start.elapsed();
        assert_eq!(stream.peer_addr().unwrap(), address);
        // Nobody gives the first attempt up before minutes are over.
        assert!(took >= Duration::from_millis(250) && took < FOR_EVER / 2, "{took:?}");
        // An answer within the delay leaves the others untried.
        let untried = TcpListener::bind(LOOPBACK).unwrap();
        let connector = connector.attempt_delay(FOR_EVER);
        let stream = connector.connect([address, untried.local_addr().unwrap()]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
        assert_eq!(untried.try_accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn an_http_client_does_not_wait_for_an_address_that_never_answers() {
    if std::env::consts::OS != "linux" {
        return;
    }
    run(async {
        let hole = BlackHole::new();
        let answer = |_request: Request<Body>| async { Response::new(Body::empty()) };
        let server = Server::start(TcpListener::bind(LOOPBACK).unwrap(), answer).unwrap();
        let mut connection = client::connect([hole.address, server.local_addr()]).await.unwrap();
        let response = connection.send(Request::get("http://a/").body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
    });
}

#[test]
fn a_refusal_in_a_race_begins_the_next_attempt_at_once() {
    run(async {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let address = listener.local_addr().unwrap();
        let start = Instant::now();
        let connector = TcpConnector::new().attempt_delay(Duration::from_secs(30));
        let stream = connector.connect([nobody(), nobody(), nobody(), address]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
        let last = nobody();
        let error = connector.connect([nobody(), last]).await.unwrap_err();
        let inner = error.get_ref().unwrap().downcast_ref::<AddressError>().unwrap();
        assert_eq!(inner.address(), last);
        assert!(start.elapsed() < Duration::from_secs(25));
        let none: &[SocketAddr] = &[];
        assert_eq!(connector.connect(none).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn the_losers_of_a_race_are_closed() {
    if std::env::consts::OS != "linux" {
        return;
    }
    run(async {
        let holes = [BlackHole::new(), BlackHole::new()];
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let all = [holes[0].address, holes[1].address, listener.local_addr().unwrap()];
        let connector = TcpConnector::new().attempt_delay(Duration::from_millis(10));
        let stream = connector.connect(all).await.unwrap();
        for hole in &holes {
            // SYN_SENT, 02 in the system's table, to the hole's port: nobody's any more.
            let port = format!(":{:04X} 02 ", hole.address.port());
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
            assert!(!table.contains(&port), "an attempt is still on its way");
        }
        drop(stream);
        // A race that is dropped closes everything too.
        let mut race = Box::pin(connector.connect([holes[0].address, holes[1].address]));
        assert!(poll_once(race.as_mut()).await.is_pending());
        drop(race);
        let port = format!(":{:04X} 02 ", holes[0].address.port());
        assert!(!std::fs::read_to_string("/proc/net/tcp").unwrap().contains(&port));
    });
}

#[test]
fn options_of_a_connector_are_those_of_its_connections() {
    run(async {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let connector = TcpConnector::new().keepalive(Duration::from_secs(77)).tos(0x20);
        let stream = connector.connect(listener.local_addr().unwrap()).await.unwrap();
        assert_eq!(stream.tos().unwrap(), 0x20);
        if let Ok(idle) = stream.keepalive() {
            assert_eq!(idle, Some(Duration::from_secs(77)));
        }
    });
}

/// With a cookie from a first connection, the second's first bytes go with the SYN. Whether the system takes part is its
/// own affair; what is promised is that bytes and refusals come all the same.
#[test]
fn fast_open_carries_the_first_write_or_falls_back() {
    if exact::calls_may_fail() {
        return;
    }
    run(async {
        let listener = match TcpListener::builder().fast_open(16).bind(LOOPBACK) {
            Ok(listener) => listener,
            Err(error) => return assert_eq!(error.kind(), ErrorKind::Unsupported),
        };
        let address = listener.local_addr().unwrap();
        for _ in 0..3 {
            let mut client = TcpConnector::new().fast_open(true).connect(address).await.unwrap();
            client.write_all(b"early").await.unwrap();
            let (mut server, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 5];
            server.read_exact(&mut buffer).await.unwrap();
            assert_eq!(&buffer, b"early");
            server.write_all(b"late").await.unwrap();
            client.read_exact(&mut buffer[..4]).await.unwrap();
        }
    });
}
