//! curl against `examples/h2_server`: every route, as a person would try it.

mod support;

use std::time::Duration;

use support::served::Served;
use support::server::Server;
use support::{Ran, run};

const LIMIT: Duration = Duration::from_secs(60);

/// What curl printed with `--include`, taken apart.
#[derive(Debug)]
struct Answer {
    version: String,
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn parse(ran: &Ran) -> Answer {
        assert_eq!(ran.code, Some(0), "curl failed: {}", ran.stderr);
        let (head, body) = ran.stdout.split_once("\r\n\r\n").expect("an empty line after the head");
        let mut lines = head.split("\r\n");
        let mut first = lines.next().expect("a status line").split(' ');
        let version = first.next().expect("a version").to_owned();
        let status = first.next().and_then(|text| text.parse().ok()).expect("a status code");
        let headers = lines
            .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("not a field: {line:?}")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Answer { version, status, headers, body: body.to_owned() }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }
}

/// Asks with prior knowledge of HTTP/2 and gives the answer with its head.
fn ask(server: &Server, path: &str, options: &[&str]) -> Answer {
    let url = server.url(path);
    let mut arguments = vec!["-sS", "--max-time", "30", "--http2-prior-knowledge", "--include"];
    arguments.extend(options);
    arguments.push(&url);
    let answer = Answer::parse(&run("curl", &arguments, LIMIT));
    assert_eq!(answer.version, "HTTP/2");
    answer
}

/// A server, or `None` after a word about the missing client.
fn served() -> Option<Served> {
    Served::to("curl", &[])
}

#[test]
fn the_root_greets() {
    let Some(server) = served() else { return };
    let answer = ask(&server, "/", &[]);
    assert_eq!((answer.status, answer.body.as_str()), (200, "Hello, World!"));
    assert!(answer.header("content-type").starts_with("text/plain"), "{answer:?}");
    assert_eq!(answer.header("content-length"), "13");
    assert!(answer.header("date").ends_with(" GMT"), "{answer:?}");
}

#[test]
fn json_is_json() {
    let Some(server) = served() else { return };
    let answer = ask(&server, "/json", &[]);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    assert!(answer.body.trim().starts_with('{') && answer.body.trim().ends_with('}'), "{answer:?}");
}

#[test]
fn a_post_is_echoed() {
    let Some(server) = served() else { return };
    let answer = ask(&server, "/echo", &["--data-binary", "some words"]);
    assert_eq!((answer.status, answer.body.as_str()), (200, "some words"));
    let empty = ask(&server, "/echo", &["-X", "POST"]);
    assert_eq!((empty.status, empty.body.as_str()), (200, ""));
}

#[test]
fn a_large_post_is_echoed_byte_for_byte() {
    let Some(server) = served() else { return };
    let text: String = (0..200_000).map(|line| format!("{line:07}\n")).collect();
    let file = std::env::temp_dir().join(format!("wakering-upload-{}", server.pid()));
    std::fs::write(&file, &text).expect("a temporary file");
    let answer = ask(&server, "/echo", &["--data-binary", &format!("@{}", file.display())]);
    std::fs::remove_file(&file).expect("the file is there");
    assert_eq!(answer.status, 200);
    assert!(answer.body == text, "{} of {} bytes came back", answer.body.len(), text.len());
}

#[test]
fn headers_are_shown_with_their_repeats() {
    let Some(server) = served() else { return };
    let fields = ["-H", "x-colour: red", "-H", "x-colour: blue", "-H", "x-quote: a\"b\\c"];
    let body = ask(&server, "/headers", &fields).body;
    for part in [
        r#""method":"GET""#,
        r#""path":"/headers"#,
        r#"["x-colour","red"]"#,
        r#"["x-colour","blue"]"#,
        r#"["x-quote","a\"b\\c"]"#,
    ] {
        assert!(body.contains(part), "{part} is not in {body}");
    }
}

#[test]
fn slow_waits_and_block_waits() {
    let Some(server) = served() else { return };
    for path in ["/slow?ms=300", "/block?ms=300"] {
        let url = server.url(path);
        let ran = run("curl", &["-sS", "--http2-prior-knowledge", "--include", &url], LIMIT);
        assert_eq!(Answer::parse(&ran).status, 200, "{path}");
        assert!(ran.took >= Duration::from_millis(300), "{path} took {:?}", ran.took);
    }
}

#[test]
fn bytes_streams_exactly_as_many_as_asked_for() {
    let Some(server) = served() else { return };
    for n in [0_u64, 1, 65_535, 65_536, 10_000_000] {
        let url = server.url(&format!("/bytes?n={n}"));
        let options =
            ["-sS", "--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{http_code} %{size_download}"];
        let ran = run("curl", &[&options[..], &[&url]].concat(), LIMIT);
        assert_eq!((ran.code, ran.stdout), (Some(0), format!("200 {n}")), "{}", ran.stderr);
    }
}

#[test]
fn a_bad_count_is_the_askers_fault() {
    let Some(server) = served() else { return };
    for query in
        ["", "?n=", "?n=many", "?n=-1", "?n=1.5", "?m=3", "?n=1099511627777", "?n=99999999999999999999999"]
    {
        assert_eq!(ask(&server, &format!("/bytes{query}"), &[]).status, 400, "{query}");
    }
}

