//! What the feature `http1` adds to a server.

use wakering::http::{Builder, Http1};

pub(crate) fn serve_http1_too(builder: Builder) -> Builder {
    // Clients reach the examples directly, and some of them change to HTTP/2 so.
    builder.http1(Http1 { h2c_upgrade: true, ..Http1::default() })
}
