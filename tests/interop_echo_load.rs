//! `examples/echo_load` against servers that echo rightly and against servers that do not.

mod support;

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;
use support::server::{Server, example};
use support::{Ran, run};

const LIMIT: Duration = Duration::from_secs(60);

/// Answers every connection with `answer`, which gets what came and the connection.
fn server(answer: fn(&mut [u8], &mut TcpStream) -> io::Result<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut buffer = vec![0; 16 * 1024];
                while let Ok(received @ 1..) = stream.read(&mut buffer) {
                    if answer(&mut buffer[..received], &mut stream).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn load(address: SocketAddr, more: &str) -> Ran {
    let line = format!("--addr {address} --duration 0.3 --concurrency 3 {more}");
    let program = example("echo_load").display().to_string();
    run(&program, &line.split_whitespace().collect::<Vec<_>>(), LIMIT)
}

/// The report in JSON of a run that is to end with `code`.
fn json(address: SocketAddr, more: &str, code: i32) -> Value {
    let ran = load(address, &format!("--output json {more}"));
    assert_eq!(ran.code, Some(code), "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

fn error(report: &Value) -> &str {
    report["error"].as_str().unwrap_or_else(|| panic!("no error in {report}"))
}

#[test]
fn a_server_that_echoes_gets_figures_that_fit_each_other() {
    let server = Server::start("echo", &[]);
    let report = json(server.address, "--msize 500 --mpr 4 --warm-up 0.1", 0);
    let number = |key: &str| report[key].as_f64().unwrap_or_else(|| panic!("no {key} in {report}"));
    assert_eq!(number("messages"), number("rounds") * 4.0);
    assert_eq!(number("bytes"), number("messages") * 500.0);
    assert!((number("req_per_s") * number("duration_s") / number("messages") - 1.0).abs() < 0.01, "{report}");
    let mut last = number("latency_min_us");
    for name in ["50", "75", "90", "95", "99"] {
        let value = report["latency_percentiles_us"][name].as_f64();
        let value = value.unwrap_or_else(|| panic!("no {name} % in {report}"));
        assert!(value >= last, "{report}");
        last = value;
    }
    assert!(number("latency_max_us") >= last && number("latency_std_us") >= 0.0, "{report}");
    assert!(report["error"].is_null() && report["interrupted"] == false, "{report}");
}

#[test]
fn a_round_larger_than_every_buffer_comes_back_whole() {
    let server = Server::start("echo", &[]);
    let report = json(server.address, "--msize 1000003 --mpr 16 --timeout 20", 0);
    assert!(report["messages"].as_u64() >= Some(16), "{report}");
}

#[test]
fn an_echo_in_single_bytes_is_an_echo() {
    let address = server(|bytes, stream| {
        stream.set_nodelay(true)?;
        bytes.iter().try_for_each(|byte| stream.write_all(&[*byte]))
    });
    json(address, "--msize 100 --timeout 20", 0);
}

#[test]
fn a_wrong_byte_is_named_and_ends_with_code_1() {
    let address = server(|bytes, stream| {
        let at = bytes.len() - 1;
        bytes[at] ^= 1;
        stream.write_all(bytes)
    });
    let ran = load(address, "--msize 10");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("byte 9 of message 1 came back as"), "{ran:?}");
}

#[test]
fn bytes_in_another_order_are_found() {
    let address = server(|bytes, stream| {
        bytes.reverse();
        stream.write_all(bytes)
    });
    assert!(load(address, "").stderr.contains("came back as"));
}

#[test]
fn bytes_that_were_never_sent_are_found() {
    let address = server(|bytes, stream| stream.write_all(&[&*bytes, b"x"].concat()));
    assert!(load(address, "").stderr.contains("more came back than were sent"));
}

#[test]
fn a_server_that_stalls_ends_with_code_1_when_the_time_is_over() {
    let address = server(|bytes, stream| stream.write_all(&bytes[..bytes.len() / 2]));
    let ran = load(address, "--msize 100 --timeout 2");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("within 2s: 50 of 100 bytes"), "{ran:?}");
}

#[test]
fn a_server_that_closes_ends_with_code_1_and_a_report() {
    let address = server(|bytes, stream| {
        // The first round is not measured: it is to pass.
        let first = stream.ttl()? != 9;
        stream.set_ttl(9)?;
        if first { stream.write_all(bytes) } else { Err(io::ErrorKind::Other.into()) }
    });
    let report = json(address, "--msize 100", 1);
    assert!(error(&report).contains("when 0 of 100 bytes of a round had come back"), "{report}");
    assert!(report["latency_min_us"].is_null(), "{report}");
}

#[test]
fn no_server_is_a_clear_error_and_code_1() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let ran = load(address, "");
    assert_eq!((ran.code, ran.stderr.lines().count()), (Some(1), 1), "{ran:?}");
    assert!(ran.stderr.contains(&format!("cannot connect to {address}")), "{ran:?}");
}

#[test]
fn connecting_is_shown_and_ends_with_its_time_and_a_report() {
    // A hundred at a time, each of whose first rounds is in time, and all of them together are not.
    let slow = server(|bytes, stream| {
        thread::sleep(Duration::from_secs(1));
        stream.write_all(bytes)
    });
    let report = json(slow, "--concurrency 1000 --timeout 3", 1);
    let said = error(&report);
    assert!(said.ends_with(" of 1000 connections were made"), "{said}");
    assert_eq!((report["rounds"].as_u64(), report["latency_mean_us"].is_null()), (Some(0), true));
    // A listener that accepts nothing, whose queue holds the connections: their first rounds have no end.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let ran = load(mute.local_addr().unwrap(), "--timeout 1.5");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("connecting: 0 of 3\n"), "{ran:?}");
}

#[test]
fn an_interrupt_ends_with_a_report_and_code_0() {
    let server = Server::start("echo", &[]);
    let child = Command::new(example("echo_load"))
        .args(["--addr", &server.address.to_string(), "--duration", "60", "--output", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("the example starts");
    // The first line of progress says that the measured rounds have begun.
    let mut progress = child.stderr.take().expect("standard error is piped");
    progress.read_exact(&mut [0]).expect("progress is shown");
    let sent = Command::new("sh").arg("-c").arg(format!("kill -INT {}", child.id())).status();
    assert!(sent.is_ok_and(|status| status.success()), "SIGINT cannot be sent");
    let output = child.wait_with_output().expect("the example ends");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report in JSON");
    assert_eq!((output.status.code(), &report["interrupted"]), (Some(0), &Value::Bool(true)), "{report}");
    assert!(report["messages"].as_u64() > Some(0), "{report}");
}

#[test]
fn help_tells_every_argument_and_a_bad_one_is_one_line_and_code_2() {
    let program = example("echo_load").display().to_string();
    let help = run(&program, &["--help"], LIMIT);
    assert_eq!(help.code, Some(0), "{help:?}");
    for option in ["addr", "duration", "concurrency", "msize", "mpr", "timeout", "warm-up", "output"] {
        assert!(help.stdout.contains(&format!("--{option} ")), "--help does not tell --{option}");
    }
    for bad in
        [&["--msize", "0"][..], &["--output", "xml"], &["--duration", "-1"], &["--concurrency"], &["x"]]
    {
        let ran = run(&program, bad, LIMIT);
        assert_eq!((ran.code, ran.stderr.lines().count()), (Some(2), 1), "{bad:?}: {ran:?}");
    }
}
