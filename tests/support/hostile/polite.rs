//! A client that asks for a small page again and again and measures how long each answer takes.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use super::foe::Foe;
use super::victim::Victim;
use crate::h2_wire::get;

/// The pause between two requests.
const PAUSE: Duration = Duration::from_millis(1);

pub(crate) struct Polite<'a> {
    foe: Foe,
    next: u32,
    victim: &'a Victim,
}

/// How long an answer took, and how long the worker was at work meanwhile. A loaded machine may keep the worker waiting
/// for a processor, which says nothing about it: the shorter of the two counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    pub(crate) time: Duration,
    pub(crate) work: Option<Duration>,
}

impl Took {
    fn counts(self) -> Duration {
        self.work.map_or(self.time, |work| work.min(self.time))
    }
}

impl<'a> Polite<'a> {
    pub(crate) fn connect(victim: &'a Victim) -> Polite<'a> {
        let far = Instant::now() + Duration::from_secs(86_400);
        let mut foe = Foe::connect(victim.address, far);
        foe.greet(&[]).expect("a server that goes on");
        Polite { foe, next: 1, victim }
    }

    fn ask(&mut self) -> Took {
        let (started, before) = (Instant::now(), self.victim.processor_time());
        let answered = self.foe.seen.content;
        self.foe.send(&get(self.next)).expect("a server that goes on");
        self.next += 2;
        while self.foe.seen.content == answered {
            self.foe.hear();
            assert!(!self.foe.seen.ended, "the polite client was ended too: {:?}", self.foe.seen);
            assert!(started.elapsed() < Duration::from_secs(20), "the polite client gets no answer");
        }
        let time = started.elapsed();
        let work = self.victim.processor_time().zip(before).map(|(now, then)| now - then);
        Took { time, work }
    }

    /// How often it has asked.
    pub(crate) fn asked(&self) -> u64 {
        u64::from(self.next / 2)
    }

    /// Asks this many times.
    pub(crate) fn ask_often(&mut self, times: usize) -> Vec<Took> {
        let mut all = Vec::with_capacity(times);
        for _ in 0..times {
            all.push(self.ask());
            thread::sleep(PAUSE);
        }
        all
    }

    /// Asks until it is told to stop.
    pub(crate) fn ask_until(&mut self, stop: &AtomicBool) -> Vec<Took> {
        let mut all = Vec::new();
        while !stop.load(Relaxed) {
            all.extend(self.ask_often(1));
        }
        all
    }
}

/// The time that one in a hundred exceeds.
pub(crate) fn p99(times: &[Took]) -> Duration {
    let mut sorted: Vec<Duration> = times.iter().map(|took| took.counts()).collect();
    sorted.sort_unstable();
    sorted[(sorted.len() * 99 / 100).min(sorted.len() - 1)]
}
