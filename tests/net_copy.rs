//! Copying between connections and from files: exact bytes, half-closes, slow readers, and what an idle pair holds.

#![expect(
    clippy::unwrap_used,
    reason = "tests may unwrap, and clippy takes only what is marked #[test] for one"
)]

#[path = "support/net.rs"]
mod support;

use std::{
    env, fs,
    fs::File,
    io::{ErrorKind, Read, Write},
    mem,
    net::{Shutdown, TcpStream as StdStream},
    os::{fd::AsFd, unix::net::UnixStream as StdUnixStream},
    path::PathBuf,
    pin::pin,
    process,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use support::{
    FOR_EVER, fill, in_child, let_sigpipe_kill, pair, pair_with_std, pattern, poll_once, reset, run,
};
use wakering::{
    net::{self, TcpStream, UnixStream},
    spawn, time,
};

const BULK: usize = 6 << 20;

/// A file with a pattern in it, removed at the end.
struct Patterned(PathBuf, Vec<u8>);

impl Patterned {
    fn new(name: &str, length: usize) -> Patterned {
        let path = env::temp_dir().join(format!("wakering-copy-{}-{name}", process::id()));
        let bytes = pattern(3, length);
        fs::write(&path, &bytes).unwrap();
        Patterned(path, bytes)
    }
}

impl Drop for Patterned {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

/// Sends `length` octets of a pattern in a thread, and then the end.
fn sender(mut to: StdStream, seed: u64, length: usize) -> thread::JoinHandle<StdStream> {
    thread::spawn(move || {
        to.write_all(&pattern(seed, length)).unwrap();
        to.shutdown(Shutdown::Write).unwrap();
        to
    })
}

fn receiver(mut from: StdStream) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        from.read_to_end(&mut all).unwrap();
        all
    })
}

#[test]
fn bulk_goes_through_a_copy_exactly() {
    run(async {
        let (mut from, source) = pair_with_std();
        let (mut to, target) = pair_with_std();
        let sending = sender(source, 1, BULK);
        let receiving = receiver(target);
        assert_eq!(net::copy(&mut from, &mut to).await.unwrap(), BULK as u64);
        to.shutdown(Shutdown::Write).unwrap();
        assert!(receiving.join().unwrap() == pattern(1, BULK));
        sending.join().unwrap();
    });
}

#[test]
fn both_directions_are_copied_until_both_have_ended() {
    run(async {
        let (mut one, client) = pair_with_std();
        let (mut other, server) = pair_with_std();
        let lengths = [BULK, 70_000];
        let sent_client = sender(client.try_clone().unwrap(), 1, lengths[0]);
        let sent_server = sender(server.try_clone().unwrap(), 2, lengths[1]);
        let (at_server, at_client) = (receiver(server), receiver(client));
        let copied = net::copy_bidirectional(&mut one, &mut other).await.unwrap();
        assert_eq!(copied, (lengths[0] as u64, lengths[1] as u64));
        assert!(at_server.join().unwrap() == pattern(1, lengths[0]));
        assert!(at_client.join().unwrap() == pattern(2, lengths[1]));
        sent_client.join().unwrap();
        sent_server.join().unwrap();
    });
}

/// A client that says all it has to say first, ends, and waits for the answer: the end goes through, and the answer comes.
#[test]
fn a_half_close_goes_through_and_the_other_direction_goes_on() {
    run(async {
        let (mut one, mut client) = pair_with_std();
        let (mut other, mut server) = pair_with_std();
        let answering = thread::spawn(move || {
            let mut request = Vec::new();
            server.read_to_end(&mut request).unwrap();
            server.write_all(&request).unwrap();
            request.len()
        });
        let asking = thread::spawn(move || {
            client.write_all(&pattern(4, 300_000)).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).unwrap();
            answer
        });
        let copied = net::copy_bidirectional(&mut one, &mut other).await.unwrap();
        assert_eq!(copied, (300_000, 300_000));
        assert_eq!(answering.join().unwrap(), 300_000);
        assert!(asking.join().unwrap() == pattern(4, 300_000));
    });
}

