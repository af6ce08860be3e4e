//! Listening and accepting: addresses, shared ports, and a want of descriptors.

#![expect(
    clippy::unwrap_used,
    reason = "tests may unwrap, and clippy takes only what is marked #[test] for one"
)]

#[path = "support/exact.rs"]
mod exact;
#[path = "support/net.rs"]
mod support;

use std::{
    env, fs,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream as StdStream},
    os::fd::AsFd,
    pin::pin,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use support::{FOR_EVER, LOOPBACK, in_child, poll_once, run};
use wakering::{
    CancellationToken, Runtime,
    net::{AddressAction, AddressError, Addresses, TcpListener, TcpStream, listen::listen},
    spawn, time,
};

#[test]
fn a_socket_that_waits_in_one_runtime_cannot_wait_in_another() {
    if exact::calls_may_fail() {
        return;
    }
    let listener = TcpListener::bind(LOOPBACK).unwrap();
    let first = Runtime::new().unwrap();
    let second = Runtime::new().unwrap();
    first.block_on(async { assert!(poll_once(pin!(listener.accept())).await.is_pending()) }).unwrap();
    let error = second.block_on(listener.accept()).unwrap().unwrap_err();
    assert!(error.to_string().contains("another runtime"), "{error}");
    // The first goes on as ever.
    let client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    let accepted = first.block_on(listener.accept()).unwrap().unwrap();
    assert_eq!(accepted.1, client.local_addr().unwrap());
}

#[test]
fn an_address_in_use_is_named_in_the_error() {
    let first = TcpListener::bind(LOOPBACK).unwrap();
    let address = first.local_addr().unwrap();
    assert_ne!(address.port(), 0, "the port that the system chose");
    let error = TcpListener::bind(address).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&format!("listen on {address}")), "{error}");
    let inner = error.get_ref().unwrap().downcast_ref::<AddressError>().unwrap();
    assert_eq!((inner.action(), inner.address()), (AddressAction::Listen, address));
    assert!(inner.os_error().raw_os_error().is_some());
}

#[test]
fn the_first_address_that_can_be_had_is_taken() {
    let taken = TcpListener::bind(LOOPBACK).unwrap();
    let addresses = [taken.local_addr().unwrap(), SocketAddr::from(LOOPBACK)];
    let listener = TcpListener::bind(addresses).unwrap();
    assert_ne!(listener.local_addr().unwrap(), addresses[0]);
    let none: [SocketAddr; 0] = [];
    assert_eq!(TcpListener::bind(none).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn every_way_to_name_an_address_names_the_same() {
    fn of(addresses: impl Addresses) -> Vec<SocketAddr> {
        addresses.addresses().unwrap().collect()
    }
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 80));
    assert_eq!(of("127.0.0.1:80"), [v4]);
    assert_eq!(of(String::from("[::1]:80")), [v6]);
    assert_eq!(of((Ipv4Addr::LOCALHOST, 80)), [v4]);
    assert_eq!(of((Ipv6Addr::LOCALHOST, 80)), [v6]);
    assert_eq!(of((v6.ip(), 80)), [v6]);
    let both = vec![v6, v4];
    assert_eq!(of(&both), [v6, v4]);
    assert_eq!(of([v4, v6].as_slice()), [v4, v6]);
    let SocketAddr::V4(bare) = v4 else { unreachable!() };
    assert_eq!(of(bare), [v4]);
    assert!("localhost:80".addresses().is_err_and(|error| error.kind() == ErrorKind::InvalidInput));
}

