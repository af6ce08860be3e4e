//! What callers are shown when the system refuses (`EMFILE`, `ENOBUFS`, `ENOMEM`, `ENOSPC` and the like): the error, and
//! nothing else. Nothing leaks, nothing hangs, and the next call may succeed.
//!
//! In the build of `tests/faults` these tests ask for refusals; in any other they show that the scenes are sound.

#![cfg(not(loom))]

#[path = "support/net.rs"]
mod support;

use std::{
    error::Error,
    fs, io,
    rc::Rc,
    time::{Duration, Instant},
};

use support::{LOOPBACK, in_child, run};
use wakering::{
    Runtime, RuntimeError,
    internals::faults,
    net::{TcpListener, TcpStream, UdpSocket},
    signal::{self, Kind},
    spawn,
    time::timeout,
};

/// Of a hundred calls so many are refused.
const RATE: u32 = 12;

fn descriptors() -> Option<usize> {
    fs::read_dir("/proc/self/fd").map(Iterator::count).ok()
}

/// Fails unless the error, or what it comes from, is one that the system may refuse with.
fn assert_refused(error: &io::Error, act: &str) {
    const REFUSALS: [i32; 9] = [
        libc::EMFILE,
        libc::ENFILE,
        libc::ENOBUFS,
        libc::ENOMEM,
        libc::ENOSPC,
        libc::EADDRINUSE,
        libc::EADDRNOTAVAIL,
        libc::ENETUNREACH,
        libc::ECONNABORTED,
    ];
    let mut code = error.raw_os_error();
    let mut cause: Option<&(dyn Error + 'static)> = error.get_ref().map(|inner| inner as _);
    while let Some(inner) = cause.filter(|_| code.is_none()) {
        code = inner.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        cause = inner.source();
    }
    assert!(code.is_some_and(|code| REFUSALS.contains(&code)), "{act}: {error:?}");
    if !faults::ON {
        panic!("{act}: {error}");
    }
}

/// One client's visit: an echo, or an error that the system may have.
async fn visit(address: std::net::SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"echo").await?;
    let mut echo = [0; 4];
    match stream.read_exact(&mut echo).await {
        Ok(()) => Ok(&echo == b"echo"),
        // The server had no descriptor for it, or could not go on: it closed or reset the connection.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 64];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            read => stream.write_all(&buffer[..read]).await?,
        }
    }
}

#[test]
fn a_server_that_is_refused_now_and_then_serves_the_others_and_leaks_nothing() {
    if !in_child("a_server_that_is_refused_now_and_then_serves_the_others_and_leaks_nothing", "") {
        return;
    }
    run(async {
        let listener = Rc::new(TcpListener::bind(LOOPBACK).unwrap());
        let address = listener.local_addr().unwrap();
        let served = listener.clone();
        let server = spawn(async move {
            loop {
                // A want of descriptors or memory is no error here.
                let (stream, _) = served.accept().await.unwrap();
                spawn(async move {
                    if let Err(error) = echo(stream).await {
                        assert!(
                            error.kind() == io::ErrorKind::ConnectionReset
                                || error.kind() == io::ErrorKind::BrokenPipe
                                || faults::ON,
                            "{error}"
                        );
                    }
                });
            }
        });
        assert!(visit(address).await.unwrap());
        let before = descriptors();
        faults::refuse(RATE);
        let (mut echoed, mut refused) = (0, 0);
        for _ in 0..120 {
            match timeout(Duration::from_secs(20), visit(address)).await.expect("no visit hangs") {
                Ok(true) => echoed += 1,
                Ok(false) => refused += 1,
                Err(error) => {
                    // The server's end of it may have been refused, too.
                    if error.kind() != io::ErrorKind::ConnectionReset
                        && error.kind() != io::ErrorKind::BrokenPipe
                    {
                        assert_refused(&error, "a visit");
                    }
                    refused += 1;
                }
            }
        }
        faults::refuse(0);
        assert!(echoed > 5, "{echoed} of 120");
        assert_eq!(refused > 0, faults::ON, "{refused} were refused");
        for _ in 0..10 {
            wakering::yield_now().await;
            assert!(visit(address).await.unwrap(), "nothing is refused any more");
        }
        // The reserve, which was given up, may not be back yet: the next want of descriptors asks for one.
        let start = Instant::now();
        while descriptors() > before && start.elapsed() < Duration::from_secs(20) {
            wakering::time::sleep(Duration::from_millis(1)).await;
        }
        let now = descriptors();
        assert!(now <= before, "{now:?} descriptors, {before:?} before");
        server.abort();
    });
}

#[test]
fn a_runtime_that_cannot_be_built_says_so_and_leaves_nothing_behind() {
    if !in_child("a_runtime_that_cannot_be_built_says_so_and_leaves_nothing_behind", "") {
        return;
    }
    drop(Runtime::new().unwrap());
    let before = descriptors();
    faults::refuse(RATE);
    let (mut built, mut refused) = (0, 0);
    for round in 0..150 {
        match Runtime::builder().workers(1 + round % 2).build() {
            Ok(runtime) => {
                built += 1;
                assert_eq!(runtime.block_on(async { 7 }).unwrap(), 7);
            }
            Err(RuntimeError::Io(error)) => {
                assert_refused(&error, "building");
                refused += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    faults::refuse(0);
    assert!(built > 20, "{built} of 150");
    assert_eq!(refused > 0, faults::ON);
    assert_eq!(descriptors(), before);
}

#[test]
fn sockets_of_every_kind_may_be_refused_and_asked_for_again() {
    if !in_child("sockets_of_every_kind_may_be_refused_and_asked_for_again", "") {
        return;
    }
    run(async {
        // The pipe of the signals stays, once it is there.
        drop(signal::stream(Kind::USER_2).unwrap());
        let before = descriptors();
        faults::refuse(RATE);
        let mut done = [0; 3];
        for _ in 0..150 {
            match TcpListener::builder().reuse_port(true).bind(LOOPBACK) {
                Ok(listener) => done[0] += usize::from(listener.local_addr().is_ok()),
                Err(error) => assert_refused(&error, "a listener"),
            }
            match datagrams().await {
                Ok(()) => done[1] += 1,
                Err(error) => assert_refused(&error, "datagrams"),
            }
            match signal::stream(Kind::USER_2) {
                Ok(_) => done[2] += 1,
                Err(error) => assert_refused(&error, "a signal"),
            }
        }
        faults::refuse(0);
        assert!(done.iter().all(|count| *count > 10), "{done:?} of 150");
        assert_eq!(descriptors(), before);
        datagrams().await.unwrap();
    });
}

async fn datagrams() -> io::Result<()> {
    let (here, there) = (UdpSocket::bind(LOOPBACK)?, UdpSocket::bind(LOOPBACK)?);
    here.connect(there.local_addr()?)?;
    let mut buffer = [0; 16];
    for _ in 0..4 {
        if let Err(error) = here.send(b"datagram").await {
            assert_refused(&error, "sending");
            continue;
        }
        // A refused receive has left the datagram where it was.
        while let Err(error) = there.recv_from(&mut buffer).await {
            assert_refused(&error, "receiving");
        }
        assert_eq!(&buffer[..8], b"datagram");
    }
    Ok(())
}
