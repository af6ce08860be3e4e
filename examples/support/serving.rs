//! A server that serves until a signal comes.

use std::{future::Future, io, net::SocketAddr, pin::pin};

use futures_util::future::{Either, select};

use crate::ending::first_signal;

/// Announces `addr` and waits for the first signal. That the server has `ended` before is an error: it can listen no more.
pub(crate) async fn until_signal(addr: SocketAddr, ended: impl Future) -> io::Result<()> {
    match select(pin!(first_signal(addr)), pin!(ended)).await {
        Either::Left((signal, _ended)) => signal,
        Either::Right(_ended) => Err(io::Error::other("the server has ended by itself")),
    }
}
