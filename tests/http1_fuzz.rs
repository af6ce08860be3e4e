//! The fuzz targets of `fuzz/` that concern HTTP/1 as bounded tests; `support/fuzzing.rs` says how to replay one.

#![cfg(not(loom))]
#![expect(clippy::expect_used, reason = "tests may expect")]

#[path = "support/fuzzing.rs"]
mod fuzzing;
#[path = "support/generators/http1.rs"]
mod http1;
#[path = "support/generators/http1_client.rs"]
mod http1_client;
#[path = "support/generators/tape.rs"]
#[expect(dead_code, reason = "a part of it is for other targets")]
mod tape;

use fuzzing::{run_seeds, run_tapes};

const SEED: u64 = 0x9112_2022;

#[test]
fn requests_in_pieces_mean_what_they_mean_in_one() {
    run_tapes("h1", http1::run, SEED, 300, 400);
    run_seeds("h1", http1::run);
}

#[test]
fn answers_in_pieces_mean_what_they_mean_in_one_whatever_the_application_does() {
    run_tapes("h1_client", http1_client::run, SEED, 2_000, 400);
    run_seeds("h1_client", http1_client::run);
}
