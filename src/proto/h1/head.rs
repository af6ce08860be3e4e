//! From octets to a request's head: the lines by `httparse`, what they mean by ourselves.
//!
//! The same octets have the same outcome in however many pieces they come. Hence the two windows: a line, and a head,
//! are looked at up to their bounds and no further, so that what would come behind a bound cannot decide.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::uri::Authority;
use http::{HeaderMap, Method, Request, StatusCode, Version};
use httparse::{Error, Status};

use super::fields::Fields;
use super::framing::Framing;
use super::refusal::Refusal;
use super::target::{self, Hosted};
use crate::limits;
use crate::proto::h2::{FieldLimits, Trip};

/// How long a head may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// The request line.
    pub(super) line: usize,
    /// All of the head as it came, and its fields by number and size.
    pub(super) fields: FieldLimits,
    /// Content that is announced.
    pub(super) content: u64,
    /// Over TLS: the scheme of targets that name none.
    pub(super) secure: bool,
}

/// What a head means to us, besides the request that was made of it.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// How many octets it was.
    pub(super) octets: usize,
    /// Method and target as they came, for dumps.
    pub(super) line: Bytes,
    /// The size of its fields, as RFC 9113 §6.5.2 measures them.
    pub(super) list_bytes: usize,
    pub(super) framing: Framing,
    /// HTTP/1.0.
    pub(super) old: bool,
    /// The connection may be used for another request.
    pub(super) persists: bool,
    /// The peer waits for a 100.
    pub(super) expects: bool,
    /// It wants to change to another protocol, and has said everything to do so.
    pub(super) upgrades: bool,
    /// The settings of an HTTP/2 that it may be changed to.
    pub(super) settings: Option<Box<[u8]>>,
}

/// Reads a head from the front of `octets`; `None` when more of it is needed. Fields, method and target go to
/// `request`, which has none. All of the head comes back as well, in the copy that its values lie in. `named` is the host
/// that was named last.
pub(super) fn read(
    octets: &[u8],
    bounds: &Bounds,
    request: &mut Request<()>,
    named: &mut Option<Authority>,
) -> Result<Option<(Facts, Bytes)>, Refusal> {
    let line = &octets[..octets.len().min(bounds.line)];
    if octets.len() > bounds.line && !line.contains(&b'\n') {
        // Whatever else is wrong with the line comes first.
        parse(line, bounds, request, named)?;
        if !line.contains(&b' ') {
            // RFC 9112 §3: a method longer than any.
            let text = "the method is longer than any";
            return Err(Refusal::bound(StatusCode::NOT_IMPLEMENTED, text, Trip::HeaderBlock));
        }
        return Err(Refusal::bound(
            StatusCode::URI_TOO_LONG,
            "the request line is too long",
            Trip::HeaderBlock,
        ));
    }
    let longest = bounds.fields.block_bytes;
    let head = &octets[..octets.len().min(longest)];
    match parse(head, bounds, request, named)? {
        None if octets.len() >= longest => Err(too_large("the head is too long", Trip::HeaderBlock)),
        found => Ok(found),
    }
}

const BARE: Refusal = Refusal::bad("a line does not end in CRLF");

fn too_large(text: &'static str, trip: Trip) -> Refusal {
    Refusal::bound(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, text, trip)
}

fn parse(
    octets: &[u8],
    bounds: &Bounds,
    request: &mut Request<()>,
    named: &mut Option<Authority>,
) -> Result<Option<(Facts, Bytes)>, Refusal> {
    let mut lines = [const { MaybeUninit::uninit() }; limits::HEADER_FIELDS as usize];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(octets, &mut lines) {
        Ok(Status::Complete(length)) => {
            if has_bare_feed(&octets[..length]) {
                return Err(BARE);
            }
            take(&octets[..length], &parsed, bounds, request, named).map(Some)
        }
        Ok(Status::Partial) if has_bare_feed(octets) => Err(BARE),
        Ok(Status::Partial) => Ok(None),
        Err(Error::Version) => other_version(octets, bounds, request, named),
        // The request line and as many fields as there may be.
        Err(error) => Err(refusal(error, octets, 1 + limits::HEADER_FIELDS as usize)),
    }
}

