//! An encoded response head that can be sent again as it is.
//!
//! A server answers most requests with the same few fields. Their encoding is one octet each, but finding
//! that octet is a search in the dynamic table; comparing a head with the one before is cheaper than that,
//! above all when the values are the same memory, as those of a shared `date` or a static `content-type` are.
//! A `content-length` that is not among the fields changes more often than they do: its encoding is kept beside theirs.
//!
//! Invariant: a `Known` head's `block` is what the encoder would write now for `status`, `fields` and `date`,
//! because it wrote them twice without changing the table, and the table's generation is still the same. Twice,
//! because a field that comes again may be indexed then, and is not to stay a literal for ever.

use http::StatusCode;
use http::header::{HeaderName, HeaderValue};

use super::send::ResponseHead;
use crate::limits;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Empty,
    /// Came once at this generation.
    Candidate,
    Known,
}

#[derive(Debug)]
pub(super) struct KnownHead {
    state: State,
    generation: u64,
    status: StatusCode,
    fields: Vec<(HeaderName, HeaderValue)>,
    date: Option<HeaderValue>,
    /// The `content-length` among the fields.
    length: Option<u64>,
    block: Vec<u8>,
    /// Where the encoded fields end in `block`.
    fields_end: usize,
    /// The `content-length` that is encoded behind them, if there is one.
    counted: Option<u64>,
    /// Heads that differed since this one was kept or used: a server whose heads all differ soon keeps none.
    misses: u8,
}

impl Default for KnownHead {
    fn default() -> KnownHead {
        KnownHead {
            state: State::Empty,
            generation: 0,
            status: StatusCode::OK,
            fields: Vec::new(),
            date: None,
            length: None,
            block: Vec::new(),
            fields_end: 0,
            counted: None,
            misses: 0,
        }
    }
}

impl KnownHead {
    /// Whether a head, its length apart, is the one that is known.
    #[inline]
    pub(super) fn is(&self, head: &ResponseHead<'_>, generation: u64) -> bool {
        self.state == State::Known && self.generation == generation && self.matches(head)
    }

    #[inline]
    fn matches(&self, head: &ResponseHead<'_>) -> bool {
        self.status == head.status
            && self.fields.len() == head.headers.len()
            && match (&self.date, head.date) {
                (Some(known), Some(date)) => same(known, date),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            }
            && self
                .fields
                .iter()
                .zip(head.headers)
                .all(|((known, value), (name, other))| known == name && same(value, other))
    }

    /// The encoded fields.
    #[inline]
    pub(super) fn fields(&mut self) -> &[u8] {
        self.misses = 0;
        &self.block[..self.fields_end]
    }

    /// The encoded fields with a `content-length` behind them, if that is known too.
    #[inline]
    pub(super) fn with_length(&mut self, length: Option<u64>) -> Option<&[u8]> {
        if length.is_none() {
            return Some(self.fields());
        }
        self.misses = 0;
        (self.counted == length).then_some(&self.block)
    }

    /// Takes note of a `content-length` that was encoded behind the fields without a change to the table.
    pub(super) fn note_length(&mut self, length: u64, encoded: &[u8]) {
        self.counted = Some(length);
        self.block.truncate(self.fields_end);
        self.block.extend_from_slice(encoded);
    }

    /// The `content-length` among its fields.
    #[inline]
    pub(super) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Takes note of a head that was encoded as `block` without a change to the table.
    pub(super) fn note(
        &mut self,
        head: &ResponseHead<'_>,
        length: Option<u64>,
        generation: u64,
        block: &[u8],
    ) {
        if self.state == State::Candidate && self.generation == generation && self.matches(head) {
            self.block.clear();
            self.block.extend_from_slice(block);
            self.state = State::Known;
            self.fields_end = block.len();
            self.counted = None;
            return;
        }
        self.misses = self.misses.wrapping_add(1);
        let rare = self.misses > limits::H2_HEAD_MISSES && self.misses % limits::H2_HEAD_MISSES != 0;
        if rare || head.headers.len() > limits::H2_HEAD_FIELDS || block.len() > limits::H2_HEAD_BYTES {
            return;
        }
        self.state = State::Candidate;
        self.generation = generation;
        self.status = head.status;
        self.fields.clear();
        self.fields.extend(head.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        self.date = head.date.cloned();
        self.length = length;
    }
}

/// Whether two values are encoded alike; the same memory need not be compared.
#[inline]
fn same(a: &HeaderValue, b: &HeaderValue) -> bool {
    let (left, right) = (a.as_bytes(), b.as_bytes());
    left.len() == right.len()
        && (left.as_ptr() == right.as_ptr() || left == right)
        && a.is_sensitive() == b.is_sensitive()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, header};

    use super::*;

    static DATE: HeaderValue = HeaderValue::from_static("today");
    const TEXT: HeaderValue = HeaderValue::from_static("text/plain");

    fn headers(value: HeaderValue) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, value);
        headers
    }

    fn head(headers: &HeaderMap) -> ResponseHead<'_> {
        ResponseHead { status: StatusCode::OK, headers, date: Some(&DATE), content_length: None }
    }

    #[test]
    fn a_head_is_known_from_the_second_time_and_while_the_table_is_the_same() {
        let mut known = KnownHead::default();
        let headers = headers(TEXT);
        assert!(!known.is(&head(&headers), 0));
        known.note(&head(&headers), None, 7, b"x");
        assert!(!known.is(&head(&headers), 7), "it came once");
        known.note(&head(&headers), None, 8, b"x");
        assert!(!known.is(&head(&headers), 8), "the table changed in between");
        known.note(&head(&headers), Some(3), 8, b"xy");
        assert!(known.is(&head(&headers), 8));
        assert_eq!(known.fields(), b"xy");
        assert_eq!(known.with_length(None), Some(&b"xy"[..]));
        assert_eq!(known.with_length(Some(1)), None);
        known.note_length(1, b"one");
        known.note_length(2, b"two");
        assert_eq!(known.with_length(Some(1)), None);
        assert_eq!(known.with_length(Some(2)), Some(&b"xytwo"[..]));
        assert_eq!(known.fields(), b"xy");
        assert_eq!(known.length(), None);
        assert!(!known.is(&head(&headers), 9));
    }

    #[test]
    fn a_head_with_another_status_date_value_or_sensitivity_is_not_known() {
        let mut known = KnownHead::default();
        let usual = headers(TEXT);
        known.note(&head(&usual), None, 0, b"x");
        known.note(&head(&usual), None, 0, b"x");
        assert!(known.is(&head(&usual), 0));
        let copy = headers(HeaderValue::from_bytes(b"text/plain").unwrap());
        assert!(known.is(&head(&copy), 0), "equal bytes elsewhere");
        assert!(!known.is(&ResponseHead { status: StatusCode::CREATED, ..head(&usual) }, 0));
        assert!(!known.is(&ResponseHead { date: None, ..head(&usual) }, 0));
        assert!(!known.is(&head(&headers(HeaderValue::from_static("text/html"))), 0));
        let mut secret = TEXT;
        secret.set_sensitive(true);
        assert!(!known.is(&head(&headers(secret)), 0));
        assert!(!known.is(&head(&HeaderMap::new()), 0));
    }

    #[test]
    fn heads_that_all_differ_are_seldom_noted() {
        let mut known = KnownHead::default();
        let mut noted = 0;
        for n in 0..200u8 {
            let headers = headers(HeaderValue::from(u16::from(n)));
            known.note(&head(&headers), None, 0, b"x");
            noted += usize::from(known.matches(&head(&headers)));
        }
        assert!(noted < 40, "{noted}");
    }
}
