//! Does a process do anything at all? Two ways to know, neither of which trusts the process itself.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{kill_with_parent, server::Server};

/// How often the threads of the server were put on a CPU, by thread id. A thread that never ran made no system call.
pub(crate) fn time_slices(server: &Server) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{}/task", server.pid())).expect("the server runs").flatten() {
        let schedstat = fs::read_to_string(entry.path().join("schedstat")).expect("a readable schedstat");
        let slices = schedstat.split_whitespace().nth(2).expect("three fields").parse().expect("a number");
        found.push((entry.file_name().to_string_lossy().into_owned(), slices));
    }
    found.sort();
    found
}

/// The system calls that the server begins within `window`, as `strace` writes them; `None` where tracing is forbidden.
///
/// Attaching interrupts `epoll_wait`, which then is called again: what happens in the first half second is the tracer's
/// doing and does not count.
pub(crate) fn traced_calls(server: &Server, window: Duration) -> Option<Vec<String>> {
    let settle = Duration::from_millis(500);
    let log = std::env::temp_dir().join(format!("wakering-strace-{}", server.pid()));
    let mut tracer = kill_with_parent("strace")
        .args(["-f", "-ttt", "-o"])
        .arg(&log)
        .args(["-p", &server.pid().to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("strace starts");
    let mut messages = BufReader::new(tracer.stderr.take().expect("stderr is piped"));
    let mut first = String::new();
    messages.read_line(&mut first).expect("strace says something");
    let attached = first.contains("attached");
    let from = seconds() + settle.as_secs_f64();
    if attached {
        thread::sleep(settle + window);
    }
    let until = seconds();
    let stopped = Command::new("sh").arg("-c").arg(format!("kill -INT {}", tracer.id())).status();
    assert!(stopped.is_ok_and(|status| status.success()) || !attached, "strace can be stopped");
    let mut rest = String::new();
    messages.read_to_string(&mut rest).expect("strace ends");
    tracer.wait().expect("strace can be waited for");
    let text = fs::read_to_string(&log).unwrap_or_default();
    drop(fs::remove_file(&log));
    attached.then(|| text.lines().filter(|line| is_call(line, from, until)).map(str::to_owned).collect())
}

/// A line is `PID SECONDS call(…`; the second half of a call that was cut in two and signals are no calls.
fn is_call(line: &str, from: f64, until: f64) -> bool {
    let mut words = line.split_whitespace();
    let time = words.nth(1).and_then(|word| word.parse::<f64>().ok());
    let begins = words.next().is_some_and(|word| word.starts_with(|c: char| c.is_ascii_lowercase()));
    begins && time.is_some_and(|time| from <= time && time <= until)
}

fn seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs_f64()
}
