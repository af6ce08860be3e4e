//! UDP sockets.

#![expect(
    clippy::unwrap_used,
    reason = "tests may unwrap, and clippy takes only what is marked #[test] for one"
)]

#[path = "support/exact.rs"]
mod exact;
#[path = "support/net.rs"]
mod support;

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdSocket},
    pin::pin,
    rc::Rc,
    time::Duration,
};

use support::{LOOPBACK, poll_once, run};
use wakering::{
    net::{AddressAction, AddressError, Transmit, UdpSocket, interface_index},
    spawn, time,
};

fn pair() -> (UdpSocket, UdpSocket) {
    (UdpSocket::bind(LOOPBACK).unwrap(), UdpSocket::bind(LOOPBACK).unwrap())
}

#[test]
fn datagrams_go_both_ways_over_both_families_connected_and_not() {
    run(async {
        for any in [SocketAddr::from(LOOPBACK), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))] {
            let (one, two) = (UdpSocket::bind(any).unwrap(), UdpSocket::bind(any).unwrap());
            let (first, second) = (one.local_addr().unwrap(), two.local_addr().unwrap());
            let mut buffer = [0; 64];
            assert_eq!(one.send_to(b"hello", second).await.unwrap(), 5);
            let got = two.recv_from(&mut buffer).await.unwrap();
            assert_eq!((got.len, got.source, got.truncated), (5, first, false));

            assert!(one.peer_addr().is_err());
            one.connect(second).unwrap();
            assert_eq!(one.peer_addr().unwrap(), second);
            two.connect(first).unwrap();
            assert_eq!(one.send(b"again").await.unwrap(), 5);
            assert_eq!(two.recv(&mut buffer).await.unwrap(), 5);
            assert_eq!(&buffer[..5], b"again");
        }
    });
}

