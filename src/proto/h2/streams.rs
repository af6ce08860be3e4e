//! All streams of a connection: generational slots, and an index from stream id to slot.
//!
//! Ids of one peer grow by two, so `id >> 1` masked to the table's size spreads live streams without a single
//! collision as long as they were opened close together; linear probing takes care of the odd long-lived one.
//! Slots are reused last in, first out, which keeps the ones in use warm in the cache; a slot keeps the memory
//! of its queue.
//!
//! Also here: how recently closed streams ended, which decides what a late frame on them means.

use super::flow::{ReceiveWindow, SendWindow};
use super::stream::{Queue, Stream, StreamKey};

const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Slot {
    /// Odd while the slot is in use.
    generation: u32,
    next_free: u32,
    stream: Stream,
}

#[derive(Debug)]
pub(super) struct Streams {
    slots: Vec<Slot>,
    free: u32,
    len: u32,
    /// Even; the generation that a new slot starts above. No key of a slot that was given up is used again.
    base: u32,
    index: Index,
}

impl Streams {
    pub(super) fn new() -> Streams {
        Streams { slots: Vec::new(), free: NONE, len: 0, base: 0, index: Index::default() }
    }

    /// Streams in use, those included that are closed and not yet finished.
    #[inline]
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// Makes a stream; the caller bounds how many.
    #[inline]
    pub(super) fn insert(&mut self, id: u32, send: SendWindow, receive: ReceiveWindow) -> StreamKey {
        let mut stream = Stream::new(id, send, receive);
        self.len += 1;
        let index = self.free;
        let generation = match self.slots.get_mut(index as usize) {
            Some(slot) => {
                self.free = slot.next_free;
                slot.generation = slot.generation.wrapping_add(1);
                stream.queue = slot.stream.queue.take();
                slot.stream = stream;
                slot.generation
            }
            None => return self.insert_new(stream),
        };
        self.index.insert(id, index);
        StreamKey { index, generation }
    }

    #[cold]
    fn insert_new(&mut self, stream: Stream) -> StreamKey {
        let index = u32::try_from(self.slots.len()).expect("concurrency is bounded by a u32");
        self.index.insert(stream.id, index);
        let generation = self.base | 1;
        if self.slots.is_empty() {
            // Many connections never have two streams at a time.
            self.slots.reserve_exact(1);
        }
        self.slots.push(Slot { generation, next_free: NONE, stream });
        StreamKey { index, generation }
    }

