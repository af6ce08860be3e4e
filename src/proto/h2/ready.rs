//! The streams that have content and window, in the order in which they may go out (RFC 9218 §10).
//!
//! The most urgent level that has anybody is served alone. Within a level, streams that are not incremental are served one
//! by one in the order of their ids, incremental ones in turn, frame by frame; where a level has both kinds, one frame goes
//! to either kind alternately. A connection on which nothing was said about priorities is one ring and owns no levels.
//!
//! Finding the next one is a bit scan and the front of a queue; an ordered stream goes back to where it was, which is the
//! front. Only a stream that comes in among ordered ones, or leaves out of turn, costs a search.

use std::collections::VecDeque;

use super::priority::Priority;
use super::stream::StreamKey;

/// The level of the ring: urgency 3 (RFC 9218 §4.1).
const RING: usize = Priority::UNSAID.urgency() as usize;
const LEVELS: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Ready {
    /// Urgency 3, in turn: also those of which nothing was said.
    ring: VecDeque<StreamKey>,
    ranks: Option<Box<Ranks>>,
}

#[derive(Debug, Default)]
struct Ranks {
    levels: [Level; LEVELS],
    /// A bit for each level that has anybody, the ring apart.
    occupied: u8,
    /// A bit for the most urgent level that was told of room since the output was last filled.
    told: u8,
    /// Priorities of streams that are not open yet.
    early: Vec<(u32, Priority)>,
}

#[derive(Debug, Default)]
struct Level {
    /// By id.
    ordered: VecDeque<(u32, StreamKey)>,
    turns: VecDeque<StreamKey>,
    /// The last frame of this level was an ordered stream's.
    ordered_last: bool,
}

impl Ready {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.ring.is_empty() && self.ranks.as_ref().is_none_or(|ranks| ranks.occupied == 0)
    }

    /// Adds a stream, which is not here yet.
    #[inline]
    pub(super) fn push(&mut self, key: StreamKey, id: u32, priority: Priority) {
        if priority == Priority::UNSAID {
            self.ring.push_back(key);
        } else {
            self.ranks.get_or_insert_default().push(key, id, priority);
        }
    }

    /// Takes the stream whose turn it is.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<StreamKey> {
        match &mut self.ranks {
            None => self.ring.pop_front(),
            Some(ranks) => ranks.pop(&mut self.ring),
        }
    }

    /// Takes a stream out of turn, which was added with this id and priority.
    #[cold]
    pub(super) fn remove(&mut self, key: StreamKey, id: u32, priority: Priority) {
        if priority == Priority::UNSAID {
            self.ring.retain(|&other| other != key);
        } else if let Some(ranks) = &mut self.ranks {
            ranks.remove(key, id, priority);
        }
    }

    /// Whether content of this priority may go out without waiting: nobody more urgent waits.
    #[inline]
    pub(super) fn admits(&self, priority: Priority) -> bool {
        self.ranks.as_ref().is_none_or(|ranks| {
            let above = (1u8 << priority.urgency()) - 1;
            ranks.waiting(&self.ring) & above == 0
        })
    }

    /// The output is being filled anew.
    #[inline]
    pub(super) fn begin_turn(&mut self) {
        if let Some(ranks) = &mut self.ranks {
            ranks.told = 0;
        }
    }

    /// A stream was told that it has room: its application should have the chance to fill it.
    #[inline]
    pub(super) fn told(&mut self, priority: Priority) {
        if let Some(ranks) = &mut self.ranks {
            ranks.told |= 1 << priority.urgency();
        }
    }

    /// Whether the next stream should let one that was told of room, and is more urgent, go first.
    #[inline]
    pub(super) fn yields(&self) -> bool {
        self.ranks
            .as_ref()
            .is_some_and(|ranks| ranks.told.trailing_zeros() < ranks.waiting(&self.ring).trailing_zeros())
    }

    /// How many streams have a priority and are not open yet, this one apart.
    pub(super) fn early(&self, id: u32) -> usize {
        self.ranks.as_ref().map_or(0, |ranks| ranks.early.iter().filter(|early| early.0 != id).count())
    }

    /// Keeps the priority of a stream that is not open yet; the caller bounds how many.
    pub(super) fn note_early(&mut self, id: u32, priority: Priority) {
        let early = &mut self.ranks.get_or_insert_default().early;
        match early.iter_mut().find(|early| early.0 == id) {
            Some(known) => known.1 = priority,
            None => early.push((id, priority)),
        }
    }

    /// A stream opens: what was said of it before. Those below it will not open any more.
    #[inline]
    pub(super) fn take_early(&mut self, id: u32) -> Option<Priority> {
        let ranks = self.ranks.as_mut().filter(|ranks| !ranks.early.is_empty())?;
        let said = ranks.early.iter().find(|early| early.0 == id).map(|early| early.1);
        ranks.early.retain(|early| early.0 > id);
        said
    }

    /// Gives memory back while nobody waits.
    pub(super) fn shrink(&mut self) {
        if self.ring.is_empty() {
            self.ring = VecDeque::new();
        }
        if self.ranks.as_ref().is_some_and(|ranks| ranks.occupied == 0 && ranks.early.is_empty()) {
            self.ranks = None;
        }
    }
}

