//! What a server reads from a connection before HTTP begins: the header of a proxy, if it expects one.

use std::{io, net::SocketAddr};

use crate::net::{TcpStream, proxy_header::ProxyHeaders};

/// What a builder was told of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Front {
    pub(super) proxies: Option<ProxyHeaders>,
}

impl Front {
    /// Whether there is anything to read from this peer.
    #[inline]
    pub(super) fn is_asked(&self, peer: SocketAddr) -> bool {
        self.proxies.as_ref().is_some_and(|proxies| proxies.trusts(peer.ip()))
    }

    /// Reads it; says whose connection it is.
    pub(super) async fn pass(&self, stream: &mut TcpStream, peer: SocketAddr) -> io::Result<SocketAddr> {
        match &self.proxies {
            Some(proxies) => proxies.client(stream, peer).await,
            None => Ok(peer),
        }
    }
}
