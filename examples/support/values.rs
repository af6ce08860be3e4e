//! What stands on several command lines.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    time::Duration,
};

/// An address, or a name that is looked up: where to listen.
pub(crate) fn resolve(text: &str) -> Result<SocketAddr, String> {
    Ok(addresses(text)?[0])
}

/// All addresses of a server, at least one, to be tried in this order: `localhost` is often `::1` first, where nobody listens.
pub(crate) fn addresses(text: &str) -> Result<Vec<SocketAddr>, String> {
    let found = text.to_socket_addrs().map_err(|error| format!("`{text}` is no HOST:PORT: {error}"))?;
    let found: Vec<SocketAddr> = found.collect();
    if found.is_empty() { Err(format!("`{text}` has no address")) } else { Ok(found) }
}

/// A time that is given in seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| format!("`{text}` is no number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("`{text}` is no number of seconds"))
}
