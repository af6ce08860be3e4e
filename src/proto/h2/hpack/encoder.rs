//! Fields to header blocks (RFC 7541 §6).
//!
//! What is indexed decides both the size of a response and what it costs to encode: an indexed field is a
//! search and one octet. Names whose values stay (`server`, `content-type`, `date` for a second) are indexed at
//! sight. All others are indexed when the same value comes a second time while it is remembered, so that
//! an `etag` or a request id never displaces what is useful, while a path or length that repeats is found.
//! Credentials are never indexed: an attacker who shares the connection could guess them by size (RFC 7541
//! §7.1.3).

use http::header::{HeaderName, HeaderValue};
use http::uri::Scheme;
use http::{Method, StatusCode};

use crate::limits;

use super::index::{Index, NameKey, fingerprint};
use super::{huffman, integer, static_table};

/// How many candidates for indexing are remembered: those of a message with many, so that its repetition finds
/// them.
const SEEN: usize = 32;

/// First octets of the representations (RFC 7541 §6).
const INDEXED: u8 = 0x80;
const LITERAL_INDEXED: u8 = 0x40;
const SIZE_UPDATE: u8 = 0x20;
const LITERAL_NEVER: u8 = 0x10;
const LITERAL: u8 = 0x00;

/// Indices of the static table that have a name here.
const AUTHORITY: usize = 1;
const METHOD_GET: usize = 2;
const METHOD_POST: usize = 3;
const PATH_ROOT: usize = 4;
const PATH_INDEX_HTML: usize = 5;
const SCHEME_HTTP: usize = 6;
const SCHEME_HTTPS: usize = 7;
const STATUS_200: usize = 8;
const ACCEPT_ENCODING: usize = 16;
const AUTHORIZATION: usize = 23;
const COOKIE: usize = 32;
const PROXY_AUTHORIZATION: usize = 49;
const SET_COOKIE: usize = 55;

/// A `cookie` shorter than this is likely to be a secret that could be guessed octet by octet.
const SHORT_COOKIE: usize = 20;

/// When a value enters the dynamic table.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Policy {
    /// At sight.
    Stable,
    /// When it comes a second time.
    Repeated,
    /// Not, but an intermediary may.
    Unindexed,
    /// Not, and nobody else may.
    Never,
}

/// The sending half of a connection's header compression.
pub struct Encoder {
    index: Index,
    /// The smallest table size since the last block, and that there is one to announce.
    pending_size: Option<usize>,
    /// Hashes of fields that were not indexed lately.
    seen: Option<Box<[u32; SEEN]>>,
    /// Where the next one goes.
    next_seen: u8,
    generation: u64,
}

impl Default for Encoder {
    fn default() -> Encoder {
        Encoder::new()
    }
}

impl Encoder {
    /// Makes an encoder for a peer that has announced no table size yet.
    pub fn new() -> Encoder {
        Encoder {
            index: Index::new(limits::HPACK_TABLE_BYTES),
            pending_size: None,
            seen: None,
            next_seen: 0,
            generation: 0,
        }
    }

    /// Takes over the peer's `SETTINGS_HEADER_TABLE_SIZE`. We use at most
    /// what [`limits::HPACK_TABLE_BYTES`] allows of it.
    pub fn set_peer_table_size(&mut self, size: u32) {
        let size = (size as usize).min(limits::HPACK_TABLE_BYTES);
        if size == self.index.max_size() {
            return;
        }
        self.index.set_max_size(size);
        self.generation += 1;
        self.pending_size = Some(self.pending_size.map_or(size, |smallest| smallest.min(size)));
    }

    /// Gives all memory back: the dynamic table is empty from here on, which the next block announces, and fills again
    /// as fields come.
    pub fn rest(&mut self) {
        self.seen = None;
        if self.index.is_used() {
            self.index = Index::new(self.index.max_size());
            self.generation += 1;
            self.pending_size = Some(0);
        }
    }

