//! What the fuzz targets (`fuzz/`) and their bounded twins (`tests/h2_fuzz.rs`) share: each module turns a tape of
//! bytes into a run of the core and checks it on the way.
//!
//! A run never fails on bad input, only on a broken property; the same tape is always the same run.

pub(crate) mod frames;
pub(crate) mod hpack;
#[path = "../octets.rs"]
#[expect(dead_code, reason = "a part of it is for tests of other kinds")]
mod octets;
pub(crate) mod operations;
pub(crate) mod splits;
pub(crate) mod tape;
pub(crate) mod watch;
