//! The contract of `sys`, as one table of cases that runs on whichever backend is built.
//!
//! The cases run one after the other in one test, since several count or reuse the process's descriptors. Nothing
//! sleeps to give something time: a case waits for what it needs, or asks the kernel whether a thread sleeps.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use wakering::internals::sys::{CLOSE_DEREGISTERS, Interest, Readiness, SHORT_READ_RULE, Selector, Token};

use self::support::{
    PATIENCE, QUIET, Signal, Sleeper, assert_quiet, bell_of, closes_on_exec, drain, fill, in_forked_child,
    is_readable, open_descriptors, pipe, rearm, refuse_call, register, ring_when_asleep, selector,
    send_urgent, tcp_listener, tcp_pair, unacknowledged, unix_pair, until, wait, write_all_of,
};

#[path = "support/exact.rs"]
mod exact;
#[path = "support/selector.rs"]
mod support;

/// Whether the backend under test is epoll itself, with what only epoll can tell.
const EPOLL: bool =
    cfg!(all(any(target_os = "linux", target_os = "android"), not(any(wakering_fallback, wakering_kqueue))));
/// Whether the backend is the one-shot fallback.
const FALLBACK: bool = cfg!(wakering_fallback);

const TOKEN: Token = Token(7);

const CASES: &[(&str, fn())] = &[
    ("an edge is reported once until the source is drained", edge_is_reported_once),
    ("registering reports the state that is there", registering_reports_present_state),
    ("a full socket becomes writable when the peer reads", full_socket_becomes_writable),
    ("an event of one direction leaves the other alive", one_direction_leaves_the_other_alive),
    ("one interest reports one direction", one_interest_reports_one_direction),
    ("what comes between drain and rearm is reported", nothing_is_lost_between_drain_and_rearm),
    ("a half-close wakes the reader and is no hang-up", half_close_wakes_the_reader),
    ("a hang-up wakes both directions", hang_up_wakes_both_directions),
    ("a reset wakes both directions", reset_wakes_both_directions),
    ("a pipe without readers wakes its writer", broken_pipe_wakes_its_writer),
    ("tokens come back bit by bit", tokens_come_back_intact),
    ("an earlier owner's event keeps its own token", earlier_owner_keeps_its_token),
    ("a deregistered source is silent", deregistered_source_is_silent),
    ("a source can be registered again with another token", source_can_be_registered_again),
    ("registering twice is an error that changes nothing", registering_twice_is_an_error),
    ("a regular file is refused and leaves nothing behind", regular_file_is_refused),
    ("events beyond the capacity come with the next waits", events_beyond_capacity_come_later),
    ("a busy source does not starve the others", busy_source_does_not_starve_others),
    ("a capacity of zero counts as one", capacity_of_zero_counts_as_one),
    ("the doorbell ends a sleeping wait", doorbell_ends_a_sleeping_wait),
    ("a ring before the wait is not lost", ring_before_the_wait_is_not_lost),
    ("rings coalesce and are over after one wait", rings_coalesce),
    ("every later ring is seen too", every_ring_is_seen),
    ("a ring comes through beside events and is not one", ring_beside_events_is_not_an_event),
    ("a full doorbell still rings", full_doorbell_still_rings),
    ("a bell is a number that may be copied", bell_is_a_number),
    ("a timeout of zero does not sleep", zero_timeout_does_not_sleep),
    ("a short timeout is never early and never zero", short_timeout_is_never_early),
    ("a timeout beyond what the kernel counts sleeps", huge_timeout_sleeps),
    ("a sleep of tens of milliseconds is never early", long_timeout_is_never_early),
    ("a sleep behind a longer or a shorter one ends", sleeps_of_all_lengths_end),
    ("a kernel that refuses fine timeouts makes waits longer", refused_fine_timeouts_are_rounded_up),
    ("a signal is no error", signal_is_no_error),
    ("every descriptor is close-on-exec", every_descriptor_is_close_on_exec),
    ("a forked child may drop the selector", forked_child_may_drop_the_selector),
    ("a shared listener is level-triggered", shared_listener_is_level_triggered),
    ("a connection wakes one of the listener's selectors", connection_wakes_one_selector),
    ("deregistering before the close ends a duplicate's events", deregistering_beats_a_duplicate),
    ("a duplicate keeps the registration of a closed descriptor", duplicate_keeps_the_registration),
    ("urgent data forbids the short-read rule", urgent_data_forbids_the_short_read_rule),
    ("the selector's descriptor is readable when a wait would end", descriptor_tells_of_events),
];

