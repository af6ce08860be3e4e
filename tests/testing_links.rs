//! The test kit: connections in memory do what their links say, the same for the same seed.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "support/net.rs"]
mod support;

use std::{
    future::Future,
    io::ErrorKind,
    pin::pin,
    time::{Duration, Instant},
};

use support::{pattern, poll_once, run};
use wakering::{
    Runtime,
    http::{Body, Request, Response, Server, client},
    net::TcpListener,
    spawn,
    testing::{Cut, Link, Stream, relay, seed},
    time::{ManualClock, timeout},
    yield_now,
};

const MOMENT: Duration = Duration::from_millis(20);

/// Sends `bytes` one way and gives what arrived, piece by piece.
async fn carry(mut from: Stream, mut to: Stream, bytes: Vec<u8>) -> Vec<Vec<u8>> {
    let sending = spawn(async move {
        from.write_all(&bytes).await.unwrap();
        from.shutdown();
        from
    });
    let (mut pieces, mut buffer) = (Vec::new(), [0; 1_000]);
    loop {
        match to.read(&mut buffer).await.unwrap() {
            0 => break,
            read => pieces.push(buffer[..read].to_vec()),
        }
    }
    drop(sending.await.unwrap());
    pieces
}

#[test]
fn a_perfect_link_carries_everything_both_ways_and_then_the_end() {
    run(async {
        for capacity in [1, 7, 4_096, 1 << 20] {
            let bytes = pattern(1, 20_000);
            let (near, far) = Link::new(1).capacity(capacity).pair();
            assert_eq!(carry(near, far, bytes.clone()).await.concat(), bytes);
            let (near, far) = Link::new(1).capacity(capacity).pair();
            assert_eq!(carry(far, near, bytes.clone()).await.concat(), bytes);
        }
    });
}

#[test]
fn faults_lose_nothing_and_are_the_same_for_the_same_seed() {
    let seed = seed();
    run(async move {
        let bytes = pattern(2, 30_000);
        let mut runs = Vec::new();
        for seed in [seed, seed, seed ^ 1] {
            let link = Link::new(seed).short_reads().short_writes().stutter().capacity(3_000);
            let (near, far) = link.pair();
            let pieces = carry(near, far, bytes.clone()).await;
            assert_eq!(pieces.concat(), bytes, "seed {seed}");
            runs.push(pieces.iter().map(Vec::len).collect::<Vec<_>>());
        }
        assert_eq!(runs[0], runs[1]);
        assert_ne!(runs[0], runs[2]);
        assert!(runs[0].len() > 60, "{} reads of up to 1,000 bytes", runs[0].len());
    });
}

#[test]
fn latency_jitter_and_bandwidth_take_their_time_and_keep_the_order() {
    run(async {
        let (mut near, mut far) = Link::new(3).latency(MOMENT).pair();
        let start = Instant::now();
        near.write_all(b"x").await.unwrap();
        assert!(poll_once(pin!(far.read(&mut [0; 1]))).await.is_pending());
        far.read_exact(&mut [0; 1]).await.unwrap();
        assert!(start.elapsed() >= MOMENT);
        far.write_all(b"y").await.unwrap();
        near.read_exact(&mut [0; 1]).await.unwrap();
        assert!(start.elapsed() >= 2 * MOMENT);

        let (mut near, mut far) = Link::new(4).jitter(Duration::from_millis(2)).pair();
        let bytes = pattern(4, 500);
        for byte in &bytes {
            near.write_all(&[*byte]).await.unwrap();
        }
        let mut got = [0; 500];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(got[..], bytes);

        // 20,000 bytes at 1 MB/s.
        let (near, far) = Link::new(5).bandwidth(1_000_000).pair();
        let start = Instant::now();
        assert_eq!(carry(near, far, pattern(5, 20_000)).await.concat().len(), 20_000);
        assert!(start.elapsed() >= MOMENT);
    });
}

#[test]
fn a_full_link_holds_up_its_writer_until_somebody_reads() {
    run(async {
        let (mut near, mut far) = Link::new(6).capacity(100).pair();
        assert_eq!(near.write(&[1; 150]).await.unwrap(), 100);
        assert!(poll_once(pin!(near.write(&[2; 50]))).await.is_pending());
        let writing = spawn(async move {
            near.write_all(&[2; 50]).await.unwrap();
            near
        });
        yield_now().await;
        assert!(!writing.is_finished());
        let mut all = [0; 150];
        far.read_exact(&mut all).await.unwrap();
        assert_eq!((&all[..100], &all[100..]), (&[1; 100][..], &[2; 50][..]));
        drop(writing.await.unwrap());
        assert_eq!(far.read(&mut all).await.unwrap(), 0);
    });
}

