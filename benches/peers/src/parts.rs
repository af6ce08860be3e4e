//! Parts of a runtime measured in process: a program has a list of named parts, runs the one that it is asked for, and
//! prints its figures as `NAME VALUE` lines.
//!
//! A part repeats its work and gives the best or the middle of its samples; the driver starts the programs of all
//! rivals in turn, several rounds, and keeps the best.

use std::fmt::Display;
use std::sync::OnceLock;
use std::time::Instant;

use crate::arguments::Arguments;

pub mod heads;
pub mod memory;
pub mod ring;
pub mod tasks;
pub mod timers;
pub mod wakes;

/// Samples of a part that is measured by CPU time.
pub const SAMPLES: usize = 5;

/// A part by its name.
pub type Part = (&'static str, fn(&Size));

/// How much else is there while a part is measured: tasks that sleep, timers that are pending.
pub struct Size {
    pub others: usize,
}

/// Runs the part that the command line names; `--list` prints the names.
pub fn main(parts: &[&[Part]]) {
    let arguments = Arguments::read(&["part", "others"], &["list"]);
    let mut all = parts.iter().copied().flatten();
    if arguments.flag("list") {
        all.for_each(|(name, _)| println!("{name}"));
        return;
    }
    let wanted: String = arguments.value("part", String::new());
    let Some((_, run)) = all.find(|(name, _)| *name == wanted) else {
        eprintln!("no part `{wanted}`; --list names them");
        std::process::exit(2);
    };
    run(&Size { others: arguments.value("others", 0) });
}

/// Prints one figure.
pub fn tell(name: &str, value: impl Display) {
    println!("{name} {value}");
}

/// The CPUs that the process may use, asked for before any thread is pinned: the main thread's set is the process's
/// only until then, and so is that of a thread which a pinned one has started.
static ALL: OnceLock<libc::cpu_set_t> = OnceLock::new();

/// Pins this thread to the first or to the last of the CPUs that the process may use.
pub fn pin(side: Side) {
    let size = size_of::<libc::cpu_set_t>();
    let all = ALL.get_or_init(|| {
        // SAFETY: an all-zero set is an empty one.
        let mut all: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: `all` is writable and `size` bytes long.
        unsafe { libc::sched_getaffinity(0, size, &raw mut all) };
        all
    });
    // SAFETY: the index is below CPU_SETSIZE.
    let mut cpus = (0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, all) });
    let chosen = match side {
        Side::First => cpus.next(),
        Side::Last => cpus.last(),
    };
    // SAFETY: an all-zero set is an empty one.
    let mut one: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the index came out of such a set.
    unsafe { libc::CPU_SET(chosen.unwrap_or(0), &mut one) };
    // SAFETY: `one` is readable and `size` bytes long.
    unsafe { libc::sched_setaffinity(0, size, &raw const one) };
}

/// One of two threads that work together.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    First,
    Last,
}

/// Waits a moment; lets others run when it has done so for long.
pub fn relax(spins: &mut u32) {
    *spins += 1;
    if *spins > 2_000 { std::thread::yield_now() } else { std::hint::spin_loop() }
}

/// Nanoseconds that this thread has been on a CPU.
pub fn thread_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Nanoseconds that all threads of the process have been on a CPU.
pub fn process_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable for the length of the call.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// CPU nanoseconds of one of `count` operations: the best of the samples.
pub fn best(count: u64, mut work: impl FnMut(u64)) -> f64 {
    work(count / 10);
    let sample = |_| {
        let before = thread_cpu_ns();
        work(count);
        (thread_cpu_ns() - before) as f64 / count as f64
    };
    (0..SAMPLES).map(sample).fold(f64::INFINITY, f64::min)
}

/// Tells what [`best`] finds.
pub fn tell_best(count: u64, work: impl FnMut(u64)) {
    tell("ns", best(count, work));
}

/// As [`best`], by what all threads of the process spend.
pub fn best_of_process(count: u64, mut work: impl FnMut(u64)) -> f64 {
    work(count / 10);
    let sample = |_| {
        let before = process_cpu_ns();
        work(count);
        (process_cpu_ns() - before) as f64 / count as f64
    };
    (0..SAMPLES).map(sample).fold(f64::INFINITY, f64::min)
}

/// Nanoseconds of one of `count` operations by the clock, where two threads work: the best of `samples`.
pub fn best_by_clock(samples: usize, count: u64, mut work: impl FnMut(u64)) -> f64 {
    let sample = |_| {
        let started = Instant::now();
        work(count);
        started.elapsed().as_nanos() as f64 / count as f64
    };
    (0..samples).map(sample).fold(f64::INFINITY, f64::min)
}

/// The middle one.
pub fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