#[test]
fn the_backend_keeps_the_contract() {
    if exact::calls_may_fail() {
        return;
    }
    let mut failed = Vec::new();
    for (name, case) in CASES {
        match panic::catch_unwind(AssertUnwindSafe(case)) {
            Ok(()) => println!("case {name} ... ok"),
            Err(_) => {
                println!("case {name} ... FAILED");
                failed.push(*name);
            }
        }
    }
    assert!(failed.is_empty(), "{} of {} cases failed: {failed:#?}", failed.len(), CASES.len());
}

// Readiness.

fn edge_is_reported_once() {
    let (mut near, mut far) = unix_pair();
    let mut selector = selector();
    register(&selector, &near, TOKEN, Interest::BOTH);
    assert_eq!(until(&mut selector, TOKEN, Readiness::wakes_writer), Readiness::WRITABLE);

    far.write_all(b"one").expect("a write");
    let seen = until(&mut selector, TOKEN, Readiness::wakes_reader);
    assert!(seen.contains(Readiness::READABLE) && !seen.contains(Readiness::READ_CLOSED), "{seen:?}");
    assert_quiet(&mut selector);

    assert_eq!(drain(&mut near), b"one");
    rearm(&selector, &near, TOKEN, Interest::READ);
    assert_quiet(&mut selector);
    far.write_all(b"two").expect("a write");
    until(&mut selector, TOKEN, Readiness::wakes_reader);
}

fn registering_reports_present_state() {
    let (near, mut far) = unix_pair();
    far.write_all(b"early").expect("a write");
    let mut selector = selector();
    register(&selector, &near, TOKEN, Interest::BOTH);
    until(&mut selector, TOKEN, |seen| seen.contains(Readiness::READABLE | Readiness::WRITABLE));
}

fn full_socket_becomes_writable() {
    let (mut near, mut far) = unix_pair();
    fill(&mut near);
    let mut selector = selector();
    register(&selector, &near, TOKEN, Interest::BOTH);
    assert_quiet(&mut selector);
    drain(&mut far);
    until(&mut selector, TOKEN, |seen| seen.contains(Readiness::WRITABLE));

    fill(&mut near);
    rearm(&selector, &near, TOKEN, Interest::WRITE);
    assert_quiet(&mut selector);
    drain(&mut far);
    until(&mut selector, TOKEN, |seen| seen.contains(Readiness::WRITABLE));
}

fn one_direction_leaves_the_other_alive() {
    let (near, mut far) = unix_pair();
    let mut selector = selector();
    register(&selector, &near, TOKEN, Interest::BOTH);
    until(&mut selector, TOKEN, Readiness::wakes_writer);
    far.write_all(b"later").expect("a write");
    until(&mut selector, TOKEN, Readiness::wakes_reader);

    let (mut near, mut far) = unix_pair();
    fill(&mut near);
    far.write_all(b"first").expect("a write");
    register(&selector, &near, Token(8), Interest::BOTH);
    let seen = until(&mut selector, Token(8), Readiness::wakes_reader);
    assert!(!seen.wakes_writer(), "{seen:?}");
    drain(&mut far);
    until(&mut selector, Token(8), Readiness::wakes_writer);
}

fn one_interest_reports_one_direction() {
    let (near, mut far) = unix_pair();
    let mut selector = selector();
    register(&selector, &near, TOKEN, Interest::READ);
    assert_quiet(&mut selector);
    far.write_all(b"x").expect("a write");
    assert!(!until(&mut selector, TOKEN, Readiness::wakes_reader).wakes_writer());

    register(&selector, &far, Token(8), Interest::WRITE);
    assert!(!until(&mut selector, Token(8), Readiness::wakes_writer).wakes_reader());
}

