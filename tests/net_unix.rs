//! Unix sockets: names, credentials, descriptors that are passed, and what the system does not tell of.

#![expect(
    clippy::unwrap_used,
    reason = "tests may unwrap, and clippy takes only what is marked #[test] for one"
)]

#[path = "support/exact.rs"]
mod exact;
#[path = "support/folder.rs"]
mod folder;
#[path = "support/net.rs"]
mod support;

use std::{
    env, fs,
    io::{ErrorKind, IoSlice, Read, Write},
    net::Shutdown,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::{UnixListener as StdListener, UnixStream as StdStream},
    },
    pin::pin,
    process::{self, Command, Stdio},
    time::Duration,
};

use bytes::BytesMut;
use folder::Folder;
use support::{FOR_EVER, in_child, is_close_on_exec, pattern, poll_once, run, set_backlog};
use wakering::{
    net::{UnixAddr, UnixDatagram, UnixListener, UnixStream},
    spawn, time,
};

/// A pair of std's, one end as a descriptor to be passed, and one that reads the end once all duplicates are closed.
fn tell_tale() -> (OwnedFd, StdStream) {
    let (passed, kept) = StdStream::pair().unwrap();
    kept.set_read_timeout(Some(FOR_EVER)).unwrap();
    (passed.into(), kept)
}

fn assert_all_closed(mut kept: StdStream) {
    assert_eq!(kept.read(&mut [0; 1]).unwrap(), 0, "somebody still holds the passed descriptor");
}

