//! Malformed and tricky responses, by section of RFC 9112 and RFC 9110, each with what is to become of it.
//!
//! Behind every response the same connection is asked again, unless it is closed. One that is to be closed must not
//! be used any more; one that persists must be. Each case is sent whole and octet by octet.

use std::net::Shutdown;

use wakering::{
    http::{
        Body, BodyError, Method, Request,
        client::{self, SendRequest},
    },
    spawn_blocking,
};

use crate::{
    exchanges::{get, older, with},
    http1_server::{ByHand, Peer},
};

/// What is to become of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Taken as this status and content; the connection goes on.
    Goes(u16, &'static str),
    /// Taken, and the connection is closed behind it.
    Last(u16, &'static str),
    /// Not taken, for this reason; the connection is closed.
    Refused(&'static str),
    /// The head is taken, and what follows is not; the connection is closed.
    Broken(&'static str),
}

use Fate::{Broken, Goes, Last, Refused};

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The server waits for the next request.
    Open,
    /// It sends nothing more.
    Closes,
}

struct Case {
    section: &'static str,
    what: &'static str,
    method: Method,
    /// The request's fields.
    fields: &'static [(&'static str, &'static str)],
    response: Vec<u8>,
    end: End,
    fate: Fate,
    /// In one piece only: what is behind the response must be there with it.
    whole: bool,
}

impl Case {
    fn method(mut self, method: Method) -> Case {
        self.method = method;
        self
    }

    fn asking(mut self, fields: &'static [(&'static str, &'static str)]) -> Case {
        self.fields = fields;
        self
    }

    fn closes(mut self) -> Case {
        self.end = End::Closes;
        self
    }

    fn whole(mut self) -> Case {
        self.whole = true;
        self
    }
}

/// A case whose response is this text.
fn case(section: &'static str, what: &'static str, response: &str, fate: Fate) -> Case {
    Case {
        section,
        what,
        method: Method::GET,
        fields: &[],
        response: response.as_bytes().to_vec(),
        end: End::Open,
        fate,
        whole: false,
    }
}

/// A response with content `ok` and this line behind its length.
fn field(section: &'static str, what: &'static str, line: &str, fate: Fate) -> Case {
    let response = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n{line}\r\n\r\nok");
    case(section, what, &response, fate)
}

/// A response with this status line and content `ok`.
fn line(what: &'static str, line: &str, fate: Fate) -> Case {
    case("9112 §4", what, &format!("{line}\r\ncontent-length: 2\r\n\r\nok"), fate)
}

/// A response with these fields, and what follows its head.
fn framed(section: &'static str, what: &'static str, fields: &str, content: &str, fate: Fate) -> Case {
    case(section, what, &format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{content}"), fate)
}

/// Content in chunks.
fn chunked(what: &'static str, content: &str, fate: Fate) -> Case {
    framed("9112 §7.1", what, "transfer-encoding: chunked", content, fate)
}

const OK: Fate = Goes(200, "ok");
const BARE: Fate = Refused("a line does not end in CRLF");
const NAME: Fate = Refused("a field's name is no token");
const VALUE: Fate = Refused("a field's value has a control character");
const NOT_HTTP1: Fate = Refused("the peer does not speak HTTP/1.1");
const STATUS_LINE: Fate = Refused("the status line is malformed");

fn message_parsing() -> Vec<Case> {
    let at = "9112 §2.2";
    let plain = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    vec![
        case(at, "a plain response", plain, OK),
        case(at, "an empty line before it", &format!("\r\n{plain}"), NOT_HTTP1),
        case(at, "a blank before it", &format!(" {plain}"), NOT_HTTP1),
        case(at, "LF for every CRLF", &plain.replace("\r\n", "\n"), BARE),
        case(at, "LF behind the status line", "HTTP/1.1 200 OK\ncontent-length: 2\r\n\r\nok", BARE),
        case(at, "LF behind a field", "HTTP/1.1 200 OK\r\nx: y\ncontent-length: 2\r\n\r\nok", BARE),
        case(at, "LF for the empty line", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\nok", BARE),
        case(at, "LF CR LF", "HTTP/1.1 200 OK\r\ncontent-length: 2\n\r\nok", BARE),
        field(at, "a bare CR in a value", "x: a\rb", VALUE),
        field(at, "a bare CR in a name", "x\ry: a", NAME),
        field(at, "NUL in a value", "x: a\0b", VALUE),
        case(
            at,
            "a blank before the first field",
            "HTTP/1.1 200 OK\r\n x: y\r\ncontent-length: 2\r\n\r\nok",
            Refused("a blank in front of the first field"),
        ),
        case(at, "another protocol's words", "SSH-2.0-OpenSSH_9.2\r\n", NOT_HTTP1),
        case(at, "the beginning of HTTP/2", "\0\0\x12\x04\0\0\0\0\0", NOT_HTTP1),
        case(at, "an alert of TLS", "\x15\x03\x01\0\x02\x02\x46", NOT_HTTP1),
        case("9112 §2.3", "HTTP/0.9: content and no head", "<html>", NOT_HTTP1),
        case(at, "nothing at all", "", Refused("the peer closed before it answered")).closes(),
        case(at, "a part of a head", "HTTP/1.1 200 OK\r\nx", Refused("the peer closed inside a head"))
            .closes(),
    ]
}

fn status_line() -> Vec<Case> {
    vec![
        line("no reason", "HTTP/1.1 200 ", OK),
        line("no reason and no blank", "HTTP/1.1 200", OK),
        line("a reason of any words", "HTTP/1.1 200 I am: a; teapot", OK),
        line("a reason in another alphabet", "HTTP/1.1 200 \u{fc}", OK),
        line("a control character in the reason", "HTTP/1.1 200 O\x01K", STATUS_LINE),
        line("a later minor version", "HTTP/1.7 200 OK", OK),
        line("HTTP/1.0, which closes", "HTTP/1.0 200 OK", Last(200, "ok")),
        line("HTTP/2.0", "HTTP/2.0 200 OK", NOT_HTTP1),
        line("HTTP/2", "HTTP/2 200 OK", NOT_HTTP1),
        line("a version of two digits", "HTTP/1.10 200 OK", STATUS_LINE),
        line("a version in small letters", "http/1.1 200 OK", NOT_HTTP1),
        line("two blanks before the status", "HTTP/1.1  200 OK", STATUS_LINE),
        line("a tabulator before the status", "HTTP/1.1\t200 OK", STATUS_LINE),
        line("two digits", "HTTP/1.1 20 OK", STATUS_LINE),
        line("four digits", "HTTP/1.1 2000 OK", STATUS_LINE),
        line("a sign", "HTTP/1.1 +20 OK", STATUS_LINE),
        line("letters", "HTTP/1.1 2xx OK", STATUS_LINE),
        line("no status", "HTTP/1.1 OK", STATUS_LINE),
        line("a status below 100", "HTTP/1.1 099 Low", STATUS_LINE),
        // RFC 9110 §15: to be treated as 5xx, which is the application's to do.
        line("a status of no class", "HTTP/1.1 799 High", Goes(799, "ok")),
    ]
}

fn fields() -> Vec<Case> {
    let (at, folded) = ("9112 §5.1", "9112 §5.2");
    vec![
        field(at, "a blank before the colon", "x : y", NAME),
        field(at, "no colon", "xy", NAME),
        field(at, "no name", ": y", NAME),
        field(at, "a name that is no token", "x(y): z", NAME),
        field(at, "no value", "x:", OK),
        field(at, "letters beyond ASCII in a value", "x: \u{fc}", OK),
        field(folded, "a value in two lines", "x: a\r\n b", OK),
        field(folded, "a value in three lines, one of them empty", "x: a\r\n\tb\r\n \r\n c", OK),
        case(
            folded,
            "a length in two lines",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n 0\r\n\r\nok",
            Refused("a field that frames the content goes on in the next line"),
        ),
        field(
            folded,
            "a coding in two lines",
            "Transfer-Encoding:\r\n chunked",
            Refused("a field that frames the content goes on in the next line"),
        ),
        field("9110 §5.4", "a hundred fields", &["x: y"; 99].join("\r\n"), OK),
        field("9110 §5.4", "too many fields", &["x: y"; 100].join("\r\n"), Refused("too many fields")),
        field(
            "9110 §5.4",
            "fields that are too large",
            &format!("x: {}", "y".repeat(20_000)),
            Refused("the fields are too large"),
        ),
        field(
            "9110 §5.4",
            "a head that is too long",
            &format!("x: {}", "y".repeat(40_000)),
            Refused("the response's head is too long"),
        ),
        case(
            "9110 §5.4",
            "a status line without an end",
            &format!("HTTP/1.1 200 {}", "y".repeat(40_000)),
            Refused("the response's head is too long"),
        ),
    ]
}

fn lengths() -> Vec<Case> {
    let at = "9112 §6.3";
    let number = Refused("content-length is not a number");
    let length = |what, value: &str, fate| framed(at, what, &format!("content-length: {value}"), "ok", fate);
    vec![
        length("zeros in front", "002", OK),
        length("a length of nought", "0", Goes(200, "")).whole_without_content(),
        length("blanks around it", "  2\t", OK),
        length("a sign", "+2", number),
        length("a negative one", "-2", number),
        length("hex", "0x2", number),
        length("a fraction", "2.0", number),
        length("two numbers in one", "2 2", number),
        length("none", "", number),
        length("more than 64 bits", "18446744073709551618", Refused("content-length does not fit 64 bits")),
        length("the same twice in one field", "2, 2", OK),
        length("an empty member", "2,", number),
        length("two of them in one field", "2, 3", Refused("two different content-lengths")),
        framed(at, "the same in two fields", "content-length: 2\r\ncontent-length: 2", "ok", OK),
        framed(
            at,
            "two of them in two fields",
            "content-length: 2\r\ncontent-length: 3",
            "ok",
            Refused("two different content-lengths"),
        ),
        framed(at, "the end inside the content", "content-length: 3", "ok", Broken("ended")).closes(),
        framed(at, "content to the end of the connection", "x: y", "ok", Last(200, "ok")).closes(),
        framed(at, "no content to the end of the connection", "x: y", "", Last(200, "")).closes(),
        framed(
            at,
            "more than the length says",
            "content-length: 2",
            "okHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged",
            Last(200, "ok"),
        )
        .whole(),
        framed(at, "an empty line behind the content", "content-length: 2", "ok\r\n", Last(200, "ok"))
            .whole(),
    ]
}

fn codings() -> Vec<Case> {
    let at = "9112 §6.1";
    let content = "2\r\nok\r\n0\r\n\r\n";
    let unknown = Refused("a transfer coding that was not offered");
    let coding =
        |what, value: &str, fate| framed(at, what, &format!("transfer-encoding: {value}"), content, fate);
    vec![
        coding("chunked", "chunked", OK),
        coding("in capitals", "CHUNKED", OK),
        coding("with empty members", ",chunked,", OK),
        coding("chunked twice", "chunked, chunked", Refused("chunked twice")),
        coding("another before it", "gzip, chunked", unknown),
        coding("another behind it", "chunked, gzip", unknown),
        coding("identity", "identity", unknown),
        coding("another alone", "gzip", unknown),
        coding("none", "", unknown),
        coding("a parameter", "chunked;q=1", unknown),
        coding("something like it", "xchunked", unknown),
        coding("a quoted one", "\"chunked\"", unknown),
        framed(
            at,
            "in two fields",
            "transfer-encoding: gzip\r\ntransfer-encoding: chunked",
            content,
            unknown,
        ),
        framed(
            "9112 §6.3",
            "beside a length",
            "transfer-encoding: chunked\r\ncontent-length: 2",
            content,
            Refused("both transfer-encoding and content-length"),
        ),
        framed(
            "9112 §6.3",
            "behind a length",
            "content-length: 2\r\ntransfer-encoding: chunked",
            content,
            Refused("both transfer-encoding and content-length"),
        ),
        case(
            at,
            "in HTTP/1.0",
            &format!("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{content}"),
            Refused("transfer-encoding in HTTP/1.0"),
        ),
    ]
}

fn chunks() -> Vec<Case> {
    let ended = "ended";
    let end = "0\r\n\r\n";
    let around = |size: &str| format!("{size}\r\nok\r\n{end}");
    vec![
        chunked("two chunks", &format!("1\r\no\r\n1\r\nk\r\n{end}"), OK),
        chunked("zeros in front", &around("00000002"), OK),
        chunked("an extension", &around("2;a=\"b;\\\"\""), OK),
        chunked("no chunk but the last", end, Goes(200, "")),
        chunked("trailers", "2\r\nok\r\n0\r\nx: y\r\n\r\n", OK),
        chunked("trailers that frame, which are left out", "2\r\nok\r\n0\r\ncontent-length: 9\r\n\r\n", OK),
        chunked("no size", &around(""), Broken("a chunk has no size")),
        chunked("a sign", &around("+2"), Broken("a chunk has no size")),
        chunked("0x", &around("0x2"), Broken("a chunk's size is no number")),
        chunked("a blank before it", &around(" 2"), Broken("a chunk has no size")),
        chunked("a blank behind it", &around("2 "), Broken("a chunk's size is no number")),
        chunked("more than 64 bits", &around("10000000000000002"), Broken("does not fit 64 bits")),
        chunked("LF behind the size", &format!("2\nok\r\n{end}"), Broken("a chunk's size is no number")),
        chunked("LF behind the content", &format!("2\r\nok\n{end}"), Broken("a chunk does not end in CRLF")),
        chunked("more than it says", &format!("2\r\nokay\r\n{end}"), Broken("a chunk does not end in CRLF")),
        chunked("NUL in an extension", &around("2;a\0"), Broken("a control character")),
        chunked("LF behind a trailer", "2\r\nok\r\n0\r\nx: y\n\r\n", Broken("a line does not end in CRLF")),
        chunked("a trailer that is none", "2\r\nok\r\n0\r\nx y\r\n\r\n", Broken("no token")),
        chunked("a trailer in two lines", "2\r\nok\r\n0\r\nx: y\r\n z\r\n\r\n", Broken("no token")),
        chunked("the end inside a chunk", "3\r\nok", Broken(ended)).closes(),
        chunked("the end inside a size", "2\r\nok\r\n0", Broken(ended)).closes(),
        chunked("the end without the last chunk", "2\r\nok\r\n", Broken(ended)).closes(),
        chunked("the end inside the trailers", "2\r\nok\r\n0\r\nx: y\r\n", Broken(ended)).closes(),
        chunked("extensions without an end", &around(&format!("2;{}", "a".repeat(20_000))), {
            Broken("the chunk extensions are too long")
        }),
        chunked("octets behind the last chunk", "2\r\nok\r\n0\r\n\r\nx", Last(200, "ok")).whole(),
    ]
}

fn without_content() -> Vec<Case> {
    let at = "9112 §6.3";
    vec![
        framed(at, "HEAD with a length", "content-length: 2", "", Goes(200, "")).method(Method::HEAD),
        framed(at, "HEAD with a coding", "transfer-encoding: chunked", "", Goes(200, ""))
            .method(Method::HEAD),
        framed("9110 §9.3.2", "HEAD that asked for a change", "content-length: 2", "", Goes(200, ""))
            .method(Method::HEAD)
            .asking(&[("upgrade", "x")]),
        framed(at, "HEAD without either", "x: y", "", Goes(200, "")).method(Method::HEAD),
        framed(at, "HEAD with content", "content-length: 2", "ok", Last(200, ""))
            .method(Method::HEAD)
            .whole(),
        case(at, "204", "HTTP/1.1 204 No Content\r\n\r\n", Goes(204, "")),
        case(at, "204 with a length", "HTTP/1.1 204 No\r\ncontent-length: 2\r\n\r\n", Goes(204, "")),
        case(at, "204 with content", "HTTP/1.1 204 No\r\ncontent-length: 2\r\n\r\nok", Last(204, "")).whole(),
        case(at, "304 with a length", "HTTP/1.1 304 No\r\ncontent-length: 2\r\n\r\n", Goes(304, "")),
        case(at, "304 with a coding", "HTTP/1.1 304 No\r\ntransfer-encoding: chunked\r\n\r\n", Goes(304, "")),
        case(
            "9110 §15.3.6",
            "205 of length 0",
            "HTTP/1.1 205 Reset\r\ncontent-length: 0\r\n\r\n",
            Goes(205, ""),
        ),
        case(
            "9110 §15.2",
            "interim heads, with fields that would frame",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\ncontent-length: 9\r\n\r\n\
             HTTP/1.1 199 Odd\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            OK,
        ),
        case(
            "9110 §15.2",
            "interim heads without an end",
            &"HTTP/1.1 102 Processing\r\n\r\n".repeat(101),
            Refused("too many interim heads"),
        ),
        case("9110 §15.2", "an interim head and the end", "HTTP/1.1 100 Continue\r\n\r\n", {
            Refused("the peer closed inside a head")
        })
        .closes(),
    ]
}

fn connections() -> Vec<Case> {
    let at = "9112 §9.3";
    let text = "HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nok";
    let both = "HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive, close\r\n\r\nok";
    vec![
        field(at, "close", "connection: close", Last(200, "ok")),
        field(at, "close in capitals, among others", "connection: x, CLOSE", Last(200, "ok")),
        field(at, "close in the second field", "connection: x\r\nconnection: close", Last(200, "ok")),
        field(at, "something like close", "connection: closed", OK),
        field(at, "keep-alive", "connection: keep-alive", OK),
        case(at, "keep-alive in HTTP/1.0", text, OK),
        case(at, "both in HTTP/1.0", both, Last(200, "ok")),
        field(at, "our own close", "x: y", Last(200, "ok")).asking(&[("connection", "close")]),
        case(
            "9110 §7.8",
            "a change that was not asked for",
            "HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            Refused("a change to a protocol that was not asked for"),
        ),
        case(
            "9110 §7.8",
            "a change to another protocol than was asked for",
            "HTTP/1.1 101 Switching\r\nupgrade: y\r\nconnection: upgrade\r\n\r\n",
            Refused("a change to a protocol that was not asked for"),
        )
        .asking(&[("upgrade", "x")]),
        case(
            "9110 §7.8",
            "a change to no protocol",
            "HTTP/1.1 101 Switching\r\nconnection: upgrade\r\n\r\n",
            Refused("a change to a protocol that was not asked for"),
        )
        .asking(&[("upgrade", "x")]),
        field("9110 §7.8", "no change, though it was asked for", "upgrade: x", OK)
            .asking(&[("upgrade", "x")]),
        field("9110 §10.1.1", "nothing to continue with", "x: y", OK).asking(&[("expect", "100-continue")]),
    ]
}

impl Case {
    /// The text behind the head is not sent.
    fn whole_without_content(mut self) -> Case {
        self.response.truncate(self.response.len() - 2);
        self
    }
}

/// Serves one case: the response, and what became of the connection.
fn serve(peer: &mut Peer, case: &Case, step: usize) {
    let asked = peer.request();
    assert!(asked.line.starts_with(case.method.as_str()), "{asked:?}");
    for piece in case.response.chunks(step) {
        use std::io::Write;
        // Who has read enough closes.
        if peer.socket.write_all(piece).is_err() {
            return;
        }
    }
    if case.end == End::Closes {
        peer.socket.shutdown(Shutdown::Write).expect("the socket is open");
    }
    let next = peer.maybe_request();
    match case.fate {
        Goes(..) => {
            assert_eq!(next.expect("the next request").line, "GET /next HTTP/1.1");
            peer.answer("next");
            assert!(peer.ends());
        }
        Last(..) | Refused(_) | Broken(_) => assert_eq!(next, None, "{}", case.what),
    }
}

/// What became of it.
#[derive(Debug)]
enum Became {
    Answer(u16, String),
    Error(String),
    Cut(BodyError, String),
}

async fn ask(connection: &mut SendRequest, case: &Case, url: &str) -> Became {
    connection.ready().await.expect("a new connection");
    let mut request = Request::builder().method(case.method.clone()).uri(url);
    for (name, value) in case.fields {
        request = request.header(*name, *value);
    }
    let response = match connection.send(request.body(Body::empty()).expect("a request")).await {
        Ok(response) => response,
        Err(error) => return Became::Error(error.to_string()),
    };
    let status = response.status().as_u16();
    match response.into_body().collect(1 << 20).await {
        Ok(content) => Became::Answer(status, String::from_utf8_lossy(&content).into_owned()),
        Err(error) => {
            connection.closed().await;
            let why = connection.ready().await.expect_err("a connection that is closed").to_string();
            Became::Cut(error, why)
        }
    }
}

async fn judge(case: Case, step: usize) {
    let name = format!("{}: {}, in pieces of {step}", case.section, case.what);
    println!("{name}");
    let case = std::sync::Arc::new(case);
    let script = {
        let case = case.clone();
        move |peer: &mut Peer| serve(peer, &case, step)
    };
    let server = ByHand::serving(script);
    let builder = client::builder().http1_in_cleartext();
    let mut connection = builder.connect(server.address).await.expect("it listens");
    let became = ask(&mut connection, &case, &server.url("/")).await;
    let (Goes(status, content) | Last(status, content)) = case.fate else {
        match (&became, case.fate) {
            (Became::Error(said), Refused(why)) => assert!(said.contains(why), "{name}: {said}"),
            (Became::Cut(error, said), Broken(why)) => {
                assert!(error.to_string().contains(why) && said.contains(why), "{name}: {error}; {said}");
            }
            (became, fate) => panic!("{name}: {became:?}, not {fate:?}"),
        }
        connection.closed().await;
        return spawn_blocking(|| server.end()).expect("a thread").await.expect("the script ends");
    };
    match became {
        Became::Answer(was, had) => assert_eq!((was, &had[..]), (status, content), "{name}"),
        became => panic!("{name}: {became:?}"),
    }
    if case.fate == Goes(status, content) {
        connection.ready().await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let request = Request::get(server.url("/next")).body(Body::empty()).expect("a request");
        let next = connection.send(request).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(next.into_body().collect(10).await.expect("content"), "next", "{name}");
        drop(connection);
    } else {
        connection.closed().await;
    }
    spawn_blocking(|| server.end()).expect("a thread").await.expect("the script ends");
}

fn run(cases: Vec<Case>) {
    wakering::run(async move {
        for case in cases {
            let twin = Case { response: case.response.clone(), method: case.method.clone(), ..case };
            if !case.whole && case.response.len() < 5000 {
                judge(twin, 1).await;
            }
            judge(case, usize::MAX).await;
        }
    })
    .expect("a runtime");
}

#[test]
fn message_parsing_is_strict() {
    run(message_parsing());
}

#[test]
fn status_lines_are_what_they_should_be() {
    run(status_line());
}

#[test]
fn fields_are_what_they_should_be() {
    run(fields());
}

#[test]
fn a_length_is_one_number() {
    run(lengths());
}

#[test]
fn a_coding_is_chunked_and_nothing_else() {
    run(codings());
}

#[test]
fn chunks_are_what_they_should_be() {
    run(chunks());
}

#[test]
fn what_has_no_content_ends_with_its_head() {
    run(without_content());
}

#[test]
fn connections_persist_or_not_as_both_sides_say() {
    run(connections());
}

#[test]
fn the_table_is_as_long_as_it_says() {
    let all = [
        message_parsing(),
        status_line(),
        fields(),
        lengths(),
        codings(),
        chunks(),
        without_content(),
        connections(),
    ];
    let count = all.iter().map(Vec::len).sum::<usize>();
    println!("{count} responses");
    assert!(count >= 100, "{count}");
}

#[test]
fn content_that_breaks_a_rule_is_told_from_content_that_was_cut_off() {
    for (part, why) in [
        ("content-length: 9\r\n\r\na part", None),
        ("transfer-encoding: chunked\r\n\r\n2\r\nokk\r\n", Some("chunk")),
    ] {
        let script = move |peer: &mut Peer| {
            peer.request();
            peer.send(format!("HTTP/1.1 200 OK\r\n{part}"));
        };
        with(older(), script, |mut connection| async move {
            let response = connection.send(get()).await.unwrap();
            let error = response.into_body().collect(100).await.unwrap_err();
            match why {
                None => assert!(matches!(error, BodyError::ConnectionClosed), "{error:?}"),
                Some(word) => {
                    let BodyError::Connection(broken) = error else { panic!("{error:?}") };
                    assert!(broken.is_peer() && broken.to_string().contains(word), "{broken}");
                }
            }
        });
    }
}
