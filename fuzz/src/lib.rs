//! The fuzz targets: what they do stands in `tests/support/generators`, which the test suite runs too.

#[path = "../../tests/support/generators/mod.rs"]
mod generators;
#[path = "../../tests/support/generators/http1.rs"]
mod http1;
#[path = "../../tests/support/generators/http1_client.rs"]
mod http1_client;
#[path = "../../tests/support/generators/message.rs"]
mod messages;

use generators::tape;

/// HPACK both ways.
pub fn hpack(data: &[u8]) {
    generators::hpack::run(data);
}

/// One core against a peer that sends anything.
pub fn frames(data: &[u8]) {
    generators::frames::run(data);
}

/// Core against core.
pub fn operations(data: &[u8]) {
    generators::operations::run(data);
}

/// The same octets in one piece and in many.
pub fn splits(data: &[u8]) {
    generators::splits::run(data);
}

/// The machine of HTTP/1: the same octets in one piece and in many.
pub fn h1(data: &[u8]) {
    http1::run(data);
}

/// The client's machine of HTTP/1: the same, against an application that does anything.
pub fn h1_client(data: &[u8]) {
    http1_client::run(data);
}

/// Messages: frames, values, plugins, sessions, requests.
pub fn message(data: &[u8]) {
    messages::run(data);
}
