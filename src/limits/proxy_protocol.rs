//! The bounds of the headers of proxies.

use std::time::Duration;

/// A line of version 1 of the PROXY protocol at its longest, as its specification has it.
pub(crate) const PROXY_V1_MAX: usize = 107;
/// A header of version 2: addresses take at most 232 bytes; the rest is for fields, of which a client certificate's name is the
/// longest that proxies send.
pub(crate) const PROXY_HEADER_MAX: usize = 2048;
/// How long a proxy may take for its header, which it sends with the first packet; three seconds are for a lost one.
pub(crate) const PROXY_HEADER_TIMEOUT: Duration = Duration::from_secs(5);
