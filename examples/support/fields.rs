//! Which fields a proxy passes on, which end at it, and which it adds. RFC 9110 §7.6, RFC 7239.

use std::{fmt::Write, net::SocketAddr};

use wakering::http::{HeaderMap, HeaderName, HeaderValue, header};

/// What this proxy calls itself in `via`.
const NAME: &str = "wakering";

const FORWARDED: [HeaderName; 4] = [
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
];

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
    for name in FORWARDED {
        headers.remove(name);
    }
    let mut text = format!("for=\"{client}\";proto={scheme}");
    // A host with a quote or a backslash is none.
    if let Some(host) = host.filter(|host| !host.contains(['"', '\\'])) {
        // Writing to a string does not fail.
        let _ = write!(text, ";host=\"{host}\"");
        set(headers, &FORWARDED[2], host);
    }
    set(headers, &FORWARDED[0], &text);
    set(headers, &FORWARDED[1], &client.ip().to_canonical().to_string());
    set(headers, &FORWARDED[3], scheme);
}

/// Notes that the message went through here; `version` is the one that it came in.
pub(crate) fn via(headers: &mut HeaderMap, version: &str) {
    if let Ok(value) = HeaderValue::try_from(format!("{version} {NAME}")) {
        headers.append(header::VIA, value);
    }
}

/// Whether the message has been here before (RFC 9110 §7.6.3).
pub(crate) fn comes_back(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(header::VIA).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|hop| hop.trim().split(' ').nth(1) == Some(NAME))
}

fn set(headers: &mut HeaderMap, name: &HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}