/// RFC 9112 §2.2 lets a recipient take a single LF for a line's end; those who do and those who do not have been played
/// off against each other.
fn has_bare_feed(octets: &[u8]) -> bool {
    let follows = octets.iter().zip(octets.iter().skip(1));
    // Without a way out early it is done by many octets at a time.
    let bare = follows.fold(false, |bare, (before, octet)| bare | (*octet == b'\n' && *before != b'\r'));
    bare || octets.first() == Some(&b'\n')
}

/// What the parser's error is to the peer; `lines` is how many it has looked at when there are too many.
#[cold]
fn refusal(error: Error, octets: &[u8], lines: usize) -> Refusal {
    match error {
        // A fault before the bound comes before it, as it does when the lines come one after the other.
        Error::TooManyHeaders if has_bare_feed(first_lines(octets, lines)) => BARE,
        Error::HeaderName => Refusal::bad("a field's name is no token, or not followed by a colon"),
        Error::HeaderValue => Refusal::bad("a field's value has a control character"),
        Error::NewLine => BARE,
        Error::Status | Error::Token => Refusal::bad("the request line is malformed"),
        Error::TooManyHeaders => too_large("too many fields", Trip::HeaderFields),
        Error::Version => Refusal::bad("the version is malformed"),
    }
}

/// The first `count` lines, with their ends.
fn first_lines(octets: &[u8], count: usize) -> &[u8] {
    let mut ends = octets.iter().enumerate().filter(|(_, octet)| **octet == b'\n').map(|(at, _)| at + 1);
    &octets[..ends.nth(count - 1).unwrap_or(octets.len())]
}

/// A version that the parser does not know: a later minor one of ours is read as the last that we know (RFC 9110 §2.5),
/// a major one that is not ours is refused.
#[cold]
fn other_version(
    octets: &[u8],
    bounds: &Bounds,
    request: &mut Request<()>,
    named: &mut Option<Authority>,
) -> Result<Option<(Facts, Bytes)>, Refusal> {
    let Some(end) = octets.iter().position(|&octet| octet == b'\n') else { return Ok(None) };
    let line = octets[..end].strip_suffix(b"\r").ok_or(BARE)?;
    let version = line.rsplit(|&octet| octet == b' ').next().unwrap_or_default();
    match version {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9'] => {
            let mut known = octets.to_vec();
            known[line.len() - 1] = b'1';
            parse(&known, bounds, request, named)
        }
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0'..=b'1'] => {
            Err(Refusal::bad("the request line is malformed"))
        }
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            Err(Refusal::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "this port speaks HTTP/1.1 and HTTP/2"))
        }
        _ => Err(Refusal::bad("the version is malformed")),
    }
}

/// Makes a request of lines that are each well formed.
fn take(
    octets: &[u8],
    parsed: &httparse::Request<'_, '_>,
    bounds: &Bounds,
    request: &mut Request<()>,
    named: &mut Option<Authority>,
) -> Result<(Facts, Bytes), Refusal> {
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(Refusal::bad("the request line is malformed"));
    };
    let (method, old) = (method_of(method)?, version == 0);
    // One copy, which the values share: the block that the octets lie in is not pinned by them.
    let shared = Bytes::copy_from_slice(octets);
    let part = |of: &[u8]| {
        let at = of.as_ptr() as usize - octets.as_ptr() as usize;
        shared.slice(at..at + of.len())
    };
    let headers = request.headers_mut();
    let list_bytes = take_fields(parsed.headers, bounds, headers, part)?;
    // Most requests have none of these, and then nothing has to be looked up.
    let (fields, content) = if parsed.headers.iter().any(|line| concerns_us(line.name)) {
        (Fields::of(headers, old)?, Framing::of(headers, old, bounds.content)?)
    } else {
        (Fields { persists: !old, ..Fields::default() }, Framing::None)
    };
    let line = shared.slice(..target.as_ptr() as usize - octets.as_ptr() as usize + target.len());
    let host = target::host(headers, old, named)?;
    let (uri, hosted) = target::read(&method, part(target.as_bytes()), host, bounds.secure)?;
    if let Hosted::ByTarget(authority) = hosted {
        // RFC 9112 §3.2.2: a target that names a host stands above the field.
        headers.insert(http::header::HOST, authority);
    }
    if method == Method::CONNECT && content != Framing::None {
        return Err(Refusal::bad("CONNECT with content"));
    }
    let upgrades = fields.upgrades && !old && content == Framing::None && method != Method::CONNECT;
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.version_mut() = if old { Version::HTTP_10 } else { Version::HTTP_11 };
    let facts = Facts {
        octets: octets.len(),
        line,
        list_bytes,
        framing: content,
        old,
        persists: fields.persists,
        expects: fields.expects && !old && content != Framing::None,
        upgrades,
        settings: fields.settings.filter(|_| upgrades && !bounds.secure),
    };
    Ok((facts, shared))
}

