//! UDP in batches and trains, and what travels beside the bytes.

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
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdSocket},
    pin::pin,
    rc::Rc,
    time::Duration,
};

use support::{LOOPBACK, pattern, poll_once, run, send_without_checksums};
use wakering::{
    net::{Ecn, RecvBatch, SendBatch, Transmit, UdpSocket},
    spawn, time,
};

const LINUX: bool = cfg!(any(target_os = "linux", target_os = "android"));
const LOOPBACK_V6: (Ipv6Addr, u16) = (Ipv6Addr::LOCALHOST, 0);

fn pair() -> (UdpSocket, UdpSocket, SocketAddr) {
    let (one, two) = (UdpSocket::bind(LOOPBACK).unwrap(), UdpSocket::bind(LOOPBACK).unwrap());
    two.set_recv_buffer_size(4 << 20).unwrap();
    let target = two.local_addr().unwrap();
    (one, two, target)
}

/// Receives until `count` datagrams have come, by batches.
async fn collect(socket: &UdpSocket, batch: &mut RecvBatch, count: usize) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while all.len() < count {
        let received = socket.recv_batch(batch).await.unwrap();
        assert_eq!(received, batch.len());
        assert!(received > 0);
        for message in batch.messages() {
            assert!(!message.truncated);
            all.extend(message.datagrams().map(<[u8]>::to_vec));
        }
    }
    all
}

#[test]
fn a_batch_brings_every_datagram_once_in_order_with_its_exact_bytes() {
    run(async {
        let (one, two, target) = pair();
        let source = one.local_addr().unwrap();
        // Mixed sizes, with empty ones.
        let sent: Vec<Vec<u8>> = (0..100).map(|at| pattern(at, (at as usize * 37) % 1400)).collect();
        let mut outgoing = SendBatch::new();
        outgoing.extend(sent.iter().map(|bytes| Transmit::to(target, bytes)));
        assert_eq!((outgoing.len(), outgoing.sent()), (100, 0));
        assert_eq!(one.send_batch(&mut outgoing).await.unwrap(), 100);
        assert_eq!((outgoing.len(), outgoing.sent()), (0, 100));
        let mut batch = RecvBatch::new(64, 1500);
        assert_eq!(batch.capacity(), 64);
        let first = two.recv_batch(&mut batch).await.unwrap();
        assert!(first == 64 || wakering::internals::faults::ON, "as many as there is room for");
        assert!(batch.messages().all(|message| message.source == source));
        assert_eq!(batch.get(first - 1).unwrap().bytes, sent[first - 1]);
        assert!(batch.get(first).is_none());
        assert!(collect(&two, &mut batch, 100 - first).await == sent[first..]);
        let nothing = two.try_recv_batch(&mut batch).unwrap_err();
        assert_eq!((nothing.kind(), batch.len()), (ErrorKind::WouldBlock, 0));
        assert_eq!(one.send_batch(&mut outgoing).await.unwrap(), 0, "an empty batch is sent at once");
    });
}

/// The product of both sizes must not wrap around: the kernel would write behind the memory.
#[test]
fn room_beyond_what_a_datagram_can_be_is_room_for_the_longest() {
    run(async {
        let (one, two, target) = pair();
        let sent = pattern(1, 60_000);
        for bytes in [usize::MAX, usize::MAX / 1024 + 2, 65_536] {
            let mut batch = RecvBatch::new(1024, bytes);
            assert_eq!(one.send_to(&sent, target).await.unwrap(), sent.len());
            assert_eq!(two.recv_batch(&mut batch).await.unwrap(), 1);
            let message = batch.get(0).unwrap();
            assert!(message.bytes == sent && !message.truncated, "{bytes}");
        }
    });
}

