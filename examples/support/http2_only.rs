//! What stands in for the feature `http1`: nothing.

use wakering::http::Builder;

pub(crate) fn serve_http1_too(builder: Builder, _h2c: bool) -> Builder {
    builder
}
