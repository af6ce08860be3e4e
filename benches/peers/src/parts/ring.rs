//! Bounded queues with one producer and one consumer.

use std::hint::black_box;
use std::thread;

use super::{Side, best, best_by_clock, pin, relax, tell};

pub const CAPACITY: usize = 256;
const ACROSS: u64 = 200_000;

/// One end each of a queue.
pub trait Producer: Send {
    /// Tells whether there was room.
    fn push(&mut self, value: u64) -> bool;
}

pub trait Consumer {
    fn pop(&mut self) -> Option<u64>;
}

/// A push and a pop on one thread.
pub fn alone(mut producer: impl Producer, mut consumer: impl Consumer) {
    let ns = best(10_000_000, |count| {
        for value in 0..count {
            producer.push(black_box(value));
            black_box(consumer.pop());
        }
    });
    tell("ns", ns);
}

/// A value that goes from one thread to another.
pub fn across<P: Producer, C: Consumer>(queue: impl Fn() -> (P, C)) {
    let ns = best_by_clock(30, ACROSS, |count| {
        let (mut producer, mut consumer) = queue();
        thread::scope(|scope| {
            scope.spawn(move || {
                pin(Side::Last);
                let mut spins = 0;
                for value in 0..count {
                    while !producer.push(value) {
                        relax(&mut spins);
                    }
                    spins = 0;
                }
            });
            let (mut expected, mut spins) = (0, 0);
            while expected < count {
                match consumer.pop() {
                    Some(value) if value == expected => (expected, spins) = (expected + 1, 0),
                    Some(value) => panic!("{value} came instead of {expected}"),
                    None => relax(&mut spins),
                }
            }
        });
    });
    tell("ns", ns);
}
