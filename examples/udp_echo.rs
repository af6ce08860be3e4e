//! A UDP echo server: each datagram goes back to where it came from, empty ones too.
//!
//! `cargo run --release --example udp_echo -- --addr 127.0.0.1:7001 --workers 2`
//!
//! Each worker has a socket of its own on the same port, and the system spreads the senders. Two echo servers that are
//! made to talk to each other never stop: do not put this one on a network that you do not know (RFC 862).

#[path = "support/ending.rs"]
mod ending;
#[path = "support/options.rs"]
mod options;
#[path = "support/stop.rs"]
mod stop;

use std::{error::Error, io, process::ExitCode};

use options::{About, Options};
use stop::Stop;
use wakering::net::UdpSocket;

const ABOUT: About = About {
    name: "udp_echo",
    what: "sends back what it is sent over UDP",
    addr: "127.0.0.1:7001",
    switch: None,
};

/// No datagram is longer: its length has 16 bits.
const LONGEST: usize = 65_535;

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
    let builder = UdpSocket::builder().reuse_port(options.workers > 1);
    let mut sockets = vec![builder.bind(options.addr)?];
    let addr = sockets[0].local_addr()?;
    for _ in 1..options.workers {
        sockets.push(builder.bind(addr)?);
    }
    let stop = Stop::default();
    let mut workers = Vec::new();
    for (worker, socket) in sockets.into_iter().enumerate() {
        let (socket, stop) = (socket.into_std(), stop.clone());
        let work = wakering::spawn_on(worker, move || async move {
            let socket = UdpSocket::from_std(socket)?;
            // There is nothing to finish: the end of the socket is the end of the service.
            stop.or(echo(&socket)).await.unwrap_or(Ok(()))
        });
        workers.push(work.map_err(io::Error::other)?);
    }
    stop::serve(addr, options.grace, stop, workers).await
}

async fn echo(socket: &UdpSocket) -> io::Result<()> {
    let mut buffer = vec![0; LONGEST];
    loop {
        let datagram = socket.recv_from(&mut buffer).await?;
        // An answer that cannot be sent is a lost datagram like another.
        drop(socket.send_to(&buffer[..datagram.len], datagram.source).await);
    }
}
