//! An axum application on hyper and tokio, current-thread.

use std::io;
use std::net::SocketAddr;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use wakering_peers::arguments::{Arguments, announce};
use wakering_peers::axum_routes::app;

fn main() -> io::Result<()> {
    let arguments = Arguments::read(&["addr"], &[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(serve(arguments.addr()))
}

async fn serve(addr: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(addr).await?;
    announce(listener.local_addr()?);
    let app = TowerToHyperService::new(app());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let connection =
            http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), app.clone());
        tokio::spawn(async move {
            // A client that leaves without a word is no concern of the measurement.
            let _ = connection.await;
        });
    }
}
