//! `examples/file_server`: what it sends of a folder, to our client, which sends paths and fields as they are given, and to curl.

#![cfg(not(loom))]

mod support;

use std::{
    fs, io,
    io::Read,
    ops::Deref,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use support::folder::Folder;
#[cfg(feature = "http1")]
use support::peer::{Role, Row, installed, version_of};
use support::server::{Server, Signal};
use support::{program, run};
use wakering::http::{Body, HeaderMap, Request, client};

const LIMIT: Duration = Duration::from_secs(60);

/// A server of a folder that is deleted afterwards.
struct Files {
    server: Server,
    folder: Folder,
}

impl Files {
    /// A folder named `served` with a few files, in one with a secret.
    fn start(arguments: &[&str]) -> Files {
        let folder = Folder::new("files");
        let served = folder.join("served");
        fs::create_dir_all(served.join("sub dir")).expect("a folder");
        let write = |name: &str, content: &[u8]| fs::write(served.join(name), content).expect("a file");
        write("digits.txt", b"0123456789");
        write("empty", b"");
        write("page.html", "<p>Hello, page!</p>\n".repeat(200).as_bytes());
        write("large", &pattern(3_000_000));
        write("image.png", &[7; 2000]);
        write(".hidden", b"hidden");
        write("sub dir/a&b <c>.txt", b"odd name");
        fs::write(folder.join("secret"), b"secret").expect("a file");
        let served_name = served.to_str().expect("a path in UTF-8").to_owned();
        let server = Server::start("file_server", &[&[served_name.as_str()], arguments].concat());
        Files { server, folder }
    }

    fn served(&self) -> PathBuf {
        self.folder.join("served")
    }

    fn get(&self, path: &str, fields: &[(&'static str, &str)]) -> Answer {
        self.ask("GET", path, fields)
    }

    fn ask(&self, method: &str, path: &str, fields: &[(&'static str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(self.url(path));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("a request");
        let exchange = async move {
            let mut connection = client::connect(self.server.address).await.expect("a connection");
            let response = connection.send(request).await.expect("an answer");
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let content = response.into_body().collect(1 << 24).await.expect("all of it").to_vec();
            Answer { status, headers, content }
        };
        let limited = wakering::run(async { wakering::time::timeout(LIMIT, exchange).await });
        limited.expect("a runtime").expect("an answer in time")
    }
}

impl Deref for Files {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    content: Vec<u8>,
}

impl Answer {
    /// A field; empty when there is none.
    fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.content).expect("text")
    }
}

/// Makes a file younger than its neighbours, whose times may be the same tick's.
fn later(path: &Path) {
    let file = fs::File::options().write(true).open(path).expect("a file");
    file.set_modified(SystemTime::now() + Duration::from_secs(3600)).expect("a time");
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

#[test]
fn files_come_whole_with_their_type_length_and_validators() {
    let files = Files::start(&[]);
    let digits = files.get("/digits.txt", &[]);
    assert_eq!((digits.status, digits.text()), (200, "0123456789"));
    assert_eq!(digits.field("content-type"), "text/plain; charset=utf-8");
    assert_eq!(digits.field("content-length"), "10");
    assert_eq!(digits.field("accept-ranges"), "bytes");
    assert_eq!(digits.field("x-content-type-options"), "nosniff");
    assert!(digits.field("etag").starts_with('"') && digits.field("last-modified").ends_with(" GMT"));
    let image = files.get("/image.png?query=1", &[("accept-encoding", "gzip")]);
    assert_eq!((image.field("content-type"), image.field("content-encoding")), ("image/png", ""));
    assert_eq!(files.get("/empty", &[]).field("content-length"), "0");
    let large = files.get("/large", &[]);
    assert_eq!(large.field("content-type"), "application/octet-stream");
    assert!(large.content == pattern(3_000_000));
    let odd = files.get("/sub%20dir/a%26b%20%3Cc%3E.txt", &[]);
    assert_eq!(odd.text(), "odd name");
}

#[test]
fn head_says_what_get_would_without_content() {
    let files = Files::start(&[]);
    for path in ["/digits.txt", "/large", "/page.html", "/", "/none"] {
        let (head, get) = (files.ask("HEAD", path, &[]), files.get(path, &[]));
        assert_eq!(head.content, b"");
        let of = |answer: &Answer| {
            let fields = ["content-length", "content-type", "etag", "last-modified", "accept-ranges"];
            fields.map(|name| answer.field(name).to_owned())
        };
        assert_eq!((head.status, of(&head)), (get.status, of(&get)), "{path}");
    }
    // Ranges are GET's alone.
    assert_eq!(files.ask("HEAD", "/digits.txt", &[("range", "bytes=0-1")]).status, 200);
    let refused = files.ask("DELETE", "/digits.txt", &[]);
    assert_eq!((refused.status, refused.field("allow")), (405, "GET, HEAD, OPTIONS"));
    assert_eq!(files.ask("OPTIONS", "/digits.txt", &[]).status, 204);
}

#[test]
fn a_range_gives_the_part_that_was_asked_for() {
    let files = Files::start(&[]);
    let cases = [
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=-100", "0123456789", "bytes 0-9/10"),
        ("bytes=8-99999999999999999999999", "89", "bytes 8-9/10"),
        ("Bytes=20-30, 5-6", "56", "bytes 5-6/10"),
    ];
    for (range, content, named) in cases {
        let part = files.get("/digits.txt", &[("range", range), ("accept-encoding", "gzip, br")]);
        assert_eq!((part.status, part.text(), part.field("content-range")), (206, content, named), "{range}");
    }
    let middle = files.get("/large", &[("range", "bytes=1000000-1999999")]);
    assert_eq!((middle.status, middle.field("content-length")), (206, "1000000"));
    assert!(middle.content == pattern(3_000_000)[1_000_000..2_000_000]);
}

#[test]
fn several_ranges_come_as_parts_of_one_answer() {
    let files = Files::start(&[]);
    let parts = files.get("/digits.txt", &[("range", "bytes=0-1,5-5,-2")]);
    assert_eq!(parts.status, 206);
    let boundary =
        parts.field("content-type").strip_prefix("multipart/byteranges; boundary=").expect("parts");
    let found: Vec<_> = parts.text().split(&format!("\r\n--{boundary}")).collect();
    let head = "\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-range: bytes ";
    let of = |range: &str, content: &str| format!("{head}{range}/10\r\n\r\n{content}");
    assert_eq!(found, ["", &of("0-1", "01"), &of("5-5", "5"), &of("8-9", "89"), "--\r\n"]);
    assert_eq!(parts.field("content-length"), parts.content.len().to_string());
}

#[test]
fn ranges_that_cannot_be_satisfied_are_416_and_malformed_or_greedy_ones_are_not_looked_at() {
    let files = Files::start(&[]);
    for range in ["bytes=10-", "bytes=100-200", "bytes=-0", "bytes=20-30,40-50"] {
        let none = files.get("/digits.txt", &[("range", range)]);
        assert_eq!(
            (none.status, none.field("content-range"), none.text()),
            (416, "bytes */10", ""),
            "{range}"
        );
    }
    assert_eq!(files.get("/empty", &[("range", "bytes=0-")]).status, 416);
    let many = format!("bytes={}", ["0-0"; 17].join(","));
    let overlapping = "bytes=0-9,0-9";
    let ignored = ["bytes=5-3", "bytes=a-b", "bytes=", "bytes=-", "lines=1-2", "1-2", &many, overlapping];
    for range in ignored {
        let whole = files.get("/digits.txt", &[("range", range)]);
        assert_eq!((whole.status, whole.text()), (200, "0123456789"), "{range}");
    }
}

#[test]
fn conditions_are_weighed_in_the_order_of_the_rfc() {
    let files = Files::start(&[]);
    let plain = files.get("/digits.txt", &[]);
    let (tag, date) = (plain.field("etag").to_owned(), plain.field("last-modified").to_owned());
    let (weak, among) = (format!("W/{tag}"), format!("\"x\", {tag}"));
    let (past, future) = ("Thu, 01 Jan 1970 00:00:01 GMT", "Fri, 31 Dec 9999 23:59:59 GMT");
    let cases: &[(&[(&'static str, &str)], u16)] = &[
        (&[("if-none-match", &tag)], 304),
        (&[("if-none-match", &weak)], 304),
        (&[("if-none-match", &among)], 304),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", "\"x\"")], 200),
        (&[("if-modified-since", &date)], 304),
        (&[("if-modified-since", future)], 304),
        (&[("if-modified-since", past)], 200),
        (&[("if-modified-since", "yesterday")], 200),
        (&[("if-none-match", "\"x\""), ("if-modified-since", &date)], 200),
        (&[("if-match", &tag)], 200),
        (&[("if-match", "*")], 200),
        (&[("if-match", &weak)], 412),
        (&[("if-match", "\"x\"")], 412),
        (&[("if-unmodified-since", &date)], 200),
        (&[("if-unmodified-since", past)], 412),
        (&[("if-match", &tag), ("if-unmodified-since", past)], 200),
        (&[("if-match", &tag), ("if-none-match", &tag)], 304),
        (&[("if-match", "\"x\""), ("range", "bytes=0-1")], 412),
        (&[("if-range", &tag), ("range", "bytes=0-1")], 206),
        (&[("if-range", &date), ("range", "bytes=0-1")], 206),
        (&[("if-range", &weak), ("range", "bytes=0-1")], 200),
        (&[("if-range", "\"x\""), ("range", "bytes=0-1")], 200),
        (&[("if-range", past), ("range", "bytes=0-1")], 200),
        (&[("if-range", &tag), ("range", "bytes=50-")], 416),
    ];
    for (fields, status) in cases {
        let answer = files.get("/digits.txt", fields);
        assert_eq!(answer.status, *status, "{fields:?}");
        if *status == 304 {
            assert_eq!((answer.field("etag"), answer.field("content-type")), (tag.as_str(), ""));
        }
    }
    let path = files.served().join("digits.txt");
    fs::write(&path, b"9876543210").expect("a file");
    later(&path);
    let changed = files.get("/digits.txt", &[("if-none-match", &tag)]);
    assert_eq!((changed.status, changed.text()), (200, "9876543210"));
}

#[test]
fn text_is_compressed_for_who_takes_it() {
    let files = Files::start(&[]);
    let plain = files.get("/page.html", &[]);
    assert_eq!((plain.field("content-encoding"), plain.field("vary")), ("", "accept-encoding"));
    let mut tags = vec![plain.field("etag").to_owned()];
    for (takes, code) in [
        ("gzip", "gzip"),
        ("gzip, br", "br"),
        ("br;q=0, *", "gzip"),
        ("GZIP;Q=0.5", "gzip"),
        ("br;q=0.2, gzip;q=0.7, identity;q=0.1", "gzip"),
    ] {
        let coded = files.get("/page.html", &[("accept-encoding", takes)]);
        assert_eq!((coded.status, coded.field("content-encoding")), (200, code), "{takes}");
        assert!(coded.content.len() < plain.content.len());
        let mut content = Vec::new();
        let read = match code {
            "br" => brotli::Decompressor::new(&coded.content[..], 4096).read_to_end(&mut content),
            _ => flate2::read::GzDecoder::new(&coded.content[..]).read_to_end(&mut content),
        };
        assert!(read.is_ok() && content == plain.content, "{takes}");
        tags.push(coded.field("etag").to_owned());
    }
    // Each coding is a representation of its own.
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 3);
    for takes in ["identity", "gzip;q=0", "zstd", "", "gzip;q=0.5, identity", "*;q=0.1, identity;q=0.2"] {
        let coded = files.get("/page.html", &[("accept-encoding", takes)]);
        assert_eq!(coded.field("content-encoding"), "", "{takes}");
        assert!(coded.content == plain.content);
    }
}

#[test]
fn a_compressed_file_beside_is_sent_in_its_place_unless_it_is_older() {
    let files = Files::start(&[]);
    let beside = |name: &str, content: &[u8]| fs::write(files.served().join(name), content).expect("a file");
    beside("page.html.gz", b"as if gzip");
    beside("page.html.zst", b"as if zstd");
    let takes = |list: &str| files.get("/page.html", &[("accept-encoding", list)]);
    for (list, code, content) in [("gzip", "gzip", "as if gzip"), ("gzip, zstd", "zstd", "as if zstd")] {
        let coded = takes(list);
        assert_eq!((coded.field("content-encoding"), coded.text()), (code, content));
        assert_eq!(coded.field("content-type"), "text/html; charset=utf-8");
    }
    later(&files.served().join("page.html"));
    let coded = takes("zstd");
    assert_eq!((coded.field("content-encoding"), coded.text().len()), ("", 4000));
}

#[test]
fn folders_are_listed_redirected_to_and_shown_by_their_index() {
    let files = Files::start(&[]);
    let list = files.get("/", &[]);
    assert_eq!((list.status, list.field("content-type")), (200, "text/html; charset=utf-8"));
    assert!(list.text().contains("<a href=\"./digits.txt\">digits.txt</a><td>10\n"), "{}", list.text());
    assert!(list.text().contains("<a href=\"./sub%20dir/\">sub dir/</a>"), "{}", list.text());
    assert!(!list.text().contains("hidden"));
    let sub = files.get("/sub%20dir/", &[]);
    assert!(
        sub.text().contains("<a href=\"./a%26b%20%3Cc%3E.txt\">a&amp;b &lt;c&gt;.txt</a>"),
        "{}",
        sub.text()
    );
    assert!(sub.text().contains("<a href=\"../\">"));
    for path in ["/sub%20dir", "//sub%20dir"] {
        let moved = files.get(path, &[]);
        assert_eq!((moved.status, moved.field("location")), (301, "/sub%20dir/"), "{path}");
    }
    fs::write(files.served().join("index.html"), b"the index").expect("a file");
    assert_eq!(files.get("/", &[]).text(), "the index");

    let silent = Files::start(&["--no-list"]);
    assert_eq!(silent.get("/", &[]).status, 404);
    assert_eq!(silent.get("/digits.txt", &[]).status, 200);
}

#[test]
fn no_path_leads_out_of_the_folder() {
    let files = Files::start(&[]);
    let link = |target: &Path, name: &str| symlink(target, files.served().join(name)).expect("a link");
    link(&files.folder.join("secret"), "out");
    link(&files.folder, "up");
    link(Path::new("../secret"), "relative");
    link(Path::new("digits.txt"), "inside");
    link(Path::new("loop"), "loop");
    fs::write(files.served().join("page.html.gz.real"), b"").expect("a file");
    link(&files.folder.join("secret"), "page.html.gz");
    let paths = [
        "/../secret",
        "/%2e%2e/secret",
        "/sub%20dir/../../secret",
        "/..%2fsecret",
        "/.%2e/secret",
        "/%2e%2e%2fsecret",
        "/./digits.txt",
        "/.hidden",
        "/%2ehidden",
        "/digits.txt/",
        "/digits.txt/x",
        "/none",
        "/out",
        "/up/secret",
        "/up/",
        "/relative",
        "/loop",
        "/%00",
        "/digits.txt%00",
        "/%ff",
        "/..;/secret",
        "/sub%20dir/..",
        "//../secret",
        "/..%5csecret",
        "/sub%20dir%2f..%2f..%2fsecret",
    ];
    let list = files.get("/", &[]).text().to_owned();
    assert!(
        list.contains(">inside</a>")
            && !["out", "up/", "relative"].iter().any(|it| list.contains(&format!(">{it}</a>")))
    );
    for path in paths {
        let refused = files.get(path, &[]);
        assert!([400, 404].contains(&refused.status), "{path}: {}", refused.status);
        assert_eq!(refused.content, b"", "{path}");
    }
    assert_eq!(files.get("/inside", &[]).text(), "0123456789");
    // A link beside is not what `page.html` stands for.
    let coded = files.get("/page.html", &[("accept-encoding", "gzip")]);
    assert!(coded.status == 200 && coded.content != b"secret");
    assert!(!files.get("/", &[]).text().contains("secret"));
}

#[test]
fn a_download_that_nobody_reads_holds_no_more_than_a_chunk() {
    let files = Files::start(&[]);
    let huge = fs::File::create(files.served().join("huge")).expect("a file");
    huge.set_len(1 << 30).expect("a hole");
    files.get("/digits.txt", &[]);
    let base = files.resident_kib();
    let exchange = async {
        let mut connection = client::connect(files.address).await.expect("a connection");
        let request = Request::get(files.url("/huge")).body(Body::empty()).expect("a request");
        let response = connection.send(request).await.expect("an answer");
        let mut body = response.into_body();
        let mut read = 0;
        while read < 4 << 20 {
            read += body.data().await.expect("more").expect("no error").len();
        }
        // What more it would take shows while others are served.
        for _ in 0..50 {
            let request = Request::get(files.url("/digits.txt")).body(Body::empty()).expect("a request");
            let other = connection.send(request).await.expect("an answer").into_body();
            assert_eq!(other.collect(100).await.expect("all of it"), "0123456789");
        }
        files.resident_kib().saturating_sub(base)
    };
    let grown = wakering::run(exchange).expect("a runtime");
    assert!(grown < 16 * 1024, "{grown} KiB for a download that nobody reads");
}

#[test]
fn a_file_that_becomes_shorter_resets_its_stream() {
    let files = Files::start(&[]);
    let path = files.served().join("huge");
    let huge = fs::File::create(&path).expect("a file");
    huge.set_len(1 << 30).expect("a hole");
    let exchange = async {
        let mut connection = client::connect(files.address).await.expect("a connection");
        let request = Request::get(files.url("/huge")).body(Body::empty()).expect("a request");
        let mut body = connection.send(request).await.expect("an answer").into_body();
        body.data().await.expect("a beginning").expect("no error");
        huge.set_len(1).expect("a length");
        loop {
            match body.data().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return error.to_string(),
                None => return "it ended well".to_owned(),
            }
        }
    };
    let error = wakering::run(async { wakering::time::timeout(LIMIT, exchange).await });
    let error = error.expect("a runtime").expect("an end in time");
    assert!(error.contains("reset"), "{error}");
}

#[test]
fn a_download_under_way_is_finished_after_the_first_signal() {
    let files = Files::start(&["--grace", "60", "--workers", "2"]);
    let huge = fs::File::create(files.served().join("huge")).expect("a file");
    huge.set_len(20 << 20).expect("a hole");
    let exchange = async {
        let mut connection = client::connect(files.address).await.expect("a connection");
        let request = Request::get(files.url("/huge")).body(Body::empty()).expect("a request");
        let mut body = connection.send(request).await.expect("an answer").into_body();
        let mut length = body.data().await.expect("a beginning").expect("no error").len();
        files.signal(Signal::Terminate);
        while let Some(bytes) = body.data().await {
            length += bytes.expect("no error").len();
        }
        length
    };
    assert_eq!(wakering::run(exchange).expect("a runtime"), 20 << 20);
}

#[test]
fn curl_resumes_a_download_and_asks_whether_a_file_has_changed() -> io::Result<()> {
    if program("curl").is_none() {
        return Ok(());
    }
    let files = Files::start(&[]);
    let (url, half) = (files.url("/large"), files.folder.join("half"));
    fs::write(&half, &pattern(3_000_000)[..1_000_000])?;
    let name = half.to_str().expect("a path in UTF-8");
    let curl = ["-sS", "--http2-prior-knowledge", "--max-time", "60"];
    let resumed = run("curl", &[&curl[..], &["-C", "-", "-o", name, &url]].concat(), LIMIT);
    assert_eq!(resumed.code, Some(0), "{}", resumed.stderr);
    assert!(fs::read(&half)? == pattern(3_000_000));

    let (tags, page) = (files.folder.join("tags"), files.url("/page.html"));
    let tags = tags.to_str().expect("a path in UTF-8");
    let coded = ["--compressed", "-w", "%{http_code}", "-o", "/dev/null"];
    let ask = |more: &[&str]| {
        run("curl", &[&curl[..], &coded, &["--etag-save", tags], more, &[&page]].concat(), LIMIT)
    };
    assert_eq!(ask(&[]).stdout, "200");
    assert_eq!(ask(&["--etag-compare", tags]).stdout, "304");
    Ok(())
}

/// What curl prints for these arguments, of a server that speaks TLS if the first of them is `--insecure`.
#[cfg(all(feature = "http1", feature = "tls-ring"))]
fn curled(files: &Files, way: &[&str], path: &str, more: &[&str]) -> String {
    let scheme = if way[0] == "--insecure" { "https" } else { "http" };
    let url = format!("{scheme}://{}{path}", files.address);
    let ran = run("curl", &[&["-sS", "--max-time", "60"], way, more, &[&url]].concat(), LIMIT);
    assert_eq!(ran.code, Some(0), "{way:?} {path} {more:?}: {}", ran.stderr);
    ran.stdout
}

/// In every version, in cleartext and over TLS.
#[cfg(all(feature = "http1", feature = "tls-ring"))]
#[test]
fn curl_gets_ranges_conditions_compression_and_lists() {
    let ways: [(&'static str, &[&str], &str); 6] = [
        ("curl", &["--http2-prior-knowledge"], "2"),
        ("curl, HTTP/1.1", &["--http1.1"], "1.1"),
        ("curl, HTTP/1.1", &["--http1.0"], "1.1"),
        // It asks to change to HTTP/2, and is served where it is.
        ("curl, HTTP/1.1", &["--http2"], "1.1"),
        ("curl, TLS", &["--insecure", "--http2"], "2"),
        ("curl, HTTP/1.1, TLS", &["--insecure", "--http1.1"], "1.1"),
    ];
    let (clear, secure) = (Files::start(&[]), Files::start(&["--tls"]));
    for (peer, way, version) in ways {
        let Some(program) = installed("curl", peer, Role::Client) else { continue };
        let text = version_of(&program, &["--version"]);
        let text = text.split(" (").next().unwrap_or_default().to_owned();
        let _row = Row::of_test(peer, Role::Client, text);
        let files = if way[0] == "--insecure" { &secure } else { &clear };
        let ask = |path: &str, more: &[&str]| curled(files, way, path, more);
        let whole = ask("/digits.txt", &["-w", "|%{http_code} %{http_version}"]);
        assert_eq!(whole, format!("0123456789|200 {version}"), "{way:?}");
        for (range, expected) in [("2-4", "234|206"), ("7-", "789|206"), ("-3", "789|206"), ("50-", "|416")] {
            let part = ask("/digits.txt", &["-r", range, "-w", "|%{http_code}"]);
            assert_eq!(part, expected, "{way:?} {range}");
        }
        let parts = ask("/digits.txt", &["-r", "0-1,5-5"]);
        assert!(parts.contains("bytes 0-1/10") && parts.contains("bytes 5-5/10"), "{way:?}: {parts}");
        // A date behind a dash asks whether it is older.
        let dates =
            [("31 Dec 2099", "304"), ("1 Jan 1990", "200"), ("-1 Jan 1990", "412"), ("-31 Dec 2099", "200")];
        for (date, expected) in dates {
            let code = ask("/digits.txt", &["-z", date, "-o", "/dev/null", "-w", "%{http_code}"]);
            assert_eq!(code, expected, "{way:?} {date}");
        }
        let plain = ask("/page.html", &[]);
        let coded = ask("/page.html", &["--compressed", "-w", "|%{size_download}"]);
        let (content, sent) = coded.rsplit_once('|').expect("a number");
        assert_eq!(content, plain, "{way:?}");
        assert!(sent.parse::<usize>().expect("a number") < plain.len() / 4, "{way:?}: {sent}");
        let list = ask("/", &[]);
        assert!(list.contains("digits.txt") && list.contains("sub%20dir/"), "{way:?}: {list}");
        // curl before 8 fails when it uses a connection of prior knowledge again, as `-L` would.
        let moved = ask("/sub%20dir", &["-w", "%{http_code} %{redirect_url}"]);
        assert!(moved.starts_with("301 ") && moved.ends_with("/sub%20dir/"), "{way:?}: {moved}");
        let list = ask("/sub%20dir/", &[]);
        assert!(list.contains("a%26b%20%3Cc%3E.txt"), "{way:?}: {list}");
        assert_eq!(
            ask("/digits.txt", &["-I", "-w", "%{size_download}"]).lines().last(),
            Some("0"),
            "{way:?}"
        );
        assert_eq!(ask("/none", &["-w", "%{http_code}"]), "404", "{way:?}");
        assert_eq!(ask("/digits.txt", &["-d", "content", "-w", "%{http_code}"]), "405", "{way:?}");
        let large = ask("/large", &["-o", "/dev/null", "-w", "%{size_download}"]);
        assert_eq!(large, "3000000", "{way:?}");
    }
}

/// A person would look at it with a browser.
#[cfg(all(feature = "http1", not(wakering_fallback)))]
#[test]
fn chromium_lists_a_folder() {
    let peer = "Chromium, HTTP/1.1";
    let Some(program) = installed("chromium", peer, Role::Client) else { return };
    let text = version_of(&program, &["--version"]);
    let text = text.split(" built on").next().unwrap_or_default().to_owned();
    let _row = Row::of_test(peer, Role::Client, text);
    let files = Files::start(&[]);
    let profile = format!("--user-data-dir={}", files.folder.join("profile").display());
    let line = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        &profile,
        "--dump-dom",
    ];
    let url = files.url("/sub%20dir");
    let ran = run(&program.display().to_string(), &[&line[..], &[&url]].concat(), LIMIT);
    assert!(ran.stdout.contains("<a href=\"./a%26b%20%3Cc%3E.txt\">"), "{}{}", ran.stdout, ran.stderr);
}
