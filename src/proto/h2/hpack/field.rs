//! A decoded field in parsed form, and how octets become one.
//!
//! Invariant: a `Field` that is not `Malformed` satisfies the field syntax of RFC 9113 §8.2.1; which fields
//! may stand where (order, duplicates, connection-specific ones) is the stream layer's business.

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, StatusCode};

use super::common;

/// A field as the decoder delivers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// `:method`
    Method(Method),
    /// `:scheme`
    Scheme(Scheme),
    /// `:authority`, never empty.
    Authority(Authority),
    /// `:path`, never empty; whether it starts with a slash is not checked here.
    Path(PathAndQuery),
    /// `:protocol` (RFC 8441), a token.
    Protocol(Bytes),
    /// `:status`, three digits.
    Status(StatusCode),
    /// An ordinary field. The value is marked sensitive when the peer said that it must never be indexed.
    Header {
        /// The name, lower case.
        name: HeaderName,
        /// The value.
        value: HeaderValue,
        /// What the stream layer must know about the name.
        kind: FieldKind,
    },
    /// A field that makes its message malformed; the compression state is not affected.
    Malformed(Defect),
}

/// Takes the fields of a block, in order. A closure that takes fields is one.
pub trait FieldSink {
    /// Takes a field that nobody else holds.
    fn take(&mut self, field: Field);

    /// Takes a field that the table holds too: a sink need only clone what it keeps, into where it keeps it.
    #[inline]
    fn share(&mut self, field: &Field) {
        self.take(field.clone());
    }
}

impl<F: FnMut(Field)> FieldSink for F {
    #[inline]
    fn take(&mut self, field: Field) {
        self(field);
    }
}

/// Names with a meaning in the protocol, told apart once, when a name enters the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// Nothing special.
    Ordinary,
    /// `cookie`: crumbs are to be joined (RFC 9113 §8.2.3).
    Cookie,
    /// `content-length`
    ContentLength,
    /// `host`
    Host,
    /// `te`: only `trailers` is allowed (RFC 9113 §8.2.2).
    Te,
    /// `expect`
    Expect,
    /// `priority` (RFC 9218)
    Priority,
    /// Connection-specific: the message is malformed (RFC 9113 §8.2.2).
    ConnectionSpecific,
}

impl FieldKind {
    /// Tells the kind of a name.
    pub fn of(name: &HeaderName) -> FieldKind {
        match name.as_str() {
            "cookie" => FieldKind::Cookie,
            "content-length" => FieldKind::ContentLength,
            "host" => FieldKind::Host,
            "te" => FieldKind::Te,
            "expect" => FieldKind::Expect,
            "priority" => FieldKind::Priority,
            "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" => {
                FieldKind::ConnectionSpecific
            }
            _ => FieldKind::Ordinary,
        }
    }
}

/// What is wrong with a malformed field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// Empty, upper case, or an octet that no name may have.
    Name,
    /// A pseudo-header field that no specification defines.
    UnknownPseudo,
    /// CR, LF, NUL or another control, or a blank at either end.
    Value,
    /// `:method` is not a token.
    Method,
    /// `:scheme` is not a scheme.
    Scheme,
    /// `:authority` is empty or no authority.
    Authority,
    /// `:path` is empty or has octets that no path may have.
    Path,
    /// `:protocol` is not a token.
    Protocol,
    /// `:status` is not three digits.
    Status,
}

/// The name part of an entry, for literals that borrow it by index.
#[derive(Debug, Clone)]
pub(super) enum Name {
    Method,
    Scheme,
    Authority,
    Path,
    Protocol,
    Status,
    Header(HeaderName, FieldKind),
    Defective(Defect),
}

impl Name {
    pub(super) fn parse(octets: &[u8]) -> Name {
        if octets.first() == Some(&b':') {
            return match octets {
                b":method" => Name::Method,
                b":scheme" => Name::Scheme,
                b":authority" => Name::Authority,
                b":path" => Name::Path,
                b":protocol" => Name::Protocol,
                b":status" => Name::Status,
                _ => Name::Defective(Defect::UnknownPseudo),
            };
        }
        if let Some(name) = common::name(octets) {
            let kind = FieldKind::of(&name);
            return Name::Header(name, kind);
        }
        match HeaderName::from_lowercase(octets) {
            // The `http` crate lets a quotation mark pass, which is in no token (RFC 9110 §5.6.2).
            Ok(name) if !octets.contains(&b'"') => {
                let kind = FieldKind::of(&name);
                Name::Header(name, kind)
            }
            Ok(_) | Err(_) => Name::Defective(Defect::Name),
        }
    }

    pub(super) fn is_cookie(&self) -> bool {
        matches!(self, Name::Header(_, FieldKind::Cookie))
    }

