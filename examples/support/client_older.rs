//! What the feature `http1` adds to a client.

use std::error::Error;

use wakering::http::client::ClientBuilder;

pub(crate) fn speak_http1(builder: ClientBuilder) -> Result<ClientBuilder, Box<dyn Error>> {
    Ok(builder.http1_only())
}
