//! Signals, sent for real. Dispositions belong to the process, so each test has a signal of its own, or a child
//! process.

#![cfg(all(unix, not(loom)))]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, to a reader if not to the lint")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs, io, process};

use wakering::signal::{self, Kind};
use wakering::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(60);

/// `kill` is in every shell, and in the standard library it is not.
fn send(process: u32, kind: Kind) {
    let status = Command::new("sh").args(["-c", &format!("kill -{} {process}", kind.to_raw())]).status();
    assert!(status.expect("there is a shell").success());
}

fn send_to_self(kind: Kind) {
    send(process::id(), kind);
}

async fn expect(stream: &mut signal::Signal, kind: Kind) {
    let received = timeout(PATIENCE, stream.recv()).await.expect("the signal comes");
    assert_eq!(received.expect("the pipe can be waited for"), kind);
}

#[test]
fn a_waiting_stream_gets_each_delivery() {
    const KIND: Kind = Kind::USER_1;
    wakering::run(async {
        let mut stream = signal::stream(KIND).unwrap();
        for _ in 0..5 {
            let sender = thread::spawn(|| send_to_self(KIND));
            expect(&mut stream, KIND).await;
            sender.join().unwrap();
        }
        assert!(
            timeout(Duration::from_millis(20), stream.recv()).await.is_err(),
            "no delivery is given twice"
        );
    })
    .unwrap();
}

#[test]
fn a_delivery_before_the_wait_is_not_lost_and_one_before_the_stream_is_not_given() {
    const KIND: Kind = Kind::USER_2;
    wakering::run(async {
        let mut early = signal::stream(KIND).unwrap();
        send_to_self(KIND);
        expect(&mut early, KIND).await;
        let mut late = signal::stream(KIND).unwrap();
        assert!(timeout(Duration::from_millis(20), late.recv()).await.is_err());
    })
    .unwrap();
}

#[test]
fn several_workers_and_runtimes_of_a_process_all_get_the_signal() {
    const KIND: Kind = Kind::HANGUP;
    // The last signal may be under way when the last of the others has stopped listening, and would end us.
    let _until_the_end = signal::stream(KIND).unwrap();
    let (ready, is_ready) = mpsc::channel();
    let runtimes: Vec<_> = (0..2)
        .map(|_| {
            let ready = ready.clone();
            thread::spawn(move || {
                let runtime = wakering::Runtime::builder().workers(2).build().unwrap();
                runtime
                    .block_on(async move {
                        let tasks: Vec<_> = (0..2)
                            .map(|worker| {
                                let ready = ready.clone();
                                let listen = move || async move {
                                    let mut streams = [(); 2].map(|()| signal::stream(KIND).unwrap());
                                    ready.send(()).unwrap();
                                    for stream in &mut streams {
                                        expect(stream, KIND).await;
                                        ready.send(()).unwrap();
                                        expect(stream, KIND).await;
                                    }
                                };
                                wakering::spawn_on(worker, listen).unwrap()
                            })
                            .collect();
                        for task in tasks {
                            task.await.unwrap();
                        }
                    })
                    .unwrap();
            })
        })
        .collect();
    for _ in 0..4 {
        is_ready.recv().unwrap();
    }
    send_to_self(KIND);
    // Every worker has taken the first delivery from its first stream; its second has it still to give.
    for _ in 0..4 {
        is_ready.recv().unwrap();
    }
    send_to_self(KIND);
    for _ in 0..4 {
        is_ready.recv().unwrap();
    }
    // The second streams may have seen the two deliveries as one, which is a stream's right.
    while !runtimes.iter().all(thread::JoinHandle::is_finished) {
        send_to_self(KIND);
        thread::sleep(Duration::from_millis(5));
    }
    for runtime in runtimes {
        runtime.join().unwrap();
    }
}

#[test]
fn one_stream_for_several_signals_says_which_came() {
    const KINDS: [Kind; 2] = [Kind::ALARM, Kind::WINDOW_CHANGE];
    wakering::run(async {
        let mut stream = signal::any(KINDS).unwrap();
        for kind in [KINDS[1], KINDS[0], KINDS[1]] {
            send_to_self(kind);
            expect(&mut stream, kind).await;
        }
    })
    .unwrap();
}

