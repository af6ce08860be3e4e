//! The fuzz targets of `fuzz/` that concern HTTP/2 as bounded tests; `support/fuzzing.rs` says how to replay one.

#![expect(clippy::expect_used, reason = "tests may expect")]

#[path = "support/fuzzing.rs"]
mod fuzzing;
#[path = "support/generators/mod.rs"]
mod generators;

use fuzzing::{run_seeds, run_tapes};
use generators::{frames, hpack, operations, splits};

const SEED: u64 = 0x9113_7541;

#[test]
fn any_header_block_is_decoded_or_refused_and_ours_come_back_whole() {
    run_tapes("hpack", hpack::run, SEED, 4_000, 1_000);
    run_seeds("hpack", hpack::run);
}

#[test]
fn no_peer_breaks_a_connection_however_it_frames() {
    run_tapes("frames", frames::run, SEED, 2_000, 2_000);
    run_seeds("frames", frames::run);
}

#[test]
fn honest_ends_always_come_to_a_good_end() {
    run_tapes("operations", operations::run, SEED, 300, 1_000);
    run_seeds("operations", operations::run);
}

#[test]
fn how_the_octets_are_cut_makes_no_difference() {
    run_tapes("splits", splits::run, SEED, 1_000, 500);
    run_seeds("splits", splits::run);
}