impl Ranks {
    /// A bit for each level that has anybody.
    #[inline]
    fn waiting(&self, ring: &VecDeque<StreamKey>) -> u8 {
        self.occupied | u8::from(!ring.is_empty()) << RING
    }

    fn push(&mut self, key: StreamKey, id: u32, priority: Priority) {
        let urgency = usize::from(priority.urgency());
        let level = &mut self.levels[urgency];
        if priority.is_incremental() {
            level.turns.push_back(key);
        } else {
            let at = level.ordered.partition_point(|&(other, _)| other < id);
            level.ordered.insert(at, (id, key));
        }
        self.occupied |= 1 << urgency;
    }

    fn pop(&mut self, ring: &mut VecDeque<StreamKey>) -> Option<StreamKey> {
        let urgency = self.waiting(ring).trailing_zeros() as usize;
        let level = self.levels.get_mut(urgency)?;
        let turns = if urgency == RING { ring } else { &mut level.turns };
        let ordered = turns.is_empty() || (!level.ordered_last && !level.ordered.is_empty());
        level.ordered_last = ordered;
        let key = if ordered { level.ordered.pop_front().map(|(_, key)| key) } else { turns.pop_front() };
        self.note_level(urgency);
        key
    }

    fn remove(&mut self, key: StreamKey, id: u32, priority: Priority) {
        let urgency = usize::from(priority.urgency());
        let level = &mut self.levels[urgency];
        if priority.is_incremental() {
            level.turns.retain(|&other| other != key);
        } else if let Ok(at) = level.ordered.binary_search_by_key(&id, |&(other, _)| other) {
            level.ordered.remove(at);
        }
        self.note_level(urgency);
    }

    /// Clears the bit of a level that has become empty.
    fn note_level(&mut self, urgency: usize) {
        let level = &self.levels[urgency];
        if level.ordered.is_empty() && level.turns.is_empty() {
            self.occupied &= !(1 << urgency);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(index: u32) -> StreamKey {
        StreamKey::from_bits(1 << 32 | u64::from(index))
    }

    /// Serves until nobody is left; `frames` of each.
    fn order(ready: &mut Ready, list: &[(u32, Priority)], frames: usize) -> Vec<u32> {
        for &(id, priority) in list {
            ready.push(key(id), id, priority);
        }
        let mut left: Vec<usize> = vec![frames; 100];
        let mut served = Vec::new();
        while let Some(next) = ready.pop() {
            let id = next.index() as u32;
            served.push(id);
            left[next.index()] -= 1;
            if left[next.index()] > 0 {
                let priority = list.iter().find(|it| it.0 == id).map(|it| it.1);
                ready.push(next, id, priority.unwrap());
            }
        }
        assert!(ready.is_empty());
        served
    }

    /// RFC 9218 §10.
    #[test]
    fn urgency_first_then_ids_in_order_and_incremental_ones_in_turn() {
        let mut ready = Ready::default();
        let list = [
            (9, Priority::new(5, false)),
            (1, Priority::new(5, false)),
            (3, Priority::new(0, true)),
            (5, Priority::new(0, true)),
            (7, Priority::UNSAID),
        ];
        assert_eq!(order(&mut ready, &list, 2), [3, 5, 3, 5, 7, 7, 1, 1, 9, 9]);
    }

    #[test]
    fn both_kinds_of_one_level_share_it() {
        let mut ready = Ready::default();
        let usual = Priority::default();
        let list = [(1, usual), (3, usual), (5, Priority::UNSAID), (7, Priority::UNSAID)];
        assert_eq!(order(&mut ready, &list, 2), [1, 5, 1, 7, 3, 5, 3, 7]);
    }

    #[test]
    fn whoever_is_removed_is_not_served() {
        for priority in [Priority::UNSAID, Priority::default(), Priority::new(1, true)] {
            let mut ready = Ready::default();
            for id in [1, 3, 5] {
                ready.push(key(id), id, priority);
            }
            ready.remove(key(3), 3, priority);
            assert_eq!([ready.pop(), ready.pop(), ready.pop()], [Some(key(1)), Some(key(5)), None]);
            assert!(ready.is_empty());
        }
    }

    #[test]
    fn early_priorities_are_kept_until_their_stream_or_a_later_one_opens() {
        let mut ready = Ready::default();
        for id in [3, 5, 9, 5] {
            ready.note_early(id, Priority::new(id as u8 % 8, false));
        }
        assert_eq!(ready.early(11), 3);
        assert_eq!(ready.early(5), 2);
        assert_eq!(ready.take_early(5), Some(Priority::new(5, false)));
        assert_eq!(ready.take_early(3), None);
        assert_eq!(ready.early(0), 1);
    }
}
