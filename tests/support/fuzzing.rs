//! Fuzz targets as bounded tests: the committed seeds, and tapes of random bytes from a fixed seed.
//!
//! `WAKERING_FUZZ_SEED` replays one tape (its seed is printed when it fails), `WAKERING_FUZZ_CASES` runs more of
//! them than usual.

#[path = "random.rs"]
mod random;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::{env, fs};

use random::Random;

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    let digits = text.strip_prefix("0x");
    digits.map_or_else(|| text.parse(), |digits| u64::from_str_radix(digits, 16)).ok()
}

/// A tape of up to `longest` bytes, mostly shorter.
fn tape(seed: u64, longest: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let length = random.next() % (1 + random.next() % longest);
    (0..length).map(|_| (random.next() >> 32) as u8).collect()
}

/// Runs a target on so many tapes, beginning with this seed.
pub(crate) fn run_tapes(name: &str, run: fn(&[u8]), first: u64, cases: u64, longest: u64) {
    let seeds: Vec<u64> = match number("WAKERING_FUZZ_SEED") {
        Some(seed) => vec![seed],
        None => {
            let mut random = Random(first);
            (0..number("WAKERING_FUZZ_CASES").unwrap_or(cases)).map(|_| random.next()).collect()
        }
    };
    for seed in seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(&tape(seed, longest)))) {
            eprintln!("{name} failed: replay with WAKERING_FUZZ_SEED={seed:#x}");
            resume_unwind(panic);
        }
    }
}

/// Runs it on everything that was ever found, and on what is said in earnest.
pub(crate) fn run_seeds(name: &str, run: fn(&[u8])) {
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
