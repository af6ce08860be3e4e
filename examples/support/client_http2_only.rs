//! In the place of HTTP/1.1, where the example was built without it.

use std::error::Error;

use wakering::http::client::ClientBuilder;

pub(crate) fn speak_http1(_: ClientBuilder) -> Result<ClientBuilder, Box<dyn Error>> {
    Err("--http1.1 needs the feature http1: cargo run --features http1 --example h2_client".into())
}
