//! What the feature `http1` adds to a server.

use wakering::http::{Builder, Http1};

pub(crate) fn serve_http1_too(builder: Builder, h2c: bool) -> Builder {
    builder.http1(Http1 { h2c_upgrade: h2c, ..Http1::default() })
}
