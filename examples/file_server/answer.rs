//! What to say of a file: all of it, parts, that it is what the client has, or that it is not (RFC 9110 §13, §14).

use std::{
    ops::Range,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use wakering::http::{Body, HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};

use crate::{
    coding::{self, Accepted},
    content::{Content, Piece},
    tree::Opened,
};

/// More ranges are not looked at: the whole file is sent instead (RFC 9110 §14.2 leaves that to us).
const RANGES: usize = 16;

/// Between the parts of an answer; the random-looking end makes it unlikely in a file, as RFC 2046 §5.1.1 wants.
const BOUNDARY: &str = "wakering-part-7f2c91d05be84a36";

/// What a request says about the file that it wants.
pub(crate) struct Asked {
    headers: HeaderMap,
    ranges: bool,
}

/// What is to be sent.
pub(crate) enum Wanted {
    Status(StatusCode),
    Elsewhere(String),
    Page(String),
    Answer(Response<Outgoing>),
}

/// Content that may leave the thread which has opened the file.
pub(crate) enum Outgoing {
    Empty,
    Whole(Bytes),
    Pieces(Content),
}

impl Asked {
    pub(crate) fn new(request: &Request<Body>) -> Asked {
        // Ranges are defined for GET alone (RFC 9110 §14.2).
        Asked { headers: request.headers().clone(), ranges: request.method() == "GET" }
    }

    fn text(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// All values of a field that is a list.
    fn list(&self, name: &HeaderName) -> Option<String> {
        let values: Vec<_> =
            self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        (!values.is_empty()).then(|| values.join(","))
    }

    fn date(&self, name: &HeaderName) -> Option<SystemTime> {
        httpdate::parse_http_date(self.text(name)?).ok()
    }
}

impl Wanted {
    pub(crate) fn into_response(self) -> Response<Body> {
        let mut response = match self {
            Wanted::Status(status) => crate::empty(status),
            Wanted::Elsewhere(location) => {
                let mut response = crate::empty(StatusCode::MOVED_PERMANENTLY);
                let location = HeaderValue::try_from(location).expect("escaped");
                response.headers_mut().insert(header::LOCATION, location);
                response
            }
            Wanted::Page(page) => {
                let mut response = Response::new(Body::from(page));
                let html = HeaderValue::from_static("text/html; charset=utf-8");
                response.headers_mut().insert(header::CONTENT_TYPE, html);
                let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
                response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
                response
            }
            Wanted::Answer(answer) => answer.map(|content| match content {
                Outgoing::Empty => Body::empty(),
                Outgoing::Whole(bytes) => bytes.into(),
                Outgoing::Pieces(content) => Body::streaming(content),
            }),
        };
        let nosniff = HeaderValue::from_static("nosniff");
        response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
        response
    }
}

/// Answers for a file.
pub(crate) fn file(file: Opened, asked: &Asked) -> Wanted {
    let mime = mime(&file);
    let codes = coding::is_worth_it(&mime);
    let wants_parts = asked.ranges && asked.headers.contains_key(header::RANGE);
    let accepted = if wants_parts || !codes {
        Accepted::default()
    } else {
        Accepted::new(asked.list(&header::ACCEPT_ENCODING))
    };
    let (file, code) = coding::beside(file, accepted);
    let code = code.or_else(|| accepted.on_the_way(file.length));
    // Another coding is another representation, and has another strong tag.
    let tag = format!("\"{}{}\"", file.tag, code.map(|code| format!("-{}", code.name())).unwrap_or_default());

    let mut headers = HeaderMap::new();
    headers.insert(header::ETAG, HeaderValue::try_from(&tag).expect("hexadecimal"));
    let modified = HeaderValue::try_from(httpdate::fmt_http_date(file.modified)).expect("a date");
    headers.insert(header::LAST_MODIFIED, modified);
    if codes {
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    match precondition(asked, &tag, file.modified) {
        StatusCode::OK => {}
        status => return Wanted::Answer(with(status, headers, Outgoing::Empty)),
    }
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let ranges = if wants_parts && range_applies(asked, &tag, file.modified) {
        asked.list(&header::RANGE).and_then(|range| parse(&range, file.length))
    } else {
        None
    };
    match ranges {
        None => whole(file, code, &mime, headers),
        Some(ranges) => parts(file, &ranges, &mime, headers),
    }
}

fn with(status: StatusCode, headers: HeaderMap, content: Outgoing) -> Response<Outgoing> {
    let mut response = Response::new(content);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn mime(file: &Opened) -> String {
    let mime = mime_guess::from_path(&file.path).first_or_octet_stream().to_string();
    if mime.starts_with("text/") && !mime.contains("charset") { mime + "; charset=utf-8" } else { mime }
}

fn whole(file: Opened, code: Option<coding::Code>, mime: &str, mut headers: HeaderMap) -> Wanted {
    headers.insert(header::CONTENT_TYPE, HeaderValue::try_from(mime).expect("a known type"));
    if let Some(code) = code {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(code.name()));
    }
    let content = match code.filter(|code| !code.lies_in(&file.path)) {
        Some(code) => match code.compressed(&file) {
            Ok(bytes) => Outgoing::Whole(bytes),
            Err(_) => return Wanted::Status(StatusCode::INTERNAL_SERVER_ERROR),
        },
        None => match Content::new(file.file, vec![Piece::File(0..file.length)]).small() {
            Ok(bytes) => Outgoing::Whole(bytes),
            Err(content) => Outgoing::Pieces(content),
        },
    };
    Wanted::Answer(with(StatusCode::OK, headers, content))
}

fn parts(file: Opened, ranges: &[Range<u64>], mime: &str, mut headers: HeaderMap) -> Wanted {
    let length = file.length;
    let named = |range: &Range<u64>| format!("bytes {}-{}/{length}", range.start, range.end - 1);
    let mut pieces = Vec::new();
    match ranges {
        [] => {
            let none = HeaderValue::try_from(format!("bytes */{length}")).expect("digits");
            headers.insert(header::CONTENT_RANGE, none);
            return Wanted::Answer(with(StatusCode::RANGE_NOT_SATISFIABLE, headers, Outgoing::Empty));
        }
        [one] => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::try_from(mime).expect("a known type"));
            headers.insert(header::CONTENT_RANGE, HeaderValue::try_from(named(one)).expect("digits"));
            pieces.push(Piece::File(one.clone()));
        }
        several => {
            let kind = format!("multipart/byteranges; boundary={BOUNDARY}");
            headers.insert(header::CONTENT_TYPE, HeaderValue::try_from(kind).expect("letters"));
            for range in several {
                let head = format!(
                    "\r\n--{BOUNDARY}\r\ncontent-type: {mime}\r\ncontent-range: {}\r\n\r\n",
                    named(range)
                );
                pieces.extend([Piece::Bytes(head.into()), Piece::File(range.clone())]);
            }
            pieces.push(Piece::Bytes(format!("\r\n--{BOUNDARY}--\r\n").into()));
        }
    }
    let content = match Content::new(file.file, pieces).small() {
        Ok(bytes) => Outgoing::Whole(bytes),
        Err(content) => Outgoing::Pieces(content),
    };
    Wanted::Answer(with(StatusCode::PARTIAL_CONTENT, headers, content))
}

/// RFC 9110 §13.2.2, without If-Range.
fn precondition(asked: &Asked, tag: &str, modified: SystemTime) -> StatusCode {
    let whole = to_seconds(modified);
    if let Some(tags) = asked.list(&header::IF_MATCH) {
        if !lists(&tags, tag, false) {
            return StatusCode::PRECONDITION_FAILED;
        }
    } else if asked.date(&header::IF_UNMODIFIED_SINCE).is_some_and(|since| whole > since) {
        return StatusCode::PRECONDITION_FAILED;
    }
    if let Some(tags) = asked.list(&header::IF_NONE_MATCH) {
        if lists(&tags, tag, true) {
            return StatusCode::NOT_MODIFIED;
        }
    } else if asked.date(&header::IF_MODIFIED_SINCE).is_some_and(|since| whole <= since) {
        return StatusCode::NOT_MODIFIED;
    }
    StatusCode::OK
}

/// Whether a list of tags has ours; `weak` says that those marked as weak count, too (RFC 9110 §8.8.3.2). Ours has no comma.
fn lists(tags: &str, tag: &str, weak: bool) -> bool {
    tags.split(',')
        .map(str::trim)
        .any(|it| it == "*" || it == tag || weak && it.strip_prefix("W/") == Some(tag))
}

/// RFC 9110 §13.1.5: without a match the range is not looked at.
fn range_applies(asked: &Asked, tag: &str, modified: SystemTime) -> bool {
    match asked.text(&header::IF_RANGE) {
        None => !asked.headers.contains_key(header::IF_RANGE),
        Some(text) if text.starts_with('"') || text.starts_with("W/") => text == tag,
        Some(_) => asked.date(&header::IF_RANGE) == Some(to_seconds(modified)),
    }
}

/// Dates in HTTP have no fractions.
fn to_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

/// The ranges that can be satisfied, in the order in which they were asked for; none at all if the field is malformed, asks for
/// too much, or for another unit: then all of the file is the answer.
fn parse(text: &str, length: u64) -> Option<Vec<Range<u64>>> {
    let (unit, set) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (mut ranges, mut count) = (Vec::new(), 0);
    for one in set.split(',').map(str::trim).filter(|one| !one.is_empty()) {
        let (first, last) = one.split_once('-')?;
        let range = match (number(first)?, number(last)?) {
            (None, None) => return None,
            (None, Some(suffix)) => length.saturating_sub(suffix)..length,
            (Some(first), None) => first..length,
            (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(length),
            (Some(_), Some(_)) => return None,
        };
        count += 1;
        if range.start < range.end {
            ranges.push(range);
        }
    }
    // Overlaps are how a small request asks for a large answer (RFC 9110 §17.15).
    let asked: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    (1..=RANGES).contains(&count).then_some(ranges).filter(|_| asked <= length)
}

/// `Some(None)` for no digits, `None` for what is no number; one that is too large is the largest.
#[expect(clippy::option_option, reason = "no number and none there are different things")]
fn number(text: &str) -> Option<Option<u64>> {
    if text.is_empty() {
        return Some(None);
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Some(text.parse().unwrap_or(u64::MAX)))
}
