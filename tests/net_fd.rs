//! Descriptors of any kind: pipes, files, duplicates, timers of the kernel, and what clearing readiness must not lose.

#![expect(
    clippy::unwrap_used,
    reason = "tests may unwrap, and clippy takes only what is marked #[test] for one"
)]

#[path = "support/net.rs"]
mod support;

use std::{
    cell::Cell,
    env,
    fs::File,
    future::Future,
    io::{self, ErrorKind, Read, Write},
    mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    os::unix::net::UnixStream as StdStream,
    pin::pin,
    process::{Command, Stdio},
};

use support::{poll_once, run};
use wakering::{
    internals::sys::CLOSE_DEREGISTERS,
    net::{AsyncFd, NotReady, WaitError},
    spawn, yield_now,
};

/// A pipe whose far end is another program: what goes in comes out of `cat`.
fn through_cat() -> (AsyncFd<File>, AsyncFd<File>, std::process::Child) {
    let mut child =
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("cat is everywhere");
    let input = OwnedFd::from(child.stdin.take().unwrap());
    let output = OwnedFd::from(child.stdout.take().unwrap());
    let input = AsyncFd::write_only(File::from(input)).nonblocking().unwrap();
    let output = AsyncFd::read_only(File::from(output)).nonblocking().unwrap();
    (input, output, child)
}

/// A pair of std's, not blocking.
fn pair() -> (AsyncFd<StdStream>, StdStream) {
    let (ours, theirs) = StdStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    (AsyncFd::new(ours).nonblocking().unwrap(), theirs)
}

#[test]
fn a_mebibyte_goes_through_pipes_of_another_program() {
    run(async {
        let (input, output, mut child) = through_cat();
        let all = support::pattern(5, 1 << 20);
        let sent = all.clone();
        let sending = spawn(async move {
            let mut rest = &sent[..];
            while !rest.is_empty() {
                let mut guard = input.writable().await.unwrap();
                if let Ok(written) = guard.try_io(|mut file| file.write(rest)) {
                    rest = &rest[written.unwrap()..];
                }
            }
        });
        let mut seen = Vec::new();
        let mut buffer = vec![0; 50_000];
        loop {
            let mut guard = output.readable().await.unwrap();
            match guard.try_io(|mut file| file.read(&mut buffer)) {
                Ok(Ok(0)) => break,
                Ok(read) => seen.extend_from_slice(&buffer[..read.unwrap()]),
                Err(NotReady) => {}
            }
        }
        sending.await.unwrap();
        assert!(seen == all);
        child.wait().unwrap();
    });
}

#[test]
fn the_end_of_a_pipe_wakes_the_reader_and_a_lost_reader_the_writer() {
    run(async {
        let (input, output, mut child) = through_cat();
        let mut buffer = [0; 8];
        let mut reading = pin!(output.read_io(|fd| File::from(fd.try_clone_to_owned()?).read(&mut buffer)));
        assert!(poll_once(reading.as_mut()).await.is_pending());
        drop(input);
        assert_eq!(reading.await.unwrap(), 0);
        child.wait().unwrap();

        let (input, output, mut child) = through_cat();
        drop(output);
        let error = loop {
            let write = |mut file: &File| file.write(&[1; 4_096]);
            if let Ok(Err(error)) = input.writable().await.unwrap().try_io(write) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        child.wait().unwrap();
    });
}

/// epoll says EPERM; the error says which descriptor and why.
#[test]
fn a_regular_file_cannot_be_waited_for_and_the_error_says_so() {
    run(async {
        if env::consts::OS != "linux" {
            return;
        }
        let file = AsyncFd::read_only(File::open(env::current_exe().unwrap()).unwrap());
        let number = file.as_fd().as_raw_fd();
        for error in [
            file.readable().await.unwrap_err(),
            file.read_io(|_| -> io::Result<()> { panic!("not before it can be waited for") })
                .await
                .unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            assert!(error.to_string().contains(&format!("descriptor {number}")), "{error}");
            assert!(error.to_string().contains("always ready"), "{error}");
            let inner = error.get_ref().unwrap().downcast_ref::<WaitError>().unwrap();
            assert_eq!((inner.number(), inner.os_error().raw_os_error()), (number, Some(libc::EPERM)));
        }
    });
}

/// Names one of two descriptors, as it is told to.
struct Fickle<'a>([BorrowedFd<'a>; 2], Cell<usize>);

impl AsFd for Fickle<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0[self.1.get()]
    }
}

#[test]
fn a_wait_that_is_forgotten_or_names_another_descriptor_stands_in_nobodys_way() {
    run(async {
        // Elsewhere the kernel forgets a descriptor with its close, and until then a second wait is an error.
        if CLOSE_DEREGISTERS {
            return;
        }
        let ((ours, theirs), (other, _others)) = (StdStream::pair().unwrap(), StdStream::pair().unwrap());
        ours.set_nonblocking(true).unwrap();
        let forgotten = AsyncFd::read_only(ours.as_fd());
        assert!(poll_once(pin!(forgotten.readable())).await.is_pending());
        mem::forget(forgotten);
        let fickle = AsyncFd::read_only(Fickle([ours.as_fd(), other.as_fd()], Cell::new(0)));
        assert!(poll_once(pin!(fickle.readable())).await.is_pending());
        fickle.get_ref().1.set(1);
        drop(fickle);
        let last = AsyncFd::read_only(&ours);
        let mut reading = pin!(last.readable());
        assert!(poll_once(reading.as_mut()).await.is_pending());
        (&theirs).write_all(b"x").unwrap();
        drop(reading.await.unwrap());
    });
}

