//! A server that reads nothing from a connection before HTTP begins.

use std::{io, net::SocketAddr};

use crate::net::TcpStream;

/// What a builder was told of it: nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Front;

impl Front {
    #[inline]
    pub(super) fn is_asked(&self, _peer: SocketAddr) -> bool {
        false
    }

    pub(super) async fn pass(&self, _stream: &mut TcpStream, peer: SocketAddr) -> io::Result<SocketAddr> {
        Ok(peer)
    }
}
