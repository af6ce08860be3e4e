//! Programs that hang, whether the dump says why, and whether `docs/hangs.md` shows what they really print.

#![cfg(not(loom))]

mod support;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStderr, ChildStdout, Command, Stdio},
    time::Duration,
};

use support::{run, server::example};

/// What the example must end within, by itself.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn the_example_hangs_three_times_says_each_time_why_and_ends() {
    let ran = run::<&str>(&example("hang").display().to_string(), &[], LIMIT);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let parts: Vec<&str> = ran.stdout.split("== ").skip(1).collect();
    let [join, server, peer] = parts[..] else { panic!("{} parts: {}", parts.len(), ran.stdout) };
    // Each waits for the other, and that is a circle.
    let circle = join.lines().find(|line| line.starts_with("circle: ")).expect("the circle is named");
    assert!(
        circle.contains("\"egg\"") && circle.contains("\"chick\"") && circle.contains("hang.rs:"),
        "{join}"
    );
    // The request waits for its answer, and the handler for room for another request.
    assert!(server.contains("waits for the answer to GET http://127.0.0.1:"), "{server}");
    assert!(server.contains("waits for a connection with room for http://127.0.0.1:"), "{server}");
    assert!(server.contains("/inner\n") && server.contains("/outer from 127.0.0.1:"), "{server}");
    // The reader names its peer, and the silent one's timer is never due.
    assert!(peer.contains("waits to read from descriptor ") && peer.contains(" (TCP 127.0.0.1:"), "{peer}");
    assert!(peer.contains("\"accepts and says nothing\"") && peer.contains("never due"), "{peer}");
    for (part, mark) in [(join, "hang 1"), (server, "hang 2"), (peer, "hang 3")] {
        let dump = part.split_once("\n\n").expect("a title, then the dump").1;
        assert_eq!(without_numbers(&shown(mark)), without_numbers(dump), "docs/hangs.md, {mark}");
    }
}

#[test]
fn a_stop_that_waits_for_connections_which_wait_for_the_stop_is_explained_by_one_signal() {
    let mut hanging = Running::start("stop_hangs", &[]);
    let line = hanging.line();
    let pid: u32 =
        line.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("process PID stops its server");
    // The word was printed in the poll that begins to stop, and the worker answers between polls.
    let sent = Command::new("sh").arg("-c").arg(format!("kill -USR1 {pid}")).status();
    assert!(sent.is_ok_and(|status| status.success()));
    let dump = hanging.dump("waits to read from descriptor ");
    assert!(dump.contains("root") && dump.contains("waits for the end of #"), "{dump}");
    assert!(dump.contains("\"connection\"") && dump.contains("waits to read from descriptor "), "{dump}");
    assert_eq!(without_numbers(&shown("stop_hangs")), without_numbers(&dump), "docs/hangs.md");
    drop(hanging);
    let mended = run(&example("stop_hangs").display().to_string(), &["mended"], LIMIT);
    assert!(mended.code == Some(0) && mended.stdout.ends_with("\nstopped\n"), "{mended:?}");
}

/// What `docs/hangs.md` shows behind this mark.
fn shown(mark: &str) -> String {
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/hangs.md")).expect("the page");
    let (_, behind) =
        page.split_once(&format!("<!-- {mark} -->\n```text\n")).expect("a block with this mark");
    behind.split_once("```").expect("the block ends").0.to_owned()
}

/// A dump without what differs from run to run: numbers, units of time, and what follows from a number being one.
fn without_numbers(text: &str) -> String {
    let mut kept = String::new();
    let mut letters = text.trim().chars().peekable();
    while let Some(letter) = letters.next() {
        if !letter.is_ascii_digit() {
            kept.push(letter);
            continue;
        }
        while letters.next_if(|next| next.is_ascii_digit() || matches!(next, '.' | '_')).is_some() {}
        kept.push('N');
    }
    let same = [("N ms", "N s"), ("N µs", "N s"), ("N polls", "N poll")];
    same.iter().fold(kept, |text, (one, other)| text.replace(one, other))
}

/// An example at work; it ends with this.
struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
    errors: BufReader<ChildStderr>,
}

impl Running {
    fn start(name: &str, arguments: &[&str]) -> Running {
        let mut command = Command::new(example(name));
        let mut child = command
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it was built");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let errors = BufReader::new(child.stderr.take().expect("it is piped"));
        Running { child, output, errors }
    }

    /// What comes on standard error, up to the line with this text.
    fn dump(&mut self, last: &str) -> String {
        let mut dump = String::new();
        while !dump.contains(last) {
            assert_ne!(self.errors.read_line(&mut dump).expect("it prints text"), 0, "{dump}");
        }
        dump
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it prints text");
        line
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Either may fail because it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
