//! An HTTP/2 server on hyper and tokio, with the routes of the crate's own `h2_server` that are measured.
//!
//! Current-thread by default, since it is measured against one worker; `--multi` takes the runtime that most of
//! its users take. With `--http1` it speaks HTTP/1.1 instead, and answers requests that were sent ahead together.

use std::io;
use std::net::SocketAddr;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use wakering_peers::arguments::{Arguments, announce};
use wakering_peers::hyper_routes::answer;

fn main() -> io::Result<()> {
    let arguments = Arguments::read(&["addr"], &["multi", "http1"]);
    let runtime = if arguments.flag("multi") {
        tokio::runtime::Builder::new_multi_thread().enable_io().build()?
    } else {
        tokio::runtime::Builder::new_current_thread().enable_io().build()?
    };
    runtime.block_on(serve(arguments.addr(), arguments.flag("http1")))
}

async fn serve(addr: SocketAddr, is_http1: bool) -> io::Result<()> {
    let listener = TcpListener::bind(addr).await?;
    announce(listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let stream = TokioIo::new(stream);
        // A client that leaves without a word is no concern of the measurement.
        if is_http1 {
            let connection =
                http1::Builder::new().pipeline_flush(true).serve_connection(stream, service_fn(answer));
            tokio::spawn(async move { drop(connection.await) });
        } else {
            let connection =
                http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service_fn(answer));
            tokio::spawn(async move { drop(connection.await) });
        }
    }
}