#[test]
fn a_descriptor_that_is_waited_for_twice_is_an_error_and_the_first_goes_on() {
    run(async {
        // The fallback waits for a duplicate of each, and serves both.
        if env::consts::OS != "linux" || !CLOSE_DEREGISTERS {
            return;
        }
        let (ours, theirs) = StdStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let (first, second) = (AsyncFd::new(&ours), AsyncFd::new(&ours));
        let mut reading = pin!(first.readable());
        assert!(poll_once(reading.as_mut()).await.is_pending());
        let error = second.readable().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
        drop(second);
        (&theirs).write_all(b"x").unwrap();
        drop(reading.await.unwrap());
    });
}

/// Readiness that came after the guard was given must outlive its `clear_ready`.
#[test]
fn clearing_readiness_after_news_came_loses_no_wake() {
    run(async {
        let (ours, mut theirs) = pair();
        let mut buffer = [0; 8];
        for round in 0..100 {
            theirs.write_all(b"a").unwrap();
            let mut guard = ours.readable().await.unwrap();
            assert_eq!(guard.get_inner().read(&mut buffer).unwrap(), 1);
            assert_eq!(guard.get_inner().read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
            if round % 2 == 0 {
                // News come, and are fetched, before the guard is told what was found before.
                theirs.write_all(b"b").unwrap();
                wakering::time::sleep(std::time::Duration::from_micros(200)).await;
            }
            guard.clear_ready();
            if round % 2 == 1 {
                assert!(poll_once(pin!(ours.readable())).await.is_pending(), "it was cleared");
                theirs.write_all(b"b").unwrap();
            }
            let read = ours.read_io(|_| ours.get_ref().read(&mut buffer)).await.unwrap();
            assert_eq!((read, buffer[0]), (1, b'b'));
        }
    });
}

#[test]
fn both_directions_are_waited_for_at_once() {
    run(async {
        let (ours, mut theirs) = pair();
        let mut filled = 0;
        while let Ok(written) = ours.get_ref().write(&[7; 65_536]) {
            filled += written;
        }
        let mut writing = pin!(ours.write_io(|_| ours.get_ref().write(b"more")));
        let mut buffer = vec![0; 65_536];
        let mut small = [0; 4];
        let mut reading = pin!(ours.read_io(|_| ours.get_ref().read(&mut small)));
        assert!(poll_once(writing.as_mut()).await.is_pending());
        assert!(poll_once(reading.as_mut()).await.is_pending());
        theirs.write_all(b"hi").unwrap();
        assert_eq!(reading.await.unwrap(), 2);
        let mut emptied = 0;
        while emptied < filled {
            emptied += theirs.read(&mut buffer).unwrap();
            yield_now().await;
        }
        assert_eq!(writing.await.unwrap(), 4);
    });
}

#[test]
fn what_it_held_comes_out_unregistered_and_can_go_in_again() {
    run(async {
        let (mut ours, mut theirs) = pair();
        for _ in 0..50 {
            let mut buffer = [0; 2];
            let read = ours.read_io(|_| ours.get_ref().read(&mut buffer));
            assert!(poll_once(pin!(read)).await.is_pending());
            let inner = ours.into_inner();
            theirs.write_all(b"x").unwrap();
            ours = AsyncFd::new(inner);
            assert_eq!(ours.read_io(|_| ours.get_ref().read(&mut buffer)).await.unwrap(), 1);
        }
    });
}

/// With a duplicate alive, only the end of the registration keeps old events away.
#[test]
fn dropping_it_while_a_duplicate_lives_leaves_nothing_behind() {
    run(async {
        let (ours, mut theirs) = pair();
        let duplicate = ours.get_ref().try_clone().unwrap();
        assert!(poll_once(pin!(ours.readable())).await.is_pending());
        drop(ours);
        let again = AsyncFd::new(duplicate);
        assert!(poll_once(pin!(again.readable())).await.is_pending(), "registered again without an error");
        theirs.write_all(b"x").unwrap();
        drop(again.readable().await.unwrap());
    });
}

#[test]
fn outside_of_a_runtime_waiting_for_a_descriptor_is_an_error() {
    let (ours, _theirs) = pair();
    let mut reading = pin!(ours.readable());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match reading.as_mut().poll(&mut context) {
        std::task::Poll::Ready(Err(error)) => assert_eq!(error.kind(), ErrorKind::NotConnected),
        other => panic!("{other:?}"),
    }
}

/// What a connection costs this library: the value itself. What it waits with is in the tables of its worker.
#[test]
fn a_connection_is_a_few_words() {
    assert!(size_of::<wakering::net::TcpStream>() <= 40, "{}", size_of::<wakering::net::TcpStream>());
    assert!(size_of::<wakering::net::UnixStream>() <= 32, "{}", size_of::<wakering::net::UnixStream>());
}
