//! An HTTP/2 server on hyper and tokio, with the routes of the crate's own `h2_server` that are measured.
//!
//! Current-thread by default, since it is measured against one worker; `--multi` takes the runtime that most of
//! its users take.

use std::io;
use std::net::SocketAddr;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use wakering_peers::arguments::{Arguments, announce};
use wakering_peers::hyper_routes::answer;

fn main() -> io::Result<()> {
    let arguments = Arguments::read(&["addr"], &["multi"]);
    let runtime = if arguments.flag("multi") {
        tokio::runtime::Builder::new_multi_thread().enable_io().build()?
    } else {
        tokio::runtime::Builder::new_current_thread().enable_io().build()?
    };
    runtime.block_on(serve(arguments.addr()))
}

async fn serve(addr: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(addr).await?;
    announce(listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let connection = http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service_fn(answer));
        tokio::spawn(async move {
            // A client that leaves without a word is no concern of the measurement.
            let _ = connection.await;
        });
    }
}
