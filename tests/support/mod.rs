//! What the integration tests share: example programs as children, client programs with a time limit, and
//! tests that say aloud why they did not run.
//!
//! A test that cannot run calls [`skip`] (mostly through [`program`]) and returns; `tests/run` finds the line and
//! counts the test as skipped instead of passed.

#![expect(dead_code, reason = "each test program uses its own part of these helpers")]

pub(crate) mod folder;
pub(crate) mod h2;
pub(crate) mod idle;
pub(crate) mod octets;
pub(crate) mod peer;
pub(crate) mod scripted;
pub(crate) mod served;
pub(crate) mod server;

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use std::{env, io, thread};

/// Keeps the expectation above true in a program that happens to use everything.
const UNUSED: () = ();

/// What a client program did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

/// The name of an installed program, or `None` after a loud word about the skipped test.
pub(crate) fn program(name: &'static str) -> Option<&'static str> {
    let found = env::split_paths(&env::var_os("PATH")?).any(|folder| folder.join(name).is_file());
    if !found {
        skip(&format!("{name} is not installed"));
    }
    found.then_some(name)
}

/// Reports that the running test was skipped, past the capture of the test harness.
pub(crate) fn skip(reason: &str) {
    let name = thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("SKIPPED: {name}: {reason}\n");
    io::stderr().write_all(line.as_bytes()).expect("standard error is open");
}

/// Runs a program to its end and collects its output.
///
/// # Panics
///
/// When it does not end within `limit`: the test then fails with the command and what it had printed.
pub(crate) fn run<S: AsRef<OsStr>>(program: &str, arguments: &[S], limit: Duration) -> Ran {
    let started = Instant::now();
    let mut child = kill_with_parent(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let stdout = collect(child.stdout.take().expect("stdout is piped"));
    let stderr = collect(child.stderr.take().expect("stderr is piped"));
    let ended = stdout.recv_timeout(limit);
    if ended == Err(RecvTimeoutError::Timeout) {
        child.kill().expect("the child can be killed");
    }
    let status = child.wait().expect("the child can be waited for");
    let shown: Vec<_> = arguments.iter().map(|argument| argument.as_ref().to_string_lossy()).collect();
    let stderr = stderr.recv().unwrap_or_default();
    let Ok(stdout) = ended else {
        panic!("{program} {} did not end within {limit:?}; it said: {stderr}", shown.join(" "));
    };
    Ran { code: status.code(), stdout, stderr, took: started.elapsed() }
}

/// Reads a pipe to its end on a thread and sends the text once.
fn collect(mut pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // A pipe that breaks ends the text; what was read is still worth showing.
        drop(pipe.read_to_end(&mut bytes));
        drop(sender.send(String::from_utf8_lossy(&bytes).into_owned()));
    });
    receiver
}

/// A command that dies with the thread that starts it, where `setpriv` can arrange that: a test program that is
/// killed for hanging must not leave servers behind.
pub(crate) fn kill_with_parent(program: impl AsRef<OsStr>) -> Command {
    let setpriv = PathBuf::from("/usr/bin/setpriv");
    if !setpriv.is_file() {
        return Command::new(program);
    }
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Asks `done` again and again until it says yes or `limit` is over; the answer says which.
pub(crate) fn eventually(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    while Instant::now() < end {
        if done() {
            return true;
        }
        thread::sleep(Duration::from_millis(10));
    }
    done()
}