#[test]
fn a_batch_over_ipv6_and_to_a_connected_peer() {
    run(async {
        let (one, two) = (UdpSocket::bind(LOOPBACK_V6).unwrap(), UdpSocket::bind(LOOPBACK_V6).unwrap());
        one.connect(two.local_addr().unwrap()).unwrap();
        let mut outgoing = SendBatch::new();
        outgoing.push(Transmit::to_peer(b"one"));
        outgoing.push(Transmit::to_peer(b"").ecn(Ecn::Ect1));
        outgoing.push(Transmit::to(two.local_addr().unwrap(), b"three"));
        assert_eq!(one.send_batch(&mut outgoing).await.unwrap(), 3);
        let mut batch = RecvBatch::new(8, 16);
        assert_eq!(collect(&two, &mut batch, 3).await, [&b"one"[..], b"", b"three"]);
        assert_eq!(batch.get(0).unwrap().source, one.local_addr().unwrap());
    });
}

#[test]
fn a_datagram_longer_than_its_room_is_cut_and_told_and_its_neighbours_are_whole() {
    if exact::calls_may_fail() {
        return;
    }
    run(async {
        let (one, two, target) = pair();
        for datagram in [&b"exactly8"[..], b"longer than eight", b"", b"short"] {
            one.send_to(datagram, target).await.unwrap();
        }
        let mut batch = RecvBatch::new(8, 8);
        two.readable().await.unwrap();
        assert_eq!(two.recv_batch(&mut batch).await.unwrap(), 4);
        let seen: Vec<_> = batch.messages().map(|message| (message.bytes, message.truncated)).collect();
        let expected = [(&b"exactly8"[..], false), (b"longer t", true), (b"", false), (b"short", false)];
        assert_eq!(seen, expected);
        batch.clear();
        assert!(batch.is_empty());
    });
}

#[test]
fn a_dropped_receive_of_a_batch_takes_no_datagram() {
    run(async {
        let (one, two, target) = pair();
        let mut batch = RecvBatch::new(8, 64);
        for round in 0..50_u8 {
            assert!(poll_once(pin!(two.recv_batch(&mut batch))).await.is_pending());
            one.send_to(&[round], target).await.unwrap();
            assert_eq!(collect(&two, &mut batch, 1).await, [[round]]);
        }
    });
}

/// hard-bugs row 46
#[test]
fn a_batch_sent_in_part_goes_on_where_it_stopped_and_tells_how_much_was_sent() {
    run(async {
        let (one, two, target) = pair();
        let sent: Vec<[u8; 4]> = (0..400_u32).map(u32::to_be_bytes).collect();
        let mut outgoing = SendBatch::new();
        outgoing.extend(sent.iter().map(|bytes| Transmit::to(target, bytes)));
        let mut before = 0;
        {
            // The budget of a task ends before four hundred datagrams: the future is dropped in the middle.
            let mut sending = pin!(one.send_batch(&mut outgoing));
            assert!(poll_once(sending.as_mut()).await.is_pending());
        }
        wakering::yield_now().await;
        while !outgoing.is_empty() {
            assert!(outgoing.sent() > before || wakering::internals::faults::ON, "every poll gets on");
            assert_eq!(outgoing.sent() + outgoing.len(), 400, "nothing is lost and nothing counted twice");
            assert_eq!(outgoing.unsent()[0].contents(), sent[outgoing.sent()]);
            before = outgoing.sent();
            drop(poll_once(pin!(one.send_batch(&mut outgoing))).await);
            wakering::yield_now().await;
        }
        assert_eq!(outgoing.sent(), 400);
        let mut batch = RecvBatch::new(128, 4);
        assert_eq!(collect(&two, &mut batch, 400).await, sent);
    });
}

/// hard-bugs row 46
#[test]
fn a_full_send_buffer_stops_a_batch_exactly_and_it_goes_on_when_there_is_room() {
    if !LINUX {
        return; // What is in flight on loopback counts against the sender on Linux alone.
    }
    run(async {
        let (one, two, target) = pair();
        one.set_send_buffer_size(4608).unwrap();
        // Nobody takes them yet, and the receiver's queue holds them on the sender's account.
        let sent: Vec<Vec<u8>> = (0..64).map(|seed| pattern(seed, 1000)).collect();
        let mut outgoing = SendBatch::new();
        outgoing.extend(sent.iter().map(|bytes| Transmit::to(target, bytes)));
        let mut batch = RecvBatch::new(16, 2048);
        let mut got = Vec::new();
        while !outgoing.is_empty() {
            match one.try_send_batch(&mut outgoing) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            assert_eq!(outgoing.sent() + outgoing.len(), 64);
            let due = outgoing.sent() - got.len();
            got.extend(collect(&two, &mut batch, due).await);
        }
        assert!(got == sent);
    });
}