#[test]
fn head_answers_wherever_get_does_and_sends_no_body() {
    let Some(server) = served() else { return };
    for path in ["/", "/json", "/headers", "/slow?ms=1", "/block?ms=1", "/bytes?n=1000000"] {
        let answer = ask(&server, path, &["--head"]);
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{path}");
    }
    assert_eq!(ask(&server, "/", &["--head"]).header("content-length"), "13");
}

#[test]
fn an_unknown_path_is_404_and_a_wrong_method_405_with_allow() {
    let Some(server) = served() else { return };
    assert_eq!(ask(&server, "/nowhere", &[]).status, 404);
    assert_eq!(ask(&server, "/nowhere", &["-X", "POST"]).status, 404);
    for (path, method, allowed) in [
        ("/json", "POST", ["GET", "HEAD"].as_slice()),
        ("/json", "DELETE", &["GET", "HEAD"]),
        ("/headers", "PUT", &["GET", "HEAD"]),
        ("/slow?ms=1", "POST", &["GET", "HEAD"]),
        ("/block?ms=1", "POST", &["GET", "HEAD"]),
        ("/bytes?n=1", "POST", &["GET", "HEAD"]),
        ("/echo", "GET", &["POST"]),
    ] {
        let answer = ask(&server, path, &["-X", method]);
        assert_eq!(answer.status, 405, "{method} {path}");
        let listed: Vec<&str> = answer.header("allow").split(',').map(str::trim).collect();
        assert!(allowed.iter().all(|method| listed.contains(method)), "{method} {path}: {answer:?}");
        assert!(!listed.contains(&method), "{method} {path}: {answer:?}");
    }
}

#[test]
fn a_request_in_http_1_is_told_so_in_words() {
    let Some(server) = Served::to("curl", &["--http2-only"]) else { return };
    let url = server.url("/");
    let options = ["-sS", "--max-time", "10", "--include"];
    for version in ["--http1.1", "--http1.0"] {
        let answer = Answer::parse(&run("curl", &[&options[..], &[version, &url]].concat(), LIMIT));
        assert_eq!((answer.version.as_str(), answer.status), ("HTTP/1.1", 505));
        assert!(answer.body.contains("HTTP/2"), "{answer:?}");
    }
}

#[test]
fn two_workers_serve_as_one_does() {
    let Some(server) = Served::to("curl", &["--workers", "2"]) else { return };
    for _ in 0..8 {
        assert_eq!(ask(&server, "/", &[]).body, "Hello, World!");
    }
}

/// RFC 9110 §9.3.2: the head that GET would have, and nothing behind it.
#[test]
fn head_says_the_length_and_has_no_content() {
    let Some(server) = served() else { return };
    for (path, length) in [("/", "13"), ("/bytes?n=5", "5"), ("/early", "36")] {
        let ran = run("curl", &["-sS", "--http2-prior-knowledge", "--head", &server.url(path)], LIMIT);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let last = ran.stdout.rsplit("HTTP/2 ").next().expect("a head");
        assert!(last.starts_with("200"), "{path}: {}", ran.stdout);
        assert!(last.contains(&format!("content-length: {length}\r\n")), "{path}: {}", ran.stdout);
        assert!(last.ends_with("\r\n\r\n"), "{path}: {}", ran.stdout);
    }
}

/// RFC 9110 §10.1.1: curl waits a second for the word; it comes when somebody reads, and not when nobody does.
#[test]
fn content_that_is_announced_with_expect_is_asked_for_when_it_is_read() {
    let Some(server) = served() else { return };
    let expect = ["-H", "expect: 100-continue", "--data-binary", "announced"];
    for (path, heads, body) in [("/echo", ["100", "200"].as_slice(), "announced"), ("/json", &["405"], "")] {
        let url = server.url(path);
        let mut line = vec!["-sS", "--http2-prior-knowledge", "--include", "--expect100-timeout", "30"];
        line.extend(expect);
        line.push(&url);
        let ran = run("curl", &line, LIMIT);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let found: Vec<&str> = ran.stdout.split("HTTP/2 ").skip(1).map(|head| &head[..3]).collect();
        assert_eq!(found, heads, "{path}: {}", ran.stdout);
        assert!(ran.stdout.ends_with(body), "{path}: {}", ran.stdout);
        assert!(ran.took < Duration::from_secs(20), "{path}: it waited {:?}", ran.took);
    }
}

/// RFC 8297.
#[test]
fn hints_come_before_the_page() {
    let Some(server) = served() else { return };
    let ran = run("curl", &["-sS", "--http2-prior-knowledge", "--include", &server.url("/early")], LIMIT);
    let heads: Vec<&str> = ran.stdout.split("HTTP/2 ").skip(1).collect();
    assert!(heads.len() == 2 && heads[0].starts_with("103") && heads[1].starts_with("200"), "{}", ran.stdout);
    assert!(heads[0].contains("link: "), "{}", ran.stdout);
}