fn nothing_is_lost_between_drain_and_rearm() {
    let (mut near, mut far) = unix_pair();
    let mut selector = selector();
    register(&selector, &near, TOKEN, Interest::READ);
    for round in 0..100_u8 {
        far.write_all(&[round]).expect("a write");
        until(&mut selector, TOKEN, Readiness::wakes_reader);
        assert_eq!(drain(&mut near), [round]);
        far.write_all(&[round]).expect("a write");
        rearm(&selector, &near, TOKEN, Interest::READ);
        until(&mut selector, TOKEN, Readiness::wakes_reader);
        assert_eq!(drain(&mut near), [round]);
        rearm(&selector, &near, TOKEN, Interest::READ);
    }
    assert_quiet(&mut selector);
}

fn half_close_wakes_the_reader() {
    let (mut near, far) = tcp_pair();
    let mut selector = selector();
    register(&selector, &near, TOKEN, Interest::BOTH);
    until(&mut selector, TOKEN, Readiness::wakes_writer);
    far.shutdown(std::net::Shutdown::Write).expect("a half-close");
    let seen = until(&mut selector, TOKEN, Readiness::wakes_reader);
    assert!(!seen.intersects(Readiness::WRITE_CLOSED | Readiness::ERROR), "{seen:?}");
    assert!(FALLBACK || seen.contains(Readiness::READ_CLOSED), "{seen:?}");
    assert_eq!(drain(&mut near), b"");
    near.write_all(b"still open").expect("the other direction");
}

fn hang_up_wakes_both_directions() {
    let (mut near, far) = unix_pair();
    fill(&mut near);
    let mut selector = selector();
    register(&selector, &near, TOKEN, Interest::BOTH);
    drop(far);
    until(&mut selector, TOKEN, |seen| seen.wakes_reader() && seen.wakes_writer());
}

fn reset_wakes_both_directions() {
    let (mut near, far) = tcp_pair();
    near.write_all(b"unread").expect("a write");
    far.set_nonblocking(false).expect("blocking");
    far.peek(&mut [0]).expect("the bytes have arrived");
    let mut selector = selector();
    register(&selector, &near, TOKEN, Interest::BOTH);
    // A socket that is closed with unread bytes resets its connection.
    drop(far);
    let seen = until(&mut selector, TOKEN, |seen| seen.contains(Readiness::ERROR) && seen.wakes_writer());
    assert!(seen.wakes_reader() && seen.wakes_writer(), "{seen:?}");
    assert!(near.read(&mut [0]).is_err());
}

fn broken_pipe_wakes_its_writer() {
    let (reader, writer) = pipe();
    let mut selector = selector();
    register(&selector, &writer, TOKEN, Interest::WRITE);
    until(&mut selector, TOKEN, Readiness::wakes_writer);
    rearm(&selector, &writer, TOKEN, Interest::WRITE);
    drop(reader);
    let seen =
        until(&mut selector, TOKEN, |seen| seen.intersects(Readiness::ERROR | Readiness::WRITE_CLOSED));
    assert!(seen.wakes_writer());
}

// Tokens and registrations.

fn tokens_come_back_intact() {
    let mut selector = selector();
    let tokens = [0, 1, 0x00ff_ffff, 0x0fff_ffff_0000_0003, 1 << 63, u64::MAX - 1].map(Token);
    let pairs = tokens.map(|token| {
        let pair = unix_pair();
        register(&selector, &pair.0, token, Interest::WRITE);
        pair
    });
    let mut left = tokens.to_vec();
    while !left.is_empty() {
        for event in wait(&mut selector, PATIENCE) {
            left.retain(|token| *token != event.token);
        }
    }
    drop(pairs);
}

fn earlier_owner_keeps_its_token() {
    let (earlier, earlier_token) = (unix_pair(), Token(1 << 32));
    let mut selector = selector();
    register(&selector, &earlier.0, earlier_token, Interest::WRITE);
    selector.wait(Some(PATIENCE)).expect("a wait");

    // The event is in the batch; now its owner goes and another takes the descriptor's number.
    selector.deregister(earlier.0.as_fd()).expect("registered");
    let number = earlier.0.as_raw_fd();
    drop(earlier);
    let (later, later_token) = (unix_pair(), Token(2 << 32));
    assert_eq!(later.0.as_raw_fd(), number, "the number is used again");
    register(&selector, &later.0, later_token, Interest::WRITE);

    let tokens: Vec<_> = selector.events().map(|event| event.token).collect();
    assert_eq!(tokens, [earlier_token]);
    let tokens: Vec<_> = wait(&mut selector, PATIENCE).iter().map(|event| event.token).collect();
    assert_eq!(tokens, [later_token]);
    assert_quiet(&mut selector);
}

