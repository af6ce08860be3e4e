//! From decoded fields to a message head: what may stand in a request, a response and trailers.
//!
//! The HPACK decoder has checked each field by itself; here are the rules between them (RFC 9113 §8): pseudo
//! fields first, once each and only where they belong, no connection-specific fields, `te` only for trailers,
//! one `content-length`, cookie crumbs joined, `host` in accord with `:authority`. The first offence is kept and
//! the rest of the block ignored: decoding goes on for the sake of the compression state.
//!
//! Fields go straight to where they stay: a message head is large, and a copy of a copy waits for the first.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{Method, Request, Response, StatusCode, Version};

use super::hpack::{self, Field, FieldKind, FieldSink};
use super::priority::Priority;
use super::protocol::Protocol;
use super::send::is_path;

/// What the block is the head of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Request,
    Response,
    Trailers,
}

/// Why a message is malformed (RFC 9113 §8.1.1).
pub(super) type Malformed = &'static str;

#[derive(Debug)]
pub(super) struct HeadSink<'a> {
    shape: Shape,
    offence: Option<Malformed>,
    /// An ordinary field was seen: pseudo fields must not follow.
    ordinary: bool,
    /// `host` was seen: only then is it looked for.
    host: bool,
    method: bool,
    protocol: Asking,
    scheme: Option<Scheme>,
    authority: Option<Authority>,
    path: Option<PathAndQuery>,
    status: Option<StatusCode>,
    content_length: Option<u64>,
    priority: Option<Priority>,
    cookie: Cookie,
    /// Fields and method are written here, the target at the end. Of a response or trailers only the fields are
    /// put here.
    head: &'a mut Request<()>,
}

/// Whether a CONNECT asks for a protocol (RFC 8441 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    /// It must not: we have not offered any.
    Never,
    No,
    Yes,
}

/// Crumbs of one cookie jar (RFC 9113 §8.2.3).
#[derive(Debug)]
enum Cookie {
    None,
    One(HeaderValue),
    /// Sensitive when one of the crumbs was.
    Joined(Vec<u8>, bool),
}

