//! Bugs in the life of a descriptor: rows 17 to 25 of `docs/hard-bugs.md`.

#![cfg(not(loom))]

#[path = "support/net.rs"]
mod support;

use std::{
    cell::{Cell, RefCell},
    env,
    fs::{self, File},
    io::{ErrorKind, Write},
    mem,
    net::TcpStream as StdStream,
    os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd},
    pin::pin,
    process::{Command, Stdio},
    rc::Rc,
};

use support::{LOOPBACK, in_child, pair, pair_with_std, poll_once, run};
use wakering::{
    Runtime, RuntimeError,
    net::{TcpListener, TcpStream, UdpSocket},
    signal::{self, Kind},
    spawn, yield_now,
};

/// How many descriptors the selectors of this process watch, where the system tells. Doorbells are among them.
fn watched() -> Option<usize> {
    let folder = fs::read_dir("/proc/self/fdinfo").ok()?;
    let texts = folder.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
    Some(texts.map(|text| text.lines().filter(|line| line.starts_with("tfd:")).count()).sum())
}

/// What is registered with a runtime's reactor, as its `Debug` tells.
fn sources(runtime: &Runtime) -> String {
    let text = format!("{runtime:?}");
    text.split_once("sources: ").expect("it tells").1.trim_end_matches(" }").to_owned()
}

/// Row 17: two descriptors are ready in one batch; who handles the first closes the second and opens others, which get
/// its number.
#[test]
fn a_number_that_is_used_again_within_one_batch_gets_no_event_of_its_former_owner() {
    run(async {
        for _ in 0..50 {
            let ((mut first, mut first_peer), (second, mut second_peer)) = (pair_with_std(), pair_with_std());
            assert!(poll_once(pin!(second.readable())).await.is_pending(), "it is registered");
            let closer = spawn(async move {
                first.read_exact(&mut [0; 1]).await.unwrap();
                drop(second);
                // The lowest free number is the one of the socket that was closed.
                let (mut fresh, mut peer) = pair_with_std();
                let mut byte = [0; 1];
                {
                    let mut reading = pin!(fresh.read(&mut byte));
                    for _ in 0..10 {
                        assert!(poll_once(reading.as_mut()).await.is_pending(), "nobody has written to it");
                        yield_now().await;
                    }
                    peer.write_all(b"n").unwrap();
                    assert_eq!(reading.await.unwrap(), 1);
                }
                assert_eq!(&byte, b"n");
            });
            yield_now().await;
            second_peer.write_all(b"2").unwrap();
            first_peer.write_all(b"1").unwrap();
            closer.await.unwrap();
        }
    });
}

/// Row 18: the kernel ends a registration with the last duplicate, which may be the program's own.
#[test]
fn a_duplicate_that_lives_on_leaves_no_registration_behind() {
    if !in_child("a_duplicate_that_lives_on_leaves_no_registration_behind", "") {
        return;
    }
    run(async {
        let before = watched();
        let mut duplicates = Vec::new();
        for way in 0..3 {
            let (ours, mut theirs) = pair_with_std();
            let duplicate = match way {
                // Made before the connection came to us, and after it.
                0 => {
                    let std = ours.into_std();
                    let duplicate = OwnedFd::from(std.try_clone().unwrap());
                    let ours = TcpStream::from_std(std).unwrap();
                    assert!(poll_once(pin!(ours.readable())).await.is_pending());
                    drop(ours);
                    duplicate
                }
                1 => {
                    assert!(poll_once(pin!(ours.readable())).await.is_pending());
                    let duplicate = ours.as_fd().try_clone_to_owned().unwrap();
                    drop(ours);
                    duplicate
                }
                // Given out again.
                _ => {
                    assert!(poll_once(pin!(ours.readable())).await.is_pending());
                    OwnedFd::from(ours.into_std())
                }
            };
            assert_eq!(watched(), before, "way {way}");
            theirs.write_all(b"an event for nobody").unwrap();
            duplicates.push((duplicate, theirs));
        }
        // None of their events reaches who comes after them.
        let (mut ours, mut theirs) = pair_with_std();
        let mut byte = [0; 1];
        let mut reading = pin!(ours.read(&mut byte));
        for _ in 0..10 {
            assert!(poll_once(reading.as_mut()).await.is_pending());
            yield_now().await;
        }
        theirs.write_all(b"x").unwrap();
        assert_eq!(reading.await.unwrap(), 1);
    });
}

