//! Which fields a proxy passes on, which end at it, and which it adds. RFC 9110 §7.6, RFC 7239.

use std::{
    collections::hash_map::RandomState,
    fmt::Write,
    hash::{BuildHasher, Hasher},
    net::SocketAddr,
    sync::OnceLock,
};

use wakering::http::{HeaderMap, HeaderName, HeaderValue, Method, header};

const FORWARDED: HeaderName = header::FORWARDED;
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Fields of one connection alone, beside those that `connection` names (RFC 9110 §7.6.1).
const OF_THE_CONNECTION: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Takes out what is not to be passed on.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    // A backend that is not told so may keep its trailers to itself (RFC 9110 §10.1.4).
    let takes_trailers = headers
        .get_all(header::TE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|list| list.split(',').any(|coding| coding.trim().eq_ignore_ascii_case("trailers")));
    for name in named.iter().chain(&OF_THE_CONNECTION) {
        headers.remove(name);
    }
    if takes_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Says whose request it is. What the client says of it is dropped: anybody can say anything.
pub(crate) fn forward(headers: &mut HeaderMap, client: SocketAddr, scheme: &str, host: Option<&str>) {
    let says = |name: &HeaderName| {
        *name == FORWARDED || name.as_str().starts_with("x-forwarded-") || name == "x-real-ip"
    };
    let said: Vec<HeaderName> = headers.keys().filter(|name| says(name)).cloned().collect();
    for name in said {
        headers.remove(name);
    }
    let mut text = format!("for=\"{client}\";proto={scheme}");
    // A host with a quote or a backslash is none.
    if let Some(host) = host.filter(|host| !host.contains(['"', '\\'])) {
        // Writing to a string does not fail.
        let _ = write!(text, ";host=\"{host}\"");
        set(headers, &FORWARDED_HOST, host);
    }
    set(headers, &FORWARDED, &text);
    set(headers, &FORWARDED_FOR, &client.ip().to_canonical().to_string());
    set(headers, &FORWARDED_PROTO, scheme);
}

/// Counts down how many proxies may still pass a TRACE or OPTIONS on; false when this one is the last that it comes to
/// (RFC 9110 §7.6.2).
pub(crate) fn goes_on(method: &Method, headers: &mut HeaderMap) -> bool {
    if !matches!(*method, Method::TRACE | Method::OPTIONS) {
        return true;
    }
    let count = headers.get(header::MAX_FORWARDS).and_then(|count| count.to_str().ok()?.parse::<u64>().ok());
    let Some(count) = count else { return true };
    if let Some(left) = count.checked_sub(1) {
        headers.insert(header::MAX_FORWARDS, left.into());
    }
    count > 0
}

/// What this process calls itself in `via`: two of these proxies in a row are not one proxy twice.
fn name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| format!("wakering-{:016x}", RandomState::new().build_hasher().finish()))
}

/// Notes that the message went through here; `version` is the one that it came in.
pub(crate) fn via(headers: &mut HeaderMap, version: &str) {
    if let Ok(value) = HeaderValue::try_from(format!("{version} {}", name())) {
        headers.append(header::VIA, value);
    }
}

/// Whether the message has been here before (RFC 9110 §7.6.3).
pub(crate) fn comes_back(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(header::VIA).iter().filter_map(|value| value.to_str().ok());
    let mut hops = lists.flat_map(|list| list.split(','));
    hops.any(|hop| hop.split_ascii_whitespace().nth(1).is_some_and(|it| it.eq_ignore_ascii_case(name())))
}

fn set(headers: &mut HeaderMap, name: &HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}