impl<'a> HeadSink<'a> {
    /// `head` has no fields; it brings memory along.
    #[inline]
    pub(super) fn new(shape: Shape, protocol: Asking, head: &'a mut Request<()>) -> HeadSink<'a> {
        HeadSink {
            shape,
            offence: None,
            ordinary: false,
            host: false,
            method: false,
            protocol,
            scheme: None,
            authority: None,
            path: None,
            status: None,
            content_length: None,
            priority: None,
            cookie: Cookie::None,
            head,
        }
    }

    #[inline]
    fn note(&mut self, taken: Result<(), Malformed>) {
        if let Err(offence) = taken {
            self.offence.get_or_insert(offence);
        }
    }

    /// Checks that a pseudo field may stand here and has not been seen.
    #[inline]
    fn pseudo(&self, shape: Shape, seen: bool) -> Result<(), Malformed> {
        if self.ordinary {
            return Err("pseudo-header field after an ordinary one");
        }
        if self.shape != shape {
            return Err("pseudo-header field where it does not belong");
        }
        if seen {
            return Err("pseudo-header field twice");
        }
        Ok(())
    }

    #[inline]
    fn take_ordinary(
        &mut self,
        name: HeaderName,
        value: HeaderValue,
        kind: FieldKind,
    ) -> Result<(), Malformed> {
        self.ordinary = true;
        match kind {
            FieldKind::Ordinary | FieldKind::Expect => {}
            FieldKind::Priority => self.priority = Priority::parse(value.as_bytes()).or(self.priority),
            FieldKind::Cookie => {
                self.cookie.add(value);
                return Ok(());
            }
            FieldKind::ContentLength => {
                let length = parse_length(&value).ok_or("content-length is not a number")?;
                if self.shape == Shape::Trailers {
                    return Err("content-length in trailers");
                }
                if self.content_length.replace(length).is_some_and(|before| before != length) {
                    return Err("two different content-lengths");
                }
                self.head.headers_mut().insert(name, value);
                return Ok(());
            }
            FieldKind::Host => {
                if std::mem::replace(&mut self.host, true) {
                    return Err("two host fields");
                }
            }
            FieldKind::Te => {
                if !value.as_bytes().eq_ignore_ascii_case(b"trailers") {
                    return Err("te is not trailers");
                }
            }
            FieldKind::ConnectionSpecific => return Err("connection-specific field"),
        }
        self.head.headers_mut().try_append(name, value).map(|_| ()).map_err(|_| "too many fields")
    }

    /// The announced length of the content.
    #[inline]
    pub(super) fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// What the client said of its urgency.
    #[inline]
    pub(super) fn priority(&self) -> Option<Priority> {
        self.priority
    }

    #[inline]
    fn finish(&mut self) -> Result<(), Malformed> {
        match std::mem::replace(&mut self.cookie, Cookie::None) {
            Cookie::None => {}
            Cookie::One(value) => {
                self.head.headers_mut().insert(header::COOKIE, value);
            }
            Cookie::Joined(jar, sensitive) => {
                let mut value =
                    HeaderValue::from_maybe_shared(Bytes::from(jar)).map_err(|_| "malformed cookie")?;
                value.set_sensitive(sensitive);
                self.head.headers_mut().insert(header::COOKIE, value);
            }
        }
        self.offence.map_or(Ok(()), Err)
    }

    /// Completes the request, or says why it is malformed.
    #[inline]
    pub(super) fn request(&mut self) -> Result<(), Malformed> {
        self.finish()?;
        if !self.method {
            return Err(":method is missing");
        }
        *self.head.version_mut() = Version::HTTP_2;
        self.target()
    }

    /// Puts the target together (RFC 9113 §8.3.1, for CONNECT §8.5).
    #[inline]
    fn target(&mut self) -> Result<(), Malformed> {
        let mut authority = self.authority.take();
        let named = authority.is_some();
        if self.host {
            authority = self.agree_with_host(authority)?;
        }
        let method = self.head.method();
        match self.protocol {
            Asking::Yes if *method != Method::CONNECT => return Err(":protocol without CONNECT"),
            Asking::Never | Asking::No if *method == Method::CONNECT => {
                // A host field does not stand in for it (RFC 9113 §8.5).
                return self.tunnel(authority.filter(|_| named));
            }
            Asking::Never | Asking::No | Asking::Yes => {}
        }
        let scheme = self.scheme.take().ok_or(":scheme is missing")?;
        let path = self.path.take().ok_or(":path is missing")?;
        if !is_path(path.as_str(), method) {
            return Err(":path does not start with a slash");
        }
        if authority.is_none() && (scheme == Scheme::HTTP || scheme == Scheme::HTTPS) {
            return Err("neither :authority nor host");
        }
        let mut parts = http::uri::Parts::default();
        parts.path_and_query = Some(path);
        if let Some(authority) = authority {
            if has_user(&authority) {
                return Err("user information in :authority");
            }
            parts.authority = Some(authority);
            parts.scheme = Some(scheme);
        }
        put_together(parts, self.head.uri_mut())
    }

    /// `host` must name what `:authority` names, and stands in for it (RFC 9113 §8.3.1).
    fn agree_with_host(&self, authority: Option<Authority>) -> Result<Option<Authority>, Malformed> {
        let Some(host) = self.head.headers().get(header::HOST) else { return Ok(authority) };
        match authority {
            Some(named) if same_place(named.as_str().as_bytes(), host.as_bytes(), self.scheme.as_ref()) => {
                Ok(Some(named))
            }
            Some(_) => Err("host contradicts :authority"),
            None if host.is_empty() => Ok(None),
            None => hpack::authority(host.as_bytes()).map(Some).ok_or("host is no authority"),
        }
    }

    fn tunnel(&mut self, authority: Option<Authority>) -> Result<(), Malformed> {
        if self.scheme.is_some() || self.path.is_some() {
            return Err("CONNECT with :scheme or :path");
        }
        let authority = authority.ok_or("CONNECT without :authority")?;
        if authority.port_u16().is_none_or(|port| port == 0) || has_user(&authority) {
            return Err("CONNECT needs a host and a port");
        }
        let mut parts = http::uri::Parts::default();
        parts.authority = Some(authority);
        put_together(parts, self.head.uri_mut())
    }

    /// The response, or why it is malformed.
    pub(super) fn response(&mut self) -> Result<Response<()>, Malformed> {
        self.finish()?;
        let status = self.status.take().ok_or(":status is missing")?;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err("101 does not exist in HTTP/2");
        }
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.version_mut() = Version::HTTP_2;
        *response.headers_mut() = std::mem::take(self.head.headers_mut());
        Ok(response)
    }

