//! In the place of TLS where the feature is off: types that no value has, so that their branches are gone.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    task::{Context, Poll},
};

use ::http::Version;
use bytes::BytesMut;

use crate::{
    http::{core::Choice, transport::Transport},
    net::TcpStream,
};

#[derive(Debug)]
pub(crate) enum Layer {}

impl Layer {
    pub(crate) fn stream(&self) -> &TcpStream {
        match *self {}
    }

    pub(crate) fn agreed(&self) -> Option<Version> {
        match *self {}
    }

    pub(crate) fn poll_read_buf(&self, _: &mut Context<'_>, _: &mut BytesMut) -> Poll<io::Result<usize>> {
        match *self {}
    }

    pub(crate) fn try_read_buf(&self, _: &mut BytesMut) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn poll_write_vectored(
        &self,
        _: &mut Context<'_>,
        _: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match *self {}
    }

    pub(crate) fn try_write(&self, _: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn holds_output(&self) -> bool {
        match *self {}
    }

    pub(crate) fn held(&self) -> usize {
        match *self {}
    }

    pub(crate) fn poll_flush(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }

    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        match *self {}
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Security {}

impl Security {
    pub(crate) fn offering(&self, _: &[&[u8]]) -> Security {
        match *self {}
    }

    pub(crate) async fn shake(&self, _: TcpStream, _: SocketAddr) -> Option<Transport> {
        match *self {}
    }
}

#[derive(Clone, Debug)]
pub(crate) enum ClientSecurity {}

impl ClientSecurity {
    pub(crate) async fn secure(&self, _: &str, _: TcpStream, _: Choice) -> io::Result<(Transport, Version)> {
        match *self {}
    }
}
