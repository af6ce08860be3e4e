//! Servers that are tasks, one on each worker, and a signal that ends all of them.

use std::{io, net::SocketAddr};

use wakering::{CancellationToken, RemoteJoinHandle};

use crate::ending::first_signal;

/// Announces `addr`, cancels `stop` at the first signal, and waits for the workers.
pub(crate) async fn serve<T>(
    addr: SocketAddr,
    stop: CancellationToken,
    workers: Vec<RemoteJoinHandle<io::Result<T>>>,
) -> io::Result<()> {
    let signal = wakering::spawn(async move {
        first_signal(addr).await?;
        stop.cancel();
        Ok::<(), io::Error>(())
    });
    for worker in workers {
        worker.await??;
    }
    signal.await?
}
