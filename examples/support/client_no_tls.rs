//! In the place of TLS, where the example was built without it.

use std::{error::Error, path::Path};

use wakering::http::client::{self, ClientBuilder};

/// The code of what follows from that: a scheme that is not spoken.
pub(crate) const UNTRUSTED: u8 = 1;

pub(crate) fn trust(_: ClientBuilder, _: Option<&Path>, _: bool) -> Result<ClientBuilder, Box<dyn Error>> {
    Err("https needs the feature tls-ring: cargo run --features tls-ring --example h2_client".into())
}

pub(crate) fn code(_: &client::Error) -> Option<u8> {
    None
}
