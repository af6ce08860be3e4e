//! An example program as a child process: built when it is not there, started on a free port, killed on drop.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};
use std::{env, fs, thread};

use super::{collect, kill_with_parent};

/// Long enough for a loaded machine; only a failing test waits so long.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A running example server.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    lines: Receiver<String>,
    errors: Receiver<String>,
}

/// The signals that the tests send.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    Interrupt,
    Terminate,
    Stop,
    Continue,
}

impl Server {
    /// Starts `examples/NAME.rs` on a free port of the loopback address and waits until it listens.
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Server {
        let mut command = kill_with_parent(example(name));
        command.args(["--addr", "127.0.0.1:0"]).args(arguments).stdin(Stdio::null());
        Server::run(name, command)
    }

    /// Starts what `command` says, which announces its address as the examples do.
    pub(crate) fn run(name: &str, mut command: Command) -> Server {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let lines = read_lines(child.stdout.take().expect("stdout is piped"));
        let errors = collect(child.stderr.take().expect("stderr is piped"));
        let Ok(line) = lines.recv_timeout(START_LIMIT) else {
            drop(child.kill());
            panic!("{name} does not listen; it said: {}", errors.recv().unwrap_or_default());
        };
        let address = line.strip_prefix("listening on ").and_then(|text| text.parse().ok());
        let address = address.unwrap_or_else(|| panic!("{name} began with {line:?}"));
        Server { child, address, lines, errors }
    }

    /// The address of a path on this server.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let name = match signal {
            Signal::Interrupt => "INT",
            Signal::Terminate => "TERM",
            Signal::Stop => "STOP",
            Signal::Continue => "CONT",
        };
        // The shell's own `kill`: the program of that name is not installed everywhere.
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.pid())).status();
        assert!(sent.is_ok_and(|status| status.success()), "SIG{name} cannot be sent");
    }

    /// Waits for the server to end by itself, and gives its exit status and what it printed after its address.
    ///
    /// # Panics
    ///
    /// When it still runs after `limit`.
    pub(crate) fn wait(mut self, limit: Duration) -> (ExitStatus, Vec<String>, String) {
        let end = Instant::now() + limit;
        let mut more = Vec::new();
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => more.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    panic!("the server still runs after {limit:?}");
                }
            }
        }
        let status = self.child.wait().expect("the server can be waited for");
        (status, more, self.errors.recv().unwrap_or_default())
    }

    /// How many descriptors the server has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("the server runs").count()
    }

    /// The processor time that the server has taken.
    pub(crate) fn processor_time(&self) -> Duration {
        let text = fs::read_to_string(format!("/proc/{}/schedstat", self.pid())).expect("the server runs");
        let nanos = text.split_whitespace().next().and_then(|word| word.parse().ok());
        Duration::from_nanos(nanos.expect("a number"))
    }

    /// The resident memory of the server, in KiB.
    pub(crate) fn resident_kib(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the server runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a VmRSS line");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Either may fail because the server has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(super) fn read_lines(pipe: std::process::ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The path of a built example, beside the running test program; built first when it is missing or older than its
/// sources, as when a single test program was asked for.
pub(crate) fn example(name: &str) -> PathBuf {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = BUILDING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let own = env::current_exe().expect("the test program's path");
    let profile = own.parent().and_then(Path::parent).expect("target/PROFILE/deps/NAME");
    let program = profile.join("examples").join(name);
    if modified(&program).is_none_or(|built| built < newest_source()) {
        build(name, profile);
    }
    program
}

fn build(name: &str, profile: &Path) {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--quiet", "--all-features", "--example", name])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.arg("--target-dir").arg(profile.parent().expect("target/PROFILE"));
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "the example {name} cannot be built");
}

/// Of the library and of the examples, whose common parts lie in a folder beside them.
fn newest_source() -> SystemTime {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut newest = SystemTime::UNIX_EPOCH;
    let mut folders = vec![root.join("src"), root.join("examples")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a readable folder").flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                newest = newest.max(modified(&entry.path()).unwrap_or(newest));
            }
        }
    }
    newest
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|data| data.modified()).ok()
}
