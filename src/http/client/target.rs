//! A request as it is sent: a complete target, which names the host in place of a `host` field, and the length where it is known.

use ::http::{
    HeaderValue, Method, Request, Uri,
    header::{self, HeaderMap},
    uri::{Authority, PathAndQuery, Scheme},
};

use super::error::Error;
use crate::http::body::Body;

/// Completes a request's target and fields.
pub(super) fn complete(request: &mut Request<Body>) -> Result<(), Error> {
    complete_target(request)?;
    complete_length(request)
}

/// A `host` field names the authority in the target's stead, as with other clients, and is not sent twice
/// (RFC 9113 §8.3.1).
fn complete_target(request: &mut Request<Body>) -> Result<(), Error> {
    let host = match request.headers_mut().remove(header::HOST) {
        Some(host) => {
            let named = Authority::try_from(host.as_bytes());
            Some(named.map_err(|_| Error::misuse("the host field is no authority"))?)
        }
        None => None,
    };
    let uri = request.uri();
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(Error::misuse("the target has user information, which is not sent"));
    }
    let tunnel = request.method() == Method::CONNECT && uri.path_and_query().is_none();
    let complete = uri.scheme().is_some() && uri.path_and_query().is_some_and(|path| !lacks_path(path));
    if host.is_none() && (tunnel || complete) {
        return Ok(());
    }
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.authority = host.or(parts.authority);
    if parts.authority.is_none() {
        return Err(Error::misuse("the target names no host, and there is no host field"));
    }
    if !tunnel {
        parts.scheme.get_or_insert(Scheme::HTTP);
        let path = parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
        if lacks_path(path) {
            let named = PathAndQuery::try_from(format!("/{}", path.as_str()));
            *path = named.map_err(|error| Error::misuse("the target is no URI").caused_by(error))?;
        }
    }
    *request.uri_mut() =
        Uri::from_parts(parts).map_err(|error| Error::misuse("the target is no URI").caused_by(error))?;
    Ok(())
}

/// What stands for a port has to be one, or nothing (RFC 3986 §3.2.3). The request would go to the scheme's own port, where
/// somebody else may be, with all that it says.
pub(super) fn check_port(authority: &Authority) -> Result<(), Error> {
    let (named, host) = (authority.as_str(), authority.host());
    let behind = named.rsplit('@').next().and_then(|named| named.strip_prefix(host));
    match behind {
        Some("" | ":") => Ok(()),
        // A sign would be taken for part of a number.
        Some(port) if !port.starts_with(":+") && authority.port_u16().is_some() => Ok(()),
        Some(_) | None => Err(Error::misuse("the target's port is none")),
    }
}

/// Whether it is a query alone: an empty path is sent as `/` (RFC 9112 §3.2.1, RFC 9113 §8.3.1).
fn lacks_path(path: &PathAndQuery) -> bool {
    path.as_str().starts_with('?')
}

/// Announces how long the content is, where that is known and means something (RFC 9110 §8.6).
fn complete_length(request: &mut Request<Body>) -> Result<(), Error> {
    let Some(length) = request.body().exact_length() else { return Ok(()) };
    if let Some(announced) = announced_length(request.headers()) {
        if announced != Some(length) {
            return Err(Error::misuse("content-length is not the length of the content"));
        }
        return Ok(());
    }
    let expected = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
    if (length > 0 || expected) && request.method() != Method::CONNECT {
        request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(())
}

/// The `content-length` field, if there is one, and its value, if it has one.
pub(super) fn announced_length(headers: &HeaderMap) -> Option<Option<u64>> {
    let value = headers.get(header::CONTENT_LENGTH)?;
    Some(value.to_str().ok().and_then(|digits| digits.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(request: ::http::request::Builder, body: Body) -> Result<Request<Body>, Error> {
        let mut request = request.body(body).unwrap();
        complete(&mut request).map(|()| request)
    }

    #[test]
    fn a_host_field_becomes_the_authority() {
        let request = Request::get("/x?y").header("host", "a.example:81");
        let request = completed(request, Body::empty()).unwrap();
        assert_eq!(request.uri(), "http://a.example:81/x?y");
        assert!(request.headers().is_empty());
        let request = Request::get("http://127.0.0.1:80/").header("host", "a.example");
        assert_eq!(completed(request, Body::empty()).unwrap().uri(), "http://a.example/");
    }

    #[test]
    fn an_empty_path_is_sent_as_a_slash() {
        let target = |uri| completed(Request::get(uri), Body::empty()).unwrap().uri().to_string();
        assert_eq!(target("http://a.example?q=1"), "http://a.example/?q=1");
        assert_eq!(target("http://a.example?a=/b"), "http://a.example/?a=/b");
        assert_eq!(target("http://a.example/?"), "http://a.example/?");
        let uri = Uri::from_static("http://a.example?");
        let request = completed(Request::get(uri), Body::empty()).unwrap();
        assert_eq!(request.uri().path_and_query().unwrap().as_str(), "/?");
        assert_eq!(target("http://a.example"), "http://a.example/");
    }

    #[test]
    fn a_target_without_a_host_is_misuse() {
        let error = completed(Request::get("/x"), Body::empty()).unwrap_err();
        assert_eq!(error.kind(), super::super::Kind::Misuse);
    }

    #[test]
    fn a_port_that_is_none_is_misuse_and_not_the_schemes() {
        for named in [
            "a.example:99999",
            "a.example:65536",
            "a.example:abc",
            "a.example:-1",
            "a.example:+80",
            "[::1]:x",
        ] {
            let refused = check_port(&Authority::from_static(named)).unwrap_err();
            assert_eq!(refused.kind(), super::super::Kind::Misuse, "{named}");
        }
        for named in ["a.example", "a.example:", "a.example:65535", "[::1]", "[::1]:80", "[::1]:"] {
            check_port(&Authority::from_static(named)).unwrap();
        }
    }

    #[test]
    fn the_length_is_announced_where_it_means_something() {
        let length =
            |request, body| completed(request, body).unwrap().headers().get(header::CONTENT_LENGTH).cloned();
        assert_eq!(length(Request::get("http://a/"), Body::empty()), None);
        assert_eq!(length(Request::post("http://a/"), Body::empty()).unwrap(), "0");
        assert_eq!(length(Request::get("http://a/"), Body::from("abc")).unwrap(), "3");
        let wrong = Request::post("http://a/").header("content-length", "4");
        assert!(completed(wrong, Body::from("abc")).is_err());
    }

    #[test]
    fn the_target_of_connect_stays_an_authority() {
        let request = Request::builder().method("CONNECT").uri("a.example:443");
        assert_eq!(completed(request, Body::empty()).unwrap().uri(), "a.example:443");
    }
}