#[test]
fn the_error_of_one_datagram_is_told_once_and_the_rest_of_the_batch_goes_on() {
    run(async {
        let (one, two, target) = pair();
        let too_long = vec![0; 70_000];
        let mut outgoing = SendBatch::new();
        outgoing.extend([
            Transmit::to(target, b"a"),
            Transmit::to(target, b"b"),
            Transmit::to(target, &too_long),
            Transmit::to(target, b"c"),
            Transmit::to(target, b"d").source(IpAddr::from(Ipv6Addr::LOCALHOST)),
            Transmit::to(target, b"e"),
        ]);
        let error = one.send_batch(&mut outgoing).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
        // Where a call would block on demand, whose error it was shows later; it is told once all the same.
        assert!(
            [(2, 3), (2, 4)][..1 + usize::from(wakering::internals::faults::ON)]
                .contains(&(outgoing.sent(), outgoing.len()))
        );
        if !wakering::internals::faults::ON {
            assert_eq!(outgoing.failed().unwrap().contents().len(), 70_000);
        }
        let error = one.send_batch(&mut outgoing).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "the families differ");
        assert_eq!(outgoing.sent(), 3);
        assert_eq!(one.send_batch(&mut outgoing).await.unwrap(), 1);
        assert!(outgoing.failed().is_none());
        let mut batch = RecvBatch::new(8, 64);
        assert_eq!(collect(&two, &mut batch, 4).await, [b"a", b"b", b"c", b"e"]);
    });
}

/// hard-bugs row 44
#[test]
fn an_icmp_error_interrupts_a_batch_once_and_no_datagram_of_it_is_lost() {
    if !LINUX {
        return; // Others tell it later or not at all.
    }
    run(async {
        let one = UdpSocket::bind(LOOPBACK).unwrap();
        let gone = StdSocket::bind(LOOPBACK).unwrap().local_addr().unwrap();
        one.connect(gone).unwrap();
        one.send(b"anybody?").await.unwrap();
        // The error waits. Somebody is there now.
        let back = UdpSocket::bind(gone).unwrap();
        let mut outgoing = SendBatch::new();
        outgoing.extend([b"1", b"2", b"3"].map(|bytes| Transmit::to_peer(bytes)));
        let error = one.send_batch(&mut outgoing).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert!(outgoing.failed().is_none(), "it was about an earlier one");
        one.send_batch(&mut outgoing).await.unwrap();
        assert_eq!(outgoing.sent(), 3);
        let mut batch = RecvBatch::new(8, 8);
        assert_eq!(collect(&back, &mut batch, 3).await, [b"1", b"2", b"3"]);
    });
}

/// hard-bugs row 44
#[test]
fn an_icmp_error_ends_the_wait_for_a_batch_once() {
    run(async {
        let one = UdpSocket::bind(LOOPBACK).unwrap();
        let gone = StdSocket::bind(LOOPBACK).unwrap().local_addr().unwrap();
        one.connect(gone).unwrap();
        let mut batch = RecvBatch::new(8, 8);
        assert!(poll_once(pin!(one.recv_batch(&mut batch))).await.is_pending());
        one.send(b"anybody?").await.unwrap();
        let error = one.recv_batch(&mut batch).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert!(batch.is_empty());
        let back = UdpSocket::bind(gone).unwrap();
        assert!(poll_once(pin!(one.recv_batch(&mut batch))).await.is_pending(), "once");
        back.send_to(b"here", one.local_addr().unwrap()).await.unwrap();
        assert_eq!(collect(&one, &mut batch, 1).await, [b"here"]);
    });
}

