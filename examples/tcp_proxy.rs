//! A TCP proxy: what comes is passed on to another server, and its answers go back.
//!
//! `cargo run --release --example tcp_proxy -- --addr 127.0.0.1:7002 --to 127.0.0.1:8080 --workers 2`
//!
//! All workers accept from one queue, since a proxied connection may last for hours: a worker that is busy or full leaves
//! the next one to the others. Bytes wait in no buffer of ours: who reads slowly slows the sender down. On the first Ctrl-C
//! the port closes, what is queued is still served, and connections may finish within the grace.

#[path = "support/ending.rs"]
mod ending;
#[path = "support/stop.rs"]
mod stop;
#[path = "support/tell.rs"]
mod tell;
#[path = "support/values.rs"]
mod values;
#[path = "support/workers.rs"]
mod workers;

use std::{
    error::Error,
    io::{self, Write},
    net::SocketAddr,
    process::{self, ExitCode},
    time::Duration,
};

use lexopt::{
    Arg::{Long, Short},
    ValueExt,
};
use wakering::{
    CancellationToken,
    net::{
        TcpConnector, TcpListener, TcpStream, copy_bidirectional,
        listen::{Spread, listen},
    },
    time,
};

use self::{
    tell::tell,
    values::{addresses, resolve, seconds},
    workers::workers,
};

const HELP: &str = "\
tcp_proxy: passes TCP connections on to another server

usage: tcp_proxy --to HOST:PORT [options]

--to HOST:PORT             the server to pass connections on to
--addr HOST:PORT           where to listen; port 0 lets the system choose (default 127.0.0.1:7002)
--workers N                how many threads work (default 1)
--limit CONNECTIONS        connections of a worker at a time; others wait (default 4000)
--connect-timeout SECONDS  how long connecting to the server may take (default 5)
--keep-alive SECONDS       how long a silent peer is believed to be there before it is asked (default 60)
--grace SECONDS            how long connections may go on after Ctrl-C or SIGTERM (default 5);
                           a second signal ends the process at once
--help                     this text
";

#[derive(Clone)]
struct Options {
    to: Vec<SocketAddr>,
    addr: SocketAddr,
    workers: usize,
    limit: usize,
    connect_timeout: Duration,
    keep_alive: Duration,
    grace: Duration,
}

fn main() -> ExitCode {
    let told = match options() {
        Ok(Some(options)) => proxy(options),
        Ok(None) => {
            return ExitCode::from(u8::from(io::stdout().write_all(HELP.as_bytes()).is_err()));
        }
        Err(mistake) => {
            tell!("tcp_proxy: {mistake}");
            process::exit(2);
        }
    };
    let Err(error) = told else { return ExitCode::SUCCESS };
    tell!("tcp_proxy: {error}");
    ExitCode::FAILURE
}

fn options() -> Result<Option<Options>, lexopt::Error> {
    let mut options = Options {
        to: Vec::new(),
        addr: resolve("127.0.0.1:7002")?,
        workers: 1,
        limit: 4000,
        connect_timeout: Duration::from_secs(5),
        keep_alive: Duration::from_secs(60),
        grace: Duration::from_secs(5),
    };
    let mut line = lexopt::Parser::from_env();
    while let Some(argument) = line.next()? {
        match argument {
            Long("to") => options.to = line.value()?.parse_with(addresses)?,
            Long("addr") => options.addr = line.value()?.parse_with(resolve)?,
            Long("workers") => options.workers = line.value()?.parse_with(workers)?,
            Long("limit") => options.limit = line.value()?.parse()?,
            Long("connect-timeout") => options.connect_timeout = line.value()?.parse_with(seconds)?,
            Long("keep-alive") => options.keep_alive = line.value()?.parse_with(keep_alive)?,
            Long("grace") => options.grace = line.value()?.parse_with(seconds)?,
            Long("help") | Short('h') => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    if options.to.is_empty() {
        return Err("--to is missing; --help tells more".into());
    }
    Ok(Some(options))
}

/// What the system takes for a connection (tcp(7)): whole seconds, as many as 15 bits say.
fn keep_alive(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..=32_767) => Ok(Duration::from_secs(seconds)),
        _ => Err(format!("`{text}` is no number of seconds from 1 to 32767")),
    }
}

fn proxy(options: Options) -> Result<(), Box<dyn Error>> {
    let runtime = wakering::Runtime::builder().workers(options.workers).build()?;
    Ok(runtime.block_on(serve(options))??)
}

/// Accepts on every worker until the first signal, then lets connections finish.
async fn serve(options: Options) -> io::Result<()> {
    let shares = TcpListener::builder().bind_each(options.addr, options.workers, Spread::Shared)?;
    let addr = shares[0].local_addr()?;
    let stop = CancellationToken::new();
    let mut workers = Vec::new();
    for (worker, share) in shares.into_iter().enumerate() {
        let (stop, options) = (stop.clone(), options.clone());
        let accept = move || async move {
            let accepting = listen(share.into_tcp()?).limit(options.limit).grace(options.grace);
            accepting.until(stop.cancelled()).serve(|client, peer| told(client, peer, options.clone())).await
        };
        workers.push(wakering::spawn_on(worker, accept)?);
    }
    stop::serve(addr, stop, workers).await
}

/// Serves one client, and says why if that fails.
async fn told(client: TcpStream, peer: SocketAddr, options: Options) {
    if let Err(error) = pass_on(client, &options).await {
        tell!("tcp_proxy: from {peer}: {error}");
    }
}

/// Connects to the server and copies both ways, until both sides have ended or one of them fails.
async fn pass_on(mut client: TcpStream, options: &Options) -> io::Result<()> {
    // All addresses of its name in time, though one of them may not answer.
    let connector = TcpConnector::new().happy_eyeballs(true);
    let connecting = connector.connect(&options.to[..]);
    let mut server = time::timeout(options.connect_timeout, connecting).await??;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
        // A peer that has vanished says nothing, and would be kept for ever.
        stream.set_keepalive(Some(options.keep_alive))?;
        // Whoever is left must not take what came for all that was sent: whatever ends this task before both sides have
        // ended, an error or that the grace is over, resets the connection.
        stream.set_linger(Some(Duration::ZERO))?;
    }
    copy_bidirectional(&mut client, &mut server).await?;
    for stream in [&client, &server] {
        stream.set_linger(None)?;
    }
    Ok(())
}
