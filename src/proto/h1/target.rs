//! The request's target in its four forms, and the host that it is for (RFC 9112 §3.2).

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::{Authority, Parts, PathAndQuery, Scheme, Uri};
use http::{Method, StatusCode};

use super::refusal::Refusal;
use crate::proto::h2::hpack;

/// Where the host stood.
pub(super) enum Hosted {
    ByField,
    /// In the target; the field must be ignored.
    ByTarget(HeaderValue),
}

/// Reads the target, which is for `host` unless it names another; the result is the same as HTTP/2's: scheme, authority and path, but for
/// CONNECT the authority alone, and where there is no host the path alone.
pub(super) fn read(
    method: &Method,
    target: Bytes,
    host: Option<Authority>,
    secure: bool,
) -> Result<(Uri, Hosted), Refusal> {
    if !is_clean(&target) {
        return Err(Refusal::bad("the target has a fragment, or a character that is not ASCII"));
    }
    if *method == Method::CONNECT {
        return connect(&target);
    }
    let mut parts = Parts::default();
    if target.starts_with(b"/") || (&target[..] == b"*" && *method == Method::OPTIONS) {
        parts.path_and_query = Some(path(target)?);
        if let Some(authority) = host {
            parts.authority = Some(authority);
            parts.scheme = Some(if secure { Scheme::HTTPS } else { Scheme::HTTP });
        }
        return Ok((put_together(parts)?, Hosted::ByField));
    }
    absolute(method, target, secure)
}

/// Reads a target that is a path, where the host is that of `other`.
pub(super) fn beside(target: Bytes, other: &Uri) -> Option<Uri> {
    if !target.starts_with(b"/") || !is_clean(&target) {
        return None;
    }
    let mut parts = Parts::default();
    parts.path_and_query = Some(path(target).ok()?);
    parts.authority = other.authority().cloned();
    parts.scheme = other.scheme().cloned();
    put_together(parts).ok()
}

/// Whether there is neither a fragment nor anything that is not ASCII.
fn is_clean(target: &[u8]) -> bool {
    target.iter().all(|&octet| octet != b'#' && octet.is_ascii_graphic())
}

fn put_together(parts: Parts) -> Result<Uri, Refusal> {
    Uri::from_parts(parts).map_err(|_| Refusal::bad("the target is no URI"))
}

fn path(target: Bytes) -> Result<PathAndQuery, Refusal> {
    PathAndQuery::from_maybe_shared(target).map_err(|_| Refusal::bad("the target is no URI"))
}

/// One `host` field, unless HTTP/1.0; empty where the target has no authority (RFC 9112 §3.2). `named` is the one of the
/// head before, which is parsed no second time.
pub(super) fn host(
    headers: &HeaderMap,
    old: bool,
    named: &mut Option<Authority>,
) -> Result<Option<Authority>, Refusal> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Refusal::bad("two host fields"));
    }
    match host {
        None if old => Ok(None),
        None => Err(Refusal::bad("no host field")),
        Some(host) if host.is_empty() => Ok(None),
        Some(host) => {
            if named.as_ref().is_none_or(|named| named.as_str().as_bytes() != host.as_bytes()) {
                *named = Some(authority(host.as_bytes()).ok_or(Refusal::bad("host is no authority"))?);
            }
            Ok(named.clone())
        }
    }
}

/// A host, and perhaps a port. User information is not sent, and would hide the host from those who read it carelessly.
fn authority(octets: &[u8]) -> Option<Authority> {
    if octets.contains(&b'@') { None } else { hpack::authority(octets) }
}

/// CONNECT names a host and a port (RFC 9112 §3.2.3).
fn connect(target: &[u8]) -> Result<(Uri, Hosted), Refusal> {
    let authority = authority(target).filter(|it| it.port_u16().is_some_and(|port| port > 0));
    let authority = authority.ok_or(Refusal::bad("CONNECT needs a host and a port"))?;
    let host = HeaderValue::from_bytes(authority.as_str().as_bytes());
    let host = host.map_err(|_| Refusal::bad("CONNECT needs a host and a port"))?;
    let mut parts = Parts::default();
    parts.authority = Some(authority);
    Ok((put_together(parts)?, Hosted::ByTarget(host)))
}

/// A whole URI, as proxies get it; servers must take it too (RFC 9112 §3.2.2).
fn absolute(method: &Method, target: Bytes, secure: bool) -> Result<(Uri, Hosted), Refusal> {
    let wrong = Refusal::bad("the target is neither a path nor an HTTP URI");
    let uri = Uri::from_maybe_shared(target.clone()).map_err(|_| wrong)?;
    let scheme = uri.scheme().filter(|scheme| **scheme == Scheme::HTTP || **scheme == Scheme::HTTPS);
    let (Some(_), Some(named)) = (scheme, uri.authority()) else { return Err(wrong) };
    if scheme == Some(&Scheme::HTTPS) && !secure {
        // RFC 9110 §7.4: such a resource is only for those who came over TLS.
        return Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, "the target is to be asked for over TLS"));
    }
    let named = authority(named.as_str().as_bytes()).ok_or(wrong)?;
    let host = HeaderValue::from_bytes(named.as_str().as_bytes()).map_err(|_| wrong)?;
    // RFC 9112 §3.2.4: OPTIONS of a whole server, as a proxy would pass it on.
    let bare = target.len() == uri.scheme_str().map_or(0, str::len) + "://".len() + named.as_str().len();
    if bare && *method == Method::OPTIONS {
        let mut parts = uri.into_parts();
        parts.path_and_query = Some(PathAndQuery::from_static("*"));
        return Ok((put_together(parts)?, Hosted::ByTarget(host)));
    }
    Ok((uri, Hosted::ByTarget(host)))
}
