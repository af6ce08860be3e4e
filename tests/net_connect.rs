//! Connecting: outcomes, lists of addresses, local addresses, and what cancelling leaves behind.

#[path = "support/net.rs"]
mod support;

use std::{
    io::{ErrorKind, Read},
    net::{Ipv4Addr, SocketAddr, TcpListener as StdListener},
    pin::pin,
};

use support::{FOR_EVER, LOOPBACK, nobody, poll_once, run};
use wakering::net::{AddressAction, AddressError, TcpConnector, TcpListener, TcpStream};

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
