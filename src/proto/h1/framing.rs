//! How much content a request has (RFC 9112 §6.3).
//!
//! Two recipients that disagree about this read different requests out of the same octets. So whatever could be read in
//! two ways is refused, also where the RFC would allow to repair it.

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};

use super::fields::list;
use super::refusal::Refusal;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    None,
    /// At least one octet.
    Length(u64),
    Chunked,
}

impl Framing {
    /// What the fields say; `most` is how much content may be announced.
    pub(super) fn of(headers: &HeaderMap, old: bool, most: u64) -> Result<Framing, Refusal> {
        let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
        let length = lengths.next();
        if headers.contains_key(header::TRANSFER_ENCODING) {
            if length.is_some() {
                return Err(Refusal::bad("both transfer-encoding and content-length"));
            }
            if old {
                return Err(Refusal::bad("transfer-encoding in HTTP/1.0"));
            }
            return chunked(headers);
        }
        if lengths.next().is_some() {
            return Err(Refusal::bad("two content-length fields"));
        }
        match length.map_or(Ok(0), number)? {
            0 => Ok(Framing::None),
            length if length > most => Err(too_large()),
            length => Ok(Framing::Length(length)),
        }
    }
}

pub(super) fn too_large() -> Refusal {
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the content is too large")
}

/// Digits and nothing else (RFC 9110 §8.6). A number that fits nothing is one all the same.
fn number(value: &HeaderValue) -> Result<u64, Refusal> {
    let digits = value.as_bytes();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::bad("content-length is not a number"));
    }
    let sum =
        digits.iter().try_fold(0u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
    sum.ok_or_else(too_large)
}

/// `chunked` is the last coding and comes once; others we do not know (RFC 9112 §6.1).
fn chunked(headers: &HeaderMap) -> Result<Framing, Refusal> {
    let codings = headers.get_all(header::TRANSFER_ENCODING).iter().flat_map(list);
    let (mut count, mut chunked, mut last) = (0, 0, false);
    for coding in codings {
        last = coding.eq_ignore_ascii_case(b"chunked");
        chunked += usize::from(last);
        count += 1;
    }
    match (last, chunked, count) {
        (true, 1, 1) => Ok(Framing::Chunked),
        (true, 1, _) => Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "a transfer coding that is not known")),
        (true, _, _) => Err(Refusal::bad("chunked twice")),
        (false, _, _) => Err(Refusal::bad("the last transfer coding is not chunked")),
    }
}