/// Row 19: sixty-four sources are ready at once, and the first task that runs drops half of them.
#[test]
fn a_task_that_drops_other_sources_of_its_own_batch_harms_nobody() {
    const PAIRS: usize = 64;
    let runtime = Runtime::new().unwrap();
    let served = runtime.block_on(async {
        let streams: Rc<RefCell<Vec<Option<wakering::JoinHandle<u8>>>>> = Rc::default();
        let (served, mut peers) = (Rc::new(Cell::new(0)), Vec::new());
        for index in 0..PAIRS {
            let (mut ours, theirs) = pair_with_std();
            peers.push(theirs);
            let (streams, served) = (Rc::clone(&streams), Rc::clone(&served));
            let all = Rc::clone(&streams);
            let task = spawn(async move {
                let mut byte = [0; 1];
                ours.read_exact(&mut byte).await.unwrap();
                served.set(served.get() + 1);
                if served.get() == 1 {
                    for (other, task) in streams.borrow_mut().iter_mut().enumerate() {
                        if other != index && other % 2 == 0 {
                            task.take().unwrap().abort();
                        }
                    }
                }
                byte[0]
            });
            all.borrow_mut().push(Some(task));
        }
        yield_now().await;
        for (peer, byte) in peers.iter_mut().zip(0..) {
            peer.write_all(&[byte]).unwrap();
        }
        let left: Vec<_> = loop {
            yield_now().await;
            if served.get() > 0 {
                break streams.borrow_mut().iter_mut().map(Option::take).collect();
            }
        };
        for (task, byte) in left.into_iter().zip(0_u8..) {
            if let Some(task) = task {
                assert_eq!(task.await.unwrap(), byte);
            }
        }
        served.get()
    });
    let served = served.unwrap();
    assert!((PAIRS / 2..=PAIRS / 2 + 1).contains(&served), "{served}");
    assert_eq!(sources(&runtime), "0");
}

/// Row 20. Only a number that was made into two sockets can be registered twice.
#[test]
fn registering_a_descriptor_twice_is_an_error_that_leaves_the_first_alone() {
    let runtime = Runtime::new().unwrap();
    let done = runtime.block_on(async {
        let (first, mut peer) = pair_with_std();
        let std = first.into_std();
        // SAFETY: the number is that of `std`, which lives on; the second owner is forgotten below, not dropped.
        let twin = unsafe { StdStream::from_raw_fd(std.as_raw_fd()) };
        let (mut first, second) = (TcpStream::from_std(std).unwrap(), TcpStream::from_std(twin).unwrap());
        assert!(poll_once(pin!(first.readable())).await.is_pending());
        for _ in 0..100 {
            let refused = second.readable().await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::AlreadyExists, "{refused}");
        }
        mem::forget(second);
        peer.write_all(b"x").unwrap();
        assert_eq!(first.read(&mut [0; 8]).await.unwrap(), 1);
        first
    });
    assert_eq!(sources(&runtime), "1", "a hundred refusals left no slot behind");
    drop(done);
    assert_eq!(sources(&runtime), "0");
}

/// Row 21, and row 20 for another reason.
#[test]
fn a_regular_file_cannot_be_waited_for_and_leaves_no_slot_behind() {
    let runtime = Runtime::new().unwrap();
    let waited = runtime.block_on(async {
        let file = OwnedFd::from(File::open(env::current_exe().unwrap()).unwrap());
        let stream = TcpStream::from_std(StdStream::from(file)).unwrap();
        for _ in 0..100 {
            let refused = stream.readable().await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{refused}");
        }
        stream
    });
    assert_eq!(sources(&runtime), "0");
    drop(waited);
    drop(runtime);
}

/// Row 23: a slot is free again, is taken again, and the former owner's peer goes on writing.
#[test]
fn what_comes_for_a_source_that_is_gone_wakes_nobody_in_its_slot() {
    run(async {
        for _ in 0..50 {
            let (ours, mut theirs) = pair_with_std();
            // The duplicate keeps the socket open, so that its events may still come.
            let duplicate = ours.as_fd().try_clone_to_owned().unwrap();
            assert!(poll_once(pin!(ours.readable())).await.is_pending());
            theirs.write_all(b"in the batch of the next wait").unwrap();
            drop(ours);
            let (heir, mut peer) = pair_with_std();
            let mut waiting = pin!(heir.readable());
            for _ in 0..5 {
                assert!(poll_once(waiting.as_mut()).await.is_pending());
                yield_now().await;
            }
            peer.write_all(b"x").unwrap();
            waiting.await.unwrap();
            drop(duplicate);
        }
    });
}

