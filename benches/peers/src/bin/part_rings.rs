//! Queues of other crates: `rtrb` and crossbeam's `ArrayQueue`, as parts `ring`, `ring-across` of each.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use wakering_peers::parts::Part;
use wakering_peers::parts::ring::{CAPACITY, Consumer, Producer, across, alone};

struct RtrbPush(rtrb::Producer<u64>);

impl Producer for RtrbPush {
    fn push(&mut self, value: u64) -> bool {
        self.0.push(value).is_ok()
    }
}

struct RtrbPop(rtrb::Consumer<u64>);

impl Consumer for RtrbPop {
    fn pop(&mut self) -> Option<u64> {
        self.0.pop().ok()
    }
}

fn rtrb_queue() -> (RtrbPush, RtrbPop) {
    let (producer, consumer) = rtrb::RingBuffer::new(CAPACITY);
    (RtrbPush(producer), RtrbPop(consumer))
}

struct Shared(Arc<ArrayQueue<u64>>);

impl Producer for Shared {
    fn push(&mut self, value: u64) -> bool {
        self.0.push(value).is_ok()
    }
}

impl Consumer for Shared {
    fn pop(&mut self) -> Option<u64> {
        self.0.pop()
    }
}

fn array_queue() -> (Shared, Shared) {
    let queue = Arc::new(ArrayQueue::new(CAPACITY));
    (Shared(queue.clone()), Shared(queue))
}

const PARTS: &[Part] = &[
    ("rtrb:ring", |_| {
        let (producer, consumer) = rtrb_queue();
        alone(producer, consumer);
    }),
    ("rtrb:ring-across", |_| across(rtrb_queue)),
    ("crossbeam:ring", |_| {
        let (producer, consumer) = array_queue();
        alone(producer, consumer);
    }),
    ("crossbeam:ring-across", |_| across(array_queue)),
];

fn main() {
    wakering_peers::parts::main(&[PARTS]);
}
