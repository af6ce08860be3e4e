//! The fuzz target `http1` as a bounded test: tapes of random bytes from a fixed seed.
//!
//! `WAKERING_FUZZ_SEED` replays one tape (its seed is printed when it fails), `WAKERING_FUZZ_CASES` runs more of them.

#![cfg(not(loom))]

#[path = "support/generators/http1.rs"]
mod http1;
#[path = "support/generators/tape.rs"]
#[expect(dead_code, reason = "a part of it is for other targets")]
mod tape;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

const SEED: u64 = 0x9112_2022;
const CASES: u64 = 120;

/// Splitmix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    let digits = text.strip_prefix("0x");
    digits.map_or_else(|| text.parse(), |digits| u64::from_str_radix(digits, 16)).ok()
}

fn run(seed: u64) {
    let mut state = seed;
    let length = 8 + next(&mut state) % 200;
    let tape: Vec<u8> = (0..length).map(|_| (next(&mut state) >> 32) as u8).collect();
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| http1::run(&tape))) {
        eprintln!("replay with WAKERING_FUZZ_SEED={seed:#x}");
        resume_unwind(panic);
    }
}

#[test]
fn octets_in_pieces_mean_what_they_mean_in_one() {
    if let Some(seed) = number("WAKERING_FUZZ_SEED") {
        return run(seed);
    }
    let mut state = SEED;
    for _ in 0..number("WAKERING_FUZZ_CASES").unwrap_or(CASES) {
        run(next(&mut state));
    }
}