    /// Changes whenever the dynamic table does. A block during whose encoding it did not change may be sent
    /// again as it is (behind [`Encoder::begin_block`]) for as long as the generation is still the same.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Begins a header block: announces table sizes that changed since the last one (RFC 7541 §4.2), first the
    /// smallest, then the last.
    #[inline]
    pub fn begin_block(&mut self, out: &mut Vec<u8>) {
        if let Some(smallest) = self.pending_size.take() {
            let last = self.index.max_size();
            if smallest < last {
                integer::encode(smallest as u32, 5, SIZE_UPDATE, out);
            }
            integer::encode(last as u32, 5, SIZE_UPDATE, out);
        }
    }

    /// Appends `:status`.
    #[inline]
    pub fn encode_status(&mut self, status: StatusCode, out: &mut Vec<u8>) {
        let index = match status.as_u16() {
            200 => 8,
            204 => 9,
            206 => 10,
            304 => 11,
            400 => 12,
            404 => 13,
            500 => 14,
            _ => return self.pseudo(STATUS_200, status.as_str().as_bytes(), Policy::Stable, out),
        };
        out.push(INDEXED | index);
    }

    /// Appends `:method`.
    #[inline]
    pub fn encode_method(&mut self, method: &Method, out: &mut Vec<u8>) {
        match *method {
            Method::GET => out.push(INDEXED | METHOD_GET as u8),
            Method::POST => out.push(INDEXED | METHOD_POST as u8),
            _ => self.pseudo(METHOD_GET, method.as_str().as_bytes(), Policy::Stable, out),
        }
    }

    /// Appends `:scheme`.
    #[inline]
    pub fn encode_scheme(&mut self, scheme: &Scheme, out: &mut Vec<u8>) {
        match scheme.as_str() {
            "http" => out.push(INDEXED | SCHEME_HTTP as u8),
            "https" => out.push(INDEXED | SCHEME_HTTPS as u8),
            other => self.pseudo(SCHEME_HTTP, other.as_bytes(), Policy::Stable, out),
        }
    }

    /// Appends `:authority`.
    pub fn encode_authority(&mut self, authority: &str, out: &mut Vec<u8>) {
        self.pseudo(AUTHORITY, authority.as_bytes(), Policy::Stable, out);
    }

    /// Appends `:path`, query included.
    pub fn encode_path(&mut self, path: &str, out: &mut Vec<u8>) {
        match path {
            "/" => out.push(INDEXED | PATH_ROOT as u8),
            "/index.html" => out.push(INDEXED | PATH_INDEX_HTML as u8),
            _ => self.pseudo(PATH_ROOT, path.as_bytes(), Policy::Repeated, out),
        }
    }

    /// Appends `:protocol` (RFC 8441).
    pub fn encode_protocol(&mut self, protocol: &str, out: &mut Vec<u8>) {
        self.pair(NameKey::of(b":protocol"), protocol.as_bytes(), Policy::Stable, out);
    }

    /// Appends an ordinary field. A value that is marked sensitive, and credentials, are never indexed.
    #[inline]
    pub fn encode_field(&mut self, name: &HeaderName, value: &HeaderValue, out: &mut Vec<u8>) {
        let name = NameKey::of(name.as_str().as_bytes());
        let octets = value.as_bytes();
        let policy = if value.is_sensitive() { Policy::Never } else { policy(&name, octets) };
        if name.static_index() == Some(ACCEPT_ENCODING)
            && octets == b"gzip, deflate"
            && policy == Policy::Stable
        {
            return out.push(INDEXED | ACCEPT_ENCODING as u8);
        }
        self.pair(name, octets, policy, out);
    }

    /// Appends `content-length`, for callers that have a number and no field.
    #[inline]
    pub fn encode_content_length(&mut self, length: u64, out: &mut Vec<u8>) {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(length).as_bytes();
        self.pair(NameKey::of(b"content-length"), digits, Policy::Repeated, out);
    }

