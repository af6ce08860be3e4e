//! The wheel against its own words, and against a sorted map.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1000 * MILLISECOND;

fn expire<T>(wheel: &mut Wheel<T>, now: u64) -> Vec<T> {
    let mut fired = Vec::new();
    assert!(!wheel.expire(now, &mut |payload| fired.push(payload), usize::MAX));
    fired
}

/// A small generator, so that the loops below are the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[test]
fn a_timer_fires_at_its_deadline_and_not_a_nanosecond_earlier() {
    for deadline in [0, 1, 63, 64, 4095, 4096, 64_000, 65_536, SECOND, u64::MAX - 1] {
        let mut wheel = Wheel::new();
        wheel.insert(deadline, deadline);
        wheel.insert(NEVER, NEVER);
        if deadline > 0 {
            assert_eq!(expire(&mut wheel, deadline - 1), [0; 0], "{deadline}");
        }
        assert_eq!(wheel.next_deadline(), Some(deadline));
        assert_eq!(expire(&mut wheel, deadline), [deadline]);
        assert_eq!((wheel.len(), wheel.next_deadline()), (1, None));
    }
}

#[test]
fn timers_due_together_fire_by_deadline_and_then_by_arming() {
    let mut wheel = Wheel::new();
    let deadlines = [500, 20, 500, 3 * SECOND, 20, 0, 500];
    for (arming, deadline) in deadlines.into_iter().enumerate() {
        wheel.insert(deadline, (deadline, arming));
    }
    let mut expected: Vec<(u64, usize)> = deadlines.into_iter().zip(0..).collect();
    expected.sort_unstable();
    assert_eq!(expire(&mut wheel, 5 * SECOND), expected);
}

#[test]
fn a_deadline_of_u64_max_never_fires_and_can_be_cancelled() {
    let mut wheel = Wheel::new();
    let key = wheel.insert(NEVER, "never");
    assert_eq!(wheel.next_deadline(), None);
    assert!(expire(&mut wheel, u64::MAX).is_empty());
    assert!(wheel.reset(key, 5) && wheel.reset(key, NEVER));
    assert_eq!(wheel.next_deadline(), None);
    assert_eq!(wheel.cancel(key), Some("never"));
    assert!(wheel.is_empty());
}

#[test]
fn timers_on_both_sides_of_every_digit_boundary_keep_their_order() {
    let mut wheel = Wheel::new();
    let mut expected = Vec::new();
    for bit in (0..64).rev() {
        for deadline in [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + 1] {
            // More than are sorted in place, so that rings are made on the way.
            for _ in 0..40 {
                wheel.insert(deadline, deadline);
                expected.push(deadline);
            }
        }
    }
    expected.sort_unstable();
    let mut fired = Vec::new();
    while let Some(now) = wheel.next_deadline() {
        fired.extend(expire(&mut wheel, now));
    }
    assert_eq!(fired, expected);
    assert_eq!(wheel.rings.in_use(), 0);
}

#[test]
fn the_next_deadline_is_the_true_minimum_after_the_minimum_is_cancelled() {
    let mut wheel = Wheel::new();
    let mut random = Random(0x5eed_0001);
    let mut live: Vec<(u64, TimerKey)> = (0..20_000)
        .map(|_| {
            let deadline = random.below(60 * SECOND);
            (deadline, wheel.insert(deadline, ()))
        })
        .collect();
    live.sort_unstable_by_key(|(deadline, key)| (std::cmp::Reverse(*deadline), key.to_bits()));
    while let Some((deadline, key)) = live.pop() {
        assert_eq!(wheel.next_deadline(), Some(deadline));
        assert_eq!(wheel.cancel(key), Some(()));
    }
    assert_eq!((wheel.next_deadline(), wheel.len(), wheel.rings.in_use()), (None, 0, 0));
}

#[test]
fn a_million_timers_of_one_deadline_fire_in_bounded_turns_and_in_order() {
    let mut wheel = Wheel::new();
    for arming in 0..1_000_000_u32 {
        wheel.insert(60 * SECOND, arming);
    }
    let earlier = wheel.insert(30 * SECOND, u32::MAX);
    assert_eq!(wheel.cancel(earlier), Some(u32::MAX));
    let mut next = 0;
    loop {
        let before = next;
        let more = wheel.expire(
            60 * SECOND,
            &mut |arming| {
                assert_eq!(arming, next);
                next += 1;
            },
            1000,
        );
        assert_eq!(next - before, 1000);
        if !more {
            break;
        }
    }
    assert_eq!((next, wheel.len()), (1_000_000, 0));
}

