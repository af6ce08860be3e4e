//! A request's head that came before, kept as what it means.
//!
//! Who stays connected repeats itself: the same fields, and often the same line. What a head means is a function of its
//! octets, so that the same octets need not be read again. Comparing them and cloning what they meant costs a fraction
//! of parsing, checking and putting them together.
//!
//! Invariant: what is kept is what `head::read` made of these octets under the bounds of this connection, which never
//! change. Only targets that are a path are kept, and only heads of HTTP/1.1.

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::uri::{Authority, Uri};
use http::{Method, Request, Version};

use super::head::{self, Bounds, Facts};
use super::refusal::Refusal;
use super::target;
use crate::limits;

/// What is remembered of the heads of a connection.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    known: Option<Box<Known>>,
    /// The host that was named last, which hardly ever changes.
    authority: Option<Authority>,
    /// How long what came behind the target was in the last head: the same again is worth keeping.
    behind: usize,
    /// Heads that were kept and not the next: a client that does not repeat itself costs next to nothing.
    misses: u8,
}

#[derive(Debug)]
struct Known {
    /// All of the head, which the values lie in.
    head: Bytes,
    /// Where its first line ends.
    line: usize,
    method: Method,
    uri: Uri,
    fields: Vec<(HeaderName, HeaderValue)>,
    facts: Facts,
}

impl Repeats {
    /// Writes the head at the front of `octets` into `request`, which has no fields, if it is known.
    pub(super) fn repeat(
        &mut self,
        octets: &[u8],
        bounds: &Bounds,
        request: &mut Request<()>,
    ) -> Option<Facts> {
        let known = self.known.as_deref()?;
        let facts = if octets.starts_with(&known.head) {
            *request.method_mut() = known.method.clone();
            *request.uri_mut() = known.uri.clone();
            known.facts.clone()
        } else {
            known.read_line(octets, bounds, request)?
        };
        self.misses = 0;
        *request.version_mut() = Version::HTTP_11;
        let headers = request.headers_mut();
        for (name, value) in &known.fields {
            headers.append(name.clone(), value.clone());
        }
        Some(facts)
    }

    /// Reads a head that is not known, as `head::read` does.
    pub(super) fn read(
        &mut self,
        octets: &[u8],
        bounds: &Bounds,
        request: &mut Request<()>,
    ) -> Result<Option<Facts>, Refusal> {
        let read = head::read(octets, bounds, request, &mut self.authority)?;
        Ok(read.map(|(facts, head)| {
            self.note(&head, request, &facts);
            facts
        }))
    }

    /// Takes note of a head that was read; `octets` is all of it.
    fn note(&mut self, octets: &Bytes, request: &Request<()>, facts: &Facts) {
        let behind = octets.len() - facts.line.len();
        if std::mem::replace(&mut self.behind, behind) != behind || !may_be_kept(octets, request, facts) {
            return;
        }
        self.misses = self.misses.wrapping_add(1);
        if self.misses > limits::H2_HEAD_MISSES && self.misses % limits::H2_HEAD_MISSES != 0 {
            return;
        }
        let Some(line) = octets.iter().position(|&octet| octet == b'\n').map(|at| at + 1) else { return };
        let fields = request.headers().iter().map(|(name, value)| (name.clone(), value.clone()));
        self.known = Some(Box::new(Known {
            head: octets.clone(),
            line,
            method: request.method().clone(),
            uri: request.uri().clone(),
            fields: fields.collect(),
            facts: facts.clone(),
        }));
    }
}

fn may_be_kept(octets: &[u8], request: &Request<()>, facts: &Facts) -> bool {
    let plain = *request.method() != Method::CONNECT && !facts.old && facts.settings.is_none();
    let short =
        octets.len() <= limits::H1_KNOWN_BYTES && request.headers().len() <= limits::H2_REQUEST_FIELDS;
    // A target that names a host has changed the fields.
    plain && short && facts.line.get(request.method().as_str().len() + 1) == Some(&b'/')
}