    #[inline]
    pub(super) fn get(&self, key: StreamKey) -> Option<&Stream> {
        match self.slots.get(key.index as usize) {
            Some(slot) if slot.generation == key.generation => Some(&slot.stream),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: StreamKey) -> Option<&mut Stream> {
        match self.slots.get_mut(key.index as usize) {
            Some(slot) if slot.generation == key.generation => Some(&mut slot.stream),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn find(&self, id: u32) -> Option<StreamKey> {
        let index = self.index.get(id)?;
        let slot = self.slots.get(index as usize)?;
        Some(StreamKey { index, generation: slot.generation })
    }

    /// Gives the slot back.
    #[inline]
    pub(super) fn remove(&mut self, key: StreamKey) {
        let Some(slot) = self.slots.get_mut(key.index as usize) else { return };
        if slot.generation != key.generation {
            return;
        }
        slot.generation = slot.generation.wrapping_add(1);
        slot.next_free = self.free;
        if let Some(queue) = &mut slot.stream.queue {
            queue.clear();
        }
        self.free = key.index;
        self.len -= 1;
        self.index.remove(slot.stream.id);
    }

    /// Every stream in use.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (StreamKey, &mut Stream)> {
        self.slots
            .iter_mut()
            .zip(0u32..)
            .filter(|(slot, _)| slot.generation & 1 == 1)
            .map(|(slot, index)| (StreamKey { index, generation: slot.generation }, &mut slot.stream))
    }

    /// Gives all memory back when no stream is in use.
    pub(super) fn shrink(&mut self) {
        if self.len > 0 || self.slots.is_empty() {
            return;
        }
        // Free slots have even generations.
        self.base = self.slots.iter().fold(self.base, |base, slot| base.max(slot.generation));
        self.slots = Vec::new();
        self.free = NONE;
        self.index = Index::default();
    }
}

/// Queue memory of a stream, made when first needed.
pub(super) fn queue_of(stream: &mut Stream) -> &mut Queue {
    stream.queue.get_or_insert_default()
}

/// Entries of the smallest index, for two streams at a time.
const SMALL_INDEX: usize = 4;

/// Open addressing with linear probing; id 0 is the empty entry.
#[derive(Debug, Default)]
struct Index {
    /// (id, slot); a power of two of them, at most half in use.
    entries: Vec<(u32, u32)>,
    len: usize,
}

impl Index {
    #[inline]
    fn mask(&self) -> usize {
        self.entries.len().wrapping_sub(1)
    }

    #[inline]
    fn home(&self, id: u32) -> usize {
        (id >> 1) as usize & self.mask()
    }

    #[inline]
    fn get(&self, id: u32) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        let mut at = self.home(id);
        loop {
            match self.entries[at] {
                (0, _) => return None,
                (found, slot) if found == id => return Some(slot),
                _ => at = (at + 1) & self.mask(),
            }
        }
    }

    #[inline]
    fn insert(&mut self, id: u32, slot: u32) {
        if (self.len + 1) * 2 > self.entries.len() {
            self.grow();
        }
        self.len += 1;
        let mut at = self.home(id);
        while self.entries[at].0 != 0 {
            at = (at + 1) & self.mask();
        }
        self.entries[at] = (id, slot);
    }

    #[inline]
    fn remove(&mut self, id: u32) {
        if self.len == 0 {
            return;
        }
        let mut at = self.home(id);
        while self.entries[at].0 != id {
            if self.entries[at].0 == 0 {
                return;
            }
            at = (at + 1) & self.mask();
        }
        self.len -= 1;
        self.entries[at] = (0, 0);
        self.close_gap(at);
    }

    /// Moves back what was pushed past the gap, so that no probe ends too early.
    #[inline]
    fn close_gap(&mut self, mut gap: usize) {
        let mask = self.mask();
        let mut at = (gap + 1) & mask;
        while self.entries[at].0 != 0 {
            let home = self.home(self.entries[at].0);
            // The entry may move when its home is not between the gap and where it stands.
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(gap) & mask {
                self.entries[gap] = self.entries[at];
                self.entries[at] = (0, 0);
                gap = at;
            }
            at = (at + 1) & mask;
        }
    }

    #[cold]
    fn grow(&mut self) {
        let size = (self.entries.len() * 2).max(SMALL_INDEX);
        let old = std::mem::replace(&mut self.entries, vec![(0, 0); size]);
        self.len = 0;
        for (id, slot) in old.into_iter().filter(|&(id, _)| id != 0) {
            self.insert(id, slot);
        }
    }
}

/// How a stream that is no longer in the store came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Both sides ended it: anything but WINDOW_UPDATE and RST_STREAM is a connection error.
    Complete,
    /// The peer reset it: what follows is a stream error.
    PeerReset,
    /// We reset it: the peer may not know yet, what follows is ignored.
    OwnReset,
    /// The peer never opened it but opened a later one.
    Skipped,
    /// Too long ago to tell: ignored.
    Forgotten,
}

/// Remembers resets and gaps among the latest streams, two bits for each; owns no memory until the first of them.
#[derive(Debug, Default)]
pub(super) struct Endings {
    /// A ring over `id >> 1`, four streams a byte.
    marks: Vec<u8>,
    /// The latest `id >> 1` that the ring covers.
    latest: u32,
}

/// Streams that the ring covers: eight times the default concurrency.
const REMEMBERED: u32 = 2048;

impl Endings {
    pub(super) fn note(&mut self, id: u32, ending: Ending) {
        let bits = match ending {
            Ending::Complete | Ending::Forgotten => return,
            Ending::PeerReset => 1,
            Ending::OwnReset => 2,
            Ending::Skipped => 3,
        };
        if self.marks.is_empty() {
            self.marks = vec![0; REMEMBERED as usize / 4];
            self.latest = id >> 1;
        }
        self.advance(id);
        if self.latest - (id >> 1) < REMEMBERED {
            self.set(id >> 1, bits);
        }
    }

    /// Notes that the ids from `first` up to `id` were never used.
    #[cold]
    pub(super) fn note_skipped(&mut self, first: u32, id: u32) {
        if self.marks.is_empty() {
            self.marks = vec![0; REMEMBERED as usize / 4];
            self.latest = first >> 1;
        }
        self.advance(id);
        let number = id >> 1;
        self.fill((first >> 1).max((number + 1).saturating_sub(REMEMBERED)), number, 3);
    }