#[test]
fn a_train_arrives_as_its_datagrams_whoever_cuts_it_up() {
    run(async {
        // Lengths around every edge: one datagram, a short last one, more than one train, and more than 64 KiB in one.
        let cases = [
            (0, 100),
            (99, 100),
            (100, 100),
            (101, 100),
            (6400, 100),
            (6401, 100),
            (90_000, 1200),
            (5, 0),
            (130_000, 40_000),
        ];
        for gro in [false, true] {
            for refused in [false, true] {
                let (one, two, target) = pair();
                two.set_recv_buffer_size(4 << 20).unwrap();
                if gro && two.set_gro(true).is_err() {
                    continue;
                }
                assert_eq!(two.gro().unwrap(), gro);
                if refused && LINUX {
                    send_without_checksums(&one);
                }
                let mut batch = RecvBatch::for_trains(32);
                for (length, size) in cases {
                    let bytes = pattern(length as u64 + 1, length);
                    let train = Transmit::to(target, &bytes).segment_size(size);
                    let expected: Vec<&[u8]> =
                        if length == 0 || size == 0 { vec![&bytes] } else { bytes.chunks(size).collect() };
                    assert_eq!(train.datagrams(), expected.len());
                    // In one go, by itself and in company.
                    one.send_message(&train).await.unwrap();
                    assert!(
                        collect(&two, &mut batch, expected.len()).await == expected,
                        "{length} by {size}, GRO {gro}"
                    );
                    let mut outgoing = SendBatch::new();
                    outgoing.extend([Transmit::to(target, b"before"), train, Transmit::to(target, b"after")]);
                    assert_eq!(one.send_batch(&mut outgoing).await.unwrap(), expected.len() + 2);
                    let got = collect(&two, &mut batch, expected.len() + 2).await;
                    assert!(got[0] == b"before" && got[got.len() - 1] == b"after");
                    assert!(got[1..got.len() - 1] == expected, "{length} by {size}, GRO {gro}");
                }
                assert_eq!(one.gso(), LINUX && !refused, "a refusal is remembered");
            }
        }
    });
}

/// hard-bugs row 47
#[test]
fn a_train_that_the_kernel_refuses_is_sent_one_by_one_and_not_tried_again() {
    if !LINUX {
        return; // Nobody else cuts trains up.
    }
    run(async {
        let (one, two, target) = pair();
        if !one.gso() {
            return; // Nor does Linux before 4.18.
        }
        send_without_checksums(&one);
        let bytes = pattern(1, 1000);
        one.send_message(&Transmit::to(target, &bytes).segment_size(300)).await.unwrap();
        assert!(!one.gso(), "it is off for this socket");
        let mut batch = RecvBatch::new(8, 2000);
        assert!(collect(&two, &mut batch, 4).await == bytes.chunks(300).collect::<Vec<_>>());
        assert!(two.gso(), "and for this one alone");
    });
}

/// hard-bugs row 47
#[test]
fn an_error_that_is_no_matter_of_trains_turns_nothing_off() {
    if !LINUX {
        return;
    }
    run(async {
        let (one, two, target) = pair();
        if !one.gso() {
            return;
        }
        let bytes = pattern(1, 1000);
        // 192.0.2.1 is nobody's here (RFC 5737): EINVAL, with a train or without.
        let nobody = IpAddr::from([192, 0, 2, 1]);
        let train = Transmit::to(target, &bytes).segment_size(300);
        assert!(one.send_message(&train.source(nobody)).await.is_err());
        assert!(one.gso());
        one.send_message(&train).await.unwrap();
        let mut batch = RecvBatch::new(8, 2000);
        assert_eq!(collect(&two, &mut batch, 4).await.len(), 4);
    });
}

