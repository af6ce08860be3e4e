//! The client's machine of HTTP/1: answers in one piece and in many, against an application that does anything.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wakering_fuzz::h1_client(data));
