//! Foreign peers: where `tests/run` puts their programs, what they report, and the rows that they leave for its table.
//!
//! A peer's program lies in `tests/interop/` and says on standard output, one line each: `version TEXT`, `ok CHECK`,
//! `failed CHECK: WHY`, `skipped CHECK: WHY`, `waiting` when the test is to do its part and answer with a line, and, when it is a
//! server, `listening on ADDRESS`.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{env, thread};

use super::server::{Server, Signal, read_lines};
use super::{collect, eventually, kill_with_parent, skip};

/// What the peer is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    Client,
    Server,
    Node,
    Proxy,
    GrpcProxy,
    Manager,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::Client => "client",
            Role::Server => "server",
            Role::Node => "node",
            Role::Proxy => "proxy",
            Role::GrpcProxy => "proxy for gRPC",
            Role::Manager => "service manager",
        }
    }
}

/// A row of the table, or a part of one: parts about the same peer in the same role become one row.
///
/// It is written when it is dropped; when the test has failed by then, the row says so.
pub(crate) struct Row {
    peer: &'static str,
    role: Role,
    version: String,
    checks: Vec<(&'static str, String)>,
}

impl Row {
    pub(crate) fn new(peer: &'static str, role: Role) -> Row {
        Row { peer, role, version: String::new(), checks: Vec::new() }
    }

    /// A row whose only check is the running test, by its name.
    pub(crate) fn of_test(peer: &'static str, role: Role, version: String) -> Row {
        Row { peer, role, version, checks: vec![("test", running_test())] }
    }

    /// What the row calls the peer's version, so far.
    pub(crate) fn known_version(&self) -> &str {
        &self.version
    }

    pub(crate) fn version(&mut self, version: impl Into<String>) {
        self.version = version.into();
    }

    pub(crate) fn ok(&mut self, check: &str) {
        self.checks.push(("ok", check.to_owned()));
    }

    pub(crate) fn failed(&mut self, check: &str) {
        self.checks.push(("failed", check.to_owned()));
    }

    /// A check that makes no sense with this peer.
    pub(crate) fn lacks(&mut self, check: &str, why: &str) {
        self.checks.push(("skipped", format!("{check}: {why}")));
    }

    /// Takes a line of a peer's report; `false` if it is none.
    fn take(&mut self, line: &str) -> bool {
        let Some((word, text)) = line.split_once(' ') else { return false };
        match word {
            // What stands between is the peer, not who speaks through it.
            "version" if self.version.is_empty() => self.version(text),
            "version" => {}
            "ok" => self.ok(text),
            "failed" => self.failed(text),
            "skipped" => self.checks.push(("skipped", text.to_owned())),
            _ => return false,
        }
        true
    }

    /// Panics when a check failed, or when there was none; `errors` is what the peer said to that.
    pub(crate) fn judge(&self, errors: &str) {
        assert!(self.failures().is_empty(), "failed: {:#?}\n{errors}", self.failures());
        assert!(!self.checks.is_empty(), "nothing was checked\n{errors}");
    }

    fn failures(&self) -> Vec<&str> {
        self.checks.iter().filter(|(how, _)| *how == "failed").map(|(_, what)| what.as_str()).collect()
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        let Some(file) = env::var_os("WAKERING_ROWS") else { return };
        if thread::panicking() && self.failures().is_empty() {
            self.checks.retain(|(how, _)| *how != "test");
            self.failed(&running_test());
        }
        let role = self.role.name();
        let lines: String = self
            .checks
            .iter()
            .map(|(how, what)| {
                let what = what.replace(['\t', '\n'], " ");
                format!("{}\t{role}\t{}\t{how}\t{what}\n", self.peer, self.version)
            })
            .collect();
        // A row that cannot be written shows as one that is missing; the test has judged already.
        if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(file) {
            drop(file.write_all(lines.as_bytes()));
        }
    }
}

/// The claim of the running test.
fn running_test() -> String {
    let current = thread::current();
    let path = current.name().unwrap_or("a test");
    path.rsplit("::").next().unwrap_or(path).replace('_', " ")
}

/// Skips the running test and says why in the table too.
pub(crate) fn skip_row(peer: &'static str, role: Role, reason: &str) {
    let mut row = Row::new(peer, role);
    row.checks.push(("skipped", reason.to_owned()));
    skip(reason);
}

/// A crate with the version that Cargo has chosen.
pub(crate) fn locked_version(name: &str) -> String {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
    let lock = std::fs::read_to_string(lock).unwrap_or_default();
    let heading = format!("name = \"{name}\"\nversion = \"");
    let version = lock.split_once(&heading).and_then(|(_, rest)| rest.split('"').next()).unwrap_or_default();
    format!("{name} {version}")
}

/// What a program says about its version: the first line of what it prints.
pub(crate) fn version_of(program: &Path, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).stdin(Stdio::null()).output() else {
        return String::new();
    };
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    let text = String::from_utf8_lossy(&text);
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
}