#[test]
fn datagrams_of_one_size_come_together_and_are_told_apart() {
    run(async {
        let (one, two, target) = pair();
        if let Err(error) = two.set_gro(true) {
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            return; // No other system than Linux puts them together.
        }
        let bytes = pattern(5, 32 * 1200 + 7);
        one.send_message(&Transmit::to(target, &bytes).segment_size(1200)).await.unwrap();
        let mut buffer = vec![0; 65_535];
        let message = two.recv_message(&mut buffer).await.unwrap();
        assert_eq!((message.bytes.len(), message.segment_size), (bytes.len(), 1200), "one call for all");
        assert_eq!(message.source, one.local_addr().unwrap());
        let lengths: Vec<usize> = message.datagrams().map(<[u8]>::len).collect();
        assert_eq!(lengths, [&[1200; 32][..], &[7]].concat());
        assert!(message.bytes == bytes);
        // A buffer that is too small cuts the train, and that is told.
        one.send_message(&Transmit::to(target, &bytes).segment_size(1200)).await.unwrap();
        let message = two.recv_message(&mut buffer[..3000]).await.unwrap();
        assert!(message.truncated);
        assert_eq!(message.bytes.len(), 3000);
    });
}

#[test]
fn congestion_marks_travel_both_ways_over_both_families() {
    run(async {
        for any in [SocketAddr::from(LOOPBACK), SocketAddr::from(LOOPBACK_V6)] {
            let (one, two) = (UdpSocket::bind(any).unwrap(), UdpSocket::bind(any).unwrap());
            if let Err(error) = two.set_recv_ecn(true) {
                assert_eq!(error.kind(), ErrorKind::Unsupported);
                continue;
            }
            let target = two.local_addr().unwrap();
            let marks = [Ecn::NotEct, Ecn::Ect1, Ecn::Ect0, Ecn::Ce];
            let mut outgoing = SendBatch::new();
            outgoing.extend(marks.map(|mark| Transmit::to(target, b"x").ecn(mark)));
            one.send_batch(&mut outgoing).await.unwrap();
            let mut buffer = [0; 8];
            for mark in marks {
                let message = two.recv_message(&mut buffer).await.unwrap();
                assert_eq!(message.ecn, Some(mark));
                assert_eq!(Ecn::from_bits(mark.bits()), mark);
            }
            // Of the socket, and on a connected one.
            one.set_tos(0b1010_0010).unwrap();
            assert_eq!(one.tos().unwrap(), 0b1010_0010);
            one.send_to(b"x", target).await.unwrap();
            assert_eq!(two.recv_message(&mut buffer).await.unwrap().ecn, Some(Ecn::Ect0));
            one.connect(target).unwrap();
            one.send_message(&Transmit::to_peer(b"x").ecn(Ecn::Ce)).await.unwrap();
            assert_eq!(two.recv_message(&mut buffer).await.unwrap().ecn, Some(Ecn::Ce));
            two.set_recv_ecn(false).unwrap();
            one.send(b"x").await.unwrap();
            assert_eq!(two.recv_message(&mut buffer).await.unwrap().ecn, None);
        }
    });
}

#[test]
fn a_server_on_every_address_answers_from_the_one_that_it_was_asked_at() {
    if !LINUX {
        return; // 127.0.0.2 is everybody's own on Linux alone.
    }
    run(async {
        let server = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        server.set_recv_packet_info(true).unwrap();
        let port = server.local_addr().unwrap().port();
        let second = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), port));
        let client = UdpSocket::bind(LOOPBACK).unwrap();
        client.send_to(b"ping", second).await.unwrap();
        let mut buffer = [0; 16];
        let message = server.recv_message(&mut buffer).await.unwrap();
        assert_eq!(message.destination, Some(second.ip()));
        assert_eq!(message.local, Some(second.ip()));
        assert_eq!(message.interface, Some(wakering::net::interface_index("lo").unwrap()));
        server.send_message(&message.reply(b"pong")).await.unwrap();
        assert_eq!(client.recv_from(&mut buffer).await.unwrap().source, second);
        // In a batch, too.
        client.send_to(b"ping", second).await.unwrap();
        let (mut batch, mut answers) = (RecvBatch::new(4, 16), SendBatch::new());
        server.recv_batch(&mut batch).await.unwrap();
        answers.extend(batch.messages().map(|message| message.reply(message.bytes)));
        server.send_batch(&mut answers).await.unwrap();
        assert_eq!(client.recv_from(&mut buffer).await.unwrap().source, second);
    });
}

