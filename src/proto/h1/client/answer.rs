//! From octets to a response's head: the lines by `httparse`, what they mean by ourselves.
//!
//! The same octets have the same outcome in however many pieces they come: a head is parsed when its end is there, and
//! before that only what every beginning of a head has to be like.

use std::borrow::Cow;
use std::mem::MaybeUninit;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName};
use http::{Response, StatusCode, Version};
use httparse::{Error, Status};

use super::super::fields::{Options, list};
use super::super::head::{Bounds, take_fields};
use super::super::refusal::Refusal;
use crate::limits;
use crate::proto::h2::Trip;

/// A response's head, and what it means to us.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) response: Response<()>,
    /// How many octets it was.
    pub(super) octets: usize,
    /// The size of its fields, as RFC 9113 §6.5.2 measures them.
    pub(super) list_bytes: usize,
    /// HTTP/1.0.
    pub(super) old: bool,
    /// The peer takes another request afterwards, if the framing lets it.
    pub(super) persists: bool,
    /// How long it keeps a connection without requests, as it says.
    pub(super) keeps: Option<Duration>,
}

const BEGIN: &[u8] = b"HTTP/1.";
const END: &[u8] = b"\r\n\r\n";
const NOT_HTTP1: Refusal = Refusal::bad("the peer does not speak HTTP/1.1");
const STATUS_LINE: Refusal = Refusal::bad("the status line is malformed");
const BARE: Refusal = Refusal::bad("a line does not end in CRLF");

/// Reads a head from the front of `octets`; `None` when more of it is needed. In the first `searched` octets no end was
/// found before.
pub(super) fn read(
    octets: &[u8],
    searched: usize,
    bounds: &Bounds,
    headers: HeaderMap,
) -> Result<Option<Head>, Refusal> {
    let known = octets.len().min(BEGIN.len());
    if octets[..known] != BEGIN[..known] {
        return Err(NOT_HTTP1);
    }
    let longest = bounds.fields.block_bytes;
    let window = &octets[..octets.len().min(longest)];
    // What follows the end is none of the head's business.
    let from = searched.saturating_sub(END.len() - 1).min(window.len());
    let end = window[from..].windows(END.len()).position(|four| four == END).map(|at| from + at + END.len());
    let head = &window[..end.unwrap_or(window.len())];
    if has_bare_feed(head, from) {
        return Err(BARE);
    }
    if end.is_none() && octets.len() >= longest {
        return Err(Refusal::bound(
            StatusCode::BAD_GATEWAY,
            "the response's head is too long",
            Trip::HeaderBlock,
        ));
    }
    if end.is_none() {
        return Ok(None);
    }
    parse(head, bounds, headers).map(Some)
}

/// A single LF may be taken for a line's end (RFC 9112 §2.2), and need not: those who do and those who do not have been
/// played off against each other. `from`: in what is in front of it there is none.
fn has_bare_feed(head: &[u8], from: usize) -> bool {
    let bare = |at: usize| head[at] == b'\n' && (at == 0 || head[at - 1] != b'\r');
    (from..head.len()).any(bare)
}

/// Parses a whole head.
fn parse(octets: &[u8], bounds: &Bounds, headers: HeaderMap) -> Result<Head, Refusal> {
    let plain = unfold(octets)?;
    let plain = known_version(plain)?;
    let mut lines = [const { MaybeUninit::uninit() }; limits::HEADER_FIELDS as usize];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut parsed, &plain, &mut lines) {
        Ok(Status::Complete(length)) if length == plain.len() => {}
        // An empty line further in front, or none at all: the end was found otherwise.
        Ok(_) => return Err(STATUS_LINE),
        Err(error) => return Err(refusal(error)),
    }
    let (Some(code), Some(version)) = (parsed.code, parsed.version) else { return Err(STATUS_LINE) };
    let status = StatusCode::from_u16(code).map_err(|_| STATUS_LINE)?;
    // One copy, which the values share: the block that the octets lie in is not pinned by them.
    let shared = Bytes::copy_from_slice(&plain);
    let part = |of: &[u8]| {
        let at = of.as_ptr() as usize - plain.as_ptr() as usize;
        shared.slice(at..at + of.len())
    };
    let mut response = Response::new(());
    *response.headers_mut() = headers;
    let list_bytes = take_fields(parsed.headers, bounds, response.headers_mut(), part)?;
    let old = version == 0;
    *response.status_mut() = status;
    *response.version_mut() = if old { Version::HTTP_10 } else { Version::HTTP_11 };
    let options = Options::of(response.headers())?;
    let persists = if old { options.keep_alive && !options.close } else { !options.close };
    let keeps = keeps(response.headers());
    Ok(Head { response, octets: octets.len(), list_bytes, old, persists, keeps })
}

