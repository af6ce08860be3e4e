//! The example servers as processes: arguments, signals, what they print, and that they rest when nobody asks.

mod support;

use std::net::{TcpStream, UdpSocket};
use std::process::Stdio;
use std::time::{Duration, Instant};

use support::h2::{END_HEADERS, END_STREAM, GOAWAY, HEADERS, Raw, frame, get, is_200};
use support::idle::{time_slices, traced_calls};
use support::server::{Server, Signal, example};
use support::{program, run, skip};

const SERVERS: &[&str] = &["h2_server", "grpc_echo", "echo", "udp_echo"];
const LIMIT: Duration = Duration::from_secs(40);
const WHOLE: u8 = END_HEADERS | END_STREAM;

#[test]
fn help_goes_to_standard_output_with_code_0() {
    for name in SERVERS {
        let ran = run(&example(name).display().to_string(), &["--help"], LIMIT);
        assert_eq!(ran.code, Some(0), "{name}: {ran:?}");
        for option in ["--addr", "--workers", "--help"] {
            assert!(ran.stdout.contains(option), "{name} --help does not tell {option}: {ran:?}");
        }
    }
}

/// The host sleeps as long as the runtime lets it, and must not do so when nothing is left to wait for.
#[test]
fn a_runtime_in_a_hosts_loop_ends_with_what_the_host_waits_for() {
    let ran = run::<&str>(&example("embed").display().to_string(), &[], LIMIT);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "tick 0\ntick 1\ntick 2\ntick 3\ntick 4\n"),
        "{ran:?}"
    );
}

#[test]
fn bad_arguments_are_one_line_and_code_2() {
    let bad: &[&[&str]] = &[
        &["--nonsense"],
        &["--addr"],
        &["--addr", "nowhere"],
        &["--addr", "127.0.0.1:99999"],
        &["--workers", "0"],
        &["--workers", "many"],
        &["stray"],
    ];
    for name in SERVERS {
        for arguments in bad {
            let ran = run(&example(name).display().to_string(), arguments, LIMIT);
            assert_eq!(ran.code, Some(2), "{name} {arguments:?}: {ran:?}");
            assert_eq!(
                (ran.stderr.lines().count(), ran.stdout.as_str()),
                (1, ""),
                "{name} {arguments:?}: {ran:?}"
            );
        }
    }
}

#[test]
fn other_examples_refuse_what_cannot_work_before_they_begin() {
    let proxy = ["--to", "127.0.0.1:1", "--addr", "127.0.0.1:0"];
    let mut bad: Vec<(&str, Vec<&str>)> = vec![
        ("hang", vec!["x"]),
        ("embed", vec!["x"]),
        ("stop_hangs", vec!["mendet"]),
        ("tcp_proxy", vec!["--addr", "127.0.0.1:0"]),
    ];
    for more in [["--workers", "0"], ["--workers", "1025"], ["--keep-alive", "0"], ["--keep-alive", "40000"]]
    {
        bad.push(("tcp_proxy", [&proxy[..], &more].concat()));
    }
    for (name, arguments) in bad {
        let ran = run(&example(name).display().to_string(), &arguments, LIMIT);
        let told = (ran.code, ran.stderr.lines().count(), ran.stdout.as_str());
        assert_eq!(told, (Some(2), 1, ""), "{name} {arguments:?}: {ran:?}");
    }
}

#[test]
fn servers_that_cannot_say_where_they_listen_end_with_an_error() {
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else {
        return; // Only some systems have a file that is always full.
    };
    for name in SERVERS.iter().chain(&["tcp_proxy", "hyper_server"]) {
        let mut command = support::kill_with_parent(example(name));
        command.args(["--addr", "127.0.0.1:0"]).stdin(Stdio::null()).stdout(full.try_clone().unwrap());
        if *name == "tcp_proxy" {
            command.args(["--to", "127.0.0.1:1"]);
        }
        let mut server = command.stderr(Stdio::piped()).spawn().unwrap();
        let ended = support::eventually(LIMIT, || server.try_wait().unwrap().is_some());
        if !ended {
            server.kill().unwrap();
        }
        let output = server.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!((ended, output.status.code()), (true, Some(1)), "{name}: {told}");
        assert!(told.contains("standard output"), "{name}: {told}");
    }
}

#[test]
fn either_signal_ends_an_idle_server_with_code_0() {
    for name in SERVERS {
        for signal in [Signal::Interrupt, Signal::Terminate] {
            let server = Server::start(name, &["--grace", "600"]);
            server.signal(signal);
            // It waits for nobody: there is nobody.
            let (status, lines, errors) = server.wait(LIMIT);
            assert_eq!(status.code(), Some(0), "{name} {signal:?}: {errors}");
            assert_eq!(lines, [""; 0], "{name} prints its address and nothing else");
        }
    }
}

#[test]
fn a_request_in_flight_is_answered_after_sigterm_and_new_ones_are_refused() {
    let server = Server::start("h2_server", &[]);
    let address = server.address;
    let mut client = Raw::open(address);
    client.send(&frame(HEADERS, WHOLE, 1, &get("/slow?ms=2500")));
    settle(&mut client);
    server.signal(Signal::Terminate);
    let goaway = client.read_until(|frame| frame.kind == GOAWAY);
    assert_eq!(goaway.payload[4..8], [0; 4], "GOAWAY says NO_ERROR");
    let refused = support::eventually(LIMIT, || TcpStream::connect(address).is_err());
    assert!(refused, "a stopping server must not accept");
    let head = client.read_until(|frame| frame.kind == HEADERS);
    assert!(is_200(&head.payload), "{head:?}");
    let (status, _, errors) = server.wait(LIMIT);
    assert_eq!(status.code(), Some(0), "{errors}");
}