fn deregistered_source_is_silent() {
    let (near, mut far) = unix_pair();
    let mut selector = selector();
    register(&selector, &near, TOKEN, Interest::BOTH);
    until(&mut selector, TOKEN, Readiness::wakes_writer);
    far.write_all(b"not yet fetched").expect("a write");
    selector.deregister(near.as_fd()).expect("registered");
    assert_quiet(&mut selector);
    far.write_all(b"nobody listens").expect("a write");
    assert_quiet(&mut selector);
}

fn source_can_be_registered_again() {
    let (near, mut far) = unix_pair();
    far.write_all(b"x").expect("a write");
    let mut selector = selector();
    for round in 0..10 {
        register(&selector, &near, Token(round), Interest::READ);
        until(&mut selector, Token(round), Readiness::wakes_reader);
        selector.deregister(near.as_fd()).expect("registered");
    }
}

fn registering_twice_is_an_error() {
    if !EPOLL && !FALLBACK {
        return;
    }
    let (near, mut far) = unix_pair();
    let mut selector = selector();
    register(&selector, &near, TOKEN, Interest::READ);
    let error = selector.register(near.as_fd(), Token(8), Interest::BOTH).expect_err("registered already");
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_quiet(&mut selector);
    far.write_all(b"x").expect("a write");
    until(&mut selector, TOKEN, Readiness::wakes_reader);

    selector.deregister(near.as_fd()).expect("registered");
    let error = selector.deregister(near.as_fd()).expect_err("not registered any more");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

fn regular_file_is_refused() {
    if !EPOLL && !FALLBACK {
        return;
    }
    let file = File::open(std::env::current_exe().expect("this program")).expect("a file");
    let mut selector = selector();
    let error = selector.register(file.as_fd(), TOKEN, Interest::BOTH).expect_err("a file is always ready");
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    let number = file.as_raw_fd();
    drop(file);
    let (near, _far) = unix_pair();
    assert_eq!(near.as_raw_fd(), number, "the number is used again");
    register(&selector, &near, TOKEN, Interest::WRITE);
    until(&mut selector, TOKEN, Readiness::wakes_writer);
}

// The events' capacity.

fn events_beyond_capacity_come_later() {
    const SOURCES: u64 = 16;
    const CAPACITY: usize = 4;
    let mut selector = Selector::new(CAPACITY).expect("a selector");
    let pairs: Vec<_> = (0..SOURCES).map(|_| unix_pair()).collect();
    for (token, pair) in (0..).zip(&pairs) {
        register(&selector, &pair.0, Token(token), Interest::WRITE);
    }
    bell_of(&selector).ring();
    let mut seen = BTreeMap::new();
    let deadline = Instant::now() + PATIENCE;
    while seen.len() < SOURCES as usize && Instant::now() < deadline {
        let events = wait(&mut selector, PATIENCE);
        assert!(events.len() <= CAPACITY);
        for event in events {
            *seen.entry(event.token).or_insert(0) += 1;
        }
    }
    assert_eq!(seen.len(), SOURCES as usize);
    assert!(seen.values().all(|count| *count == 1), "{seen:?}");
    // The ring may have been the last in the row.
    assert_eq!(wait(&mut selector, Duration::ZERO), []);
    assert_quiet(&mut selector);
}

fn busy_source_does_not_starve_others() {
    const OTHERS: u64 = 16;
    let mut selector = Selector::new(1).expect("a selector");
    let (mut near, mut far) = unix_pair();
    register(&selector, &near, Token(OTHERS), Interest::READ);
    let pairs: Vec<_> = (0..OTHERS).map(|_| unix_pair()).collect();
    for (token, pair) in (0..).zip(&pairs) {
        register(&selector, &pair.0, Token(token), Interest::WRITE);
    }
    let mut left: Vec<_> = (0..OTHERS).map(Token).collect();
    for _ in 0..=2 * OTHERS {
        far.write_all(b"again").expect("a write");
        for event in wait(&mut selector, PATIENCE) {
            left.retain(|token| *token != event.token);
            if event.token == Token(OTHERS) {
                drain(&mut near);
                rearm(&selector, &near, Token(OTHERS), Interest::READ);
            }
        }
    }
    assert!(left.is_empty(), "starved: {left:?}");
}

fn capacity_of_zero_counts_as_one() {
    let (near, _far) = unix_pair();
    let mut selector = Selector::new(0).expect("a selector");
    register(&selector, &near, TOKEN, Interest::WRITE);
    until(&mut selector, TOKEN, Readiness::wakes_writer);
}

// The doorbell.

fn doorbell_ends_a_sleeping_wait() {
    let mut selector = selector();
    for timeout in [None, Some(PATIENCE)] {
        let rung = ring_when_asleep(bell_of(&selector));
        selector.wait(timeout).expect("a wait");
        assert!(rung.was_rung(), "the wait ended by itself");
        assert_eq!(selector.events().count(), 0);
    }
}

fn ring_before_the_wait_is_not_lost() {
    let mut selector = selector();
    bell_of(&selector).ring();
    selector.wait(None).expect("a wait");
    assert_eq!(selector.events().count(), 0);
    let bell = bell_of(&selector);
    thread::spawn(move || bell.ring()).join().expect("a ring");
    selector.wait(None).expect("a wait");
}

fn rings_coalesce() {
    let mut selector = selector();
    for _ in 0..1000 {
        bell_of(&selector).ring();
    }
    selector.wait(None).expect("a wait");
    assert_quiet(&mut selector);
}

fn every_ring_is_seen() {
    let mut selector = selector();
    for _ in 0..1000 {
        bell_of(&selector).ring();
        selector.wait(None).expect("a wait");
    }
    assert_quiet(&mut selector);
}

fn ring_beside_events_is_not_an_event() {
    let (near, _far) = unix_pair();
    let mut selector = selector();
    register(&selector, &near, TOKEN, Interest::WRITE);
    bell_of(&selector).ring();
    assert!(until(&mut selector, TOKEN, Readiness::wakes_writer).contains(Readiness::WRITABLE));
    wait(&mut selector, Duration::ZERO);
    assert_quiet(&mut selector);
}

fn full_doorbell_still_rings() {
    let mut selector = selector();
    let bell = bell_of(&selector);
    if EPOLL {
        write_all_of(bell.to_raw(), &(u64::MAX - 1).to_ne_bytes());
    } else {
        (0..1_000_000).for_each(|_| bell.ring());
    }
    selector.wait(None).expect("a wait");
    let rung = ring_when_asleep(bell);
    selector.wait(None).expect("a wait");
    assert!(rung.was_rung());
    assert_quiet(&mut selector);
}

fn bell_is_a_number() {
    let mut selector = selector();
    let bell = bell_of(&selector);
    assert_eq!(bell, bell_of(&selector), "it is a number, and always the same");
    bell.ring();
    selector.wait(None).expect("a wait");
}

// Timeouts and signals.

fn zero_timeout_does_not_sleep() {
    let mut selector = selector();
    let start = Instant::now();
    for _ in 0..100 {
        selector.wait(Some(Duration::ZERO)).expect("a wait");
    }
    assert!(start.elapsed() < PATIENCE);
}

fn short_timeout_is_never_early() {
    let mut selector = selector();
    for timeout in [1, 64_000, 200_000, 999_999, 1_000_000, 1_500_000].map(Duration::from_nanos) {
        let mut best = Duration::MAX;
        for _ in 0..20 {
            let start = Instant::now();
            selector.wait(Some(timeout)).expect("a wait");
            let took = start.elapsed();
            assert!(took >= timeout, "{took:?} for {timeout:?}");
            best = best.min(took);
        }
        println!("     a wait of {timeout:?} took {best:?} at best");
    }
}

fn refused_fine_timeouts_are_rounded_up() {
    if !EPOLL {
        return;
    }
    for errno in [libc::ENOSYS, libc::EPERM] {
        let waits = thread::spawn(move || {
            // The filter ends with this thread.
            refuse_call(libc::SYS_epoll_pwait2, errno);
            let mut selector = selector();
            for _ in 0..2 {
                let start = Instant::now();
                selector.wait(Some(Duration::from_micros(200))).expect("a coarser wait");
                assert!(start.elapsed() >= Duration::from_millis(1), "{:?}", start.elapsed());
            }
            bell_of(&selector).ring();
            selector.wait(Some(Duration::from_micros(200))).expect("a coarser wait");
        });
        waits.join().expect("no error on the way");
    }
}

fn huge_timeout_sleeps() {
    let mut selector = selector();
    let past_the_kernel = Duration::from_millis(i32::MAX as u64 + 1);
    for timeout in [past_the_kernel, Duration::from_secs(u64::from(u32::MAX)), Duration::MAX] {
        let rung = ring_when_asleep(bell_of(&selector));
        selector.wait(Some(timeout)).expect("a wait");
        assert!(rung.was_rung(), "the wait of {timeout:?} ended by itself");
    }
}

fn long_timeout_is_never_early() {
    for timeout in [9, 10, 11, 25].map(Duration::from_millis) {
        let mut selector = selector();
        let start = Instant::now();
        selector.wait(Some(timeout)).expect("a wait");
        assert!(start.elapsed() >= timeout, "{:?} for {timeout:?}", start.elapsed());
    }
}

fn sleeps_of_all_lengths_end() {
    let mut selector = selector();
    for (longer, timeout) in [(3_600_000, 20), (30, 5), (12, 30), (3_600_000, 11)] {
        // Something else ends a longer sleep, and the next one ends by itself all the same.
        bell_of(&selector).ring();
        selector.wait(Some(Duration::from_millis(longer))).expect("a wait");
        let (start, timeout) = (Instant::now(), Duration::from_millis(timeout));
        while let Some(left) = timeout.checked_sub(start.elapsed()) {
            selector.wait(Some(left)).expect("a wait");
        }
        assert!(start.elapsed() < PATIENCE, "{:?} for {timeout:?}", start.elapsed());
    }
}

fn signal_is_no_error() {
    let mut selector = selector();
    let (bell, sleeper) = (bell_of(&selector), Sleeper::this_thread());
    let signal = Signal::for_this_thread();
    let done = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&done);
    let signaller = thread::spawn(move || {
        sleeper.until_asleep();
        signal.send();
        while !Signal::arrived() {
            thread::yield_now();
        }
        flag.store(true, Ordering::Relaxed);
        bell.ring();
    });
    let mut waits = 0;
    while !done.load(Ordering::Relaxed) {
        selector.wait(None).expect("a signal is no error");
        assert_eq!(selector.events().count(), 0);
        waits += 1;
    }
    signaller.join().expect("the signaller");
    assert!(waits <= 2, "{waits} waits");
}