/// An installed program, or `None` after a word, in the table too.
pub(crate) fn installed(name: &'static str, peer: &'static str, role: Role) -> Option<PathBuf> {
    // Debian keeps servers where not everybody looks.
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|program| program.is_file());
    if found.is_none() {
        skip_row(peer, role, &format!("{name} is not installed"));
    }
    found
}

/// A program that `tests/run` has put into its folder, such as `bin/go_client` or `venv/bin/python`.
pub(crate) fn prepared(path: &str, peer: &'static str, role: Role) -> Option<PathBuf> {
    let folder = env::var_os("WAKERING_PEERS").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/interop"));
    let program = folder.join(path);
    if !program.is_file() {
        skip_row(peer, role, &format!("{path} is not there; tests/run prepares it where it can"));
        return None;
    }
    Some(program)
}

/// A Python of that folder that knows `module`.
pub(crate) fn python(module: &str, peer: &'static str, role: Role) -> Option<PathBuf> {
    let python = prepared("venv/bin/python", peer, role)?;
    let known =
        Command::new(&python).args(["-c", &format!("import {module}")]).stderr(Stdio::null()).status();
    if !known.is_ok_and(|status| status.success()) {
        skip_row(peer, role, &format!("the Python package {module} is not installed"));
        return None;
    }
    Some(python)
}

/// The path of a program in `tests/interop/`.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(name)
}

/// A foreign program at work.
pub(crate) struct Peer {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    errors: Receiver<String>,
    pub(crate) row: Row,
}

impl Peer {
    pub(crate) fn start<S: AsRef<OsStr>>(mut row: Row, program: &Path, arguments: &[S]) -> Peer {
        let mut child = kill_with_parent(program)
            .args(arguments)
            // Nothing is left in the source tree.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                row.failed("start");
                panic!("{}: {error}", program.display())
            });
        let lines = read_lines(child.stdout.take().expect("stdout is piped"));
        let errors = collect(child.stderr.take().expect("stderr is piped"));
        Peer { stdin: child.stdin.take(), child, lines, errors, row }
    }

    /// Follows a client's report to its end; `turn` is called when the client waits.
    ///
    /// # Panics
    ///
    /// When a check failed, when there was none, or when it takes longer than `limit`.
    pub(crate) fn follow(mut self, limit: Duration, mut turn: impl FnMut()) {
        let end = Instant::now() + limit;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line == "waiting" => {
                    turn();
                    let stdin = self.stdin.as_mut().expect("stdin is piped");
                    stdin.write_all(b"go on\n").expect("the peer still listens");
                }
                Ok(line) => {
                    self.row.take(&line);
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    self.row.failed(&format!("what comes next, which does not end within {limit:?}"));
                    drop(self.child.kill());
                    break;
                }
            }
        }
        let status = self.child.wait().expect("the peer can be waited for");
        let errors = self.errors.recv().unwrap_or_default();
        self.row.judge(&errors);
        assert!(status.success(), "{status}\n{errors}");
    }

    /// Waits until a server announces itself, and gives its address.
    pub(crate) fn listening(&mut self) -> String {
        loop {
            match self.lines.recv_timeout(Duration::from_secs(60)) {
                Ok(line) => match line.strip_prefix("listening on ") {
                    Some(address) => return address.to_owned(),
                    None => {
                        self.row.take(&line);
                    }
                },
                Err(_ended) => {
                    drop(self.child.kill());
                    let errors = self.errors.recv().unwrap_or_default();
                    self.row.failed("start");
                    panic!("the peer does not listen; it said: {errors}");
                }
            }
        }
    }

    /// Waits until a server that says nothing accepts connections; `false` when it ends instead.
    pub(crate) fn reached(&mut self, address: &str) -> bool {
        let mut over = false;
        let there = eventually(Duration::from_secs(60), || {
            over = self.child.try_wait().is_ok_and(|ended| ended.is_some());
            over || std::net::TcpStream::connect(address).is_ok()
        });
        if over {
            eprintln!("it ended: {}", self.errors.recv().unwrap_or_default());
        }
        there && !over
    }

    /// What tells the peer to go on, or a server to stop.
    pub(crate) fn take_stdin(&mut self) -> Stdin {
        Stdin(self.stdin.take().expect("stdin is piped, and taken once"))
    }

    /// Ends a server.
    ///
    /// # Panics
    ///
    /// When a check failed, when there was none, or when the server complained.
    pub(crate) fn judge(mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(60)) {
            self.row.take(&line);
        }
        let errors = self.errors.recv().unwrap_or_default();
        self.row.judge(&errors);
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

/// The standard input of a peer.
pub(crate) struct Stdin(ChildStdin);

impl Stdin {
    pub(crate) fn tell(&mut self, line: &str) {
        self.0.write_all(format!("{line}\n").as_bytes()).expect("the peer still listens");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Either may fail because the peer has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Tells the server to stop and waits until it accepts no more: what is under way then has to be completed.
pub(crate) fn stop(server: &Server) {
    server.signal(Signal::Terminate);
    let refused =
        eventually(Duration::from_secs(60), || std::net::TcpStream::connect(server.address).is_err());
    assert!(refused, "the server still accepts after SIGTERM");
}
