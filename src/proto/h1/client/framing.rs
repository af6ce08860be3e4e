//! How much content a response has (RFC 9112 §6.3).
//!
//! Two recipients that disagree about this read different responses out of the same octets. So whatever could be read in
//! two ways is refused, but for the one repair that the RFC describes: a length that is repeated without a difference.

use http::header::{self, HeaderMap, HeaderValue};

use super::super::fields::list;
use super::super::refusal::Refusal;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// None follows.
    None,
    /// At least one octet.
    Length(u64),
    Chunked,
    /// All that comes until the connection ends.
    Close,
}

impl Framing {
    /// What the fields of a response say that may have content. A repeated length is made one.
    pub(super) fn of(headers: &mut HeaderMap, old: bool) -> Result<Framing, Refusal> {
        let announced = headers.contains_key(header::CONTENT_LENGTH);
        if headers.contains_key(header::TRANSFER_ENCODING) {
            if announced {
                return Err(Refusal::bad("both transfer-encoding and content-length"));
            }
            if old {
                return Err(Refusal::bad("transfer-encoding in HTTP/1.0"));
            }
            return chunked(headers);
        }
        if !announced {
            return Ok(Framing::Close);
        }
        match length(headers)? {
            0 => Ok(Framing::None),
            length => Ok(Framing::Length(length)),
        }
    }
}

/// The one length that all fields and members name.
fn length(headers: &mut HeaderMap) -> Result<u64, Refusal> {
    let (mut agreed, mut repeated) = (None, false);
    for value in headers.get_all(header::CONTENT_LENGTH) {
        // An empty member is no number: `list` would leave it out.
        for member in value.as_bytes().split(|&octet| octet == b',') {
            let length = number(member.trim_ascii())?;
            repeated |= agreed.is_some();
            if agreed.replace(length).is_some_and(|before| before != length) {
                return Err(Refusal::bad("two different content-lengths"));
            }
        }
    }
    let length = agreed.ok_or(NO_NUMBER)?;
    if repeated {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(length)
}

const NO_NUMBER: Refusal = Refusal::bad("content-length is not a number");

/// Digits and nothing else (RFC 9110 §8.6).
fn number(digits: &[u8]) -> Result<u64, Refusal> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(NO_NUMBER);
    }
    let sum =
        digits.iter().try_fold(0u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
    sum.ok_or(Refusal::bad("content-length does not fit 64 bits"))
}

/// `chunked`, once and alone: no other coding was offered (RFC 9112 §6.1, §7.4), so that content in one could not be
/// read anyway.
fn chunked(headers: &HeaderMap) -> Result<Framing, Refusal> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter().flat_map(list);
    match (codings.next(), codings.next()) {
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
        (Some(first), Some(second))
            if first.eq_ignore_ascii_case(b"chunked") && second.eq_ignore_ascii_case(b"chunked") =>
        {
            Err(Refusal::bad("chunked twice"))
        }
        _ => Err(Refusal::bad("a transfer coding that was not offered")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &[(&'static str, &'static str)]) -> Result<(Framing, HeaderMap), &'static str> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        Framing::of(&mut headers, false)
            .map(|framing| (framing, headers))
            .map_err(|refusal: Refusal| refusal.text)
    }

    #[test]
    fn a_length_that_is_repeated_without_a_difference_is_one() {
        let (framing, headers) = of(&[("content-length", "5, 5"), ("content-length", "05")]).unwrap();
        assert_eq!(framing, Framing::Length(5));
        let values: Vec<_> = headers.get_all("content-length").iter().collect();
        assert_eq!(values, ["5"]);
        assert_eq!(of(&[("content-length", "5,6")]).unwrap_err(), "two different content-lengths");
        for wrong in ["", "+5", "5,", ",5", "0x5", "5 5", "-1", "5.0"] {
            assert_eq!(of(&[("content-length", wrong)]).unwrap_err(), NO_NUMBER.text, "{wrong:?}");
        }
        let large = of(&[("content-length", "18446744073709551616")]);
        assert_eq!(large.unwrap_err(), "content-length does not fit 64 bits");
    }

    #[test]
    fn chunked_stands_alone() {
        assert_eq!(of(&[("transfer-encoding", "Chunked")]).unwrap().0, Framing::Chunked);
        assert_eq!(of(&[]).unwrap().0, Framing::Close);
        for wrong in ["", "gzip", "gzip, chunked", "chunked, gzip", "identity", "chunked;q=1", "xchunked"] {
            let refused = of(&[("transfer-encoding", wrong)]).unwrap_err();
            assert_eq!(refused, "a transfer coding that was not offered", "{wrong:?}");
        }
        assert_eq!(of(&[("transfer-encoding", "chunked, chunked")]).unwrap_err(), "chunked twice");
        let both = of(&[("transfer-encoding", "chunked"), ("content-length", "5")]);
        assert_eq!(both.unwrap_err(), "both transfer-encoding and content-length");
    }
}
