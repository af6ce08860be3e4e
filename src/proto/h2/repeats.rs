//! A request's head that came before, kept as what it means.
//!
//! Clients repeat themselves: calls of one method, polls, beacons. A header block that leaves the dynamic table as it
//! was is a function of its octets and of that table: the same octets at the same table are the same head. Comparing
//! them and cloning what they meant costs a fraction of decoding, checking and putting them together again.
//!
//! Invariant: a `Known` request's parts are what decoding `block` at `generation` gave, and that decoding changed
//! neither the table nor what is due from the peer. Heads with extensions, CONNECT's and malformed ones are not kept.

use http::header::{HeaderName, HeaderValue};
use http::{Method, Request, Uri, Version};

use super::priority::Priority;
use crate::limits;

/// What a request's head says to the connection itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// The announced length of the content.
    pub(super) length: Option<u64>,
    /// Decoded size, as HPACK counts it.
    pub(super) head_bytes: u32,
    /// What it says of its urgency.
    pub(super) priority: Option<Priority>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Empty,
    /// The block came once at this generation.
    Candidate,
    Known,
}

#[derive(Debug, Default)]
pub(super) struct KnownRequest {
    state: State,
    generation: u64,
    block: Vec<u8>,
    method: Method,
    uri: Uri,
    fields: Vec<(HeaderName, HeaderValue)>,
    facts: Facts,
    /// Blocks that differed since this one was kept or used: a client that does not repeat itself costs next to
    /// nothing.
    misses: u8,
}

impl KnownRequest {
    /// Writes the head that `block` means into `head`, which has no fields, if that is known.
    #[inline]
    pub(super) fn repeat(&mut self, block: &[u8], generation: u64, head: &mut Request<()>) -> Option<Facts> {
        if self.state != State::Known || self.generation != generation || self.block != block {
            return None;
        }
        self.misses = 0;
        *head.method_mut() = self.method.clone();
        *head.uri_mut() = self.uri.clone();
        *head.version_mut() = Version::HTTP_2;
        let headers = head.headers_mut();
        for (name, value) in &self.fields {
            headers.append(name.clone(), value.clone());
        }
        Some(self.facts)
    }

    /// Takes note of a block that was decoded to this head without a change to the table.
    pub(super) fn note(&mut self, block: &[u8], generation: u64, head: &Request<()>, facts: Facts) {
        if self.state == State::Candidate && self.generation == generation && self.block == block {
            self.keep(head, facts);
            return;
        }
        self.misses = self.misses.wrapping_add(1);
        let rare = self.misses > limits::H2_HEAD_MISSES && self.misses % limits::H2_HEAD_MISSES != 0;
        if rare || block.len() > limits::H2_HEAD_BYTES || head.headers().len() > limits::H2_REQUEST_FIELDS {
            return;
        }
        self.state = State::Candidate;
        self.generation = generation;
        self.block.clear();
        self.block.extend_from_slice(block);
        self.fields.clear();
    }

    fn keep(&mut self, head: &Request<()>, facts: Facts) {
        if *head.method() == Method::CONNECT || !head.extensions().is_empty() {
            return;
        }
        self.state = State::Known;
        self.method = head.method().clone();
        self.uri = head.uri().clone();
        self.fields.clear();
        self.fields.extend(head.headers().iter().map(|(name, value)| (name.clone(), value.clone())));
        self.facts = facts;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: Facts = Facts { length: Some(3), head_bytes: 100, priority: None };

    fn head() -> Request<()> {
        let head = Request::post("http://localhost/path?query").header("te", "trailers").header("x", "1");
        head.header("x", "2").version(Version::HTTP_2).body(()).unwrap()
    }

    fn repeated(known: &mut KnownRequest, block: &[u8], generation: u64) -> Option<Request<()>> {
        let mut again = Request::default();
        assert_eq!(known.repeat(block, generation, &mut again)?, FACTS);
        Some(again)
    }

    #[test]
    fn a_head_is_known_from_the_second_time_and_while_the_table_is_the_same() {
        let mut known = KnownRequest::default();
        assert!(repeated(&mut known, b"", 0).is_none(), "nothing came");
        known.note(b"block", 7, &head(), FACTS);
        assert!(repeated(&mut known, b"block", 7).is_none(), "it came once");
        known.note(b"block", 8, &head(), FACTS);
        assert!(repeated(&mut known, b"block", 8).is_none(), "the table changed in between");
        known.note(b"block", 8, &head(), FACTS);
        assert!(repeated(&mut known, b"block", 9).is_none(), "the table changed since");
        assert!(repeated(&mut known, b"bloc", 8).is_none());
        let again = repeated(&mut known, b"block", 8).unwrap();
        assert_eq!(format!("{again:?}"), format!("{:?}", head()));
    }

    #[test]
    fn tunnels_and_heads_with_extensions_are_not_kept() {
        let tunnel = Request::connect("localhost:1").body(()).unwrap();
        let mut extended = head();
        extended.extensions_mut().insert(1);
        for head in [tunnel, extended] {
            let mut known = KnownRequest::default();
            (0..5).for_each(|_| known.note(b"block", 0, &head, FACTS));
            assert!(repeated(&mut known, b"block", 0).is_none());
        }
    }

    #[test]
    fn blocks_that_all_differ_are_seldom_noted() {
        let mut known = KnownRequest::default();
        let noted = (0..200u8).filter(|&n| {
            known.note(&[n], 0, &head(), FACTS);
            known.block == [n]
        });
        assert!(noted.count() < 40);
    }
}