/// Row 24: the child has a copy of everything and may only drop it; the parent's registrations stay.
#[test]
fn a_forked_child_may_only_drop_a_runtime_and_the_parent_goes_on() {
    if !in_child("a_forked_child_may_only_drop_a_runtime_and_the_parent_goes_on", "") {
        return;
    }
    let runtime = Runtime::new().unwrap();
    let (ours, mut theirs) = runtime.block_on(async { pair_with_std() }).unwrap();
    let waiting = async { assert!(poll_once(pin!(ours.readable())).await.is_pending()) };
    runtime.block_on(waiting).unwrap();
    // SAFETY: this process has one thread beside the harness's, which waits for it; the child drops and ends.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let refused = matches!(runtime.block_on(async {}), Err(RuntimeError::Forked));
        drop(ours);
        drop(runtime);
        // SAFETY: the call ends the process.
        unsafe { libc::_exit(if refused { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: the pointer is to one integer; the child is this process's own.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "the child was refused, and dropped in peace");
    theirs.write_all(b"x").unwrap();
    let mut ours = ours;
    let read = runtime.block_on(async { ours.read(&mut [0; 8]).await.unwrap() });
    assert_eq!(read.unwrap(), 1);
}

/// Who wakes a task in the child after that must not find a bell there whose number belongs to somebody else by now.
#[test]
fn a_wake_in_a_forked_child_that_dropped_its_runtime_writes_to_nobodys_descriptor() {
    if !in_child("a_wake_in_a_forked_child_that_dropped_its_runtime_writes_to_nobodys_descriptor", "") {
        return;
    }
    let runtime = Runtime::new().unwrap();
    let (sender, wakers) = std::sync::mpsc::channel();
    let task = runtime.handle().spawn_on(0, move || {
        std::future::poll_fn(move |context| {
            let _ = sender.send(context.waker().clone());
            std::task::Poll::<()>::Pending
        })
    });
    // Between two turns the worker is parked: the next wake rings.
    while runtime.turn(std::time::Duration::ZERO).unwrap() == wakering::Turn::Runnable {}
    let waker = wakers.recv().unwrap();
    // SAFETY: this process has one thread beside the harness's, which waits for it; the child drops and ends.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        drop(runtime);
        // They get the lowest numbers that are free, those of the bell and the selector among them.
        let strangers: Vec<_> = (0..8).map(|_| std::os::unix::net::UnixStream::pair().unwrap()).collect();
        waker.wake();
        let is_silent = |mut stream: &std::os::unix::net::UnixStream| {
            stream.set_nonblocking(true).is_ok() && std::io::Read::read(&mut stream, &mut [0; 8]).is_err()
        };
        let silent = strangers.iter().all(|(near, far)| is_silent(near) && is_silent(far));
        // SAFETY: the call ends the process.
        unsafe { libc::_exit(if silent { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: the pointer is to one integer; the child is this process's own.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "the child wrote to a descriptor that is not its own");
    drop(task);
}

/// Row 25: a program that is started beside a runtime at work gets the three descriptors that everybody gets.
#[test]
fn a_program_started_beside_a_runtime_at_work_inherits_nothing_of_it() {
    if !fs::exists("/proc/self/fd").unwrap() {
        return;
    }
    if !in_child("a_program_started_beside_a_runtime_at_work_inherits_nothing_of_it", "") {
        return;
    }
    let open = || {
        let script = "for fd in /proc/self/fd/*; do readlink \"$fd\"; done";
        let listed = Command::new("sh").args(["-c", script]).stdin(Stdio::null()).output().unwrap();
        let names = String::from_utf8(listed.stdout).unwrap();
        names.lines().filter(|name| name.contains("socket:") || name.contains("anon_inode")).count()
    };
    let before = open();
    let runtime = Runtime::builder().workers(2).build().unwrap();
    runtime
        .block_on(async {
            let (mut near, far) = pair().await;
            let listener = TcpListener::bind(LOOPBACK).unwrap();
            let datagrams = UdpSocket::bind(LOOPBACK).unwrap();
            let mut signals = signal::stream(Kind::USER_2).unwrap();
            assert!(poll_once(pin!(near.read(&mut [0; 1]))).await.is_pending());
            assert!(poll_once(pin!(listener.accept())).await.is_pending());
            assert!(poll_once(pin!(datagrams.recv(&mut [0; 1]))).await.is_pending());
            assert!(poll_once(pin!(signals.recv())).await.is_pending());
            assert_eq!(open(), before);
            drop(far);
        })
        .unwrap();
    // A program that has been handed one on purpose has it.
    let (ours, _theirs) = pair_with_std();
    let number = OwnedFd::from(ours.into_std()).into_raw_fd();
    // SAFETY: the call takes numbers and no pointer.
    assert_eq!(unsafe { libc::fcntl(number, libc::F_SETFD, 0) }, 0);
    assert_eq!(open(), before + 1, "the count is able to fail");
}
