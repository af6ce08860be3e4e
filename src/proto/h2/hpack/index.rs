//! The encoder's dynamic table: the same eviction as the decoder's, but searched by name and value.
//!
//! Octets lie in one arena in the order of insertion, because eviction is first in, first out: the dead ones
//! are always a prefix, which is moved out when it has grown to the size of the live part. Records are chained
//! per bucket from newer to older; a link to an evicted record is recognised by its sequence number, so
//! nothing has to be unlinked.
//!
//! Invariants: sequence numbers are consecutive (wrapping), `oldest` is that of `records[0]`; `size` is the sum of
//! the records' sizes and at most `max_size`.

use std::collections::VecDeque;

use super::static_table;
use super::table::ENTRY_OVERHEAD;

/// Few enough not to matter to an idle connection.
const FIRST_BUCKETS: usize = 16;

/// Spreads a key over the top bits (the golden ratio's fraction).
const SPREAD: u32 = 0x9e37_79b9;

/// A name as the index knows it: names of the static table by their number, others by a hash.
#[derive(Clone, Copy)]
pub(super) struct NameKey<'a> {
    /// Index in the static table, or a hash with the top bit set.
    key: u32,
    octets: &'a [u8],
}

impl<'a> NameKey<'a> {
    /// A name of the static table.
    #[inline]
    pub(super) fn fixed(index: usize, octets: &'a [u8]) -> NameKey<'a> {
        NameKey { key: index as u32, octets }
    }

    #[inline]
    pub(super) fn of(octets: &'a [u8]) -> NameKey<'a> {
        let key = match static_table::find_name(octets) {
            Some(index) => index as u32,
            None => fingerprint(octets) | 1 << 31,
        };
        NameKey { key, octets }
    }

    #[inline]
    pub(super) fn static_index(&self) -> Option<usize> {
        (self.key <= static_table::LEN as u32).then_some(self.key as usize)
    }

    pub(super) fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// A hash of the name and a value's fingerprint.
    #[inline]
    pub(super) fn with(&self, print: u32) -> u32 {
        (self.key ^ print.rotate_left(13)).wrapping_mul(SPREAD)
    }
}

/// A cheap hash of a text's length, beginning and end. Equal texts have equal ones; others are told apart by a
/// compare, so it need not be better than that.
#[inline]
pub(super) fn fingerprint(text: &[u8]) -> u32 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let (head, tail) = match (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        (Some(head), Some(tail)) => (u64::from_le_bytes(*head), u64::from_le_bytes(*tail)),
        _ => match (text.first_chunk::<4>(), text.last_chunk::<4>()) {
            (Some(head), Some(tail)) => {
                (u64::from(u32::from_le_bytes(*head)), u64::from(u32::from_le_bytes(*tail)))
            }
            _ => (text.iter().fold(0, |sum, &octet| sum << 8 | u64::from(octet)), 0),
        },
    };
    let sum = (head ^ text.len() as u64).wrapping_mul(MIX) ^ tail.rotate_left(32);
    (sum.wrapping_mul(MIX) >> 32) as u32
}

/// Compares texts that are mostly short, where calling the library's compare costs more than the compare.
#[inline]
pub(super) fn equal(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let (Some(head), Some(tail)) = (one.first_chunk::<8>(), one.last_chunk::<8>()) else {
        return match (one.first_chunk::<4>(), one.last_chunk::<4>()) {
            (Some(head), Some(tail)) => other.starts_with(head) && other.ends_with(tail),
            _ => one.iter().zip(other).all(|(one, other)| one == other),
        };
    };
    let ends = other.first_chunk() == Some(head) && other.last_chunk() == Some(tail);
    if !ends || one.len() <= 16 {
        return ends;
    }
    let (one, other) = (&one[8..one.len() - 8], &other[8..other.len() - 8]);
    match (one.first_chunk::<8>(), one.last_chunk::<8>()) {
        (Some(head), Some(tail)) if one.len() <= 16 => {
            other.first_chunk() == Some(head) && other.last_chunk() == Some(tail)
        }
        _ => one == other,
    }
}

struct Record {
    key: u32,
    print: u32,
    /// Sequence number of the next older record in the same bucket, if that is still there.
    older: u32,
    /// Where the octets begin, counted from the first octet that ever entered (wrapping).
    offset: u32,
    /// Octets of the name in the arena: none for names of the static table.
    name_len: u32,
    value_len: u32,
    /// As RFC 7541 §4.1 counts it.
    size: u32,
}

pub(super) struct Index {
    records: VecDeque<Record>,
    octets: Vec<u8>,
    /// The offset of `octets[0]`.
    base: u32,
    buckets: Vec<u32>,
    oldest: u32,
    size: usize,
    max_size: usize,
}

impl Index {
    pub(super) fn new(max_size: usize) -> Index {
        Index {
            records: VecDeque::new(),
            octets: Vec::new(),
            base: 0,
            buckets: Vec::new(),
            oldest: 0,
            size: 0,
            max_size,
        }
    }

