//! `examples/h2_client` as a process, against `h2_server` and against servers that fail it: what it prints, where, and
//! the code that it ends with.

mod support;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::path::PathBuf;
use std::time::Duration;
use std::{env, fs, process};

use support::h2::{DATA, END_STREAM, HEADERS, RST_STREAM, frame};
use support::scripted::{Scripted, accept, accept_mute, head};
use support::server::{Server, example};
use support::{Ran, run};

const LIMIT: Duration = Duration::from_secs(60);

fn fetch(arguments: &[&str]) -> Ran {
    run(&example("h2_client").display().to_string(), arguments, LIMIT)
}

/// A file that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, content: &[u8]) -> Scratch {
        let path = env::temp_dir().join(format!("h2_client-{}-{name}", process::id()));
        fs::write(&path, content).expect("a writable folder");
        Scratch(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a path in UTF-8")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

#[test]
fn help_tells_every_option_and_every_code() {
    let ran = fetch(&["--help"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for word in ["--data", "--header", "--request", "--output", "--verbose", "--include", "--head", "--fail"]
    {
        assert!(ran.stdout.contains(word), "--help does not tell {word}");
    }
    for word in
        ["--max-time", "--connect-timeout", "--frames", "--http1.1", "--progress", " 7 ", " 28 ", " 92 "]
    {
        assert!(ran.stdout.contains(word), "--help does not tell {word}");
    }
}

#[test]
fn what_cannot_be_done_is_one_line_and_a_code() {
    // A label that is too long: the resolver says no without asking anybody.
    let nobody = format!("http://{}.invalid/", "x".repeat(64));
    let cases: &[(&[&str], i32)] = &[
        (&[], 2),
        (&["--nonsense", "http://127.0.0.1/"], 2),
        (&["-H", "no colon", "http://127.0.0.1/"], 2),
        (&["--max-time", "soon", "http://127.0.0.1/"], 2),
        (&["-d", "@/nonexistent/file", "http://127.0.0.1/"], 2),
        (&["::bad::"], 3),
        // Not the usual port, where somebody else may be.
        (&["http://127.0.0.1:99999/"], 3),
        (&["http://127.0.0.1:abc/"], 3),
        // No protocol of ours without the feature, else one that nobody speaks there.
        (&["https://127.0.0.1:1/"], if cfg!(feature = "tls-ring") { 7 } else { 1 }),
        (&[&nobody], 6),
        (&["http://127.0.0.1:1/"], 7),
        (&["--http1.1", "http://127.0.0.1:1/"], if cfg!(feature = "http1") { 7 } else { 2 }),
    ];
    for (arguments, code) in cases {
        let ran = fetch(arguments);
        assert_eq!(ran.code, Some(*code), "{arguments:?}: {ran:?}");
        assert_eq!((ran.stderr.lines().count(), ran.stdout.as_str()), (1, ""), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn content_goes_to_standard_output_and_heads_where_they_are_asked_for() {
    let server = Server::start("h2_server", &[]);
    let url = server.url("/");
    let plain = fetch(&[&url]);
    assert_eq!((plain.code, plain.stdout.as_str(), plain.stderr.as_str()), (Some(0), "Hello, World!", ""));
    let both = fetch(&["-i", &url]);
    assert!(both.stdout.starts_with("HTTP/2 200\r\n"), "{both:?}");
    assert!(both.stdout.ends_with("\r\n\r\nHello, World!"), "{both:?}");
    let bare = fetch(&["-I", &url]);
    assert!(bare.stdout.contains("content-length: 13\r\n") && bare.stdout.ends_with("\r\n\r\n"), "{bare:?}");
    let told = fetch(&["-v", &url, &url]);
    assert_eq!(told.stdout, "Hello, World!Hello, World!");
    for line in ["> GET / HTTP/2", "> accept: */*", "< HTTP/2 200", "< content-type: text/plain"] {
        assert_eq!(told.stderr.lines().filter(|it| *it == line).count(), 2, "{line}: {told:?}");
    }
    let posted = fetch(&["-v", "-d", "abc", &url]);
    assert!(posted.stderr.contains("> content-length: 3\n"), "what is sent is told: {posted:?}");
    let (silent, shows) = (fetch(&["-fs", "http://127.0.0.1:1/"]), fetch(&["-fsS", "http://127.0.0.1:1/"]));
    assert_eq!((silent.code, silent.stderr.as_str()), (Some(7), ""));
    assert_eq!((shows.code, shows.stderr.lines().count()), (Some(7), 1));
    let frames = fetch(&["--frames", &url]);
    for line in ["send SETTINGS frame", "recv SETTINGS frame", "send HEADERS frame", "recv DATA frame"] {
        assert!(frames.stderr.contains(line), "{line}: {frames:?}");
    }
}

#[test]
fn methods_fields_and_content_are_sent_as_they_are_asked_for() {
    let server = Server::start("h2_server", &[]);
    let url = server.url("/headers?q=1");
    let ran = fetch(&["-H", "X-One: 1", "-H", "accept:", "-H", "x-empty;", "-H", "user-agent: mine", &url]);
    for part in [r#"["x-one","1"]"#, r#"["x-empty",""]"#, r#"["user-agent","mine"]"#, "/headers?q=1"] {
        assert!(ran.stdout.contains(part), "{part}: {ran:?}");
    }
    assert!(!ran.stdout.contains("accept"), "{ran:?}");
    let refused = fetch(&["-X", "DELETE", "-i", &url]);
    assert!(refused.stdout.starts_with("HTTP/2 405\r\n"), "{refused:?}");
    let file = Scratch::new("data", b"from a file\n");
    let echo = server.url("/echo");
    let echoed = fetch(&["-d", "typed", "-d", &format!("@{}", file.path()), &echo]);
    assert_eq!(echoed.stdout, "typed&from a file\n");
}

#[test]
fn a_download_into_a_file_shows_its_progress_when_it_is_asked_to() {
    let server = Server::start("h2_server", &[]);
    let file = Scratch::new("output", b"old");
    let ran = fetch(&["--progress", "-o", file.path(), &server.url("/bytes?n=3000000")]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{ran:?}");
    assert_eq!(fs::metadata(&file.0).expect("the file").len(), 3_000_000);
    assert!(ran.stderr.contains("2.9 MiB of 2.9 MiB  100%"), "{ran:?}");
    let quiet = fetch(&["-o", file.path(), &server.url("/")]);
    assert_eq!((quiet.code, quiet.stderr.as_str()), (Some(0), ""), "standard error is no terminal");
    let unwritable = fetch(&["-o", "/nonexistent/file", &server.url("/")]);
    assert_eq!(unwritable.code, Some(23), "{unwritable:?}");
}

#[test]
fn the_last_failure_is_the_code_and_the_others_are_fetched() {
    let server = Server::start("h2_server", &[]);
    let (good, bad) = (server.url("/"), server.url("/nothing"));
    let ran = fetch(&["-f", "http://127.0.0.1:1/", &bad, &good]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(22), "Hello, World!"), "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 2, "{ran:?}");
    let slow = fetch(&["--max-time", "0.1", &server.url("/slow?ms=60000")]);
    assert_eq!(slow.code, Some(28), "{slow:?}");
    assert!(slow.took < LIMIT, "{slow:?}");
}

#[test]
fn servers_that_fail_it_have_codes_of_their_own() {
    let url = |server: &Scripted| format!("http://{}/", server.address);
    let http1 = Scripted::start(|listener| {
        let mut raw = accept_mute(listener);
        // As a real one, it answers what it has read: a request that was not written yet would be sent again.
        assert!(raw.socket.read(&mut [0; 1024]).is_ok_and(|n| n > 0), "a request comes");
        raw.socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("it reads");
        // Closing with unread input would reset the connection, and that can overtake the answer.
        raw.socket.shutdown(Shutdown::Write).expect("it is open");
        while raw.socket.read(&mut [0; 1024]).is_ok_and(|n| n > 0) {}
    });
    let reset = Scripted::start(|listener| {
        let mut raw = accept(listener, &[]);
        let stream = raw.request();
        raw.send(&frame(RST_STREAM, 0, stream, &[0, 0, 0, 2]));
        while raw.read().is_some() {}
    });
    let half = Scripted::start(|listener| {
        let mut raw = accept(listener, &[]);
        let stream = raw.request();
        raw.send(&head(stream, 0, &[(":status", "200")]));
        raw.send(&frame(DATA, 0, stream, b"half"));
    });
    let gone = Scripted::start(|listener| {
        accept(listener, &[]).read_until(|frame| frame.kind == HEADERS && frame.flags & END_STREAM != 0);
    });
    for (server, code, content) in [(http1, 16, ""), (reset, 92, ""), (half, 18, "half"), (gone, 56, "")] {
        let ran = fetch(&[&url(&server)]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(code), content), "{ran:?}");
        assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
        server.end();
    }
}