    pub(super) fn of(&mut self, id: u32) -> Ending {
        if self.marks.is_empty() {
            return Ending::Complete;
        }
        self.advance(id);
        let number = id >> 1;
        if self.latest - number >= REMEMBERED {
            return Ending::Forgotten;
        }
        let at = number % REMEMBERED;
        match self.marks[at as usize / 4] >> (at % 4 * 2) & 3 {
            1 => Ending::PeerReset,
            2 => Ending::OwnReset,
            3 => Ending::Skipped,
            _ => Ending::Complete,
        }
    }

    /// Moves the ring so that it covers `id`, wiping what falls out.
    fn advance(&mut self, id: u32) {
        let number = id >> 1;
        if number > self.latest {
            self.fill((self.latest + 1).max((number + 1).saturating_sub(REMEMBERED)), number + 1, 0);
            self.latest = number;
        }
    }

    /// Sets the marks of `from` up to `to`, at most a whole ring, four at a time: a peer may skip as many ids as it
    /// likes with every frame.
    fn fill(&mut self, mut from: u32, to: u32, bits: u8) {
        while from < to {
            if from % 4 == 0 && to - from >= 4 {
                self.marks[(from % REMEMBERED) as usize / 4] = bits * 0b0101_0101;
                from += 4;
            } else {
                self.set(from, bits);
                from += 1;
            }
        }
    }

    fn set(&mut self, number: u32, bits: u8) {
        let at = number % REMEMBERED;
        let shift = at % 4 * 2;
        let byte = &mut self.marks[at as usize / 4];
        *byte = *byte & !(3 << shift) | bits << shift;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> Streams {
        Streams::new()
    }

    fn open(streams: &mut Streams, id: u32) -> StreamKey {
        streams.insert(id, SendWindow::new(1), ReceiveWindow::new(1))
    }

    #[test]
    fn a_removed_stream_is_not_found_and_its_key_is_stale() {
        let mut streams = store();
        let first = open(&mut streams, 1);
        streams.remove(first);
        let second = open(&mut streams, 3);
        assert_eq!(first.index, second.index);
        assert!(streams.get(first).is_none());
        assert_eq!(streams.get(second).map(|s| s.id), Some(3));
        assert_eq!(streams.find(1), None);
        assert_eq!(streams.find(3), Some(second));
        streams.remove(first);
        assert_eq!(streams.len(), 1);
    }

    #[test]
    fn keys_from_before_shrinking_stay_stale() {
        let mut streams = store();
        let keys: Vec<StreamKey> = (0..5).map(|n| open(&mut streams, 2 * n + 1)).collect();
        for key in &keys {
            streams.remove(*key);
        }
        streams.shrink();
        assert_eq!(streams.slots.capacity(), 0);
        for n in 5..10 {
            let key = open(&mut streams, 2 * n + 1);
            assert!(!keys.contains(&key));
            assert_eq!(streams.find(2 * n + 1), Some(key));
        }
        assert!(keys.iter().all(|key| streams.get(*key).is_none()));
    }

    #[test]
    fn the_index_agrees_with_a_map_through_churn_with_long_lived_streams() {
        let mut streams = store();
        let mut live = std::collections::BTreeMap::new();
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for step in 0..20_000u32 {
            let id = step * 2 + 1;
            live.insert(id, open(&mut streams, id));
            while live.len() > 100 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // Stream 1 lives on for ever.
                let at = 1 + (seed >> 33) as usize % (live.len() - 1);
                let (&id, &key) = live.iter().nth(at).unwrap();
                streams.remove(key);
                live.remove(&id);
            }
            if step % 1_000 == 0 {
                for id in (1..step * 2 + 20).step_by(2) {
                    assert_eq!(streams.find(id), live.get(&id).copied(), "step {step}, id {id}");
                }
            }
        }
        assert_eq!(streams.iter_mut().count(), 100);
    }

    #[test]
    fn resets_are_remembered_for_a_while() {
        let mut endings = Endings::default();
        assert_eq!(endings.of(1), Ending::Complete);
        endings.note(5, Ending::OwnReset);
        endings.note(7, Ending::PeerReset);
        endings.note(3, Ending::PeerReset);
        assert_eq!(endings.of(3), Ending::PeerReset);
        assert_eq!(endings.of(5), Ending::OwnReset);
        assert_eq!(endings.of(7), Ending::PeerReset);
        assert_eq!(endings.of(9), Ending::Complete);
        assert_eq!(endings.of(2 * REMEMBERED + 3), Ending::Complete);
        assert_eq!(endings.of(3), Ending::Forgotten);
        assert_eq!(endings.of(5), Ending::OwnReset);
        assert_eq!(endings.of(100 * REMEMBERED + 1), Ending::Complete);
        assert_eq!(endings.of(7), Ending::Forgotten);
    }
}
