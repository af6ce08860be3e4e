//! The static table (RFC 7541 appendix A), in the two forms that the two directions need.

use http::header::{self, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Scheme};
use http::{Method, StatusCode};

use super::field::{Defect, Field, FieldKind};
use super::index::equal;
use super::table::ENTRY_OVERHEAD;

/// How many entries the static table has; dynamic indices follow.
pub(super) const LEN: usize = 61;

/// The entry at `index`, counted from 1.
#[inline]
pub(super) fn field(index: usize) -> Option<&'static Field> {
    FIELDS.get(index.wrapping_sub(1))
}

/// The entry at `index`, counted from 1, and its size (RFC 7541 §4.1).
#[inline]
pub(super) fn sized_field(index: usize) -> Option<(&'static Field, usize)> {
    let at = index.wrapping_sub(1);
    Some((FIELDS.get(at)?, usize::from(SIZES[at])))
}

/// Name and value of the entry at `index`, counted from 1.
#[inline]
pub(super) fn text(index: usize) -> Option<&'static (&'static str, &'static str)> {
    TEXTS.get(index.wrapping_sub(1))
}

/// The lowest index with this name.
#[inline]
pub(super) fn find_name(name: &[u8]) -> Option<usize> {
    let (Some(&first), Some(&last)) = (name.first(), name.last()) else { return None };
    let index = usize::from(BY_NAME[slot(name.len(), first, last)]);
    let (candidate, _) = text(index)?;
    equal(candidate.as_bytes(), name).then_some(index)
}

/// Without collision over all names of the static table, which is checked while compiling.
const fn slot(len: usize, first: u8, last: u8) -> usize {
    (len * 3 + last as usize * 59 + first as usize * 54) % NAME_SLOTS
}

const NAME_SLOTS: usize = 128;

/// Lowest index by [`slot`] of the name; 0 where there is none.
static BY_NAME: [u8; NAME_SLOTS] = {
    let mut slots = [0; NAME_SLOTS];
    let mut index = LEN;
    while index > 0 {
        let name = TEXTS[index - 1].0.as_bytes();
        let at = slot(name.len(), name[0], name[name.len() - 1]);
        // Entries of one name are neighbours: a slot may only pass from an index to the one below it.
        let taken = slots[at] as usize;
        assert!(taken == 0 || taken == index + 1);
        slots[at] = index as u8;
        index -= 1;
    }
    slots
};

const fn header(name: HeaderName, value: &'static str, kind: FieldKind) -> Field {
    Field::Header { name, value: HeaderValue::from_static(value), kind }
}

const fn plain(name: HeaderName, value: &'static str) -> Field {
    header(name, value, FieldKind::Ordinary)
}

/// As the decoder delivers them. An empty `:authority` is not one that a request may have.
static FIELDS: [Field; LEN] = [
    Field::Malformed(Defect::Authority),
    Field::Method(Method::GET),
    Field::Method(Method::POST),
    Field::Path(PathAndQuery::from_static("/")),
    Field::Path(PathAndQuery::from_static("/index.html")),
    Field::Scheme(Scheme::HTTP),
    Field::Scheme(Scheme::HTTPS),
    Field::Status(StatusCode::OK),
    Field::Status(StatusCode::NO_CONTENT),
    Field::Status(StatusCode::PARTIAL_CONTENT),
    Field::Status(StatusCode::NOT_MODIFIED),
    Field::Status(StatusCode::BAD_REQUEST),
    Field::Status(StatusCode::NOT_FOUND),
    Field::Status(StatusCode::INTERNAL_SERVER_ERROR),
    plain(header::ACCEPT_CHARSET, ""),
    plain(header::ACCEPT_ENCODING, "gzip, deflate"),
    plain(header::ACCEPT_LANGUAGE, ""),
    plain(header::ACCEPT_RANGES, ""),
    plain(header::ACCEPT, ""),
    plain(header::ACCESS_CONTROL_ALLOW_ORIGIN, ""),
    plain(header::AGE, ""),
    plain(header::ALLOW, ""),
    plain(header::AUTHORIZATION, ""),
    plain(header::CACHE_CONTROL, ""),
    plain(header::CONTENT_DISPOSITION, ""),
    plain(header::CONTENT_ENCODING, ""),
    plain(header::CONTENT_LANGUAGE, ""),
    header(header::CONTENT_LENGTH, "", FieldKind::ContentLength),
    plain(header::CONTENT_LOCATION, ""),
    plain(header::CONTENT_RANGE, ""),
    plain(header::CONTENT_TYPE, ""),
    header(header::COOKIE, "", FieldKind::Cookie),
    plain(header::DATE, ""),
    plain(header::ETAG, ""),
    header(header::EXPECT, "", FieldKind::Expect),
    plain(header::EXPIRES, ""),
    plain(header::FROM, ""),
    header(header::HOST, "", FieldKind::Host),
    plain(header::IF_MATCH, ""),
    plain(header::IF_MODIFIED_SINCE, ""),
    plain(header::IF_NONE_MATCH, ""),
    plain(header::IF_RANGE, ""),
    plain(header::IF_UNMODIFIED_SINCE, ""),
    plain(header::LAST_MODIFIED, ""),
    plain(header::LINK, ""),
    plain(header::LOCATION, ""),
    plain(header::MAX_FORWARDS, ""),
    plain(header::PROXY_AUTHENTICATE, ""),
    plain(header::PROXY_AUTHORIZATION, ""),
    plain(header::RANGE, ""),
    plain(header::REFERER, ""),
    plain(header::REFRESH, ""),
    plain(header::RETRY_AFTER, ""),
    plain(header::SERVER, ""),
    plain(header::SET_COOKIE, ""),
    plain(header::STRICT_TRANSPORT_SECURITY, ""),
    header(header::TRANSFER_ENCODING, "", FieldKind::ConnectionSpecific),
    plain(header::USER_AGENT, ""),
    plain(header::VARY, ""),
    plain(header::VIA, ""),
    plain(header::WWW_AUTHENTICATE, ""),
];

static SIZES: [u8; LEN] = {
    let mut sizes = [0; LEN];
    let mut at = 0;
    while at < LEN {
        sizes[at] = (TEXTS[at].0.len() + TEXTS[at].1.len() + ENTRY_OVERHEAD) as u8;
        at += 1;
    }
    sizes
};

static TEXTS: [(&str, &str); LEN] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];