    fn pseudo(&mut self, index: usize, value: &[u8], policy: Policy, out: &mut Vec<u8>) {
        let name = static_table::text(index).map_or("", |(name, _)| name);
        self.pair(NameKey::fixed(index, name.as_bytes()), value, policy, out);
    }

    #[inline]
    fn pair(&mut self, name: NameKey<'_>, value: &[u8], policy: Policy, out: &mut Vec<u8>) {
        if matches!(policy, Policy::Stable | Policy::Repeated) {
            return match self.index.find(name, fingerprint(value), value) {
                Some(index) => integer::encode(index as u32, 7, INDEXED, out),
                None => self.enter(name, value, policy, out),
            };
        }
        let pattern = if policy == Policy::Never { LITERAL_NEVER } else { LITERAL };
        literal(name, name.static_index(), value, pattern, out);
    }

    /// Appends a field that the dynamic table has not, and puts it there if it is to be.
    #[inline(never)]
    fn enter(&mut self, name: NameKey<'_>, value: &[u8], policy: Policy, out: &mut Vec<u8>) {
        let print = fingerprint(value);
        let name_index = name.static_index().or_else(|| self.index.find_name(name));
        if self.index.fits(name.octets(), value)
            && (policy == Policy::Stable || self.seen_before(name.with(print)))
        {
            literal(name, name_index, value, LITERAL_INDEXED, out);
            self.index.insert(name, print, value);
            self.generation += 1;
        } else {
            literal(name, name_index, value, LITERAL, out);
        }
    }

    /// Tells whether the hash of a field is remembered, and remembers it in place of the oldest if not.
    fn seen_before(&mut self, hash: u32) -> bool {
        let remembered = self.seen.get_or_insert_default();
        if remembered.iter().fold(false, |found, &seen| found | (seen == hash)) {
            return true;
        }
        remembered[usize::from(self.next_seen) % SEEN] = hash;
        self.next_seen = self.next_seen.wrapping_add(1);
        false
    }
}

/// Appends a literal whose name is the one at `index`, or spelt out.
#[inline(never)]
fn literal(name: NameKey<'_>, index: Option<usize>, value: &[u8], pattern: u8, out: &mut Vec<u8>) {
    let prefix = if pattern == LITERAL_INDEXED { 6 } else { 4 };
    integer::encode(index.unwrap_or(0) as u32, prefix, pattern, out);
    if index.is_none() {
        string(name.octets(), out);
    }
    string(value, out);
}

/// Appends a string literal, Huffman coded when that is shorter.
fn string(text: &[u8], out: &mut Vec<u8>) {
    let coded = huffman::encoded_len(text);
    if coded < text.len() {
        integer::encode(coded as u32, 7, 0x80, out);
        huffman::encode(text, out);
    } else {
        integer::encode(text.len() as u32, 7, 0, out);
        out.extend_from_slice(text);
    }
}

#[inline]
fn policy(name: &NameKey<'_>, value: &[u8]) -> Policy {
    match name.static_index() {
        None => Policy::Repeated,
        Some(COOKIE) if value.len() < SHORT_COOKIE => Policy::Never,
        Some(index) => POLICIES[index],
    }
}

/// By index in the static table; the names that are not listed may vary from message to message.
static POLICIES: [Policy; static_table::LEN + 1] = {
    // :authority, accept-charset to access-control-allow-origin, allow, cache-control, content-encoding,
    // content-language, content-type, date, expect, host, proxy-authenticate, server,
    // strict-transport-security, user-agent, vary, via, www-authenticate.
    let stable = [1, 15, 16, 17, 18, 19, 20, 22, 24, 26, 27, 31, 33, 35, 38, 48, 54, 56, 58, 59, 60, 61];
    let mut policies = [Policy::Repeated; static_table::LEN + 1];
    let mut at = 0;
    while at < stable.len() {
        policies[stable[at]] = Policy::Stable;
        at += 1;
    }
    policies[AUTHORIZATION] = Policy::Never;
    policies[PROXY_AUTHORIZATION] = Policy::Never;
    policies[SET_COOKIE] = Policy::Unindexed;
    policies
};