#[test]
fn connections_of_two_kinds_and_halves_are_copied() {
    run(async {
        let (tcp, source) = pair_with_std();
        let (unix, target) = StdUnixStream::pair().unwrap();
        let unix = UnixStream::from_std(unix).unwrap();
        let sending = sender(source, 6, BULK);
        let receiving = thread::spawn(move || {
            let (mut target, mut all) = (target, Vec::new());
            target.read_to_end(&mut all).unwrap();
            all
        });
        let (mut reader, _tcp_writer) = tcp.into_split();
        let (_unix_reader, mut writer) = unix.into_split();
        let copied = spawn(async move { net::copy(&mut reader, &mut writer).await.unwrap() }).await.unwrap();
        assert_eq!(copied, BULK as u64);
        assert!(receiving.join().unwrap() == pattern(6, BULK));
        sending.join().unwrap();
    });
}

/// What does not fit is kept and goes on when there is room, and nothing is read meanwhile.
#[test]
fn a_slow_reader_holds_the_sender_back_and_loses_nothing() {
    run(async {
        let (mut from, source) = pair_with_std();
        let (mut to, mut target) = pair_with_std();
        to.set_send_buffer_size(16_384).unwrap();
        let sending = sender(source, 7, 1 << 20);
        let receiving = thread::spawn(move || {
            let (mut all, mut buffer) = (Vec::new(), [0; 40_000]);
            loop {
                match target.read(&mut buffer).unwrap() {
                    0 => return all,
                    read => all.extend_from_slice(&buffer[..read]),
                }
                if all.len() % 7 == 0 {
                    thread::yield_now();
                }
            }
        });
        assert_eq!(net::copy(&mut from, &mut to).await.unwrap(), 1 << 20);
        drop(to);
        assert!(receiving.join().unwrap() == pattern(7, 1 << 20));
        sending.join().unwrap();
    });
}

#[test]
fn a_reset_of_either_side_ends_the_copy_with_its_error() {
    run(async {
        let (mut one, client) = pair_with_std();
        let (mut other, _server) = pair_with_std();
        let mut copying = pin!(net::copy_bidirectional(&mut one, &mut other));
        assert!(poll_once(copying.as_mut()).await.is_pending());
        reset(client);
        assert_eq!(copying.await.unwrap_err().kind(), ErrorKind::ConnectionReset);

        let (mut from, mut source) = pair_with_std();
        let (mut to, target) = pair_with_std();
        let mut copying = pin!(net::copy(&mut from, &mut to));
        assert!(poll_once(copying.as_mut()).await.is_pending());
        reset(target);
        source.write_all(b"to nobody").unwrap();
        let first = copying.as_mut().await;
        assert!(matches!(first.unwrap_err().kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe));
    });
}

/// Whether this backend tells of a break to who neither reads nor writes there.
fn resets_are_told() -> bool {
    let told = wakering::internals::sys::TELLS_RESETS;
    if !told {
        println!("SKIPPED: this backend tells of a reset only who reads or writes");
    }
    told
}