// Descriptors.

fn every_descriptor_is_close_on_exec() {
    let before = open_descriptors();
    let selector = selector();
    let mut own = open_descriptors();
    own.retain(|number| !before.contains(number));
    if own.is_empty() {
        own = vec![selector.as_fd().as_raw_fd(), bell_of(&selector).to_raw()];
    }
    for number in own {
        assert!(closes_on_exec(number), "descriptor {number}");
    }
    drop(selector);
    assert_eq!(open_descriptors(), before, "dropping a selector closes everything");
}

fn forked_child_may_drop_the_selector() {
    let (near, mut far) = unix_pair();
    let mut kept = Some(selector());
    register(kept.as_ref().expect("kept"), &near, TOKEN, Interest::READ);
    // What the child drops of its parent's must not change what the parent's kernel objects report.
    assert_eq!(in_forked_child(|| drop(kept.take())), 0);

    let mut selector = kept.expect("taken in the child alone");
    assert_quiet(&mut selector);
    far.write_all(b"x").expect("a write");
    until(&mut selector, TOKEN, Readiness::wakes_reader);
    let rung = ring_when_asleep(bell_of(&selector));
    selector.wait(None).expect("a wait");
    assert!(rung.was_rung());
}

fn shared_listener_is_level_triggered() {
    let listener = tcp_listener();
    let mut selectors = [selector(), selector()];
    for selector in &selectors {
        register(selector, &listener, TOKEN, Interest::READ_SHARED);
        selector.deregister(listener.as_fd()).expect("registered");
        register(selector, &listener, TOKEN, Interest::READ_SHARED);
    }
    let _client = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
    for _ in 0..3 {
        let told: usize = selectors.iter_mut().map(|selector| wait(selector, QUIET).len()).sum();
        assert!(told >= 1, "nobody was told of a connection that waits");
    }
    listener.accept().expect("the connection");
    selectors.iter_mut().for_each(assert_quiet);
}

