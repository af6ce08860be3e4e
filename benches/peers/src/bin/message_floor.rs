//! The least that an exchange of authenticated messages takes: octets with their SHA-256 in front, there and back, between two
//! loops that never sleep and do nothing else.
//!
//! A sender cannot begin to send before it has the digest, a receiver cannot answer before it has compared it, and SHA-256
//! hashes one block after the other: nothing here can be left out, or be done at the same time, by any peer that keeps to the
//! format. No encryption. `--serve` is the end that answers; the load speaks with its driver as `echo_client` does.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use wakering_peers::arguments::{Arguments, announce, wait_for_driver};

const DIGEST: usize = 32;
const SILENCE: Duration = Duration::from_secs(10);

fn main() -> io::Result<()> {
    let arguments = Arguments::read(&["addr", "size", "warm-up", "requests"], &["serve"]);
    let mut message = vec![b'x'; DIGEST + arguments.value("size", 60_000)];
    if arguments.flag("serve") {
        let listener = TcpListener::bind(arguments.addr())?;
        announce(listener.local_addr()?);
        let mut end = End::new(listener.accept()?.0)?;
        while end.receive(&mut message)? {
            end.send(&mut message)?;
        }
        return Ok(());
    }
    let mut end = End::new(TcpStream::connect_timeout(&arguments.addr(), SILENCE)?)?;
    end.ask(&mut message, arguments.value("warm-up", 0))?;
    println!("ready");
    wait_for_driver()?;
    let requests = arguments.value("requests", 0);
    let started = Instant::now();
    end.ask(&mut message, requests)?;
    println!("done {requests} {:.6}", started.elapsed().as_secs_f64());
    wait_for_driver()
}

struct End {
    stream: TcpStream,
}

impl End {
    fn new(stream: TcpStream) -> io::Result<End> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(End { stream })
    }

    fn ask(&mut self, message: &mut [u8], requests: u64) -> io::Result<()> {
        for _ in 0..requests {
            self.send(message)?;
            if !self.receive(message)? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Puts the digest in front and sends it all.
    fn send(&mut self, message: &mut [u8]) -> io::Result<()> {
        let digest = Sha256::digest(&message[DIGEST..]);
        message[..DIGEST].copy_from_slice(&digest);
        let mut sent = 0;
        while sent < message.len() {
            sent += spin(|| self.stream.write(&message[sent..]))?;
        }
        Ok(())
    }

    /// Takes one message and compares its digest; false when the peer has ended.
    fn receive(&mut self, message: &mut [u8]) -> io::Result<bool> {
        let mut received = 0;
        while received < message.len() {
            match spin(|| self.stream.read(&mut message[received..]))? {
                0 if received == 0 => return Ok(false),
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => received += count,
            }
        }
        let (digest, octets) = message.split_at(DIGEST);
        if Sha256::digest(octets)[..] == *digest { Ok(true) } else { Err(ErrorKind::InvalidData.into()) }
    }
}

/// Tries until the socket is ready; an end that hears nothing for `SILENCE` gives up.
fn spin(mut attempt: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    let started = Instant::now();
    loop {
        for _ in 0..1000 {
            match attempt() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
                outcome => return outcome,
            }
        }
        if started.elapsed() > SILENCE {
            return Err(io::Error::new(ErrorKind::TimedOut, "the other end has fallen silent"));
        }
    }
}
