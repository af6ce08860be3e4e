//! Malformed and tricky requests in HTTP/1, by section of RFC 9112 and RFC 9110, each with the answer that it asks for.
//!
//! Behind every request comes a good one. A connection that is to be closed must not answer it, whatever it thinks it is;
//! one that persists must. Each case is sent whole and octet by octet.

#![cfg(not(loom))]

#[path = "support/http1.rs"]
mod http1;
#[path = "support/serving.rs"]
mod serving;

use std::thread;

use http1::{answers, exchange};
use serving::Serving;
use wakering::http::{Body, HeaderValue, Http1, Method, Request, Response, Server, StatusCode};

/// What is to become of a request.
#[derive(Clone, Debug)]
enum Fate {
    /// Answered with this status, and the connection closed.
    Refused(u16),
    /// Handed to the handler, which saw this; the connection goes on.
    Served(&'static str),
    /// As `Served`, and the connection is closed behind the answer.
    Last(&'static str),
}

use Fate::{Last, Refused, Served};

struct Case {
    section: &'static str,
    what: &'static str,
    request: Vec<u8>,
    fate: Fate,
}

const FOLLOWING: &[u8] = b"GET /following HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

/// Says what it has got of the request: method, target, content, and trailers if any.
async fn tell(mut request: Request<Body>) -> Response<Body> {
    if request.method() == Method::CONNECT {
        let mut refusal = Response::new(Body::empty());
        *refusal.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        return refusal;
    }
    let content = std::mem::take(request.body_mut());
    let content = content.collect(1 << 20).await.unwrap_or_default();
    let content = String::from_utf8_lossy(&content);
    let saw = format!("{} {} {content}", request.method(), request.uri());
    let mut response = Response::new(Body::empty());
    let saw = HeaderValue::try_from(saw.trim_end()).expect("a field's value");
    response.headers_mut().insert("x-saw", saw);
    response
}

/// A case whose request is this text.
fn case(section: &'static str, what: &'static str, request: &str, fate: Fate) -> Case {
    Case { section, what, request: request.as_bytes().to_vec(), fate }
}

/// A case with octets that are no text.
fn octets(section: &'static str, what: &'static str, request: &[u8], fate: Fate) -> Case {
    Case { section, what, request: request.to_vec(), fate }
}

/// A GET of `/` with this line behind `host`.
fn field(section: &'static str, what: &'static str, line: &str, fate: Fate) -> Case {
    case(section, what, &format!("GET / HTTP/1.1\r\nhost: a\r\n{line}\r\n\r\n"), fate)
}

/// A GET of `/` with this request line.
fn line(section: &'static str, what: &'static str, line: &str, fate: Fate) -> Case {
    case(section, what, &format!("{line}\r\nhost: a\r\n\r\n"), fate)
}

/// A GET whose only fields these are.
fn host(what: &'static str, fields: &str, fate: Fate) -> Case {
    case("9112 §3.2", what, &format!("GET / HTTP/1.1\r\n{fields}\r\n"), fate)
}

/// A POST with these fields and what follows the head.
fn post(section: &'static str, what: &'static str, fields: &str, content: &str, fate: Fate) -> Case {
    case(section, what, &format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n{content}"), fate)
}

/// A POST in chunks.
fn chunked(what: &'static str, content: &str, fate: Fate) -> Case {
    post("9112 §7.1", what, "transfer-encoding: chunked", content, fate)
}

const ROOT: Fate = Served("GET http://a/");

fn message_parsing() -> Vec<Case> {
    let at = "9112 §2.2";
    vec![
        case(at, "a plain request", "GET / HTTP/1.1\r\nhost: a\r\n\r\n", ROOT),
        case(at, "an empty line before it", "\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", ROOT),
        case(at, "three empty lines", "\r\n\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", ROOT),
        case(at, "a lone LF before it", "\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", Refused(400)),
        case(at, "a lone CR before it", "\rGET / HTTP/1.1\r\nhost: a\r\n\r\n", Refused(400)),
        case(at, "LF for every CRLF", "GET / HTTP/1.1\nhost: a\n\n", Refused(400)),
        case(at, "LF behind the request line", "GET / HTTP/1.1\nhost: a\r\n\r\n", Refused(400)),
        case(at, "LF behind a field", "GET / HTTP/1.1\r\nhost: a\nx: y\r\n\r\n", Refused(400)),
        case(at, "LF for the empty line", "GET / HTTP/1.1\r\nhost: a\r\n\n", Refused(400)),
        case(at, "a bare CR in the request line", "GET /\rx HTTP/1.1\r\nhost: a\r\n\r\n", Refused(400)),
        field(at, "a bare CR in a value", "x: a\rb", Refused(400)),
        field(at, "a bare CR in a name", "x\ry: a", Refused(400)),
        field(at, "CR CR LF", "x: a\r", Refused(400)),
        case(at, "a blank before the first field", "GET / HTTP/1.1\r\n host: a\r\n\r\n", Refused(400)),
        case(at, "a blank before the method", " GET / HTTP/1.1\r\nhost: a\r\n\r\n", Refused(400)),
        line(at, "NUL in the target", "GET /\0 HTTP/1.1", Refused(400)),
        field(at, "NUL in a value", "x: a\0b", Refused(400)),
        field(at, "NUL in a name", "x\0: a", Refused(400)),
        octets(at, "the beginning of TLS", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n", Refused(400)),
        case(at, "another protocol's words", "SSH-2.0-OpenSSH_9.2\r\n\r\n", Refused(400)),
        case("9113 §3.4", "a garbled preface", "PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n", Refused(505)),
    ]
}

fn versions() -> Vec<Case> {
    let at = "9112 §2.3";
    vec![
        line(at, "a later minor version", "GET / HTTP/1.2", ROOT),
        line(at, "the last minor version", "GET / HTTP/1.9", ROOT),
        line(at, "HTTP/2.0 in words", "GET / HTTP/2.0", Refused(505)),
        line(at, "HTTP/3.0", "GET / HTTP/3.0", Refused(505)),
        line(at, "HTTP/0.9 in words", "GET / HTTP/0.9", Refused(505)),
        line(at, "no version", "GET /", Refused(400)),
        line(at, "an empty version", "GET / ", Refused(400)),
        line(at, "another name", "GET / HTCPCP/1.0", Refused(400)),
        line(at, "in lower case", "GET / http/1.1", Refused(400)),
        line(at, "without minor version", "GET / HTTP/1", Refused(400)),
        line(at, "without dot", "GET / HTTP/11", Refused(400)),
        line(at, "with two digits", "GET / HTTP/1.10", Refused(400)),
        line(at, "with a leading nought", "GET / HTTP/01.1", Refused(400)),
        line(at, "with something behind it", "GET / HTTP/1.1x", Refused(400)),
        line(at, "with a blank in it", "GET / HTTP /1.1", Refused(400)),
        case(at, "HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", Last("GET /")),
        case(at, "HTTP/1.0 with host", "GET / HTTP/1.0\r\nhost: a\r\n\r\n", Last("GET http://a/")),
    ]
}

fn request_lines() -> Vec<Case> {
    let at = "9112 §3";
    vec![
        line(at, "two blanks before the target", "GET  / HTTP/1.1", Refused(400)),
        line(at, "two blanks before the version", "GET /  HTTP/1.1", Refused(400)),
        line(at, "a blank behind the version", "GET / HTTP/1.1 ", Refused(400)),
        line(at, "tabs for blanks", "GET\t/\tHTTP/1.1", Refused(400)),
        line(at, "a form feed for a blank", "GET\x0c/ HTTP/1.1", Refused(400)),
        line(at, "no target", "GET HTTP/1.1", Refused(400)),
        line(at, "a blank in the target", "GET /a b HTTP/1.1", Refused(400)),
        line("9112 §3.1", "a method that is no token", "G@T / HTTP/1.1", Refused(400)),
        line("9112 §3.1", "a method with a bracket", "GE(T) / HTTP/1.1", Refused(400)),
        line("9112 §3.1", "a method with a colon", "GET: / HTTP/1.1", Refused(400)),
        line("9112 §3.1", "an unknown method", "BREW / HTTP/1.1", Served("BREW http://a/")),
        line("9112 §3.1", "methods have a case", "get / HTTP/1.1", Served("get http://a/")),
        line(at, "a target that is too long", &format!("GET /{} HTTP/1.1", "a".repeat(9000)), Refused(414)),
        line(at, "a method that is too long", &format!("{} / HTTP/1.1", "A".repeat(9000)), Refused(501)),
    ]
}

fn targets() -> Vec<Case> {
    let (origin, absolute, asterisk) = ("9112 §3.2.1", "9112 §3.2.2", "9112 §3.2.4");
    vec![
        line(origin, "a query", "GET /a?b=c&d HTTP/1.1", Served("GET http://a/a?b=c&d")),
        line(origin, "two slashes", "GET //a/b HTTP/1.1", Served("GET http://a//a/b")),
        line(origin, "a fragment", "GET /a#b HTTP/1.1", Refused(400)),
        line(origin, "no slash", "GET a HTTP/1.1", Refused(400)),
        line(origin, "a query alone", "GET ?a HTTP/1.1", Refused(400)),
        line(origin, "octets beyond ASCII", "GET /\u{e9} HTTP/1.1", Refused(400)),
        line(absolute, "a whole URI", "GET http://b/c HTTP/1.1", Served("GET http://b/c")),
        line(absolute, "a whole URI without path", "GET http://b HTTP/1.1", Served("GET http://b/")),
        line(absolute, "a port", "GET http://b:81/ HTTP/1.1", Served("GET http://b:81/")),
        line(absolute, "a scheme in capitals", "GET HTTP://b/ HTTP/1.1", Served("GET http://b/")),
        case(absolute, "a URI does not stand for host", "GET http://b/ HTTP/1.1\r\n\r\n", Refused(400)),
        line(absolute, "another scheme", "GET ftp://b/ HTTP/1.1", Refused(400)),
        line(absolute, "no host", "GET http:///c HTTP/1.1", Refused(400)),
        line(absolute, "user information", "GET http://u:p@b/ HTTP/1.1", Refused(400)),
        line(absolute, "a port that is none", "GET http://b:x/ HTTP/1.1", Refused(400)),
        line("9110 §7.4", "https in cleartext", "GET https://a/ HTTP/1.1", Refused(421)),
        line("9112 §3.2.3", "an authority without CONNECT", "GET a:80 HTTP/1.1", Refused(400)),
        line("9112 §3.2.3", "CONNECT, refused by the handler", "CONNECT a:80 HTTP/1.1", Refused(405)),
        line("9112 §3.2.3", "CONNECT to a path", "CONNECT / HTTP/1.1", Refused(400)),
        line("9112 §3.2.3", "CONNECT without port", "CONNECT a HTTP/1.1", Refused(400)),
        line("9112 §3.2.3", "CONNECT to port 0", "CONNECT a:0 HTTP/1.1", Refused(400)),
        line("9112 §3.2.3", "CONNECT to no port", "CONNECT a:99999 HTTP/1.1", Refused(400)),
        line("9112 §3.2.3", "CONNECT to a URI", "CONNECT http://a:80/ HTTP/1.1", Refused(400)),
        case(
            "9110 §9.3.6",
            "CONNECT with content",
            "CONNECT a:80 HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi",
            Refused(400),
        ),
        line(asterisk, "OPTIONS of the server", "OPTIONS * HTTP/1.1", Served("OPTIONS http://a*")),
        line(asterisk, "GET of the server", "GET * HTTP/1.1", Refused(400)),
    ]
}

fn hosts() -> Vec<Case> {
    vec![
        host("none", "", Refused(400)),
        host("two that agree", "host: a\r\nhost: a\r\n", Refused(400)),
        host("two that do not", "host: a\r\nhost: b\r\n", Refused(400)),
        host("two, one of them empty", "host: a\r\nhost:\r\n", Refused(400)),
        host("an empty one", "host:\r\n", Served("GET /")),
        host("a port", "host: a:81\r\n", Served("GET http://a:81/")),
        host("an address of IPv6", "host: [::1]:81\r\n", Served("GET http://[::1]:81/")),
        host("a list", "host: a, b\r\n", Refused(400)),
        host("a path", "host: a/b\r\n", Refused(400)),
        host("a blank inside", "host: a b\r\n", Refused(400)),
        host("user information", "host: u@a\r\n", Refused(400)),
        host("a port that is none", "host: a:b\r\n", Refused(400)),
        host("a port beyond the last", "host: a:65536\r\n", Refused(400)),
        host("half an address of IPv6", "host: [::1\r\n", Refused(400)),
        host("a URI", "host: http://a\r\n", Refused(400)),
        case("9112 §3.2", "two in HTTP/1.0", "GET / HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n", Refused(400)),
    ]
}

fn fields() -> Vec<Case> {
    let (at, fold, size) = ("9112 §5.1", "9112 §5.2", "9110 §5.4");
    let many = "x: y\r\n".repeat(100);
    let long = format!("x: {}", "y".repeat(17_000));
    let endless = format!("x: {}", "y".repeat(40_000));
    vec![
        field(at, "a blank before the colon", "x : y", Refused(400)),
        field(at, "a tab before the colon", "x\t: y", Refused(400)),
        field(at, "no colon", "x", Refused(400)),
        field(at, "no name", ": y", Refused(400)),
        field(at, "a blank in the name", "x z: y", Refused(400)),
        field(at, "a name that is no token", "x@z: y", Refused(400)),
        field(at, "a name beyond ASCII", "\u{e9}: y", Refused(400)),
        field("9110 §5.5", "an empty value", "x:", ROOT),
        field("9110 §5.5", "blanks around a value", "x: \t y \t ", ROOT),
        field("9110 §5.5", "octets beyond ASCII", "x: \u{e9}", ROOT),
        field("9110 §5.5", "a control character", "x: \x01", Refused(400)),
        field("9110 §5.5", "a vertical tab", "x: a\x0bb", Refused(400)),
        field("9110 §5.5", "DEL", "x: \x7f", Refused(400)),
        field(fold, "a line that goes on", "x: a\r\n b", Refused(400)),
        field(fold, "with a tab", "x: a\r\n\tb", Refused(400)),
        field(fold, "with nothing on it", "x: a\r\n ", Refused(400)),
        case(fold, "the host goes on", "GET / HTTP/1.1\r\nhost: a\r\n b\r\n\r\n", Refused(400)),
        field(size, "too many fields", &many, Refused(431)),
        field(size, "a field that is too large", &long, Refused(431)),
        field(size, "a head that does not end", &endless, Refused(431)),
    ]
}

fn transfer_codings() -> Vec<Case> {
    let at = "9112 §6.1";
    let coded = |what, fields, fate| post(at, what, fields, "2\r\nhi\r\n0\r\n\r\n", fate);
    vec![
        coded("chunked", "transfer-encoding: chunked", Served("POST http://a/ hi")),
        coded("in capitals", "Transfer-Encoding: CHUNKED", Served("POST http://a/ hi")),
        coded("an empty member", "transfer-encoding: , chunked", Served("POST http://a/ hi")),
        coded("with content-length", "content-length: 12\r\ntransfer-encoding: chunked", Refused(400)),
        coded("before content-length", "transfer-encoding: chunked\r\ncontent-length: 12", Refused(400)),
        coded("with content-length 0", "transfer-encoding: chunked\r\ncontent-length: 0", Refused(400)),
        coded("an unknown one before it", "transfer-encoding: gzip, chunked", Refused(501)),
        coded("in two fields", "transfer-encoding: gzip\r\ntransfer-encoding: chunked", Refused(501)),
        coded("not the last", "transfer-encoding: chunked, gzip", Refused(400)),
        coded(
            "not the last, in two fields",
            "transfer-encoding: chunked\r\ntransfer-encoding: x",
            Refused(400),
        ),
        coded("an unknown one alone", "transfer-encoding: gzip", Refused(400)),
        coded("identity", "transfer-encoding: identity", Refused(400)),
        coded("chunked and identity", "transfer-encoding: chunked, identity", Refused(400)),
        coded("twice", "transfer-encoding: chunked, chunked", Refused(400)),
        coded("two fields", "transfer-encoding: chunked\r\ntransfer-encoding: chunked", Refused(400)),
        coded("nothing", "transfer-encoding:", Refused(400)),
        coded("a longer name", "transfer-encoding: xchunked", Refused(400)),
        coded("a parameter", "transfer-encoding: chunked;a=b", Refused(400)),
        coded("quoted", "transfer-encoding: \"chunked\"", Refused(400)),
        coded("a vertical tab before it", "transfer-encoding: \x0bchunked", Refused(400)),
        coded("a blank before the colon", "transfer-encoding : chunked", Refused(400)),
        coded("the name folded", "transfer-encoding:\r\n chunked", Refused(400)),
        case(
            at,
            "in HTTP/1.0",
            "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            Refused(400),
        ),
    ]
}

fn content_lengths() -> Vec<Case> {
    let (at, by) = ("9112 §6.3", "9110 §8.6");
    let two = Served("POST http://a/ hi");
    vec![
        post(at, "a length", "content-length: 2", "hi", two.clone()),
        post(at, "a length with noughts", "content-length: 0002", "hi", two),
        post(at, "a length of nought", "content-length: 0", "", Served("POST http://a/")),
        post(at, "no length", "x: y", "", Served("POST http://a/")),
        case(
            at,
            "content with GET",
            "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi",
            Served("GET http://a/ hi"),
        ),
        post(at, "two that agree", "content-length: 2\r\ncontent-length: 2", "hi", Refused(400)),
        post(at, "two that do not", "content-length: 2\r\ncontent-length: 3", "hi", Refused(400)),
        post(at, "a list that agrees", "content-length: 2, 2", "hi", Refused(400)),
        post(at, "a list that does not", "content-length: 2, 3", "hi", Refused(400)),
        post(by, "a sign", "content-length: +2", "hi", Refused(400)),
        post(by, "a negative number", "content-length: -2", "hi", Refused(400)),
        post(by, "hexadecimal", "content-length: 0x2", "hi", Refused(400)),
        post(by, "a fraction", "content-length: 2.0", "hi", Refused(400)),
        post(by, "an exponent", "content-length: 2e0", "hi", Refused(400)),
        post(by, "a blank inside", "content-length: 2 2", "hi", Refused(400)),
        post(by, "a word", "content-length: two", "hi", Refused(400)),
        post(by, "nothing", "content-length:", "hi", Refused(400)),
        post(by, "digits beyond ASCII", "content-length: \u{b2}", "hi", Refused(400)),
        post(by, "a blank before the colon", "content-length : 2", "hi", Refused(400)),
        post(by, "more than is taken", "content-length: 1048577", "hi", Refused(413)),
        post(by, "more than 64 bits", "content-length: 18446744073709551617", "hi", Refused(413)),
        post(by, "far more", &format!("content-length: {}", "9".repeat(300)), "hi", Refused(413)),
    ]
}

fn chunks() -> Vec<Case> {
    let hi = || Served("POST http://a/ hi");
    let endless = format!("2;{}\r\nhi\r\n0\r\n\r\n", "a".repeat(20_000));
    let many = format!("2\r\nhi\r\n0\r\n{}\r\n", "x: y\r\n".repeat(101));
    let large = format!("2\r\nhi\r\n0\r\nx: {}\r\n\r\n", "y".repeat(17_000));
    vec![
        chunked("two chunks", "1\r\nh\r\n1\r\ni\r\n0\r\n\r\n", hi()),
        chunked("no content", "0\r\n\r\n", Served("POST http://a/")),
        chunked("leading noughts", "00002\r\nhi\r\n000\r\n\r\n", hi()),
        chunked("an extension", "2;a=b\r\nhi\r\n0;c\r\n\r\n", hi()),
        chunked("a quoted extension", "2;a=\"b;\\\"c\"\r\nhi\r\n0\r\n\r\n", hi()),
        chunked("blanks before an extension", "2 \t;a\r\nhi\r\n0\r\n\r\n", hi()),
        chunked("a quote that does not end", "2;a=\"b\r\nhi\r\n0\r\n\r\n", Refused(400)),
        chunked("extensions without end", &endless, Refused(413)),
        chunked("a control character in an extension", "2;a\0\r\nhi\r\n0\r\n\r\n", Refused(400)),
        chunked("LF behind an extension", "2;a\nhi\r\n0\r\n\r\n", Refused(400)),
        chunked("a bare CR in an extension", "2;a\rb\r\nhi\r\n0\r\n\r\n", Refused(400)),
        chunked("no size", "\r\nhi\r\n0\r\n\r\n", Refused(400)),
        chunked("a size that is no number", "x\r\nhi\r\n0\r\n\r\n", Refused(400)),
        chunked("a size in C", "0x2\r\nhi\r\n0\r\n\r\n", Refused(400)),
        chunked("a sign", "+2\r\nhi\r\n0\r\n\r\n", Refused(400)),
        chunked("a negative size", "-2\r\nhi\r\n0\r\n\r\n", Refused(400)),
        chunked("a blank before the size", " 2\r\nhi\r\n0\r\n\r\n", Refused(400)),
        chunked("a blank behind the size", "2 \r\nhi\r\n0\r\n\r\n", Refused(400)),
        chunked("two sizes", "2 2\r\nhi\r\n0\r\n\r\n", Refused(400)),
        chunked("LF behind the size", "2\nhi\r\n0\r\n\r\n", Refused(400)),
        chunked("a bare CR behind the size", "2\rhi\r\n0\r\n\r\n", Refused(400)),
        chunked("more than 64 bits", "10000000000000002\r\nhi\r\n0\r\n\r\n", Refused(400)),
        chunked("more than is taken", "ffffffffffffffff\r\nhi\r\n0\r\n\r\n", Refused(413)),
        chunked("a chunk longer than its size", "2\r\nhim\r\n0\r\n\r\n", Refused(400)),
        chunked("LF behind a chunk", "2\r\nhi\n0\r\n\r\n", Refused(400)),
        chunked("nothing behind a chunk", "2\r\nhi0\r\n\r\n", Refused(400)),
        chunked("a trailer", "2\r\nhi\r\n0\r\nx: y\r\n\r\n", hi()),
        chunked("a length in the trailers", "2\r\nhi\r\n0\r\ncontent-length: 9\r\n\r\n", hi()),
        chunked("a trailer without colon", "2\r\nhi\r\n0\r\nx\r\n\r\n", Refused(400)),
        chunked("a trailer that is folded", "2\r\nhi\r\n0\r\nx: y\r\n z\r\n\r\n", Refused(400)),
        chunked("a blank before a trailer's colon", "2\r\nhi\r\n0\r\nx : y\r\n\r\n", Refused(400)),
        chunked("LF behind a trailer", "2\r\nhi\r\n0\r\nx: y\n\r\n", Refused(400)),
        chunked("LF behind the last chunk", "2\r\nhi\r\n0\n\r\n", Refused(400)),
        chunked("too many trailers", &many, Refused(431)),
        chunked("a trailer that is too large", &large, Refused(431)),
    ]
}

fn connections() -> Vec<Case> {
    let (persistence, upgrade, expect) = ("9112 §9.3", "9110 §7.8", "9110 §10.1.1");
    let settings = "AAMAAABkAAQAoAAAAAIAAAAA";
    let h2c = |what, fields: String| field(upgrade, what, &format!("upgrade: h2c\r\n{fields}"), ROOT);
    let get = || Last("GET http://a/");
    let old = |what, fields, fate| {
        case(persistence, what, &format!("GET / HTTP/1.0\r\nhost: a\r\n{fields}\r\n\r\n"), fate)
    };
    vec![
        field(persistence, "close", "connection: close", get()),
        field(persistence, "close in capitals", "Connection: CLOSE", get()),
        field(persistence, "close in a list", "connection: keep-alive, x ,close", get()),
        field(persistence, "close in the second field", "connection: x\r\nconnection: close", get()),
        field(persistence, "a word that is not close", "connection: closed", ROOT),
        old("keep-alive in HTTP/1.0", "connection: keep-alive", ROOT),
        old("both in HTTP/1.0", "connection: keep-alive, close", get()),
        field(upgrade, "to what is not known", "upgrade: x/1\r\nconnection: upgrade", ROOT),
        field(upgrade, "without the option", "upgrade: x/1", ROOT),
        h2c("HTTP/2 without settings", "connection: upgrade".to_owned()),
        h2c(
            "HTTP/2 with two settings",
            format!(
                "connection: upgrade, http2-settings\r\nhttp2-settings: {settings}\r\nhttp2-settings: {settings}"
            ),
        ),
        h2c(
            "HTTP/2 with settings in other letters",
            "connection: upgrade, http2-settings\r\nhttp2-settings: AAMA+ABk".to_owned(),
        ),
        h2c(
            "HTTP/2 with padded settings",
            "connection: upgrade, http2-settings\r\nhttp2-settings: AAMAAABk=".to_owned(),
        ),
        h2c(
            "HTTP/2 with half a setting",
            "connection: upgrade, http2-settings\r\nhttp2-settings: AAMA".to_owned(),
        ),
        h2c(
            "HTTP/2 with a setting that is not allowed",
            "connection: upgrade, http2-settings\r\nhttp2-settings: AAUAAAAB".to_owned(),
        ),
        old(
            "an upgrade in HTTP/1.0",
            "upgrade: h2c\r\nconnection: upgrade, http2-settings\r\nhttp2-settings: AAMAAABk",
            get(),
        ),
        post(
            expect,
            "content with the word",
            "expect: 100-continue\r\ncontent-length: 2",
            "hi",
            Served("POST http://a/ hi"),
        ),
        field(expect, "no content", "expect: 100-continue", ROOT),
        field(expect, "another expectation", "expect: a-pony", ROOT),
        case(
            expect,
            "in HTTP/1.0",
            "POST / HTTP/1.0\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nhi",
            Last("POST http://a/ hi"),
        ),
    ]
}

fn all() -> Vec<Case> {
    [
        message_parsing(),
        versions(),
        request_lines(),
        targets(),
        hosts(),
        fields(),
        transfer_codings(),
        content_lengths(),
        chunks(),
        connections(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What is wrong with what came back, if anything.
fn fault(case: &Case, came: &[u8]) -> Option<String> {
    let answers = answers(came);
    let seen: Vec<(u16, &str)> =
        answers.iter().map(|answer| (answer.status, answer.field("x-saw").unwrap_or_default())).collect();
    let following = (200, "GET http://a/following");
    let right = match &case.fate {
        Refused(status) => seen == [(*status, "")],
        Served(saw) => seen == [(200, *saw), following],
        Last(saw) => seen == [(200, *saw)],
    };
    let last = answers.last().is_some_and(|answer| answer.field("connection") == Some("close"));
    let dated = answers.iter().all(|answer| answer.field("date").is_some());
    (!(right && last && dated))
        .then(|| format!("RFC {}: {}: {:?}, but {seen:?}, last: {last}", case.section, case.what, case.fate))
}

#[test]
fn the_table_has_more_than_a_hundred_rows_and_none_twice() {
    let mut names: Vec<_> = all().iter().map(|case| (case.section, case.what)).collect();
    assert!(names.len() >= 200, "{}", names.len());
    names.sort_unstable();
    let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[test]
fn every_malformed_or_tricky_request_is_answered_as_the_rfc_asks() {
    let http1 = Http1 { content_bytes: 1 << 20, h2c_upgrade: true, ..Http1::default() };
    let server = Serving::start(Server::builder().http1(http1), || tell);
    let (cases, address) = (all(), server.address);
    // Whole, octet by octet, and in pieces that end anywhere. Long ones are not sent octet by octet.
    let mut faults = Vec::new();
    for step in [usize::MAX, 1, 7] {
        let rows: Vec<&Case> = cases.iter().filter(|case| step > 1 || case.request.len() < 4096).collect();
        let found = thread::scope(|scope| {
            let parts = rows.chunks(rows.len().div_ceil(8));
            let threads: Vec<_> = parts
                .map(|part| {
                    scope.spawn(move || {
                        let ask = |case: &Case| {
                            let request = [&case.request[..], FOLLOWING].concat();
                            fault(case, &exchange(address, &request, step.min(request.len())))
                        };
                        part.iter().filter_map(|case| ask(case)).collect::<Vec<String>>()
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("a client")).collect::<Vec<String>>()
        });
        faults.extend(found.into_iter().map(|fault| format!("in pieces of {step}: {fault}")));
    }
    server.stop(std::time::Duration::from_secs(10));
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
