//! A server whose port outlives its processes: opened by the service manager, or taken over from the process before.

use std::{
    error::Error,
    io,
    net::{SocketAddr, TcpListener},
    os::fd::AsFd,
    path::Path,
    process,
};

use futures_util::future::{Either, select};
use wakering::service::{self, Handover, State};

use crate::ending::first_signal;

/// What the servers are called among those that are handed over.
const NAME: &str = "http";

/// This process among those that follow each other.
pub(crate) struct Generation {
    handover: Option<Handover>,
    listener: TcpListener,
}

impl Generation {
    /// Has the listener from the process that offers it at `handover`, or from the service manager, or opens one.
    pub(crate) async fn begin(
        handover: Option<&Path>,
        addr: SocketAddr,
    ) -> Result<Generation, Box<dyn Error>> {
        let mut handover = match handover {
            Some(path) => Some(Handover::at(path).await?),
            None => None,
        };
        let listener = match handover.as_mut().and_then(|before| before.take(NAME)) {
            Some(socket) => socket.into_tcp_listener()?,
            None => first_listener(addr)?,
        };
        Ok(Generation { handover, listener })
    }

    /// The listener, for a server.
    pub(crate) fn listener(&self) -> io::Result<TcpListener> {
        self.listener.try_clone()
    }

    /// Says that the server serves, and returns when it is to stop: a signal has come, or another process has taken over.
    pub(crate) async fn until_the_end(mut self) -> Result<(), Box<dyn Error>> {
        if let Some(before) = &mut self.handover {
            before.ready().await?;
        }
        service::notify(&[State::MainPid(process::id()), State::Ready, State::Status("serving")]).await?;
        wakering::spawn(service::keep_watchdog());
        let addr = self.listener.local_addr()?;
        let signal = wakering::spawn(async move { first_signal(addr).await });
        match &self.handover {
            None => signal.await??,
            Some(handover) => {
                let sockets = [(NAME, self.listener.as_fd())];
                let offer = std::pin::pin!(handover.offer(&sockets));
                match select(offer, signal).await {
                    Either::Left((successor, _)) => println!("handed over to {:?}", successor?.process_id()),
                    Either::Right((signal, _)) => signal??,
                }
            }
        }
        service::notify(&[State::Stopping, State::Status("draining")]).await?;
        Ok(())
    }
}

/// The socket that the service manager has opened; without one a socket of its own.
fn first_listener(addr: SocketAddr) -> Result<TcpListener, Box<dyn Error>> {
    match service::inherited()?.into_iter().next() {
        Some(socket) => Ok(socket.into_tcp_listener()?),
        None => Ok(wakering::net::TcpListener::bind(addr)?.into_std()),
    }
}
