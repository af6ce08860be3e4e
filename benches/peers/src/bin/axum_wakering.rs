//! The same axum application on wakering: behind `http::Server`, or `--hyper` behind hyper on wakering.

use std::io;
use std::net::SocketAddr;

use hyper::server::conn::http2;
use hyper_util::service::TowerToHyperService;
use wakering::adapters::{hyper::Executor, tower::send_handler};
use wakering::http::Server;
use wakering::net::TcpListener;
use wakering_peers::arguments::{Arguments, announce};
use wakering_peers::axum_routes::app;

fn main() -> io::Result<()> {
    let arguments = Arguments::read(&["addr"], &["hyper"]);
    if arguments.flag("hyper") {
        wakering::run(by_hyper(arguments.addr())).map_err(io::Error::other)?
    } else {
        wakering::run(serve(arguments.addr())).map_err(io::Error::other)?
    }
}

async fn serve(addr: SocketAddr) -> io::Result<()> {
    let server = Server::start(TcpListener::bind(addr)?, send_handler(app()))?;
    announce(server.local_addr());
    std::future::pending().await
}

async fn by_hyper(addr: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(addr)?;
    announce(listener.local_addr()?);
    let app = TowerToHyperService::new(app());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let connection = http2::Builder::new(Executor).serve_connection(stream, app.clone());
        wakering::spawn(async move {
            // A client that leaves without a word is no concern of the measurement.
            let _ = connection.await;
        });
    }
}
