//! The machine of HTTP/1: the same octets in one piece and in many.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wakering_fuzz::h1(data));
