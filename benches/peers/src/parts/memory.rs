//! Memory of what sleeps: bytes that the allocator handed out and did not get back.

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use super::tasks::{Runtime, Sockets, Timers, sleepers};
use super::timers::armed;
use super::{Part, Size, tell};

const MANY: usize = 100_000;
const CONNECTIONS: usize = 4_000;
const FAR: Duration = Duration::from_secs(3600);

static COUNTING: AtomicBool = AtomicBool::new(false);
static LIVE: AtomicI64 = AtomicI64::new(0);

/// The system's allocator, which counts while a part wants to know.
pub struct Counting;

/// What glibc takes for a block: a head of eight bytes, and a multiple of sixteen.
fn block(layout: Layout) -> i64 {
    (layout.size() + 8).next_multiple_of(16).max(32) as i64
}

// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTING.load(Ordering::Relaxed) {
            LIVE.fetch_add(block(layout), Ordering::Relaxed);
        }
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if COUNTING.load(Ordering::Relaxed) {
            LIVE.fetch_add(block(layout), Ordering::Relaxed);
        }
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if COUNTING.load(Ordering::Relaxed) {
            let grown = Layout::from_size_align(size, layout.align()).map_or(0, block);
            LIVE.fetch_add(grown - block(layout), Ordering::Relaxed);
        }
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if COUNTING.load(Ordering::Relaxed) {
            LIVE.fetch_sub(block(layout), Ordering::Relaxed);
        }
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The parts of every runtime with timers and sockets.
pub fn parts<R: Timers + Sockets>() -> [Part; 4] {
    [
        ("memory-task", tasks::<R>),
        ("memory-sleeping-task", sleeping_tasks::<R>),
        ("memory-timer", timers::<R>),
        ("memory-connection", connections::<R>),
    ]
}

/// Tells what is taken for each of `count` things.
async fn count(count: usize, work: impl AsyncFnOnce()) {
    COUNTING.store(true, Ordering::SeqCst);
    work().await;
    let taken = LIVE.load(Ordering::SeqCst);
    COUNTING.store(false, Ordering::SeqCst);
    tell("bytes", taken as f64 / count as f64);
}

/// A task that waits for nothing.
fn tasks<R: Runtime>(_: &Size) {
    R::block_on(count(MANY, async || sleepers::<R>(MANY).await));
}

/// A task that sleeps.
fn sleeping_tasks<R: Timers>(_: &Size) {
    R::block_on(count(MANY, async || {
        (0..MANY).for_each(|_| R::forget(async { R::sleep(FAR).await }));
        R::yield_now().await;
    }));
    end_at_once();
}

/// A timer in a box, without a task.
fn timers<R: Timers>(_: &Size) {
    R::block_on(async {
        let mut all = Vec::with_capacity(MANY);
        count(MANY, async || {
            for _ in 0..MANY {
                all.push(armed::<R>(FAR).await);
            }
        })
        .await;
        end_at_once();
    });
}

/// A task that waits for a connection to become readable.
fn connections<R: Sockets>(_: &Size) {
    R::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let mut far = Vec::with_capacity(CONNECTIONS);
        let mut near = Vec::with_capacity(CONNECTIONS);
        for _ in 0..CONNECTIONS {
            far.push(TcpStream::connect(address).expect("descriptors are free"));
            let stream = listener.accept().expect("descriptors are free").0;
            stream.set_nonblocking(true).expect("a socket can be made non-blocking");
            near.push(stream);
        }
        count(CONNECTIONS, async || {
            near.drain(..).for_each(|stream| R::forget(R::hold(stream)));
            R::yield_now().await;
        })
        .await;
        end_at_once();
    });
}

/// To put so many things away is no part of the measurement.
fn end_at_once() {
    std::process::exit(0);
}
