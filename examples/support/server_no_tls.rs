//! In the place of TLS, where the example was built without it.

use std::{error::Error, path::PathBuf};

use wakering::http;

pub(crate) fn secure(
    _: http::Builder,
    _: Option<&PathBuf>,
    _: Option<&PathBuf>,
) -> Result<http::Builder, Box<dyn Error>> {
    Err("--tls needs the feature tls-ring: cargo run --features tls-ring --example h2_server -- --tls".into())
}
