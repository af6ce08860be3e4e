//! A WebSocket echo over HTTP/2 (RFC 8441): messages come back as they were sent, over as many sockets as one likes on
//! one connection.
//!
//! `cargo run --example websocket_echo --features futures-io`, and a client that sends extended CONNECT over HTTP/2 in
//! cleartext, such as `tests/interop/client_websocket.mjs` (node) and `client_websocket.py` beside it (Python's wsproto and h2).
//! Not a browser: those open `ws://` by HTTP/1.1's Upgrade, and speak HTTP/2 over TLS only.

#[path = "support/ending.rs"]
mod ending;
#[path = "support/options.rs"]
mod options;
#[path = "support/tell.rs"]
mod tell;

use std::{error::Error, process::ExitCode};

use async_tungstenite::{
    WebSocketStream,
    tungstenite::{self, protocol::Role},
};
use futures_util::StreamExt;
use wakering::http::{Body, Config, Method, Protocol, Request, Response, Server, StatusCode, Tunnel};

use self::options::{About, Options};
use tell::tell;

const ABOUT: About =
    About { name: "websocket_echo", what: "echoes WebSocket messages over HTTP/2", addr: "127.0.0.1:8081" };

fn main() -> ExitCode {
    options::code(ABOUT.name, run(&ABOUT.options()))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let runtime = wakering::Runtime::builder().workers(options.workers).build()?;
    runtime.block_on(serve(options))?
}

async fn serve(options: &Options) -> Result<(), Box<dyn Error>> {
    let config = Config { connect_protocol: true, ..Config::default() };
    let server = Server::builder().http2(config).start_on_all(options.addr, || route)?;
    ending::first_signal(server.local_addr()).await?;
    server.stop(options.grace).await;
    Ok(())
}

async fn route(request: Request<Body>) -> Response<Body> {
    if request.method() != Method::CONNECT {
        return status(StatusCode::METHOD_NOT_ALLOWED);
    }
    let protocol = request.extensions().get::<Protocol>();
    if protocol != Some(&Protocol::WEBSOCKET) {
        return status(StatusCode::NOT_IMPLEMENTED);
    }
    if request.headers().get("sec-websocket-version").is_none_or(|version| version != "13") {
        return status(StatusCode::BAD_REQUEST);
    }
    let (tunnel, response) = Tunnel::accept(request.into_body());
    wakering::spawn(async move {
        if let Err(error) = echo(tunnel).await {
            tell!("websocket: {error}");
        }
    });
    response
}

/// Sends every message back until the peer closes; pings are answered on the way.
async fn echo(tunnel: Tunnel) -> Result<(), tungstenite::Error> {
    let mut socket = WebSocketStream::from_raw_socket(tunnel, Role::Server, None).await;
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    // What ends a TCP connection elsewhere ends the stream here (RFC 8441 §5).
    socket.get_mut().close();
    Ok(())
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