    /// Whether it owns memory.
    pub(super) fn is_used(&self) -> bool {
        self.records.capacity() > 0
    }

    pub(super) fn max_size(&self) -> usize {
        self.max_size
    }

    pub(super) fn set_max_size(&mut self, max_size: usize) {
        self.max_size = max_size;
        self.evict_to(max_size);
    }

    pub(super) fn fits(&self, name: &[u8], value: &[u8]) -> bool {
        name.len() + value.len() + ENTRY_OVERHEAD <= self.max_size
    }

    /// The combined index of name and value, searched from the newest entry to the oldest.
    #[inline]
    pub(super) fn find(&self, name: NameKey<'_>, print: u32, value: &[u8]) -> Option<usize> {
        let mut link = self.newest(name.key);
        while let Some((position, record)) = link {
            if record.key == name.key && record.print == print {
                let (own_name, own_value) = self.text(record);
                if equal(own_value, value) && (own_name.is_empty() || equal(own_name, name.octets)) {
                    return Some(self.combined_index(position));
                }
            }
            link = self.older(position, record);
        }
        None
    }

    /// The combined index of any entry with this name, for names that the static table has not.
    pub(super) fn find_name(&self, name: NameKey<'_>) -> Option<usize> {
        let mut link = self.newest(name.key);
        while let Some((position, record)) = link {
            if record.key == name.key && self.text(record).0 == name.octets {
                return Some(self.combined_index(position));
            }
            link = self.older(position, record);
        }
        None
    }

    /// The newest record in a key's bucket, and its position from the oldest.
    #[inline]
    fn newest(&self, key: u32) -> Option<(u32, &Record)> {
        self.record(*self.buckets.get(self.bucket(key)?)?)
    }

    /// The next record in the same bucket. A link leads to an older one, or to one that is gone: positions only fall.
    #[inline]
    fn older(&self, position: u32, record: &Record) -> Option<(u32, &Record)> {
        self.record(record.older).filter(|(older, _)| *older < position)
    }

    #[inline]
    fn record(&self, sequence: u32) -> Option<(u32, &Record)> {
        let position = sequence.wrapping_sub(self.oldest);
        Some((position, self.records.get(position as usize)?))
    }

    /// Inserts an entry that [`Index::fits`].
    pub(super) fn insert(&mut self, name: NameKey<'_>, print: u32, value: &[u8]) {
        let size = name.octets.len() + value.len() + ENTRY_OVERHEAD;
        debug_assert!(size <= self.max_size);
        self.evict_to(self.max_size - size);
        let own_name = if name.static_index().is_some() { &[] } else { name.octets };
        self.reclaim(own_name.len() + value.len());
        let offset = self.base.wrapping_add(self.octets.len() as u32);
        self.octets.extend_from_slice(own_name);
        self.octets.extend_from_slice(value);
        self.size += size;
        self.records.push_back(Record {
            key: name.key,
            print,
            older: 0,
            offset,
            name_len: own_name.len() as u32,
            value_len: value.len() as u32,
            size: size as u32,
        });
        if self.records.len() > self.buckets.len() {
            self.grow_buckets();
        } else {
            self.link(self.records.len() - 1);
        }
    }

    #[inline]
    fn bucket(&self, key: u32) -> Option<usize> {
        let mask = self.buckets.len().checked_sub(1)?;
        Some((key.wrapping_mul(SPREAD) >> 16) as usize & mask)
    }

    #[inline]
    fn text(&self, record: &Record) -> (&[u8], &[u8]) {
        let start = record.offset.wrapping_sub(self.base) as usize;
        let middle = start + record.name_len as usize;
        (&self.octets[start..middle], &self.octets[middle..middle + record.value_len as usize])
    }

