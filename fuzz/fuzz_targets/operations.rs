//! Core against core.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wakering_fuzz::operations(data));
