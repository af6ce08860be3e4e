//! In the place of TLS, where the example was built without it.

use std::{error::Error, path::Path};

use wakering::http;

pub(crate) fn secure(_: http::Builder, _: Option<(&Path, &Path)>) -> Result<http::Builder, Box<dyn Error>> {
    Err("--tls needs the feature tls-ring: cargo run --features tls-ring --example NAME -- --tls".into())
}