/// Sends until the connection has long taken nothing, whichever stage who reads it is in.
async fn send_until_stuck(source: &StdStream) {
    source.set_nonblocking(true).unwrap();
    let (mut source, mut refused) = (source, 0);
    while refused < 50 {
        match source.write(&[1; 65_536]) {
            Ok(_) => refused = 0,
            Err(error) if error.kind() == ErrorKind::WouldBlock => refused += 1,
            Err(error) => panic!("{error}"),
        }
        time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits for an octet, or for the end.
async fn comes(at: &mut StdStream) {
    at.set_nonblocking(true).unwrap();
    while at.read(&mut [0]).is_err() {
        time::sleep(Duration::from_millis(1)).await;
    }
}

/// Nobody reads from the side that was reset, since what it sent has no room at the other.
#[test]
fn a_reset_ends_a_copy_whose_other_side_is_full() {
    if !resets_are_told() {
        return;
    }
    run(async {
        for bulk in [false, true] {
            let (mut one, mut client) = pair_with_std();
            let (mut other, _server) = pair_with_std();
            if !bulk {
                fill(&other).await;
                client.write_all(b"no room").unwrap();
            }
            let copying = spawn(async move { net::copy_bidirectional(&mut one, &mut other).await });
            if bulk {
                send_until_stuck(&client).await;
            }
            reset(client);
            assert_eq!(copying.await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
        let ((mut from, mut source), (mut to, _target)) = (pair_with_std(), pair_with_std());
        fill(&to).await;
        source.write_all(b"no room").unwrap();
        let mut copying = pin!(net::copy(&mut from, &mut to));
        assert!(poll_once(copying.as_mut()).await.is_pending());
        reset(source);
        assert_eq!(copying.await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

/// The end was handed on, and nothing more is read there.
#[test]
fn a_reset_behind_an_end_ends_both_directions() {
    if !resets_are_told() {
        return;
    }
    run(async {
        for first in [false, true] {
            let (mut one, mut client) = pair_with_std();
            let (mut other, mut server) = pair_with_std();
            if first {
                mem::swap(&mut one, &mut other);
            }
            let copying = spawn(async move { net::copy_bidirectional(&mut one, &mut other).await });
            client.shutdown(Shutdown::Write).unwrap();
            comes(&mut server).await;
            server.write_all(b"!").unwrap();
            comes(&mut client).await;
            reset(client);
            let error = copying.await.unwrap().unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
        }
    });
}

/// The end alone is no error: what was sent before it goes on when there is room.
#[test]
fn an_end_does_not_end_a_copy_whose_other_side_is_full() {
    run(async {
        let (mut one, mut client) = pair_with_std();
        let (mut other, mut server) = pair_with_std();
        let filled = fill(&other).await;
        client.write_all(&pattern(5, 100_000)).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut copying = pin!(net::copy_bidirectional(&mut one, &mut other));
        for _ in 0..20 {
            assert!(poll_once(copying.as_mut()).await.is_pending());
            time::sleep(Duration::from_millis(1)).await; // the end has come meanwhile
        }
        let receiving = thread::spawn(move || {
            let mut all = Vec::new();
            server.read_to_end(&mut all).map(|_| all)
        });
        let copied = copying.await.unwrap();
        assert_eq!(copied, (100_000, 0));
        assert!(receiving.join().unwrap().unwrap()[filled..] == pattern(5, 100_000));
        drop(client);
    });
}

/// A burst leaves no descriptor (of a pipe) behind, and no byte in the pair.
#[test]
fn a_pair_that_pauses_after_a_burst_has_passed_everything_on_and_holds_nothing() {
    if !in_child("a_pair_that_pauses_after_a_burst_has_passed_everything_on_and_holds_nothing", "") {
        return;
    }
    run(async {
        let (mut one, mut client) = pair_with_std();
        let (mut other, mut server) = pair_with_std();
        let copying = spawn(async move { net::copy_bidirectional(&mut one, &mut other).await });
        wakering::yield_now().await; // it has begun
        let descriptors = || fs::read_dir("/proc/self/fd").map(Iterator::count).unwrap_or(0);
        let before = descriptors();
        for seed in 0..5 {
            let mut writer = client.try_clone().unwrap();
            let sending = thread::spawn(move || writer.write_all(&pattern(seed, 3 << 20)).unwrap());
            let mut reader = server.try_clone().unwrap();
            let receiving = thread::spawn(move || {
                let mut all = vec![0; 3 << 20];
                reader.read_exact(&mut all).unwrap();
                all
            });
            while !receiving.is_finished() {
                time::sleep(Duration::from_millis(1)).await;
            }
            assert!(receiving.join().unwrap() == pattern(seed, 3 << 20));
            sending.join().unwrap();
            let start = Instant::now();
            while descriptors() != before && start.elapsed() < FOR_EVER / 2 {
                time::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(descriptors(), before);
        }
        server.write_all(b"back").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        server.shutdown(Shutdown::Write).unwrap();
        let mut back = Vec::new();
        while !copying.is_finished() {
            time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(copying.await.unwrap().unwrap(), (15 << 20, 4));
        client.read_to_end(&mut back).unwrap();
        assert_eq!(back, b"back");
    });
}

#[test]
fn a_flooding_copy_leaves_others_their_turn() {
    run(async {
        let (mut from, source) = pair_with_std();
        let (mut to, target) = pair_with_std();
        let sending = sender(source, 1, BULK);
        let receiving = receiver(target);
        let copying = spawn(async move { net::copy(&mut from, &mut to).await.unwrap() });
        let (mut quiet, mut peer) = pair().await;
        let mut rounds = 0_u32;
        while !copying.is_finished() {
            peer.write_all(b"x").await.unwrap();
            quiet.read_exact(&mut [0; 1]).await.unwrap();
            rounds += 1;
        }
        assert!(rounds > 3, "{rounds}");
        assert_eq!(copying.await.unwrap(), BULK as u64);
        assert_eq!(receiving.join().unwrap().len(), BULK);
        sending.join().unwrap();
    });
}

#[test]
fn what_comes_behind_urgent_data_is_copied_without_waiting_for_more() {
    for _ in 0..4 {
        run(async {
            let (mut from, mut source) = pair_with_std();
            let (mut to, mut target) = pair_with_std();
            let copying = spawn(async move { net::copy_bidirectional(&mut from, &mut to).await });
            let (all_sent, sent) = mpsc::channel::<()>();
            let sending = thread::spawn(move || {
                source.write_all(&pattern(1, BULK)).unwrap();
                assert_eq!(rustix::net::send(&source, b"!", rustix::net::SendFlags::OOB).unwrap(), 1);
                source.write_all(b"and more").unwrap();
                // Nothing follows until the other side has got all of it.
                let _ = sent.recv();
                source
            });
            let receiving = thread::spawn(move || {
                target.set_read_timeout(Some(FOR_EVER)).unwrap();
                let mut all = vec![0; BULK + 8];
                let read = target.read_exact(&mut all);
                drop(all_sent);
                read.map(|()| (all, target))
            });
            while !receiving.is_finished() {
                time::sleep(Duration::from_millis(1)).await;
            }
            let (all, target) = receiving.join().unwrap().unwrap();
            assert!(all[..BULK] == pattern(1, BULK) && &all[BULK..] == b"and more");
            drop((sending.join().unwrap(), target));
            copying.await.unwrap().unwrap();
        });
    }
}

#[test]
fn a_poll_moves_no_more_than_a_piece_of_a_file() {
    const MIB: usize = 1 << 20;
    /// What has come so far, when nobody sends any more.
    fn came(mut target: StdStream) -> usize {
        target.set_nonblocking(true).unwrap();
        let (mut all, mut piece) = (0, vec![0; MIB]);
        while let Ok(read) = target.read(&mut piece) {
            all += read;
        }
        all
    }
    run(async {
        let file = Patterned::new("polled", 16 * MIB);
        let opened = File::open(&file.0).unwrap();
        let (mut ours, target) = pair_with_std();
        assert!(poll_once(pin!(ours.send_file(&opened, 0..16 << 20))).await.is_pending());
        let sent = came(target);
        assert!(sent <= MIB, "{sent}");
    });
}

#[test]
fn a_file_is_sent_whole_in_part_and_to_its_end() {
    run(async {
        let file = Patterned::new("sent", 5 << 20);
        let opened = File::open(&file.0).unwrap();
        for range in [0..5 << 20, 0..0, 1..2, 4_097..3_000_001, (5 << 20) - 3..u64::MAX, 6 << 20..7 << 20] {
            let (mut ours, target) = pair_with_std();
            let receiving = receiver(target);
            let end = range.end.min(5 << 20) as usize;
            let start = (range.start as usize).min(end);
            let sent = ours.send_file(&opened, range).await.unwrap();
            assert_eq!(sent as usize, end - start);
            drop(ours);
            assert!(receiving.join().unwrap() == file.1[start..end]);
        }
        let mut position = Vec::new();
        (&opened).read_to_end(&mut position).unwrap();
        assert_eq!(position.len(), 5 << 20, "the file's own position was not moved");
    });
}

/// Files of /proc have no pages that could be handed on: they are read.
#[test]
fn a_file_that_cannot_be_sent_in_the_kernel_is_read_and_written() {
    let Ok(text) = fs::read("/proc/self/cgroup") else { return };
    run(async {
        let (mut ours, target) = pair_with_std();
        let receiving = receiver(target);
        let sent = ours.send_file(File::open("/proc/self/cgroup").unwrap(), 0..1 << 20).await.unwrap();
        drop(ours);
        assert_eq!(receiving.join().unwrap(), text);
        assert_eq!(sent as usize, text.len());
        let (mut ours, _target) = pair_with_std();
        let folder = ours.send_file(File::open("/").unwrap(), 0..10).await.unwrap_err();
        assert_ne!(folder.kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn sending_a_file_waits_for_a_slow_reader() {
    run(async {
        let file = Patterned::new("slow", 3 << 20);
        let (mut ours, mut theirs) = pair().await;
        let filled = fill(&ours).await;
        let opened = File::open(&file.0).unwrap();
        {
            let mut sending = pin!(ours.send_file(&opened, 0..1_000));
            assert!(poll_once(sending.as_mut()).await.is_pending(), "there is no room");
        }
        let sending = spawn(async move { (ours.send_file(&opened, 0..3 << 20).await.unwrap(), ours) });
        let mut all = vec![0; filled + (3 << 20)];
        theirs.read_exact(&mut all).await.unwrap();
        assert!(all[filled..] == file.1);
        assert_eq!(sending.await.unwrap().0, 3 << 20);
    });
}

/// Neither splice nor sendfile can refuse the signal: where it would kill, they are not used.
#[test]
fn copying_to_a_closed_connection_raises_no_signal() {
    if !in_child("copying_to_a_closed_connection_raises_no_signal", "") {
        return;
    }
    let_sigpipe_kill();
    run(async {
        let file = Patterned::new("pipe", 1 << 20);
        let (mut ours, theirs) = pair_with_std();
        reset(theirs);
        let opened = File::open(&file.0).unwrap();
        let error = loop {
            match ours.send_file(&opened, 0..1 << 20).await {
                Ok(_) => time::sleep(Duration::from_millis(1)).await,
                Err(error) => break error,
            }
        };
        assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
        let again = ours.send_file(&opened, 0..1 << 20).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::BrokenPipe);

        let (mut from, mut source) = pair_with_std();
        let (mut to, target) = pair_with_std();
        reset(target);
        let sending = thread::spawn(move || while source.write_all(&[1; 1 << 20]).is_ok() {});
        let error = net::copy(&mut from, &mut to).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
        let error = net::copy(&mut from, &mut to).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        drop(from);
        sending.join().unwrap();
    });
}

/// A copy that is dropped in the middle closes nothing and leaves the connections usable.
#[test]
fn a_copy_that_is_dropped_leaves_both_connections_open() {
    run(async {
        let (mut one, mut client): (TcpStream, StdStream) = pair_with_std();
        let (mut other, mut server) = pair_with_std();
        client.write_all(b"first").unwrap();
        let mut buffer = [0; 6];
        {
            let mut copying = pin!(net::copy_bidirectional(&mut one, &mut other));
            server.set_nonblocking(true).unwrap();
            let mut heard = 0;
            while heard < 5 {
                assert!(poll_once(copying.as_mut()).await.is_pending());
                heard += server.read(&mut buffer[heard..5]).unwrap_or(0);
                wakering::yield_now().await;
            }
            server.set_nonblocking(false).unwrap();
        }
        assert_eq!(&buffer[..5], b"first");
        client.write_all(b"second").unwrap();
        one.read_exact(&mut buffer).await.unwrap();
        other.write_all(&buffer).await.unwrap();
        server.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"second");
    });
}

#[test]
fn a_zero_copy_send_arrives_exactly_and_its_notices_are_no_errors() {
    run(async {
        let (mut ours, target) = pair_with_std();
        let mut writer = target.try_clone().unwrap();
        let receiving = thread::spawn(move || {
            let (mut target, mut all) = (target, vec![0; 10 << 20]);
            target.read_exact(&mut all).unwrap();
            all
        });
        let mut expected = Vec::new();
        for seed in 0..5 {
            let bytes = Bytes::from(pattern(seed, 2 << 20));
            expected.extend_from_slice(&bytes);
            let kept = bytes.clone();
            ours.send_zero_copy(bytes).await.unwrap();
            assert!(kept.is_unique(), "the kernel has let go, and so has the connection");
            assert!(ours.take_error().unwrap().is_none());
        }
        assert!(receiving.join().unwrap() == expected);
        // Reading and writing go on as if nothing had been.
        writer.write_all(b"answer").unwrap();
        let mut buffer = [0; 16];
        ours.read_exact(&mut buffer[..6]).await.unwrap();
        assert!(poll_once(pin!(ours.read(&mut buffer))).await.is_pending());
        ours.write_all(b"end").await.unwrap();
        drop(ours);
        assert_eq!(writer.read(&mut buffer).unwrap(), 3);
        assert_eq!(writer.read(&mut buffer).unwrap(), 0, "an end and no reset");
    });
}

#[test]
fn a_zero_copy_send_that_is_dropped_keeps_its_bytes_until_the_kernel_lets_go() {
    run(async {
        let (mut ours, mut theirs) = pair().await;
        let all = Bytes::from(pattern(1, 16 << 20));
        {
            let mut sending = pin!(ours.send_zero_copy(all.clone()));
            for _ in 0..20 {
                assert!(poll_once(sending.as_mut()).await.is_pending(), "nobody reads");
                time::sleep(Duration::from_micros(500)).await;
            }
        }
        // How much of it went out is not told: read until it pauses.
        let mut buffer = vec![0; 1 << 20];
        let mut seen = Vec::new();
        while let Ok(read) = time::timeout(Duration::from_secs(1), theirs.read(&mut buffer)).await {
            seen.extend_from_slice(&buffer[..read.unwrap()]);
        }
        assert!(!seen.is_empty() && all[..seen.len()] == seen[..]);
        let next = Bytes::from(pattern(2, 100_000));
        let sending = spawn(async move {
            ours.send_zero_copy(next).await.unwrap();
            ours
        });
        let mut second = vec![0; 100_000];
        theirs.read_exact(&mut second).await.unwrap();
        assert!(second == pattern(2, 100_000));
        drop(sending.await.unwrap());
        assert!(all.is_unique());
        assert_eq!(theirs.read(&mut buffer).await.unwrap(), 0);
    });
}

/// Also when somebody else has the descriptor: closing would not end it then, and it would send on from memory that is freed.
#[test]
fn a_connection_dropped_while_the_kernel_holds_its_bytes_is_reset() {
    if wakering::internals::faults::ON {
        println!("SKIPPED: a reset, or a look for notices, that fails on demand leaves the bytes held");
        return;
    }
    for duplicated in [false, true] {
        drop_while_held(duplicated);
    }
}

fn drop_while_held(duplicated: bool) {
    run(async move {
        let (mut ours, mut theirs) = pair().await;
        let duplicate = duplicated.then(|| ours.as_fd().try_clone_to_owned().unwrap());
        let bytes = Bytes::from(vec![1; 32 << 20]);
        {
            let mut sending = pin!(ours.send_zero_copy(bytes.clone()));
            for _ in 0..20 {
                assert!(poll_once(sending.as_mut()).await.is_pending(), "nobody reads");
                time::sleep(Duration::from_micros(500)).await;
            }
        }
        drop(ours);
        assert!(bytes.is_unique(), "what the kernel has let go of is freed");
        let duplicate = duplicate.filter(|_| cfg!(target_os = "linux") && !cfg!(wakering_fallback));
        let mut buffer = vec![0; 1 << 20];
        let end = loop {
            match theirs.read(&mut buffer).await {
                Ok(0) => break Ok(()),
                Ok(_) => {}
                Err(error) => break Err(error.kind()),
            }
        };
        // Where the bytes were copied there is nothing to reset for.
        assert!(matches!(end, Ok(()) | Err(ErrorKind::ConnectionReset)), "{end:?}");
        assert!(cfg!(not(target_os = "linux")) || cfg!(wakering_fallback) || end.is_err());
        drop(duplicate);
    });
}

/// The socket counts its sends, and nobody knows how far it has come.
#[test]
fn a_socket_that_has_sent_without_a_copy_copies_when_it_comes_back() {
    run(async {
        let (mut ours, mut theirs) = pair().await;
        let mut buffer = vec![0; 100_000];
        for octet in 0..3 {
            let sending = spawn(async move {
                let how = ours.send_zero_copy(Bytes::from(vec![octet; 100_000])).await.unwrap();
                (ours, how)
            });
            theirs.read_exact(&mut buffer).await.unwrap();
            assert!(buffer.iter().all(|it| *it == octet));
            let (stream, how) = sending.await.unwrap();
            assert!(octet == 0 || how == net::ZeroCopied::Copied);
            ours = TcpStream::from_std(stream.into_std()).unwrap();
        }
    });
}

#[test]
fn a_reset_in_a_zero_copy_send_is_its_error() {
    run(async {
        let (mut ours, theirs) = pair_with_std();
        let mut sending = pin!(ours.send_zero_copy(Bytes::from(vec![1; 32 << 20])));
        assert!(poll_once(sending.as_mut()).await.is_pending());
        reset(theirs);
        let error = sending.await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
    });
}
