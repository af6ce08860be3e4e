//! Names and values that nearly every connection sends once as literals: those of browsers, proxies and gRPC that are in
//! neither the static table nor the `http` crate.
//!
//! What is found here is shared by all tables of the process: it is not validated again and takes no memory. A
//! browser's first head has 7 such names and 8 such values; without them each is two allocations.

use http::header::{HeaderName, HeaderValue};

use super::index::equal;

/// The name with these octets, if it is one of them.
#[inline]
pub(super) fn name(octets: &[u8]) -> Option<HeaderName> {
    let at = find(octets, NAME_WEIGHTS, &NAME_SLOTS, &NAME_TEXTS)?;
    Some(NAMES[at].clone())
}

/// The value with these octets, if it is one of them.
#[inline]
pub(super) fn value(octets: &[u8]) -> Option<HeaderValue> {
    let at = find(octets, VALUE_WEIGHTS, &VALUE_SLOTS, &VALUE_TEXTS)?;
    Some(VALUES[at].clone())
}

#[inline]
fn find(octets: &[u8], weights: Weights, slots: &[u8], texts: &[&str]) -> Option<usize> {
    if octets.is_empty() || octets.len() > LONGEST {
        return None;
    }
    let at = usize::from(slots[slot(octets, weights, slots.len())]);
    texts.get(at).is_some_and(|text| equal(text.as_bytes(), octets)).then_some(at)
}

/// What length, last octet and two in between are multiplied by.
type Weights = [usize; 4];

/// Without collision over the texts of a table, which is checked while compiling.
const fn slot(octets: &[u8], weights: Weights, slots: usize) -> usize {
    let len = octets.len();
    let [by_len, by_last, by_third, by_fourth] = weights;
    let last = octets[len - 1] as usize;
    let (third, fourth) = (octets[len / 3] as usize, octets[len * 3 / 4] as usize);
    (len * by_len + last * by_last + third * by_third + fourth * by_fourth) % slots
}

/// Where nothing lies.
const NONE: u8 = u8::MAX;

const fn slots<const SLOTS: usize>(texts: &[&str], weights: Weights) -> [u8; SLOTS] {
    let mut slots = [NONE; SLOTS];
    let mut index = 0;
    while index < texts.len() {
        let at = slot(texts[index].as_bytes(), weights, SLOTS);
        assert!(slots[at] == NONE && texts[index].len() <= LONGEST);
        slots[at] = index as u8;
        index += 1;
    }
    slots
}

const LONGEST: usize = 23;

const NAME_WEIGHTS: Weights = [5, 6, 56, 2];
static NAME_SLOTS: [u8; 64] = slots(&NAME_TEXTS, NAME_WEIGHTS);
const NAME_TEXTS: [&str; 19] = [
    "grpc-accept-encoding",
    "grpc-encoding",
    "grpc-timeout",
    "priority",
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-fetch-user",
    "sec-gpc",
    "traceparent",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
    "x-requested-with",
];
#[rustfmt::skip]
static NAMES: [HeaderName; NAME_TEXTS.len()] = [
    name_at(0), name_at(1), name_at(2), name_at(3), name_at(4), name_at(5), name_at(6), name_at(7), name_at(8),
    name_at(9), name_at(10), name_at(11), name_at(12), name_at(13), name_at(14), name_at(15), name_at(16),
    name_at(17), name_at(18),
];

const fn name_at(at: usize) -> HeaderName {
    HeaderName::from_static(NAME_TEXTS[at])
}

const VALUE_WEIGHTS: Weights = [35, 40, 51, 40];
static VALUE_SLOTS: [u8; 128] = slots(&VALUE_TEXTS, VALUE_WEIGHTS);
const VALUE_TEXTS: [&str; 37] = [
    "\"Android\"",
    "\"Linux\"",
    "\"Windows\"",
    "\"macOS\"",
    "*/*",
    "1",
    "?0",
    "?1",
    "application/grpc",
    "application/json",
    "cors",
    "cross-site",
    "document",
    "empty",
    "en-US,en;q=0.9",
    "font",
    "gzip, deflate, br",
    "gzip, deflate, br, zstd",
    "i",
    "identity",
    "image",
    "max-age=0",
    "navigate",
    "no-cache",
    "no-cors",
    "none",
    "same-origin",
    "same-site",
    "script",
    "style",
    "text/css,*/*;q=0.1",
    "trailers",
    "u=0, i",
    "u=1",
    "u=1, i",
    "u=2",
    "u=4, i",
];
#[rustfmt::skip]
static VALUES: [HeaderValue; VALUE_TEXTS.len()] = [
    value_at(0), value_at(1), value_at(2), value_at(3), value_at(4), value_at(5), value_at(6), value_at(7),
    value_at(8), value_at(9), value_at(10), value_at(11), value_at(12), value_at(13), value_at(14), value_at(15),
    value_at(16), value_at(17), value_at(18), value_at(19), value_at(20), value_at(21), value_at(22), value_at(23),
    value_at(24), value_at(25), value_at(26), value_at(27), value_at(28), value_at(29), value_at(30), value_at(31),
    value_at(32), value_at(33), value_at(34), value_at(35), value_at(36),
];

const fn value_at(at: usize) -> HeaderValue {
    HeaderValue::from_static(VALUE_TEXTS[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_found_as_itself_and_nothing_else_is() {
        for text in NAME_TEXTS {
            assert_eq!(name(text.as_bytes()), HeaderName::from_lowercase(text.as_bytes()).ok());
        }
        for text in VALUE_TEXTS {
            assert_eq!(value(text.as_bytes()), HeaderValue::from_bytes(text.as_bytes()).ok());
        }
        for text in ["", "priorita", "sec-ch-ub", "x-forwarded-fos", "a name that is longer than any of them"]
        {
            assert_eq!((name(text.as_bytes()), value(text.as_bytes())), (None, None), "{text}");
        }
    }

    #[test]
    fn upper_case_is_not_a_name() {
        assert_eq!(name(b"Priority"), None);
    }
}