    #[inline]
    fn combined_index(&self, position: u32) -> usize {
        static_table::LEN + self.records.len() - position as usize
    }

    /// Puts the record at `position` at the head of its bucket.
    fn link(&mut self, position: usize) {
        let Some(bucket) = self.bucket(self.records[position].key) else { return };
        self.records[position].older = self.buckets[bucket];
        self.buckets[bucket] = self.oldest.wrapping_add(position as u32);
    }

    fn grow_buckets(&mut self) {
        let count = (self.buckets.len() * 2).max(FIRST_BUCKETS);
        // `oldest - 1` is no record's number.
        self.buckets = vec![self.oldest.wrapping_sub(1); count];
        for position in 0..self.records.len() {
            self.link(position);
        }
    }

    fn evict_to(&mut self, size: usize) {
        while self.size > size {
            let Some(record) = self.records.pop_front() else { break };
            self.oldest = self.oldest.wrapping_add(1);
            self.size -= record.size as usize;
        }
    }

    /// Moves the evicted prefix out of the arena once that pays, before `more` octets come.
    fn reclaim(&mut self, more: usize) {
        let dead = match self.records.front() {
            Some(front) => front.offset.wrapping_sub(self.base) as usize,
            None => self.octets.len(),
        };
        let live = self.octets.len() - dead;
        if self.octets.len() + more > self.octets.capacity() && dead >= live {
            self.octets.drain(..dead);
            self.base = self.base.wrapping_add(dead as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index_of(index: &Index, name: &str, value: &str) -> Option<usize> {
        index.find(NameKey::of(name.as_bytes()), fingerprint(value.as_bytes()), value.as_bytes())
    }

    fn insert(index: &mut Index, name: &str, value: &str) {
        index.insert(NameKey::of(name.as_bytes()), fingerprint(value.as_bytes()), value.as_bytes());
    }

    /// The newest entries that fit are found at the right index, and no others, over many evictions.
    #[test]
    fn the_index_agrees_with_a_plain_list() {
        for max_size in [64, 500, 4096] {
            let mut index = Index::new(max_size);
            let mut list: Vec<(String, String)> = Vec::new();
            for round in 0..3_000 {
                let name = ["server", "x-one", "x-two", "date"][round % 4];
                let value = format!("{}", round * 7 % 1_000);
                if index_of(&index, name, &value).is_none() {
                    insert(&mut index, name, &value);
                    list.insert(0, (name.to_owned(), value));
                    let mut size = 0;
                    list.retain(|(name, value)| {
                        size += name.len() + value.len() + ENTRY_OVERHEAD;
                        size <= max_size
                    });
                }
                assert_eq!(index.records.len(), list.len());
                if round % 50 == 0 {
                    for (age, (name, value)) in list.iter().enumerate() {
                        assert_eq!(index_of(&index, name, value), Some(static_table::LEN + 1 + age));
                    }
                }
            }
            assert!(index.octets.capacity() <= 4 * max_size.max(64), "{}", index.octets.capacity());
        }
    }

    #[test]
    fn sequence_numbers_and_offsets_may_wrap() {
        let mut index = Index::new(200);
        index.oldest = u32::MAX - 10;
        index.base = u32::MAX - 100;
        for round in 0..100 {
            let value = format!("value {round}");
            insert(&mut index, "x-name", &value);
            assert_eq!(index_of(&index, "x-name", &value), Some(62));
            assert_eq!(index_of(&index, "x-name", "absent"), None);
        }
    }

    #[test]
    fn equal_is_equality() {
        let text: Vec<u8> = (0..100).collect();
        for len in 0..60 {
            let one = &text[..len];
            assert!(equal(one, &text.clone()[..len]), "{len}");
            assert!(!equal(one, &text[..len + 1]));
            for at in 0..len {
                let mut other = one.to_vec();
                other[at] ^= 0x80;
                assert!(!equal(one, &other), "{len} octets, {at}");
            }
        }
    }

    #[test]
    fn an_emptied_index_finds_nothing() {
        let mut index = Index::new(200);
        insert(&mut index, "x-name", "value");
        index.set_max_size(0);
        assert_eq!(index_of(&index, "x-name", "value"), None);
        index.set_max_size(200);
        insert(&mut index, "x-name", "value");
        assert_eq!(index_of(&index, "x-name", "value"), Some(62));
    }
}
