//! Hangs in three ways, and says each time what it is waiting for.
//!
//!     cargo run --example hang
//!
//! Each part deadlocks by itself, is looked at for a moment, and is then dropped with its runtime, so the program ends.
//! `docs/hangs.md` explains how to read what it prints.

#[path = "support/tell.rs"]
mod tell;

use std::{
    cell::RefCell,
    error::Error,
    future::Future,
    io::{self, Write},
    net::Ipv4Addr,
    rc::Rc,
    time::Duration,
};

use tell::tell;
use wakering::{
    Handle, JoinHandle, Runtime,
    http::{Body, Config, Request, Response, Server, client::Client},
    net::{TcpListener, TcpStream},
    spawn, spawn_named,
    time::{sleep, timeout},
};

/// How long each part hangs before somebody asks why.
const HANGS_FOR: Duration = Duration::from_millis(500);
/// Any port of this machine.
const HERE: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    if let Some(word) = std::env::args_os().nth(1) {
        if word != "--help" && word != "-h" {
            tell!("hang: {word:?} is one argument too many: it takes none");
            std::process::exit(2);
        }
        writeln!(
            io::stdout(),
            "hang: hangs in three ways, each for half a second, and prints what waits for what; takes no arguments"
        )?;
        return Ok(());
    }
    show("Two tasks that wait for each other's end", two_tasks_that_join_each_other())?;
    show(
        "A handler that asks its own server, which serves one request at a time",
        a_handler_that_asks_itself(),
    )?;
    show("A task that waits for a peer that never speaks", a_peer_that_never_speaks())
}

/// Runs a part that hangs, asks after a while what everybody waits for, and drops it.
fn show(title: &str, hangs: impl Future<Output = Outcome>) -> Outcome {
    writeln!(io::stdout(), "== {title}\n")?;
    let runtime = Runtime::new()?;
    runtime.block_on(async {
        if let Ok(outcome) = timeout(HANGS_FOR, hangs).await {
            outcome?;
            return Err("this should have hung".into());
        }
        // What the part has spawned still hangs. Any thread could ask this.
        writeln!(io::stdout(), "{}", Handle::current().dump())?;
        Ok(())
    })?
}

/// Each has the other's handle, and awaits it.
async fn two_tasks_that_join_each_other() -> Outcome {
    let chick: Rc<RefCell<Option<JoinHandle<()>>>> = Rc::default();
    let other = chick.clone();
    let egg = spawn_named("egg", async move {
        let chick = other.borrow_mut().take();
        if let Some(chick) = chick {
            let _ = chick.await;
        }
    });
    *chick.borrow_mut() = Some(spawn_named("chick", async move {
        let _ = egg.await;
    }));
    sleep(Duration::MAX).await;
    Ok(())
}

/// `/outer` needs `/inner`, which the server does not begin while `/outer` runs: both go over the client's one connection.
async fn a_handler_that_asks_itself() -> Outcome {
    let listener = TcpListener::bind(HERE)?;
    let base = format!("http://{}", listener.local_addr()?);
    let client = Rc::new(Client::builder().connections_per_host(1).build());
    let (own, target) = (client.clone(), base.clone());
    let handler = move |request: Request<Body>| {
        let (client, inner) = (own.clone(), format!("{target}/inner"));
        async move {
            if request.uri().path() == "/outer" {
                return client
                    .get(inner)
                    .await
                    .unwrap_or_else(|error| Response::new(Body::from(error.to_string())));
            }
            Response::new(Body::from("the inner answer"))
        }
    };
    let one_at_a_time = Config { max_concurrent_streams: 1, ..Config::default() };
    let _server = Server::builder().http2(one_at_a_time).start(listener, handler)?;
    let asking =
        spawn_named("asks for /outer", async move { client.get(format!("{base}/outer")).await.map(drop) });
    asking.await??;
    Ok(())
}

/// The one end says nothing, the other waits to be greeted.
async fn a_peer_that_never_speaks() -> Outcome {
    let listener = TcpListener::bind(HERE)?;
    let address = listener.local_addr()?;
    let silent = spawn_named("accepts and says nothing", async move {
        let peer = listener.accept().await?;
        sleep(Duration::MAX).await;
        drop(peer);
        std::io::Result::Ok(())
    });
    let greeted = spawn(async move {
        let mut stream = TcpStream::connect(address).await?;
        let mut greeting = [0; 64];
        stream.read(&mut greeting).await
    });
    greeted.await??;
    silent.await??;
    Ok(())
}
