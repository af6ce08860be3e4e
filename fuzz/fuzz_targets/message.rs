//! Messages: frames, values, plugins, sessions, requests.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wakering_fuzz::message(data));