#[test]
fn a_connected_socket_hears_nobody_else() {
    run(async {
        let (one, two) = pair();
        let stranger = UdpSocket::bind(LOOPBACK).unwrap();
        one.connect(two.local_addr().unwrap()).unwrap();
        stranger.send_to(b"psst", one.local_addr().unwrap()).await.unwrap();
        two.send_to(b"friend", one.local_addr().unwrap()).await.unwrap();
        let mut buffer = [0; 64];
        assert_eq!(one.recv(&mut buffer).await.unwrap(), 6);
        assert_eq!(one.try_recv(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn an_empty_datagram_is_no_end_and_a_cut_one_is_told() {
    run(async {
        let (one, two) = pair();
        let target = two.local_addr().unwrap();
        for datagram in [&b"before"[..], b"", b"", b"longer than the buffer", b"exactly8"] {
            assert_eq!(one.send_to(datagram, target).await.unwrap(), datagram.len());
        }
        let mut buffer = [0; 8];
        let expected = [(6, false), (0, false), (0, false), (8, true), (8, false)];
        for (len, truncated) in expected {
            let seen = two.peek_from(&mut buffer).await.unwrap();
            assert_eq!(two.recv_from(&mut buffer).await.unwrap(), seen);
            assert_eq!((seen.len, seen.truncated), (len, truncated));
        }
        assert_eq!(&buffer, b"exactly8");
        one.send_to(b"", target).await.unwrap();
        assert_eq!(two.recv(&mut buffer).await.unwrap(), 0);
        one.connect(target).unwrap();
        assert_eq!(one.send(b"").await.unwrap(), 0);
        assert_eq!(two.recv(&mut buffer).await.unwrap(), 0, "it was really sent");
    });
}

#[test]
fn an_icmp_error_is_told_once_and_the_socket_lives() {
    run(async {
        let socket = UdpSocket::bind(LOOPBACK).unwrap();
        let gone = StdSocket::bind(LOOPBACK).unwrap();
        let address = gone.local_addr().unwrap();
        drop(gone);
        socket.connect(address).unwrap();
        let mut buffer = [0; 16];
        // Found by a receive that waits, and that is registered with the selector.
        assert!(poll_once(pin!(socket.recv(&mut buffer))).await.is_pending());
        socket.send(b"anybody?").await.unwrap();
        let error = socket.recv(&mut buffer).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        // Once: the next one waits, and does not spin.
        let before = support::thread_cpu();
        assert!(time::timeout(Duration::from_millis(200), socket.recv(&mut buffer)).await.is_err());
        if let (Some(before), Some(after)) = (before, support::thread_cpu()) {
            assert!(after - before < 100_000_000, "{} ns on the CPU in 200 ms of waiting", after - before);
        }
        // Found by a send: that one was not sent, the next one is.
        socket.send(b"anybody?").await.unwrap();
        assert_eq!(socket.send(b"lost").await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let back = UdpSocket::bind(address).unwrap();
        socket.send(b"there you are").await.unwrap();
        let got = back.recv_from(&mut buffer).await.unwrap();
        back.send_to(&buffer[..got.len], got.source).await.unwrap();
        assert_eq!(socket.recv(&mut buffer).await.unwrap(), 13);
    });
}

#[test]
fn an_unconnected_socket_is_not_bothered_by_the_fate_of_its_datagrams() {
    run(async {
        let (one, two) = pair();
        let gone = StdSocket::bind(LOOPBACK).unwrap().local_addr().unwrap();
        for _ in 0..10 {
            one.send_to(b"anybody?", gone).await.unwrap();
        }
        one.send_to(b"you", two.local_addr().unwrap()).await.unwrap();
        assert_eq!(two.recv(&mut [0; 16]).await.unwrap(), 3);
    });
}

#[test]
fn a_datagram_that_is_too_large_is_an_error_of_its_own_call() {
    run(async {
        let (one, two) = pair();
        let target = two.local_addr().unwrap();
        let error = one.send_to(&vec![0; 70_000], target).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
        one.send_to(b"small", target).await.unwrap();
        assert_eq!(two.recv(&mut [0; 16]).await.unwrap(), 5);
        // The largest there is over IPv4: 16 bits less the two headers.
        let largest = vec![3; 65_507];
        two.set_recv_buffer_size(1 << 20).unwrap();
        one.set_send_buffer_size(1 << 20).unwrap();
        assert_eq!(one.send_to(&largest, target).await.unwrap(), largest.len());
        let mut buffer = vec![0; 65_535];
        assert_eq!(two.recv(&mut buffer).await.unwrap(), largest.len());
        assert!(buffer[..largest.len()] == largest);
    });
}

#[test]
fn a_receive_that_is_dropped_loses_no_datagram() {
    run(async {
        let (one, two) = pair();
        let target = two.local_addr().unwrap();
        for round in 0..50_u8 {
            assert!(poll_once(pin!(two.recv(&mut [0; 4]))).await.is_pending());
            one.send_to(&[round], target).await.unwrap();
            two.readable().await.unwrap();
            let mut buffer = [0; 4];
            assert_eq!(two.recv(&mut buffer).await.unwrap(), 1);
            assert_eq!(buffer[0], round);
        }
    });
}

#[test]
fn two_tasks_share_a_socket_and_each_datagram_goes_to_one() {
    run(async {
        let (one, two) = pair();
        let (target, two) = (two.local_addr().unwrap(), Rc::new(two));
        let tasks: Vec<_> = (0..2)
            .map(|_| {
                let socket = two.clone();
                spawn(async move {
                    let mut got = Vec::new();
                    let mut buffer = [0; 4];
                    loop {
                        assert_eq!(socket.recv(&mut buffer).await.unwrap(), 1);
                        if buffer[0] == u8::MAX {
                            return got;
                        }
                        got.push(buffer[0]);
                    }
                })
            })
            .collect();
        for round in 0..100 {
            one.send_to(&[round], target).await.unwrap();
            wakering::yield_now().await;
        }
        for _ in 0..2 {
            one.send_to(&[u8::MAX], target).await.unwrap();
        }
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await.unwrap());
        }
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<u8>>());
    });
}

#[test]
fn broadcasting_needs_leave() {
    run(async {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let everybody = SocketAddr::from((Ipv4Addr::BROADCAST, 9));
        assert!(!socket.broadcast().unwrap());
        assert_eq!(socket.send_to(b"x", everybody).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
        socket.set_broadcast(true).unwrap();
        assert!(socket.broadcast().unwrap());
        socket.set_ttl(3).unwrap();
        assert_eq!(socket.ttl().unwrap(), 3);
    });
}

#[test]
fn an_address_in_use_is_named_in_the_error() {
    let first = UdpSocket::bind(LOOPBACK).unwrap();
    let address = first.local_addr().unwrap();
    let error = UdpSocket::bind(address).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    let inner = error.get_ref().unwrap().downcast_ref::<AddressError>().unwrap();
    assert_eq!((inner.action(), inner.address()), (AddressAction::Bind, address));
}

#[test]
fn a_socket_of_the_standard_library_comes_in_and_goes_out() {
    run(async {
        let socket = UdpSocket::from_std(StdSocket::bind(LOOPBACK).unwrap()).unwrap();
        assert!(poll_once(pin!(socket.recv(&mut [0; 1]))).await.is_pending(), "it was made non-blocking");
        let socket = socket.into_std();
        socket.set_nonblocking(false).unwrap();
        let other = UdpSocket::bind(LOOPBACK).unwrap();
        other.send_to(b"x", socket.local_addr().unwrap()).await.unwrap();
        assert_eq!(socket.recv(&mut [0; 4]).unwrap(), 1);
    });
}

/// The name of the loopback interface.
const LOOP: &str = if cfg!(any(target_os = "linux", target_os = "android")) { "lo" } else { "lo0" };

#[test]
fn a_group_of_ipv4_is_joined_heard_and_left() {
    run(async {
        let group = Ipv4Addr::new(239, 255, 77, 2);
        let first = UdpSocket::builder().reuse_address(true).bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        let second = UdpSocket::builder().reuse_address(true).bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
        let sender = UdpSocket::bind(LOOPBACK).unwrap();
        sender.set_multicast_interface_v4(Ipv4Addr::LOCALHOST).unwrap();
        sender.set_multicast_ttl(3).unwrap();
        assert_eq!(sender.multicast_ttl().unwrap(), 3);
        let target = SocketAddr::from((group, port));
        for member in [&first, &second] {
            member.join_multicast_v4(group, Ipv4Addr::LOCALHOST).unwrap();
            let twice = member.join_multicast_v4(group, Ipv4Addr::LOCALHOST).unwrap_err();
            assert_eq!(twice.kind(), ErrorKind::AddrInUse);
        }
        let mut buffer = [0; 16];
        sender.send_to(b"both", target).await.unwrap();
        for member in [&first, &second] {
            assert_eq!(member.recv_from(&mut buffer).await.unwrap().source, sender.local_addr().unwrap());
        }
        // Who has left hears nothing more.
        first.leave_multicast_v4(group, Ipv4Addr::LOCALHOST).unwrap();
        second.leave_multicast_v4(group, Ipv4Addr::LOCALHOST).unwrap();
        sender.send_to(b"nobody", target).await.unwrap();
        second.join_multicast_v4(group, Ipv4Addr::LOCALHOST).unwrap();
        sender.send_to(b"one", target).await.unwrap();
        assert_eq!(second.recv(&mut buffer).await.unwrap(), 3);
        for on in [false, true] {
            sender.set_multicast_loop(on).unwrap();
            assert_eq!(sender.multicast_loop().unwrap(), on);
        }
        let never = first.leave_multicast_v4(group, Ipv4Addr::LOCALHOST).unwrap_err();
        assert_eq!(never.kind(), ErrorKind::AddrNotAvailable);
        assert!(first.join_multicast_v4(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST).is_err(), "it is no group");
    });
}

#[test]
fn a_datagram_to_a_group_tells_the_group_and_is_answered_from_the_host() {
    if !cfg!(any(target_os = "linux", target_vendor = "apple")) {
        return; // Others do not tell.
    }
    run(async {
        let group = Ipv4Addr::new(239, 255, 77, 3);
        let member = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        member.join_multicast_v4(group, Ipv4Addr::LOCALHOST).unwrap();
        member.set_recv_packet_info(true).unwrap();
        let sender = UdpSocket::bind(LOOPBACK).unwrap();
        sender.set_multicast_interface_v4(Ipv4Addr::LOCALHOST).unwrap();
        sender.send_to(b"who?", (group, member.local_addr().unwrap().port()).into()).await.unwrap();
        let mut buffer = [0; 16];
        let message = member.recv_message(&mut buffer).await.unwrap();
        assert_eq!(message.destination, Some(group.into()));
        assert_eq!(message.local, Some(Ipv4Addr::LOCALHOST.into()));
        assert_eq!(message.interface, Some(interface_index(LOOP).unwrap()));
        member.send_message(&message.reply(b"I")).await.unwrap();
        assert_eq!(sender.recv_from(&mut buffer).await.unwrap().source.ip(), Ipv4Addr::LOCALHOST);
    });
}

#[test]
fn a_group_of_ipv6_is_joined_heard_and_left() {
    run(async {
        let group = Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0x77, 4);
        let member = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        let target = SocketAddr::from((group, member.local_addr().unwrap().port()));
        member.set_recv_packet_info(true).unwrap();
        let sender = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        // A group of this scope (RFC 4291 §2.7) never leaves the host, nor does a datagram without hops.
        sender.set_multicast_ttl(0).unwrap();
        assert_eq!((sender.multicast_ttl().unwrap(), sender.multicast_loop().unwrap()), (0, true));
        let mut buffer = [0; 16];
        for interface in [interface_index(LOOP).unwrap(), 0] {
            if member.join_multicast_v6(group, interface).is_err() {
                continue; // Without a route for groups the system has nothing to choose.
            }
            sender.set_multicast_interface_v6(interface).unwrap();
            match sender.send_to(b"six", target).await {
                // Many a Linux has no route for groups on its loopback interface.
                Err(error) if error.kind() == ErrorKind::NetworkUnreachable => {}
                sent => {
                    sent.unwrap();
                    let message = member.recv_message(&mut buffer).await.unwrap();
                    assert_eq!((message.bytes, message.destination), (&b"six"[..], Some(group.into())));
                    // The interface may also be named beside each datagram.
                    let named = Transmit::to(target, b"seven").interface(message.interface.unwrap());
                    assert_eq!(message.local, None);
                    sender.send_message(&named).await.unwrap();
                    assert_eq!(member.recv(&mut buffer).await.unwrap(), 5);
                }
            }
            member.leave_multicast_v6(group, interface).unwrap();
            assert!(member.leave_multicast_v6(group, interface).is_err());
            drop(sender.send_to(b"nobody", target).await);
            assert_eq!(member.try_recv(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        }
    });
}

#[test]
fn a_socket_of_both_families_hears_ipv4_and_one_of_ipv6_alone_does_not() {
    if !cfg!(target_os = "linux") {
        return; // Not every system takes both on one socket.
    }
    run(async {
        let both = UdpSocket::builder().v6only(false).bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        let port = both.local_addr().unwrap().port();
        let four = UdpSocket::bind(LOOPBACK).unwrap();
        four.send_to(b"4", (Ipv4Addr::LOCALHOST, port).into()).await.unwrap();
        let mut buffer = [0; 16];
        let got = both.recv_from(&mut buffer).await.unwrap();
        assert_eq!(got.source.ip().to_canonical(), Ipv4Addr::LOCALHOST);
        both.send_to(b"back", got.source).await.unwrap();
        assert_eq!(four.recv(&mut buffer).await.unwrap(), 4);
        let six = UdpSocket::builder().v6only(true).bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        // The same port is free for IPv4.
        let port = six.local_addr().unwrap().port();
        assert!(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok());
    });
}

/// hard-bugs row 44
#[test]
fn reports_of_failed_datagrams_are_kept_and_a_queue_of_them_makes_no_wait_spin() {
    if exact::calls_may_fail() {
        return;
    }
    if !cfg!(target_os = "linux") {
        return; // No other system keeps them.
    }
    run(async {
        for any in [SocketAddr::from(LOOPBACK), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))] {
            let socket = UdpSocket::bind(any).unwrap();
            socket.set_error_reports(true).unwrap();
            assert_eq!(socket.take_report().unwrap(), None);
            let gone = StdSocket::bind(any).unwrap().local_addr().unwrap();
            let mut buffer = [0; 16];
            assert!(poll_once(pin!(socket.recv(&mut buffer))).await.is_pending());
            socket.send_to(b"anybody?", gone).await.unwrap();
            // It surfaces once, though the socket is not connected.
            let error = socket.recv(&mut buffer).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            // Nobody has taken the report, and the wait is a wait.
            let before = support::thread_cpu();
            assert!(time::timeout(Duration::from_millis(200), socket.recv(&mut buffer)).await.is_err());
            if let (Some(before), Some(after)) = (before, support::thread_cpu()) {
                assert!(
                    after - before < 100_000_000,
                    "{} ns on the CPU in 200 ms of waiting",
                    after - before
                );
            }
            let report = socket.take_report().unwrap().unwrap();
            assert_eq!(report.error().kind(), ErrorKind::ConnectionRefused);
            assert_eq!((report.target, report.reporter), (Some(gone), Some(any.ip())));
            assert_eq!((report.icmp, report.mtu), (Some(if any.is_ipv4() { (3, 3) } else { (1, 4) }), None));
            assert_eq!(socket.take_report().unwrap(), None);
            // Many: the latest are kept, and the socket lives.
            for _ in 0..200 {
                while socket.send_to(b"anybody?", gone).await.is_err() {}
            }
            while socket.try_recv(&mut buffer).unwrap_err().kind() != ErrorKind::WouldBlock {}
            let reports = std::iter::from_fn(|| socket.take_report().unwrap()).count();
            // Where calls fail on demand, some are still in the kernel's queue.
            let most = if wakering::internals::faults::ON { 200 } else { 64 };
            assert!((1..=most).contains(&reports), "{reports} reports");
            let own = socket.local_addr().unwrap();
            // An error that is still in the kernel's queue may come first; the socket lives all the same.
            while socket.send_to(b"alive", own).await.is_err() {}
            let length = loop {
                match socket.recv(&mut buffer).await {
                    Ok(length) => break length,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionRefused),
                }
            };
            assert_eq!(length, 5);
            socket.set_error_reports(false).unwrap();
        }
    });
}