#[test]
fn a_key_is_stale_after_firing_after_cancelling_and_in_its_slots_next_life() {
    let mut wheel = Wheel::new();
    let fired = wheel.insert(1, 'a');
    assert_eq!(expire(&mut wheel, 1), ['a']);
    let reused = wheel.insert(2, 'b');
    assert_eq!(fired.index(), reused.index());
    assert_eq!((wheel.cancel(fired), wheel.reset(fired, 9), wheel.get_mut(fired)), (None, false, None));
    assert_eq!(wheel.cancel(reused), Some('b'));
    assert_eq!(wheel.cancel(reused), None);
}

#[test]
fn a_reset_moves_a_timer_both_ways_and_counts_as_armed_anew() {
    let mut wheel = Wheel::new();
    let key = wheel.insert(100, 'a');
    wheel.insert(50, 'b');
    assert!(wheel.reset(key, 10));
    assert_eq!(wheel.next_deadline(), Some(10));
    assert!(wheel.reset(key, 50));
    assert_eq!(wheel.next_deadline(), Some(50));
    assert_eq!(expire(&mut wheel, 50), ['b', 'a']);
}

#[test]
fn a_payload_can_be_replaced_without_touching_the_timer() {
    let mut wheel = Wheel::new();
    let key = wheel.insert(7, 'a');
    *wheel.get_mut(key).expect("it is armed") = 'b';
    assert_eq!(expire(&mut wheel, 7), ['b']);
}

#[test]
fn rings_and_entries_are_reused_so_that_a_steady_load_allocates_nothing() {
    let mut wheel = Wheel::new();
    let mut random = Random(0x5eed_0002);
    let mut sizes = Vec::new();
    for round in 0..40_u64 {
        let start = round * 100 * SECOND;
        let keys: Vec<TimerKey> =
            (0..10_000).map(|_| wheel.insert(start + random.below(100 * SECOND), ())).collect();
        for key in keys.iter().step_by(2) {
            wheel.cancel(*key);
        }
        while wheel.next_deadline().is_some_and(|next| expire(&mut wheel, next).len() < usize::MAX) {}
        assert_eq!((wheel.len(), wheel.rings.in_use()), (0, 0));
        sizes.push((wheel.timers.capacity(), wheel.rings.made()));
    }
    let (timers, rings) = sizes[sizes.len() / 2];
    assert!(sizes[20..].iter().all(|size| *size == (timers, rings)), "{sizes:?}");
}

#[test]
fn a_far_timer_does_not_make_the_way_to_the_near_ones_longer_for_ever() {
    let mut wheel = Wheel::new();
    let far = wheel.insert(400 * 86_400 * SECOND, 0);
    for n in 0..5000 {
        wheel.insert(n * 50 * MILLISECOND, 0);
    }
    assert!(wheel.rings.in_use() > 0);
    wheel.cancel(far);
    expire(&mut wheel, 500 * SECOND);
    assert_eq!(wheel.rings.in_use(), 0);
}

#[derive(Clone, Debug)]
enum Act {
    Insert(u64),
    Cancel(usize),
    Reset(usize, u64),
    Expire { max: usize },
    Pass(u64),
}

/// Distances that are near, equal, at a power of two, or anywhere.
fn distance() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..200_u64,
        4 => (0..8_u64).prop_map(|n| n * 30 * MILLISECOND),
        2 => (0..64_u32, -1..=1_i64).prop_map(|(bit, off)| (1_u64 << bit).wrapping_add_signed(off)),
        2 => 0..SECOND,
        1 => any::<u64>(),
        1 => Just(NEVER),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => distance().prop_map(Act::Insert),
        3 => any::<usize>().prop_map(Act::Cancel),
        2 => (any::<usize>(), distance()).prop_map(|(at, by)| Act::Reset(at, by)),
        2 => prop_oneof![Just(usize::MAX), 0..20_usize].prop_map(|max| Act::Expire { max }),
        1 => distance().prop_map(Act::Pass),
    ]
}

