//! Fields that concern the connection and not the application (RFC 9110 §7.6, RFC 9112 §9.3).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::refusal::Refusal;

const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Fields that mean nothing in trailers: they frame or route the message, or say who asks.
pub(super) const NOT_IN_TRAILERS: [HeaderName; 14] = [
    header::AUTHORIZATION,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::EXPECT,
    header::HOST,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What the peer says of the connection.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) persists: bool,
    pub(super) expects: bool,
    /// `upgrade` stands in both places that it has to stand in.
    pub(super) upgrades: bool,
    /// The payload of a SETTINGS frame, when the connection may be changed to HTTP/2 (RFC 7540 §3.2.1).
    pub(super) settings: Option<Box<[u8]>>,
}

impl Fields {
    pub(super) fn of(headers: &HeaderMap, old: bool) -> Result<Fields, Refusal> {
        let options = Options::of(headers)?;
        let persists = if old { options.keep_alive && !options.close } else { !options.close };
        let expect = headers.get(header::EXPECT);
        let expects = expect.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        let upgrades = options.upgrade && headers.contains_key(header::UPGRADE);
        let settings = if upgrades && options.settings { h2c_settings(headers) } else { None };
        Ok(Fields { persists, expects, upgrades, settings })
    }
}

/// The options of `connection` that mean something to us.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
    settings: bool,
}

impl Options {
    /// Reads all `connection` fields (RFC 9110 §7.6.1).
    pub(super) fn of(headers: &HeaderMap) -> Result<Options, Refusal> {
        let mut options = Options::default();
        for value in headers.get_all(header::CONNECTION) {
            options.add(value);
        }
        Ok(options)
    }

    fn add(&mut self, value: &HeaderValue) {
        for option in list(value) {
            let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
            self.close |= is("close");
            self.keep_alive |= is("keep-alive");
            self.upgrade |= is("upgrade");
            self.settings |= is("http2-settings");
        }
    }
}

/// The members of a list (RFC 9110 §5.6.1): blanks around them and empty ones do not count.
pub(super) fn list(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|&octet| octet == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// The settings of an upgrade to HTTP/2: asked for, named once, and well formed.
fn h2c_settings(headers: &HeaderMap) -> Option<Box<[u8]>> {
    let asked = headers.get_all(header::UPGRADE).iter().flat_map(list).any(|protocol| protocol == b"h2c");
    let mut values = headers.get_all(HTTP2_SETTINGS).iter();
    let (Some(value), None, true) = (values.next(), values.next(), asked) else { return None };
    decode(value.as_bytes()).filter(|payload| payload.len() % 6 == 0).map(Vec::into_boxed_slice)
}

/// Base64 with the URL's alphabet and without padding (RFC 4648 §5); bits that are left over must be nought.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0);
    for letter in text {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            octets.push((bits >> count & 0xff) as u8);
            bits &= (1 << count) - 1;
        }
    }
    // Six bits left over are a letter too many.
    (bits == 0 && count < 6).then_some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_decoded_strictly() {
        assert_eq!(decode(b""), Some(Vec::new()));
        // What curl sends.
        let sent = decode(b"AAMAAABkAAQAoAAAAAIAAAAA");
        assert_eq!(sent, Some(vec![0, 3, 0, 0, 0, 100, 0, 4, 0, 160, 0, 0, 0, 2, 0, 0, 0, 0]));
        for wrong in [&b"A"[..], b"AAMAAABkAAQAoAAAAAIAAAAA=", b"AA+A", b"AA A", b"AB", b"AAAAA"] {
            assert_eq!(decode(wrong), None, "{:?}", String::from_utf8_lossy(wrong));
        }
    }

    #[test]
    fn options_are_found_in_any_case_and_in_any_field() {
        let mut headers = HeaderMap::new();
        headers.append(header::CONNECTION, HeaderValue::from_static(" Keep-Alive ,, x"));
        headers.append(header::CONNECTION, HeaderValue::from_static("UPGRADE\t,"));
        let options = Options::of(&headers).unwrap();
        assert!(options.keep_alive && options.upgrade && !options.close && !options.settings);
    }
}
