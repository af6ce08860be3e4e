//! Bugs of readiness: rows 26 to 38 of `docs/hard-bugs.md`.

#![cfg(not(loom))]

#[path = "support/net.rs"]
mod support;

use std::{
    cell::Cell,
    fs::File,
    future::{Future, poll_fn},
    io::{ErrorKind, Read, Write},
    os::fd::AsFd,
    pin::{Pin, pin},
    rc::Rc,
    thread,
    time::Duration,
};

use support::{fill, in_child, pair_with_std, poll_once, reset, run, send_urgent, thread_cpu};
use wakering::{
    net::{TcpStream, UnixStream},
    spawn,
    time::sleep,
    yield_now,
};

/// A future that counts how often it was polled.
async fn counted<F: Future>(polls: &Cell<usize>, mut future: Pin<&mut F>) -> F::Output {
    poll_fn(|cx| {
        polls.set(polls.get() + 1);
        future.as_mut().poll(cx)
    })
    .await
}

/// What there is to read, which somebody has been told of.
async fn taken(stream: &TcpStream) -> usize {
    loop {
        match stream.try_read(&mut [0; 8]) {
            Ok(read) => return read,
            // Where calls fail on demand.
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        stream.readable().await.expect("the socket is watched");
    }
}

/// Row 26: a byte comes at any moment between the attempt, the note that it would block, and the sleep.
#[test]
fn bytes_that_come_between_the_attempt_and_the_sleep_are_not_lost() {
    run(async {
        let (mut ours, mut theirs) = pair_with_std();
        let echo = thread::spawn(move || {
            let mut byte = [0; 1];
            while theirs.read(&mut byte).unwrap() == 1 {
                // Nobody knows where the other side is by now: that differs from round to round.
                for _ in 0..(u32::from(byte[0]) % 64) * 8 {
                    std::hint::spin_loop();
                }
                theirs.write_all(&byte).unwrap();
            }
        });
        for round in 0..4_000_u32 {
            let byte = [round as u8];
            ours.write_all(&byte).await.unwrap();
            let mut answer = [0; 2];
            assert_eq!(ours.read(&mut answer).await.unwrap(), 1);
            assert_eq!(answer[0], byte[0]);
        }
        drop(ours);
        echo.join().unwrap();
    });
}

/// Rows 27 and 31: one direction's event neither wakes nor deafens who waits for the other.
#[test]
fn each_direction_hears_its_own_events_whatever_happens_to_the_other() {
    run(async {
        let (ours, mut theirs) = pair_with_std();
        let (ours, reads) = (Rc::new(ours), Rc::new(Cell::new(0)));
        let filled = fill(&ours).await;
        let (reader, writer) = (ours.clone(), ours.clone());
        let polls = reads.clone();
        let reading = spawn(async move { counted(&polls, pin!(reader.readable())).await });
        let writing = spawn(async move { writer.writable().await });
        yield_now().await;
        assert_eq!(reads.get(), 1);
        // Room comes, and no byte: the writer alone goes on.
        let drained = thread::spawn(move || {
            let mut rest = filled;
            let mut buffer = vec![0; 65_536];
            while rest > 0 {
                rest -= theirs.read(&mut buffer).unwrap();
            }
            theirs
        });
        writing.await.unwrap().unwrap();
        assert_eq!(reads.get(), 1, "an event of writing has woken the reader");
        let mut theirs = drained.join().unwrap();
        // And now the reader, whose event a one-shot registration would have used up.
        theirs.write_all(b"x").unwrap();
        reading.await.unwrap().unwrap();
        assert_eq!(taken(&ours).await, 1);
        // The other way round: bytes come while somebody waits for room.
        let filled = fill(&ours).await;
        let writer = ours.clone();
        let writing = spawn(async move { writer.writable().await });
        yield_now().await;
        theirs.write_all(b"y").unwrap();
        ours.readable().await.unwrap();
        assert_eq!(taken(&ours).await, 1);
        assert!(!writing.is_finished(), "bytes are no room");
        let mut buffer = vec![0; 65_536];
        let mut rest = filled;
        while rest > 0 {
            rest -= theirs.read(&mut buffer).unwrap();
        }
        writing.await.unwrap().unwrap();
    });
}

/// Row 28: two wait, both are woken, one takes the byte: the other tries once and sleeps again.
#[test]
fn a_source_that_only_seemed_readable_costs_one_attempt() {
    run(async {
        let (ours, mut theirs) = pair_with_std();
        let ours = Rc::new(ours);
        let polls = Rc::new(Cell::new(0));
        let mut readers = Vec::new();
        for _ in 0..2 {
            let (ours, polls) = (ours.clone(), polls.clone());
            readers.push(spawn(async move {
                let mut waiting = pin!(async {
                    loop {
                        ours.readable().await.unwrap();
                        match ours.try_read(&mut [0; 1]) {
                            Ok(read) => return read,
                            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                        }
                    }
                });
                counted(&polls, waiting.as_mut()).await
            }));
        }
        yield_now().await;
        assert_eq!(polls.get(), 2);
        theirs.write_all(b"1").unwrap();
        let before = thread_cpu();
        sleep(Duration::from_millis(100)).await;
        if !wakering::internals::faults::ON {
            assert_eq!(polls.get(), 4, "each was woken once, and one of them sleeps again");
        }
        let spent = thread_cpu().zip(before).map_or(0, |(now, before)| now - before);
        assert!(spent < 50_000_000, "it spins: {spent} ns");
        theirs.write_all(b"2").unwrap();
        for reader in readers {
            assert_eq!(reader.await.unwrap(), 1);
        }
    });
}

/// Row 29, at every boundary: the end comes with the last bytes, or right behind them.
#[test]
fn the_end_is_found_whatever_part_of_the_last_bytes_was_read() {
    run(async {
        for room in [1, 2, 7, 99, 100, 101, 4_096] {
            for registered in [false, true] {
                let (mut ours, mut theirs) = pair_with_std();
                if registered {
                    assert!(poll_once(pin!(ours.readable())).await.is_pending());
                }
                theirs.write_all(&[1; 100]).unwrap();
                drop(theirs);
                let (mut buffer, mut total) = (vec![0; room], 0);
                loop {
                    match ours.read(&mut buffer).await.unwrap() {
                        0 => break,
                        read => total += read,
                    }
                }
                assert_eq!(total, 100, "room {room}, registered {registered}");
                assert_eq!(ours.read(&mut buffer).await.unwrap(), 0, "and it stays the end");
            }
        }
    });
}

/// Row 30: a Unix stream stops a read where a descriptor was passed, and no further edge comes for what is behind.
#[test]
fn a_read_that_stops_at_a_passed_descriptor_is_not_taken_for_drained() {
    run(async {
        for _ in 0..20 {
            let (mut ours, mut theirs) = UnixStream::pair().unwrap();
            assert!(poll_once(pin!(ours.readable())).await.is_pending());
            let passed = File::open("/dev/null").unwrap();
            theirs.write_all(b"before").await.unwrap();
            assert_eq!(theirs.send_fds(b"with", &[passed.as_fd()]).await.unwrap(), 4);
            theirs.write_all(b"behind").await.unwrap();
            let (mut buffer, mut got) = ([0; 64], Vec::new());
            while got.len() < 16 {
                let read = ours.read(&mut buffer).await.unwrap();
                assert!(read > 0);
                got.extend_from_slice(&buffer[..read]);
            }
            assert_eq!(got, b"beforewithbehind");
        }
    });
}

/// Row 33: nothing to read, no room to write, and then the connection is gone.
#[test]
fn a_connection_that_is_gone_wakes_who_waits_in_either_direction() {
    run(async {
        for _ in 0..20 {
            let (ours, theirs) = pair_with_std();
            let ours = Rc::new(ours);
            fill(&ours).await;
            let (reader, writer) = (ours.clone(), ours.clone());
            let reading = spawn(async move { reader.readable().await });
            let writing = spawn(async move { writer.writable().await });
            yield_now().await;
            assert!(!reading.is_finished() && !writing.is_finished());
            reset(theirs);
            reading.await.unwrap().unwrap();
            writing.await.unwrap().unwrap();
            let error = loop {
                match ours.try_read(&mut [0; 8]) {
                    Ok(read) => panic!("{read} bytes of a connection that was reset"),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => ours.readable().await.unwrap(),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
    });
}

/// Row 35: urgent data alone is nothing to read: whoever waits is woken at most once for it.
#[test]
fn urgent_data_alone_makes_nobody_spin_and_hides_nothing_that_follows() {
    run(async {
        let (mut ours, mut theirs) = pair_with_std();
        let polls = Cell::new(0);
        let mut buffer = [0; 64];
        {
            let mut reading = pin!(ours.read(&mut buffer));
            assert!(poll_once(reading.as_mut()).await.is_pending());
            send_urgent(&theirs, b'!');
            let before = thread_cpu();
            let mut reading = pin!(counted(&polls, reading));
            let waited = wakering::time::timeout(Duration::from_millis(60), reading.as_mut()).await;
            assert!(waited.is_err(), "there is nothing to read");
            let spent = thread_cpu().zip(before).map_or(0, |(now, before)| now - before);
            assert!(spent < 40_000_000, "it spins: {spent} ns");
            assert!(polls.get() < 20, "it spins: {} polls", polls.get());
            theirs.write_all(b"and then bytes").unwrap();
            assert!(reading.await.unwrap() > 0);
        }
    });
}

/// Row 36: more descriptors are ready than one wait reports.
#[test]
fn more_ready_descriptors_than_one_wait_reports_are_all_served() {
    // Twice as many descriptors as connections, beside those of the other tests: a process of its own.
    if !in_child("more_ready_descriptors_than_one_wait_reports_are_all_served", "ulimit -n 8192 || exit 1") {
        return;
    }
    const CONNECTIONS: usize = 1_024 + 300;
    run(async {
        let (mut tasks, mut peers) = (Vec::new(), Vec::new());
        for _ in 0..CONNECTIONS {
            let (mut ours, theirs) = pair_with_std();
            peers.push(theirs);
            tasks.push(spawn(async move {
                for _ in 0..3 {
                    ours.read_exact(&mut [0; 1]).await.unwrap();
                }
            }));
        }
        yield_now().await;
        for _ in 0..3 {
            for peer in &mut peers {
                peer.write_all(b"x").unwrap();
            }
            yield_now().await;
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// Row 38: nothing is known of a fresh connection, so it is tried once, and then it waits.
#[test]
fn a_fresh_connection_is_tried_once_and_then_sleeps() {
    run(async {
        let (mut ours, mut theirs) = pair_with_std();
        let polls = Cell::new(0);
        let mut byte = [0; 1];
        let mut reading = pin!(ours.read(&mut byte));
        let limit = Duration::from_millis(50);
        let waited = wakering::time::timeout(limit, counted(&polls, reading.as_mut())).await;
        assert!(waited.is_err());
        // The registration reports that there is room to write, which is nothing to the reader; and the time limit.
        assert!(polls.get() <= 3, "{} polls", polls.get());
        theirs.write_all(b"x").unwrap();
        assert_eq!(reading.await.unwrap(), 1);
    });
}
