//! A UDP echo server: each datagram goes back to where it came from, empty ones too.
//!
//! `cargo run --release --example udp_echo -- --addr 127.0.0.1:7001 --workers 2`
//!
//! Datagrams are received and answered in batches. Where the kernel puts datagrams of one sender together (UDP_GRO) and cuts
//! trains up again (UDP_SEGMENT), a train comes in and goes out by one message. Nothing is copied: an answer borrows the
//! bytes that came. What is in use is told on standard error.
//!
//! Each worker has a socket of its own on the same port, and the system spreads the senders. Two echo servers that are
//! made to talk to each other never stop: do not put this one on a network that you do not know (RFC 862).

#[path = "support/ending.rs"]
mod ending;
#[path = "support/options.rs"]
mod options;
#[path = "support/stop.rs"]
mod stop;
#[path = "support/tell.rs"]
mod tell;

use std::{error::Error, io, process::ExitCode};

use options::{About, Options};
use tell::tell;
use wakering::{
    CancellationToken,
    net::{RecvBatch, SendBatch, UdpSocket},
};

const ABOUT: About =
    About { name: "udp_echo", what: "sends back what it is sent over UDP", addr: "127.0.0.1:7001" };

/// Messages of one receive: a system call for each is what batches save, and after thirty little is left to be saved.
const BATCH: usize = 32;
/// The receive buffer asked for, in bytes: what comes while the worker is busy with a batch.
const RECEIVE_BUFFER: usize = 4 << 20;

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
    tell!("udp_echo: {}, workers: {}", means(&sockets[0]), options.workers);
    let stop = CancellationToken::new();
    let mut workers = Vec::new();
    for (worker, socket) in sockets.into_iter().enumerate() {
        let (socket, stop) = (socket.into_std(), stop.clone());
        let work = wakering::spawn_on(worker, move || async move {
            let socket = UdpSocket::from_std(socket)?;
            // There is nothing to finish: the end of the socket is the end of the service.
            stop.run_until_cancelled(echo(&socket)).await.unwrap_or(Ok(()))
        });
        workers.push(work?);
    }
    stop::serve(addr, stop, workers).await
}

/// What this kernel offers a socket.
fn means(socket: &UdpSocket) -> String {
    let with = |able, what| format!("{} {what}", if able { "with" } else { "without" });
    let coalesced = with(socket.set_gro(true).is_ok(), "GRO");
    format!("batches of {BATCH}, {coalesced}, {}", with(socket.gso(), "GSO"))
}

async fn echo(socket: &UdpSocket) -> io::Result<()> {
    // Where there is no such thing, or less of it, datagrams come one by one, or the system has its own idea of enough.
    drop(socket.set_gro(true));
    drop(socket.set_recv_buffer_size(RECEIVE_BUFFER));
    if socket.local_addr()?.ip().is_unspecified() {
        // The answer comes from the address that was asked. Not every system tells it of IPv4.
        drop(socket.set_recv_packet_info(true));
    }
    let mut received = RecvBatch::for_trains(BATCH);
    let mut spare = SendBatch::new();
    loop {
        socket.recv_batch(&mut received).await?;
        let mut answers = spare.recycle();
        let echoes = received.messages();
        answers.extend(echoes.map(|message| message.reply(message.bytes).segment_size(message.segment_size)));
        while !answers.is_empty() {
            // An answer that cannot be sent is a lost datagram like another.
            drop(socket.send_batch(&mut answers).await);
        }
        spare = answers.recycle();
    }
}