    /// The trailers, or why they are malformed.
    pub(super) fn trailers(&mut self) -> Result<HeaderMap, Malformed> {
        self.finish()?;
        Ok(std::mem::take(self.head.headers_mut()))
    }
}

impl FieldSink for &mut HeadSink<'_> {
    fn take(&mut self, field: Field) {
        match field {
            Field::Header { name, value, kind } => {
                let taken = self.take_ordinary(name, value, kind);
                self.note(taken);
            }
            other => self.share(&other),
        }
    }

    #[inline]
    fn share(&mut self, field: &Field) {
        let taken = match field {
            Field::Header { name, value, kind } => self.take_ordinary(name.clone(), value.clone(), *kind),
            Field::Method(method) => self.pseudo(Shape::Request, self.method).map(|()| {
                self.method = true;
                *self.head.method_mut() = method.clone();
            }),
            Field::Scheme(scheme) => self
                .pseudo(Shape::Request, self.scheme.is_some())
                .map(|()| self.scheme = Some(scheme.clone())),
            Field::Authority(authority) => self
                .pseudo(Shape::Request, self.authority.is_some())
                .map(|()| self.authority = Some(authority.clone())),
            Field::Path(path) => {
                self.pseudo(Shape::Request, self.path.is_some()).map(|()| self.path = Some(path.clone()))
            }
            Field::Status(status) => {
                self.pseudo(Shape::Response, self.status.is_some()).map(|()| self.status = Some(*status))
            }
            Field::Protocol(_) if self.protocol == Asking::Never => Err("unknown pseudo-header field"),
            Field::Protocol(token) => self.pseudo(Shape::Request, self.protocol == Asking::Yes).map(|()| {
                self.protocol = Asking::Yes;
                self.head.extensions_mut().insert(Protocol::from_token(token.clone()));
            }),
            Field::Malformed(_) => Err("malformed field"),
        };
        self.note(taken);
    }
}

impl Cookie {
    fn add(&mut self, value: HeaderValue) {
        *self = match std::mem::replace(self, Cookie::None) {
            Cookie::None => Cookie::One(value),
            Cookie::One(first) => Cookie::Joined(
                [first.as_bytes(), b"; ", value.as_bytes()].concat(),
                first.is_sensitive() || value.is_sensitive(),
            ),
            Cookie::Joined(mut jar, sensitive) => {
                jar.extend_from_slice(b"; ");
                jar.extend_from_slice(value.as_bytes());
                Cookie::Joined(jar, sensitive || value.is_sensitive())
            }
        };
    }
}

#[inline]
fn put_together(parts: http::uri::Parts, target: &mut Uri) -> Result<(), Malformed> {
    match Uri::from_parts(parts) {
        Ok(uri) => {
            *target = uri;
            Ok(())
        }
        Err(_) => Err("the target is no URI"),
    }
}

/// User information is not sent, and would hide the host from those who read it carelessly.
#[inline]
fn has_user(authority: &Authority) -> bool {
    authority.as_str().bytes().any(|byte| byte == b'@')
}

/// Whether two authorities name the same place for this scheme: the host in any case, the default port or none
/// (RFC 3986 §6.2.3).
#[inline]
fn same_place(one: &[u8], other: &[u8], scheme: Option<&Scheme>) -> bool {
    one.eq_ignore_ascii_case(other)
        || without_default_port(one, scheme).eq_ignore_ascii_case(without_default_port(other, scheme))
}

#[cold]
fn without_default_port<'a>(authority: &'a [u8], scheme: Option<&Scheme>) -> &'a [u8] {
    let port: &[u8] = match scheme.map(Scheme::as_str) {
        Some("http") => b":80",
        Some("https") => b":443",
        Some(_) | None => b":",
    };
    authority.strip_suffix(port).or_else(|| authority.strip_suffix(b":")).unwrap_or(authority)
}

/// Digits and nothing else (RFC 9110 §8.6).
#[inline]
pub(in crate::proto) fn parse_length(value: &HeaderValue) -> Option<u64> {
    let digits = value.as_bytes();
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |sum, digit| match digit {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}
