//! The decoder's dynamic table (RFC 7541 §2.3.2): parsed fields, newest first.

use std::collections::VecDeque;

use super::field::{Defect, Field, FieldKind, FieldSink, Name};

/// What an entry costs beyond its octets (RFC 7541 §4.1).
pub(super) const ENTRY_OVERHEAD: usize = 32;

/// A parsed field and the sizes that its octets had.
pub(super) struct Entry {
    pub(super) content: Content,
    pub(super) name_len: u32,
    /// Name, value and overhead.
    pub(super) size: u32,
}

/// A good field, or one that is malformed but may still lend its name.
pub(super) enum Content {
    Field(Field),
    Defective { name: Name, defect: Defect },
}

impl Entry {
    pub(super) fn name(&self) -> Name {
        match &self.content {
            Content::Field(field) => field.name(),
            Content::Defective { name, .. } => name.clone(),
        }
    }

    pub(super) fn is_cookie(&self) -> bool {
        match &self.content {
            Content::Field(Field::Header { kind, .. }) => *kind == FieldKind::Cookie,
            Content::Field(_) => false,
            Content::Defective { name, .. } => name.is_cookie(),
        }
    }
}

impl Content {
    pub(super) fn into_field(self) -> Field {
        match self {
            Content::Field(field) => field,
            Content::Defective { defect, .. } => Field::Malformed(defect),
        }
    }

    /// Lends the field to a sink; the table keeps it.
    #[inline]
    pub(super) fn deliver(&self, sink: &mut impl FieldSink) {
        match self {
            Content::Field(field) => sink.share(field),
            Content::Defective { defect, .. } => sink.take(Field::Malformed(*defect)),
        }
    }
}

/// Entries by age, bounded by the sum of their sizes.
pub(super) struct Table {
    entries: VecDeque<Entry>,
    size: usize,
    max_size: usize,
    generation: u64,
}

impl Table {
    pub(super) fn new(max_size: usize) -> Table {
        Table { entries: VecDeque::new(), size: 0, max_size, generation: 0 }
    }

    /// Changes whenever the entries do.
    #[inline]
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn max_size(&self) -> usize {
        self.max_size
    }

    pub(super) fn set_max_size(&mut self, max_size: usize) {
        self.max_size = max_size;
        self.generation += 1;
        self.evict_to(max_size);
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }

    /// The entry `age` insertions back, the newest being 0.
    #[inline]
    pub(super) fn get(&self, age: usize) -> Option<&Entry> {
        self.entries.get(age)
    }

    /// Makes room for an entry of `size` as if it were inserted (RFC 7541 §4.4); false when it is larger than
    /// the whole table, which empties it.
    pub(super) fn make_room(&mut self, size: usize) -> bool {
        self.evict_to(self.max_size.saturating_sub(size));
        size <= self.max_size
    }

    /// Inserts an entry that [`Table::make_room`] made room for.
    pub(super) fn insert(&mut self, entry: Entry) {
        self.size += entry.size as usize;
        self.generation += 1;
        debug_assert!(self.size <= self.max_size);
        self.entries.push_front(entry);
    }

    fn evict_to(&mut self, size: usize) {
        while self.size > size {
            let Some(oldest) = self.entries.pop_back() else { break };
            self.size -= oldest.size as usize;
            self.generation += 1;
        }
    }
}