fn connection_wakes_one_selector() {
    if !EPOLL {
        return;
    }
    let listener = tcp_listener();
    let address = listener.local_addr().expect("an address");
    let woken = AtomicUsize::new(0);
    thread::scope(|scope| {
        let mut bells = Vec::new();
        let mut sleepers = Vec::new();
        for _ in 0..2 {
            let mut selector = selector();
            register(&selector, &listener, TOKEN, Interest::READ_SHARED);
            bells.push(bell_of(&selector));
            let (listener, woken) = (&listener, &woken);
            let (tell, told) = std::sync::mpsc::channel();
            scope.spawn(move || {
                tell.send(Sleeper::this_thread()).expect("a receiver");
                selector.wait(None).expect("a wait");
                if selector.events().next().is_some() {
                    listener.accept().expect("the connection");
                    woken.fetch_add(1, Ordering::SeqCst);
                }
                // Its doorbell is good until both threads have been rung.
                selector
            });
            sleepers.push(told.recv().expect("a sleeper"));
        }
        sleepers.iter().for_each(Sleeper::until_asleep);
        let client = TcpStream::connect(address).expect("a connection");
        let deadline = Instant::now() + PATIENCE;
        while woken.load(Ordering::SeqCst) == 0 && Instant::now() < deadline {
            thread::yield_now();
        }
        bells.into_iter().for_each(|bell| bell.ring());
        drop(client);
    });
    assert_eq!(woken.load(Ordering::SeqCst), 1);
}