#[test]
fn handlers_that_outlast_the_grace_are_aborted_and_the_code_is_0() {
    let server = Server::start("h2_server", &["--grace", "1"]);
    let mut client = Raw::open(server.address);
    client.send(&frame(HEADERS, WHOLE, 1, &get("/slow?ms=200000")));
    settle(&mut client);
    let started = Instant::now();
    server.signal(Signal::Terminate);
    let (status, _, errors) = server.wait(LIMIT);
    assert_eq!(status.code(), Some(0), "{errors}");
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(900) && took < LIMIT, "a grace of 1 s took {took:?}");
}

#[test]
fn a_second_signal_ends_at_once_with_code_130() {
    for (first, second) in [(Signal::Interrupt, Signal::Interrupt), (Signal::Terminate, Signal::Interrupt)] {
        let server = Server::start("h2_server", &["--grace", "120"]);
        let mut client = Raw::open(server.address);
        client.send(&frame(HEADERS, WHOLE, 1, &get("/slow?ms=200000")));
        settle(&mut client);
        server.signal(first);
        // Two signals of one kind may melt into one before they are seen: the first must have been.
        client.read_until(|frame| frame.kind == GOAWAY);
        server.signal(second);
        // At once: the grace is three times as long.
        let (status, _, errors) = server.wait(LIMIT);
        assert_eq!(status.code(), Some(130), "{errors}");
    }
}

#[test]
fn an_address_in_use_is_named() {
    let taken = Server::start("h2_server", &[]);
    let address = taken.address.to_string();
    let ran = run(&example("h2_server").display().to_string(), &["--addr", &address], LIMIT);
    assert!(ran.code.is_some_and(|code| code != 0), "{ran:?}");
    assert!(ran.stderr.contains(&address), "{ran:?}");
}

#[test]
fn idle_process_makes_no_system_call() {
    let window = Duration::from_secs(5);
    let quiet = Server::start("h2_server", &[]);
    let traced = Server::start("h2_server", &["--workers", "2"]);
    // A connection that was used and stays open must not keep the server busy either.
    let mut clients = [Raw::open(quiet.address), Raw::open(traced.address)];
    for client in &mut clients {
        client.send(&frame(HEADERS, WHOLE, 1, &get("/block?ms=1")));
        client.answer(1);
        settle(client);
    }
    // On a machine with other things to do nobody knows when the rest begins. Who ticks has none at all.
    let (mut ran, mut calls) = (true, None);
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(500));
        let before = time_slices(&quiet);
        if program("strace").is_some() {
            calls = traced_calls(&traced, window);
        } else {
            std::thread::sleep(window);
            calls = Some(Vec::new());
        }
        ran = before != time_slices(&quiet);
        if !ran && calls.as_ref().is_none_or(Vec::is_empty) {
            break;
        }
    }
    assert!(!ran, "a thread of the idle server ran within {window:?}");
    match calls {
        Some(calls) => assert!(calls.is_empty(), "system calls of the idle server:\n{}", calls.join("\n")),
        None => skip("strace may not attach here; that no thread ran was checked"),
    }
}

#[test]
fn udp_echo_answers_many_senders_with_the_exact_bytes_of_each() {
    for workers in ["1", "2"] {
        let server = Server::start("udp_echo", &["--workers", workers]);
        let senders: Vec<_> = (0..16_usize)
            .map(|number| {
                let socket = UdpSocket::bind((server.address.ip(), 0)).unwrap();
                socket.set_read_timeout(Some(LIMIT)).unwrap();
                socket.connect(server.address).unwrap();
                (number, socket)
            })
            .collect();
        let mut buffer = vec![0; 65_536];
        for round in 0..20 {
            // Empty ones, runs of one size, and the longest there is.
            let datagram = |number: usize, at: usize| {
                let sizes = [0, 1, 64, 64, 64, 1200, 1200, if round == 0 { 65_507 } else { 300 }];
                vec![(number * 31 + at * 7 + round) as u8; sizes[(at + number) % 8]]
            };
            for (number, socket) in &senders {
                for at in 0..8 {
                    let datagram = datagram(*number, at);
                    assert_eq!(socket.send(&datagram).unwrap(), datagram.len());
                }
                for at in 0..8 {
                    let length = socket.recv(&mut buffer).unwrap();
                    assert!(
                        buffer[..length] == datagram(*number, at),
                        "sender {number}, datagram {at}: {length}"
                    );
                }
            }
        }
        server.signal(Signal::Terminate);
        let (status, _, errors) = server.wait(LIMIT);
        assert_eq!(status.code(), Some(0), "{errors}");
        assert!(errors.contains("batches of") && errors.contains("GSO"), "it tells what it uses: {errors}");
    }
}

/// A PING there and back: the server has seen all that was sent before.
fn settle(client: &mut Raw) {
    client.send(&frame(support::h2::PING, 0, 0, b"settle.."));
    client.read_until(|frame| frame.kind == support::h2::PING);
}
