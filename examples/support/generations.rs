//! A server whose port outlives its processes: opened by the service manager, or taken over from the process before.

use std::{
    error::Error,
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process,
};

use futures_util::future::{Either, select};
use lexopt::Parser;
use wakering::{
    http::Server,
    service::{self, Handover, State},
};

use crate::{
    ending::first_signal,
    options::{Options, Switches},
};

/// What the servers are called among those that are handed over.
const NAME: &str = "http";

/// Where processes hand over, if they do.
#[derive(Default)]
pub(crate) struct HandingOver(Option<PathBuf>);

impl Switches for HandingOver {
    const GRACE: u64 = 30;

    fn help() -> Vec<(&'static str, &'static str)> {
        let what = "take the port over from the process that offers it there, and offer it on";
        vec![("--handover PATH", what)]
    }

    fn take(&mut self, name: &str, parser: &mut Parser) -> Result<bool, lexopt::Error> {
        if name == "handover" {
            self.0 = Some(parser.value()?.into());
        }
        Ok(name == "handover")
    }
}

/// Has `start` serve on the port that this process opens or takes over, until a signal comes or another takes it over, and then
/// lets the server finish within its grace.
pub(crate) async fn serve<S>(
    options: &Options<S>,
    HandingOver(path): &HandingOver,
    start: impl FnOnce(TcpListener) -> io::Result<Server>,
) -> Result<(), Box<dyn Error>> {
    let generation = Generation::begin(path.as_deref(), options.addr).await?;
    let server = start(generation.listener.try_clone()?)?;
    generation.until_the_end().await?;
    server.stop(options.grace).await;
    Ok(())
}

/// This process among those that follow each other.
struct Generation {
    handover: Option<Handover>,
    listener: TcpListener,
}

impl Generation {
    /// Has the listener from the process that offers it at `handover`, or from the service manager, or opens one.
    async fn begin(handover: Option<&Path>, addr: SocketAddr) -> Result<Generation, Box<dyn Error>> {
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

    /// Says that the server serves, and returns when it is to stop: a signal has come, or another process has taken over.
    async fn until_the_end(mut self) -> Result<(), Box<dyn Error>> {
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
                    Either::Left((successor, _)) => {
                        writeln!(io::stdout(), "handed over to {:?}", successor?.process_id())?;
                    }
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
