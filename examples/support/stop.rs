//! Servers that are tasks, one on each worker, and a signal that ends all of them.

use std::{io, net::SocketAddr};

use futures_util::stream::{FuturesUnordered, StreamExt};
use wakering::{CancellationToken, RemoteJoinHandle};

use crate::ending::first_signal;

/// Announces `addr`, cancels `stop` at the first signal, and waits for the workers. One that fails ends the others, too, in good
/// order; of several failures the first is returned.
pub(crate) async fn serve<T>(
    addr: SocketAddr,
    stop: CancellationToken,
    workers: Vec<RemoteJoinHandle<io::Result<T>>>,
) -> io::Result<()> {
    let told = stop.clone();
    let signal = wakering::spawn(async move {
        // Without a signal, since that cannot be waited for or nobody can be told where to connect, they end as well.
        let signal = first_signal(addr).await;
        told.cancel();
        signal
    });
    // Not in their order: one that serves on would hide the failure of the next.
    let mut workers: FuturesUnordered<_> =
        workers.into_iter().map(|worker| async { worker.await? }).collect();
    let mut failure = None;
    while let Some(ended) = workers.next().await {
        if let Err(error) = ended {
            stop.cancel();
            failure.get_or_insert(error);
        }
    }
    match failure {
        Some(error) => Err(error),
        None => signal.await?,
    }
}