fn deregistering_beats_a_duplicate() {
    let (near, mut far) = unix_pair();
    let duplicate = near.try_clone().expect("a duplicate");
    let mut selector = selector();
    register(&selector, &near, TOKEN, Interest::BOTH);
    until(&mut selector, TOKEN, Readiness::wakes_writer);
    selector.deregister(near.as_fd()).expect("registered");
    drop(near);
    far.write_all(b"for the duplicate").expect("a write");
    assert_quiet(&mut selector);
    drop(duplicate);
}

fn duplicate_keeps_the_registration() {
    if !EPOLL {
        return;
    }
    const { assert!(CLOSE_DEREGISTERS || !EPOLL) };
    let (near, mut far) = unix_pair();
    let duplicate = near.try_clone().expect("a duplicate");
    let mut selector = selector();
    register(&selector, &near, TOKEN, Interest::READ);
    drop(near);
    far.write_all(b"x").expect("a write");
    // Why descriptors that were ever lent out are deregistered before they are closed: the token lives on.
    until(&mut selector, TOKEN, Readiness::wakes_reader);
    let error = selector.deregister(duplicate.as_fd()).expect_err("another number");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    drop(duplicate);
    assert_quiet(&mut selector);
}

fn urgent_data_forbids_the_short_read_rule() {
    if !SHORT_READ_RULE {
        return;
    }
    let (mut near, mut far) = tcp_pair();
    let mut selector = selector();
    register(&selector, &near, TOKEN, Interest::BOTH);
    far.write_all(&[1; 100]).expect("a write");
    send_urgent(&far);
    far.write_all(&[2; 50]).expect("a write");
    let seen = until(&mut selector, TOKEN, |seen| seen.contains(Readiness::READABLE | Readiness::PRIORITY));
    assert!(seen.forbids_short_read_rule());
    // Wait until everything is there, so that what stops the read can only be the mark.
    while unacknowledged(&far) > 0 {
        thread::yield_now();
    }
    let mut buffer = [0; 4096];
    assert_eq!(near.read(&mut buffer).expect("bytes before the mark"), 100);
    assert_eq!(near.read(&mut buffer).expect("bytes behind the mark"), 50);
}

fn descriptor_tells_of_events() {
    let mut selector = selector();
    assert!(!is_readable(selector.as_fd()));
    bell_of(&selector).ring();
    assert!(is_readable(selector.as_fd()));
    selector.wait(None).expect("a wait");
    assert!(!is_readable(selector.as_fd()));
    let (near, _far) = unix_pair();
    register(&selector, &near, TOKEN, Interest::WRITE);
    assert!(is_readable(selector.as_fd()));
}
