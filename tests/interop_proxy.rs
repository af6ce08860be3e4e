//! The TCP proxy between curl and the HTTP/2 server, and between ends that break off.

#![expect(
    clippy::unwrap_used,
    reason = "tests may unwrap, and clippy takes only what is marked #[test] for one"
)]

mod support;

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use support::server::{Server, Signal};
use support::{eventually, program, run};

const LIMIT: Duration = Duration::from_secs(60);

fn proxy(to: SocketAddr, more: &[&str]) -> Server {
    let to = to.to_string();
    let arguments: Vec<&str> = ["--to", to.as_str()].iter().chain(more).copied().collect();
    Server::start("tcp_proxy", &arguments)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream
}

/// Sends `length` octets through an echo server, and counts those that come back right.
fn exchange(address: SocketAddr, length: usize, begun: &Barrier) -> usize {
    let mut stream = connect(address);
    let mut writer = stream.try_clone().unwrap();
    let octet = |at: usize| (at * 31 % 251) as u8;
    let sender = thread::spawn(move || {
        let all: Vec<u8> = (0..length).map(octet).collect();
        drop(writer.write_all(&all));
        drop(writer.shutdown(Shutdown::Write));
    });
    let mut first = [0];
    stream.read_exact(&mut first).unwrap();
    begun.wait();
    let mut rest = Vec::new();
    drop(stream.read_to_end(&mut rest));
    sender.join().unwrap();
    let right = first.iter().chain(&rest).enumerate().take_while(|(at, byte)| **byte == octet(*at));
    right.count()
}

#[test]
fn curl_gets_its_answer_through_the_proxy() {
    let Some(curl) = program("curl") else { return };
    let server = Server::start("h2_server", &[]);
    let proxy = proxy(server.address, &["--workers", "2"]);
    for _ in 0..4 {
        let url = proxy.url("/");
        let ran = run(curl, &["-sS", "--max-time", "10", "--http2-prior-knowledge", url.as_str()], LIMIT);
        assert_eq!((ran.code, ran.stdout.trim()), (Some(0), "Hello, World!"), "{ran:?}");
    }
    proxy.signal(Signal::Terminate);
    let (status, lines, errors) = proxy.wait(LIMIT);
    assert_eq!((status.code(), lines.len(), errors.as_str()), (Some(0), 0, ""));
}

#[test]
fn half_closed_connections_bring_every_byte_both_ways() {
    let server = Server::start("echo", &[]);
    let proxy = proxy(server.address, &["--workers", "2"]);
    let begun = Barrier::new(8);
    let right = thread::scope(|scope| {
        let clients = [(); 8].map(|()| scope.spawn(|| exchange(proxy.address, 2_000_000, &begun)));
        clients.map(|client| client.join().unwrap())
    });
    assert_eq!(right, [2_000_000; 8]);
}

#[test]
fn ctrl_c_under_load_lets_every_connection_finish() {
    let server = Server::start("echo", &[]);
    let proxy = proxy(server.address, &["--workers", "2", "--grace", "15"]);
    let address = proxy.address;
    let begun = Barrier::new(21);
    let right = thread::scope(|scope| {
        let clients = [(); 20].map(|()| scope.spawn(|| exchange(address, 1_000_000, &begun)));
        begun.wait();
        proxy.signal(Signal::Interrupt);
        clients.map(|client| client.join().unwrap())
    });
    assert_eq!(right, [1_000_000; 20]);
    let (status, _, errors) = proxy.wait(LIMIT);
    assert_eq!((status.code(), errors.as_str()), (Some(0), ""));
    assert!(TcpStream::connect(address).is_err(), "its port is closed");
}

#[test]
fn what_does_not_finish_in_the_grace_is_closed() {
    let server = Server::start("echo", &[]);
    let proxy = proxy(server.address, &["--grace", "0.2"]);
    let mut idle = connect(proxy.address);
    idle.write_all(b"x").unwrap();
    idle.read_exact(&mut [0]).unwrap();
    let start = Instant::now();
    proxy.signal(Signal::Interrupt);
    assert_eq!(proxy.wait(LIMIT).0.code(), Some(0));
    assert!(start.elapsed() < LIMIT / 4, "it took {:?}", start.elapsed());
    let cut_off = idle.read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(
        cut_off,
        Err(ErrorKind::ConnectionReset),
        "it must not take what came for all that was to come"
    );
}

