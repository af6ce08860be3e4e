//! The fuzz target `message` as a bounded test: the committed seeds, and tapes of random bytes from a fixed seed.
//!
//! `WAKERING_FUZZ_SEED` replays one tape (its seed is printed when it fails), `WAKERING_FUZZ_CASES` runs more of them.
#![cfg(feature = "message")]
#![expect(clippy::expect_used, reason = "tests may expect")]

#[path = "support/fuzzing.rs"]
mod fuzzing;
#[path = "support/generators/message.rs"]
mod message;
#[path = "support/generators/tape.rs"]
mod tape;

use fuzzing::{run_seeds, run_tapes};

const SEED: u64 = 0x6e65_7461;

#[test]
fn no_octets_and_no_order_of_commands_break_the_core() {
    run_tapes("message", message::run, SEED, 600, 2_000);
    run_seeds("message", message::run);
}
