//! One core against a peer that sends anything.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wakering_fuzz::frames(data));
