//! TCP connections: what people who come from libuv, asyncio or tokio expect of them.

#![expect(
    clippy::unwrap_used,
    reason = "tests may unwrap, and clippy takes only what is marked #[test] for one"
)]

#[path = "support/exact.rs"]
mod exact;
#[path = "support/net.rs"]
mod support;

use std::{
    cell::Cell,
    future::Future,
    io::{ErrorKind, IoSlice, IoSliceMut, Read, Write},
    net::Shutdown,
    os::fd::AsFd,
    pin::pin,
    process::Command,
    rc::Rc,
    task::Poll,
    thread,
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use support::{
    LOOPBACK, fill, in_child, let_sigpipe_kill, pair, pair_with_std, pattern, poll_once, reset, run,
};
use wakering::{
    net::{TcpListener, TcpStream},
    signal::{self, Kind},
    spawn, time,
};

const MEBIBYTE: usize = 1 << 20;

/// Sends all of `bytes`, in one of the ways that there are.
async fn send(stream: &mut wakering::net::OwnedWriteHalf, mut bytes: &[u8], way: usize) {
    match way % 3 {
        0 => stream.write_all(bytes).await.unwrap(),
        1 => {
            while !bytes.is_empty() {
                let (a, rest) = bytes.split_at(bytes.len().min(1));
                let (b, rest) = rest.split_at(rest.len().min(4_093));
                let slices = [IoSlice::new(a), IoSlice::new(&[]), IoSlice::new(b), IoSlice::new(rest)];
                let written = stream.write_vectored(&slices).await.unwrap();
                bytes = &bytes[written..];
            }
        }
        _ => {
            let (head, tail) = bytes.split_at(bytes.len() / 3);
            let mut both = Buf::chain(head, tail);
            stream.write_all_buf(&mut both).await.unwrap();
        }
    }
    stream.shutdown().unwrap();
}

/// Receives until the end, in one of the ways that there are.
async fn receive(stream: &mut wakering::net::OwnedReadHalf, way: usize) -> Vec<u8> {
    let mut all = Vec::new();
    let (mut first, mut second) = ([0; 1_000], [0; 30_000]);
    let mut buffer = BytesMut::new();
    loop {
        let read = match way % 4 {
            0 => stream.read(&mut second).await.inspect(|&read| all.extend_from_slice(&second[..read])),
            1 => {
                let mut slices = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
                let read = stream.read_vectored(&mut slices).await;
                read.inspect(|&read| {
                    all.extend_from_slice(&first[..read.min(1_000)]);
                    all.extend_from_slice(&second[..read.saturating_sub(1_000)]);
                })
            }
            2 => {
                stream
                    .read_with(|bytes| {
                        all.extend_from_slice(bytes);
                        bytes.len()
                    })
                    .await
            }
            _ => stream.read_buf(&mut buffer).await.inspect(|_| all.extend_from_slice(&buffer.split())),
        };
        if read.unwrap() == 0 {
            return all;
        }
    }
}

#[test]
fn twenty_five_clients_exchange_a_mebibyte_each_way_exactly_plain_and_vectored() {
    run(async {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let address = listener.local_addr().unwrap();
        let server = spawn(async move {
            let mut served = Vec::new();
            for way in 0..25 {
                let (stream, _) = listener.accept().await.unwrap();
                served.push(spawn(exchange(stream, way, Side::Server)));
            }
            for task in served {
                task.await.unwrap();
            }
        });
        let clients: Vec<_> = (0..25)
            .map(|way| {
                spawn(async move {
                    let stream = TcpStream::connect(address).await.unwrap();
                    exchange(stream, way, Side::Client).await;
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
        server.await.unwrap();
    });
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Client,
    Server,
}

/// Both sides say which pattern follows, and send it while they receive the other's.
async fn exchange(stream: TcpStream, way: usize, side: Side) {
    let (mut reader, mut writer) = stream.into_split();
    let seed = way as u64 * 2 + u64::from(side == Side::Server);
    let sending = spawn(async move {
        let mut bytes = seed.to_be_bytes().to_vec();
        bytes.extend(pattern(seed, MEBIBYTE));
        send(&mut writer, &bytes, way).await;
        writer
    });
    let all = receive(&mut reader, way).await;
    let (head, body) = all.split_at(8);
    let theirs = u64::from_be_bytes(head.try_into().unwrap());
    assert_ne!(theirs % 2, seed % 2, "the other side's, not our own");
    assert!(
        body == pattern(theirs, MEBIBYTE),
        "pattern {theirs} came in another form, {} octets",
        body.len()
    );
    drop(sending.await.unwrap());
}

#[test]
fn half_close_reads_the_end_and_writing_goes_on() {
    run(async {
        let (mut client, mut server) = pair().await;
        client.shutdown(Shutdown::Write).unwrap();
        let mut buffer = [0; 16];
        assert_eq!(server.read(&mut buffer).await.unwrap(), 0);
        assert_eq!(server.read(&mut buffer).await.unwrap(), 0, "the end is told again");
        server.write_all(b"still here").await.unwrap();
        client.read_exact(&mut buffer[..10]).await.unwrap();
        assert_eq!(&buffer[..10], b"still here");
        assert_eq!(client.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn shutdown_of_writing_sends_first_what_was_written() {
    run(async {
        let (mut ours, mut theirs) = pair_with_std();
        let reader = thread::spawn(move || {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).unwrap();
            all
        });
        let bytes = pattern(5, 4 * MEBIBYTE);
        ours.write_all(&bytes).await.unwrap();
        ours.shutdown(Shutdown::Write).unwrap();
        assert_eq!(ours.read(&mut [0; 1]).await.unwrap(), 0, "the other side saw the end and closed");
        assert!(reader.join().unwrap() == bytes);
    });
}

#[test]
fn a_write_is_with_the_system_before_the_call_returns() {
    if exact::calls_may_fail() {
        return;
    }
    run(async {
        let (mut ours, mut theirs) = pair_with_std();
        let mut buffer = [0; 5];
        ours.write_all(b"first").await.unwrap();
        theirs.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"first");
        ours.write_vectored(&[IoSlice::new(b"sec"), IoSlice::new(b"nd")]).await.unwrap();
        theirs.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"secnd");
    });
}

#[test]
fn dropping_a_connection_tells_the_peer_at_once_a_hundred_of_a_hundred_times() {
    run(async {
        for round in 0..100 {
            let (mut ours, mut theirs) = pair_with_std();
            if round % 2 == 0 {
                assert!(poll_once(pin!(ours.read(&mut [0; 1]))).await.is_pending(), "it is registered now");
            }
            drop(ours);
            // A blocking read in the same poll: no turn of the loop is needed.
            assert_eq!(theirs.read(&mut [0; 1]).unwrap(), 0);
        }
    });
}

#[test]
fn a_short_read_with_the_end_behind_it_loses_neither() {
    if exact::calls_may_fail() {
        return;
    }
    run(async {
        for length in [1, 10, 4_096] {
            // Bytes and the end come in one event.
            let (mut ours, mut theirs) = pair_with_std();
            let mut buffer = [0; 8_192];
            assert!(poll_once(pin!(ours.read(&mut buffer))).await.is_pending());
            theirs.write_all(&pattern(1, length)).unwrap();
            theirs.shutdown(Shutdown::Write).unwrap();
            assert_eq!(ours.read(&mut buffer).await.unwrap(), length);
            assert_eq!(ours.read(&mut buffer).await.unwrap(), 0);
            // The end comes after a short read has counted as drained.
            let (mut ours, mut theirs) = pair_with_std();
            assert!(poll_once(pin!(ours.read(&mut buffer))).await.is_pending());
            theirs.write_all(&pattern(1, length)).unwrap();
            assert_eq!(ours.read(&mut buffer).await.unwrap(), length);
            assert!(poll_once(pin!(ours.read(&mut buffer))).await.is_pending());
            theirs.shutdown(Shutdown::Write).unwrap();
            assert_eq!(ours.read(&mut buffer).await.unwrap(), 0);
        }
    });
}

/// `SIGURG`'s octet is out of band, and a read stops before it.
#[test]
fn urgent_data_between_two_pieces_hides_none_of_them() {
    run(async {
        let (mut ours, mut theirs) = pair_with_std();
        let mut buffer = [0; 4_096];
        assert!(poll_once(pin!(ours.read(&mut buffer))).await.is_pending());
        theirs.write_all(&[1; 100]).unwrap();
        support::send_urgent(&theirs, 2);
        theirs.write_all(&[3; 50]).unwrap();
        let mut all = Vec::new();
        while all.len() < 150 {
            let read = ours.read(&mut buffer).await.unwrap();
            assert_ne!(read, 0);
            all.extend_from_slice(&buffer[..read]);
        }
        assert_eq!(all, [[1; 100].as_slice(), &[3; 50]].concat());
    });
}

#[test]
fn a_half_closed_peer_that_does_not_read_makes_nobody_spin() {
    if exact::calls_may_fail() {
        return;
    }
    run(async {
        let (mut ours, mut theirs) = pair_with_std();
        let taken = fill(&ours).await;
        theirs.shutdown(Shutdown::Write).unwrap();
        assert_eq!(ours.read(&mut [0; 1]).await.unwrap(), 0);
        let before = support::thread_cpu();
        let mut polls = 0;
        {
            let mut writable = pin!(ours.writable());
            let counted = std::future::poll_fn(|cx| {
                polls += 1;
                writable.as_mut().poll(cx)
            });
            assert!(time::timeout(Duration::from_millis(300), counted).await.is_err(), "the buffer is full");
        }
        assert!(polls <= 3, "{polls} polls of a future that cannot go on");
        if let (Some(before), Some(after)) = (before, support::thread_cpu()) {
            assert!(after - before < 100_000_000, "{} ns on the CPU in 300 ms of waiting", after - before);
        }
        let reader = thread::spawn(move || {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).unwrap();
            all.len()
        });
        ours.write_all(b"the rest").await.unwrap();
        drop(ours);
        assert_eq!(reader.join().unwrap(), taken + 8);
    });
}

#[test]
fn a_reset_wakes_the_reader_and_the_pending_writer() {
    run(async {
        let (ours, theirs) = pair_with_std();
        fill(&ours).await;
        let (mut reader, mut writer) = ours.into_split();
        let reading = spawn(async move {
            let mut buffer = [0; 16];
            reader.read(&mut buffer).await
        });
        let writing = spawn(async move { writer.write_all(&[0; 65_536]).await });
        wakering::yield_now().await;
        wakering::yield_now().await;
        reset(theirs);
        let (read, written) = (reading.await.unwrap(), writing.await.unwrap());
        // One of them gets the error itself, and the other what is left after it: an end, a broken pipe.
        let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        assert!(written.is_err_and(|error| kinds.contains(&error.kind())));
        match read {
            Ok(length) => assert_eq!(length, 0),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    });
}

#[test]
fn a_close_without_lingering_is_a_reset_for_the_peer() {
    run(async {
        let (mut client, server) = pair().await;
        server.set_linger(Some(Duration::ZERO)).unwrap();
        drop(server);
        assert_eq!(client.read(&mut [0; 1]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert!(client.take_error().unwrap().is_none(), "it is told once");
    });
}

/// A reset while nobody reads or writes is told by the next call.
#[test]
fn a_reset_while_idle_is_reported_once_by_the_next_read() {
    run(async {
        let (mut ours, theirs) = pair_with_std();
        assert!(poll_once(pin!(ours.read(&mut [0; 1]))).await.is_pending());
        reset(theirs);
        time::sleep(Duration::from_millis(20)).await;
        assert_eq!(ours.read(&mut [0; 1]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(ours.read(&mut [0; 1]).await.unwrap(), 0);
    });
}

#[test]
fn one_flooding_peer_leaves_ninety_nine_quiet_ones_their_turn() {
    run(async {
        // What is peeked at stays: a flood that never runs dry, however slow the sender.
        let (mut flooded, mut flood) = pair_with_std();
        flood.write_all(&[0; 512]).unwrap();
        let looks = Rc::new(Cell::new(0_u64));
        let counted = looks.clone();
        let swallow = spawn(async move {
            let mut buffer = [0; 512];
            while flooded.peek(&mut buffer).await.is_ok() {
                counted.set(counted.get() + 1);
            }
        });
        let mut quiet = Vec::new();
        for _ in 0..99 {
            let (client, mut server) = pair().await;
            spawn(async move {
                let mut buffer = [0; 64];
                while let Ok(read @ 1..) = server.read(&mut buffer).await {
                    server.write_all(&buffer[..read]).await.unwrap();
                }
            });
            quiet.push(client);
        }
        let before = looks.get();
        for round in 0..5_u8 {
            for client in &mut quiet {
                client.write_all(&[round; 64]).await.unwrap();
                let mut buffer = [0; 64];
                client.read_exact(&mut buffer).await.unwrap();
                assert_eq!(buffer, [round; 64]);
            }
        }
        // An answer takes a few looks at the selector, and between two of them the flood gets only so much.
        let between = (looks.get() - before) / (5 * 99);
        assert!(between < 4_000, "{between} reads of the flood between a question and its answer");
        swallow.abort();
    });
}

#[test]
fn two_tasks_that_wait_for_the_same_direction_are_both_woken() {
    run(async {
        let (ours, mut theirs) = pair_with_std();
        let ours = Rc::new(ours);
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let ours = ours.clone();
                spawn(async move { ours.readable().await })
            })
            .collect();
        wakering::yield_now().await;
        theirs.write_all(b"x").unwrap();
        for task in waiting {
            task.await.unwrap().unwrap();
        }
        let read = loop {
            match ours.try_read(&mut [0; 4]) {
                // Only where calls fail on demand; the wait brings back what the failure has cleared.
                Err(error) if error.kind() == ErrorKind::WouldBlock => ours.readable().await.unwrap(),
                other => break other,
            }
        };
        assert_eq!(read.unwrap(), 1);
    });
}

/// readiness is assumed, and being wrong costs one attempt.
#[test]
fn a_fresh_connection_without_bytes_waits_and_does_not_fail() {
    if exact::calls_may_fail() {
        return;
    }
    run(async {
        let (client, mut server) = pair().await;
        assert_eq!(server.try_read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(poll_once(pin!(server.read(&mut [0; 4]))).await.is_pending());
        assert_eq!(client.try_write(b"now").unwrap(), 3);
        assert_eq!(server.read(&mut [0; 4]).await.unwrap(), 3);
    });
}

#[test]
fn writing_to_a_closed_connection_raises_no_signal() {
    if exact::calls_may_fail() {
        return;
    }
    if !in_child("writing_to_a_closed_connection_raises_no_signal", "") {
        return;
    }
    let_sigpipe_kill();
    run(async {
        let (mut ours, theirs) = pair_with_std();
        reset(theirs);
        assert!(ours.read(&mut [0; 1]).await.is_err());
        for _ in 0..3 {
            assert_eq!(ours.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
            let slices = [IoSlice::new(b"x"), IoSlice::new(b"y")];
            assert_eq!(ours.write_vectored(&slices).await.unwrap_err().kind(), ErrorKind::BrokenPipe);
            assert_eq!(ours.try_write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        }
    });
}

/// Lifecycle 8 and 14, hard bug 43, the part of sockets.
#[test]
fn signals_in_the_middle_disturb_nothing() {
    if !in_child("signals_in_the_middle_disturb_nothing", "") {
        return;
    }
    run(async {
        let mut alarms = signal::stream(Kind::ALARM).unwrap();
        let script = format!("for _ in $(seq 2000); do kill -ALRM {} || exit 1; done", std::process::id());
        let mut storm = Command::new("sh").arg("-c").arg(script).spawn().unwrap();
        let mut rounds = 0;
        while storm.try_wait().unwrap().is_none() {
            let (client, server) = pair().await;
            let other = spawn(exchange(server, rounds, Side::Server));
            exchange(client, rounds, Side::Client).await;
            other.await.unwrap();
            rounds += 1;
        }
        assert!(storm.wait().unwrap().success());
        assert_eq!(alarms.recv().await.unwrap(), Kind::ALARM, "some came while {rounds} rounds were made");
    });
}

#[test]
fn peeked_bytes_are_read_again() {
    if exact::calls_may_fail() {
        return;
    }
    run(async {
        let (mut client, mut server) = pair().await;
        client.write_all(b"abcdef").await.unwrap();
        let mut buffer = [0; 3];
        assert_eq!(server.peek(&mut buffer).await.unwrap(), 3);
        assert_eq!(server.peek(&mut [0; 64]).await.unwrap(), 6, "a short peek does not count as drained");
        server.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"abc");
        server.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"def");
    });
}

#[test]
fn a_length_that_a_peer_tells_takes_memory_only_as_bytes_come() {
    run(async {
        for length in [1 << 40, usize::MAX] {
            let (mut client, mut server) = pair().await;
            client.write_all(b"ab").await.unwrap();
            drop(client);
            let mut buffer = BytesMut::new();
            let error = server.read_at_least(&mut buffer, length).await.unwrap_err();
            assert_eq!((error.kind(), &buffer[..]), (ErrorKind::UnexpectedEof, &b"ab"[..]));
        }
    });
}

#[test]
fn an_end_in_the_middle_of_an_exact_read_is_an_error_and_keeps_the_bytes() {
    run(async {
        let (mut client, mut server) = pair().await;
        client.write_all(b"half").await.unwrap();
        drop(client);
        let mut buffer = BytesMut::new();
        let error = server.read_at_least(&mut buffer, 8).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert_eq!(&buffer[..], b"half");
        assert_eq!(server.read_exact(&mut [0; 1]).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        server.read_exact(&mut []).await.unwrap();
    });
}

#[test]
fn an_owned_writing_half_ends_the_stream_when_it_is_dropped_unless_it_is_forgotten() {
    run(async {
        let (client, mut server) = pair().await;
        let (mut reader, writer) = client.into_split();
        drop(writer);
        assert_eq!(server.read(&mut [0; 1]).await.unwrap(), 0);
        server.write_all(b"on").await.unwrap();
        reader.read_exact(&mut [0; 2]).await.unwrap();

        let (client, mut server) = pair().await;
        let (reader, writer) = client.into_split();
        writer.forget();
        assert!(poll_once(pin!(server.read(&mut [0; 1]))).await.is_pending());
        drop(reader);
        assert_eq!(server.read(&mut [0; 1]).await.unwrap(), 0);
    });
}

#[test]
fn halves_come_together_only_with_their_own() {
    run(async {
        let (one, two) = pair().await;
        let (one_reader, one_writer) = one.into_split();
        let (two_reader, two_writer) = two.into_split();
        let error = one_reader.reunite(two_writer).unwrap_err();
        let mut one = error.0.reunite(one_writer).unwrap();
        let mut two = two_reader.reunite(error.1).unwrap();
        one.write_all(b"whole").await.unwrap();
        two.read_exact(&mut [0; 5]).await.unwrap();
    });
}

/// with a duplicate alive, closing the descriptor would not end its registration.
#[test]
fn a_connection_goes_to_another_worker_and_leaves_nothing_behind() {
    let runtime = wakering::Runtime::builder().workers(2).build().unwrap();
    let done = runtime.block_on(async {
        let (mut ours, mut theirs) = pair_with_std();
        let duplicate = ours.as_fd().try_clone_to_owned().unwrap();
        assert!(poll_once(pin!(ours.read(&mut [0; 1]))).await.is_pending(), "registered here");
        let moved = ours.into_std();
        let answer = wakering::spawn_on(1, move || async move {
            let mut stream = TcpStream::from_std(moved).unwrap();
            let mut buffer = [0; 4];
            stream.read_exact(&mut buffer).await.unwrap();
            stream.write_all(&buffer).await.unwrap();
        });
        theirs.write_all(b"ping").unwrap();
        answer.unwrap().await.unwrap();
        let mut buffer = [0; 4];
        theirs.read_exact(&mut buffer).unwrap();
        drop(duplicate);
        assert_eq!(theirs.read(&mut buffer).unwrap(), 0, "nobody holds it any more");
        buffer
    });
    assert_eq!(&done.unwrap(), b"ping");
}

#[test]
fn options_are_kept_by_the_system() {
    run(async {
        let (client, server) = pair().await;
        assert!(!client.nodelay().unwrap());
        client.set_nodelay(true).unwrap();
        assert!(client.nodelay().unwrap());
        client.set_keepalive(Some(Duration::from_secs(75))).unwrap();
        assert_eq!(client.keepalive().unwrap(), Some(Duration::from_secs(75)));
        client.set_linger(Some(Duration::from_millis(1_001))).unwrap();
        assert_eq!(client.linger().unwrap(), Some(Duration::from_secs(2)), "rounded up");
        client.set_linger(None).unwrap();
        client.set_ttl(33).unwrap();
        assert_eq!(client.ttl().unwrap(), 33);
        assert_eq!(client.set_ttl(256).unwrap_err().kind(), ErrorKind::InvalidInput);
        client.set_recv_buffer_size(32_768).unwrap();
        assert!(client.recv_buffer_size().unwrap() >= 32_768);
        client.set_send_buffer_size(32_768).unwrap();
        assert!(client.send_buffer_size().unwrap() >= 32_768);
        assert_eq!(client.peer_addr().unwrap(), server.local_addr().unwrap());
    });
}

/// A buffer in more pieces than one call takes is written whole, in order.
/// Options that not every system has: kept, or told to be lacking.
#[test]
fn options_of_some_systems_are_kept_or_unsupported() {
    fn kept_or_unsupported<T: PartialEq + std::fmt::Debug>(
        set: std::io::Result<()>,
        get: std::io::Result<T>,
        value: T,
    ) {
        match (set, get) {
            (Ok(()), Ok(got)) => assert_eq!(got, value),
            (Err(set), Err(get)) => {
                assert_eq!((set.kind(), get.kind()), (ErrorKind::Unsupported, ErrorKind::Unsupported));
                assert_ne!(std::env::consts::OS, "linux");
            }
            other => panic!("{other:?}"),
        }
    }
    run(async {
        let (mut stream, mut other) = pair().await;
        let seconds = Duration::from_secs;
        let set = stream.set_keepalive_interval(Duration::from_millis(6_500));
        kept_or_unsupported(set, stream.keepalive_interval(), seconds(7));
        kept_or_unsupported(stream.set_keepalive_probes(4), stream.keepalive_probes(), 4);
        let time = Some(Duration::from_micros(1_500));
        let kept = Some(Duration::from_millis(2));
        kept_or_unsupported(stream.set_user_timeout(time), stream.user_timeout(), kept);
        kept_or_unsupported(stream.set_user_timeout(None), stream.user_timeout(), None);
        kept_or_unsupported(stream.set_not_sent_low(16_384), stream.not_sent_low(), 16_384);
        kept_or_unsupported(stream.set_not_sent_low(u32::MAX), stream.not_sent_low(), u32::MAX);
        kept_or_unsupported(stream.set_quick_ack(true), stream.quick_ack(), true);
        kept_or_unsupported(stream.set_quick_ack(false), stream.quick_ack(), false);
        stream.set_tos(0x88).unwrap();
        assert_eq!(stream.tos().unwrap(), 0x88);
        match stream.set_mark(7) {
            Ok(()) => assert_eq!(stream.mark().unwrap(), 7),
            Err(error) => {
                assert!(
                    matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied),
                    "{error}"
                );
            }
        }
        stream.write_all(b"measured").await.unwrap();
        other.read_exact(&mut [0; 8]).await.unwrap();
        match stream.tcp_info() {
            Ok(info) => {
                assert!(info.rtt > Duration::ZERO && info.rtt < seconds(10), "{info:?}");
                assert!(info.segment_size >= 536 && info.congestion_window > 0, "{info:?}");
                assert_eq!(info.retransmits, 0, "{info:?}");
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported),
        }
    });
}

#[test]
fn a_buffer_of_many_pieces_is_written_in_order() {
    run(async {
        let (mut client, mut server) = pair().await;
        let bytes = Bytes::from(pattern(9, 300_000));
        let mut pieces: std::collections::VecDeque<Bytes> =
            (0..3_000).map(|i| bytes.slice(i * 100..i * 100 + 100)).collect();
        let sending = spawn(async move {
            while let Some(first) = pieces.pop_front() {
                let second = pieces.pop_front().unwrap();
                let third = pieces.pop_front().unwrap();
                client.write_all_buf(&mut first.chain(second).chain(third)).await.unwrap();
            }
        });
        let mut buffer = BytesMut::new();
        server.read_at_least(&mut buffer, bytes.len()).await.unwrap();
        assert!(buffer[..] == bytes[..]);
        sending.await.unwrap();
    });
}

/// A socket may be made outside of a runtime, and waits only in one.
#[test]
fn waiting_outside_of_a_runtime_is_an_error_and_no_panic() {
    let (mut ours, mut theirs) = pair_with_std();
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    {
        let mut buffer = [0; 4];
        let mut reading = pin!(ours.read(&mut buffer));
        let Poll::Ready(Err(error)) = reading.as_mut().poll(&mut cx) else { panic!("nobody would wake it") };
        assert_eq!(error.kind(), ErrorKind::NotConnected);
    }
    theirs.write_all(b"well").unwrap();
    run(async {
        ours.read_exact(&mut [0; 4]).await.unwrap();
        assert!(poll_once(pin!(ours.read(&mut [0; 4]))).await.is_pending(), "now it is registered");
    });
    // Its runtime has ended: an error, and dropping it afterwards is nothing special.
    let error = run(async { ours.read(&mut [0; 4]).await.unwrap_err() });
    assert_eq!(error.kind(), ErrorKind::NotConnected);
}
