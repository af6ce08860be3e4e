//! A TCP echo server: what comes goes back, until the peer ends.
//!
//! `cargo run --release --example echo -- --addr 127.0.0.1:7000 --workers 2`
//!
//! Each worker has a listener of its own on the same port, and the system spreads the connections. An idle
//! connection owns no buffer: bytes are read into the worker's scratch and written from there, and only what
//! the kernel does not take is kept.

#[path = "support/ending.rs"]
mod ending;
#[path = "support/options.rs"]
mod options;
#[path = "support/stop.rs"]
mod stop;
#[path = "support/tell.rs"]
mod tell;

use std::{
    error::Error,
    io::{self, ErrorKind},
    process::ExitCode,
};

use options::{About, Options};
use wakering::{
    CancellationToken,
    net::{
        TcpListener, TcpStream,
        listen::{Spread, listen},
    },
};

const ABOUT: About =
    About { name: "echo", what: "sends back what it is sent over TCP", addr: "127.0.0.1:7000" };

fn main() -> ExitCode {
    options::code(ABOUT.name, run(&ABOUT.options()))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let runtime = wakering::Runtime::builder().workers(options.workers).build()?;
    runtime.block_on(serve(options))??;
    // Dropping the runtime aborts what is left.
    Ok(())
}

async fn serve(options: &Options) -> io::Result<()> {
    let shares = TcpListener::builder().bind_each(options.addr, options.workers, Spread::PerWorker)?;
    let addr = shares[0].local_addr()?;
    let (stop, grace) = (CancellationToken::new(), options.grace);
    let mut workers = Vec::new();
    for (worker, share) in shares.into_iter().enumerate() {
        let stop = stop.clone();
        let serve = move || async move {
            let accepting = listen(share.into_tcp()?).until(stop.cancelled()).grace(grace);
            // A connection's error is its peer's business, who has been told.
            accepting.serve(|stream, _| echo(stream)).await
        };
        workers.push(wakering::spawn_on(worker, serve)?);
    }
    stop::serve(addr, stop, workers).await
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = stream.split();
    loop {
        let turn = reader.read_with(|bytes| match bytes {
            [] => Ok(Turn::Ended),
            bytes => match writer.try_write(bytes) {
                Ok(written) if written == bytes.len() => Ok(Turn::Written),
                Ok(written) => Ok(Turn::Left(bytes[written..].to_vec())),
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Turn::Left(bytes.to_vec())),
                Err(error) => Err(error),
            },
        });
        match turn.await?? {
            Turn::Written => {}
            Turn::Left(bytes) => writer.write_all(&bytes).await?,
            Turn::Ended => return Ok(()),
        }
    }
}

/// How one piece fared.
enum Turn {
    Written,
    Left(Vec<u8>),
    Ended,
}
