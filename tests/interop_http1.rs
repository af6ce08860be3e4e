//! Clients and proxies that speak HTTP/1 against `examples/h2_server`, on the port that speaks HTTP/2 too.

#![cfg(not(loom))]

mod support;

// Foreign programs need not be served twice: the fallback backend has curl, wrk and ab.
#[cfg(not(wakering_fallback))]
#[path = "support/browser.rs"]
mod browser;
#[cfg(not(wakering_fallback))]
#[path = "support/http1_clients.rs"]
mod clients;
#[cfg(not(wakering_fallback))]
#[path = "support/serving.rs"]
mod serving;

use std::{fs, time::Duration};

use support::{
    Ran, run,
    served::{Served, judge_ab},
    server::Server,
};

const LIMIT: Duration = Duration::from_secs(120);

/// Asks with curl and gives what it printed, the head with it.
fn curl(server: &Server, path: &str, options: &[&str]) -> String {
    let url = server.url(path);
    let ran = run("curl", &[&["-sS", "--max-time", "60", "--include"], options, &[&url]].concat(), LIMIT);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    ran.stdout
}

/// The status line, the fields and the content of the last response.
fn parts(answer: &str) -> (&str, &str, &str) {
    let mut rest = answer;
    loop {
        let (head, content) = rest.split_once("\r\n\r\n").expect("an empty line after the head");
        let (line, fields) = head.split_once("\r\n").unwrap_or((head, ""));
        let interim = line.split(' ').nth(1).is_some_and(|status| status.starts_with('1'));
        if !interim {
            return (line, fields, content);
        }
        rest = content;
    }
}

#[test]
fn curl_gets_a_page_in_either_version_and_the_old_one_closes() {
    let Some(server) = Served::as_peer("curl", "curl, HTTP/1.1", &[]) else { return };
    let new = curl(&server, "/", &["--http1.1"]);
    let (line, fields, content) = parts(&new);
    assert_eq!((line, content), ("HTTP/1.1 200 OK", "Hello, World!"));
    assert!(
        fields.contains("content-length: 13") && fields.contains("\r\ncontent-type: text/plain"),
        "{fields}"
    );
    assert!(fields.contains("date: ") && !fields.contains("connection"), "{fields}");
    let old = curl(&server, "/", &["--http1.0"]);
    let (line, fields, content) = parts(&old);
    assert_eq!((line, content), ("HTTP/1.1 200 OK", "Hello, World!"));
    assert!(fields.contains("connection: close"), "{fields}");
}

#[test]
fn curl_asks_again_on_the_same_connection() {
    let Some(server) = Served::as_peer("curl", "curl, HTTP/1.1", &[]) else { return };
    let (url, format) = (server.url("/"), "%{num_connects} ");
    let line = ["-sS", "--http1.1", "-o", "/dev/null", "-o", "/dev/null", "-o", "/dev/null", "-w", format];
    let ran = run("curl", &[&line[..], &[&url, &url, &url]].concat(), LIMIT);
    assert_eq!((ran.code, ran.stdout.trim()), (Some(0), "1 0 0"), "{}", ran.stderr);
}

#[test]
fn curl_changes_a_connection_to_http_2() {
    let Some(server) = Served::as_peer("curl", "curl, h2c upgrade", &[]) else { return };
    let answer = curl(&server, "/headers", &["--http2"]);
    assert!(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{answer}");
    let (line, _, content) = parts(&answer);
    assert_eq!(line.trim_end(), "HTTP/2 200");
    assert!(content.contains("\"GET\"") && !content.contains("http2-settings"), "{content}");
    // Content that comes before the change would have to be kept: HTTP/1.1 goes on (RFC 7540 §3.2).
    let answer = curl(&server, "/echo", &["--http2", "-d", "some words"]);
    let (line, _, content) = parts(&answer);
    assert_eq!((line, content), ("HTTP/1.1 200 OK", "some words"));
}

#[test]
fn curl_sends_content_by_length_in_chunks_and_on_invitation() {
    let Some(server) = Served::as_peer("curl", "curl, HTTP/1.1", &[]) else { return };
    let text: String = (0..200_000).map(|line| format!("{line:07}\n")).collect();
    let file = std::env::temp_dir().join(format!("wakering-http1-{}", server.pid()));
    fs::write(&file, &text).expect("a temporary file");
    let upload = format!("@{}", file.display());
    for options in [
        &["--http1.1"][..],
        &["--http1.0"],
        &["--http1.1", "-H", "transfer-encoding: chunked"],
        &["--http1.1", "-H", "expect: 100-continue", "--expect100-timeout", "60"],
        &[
            "--http1.1",
            "-H",
            "transfer-encoding: chunked",
            "-H",
            "expect: 100-continue",
            "--expect100-timeout",
            "60",
        ],
    ] {
        let answer = curl(&server, "/echo", &[options, &["--data-binary", &upload]].concat());
        assert!(parts(&answer).2 == text, "{options:?}: {} of {} bytes", parts(&answer).2.len(), text.len());
    }
    fs::remove_file(&file).expect("the file is there");
}

#[test]
fn curl_is_sent_what_has_a_length_and_what_has_none() {
    let Some(server) = Served::as_peer("curl", "curl, HTTP/1.1", &[]) else { return };
    for version in ["--http1.1", "--http1.0"] {
        for path in ["/bytes?n=0", "/bytes?n=1", "/bytes?n=10000000"] {
            let url = server.url(path);
            let line = ["-sS", version, "-o", "/dev/null", "-w", "%{http_code} %{size_download}", &url];
            let Ran { code, stdout, stderr, .. } = run("curl", &line, LIMIT);
            let wanted = format!("200 {}", path.split('=').next_back().expect("a number"));
            assert_eq!((code, stdout), (Some(0), wanted), "{stderr}");
        }
    }
    let answer = curl(&server, "/echo", &["--http1.1", "-d", "some words"]);
    assert!(parts(&answer).1.contains("transfer-encoding: chunked"), "{answer}");
    let answer = curl(&server, "/json", &["--http1.1", "--head"]);
    assert!(answer.contains("content-length: 27") && parts(&answer).2.is_empty(), "{answer}");
    let answer = curl(&server, "/early", &["--http1.1"]);
    assert!(answer.starts_with("HTTP/1.1 103 Early Hints\r\nlink: "), "{answer}");
}

#[test]
fn wrk_has_no_errors() {
    let Some(server) = Served::as_peer("wrk", "wrk, HTTP/1.1", &["--workers", "2"]) else { return };
    for path in ["/", "/json", "/bytes?n=100000"] {
        let url = server.url(path);
        let ran = run("wrk", &["-t1", "-c20", "-d1", "--timeout", "60s", &url], LIMIT);
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
        assert!(!ran.stdout.contains("errors") && !ran.stdout.contains("Non-2xx"), "{}", ran.stdout);
        assert!(ran.stdout.contains("requests in"), "{}", ran.stdout);
    }
}

#[test]
fn ab_completes_every_request_with_and_without_keep_alive() {
    let Some(server) = Served::as_peer("ab", "ab, HTTP/1.1", &[]) else { return };
    let url = server.url("/");
    for (keep, kept) in [(&[][..], 0), (&["-k"], 2000)] {
        let ran = run("ab", &[&["-q", "-n", "2000", "-c", "20"], keep, &[&url]].concat(), LIMIT);
        judge_ab(&ran, 2000, kept);
    }
}