    /// Joins the name with a value's octets: here and nowhere else is a value allocated and validated.
    /// A name whose value is malformed comes back, because it may still be borrowed.
    pub(super) fn with_value(self, octets: &[u8], sensitive: bool) -> Result<Field, (Name, Defect)> {
        let (field, defect) = match self {
            Name::Header(name, kind) => {
                return match parse_value(octets, sensitive) {
                    Some(value) => Ok(Field::Header { name, value, kind }),
                    None => Err((Name::Header(name, kind), Defect::Value)),
                };
            }
            Name::Method => (Method::from_bytes(octets).map(Field::Method).ok(), Defect::Method),
            // RFC 3986 §3.1: the `http` crate takes an empty scheme, and one that begins with a digit.
            Name::Scheme if !octets.first().is_some_and(u8::is_ascii_alphabetic) => (None, Defect::Scheme),
            // Told apart from `http` by the crate, and the same in any case (RFC 3986 §3.1).
            Name::Scheme if octets.eq_ignore_ascii_case(b"http") => {
                (Some(Field::Scheme(Scheme::HTTP)), Defect::Scheme)
            }
            Name::Scheme if octets.eq_ignore_ascii_case(b"https") => {
                (Some(Field::Scheme(Scheme::HTTPS)), Defect::Scheme)
            }
            Name::Scheme => (Scheme::try_from(octets).map(Field::Scheme).ok(), Defect::Scheme),
            Name::Authority => (authority(octets).map(Field::Authority), Defect::Authority),
            // The `http` crate would cut a fragment off; a `:path` has none (RFC 9113 §8.3.1).
            Name::Path if octets.contains(&b'#') => (None, Defect::Path),
            Name::Path => (PathAndQuery::try_from(octets).map(Field::Path).ok(), Defect::Path),
            Name::Status => (StatusCode::from_bytes(octets).map(Field::Status).ok(), Defect::Status),
            Name::Protocol if !is_token(octets) => (None, Defect::Protocol),
            Name::Protocol => (Some(Field::Protocol(Bytes::copy_from_slice(octets))), Defect::Protocol),
            Name::Defective(defect) => (None, defect),
        };
        field.ok_or((self, defect))
    }
}

fn parse_value(octets: &[u8], sensitive: bool) -> Option<HeaderValue> {
    let blank = |octet: Option<&u8>| matches!(octet, Some(b' ' | b'\t'));
    if blank(octets.first()) || blank(octets.last()) {
        return None;
    }
    let mut value = match common::value(octets) {
        Some(value) => value,
        None => HeaderValue::from_bytes(octets).ok()?,
    };
    value.set_sensitive(sensitive);
    Some(value)
}

/// Reads an authority; `None` when its host or port is none.
pub(crate) fn authority(octets: &[u8]) -> Option<Authority> {
    if is_authority(octets) { Authority::try_from(octets).ok() } else { None }
}

/// Whether there is a host and, if anything, the number of a port behind it (RFC 3986 §3.2). The `http` crate checks the
/// characters, and takes any of them for a port, and nothing for a host.
pub(crate) fn is_authority(octets: &[u8]) -> bool {
    let place = octets.rsplit(|&octet| octet == b'@').next().unwrap_or_default();
    let port = match place.split_first() {
        None => return false,
        Some((b'[', literal)) => {
            let Some(end) = literal.iter().position(|&octet| octet == b']') else { return false };
            let (address, port) = literal.split_at(end);
            if !is_address(address) {
                return false;
            }
            &port[1..]
        }
        Some((_, _)) => {
            let end = place.iter().position(|&octet| octet == b':').unwrap_or(place.len());
            if end == 0 {
                return false;
            }
            &place[end..]
        }
    };
    match port.split_first() {
        None => true,
        Some((b':', digits)) => is_port(digits),
        Some((_, _)) => false,
    }
}

/// An IPv6 address, or one of a kind to come: only its characters are looked at.
fn is_address(octets: &[u8]) -> bool {
    let future = matches!(octets.first(), Some(b'v' | b'V'));
    future
        || (octets.contains(&b':')
            && octets.iter().all(|octet| octet.is_ascii_hexdigit() || b":.".contains(octet)))
}

/// Also no digits at all (RFC 3986 §3.2.3), and any number of zeros before.
fn is_port(digits: &[u8]) -> bool {
    let number = digits.iter().try_fold(0u32, |number, digit| match digit {
        b'0'..=b'9' => Some(number.saturating_mul(10).saturating_add(u32::from(digit - b'0'))),
        _ => None,
    });
    number.is_some_and(|number| number <= u32::from(u16::MAX))
}

/// RFC 9110 §5.6.2.
pub(crate) fn is_token(octets: &[u8]) -> bool {
    !octets.is_empty()
        && octets.iter().all(|octet| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(octet))
}

impl Field {
    /// The name under which a literal may refer to this field.
    pub(super) fn name(&self) -> Name {
        match self {
            Field::Method(_) => Name::Method,
            Field::Scheme(_) => Name::Scheme,
            Field::Authority(_) => Name::Authority,
            Field::Path(_) => Name::Path,
            Field::Protocol(_) => Name::Protocol,
            Field::Status(_) => Name::Status,
            Field::Header { name, kind, .. } => Name::Header(name.clone(), *kind),
            Field::Malformed(defect) => Name::Defective(*defect),
        }
    }
}