#[test]
fn packet_information_over_ipv6_and_on_a_socket_of_both_families() {
    run(async {
        let server = UdpSocket::builder().v6only(false).bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        server.set_recv_packet_info(true).unwrap();
        let port = server.local_addr().unwrap().port();
        let mut buffer = [0; 16];
        let client = UdpSocket::bind(LOOPBACK_V6).unwrap();
        client.send_to(b"six", (Ipv6Addr::LOCALHOST, port).into()).await.unwrap();
        let message = server.recv_message(&mut buffer).await.unwrap();
        assert_eq!(message.destination, Some(Ipv6Addr::LOCALHOST.into()));
        assert!(message.interface.unwrap() > 0);
        server.send_message(&message.reply(b"pong").ecn(Ecn::Ect0)).await.unwrap();
        assert_eq!(client.recv(&mut buffer).await.unwrap(), 4);
        if !LINUX {
            return; // Not every system takes both families on one socket.
        }
        let second = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), port));
        let client = UdpSocket::bind(LOOPBACK).unwrap();
        client.set_recv_ecn(true).unwrap();
        client.send_to(b"four", second).await.unwrap();
        let message = server.recv_message(&mut buffer).await.unwrap();
        assert_eq!(message.destination.map(|ip| ip.to_canonical()), Some(second.ip()));
        server.send_message(&message.reply(b"pong").ecn(Ecn::Ect0)).await.unwrap();
        let answer = client.recv_message(&mut buffer).await.unwrap();
        assert_eq!((answer.source, answer.ecn), (second, Some(Ecn::Ect0)));
    });
}

#[test]
fn batches_that_are_used_again_allocate_nothing() {
    if wakering::internals::faults::ON {
        return; // What fails on demand is noted down.
    }
    run(async {
        let (one, two, target) = pair();
        drop(two.set_gro(true));
        let mut received = RecvBatch::for_trains(16);
        let mut spare = SendBatch::new();
        let bytes = pattern(9, 5000);
        let mut round = || {
            let mut outgoing = std::mem::take(&mut spare).recycle();
            for at in 0..4 {
                outgoing.push(Transmit::to(target, &bytes[at..]).segment_size(1000).ecn(Ecn::Ect0));
            }
            while !outgoing.is_empty() {
                one.try_send_batch(&mut outgoing).unwrap();
            }
            spare = outgoing.recycle();
            let mut got = 0;
            while got < 20 {
                if two.try_recv_batch(&mut received).is_ok() {
                    got += received.messages().map(|message| message.datagrams().count()).sum::<usize>();
                }
            }
        };
        round();
        let seen = allocation_counter::measure(|| (0..50).for_each(|_| round()));
        assert_eq!(seen.count_total, 0);
    });
}

#[test]
fn ten_thousand_datagrams_do_not_starve_a_timer() {
    run(async {
        let (one, two, target) = pair();
        let (one, stop) = (Rc::new(one), Rc::new(Cell::new(false)));
        let (sender, ended) = (one.clone(), stop.clone());
        let count = Rc::new(Cell::new(0));
        let counted = count.clone();
        // More are there than anybody takes, always.
        let flood = spawn(async move {
            let bytes = [7; 64];
            while !ended.get() {
                let mut outgoing = SendBatch::new();
                outgoing.extend((0..64).map(|_| Transmit::to(target, &bytes)));
                counted.set(counted.get() + sender.send_batch(&mut outgoing).await.unwrap());
            }
        });
        let ended = stop.clone();
        let drain = spawn(async move {
            let (mut batch, mut got) = (RecvBatch::new(32, 64), 0);
            while !ended.get() {
                got += two.recv_batch(&mut batch).await.unwrap();
            }
            got
        });
        let mut ticks = 0;
        while ticks < 20 || count.get() < 10_000 {
            let before = std::time::Instant::now();
            time::sleep(Duration::from_millis(1)).await;
            assert!(before.elapsed() < Duration::from_secs(20), "a timer waited for {:?}", before.elapsed());
            ticks += 1;
        }
        stop.set(true);
        // Whoever of the two waits now is let go.
        one.send_to(&[1], target).await.unwrap();
        flood.await.unwrap();
        assert!(drain.await.unwrap() > 0);
    });
}
