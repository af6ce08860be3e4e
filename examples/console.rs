//! A server with a page that shows what it does.
//!
//! `cargo run --release --features console --example console`, then look at the address that it prints with a browser, or
//! at its `/json` and `/metrics` with curl. `--addr` is the console's; the server beside it answers on a port of its own, and is asked
//! now and then by a client in the same process, so that there is something to see.

#[path = "support/ending.rs"]
mod ending;
#[path = "support/options.rs"]
mod options;
#[path = "support/tell.rs"]
mod tell;

use std::{error::Error, net::SocketAddr, process::ExitCode, time::Duration};

use wakering::{
    console,
    http::{Body, Request, Response, Server, client::Client},
    net::listen::Spread,
    spawn_named, spawn_on,
    time::sleep,
};

use self::options::{About, Options};

const ABOUT: About = About { name: "console", what: "shows a page about itself", addr: "127.0.0.1:6669" };

fn main() -> ExitCode {
    options::code(ABOUT.name, run(&ABOUT.options()))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let runtime = wakering::Runtime::builder().workers(options.workers).build()?;
    runtime.block_on(serve(options))?
}

async fn serve(options: &Options) -> Result<(), Box<dyn Error>> {
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::builder().spread(Spread::Shared).start_on_all(anywhere, || answer)?;
    let console = console::builder().server("hello", server.meters()).serve(options.addr)?;
    let target = format!("http://{}/", server.local_addr());
    for worker in 0..options.workers {
        let target = target.clone();
        drop(spawn_on(worker, move || async move {
            drop(spawn_named("visitor", visit(target)));
        })?);
    }
    drop(spawn_named("gardener", async {
        loop {
            sleep(Duration::from_secs(60)).await;
        }
    }));
    ending::first_signal(console.local_addr()).await?;
    console.stop(Duration::ZERO).await;
    server.stop(options.grace).await;
    Ok(())
}

async fn answer(_request: Request<Body>) -> Response<Body> {
    sleep(Duration::from_millis(3)).await;
    Response::new(Body::from("Hello, World!"))
}

/// Asks twenty times a second.
async fn visit(target: String) {
    let client = Client::new();
    loop {
        // That it fails is to be seen on the page.
        if let Ok(response) = client.get(target.as_str()).await {
            let _ = response.into_body().collect(1000).await;
        }
        sleep(Duration::from_millis(50)).await;
    }
}