#[test]
fn connections_of_both_families_come_to_a_dual_stack_listener_and_not_to_one_of_ipv6_alone() {
    run(async {
        let both = TcpListener::builder().v6only(false).bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        let port = both.local_addr().unwrap().port();
        let four = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let (_, peer) = both.accept().await.unwrap();
        let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
        assert_eq!(peer, SocketAddr::from((mapped, four.local_addr().unwrap().port())));
        let six = TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.unwrap();
        let (_, peer) = both.accept().await.unwrap();
        assert_eq!(peer, six.local_addr().unwrap());

        let only = TcpListener::builder().v6only(true).bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        let port = only.local_addr().unwrap().port();
        TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.unwrap();
        let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn two_listeners_share_a_port_and_both_get_connections() {
    run(async {
        let one = TcpListener::builder().reuse_port(true).bind(LOOPBACK).unwrap();
        let address = one.local_addr().unwrap();
        let two = TcpListener::builder().reuse_port(true).bind(address).unwrap();
        let error = TcpListener::bind(address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse, "all of them have to agree");
        let (mut at_one, mut at_two) = (0, 0);
        // The system chooses by a hash of the addresses: 64 times the same has a chance of 2^-63.
        let mut clients = Vec::new();
        for _ in 0..64 {
            clients.push(TcpStream::connect(address).await.unwrap());
        }
        while at_one + at_two < clients.len() {
            at_one += usize::from(one.try_accept().is_ok());
            at_two += usize::from(two.try_accept().is_ok());
        }
        assert!(at_one > 0 && at_two > 0, "{at_one} and {at_two}");
    });
}

#[test]
fn a_closed_listener_refuses_and_its_port_is_free() {
    run(async {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let address = listener.local_addr().unwrap();
        assert!(poll_once(pin!(listener.accept())).await.is_pending(), "registered");
        drop(listener);
        let error = TcpStream::connect(address).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        TcpListener::bind(address).unwrap();
    });
}

#[test]
fn an_accept_that_is_dropped_loses_no_connection() {
    run(async {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let address = listener.local_addr().unwrap();
        for _ in 0..50 {
            assert!(poll_once(pin!(listener.accept())).await.is_pending());
            let client = StdStream::connect(address).unwrap();
            assert!(time::timeout(Duration::ZERO, std::future::pending::<()>()).await.is_err());
            let (_, peer) = listener.accept().await.unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
        }
    });
}

#[test]
fn a_burst_of_connections_is_accepted_to_the_last_although_it_is_one_edge() {
    if exact::calls_may_fail() {
        return;
    }
    run(async {
        let listener = TcpListener::builder().backlog(256).bind(LOOPBACK).unwrap();
        let address = listener.local_addr().unwrap();
        assert!(poll_once(pin!(listener.accept())).await.is_pending());
        let clients: Vec<_> = (0..200).map(|_| StdStream::connect(address).unwrap()).collect();
        let mut peers = Vec::new();
        for _ in 0..clients.len() {
            peers.push(listener.accept().await.unwrap().1);
        }
        peers.sort();
        let mut expected: Vec<_> = clients.iter().map(|client| client.local_addr().unwrap()).collect();
        expected.sort();
        assert_eq!(peers, expected);
        assert_eq!(listener.try_accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn a_listener_of_the_standard_library_comes_in_and_goes_out() {
    run(async {
        let listener = std::net::TcpListener::bind(LOOPBACK).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        assert!(poll_once(pin!(listener.accept())).await.is_pending(), "it was made non-blocking");
        let listener = listener.into_std();
        listener.set_nonblocking(false).unwrap();
        let client = StdStream::connect(address).unwrap();
        assert_eq!(listener.accept().unwrap().1, client.local_addr().unwrap());
    });
}

/// what Linux really makes of it is a connection that reports the reset when it is read.
#[test]
fn a_connection_that_was_reset_in_the_queue_does_not_stop_the_next() {
    run(async {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let address = listener.local_addr().unwrap();
        support::reset(StdStream::connect(address).unwrap());
        let sound = StdStream::connect(address).unwrap();
        let expected = sound.local_addr().unwrap();
        loop {
            let (mut stream, peer) = listener.accept().await.unwrap();
            if peer == expected {
                break;
            }
            assert!(stream.read(&mut [0; 1]).await.is_err());
        }
    });
}

/// The server of the test below, in a process that may have only a few descriptors.
const FEW: &str = "WAKERING_TEST_FEW_DESCRIPTORS";
const LIMIT: usize = 40;

#[test]
fn accept_outlives_the_want_of_descriptors_without_spinning() {
    if env::var_os(FEW).is_some() {
        return serve_with_few_descriptors();
    }
    let mut server = start_server_with_few_descriptors();
    let mut line = String::new();
    let mut output = BufReader::new(server.0.stdout.take().unwrap());
    while !line.starts_with("address ") {
        line.clear();
        assert_ne!(output.read_line(&mut line).unwrap(), 0, "the server ended");
    }
    let address: SocketAddr = line.trim().trim_start_matches("address ").parse().unwrap();

    let mut clients: Vec<_> = (0..3 * LIMIT).map(|_| StdStream::connect(address).unwrap()).collect();
    let mut served = Vec::new();
    let mut turned_away = 0;
    for mut client in clients.drain(..) {
        client.set_read_timeout(Some(FOR_EVER)).unwrap();
        // Each is either served or told at once that it is not.
        let mut answer = [0; 4];
        match client.write_all(b"ping").and_then(|()| client.read_exact(&mut answer)) {
            Ok(()) => served.push(client),
            Err(error) => {
                let told = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
                assert!(told.contains(&error.kind()), "{error}");
                turned_away += 1;
            }
        }
    }
    assert!(served.len() >= LIMIT / 2, "{} were served", served.len());
    assert!(turned_away >= LIMIT, "{turned_away} were turned away");

    // At the limit with an empty queue it rests.
    let before = ticks(&server.0);
    thread::sleep(Duration::from_millis(500));
    if let (Some(before), Some(after)) = (before, ticks(&server.0)) {
        assert!(after - before <= 5, "{} ticks of 10 ms on the CPU in half a second of rest", after - before);
    }

    // It recovers as soon as descriptors are free.
    served.truncate(2);
    let start = Instant::now();
    loop {
        let mut client = StdStream::connect(address).unwrap();
        client.set_read_timeout(Some(FOR_EVER)).unwrap();
        if client.write_all(b"pong").and_then(|()| client.read_exact(&mut [0; 4])).is_ok() {
            break;
        }
        assert!(start.elapsed() < FOR_EVER, "it does not recover");
    }
    served[0].write_all(b"last").unwrap();
    served[0].read_exact(&mut [0; 4]).unwrap();
}

#[test]
fn connections_that_there_is_no_descriptor_for_are_counted() {
    let name = "connections_that_there_is_no_descriptor_for_are_counted";
    if exact::calls_may_fail() || !in_child(name, &format!("ulimit -n {LIMIT}")) {
        return;
    }
    run(async {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(TcpStream::connect(address).await.unwrap());
        }
        let mut all = Vec::new();
        while let Ok(another) = clients[0].as_fd().try_clone_to_owned() {
            all.push(another);
        }
        let serving = spawn(listen(listener).until(stop.cancelled()).serve(|_stream, _peer| async {}));
        for client in &mut clients {
            assert!(matches!(client.read(&mut [0]).await, Ok(0) | Err(_)), "it is told at once");
        }
        drop(all);
        let mut last = TcpStream::connect(address).await.unwrap();
        assert_eq!(last.read(&mut [0]).await.unwrap(), 0, "it was served");
        stop.cancel();
        let served = serving.await.unwrap().unwrap();
        assert_eq!((served.accepted, served.refused, served.shed), (1, 0, 3));
    });
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn start_server_with_few_descriptors() -> Server {
    let child = Command::new("sh")
        .arg("-c")
        .arg(format!("ulimit -n {LIMIT}; exec \"$0\" --exact \"$1\" --nocapture"))
        .arg(env::current_exe().unwrap())
        .arg("accept_outlives_the_want_of_descriptors_without_spinning")
        .env(FEW, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    Server(child.unwrap())
}

fn serve_with_few_descriptors() {
    wakering::run(async {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        println!("\naddress {}", listener.local_addr().unwrap());
        loop {
            let (mut stream, _) = listener.accept().await.expect("a want of descriptors is no error");
            spawn(async move {
                let mut buffer = [0; 4];
                while stream.read_exact(&mut buffer).await.is_ok() {
                    stream.write_all(&buffer).await.unwrap();
                }
            });
        }
    })
    .unwrap();
}

/// User and system time of a process, in hundredths of a second, where the system tells.
fn ticks(child: &Child) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{}/stat", child.id())).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}
