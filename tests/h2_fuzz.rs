//! The fuzz targets of `fuzz/` as bounded tests: the committed seeds, and tapes of random bytes from a fixed seed.
//!
//! `WAKERING_FUZZ_SEED` replays one tape (its seed is printed when it fails), `WAKERING_FUZZ_CASES` runs more of
//! them than usual.

#![expect(clippy::expect_used, reason = "tests may expect")]

#[path = "support/generators/mod.rs"]
mod generators;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::{env, fs};

use generators::{frames, hpack, operations, splits};

const SEED: u64 = 0x9113_7541;

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

/// A tape of up to `longest` bytes, mostly shorter.
fn tape(seed: u64, longest: u64) -> Vec<u8> {
    let mut state = seed;
    let length = next(&mut state) % (1 + next(&mut state) % longest);
    (0..length).map(|_| (next(&mut state) >> 32) as u8).collect()
}

fn run_tapes(name: &str, run: fn(&[u8]), cases: u64, longest: u64) {
    let seeds: Vec<u64> = match number("WAKERING_FUZZ_SEED") {
        Some(seed) => vec![seed],
        None => {
            let mut state = SEED;
            (0..number("WAKERING_FUZZ_CASES").unwrap_or(cases)).map(|_| next(&mut state)).collect()
        }
    };
    for seed in seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(&tape(seed, longest)))) {
            eprintln!("{name} failed: replay with WAKERING_FUZZ_SEED={seed:#x}");
            resume_unwind(panic);
        }
    }
}

/// Everything that was ever found, and what real clients say first.
fn run_seeds(name: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/fuzz").join(name);
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("seeds are committed") {
        let path = entry.expect("a readable folder").path();
        let data = fs::read(&path).expect("a readable file");
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(&data))) {
            eprintln!("{} failed", path.display());
            resume_unwind(panic);
        }
        count += 1;
    }
    assert!(count > 0, "no seeds for {name}");
}

#[test]
fn any_header_block_is_decoded_or_refused_and_ours_come_back_whole() {
    run_tapes("hpack", hpack::run, 4_000, 1_000);
    run_seeds("hpack", hpack::run);
}

#[test]
fn no_peer_breaks_a_connection_however_it_frames() {
    run_tapes("frames", frames::run, 2_000, 2_000);
    run_seeds("frames", frames::run);
}

#[test]
fn honest_ends_always_come_to_a_good_end() {
    run_tapes("operations", operations::run, 300, 1_000);
    run_seeds("operations", operations::run);
}

#[test]
fn how_the_octets_are_cut_makes_no_difference() {
    run_tapes("splits", splits::run, 1_000, 500);
    run_seeds("splits", splits::run);
}