/// The wheel's word, kept in a sorted map. (A failing case is printed by proptest with its seed.)
#[derive(Default)]
struct Model {
    now: u64,
    armings: u64,
    pending: BTreeMap<(u64, u64), u32>,
    keys: HashMap<u32, ((u64, u64), TimerKey)>,
}

impl Model {
    fn arming(&mut self, distance: u64) -> (u64, u64) {
        self.armings += 1;
        (self.now.saturating_add(distance), self.armings)
    }

    fn pick(&self, at: usize) -> Option<u32> {
        let mut ids: Vec<u32> = self.keys.keys().copied().collect();
        ids.sort_unstable();
        if ids.is_empty() { None } else { Some(ids[at % ids.len()]) }
    }

    fn due(&self) -> Option<((u64, u64), u32)> {
        self.pending
            .iter()
            .next()
            .map(|(at, id)| (*at, *id))
            .filter(|(at, _)| at.0 <= self.now && at.0 != NEVER)
    }

    fn next_deadline(&self) -> Option<u64> {
        self.pending.keys().next().map(|at| at.0).filter(|deadline| *deadline != NEVER)
    }

    fn act(&mut self, wheel: &mut Wheel<u32>, act: Act) {
        match act {
            Act::Insert(distance) => {
                let at = self.arming(distance);
                let id = u32::try_from(at.1).expect("few armings");
                let key = wheel.insert(at.0, id);
                self.pending.insert(at, id);
                self.keys.insert(id, (at, key));
            }
            Act::Cancel(at) => {
                let Some(id) = self.pick(at) else { return };
                let (at, key) = self.keys.remove(&id).expect("it was picked");
                self.pending.remove(&at);
                assert_eq!(wheel.cancel(key), Some(id));
                assert_eq!(wheel.cancel(key), None);
            }
            Act::Reset(at, distance) => {
                let Some(id) = self.pick(at) else { return };
                let new = self.arming(distance);
                let entry = self.keys.get_mut(&id).expect("it was picked");
                self.pending.remove(&entry.0);
                entry.0 = new;
                self.pending.insert(new, id);
                assert!(wheel.reset(entry.1, new.0));
            }
            Act::Expire { max } => {
                let mut fired = Vec::new();
                let more = wheel.expire(self.now, &mut |id| fired.push(id), max);
                for id in &fired {
                    let (at, expected) = self.due().expect("nothing fires early");
                    assert_eq!(*id, expected);
                    self.pending.remove(&at);
                    self.keys.remove(id);
                }
                assert_eq!(more, self.due().is_some());
                assert!(fired.len() == max || !more);
            }
            Act::Pass(distance) => self.now = self.now.saturating_add(distance),
        }
    }
}

fn check(acts: Vec<Act>, ask_always: bool) {
    let (mut wheel, mut model) = (Wheel::new(), Model::default());
    let last = acts.len();
    for (number, act) in acts.into_iter().enumerate() {
        model.act(&mut wheel, act);
        if ask_always || number + 1 == last {
            assert_eq!(wheel.next_deadline(), model.next_deadline());
        }
        assert_eq!(wheel.len(), model.pending.len());
    }
    while let Some(next) = model.next_deadline() {
        model.now = model.now.max(next);
        model.act(&mut wheel, Act::Expire { max: usize::MAX });
        assert_eq!(wheel.next_deadline(), model.next_deadline());
    }
    assert_eq!(wheel.rings.in_use(), 0);
}

proptest! {
    #[test]
    fn it_agrees_with_a_sorted_map(acts in prop::collection::vec(act(), 0..600), ask_always in any::<bool>()) {
        check(acts, ask_always);
    }
}

#[test]
fn it_agrees_with_a_sorted_map_when_lists_grow_past_their_bound() {
    let mut random = Random(0x5eed_0003);
    let mut acts = Vec::new();
    for _ in 0..30_000 {
        acts.push(match random.below(100) {
            0..60 => Act::Insert(random.below(20 * SECOND)),
            60..80 => Act::Insert(10 * SECOND),
            80..98 => Act::Insert(SECOND + random.below(1000)),
            98 => Act::Pass(random.below(20 * MILLISECOND)),
            _ => Act::Expire { max: random.below(500) as usize },
        });
    }
    check(acts, false);
}
