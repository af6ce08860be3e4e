//! The same hyper server as `hyper_h2`, on wakering.

use std::io;
use std::net::SocketAddr;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use wakering::adapters::hyper::Executor;
use wakering::net::TcpListener;
use wakering_peers::arguments::{Arguments, announce};
use wakering_peers::hyper_routes::answer;

fn main() -> io::Result<()> {
    let arguments = Arguments::read(&["addr"], &[]);
    wakering::run(serve(arguments.addr())).map_err(io::Error::other)?
}

async fn serve(addr: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(addr)?;
    announce(listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let connection = http2::Builder::new(Executor).serve_connection(stream, service_fn(answer));
        wakering::spawn(async move {
            // A client that leaves without a word is no concern of the measurement.
            let _ = connection.await;
        });
    }
}