impl Known {
    /// Reads a line in front of the known fields.
    fn read_line(&self, octets: &[u8], bounds: &Bounds, request: &mut Request<()>) -> Option<Facts> {
        let window = &octets[..octets.len().min(bounds.line)];
        let end = window.iter().position(|&octet| octet == b'\n')? + 1;
        let (line, rest) = octets.split_at(end);
        let section = &self.head[self.line..];
        if !rest.starts_with(section) || end + section.len() > bounds.fields.block_bytes {
            return None;
        }
        let (method, line, at) = head::read_line(line).filter(|(method, ..)| *method != Method::CONNECT)?;
        *request.uri_mut() = target::beside(line.slice(at..), &self.uri)?;
        *request.method_mut() = method;
        Some(Facts { octets: end + section.len(), line, ..self.facts.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::h2::FieldLimits;

    const FIELDS: FieldLimits =
        FieldLimits { fields: 100, cookie_crumbs: 100, list_bytes: 8192, block_bytes: 300 };
    const BOUNDS: Bounds = Bounds { line: 100, fields: FIELDS, content: 1000, secure: false };

    /// What a reader with this memory makes of the front of `octets`, and whether it knew it.
    fn read(repeats: &mut Repeats, octets: &[u8]) -> (String, bool) {
        let mut request = Request::default();
        if let Some(facts) = repeats.repeat(octets, &BOUNDS, &mut request) {
            return (format!("{request:?} {facts:?}"), true);
        }
        let outcome = match repeats.read(octets, &BOUNDS, &mut request) {
            Ok(Some(facts)) => format!("{request:?} {facts:?}"),
            other => format!("{:?}", other.map(|_| ())),
        };
        (outcome, false)
    }

    const LINES: &[&str] = &[
        "GET / HTTP/1.1\r\n",
        "POST /path?query HTTP/1.1\r\n",
        "M-SEARCH /* HTTP/1.1\r\n",
        "GET /a HTTP/1.0\r\n",
        "GET /a HTTP/1.2\r\n",
        "GET /a HTTP/2.0\r\n",
        "GET /a HTTP/1.1\n",
        "\nGET /a HTTP/1.1\r\n",
        "GET /a#b HTTP/1.1\r\n",
        "GET /\u{e4} HTTP/1.1\r\n",
        "GET  /a HTTP/1.1\r\n",
        "GET http://other/ HTTP/1.1\r\n",
        "CONNECT other:1 HTTP/1.1\r\n",
        "CONNECT /a HTTP/1.1\r\n",
        "OPTIONS * HTTP/1.1\r\n",
        "GET * HTTP/1.1\r\n",
        "GE\u{7}T /a HTTP/1.1\r\n",
        "GET /a\r\n",
        "GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa HTTP/1.1\r\n",
        "\r\n",
        "",
    ];

    const SECTIONS: &[&str] = &[
        "host: a\r\n\r\n",
        "host: a:80\r\naccept: */*\r\ncookie: b\r\ncookie: c\r\n\r\n",
        "host: a\r\ncontent-length: 7\r\nexpect: 100-continue\r\n\r\n",
        "host: a\r\ntransfer-encoding: chunked\r\n\r\n",
        "host: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n",
        "host: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        "host: a\r\nconnection: close\r\n\r\n",
        "host:\r\n\r\n",
        "\r\n",
        "host: a\n\r\n",
        "host: a\r\nlong: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\
         bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\
         bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n\r\n",
    ];

    #[test]
    fn a_head_means_the_same_whatever_came_before() {
        let mut known = 0;
        for section in SECTIONS {
            for line in LINES {
                let first = format!("{line}{section}");
                let lines = LINES.iter().map(|line| format!("{line}{section}"));
                for other in &lines.chain(SECTIONS.iter().map(|it| format!("{line}{it}"))).collect::<Vec<_>>()
                {
                    let mut repeats = Repeats::default();
                    (0..2).for_each(|_| drop(read(&mut repeats, first.as_bytes())));
                    for came in [&first, other, &format!("{other}GET / HTTP/1.1\r\n")] {
                        let (outcome, repeated) = read(&mut repeats, came.as_bytes());
                        assert_eq!(
                            outcome,
                            read(&mut Repeats::default(), came.as_bytes()).0,
                            "{first:?} {came:?}"
                        );
                        known += u32::from(repeated);
                    }
                }
            }
        }
        assert!(known > 0);
    }

    #[test]
    fn fields_are_known_from_the_third_time_with_any_path() {
        let mut repeats = Repeats::default();
        let section = SECTIONS[1];
        let known = ["/", "/a", "/b", "/", "/c?d"]
            .map(|path| read(&mut repeats, format!("GET {path} HTTP/1.1\r\n{section}").as_bytes()).1);
        assert_eq!(known, [false, false, true, true, true]);
    }

    #[test]
    fn heads_that_all_differ_are_seldom_kept() {
        let mut repeats = Repeats::default();
        let kept = (100..300).filter(|n| {
            let head = format!("GET / HTTP/1.1\r\nhost: a\r\nid: {n}\r\n\r\n");
            assert!(!read(&mut repeats, head.as_bytes()).1);
            repeats.known.as_ref().is_some_and(|known| known.head == head)
        });
        assert!(kept.count() < 40);
    }

    #[test]
    fn long_heads_are_not_kept() {
        let mut repeats = Repeats::default();
        let head = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(limits::H1_KNOWN_BYTES));
        let bounds = Bounds { fields: FieldLimits { block_bytes: 5000, ..FIELDS }, ..BOUNDS };
        for _ in 0..3 {
            let mut request = Request::default();
            repeats.read(head.as_bytes(), &bounds, &mut request).unwrap().unwrap();
        }
        assert!(repeats.known.is_none());
    }
}