#[test]
fn halves_end_their_own_direction_and_a_reader_that_is_gone_breaks_the_pipe() {
    run(async {
        let (near, mut far) = Link::new(7).pair();
        let (mut reader, mut writer) = near.into_split();
        writer.write_all(b"last").await.unwrap();
        drop(writer);
        let mut last = [0; 4];
        far.read_exact(&mut last).await.unwrap();
        assert_eq!(far.read(&mut last).await.unwrap(), 0);
        far.write_all(b"late").await.unwrap();
        reader.read_exact(&mut last).await.unwrap();
        drop(reader);
        assert_eq!(far.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        let (mut near, _far) = Link::new(7).pair();
        near.shutdown();
        assert_eq!(near.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        let (mut near, mut far) = Link::new(7).pair();
        near.write_all(b"abc").await.unwrap();
        drop(near);
        assert_eq!(far.read_exact(&mut last).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    });
}

#[test]
fn a_cut_is_an_early_end_a_reset_or_silence() {
    run(async {
        let link = || Link::new(8).latency(Duration::from_millis(1));
        let mut room = [0; 64];
        // The reader sees an end, and the writer is told nothing.
        let (mut near, mut far) = link().cut(10, Cut::End).pair();
        near.write_all(&[1; 30]).await.unwrap();
        far.read_exact(&mut room[..10]).await.unwrap();
        assert_eq!(far.read(&mut room).await.unwrap(), 0);
        near.write_all(&[1; 30]).await.unwrap();
        // Both ends are reset, also where they wait: for bytes, and for room.
        let (mut near, mut far) = link().capacity(20).pair_with(link().cut(10, Cut::Reset));
        near.write_all(&[1; 20]).await.unwrap();
        let (mut reader, mut writer) = near.into_split();
        let reading = spawn(async move {
            let mut room = [0; 64];
            reader.read_exact(&mut room[..10]).await.unwrap();
            reader.read(&mut room).await.unwrap_err().kind()
        });
        let writing = spawn(async move { writer.write_all(&[1; 20]).await.unwrap_err().kind() });
        yield_now().await;
        far.write_all(&[2; 12]).await.unwrap();
        assert_eq!(reading.await.unwrap(), ErrorKind::ConnectionReset);
        assert_eq!(writing.await.unwrap(), ErrorKind::ConnectionReset);
        assert_eq!(far.write(b"x").await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        // Nothing arrives, not even the end, and what is written fills the link.
        let (mut near, mut far) = link().capacity(50).cut(10, Cut::Silence).pair();
        near.write_all(&[1; 50]).await.unwrap();
        far.read_exact(&mut room[..10]).await.unwrap();
        near.write_all(&[1; 10]).await.unwrap();
        assert!(timeout(MOMENT, near.write_all(b"x")).await.is_err());
        drop(near);
        assert!(timeout(MOMENT, far.read(&mut room)).await.is_err());
    });
}

/// Runs `test` on a clock that moves by itself, and says how much of its time went by; the real time must be short.
fn by_hand<F: Future>(test: F) -> Duration {
    let (clock, start) = (ManualClock::new(), Instant::now());
    let runtime = Runtime::builder().manual_clock(&clock).build().unwrap();
    runtime.block_on(test).unwrap();
    assert!(start.elapsed() < Duration::from_secs(30), "{:?} of real time", start.elapsed());
    clock.elapsed()
}

#[test]
fn on_a_manual_clock_every_link_takes_exactly_its_time_and_nobody_waits_for_it() {
    let there_and_back = async {
        let (mut near, mut far) = Link::new(10).latency(Duration::from_millis(80)).pair();
        let echo = spawn(async move {
            let mut byte = [0; 1];
            while far.read(&mut byte).await.unwrap() > 0 {
                far.write_all(&byte).await.unwrap();
            }
        });
        for _ in 0..1_000 {
            near.write_all(b"x").await.unwrap();
            near.read_exact(&mut [0; 1]).await.unwrap();
        }
        drop(near);
        echo.await.unwrap();
    };
    // And the end's way there.
    assert_eq!(by_hand(there_and_back), Duration::from_millis(1_000 * 160 + 80));

    let slowly = async {
        let (near, far) = Link::new(11).bandwidth(100).pair();
        assert_eq!(carry(near, far, pattern(11, 360_000)).await.concat().len(), 360_000);
    };
    assert_eq!(by_hand(slowly), Duration::from_secs(3_600));

    let in_vain = async {
        let (mut near, mut far) = Link::new(12).cut(3, Cut::Silence).pair();
        near.write_all(b"hello").await.unwrap();
        far.read_exact(&mut [0; 3]).await.unwrap();
        let day = Duration::from_secs(86_400);
        assert!(timeout(day, far.read(&mut [0; 1])).await.is_err());
    };
    assert_eq!(by_hand(in_vain), Duration::from_secs(86_400));
}

#[test]
fn a_relay_carries_http_in_pieces_and_its_cut_is_an_error_and_no_hang() {
    run(async {
        let content = pattern(9, 100_000);
        let sent = content.clone();
        let handler = move |_: Request<Body>| {
            let sent = sent.clone();
            async move { Response::new(Body::from(sent)) }
        };
        let server = Server::start(TcpListener::bind(support::LOOPBACK).unwrap(), handler).unwrap();
        let request = || Request::get("http://server/").body(Body::empty()).unwrap();
        let link = Link::new(9).short_reads().short_writes().stutter().latency(Duration::from_millis(1));
        let line = relay(server.local_addr(), link.clone(), link).unwrap();
        let mut connection = client::connect(line.local_addr()).await.unwrap();
        let body = connection.send(request()).await.unwrap().into_body();
        assert_eq!(body.collect(1 << 20).await.unwrap(), content);
        for cut in [Cut::End, Cut::Reset] {
            let line = relay(server.local_addr(), Link::new(9), Link::new(9).cut(50_000, cut)).unwrap();
            let mut connection = client::connect(line.local_addr()).await.unwrap();
            let body = connection.send(request()).await.unwrap().into_body();
            assert!(body.collect(1 << 20).await.is_err(), "{cut:?}");
        }
    });
}