#[test]
fn a_pair_carries_a_mebibyte_each_way_exactly() {
    run(async {
        let (one, other) = UnixStream::pair().unwrap();
        let tasks = [(one, 1), (other, 2)].map(|(stream, seed)| {
            spawn(async move {
                let (mut reader, mut writer) = stream.into_split();
                let sending = spawn(async move {
                    let all = pattern(seed, 1 << 20);
                    let (head, tail) = all.split_at(1_000);
                    writer.write_all_vectored(&mut [IoSlice::new(head), IoSlice::new(tail)]).await.unwrap();
                    writer
                });
                let mut all = BytesMut::new();
                while reader.read_buf(&mut all).await.unwrap() > 0 {
                    if all.len() == 1 << 20 {
                        break;
                    }
                }
                assert!(all[..] == pattern(3 - seed, 1 << 20)[..]);
                let stream = reader.reunite(sending.await.unwrap()).unwrap();
                assert_eq!(stream.peer_addr().unwrap(), UnixAddr::Unnamed);
            })
        });
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn a_name_is_a_file_that_stays_and_is_taken_until_it_is_removed() {
    run(async {
        let folder = Folder::new("unix");
        let path = folder.join("a");
        let missing = UnixStream::connect(&path).await.unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        assert!(missing.to_string().contains(path.to_str().unwrap()), "{missing}");
        let listener = UnixListener::bind(&path).unwrap();
        let taken = UnixListener::bind(&path).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        assert!(taken.to_string().contains(path.to_str().unwrap()), "{taken}");
        let client = UnixStream::connect(&path).await.unwrap();
        let (server, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, UnixAddr::Unnamed);
        assert_eq!(server.local_addr().unwrap().as_path(), Some(path.as_path()));
        assert_eq!(client.peer_addr().unwrap(), listener.local_addr().unwrap());
        drop(listener);
        assert!(path.exists(), "the file is its owner's to remove");
        assert_eq!(UnixStream::connect(&path).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(UnixListener::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
        fs::remove_file(&path).unwrap();
        drop(UnixListener::bind(&path).unwrap());
    });
}

#[test]
fn sockets_of_the_standard_library_are_peers_and_come_in_and_go_out() {
    run(async {
        let folder = Folder::new("unix");
        let path = folder.join("std");
        let listener = UnixListener::from_std(StdListener::bind(&path).unwrap()).unwrap();
        // In a build with faults a call may be refused for another reason.
        let refusal = listener.try_accept().unwrap_err().kind();
        assert!(refusal == ErrorKind::WouldBlock || wakering::internals::faults::ON, "{refusal:?}");
        let mut client = StdStream::connect(&path).unwrap();
        client.write_all(b"from std").unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 8];
        server.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"from std");
        server.write_all(b"and back").await.unwrap();
        client.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"and back");
        let mut server = UnixStream::from_std(server.into_std()).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(server.read(&mut buffer).await.unwrap(), 0);
        drop(listener.into_std());
    });
}

#[test]
fn an_abstract_name_has_no_file_and_ends_with_its_socket() {
    run(async {
        let name = UnixAddr::Abstract(format!("wakering\0test {}", process::id()).into_bytes());
        if env::consts::OS != "linux" {
            assert_eq!(UnixListener::bind(&name).unwrap_err().kind(), ErrorKind::Unsupported);
            return;
        }
        let listener = UnixListener::bind(&name).unwrap();
        assert_eq!(listener.local_addr().unwrap(), name);
        assert_eq!(UnixListener::bind(&name).unwrap_err().kind(), ErrorKind::AddrInUse);
        let client = UnixStream::connect(&name).await.unwrap();
        assert_eq!(client.peer_addr().unwrap(), name);
        drop(listener);
        let error = UnixStream::connect(&name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert!(error.to_string().contains("@wakering\\0test"), "{error}");
        drop(UnixListener::bind(&name).unwrap());
    });
}

/// A real peer: another program, whose process the system knows.
#[test]
fn the_peer_is_told_by_the_system_and_not_by_itself() {
    run(async {
        let (one, other) = UnixStream::pair().unwrap();
        let (ours, theirs) = (one.peer_cred().unwrap(), other.peer_cred().unwrap());
        assert_eq!(ours, theirs);
        assert!(ours.pid().is_none_or(|pid| pid == process::id() as i32));
        let folder = Folder::new("unix");
        let path = folder.join("web");
        let listener = UnixListener::bind(&path).unwrap();
        let curl = Command::new("curl")
            .args(["--silent", "--max-time", "30", "--unix-socket"])
            .arg(&path)
            .arg("http://localhost/")
            .stdout(Stdio::piped())
            .spawn();
        let Ok(curl) = curl else {
            println!("curl is not there: only the pair was looked at");
            return;
        };
        let (mut stream, _) = listener.accept().await.unwrap();
        let peer = stream.peer_cred().unwrap();
        assert!(peer.pid().is_none_or(|pid| pid == curl.id() as i32));
        assert_eq!((peer.uid(), peer.gid()), (ours.uid(), ours.gid()));
        let mut request = BytesMut::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
        drop(stream);
        assert_eq!(curl.wait_with_output().unwrap().stdout, b"hello");
    });
}

/// A read stops where descriptors begin, although more bytes are there: were a short read taken for "drained", the second
/// half would never come.
#[test]
fn a_read_that_stops_at_a_passed_descriptor_does_not_hide_what_is_behind_it() {
    run(async {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        let mut buffer = [0; 1_000];
        assert!(poll_once(pin!(there.read(&mut buffer))).await.is_pending(), "registered from here on");
        for _ in 0..50 {
            let (passed, kept) = tell_tale();
            here.write_all(&[1; 100]).await.unwrap();
            assert_eq!(here.send_fds(&[2; 50], &[passed.as_fd()]).await.unwrap(), 50);
            here.write_all(&[3; 25]).await.unwrap();
            drop(passed);
            let mut seen = Vec::new();
            let mut descriptors = Vec::new();
            while seen.len() < 175 {
                let received = there.recv_fds(&mut buffer, 4).await.unwrap();
                assert!(!received.fds_lost && !received.truncated);
                seen.extend_from_slice(&buffer[..received.len]);
                descriptors.extend(received.fds);
            }
            assert_eq!(seen, [vec![1; 100], vec![2; 50], vec![3; 25]].concat());
            assert_eq!(descriptors.len(), 1);
            assert!(descriptors.iter().all(is_close_on_exec));
            let mut through = StdStream::from(descriptors.pop().unwrap());
            through.write_all(b"x").unwrap();
            drop(through);
            let mut kept = kept;
            assert_eq!(kept.read(&mut buffer).unwrap(), 1);
            assert_all_closed(kept);
        }
    });
}

#[test]
fn a_plain_read_throws_passed_descriptors_away() {
    if exact::calls_may_fail() {
        return;
    }
    run(async {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        let (passed, kept) = tell_tale();
        here.send_fds(b"abc", &[passed.as_fd(), passed.as_fd()]).await.unwrap();
        drop(passed);
        there.read_exact(&mut [0; 3]).await.unwrap();
        assert_all_closed(kept);
    });
}

#[test]
fn descriptors_without_room_are_told_of_and_all_of_them_closed() {
    run(async {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        for room in [0, 1, 2] {
            let (passed, kept) = tell_tale();
            here.send_fds(b"abc", &[passed.as_fd(), passed.as_fd(), passed.as_fd()]).await.unwrap();
            drop(passed);
            let mut buffer = [0; 8];
            let received = there.recv_fds(&mut buffer, room).await.unwrap();
            assert_eq!((received.len, received.fds.len()), (3, 0));
            assert!(received.fds_lost);
            assert_all_closed(kept);
        }
        let (passed, _kept) = tell_tale();
        let none = here.send_fds(b"", &[passed.as_fd()]).await.unwrap_err();
        assert_eq!(none.kind(), ErrorKind::InvalidInput);
        let many = vec![passed.as_fd(); 254];
        assert_eq!(here.send_fds(b"x", &many).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(here.send_fds(b"x", &many[..253]).await.unwrap(), 1);
        let received = there.recv_fds(&mut [0; 8], 253).await.unwrap();
        assert_eq!((received.fds.len(), received.fds_lost), (253, false));
        assert_eq!(there.recv_fds(&mut [0; 8], 254).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

/// The system installs as many as fit into the table of the process, and stops.
#[test]
fn descriptors_that_do_not_fit_into_the_process_are_told_of_and_all_of_them_closed() {
    if env::consts::OS != "linux" {
        return;
    }
    let name = "descriptors_that_do_not_fit_into_the_process_are_told_of_and_all_of_them_closed";
    if !in_child(name, "ulimit -n 64") {
        return;
    }
    run(async {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        let (passed, kept) = tell_tale();
        here.send_fds(b"abc", &vec![passed.as_fd(); 60]).await.unwrap();
        drop(passed);
        let received = there.recv_fds(&mut [0; 8], 253).await.unwrap();
        assert!(received.fds_lost && received.fds.is_empty() && received.len == 3);
        assert_all_closed(kept);
    });
}

#[test]
fn datagrams_keep_their_bounds_their_sender_and_their_emptiness() {
    run(async {
        let folder = Folder::new("unix");
        let (one, two) = (folder.join("one"), folder.join("two"));
        let first = UnixDatagram::bind(&one).unwrap();
        let second = UnixDatagram::bind(&two).unwrap();
        let stranger = UnixDatagram::unbound().unwrap();
        assert_eq!(first.send_to(b"hello", &two).await.unwrap(), 5);
        assert_eq!(first.send_to(b"", &two).await.unwrap(), 0);
        assert_eq!(stranger.send_to(b"who", &two).await.unwrap(), 3);
        let mut buffer = [0; 4];
        let peeked = second.peek_from(&mut buffer).await.unwrap();
        let received = second.recv_from(&mut buffer).await.unwrap();
        assert_eq!(peeked, received);
        assert_eq!((received.len, received.truncated, &buffer), (4, true, b"hell"));
        assert_eq!(received.source.as_path(), Some(one.as_path()));
        let empty = second.recv_from(&mut buffer).await.unwrap();
        assert_eq!((empty.len, empty.truncated), (0, false));
        assert_eq!(second.recv_from(&mut buffer).await.unwrap().source, UnixAddr::Unnamed);
        assert_eq!(second.try_recv(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        second.connect(&one).unwrap();
        second.send(b"back").await.unwrap();
        assert_eq!(first.recv(&mut buffer).await.unwrap(), 4);
        drop(first);
        assert_eq!(second.send(b"gone").await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        fs::remove_file(&one).unwrap();
        let error = stranger.send_to(b"gone", &one).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains(one.to_str().unwrap()), "{error}");
    });
}

#[test]
fn datagrams_carry_descriptors() {
    run(async {
        let (one, other) = UnixDatagram::pair().unwrap();
        let (passed, kept) = tell_tale();
        one.send_fds(b"", &[passed.as_fd()]).await.unwrap();
        drop(passed);
        let received = other.recv_fds(&mut [0; 8], 3).await.unwrap();
        assert_eq!((received.len, received.fds.len()), (0, 1));
        assert!(received.fds.iter().all(is_close_on_exec));
        drop(received);
        assert_all_closed(kept);
    });
}

/// The system tells a sender of room at the peer that it is connected to, and of no other.
#[test]
fn a_sender_waits_for_room_in_the_peers_queue_connected_or_not() {
    if exact::calls_may_fail() {
        return;
    }
    run(async {
        let folder = Folder::new("unix");
        let path = folder.join("slow");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let connected = UnixDatagram::unbound().unwrap();
        connected.connect(&path).unwrap();
        let free = UnixDatagram::unbound().unwrap();
        // Full is what says so several times: in a build with faults any one call may.
        let (mut queued, mut refused) = (0_u32, 0);
        while refused < 10 {
            match connected.try_send(b"x") {
                Ok(_) => (queued, refused) = (queued + 1, 0),
                Err(_) => refused += 1,
            }
        }
        assert!(queued > 0);
        assert_eq!(free.try_send_to(b"x", &path).unwrap_err().kind(), ErrorKind::WouldBlock);
        let sending = spawn(async move { connected.send(b"one").await.unwrap() });
        let target = path.clone();
        let sending_free = spawn(async move { free.send_to(b"two", &target).await.unwrap() });
        time::sleep(Duration::from_millis(5)).await;
        assert!(!sending.is_finished() && !sending_free.is_finished());
        let mut buffer = [0; 8];
        let mut seen = 0;
        while seen < 2 {
            seen += u32::from(receiver.recv(&mut buffer).await.unwrap() == 3);
        }
        assert_eq!((sending.await.unwrap(), sending_free.await.unwrap()), (3, 3));
    });
}

#[test]
fn a_connect_waits_for_room_in_the_listeners_queue() {
    run(async {
        let folder = Folder::new("unix");
        let path = folder.join("busy");
        let listener = UnixListener::bind(&path).unwrap();
        set_backlog(&listener, 0);
        let _first = UnixStream::connect(&path).await.unwrap();
        let mut second = pin!(UnixStream::connect(&path));
        let early = poll_once(second.as_mut()).await;
        if !early.is_pending() {
            // Where a full queue refuses, or holds more than it was told to, there is nothing to wait for.
            return;
        }
        time::sleep(Duration::from_millis(5)).await;
        assert!(poll_once(second.as_mut()).await.is_pending());
        drop(listener.accept().await.unwrap());
        let mut second = second.await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        server.write_all(b"late").await.unwrap();
        second.read_exact(&mut [0; 4]).await.unwrap();
    });
}

#[test]
fn half_close_ends_one_direction_and_halves_close_what_they_own() {
    run(async {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        one.write_all(b"last words").await.unwrap();
        one.shutdown(Shutdown::Write).unwrap();
        let mut buffer = [0; 16];
        other.read_exact(&mut buffer[..10]).await.unwrap();
        assert_eq!(other.read(&mut buffer).await.unwrap(), 0);
        other.write_all(b"answer").await.unwrap();
        one.read_exact(&mut buffer[..6]).await.unwrap();
        drop(other);
        assert_eq!(one.read(&mut buffer).await.unwrap(), 0);
        assert_eq!(one.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);

        let (one, mut other) = UnixStream::pair().unwrap();
        let (mut reader, writer) = one.into_split();
        drop(writer);
        assert_eq!(other.read(&mut buffer).await.unwrap(), 0);
        other.write_all(b"more").await.unwrap();
        reader.read_exact(&mut buffer[..4]).await.unwrap();
        assert_eq!(&buffer[..4], b"more");
    });
}

/// Who sent a message is put in front of what came with it, and both share the room.
#[cfg(target_os = "linux")]
#[test]
fn credentials_that_come_beside_descriptors_do_not_take_their_place() {
    run(async {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        rustix::net::sockopt::set_socket_passcred(there.as_fd(), true).unwrap();
        let (one, _other) = StdStream::pair().unwrap();
        for passed in [1, 2, 12] {
            here.send_fds(b"x", &vec![one.as_fd(); passed]).await.unwrap();
            let received = there.recv_fds(&mut [0; 8], passed).await.unwrap();
            assert_eq!((received.len, received.fds.len(), received.fds_lost), (1, passed, false));
            here.send_fds(b"x", &vec![one.as_fd(); passed + 1]).await.unwrap();
            let received = there.recv_fds(&mut [0; 8], passed).await.unwrap();
            assert_eq!((received.len, received.fds.len(), received.fds_lost), (1, 0, true));
        }
    });
}

#[test]
fn dropping_a_unix_connection_tells_the_peer_at_once_a_hundred_of_a_hundred_times() {
    run(async {
        for _ in 0..100 {
            let (ours, theirs) = StdStream::pair().unwrap();
            theirs.set_nonblocking(true).unwrap();
            let mut ours = UnixStream::from_std(ours).unwrap();
            assert!(poll_once(pin!(ours.read(&mut [0; 1]))).await.is_pending());
            drop(ours);
            assert_eq!((&theirs).read(&mut [0; 1]).unwrap(), 0, "closed with the drop itself");
        }
    });
}

#[test]
fn a_writer_that_met_a_full_buffer_goes_on_when_there_is_room() {
    run(async {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        let length = 4 << 20;
        let sending = spawn(async move { here.write_all(&pattern(9, length)).await.unwrap() });
        let mut all = BytesMut::new();
        while all.len() < length {
            time::sleep(Duration::from_micros(100)).await;
            assert_ne!(there.read_buf(&mut all).await.unwrap(), 0);
        }
        assert!(all[..] == pattern(9, length)[..]);
        sending.await.unwrap();
    });
}

/// A program that is started while sockets of every kind are open inherits none of them.
#[test]
fn a_program_that_is_started_inherits_no_socket() {
    run(async {
        let folder = Folder::new("unix");
        let path = folder.join("cloexec");
        let listener = UnixListener::bind(&path).unwrap();
        let client = UnixStream::connect(&path).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let (one, other) = UnixStream::pair().unwrap();
        let (first, second) = UnixDatagram::pair().unwrap();
        let bound = UnixDatagram::bind(folder.join("datagram")).unwrap();
        let all = [
            listener.as_fd(),
            client.as_fd(),
            server.as_fd(),
            one.as_fd(),
            other.as_fd(),
            first.as_fd(),
            second.as_fd(),
            bound.as_fd(),
        ];
        assert!(all.iter().all(is_close_on_exec));
        let Ok(listing) = Command::new("ls").arg("-l").arg("/proc/self/fd").output() else { return };
        let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
        assert!(!listing.contains("socket:") && !listing.contains("eventpoll"), "{listing}");
    });
}
