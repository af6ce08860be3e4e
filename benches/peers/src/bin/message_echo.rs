//! Answers messages with their content, and asks for it: `--serve`, or the load against such a server.
//!
//! `--secret S --key K` are the plugins of the protocol's first implementation, `--session S` is ours; with `--spin MICROS`
//! a worker goes on looking for so long before it sleeps. The load speaks with its driver as `echo_client` does.

use std::cell::Cell;
use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use wakering::Scope;
use wakering::message::{Builder, HmacAuth, Incoming, Kind, Layer, Remote, Session, StreamCipher};
use wakering::net::TcpListener;
use wakering_peers::arguments::{Arguments, wait_for_driver};

fn main() -> Result<(), Box<dyn Error>> {
    let names = ["addr", "secret", "key", "session", "spin", "size", "in-flight", "warm-up", "requests"];
    let arguments = Arguments::read(&names, &["serve"]);
    let spin = Duration::from_micros(arguments.value("spin", 0));
    wakering::Runtime::builder().spin(spin).build()?.block_on(async {
        if arguments.flag("serve") { serve(&arguments).await } else { load(&arguments).await }
    })?
}

fn builder(arguments: &Arguments) -> Builder {
    let text = |name| arguments.value(name, String::new());
    let (secret, key, session) = (text("secret"), text("key"), text("session"));
    let mut layer = Layer::new();
    if !secret.is_empty() {
        layer = layer.auth(HmacAuth::new(secret));
    }
    if !key.is_empty() {
        layer = layer.cipher(StreamCipher::new(key));
    }
    let builder = Builder::new().layer(layer);
    if session.is_empty() { builder } else { builder.session(Session::new(session).require(true)) }
}

async fn serve(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let builder = builder(arguments).on(Kind::REQUEST_URI, |incoming: Incoming| async move {
        Some(incoming.answer(Kind::RESPOND_URI, incoming.message.content.clone()))
    });
    let server = builder.serve(TcpListener::bind(arguments.addr())?)?;
    println!("listening on {}", server.local_addr());
    io::stdout().flush()?;
    server.closed().await?;
    Ok(())
}

async fn load(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let address: SocketAddr = arguments.addr();
    let remote = builder(arguments).client().connect(address).await?;
    let content = vec![b'x'; arguments.value("size", 64)];
    let in_flight = arguments.value("in-flight", 1);
    ask(&remote, &content, in_flight, arguments.value("warm-up", 0)).await;
    println!("ready");
    wait_for_driver()?;
    let requests = arguments.value("requests", 0);
    let started = Instant::now();
    ask(&remote, &content, in_flight, requests).await;
    println!("done {requests} {:.6}", started.elapsed().as_secs_f64());
    wait_for_driver()?;
    Ok(())
}

/// Makes so many requests, as many at a time, and compares every answer.
async fn ask(remote: &Remote, content: &[u8], in_flight: usize, requests: u64) {
    let (scope, left): (Scope, _) = (Scope::new(), Rc::new(Cell::new(requests)));
    for _ in 0..in_flight {
        let (remote, left, content) = (remote.clone(), left.clone(), bytes::Bytes::copy_from_slice(content));
        scope.spawn(async move {
            while left.get() > 0 {
                left.set(left.get() - 1);
                let answer =
                    remote.request(Kind::REQUEST_URI, "echo", content.clone()).await.expect("an answer");
                assert!(answer.kind == Kind::RESPOND_URI && answer.content == content, "the wrong answer");
            }
        });
    }
    scope.join().await.expect("no request fails");
}
