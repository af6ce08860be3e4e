//! What stands on several command lines.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    time::Duration,
};

/// An address, or a name that is looked up.
pub(crate) fn resolve(text: &str) -> Result<SocketAddr, String> {
    let mut found = text.to_socket_addrs().map_err(|error| format!("`{text}` is no HOST:PORT: {error}"))?;
    found.next().ok_or_else(|| format!("`{text}` has no address"))
}

/// A time that is given in seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| format!("`{text}` is no number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("`{text}` is no number of seconds"))
}