#[test]
fn a_signal_during_the_wait_disturbs_nothing() {
    const KIND: Kind = Kind::IO;
    // For ever: the last signal may still be on its way to some thread when the test ends, and would kill then.
    std::mem::forget(signal::stream(KIND).unwrap());
    let (stop, stopped) = mpsc::channel::<()>();
    let sender = thread::spawn(move || {
        while stopped.recv_timeout(Duration::from_millis(1)) == Err(mpsc::RecvTimeoutError::Timeout) {
            send_to_self(KIND);
        }
    });
    let start = Instant::now();
    wakering::run(sleep(Duration::from_millis(60))).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(60));
    drop(stop);
    sender.join().unwrap();
}

#[test]
fn what_cannot_be_listened_to_is_refused() {
    for number in [0, -1, 9, 11, 1000] {
        let refused = signal::stream(Kind::from_raw(number)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{number}");
    }
    assert_eq!(signal::any([]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn outside_a_runtime_waiting_is_an_error_and_not_a_panic() {
    let mut stream = signal::stream(Kind::from_raw(17)).unwrap();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match stream.poll_recv(&mut context) {
        std::task::Poll::Ready(Err(error)) => assert_eq!(error.kind(), io::ErrorKind::NotConnected),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_kind_is_called_by_its_name() {
    assert_eq!(Kind::INTERRUPT.to_string(), "SIGINT");
    assert_eq!(format!("{:?}", Kind::from_raw(63)), "signal 63");
}

/// Runs one of the `child_…` tests below in a process of its own, and gives its first line when it is there.
fn child(name: &str) -> (Child, BufReader<process::ChildStdout>) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

const CHILD: &str = "WAKERING_SIGNAL_TEST_CHILD";

fn is_child() -> bool {
    env::var_os(CHILD).is_some()
}

fn say(word: &str) {
    let mut out = io::stdout().lock();
    writeln!(out, "\nsays {word}").unwrap();
    out.flush().unwrap();
}

fn expect_word(output: &mut impl BufRead, word: &str) {
    let mut line = String::new();
    loop {
        line.clear();
        assert_ne!(output.read_line(&mut line).unwrap(), 0, "the child ended before it said {word:?}");
        if line.trim_end() == format!("says {word}") {
            return;
        }
    }
}

#[test]
fn the_second_ctrl_c_ends_a_process_that_waited_for_one() {
    let (mut process, mut output) = child("child_that_waits_for_one_ctrl_c");
    expect_word(&mut output, "listening");
    send(process.id(), Kind::INTERRUPT);
    expect_word(&mut output, "interrupted");
    send(process.id(), Kind::INTERRUPT);
    assert_eq!(process.wait().unwrap().signal(), Some(Kind::INTERRUPT.to_raw()));
}

#[test]
fn child_that_waits_for_one_ctrl_c() {
    if !is_child() {
        return;
    }
    wakering::run(async {
        let interrupted = signal::ctrl_c();
        say("listening");
        interrupted.await.unwrap();
        say("interrupted");
        sleep(PATIENCE).await;
    })
    .unwrap();
}

#[test]
fn streams_leave_no_descriptor_but_the_one_pipe() {
    let (mut process, mut output) = child("child_that_counts_its_descriptors");
    expect_word(&mut output, "counted");
    assert!(process.wait().unwrap().success());
}

#[test]
fn child_that_counts_its_descriptors() {
    if !is_child() || !fs::exists("/proc/self/fd").unwrap() {
        if is_child() {
            say("counted");
        }
        return;
    }
    let count = || fs::read_dir("/proc/self/fd").unwrap().count();
    let use_one = || {
        wakering::run(async {
            let mut stream = signal::stream(Kind::USER_1).unwrap();
            send_to_self(Kind::USER_1);
            stream.recv().await.unwrap();
            assert!(timeout(Duration::from_millis(1), stream.recv()).await.is_err());
        })
        .unwrap();
    };
    let before = count();
    use_one();
    assert_eq!(count(), before + 2, "the pipe has two ends");
    for _ in 0..20 {
        use_one();
    }
    assert_eq!(count(), before + 2);
    say("counted");
}