/// Reads the first line of a head, with its end, where that is known to be one of HTTP/1.1: the method, the line up to
/// the end of its target, and where in it the target begins.
pub(super) fn read_line(line: &[u8]) -> Option<(Method, Bytes, usize)> {
    let mut parsed = httparse::Request::new(&mut []);
    let read = parsed.parse_with_uninit_headers(line, &mut []);
    let (Ok(Status::Partial), Some(method), Some(target), Some(1)) =
        (read, parsed.method, parsed.path, parsed.version)
    else {
        return None;
    };
    let method = method_of(method).ok().filter(|_| !has_bare_feed(line))?;
    let at = target.as_ptr() as usize - line.as_ptr() as usize;
    Some((method, Bytes::copy_from_slice(&line[..at + target.len()]), at))
}

/// Whether a field of this name frames the message, or speaks to us.
fn concerns_us(name: &str) -> bool {
    let names: &[&str] = match name.len() {
        6 => &["expect"],
        10 => &["connection"],
        14 => &["content-length"],
        17 => &["transfer-encoding"],
        _ => &[],
    };
    names.iter().any(|it| it.eq_ignore_ascii_case(name))
}

fn method_of(method: &str) -> Result<Method, Refusal> {
    Method::from_bytes(method.as_bytes()).map_err(|_| Refusal::bad("the method is no token"))
}

/// Appends the fields; returns what they amount to.
pub(super) fn take_fields(
    lines: &[httparse::Header<'_>],
    bounds: &Bounds,
    headers: &mut HeaderMap,
    part: impl Fn(&[u8]) -> Bytes,
) -> Result<usize, Refusal> {
    if lines.len() > bounds.fields.fields as usize {
        return Err(too_large("too many fields", Trip::HeaderFields));
    }
    let mut list_bytes = 0;
    for line in lines {
        list_bytes += line.name.len() + line.value.len() + 32;
        let Ok(name) = HeaderName::from_bytes(line.name.as_bytes()) else {
            return Err(Refusal::bad("a field's name is no token"));
        };
        let Ok(value) = HeaderValue::from_maybe_shared(part(line.value)) else {
            return Err(Refusal::bad("a field's value has a control character"));
        };
        if headers.try_append(name, value).is_err() {
            return Err(too_large("too many fields", Trip::HeaderFields));
        }
    }
    if list_bytes > bounds.fields.list_bytes as usize {
        return Err(too_large("the fields are too large", Trip::HeaderList));
    }
    Ok(list_bytes)
}

/// Reads a trailer section from the front of `octets`: fields and an empty line. `None` when more of it is needed.
pub(super) fn read_trailers(octets: &[u8], bounds: &Bounds) -> Result<Option<(usize, HeaderMap)>, Refusal> {
    let longest = bounds.fields.block_bytes;
    let section = &octets[..octets.len().min(longest)];
    let mut lines = [httparse::EMPTY_HEADER; limits::HEADER_FIELDS as usize];
    let (length, fields) = match httparse::parse_headers(section, &mut lines) {
        Ok(Status::Complete((length, _))) if has_bare_feed(&section[..length]) => return Err(BARE),
        Ok(Status::Complete(found)) => found,
        Ok(Status::Partial) if has_bare_feed(section) => return Err(BARE),
        Ok(Status::Partial) if octets.len() >= longest => {
            return Err(too_large("the trailers are too long", Trip::HeaderBlock));
        }
        Ok(Status::Partial) => return Ok(None),
        Err(error) => return Err(refusal(error, section, limits::HEADER_FIELDS as usize)),
    };
    let mut trailers = HeaderMap::new();
    take_fields(fields, bounds, &mut trailers, Bytes::copy_from_slice)?;
    // RFC 9110 §6.5.1: what frames, routes or authenticates a message comes before it, or is ignored.
    for name in super::fields::NOT_IN_TRAILERS {
        trailers.remove(name);
    }
    Ok(Some((length, trailers)))
}
