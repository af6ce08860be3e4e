//! The fuzz target `message` as a bounded test: the committed seeds, and tapes of random bytes from a fixed seed.
//!
//! `WAKERING_FUZZ_SEED` replays one tape (its seed is printed when it fails), `WAKERING_FUZZ_CASES` runs more of them.
#![cfg(feature = "message")]
#![expect(clippy::expect_used, reason = "tests may expect")]

#[path = "support/generators/message.rs"]
mod message;
#[path = "support/generators/tape.rs"]
mod tape;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::{env, fs};

/// Splitmix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn tape_of(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let length = next(&mut state) % (1 + next(&mut state) % 2_000);
    (0..length).map(|_| (next(&mut state) >> 32) as u8).collect()
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    let digits = text.strip_prefix("0x");
    digits.map_or_else(|| text.parse(), |digits| u64::from_str_radix(digits, 16)).ok()
}

#[test]
fn no_octets_and_no_order_of_commands_break_the_core() {
    let mut state = 0x6e65_7461;
    let cases = number("WAKERING_FUZZ_CASES").unwrap_or(600);
    let seeds = match number("WAKERING_FUZZ_SEED") {
        Some(seed) => vec![seed],
        None => (0..cases).map(|_| next(&mut state)).collect(),
    };
    for seed in seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| message::run(&tape_of(seed)))) {
            eprintln!("failed: replay with WAKERING_FUZZ_SEED={seed:#x}");
            resume_unwind(panic);
        }
    }
}

#[test]
fn the_committed_seeds_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/fuzz/message");
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("seeds are committed") {
        let path = entry.expect("a readable folder").path();
        println!("{}", path.display());
        message::run(&fs::read(&path).expect("a readable file"));
        count += 1;
    }
    assert!(count > 0, "no seeds");
}