#[cold]
fn refusal(error: Error) -> Refusal {
    match error {
        Error::HeaderName => Refusal::bad("a field's name is no token, or not followed by a colon"),
        Error::HeaderValue => Refusal::bad("a field's value has a control character"),
        Error::NewLine => BARE,
        Error::Status | Error::Token | Error::Version => STATUS_LINE,
        Error::TooManyHeaders => {
            Refusal::bound(StatusCode::BAD_GATEWAY, "too many fields", Trip::HeaderFields)
        }
    }
}

/// A value that goes on in the next line (RFC 9112 §5.2): a user agent has to replace what stands between by spaces.
/// Where that would decide about the framing it is refused, and so it is in front of the first field (§2.2).
fn unfold(octets: &[u8]) -> Result<Cow<'_, [u8]>, Refusal> {
    let folds = |three: &[u8]| three[..2] == *b"\r\n" && matches!(three[2], b' ' | b'\t');
    if !octets.windows(3).any(folds) {
        return Ok(Cow::Borrowed(octets));
    }
    let mut plain = octets.to_vec();
    let (mut line, mut first) = (0, true);
    for at in 0..octets.len() - 2 {
        if octets[at..at + 2] != *b"\r\n" {
            continue;
        }
        if !folds(&octets[at..at + 3]) {
            (line, first) = (at + 2, false);
            continue;
        }
        let name = octets[line..].split(|&octet| octet == b':').next().unwrap_or_default();
        if first {
            return Err(Refusal::bad("a blank in front of the first field"));
        }
        if [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION]
            .iter()
            .any(|it| is(it, name))
        {
            return Err(Refusal::bad("a field that frames the content goes on in the next line"));
        }
        plain[at..at + 2].fill(b' ');
    }
    Ok(Cow::Owned(plain))
}

fn is(name: &HeaderName, octets: &[u8]) -> bool {
    octets.eq_ignore_ascii_case(name.as_str().as_bytes())
}

/// A later minor version of ours is read as the last that we know (RFC 9110 §2.5).
fn known_version(octets: Cow<'_, [u8]>) -> Result<Cow<'_, [u8]>, Refusal> {
    match (octets.get(BEGIN.len()), octets.get(BEGIN.len() + 1)) {
        (Some(b'0' | b'1'), Some(b' ')) => Ok(octets),
        (Some(b'2'..=b'9'), Some(b' ')) => {
            let mut known = octets.into_owned();
            known[BEGIN.len()] = b'1';
            Ok(Cow::Owned(known))
        }
        _ => Err(STATUS_LINE),
    }
}

/// `keep-alive: timeout=5`, as many servers say (RFC 2068 §19.7.1.1). We go a second before, so that no request is on its way
/// when they do.
fn keeps(headers: &HeaderMap) -> Option<Duration> {
    let mut members = headers.get_all("keep-alive").iter().flat_map(list);
    let seconds = members.find_map(|member| {
        let (name, value) = member.split_at_checked(b"timeout=".len())?;
        if !name.eq_ignore_ascii_case(b"timeout=") {
            return None;
        }
        std::str::from_utf8(value).ok()?.parse().ok()
    });
    let kept = Duration::from_secs(seconds?);
    Some(kept.saturating_sub(Duration::from_secs(1)).max(kept / 2))
}
