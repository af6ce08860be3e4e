//! Bugs of sockets: rows 39 to 51 of `docs/hard-bugs.md`, those that are not where their room's tests are.

#![cfg(not(loom))]

#[path = "support/net.rs"]
mod support;

use std::{
    fs,
    io::{ErrorKind, Read},
    mem,
    net::Shutdown,
    pin::pin,
    ptr,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use support::{
    FOR_EVER, LOOPBACK, fill, in_child, let_sigpipe_kill, nobody, pair, pair_with_std, pattern, poll_once,
    reset, run,
};
use wakering::{
    net::{TcpListener, TcpStream, UdpSocket, UnixStream},
    spawn,
    time::sleep,
};

static ALARMS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_signal: libc::c_int) {
    ALARMS.fetch_add(1, Ordering::Relaxed);
}

/// Interrupts whatever this process does every `period`: its handler lets no call go on by itself (no `SA_RESTART`).
fn interrupt_every(period: Duration) {
    // SAFETY: zeroes are an empty action: no flags, no mask.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = count as *const () as usize;
    // SAFETY: the handler only adds to an atomic; the pointers are to this stack or null.
    assert_eq!(unsafe { libc::sigaction(libc::SIGALRM, &raw const action, ptr::null_mut()) }, 0);
    let period = libc::timeval { tv_sec: 0, tv_usec: libc::suseconds_t::from(period.subsec_micros() as i32) };
    let timer = libc::itimerval { it_interval: period, it_value: period };
    // SAFETY: the pointers are to this stack or null.
    assert_eq!(unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, ptr::null_mut()) }, 0);
}

/// Row 39: what a refused connect leaves behind, dropped at each stage.
#[test]
fn a_refused_or_forgotten_connect_leaves_no_descriptor() {
    if !in_child("a_refused_or_forgotten_connect_leaves_no_descriptor", "") {
        return;
    }
    let open = || fs::read_dir("/proc/self/fd").map(Iterator::count).ok();
    run(async {
        let target = nobody();
        let refused = TcpStream::connect(target).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{refused}");
        let before = open();
        for _ in 0..200 {
            assert!(TcpStream::connect(target).await.is_err());
            // Begun and dropped, be it in progress or refused at once.
            drop(poll_once(pin!(TcpStream::connect(target))).await);
        }
        assert_eq!(open(), before);
    });
}

/// Row 42, on every way to write: TCP and Unix, plain and vectored, after a reset, a close and a shutdown.
#[test]
fn no_way_of_writing_to_nobody_raises_a_signal() {
    if !in_child("no_way_of_writing_to_nobody_raises_a_signal", "") {
        return;
    }
    let_sigpipe_kill();
    run(async {
        let slices = [std::io::IoSlice::new(b"x"), std::io::IoSlice::new(b"y")];
        let (mut ours, theirs) = pair_with_std();
        reset(theirs);
        assert!(ours.read(&mut [0; 1]).await.is_err());
        assert_eq!(ours.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(ours.write_vectored(&slices).await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        let (mut ours, _theirs) = pair_with_std();
        ours.shutdown(Shutdown::Write).unwrap();
        assert_eq!(ours.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(ours.write_vectored(&slices).await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        assert_eq!(ours.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(ours.write_vectored(&slices).await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

/// Row 43: a signal every 300 µs, for which no call goes on by itself, in the midst of all that sockets do.
#[test]
fn an_interruption_comes_through_no_call() {
    if !in_child("an_interruption_comes_through_no_call", "") {
        return;
    }
    interrupt_every(Duration::from_micros(300));
    run(async {
        let end = Instant::now() + Duration::from_millis(600);
        let sent = pattern(43, 100_000);
        let mut rounds = 0;
        // Signals that nobody was run for melt into one.
        while Instant::now() < end || rounds < 3 || ALARMS.load(Ordering::Relaxed) <= 100 {
            let (mut near, mut far) = pair().await;
            let bytes = sent.clone();
            let writing = spawn(async move {
                near.write_all(&bytes).await.unwrap();
                near.shutdown(Shutdown::Write).unwrap();
                assert_eq!(near.read(&mut [0; 1]).await.unwrap(), 0);
            });
            let (mut received, mut buffer) = (Vec::new(), vec![0; 3_000]);
            loop {
                match far.read(&mut buffer).await.unwrap() {
                    0 => break,
                    read => received.extend_from_slice(&buffer[..read]),
                }
            }
            assert!(received == sent, "round {rounds}");
            drop(far);
            writing.await.unwrap();
            let (here, there) = (UdpSocket::bind(LOOPBACK).unwrap(), UdpSocket::bind(LOOPBACK).unwrap());
            here.send_to(b"datagram", there.local_addr().unwrap()).await.unwrap();
            assert_eq!(there.recv_from(&mut buffer).await.unwrap().len, 8);
            let before = Instant::now();
            sleep(Duration::from_millis(2)).await;
            assert!(before.elapsed() >= Duration::from_millis(2), "a sleep that was interrupted goes on");
            rounds += 1;
        }
    });
}

/// Row 48, for each way of writing.
#[test]
fn a_reset_ends_a_pending_write_of_every_kind() {
    run(async {
        for way in 0..3 {
            let (mut ours, theirs) = pair_with_std();
            fill(&ours).await;
            let writing = spawn(async move {
                match way {
                    0 => ours.write(b"x").await.map(|_| ()),
                    1 => ours.write_all(&[0; 100_000]).await,
                    _ => ours.write_vectored(&[std::io::IoSlice::new(b"x"); 3]).await.map(|_| ()),
                }
            });
            wakering::yield_now().await;
            assert!(!writing.is_finished(), "there is no room");
            reset(theirs);
            let error = writing.await.unwrap().unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
                "way {way}: {error}"
            );
        }
    });
}

/// Row 49: with a lingering time of zero a close is a reset, and it does not wait for what is unsent.
#[test]
fn a_close_with_a_lingering_time_of_zero_neither_waits_nor_delivers() {
    run(async {
        let (ours, mut theirs) = pair_with_std();
        fill(&ours).await;
        ours.set_linger(Some(Duration::ZERO)).unwrap();
        let before = Instant::now();
        drop(ours);
        assert!(before.elapsed() < FOR_EVER / 2, "the close has waited");
        let mut buffer = vec![0; 65_536];
        let error = loop {
            match theirs.read(&mut buffer) {
                Ok(0) => panic!("an end in order"),
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

/// Rows 39 and 40, the other way round: a listener that goes while connects are on their way.
#[test]
fn connects_to_a_listener_that_goes_end_all_the_same() {
    run(async {
        for _ in 0..20 {
            let listener = TcpListener::builder().backlog(16).bind(LOOPBACK).unwrap();
            let address = listener.local_addr().unwrap();
            let connecting: Vec<_> = (0..4).map(|_| spawn(TcpStream::connect(address))).collect();
            wakering::yield_now().await;
            drop(listener);
            for task in connecting {
                // Connected and then reset, reset in the queue, or refused: but over.
                if let Ok(mut stream) = task.await.unwrap() {
                    let ended = stream.read(&mut [0; 1]).await;
                    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
                }
            }
        }
    });
}