#[test]
fn either_side_that_is_killed_ends_the_connection_and_leaves_nothing_open() {
    let server = Server::start("echo", &[]);
    let proxy = proxy(server.address, &[]);
    let mut first = connect(proxy.address);
    first.write_all(b"x").unwrap();
    first.read_exact(&mut [0]).unwrap();
    // Only now has it opened all that it opens for itself. A connection has two.
    let before = proxy.descriptors() - 2;
    drop(first);
    let mut clients: Vec<_> = (0..20).map(|_| connect(proxy.address)).collect();
    for client in &mut clients {
        client.write_all(b"x").unwrap();
        client.read_exact(&mut [0]).unwrap();
    }
    assert!(eventually(LIMIT, || proxy.descriptors() == before + 40), "{}", proxy.descriptors());
    // Clients that die with unread bytes reset their connections.
    clients[..10].iter_mut().for_each(|client| client.write_all(&[0; 1000]).unwrap());
    assert!(eventually(LIMIT, || clients[..10].iter().all(|client| client.peek(&mut [0; 1]).is_ok())));
    drop(clients.drain(..10));
    assert!(eventually(LIMIT, || proxy.descriptors() == before + 20), "{}", proxy.descriptors());
    drop(server);
    for mut client in clients {
        assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)), "told at once");
    }
    assert!(eventually(LIMIT, || proxy.descriptors() == before), "{}", proxy.descriptors());
    // It goes on, and tells who comes that there is no server.
    assert!(matches!(connect(proxy.address).read(&mut [0]), Ok(0) | Err(_)));
    proxy.signal(Signal::Interrupt);
    let (status, _, errors) = proxy.wait(LIMIT);
    assert_eq!(status.code(), Some(0));
    assert!(errors.contains("refused"), "{errors}");
}

/// A part must not look like all that was sent.
#[test]
fn a_connection_that_is_reset_on_one_side_is_reset_on_the_other() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = proxy(listener.local_addr().unwrap(), &[]);
    let server = thread::spawn(move || {
        let (mut stream, _peer) = listener.accept().unwrap();
        stream.write_all(b"a part").unwrap();
        // What is left unread when it is closed makes a reset of the close.
        stream.peek(&mut [0]).unwrap();
    });
    let mut client = connect(proxy.address);
    client.read_exact(&mut [0; 6]).unwrap();
    client.write_all(b"more").unwrap();
    let end = client.read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(end, Err(std::io::ErrorKind::ConnectionReset));
    server.join().unwrap();
}

#[test]
fn a_server_that_does_not_answer_is_given_up_in_time() {
    // A queue that is full: what comes then gets no answer to its handshake.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let _full = (0..)
        .map_while(|_| TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok())
        .take(10_000)
        .collect::<Vec<_>>();
    let proxy = proxy(address, &["--connect-timeout", "0.2"]);
    let start = Instant::now();
    assert!(matches!(connect(proxy.address).read(&mut [0]), Ok(0) | Err(_)));
    assert!(start.elapsed() >= Duration::from_millis(200) && start.elapsed() < LIMIT / 4);
}

#[test]
fn connections_beyond_the_limit_wait_for_those_that_end() {
    let server = Server::start("echo", &[]);
    let proxy = proxy(server.address, &["--limit", "2"]);
    let mut clients: Vec<_> = (0..4).map(|_| connect(proxy.address)).collect();
    clients.iter_mut().for_each(|client| client.write_all(b"x").unwrap());
    let mut third = clients.remove(2);
    third.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    clients[0].read_exact(&mut [0]).unwrap();
    clients[1].read_exact(&mut [0]).unwrap();
    assert!(third.read(&mut [0]).is_err(), "it waits");
    third.set_read_timeout(Some(LIMIT)).unwrap();
    drop(clients.remove(0));
    third.read_exact(&mut [0]).unwrap();
}
